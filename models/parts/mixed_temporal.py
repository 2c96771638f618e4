"""The block that STGCN++, DG-STGCN and ProtoGCN share: a graph convolution, then branches over time that are mixed.

Papers: "PYSKL: Towards Good Practices for Skeleton Action Recognition", H. Duan et al., ACM MM 2022, arXiv:2205.09443;
"DG-STGCN: Dynamic Spatial-Temporal Modeling for Skeleton-based Action Recognition", H. Duan et al., arXiv:2210.05895.
Official repository: https://github.com/kennymckormick/pyskl (`mstcn` and `dgmstcn`).

Where we differ: the 1x1 convolutions that reduce the channels of the branches are one layer, and so are their batch
norms.
"""

import re

import paddle
import paddle.nn.functional as F
from paddle import nn

from models.parts.products import Product
from models.parts.temporal import branch_conv

DILATIONS = (1, 2, 3, 4)  # of the temporal convolutions, in frames
KERNEL_SIZE = 3  # of the temporal convolutions and of the max pool, in frames
NUM_BRANCHES = len(DILATIONS) + 2
MIN_BODY_WEIGHTS = 25  # PYSKL's layers have as many for fewer joints, too


class MixedTemporalConv(nn.Layer):
    """Parallel branches over time, mixed by a 1x1 convolution: four dilations, a max pool, a 1x1 convolution.

    A 1x1 convolution, batch norm and ReLU reduce the channels before convolutions and pool. Batch norm, ReLU and a 1x1
    convolution mix the outputs, and batch norm follows.

    Args:
        num_channels: of input and output; each branch has a sixth, the first one also the remainder.
        stride: of all branches, in frames.
        num_joints: append the mean over so many joints as one more joint, and add its output to that of each joint,
            times a learnt weight, before the mixing; 0: do not.
    """

    def __init__(self, num_channels: int, stride: int = 1, num_joints: int = 0):
        super().__init__()
        width = num_channels // NUM_BRANCHES
        self.num_joints = num_joints
        self.widths = [num_channels - (NUM_BRANCHES - 1) * width, *[width] * len(DILATIONS)]
        self.reduce = branch_conv(num_channels, sum(self.widths), uniform=True)
        self.reduce_norm = nn.BatchNorm2D(sum(self.widths))
        self.convs = nn.LayerList(
            branch_conv(width, width, KERNEL_SIZE, stride, dilation, uniform=True)
            for width, dilation in zip(self.widths[:-1], DILATIONS, strict=True)
        )
        self.pool = nn.MaxPool2D([KERNEL_SIZE, 1], [stride, 1], [KERNEL_SIZE // 2, 0])
        self.point = branch_conv(num_channels, width, stride=stride, uniform=True)
        if num_joints:
            self.body_weights = self.create_parameter(
                [max(num_joints, MIN_BODY_WEIGHTS)], default_initializer=nn.initializer.Constant(0.0)
            )
            self.spread = Product(paddle.matmul)
        self.mix_norm = nn.BatchNorm2D(num_channels)
        self.mix = branch_conv(num_channels, num_channels, uniform=True)
        self.norm = nn.BatchNorm2D(num_channels)

    def forward(self, x):
        """Map (B, num_channels, T, V) to (B, num_channels, T/stride, V), T rounded up."""
        if self.num_joints:
            x = paddle.concat([x, x.mean(axis=3, keepdim=True)], axis=3)  # -> (B, C, T, V + 1)
        reduced = F.relu(self.reduce_norm(self.reduce(x))).split(self.widths, axis=1)
        outputs = [conv(reduced[index]) for index, conv in enumerate(self.convs)]
        y = paddle.concat([*outputs, self.pool(reduced[-1]), self.point(x)], axis=1)
        if self.num_joints:
            joints, body = y.split([self.num_joints, 1], axis=3)
            y = joints + self.spread(body, self.body_weights[: self.num_joints].reshape([1, -1]))
        return self.norm(self.mix(F.relu(self.mix_norm(y))))


class MixedBlock(nn.Layer):
    """A graph convolution and a `MixedTemporalConv`, with a shortcut past both if `residual`.

    Args:
        graph: maps (B, in_channels, T, V) to (B, out_channels, T, V).
        in_channels: of the input.
        out_channels: of the output.
        stride: in frames.
        residual: add the input, through a 1x1 convolution and batch norm where the size changes.
        num_joints: see `MixedTemporalConv`.
    """

    def __init__(
        self, graph: nn.Layer, in_channels: int, out_channels: int, stride: int, residual: bool, num_joints: int = 0
    ):
        super().__init__()
        self.graph = graph
        self.temporal = MixedTemporalConv(out_channels, stride, num_joints)
        changes = in_channels != out_channels or stride != 1
        self.has_residual = residual
        self.shortcut = project(in_channels, out_channels, stride) if residual and changes else None

    def forward(self, x, *graph_inputs):
        """Map (B, in_channels, T, V), and what else the graph convolution takes, to (B, out_channels, T/stride, V)."""
        y = self.temporal(self.graph(x, *graph_inputs))
        if self.has_residual:
            y = y + (x if self.shortcut is None else self.shortcut(x))
        return F.relu(y)


def check_width(base_channels: int, model_name: str) -> None:
    """Check that each branch of a temporal unit has channels.

    Raises:
        ValueError: a narrower network.
    """
    if base_channels < NUM_BRANCHES:
        raise ValueError(
            f"{model_name}: base_channels must be at least {NUM_BRANCHES}, one for each branch, got {base_channels!r}"
        )


def project(in_channels: int, out_channels: int, stride: int = 1) -> nn.Sequential:
    """Make a 1x1 convolution, initialised as PyTorch does by default, and batch norm."""
    conv = branch_conv(in_channels, out_channels, stride=stride, uniform=True)
    return nn.Sequential(conv, nn.BatchNorm2D(out_channels))


TEMPORAL_LAYERS = {  # PYSKL's name in a temporal unit, with the branch as `{}` -> ours
    "branches.{}.0": "reduce",
    "branches.{}.1": "reduce_norm",
    "branches.{}.3.conv": "convs.{}",
    f"branches.{NUM_BRANCHES - 1}": "point",
    "transform.0": "mix_norm",
    "transform.2": "mix",
    "bn": "norm",
}


def map_mixed_name(name: str) -> tuple:
    """Map PYSKL's name of a tensor of a network of such blocks to (ours, sort key); see `weights.merge_weights`.

    Names within a graph convolution, after `graph.`, stay PYSKL's.
    """
    found = re.fullmatch(r"backbone\.gcn\.(\d+)\.(gcn|tcn|residual)\.(.+)", name)
    if not found:
        name = re.sub(r"^cls_head\.fc(_cls)?\.", "fc.", name)  # "fc" in MMAction2
        return name.replace("backbone.data_bn.", "data_norm.norm."), 0
    block, unit, rest = found.groups()
    if unit == "residual":
        rest = re.sub("^conv", "0", re.sub("^bn", "1", rest))
        return f"blocks.{block}.shortcut.{rest}", 0
    if unit == "gcn":
        return f"blocks.{block}.graph.{rest}", 0
    if rest == "add_coeff":
        return f"blocks.{block}.temporal.body_weights", 0
    layer, _, tensor = rest.rpartition(".")
    branch = re.search(r"(?<=branches\.)\d+", layer)
    branch = branch[0] if branch else "0"
    pattern = re.sub(rf"branches\.{branch}(?=\.)", "branches.{}", layer)
    return f"blocks.{block}.temporal.{TEMPORAL_LAYERS.get(pattern, layer).format(branch)}.{tensor}", int(branch)
