"""Time the reading of clips; for `tools/benchmark.py reader`.

The lower bound of a reader of JPEG files is bare decoding: cv2.imdecode of the pictures of the same clips at full size,
their files in memory already, in one thread. It is timed after each repeat of the reader without workers, so that other
load of the machine affects both alike.
"""

import argparse
import pathlib
import time
from collections.abc import Callable

import cv2
import numpy as np

import recipe
from dataset import records
from dataset.media import VIDEO_SUFFIXES
from reader import sampling
from reader.clips import Clips
from reader.frames import VideoFrames, open_video
from reader.loader import Loader
from tools.measure.scripts import run_script
from tools.measure.tables import format_spread
from tools.measure.timing import WARMUP

SAMPLES = {"classes": 4, "groups": 4, "clips": 2, "frames": 100, "width": 320, "height": 240}  # frames as in UCF-101
SMALL_SIZE, SMALL_TITLE = 128, "packed records, short side 128"
NUM_DECODED_CLIPS = 80  # of bare decoding, after each repeat
SKELETON_FLAGS = ("--classes", 4, "--groups", 4, "--frames", 80, "--width", 64, "--height", 48)  # NTU RGB+D: 80 frames


def load_pictures(dataset, num_clips: int) -> list:
    """Load the encoded pictures of training clips of a reader, in the order of its list, which is repeated.

    Returns:
        A list for each clip of uint8 arrays (bytes of the file,); [] if the reader decodes no pictures.
    """
    if not isinstance(dataset, Clips):
        return []
    clips = []
    for index in range(num_clips):
        video = open_video(dataset.entries[index % len(dataset)])
        if isinstance(video.frames, VideoFrames):
            return []
        rng = np.random.default_rng([dataset.seed, 0, index])  # the generator of the reader, for the same frames
        shape = dataset.clip_len, rng, dataset.num_segments, dataset.frame_interval
        frame_indices = np.unique(sampling.sample_clip(len(video.frames), *shape))
        pictures = video.frames.read(frame_indices.tolist())
        clips.append([np.frombuffer(picture.data, np.uint8) for picture in pictures])
    return clips


def time_decoding(clips: list) -> float:
    """Decode the pictures of `load_pictures` once; return clips/s."""
    cv2.setNumThreads(1)
    start_s = time.perf_counter()
    for clip in clips:
        for picture in clip:
            cv2.imdecode(picture, cv2.IMREAD_COLOR)
    return len(clips) / (time.perf_counter() - start_s)


def measure(config: dict, title: str, source: pathlib.Path, args: argparse.Namespace) -> list:
    """Return the row of a list: clips/s of bare decoding and of each number of workers, and the ratio for none."""
    if title == SMALL_TITLE:
        size = max(SMALL_SIZE, config["READER"]["crop_size"])
        config = {**config, "READER": {**config["READER"], "short_size": size}}
    config = {**config, "TRAIN": {**config["TRAIN"], "filelist": str(source)}}
    pictures = load_pictures(recipe.open_loader(config, "TRAIN").dataset, NUM_DECODED_CLIPS)
    decoding_speeds, cells, ratio = [], [], "-"
    for num_workers in args.workers:
        is_compared = pictures and num_workers == 0
        call = (lambda: decoding_speeds.append(time_decoding(pictures))) if is_compared else None
        speeds = time_reading(config, source, num_workers, args, call)
        cells.append(format_spread(speeds, 1))
        if is_compared:
            ratio = format_spread([upper / speed for upper, speed in zip(decoding_speeds, speeds, strict=True)], 2)
    decoding = format_spread(decoding_speeds, 1) if decoding_speeds else "-"
    return [title, decoding, *cells, *([ratio] if 0 in args.workers else [])]


