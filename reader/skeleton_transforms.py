"""Normalisations of key points: pure NumPy, a recording (M, T, V, C) at a time, C coordinates or x, y, score.

A joint whose numbers are all zero is missing, and stays zero. A recording without any joint comes back as it is.
"""

import math
from collections.abc import Callable

import numpy as np

from layouts import Layout

# Joints by which bodies are centred and turned, as layouts name them; joint 1 of NTU RGB+D and of N-UCLA is the centre.
CENTRES = ("spine_mid", "spine", "mid_hip", "root", "neck", "nose")
SPINES = (("spine_base", "spine_mid"), ("hip_centre", "spine"), ("root", "lower_back"))
SHOULDERS = (("right_shoulder", "left_shoulder"), ("right_clavicle", "left_clavicle"))
HIPS = (("left_hip", "right_hip"),)
X_AXIS, Z_AXIS = np.array([1.0, 0.0, 0.0]), np.array([0.0, 0.0, 1.0])

NEARLY_ZERO = 1e-12  # in units of the coordinates
SCORE_THRESHOLD = 0.01  # PYSKL: a joint whose score is not above it is missing
MIN_EXTENT = 10  # PYSKL: coordinates over a smaller range are not scaled


def find_present(keypoint: np.ndarray) -> np.ndarray:
    """Return which joints are present, bool (..., V): those with a number that is not zero."""
    differs = keypoint != 0
    present = differs[..., 0]
    for channel in range(1, keypoint.shape[-1]):  # several times as fast as any() over so short an axis
        present = present | differs[..., channel]
    return present


def find_seen(keypoint: np.ndarray, num_coordinates: int) -> np.ndarray:
    """Return which joints (..., V, 3) are present, bool (..., V); those of x, y and score need a score above 0, too."""
    present = find_present(keypoint[..., :num_coordinates])
    return present if num_coordinates == 3 else present & (keypoint[..., 2] > 0)


def change_seen(change: Callable, keypoint: np.ndarray, num_coordinates: int) -> np.ndarray:
    """Change the coordinates of (M, T, V, 3); with two of them, of the joints that are seen, and keep the score."""
    if num_coordinates == 3:
        return change(keypoint)
    seen = keypoint[..., :2] * find_seen(keypoint, num_coordinates)[..., None]
    return np.concatenate([change(seen), keypoint[..., 2:]], axis=3)


def move_origin(keypoint: np.ndarray, origin: np.ndarray, present: np.ndarray) -> np.ndarray:
    """Subtract a point (C,) from the joints that are present; the others become zero."""
    num_joints = keypoint.shape[2]
    rows = keypoint.reshape(-1, num_joints * len(origin))
    moved = (rows - np.tile(origin, num_joints)).reshape(keypoint.shape)  # long rows: a third of the time
    if not present.all():
        moved[~present] = 0
    return moved


def center(keypoint: np.ndarray, layout: Layout) -> np.ndarray:
    """Move the centre joint of the first person, in its first frame that is not empty, to the origin (CTR-GCN)."""
    present = find_present(keypoint)
    used = present[0].any(axis=1)
    return move_origin(keypoint, keypoint[0, used.argmax(), find_centre(layout)], present)


def center_for_box(keypoint: np.ndarray, layout: Layout) -> np.ndarray:
    """Centre as `center`; the centre joint itself, where it is present, is not quite zero, which is a missing joint."""
    centred = center(keypoint, layout)
    is_origin = find_present(keypoint) & ~find_present(centred)
    centred[is_origin] = NEARLY_ZERO
    return centred


def normalize_pyskl_3d(keypoint: np.ndarray, layout: Layout, align: bool = True) -> np.ndarray:
    """PYSKL's PreNormalize3D: frames without the first person go, the body is put at the origin and upright.

    PYSKL subtracts the centre of float16 key points, as its files of NTU RGB+D have them, in float16, ours in float32:
    coordinates of a few metres differ by up to 4e-4 m.

    The second person becomes the first one where it is present in more frames. PYSKL's centre is the last joint in
    layouts other than NTU RGB+D's; ours is the centre of the layout.

    Args:
        align: turn the spine to z and the shoulders to x, by the first frame; False: PYSKL's align_spine=False.
    """
    present = find_present(keypoint)
    used = present.any(axis=2)
    if len(used) > 1 and used[0].sum() < used[1].sum():
        order = [1, 0, *range(2, len(used))]
        keypoint, present, used = keypoint[order], present[order], used[order]
    if not used[0].any():
        return keypoint
    if not used[0].all():
        keypoint, present = keypoint[:, used[0]], present[:, used[0]]
    moved = move_origin(keypoint, keypoint[0, 0, find_centre(layout)], present)
    return rotate(moved, find_upright(moved[0, 0], layout)) if align else moved


