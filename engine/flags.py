"""The flags of train.py, test.py, predict.py and app.py, for which --help and a mistyped flag need no Paddle."""

import argparse
import os
import sys

from common import command_line
from config import INI_SUFFIXES, YAML_SUFFIXES
from engine.run_settings import WHOLE_S, WINDOW_S


def add_shared_flags(parser: command_line.CommandLine) -> None:
    """Add the flags that `train.py` and `test.py` share."""
    parser.add_argument("--model_name", help="network, a key of models.MODELS")
    parser.add_argument(
        "--use_gpu", type=command_line.parse_bool, help="True or False; default: a GPU where there is one"
    )
    parser.add_argument("--gpus", type=_parse_count, help="processes, each with a GPU of its own; default: 1")
    parser.add_argument("--batch_size", type=int, help="samples that the device holds at once")
    parser.add_argument("--save_dir", "--work_dir", help="folder of checkpoints and results")
    parser.add_argument(
        "--root", help="folder of train.list, val.list, test.list; of READER.filelist and READER.videos"
    )
    parser.add_argument("-o", dest="overrides", action="append", default=[], help="SECTION.key=value, repeatable")


def _parse_count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected 1 or more processes, got {text}")
    return int(text)


def shared_settings(args: argparse.Namespace, mode: str) -> dict:
    """Return what those flags set, as {"SECTION.key": value or None}."""
    return {
        "MODEL.name": args.model_name,
        "RUN.use_gpu": args.use_gpu,
        f"{mode}.batch_size": args.batch_size,
        "RUN.save_dir": args.save_dir,
    }


def split_configs(argv: list) -> tuple[list, list]:
    """Return the config texts that stand alone on a command line of training, and its other words.

    So no flag takes one for its value: `--resume` and others work without one, `--streams` takes several.
    """
    configs, others = [], []
    for previous, word in zip(["", *argv], argv, strict=False):
        may_be_alone = not str(previous).startswith("-") or previous in ("--resume", "--validate", "--deterministic")
        is_config = may_be_alone and str(word).endswith(INI_SUFFIXES + YAML_SUFFIXES) and "=" not in str(word)
        (configs if is_config else others).append(word)
    return configs, others


def parse_train(argv: list | None = None) -> argparse.Namespace:
    """Parse the command line; see `python train.py --help`."""
    parser = command_line.CommandLine("Train a network as a config text says.")
    text = parser.add_mutually_exclusive_group()
    text.add_argument("config_text", nargs="?", help="the same as --config")
    text.add_argument("--config", default="configs/resnet.txt", help="config text (.txt or .yaml)")
    add_shared_flags(parser)
    parser.add_argument("--epoch", type=int, help="passes over the training list")
    parser.add_argument("--learning_rate", type=float, help="overrides OPTIMIZER.learning_rate")
    parser.add_argument("--pretrain", help="weights to start from")
    parser.add_argument("--resume", nargs="?", const="auto", help="auto, or a checkpoint to go on from")
    parser.add_argument("--overwrite", action="store_true", help="remove the run that is in --save_dir, and start anew")
    parser.add_argument("--validate", nargs="?", const=True, type=command_line.parse_bool, help="score the VALID list")
    parser.add_argument("--seed", type=int, help="of weights, sample order and augmentation")
    parser.add_argument(
        "--deterministic", nargs="?", const=True, type=command_line.parse_bool, help="slower GPU kernels"
    )
    parser.add_argument("--overfit", type=int, help="train on so many samples only: the first try on own data")
    parser.add_argument(
        "--slim",
        action="store_const",
        const=True,
        help="keep weights alone, a third of the size, of the best epoch"
        " and, when the run is over, of the last; such a run cannot be trained further",
    )
    parser.add_argument("--test_last", action="store_true", help="then score the TEST list with the last epoch")
    parser.add_argument("--test_best", action="store_true", help="then score it with the epoch that validated best")
    configs, others = split_configs(sys.argv[1:] if argv is None else argv)
    args = parser.parse_args([*configs, *others])
    args.config = args.config_text or args.config
    if args.overwrite and args.resume:
        parser.error(f"--resume {args.resume} goes on with the run that --overwrite removes; leave out one")
    if args.pretrain and args.resume not in (None, "auto"):
        parser.error(f"--resume {args.resume} goes on with the weights of that run; leave out --pretrain")
    return args


