"""MS-G3D: graph convolutions of many scales, over joints and over windows of frames.

Paper: "Disentangling and Unifying Graph Convolutions for Skeleton-Based Action Recognition", Z. Liu et al., CVPR 2020,
arXiv:2003.14111. Official repository: https://github.com/kenziyuliu/MS-G3D (Mar 2020). PYSKL's variant
(https://github.com/kennymckormick/pyskl) has `normalization="column"` and `layout="ntu25_star"`; it also gathers by the
other index of its matrices, which the conversion of its weights undoes.

Where we differ: nothing is unfolded. To gather neighbours in a window is a convolution over time that takes joints for
channels, so tensors are (B, C, V, T) inside, and channels are mixed first where that is less work. All numbers of input
channels grow at once to the width of the first stage; officially 3 and 8 only do.
"""

import re

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import nn

from layouts import get_layout
from models.parts.action_model import ActionModel
from models.parts.graphs import NORMALIZATIONS, disentangled_adjacency
from models.parts.layers import uniform_by_fan_in
from models.parts.products import Product
from models.parts.skeleton_layers import DataNorm, SkeletonConv2D, check_skeletons, pool_persons
from models.parts.temporal import MultiScaleTemporalConv, map_branch_name
from models.parts.weights import merge_weights

KERNEL_SIZE, DILATIONS = 3, (1, 2, 3, 4)  # of the temporal convolutions, in frames
NUM_BRANCHES = len(DILATIONS) + 2
INITIAL_RESIDUAL_BOUND = 1e-6  # bound of what is first added to the weights of the graph


def mixes_channels_first(in_channels: int, out_channels: int) -> bool:
    """Whether channels are mixed before joints: gathering costs the same for each channel."""
    return out_channels <= in_channels


def arrange_adjacency(adjacency: np.ndarray, window: int, mix_first: bool) -> np.ndarray:
    """Lay out weights between joints as those of a convolution over time.

    Args:
        adjacency: (K, window * V, window * V), receivers first.
        window: in frames.
        mix_first: the K scales are in the input; else in the output.

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
    """Each joint gathers those k edges away, for each scale k, from a window of frames; then channels are mixed.

    Args:
        in_channels: of the input.
        out_channels: of the output.
        adjacency: (K, window * V, window * V), as `disentangled_adjacency` makes it; what is learnt is added.
        window: in frames, odd; the output holds all the frames of each window.
        stride: from window to window, in frames.
    """

    def __init__(self, in_channels: int, out_channels: int, adjacency: np.ndarray, window: int = 1, stride: int = 1):
        super().__init__()
        num_scales, self.num_nodes, _ = adjacency.shape
        self.convolve = Product(F.conv2d, stride=[1, stride], padding=[0, window // 2])
        self.mix_first = mixes_channels_first(in_channels, out_channels)
        self.num_gathered = out_channels if self.mix_first else num_scales * in_channels
        # The matrices weigh what the first joint sends to the second.
        weights = arrange_adjacency(adjacency.transpose([0, 2, 1]), window, self.mix_first)
        self.register_buffer("adjacency", paddle.to_tensor(weights), persistable=False)
        spread = nn.initializer.Uniform(-INITIAL_RESIDUAL_BOUND, INITIAL_RESIDUAL_BOUND)
        self.residual = self.create_parameter(weights.shape, default_initializer=spread)
        spread = uniform_by_fan_in(num_scales * in_channels)
        sizes = (in_channels, num_scales * out_channels) if self.mix_first else (num_scales * in_channels, out_channels)
        self.mix = SkeletonConv2D(*sizes, 1, weight_attr=spread, bias_attr=False)
        self.bias = self.create_parameter([out_channels], default_initializer=spread)
        self.norm = nn.BatchNorm2D(out_channels)

    def forward(self, x):
        """Map (B, in_channels, V, T) to (B, out_channels, window * V, T/stride), T rounded up."""
        if self.mix_first:
            x = self.gather(self.mix(x))
        else:
            x = self.mix(self.gather(x))
        return F.relu(self.norm(x + self.bias.reshape([-1, 1, 1])))

    def gather(self, x):
        """Map (B, C K, V, T) to (B, C, window * V, T/stride), or (B, C, V, T) to (B, C K, window * V, T/stride)."""
        weight = self.adjacency + self.residual
        x = x.reshape([-1, weight.shape[1], 1, x.shape[3]])
        x = self.convolve(x, weight)
        return x.reshape([-1, self.num_gathered, self.num_nodes, x.shape[3]])


class WindowedGraphConv(nn.Layer):
    """A graph convolution of a window (G3D), and a convolution that makes one frame of each window.

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
        spread = uniform_by_fan_in(window * mid_channels)
        self.collapse = SkeletonConv2D(window * mid_channels, out_channels, 1, weight_attr=spread, bias_attr=spread)
        self.norm = nn.BatchNorm2D(out_channels)

    def forward(self, x):
        """Map (B, in_channels, V, T) to (B, out_channels, V, T/stride), T rounded up."""
        x = self.graph(x)  # -> (B, mid_channels, window * V, T/stride)
        x = x.reshape([-1, *self.sizes, x.shape[3]])
        return self.norm(self.collapse(x))


