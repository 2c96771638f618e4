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
from models.weights import convert_torch_weights
from tools import golden_skeletons

FOLDER = pathlib.Path(__file__).resolve().parent.parent / "tests" / "golden"


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
    return {name: _draw_tensor(name, shape, gain, scale) for name, shape in golden["state"].items()}


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


def draw_input(golden: dict) -> np.ndarray:
    """Draw the input batch as float32, skeletons as (N, C, T, V, M) whatever the authors' order of axes."""
    rng = _generator(golden["input"]["seed"])
    values = rng.standard_normal(golden["input"]["shape"]).astype(np.float32)
    axes = golden["input"]["layout"].replace(",", "")
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
    if source not in READINGS:
        raise ValueError(f"golden.describe: no reading for files of '{source}' (known: {', '.join(READINGS)})")
    return READINGS[source](golden)


def _source(golden):
    return golden["reference"]["repository"].rpartition("/")[2].lower()


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


READINGS = {  # repository, as in a model's TORCH_SOURCES: what `describe` does
    "3d-resnets-pytorch": read_3d_resnets,
    **golden_skeletons.READINGS,
}
