"""ST-GCN: blocks that sum each joint's neighbours over a graph and then look along time.

Paper: "Spatial Temporal Graph Convolutional Networks for Skeleton-Based Action Recognition", S. Yan, Y. Xiong, D. Lin,
AAAI 2018, arXiv:1801.07455. Official repository: https://github.com/yysijie/st-gcn; its two-stream network too. The
options that it does not have are those of STGCN in https://github.com/kennymckormick/pyskl.

Where we differ: neighbours are summed before the channels are mixed, not after, which gives the same with a third of
the channels; batch norm starts at a gain of 1, not close to it. PYSKL's networks start like the authors' ones.
"""

import re

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import nn

from layouts import get_layout
from models.parts.action_model import ActionModel
from models.parts.graphs import build_adjacency
from models.parts.products import Product
from models.parts.skeleton_layers import DataNorm, check_skeletons, pool_persons, temporal_conv

ADAPTIVE = ("importance", "offset", "init", "none")
HOP_STRATEGIES = ("uniform", "distance", "spatial")  # those that take max_hop and dilation
NUM_BLOCKS = (4, 3, 3)  # in each stage
TEMPORAL_KERNEL_SIZE = 9  # frames that a temporal convolution sees


def list_block_sizes(in_channels: int, base_channels: int, num_blocks: list | None, model_name: str) -> list:
    """List the blocks as (in_channels, out_channels, stride): each stage but the first doubles width, halves time.

    Raises:
        ValueError: a stage without blocks, or no channels.
    """
    num_blocks = NUM_BLOCKS if num_blocks is None else num_blocks
    if not num_blocks or min(num_blocks) < 1:
        raise ValueError(f"{model_name}: num_blocks must have at least 1 block in each stage, got {num_blocks}")
    if base_channels < 1:
        raise ValueError(f"{model_name}: base_channels must be at least 1, got {base_channels}")
    plan = []
    for stage, count in enumerate(num_blocks):
        width = base_channels << stage
        for index in range(count):
            plan.append((in_channels, width, 2 if stage and not index else 1))
            in_channels = width
    return plan


class Aggregate(nn.Layer):
    """Sum the joints over each subset of a graph in one matrix product."""

    def __init__(self):
        super().__init__()
        self.product = Product(paddle.matmul)

    def forward(self, x, graph):
        """Map (B, C, T, V) by a graph for each body, (B, K, V, V), to (B, K*C, T, V), channel k*C + c.

        [b, k, v, w] of the graph weighs what joint v sends to joint w. A first axis of 1 would do but for export: of an
        unknown number and 1, Paddle's static matmul makes 1.
        """
        num_channels, num_subsets, num_joints = x.shape[1], graph.shape[1], graph.shape[2]
        x = self.product(x.reshape([0, 1, -1, num_joints]), graph)  # (B, 1, C*T, V) -> (B, K, C*T, V)
        return x.reshape([0, num_subsets * num_channels, -1, num_joints])


class GraphConv(nn.Layer):
    """Sum over the neighbours in each subset, then mix all channels.

    Args:
        in_channels: channels of the input, C.
        out_channels: channels of the output.
        adjacency: float32 (K, V, V).
        adaptive: what is learnt: "importance" (a factor for each edge), "offset" (a summand), "init" (the graph
            itself), or "none".
        conv_pos: "pre" adds the biases before the sum over neighbours, one for each subset; "post" after it.
    """

    def __init__(self, in_channels: int, out_channels: int, adjacency: np.ndarray, adaptive: str, conv_pos: str):
        super().__init__()
        shape = [1, *adjacency.shape]
        self.aggregate, self.product = Aggregate(), Product(paddle.matmul)
        self.adaptive = adaptive
        if adaptive != "init":
            self.register_buffer("adjacency", paddle.to_tensor(adjacency).reshape(shape), persistable=False)
        initial = {
            "importance": nn.initializer.Constant(1.0),
            "offset": nn.initializer.Uniform(-1e-6, 1e-6),
            "init": nn.initializer.Assign(adjacency.reshape(shape)),
        }
        if adaptive != "none":
            self.edges = self.create_parameter(shape, default_initializer=initial[adaptive])
        num_subsets = shape[1]
        spread = nn.initializer.Normal(0.0, 0.02)
        self.conv = temporal_conv(
            num_subsets * in_channels, out_channels, 1, bias=conv_pos == "post", initializer=spread
        )
        self.bias = None
        if conv_pos == "pre":
            self.bias = self.create_parameter([1, out_channels, 1, num_subsets], is_bias=True)

    def compute_adjacency(self) -> paddle.Tensor:
        """Give the graph as it is now, (1, K, V, V)."""
        if self.adaptive == "importance":
            return self.adjacency * self.edges
        if self.adaptive == "offset":
            return self.adjacency + self.edges
        return self.edges if self.adaptive == "init" else self.adjacency

    def forward(self, x):
        """Map (B, in_channels, T, V) to (B, out_channels, T, V)."""
        graph = self.compute_adjacency()
        x = self.conv(self.aggregate(x, graph.expand([x.shape[0], -1, -1, -1])))
        if self.bias is None:
            return x
        received = graph.sum(axis=[0, 2])  # -> (K, V): what a joint gets if every joint sends 1
        return x + self.product(self.bias, received)  # (1, out, 1, K) -> (1, out, 1, V)


