"""Normalisation, cropping and augmentation of key points (M, T, V, C): pure NumPy, one recording at a time.

A joint whose coordinates are all zero is missing, and stays so. With two coordinates C is 3: x, y, score.
"""

import numpy as np

from skeleton import Layout

LEAST_CROP = 64  # frames that CTR-GCN's random crop keeps where there are so many, whatever the length of the clip
# Joints by which bodies are centred and turned, in the names of the layouts; joint 1 of NTU RGB+D and N-UCLA is the centre.
CENTRES = ("spine_mid", "spine", "mid_hip", "root", "neck", "nose")
SPINES = (("spine_base", "spine_mid"), ("hip_centre", "spine"), ("root", "lower_back"))
SHOULDERS = (("right_shoulder", "left_shoulder"), ("right_clavicle", "left_clavicle"))
LEAST_EXTENT = 10  # pixels: PYSKL leaves the coordinates of smaller bodies as they are


def find_present(keypoint: np.ndarray) -> np.ndarray:
    """Return which joints are there, bool (..., V, 1): those with a coordinate that is not zero."""
    present = keypoint[..., 0] != 0
    for channel in range(1, keypoint.shape[-1]):
        present |= keypoint[..., channel] != 0
    return present[..., None]


def find_used_frames(keypoint: np.ndarray) -> np.ndarray:
    """Return which frames of each person hold anything: bool (M, T)."""
    return keypoint.reshape(*keypoint.shape[:2], -1).any(axis=2)


def center(keypoint: np.ndarray, joint: int) -> np.ndarray:
    """Move the origin to a joint of the first person in its first frame that is not empty (CTR-GCN)."""
    used = find_used_frames(keypoint)[0]
    if not used.any():
        return keypoint
    return (keypoint - keypoint[0, used.argmax(), joint]) * find_present(keypoint)


def normalize_pyskl_3d(keypoint: np.ndarray, layout: Layout, align: bool = True) -> np.ndarray:
    """PYSKL's PreNormalize3D: frames without the first person go, the body is put at the origin and upright.

    The second person becomes the first one where it is there in more frames.

    Args:
        align: turn the spine to z and the shoulders to x, by the first frame.
    """
    used = find_used_frames(keypoint)
    if not used.any():
        return keypoint
    if len(used) > 1 and used[0].sum() < used[1].sum():
        keypoint, used = keypoint[[1, 0, *range(2, len(used))]], used[[1]]
    if not used[0].all():
        keypoint = keypoint[:, used[0]]
    first = keypoint[0, 0]
    matrix = find_upright(first.astype(np.float64), layout) if align else np.eye(3)
    moved = (keypoint - first[find_centre(layout)]) * find_present(keypoint)
    return moved @ matrix.T.astype(np.float32) if align else moved


def find_centre(layout: Layout) -> int:
    """Return the joint that is put at the origin: the first of `CENTRES` that the layout has."""
    found = [layout.joints.index(name) for name in CENTRES if name in layout.joints]
    if not found:
        raise ValueError(f"layout '{layout.name}' has none of the joints {', '.join(CENTRES)} to be the origin")
    return found[0]


def find_upright(joints: np.ndarray, layout: Layout) -> np.ndarray:
    """Return the rotation (3, 3) that turns the spine of a body (V, 3) to z and then its shoulders to x."""
    (bottom, top), (right, left) = _find_pair(SPINES, layout), _find_pair(SHOULDERS, layout)
    upright = rotate_onto(joints[top] - joints[bottom], np.array([0.0, 0.0, 1.0]))
    return rotate_onto(upright @ (joints[right] - joints[left]), np.array([1.0, 0.0, 0.0])) @ upright


def _find_pair(pairs: tuple, layout: Layout) -> tuple[int, int]:
    """Return the first of some pairs of joint names that a layout has, as indices."""
    for one, other in pairs:
        if one in layout.joints and other in layout.joints:
            return layout.joints.index(one), layout.joints.index(other)
    raise ValueError(
        f"layout '{layout.name}' has none of the joint pairs {', '.join(map(' - '.join, pairs))}, by which a body is turned "
        "upright; choose another normalization"
    )


def rotate_onto(vector: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Return the rotation (3, 3) that turns a vector to a unit vector, about their common normal (Rodrigues).

    The identity where the vector is zero, or along the target either way: the normal is not defined there.
    """
    normal = np.cross(vector, target)
    size = np.linalg.norm(normal)
    angle = np.arctan2(size, vector @ target)
    if np.abs(normal).sum() < 1e-6 or angle < 1e-6:
        return np.eye(3)
    x, y, z = normal / size
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


def normalize_box(keypoint: np.ndarray) -> np.ndarray:
    """Scale each coordinate to -1 ... 1 over all frames of a recording: CTR-GCN's N-UCLA."""
    flat = keypoint.reshape(-1, keypoint.shape[-1])
    low, high = flat.min(axis=0), flat.max(axis=0)
    extent = np.where(high > low, high - low, 1)
    return (keypoint - low) * (2 / extent).astype(np.float32) - 1


def normalize_pyskl_2d(keypoint: np.ndarray, size: tuple, threshold: float = 0.01) -> np.ndarray:
    """PYSKL's PreNormalize2D: pixels to -1 ... 1 over the picture; joints that are hardly seen become zero.

    Args:
        keypoint: (M, T, V, 3): x, y, score.
        size: (height, width) of the picture.
    """
    middle = np.array([size[1] / 2, size[0] / 2], np.float32)
    done = keypoint.copy()
    done[..., :2] = (keypoint[..., :2] / middle - 1) * (keypoint[..., 2:] > threshold)
    return done


def crop_and_resize(keypoint: np.ndarray, first: int, length: int, clip_len: int) -> np.ndarray:
    """Stretch or shrink `length` frames from `first` to `clip_len` by linear interpolation in time (CTR-GCN).

    Half-pixel centres, the ends repeated: PyTorch's `interpolate(mode="bilinear", align_corners=False)`.
    """
    places = ((np.arange(clip_len) + 0.5) * (length / clip_len) - 0.5).clip(0, length - 1)
    before = places.astype(np.int64)
    after = np.minimum(before + 1, length - 1)
    weights = (places - before).astype(np.float32)[:, None, None]
    start = keypoint.take(first + before, axis=1)
    return start + weights * (keypoint.take(first + after, axis=1) - start)


def draw_crop(num_frames: int, crop_ratio: list, rng: np.random.Generator) -> tuple[int, int]:
    """Draw CTR-GCN's temporal crop: (first frame, length)."""
    share = rng.uniform(*crop_ratio)
    length = min(max(int(np.floor(num_frames * share)), LEAST_CROP), num_frames)
    return int(rng.integers(num_frames - length + 1)), length


def draw_rotation(limits: list, rng: np.random.Generator) -> np.ndarray:
    """Draw a rotation (3, 3): angles within +-limits (radians) about x, y and z, applied in this order (CTR-GCN)."""
    return rotation_matrix(*rng.uniform(-1, 1, 3) * limits)


def rotation_matrix(x: float, y: float, z: float) -> np.ndarray:
    """Return Rz Ry Rx (3, 3), for columns of coordinates."""
    (cx, cy, cz), (sx, sy, sz) = np.cos([x, y, z]), np.sin([x, y, z])
    around_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    around_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    around_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return around_z @ around_y @ around_x
