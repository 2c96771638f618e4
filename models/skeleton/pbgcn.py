"""PB-GCN: graph convolutions with separate weights for each part of the body.

Paper: "Part-based Graph Convolutional Network for Action Recognition", K. Thakkar, P. J. Narayanan, BMVC 2018,
arXiv:1809.04983. Official repository: https://github.com/kalpitthakkar/pb-gcn (abe3a3c).

Where we differ: the convolutions of all parts are one layer, initialised like the official ones. `multiscale` cannot
run in the official code: it passes half a channel count as a float, and chains two units of which the second expects
the input of the first. Ours are parallel, each of half the width. Official layers that are never used are not trained
here (`data_norm` without `use_data_bn`) or left out (the batch norm that `use_local_bn` replaces).
"""

import re

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import nn

from common.ranges import Count, PartialShare
from layouts import get_layout
from models.parts.action_model import ActionModel
from models.parts.graphs import build_adjacency
from models.parts.layers import he_normal_by_fan_out, uniform_by_fan_in
from models.parts.products import Product
from models.parts.skeleton_layers import Aggregate, DataNorm, check_skeletons, pool_persons, temporal_conv

LABELINGS = {  # the authors' names of the ways to split neighbours into subsets -> ours in `graphs.STRATEGIES`
    "uniform": "uniform",
    "distance": "neighbours",
    "distance*": "distance*",
    "spatial": "inward_outward",
    "DAD": "DAD",
    "DLD": "DLD",
    "parts": "parts",
    "parts+spatial": "parts+spatial",
}
LAYERS = (  # input channels, output channels, stride in frames, of each residual unit
    (64, 64, 1), (64, 64, 1), (64, 64, 1),
    (64, 128, 2), (128, 128, 1), (128, 128, 1),
    (128, 256, 2), (256, 256, 1), (256, 256, 1),
)  # fmt: skip


class PartConv(nn.Layer):
    """The graph convolution: a sum over the neighbours in each subset, with weights for each subset.

    Args:
        in_channels: of the input.
        out_channels: of the output.
        adjacency: (P, V, V) of P subsets; [p, v, w] is the weight of the edge from joint v to joint w.
        mask_learning: train a factor for each entry of `adjacency`.
    """

    def __init__(self, in_channels: int, out_channels: int, adjacency: np.ndarray, mask_learning: bool):
        super().__init__()
        num_subsets = len(adjacency)
        self.aggregate, self.convolve = Aggregate(), Product(F.conv2d)
        self.register_buffer("adjacency", paddle.to_tensor(adjacency[None]), persistable=False)
        self.mask = None
        if mask_learning:
            self.mask = self.create_parameter(self.adjacency.shape, default_initializer=nn.initializer.Constant(1.0))
        self.weight = self.create_parameter(
            [out_channels, num_subsets * in_channels, 1, 1], default_initializer=he_normal_by_fan_out(out_channels)
        )
        self.bias = self.create_parameter([num_subsets, out_channels, 1, 1], is_bias=True)

    def forward(self, x):
        """Map (B, in_channels, T, V) to (B, out_channels, T, V)."""
        adjacency = self.adjacency if self.mask is None else self.adjacency * self.mask
        x = self.aggregate(x, adjacency.flatten(0, 1))  # -> (B, P C, T, V)
        # Faster than the bias of conv2d, see `SkeletonConv2D`.
        return self.convolve(x, self.weight) + self.bias.sum(axis=0)


class JointNorm(nn.Layer):
    """Batch norm with a scale and a shift for each channel of each joint."""

    def __init__(self, num_channels: int, num_joints: int):
        super().__init__()
        self.num_channels, self.num_joints = num_channels, num_joints
        self.norm = nn.BatchNorm1D(num_channels * num_joints)

    def forward(self, x):
        """Map (B, C, T, V) to the same shape."""
        x = self.norm(x.transpose([0, 1, 3, 2]).flatten(1, 2))  # -> (B, C V, T)
        return x.reshape([0, self.num_channels, self.num_joints, -1]).transpose([0, 1, 3, 2])


