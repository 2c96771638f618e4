"""2s-AGCN and its successor: graph convolutions whose edges follow from the skeleton at hand, too.

Papers: "Two-Stream Adaptive Graph Convolutional Networks for Skeleton-Based Action Recognition", L. Shi, Y. Zhang,
J. Cheng, H. Lu, CVPR 2019, arXiv:1805.07694, and, with gates and attention, "Skeleton-Based Action Recognition with
Multi-Stream Adaptive Graph Convolutional Networks", same authors, IEEE TIP 2020, arXiv:1912.06971. Official
repository: https://github.com/lshiwjx/2s-AGCN (`model/agcn.py` and `model/aagcn.py`); AAGCN in
https://github.com/kennymckormick/pyskl is the second one. The streams, joints and bones, are two runs of one network.

Where we differ: the convolutions of a layer's subsets are one convolution each for relations and for outputs, and the
linear layers of the attention are 1x1 convolutions. It is all the same but for the order of sums.
"""

import math
import re

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import nn

from layouts import get_layout
from models.parts.action_model import ActionModel
from models.parts.graphs import build_adjacency
from models.parts.layers import uniform_by_fan_in
from models.parts.products import Product
from models.parts.skeleton_layers import DataNorm, check_skeletons, pool_persons, temporal_conv
from models.skeleton.stgcn import TEMPORAL_KERNEL_SIZE, Aggregate, Shortcut, list_block_sizes, rename

REDUCTION = 4  # outputs of a layer for one channel of its relations


class AdaptiveGraphConv(nn.Layer):
    """Sum over the neighbours of a graph that is partly learnt and partly how alike joints move, then mix channels.

    Args:
        in_channels: channels of the input, C.
        out_channels: channels of the output.
        adjacency: float32 (K, V, V).
        topology: as in `AGCN`.
    """

    def __init__(self, in_channels: int, out_channels: int, adjacency: np.ndarray, topology: str):
        super().__init__()
        num_subsets, num_joints, _ = adjacency.shape
        self.num_subsets, self.num_joints = num_subsets, num_joints
        self.num_relations = out_channels // REDUCTION
        self.aggregate, self.compare = Aggregate(), Product(paddle.matmul, transpose_x=True)
        initial = np.full_like(adjacency, 1e-6) if topology == "added" else adjacency
        self.edges = self.create_parameter(
            [1, *adjacency.shape], default_initializer=nn.initializer.Assign(initial[None])
        )
        self.topology = topology
        if topology == "added":
            self.register_buffer("adjacency", paddle.to_tensor(adjacency[None]), persistable=False)
        else:
            self.alpha = self.create_parameter([1], default_initializer=nn.initializer.Constant(0.0))
        self.relate = temporal_conv(  # what senders are compared by in each subset, then what receivers are
            in_channels,
            2 * num_subsets * self.num_relations,
            1,
            initializer=nn.initializer.Normal(0.0, math.sqrt(2.0 / self.num_relations)),
        )
        fan_out = out_channels * in_channels * num_subsets
        spread = nn.initializer.Normal(0.0, math.sqrt(2.0 / fan_out))
        self.conv = temporal_conv(num_subsets * in_channels, out_channels, 1, bias=False, initializer=spread)
        self.bias = self.create_parameter([num_subsets, out_channels, 1, 1], is_bias=True)  # the authors': of each

    def compute_adjacency(self, x: paddle.Tensor) -> paddle.Tensor:
        """Give the graphs of the bodies of (B, C, T, V) as (B, K, V, V), [v, w] for what joint v sends to joint w."""
        related = self.relate(x).reshape([0, 2, self.num_subsets, -1, self.num_joints])  # -> (B, 2, K, R*T, V)
        senders, receivers = related.unbind(axis=1)
        alike = self.compare(senders, receivers) / (self.num_relations * x.shape[2])
        if self.topology == "added":
            return self.adjacency + self.edges + F.softmax(alike, axis=2)
        return self.edges + self.alpha * paddle.tanh(alike)

    def forward(self, x):
        """Map (B, in_channels, T, V) to (B, out_channels, T, V)."""
        return self.conv(self.aggregate(x, self.compute_adjacency(x))) + self.bias.sum(axis=0, keepdim=True)


