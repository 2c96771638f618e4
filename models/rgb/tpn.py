"""TPN: a temporal pyramid network over the last stages of a SlowOnly or TSM backbone.

Paper: "Temporal Pyramid Network for Action Recognition", C. Yang, Y. Xu, J. Shi, B. Dai, B. Zhou, CVPR 2020,
arXiv:2004.03548. Official repository: https://github.com/decisionforce/TPN (commit 117a4d1);
https://github.com/open-mmlab/mmaction2 (commit 4d6c934) has it too, and the checkpoints of both fit.

Each level is brought to the size of the top one (spatial modulation), then pooled in time at its own rate (temporal
modulation). The levels are summed top-down and bottom-up; each pass is fused to one map, and both maps to one.

The published configurations, for T frames: ResNet-50 has temporal_scales [T, T] and all other scales 1. ResNet-101 has
temporal_scales [T/2, T], downsample_scale [2, 1, 1] and fusion_scales [[2, 1, 1], [1, 1, 1]]; the upper level, one
frame, is then added to both frames of the lower one.

Where we differ: any number of frames may remain after the neck. Time and space are averaged, where MMAction2's TSM
variant fixes the pooling window by its first input.
"""

import functools

import paddle
import paddle.nn.functional as F
from paddle import nn

from common.ranges import Count, NonNegative, PartialShare, Positive
from models.parts.action_model import ActionModel, ExplainedLayer
from models.parts.inflate import convert_imagenet_weights
from models.parts.layers import make_classifier
from models.parts.resnet2d import (
    MMACTION2_RULES,
    TPN_RULES,
    convert_mmaction2_weights,
    convert_tpn_weights,
    split_frames,
)
from models.rgb.slowonly import SlowOnlyResNet
from models.rgb.tsm import ShiftResNet

GROUPS = 32  # of the temporal modulation, and of each level's convolution before a fusion
FLOWS = ("cascade", "parallel")
NO_SCALING = [1, 1, 1]  # of T, H and W
DEFAULT_TEMPORAL_SCALES = [8, 8]  # two levels; 8 frames become 1
BACKBONES = ("slowonly", "tsm")


