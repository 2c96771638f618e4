"""ST-GCN: blocks of a graph convolution over joints and a convolution over time.

Paper: "Spatial Temporal Graph Convolutional Networks for Skeleton-Based Action Recognition", S. Yan, Y. Xiong, D. Lin,
AAAI 2018, arXiv:1801.07455. Official repository: https://github.com/yysijie/st-gcn, with its two-stream network.
Further options are those of STGCN in https://github.com/kennymckormick/pyskl.

Where we differ: neighbours are summed before the channels are mixed, not after, which computes the same from a third of
the channels; the scale of batch norm is initialised as 1, not close to it. With PYSKL's options the initialisation is
the same.
"""

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import nn

from common.ranges import Count, PartialShare, Whole
from layouts import get_layout
from models.parts.action_model import ActionModel
from models.parts.graphs import build_adjacency
from models.parts.operators import add_to_frames
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
from models.parts.weights import mark_fixed_graphs, rename_paddlevideo_weights, rename_weights

ADAPTIVE = ("importance", "offset", "init", "none")
HOP_STRATEGIES = ("uniform", "distance", "spatial")  # strategies with the options max_hop and dilation


class GraphConv(nn.Layer):
    """Sum over the neighbours in each subset, then mix all channels.

    Args:
        in_channels: channels of the input, C.
        out_channels: channels of the output.
        adjacency: float32 (K, V, V).
        adaptive: what is learnt: "importance" (a factor for each edge), "offset" (a summand), "init" (the adjacency
            matrices), or "none".
        conv_pos: "pre" adds a bias for each subset before the sum over neighbours, "post" one bias after it.
        initializer: of the weights of the channels; None: normal with standard deviation 0.02.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        adjacency: np.ndarray,
        adaptive: str,
        conv_pos: str,
        initializer: nn.initializer.Initializer | None = None,
    ):
        super().__init__()
        shape = [1, *adjacency.shape]
        self.aggregate, self.product = Aggregate(), Product(paddle.matmul)
        self.adaptive = adaptive
        if adaptive != "init":
            self.register_buffer("adjacency", paddle.to_tensor(adjacency).reshape(shape), persistable=False)
        edge_initializers = {
            "importance": nn.initializer.Constant(1.0),
            "offset": nn.initializer.Uniform(-1e-6, 1e-6),
            "init": nn.initializer.Assign(adjacency.reshape(shape)),
        }
        if adaptive != "none":
            self.edges = self.create_parameter(shape, default_initializer=edge_initializers[adaptive])
        num_subsets = shape[1]
        initializer = nn.initializer.Normal(0.0, 0.02) if initializer is None else initializer
        self.conv = temporal_conv(
            num_subsets * in_channels, out_channels, 1, bias=conv_pos == "post", initializer=initializer
        )
        self.bias = None
        if conv_pos == "pre":
            self.bias = self.create_parameter([1, out_channels, 1, num_subsets], is_bias=True)

    def compute_adjacency(self) -> paddle.Tensor:
        """Return the adjacency matrices with what is learnt, (1, K, V, V)."""
        if self.adaptive == "importance":
            return self.adjacency * self.edges
        if self.adaptive == "offset":
            return self.adjacency + self.edges
        return self.edges if self.adaptive == "init" else self.adjacency

    def forward(self, x):
        """Map (B, in_channels, T, V) to (B, out_channels, T, V)."""
        adjacency = self.compute_adjacency().flatten(0, 1)  # -> (K, V, V)
        x = self.conv(self.aggregate(x, adjacency))
        if self.bias is None:
            return x
        in_degrees = adjacency.sum(axis=1)  # -> (K, V): the sum of each joint's incoming edges
        return add_to_frames(x, self.product(self.bias.flatten(0, 2), in_degrees))  # (out, K) -> (out, V)


class Block(nn.Layer):
    """A graph convolution and a strided temporal convolution, each with batch norm, and a shortcut past both.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        stride: in frames.
        graph_conv: maps (B, in_channels, T, V) to (B, out_channels, T, V).
        gcn_residual: add a shortcut past the graph convolution.
        residual: add the shortcut past both.
        dropout: dropout ratio before that shortcut is added.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int,
        graph_conv: nn.Layer,
        gcn_residual: bool,
        residual: bool,
        dropout: float,
    ):
        super().__init__()
        initializer = nn.initializer.Normal(0.0, 0.02)
        self.graph_conv = graph_conv
        self.norm1 = nn.BatchNorm2D(out_channels)
        self.gcn_shortcut = Shortcut(in_channels, out_channels, initializer=initializer) if gcn_residual else None
        self.conv = temporal_conv(out_channels, out_channels, TEMPORAL_KERNEL_SIZE, stride, initializer=initializer)
        self.norm2 = nn.BatchNorm2D(out_channels)
        self.dropout = nn.Dropout(dropout)
        self.shortcut = Shortcut(in_channels, out_channels, stride, initializer) if residual else None

    def forward(self, x):
        """Map (B, in_channels, T, V) to (B, out_channels, T/stride, V), rounded up."""
        y = self.norm1(self.graph_conv(x))
        if self.gcn_shortcut is not None:
            y = y + self.gcn_shortcut(x)
        y = self.dropout(self.norm2(self.conv(F.relu(y))))
        if self.shortcut is not None:
            y = y + self.shortcut(x)
        return F.relu(y)


