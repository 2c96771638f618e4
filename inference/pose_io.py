"""Key points in: what a command line names, a skeleton pkl or the file of a pose estimator or of Kinect, as recordings.

Their labels are not read, so that they need none.
"""

import argparse
import os

import numpy as np

from dataset import media
from dataset.raw_skeletons import coco, mediapipe, ntu, openpose
from dataset.raw_skeletons.samples import RawSample
from inference.input_paths import find_inputs
from layouts import LAYOUTS, Layout
from reader import skeleton_pkl
from reader.rgbpose import NTU_SUFFIX

PKL = ".pkl"
READ_SAMPLE = {".json": coco.read_sample, ".csv": mediapipe.read_sample, ".skeleton": ntu.read_sample}
RAW_LAYOUTS = {".json": "coco17", ".csv": "mediapipe33", ".skeleton": "ntu25"}
KNOWN_FORMS = (
    "a skeleton pkl, a .json of COCO key points, a .csv of MediaPipe, an NTU .skeleton or a folder of OpenPose"
)


def find_files(paths: list, save_dir: str) -> list:
    """Return the files, and the folders of OpenPose, that `paths` name; see `input_paths.find_inputs`."""
    return find_inputs(paths, save_dir, _is_openpose_folder, lambda path: _get_suffix(path) in (PKL, *READ_SAMPLE))


def _is_openpose_folder(folder: str) -> bool:
    return any(name.endswith(openpose.SUFFIX) for name in os.listdir(folder))


def _get_suffix(path: str) -> str:
    return os.path.splitext(path)[1].lower()


def read_annotations(
    path: str, split: str | None, layout: Layout, image_size: tuple | None, memory_limit_gib: float
) -> list[tuple]:
    """Read what a file holds.

    Args:
        split: name of a split in a pkl; None: everything.
        layout: the joints that the network knows.
        image_size: (height, width) of the pictures, where the file does not state it.
        memory_limit_gib: a larger pkl is unpacked beside itself, once, and memory-mapped.

    Returns:
        (name, annotation) of each recording, with the keys of the skeleton pkl; the arrays are not checked yet.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is of no known form, damaged, of another layout, or has no such split.
    """
    if not os.path.exists(path):
        raise FileNotFoundError("no such file or folder; check the path, and put quotes around one with blanks")
    if _get_suffix(path) == PKL and os.path.isfile(path):
        content = skeleton_pkl.read_content(path, memory_limit_gib, ("frame_dir", "keypoint"))
        stated, annotations = content.get("layout"), _select_split(content, split)
    elif split is not None:
        raise ValueError(f"--split {split}: only a skeleton pkl has splits; leave it out")
    else:
        stated, annotations = _read_raw_files(path, image_size)
    if stated in LAYOUTS and LAYOUTS[stated].joints != layout.joints:
        raise ValueError(
            f"its joints are those of layout {stated}, the network was trained on {layout.name}; give key points of "
            "that layout"
        )
    counts = {np.shape(each["keypoint"])[2] for each in annotations if np.ndim(each["keypoint"]) == 4}
    if counts and layout.num_joints not in counts:
        raise ValueError(_describe_wrong_joints(min(counts), layout))
    return [
        (str(each["frame_dir"]), {**each, "img_shape": each.get("img_shape") or image_size}) for each in annotations
    ]


def _describe_wrong_joints(count: int, layout: Layout) -> str:
    return (
        f"{count} joints, the network was trained on layout {layout.name}, which has {layout.num_joints}; give key "
        "points of that layout"
    )


def _select_split(content: dict, split: str | None) -> list:
    """Return the annotations of a split, or all."""
    if split is None:
        return content["annotations"]
    splits = content.get("split") or {}
    if split not in splits:
        raise ValueError(f"there is no split '{split}', the file has {', '.join(map(str, splits)) or 'none'}")
    by_name = {annotation["frame_dir"]: annotation for annotation in content["annotations"]}
    missing = [name for name in splits[split] if name not in by_name]
    if missing or not splits[split]:
        what = f"names '{missing[0]}', which has no annotation" if missing else "is empty"
        raise ValueError(f"split '{split}' {what}; run skeleton2pkl.py again")
    return [by_name[name] for name in splits[split]]