class MSG3DBlock(nn.Layer):
    """Two pathways, added: graph and temporal convolutions in turn, and graph convolutions of windows; then one more.

    Args:
        in_channels: of the input.
        mid_channels: of the graph convolutions.
        out_channels: of the output.
        stride: in frames.
        adjacency: (K, V, V), of the first pathway.
        windows: (frames, (K, window * V, window * V)) of each window, of the second.
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
            WindowedGraphConv(in_channels, mid_channels, out_channels, weights, window, stride)
            for window, weights in windows
        )
        self.last = MultiScaleTemporalConv(out_channels, out_channels, *branches, relu=True, **options)

    def forward(self, x):
        """Map (B, in_channels, V, T) to (B, out_channels, V, T/stride), T rounded up."""
        y = self.temporal(self.graph(x))
        for window in self.windows:
            y = y + window(x)
        return self.last(F.relu(y))


NAME_RULES = (  # pattern of the authors' or PYSKL's name, ours; in this order
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
    (r"\.mlp\.layers\.0\.weight$", ".mix.weight"),
    (r"\.mlp\.layers\.0\.bias$", ".bias"),
    (r"\.mlp\.layers\.1\.", ".norm."),
    (r"\bresidual\.conv\.", "shortcut.0."),
    (r"\bresidual\.bn\.", "shortcut.1."),
)


def map_msg3d_name(name: str) -> tuple:
    """Find the place of a tensor of the official MS-G3D, or PYSKL's, in ours; see `merge_weights`."""
    for pattern, ours in NAME_RULES:
        name = re.sub(pattern, ours, name)
    name = re.sub(r"^(gcn3d|sgcn|tcn)(\d)\.", lambda found: f"blocks.{int(found[2]) - 1}.", name)
    unit, _, rest = name.partition(".branches.")
    if rest:
        layer, branch = map_branch_name(rest, NUM_BRANCHES)
        return f"{unit}.{layer}", branch
    return name, 0


def convert_msg3d_weights(weights: dict) -> dict:
    """Give a state dict of the official MS-G3D our layers' names and order of axes."""
    weights = merge_weights(weights, map_msg3d_name)
    for name in list(weights):
        value = weights[name]
        if ".convs." in name and value.ndim == 4:  # a temporal convolution
            weights[name] = value.transpose([0, 1, 3, 2])
        elif name.endswith(".residual"):
            prefix = name.removesuffix("graph.residual")
            collapse = weights.get(f"{prefix}collapse.weight")  # (out, mid, 1, window, 1); joints alone have none
            window = 1 if collapse is None else collapse.shape[3]
            mix = f"{prefix}graph.mix.weight"
            weights[name], weights[mix] = arrange_graph_weights(value, weights[mix], window)
    for name, value in weights.items():
        if name.endswith(".collapse.weight"):
            weights[name] = value.reshape([len(value), -1, 1, 1])
    return weights


