"""MS-G3D: multi-scale graph convolutions over joints and over windows of frames.

Paper: "Disentangling and Unifying Graph Convolutions for Skeleton-Based Action Recognition", Z. Liu et al., CVPR 2020,
arXiv:2003.14111. Official repository: https://github.com/kenziyuliu/MS-G3D (Mar 2020). PYSKL's variant
(https://github.com/kennymckormick/pyskl) has `normalization="column"` and `layout="ntu25_star"`; its matrices are
transposed, which the conversion of its weights undoes.

Where we differ: windows are not unfolded. The sum over neighbours in a window is a convolution over time with joints as
channels, so tensors are (B, C, V, T) inside, and channels are mixed first where that is less work. The first block maps
any number of input channels to its width directly; the official one does so for 3 and 8 only.
"""

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import nn

from common.ranges import Count
from layouts import get_layout
from models.parts.action_model import ActionModel
from models.parts.graphs import NORMALIZATIONS, build_adjacency, disentangled_adjacency
from models.parts.layers import uniform_by_fan_in
from models.parts.products import Product
from models.parts.skeleton_layers import DataNorm, SkeletonConv2D, check_skeletons, pool_persons
from models.parts.temporal import MultiScaleTemporalConv, map_branch_name
from models.parts.weights import apply_rules, merge_weights

KERNEL_SIZE, DILATIONS = 3, (1, 2, 3, 4)  # of the temporal convolutions, in frames
NUM_BRANCHES = len(DILATIONS) + 2
INITIAL_RESIDUAL_BOUND = 1e-6  # of the learnt offsets of the adjacency matrices


def mixes_channels_first(in_channels: int, out_channels: int) -> bool:
    """Return whether channels are mixed before neighbours are summed, which costs the same for each channel."""
    return out_channels <= in_channels


def arrange_adjacency(adjacency: np.ndarray, window: int, mix_first: bool) -> np.ndarray:
    """Arrange adjacency matrices as the weights of a convolution over time.

    Args:
        adjacency: (K, window * V, window * V), receiving joints first.
        window: in frames.
        mix_first: the K scales are in the input of the convolution; else in its output.

    Returns:
        (window * V, K * V, 1, window) or (K * window * V, V, 1, window).
    """
    num_scales, num_nodes, _ = adjacency.shape
    num_joints = num_nodes // window
    axes = adjacency.reshape([num_scales, num_nodes, window, num_joints])
    if mix_first:
        return axes.transpose([1, 0, 3, 2]).reshape([num_nodes, num_scales * num_joints, 1, window])
    return axes.transpose([0, 1, 3, 2]).reshape([num_scales * num_nodes, num_joints, 1, window])


