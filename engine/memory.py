"""How much memory a run takes, and what to do where there is too little."""

import contextlib
import itertools
import os
import pathlib
import sys
from collections.abc import Callable, Iterator

import paddle

STATISTICS = ("_mean", "_variance")  # of a batch norm, in its state


def recompute_blocks(blocks: list, cast: Callable = contextlib.nullcontext) -> None:
    """Let blocks of a network drop their activations in training, and compute them again for their gradients.

    Only the inputs of a block are kept. Gradients, the draws of dropout and the batch-norm statistics stay the same.

    Args:
        blocks: layers, none within another; their `forward` is replaced.
        cast: returns the context of the forward pass, see `engine.amp`.
    """
    for block in blocks:
        block.forward = RecomputedForward(block, cast)


class RecomputedForward:
    """The `forward` of a block that computes the tensors it saves for its gradients when they are asked for."""

    def __init__(self, block: paddle.nn.Layer, cast: Callable):
        self.block, self.forward, self.cast = block, block.forward, cast
        state = block.state_dict().items()
        self.statistics = [value for name, value in state if name.rpartition(".")[2] in STATISTICS]

    def __call__(self, *inputs):
        """Return the outputs of the block; autograd saves their numbers instead of tensors."""
        if not (self.block.training and paddle.is_grad_enabled()):
            return self.forward(*inputs)
        numbers, tensors, random_state = itertools.count(), {}, paddle.get_rng_state()

        def unpack(number: int) -> paddle.Tensor:
            if not tensors:
                tensors.update(enumerate(self.compute_again(inputs, random_state)))
            return tensors.pop(number)

        with paddle.autograd.saved_tensors_hooks(lambda tensor: next(numbers), unpack):
            return self.forward(*inputs)

    def compute_again(self, inputs: tuple, random_state: list) -> list:
        """Return what autograd saves in a forward pass, in its order, and leave no other trace."""
        saved, later_state = [], paddle.get_rng_state()
        paddle.set_rng_state(random_state)

        def pack(tensor: paddle.Tensor) -> None:
            # Paddle takes its memory away from an unpacked tensor, here from a view. In Paddle 2.6 `detach` makes none.
            with paddle.no_grad():
                saved.append(tensor.unsqueeze(0))

        hooks = paddle.autograd.saved_tensors_hooks(pack, lambda _: None)
        with paddle.enable_grad(), self.cast(), keep_values(self.statistics), hooks:
            self.forward(*inputs)
        paddle.set_rng_state(later_state)
        return saved


@contextlib.contextmanager
def keep_values(tensors: list) -> Iterator[None]:
    """Let tensors have copies of their values for a while, then their own memory again."""
    kept = [tensor.detach() for tensor in tensors]  # the same memory
    for tensor in tensors:
        tensor.data = tensor.clone()
    try:
        yield
    finally:
        for tensor, memory in zip(tensors, kept, strict=True):
            tensor.data = memory


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


def advise_batch(batch_size: int | None, accumulate: int, recompute: bool = True) -> str:
    """Return the overrides that halve what the device holds at once and keep the samples of an update.

    Args:
        recompute: RUN.recompute is on; if it is not, that is proposed first.
    """
    if not recompute:
        rest = advise_batch(batch_size, accumulate)
        return f"go on with -o RUN.recompute=true, which takes more time instead; if that is not enough, {rest}"
    if batch_size in (None, 1):
        return "lower READER.clip_len or READER.crop_size, or take a smaller network"
    smaller = max(size for size in range(1, batch_size) if batch_size % size == 0 and size <= batch_size // 2)
    return (
        f"go on with -o TRAIN.batch_size={smaller} -o RUN.accumulate={accumulate * batch_size // smaller}, "
        f"which keeps {batch_size * accumulate} samples an update"
    )


def device_memory_gib() -> float:
    """Return the memory in GiB of the GPU where one is used, else of the machine; nan where that is unknown."""
    if paddle.device.get_device().startswith("gpu"):
        return paddle.device.cuda.get_device_properties().total_memory / 2**30
    if sys.platform == "win32":
        return float("nan")
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30


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