def convert_pyskl_msg3d_weights(weights: dict) -> dict:
    """Give a state dict of PYSKL's MS-G3D our layers' names and order of axes; its matrices have senders first."""
    return convert_msg3d_weights(
        {name: value.transpose([0, 2, 1]) if name.endswith(".PA") else value for name, value in weights.items()}
    )


def arrange_graph_weights(residual: np.ndarray, mix: np.ndarray, window: int) -> tuple:
    """Lay out the authors' tensors of a graph convolution, which stack the scales, as `MultiScaleGraphConv` does.

    Args:
        residual: (K * window * V, window * V) or (K, window * V, window * V), receivers first.
        mix: (out_channels, K * in_channels, 1, 1), scales outside.
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
        num_blocks: blocks.
        num_gcn_scales: distances between joints that a joint gathers from, its own of 0 included.
        num_g3d_scales: the same within windows.
        window_sizes: in frames, odd; one pathway each.
        normalization: of the graphs, "symmetric" (the authors') or "column" (PYSKL's).

    Raises:
        ValueError: an unknown layout or normalization, an even window, or a width below 6.
    """

    TORCH_SOURCES = {"ms-g3d": convert_msg3d_weights, "pyskl": convert_pyskl_msg3d_weights}

    def __init__(
        self,
        num_classes: int,
        layout: str = "ntu25",
        in_channels: int = 3,
        num_persons: int = 2,
        base_channels: int = 96,
        num_blocks: int = 3,
        num_gcn_scales: int = 13,
        num_g3d_scales: int = 6,
        window_sizes: list[int] | tuple = (3, 5),
        normalization: str = "symmetric",
    ):
        super().__init__()
        if normalization not in NORMALIZATIONS:
            known = " or ".join(map(repr, NORMALIZATIONS))
            raise ValueError(f"MSG3D: normalization must be {known}, got {normalization!r}")
        if base_channels < NUM_BRANCHES:
            raise ValueError(
                f"MSG3D: base_channels must be at least {NUM_BRANCHES}, one for each branch, got {base_channels!r}"
            )
        if any(window < 1 or window % 2 == 0 for window in window_sizes):
            raise ValueError(f"MSG3D: window_sizes must be odd numbers of frames, got {list(window_sizes)!r}")
        for name, number in (
            ("num_blocks", num_blocks),
            ("num_gcn_scales", num_gcn_scales),
            ("num_g3d_scales", num_g3d_scales),
        ):
            if number < 1:
                raise ValueError(f"MSG3D: {name} must be at least 1, got {number!r}")
        joints = get_layout(layout)
        self.in_channels, self.num_joints, self.num_persons = in_channels, joints.num_joints, num_persons
        adjacency = disentangled_adjacency(joints, num_gcn_scales, normalization=normalization)
        windows = [
            (window, disentangled_adjacency(joints, num_g3d_scales, window, normalization=normalization))
            for window in window_sizes
        ]
        self.data_norm = DataNorm(num_persons, self.num_joints, in_channels, per_person=True)
        widths = [base_channels * 2**number for number in range(num_blocks)]
        self.blocks = nn.Sequential(
            MSG3DBlock(in_channels, widths[0], widths[0], 1, adjacency, windows),
            *(MSG3DBlock(width, width, 2 * width, 2, adjacency, windows) for width in widths[:-1]),
        )
        spread = uniform_by_fan_in(widths[-1])
        self.fc = nn.Linear(widths[-1], num_classes, weight_attr=spread, bias_attr=spread)

    def forward(self, x):
        """Map skeletons (N, in_channels, T, V, M) to logits (N, num_classes).

        Raises:
            ValueError: the input has another number of axes, channels, joints or persons.
        """
        check_skeletons(x, self.in_channels, self.num_joints, self.num_persons, "MSG3D")
        x = self.data_norm(x).transpose([0, 1, 3, 2])  # (N, C, T, V, M) -> (N M, C, V, T)
        return self.fc(pool_persons(self.blocks(x), self.num_persons))
