"""Convolutions, linear layers, initializers and the input check that several networks share."""

import math

import paddle
from paddle import nn


def conv3d(in_channels: int, out_channels: int, kernel_size: tuple, stride=1, groups: int = 1) -> nn.Conv3D:
    """Make a 3-D convolution without bias, padded to keep the size (divided by `stride`), He-normal by fan-out."""
    return nn.Conv3D(
        in_channels,
        out_channels,
        kernel_size,
        stride=stride,
        padding=[size // 2 for size in kernel_size],
        groups=groups,
        weight_attr=he_normal_by_fan_out(out_channels * math.prod(kernel_size)),
        bias_attr=False,
    )


def conv2d(in_channels: int, out_channels: int, kernel_size: tuple, stride=1, dilation: int = 1) -> nn.Conv2D:
    """Make a 2-D convolution without bias, padded to keep the size (divided by `stride`), He-normal by fan-out."""
    return nn.Conv2D(
        in_channels,
        out_channels,
        kernel_size,
        stride=stride,
        padding=[size // 2 * dilation for size in kernel_size],
        dilation=dilation,
        weight_attr=he_normal_by_fan_out(out_channels * math.prod(kernel_size)),
        bias_attr=False,
    )


def leaky_relu(x: paddle.Tensor, slope: float = 0.01) -> paddle.Tensor:
    """Return x where it is positive, else slope * x; Paddle Inference dies of its own operator behind a convolution."""
    return paddle.maximum(x, slope * x)


def make_classifier(num_features: int, num_classes: int, std: float) -> nn.Linear:
    """Make a linear layer; weights are normal with standard deviation `std`, biases 0."""
    return nn.Linear(num_features, num_classes, weight_attr=nn.initializer.Normal(0.0, std))


def uniform_by_fan_in(fan_in: int) -> nn.initializer.Uniform:
    """Make the default initializer of PyTorch's layers: uniform between -1 / sqrt(fan_in) and 1 / sqrt(fan_in)."""
    bound = 1.0 / math.sqrt(fan_in)
    return nn.initializer.Uniform(-bound, bound)


def he_normal_by_fan_out(fan_out: int) -> nn.initializer.Normal:
    """Make the He-normal initializer by fan-out: standard deviation sqrt(2 / fan_out)."""
    return nn.initializer.Normal(0.0, math.sqrt(2.0 / fan_out))


def check_clips(x: paddle.Tensor, in_channels: int, model_name: str) -> None:
    """Check that `x` is a batch of clips.

    Raises:
        ValueError: `x` is not (N, in_channels, T, H, W).
    """
    if len(x.shape) != 5 or x.shape[1] != in_channels:
        raise ValueError(
            f"{model_name}: expected input (N, {in_channels}, T, H, W), got {tuple(x.shape)}; "
            "check the reader's axis order, or MODEL.in_channels"
        )
