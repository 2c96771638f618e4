"""X3D-shallow: a network of depth-wise 3x3x3 convolutions for heat maps of joints or limbs, a quarter million weights.

Papers: "Revisiting Skeleton-based Action Recognition", H. Duan, Y. Zhao, K. Chen, D. Lin, B. Dai, CVPR 2022,
arXiv:2104.13586, which makes it of the network of "X3D: Expanding Architectures for Efficient Video Recognition",
C. Feichtenhofer, CVPR 2020, arXiv:2004.04730. Repository whose checkpoints fit:
https://github.com/kennymckormick/pyskl (commit 3f6795f), with its shallow variant: three stages, no squeeze and
excitation, no Swish, so that nothing but batch norm is between the depth-wise and the last convolution of a block.
"""

import paddle.nn.functional as F
from paddle import nn

from common.ranges import Count, PartialShare
from models.parts.action_model import ActionModel, ExplainedLayer
from models.parts.layers import check_clips, conv3d, make_classifier
from models.parts.pathway import PATHWAY_RULES
from models.parts.weights import rename_weights

BOTTLENECK_RATIO = 2.25  # width of a block's depth-wise convolution / its output channels, gamma_b of the paper

# PYSKL's names -> ours; see `weights.apply_rules`.
RULES = [*PATHWAY_RULES, (r"\.conv1_([st])\.conv\.", r".conv1_\1."), (r"\.conv1_t\.bn\.", ".bn1.")]


def convert_x3d_weights(weights: dict) -> dict:
    """Convert the weights of an X3D recognizer of PYSKL."""
    return rename_weights(weights, RULES)


class X3DBlock(nn.Layer):
    """A 1x1x1 convolution to more channels, a depth-wise 3x3x3 one with the stride, and a 1x1x1 one to fewer.

    Args:
        in_channels: of the input.
        out_channels: of the output.
        stride: in rows and columns.
        zero_init_residual: initialise the scale of the last batch norm as 0, so that the block starts as identity.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int, zero_init_residual: bool):
        super().__init__()
        width = int(out_channels * BOTTLENECK_RATIO)
        self.conv1 = conv3d(in_channels, width, (1, 1, 1))
        self.bn1 = nn.BatchNorm3D(width)
        self.conv2 = conv3d(width, width, (3, 3, 3), (1, stride, stride), groups=width)
        self.bn2 = nn.BatchNorm3D(width)
        self.conv3 = conv3d(width, out_channels, (1, 1, 1))
        scale = nn.initializer.Constant(0.0 if zero_init_residual else 1.0)
        self.bn3 = nn.BatchNorm3D(out_channels, weight_attr=scale)
        self.downsample = None
        if stride != 1 or in_channels != out_channels:
            shortcut = conv3d(in_channels, out_channels, (1, 1, 1), (1, stride, stride))
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm3D(out_channels))

    def forward(self, x):
        """Map (N, in_channels, T, H, W) to (N, out_channels, T, H/stride, W/stride), sizes rounded up."""
        shortcut = x if self.downsample is None else self.downsample(x)
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.bn2(self.conv2(x))
        x = self.bn3(self.conv3(x))
        return F.relu(x + shortcut)


class X3DBackbone(nn.Layer):
    """A stem of a spatial and a temporal convolution, stages of blocks, and a last convolution.

    The arguments are those of `X3D`.
    """

    def __init__(
        self, in_channels: int, base_channels: int, stage_blocks: list, spatial_strides: list, zero_init_residual: bool
    ):
        super().__init__()
        self.in_channels = in_channels
        self.conv1_s = conv3d(in_channels, base_channels, (1, 3, 3), (1, 2, 2))
        self.conv1_t = conv3d(base_channels, base_channels, (5, 1, 1), groups=base_channels)
        self.bn1 = nn.BatchNorm3D(base_channels)
        channels = base_channels
        self.num_stages = len(stage_blocks)
        for stage, (num_blocks, stride) in enumerate(zip(stage_blocks, spatial_strides, strict=True)):
            blocks, out_channels = [], base_channels * 2**stage
            for index in range(num_blocks):
                blocks.append(X3DBlock(channels, out_channels, stride if index == 0 else 1, zero_init_residual))
                channels = out_channels
            setattr(self, f"layer{stage + 1}", nn.Sequential(*blocks))
        self.out_channels = int(channels * BOTTLENECK_RATIO)
        self.conv5 = conv3d(channels, self.out_channels, (1, 1, 1))
        self.bn5 = nn.BatchNorm3D(self.out_channels)

    def list_stages(self) -> list:
        """Return the stages in their order."""
        return [getattr(self, f"layer{stage}") for stage in range(1, self.num_stages + 1)]

    def forward(self, x):
        """Map heat maps (N, in_channels, T, H, W) to features (N, out_channels, T, H/16, W/16), sizes rounded up."""
        check_clips(x, self.in_channels, "X3D")
        x = F.relu(self.bn1(self.conv1_t(self.conv1_s(x))))  # (N, V, T, H, W) -> (N, 24, T, H/2, W/2)
        for stage in self.list_stages():
            x = stage(x)
        return F.relu(self.bn5(self.conv5(x)))


class X3D(ActionModel):
    """X3D-shallow: the convolutions, global average pool, dropout, linear.

    Args:
        num_classes: number of logits.
        in_channels: channels of a clip, 17 for the joints and for the limbs of COCO.
        base_channels: of the stem and of the first stage; each further stage has twice as many.
        stage_blocks: blocks in each stage.
        spatial_strides: of each stage's first block, in rows and columns; the stem has 2.
        dropout_ratio: of the features, before the classifier.
        zero_init_residual: initialise the scale of each block's last batch norm as 0.

    Raises:
        ValueError: the lists are empty or have unequal lengths.
    """

    WEIGHT_SOURCES = {"pyskl": convert_x3d_weights}

    def __init__(
        self,
        num_classes: Count,
        in_channels: Count = 17,
        base_channels: Count = 24,
        stage_blocks: list[Count] | tuple = (2, 5, 3),
        spatial_strides: list[Count] | tuple = (2, 2, 2),
        dropout_ratio: PartialShare = 0.5,
        zero_init_residual: bool = True,
    ):
        super().__init__()
        if not 0 < len(stage_blocks) == len(spatial_strides):
            raise ValueError(
                "X3D: stage_blocks and spatial_strides must have a number for each stage, got "
                f"{list(stage_blocks)} and {list(spatial_strides)}"
            )
        self.backbone = X3DBackbone(in_channels, base_channels, stage_blocks, spatial_strides, zero_init_residual)
        self.dropout = nn.Dropout(dropout_ratio)
        self.fc = make_classifier(self.backbone.out_channels, num_classes, std=0.01)

    def forward(self, x):
        """Map heat maps (N, in_channels, T, H, W) to logits (N, num_classes)."""
        return self.fc(self.dropout(self.backbone(x).mean(axis=[2, 3, 4])))  # (N, 216, T, H/16, W/16) -> (N, classes)

    def list_explained_layers(self) -> list:
        """Return the stages, the last one first."""
        return [ExplainedLayer(stage) for stage in reversed(self.backbone.list_stages())]
