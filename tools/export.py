"""Export a trained network for Paddle Inference, and compare the export with the original.

    python tools/export.py --weights checkpoints_models/resnet_model --out output/exported
    python predict.py --exported output/exported --input video.avi
    python tools/export.py --weights checkpoints_models/resnet_model --slim --out output/resnet_slim

The folder has the static network, its weights and a description (see inference/exported_model.py). The batch size is
free; the shape of a clip is that of the config, since another one would be another protocol, with another accuracy.
Networks of heat maps take the maps, and the description says how they are drawn, which predict.py --exported does.
With `--onnx` the folder also has inference.onnx, checked with ONNX Runtime; for skeletons it takes clips of any number
of frames. Where paddle2onnx does not know an operator of a network, the tool says so, and the Paddle export stays.
"""

import argparse
import contextlib
import os
import pathlib
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator

if not __package__:  # run as a script, from any folder: the project's modules are one folder up
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from common import command_line

if __name__ == "__main__":
    os.environ.setdefault("GLOG_minloglevel", "2")  # Paddle's notes during tracing are for its developers
    command_line.start_paddle()

import numpy as np
import paddle

import predict
import recipe
from common import files
from common.output_lock import only_maker
from engine import checkpoint
from inference import exported_model
from models.parts.action_model import ActionModel
from tools.exports.onnx_network import free_frames, import_onnx, lengthen, write_onnx
from tools.exports.static_network import describe_heads, describe_inputs, save_static

# Largest difference relative to the largest logit; half of it for oneDNN, since other clips may differ more than noise.
TOLERANCE, ONEDNN_TOLERANCE, ONNX_TOLERANCE = 1e-5, 5e-6, 1e-4
BATCHES = (1, 3)  # clips
# What predict.py takes, by the name of the network's reader.
EXAMPLES = {
    "clips": "video.avi",
    "skeletons": "skeletons.pkl",
    "timed_skeletons": "skeletons.pkl",
    "heatmaps": "poses.pkl",
    "rgbpose": "video.avi --poses poses.pkl",
}
# Keys of READER and TEST that concern training and loading, not the input of the network.
EXCLUDED_KEYS = ("filelist", "augment", "crop", "flip_ratio", "color_jitter", "erasing_ratio")
EXCLUDED_KEYS += ("intra_ratio", "augmentations", "dropped_joints", "inter_ratio")
EXCLUDED_KEYS += ("batch_size", "num_workers", "drop_last", "use_shared_memory")


def parse_arguments(argv: list | None = None) -> argparse.Namespace:
    """Parse the command line; see `python tools/export.py --help`."""
    parser = command_line.CommandLine("Export a trained network for Paddle Inference.")
    weights = parser.add_mutually_exclusive_group()
    weights.add_argument("checkpoint", nargs="?", help="the same as --weights")
    weights.add_argument("--weights", default="checkpoints_models/resnet_model", help="with or without .pdparams")
    parser.add_argument("--out", default="output/exported", help="folder to write; replaces an earlier export")
    parser.add_argument("--onnx", action="store_true", help="write inference.onnx too; needs paddle2onnx, onnxruntime")
    slim_help = "write a checkpoint for test.py and predict.py alone instead: weights without the training's state"
    parser.add_argument("--slim", action="store_true", help=slim_help)
    float16_help = "with --slim: store matrices and kernels in half the space, rounded to float16"
    parser.add_argument("--float16", action="store_true", help=float16_help)
    args = parser.parse_args(argv)
    args.weights = args.checkpoint or args.weights
    if args.slim and args.onnx:
        parser.error("--slim writes a checkpoint, --onnx an exported network; leave out one")
    if args.float16 and not args.slim:
        parser.error("--float16 is for --slim; an exported network keeps float32")
    return args


