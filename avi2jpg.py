"""Videos to frames: `<Class>/<video>.avi` (any type FFmpeg reads) becomes `<Class>/<video>/00001.jpg ...`.

    python avi2jpg.py                                    data/UCF-101 or data/data*/UCF-101.zip -> data/UCF-101_jpg
    python avi2jpg.py --root data/samples                the sample data of tools/make_samples.py
    python avi2jpg.py --videos my.zip --frames my_jpg --short_size 128
    python avi2jpg.py --flow                             optical flow too: flow_x_00001.jpg, flow_y_00001.jpg ...

A zip file is read as it is: each worker unpacks one video at a time to a temporary file. Frames go to a temporary
folder that is renamed when the video is complete, so a second run does only what is missing. Videos that could not be
read whole are left out and named with the reason in failed.csv in the frames folder. Exit status: 0 if there are frames
to go on with.
"""

import contextlib
import functools
import glob
import json
import os
import shutil
import time
import zipfile
from dataclasses import dataclass

import cv2
import numpy as np

from common.command_line import CommandLine, keep_memory, run_main
from common.files import make_folder, name_unfinished, write_atomically
from common.messages import explain_os_error
from common.output_lock import only_writer
from common.processes import run_jobs, write_failures
from common.text_files import read_settings
from dataset import flow_files, optical_flow
from dataset.media import VIDEO_SUFFIXES, is_video
from dataset.records import list_frames, natural_order
from dataset.splits import VIDEO_HINT
from dataset.video_file import UnreadableVideoError, VideoFile

SETTINGS = {"short_size": int, "fps": (int, float), "quality": int}
UTF8_NAME = 0x800  # flag of a member of a zip file
MAX_EXPANSION = 20  # of a video in a zip file; they are compressed already


@dataclass
class Video:
    """A video file, or a member of the zip file `archive`; `name` is its path with "/" and in its own encoding."""

    archive: str | None
    path: str
    name: str = ""


def parse_flags(argv: list[str] | None):
    """Read the command line."""
    parser = CommandLine("Turn videos into folders of JPEG frames.")
    parser.add_argument("--root", default="data", help="the folder in which all default paths lie")
    parser.add_argument("--videos", help="folder or zip file of <Class>/<video>; default <root>/UCF-101 or .zip")
    parser.add_argument("--frames", help="where frames go; default <root>/UCF-101_jpg")
    parser.add_argument("--short_size", type=int, default=0, help="scale larger frames to this short side, 0: do not")
    parser.add_argument("--fps", type=float, default=0, help="frames per second to keep at most, 0: all")
    parser.add_argument("--quality", type=int, default=90, help="JPEG quality, 1 to 100")
    parser.add_argument(
        "--flow",
        nargs="?",
        const="dis",
        choices=list(optical_flow.METHODS),
        help="write the optical flow of the frames too, by dis (also without a value) or tvl1 (needs opencv-contrib)",
    )
    parser.add_argument("--workers", type=int, default=0, help="processes, 0: one per core")
    args = parser.parse_args(argv)
    if args.short_size < 0 or args.fps < 0 or args.workers < 0 or not 1 <= args.quality <= 100:
        parser.error("--short_size, --fps and --workers take 0 or more, --quality takes 1 to 100")
    args.frames = args.frames or os.path.join(args.root, "UCF-101_jpg")
    return args


def main(argv: list[str] | None = None) -> int:
    """Extract what is missing, then print what was done."""
    args = parse_flags(argv)
    source, videos, failed = find_videos(args.videos, args.root)
    with only_writer(args.frames, "--frames", own=("",)):
        return extract_videos(args, source, videos, failed)


