"""2s-AGCN and AAGCN: graph convolutions with learnt edges and with edges computed from each sample.

Papers: "Two-Stream Adaptive Graph Convolutional Networks for Skeleton-Based Action Recognition", L. Shi, Y. Zhang,
J. Cheng, H. Lu, CVPR 2019, arXiv:1805.07694, and, with gates and attention, "Skeleton-Based Action Recognition with
Multi-Stream Adaptive Graph Convolutional Networks", same authors, IEEE TIP 2020, arXiv:1912.06971. Official
repository: https://github.com/lshiwjx/2s-AGCN (`model/agcn.py` and `model/aagcn.py`); AAGCN in
https://github.com/kennymckormick/pyskl is the latter. The joint and the bone stream are two runs of one network.

Where we differ: the convolutions of a layer's subsets are one convolution each for relations and for outputs, and the
linear layers of the attention are 1x1 convolutions. The outputs are equal up to the order of summation.
"""

import math

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import nn

from common.ranges import Count, PartialShare
from layouts import get_layout
from models.parts.action_model import ActionModel
from models.parts.graphs import build_adjacency
from models.parts.layers import he_normal_by_fan_out, uniform_by_fan_in
from models.parts.operators import average_over_frames
from models.parts.products import Product
from models.parts.skeleton_layers import (
    TEMPORAL_KERNEL_SIZE,
    Aggregate,
    DataNorm,
    Shortcut,
    check_skeletons,
    list_block_sizes,
    pool_persons,
    temporal_conv,
)
from models.parts.weights import apply_rules, mark_fixed_graphs, rename_paddlevideo_weights

RELATION_RATIO = 4  # output channels of a graph convolution for one channel of its relations


