"""2-D residual networks on the frames of clips: what SlowOnly and TSM share.

Paper: "Deep Residual Learning for Image Recognition", K. He, X. Zhang, S. Ren, J. Sun, CVPR 2016, arXiv:1512.03385; as
in torchvision and `paddle.vision`, the 3x3 convolution strides. Parameter names are those of torchvision.

The frames of all clips are in the batch axis, (N*T, C, H, W), so that all but few convolutions are 2-D. The authors of
SlowOnly write them as 3-D ones with kernels 1 x k x k. The outputs are the same. On a CPU so is the time, 2.6 s for the
four stages of a ResNet-50 on 8 x 224 x 224 (one core); on GPUs cuDNN has more and faster algorithms in 2-D, mixed
precision and export support 2-D convolutions best, and ImageNet weights load unchanged.
"""

import paddle.nn.functional as F
from paddle import nn

from models.parts.layers import check_clips, conv2d
from models.parts.weights import rename_weights

PLANES = (64, 128, 256, 512)  # width of the 3x3 convolutions in each stage
NUM_BLOCKS = {14: (1, 1, 1, 1), 26: (2, 2, 2, 2), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}  # depth: blocks in each stage


def merge_frames(x):
    """Reshape clips (N, C, T, H, W) to frames (N*T, C, H, W)."""
    x = x.transpose([0, 2, 1, 3, 4])
    return x.reshape([-1, *x.shape[2:]])


def split_frames(x, num_frames: int):
    """Reshape frames (N*T, C, H, W) to clips (N, C, T, H, W)."""
    x = x.reshape([-1, num_frames, *x.shape[1:]])
    return x.transpose([0, 2, 1, 3, 4])


class Bottleneck(nn.Layer):
    """1x1, 3x3 and 1x1 convolutions of single frames; the middle one strides, the last one widens fourfold."""

    activation = staticmethod(F.relu)

    def __init__(self, in_channels: int, planes: int, stride: int, zero_init_residual: bool):
        super().__init__()
        self.out_channels = 4 * planes
        self.conv1 = self.make_conv1(in_channels, planes)
        self.bn1 = nn.BatchNorm2D(planes)
        self.conv2 = conv2d(planes, planes, (3, 3), stride)
        self.bn2 = nn.BatchNorm2D(planes)
        self.conv3 = conv2d(planes, self.out_channels, (1, 1))
        scale = nn.initializer.Constant(0.0 if zero_init_residual else 1.0)
        self.bn3 = nn.BatchNorm2D(self.out_channels, weight_attr=scale)
        self.downsample = None
        if stride != 1 or in_channels != self.out_channels:
            self.downsample = self.make_downsample(in_channels, stride)

    def make_downsample(self, in_channels: int, stride: int) -> nn.Layer:
        """Make the shortcut where the size changes: a strided 1x1 convolution and batch norm."""
        shortcut = conv2d(in_channels, self.out_channels, (1, 1), stride)
        return nn.Sequential(shortcut, nn.BatchNorm2D(self.out_channels))

    def make_conv1(self, in_channels: int, planes: int) -> nn.Layer:
        """Make the first convolution, 1x1."""
        return conv2d(in_channels, planes, (1, 1))

    def forward(self, x, num_frames: int):
        """Map (N*T, in_channels, H, W) to (N*T, 4 planes, H/stride, W/stride), sizes rounded up."""
        return self.run_after_conv1(self.conv1(x), self.run_shortcut(x))

    def run_shortcut(self, x):
        """Map the block's input to what is added to its output."""
        return x if self.downsample is None else self.downsample(x)

    def run_after_conv1(self, x, shortcut):
        """Map the output of the first convolution to that of the block."""
        x = self.activation(self.bn1(x))
        x = self.activation(self.bn2(self.conv2(x)))
        x = self.bn3(self.conv3(x))
        return self.activation(x + shortcut)


