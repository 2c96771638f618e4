"""What must be equal in all processes of a run is compared before the first update, or before the first score.

Each process reads its own command line, config and lists, on several machines its own copies of them. Processes that
disagree would train one network each on their own terms and average it.
"""

import contextlib
import hashlib
import platform
from collections.abc import Iterator
from typing import Any

import numpy as np
import paddle

from config import SECTIONS
from engine import checkpoint, distributed

# Keys whose values may differ: where a machine keeps its files and how it reads them. What stands in the lists, and
# the weights of RUN.pretrain and RUN.resume, are compared instead of their paths.
KEYS_OF_A_MACHINE = (
    "filelist", "videos", "num_workers", "use_shared_memory", "memory_limit_gib", "use_gpu", "save_dir", "log_file",
    "pretrain", "resume",
)  # fmt: skip
MAX_SHOWN = 5


@contextlib.contextmanager
def comparing_processes() -> Iterator[dict]:
    """Compare what the processes do in this context; nothing in it may wait for another process.

    Yields:
        A dict, to which this process adds what must be equal in all, by name.

    Raises:
        ValueError: in every process: an error of one of them, or the first differences.
    """
    facts, error = {}, None
    try:
        yield facts
    except Exception as caught:  # the others must not wait for this process
        error = caught
    if distributed.num_ranks() == 1:
        gathered = [(facts, None)]
    else:
        gathered = distributed.gather((facts, error and f"{type(error).__name__}: {error}"))
    if error is not None:
        raise error
    for rank, (_, message) in enumerate(gathered):
        if message is not None:
            raise ValueError(f"rank {rank} cannot begin: {message}")
    if differences := find_differences([own for own, _ in gathered]):
        rest = f"; and {len(differences) - MAX_SHOWN} more" if len(differences) > MAX_SHOWN else ""
        shown = "; ".join(differences[:MAX_SHOWN])
        raise ValueError(f"{shown}{rest}: start all processes with the same command, config, lists and weights")


def find_differences(facts: list) -> list:
    """Return in what processes differ from rank 0, one sentence each.

    Args:
        facts: of each process, by rank: {name: value}.
    """
    found = []
    for rank, own in enumerate(facts[1:], start=1):
        for name in {**facts[0], **own}:
            value, expected = (repr(one[name]) if name in one else "nothing" for one in (own, facts[0]))
            if value != expected:
                found.append(f"rank {rank} has {name} {value}, rank 0 {expected}")
    return found


def describe_config(config: dict) -> dict:
    """Return what must be equal of a resolved config, of the device and of the versions."""
    facts = {"Paddle": paddle.__version__, "device": paddle.device.get_device().partition(":")[0]}
    for name, version in (("Python", platform.python_version()), ("NumPy", np.__version__)):
        facts[name] = int(version.split(".")[0])
    for section in SECTIONS:
        for key, value in config[section].items():
            if key not in KEYS_OF_A_MACHINE:
                facts[f"{section}.{key}"] = value
    return facts


def describe_start(model: paddle.nn.Layer, class_names: list, loaders: dict, progress: Any = None) -> dict:
    """Return what must be equal of weights, lists and the checkpoint that a run goes on from; {} for one process.

    Args:
        model: with the weights that it starts with.
        loaders: section -> loader, None where the section is not read.
        progress: how far the run is.
    """
    if distributed.num_ranks() == 1:
        return {}
    facts = {"class names": hash_content(class_names), "start weights": hash_content(checkpoint.model_state(model))}
    for section, loader in loaders.items():
        if loader is not None:
            content = hash_content([loader.class_names, loader.describe_samples()])
            facts[f"{section} list"] = f"{loader.num_samples} samples, hash {content}"
    if progress is not None:
        facts["checkpoint"] = f"{progress.epoch} epochs and {progress.step} updates done"
        facts["history"] = hash_content([progress.history, progress.best, progress.judged_from])
    return facts


def hash_content(value: Any) -> str:
    """Return a hash of nested dicts, lists and arrays; other values count by their `repr`."""
    digest = hashlib.sha256()
    _add_content(digest, value)
    return digest.hexdigest()[:12]


def _add_content(digest, value: Any) -> None:
    if isinstance(value, np.ndarray):
        digest.update(f"{value.dtype} {value.shape}".encode())
        digest.update(value.tobytes())
    elif isinstance(value, (dict, list, tuple)):
        digest.update(f"{type(value).__name__} {len(value)}".encode())
        for item in value.items() if isinstance(value, dict) else value:
            _add_content(digest, item)
    else:
        digest.update(f"{value!r};".encode("utf-8", "backslashreplace"))
