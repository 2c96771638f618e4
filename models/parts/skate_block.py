"""The block of SkateFormer, of tokens (N, T, W, C); see `models/skeleton/skateformer.py`."""

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import nn

from models.parts.layers import uniform_by_fan_in
from models.parts.products import Product

NUM_KINDS = 4  # of attention: near frames with near and with distant joints, distant frames with both
HEAD_SHARE = 8  # heads of each attention: num_heads / 8; groups of the convolutions: num_heads / 4


def make_linear(num_in: int, num_out: int) -> nn.Linear:
    """Make a linear layer with PyTorch's default initializer."""
    initializer = uniform_by_fan_in(num_in)
    return nn.Linear(num_in, num_out, weight_attr=initializer, bias_attr=initializer)


def make_conv(num_in: int, num_out: int, kernel_size: int = 1, stride: int = 1, groups: int = 1) -> nn.Conv2D:
    """Make a convolution over the frames of (N, C, T, W) with PyTorch's default initializer, padded to keep them."""
    initializer = uniform_by_fan_in(num_in // groups * kernel_size)
    sizes = {"stride": (stride, 1), "padding": ((kernel_size - 1) // 2, 0), "groups": groups}
    return nn.Conv2D(num_in, num_out, (kernel_size, 1), weight_attr=initializer, bias_attr=initializer, **sizes)


def convolve_frames(layer: nn.Layer, x):
    """Apply a layer for (N, C, T, W) to (N, T, W, C)."""
    return layer(x.transpose([0, 3, 1, 2])).transpose([0, 2, 3, 1])


def find_frame_offsets(num_frames: int) -> np.ndarray:
    """Return how many frames apart two frames are, plus num_frames - 1: a row of a table, (num_frames, num_frames)."""
    frames = np.arange(num_frames)
    return frames[:, None] - frames + num_frames - 1


class PartitionAttention(nn.Layer):
    """Attention within partitions of the tokens: `num_frames` x `num_joints` near or distant ones.

    Args:
        num_channels: of the values; queries and keys have as many.
        num_heads: of the attention.
        size: (frames, joints) of a partition.
        near_frames: frames of a partition follow each other; else they are evenly spread over the clip.
        near_joints: the same of its joints.
        dropout: ratio, of the weights.
        has_bias: add a learnt bias to the logits of the attention.
    """

    def __init__(
        self,
        num_channels: int,
        num_heads: int,
        size: tuple,
        near_frames: bool,
        near_joints: bool,
        dropout: float,
        has_bias: bool,
    ):
        super().__init__()
        self.num_heads, self.num_channels, self.size = num_heads, num_channels, size
        # Axes of (N, t, t', w, w', C): those that count the partitions, then those within one.
        frames, joints = [1, 2] if near_frames else [2, 1], [3, 4] if near_joints else [4, 3]
        self.near = near_frames, near_joints
        self.order = [0, frames[0], joints[0], frames[1], joints[1], 5]
        self.relative_position_bias_table = None
        offsets = paddle.to_tensor(find_frame_offsets(size[0]))
        self.register_buffer("relative_position_index", offsets, persistable=False)
        if has_bias:
            shape = [2 * size[0] - 1, *([] if near_joints else [size[1]] * 2), num_heads]  # near ones share a table
            self.relative_position_bias_table = self.create_parameter(
                shape, default_initializer=nn.initializer.Normal(0.0, 0.02)
            )
        self.dropout = nn.Dropout(dropout)
        self.compare, self.aggregate = Product(paddle.matmul, transpose_y=True), Product(paddle.matmul)

    def make_bias(self):
        """Return what is added to the logits of the attention, (heads, F J, F J).

        Tokens are in the order frame * J + joint; for near joints the official code takes token mod F for the frame,
        which it is not.
        """
        num_frames, num_joints = self.size
        num_tokens, offsets = num_frames * num_joints, self.relative_position_index
        if self.near[1]:
            offsets = offsets.tile([num_joints, num_joints])
        rows = paddle.gather(self.relative_position_bias_table, offsets.flatten())
        if self.near[1]:
            return rows.reshape([num_tokens, num_tokens, self.num_heads]).transpose([2, 0, 1])
        rows = rows.reshape([num_frames, num_frames, num_joints, num_joints, self.num_heads])
        return rows.transpose([4, 0, 2, 1, 3]).reshape([self.num_heads, num_tokens, num_tokens])

    def forward(self, x):
        """Map queries, keys and values (N, T, W, 3 C), each head after head, to (N, T, W, C)."""
        (num_frames, num_joints), (_, length, width, _) = self.size, x.shape
        frames, joints = [length // num_frames, num_frames], [width // num_joints, num_joints]
        split = [-1, *(frames if self.near[0] else frames[::-1]), *(joints if self.near[1] else joints[::-1])]
        x = x.reshape([*split, 3 * self.num_channels]).transpose(self.order)  # -> (N, T/F, W/J, F, J, 3 C)
        x = x.reshape([-1, num_frames * num_joints, 3, self.num_heads, self.num_channels // self.num_heads])
        queries, keys, values = x.transpose([2, 0, 3, 1, 4]).unbind(axis=0)  # each (B, heads, F J, C / heads)
        logits = self.compare(queries * self.num_heads**-0.5, keys)
        if self.relative_position_bias_table is not None:
            logits = logits + self.make_bias()
        x = self.aggregate(self.dropout(F.softmax(logits)), values).transpose([0, 2, 1, 3])
        x = x.reshape([-1, frames[0], joints[0], num_frames, num_joints, self.num_channels])
        x = x.transpose(np.argsort(self.order).tolist())  # -> (N, t, t', w, w', C)
        return x.reshape([-1, length, width, self.num_channels])


class Mlp(nn.Layer):
    """Two linear layers with an exact GELU between them, as its authors name them."""

    def __init__(self, num_channels: int, num_hidden: int):
        super().__init__()
        self.fc1, self.fc2 = make_linear(num_channels, num_hidden), make_linear(num_hidden, num_channels)

    def forward(self, x):
        """Map (..., num_channels) to the same."""
        return self.fc2(F.gelu(self.fc1(x)))


class SkateBlock(nn.Layer):
    """Graph convolution, temporal convolution and four attentions side by side, then a perceptron; (N, T, W, C).

    Args:
        num_channels: C, a multiple of `num_heads`.
        num_tokens: W.
        num_heads: of all, a multiple of 8.
        kernel_size: of the temporal convolution, in frames.
        partition_sizes: (frames, joints) of each attention.
        mlp_ratio: width of the perceptron, in units of C.
        dropout: ratio, of the weights of the attention.
        drop_path: share of samples in which a branch is left out in training.
        has_bias: see `PartitionAttention`.
    """

    def __init__(
        self,
        num_channels: int,
        num_tokens: int,
        num_heads: int,
        kernel_size: int,
        partition_sizes: list,
        mlp_ratio: float,
        dropout: float,
        drop_path: float,
        has_bias: bool,
    ):
        super().__init__()
        quarter, num_groups, self.drop_path = num_channels // 4, num_heads // 4, drop_path
        self.widths = [quarter, quarter, *[3 * num_channels // HEAD_SHARE] * NUM_KINDS]
        self.gconv = self.create_parameter(
            [num_groups, num_tokens, num_tokens], default_initializer=nn.initializer.Normal(0.0, 0.02)
        )
        self.norm_1, self.norm_2 = nn.LayerNorm(num_channels), nn.LayerNorm(num_channels)
        self.mapping = make_linear(num_channels, 2 * num_channels)
        self.tconv = make_conv(quarter, quarter, kernel_size, groups=num_groups)
        self.attention = nn.LayerList(
            PartitionAttention(
                num_channels // HEAD_SHARE,
                num_heads // HEAD_SHARE,
                tuple(size),
                near_frames=kind < 2,
                near_joints=kind % 2 == 0,
                dropout=dropout,
                has_bias=has_bias,
            )
            for kind, size in enumerate(partition_sizes)
        )
        self.proj = make_linear(num_channels, num_channels)
        self.mlp = Mlp(num_channels, int(mlp_ratio * num_channels))
        self.sum_neighbours = Product(paddle.matmul)

    def convolve_graph(self, x):
        """Sum over all tokens of a frame, with weights for each group of channels; (N, T, W, C/4)."""
        num_groups, (_, length, width, num_channels) = self.gconv.shape[0], x.shape
        x = x.reshape([-1, length, width, num_groups, num_channels // num_groups])
        x = x.transpose([3, 2, 0, 1, 4]).reshape([num_groups, width, -1])  # -> (groups, W, N T C')
        x = self.sum_neighbours(self.gconv, x).reshape([num_groups, width, -1, length, num_channels // num_groups])
        return x.transpose([2, 3, 1, 0, 4]).flatten(3)

    def skip(self, x):
        """Leave a branch out in some samples of training (stochastic depth)."""
        return F.dropout(x, self.drop_path, axis=0, training=self.training) if self.drop_path else x

    def forward(self, x):
        """Map (N, T, W, C) to the same."""
        graph, time, *parts = self.mapping(self.norm_1(x)).split(self.widths, axis=3)
        branches = [self.convolve_graph(graph), convolve_frames(self.tconv, time)]
        branches += [self.attention[kind](part) for kind, part in enumerate(parts)]
        x = x + self.skip(self.proj(paddle.concat(branches, axis=3)))
        return x + self.skip(self.mlp(self.norm_2(x)))
