"""HD-GCN: graph convolutions over the layers of a hierarchy of the body, which attention weighs.

Paper: "Hierarchically Decomposed Graph Convolutional Networks for Skeleton-Based Action Recognition", J. Lee, M. Lee,
D. Lee, S. Lee, ICCV 2023, arXiv:2208.10741. Official repository: https://github.com/Jho-Yonsei/HD-GCN (commit 672da2c).

Where we differ: the layers of a hierarchy, and the branches over time, are one convolution each, initialised like the
official ones that they replace. A graph convolution mixes channels before it sums over joints, and an edge convolution
before it chooses neighbours, which computes the same in fewer operations. The joints of a layer come from the layout;
the official attention has those of NTU RGB+D. Any number of input channels is taken.
"""

import re

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import nn

from common.ranges import Count
from layouts import get_layout
from models.parts.action_model import ActionModel
from models.parts.graphs import hierarchical_adjacency
from models.parts.layers import he_normal_by_fan_out, uniform_by_fan_in
from models.parts.operators import average_over_frames, max_over_frames, sum_over_subsets
from models.parts.products import Product
from models.parts.skeleton_layers import DataNorm, check_skeletons, list_block_sizes, pool_persons
from models.parts.temporal import MultiScaleBlock, branch_conv, map_branch_name, pointwise_norm
from models.parts.weights import apply_rules, merge_weights

NUM_BRANCHES = 4  # three subsets of a graph and an edge convolution; and as many over time
NUM_JOINT_NEIGHBOURS, NUM_LAYER_NEIGHBOURS = 5, 3  # of edge convolutions, each with itself
NEGATIVE_SLOPE = 0.2  # of the leaky ReLU of edge convolutions
NAME_RULES = [  # the authors' names -> ours; see `weights.apply_rules`
    (r"^l(\d+)\.", lambda match: f"blocks.{int(match[1]) - 1}."),
    (r"^data_bn\.", "data_norm.norm."),
    (r"\bgcn1\.", "graph."),
    (r"\btcn1\.", "temporal."),
    (r"\bgraph\.PA$", "graph.adjacency"),
    (r"\bgraph\.bn\.", "graph.norm."),
    (r"\bgraph\.down\.", "graph.shortcut."),
    (r"\bresidual\.conv\.", "shortcut.0."),
    (r"\bresidual\.bn\.", "shortcut.1."),
    (r"\baha\.conv_down\.", "attention.reduce."),
    (r"\baha\.edge_conv\.conv\.", "attention.edges."),
    (r"\baha\.aggregate\.", "attention.expand."),
    (r"\b(branches\.\d\.3)\.bias$", r"\1.conv.bias"),
    (r"\bedges\.0\.", "edges."),
    (r"\bedges\.1\.", "edges.norm."),
]
LAYER_RULES = [  # the authors' names in a graph convolution: (pattern, ours), of which the groups are the sort key
    (r"\bgraph\.conv_down\.(\d+)\.0\.", "graph.reduce."),
    (r"\bgraph\.conv_down\.(\d+)\.1\.", "graph.reduce_norm."),
    (r"\bgraph\.conv\.(\d+)\.3\.conv\.0\.", "graph.edges."),
    (r"\bgraph\.conv\.(\d+)\.3\.conv\.1\.", "graph.edges.norm."),
    (r"\bgraph\.conv\.(\d+)\.(\d)\.0\.weight", "graph.transform.weight"),
    (r"\bgraph\.conv\.(\d+)\.(\d)\.0\.bias", "graph.bias"),
    (r"\bgraph\.conv\.(\d+)\.(\d)\.1\.", "graph.transform_norm."),
]


def map_hdgcn_name(name: str) -> tuple:
    """Map the name of a tensor of the official HD-GCN to (ours, sort key); see `merge_weights`."""
    name = apply_rules(name, NAME_RULES)
    unit, _, rest = name.partition(".branches.")
    if rest:
        layer, branch = map_branch_name(rest, NUM_BRANCHES)
        return f"{unit}.{layer}", (branch,)
    for pattern, replacement in LAYER_RULES:
        if found := re.search(pattern, name):
            return name.replace(found[0], replacement), tuple(map(int, found.groups()))
    return name, ()


