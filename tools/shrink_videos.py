"""Make the videos of a folder smaller, frame by frame: NTU RGB+D's 1920 x 1080 .avi become 960 x 540 .mp4 (H.264).

    python tools/shrink_videos.py data/nturgb+d_full --out data/nturgb+d_rgb

Names and folders stay (`S001C001P001R001A001_rgb.mp4`), and so do the frames, their number and their order: each file
is read again before it gets its name, and refused if frame k is not frame k of the video it was made from. So key
points found in the large videos hold for the small ones; the reader `rgbpose` carries them from the size that their
annotation names to that of the frames. Smaller videos keep their size, sound is left out.

A second run makes only what is missing. Videos that cannot be read whole are left out and named with the reason in
failed.csv in the folder of --out. Exit status: 1 if there are any.
"""

import functools
import json
import os
import pathlib
import sys
from collections.abc import Iterator
from fractions import Fraction

import av
import cv2
import numpy as np

if not __package__:  # run as a script, from any folder: the project's modules are one folder up
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from common.command_line import CommandLine, run_main
from common.files import UNFINISHED, make_folder, write_atomically
from common.processes import run_jobs, write_failures
from dataset.media import VIDEO_SUFFIXES
from dataset.records import natural_order
from dataset.video_file import UnreadableVideoError, VideoFile

ENCODER = "libx264"
ENCODING = {"crf": "23", "g": "16"}  # quality; frames in a group of pictures, few: clips take some here and there
USUAL_FPS = 25  # of a file that does not tell its own
GIST_SIZE = (96, 54)  # width and height of the gray pictures by which frames are compared
GIST_PIXELS = GIST_SIZE[0] * GIST_SIZE[1] // 100  # those that differ most count: bodies move, rooms do not
# Of 255. On 20 videos of UCF-101 encoding alone makes up to 15 and 2; a frame's neighbour is mostly 15 farther off.
GIST_FAR = 50  # mean difference of those pixels: not the same frame
GIST_NEARER = 4  # how much nearer a neighbour must be for a frame to count as misplaced


def parse_flags(words: list[str] | None = None):
    """Read the command line."""
    parser = CommandLine("Make the videos of a folder smaller, their frames the same.")
    parser.add_argument("videos", help="folder of videos, however deep")
    parser.add_argument("--out", required=True, help="folder of the small ones")
    parser.add_argument("--width", type=int, default=960, help="pixels at most; the aspect stays")
    parser.add_argument("--height", type=int, default=540, help="pixels at most")
    parser.add_argument("--workers", type=int, default=0, help="processes, 0: one per core")
    flags = parser.parse_args(words)
    if flags.width < 16 or flags.height < 16 or flags.workers < 0:
        parser.error("--width and --height take 16 or more, --workers takes 0 or more")
    return flags


def main(words: list[str] | None = None) -> int:
    """Make what is missing, then say what was done."""
    flags = parse_flags(words)
    check_encoder()
    videos, failed = find_videos(flags.videos, flags.out)
    prepare_folder(flags.out, {"width": flags.width, "height": flags.height})
    targets = {name: (path, os.path.join(flags.out, os.path.splitext(name)[0] + ".mp4")) for name, path in videos}
    missing = {name: job for name, job in targets.items() if not os.path.exists(job[1])}
    print(f"shrink_videos: {len(targets)} videos in {flags.videos}, {len(missing)} to make in {flags.out}", flush=True)
    cv2.setNumThreads(1)  # a worker forked from a process in which OpenCV has threads would wait for them for ever
    shrink = functools.partial(shrink_video, width=flags.width, height=flags.height)
    try:
        outcomes = run_jobs(shrink, missing, flags.workers, "shrink_videos")
    finally:
        remove_unfinished(flags.out)
    failed.update(outcomes.failed)
    csv_path = os.path.join(flags.out, "failed.csv")
    write_failures(failed, csv_path)
    tell(outcomes.done, len(targets) - len(missing), failed, csv_path)
    return 1 if failed else 0


def tell(done: dict, there: int, failed: dict, csv_path: str) -> None:
    """Print what was made, how much smaller it is, and the first videos that failed."""
    before, after, num_frames = (sum(one[place] for one in done.values()) for place in range(3))
    sizes = f", {before / 2**20:.1f} MiB became {after / 2**20:.1f}" if done else ""
    print(f"shrink_videos: {len(done)} videos made ({num_frames} frames{sizes}), {there} were there", end="")
    print(f", {len(failed)} FAILED, see {csv_path}" if failed else "")
    for name in sorted(failed, key=natural_order)[:5]:
        print(f"  {name}: {failed[name]}")


