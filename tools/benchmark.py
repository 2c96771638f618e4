"""Measure how fast clips are read, frames extracted, heat maps drawn, and a network learns and scores, on this machine.

    python tools/benchmark.py reader --workers 0 1 2 4
    python tools/benchmark.py extraction --processes 1 2
    python tools/benchmark.py heatmaps
    python tools/benchmark.py step --models resnet tsm
    python tools/benchmark.py model --config configs/resnet.txt --batch_size 8 -o READER.clip_len=16

`reader` makes sample videos with the project's own scripts (`--root` takes a tree of yours) and reads random clips of
their pictures, records and files by the loader that training uses, beside their bare decoding; for skeletons it reads
the pkl of the config. `extraction` sets avi2jpg.py beside a bare loop of OpenCV and, where it is installed, ffmpeg.
`model` runs the step that training uses, and scoring, on a batch of noise; each in a process of its own, since the peak
memory of a process never falls. `step` sets the two kinds of update on a CPU side by side. `heatmaps` draws those of
two bodies that walk. Every figure is the median of several repeats after a warm-up, with the lowest and the highest of
them. Tables are Markdown.
"""

import argparse
import json
import pathlib
import statistics
import sys
import tempfile
from collections.abc import Callable

if not __package__:  # run as a script, from any folder: the project's modules are one folder up
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from common import command_line

if __name__ == "__main__":
    command_line.start_paddle()

import numpy as np
import paddle

import config as texts
import recipe
from engine import memory, run_card
from engine.onednn import NETWORKS
from tools.measure import heatmap_speed, reader_speed, step_speed
from tools.measure.timing import (
    build_step,
    count_kernels,
    describe_machine,
    draw_batch,
    format_spread,
    format_table,
    open_training_reader,
    run_script,
    time_calls,
    to_tensors,
)

NUM_CLASSES = 101  # where the config leaves them to a list
VIDEO_FRAMES = 250  # ten seconds


def parse_arguments(words: list) -> argparse.Namespace:
    """Parse the command line; its first word chooses the flags. See `python tools/benchmark.py model --help`."""
    parser = command_line.CommandLine(
        "Measure reading, extraction, heat maps or a network here; each has its own flags."
    )
    parser.add_argument("what", choices=list(WHAT), help="what to measure; the first word")
    what = words[0] if words and words[0] in WHAT else "reader"
    takes = WHAT[what][1]
    num_batches = 20 if what == "reader" else 5
    num_repeats = 3 if what in ("reader", "extraction") else 5
    for flag, options in {
        "--batch_size": {"type": int, "help": "clips a batch"},
        "--config": {"help": "config text; default: the defaults of everything"},
        "--root": {"help": "folder with train.list and perhaps UCF-101/; default: sample data"},
        "--workers": {"type": int, "nargs": "+", "default": [0, 1, 2, 4], "help": "numbers of reader processes"},
        "--processes": {"type": int, "nargs": "+", "default": [1, 2], "help": "numbers of processes"},
        "--model": {"help": "network, a key of models.MODELS"},
        "--models": {"nargs": "+", "choices": NETWORKS, "help": "networks; default: all"},
        "--measure": {"choices": list(CALLS), "help": "measure one thing in this process, print json"},
        "--use_gpu": {"type": command_line.parse_bool, "help": "default: a GPU where there is one"},
        "--batches": {"type": int, "default": num_batches, "help": "batches a repeat"},
    }.items():
        if flag in takes:
            parser.add_argument(flag, **options)
    if "--config" in takes:
        parser.add_argument("-o", dest="override", action="append", default=[], help="SECTION.key=value, repeatable")
    parser.add_argument("--repeats", type=int, default=num_repeats, help="timed repeats, whose median counts")
    args = parser.parse_args(words)
    if min(args.repeats, getattr(args, "batches", 1), *getattr(args, "processes", [1])) < 1:
        parser.error("--repeats, --batches and --processes take numbers from 1")
    if min(getattr(args, "workers", [0])) < 0:
        parser.error("--workers takes numbers from 0")
    return args


def main(words: list | None = None) -> None:
    """Measure what the first word names."""
    words = sys.argv[1:] if words is None else words
    args = parse_arguments(words)
    WHAT[args.what][0](args, words)