# The authors' names -> ours; see `weights.apply_rules`.
STGCN_RULES = [
    (r"^origin_stream\.", ""),
    (r"^motion_stream\.", "motion."),
    (r"data_bn", "data_norm.norm"),
    (r"edge_importance\.(\d+)", r"blocks.\1.graph_conv.edges"),
    (r"st_gcn_networks", "blocks"),
    (r"gcn\.conv", "graph_conv.conv"),
    (r"tcn\.0", "norm1"),
    (r"tcn\.2", "conv"),
    (r"tcn\.3", "norm2"),
    (r"residual", "shortcut"),
    (r"fcn", "fc"),
]
PYSKL_RULES = [
    (r"^backbone\.data_bn", "data_norm.norm"),
    (r"^backbone\.A$", "A"),
    (r"^backbone\.gcn", "blocks"),
    (r"^cls_head\.fc(_cls)?\.", "fc."),  # "fc" in MMAction2
    (r"residual\.conv", "shortcut.0"),
    (r"residual\.bn", "shortcut.1"),
    (r"tcn\.conv", "conv"),
    (r"tcn\.bn", "norm2"),
    (r"gcn\.bn", "norm1"),
    (r"gcn\.down", "gcn_shortcut"),
    (r"gcn\.conv", "graph_conv.conv"),
    (r"gcn\.P?A$", "graph_conv.edges"),
    (r"gcn\.fixed_A$", "graph_conv.adjacency"),
]


def convert_stgcn_weights(weights: dict) -> dict:
    """Convert the weights of the official repository."""
    return reorder_subsets(rename_weights(weights, STGCN_RULES))


def convert_pyskl_stgcn_weights(weights: dict) -> dict:
    """Convert the weights of PYSKL or MMAction2."""
    return reorder_subsets(rename_weights(mark_fixed_graphs(weights), PYSKL_RULES))


def convert_paddlevideo_stgcn_weights(weights: dict) -> dict:
    """Convert the weights of PaddleVideo."""
    return convert_stgcn_weights(rename_paddlevideo_weights(weights))


def reorder_subsets(weights):
    """Move the subsets of graph convolutions from the output channels, as the authors have them, to the input.

    A convolution of a single subset does not show where its bias is added; `STGCN.place_weights` knows it.
    """
    reordered = {}
    for name, value in weights.items():
        block, graph_conv, entry = name.rpartition("graph_conv.")
        num_outputs = len(weights.get(f"{block}norm1.weight", value)) if graph_conv else 0
        if entry == "edges" and graph_conv:
            value = value[None]
        elif graph_conv and entry in ("conv.weight", "conv.bias") and len(value) > num_outputs:
            value = value.reshape(-1, num_outputs, *value.shape[1:]).swapaxes(0, 1)  # (K*out, ...) -> (out, K, ...)
            if entry == "conv.weight":
                value = value.reshape(num_outputs, -1, 1, 1)
            else:
                name, value = f"{block}graph_conv.bias", value[None, :, None]
        elif name.endswith("fc.weight"):
            value = value.reshape(value.shape[:2])  # the authors have a 1x1 convolution
        reordered[name] = value
    return reordered


