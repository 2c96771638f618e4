"""Skeletons as pictures: bodies over the frames of their video, or alone on a stage, seen from the front.

Pictures are RGB uint8 (H, W, 3). A body's left side, right side and middle have a colour each, by person.
"""

import cv2
import numpy as np

from layouts import Layout

STAGE = (480, 640)  # (height, width) of a stage in pixels
BOX = (24, 264, 400, 360)  # where the bodies stand on it, beside the bars: top, left, height, width
GROUND = (40, 43, 50)
PALETTES = (  # left, right, middle; persons take them in turn
    ((86, 180, 233), (240, 140, 40), (240, 240, 240)),
    ((60, 200, 150), (220, 130, 190), (240, 228, 66)),
)
OUTLINE = (16, 18, 20)
LEAST_SCORE = 0.2  # a joint below it is not drawn
FARTHEST = 1e5  # pixels: nothing is drawn from or to what lies further
LEAST_AGREEMENT = 0.5  # correlation with the layout's drawing from which on y is taken to point down
SHIFT = 4  # bits after the point of the coordinates that OpenCV gets


class StickFigures:
    """Draws the bodies of a recording.

    Args:
        points: (M, T, V, 2), x and y in pixels of the pictures; joints that are missing are nan.
        layout: says which joints its graph ties together; COCO's bones would leave out the sides of the trunk.
    """

    def __init__(self, points: np.ndarray, layout: Layout):
        self.points, self.edges = points, layout.edges
        self.sides = [2] * layout.num_joints
        for left, right in layout.pairs:
            self.sides[left], self.sides[right] = 0, 1

    def draw(self, picture: np.ndarray, index: int) -> np.ndarray:
        """Return a picture with the bodies of frame `index` on it."""
        picture = picture.copy()
        thickness = max(2, min(picture.shape[:2]) // 160)
        for person, body in enumerate(self.points[:, index]):
            palette = PALETTES[person % len(PALETTES)]
            _draw_body(picture, body, self.edges, [palette[side] for side in self.sides], thickness)
        return picture


def _draw_body(picture: np.ndarray, body: np.ndarray, edges: tuple, colors: list, thickness: int) -> None:
    there = np.isfinite(body).all(axis=1)
    places = [tuple(map(int, place)) for place in np.where(there[:, None], body, 0) * 2**SHIFT]
    fine = {"lineType": cv2.LINE_AA, "shift": SHIFT}
    for wider, is_outline in ((2, True), (0, False)):  # a dark edge keeps them apart from any frame
        for joint, inner in edges:
            if there[joint] and there[inner]:
                color = OUTLINE if is_outline else colors[joint]
                cv2.line(picture, places[joint], places[inner], color, thickness + wider, **fine)
        for joint in np.flatnonzero(there):
            color = OUTLINE if is_outline else colors[joint]
            cv2.circle(picture, places[joint], (thickness + wider // 2) << SHIFT, color, -1, **fine)


def place_in_video(keypoint: np.ndarray, score: np.ndarray | None, img_shape: tuple, size: tuple) -> np.ndarray:
    """Carry key points (M, T, V, 2) found in pictures of `img_shape` to pictures of `size`, both (height, width)."""
    scale = np.array([size[1] / img_shape[1], size[0] / img_shape[0]])
    return _leave_out(keypoint, score) * scale


def place_on_stage(keypoint: np.ndarray, score: np.ndarray | None, layout: Layout) -> np.ndarray:
    """Carry key points (M, T, V, 2 or 3) to a stage that all of them fit on; of three coordinates z is left out."""
    points = _leave_out(keypoint, score)
    if keypoint.shape[3] == 3:
        points = points[..., :2] * [1, 1 if _points_down(points, layout) else -1]
    known = points[np.isfinite(points).all(axis=3)]
    if not len(known):
        return points
    low, high = known.min(axis=0), known.max(axis=0)
    top, left, height, width = BOX
    scale = min(width / max(high[0] - low[0], 1e-6), height / max(high[1] - low[1], 1e-6))
    return (points - (low + high) / 2) * scale + [left + width / 2, top + height / 2]


def make_stage() -> np.ndarray:
    """Return an empty stage."""
    return np.full((*STAGE, 3), GROUND, np.uint8)


def _leave_out(keypoint: np.ndarray, score: np.ndarray | None) -> np.ndarray:
    """Return key points as float64, nan where all coordinates are 0, one is out of all bounds, or the score is low."""
    points = keypoint.astype(np.float64)
    there = points.any(axis=3) & (np.abs(points) < FARTHEST).all(axis=3)
    if score is not None:
        there &= np.asarray(score) >= LEAST_SCORE
    return np.where(there[..., None], points, np.nan)


def _points_down(points: np.ndarray, layout: Layout) -> bool:
    """Tell whether y grows downwards, as in pictures, by the layout's own drawing; the sensors' grows upwards."""
    if not layout.positions:
        return False
    there = np.isfinite(points[..., 1])
    drawn = np.broadcast_to(np.array(layout.positions)[:, 1], there.shape)[there]
    found = points[..., 1][there]
    if len(found) < 2 or not found.std():
        return False
    return bool(np.corrcoef(found, drawn)[0, 1] > LEAST_AGREEMENT)
