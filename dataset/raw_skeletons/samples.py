"""What every raw format provides: samples to read, their splits, and annotations of checked key points."""

import argparse
import codecs
import os
from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from dataset.raw_skeletons.persons import PERSONS
from dataset.raw_skeletons.tracks import Person
from dataset.skeleton_checks import are_shares, check_numbers

NOTES = "notes"  # key of an annotation until it is stored: {what the report says of its sample: how often}
MISSING_POINTS = "landmarks without numbers (nan, None, empty), which count as missing"
SHARES = (
    "recordings whose x and y lie within -1.5 and 1.5, as shares of the picture do and pixels do not (multiply them by "
    "its width and height)"
)


class EmptyBodiesError(ValueError):
    """A sample without any body, in a file that is whole."""


@dataclass(frozen=True)
class RawSample:
    """One sample before it is read."""

    name: str  # its frame_dir in the pkl
    path: str
    label: int | None = None  # None: stated in its file, or not known
    index: int | None = None  # of the sample in the file, where the file holds many
    num_bytes: int | None = None  # None: the size of its file
    video: str | None = None  # whose number of frames the sample has; None: its file says it
    stem: str | None = None  # of its files' names, in a folder that holds those of other videos too


@dataclass
class RawSet:
    """The content of a folder or file of raw skeletons, of which only names and lists have been read.

    Attributes:
        samples: what will be read, in the order of the pkl.
        splits: sample names by split, official where there are official ones.
        class_names: in label order; None if not known.
        layout: name of the joint layout (`layouts.LAYOUTS`); None where it is not known.
        skipped: what will not be read, and why.
        annotations: of a format that reads all samples at once, else None; `failed` has its bad samples.
        official_sizes: how many samples an official split has, for the report.
    """

    samples: list[RawSample]
    splits: dict[str, list[str]]
    class_names: list[str] | None = None
    layout: str | None = None
    skipped: dict[str, str] = field(default_factory=dict)
    official_sizes: dict[str, int] = field(default_factory=dict)
    annotations: list[dict] | None = None
    failed: dict[str, tuple[str, str]] = field(default_factory=dict)  # name -> (kind, reason)


def list_files(folder: str | os.PathLike, suffix: str, origin: str) -> list[str]:
    """List the files of a folder tree that end in `suffix` (any case), sorted by name.

    Args:
        origin: where such files come from, for the message when there are none.
    Raises:
        FileNotFoundError: no such folder, or no such files in it.
    """
    folder = os.fspath(folder)
    if not os.path.isdir(folder):
        raise FileNotFoundError(f"folder '{folder}' does not exist; {origin}")
    paths = [
        os.path.join(parent, name)
        for parent, _, names in os.walk(folder)
        for name in names
        if name.lower().endswith(suffix) and not name.startswith(".")
    ]
    if not paths:
        raise FileNotFoundError(f"no {suffix} files in '{folder}'; {origin}")
    return sorted(paths, key=lambda path: (os.path.basename(path), path))


def read_bytes(path: str | os.PathLike) -> bytes:
    """Read a file whole, but for the byte order mark of a text.

    Raises:
        ValueError: it is empty.
    """
    with open(path, "rb") as file:
        data = file.read().removeprefix(codecs.BOM_UTF8)
    if not data.strip():
        raise ValueError(f"'{os.fspath(path)}' line 1: the file is empty; get it again")
    return data


