"""Convert a published checkpoint to a .pdparams file that every script of the project takes; PyTorch is not needed.

    python tools/convert_weights.py r3d50_K_200ep.pth --source 3d-resnets-pytorch --model resnet -o MODEL.depth=50
    python tools/convert_weights.py r3d50_K_200ep.pth --source 3d-resnets-pytorch --config configs/resnet.txt

The first command makes a file for `train.py --pretrain` and `test.py --config`. The second one also stores the config,
so that `test.py` and `predict.py` need nothing else. MODEL_ZOO.md lists public checkpoints with the command for each.

    python tools/convert_weights.py ppTSM_k400_uniform.pdparams --source paddlevideo --model pptsm --out weights/pptsm

This one takes a file of PaddleVideo, whose networks have names of their own, and for some arguments of their own, which
are set here.

    python tools/convert_weights.py resnet50.pth --source imagenet --model tpn --out weights/imagenet_tpn

This one converts a 2-D ResNet-50 or -101 (a .pth or .safetensors file of torchvision or a .pdparams file of
`paddle.vision`) to first weights for the backbone of SlowOnly, TSM or TPN, without those of the rest of the network.
"""

import argparse
import hashlib
import math
import pathlib
import sys

if not __package__:  # run as a script, from any folder: the project's modules are one folder up
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from common import command_line, state_dicts

if __name__ == "__main__":
    command_line.start_paddle()

import numpy as np
import paddle

import recipe
from config import fill_section, parse_overrides
from dataset import annotations, splits
from engine import checkpoint
from models import MODELS, build_model
from models.parts.inflate import MODES, inflate
from models.parts.weights import convert_torch_weights, is_counter
from tools.weights.torch_files import read_torch_file
from tools.weights.torch_pickle import Placeholder

SOURCES = sorted({source for model in MODELS.values() for source in model.WEIGHT_SOURCES})
IMAGENET = "imagenet"  # 2-D weights for a backbone
PADDLE_SOURCES = (IMAGENET, "paddlevideo")  # whose files may be of paddle.save


def parse_arguments(argv: list | None = None) -> argparse.Namespace:
    """Parse the command line; see `python tools/convert_weights.py --help`."""
    parser = command_line.CommandLine("Convert a published checkpoint to .pdparams; PyTorch is not needed.")
    parser.add_argument(
        "file", help="file of torch.save (.pth, .pt, .tar), .safetensors; .pdparams of PaddleVideo or ImageNet"
    )
    parser.add_argument("--source", required=True, choices=SOURCES, help="repository that trained it")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--config", help="config text; the checkpoint will contain it, for test.py and predict.py")
    what.add_argument("--model", choices=list(MODELS), help="network, for a checkpoint without a config")
    parser.add_argument("-o", dest="overrides", action="append", default=[], help="SECTION.key=value, repeatable")
    parser.add_argument("--class_index", help="file of class names: one a line, or lines 'id name' as in classInd.txt")
    parser.add_argument("--inflate", choices=MODES, default=MODES[0], help="for ImageNet: how kernels get a time axis")
    parser.add_argument("--ema", action="store_true", help="take the averaged weights of the file, not the others")
    parser.add_argument("--out", help="checkpoint to write; default: beside the file, under its name")
    args = parser.parse_args(argv)
    args.out = args.out or str(pathlib.Path(args.file).with_suffix(checkpoint.SUFFIX))
    if pathlib.Path(args.out.removesuffix(checkpoint.SUFFIX) + checkpoint.SUFFIX) == pathlib.Path(args.file):
        parser.error(f"--out: '{args.file}' itself would be written over; name another file")
    if args.source == IMAGENET and args.class_index:
        parser.error("--class_index: of ImageNet weights the classifier is left out")
    return args


