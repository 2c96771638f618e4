"""Weights of the authors' PyTorch networks: what became of their names and layouts in ours."""

import re
from collections.abc import Callable

import numpy as np
from paddle import nn


def keep_names(weights: dict) -> dict:
    """Return `weights` as they are: the entry of `TORCH_SOURCES` where our layers bear the authors' names."""
    return weights


def rename(weights: dict, rules: list) -> dict:
    """Give weights other names; none is left out.

    Args:
        weights: the authors' name -> anything.
        rules: (pattern, replacement) of `re.sub`, applied to each name one after the other.
    """
    named = {}
    for name, value in weights.items():
        for pattern, replacement in rules:
            name = re.sub(pattern, replacement, name)
        named[name] = value
    return named


def join_weights(weights: dict, place: Callable) -> dict:
    """Rename the authors' tensors, and join those that are one of ours along their first axis.

    Args:
        weights: the authors' name -> array in PyTorch's layout.
        place: the authors' name -> (our torch-style name, what its parts are sorted by).

    Returns:
        Our name -> array in PyTorch's layout.
    """
    parts = {}
    for name, value in weights.items():
        if not name.endswith("num_batches_tracked"):  # a step counter that Paddle's batch norm does not have
            ours, position = place(name)
            parts.setdefault(ours, []).append((position, value))
    return {
        name: np.concatenate([value for _, value in sorted(group, key=lambda part: part[0])])
        for name, group in parts.items()
    }


def convert_torch_weights(weights: dict, model: nn.Layer) -> dict:
    """Turn a PyTorch state dict that bears our layers' names into one that `model.set_state_dict` takes.

    Args:
        weights: our layer's name and PyTorch's own (`weight`, `bias`, `running_mean`) -> array in PyTorch's layout; a
            function of the model's `TORCH_SOURCES` makes it from the authors' names.
        model: the network the weights are for; it is not changed.

    Returns:
        Our name -> array, for exactly the entries of `model.state_dict()`.

    Raises:
        ValueError: entries that are missing, left over or of another shape, by name.
    """
    linear = {f"{name}.weight" for name, layer in model.named_sublayers() if isinstance(layer, nn.Linear)}
    converted = {}
    for name, value in weights.items():
        if name.endswith("num_batches_tracked"):  # a step counter that Paddle's batch norm does not have
            continue
        name = name.replace("running_mean", "_mean").replace("running_var", "_variance")
        converted[name] = np.ascontiguousarray(value.T if name in linear else value)
    faults = _find_misfits(converted, model)
    if faults:
        raise ValueError(
            f"convert_torch_weights: {len(faults)} entries do not fit this {type(model).__name__}: "
            f"{'; '.join(faults[:10])}{'; ...' if len(faults) > 10 else ''}; build it with the arguments of the file, "
            "such as depth, shortcut and num_classes"
        )
    return converted


def _find_misfits(weights: dict, model: nn.Layer) -> list:
    shapes = {name: list(value.shape) for name, value in model.state_dict().items()}
    faults = [f"{name} is missing" for name in shapes if name not in weights]
    for name, value in weights.items():
        if name not in shapes:
            faults.append(f"{name} is left over")
        elif list(value.shape) != shapes[name]:
            faults.append(f"{name} has shape {list(value.shape)}, the model {shapes[name]}")
    return faults
