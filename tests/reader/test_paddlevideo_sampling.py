"""Test clips where PaddleVideo places them, against what its own code computed."""

import json

import numpy as np
import pytest
from paths import GOLDEN_DATA

from reader.sampling import place_clips

CASES = json.loads((GOLDEN_DATA / "paddlevideo_video_sampling.json").read_text())["test"]
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