def main(argv: list | None = None) -> None:
    """Convert the file that the command line names; print a summary."""
    args = parse_arguments(argv)
    checkpoint.refuse_run(args.out, "--out")
    config = read_config(args)
    section = config["MODEL"]
    set_source_arguments(section, args)
    class_names = read_names(args.class_index) if args.class_index else []
    content = read_content(args.file, args.source)
    found = find_state_dict(content, args.file, args.ema)
    weights = read_arrays(found, args.file)
    named = rename_weights(weights, section["name"], args.source)
    if args.source == IMAGENET:
        model = build_model(**{"num_classes": 1, **section})
        converted = convert_backbone(named, model, args.inflate)
    else:
        num_classes = find_classes(named)
        section.setdefault("num_classes", num_classes)
        if class_names and len(class_names) != section["num_classes"]:
            raise ValueError(
                f"{args.class_index} names {len(class_names)} classes, {args.file} has {num_classes}; "
                "give the names it was trained with"
            )
        model = build_model(**section)
        model.check_source(args.source)
        converted = convert_torch_weights(named, model)

    notes = {
        note: content[note] for note in ("arch", "epoch") if found.key and isinstance(content.get(note), (int, str))
    }
    source = {"file": pathlib.Path(args.file).name, "sha256": hash_file(args.file), "repository": args.source, **notes}
    written = {"model": converted, "class_names": class_names, "source": {**source, "model": section}}
    if args.config and args.source != IMAGENET:
        written["config"] = config
    checkpoint.save_checkpoint(args.out, written)
    print(f"{args.file}: {len(weights)} tensors" + (f" under '{found.key}'" if found.key else ""))
    print("\n".join(f"{note}: {source[note]}" for note in (*notes, "sha256")))
    print_choice(found, args.ema)
    parameters = [weight for name, weight in model.named_parameters() if name in converted and not weight.stop_gradient]
    num_parameters = sum(math.prod(weight.shape) for weight in parameters)
    print(f"converted: {len(converted)} tensors into {type(model).__name__}, {num_parameters:,} parameters")
    if graphs := [name for name in named if name not in converted and name in model.fixed_tensors()]:
        print(f"checked: {len(graphs)} graphs of the file, which are those of this network")
    print(f"skipped: {describe_skipped(found, weights, section['name'], args.source)}")
    print_next_commands(args, model, converted, class_names)


def read_config(args: argparse.Namespace) -> dict:
    """Return the config of the checkpoint; without --config only its section MODEL.

    MODEL.num_classes is missing if neither the config nor -o sets it.
    """
    if args.config:
        return recipe.read_recipe(args.config, {}, args.overrides)[0]
    config = parse_overrides(args.overrides)
    others = [name for name in config if name != "MODEL"]
    if others:
        raise ValueError(f"-o {others[0]}: only MODEL keys go without --config; name the config text to change")
    values = {**config.get("MODEL", {}), "name": args.model}
    return {"MODEL": fill_section(f"--model {args.model} -o MODEL", values, [MODELS[args.model]])}


def set_source_arguments(section: dict, args: argparse.Namespace) -> None:
    """Set what the network needs to compute the same as that of --source, unless -o sets it."""
    given = parse_overrides(args.overrides).get("MODEL", {})
    for key, value in MODELS[section["name"]].list_source_arguments(args.source).items():
        if key not in given:
            section[key] = value
            print(f"MODEL.{key} = {value}, as {args.source} has it")


def read_names(path: str) -> list[str]:
    """Read class names in the order of their labels: one a line, or `id name` with ids from 1."""
    names = annotations.read_class_names(path)
    is_index = bool(names) and names[0].split()[0].isdecimal()
    return splits.read_class_index(path) if is_index else names


def read_content(path: str, source: str):
    """Read a file of PyTorch, or from where Paddle's are published also one of `paddle.save`."""
    if source in PADDLE_SOURCES and path.endswith(checkpoint.SUFFIX):
        return checkpoint.load_checkpoint(path)["model"]
    return read_torch_file(path)


def find_state_dict(content, path: str, averaged: bool = False) -> state_dicts.StateDict:
    """Find the state dict in the content of a file; see `common.state_dicts.find_weights`.

    Args:
        content: result of `read_torch_file`.
        path: file that errors name.
        averaged: take averaged weights.

    Raises:
        ValueError: the content has no state dict.
    """
    parts = [content.get(key) for key in state_dicts.WRAPPERS] if isinstance(content, dict) else [content]
    for part in parts:
        if isinstance(part, Placeholder):
            raise ValueError(
                f"'{path}' holds a whole '{part.source}' object, which only its own code can open; "
                "save its state_dict() with PyTorch, and convert that"
            )
    return state_dicts.find_weights(content, path, averaged)


def read_arrays(found: state_dicts.StateDict, path: str) -> dict:
    """Return {name: array}, floating point numbers as float32.

    Raises:
        ValueError: an array has infinite or undefined values.
    """
    weights = {}
    for name, value in found.weights.items():
        if value.dtype.kind == "f":
            with np.errstate(over="ignore"):  # infinite values are reported below
                value = value.astype(np.float32, copy=False)
            if not np.isfinite(value).all():
                stated = found.names.get(name, name)
                raise ValueError(f"'{path}': {stated} has infinite or undefined values; download the file again")
        weights[name] = value
    return weights


