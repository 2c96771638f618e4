"""R(2+1)D-34 of MMAction2, whose layout is that of its authors: every convolution is factorized.

Paper: "A Closer Look at Spatiotemporal Convolutions for Action Recognition", D. Tran, H. Wang, L. Torresani, J. Ray,
Y. LeCun, M. Paluri, CVPR 2018, arXiv:1711.11248. Repository whose checkpoints fit:
https://github.com/open-mmlab/mmaction2 (commit 4d6c934).

Against `models/rgb/r2plus1d.py` (3D-ResNets-PyTorch): the stem spans 3 frames, the max pool keeps all frames, the
1x1x1 convolutions of shortcuts are factorized too, dropout precedes the classifier, and batch norm after a
factorized convolution has epsilon 1e-3.
"""

import paddle.nn.functional as F
from paddle import nn

from common.ranges import Count, PartialShare, Positive
from models.parts.action_model import ActionModel, ExplainedLayer
from models.parts.layers import check_clips, conv3d, make_classifier
from models.parts.weights import rename_weights

PLANES = (64, 128, 256, 512)  # width of each stage
NUM_BLOCKS = {10: (1, 1, 1, 1), 18: (2, 2, 2, 2), 34: (3, 4, 6, 3)}  # depth: blocks in each stage
EPSILON = 1e-3  # of batch norm after a factorized convolution; within it, Paddle's 1e-5


def count_mid_channels(in_channels: int, out_channels: int, kernel_size: tuple) -> int:
    """Count the channels between the spatial and the temporal convolution.

    Both have as many weights as the whole one, if that spans 3 frames (section 3.5); 3 counts also for 1x1x1.
    """
    area = kernel_size[1] * kernel_size[2]
    return 3 * in_channels * out_channels * area // (in_channels * area + 3 * out_channels)


class Conv2Plus1D(nn.Layer):
    """A spatial convolution, batch norm, ReLU and a temporal convolution.

    Args:
        in_channels: of the input.
        out_channels: of the output.
        kernel_size: (T, H, W), odd.
        stride: (T, H, W).
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: tuple, stride: tuple = (1, 1, 1)):
        super().__init__()
        mid_channels = count_mid_channels(in_channels, out_channels, kernel_size)
        self.conv_s = conv3d(in_channels, mid_channels, (1, *kernel_size[1:]), (1, *stride[1:]))
        self.bn_s = nn.BatchNorm3D(mid_channels)
        self.conv_t = conv3d(mid_channels, out_channels, (kernel_size[0], 1, 1), (stride[0], 1, 1))

    def forward(self, x):
        """Map (N, in_channels, T, H, W) to (N, out_channels, T', H', W'), sizes divided by the stride, rounded up."""
        return self.conv_t(F.relu(self.bn_s(self.conv_s(x))))


class BasicBlock(nn.Layer):
    """Two factorized 3x3x3 convolutions; the first one strides in time and space."""

    def __init__(self, in_channels: int, planes: int, stride: int, zero_init_residual: bool):
        super().__init__()
        self.conv1 = Conv2Plus1D(in_channels, planes, (3, 3, 3), (stride, stride, stride))
        self.bn1 = nn.BatchNorm3D(planes, epsilon=EPSILON)
        self.conv2 = Conv2Plus1D(planes, planes, (3, 3, 3))
        scale = nn.initializer.Constant(0.0 if zero_init_residual else 1.0)
        self.bn2 = nn.BatchNorm3D(planes, epsilon=EPSILON, weight_attr=scale)
        self.downsample = None
        if stride != 1 or in_channels != planes:
            shortcut = Conv2Plus1D(in_channels, planes, (1, 1, 1), (stride, stride, stride))
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm3D(planes, epsilon=EPSILON))

    def forward(self, x):
        """Map (N, in_channels, T, H, W) to (N, planes, T/stride, H/stride, W/stride), sizes rounded up."""
        shortcut = x if self.downsample is None else self.downsample(x)
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.bn2(self.conv2(x))
        return F.relu(x + shortcut)


