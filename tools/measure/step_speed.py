"""Measure updates and scores of each network on a CPU, dynamic and by oneDNN; `tools/benchmark.py step` calls it.

Clips are noise, of the size that `tools/gpu_check.py` takes; both kinds of step train the same weights, in turn.
"""

import functools
import gc

import paddle

from engine.onednn import NETWORKS, OneDNNNetwork, OneDNNStep, find_obstacle
from engine.run_card import format_shapes
from tools import gpu_check
from tools.measure.timing import (
    build_step,
    describe_machine,
    draw_batch,
    format_spread,
    format_table,
    time_in_turn,
    to_tensors,
)

SHALLOW = {"resnet": {"depth": 18}}  # the network that others quote; the rest have the depth they come with


def measure(batch_size: int, num_calls: int, repeats: int, names: list | None = None) -> None:
    """Print seconds an update and seconds a score of each network, and how many times faster oneDNN is.

    Args:
        names: keys of `models.MODELS`; None: all that can be computed by oneDNN.

    Raises:
        ValueError: nothing can be computed by oneDNN here.
    """
    if obstacle := find_obstacle(NETWORKS[0]):
        raise ValueError(f"tools/benchmark.py step: oneDNN cannot compute updates here; {obstacle}")
    kinds = ("dynamic, s", "oneDNN, s", "times faster")
    rows = [["network", "clips", "M parameters", *(f"{what}: {one}" for what in ("update", "scores") for one in kinds)]]
    for name in names or NETWORKS:
        print(f"measuring {name}", flush=True)
        rows.append(compare(name, batch_size, num_calls, repeats))
        gc.collect()
    print(f"{batch_size} clips; median of {repeats} x {num_calls} (lowest to highest)")
    print(f"{describe_machine()}\n\n{format_table(rows)}")


def compare(name: str, batch_size: int, num_calls: int, repeats: int) -> list:
    """Return the row of a network."""
    words = ["--models", name, "--batch_size", str(batch_size)]
    config = gpu_check.make_config(name, "O0", gpu_check.parse_arguments(words))
    config["MODEL"].update(SHALLOW.get(name, {}))
    dynamic, reader = build_step(config)
    inputs, labels = draw_batch(config, reader)
    inputs, labels = to_tensors(inputs), paddle.to_tensor(labels)
    static = OneDNNStep(dynamic.model, dynamic.criterion, dynamic.optimizer, dynamic.prepare)
    dynamic.begin_epoch()
    millions = sum(one.size for one in dynamic.model.parameters()) / 1e6
    row = [name, format_shapes(reader.input_shape), f"{millions:.1f}"]
    updates = [functools.partial(one, inputs, labels, 0.0, 0) for one in (dynamic, static)]
    row += time_both(updates, num_calls, repeats)
    dynamic.model.eval()
    clips = dynamic.prepare(inputs)
    with paddle.no_grad():
        networks = (dynamic.model, OneDNNNetwork(dynamic.model))
        return row + time_both([functools.partial(one, *clips.values()) for one in networks], num_calls, repeats)


def time_both(calls: list, num_calls: int, repeats: int) -> list:
    """Return the cells of two calls, dynamic and by oneDNN: the seconds of each, and their ratio."""
    seconds = time_in_turn(calls, num_calls, repeats)
    ratios = [slow / fast for slow, fast in zip(*seconds, strict=True)]
    return [*(format_spread(one, 2) for one in seconds), format_spread(ratios, 1)]
