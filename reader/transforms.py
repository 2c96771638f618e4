"""Spatial and colour transforms of clips: uint8 arrays (T, H, W, C), RGB, the same change for all frames of a clip."""

from collections.abc import Callable

import cv2
import numpy as np

from reader.boxes import draw_resized_box, place_boxes, scaled_size

GRAY_WEIGHTS = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601, RGB order


def cut(frames: np.ndarray, box: tuple) -> np.ndarray:
    """Return the view of (T, H, W, C) frames inside `box`."""
    top, left, height, width = box
    return frames[:, top : top + height, left : left + width]


def resize(frames: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize (T, H, W, 3) frames to (T, height, width, 3)."""
    resized = np.empty((len(frames), height, width, 3), np.uint8)
    for frame, output in zip(frames, resized, strict=True):
        resize_into(frame, output)
    return resized


def resize_into(frame: np.ndarray, output: np.ndarray) -> None:
    """Resize one (H, W, 3) frame into `output` (height, width, 3), C-contiguous."""
    height, width = output.shape[:2]
    if frame.shape == output.shape:
        output[:] = frame
        return
    # Linear interpolation skips pixels from a shrinking by two on, averaging over areas does not (but is slower).
    shrinks = 2 * height <= frame.shape[0] and 2 * width <= frame.shape[1]
    cv2.resize(frame, (width, height), dst=output, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def scale_short_side(frames: np.ndarray, short_size: int) -> np.ndarray:
    """Scale (T, H, W, 3) frames so that the short side is `short_size` pixels."""
    return resize(frames, *scaled_size(*frames.shape[1:3], short_size))


def mirror(frames: np.ndarray) -> np.ndarray:
    """Return (T, H, W, 3) frames, C-contiguous, mirrored left to right, as a new array of the same type."""
    rows = frames.reshape(-1, frames.shape[2], 3)  # NumPy copies mirrored pixels one by one, 50 times as slowly
    return cv2.flip(rows, 1).reshape(frames.shape)


def jitter_color(frames: np.ndarray, strength: float | list, rng: np.random.Generator) -> np.ndarray:
    """Change brightness, contrast and saturation of a clip, each by a factor from 1 - strength to 1 + strength.

    The three changes together are one affine map of colours, applied in one pass. Contrast is about the mean gray
    of the clip, saturation about each pixel's gray.

    Args:
        frames: (T, H, W, 3), C-contiguous.
        strength: 0 (nothing changes) to 1, for all three or for each.
        rng: draws the three factors.

    Returns:
        A new array of the same shape.
    """
    strengths = np.broadcast_to(strength, 3)
    brightness, contrast, saturation = rng.uniform(1 - strengths, 1 + strengths, size=3)
    rows = frames.reshape(-1, frames.shape[2], 3)
    mean_gray = np.dot(cv2.mean(rows)[:3], GRAY_WEIGHTS)
    matrix = np.empty((3, 4))
    matrix[:, :3] = saturation * np.eye(3) + (1 - saturation) * GRAY_WEIGHTS
    matrix[:, :3] *= brightness * contrast
    matrix[:, 3] = brightness * (1 - contrast) * mean_gray
    return cv2.transform(rows, matrix).reshape(frames.shape)


def jitter_hue(frames: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    """Turn the hue of a clip by up to `strength`, of which 180 / 255 is the whole circle (MMAction2's ColorJitter).

    Args:
        frames: (T, H, W, 3), C-contiguous.
        rng: draws the turn.

    Returns:
        A new array of the same shape.
    """
    hsv = cv2.cvtColor(frames.reshape(-1, frames.shape[2], 3), cv2.COLOR_RGB2HSV)
    turned = (np.arange(256) + int(rng.uniform(-strength, strength) * 255)) % 180
    hsv[..., 0] = turned.astype(np.uint8)[hsv[..., 0]]
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB).reshape(frames.shape)


def erase(frames: np.ndarray, fill: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Blank one random box, the same in all frames (random erasing, arXiv:1708.04896, section 3.3 and its defaults).

    Args:
        frames: (T, H, W, 3).
        fill: (3,) colour, 0 to 255; the mean colour of the data becomes 0 by normalisation.
        rng: draws a box of 2 % to 40 % of the area, aspect 0.3 to 3.3.

    Returns:
        A new array of the same shape.
    """
    erased = frames.copy()
    cut(erased, draw_resized_box(*frames.shape[1:3], rng, area=(0.02, 0.4), aspect=(0.3, 3.3)))[:] = fill
    return erased


def cut_views(
    frames: np.ndarray, clips: np.ndarray, crop_size: int, crops: str, flip: bool, mirror: Callable = mirror
) -> np.ndarray:
    """Cut the evaluation views out of scaled frames, in the order that `reader.clips` describes.

    Args:
        frames: uint8 (n, H, W, 3).
        clips: (num_clips, T) indices of `frames`.
        crop_size: side of the crops in pixels.
        crops: see `boxes.place_boxes`.
        flip: mirror each crop as well; ten crops are always mirrored.
        mirror: how; flow is not mirrored as frames are.

    Returns:
        uint8 (num_clips * num_flips * num_crops, T, crop_size, crop_size, 3), C-contiguous.
    """
    boxes = place_boxes(*frames.shape[1:3], crop_size, crops)
    num_flips = 2 if flip or crops == "ten" else 1
    views = np.empty((len(clips), num_flips, len(boxes), clips.shape[1], crop_size, crop_size, 3), np.uint8)
    for clip, clip_views in zip(clips, views, strict=True):
        for box, *box_views in zip(boxes, *clip_views, strict=True):
            box_views[0][:] = cut(frames, box)[clip]
            for mirrored in box_views[1:]:
                mirrored[:] = mirror(box_views[0])
    return views.reshape(-1, *views.shape[3:])