def main(argv: list | None = None) -> None:
    """Export the checkpoint that the command line names, and print how much the export differs from it."""
    args = parse_arguments(argv)
    if args.slim:
        write_slim(args.weights, args.out, args.float16)
        return
    onnx = import_onnx() if args.onnx else None
    recipe.choose_device(use_gpu=False)  # the files are the same, and a GPU may round by more than the tolerance
    network, state = predict.open_weights(args.weights, lambda model, _: model)
    reader, rng = recipe.open_reader(state["config"]), np.random.default_rng(0)
    samples = [reader.draw_noise(size, rng) for size in BATCHES]
    expected, dynamic_s = run_timed(network, [list(sample.values()) for sample in samples])
    print(f"dynamic: {BATCHES[-1]} clips in {dynamic_s:.3f} s")
    prepare_drawn = reader.prepare.keep(exported_model.DRAWN_INPUTS)
    batches = [[np.asarray(tensor) for tensor in prepare_drawn(sample).values()] for sample in samples]
    with write_folder(args.out) as folder:
        inputs = describe_inputs(reader, batches[0])
        outputs = save_static(network, reader, inputs, folder)
        description = {**describe(args.weights, state, inputs, folder), **describe_heads(network, outputs, reader)}
        write_description(description, folder, batches, expected)
        fault = export_onnx(onnx, network, reader, folder, batches, expected) if onnx else None
    shapes = " and ".join(str(each["shape"][1:]) for each in inputs)
    print(f"{args.out}: {state['config']['MODEL']['name']} of {args.weights}, clips of {shapes}")
    print(f"next: python predict.py --exported {args.out} --input {EXAMPLES[state['config']['READER']['name']]}")
    if fault:
        raise ValueError(
            f"--onnx: {state['config']['MODEL']['name']} was not converted: {fault}; the Paddle export in '{args.out}' "
            "is whole, use that, or try another version of paddle2onnx"
        )


def write_slim(weights: str, out: str, is_float16: bool) -> None:
    """Write the checkpoint `out`, which has of `weights` what test.py and predict.py need.

    Args:
        is_float16: see `checkpoint.make_slim`.

    Raises:
        ValueError: `out` is `weights` or what a run goes on from, which would be lost, or the file has no config.
    """
    paths = [name.removesuffix(checkpoint.SUFFIX) + checkpoint.SUFFIX for name in (weights, out)]
    if checkpoint.are_same(weights, out):
        raise ValueError(f"--out {out} is the checkpoint itself, which its run goes on from; choose another name")
    state = checkpoint.load_checkpoint(weights)
    checkpoint.refuse_run(out, "--out")
    if "config" not in state:
        raise ValueError(f"'{weights}' holds weights only, so there is nothing to leave out")
    checkpoint.save_checkpoint(paths[1], checkpoint.make_slim(state, is_float16))
    sizes = [os.path.getsize(path) / 2**20 for path in paths]
    print(f"{paths[1]}: {sizes[1]:.1f} MiB of the {sizes[0]:.1f} of {paths[0]}; no run can go on from it")
    print(f"next: python test.py --weights {out}")


def run_timed(network: ActionModel, batches: list) -> tuple:
    """Return the logits (NumPy) of each head for each batch, and the seconds that the last batch takes."""

    def run(batch):
        return [np.asarray(logits) for logits in network.name_outputs(network(*batch)).values()]

    with paddle.no_grad():
        logits = [head for batch in batches for head in run(batch)]
        start_s = time.perf_counter()  # the first run of a shape includes its preparation
        run(batches[-1])
    return logits, time.perf_counter() - start_s


@contextlib.contextmanager
def write_folder(path: str) -> Iterator[str]:
    """Make a temporary folder that replaces the folder `path` when the context ends without an error.

    Yields:
        Path of the temporary folder.

    Raises:
        ValueError: `path` is a file, or has files that are not of an export.
        OSError: the folder cannot be written.
    """
    target = os.path.realpath(path)  # a symbolic link is not replaced
    if os.path.isfile(target):
        raise ValueError(f"--out {path} is a file; name a folder")
    names = os.listdir(target) if os.path.isdir(target) else []
    others = sorted(name for name in names if not name.startswith(f"{exported_model.STEM}."))
    if others:
        raise ValueError(f"--out {path} holds what is of no export, such as '{others[0]}'; name another folder")
    with only_maker(target, "--out"):
        yield from _make_folder(target)


def _make_folder(target: str) -> Iterator[str]:
    """Make a temporary folder, and let it replace the folder `target` when the caller is done with it."""
    parent = os.path.dirname(target)
    files.remove_unfinished(parent)
    temporary = files.name_unfinished(parent)
    files.make_folder(temporary)
    try:
        yield temporary
        if os.path.isdir(target):
            os.rename(target, f"{temporary}-old")
        os.rename(temporary, target)
        shutil.rmtree(f"{temporary}-old", ignore_errors=True)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def describe(weights: str, state: dict, inputs: list, folder: str) -> dict:
    """Return the content of `inference.yaml`: what an application needs to know, and checksums of the files."""
    config = state["config"]
    reader = {key: value for key, value in {**config["READER"], **config["TEST"]}.items() if key not in EXCLUDED_KEYS}
    run = {"average_clips": config["RUN"]["average_clips"]}
    return {
        "checkpoint": weights,
        "epoch": state["epoch"] - 1 if "epoch" in state else None,
        "trained_on": state.get("data", {}).get("TRAIN"),
        "paddle": paddle.__version__,
        "onednn": True,
        "checksums": exported_model.find_checksums(folder),
        "input": inputs[0] if len(inputs) == 1 else inputs,
        "config": {"MODEL": config["MODEL"], "READER": reader, "TEST": {}, "RUN": run},
        "class_names": list(state["class_names"]),
    }


