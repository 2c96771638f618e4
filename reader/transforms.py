"""Spatial transforms of clips: uint8 arrays (T, H, W, C), RGB, the same change for all frames of a clip.

A crop is drawn or placed as a box (top, left, height, width) from the frame size alone, before a pixel is touched: the
reader then decodes at the smallest scale that serves the box, cuts it out, and resizes only what it cut.
"""

import math

import cv2
import numpy as np

CORNER_SCALES = [2 ** (-step / 4) for step in range(5)]  # 1, 0.84, 0.71, 0.59, 0.5 of the short side
GRAY_WEIGHTS = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601, RGB order


def scaled_size(height: int, width: int, short_size: int) -> tuple[int, int]:
    """Return (height, width) after scaling the short side to `short_size`; the aspect is kept to the nearest pixel."""
    scale = short_size / min(height, width)
    return max(1, round(height * scale)), max(1, round(width * scale))


def draw_random_box(height: int, width: int, crop_ratio: float, rng: np.random.Generator) -> tuple:
    """Draw a square box at a random place.

    Args:
        crop_ratio: side of the box as a fraction of the short side: crop_size / short_size.
        rng: draws the place.

    Returns:
        (top, left, height, width) in pixels.
    """
    side = max(1, round(min(height, width) * crop_ratio))
    return int(rng.integers(height - side + 1)), int(rng.integers(width - side + 1)), side, side


def draw_corner_box(height: int, width: int, rng: np.random.Generator) -> tuple:
    """Draw the multi-scale corner crop of the 3D-ResNet paper (arXiv:1711.09577, section 3.2).

    A square with one of five sides (`CORNER_SCALES` of the short side) at one of five places: the four corners and
    the centre.

    Returns:
        (top, left, height, width) in pixels.
    """
    side = max(1, int(min(height, width) * CORNER_SCALES[rng.integers(len(CORNER_SCALES))]))
    return _five_boxes(height, width, side)[rng.integers(5)]


def draw_resized_box(
    height: int,
    width: int,
    rng: np.random.Generator,
    area: tuple[float, float] = (0.25, 1.0),
    aspect: tuple[float, float] = (3 / 4, 4 / 3),
) -> tuple:
    """Draw a box of random area and aspect at a random place (Inception's crop, arXiv:1409.4842, section 6).

    Args:
        rng: draws area, aspect and place.
        area: least and greatest fraction of the frame; the defaults are those of the 3D-ResNet code.
        aspect: least and greatest width / height, drawn evenly on a log scale.

    Returns:
        (top, left, height, width) in pixels; after ten draws that do not fit, the centre at the nearest fitting aspect.
    """
    for _ in range(10):
        pixels = height * width * rng.uniform(*area)
        ratio = math.exp(rng.uniform(math.log(aspect[0]), math.log(aspect[1])))
        box_height, box_width = round(math.sqrt(pixels / ratio)), round(math.sqrt(pixels * ratio))
        if 0 < box_height <= height and 0 < box_width <= width:
            top, left = rng.integers(height - box_height + 1), rng.integers(width - box_width + 1)
            return int(top), int(left), box_height, box_width
    box_height = max(1, min(height, round(width / aspect[0])))
    box_width = max(1, min(width, round(height * aspect[1])))
    return _centred(height, box_height), _centred(width, box_width), box_height, box_width


def place_boxes(height: int, width: int, crop_size: int, crops: str) -> list[tuple]:
    """Place the square crops of evaluation.

    Args:
        crop_size: side of the crops in pixels, at most the short side.
        crops: "center": one; "three": along the long side, its start, centre and end (left, centre, right of a wide
            frame), centred on the short side; "ten": four corners (top left, top right, bottom left, bottom right) and
            the centre. These are the five boxes of the ten crops, whose other half are the flips.

    Returns:
        Boxes (top, left, height, width) in that order.

    Raises:
        ValueError: a crop larger than the frame, or an unknown name.
    """
    if crop_size > min(height, width):
        raise ValueError(f"crop_size {crop_size} is larger than the frame, {height} x {width}; lower it")
    center = (_centred(height, crop_size), _centred(width, crop_size), crop_size, crop_size)
    if crops == "center":
        return [center]
    if crops == "ten":
        return _five_boxes(height, width, crop_size)
    if crops != "three":
        raise ValueError(f"crops '{crops}' is unknown, expected center, three or ten")
    if width >= height:
        return [(center[0], left, crop_size, crop_size) for left in (0, center[1], width - crop_size)]
    return [(top, center[1], crop_size, crop_size) for top in (0, center[0], height - crop_size)]


