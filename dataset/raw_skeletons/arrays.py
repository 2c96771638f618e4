"""Arrays (N, C, T, V, M) with labels, one npy file per split, as in PaddleVideo, ST-GCN, 2s-AGCN and MS-G3D.

`train_data.npy` (or `train_data_joint.npy`) with `train_label.pkl`, a pickle of (names, labels), or `train_label.npy`;
the part before `_data` is the name of the split. An array without labels, such as those of a competition's test
sets, becomes a split without labels. Frames that are zero at the end are padding and are cut off.
"""

import argparse
import os

import numpy as np

from common.files import load_pickle
from common.text_files import SURPRISES, refuses_damage, show_value
from dataset.raw_skeletons.class_folders import find_class_names
from dataset.raw_skeletons.samples import RawSample, RawSet, list_files, make_annotation

LAYOUTS_2D = ("coco17", "openpose18", "openpose25")  # their third channel is a score
LAYOUTS = {  # by the number of joints; 25 can be either
    17: "coco17", 18: "openpose18", 20: "ucla20", 21: "hand21", 31: "hdm05", 33: "mediapipe33",
}  # fmt: skip
MAX_VALUE = 1e6  # in any unit


def find_samples(args: argparse.Namespace) -> RawSet:
    """List the rows of all arrays in the folder `args.raw`, or of the one file it names.

    Raises:
        ValueError: an array that is damaged or of another shape, labels that do not fit it, joints of unknown layout.
    """
    paths = [args.raw] if os.path.isfile(args.raw) else list_files(args.raw, ".npy", "give x_data.npy and x_label.pkl")
    paths = [path for path in paths if "_data" in os.path.basename(path)]
    if not paths:
        raise FileNotFoundError(f"no file in '{args.raw}' is named like train_data.npy; rename yours")
    samples, splits, num_joints = [], {}, {}
    for path in paths:
        split = os.path.basename(path).split("_data")[0]
        if split in splits:
            raise ValueError(f"'{path}' is a second array of the split '{split}'; give one file instead of the folder")
        shape, names, labels = open_array(path).shape, *read_labels(os.path.join(os.path.dirname(path), split))
        if labels is None:
            labels = [None] * shape[0]
        if len(labels) != shape[0]:
            raise ValueError(f"'{path}' has {shape[0]} samples, but its labels are {len(labels)}; get both again")
        names = names or [f"{split}_{index:06}" for index in range(shape[0])]
        num_bytes = os.path.getsize(path) // max(shape[0], 1)
        samples += [
            RawSample(name, path, label, index, num_bytes)
            for index, (name, label) in enumerate(zip(names, labels, strict=True))
        ]
        splits[split], num_joints[shape[3]] = names, path
    repeated = len(samples) - len({sample.name for sample in samples})
    if repeated:
        raise ValueError(f"{repeated} sample names in '{args.raw}' come twice, in one split or two; rename them")
    class_names = find_class_names(args) if args.classes else None
    return RawSet(samples, splits, class_names, args.layout or find_layout(num_joints))


def find_layout(num_joints: dict[int, str]) -> str:
    """Return the layout by the number of joints, which must be the same in all arrays."""
    for count, path in num_joints.items():
        if count not in LAYOUTS or len(num_joints) > 1:
            raise ValueError(f"'{path}' has {count} joints; say which with --layout, such as ntu25 or openpose25")
    return LAYOUTS[min(num_joints)]


def load_array(path: str) -> np.ndarray:
    """Map the array of an npy file from the disk, which takes no memory, whatever its header claims.

    Raises:
        ValueError: no whole npy file of numbers or text, or one of several arrays.
    """
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (EOFError, OSError, *SURPRISES) as error:
        raise ValueError(f"'{path}' is no whole npy file of numbers ({show_value(str(error))}); get it again") from None
    if not isinstance(array, np.ndarray):
        raise ValueError(f"'{path}' holds several arrays, expected one; save it with np.save")
    return array


def open_array(path: str) -> np.ndarray:
    """Map an array from the disk.

    Raises:
        ValueError: no whole npy file of numbers with five axes.
    """
    array = load_array(path)
    if array.ndim != 5 or array.dtype.kind != "f" or array.shape[1] not in (2, 3):
        raise ValueError(
            f"'{path}' has the shape {array.shape} of {array.dtype}, expected floating point numbers (N, C, T, V, M), "
            "C being 2 or 3"
        )
    return array