def neck_conv(in_channels: int, out_channels: int, kernel_size: tuple, stride=1, groups: int = 1) -> nn.Conv3D:
    """Make a convolution without bias, padded to keep the size (divided by `stride`), Xavier-uniform."""
    return nn.Conv3D(
        in_channels,
        out_channels,
        kernel_size,
        stride=stride,
        padding=[size // 2 for size in kernel_size],
        groups=groups,
        weight_attr=nn.initializer.XavierUniform(),
        bias_attr=False,
    )


def pool(x, scale: list):
    """Max-pool with kernel and stride `scale` = [T, H, W], sizes rounded up."""
    if list(scale) == NO_SCALING:
        return x
    return F.max_pool3d(x, kernel_size=list(scale), stride=list(scale), ceil_mode=True)


def upsample(x, scale: list):
    """Repeat each voxel `scale` = [T, H, W] times."""
    if list(scale) == NO_SCALING:
        return x
    return F.interpolate(x, scale_factor=list(scale), mode="nearest", data_format="NCDHW")


class ConvNorm(nn.Layer):
    """Convolution, batch norm, ReLU."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: tuple, stride=1, groups: int = 1):
        super().__init__()
        self.conv = neck_conv(in_channels, out_channels, kernel_size, stride, groups)
        self.bn = nn.BatchNorm3D(out_channels)

    def forward(self, x):
        """Map (N, in_channels, T, H, W) to (N, out_channels, T', H', W')."""
        return F.relu(self.bn(self.conv(x)))


class ConvPool(nn.Layer):
    """A 3x1x1 convolution, no batch norm, no activation, then a max pool."""

    def __init__(self, in_channels: int, out_channels: int, scale: list, groups: int = 1):
        super().__init__()
        self.conv = neck_conv(in_channels, out_channels, (3, 1, 1), groups=groups)
        self.scale = scale

    def forward(self, x):
        """Map (N, in_channels, T, H, W) to (N, out_channels, T', H', W'), sizes divided by `scale`, rounded up."""
        return pool(self.conv(x), self.scale)


class LevelFusion(nn.Layer):
    """Pool and convolve each level, concatenate them, low ones first, and convolve the result."""

    def __init__(self, num_levels: int, in_channels: int, out_channels: int, scales: list):
        super().__init__()
        kernel_size = (1, 1, 1)
        self.scales = scales
        self.levels = nn.LayerList(
            [ConvNorm(in_channels, in_channels, kernel_size, groups=GROUPS) for _ in range(num_levels)]
        )
        self.fusion = ConvNorm(num_levels * in_channels, out_channels, kernel_size)

    def forward(self, levels: list):
        """Map levels (N, in_channels, T, H, W), of equal size after their pools, to (N, out_channels, T', H', W')."""
        levels = [self.levels[i](pool(x, self.scales[i])) for i, x in enumerate(levels)]
        return self.fusion(paddle.concat(levels, axis=1))


def make_spatial_modulation(channels: int, out_channels: int) -> nn.Sequential:
    """Make the spatial modulation of a level: each step halves H and W and doubles the channels."""
    steps = []
    while 2 * channels <= out_channels:
        steps.append(ConvNorm(channels, 2 * channels, (1, 3, 3), (1, 2, 2)))
        channels *= 2
    return nn.Sequential(*steps)


class AuxHead(nn.Layer):
    """The auxiliary head: classify the backbone's output for the level below the top one, in training only."""

    def __init__(self, in_channels: int, num_classes: int, dropout_ratio: float):
        super().__init__()
        self.conv = ConvNorm(in_channels, 2 * in_channels, (1, 3, 3), (1, 2, 2))
        self.dropout = nn.Dropout(dropout_ratio)
        self.fc = make_classifier(2 * in_channels, num_classes, std=0.01)

    def forward(self, x):
        """Map (N, in_channels, T, H, W) to logits (N, num_classes)."""
        x = self.conv(x).mean(axis=[2, 3, 4])
        return self.fc(self.dropout(x))


class Neck(nn.Layer):
    """The pyramid.

    Args:
        channels: of the levels, low ones first; the output has those of the top level.

    The other arguments are those of `TPN`.
    """

    def __init__(
        self,
        channels: list,
        temporal_scales: list,
        upsample_scale: list,
        downsample_scale: list,
        fusion_scales: list,
        flow: str,
    ):
        super().__init__()
        top, num_levels = channels[-1], len(channels)
        self.upsample_scale, self.flow = upsample_scale, flow
        self.spatial = nn.LayerList([make_spatial_modulation(width, top) for width in channels])
        self.temporal = nn.LayerList([ConvPool(top, top // 2, [scale, 1, 1], GROUPS) for scale in temporal_scales])
        self.top_down_fusion = LevelFusion(num_levels, top // 2, top, fusion_scales)
        self.bottom_up = nn.LayerList([ConvPool(top // 2, top // 2, downsample_scale) for _ in range(num_levels - 1)])
        self.bottom_up_fusion = LevelFusion(num_levels, top // 2, top, fusion_scales)
        self.pyramid_fusion = ConvNorm(2 * top, top, (1, 1, 1))

    def forward(self, levels: list):
        """Map the backbone's levels (N, C, T, H, W), low ones first, to (N, top C, T', H', W').

        A level of one frame is added to each frame of its neighbour.
        """
        levels = [self.temporal[i](self.spatial[i](x)) for i, x in enumerate(levels)]
        top_down = list(levels)
        for i in range(len(levels) - 1, 0, -1):
            top_down[i - 1] = top_down[i - 1] + upsample(top_down[i], self.upsample_scale)
        bottom_up = list(top_down if self.flow == "cascade" else levels)
        for i, downsample in enumerate(self.bottom_up):
            bottom_up[i + 1] = bottom_up[i + 1] + downsample(bottom_up[i])
        fused = [self.top_down_fusion(top_down), self.bottom_up_fusion(bottom_up)]
        return self.pyramid_fusion(paddle.concat(fused, axis=1))


# The authors' names of a neck -> ours. The two repositories number the level fusions in opposite order: TPN's
# `level_fusion_op2` is for the top-down pass. Their shapes are equal: swapped weights would load and give wrong logits.
NECK_MMACTION2_RULES = [
    (r"^neck\.spatial_modulation\.spatial_modulation\.", "neck.spatial."),
    (r"^neck\.temporal_modulation_ops\.(\d+)\.conv\.", r"neck.temporal.\1."),
    (r"^neck\.downsample_ops\.(\d+)\.conv\.", r"neck.bottom_up.\1."),
    (r"^neck\.level_fusion_1\.", "neck.top_down_fusion."),
    (r"^neck\.level_fusion_2\.", "neck.bottom_up_fusion."),
    (r"_fusion\.downsamples\.(\d+)\.conv\.", r"_fusion.levels.\1."),
    (r"_fusion\.fusion_conv\.", "_fusion.fusion."),
]
NECK_TPN_RULES = [
    (r"^necks\.", "neck."),
    (r"^neck\.spatial_modulation\.spatial_modulation\.", "neck.spatial."),
    (r"^neck\.temporal_modulation_ops\.", "neck.temporal."),
    (r"^neck\.downsampling_ops\.", "neck.bottom_up."),
    (r"^neck\.level_fusion_op2\.", "neck.top_down_fusion."),
    (r"^neck\.level_fusion_op\.", "neck.bottom_up_fusion."),
    (r"_fusion\.ops\.(\d+)\.norm\.", r"_fusion.levels.\1.bn."),
    (r"_fusion\.ops\.", "_fusion.levels."),
    (r"_fusion\.fusion_conv\.0\.", "_fusion.fusion.conv."),
    (r"_fusion\.fusion_conv\.1\.", "_fusion.fusion.bn."),
    (r"^neck\.pyramid_fusion_op\.0\.", "neck.pyramid_fusion.conv."),
    (r"^neck\.pyramid_fusion_op\.1\.", "neck.pyramid_fusion.bn."),
    (r"^neck\.aux_head\.convs\.", "neck.aux_head.conv."),
]


class TPN(ActionModel):
    """Temporal pyramid network.

    In training it returns {"logits": (N, num_classes), "aux": (N, num_classes)}; `loss_weights` has the weight of the
    auxiliary loss.

    Args:
        num_classes: number of logits.
        backbone: "slowonly" or "tsm".
        depth: 50 or 101; also 14 and 26, small ones for trials.
        temporal_scales: for each level, low ones first, the pooling factor of its frames. Its length, 2 to 4, is the
            number of levels; the top one is the last stage.
        upsample_scale: [T, H, W], the factor by which a level is repeated before it is added to the one below.
        downsample_scale: [T, H, W], the factor by which a level is pooled before it is added to the one above.
        fusion_scales: for each level [T, H, W], the factor by which it is pooled before a fusion; None: no pooling.
        flow: "cascade", the bottom-up pass starts from the sums of the top-down pass, or "parallel", both start from
            the levels.
        aux_weight: of the auxiliary loss; 0 for no auxiliary head.
        shift: of a TSM backbone, see `TSM`.
        dropout_ratio: of the features, before each classifier.
        zero_init_residual: initialise the scale of each block's last batch norm as 0, as MMAction2 does with SlowOnly.
        widen_factor: multiplies all widths; a multiple of 1/32.
        in_channels: channels of a frame; 3 for RGB, 2 for optical flow.

    Raises:
        ValueError: an argument is not as described.
    """

    WEIGHT_SOURCES = {
        "mmaction2": functools.partial(convert_mmaction2_weights, rules=NECK_MMACTION2_RULES + MMACTION2_RULES),
        "tpn": functools.partial(convert_tpn_weights, rules=NECK_TPN_RULES + TPN_RULES),
        "imagenet": convert_imagenet_weights,
    }

    def __init__(
        self,
        num_classes: Count,
        backbone: str = "slowonly",
        depth: Count = 50,
        temporal_scales: list[Count] = DEFAULT_TEMPORAL_SCALES,
        upsample_scale: list[Count] = NO_SCALING,
        downsample_scale: list[Count] = NO_SCALING,
        fusion_scales: list[list] | None = None,
        flow: str = "cascade",
        aux_weight: NonNegative = 0.5,
        shift: str | None = "residual",
        dropout_ratio: PartialShare = 0.5,
        zero_init_residual: bool = True,
        widen_factor: Positive = 1.0,
        in_channels: Count = 3,
    ):
        super().__init__()
        fusion_scales = fusion_scales or [NO_SCALING] * len(temporal_scales)
        _check_arguments(backbone, temporal_scales, upsample_scale, downsample_scale, fusion_scales, flow, widen_factor)
        sizes = (depth, widen_factor, in_channels, zero_init_residual)
        self.backbone = SlowOnlyResNet(*sizes) if backbone == "slowonly" else ShiftResNet(shift, *sizes)
        channels = self.backbone.out_channels[-len(temporal_scales) :]
        self.neck = Neck(channels, temporal_scales, upsample_scale, downsample_scale, fusion_scales, flow)
        self.neck.aux_head = AuxHead(channels[-2], num_classes, dropout_ratio) if aux_weight else None
        self.dropout = nn.Dropout(dropout_ratio)
        self.fc = make_classifier(channels[-1], num_classes, std=0.01)
        self.num_levels = len(temporal_scales)
        self.loss_weights = {"aux": aux_weight} if aux_weight else {}

    def check_source(self, source: str) -> None:
        """Check that the weights were trained with the same shift; see `ShiftResNet`."""
        self.backbone.check_source(source)

    def forward(self, x):
        """Map clips (N, in_channels, T, H, W) to logits (N, num_classes), or to a dict of them in training."""
        num_frames = x.shape[2]
        levels = [split_frames(level, num_frames) for level in self.backbone(x)[-self.num_levels :]]
        features = self.neck(levels).mean(axis=[2, 3, 4])  # (N, 2048, T', H', W') -> (N, 2048)
        logits = self.fc(self.dropout(features))
        if not self.has_auxiliary_output:
            return logits
        return {"logits": logits, "aux": self.neck.aux_head(levels[-2])}

    def list_explained_layers(self) -> list:
        """Return the pyramid, then the last block of each stage below its top, the last stage first."""
        return [
            ExplainedLayer(self.neck),
            *(ExplainedLayer(block, "NT C H W") for block in self.backbone.list_stage_ends()[1:]),
        ]

    @property
    def has_auxiliary_output(self) -> bool:
        """Whether `forward` returns the auxiliary logits too: in training, if aux_weight is not 0."""
        return self.training and bool(self.loss_weights)

    def name_outputs(self, outputs) -> dict:
        """Return {"logits": .., "aux": ..}, or without "aux" where `forward` returns logits alone."""
        return outputs if self.has_auxiliary_output else ActionModel.name_outputs(self, outputs)

    def compute_losses(self, outputs: dict, labels, criterion, is_mixed: bool = False) -> dict:
        """Return `loss_cls`, and `loss_aux`, weighted, where the auxiliary head has an output."""
        losses = super().compute_losses(outputs, labels, criterion, is_mixed)
        if "aux" in outputs:
            losses["loss_aux"] = self.loss_weights["aux"] * criterion(outputs["aux"], labels)
        return losses


def _check_arguments(
    backbone, temporal_scales, upsample_scale, downsample_scale, fusion_scales, flow, widen_factor
) -> None:
    """Raise a ValueError for the first invalid argument."""
    triples = {"upsample_scale": upsample_scale, "downsample_scale": downsample_scale}
    triples.update({f"fusion_scales[{level}]": scale for level, scale in enumerate(fusion_scales)})
    faults = [
        (backbone not in BACKBONES, f"backbone must be one of {', '.join(BACKBONES)}, got {backbone!r}"),
        (flow not in FLOWS, f"flow must be one of {', '.join(FLOWS)}, got {flow!r}"),
        (not 2 <= len(temporal_scales) <= 4, f"temporal_scales must have 2 to 4 levels, got {temporal_scales}"),
        (min(temporal_scales, default=0) < 1, f"temporal_scales must be 1 or more, got {temporal_scales}"),
        (
            len(fusion_scales) != len(temporal_scales),
            f"fusion_scales must have one of {len(temporal_scales)} levels each, got {fusion_scales}",
        ),
        (widen_factor * GROUPS % 1 != 0, f"widen_factor must be a multiple of 1/{GROUPS}, got {widen_factor!r}"),
        *(
            (len(scale) != 3 or min(scale) < 1, f"{name} must be three numbers from 1, got {scale}")
            for name, scale in triples.items()
        ),
    ]
    for is_fault, message in faults:
        if is_fault:
            raise ValueError(f"TPN: {message}")
