"""Weights of 2-D ImageNet networks as a start for networks that look at clips.

Paper: "Quo Vadis, Action Recognition? A New Model and the Kinetics Dataset", J. Carreira, A. Zisserman, CVPR 2017,
arXiv:1705.07750, section 2.4: a kernel is repeated along time and divided by its length, so that where nothing moves
a clip gives what its picture gave, but for the frames near its ends, beyond which there are zeros. With "centre" the
kernel stands in the middle between zeros, so that at first every frame gives what it gave alone.
"""

import numpy as np
from paddle import nn

from models.parts.weights import convert_torch_weights

WAYS = ("repeat", "centre")


def read_imagenet(weights: dict) -> dict:
    """Take the weights of a ResNet-50 or -101 of torchvision or `paddle.vision` without the classifier.

    Args:
        weights: their names -> arrays.

    Returns:
        The names that our backbones have too -> the same arrays.
    """
    return {name: value for name, value in weights.items() if not name.startswith("fc.")}


def inflate(weights: dict, backbone: nn.Layer, way: str = "repeat") -> dict:
    """Turn 2-D weights into those of a backbone, all of it and nothing else.

    Args:
        weights: of `read_imagenet`.
        backbone: `model.backbone` of SlowOnly, TSM or TPN; it is not changed.
        way: "repeat" or "centre", how a kernel of a picture becomes one of several frames.

    Returns:
        Name in `backbone` -> array.

    Raises:
        ValueError: entries that are missing, left over or of another shape, by name; or an unknown way.
    """
    if way not in WAYS:
        raise ValueError(f"inflate: way must be one of {', '.join(WAYS)}, got {way!r}")
    state = backbone.state_dict()
    inflated = {}
    for name, value in weights.items():
        shape = list(state[name].shape) if name in state else list(value.shape)
        if value.ndim == 4 and value.shape[2:] == (1, 1) and shape[2:] == [3, 1]:
            value = _spread(value, way)
        inflated[name] = value
    return convert_torch_weights(inflated, backbone)


def _spread(kernel, way):
    if way == "repeat":
        return np.repeat(kernel / 3, 3, axis=2)
    return np.pad(kernel, [(0, 0), (0, 0), (1, 1), (0, 0)])
