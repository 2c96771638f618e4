"""Time and memory as the work grows: lists of more and more videos, sets of more and more skeletons, large records.

    python tools/measure/scale.py videos
    python tools/measure/scale.py skeletons --sizes 1000 10000
    python tools/measure/scale.py records --sizes 1 4 --folder /data/scratch

Each size is written, then measured in a process of its own, since the peak memory of a process never falls. A video is
a packed record of a few small pictures; thousands of names share one file, and opening looks at every name. A sample of
skeletons is one body of noise, 80 frames of 25 joints in float32, as long as the average one of NTU RGB+D. Sizes of
records are in GiB; they are read once, from the disk. Opening, and reading by one core, are timed by the processor time
of the process, which other work of the machine disturbs least. Tables are in Markdown; docs/scale.md shows them.
"""

import argparse
import json
import os
import pathlib
import sys
import tempfile
import time
from collections.abc import Callable

if not __package__:  # run as a script, from any folder: the project's modules are two folders up
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent.parent))

from common import command_line

if __name__ == "__main__":
    command_line.start_paddle()

import cv2
import numpy as np

import recipe
from common.files import dump_pickle
from dataset.records import read_record, write_list, write_record
from engine.memory import peak_memory_gib
from reader import build_loader
from reader.loader import Loader
from tools.measure.scripts import run_script
from tools.measure.tables import format_table
from tools.measure.timing import describe_machine

SIZES = {"videos": [1_000, 10_000, 100_000, 240_000], "skeletons": [1_000, 10_000, 56_000, 114_000], "records": [1, 4]}
UNITS = {"videos": "videos in a list", "skeletons": "samples in a pkl", "records": "GiB of records of 16 MiB"}
NAMES_PER_FILE, NAMES_PER_FOLDER = 20_000, 1_000
NUM_FRAMES, FRAME_SHAPE = 8, (64, 80, 3)
BODY_SHAPE = (1, 80, 25, 3)  # persons, frames, joints, coordinates
BATCH_SIZE, NUM_WARMUP = 32, 8  # samples; batches before the clock starts
NUM_WORKERS = 2  # processes that read
FRAME_BYTES, FRAMES_PER_RECORD, RECORDS_PER_GIB = 2**16, 256, 64


def write_videos(folder: pathlib.Path, size: int) -> str:
    """Write `size` records and a list of them; return its path."""
    picture = cv2.imencode(".jpg", np.random.default_rng(0).integers(0, 256, FRAME_SHAPE, np.uint8))[1].tobytes()
    names = [f"{index // NAMES_PER_FOLDER}/{index}.pkl" for index in range(size)]
    for index, name in enumerate(names):
        if index % NAMES_PER_FOLDER == 0:
            (folder / name).parent.mkdir()
        if index % NAMES_PER_FILE == 0:
            first = folder / name
            write_record({"video": "noise", "label": 0, "frames": [picture] * NUM_FRAMES}, first)
        else:
            os.link(first, folder / name)
    write_list(names, folder / "train.list", ["noise"])
    return str(folder / "train.list")


def write_skeletons(folder: pathlib.Path, size: int) -> str:
    """Write a skeleton pkl of `size` samples; return its path."""
    rng, names = np.random.default_rng(0), [f"{index:06d}" for index in range(size)]
    samples = [
        {"frame_dir": name, "label": 0, "total_frames": BODY_SHAPE[1], "keypoint": rng.random(BODY_SHAPE, np.float32)}
        for name in names
    ]
    dump_pickle({"split": {"train": names}, "annotations": samples}, folder / "train.pkl")
    return str(folder / "train.pkl")


def write_records(folder: pathlib.Path, size: int) -> str:
    """Write `size` GiB of records, of bytes that no file system can shrink; return the folder."""
    rng = np.random.default_rng(0)
    for index in range(size * RECORDS_PER_GIB):
        frames = [rng.bytes(FRAME_BYTES) for _ in range(FRAMES_PER_RECORD)]
        write_record({"video": "noise", "label": 0, "frames": frames}, folder / f"{index}.pkl")
    return str(folder)


WRITERS = {"videos": write_videos, "skeletons": write_skeletons, "records": write_records}
READERS = {
    "videos": {"name": "clips", "clip_len": NUM_FRAMES, "crop_size": 64},
    "skeletons": {"name": "skeletons", "split": "train", "clip_len": 64, "num_persons": 1},
}


