"""Find key points in videos by MediaPipe Pose: `<Class>/<video>.mp4` gives `<Class>/<video>.json` for skeleton2pkl.py.

    python -m venv poses && poses/bin/pip install mediapipe==0.10.21 av tqdm PyYAML
    poses/bin/python tools/find_poses.py --videos data/mine/videos --out data/mine/keypoints

MediaPipe and Paddle need different versions of the same packages, hence the separate environment (Python 3.10 to 3.12).
This version has its network in the wheel, so nothing is downloaded later. It finds one person a frame. Of the 33
landmarks the 17 of COCO are written, in pixels, with MediaPipe's visibility as score. A second run processes only the
videos that are missing. Videos that cannot be read completely, or show nobody, are listed with the reason in failed.csv
in the folder --out. Exit status: 0 if there are key points to continue with.

predict.py starts it with --stream for live pictures: each frame on standard input is a line `width height` and its RGB
bytes, each answer a line of json on standard output: {"instances": [...]}, the persons as in the files.
"""

import argparse
import importlib
import json
import os
import pathlib
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import BinaryIO

import cv2
import numpy as np

if not __package__:  # run as a script, from any folder: the project's modules are one folder up
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from common.command_line import CommandLine, run_main
from common.files import is_up_to_date, write_atomically
from common.output_lock import only_writer
from common.processes import run_jobs, write_failures
from dataset.media import VIDEO_SUFFIXES
from dataset.records import natural_order
from dataset.video_file import VideoFile

INSTALL = "python -m venv poses && poses/bin/pip install mediapipe==0.10.21 av tqdm PyYAML"
LANDMARKS = [0, 2, 5, 7, 8, *range(11, 17), *range(23, 29)]  # MediaPipe's landmarks in the order of coco17
WHEEL_MODEL = 1  # "full"; "lite" (0) and "heavy" (2) are not in the wheel
FEW_RATIO = 0.5  # a video with a body in fewer of its frames is listed
MAX_LISTED = 5


