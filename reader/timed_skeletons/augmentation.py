"""SkateFormer's augmentation of clips: key points (M, T, V, 3) in and out, pure NumPy.

Within a sample (intra-instance) each change of a list is made with probability 1/2, in its order; between samples
(inter-instance) a body gets the lengths of another's bones.
"""

import math
from collections.abc import Callable

import numpy as np

from layouts import Layout
from reader.skeleton_clips import make_rotation
from reader.skeleton_transforms import rotate
from reader.streams import join_bones, make_bones

MAX_SHEAR = 0.5
MAX_ANGLE = math.radians(30)
MAX_SCALE = 0.2
DROPPED_FRAMES = (16, 32)  # least and most in which joints are dropped
MIN_LENGTH = 1e-5  # added to the lengths of bones


def swap_persons(clip: np.ndarray, *_) -> np.ndarray:
    """Reverse the order of the persons."""
    return clip[::-1]


def shear(clip: np.ndarray, _layout: Layout, _dropped: list, rng: np.random.Generator) -> np.ndarray:
    """Add shares of the other coordinates to each."""
    matrix = rng.uniform(-MAX_SHEAR, MAX_SHEAR, (3, 3))
    np.fill_diagonal(matrix, 1)
    return rotate(clip, matrix)


def turn(clip: np.ndarray, _layout: Layout, _dropped: list, rng: np.random.Generator) -> np.ndarray:
    """Rotate about a random one of the axes."""
    angles = np.zeros(3)
    angles[rng.integers(3)] = rng.uniform(-MAX_ANGLE, MAX_ANGLE)
    return rotate(clip, make_rotation(*angles))


def scale(clip: np.ndarray, _layout: Layout, _dropped: list, rng: np.random.Generator) -> np.ndarray:
    """Scale each coordinate."""
    return clip * rng.uniform(1 - MAX_SCALE, 1 + MAX_SCALE, 3).astype(np.float32)


def swap_sides(clip: np.ndarray, layout: Layout, *_) -> np.ndarray:
    """Exchange left and right joints; the body is not mirrored."""
    return clip.take(layout.mirror_indices(), axis=2)


def drop_axis(clip: np.ndarray, _layout: Layout, _dropped: list, rng: np.random.Generator) -> np.ndarray:
    """Set a random coordinate to 0."""
    flat = clip.copy()
    flat[..., rng.integers(3)] = 0
    return flat


def drop_joints(clip: np.ndarray, _layout: Layout, dropped: list, rng: np.random.Generator) -> np.ndarray:
    """Set random joints to 0 in random frames; `dropped`: the least and the greatest number of joints."""
    num_frames, num_joints = clip.shape[1:3]
    joints = rng.choice(num_joints, min(rng.integers(dropped[0], dropped[1] + 1), num_joints), replace=False)
    low, high = DROPPED_FRAMES
    frames = rng.choice(num_frames, min(rng.integers(low, high + 1), num_frames), replace=False)
    hidden = clip.copy()
    hidden[:, frames[:, None], joints] = 0
    return hidden


AUGMENTATIONS: dict[str, Callable] = {  # name -> function of a clip, its layout, `dropped` of `drop_joints`, generator
    "swap_persons": swap_persons,
    "shear": shear,
    "rotate": turn,
    "scale": scale,
    "swap_sides": swap_sides,
    "drop_axis": drop_axis,
    "drop_joints": drop_joints,
}


def change_randomly(
    clip: np.ndarray, names: list, layout: Layout, dropped: list, rng: np.random.Generator
) -> np.ndarray:
    """Change a clip by each of some `AUGMENTATIONS` with probability 1/2."""
    for name in names:
        if rng.random() < 0.5:
            clip = AUGMENTATIONS[name](clip, layout, dropped, rng)
    return clip


def exchange_bone_lengths(clip: np.ndarray, other: np.ndarray, layout: Layout) -> np.ndarray:
    """Give each body, frame by frame, the bone lengths of another one and the place of its root.

    Args:
        clip: (M, T, V, 3), whose directions of bones stay.
        other: of the same shape.
    """
    bones, lengths = (make_bones(body, layout.parents) for body in (clip, other))
    old, new = (np.linalg.norm(part, axis=3, keepdims=True) + MIN_LENGTH for part in (bones, lengths))
    bones = bones * new / old
    root = layout.sort_outward()[0]
    bones[:, :, root] = other[:, :, root]
    return join_bones(bones, layout)
