"""Heat as a picture: where a network looks, over frames or an empty canvas, and as the colour of joints.

Pictures are RGB uint8 (H, W, 3). No heat leaves the picture as it is; more heat is less transparent, and goes from blue
over green to red.
"""

from collections.abc import Iterable, Iterator

import cv2
import numpy as np

from inference.explain import Explanation, Heat

COLORS = cv2.cvtColor(cv2.applyColorMap(np.arange(256, dtype=np.uint8)[:, None], cv2.COLORMAP_JET), cv2.COLOR_BGR2RGB)
HOTTEST = 235  # of them; those beyond are darker again
MAX_OPACITY = 0.6
OUTLINE = (16, 18, 20)  # of joints
MIN_SHOWN = 0.1  # importance of a joint that is drawn like any other
MAX_GROWTH = 4.0  # by how many radii the most important joint is larger than one without importance
JOINT_COLORS = (0.5, 1)  # of the least and the most important joint, as heat: from green over yellow to red
FRACTION_BITS = 4  # bits after the point of the coordinates that OpenCV gets


def choose_color(heat: float) -> tuple:
    """Return the (red, green, blue) of a heat from 0 to 1."""
    return tuple(map(int, COLORS[round(HOTTEST * float(np.clip(heat, 0, 1))), 0]))


def draw_heat(picture: np.ndarray, heat: Heat, index: int, box: tuple | None = None) -> np.ndarray:
    """Lay the heat of frame `index` over a picture.

    Args:
        box: where the heat's box is in the picture, (top, left, height, width) as shares of its height and width;
            None: the picture is a frame of the video.
    """
    strength = resize_heat(heat.values[index], heat.box if box is None else box, *picture.shape[:2])
    colors = COLORS[np.round(HOTTEST * strength).astype(np.uint8), 0]
    opacity = MAX_OPACITY * strength[..., None]
    return np.round(picture * (1 - opacity) + colors * opacity).astype(np.uint8)


def resize_heat(grid: np.ndarray, box: tuple, height: int, width: int) -> np.ndarray:
    """Resize a grid (rows, columns) that covers a box of a picture to the picture, float32 (height, width); 0 beyond.

    Args:
        box: (top, left, height, width) as shares of the picture's height and width.
    """
    rows, is_row = _place_pixels(height, box[0], box[2], grid.shape[0])
    columns, is_column = _place_pixels(width, box[1], box[3], grid.shape[1])
    places = np.broadcast_to(columns, (height, width)), np.broadcast_to(rows[:, None], (height, width))
    resized = cv2.remap(grid.astype(np.float32), *places, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.where(is_row[:, None] & is_column, np.clip(resized, 0, 1), 0)


def _place_pixels(length: int, start: float, extent: float, num_cells: int) -> tuple:
    """Return the place on a grid of each pixel of a picture's axis, and whether the grid reaches it."""
    shares = ((np.arange(length) + 0.5) / length - start) / extent
    return (shares * num_cells - 0.5).astype(np.float32), (shares >= 0) & (shares < 1)


def draw_over(frames: Iterable, explanations: Iterable[Explanation], name: str = "rgb") -> Iterator[np.ndarray]:
    """Yield the frames of a video with the heat of each."""
    for index, (frame, explanation) in enumerate(zip(frames, explanations, strict=False)):
        yield draw_heat(frame, explanation.heats[name], index - explanation.start)


def draw_joints(picture: np.ndarray, body: np.ndarray, importance: np.ndarray, thickness: int) -> None:
    """Draw the joints of a body by their importance: the more, the larger and the redder; the greatest on top.

    Args:
        body: (V, 2), x and y in pixels; joints that are missing are nan.
        importance: (V,), from 0 to 1.
        thickness: radius of a joint without importance, in pixels.
    """
    for joint in np.argsort(importance, kind="stable"):
        if importance[joint] < MIN_SHOWN or not np.isfinite(body[joint]).all():
            continue
        point = tuple(int(round(length * 2**FRACTION_BITS)) for length in body[joint])
        radius = thickness * (1 + MAX_GROWTH * float(importance[joint]))
        color = choose_color(np.interp(importance[joint], (MIN_SHOWN, 1), JOINT_COLORS))
        for wider, shade in ((1, OUTLINE), (0, color)):
            reach = round((radius + wider) * 2**FRACTION_BITS)
            cv2.circle(picture, point, reach, shade, -1, lineType=cv2.LINE_AA, shift=FRACTION_BITS)
