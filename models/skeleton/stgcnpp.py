"""ST-GCN++: ST-GCN with learnt graphs, shortcuts past the graph convolutions, and branches over time.

Paper: "PYSKL: Towards Good Practices for Skeleton Action Recognition", H. Duan, J. Wang, K. Chen, D. Lin, ACM MM 2022,
arXiv:2205.09443. Official repository: https://github.com/kennymckormick/pyskl (`STGCN` with `gcn_adaptive="init"`,
`gcn_with_res=True`, `tcn_type="mstcn"`).

Where we differ: see `models/parts/mixed_temporal.py`; neighbours are summed before the channels are mixed, not after,
which computes the same from fewer channels, and the biases of those convolutions start at 0.
"""

import numpy as np
import paddle.nn.functional as F
from paddle import nn

from common.ranges import Count
from layouts import get_layout
from models.parts.action_model import ActionModel
from models.parts.graphs import build_adjacency
from models.parts.layers import make_classifier, uniform_by_fan_in
from models.parts.mixed_temporal import MixedBlock, check_width, map_mixed_name, project
from models.parts.skeleton_layers import DataNorm, check_skeletons, list_block_sizes, pool_persons
from models.parts.weights import apply_rules, merge_weights
from models.skeleton.stgcn import GraphConv, reorder_subsets

GRAPH_RULES = [  # PYSKL's names in a graph convolution -> ours
    (r"\bgraph\.A$", "graph.graph_conv.edges"),
    (r"\bgraph\.conv\.", "graph.graph_conv.conv."),
    (r"\bgraph\.bn\.", "graph.norm1."),
    (r"\bgraph\.down\.", "graph.shortcut."),
]


def convert_pyskl_stgcnpp_weights(weights: dict) -> dict:
    """Convert the weights of PYSKL's STGCN++."""

    def map_name(name):
        mixed_name, branch = map_mixed_name(name)
        return apply_rules(mixed_name, GRAPH_RULES), branch

    return reorder_subsets(merge_weights(weights, map_name))


class GraphUnit(nn.Layer):
    """A graph convolution whose graph is learnt, batch norm, a shortcut past both, and ReLU.

    Args:
        in_channels: of the input.
        out_channels: of the output.
        adjacency: float32 (K, V, V), with which the graph starts.
    """

    def __init__(self, in_channels: int, out_channels: int, adjacency: np.ndarray):
        super().__init__()
        self.graph_conv = GraphConv(
            in_channels, out_channels, adjacency, "init", "pre", initializer=uniform_by_fan_in(in_channels)
        )
        self.norm1 = nn.BatchNorm2D(out_channels)
        self.shortcut = None if in_channels == out_channels else project(in_channels, out_channels)

    def forward(self, x):
        """Map (B, in_channels, T, V) to (B, out_channels, T, V)."""
        y = self.norm1(self.graph_conv(x))
        return F.relu(y + (x if self.shortcut is None else self.shortcut(x)))


class STGCNPP(ActionModel):
    """ST-GCN++: batch norm of the input, ten blocks, mean over frames, joints and persons, linear.

    Args:
        num_classes: number of logits.
        layout: joints and bones, a name of `layouts.LAYOUTS` or a yaml file; PYSKL's graph of NTU is "ntu25_star".
        in_channels: values of a joint.
        num_persons: persons of a sample.
        base_channels: width of the first stage, at least 6; each other stage doubles it and halves the frames.
        num_blocks: blocks in each stage; None: [4, 3, 3].

    Raises:
        ValueError: an unknown layout, a width below 6, or a stage without blocks.
    """

    WEIGHT_SOURCES = {"pyskl": convert_pyskl_stgcnpp_weights, "mmaction2": convert_pyskl_stgcnpp_weights}

    def __init__(
        self,
        num_classes: Count,
        layout: str = "ntu25",
        in_channels: Count = 3,
        num_persons: Count = 2,
        base_channels: Count = 64,
        num_blocks: list[Count] | None = None,
    ):
        super().__init__()
        sizes = list_block_sizes(in_channels, base_channels, num_blocks, "STGCNPP")
        check_width(base_channels, "STGCNPP")
        skeleton = get_layout(layout)
        self.input_size = (in_channels, skeleton.num_joints, num_persons)
        adjacency = build_adjacency(skeleton, "inward_outward")
        self.data_norm = DataNorm(num_persons, skeleton.num_joints, in_channels, per_person=False)
        self.blocks = nn.Sequential(
            *(
                MixedBlock(GraphUnit(width, out_channels, adjacency), width, out_channels, stride, residual=index > 0)
                for index, (width, out_channels, stride) in enumerate(sizes)
            )
        )
        self.fc = make_classifier(sizes[-1][1], num_classes, std=0.01)

    def forward(self, x):
        """Map skeletons (N, in_channels, T, V, M) to logits (N, num_classes).

        Raises:
            ValueError: the input has another number of axes, channels, joints or persons.
        """
        check_skeletons(x, *self.input_size, "STGCNPP")
        features = self.blocks(self.data_norm(x))  # (N, C, T, V, M) -> (N*M, C', T', V)
        return self.fc(pool_persons(features, self.input_size[2]))
