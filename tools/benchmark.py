"""Measure how fast clips are read, heat maps drawn, and how fast a network learns and scores, on this machine.

    python tools/benchmark.py reader --workers 0 1 2 4
    python tools/benchmark.py heatmaps
    python tools/benchmark.py model --config configs/resnet.txt --batch_size 8 -o READER.clip_len=16

`reader` makes sample videos with the project's own scripts (`--root` takes a tree of yours) and reads random clips of
their pictures, records and files by the loader that training uses; for skeletons it reads the pkl of the config.
`model` runs the step that training uses, and scoring, on a batch of noise; each in a process of its own, since the peak
memory of a process never falls. `heatmaps` draws those of two bodies that walk. Every figure is the median of several
repeats after a warm-up, with the lowest and the highest of them. Tables are Markdown.
"""

import argparse
import json
import pathlib
import statistics
import sys
import tempfile
import time
from collections.abc import Callable

if not __package__:  # run as a script, from any folder: the project's modules are one folder up
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

import command

if __name__ == "__main__":
    command.start_paddle()

import numpy as np
import paddle

import card
import config as texts
import engine
import recipe
import records
from inputs import change_each, format_shape, take_one
from partition import VIDEO_SUFFIXES
from reader.loader import Loader
from tools import heatmap_speed
from tools.timing import (
    WARMUP,
    build_step,
    count_kernels,
    describe_machine,
    draw_batch,
    format_spread,
    format_table,
    open_training_reader,
    run_script,
    time_calls,
)

NUM_CLASSES = 101  # where the config leaves them to a list
VIDEO_FRAMES = 250  # ten seconds
SAMPLES = {"classes": 4, "groups": 4, "clips": 2, "frames": 100, "width": 320, "height": 240}  # frames as in UCF-101
SKELETON_FLAGS = ("--classes", 4, "--groups", 4, "--frames", 80, "--width", 64, "--height", 48)  # NTU RGB+D: 80 frames


def parse_arguments(words: list) -> argparse.Namespace:
    """Parse the command line; its first word chooses the flags. See `python tools/benchmark.py model --help`."""
    parser = command.CommandLine("Measure the reader, heat maps or a network on this machine; each has its own flags.")
    parser.add_argument("what", choices=list(WHAT), help="what to measure; the first word")
    parser.add_argument("--batch_size", type=int, help="clips a batch")
    if words[:1] != ["heatmaps"]:
        parser.add_argument("--config", help="config text; default: the defaults of everything")
        parser.add_argument("-o", dest="override", action="append", default=[], help="SECTION.key=value, repeatable")
    if words[:1] not in (["model"], ["heatmaps"]):
        parser.add_argument("--root", help="folder with train.list and perhaps UCF-101/; default: sample data")
        parser.add_argument("--workers", type=int, nargs="+", default=[0, 1, 2, 4], help="numbers of reader processes")
        parser.add_argument("--batches", type=int, default=20, help="batches a repeat")
        parser.add_argument("--repeats", type=int, default=3, help="timed repeats, whose median counts")
    if words[:1] == ["model"]:
        parser.add_argument("--model", help="network, a key of models.MODELS")
        parser.add_argument("--measure", choices=list(CALLS), help="measure one thing in this process, print json")
    if words[:1] in (["model"], ["heatmaps"]):
        parser.add_argument("--use_gpu", type=command.parse_bool, help="default: a GPU where there is one")
        parser.add_argument("--batches", type=int, default=5, help="batches a repeat")
        parser.add_argument("--repeats", type=int, default=5, help="timed repeats, whose median counts")
    args = parser.parse_args(words)
    if min(args.repeats, args.batches) < 1 or min(getattr(args, "workers", [0])) < 0:
        parser.error("--repeats and --batches take numbers from 1, --workers from 0")
    return args


