"""Time skeleton networks here and in another checkout, in turn; for `tools/benchmark.py checkouts`."""

import json
import os
import pathlib
import statistics
import subprocess
import sys

from common import lifetime
from tools.measure.scripts import ROOT
from tools.measure.tables import format_spread, format_table
from tools.measure.timing import describe_machine

SIZES = {  # network -> samples, frames, arguments
    "stgcn": (4, 100, {"num_persons": 2}),
    "agcn": (4, 100, {"num_persons": 2}),
    "ctrgcn": (8, 64, {"num_persons": 2}),
    "msg3d": (2, 100, {"num_persons": 2}),
    "pbgcn": (2, 100, {"num_persons": 2, "labeling_mode": "parts"}),
    "infogcn": (4, 64, {"num_persons": 2}),
}
NUM_JOINTS = 25
MEMORY = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**31 - 1)}  # as the scripts set it


def measure(other: str, repeats: int, names: list | None = None) -> None:
    """Print the seconds of this checkout, and those over the seconds of another one, by networks of 60 classes.

    Args:
        other: folder of the other checkout, such as a `git worktree` of an earlier commit.
        repeats: calls of each.
        names: keys of `SIZES`; None: all.

    Raises:
        ValueError: the folder is no checkout.
        OSError: a network could not be measured.
    """
    if not (pathlib.Path(other) / "models" / "__init__.py").is_file():
        raise ValueError(f"--other: '{other}' has no models/; make it by: git worktree add FOLDER COMMIT")
    rows = [["network", "samples", "update, s", "of the other's", "scores, s", "of the other's"]]
    for name in names or SIZES:
        batch_size, num_frames, _ = SIZES[name]
        rows.append([name, f"{batch_size} x {num_frames} frames", *measure_network(name, other, repeats)])
    clock = "processor time" if os.environ.get("OMP_NUM_THREADS") == "1" else "the clock"
    print(
        f"by {clock}, in turn; medians of {repeats} (lowest to highest)\n{describe_machine()}\n\n{format_table(rows)}"
    )


def measure_network(name: str, other: str, repeats: int) -> list:
    """Return the cells of a network: seconds and ratios of updates, then of scores."""
    batch_size, num_frames, arguments = SIZES[name]
    shape = [batch_size, 3, num_frames, NUM_JOINTS, arguments["num_persons"]]
    script, cells = str(ROOT / "tools/measure/network_calls.py"), []
    commands = [[script, json.dumps([root, name, arguments, shape])] for root in (str(ROOT), os.path.abspath(other))]
    options = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
    options["env"] = {**os.environ, **MEMORY}
    processes = [subprocess.Popen(lifetime.tie([sys.executable, *words]), **options) for words in commands]
    try:
        for call in ("update", "scores"):
            # The first round is a warm-up.
            rounds = [[time_call(process, call) for process in processes] for _ in range(repeats + 1)][1:]
            cells.append(f"{statistics.median(ours for ours, _ in rounds):.2f}")
            cells.append(format_spread([ours / theirs for ours, theirs in rounds], 2))
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    return cells


def time_call(process: subprocess.Popen, call: str) -> float:
    """Return the seconds of a call that a process makes.

    Raises:
        OSError: the process has ended.
    """
    try:
        process.stdin.write(f"{call}\n")
        process.stdin.flush()
        answer = process.stdout.readline()
    except BrokenPipeError:
        answer = ""
    if not answer:
        root, name = json.loads(process.args[-1])[:2]
        raise OSError(f"{name} of '{root}' could not be measured; try there: python tools/benchmark.py model")
    return float(answer)
