"""Identities of persons in 2-D poses found frame by frame: `PERSONS` has the methods by name.

Each method turns the persons of every frame into poses (M, T, V, 3) of x, y and score, best persons first, zero where a
person is not in a frame; it gets the number of joints and of the persons that will be kept.
"""

from collections.abc import Callable

import numpy as np

from dataset.raw_skeletons.tracks import Person, track_persons

MAX_PERSONS = 2  # that are kept, unless the user says otherwise
MAX_CANDIDATES = 5  # persons of a frame that ST-GCN looks at


def stack_persons(frames: list[list[Person]], num_joints: int, max_persons: int = MAX_CANDIDATES) -> np.ndarray:
    """Stack the first persons of every frame to an array (M, T, V, 3) with M from 1 to `max_persons`."""
    num_persons = min(max((len(people) for people in frames), default=0), max_persons)
    poses = np.zeros((max(num_persons, 1), len(frames), num_joints, 3))
    for frame, people in enumerate(frames):
        for index, person in enumerate(people[:max_persons]):
            poses[index, frame] = person.points
    return poses


def sort_persons(frames: list[list[Person]], num_joints: int, max_persons: int) -> np.ndarray:
    """Sort the persons of each frame by their scores, best first, whoever they are (ST-GCN, MS-G3D)."""
    poses = stack_persons(frames, num_joints, max(max_persons, MAX_CANDIDATES))
    order = np.argsort(-poses[..., 2].sum(axis=2), axis=0, kind="stable")  # (M, T)
    return np.take_along_axis(poses, order[..., None, None], axis=0)


def match_persons(frames: list[list[Person]], num_joints: int, max_persons: int) -> np.ndarray:
    """Follow each person over the frames, by track ids or by where and how large they were (`tracks`)."""
    tracks = track_persons(frames, max_persons)
    poses = np.zeros((max(len(tracks), 1), len(frames), num_joints, 3))
    for row, track in zip(poses, tracks, strict=False):
        row[track.frames] = track.points
    return poses


def match_persons_stgcn(frames: list[list[Person]], num_joints: int, max_persons: int) -> np.ndarray:
    """Match each person to the nearest one of the next frame, each one once (ST-GCN's openpose_match).

    The persons are then sorted by their scores of all frames together. A person who is missed counts as one at (0, 0),
    so that two may change places.
    """
    poses = stack_persons(frames, num_joints, max(max_persons, MAX_CANDIDATES))
    num_persons, num_frames = poses.shape[:2]
    if num_frames < 2:
        return poses[np.argsort(-poses[..., 2].sum(axis=(1, 2)), kind="stable")]
    points = poses[..., :2].transpose(1, 0, 2, 3)  # (T, M, V, 2)
    distances = ((points[1:, None] - points[:-1, :, None]) ** 2).sum(axis=(3, 4))  # (T-1, person, person after)
    ranking = np.argsort(-poses[:, :-1, :, 2].sum(axis=2).T, axis=1, kind="stable")  # (T-1, M)
    ranking = np.argsort(ranking, axis=1)  # its inverse: so does ST-GCN, who meant to let the best scores choose first
    following = np.zeros((num_frames - 1, num_persons), np.int64)
    steps = np.arange(num_frames - 1)
    for rank in range(num_persons):
        person = ranking[:, rank]
        nearest = distances[steps, person].argmin(axis=1)
        following[steps, person] = nearest
        distances[steps, :, nearest] = np.inf
    matched, current = poses.copy(), np.arange(num_persons)
    for frame in steps:
        current = following[frame, current]
        matched[:, frame + 1] = poses[current, frame + 1]
    return matched[np.argsort(-matched[..., 2].sum(axis=(1, 2)), kind="stable")]


PERSONS: dict[str, Callable[[list[list[Person]], int, int], np.ndarray]] = {
    "sorted": sort_persons,
    "matched": match_persons,
    "stgcn": match_persons_stgcn,
}
