"""RGBPoseConv3D: a pathway for RGB frames and one for heat maps, with lateral connections between them.

Paper: "Revisiting Skeleton-based Action Recognition", H. Duan, Y. Zhao, K. Chen, D. Lin, B. Dai, CVPR 2022,
arXiv:2104.13586. Repositories whose checkpoints fit: https://github.com/kennymckormick/pyskl (commit 3f6795f) and
https://github.com/open-mmlab/mmaction2 (commit 4d6c934).

RGB has few large frames; heat maps have `speed_ratio` times as many of a quarter of the size. A stage may get features
of the other pathway concatenated to its input (laterals). As published, the last two stages do: a 7x1x1 convolution
maps the features of the heat maps to the frames of RGB, a transposed one with batch norm and ReLU maps those of RGB to
the frames of the heat maps. Train the pathways apart (`slowonly`, `posec3d` with temporal_strides [1, 1, 1]), then
`tools/merge_rgbpose.py`, then both together.

Where we differ: the input of a lateral has the channels of the other pathway, so that any two widths fit; the official
code computes them with `channel_ratio`, which here sets the output of a lateral only. Stages may have laterals that the
official code does not allow, for example the first stage of the pose pathway.
"""

from paddle import nn

from common.ranges import Count, NonNegative, PartialShare, Switch, Whole
from models.parts.action_model import ActionModel, ExplainedLayer
from models.parts.layers import make_classifier
from models.parts.pathway import PATHWAY_RULES, PathwayConfig, average_frames, convert_pathway_weights
from models.parts.two_pathways import MODALITIES, TwoPathways

# The authors name a lateral by the stage before it, we by the stage after it; see `weights.apply_rules`.
LATERAL_RULES = [
    (rf"^backbone\.(rgb|pose)_path\.layer{stage}_lateral\.", rf"backbone.\1_laterals.layer{stage + 1}.")
    for stage in (1, 2, 3)
]


def convert_rgbposeconv3d_weights(weights: dict) -> dict:
    """Convert the weights of an RGBPoseConv3D recognizer of PYSKL or MMAction2."""
    return convert_pathway_weights(weights, [*LATERAL_RULES, *PATHWAY_RULES])


