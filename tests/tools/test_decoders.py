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


def test_a_damaged_video_is_named_and_the_others_are_compared(samples, tmp_path, capsys):
    for name, path in zip("abc", sorted((samples / "UCF-101").rglob("*.avi")), strict=False):
        (tmp_path / f"{name}.avi").write_bytes(path.read_bytes())
    whole = (tmp_path / "b.avi").read_bytes()
    (tmp_path / "b.avi").write_bytes(whole[:200])
    (tmp_path / "d.mp4").write_bytes(b"")
    decoders.main([str(tmp_path), "--clip_len", "4", "--repeats", "1"])
    out, told = capsys.readouterr()
    assert all(row.endswith("| 0 of 2 |") for row in out.splitlines()[2:4])
    assert [line.split(": ")[2] for line in told.splitlines() if line.startswith("decoders: left out")] == sorted(
        [str(tmp_path / "b.avi"), str(tmp_path / "d.mp4")], key=told.index
    )
    for name in "ac":
        (tmp_path / f"{name}.avi").unlink()
    with pytest.raises(ValueError, match="none of the 2 videos drawn can be read"):
        decoders.main([str(tmp_path)])
