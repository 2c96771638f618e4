"""The skeleton pkl (`split` and `annotations`, as PYSKL and MMAction2 have it) as checked annotations of one split."""

import os
from dataclasses import dataclass

import numpy as np

from files import load_pickle


@dataclass
class Annotation:
    """One recording as the file gives it; the arrays are those of the file, float16 stays float16.

    Attributes:
        name: the sample's name (`frame_dir`).
        label: class id.
        keypoint: (M, T, V, C), persons, frames, joints, two or three coordinates.
        score: (M, T, V) how sure each joint is, or None.
        img_shape: (height, width) of the picture in pixels, or None.
    """

    name: str
    label: int
    keypoint: np.ndarray
    score: np.ndarray | None
    img_shape: tuple | None


def read_annotations(path: str, split: str | None) -> tuple[list, list | None]:
    """Read the annotations of a split, in the order of the split.

    Returns:
        Annotations, and the class names of the file or None.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is of another form, has no such split, or the split names what the file does not hold.
    """
    content = load_pickle(path)
    if not isinstance(content, dict) or not isinstance(content.get("annotations"), list):
        raise ValueError(f"{path}: expected a dict with 'split' and 'annotations'; run skeleton2pkl.py to make one")
    splits = content.get("split") or {}
    if split not in splits:
        what = "split is not set" if split is None else f"no split '{split}'"
        raise ValueError(f"{path}: {what}, the file has {', '.join(map(str, splits)) or 'none'}; set READER.split")
    found = {}
    for place, annotation in enumerate(content["annotations"]):
        if not isinstance(annotation, dict) or not {"frame_dir", "label", "keypoint"} <= annotation.keys():
            raise ValueError(f"{path}: annotation {place} lacks frame_dir, label or keypoint; run skeleton2pkl.py again")
        found[annotation["frame_dir"]] = annotation
    missing = [name for name in splits[split] if name not in found]
    if missing:
        raise ValueError(
            f"{path}: split '{split}' names {len(missing)} samples without an annotation, the first is '{missing[0]}'; "
            "run skeleton2pkl.py again"
        )
    class_names = content.get("class_names")
    chosen = [_read_one(f"{path}: '{name}'", found[name]) for name in splits[split]]
    return chosen, None if class_names is None else [str(name) for name in class_names]


def _read_one(where: str, annotation: dict) -> Annotation:
    keypoint, score = annotation["keypoint"], annotation.get("keypoint_score")
    if np.ndim(keypoint) != 4 or np.shape(keypoint)[3] not in (2, 3):
        raise ValueError(f"{where}: keypoint is {np.shape(keypoint)}, expected (persons, frames, joints, 2 or 3)")
    if score is not None and np.shape(score) != np.shape(keypoint)[:3]:
        raise ValueError(f"{where}: keypoint_score is {np.shape(score)}, expected {np.shape(keypoint)[:3]}")
    length = annotation.get("total_frames")
    keypoint = np.asarray(keypoint)[:, :length]
    score = None if score is None else np.asarray(score)[:, :length]
    return Annotation(
        str(annotation["frame_dir"]), int(annotation["label"]), keypoint, score, annotation.get("img_shape")
    )
