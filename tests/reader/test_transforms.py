"""Transforms of clips against hand-made positions and numpy."""

import numpy as np
import pytest

from reader import boxes, transforms


def rng(seed=0):
    return np.random.default_rng(seed)


def noise(*shape):
    return rng(1).integers(0, 256, shape).astype(np.uint8)


def test_mirror_swaps_columns_and_twice_is_identity():
    frames = noise(3, 4, 5, 3)
    assert np.array_equal(transforms.mirror(frames)[:, :, 0], frames[:, :, 4])
    assert np.array_equal(transforms.mirror(transforms.mirror(frames)), frames)


@pytest.mark.parametrize("size, short, expected", [((240, 320), 112, (112, 149)), ((320, 240), 60, (80, 60))])
def test_short_side_scaling_keeps_the_aspect(size, short, expected):
    assert boxes.scaled_size(*size, short) == expected
    assert transforms.scale_short_side(noise(2, *size, 3), short).shape == (2, *expected, 3)


def test_resize_of_a_flat_clip_is_flat_and_of_the_same_size_is_a_copy():
    flat = np.full((2, 37, 53, 3), 77, np.uint8)
    assert np.all(transforms.resize(flat, 20, 30) == 77)
    frames = noise(2, 9, 7, 3)
    assert np.array_equal(transforms.resize(frames, 9, 7), frames)


def test_resize_by_two_or_more_averages():
    stripes = np.zeros((1, 16, 16, 3), np.uint8)
    stripes[:, :, ::4] = 200
    assert np.all(transforms.resize(stripes, 4, 4) == 50)


def test_cut_takes_exactly_the_box():
    frames = noise(2, 10, 14, 3)
    top_left, top_right, bottom_left, bottom_right, _ = [
        transforms.cut(frames, box) for box in boxes.place_boxes(10, 14, 6, "ten")
    ]
    assert np.array_equal(top_left, frames[:, :6, :6])
    assert np.array_equal(top_right, frames[:, :6, -6:])
    assert np.array_equal(bottom_left, frames[:, -6:, :6])
    assert np.array_equal(bottom_right, frames[:, -6:, -6:])


def test_views_stand_clip_by_clip_then_mirrored_then_by_crop():
    frames = noise(4, 10, 14, 3)
    clips = np.array([[0, 1], [3, 3]])
    views = transforms.cut_views(frames, clips, 6, "three", flip=True)
    assert views.shape == (12, 2, 6, 6, 3) and views.flags.c_contiguous
    expected = []
    for clip in clips:
        for step in (1, -1):
            for left in (0, 4, 8):
                expected.append(frames[clip, 2:8, left : left + 6][:, :, ::step])
    assert np.array_equal(views, np.stack(expected))


def test_ten_crops_are_five_and_their_mirror_images():
    frames = noise(1, 10, 14, 3)
    views = transforms.cut_views(frames, np.array([[0]]), 6, "ten", flip=False)
    assert len(views) == 10
    assert np.array_equal(views[5:], views[:5, :, :, ::-1])
    assert np.array_equal(views[4, 0], frames[0, 2:8, 4:10])


def test_no_jitter_is_identity():
    frames = noise(2, 8, 9, 3)
    assert np.array_equal(transforms.jitter_color(frames, 0.0, rng()), frames)


def test_jitter_is_the_same_for_every_frame_and_leaves_its_input():
    frame = noise(1, 8, 9, 3)
    frames = np.repeat(frame, 4, axis=0)
    jittered = transforms.jitter_color(frames, 0.5, rng())
    assert np.all(jittered == jittered[:1])
    assert np.array_equal(frames[:1], frame) and not np.array_equal(jittered, frames)


class Factors:
    """Stands in for a Generator: gives chosen brightness, contrast and saturation."""

    def __init__(self, *factors):
        self.factors = factors

    def uniform(self, low, high, size):
        return self.factors


def test_brightness_contrast_and_saturation_do_what_they_say():
    frames = rng(2).integers(60, 160, (2, 8, 9, 3)).astype(np.uint8)
    brighter = transforms.jitter_color(frames, 1.0, Factors(1.5, 1, 1))
    assert np.abs(brighter - 1.5 * frames).max() <= 0.5
    gray = transforms.jitter_color(frames, 1.0, Factors(1, 1, 0))
    assert np.ptp(gray, axis=3).max() == 0
    assert np.abs(gray[..., 0] - frames @ [0.299, 0.587, 0.114]).max() <= 1
    flat = transforms.jitter_color(frames, 1.0, Factors(1, 0, 1))
    assert np.ptp(flat) == 0
    assert abs(flat.mean() - (frames @ [0.299, 0.587, 0.114]).mean()) < 1


def test_brightness_changes_what_contrast_has_made():
    """Brightness, contrast, saturation, one after the other: b (c x + (1 - c) m), m the mean gray."""
    frames = rng(2).integers(60, 160, (2, 8, 9, 3)).astype(np.uint8)
    mean = (frames @ [0.299, 0.587, 0.114]).mean()
    for brightness, contrast in ((1.25, 0.5), (0.5, 1.5), (1.5, 0.25)):
        changed = transforms.jitter_color(frames, 1.0, Factors(brightness, contrast, 1))
        expected = brightness * (contrast * frames + (1 - contrast) * mean)
        assert np.abs(changed - expected).max() <= 0.51


def test_erased_areas_reach_from_2_to_40_percent():
    """The settings that the paper, 1708.04896, uses unless it says otherwise: s_l = 0.02, s_h = 0.4."""
    frames, generator, areas = np.zeros((1, 100, 100, 3), np.uint8), rng(0), []
    for _ in range(300):
        areas.append(transforms.erase(frames, np.array([9, 9, 9]), generator)[0, :, :, 0].astype(bool).mean())
    assert 0.018 < min(areas) < 0.03 and 0.36 < max(areas) < 0.42
    assert 0.16 < np.mean(areas) < 0.24  # even in between, a few long boxes left out that do not fit


def test_erasing_blanks_one_box_in_all_frames():
    frames = np.full((3, 40, 60, 3), 200, np.uint8)
    erased = transforms.erase(frames, np.array([1, 2, 3]), rng(5))
    hole = np.all(erased[0] == [1, 2, 3], axis=2)
    rows, columns = np.flatnonzero(hole.any(axis=1)), np.flatnonzero(hole.any(axis=0))
    assert hole.sum() == len(rows) * len(columns)  # a rectangle
    assert 0.015 * 2400 <= hole.sum() <= 0.42 * 2400
    assert np.all(erased[:, ~hole] == 200)
    assert all(np.array_equal(frame, erased[0]) for frame in erased)
    assert np.all(frames == 200)
