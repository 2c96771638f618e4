"""Worker processes start, and end, in a process in which OpenCV has threads of its own (a notebook, say)."""

import subprocess
import sys

import pytest
from paths import ROOT

THREADS = """
import sys
sys.path[:0] = [{root!r}, {root!r} + "/tests/fixtures"]
import cv2, numpy
picture = numpy.random.default_rng(0).integers(0, 255, (2000, 3000, 3), dtype=numpy.uint8)
for _ in range(3):
    cv2.GaussianBlur(cv2.resize(picture, (999, 777)), (9, 9), 2)
"""
EXTRACT = """
import pathlib, avi2jpg
folder = pathlib.Path("videos/A")
folder.mkdir(parents=True)
for name in "abcd":
    writer = cv2.VideoWriter(str(folder / (name + ".avi")), cv2.VideoWriter_fourcc(*"MJPG"), 25, (640, 480))
    for _ in range(4):
        writer.write(picture[:480, :640])
    writer.release()
avi2jpg.main(["--videos", "videos", "--frames", "frames", "--workers", "2"])
"""
READ = """
import pathlib
from reader import build_loader
from ramp_videos import write_ramps
filelist = write_ramps(pathlib.Path("."), num_videos=8)
loader = build_loader(filelist=filelist, num_workers=2, batch_size=2, clip_len=4, crop_size=16)
print(sum(len(batch["names"]) for batch in loader), "samples")
"""


@pytest.mark.parametrize("program, told", [(EXTRACT, "4 videos extracted (16 frames)"), (READ, "8 samples")])
def test_workers_do_not_wait_for_threads_that_a_fork_left_behind(program, told, tmp_path):
    """OpenCV 4 waits for ever in such a worker; OpenCV 5 does not."""
    text = THREADS.format(root=str(ROOT)) + program
    ran = subprocess.run([sys.executable, "-c", text], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert told in ran.stdout, ran.stderr[-1000:]
