"""From a batch's inputs to what the network takes, on the current device: the `prepare` of every reader."""

from collections.abc import Callable, Iterable

import numpy as np
import paddle


class Preprocessor:
    """Changes each input of a batch by a function of its own.

    Args:
        **changes: {name of the input: function of its tensor}, in the order in which the network takes the inputs.
    """

    def __init__(self, **changes: Callable):
        self.changes = changes

    def __call__(self, inputs: dict[str, paddle.Tensor | np.ndarray]) -> dict[str, paddle.Tensor]:
        """Return the network's inputs."""
        return {name: change(_to_tensor(inputs[name])) for name, change in self.changes.items()}

    def keep(self, names: Iterable[str]) -> "Preprocessor":
        """Return one that changes the named inputs alone; all others stay as they are."""
        kept = set(names)
        return Preprocessor(**{name: change if name in kept else _leave for name, change in self.changes.items()})


def _to_tensor(data: paddle.Tensor | np.ndarray) -> paddle.Tensor:
    return data if isinstance(data, paddle.Tensor) else paddle.to_tensor(data)  # which would copy a tensor


def _leave(tensor: paddle.Tensor) -> paddle.Tensor:
    return tensor


def normalize(frames: paddle.Tensor, mean: list, std: list) -> paddle.Tensor:
    """Convert uint8 (B, T, H, W, C) to float32 (B, C, T, H, W): (pixel / 255 - mean) / std."""
    # Channel by channel: on the CPU less than half the time of a transpose and two broadcasts.
    channels = [
        paddle.scale(frames[..., channel].astype("float32"), 1 / (255 * std[channel]), -mean[channel] / std[channel])
        for channel in range(3)
    ]
    return paddle.stack(channels, axis=1)  # 3 x (B, T, H, W) -> (B, 3, T, H, W)


def move_channels_first(skeletons: paddle.Tensor) -> paddle.Tensor:
    """Convert (B, M, T, V, C) to (B, C, T, V, M)."""
    return skeletons.transpose([0, 4, 2, 3, 1])