def parse_test(argv: list | None = None) -> argparse.Namespace:
    """Parse the command line; see `python test.py --help`."""
    parser = command_line.CommandLine("Score a trained network on a list.")
    parser.add_argument("paths", nargs="*", metavar="PATH", help="[CONFIG] CHECKPOINT, as --config and --weights")
    parser.add_argument("--weights", help="checkpoint, with or without .pdparams; default: the one train.py wrote")
    parser.add_argument("--config", help="config text; default: the one inside the checkpoint")
    add_shared_flags(parser)
    parser.add_argument("--filelist", help="list to score")
    parser.add_argument("--log_interval", type=int, help="batches between two progress lines")
    parser.add_argument("--infer_topk", type=int, default=1, help="k of the top-k line and of the predictions in --out")
    names = ("top_k_accuracy", "mean_class_accuracy")
    parser.add_argument("--eval", nargs="+", choices=names, default=list(names), help="figures to print")
    parser.add_argument("--average_clips", choices=("prob", "score"), help="average soft-max scores or logits")
    parser.add_argument("--num_clips", type=int, help="clips of a video that are scored and averaged")
    parser.add_argument("--crops", choices=("center", "three", "ten"), help="crops of a clip")
    parser.add_argument(
        "--flip", nargs="?", const=True, type=command_line.parse_bool, help="score mirrored views as well"
    )
    parser.add_argument("--out", help="result file: .json, .pkl or .csv")
    features_help = "write the vectors before the last layer to this .npz file, and into VisualDL's projector"
    parser.add_argument("--features", metavar="FILE", help=features_help)
    report_help = "write a page with figures, curves and pictures"
    parser.add_argument("--report", nargs="?", const=True, default=True, type=command_line.parse_bool, help=report_help)
    explain_help = "draw into the pictures of the report where the network looks, and which joints count"
    parser.add_argument(
        "--explain", nargs="?", const=True, default=False, type=command_line.parse_bool, help=explain_help
    )
    args = parser.parse_args(argv)
    _read_paths(parser, args)
    if args.explain and not args.report:
        parser.error("--explain draws into the report, which --report False leaves out; leave out one")
    if args.weights is None:
        args.weights = os.path.join(args.save_dir or "checkpoints_models", f"{args.model_name or 'resnet'}_model")
    return args


def _read_paths(parser: command_line.CommandLine, args: argparse.Namespace) -> None:
    """Set `config` and `weights` to the PATHs of test.py; end with status 2 where a flag names the same file."""
    is_text = len(args.paths) == 1 and args.paths[0].endswith(INI_SUFFIXES + YAML_SUFFIXES)
    names = {0: (), 1: ("config",) if is_text else ("weights",), 2: ("config", "weights")}.get(len(args.paths))
    if names is None:
        parser.error(f"expected CHECKPOINT or CONFIG CHECKPOINT, got {' '.join(args.paths)}")
    for name, path in zip(names, args.paths, strict=True):
        if vars(args)[name] is not None:
            parser.error(f"{path} and --{name} {vars(args)[name]} name the same file in two ways; leave out one")
        setattr(args, name, path)