class PartUnit(nn.Layer):
    """A graph convolution and a strided temporal convolution, each with batch norm and ReLU.

    Args:
        in_channels: of the input.
        out_channels: of both convolutions.
        kernel_size: of the temporal convolution, in frames.
        stride: of the temporal convolution, in frames.
        adjacency: (P, V, V).
        mask_learning: see `PartConv`.
        use_local_bn: `JointNorm` instead of batch norm after the graph convolution.
        dropout: dropout ratio between the convolutions.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int,
        adjacency: np.ndarray,
        mask_learning: bool,
        use_local_bn: bool,
        dropout: float,
    ):
        super().__init__()
        self.graph = PartConv(in_channels, out_channels, adjacency, mask_learning)
        self.graph_norm = JointNorm(out_channels, adjacency.shape[1]) if use_local_bn else nn.BatchNorm2D(out_channels)
        self.dropout = nn.Dropout(dropout)
        self.temporal = temporal_conv(out_channels, out_channels, kernel_size, stride)
        self.temporal_norm = nn.BatchNorm2D(out_channels)

    def forward(self, x):
        """Map (B, in_channels, T, V) to (B, out_channels, T/stride, V), T rounded up."""
        x = F.relu(self.graph_norm(self.graph(x)))
        return F.relu(self.temporal_norm(self.temporal(self.dropout(x))))


class ResidualPartUnit(nn.Layer):
    """A part unit, or two parallel ones of half the width, and a shortcut.

    Args:
        in_channels: of the input.
        out_channels: of the output.
        kernel_size: of the temporal convolutions, in frames.
        stride: in frames.
        multiscale: two units, the second with a temporal kernel of 2 kernel_size - 1.
        parts: the other arguments of `PartUnit`.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, stride: int, multiscale: bool, **parts):
        super().__init__()
        sizes = [(out_channels, kernel_size)]
        if multiscale:
            half = out_channels // 2
            sizes = [(half, kernel_size), (out_channels - half, 2 * kernel_size - 1)]
        self.branches = nn.LayerList(PartUnit(in_channels, *size, stride, **parts) for size in sizes)
        self.shortcut = None
        if in_channels != out_channels or stride != 1:
            self.shortcut = nn.Sequential(
                temporal_conv(in_channels, out_channels, 1, stride, bias=False), nn.BatchNorm2D(out_channels)
            )

    def forward(self, x):
        """Map (B, in_channels, T, V) to (B, out_channels, T/stride, V), T rounded up."""
        outputs = [branch(x) for branch in self.branches]
        y = paddle.concat(outputs, axis=1) if len(outputs) > 1 else outputs[0]
        return F.relu(y + (x if self.shortcut is None else self.shortcut(x)))


LAYER_NAMES = {  # the authors' -> ours
    "data_bn": "data_norm.norm",
    "head": "stem",
    "layers": "units",
    "stUnit": "branches",
    "mask": "graph.mask",
    "bn1": "graph_norm",
    "local_bn": "graph_norm.norm",
    "temporal_conv": "temporal",
    "bn2": "temporal_norm",
    "downsample": "shortcut",
    "fcn": "fc",
}


def convert_pbgcn_weights(weights: dict) -> dict:
    """Convert the weights of the official repository; those of the subsets of a graph convolution become one tensor."""
    converted, subsets = {}, {}
    for name, value in weights.items():
        if ".bn1." in name and name.replace("bn1", "local_bn") in weights:
            continue  # never used
        path, _, subset = name.partition("conv_list.")
        our_name = ".".join(LAYER_NAMES.get(layer, layer) for layer in path.split("."))
        our_name = re.sub(r"\.A$", ".graph.adjacency", our_name)
        if our_name.endswith("mask"):
            converted[our_name] = value[None]
        elif subset:
            tensor = subset.rpartition(".")[2]
            subsets.setdefault(f"{our_name}graph.{tensor}", []).append(value)
        else:
            converted[our_name] = value[:, :, 0] if our_name == "fc.weight" else value
    for name, values in subsets.items():
        is_weight = name.endswith("weight")
        converted[name] = np.concatenate(values, axis=1) if is_weight else np.stack(values)[..., None, None]
    return converted


