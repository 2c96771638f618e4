"""3D-ResNet, depths 10 to 200, and what the networks that follow its layout share.

Paper: "Can Spatiotemporal 3D CNNs Retrace the History of 2D CNNs and ImageNet?", K. Hara, H. Kataoka, Y. Satoh,
CVPR 2018, arXiv:1711.09577. Official repository: https://github.com/kenshohara/3D-ResNets-PyTorch (May 2020).

Where we differ: the official type-A shortcut passes no gradient (it reads the tensor's data). Ours does, as in a
residual network; the logits are the same.

Parameter names are the official ones.
"""

import paddle.nn.functional as F
from paddle import nn

from common.ranges import Count, Positive
from models.parts.action_model import ActionModel, ExplainedLayer
from models.parts.layers import check_clips, conv3d, uniform_by_fan_in
from models.parts.weights import keep_names

PLANES = (64, 128, 256, 512)  # width of the 3x3x3 convolutions in each stage
NUM_BLOCKS = {  # depth: blocks in each stage
    10: (1, 1, 1, 1),
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
    200: (3, 24, 36, 3),
}


class BasicBlock(nn.Layer):
    """Two 3x3x3 convolutions; the first one strides."""

    def __init__(self, in_channels: int, planes: int, stride: int, shortcut: str):
        super().__init__()
        self.out_channels = planes
        downsample = make_shortcut(in_channels, planes, stride, shortcut)  # its weights are drawn first
        self.conv1 = conv3d(in_channels, planes, (3, 3, 3), stride)
        self.bn1 = nn.BatchNorm3D(planes)
        self.conv2 = conv3d(planes, planes, (3, 3, 3))
        self.bn2 = nn.BatchNorm3D(planes)
        self.downsample = downsample

    def forward(self, x):
        """Map (N, in_channels, T, H, W) to (N, planes, T/stride, H/stride, W/stride), sizes rounded up."""
        shortcut = x if self.downsample is None else self.downsample(x)
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.bn2(self.conv2(x))
        return F.relu(x + shortcut)


class Bottleneck(nn.Layer):
    """1x1x1, 3x3x3 and 1x1x1 convolutions; the middle one strides.

    Args:
        in_channels: of the input.
        planes: width of the first two convolutions.
        stride: of the second convolution.
        shortcut: "A" or "B", see `make_shortcut`.
        out_channels: of the output; None: 4 * planes.
        groups: of the second convolution.
    """

    def __init__(
        self,
        in_channels: int,
        planes: int,
        stride: int,
        shortcut: str,
        out_channels: int | None = None,
        groups: int = 1,
    ):
        super().__init__()
        self.out_channels = out_channels or 4 * planes
        downsample = make_shortcut(in_channels, self.out_channels, stride, shortcut)  # its weights are drawn first
        self.conv1 = conv3d(in_channels, planes, (1, 1, 1))
        self.bn1 = nn.BatchNorm3D(planes)
        self.conv2 = conv3d(planes, planes, (3, 3, 3), stride, groups)
        self.bn2 = nn.BatchNorm3D(planes)
        self.conv3 = conv3d(planes, self.out_channels, (1, 1, 1))
        self.bn3 = nn.BatchNorm3D(self.out_channels)
        self.downsample = downsample

    def forward(self, x):
        """Map (N, in_channels, T, H, W) to (N, out_channels, T/stride, H/stride, W/stride), sizes rounded up."""
        shortcut = x if self.downsample is None else self.downsample(x)
        x = F.relu(self.bn1(self.conv1(x)))
        x = F.relu(self.bn2(self.conv2(x)))
        x = self.bn3(self.conv3(x))
        return F.relu(x + shortcut)


BLOCKS = {**dict.fromkeys((10, 18, 34), BasicBlock), **dict.fromkeys((50, 101, 152, 200), Bottleneck)}


class ZeroPadShortcut(nn.Layer):
    """Type-A shortcut: every `stride`-th voxel, then channels of zeros; it has no parameters."""

    def __init__(self, in_channels: int, out_channels: int, stride: int):
        super().__init__()
        self.stride = stride
        self.new_channels = out_channels - in_channels

    def forward(self, x):
        """Map (N, in_channels, T, H, W) to (N, out_channels, T/stride, H/stride, W/stride), sizes rounded up."""
        stride = self.stride
        x = x[:, :, ::stride, ::stride, ::stride]
        return F.pad(x, [0, 0, 0, self.new_channels, 0, 0, 0, 0, 0, 0])  # begin and end of N, C, T, H, W


def make_shortcut(in_channels: int, out_channels: int, stride: int, shortcut: str) -> nn.Layer | None:
    """Make a type-A (parameter-free) or type-B (1x1x1 convolution and BN) shortcut; None where the size stays."""
    if stride == 1 and in_channels == out_channels:
        return None
    if shortcut == "A":
        return ZeroPadShortcut(in_channels, out_channels, stride)
    return nn.Sequential(conv3d(in_channels, out_channels, (1, 1, 1), stride), nn.BatchNorm3D(out_channels))


def make_stage(block, in_channels: int, planes: int, num_blocks: int, stride: int, shortcut: str) -> nn.Sequential:
    """Chain `num_blocks` blocks; only the first one strides."""
    blocks = [block(in_channels, planes, stride, shortcut)]
    out_channels = blocks[0].out_channels
    blocks += [block(out_channels, planes, 1, shortcut) for _ in range(num_blocks - 1)]
    return nn.Sequential(*blocks)


