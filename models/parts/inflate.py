"""Inflate the weights of 2-D ImageNet networks to initialise networks for clips.

Paper: "Quo Vadis, Action Recognition? A New Model and the Kinetics Dataset", J. Carreira, A. Zisserman, CVPR 2017,
arXiv:1705.07750, section 2.4: with "repeat" a kernel is repeated along time and divided by its length, so that a clip
without motion has the activations of its image, except near its first and last frame, where the zero padding is seen.
With "centre" the kernel is the middle frame of one that is zero elsewhere, so that each frame has the activations that
it has alone.
"""

import numpy as np
from paddle import nn

from models.parts.pathway import Pathway, flatten_kernel
from models.parts.weights import convert_torch_weights

MODES = ("repeat", "centre")


def convert_imagenet_weights(weights: dict) -> dict:
    """Return the weights of a ResNet-50 or -101 of torchvision or `paddle.vision` without its classifier."""
    return {name: value for name, value in weights.items() if not name.startswith("fc.")}


def inflate(weights: dict, backbone: nn.Layer, mode: str = "repeat") -> dict:
    """Convert 2-D weights to those of a backbone.

    Args:
        weights: as `convert_imagenet_weights` returns them.
        backbone: `model.backbone` of SlowOnly, TSM, TPN or I3D; it is not changed.
        mode: "repeat" or "centre", how an image kernel gets a time axis; see above.

    Returns:
        Name in `backbone` -> array, for exactly the entries of its state dict.

    Raises:
        ValueError: entries are missing, left over or of another shape (the message names them), or an unknown mode.
    """
    if mode not in MODES:
        raise ValueError(f"inflate: mode must be one of {', '.join(MODES)}, got {mode!r}")
    state = backbone.state_dict()
    inflated = {}
    for name, value in weights.items():
        shape = list(state[name].shape) if name in state else list(value.shape)
        if value.ndim == 4 and value.shape[2:] == (1, 1) and shape[2:] == [3, 1]:
            value = _inflate_kernel(value, 3, mode)
        elif name == "conv1.weight" and isinstance(backbone, Pathway) and value.ndim == 4:
            value = flatten_kernel(_inflate_kernel(value[:, :, None], backbone.config.conv1_kernel[0], mode))
        inflated[name] = value
    return convert_torch_weights(inflated, backbone)


def _inflate_kernel(kernel, length, mode):
    """Make a kernel whose axis 2, time, has one frame `length` frames long."""
    if mode == "repeat":
        return np.repeat(kernel / length, length, axis=2)
    padding = [(0, 0)] * kernel.ndim
    padding[2] = (length // 2, length // 2)
    return np.pad(kernel, padding)
