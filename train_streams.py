"""Train a network on several streams, or on several folds, score each, and fuse the scores.

    python train_streams.py configs/ctrgcn_nw_ucla.yaml --save_dir output/ctrgcn_nw_ucla
    python train_streams.py configs/msg3d_ntu60_xsub.yaml --streams joint bone --validate --test_best --gpus 4
    python train_streams.py configs/ctrgcn_fsd.yaml --folds 5 --save_dir output/ctrgcn_fsd
    python train_streams.py configs/resnet18_ucf101_scratch.txt --streams rgb flow --save_dir output/rgb_flow
    python train_streams.py configs/resnet18_ucf101_scratch.txt --folds 5 --root data --save_dir output/folds

The streams of skeletons are values of READER.stream, those of videos of READER.modality (rgb, flow, rgb_diff).
Each stream is a run of `train.py` in its own folder, resumed if it was stopped, and scored by `test.py`;
`ensemble.py` fuses them. Flags that are not listed here go to `train.py`.

With --folds, made by `skeleton2pkl.py` or `data_list_gener.py`, each fold is left out of the training once: its samples
are scored (`held_out/`), and those of the TEST section (`test/`), whose scores are fused over the folds.
"""

import argparse
import itertools
import multiprocessing
import os
import pathlib
import signal
import subprocess
import sys

import numpy as np

import ensemble
from common import command_line, lifetime
from common.output_lock import only_writer
from config import SECTIONS, find_config, load_config, parse_overrides
from engine import flags
from inference import fold_scores

STREAMS = ("joint", "bone", "joint_motion", "bone_motion")
MODALITIES = {"rgb": "1", "flow": "1.5"}  # the streams of videos, and TSN's weights
SKELETON_READERS = ("skeletons", "timed_skeletons")
USUAL_WEIGHTS = {2: "two_stream", 4: "four_stream"}  # of skeletons, by the number of streams
ROOT = pathlib.Path(__file__).resolve().parent


def parse_arguments(argv: list | None = None) -> argparse.Namespace:
    """Parse the command line; see `python train_streams.py --help`. `rest` is what train.py gets besides the config."""
    parser = command_line.CommandLine("Train, score and fuse several streams of the same skeletons or videos.")
    parser.usage = "%(prog)s CONFIG [--streams STREAM ...] [--fuse ...] [--save_dir ...] [flags of train.py]"
    parser.epilog = "CONFIG is a config text, whose READER.stream (of videos READER.modality) is each stream in turn."
    parser.add_argument("--config", help="the same as CONFIG")
    parser.add_argument("--streams", nargs="+", help="values of READER.stream, or of READER.modality")
    sets = ", ".join(ensemble.WEIGHT_SETS)
    parser.add_argument("--fuse", nargs="+", help=f"one weight a stream (2:2:1:1), or one of {sets}")
    parser.add_argument("--save_dir", "--work_dir", default="output/streams", help="folder of the streams' folders")
    parser.add_argument("--folds", type=int, help="leave each of so many folds out once, and fuse their test scores")
    parser.add_argument("--test_last", action="store_true", help="score the last epoch: what happens anyway")
    parser.add_argument("--test_best", action="store_true", help="score the epoch that validated best, too")
    configs, others = flags.split_configs(sys.argv[1:] if argv is None else [str(word) for word in argv])
    args, rest = parser.parse_known_args(others)
    args.rest = [*configs, *rest]
    check_rest(parser, args)
    if args.folds is not None and args.folds < 2:
        parser.error("--folds takes 2 or more")
    args.has_streams = args.streams is not None or args.stream_key == "stream"
    args.streams = args.streams or list(STREAMS if args.stream_key == "stream" else MODALITIES)
    if len(set(args.streams)) < len(args.streams):
        parser.error(f"--streams: a stream is given twice: {' '.join(args.streams)}")
    if args.stream_key == "modality":
        args.fuse = args.fuse or [MODALITIES.get(stream, "1") for stream in args.streams]
    args.fuse = args.fuse or [USUAL_WEIGHTS.get(len(args.streams), "equal")]
    ensemble.read_weights(args.fuse, len(args.streams))  # a mistake ends the run before the training
    return args


