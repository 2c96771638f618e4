"""Scale down the videos of a folder: NTU RGB+D's 1920 x 1080 .avi files become 960 x 540 .mp4 files (H.264).

    python tools/shrink_videos.py data/nturgb+d_full --out data/nturgb+d_rgb

Names and folders stay the same (`S001C001P001R001A001_rgb.mp4`), and so do the number and the order of the frames:
each file is read again before it gets its name, and refused if frame k is not frame k of the original. So key points of
the large videos are valid for the small ones; the reader `rgbpose` scales them from the size in their annotation to
that of the frames. Videos that are small already keep their size; sound is dropped. The same video gives the same
bytes each time, with one version of PyAV.

A second run makes only the videos that are missing. Videos that cannot be read completely are left out and listed with
the reason in failed.csv in the folder --out. Exit status: 1 if there are any.
"""

import argparse
import functools
import json
import os
import pathlib
import sys
from collections.abc import Iterator, Sequence
from fractions import Fraction

import av
import cv2
import numpy as np

if not __package__:  # run as a script, from any folder: the project's modules are one folder up
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from common.command_line import CommandLine, run_main
from common.files import is_up_to_date, write_atomically
from common.output_lock import only_writer
from common.processes import run_jobs, write_failures
from common.text_files import read_settings
from dataset.media import VIDEO_SUFFIXES, walk
from dataset.records import natural_order
from dataset.video_file import UnreadableVideoError, VideoFile

ENCODER = "libx264"
# Distance of key frames, small for random access. With `mbtree`, x264's code for AVX-512 reads memory that was never
# written, so that each run would give other bytes.
ENCODING = {"g": "16", "x264-params": "mbtree=0"}
QUALITIES = 25, 15, 1  # x264's crf; the better ones where frames of a tiny picture cannot be told apart otherwise
DEFAULT_FPS = 25  # of a file that does not state it
THUMBNAIL_SIZE = (96, 54)  # width, height of the gray pictures that are compared
NUM_COMPARED_PIXELS = THUMBNAIL_SIZE[0] * THUMBNAIL_SIZE[1] // 100  # those that differ most: bodies move, rooms do not
# Of 255. On 20 videos of UCF-101 encoding causes up to 15 and 2; the next frame mostly differs by 15 more.
MAX_DIFFERENCE = 50  # mean of those pixels, for the same frame
MAX_ADVANTAGE, MAX_RATIO = 4, 2  # by which another frame may be more similar; what moves a little is encoded late


class OtherFrameError(ValueError):
    """A frame that was written is not the one that should have been."""


