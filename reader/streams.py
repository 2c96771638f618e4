"""What a network sees of a body: joints, bones, their motions, PB-GCN's signals; all from joints (..., M, T, V, C).

A stream is named by one of `STREAMS`, or by several joined with `+`, whose channels then stand one after the other
("joint+bone", PB-GCN's "displacement+relative").
"""

from collections.abc import Callable

import numpy as np

from skeleton import Layout



def make_bones(joints: np.ndarray, parents: tuple, average_scores: bool = False) -> np.ndarray:
    """Subtract from each joint its parent; the root, its own parent, becomes zero.

    Args:
        joints: (..., V, C).
        parents: the parent of each joint.
        average_scores: the third channel is a score: a bone has the mean of its two joints' (PYSKL).
    """
    ends = joints.take(parents, axis=-2)
    bones = joints - ends
    if average_scores:
        bones[..., 2] = (joints[..., 2] + ends[..., 2]) / 2
    return bones


def make_motion(joints: np.ndarray, average_scores: bool = False) -> np.ndarray:
    """Subtract each frame from the next one; the last frame becomes zero.

    Args:
        joints: (..., T, V, C).
        average_scores: the third channel is a score: a motion has the mean of its two frames' (PYSKL).
    """
    motion = np.zeros_like(joints)
    np.subtract(joints[..., 1:, :, :], joints[..., :-1, :, :], out=motion[..., :-1, :, :])
    if average_scores:
        motion[..., :-1, :, 2] = (joints[..., 1:, :, 2] + joints[..., :-1, :, 2]) / 2
    return motion


def _joint(joints, layout, average_scores):
    return joints


def _bone(joints, layout, average_scores):
    return make_bones(joints, layout.parents, average_scores)


def _joint_motion(joints, layout, average_scores):
    return make_motion(joints, average_scores)


def _bone_motion(joints, layout, average_scores):
    return make_motion(_bone(joints, layout, average_scores), average_scores)


STREAMS: dict[str, Callable] = {
    "joint": _joint,
    "bone": _bone,
    "joint_motion": _joint_motion,
    "bone_motion": _bone_motion,
}
