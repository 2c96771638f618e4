"""What the data scripts write and the readers read: clip records, lists of them, frame folders.

A clip record is a pickle of `{"video": str, "label": int, "frames": [relative jpg path] or [jpeg bytes]}`; with bytes
it also holds "checksums", the CRC-32 of each frame, and may hold flow (`packed_flow.py`). Where the class is not known,
"label" is absent. The 3-tuple `(video, label, frames)` of older reproductions is read too. Frame paths are relative to
the folder of the record, list lines to the folder of the list, always with "/".
"""

import json
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from common.files import dump_pickle, load_pickle, write_atomically
from common.text_files import read_lines, refuses_damage, show_value
from dataset.media import PICTURE_SIGNATURES, is_frame
from dataset.names import name_samples
from dataset.packed_flow import read_fields

CLASSES_HEADER = "# classes:"
OFFICIAL_HEADER = "# official_size:"
MAX_LABEL = 10**9  # nine digits, as `is_number` allows in a list


@dataclass
class ListEntry:
    """One line of a list: a record, frame folder or video; a number that the line does not state is None.

    Attributes:
        name: of the sample, unless its record has one; see `dataset/names.py`.
        problem: why there is no such file, where that is known already.
    """

    path: str
    label: int | None
    num_frames: int | None
    line: int
    name: str = field(default="", compare=False)
    problem: str = field(default="", compare=False)

    def __post_init__(self):
        base = os.path.basename(os.path.normpath(self.path))
        self.name = self.name or (os.path.splitext(base)[0] if self.num_frames is None else base)


@refuses_damage
def read_record(path: str | os.PathLike) -> dict[str, Any]:
    """Read a clip record.

    Returns:
        dict of "video" (str), "label" (int from 0, or None where it is absent), "frames" (paths as stored, or bytes),
        "checksums" where frames are bytes and the record has them, and flow (`packed_flow.py`) where it has that.
    Raises:
        FileNotFoundError: no such file.
        ValueError: not a whole pickle, not plain data, or a field of a wrong type; names the file and the field.
    """
    path = os.fspath(path)
    record = load_pickle(path, encoding="bytes")  # Python 2 text and JPEG bytes look the same until here
    if isinstance(record, tuple) and len(record) == 3:
        record = dict(zip(("video", "label", "frames"), record, strict=True))
        if _is_list_of(record["frames"], (str, bytes)):  # the 2020 scripts sorted frames as text: _1, _10, _100, _2
            frames = [_decode_path(frame) for frame in record["frames"]]
            record["frames"] = sorted(frames, key=natural_order) if _is_list_of(frames, str) else frames
    if not isinstance(record, dict):
        raise ValueError(
            f"'{path}' holds a {type(record).__name__}, expected a record (dict or 3-tuple); make it with jpg2pkl.py"
        )
    return _check_record({_decode_path(key): value for key, value in record.items()}, path)


def write_record(record: dict[str, Any], path: str | os.PathLike) -> None:
    """Write a clip record in one piece, after the same checks that `read_record` makes."""
    checked = _check_record(record, os.fspath(path))
    if checked["label"] is None:
        del checked["label"]
    dump_pickle(checked, path, has_checksum="checksums" not in checked)  # its frames have one each, checked when used


def _check_record(record: dict, path: str) -> dict[str, Any]:
    video, label, frames = _decode_path(record.get("video")), record.get("label"), record.get("frames")
    if not isinstance(video, str) or not video:
        raise ValueError(_describe_field(path, "video", video, "the video's name as text"))
    if label is not None:
        if isinstance(label, bool) or not isinstance(label, (int, np.integer)) or not 0 <= label < MAX_LABEL:
            raise ValueError(_describe_field(path, "label", label, "a class id, a whole number from 0"))
        label = int(label)
    frames = [_decode_path(frame) for frame in frames] if isinstance(frames, (list, tuple)) else frames
    if not (_is_list_of(frames, str) or _is_list_of(frames, bytes)):
        raise ValueError(_describe_field(path, "frames", frames, "a list of paths or a list of JPEG bytes, not empty"))
    checked = {"video": video, "label": label, "frames": frames}
    if record.get("checksums") is not None:
        checksums = record["checksums"]
        if not _is_list_of(checksums, int) or len(checksums) != len(frames) or isinstance(frames[0], str):
            raise ValueError(_describe_field(path, "checksums", checksums, "one whole number per packed frame"))
        checked["checksums"] = list(checksums)
    return {**checked, **read_fields(record, len(frames), path)}


def _describe_field(path: str, field: str, value: Any, expected: str) -> str:
    return (
        f"'{path}': field '{field}' is {show_value(value)}, expected {expected}; make the record again with jpg2pkl.py"
    )


def _is_list_of(values: Any, kind: type | tuple) -> bool:
    return isinstance(values, (list, tuple)) and len(values) > 0 and all(isinstance(value, kind) for value in values)


