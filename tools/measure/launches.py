"""Count what an update launches on a GPU, by Paddle's profiler, also on a machine without one."""

import contextlib
import json
import pathlib
import re
import tempfile
from collections.abc import Callable, Iterator

import paddle

PHASES = ("forward and loss", "backward", "clipping and optimizer", "statistics and average")
# Operators, and gradients of operators, that return a view or only hand a gradient on: no kernel.
VIEWS = {"reshape", "unsqueeze", "squeeze", "flatten", "transpose", "slice", "split", "split_with_num", "detach"}
VIEW_GRADIENTS = {"ReshapeGrad", "UnsqueezeGrad", "SqueezeGrad", "FlattenGrad", "TransposeGrad", "GradAccumulation"}
READS = ("numpy", "item", "tolist", "__bool__", "__float__", "__int__", "__index__")  # of a tensor, by the host


def record_events(call: Callable) -> list:
    """Return the events of Paddle's profiler during a call, a dict each, as they stand in its Chrome trace."""
    is_gpu = paddle.device.get_device().startswith("gpu")
    targets = paddle.profiler.ProfilerTarget
    with tempfile.TemporaryDirectory() as folder:
        profiler = paddle.profiler.Profiler(
            targets=[targets.CPU, targets.GPU] if is_gpu else [targets.CPU],
            on_trace_ready=paddle.profiler.export_chrome_tracing(folder),
        )
        profiler.start()
        call()
        if is_gpu:
            paddle.device.cuda.synchronize()
        profiler.stop()
        traces = [json.loads(path.read_text(encoding="utf-8")) for path in pathlib.Path(folder).glob("*.json")]
    return [event for trace in traces for event in trace["traceEvents"]]


def count_launches(update: Callable) -> dict:
    """Count the operators of an update that compute something, so that a GPU launches a kernel for each, or a few.

    Args:
        update: makes one update; the optimizer steps once.

    Returns:
        `PHASES` -> number of operators; `host reads`: times that the host waits for a value of a tensor; `bytes sent`:
        of arrays that become tensors.
    """
    counts = {"host reads": 0, "bytes sent": 0}
    with _watched(counts):
        events = record_events(update)
    spans = {kind: _spans(events, kind) for kind in ("Backward", "Optimization")}
    phases = dict.fromkeys(PHASES, 0)
    for event in events:
        if event.get("cat") == "Operator" and computes(event["name"]):
            phases[_find_phase(event["ts"], spans)] += 1
    return {**phases, **counts}


def computes(name: str) -> bool:
    """Whether an operator of a trace, such as `reshape dygraph[2.1 us]` or `AddGradNode[1.0 us]`, is a kernel."""
    name = re.sub(r"\[.*| dygraph|^Global_|Node(Final)?", "", name)
    return name not in VIEWS and name not in VIEW_GRADIENTS


def describe_launches(counts: dict) -> str:
    """Describe what `count_launches` returned in a line."""
    phases = ", ".join(f"{phase} {counts[phase]}" for phase in PHASES)
    return (
        f"an update launches at least {sum(counts[phase] for phase in PHASES)} kernels on a GPU ({phases}), reads "
        f"{counts['host reads']} tensors on the host and sends {counts['bytes sent'] / 2**10:.1f} KiB to the device"
    )


def _spans(events: list, kind: str) -> list:
    return [(event["ts"], event["ts"] + event["dur"]) for event in events if event.get("cat") == kind]


def _find_phase(time_us: float, spans: dict) -> str:
    if any(start <= time_us <= stop for start, stop in spans["Backward"]):
        return "backward"
    if any(start <= time_us <= stop for start, stop in spans["Optimization"]):
        return "clipping and optimizer"
    is_last = any(time_us > stop for _, stop in spans["Optimization"])
    return "statistics and average" if is_last else "forward and loss"


@contextlib.contextmanager
def _watched(counts: dict) -> Iterator[None]:
    """Count reads of tensors and bytes of arrays that become tensors."""
    to_tensor, methods = paddle.to_tensor, {name: getattr(paddle.Tensor, name) for name in READS}

    def send(data, *others, **options):
        tensor = to_tensor(data, *others, **options)
        if not paddle.is_tensor(data):
            counts["bytes sent"] += tensor.size * tensor.element_size()
        return tensor

    def watch(method: Callable) -> Callable:
        def read(tensor, *others):
            before = counts["host reads"]
            value = method(tensor, *others)
            counts["host reads"] = before + 1  # `item` calls `numpy`: one read
            return value

        return read

    paddle.to_tensor = send
    for name, method in methods.items():
        setattr(paddle.Tensor, name, watch(method))
    try:
        yield
    finally:
        paddle.to_tensor = to_tensor
        for name, method in methods.items():
            setattr(paddle.Tensor, name, method)
