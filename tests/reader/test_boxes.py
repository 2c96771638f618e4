"""Crop boxes: positions by hand, sizes by their bounds, and those that MMAction2's own code draws."""

import random

import numpy as np
import pytest
from golden_checks import read_cases, to_corners

from reader import boxes, pose_transforms


def rng(seed=0):
    return np.random.default_rng(seed)


def test_extreme_aspects_keep_a_pixel():
    assert boxes.scaled_size(1, 500, 2) == (2, 1000)
    assert boxes.scaled_size(500, 1, 1) == (500, 1)


def test_halves_of_a_pixel_go_to_even_numbers_or_up():
    assert boxes.scaled_size(100, 101, 50) == (50, 50)
    assert boxes.scaled_size(100, 101, 50, boxes.round_half_up) == (50, 51)


def test_random_box_reaches_every_position():
    found = {boxes.draw_random_box(6, 8, 0.5, rng(seed)) for seed in range(600)}
    assert found == {(top, left, 3, 3) for top in range(4) for left in range(6)}


def test_random_box_of_the_whole_short_side():
    assert {boxes.draw_random_box(6, 8, 1.0, rng(seed))[::2] for seed in range(50)} == {(0, 6)}


def test_corner_box_has_five_positions_and_five_scales():
    found = {boxes.draw_corner_box(100, 140, rng(seed)) for seed in range(600)}
    sides = sorted({box[2] for box in found})
    assert sides == [50, 59, 70, 84, 100]
    assert {box[:2] for box in found if box[2] == 50} == {(0, 0), (0, 90), (50, 0), (50, 90), (25, 45)}
    assert all(box[2] == box[3] for box in found)


def test_resized_box_keeps_its_bounds():
    found = np.array([boxes.draw_resized_box(160, 160, rng(seed)) for seed in range(2000)])
    top, left, height, width = found.T
    assert top.min() >= 0 and left.min() >= 0
    assert (top + height).max() <= 160 and (left + width).max() <= 160
    share, aspect = height * width / (160 * 160), width / height
    assert 0.24 < share.min() < 0.27 and share.max() > 0.9
    assert 0.73 < aspect.min() < 0.78 and 1.28 < aspect.max() < 1.36
    assert abs(np.log(aspect).mean()) < 0.015  # drawn evenly on a log scale: no shape is preferred


def test_resized_box_falls_back_to_the_centre():
    assert boxes.draw_resized_box(10, 1000, rng()) == (0, 493, 10, 13)
    assert boxes.draw_resized_box(1, 1, rng()) == (0, 0, 1, 1)


def test_crop_positions():
    assert boxes.place_boxes(100, 140, 60, "center") == [(20, 40, 60, 60)]
    assert boxes.place_boxes(100, 140, 60, "three") == [(20, 0, 60, 60), (20, 40, 60, 60), (20, 80, 60, 60)]
    assert boxes.place_boxes(140, 100, 60, "three") == [(0, 20, 60, 60), (40, 20, 60, 60), (80, 20, 60, 60)]
    odd = boxes.place_boxes(60, 101, 60, "three")  # ThreeCrop: 0, 20, 40 of a room of 41
    assert odd == [(0, 0, 60, 60), (0, 20, 60, 60), (0, 40, 60, 60)]
    corners = [(0, 0), (0, 80), (40, 0), (40, 80), (20, 40)]
    assert boxes.place_boxes(100, 140, 60, "ten") == [(top, left, 60, 60) for top, left in corners]


def test_crop_errors_name_what_is_wrong():
    with pytest.raises(ValueError, match="crop_size 20 is larger than the frame, 10 x 14"):
        boxes.place_boxes(10, 14, 20, "center")
    with pytest.raises(ValueError, match="crops 'five' is unknown, expected center, three or ten"):
        boxes.place_boxes(10, 14, 5, "five")


def test_rescaled_box_keeps_its_part_of_the_frame():
    assert boxes.rescale_box((40, 80, 60, 80), (240, 320), (120, 160)) == (20, 40, 30, 40)
    assert boxes.rescale_box((0, 0, 37, 53), (37, 53), (19, 27)) == (0, 0, 19, 27)
    assert boxes.rescale_box((36, 52, 1, 1), (37, 53), (5, 7)) == (4, 6, 1, 1)


# MMAction2's.


class AuthorsDraws:
    """NumPy's old generator for sizes and Python's for positions, as MMAction2 draws."""

    def __init__(self, seed, position_seed=None):
        self.sizes = np.random.RandomState(seed)
        self.positions = None if position_seed is None else random.Random(position_seed)
        self.uniform = self.sizes.uniform

    def integers(self, high):
        return self.sizes.randint(high) if self.positions is None else self.positions.randint(0, high - 1)


@pytest.mark.parametrize("case", read_cases("crops", "RandomResizedCrop"), ids=str)
def test_random_crops_are_the_authors(case):
    draws = AuthorsDraws(case.get("numpy_legacy_seed", 0), case.get("python_seed", 0))
    box = boxes.draw_resized_box_mmaction2(*case["img_shape"], case["area_range"], draws)
    assert to_corners(box) == case["box"]
    if "keypoint_in" in case:
        cropped = pose_transforms.crop(np.array(case["keypoint_in"], np.float32), box)
        assert np.abs(cropped - case["keypoint_out"]).max() < 1e-4


@pytest.mark.parametrize("case", read_cases("crops", "MultiScaleCrop"), ids=lambda case: str(case["img_shape"]))
def test_multi_scale_crops_are_the_authors(case):
    found = boxes.list_multi_scale_boxes(*case["img_shape"], case["input_size"], case["num_fixed_crops"] == 13)
    assert len(found) == 7 * case["num_fixed_crops"]
    ours, theirs = {tuple(to_corners(box)) for box in found}, set(map(tuple, case["boxes"]))
    assert theirs <= ours and len(ours - theirs) <= 1  # 400 draws need not reach all of 91


@pytest.mark.parametrize("case", read_cases("crops", "CenterCrop"), ids=lambda case: str(case["img_shape"]))
def test_centre_crops_are_the_authors(case):
    assert to_corners(boxes.centre_box(*case["img_shape"], case["crop"], case["crop"])) == case["box"]


@pytest.mark.parametrize("case", read_cases("crops", "RandomErasing"), ids=lambda case: str(case["numpy_legacy_seed"]))
def test_erased_boxes_are_the_authors(case):
    area = case["min_area"], case["max_area"]
    box = boxes.draw_erased_box(*case["img_shape"], area, AuthorsDraws(case["numpy_legacy_seed"]))
    assert list(box) == case["top_left_h_w"]


def test_drawn_boxes_lie_in_the_picture():
    rng = np.random.default_rng(0)
    for _ in range(300):
        for draw, area in ((boxes.draw_resized_box_mmaction2, (0.4, 1.0)), (boxes.draw_erased_box, (0.02, 1.0))):
            top, left, height, width = draw(40, 60, area, rng)
            assert min(top, left) >= 0 and min(height, width) > 0 and top + height <= 40 and left + width <= 60