def cut(frames: np.ndarray, box: tuple) -> np.ndarray:
    """Return the view of (T, H, W, C) frames inside `box`."""
    top, left, height, width = box
    return frames[:, top : top + height, left : left + width]


def move_box(box: tuple, old_size: tuple, new_size: tuple) -> tuple:
    """Carry a box from a frame of `old_size` (height, width) to the same frame decoded at `new_size`."""
    top, left, height, width = box
    new_height = min(new_size[0], max(1, round(height * new_size[0] / old_size[0])))
    new_width = min(new_size[1], max(1, round(width * new_size[1] / old_size[1])))
    new_top = min(new_size[0] - new_height, round(top * new_size[0] / old_size[0]))
    new_left = min(new_size[1] - new_width, round(left * new_size[1] / old_size[1]))
    return new_top, new_left, new_height, new_width


def resize(frames: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize (T, H, W, 3) frames to (T, height, width, 3)."""
    resized = np.empty((len(frames), height, width, 3), np.uint8)
    for frame, place in zip(frames, resized, strict=True):
        resize_into(frame, place)
    return resized


def resize_into(frame: np.ndarray, place: np.ndarray) -> None:
    """Resize one (H, W, 3) frame into the memory of `place` (height, width, 3), C-contiguous."""
    height, width = place.shape[:2]
    if frame.shape == place.shape:
        place[:] = frame
        return
    # Linear interpolation skips pixels from a shrinking by two on, averaging over areas does not (but is slower).
    shrinks = 2 * height <= frame.shape[0] and 2 * width <= frame.shape[1]
    cv2.resize(frame, (width, height), dst=place, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def scale_short_side(frames: np.ndarray, short_size: int) -> np.ndarray:
    """Scale (T, H, W, 3) frames so that the short side is `short_size` pixels."""
    return resize(frames, *scaled_size(*frames.shape[1:3], short_size))


def mirror(frames: np.ndarray) -> np.ndarray:
    """Return (T, H, W, 3) frames, C-contiguous, mirrored left to right, as a new array of the same kind."""
    rows = frames.reshape(-1, frames.shape[2], 3)  # NumPy copies mirrored pixels one by one, 50 times as slowly
    return cv2.flip(rows, 1).reshape(frames.shape)


def jitter_color(frames: np.ndarray, strength: float | list, rng: np.random.Generator) -> np.ndarray:
    """Change brightness, contrast and saturation of a clip, each by a factor from 1 - strength to 1 + strength.

    The three changes together are one affine map of colours, applied in one pass. Contrast turns about the mean gray
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
    height, width = frames.shape[1:3]
    top, left, box_height, box_width = draw_resized_box(height, width, rng, area=(0.02, 0.4), aspect=(0.3, 3.3))
    erased = frames.copy()
    erased[:, top : top + box_height, left : left + box_width] = fill
    return erased


def cut_views(frames: np.ndarray, clips: np.ndarray, crop_size: int, crops: str, flip: bool) -> np.ndarray:
    """Cut the evaluation views out of scaled frames, in the order that `reader.clips` describes.

    Args:
        frames: uint8 (n, H, W, 3).
        clips: (num_clips, T) places in `frames`.
        crop_size: side of the crops in pixels.
        crops: see `place_boxes`.
        flip: mirror each crop as well; ten crops are always mirrored.

    Returns:
        uint8 (num_clips * num_flips * num_crops, T, crop_size, crop_size, 3), C-contiguous.
    """
    boxes = place_boxes(*frames.shape[1:3], crop_size, crops)
    num_flips = 2 if flip or crops == "ten" else 1
    views = np.empty((len(clips), num_flips, len(boxes), clips.shape[1], crop_size, crop_size, 3), np.uint8)
    for clip, of_clip in zip(clips, views, strict=True):
        for box, *of_box in zip(boxes, *of_clip, strict=True):
            of_box[0][:] = cut(frames, box)[clip]
            for mirrored in of_box[1:]:
                mirrored[:] = mirror(of_box[0])
    return views.reshape(-1, *views.shape[3:])


def _five_boxes(height: int, width: int, side: int) -> list[tuple]:
    bottom, right = height - side, width - side
    places = [(0, 0), (0, right), (bottom, 0), (bottom, right), (_centred(height, side), _centred(width, side))]
    return [(top, left, side, side) for top, left in places]


def _centred(outer: int, inner: int) -> int:
    return (outer - inner) // 2
