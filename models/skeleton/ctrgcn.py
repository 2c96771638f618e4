"""CTR-GCN: graph convolutions with a topology that is refined for each channel and sample.

Paper: "Channel-wise Topology Refinement Graph Convolution for Learning Deep and Robust Action Recognition", Y. Chen
et al., ICCV 2021, arXiv:2107.12213. Official repository: https://github.com/Uason-Chen/CTR-GCN (Jul 2021). PYSKL's
variant (https://github.com/kennymckormick/pyskl) has `aggregation="columns"` and `temporal_relu=True`.

Where we differ: the convolutions of the subsets, and those of the branches, are one layer each, initialised like the
official layers that they replace. Any number of input channels is taken.
"""

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import nn

from common.ranges import Count, PartialShare
from layouts import get_layout
from models.parts.action_model import ActionModel
from models.parts.graphs import build_adjacency
from models.parts.layers import he_normal_by_fan_out, uniform_by_fan_in
from models.parts.operators import average_over_frames, sum_over_subsets
from models.parts.products import Product
from models.parts.skeleton_layers import DataNorm, check_skeletons, pool_persons
from models.parts.temporal import (
    MultiScaleBlock,
    branch_conv,
    map_branch_name,
    pointwise_norm,
)
from models.parts.weights import apply_rules, merge_weights, rename_paddlevideo_weights

RELATION_RATIO = 8  # channels of a block's input for one channel of its relations
MIN_RELATIONS = 8  # channels of the relations of a narrow input, such as the network's
NUM_BRANCHES = 4  # of the temporal units


def refine_topology(relations, refine: nn.Conv2D, alpha, adjacency, convolve: Product):
    """Return alpha * refine(relations) + adjacency, (B, K C, V, V), by one convolution.

    The bias is the weight of one more relation, which is 1, and the adjacency one with weight 1: a separate addition
    would cost as much as the convolution.

    Args:
        relations: (B, K, R, V, V), the relations of K subsets.
        refine: from K R to K C channels, in K groups.
        alpha: (1,).
        adjacency: (K, V, V), the topology that the channels of a subset share.
        convolve: `F.conv2d` in K groups.
    """
    num_subsets, num_relations, *sizes = relations.shape[1:]
    # Shapes in numbers but for B: ONNX Runtime cannot follow expand_as and flatten.
    adjacency = adjacency.unsqueeze(1).expand([relations.shape[0], num_subsets, 1, *sizes])
    ones = paddle.ones_like(adjacency)
    relations = paddle.concat([relations, ones, adjacency], axis=2)
    relations = relations.reshape([-1, num_subsets * (num_relations + 2), *sizes])  # -> (B, K (R + 2), V, V)
    bias = refine.bias.reshape([-1, 1, 1, 1])
    weight = paddle.concat([refine.weight, bias], axis=1) * alpha
    return convolve(relations, paddle.concat([weight, paddle.ones_like(bias)], axis=1))