class MultiScaleGraphConv(nn.Layer):
    """Sum over the joints k edges away within a window of frames, for each scale k, and mix channels.

    Args:
        in_channels: of the input.
        out_channels: of the output.
        adjacency: (K, window * V, window * V), as `disentangled_adjacency` returns it; a learnt offset is added.
        window: in frames, odd; the output has all frames of each window.
        stride: from window to window, in frames.
    """

    def __init__(self, in_channels: int, out_channels: int, adjacency: np.ndarray, window: int = 1, stride: int = 1):
        super().__init__()
        num_scales, self.num_nodes, _ = adjacency.shape
        self.convolve = Product(F.conv2d, stride=[1, stride], padding=[0, window // 2])
        self.mix_first = mixes_channels_first(in_channels, out_channels)
        self.num_aggregated = out_channels if self.mix_first else num_scales * in_channels
        # Sending joints are the first axis of `adjacency`, receiving joints that of the weights.
        weights = arrange_adjacency(adjacency.transpose([0, 2, 1]), window, self.mix_first)
        self.register_buffer("adjacency", paddle.to_tensor(weights), persistable=False)
        small = nn.initializer.Uniform(-INITIAL_RESIDUAL_BOUND, INITIAL_RESIDUAL_BOUND)
        self.residual = self.create_parameter(weights.shape, default_initializer=small)
        initializer = uniform_by_fan_in(num_scales * in_channels)
        sizes = (in_channels, num_scales * out_channels) if self.mix_first else (num_scales * in_channels, out_channels)
        self.mix = SkeletonConv2D(*sizes, 1, weight_attr=initializer, bias_attr=False)
        self.bias = self.create_parameter([out_channels], default_initializer=initializer)
        self.norm = nn.BatchNorm2D(out_channels)

    def forward(self, x):
        """Map (B, in_channels, V, T) to (B, out_channels, window * V, T/stride), T rounded up."""
        x = self.aggregate(self.mix(x)) if self.mix_first else self.mix(self.aggregate(x))
        return F.relu(self.norm(x + self.bias.reshape([-1, 1, 1])))

    def aggregate(self, x):
        """Sum over neighbours: map (B, C K, V, T) to (B, C, window * V, T/stride) if `mix_first`.

        Else map (B, C, V, T) to (B, C K, window * V, T/stride).
        """
        weight = self.adjacency + self.residual
        x = x.reshape([-1, weight.shape[1], 1, 0])  # 0: T as it is
        x = self.convolve(x, weight)
        return x.reshape([-1, self.num_aggregated, self.num_nodes, 0])


class WindowedGraphConv(nn.Layer):
    """A graph convolution over windows (G3D), and a convolution that reduces each window to one frame.

    Args:
        in_channels: of the input.
        mid_channels: of the graph convolution.
        out_channels: of the output.
        adjacency: (K, window * V, window * V).
        window: in frames, odd.
        stride: in frames.
    """

    def __init__(
        self,
        in_channels: int,
        mid_channels: int,
        out_channels: int,
        adjacency: np.ndarray,
        window: int,
        stride: int,
    ):
        super().__init__()
        self.graph = MultiScaleGraphConv(in_channels, mid_channels, adjacency, window, stride)
        self.sizes = (window * mid_channels, adjacency.shape[1] // window)
        initializer = uniform_by_fan_in(window * mid_channels)
        self.collapse = SkeletonConv2D(
            window * mid_channels, out_channels, 1, weight_attr=initializer, bias_attr=initializer
        )
        self.norm = nn.BatchNorm2D(out_channels)

    def forward(self, x):
        """Map (B, in_channels, V, T) to (B, out_channels, V, T/stride), T rounded up."""
        x = self.graph(x)  # -> (B, mid_channels, window * V, T/stride)
        x = x.reshape([-1, *self.sizes, 0])
        return self.norm(self.collapse(x))


class MSG3DBlock(nn.Layer):
    """The sum of two pathways, then a temporal convolution.

    The first pathway is a graph and two temporal convolutions, the second a graph convolution for each window size.

    Args:
        in_channels: of the input.
        mid_channels: of the graph convolutions.
        out_channels: of the output.
        stride: in frames.
        adjacency: (K, V, V), of the first pathway.
        windows: (window, (K, window * V, window * V)) for each window size in frames, of the second pathway.
    """

    def __init__(
        self, in_channels: int, mid_channels: int, out_channels: int, stride: int, adjacency: np.ndarray, windows: list
    ):
        super().__init__()
        branches = (KERNEL_SIZE, DILATIONS)
        options = {"residual": True, "time_axis": 3, "uniform": True}
        self.graph = MultiScaleGraphConv(in_channels, mid_channels, adjacency)
        self.temporal = nn.Sequential(
            MultiScaleTemporalConv(mid_channels, out_channels, *branches, stride, relu=True, **options),
            MultiScaleTemporalConv(out_channels, out_channels, *branches, **options),
        )
        self.windows = nn.LayerList(
            WindowedGraphConv(in_channels, mid_channels, out_channels, window_adjacency, window, stride)
            for window, window_adjacency in windows
        )
        self.last = MultiScaleTemporalConv(out_channels, out_channels, *branches, relu=True, **options)

    def forward(self, x):
        """Map (B, in_channels, V, T) to (B, out_channels, V, T/stride), T rounded up."""
        y = self.temporal(self.graph(x))
        for window in self.windows:
            y = y + window(x)
        return self.last(F.relu(y))


NAME_RULES = (  # the authors' and PYSKL's names -> ours; see `weights.apply_rules`
    (r"^backbone\.", ""),
    (r"^cls_head\.fc_cls\.", "fc."),
    (r"^data_bn\.", "data_norm.norm."),
    (r"\.gcn3d\.(\d)\.gcn3d\.1\.", r".windows.\1.graph."),
    (r"\.gcn3d\.(\d)\.out_conv\.", r".windows.\1.collapse."),
    (r"\.gcn3d\.(\d)\.out_bn\.", r".windows.\1.norm."),
    (r"^sgcn(\d)\.0\.", r"sgcn\1.graph."),
    (r"^sgcn(\d)\.1\.", r"sgcn\1.temporal.0."),
    (r"^sgcn(\d)\.2\.", r"sgcn\1.temporal.1."),
    (r"^tcn(\d)\.", r"tcn\1.last."),
    (r"\.(A_res|PA)$", ".residual"),
    (r"\.(A_powers|A_scales|A)$", ".adjacency"),
    (r"\.mlp\.layers\.0\.weight$", ".mix.weight"),
    (r"\.mlp\.layers\.0\.bias$", ".bias"),
    (r"\.mlp\.layers\.1\.", ".norm."),
    (r"\bresidual\.conv\.", "shortcut.0."),
    (r"\bresidual\.bn\.", "shortcut.1."),
    (r"^(?:gcn3d|sgcn|tcn)(\d)\.", lambda match: f"blocks.{int(match[1]) - 1}."),
)


def map_msg3d_name(name: str) -> tuple:
    """Map the name of a tensor of the official MS-G3D, or PYSKL's, to (ours, sort key); see `merge_weights`."""
    name = apply_rules(name, NAME_RULES)
    unit, _, rest = name.partition(".branches.")
    if rest:
        layer, branch = map_branch_name(rest, NUM_BRANCHES)
        return f"{unit}.{layer}", branch
    return name, 0


def convert_msg3d_weights(weights: dict) -> dict:
    """Convert the weights of the official MS-G3D."""
    weights = merge_weights(weights, map_msg3d_name)
    for name in list(weights):
        value = weights[name]
        if ".convs." in name and value.ndim == 4:  # a temporal convolution
            weights[name] = value.transpose([0, 1, 3, 2])
        elif name.endswith(".residual"):
            prefix = name.removesuffix("graph.residual")
            collapse = weights.get(f"{prefix}collapse.weight")  # (out, mid, 1, window, 1); None for joints alone
            window = 1 if collapse is None else collapse.shape[3]
            mix, fixed = f"{prefix}graph.mix.weight", f"{prefix}graph.adjacency"
            if fixed in weights:
                weights[fixed], _ = arrange_graph_weights(weights[fixed], weights[mix], window)
            weights[name], weights[mix] = arrange_graph_weights(value, weights[mix], window)
    for name, value in weights.items():
        if name.endswith(".collapse.weight"):
            weights[name] = value.reshape([len(value), -1, 1, 1])
    return weights


def convert_pyskl_msg3d_weights(weights: dict) -> dict:
    """Convert the weights of PYSKL's MS-G3D; its matrices have sending joints first."""
    is_stack = {name: name.endswith((".PA", ".A")) and value.ndim == 3 for name, value in weights.items()}
    return convert_msg3d_weights(
        {name: value.transpose([0, 2, 1]) if is_stack[name] else value for name, value in weights.items()}
    )


def arrange_graph_weights(residual: np.ndarray, mix: np.ndarray, window: int) -> tuple:
    """Arrange the authors' tensors of a graph convolution, which stack the scales, for `MultiScaleGraphConv`.

    Args:
        residual: (K * window * V, window * V) or (K, window * V, window * V), receiving joints first.
        mix: (out_channels, K * in_channels, 1, 1), the scale as the outer index.
        window: in frames.

    Returns:
        (`residual`, `mix.weight`).
    """
    num_nodes = residual.shape[-1]
    residual = residual.reshape([-1, num_nodes, num_nodes])
    mix = mix.reshape([len(mix), len(residual), -1, 1, 1])  # (out_channels, K, in_channels, 1, 1)
    out_channels, num_scales, in_channels = mix.shape[:3]
    mix_first = mixes_channels_first(in_channels, out_channels)
    if mix_first:
        mix = mix.reshape([out_channels * num_scales, in_channels, 1, 1])
    else:
        mix = mix.swapaxes(1, 2).reshape([out_channels, in_channels * num_scales, 1, 1])
    return arrange_adjacency(residual, window, mix_first), mix


class MSG3D(ActionModel):
    """MS-G3D: batch norm of the coordinates, blocks of two pathways, mean over frames, joints and persons, linear.

    Args:
        num_classes: number of logits.
        layout: joints and edges, a name of `layouts.LAYOUTS` or a yaml file.
        in_channels: values of a joint.
        num_persons: persons of a sample.
        base_channels: width of the first block; each other block doubles it and halves the frames.
        num_blocks: number of blocks.
        num_gcn_scales: scales of the graph convolutions over joints, 0 edges included.
        num_g3d_scales: scales of the graph convolutions over windows.
        window_sizes: in frames, odd; each has a graph convolution in each block.
        normalization: of the graphs, "symmetric" (the authors') or "column" (PYSKL's).

    Raises:
        ValueError: an unknown layout or normalization, an even window, or a width below 6.
    """

    WEIGHT_SOURCES = {"ms-g3d": convert_msg3d_weights, "pyskl": convert_pyskl_msg3d_weights}

    def __init__(
        self,
        num_classes: Count,
        layout: str = "ntu25",
        in_channels: Count = 3,
        num_persons: Count = 2,
        base_channels: Count = 96,
        num_blocks: Count = 3,
        num_gcn_scales: Count = 13,
        num_g3d_scales: Count = 6,
        window_sizes: list[Count] | tuple = (3, 5),
        normalization: str = "symmetric",
    ):
        super().__init__()
        if normalization not in NORMALIZATIONS:
            choices = " or ".join(map(repr, NORMALIZATIONS))
            raise ValueError(f"MSG3D: normalization must be {choices}, got {normalization!r}")
        if base_channels < NUM_BRANCHES:
            raise ValueError(
                f"MSG3D: base_channels must be at least {NUM_BRANCHES}, one for each branch, got {base_channels!r}"
            )
        if any(window < 1 or window % 2 == 0 for window in window_sizes):
            raise ValueError(f"MSG3D: window_sizes must be odd numbers of frames, got {list(window_sizes)!r}")
        numbers = {"num_blocks": num_blocks, "num_gcn_scales": num_gcn_scales, "num_g3d_scales": num_g3d_scales}
        for name, number in numbers.items():
            if number < 1:
                raise ValueError(f"MSG3D: {name} must be at least 1, got {number!r}")
        skeleton = get_layout(layout)
        self.in_channels, self.num_joints, self.num_persons = in_channels, skeleton.num_joints, num_persons
        self.graph = build_adjacency(skeleton, "binary")
        adjacency = disentangled_adjacency(skeleton, num_gcn_scales, normalization=normalization)
        windows = [
            (window, disentangled_adjacency(skeleton, num_g3d_scales, window, normalization=normalization))
            for window in window_sizes
        ]
        self.data_norm = DataNorm(num_persons, self.num_joints, in_channels, per_person=True)
        widths = [base_channels * 2**index for index in range(num_blocks)]
        self.blocks = nn.Sequential(
            MSG3DBlock(in_channels, widths[0], widths[0], 1, adjacency, windows),
            *(MSG3DBlock(width, width, 2 * width, 2, adjacency, windows) for width in widths[:-1]),
        )
        initializer = uniform_by_fan_in(widths[-1])
        self.fc = nn.Linear(widths[-1], num_classes, weight_attr=initializer, bias_attr=initializer)

    def forward(self, x):
        """Map skeletons (N, in_channels, T, V, M) to logits (N, num_classes).

        Raises:
            ValueError: the input has another number of axes, channels, joints or persons.
        """
        check_skeletons(x, self.in_channels, self.num_joints, self.num_persons, "MSG3D")
        x = self.data_norm(x).transpose([0, 1, 3, 2])  # (N, C, T, V, M) -> (N M, C, V, T)
        return self.fc(pool_persons(self.blocks(x), self.num_persons))

    def list_blocks(self) -> list:
        """Return the units of the blocks, which are large."""
        units = ((block.graph, *block.temporal, *block.windows, block.last) for block in self.blocks)
        return [unit for block_units in units for unit in block_units]

    def fixed_tensors(self) -> dict:
        """Return the graphs of all convolutions, and the one that they are made of, which PYSKL's files have."""
        return {**super().fixed_tensors(), "A": self.graph}
