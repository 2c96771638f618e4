"""Merge a trained RGB network and a trained pose network into an RGBPoseConv3D or PCAN, to fine-tune it.

    python tools/merge_rgbpose.py output/rgb/best output/pose/best --model rgbposeconv3d --out weights/merged
    python tools/merge_rgbpose.py output/rgb/best output/pose/best --config configs/FILE.yaml --out weights/merged

The RGB network is a `slowonly`, the pose network a `posec3d` with temporal_strides [1, 1, 1]. Weights of stages that
also take features of the other pathway get zeros for these, so that the merged network first computes the same as the
two networks. Weights that neither network has (laterals, and PCAN's gates, coarse classes and prototypes) are drawn
from --seed. In evaluation PCAN adds the cosines of prototypes to its logits, which are random before its training.
"""

import argparse
import dataclasses
import pathlib
import re
import sys

if not __package__:  # run as a script, from any folder: the project's modules are one folder up
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from common import command_line

if __name__ == "__main__":
    command_line.start_paddle()

import numpy as np
import paddle

import recipe
from engine import checkpoint, resume
from models import build_model
from tools.convert_weights import read_config

NETWORKS = ("rgbposeconv3d", "pcan")
KINDS = {"rgb": "slowonly", "pose": "posec3d"}  # network that a pathway is trained as
KEYS_THAT_MUST_AGREE = ("layout", "kind", "limbs")  # of READER: which map a channel is
DRAWN = ["backbone.*_laterals.*", "backbone.gates.*", "fc_*_coarse.*", "prototypes.*"]
WIDENED = re.compile(r"backbone\.(rgb|pose)_path\.layer\d+\.0\.(conv1|downsample\.0)\.weight")


def parse_arguments(argv: list | None = None) -> argparse.Namespace:
    """Parse the command line; see `python tools/merge_rgbpose.py --help`."""
    parser = command_line.CommandLine("Merge a trained RGB network and a trained pose network.")
    parser.add_argument("rgb", help="checkpoint of a slowonly")
    parser.add_argument("pose", help="checkpoint of a posec3d with temporal_strides [1, 1, 1]")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--config", help="config text of the merged network; the checkpoint will contain it")
    what.add_argument("--model", choices=NETWORKS, help="merged network, for a checkpoint without a config")
    parser.add_argument("-o", dest="overrides", action="append", default=[], help="SECTION.key=value, repeatable")
    parser.add_argument("--seed", type=int, default=0, help="seed of the weights that are drawn")
    parser.add_argument("--out", required=True, help="checkpoint to write")
    return parser.parse_args(argv)


def main(argv: list | None = None) -> None:
    """Merge the checkpoints that the command line names; print a summary."""
    args = parse_arguments(argv)
    checkpoint.refuse_run(args.out, "--out")
    config = read_config(args)
    section = config["MODEL"]
    if section["name"] not in NETWORKS:
        raise ValueError(f"{args.config}: MODEL.name is '{section['name']}', expected one of {', '.join(NETWORKS)}")
    paths = {"rgb": args.rgb, "pose": args.pose}
    for path in paths.values():
        if checkpoint.are_same(path, args.out):
            raise ValueError(f"--out {args.out} is one of the networks that are merged; choose another name")
    states = {name: checkpoint.load_checkpoint(path) for name, path in paths.items()}
    class_names = join_class_names(states, paths)
    parts = {name: rename_part(name, checkpoint.scoring_weights(state), paths[name]) for name, state in states.items()}
    section.setdefault("num_classes", len(parts["rgb"]["fc_rgb.bias"]))
    paddle.seed(args.seed)
    model = build_model(**section)
    for name, state in states.items():
        check_plan(name, find_section(state), model.backbone.configs[name], paths[name])
        check_inputs(name, state, config, paths[name])
    compare_samples(states, paths)
    weights = {**parts["rgb"], **parts["pose"]}
    widened = widen_inputs(weights, model)
    drawn = checkpoint.restore_model(model, {**weights, **widened}, allow_missing=DRAWN)
    written = {
        "model": checkpoint.model_state(model),
        "class_names": class_names,
        "source": {"merged": paths, "model": section},
        "parts": {
            name: {"config": state.get("config", {}), "data": state.get("data", {})} for name, state in states.items()
        },
    }
    if args.config:
        written["config"] = config
    checkpoint.save_checkpoint(args.out, written)
    out = args.out.removesuffix(checkpoint.SUFFIX)
    zeros = f"{len(widened)} with columns of zeros"
    print(f"{len(weights)} tensors of both, {zeros}; {len(drawn)} drawn from seed {args.seed}")
    print(f"written: {out}{checkpoint.SUFFIX}")
    print(f"to fine-tune it: python train.py --pretrain {out}{f' --config {args.config}' if args.config else ''}")


