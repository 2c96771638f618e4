"""OpenPose's output: a folder per video with a `<video>_000000000000_keypoints.json` for each frame.

`{"people": [{"pose_keypoints_2d": [x, y, score, ...]}]}`, 25 joints (BODY_25) or 18 (COCO). Classes and splits come
from the folders above, see `class_folders`.
"""

import argparse
import os
import re

import numpy as np

from dataset.raw_skeletons.class_folders import label_by_folder
from dataset.raw_skeletons.json_file import JsonFile
from dataset.raw_skeletons.persons import PERSONS, stack_persons
from dataset.raw_skeletons.samples import MAX_SCORE, RawSample, RawSet, list_files, make_pose_annotation

SUFFIX = "_keypoints.json"
LAYOUTS = {25: "openpose25", 18: "openpose18"}
MAX_PIXELS = 20_000


def find_samples(args: argparse.Namespace) -> RawSet:
    """List the folders below `args.raw` that hold frames; the joints of the first person decide the layout."""
    folders = {}
    for path in list_files(args.raw, SUFFIX, "run OpenPose with --write_json"):
        folders.setdefault(os.path.dirname(path), []).append(path)
    return label_by_folder(list(folders), args, args.layout or LAYOUTS[find_num_joints(sum(folders.values(), []))])


def find_num_joints(paths: list[str]) -> int:
    """Count the joints of the first person there is.

    Raises:
        ValueError: neither 18 nor 25, or no person in any file.
    """
    for path in paths:
        file = JsonFile(path)
        if file.get(("people",), list):
            keys = ("people", 0, "pose_keypoints_2d")
            size = len(file.get(keys, list))
            if size % 3 or size // 3 not in LAYOUTS:
                raise file.make_error(keys, f"has {size} values, expected 75 or 54; run OpenPose with BODY_25 or COCO")
            return size // 3
    raise ValueError(f"'{paths[0]}' and {len(paths) - 1} more files show no person; there is nothing to learn from")


def read_sample(sample: RawSample, args: argparse.Namespace) -> dict:
    """Read the frames of one video.

    Returns:
        annotation of one or two persons, (M, T, V, 2) pixels, with scores.
    Raises:
        ValueError: a damaged file, with its line; a frame that is missing; no body in any.
    """
    numbers = {}
    for name in os.listdir(sample.path):
        match = re.fullmatch(r".*?(\d+)" + SUFFIX, name)
        if match:
            numbers[int(match[1])] = os.path.join(sample.path, name)
    for number in range(min(numbers), max(numbers) + 1):
        if number not in numbers:
            raise ValueError(f"'{sample.path}': frame {number} is missing, expected one file per frame; get it again")
    frames = [read_frame(JsonFile(numbers[number])) for number in sorted(numbers)]
    sizes = {len(person) for persons in frames for person in persons}
    if len(sizes) > 1:
        raise ValueError(f"'{sample.path}': persons have {sorted(sizes)} joints, expected one number; get it again")
    poses = stack_persons(frames, max(sizes, default=1))
    return make_pose_annotation(sample, PERSONS[args.persons or "matched"](poses), MAX_PIXELS, args.image_size)


def read_frame(file: JsonFile) -> list[np.ndarray]:
    """Read the persons of a frame, each (V, 3)."""
    persons = []
    for person in range(len(file.get(("people",), list))):
        keys = ("people", person, "pose_keypoints_2d")
        size = len(file.get(keys, list))
        if size % 3 or size // 3 not in LAYOUTS:
            raise file.make_error(keys, f"has {size} values, expected 75 or 54; get the file again")
        values = np.array(file.get_numbers(keys, size, MAX_PIXELS)).reshape(-1, 3)
        if values[:, 2].max() > MAX_SCORE:
            raise file.make_error(keys, f"has a score of {values[:, 2].max():g}, expected 0 to 1; get the file again")
        persons.append(values)
    return persons