def parse_arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line; see `python tools/find_poses.py --help`."""
    parser = CommandLine("Find the key points of one person in videos.")
    parser.add_argument("--videos", help="folder of videos, searched to any depth")
    parser.add_argument("--out", help="folder of the json files, in subfolders of the same names")
    parser.add_argument("--stream", action="store_true", help="answer the frames that predict.py sends, instead")
    parser.add_argument("--workers", type=int, default=0, help="processes; 0: one for each core")
    args = parser.parse_args(argv)
    if args.workers < 0:
        parser.error("--workers takes 0 or more")
    missing = [f"--{name}" for name in ("videos", "out") if vars(args)[name] is None]
    if missing and not args.stream:
        parser.error(f"the following arguments are required: {', '.join(missing)}")
    return args


def main(argv: list[str] | None = None) -> int:
    """Process the missing videos, then print in how many frames a body was found."""
    args = parse_arguments(argv)
    load_estimator()  # before the workers are forked: each of them needs it
    if args.stream:
        answer_frames(sys.stdin.buffer, open_answers())
        return 0
    jobs, failed = list_jobs(args.videos, args.out)
    with only_writer(args.out, "--out", own=("**",)):
        return process_videos(args, jobs, failed)


def process_videos(args: argparse.Namespace, jobs: dict[str, tuple[str, str]], failed: dict[str, str]) -> int:
    """Process what is missing of what `list_jobs` listed; return the exit status."""
    missing = {name: job for name, job in jobs.items() if not is_up_to_date(job[1], job[0])}
    print(f"find_poses: {len(jobs)} videos in {args.videos}, {len(missing)} to do", flush=True)
    cv2.setNumThreads(1)  # a worker forked from a process with threads of OpenCV would wait for them forever
    outcomes = run_jobs(find_quietly, missing, args.workers, "find_poses")
    failed.update(outcomes.failed)
    csv_path, num_present = os.path.join(args.out, "failed.csv"), len(jobs) - len(missing)
    write_failures(failed, csv_path)
    num_found, num_frames = (sum(counts) for counts in zip((0, 0), *outcomes.done.values(), strict=True))
    bodies = f" with a body in {num_found} of {num_frames} frames" if outcomes.done else ""
    print(f"find_poses: {len(outcomes.done)} videos done{bodies}, {num_present} were there", end="")
    print(f", {len(failed)} FAILED, see {csv_path}" if failed else "")
    few = {name: counts for name, counts in outcomes.done.items() if counts[0] < FEW_RATIO * counts[1]}
    few = {name: f"a body in only {counts[0]} of {counts[1]} frames" for name, counts in few.items()}
    for reasons in (failed, few):
        for name in sorted(reasons, key=natural_order)[:MAX_LISTED]:
            print(f"  {name}: {reasons[name]}")
    if len(few) > MAX_LISTED:
        print(f"  and {len(few) - MAX_LISTED} more with a body in fewer than half of the frames")
    return 0 if outcomes.done or num_present else 1


def load_estimator() -> ModuleType:
    """Import and return MediaPipe's module of Pose.

    Raises:
        ValueError: MediaPipe is missing, or is a version without the network.
    """
    try:
        return importlib.import_module("mediapipe").solutions.pose
    except (ImportError, AttributeError) as error:
        raise ValueError(
            f"MediaPipe Pose cannot be imported here ({error}); make an environment for it with '{INSTALL}', then run "
            "this script with poses/bin/python"
        ) from error


def list_jobs(videos: str, out: str) -> tuple[dict[str, tuple[str, str]], dict[str, str]]:
    """List the videos below a folder.

    Returns:
        {relative path without suffix: (video, json file to write)}, and {video: reason why it is left out}.

    Raises:
        FileNotFoundError: there are no videos.
    """
    paths = [path for path in pathlib.Path(videos).rglob("*") if path.suffix.lower() in VIDEO_SUFFIXES]
    jobs, failed = {}, {}
    for path in sorted(path for path in paths if path.is_file() and not path.name.startswith(".")):
        name = path.relative_to(videos).with_suffix("").as_posix()
        shown = str(path).encode("utf-8", "backslashreplace").decode()
        if shown != str(path):
            failed[shown] = "its path is not UTF-8 (unzipped with another encoding?); rename it"
        elif name in jobs:
            failed[shown] = f"another video has the same name, '{jobs[name][0]}'; rename one of them"
        else:
            jobs[name] = str(path), os.path.join(out, f"{name}.json")
    if not jobs:
        raise FileNotFoundError(f"no videos ({', '.join(VIDEO_SUFFIXES)}) in '{videos}'; put them at <Class>/<video>")
    return jobs, failed


def find_quietly(job: tuple[str, str]) -> tuple[int, int]:
    """Run `find_poses` in a worker process without the notes that MediaPipe prints for its developers."""
    cv2.setNumThreads(1)
    with open(os.devnull, "wb") as null:
        os.dup2(null.fileno(), 2)  # stderr of MediaPipe's C++ code
    return find_poses(*job)


def find_poses(path: str, target: str) -> tuple[int, int]:
    """Write the key points of a video as json in MMPose's format, with the size of its frames.

    Returns:
        (number of frames with a body, number of frames).

    Raises:
        ValueError: the video cannot be read completely, or no frame has a body.
    """
    frames, size, num_found = [], None, 0
    with load_estimator().Pose(model_complexity=WHEEL_MODEL) as estimator:
        for frame in read_frames(path):
            size = [frame.shape[1], frame.shape[0]]
            instances = find_instances(estimator, cv2.cvtColor(frame, cv2.COLOR_BGR2RGB))
            frames.append({"frame_id": len(frames), "instances": instances})
            num_found += len(instances)
    if not num_found:
        raise ValueError(f"no body in any of its {len(frames)} frames; show one person whole, or leave the video out")
    with write_atomically(target, "w") as file:
        json.dump({"image_size": size, "instance_info": frames}, file)
    return num_found, len(frames)


def find_instances(estimator, frame: np.ndarray) -> list[dict]:
    """Return the persons in a frame, uint8 RGB (H, W, 3): one or none."""
    pose = estimator.process(frame).pose_landmarks
    return [convert_landmarks(pose.landmark, [frame.shape[1], frame.shape[0]])] if pose else []


def open_answers() -> BinaryIO:
    """Return standard output for answers alone; what MediaPipe prints goes to nowhere."""
    answers = os.fdopen(os.dup(1), "wb")
    with open(os.devnull, "wb") as null:
        os.dup2(null.fileno(), 1)
    return answers


def answer_frames(source: BinaryIO, answers: BinaryIO) -> None:
    """Answer frames until there are no more; see the top of this file."""
    with load_estimator().Pose(model_complexity=WHEEL_MODEL) as estimator:
        while line := source.readline():
            width, height = map(int, line.split())
            frame = np.frombuffer(source.read(3 * width * height), np.uint8).reshape(height, width, 3)
            answers.write(json.dumps({"instances": find_instances(estimator, frame)}).encode() + b"\n")
            answers.flush()


def convert_landmarks(landmarks: list, size: list[int]) -> dict:
    """Convert the landmarks of a body, whose x and y are fractions of the frame's size, to MMPose's format."""
    points = np.array([[landmarks[index].x, landmarks[index].y] for index in LANDMARKS]) * size
    scores = [round(landmarks[index].visibility, 4) for index in LANDMARKS]
    return {"keypoints": points.round(2).tolist(), "keypoint_scores": scores}


def read_frames(path: str) -> Iterator[np.ndarray]:
    """Decode a video to upright frames, uint8 (H, W, 3) BGR.

    Raises:
        ValueError: the video cannot be read completely.
    """
    file = VideoFile(path)
    for _, frame in file.decode(range(len(file))):
        yield frame


if __name__ == "__main__":
    run_main(main)
