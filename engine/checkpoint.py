"""Checkpoints: one file with everything that is needed to go on as if nothing had happened.

A checkpoint is a pickle of plain containers and NumPy arrays, named `*.pdparams`: `paddle.load` reads it too. It is
written to a temporary file and renamed, and read without running anything that stands in it. Random states need no
place in it: every epoch draws from (seed, epoch), and both are there.
"""

import fnmatch
import logging
import pathlib
import re
import zipfile

import numpy as np
import paddle

from common import files, state_dicts
from common.text_files import read_text

SUFFIX = ".pdparams"
ROOT = pathlib.Path(__file__).resolve().parent.parent
TEXTS = ("MODEL_ZOO.md", "docs/rgbpose.md")  # they have the commands that make weights to start from
OTHER_FILES = {
    **dict.fromkeys(
        (".pdiparams", ".pdmodel", ".onnx"), "part of an exported network; predict.py --exported takes its folder"
    ),
    ".pdopt": "the state of an optimizer; give the weights, which are named .pdparams",
    ".safetensors": "a file of PyTorch; make a checkpoint of it with tools/convert_weights.py",
}
# Types of what is read of a checkpoint; the same key of another trainer may be anything.
KINDS = {
    **{"config": dict, "ema": dict, "class_names": (list, tuple), "history": list, "epoch": int, "step": int},
    **{"data": dict, "parts": dict},
}
# Of each section of `data`, and of each pathway of `parts`.
ENTRY_KEYS = {"data": {"samples", "num_samples", "digest"}, "parts": {"config", "data"}}
TRAINED = "trained"  # role of the checkpoint of an epoch that is yet to be validated
MASTERS = "master_weights"  # Paddle's name for the float32 weights behind the float16 ones of RUN.amp_level=O2


def save_checkpoint(path: str, state: dict) -> None:
    """Write `state` (see `load_checkpoint`) to `path` with the suffix `.pdparams`, atomically."""
    files.dump_pickle(state, _with_suffix(path))


def are_same(path: str, other: str) -> bool:
    """Whether two paths, with or without the suffix, are those of one checkpoint."""
    return pathlib.Path(_with_suffix(path)).resolve() == pathlib.Path(_with_suffix(other)).resolve()


def refuse_run(path: str, flag: str) -> None:
    """Refuse to write over a checkpoint that a run can go on from.

    Args:
        path: with or without the suffix.
        flag: of the command line, names the file to write.

    Raises:
        ValueError: `path` is such a checkpoint; names another way.
    """
    if not checkpoint_exists(path):
        return
    try:
        state = files.load_pickle(_with_suffix(path))
    except ValueError:  # damaged: no run goes on from it
        return
    if isinstance(state, dict) and "optimizer" in state:
        raise ValueError(f"{flag} {path} is the checkpoint of a run, which goes on from it; choose another name")


