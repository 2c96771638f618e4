"""The temporal unit that MS-G3D, CTR-GCN and InfoGCN share: branches of several dilations.

Paper: "Disentangling and Unifying Graph Convolutions for Skeleton-Based Action Recognition", Z. Liu et al., CVPR 2020,
arXiv:2003.14111. Official repository: https://github.com/kenziyuliu/MS-G3D (Mar 2020).

Where we differ: 1x1 convolutions of one input are one layer, and so are batch norms that nothing stands between. Of a
width that the branches do not divide, the last one has the remainder, as in PYSKL; the official code refuses it.
"""

import math

import paddle
import paddle.nn.functional as F
from paddle import nn

from models.skeleton_layers import SkeletonConv2D, temporal_conv


def spread_by_outputs(num_outputs: int) -> nn.initializer.Normal:
    """Make the He-normal initializer by fan-out."""
    return nn.initializer.Normal(0.0, math.sqrt(2.0 / num_outputs))


def pointwise(in_channels: int, out_channels: int, num_layers: int = 1, stride: int = 1) -> SkeletonConv2D:
    """Make `num_layers` 1x1 convolutions of one input as one, each He-normal by its own fan-out; frames are strided."""
    spread = spread_by_outputs(out_channels // num_layers)
    return temporal_conv(in_channels, out_channels, 1, stride, initializer=spread)


def pointwise_norm(in_channels: int, out_channels: int, stride: int = 1) -> nn.Sequential:
    """Make a 1x1 convolution and batch norm."""
    return nn.Sequential(temporal_conv(in_channels, out_channels, 1, stride), nn.BatchNorm2D(out_channels))


def temporal_norm(num_channels: int) -> nn.BatchNorm2D:
    """Make a batch norm of a temporal unit: scales are drawn around 1."""
    return nn.BatchNorm2D(num_channels, weight_attr=nn.initializer.Normal(1.0, 0.02))


class MultiScaleTemporalConv(nn.Layer):
    """Branches over time, side by side: convolutions with a dilation each, a max pool, a 1x1 convolution.

    Convolutions and pool see an input that a 1x1 convolution, batch norm and ReLU made narrow; batch norm follows each.

    Args:
        in_channels: of the input.
        out_channels: shared out evenly among the branches; the last one has the remainder.
        kernel_size: of the convolutions, in frames.
        dilations: of the convolutions, in frames, one each.
        stride: of all branches, in frames.
        residual: add the input, through a 1x1 convolution and batch norm where the size changes.
        relu: end with a ReLU.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        dilations: tuple,
        stride: int = 1,
        residual: bool = False,
        relu: bool = False,
    ):
        super().__init__()
        num_narrow = len(dilations) + 1  # those that see a narrow input
        width = out_channels // (num_narrow + 1)
        self.sizes = [width] * num_narrow
        self.stride, self.has_residual, self.relu = stride, residual, relu
        self.reduce = pointwise(in_channels, num_narrow * width, num_narrow)
        self.reduce_norm = temporal_norm(num_narrow * width)
        self.convs = nn.LayerList(temporal_conv(width, width, kernel_size, stride, dilation) for dilation in dilations)
        last_width = out_channels - num_narrow * width
        self.point = temporal_conv(in_channels, last_width, 1, stride)
        self.norm = temporal_norm(out_channels)
        self.shortcut = None
        if residual and (in_channels != out_channels or stride != 1):
            self.shortcut = nn.Sequential(
                temporal_conv(in_channels, out_channels, 1, stride), temporal_norm(out_channels)
            )

    def forward(self, x):
        """Map (B, in_channels, T, V) to (B, out_channels, T/stride, V), T rounded up."""
        narrow = F.relu(self.reduce_norm(self.reduce(x)))
        *parts, pooled = narrow.split(self.sizes, axis=1)
        outputs = [conv(part) for conv, part in zip(self.convs, parts, strict=True)]
        outputs.append(F.max_pool2d(pooled, [3, 1], stride=[self.stride, 1], padding=[1, 0]))
        outputs.append(self.point(x))
        y = self.norm(paddle.concat(outputs, axis=1))
        if self.has_residual:
            y = y + (x if self.shortcut is None else self.shortcut(x))
        return F.relu(y) if self.relu else y


def place_branch(name: str, num_branches: int) -> tuple:
    """Find the place of a tensor of an official temporal unit in a `MultiScaleTemporalConv`.

    Args:
        name: after `branches.`, such as `0.3.conv.weight`: branch, step in it, layer, tensor.
        num_branches: of the unit.

    Returns:
        (our name after the unit's, such as `convs.0.weight`; the branch).
    """
    branch, step, *layer, tensor = name.split(".")
    is_last = int(branch) == num_branches - 1
    layers = {
        "0": "point" if is_last else "reduce",
        "1": "norm" if is_last else "reduce_norm",
        "3": f"convs.{branch}" if layer == ["conv"] else "norm",
        "4": "norm",
    }
    return f"{layers[step]}.{tensor}", int(branch)