def normalize_msg3d(keypoint: np.ndarray, layout: Layout) -> np.ndarray:
    """MS-G3D's pre-normalisation: every frame is centred by itself, the body put upright as in its first frame.

    Before that each person's frames, from the first that is not empty, are repeated over the empty ones at the end.
    """
    keypoint = np.stack([_fill_end(person) for person in keypoint])
    if not keypoint[0].any():
        return keypoint
    centres = keypoint[:1, :, [find_centre(layout)]]  # (1, T, 1, C) of the first person
    moved = (keypoint - centres) * find_present(keypoint)[..., None]
    return rotate(moved, find_upright(moved[0, 0], layout))


def _fill_end(person: np.ndarray) -> np.ndarray:
    """Repeat a person (T, V, C) over its empty end; if the first frame is empty, drop all empty frames before."""
    used = find_present(person).any(axis=1)
    if not used.any():
        return person
    valid = person[: len(used) - used[::-1].argmax()] if used[0] else person[used]
    return valid[np.arange(len(person)) % len(valid)]


def normalize_infogcn(keypoint: np.ndarray, layout: Layout) -> np.ndarray:
    """InfoGCN's alignment of centred persons: each is rotated to the axes of its body in the first frame.

    The third axis is the spine, the first one the hips as far as they are at right angles to it. A person without
    a spine in the first frame becomes zero, and so does one without hips, of which InfoGCN makes NaN.
    """
    keypoint = center(keypoint, layout)
    (bottom, top), (left, right) = find_pair(SPINES, layout), find_pair(HIPS, layout)
    aligned = np.zeros_like(keypoint)
    for person, output in zip(keypoint, aligned, strict=True):
        first = person[0].astype(np.float64)
        spine = _scale_to_unit(first[top] - first[bottom])
        hips = first[left] - first[right]
        hips = _scale_to_unit(hips - (hips @ spine) * spine)
        if spine.any() and hips.any():
            output[:] = rotate(person, np.stack([hips, np.cross(hips, spine), spine]))  # the inverse: it is orthonormal
    return aligned


def normalize_box(keypoint: np.ndarray) -> np.ndarray:
    """Scale each coordinate to -1 ... 1 over all joints and frames of a recording (CTR-GCN's N-UCLA)."""
    present = find_present(keypoint)
    flat = keypoint[present]
    if not len(flat):
        return keypoint
    low, high = flat.min(axis=0), flat.max(axis=0)
    half = np.where(high > low, high - low, 1) / 2
    return move_origin(keypoint, low, present) / half - present[..., None]


def normalize_pyskl_2d(keypoint: np.ndarray, size: tuple, threshold: float = SCORE_THRESHOLD) -> np.ndarray:
    """PYSKL's PreNormalize2D: the picture becomes -1 ... 1; joints of a low score go to zero, their score stays.

    Args:
        keypoint: (M, T, V, 3): x, y in pixels, score.
        size: (height, width) of the picture.
        threshold: a score that is not above it is low.
    """
    normalized = keypoint.copy()
    middle = np.array([size[1] / 2, size[0] / 2], np.float32)
    normalized[..., :2] = (keypoint[..., :2] - middle) / middle * (keypoint[..., 2:] > threshold)
    return normalized


def normalize_pyskl_2d_auto(keypoint: np.ndarray, threshold: float = SCORE_THRESHOLD) -> np.ndarray:
    """PYSKL's PreNormalize2D in mode auto: the range of joints with a score above `threshold` becomes -1 ... 1."""
    seen = keypoint[..., 2] > threshold
    normalized = keypoint.copy()
    if seen.any():
        low, high = keypoint[seen][:, :2].min(axis=0), keypoint[seen][:, :2].max(axis=0)
        if (high - low > MIN_EXTENT).all():
            normalized[..., :2] = (keypoint[..., :2] - (high + low) / 2) / (high - low) * 2
    normalized[..., :2] *= seen[..., None]
    return normalized


def normalize_kinetics(keypoint: np.ndarray, size: tuple, upwards: bool = False) -> np.ndarray:
    """ST-GCN's Kinetics-skeleton: the picture becomes -0.5 ... 0.5; joints of score zero go to zero.

    Args:
        upwards: y points upwards, as in MS-G3D.
    """
    normalized = keypoint.copy()
    shares = keypoint[..., :2] / np.array([size[1], size[0]], np.float32) - 0.5
    normalized[..., :2] = shares * np.array([1, -1 if upwards else 1], np.float32) * (keypoint[..., 2:] != 0)
    return normalized


def center_frames(keypoint: np.ndarray, layout: Layout) -> np.ndarray:
    """Move the centre joint of each person to the origin in every frame; joints that are not seen become zero.

    PaddleVideo's SkeletonNorm for figure skating (FSD), but for what `center_frames_paddlevideo` says. Where the centre
    is not seen, it is taken from the last frame before in which it is, or else from the first one after.

    Args:
        keypoint: (M, T, V, 3): x, y, score; a joint of score 0, or at the origin, is not seen.
    """
    seen = find_seen(keypoint, 2)
    centre, times = find_centre(layout), np.arange(keypoint.shape[1])
    normalized = keypoint.copy()
    for person, is_seen in zip(normalized, seen, strict=True):
        found = np.flatnonzero(is_seen[:, centre])
        if len(found):
            frames = found[np.maximum(np.searchsorted(found, times, side="right") - 1, 0)]
            person[..., :2] -= person[frames, centre, :2][:, None]
    normalized[..., :2] *= seen[..., None]
    return normalized


