"""DeGCN: convolutions over frames that are sampled at learnt offsets, and graph convolutions in groups of channels.

Paper: "DeGCN: Deformable Graph Convolutional Networks for Skeleton-Based Action Recognition", W. Myung et al., IEEE TIP
2024, doi:10.1109/TIP.2024.3378886. Official repository: https://github.com/WoominM/DeGCN_pytorch (commit a0a261f).

This is the released network, not the paper's: its main layer, the deformable graph convolution, was never released. The
repository has a grouped graph convolution of CTR-GCN in its place, and no weights; the paper's figures are not this
network's.

Where we differ: any number of frames, layout and input channels is taken, where the official network takes 64 frames;
the convolutions of the branches over time are one layer each, initialised like those that they replace. The network of
joints and bones (`model.jbf`), of which no config is shipped, is left out.
"""

import re

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import nn

from common.ranges import Count
from layouts import get_layout
from models.parts.action_model import ActionModel
from models.parts.graphs import build_adjacency
from models.parts.layers import he_normal_by_fan_out, leaky_relu, uniform_by_fan_in
from models.parts.operators import average_over_frames, sum_over_subsets
from models.parts.products import Product
from models.parts.skeleton_layers import DataNorm, check_skeletons, list_block_sizes, pool_persons
from models.parts.weights import apply_rules, merge_weights
from models.skeleton.ctrgcn import RELATION_RATIO, refine_topology

NUM_GROUPS = 4  # of the channels of graph convolutions and shortcuts, but in the first block
NUM_BRANCHES = 4  # over time: two deformable convolutions, a max pool, a 1x1 convolution
REACHES = (2, 4)  # of the deformable convolutions' first offsets, in frames
NEGATIVE_SLOPE = 0.1
NAME_RULES = [  # the authors' names -> ours; see `weights.apply_rules`
    (r"^data_bn\.", "data_norm.norm."),
    (r"\bblock-(\d+)_tcngcn\.", r"\1."),
    (r"\bgcn\.A$", "graph.adjacency"),
    (r"\bgcn\.conv1\.", "graph.query."),
    (r"\bgcn\.conv2\.", "graph.key."),
    (r"\bgcn\.conv3?\.", "graph.transform."),
    (r"\bgcn\.conv4\.", "graph.refine."),
    (r"\bgcn\.bn\.", "graph.norm."),
    (r"\bgcn\.", "graph."),
    (r"\bresidual1\.", "graph_shortcut."),
    (r"\bresidual2\.", "shortcut."),
    (r"shortcut\.conv\.", "shortcut.0."),
    (r"shortcut\.bn\.", "shortcut.1."),
    (r"\btcn\.", "temporal."),
]
BRANCHES = {"tcn1": 0, "tcn2": 1, "maxpool3x1": 2, "conv1x1": 3}
BRANCH_RULES = [  # the authors' names in a branch -> ours
    (r"^(tcn\d|maxpool3x1)\.0\.conv\.", "reduce."),
    (r"^(tcn\d|maxpool3x1)\.0\.bn\.", "reduce_norm."),
    (r"^tcn(\d)\.2\.tr$", lambda match: f"convs.{int(match[1]) - 1}.offsets"),
    (r"^tcn(\d)\.2\.conv_out\.0\.weight$", lambda match: f"convs.{int(match[1]) - 1}.conv.weight"),
    (r"^tcn(\d)\.2\.conv_out\.0\.bias$", lambda match: f"convs.{int(match[1]) - 1}.bias"),
    (r"^(tcn\d\.2\.conv_out\.1|maxpool3x1\.3|conv1x1\.bn)\.", "norm."),
    (r"^conv1x1\.conv\.", "point."),
]


def map_degcn_name(name: str) -> tuple:
    """Map the name of a tensor of the official DeGCN to (ours, sort key); see `merge_weights`."""
    unit, found, rest = apply_rules(name, NAME_RULES).partition(".temporal.")
    if not found:
        return unit, 0
    return f"{unit}.temporal.{apply_rules(rest, BRANCH_RULES)}", BRANCHES[rest.partition(".")[0]]


def convert_degcn_weights(weights: dict) -> dict:
    """Convert the weights of the official DeGCN; the samples of a deformable convolution become output channels."""
    converted = merge_weights(weights, map_degcn_name)
    for name, value in converted.items():
        if re.search(r"\.convs\.\d\.conv\.weight$", name) and value.ndim == 5:  # (out, in, samples, 1, 1)
            converted[name] = value.transpose([0, 2, 1, 3, 4]).reshape([-1, value.shape[1], 1, 1])
    return converted


