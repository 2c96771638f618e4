"""The skeleton pkl itself, as PYSKL and MMAction2 publish it: checked sample by sample, and written again.

`{"split": {name: [frame_dir]}, "annotations": [{"frame_dir", "label", "total_frames", "keypoint": (M, T, V, C),
"keypoint_score", "img_shape", "original_shape"}]}`. Arrays keep their float16.
"""

import argparse

import numpy as np

from common.files import load_pickle
from common.text_files import show_value
from dataset.raw_skeletons.class_folders import find_class_names
from dataset.raw_skeletons.samples import EmptyBodiesError, RawSample, RawSet, make_annotation

MAX_VALUE = 1e6  # in any unit
LAYOUTS = {(17, 2): "coco17", (25, 3): "ntu25", (20, 3): "ucla20"}


def find_samples(args: argparse.Namespace) -> RawSet:
    """Read and check all samples of the file `args.raw`.

    Raises:
        ValueError: no pkl of that form.
    """
    content = read_content(args.raw)
    samples, annotations, failed, skipped, known = [], [], {}, {}, set()
    for index, raw in enumerate(content["annotations"]):
        name = raw.get("frame_dir") if isinstance(raw, dict) else None
        if not isinstance(name, str) or not name:
            skipped[f"annotation {index}"] = "it has no frame_dir, its name"
            continue
        if name in known:
            skipped[f"annotation {index}"] = f"the sample {name} comes twice"
            continue
        known.add(name)
        samples.append(RawSample(name, args.raw, index=index))
        try:
            annotations.append(check_annotation(raw, samples[-1]))
        except EmptyBodiesError as error:
            failed[name] = ("empty", str(error))
        except ValueError as error:
            failed[name] = ("damaged", str(error))
    splits = content["split"]
    for split, names in splits.items():
        skipped.update(
            {f"{split}: {name}": "the split names it, but it has no annotation" for name in set(names) - known}
        )
    class_names = (find_class_names(args) if args.classes else None) or content.get("class_names")
    layout = args.layout or content.get("layout") or (find_layout(annotations[0]) if annotations else None)
    return RawSet(samples, splits, class_names, layout, skipped, annotations=annotations, failed=failed)


def read_content(path: str) -> dict:
    """Read the file; its splits are lists of names, its annotations a list of whatever.

    Raises:
        ValueError: no pkl of that form.
    """
    content = load_pickle(path)
    if not isinstance(content, dict) or not isinstance(content.get("annotations"), list):
        raise ValueError(f"'{path}' is no dict of 'split' and 'annotations'; give a pkl of PYSKL or MMAction2")
    splits = content.get("split") if isinstance(content.get("split"), dict) else {}
    for split, names in splits.items():
        if not isinstance(names, (list, tuple)) or not all(isinstance(name, str) for name in names):
            raise ValueError(f"'{path}': split {show_value(split)} is no list of names; make the file again")
    return {**content, "split": splits}


def find_layout(annotation: dict) -> str | None:
    """Return the layout by joints and coordinates, where there is only one; 18 or 25 2-D points need --layout."""
    return LAYOUTS.get(annotation["keypoint"].shape[2:])


def check_annotation(raw: dict, sample: RawSample) -> dict:
    """Check one annotation and return it."""
    where = f"'{sample.path}' annotation {sample.index} ({sample.name})"
    keypoint, label, score = (raw.get(key) for key in ("keypoint", "label", "keypoint_score"))
    if isinstance(label, bool) or not isinstance(label, (int, np.integer)) or label < 0:
        raise ValueError(f"{where}: label is {show_value(label)}, expected a whole number from 0")
    if not isinstance(keypoint, np.ndarray) or keypoint.ndim != 4 or keypoint.dtype.kind != "f":
        raise ValueError(f"{where}: keypoint is {describe(keypoint)}, expected numbers (M, T, V, C)")
    if keypoint.shape[-1] not in (2, 3):
        raise ValueError(f"{where}: keypoint has {keypoint.shape[-1]} coordinates, expected 2 or 3")
    if raw.get("total_frames", keypoint.shape[1]) != keypoint.shape[1]:
        raise ValueError(f"{where}: total_frames is {raw['total_frames']}, keypoint has {keypoint.shape[1]} frames")
    more = {}
    if score is not None:
        if not isinstance(score, np.ndarray) or score.shape != keypoint.shape[:3] or score.dtype.kind != "f":
            raise ValueError(f"{where}: keypoint_score is {describe(score)}, expected {keypoint.shape[:3]} numbers")
        more["keypoint_score"] = score
    make_annotation(sample, label, keypoint, MAX_VALUE, **more)  # only for its checks
    return {**raw, "label": int(label), "total_frames": keypoint.shape[1]}


def describe(value) -> str:
    """Return shape and type of an array, or the type of another value."""
    return (
        f"of the shape {value.shape}, {value.dtype}" if isinstance(value, np.ndarray) else f"a {type(value).__name__}"
    )
