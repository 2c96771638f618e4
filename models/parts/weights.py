"""Convert the weights of the authors' PyTorch networks: rename them and change their layout."""

import re
from collections.abc import Callable

import numpy as np
from paddle import nn

from common.state_dicts import describe_classes
from models.parts.action_model import ActionModel

# Last parts of the names of what PyTorch's batch norm, its averaged models and tools that count operations add.
COUNTERS = ("num_batches_tracked", "n_averaged", "total_ops", "total_params")
GRAPH_TOLERANCE = 2e-3  # of an edge's weight: that of graphs that were stored as float16 or bfloat16


def keep_names(weights: dict) -> dict:
    """Return `weights` unchanged; for `WEIGHT_SOURCES` where our layers have the authors' names."""
    return weights


def apply_rules(name: str, rules: list | tuple) -> str:
    """Rename one weight.

    Args:
        name: the authors' name.
        rules: (pattern, replacement) pairs for `re.sub`, applied in order.
    """
    for pattern, replacement in rules:
        name = re.sub(pattern, replacement, name)
    return name


def rename_weights(weights: dict, rules: list | tuple) -> dict:
    """Rename all weights {name: value} by `apply_rules`; none is dropped."""
    return {apply_rules(name, rules): value for name, value in weights.items()}


def is_counter(name: str) -> bool:
    """Return whether an entry of a PyTorch state dict counts something, which Paddle's layers do not have."""
    return name.rpartition(".")[2] in COUNTERS


def rename_paddlevideo_weights(weights: dict, rules: list | tuple = ()) -> dict:
    """Rename the weights of a PaddleVideo recognizer, and change their layout to PyTorch's.

    The parts of its networks have their authors' names behind `backbone.` and `head.`, which are removed.

    Args:
        weights: PaddleVideo's name -> array; the matrix of a linear layer is (in, out).
        rules: as for `rename_weights`, of the names without the prefixes.
    """
    layout = [(r"^(backbone|head)\.", ""), (r"\._mean$", ".running_mean"), (r"\._variance$", ".running_var")]
    transposed = {name: value.T if value.ndim == 2 else value for name, value in weights.items()}
    return rename_weights(transposed, [*layout, *rules])


def mark_fixed_graphs(weights: dict) -> dict:
    """Rename each `A` beside a learnt `PA` to `fixed_A`: the graph that the other changes."""
    beside = {name.removesuffix("PA") + "A" for name in weights if name.endswith(".PA")}
    return {f"{name[:-1]}fixed_A" if name in beside else name: value for name, value in weights.items()}


def merge_weights(weights: dict, map_name: Callable) -> dict:
    """Rename the authors' tensors, and concatenate those that get the same name along their first axis.

    Args:
        weights: the authors' name -> array in PyTorch's layout.
        map_name: the authors' name -> (our torch-style name, sort key among the tensors of that name).

    Returns:
        Our name -> array in PyTorch's layout.
    """
    parts = {}
    for name, value in weights.items():
        if not is_counter(name):
            our_name, sort_key = map_name(name)
            parts.setdefault(our_name, []).append((sort_key, value))
    return {
        name: np.concatenate([value for _, value in sorted(group, key=lambda part: part[0])])
        for name, group in parts.items()
    }


def convert_torch_weights(weights: dict, model: nn.Layer) -> dict:
    """Convert a PyTorch state dict with our layers' names to one that `model.set_state_dict` takes.

    Args:
        weights: our layer's name followed by PyTorch's (`weight`, `bias`, `running_mean`) -> array in PyTorch's layout,
            as a function of the model's `WEIGHT_SOURCES` returns it.
        model: the network that the weights are for; it is not changed.

    Returns:
        Our name -> array, for exactly the entries of `model.state_dict()`. Counters are left out, and so is what the
        network has fixed (`ActionModel.fixed_tensors`), which must agree.

    Raises:
        ValueError: entries are missing, left over or of another shape, or a graph is another; the message names them.
    """
    is_ours = isinstance(model, ActionModel)
    names, fixed = model.state_dict().keys(), model.fixed_tensors() if is_ours else {}
    weights = model.place_weights(weights) if is_ours else weights
    linear_weights = {f"{name}.weight" for name, layer in model.named_sublayers() if isinstance(layer, nn.Linear)}
    converted, faults = {}, []
    for name, value in weights.items():
        if is_counter(name):
            continue
        name = name.replace("running_mean", "_mean").replace("running_var", "_variance")
        if name in fixed and name not in names:
            faults += _compare_graphs(name, value, fixed[name])
        else:
            converted[name] = np.ascontiguousarray(value.T if name in linear_weights else value)
    mismatches, shapes = _find_mismatches(converted, model)
    faults += mismatches
    if faults:
        hint = describe_classes(shapes, linear_weights) if len(shapes) == len(faults) else ""
        raise ValueError(
            f"convert_torch_weights: {len(faults)} entries do not fit this {type(model).__name__}: "
            f"{'; '.join(faults[:10])}{'; ...' if len(faults) > 10 else ''}; build it with the arguments of the file, "
            f"such as {'layout, ' if fixed else ''}depth, shortcut and num_classes{hint}"
        )
    return converted


def _compare_graphs(name: str, value: np.ndarray, expected: np.ndarray) -> list:
    if value.size != expected.size:
        return [f"{name} is a graph of shape {list(value.shape)}, the network's has {list(expected.shape)}"]
    is_other = np.abs(value.reshape(expected.shape) - expected) > GRAPH_TOLERANCE
    if not is_other.any():
        return []
    return [f"{name} is another graph than the network's, {is_other.sum()} of {value.size} entries differ"]


def _find_mismatches(weights: dict, model: nn.Layer) -> tuple:
    """Return a sentence for each entry that does not fit, and {name: (shape, the model's)} of wrong shapes."""
    shapes = {name: list(value.shape) for name, value in model.state_dict().items()}
    faults = [f"{name} is missing" for name in shapes if name not in weights]
    others = {}
    for name, value in weights.items():
        if name not in shapes:
            faults.append(f"{name} is left over")
        elif list(value.shape) != shapes[name]:
            others[name] = list(value.shape), shapes[name]
            faults.append(f"{name} has shape {list(value.shape)}, the model {shapes[name]}")
    return faults, others
