"""OpenPose's output: a folder per video with a `<video>_000000000000_keypoints.json` for each frame.

`{"people": [{"person_id": [-1], "pose_keypoints_2d": [x, y, score, ...]}]}`, 25 joints (BODY_25) or 18 (COCO). Where a
folder holds the files of several videos, each name before the number is one. Classes and splits come from the folders
above, see `class_folders`.
"""

import argparse
import dataclasses
import os
import re

from dataset.raw_skeletons.class_folders import SPLITS, label_by_folder
from dataset.raw_skeletons.coco import read_track
from dataset.raw_skeletons.frames import arrange_all_frames
from dataset.raw_skeletons.json_file import JsonFile
from dataset.raw_skeletons.samples import RawSample, RawSet, list_files, make_pose_annotation
from dataset.raw_skeletons.tracks import Person
from dataset.skeleton_checks import MAX_SCORE

SUFFIX = "_keypoints.json"
NAME = re.compile(rf"(.*?)(\d+){SUFFIX}", re.IGNORECASE)
LAYOUTS = {25: "openpose25", 18: "openpose18"}
MAX_PIXELS = 20_000


def find_samples(args: argparse.Namespace) -> RawSet:
    """List the videos below `args.raw`; the joints of the first person decide the layout.

    Files whose names have no number are skipped and named.
    """
    folders, skipped = {}, {}
    for path in list_files(args.raw, SUFFIX, "run OpenPose with --write_json"):
        match = NAME.fullmatch(os.path.basename(path))
        if match:
            folders.setdefault(os.path.dirname(path), {}).setdefault(match[1], []).append(path)
        else:
            skipped[path] = f"its name has no number of a frame, such as <video>_000000000000{SUFFIX}"
    if not folders:
        raise ValueError(f"'{next(iter(skipped))}': {next(iter(skipped.values()))}; rename the files")
    videos = {}
    for folder, stems in folders.items():
        for stem in stems:
            videos[name_video(folder, stem, len(stems), args.raw)] = folder, stem if len(stems) > 1 else None
    paths = [path for stems in folders.values() for found in stems.values() for path in found]
    raw_set = label_by_folder(list(videos), args, args.layout or LAYOUTS[find_num_joints(paths)])
    raw_set.samples = [
        dataclasses.replace(sample, path=videos[sample.path][0], stem=videos[sample.path][1])
        for sample in raw_set.samples
    ]
    raw_set.skipped.update(skipped)
    return raw_set


def name_video(folder: str, stem: str, num_videos: int, root: str) -> str:
    """Return where a video would lie if each had a folder of its own: `folder`, unless it holds several videos."""
    if num_videos == 1:
        return folder
    parts = os.path.relpath(folder, root).split(os.sep)
    is_class = len(parts) == 1 or len(parts) == 2 and parts[0].lower() in SPLITS
    return os.path.join(
        folder if is_class else os.path.dirname(folder), stem.rstrip("_-. ") or os.path.basename(folder)
    )


def find_num_joints(paths: list[str]) -> int:
    """Count the joints of the first person in a file that can be read.

    Raises:
        ValueError: neither 18 nor 25, or no person in any file.
    """
    fault = f"'{paths[0]}' and {len(paths) - 1} more files show no person; there is nothing to learn from"
    for path in paths:
        try:
            people = read_people(JsonFile(path))
        except ValueError as error:  # named again when its video is read
            fault = str(error)
            continue
        if people:
            return len(people[0].points)
    raise ValueError(fault)


def read_sample(sample: RawSample, args: argparse.Namespace) -> dict:
    """Read the frames of one video.

    Returns:
        annotation of the first persons, (M, T, V, 2) pixels, with scores.
    Raises:
        ValueError: a damaged file, with its line; a frame that is missing; no body in any; files of two videos.
    """
    paths, stems = {}, set()
    for name in sorted(os.listdir(sample.path)):
        match = NAME.fullmatch(name)
        if match and sample.stem in (None, match[1]):
            stems.add(match[1])
            if int(match[2]) in paths and len(stems) == 1:
                raise ValueError(f"'{sample.path}': '{name}' is the second file of frame {int(match[2])}; take one out")
            paths[int(match[2])] = os.path.join(sample.path, name)
    if len(stems) != 1:
        what = " and ".join(f"'{stem}'" for stem in sorted(stems)[:2]) or "none with the number of a frame"
        raise ValueError(f"'{sample.path}' holds files of several videos or of none ({what}); give each a folder")
    files = {number: JsonFile(paths[number]) for number in sorted(paths)}
    people = {number: read_people(file) for number, file in files.items()}
    frames = arrange_all_frames(sample.path, people, args.first_frame)
    sizes = {len(person.points) for people in frames for person in people}
    if len(sizes) > 1:
        raise ValueError(f"'{sample.path}': persons have {sorted(sizes)} joints, expected one number; get it again")
    num_missing = sum(file.num_missing for file in files.values())
    return make_pose_annotation(sample, frames, MAX_PIXELS, args.image_size, max(sizes, default=1), args, num_missing)


def read_people(file: JsonFile) -> list[Person]:
    """Read the persons of a frame."""
    people = []
    for number, person in enumerate(file.get(("people",), list)):
        keys = ("people", number, "pose_keypoints_2d")
        size = len(file.get(keys, list))
        if size % 3 or size // 3 not in LAYOUTS:
            raise file.make_error(keys, f"has {size} values, expected 75 or 54; run OpenPose with BODY_25 or COCO")
        values = file.get_points(keys, size // 3, 3, MAX_PIXELS)
        if values[:, 2].max() > MAX_SCORE:
            raise file.make_error(keys, f"has a score of {values[:, 2].max():g}, expected 0 to 1; get the file again")
        people.append(Person(values, read_track(person, "person_id")))
    return people