def _decode_path(value: Any) -> Any:
    """Decode text pickled by Python 2 (bytes here); the bytes of a JPEG or PNG file stay bytes."""
    if isinstance(value, bytes) and not value.startswith(PICTURE_SIGNATURES):
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError:
            return value
    return value


def natural_order(name: str) -> list:
    """Sort key that compares the numbers in a name as numbers: frame_2 before frame_10, zero-padded or not."""
    parts = re.split(r"([0-9]+)", name)  # text at even indices, numbers at odd ones
    return [int(part) if index % 2 else part for index, part in enumerate(parts)]


def list_frames(folder: str | os.PathLike) -> list[str]:
    """List the names of the JPEG and PNG files in a folder, in the order of the numbers in them.

    Optical flow (`flow_x_00001.jpg`), which MMAction2 keeps beside its `img_00001.jpg`, is left out.

    Raises:
        FileNotFoundError: no such folder.
    """
    if not os.path.isdir(folder):
        raise FileNotFoundError(f"frame folder '{os.fspath(folder)}' does not exist; run avi2jpg.py first")
    return sorted(filter(is_frame, os.listdir(folder)), key=natural_order)


def relative_path(path: str | os.PathLike, base: str | os.PathLike) -> str:
    """Write `path` relative to the folder `base`, with "/"; the inverse of `resolve_path`."""
    try:
        return os.path.relpath(path, base).replace(os.sep, "/")
    except ValueError:  # another drive (Windows)
        return os.path.abspath(path).replace(os.sep, "/")


def resolve_path(path: str, base: str | os.PathLike) -> str:
    """Find a path that a record or list in the folder `base` names.

    Returns:
        `base`/`path` where that exists, else `path` as it is: the lists of 2020 are relative to the working directory.
    """
    joined = os.path.normpath(os.path.join(base, path))
    return joined if os.path.exists(joined) else path


@refuses_damage
def read_list(path: str | os.PathLike, must_exist: bool = True) -> tuple[list[ListEntry], list[str] | None]:
    """Read a list: records, the frame folders of PaddleVideo and MMAction2, or videos with labels.

    A line is `record.pkl`, `frame_folder num_frames label` or `video_or_record label`; paths may contain blanks. The
    label is left out where it is not known: `video`, or `frame_folder` alone. A header `# classes: ["A", "B"]` names
    the classes; other lines that start with # are comments, unless they name a file that exists.

    Args:
        must_exist: refuse a list that names a file which does not exist.
    Returns:
        the entries, and the class names or None.
    Raises:
        FileNotFoundError: the list, or a file in it, does not exist (with the line number).
        ValueError: an empty list, a negative label, or one outside the classes of the header.
    """
    path = os.fspath(path)
    entries, class_names = [], None
    for number, line in enumerate(read_lines(path, "data_list_gener.py makes it"), 1):
        if line.startswith(CLASSES_HEADER):
            class_names = _parse_class_names(line[len(CLASSES_HEADER) :], f"{path} line {number}", class_names)
        elif line and not (line.startswith("#") and _is_comment(line, path)):
            entries.append(_parse_entry(line, number, path))
    if not entries:
        raise ValueError(
            f"{path}: the list is empty; run avi2jpg.py, jpg2pkl.py and data_list_gener.py, and read their summaries"
        )
    for entry in entries:
        if must_exist and not os.path.exists(entry.path):
            raise FileNotFoundError(f"{path} line {entry.line}: {describe_missing(entry.path)}")
        if class_names and entry.label is not None and entry.label >= len(class_names):
            raise ValueError(
                f"{path} line {entry.line}: label {entry.label}, expected 0 to {len(class_names) - 1} for the "
                f"{len(class_names)} classes of its header; correct the line or the header"
            )
    check_labels(entries, path)
    names = name_samples([entry.path for entry in entries], [entry.name for entry in entries])
    for entry, name in zip(entries, names, strict=True):
        entry.name = name
    return entries, class_names


def describe_missing(path: str) -> str:
    """Say that a file which a list names is not there, and what to do."""
    if "\\" in path:
        advice = "write the path with / instead of \\"
    elif is_record(path):
        advice = "run jpg2pkl.py, then data_list_gener.py"
    else:
        advice = "get the file, or correct the line: 'record.pkl', 'frame_folder num_frames label' or 'video label'"
    return f"'{path}' does not exist; {advice}"


def check_labels(entries: list[ListEntry], path: str) -> None:
    """Refuse a list that gives one video two labels.

    Raises:
        ValueError: names both lines.
    """
    first = {}
    for entry in entries:
        other = first.setdefault(entry.path, entry)
        if entry.label != other.label:
            raise ValueError(
                f"{path}: line {other.line} gives '{entry.path}' the label {other.label}, line {entry.line} the label "
                f"{entry.label}; take one of them out"
            )


