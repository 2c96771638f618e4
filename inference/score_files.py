"""Score files of test.py: what they hold, and whether several can be fused.

A score file is a pickle of {"scores": {sample name: (num_classes,) scores}, "labels": {sample name: class id},
"class_names", "protocol"}; `report.write_scores` writes it.
"""

import dataclasses
import posixpath

import numpy as np

from common import files
from common.text_files import refuses_damage, show_value
from engine import metrics

MAX_SUM_ERROR = 0.01  # of probabilities, which may be float16
SCORE_TYPES = {"prob": "probabilities", "score": "logits"}  # by the average_clips of test.py


@dataclasses.dataclass
class ScoreFile:
    """The content of a score file.

    Attributes:
        names: of the samples.
        labels: (N,) class ids, or None where they are not known (the file has {}).
        scores: (N, num_classes) float64.
        protocol: how the samples were scored; `average_clips` tells probabilities (`prob`) from logits (`score`).
    """

    path: str
    names: list
    labels: np.ndarray | None
    scores: np.ndarray
    class_names: list
    protocol: dict

    def subset(self, indices: np.ndarray) -> "ScoreFile":
        """Return the samples at `indices`, in that order."""
        names = [self.names[index] for index in indices]
        labels = None if self.labels is None else self.labels[indices]
        return dataclasses.replace(self, names=names, labels=labels, scores=self.scores[indices])


@refuses_damage
def read_scores(path: str) -> ScoreFile:
    """Read a score file (see `report.write_scores`).

    Raises:
        FileNotFoundError: no such file.
        ValueError: another kind of file, scores that do not fit its class names, that are not finite, or that are
            called probabilities and are none.
    """
    content = files.load_pickle(path)
    expected = {"scores", "labels", "class_names", "protocol"}
    if not isinstance(content, dict) or not expected <= set(content):
        found = ", ".join(map(str, list(content)[:5])) if isinstance(content, dict) else f"a {type(content).__name__}"
        raise ValueError(
            f"'{path}' is no score file: it holds {found}, expected {', '.join(sorted(expected))}; give the "
            "*_test_scores.pkl of test.py"
        )
    kinds = {key: type(content[key]).__name__ for key in ("scores", "labels", "protocol")}
    if set(kinds.values()) != {"dict"} or not isinstance(content["class_names"], list | tuple):
        raise ValueError(
            f"'{path}' is no score file: its scores, labels and protocol are {', '.join(kinds.values())}, its class "
            f"names a {type(content['class_names']).__name__}; give the *_test_scores.pkl of test.py"
        )
    average_clips, class_names = content["protocol"].get("average_clips"), content["class_names"]
    if average_clips not in SCORE_TYPES:
        raise ValueError(
            f"'{path}': its protocol has average_clips {show_value(average_clips)}, expected 'prob' or 'score'; "
            "run test.py"
        )
    if not content["scores"] or (content["labels"] and set(content["labels"]) != set(content["scores"])):
        raise ValueError(
            f"'{path}': {len(content['scores'])} samples have scores, {len(content['labels'])} have labels"
        )
    shapes = {np.shape(row) for row in content["scores"].values()}
    if shapes != {(len(class_names),)}:
        raise ValueError(f"'{path}': scores of shape {sorted(shapes)}, expected {len(class_names)}, one a class")
    names = list(content["scores"])
    scores = np.stack([content["scores"][name] for name in names]).astype(np.float64)
    not_finite = np.flatnonzero(~np.isfinite(scores).all(axis=1))
    if len(not_finite):
        raise ValueError(
            f"'{path}': {len(not_finite)} of {len(names)} samples have scores that are nan or infinite, such as "
            f"'{names[not_finite[0]]}'; the network or its weights are broken, score again"
        )
    if average_clips == "prob":
        _check_probabilities(path, names, scores)
    labels = np.array([content["labels"][name] for name in names]) if content["labels"] else None
    return ScoreFile(path, names, labels, scores, list(class_names), content["protocol"])


