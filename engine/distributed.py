"""Several processes that train or score one model together, one per GPU; without them, one process of rank 0.

`--gpus N` of a script, or `python -m paddle.distributed.launch`, starts them. On machines without a GPU they are CPU
processes.
"""

import codecs
import contextlib
import os
import pathlib
import signal
import socket
import subprocess
import sys
import threading
import time
from typing import Any

import paddle

from common import files
from common.lifetime import end_with_starter

# What a launcher tells each process, and what it is told itself.
WORLD_VARIABLES = ("PADDLE_TRAINER_ID", "PADDLE_TRAINERS_NUM", "PADDLE_CURRENT_ENDPOINT", "PADDLE_TRAINER_ENDPOINTS")
LAUNCHER_PREFIXES = ("PADDLE_", "MASTER_ADDR", "MASTER_PORT", "FLAGS_selected_")
PARENT_VARIABLE = "RANKS_PARENT_PID"  # set for the processes of `launch`, to the process that waits for them
POLL_S, GRACE_S = 0.1, 5  # between two looks at the processes; from SIGTERM to SIGKILL


def rank() -> int:
    """Return the number of this process, from 0; rank 0 writes logs and checkpoints."""
    return paddle.distributed.get_rank()


def num_ranks() -> int:
    """Return how many processes there are."""
    return paddle.distributed.get_world_size()


def connect() -> None:
    """Meet the other processes, if there are any; the device is chosen before."""
    if num_ranks() > 1:
        paddle.distributed.init_parallel_env()


def is_connected() -> bool:
    """Whether this process has met the others."""
    return paddle.distributed.is_initialized()


def find_master() -> tuple[str, int]:
    """Return host and port of rank 0, at which Paddle connects the processes.

    Raises:
        ValueError: the environment has no such address.
    """
    host, port = os.environ.get("MASTER_ADDR"), os.environ.get("MASTER_PORT")
    if not (host and port):
        address = os.environ.get("PADDLE_MASTER") or os.environ["PADDLE_TRAINER_ENDPOINTS"].split(",")[0]
        host, _, port = address.rpartition(":")
    if not (host and port.isdecimal() and int(port) < 2**16):
        raise ValueError(f"the environment names rank 0 as '{host}:{port}', expected HOST:PORT")
    return host, int(port)


def is_launched() -> bool:
    """Whether the environment says which of several processes this is, as `launch` or Paddle's launcher sets it."""
    return "PADDLE_TRAINER_ID" in os.environ


def has_waiting_parent() -> bool:
    """Whether a process of this project started this one by `launch`, and goes on when it ends."""
    return PARENT_VARIABLE in os.environ


def join_processes(num_processes: int | None) -> bool:
    """Check that flag and environment agree on the processes; a process of several ends with its parent from here on.

    Args:
        num_processes: `--gpus`; None where it is not given.

    Returns:
        Whether this process has to `launch` them and wait, instead of doing the work.

    Raises:
        ValueError: flag and environment contradict each other, or the environment lacks something.
    """
    given = {name: os.environ[name] for name in WORLD_VARIABLES[:2] if name in os.environ}
    shown = ", ".join(f"{name}={value}" for name, value in given.items())
    if not all(value.isdecimal() for value in given.values()):
        raise ValueError(f"the environment has {shown}, expected whole numbers; unset these variables")
    world_size = int(given.get("PADDLE_TRAINERS_NUM", 1))
    if given and num_processes not in (None, world_size):
        raise ValueError(
            f"--gpus {num_processes}: the environment ({shown}) says that this is one of {world_size} processes; under "
            "paddle.distributed.launch leave --gpus out, otherwise unset these variables"
        )
    missing = [name for name in WORLD_VARIABLES if name not in os.environ]
    if world_size > 1 and missing or int(given.get("PADDLE_TRAINER_ID", 0)) >= max(world_size, 1):
        lacks = f"lacks {', '.join(missing)}" if missing else "has no such process"
        raise ValueError(f"the environment ({shown}) {lacks}; unset these variables, or start by --gpus N")
    if has_waiting_parent() or "PADDLE_LOCAL_RANK" in os.environ:  # not if somebody set the variables by hand
        end_with_starter(int(os.environ.get(PARENT_VARIABLE, os.getppid())))
    if is_launched():
        return False
    num_processes = num_processes or 1
    for name, expected in (("PADDLE_NNODES", 1), ("PADDLE_NPROC_PER_NODE", num_processes)):
        if num_processes > 1 and os.environ.get(name, str(expected)) != str(expected):
            raise ValueError(
                f"--gpus {num_processes} starts the processes of this machine, the environment has "
                f"{name}={os.environ[name]}; unset it, or start by paddle.distributed.launch without --gpus"
            )
    return num_processes > 1


