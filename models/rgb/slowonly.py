"""SlowOnly: a residual network with 2-D stages 1 and 2, and with 3x1x1 convolutions over time in stages 3 and 4.

Paper: "SlowFast Networks for Video Recognition", C. Feichtenhofer, H. Fan, J. Malik, K. He, ICCV 2019,
arXiv:1812.03982; this is its slow pathway. Repositories whose checkpoints fit: https://github.com/open-mmlab/mmaction2
(commit 4d6c934) and https://github.com/decisionforce/TPN (commit 117a4d1).

Where we differ: only in the implementation, see `models/parts/resnet2d.py`; kernels have one axis less.
"""

from paddle import nn

from common.ranges import Count, PartialShare, Positive
from models.parts.action_model import ActionModel, ExplainedLayer
from models.parts.inflate import convert_imagenet_weights
from models.parts.layers import conv2d, make_classifier
from models.parts.resnet2d import Bottleneck, FrameResNet, convert_mmaction2_weights, convert_tpn_weights


class TemporalBottleneck(Bottleneck):
    """A bottleneck whose first convolution is 3x1x1."""

    def make_conv1(self, in_channels: int, planes: int) -> nn.Layer:
        """Make the first convolution, 3x1x1, as a 2-D one over frames and flattened positions."""
        return conv2d(in_channels, planes, (3, 1))

    def forward(self, x, num_frames: int):
        """Map (N*T, in_channels, H, W) to (N*T, 4 planes, H/stride, W/stride), sizes rounded up."""
        _, channels, height, width = x.shape
        clips = x.reshape([-1, num_frames, channels, height * width])
        clips = clips.transpose([0, 2, 1, 3])  # (N*T, C, H, W) -> (N, C, T, H*W)
        y = self.conv1(clips).transpose([0, 2, 1, 3])
        y = y.reshape([-1, y.shape[2], height, width])  # -> (N*T, planes, H, W)
        return self.run_after_conv1(y, self.run_shortcut(x))


class SlowOnlyResNet(FrameResNet):
    """The stages of SlowOnly; the arguments are those of `FrameResNet`."""

    def __init__(self, depth: int, widen_factor: float, in_channels: int, zero_init_residual: bool):
        def make_block(stage, index, *arguments):
            return (TemporalBottleneck if stage >= 2 else Bottleneck)(*arguments)

        super().__init__(make_block, depth, widen_factor, in_channels, zero_init_residual)


class SlowOnly(ActionModel):
    """SlowOnly: four stages that keep all T frames, global average pool, dropout, linear.

    Args:
        num_classes: number of logits.
        depth: 50 or 101; also 14 and 26, small ones for trials.
        dropout_ratio: of the features, before the classifier.
        zero_init_residual: initialise the scale of each block's last batch norm as 0, as MMAction2 does and the TPN
            repository does not.
        widen_factor: multiplies all widths, rounded down.
        in_channels: channels of a frame; 3 for RGB, 2 for optical flow.

    Raises:
        ValueError: an unknown depth, or a factor that leaves no channels.
    """

    WEIGHT_SOURCES = {
        "mmaction2": convert_mmaction2_weights,
        "pyskl": convert_mmaction2_weights,
        "tpn": convert_tpn_weights,
        "imagenet": convert_imagenet_weights,
    }

    def __init__(
        self,
        num_classes: Count,
        depth: Count = 50,
        dropout_ratio: PartialShare = 0.5,
        zero_init_residual: bool = True,
        widen_factor: Positive = 1.0,
        in_channels: Count = 3,
    ):
        super().__init__()
        self.backbone = SlowOnlyResNet(depth, widen_factor, in_channels, zero_init_residual)
        self.dropout = nn.Dropout(dropout_ratio)
        self.fc = make_classifier(self.backbone.out_channels[-1], num_classes, std=0.01)

    def forward(self, x):
        """Map clips (N, in_channels, T, H, W) to logits (N, num_classes)."""
        num_frames = x.shape[2]
        x = self.backbone(x)[-1].mean(axis=[2, 3])  # (N, C, T, H, W) -> (N*T, 2048)
        x = x.reshape([-1, num_frames, x.shape[1]]).mean(axis=1)  # -> (N, 2048)
        return self.fc(self.dropout(x))

    def list_explained_layers(self) -> list:
        """Return the last block of each stage, the last stage first."""
        return [ExplainedLayer(block, "NT C H W") for block in self.backbone.list_stage_ends()]