def _check_probabilities(path: str, names: list, scores: np.ndarray) -> None:
    """Refuse logits or logarithms that a file calls probabilities: their mean would mean nothing."""
    wrong = np.flatnonzero((scores.min(axis=1) < 0) | (np.abs(scores.sum(axis=1) - 1) > MAX_SUM_ERROR))
    if len(wrong):
        row = scores[wrong[0]]
        raise ValueError(
            f"'{path}': {len(wrong)} of {len(names)} samples have scores that are no probabilities, which its protocol "
            f"calls them (average_clips 'prob'), such as '{names[wrong[0]]}' (from {row.min():.4g}, sum "
            f"{row.sum():.4g}); write logits and log-probabilities with average_clips 'score'"
        )


def order_like(first: ScoreFile, other: ScoreFile) -> ScoreFile:
    """Return `other` with its samples in the order of `first`.

    Raises:
        ValueError: the two differ in their classes, samples or labels; names the difference.
    """
    pair = f"'{first.path}' and '{other.path}'"
    sizes = len(first.class_names), len(other.class_names)
    if sizes[0] != sizes[1]:
        raise ValueError(f"{pair} have scores for {sizes[0]} and {sizes[1]} classes; fuse files of one data set")
    for label, (name, other_name) in enumerate(zip(first.class_names, other.class_names, strict=True)):
        if name != other_name:
            raise ValueError(
                f"{pair}: class {label} is {show_value(name)} in the one and {show_value(other_name)} in the other; "
                "score both with lists of one class file"
            )
    _compare_names(first, other, pair)
    indices = {name: index for index, name in enumerate(other.names)}
    other = other.subset(np.array([indices[name] for name in first.names]))
    if (first.labels is None) != (other.labels is None):
        raise ValueError(f"{pair}: only one of them has labels; score both with the same list or split")
    differ = [] if first.labels is None else np.flatnonzero(other.labels != first.labels)
    if len(differ):
        index = differ[0]
        raise ValueError(
            f"{pair}: '{first.names[index]}' has label {first.labels[index]} in the one and {other.labels[index]} in "
            f"the other ({len(differ)} samples differ); score both with lists of one run of the data scripts"
        )
    return other


def _compare_names(first: ScoreFile, other: ScoreFile, pair: str) -> None:
    only_first, only_other = set(first.names) - set(other.names), set(other.names) - set(first.names)
    if only_first or only_other:
        num_shared = len(first.names) - len(only_first)
        raise ValueError(
            f"{pair} hold different samples: {_describe_names(only_first, 'first')} and "
            f"{_describe_names(only_other, 'second')}, {num_shared} in both{_find_likeness(only_first, only_other)}; "
            "score the same list with each"
        )


def _find_likeness(first: set, other: set) -> str:
    """Return in what alone the names of two files differ, as a part of a sentence; "" if they differ in more."""
    forms = {
        "the case of letters": str.lower,
        "the suffix": lambda name: posixpath.splitext(name)[0],
        "the folder": posixpath.basename,
        "case, folder or suffix": lambda name: posixpath.splitext(posixpath.basename(name.lower()))[0],
    }
    for what, simplify in forms.items():
        if first and {simplify(str(name)) for name in first} == {simplify(str(name)) for name in other}:
            return f"; they differ by {what} alone: give the samples the same names"
    return ""


def _describe_names(names: set, which: str) -> str:
    examples = f" ({', '.join(sorted(names)[:3])})" if names else ""
    return f"{len(names)} only in the {which}{examples}"


def unify_score_type(streams: list, softmax: bool) -> list:
    """Return the streams with scores of one type; with `softmax`, logits become probabilities.

    Raises:
        ValueError: probabilities and logits are mixed; a sum of the two would mean nothing.
    """
    if softmax:
        streams = [_to_probabilities(stream) for stream in streams]
    types = [SCORE_TYPES[stream.protocol["average_clips"]] for stream in streams]
    if len(set(types)) > 1:
        other = next(index for index, name in enumerate(types) if name != types[0])
        raise ValueError(
            f"'{streams[0].path}' holds {types[0]} and '{streams[other].path}' holds {types[other]}; add --softmax to "
            "turn logits into probabilities, or score both with the same --average_clips"
        )
    return streams


def _to_probabilities(stream: ScoreFile) -> ScoreFile:
    if stream.protocol["average_clips"] == "prob":
        return stream
    protocol = {**stream.protocol, "average_clips": "prob", "softmax_by": "ensemble.py"}
    return dataclasses.replace(stream, scores=metrics.softmax(stream.scores), protocol=protocol)