def print_choice(found: state_dicts.StateDict, averaged: bool) -> None:
    """Print which prefixes were removed from the names, and which other weights the file has and what takes them."""
    prefixes = {stated.removesuffix(name) for name, stated in found.names.items() if stated.endswith(name)} - {""}
    if prefixes:
        print(f"removed from names: {', '.join(sorted(prefixes))}")
    if found.others:
        names = ", ".join(map(repr, found.others))
        kind, choice = ("other weights", "without --ema") if averaged else ("averaged weights", "with --ema")
        print(f"not taken: the {kind} under {names}; they are taken {choice}")


def rename_weights(weights: dict, model_name: str, source: str) -> dict:
    """Rename weights to the names of our network, by its `WEIGHT_SOURCES`.

    Raises:
        ValueError: the network takes no weights of that repository.
    """
    model_class = MODELS[model_name]
    if source not in model_class.WEIGHT_SOURCES:
        known = ", ".join(model_class.WEIGHT_SOURCES) or "none"
        raise ValueError(
            f"--source {source}: {model_class.__name__} takes no weights of that repository; known: {known}"
        )
    return model_class.WEIGHT_SOURCES[source](weights)


def find_classes(named: dict) -> int:
    """Return the number of classes: the rows of the last matrix that is a weight.

    Raises:
        ValueError: there is no matrix.
    """
    matrices = [value for name, value in named.items() if value.ndim == 2 and name.endswith("weight")]
    if not matrices:
        raise ValueError("the file has no linear layer: it holds a part of a network, which no model here fits")
    return matrices[-1].shape[0]


def convert_backbone(named: dict, model, mode: str) -> dict:
    """Convert weights of a 2-D network to those of a model's backbone; see `models.parts.inflate.inflate`."""
    return {f"backbone.{name}": value for name, value in inflate(named, model.backbone, mode).items()}


def describe_skipped(found: state_dicts.StateDict, weights: dict, model_name: str, source: str) -> str:
    """List the entries of a state dict that no layer uses; of counters only the number.

    To find them, each array is filled with its own number and renamed again: the numbers in the result were used,
    whether joined and transposed or not.
    """
    kept = {name: value for name, value in weights.items() if not is_counter(name)}
    numbered = {name: np.full(value.shape, number, np.int32) for number, (name, value) in enumerate(kept.items())}
    named = rename_weights(numbered, model_name, source)
    numbers = [value for value in named.values() if value.dtype.kind == "i"]  # not what a network draws itself
    used = {number for value in numbers for number in np.flatnonzero(np.bincount(value.ravel()))}
    unused = [found.names.get(name, name) for number, name in enumerate(kept) if number not in used]
    counters = [name for name in weights if is_counter(name)]
    kinds = ", ".join(dict.fromkeys(name.rpartition(".")[2] for name in counters))
    notes = [f"{len(counters)} counters ({kinds}), which Paddle's batch norm does not have"] if counters else []
    return ", ".join([*notes, *unused, *found.skipped]) or "nothing"


def hash_file(path: str) -> str:
    """Return the SHA-256 of a file, which identifies a download."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def print_next_commands(args, model, converted: dict, class_names: list) -> None:
    """Print the path of the checkpoint and commands that use it."""
    out = args.out.removesuffix(checkpoint.SUFFIX)
    print(f"written: {out}{checkpoint.SUFFIX}")
    if args.source == IMAGENET:
        others = dict.fromkeys(name.split(".")[0] for name in model.state_dict() if name not in converted)
        patterns = ", ".join(f"{name}.*" for name in others)
        print(f"to start from it: python train.py --pretrain {out} -o 'RUN.allow_missing=[{patterns}]'")
        return
    heads = [name for name, layer in model.named_sublayers() if isinstance(layer, paddle.nn.Linear)]
    patterns = ", ".join(f"{name}.*" for name in heads)
    print(f"to fine-tune it: python train.py --pretrain {out} -o 'RUN.ignore_weights=[{patterns}]'")
    if args.config:
        print(f"to score it: python test.py --weights {out}")
    else:
        print(f"to score it: python test.py --weights {out} --config FILE")
    if not class_names:
        print("it names no classes: give them with --class_index, in the order the authors trained with")


if __name__ == "__main__":
    command_line.run_main(main)
