"""Transforms of key points: what MMAction2's own code gives, its random draws included, and laws."""

import dataclasses
import json
import random

import numpy as np
import pytest
from paths import GOLDEN_DATA

from layouts import get_layout
from reader import pose_transforms as transforms
from reader import sampling

LAYOUT = get_layout("coco17")


def read_cases(name, kind=""):
    cases = json.loads((GOLDEN_DATA / f"{name}.json").read_text())["cases"]
    return [case for case in cases if case.get("kind", "").startswith(kind)]


def to_corners(box):
    """Turn (top, left, height, width) into the x1, y1, x2, y2 of the files."""
    top, left, height, width = box
    return [left, top, left + width, top + height]


class AuthorsDraws:
    """NumPy's old generator for sizes and Python's for places, as MMAction2 draws."""

    def __init__(self, seed, place_seed=None):
        self.sizes = np.random.RandomState(seed)
        self.places = None if place_seed is None else random.Random(place_seed)
        self.uniform = self.sizes.uniform

    def integers(self, high):
        return self.sizes.randint(high) if self.places is None else self.places.randint(0, high - 1)


# The box around the bodies.


@pytest.mark.parametrize("case", read_cases("compact"), ids=lambda case: str(case["seed"]))
def test_the_body_box_is_pose_compacts(case):
    names = {"padding": "padding", "threshold": "least_size", "allow_imgpad": "may_leave"}
    arguments = {names[key]: value for key, value in case["args"].items() if key in names}
    ratio = case["args"]["hw_ratio"]
    ratio = (ratio, ratio) if isinstance(ratio, float) else ratio
    keypoint = np.nan_to_num(np.array(case["keypoint_in"], np.float32), nan=0)
    box = transforms.find_body_box(keypoint, case["img_shape"], ratio, **arguments)
    assert to_corners(box) == case["mm_compact"]["box"]
    moved = transforms.compact(keypoint, box)
    assert moved.dtype == np.float32 and np.abs(moved - case["pose_compact"]["keypoint"]).max() < 1e-4


@pytest.mark.parametrize("may_leave", [True, False])
def test_without_bodies_the_box_is_the_picture(may_leave):
    assert transforms.find_body_box(np.zeros((2, 3, 17, 2)), (90, 160), may_leave=may_leave) == (0, 0, 90, 160)
    assert transforms.find_body_box(np.zeros((0, 3, 17, 2)), (90, 160), may_leave=may_leave) == (0, 0, 90, 160)


def test_a_body_beyond_the_picture_has_its_box_there_or_none():
    keypoint = np.array([[200.0, 20], [230, 60]], np.float32)
    assert transforms.find_body_box(keypoint, (90, 160)) == (15, 190, 50, 50)
    assert transforms.find_body_box(keypoint, (90, 160), may_leave=False) == (0, 0, 90, 160)


# Sizes and crops.


@pytest.mark.parametrize("case", read_cases("resize"), ids=lambda case: f"{case['in_shape']} {case['scale']}")
def test_key_points_are_resized_with_the_picture(case):
    resized = transforms.resize(np.array(case["keypoint_in"], np.float32), case["in_shape"], case["out_shape"])
    assert np.abs(resized - case["keypoint_out"]).max() < 1e-4
    if isinstance(case["scale"], list) and case["scale"][0] == -1:
        assert list(transforms.scale_short_side(*case["in_shape"], case["scale"][1])) == case["out_shape"]


@pytest.mark.parametrize("case", read_cases("crops", "RandomResizedCrop"), ids=str)
def test_random_crops_are_the_authors(case):
    draws = AuthorsDraws(case.get("numpy_legacy_seed", 0), case.get("python_seed", 0))
    box = transforms.draw_resized_box(*case["img_shape"], case["area_range"], draws)
    assert to_corners(box) == case["box"]
    if "keypoint_in" in case:
        cropped = transforms.crop(np.array(case["keypoint_in"], np.float32), box)
        assert np.abs(cropped - case["keypoint_out"]).max() < 1e-4


@pytest.mark.parametrize("case", read_cases("crops", "MultiScaleCrop"), ids=lambda case: str(case["img_shape"]))
def test_multi_scale_crops_are_the_authors(case):
    boxes = transforms.list_scale_boxes(*case["img_shape"], case["input_size"], case["num_fixed_crops"] == 13)
    assert len(boxes) == 7 * case["num_fixed_crops"]
    ours, theirs = {tuple(to_corners(box)) for box in boxes}, set(map(tuple, case["boxes"]))
    assert theirs <= ours and len(ours - theirs) <= 1  # 400 draws need not reach all of 91


@pytest.mark.parametrize("case", read_cases("crops", "CenterCrop"), ids=lambda case: str(case["img_shape"]))
def test_centre_crops_are_the_authors(case):
    assert to_corners(transforms.place_centre_box(*case["img_shape"], case["crop"])) == case["box"]


@pytest.mark.parametrize("case", read_cases("crops", "RandomErasing"), ids=lambda case: str(case["numpy_legacy_seed"]))
def test_erased_boxes_are_the_authors(case):
    area = case["min_area"], case["max_area"]
    box = transforms.draw_erased_box(*case["img_shape"], area, AuthorsDraws(case["numpy_legacy_seed"]))
    assert list(box) == case["top_left_h_w"]


def test_drawn_boxes_lie_in_the_picture():
    rng = np.random.default_rng(0)
    for _ in range(300):
        for draw, area in ((transforms.draw_resized_box, (0.4, 1.0)), (transforms.draw_erased_box, (0.02, 1.0))):
            top, left, height, width = draw(40, 60, area, rng)
            assert min(top, left) >= 0 and min(height, width) > 0 and top + height <= 40 and left + width <= 60


# Mirrors.


@pytest.mark.parametrize("case", read_cases("flip"), ids=lambda case: str(case["img_shape"]))
def test_mirrored_key_points_are_the_authors(case):
    arrays = np.array(case["keypoint_in"], np.float32), np.array(case["score_in"], np.float32)
    layout = dataclasses.replace(LAYOUT, pairs=tuple(zip(case["left_kp"] or [], case["right_kp"] or [], strict=True)))
    keypoint, score = transforms.mirror(*arrays, case["img_shape"][1], layout)
    assert np.abs(keypoint - case["keypoint_out"]).max() < 1e-5
    assert np.abs(score - case["score_out"]).max() < 1e-7
    again = transforms.mirror(keypoint, score, case["img_shape"][1], layout)
    assert np.abs(again[0] - arrays[0]).max() < 1e-5 and np.array_equal(again[1], arrays[1])


# Frames.


def name_case(case):
    return f"{case['kind']} {case['total_frames']} {case['clip_len']} {case['num_clips']}"


@pytest.mark.parametrize("case", read_cases("sampling_mmaction2"), ids=name_case)
def test_frames_are_mmaction2s(case):
    def check(clip_len, expected):
        if "numpy_legacy_seed" in case:
            rng = np.random.RandomState(case["numpy_legacy_seed"])
            clips = sampling.draw_uniform_clip(case["total_frames"], clip_len, rng, None)
        else:
            clips = sampling.place_uniform_clips(case["total_frames"], clip_len, case["num_clips"], None)
        assert clips.reshape(-1).tolist() == expected

    if case["kind"].startswith("MM"):
        for modality, clip_len in case["clip_len"].items():
            check(clip_len, case[f"{modality}_inds"])
    else:
        check(case["clip_len"], case["frame_inds"])