class Attention(nn.Layer):
    """Gates between 1 and 2 for joints, then frames, then channels."""

    def __init__(self, num_channels: int, num_joints: int):
        super().__init__()
        size = num_joints - 1 + num_joints % 2  # odd
        spread = nn.initializer.Normal(0.0, math.sqrt(2.0 / (size * (num_channels + 1))))
        zeros = nn.initializer.Constant(0.0)
        self.joints = nn.Conv2D(num_channels, 1, (1, size), padding=(0, size // 2), weight_attr=spread)
        self.frames = temporal_conv(num_channels, 1, TEMPORAL_KERNEL_SIZE, initializer=zeros)
        spread = nn.initializer.Normal(0.0, math.sqrt(2.0 / num_channels))
        self.squeeze = temporal_conv(num_channels, num_channels // 2, 1, initializer=spread)
        self.excite = temporal_conv(num_channels // 2, num_channels, 1, initializer=zeros)

    def forward(self, x):
        """Map (B, C, T, V) to the same size."""
        x = x * (1 + F.sigmoid(self.joints(x.mean(axis=2, keepdim=True))))  # gates: (B, 1, 1, V)
        means = x.mean(axis=3, keepdim=True)
        frames = 1 + F.sigmoid(self.frames(means))  # (B, C, T, 1) -> (B, 1, T, 1)
        means = (means * frames).mean(axis=2, keepdim=True)  # -> (B, C, 1, 1), of x once frames are gated
        channels = 1 + F.sigmoid(self.excite(F.relu(self.squeeze(means))))
        return x * (frames * channels)


class Block(nn.Layer):
    """An adaptive graph convolution, then a temporal one that strides, each with BN and a shortcut.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        stride: frames from one output to the next.
        adjacency: float32 (K, V, V).
        topology: as in `AGCN`.
        attention: gate joints, frames and channels between the two convolutions.
        residual: add a shortcut past both.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int,
        adjacency: np.ndarray,
        topology: str,
        attention: bool,
        residual: bool,
    ):
        super().__init__()
        self.graph_conv = AdaptiveGraphConv(in_channels, out_channels, adjacency, topology)
        almost_zero = nn.initializer.Constant(1e-6)  # a new layer passes its input on
        self.norm1 = nn.BatchNorm2D(out_channels, weight_attr=almost_zero)
        self.gcn_shortcut = Shortcut(in_channels, out_channels)
        self.attention = Attention(out_channels, adjacency.shape[-1]) if attention else None
        self.conv = temporal_conv(out_channels, out_channels, TEMPORAL_KERNEL_SIZE, stride)
        self.norm2 = nn.BatchNorm2D(out_channels)
        self.shortcut = Shortcut(in_channels, out_channels, stride) if residual else None

    def forward(self, x):
        """Map (B, in_channels, T, V) to (B, out_channels, T/stride, V), rounded up."""
        y = F.relu(self.norm1(self.graph_conv(x)) + self.gcn_shortcut(x))
        if self.attention is not None:
            y = self.attention(y)
        y = self.norm2(self.conv(y))
        if self.shortcut is not None:
            y = y + self.shortcut(x)
        return F.relu(y)


# The authors' and PYSKL's names once the way to a block is ours, as patterns: ours.
NAMES = {
    r"^backbone\.data_bn|^data_bn": "data_norm.norm",
    r"^backbone\.gcn": "blocks",
    r"^cls_head\.fc_cls": "fc",
    r"residual\.conv": "shortcut.0",
    r"residual\.bn": "shortcut.1",
    r"\.tcn1?\.conv": ".conv",
    r"\.tcn1?\.bn": ".norm2",
    r"gcn1?\.bn": "norm1",
    r"gcn1?\.down": "gcn_shortcut",
    r"gcn1?\.P?A$": "graph_conv.edges",
    r"gcn1?\.alpha": "graph_conv.alpha",
    r"gcn1?\.conv_[ab]\.\d+": "graph_conv.relate",
    r"gcn1?\.conv_d\.\d+\.weight": "graph_conv.conv.weight",
    r"gcn1?\.conv_d\.\d+\.bias": "graph_conv.bias",
    r"gcn1?\.conv_sa": "attention.joints",
    r"gcn1?\.conv_ta": "attention.frames",
    r"gcn1?\.fc1c": "attention.squeeze",
    r"gcn1?\.fc2c": "attention.excite",
}
JOINED_ALONG = {"relate.weight": 0, "relate.bias": 0, "conv.weight": 1, "bias": 0}  # of graph_conv: the axis of subsets


def convert_agcn_weights(weights: dict) -> dict:
    """Turn a state dict of the official repository or of PYSKL into one with our names."""
    groups = {}
    for name in weights:
        ours = re.sub(r"^l(\d+)", lambda match: f"blocks.{int(match[1]) - 1}", name)
        groups.setdefault(rename(ours, NAMES), []).append(name)
    return {ours: _join(ours, [weights[name] for name in sorted(names)]) for ours, names in groups.items()}


def _join(name, values):
    """Make one tensor of ours from those of the authors, of which only a graph convolution's are several."""
    _, graph_conv, entry = name.rpartition("graph_conv.")
    if graph_conv and entry in JOINED_ALONG:
        if entry == "bias":
            values = [value.reshape(1, -1, 1, 1) for value in values]
        return np.concatenate(values, axis=JOINED_ALONG[entry])
    if graph_conv and entry == "edges":
        return values[0][None]
    if name.endswith("joints.weight"):
        return values[0][:, :, None]  # (1, C, V) -> (1, C, 1, V)
    if name.endswith("frames.weight"):
        return values[0][..., None]  # (1, C, T) -> (1, C, T, 1)
    if name.endswith(("squeeze.weight", "excite.weight")):
        return values[0][..., None, None]  # linear layers: ours are 1x1 convolutions
    return values[0]


class AGCN(ActionModel):
    """2s-AGCN, a stream of it; with `topology="gated"` and attention AAGCN.

    Args:
        num_classes: number of logits.
        layout: joints and bones, see `layouts.get_layout`; PYSKL's graph of NTU is "ntu25_star".
        in_channels: channels of a joint, C.
        num_persons: persons of a sample, M.
        topology: "added" (2s-AGCN: the fixed graph, a learnt one, and the softmax of how alike joints are), "gated"
            (AAGCN and PYSKL: a learnt graph that starts as the fixed one, and a learnt share of the tanh of that).
        attention: gate joints, frames and channels in each block, as AAGCN does.
        dropout: share of the features that training drops before the classifier.
        base_channels: width of the first stage; each other one is twice as wide as the one before.
        num_blocks: blocks in each stage, [4, 3, 3] if None.

    Raises:
        ValueError: an unknown layout or topology, or a network without blocks or too narrow for relations.
    """

    TORCH_SOURCES = {"2s-agcn": convert_agcn_weights, "pyskl": convert_agcn_weights}

    def __init__(
        self,
        num_classes: int,
        layout: str = "ntu25",
        in_channels: int = 3,
        num_persons: int = 2,
        topology: str = "added",
        attention: bool = False,
        dropout: float = 0.0,
        base_channels: int = 64,
        num_blocks: list[int] | None = None,
    ):
        super().__init__()
        if topology not in ("added", "gated"):
            raise ValueError(f"AGCN: topology must be 'added' or 'gated', got {topology!r}")
        if base_channels < REDUCTION:
            raise ValueError(f"AGCN: base_channels must be at least {REDUCTION}, got {base_channels}")
        adjacency = build_adjacency(get_layout(layout), "inward_outward")
        self.input_size = (in_channels, adjacency.shape[-1], num_persons)
        self.data_norm = DataNorm(num_persons, adjacency.shape[-1], in_channels, per_person=True)
        plan = list_block_sizes(in_channels, base_channels, num_blocks, "AGCN")
        blocks = [Block(*sizes, adjacency, topology, attention, residual=index > 0) for index, sizes in enumerate(plan)]
        self.blocks = nn.Sequential(*blocks)
        self.dropout = nn.Dropout(dropout)
        num_features = plan[-1][1]
        spread = nn.initializer.Normal(0.0, math.sqrt(2.0 / num_classes))
        self.fc = nn.Linear(num_features, num_classes, weight_attr=spread, bias_attr=uniform_by_fan_in(num_features))

    def forward(self, x):
        """Map skeletons (N, in_channels, T, V, num_persons) to logits (N, num_classes).

        Raises:
            ValueError: the input has other axes, channels, joints or persons.
        """
        in_channels, num_joints, num_persons = self.input_size
        check_skeletons(x, in_channels, num_joints, num_persons, type(self).__name__)
        features = self.blocks(self.data_norm(x))  # (N, C, T, V, M) -> (N*M, C', T', V)
        return self.fc(self.dropout(pool_persons(features, num_persons)))