def read_config(args: argparse.Namespace) -> dict:
    """Return the resolved config of `--config`, or of the defaults, with the flags laid over it."""
    flags = {
        "MODEL.name": getattr(args, "model", None),
        "RUN.use_gpu": getattr(args, "use_gpu", None),
        "TRAIN.batch_size": args.batch_size,
    }
    if args.config:
        config = recipe.read_recipe(args.config, flags, args.override)[0]
    else:
        empty = {section: {} for section in texts.SECTIONS}
        config = recipe.resolve(recipe.override(empty, flags, args.override), "benchmark")
    config["MODEL"].setdefault("num_classes", NUM_CLASSES)
    return config


def measure_reader(args: argparse.Namespace, words: list) -> None:
    """Print clips/s for each kind of data: of bare decoding, and of each number of workers."""
    config = read_config(args)
    recipe.choose_device(False)
    titles = [f"workers: {num_workers}" for num_workers in args.workers]
    rows = [["clips/s", "bare decoding", *titles, *(["seconds, of bare decoding"] if 0 in args.workers else [])]]
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        if config["READER"]["name"] == "skeletons":
            sources = reader_speed.find_skeletons(config, pathlib.Path(args.root or folder))
        else:
            root = args.root and pathlib.Path(args.root)
            sources = reader_speed.find_sources(root, folder) if root else reader_speed.make_sources(folder)
        rows += [reader_speed.measure(config, title, source, args) for title, source in sources.items()]
    clip = run_card.format_shapes(open_training_reader(config).input_shape)
    print(f"clips of {clip}, {recipe.device_batch_size(config)} a batch; median of ", end="")
    print(
        f"{args.repeats} x {args.batches} batches (lowest to highest)\n{describe_machine()}\n\n{format_table(rows)}\n"
    )
    print("clips are drawn, cropped and flipped as in training; with no workers one core does it all. The files are in")
    print(
        "memory after the first round, so that no disk is measured. Bare decoding: the same pictures at full size, one"
    )
    print(f"core, in turn with the reader without workers; '{reader_speed.SMALL_TITLE}' are cut, not scaled")


def prepare_training(step, inputs: dict, labels: np.ndarray) -> Callable:
    """Return a call that makes one update; at rate 0, where noise can do no harm and the work is the same."""
    step.begin_epoch()
    return lambda: step(to_tensors(inputs), paddle.to_tensor(labels), 0.0, 0)


def prepare_inference(step, inputs: dict, labels: np.ndarray) -> Callable:
    """Return a call that scores the batch; like an update, it begins with bytes that are not on the device."""
    step.model.eval()

    def score():
        with paddle.no_grad():
            step.model(step.prepare(to_tensors(inputs)))

    return score


CALLS = {"training": prepare_training, "inference": prepare_inference, "test video": prepare_inference}


