"""Time training steps and inference of each network on a CPU, dynamic and by oneDNN; for `tools/benchmark.py step`.

Clips are noise of the size that `tools/gpu_check.py` uses; both backends train the same weights, in turn.
"""

import functools
import gc

import paddle

from engine.onednn import NETWORKS, OneDNNNetwork, OneDNNStep, find_obstacle
from engine.run_card import count_parameters, format_shapes
from tools import gpu_check
from tools.measure.tables import format_spread, format_table
from tools.measure.timing import build_step, describe_machine, draw_batch, time_in_turn, to_tensors

SHALLOW = {"resnet": {"depth": 18}}  # of the published figures; the other networks have their default depth


def measure(batch_size: int, num_calls: int, repeats: int, names: list | None = None) -> None:
    """Print seconds of an update and of an inference for each network, and the speed-up by oneDNN.

    Args:
        batch_size: clips of a batch.
        num_calls: calls of a round.
        repeats: rounds.
        names: keys of `models.MODELS`; None: all that oneDNN can compute.

    Raises:
        ValueError: oneDNN cannot be used on this machine.
    """
    if obstacle := find_obstacle(NETWORKS[0]):
        raise ValueError(f"tools/benchmark.py step: oneDNN cannot compute updates here; {obstacle}")
    columns = ("dynamic, s", "oneDNN, s", "times faster")
    titles = [f"{call}: {column}" for call in ("update", "scores") for column in columns]
    rows = [["network", "clips", "M parameters", *titles]]
    for name in names or NETWORKS:
        print(f"measuring {name}", flush=True)
        rows.append(compare(name, batch_size, num_calls, repeats))
        gc.collect()
    print(f"{batch_size} clips; median of {repeats} x {num_calls} (lowest to highest)")
    print(f"{describe_machine()}\n\n{format_table(rows)}")


def compare(name: str, batch_size: int, num_calls: int, repeats: int) -> list:
    """Return the row of a network."""
    argv = ["--models", name, "--batch_size", str(batch_size)]
    config = gpu_check.make_config(name, "O0", gpu_check.parse_arguments(argv))
    config["MODEL"].update(SHALLOW.get(name, {}))
    dynamic, reader = build_step(config)
    inputs, labels = draw_batch(config, reader)
    inputs, labels = to_tensors(inputs), paddle.to_tensor(labels)
    static = OneDNNStep(dynamic.model, dynamic.criterion, dynamic.optimizer, dynamic.prepare)
    dynamic.begin_epoch()
    millions = count_parameters(dynamic.model) / 1e6
    row = [name, format_shapes(reader.input_shape), f"{millions:.1f}"]
    updates = [functools.partial(step, inputs, labels, 0.0, 0) for step in (dynamic, static)]
    row += time_both(updates, num_calls, repeats)
    dynamic.model.eval()
    clips = dynamic.prepare(inputs)
    with paddle.no_grad():
        networks = (dynamic.model, OneDNNNetwork(dynamic.model))
        return row + time_both(
            [functools.partial(network, *clips.values()) for network in networks], num_calls, repeats
        )


def time_both(calls: list, num_calls: int, repeats: int) -> list:
    """Return the cells of two calls, dynamic and by oneDNN: seconds of each, and their ratio."""
    seconds = time_in_turn(calls, num_calls, repeats)
    ratios = [slow / fast for slow, fast in zip(*seconds, strict=True)]
    return [*(format_spread(times, 2) for times in seconds), format_spread(ratios, 1)]
