"""The skeleton pkl with `split` and `annotations`, as of PYSKL and MMAction2: the checked recordings of one split.

The arrays of a large file are written once to <file>.npy beside it, with <file>.index, and memory-mapped from there, so
that all processes share one copy in memory.
"""

import logging
import os
from collections import Counter
from dataclasses import dataclass

import numpy as np

from common.files import dump_pickle, load_pickle, write_atomically
from common.text_files import SURPRISES, refuses_damage
from dataset.skeleton_checks import check_annotation, check_class_names, check_numbers
from dataset.splits import describe_leaks
from layouts import LAYOUTS, Layout
from reader.skeleton_transforms import find_present

GIB = 2**30
REQUIRED = ("frame_dir", "keypoint")  # fields of an annotation
ADVICE = "correct the file; `python skeleton2pkl.py pkl FILE --out NEW` says what is wrong with each sample"


@dataclass
class Recording:
    """One annotation; the arrays are those of the file, float16 stays float16.

    Attributes:
        where: its file and its name, for messages.
        name: the sample's name (`frame_dir`).
        label: class id, or None where it is not known.
        keypoint: (M, T, V, C): persons, frames, joints, two or three coordinates.
        score: (M, T, V), how sure each joint is, or None.
        img_shape: (height, width) of the picture in pixels, or None.
    """

    name: str
    label: int | None
    keypoint: np.ndarray
    score: np.ndarray | None
    img_shape: tuple | None
    where: str = ""
    is_checked: bool = False

    def check(self) -> None:
        """Check the values of the arrays, once.

        Raises:
            ValueError: values that are not finite or not in the unit that they should be in.
        """
        if not self.is_checked:
            check_numbers(self.where, self.keypoint, self.score, self.img_shape)
            self.is_checked = True

    def choose_persons(self, num_persons: int | None = None) -> np.ndarray:
        """Return the rows of the persons to look at: those with a body first, in their order."""
        is_there = self.keypoint.any(axis=(1, 2, 3))
        return np.argsort(~is_there, kind="stable")[:num_persons]

    def join_scores(self) -> np.ndarray:
        """Return float32 (M, T, V, 3), x, y, z or x, y, score; persons with a body come first."""
        persons = self.choose_persons()
        stored = self.keypoint[persons]
        keypoint = np.empty((*stored.shape[:3], 3), np.float32)
        keypoint[..., : stored.shape[3]] = stored
        if stored.shape[3] == 2:
            keypoint[..., 2] = find_present(stored) if self.score is None else self.score[persons]
        return keypoint


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
    check_names(path, split, content, found)
    missing = [name for name in splits[split] if name not in found]
    if missing or not splits[split]:
        what = f"names {len(missing)} samples that have no annotation, first '{missing[0]}'" if missing else "is empty"
        raise ValueError(f"{path}: split '{split}' {what}; {ADVICE}")
    names = check_class_names(path, content.get("class_names"))
    recordings = [make_recording(f"{path}: '{name}'", found[name], layout) for name in splits[split]]
    return recordings, names


def read_content(path: str, memory_limit_gib: float) -> dict:
    """Read the whole file; of its annotations only the presence of the `REQUIRED` fields is checked.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file has another form, or an annotation lacks a field.
    """
    is_mapped = os.path.isfile(path) and os.path.getsize(path) > memory_limit_gib * GIB
    return _map(path) if is_mapped else _load(path)


def _load(path: str) -> dict:
    content = load_pickle(path)
    if not isinstance(content, dict) or not isinstance(content.get("annotations"), list):
        raise ValueError(f"{path}: expected a dict of 'split' and 'annotations'; run skeleton2pkl.py to make one")
    for index, annotation in enumerate(content["annotations"]):
        lacking = set(REQUIRED) - (annotation if isinstance(annotation, dict) else {}).keys()
        if lacking:
            raise ValueError(f"{path}: annotation {index} lacks {', '.join(sorted(lacking))}; {_advise(annotation)}")
    return content


def _advise(annotation) -> str:
    """Return what to do about an annotation that lacks a field."""
    if isinstance(annotation, dict) and "raw_file" in annotation:
        return "its key points are in another file ('raw_file'): read each into 'keypoint' and write the pkl again"
    return ADVICE