class _Rank:
    """A process that `launch` started.

    Args:
        command: of the process.
        environment: its variables.
        log_file: gets what it prints, after what stands there.
        on_screen: print it here too.
    """

    def __init__(self, command: list, environment: dict, log_file: pathlib.Path, on_screen: bool):
        self.log_file, self.log_end, self.was_stopped, self.printer = log_file, None, False, None
        with open(log_file, "ab") as log:
            self.log_start = log.tell()
            pipes = {"stdout": subprocess.PIPE if on_screen else log, "stderr": subprocess.STDOUT}
            self.process = subprocess.Popen(command, env=environment, start_new_session=True, **pipes)
        if on_screen:
            self.printer = threading.Thread(target=self._print, daemon=True)
            self.printer.start()

    def _print(self) -> None:
        with open(self.log_file, "ab", buffering=0) as log:
            decoder = codecs.getincrementaldecoder("utf-8")("replace")
            while chunk := self.process.stdout.read1():
                log.write(chunk)
                if not self.was_stopped:  # Paddle's C++ code prints where it was
                    sys.stdout.write(decoder.decode(chunk))
                    sys.stdout.flush()

    def stop(self) -> None:
        """Ask the process to end; `join` waits for it."""
        if self.process.poll() is None:
            self.was_stopped, self.log_end = True, self.log_file.stat().st_size
            self.process.terminate()

    def join(self, deadline_s: float) -> None:
        """Wait until the process has ended, kill it at the deadline, and what it has started."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(max(0.0, deadline_s - time.monotonic()))
        self.process.kill()
        self.process.wait()
        if os.name == "posix":
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)  # its readers
        if self.printer is not None:
            self.printer.join(GRACE_S)

    def describe_end(self) -> str:
        """Return how the process ended and the last line that it printed by itself."""
        code = self.process.returncode
        if self.was_stopped:
            end = "was stopped"
        elif code < 0:
            end = f"was killed by {signal.Signals(-code).name}"
        else:
            end = f"ended with exit status {code}"
        if code == -signal.SIGKILL and not self.was_stopped:
            end += " (out of memory? try a smaller batch_size, num_workers or --gpus)"
        with open(self.log_file, "rb") as log:
            printed = log.read()[self.log_start : self.log_end]
        lines = printed.decode("utf-8", "replace").split("\n")
        return f"{end}, {self.log_file}: {next((line for line in reversed(lines) if line.strip()), 'nothing')}"


def launch(script: str, argv: list, num_processes: int, log_dir: str, use_gpu: bool | None = None) -> int:
    """Run a script in several processes of this machine and wait for them; they end when this process ends.

    Args:
        script: path of the script.
        argv: its command line.
        log_dir: folder of what each process prints, `workerlog.<rank>`; rank 0 prints on the screen too.
        use_gpu: as `recipe.choose_device` takes it.

    Returns:
        The exit status; if a process fails, the others are stopped.

    Raises:
        ValueError: fewer GPUs than processes.
    """
    on_gpus = use_gpu is not False and paddle.is_compiled_with_cuda()
    if on_gpus and (available := paddle.device.cuda.device_count()) < num_processes:
        raise ValueError(f"--gpus {num_processes}: this machine has {available}; give that number or fewer")
    files.make_folder(log_dir)
    command = [sys.executable, script, *map(str, argv)]
    ranks = []
    try:
        for number, environment in enumerate(_make_environments(num_processes, on_gpus)):
            log_file = pathlib.Path(log_dir, f"workerlog.{number}")
            ranks.append(_Rank(command, environment, log_file, on_screen=number == 0))
        codes = [None]
        while None in codes and not any(codes):
            time.sleep(POLL_S)
            codes = [started.process.poll() for started in ranks]
    finally:
        for started in ranks:
            started.stop()
        deadline_s = time.monotonic() + GRACE_S
        for started in ranks:
            started.join(deadline_s)
    status = next((code for code in codes if code), 0)
    if status:
        message = f"one of the {num_processes} processes failed, the others were stopped; their last words:"
        ends = [f"rank {number} {started.describe_end()}" for number, started in enumerate(ranks)]
        print("\n".join([message, *ends]), file=sys.stderr)
    return status if status >= 0 else 128 - status


def _make_environments(num_processes: int, on_gpus: bool) -> list:
    """Return the environment variables of each process: where the others are, and which GPU it takes."""
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(num_processes)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        endpoints = [f"127.0.0.1:{probe.getsockname()[1]}" for probe in probes]
    shared = {
        **alone(),
        PARENT_VARIABLE: str(os.getpid()),
        "PADDLE_MASTER": endpoints[0],
        "PADDLE_TRAINERS_NUM": str(num_processes),
        "PADDLE_TRAINER_ENDPOINTS": ",".join(endpoints),
        "PYTHONIOENCODING": "utf-8",
        "PYTHONUNBUFFERED": "1",
    }
    environments = []
    for number, endpoint in enumerate(endpoints):
        device = {"FLAGS_selected_gpus": str(number)} if on_gpus else {"PADDLE_DISTRI_BACKEND": "gloo"}
        own = {"PADDLE_TRAINER_ID": str(number), "PADDLE_CURRENT_ENDPOINT": endpoint}
        environments.append({**shared, **own, **device})
    return environments


def alone() -> dict:
    """Return the environment of this process without what makes it one of several, for a process by itself."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(LAUNCHER_PREFIXES) and name != PARENT_VARIABLE
    }


