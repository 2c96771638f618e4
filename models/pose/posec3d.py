"""PoseC3D: a SlowOnly network that looks at heat maps of joints or limbs.

Paper: "Revisiting Skeleton-based Action Recognition", H. Duan, Y. Zhao, K. Chen, D. Lin, B. Dai, CVPR 2022,
arXiv:2104.13586. Repositories whose checkpoints fit: https://github.com/kennymckormick/pyskl (commit 3f6795f) and
https://github.com/open-mmlab/mmaction2 (commit 4d6c934).

A clip has a channel for each joint or limb. Maps are small already, so stem and pool do not stride, and three narrow
stages do. Where we differ: in nothing but how it is written, see `models/parts/pathway.py`.
"""

from paddle import nn

from models.parts.action_model import ActionModel
from models.parts.layers import make_classifier
from models.parts.pathway import Pathway, Plan, average_frames, read_pathways


class PoseC3D(ActionModel):
    """PoseC3D: a pathway, global average pool, dropout, linear.

    Args:
        num_classes: number of logits.
        in_channels: channels of a heat map, 17 for the joints as for the limbs of COCO.
        base_channels: of the stem; the stages give 4, 8 and 16 times as many.
        stage_blocks: blocks in each stage; [3, 4, 6] for Kinetics-400.
        inflate: 1 for each stage that convolves in time too.
        spatial_strides: of each stage, in rows and columns.
        temporal_strides: of each stage, in frames; [1, 1, 1] to train the pose pathway of RGBPoseConv3D by itself.
        dropout_ratio: of the features, before the classifier.
        zero_init_residual: begin with the last batch norm of every block at 0.

    Raises:
        ValueError: lists of unequal length, or a number that is too small.
    """

    TORCH_SOURCES = {"pyskl": read_pathways, "mmaction2": read_pathways}

    def __init__(
        self,
        num_classes: int,
        in_channels: int = 17,
        base_channels: int = 32,
        stage_blocks: list[int] | tuple = (4, 6, 3),
        inflate: list[int] | tuple = (0, 1, 1),
        spatial_strides: list[int] | tuple = (2, 2, 2),
        temporal_strides: list[int] | tuple = (1, 1, 2),
        dropout_ratio: float = 0.5,
        zero_init_residual: bool = True,
    ):
        super().__init__()
        num_stages = len(stage_blocks)
        dilations = [1] * num_stages
        sizes = (in_channels, base_channels, stage_blocks, num_stages)
        plan = Plan("PoseC3D: ", *sizes, inflate, spatial_strides, temporal_strides, dilations)
        self.backbone = Pathway(plan, [0] * num_stages, zero_init_residual)
        self.dropout = nn.Dropout(dropout_ratio)
        self.fc = make_classifier(plan.channels_before(num_stages), num_classes, std=0.01)

    def forward(self, x):
        """Map heat maps (N, in_channels, T, H, W) to logits (N, num_classes)."""
        x, num_frames = self.backbone.begin(x)  # (N, V, T, H, W) -> (N*T, 32, H, W)
        for stage in range(self.backbone.plan.num_stages):
            x, num_frames = self.backbone.run_stage(stage, x, num_frames)
        return self.fc(self.dropout(average_frames(x, num_frames)))  # (N*T', 512, H/8, W/8) -> (N, classes)
