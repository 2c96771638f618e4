"""The weights in what a file holds: a state dict, or one inside of the dicts that trainers wrap around it."""

import dataclasses

import numpy as np

WRAPPERS = (  # keys of the weights, in this order
    *("state_dict", "model_state_dict", "model_state", "model", "net", "net_state_dict", "network", "module"),
    *("weights", "params", "shadow"),
)
AVERAGES = {"ema", "swa", "averaged", "average"}  # words in the keys of averaged weights
WRAPPED = ("module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")  # DataParallel, torch.compile
PREFIXES = (*WRAPPED, "model")  # of names; the last one is Lightning's
SHARED_PREFIXES = ("net", "network")  # of names, where all have it
PADDLE_NAMES = "StructuredToParameterName@@"  # what paddle.save adds: the internal name of each parameter
STATISTICS = ("running_mean", "running_var", "_mean", "_variance")  # ends of the names of batch norm's
MAX_DEPTH = 4  # of wrappers


@dataclasses.dataclass
class StateDict:
    """The weights that were found.

    Attributes:
        key: keys that lead to them, such as `model.state_dict`; "" if they are the whole content.
        weights: name without prefixes -> array.
        names: name without prefixes -> name in the file, of those weights that stand under the key.
        others: keys of the other weights of the file: averages, or with `averaged` those that are none.
        skipped: names in the file of what is no array.
    """

    key: str
    weights: dict
    names: dict
    others: list
    skipped: list


def find_weights(content, path: str, averaged: bool = False) -> StateDict:
    """Find the weights in the content of a file.

    Args:
        content: what was pickled: a state dict, or dicts with such keys as `WRAPPERS` around it.
        path: file that errors name.
        averaged: take averaged weights (of an EMA or of SWA), not the others.

    Raises:
        ValueError: there are none, or two tensors that differ have one name.
    """
    if not has_weights(content):
        raise ValueError(f"'{path}' holds no weights: {_describe(content)}; save the state dict of the model alone")
    listed = _list_state_dicts(content, set())
    found = {key: part for name, state in listed.items() for key, part in _part_averages(name, state).items()}
    averages = [key for key in found if _is_average(key)]
    plain = [key for key in found if key not in averages]
    if averaged and not averages:
        raise ValueError(f"'{path}' holds no averaged weights, only those under '{plain[0]}'; leave out --ema")
    taken, others = (averages, plain) if averaged or not plain else (plain, averages)
    weights, names, skipped = _clean_names(found[taken[0]], path)
    if taken is averages and plain:  # averages of the parameters only
        statistics = _clean_names(found[plain[0]], path)[0]
        weights.update({name: statistics[name] for name in statistics.keys() - weights if name.endswith(STATISTICS)})
    return StateDict(taken[0], weights, names, others, skipped)


def has_weights(content) -> bool:
    """Return whether `find_weights` would find weights."""
    return isinstance(content, dict) and bool(_list_state_dicts(content, set()))


def as_array(value) -> np.ndarray | None:
    """Return a tensor of a file as an array, or None if it is no tensor of numbers.

    `paddle.save` writes a tensor inside of other containers as the pair of its internal name and an array.
    """
    if isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], str):
        value = value[1]
    return value if isinstance(value, np.ndarray) and value.dtype.kind in "fiub" else None


def describe_classes(shapes: dict, linear: set) -> str:
    """Return the end of an error message if weights differ from a network in their number of classes only; else "".

    Args:
        shapes: name -> (shape in the file, shape in the network) of each tensor that differs, as our layers have them.
        linear: names of the weights of linear layers.
    """
    outputs = {(old[1], new[1]) for name, (old, new) in shapes.items() if name in linear and old[0] == new[0]}
    for old, new in shapes.values():
        pairs = [pair for pair in zip(old, new, strict=False) if pair[0] != pair[1]]
        if len(old) != len(new) or len(pairs) != 1 or pairs[0] not in outputs:
            return ""
    if not outputs:
        return ""
    layers = {name: name.rpartition(".")[0] for name in shapes}
    patterns = dict.fromkeys(f"{layer}.*" if f"{layer}.weight" in linear else name for name, layer in layers.items())
    classes = " and ".join(f"{old}, not {new}" for old, new in sorted(outputs))
    return (
        f"; the number of classes differs ({classes}): train.py starts from the rest of the weights with --pretrain "
        f"and -o 'RUN.ignore_weights=[{', '.join(patterns)}]'"
    )