def load_checkpoint(path: str) -> dict:
    """Read a checkpoint of ours, or weights of Paddle 1.8 to 3.x: a state dict, or one in the dicts of a trainer.

    Args:
        path: with or without the suffix `.pdparams`.

    Returns:
        A dict whose `model` maps parameter names to arrays. A file of ours also has `optimizer`, `epoch` (epochs
        done), `step` (updates done), `plateau`, `history` (one dict an epoch), `best`, `config` (resolved sections),
        `class_names`, `data` (what it was trained on, see `resume.describe_data`), `versions`, `num_ranks`,
        `samples_per_update`, `role` (why the file was kept: `last`, `best`, `kept`, or `trained`, the last one before
        its validation), `precision` (the loss scale of a float16 run) and, in a run with RUN.ema_decay, `ema`
        (parameter name -> average). One of `make_slim` has no `optimizer`.

    Raises:
        FileNotFoundError: no such file; lists the checkpoints that stand beside it.
        ValueError: truncated, not a checkpoint, or a file that would run code.
    """
    found = next((file for file in (path, _with_suffix(path)) if pathlib.Path(file).is_file()), None)
    if found is None:
        raise FileNotFoundError(f"no checkpoint '{_with_suffix(path)}'; {advise_missing(path)}")
    if (suffix := pathlib.Path(found).suffix) in OTHER_FILES:
        raise ValueError(f"'{found}' is no checkpoint but {OTHER_FILES[suffix]}")
    state = None if zipfile.is_zipfile(found) else files.load_pickle(found)
    if state is None or isinstance(state, int):  # PyTorch writes zip files; before 1.6 a pickle that begins so
        raise ValueError(f"'{found}' is a file of PyTorch; make a checkpoint of it with tools/convert_weights.py")
    if not isinstance(state, dict):
        raise ValueError(f"'{found}' holds a {type(state).__name__}, expected a checkpoint; was it made by train.py?")
    weights = state_dicts.find_weights(state, found)
    loaded = _keep_known(state, found) if weights.key == "model" else {}
    others = [key for key in weights.others if key not in loaded]
    if others or weights.key not in ("", "model"):
        left = f", not those under {', '.join(map(repr, others))}: save these alone to take them" if others else ""
        logging.warning(f"{found}: the weights under {weights.key!r} are taken{left}")
    decoded = _decode_bfloat16(weights.weights)
    return {**loaded, "model": _decode_float16(decoded) if "slim" in loaded else decoded}


def _keep_known(state: dict, path: str) -> dict:
    """Return what stands in a checkpoint beside its weights, but for keys that are another trainer's."""
    known = {key: value for key, value in state.items() if isinstance(value, KINDS.get(key, object))}
    if not isinstance(known.get("config", {}).get("MODEL"), dict):
        known.pop("config", None)
    for name, keys in ENTRY_KEYS.items():
        if not all(isinstance(entry, dict) and entry.keys() >= keys for entry in known.get(name, {}).values()):
            known.pop(name)
    averages = known.pop("ema", None)
    if state_dicts.has_weights(averages):
        known["ema"] = _decode_bfloat16(state_dicts.find_weights(averages, f"{path}: ema").weights)
    return known


def make_slim(state: dict, is_float16: bool = False) -> dict:
    """Return a checkpoint for use alone: the weights it is scored with, and no state of the training.

    Config, class names, history, and what it was trained on stay; `slim` says that it cannot be trained further.

    Args:
        is_float16: store matrices and kernels as float16, which `load_checkpoint` makes float32 again; biases, scales
            and statistics, which are few and may be small, stay as they are.
    """
    left_out = ("optimizer", "ema", "precision")
    kept = {key: value for key, value in state.items() if key not in left_out}
    weights = scoring_weights(state)
    if is_float16:
        check_float16(weights)
        weights = {
            name: value.astype(np.float16) if value.dtype == np.float32 and value.ndim > 1 else value
            for name, value in weights.items()
        }
    return {**kept, "model": weights, "slim": True}


def check_float16(weights: dict) -> None:
    """Refuse weights that float16 cannot hold.

    Raises:
        ValueError: names the first such tensor.
    """
    for name, value in weights.items():
        if value.ndim > 1 and value.size and np.abs(value).max() > np.finfo(np.float16).max:
            raise ValueError(f"'{name}' has values beyond {np.finfo(np.float16).max:g}; leave out --float16")


def advise_missing(path: str) -> str:
    """Return the command of `TEXTS` that makes a missing checkpoint; else what stands there, and how to make one."""
    if command := _find_command(path):
        return command
    folder = pathlib.Path(path) if pathlib.Path(path).is_dir() else pathlib.Path(path).parent
    beside = sorted(str(file) for file in folder.glob("*" + SUFFIX))
    found = f"that folder has {', '.join(beside)}; " if beside else ""
    if re.search(rf"_(model|best|epoch_\d+)({re.escape(SUFFIX)})?$", str(path)):
        return f"{found}run train.py first"
    return f"{found}run train.py first, or convert published weights with tools/convert_weights.py (MODEL_ZOO.md)"


