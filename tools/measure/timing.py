"""Training steps on batches of noise, and the timing of calls; benchmark.py and gpu_check.py share it."""

import inspect
import os
import pathlib
import time
from collections.abc import Callable

import numpy as np
import paddle

import recipe
from common import processes
from engine import optimizer, run_card
from models import build_model
from tools.measure.launches import record_events

WARMUP = 3  # untimed calls


def open_training_reader(config: dict):
    """Build a reader without a list, with views of the size of the training clips."""
    return recipe.open_reader({**config, "TEST": config["TRAIN"]})


def build_step(config: dict) -> tuple:
    """Build the network of a resolved config and its training step.

    Returns:
        (training step, reader of its clips).
    """
    recipe.seed_all(config["RUN"]["seed"], 0)
    reader = open_training_reader(config)
    model = build_model(**config["MODEL"])
    keys = inspect.signature(optimizer.build_optimizer).parameters
    section = {key: value for key, value in config["OPTIMIZER"].items() if key in keys}
    frozen = optimizer.freeze(model, config["RUN"]["freeze_until"], config["RUN"]["train_from"])
    return recipe.build_step(config, model, optimizer.build_optimizer(model, **section), reader, frozen), reader


def draw_batch(config: dict, reader) -> tuple:
    """Draw clips of noise (B, ...), as the reader returns them, and int64 labels (B,), as arrays."""
    rng, batch_size = np.random.default_rng(0), recipe.device_batch_size(config)
    inputs = reader.draw_noise(batch_size, rng)
    return inputs, rng.integers(0, config["MODEL"]["num_classes"], batch_size)


def synchronize() -> None:
    """Wait for all work of the GPU; a CPU computes synchronously."""
    if paddle.device.get_device().startswith("gpu"):
        paddle.device.cuda.synchronize()


def time_calls(call: Callable, num_calls: int, repeats: int) -> list:
    """Return the mean seconds of a call in each of `repeats` rounds of `num_calls` calls, after a warm-up."""
    return time_in_turn([call], num_calls, repeats)[0]


def time_in_turn(calls: list, num_calls: int, repeats: int) -> list:
    """Time several calls like `time_calls`, their rounds in turn: other load of the machine affects all alike."""
    for call in calls:
        for _ in range(WARMUP):
            call()
    seconds = [[] for _ in calls]
    for _ in range(repeats):
        for call, times in zip(calls, seconds, strict=True):
            synchronize()
            start_s = time.perf_counter()
            for _ in range(num_calls):
                call()
            synchronize()
            times.append((time.perf_counter() - start_s) / num_calls)
    return seconds


def count_kernels(call: Callable) -> int:
    """Count what a call launches: kernels on a GPU, Paddle's operators on a CPU."""
    kind = "Kernel" if paddle.device.get_device().startswith("gpu") else "Operator"
    events = [event for event in record_events(call) if event.get("cat") == kind]
    # GradNodeAccumulation sums gradients of a weight; where there is only one gradient, it launches nothing.
    return sum("GradNodeAccumulation" not in event["name"] for event in events)


def to_tensors(inputs: dict) -> dict:
    """Return the arrays of a batch's `inputs` as tensors on the device."""
    return {name: paddle.to_tensor(array) for name, array in inputs.items()}


def describe_machine() -> str:
    """Describe the machine in one line: GPU if one is used, cores, processor, threads, versions."""
    info = pathlib.Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    processor = next((line.partition(": ")[2] for line in lines if line.startswith("model name")), "processor unknown")
    num_cores = processes.count_cores()
    num_threads = os.environ.get("OMP_NUM_THREADS", num_cores)
    gpu = ""
    if paddle.device.get_device().startswith("gpu"):
        gpu = f"{paddle.device.cuda.get_device_name()}, CUDA {paddle.version.cuda()}, "
    return f"{gpu}{num_cores} cores ({processor}), {num_threads} threads, {run_card.describe_versions()}"
