"""Many independent jobs over processes: one that fails, or kills its process, never stops the rest."""

import csv
import multiprocessing
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from typing import Any

from tqdm import tqdm

from common.cores import count_cores
from common.files import write_atomically
from common.lifetime import end_with_parent, keep_garbage
from common.messages import DISK_ERRORS, cut_middle

PLAIN_INTERVAL_S = 10  # between two progress lines where there is no terminal


@dataclass
class Outcomes:
    """What became of each item, by name: the function's value in `done`, or the reason in `failed`."""

    done: dict[str, Any] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)


def run_jobs(
    function: Callable,
    items: dict[str, Any],
    num_workers: int,
    title: str,
    unit: str = "video",
    sizes: dict[str, int] | None = None,
) -> Outcomes:
    """Call `function(argument)` for each `name: argument` of `items`, several at a time, with a progress bar.

    Each call runs in a worker process, so that a decoder that crashes is one failed item. When this process ends,
    however it ends, its workers end at once.

    Args:
        function: module-level function; it, its values and the arguments must be picklable.
        num_workers: number of processes, 0 for one per core.
        title: of the bar.
        unit: what is counted.
        sizes: how many of it an item holds, by name; None: each is one.
    Raises:
        OSError: the disk is full or read-only; what is done is done, the rest is not tried.
    """
    outcomes, waiting = Outcomes(), deque(items.items())
    workers = [_Worker(function) for _ in range(min(num_workers or count_cores(), len(items)))]
    sizes = sizes or dict.fromkeys(items, 1)
    progress = _Progress(title, sum(sizes[name] for name in items), unit)
    try:
        for worker in workers:
            worker.send(*waiting.popleft())
        while any(worker.item is not None for worker in workers):
            ready = wait([worker.pipe for worker in workers if worker.item is not None])
            for worker in [worker for worker in workers if worker.pipe in ready]:
                progress.advance(sizes[worker.item])
                worker.receive(outcomes)
                if waiting:
                    worker.send(*waiting.popleft())
    finally:
        progress.close()
        for worker in workers:
            worker.stop()
    return outcomes


def write_failures(failed: dict[str, str], path: str | os.PathLike) -> None:
    """Write `item,reason` rows to a csv file; with nothing failed, remove the file of an earlier run."""
    if not failed:
        if os.path.exists(path):
            os.remove(path)
        return
    with write_atomically(path, "w") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["item", "reason"])
        writer.writerows(sorted(failed.items()))


class _Worker:
    """A process that does one item at a time; it is restarted when an item has crashed it."""

    def __init__(self, function: Callable):
        self.function, self.item = function, None
        self.start()

    def start(self) -> None:
        self.pipe, far_end = multiprocessing.Pipe()
        self.process = multiprocessing.Process(target=_run_worker, args=(self.function, far_end), daemon=True)
        with keep_garbage():
            self.process.start()
        far_end.close()  # the process has the only other copy, so that reading here ends when it dies

    def send(self, name: str, argument: Any) -> None:
        if not self.process.is_alive():
            self.stop()
            self.start()
        self.item = name
        self.pipe.send(argument)

    def receive(self, outcomes: Outcomes) -> None:
        name, self.item = self.item, None
        try:
            value, reason, error_number = self.pipe.recv()
        except (EOFError, ConnectionResetError):
            self.process.join()
            value, reason, error_number = None, _describe_death(self.process.exitcode), None
        if error_number in DISK_ERRORS:
            raise OSError(f"stopped at {name}: {reason}")
        if reason is None:
            outcomes.done[name] = value
        else:
            outcomes.failed[name] = reason

    def stop(self) -> None:
        self.process.terminate()
        self.process.join()
        self.pipe.close()


def _describe_death(exit_code: int) -> str:
    if exit_code == -signal.SIGKILL:
        return "the process was killed while working on it (out of memory? try fewer --workers)"
    return f"the process crashed on it (exit code {exit_code})"


def _run_worker(function: Callable, pipe: Connection) -> None:
    """Serve in the worker process: answer each argument with (value, reason, error number)."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # whose handler this process has inherited
    end_with_parent()
    while True:
        argument = pipe.recv()
        try:
            answer = function(argument), None, None
        except OSError as error:
            answer = None, cut_middle(str(error)), error.errno
        except ValueError as error:
            answer = None, cut_middle(str(error)), None
        except Exception as error:  # whatever one item does to a decoder, the others go on
            answer = None, cut_middle(f"{type(error).__name__}: {error}"), None
        pipe.send(answer)


class _Progress:
    """A tqdm bar on a terminal, elsewhere a plain line every few seconds, both with rate and time left."""

    def __init__(self, title: str, total: int, unit: str):
        self.title, self.total, self.unit = title, total, unit
        self.count, self.start_s = 0, time.monotonic()
        self.printed_s = self.start_s
        self.bar = tqdm(total=total, desc=title, unit=unit) if sys.stderr.isatty() else None

    def advance(self, count: int) -> None:
        self.count += count
        if self.bar is not None:
            self.bar.update(count)
        elif time.monotonic() - self.printed_s > PLAIN_INTERVAL_S or self.count == self.total:
            self.printed_s = time.monotonic()
            elapsed_s = max(self.printed_s - self.start_s, 1e-9)
            left_s = elapsed_s / self.count * (self.total - self.count)
            rate = f"{self.count / elapsed_s:.1f} {self.unit}s/s"
            print(f"{self.title}: {self.count}/{self.total}, {rate}, {left_s:.0f} s left", flush=True)

    def close(self) -> None:
        if self.bar is not None:
            self.bar.close()