def write_description(description: dict, folder: str, batches: list, expected: list) -> None:
    """Write `inference.yaml`; enable oneDNN in it if the export computes the expected logits with oneDNN.

    Raises:
        ValueError: the logits differ without oneDNN too.
    """
    for onednn, tolerance in ((True, ONEDNN_TOLERANCE), (False, TOLERANCE)):
        with files.write_atomically(os.path.join(folder, f"{exported_model.STEM}.yaml"), "w") as file:
            file.write(exported_model.format_description({**description, "onednn": onednn}))
        name = f"Paddle Inference {'with' if onednn else 'without'} oneDNN"
        try:
            difference = compare(name, exported_model.ExportedModel(folder), batches, expected)
        except (ValueError, RuntimeError) as error:  # oneDNN does not support an operator of some networks
            if not onednn:
                raise
            print(f"{name}: cannot run this network ({str(error).strip().splitlines()[-1].strip()}); it is left out")
            continue
        if difference <= tolerance:
            return
    check_difference(difference, tolerance)


def compare(name: str, network: ActionModel, batches: list, expected: list) -> float:
    """Print and return the largest difference of two networks, relative to the largest logit of a head."""
    logits, seconds = run_timed(network, batches)
    pairs = zip(logits, expected, strict=True)
    difference = np.max([np.abs(ours - theirs).max() / np.abs(theirs).max() for ours, theirs in pairs])
    print(f"{name}: {BATCHES[-1]} clips in {seconds:.3f} s, differs by {difference:.1e} of the largest logit")
    return float(difference)


def check_difference(difference: float, tolerance: float) -> None:
    """Raise ValueError if `difference` exceeds `tolerance` or is nan."""
    if not difference <= tolerance:
        raise ValueError(
            f"the exported network differs from the dynamic one by {difference:.1e} of the largest logit, at most "
            f"{tolerance:g} is expected; nothing was exported, predict.py --weights runs the checkpoint as it is"
        )


def export_onnx(onnx: tuple, network: ActionModel, reader, folder: str, batches: list, expected: list) -> str | None:
    """Write `inference.onnx`, for skeletons with any number of frames if that can be converted.

    Returns:
        Why there is none in the end, or None.
    """
    if list(reader.input_shape) == ["skeleton"]:
        with tempfile.TemporaryDirectory() as traced:
            longer = [lengthen(array) for array in batches[-1]]

            def trace():
                save_static(network, reader, free_frames(describe_inputs(reader, batches[0])), traced)
                return traced, [*batches, longer], [*expected, *run_timed(network, [longer])[0]]

            fault = find_onnx_fault(onnx, trace, folder)
        if not fault:
            print(f"{exported_model.STEM}.onnx: any number of clips, each of any number of frames")
            return None
        print(f"{exported_model.STEM}.onnx: not with any number of frames ({fault}); trying clips of the config's")
    return find_onnx_fault(onnx, lambda: (folder, batches, expected), folder)


def find_onnx_fault(onnx: tuple, trace: Callable, folder: str) -> str | None:
    """Write `inference.onnx` and compare it; return why there is none in the end, or None.

    Args:
        onnx: as `import_onnx` returns it.
        trace: returns the folder of the static network to convert, batches, and the logits that it shall give.
        folder: to write to.
    """
    path = pathlib.Path(folder, f"{exported_model.STEM}.onnx")
    try:
        traced, batches, expected = trace()
        difference = compare("ONNX Runtime", write_onnx(*onnx, traced, folder), batches, expected)
        fault = None if difference <= ONNX_TOLERANCE else f"it differs by {difference:.1e} of the largest logit"
    except Exception as error:  # whatever a converter, or ONNX Runtime, makes of an operator that it does not know
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        fault = lines[-1] if lines else type(error).__name__
    if fault:
        path.unlink(missing_ok=True)
    return fault


if __name__ == "__main__":
    command_line.run_main(main)
