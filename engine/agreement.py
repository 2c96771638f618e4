"""What must be equal in all processes of a run is compared before the first update, or before the first score.

Each process reads its own command line, config and lists, on several machines its own copies of them. Processes that
disagree would train one network each on their own terms and average it.
"""

import contextlib
import hashlib
import json
import logging
import platform
import socket
import time
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
WAIT_S = 600  # for the other processes before the run is given up
NOTICE_S = 30  # before it is said who is waited for; a process with an error of its own waits no longer
POLL_S = 0.2  # between two tries to reach rank 0
MAX_SHOWN_CHARACTERS, MAX_LINE = 4000, 2**16


@contextlib.contextmanager
def meeting() -> Iterator[None]:
    """Do in this context what a process does before it connects to the others, then wait until all have done it.

    Paddle waits for ever for a process that has ended on another machine, by a mistake in its command or its files.
    Processes that are connected already, of a program that calls a script twice, do not wait.

    Raises:
        ValueError: in every process: an error of one of them, or one that has not come within `WAIT_S`.
    """
    error, found = None, {}
    try:
        yield
    except Exception as caught:  # the others must not wait for this process
        error = caught
    if (num_ranks := distributed.num_ranks()) > 1 and not distributed.is_connected():
        message, wait_s = (None, WAIT_S) if error is None else (f"{type(error).__name__}: {error}", NOTICE_S)
        try:
            found = exchange(distributed.rank(), num_ranks, distributed.find_master(), message, wait_s)
        except (OSError, ValueError) as failed:  # its own error matters more
            found = {distributed.rank(): str(failed)}
    if error is not None:
        raise error
    if found:
        raise ValueError("; ".join(f"rank {rank} cannot begin: {message}" for rank, message in found.items()))


def exchange(rank: int, num_ranks: int, master: tuple, message: str | None, wait_s: float) -> dict:
    """Tell all processes what is wrong in this one; rank 0 listens, and answers when all have come or the time is over.

    Args:
        master: host and port of rank 0, where Paddle connects afterwards.
        message: None: nothing is wrong.
        wait_s: how long the others are waited for.

    Returns:
        What is wrong in each process where something is, by rank.

    Raises:
        OSError: rank 0 has not come, or has no such port.
        ValueError: it is not rank 0 that answers there.
    """
    message = message and message[:MAX_SHOWN_CHARACTERS]
    deadline_s = time.monotonic() + wait_s
    if rank:
        with _reach(master, deadline_s, wait_s) as line:
            line.settimeout(WAIT_S + NOTICE_S)
            line.sendall(f"{json.dumps([rank, message])}\n".encode())
            return {int(other): words for other, words in _read_line(line, dict).items()}
    with contextlib.ExitStack() as opened:
        messages, lines = _listen(master[1], num_ranks, deadline_s, opened)
        late = f"it has not come within {wait_s:g} s; look at what it printed"
        found = {other: messages.get(other, late) for other in range(1, num_ranks)}
        found = {other: words for other, words in {0: message, **found}.items() if words is not None}
        for line in lines:
            with contextlib.suppress(OSError):
                line.sendall(f"{json.dumps(found)}\n".encode())
                line.recv(1)  # the other one closes first, so that the port is free at once
    return found


def _listen(port: int, num_ranks: int, deadline_s: float, opened: contextlib.ExitStack) -> tuple[dict, list]:
    """Return the messages of the other processes by rank, and their lines, which `opened` closes."""
    messages, lines = {}, []
    with socket.create_server(("", port)) as server:  # closed before anybody goes on to Paddle's connection
        while len(messages) < num_ranks - 1 and (left_s := deadline_s - time.monotonic()) > 0:
            server.settimeout(min(left_s, NOTICE_S))
            try:
                line = opened.enter_context(server.accept()[0])
                line.settimeout(NOTICE_S)
                other, words = _read_line(line, list)
            except TimeoutError:
                missing = ", ".join(str(other) for other in range(1, num_ranks) if other not in messages)
                logging.warning(f"rank 0 waits for rank {missing}, {max(left_s - NOTICE_S, 0):.0f} s more at most")
            except (OSError, ValueError) as error:
                logging.warning(f"rank 0: what came to port {port} is no process of this run ({error})")
            else:
                messages[other] = words
                lines.append(line)
    return messages, lines


def _reach(master: tuple, deadline_s: float, wait_s: float) -> socket.socket:
    """Connect to rank 0, which may come later."""
    while True:
        try:
            return socket.create_connection(master, timeout=NOTICE_S)
        except OSError as error:
            if time.monotonic() > deadline_s:
                where = ":".join(map(str, master))
                raise OSError(f"rank 0 has not come to {where} within {wait_s:g} s ({error})") from None
        time.sleep(POLL_S)


def _read_line(line: socket.socket, kind: type) -> Any:
    """Read a value of a kind that another process has sent.

    Raises:
        ValueError: it sent something else.
    """
    with line.makefile("r", encoding="utf-8") as file:
        text = file.readline(MAX_LINE)
    value = json.loads(text)
    if not isinstance(value, kind):
        raise ValueError(f"got '{text[:40].strip()}'")
    return value


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
