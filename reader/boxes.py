"""Crop boxes: drawn or placed from the size of a frame alone, before a pixel is decoded.

A box is (top, left, height, width) in pixels. The reader decodes at the smallest scale that is sufficient for the
box, cuts it out, and resizes only that.
"""

import dataclasses
import math
from collections.abc import Callable

import numpy as np

MAX_TRIES = 10  # of a box of random area and aspect
CORNER_SCALES = [2 ** (-step / 4) for step in range(5)]  # 1, 0.84, 0.71, 0.59, 0.5 of the short side
ASPECTS = (3 / 4, 4 / 3)  # width / height of random crops
ERASED_ASPECTS = (0.3, 10 / 3)  # height / width, MMAction2's RandomErasing
MULTI_SCALES = (1.0, 0.875, 0.75)  # of MultiScaleCrop, shares of the short side
MIN_DIFFERENCE = 3  # pixels: a multi-scale crop that is nearer to the size of the output takes that size
# Positions of multi-scale crops, (x, y) in quarters of the room that the crop leaves.
CENTRE, CORNERS = (2, 2), ((0, 0), (4, 0), (0, 4), (4, 4))
INNER_POSITIONS = ((0, 2), (4, 2), (2, 4), (2, 0), (1, 1), (3, 1), (1, 3), (3, 3))


@dataclasses.dataclass
class ViewPlace:
    """Where an evaluation view stands in its video or recording.

    Attributes:
        frames: (T,) the frame of the video that each frame of the view shows; a fraction lies between two, what is
            below 0 is padding.
        box: that the view shows, (top, left, height, width) as shares of the frame's height and width; it may reach
            beyond the frame. None: a view of key points.
        is_mirrored: left to right.
    """

    frames: np.ndarray
    box: tuple | None = None
    is_mirrored: bool = False


def share_box(box: tuple, height: float, width: float) -> tuple:
    """Convert a box in pixels of a frame to shares of the frame's height and width."""
    return box[0] / height, box[1] / width, box[2] / height, box[3] / width


def scaled_size(height: int, width: int, short_size: int, rounding: Callable = round) -> tuple[int, int]:
    """Return (height, width) after scaling the short side to `short_size`.

    Args:
        rounding: of the long side to whole pixels. Clips round halves to even; key points, as MMAction2, up
            (`round_half_up`).
    """
    scale = short_size / min(height, width)
    return max(1, rounding(height * scale)), max(1, rounding(width * scale))


def round_half_up(length: float) -> int:
    """Round a positive length to the nearest whole number, halves up."""
    return int(length + 0.5)


def centre_box(height: int, width: int, box_height: int, box_width: int) -> tuple:
    """Return the box of a given size in the centre of a frame."""
    return (height - box_height) // 2, (width - box_width) // 2, box_height, box_width


def draw_random_box(height: int, width: int, crop_ratio: float, rng: np.random.Generator) -> tuple:
    """Draw a square box at a random position.

    Args:
        crop_ratio: side of the box as a share of the short side: crop_size / short_size.
    """
    side = max(1, round(min(height, width) * crop_ratio))
    return int(rng.integers(height - side + 1)), int(rng.integers(width - side + 1)), side, side


def draw_corner_box(height: int, width: int, rng: np.random.Generator) -> tuple:
    """Draw the multi-scale corner crop of the 3D-ResNet paper (arXiv:1711.09577, section 3.2).

    A square with one of five sides (`CORNER_SCALES` of the short side) at one of five positions: the four corners and
    the centre.
    """
    side = max(1, int(min(height, width) * CORNER_SCALES[rng.integers(len(CORNER_SCALES))]))
    return _five_boxes(height, width, side)[rng.integers(5)]


def draw_resized_box(
    height: int,
    width: int,
    rng: np.random.Generator,
    area: tuple[float, float] = (0.25, 1.0),
    aspect: tuple[float, float] = ASPECTS,
) -> tuple:
    """Draw a box of random area and aspect at a random position (Inception's crop, arXiv:1409.4842, section 6).

    Args:
        rng: draws area, aspect and position.
        area: least and greatest share of the frame; the defaults are those of the 3D-ResNet code.
        aspect: least and greatest width / height, drawn evenly on a log scale.

    Returns:
        (top, left, height, width); after ten draws that do not fit, the centre at the nearest aspect that fits.
    """
    for _ in range(MAX_TRIES):
        pixels = height * width * rng.uniform(*area)
        ratio = math.exp(rng.uniform(math.log(aspect[0]), math.log(aspect[1])))
        box_height, box_width = round(math.sqrt(pixels / ratio)), round(math.sqrt(pixels * ratio))
        if 0 < box_height <= height and 0 < box_width <= width:
            top, left = rng.integers(height - box_height + 1), rng.integers(width - box_width + 1)
            return int(top), int(left), box_height, box_width
    box_height = max(1, min(height, round(width / aspect[0])))
    box_width = max(1, min(width, round(height * aspect[1])))
    return centre_box(height, width, box_height, box_width)