def main(words: list | None = None) -> None:
    """Measure what the first word names."""
    words = sys.argv[1:] if words is None else words
    args = parse_arguments(words)
    WHAT[args.what](args, words)


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
    """Print clips/s for each kind of data and each number of workers."""
    config = read_config(args)
    recipe.choose_device(False)
    rows = [["clips/s", *(f"workers: {num_workers}" for num_workers in args.workers)]]
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        if config["READER"]["name"] == "skeletons":
            sources = find_skeletons(config, pathlib.Path(args.root or folder))
        else:
            sources = find_sources(pathlib.Path(args.root), folder) if args.root else make_sources(folder)
        for title, source in sources.items():
            speeds = [time_reading(config, source, num_workers, args) for num_workers in args.workers]
            rows.append([title, *(format_spread(one, 1) for one in speeds)])
    clip = format_shape(open_training_reader(config).input_shape)
    print(f"clips of {clip}, {recipe.device_batch_size(config)} a batch; median of ", end="")
    print(
        f"{args.repeats} x {args.batches} batches (lowest to highest)\n{describe_machine()}\n\n{format_table(rows)}\n"
    )
    print("clips are drawn, cropped and flipped as in training; with no workers one core does it all. The files are in")
    print("memory after the first round, so that no disk is measured")


def make_sources(folder: pathlib.Path) -> dict:
    """Make sample data in every form that is read; return {title: list}."""
    flags = [word for name, value in SAMPLES.items() for word in (f"--{name}", value)]
    packed = folder / "packed"
    places = [word for mode in ("train", "test") for word in (f"--{mode}", packed / mode)]
    lists = [word for mode in ("train", "test", "val") for word in (f"--{mode}_list", packed / f"{mode}.list")]
    run_script("tools/make_samples.py", *flags, "--root", folder)
    run_script("avi2jpg.py", "--root", folder)
    run_script("jpg2pkl.py", "--root", folder)
    run_script("data_list_gener.py", "--root", folder)
    run_script("jpg2pkl.py", "--root", folder, "--pack", *places)
    run_script("data_list_gener.py", "--root", folder, *places, *lists)
    found = {**find_sources(folder, folder), **find_sources(packed, folder)}
    return {title: found[title] for title in ("records of paths", "packed records", "video files")}


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


def time_reading(config: dict, source: pathlib.Path, num_workers: int, args: argparse.Namespace) -> list:
    """Return clips/s of each repeat of reading a list."""
    batch_size = recipe.device_batch_size(config)
    warmup = WARMUP + 2 * num_workers  # batches: as many as stand ready before the first one is asked for, and more
    num_samples = batch_size * (warmup + args.repeats * args.batches)
    config["TRAIN"]["filelist"] = str(source)
    dataset = recipe.open_loader(config, "TRAIN").dataset
    dataset.keep([index % len(dataset) for index in range(num_samples)])
    loader = Loader(dataset, batch_size, shuffle=True, num_workers=num_workers)
    arrivals_s = [time.perf_counter() for _ in loader][warmup - 1 :: args.batches]
    return [batch_size * args.batches / seconds for seconds in np.diff(arrivals_s).tolist()]


def prepare_training(step, inputs: np.ndarray, labels: np.ndarray) -> Callable:
    """Return a call that makes one update; at rate 0, where noise can do no harm and the work is the same."""
    step.begin_epoch()
    return lambda: step(change_each(paddle.to_tensor, inputs), paddle.to_tensor(labels), 0.0, 0)


def prepare_inference(step, inputs: np.ndarray, labels: np.ndarray) -> Callable:
    """Return a call that scores the batch; like an update, it begins with bytes that are not on the device."""
    step.model.eval()

    def score():
        with paddle.no_grad():
            step.model(step.prepare(change_each(paddle.to_tensor, inputs)))

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
    return views, np.zeros(len(take_one(views)), np.int64)


def measure_call(config: dict, name: str, args: argparse.Namespace) -> dict:
    """Measure one of `CALLS` in this process: seconds a call, peak memory, size of the network."""
    before_gib = engine.memory_gib()
    step, reader = build_step(config)
    inputs, labels = (draw_video if name == "test video" else draw_batch)(config, reader)
    call = CALLS[name](step, inputs, labels)
    seconds = time_calls(call, args.batches, args.repeats)
    memory_gib = engine.memory_gib()
    return {
        "num_clips": len(labels),
        "seconds": seconds,
        "num_kernels": count_kernels(call),
        "memory_gib": memory_gib,
        "before_gib": before_gib,
        "num_parameters": card.count_parameters(step.model),
        "num_macs": card.measure_forward(step.model, reader.input_shape).num_macs,
        "clip": format_shape(reader.input_shape),
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


WHAT = {"reader": measure_reader, "model": measure_model, "heatmaps": measure_heatmaps}


if __name__ == "__main__":
    command.run_main(main)
