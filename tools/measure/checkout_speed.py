"""Time skeleton networks here and in other code, in turn: another checkout, or their authors' PyTorch code.

For `tools/benchmark.py checkouts`.
"""

import json
import os
import pathlib
import shlex
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
NTU = {"num_class": 60, "graph": "graph.ntu_rgb_d.Graph"}
PB_GCN_LAYERS = [[64, 64, 1]] * 3 + [[64, 128, 2]] + [[128, 128, 1]] * 2 + [[128, 256, 2]] + [[256, 256, 1]] * 2
AUTHORS = {  # network -> folder that git clone makes, module and class, arguments
    "stgcn": (
        "st-gcn",
        "net.st_gcn:Model",
        {
            "in_channels": 3, "num_class": 60, "graph_args": {"layout": "ntu-rgb+d", "strategy": "spatial"},
            "edge_importance_weighting": True,
        },
    ),
    "agcn": ("2s-AGCN", "model.agcn:Model", {**NTU, "graph_args": {"labeling_mode": "spatial"}}),
    "ctrgcn": ("CTR-GCN", "model.ctrgcn:Model", {**NTU, "graph_args": {"labeling_mode": "spatial"}}),
    "msg3d": (
        "MS-G3D",
        "model.msg3d:Model",
        {
            "num_class": 60, "num_point": 25, "num_person": 2, "num_gcn_scales": 13, "num_g3d_scales": 6,
            "graph": "graph.ntu_rgb_d.AdjMatrixGraph",
        },
    ),
    "pbgcn": (
        "pb-gcn",
        "models:ST_GCONV_RESNET",
        {
            "channel": 3, "num_class": 60, "window_size": 100, "num_joints": 25, "num_actors": 2, "use_data_bn": True,
            "layers_config": PB_GCN_LAYERS, "graph": "NTUGraph", "graph_args": {"labeling_mode": "parts"},
            "mask_learning": True,
        },
    ),
    "infogcn": ("infogcn", "model.infogcn:InfoGCN", {**NTU, "k": 1, "num_head": 3, "noise_ratio": 0.5, "gain": 3}),
}  # fmt: skip
NUM_JOINTS = 25
MEMORY = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**31 - 1)}  # as the scripts set it


def measure(other: str, repeats: int, names: list | None = None, pytorch: str | None = None) -> None:
    """Print the seconds of this checkout, and those over the seconds of the other side, by networks of 60 classes.

    Args:
        other: folder of the other checkout, such as a `git worktree` of an earlier commit; with `pytorch` the folder
            with the authors' repositories, `AUTHORS` has their names.
        repeats: calls of each.
        names: keys of `SIZES`; None: all.
        pytorch: the Python that has PyTorch, to run the authors' code.

    Raises:
        ValueError: the folder is no checkout, or has not the repository of a network.
        OSError: a network could not be measured.
    """
    names = names or list(SIZES)
    _check_other(other, names, pytorch)
    rows = [["network", "samples", "update, s", "of the other's", "scores, s", "of the other's"]]
    for name in names:
        batch_size, num_frames, _ = SIZES[name]
        rows.append([name, f"{batch_size} x {num_frames} frames", *measure_network(name, other, repeats, pytorch)])
    clock = "processor time" if os.environ.get("OMP_NUM_THREADS") == "1" else "the clock"
    print(
        f"by {clock}, in turn; medians of {repeats} (lowest to highest)\n{describe_machine()}\n\n{format_table(rows)}"
    )


def measure_network(name: str, other: str, repeats: int, pytorch: str | None = None) -> list:
    """Return the cells of a network: seconds and ratios of updates, then of scores."""
    batch_size, num_frames, arguments = SIZES[name]
    shape = [batch_size, 3, num_frames, NUM_JOINTS, arguments["num_persons"]]
    sides = [(sys.executable, ["paddle", str(ROOT), name, arguments, shape], MEMORY)]
    if pytorch:
        folder, network, arguments = AUTHORS[name]
        sides.append(
            (pytorch, ["pytorch", os.path.join(os.path.abspath(other), folder), network, arguments, shape], {})
        )
    else:
        sides.append((sys.executable, ["paddle", os.path.abspath(other), name, arguments, shape], MEMORY))
    processes, cells = [start_network(*side) for side in sides], []
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


def start_network(python: str, words: list, environment: dict) -> subprocess.Popen:
    """Start the process that makes the calls of a network; `words` are those of `network_calls`."""
    return subprocess.Popen(
        lifetime.tie([python, str(ROOT / "tools/measure/network_calls.py"), json.dumps(words)]),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, **environment},
    )


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
        kind, root, name = json.loads(process.args[-1])[:3]
        command = process.args[-3:]
        raise OSError(
            f"{name} of '{root}' could not be measured by {kind}; what it says: {shlex.join(command)} < /dev/null"
        )
    return float(answer)


def _check_other(other, names, pytorch):
    folder = pathlib.Path(other)
    if pytorch is None:
        if not (folder / "models" / "__init__.py").is_file():
            raise ValueError(f"--other: '{other}' has no models/; make it by: git worktree add FOLDER COMMIT")
        return
    for name in names:
        if not (folder / AUTHORS[name][0]).is_dir():
            raise ValueError(
                f"--other: '{other}' has no {AUTHORS[name][0]}; clone the repository that models/skeleton/{name}.py "
                "names into it, or choose other networks with --models"
            )
