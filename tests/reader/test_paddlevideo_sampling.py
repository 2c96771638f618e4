"""Test clips where PaddleVideo places them, against what its own code computed."""

import json

import numpy as np
import pytest
from paths import GOLDEN_DATA

from reader import boxes
from reader.sampling import place_clips, sample_clip

FILE = json.loads((GOLDEN_DATA / "paddlevideo_video_sampling.json").read_text())
CASES = FILE["test"]
BY_FORMAT = {kind: [case for case in CASES if case["format"] == kind] for kind in ("video", "frame")}


def place(case, num_segments, test_clips, num_clips=1):
    places = place_clips(case["frames"], 1, num_clips, num_segments, test_clips=test_clips)
    assert places.shape == (num_clips, num_segments)
    return places.ravel()


@pytest.mark.parametrize("case", BY_FORMAT["video"], ids=lambda case: case["frames"])
def test_places_in_video_files_are_theirs(case):
    assert place(case, 8, "paddlevideo_tsm").tolist() == case["tsm_8"]
    for num_segments in (8, 16):
        assert place(case, num_segments, "paddlevideo_pptsm").tolist() == case[f"pptsm_{num_segments}"]
    one_late = np.array(case["pptsm_dense_8"]) - 1  # they add one to what they count from zero
    assert place(case, 8, "paddlevideo_dense", 10).tolist() == one_late.tolist()


@pytest.mark.parametrize("case", BY_FORMAT["frame"], ids=lambda case: case["frames"])
def test_places_in_pictures_are_theirs(case):
    """Their pictures are counted from one; of videos shorter than the segments PP-TSM names some that do not exist."""
    assert (place(case, 8, "paddlevideo_tsm") + 1).tolist() == case["tsm_8"]
    assert (place(case, 8, "paddlevideo_dense", 10) + 1).tolist() == case["pptsm_dense_8"]
    for num_segments in (8, 16):
        theirs = (np.array(case[f"pptsm_{num_segments}"]) - 1) % case["frames"]
        assert place(case, num_segments, "paddlevideo_pptsm").tolist() == theirs.tolist()


@pytest.mark.parametrize("test_clips", ["paddlevideo_tsm", "paddlevideo_pptsm"])
def test_one_clip_is_all_they_have(test_clips):
    with pytest.raises(ValueError, match=f"num_clips is 2, but test_clips {test_clips} has one; set READER.test_clips"):
        place_clips(100, 1, 2, 8, test_clips=test_clips)


@pytest.mark.parametrize("case", FILE["sizes"], ids=lambda case: "x".join(map(str, case["w_h"])))
def test_sizes_and_the_central_crop_of_tsm_are_theirs(case):
    """PP-TSM's differ: it scales to 341 x 256 whatever the shape, which ours does not (the comment of its config)."""
    width, height = case["w_h"]
    size = boxes.scaled_size(height, width, 256)
    assert list(size[::-1]) == case["tsm_scaled"]
    top, left, *box = boxes.centre_box(*size, 224, 224)
    spare = [width - 224 for width in size[::-1]]  # an odd one they halve up, we down, as MMAction2 does
    assert [left, top] == [
        place - (odd % 2 and place > odd / 2) for place, odd in zip(case["tsm_crop_x_y"], spare, strict=True)
    ]
    assert box == [224, 224]


@pytest.mark.parametrize("case", FILE["train"], ids=lambda case: case["frames"])
def test_training_draws_a_frame_of_each_segment_as_they_do(case):
    """Their generators draw other numbers; the segments are the same where their lengths are whole."""
    for key in ("tsm_8_numpy_seed_11", "pptsm_8_random_seed_11"):
        theirs, num_frames = np.array(case[key]), case["frames"]
        if num_frames % 8 == 0 or num_frames < 8:
            continue
        assert np.all(theirs // (num_frames // 8) == np.arange(8))
    ours = sample_clip(case["frames"], 1, np.random.default_rng(0), num_segments=8)
    edges = np.arange(9) * case["frames"] // 8
    assert np.all((edges[:-1] <= ours) & (ours < np.maximum(edges[1:], edges[:-1] + 1)))


@pytest.mark.parametrize("num_frames", [5, 64, 65, 300])
def test_ten_dense_clips_are_those_of_mmaction2(num_frames):
    """DenseSampleFrames of one frame each, test mode: ten windows of 64 frames, their eight frames, looped."""
    starts = [int(index * max(num_frames - 64, 0) / 9) for index in range(10)]
    theirs = [(start + step) % num_frames for start in starts for step in range(0, 64, 8)]
    assert place({"frames": num_frames}, 8, "paddlevideo_dense", 10).tolist() == theirs
