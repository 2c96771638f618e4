"""What networks for clips share: convolutions, linear layers and their spread, the check of an input."""

import math

import paddle
from paddle import nn


def conv3d(in_channels: int, out_channels: int, kernel_size: tuple, stride=1, groups: int = 1) -> nn.Conv3D:
    """Make a convolution without bias that keeps the size (but for `stride`), He-normal by fan-out."""
    fan_out = out_channels * math.prod(kernel_size)
    return nn.Conv3D(
        in_channels,
        out_channels,
        kernel_size,
        stride=stride,
        padding=[size // 2 for size in kernel_size],
        groups=groups,
        weight_attr=nn.initializer.Normal(0.0, math.sqrt(2.0 / fan_out)),
        bias_attr=False,
    )


def conv2d(in_channels: int, out_channels: int, kernel_size: tuple, stride=1, dilation: int = 1) -> nn.Conv2D:
    """Make a 2-D convolution without bias that keeps the size (but for `stride`), He-normal by fan-out."""
    fan_out = out_channels * math.prod(kernel_size)
    return nn.Conv2D(
        in_channels,
        out_channels,
        kernel_size,
        stride=stride,
        padding=[size // 2 * dilation for size in kernel_size],
        dilation=dilation,
        weight_attr=nn.initializer.Normal(0.0, math.sqrt(2.0 / fan_out)),
        bias_attr=False,
    )


def make_classifier(num_features: int, num_classes: int, std: float) -> nn.Linear:
    """Make a linear layer whose weights are drawn normally with spread `std`, and whose biases are 0."""
    return nn.Linear(num_features, num_classes, weight_attr=nn.initializer.Normal(0.0, std))


def spread_by_inputs(num_inputs: int) -> nn.initializer.Uniform:
    """Make the initializer of PyTorch's linear layers: uniform within 1 / sqrt(num_inputs) of 0."""
    bound = 1.0 / math.sqrt(num_inputs)
    return nn.initializer.Uniform(-bound, bound)


def check_clips(x: paddle.Tensor, in_channels: int, model_name: str) -> None:
    """Refuse what is no batch of clips.

    Raises:
        ValueError: `x` is not (N, in_channels, T, H, W).
    """
    if len(x.shape) != 5 or x.shape[1] != in_channels:
        raise ValueError(
            f"{model_name}: expected input (N, {in_channels}, T, H, W), got {tuple(x.shape)}; "
            "check the reader's axis order, or MODEL.in_channels"
        )
