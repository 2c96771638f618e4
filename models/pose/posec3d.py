"""PoseC3D: a SlowOnly network for heat maps of joints or limbs.

Paper: "Revisiting Skeleton-based Action Recognition", H. Duan, Y. Zhao, K. Chen, D. Lin, B. Dai, CVPR 2022,
arXiv:2104.13586. Repositories whose checkpoints fit: https://github.com/kennymckormick/pyskl (commit 3f6795f) and
https://github.com/open-mmlab/mmaction2 (commit 4d6c934).

A clip has a channel for each joint or limb. Heat maps are small, so the stem and its pool have stride 1, and there are
three narrow stages with stride 2. Where we differ: only in the implementation, see `models/parts/pathway.py`.
"""

from paddle import nn

from common.ranges import Count, PartialShare, Switch
from models.parts.action_model import ActionModel, ExplainedLayer
from models.parts.layers import make_classifier
from models.parts.pathway import Pathway, PathwayConfig, average_frames, convert_pathway_weights
from models.parts.weights import rename_paddlevideo_weights


def convert_paddlevideo_posec3d_weights(weights: dict) -> dict:
    """Convert the weights of PaddleVideo."""
    rules = [
        (r"^(conv1|layer)", r"backbone.\1"),
        (r"\._conv\.", ".conv."),
        (r"\._batch_norm\.", ".bn."),
        (r"^fc", "cls_head.fc_cls"),
    ]
    return convert_pathway_weights(rename_paddlevideo_weights(weights, rules))


class PoseC3D(ActionModel):
    """PoseC3D: a pathway, global average pool, dropout, linear.

    Args:
        num_classes: number of logits.
        in_channels: channels of a clip, 17 for the joints and for the limbs of COCO.
        base_channels: of the stem; the stages' outputs have 4, 8 and 16 times as many.
        stage_blocks: blocks in each stage; [3, 4, 6] for Kinetics-400.
        inflate: for each stage 1 if its blocks begin with a 3x1x1 convolution, 0 if with a 1x1x1 one.
        spatial_strides: of each stage, in rows and columns.
        temporal_strides: of each stage, in frames; [1, 1, 1] to pre-train the pose pathway of RGBPoseConv3D.
        dropout_ratio: of the features, before the classifier.
        zero_init_residual: initialise the scale of each block's last batch norm as 0.

    Raises:
        ValueError: the lists have unequal lengths, or a number is too small.
    """

    WEIGHT_SOURCES = {
        "pyskl": convert_pathway_weights,
        "mmaction2": convert_pathway_weights,
        "paddlevideo": convert_paddlevideo_posec3d_weights,
    }

    def __init__(
        self,
        num_classes: Count,
        in_channels: Count = 17,
        base_channels: Count = 32,
        stage_blocks: list[Count] | tuple = (4, 6, 3),
        inflate: list[Switch] | tuple = (0, 1, 1),
        spatial_strides: list[Count] | tuple = (2, 2, 2),
        temporal_strides: list[Count] | tuple = (1, 1, 2),
        dropout_ratio: PartialShare = 0.5,
        zero_init_residual: bool = True,
    ):
        super().__init__()
        num_stages = len(stage_blocks)
        config = PathwayConfig(
            error_prefix="PoseC3D: ",
            in_channels=in_channels,
            base_channels=base_channels,
            stage_blocks=stage_blocks,
            num_stages=num_stages,
            inflate=inflate,
            spatial_strides=spatial_strides,
            temporal_strides=temporal_strides,
            dilations=[1] * num_stages,
        )
        self.backbone = Pathway(config, [0] * num_stages, zero_init_residual)
        self.dropout = nn.Dropout(dropout_ratio)
        self.fc = make_classifier(config.get_in_channels(num_stages), num_classes, std=0.01)

    def forward(self, x):
        """Map heat maps (N, in_channels, T, H, W) to logits (N, num_classes)."""
        x, num_frames = self.backbone.run_stem(x)  # (N, V, T, H, W) -> (N*T, 32, H, W)
        for stage in range(self.backbone.config.num_stages):
            x, num_frames = self.backbone.run_stage(stage, x, num_frames)
        return self.fc(self.dropout(average_frames(x, num_frames)))  # (N*T', 512, H/8, W/8) -> (N, classes)

    def list_explained_layers(self) -> list:
        """Return the last block of each stage, the last stage first."""
        return [ExplainedLayer(block, "NT C H W") for block in self.backbone.list_stage_ends()]
