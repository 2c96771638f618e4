"""I3D on a ResNet: some 1x1x1 convolutions of a residual network are inflated to 3x1x1, and frames are pooled.

Papers: "Quo Vadis, Action Recognition? A New Model and the Kinetics Dataset", J. Carreira, A. Zisserman, CVPR 2017,
arXiv:1705.07750, whose network is an Inception; "Non-local Neural Networks", X. Wang, R. Girshick, A. Gupta, K. He,
CVPR 2018, arXiv:1711.07971, table 1, whose baseline is this one. Repository whose checkpoints fit:
https://github.com/open-mmlab/mmaction2 (commit 4d6c934), without non-local blocks.

Where we differ: only in the implementation, see `models/parts/pathway.py`.
"""

from paddle import nn

from common.ranges import Count, PartialShare, Positive
from models.parts.action_model import ActionModel, ExplainedLayer
from models.parts.inflate import convert_imagenet_weights
from models.parts.layers import make_classifier
from models.parts.pathway import Pathway, PathwayConfig, average_frames, convert_pathway_weights
from models.parts.resnet2d import NUM_BLOCKS, PLANES


class I3DResNet(Pathway):
    """The stem and the stages of I3D; of the blocks of the upper three stages every second one is inflated."""

    def is_inflated(self, stage: int, index: int) -> bool:
        """Return whether a block begins with a 3x1x1 convolution: in the last stage the 2nd, 4th, else the 1st, 3rd."""
        if stage == 0:
            return True
        return index % 2 == (1 if stage == 3 else 0)


class I3D(ActionModel):
    """I3D: four stages on an eighth of the frames, global average pool, dropout, linear.

    Args:
        num_classes: number of logits.
        depth: 50 or 101; also 14 and 26, small ones for trials.
        dropout_ratio: of the features, before the classifier.
        zero_init_residual: initialise the scale of each block's last batch norm as 0.
        widen_factor: multiplies all widths, rounded down.
        in_channels: channels of a frame; 3 for RGB, 2 for optical flow.

    Raises:
        ValueError: an unknown depth, or a factor that leaves no channels.
    """

    WEIGHT_SOURCES = {"mmaction2": convert_pathway_weights, "imagenet": convert_imagenet_weights}

    def __init__(
        self,
        num_classes: Count,
        depth: Count = 50,
        dropout_ratio: PartialShare = 0.5,
        zero_init_residual: bool = False,
        widen_factor: Positive = 1.0,
        in_channels: Count = 3,
    ):
        super().__init__()
        if depth not in NUM_BLOCKS:
            raise ValueError(f"I3D: depth must be one of {', '.join(map(str, NUM_BLOCKS))}, got {depth!r}")
        width = int(PLANES[0] * widen_factor)
        if width < 1:
            raise ValueError(f"I3D: widen_factor must be at least 1/{PLANES[0]}, got {widen_factor!r}")
        config = PathwayConfig(
            error_prefix="I3D: ",
            in_channels=in_channels,
            base_channels=width,
            stage_blocks=NUM_BLOCKS[depth],
            num_stages=4,
            inflate=[1] * 4,
            spatial_strides=[1, 2, 2, 2],
            temporal_strides=[1] * 4,
            dilations=[1] * 4,
            conv1_kernel=(5, 7, 7),
            conv1_stride_s=2,
            conv1_stride_t=2,
            pool1_stride_s=2,
            pool1_stride_t=2,
            with_pool2=True,
        )
        self.backbone = I3DResNet(config, [0] * 4, zero_init_residual)
        self.dropout = nn.Dropout(dropout_ratio)
        self.fc = make_classifier(config.get_in_channels(4), num_classes, std=0.01)

    def forward(self, x):
        """Map clips (N, in_channels, T, H, W), T at least 5, to logits (N, num_classes).

        Raises:
            ValueError: fewer than 5 frames, of which the pools would leave none.
        """
        x, num_frames = self.backbone.run_stem(x)  # (N, C, T, H, W) -> (N*T/4, 64, H/4, W/4)
        if num_frames < 2:
            raise ValueError("I3D: clips must have 5 frames or more; set READER.clip_len")
        for stage in range(4):  # the first one halves the frames
            x, num_frames = self.backbone.run_stage(stage, x, num_frames)
        return self.fc(self.dropout(average_frames(x, num_frames)))  # (N*T/8, 2048, H/32, W/32) -> (N, classes)

    def list_explained_layers(self) -> list:
        """Return the last block of each stage, the last stage first."""
        return [ExplainedLayer(block, "NT C H W") for block in self.backbone.list_stage_ends()]
