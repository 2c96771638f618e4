"""Skeletons as pictures: where joints come to stand, and what is drawn there."""

import numpy as np
import pytest

from inference import draw_skeletons
from inference.draw_skeletons import BOX, CANVAS_SIZE, PALETTES, StickFigures
from layouts import get_layout

COCO, NTU = get_layout("coco17"), get_layout("ntu25")


def find_color(picture, color):
    """Whether a picture has pixels of a colour."""
    return bool((picture == color).all(axis=-1).any())


def stand(layout, up):
    """One frame of a body as its layout draws it, metres; `up` is -1 where y grows downwards."""
    x, y = np.array(layout.positions).T / 50
    return np.stack([x, -up * y, np.full_like(x, 3)], axis=-1)[None, None]


def test_key_points_are_carried_to_the_size_that_is_shown():
    keypoint = np.array([[10, 20], [0, 0], [30, 40], [np.nan, 5], [1e7, 5], [0, 8]], np.float32)[None, None]
    score = np.array([[[1, 1, 0.1, 1, 1, 0.3]]])
    points = draw_skeletons.scale_to_picture(keypoint, score, (90, 160), (180, 480))[0, 0]
    assert points[0].tolist() == [30, 40] and points[5].tolist() == [0, 16]
    assert np.isnan(points[1:5]).all()
    assert draw_skeletons.scale_to_picture(keypoint, None, (90, 160), (90, 160))[0, 0, 2].tolist() == [30, 40]


@pytest.mark.parametrize("layout_name, up", [("ntu25", 1), ("mediapipe33", -1)])
def test_bodies_stand_upright_on_the_canvas_and_fit(layout_name, up):
    layout = get_layout(layout_name)
    points = draw_skeletons.fit_to_canvas(stand(layout, up), None, layout)[0, 0]
    top, left, height, width = BOX
    assert (points >= [left - 0.1, top - 0.1]).all() and (points <= [left + width + 0.1, top + height + 0.1]).all()
    assert points[:, 1].argmin() == np.array(layout.positions)[:, 1].argmin()
    drawn = np.array(layout.positions)
    scales = np.ptp(points, axis=0) / np.ptp(drawn, axis=0)
    assert scales[0] == pytest.approx(scales[1])
    assert (np.ptp(points, axis=0) / (width, height)).max() == pytest.approx(1)  # as large as can be
    assert np.corrcoef(points[:, 0], drawn[:, 0])[0, 1] > 0.99


def test_two_coordinates_keep_their_direction_and_missing_persons_do_not_move_the_others():
    one = np.random.default_rng(0).uniform(50, 90, (1, 3, 17, 2)).astype(np.float32)
    alone = draw_skeletons.fit_to_canvas(one, None, COCO)
    both = draw_skeletons.fit_to_canvas(np.concatenate([one, np.zeros_like(one)]), None, COCO)
    assert np.array_equal(both[:1], alone) and np.isnan(both[1]).all()
    assert np.corrcoef(alone[..., 1].ravel(), one[..., 1].ravel())[0, 1] > 0.99


def test_an_empty_recording_leaves_the_canvas_empty():
    points = draw_skeletons.fit_to_canvas(np.zeros((1, 2, 25, 3)), None, NTU)
    picture = StickFigures(points, NTU).draw(draw_skeletons.make_canvas(), 1)
    assert picture.shape == (*CANVAS_SIZE, 3) and (picture == draw_skeletons.BACKGROUND).all()


def test_sides_and_persons_have_colors_of_their_own():
    points = np.full((2, 1, 17, 2), np.nan)
    left, right = COCO.joints.index("left_wrist"), COCO.joints.index("right_wrist")
    points[0, 0, [left, right]] = [[20, 20], [60, 20]]
    points[1, 0, [0, right]] = [[20, 60], [60, 60]]
    ground = np.full((80, 80, 3), 100, np.uint8)
    picture = StickFigures(points, COCO).draw(ground, 0)
    assert (ground == 100).all()
    for (x, y), color in zip(
        [(20, 20), (60, 20), (20, 60), (60, 60)], [*PALETTES[0][:2], PALETTES[1][2], PALETTES[1][1]], strict=True
    ):
        assert tuple(picture[y, x]) == color
    assert (picture[20, 30:50] == 100).all()  # these two are not tied together


def test_a_line_is_drawn_between_joints_that_are_tied_and_both_there():
    points = np.full((1, 2, 17, 2), np.nan)
    shoulder, elbow = COCO.joints.index("left_shoulder"), COCO.joints.index("left_elbow")
    points[0, :, shoulder] = [10, 40]
    points[0, 0, elbow] = [70, 40]
    figures, ground = StickFigures(points, COCO), np.full((80, 80, 3), 100, np.uint8)
    assert tuple(figures.draw(ground, 0)[40, 40]) == PALETTES[0][0]
    assert tuple(figures.draw(ground, 1)[40, 40]) == (100, 100, 100)


def test_the_trunk_of_coco_has_sides():
    points = np.full((1, 1, 17, 2), np.nan)
    points[0, 0, [COCO.joints.index("left_shoulder"), COCO.joints.index("left_hip")]] = [[40, 10], [40, 70]]
    assert tuple(StickFigures(points, COCO).draw(np.zeros((80, 80, 3), np.uint8), 0)[40, 40]) == PALETTES[0][0]


def test_joints_beyond_the_picture_are_no_fault():
    points = np.random.default_rng(0).uniform(-9e4, 9e4, (1, 1, 17, 2))
    assert StickFigures(points, COCO).draw(np.zeros((40, 60, 3), np.uint8), 0).shape == (40, 60, 3)
