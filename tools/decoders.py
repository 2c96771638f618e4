"""Compare video decoders: their speed for a clip in the middle of a file, and whether they return the right frames.

    python tools/decoders.py data/UCF-101

One random clip of each video is read by `dataset/video_file.py`, by OpenCV and, where it is installed, by decord. Speed
is by processor time, which other programs do not affect. A clip is wrong if its frames differ from those that decoding
the whole video from its start gives.
"""

import importlib.util
import pathlib
import random
import sys
import time

import cv2
import numpy as np

if not __package__:  # run as a script, from any folder: the project's modules are one folder up
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from common.command_line import CommandLine, run_main
from dataset.media import VIDEO_SUFFIXES
from dataset.video_file import VideoFile
from tools.measure.tables import format_table

MAX_DIFFERENCE = 2.0  # mean, of 8-bit values: other conversions from YUV differ by less, other frames by more


def read_by_pyav(path: str, indices: list[int]) -> np.ndarray:
    """Read frames by `dataset/video_file.py`; like the other readers return uint8 (T, H, W, 3) BGR."""
    return np.stack([frame for _, frame in VideoFile(path).decode(indices)])


def read_by_opencv(path: str, indices: list[int]) -> np.ndarray:
    """Read consecutive frames by OpenCV, which seeks to the first one."""
    capture = cv2.VideoCapture(path, cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
    capture.set(cv2.CAP_PROP_POS_FRAMES, indices[0])
    frames = [capture.read()[1] for _ in indices]
    return np.stack([frame for frame in frames if frame is not None])


def read_by_decord(path: str, indices: list[int]) -> np.ndarray:
    """Read frames by decord."""
    import decord  # for this comparison only; the project does not need it

    return decord.VideoReader(path, num_threads=1).get_batch(indices).asnumpy()[..., ::-1]


def read_all(path: str) -> np.ndarray:
    """Read all frames of a video."""
    capture, frames = cv2.VideoCapture(path), []
    is_read, frame = capture.read()
    while is_read:
        frames.append(frame)
        is_read, frame = capture.read()
    return np.stack(frames)


def is_wrong(clip: np.ndarray, expected: np.ndarray) -> bool:
    """Return whether a clip has other frames than expected."""
    return clip.shape != expected.shape or float(np.abs(clip.astype(int) - expected).mean()) > MAX_DIFFERENCE


def compare(clips: dict, repeats: int) -> str:
    """Read clips by each decoder; return a Markdown table.

    Args:
        clips: path -> consecutive frame indices.
        repeats: how often all clips are read; the fastest repeat counts.
    """
    readers = {"videofile.py (PyAV)": read_by_pyav, "OpenCV": read_by_opencv}
    if importlib.util.find_spec("decord"):
        readers["decord"] = read_by_decord
    expected = {path: read_all(path)[indices] for path, indices in clips.items()}
    rows = [["read by", "clips/s and core", "wrong clips"]]
    for name, read in readers.items():
        times_s = []
        for _ in range(repeats):
            start_s = time.process_time()
            for path, indices in clips.items():
                read(path, indices)
            times_s.append(time.process_time() - start_s)
        num_wrong = sum(is_wrong(read(path, indices), expected[path]) for path, indices in clips.items())
        rows.append([name, f"{len(clips) / min(times_s):.1f}", f"{num_wrong} of {len(clips)}"])
    return format_table(rows)


def main(argv: list[str] | None = None) -> None:
    """Choose the clips that the command line asks for, and print the table."""
    parser = CommandLine("Compare the speed and the frames of video decoders.")
    parser.add_argument("folder", type=pathlib.Path, help="folder of videos, searched to any depth")
    parser.add_argument("--clip_len", type=int, default=16, help="frames of a clip")
    parser.add_argument("--videos", type=int, default=60, help="number of videos, drawn at random")
    parser.add_argument(
        "--repeats", type=int, default=3, help="how often the clips are read; the fastest repeat counts"
    )
    args = parser.parse_args(argv)
    paths = sorted(str(path) for path in args.folder.rglob("*") if path.suffix.lower() in VIDEO_SUFFIXES)
    if not paths:
        raise ValueError(f"'{args.folder}' holds no videos ({', '.join(VIDEO_SUFFIXES)})")
    cv2.setNumThreads(1)
    rng = random.Random(0)
    clips = {}
    for path in rng.sample(paths, min(args.videos, len(paths))):
        try:
            num_frames = len(VideoFile(path))
            start = rng.randrange(max(1, num_frames - args.clip_len + 1))
            indices = list(range(start, min(num_frames, start + args.clip_len)))
            for read in (read_by_pyav, read_by_opencv):
                read(path, indices)
            read_all(path)[indices]
        except (ValueError, OSError, IndexError, cv2.error) as error:  # a damaged video has no speed
            print(f"decoders: left out: {path}: {error}", file=sys.stderr)
        else:
            clips[path] = indices
    if not clips:
        raise ValueError(f"'{args.folder}': none of the {min(args.videos, len(paths))} videos drawn can be read")
    print(compare(clips, args.repeats))


if __name__ == "__main__":
    run_main(main)