class FrameResNet(nn.Layer):
    """Stem, max pool and four stages of blocks, without pool and classifier.

    Args:
        make_block: (stage, index of the block in it, *arguments of `Bottleneck`) -> block; both count from 0.
        depth: 50 or 101; also 14 and 26, small ones for trials with one and two blocks in each stage.
        widen_factor: multiplies all widths, rounded down.
        in_channels: channels of a frame.
        zero_init_residual: initialise the scale of each block's last batch norm as 0: the block starts as identity.

    Raises:
        ValueError: an unknown depth, or a factor that leaves no channels.
    """

    activation = staticmethod(F.relu)

    def __init__(self, make_block, depth: int, widen_factor: float, in_channels: int, zero_init_residual: bool):
        super().__init__()
        name = type(self).__name__
        if depth not in NUM_BLOCKS:
            raise ValueError(f"{name}: depth must be one of {', '.join(map(str, NUM_BLOCKS))}, got {depth!r}")
        widths = [int(width * widen_factor) for width in PLANES]
        if widths[0] < 1:
            raise ValueError(f"{name}: widen_factor must be at least 1/{PLANES[0]}, got {widen_factor!r}")
        self.in_channels = in_channels
        self.conv1 = self.make_conv1(in_channels, widths[0])
        self.bn1 = nn.BatchNorm2D(widths[0])
        self.maxpool = nn.MaxPool2D(3, stride=2, padding=1)
        channels, self.out_channels = widths[0], []  # of the four stages
        for stage, (planes, num_blocks) in enumerate(zip(widths, NUM_BLOCKS[depth], strict=True)):
            blocks = nn.LayerList()
            for index in range(num_blocks):
                stride = 2 if stage > 0 and index == 0 else 1
                blocks.append(make_block(stage, index, channels, planes, stride, zero_init_residual))
                channels = blocks[-1].out_channels
            setattr(self, f"layer{stage + 1}", blocks)
            self.out_channels.append(channels)

    def make_conv1(self, in_channels: int, out_channels: int) -> nn.Layer:
        """Make the stem's convolution, which halves rows and columns."""
        return conv2d(in_channels, out_channels, (7, 7), 2)

    def check_source(self, source: str) -> None:
        """Accept the weights of every repository: all compute the same; TSM overrides this."""

    def forward(self, x) -> list:
        """Return the outputs of the four stages for clips (N, in_channels, T, H, W).

        For frames of 224 x 224 they are (N*T, 256, 56, 56), (N*T, 512, 28, 28), (N*T, 1024, 14, 14), (N*T, 2048, 7, 7).

        Raises:
            ValueError: the input has another number of axes or channels.
        """
        check_clips(x, self.in_channels, type(self).__name__)
        num_frames = x.shape[2]
        x = merge_frames(x)  # (N, C, T, H, W) -> (N*T, C, H, W)
        x = self.maxpool(self.activation(self.bn1(self.conv1(x))))  # -> (N*T, 64, H/4, W/4)
        outputs = []
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            for block in stage:
                x = block(x, num_frames)
            outputs.append(x)
        return outputs

    def list_stage_ends(self) -> list:
        """Return the last block of each stage, the last stage first; their outputs are frames (N*T, C, H, W)."""
        return [stage[-1] for stage in (self.layer4, self.layer3, self.layer2, self.layer1)]


# The authors' names of a backbone and its classifier -> ours; see `weights.apply_rules`.
MMACTION2_RULES = [
    (r"^cls_head\.fc_cls\.", "fc."),
    (r"\.conv(\d)\.conv(\.net)?\.weight$", r".conv\1.weight"),  # `.net`: the convolution that TSM wraps
    (r"\.conv(\d)\.bn\.", r".bn\1."),
    (r"\.downsample\.conv\.", ".downsample.0."),
    (r"\.downsample\.bn\.", ".downsample.1."),
]
TPN_RULES = [(r"^cls_head\.fc_cls\.", "fc.")]


def convert_mmaction2_weights(weights: dict, rules: list = MMACTION2_RULES) -> dict:
    """Convert the weights of a SlowOnly, TSM or TPN recognizer of MMAction2.

    The file of a recognizer that was tested fully convolutionally has a copy of its classifier, `cls_head.new_cls`; it
    is dropped.
    """
    weights = {name: value for name, value in weights.items() if not name.startswith("cls_head.new_cls.")}
    return rename_weights(flatten_kernels(weights), rules)


def convert_tpn_weights(weights: dict, rules: list = TPN_RULES) -> dict:
    """Convert the weights of a recognizer of the TPN repository."""
    return rename_weights(flatten_kernels(weights), rules)


def flatten_kernels(weights: dict) -> dict:
    """Remove an axis of the backbone's 3-D kernels: 1 x k x k become k x k, t x 1 x 1 become t x 1."""
    return {name: _flatten_kernel(value) if name.startswith("backbone.") else value for name, value in weights.items()}


def _flatten_kernel(value):
    if value.ndim != 5:
        return value
    return value.squeeze(axis=2) if value.shape[2] == 1 else value.squeeze(axis=4)
