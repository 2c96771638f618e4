"""R(2+1)D: residual networks whose 3-D convolutions are a spatial one and then a temporal one, with a ReLU between.

Paper: "A Closer Look at Spatiotemporal Convolutions for Action Recognition", D. Tran, H. Wang, L. Torresani, J. Ray,
Y. LeCun, M. Paluri, CVPR 2018, arXiv:1711.11248. The layout is not that of its authors but that of
https://github.com/kenshohara/3D-ResNets-PyTorch (May 2020), whose checkpoints fit: it is the layout of `ResNet3D`, so
the stem spans 7 frames, the max pool halves T too, and 1x1x1 convolutions and type-B shortcuts are not factorized.

Where we differ from that repository: the gradient passes type-A shortcuts (see `ResNet3D`).
"""

import paddle.nn.functional as F
from paddle import nn

from common.ranges import Count, Positive
from models.parts.layers import conv3d
from models.rgb.resnet3d import PLANES, VideoResNet, make_shortcut


def count_mid_channels(in_channels: int, out_channels: int) -> int:
    """Count the channels between 1x3x3 and 3x1x1 with which both have as many weights as a 3x3x3 (section 3.5)."""
    return 27 * in_channels * out_channels // (9 * in_channels + 3 * out_channels)


class BasicBlock2Plus1D(nn.Layer):
    """Two pairs of a 1x3x3 and a 3x1x1 convolution; the first pair strides."""

    def __init__(self, in_channels: int, planes: int, stride: int, shortcut: str):
        super().__init__()
        self.out_channels = planes
        mid_channels = count_mid_channels(in_channels, planes)
        self.conv1_s = conv3d(in_channels, mid_channels, (1, 3, 3), (1, stride, stride))
        self.bn1_s = nn.BatchNorm3D(mid_channels)
        self.conv1_t = conv3d(mid_channels, planes, (3, 1, 1), (stride, 1, 1))
        self.bn1_t = nn.BatchNorm3D(planes)
        mid_channels = count_mid_channels(planes, planes)
        self.conv2_s = conv3d(planes, mid_channels, (1, 3, 3))
        self.bn2_s = nn.BatchNorm3D(mid_channels)
        self.conv2_t = conv3d(mid_channels, planes, (3, 1, 1))
        self.bn2_t = nn.BatchNorm3D(planes)
        self.downsample = make_shortcut(in_channels, planes, stride, shortcut)

    def forward(self, x):
        """Map (N, in_channels, T, H, W) to (N, planes, T/stride, H/stride, W/stride), sizes rounded up."""
        shortcut = x if self.downsample is None else self.downsample(x)
        x = F.relu(self.bn1_s(self.conv1_s(x)))
        x = F.relu(self.bn1_t(self.conv1_t(x)))
        x = F.relu(self.bn2_s(self.conv2_s(x)))
        x = self.bn2_t(self.conv2_t(x))
        return F.relu(x + shortcut)


class Bottleneck2Plus1D(nn.Layer):
    """1x1x1, 1x3x3, 3x1x1 and 1x1x1 convolutions; the middle pair strides, the last one widens fourfold."""

    def __init__(self, in_channels: int, planes: int, stride: int, shortcut: str):
        super().__init__()
        self.out_channels = 4 * planes
        mid_channels = count_mid_channels(planes, planes)
        self.conv1 = conv3d(in_channels, planes, (1, 1, 1))
        self.bn1 = nn.BatchNorm3D(planes)
        self.conv2_s = conv3d(planes, mid_channels, (1, 3, 3), (1, stride, stride))
        self.bn2_s = nn.BatchNorm3D(mid_channels)
        self.conv2_t = conv3d(mid_channels, planes, (3, 1, 1), (stride, 1, 1))
        self.bn2_t = nn.BatchNorm3D(planes)
        self.conv3 = conv3d(planes, self.out_channels, (1, 1, 1))
        self.bn3 = nn.BatchNorm3D(self.out_channels)
        self.downsample = make_shortcut(in_channels, self.out_channels, stride, shortcut)

    def forward(self, x):
        """Map (N, in_channels, T, H, W) to (N, 4 planes, T/stride, H/stride, W/stride), sizes rounded up."""
        shortcut = x if self.downsample is None else self.downsample(x)
        x = F.relu(self.bn1(self.conv1(x)))
        x = F.relu(self.bn2_s(self.conv2_s(x)))
        x = F.relu(self.bn2_t(self.conv2_t(x)))
        x = self.bn3(self.conv3(x))
        return F.relu(x + shortcut)


BLOCKS = {**dict.fromkeys((10, 18, 34), BasicBlock2Plus1D), **dict.fromkeys((50, 101, 152, 200), Bottleneck2Plus1D)}


class R2Plus1D(VideoResNet):
    """R(2+1)D.

    Args:
        num_classes: number of logits.
        depth: 10, 18, 34 (basic blocks), 50, 101, 152 or 200 (bottlenecks).
        shortcut: "B" (1x1x1 convolution and BN) or "A" (subsampling and zero channels).
        conv1_t_size: size of the stem's temporal kernel, in frames.
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

    def make_stem(self, in_channels: int, width: int, t_size: int, t_stride: int) -> None:
        """Add the layers before the max pool: 1x7x7, then along time."""
        # As many weights as a t_size x 7 x 7 convolution of RGB; the official code uses 3 channels for flow as well.
        mid_channels = 3 * width * t_size * 49 // (3 * 49 + width * t_size)
        self.conv1_s = conv3d(in_channels, mid_channels, (1, 7, 7), (1, 2, 2))
        self.bn1_s = nn.BatchNorm3D(mid_channels)
        self.conv1_t = conv3d(mid_channels, width, (t_size, 1, 1), (t_stride, 1, 1))
        self.bn1_t = nn.BatchNorm3D(width)

    def run_stem(self, x):
        """Map (N, in_channels, T, H, W) to (N, width, T/t_stride, H/2, W/2), sizes rounded up."""
        x = F.relu(self.bn1_s(self.conv1_s(x)))
        return F.relu(self.bn1_t(self.conv1_t(x)))