def join_class_names(states: dict, paths: dict) -> list:
    """Return the class names of the checkpoints, of which one may have none.

    Raises:
        ValueError: both have names, and they differ.
    """
    listed = [list(state.get("class_names") or []) for state in states.values()]
    if all(listed):
        recipe.compare_classes(*listed, paths["pose"])
    return listed[0] or listed[1]


def rename_part(name: str, weights: dict, path: str) -> dict:
    """Rename the weights of a network to their names in the merged network.

    Raises:
        ValueError: they are not the weights of a backbone and a linear classifier.
    """
    prefixes = {"backbone.": f"backbone.{name}_path.", "fc.": f"fc_{name}."}
    renamed = {}
    for key, value in weights.items():
        prefix = next((prefix for prefix in prefixes if key.startswith(prefix)), None)
        if prefix is None:
            raise ValueError(
                f"'{path}' has '{key}', expected the weights of a {KINDS[name]}; train one for this pathway"
            )
        renamed[prefixes[prefix] + key.removeprefix(prefix)] = value
    return renamed


def find_section(state: dict) -> dict:
    """Return the section MODEL that a checkpoint was trained or converted with; {} if it does not contain one."""
    return state.get("config", {}).get("MODEL") or state.get("source", {}).get("model") or {}


def check_plan(name: str, section: dict, plan, path: str) -> None:
    """Check that a checkpoint was trained with the arguments of its pathway; other weights may fit in shape only.

    Raises:
        ValueError: an argument differs; the message names it.
    """
    if section and section.get("name") != KINDS[name]:
        raise ValueError(f"'{path}' is a {section.get('name')}, expected a {KINDS[name]} for the {name} pathway")
    arguments = dataclasses.asdict(plan)
    for key, value in section.items():
        wanted = arguments.get(key, value)
        if isinstance(value, list | tuple) and list(value) != list(wanted):
            raise ValueError(
                f"'{path}' was trained with {key} {list(value)}, the {name} pathway has {list(wanted)}; "
                f"set -o MODEL.{name}_{key}, or train it again"
            )


def check_inputs(name: str, state: dict, config: dict, path: str) -> None:
    """Compare what a pathway was trained to see with READER of the merged network; print what differs.

    Raises:
        ValueError: the channels of its maps are other joints or limbs.
    """
    trained = state.get("config", {})
    for key in resume.PATHWAY_KEYS[name]:
        change = "".join(resume.find_other_inputs(trained, config, (key,)))
        if change and key in KEYS_THAT_MUST_AGREE:
            raise ValueError(
                f"'{path}': {change}: the channels of its maps are others; set -o READER.{key} as it was trained, or "
                "train it again"
            )
        if change:
            print(f"merge_rgbpose: WARNING: '{path}': {change}; the {name} pathway was trained on other inputs")


def compare_samples(states: dict, paths: dict) -> None:
    """Print a warning if the two networks were trained on other samples: one's may be in the other's test."""
    trained = {paths[name]: state.get("data", {}).get("TRAIN") for name, state in states.items()}
    if all(trained.values()) and len({data["digest"] for data in trained.values()}) > 1:
        listed = ", ".join(f"'{path}' on {resume.format_data(data)}" for path, data in trained.items())
        print(f"merge_rgbpose: WARNING: trained on other samples: {listed}; score what neither was trained on")


def widen_inputs(weights: dict, model: paddle.nn.Layer) -> dict:
    """Return the weights of layers that also take features of the other pathway, with columns of zeros for these.

    Args:
        weights: name in `model` -> array.
        model: the merged network.
    """
    state = model.state_dict()
    widened = {}
    for name, value in weights.items():
        if not WIDENED.fullmatch(name) or name not in state:
            continue
        missing = state[name].shape[1] - value.shape[1]
        if missing > 0:
            widened[name] = np.pad(value, [(0, 0), (0, missing), (0, 0), (0, 0)])
    return widened


if __name__ == "__main__":
    command_line.run_main(main)