class TopologyConv(nn.Layer):
    """The graph convolution, with a topology for each subset and channel: a shared one plus relations of the joints.

    Args:
        in_channels: of the input.
        out_channels: of the output.
        adjacency: (K, V, V), the shared topology of K subsets, or its initial value.
        learn_adjacency: train the shared topology.
        aggregation: "rows": joint u sums with the weights A[k, u, :]; "columns": with A[k, :, u].
    """

    def __init__(
        self, in_channels: int, out_channels: int, adjacency: np.ndarray, learn_adjacency: bool, aggregation: str
    ):
        super().__init__()
        num_subsets, self.num_joints, _ = adjacency.shape
        is_wide = in_channels > MIN_RELATIONS * 2
        num_relations = in_channels // RELATION_RATIO if is_wide else MIN_RELATIONS
        self.sizes = (num_subsets, num_relations, out_channels)
        self.aggregate = Product(paddle.matmul, transpose_y=aggregation == "rows")
        self.convolve = Product(F.conv2d, groups=num_subsets)
        if learn_adjacency:
            self.adjacency = self.create_parameter(
                adjacency.shape, default_initializer=nn.initializer.Assign(adjacency)
            )
        else:
            self.register_buffer("adjacency", paddle.to_tensor(adjacency), persistable=False)
        self.alpha = self.create_parameter([1], default_initializer=nn.initializer.Constant(0.0))
        self.relate = branch_conv(in_channels, 2 * num_subsets * num_relations, num_layers=2 * num_subsets)
        self.refine = nn.Conv2D(
            num_subsets * num_relations,
            num_subsets * out_channels,
            1,
            groups=num_subsets,
            weight_attr=he_normal_by_fan_out(out_channels),
        )
        self.transform = branch_conv(in_channels, num_subsets * out_channels, num_layers=num_subsets)
        self.norm = nn.BatchNorm2D(out_channels, weight_attr=nn.initializer.Constant(1e-6))
        self.shortcut = None if in_channels == out_channels else pointwise_norm(in_channels, out_channels)

    def forward(self, x):
        """Map (B, in_channels, T, V) to (B, out_channels, T, V)."""
        num_subsets, num_relations, out_channels = self.sizes
        num_joints = x.shape[3]
        queries, keys = self.relate(average_over_frames(x)).split(2, axis=1)  # (B, K R, 1, V) each
        queries = queries.reshape([-1, num_subsets * num_relations, num_joints, 1])
        relations = F.tanh(queries - keys).reshape([-1, num_subsets, num_relations, num_joints, num_joints])
        topology = refine_topology(relations, self.refine, self.alpha, self.adjacency, self.convolve)
        topology = topology.reshape([-1, num_subsets, out_channels, num_joints, num_joints])
        y = self.transform(x).reshape([0, num_subsets, out_channels, -1, num_joints])
        y = sum_over_subsets(self.aggregate(y, topology))
        return F.relu(self.norm(y) + (x if self.shortcut is None else self.shortcut(x)))


SUBSET_LAYERS = {"conv1": "relate", "conv2": "relate", "conv3": "transform", "conv4": "refine"}
NAME_RULES = (  # the authors' and PYSKL's names -> ours; see `weights.apply_rules`
    (r"^l(\d+)\.", lambda match: f"blocks.{int(match[1]) - 1}."),
    (r"^backbone\.", ""),
    (r"^cls_head\.fc_cls\.", "fc."),
    (r"^net\.", "blocks."),
    (r"^data_bn\.", "data_norm.norm."),
    (r"\bgcn1\.", "graph."),
    (r"\btcn1\.", "temporal."),
    (r"\bgraph\.(PA|A)$", "graph.adjacency"),
    (r"\bgraph\.bn\.", "graph.norm."),
    (r"\bdown\.", "shortcut."),
    (r"\bresidual\.conv\.", "shortcut.0."),
    (r"\bresidual\.bn\.", "shortcut.1."),
)


def map_ctrgcn_name(name: str) -> tuple:
    """Map the name of a tensor of the official CTR-GCN, or PYSKL's, to (ours, sort key); see `merge_weights`."""
    name = apply_rules(name, NAME_RULES)
    unit, _, rest = name.partition(".convs.")
    if rest:
        subset, conv, tensor = rest.split(".")
        return f"{unit}.{SUBSET_LAYERS[conv]}.{tensor}", (conv, int(subset))
    unit, _, rest = name.partition(".branches.")
    if rest:
        layer, branch = map_branch_name(rest, NUM_BRANCHES)
        return f"{unit}.{layer}", branch
    return name, 0


def convert_ctrgcn_weights(weights: dict) -> dict:
    """Convert the weights of the official CTR-GCN or of PYSKL's."""
    return merge_weights(weights, map_ctrgcn_name)