def he_conv(
    in_channels: int, out_channels: int, stride: int = 1, groups: int = 1, num_layers: int = 1, bias: bool = True
) -> nn.Conv2D:
    """Make a 1x1 convolution, strided over time, He-normal by fan-out like the `num_layers` official ones it replaces.

    PyTorch's fan-out is the number of output channels, whatever the groups are.
    """
    variance = 2 / (1 + NEGATIVE_SLOPE**2) / (out_channels // num_layers)
    initializer = nn.initializer.Normal(0.0, variance**0.5)
    bias_attr = None if bias else False
    return nn.Conv2D(
        in_channels, out_channels, 1, [stride, 1], groups=groups, weight_attr=initializer, bias_attr=bias_attr
    )


def make_shortcut(in_channels: int, out_channels: int, stride: int = 1, groups: int = 1) -> nn.Sequential | None:
    """Make the shortcut past a layer; None is the identity."""
    if in_channels == out_channels and stride == 1:
        return None
    return nn.Sequential(he_conv(in_channels, out_channels, stride, groups), nn.BatchNorm2D(out_channels))


class GraphConv(nn.Layer):
    """The first block's graph convolution: learnt weights of the joints, alike for all channels, and batch norm.

    Args:
        in_channels: of the input.
        out_channels: of the output.
        adjacency: (K, V, V) of K subsets, with which the learnt one starts; joint v sums with the weights [:, v, :].
        groups: of channels.
    """

    def __init__(self, in_channels: int, out_channels: int, adjacency: np.ndarray, groups: int = 1):
        super().__init__()
        self.num_subsets, self.num_channels, self.out_channels = len(adjacency), out_channels // groups, out_channels
        self.adjacency = self.create_parameter(adjacency.shape, default_initializer=nn.initializer.Assign(adjacency))
        self.transform = he_conv(in_channels, self.num_subsets * out_channels, groups=groups)
        self.aggregate = Product(paddle.matmul, transpose_y=True)
        self.norm = nn.BatchNorm2D(out_channels)

    def forward(self, x):
        """Map (B, in_channels, T, V) to (B, out_channels, T, V)."""
        num_frames, num_joints = x.shape[2:]
        y = self.transform(x).reshape([-1, self.num_subsets, self.num_channels, num_frames, num_joints])
        y = sum_over_subsets(self.aggregate(y, self.find_topology(x)))  # -> (B * groups, num_channels, T, V)
        return self.norm(y.reshape([-1, self.out_channels, num_frames, num_joints]))

    def find_topology(self, x):
        """Return the weights of the joints, (1, K, 1, V, V)."""
        return self.adjacency.unsqueeze([0, 2])


class GroupedTopologyConv(GraphConv):
    """The graph convolution of CTR-GCN in groups of channels: the learnt weights plus relations of the joints.

    Args:
        in_channels: of the input, a multiple of 32.
        out_channels: of the output.
        adjacency: see `GraphConv`.
    """

    def __init__(self, in_channels: int, out_channels: int, adjacency: np.ndarray):
        super().__init__(in_channels, out_channels, adjacency, NUM_GROUPS)
        num_relations = self.num_subsets * in_channels // RELATION_RATIO
        self.query, self.key = (he_conv(in_channels, num_relations, groups=NUM_GROUPS) for _ in range(2))
        num_all = NUM_GROUPS * self.num_subsets
        self.refine = he_conv(num_relations, self.num_subsets * out_channels, groups=num_all)
        self.convolve = Product(F.conv2d, groups=num_all)
        self.alpha = self.create_parameter([1], default_initializer=nn.initializer.Constant(0.0))

    def find_topology(self, x):
        """Return the weights of the joints, (B * groups, K, num_channels, V, V)."""
        num_joints, num_all = x.shape[3], NUM_GROUPS * self.num_subsets
        x = average_over_frames(x)
        queries = self.query(x).reshape([-1, self.query.weight.shape[0], num_joints, 1])
        relations = F.tanh(queries - self.key(x)).reshape([-1, num_all, queries.shape[1] // num_all, *[num_joints] * 2])
        adjacency = self.adjacency.tile([NUM_GROUPS, 1, 1])
        topology = refine_topology(relations, self.refine, self.alpha, adjacency, self.convolve)
        return topology.reshape([-1, self.num_subsets, self.num_channels, num_joints, num_joints])


class DeformableTemporalConv(nn.Layer):
    """A convolution over frames that lie at learnt offsets from each frame of the output, with fractions.

    A sample between two frames is their weighted mean, one before the first frame or after the last is that frame.

    Args:
        num_channels: of input and output.
        num_samples: for each frame of the output.
        reach: the offsets start evenly spread from -reach to reach, in frames.
        stride: in frames.
    """

    def __init__(self, num_channels: int, num_samples: int, reach: int, stride: int):
        super().__init__()
        self.num_channels, self.stride = num_channels, stride
        offsets = nn.initializer.Assign(np.linspace(-reach, reach, num_samples, dtype=np.float32))
        self.offsets = self.create_parameter([num_samples], default_initializer=offsets)
        # It comes first, to channels of their own for each sample: one product then samples and sums.
        self.conv = he_conv(num_channels, num_channels * num_samples, bias=False)
        self.sample = Product(paddle.matmul)
        self.bias = self.create_parameter([num_channels], is_bias=True)

    def forward(self, x):
        """Map (B, num_channels, T, V) to (B, num_channels, T/stride, V), T rounded up."""
        num_frames, num_joints = x.shape[2:]
        y = self.conv(x).reshape([-1, self.num_channels, self.offsets.shape[0] * num_frames, num_joints])
        # With the batch's axis, whose size a program does not know: it takes the product's from its first operand.
        shares = self.weigh_frames(num_frames) + paddle.zeros_like(y[:, :1, :1, :1])
        return self.sample(shares, y) + self.bias.reshape([-1, 1, 1])

    def weigh_frames(self, num_frames: int):
        """Return the share of each frame in each sample of each frame of the output, (1, 1, T/stride, samples * T)."""
        frames = paddle.arange(num_frames, dtype="float32")
        positions = frames[:: self.stride].unsqueeze(1) + self.offsets  # -> (T/stride, samples)
        before = positions.detach().floor()
        share = (positions - before).unsqueeze(2)
        is_before, is_after = (
            (first.clip(0, num_frames - 1).unsqueeze(2) == frames).astype("float32") for first in (before, before + 1)
        )
        shares = is_before * (1 - share) + is_after * share
        return shares.flatten(1).unsqueeze([0, 1])


class DeformableTemporalUnit(nn.Layer):
    """Parallel branches over time: two deformable convolutions, a max pool, a 1x1 convolution.

    A 1x1 convolution, batch norm and leaky ReLU reduce the channels before the first three; batch norm follows each
    branch.

    Args:
        num_channels: of input and output, a multiple of 4.
        num_samples: of the deformable convolutions.
        stride: of all branches, in frames.
    """

    def __init__(self, num_channels: int, num_samples: int, stride: int):
        super().__init__()
        width, num_reduced = num_channels // NUM_BRANCHES, NUM_BRANCHES - 1
        self.reduce = he_conv(num_channels, num_reduced * width, num_layers=num_reduced)
        self.reduce_norm = nn.BatchNorm2D(num_reduced * width)
        self.convs = nn.LayerList(DeformableTemporalConv(width, num_samples, reach, stride) for reach in REACHES)
        self.pool = nn.MaxPool2D([3, 1], [stride, 1], [1, 0])
        self.point = he_conv(num_channels, width, stride)
        self.norm = nn.BatchNorm2D(num_channels)

    def forward(self, x):
        """Map (B, num_channels, T, V) to (B, num_channels, T/stride, V), T rounded up."""
        reduced = leaky_relu(self.reduce_norm(self.reduce(x)), NEGATIVE_SLOPE).split(NUM_BRANCHES - 1, axis=1)
        outputs = [conv(reduced[index]) for index, conv in enumerate(self.convs)]
        return self.norm(paddle.concat([*outputs, self.pool(reduced[-1]), self.point(x)], axis=1))


class Block(nn.Layer):
    """A graph convolution and a temporal unit, with a shortcut past each.

    Args:
        in_channels: of the input.
        out_channels: of the output.
        stride: of the temporal unit, in frames.
        adjacency: see `GraphConv`.
        num_samples: of the deformable convolutions.
        is_first: of the network: relations of joints, groups, and the shortcut past both layers are left out.
    """

    def __init__(
        self, in_channels: int, out_channels: int, stride: int, adjacency: np.ndarray, num_samples: int, is_first: bool
    ):
        super().__init__()
        groups, self.is_first = 1 if is_first else NUM_GROUPS, is_first
        self.graph = (GraphConv if is_first else GroupedTopologyConv)(in_channels, out_channels, adjacency)
        self.graph_shortcut = make_shortcut(in_channels, out_channels, groups=groups)
        self.temporal = DeformableTemporalUnit(out_channels, num_samples, stride)
        self.shortcut = None if is_first else make_shortcut(in_channels, out_channels, stride, groups)

    def forward(self, x):
        """Map (B, in_channels, T, V) to (B, out_channels, T/stride, V), T rounded up."""
        y = self.graph(x) + (x if self.graph_shortcut is None else self.graph_shortcut(x))
        y = self.temporal(leaky_relu(y, NEGATIVE_SLOPE))
        if not self.is_first:
            y = y + (x if self.shortcut is None else self.shortcut(x))
        return leaky_relu(y, NEGATIVE_SLOPE)


class DeGCN(ActionModel):
    """DeGCN as released: batch norm of the coordinates, then some networks of ten blocks, whose logits are added.

    In training it returns {"logits": .., "stream0": .., ..}, the logits of each network beside their sum; the losses of
    the networks are added.

    Args:
        num_classes: number of logits.
        layout: joints and bones, a name of `layouts.LAYOUTS` or a yaml file.
        in_channels: values of a joint.
        num_persons: persons of a sample.
        base_channels: width of the first stage, a multiple of 32; each other stage doubles it and halves the frames.
        num_blocks: blocks in each stage; None: [4, 3, 3].
        num_streams: networks side by side, on the same input.
        num_samples: frames that a deformable convolution takes for each of its output.

    Raises:
        ValueError: an unknown layout, another width, or a stage without blocks.
    """

    WEIGHT_SOURCES = {"degcn_pytorch": convert_degcn_weights}

    def __init__(
        self,
        num_classes: Count,
        layout: str = "ntu25",
        in_channels: Count = 3,
        num_persons: Count = 2,
        base_channels: Count = 64,
        num_blocks: list[Count] | None = None,
        num_streams: Count = 2,
        num_samples: Count = 4,
    ):
        super().__init__()
        if base_channels % (NUM_GROUPS * RELATION_RATIO):
            raise ValueError(
                f"DeGCN: base_channels must be a multiple of {NUM_GROUPS * RELATION_RATIO}, got {base_channels}"
            )
        sizes = list_block_sizes(in_channels, base_channels, num_blocks, "DeGCN")
        skeleton = get_layout(layout)
        graph = build_adjacency(skeleton, "inward_outward")
        self.input_size = (in_channels, skeleton.num_joints, num_persons)
        self.loss_weights = {f"stream{number}": 1.0 for number in range(num_streams)}
        self.data_norm = DataNorm(num_persons, skeleton.num_joints, in_channels, per_person=True)
        self.streams = nn.LayerList(
            nn.Sequential(*(Block(*size, graph, num_samples, is_first=not index) for index, size in enumerate(sizes)))
            for _ in range(num_streams)
        )
        width = sizes[-1][1]
        initializers = {"weight_attr": he_normal_by_fan_out(num_classes), "bias_attr": uniform_by_fan_in(width)}
        self.fc = nn.LayerList(nn.Linear(width, num_classes, **initializers) for _ in range(num_streams))

    def forward(self, x):
        """Map skeletons (N, in_channels, T, V, M) to logits (N, num_classes); in training to a dict.

        Raises:
            ValueError: the input has another number of axes, channels, joints or persons.
        """
        check_skeletons(x, *self.input_size, "DeGCN")
        x = self.data_norm(x)  # (N, C, T, V, M) -> (N*M, C, T, V)
        logits = [
            self.fc[index](pool_persons(blocks(x), self.input_size[2])) for index, blocks in enumerate(self.streams)
        ]
        total = sum(logits[1:], logits[0])
        if not self.training:
            return total
        return {"logits": total, **{name: logits[index] for index, name in enumerate(self.loss_weights)}}

    def name_outputs(self, outputs) -> dict:
        """Return {"logits": ..}, in training also the logits of each stream."""
        return outputs if self.training else ActionModel.name_outputs(self, outputs)

    def compute_losses(self, outputs: dict, labels, criterion, is_mixed: bool = False) -> dict:
        """Return the loss of each stream in training, else `loss_cls` of their sum."""
        streams = [name for name in self.loss_weights if name in outputs]
        if not streams:
            return super().compute_losses(outputs, labels, criterion, is_mixed)
        return {f"loss_{name}": self.loss_weights[name] * criterion(outputs[name], labels) for name in streams}

    def list_classifiers(self) -> list:
        """Return the last layer of each stream, whose logits are added."""
        return list(self.fc)