class STGCN(ActionModel):
    """ST-GCN: batch norm of the input, ten blocks, mean over frames, joints and persons, linear.

    Args:
        num_classes: number of logits.
        layout: joints and bones, see `layouts.get_layout`; PYSKL's graph of NTU is "ntu25_star".
        in_channels: channels of a joint, C.
        num_persons: persons of a sample, M.
        strategy: how neighbours form subsets, see `graphs.STRATEGIES`; PYSKL's "spatial" is "inward_outward".
        max_hop: edges to the furthest neighbour, for the strategies uniform, distance and spatial.
        dilation: step between the numbers of edges that form a subset, for the same strategies.
        adaptive: what is learnt in each block: "importance" (a factor for each edge), "offset" (a summand), "init" (the
            adjacency matrices), or None, also written "none".
        conv_pos: where the bias of a graph convolution is added: "pre" (before the neighbours are summed), "post".
        gcn_residual: add a shortcut past each graph convolution.
        per_person_norm: batch norm of the input with statistics for each person.
        dropout: dropout ratio in each block but the first; 0.5 in the paper's NTU runs.
        two_stream: add the logits of a second network on the motion: each frame minus the mean of its neighbours.
        base_channels: width of the first stage; each other stage doubles it.
        num_blocks: blocks in each stage; None: [4, 3, 3].

    Raises:
        ValueError: an unknown layout, strategy or option, or a network without channels or blocks.
    """

    WEIGHT_SOURCES = {
        "st-gcn": convert_stgcn_weights,
        "pyskl": convert_pyskl_stgcn_weights,
        "mmaction2": convert_pyskl_stgcn_weights,
        "paddlevideo": convert_paddlevideo_stgcn_weights,
    }

    def __init__(
        self,
        num_classes: Count,
        layout: str = "ntu25",
        in_channels: Count = 3,
        num_persons: Count = 2,
        strategy: str = "spatial",
        max_hop: Whole = 1,
        dilation: Count = 1,
        adaptive: str | None = "importance",
        conv_pos: str = "pre",
        gcn_residual: bool = False,
        per_person_norm: bool = False,
        dropout: PartialShare = 0.0,
        two_stream: bool = False,
        base_channels: Count = 64,
        num_blocks: list[Count] | None = None,
    ):
        super().__init__()
        adaptive = "none" if adaptive is None else adaptive  # a config text reads `none` as None
        if adaptive not in ADAPTIVE:
            raise ValueError(f"STGCN: adaptive must be one of {', '.join(ADAPTIVE)}, got {adaptive!r}")
        if conv_pos not in ("pre", "post"):
            raise ValueError(f"STGCN: conv_pos must be 'pre' or 'post', got {conv_pos!r}")
        adjacency = _build_adjacency(layout, strategy, max_hop, dilation)
        self.input_size = (in_channels, adjacency.shape[-1], num_persons)
        self.num_persons = num_persons
        self.graph, self.adds_bias_first = adjacency, conv_pos == "pre"
        self.data_norm = DataNorm(num_persons, adjacency.shape[-1], in_channels, per_person_norm)
        sizes = list_block_sizes(in_channels, base_channels, num_blocks, "STGCN")
        blocks = []
        for index, (width, out_channels, stride) in enumerate(sizes):
            graph_conv = GraphConv(width, out_channels, adjacency, adaptive, conv_pos)
            is_first = index == 0  # without a shortcut past the block, and without dropout
            block_dropout = 0.0 if is_first else dropout
            blocks.append(Block(width, out_channels, stride, graph_conv, gcn_residual, not is_first, block_dropout))
        self.blocks = nn.Sequential(*blocks)
        self.fc = nn.Linear(out_channels, num_classes, weight_attr=nn.initializer.Normal(0.0, 0.02))
        self.motion = None
        if two_stream:
            self.motion = STGCN(
                num_classes, layout, in_channels, num_persons, strategy, max_hop, dilation, adaptive, conv_pos,
                gcn_residual, per_person_norm, dropout, two_stream=False, base_channels=base_channels,
                num_blocks=num_blocks,
            )  # fmt: skip

    def forward(self, x):
        """Map skeletons (N, in_channels, T, V, num_persons) to logits (N, num_classes).

        Raises:
            ValueError: the input has other axes, channels, joints or persons.
        """
        in_channels, num_joints, num_persons = self.input_size
        check_skeletons(x, in_channels, num_joints, num_persons, type(self).__name__)
        features = self.blocks(self.data_norm(x))  # (N, C, T, V, M) -> (N*M, C', T', V)
        logits = self.fc(pool_persons(features, num_persons))
        return logits if self.motion is None else logits + self.motion(subtract_neighbour_frames(x))

    def list_classifiers(self) -> list:
        """Return the linear layer of each stream."""
        return [self.fc, *([] if self.motion is None else self.motion.list_classifiers())]

    def fixed_tensors(self) -> dict:
        """Return the graphs: of each block, and as files have them, of each stream and in place of learnt edges."""
        names = ["A", "motion.A", *(f"blocks.{index}.graph_conv.edges" for index in range(len(self.blocks)))]
        return {**super().fixed_tensors(), **dict.fromkeys(names, self.graph)}

    def place_weights(self, weights: dict) -> dict:
        """Return the weights with the biases of graph convolutions of one subset where this network adds them."""
        if not self.adds_bias_first or len(self.graph) > 1:
            return weights
        placed = {}
        for name, value in weights.items():
            block, bias, _ = name.partition("graph_conv.conv.bias")
            if bias:
                name, value = f"{block}graph_conv.bias", value[None, :, None, None]
            placed[name] = value
        return placed


def _build_adjacency(layout, strategy, max_hop, dilation):
    if strategy in HOP_STRATEGIES:
        return build_adjacency(get_layout(layout), strategy, max_hop=max_hop, dilation=dilation)
    if (max_hop, dilation) != (1, 1):
        raise ValueError(
            f"STGCN: strategy '{strategy}' has no max_hop and no dilation, got {max_hop} and {dilation}; "
            f"leave them at 1, or use one of {', '.join(HOP_STRATEGIES)}"
        )
    return build_adjacency(get_layout(layout), strategy)


def subtract_neighbour_frames(x: paddle.Tensor) -> paddle.Tensor:
    """Subtract the mean of the frames before and after from each frame of (N, C, T, V, M); both ends become 0."""
    inner = x[:, :, 1:-1] - (x[:, :, :-2] + x[:, :, 2:]) / 2
    zeros = paddle.zeros_like(x[:, :, :1])
    return paddle.concat([zeros, inner, zeros], axis=2)  # Paddle2ONNX 2.1 leaves the value of a pad to chance
