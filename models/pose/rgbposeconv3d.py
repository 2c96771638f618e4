"""RGBPoseConv3D: a pathway for RGB frames and one for heat maps, which tell each other what they see.

Paper: "Revisiting Skeleton-based Action Recognition", H. Duan, Y. Zhao, K. Chen, D. Lin, B. Dai, CVPR 2022,
arXiv:2104.13586. Repositories whose checkpoints fit: https://github.com/kennymckormick/pyskl (commit 3f6795f) and
https://github.com/open-mmlab/mmaction2 (commit 4d6c934).

RGB has few large frames, heat maps have `speed_ratio` times as many of a quarter of the size. Before each of the last
stages both pathways may get features of the other one (laterals), beside their own. As published that is so before the
last two: a 7x1x1 convolution brings the heat maps' features to the frames of RGB, a transposed one with batch norm and
ReLU brings those of RGB to the frames of the heat maps. Train the pathways apart (`slowonly`, `posec3d` with
temporal_strides [1, 1, 1]), then `tools/merge_rgbpose.py`, then both together.

Where we differ: a lateral takes as many channels as the other pathway has, so that any two widths fit, where the
official code computes them with `channel_ratio`; that is for what it gives. Stages may exchange features that the
official code never exchanges, before the pose pathway's first one for instance.
"""

from paddle import nn

from models.parts.action_model import ActionModel
from models.parts.layers import make_classifier
from models.parts.pathway import RULES, Plan, average_frames, read_pathways
from models.parts.two_pathways import MODALITIES, TwoPathways

# What became of the authors' names: theirs are after a stage, ours before the next.
LATERAL_RULES = [
    (rf"^backbone\.(rgb|pose)_path\.layer{stage}_lateral\.", rf"backbone.\1_laterals.layer{stage + 1}.")
    for stage in (1, 2, 3)
]


def read_two_pathways(weights: dict) -> dict:
    """Rename the weights of an RGBPoseConv3D recognizer of PYSKL or MMAction2."""
    return read_pathways(weights, [*LATERAL_RULES, *RULES])


