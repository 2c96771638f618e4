"""3-D residual networks for clips, depths 10 to 200.

Paper: "Can Spatiotemporal 3D CNNs Retrace the History of 2D CNNs and ImageNet?", K. Hara, H. Kataoka, Y. Satoh,
CVPR 2018, arXiv:1711.09577. Official repository: https://github.com/kenshohara/3D-ResNets-PyTorch (May 2020).

Where we differ: the official type-A shortcut is cut out of the gradient (it reads the tensor's data), so that nothing
is learnt through it. Ours lets the gradient pass, as a residual network intends; the logits are the same.

Parameter names are the official ones.
"""

import math

import paddle.nn.functional as F
from paddle import nn

from models.weights import keep_names


def conv3d(in_channels: int, out_channels: int, kernel_size: tuple, stride=1) -> nn.Conv3D:
    """Make a convolution without bias that keeps the size (but for `stride`), He-normal by fan-out."""
    fan_out = out_channels * math.prod(kernel_size)
    return nn.Conv3D(
        in_channels,
        out_channels,
        kernel_size,
        stride=stride,
        padding=[size // 2 for size in kernel_size],
        weight_attr=nn.initializer.Normal(0.0, math.sqrt(2.0 / fan_out)),
        bias_attr=False,
    )


class BasicBlock(nn.Layer):
    """Two 3x3x3 convolutions; the first one strides."""

    expansion = 1

    def __init__(self, in_channels: int, planes: int, stride: int, downsample: nn.Layer | None):
        super().__init__()
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
    """1x1x1, 3x3x3 and 1x1x1 convolutions; the middle one strides, the last one widens fourfold."""

    expansion = 4

    def __init__(self, in_channels: int, planes: int, stride: int, downsample: nn.Layer | None):
        super().__init__()
        self.conv1 = conv3d(in_channels, planes, (1, 1, 1))
        self.bn1 = nn.BatchNorm3D(planes)
        self.conv2 = conv3d(planes, planes, (3, 3, 3), stride)
        self.bn2 = nn.BatchNorm3D(planes)
        self.conv3 = conv3d(planes, planes * self.expansion, (1, 1, 1))
        self.bn3 = nn.BatchNorm3D(planes * self.expansion)
        self.downsample = downsample

    def forward(self, x):
        """Map (N, in_channels, T, H, W) to (N, 4 planes, T/stride, H/stride, W/stride), sizes rounded up."""
        shortcut = x if self.downsample is None else self.downsample(x)
        x = F.relu(self.bn1(self.conv1(x)))
        x = F.relu(self.bn2(self.conv2(x)))
        x = self.bn3(self.conv3(x))
        return F.relu(x + shortcut)


class ZeroPadShortcut(nn.Layer):
    """Type-A shortcut: every `stride`-th voxel, then channels of zeros; it has no parameters."""

    def __init__(self, in_channels: int, out_channels: int, stride: int):
        super().__init__()
        self.stride = stride
        self.new_channels = out_channels - in_channels

    def forward(self, x):
        """Map (N, in_channels, T, H, W) to (N, out_channels, T/stride, H/stride, W/stride), sizes rounded up."""
        step = self.stride
        x = x[:, :, ::step, ::step, ::step]
        return F.pad(x, [0, 0, 0, self.new_channels, 0, 0, 0, 0, 0, 0])  # begin and end of N, C, T, H, W


def make_stage(block, in_channels: int, planes: int, num_blocks: int, stride: int, shortcut: str) -> nn.Sequential:
    """Chain `num_blocks` blocks; only the first one strides and, where its output differs in size, has a `shortcut`."""
    out_channels = planes * block.expansion
    downsample = None
    if stride != 1 or in_channels != out_channels:
        downsample = make_shortcut(in_channels, out_channels, stride, shortcut)
    blocks = [block(in_channels, planes, stride, downsample)]
    blocks += [block(out_channels, planes, 1, None) for _ in range(num_blocks - 1)]
    return nn.Sequential(*blocks)


def make_shortcut(in_channels: int, out_channels: int, stride: int, shortcut: str) -> nn.Layer:
    """Make a type-A (parameter-free) or type-B (1x1x1 convolution and BN) shortcut."""
    if shortcut == "A":
        return ZeroPadShortcut(in_channels, out_channels, stride)
    return nn.Sequential(conv3d(in_channels, out_channels, (1, 1, 1), stride), nn.BatchNorm3D(out_channels))


STAGES = {
    10: (BasicBlock, (1, 1, 1, 1)),
    18: (BasicBlock, (2, 2, 2, 2)),
    34: (BasicBlock, (3, 4, 6, 3)),
    50: (Bottleneck, (3, 4, 6, 3)),
    101: (Bottleneck, (3, 4, 23, 3)),
    152: (Bottleneck, (3, 8, 36, 3)),
    200: (Bottleneck, (3, 24, 36, 3)),
}


class ResNet3D(nn.Layer):
    """3D-ResNet: stem, four stages, global average pool, linear.

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

    TORCH_SOURCES = {"3d-resnets-pytorch": keep_names}

    def __init__(
        self,
        num_classes: int,
        depth: int = 50,
        shortcut: str = "B",
        conv1_t_size: int = 7,
        conv1_t_stride: int = 1,
        no_max_pool: bool = False,
        widen_factor: float = 1.0,
        in_channels: int = 3,
    ):
        super().__init__()
        if depth not in STAGES:
            raise ValueError(f"ResNet3D: depth must be one of {', '.join(map(str, STAGES))}, got {depth!r}")
        if shortcut not in ("A", "B"):
            raise ValueError(f"ResNet3D: shortcut must be 'A' or 'B', got {shortcut!r}")
        widths = [int(planes * widen_factor) for planes in (64, 128, 256, 512)]
        if widths[0] < 1:
            raise ValueError(f"ResNet3D: widen_factor must be at least 1/64, got {widen_factor!r}")
        block, num_blocks = STAGES[depth]
        channels = [width * block.expansion for width in widths]
        self.in_channels = in_channels
        self.conv1 = conv3d(in_channels, widths[0], (conv1_t_size, 7, 7), (conv1_t_stride, 2, 2))
        self.bn1 = nn.BatchNorm3D(widths[0])
        self.maxpool = None if no_max_pool else nn.MaxPool3D(3, stride=2, padding=1)
        self.layer1 = make_stage(block, widths[0], widths[0], num_blocks[0], 1, shortcut)
        self.layer2 = make_stage(block, channels[0], widths[1], num_blocks[1], 2, shortcut)
        self.layer3 = make_stage(block, channels[1], widths[2], num_blocks[2], 2, shortcut)
        self.layer4 = make_stage(block, channels[2], widths[3], num_blocks[3], 2, shortcut)
        bound = 1.0 / math.sqrt(channels[3])
        uniform = nn.initializer.Uniform(-bound, bound)
        self.fc = nn.Linear(channels[3], num_classes, weight_attr=uniform, bias_attr=uniform)

    def forward_features(self, x) -> list:
        """Give the outputs of the four stages for clips (N, in_channels, T, H, W).

        A clip of 16 x 112 x 112 and the default stem give 8 x 28 x 28, 4 x 14 x 14, 2 x 7 x 7, 1 x 4 x 4 in T, H, W.

        Raises:
            ValueError: the input has another number of axes or channels.
        """
        self._check_input(x)
        x = F.relu(self.bn1(self.conv1(x)))  # (N, C, T, H, W) -> (N, 64, T, H/2, W/2)
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

    def _check_input(self, x):
        if len(x.shape) != 5 or x.shape[1] != self.in_channels:
            raise ValueError(
                f"ResNet3D: expected input (N, {self.in_channels}, T, H, W), got {tuple(x.shape)}; "
                "check the reader's axis order, or MODEL.in_channels"
            )