def convert_paddlevideo_ctrgcn_weights(weights: dict) -> dict:
    """Convert the weights of PaddleVideo."""
    return convert_ctrgcn_weights(rename_paddlevideo_weights(weights))


class CTRGCN(ActionModel):
    """CTR-GCN: batch norm of the coordinates, blocks in three stages, mean over frames, joints and persons, linear.

    Args:
        num_classes: number of logits.
        layout: joints and bones, a name of `layouts.LAYOUTS` or a yaml file.
        in_channels: values of a joint.
        num_persons: persons of a sample.
        base_channels: width of the first stage; each other stage doubles it and halves the frames.
        num_blocks: of each stage.
        dropout: dropout ratio before the linear layer.
        learn_adjacency: train the topology that channels share, in each block.
        aggregation: "rows" (the authors'): joint u sums with the weights of row u of a topology; "columns" (PYSKL's):
            with those of column u.
        temporal_relu: end the temporal units with a ReLU, as PYSKL does.

    Raises:
        ValueError: an unknown layout or aggregation, or a width below 4.
    """

    WEIGHT_SOURCES = {
        "ctr-gcn": convert_ctrgcn_weights,
        "pyskl": convert_ctrgcn_weights,
        "paddlevideo": convert_paddlevideo_ctrgcn_weights,
    }

    def __init__(
        self,
        num_classes: Count,
        layout: str = "ntu25",
        in_channels: Count = 3,
        num_persons: Count = 2,
        base_channels: Count = 64,
        num_blocks: list[Count] | tuple = (4, 3, 3),
        dropout: PartialShare = 0.0,
        learn_adjacency: bool = True,
        aggregation: str = "rows",
        temporal_relu: bool = False,
    ):
        super().__init__()
        if aggregation not in ("rows", "columns"):
            raise ValueError(f"CTRGCN: aggregation must be 'rows' or 'columns', got {aggregation!r}")
        if base_channels < NUM_BRANCHES:
            raise ValueError(
                f"CTRGCN: base_channels must be at least {NUM_BRANCHES}, one for each branch, got {base_channels!r}"
            )
        if not num_blocks or min(num_blocks) < 1:
            raise ValueError(f"CTRGCN: num_blocks must have a positive number for each stage, got {num_blocks!r}")
        skeleton = get_layout(layout)
        self.in_channels, self.num_joints, self.num_persons = in_channels, skeleton.num_joints, num_persons
        self.graph = build_adjacency(skeleton, "inward_outward")
        graph = {
            "adjacency": self.graph,
            "learn_adjacency": learn_adjacency,
            "aggregation": aggregation,
        }
        self.data_norm = DataNorm(num_persons, self.num_joints, in_channels, per_person=True)
        blocks, width = [], in_channels
        for stage, num_stage_blocks in enumerate(num_blocks):
            for index in range(num_stage_blocks):
                out_channels = base_channels * 2**stage
                stride = 2 if stage and not index else 1
                topology = TopologyConv(width, out_channels, **graph)
                blocks.append(
                    MultiScaleBlock(topology, width, out_channels, stride, residual=bool(blocks), relu=temporal_relu)
                )
                width = out_channels
        self.blocks = nn.Sequential(*blocks)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(
            width, num_classes, weight_attr=he_normal_by_fan_out(num_classes), bias_attr=uniform_by_fan_in(width)
        )

    def forward(self, x):
        """Map skeletons (N, in_channels, T, V, M) to logits (N, num_classes).

        Raises:
            ValueError: the input has another number of axes, channels, joints or persons.
        """
        check_skeletons(x, self.in_channels, self.num_joints, self.num_persons, "CTRGCN")
        x = self.blocks(self.data_norm(x))  # (N, C, T, V, M) -> (N M, C, T, V)
        x = pool_persons(x, self.num_persons)
        return self.fc(self.dropout(x))

    def fixed_tensors(self) -> dict:
        """Return the graph, also as files have it that learn another in each block."""
        return {**super().fixed_tensors(), "A": self.graph}
