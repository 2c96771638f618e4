"""Clips of key points from recordings, and their augmentation: pure NumPy, (M, T, V, C) in and out."""

import numpy as np

from layouts import Layout
from reader.sampling import LegacyGenerator
from reader.skeleton_transforms import find_present, find_seen
from reader.streams import join_bones, make_bones

MIN_CROP = 64  # frames of CTR-GCN's random crop, however long the clip is; all frames of a shorter recording
# ST-GCN's random_move draws from these, for the first and for the last frame.
MOVE_ANGLES_DEG = (-10.0, -5.0, 0.0, 5.0, 10.0)
MOVE_SCALES = (0.9, 1.0, 1.1)
MIN_SQUARED = 1e-4  # PYSKL: a person is in a frame if the least coordinates, squared and added, exceed this
MOVE_SHIFTS = (-0.2, -0.1, 0.0, 0.1, 0.2)


def crop_and_resize(keypoint: np.ndarray, first: int, length: int, clip_len: int) -> np.ndarray:
    """Stretch or shrink `length` frames from `first` to `clip_len` by linear interpolation in time (CTR-GCN).

    Half-pixel centres, the ends repeated: PyTorch's `interpolate(mode="bilinear", align_corners=False)`.
    """
    times = ((np.arange(clip_len) + 0.5) * (length / clip_len) - 0.5).clip(0, length - 1)
    before = times.astype(np.int64)
    weights = (times - before).astype(np.float32)[:, None, None]
    start = keypoint.take(first + before, axis=1)
    return start + weights * (keypoint.take(first + np.minimum(before + 1, length - 1), axis=1) - start)


def draw_crop(
    num_frames: int, crop_ratio: list, rng: np.random.Generator | LegacyGenerator, min_crop_len: int = MIN_CROP
) -> tuple[int, int]:
    """Draw CTR-GCN's temporal crop: (first frame, length), a share of the recording but at least `min_crop_len`."""
    low, high = crop_ratio
    length = min(max(int((rng.random() * (high - low) + low) * num_frames), min_crop_len), num_frames)
    return int(rng.integers(num_frames - length + 1)), length


