"""What networks for skeletons share: the check of an input, its batch norm, convolutions over time, the last pool.

Inside the networks the persons stand in the batch: `(N*M, C, T, V)`.
"""

import math

import paddle
import paddle.nn.functional as F
from paddle import nn


def check_skeletons(x: paddle.Tensor, in_channels: int, num_joints: int, num_persons: int, model_name: str) -> None:
    """Refuse what is no batch of skeletons.

    Raises:
        ValueError: `x` is not (N, in_channels, T, num_joints, num_persons).
    """
    if len(x.shape) != 5 or [x.shape[1], x.shape[3], x.shape[4]] != [in_channels, num_joints, num_persons]:
        raise ValueError(
            f"{model_name}: expected input (N, {in_channels}, T, {num_joints}, {num_persons}), got {tuple(x.shape)}; "
            "check the reader's stream, or MODEL.in_channels, MODEL.layout and MODEL.num_persons"
        )


class DataNorm(nn.Layer):
    """Batch norm of the input, each coordinate of each joint by itself; it moves the persons into the batch.

    Args:
        num_persons: persons of a sample, M.
        num_joints: joints, V.
        in_channels: channels, C.
        per_person: each person has statistics of his own (M * V * C of them, in that order) instead of sharing V * C.
    """

    def __init__(self, num_persons: int, num_joints: int, in_channels: int, per_person: bool):
        super().__init__()
        self.num_joints, self.in_channels = num_joints, in_channels
        self.num_features = (num_persons if per_person else 1) * num_joints * in_channels
        self.norm = nn.BatchNorm1D(self.num_features)

    def forward(self, x):
        """Map (N, C, T, V, M) to (N*M, C, T, V)."""
        num_frames = x.shape[2]
        x = x.transpose([0, 4, 3, 1, 2])  # (N, C, T, V, M) -> (N, M, V, C, T)
        x = self.norm(x.reshape([-1, self.num_features, num_frames]))  # -> (N, M*V*C, T) or (N*M, V*C, T)
        x = x.reshape([-1, self.num_joints, self.in_channels, num_frames])
        return x.transpose([0, 2, 3, 1])  # (N*M, V, C, T) -> (N*M, C, T, V)


class SkeletonConv2D(nn.Conv2D):
    """A convolution like `nn.Conv2D` whose bias costs less on a CPU.

    Paddle adds the bias as (1, C, 1, 1), which its CPU kernel spreads element by element: half the time of a network
    with narrow convolutions. For (C, 1, 1) it has a fast way, and the sums are the same.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size, stride=1, padding=0, dilation=1, groups=1, **attributes
    ):
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, dilation, groups, **attributes)
        self.options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}

    def forward(self, x):
        """Map (B, in_channels, T, V) to (B, out_channels, T', V')."""
        y = F.conv2d(x, self.weight, **self.options)
        return y if self.bias is None else y + self.bias.reshape([-1, 1, 1])


def temporal_conv(
    in_channels: int,
    out_channels: int,
    kernel_size: int,
    stride: int = 1,
    dilation: int = 1,
    bias: bool = True,
    initializer: nn.initializer.Initializer | None = None,
) -> SkeletonConv2D:
    """Make a convolution over T alone of (N*M, C, T, V); it keeps T (but for `stride`, rounded up).

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size: frames, odd; 1 mixes channels only.
        stride: frames from one output to the next.
        dilation: frames from one tap of the kernel to the next.
        bias: add a bias, 0 at first.
        initializer: how the weights are drawn; He-normal by fan-out if None.
    """
    if initializer is None:
        initializer = nn.initializer.Normal(0.0, math.sqrt(2.0 / (out_channels * kernel_size)))
    return SkeletonConv2D(
        in_channels,
        out_channels,
        (kernel_size, 1),
        stride=(stride, 1),
        padding=((kernel_size - 1) * dilation // 2, 0),
        dilation=(dilation, 1),
        weight_attr=initializer,
        bias_attr=None if bias else False,
    )


def pool_persons(x: paddle.Tensor, num_persons: int) -> paddle.Tensor:
    """Average over frames, joints and persons: (N*M, C, T, V) to (N, C)."""
    features = x.mean(axis=[2, 3])  # -> (N*M, C)
    return features.reshape([-1, num_persons, features.shape[1]]).mean(axis=1)
