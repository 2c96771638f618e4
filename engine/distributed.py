"""Several processes that train or score one model together, one per GPU; without them, one process of rank 0.

`--gpus N` of a script, or `python -m paddle.distributed.launch`, starts them. On machines without a GPU they are CPU
processes.
"""

import os
import pathlib
import subprocess
import sys
from typing import Any

import paddle


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


def is_launched() -> bool:
    """Whether this process was started by `paddle.distributed.launch`."""
    return "PADDLE_TRAINER_ID" in os.environ


def launch(script: str, argv: list, num_processes: int, log_dir: str) -> int:
    """Run a script in several processes of this machine and wait for them.

    Args:
        script: path of the script.
        argv: its command line.
        log_dir: folder of what each process prints, `workerlog.<rank>`; rank 0 prints on the screen too.

    Returns:
        The exit status; if a process fails, the others are stopped.

    Raises:
        ValueError: fewer GPUs than processes.
    """
    command = [sys.executable, "-W", "ignore", "-m", "paddle.distributed.launch", "--log_dir", log_dir]
    if paddle.is_compiled_with_cuda():
        available = paddle.device.cuda.device_count()
        if available < num_processes:
            raise ValueError(f"--gpus {num_processes}: this machine has {available}; give that number or fewer")
        command += ["--gpus", ",".join(str(device) for device in range(num_processes))]
    else:
        command += ["--nproc_per_node", str(num_processes)]
    status = subprocess.run([*command, script, *argv]).returncode
    if status:
        message = f"one of the {num_processes} processes failed, the others were stopped; their last words:"
        print("\n".join([message, *_read_last_words(log_dir)]), file=sys.stderr)
    return status


def _read_last_words(log_dir: str) -> list:
    """Return the last line of each process's log; the launcher does not always show them."""
    found = []
    for path in sorted(pathlib.Path(log_dir).glob("workerlog.*")):
        lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
        found.append(f"{path}: {next((line for line in reversed(lines) if line.strip()), 'nothing')}")
    return found


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
