"""PaddleVideo's way with figure skating: its vectors, and what is right in its place."""

import json

import numpy as np
import pytest
from paths import GOLDEN_DATA

from dataset.raw_skeletons.arrays import arrange_row
from layouts import get_layout
from reader import skeleton_clips as clips
from reader import skeleton_transforms as transforms
from reader import streams
from reader.skeleton_pkl import Recording
from reader.skeletons import Skeletons

HIP = 8
LAYOUT = get_layout("openpose25")
FSD = json.loads((GOLDEN_DATA / "fsd_pipeline.json").read_text(encoding="utf-8"))["cases"]
PIPELINE = json.loads((GOLDEN_DATA / "ctrgcn_pipeline.json").read_text(encoding="utf-8"))


def draw_row(case):
    """Draw the input of a vector as its file says: (3, T, 25, 1)."""
    generator = np.random.Generator(np.random.PCG64(case["seed"]))
    values = generator.standard_normal((3, case["valid_frames"], 25, 1)).astype(np.float32)
    values[:2] *= 0.2
    values[2] = np.abs(values[2])
    if case["negative_tail"]:
        values[:, -case["negative_tail"] :] = -np.abs(values[:, -case["negative_tail"] :])
    values[:, :, case["zero_joints"]] = 0
    row = np.zeros((3, case["frames"], 25, 1), np.float32)
    row[:, : case["valid_frames"]] = values
    return row


def read(row, clip_len, **arguments):
    """Return what the reader gives of a row of an array: (T, V, C)."""
    arrays = arrange_row(row, "openpose25")
    recording = Recording("a", None, arrays["keypoint"], arrays["keypoint_score"], None, is_checked=True)
    options = {"layout": "openpose25", "num_persons": 1, "score_channel": False, "clip_len": clip_len, **arguments}
    reader = Skeletons(None, mode="test", **options)
    reader.set_samples("here", [recording])
    (view,) = reader[0, 0]["inputs"]["skeleton"]
    assert reader.input_shape["skeleton"] == [view.shape[-1], clip_len, 25, 1]
    return view[0]


@pytest.mark.parametrize("case", FSD, ids=lambda case: case["name"])
def test_on_request_all_is_as_paddlevideo_has_it(case):
    theirs = {"sampling": "auto_padding_paddlevideo", "normalization": "center_frames_paddlevideo"}
    found = read(draw_row(case), case["window_size"], **theirs)
    expected = np.array(case["values"], np.float32).reshape(case["shape"])[..., 0].transpose(1, 2, 0)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("case", FSD, ids=lambda case: case["name"])
def test_by_default_the_end_is_the_last_frame_and_missing_joints_stay_zero(case):
    row, size = draw_row(case), case["window_size"]
    found = read(row, size, sampling="auto_padding", normalization="center_frames")
    num_frames, points = case["valid_frames"], row[:2, :, :, 0].transpose(1, 2, 0)  # (T, V, 2)
    seen = row[2, :, :, 0] > 0
    chosen = np.linspace(0, num_frames - 1, size).astype(int) if num_frames > size else np.arange(num_frames)
    assert found[len(chosen) :].size == 0 or not found[len(chosen) :].any()
    for output, frame in zip(found, chosen, strict=False):
        centre = points[frame, HIP] if seen[frame, HIP] else 0
        if case["negative_tail"] and not seen[frame].any():
            assert not output.any()
            continue
        np.testing.assert_allclose(output, (points[frame] - centre) * seen[frame][:, None], atol=1e-6)
    if num_frames > size:
        assert chosen[-1] == num_frames - 1 and found[-1].any()  # not the zero frame behind it


def test_a_centre_that_is_not_seen_is_taken_from_the_nearest_frame_before():
    keypoint = np.random.default_rng(0).uniform(0.1, 1, (1, 5, 25, 3)).astype(np.float32)
    keypoint[0, [0, 2, 3], HIP] = 0
    keypoint[0, 4, 3, 2] = 0  # a joint of confidence 0, whatever its place
    found = transforms.center_frames(keypoint, LAYOUT)
    for frame, source in enumerate([1, 1, 1, 1, 4]):
        expected = keypoint[0, frame, 0, :2] - keypoint[0, source, HIP, :2]
        np.testing.assert_allclose(found[0, frame, 0, :2], expected, atol=1e-6)
    assert not found[0, [0, 2, 3], HIP].any() and not found[0, 4, 3, :2].any()
    assert np.array_equal(found[..., 2], keypoint[..., 2])
    nobody = keypoint * np.float32(0)
    assert not transforms.center_frames(nobody, LAYOUT).any()