def check_rest(parser: command_line.CommandLine, args: argparse.Namespace) -> None:
    """Move the config from `rest` to `config`; end with status 2 if train.py refuses the rest, or streams set it.

    `stream_key` becomes the key of READER whose values are the streams.
    """
    train_args = flags.parse_train(args.rest)
    if (args.config is None) == (train_args.config_text is None):
        parser.error("name one config text, such as configs/ctrgcn_nw_ucla.yaml")
    if args.config is None:
        args.config = train_args.config_text
        args.rest.remove(args.config)
    given = {word.partition("=")[0].strip().upper() for word in train_args.overrides}
    args.stream_key = find_stream_key(args.config)
    mistakes = {
        f"-o READER.{args.stream_key}: the streams are those of --streams; leave one of the two out": (
            not given.isdisjoint(f"{section}.{args.stream_key.upper()}" for section in SECTIONS)
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
    divided = [f"{mode}.{key}" for mode in ("TRAIN", "VALID") for key in ("SPLIT", "FILELIST")]
    if args.folds and not given.isdisjoint(divided):
        parser.error("--folds says what TRAIN and VALID read; leave their split and filelist out of -o")
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
        return train_folds(args, folder) if args.folds else train_and_fuse(args, folder)


def train_and_fuse(args: argparse.Namespace, folder: pathlib.Path) -> int | None:
    """Train and score each stream in its subfolder, and fuse the scores; return the status of a run that failed."""
    for stream in args.streams:
        if status := run("train.py", *make_argv(args, stream), *list_tests(args)):
            print(f"stream {stream} {describe_end(status)}")
            return status
    for which in ("model", "best") if args.test_best else ("model",):
        fuse(folder, args.streams, which, args.fuse)


def list_tests(args: argparse.Namespace) -> list:
    """Return the flags by which train.py scores what it has trained."""
    return ["--test_last", *(["--test_best"] if args.test_best else [])]


def make_argv(args: argparse.Namespace, stream: str | None, fold: int | None = None) -> list:
    """Return the command line of train.py for a stream, or None where the reader has no streams, and a fold."""
    overrides = [] if stream is None else [f"READER.{args.stream_key}={stream}"]
    overrides += [] if fold is None else choose_fold(args, fold)
    run_flags = ["--save_dir", name_folder(args, stream, fold), "--resume", "auto"]
    return [args.config, *args.rest, *run_flags, *(word for override in overrides for word in ("-o", override))]


def find_stream_key(path: str) -> str:
    """Return the key of READER whose values are a config's streams; what is wrong with the config is said later."""
    is_of_clips = find_config(path).is_file() and load_config(path)["READER"].get("name", "clips") == "clips"
    return "modality" if is_of_clips else "stream"


def name_folder(args: argparse.Namespace, stream: str | None, fold: int | None = None) -> str:
    """Return the folder of a run."""
    parts = [args.save_dir, *([] if fold is None else [f"fold{fold}"]), *([] if stream is None else [stream])]
    return "/".join(parts)


# Folds.


def read_sections(args: argparse.Namespace) -> dict:
    """Return the config as -o changes it, without the defaults that only Paddle's half of the project knows."""
    config = load_config(args.config)
    for section, values in parse_overrides(flags.parse_train(args.rest).overrides).items():
        config[section].update(values)
    return config


def list_streams(args: argparse.Namespace) -> list:
    """Return the streams of each fold; [None] where the reader has none, or no --streams asks for those of videos."""
    can_have = args.stream_key == "modality" or read_sections(args)["READER"].get("name") in SKELETON_READERS
    return args.streams if can_have and args.has_streams else [None]


def choose_fold(args: argparse.Namespace, fold: int) -> list[str]:
    """Return the values of -o by which a fold is left out of the training and validated on.

    The TEST section keeps what it would read without folds.
    """
    config, root = read_sections(args), flags.parse_train(args.rest).root
    if config["READER"].get("name", "clips") != "clips":
        test_split = {**config["READER"], **config["VALID"], **config["TEST"]}.get("split")
        return [f"TRAIN.split=fold{fold}_train", f"VALID.split=fold{fold}_val", f"TEST.split={test_split}"]
    train_list = config["TRAIN"].get("filelist", "data/train.list") if root is None else f"{root}/train.list"
    test_list = {**config["VALID"], **config["TEST"]}.get("filelist", f"{root or 'data'}/test.list")
    folder = os.path.dirname(train_list)
    lists = {mode: os.path.join(folder, f"fold{fold}_{mode}.list") for mode in ("train", "val")}
    return [f"TRAIN.filelist={lists['train']}", f"VALID.filelist={lists['val']}", f"TEST.filelist={test_list}"]


def train_folds(args: argparse.Namespace, folder: pathlib.Path) -> int | None:
    """Train and score each fold, in each stream, and fuse the scores; return the status of a run that failed."""
    streams = list_streams(args)
    for fold in range(1, args.folds + 1):
        for stream in streams:
            what = f"fold {fold}" if stream is None else f"fold {fold}, stream {stream}"
            print(f"{what} of {args.folds} folds" + ("" if stream is None else f" and {len(streams)} streams"))
            for script, argv in list_fold_commands(args, stream, fold):
                if status := run(script, *argv):
                    print(f"{what} {describe_end(status)}")
                    return status
    for which in ("model", "best") if args.test_best else ("model",):
        fuse_folds(args, folder, streams, which)


def list_fold_commands(args: argparse.Namespace, stream: str | None, fold: int) -> list[tuple]:
    """Return (script, command line) of a run's training and of its tests on the held-out fold and on the test set."""
    argv, run_folder = make_argv(args, stream, fold), name_folder(args, stream, fold)
    train_args = flags.parse_train(argv)
    name = train_args.model_name or read_sections(args)["MODEL"].get("name", "resnet")
    chosen = {word.partition("=")[0]: word.partition("=")[2] for word in choose_fold(args, fold)}
    key = next(iter(chosen)).split(".")[1]
    shared = ["--use_gpu", train_args.use_gpu] if train_args.use_gpu is not None else []
    shared += ["--gpus", train_args.gpus] if train_args.gpus is not None else []
    sections = ("READER", "VALID", "TEST")
    given = [word for word in train_args.overrides if word.strip().split(".")[0].upper() in sections]
    shared += [argument for word in given for argument in ("-o", word)]
    commands = [("train.py", argv)]
    for which in ("model", "best") if args.test_best else ("model",):
        for part, mode in (("held_out", "VALID"), ("test", "TEST")):
            samples = ["-o", f"TEST.{key}={chosen[f'{mode}.{key}']}"]
            words = [f"{run_folder}/{name}_{which}", "--save_dir", f"{run_folder}/{part}", *shared, *samples]
            commands.append(("test.py", words))
    return commands


def fuse_folds(args: argparse.Namespace, folder: pathlib.Path, streams: list, which: str) -> None:
    """Fuse the streams of each fold and the folds' scores of the test set; print and write what the folds say.

    Args:
        which: "model" for the last epoch, "best" for the one that validated best.
    """
    paths = {"held_out": [], "test": []}
    for fold in range(1, args.folds + 1):
        for part, found in paths.items():
            parts = [str(find_scores(pathlib.Path(name_folder(args, each, fold), part), which)) for each in streams]
            if len(parts) > 1:
                fused = str(folder / f"fold{fold}" / part / f"fused_{which}_scores.pkl")
                print(f"fold {fold}, {'the held-out samples' if part == 'held_out' else 'the test set'}:")
                ensemble.main([*parts, "--weights", *args.fuse, "--out", fused])
                parts = [fused]
            found += parts
    print(f"{args.folds} folds, scores of the {'last' if which == 'model' else 'best'} epochs:")
    summary = fold_scores.summarize_held_out(paths["held_out"])
    fold_scores.print_held_out(summary)
    fold_scores.write_held_out(str(folder / f"folds_{which}.json"), summary)
    tested, weights = fold_scores.read_folds(paths["test"]), np.ones(args.folds)
    note = f"all samples of the files, by the networks of {args.folds} folds"
    ensemble.report_fused(tested, weights, note, str(folder / f"fused_{which}_scores.pkl"))


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
    streams = list_streams(args) if args.folds else args.streams
    folds = range(1, args.folds + 1) if args.folds else [None]
    for stream, fold in itertools.product(streams, folds):
        parsed = flags.parse_train([*make_argv(args, stream, fold), *list_tests(args)])
        config, _ = train.read_recipe(parsed)
        train.check_tests(parsed, config)
        shapes[stream] = recipe.open_reader(config).input_shape
        if stream in MODALITIES:
            next(iter(recipe.open_loader(config, "TRAIN").first_sample()))  # whose flow may be missing
        if fold == args.folds and stream == streams[0] and args.folds:  # the last one is there if all are
            for mode in ("TRAIN", "VALID", "TEST"):
                recipe.open_loader({**config, "RUN": {**config["RUN"], "overfit": 0}}, mode)
        folder = RunFolder(config["RUN"]["save_dir"], config["MODEL"]["name"])
        refuse_other_networks(folder.save_dir, folder.model_name)
        if checkpoint.checkpoint_exists(folder.last):
            if data is None or fold is not None:  # those of all streams are the same
                data = resume.describe_data(config, {"TRAIN": recipe.open_loader(config, "TRAIN")})
            state = checkpoint.load_checkpoint(folder.last)
            state["config"] = recipe.resolve(state["config"], folder.last)
            if change := resume.find_other_data(state, config, data):
                raise ValueError(f"'{folder.last}': {change}; choose another --save_dir, or remove that folder")
    if args.stream_key == "stream" and len({str(shape) for shape in shapes.values()}) > 1:
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
