"""What every raw format gives: samples to read, their splits, and annotations of checked key points."""

import os
from dataclasses import dataclass, field

import numpy as np


class EmptyBodiesError(ValueError):
    """A sample without a single body: nothing is wrong with the file, but there is nothing to see."""


@dataclass(frozen=True)
class RawSample:
    """One sample before it is read."""

    name: str  # its frame_dir in the pkl
    path: str
    label: int | None = None  # None: its file says it
    place: int | None = None  # its number within the file, where the file holds many


@dataclass
class RawSet:
    """All that a folder or file of raw skeletons holds, before anything is read but names and lists.

    Attributes:
        samples: what will be read, in the order of the pkl.
        splits: sample names by split, official where there are official ones.
        class_names: in label order; None where nobody names them.
        layout: name of the joint layout (`skeleton.LAYOUTS`); None where it is not known.
        skipped: what will not be read, and why.
        official_sizes: how many samples an official split has, for the report.
    """

    samples: list[RawSample]
    splits: dict[str, list[str]]
    class_names: list[str] | None = None
    layout: str | None = None
    skipped: dict[str, str] = field(default_factory=dict)
    official_sizes: dict[str, int] = field(default_factory=dict)


def list_files(place: str | os.PathLike, suffix: str, origin: str) -> list[str]:
    """List the files of a folder tree that end in `suffix` (any case), sorted by name.

    Args:
        origin: where such files come from, for the message when there are none.
    Raises:
        FileNotFoundError: no such folder, or no such files in it.
    """
    place = os.fspath(place)
    if not os.path.isdir(place):
        raise FileNotFoundError(f"folder '{place}' does not exist; {origin}")
    paths = [
        os.path.join(folder, name)
        for folder, _, names in os.walk(place)
        for name in names
        if name.lower().endswith(suffix) and not name.startswith(".")
    ]
    if not paths:
        raise FileNotFoundError(f"no {suffix} files in '{place}'; {origin}")
    return sorted(paths, key=lambda path: (os.path.basename(path), path))


def read_text(path: str | os.PathLike) -> bytes:
    """Read a file whole.

    Raises:
        ValueError: it is empty.
    """
    with open(path, "rb") as file:
        data = file.read()
    if not data.strip():
        raise ValueError(f"'{os.fspath(path)}' line 1: the file is empty; get it again")
    return data


def make_annotation(sample: RawSample, label: int, keypoint: np.ndarray, limit: float, **more) -> dict:
    """Check key points and make the annotation of the pkl, float32.

    Args:
        keypoint: (M, T, V, C); persons that are zero in all frames are left out at the end.
        limit: largest absolute value that can be true, in the unit of the data.
        more: further fields: keypoint_score (M, T, V), img_shape, original_shape.
    Raises:
        EmptyBodiesError: no frames, or not one point that is not zero.
        ValueError: a value that is no finite number or beyond the limit; names person, frame and joint.
    """
    keypoint = np.asarray(keypoint)
    if keypoint.ndim != 4:
        raise ValueError(f"'{sample.path}': {sample.name} has the shape {keypoint.shape}, expected (M, T, V, C)")
    wrong = np.argwhere(~(np.abs(keypoint) <= limit))  # nan compares false
    if len(wrong):
        person, frame, joint, axis = wrong[0].tolist()
        raise ValueError(
            f"'{sample.path}': {sample.name} person {person}, frame {frame}, joint {joint}: "
            f"{'xyz'[axis]} is {keypoint[tuple(wrong[0])]}, expected a number from {-limit:g} to {limit:g}; "
            "correct the file or get it again"
        )
    seen = np.flatnonzero(keypoint.any(axis=(1, 2, 3)))
    if not len(seen):
        raise EmptyBodiesError(f"'{sample.path}': {sample.name} has no body in any of its {keypoint.shape[1]} frames")
    num_persons = seen[-1] + 1
    annotation = {"frame_dir": sample.name, "label": int(label), "total_frames": keypoint.shape[1]}
    annotation["keypoint"] = np.ascontiguousarray(keypoint[:num_persons], np.float32)
    if "keypoint_score" in more:
        more["keypoint_score"] = np.ascontiguousarray(more["keypoint_score"][:num_persons], np.float32)
    return {**annotation, **more}