def convert_hdgcn_weights(weights: dict) -> dict:
    """Convert the weights of the official HD-GCN.

    Its files have the last layer of each hierarchy twice; the copy, `conv_d`, is left out.
    """
    once = {name: value for name, value in weights.items() if ".gcn1.conv_d." not in name}
    converted = merge_weights(once, map_hdgcn_name)
    return {  # a bias of the temporal convolutions is (1, C, 1, 1) in the file
        name: value.reshape(-1) if re.search(r"\.convs\.\d\.bias$", name) else value
        for name, value in converted.items()
    }


class EdgeConv(nn.Layer):
    """A convolution over the edges from each node to its nearest neighbours, of which the largest value is taken.

    Paper: "Dynamic Graph CNN for Learning on Point Clouds", Y. Wang et al., TOG 2019, arXiv:1801.07829.

    Args:
        num_channels: of a graph's nodes, and of the output.
        num_neighbours: by the distance of their channels; a node is one of its own.
        num_graphs: graphs with the same nodes, each with channels and weights of its own.
    """

    def __init__(self, num_channels: int, num_neighbours: int, num_graphs: int = 1):
        super().__init__()
        self.num_neighbours, self.sizes = num_neighbours, (num_graphs, num_channels)
        self.weight = self.create_parameter(  # of (neighbour - node, node)
            [num_graphs * num_channels, 2 * num_channels, 1, 1], default_initializer=he_normal_by_fan_out(num_channels)
        )
        self.convolve = Product(F.conv2d, groups=num_graphs)
        self.compare = Product(paddle.matmul, transpose_x=True)
        self.choose = Product(paddle.matmul, transpose_y=True)
        self.norm = nn.BatchNorm2D(num_graphs * num_channels)

    def forward(self, x):
        """Map (B, num_graphs * num_channels, V) to the same shape."""
        num_graphs, num_channels = self.sizes
        num_nodes = x.shape[2]
        of_neighbour, of_node = self.weight.reshape([num_graphs, num_channels, -1]).split(2, axis=2)
        weight = paddle.concat([of_neighbour, of_node - of_neighbour], axis=1).reshape([-1, num_channels, 1, 1])
        y = self.convolve(x.unsqueeze(2), weight).reshape([-1, 2 * num_channels, num_nodes])  # -> (B*G, 2*C, V)
        neighbours, nodes = y.split(2, axis=1)
        # A product with ones and zeros: the gradient of an index would be summed in any order on a GPU.
        num_neighbours = min(self.num_neighbours, num_nodes)
        edges = self.choose(neighbours, self.find_neighbours(x, num_neighbours))  # -> (B*G, C, k*V)
        edges = edges.reshape([-1, num_graphs * num_channels, num_neighbours, num_nodes])
        edges = edges + nodes.reshape([-1, num_graphs * num_channels, 1, num_nodes])
        edges = F.leaky_relu(self.norm(edges), NEGATIVE_SLOPE)
        return F.max_pool2d(edges, [num_neighbours, 1]).squeeze(2)

    def find_neighbours(self, x, num_neighbours: int):
        """Map (B, G*C, V) to (B*G, k*V, V): 1 where a node is the k-th neighbour of another one, else 0."""
        num_nodes = x.shape[2]
        x = x.detach().reshape([-1, self.sizes[1], num_nodes])
        nearness = 2 * self.compare(x, x) - (x * x).sum(axis=1, keepdim=True)  # |x|^2 - squared distance: (B*G, V, V)
        _, nearest = nearness.topk(num_neighbours, axis=2)
        return F.one_hot(nearest.transpose([0, 2, 1]), num_nodes).flatten(1, 2).astype(x.dtype)


