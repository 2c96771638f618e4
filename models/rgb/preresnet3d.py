"""3-D pre-activation residual networks: batch norm and ReLU before each convolution, none after the sum.

Paper: "Identity Mappings in Deep Residual Networks", K. He, X. Zhang, S. Ren, J. Sun, ECCV 2016, arXiv:1603.05027;
in 3-D by Hara et al. (see `ResNet3D`). Official repository:
https://github.com/kenshohara/3D-ResNets-PyTorch (May 2020).

As there, and unlike the paper: the stem has a batch norm and a ReLU, a shortcut starts from the input of its block
before batch norm, a type-B shortcut ends with a batch norm, and no batch norm follows the last sum.

Where we differ: the official network cannot be constructed (an argument of its blocks has two names), and its type-A
shortcut passes no gradient; ours does.
"""

import paddle.nn.functional as F
from paddle import nn

from common.ranges import Count, Positive
from models.parts.layers import conv3d
from models.rgb.resnet3d import PLANES, VideoResNet, make_shortcut


class PreBasicBlock(nn.Layer):
    """Two 3x3x3 convolutions, each after batch norm and ReLU; the first one strides."""

    def __init__(self, in_channels: int, planes: int, stride: int, shortcut: str):
        super().__init__()
        self.out_channels = planes
        self.bn1 = nn.BatchNorm3D(in_channels)
        self.conv1 = conv3d(in_channels, planes, (3, 3, 3), stride)
        self.bn2 = nn.BatchNorm3D(planes)
        self.conv2 = conv3d(planes, planes, (3, 3, 3))
        self.downsample = make_shortcut(in_channels, planes, stride, shortcut)

    def forward(self, x):
        """Map (N, in_channels, T, H, W) to (N, planes, T/stride, H/stride, W/stride), sizes rounded up."""
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.conv1(F.relu(self.bn1(x)))
        x = self.conv2(F.relu(self.bn2(x)))
        return x + shortcut


class PreBottleneck(nn.Layer):
    """1x1x1, 3x3x3 and 1x1x1 convolutions, each after batch norm and ReLU; the middle one strides."""

    def __init__(self, in_channels: int, planes: int, stride: int, shortcut: str):
        super().__init__()
        self.out_channels = 4 * planes
        self.bn1 = nn.BatchNorm3D(in_channels)
        self.conv1 = conv3d(in_channels, planes, (1, 1, 1))
        self.bn2 = nn.BatchNorm3D(planes)
        self.conv2 = conv3d(planes, planes, (3, 3, 3), stride)
        self.bn3 = nn.BatchNorm3D(planes)
        self.conv3 = conv3d(planes, self.out_channels, (1, 1, 1))
        self.downsample = make_shortcut(in_channels, self.out_channels, stride, shortcut)

    def forward(self, x):
        """Map (N, in_channels, T, H, W) to (N, 4 planes, T/stride, H/stride, W/stride), sizes rounded up."""
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.conv1(F.relu(self.bn1(x)))
        x = self.conv2(F.relu(self.bn2(x)))
        x = self.conv3(F.relu(self.bn3(x)))
        return x + shortcut


BLOCKS = {**dict.fromkeys((10, 18, 34), PreBasicBlock), **dict.fromkeys((50, 101, 152, 200), PreBottleneck)}


class PreResNet3D(VideoResNet):
    """Pre-activation 3D-ResNet.

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
