"""Annotation files of Kinetics and Something-Something, and lists of PaddleVideo and MMAction2: classes of videos.

Known forms, distinguished by their content:
    Kinetics csv                `label,youtube_id,time_start,time_end,split`
    Something-Something V1 csv  `id;label`
    Something-Something V2 json `[{"id": "78687", "template": "Holding [something] next to [something]"}, ...]`
    lists                       `video label` or `frame_folder_or_id num_frames label`
They name videos, mostly without suffix and folder; `names.MediaIndex` finds those below a folder.
"""

import csv
import re
from collections.abc import Callable
from dataclasses import dataclass

from common.text_files import parse_json, read_json, read_lines, refuses_damage
from dataset.records import is_number, parse_list_line

SEMICOLON_TITLES = re.compile(r'"?(video_?)?id"?;"?(label|template)"?$', re.IGNORECASE)


@dataclass
class Sample:
    """One line of an annotation file.

    Attributes:
        names: that the video may have, the likeliest first.
        label: class id or class name, or None where the line names none, as in test sets.
        num_frames: None where the line does not state it.
        line: its number in the file.
    """

    names: list[str]
    label: int | str | None
    num_frames: int | None
    line: int


@refuses_damage
def read_samples(
    path: str, is_video: Callable[[str], bool] = lambda name: False, needs_labels: bool = True
) -> list[Sample]:
    """Read an annotation file of any known form.

    Args:
        is_video: whether there is a video of a name; a line of a list that starts with # is a comment if there is none.
        needs_labels: False: a line may name no class, as those of the test sets of competitions.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a line that is of no known form or names no class; names file and line.
    """
    lines = read_lines(path, "name an annotation file or a list")
    titles = [title.strip(' "').lower() for title in lines[0].split(",")] if lines else []
    if path.lower().endswith(".json"):
        samples = _read_json(path, needs_labels)
    elif "youtube_id" in titles:
        samples = _read_kinetics(path, lines, titles, needs_labels)
    elif path.lower().endswith(".csv") and lines and ";" in lines[0]:
        used = [(number, line) for number, line in enumerate(lines, 1) if line and not SEMICOLON_TITLES.match(line)]
        samples = [_parse_semicolon(path, number, line, needs_labels) for number, line in used]
    else:
        used = [
            (number, line)
            for number, line in enumerate(lines, 1)
            if line and not (line.startswith("#") and not is_video(parse_list_line(line)[0]))
        ]
        samples = [_parse_list_line(path, number, line, needs_labels) for number, line in used]
    if not samples:
        raise ValueError(f"{path}: names no video; expected Kinetics csv, Something-Something csv or json, or a list")
    return samples


def _read_json(path: str, needs_labels: bool) -> list[Sample]:
    items, samples = read_json(path), []
    for number, item in enumerate(items if isinstance(items, list) else [{}], 1):
        is_named = isinstance(item, dict) and isinstance(item.get("id"), (str, int))
        template = item.get("template") if is_named else None
        if not is_named or not isinstance(template, str if needs_labels else (str, type(None))):
            raise ValueError(
                f'{path} item {number}: expected "id" and "template", as in Something-Something\'s train and '
                "validation files; its test file names no classes"
            )
        samples.append(Sample([str(item["id"])], template and strip_brackets(template), None, number))
    return samples


def strip_brackets(template: str) -> str:
    """Turn "Holding [something]" into "Holding something", the form of the label file."""
    return template.replace("[", "").replace("]", "")


def _read_kinetics(path: str, lines: list[str], titles: list[str], needs_labels: bool) -> list[Sample]:
    samples = []
    rows = csv.DictReader(lines[1:], titles, skipinitialspace=True)
    for row in rows:
        line = rows.line_num + 1  # with that of the titles; lines may be empty, and a row may have several
        try:
            name, start, end = row["youtube_id"], _parse_seconds(row["time_start"]), _parse_seconds(row["time_end"])
            names = [f"{name}_{start:06}_{end:06}", f"{name}_{start}_{end}", name]
            label = row.get("label") or None
            if label is None and needs_labels:
                raise ValueError("no class")
            samples.append(Sample(names, label, None, line))
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"{path} line {line}: got '{lines[line - 1]}', expected label,youtube_id,time_start,time_end; "
                "Kinetics' test file names no classes"
            ) from error
    return samples


def _parse_seconds(text: str | None) -> int:
    """Read whole seconds, which some copies of Kinetics' files write as 7.0."""
    whole, _, fraction = (text or "").strip().partition(".")
    if not is_number(whole) or fraction.strip("0"):
        raise ValueError(f"no whole seconds: {text}")
    return int(whole)


def _parse_semicolon(path: str, number: int, line: str, needs_labels: bool) -> Sample:
    name, label = (part.strip(' "') for part in line.partition(";")[::2])
    if not label and needs_labels:
        raise ValueError(f"{path} line {number}: got '{line}', expected id;label; the test file names no classes")
    return Sample([name], label or None, None, number)


def _parse_list_line(path: str, number: int, line: str, needs_labels: bool) -> Sample:
    name, num_frames, label = parse_list_line(line)
    if label is None and needs_labels:
        raise ValueError(f"{path} line {number}: got '{line}', expected 'video label' or 'video num_frames label'")
    return Sample([name], label, num_frames, number)


@refuses_damage
def read_class_names(path: str) -> list[str]:
    """Read class names by label: one a line, or Something-Something V2's json of `{"name": "label"}`.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not such a file, or labels that are not 0 to the number of names less one.
    """
    lines = read_lines(path, "name a file of class names, such as splits/kinetics400.txt")
    if not path.lower().endswith(".json"):
        return [line for line in lines if line]
    content = parse_json("\n".join(lines), path)
    if not isinstance(content, dict) or not all(is_number(str(label)) for label in content.values()):
        raise ValueError(f'{path}: expected {{"class name": "label", ...}}, labels from 0; correct it or get it again')
    labels = {int(label): name for name, label in content.items()}
    if sorted(labels) != list(range(len(labels))):
        raise ValueError(f"{path}: labels are not 0 to {len(labels) - 1}, each once")
    return [labels[label] for label in range(len(labels))]


def pair_mirrored_classes(class_names: list[str]) -> dict[int, int]:
    """Return {label: label of the mirrored video} of the classes that differ in the words "left" and "right" alone.

    "Pushing something from left to right" and "Pushing something from right to left" are such a pair.
    """
    labels = {name.casefold(): label for label, name in enumerate(class_names)}
    mirrored = [re.sub(r"(?<![a-z])(left|right)(?![a-z])", _swap_side, name) for name in labels]
    return {
        label: labels[other]
        for other, (name, label) in zip(mirrored, labels.items(), strict=True)
        if other != name and other in labels
    }


def _swap_side(word: re.Match) -> str:
    return "right" if word[0] == "left" else "left"


def number_samples(samples: list[Sample], class_names: list[str] | None, path: str) -> None:
    """Turn class names into labels, in place.

    Raises:
        ValueError: a class that is not among the names.
    """
    labels = {name: label for label, name in enumerate(class_names or [])}
    for sample in samples:
        if isinstance(sample.label, str):
            if sample.label not in labels:
                raise ValueError(f"{path} line {sample.line}: class '{sample.label}' is not in the file of --labels")
            sample.label = labels[sample.label]