def draw_resized_box_mmaction2(height: int, width: int, area: tuple, rng: np.random.Generator) -> tuple:
    """Draw MMAction2's RandomResizedCrop, whose random numbers come in another order than in `draw_resized_box`.

    It draws ten aspects, then ten areas, then left before top; where none of the ten fits, it takes the centre square.
    """
    ratios = np.exp(rng.uniform(math.log(ASPECTS[0]), math.log(ASPECTS[1]), size=MAX_TRIES))
    pixels = rng.uniform(*area, size=MAX_TRIES) * (height * width)
    widths, heights = (np.round(np.sqrt(squares)).astype(int) for squares in (pixels * ratios, pixels / ratios))
    for box_height, box_width in zip(heights.tolist(), widths.tolist(), strict=True):
        if box_height <= height and box_width <= width:
            left, top = rng.integers(width - box_width + 1), rng.integers(height - box_height + 1)
            return int(top), int(left), box_height, box_width
    return centre_box(height, width, *(min(height, width),) * 2)


def draw_erased_box(height: int, width: int, area: tuple, rng: np.random.Generator) -> tuple:
    """Draw the box that MMAction2's RandomErasing blanks: of random area, aspect and position.

    Args:
        area: least and greatest share of the frame.
    """
    ratio = math.exp(rng.uniform(math.log(ERASED_ASPECTS[0]), math.log(ERASED_ASPECTS[1])))
    pixels = height * width * rng.uniform(*area)
    box_height = min(int(round(math.sqrt(pixels * ratio))), height)
    box_width = min(int(round(math.sqrt(pixels / ratio))), width)
    top = rng.integers(height - box_height) if box_height < height else 0
    left = rng.integers(width - box_width) if box_width < width else 0
    return int(top), int(left), box_height, box_width


def list_multi_scale_boxes(height: int, width: int, out_size: int, has_inner_positions: bool = False) -> list:
    """List the boxes of MMAction2's MultiScaleCrop, all equally likely.

    Sides are `MULTI_SCALES` of the short side; height and width are at most one scale apart. Positions are the corners
    and the centre.

    Args:
        out_size: side that the box is resized to; a side of nearly that length takes exactly that length.
        has_inner_positions: add eight positions between those.
    """
    sides = [int(min(height, width) * scale) for scale in MULTI_SCALES]
    sizes = [(high, wide) for i, high in enumerate(sides) for j, wide in enumerate(sides) if abs(i - j) <= 1]
    positions = (*CORNERS, CENTRE, *(INNER_POSITIONS if has_inner_positions else ()))
    boxes = []
    for size in sizes:
        high, wide = (out_size if abs(length - out_size) < MIN_DIFFERENCE else length for length in size)
        x_step, y_step = (width - wide) // 4, (height - high) // 4
        boxes += [(y * y_step, x * x_step, high, wide) for x, y in positions]
    return boxes


def place_boxes(height: int, width: int, crop_size: int, crops: str) -> list[tuple]:
    """Place the square crops of evaluation.

    Args:
        crop_size: side of the crops in pixels, at most the short side.
        crops: "center": one; "three": along the long side, its start, centre and end (left, centre, right of a wide
            frame), centred on the short side; the last is as far from the centre as the first, and leaves out a pixel
            of an odd room (MMAction2's ThreeCrop, TPN's). "ten": four corners (top left, top right, bottom left, bottom
            right) and the centre. These are the five boxes of the ten crops, whose other half are the flips.

    Returns:
        Boxes (top, left, height, width) in that order.

    Raises:
        ValueError: a crop larger than the frame, or an unknown name.
    """
    if crop_size > min(height, width):
        raise ValueError(f"crop_size {crop_size} is larger than the frame, {height} x {width}; lower it")
    centre = centre_box(height, width, crop_size, crop_size)
    if crops == "center":
        return [centre]
    if crops == "ten":
        return _five_boxes(height, width, crop_size)
    if crops != "three":
        raise ValueError(f"crops '{crops}' is unknown, expected center, three or ten")
    if width >= height:
        return [(centre[0], left, crop_size, crop_size) for left in (0, centre[1], 2 * centre[1])]
    return [(top, centre[1], crop_size, crop_size) for top in (0, centre[0], 2 * centre[0])]


def rescale_box(box: tuple, old_size: tuple, new_size: tuple) -> tuple:
    """Convert a box of a frame of `old_size` (height, width) to the same frame decoded at `new_size`."""
    top, left, height, width = box
    new_height = min(new_size[0], max(1, round(height * new_size[0] / old_size[0])))
    new_width = min(new_size[1], max(1, round(width * new_size[1] / old_size[1])))
    new_top = min(new_size[0] - new_height, round(top * new_size[0] / old_size[0]))
    new_left = min(new_size[1] - new_width, round(left * new_size[1] / old_size[1]))
    return new_top, new_left, new_height, new_width


def _five_boxes(height: int, width: int, side: int) -> list[tuple]:
    """Return the square boxes in the four corners and in the centre."""
    bottom, right = height - side, width - side
    corners = [(0, 0), (0, right), (bottom, 0), (bottom, right)]
    return [*((top, left, side, side) for top, left in corners), centre_box(height, width, side, side)]
