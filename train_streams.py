"""Train a network on several streams of the same skeletons, score each, and fuse the scores.

    python train_streams.py configs/ctrgcn_nw_ucla.yaml --save_dir output/ctrgcn_nw_ucla
    python train_streams.py configs/msg3d_ntu60_xsub.yaml --streams joint bone --validate --test_best --gpus 4

Each stream is a run of `train.py` in its own folder, resumed if it was stopped, and scored by `test.py`;
`ensemble.py` fuses them. Flags that are not listed here go to `train.py`.
"""

import argparse
import multiprocessing
import os
import pathlib
import signal
import subprocess
import sys

import ensemble
from common import command_line, lifetime
from common.output_lock import only_writer
from config import SECTIONS
from engine import flags

STREAMS = ("joint", "bone", "joint_motion", "bone_motion")
USUAL_WEIGHTS = {2: "two_stream", 4: "four_stream"}  # by the number of streams
ROOT = pathlib.Path(__file__).resolve().parent


def parse_arguments(argv: list | None = None) -> argparse.Namespace:
    """Parse the command line; see `python train_streams.py --help`. `rest` is what train.py gets besides the config."""
    parser = command_line.CommandLine("Train, score and fuse several streams of the same skeletons.")
    parser.usage = "%(prog)s CONFIG [--streams STREAM ...] [--fuse ...] [--save_dir ...] [flags of train.py]"
    parser.epilog = "CONFIG is a config text, whose READER.stream is replaced by each stream in turn."
    parser.add_argument("--config", help="the same as CONFIG")
    parser.add_argument("--streams", nargs="+", default=list(STREAMS), help="values of READER.stream")
    sets = ", ".join(ensemble.WEIGHT_SETS)
    parser.add_argument("--fuse", nargs="+", help=f"one weight a stream (2:2:1:1), or one of {sets}")
    parser.add_argument("--save_dir", "--work_dir", default="output/streams", help="folder of the streams' folders")
    parser.add_argument("--test_last", action="store_true", help="score the last epoch: what happens anyway")
    parser.add_argument("--test_best", action="store_true", help="score the epoch that validated best, too")
    configs, others = flags.split_configs(sys.argv[1:] if argv is None else [str(word) for word in argv])
    args, rest = parser.parse_known_args(others)
    args.rest = [*configs, *rest]
    check_rest(parser, args)
    if len(set(args.streams)) < len(args.streams):
        parser.error(f"--streams: a stream is given twice: {' '.join(args.streams)}")
    args.fuse = args.fuse or [USUAL_WEIGHTS.get(len(args.streams), "equal")]
    ensemble.read_weights(args.fuse, len(args.streams))  # a mistake ends the run before the training
    return args


def check_rest(parser: command_line.CommandLine, args: argparse.Namespace) -> None:
    """Move the config from `rest` to `config`; end with status 2 if train.py refuses the rest, or streams set it."""
    train_args = flags.parse_train(args.rest)
    if (args.config is None) == (train_args.config_text is None):
        parser.error("name one config text, such as configs/ctrgcn_nw_ucla.yaml")
    if args.config is None:
        args.config = train_args.config_text
        args.rest.remove(args.config)
    given = {word.partition("=")[0].strip().upper() for word in train_args.overrides}
    mistakes = {
        "-o READER.stream: the streams are those of --streams; leave one of the two out": (
            not given.isdisjoint(f"{section}.STREAM" for section in SECTIONS)
        ),
        "-o RUN.save_dir: each stream has a folder of its own in --save_dir; leave it out": "RUN.SAVE_DIR" in given,
        "-o RUN.resume: each stream goes on from its own checkpoint; leave it out": "RUN.RESUME" in given,
        "--overwrite: each stream goes on where it was stopped; choose another --save_dir, or remove it": (
            train_args.overwrite
        ),
        f"--resume {train_args.resume}: each stream goes on from its own checkpoint; leave it out": (
            train_args.resume not in (None, "auto")
        ),
    }
    for message, is_made in mistakes.items():
        if is_made:
            parser.error(message)


def main(argv: list | None = None) -> int | None:
    """Train, score and fuse."""
    args = parse_arguments(argv)
    if os.environ.get("PADDLE_TRAINERS_NUM", "1") != "1":
        raise ValueError(
            "train_streams.py starts the processes of each stream itself: leave the launcher, give --gpus N"
        )
    if status := run_check(args):
        return status
    folder = pathlib.Path(args.save_dir)
    with only_writer(str(folder), "--save_dir"):
        return train_and_fuse(args, folder)


def train_and_fuse(args: argparse.Namespace, folder: pathlib.Path) -> int | None:
    """Train and score each stream in its subfolder, and fuse the scores; return the status of a run that failed."""
    for stream in args.streams:
        status = run("train.py", *make_argv(args, stream))
        if status:
            print(f"stream {stream} {describe_end(status)}")
            return status
    for which in ("model", "best") if args.test_best else ("model",):
        fuse(folder, args.streams, which, args.fuse)


