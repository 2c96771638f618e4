"""Measure how fast clips are read, on this machine; `tools/benchmark.py reader` calls it.

Under any reader of pictures lies bare decoding: the pictures of the same clips, their files in memory already, go
through cv2.imdecode at full size, one after the other in one thread, and nothing is done with them. It is timed after
each repeat of the reader without workers, so that whatever else the machine does meets both.
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
from reader.frames import open_video
from reader.loader import Loader
from tools.measure.timing import WARMUP, format_spread, run_script

SAMPLES = {"classes": 4, "groups": 4, "clips": 2, "frames": 100, "width": 320, "height": 240}  # frames as in UCF-101
SMALL_SIZE, SMALL_TITLE = 128, "packed records, short side 128"
MOST_BARE_CLIPS = 80  # decoded bare after each repeat
SKELETON_FLAGS = ("--classes", 4, "--groups", 4, "--frames", 80, "--width", 64, "--height", 48)  # NTU RGB+D: 80 frames


def load_pictures(dataset, num_clips: int) -> list:
    """Load the encoded pictures of some training clips of a reader, in the order of its list, again and again.

    Returns:
        A list of clips, each a list of uint8 arrays (bytes of the file,); none where the reader decodes no pictures.
    """
    if not isinstance(dataset, Clips):
        return []
    clips = []
    for index in range(num_clips):
        video = open_video(dataset.entries[index % len(dataset)])
        if not isinstance(video.frames, list):
            return []
        rng = np.random.default_rng([dataset.seed, 0, index])  # as the reader draws: the same frames
        shape = dataset.clip_len, rng, dataset.num_segments, dataset.frame_interval
        needed = np.unique(sampling.sample_clip(len(video.frames), *shape))
        clips.append([_load(video.frames[number], video.folder) for number in needed])
    return clips


def _load(frame: str | bytes, folder: str) -> np.ndarray:
    if isinstance(frame, bytes):
        return np.frombuffer(frame, np.uint8)
    return np.fromfile(records.resolve_path(frame, folder), np.uint8)


def time_decoding(clips: list) -> float:
    """Decode the pictures of `load_pictures` once; return clips/s."""
    cv2.setNumThreads(1)
    start_s = time.perf_counter()
    for clip in clips:
        for picture in clip:
            cv2.imdecode(picture, cv2.IMREAD_COLOR)
    return len(clips) / (time.perf_counter() - start_s)


def measure(config: dict, title: str, source: pathlib.Path, args: argparse.Namespace) -> list:
    """Return the row of one list: clips/s of bare decoding and of each number of workers, and a ratio without them."""
    if title == SMALL_TITLE:
        size = max(SMALL_SIZE, config["READER"]["crop_size"])
        config = {**config, "READER": {**config["READER"], "short_size": size}}
    config = {**config, "TRAIN": {**config["TRAIN"], "filelist": str(source)}}
    pictures = load_pictures(recipe.open_loader(config, "TRAIN").dataset, MOST_BARE_CLIPS)
    bare, cells, ratio = [], [], "-"
    for num_workers in args.workers:
        in_turn = pictures and num_workers == 0
        call = (lambda: bare.append(time_decoding(pictures))) if in_turn else None
        speeds = time_reading(config, source, num_workers, args, call)
        cells.append(format_spread(speeds, 1))
        if in_turn:
            ratio = format_spread([floor / speed for floor, speed in zip(bare, speeds, strict=True)], 2)
    return [title, format_spread(bare, 1) if bare else "-", *cells, *([ratio] if 0 in args.workers else [])]


def make_sources(folder: pathlib.Path) -> dict:
    """Make sample data in every form that is read; return {title: list}."""
    small, small_jpg = folder / "small", folder / "small_jpg"
    make_samples(folder)
    run_script("avi2jpg.py", "--root", folder)
    run_script("jpg2pkl.py", "--root", folder)
    run_script("data_list_gener.py", "--root", folder)
    run_script("avi2jpg.py", "--root", folder, "--short_size", SMALL_SIZE, "--frames", small_jpg)
    pack(folder, folder / "UCF-101_jpg", folder / "packed")
    pack(folder, small_jpg, small)
    found = {**find_sources(folder, folder), **find_sources(folder / "packed", folder)}
    found[SMALL_TITLE] = small / "train.list"
    return {title: found[title] for title in ("records of paths", "packed records", SMALL_TITLE, "video files")}


def make_samples(folder: pathlib.Path) -> None:
    """Make the videos of the sample data."""
    flags = [word for name, value in SAMPLES.items() for word in (f"--{name}", value)]
    run_script("tools/make_samples.py", *flags, "--root", folder)


def pack(folder: pathlib.Path, frames: pathlib.Path, place: pathlib.Path) -> None:
    """Make packed records and their lists in the folder `place` of the frames of the tree `folder`."""
    places = [word for mode in ("train", "test") for word in (f"--{mode}", place / mode)]
    lists = [word for mode in ("train", "test", "val") for word in (f"--{mode}_list", place / f"{mode}.list")]
    run_script("jpg2pkl.py", "--root", folder, "--frames", frames, "--pack", *places)
    run_script("data_list_gener.py", "--root", folder, *places, *lists)


def find_skeletons(config: dict, root: pathlib.Path) -> dict:
    """Return {title: pkl}: the file that the config names, or sample data in its layout, made where `root` has none."""
    path = pathlib.Path(config["TRAIN"]["filelist"])
    if path.suffix == ".pkl":
        return {path.name: path}
    path = root / f"{config['READER']['layout']}.pkl"
    if not path.exists():
        run_script("tools/make_samples.py", *SKELETON_FLAGS, "--root", root)
    config["TRAIN"]["split"] = "train1"
    return {f"sample data, {path.name}": path}


def find_sources(root: pathlib.Path, folder: pathlib.Path) -> dict:
    """Return what a tree of the data scripts has, as `make_sources` does; a list of its videos goes to `folder`."""
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
    """Return clips/s of each repeat of reading a list; `between` is called after each repeat."""
    batch_size = recipe.device_batch_size(config)
    warmup = WARMUP + 2 * num_workers  # batches: as many as stand ready before the first one is asked for, and more
    num_samples = batch_size * (warmup + args.repeats * args.batches)
    config["TRAIN"]["filelist"] = str(source)
    dataset = recipe.open_loader(config, "TRAIN").dataset
    dataset.keep([index % len(dataset) for index in range(num_samples)])
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