def read_labels(stem: str) -> tuple[list[str] | None, list[int] | None]:
    """Read `<stem>_label.pkl` or `<stem>_label.npy`: the names of the samples, if it has them, and the labels.

    Both are None where there is no such file.
    """
    paths = [f"{stem}_label{suffix}" for suffix in (".pkl", ".npy")]
    for path in filter(os.path.isfile, paths):
        return read_label_file(path)
    return None, None


@refuses_damage
def read_label_file(path: str) -> tuple[list[str] | None, list[int]]:
    """Read the file that `read_labels` found."""
    names, labels = None, load_pickle(path) if path.endswith(".pkl") else load_array(path)
    is_pair = isinstance(labels, (tuple, list)) and len(labels) == 2
    if is_pair and not isinstance(labels[0], (int, float, np.number)):
        names, labels = labels
    try:
        labels = np.asarray(labels).ravel()
    except ValueError:  # lists of different lengths
        raise ValueError(f"'{path}' holds lists in lists, expected whole numbers from 0; correct it") from None
    if labels.dtype.kind not in "iu" or (len(labels) and labels.min() < 0):
        raise ValueError(f"'{path}' holds {labels.dtype} labels, expected whole numbers from 0; correct it")
    if names is not None and not isinstance(names, (list, tuple, np.ndarray)):
        raise ValueError(f"'{path}' holds {show_value(names)} as names, expected a list of them; correct it")
    if names is not None and len(names) != len(labels):
        raise ValueError(f"'{path}' has {len(names)} names but {len(labels)} labels; correct it")
    return names if names is None else [os.path.splitext(str(name))[0] for name in names], labels.tolist()


def read_sample(sample: RawSample, args: argparse.Namespace) -> dict:
    """Read one row.

    Returns:
        annotation (M, T, V, C); of a 2-D layout the third channel becomes the score.
    """
    keypoint = np.asarray(open_array(sample.path)[sample.index])
    arrays = arrange_row(keypoint, args.layout or LAYOUTS.get(keypoint.shape[2]))
    return make_annotation(sample, sample.label, limit=MAX_VALUE, **arrays)


def arrange_row(row: np.ndarray, layout: str | None) -> dict[str, np.ndarray]:
    """Return views of a row (C, T, V, M) as annotations have them, without the zero frames at the end.

    Returns:
        `keypoint` (M, T, V, C), and of a 2-D layout with three channels `keypoint_score` (M, T, V).
    """
    keypoint = row.transpose(3, 1, 2, 0)  # (C, T, V, M) -> (M, T, V, C)
    filled = np.flatnonzero(keypoint.any(axis=(0, 2, 3)))  # nan counts as filled
    keypoint = keypoint[:, : filled[-1] + 1 if len(filled) else 0]
    if layout in LAYOUTS_2D and keypoint.shape[-1] == 3:
        return {"keypoint": keypoint[..., :2], "keypoint_score": keypoint[..., 2]}
    return {"keypoint": keypoint}


def read_unlabelled(path: str, layout: str) -> list[dict]:
    """Read all rows of an array (N, C, T, V, M), or one sample (C, T, V, M), without labels and unchecked.

    Args:
        layout: name of the joint layout.

    Returns:
        Annotations, named as `find_samples` names them; one sample has the name of its file.

    Raises:
        ValueError: no whole npy file of numbers with four or five axes.
    """
    array = load_array(path)
    if array.ndim not in (4, 5) or array.dtype.kind != "f" or array.shape[-4] not in (2, 3):
        raise ValueError(
            f"the array has the shape {array.shape}, expected numbers (N, C, T, V, M), or (C, T, V, M) of one sample, "
            "with C 2 or 3"
        )
    stem = os.path.splitext(os.path.basename(path))[0]
    if array.ndim == 4:
        return [{"frame_dir": stem, **arrange_row(array, layout)}]
    name = stem.split("_data")[0]
    return [{"frame_dir": f"{name}_{index:06}", **arrange_row(row, layout)} for index, row in enumerate(array)]
