"""Tests that run side by side leave each other their share of the machine."""

import os
import sys

import av
import pytest
from numbered_videos import ENCODINGS, write_numbered_video


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells how a process is scheduled")
def test_encoders_do_not_keep_a_real_time_priority(tmp_path):
    for name in ("h264.mp4", "av1.mp4"):
        if ENCODINGS[name][0] in av.codecs_available:
            write_numbered_video(tmp_path / name, *ENCODINGS[name], num_frames=2)
    assert os.sched_getscheduler(0) not in (os.SCHED_FIFO, os.SCHED_RR)


def test_the_number_of_threads_is_set_for_this_process_and_the_scripts_it_starts():
    assert int(os.environ["OMP_NUM_THREADS"]) >= 1  # 1, unless whoever runs the tests has set another
