"""Identities of persons in 2-D poses found frame by frame: `PERSONS` has the methods by name.

Poses are (M, T, V, 3), x, y and score, zero where a frame has fewer than M persons; each method orders the persons.
"""

from collections.abc import Callable

import numpy as np

MAX_CANDIDATES = 5  # persons of a frame that are looked at, as in ST-GCN


def stack_persons(frames: list[list[np.ndarray]], num_joints: int) -> np.ndarray:
    """Stack the first five persons, each (V, 3), of every frame to an array (M, T, V, 3) with M from 1 to 5."""
    num_persons = min(max((len(persons) for persons in frames), default=0), MAX_CANDIDATES)
    poses = np.zeros((max(num_persons, 1), len(frames), num_joints, 3))
    for frame, persons in enumerate(frames):
        for index, person in enumerate(persons[:MAX_CANDIDATES]):
            poses[index, frame] = person
    return poses


def sort_persons(poses: np.ndarray) -> np.ndarray:
    """Sort the persons of each frame by their scores, best first, whoever they are (ST-GCN, MS-G3D)."""
    order = np.argsort(-poses[..., 2].sum(axis=2), axis=0, kind="stable")  # (M, T)
    return np.take_along_axis(poses, order[..., None, None], axis=0)


def match_persons(poses: np.ndarray) -> np.ndarray:
    """Match each person to the nearest one of the next frame, each one once (ST-GCN's openpose_match).

    The persons are then sorted by their scores of all frames together.
    """
    num_persons, num_frames = poses.shape[:2]
    if num_frames < 2:
        return poses[np.argsort(-poses[..., 2].sum(axis=(1, 2)), kind="stable")]
    points = poses[..., :2].transpose(1, 0, 2, 3)  # (T, M, V, 2)
    distances = ((points[1:, None] - points[:-1, :, None]) ** 2).sum(axis=(3, 4))  # (T-1, person, person after)
    ranking = np.argsort(-poses[:, :-1, :, 2].sum(axis=2).T, axis=1, kind="stable")  # (T-1, M)
    ranking = np.argsort(ranking, axis=1)  # its inverse: so does ST-GCN, who meant to let the best scores choose first
    frames = np.arange(num_frames - 1)
    following = np.zeros((num_frames - 1, num_persons), np.int64)
    for rank in range(num_persons):
        person = ranking[:, rank]
        nearest = distances[frames, person].argmin(axis=1)
        following[frames, person] = nearest
        distances[frames, :, nearest] = np.inf
    matched, current = poses.copy(), np.arange(num_persons)
    for frame in frames:
        current = following[frame, current]
        matched[:, frame + 1] = poses[current, frame + 1]
    return matched[np.argsort(-matched[..., 2].sum(axis=(1, 2)), kind="stable")]


PERSONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {"sorted": sort_persons, "matched": match_persons}