def draw_video(config: dict, _) -> tuple:
    """Draw the views of one video of noise as TEST takes them, (views, ...), and labels for them."""
    reader, rng = recipe.open_reader(config), np.random.default_rng(0)
    if config["READER"]["name"] == "clips":
        size = (VIDEO_FRAMES, reader.short_size, reader.short_size * 4 // 3, 3)
        views = reader.make_views(rng.integers(0, 256, size, np.uint8))
    else:
        views = reader.draw_noise(reader.num_clips * (1 + getattr(reader, "flip", False)), rng)
    return views, np.zeros(len(next(iter(views.values()))), np.int64)


def measure_call(config: dict, name: str, args: argparse.Namespace) -> dict:
    """Measure one of `CALLS` in this process: seconds a call, peak memory, size of the network."""
    before_gib = memory.peak_memory_gib()
    step, reader = build_step(config)
    inputs, labels = (draw_video if name == "test video" else draw_batch)(config, reader)
    call = CALLS[name](step, inputs, labels)
    seconds = time_calls(call, args.batches, args.repeats)
    memory_gib = memory.peak_memory_gib()
    return {
        "num_clips": len(labels),
        "seconds": seconds,
        "num_kernels": count_kernels(call),
        "memory_gib": memory_gib,
        "before_gib": before_gib,
        "num_parameters": run_card.count_parameters(step.model),
        "num_macs": step.model.measure_cost(reader.input_shape).num_macs,
        "clip": run_card.format_shapes(reader.input_shape),
    }


def measure_model(args: argparse.Namespace, words: list) -> None:
    """Print clips/s of training and inference, the size of the network, and peak memory."""
    config = read_config(args)
    device = recipe.choose_device(config["RUN"]["use_gpu"])
    if args.measure:
        print(json.dumps(measure_call(config, args.measure, args)))
        return
    started = "kernels" if device.startswith("gpu") else "operators"
    rows = [["", "clips a call", "clips/s", "ms a call", f"{started} a call", "peak memory, GiB"]]
    for name in CALLS:
        found = json.loads(run_script("tools/benchmark.py", *words, "--measure", name).splitlines()[-1])
        speeds, size = [found["num_clips"] / seconds for seconds in found["seconds"]], str(found["num_clips"])
        milliseconds = 1000 * statistics.median(found["seconds"])
        cells = [f"{milliseconds:.0f}", str(found["num_kernels"]), f"{found['memory_gib']:.2f}"]
        rows.append([name, size, format_spread(speeds, 2), *cells])
    sizes = f"{found['num_parameters'] / 1e6:.2f} M parameters, {found['num_macs'] / 1e9:.2f} GMACs a clip"
    print(f"{config['MODEL']['name']}, {sizes} of {found['clip']}; amp_level ", end="")
    print(f"{config['RUN']['amp_level']}; median of {args.repeats} x {args.batches} calls (lowest to highest)")
    print(f"{describe_machine()}\n\n{format_table(rows)}\n")
    print(f"{1000 / milliseconds:.2f} videos/s, one at a time, all the views of TEST, the network alone")
    whose = "the GPU" if device.startswith("gpu") else "the process"
    print(f"memory of {whose}, {found['before_gib']:.2f} GiB of it before the network is built")


def measure_heatmaps(args: argparse.Namespace, words: list) -> None:
    """Print how long the heat maps of a sample take, by NumPy and on the device."""
    recipe.choose_device(args.use_gpu)
    heatmap_speed.measure(args.batch_size or 8, args.batches, args.repeats)


def measure_extraction(args: argparse.Namespace, words: list) -> None:
    """Print frames/s of avi2jpg.py and of other ways from videos to frames, measured in a process without Paddle."""
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(args.root or folder)
        if not args.root:
            reader_speed.make_samples(root)
        flags = ["--processes", *args.processes, "--repeats", args.repeats]
        found = json.loads(run_script("tools/measure/extraction_speed.py", root, *flags).splitlines()[-1])
    rows = [
        ["frames/s", *(f"processes: {number}" for number in args.processes), "seconds, of the first", "KiB a frame"]
    ]
    bare = next(iter(found.values()))
    for name, one in found.items():
        cells = [format_spread(speeds, 0) for speeds in one["speeds"].values()]
        speeds = [speed for repeats in one["speeds"].values() for speed in repeats]
        floors = [speed for repeats in bare["speeds"].values() for speed in repeats]
        ratios = [floor / speed for floor, speed in zip(floors, speeds, strict=True)]
        rows.append([name, *cells, format_spread(ratios, 2), f"{one['size']:.1f}"])
    print(f"median of {args.repeats} repeats (lowest to highest), one thread a process\n{describe_machine()}\n")
    print(f"{format_table(rows)}\n\nthe bare loop reads by OpenCV and writes, nothing else; ffmpeg has -q:v 2")


def measure_step(args: argparse.Namespace, words: list) -> None:
    """Print how long an update of each network takes on a CPU, dynamic and by oneDNN."""
    recipe.choose_device(False)
    step_speed.measure(args.batch_size or 2, args.batches, args.repeats, args.models)


WHAT = {  # the first word: what it calls, and its flags
    "reader": (measure_reader, ("--batch_size", "--config", "--root", "--workers", "--batches")),
    "extraction": (measure_extraction, ("--root", "--processes")),
    "model": (measure_model, ("--batch_size", "--config", "--model", "--measure", "--use_gpu", "--batches")),
    "step": (measure_step, ("--batch_size", "--models", "--batches")),
    "heatmaps": (measure_heatmaps, ("--batch_size", "--use_gpu", "--batches")),
}


if __name__ == "__main__":
    command_line.run_main(main)
