"""Golden vectors: results of published networks, from weights that are drawn by their names.

Each JSON file of `tests/golden/` was made by running the authors' PyTorch code. It has names, shapes and results, but
no weights: these and the input are drawn again here, each tensor from a generator of its own.
"""

import json
import pathlib
import zlib

import numpy as np
from paddle import nn

from models import build_model
from models.parts.weights import convert_torch_weights
from tools.golden import paddlevideo_networks, pose_networks, rgb_networks, skeleton_networks

READERS = {**rgb_networks.READERS, **skeleton_networks.READERS, "paddlevideo": paddlevideo_networks.read_paddlevideo}
FOLDER = pathlib.Path(__file__).resolve().parents[2] / "tests" / "golden"
GAIN = 2.0  # of the main results of a file


def list_names(pattern: str = "*") -> list:
    """List the names of the golden files that match `pattern`, with the folder of a subfolder's, without suffix."""
    return sorted(path.relative_to(FOLDER).with_suffix("").as_posix() for path in FOLDER.glob(f"{pattern}.json"))


def load(name: str) -> dict:
    """Read `tests/golden/<name>.json`."""
    return json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))


def draw_weights(golden: dict, gain: float = GAIN) -> dict:
    """Draw the state dict.

    Args:
        golden: content of a file.
        gain: variance gain of the tensors with two axes or more, which the file may scale further; 2 for the main
            results of a file, 1 for those under `alt_gain1`.

    Returns:
        Authors' name -> float32 array in the authors' layout; also the graphs that a checkpoint of PaddleVideo has.
    """
    scale = golden.get("weights_ndim2_scale", 1.0)
    shapes = {**golden["state"], **golden.get("extra_state", {})}
    weights = {name: _draw_tensor(name, shape, gain, scale) for name, shape in shapes.items()}
    for rule in golden.get("weight_scale", []):
        for name in weights:
            if rule["contains"] in name and name.endswith(rule["endswith"]):
                weights[name] = weights[name] * np.float32(rule["factor"])
    constants = golden["constants"] if "framework" in golden else {}
    graphs = {name: np.float32(entry["values"]) for name, entry in constants.items() if entry["in_state_dict"]}
    return {**graphs, **weights}


def _draw_tensor(name, shape, gain, scale):
    rng = _generator(zlib.crc32(name.encode()))
    if name.endswith(("running_var", "._variance")):
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
    """Draw the input batch.

    Returns:
        float32 clips (N, C, T, H, W) or skeletons (N, C, T, V, M), whatever the order of the axes in the file; for a
        file with several inputs {authors' name of an input: array}.
    """
    if "shape" not in golden["input"]:
        entries = {name: entry for name, entry in golden["input"].items() if name != "check"}
        inputs = {name: draw_input({"input": entry}) for name, entry in entries.items()}
        return inputs["x"] if list(inputs) == ["x"] else inputs
    if "raw_shape" in golden["input"]:
        return _draw_part_signals(golden["input"])
    rng = _generator(golden["input"]["seed"])
    values = rng.standard_normal(golden["input"]["shape"]).astype(np.float32)
    axes = golden["input"].get("layout", "").replace(",", "")
    if axes.startswith("N S C H W"):
        return np.ascontiguousarray(values.transpose(0, 2, 1, 3, 4))  # (N, S, C, H, W) -> (N, C, S, H, W)
    if set(axes) != set("NCTVM"):
        return values
    values = values.transpose([axes.index(axis) for axis in "NCTVM"]).copy()
    if "zeroed" in golden["input"]:
        values[1, ..., 1] = 0.0  # the second sample has only one person
    return values


def draw_inputs(golden: dict) -> list:
    """Draw the inputs of a batch in the order in which the network takes them; see `draw_input`."""
    drawn = draw_input(golden)
    return list(drawn.values()) if isinstance(drawn, dict) else [drawn]


def _draw_part_signals(entry: dict) -> np.ndarray:
    """Draw joints (N, C, T, V, M); return their steps to the next frame, and their places relative to four joints."""
    raw = _generator(entry["seed"]).standard_normal(entry["raw_shape"])
    raw[1, ..., 1] = 0  # the second sample has only one person
    steps = np.zeros_like(raw)
    steps[:, :, :-1] = raw[:, :, 1:] - raw[:, :, :-1]
    relative = [raw - raw[:, :, :, joint : joint + 1] for joint in (4, 8, 12, 16)]  # shoulders and hips
    return np.concatenate([steps, *relative], axis=1).astype(np.float32)


def _generator(seed):
    # Not default_rng: the files name this bit generator, and NumPy may change its default.
    return np.random.Generator(np.random.PCG64(seed))


def build(golden: dict, gain: float = GAIN) -> nn.Layer:
    """Build our network of a golden file with the weights of the file, in evaluation mode."""
    name, arguments = describe(golden)
    model = build_model(name, **arguments)
    weights = model.WEIGHT_SOURCES[find_source(golden)](draw_weights(golden, gain))
    model.set_state_dict(convert_torch_weights(weights, model))
    model.eval()
    return model


def describe(golden: dict) -> tuple:
    """Return (name in `MODELS`, arguments) of our network of a golden file.

    Raises:
        ValueError: the repository of the file is unknown.
    """
    source = find_source(golden)
    if "backbone_args" in golden["reference"]:
        return pose_networks.read_arguments(golden)
    if source not in READERS:
        raise ValueError(f"golden file of the unknown repository '{source}'; known: {', '.join(READERS)}")
    return READERS[source](golden)


def rename_norms(golden: dict, norms: dict, model: nn.Layer) -> dict:
    """Convert gradient norms {authors' name: norm} to {our name: norm}; a norm of None means no gradient."""
    named = model.WEIGHT_SOURCES[find_source(golden)]({name: np.asarray(norm, float) for name, norm in norms.items()})
    return {name: None if np.isnan(norm) else float(norm) for name, norm in named.items()}


def collect_gradient_norms(golden: dict, model: nn.Layer) -> dict:
    """Return {authors' name: L2 norm of its gradient, None without one}, though a tensor of ours may hold several.

    Each of the authors' tensors is filled with its own number and converted: what arrives where tells the origin.
    """
    shapes = golden["state"]
    numbered = {name: np.full(shape, number, np.float32) for number, (name, shape) in enumerate(shapes.items())}
    origins = convert_torch_weights(model.WEIGHT_SOURCES[find_source(golden)](numbered), model)
    names, norms = list(shapes), {}
    for name, param in model.named_parameters():
        if param.stop_gradient:
            continue
        gradient = None if param.grad is None else param.grad.numpy().astype(np.float64)
        for number in np.unique(origins[name]).astype(int):
            part = None if gradient is None else float(np.linalg.norm(gradient[origins[name] == number]))
            norms[names[number]] = part
    return norms


def find_source(golden: dict) -> str:
    """Return the repository of a golden file, as `WEIGHT_SOURCES` calls it."""
    name = golden["reference"]["repository"].rpartition("/")[2].lower()
    return pose_networks.FORKS.get(name, name)
