"""When the frames of SkateFormer's clips are: times in frames of the recording, which may lie between two of them."""

import numpy as np

from reader import sampling
from reader.sampling import LegacyGenerator
from reader.skeleton_clips import MIN_CROP, draw_crop


def draw_times(
    num_frames: int, clip_len: int, crop_ratio: list, rng: np.random.Generator | LegacyGenerator
) -> np.ndarray:
    """Draw the times of a training clip: CTR-GCN's crop, then frames spread over it as PYSKL's.

    Args:
        num_frames: of the recording.
        clip_len: frames of the clip; a shorter crop is stretched.
        crop_ratio: least and greatest share of the recording.
        rng: draws.

    Returns:
        float64 (clip_len,).
    """
    first, length = draw_crop(num_frames, crop_ratio, rng)
    if length < clip_len:
        return first + _stretch(length, clip_len)
    return first + sampling.draw_uniform_clip(length, clip_len, rng, crop_ratio=None).astype(np.float64)


def place_times(num_frames: int, clip_len: int, crop_ratio: float) -> np.ndarray:
    """Return the times of the clip of evaluation: even steps through the middle of the recording.

    As in the official code a crop that `MIN_CROP` lengthens starts where the shorter one would: that of 40 to 64 frames
    begins with the second one and ends with the one after the last, which is empty.

    Returns:
        float64 (clip_len,), up to `num_frames`.
    """
    length = min(max(int(num_frames * crop_ratio), MIN_CROP), num_frames)
    first = int((1 - crop_ratio) * num_frames / 2)
    if length < clip_len:
        return first + _stretch(length, clip_len)
    return (first + np.arange(clip_len) * length // clip_len).astype(np.float64)


def _stretch(length: int, clip_len: int) -> np.ndarray:
    """Return evenly spread times between the first and the last of some frames, with half-pixel centres."""
    return ((np.arange(clip_len) + 0.5) * (length / clip_len) - 0.5).clip(0, length - 1)


def interpolate(keypoint: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Return the key points (M, clip_len, V, C) at some times; frames beyond the recording (M, T, V, C) are empty."""
    before = times.astype(np.int64)
    num_more = max(int(before.max()) + 2 - keypoint.shape[1], 0)
    padded = np.pad(keypoint, [(0, 0), (0, num_more), (0, 0), (0, 0)])
    weights = (times - before).astype(np.float32)[:, None, None]
    start = padded.take(before, axis=1)
    return start + weights * (padded.take(before + 1, axis=1) - start)
