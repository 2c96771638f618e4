"""Reference vectors of `tests/golden/`: what a published network computes from weights that follow from their names.

Each JSON file was made by running the authors' own PyTorch code. It stores names, shapes and results; weights and
input are drawn again here, each tensor from a generator of its own, so that no file holds a single weight.
"""

import json
import pathlib
import zlib

import numpy as np

FOLDER = pathlib.Path(__file__).resolve().parent / "golden"


def load_golden(name):
    """Read `tests/golden/<name>.json`."""
    return json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))


def draw_weights(golden, gain):
    """Draw the state dict: reference name -> float32 array; `gain` is the variance gain of convolutions and linears."""
    return {name: _draw_tensor(name, shape, gain) for name, shape in golden["state"].items()}


def _draw_tensor(name, shape, gain):
    rng = _generator(zlib.crc32(name.encode()))
    if name.endswith("running_var"):
        values = 0.5 + rng.random(shape)
    else:
        values = rng.standard_normal(shape)
        if len(shape) > 1:
            fan_in = np.prod(shape[1:])
            values *= np.sqrt(gain / fan_in)
        else:
            values *= 0.1
            if name.endswith("weight"):
                values += 1.0
    return np.asarray(values, np.float32)


def draw_input(golden):
    """Draw the input batch as float32."""
    rng = _generator(golden["input"]["seed"])
    return rng.standard_normal(golden["input"]["shape"]).astype(np.float32)


def _generator(seed):
    # Not default_rng: the files name this bit generator, and numpy may change its default.
    return np.random.Generator(np.random.PCG64(seed))
