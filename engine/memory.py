"""How much memory a run takes, and what to do where there is too little."""

import contextlib
import pathlib
import sys
from collections.abc import Iterator

import paddle


@contextlib.contextmanager
def explain_out_of_memory(advice: str) -> Iterator[None]:
    """Turn Paddle's pages about memory that ran out into one sentence that ends with `advice`.

    Raises:
        MemoryError: in place of whatever Paddle raised.
    """
    try:
        yield
    except (MemoryError, RuntimeError, SystemError) as error:
        text = str(error).lower()
        if not isinstance(error, MemoryError) and "out of memory" not in text and "resourceexhausted" not in text:
            raise
        raise MemoryError(f"{paddle.device.get_device()} ran out of memory: {advice}") from error


def advise_batch(batch_size: int | None, accumulate: int) -> str:
    """Return the overrides that halve what the device holds at once and keep the samples of an update."""
    if batch_size in (None, 1):
        return "lower READER.clip_len or READER.crop_size, or take a smaller network"
    smaller = max(size for size in range(1, batch_size) if batch_size % size == 0 and size <= batch_size // 2)
    return (
        f"go on with -o TRAIN.batch_size={smaller} -o RUN.accumulate={accumulate * batch_size // smaller}, "
        f"which keeps {batch_size * accumulate} samples an update"
    )


def peak_memory_gib() -> float:
    """Return the peak memory in GiB: of the GPU where one is used, else of this process."""
    if paddle.device.get_device().startswith("gpu"):
        return paddle.device.cuda.max_memory_allocated() / 2**30
    if sys.platform == "win32":
        return float("nan")
    status = pathlib.Path("/proc/self/status")
    if status.is_file():  # Linux: getrusage would count the process that started this one
        line = next(line for line in status.read_text(encoding="ascii").splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) / 2**20
    import resource  # POSIX only

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**30  # macOS counts bytes
