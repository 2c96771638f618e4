"""Transforms of key points: what MMAction2's own code gives, and laws."""

import dataclasses

import numpy as np
import pytest
from golden_checks import read_cases, to_corners

from layouts import get_layout
from reader import boxes, sampling
from reader import pose_transforms as transforms

LAYOUT = get_layout("coco17")


# The box around the bodies.


@pytest.mark.parametrize("case", read_cases("compact"), ids=lambda case: str(case["seed"]))
def test_the_body_box_is_pose_compacts(case):
    names = {"padding": "padding", "threshold": "min_size", "allow_imgpad": "allow_padding"}
    arguments = {names[key]: value for key, value in case["args"].items() if key in names}
    ratio = case["args"]["hw_ratio"]
    ratio = (ratio, ratio) if isinstance(ratio, float) else ratio
    keypoint = np.nan_to_num(np.array(case["keypoint_in"], np.float32), nan=0)
    box = transforms.find_body_box(keypoint, case["img_shape"], ratio, **arguments)
    assert to_corners(box) == case["mm_compact"]["box"]
    moved = transforms.compact(keypoint, box)
    assert moved.dtype == np.float32 and np.abs(moved - case["pose_compact"]["keypoint"]).max() < 1e-4


@pytest.mark.parametrize("allow_padding", [True, False])
def test_without_bodies_the_box_is_the_picture(allow_padding):
    assert transforms.find_body_box(np.zeros((2, 3, 17, 2)), (90, 160), allow_padding=allow_padding) == (0, 0, 90, 160)
    assert transforms.find_body_box(np.zeros((0, 3, 17, 2)), (90, 160), allow_padding=allow_padding) == (0, 0, 90, 160)


def test_a_body_beyond_the_picture_has_its_box_there_or_none():
    keypoint = np.array([[200.0, 20], [230, 60]], np.float32)
    assert transforms.find_body_box(keypoint, (90, 160)) == (15, 190, 50, 50)
    assert transforms.find_body_box(keypoint, (90, 160), allow_padding=False) == (0, 0, 90, 160)


# Sizes.


@pytest.mark.parametrize("case", read_cases("resize"), ids=lambda case: f"{case['in_shape']} {case['scale']}")
def test_key_points_are_resized_with_the_picture(case):
    resized = transforms.resize(np.array(case["keypoint_in"], np.float32), case["in_shape"], case["out_shape"])
    assert np.abs(resized - case["keypoint_out"]).max() < 1e-4
    if isinstance(case["scale"], list) and case["scale"][0] == -1:
        assert list(boxes.scaled_size(*case["in_shape"], case["scale"][1], boxes.round_half_up)) == case["out_shape"]


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
            rng = sampling.LegacyGenerator(case["numpy_legacy_seed"])
            clips = sampling.draw_uniform_clip(case["total_frames"], clip_len, rng, None)
        else:
            clips = sampling.place_uniform_clips(case["total_frames"], clip_len, case["num_clips"], None)
        assert clips.reshape(-1).tolist() == expected

    if case["kind"].startswith("MM"):
        for modality, clip_len in case["clip_len"].items():
            check(clip_len, case[f"{modality}_inds"])
    else:
        check(case["clip_len"], case["frame_inds"])
