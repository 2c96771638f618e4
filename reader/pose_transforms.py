"""Spatial transforms of 2-D key points, as MMAction2 does them together with the picture they lie in.

Key points are float32 (..., 2), x and y in pixels; boxes (top, left, height, width) as in `reader/transforms.py`. A
coordinate that is exactly 0 is missing.
"""

import math

import numpy as np

from layouts import Layout

ASPECTS = (3 / 4, 4 / 3)  # width / height of random crops
ERASED_ASPECTS = (0.3, 10 / 3)  # height / width
TRIES = 10
SCALES = (1.0, 0.875, 0.75)  # of multi-scale crops, shares of the short side
SNAP = 3  # pixels: a multi-scale crop that is nearer to the size that is asked for takes it
CENTRE, CORNERS = (2, 2), ((0, 0), (4, 0), (0, 4), (4, 4))  # places of multi-scale crops, quarters of the room, x and y
INNER_PLACES = ((0, 2), (4, 2), (2, 4), (2, 0), (1, 1), (3, 1), (1, 3), (3, 3))


def find_body_box(
    keypoint: np.ndarray,
    img_shape: tuple,
    hw_ratio: tuple | None = (1.0, 1.0),
    padding: float = 0.25,
    least_size: float = 10.0,
    may_leave: bool = True,
) -> tuple:
    """Return the box around all key points of a clip (PoseCompact).

    Args:
        img_shape: (height, width) of the picture.
        hw_ratio: the box is at least so many times as high as wide, and at most; None: whatever it is.
        padding: share by which it is widened to all sides.
        least_size: pixels; where the key points take less room in either direction, the box is the whole picture.
        may_leave: the box may reach beyond the picture; else, if nothing of it is inside, it is the whole picture too.

    Returns:
        (top, left, height, width) in whole pixels.
    """
    x, y = (axis[axis != 0] for axis in (keypoint[..., 0], keypoint[..., 1]))
    whole = (0, 0, *map(int, img_shape))
    if x.size == 0 or y.size == 0 or min(np.ptp(x), np.ptp(y)) < least_size:
        return whole
    middle_x, middle_y = (float(axis.min() + axis.max()) / 2 for axis in (x, y))
    half_width, half_height = (float(np.ptp(axis)) / 2 * (1 + padding) for axis in (x, y))
    if hw_ratio is not None:
        half_height = max(hw_ratio[0] * half_width, half_height)
        half_width = max(half_height / hw_ratio[1], half_width)
    left, right = middle_x - half_width, middle_x + half_width
    top, bottom = middle_y - half_height, middle_y + half_height
    if not may_leave:
        left, top = max(0, left), max(0, top)
        right, bottom = min(img_shape[1], right), min(img_shape[0], bottom)
    left, top, right, bottom = (int(side) for side in (left, top, right, bottom))
    if bottom <= top or right <= left:  # all of it lies beyond the picture
        return whole
    return top, left, bottom - top, right - left


def compact(keypoint: np.ndarray, box: tuple) -> np.ndarray:
    """Count key points from the corner of a box; what is missing stays 0."""
    return np.where(keypoint == 0, keypoint, crop(keypoint, box))


def crop(keypoint: np.ndarray, box: tuple) -> np.ndarray:
    """Count key points, missing ones too, from the corner of a box."""
    return keypoint - np.array([box[1], box[0]], np.float32)


def resize(keypoint: np.ndarray, old_size: tuple, new_size: tuple) -> np.ndarray:
    """Carry key points from a picture of `old_size` (height, width) to one of `new_size`."""
    return keypoint * np.array([new_size[1] / old_size[1], new_size[0] / old_size[0]], np.float32)


def scale_short_side(height: int, width: int, short_size: int) -> tuple:
    """Return (height, width) with the short side scaled to `short_size`, halves rounded up."""
    scale = short_size / min(height, width)
    return int(height * scale + 0.5), int(width * scale + 0.5)


def mirror(keypoint: np.ndarray, score: np.ndarray, width: int, layout: Layout) -> tuple[np.ndarray, np.ndarray]:
    """Mirror key points (..., V, 2) and scores (..., V) left to right; left and right joints change places."""
    order = layout.mirror_indices()
    mirrored = keypoint.take(order, axis=-2)
    x = mirrored[..., 0]
    mirrored[..., 0] = np.where(x == 0, x, width - x)
    return mirrored, score.take(order, axis=-1)


def draw_resized_box(height: int, width: int, area: tuple, rng) -> tuple:
    """Draw a box of random area, a share of the picture, and random aspect at a random place (RandomResizedCrop).

    Of ten draws the first that fits is taken, else the square in the centre.

    Args:
        rng: has `uniform` and `integers` of a NumPy generator.

    Returns:
        (top, left, height, width) in pixels.
    """
    ratios = np.exp(rng.uniform(math.log(ASPECTS[0]), math.log(ASPECTS[1]), size=TRIES))
    pixels = rng.uniform(*area, size=TRIES) * (height * width)
    widths, heights = (np.round(np.sqrt(sides)).astype(int) for sides in (pixels * ratios, pixels / ratios))
    for box_height, box_width in zip(heights.tolist(), widths.tolist(), strict=True):
        if box_height <= height and box_width <= width:
            left, top = rng.integers(width - box_width + 1), rng.integers(height - box_height + 1)
            return int(top), int(left), box_height, box_width
    return place_centre_box(height, width, min(height, width))


def place_centre_box(height: int, width: int, side: int) -> tuple:
    """Return the square of a side in the centre, (top, left, height, width)."""
    return (height - side) // 2, (width - side) // 2, side, side


def list_scale_boxes(height: int, width: int, side: int, has_inner_places: bool = False) -> list:
    """List the boxes (top, left, height, width) of MultiScaleCrop, each with its chance.

    Sides are `SCALES` of the short side, two neighbouring ones at most; places are the corners and the centre.

    Args:
        side: what the box is resized to; sides of about that size are exactly that.
        has_inner_places: eight more places between those.
    """
    sides = [int(min(height, width) * scale) for scale in SCALES]
    sizes = [(high, wide) for i, high in enumerate(sides) for j, wide in enumerate(sides) if abs(i - j) <= 1]
    places = (*CORNERS, CENTRE, *(INNER_PLACES if has_inner_places else ()))
    boxes = []
    for size in sizes:
        high, wide = (side if abs(length - side) < SNAP else length for length in size)
        x_step, y_step = (width - wide) // 4, (height - high) // 4
        boxes += [(y * y_step, x * x_step, high, wide) for x, y in places]
    return boxes


def draw_erased_box(height: int, width: int, area: tuple, rng) -> tuple:
    """Draw the box that RandomErasing blanks: a share of the picture, of random aspect, at a random place.

    Args:
        rng: has `uniform` and `integers` of a NumPy generator.

    Returns:
        (top, left, height, width) in pixels.
    """
    ratio = math.exp(rng.uniform(math.log(ERASED_ASPECTS[0]), math.log(ERASED_ASPECTS[1])))
    pixels = height * width * rng.uniform(*area)
    box_height = min(int(round(math.sqrt(pixels * ratio))), height)
    box_width = min(int(round(math.sqrt(pixels / ratio))), width)
    top = rng.integers(height - box_height) if box_height < height else 0
    left = rng.integers(width - box_width) if box_width < width else 0
    return int(top), int(left), box_height, box_width
