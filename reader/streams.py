"""Streams of a skeleton: joints, bones, K-bones, their motions, PB-GCN's signals; all from joints (M, T, V, 3).

A stream is one of `STREAMS`, or several of them joined with `+`, whose channels are concatenated: "joint+bone", or
PB-GCN's "displacement+relative". All but the signals take any axes before T.
"""

import functools
from collections.abc import Callable

import numpy as np

from layouts import Layout

MAX_STEPS = 8  # of InfoGCN's vectors; from every joint of NTU RGB+D, eight steps lead past the root


def make_bones(joints: np.ndarray, parents: tuple, average_scores: bool = False) -> np.ndarray:
    """Subtract from each joint its parent; the root, its own parent, becomes zero.

    Args:
        joints: (..., V, C).
        parents: the parent of each joint.
        average_scores: the third channel is a score, and a bone has the mean of its joints' (PYSKL).
    """
    ends = joints.take(parents, axis=-2)
    bones = joints - ends
    if average_scores:
        bones[..., 2] = (joints[..., 2] + ends[..., 2]) / 2
    return bones


def join_bones(bones: np.ndarray, layout: Layout) -> np.ndarray:
    """Add to each bone those that lead to it: the inverse of `make_bones`, where the root has its coordinates.

    Args:
        bones: (..., V, C).
    """
    joints = bones.copy()
    for joint in layout.sort_outward()[1:]:
        joints[..., joint, :] += joints[..., layout.parents[joint], :]
    return joints


def make_k_bones(joints: np.ndarray, parents: tuple, average_scores: bool = False) -> np.ndarray:
    """Subtract from each joint the one two bones inward (ProtoGCN's K-bones); the root and its neighbours become zero.

    Args:
        joints: (..., V, C).
        parents: the parent of each joint.
        average_scores: the third channel is a score, and a K-bone has the mean of its joints'.
    """
    root = [parent == parents[parent] for parent in parents]  # where the way ends at the root
    ends = tuple(joint if root[joint] else parents[parent] for joint, parent in enumerate(parents))
    return make_bones(joints, ends, average_scores)


def make_motion(joints: np.ndarray, average_scores: bool = False) -> np.ndarray:
    """Subtract each frame from the next one; the last frame becomes zero.

    Args:
        joints: (..., T, V, C).
        average_scores: the third channel is a score, and a motion has the mean of its frames' (PYSKL).
    """
    motion = np.empty_like(joints)
    motion[..., -1, :, :] = 0
    np.subtract(joints[..., 1:, :, :], joints[..., :-1, :, :], out=motion[..., :-1, :, :])
    if average_scores:
        motion[..., :-1, :, 2] = (joints[..., 1:, :, 2] + joints[..., :-1, :, 2]) / 2
    return motion


def make_vectors(joints: np.ndarray, layout: Layout, steps: int) -> np.ndarray:
    """Subtract from each joint the one `steps` joints inward (InfoGCN's I - P^k), past the root nothing."""
    return _vector_matrix(layout.num_joints, layout.vector_edges, steps) @ joints


@functools.cache
def _vector_matrix(num_joints: int, edges: tuple, steps: int) -> np.ndarray:
    inward = np.zeros((num_joints, num_joints), np.int64)
    inward[tuple(np.transpose(edges))] = 1
    return (np.eye(num_joints) - np.linalg.matrix_power(inward, steps)).astype(np.float32)


# PB-GCN's signals (its data/signals): zero outside of the range from the first to the last non-empty frame.


def find_range(joints: np.ndarray) -> slice:
    """Return the range from the first to the last non-empty frame of (M, T, V, C)."""
    used = np.flatnonzero(joints.any(axis=(0, 2, 3)))
    return slice(used[0], used[-1] + 1) if len(used) else slice(0, 0)


def make_displacement(joints: np.ndarray) -> np.ndarray:
    """Subtract each frame from the next one within the range; where a person leaves, the last difference is to zero."""
    frames, displacement = find_range(joints), np.zeros_like(joints)
    if frames.stop:
        displacement[:, frames] = make_motion(joints[:, frames])
    return displacement