class RGBPoseConv3D(ActionModel):
    """RGBPoseConv3D: two pathways, global average pool, dropout and a linear layer for each.

    It takes clips and heat maps and returns {"rgb": logits, "pose": logits}, in evaluation too.

    Args:
        num_classes: number of logits of each modality.
        speed_ratio: frames of heat maps for each of RGB.
        channel_ratio: a lateral into the RGB pathway gives it rgb_lateral_infl / channel_ratio of its own channels, one
            into the pose pathway channel_ratio / pose_lateral_infl (that is what lateral_inv turns round).
        rgb_detach, pose_detach: no gradient flows back through the laterals into that pathway.
        rgb_drop_path, pose_drop_path: share of the training batches in which that pathway gets zeros of the other one.
        pose_out_indices: the last pose stage; a key of the published configurations, which has no other value.
        loss_components: modalities that are trained.
        loss_weights: of their losses, in that order.
        head_in_channels: features of both pathways, a key of the published configurations; None: what they give.
        dropout_ratio: of the features of each pathway.
        zero_init_residual: begin with the last batch norm of every block at 0.

    All others are those of `models.parts.pathway.Plan`, for the RGB pathway (rgb_...) and the pose pathway (pose_...).

    Raises:
        ValueError: arguments that do not fit each other, by name.
    """

    TORCH_SOURCES = {"pyskl": read_two_pathways, "mmaction2": read_two_pathways}
    input_names = MODALITIES

    def __init__(
        self, num_classes: int, speed_ratio: int = 4, channel_ratio: int = 4,
        rgb_in_channels: int = 3, rgb_base_channels: int = 64, rgb_stage_blocks: list[int] | tuple = (3, 4, 6, 3),
        rgb_num_stages: int = 4, rgb_inflate: list[int] | tuple = (0, 0, 1, 1),
        rgb_spatial_strides: list[int] | tuple = (1, 2, 2, 2), rgb_temporal_strides: list[int] | tuple = (1, 1, 1, 1),
        rgb_dilations: list[int] | tuple = (1, 1, 1, 1), rgb_conv1_kernel: list[int] | tuple = (1, 7, 7),
        rgb_conv1_stride_s: int = 2, rgb_conv1_stride_t: int = 1, rgb_pool1_stride_s: int = 2,
        rgb_pool1_stride_t: int = 1, rgb_with_pool2: bool = False,
        rgb_lateral: bool = True, rgb_lateral_inv: bool = False, rgb_lateral_infl: int = 1,
        rgb_lateral_activate: list[int] | tuple = (0, 0, 1, 1), rgb_fusion_kernel: int = 7,
        rgb_detach: bool = False, rgb_drop_path: float = 0.0,
        pose_in_channels: int = 17, pose_base_channels: int = 32, pose_stage_blocks: list[int] | tuple = (4, 6, 3),
        pose_num_stages: int = 3, pose_inflate: list[int] | tuple = (0, 1, 1),
        pose_spatial_strides: list[int] | tuple = (2, 2, 2), pose_temporal_strides: list[int] | tuple = (1, 1, 1),
        pose_dilations: list[int] | tuple = (1, 1, 1), pose_conv1_kernel: list[int] | tuple = (1, 7, 7),
        pose_conv1_stride_s: int = 1, pose_conv1_stride_t: int = 1, pose_pool1_stride_s: int = 1,
        pose_pool1_stride_t: int = 1, pose_with_pool2: bool = False,
        pose_lateral: bool = True, pose_lateral_inv: bool = True, pose_lateral_infl: int = 16,
        pose_lateral_activate: list[int] | tuple = (0, 1, 1), pose_fusion_kernel: int = 7,
        pose_detach: bool = False, pose_drop_path: float = 0.0, pose_out_indices: list[int] | tuple = (2,),
        loss_components: list[str] | tuple = MODALITIES, loss_weights: list[float] | tuple = (1.0, 1.0),
        head_in_channels: list[int] | None = None, dropout_ratio: float = 0.5, zero_init_residual: bool = True,
    ):  # fmt: skip
        super().__init__()
        rgb = Plan(
            "RGBPoseConv3D: rgb_", rgb_in_channels, rgb_base_channels, rgb_stage_blocks, rgb_num_stages, rgb_inflate,
            rgb_spatial_strides, rgb_temporal_strides, rgb_dilations, rgb_conv1_kernel, rgb_conv1_stride_s,
            rgb_conv1_stride_t, rgb_pool1_stride_s, rgb_pool1_stride_t, rgb_with_pool2, rgb_lateral, rgb_lateral_inv,
            rgb_lateral_infl, rgb_lateral_activate, rgb_fusion_kernel,
        )  # fmt: skip
        pose = Plan(
            "RGBPoseConv3D: pose_", pose_in_channels, pose_base_channels, pose_stage_blocks, pose_num_stages,
            pose_inflate, pose_spatial_strides, pose_temporal_strides, pose_dilations, pose_conv1_kernel,
            pose_conv1_stride_s, pose_conv1_stride_t, pose_pool1_stride_s, pose_pool1_stride_t, pose_with_pool2,
            pose_lateral, pose_lateral_inv, pose_lateral_infl, pose_lateral_activate, pose_fusion_kernel,
        )  # fmt: skip
        self.backbone = TwoPathways(
            {"rgb": rgb, "pose": pose}, speed_ratio, channel_ratio, {"rgb": rgb_detach, "pose": pose_detach},
            {"rgb": rgb_drop_path, "pose": pose_drop_path}, zero_init_residual,
        )  # fmt: skip
        self.num_features = [plan.channels_before(plan.num_stages) for plan in (rgb, pose)]
        _check_head(self.num_features, head_in_channels, pose, pose_out_indices, loss_components)
        self.modalities = tuple(loss_components)
        self.loss_weights = self.weigh_losses(list(loss_components), list(loss_weights))
        # What several processes must know: not every weight has a gradient in every batch.
        self.skips_layers = bool(rgb_drop_path or pose_drop_path or len(loss_components) < len(MODALITIES))
        self.dropout = nn.Dropout(dropout_ratio)
        self.fc_rgb, self.fc_pose = (make_classifier(width, num_classes, std=0.01) for width in self.num_features)

    def weigh_losses(self, components: list, weights: list) -> dict:
        """Return the weight of each head that is trained.

        Raises:
            ValueError: another number of weights.
        """
        heads = self.list_heads(components)
        if len(weights) != len(heads):
            raise ValueError(f"{type(self).__name__}: loss_weights must be those of {', '.join(heads)}, got {weights}")
        return dict(zip(heads, weights, strict=True))

    def list_heads(self, modalities: list) -> list:
        """List the heads of some modalities."""
        return modalities

    def forward(self, rgb, pose) -> dict:
        """Map clips (N, 3, T, H, W) and heat maps (N, V, T', H', W') to {name: logits (N, num_classes)}.

        Raises:
            ValueError: clips and heat maps that do not fit each other.
        """
        return self.score(self.backbone({"rgb": rgb, "pose": pose}))

    def name_outputs(self, outputs: dict) -> dict:
        """Return the outputs, which have names already."""
        return outputs

    def score(self, maps: dict) -> dict:
        """Map the pathways' features {name: (frames (N*T, C, H, W), T)} to {name: logits}."""
        return {name: self.classify(name, average_frames(*maps[name])) for name in MODALITIES}

    def classify(self, head: str, features):
        """Map features (N, C) to the logits of a head."""
        return getattr(self, f"fc_{head}")(self.dropout(features))

    def fuse(self, scores: dict):
        """Return the mean of the scores (N, num_classes) of the trained modalities."""
        return sum(scores[name] for name in self.modalities) / len(self.modalities)

    def compute_losses(self, outputs: dict, labels, criterion, is_mixed: bool = False) -> dict:
        """Return `rgb_loss_cls` and `pose_loss_cls`, weighted."""
        return {
            f"{head}_loss_cls": weight * criterion(outputs[head], labels) for head, weight in self.loss_weights.items()
        }


def _check_head(num_features, head_in_channels, pose: Plan, pose_out_indices, loss_components) -> None:
    """Refuse keys of the head that do not fit the pathways."""
    if head_in_channels is not None and list(head_in_channels) != num_features:
        raise ValueError(f"RGBPoseConv3D: head_in_channels must be {num_features}, got {list(head_in_channels)}")
    if list(pose_out_indices) != [pose.num_stages - 1]:
        raise ValueError(
            f"RGBPoseConv3D: pose_out_indices must be [{pose.num_stages - 1}], the last stage, "
            f"got {list(pose_out_indices)}"
        )
    unknown = [name for name in loss_components if name not in MODALITIES]
    if unknown or not loss_components:
        raise ValueError(f"RGBPoseConv3D: loss_components must be of {MODALITIES}, got {list(loss_components)}")
