"""3D-DenseNet: each layer takes the outputs of all layers before it.

Paper: "Densely Connected Convolutional Networks", G. Huang, Z. Liu, L. van der Maaten, K. Q. Weinberger, CVPR 2017,
arXiv:1608.06993; in 3-D by Hara et al. (see `ResNet3D`). Official repository:
https://github.com/kenshohara/3D-ResNets-PyTorch (May 2020).

Where we differ: the official network cannot be constructed, its number of classes has two names.
"""

import paddle
import paddle.nn.functional as F
from paddle import nn

from common.ranges import Count
from models.parts.action_model import ActionModel, ExplainedLayer
from models.parts.layers import check_clips, conv3d, uniform_by_fan_in
from models.parts.weights import keep_names

NUM_LAYERS = {121: (6, 12, 24, 16), 169: (6, 12, 32, 32), 201: (6, 12, 48, 32), 264: (6, 12, 64, 48)}  # of each block
BOTTLENECK_RATIO = 4  # output channels of a layer's 1x1x1 convolution / growth rate
MIN_BLOCK_SIZE = 8  # frames, rows and columns of the first block, of which three halvings leave 1


class DenseLayer(nn.Layer):
    """1x1x1 and 3x3x3 convolutions, each after batch norm and ReLU, that add `growth_rate` channels."""

    def __init__(self, in_channels: int, growth_rate: int):
        super().__init__()
        mid_channels = BOTTLENECK_RATIO * growth_rate
        self.norm1 = nn.BatchNorm3D(in_channels)
        self.conv1 = conv3d(in_channels, mid_channels, (1, 1, 1))
        self.norm2 = nn.BatchNorm3D(mid_channels)
        self.conv2 = conv3d(mid_channels, growth_rate, (3, 3, 3))

    def forward(self, x):
        """Map (N, in_channels, T, H, W) to (N, in_channels + growth_rate, T, H, W)."""
        y = self.conv1(F.relu(self.norm1(x)))
        y = self.conv2(F.relu(self.norm2(y)))
        return paddle.concat([x, y], axis=1)


class Transition(nn.Layer):
    """Batch norm, ReLU, a 1x1x1 convolution to half the channels, and an average pool that halves T, H and W."""

    def __init__(self, in_channels: int):
        super().__init__()
        self.norm = nn.BatchNorm3D(in_channels)
        self.conv = conv3d(in_channels, in_channels // 2, (1, 1, 1))

    def forward(self, x):
        """Map (N, in_channels, T, H, W) to (N, in_channels/2, T/2, H/2, W/2), rounded down."""
        x = self.conv(F.relu(self.norm(x)))
        return F.avg_pool3d(x, kernel_size=2, stride=2)


def make_block(in_channels: int, growth_rate: int, num_layers: int) -> nn.Sequential:
    """Chain `num_layers` dense layers, numbered from 1."""
    return nn.Sequential(
        *(
            (f"denselayer{number + 1}", DenseLayer(in_channels + number * growth_rate, growth_rate))
            for number in range(num_layers)
        )
    )


class DenseNet3D(ActionModel):
    """3D-DenseNet: stem, four dense blocks with transitions between, batch norm, global average pool, linear.

    Args:
        num_classes: number of logits.
        depth: 121, 169, 201 or 264.
        growth_rate: channels that each layer adds.
        num_init_features: channels of the stem.
        conv1_t_size: temporal size of the stem's kernel, in frames.
        conv1_t_stride: temporal stride of the stem.
        no_max_pool: leave out the stem's max pool, which halves T, H and W.
        in_channels: channels of a frame; 3 for RGB, 2 for optical flow.

    Raises:
        ValueError: an unknown depth, or a width without channels.
    """

    WEIGHT_SOURCES = {"3d-resnets-pytorch": keep_names}

    def __init__(
        self,
        num_classes: Count,
        depth: Count = 121,
        growth_rate: Count = 32,
        num_init_features: Count = 64,
        conv1_t_size: Count = 7,
        conv1_t_stride: Count = 1,
        no_max_pool: bool = False,
        in_channels: Count = 3,
    ):
        super().__init__()
        if depth not in NUM_LAYERS:
            raise ValueError(f"DenseNet3D: depth must be one of {', '.join(map(str, NUM_LAYERS))}, got {depth!r}")
        if min(growth_rate, num_init_features) < 1:
            raise ValueError(
                "DenseNet3D: growth_rate and num_init_features must be 1 or more, "
                f"got {growth_rate!r} and {num_init_features!r}"
            )
        self.in_channels = in_channels
        self.min_size = _find_min_size((conv1_t_size, 7, 7), (conv1_t_stride, 2, 2), no_max_pool)
        width = num_init_features
        self.features = nn.Sequential(
            ("conv1", conv3d(in_channels, width, (conv1_t_size, 7, 7), (conv1_t_stride, 2, 2))),
            ("norm1", nn.BatchNorm3D(width)),
            ("relu1", nn.ReLU()),
        )
        if not no_max_pool:
            self.features.add_sublayer("pool1", nn.MaxPool3D(3, stride=2, padding=1))
        for number, num_layers in enumerate(NUM_LAYERS[depth], start=1):
            self.features.add_sublayer(f"denseblock{number}", make_block(width, growth_rate, num_layers))
            width += num_layers * growth_rate
            if number < len(NUM_LAYERS[depth]):
                self.features.add_sublayer(f"transition{number}", Transition(width))
                width //= 2
        self.features.add_sublayer("norm5", nn.BatchNorm3D(width))
        self.classifier = nn.Linear(
            width, num_classes, weight_attr=uniform_by_fan_in(width)
        )  # its bias is initialised as 0

    def forward(self, x):
        """Map clips (N, in_channels, T, H, W) to logits (N, num_classes).

        Raises:
            ValueError: another number of axes or channels, or a clip that is too short or small for three transitions.
        """
        check_clips(x, self.in_channels, "DenseNet3D")
        if paddle.in_dynamic_mode():  # sizes may be unknown while the network is exported
            self._check_size(x)
        # A clip of 16 x 112 x 112 has 8 x 28 x 28, 4 x 14 x 14, 2 x 7 x 7 and 1 x 3 x 3 in the four blocks.
        x = F.relu(self.features(x))
        x = x.mean(axis=[2, 3, 4])  # (N, C, T, H, W) -> (N, C)
        return self.classifier(x)

    def list_classifiers(self) -> list:
        """Return the linear layer."""
        return [self.classifier]

    def list_explained_layers(self) -> list:
        """Return the last dense block with its batch norm, then those before it."""
        return [
            ExplainedLayer(layer)
            for layer in (self.features, *(getattr(self.features, f"denseblock{number}") for number in (3, 2, 1)))
        ]

    def _check_size(self, x):
        got, (frames, height, width) = x.shape[2:], self.min_size
        if got[0] < frames or got[1] < height or got[2] < width:
            raise ValueError(
                f"DenseNet3D: expected clips of at least {frames} frames of {height} x {width}, got {got[0]} frames of "
                f"{got[1]} x {got[2]}; set READER.clip_len and crop_size, or MODEL.no_max_pool = True"
            )


def _find_min_size(kernel_size: tuple, stride: tuple, no_max_pool: bool) -> list:
    stem_size = MIN_BLOCK_SIZE if no_max_pool else 2 * MIN_BLOCK_SIZE - 1
    return [(stem_size - 1) * step + size - 2 * (size // 2) for size, step in zip(kernel_size, stride, strict=True)]