def check_names(path: str, split: str, content: dict, found: dict) -> None:
    """Refuse names that stand twice, in the split or with two labels; log samples that are in a related split too.

    Raises:
        ValueError: naming the first one.
    """
    splits, members = content["split"], set(content["split"][split])
    if len(members) < len(splits[split]):
        name, count = Counter(splits[split]).most_common(1)[0]
        raise ValueError(f"{path}: split '{split}' names '{name}' {count} times; name each sample once")
    for line in describe_leaks(splits, split):
        logging.getLogger().warning(f"{path}: {line}")
    if len(found) < len(content["annotations"]):
        for annotation in content["annotations"]:
            name, label = annotation["frame_dir"], annotation.get("label")
            if name in members and label != found[name].get("label"):
                raise ValueError(
                    f"{path}: '{name}' has two annotations, of label {label} and {found[name].get('label')}; give each "
                    "sample a name of its own (frame_dir)"
                )


def make_recording(where: str, annotation: dict, layout: Layout) -> Recording:
    """Make a recording of an annotation that has the `REQUIRED` fields.

    Raises:
        ValueError: see `check_annotation`; another number of joints than the layout's.
    """
    annotation = check_annotation(where, annotation)
    keypoint, score = annotation["keypoint"], annotation.get("keypoint_score")
    if keypoint.shape[2] != layout.num_joints:
        fitting = [name for name in LAYOUTS if LAYOUTS[name].num_joints == keypoint.shape[2]]
        advice = f"set READER.layout={fitting[0]}" if fitting else "give READER.layout a yaml file that describes them"
        raise ValueError(f"{where}: {keypoint.shape[2]} joints, layout {layout.name} has {layout.num_joints}; {advice}")
    name = str(annotation["frame_dir"])
    return Recording(name, annotation.get("label"), keypoint, score, annotation.get("img_shape"), where)


def _map(path: str) -> dict:
    """Return the content of a pkl with memory-mapped arrays; unpack it first if that is not done, or is damaged."""
    state = os.stat(path)
    stamp = [state.st_size, state.st_mtime_ns]
    try:
        return _open_unpacked(path, stamp)
    except (EOFError, OSError, *SURPRISES):
        _unpack(path, f"{path}.index", stamp)
    return _open_unpacked(path, stamp)


def _open_unpacked(path: str, stamp: list) -> dict:
    """Open what `_unpack` wrote.

    Raises:
        EOFError, OSError, one of SURPRISES: it is of another pkl, damaged, or not there.
    """
    index = load_pickle(f"{path}.index")
    if index["stamp"] != stamp:
        raise ValueError(f"{path}.index is of an earlier {path}")
    content, numbers = index["content"], np.load(f"{path}.npy", mmap_mode="r", allow_pickle=False)
    if index["size"] != numbers.shape[0] or numbers.dtype not in (np.float16, np.float32):
        raise ValueError(f"{path}.npy is of another size than {path}.index")
    for annotation in content["annotations"]:
        for key in ("keypoint", "keypoint_score"):
            if annotation.get(key) is not None:
                first, shape = annotation[key]
                annotation[key] = numbers[first : first + int(np.prod(shape))].reshape(shape)
    return content


def _unpack(path: str, index_path: str, stamp: list) -> None:
    """Write all arrays of a pkl one after the other to <path>.npy, and the rest with their offsets to the index."""
    content = _load(path)
    arrays, size = [], 0
    for annotation in content["annotations"]:
        checked = check_annotation(f"{path}: '{annotation['frame_dir']}'", {**annotation, "label": None})
        for key in ("keypoint", "keypoint_score"):
            if annotation.get(key) is not None:
                arrays.append(checked[key])
                annotation[key] = (size, arrays[-1].shape)
                size += arrays[-1].size
    dtype = np.float16 if all(array.dtype == np.float16 for array in arrays) else np.float32
    with write_atomically(f"{path}.npy") as file:
        header = {"descr": np.lib.format.dtype_to_descr(np.dtype(dtype)), "fortran_order": False, "shape": (size,)}
        np.lib.format.write_array_header_1_0(file, header)
        for array in arrays:
            file.write(array.astype(dtype).tobytes())
    dump_pickle({"stamp": stamp, "size": size, "content": content}, index_path)
