"""Skeletons as pictures: bodies over the frames of their video, or alone on an empty canvas, seen from the front.

Pictures are RGB uint8 (H, W, 3). A body's left side, right side and middle have a colour each, by person.
"""

import cv2
import numpy as np

from inference import draw_heat
from layouts import Layout
from reader.boxes import share_box
from reader.skeleton_pkl import Recording

CANVAS_SIZE = (480, 640)  # (height, width) in pixels
BOX = (24, 264, 400, 360)  # where the bodies are drawn, beside the bars: top, left, height, width
BACKGROUND = (40, 43, 50)
PALETTES = (  # left, right, middle; used in turn for several persons
    ((86, 180, 233), (240, 140, 40), (240, 240, 240)),
    ((60, 200, 150), (220, 130, 190), (240, 228, 66)),
)
PALE = (150, 155, 162)  # of bodies whose joints have colours of their own
OUTLINE = (16, 18, 20)
MIN_SCORE = 0.2  # a joint below it is not drawn
MAX_DISTANCE = 1e5  # pixels; a joint beyond it is not drawn
MIN_CORRELATION = 0.5  # with the layout's drawing, from which on y is taken to point down
FRACTION_BITS = 4  # bits after the point of the coordinates that OpenCV gets


class StickFigures:
    """Draws the bodies of a recording.

    Args:
        points: (M, T, V, 2), x and y in pixels of the pictures; joints that are missing are nan.
        layout: says which joints are connected; its graph, because COCO's bones leave out the sides of the trunk.
    """

    def __init__(self, points: np.ndarray, layout: Layout):
        self.points, self.edges = points, layout.edges
        self.sides = [2] * layout.num_joints
        for left, right in layout.pairs:
            self.sides[left], self.sides[right] = 0, 1

    def draw(self, picture: np.ndarray, index: int, importance: np.ndarray | None = None) -> np.ndarray:
        """Return a picture with the bodies of frame `index` on it.

        Args:
            importance: from 0 to 1 of each joint (persons, V), shown by its size and colour.
        """
        picture = picture.copy()
        thickness = max(2, min(picture.shape[:2]) // 160)
        for person, body in enumerate(self.points[:, index]):
            palette = PALETTES[person % len(PALETTES)]
            colors = [palette[side] if importance is None else PALE for side in self.sides]
            _draw_body(picture, body, self.edges, colors, thickness)
            if importance is not None:
                draw_heat.draw_joints(picture, body, importance[person], thickness)
        return picture


def _draw_body(picture: np.ndarray, body: np.ndarray, edges: tuple, colors: list, thickness: int) -> None:
    is_known = np.isfinite(body).all(axis=1)
    points = [tuple(map(int, point)) for point in np.where(is_known[:, None], body, 0) * 2**FRACTION_BITS]
    subpixel = {"lineType": cv2.LINE_AA, "shift": FRACTION_BITS}
    for wider, is_outline in ((2, True), (0, False)):  # a dark outline sets them off from any frame
        for joint, inner in edges:
            if is_known[joint] and is_known[inner]:
                color = OUTLINE if is_outline else colors[joint]
                cv2.line(picture, points[joint], points[inner], color, thickness + wider, **subpixel)
        for joint in np.flatnonzero(is_known):
            color = OUTLINE if is_outline else colors[joint]
            cv2.circle(picture, points[joint], (thickness + wider // 2) << FRACTION_BITS, color, -1, **subpixel)


def select_persons(recording: Recording, num_persons: int | None) -> tuple:
    """Return the key points and scores of the persons that a network of `num_persons` sees; scores may be None."""
    persons = recording.choose_persons(num_persons)
    return recording.keypoint[persons], None if recording.score is None else recording.score[persons]


def locate_joints(recording: Recording, num_persons: int | None) -> tuple:
    """Return y and x of the joints of these persons, (M, T, V), as shares of their picture; nan: missing."""
    points = scale_to_picture(*select_persons(recording, num_persons), recording.img_shape, (1, 1))
    return points[..., 1], points[..., 0]


def scale_to_picture(keypoint: np.ndarray, score: np.ndarray | None, img_shape: tuple, size: tuple) -> np.ndarray:
    """Scale key points (M, T, V, 2) from pictures of `img_shape` to pictures of `size`, both (height, width)."""
    scale = np.array([size[1] / img_shape[1], size[0] / img_shape[0]])
    return _mask_missing(keypoint, score) * scale


def fit_to_canvas(keypoint: np.ndarray, score: np.ndarray | None, layout: Layout) -> np.ndarray:
    """Scale and move key points (M, T, V, 2 or 3) so that all fit on the canvas; of three coordinates z is dropped."""
    points = _mask_missing(keypoint, score)
    if keypoint.shape[3] == 3:
        points = points[..., :2] * [1, 1 if _points_down(points, layout) else -1]
    known = points[np.isfinite(points).all(axis=3)]
    if not len(known):
        return points
    low, high = known.min(axis=0), known.max(axis=0)
    scale, shift = _find_fit(low, high)
    return (points - (low + high) / 2) * scale + shift


def fit_box_to_canvas(
    keypoint: np.ndarray, score: np.ndarray | None, img_shape: tuple, box: tuple, shown: tuple = (0, 0, *CANVAS_SIZE)
) -> tuple:
    """Return where `fit_to_canvas` of the same key points (M, T, V, 2) puts a box of their picture.

    Args:
        img_shape: (height, width) of the picture.
        box: (top, left, height, width) as shares of them.
        shown: the part of the canvas that is shown, (top, left, height, width) in its pixels.

    Returns:
        (top, left, height, width) as shares of that part.
    """
    top, left, height, width = np.multiply(box, [*img_shape, *img_shape])
    points = _mask_missing(keypoint, score)
    known = points[np.isfinite(points).all(axis=3)]
    low, high = known.min(axis=0), known.max(axis=0)
    scale, shift = _find_fit(low, high)
    left, top = ([left, top] - (low + high) / 2) * scale + shift
    return share_box((top - shown[0], left - shown[1], height * scale, width * scale), *shown[2:])


def _find_fit(low: np.ndarray, high: np.ndarray) -> tuple:
    """Return the scale at which points from `low` to `high` fill `BOX`, and the (x, y) of their middle there."""
    top, left, height, width = BOX
    scale = min(width / max(high[0] - low[0], 1e-6), height / max(high[1] - low[1], 1e-6))
    return scale, [left + width / 2, top + height / 2]


def make_canvas() -> np.ndarray:
    """Return an empty canvas."""
    return np.full((*CANVAS_SIZE, 3), BACKGROUND, np.uint8)


def _mask_missing(keypoint: np.ndarray, score: np.ndarray | None) -> np.ndarray:
    """Return key points as float64, nan for those that are all 0, beyond `MAX_DISTANCE` or of low score."""
    points = keypoint.astype(np.float64)
    is_known = points.any(axis=3) & (np.abs(points) < MAX_DISTANCE).all(axis=3)
    if score is not None:
        is_known &= np.asarray(score) >= MIN_SCORE
    return np.where(is_known[..., None], points, np.nan)


def _points_down(points: np.ndarray, layout: Layout) -> bool:
    """Whether y grows downwards, as in pictures, judged by the layout's drawing; that of sensors grows upwards."""
    if not layout.positions:
        return False
    is_known = np.isfinite(points[..., 1])
    drawn = np.broadcast_to(np.array(layout.positions)[:, 1], is_known.shape)[is_known]
    found = points[..., 1][is_known]
    if len(found) < 2 or not found.std():
        return False
    return bool(np.corrcoef(found, drawn)[0, 1] > MIN_CORRELATION)
