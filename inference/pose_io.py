"""Key points in: what a command line names, a skeleton pkl or the file of a pose estimator or of Kinect, as recordings.

Their labels are not read, so that they need none.
"""

import argparse
import logging
import os

import numpy as np

from dataset import media
from dataset.names import NameIndex
from dataset.raw_skeletons import arrays, coco, kinetics, mediapipe, ntu, openpose, ucla
from dataset.raw_skeletons.json_file import JsonFile
from dataset.raw_skeletons.persons import MAX_PERSONS
from dataset.raw_skeletons.samples import NOTES, RawSample
from inference.input_paths import find_inputs
from layouts import LAYOUTS, Layout
from reader import skeleton_pkl
from reader.rgbpose import NTU_SUFFIX

PKL, NPY = ".pkl", ".npy"
READ_SAMPLE = {".json": None, ".csv": mediapipe.read_sample, ".skeleton": ntu.read_sample}  # json: see _choose_reader
RAW_LAYOUTS = {".csv": "mediapipe33", ".skeleton": "ntu25"}
KNOWN_FORMS = (
    "a skeleton pkl, an .npy of numbers (N, C, T, V, M) or (C, T, V, M), a .json of COCO key points, N-UCLA or "
    "Kinetics-skeleton, a .csv of MediaPipe, an NTU .skeleton or a folder of OpenPose"
)


def find_files(paths: list, save_dir: str) -> list:
    """Return the files, and the folders of OpenPose, that `paths` name; see `input_paths.find_inputs`."""
    return find_inputs(paths, save_dir, _is_openpose_folder, _is_input_file)


def _is_input_file(path: str) -> bool:
    """Whether a file of a folder holds key points; labels lie beside arrays of them."""
    return _get_suffix(path) in (PKL, NPY, *READ_SAMPLE) and not path.endswith("_label" + NPY)


def _is_openpose_folder(folder: str) -> bool:
    return any(name.endswith(openpose.SUFFIX) for name in os.listdir(folder))


def is_pkl(path: str) -> bool:
    """Whether a path is that of a skeleton pkl."""
    return _get_suffix(path) == PKL and os.path.isfile(path)


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
    if is_pkl(path):
        content = skeleton_pkl.read_content(path, memory_limit_gib)
        stated, annotations = content.get("layout"), _select_split(content, split)
    elif split is not None:
        raise ValueError(f"--split {split}: only a skeleton pkl has splits; leave it out")
    elif _get_suffix(path) == NPY and os.path.isfile(path):
        stated, annotations = None, arrays.read_unlabelled(path, layout.name)
    else:
        stated, annotations = _read_raw_files(path, image_size)
    if stated in LAYOUTS and LAYOUTS[stated].joints != layout.joints:
        raise ValueError(
            f"its joints are those of layout {stated}, the network was trained on {layout.name}; give key points of "
            "that layout"
        )
    counts = {_count_joints(each) for each in annotations} - {None}
    if counts and layout.num_joints not in counts:
        raise ValueError(_describe_wrong_joints(min(counts), layout))
    return [
        (
            str(each["frame_dir"]),
            {**each, "img_shape": image_size if each.get("img_shape") is None else each["img_shape"]},
        )
        for each in annotations
    ]


def _count_joints(annotation: dict) -> int | None:
    """Return the number of joints, where the key points have the right form."""
    keypoint = annotation["keypoint"]
    return keypoint.shape[2] if isinstance(keypoint, np.ndarray) and keypoint.ndim == 4 else None


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
        raise ValueError(f"split '{split}' {what}; {skeleton_pkl.ADVICE}")
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
        raw = [os.path.join(parent, name) for name in names if _get_suffix(name) in READ_SAMPLE]
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
    options = argparse.Namespace(
        persons=None, num_persons=MAX_PERSONS, bodies="pyskl", image_size=image_size, first_frame=None, layout=None
    )
    name, suffix = os.path.splitext(os.path.basename(os.path.abspath(path)))
    if os.path.isdir(path):
        name, layout, read_sample = name + suffix, None, openpose.read_sample
    elif suffix.lower() not in READ_SAMPLE:
        raise ValueError(f"not known as a file of key points; give {KNOWN_FORMS}")
    else:
        layout, read_sample = _choose_reader(path, suffix.lower())
    annotation = read_sample(RawSample(name, path), options)
    for what, count in annotation.pop(NOTES, {}).items():
        logging.warning(f"{path}: {what}: {count}")
    return layout or openpose.LAYOUTS[annotation["keypoint"].shape[2]], annotation


def _choose_reader(path: str, suffix: str) -> tuple:
    """Return the layout of a file of one recording, and the function that reads it."""
    if suffix != ".json":
        return RAW_LAYOUTS[suffix], READ_SAMPLE[suffix]
    content = JsonFile(path).content
    keys = content.keys() if isinstance(content, dict) else ()
    if "skeletons" in keys:
        return "ucla20", ucla.read_sample
    return ("openpose18", kinetics.read_sample) if "data" in keys else ("coco17", coco.read_sample)


def make_recording(where: str, annotation: dict, layout: Layout) -> skeleton_pkl.Recording:
    """Check an annotation, and leave its label out.

    Raises:
        ValueError: arrays of another shape or with values that cannot be, joints that the network does not know, or no
            person in any frame.
    """
    count = _count_joints(annotation)
    if count not in (None, layout.num_joints):
        raise ValueError(_describe_wrong_joints(count, layout))
    recording = skeleton_pkl.make_recording(where, {**annotation, "label": None}, layout)
    if not (np.isfinite(recording.keypoint) & (recording.keypoint != 0)).any():
        raise ValueError(f"no persons: not one key point in its {recording.keypoint.shape[1]} frames")
    recording.check()
    return recording


def index_by_video(annotations: list[tuple]) -> NameIndex:
    """Return an index of (name, annotation), for `find_for_video`."""
    index = NameIndex()
    for name, annotation in annotations:
        index.add(name, (name, annotation))
    return index


def find_for_video(index: NameIndex, video: str, root: str | None = None) -> tuple:
    """Return the (name, annotation) of a video file or frame folder, whose name may have NTU's ending "_rgb".

    Args:
        root: folder of the videos that the network was trained on; folders above it are not part of a video's name.

    Raises:
        ValueError: there is none, or there are two.
    """
    path = os.path.abspath(video)
    stem = path if os.path.isdir(path) else os.path.splitext(path)[0]
    if root and os.path.commonpath([path, os.path.abspath(root)]) == os.path.abspath(root):
        stem = os.path.relpath(stem, root)
    names = (stem, stem.removesuffix(NTU_SUFFIX))
    found = index.find(names[0]) or index.find(names[1])
    others = index.find_contradicted(names[0]) or index.find_contradicted(names[1])
    if not found and others:
        raise ValueError(
            f"no key points for it: '{others[0][0]}' in --poses is the recording of a video in another folder; give "
            "the key points of this one, or put it into the folder of that name"
        )
    if not found:
        raise ValueError(
            f"no key points for it: no recording of --poses is called '{os.path.basename(stem)}' (frame_dir); add one"
        )
    if len(found) > 1:
        shown = " and ".join(f"'{name}'" for name, _ in found[:2])
        raise ValueError(f"two recordings of --poses have its name, {shown}; leave one out")
    return found[0]
