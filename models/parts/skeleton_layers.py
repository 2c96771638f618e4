"""Input check, input batch norm, convolutions over time and global pool that networks for skeletons share.

Inside the networks the persons are in the batch axis: `(N*M, C, T, V)`.
"""

import paddle
import paddle.nn.functional as F
from paddle import nn

from models.parts.layers import he_normal_by_fan_out
from models.parts.operators import average_over_places
from models.parts.products import Product

NUM_BLOCKS = (4, 3, 3)  # in each stage of ST-GCN and 2s-AGCN
TEMPORAL_KERNEL_SIZE = 9  # of ST-GCN and 2s-AGCN, in frames


def check_skeletons(x: paddle.Tensor, in_channels: int, num_joints: int, num_persons: int, model_name: str) -> None:
    """Check that `x` is a batch of skeletons.

    Raises:
        ValueError: `x` is not (N, in_channels, T, num_joints, num_persons).
    """
    if len(x.shape) != 5 or [x.shape[1], x.shape[3], x.shape[4]] != [in_channels, num_joints, num_persons]:
        raise ValueError(
            f"{model_name}: expected input (N, {in_channels}, T, {num_joints}, {num_persons}), got {tuple(x.shape)}; "
            "check the reader's stream, or MODEL.in_channels, MODEL.layout and MODEL.num_persons"
        )


class DataNorm(nn.Layer):
    """Batch norm of the input with statistics for each channel of each joint; it moves the persons into the batch axis.

    Args:
        num_persons: persons of a sample, M.
        num_joints: joints, V.
        in_channels: channels, C.
        per_person: each person has its own statistics (M * V * C, in that order); else they share V * C.
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
    """`nn.Conv2D` with a faster bias on a CPU.

    Paddle adds the bias as (1, C, 1, 1), which its CPU kernel broadcasts element by element: half the time of a network
    with narrow convolutions. For (C, 1, 1) it has a fast kernel, and the sums are the same. Where a pointwise layer
    doubles its channels, the bias is the weight of one more input channel, which is 1: that channel costs less than an
    addition to the wide output.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size, stride=1, padding=0, dilation=1, groups=1, **attributes
    ):
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, dilation, groups, **attributes)
        self.options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
        widens = self.weight.shape[1:] == [in_channels, 1, 1] and 2 * in_channels <= out_channels
        self.joins_bias = widens and self.bias is not None

    def forward(self, x):
        """Map (B, in_channels, T, V) to (B, out_channels, T', V')."""
        if self.joins_bias:
            weight = paddle.concat([self.weight, self.bias.reshape([-1, 1, 1, 1])], axis=1)
            return F.conv2d(paddle.concat([x, paddle.ones_like(x[:, :1])], axis=1), weight, **self.options)
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
    """Make a convolution over T of (N*M, C, T, V), padded to keep T (divided by `stride`, rounded up).

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size: in frames, odd.
        stride: in frames.
        dilation: in frames.
        bias: add a bias, initialised as 0.
        initializer: of the weights; None: He-normal by fan-out.
    """
    if initializer is None:
        initializer = he_normal_by_fan_out(out_channels * kernel_size)
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
    features = average_over_places(x)  # -> (N*M, C)
    return features.reshape([-1, num_persons, features.shape[1]]).mean(axis=1)


def list_block_sizes(in_channels: int, base_channels: int, num_blocks: list | None, model_name: str) -> list:
    """List (in_channels, out_channels, stride) of the blocks of ST-GCN or 2s-AGCN.

    Each stage but the first doubles the width and halves the frames.

    Args:
        in_channels: of the first block.
        base_channels: width of the first stage.
        num_blocks: of each stage; None: `NUM_BLOCKS`.
        model_name: for the messages of errors.

    Raises:
        ValueError: a stage without blocks, or a width below 1.
    """
    num_blocks = NUM_BLOCKS if num_blocks is None else num_blocks
    if not num_blocks or min(num_blocks) < 1:
        raise ValueError(f"{model_name}: num_blocks must have at least 1 block in each stage, got {num_blocks}")
    if base_channels < 1:
        raise ValueError(f"{model_name}: base_channels must be at least 1, got {base_channels}")
    sizes = []
    for stage, count in enumerate(num_blocks):
        width = base_channels << stage
        for index in range(count):
            sizes.append((in_channels, width, 2 if stage and not index else 1))
            in_channels = width
    return sizes


class Aggregate(nn.Layer):
    """Sum over the neighbours in each subset of a graph, by a matrix product for each.

    Without gradients it is one product of all subsets, which needs no concatenation: half the time on a CPU. With them
    that would take twice as long: its gradient sums over the subsets element by element.
    """

    def __init__(self):
        super().__init__()
        self.product = Product(paddle.matmul)

    def forward(self, x, graph):
        """Map (B, C, T, V) and adjacency matrices (K, V, V), or (B, K, V, V), to (B, K*C, T, V), channel k*C + c.

        graph[..., k, v, w] is the weight of the edge from joint v to joint w.
        """
        num_channels, num_joints = x.shape[1], x.shape[3]
        rows = x.reshape([0, -1, num_joints])  # -> (B, C*T, V)
        if not paddle.is_grad_enabled():
            sums = self.product(rows.unsqueeze(1), graph)  # -> (B, K, C*T, V)
            return sums.reshape([0, graph.shape[-3] * num_channels, -1, num_joints])
        sums = [self.product(rows, subset) for subset in graph.unbind(axis=-3)]
        return paddle.concat([rows.reshape([0, num_channels, -1, num_joints]) for rows in sums], axis=1)


class Shortcut(nn.Sequential):
    """A shortcut: the identity where the size stays, else a strided 1x1 convolution and batch norm."""

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1, initializer=None):
        layers = []
        if in_channels != out_channels or stride != 1:
            conv = temporal_conv(in_channels, out_channels, 1, stride, initializer=initializer)
            layers = [conv, nn.BatchNorm2D(out_channels)]
        super().__init__(*layers)
