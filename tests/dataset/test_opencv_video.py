"""Videos by OpenCV: what cannot be opened, and when one that could be is cut off."""

import pytest

from dataset.opencv_video import is_truncated, open_video


@pytest.mark.parametrize(
    "num_frames, announced, expected",
    [(89, 100, True), (90, 100, False), (100, 100, False), (8, 10, False), (7, 10, True), (1, 3, False), (0, 0, False)],
)
def test_a_tenth_or_two_frames_may_be_missing(num_frames, announced, expected):
    assert is_truncated(num_frames, announced) is expected


def test_what_is_no_video_is_refused(tmp_path):
    (tmp_path / "x.avi").write_bytes(b"no video")
    with pytest.raises(ValueError, match=r"OpenCV cannot open it \(8 bytes\): cut off, damaged, or no video"):
        open_video(str(tmp_path / "x.avi"))
