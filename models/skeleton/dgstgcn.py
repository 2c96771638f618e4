"""DG-STGCN: graph convolutions without a given graph, and branches over time that also see the mean of all joints.

Paper: "DG-STGCN: Dynamic Spatial-Temporal Modeling for Skeleton-based Action Recognition", H. Duan, J. Wang, K. Chen,
D. Lin, arXiv:2210.05895. Official repository: https://github.com/kennymckormick/pyskl (`DGSTGCN`).

Where we differ: see `models/parts/mixed_temporal.py`; the two convolutions whose outputs are compared are one layer,
and see the mean of the frames instead of each frame, which computes the same. As in the official code, only the first
element of `alpha` and of `beta` is used.
"""

import paddle
import paddle.nn.functional as F
from paddle import nn

from common.ranges import Count
from layouts import get_layout
from models.parts.action_model import ActionModel
from models.parts.layers import make_classifier
from models.parts.mixed_temporal import MixedBlock, check_width, map_mixed_name, project
from models.parts.operators import average_over_frames
from models.parts.products import Product
from models.parts.skeleton_layers import DataNorm, check_skeletons, list_block_sizes, pool_persons
from models.parts.temporal import branch_conv
from models.parts.weights import apply_rules, merge_weights

CHANNEL_RATIO = 8  # channels of a block's output for one channel of a graph of its convolution
GRAPH_MEAN, GRAPH_STD = 0.04, 0.02  # of the weights with which a graph starts
GRAPH_RULES = [  # PYSKL's names in a graph convolution -> ours
    (r"\bgraph\.A$", "graph.graphs"),
    (r"\bgraph\.conv[12]\.", "graph.relate_conv."),
    (r"\bgraph\.bn\.", "graph.norm."),
    (r"\bgraph\.down\.", "graph.shortcut."),
]


def map_dynamic_name(name: str) -> tuple:
    """Map PYSKL's name of a tensor of DG-STGCN, or ProtoGCN's, to (ours, sort key); see `weights.merge_weights`."""
    mixed_name, branch = map_mixed_name(name)
    return apply_rules(mixed_name, GRAPH_RULES), 1 if ".graph.conv2." in mixed_name else branch


def convert_pyskl_dgstgcn_weights(weights: dict) -> dict:
    """Convert the weights of PYSKL's DGSTGCN."""
    return merge_weights(weights, map_dynamic_name)