def _is_comment(line: str, path: str) -> bool:
    """Whether a line that starts with # names no file."""
    return not os.path.exists(resolve_path(parse_list_line(line)[0], os.path.dirname(path)))


def _parse_entry(line: str, number: int, path: str) -> ListEntry:
    name, num_frames, label = parse_list_line(line)
    if num_frames == 0:
        raise ValueError(f"{path} line {number}: got '{line}', of 0 frames; correct the line or take it out")
    entry_path = resolve_path(name, os.path.dirname(path))
    if label is None and re.search(r"\s-\d+$", name) and not os.path.exists(entry_path):
        raise ValueError(
            f"{path} line {number}: got '{line}', expected a label from 0; leave it out where it is not known"
        )
    return ListEntry(entry_path, label, num_frames, number)


def parse_list_line(line: str) -> tuple[str, int | None, int | None]:
    """Divide `path num_frames label`, `path label` or `path` into path, number of frames and label.

    The path may contain blanks; a number that the line does not state is None.
    """
    words = line.rsplit(maxsplit=2)
    if len(words) == 3 and is_number(words[1]) and is_number(words[2]):
        return words[0], int(words[1]), int(words[2])
    words = line.rsplit(maxsplit=1)
    if len(words) == 2 and is_number(words[1]):
        return words[0], None, int(words[1])
    return line, None, None


def is_record(path: str) -> bool:
    """Whether a path is that of a record; a folder is one of frames, any other file is a video."""
    return path.lower().endswith(".pkl") and not os.path.isdir(path)


def name_record(path: str, video: str, name_in_list: str) -> str:
    """Return the name of a record's sample: that of its video, with folders where its file has that name as others do.

    Args:
        video: as the record says it.
        name_in_list: of its entry, with as many folders as tell it from those of other entries.
    """
    return name_in_list if os.path.splitext(os.path.basename(path))[0] == video else video


def is_number(word: str) -> bool:
    """Whether a word of a list is a whole number, of at most nine digits."""
    return word.isdecimal() and len(word) < 10


def _parse_class_names(text: str, where: str, earlier: list[str] | None) -> list[str]:
    try:
        names = json.loads(text)
    except json.JSONDecodeError:
        names = None
    if not _is_list_of(names, str) or len(set(names)) != len(names) or earlier not in (None, names):
        raise ValueError(
            f"{where}: got '{text.strip()[:60]}', expected a JSON list of different class names, one for the list; "
            "correct the header"
        )
    return names


@refuses_damage
def read_official_size(path: str | os.PathLike) -> int | None:
    """Return how many videos the official split file names, of which the list may hold fewer; None if not stated."""
    if str(path).endswith(".pkl"):  # skeletons, all splits in one file
        return None
    for number, line in enumerate(read_lines(path, "data_list_gener.py makes it"), 1):
        if line.startswith(OFFICIAL_HEADER):
            if not is_number(size := line[len(OFFICIAL_HEADER) :].strip()):
                raise ValueError(f"{path} line {number}: got '{line}', expected a number of videos; correct the line")
            return int(size)
    return None


def quote_path(path: str, states_length: bool = False) -> str:
    """Write a path so that `read_list` reads it back, whatever characters it has.

    A name that would be taken for a comment, or whose blanks would be cut off, gets "./" before it or "/" behind it.

    Args:
        states_length: the number of frames follows, and then the label; else the label alone, or nothing.

    Raises:
        ValueError: a name with a line break, or one that is not UTF-8: no list can hold it.
    """
    if "\n" in path or "\r" in path:
        raise ValueError(f"{path!r}: a list cannot hold a name with a line break; rename it")
    if show_path(path) != path:
        raise ValueError(f"'{show_path(path)}': its path is not UTF-8 (unzipped with another encoding?); rename it")
    if path.startswith(("#", "\ufeff")) or path != path.lstrip():
        path = f"./{path}"
    words = path.split()
    ends_in_number = not states_length and len(words) > 1 and is_number(words[-1])
    return f"{path}/" if path != path.rstrip() or ends_in_number else path


def show_path(path: str) -> str:
    """Write a path that may be no UTF-8 in one line of characters that can be printed."""
    return path.encode("utf-8", "backslashreplace").decode().replace("\n", "\\n").replace("\r", "\\r")


def write_list(
    paths: Iterable[str],
    path: str | os.PathLike,
    class_names: list[str] | None = None,
    official_size: int | None = None,
) -> None:
    """Write a list in one piece.

    Args:
        paths: the lines; paths in them already relative to the list's folder (`relative_path`).
        official_size: videos that the official split file names.
    """
    with write_atomically(path, "w") as file:
        if class_names:
            file.write(f"{CLASSES_HEADER} {json.dumps(class_names, ensure_ascii=False)}\n")
        if official_size:
            file.write(f"{OFFICIAL_HEADER} {official_size}\n")
        file.writelines(line + "\n" for line in paths)
