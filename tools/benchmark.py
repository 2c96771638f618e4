"""Measure the speed of reading clips, of extracting frames, of drawing heat maps, of training and of inference.

    python tools/benchmark.py reader --workers 0 1 2 4
    python tools/benchmark.py extraction --processes 1 2
    python tools/benchmark.py heatmaps
    python tools/benchmark.py step --models resnet tsm
    python tools/benchmark.py model --config configs/resnet.txt --batch_size 8 -o READER.clip_len=16
    python tools/benchmark.py checkouts --other ../before --models stgcn ctrgcn
    python tools/benchmark.py checkouts --other ../authors --pytorch ../pytorch/bin/python --models ctrgcn

`reader` makes sample videos with the data scripts (`--root` takes a tree of yours) and reads random clips of their
frames, records and video files by the loader of the training, compared with bare decoding; for skeletons it reads the
pkl of the config. `extraction` compares avi2jpg.py with a bare loop of OpenCV and, where it is installed, ffmpeg.
`model` times training and inference on a batch of noise, each in a separate process, since the peak memory of a process
never falls. `step` compares the two backends of a CPU; `checkouts` the skeleton networks of two commits or, with
`--pytorch`, with their authors' code, whose repositories stand in `--other` then. With OMP_NUM_THREADS=1 it goes by
processor time, which other work of the machine disturbs least. `heatmaps` draws the heat maps of two moving bodies. A
figure is the median of several repeats after a warm-up, with the lowest and the highest one. Tables are in Markdown.
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

import recipe
from config import SECTIONS
from engine import memory, run_card
from engine.onednn import NETWORKS, OneDNNNetwork, OneDNNStep
from tools.measure import checkout_speed, extraction_speed, heatmap_speed, reader_speed, step_speed
from tools.measure.launches import count_launches, describe_launches
from tools.measure.scripts import run_script
from tools.measure.tables import format_spread, format_table
from tools.measure.timing import (
    build_step,
    count_kernels,
    describe_machine,
    draw_batch,
    open_training_reader,
    time_calls,
    to_tensors,
)

NUM_CLASSES = 101  # of a config that takes them from a list
VIDEO_FRAMES = 250  # ten seconds


def parse_arguments(argv: list) -> argparse.Namespace:
    """Parse the command line; the first word chooses the flags. See `python tools/benchmark.py model --help`."""
    parser = command_line.CommandLine("Measure speed on this machine; each measurement has its own flags.")
    parser.add_argument("what", choices=list(MEASUREMENTS), help="measurement; the first word")
    what = argv[0] if argv and argv[0] in MEASUREMENTS else "reader"
    accepted = MEASUREMENTS[what][1]
    num_batches = 20 if what == "reader" else 5
    known = list(checkout_speed.SIZES) if what == "checkouts" else NETWORKS
    num_repeats = 3 if what in ("reader", "extraction") else 5
    parser.set_defaults(batches=1, processes=[1], workers=[0], model=None, use_gpu=None)  # where it has no such flag
    for flag, options in {
        "--batch_size": {"type": int, "help": "clips a batch"},
        "--config": {"help": "config text; default: all defaults"},
        "--root": {"help": "folder with train.list, optionally with UCF-101/; default: sample data"},
        "--workers": {"type": int, "nargs": "+", "default": [0, 1, 2, 4], "help": "numbers of reader processes"},
        "--processes": {"type": int, "nargs": "+", "default": [1, 2], "help": "numbers of processes"},
        "--model": {"help": "network, a key of models.MODELS"},
        "--models": {"nargs": "+", "choices": known, "help": "networks; default: all"},
        "--other": {"required": True, "help": "folder of another checkout, as git worktree makes it"},
        "--pytorch": {"help": "a Python that has PyTorch; --other is the folder of the authors' repositories then"},
        "--measure": {"choices": list(CALLS), "help": "time one call in this process and print json"},
        "--use_gpu": {"type": command_line.parse_bool, "help": "default: True if there is a GPU"},
        "--batches": {"type": int, "default": num_batches, "help": "batches a repeat"},
    }.items():
        if flag in accepted:
            parser.add_argument(flag, **options)
    if "--config" in accepted:
        parser.add_argument("-o", dest="overrides", action="append", default=[], help="SECTION.key=value, repeatable")
    parser.add_argument("--repeats", type=int, default=num_repeats, help="timed repeats; the median is printed")
    args = parser.parse_args(argv)
    if min(args.repeats, args.batches, *args.processes) < 1:
        parser.error("--repeats, --batches and --processes take numbers from 1")
    if min(args.workers) < 0:
        parser.error("--workers takes numbers from 0")
    return args


def main(argv: list | None = None) -> None:
    """Run the measurement that the command line names."""
    argv = sys.argv[1:] if argv is None else argv
    args = parse_arguments(argv)
    MEASUREMENTS[args.what][0](args, argv)


def read_config(args: argparse.Namespace) -> dict:
    """Return the resolved config of `--config`, or the default one, overridden by the flags."""
    flags = {
        "MODEL.name": args.model,
        "RUN.use_gpu": args.use_gpu,
        "TRAIN.batch_size": args.batch_size,
    }
    if args.config:
        config = recipe.read_recipe(args.config, flags, args.overrides)[0]
    else:
        empty = {section: {} for section in SECTIONS}
        config = recipe.resolve(recipe.override(empty, flags, args.overrides), "benchmark")
    config["MODEL"].setdefault("num_classes", NUM_CLASSES)
    return config


def measure_reader(args: argparse.Namespace, argv: list) -> None:
    """Print the clips/s of bare decoding and of each number of workers, for each format of the data."""
    config = read_config(args)
    recipe.choose_device(False)
    titles = [f"workers: {num_workers}" for num_workers in args.workers]
    rows = [["clips/s", "bare decoding", *titles, *(["seconds, of bare decoding"] if 0 in args.workers else [])]]
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        if "stream" in config["READER"]:
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
    print("clips are drawn, cropped and flipped as in training; without workers one core does it all. The files are in")
    print(
        "memory after the first round, so that no disk is measured. Bare decoding: the same pictures at full size, one"
    )
    print(f"core, in turn with the reader without workers; '{reader_speed.SMALL_TITLE}' are cut, not scaled")


def prepare_training(step, inputs: dict, labels: np.ndarray) -> Callable:
    """Return a function that makes one update; its learning rate is 0, so that noise does not change the weights."""
    step.begin_epoch()
    return lambda: step(to_tensors(inputs), paddle.to_tensor(labels), 0.0, 0)


def prepare_inference(step, inputs: dict, labels: np.ndarray) -> Callable:
    """Return a function that scores the batch; like an update, it starts from arrays that are not on the device."""
    network = OneDNNNetwork(step.model) if isinstance(step, OneDNNStep) else step.model
    network.eval()

    def score():
        with paddle.no_grad():
            network(*step.prepare(to_tensors(inputs)).values())

    return score


CALLS = {"training": prepare_training, "inference": prepare_inference, "test video": prepare_inference}


def draw_video(config: dict, _) -> tuple:
    """Draw the views of one video of noise as TEST samples them, (views, ...), and a label for each."""
    reader, rng = recipe.open_reader(config), np.random.default_rng(0)
    if config["READER"]["name"] == "clips":
        size = (VIDEO_FRAMES, reader.short_size, reader.short_size * 4 // 3, 3)
        views = reader.make_views(rng.integers(0, 256, size, np.uint8))
    else:
        views = reader.draw_noise(reader.num_views, rng)
    return views, np.zeros(len(next(iter(views.values()))), np.int64)


def measure_call(config: dict, name: str, args: argparse.Namespace) -> dict:
    """Measure one of `CALLS` in this process: seconds of a call, peak memory, size and cost of the network."""
    before_gib = memory.peak_memory_gib()
    step, reader = build_step(config)
    inputs, labels = (draw_video if name == "test video" else draw_batch)(config, reader)
    call = CALLS[name](step, inputs, labels)
    seconds = time_calls(call, args.batches, args.repeats)
    memory_gib = memory.peak_memory_gib()
    launches = {"launches": describe_gpu_launches(config)} if name == "training" else {}
    return {
        **launches,
        "num_clips": len(labels),
        "seconds": seconds,
        "num_kernels": count_kernels(call),
        "memory_gib": memory_gib,
        "before_gib": before_gib,
        "num_parameters": run_card.count_parameters(step.model),
        "num_macs": step.model.measure_cost(reader.input_shape).num_macs,
        "clip": run_card.format_shapes(reader.input_shape),
    }


def describe_gpu_launches(config: dict) -> str:
    """Describe what an update of the dynamic graph, which is what a GPU computes, launches there."""
    step, reader = build_step({**config, "RUN": {**config["RUN"], "cpu_backend": "dynamic"}})
    update = prepare_training(step, *draw_batch(config, reader))
    update()
    return describe_launches(count_launches(update))


def measure_model(args: argparse.Namespace, argv: list) -> None:
    """Print the clips/s of training and inference, the size of the network, and the peak memory."""
    config = read_config(args)
    device = recipe.choose_device(config["RUN"]["use_gpu"])
    if args.measure:
        print(json.dumps(measure_call(config, args.measure, args)))
        return
    unit = "kernels" if device.startswith("gpu") else "operators"
    rows = [["", "clips a call", "clips/s", "ms a call", f"{unit} a call", "peak memory, GiB"]]
    lines = []
    for name in CALLS:
        result = json.loads(run_script("tools/benchmark.py", *argv, "--measure", name).splitlines()[-1])
        speeds, size = [result["num_clips"] / seconds for seconds in result["seconds"]], str(result["num_clips"])
        milliseconds = 1000 * statistics.median(result["seconds"])
        cells = [f"{milliseconds:.0f}", str(result["num_kernels"]), f"{result['memory_gib']:.2f}"]
        rows.append([name, size, format_spread(speeds, 2), *cells])
        lines += [result["launches"]] if "launches" in result else []
    sizes = f"{result['num_parameters'] / 1e6:.2f} M parameters, {result['num_macs'] / 1e9:.2f} GMACs a clip"
    print(f"{config['MODEL']['name']}, {sizes} of {result['clip']}; amp_level ", end="")
    print(f"{config['RUN']['amp_level']}; median of {args.repeats} x {args.batches} calls (lowest to highest)")
    print(f"{describe_machine()}\n\n{format_table(rows)}\n")
    print(f"{1000 / milliseconds:.2f} videos/s, one at a time, all the views of TEST, the network alone")
    owner = "the GPU" if device.startswith("gpu") else "the process"
    print(f"memory of {owner}, {result['before_gib']:.2f} GiB of it before the network is built")
    print("\n".join(lines))


def measure_heatmaps(args: argparse.Namespace, argv: list) -> None:
    """Print the time of drawing the heat maps of a sample, by NumPy and on the device."""
    recipe.choose_device(args.use_gpu)
    heatmap_speed.measure(args.batch_size or 8, args.batches, args.repeats)


def measure_extraction(args: argparse.Namespace, argv: list) -> None:
    """Print the frames/s of avi2jpg.py and of other methods, measured in a process without Paddle."""
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(args.root or folder)
        if not args.root:
            reader_speed.make_samples(root)
        flags = ["--processes", *args.processes, "--repeats", args.repeats]
        results = json.loads(run_script("tools/measure/extraction_speed.py", root, *flags).splitlines()[-1])
    rows = [
        ["frames/s", *(f"processes: {number}" for number in args.processes), "seconds, of the first", "KiB a frame"]
    ]
    bare_speeds = sum(results[extraction_speed.BARE]["speeds"].values(), [])
    for name, result in results.items():
        cells = [format_spread(speeds, 0) for speeds in result["speeds"].values()]
        speeds = sum(result["speeds"].values(), [])
        ratios = [bare / speed for bare, speed in zip(bare_speeds, speeds, strict=True)]
        rows.append([name, *cells, format_spread(ratios, 2), f"{result['size']:.1f}"])
    print(f"median of {args.repeats} repeats (lowest to highest), one thread a process\n{describe_machine()}\n")
    print(f"{format_table(rows)}\n\nthe bare loop reads by OpenCV and writes, nothing else; ffmpeg has -q:v 2")


def measure_step(args: argparse.Namespace, argv: list) -> None:
    """Print the time of an update of each network on a CPU, dynamic and by oneDNN."""
    recipe.choose_device(False)
    step_speed.measure(args.batch_size or 2, args.batches, args.repeats, args.models)


def measure_checkouts(args: argparse.Namespace, argv: list) -> None:
    """Print the time of updates and scores of skeleton networks on a CPU, here and in other code."""
    recipe.choose_device(False)
    checkout_speed.measure(args.other, args.repeats, args.models, args.pytorch)


MEASUREMENTS = {  # first word of the command line -> function, flags
    "reader": (measure_reader, ("--batch_size", "--config", "--root", "--workers", "--batches")),
    "extraction": (measure_extraction, ("--root", "--processes")),
    "model": (measure_model, ("--batch_size", "--config", "--model", "--measure", "--use_gpu", "--batches")),
    "step": (measure_step, ("--batch_size", "--models", "--batches")),
    "checkouts": (measure_checkouts, ("--other", "--pytorch", "--models")),
    "heatmaps": (measure_heatmaps, ("--batch_size", "--use_gpu", "--batches")),
}


if __name__ == "__main__":
    command_line.run_main(main)
