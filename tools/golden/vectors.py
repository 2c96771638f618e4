"""Golden vectors: what a published network computes from weights that follow from their names.

Each JSON file of `tests/golden/` was made by running the authors' own PyTorch code. It stores names, shapes and
results; weights and input are drawn again here, each tensor from a generator of its own, so that no file holds a
single weight.
"""

import json
import pathlib
import zlib

import numpy as np
from paddle import nn

from models import build_model
from models.parts.weights import convert_torch_weights
from tools.golden import pose_networks, skeleton_networks

FOLDER = pathlib.Path(__file__).resolve().parents[2] / "tests" / "golden"


def list_names(pattern: str = "*") -> list:
    """List the golden files whose name matches `pattern`, without their suffix."""
    return sorted(path.stem for path in FOLDER.glob(f"{pattern}.json"))


def load(name: str) -> dict:
    """Read `tests/golden/<name>.json`."""
    return json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))


def draw_weights(golden: dict, gain: float = 2.0) -> dict:
    """Draw the state dict.

    Args:
        golden: a loaded file.
        gain: variance gain of all tensors with two axes or more, which the file may scale down further; 2 for the
            file's main results, 1 for `alt_gain1`.

    Returns:
        The authors' name -> float32 array in PyTorch's layout.
    """
    scale = golden.get("weights_ndim2_scale", 1.0)
    shapes = {**golden["state"], **golden.get("extra_state", {})}
    weights = {name: _draw_tensor(name, shape, gain, scale) for name, shape in shapes.items()}
    for rule in golden.get("weight_scale", []):
        for name in weights:
            if rule["contains"] in name and name.endswith(rule["endswith"]):
                weights[name] = weights[name] * np.float32(rule["factor"])
    return weights


def _draw_tensor(name, shape, gain, scale):
    rng = _generator(zlib.crc32(name.encode()))
    if name.endswith("running_var"):
        values = 0.5 + rng.random(shape)
    else:
        values = rng.standard_normal(shape)
        if len(shape) > 1:
            fan_in = np.prod(shape[1:])
            values *= np.sqrt(gain / fan_in) * scale
        else:
            values *= 0.1
            if name.endswith("weight"):
                values += 1.0
    return np.asarray(values, np.float32)


def draw_input(golden: dict) -> np.ndarray | dict:
    """Draw the input batch as float32: clips (N, C, T, H, W), skeletons (N, C, T, V, M), whatever the file's order.

    A file with several inputs gives {its name for an input: array}.
    """
    if "shape" not in golden["input"]:
        drawn = {name: draw_input({"input": one}) for name, one in golden["input"].items()}
        return drawn["x"] if list(drawn) == ["x"] else drawn
    rng = _generator(golden["input"]["seed"])
    values = rng.standard_normal(golden["input"]["shape"]).astype(np.float32)
    axes = golden["input"].get("layout", "").replace(",", "")
    if axes.startswith("N S C H W"):
        return np.ascontiguousarray(values.transpose(0, 2, 1, 3, 4))  # (N, S, C, H, W) -> (N, C, S, H, W)
    if set(axes) != set("NCTVM"):
        return values
    values = values.transpose([axes.index(axis) for axis in "NCTVM"]).copy()
    if "zeroed" in golden["input"]:
        values[1, ..., 1] = 0.0  # the second sample has one person only
    return values


def _generator(seed):
    # Not default_rng: the files name this bit generator, and numpy may change its default.
    return np.random.Generator(np.random.PCG64(seed))


def build(golden: dict, gain: float = 2.0) -> nn.Layer:
    """Build our network for a golden file, in evaluation mode, with the file's weights."""
    name, arguments = describe(golden)
    model = build_model(name, **arguments)
    weights = model.TORCH_SOURCES[_source(golden)](draw_weights(golden, gain))
    model.set_state_dict(convert_torch_weights(weights, model))
    model.eval()
    return model