class PBGCN(ActionModel):
    """PB-GCN: a part unit, residual part units, mean over frames, joints and persons, linear.

    Args:
        num_classes: number of logits.
        layout: joints, bones and parts, a name of `layouts.LAYOUTS` or a yaml file.
        in_channels: values of a joint; 15 for displacements and coordinates relative to four joints.
        num_persons: persons of a sample.
        labeling_mode: how neighbours are split into subsets, a key of `LABELINGS`; "parts" makes the network
            part-based: a joint itself, then the bones of each part.
        num_parts: 2, 4 or 6, of the modes "parts" and "parts+spatial".
        layers_config: [input channels, output channels, stride in frames] of each residual unit; None: `LAYERS`.
        use_data_bn: batch norm of the input, by person, joint and channel.
        mask_learning: train a factor for each edge, in each unit.
        use_local_bn: batch norm by joint, not only by channel, after graph convolutions.
        multiscale: two parallel units of half the width, the second with a temporal kernel of nearly twice the size.
        temporal_kernel_size: in frames, odd.
        dropout: dropout ratio between the convolutions of a unit.

    Raises:
        ValueError: an unknown layout or labeling mode, channels that do not follow each other, an even kernel.
    """

    TORCH_SOURCES = {"pb-gcn": convert_pbgcn_weights}

    def __init__(
        self,
        num_classes: Count,
        layout: str = "ntu25",
        in_channels: Count = 3,
        num_persons: Count = 1,
        labeling_mode: str = "uniform",
        num_parts: Count = 4,
        layers_config: list | None = None,
        use_data_bn: bool = False,
        mask_learning: bool = False,
        use_local_bn: bool = False,
        multiscale: bool = False,
        temporal_kernel_size: Count = 9,
        dropout: PartialShare = 0.5,
    ):
        super().__init__()
        layers = LAYERS if layers_config is None else layers_config
        check_layers(layers, multiscale)
        if temporal_kernel_size < 1 or temporal_kernel_size % 2 == 0:
            raise ValueError(f"PBGCN: temporal_kernel_size must be odd, got {temporal_kernel_size}")
        if labeling_mode not in LABELINGS:
            raise ValueError(f"PBGCN: labeling_mode must be one of {', '.join(LABELINGS)}, got {labeling_mode!r}")
        skeleton = get_layout(layout)
        options = {"num_parts": num_parts} if labeling_mode.startswith("parts") else {}
        self.in_channels, self.num_joints, self.num_persons = in_channels, skeleton.num_joints, num_persons
        parts = {
            "adjacency": build_adjacency(skeleton, LABELINGS[labeling_mode], **options),
            "mask_learning": mask_learning,
            "use_local_bn": use_local_bn,
            "dropout": dropout,
        }
        self.use_data_bn = use_data_bn
        self.data_norm = DataNorm(num_persons, self.num_joints, in_channels, per_person=True)
        if not use_data_bn:  # the authors' weights always have it; it is not trained
            for parameter in self.data_norm.parameters():
                parameter.stop_gradient = True
        self.stem = PartUnit(in_channels, layers[0][0], temporal_kernel_size, 1, **parts)
        self.units = nn.Sequential(
            *(
                ResidualPartUnit(width, out_channels, temporal_kernel_size, stride, multiscale, **parts)
                for width, out_channels, stride in layers
            )
        )
        num_features = layers[-1][1]
        self.fc = nn.Linear(
            num_features,
            num_classes,
            weight_attr=he_normal_by_fan_out(num_classes),
            bias_attr=uniform_by_fan_in(num_features),
        )

    def forward(self, x):
        """Map skeletons (N, in_channels, T, V, M) to logits (N, num_classes).

        Raises:
            ValueError: the input has another number of axes, channels, joints or persons.
        """
        check_skeletons(x, self.in_channels, self.num_joints, self.num_persons, "PBGCN")
        x = self.data_norm(x) if self.use_data_bn else x.transpose([0, 4, 1, 2, 3]).flatten(0, 1)
        x = self.units(self.stem(x))  # (N, C, T, V, M) -> (N M, C, T, V)
        return self.fc(pool_persons(x, self.num_persons))

    def fixed_tensors(self) -> dict:
        """Return the graphs of all convolutions, and the one that they share."""
        return {**super().fixed_tensors(), "A": self.stem.graph.adjacency.numpy()}


def check_layers(layers: list | tuple, multiscale: bool) -> None:
    """Check that each unit takes the channels of the one before.

    Raises:
        ValueError: an invalid unit; the message names it.
    """
    if not layers:
        raise ValueError("PBGCN: layers_config is empty; set [input channels, output channels, stride] of each unit")
    width = None
    for number, unit in enumerate(layers):
        numbers = list(unit) if isinstance(unit, (list, tuple)) else []
        if len(numbers) != 3 or not all(isinstance(value, int) and value > 0 for value in numbers):
            raise ValueError(
                f"PBGCN: layers_config, unit {number}: expected [input channels, output channels, stride], got {unit!r}"
            )
        if width not in (None, unit[0]):
            raise ValueError(
                f"PBGCN: layers_config, unit {number} takes {unit[0]} channels, the one before returns {width}"
            )
        width = unit[1]
        if multiscale and width < 2:
            raise ValueError(f"PBGCN: layers_config, unit {number}: multiscale halves {width} channels; set 2 or more")