class HierarchyAttention(nn.Layer):
    """The weights of the layers of a hierarchy, for each channel.

    Args:
        num_channels: of the input and of the weights.
        members: (L, V), the share of each joint in the mean of a layer's joints.
    """

    def __init__(self, num_channels: int, members: np.ndarray):
        super().__init__()
        num_reduced = num_channels // NUM_BRANCHES
        self.register_buffer("members", paddle.to_tensor(members), persistable=False)
        self.reduce = pointwise_norm(num_channels, num_reduced)
        self.edges = EdgeConv(num_reduced, NUM_LAYER_NEIGHBOURS)
        initializer = uniform_by_fan_in(num_reduced)
        self.expand = nn.Conv1D(num_reduced, num_channels, 1, weight_attr=initializer, bias_attr=initializer)

    def forward(self, x):
        """Map the largest values of all frames, (B, L, num_channels, V), to weights (B, L, num_channels)."""
        x = F.relu(self.reduce(x.transpose([0, 2, 1, 3])))  # -> (B, num_reduced, L, V)
        x = self.edges((x * self.members).sum(axis=3))
        return F.sigmoid(self.expand(x)).transpose([0, 2, 1])


class HierarchicalConv(nn.Layer):
    """The graph convolution: three subsets and an edge convolution in each layer of a hierarchy, and their sum.

    Args:
        in_channels: of the input.
        out_channels: of the output, a multiple of 4.
        adjacency: (L, 3, V, V) of L layers, with which the learnt one starts; see `hierarchical_adjacency`.
        attention: weigh the layers.
    """

    def __init__(self, in_channels: int, out_channels: int, adjacency: np.ndarray, attention: bool):
        super().__init__()
        num_layers, num_subsets = adjacency.shape[:2]
        width = out_channels // NUM_BRANCHES
        num_subset_channels = num_layers * num_subsets * width
        self.sizes = (num_layers, num_subsets, width)
        self.reduce = branch_conv(in_channels, num_layers * width, num_layers=num_layers)
        self.reduce_norm = nn.BatchNorm2D(num_layers * width)
        initializer = he_normal_by_fan_out(width)
        self.transform = nn.Conv2D(
            num_layers * width, num_subset_channels, 1, groups=num_layers, weight_attr=initializer, bias_attr=False
        )
        self.bias = self.create_parameter([num_subset_channels], is_bias=True)
        self.adjacency = self.create_parameter(adjacency.shape, default_initializer=nn.initializer.Assign(adjacency))
        self.aggregate = Product(paddle.matmul)
        self.transform_norm = nn.BatchNorm2D(num_subset_channels)
        self.edges = EdgeConv(width, NUM_JOINT_NEIGHBOURS, num_layers)
        members = adjacency[:, 0].diagonal(axis1=1, axis2=2)
        members = members / members.sum(axis=1, keepdims=True)
        self.attention = HierarchyAttention(out_channels, members) if attention else None
        self.norm = nn.BatchNorm2D(out_channels, weight_attr=nn.initializer.Constant(1e-6))
        self.shortcut = None if in_channels == out_channels else pointwise_norm(in_channels, out_channels)

    def forward(self, x):
        """Map (B, in_channels, T, V) to (B, out_channels, T, V)."""
        num_layers, num_subsets, width = self.sizes
        num_frames, num_joints = x.shape[2:]
        reduced = F.relu(self.reduce_norm(self.reduce(x)))  # -> (B, L*W, T, V)
        edges = self.edges(average_over_frames(reduced).squeeze(2)).reshape([-1, num_layers, width, num_joints])
        y = self.sum_over_joints(self.transform(reduced))  # -> (B, L*3*W, T, V)
        maxima = max_over_frames(y) if self.attention is not None else None
        y = y.reshape([-1, num_layers, num_subsets * width, num_frames, num_joints])
        if maxima is not None:
            maxima = maxima.reshape([-1, num_layers, num_subsets * width, num_joints])
            shares = self.attention(paddle.concat([maxima, edges], axis=2)).unsqueeze(3)  # -> (B, L, out_channels, 1)
            y = y * shares[:, :, :-width].unsqueeze(4)
            edges = edges * shares[:, :, -width:]
        edges = edges.sum(axis=1).unsqueeze(2).expand([-1, -1, num_frames, -1])
        y = self.norm(paddle.concat([sum_over_subsets(y), edges], axis=1))
        return F.relu(y + (x if self.shortcut is None else self.shortcut(x)))

    def sum_over_joints(self, x):
        """Sum (B, L*3*W, T, V) with the learnt weights of each layer's subsets, and normalise."""
        num_layers, num_subsets, width = self.sizes
        num_frames, num_joints = x.shape[2:]
        rows = x.reshape([-1, num_layers * num_subsets, width * num_frames, num_joints])
        # Four axes: of three, Paddle's matmul has no gradient.
        graphs = self.adjacency.flatten(0, 1).transpose([0, 2, 1]).unsqueeze(0)
        y = self.aggregate(rows, graphs).reshape([-1, self.bias.shape[0], num_frames, num_joints])
        return self.transform_norm(y + self.bias.reshape([-1, 1, 1]))