def _find_command(path: str) -> str | None:
    stem = str(path).removesuffix(SUFFIX).replace("\\", "/")
    for text in filter(pathlib.Path.is_file, (ROOT / name for name in TEXTS)):
        for command, out in re.findall(r"(python tools/\w+\.py [^`\n]*--out (\S+?))(?=[`\s])", read_text(text)):
            if stem == out or stem.endswith(f"/{out}"):
                return f"make it ({text.name}): {command}"
    return None


def _decode_bfloat16(weights: dict) -> dict:
    """Return weights with float32 in place of the uint16 as which Paddle stores bfloat16."""
    return {
        name: (value.astype(np.uint32) << 16).view(np.float32) if value.dtype == np.uint16 else value
        for name, value in weights.items()
    }


def _decode_float16(weights: dict) -> dict:
    """Return weights with float32 in place of float16."""
    return {name: value.astype(np.float32) if value.dtype == np.float16 else value for name, value in weights.items()}


def prune_checkpoints(save_dir: str, pattern: str, max_keep: int) -> None:
    """Delete all but the `max_keep` files of `save_dir` that match `pattern` and were written last."""
    found = pathlib.Path(save_dir).glob(pattern + SUFFIX)
    for old in sorted(found, key=lambda path: (path.stat().st_mtime_ns, path.name))[:-max_keep]:
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
        ValueError: missing, left-over or mismatched names, with the first few of each; a value that is too large.
    """
    weights = {name: value for name, value in weights.items() if not _matches(name, ignore)}
    state = model.state_dict()
    initialized = [name for name in state if _matches(name, ignore)]
    known = {*weights, *initialized}
    initialized += [name for name in state if name not in known and _matches(name, allow_missing)]
    expected = {name: list(value.shape) for name, value in state.items() if name not in initialized}
    shapes = {name: (list(weights[name].shape), shape) for name, shape in expected.items() if name in weights}
    others = {name: pair for name, pair in shapes.items() if pair[0] != pair[1]}
    faults = {
        "missing": [name for name in expected if name not in weights],
        "left over": [name for name in weights if name not in expected],
        "of another shape": [f"{name} {old} for {new}" for name, (old, new) in others.items()],
    }
    listed = [f"{len(names)} {what} ({', '.join(names[:3])})" for what, names in faults.items() if names]
    if listed:
        linear = {f"{name}.weight" for name, layer in model.named_sublayers() if isinstance(layer, paddle.nn.Linear)}
        hint = state_dicts.describe_classes(others, linear) if len(listed) == 1 else ""
        raise ValueError(f"the weights do not fit this {type(model).__name__}: {'; '.join(listed)}{hint}")
    cast = {str(value.dtype) for name, value in weights.items() if set_weight(name, state[name], value)}
    if cast:
        logging.warning(f"weights of {', '.join(sorted(cast))} are cast to the types of the parameters")
    return initialized


def set_weight(name: str, parameter: paddle.Tensor, value: np.ndarray) -> bool:
    """Set a parameter or buffer to an array; return whether the array had to be cast to its type.

    Raises:
        ValueError: finite values that are too large for the type.
    """
    tensor = paddle.to_tensor(value)
    if tensor.dtype == parameter.dtype:
        parameter.set_value(value)
        return False
    tensor = tensor.astype(parameter.dtype)
    if np.isfinite(value).all() and not paddle.isfinite(tensor).all():
        raise ValueError(f"'{name}' has values that are too large for {parameter.dtype}; save it as that type")
    parameter.set_value(tensor)
    return True


def check_finite(path: str, weights: dict) -> None:
    """Refuse weights that are nan or infinite.

    Raises:
        ValueError: names the first such tensor.
    """
    for name, value in weights.items():
        if value.dtype.kind == "f" and not np.isfinite(value).all():
            raise ValueError(
                f"'{path}': '{name}' is nan or infinite; take the file of an earlier epoch, or get it again"
            )


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
