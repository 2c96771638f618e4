"""The multi-scale temporal convolution that MS-G3D, CTR-GCN and InfoGCN share: branches of several dilations.

Paper: "Disentangling and Unifying Graph Convolutions for Skeleton-Based Action Recognition", Z. Liu et al., CVPR 2020,
arXiv:2003.14111. Official repository: https://github.com/kenziyuliu/MS-G3D (Mar 2020).

Where we differ: the 1x1 convolutions of one input are one layer, and so are the batch norms of concatenated outputs. If
the branches do not divide the width, the last one has the remainder, as in PYSKL; the official code raises an error.
"""

import functools

import paddle
import paddle.nn.functional as F
from paddle import nn

from models.parts.layers import he_normal_by_fan_out, uniform_by_fan_in
from models.parts.skeleton_layers import SkeletonConv2D

KERNEL_SIZE, DILATIONS = 5, (1, 2)  # of the convolutions of a `MultiScaleBlock`, in frames


def branch_conv(
    in_channels: int,
    out_channels: int,
    kernel_size: int = 1,
    stride: int = 1,
    dilation: int = 1,
    num_layers: int = 1,
    time_axis: int = 2,
    uniform: bool = False,
) -> SkeletonConv2D:
    """Make a convolution over time, padded to keep the frames (divided by `stride`, rounded up).

    Args:
        in_channels: of the input.
        out_channels: of the output.
        kernel_size: in frames, odd.
        stride: in frames.
        dilation: in frames.
        num_layers: number of official convolutions that this layer replaces; its initializer is theirs.
        time_axis: 2 for (B, C, T, V), 3 for (B, C, V, T).
        uniform: initialise weights and biases as PyTorch does by default; else weights He-normal by fan-out, biases 0.
    """

    def order_axes(over_time, over_joints):
        return [over_time, over_joints] if time_axis == 2 else [over_joints, over_time]

    initializer = he_normal_by_fan_out(out_channels // num_layers * kernel_size)
    if uniform:
        initializer = uniform_by_fan_in(in_channels * kernel_size)
    return SkeletonConv2D(
        in_channels,
        out_channels,
        order_axes(kernel_size, 1),
        stride=order_axes(stride, 1),
        padding=order_axes((kernel_size - 1) * dilation // 2, 0),
        dilation=order_axes(dilation, 1),
        weight_attr=initializer,
        bias_attr=initializer if uniform else None,
    )


def pointwise_norm(in_channels: int, out_channels: int, stride: int = 1) -> nn.Sequential:
    """Make a 1x1 convolution and batch norm."""
    return nn.Sequential(branch_conv(in_channels, out_channels, stride=stride), nn.BatchNorm2D(out_channels))


class MultiScaleTemporalConv(nn.Layer):
    """Parallel branches over time: a convolution for each dilation, a max pool, a 1x1 convolution.

    A 1x1 convolution, batch norm and ReLU reduce the channels before convolutions and pool; batch norm follows each
    branch.

    Args:
        in_channels: of the input.
        out_channels: split evenly among the branches; the last one has the remainder.
        kernel_size: of the convolutions, in frames.
        dilations: in frames, one for each convolution.
        stride: of all branches, in frames.
        residual: add the input, through a 1x1 convolution and batch norm where the size changes.
        relu: end with a ReLU.
        time_axis: 2 for (B, C, T, V), 3 for (B, C, V, T).
        uniform: initialise weights and biases as PyTorch does by default, as MS-G3D; else weights He-normal by fan-out,
            biases 0 and scales of batch norm normal around 1, as CTR-GCN and InfoGCN.
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
        time_axis: int = 2,
        uniform: bool = False,
    ):
        super().__init__()
        conv = functools.partial(branch_conv, time_axis=time_axis, uniform=uniform)
        norm = functools.partial(nn.BatchNorm2D, weight_attr=None if uniform else nn.initializer.Normal(1.0, 0.02))
        self.num_reduced = num_reduced = len(dilations) + 1  # branches with reduced channels: convolutions and pool
        width = out_channels // (num_reduced + 1)
        self.has_residual, self.relu = residual, relu
        self.reduce = conv(in_channels, num_reduced * width, num_layers=num_reduced)
        self.reduce_norm = norm(num_reduced * width)
        self.convs = nn.LayerList(conv(width, width, kernel_size, stride, dilation) for dilation in dilations)
        sizes = ([3, 1], [stride, 1], [1, 0]) if time_axis == 2 else ([1, 3], [1, stride], [0, 1])
        self.pool = nn.MaxPool2D(*sizes)
        self.point = conv(in_channels, out_channels - num_reduced * width, stride=stride)
        self.norm = norm(out_channels)
        self.shortcut = None
        if residual and (in_channels != out_channels or stride != 1):
            self.shortcut = nn.Sequential(conv(in_channels, out_channels, stride=stride), norm(out_channels))

    def forward(self, x):
        """Map (B, in_channels, T, V) to (B, out_channels, T/stride, V), T rounded up; or both with V before T."""
        reduced = F.relu(self.reduce_norm(self.reduce(x))).split(self.num_reduced, axis=1)
        outputs = [conv(reduced[index]) for index, conv in enumerate(self.convs)]
        y = self.norm(paddle.concat([*outputs, self.pool(reduced[-1]), self.point(x)], axis=1))
        if self.has_residual:
            y = y + (x if self.shortcut is None else self.shortcut(x))
        return F.relu(y) if self.relu else y


class MultiScaleBlock(nn.Layer):
    """A block of CTR-GCN and its kin: a graph convolution and a temporal unit, with a shortcut past both.

    Args:
        graph: the graph convolution.
        in_channels: of the graph convolution's input.
        out_channels: of its output, and of the block's.
        stride: of the temporal unit, in frames.
        residual: whether there is a shortcut.
        relu: end the temporal unit with a ReLU.
    """

    def __init__(
        self, graph: nn.Layer, in_channels: int, out_channels: int, stride: int, residual: bool, relu: bool = False
    ):
        super().__init__()
        self.graph = graph
        self.temporal = MultiScaleTemporalConv(out_channels, out_channels, KERNEL_SIZE, DILATIONS, stride, relu=relu)
        self.has_residual = residual
        self.shortcut = None
        if residual and (in_channels != out_channels or stride != 1):
            self.shortcut = pointwise_norm(in_channels, out_channels, stride)

    def forward(self, x):
        """Map (B, in_channels, T, V) to (B, out_channels, T/stride, V), T rounded up."""
        y = self.temporal(self.graph(x))
        if self.has_residual:
            y = y + (x if self.shortcut is None else self.shortcut(x))
        return F.relu(y)


def map_branch_name(name: str, num_branches: int) -> tuple:
    """Map the name of a tensor of an official temporal unit to that of a `MultiScaleTemporalConv`.

    Args:
        name: after `branches.`, such as `0.3.conv.weight`: branch, index in it, layer, tensor.
        num_branches: of the unit.

    Returns:
        (our name within the unit, such as `convs.0.weight`; the branch).
    """
    branch, index, *layer, tensor = name.split(".")
    is_last = int(branch) == num_branches - 1
    layers = {
        "0": "point" if is_last else "reduce",
        "1": "norm" if is_last else "reduce_norm",
        "3": f"convs.{branch}" if layer == ["conv"] else "norm",
        "4": "norm",
    }
    return f"{layers[index]}.{tensor}", int(branch)