class VideoResNet(ActionModel):
    """A 3-D residual network: stem, four stages of residual blocks, global average pool, linear.

    Args:
        blocks: depth -> function or class that makes a block from (in_channels, planes, stride, shortcut); the block
            has an attribute `out_channels`.
        planes: widths of the four stages; the first one is that of the stem, too.

    The other arguments are those of `ResNet3D`.

    Raises:
        ValueError: an unknown depth or shortcut, or a factor that leaves no channels.
    """

    WEIGHT_SOURCES = {"3d-resnets-pytorch": keep_names}

    def __init__(
        self,
        blocks: dict,
        planes: tuple,
        num_classes: int,
        depth: int,
        shortcut: str,
        conv1_t_size: int,
        conv1_t_stride: int,
        no_max_pool: bool,
        widen_factor: float,
        in_channels: int,
    ):
        super().__init__()
        name = type(self).__name__
        if depth not in blocks:
            raise ValueError(f"{name}: depth must be one of {', '.join(map(str, blocks))}, got {depth!r}")
        if shortcut not in ("A", "B"):
            raise ValueError(f"{name}: shortcut must be 'A' or 'B', got {shortcut!r}")
        widths = [int(width * widen_factor) for width in planes]
        if widths[0] < 1:
            raise ValueError(f"{name}: widen_factor must be at least 1/{planes[0]}, got {widen_factor!r}")
        self.in_channels = in_channels
        self.make_stem(in_channels, widths[0], conv1_t_size, conv1_t_stride)
        self.maxpool = None if no_max_pool else nn.MaxPool3D(3, stride=2, padding=1)
        block, num_blocks = blocks[depth], NUM_BLOCKS[depth]
        self.layer1 = make_stage(block, widths[0], widths[0], num_blocks[0], 1, shortcut)
        self.layer2 = make_stage(block, self.layer1[-1].out_channels, widths[1], num_blocks[1], 2, shortcut)
        self.layer3 = make_stage(block, self.layer2[-1].out_channels, widths[2], num_blocks[2], 2, shortcut)
        self.layer4 = make_stage(block, self.layer3[-1].out_channels, widths[3], num_blocks[3], 2, shortcut)
        num_features = self.layer4[-1].out_channels
        initializer = uniform_by_fan_in(num_features)
        self.fc = nn.Linear(num_features, num_classes, weight_attr=initializer, bias_attr=initializer)

    def make_stem(self, in_channels: int, width: int, t_size: int, t_stride: int) -> None:
        """Add the layers before the max pool."""
        self.conv1 = conv3d(in_channels, width, (t_size, 7, 7), (t_stride, 2, 2))
        self.bn1 = nn.BatchNorm3D(width)

    def run_stem(self, x):
        """Map (N, in_channels, T, H, W) to (N, width, T/t_stride, H/2, W/2), sizes rounded up."""
        return F.relu(self.bn1(self.conv1(x)))

    def forward_features(self, x) -> list:
        """Return the outputs of the four stages for clips (N, in_channels, T, H, W).

        For a clip of 16 x 112 x 112 and the default stem, T x H x W are 8 x 28 x 28, 4 x 14 x 14, 2 x 7 x 7, 1 x 4 x 4.

        Raises:
            ValueError: the input has another number of axes or channels.
        """
        check_clips(x, self.in_channels, type(self).__name__)
        x = self.run_stem(x)  # (N, C, T, H, W) -> (N, 64, T, H/2, W/2)
        if self.maxpool is not None:
            x = self.maxpool(x)  # -> (N, 64, T/2, H/4, W/4)
        features = []
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = stage(x)  # T, H and W are halved by each stage but the first
            features.append(x)
        return features

    def forward(self, x):
        """Map clips (N, in_channels, T, H, W) to logits (N, num_classes)."""
        x = self.forward_features(x)[-1]
        x = x.mean(axis=[2, 3, 4])  # (N, C, T, H, W) -> (N, C)
        return self.fc(x)

    def list_explained_layers(self) -> list:
        """Return the four stages, the last one first."""
        return [ExplainedLayer(stage) for stage in (self.layer4, self.layer3, self.layer2, self.layer1)]


class ResNet3D(VideoResNet):
    """3D-ResNet.

    Args:
        num_classes: number of logits.
        depth: 10, 18, 34 (basic blocks), 50, 101, 152 or 200 (bottlenecks).
        shortcut: "B" (1x1x1 convolution and BN) or "A" (subsampling and zero channels).
        conv1_t_size: temporal size of the stem's kernel, in frames.
        conv1_t_stride: temporal stride of the stem.
        no_max_pool: leave out the stem's max pool, which halves T, H and W.
        widen_factor: multiplies all widths, rounded down.
        in_channels: channels of a frame; 3 for RGB, 2 for optical flow.

    Raises:
        ValueError: an unknown depth or shortcut, or a factor that leaves no channels.
    """

    def __init__(
        self,
        num_classes: Count,
        depth: Count = 50,
        shortcut: str = "B",
        conv1_t_size: Count = 7,
        conv1_t_stride: Count = 1,
        no_max_pool: bool = False,
        widen_factor: Positive = 1.0,
        in_channels: Count = 3,
    ):
        stem = (conv1_t_size, conv1_t_stride, no_max_pool)
        super().__init__(BLOCKS, PLANES, num_classes, depth, shortcut, *stem, widen_factor, in_channels)
