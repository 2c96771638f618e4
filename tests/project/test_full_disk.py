"""A disk that takes no more: every writer names its file and says what to do, and leaves nothing half-made."""

import errno
import os
import resource
import subprocess
import sys

import cv2
import numpy as np
import pytest
from numbered_videos import write_numbered_video
from paths import ROOT

import avi2jpg
from common.files import dump_pickle, write_atomically
from common.pictures import write_png
from common.processes import write_failures
from dataset import records
from engine import checkpoint, logger, report
from inference import video_io
from reader import skeleton_pkl
from tools import make_samples, shrink_videos

LIMIT = 2000  # bytes that a file may have
NOISE = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)
RESULT = {"names": [f"v_{i:090}" for i in range(40)], "labels": np.zeros(40, int), "scores": np.ones((40, 2))}


@pytest.fixture
def small_files():
    """No file may grow above LIMIT; a full disk cannot be had without rights that tests do not have."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def write_samples_video(path):
    clip = make_samples.Clip("Wave", 0, 1, 1, 0, 8, 96, 64, 25)
    make_samples.write_video([NOISE] * 8, path, clip)


def write_webm(path):
    with video_io.write_webm(str(path), 25.0, 64, 96) as append:
        for number in range(8):
            append(NOISE, number / 25)


def write_text(path):
    with write_atomically(path, "w") as file:
        file.write("x" * 3 * LIMIT)


def unpack_skeletons(path):
    annotation = {"frame_dir": "a", "label": 0, "total_frames": 300, "keypoint": np.ones((1, 300, 17, 2), np.float32)}
    content = {"annotations": [annotation]}
    skeleton_pkl._load, before = lambda path: content, skeleton_pkl._load
    try:
        skeleton_pkl._unpack(str(path), f"{path}.index", [0, 0])
    finally:
        skeleton_pkl._load = before


WRITERS = {
    "checkpoint": lambda path: checkpoint.save_checkpoint(str(path), {"model": {"w": np.ones(LIMIT)}}),
    "score file": lambda path: report.write_scores(str(path), RESULT, ["a", "b"], {}),
    "result.json": lambda path: report.write_result(f"{path}.json", RESULT, ["a", "b"], {}, 1),
    "result.csv": lambda path: report.write_result(f"{path}.csv", RESULT, ["a", "b"], {}, 1),
    "record": lambda path: records.write_record({"video": "v", "label": 0, "frames": [b"\xff" * 3 * LIMIT]}, path),
    "list": lambda path: records.write_list(["x" * 99] * 99, path),
    "pickle": lambda path: dump_pickle(list(range(LIMIT)), path),
    "text": write_text,
    "failed.csv": lambda path: write_failures({"x" * LIMIT: "y" * LIMIT}, path),
    "picture": lambda path: write_png(NOISE, str(path)),
    "frame": lambda path: avi2jpg.write_jpeg(NOISE, str(path), 95),
    "memory-mapped skeletons": unpack_skeletons,
    "drawn video": write_webm,
    "sample video": write_samples_video,
}


@pytest.mark.parametrize("kind", WRITERS)
def test_a_write_that_fails_names_the_file_and_what_to_do(tmp_path, small_files, kind):
    path = tmp_path / "output"
    with pytest.raises(OSError, match="output[^']*' could not be written.*(limit|disk)"):
        WRITERS[kind](path)
    assert [name for name in os.listdir(tmp_path) if kind != "frame"] == []  # which its folder is removed with


def test_a_video_that_cannot_be_scaled_down_names_the_file(tmp_path):
    write_numbered_video(tmp_path / "a.avi", "mjpeg", num_frames=20)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT // 2, before[1]))
    try:
        with pytest.raises(OSError, match="small.mp4' could not be written .*raise the limit"):
            shrink_videos.shrink_video((str(tmp_path / "a.avi"), str(tmp_path / "small.mp4")), 96, 64)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert os.listdir(tmp_path) == ["a.avi"]


def test_a_run_says_once_that_its_log_cannot_be_written_and_goes_on(tmp_path, caplog, monkeypatch):
    log = logger.RunLog(str(tmp_path / "run.jsonl"), str(tmp_path / "vdl"), None)
    log.jsonl_file = "/dev/full"
    log.record(1, 0, loss=1.0)
    log.record(2, 0, loss=1.0)
    expected = "'/dev/full' cannot be written (No space left on device): free some disk space and run again; the run"
    assert [record.message.startswith(expected) for record in caplog.records] == [True]


def test_an_error_of_the_disk_that_nobody_explained_is_explained_at_the_end():
    script = "import errno, os; from common.command_line import run_main\n"
    script += f"def main(): raise OSError({errno.ENOSPC}, os.strerror({errno.ENOSPC}), 'data/x.list')\nrun_main(main)"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.strip() == (
        "OSError: 'data/x.list' could not be written (No space left on device): free some disk space and run again"
    )


def test_the_limit_lets_small_files_through(tmp_path, small_files):
    write_png(cv2.resize(NOISE, (8, 8)), str(tmp_path / "small.png"))
    assert os.listdir(tmp_path) == ["small.png"]
