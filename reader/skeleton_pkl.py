"""The skeleton pkl with `split` and `annotations`, as of PYSKL and MMAction2: the checked recordings of one split.

The arrays of a large file are written once to <file>.npy beside it, with <file>.index, and memory-mapped from there, so
that all processes share one copy in memory.
"""

import logging
import os
from dataclasses import dataclass

import numpy as np

from common.files import dump_pickle, load_pickle, write_atomically
from common.text_files import refuses_damage, show_value
from layouts import LAYOUTS, Layout

GIB = 2**30
REQUIRED = ("frame_dir", "label", "keypoint")  # fields of an annotation


@dataclass
class Recording:
    """One annotation; the arrays are those of the file, float16 stays float16.

    Attributes:
        name: the sample's name (`frame_dir`).
        label: class id.
        keypoint: (M, T, V, C): persons, frames, joints, two or three coordinates.
        score: (M, T, V), how sure each joint is, or None.
        img_shape: (height, width) of the picture in pixels, or None.
    """

    name: str
    label: int
    keypoint: np.ndarray
    score: np.ndarray | None
    img_shape: tuple | None


@refuses_damage
def read_split(path: str, split: str | None, layout: Layout, memory_limit_gib: float) -> tuple[list, list | None]:
    """Read the recordings of a split, in its order.

    Args:
        layout: that the joints must have.
        memory_limit_gib: a larger file is memory-mapped.

    Returns:
        Recordings, and the class names of the file or None.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file has another form or layout or no such split, or a sample of the split has no annotation.
    """
    content = read_content(path, memory_limit_gib)
    splits = content.get("split") or {}
    if split not in splits:
        what = "split is not set" if split is None else f"there is no split '{split}'"
        known = ", ".join(map(str, splits)) or "none"
        raise ValueError(f"{path}: {what}, the file has {known}; set READER.split, or it in TRAIN, VALID and TEST")
    stated = content.get("layout")
    if stated in LAYOUTS and LAYOUTS[stated].joints != layout.joints:
        raise ValueError(
            f"{path}: the joints are those of layout {stated}, not {layout.name}; set READER.layout={stated}"
        )
    found = {annotation["frame_dir"]: annotation for annotation in content["annotations"]}
    missing = [name for name in splits[split] if name not in found]
    if missing or not splits[split]:
        what = f"names {len(missing)} samples that have no annotation, first '{missing[0]}'" if missing else "is empty"
        raise ValueError(f"{path}: split '{split}' {what}; run skeleton2pkl.py again")
    names = content.get("class_names")
    recordings = [make_recording(f"{path}: '{name}'", found[name], layout) for name in splits[split]]
    return recordings, None if names is None else [str(name) for name in names]


def read_content(path: str, memory_limit_gib: float, required: tuple = REQUIRED) -> dict:
    """Read the whole file; of its annotations only the presence of the `required` fields is checked.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file has another form, or an annotation lacks a field.
    """
    is_mapped = os.path.isfile(path) and os.path.getsize(path) > memory_limit_gib * GIB
    return _map(path, required) if is_mapped else _load(path, required)


def _load(path: str, required: tuple) -> dict:
    content = load_pickle(path)
    if not isinstance(content, dict) or not isinstance(content.get("annotations"), list):
        raise ValueError(f"{path}: expected a dict of 'split' and 'annotations'; run skeleton2pkl.py to make one")
    for index, annotation in enumerate(content["annotations"]):
        lacking = set(required) - (annotation if isinstance(annotation, dict) else {}).keys()
        if lacking:
            raise ValueError(
                f"{path}: annotation {index} lacks {', '.join(sorted(lacking))}; run skeleton2pkl.py again"
            )
    return content


def make_recording(where: str, annotation: dict, layout: Layout) -> Recording:
    """Make a recording of an annotation that has the `REQUIRED` fields.

    Raises:
        ValueError: arrays of another shape or layout, a label that is no whole number.
    """
    shape, score = np.shape(annotation["keypoint"]), annotation.get("keypoint_score")
    if len(shape) != 4 or shape[3] not in (2, 3):
        raise ValueError(f"{where}: keypoint is of shape {shape}, expected (persons, frames, joints, 2 or 3)")
    if shape[2] != layout.num_joints:
        fitting = [name for name in LAYOUTS if LAYOUTS[name].num_joints == shape[2]]
        advice = f"set READER.layout={fitting[0]}" if fitting else "give READER.layout a yaml file that describes them"
        raise ValueError(f"{where}: {shape[2]} joints, layout {layout.name} has {layout.num_joints}; {advice}")
    if score is not None and np.shape(score) != shape[:3]:
        raise ValueError(f"{where}: keypoint_score is of shape {np.shape(score)}, expected {shape[:3]}")
    label, length = annotation.get("label"), annotation.get("total_frames")
    if not isinstance(label, (int, np.integer)):
        raise ValueError(f"{where}: label is {show_value(label)}, expected one whole number; run skeleton2pkl.py again")
    return Recording(
        str(annotation["frame_dir"]),
        int(label),
        np.asarray(annotation["keypoint"])[:, :length],
        None if score is None else np.asarray(score)[:, :length],
        annotation.get("img_shape"),
    )


def _map(path: str, required: tuple) -> dict:
    """Return the content of a pkl with memory-mapped arrays; unpack it first if that is not done yet."""
    index_path, state = f"{path}.index", os.stat(path)
    stamp = [state.st_size, state.st_mtime_ns]
    try:
        content = _read_index(index_path, path, stamp)
    except ValueError as error:
        logging.warning(f"{error}: it is made anew from '{path}'")
        content = None
    if content is None:
        _unpack(path, index_path, stamp, required)
        content = _read_index(index_path, path, stamp)
    return content


@refuses_damage
def _read_index(index_path: str, path: str, stamp: list) -> dict | None:
    """Return the content of a pkl by its index, or None if there is none of that stamp."""
    if not os.path.exists(index_path) or not os.path.exists(f"{path}.npy"):
        return None
    stored = load_pickle(index_path)
    if stored["stamp"] != stamp:
        return None
    content = stored["content"]
    numbers = np.load(f"{path}.npy", mmap_mode="r", allow_pickle=False)
    for annotation in content["annotations"]:
        for key in ("keypoint", "keypoint_score"):
            if annotation.get(key) is not None:
                first, shape = annotation[key]
                annotation[key] = numbers[first : first + int(np.prod(shape))].reshape(shape)
    return content


def _unpack(path: str, index_path: str, stamp: list, required: tuple) -> None:
    """Write all arrays of a pkl one after the other to <path>.npy, and the rest with their offsets to the index."""
    content = _load(path, required)
    arrays, size = [], 0
    for annotation in content["annotations"]:
        for key in ("keypoint", "keypoint_score"):
            if annotation.get(key) is not None:
                arrays.append(np.asarray(annotation[key]))
                annotation[key] = (size, arrays[-1].shape)
                size += arrays[-1].size
    dtype = np.float16 if all(array.dtype == np.float16 for array in arrays) else np.float32
    with write_atomically(f"{path}.npy") as file:
        header = {"descr": np.lib.format.dtype_to_descr(np.dtype(dtype)), "fortran_order": False, "shape": (size,)}
        np.lib.format.write_array_header_1_0(file, header)
        for array in arrays:
            file.write(array.astype(dtype).tobytes())
    dump_pickle({"stamp": stamp, "content": content}, index_path)