def extract_videos(args, source: str, videos: dict[str, Video], failed: dict[str, str]) -> int:
    """Extract what is missing of what `find_videos` found; return the exit status."""
    settings = {"short_size": args.short_size, "fps": args.fps, "quality": args.quality}
    prepare_frames_folder(args.frames, settings)
    if args.flow:
        optical_flow.make_estimator(args.flow)
        flow_files.prepare_settings(args.frames, args.flow, args.quality)
    missing = {name: video for name, video in videos.items() if not os.path.isdir(os.path.join(args.frames, name))}
    targets = {name: (video, os.path.join(args.frames, name)) for name, video in missing.items()}
    print(f"avi2jpg: {len(videos)} videos in {source}, {len(missing)} to extract to {args.frames}", flush=True)
    cv2.setNumThreads(1)  # a worker forked from a process in which OpenCV has threads would wait for them for ever
    outcomes = run_jobs(functools.partial(extract_video, **settings), targets, args.workers, "avi2jpg")
    failed.update(outcomes.failed)
    if args.flow:
        failed.update(extract_flow(args, [name for name in videos if name not in failed]))
    csv_path = os.path.join(args.frames, "failed.csv")
    write_failures(failed, csv_path)
    num_present = len(videos) - len(missing)
    num_frames = sum(outcomes.done.values())
    print(f"avi2jpg: {len(outcomes.done)} videos extracted ({num_frames} frames), {num_present} were there", end="")
    print(f", {len(failed)} FAILED, see {csv_path}" if failed else "")
    for name in sorted(failed, key=natural_order)[:5]:
        print(f"  {name}: {failed[name]}")
    return 0 if outcomes.done or num_present else 1


def extract_flow(args, names: list[str]) -> dict[str, str]:
    """Write the flow that is missing of the frame folders `names`, and print what was done; return what failed."""
    folders = {name: os.path.join(args.frames, name) for name in names}
    frames = {name: list_frames(folder) for name, folder in folders.items()}
    missing = {name: path for name, path in folders.items() if not flow_files.is_complete(path, len(frames[name]))}
    jobs = {name: (path, frames[name]) for name, path in missing.items()}
    start_s = time.monotonic()
    write = functools.partial(write_flow, method=args.flow, quality=args.quality)
    outcomes = run_jobs(write, jobs, args.workers, "avi2jpg: flow")
    num_fields, seconds = sum(outcomes.done.values()), time.monotonic() - start_s
    rate = f", {num_fields / seconds:.0f} fields a second" if num_fields else ""
    print(
        f"avi2jpg: flow ({args.flow}) of {len(outcomes.done)} videos written ({num_fields} fields{rate}), "
        f"{len(names) - len(missing)} were there"
    )
    return outcomes.failed


def write_flow(job: tuple[str, list[str]], method: str, quality: int) -> int:
    """Write the flow of the frame folder `job[0]`, whose frames are `job[1]`; return the number of fields."""
    keep_memory()
    return flow_files.write_flow(*job, method, functools.partial(write_jpeg, quality=quality))


def find_videos(source: str | None, root: str) -> tuple[str, dict[str, Video], dict[str, str]]:
    """Find the first folder or zip file that holds videos.

    Returns:
        the folder or zip file, videos by `Class/name`, and the reason for each file that cannot be taken.
    Raises:
        FileNotFoundError: no videos anywhere.
        ValueError: `source` is a file but not a whole zip file.
    """
    refused = {}
    for candidate in [source] if source else list_default_sources(root):
        files = list_archive(candidate) if os.path.isfile(candidate) else list_folder(candidate)
        videos, failed = index_videos(files)
        if videos:
            return candidate, videos, failed
        refused = refused or failed
    if refused:
        raise ValueError(f"no <Class>/<video> files: '{min(refused)}' {refused[min(refused)]}")
    default = os.path.join(root, "UCF-101")
    searched = f"'{source}'" if source else f"'{default}' or '{default}.zip'"
    raise FileNotFoundError(f"no <Class>/<video> files ({', '.join(VIDEO_SUFFIXES)}) in {searched}: {VIDEO_HINT}")


def list_default_sources(root: str) -> list[str]:
    """List where UCF-101 may be: unpacked, or as a zip file, which AI Studio mounts at data/data<number>/."""
    sources = [os.path.join(folder, "UCF-101") for folder in (root, os.path.join(root, "data"), "data", "data/data")]
    for folder in (root, "data"):
        mounted = glob.glob(os.path.join(glob.escape(folder), "data*", "UCF-101.zip"))
        sources += [os.path.join(folder, "UCF-101.zip"), *sorted(mounted)]
    return sources