def check_encoder() -> None:
    """Refuse a PyAV that cannot write H.264.

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
        (path below `folder`, path) of each, sorted, and the reason for each that cannot be taken.

    Raises:
        FileNotFoundError: there are none.
        ValueError: one of the folders lies in the other, where a reader would find each video twice.
    """
    places = [os.path.realpath(place) for place in (folder, out)]
    if os.path.commonpath(places) in places:
        raise ValueError(f"'{out}' and '{folder}': one lies in the other; choose an --out beside the folder of videos")
    found = [
        os.path.relpath(os.path.join(place, name), folder)
        for place, _, names in os.walk(folder, followlinks=True)
        for name in names
        if name.lower().endswith(VIDEO_SUFFIXES) and not name.startswith(".")
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
    """Make the folder, and refuse to mix sizes.

    Raises:
        ValueError: it holds videos of another size, or such that this script did not make.
    """
    make_folder(out)
    path = os.path.join(out, "settings.json")
    if any(pathlib.Path(out).rglob("*.mp4")):
        if not os.path.isfile(path):
            raise ValueError(f"'{out}' holds videos that this script did not make; choose another --out")
        with open(path, encoding="utf-8") as file:
            made_with = json.load(file)
        if made_with != settings:
            words = " ".join(f"--{key} {value}" for key, value in made_with.items())
            raise ValueError(f"'{out}' holds videos made with {words}; use these flags, or choose another --out")
    with write_atomically(path, "w") as file:
        json.dump(settings, file)


def remove_unfinished(out: str) -> None:
    """Remove the temporary files that this run or a killed one left."""
    for path in pathlib.Path(out).rglob(UNFINISHED + "*"):
        path.unlink()


def shrink_video(job: tuple[str, str], width: int, height: int) -> tuple[int, int, int]:
    """Write the video `job[0]` to `job[1]`, which appears only when it is complete and checked.

    Returns:
        Bytes before and after, and the number of frames.

    Raises:
        ValueError: the video cannot be read whole, or what was written is not the same frames.
    """
    cv2.setNumThreads(1)
    path, target = job
    try:
        video = VideoFile(path)
        with write_atomically(target) as file:
            gists = write_frames(file, scale_frames(video, width, height), read_fps(path))
            file.flush()
            check_frames(file.name, gists)
    except UnreadableVideoError as error:
        raise ValueError(str(error).removeprefix(f"{path}: ")) from error
    return os.path.getsize(path), os.path.getsize(target), len(gists)


def read_fps(path: str) -> Fraction:
    """Return the frame rate that a file tells, which matters to people who watch it, and to no reader."""
    with av.open(path) as container:
        rate = container.streams.video[0].average_rate
    return Fraction(rate or USUAL_FPS).limit_denominator(1001)


def scale_frames(video: VideoFile, width: int, height: int) -> Iterator[np.ndarray]:
    """Yield the frames of a video, uint8 (H, W, 3) BGR, scaled to fit; both sides even, as H.264 needs them."""
    for _, frame in video.decode(range(len(video))):
        ratio = min(width / frame.shape[1], height / frame.shape[0], 1)
        size = tuple(max(2, 2 * round(side * ratio / 2)) for side in (frame.shape[1], frame.shape[0]))
        yield frame if size == frame.shape[1::-1] else cv2.resize(frame, size, interpolation=cv2.INTER_AREA)


def write_frames(file, frames: Iterator[np.ndarray], fps: Fraction) -> np.ndarray:
    """Write frames to an open file as mp4; return their gists (T, h, w)."""
    gists = []
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream(ENCODER, rate=fps, options=ENCODING)
        stream.codec_context.thread_count = 1  # the workers share the cores already
        stream.pix_fmt = "yuv420p"
        for number, frame in enumerate(frames):
            if number == 0:
                stream.height, stream.width = frame.shape[:2]
            gists.append(take_gist(frame))
            picture = av.VideoFrame.from_ndarray(frame, format="bgr24")
            picture.pts, picture.time_base = number, 1 / fps
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    return np.stack(gists)


def take_gist(frame: np.ndarray) -> np.ndarray:
    """Return a small gray picture of a frame, int16."""
    small = cv2.resize(frame, GIST_SIZE, interpolation=cv2.INTER_AREA)
    return cv2.cvtColor(small, cv2.COLOR_BGR2GRAY).astype(np.int16)


def compare_gists(gists: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return how much each of several gists (T, h, w) differs from another one (h, w): (T,)."""
    differences = np.abs(gists - other).reshape(len(gists), -1)
    return np.sort(differences, axis=1)[:, -GIST_PIXELS:].mean(axis=1)


def check_frames(path: str, gists: np.ndarray) -> None:
    """Refuse a written video whose frames are not those that were given to the encoder, each in its place.

    Args:
        gists: of these frames, (T, h, w).

    Raises:
        ValueError: another number of frames, or the first one that is not where it belongs.
    """
    video = VideoFile(path)
    if len(video) != len(gists):
        raise ValueError(f"{len(video)} frames were written of {len(gists)}; nothing is kept")
    for number, frame in video.decode(range(len(video))):
        first = max(number - 1, 0)
        differences = compare_gists(gists[first : number + 2], take_gist(frame))
        own = differences[number - first]
        if own > min(GIST_FAR, differences.min() + GIST_NEARER):
            raise ValueError(f"frame {number} of {len(gists)} is another one in what was written; nothing is kept")


if __name__ == "__main__":
    run_main(main)