class AdaptiveGraphConv(nn.Layer):
    """Sum over the neighbours of a graph that is learnt and computed from the similarity of joints, then mix channels.

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
        self.num_relations = out_channels // RELATION_RATIO
        self.aggregate, self.compare = Aggregate(), Product(paddle.matmul, transpose_x=True)
        edges = np.full_like(adjacency, 1e-6) if topology == "added" else adjacency
        self.edges = self.create_parameter(
            [1, *adjacency.shape], default_initializer=nn.initializer.Assign(edges[None])
        )
        self.topology = topology
        if topology == "added":
            self.register_buffer("adjacency", paddle.to_tensor(adjacency[None]), persistable=False)
        else:
            self.alpha = self.create_parameter([1], default_initializer=nn.initializer.Constant(0.0))
        self.relate = temporal_conv(  # to the relations of the senders in each subset, then those of the receivers
            in_channels,
            2 * num_subsets * self.num_relations,
            1,
            initializer=he_normal_by_fan_out(self.num_relations),
        )
        initializer = he_normal_by_fan_out(out_channels * in_channels * num_subsets)
        self.conv = temporal_conv(num_subsets * in_channels, out_channels, 1, bias=False, initializer=initializer)
        self.bias = self.create_parameter([num_subsets, out_channels, 1, 1], is_bias=True)

    def compute_adjacency(self, x: paddle.Tensor) -> paddle.Tensor:
        """Map (B, C, T, V) to adjacency matrices (B, K, V, V); [v, w] is the weight of the edge from joint v to w."""
        relations = self.relate(x).reshape([0, 2, self.num_subsets, -1, self.num_joints])  # -> (B, 2, K, R*T, V)
        senders, receivers = relations.unbind(axis=1)
        similarity = self.compare(senders, receivers) / (self.num_relations * x.shape[2])
        if self.topology == "added":
            return self.adjacency + self.edges + F.softmax(similarity, axis=2)
        return self.edges + self.alpha * paddle.tanh(similarity)

    def forward(self, x):
        """Map (B, in_channels, T, V) to (B, out_channels, T, V)."""
        return self.conv(self.aggregate(x, self.compute_adjacency(x))) + self.bias.sum(axis=0, keepdim=True)


class Attention(nn.Layer):
    """AAGCN's attention: factors from 1 to 2 for joints, then frames, then channels."""

    def __init__(self, num_channels: int, num_joints: int):
        super().__init__()
        kernel_size = num_joints - 1 + num_joints % 2  # odd
        initializer = nn.initializer.Normal(0.0, math.sqrt(2.0 / (kernel_size * (num_channels + 1))))
        zeros = nn.initializer.Constant(0.0)
        self.joints = nn.Conv2D(
            num_channels, 1, (1, kernel_size), padding=(0, kernel_size // 2), weight_attr=initializer
        )
        self.frames = temporal_conv(num_channels, 1, TEMPORAL_KERNEL_SIZE, initializer=zeros)
        self.squeeze = temporal_conv(num_channels, num_channels // 2, 1, initializer=he_normal_by_fan_out(num_channels))
        self.excite = temporal_conv(num_channels // 2, num_channels, 1, initializer=zeros)

    def forward(self, x):
        """Map (B, C, T, V) to the same size."""
        x = x * (1 + F.sigmoid(self.joints(average_over_frames(x))))  # factors (B, 1, 1, V)
        means = x.mean(axis=3, keepdim=True)
        frame_factors = 1 + F.sigmoid(self.frames(means))  # (B, C, T, 1) -> (B, 1, T, 1)
        means = average_over_frames(means * frame_factors)  # -> (B, C, 1, 1), with the frames weighted
        channel_factors = 1 + F.sigmoid(self.excite(F.relu(self.squeeze(means))))
        return x * (frame_factors * channel_factors)


class Block(nn.Layer):
    """An adaptive graph convolution and a strided temporal convolution, each with batch norm and a shortcut.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        stride: in frames.
        adjacency: float32 (K, V, V).
        topology: as in `AGCN`.
        attention: `Attention` between the two convolutions.
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
        almost_zero = nn.initializer.Constant(1e-6)  # initially only the shortcut counts
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


# The authors' and PYSKL's names -> ours; see `weights.apply_rules`.
NAME_RULES = [
    (r"^l(\d+)", lambda match: f"blocks.{int(match[1]) - 1}"),
    (r"^backbone\.data_bn|^data_bn", "data_norm.norm"),
    (r"^backbone\.gcn", "blocks"),
    (r"^backbone\.A$", "A"),
    (r"^cls_head\.fc(_cls)?\.", "fc."),  # "fc" in MMAction2
    (r"residual\.conv", "shortcut.0"),
    (r"residual\.bn", "shortcut.1"),
    (r"\.tcn1?\.conv", ".conv"),
    (r"\.tcn1?\.bn", ".norm2"),
    (r"gcn1?\.bn", "norm1"),
    (r"gcn1?\.down", "gcn_shortcut"),
    (r"gcn1?\.P?A$", "graph_conv.edges"),
    (r"gcn1?\.fixed_A$", "graph_conv.adjacency"),
    (r"gcn1?\.alpha", "graph_conv.alpha"),
    (r"gcn1?\.conv_[ab]\.\d+", "graph_conv.relate"),
    (r"gcn1?\.conv_d\.\d+\.weight", "graph_conv.conv.weight"),
    (r"gcn1?\.conv_d\.\d+\.bias", "graph_conv.bias"),
    (r"gcn1?\.conv_sa", "attention.joints"),
    (r"gcn1?\.conv_ta", "attention.frames"),
    (r"gcn1?\.fc1c", "attention.squeeze"),
    (r"gcn1?\.fc2c", "attention.excite"),
]
SUBSET_AXES = {"relate.weight": 0, "relate.bias": 0, "conv.weight": 1, "bias": 0}  # tensor of `graph_conv` -> axis


def convert_agcn_weights(weights: dict) -> dict:
    """Convert the weights of the official repository, of PYSKL or of MMAction2."""
    weights, groups = mark_fixed_graphs(weights), {}
    for name in weights:
        groups.setdefault(apply_rules(name, NAME_RULES), []).append(name)
    return {our_name: _merge(our_name, [weights[name] for name in sorted(names)]) for our_name, names in groups.items()}


def convert_paddlevideo_agcn_weights(weights: dict) -> dict:
    """Convert the weights of PaddleVideo's 2s-AGCN; its public files are without the prefixes of its own code."""
    return convert_agcn_weights(rename_paddlevideo_weights(weights))


def _merge(name, values):
    """Make one tensor of ours from those of the authors; they have one for each subset of a graph convolution."""
    _, graph_conv, tensor = name.rpartition("graph_conv.")
    if graph_conv and tensor in SUBSET_AXES:
        if tensor == "bias":
            values = [value.reshape(1, -1, 1, 1) for value in values]
        return np.concatenate(values, axis=SUBSET_AXES[tensor])
    if graph_conv and tensor == "edges":
        return values[0][None]
    if name.endswith("joints.weight"):
        return values[0][:, :, None]  # (1, C, V) -> (1, C, 1, V)
    if name.endswith("frames.weight"):
        return values[0][..., None]  # (1, C, T) -> (1, C, T, 1)
    if name.endswith(("squeeze.weight", "excite.weight")):
        return values[0][..., None, None]  # the authors have linear layers, we have 1x1 convolutions
    return values[0]


class AGCN(ActionModel):
    """One stream of 2s-AGCN; with `topology="gated"` and `attention` AAGCN.

    Args:
        num_classes: number of logits.
        layout: joints and bones, see `layouts.get_layout`; PYSKL's graph of NTU is "ntu25_star".
        in_channels: channels of a joint, C.
        num_persons: persons of a sample, M.
        topology: "added" (2s-AGCN: the fixed graph, a learnt one, and the softmax of the similarity of joints), "gated"
            (AAGCN and PYSKL: a learnt graph, initialised as the fixed one, and a learnt factor times the tanh of the
            similarity).
        attention: attention over joints, frames and channels in each block, as in AAGCN.
        dropout: dropout ratio before the classifier.
        base_channels: width of the first stage; each other stage doubles it.
        num_blocks: blocks in each stage; None: [4, 3, 3].

    Raises:
        ValueError: an unknown layout or topology, or a network without blocks or too narrow for relations.
    """

    WEIGHT_SOURCES = {
        "2s-agcn": convert_agcn_weights,
        "pyskl": convert_agcn_weights,
        "mmaction2": convert_agcn_weights,
        "paddlevideo": convert_paddlevideo_agcn_weights,
    }

    def __init__(
        self,
        num_classes: Count,
        layout: str = "ntu25",
        in_channels: Count = 3,
        num_persons: Count = 2,
        topology: str = "added",
        attention: bool = False,
        dropout: PartialShare = 0.0,
        base_channels: Count = 64,
        num_blocks: list[Count] | None = None,
    ):
        super().__init__()
        if topology not in ("added", "gated"):
            raise ValueError(f"AGCN: topology must be 'added' or 'gated', got {topology!r}")
        if base_channels < RELATION_RATIO:
            raise ValueError(f"AGCN: base_channels must be at least {RELATION_RATIO}, got {base_channels}")
        adjacency = build_adjacency(get_layout(layout), "inward_outward")
        self.input_size, self.graph = (in_channels, adjacency.shape[-1], num_persons), adjacency
        self.data_norm = DataNorm(num_persons, adjacency.shape[-1], in_channels, per_person=True)
        sizes = list_block_sizes(in_channels, base_channels, num_blocks, "AGCN")
        blocks = [Block(*size, adjacency, topology, attention, residual=index > 0) for index, size in enumerate(sizes)]
        self.blocks = nn.Sequential(*blocks)
        self.dropout = nn.Dropout(dropout)
        num_features = sizes[-1][1]
        self.fc = nn.Linear(
            num_features,
            num_classes,
            weight_attr=he_normal_by_fan_out(num_classes),
            bias_attr=uniform_by_fan_in(num_features),
        )

    def forward(self, x):
        """Map skeletons (N, in_channels, T, V, num_persons) to logits (N, num_classes).

        Raises:
            ValueError: the input has other axes, channels, joints or persons.
        """
        in_channels, num_joints, num_persons = self.input_size
        check_skeletons(x, in_channels, num_joints, num_persons, type(self).__name__)
        features = self.blocks(self.data_norm(x))  # (N, C, T, V, M) -> (N*M, C', T', V)
        return self.fc(self.dropout(pool_persons(features, num_persons)))

    def fixed_tensors(self) -> dict:
        """Return the graph, as files have it: once, or in each block beside the learnt one."""
        names = ["A", *(f"blocks.{index}.graph_conv.adjacency" for index in range(len(self.blocks)))]
        return dict.fromkeys(names, self.graph)