def make_sources(folder: pathlib.Path) -> dict:
    """Make sample data in every format that the reader takes; return {title: list file}."""
    small, small_jpg = folder / "small", folder / "small_jpg"
    make_samples(folder)
    run_script("avi2jpg.py", "--root", folder)
    run_script("jpg2pkl.py", "--root", folder)
    run_script("data_list_gener.py", "--root", folder)
    run_script("avi2jpg.py", "--root", folder, "--short_size", SMALL_SIZE, "--frames", small_jpg)
    pack(folder, folder / "UCF-101_jpg", folder / "packed")
    pack(folder, small_jpg, small)
    sources = {**find_sources(folder, folder), **find_sources(folder / "packed", folder)}
    sources[SMALL_TITLE] = small / "train.list"
    return {title: sources[title] for title in ("records of paths", "packed records", SMALL_TITLE, "video files")}


def make_samples(folder: pathlib.Path) -> None:
    """Make the videos of the sample data."""
    flags = [word for name, value in SAMPLES.items() for word in (f"--{name}", value)]
    run_script("tools/make_samples.py", *flags, "--root", folder)


def pack(folder: pathlib.Path, frames: pathlib.Path, target: pathlib.Path) -> None:
    """Pack the frames of the tree `folder` into records in the folder `target`, with lists of them."""
    folders = [word for mode in ("train", "test") for word in (f"--{mode}", target / mode)]
    lists = [word for mode in ("train", "test", "val") for word in (f"--{mode}_list", target / f"{mode}.list")]
    run_script("jpg2pkl.py", "--root", folder, "--frames", frames, "--pack", *folders)
    run_script("data_list_gener.py", "--root", folder, *folders, *lists)


def find_skeletons(config: dict, root: pathlib.Path) -> dict:
    """Return {title: pkl}: the file of the config, or sample data in its layout, which are made if `root` has none."""
    path = pathlib.Path(config["TRAIN"]["filelist"])
    if path.suffix == ".pkl":
        return {path.name: path}
    path = root / f"{config['READER']['layout']}.pkl"
    if not path.exists():
        run_script("tools/make_samples.py", *SKELETON_FLAGS, "--root", root)
    config["TRAIN"]["split"] = "train1"
    return {f"sample data, {path.name}": path}


def find_sources(root: pathlib.Path, folder: pathlib.Path) -> dict:
    """Return {title: list file} of a tree that the data scripts made; write a list of its videos to `folder`."""
    entries, _ = records.read_list(root / "train.list")
    kind = "frame folders"
    if entries[0].path.endswith(".pkl"):
        frames = records.read_record(entries[0].path)["frames"]
        kind = "packed records" if isinstance(frames[0], bytes) else "records of paths"
    elif entries[0].path.lower().endswith(VIDEO_SUFFIXES):
        kind = "video files"
    sources = {kind: root / "train.list"}
    videos = sorted(path for path in root.glob("UCF-101/*/*") if path.name.lower().endswith(VIDEO_SUFFIXES))
    if videos and kind != "video files":
        sources["video files"] = folder / "videos.list"
        records.write_list([f"{path.resolve()} 0" for path in videos], sources["video files"])
    return sources


def time_reading(
    config: dict, source: pathlib.Path, num_workers: int, args: argparse.Namespace, between: Callable | None = None
) -> list:
    """Return the clips/s of each repeat of reading a list; call `between` after each repeat."""
    batch_size = recipe.device_batch_size(config)
    warmup = WARMUP + 2 * num_workers  # batches: more than the workers prepare before the first one is taken
    num_samples = batch_size * (warmup + args.repeats * args.batches)
    config["TRAIN"]["filelist"] = str(source)
    dataset = recipe.open_loader(config, "TRAIN").dataset
    dataset.subset([index % len(dataset) for index in range(num_samples)])
    batches = iter(Loader(dataset, batch_size, shuffle=True, num_workers=num_workers))
    for _ in range(warmup):
        next(batches)
    speeds = []
    for _ in range(args.repeats):
        start_s = time.perf_counter()
        for _ in range(args.batches):
            next(batches)
        speeds.append(batch_size * args.batches / (time.perf_counter() - start_s))
        if between:
            between()
    return speeds
