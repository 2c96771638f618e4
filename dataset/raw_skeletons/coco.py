"""COCO-17 key points found in a video: a json file per video, in any of the forms that people have.

- COCO results, AlphaPose: `[{"image_id", "keypoints": [x, y, score, ...], "score"}]`, a frame being an image_id, a
  number or a name; AlphaPose's "idx" or a "track_id" says who it is;
- MMPose 1: `[{"frame_id", "instances": [{"keypoints": [[x, y], ...], "keypoint_scores": [...]}]}]`, or that list under
  "instance_info"; `"image_size": [width, height]` beside it, which tools/find_poses.py writes, is img_shape; instances
  may have a "track_id";
- MMPose 0: `[[{"keypoints": [[x, y, score], ...], "track_id"}]]`, the people of each frame;
- PaddleDetection: `[[image id, boxes, [[[[x, y, score], ...], ...], [score, ...]]]]`, which
  det_keypoint_unite_infer.py --save_res writes.

MMPose writes every frame, the others leave out frames without anybody, see `frames`. A point with null or NaN was not
found. Classes and splits come from the folders above, see `class_folders`.
"""

import argparse

import numpy as np

from dataset.raw_skeletons.class_folders import label_by_folder
from dataset.raw_skeletons.frames import arrange_all_frames, arrange_frames
from dataset.raw_skeletons.json_file import JsonFile
from dataset.raw_skeletons.samples import RawSample, RawSet, list_files, make_pose_annotation
from dataset.raw_skeletons.tracks import Person
from dataset.skeleton_checks import MAX_SCORE

NUM_JOINTS = 17
MAX_PIXELS = 20_000
POINT = 3
FORMS = "COCO results, AlphaPose's or PaddleDetection's results, or MMPose's predictions"


def find_samples(args: argparse.Namespace) -> RawSet:
    """List the json files below `args.raw`."""
    origin = "run MMPose, AlphaPose or PaddleDetection on each video and save its key points as json"
    return label_by_folder(list_files(args.raw, ".json", origin), args, args.layout or "coco17")


def read_sample(sample: RawSample, args: argparse.Namespace) -> dict:
    """Read one video.

    Returns:
        annotation of the first persons, (M, T, 17, 2) pixels, with scores.
    Raises:
        ValueError: a damaged file or one of another form, with its line; a frame that is missing; no body in it.
    """
    file = JsonFile(sample.path)
    frames = read_frames(file, args, sample.video)
    for people in frames:  # the best ones first, as ST-GCN looks only at so many
        people.sort(key=lambda person: -person.points[:, 2].sum())
    size = read_size(file) or args.image_size
    return make_pose_annotation(sample, frames, MAX_PIXELS, size, NUM_JOINTS, args, file.num_missing)


def read_frames(file: JsonFile, args: argparse.Namespace, video: str | None) -> list[list[Person]]:
    """Read the people of each frame, whichever form the file has; `video` see `arrange_frames`."""
    base = ("instance_info",) if isinstance(file.content, dict) else ()
    if base and base[0] not in file.content:
        keys = ", ".join(map(repr, list(file.content)[:3]))
        raise file.make_error((), f"is an object of {keys or 'nothing'}, expected {FORMS}; give files of such a form")
    frames = file.get(base, list)
    first = next((frame for frame in frames if frame != []), [])
    if isinstance(first, dict) and "instances" in first:
        return arrange_all_frames(file.path, read_mmpose(file, base), args.first_frame)
    if isinstance(first, dict) and "image_id" in first and not base:
        return arrange_frames(file.path, read_results(file), args, video)
    if isinstance(first, list) and (not first or isinstance(first[0], dict)):
        return [read_people(file, (*base, number)) for number in range(len(frames))]
    if isinstance(first, list) and not base:
        return arrange_frames(file.path, read_paddle(file), args, video)
    raise file.make_error((*base, 0), f"is {repr(first)[:40]}, expected {FORMS}; give files of one of these forms")


def read_size(file: JsonFile) -> tuple[int, int] | None:
    """Read (height, width) of the video, where the file says it."""
    if not isinstance(file.content, dict) or "image_size" not in file.content:
        return None
    width, height = file.get_numbers(("image_size",), 2, MAX_PIXELS)
    if not (type(width) is type(height) is int and width > 0 and height > 0):
        raise file.make_error(("image_size",), f"is [{width}, {height}], expected width and height in pixels")
    return height, width


def read_results(file: JsonFile) -> dict[int | str, list[Person]]:
    """Read COCO results: the people by image_id."""
    frames = {}
    for number, result in enumerate(file.content):
        image = read_id(file, (number, "image_id"), result.get("image_id") if isinstance(result, dict) else None)
        track = read_track(result, "track_id") if "track_id" in result else read_track(result, "idx")
        frames.setdefault(image, []).append(Person(read_triples(file, (number, "keypoints")), track))
    return frames