class DynamicGraphConv(nn.Layer):
    """A graph convolution with learnt graphs, to which relations of the joints are added for each sample and channel.

    Args:
        in_channels: of the input.
        out_channels: of the output.
        graphs: (K, V, V), with which the graphs start.
    """

    def __init__(self, in_channels: int, out_channels: int, graphs: paddle.Tensor):
        super().__init__()
        num_graphs = graphs.shape[0]
        self.sizes = (num_graphs, max(1, out_channels // CHANNEL_RATIO))  # graphs, channels of each
        num_reduced = self.sizes[0] * self.sizes[1]
        self.graphs = self.create_parameter(graphs.shape, default_initializer=nn.initializer.Assign(graphs.numpy()))
        self.alpha, self.beta = (
            self.create_parameter([num_graphs], default_initializer=nn.initializer.Constant(0.0)) for _ in range(2)
        )
        self.pre = project(in_channels, num_reduced)
        self.relate_conv = branch_conv(in_channels, 2 * num_reduced, uniform=True)
        self.compare, self.aggregate = Product(paddle.matmul, transpose_x=True), Product(paddle.matmul)
        self.post = branch_conv(num_reduced, out_channels, uniform=True)
        self.norm = nn.BatchNorm2D(out_channels)
        self.shortcut = None if in_channels == out_channels else project(in_channels, out_channels)

    def relate(self, x):
        """Return how joints of (B, in_channels, T, V) relate, (B, K, C, V, V): [..., u, v] is what u sends to v."""
        num_joints = x.shape[3]
        queries, keys = self.relate_conv(average_over_frames(x)).split(2, axis=1)  # (B, K*C, 1, V) each
        queries, keys = (y.reshape([-1, *self.sizes, num_joints]) for y in (queries, keys))
        differences = self.alpha[0] * F.tanh(queries.unsqueeze(4) - keys.unsqueeze(3))
        # softmax over the sending joint u: the last axis of the product, then the last but one.
        shares = self.beta[0] * F.softmax(self.compare(keys, queries), axis=3).transpose([0, 1, 3, 2])
        return differences + shares.unsqueeze(2)

    def forward(self, x, relations=None):
        """Map (B, in_channels, T, V) to (B, out_channels, T, V).

        Args:
            x: of the joints.
            relations: of `relate`; None: computed here.
        """
        relations = self.relate(x) if relations is None else relations
        graphs = (relations + self.graphs.unsqueeze(1)).flatten(1, 2)  # -> (B, K*C, V, V)
        y = self.post(self.aggregate(F.relu(self.pre(x)), graphs))
        return F.relu(self.norm(y) + (x if self.shortcut is None else self.shortcut(x)))


def build_dynamic_blocks(sizes: list, num_joints: int, num_graphs: int) -> nn.Sequential:
    """Build the blocks of DG-STGCN, whose graphs all start as the same ones, drawn at random.

    Args:
        sizes: (in_channels, out_channels, stride) of each block.
        num_joints: joints of a person.
        num_graphs: graphs of each convolution.
    """
    graphs = GRAPH_MEAN + GRAPH_STD * paddle.randn([num_graphs, num_joints, num_joints])
    blocks = []
    for width, out_channels, stride in sizes:
        graph = DynamicGraphConv(width, out_channels, graphs)
        blocks.append(MixedBlock(graph, width, out_channels, stride, residual=bool(blocks), num_joints=num_joints))
    return nn.Sequential(*blocks)


class DGSTGCN(ActionModel):
    """DG-STGCN: batch norm of the input, ten blocks, mean over frames, joints and persons, linear.

    Args:
        num_classes: number of logits.
        layout: joints, a name of `layouts.LAYOUTS` or a yaml file; their edges are not used.
        in_channels: values of a joint.
        num_persons: persons of a sample.
        base_channels: width of the first stage, at least 6; each other stage doubles it and halves the frames.
        num_blocks: blocks in each stage; None: [4, 3, 3].
        num_graphs: graphs of each convolution.

    Raises:
        ValueError: an unknown layout, a width below 6, or a stage without blocks.
    """

    WEIGHT_SOURCES = {"pyskl": convert_pyskl_dgstgcn_weights}

    def __init__(
        self,
        num_classes: Count,
        layout: str = "ntu25",
        in_channels: Count = 3,
        num_persons: Count = 2,
        base_channels: Count = 64,
        num_blocks: list[Count] | None = None,
        num_graphs: Count = 8,
    ):
        super().__init__()
        sizes = list_block_sizes(in_channels, base_channels, num_blocks, "DGSTGCN")
        check_width(base_channels, "DGSTGCN")
        num_joints = get_layout(layout).num_joints
        self.input_size = (in_channels, num_joints, num_persons)
        self.data_norm = DataNorm(num_persons, num_joints, in_channels, per_person=False)
        self.blocks = build_dynamic_blocks(sizes, num_joints, num_graphs)
        self.fc = make_classifier(sizes[-1][1], num_classes, std=0.01)

    def forward(self, x):
        """Map skeletons (N, in_channels, T, V, M) to logits (N, num_classes).

        Raises:
            ValueError: the input has another number of axes, channels, joints or persons.
        """
        check_skeletons(x, *self.input_size, "DGSTGCN")
        features = self.blocks(self.data_norm(x))  # (N, C, T, V, M) -> (N*M, C', T', V)
        return self.fc(pool_persons(features, self.input_size[2]))