def describe(golden: dict) -> tuple:
    """Give (name in `MODELS`, arguments) of our network for a golden file.

    Raises:
        ValueError: nobody has told how files of that repository are read.
    """
    source = _source(golden)
    if "backbone_args" in golden["reference"]:
        return pose_networks.read(golden)
    if source not in READINGS:
        raise ValueError(f"golden.describe: no reading for files of '{source}' (known: {', '.join(READINGS)})")
    return READINGS[source](golden)


def rename_norms(golden: dict, norms: dict, model: nn.Layer) -> dict:
    """Give gradient norms {the authors' name: norm or None} the names of our network; None: no gradient."""
    named = model.TORCH_SOURCES[_source(golden)]({name: np.asarray(norm, float) for name, norm in norms.items()})
    return {name: None if np.isnan(norm) else float(norm) for name, norm in named.items()}


def _source(golden):
    name = golden["reference"]["repository"].rpartition("/")[2].lower()
    return pose_networks.FORKS.get(name, name)


HARA_NAMES = {  # the others are the same in both
    "resnet2p1d": "r2plus1d",
    "n_classes": "num_classes",
    "n_input_channels": "in_channels",
    "shortcut_type": "shortcut",
}
HARA_CONSTANTS = ("family", "block_config", "bn_size", "drop_rate")  # told by the depth, or the same in all files


def read_3d_resnets(golden: dict) -> tuple:
    """Describe a file of Hara et al.'s repository."""
    config = golden["config"]
    arguments = {HARA_NAMES.get(key, key): value for key, value in config.items() if key not in HARA_CONSTANTS}
    return HARA_NAMES.get(config["family"], config["family"]), arguments


def read_mmaction2(golden: dict) -> tuple:
    """Describe a file of MMAction2: a SlowOnly or TSM recognizer, with or without the neck of TPN."""
    model = golden["config"]["model"]
    backbone = {"ResNet3dSlowOnly": "slowonly", "ResNetTSM": "tsm"}[model["backbone"]["type"]]
    arguments = {"num_classes": model["cls_head"]["num_classes"], "depth": model["backbone"]["depth"]}
    if backbone == "tsm":
        arguments["shift"] = "residual"
    if "neck" not in model:
        return backbone, arguments
    neck = model["neck"]
    return "tpn", arguments | {
        "backbone": backbone,
        "temporal_scales": neck["temporal_modulation_cfg"]["downsample_scales"],
        "upsample_scale": neck["upsample_cfg"]["scale_factor"],
        "downsample_scale": neck["downsample_cfg"]["downsample_scale"],
        "fusion_scales": neck["level_fusion_cfg"]["downsample_scales"],
        "flow": neck.get("flow_type", "cascade"),
        "aux_weight": neck["aux_head_cfg"]["loss_weight"],
    }


def read_tpn(golden: dict) -> tuple:
    """Describe a file of the TPN repository, whose TSM shifts in place."""
    model = golden["config"]["model"]
    backbone = "tsm" if model["backbone"].get("tsm") else "slowonly"
    arguments = {"num_classes": model["cls_head"]["num_classes"], "depth": model["backbone"]["depth"]}
    if backbone == "tsm":
        arguments["shift"] = "inplace"
    if "necks" not in model:
        return backbone, arguments
    neck = model["necks"]
    return "tpn", arguments | {
        "backbone": backbone,
        "temporal_scales": neck["temporal_modulation_config"]["scales"],
        "upsample_scale": neck["upsampling_config"]["scale"],
        "downsample_scale": neck["downsampling_config"]["scales"],
        "fusion_scales": neck["level_fusion_config"]["ds_scales"],
        "aux_weight": neck["aux_head_config"]["loss_weight"],
    }


READINGS = {  # repository, as in a model's TORCH_SOURCES: what `describe` does
    "3d-resnets-pytorch": read_3d_resnets,
    "mmaction2": read_mmaction2,
    "tpn": read_tpn,
    **skeleton_networks.READINGS,
}