def list_folder(folder: str) -> list[Video]:
    """List the files two levels below a folder, and the videos one and three levels below it."""
    levels = [glob.glob(os.path.join(glob.escape(folder), *"*" * depth)) for depth in (1, 2, 3)]
    paths = [path for path in levels[0] + levels[2] if is_video(os.path.basename(path)) and os.path.isfile(path)]
    return [Video(None, path, os.path.relpath(path, folder).replace(os.sep, "/")) for path in levels[1] + paths]


def list_archive(path: str) -> list[Video]:
    """List the files of a zip file; of a deeper folder the last two levels count."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = {info.filename: decode_name(info) for info in archive.infolist() if not info.is_dir()}
    except zipfile.BadZipFile as error:
        raise ValueError(
            f"'{path}' is no whole zip file ({error}); download it again, or unpack it and name the folder"
        ) from error
    return [Video(path, member, "/".join(name.split("/")[-2:])) for member, name in names.items()]


def decode_name(info: zipfile.ZipInfo) -> str:
    """Return the name of a member of a zip file: UTF-8 or GBK, as a Mac or a Chinese Windows writes it unmarked."""
    name = info.filename
    if not info.flag_bits & UTF8_NAME and not name.isascii():
        data = name.encode("cp437")
        for encoding, common in (("utf-8", "utf-8"), ("gbk", "gb2312")):
            with contextlib.suppress(UnicodeDecodeError):
                decoded = data.decode(encoding)
                if any(letter.encode(common, "ignore") for letter in decoded if not letter.isascii()):
                    return decoded.replace("\\", "/")
    return name.replace("\\", "/")


def index_videos(files: list[Video]) -> tuple[dict[str, Video], dict[str, str]]:
    """Name each video `Class/name`, and print which files are no videos by their names; see `find_videos`."""
    videos, failed, others = {}, {}, []
    for video in sorted(files, key=lambda video: natural_order(video.name)):
        folder, _, file_name = video.name.rpartition("/")
        name = f"{folder}/{os.path.splitext(file_name)[0]}"
        shown = video.path.encode("utf-8", "backslashreplace").decode()
        if file_name.startswith(".") or file_name in ("Thumbs.db", "desktop.ini") or folder in (".", ".."):
            continue
        if not is_video(file_name):
            others += [video.name] if folder and (video.archive or os.path.isfile(video.path)) else []
        elif shown != video.path:
            failed[shown] = "its path is not UTF-8 (unzipped with another encoding?); rename it"
        elif not folder or "/" in folder:
            failed[video.path] = "lies in no folder of a class; --videos names the folder whose folders are the classes"
        elif name in videos:
            failed[video.path] = f"another video has the same class and name, '{videos[name].path}'; rename one of them"
        else:
            videos[name] = video
    if others and videos:
        more = ", ..." if len(others) > 3 else ""
        print(f"avi2jpg: passed over {len(others)} files, no videos by their names: {', '.join(others[:3])}{more}")
    return videos, failed


def prepare_frames_folder(frames: str, settings: dict) -> None:
    """Refuse frames made with other settings, and note those of this run."""
    for origin, made_with in read_all_settings(frames).items():
        if made_with is None:
            raise ValueError(
                f"'{origin}' holds frames that this script did not make; move them away or choose another --frames; "
                "if it made them elsewhere, copy the settings.json of the folder where they were made to this one"
            )
        if made_with != settings:
            flags = " ".join(f"--{key} {value}" for key, value in made_with.items())
            raise ValueError(
                f"'{origin}' holds frames made with {flags}; use these flags, choose another --frames, or delete it"
            )
    with write_atomically(os.path.join(frames, "settings.json"), "w") as file:
        json.dump(settings, file)


def read_all_settings(frames: str) -> dict[str, dict | None]:
    """Return the settings of all frames in a folder, by the folder that they were made in; None where it has none.

    Class folders may be links to those of another frames folder.
    """
    found = {}
    for entry in os.scandir(frames):
        if entry.is_dir() and not entry.name.startswith("."):
            origin = os.path.dirname(os.path.realpath(entry.path)) if entry.is_symlink() else frames
            if origin not in found:
                path = os.path.join(origin, "settings.json")
                found[origin] = read_settings(path, SETTINGS) if os.path.isfile(path) else None
    return found


def extract_video(job: tuple[Video, str], short_size: int, fps: float, quality: int) -> int:
    """Write all frames of a video to the folder `job[1]`, which appears only when complete.

    Returns:
        the number of frames written.
    Raises:
        ValueError: the video cannot be read whole.
    """
    cv2.setNumThreads(1)
    keep_memory()
    video, target = job
    frames = os.path.dirname(os.path.dirname(target))
    temporary = name_unfinished(frames)
    make_folder(temporary)
    try:
        path = unpack_member(video, temporary) if video.archive else video.path
        num_frames = write_frames(path, temporary, short_size, fps, quality)
        if video.archive:
            os.remove(path)
        make_folder(os.path.dirname(target))
        move_frames(temporary, target)
    except UnreadableVideoError as error:  # a member of an archive has its name there only
        raise ValueError(str(error).replace(path, video.path)) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return num_frames


def move_frames(folder: str, target: str) -> None:
    """Give a complete frame folder its name, unless a second run, where no lock is to be had, was first."""
    try:
        os.rename(folder, target)
    except OSError:
        if not os.path.isdir(target):
            raise


def unpack_member(video: Video, folder: str) -> str:
    """Copy one member of a zip file to a file in `folder`."""
    path = os.path.join(folder, "video" + os.path.splitext(video.path)[1])
    archive = open_archive(video.archive, os.getpid())
    info = archive.getinfo(video.path)
    if info.file_size > MAX_EXPANSION * (info.compress_size + 2**20):
        raise ValueError(f"{info.compress_size} bytes would unpack to {info.file_size}, as no video does; remove it")
    try:
        with archive.open(video.path) as member, open(path, "wb") as file:
            shutil.copyfileobj(member, file)
    except OSError as error:
        raise explain_os_error(error, path) from error
    return path


@functools.lru_cache(maxsize=1)
def open_archive(path: str, process_id: int) -> zipfile.ZipFile:
    """Open a zip file once per process: its table of contents is long, and a fork must not share its file position."""
    return zipfile.ZipFile(path)


def write_frames(path: str, folder: str, short_size: int, fps: float, quality: int) -> int:
    """Decode a video to `folder`/00001.jpg ...; see `extract_video`."""
    file = VideoFile(path)
    if fps and not file.fps:
        raise ValueError("the file does not state its frame rate, so --fps cannot be applied")
    frame_ratio = fps / file.fps if fps else 1  # with 1 or more every frame is written
    chosen = [
        number
        for number in range(len(file))
        if not number or int(number * frame_ratio) > int((number - 1) * frame_ratio)
    ]
    for number, (_, frame) in enumerate(file.decode(chosen, check_others=True), 1):
        write_jpeg(scale_frame(frame, short_size), os.path.join(folder, f"{number:05}.jpg"), quality)
    return len(chosen)


def scale_frame(frame: np.ndarray, short_size: int) -> np.ndarray:
    """Scale a larger (H, W, 3) frame down so that its short side is `short_size`; 0 keeps it."""
    height, width = frame.shape[:2]
    ratio = short_size / min(height, width)
    if not 0 < ratio < 1:
        return frame
    return cv2.resize(frame, (round(width * ratio), round(height * ratio)), interpolation=cv2.INTER_AREA)


def write_jpeg(frame: np.ndarray, path: str, quality: int) -> None:
    """Write a frame; cv2.imwrite would not say why it fails, nor take every path on every system."""
    data = cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    try:
        with open(path, "wb") as file:
            file.write(data)
    except OSError as error:
        raise explain_os_error(error, path) from error


if __name__ == "__main__":
    run_main(main)
