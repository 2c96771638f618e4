"""Checkpoints: one file with everything that is needed to go on as if nothing had happened.

A checkpoint is a pickle of plain containers and NumPy arrays, named `*.pdparams`: `paddle.load` reads it too. It is
written to a temporary file and renamed, and read without running anything that stands in it. Random states need no
place in it: every epoch draws from (seed, epoch), and both are there.
"""

import fnmatch
import pathlib
import zipfile

import numpy as np
import paddle

from common import files

SUFFIX = ".pdparams"
MASTERS = "master_weights"  # Paddle's name for the float32 weights behind the float16 ones of RUN.amp_level=O2


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
        `class_names`, `versions`, `num_ranks`, `samples_per_update`, `role` (why the file was kept: `last`, `best` or
        `kept`), `precision` (the loss scale of a float16 run) and, in a run with RUN.ema_decay, `ema` (parameter name
        -> average).

    Raises:
        FileNotFoundError: no such file; lists the checkpoints that stand beside it.
        ValueError: truncated, not a checkpoint, or a file that would run code.
    """
    found = next((file for file in (path, _with_suffix(path)) if pathlib.Path(file).is_file()), None)
    if found is None:
        beside = sorted(str(file) for file in pathlib.Path(path).parent.glob("*" + SUFFIX))
        there = f"that folder has {', '.join(beside)}" if beside else "run train.py first"
        raise FileNotFoundError(f"no checkpoint '{_with_suffix(path)}'; {there}")
    state = None if zipfile.is_zipfile(found) else files.load_pickle(found)
    if state is None or isinstance(state, int):  # PyTorch writes zip files; before 1.6 a pickle that begins so
        raise ValueError(f"'{found}' is a file of PyTorch; make a checkpoint of it with tools/torch2paddle.py")
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


def scoring_weights(state: dict) -> dict:
    """Return the weights that a checkpoint is scored with: the moving average where it has one."""
    return {**state["model"], **state.get("ema", {})}


def restore_model(model: paddle.nn.Layer, weights: dict, ignore: list = (), allow_missing: list = ()) -> list:
    """Load `weights` into `model`; every name and shape must agree but for what is allowed to differ.

    Args:
        ignore: name patterns such as `fc.*`; what matches is left out, and the model keeps its initial values.
        allow_missing: name patterns such as `neck.*`; what `weights` lacks of these keeps its initial values.

    Returns:
        The names that keep their initial values.

    Raises:
        ValueError: missing, left-over or mismatched names, with the first few of each.
    """
    weights = {name: value for name, value in weights.items() if not _matches(name, ignore)}
    state = model.state_dict()
    initialized = [name for name in state if _matches(name, ignore)]
    known = {*weights, *initialized}
    initialized += [name for name in state if name not in known and _matches(name, allow_missing)]
    expected = {name: list(value.shape) for name, value in state.items() if name not in initialized}
    faults = {
        "missing": [name for name in expected if name not in weights],
        "left over": [name for name in weights if name not in expected],
        "of another shape": [
            f"{name} {list(weights[name].shape)} for {shape}"
            for name, shape in expected.items()
            if name in weights and list(weights[name].shape) != shape
        ],
    }
    listed = [f"{len(names)} {what} ({', '.join(names[:3])})" for what, names in faults.items() if names]
    if listed:
        raise ValueError(f"the weights do not fit this {type(model).__name__}: {'; '.join(listed)}")
    for name, value in weights.items():
        state[name].set_value(value)
    return initialized


def _matches(name: str, patterns: list) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def optimizer_state(model: paddle.nn.Layer, optimizer: paddle.optimizer.Optimizer) -> dict:
    """Return the optimizer's tensors under the model's own parameter names: {name: {slot: array}}.

    Paddle keys them by names it numbers as layers are built (`conv3d_0.w_0_velocity_0`), which differ from one
    process to the next as soon as another layer is built first.
    """
    values = optimizer.state_dict()
    masters = values.pop(MASTERS, {})
    state = {}
    for name, parameter in model.named_parameters():
        prefix = parameter.name + "_"
        slots = {key[len(prefix) :]: value.numpy() for key, value in values.items() if key.startswith(prefix)}
        if parameter.name in masters:
            slots[MASTERS] = masters[parameter.name].numpy()
        if slots:
            state[name] = slots
    return state


def restore_optimizer(model: paddle.nn.Layer, optimizer: paddle.optimizer.Optimizer, state: dict) -> None:
    """Load the tensors into `optimizer` that `optimizer_state` returned for the same model."""
    names = {name: parameter.name for name, parameter in model.named_parameters()}
    unknown = [name for name in state if name not in names]
    if unknown:
        raise ValueError(f"the optimizer state has {len(unknown)} parameters the model lacks, such as '{unknown[0]}'")
    values, masters = {}, {}
    for name, slots in state.items():
        for slot, value in slots.items():
            target, key = (masters, names[name]) if slot == MASTERS else (values, f"{names[name]}_{slot}")
            target[key] = paddle.to_tensor(value)
    if masters:
        values[MASTERS] = masters
    optimizer.set_state_dict(values)