def read_id(file: JsonFile, keys: tuple, image) -> int | str:
    """Read the number or the name of a frame; "31" is 31."""
    if isinstance(image, float) and image.is_integer():
        return int(image)
    if isinstance(image, bool) or not isinstance(image, (int, str)):
        raise file.make_error(keys, f"is {repr(image)[:40]}, expected a number or a name")
    return int(image) if isinstance(image, str) and image.isascii() and image.isdecimal() else image


def read_track(person: dict, key: str) -> int | str | None:
    """Return the track id of a person; None where it has none, which is often written as -1."""
    track = person.get(key)
    while isinstance(track, list) and len(track) == 1:
        track = track[0]
    if isinstance(track, float) and track.is_integer():
        track = int(track)
    is_id = isinstance(track, str) and track or isinstance(track, int) and not isinstance(track, bool) and track >= 0
    return track if is_id else None


def read_mmpose(file: JsonFile, base: tuple) -> dict[int, list[Person]]:
    """Read the predictions of MMPose 1: the people by frame_id."""
    frames = {}
    for number in range(len(file.get(base, list))):
        keys = (*base, number, "frame_id")
        frame_id = read_id(file, keys, file.get(keys, object))
        if frame_id in frames:
            raise file.make_error(keys, f"is {frame_id} again, expected each frame once")
        frames[frame_id] = read_people(file, (*base, number, "instances"))
    return frames


def read_people(file: JsonFile, base: tuple) -> list[Person]:
    """Read the people of a frame as MMPose writes them: with scores of their own, or as [x, y, score]."""
    people = []
    for number, person in enumerate(file.get(base, list)):
        keys = (*base, number)
        count = len(file.get((*keys, "keypoints"), list))
        if count != NUM_JOINTS:
            raise file.make_error((*keys, "keypoints"), f"has {count} points, expected {NUM_JOINTS}; use a COCO model")
        has_scores = "keypoint_scores" in person or len(file.get((*keys, "keypoints", 0), list)) != POINT
        width = 2 if has_scores else POINT
        points = read_rows(file, (*keys, "keypoints"), width)
        if has_scores:
            scores = file.get_points((*keys, "keypoint_scores"), NUM_JOINTS, 1, MAX_SCORE)
            points = np.column_stack([points, scores]) * (points.any(axis=1, keepdims=True) & (scores != 0))
        people.append(Person(check_scores(file, (*keys, "keypoints"), points), read_track(person, "track_id")))
    return people


def read_paddle(file: JsonFile) -> dict[int | str, list[Person]]:
    """Read PaddleDetection's results: the people by image id; each may be flat or a list of [x, y, score]."""
    frames = {}
    for number, frame in enumerate(file.content):
        image = read_id(file, (number, 0), frame[0] if isinstance(frame, list) and frame else None)
        if image in frames:
            raise file.make_error((number, 0), f"is {image!r} again, expected each frame once")
        count = len(file.get((number, 2, 0), list)) if len(frame) > 1 else 0
        frames[image] = [Person(read_paddle_person(file, (number, 2, 0, person))) for person in range(count)]
    return frames


def read_paddle_person(file: JsonFile, keys: tuple) -> np.ndarray:
    """Read the points (17, 3) of a person."""
    if len(file.get(keys, list)) != NUM_JOINTS:
        return read_triples(file, keys)
    return check_scores(file, keys, read_rows(file, keys, POINT))


def read_rows(file: JsonFile, keys: tuple, width: int) -> np.ndarray:
    """Read a list of points, each a list of `width` numbers: (17, width)."""
    return np.concatenate([file.get_points((*keys, joint), 1, width, MAX_PIXELS) for joint in range(NUM_JOINTS)])


def read_triples(file: JsonFile, keys: tuple) -> np.ndarray:
    """Read [x, y, score, x, ...] of a person, (17, 3)."""
    count = len(file.get(keys, list))
    if count != POINT * NUM_JOINTS:
        raise file.make_error(
            keys, f"has {count} values, expected {NUM_JOINTS} points of x, y and score; use a COCO model"
        )
    return check_scores(file, keys, file.get_points(keys, NUM_JOINTS, POINT, MAX_PIXELS))


def check_scores(file: JsonFile, keys: tuple, points: np.ndarray) -> np.ndarray:
    """Refuse points (V, 3) of which a score cannot be."""
    worst = np.abs(points[:, 2]).max()
    if worst > MAX_SCORE:
        raise file.make_error(keys, f"has a score of {worst:g}, expected 0 to 1; get the file again")
    return points
