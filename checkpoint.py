"""Checkpoints: one file with everything that is needed to go on as if nothing had happened.

A checkpoint is a pickle of plain containers and NumPy arrays, named `*.pdparams`: `paddle.load` reads it too. It is
written to a temporary file and renamed, and read without running anything that stands in it. Random states need no
place in it: every epoch draws from (seed, epoch), and both are there.
"""

import fnmatch
import pathlib

import numpy as np
import paddle

import files

SUFFIX = ".pdparams"


def save_checkpoint(path: str, state: dict) -> None:
    """Write `state` (see `load_checkpoint`) to `path` with the suffix `.pdparams`, atomically."""
    files.dump_pickle(state, _with_suffix(path))


def load_checkpoint(path: str) -> dict:
    """Read a checkpoint of ours, or the plain state dict of any Paddle 1.8 to 3.x model.

    Args:
        path: with or without the suffix `.pdparams`.

    Returns:
        A dict whose `model` maps parameter names to arrays. A file of ours also has `optimizer`, `epoch` (epochs
        done), `step` (updates done), `plateau`, `history` (one dict an epoch), `best`, `config` (resolved sections),
        `class_names`, `versions` and `role` (why the file was kept: `last`, `best` or `kept`).

    Raises:
        FileNotFoundError: no such file; lists the checkpoints that stand beside it.
        ValueError: truncated, not a checkpoint, or a file that would run code.
    """
    found = next((one for one in (path, _with_suffix(path)) if pathlib.Path(one).is_file()), None)
    if found is None:
        beside = sorted(str(one) for one in pathlib.Path(path).parent.glob("*" + SUFFIX))
        there = f"that folder has {', '.join(beside)}" if beside else "run train.py first"
        raise FileNotFoundError(f"no checkpoint '{_with_suffix(path)}'; {there}")
    state = files.load_pickle(found)
    if not isinstance(state, dict):
        raise ValueError(f"'{found}' holds a {type(state).__name__}, expected a checkpoint; was it made by train.py?")
    if "model" not in state:
        state = {"model": {name: value for name, value in state.items() if isinstance(value, np.ndarray)}}
    if not state["model"]:
        raise ValueError(f"'{found}' holds no weights; give a file of train.py or of paddle.save(model.state_dict())")
    return state


def prune_checkpoints(save_dir: str, pattern: str, max_keep: int) -> None:
    """Delete all but the newest `max_keep` files of `save_dir` that match `pattern`, by name."""
    for old in sorted(pathlib.Path(save_dir).glob(pattern + SUFFIX))[:-max_keep]:
        old.unlink()


def checkpoint_exists(path: str) -> bool:
    """Whether `load_checkpoint` would find a file."""
    return pathlib.Path(_with_suffix(path)).is_file()


def _with_suffix(path: str) -> str:
    return str(path) if str(path).endswith(SUFFIX) else f"{path}{SUFFIX}"


def model_state(model: paddle.nn.Layer) -> dict:
    """Return {parameter or buffer name: array} of a model."""
    return {name: value.numpy() for name, value in model.state_dict().items()}


def restore_model(model: paddle.nn.Layer, weights: dict, ignore: list = ()) -> list:
    """Load `weights` into `model`; every name and shape must agree.

    Args:
        ignore: name patterns such as `fc.*`; what matches keeps the model's own values.

    Returns:
        The names that were ignored.

    Raises:
        ValueError: missing, left-over or mismatched names, with the first few of each.
    """
    ignored = [name for name in model.state_dict() if any(fnmatch.fnmatch(name, one) for one in ignore)]
    weights = {name: value for name, value in weights.items() if not any(fnmatch.fnmatch(name, one) for one in ignore)}
    own = {name: list(value.shape) for name, value in model.state_dict().items() if name not in ignored}
    faults = {
        "missing": [name for name in own if name not in weights],
        "left over": [name for name in weights if name not in own],
        "of another shape": [
            f"{name} {list(weights[name].shape)} for {shape}"
            for name, shape in own.items()
            if name in weights and list(weights[name].shape) != shape
        ],
    }
    told = [f"{len(names)} {what} ({', '.join(names[:3])})" for what, names in faults.items() if names]
    if told:
        raise ValueError(f"the weights do not fit this {type(model).__name__}: {'; '.join(told)}")
    parameters = model.state_dict()
    for name, value in weights.items():
        parameters[name].set_value(value)
    return ignored


def optimizer_state(model: paddle.nn.Layer, optimizer: paddle.optimizer.Optimizer) -> dict:
    """Return the optimizer's tensors under the model's own parameter names: {name: {slot: array}}.

    Paddle keys them by names it numbers as layers are built (`conv3d_0.w_0_velocity_0`), which differ from one
    process to the next as soon as another layer is built first.
    """
    values = optimizer.state_dict()
    state = {}
    for name, parameter in model.named_parameters():
        prefix = parameter.name + "_"
        slots = {key[len(prefix) :]: value.numpy() for key, value in values.items() if key.startswith(prefix)}
        if slots:
            state[name] = slots
    return state


def restore_optimizer(model: paddle.nn.Layer, optimizer: paddle.optimizer.Optimizer, state: dict) -> None:
    """Give `optimizer` the tensors that `optimizer_state` returned for the same model."""
    names = {name: parameter.name for name, parameter in model.named_parameters()}
    unknown = [name for name in state if name not in names]
    if unknown:
        raise ValueError(f"the optimizer state has {len(unknown)} parameters the model lacks, such as '{unknown[0]}'")
    values = {
        f"{names[name]}_{slot}": paddle.to_tensor(value)
        for name, slots in state.items()
        for slot, value in slots.items()
    }
    optimizer.set_state_dict(values)