def measure_opening(path: str, kind: str, num_batches: int) -> dict:
    """Measure opening, and reading by this process and by workers.

    Returns:
        seconds of processor time and peak memory of opening; samples/s of a second of processor time, and by the clock
        of `NUM_WORKERS` processes.
    """
    before_gib, start_s = peak_memory_gib(), time.process_time()
    dataset = build_loader(filelist=path, num_workers=0, **READERS[kind]).dataset
    result = {"seconds": time.process_time() - start_s, "memory_gib": peak_memory_gib() - before_gib}
    by_workers = time_reading(dataset, NUM_WORKERS, num_batches, time.perf_counter)
    return {**result, "speeds": [time_reading(dataset, 0, num_batches, time.process_time), by_workers]}


def time_reading(dataset, num_workers: int, num_batches: int, clock: Callable) -> float:
    """Return the samples/s of `num_batches` batches after the warm-up, or of fewer where the list is shorter."""
    batches = iter(Loader(dataset, BATCH_SIZE, shuffle=True, num_workers=num_workers))
    for _ in range(NUM_WARMUP):
        next(batches)
    start_s, num_samples = clock(), 0
    for batch, _ in zip(batches, range(num_batches), strict=False):
        num_samples += len(batch["labels"])
    return num_samples / (clock() - start_s)


def measure_all(folder: str) -> dict:
    """Measure, in this process: seconds and peak memory of reading all records of a folder once, from the disk."""
    paths = sorted(pathlib.Path(folder).glob("*.pkl"))
    for path in paths:
        drop_from_memory(path)
    before_gib, start_s = peak_memory_gib(), time.perf_counter()
    num_bytes = sum(len(frame) for path in paths for frame in read_record(path)["frames"])
    seconds = time.perf_counter() - start_s
    return {"seconds": seconds, "memory_gib": peak_memory_gib() - before_gib, "speeds": [num_bytes / 2**20 / seconds]}


def drop_from_memory(path: pathlib.Path) -> None:
    """Let the system forget a file's pages, where it can (Linux), so that the next one to read it asks the disk."""
    if sys.platform != "linux":
        return
    with open(path, "rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def measure_sizes(kind: str, sizes: list[int], num_batches: int, folder: str | None) -> str:
    """Write and measure each size; return the table.

    Args:
        kind: a key of `WRITERS`.
        folder: that the files are written below, each size for as long as it is measured; None: the system's.
    """
    opened = ["seconds to open", "peak memory, GiB", "samples/s of a core", f"samples/s, {NUM_WORKERS} processes"]
    rows = [[UNITS[kind], *(["seconds to read", "peak memory, GiB", "MiB/s"] if kind == "records" else opened)]]
    for size in sizes:
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            path = WRITERS[kind](pathlib.Path(scratch), size)
            words = (kind, "--measured", path, "--batches", num_batches)
            result = json.loads(run_script("tools/measure/scale.py", *words).splitlines()[-1])
        cells = [f"{result['seconds']:.2f}", f"{result['memory_gib']:.2f}"]
        rows.append([f"{size:,}", *cells, *(f"{speed:,.0f}" for speed in result["speeds"])])
    return format_table(rows)


def parse_arguments(argv: list | None = None) -> argparse.Namespace:
    """Parse the command line; see `python tools/measure/scale.py --help`."""
    parser = command_line.CommandLine("Measure time and memory of opening and reading more and more samples.")
    parser.add_argument("kind", choices=list(WRITERS), help="what grows")
    parser.add_argument("--sizes", type=int, nargs="+", help="samples, of records GiB; default: those of docs/scale.md")
    parser.add_argument("--folder", help="folder to write to, for a while; default: the system's for temporary files")
    parser.add_argument("--batches", type=int, default=20, help="batches of 32 that are timed")
    parser.add_argument("--measured", help="measure this list, pkl or folder in this process and print json")
    args = parser.parse_args(argv)
    if min(args.batches, *(args.sizes or [1])) < 1:
        parser.error("--sizes and --batches take numbers from 1")
    args.sizes = args.sizes or SIZES[args.kind]
    return args


def main(argv: list | None = None) -> int:
    """Print the table, or of one size that is written already its figures."""
    args = parse_arguments(argv)
    recipe.choose_device(False)
    if args.measured:
        is_opened = args.kind in READERS
        figures = measure_opening(args.measured, args.kind, args.batches) if is_opened else measure_all(args.measured)
        print(json.dumps(figures))
        return 0
    print(f"{describe_machine()}\n\n{measure_sizes(args.kind, args.sizes, args.batches, args.folder)}")
    return 0


if __name__ == "__main__":
    command_line.run_main(main)
