"""tools/decoders.py: the table, and a wrong frame is seen."""

import re

import numpy as np
import pytest

from tools import decoders


def test_the_table_has_a_row_for_each_way(samples, capsys):
    decoders.main([str(samples / "UCF-101"), "--clip_len", "4", "--videos", "3", "--repeats", "1"])
    rows = capsys.readouterr().out.splitlines()
    assert [row.split(" |")[0] for row in rows[2:4]] == ["| videofile.py (PyAV)", "| OpenCV"]
    assert all(re.search(r"\| \d+\.\d \| 0 of 3 \|$", row) for row in rows[2:4])


def test_another_frame_is_wrong(samples):
    path = str(next((samples / "UCF-101").rglob("*.avi")))
    whole = decoders.read_all(path)
    assert len(whole) == 20
    clip = decoders.read_by_pyav(path, [5, 6])
    assert not decoders.is_wrong(clip, whole[[5, 6]])
    assert decoders.is_wrong(clip, whole[[15, 16]])
    assert decoders.is_wrong(clip[:1], whole[[5, 6]])
    np.testing.assert_allclose(decoders.read_by_opencv(path, [5, 6]), whole[[5, 6]], atol=3)


def test_a_folder_without_videos_is_named(tmp_path):
    with pytest.raises(ValueError, match="holds no videos"):
        decoders.main([str(tmp_path)])
