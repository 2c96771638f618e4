"""COCO-17 key points found by MMPose or PaddleDetection: a json file per video, in any of the forms that people have.

- COCO results: `[{"image_id", "keypoints": [x, y, score, ...], "score"}]`, a frame being an image_id, in their order;
- MMPose 1: `[{"frame_id", "instances": [{"keypoints": [[x, y], ...], "keypoint_scores": [...]}]}]`, or that list under
  "instance_info"; `"image_size": [width, height]` beside it, which tools/find_poses.py writes, is img_shape;
- PaddleDetection: `[[image id, boxes, [[[[x, y, score], ...], ...], [score, ...]]]]`, which
  det_keypoint_unite_infer.py --save_res writes.

Classes and splits come from the folders above, see `class_folders`.
"""

import argparse

import numpy as np

from dataset.raw_skeletons.class_folders import label_by_folder
from dataset.raw_skeletons.json_file import JsonFile
from dataset.raw_skeletons.persons import PERSONS, stack_persons
from dataset.raw_skeletons.samples import MAX_SCORE, RawSample, RawSet, list_files, make_pose_annotation
from dataset.records import natural_order

NUM_JOINTS = 17
MAX_PIXELS = 20_000
POINT, TRIPLES = 3, 3 * NUM_JOINTS
FORMS = "COCO results, MMPose's predictions or PaddleDetection's results"


def find_samples(args: argparse.Namespace) -> RawSet:
    """List the json files below `args.raw`."""
    origin = "run MMPose or PaddleDetection on each video and save its key points as json"
    return label_by_folder(list_files(args.raw, ".json", origin), args, args.layout or "coco17")


def read_sample(sample: RawSample, args: argparse.Namespace) -> dict:
    """Read one video.

    Returns:
        annotation of one or two persons, (M, T, 17, 2) pixels, with scores.
    Raises:
        ValueError: a damaged file or one of another form, with its line; a frame that is missing; no body in it.
    """
    file = JsonFile(sample.path)
    base = ("instance_info",) if isinstance(file.content, dict) else ()
    frames = file.get(base, list)
    if frames and isinstance(frames[0], dict) and "instances" in frames[0]:
        persons = read_mmpose(file, base)
    elif frames and isinstance(frames[0], dict) and "image_id" in frames[0]:
        persons = read_results(file)
    elif frames and isinstance(frames[0], list):
        persons = [read_paddle(file, number) for number in range(len(frames))]
    elif not frames:
        persons = []
    else:
        raise file.make_error(
            (*base, 0), f"is {repr(frames[0])[:40]}, expected {FORMS}; give files of one of these forms"
        )
    for people in persons:  # the best ones first, as only so many are looked at
        people.sort(key=lambda person: -person[:, 2].sum())
    poses = PERSONS[args.persons or "matched"](stack_persons(persons, NUM_JOINTS))
    return make_pose_annotation(sample, poses, MAX_PIXELS, read_size(file) or args.image_size)


def read_size(file: JsonFile) -> tuple[int, int] | None:
    """Read (height, width) of the video, where the file says it."""
    if not isinstance(file.content, dict) or "image_size" not in file.content:
        return None
    width, height = file.get_numbers(("image_size",), 2, MAX_PIXELS)
    if not (type(width) is type(height) is int and width > 0 and height > 0):
        raise file.make_error(("image_size",), f"is [{width}, {height}], expected width and height in pixels")
    return height, width


def read_results(file: JsonFile) -> list[list[np.ndarray]]:
    """Read COCO results: the persons of each frame; whole numbers that are left out between frames are empty frames."""
    frames = {}
    for number in range(len(file.content)):
        image = file.content[number].get("image_id") if isinstance(file.content[number], dict) else None
        if isinstance(image, bool) or not isinstance(image, (int, str)):
            raise file.make_error((number, "image_id"), f"is {repr(image)[:40]}, expected a number or a name")
        frames.setdefault(image, []).append(read_triples(file, (number, "keypoints")))
    if all(isinstance(image, int) for image in frames):
        if max(frames) - min(frames) > 100 * len(frames):
            raise ValueError(
                f"'{file.path}' line 1: image_id goes from {min(frames)} to {max(frames)}; number the frames"
            )
        return [frames.get(image, []) for image in range(min(frames), max(frames) + 1)]
    return [frames[image] for image in sorted(frames, key=lambda image: natural_order(str(image)))]


def read_mmpose(file: JsonFile, base: tuple) -> list[list[np.ndarray]]:
    """Read the predictions of MMPose 1: the persons of each frame, which follow each other without a gap."""
    frames, first = [], None
    for number in range(len(file.get(base, list))):
        frame_id = file.get((*base, number, "frame_id"), int)
        first = frame_id if first is None else first
        if frame_id != first + number:
            raise file.make_error(
                (*base, number, "frame_id"), f"is {frame_id}, expected {first + number}: a frame is missing"
            )
        persons = []
        for person in range(len(file.get((*base, number, "instances"), list))):
            keys = (*base, number, "instances", person)
            if len(file.get((*keys, "keypoints"), list)) != NUM_JOINTS:
                count = len(file.get((*keys, "keypoints"), list))
                raise file.make_error(
                    (*keys, "keypoints"), f"has {count} points, expected {NUM_JOINTS}; use a COCO model"
                )
            points = [file.get_numbers((*keys, "keypoints", joint), 2, MAX_PIXELS) for joint in range(NUM_JOINTS)]
            scores = file.get_numbers((*keys, "keypoint_scores"), NUM_JOINTS, MAX_SCORE)
            persons.append(np.column_stack([np.array(points, np.float64), scores]))
        frames.append(persons)
    return frames


def read_paddle(file: JsonFile, number: int) -> list[np.ndarray]:
    """Read the persons of a frame as PaddleDetection writes them; a person may be flat or a list of [x, y, score]."""
    persons = []
    for person in range(len(file.get((number, 2, 0), list))):
        keys = (number, 2, 0, person)
        size = len(file.get(keys, list))
        if size == NUM_JOINTS:
            points = [file.get_numbers((*keys, joint), POINT, MAX_PIXELS) for joint in range(NUM_JOINTS)]
            persons.append(check_scores(file, keys, np.array(points, np.float64)))
        else:
            persons.append(read_triples(file, keys))
    return persons


def read_triples(file: JsonFile, keys: tuple) -> np.ndarray:
    """Read [x, y, score, x, ...] of a person, (17, 3)."""
    return check_scores(file, keys, np.array(file.get_numbers(keys, TRIPLES, MAX_PIXELS)).reshape(NUM_JOINTS, POINT))


def check_scores(file: JsonFile, keys: tuple, points: np.ndarray) -> np.ndarray:
    """Refuse points (V, 3) of which a score cannot be."""
    worst = np.abs(points[:, 2]).max()
    if worst > MAX_SCORE:
        raise file.make_error(keys, f"has a score of {worst:g}, expected 0 to 1; get the file again")
    return points