def parse_arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line; see `python tools/shrink_videos.py --help`."""
    parser = CommandLine("Scale down the videos of a folder, frame by frame.")
    parser.add_argument("videos", help="folder of videos, searched to any depth")
    parser.add_argument("--out", required=True, help="folder of the small videos")
    parser.add_argument("--width", type=int, default=960, help="maximum, in pixels; the aspect ratio is preserved")
    parser.add_argument("--height", type=int, default=540, help="maximum, in pixels")
    parser.add_argument("--workers", type=int, default=0, help="processes; 0: one for each core")
    args = parser.parse_args(argv)
    if args.width < 16 or args.height < 16 or args.workers < 0:
        parser.error("--width and --height take 16 or more, --workers takes 0 or more")
    return args


def main(argv: list[str] | None = None) -> int:
    """Make the missing videos, then print a summary; return exit status 1 if videos failed."""
    args = parse_arguments(argv)
    check_encoder()
    videos, failed = find_videos(args.videos, args.out)
    with only_writer(args.out, "--out", own=("**",)):
        return shrink_videos(args, videos, failed)


def shrink_videos(args: argparse.Namespace, videos: list, failed: dict[str, str]) -> int:
    """Make what is missing of what `find_videos` found; return the exit status."""
    prepare_folder(args.out, {"width": args.width, "height": args.height})
    targets = {name: (path, os.path.join(args.out, os.path.splitext(name)[0] + ".mp4")) for name, path in videos}
    missing = {name: job for name, job in targets.items() if not is_up_to_date(job[1], job[0])}
    print(f"shrink_videos: {len(targets)} videos in {args.videos}, {len(missing)} to make in {args.out}", flush=True)
    cv2.setNumThreads(1)  # a worker forked from a process with threads of OpenCV would wait for them forever
    shrink = functools.partial(shrink_video, width=args.width, height=args.height)
    outcomes = run_jobs(shrink, missing, args.workers, "shrink_videos")
    failed.update(outcomes.failed)
    csv_path = os.path.join(args.out, "failed.csv")
    write_failures(failed, csv_path)
    print_summary(outcomes.done, len(targets) - len(missing), failed, csv_path)
    return 1 if failed else 0


def print_summary(done: dict, num_present: int, failed: dict, csv_path: str) -> None:
    """Print how many videos were made, their sizes, and the first ones that failed.

    Args:
        done: name -> what `shrink_video` returned.
        num_present: number of videos of an earlier run.
        failed: name -> reason.
        csv_path: file that lists all of these.
    """
    before, after, num_frames = (sum(column) for column in zip((0, 0, 0), *done.values(), strict=True))
    sizes = f", {before / 2**20:.1f} MiB became {after / 2**20:.1f}" if done else ""
    print(f"shrink_videos: {len(done)} videos made ({num_frames} frames{sizes}), {num_present} were there", end="")
    print(f", {len(failed)} FAILED, see {csv_path}" if failed else "")
    for name in sorted(failed, key=natural_order)[:5]:
        print(f"  {name}: {failed[name]}")


def check_encoder() -> None:
    """Check that PyAV can write H.264.

    Raises:
        ValueError: it was built without the encoder.
    """
    try:
        av.codec.Codec(ENCODER, "w")
    except ValueError as error:
        raise ValueError(
            f"PyAV {av.__version__} here was built without the H.264 encoder {ENCODER}; install the wheel of PyPI, "
            "which has it: pip install --force-reinstall --only-binary av av"
        ) from error


def find_videos(folder: str, out: str) -> tuple[list, dict[str, str]]:
    """Find the videos below a folder.

    Returns:
        Sorted list of (path relative to `folder`, path), and {path: reason why it is left out}.

    Raises:
        FileNotFoundError: there are no videos.
        ValueError: one of the folders is inside the other, where a reader would find each video twice.
    """
    folders = [os.path.realpath(path) for path in (folder, out)]
    if os.path.commonpath(folders) in folders:
        raise ValueError(f"'{out}' and '{folder}': one lies in the other; choose an --out beside the folder of videos")
    found = [
        os.path.relpath(os.path.join(parent, name), folder)
        for parent, _, names in walk(folder)
        for name in names
        if name.lower().endswith(VIDEO_SUFFIXES)
    ]
    if not found:
        raise FileNotFoundError(f"no videos ({', '.join(VIDEO_SUFFIXES)}) in '{folder}'; name the folder that has them")
    taken, failed = {}, {}
    for name in sorted(found, key=natural_order):
        first = taken.setdefault(os.path.splitext(name)[0], name)
        if first != name:
            failed[name] = f"another video has the same name, '{first}'; rename one of them"
    return [(name, os.path.join(folder, name)) for name in taken.values()], failed


def prepare_folder(out: str, settings: dict) -> None:
    """Write the settings of the videos of a folder.

    Raises:
        ValueError: the folder has videos of other settings, or videos that this script did not make.
    """
    path = os.path.join(out, "settings.json")
    if any(pathlib.Path(out).rglob("*.mp4")):
        if not os.path.isfile(path):
            raise ValueError(
                f"'{out}' holds videos that this script did not make; choose another --out, or if it made them "
                "elsewhere, copy the settings.json of that folder to this one"
            )
        earlier = read_settings(path, {"width": int, "height": int})
        if earlier != settings:
            flags = " ".join(f"--{key} {value}" for key, value in earlier.items())
            raise ValueError(f"'{out}' holds videos made with {flags}; use these flags, or choose another --out")
    with write_atomically(path, "w") as file:
        json.dump(settings, file)


def shrink_video(job: tuple[str, str], width: int, height: int) -> tuple[int, int, int]:
    """Write the video `job[0]` to the file `job[1]`, which exists only when it is complete and checked.

    Returns:
        (bytes of the original, bytes of the new file, number of frames).

    Raises:
        ValueError: the video cannot be read completely, or the written frames are not the same.
    """
    cv2.setNumThreads(1)
    path, target = job
    try:
        video = VideoFile(path)
        for quality in QUALITIES:
            try:
                write_checked(video, target, (width, height), quality)
                break
            except OtherFrameError:
                if quality == QUALITIES[-1]:
                    raise
    except UnreadableVideoError as error:
        raise ValueError(str(error).removeprefix(f"{path}: ")) from error
    return os.path.getsize(path), os.path.getsize(target), len(video)


def write_checked(video: VideoFile, target: str, size: tuple[int, int], quality: int) -> None:
    """Write a video, scaled to fit (width, height), and read it again; see `write_frames` and `check_frames`."""
    with write_atomically(target) as file:
        thumbnails = write_frames(file, scale_frames(video, *size), video.fps, video.times_s, quality)
        file.flush()
        check_frames(file.name, thumbnails)


def scale_frames(video: VideoFile, width: int, height: int) -> Iterator[np.ndarray]:
    """Yield the frames of a video, uint8 (H, W, 3) BGR, scaled to fit; both sides are even, as H.264 requires."""
    for _, frame in video.decode(range(len(video))):
        ratio = min(width / frame.shape[1], height / frame.shape[0], 1)
        size = tuple(max(2, 2 * round(side * ratio / 2)) for side in (frame.shape[1], frame.shape[0]))
        yield frame if size == frame.shape[1::-1] else cv2.resize(frame, size, interpolation=cv2.INTER_AREA)


def write_frames(
    file, frames: Iterator[np.ndarray], fps: float, times_s: Sequence[float] | None, quality: int
) -> np.ndarray:
    """Write frames to an open file as mp4.

    Args:
        fps: frames a second, 0 where it is not known; it matters to players, not to readers.
        times_s: when each frame is shown; None where the rate is constant.
        quality: x264's crf.

    Returns:
        Their thumbnails (T, h, w).
    """
    thumbnails, rate = [], Fraction(fps or DEFAULT_FPS).limit_denominator(1001)
    time_base = Fraction(1, 90000) if times_s else 1 / rate
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream(ENCODER, rate=rate, options={**ENCODING, "crf": str(quality)})
        stream.codec_context.time_base = time_base
        stream.codec_context.thread_count = 1  # the workers share the cores already
        stream.pix_fmt = "yuv420p"
        for number, frame in enumerate(frames):
            if number == 0:
                stream.height, stream.width = frame.shape[:2]
            thumbnails.append(make_thumbnail(frame))
            picture = av.VideoFrame.from_ndarray(frame, format="bgr24")
            picture.pts, picture.time_base = round(times_s[number] / time_base) if times_s else number, time_base
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    return np.stack(thumbnails)


def make_thumbnail(frame: np.ndarray) -> np.ndarray:
    """Return a small gray picture of a frame, int16."""
    small = cv2.resize(frame, THUMBNAIL_SIZE, interpolation=cv2.INTER_AREA)
    return cv2.cvtColor(small, cv2.COLOR_BGR2GRAY).astype(np.int16)


def compare_thumbnails(thumbnails: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return the difference of each of some thumbnails (T, h, w) from another one (h, w): (T,)."""
    differences = np.abs(thumbnails - other).reshape(len(thumbnails), -1)
    return np.sort(differences, axis=1)[:, -NUM_COMPARED_PIXELS:].mean(axis=1)


def check_frames(path: str, thumbnails: np.ndarray) -> None:
    """Check that the frames of a written video are those that the encoder got, in the same order.

    Args:
        path: the video.
        thumbnails: of the frames that the encoder got, (T, h, w).

    Raises:
        OtherFrameError: the number of frames differs, or a frame is another one.
    """
    video = VideoFile(path)
    if len(video) != len(thumbnails):
        raise OtherFrameError(f"{len(video)} frames were written of {len(thumbnails)}; nothing is kept")
    for number, frame in video.decode(range(len(video))):
        first = max(number - 1, 0)
        differences = compare_thumbnails(thumbnails[first : number + 2], make_thumbnail(frame))
        least = differences.min()
        if differences[number - first] > min(MAX_DIFFERENCE, max(least + MAX_ADVANTAGE, MAX_RATIO * least)):
            raise OtherFrameError(
                f"frame {number} of {len(thumbnails)} is another one in what was written; nothing is kept"
            )


if __name__ == "__main__":
    run_main(main)
