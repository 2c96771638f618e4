"""PaddleVideo's AGCN: blocks of ST-GCN's form whose joints are mixed by a learnt matrix, without a graph.

Repository, in which it is documented: https://github.com/PaddlePaddle/PaddleVideo (commit ed245e9), also as PP-AGCN.
It is not 2s-AGCN (`models/skeleton/agcn.py`): no fixed skeleton, and nothing is computed from the sample.

Where we differ: the three copies of a channel stand one after the other, not side by side; what PaddleVideo has in its
files and does not use (the batch norm of the input, the shortcut of the first block) is not built.
"""

import paddle
import paddle.nn.functional as F
from paddle import nn

from common.ranges import Count, PartialShare
from layouts import get_layout
from models.parts.action_model import ActionModel
from models.parts.skeleton_layers import (
    TEMPORAL_KERNEL_SIZE,
    check_skeletons,
    list_block_sizes,
    pool_persons,
    temporal_conv,
)
from models.parts.weights import rename_paddlevideo_weights

NUM_COPIES = 3  # of each channel, mixed by matrices of their own


class JointMixing(nn.Layer):
    """Make copies of all channels by a pointwise layer, and sum them over the joints with learnt weights.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        num_joints: joints, V.
    """

    def __init__(self, in_channels: int, out_channels: int, num_joints: int):
        super().__init__()
        self.conv = temporal_conv(in_channels, NUM_COPIES * out_channels, 1, initializer=nn.initializer.KaimingNormal())
        self.mix = nn.Linear(NUM_COPIES * num_joints, num_joints, weight_attr=nn.initializer.KaimingNormal())

    def forward(self, x):
        """Map (B, in_channels, T, V) to (B, out_channels, T, V)."""
        copies = self.conv(x).split(NUM_COPIES, axis=1)
        return self.mix(paddle.concat(copies, axis=3))  # (B, out_channels, T, 3V) -> (B, out_channels, T, V)


class Block(nn.Layer):
    """A mixing of joints and a strided temporal convolution, each with batch norm, and a shortcut past both.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        stride: in frames.
        num_joints: joints, V.
        residual: add the shortcut, a convolution whether sizes differ or not.
        dropout: dropout ratio before the shortcut is added.
    """

    def __init__(
        self, in_channels: int, out_channels: int, stride: int, num_joints: int, residual: bool, dropout: float
    ):
        super().__init__()
        initializer = nn.initializer.KaimingNormal()
        self.mixing = JointMixing(in_channels, out_channels, num_joints)
        self.norm1 = nn.BatchNorm2D(out_channels)
        self.conv = temporal_conv(out_channels, out_channels, TEMPORAL_KERNEL_SIZE, stride, initializer=initializer)
        self.norm2 = nn.BatchNorm2D(out_channels)
        self.dropout = nn.Dropout(dropout)
        self.shortcut = None
        if residual:
            conv = temporal_conv(in_channels, out_channels, 1, stride, initializer=initializer)
            self.shortcut = nn.Sequential(conv, nn.BatchNorm2D(out_channels))

    def forward(self, x):
        """Map (B, in_channels, T, V) to (B, out_channels, T/stride, V), rounded up."""
        y = self.dropout(self.norm2(self.conv(F.relu(self.norm1(self.mixing(x))))))
        if self.shortcut is not None:
            y = y + self.shortcut(x)
        return F.relu(y)


# PaddleVideo's names without prefix -> ours; see `weights.apply_rules`.
PADDLEVIDEO_RULES = [
    (r"^agcn\.", "blocks."),
    (r"gcn\.conv1", "mixing.conv"),
    (r"gcn\.conv2", "mixing.mix"),
    (r"tcn\.0", "norm1"),
    (r"tcn\.2", "conv"),
    (r"tcn\.3", "norm2"),
    (r"conv_res", "shortcut.0"),
    (r"bn_res", "shortcut.1"),
    (r"^fcn", "fc"),
]
UNUSED = ("data_bn.", "blocks.0.shortcut.")  # starts of our names of what PaddleVideo has and does not use


def convert_paddlevideo_weights(weights: dict) -> dict:
    """Convert the weights of PaddleVideo's AGCN; what it does not use is dropped."""
    converted = {}
    for name, value in rename_paddlevideo_weights(weights, PADDLEVIDEO_RULES).items():
        if name.startswith(UNUSED):
            continue
        if ".mixing.conv." in name and value.ndim:  # from 3 c + k to k C + c, channel c and copy k
            value = value.reshape(-1, NUM_COPIES, *value.shape[1:]).swapaxes(0, 1).reshape(value.shape)
        if name.endswith(("mix.weight", "fc.weight")) and value.ndim:
            value = value.reshape(value.shape[:2])  # 1x1 convolutions
        converted[name] = value
    return converted


class PaddleVideoAGCN(ActionModel):
    """PaddleVideo's AGCN: ten blocks, mean over frames, joints and persons, linear. The input is not normalised.

    Args:
        num_classes: number of logits.
        layout: joints, see `layouts.get_layout`; their edges do not matter.
        in_channels: channels of a joint, C.
        num_persons: persons of a sample, M.
        dropout: dropout ratio in each block.
        base_channels: width of the first stage; each other stage doubles it.
        num_blocks: blocks in each stage; None: [4, 3, 3].

    Raises:
        ValueError: an unknown layout, or a network without channels or blocks.
    """

    WEIGHT_SOURCES = {"paddlevideo": convert_paddlevideo_weights}

    def __init__(
        self,
        num_classes: Count,
        layout: str = "openpose25",
        in_channels: Count = 2,
        num_persons: Count = 1,
        dropout: PartialShare = 0.0,
        base_channels: Count = 64,
        num_blocks: list[Count] | None = None,
    ):
        super().__init__()
        num_joints = get_layout(layout).num_joints
        self.input_size = (in_channels, num_joints, num_persons)
        sizes = list_block_sizes(in_channels, base_channels, num_blocks, "PaddleVideoAGCN")
        blocks = [Block(*size, num_joints, index > 0, dropout) for index, size in enumerate(sizes)]
        self.blocks = nn.Sequential(*blocks)
        self.fc = nn.Linear(sizes[-1][1], num_classes, weight_attr=nn.initializer.Normal(0.0, 0.02))

    def forward(self, x):
        """Map skeletons (N, in_channels, T, V, num_persons) to logits (N, num_classes).

        Raises:
            ValueError: the input has other axes, channels, joints or persons.
        """
        in_channels, num_joints, num_persons = self.input_size
        check_skeletons(x, in_channels, num_joints, num_persons, type(self).__name__)
        x = x.transpose([0, 4, 1, 2, 3]).flatten(0, 1)  # (N, C, T, V, M) -> (N*M, C, T, V)
        return self.fc(pool_persons(self.blocks(x), num_persons))
