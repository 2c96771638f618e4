"""Spatial transforms of 2-D key points, as MMAction2 does them together with the picture.

Key points are float32 (..., 2), x and y in pixels; boxes are (top, left, height, width) as in `reader/boxes.py`. A
coordinate that is exactly 0 is missing.
"""

import numpy as np

from layouts import Layout


def find_body_box(
    keypoint: np.ndarray,
    img_shape: tuple,
    hw_ratio: tuple | None = (1.0, 1.0),
    padding: float = 0.25,
    min_size: float = 10.0,
    allow_padding: bool = True,
) -> tuple:
    """Return the box around all key points of a clip (PoseCompact).

    Args:
        img_shape: (height, width) of the picture.
        hw_ratio: least and greatest height / width of the box, which is enlarged to fit; None: no limit.
        padding: share by which the box is enlarged to all sides.
        min_size: pixels; where the key points extend over less in either direction, the box is the whole picture.
        allow_padding: the box may reach beyond the picture; else it is cut off at the edges, and where nothing of it is
            inside, it is the whole picture too.

    Returns:
        (top, left, height, width) in whole pixels.
    """
    x, y = (axis[axis != 0] for axis in (keypoint[..., 0], keypoint[..., 1]))
    whole = (0, 0, *map(int, img_shape))
    if x.size == 0 or y.size == 0 or min(np.ptp(x), np.ptp(y)) < min_size:
        return whole
    middle_x, middle_y = (float(axis.min() + axis.max()) / 2 for axis in (x, y))
    half_width, half_height = (float(np.ptp(axis)) / 2 * (1 + padding) for axis in (x, y))
    if hw_ratio is not None:
        half_height = max(hw_ratio[0] * half_width, half_height)
        half_width = max(half_height / hw_ratio[1], half_width)
    left, right = middle_x - half_width, middle_x + half_width
    top, bottom = middle_y - half_height, middle_y + half_height
    if not allow_padding:
        left, top = max(0, left), max(0, top)
        right, bottom = min(img_shape[1], right), min(img_shape[0], bottom)
    left, top, right, bottom = (int(edge) for edge in (left, top, right, bottom))
    if bottom <= top or right <= left:  # wholly beyond the picture
        return whole
    return top, left, bottom - top, right - left


def compact(keypoint: np.ndarray, box: tuple) -> np.ndarray:
    """Convert key points to coordinates from the corner of a box; missing ones stay 0."""
    return np.where(keypoint == 0, keypoint, crop(keypoint, box))


def crop(keypoint: np.ndarray, box: tuple) -> np.ndarray:
    """Convert key points, missing ones too, to coordinates from the corner of a box."""
    return keypoint - np.array([box[1], box[0]], np.float32)


def resize(keypoint: np.ndarray, old_size: tuple, new_size: tuple) -> np.ndarray:
    """Convert key points of a picture of `old_size` (height, width) to those of the same resized to `new_size`."""
    return keypoint * np.array([new_size[1] / old_size[1], new_size[0] / old_size[0]], np.float32)


def mirror(keypoint: np.ndarray, score: np.ndarray, width: int, layout: Layout) -> tuple[np.ndarray, np.ndarray]:
    """Mirror key points (..., V, 2) and scores (..., V) left to right; left and right joints are swapped."""
    order = layout.mirror_indices()
    mirrored = keypoint.take(order, axis=-2)
    x = mirrored[..., 0]
    mirrored[..., 0] = np.where(x == 0, x, width - x)
    return mirrored, score.take(order, axis=-1)