class RGBPoseConv3D(ActionModel):
    """RGBPoseConv3D: two pathways, global average pool, dropout and a linear layer for each.

    It takes clips and heat maps and returns {"rgb": logits, "pose": logits}, in training and in evaluation.

    Args:
        num_classes: number of logits of each modality.
        speed_ratio: frames of heat maps for each frame of RGB.
        channel_ratio: a lateral into the RGB pathway has rgb_lateral_infl / channel_ratio times the input channels of
            its stage, one into the pose pathway channel_ratio / pose_lateral_infl times (lateral_inv swaps the two).
        rgb_detach, pose_detach: laterals into that pathway stop the gradient.
        rgb_drop_path, pose_drop_path: share of the training batches in which laterals into that pathway are replaced by
            zeros.
        pose_out_indices: [index of the last pose stage]; a key of the published configurations without other values.
        loss_components: modalities that are trained.
        loss_weights: of their losses, in that order.
        head_in_channels: features of both pathways, a key of the published configurations; None: not checked.
        dropout_ratio: of the features of each pathway.
        zero_init_residual: initialise the scale of each block's last batch norm as 0.

    All others are fields of `models.parts.pathway.PathwayConfig`, of the RGB pathway (rgb_...) and the pose pathway
    (pose_...).

    Raises:
        ValueError: arguments do not fit each other; the message names them.
    """

    WEIGHT_SOURCES = {"pyskl": convert_rgbposeconv3d_weights, "mmaction2": convert_rgbposeconv3d_weights}
    input_names = MODALITIES

    def __init__(
        self, num_classes: Count, speed_ratio: Count = 4, channel_ratio: Count = 4,
        rgb_in_channels: Count = 3, rgb_base_channels: Count = 64,
        rgb_stage_blocks: list[Count] | tuple = (3, 4, 6, 3), rgb_num_stages: Count = 4,
        rgb_inflate: list[Switch] | tuple = (0, 0, 1, 1),
        rgb_spatial_strides: list[Count] | tuple = (1, 2, 2, 2),
        rgb_temporal_strides: list[Count] | tuple = (1, 1, 1, 1),
        rgb_dilations: list[Count] | tuple = (1, 1, 1, 1), rgb_conv1_kernel: list[Count] | tuple = (1, 7, 7),
        rgb_conv1_stride_s: Count = 2, rgb_conv1_stride_t: Count = 1, rgb_pool1_stride_s: Count = 2,
        rgb_pool1_stride_t: Count = 1, rgb_with_pool2: bool = False,
        rgb_lateral: bool = True, rgb_lateral_inv: bool = False, rgb_lateral_infl: Count = 1,
        rgb_lateral_activate: list[Switch] | tuple = (0, 0, 1, 1), rgb_fusion_kernel: Count = 7,
        rgb_detach: bool = False, rgb_drop_path: PartialShare = 0.0,
        pose_in_channels: Count = 17, pose_base_channels: Count = 32,
        pose_stage_blocks: list[Count] | tuple = (4, 6, 3), pose_num_stages: Count = 3,
        pose_inflate: list[Switch] | tuple = (0, 1, 1),
        pose_spatial_strides: list[Count] | tuple = (2, 2, 2), pose_temporal_strides: list[Count] | tuple = (1, 1, 1),
        pose_dilations: list[Count] | tuple = (1, 1, 1), pose_conv1_kernel: list[Count] | tuple = (1, 7, 7),
        pose_conv1_stride_s: Count = 1, pose_conv1_stride_t: Count = 1, pose_pool1_stride_s: Count = 1,
        pose_pool1_stride_t: Count = 1, pose_with_pool2: bool = False,
        pose_lateral: bool = True, pose_lateral_inv: bool = True, pose_lateral_infl: Count = 16,
        pose_lateral_activate: list[Switch] | tuple = (0, 1, 1), pose_fusion_kernel: Count = 7,
        pose_detach: bool = False, pose_drop_path: PartialShare = 0.0, pose_out_indices: list[Whole] | tuple = (2,),
        loss_components: list[str] | tuple = MODALITIES, loss_weights: list[NonNegative] | tuple = (1.0, 1.0),
        head_in_channels: list[Count] | None = None, dropout_ratio: PartialShare = 0.5, zero_init_residual: bool = True,
    ):  # fmt: skip
        super().__init__()
        rgb = PathwayConfig(
            error_prefix="RGBPoseConv3D: rgb_", in_channels=rgb_in_channels, base_channels=rgb_base_channels,
            stage_blocks=rgb_stage_blocks, num_stages=rgb_num_stages, inflate=rgb_inflate,
            spatial_strides=rgb_spatial_strides, temporal_strides=rgb_temporal_strides, dilations=rgb_dilations,
            conv1_kernel=rgb_conv1_kernel, conv1_stride_s=rgb_conv1_stride_s, conv1_stride_t=rgb_conv1_stride_t,
            pool1_stride_s=rgb_pool1_stride_s, pool1_stride_t=rgb_pool1_stride_t, with_pool2=rgb_with_pool2,
            lateral=rgb_lateral, lateral_inv=rgb_lateral_inv, lateral_infl=rgb_lateral_infl,
            lateral_activate=rgb_lateral_activate, fusion_kernel=rgb_fusion_kernel,
        )  # fmt: skip
        pose = PathwayConfig(
            error_prefix="RGBPoseConv3D: pose_", in_channels=pose_in_channels, base_channels=pose_base_channels,
            stage_blocks=pose_stage_blocks, num_stages=pose_num_stages, inflate=pose_inflate,
            spatial_strides=pose_spatial_strides, temporal_strides=pose_temporal_strides, dilations=pose_dilations,
            conv1_kernel=pose_conv1_kernel, conv1_stride_s=pose_conv1_stride_s, conv1_stride_t=pose_conv1_stride_t,
            pool1_stride_s=pose_pool1_stride_s, pool1_stride_t=pose_pool1_stride_t, with_pool2=pose_with_pool2,
            lateral=pose_lateral, lateral_inv=pose_lateral_inv, lateral_infl=pose_lateral_infl,
            lateral_activate=pose_lateral_activate, fusion_kernel=pose_fusion_kernel,
        )  # fmt: skip
        self.backbone = TwoPathways(
            {"rgb": rgb, "pose": pose}, speed_ratio, channel_ratio, {"rgb": rgb_detach, "pose": pose_detach},
            {"rgb": rgb_drop_path, "pose": pose_drop_path}, zero_init_residual,
        )  # fmt: skip
        self.num_features = [config.get_in_channels(config.num_stages) for config in (rgb, pose)]
        _check_head(self.num_features, head_in_channels, pose, pose_out_indices, loss_components)
        self.modalities = tuple(loss_components)
        self.loss_weights = self.name_loss_weights(list(loss_components), list(loss_weights))
        self.skips_layers = bool(rgb_drop_path or pose_drop_path or len(loss_components) < len(MODALITIES))
        self.dropout = nn.Dropout(dropout_ratio)
        self.fc_rgb, self.fc_pose = (make_classifier(width, num_classes, std=0.01) for width in self.num_features)

    def name_loss_weights(self, modalities: list, weights: list) -> dict:
        """Return {head: weight of its loss} for the heads of some modalities.

        Raises:
            ValueError: the number of weights is not that of the heads.
        """
        heads = self.list_heads(modalities)
        if len(weights) != len(heads):
            raise ValueError(f"{type(self).__name__}: loss_weights must be those of {', '.join(heads)}, got {weights}")
        return dict(zip(heads, weights, strict=True))

    @property
    def classifiers(self) -> dict:
        """The classifiers by the name of their head."""
        return {"rgb": self.fc_rgb, "pose": self.fc_pose}

    def list_heads(self, modalities: list) -> list:
        """List the heads of some modalities."""
        return modalities

    def forward(self, rgb, pose) -> dict:
        """Map clips (N, 3, T, H, W) and heat maps (N, V, T', H', W') to {name: logits (N, num_classes)}.

        Raises:
            ValueError: the frames or sizes of clips and heat maps do not fit each other.
        """
        return self.run_heads(self.backbone({"rgb": rgb, "pose": pose}))

    def list_classifiers(self) -> list:
        """Return the linear layer of each trained modality."""
        return [self.classifiers[name] for name in self.modalities]

    def list_explained_layers(self) -> list:
        """Return the last block of each stage of each pathway, the last stage first."""
        return [
            ExplainedLayer(block, "NT C H W", index)
            for index, name in enumerate(MODALITIES)
            for block in self.backbone.pathways[name].list_stage_ends()
        ]

    def name_outputs(self, outputs: dict) -> dict:
        """Return `outputs`, which are named already."""
        return outputs

    def run_heads(self, features: dict) -> dict:
        """Map the pathways' features {name: (frames (N*T, C, H, W), T)} to {name: logits}."""
        return {name: self.classify(name, average_frames(*features[name])) for name in MODALITIES}

    def classify(self, head: str, features):
        """Map features (N, C) to the logits of a head."""
        return self.classifiers[head](self.dropout(features))

    def compute_losses(self, outputs: dict, labels, criterion, is_mixed: bool = False) -> dict:
        """Return `rgb_loss_cls` and `pose_loss_cls`, weighted."""
        return {
            f"{head}_loss_cls": weight * criterion(outputs[head], labels) for head, weight in self.loss_weights.items()
        }


def _check_head(num_features, head_in_channels, pose: PathwayConfig, pose_out_indices, loss_components) -> None:
    """Raise a ValueError for arguments of the heads that do not fit the pathways."""
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