def place_crops(num_frames: int, crop_ratio: float, num_crops: int = 1) -> tuple[list[int], int]:
    """Return (first frames, length) of crops evenly placed in a recording; one is the centre, as in CTR-GCN."""
    margin = int((1 - crop_ratio) * num_frames / 2)
    starts = [(2 * crop + 1) * 2 * margin // (2 * num_crops) for crop in range(num_crops)]
    return starts, num_frames - 2 * margin


def place_ordered(num_frames: int, clip_len: int, rng: np.random.Generator | None) -> np.ndarray:
    """Draw frames in order, some of them several times; without `rng` evenly placed from the first to the last."""
    if rng is None:
        return np.linspace(0, num_frames - 1, clip_len).astype(np.int64)
    return np.sort(rng.integers(num_frames, size=clip_len))


def place_windows(num_frames: int, clip_len: int, num_windows: int, rng: np.random.Generator | None) -> list[int]:
    """Draw where a window starts, below 0 if it is longer than the recording; without `rng` place some evenly."""
    spare = num_frames - clip_len
    if rng is None:
        return [(2 * window + 1) * max(spare, 0) // (2 * num_windows) for window in range(num_windows)]
    return [int(np.sign(spare)) * int(rng.integers(abs(spare) + 1))]


def cut_window(keypoint: np.ndarray, start: int, clip_len: int, padding: str = "zero") -> np.ndarray:
    """Cut `clip_len` frames from `start`, which may be negative.

    Args:
        padding: fills the frames outside of the recording: "zero", or "loop", the recording over and over.
    """
    num_frames = keypoint.shape[1]
    if padding == "loop":
        return keypoint.take(np.arange(start, start + clip_len) % num_frames, axis=1)
    clip = np.zeros((keypoint.shape[0], clip_len, *keypoint.shape[2:]), keypoint.dtype)
    first, end = max(start, 0), min(start + clip_len, num_frames)
    clip[:, first - start : end - start] = keypoint[:, first:end]
    return clip


def pad_or_thin(keypoint: np.ndarray, clip_len: int) -> np.ndarray:
    """Fill a recording up with zero frames, or choose evenly spaced ones from its first to its last frame.

    PaddleVideo's AutoPadding, but for what `pad_or_thin_paddlevideo` says.
    """
    end = find_used_range(keypoint)[1]
    if end <= clip_len:
        return cut_window(keypoint[:, :end], 0, clip_len)
    return keypoint.take(np.linspace(0, end - 1, clip_len).astype(np.int64), axis=1)


def pad_or_thin_paddlevideo(keypoint: np.ndarray, clip_len: int) -> np.ndarray:
    """PaddleVideo's AutoPadding as it is.

    The last frame is the last one whose coordinates and scores have a positive sum, so that later ones may be lost; of
    a longer recording the last one chosen is the zero frame behind it (theirs ends with an error where the array has
    none).
    """
    is_positive = keypoint.sum(axis=(0, 2, 3)) > 0
    end = len(is_positive) - int(is_positive[::-1].argmax()) if is_positive.any() else len(is_positive)
    if end <= clip_len:
        return cut_window(keypoint[:, :end], 0, clip_len)
    padded = cut_window(keypoint, 0, max(end + 1, keypoint.shape[1]))
    return padded.take(np.linspace(0, end, clip_len).astype(np.int64), axis=1)


def find_used_range(keypoint: np.ndarray) -> tuple[int, int]:
    """Return the first non-empty frame, and the one after the last; for an empty recording, its whole range."""
    used = np.flatnonzero(keypoint.any(axis=(0, 2, 3)))
    return (int(used[0]), int(used[-1]) + 1) if len(used) else (0, keypoint.shape[1])


def shift(keypoint: np.ndarray, start: int) -> np.ndarray:
    """Move the frames from the first to the last non-empty one so that they begin at `start` (random_shift)."""
    first, end = find_used_range(keypoint)
    return cut_window(keypoint[:, first:end], -start, keypoint.shape[1])


def draw_shift(keypoint: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Move the non-empty frames of a clip to a random start, as ST-GCN's random_shift."""
    first, end = find_used_range(keypoint)
    return shift(keypoint, int(rng.integers(keypoint.shape[1] - (end - first) + 1)))


def move(keypoint: np.ndarray, angles_deg: list, scales: list, x_shifts: list, y_shifts: list) -> np.ndarray:
    """Rotate, scale and shift x and y by amounts that change linearly from the first to the last frame (random_move).

    Each argument has the amounts in the first and in the last frame. Missing joints are moved too, as in ST-GCN.
    """
    num_frames = keypoint.shape[1]
    angle, scale, x_shift, y_shift = (
        np.linspace(*ends, num_frames)[:, None] for ends in (np.radians(angles_deg), scales, x_shifts, y_shifts)
    )
    moved, (x, y) = keypoint.copy(), (keypoint[..., 0], keypoint[..., 1])
    moved[..., 0] = scale * (np.cos(angle) * x - np.sin(angle) * y) + x_shift
    moved[..., 1] = scale * (np.sin(angle) * x + np.cos(angle) * y) + y_shift
    return moved


def draw_move(keypoint: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Move a clip by random amounts, as ST-GCN's random_move."""
    amounts = (MOVE_ANGLES_DEG, MOVE_SCALES, MOVE_SHIFTS, MOVE_SHIFTS)
    return move(keypoint, *(rng.choice(candidates, 2) for candidates in amounts))


def draw_matrix(
    rotation: list, scale: float | list, shear: float, num_coordinates: int, rng: np.random.Generator
) -> np.ndarray:
    """Draw a matrix (3, 3) that rotates, scales and shears a recording; with two coordinates it leaves the score alone.

    Args:
        rotation: greatest angles about x, y and z in radians; with two coordinates the last one is used.
        scale: each coordinate is scaled by 1 - scale to 1 + scale; a list has one for each (PYSKL's RandomScale).
        shear: greatest share of one coordinate that is added to another.
    """
    angles = rng.uniform(-1, 1, 3) * rotation
    matrix = np.eye(3)
    matrix[:num_coordinates, :num_coordinates] += rng.uniform(-shear, shear, (num_coordinates,) * 2) * (
        1 - np.eye(num_coordinates)
    )
    if isinstance(scale, list):
        scale = np.reshape(scale[:num_coordinates], (-1, 1))
    matrix[:num_coordinates] *= 1 + rng.uniform(-scale, scale, (num_coordinates, 1))
    return matrix @ make_rotation(*(angles if num_coordinates == 3 else (0, 0, angles[2])))


def make_rotation(x: float, y: float, z: float) -> np.ndarray:
    """Return the rotation Rz Ry Rx (3, 3), angles in radians, for columns of coordinates (CTR-GCN's order)."""
    (cx, cy, cz), (sx, sy, sz) = np.cos([x, y, z]), np.sin([x, y, z])
    around_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    around_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    around_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return around_z @ around_y @ around_x


def draw_bones(
    keypoint: np.ndarray, ratio: float, num_coordinates: int, layout: Layout, rng: np.random.Generator
) -> np.ndarray:
    """Make each bone of a body longer or shorter by a factor that all frames share; what it carries moves with it.

    Left and right bones have the same factor, and the root of the layout stays. A bone of which an end is missing is
    neither longer nor shorter; missing joints stay missing.

    Args:
        ratio: factors are drawn between 1 - ratio and 1 + ratio, for each person anew.
    """
    one_side = np.minimum(np.arange(layout.num_joints), layout.mirror_indices())
    growth = rng.uniform(-ratio, ratio, (len(keypoint), layout.num_joints))[:, one_side]
    joints = keypoint[..., :num_coordinates]
    present = find_seen(keypoint, num_coordinates)[..., None]
    is_whole = present & present.take(layout.parents, axis=2)
    longer = growth[:, None, :, None].astype(np.float32) * make_bones(joints, layout.parents) * is_whole
    changed = keypoint.copy()
    changed[..., :num_coordinates] += join_bones(longer, layout) * present
    return changed


def mirror(keypoint: np.ndarray, layout: Layout) -> np.ndarray:
    """Mirror bodies at x = 0; left and right joints are swapped."""
    mirrored = keypoint.take(layout.mirror_indices(), axis=2)
    mirrored[..., 0] *= -1
    return mirrored


def add_noise(keypoint: np.ndarray, std: float, num_coordinates: int, rng: np.random.Generator) -> np.ndarray:
    """Add normal noise of a standard deviation to the coordinates of the joints that are present."""
    noisy = keypoint.copy()
    noise = rng.standard_normal((*keypoint.shape[:3], num_coordinates), np.float32) * std
    noisy[..., :num_coordinates] += noise * find_present(keypoint[..., :num_coordinates])[..., None]
    return noisy


def add_relative_noise(
    keypoint: np.ndarray, std: float, base: str, is_shared: bool, num_coordinates: int, rng: np.random.Generator
) -> np.ndarray:
    """Move each joint that is present in a random direction, by a share of a body's extent (RandomGaussianNoise).

    The share is normal; the direction that of a point drawn evenly from a cube. Unlike PYSKL's, missing joints stay.

    Args:
        std: standard deviation of the share.
        base: the extent is the diagonal of the box around all joints of a person in a "frame", or of the box around all
            persons of all frames (the whole "video").
        is_shared: a joint is moved alike in all frames and persons.
    """
    joints = keypoint[..., :num_coordinates]
    low, high = joints.min(axis=2), joints.max(axis=2)  # (M, T, C)
    is_there = (low**2).sum(axis=2) > MIN_SQUARED
    if base == "frame" or not is_there.any():
        extent = np.linalg.norm(high - low, axis=2)
    else:
        extent = np.linalg.norm(high[is_there].max(axis=0) - low[is_there].min(axis=0))
    shape = (1, 1, *joints.shape[2:]) if is_shared else joints.shape
    directions = rng.uniform(-1, 1, shape)
    directions /= np.linalg.norm(directions, axis=-1, keepdims=True)
    shares = rng.standard_normal(shape[:-1]) * std * (extent * is_there)[..., None]
    noisy = keypoint.copy()
    noisy[..., :num_coordinates] += directions * shares[..., None] * find_present(joints)[..., None]
    return noisy


def drop_joints(keypoint: np.ndarray, ratio: float, rng: np.random.Generator) -> np.ndarray:
    """Make each joint missing with a probability, in all frames and persons alike; at least one joint stays."""
    is_kept = _draw_kept(keypoint.shape[2], ratio, rng)
    return keypoint * is_kept[:, None].astype(keypoint.dtype)


def drop_frames(keypoint: np.ndarray, ratio: float, rng: np.random.Generator) -> np.ndarray:
    """Leave out each frame with a probability; at least one stays."""
    return keypoint[:, _draw_kept(keypoint.shape[1], ratio, rng)]


def _draw_kept(count: int, ratio: float, rng: np.random.Generator) -> np.ndarray:
    """Draw which of `count` things are kept, bool, at least one of them."""
    is_kept = rng.random(count) >= ratio
    is_kept[rng.integers(count)] = True
    return is_kept


def stack_views(views: list, num_persons: int) -> np.ndarray:
    """Stack clips (M, T, V, C) as views (views, num_persons, T, V, C); persons that are missing are zeros."""
    stacked = np.zeros((len(views), num_persons, *views[0].shape[1:]), np.float32)
    for output, view in zip(stacked, views, strict=True):
        output[: len(view)] = view
    return stacked


WHOLE_CLIPS = {  # samplings that make one clip of the whole recording, before it is normalised
    "auto_padding": pad_or_thin,
    "auto_padding_paddlevideo": pad_or_thin_paddlevideo,
}