def make_annotation(sample: RawSample, label: int | None, keypoint: np.ndarray, limit: float, **more) -> dict:
    """Check key points and make the annotation of the pkl.

    Args:
        keypoint: (M, T, V, C); the last persons are left out if they are zero in all frames. float16 stays, all else
            becomes float32.
        limit: largest plausible absolute value, in the unit of the data.
        more: further fields: keypoint_score (M, T, V), img_shape, original_shape.
    Raises:
        EmptyBodiesError: no frames, or not one point that is not zero.
        ValueError: a value that is no finite number or beyond the limit, which names person, frame and joint;
            coordinates or scores of another unit.
    """
    where, score = f"'{sample.path}': {sample.name}", more.get("keypoint_score")
    seen = np.flatnonzero(keypoint.any(axis=(1, 2, 3)))
    if not len(seen):
        raise EmptyBodiesError(f"'{sample.path}': {sample.name} has no body in any of its {keypoint.shape[1]} frames")
    check_numbers(where, keypoint, score, more.get("img_shape"), limit)
    known = {} if label is None else {"label": int(label)}
    annotation = {"frame_dir": sample.name, **known, "total_frames": keypoint.shape[1], **more}
    annotation["keypoint"] = _shrink(keypoint[: seen[-1] + 1])
    if score is not None:
        annotation["keypoint_score"] = _shrink(score[: seen[-1] + 1])
    return annotation


def _shrink(values: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(values, np.float16 if values.dtype == np.float16 else np.float32)


def make_pose_annotation(
    sample: RawSample,
    frames: list[list[Person]],
    limit: float,
    size: tuple | None,
    num_joints: int,
    args: argparse.Namespace,
    num_missing: int = 0,
) -> dict:
    """Make the annotation of the first persons of 2-D poses.

    Args:
        frames: the people of each frame.
        limit: largest absolute value that x and y can have.
        size: (height, width) of the picture in the unit of x and y, where it is known.
        args: `persons`, who is who, a key of `PERSONS` or None: "matched"; `num_persons`, how many are kept.
        num_missing: points without a number, for the report.
    """
    sizes = {"img_shape": size, "original_shape": size} if size else {}
    poses = PERSONS[args.persons or "matched"](frames, num_joints, args.num_persons)
    points, score = poses[: args.num_persons, ..., :2], poses[: args.num_persons, ..., 2]
    annotation = make_annotation(sample, sample.label, points, limit, keypoint_score=score, **sizes)
    num_left_out = int(poses[args.num_persons :].any(axis=(1, 2, 3)).sum())
    notes = {
        f"persons beyond the first {args.num_persons} left out (--persons keeps more)": num_left_out,
        MISSING_POINTS: num_missing,
        SHARES: int(size is None and are_shares(points)),
    }
    if any(notes.values()):
        annotation[NOTES] = {what: count for what, count in notes.items() if count}
    return annotation


def leave_others_out(
    annotations: list[dict], raw_set: RawSet, num_joints: int | None
) -> tuple[list[dict], dict[str, tuple[str, str]]]:
    """Return the annotations without those of other joints than the layout's, or of other coordinates than most.

    Returns:
        The annotations, and (kind, reason) of each that is left out, by name.

    Raises:
        ValueError: all have other joints.
    """
    dimensions = Counter(annotation["keypoint"].shape[3] for annotation in annotations)
    usual, good, others = max(dimensions, key=dimensions.get, default=0), [], {}
    for annotation in annotations:
        name, (count, dimension) = annotation["frame_dir"], annotation["keypoint"].shape[2:]
        if num_joints and count != num_joints:
            fault = f"{count} joints, but the layout {raw_set.layout} has {num_joints}; give the right --layout"
        elif dimension != usual:
            fault = f"{dimension} coordinates, but {dimensions[usual]} of the samples have {usual}; make a pkl of each"
        else:
            good.append(annotation)
            continue
        others[name] = ("damaged", f"{name} has {fault}")
    if others and not good:
        raise ValueError(next(iter(others.values()))[1])
    return good, others


def check_labels(annotations: list[dict], raw_set: RawSet) -> None:
    """Refuse a set whose samples have labels without a name.

    Raises:
        ValueError: naming the first such sample.
    """
    num_classes = len(raw_set.class_names or [])
    for annotation in annotations:
        name, label = annotation["frame_dir"], annotation.get("label")
        if num_classes and label is not None and label >= num_classes:
            raise ValueError(
                f"{name} has the label {label}, but there are names for {num_classes} classes; give the right --classes"
            )