def make_argv(args: argparse.Namespace, stream: str) -> list:
    """Return the command line of train.py for a stream."""
    best = ["--test_best"] if args.test_best else []
    run_flags = ["--save_dir", f"{args.save_dir}/{stream}", "--resume", "auto", "-o", f"READER.stream={stream}"]
    return [args.config, *args.rest, *run_flags, "--test_last", *best]


def run_check(args: argparse.Namespace) -> int:
    """Run `check_streams` in a process, whose memory is free again when the training begins; return its status."""
    process = multiprocessing.get_context("spawn").Process(target=_check_in_process, args=(args,), daemon=True)
    process.start()
    process.join()
    return process.exitcode


def _check_in_process(args: argparse.Namespace) -> None:
    lifetime.end_with_parent()
    command_line.start_paddle()
    command_line.run_main(lambda: check_streams(args))


def check_streams(args: argparse.Namespace) -> None:
    """Refuse before the first epoch what would end a stream after others were trained, or mix two data sets.

    Raises:
        ValueError: a stream or flag that cannot work, a folder of another network, a run that had other data.
    """
    import recipe  # with Paddle, which this process alone needs
    import train
    from engine import checkpoint, resume
    from engine.run_folder import RunFolder

    shapes, data = {}, None
    for stream in args.streams:
        parsed = flags.parse_train(make_argv(args, stream))
        config, _ = train.read_recipe(parsed)
        train.check_tests(parsed, config)
        shapes[stream] = recipe.open_reader(config).input_shape
        folder = RunFolder(config["RUN"]["save_dir"], config["MODEL"]["name"])
        refuse_other_networks(folder.save_dir, folder.model_name)
        if checkpoint.checkpoint_exists(folder.last):
            data = data or resume.describe_data(config, {"TRAIN": recipe.open_loader(config, "TRAIN")})
            state = checkpoint.load_checkpoint(folder.last)
            state["config"] = recipe.resolve(state["config"], folder.last)
            if change := resume.find_other_data(state, config, data):
                raise ValueError(f"'{folder.last}': {change}; choose another --save_dir, or remove that folder")
    if len({str(shape) for shape in shapes.values()}) > 1:
        listed = ", ".join(f"{stream} {shape}" for stream, shape in shapes.items())
        raise ValueError(f"--streams: one network cannot take inputs of several shapes ({listed}); train them apart")


def refuse_other_networks(folder: str, name: str) -> None:
    """Refuse a folder that has the run or the scores of another network, which would be fused too."""
    for suffix in ("_model.pdparams", "_model_test_scores.pkl", "_best_test_scores.pkl"):
        for path in sorted(pathlib.Path(folder).glob(f"*{suffix}")):
            if path.name.removesuffix(suffix) != name:
                raise ValueError(
                    f"'{path}' is of another network than {name}; choose another --save_dir, one for each network"
                )


def describe_end(status: int) -> str:
    """Return how a run ended and what to do; only one that a signal ended goes on with the same command."""
    number = -status if status < 0 else status - 128
    if number in signal.valid_signals():
        return f"was ended by {signal.Signals(number).name}; the same command goes on from there"
    return f"ended with exit status {status}; correct what its last message says: the epochs that are done are kept"


def run(script: str, *arguments) -> int:
    """Run a script of the project and return its exit status."""
    command = lifetime.tie([sys.executable, str(ROOT / script), *map(str, arguments)])
    return subprocess.run(command, check=False).returncode


def fuse(folder: pathlib.Path, streams: list, which: str, weights: list) -> None:
    """Fuse the scores of all streams, print the table, and write `<folder>/fused_<which>_scores.pkl`.

    Args:
        which: "model" for the last epoch, "best" for the one that validated best.
        weights: as `ensemble.py --weights` takes them.
    """
    paths = [str(find_scores(folder / stream, which)) for stream in streams]
    print(f"scores of the {'last' if which == 'model' else 'best'} epochs:")
    ensemble.main([*paths, "--weights", *weights, "--out", str(folder / f"fused_{which}_scores.pkl")])


def find_scores(folder: pathlib.Path, which: str) -> pathlib.Path:
    """Find the score file that `test.py` wrote beside the weights of a stream.

    Raises:
        FileNotFoundError: there is none, or more than one network's.
    """
    found = sorted(folder.glob(f"*_{which}_test_scores.pkl"))
    if len(found) != 1:
        raise FileNotFoundError(f"'{folder}' holds {len(found)} files *_{which}_test_scores.pkl, expected 1")
    return found[0]


if __name__ == "__main__":
    command_line.run_main(main)