def test_a_skater_who_jumps_across_the_picture_stays_where_she_is():
    row = np.zeros((3, 40, 25, 1), np.float32)
    body = np.random.default_rng(1).normal(0, 0.1, (2, 1, 25, 1))
    row[:2, :30], row[2, :30] = body, 0.9
    row[0, 12:30] += 0.7  # a cut of the camera
    found = read(row, 350, sampling="auto_padding", normalization="center_frames")
    np.testing.assert_allclose(found[:30], np.broadcast_to(found[0], (30, 25, 2)), atol=1e-6)
    assert not found[30:].any()


def test_of_several_streams_each_loses_its_score():
    row = draw_row(FSD[0])
    arguments = {"sampling": "auto_padding", "normalization": "center_frames", "stream": "joint+bone_motion"}
    without, whole = (read(row, 16, score_channel=keep, **arguments) for keep in (False, True))
    assert np.array_equal(without, whole[..., [0, 1, 3, 4]])


def test_three_coordinates_have_no_score_to_leave_out():
    recording = Recording("a", 0, np.ones((1, 4, 25, 3), np.float32), None, None)
    with pytest.raises(ValueError, match="score_channel is False, expected True: the third channel of .* is z"):
        Skeletons(None, score_channel=False).set_samples("here", [recording])


@pytest.mark.parametrize("case", PIPELINE["cases"], ids=lambda case: str(case["valid_frames"]))
def test_ctrgcn_is_cropped_as_in_paddlevideo(case):
    """Its test pipeline is the authors', which sampling "resize" is; bones and motions are made of the crop."""
    generator = np.random.Generator(np.random.PCG64(case["seed"]))
    values = np.zeros((3, case["frames"], 25, 2), np.float32)
    values[:, : case["valid_frames"]] = generator.standard_normal((3, case["valid_frames"], 25, 2))
    values[:, case["second_person_until"] :, :, 1] = 0
    keypoint = values.transpose(3, 1, 2, 0)
    num_frames = clips.find_used_range(keypoint)[1]
    (start,), length = clips.place_crops(num_frames, case["p_interval"][0])
    crop = clips.crop_and_resize(keypoint, start, length, case["window_size"])
    for name, stream in (("bone", "bone"), ("motion", "joint_motion"), ("bone_motion", "bone_motion")):
        made = streams.make_stream(crop, stream, get_layout("ntu25")).transpose(3, 1, 2, 0)  # (C, T, V, M)
        assert np.linalg.norm(made.astype(np.float64)) == pytest.approx(case[name]["l2"], rel=1e-5)
        np.testing.assert_allclose(made[:, :, 22], case[name]["sample"], rtol=1e-4, atol=2e-6)


def test_the_rotation_is_paddlevideos():
    """It turns the other way round; the angles are drawn evenly from both sides of 0."""
    rotation = PIPELINE["rotation"]
    turned = clips.make_rotation(*(-angle for angle in rotation["angles"]))
    np.testing.assert_allclose(turned, rotation["matrix"], atol=1e-6)


@pytest.mark.parametrize("case", PIPELINE["cases"], ids=lambda case: case["seed"])
def test_the_central_crop_of_ctrgcn_is_theirs(case):
    values = np.random.Generator(np.random.PCG64(case["seed"])).standard_normal((3, case["valid_frames"], 25, 2))
    keypoint = np.zeros((2, case["frames"], 25, 3), np.float32)
    keypoint[:, : case["valid_frames"]] = values.astype(np.float32).transpose(3, 1, 2, 0)
    keypoint[1, case["second_person_until"] :] = 0
    options = {"clip_len": case["window_size"], "crop_ratio": case["p_interval"][0], "normalization": None}
    reader = Skeletons(None, mode="test", sampling="resize", **options)
    reader.set_samples("here", [Recording("a", None, keypoint, None, None, is_checked=True)])
    (view,) = reader[0, 0]["inputs"]["skeleton"]
    expected = np.array(case["crop"], np.float32).transpose(3, 1, 2, 0)
    np.testing.assert_allclose(view, expected, rtol=0, atol=1e-6)
    assert case["joint_given_as_the_word_Fasle"]["equals_crop"]  # so what their bone configs saw were joints
