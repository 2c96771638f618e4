"""What benchmark.py and gpu_check.py share: a training step on a batch of noise, a clock, and tables."""

import inspect
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable

import numpy as np
import paddle

import recipe
from common import processes
from engine import optimizer, run_card
from models import build_model

ROOT = pathlib.Path(__file__).resolve().parents[2]
WARMUP = 3  # calls before the clock starts


def open_training_reader(config: dict):
    """Build the reader without a list whose views have the size of the clips that TRAIN reads."""
    return recipe.open_reader({**config, "TEST": config["TRAIN"]})


def build_step(config: dict) -> tuple:
    """Build the network of a resolved config, and the step that would train it.

    Returns:
        The step, and the reader of the clips it takes.
    """
    recipe.seed_all(config["RUN"]["seed"], 0)
    reader = open_training_reader(config)
    model = build_model(**config["MODEL"])
    keys = inspect.signature(optimizer.build_optimizer).parameters
    section = {key: value for key, value in config["OPTIMIZER"].items() if key in keys}
    frozen = optimizer.freeze(model, config["RUN"]["freeze_until"], config["RUN"]["train_from"])
    return recipe.build_step(config, model, optimizer.build_optimizer(model, **section), reader, frozen), reader


def draw_batch(config: dict, reader) -> tuple:
    """Draw clips of noise as the reader gives them, (B, ...), and int64 labels (B,), as arrays."""
    rng, batch_size = np.random.default_rng(0), recipe.device_batch_size(config)
    inputs = reader.draw_noise(batch_size, rng)
    return inputs, rng.integers(0, config["MODEL"]["num_classes"], batch_size)


def synchronize() -> None:
    """Wait until a GPU has done what it was told; a CPU has."""
    if paddle.device.get_device().startswith("gpu"):
        paddle.device.cuda.synchronize()


def time_calls(call: Callable, num_calls: int, repeats: int) -> list:
    """Return the seconds of a call, one figure a repeat of `num_calls`, after a warm-up."""
    return time_in_turn([call], num_calls, repeats)[0]


def time_in_turn(calls: list, num_calls: int, repeats: int) -> list:
    """Do as `time_calls` for several calls whose repeats take turns: what else the machine does meets all of them."""
    for call in calls:
        for _ in range(WARMUP):
            call()
    seconds = [[] for _ in calls]
    for _ in range(repeats):
        for call, found in zip(calls, seconds, strict=True):
            synchronize()
            start_s = time.perf_counter()
            for _ in range(num_calls):
                call()
            synchronize()
            found.append((time.perf_counter() - start_s) / num_calls)
    return seconds


def count_kernels(call: Callable) -> int:
    """Count what a call starts, the way back and the update included: kernels of a GPU, on a CPU Paddle's operators."""
    is_gpu = paddle.device.get_device().startswith("gpu")
    targets = paddle.profiler.ProfilerTarget
    with tempfile.TemporaryDirectory() as folder:
        profiler = paddle.profiler.Profiler(
            targets=[targets.CPU, targets.GPU] if is_gpu else [targets.CPU],
            on_trace_ready=paddle.profiler.export_chrome_tracing(folder),
        )
        profiler.start()
        call()
        synchronize()
        profiler.stop()
        traces = [json.loads(path.read_text(encoding="utf-8")) for path in pathlib.Path(folder).glob("*.json")]
    kind = "Kernel" if is_gpu else "Operator"
    events = [event for trace in traces for event in trace["traceEvents"] if event.get("cat") == kind]
    # GradNodeAccumulation adds up gradients of a weight; where there is one gradient only, it starts nothing.
    return sum("GradNodeAccumulation" not in event["name"] for event in events)


def run_script(script: str, *words, environment: dict | None = None) -> str:
    """Run a script of the project with this Python and return what it printed.

    Args:
        environment: variables that it sees beside those of this process.

    Raises:
        OSError: it failed; ends with the last line of what it said.
    """
    done = subprocess.run(
        [sys.executable, str(ROOT / script), *map(str, words)],
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines() or ["nothing"]
        raise OSError(f"{script} ended with status {done.returncode}: {said[-1]}")
    return done.stdout


def to_tensors(inputs: dict) -> dict:
    """Return the arrays of a batch's `inputs` as tensors on the device."""
    return {name: paddle.to_tensor(array) for name, array in inputs.items()}


def describe_machine() -> str:
    """Return one line: GPU if it is used, cores, threads, processor, versions."""
    info = pathlib.Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    processor = next((line.partition(": ")[2] for line in lines if line.startswith("model name")), "processor unknown")
    num_cores = processes.count_cores()
    num_threads = os.environ.get("OMP_NUM_THREADS", num_cores)
    gpu = ""
    if paddle.device.get_device().startswith("gpu"):
        gpu = f"{paddle.device.cuda.get_device_name()}, CUDA {paddle.version.cuda()}, "
    return f"{gpu}{num_cores} cores ({processor}), {num_threads} threads, {run_card.describe_versions()}"


def format_table(rows: list) -> str:
    """Return rows of texts, the first one the titles, as a Markdown table."""
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]])


def format_spread(values: list, digits: int) -> str:
    """Return the median with the lowest and the highest value, such as `8.1 (7.9 to 8.2)`."""
    median, low, high = (f"{value:.{digits}f}" for value in (statistics.median(values), min(values), max(values)))
    return f"{median} ({low} to {high})"
