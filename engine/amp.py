"""The precision in which a step computes: float32, or float16 or bfloat16 where that is safe."""

import contextlib
import logging

import numpy as np
import paddle

BFLOAT16_CAPABILITY = (8, 0)  # compute capability of the first GPUs that compute in it


class FullPrecision:
    """float32 all through."""

    def cast(self) -> contextlib.AbstractContextManager:
        """Return the context of the forward pass and the loss."""
        return contextlib.nullcontext()

    def backward(self, loss: paddle.Tensor) -> None:
        """Add the gradients of a loss."""
        loss.backward()

    def update(self, optimizer: paddle.optimizer.Optimizer) -> None:
        """Update the weights."""
        optimizer.step()

    def state(self) -> dict:
        """Return what a resumed run needs."""
        return {}

    def restore(self, state: dict) -> None:
        """Load what `state` returned."""

    def describe(self) -> str:
        """Return what is added to the log line of an update."""
        return ""


class MixedPrecision(FullPrecision):
    """float16 or bfloat16 where it is safe; a GPU only, Paddle's CPU casts to neither.

    float16 needs a loss scale, which grows and shrinks by itself: an update whose gradients overflow is skipped and the
    scale halved. bfloat16 has the range of float32 and no scale.

    Args:
        level: `O1` or `O2` (see `paddle.amp.auto_cast`); for `O2` the model is decorated beforehand.
        first_scale: of the loss.
        dtype: `float16` or `bfloat16`.
    """

    # Paddle 2.6 and 3.3 count conv3d neither among the safe nor among the unsafe operators of O1, so that a 3-D network
    # would stay float32.
    WHITE_LIST = ("conv3d",)

    def __init__(self, level: str, first_scale: float = 2.0**16, dtype: str = "float16"):
        self.level, self.dtype = level, dtype
        self.scaler = paddle.amp.GradScaler(enable=dtype == "float16", init_loss_scaling=first_scale)

    def cast(self) -> contextlib.AbstractContextManager:
        """Return the context of the forward pass and the loss."""
        return paddle.amp.auto_cast(custom_white_list=set(self.WHITE_LIST), level=self.level, dtype=self.dtype)

    def backward(self, loss: paddle.Tensor) -> None:
        """Add the gradients of a loss, scaled."""
        self.scaler.scale(loss).backward()

    def update(self, optimizer: paddle.optimizer.Optimizer) -> None:
        """Update the weights unless a gradient overflowed."""
        self.scaler.step(optimizer)
        self.scaler.update()

    def state(self) -> dict:
        """Return the loss scale and its counters."""
        return self.scaler.state_dict()

    def restore(self, state: dict) -> None:
        """Load what `state` returned."""
        if state and self.dtype == "float16":  # a run may go on in another type
            self.scaler.load_state_dict(state)

    def describe(self) -> str:
        """Return the loss scale for a log line.

        Raises:
            FloatingPointError: the scale has shrunk below 1: gradients overflow at any scale.
        """
        scale = self.scaler.state_dict().get("scale")
        if scale is None:
            return ""
        scale = float(np.asarray(scale).reshape(-1)[0])
        if scale < 1:
            raise FloatingPointError(
                f"RUN.amp_level={self.level}: the loss scale fell to {scale:g}, gradients overflow again and again; "
                "lower OPTIMIZER.learning_rate, set OPTIMIZER.grad_clip=40, or go on with -o RUN.amp_level=O0"
            )
        return f", loss scale {scale:g}"


def build_precision(level: str, dtype: str) -> FullPrecision:
    """Build what RUN.amp_level and RUN.amp_dtype ask for; a CPU computes in float32, with a warning.

    Raises:
        ValueError: bfloat16, and the GPU is older than those that compute in it.
    """
    if level == "O0":
        return FullPrecision()
    if not paddle.device.get_device().startswith("gpu"):
        logging.warning(f"RUN.amp_level={level}: Paddle computes in {dtype} on GPUs only; this is float32")
        return FullPrecision()
    if dtype == "bfloat16" and (capability := paddle.device.cuda.get_device_capability()) < BFLOAT16_CAPABILITY:
        raise ValueError(
            f"RUN.amp_dtype=bfloat16: {paddle.device.cuda.get_device_name()} has compute capability "
            f"{capability[0]}.{capability[1]}, bfloat16 needs 8.0; set -o RUN.amp_dtype=float16"
        )
    return MixedPrecision(level, dtype=dtype)