class FactorizedResNet(nn.Layer):
    """Stem, max pool and four stages; the arguments are those of `MMAction2R2Plus1D`."""

    def __init__(self, depth: int, zero_init_residual: bool, widen_factor: float, in_channels: int):
        super().__init__()
        if depth not in NUM_BLOCKS:
            raise ValueError(
                f"MMAction2R2Plus1D: depth must be one of {', '.join(map(str, NUM_BLOCKS))}, got {depth!r}"
            )
        widths = [int(width * widen_factor) for width in PLANES]
        if widths[0] < 1:
            raise ValueError(f"MMAction2R2Plus1D: widen_factor must be at least 1/{PLANES[0]}, got {widen_factor!r}")
        self.in_channels, self.out_channels = in_channels, widths[-1]
        self.conv1 = Conv2Plus1D(in_channels, widths[0], (3, 7, 7), (1, 2, 2))
        self.bn1 = nn.BatchNorm3D(widths[0], epsilon=EPSILON)
        self.maxpool = nn.MaxPool3D((1, 3, 3), stride=(1, 2, 2), padding=(0, 1, 1))
        channels = widths[0]
        for stage, (planes, num_blocks) in enumerate(zip(widths, NUM_BLOCKS[depth], strict=True)):
            blocks = []
            for index in range(num_blocks):
                stride = 2 if stage > 0 and index == 0 else 1
                blocks.append(BasicBlock(channels, planes, stride, zero_init_residual))
                channels = planes
            setattr(self, f"layer{stage + 1}", nn.Sequential(*blocks))

    def forward(self, x):
        """Map clips (N, in_channels, T, H, W) to features (N, 512, T/8, H/32, W/32), sizes rounded up."""
        check_clips(x, self.in_channels, "MMAction2R2Plus1D")
        x = self.maxpool(F.relu(self.bn1(self.conv1(x))))  # (N, C, T, H, W) -> (N, 64, T, H/4, W/4)
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = stage(x)
        return x


# MMAction2's names -> ours; see `weights.apply_rules`.
RULES = [
    (r"^cls_head\.fc_cls\.", "fc."),
    (r"\.conv(\d)\.conv\.", r".conv\1."),
    (r"\.conv(\d)\.bn\.", r".bn\1."),
    (r"\.downsample\.conv\.", ".downsample.0."),
    (r"\.downsample\.bn\.", ".downsample.1."),
]


def convert_mmaction2_r2plus1d_weights(weights: dict) -> dict:
    """Convert the weights of an R(2+1)D recognizer of MMAction2; a copy of the classifier is dropped."""
    return rename_weights({name: w for name, w in weights.items() if not name.startswith("cls_head.new_cls.")}, RULES)


class MMAction2R2Plus1D(ActionModel):
    """R(2+1)D as in MMAction2: four stages, global average pool, dropout, linear.

    Args:
        num_classes: number of logits.
        depth: 34; also 10 and 18, smaller ones.
        dropout_ratio: of the features, before the classifier.
        zero_init_residual: initialise the scale of each block's last batch norm as 0.
        widen_factor: multiplies all widths, rounded down.
        in_channels: channels of a frame; 3 for RGB, 2 for optical flow.

    Raises:
        ValueError: an unknown depth, or a factor that leaves no channels.
    """

    WEIGHT_SOURCES = {"mmaction2": convert_mmaction2_r2plus1d_weights}

    def __init__(
        self,
        num_classes: Count,
        depth: Count = 34,
        dropout_ratio: PartialShare = 0.5,
        zero_init_residual: bool = False,
        widen_factor: Positive = 1.0,
        in_channels: Count = 3,
    ):
        super().__init__()
        self.backbone = FactorizedResNet(depth, zero_init_residual, widen_factor, in_channels)
        self.dropout = nn.Dropout(dropout_ratio)
        self.fc = make_classifier(self.backbone.out_channels, num_classes, std=0.01)

    def forward(self, x):
        """Map clips (N, in_channels, T, H, W) to logits (N, num_classes)."""
        return self.fc(self.dropout(self.backbone(x).mean(axis=[2, 3, 4])))  # (N, 512, T', H', W') -> (N, 512)

    def list_explained_layers(self) -> list:
        """Return the four stages, the last one first."""
        stages = self.backbone
        return [ExplainedLayer(stage) for stage in (stages.layer4, stages.layer3, stages.layer2, stages.layer1)]