class Shortcut(nn.Sequential):
    """The way past a layer: nothing where the size stays, else a strided 1x1 convolution and BN."""

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1, initializer=None):
        layers = []
        if in_channels != out_channels or stride != 1:
            conv = temporal_conv(in_channels, out_channels, 1, stride, initializer=initializer)
            layers = [conv, nn.BatchNorm2D(out_channels)]
        super().__init__(*layers)


class Block(nn.Layer):
    """A graph convolution, then a temporal one that strides, each with BN, and a shortcut past both.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        stride: frames from one output to the next.
        graph_conv: maps (B, in_channels, T, V) to (B, out_channels, T, V).
        gcn_residual: add a shortcut past the graph convolution.
        residual: add the shortcut past both.
        dropout: share of values that training drops before that sum.
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
        spread = nn.initializer.Normal(0.0, 0.02)
        self.graph_conv = graph_conv
        self.norm1 = nn.BatchNorm2D(out_channels)
        self.gcn_shortcut = Shortcut(in_channels, out_channels, initializer=spread) if gcn_residual else None
        self.conv = temporal_conv(out_channels, out_channels, TEMPORAL_KERNEL_SIZE, stride, initializer=spread)
        self.norm2 = nn.BatchNorm2D(out_channels)
        self.dropout = nn.Dropout(dropout)
        self.shortcut = Shortcut(in_channels, out_channels, stride, spread) if residual else None

    def forward(self, x):
        """Map (B, in_channels, T, V) to (B, out_channels, T/stride, V), rounded up."""
        y = self.norm1(self.graph_conv(x))
        if self.gcn_shortcut is not None:
            y = y + self.gcn_shortcut(x)
        y = self.dropout(self.norm2(self.conv(F.relu(y))))
        if self.shortcut is not None:
            y = y + self.shortcut(x)
        return F.relu(y)


# The authors' name, as a pattern: ours.
STGCN_RULES = {
    r"^origin_stream\.": "",
    r"^motion_stream\.": "motion.",
    r"data_bn": "data_norm.norm",
    r"edge_importance\.(\d+)": r"blocks.\1.graph_conv.edges",
    r"st_gcn_networks": "blocks",
    r"gcn\.conv": "graph_conv.conv",
    r"tcn\.0": "norm1",
    r"tcn\.2": "conv",
    r"tcn\.3": "norm2",
    r"residual": "shortcut",
    r"fcn": "fc",
}
PYSKL_RULES = {
    r"^backbone\.data_bn": "data_norm.norm",
    r"^backbone\.gcn": "blocks",
    r"^cls_head\.fc_cls": "fc",
    r"residual\.conv": "shortcut.0",
    r"residual\.bn": "shortcut.1",
    r"tcn\.conv": "conv",
    r"tcn\.bn": "norm2",
    r"gcn\.bn": "norm1",
    r"gcn\.down": "gcn_shortcut",
    r"gcn\.conv": "graph_conv.conv",
    r"gcn\.P?A$": "graph_conv.edges",
}


def rename(name: str, names: dict) -> str:
    """Replace each pattern of `names` in turn."""
    for pattern, ours in names.items():
        name = re.sub(pattern, ours, name)
    return name


def convert_stgcn_weights(weights: dict) -> dict:
    """Turn a state dict of the official repository into one with our names; its fixed graphs are dropped."""
    renamed = {rename(name, STGCN_RULES): value for name, value in weights.items() if name.split(".")[-1] != "A"}
    return _reorder(renamed)


def convert_pyskl_stgcn_weights(weights: dict) -> dict:
    """Turn a state dict of PYSKL into one with our names; where the edges have weights, the graph itself is dropped."""
    fixed = {name.removesuffix("PA") + "A" for name in weights if name.endswith(".PA")}
    return _reorder({rename(name, PYSKL_RULES): value for name, value in weights.items() if name not in fixed})


def _reorder(weights):
    """Bring graph convolutions whose subsets lie along the outputs into our order, along the inputs."""
    reordered = {}
    for name, value in weights.items():
        block, graph_conv, entry = name.rpartition("graph_conv.")
        num_outputs = len(weights.get(f"{block}norm1.weight", value)) if graph_conv else 0
        if entry == "edges" and graph_conv:
            value = value[None]
        elif graph_conv and len(value) > num_outputs:
            value = value.reshape(-1, num_outputs, *value.shape[1:]).swapaxes(0, 1)  # (K*out, ...) -> (out, K, ...)
            if entry == "conv.weight":
                value = value.reshape(num_outputs, -1, 1, 1)
            else:
                name, value = f"{block}graph_conv.bias", value[None, :, None]
        elif name.endswith("fc.weight"):
            value = value.reshape(value.shape[:2])  # the authors' is a 1x1 convolution
        reordered[name] = value
    return reordered


class STGCN(ActionModel):
    """ST-GCN.

    Args:
        num_classes: number of logits.
        layout: joints and bones, see `layouts.get_layout`; PYSKL's graph of NTU is "ntu25_star".
        in_channels: channels of a joint, C.
        num_persons: persons of a sample, M.
        strategy: how neighbours form subsets, see `graphs.STRATEGIES`; PYSKL's "spatial" is "inward_outward".
        max_hop: edges to the furthest neighbour, for the strategies uniform, distance and spatial.
        dilation: step between the distances that count, for the same ones.
        adaptive: what is learnt of the graph in each block: "importance" (a factor for each edge), "offset" (a
            summand), "init" (the graph itself), or "none".
        conv_pos: where the biases of a graph convolution are added: "pre" (before the neighbours are summed), "post".
        gcn_residual: add a shortcut past each graph convolution.
        per_person_norm: normalise the input of each person by itself.
        dropout: share of values that training drops in each block but the first; 0.5 in the paper's NTU runs.
        two_stream: add the logits of a second network, which sees by how much a joint leaves the way between the
            frames before and after.
        base_channels: width of the first stage; each other one is twice as wide as the one before.
        num_blocks: blocks in each stage, [4, 3, 3] if None.

    Raises:
        ValueError: an unknown layout, strategy or option, or a network without channels or blocks.
    """

    TORCH_SOURCES = {"st-gcn": convert_stgcn_weights, "pyskl": convert_pyskl_stgcn_weights}

    def __init__(
        self,
        num_classes: int,
        layout: str = "ntu25",
        in_channels: int = 3,
        num_persons: int = 2,
        strategy: str = "spatial",
        max_hop: int = 1,
        dilation: int = 1,
        adaptive: str = "importance",
        conv_pos: str = "pre",
        gcn_residual: bool = False,
        per_person_norm: bool = False,
        dropout: float = 0.0,
        two_stream: bool = False,
        base_channels: int = 64,
        num_blocks: list[int] | None = None,
    ):
        super().__init__()
        if adaptive not in ADAPTIVE:
            raise ValueError(f"STGCN: adaptive must be one of {', '.join(ADAPTIVE)}, got {adaptive!r}")
        if conv_pos not in ("pre", "post"):
            raise ValueError(f"STGCN: conv_pos must be 'pre' or 'post', got {conv_pos!r}")
        adjacency = _build_graph(layout, strategy, max_hop, dilation)
        self.input_size = (in_channels, adjacency.shape[-1], num_persons)
        self.num_persons = num_persons
        self.data_norm = DataNorm(num_persons, adjacency.shape[-1], in_channels, per_person_norm)
        blocks = []
        for index, (inputs, outputs, stride) in enumerate(
            list_block_sizes(in_channels, base_channels, num_blocks, "STGCN")
        ):
            graph_conv = GraphConv(inputs, outputs, adjacency, adaptive, conv_pos)
            plain = index == 0  # neither a shortcut past the block nor dropout
            blocks.append(
                Block(inputs, outputs, stride, graph_conv, gcn_residual, not plain, 0.0 if plain else dropout)
            )
        self.blocks = nn.Sequential(*blocks)
        self.fc = nn.Linear(outputs, num_classes, weight_attr=nn.initializer.Normal(0.0, 0.02))
        self.motion = None
        if two_stream:
            same = (layout, in_channels, num_persons, strategy, max_hop, dilation, adaptive, conv_pos)
            others = (gcn_residual, per_person_norm, dropout, False, base_channels, num_blocks)
            self.motion = STGCN(num_classes, *same, *others)

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


def _build_graph(layout, strategy, max_hop, dilation):
    if strategy in HOP_STRATEGIES:
        return build_adjacency(get_layout(layout), strategy, max_hop=max_hop, dilation=dilation)
    if (max_hop, dilation) != (1, 1):
        raise ValueError(
            f"STGCN: strategy '{strategy}' has no max_hop and no dilation, got {max_hop} and {dilation}; "
            f"leave them at 1, or take one of {', '.join(HOP_STRATEGIES)}"
        )
    return build_adjacency(get_layout(layout), strategy)


def subtract_neighbour_frames(x: paddle.Tensor) -> paddle.Tensor:
    """Subtract the mean of the frames before and after from each frame of (N, C, T, V, M); both ends become 0."""
    inner = x[:, :, 1:-1] - (x[:, :, :-2] + x[:, :, 2:]) / 2
    return F.pad(inner, [0, 0, 0, 0, 1, 1], data_format="NCDHW")  # begin and end of M, V, T
