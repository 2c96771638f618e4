"""Time the extraction of frames; `tools/benchmark.py extraction` runs it in a process without Paddle.

Each method writes every frame of the same videos to a JPEG file, in worker processes (`common/processes.py`) with one
thread each: avi2jpg.py, a bare loop that reads and writes by OpenCV, and ffmpeg where it is installed. The methods take
turns, so that other load of the machine affects all of them alike.
"""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable

import cv2

if not __package__:  # run as a script, from any folder: the project's modules are one folder up
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

import avi2jpg
from common import lifetime, processes
from common.command_line import CommandLine, run_main
from dataset.media import VIDEO_SUFFIXES

QUALITY = 90  # avi2jpg.py's default
FFMPEG_QUALITY = 2  # on ffmpeg's own scale, 2 (best) to 31


def extract_by_avi2jpg(job: tuple[str, str]) -> int:
    """Extract the video `job[0]` to the folder `job[1]` as avi2jpg.py does; return the number of frames."""
    return avi2jpg.extract_video((avi2jpg.Video(None, job[0]), job[1]), short_size=0, fps=0, quality=QUALITY)


def extract_by_opencv(job: tuple[str, str]) -> int:
    """Read and write each frame by OpenCV, nothing else; see `extract_by_avi2jpg`."""
    cv2.setNumThreads(1)
    path, folder = job
    os.makedirs(folder)
    capture, num_frames = cv2.VideoCapture(path), 0
    is_read, frame = capture.read()
    while is_read:
        num_frames += 1
        cv2.imwrite(f"{folder}/{num_frames:05}.jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
        is_read, frame = capture.read()
    return num_frames


def extract_by_ffmpeg(job: tuple[str, str]) -> int:
    """Extract by ffmpeg, with one thread; see `extract_by_avi2jpg`."""
    path, folder = job
    os.makedirs(folder)
    command = ["ffmpeg", "-loglevel", "error", "-threads", "1", "-i", path]
    command += ["-threads", "1", "-q:v", str(FFMPEG_QUALITY), f"{folder}/%05d.jpg"]
    subprocess.run(lifetime.tie(command), check=True)
    return len(os.listdir(folder))


BARE = "bare loop of OpenCV"
METHODS = {BARE: extract_by_opencv, "avi2jpg.py": extract_by_avi2jpg, "ffmpeg": extract_by_ffmpeg}


def time_extraction(extract: Callable, videos: list, num_processes: int) -> tuple[float, float]:
    """Extract all videos once, to a folder that is removed.

    Returns:
        Frames a second, and KiB a frame.

    Raises:
        ValueError: a video cannot be extracted; the message has the reason.
    """
    with tempfile.TemporaryDirectory() as folder:
        targets = {video: (video, os.path.join(folder, "all", str(index))) for index, video in enumerate(videos)}
        start_s = time.perf_counter()
        outcomes = processes.run_jobs(extract, targets, num_processes, "extraction")
        seconds = time.perf_counter() - start_s
        if outcomes.failed:
            raise ValueError("; ".join(f"{name}: {reason}" for name, reason in outcomes.failed.items()))
        num_frames = sum(outcomes.done.values())
        size = sum(path.stat().st_size for path in pathlib.Path(folder).rglob("*.jpg"))
    return num_frames / seconds, size / num_frames / 1024


def measure(videos: list, processes: list, repeats: int) -> dict:
    """Extract all videos by each method, once to warm up and then `repeats` times.

    Returns:
        Name of a method -> {"speeds": {number of processes: frames a second of each repeat}, "size": KiB a frame}.
    """
    methods = {name: extract for name, extract in METHODS.items() if name != "ffmpeg" or shutil.which("ffmpeg")}
    results = {name: {"speeds": {number: [] for number in processes}} for name in methods}
    for repeat in range(repeats + 1):
        for number in processes:
            for name, extract in methods.items():
                speed, results[name]["size"] = time_extraction(extract, videos, number)
                results[name]["speeds"][number] += [speed] if repeat else []
    return results


def main(argv: list | None = None) -> None:
    """Time the methods; print the result as json, in the last line."""
    parser = CommandLine("Time the extraction of frames; tools/benchmark.py extraction prints a table of it.")
    parser.add_argument("root", type=pathlib.Path, help="folder with UCF-101/<Class>/<video>")
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2], help="numbers of processes")
    parser.add_argument("--repeats", type=int, default=3, help="timed repeats")
    args = parser.parse_args(argv)
    videos = sorted(str(path) for path in args.root.glob("UCF-101/*/*") if path.suffix.lower() in VIDEO_SUFFIXES)
    if not videos:
        raise FileNotFoundError(f"no {args.root}/UCF-101/<Class>/<video> files; name a folder that has them")
    os.environ.setdefault("OPENCV_FFMPEG_THREADS", "1")  # avi2jpg.py decodes with one thread a process too
    print(json.dumps(measure(videos, args.processes, args.repeats)))


if __name__ == "__main__":
    run_main(main)