def _read_raw_files(path: str, image_size: tuple | None) -> tuple:
    """Return the layout and the annotations of a file, of a folder of OpenPose, or of all such below a folder.

    Raises:
        ValueError: there are none, one is damaged, or they are of several layouts.
    """
    if not os.path.isdir(path) or _is_openpose_folder(path):
        stated, annotation = _read_raw(path, image_size)
        return stated, [annotation]
    found = []
    for parent, _, names in media.walk(path):
        raw = [os.path.join(parent, name) for name in names if _get_suffix(name) in RAW_LAYOUTS]
        found += [parent] if _is_openpose_folder(parent) else raw
    layouts, annotations = set(), []
    for each in sorted(found):
        shown = os.path.relpath(each, path)
        try:
            stated, annotation = _read_raw(each, image_size)
        except ValueError as error:
            raise ValueError(f"'{shown}': {error}") from error
        layouts.add(stated)
        annotations.append({**annotation, "frame_dir": shown if os.path.isdir(each) else os.path.splitext(shown)[0]})
    if not annotations:
        raise ValueError(f"the folder holds no key points; give {KNOWN_FORMS}, or a folder of such")
    if len(layouts) > 1:
        raise ValueError(f"the folder holds key points of several layouts, {', '.join(sorted(layouts))}; give one")
    return layouts.pop(), annotations


def _read_raw(path: str, image_size: tuple | None) -> tuple:
    """Return the layout and the annotation of a file with one recording, or of a folder of OpenPose."""
    options = argparse.Namespace(persons=None, bodies="pyskl", image_size=image_size)
    name, suffix = os.path.splitext(os.path.basename(os.path.abspath(path)))
    if os.path.isdir(path):
        annotation = openpose.read_sample(RawSample(name + suffix, path, 0), options)
        return openpose.LAYOUTS[annotation["keypoint"].shape[2]], annotation
    if suffix.lower() not in READ_SAMPLE:
        raise ValueError(f"not known as a file of key points; give {KNOWN_FORMS}")
    return RAW_LAYOUTS[suffix.lower()], READ_SAMPLE[suffix.lower()](RawSample(name, path, 0), options)


def make_recording(where: str, annotation: dict, layout: Layout) -> skeleton_pkl.Recording:
    """Check an annotation; its label becomes 0.

    Raises:
        ValueError: arrays of another shape, joints that the network does not know, or no person in any frame.
    """
    shape = np.shape(annotation["keypoint"])
    if len(shape) == 4 and shape[2] != layout.num_joints:
        raise ValueError(_describe_wrong_joints(shape[2], layout))
    recording = skeleton_pkl.make_recording(where, {**annotation, "label": 0}, layout)
    if not (np.isfinite(recording.keypoint) & (recording.keypoint != 0)).any():
        raise ValueError(f"no persons: not one key point in its {recording.keypoint.shape[1]} frames")
    return recording


def index_by_video(annotations: list[tuple]) -> dict:
    """Return {name that a video may have: [(name, annotation)]}, for `find_for_video`."""
    index = {}
    for name, annotation in annotations:
        base = os.path.basename(name)
        for stem in {base, os.path.splitext(base)[0]}:
            index.setdefault(stem, []).append((name, annotation))
    return index


def find_for_video(index: dict, video: str) -> tuple:
    """Return the (name, annotation) of a video file or frame folder, whose name may have NTU's ending "_rgb".

    Raises:
        ValueError: there is none, or there are two.
    """
    base = os.path.basename(os.path.abspath(video))
    stem = base if os.path.isdir(video) else os.path.splitext(base)[0]
    found = index.get(stem) or index.get(stem.removesuffix(NTU_SUFFIX)) or []
    if not found:
        raise ValueError(f"no key points for it: no recording of --poses is called '{stem}' (frame_dir); add one")
    if len(found) > 1:
        names = " and ".join(f"'{name}'" for name, _ in found[:2])
        raise ValueError(f"two recordings of --poses have its name, {names}; leave one out")
    return found[0]