class HDGCN(ActionModel):
    """HD-GCN: batch norm of the coordinates, ten blocks, mean over frames, joints and persons, linear.

    Args:
        num_classes: number of logits.
        layout: joints and their hierarchies, a name of `layouts.LAYOUTS` or a yaml file.
        com: centre of mass, the joint that the hierarchy starts from, counted from 1 as by the authors: 1, 2 or 21 of
            ntu25; 1, 2 or 3 of ucla20.
        in_channels: values of a joint.
        num_persons: persons of a sample.
        base_channels: width of the first stage, a multiple of 4; each other stage doubles it and halves the frames.
        num_blocks: blocks in each stage; None: [4, 3, 3].

    Raises:
        ValueError: an unknown layout, one without that hierarchy, another width, or a stage without blocks.
    """

    WEIGHT_SOURCES = {"hd-gcn": convert_hdgcn_weights}

    def __init__(
        self,
        num_classes: Count,
        layout: str = "ntu25",
        com: Count = 1,
        in_channels: Count = 3,
        num_persons: Count = 2,
        base_channels: Count = 64,
        num_blocks: list[Count] | None = None,
    ):
        super().__init__()
        if base_channels % NUM_BRANCHES:
            raise ValueError(f"HDGCN: base_channels must be a multiple of {NUM_BRANCHES}, got {base_channels}")
        sizes = list_block_sizes(in_channels, base_channels, num_blocks, "HDGCN")
        skeleton = get_layout(layout)
        adjacency = hierarchical_adjacency(skeleton.find_hierarchy(com), skeleton.num_joints)
        self.input_size = (in_channels, skeleton.num_joints, num_persons)
        self.data_norm = DataNorm(num_persons, skeleton.num_joints, in_channels, per_person=True)
        self.blocks = nn.Sequential(
            *(
                MultiScaleBlock(
                    HierarchicalConv(width, out_channels, adjacency, attention=index > 0),
                    width,
                    out_channels,
                    stride,
                    residual=index > 0,
                )
                for index, (width, out_channels, stride) in enumerate(sizes)
            )
        )
        width = sizes[-1][1]
        self.fc = nn.Linear(
            width, num_classes, weight_attr=he_normal_by_fan_out(num_classes), bias_attr=uniform_by_fan_in(width)
        )

    def forward(self, x):
        """Map skeletons (N, in_channels, T, V, M) to logits (N, num_classes).

        Raises:
            ValueError: the input has another number of axes, channels, joints or persons.
        """
        check_skeletons(x, *self.input_size, "HDGCN")
        features = self.blocks(self.data_norm(x))  # (N, C, T, V, M) -> (N*M, C', T', V)
        return self.fc(pool_persons(features, self.input_size[2]))