def parse_predict(argv: list | None = None) -> argparse.Namespace:
    """Parse the command line; see `python predict.py --help`."""
    parser = command_line.CommandLine("Say what is done in videos or by skeletons.")
    network = parser.add_mutually_exclusive_group()
    network.add_argument("checkpoint", nargs="?", help="the same as --weights")
    network.add_argument("--weights", default="checkpoints_models/resnet_model", help="with or without .pdparams")
    network.add_argument("--exported", help="folder that tools/export.py wrote; it needs no checkpoint")
    input_help = (
        "videos, frame folders; for networks of skeletons a skeleton pkl, json, ...; or folders of these; "
        "or one stream: a camera's number, rtsp://..., http://..."
    )
    parser.add_argument("--input", nargs="+", required=True, help=input_help)
    parser.add_argument("--poses", nargs="+", help="skeleton pkl with the key points of the videos (RGB and pose)")
    parser.add_argument("--split", help="of a skeleton pkl; None: all recordings")
    size_help = "of the pictures in which key points were found, such as 1920x1080, where their file does not say it"
    parser.add_argument("--image_size", type=command_line.parse_size, help=size_help)
    parser.add_argument(
        "--use_gpu", nargs="?", const=True, type=command_line.parse_bool, help="None: where there is one"
    )
    parser.add_argument("--top_k", type=int, default=5, help="classes to show")
    parser.add_argument("--save_dir", default="output/predict", help="folder of what is written")
    explain_help = "draw where the network looks, and which joints count: for what it predicts, or for this class"
    parser.add_argument("--explain", nargs="?", const=True, metavar="CLASS", help=explain_help)
    window_help = (
        "longer videos are scored in windows of so many seconds that overlap by half; "
        f"None: in windows of {WINDOW_S} if they are longer than {WHOLE_S}"
    )
    parser.add_argument("--window_s", type=command_line.parse_positive, help=window_help)
    parser.add_argument(
        "--every_s",
        type=command_line.parse_positive,
        help="of a stream: from one window to the next; default: half of one",
    )
    parser.add_argument("--follow", action="store_true", help="--input is a file that is still written")
    parser.add_argument(
        "--timeout_s", type=command_line.parse_positive, default=10, help="a stream without a frame for so long is over"
    )
    parser.add_argument(
        "--fps",
        type=command_line.parse_positive,
        default=25,
        help="of frame folders, skeletons, and videos that state none",
    )
    args = parser.parse_args(argv)
    args.weights = args.checkpoint or args.weights
    if args.top_k < 1:
        parser.error("--top_k takes 1 or more")
    if args.explain and args.exported:
        parser.error("--explain needs gradients, which an export does not have; give the checkpoint, --weights")
    return args


def parse_app(argv: list | None = None) -> argparse.Namespace:
    """Parse the command line; see `python app.py --help`."""
    parser = command_line.CommandLine("Open a page that says what is done in a video or by a skeleton, in a browser.")
    network = parser.add_mutually_exclusive_group()
    network.add_argument("checkpoints", nargs="*", default=[], help="the same as --weights")
    network.add_argument("--weights", nargs="+", default=["checkpoints_models/resnet_model"], help="several: a choice")
    parser.add_argument("--examples", default="data/samples", help="folder of videos and .skeleton files to try")
    parser.add_argument("--keep", help="folder that gets a copy of every upload and its answer; None: nothing is kept")
    parser.add_argument("--max_mb", type=command_line.parse_positive, default=100, help="of an upload")
    parser.add_argument(
        "--max_seconds", type=command_line.parse_positive, default=120, help="of a video or skeleton recording"
    )
    parser.add_argument("--language", choices=("auto", "zh", "en"), default="auto", help="auto: that of the browser")
    parser.add_argument(
        "--use_gpu", nargs="?", const=True, type=command_line.parse_bool, help="None: where there is one"
    )
    parser.add_argument("--top_k", type=int, default=5, help="classes to show")
    parser.add_argument("--host", default="127.0.0.1", help="address to serve; 0.0.0.0: also to other computers")
    parser.add_argument("--port", type=int, help="None: the first free one from 7860")
    parser.add_argument("--share", action="store_true", help="also by a public address, through Gradio's server")
    args = parser.parse_args(argv)
    args.weights = args.checkpoints or args.weights
    if args.top_k < 1:
        parser.error("--top_k takes 1 or more")
    return args