def average_channels(weights: dict, shapes: dict, old: int, new: int) -> dict:
    """Return the weights of first layers for inputs of another number of channels, as TSN starts flow from RGB.

    Each kernel is averaged over the channels of the input, and the mean is repeated ("Temporal Segment Networks",
    L. Wang et al., ECCV 2016, arXiv:1608.00859, section 3.2, cross modality pre-training).

    Args:
        weights: name -> array; a kernel is (O, old, ...), or (O, old * t, H, W) where frames are channels too.
        shapes: name -> shape in the network.
        old: channels of the input that the weights are for.
        new: channels of the network's input.

    Returns:
        Name -> array of those kernels whose shape differs in this alone.
    """
    averaged = {}
    for name, value in weights.items():
        shape = list(shapes.get(name, value.shape))
        if value.ndim < 4 or list(value.shape) == shape or value.shape[1] % old or value.ndim != len(shape):
            continue
        kernel = value.reshape(value.shape[0], old, value.shape[1] // old, *value.shape[2:])
        kernel = np.repeat(kernel.mean(axis=1, keepdims=True, dtype=kernel.dtype), new, axis=1)
        kernel = kernel.reshape(value.shape[0], -1, *value.shape[2:])
        if list(kernel.shape) == shape:
            averaged[name] = kernel
    return averaged


def _list_state_dicts(content: dict, seen: set, path: tuple = ()) -> dict:
    """Return {key: dict that has arrays, without names that are no text}, wrapped ones before those around them.

    Args:
        content: a dict, which may contain itself.
        seen: ids of the dicts that are not looked at again.
        path: keys that lead to it.
    """
    seen.add(id(content))
    found = {}
    keys = [key for key in WRAPPERS if key in content]
    keys += [key for key in content if key not in keys and isinstance(key, str) and _is_average(key)]
    for key in keys:
        if isinstance(content[key], dict) and id(content[key]) not in seen and len(path) < MAX_DEPTH:
            found.update(_list_state_dicts(content[key], seen, (*path, key)))
    named = {name: value for name, value in content.items() if isinstance(name, str)}
    if any(as_array(value) is not None for value in named.values()):
        found[".".join(path)] = named
    return found


def _is_average(key: str) -> bool:
    return any(AVERAGES & set(part.lower().split("_")) for part in key.split("."))


def _part_averages(key: str, state: dict) -> dict:
    """Return {key: part}: the weights, and averages that stand beside them under names such as `ema_model.fc.weight`.

    MMCV's `EMAHook` names them `ema_fc_weight`.
    """
    flat = {"ema_" + name.replace(".", "_"): name for name in state}
    parts = {key: {}}
    for name, value in state.items():
        part, _, rest = name.partition(".")
        if name in flat:
            part, name = "ema_*", flat[name]
        elif not (rest and _is_average(part)):
            part = ""
        parts.setdefault(".".join(filter(None, (key, part))), {})[name] = value
    return parts if parts[key] else {key: state}


def _clean_names(state: dict, path: str) -> tuple:
    """Return {name without prefixes: array}, {name without prefixes: name}, and the names of what is no array."""
    arrays = {name: as_array(value) for name, value in state.items() if name != PADDLE_NAMES}
    skipped = [name for name, value in arrays.items() if value is None]
    arrays = {name: value for name, value in arrays.items() if value is not None}
    cleaned = {name: _remove_prefixes(name) for name in arrays}
    firsts = {short.partition(".")[0] for short in cleaned.values() if "." in short}  # a counter may have no layer
    if len(firsts) == 1 and (firsts <= set(SHARED_PREFIXES) or _is_average(*firsts)):
        cleaned = {name: _remove_prefixes(short.partition(".")[2] or short) for name, short in cleaned.items()}
    weights, names = {}, {}
    for name, short in cleaned.items():
        if short in weights and not np.array_equal(weights[short], arrays[name]):
            raise ValueError(
                f"'{path}': '{names[short]}' and '{name}' are both '{short}', with other values; "
                "save the state dict of one model alone"
            )
        weights.setdefault(short, arrays[name])
        names.setdefault(short, name)
    return weights, names, skipped


def _remove_prefixes(name: str) -> str:
    """Remove `PREFIXES` from the front of a name, and those of wrapped parts of a model from its inside."""
    *layers, entry = name.split(".")
    while layers and layers[0] in PREFIXES:
        del layers[0]
    return ".".join([*(layer for layer in layers if layer not in WRAPPED), entry])


def _describe(content) -> str:
    if not isinstance(content, dict):
        return f"it is a {type(content).__name__}"
    named = {key: value for key, value in content.items() if isinstance(key, str) and key != PADDLE_NAMES}
    if not named:
        return "no entry has a name" if content else "it is empty"
    inside = [key for key, value in named.items() if has_weights(value)]
    if inside:
        return f"it has some under '{inside[0]}', but none under {', '.join(WRAPPERS)}"
    return f"it has {', '.join(list(named)[:10])}"