def center_frames_paddlevideo(keypoint: np.ndarray, layout: Layout) -> np.ndarray:
    """PaddleVideo's SkeletonNorm as it is: joints that are not seen are moved too, to minus the centre.

    A frame whose centre is not seen stays where it is.

    Args:
        keypoint: (M, T, V, 3): x, y, score.
    """
    normalized = keypoint.copy()
    normalized[..., :2] -= keypoint[:, :, [find_centre(layout)], :2]
    return normalized


# Each takes key points, the layout, the (height, width) of the picture or None, and PreNormalize2D's threshold. The
# first ones take two coordinates or three, the next ones three, the last ones x, y and a score. "box" only centres; it
# is scaled after the rotation.
ANY_NORMALIZATIONS: dict[str, Callable] = {
    "center": lambda keypoint, layout, *_: center(keypoint, layout),
    "box": lambda keypoint, layout, *_: center_for_box(keypoint, layout),
}
NORMALIZATIONS_3D: dict[str, Callable] = {
    "pyskl_3d": lambda keypoint, layout, *_: normalize_pyskl_3d(keypoint, layout),
    "pyskl_3d_center": lambda keypoint, layout, *_: normalize_pyskl_3d(keypoint, layout, align=False),
    "msg3d": lambda keypoint, layout, *_: normalize_msg3d(keypoint, layout),
    "infogcn": lambda keypoint, layout, *_: normalize_infogcn(keypoint, layout),
}
NORMALIZATIONS_2D: dict[str, Callable] = {
    "pyskl_2d": lambda keypoint, _, size, threshold=SCORE_THRESHOLD: normalize_pyskl_2d(keypoint, size, threshold),
    "pyskl_2d_auto": lambda keypoint, *rest: normalize_pyskl_2d_auto(keypoint, *rest[2:]),
    "stgcn_2d": lambda keypoint, _, size, *_rest: normalize_kinetics(keypoint, size),
    "center_frames": lambda keypoint, layout, *_: center_frames(keypoint, layout),
    "center_frames_paddlevideo": lambda keypoint, layout, *_: center_frames_paddlevideo(keypoint, layout),
    "msg3d_2d": lambda keypoint, _, size, *_rest: normalize_kinetics(keypoint, size, upwards=True),
}
NORMALIZATIONS = {
    None: lambda keypoint, *_: keypoint,
    **ANY_NORMALIZATIONS,
    **NORMALIZATIONS_3D,
    **NORMALIZATIONS_2D,
}
NEED_SIZE = ("pyskl_2d", "stgcn_2d", "msg3d_2d")


def find_centre(layout: Layout) -> int:
    """Return the joint that is put at the origin: the first of `CENTRES` that the layout has, or else its centre."""
    return next((layout.joints.index(name) for name in CENTRES if name in layout.joints), layout.centre)


def find_pair(pairs: tuple, layout: Layout) -> tuple[int, int]:
    """Return the first of some pairs of joint names that a layout has, as indices.

    Raises:
        ValueError: it has none of them.
    """
    for first, second in pairs:
        if first in layout.joints and second in layout.joints:
            return layout.joints.index(first), layout.joints.index(second)
    raise ValueError(
        f"layout '{layout.name}' has none of the joint pairs {', '.join(map(' - '.join, pairs))}, by which a body is "
        "turned; choose another READER.normalization"
    )


def find_upright(joints: np.ndarray, layout: Layout) -> np.ndarray:
    """Return the rotation (3, 3) that turns the spine of a body (V, 3) to z and then its shoulders to x."""
    (bottom, top), (right, left) = find_pair(SPINES, layout), find_pair(SHOULDERS, layout)
    joints = joints.astype(np.float64)
    upright = rotate_onto(joints[top] - joints[bottom], Z_AXIS)
    return rotate_onto(upright @ (joints[right] - joints[left]), X_AXIS) @ upright


def rotate_onto(vector: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Return the rotation (3, 3) that turns a vector to a unit vector, about their common normal (Rodrigues).

    The identity where the vector is zero, or along the target either way: there is no such normal.
    """
    (a, b, c), (d, e, f) = vector.tolist(), target.tolist()
    normal = (b * f - c * e, c * d - a * f, a * e - b * d)  # np.cross takes longer than all else here
    if sum(map(abs, normal)) < 1e-6:  # PYSKL's bound
        return np.eye(3)
    size = math.sqrt(a * a + b * b + c * c)
    x, y, z = (component / size for component in normal)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + cross + cross @ cross / (1 + (a * d + b * e + c * f) / size)


def rotate(keypoint: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Multiply a matrix (3, 3) by each joint of (..., 3)."""
    return (keypoint.reshape(-1, 3) @ matrix.T.astype(np.float32)).reshape(keypoint.shape)


def _scale_to_unit(vector: np.ndarray) -> np.ndarray:
    size = np.linalg.norm(vector)
    return vector / size if size else vector