def share_gradients(model: paddle.nn.Layer) -> paddle.nn.Layer:
    """Wrap a model so that `backward` averages gradients over the processes; one process gets the model itself.

    A model that does not use every weight in every batch says so by `skips_layers`.
    """
    if num_ranks() == 1:
        return model
    return paddle.DataParallel(model, find_unused_parameters=model.skips_layers)


def all_reduce_sum(values: paddle.Tensor) -> paddle.Tensor:
    """Sum a tensor over the processes."""
    if num_ranks() > 1:
        paddle.distributed.all_reduce(values)
    return values


def average_norm_statistics(model: paddle.nn.Layer) -> None:
    """Average the batch-norm statistics, and whatever else no gradient moves, over the processes."""
    if num_ranks() == 1:
        return
    tensors = [value for value in model.state_dict().values() if value.stop_gradient and value.is_floating_point()]
    if not tensors:
        return
    flat = all_reduce_sum(paddle.concat([tensor.flatten().astype("float32") for tensor in tensors])) / num_ranks()
    sizes = [int(tensor.size) for tensor in tensors]
    for tensor, part in zip(tensors, flat.split(sizes), strict=True):
        tensor.set_value(part.reshape(tensor.shape).astype(tensor.dtype))


def gather(value: Any) -> list:
    """Return every process's `value` (anything that pickles), by rank."""
    if num_ranks() == 1:
        return [value]
    values = []
    paddle.distributed.all_gather_object(values, value)
    return values
