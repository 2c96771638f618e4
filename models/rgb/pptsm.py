"""PP-TSM: TSM on a ResNet-D with leaky ReLUs, PaddleVideo's most accurate 2-D network.

Repository, in which it is documented: https://github.com/PaddlePaddle/PaddleVideo (commit ed245e9). Its parts are from
"TSM: Temporal Shift Module for Efficient Video Understanding", J. Lin, C. Gan, S. Han, ICCV 2019, arXiv:1811.08383, and
"Bag of Tricks for Image Classification with Convolutional Neural Networks", T. He et al., CVPR 2019, arXiv:1812.01187,
whose ResNet-D Paddle calls "vd".

Every activation is a leaky ReLU, also that after the sum of a block. Channels shift as with `shift="paddlevideo"` of
`models/rgb/tsm.py`. Where we differ: the basic blocks of depths 18 and 34 are not built. Distilled weights fit too.
"""

from paddle import nn

from common.ranges import Count, PartialShare, Positive
from models.parts.layers import conv2d, leaky_relu
from models.parts.resnet2d import PLANES, FrameResNet
from models.parts.weights import rename_paddlevideo_weights
from models.rgb.tsm import PADDLEVIDEO_BLOCK_RULES, FrameClassifier, LengthShiftBottleneck


class LeakyReLU(nn.Layer):
    """`leaky_relu` as a layer."""

    def forward(self, x):
        """Map x of any shape to the same shape."""
        return leaky_relu(x)


class PooledShortcutBottleneck(LengthShiftBottleneck):
    """A shifted bottleneck with leaky ReLUs, whose shortcut averages 2 x 2 places before its convolution."""

    activation = staticmethod(leaky_relu)

    def make_downsample(self, in_channels: int, stride: int) -> nn.Layer:
        """Make the shortcut where the size changes: average pool, 1x1 convolution, batch norm.

        A window at an odd edge averages the places that it has.
        """
        pool = nn.Identity() if stride == 1 else nn.AvgPool2D(stride, stride, ceil_mode=True, exclusive=True)
        conv = conv2d(in_channels, self.out_channels, (1, 1))
        return nn.Sequential(pool, conv, nn.BatchNorm2D(self.out_channels))


class DeepStemResNet(FrameResNet):
    """The stages of PP-TSM behind a stem of three 3x3 convolutions; the arguments are those of `FrameResNet`."""

    activation = staticmethod(leaky_relu)

    def __init__(self, depth: int, widen_factor: float, in_channels: int):
        def make_block(_stage, _index, *arguments):
            return PooledShortcutBottleneck(*arguments)

        super().__init__(make_block, depth, widen_factor, in_channels, zero_init_residual=False)

    def make_conv1(self, in_channels: int, out_channels: int) -> nn.Layer:
        """Make the convolutions of the stem, the first of which halves rows and columns."""
        width = out_channels // 2
        if width < 1:
            raise ValueError(f"PPTSM: widen_factor must be at least 2/{PLANES[0]}, for two channels of the stem")
        return nn.Sequential(
            conv2d(in_channels, width, (3, 3), 2),
            nn.BatchNorm2D(width),
            LeakyReLU(),
            conv2d(width, width, (3, 3)),
            nn.BatchNorm2D(width),
            LeakyReLU(),
            conv2d(width, out_channels, (3, 3)),
        )


# PaddleVideo's names without prefix -> ours; see `weights.apply_rules`.
PADDLEVIDEO_RULES = [
    (r"^conv1_1\._conv\.", "backbone.conv1.0."),
    (r"^conv1_1\._batch_norm\.", "backbone.conv1.1."),
    (r"^conv1_2\._conv\.", "backbone.conv1.3."),
    (r"^conv1_2\._batch_norm\.", "backbone.conv1.4."),
    (r"^conv1_3\._conv\.", "backbone.conv1.6."),
    (r"^conv1_3\._batch_norm\.", "backbone.bn1."),
    (r"^bb_(\d)_(\d+)\.", lambda match: f"backbone.layer{int(match[1]) + 1}.{match[2]}."),
    (r"\.short\._conv\.", ".downsample.1."),
    (r"\.short\._batch_norm\.", ".downsample.2."),
    *PADDLEVIDEO_BLOCK_RULES,
]


def convert_paddlevideo_pptsm_weights(weights: dict) -> dict:
    """Convert the weights of PaddleVideo's PP-TSM."""
    return rename_paddlevideo_weights(weights, PADDLEVIDEO_RULES)


class PPTSM(FrameClassifier):
    """PP-TSM: a frame classifier on a shifted ResNet-D.

    Args:
        num_classes: number of logits.
        depth: 50 or 101; also 14 and 26, small ones for trials.
        dropout_ratio: of the features, before the classifier.
        widen_factor: multiplies all widths, rounded down.
        in_channels: channels of a frame; 3 for RGB, 2 for optical flow.

    Raises:
        ValueError: an unknown depth, or a factor that leaves no channels.
    """

    WEIGHT_SOURCES = {"paddlevideo": convert_paddlevideo_pptsm_weights}

    def __init__(
        self,
        num_classes: Count,
        depth: Count = 50,
        dropout_ratio: PartialShare = 0.5,
        widen_factor: Positive = 1.0,
        in_channels: Count = 3,
    ):
        super().__init__(DeepStemResNet(depth, widen_factor, in_channels), num_classes, dropout_ratio, std=0.01)