def make_relative(joints: np.ndarray, references: tuple) -> np.ndarray:
    """Return coordinates relative to some joints: (M, T, V, C) to (M, T, V, references * C), reference by reference."""
    relative = joints[:, :, :, None] - joints[:, :, None, list(references)]  # (M, T, V, references, C)
    return relative.reshape(*joints.shape[:3], -1)


def make_oriented_displacement(joints: np.ndarray) -> np.ndarray:
    """Return the angles of each displacement, less the person's mean displacement, in degrees."""
    frames, angles = find_range(joints), np.zeros_like(joints)
    if frames.stop - frames.start > 1:
        displacement = np.diff(joints[:, frames], axis=1)
        displacement -= displacement.mean(axis=(1, 2), keepdims=True)
        angles[:, frames.start : frames.stop - 1] = _find_angles(displacement)
    return angles


def make_relative_angles(joints: np.ndarray, references: tuple) -> np.ndarray:
    """Return the angles of `make_relative`, in degrees, in its order."""
    relative = make_relative(joints, references)
    return _find_angles(relative.reshape(*joints.shape[:3], len(references), -1)).reshape(relative.shape)


def _find_angles(vectors: np.ndarray) -> np.ndarray:
    """Return the angles of vectors (..., 3) from x to y, from y to z and from x to z, in degrees, -180 to 180."""
    x, y, z = np.moveaxis(vectors, -1, 0)
    return np.degrees(np.stack([np.arctan2(y, x), np.arctan2(z, y), np.arctan2(z, x)], axis=-1))


def _with_motion(name: str, make: Callable) -> dict:
    """Return a stream and its motion; each takes joints, the layout, and whether scores are averaged."""
    return {
        name: make,
        f"{name}_motion": lambda joints, layout, average: make_motion(make(joints, layout, average), average),
    }


def _make_vector_stream(steps: int) -> dict:
    return _with_motion(f"vector{steps}", lambda joints, layout, _: make_vectors(joints, layout, steps))


STREAMS: dict[str, Callable] = {
    **_with_motion("joint", lambda joints, *_: joints),
    **_with_motion("bone", lambda joints, layout, average: make_bones(joints, layout.parents, average)),
    **_with_motion("k_bone", lambda joints, layout, average: make_k_bones(joints, layout.parents, average)),
    **{name: make for steps in range(1, MAX_STEPS + 1) for name, make in _make_vector_stream(steps).items()},
    "displacement": lambda joints, *_: make_displacement(joints),
    "relative": lambda joints, layout, _: make_relative(joints, layout.reference_joints),
    "oriented_displacement": lambda joints, *_: make_oriented_displacement(joints),
    "relative_angles": lambda joints, layout, _: make_relative_angles(joints, layout.reference_joints),
}


def make_stream(joints: np.ndarray, stream: str, layout: Layout, average_scores: bool = False) -> np.ndarray:
    """Return the channels of a stream, (M, T, V, channels).

    Args:
        joints: (M, T, V, 3); with two coordinates the third channel is the score.
        average_scores: in bones and motions the third channel is a mean of scores, not a difference.
    """
    parts = [STREAMS[name](joints, layout, average_scores) for name in stream.split("+")]
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=-1)


def count_channels(stream: str, layout: Layout) -> int:
    """Return how many channels a stream has.

    Raises:
        ValueError: an unknown stream, or one that needs reference joints where the layout has none.
    """
    num_channels = 0
    for name in stream.split("+"):
        if name not in STREAMS:
            raise ValueError(
                f"reader skeletons: stream is '{stream}', expected some of {', '.join(STREAMS)}, joined by +"
            )
        is_relative = name in ("relative", "relative_angles")
        if is_relative and not layout.reference_joints:
            raise ValueError(f"reader skeletons: stream {name} needs reference_joints, layout '{layout.name}' has none")
        num_channels += 3 * len(layout.reference_joints) if is_relative else 3
    return num_channels
