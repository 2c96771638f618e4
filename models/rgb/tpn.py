"""TPN: a temporal pyramid network over the last stages of a SlowOnly or TSM backbone.

Paper: "Temporal Pyramid Network for Action Recognition", C. Yang, Y. Xu, J. Shi, B. Dai, B. Zhou, CVPR 2020,
arXiv:2004.03548. Official repository: https://github.com/decisionforce/TPN (commit 117a4d1); it stands in
https://github.com/open-mmlab/mmaction2 (commit 4d6c934) too, and the checkpoints of both fit.

Each level is brought to the size of the top one (spatial modulation), then pooled in time at a rate of its own
(temporal modulation). The levels are summed from the top down and from the bottom up; either way they are fused, and
both results are fused into one map.

The published configurations, T frames: ResNet-50 has temporal_scales [T, T] and all other scales 1. ResNet-101 has
temporal_scales [T/2, T], downsample_scale [2, 1, 1] and fusion_scales [[2, 1, 1], [1, 1, 1]]; the upper level, one
frame, is then added to both frames of the lower one.

Where we differ: nothing is asked of the number of frames after the neck. What remains of time and space is averaged,
where MMAction2 takes a window from the first input that its TSM variant ever sees.
"""

import functools

import paddle
import paddle.nn.functional as F
from paddle import nn

from models.parts.action_model import ActionModel
from models.parts.inflate import read_imagenet
from models.parts.layers import make_classifier
from models.parts.resnet2d import MMACTION2_RULES, TPN_RULES, read_mmaction2, read_tpn, split_frames
from models.rgb.slowonly import SlowOnlyResNet
from models.rgb.tsm import ShiftResNet

GROUPS = 32  # of the temporal modulation, and of each level's convolution before a fusion
FLOWS = ("cascade", "parallel")
ONCE = [1, 1, 1]  # leaves T, H and W as they are
EIGHT_FRAMES = [8, 8]  # of two levels nothing but one frame each
BACKBONES = ("slowonly", "tsm")


def neck_conv(in_channels: int, out_channels: int, kernel_size: tuple, stride=1, groups: int = 1) -> nn.Conv3D:
    """Make a convolution without bias that keeps the size (but for `stride`), drawn by Xavier's rule."""
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
    """Take the maximum in windows of `scale` = [T, H, W]; a window that juts out counts, with what it holds."""
    if list(scale) == ONCE:
        return x
    return F.max_pool3d(x, kernel_size=list(scale), stride=list(scale), ceil_mode=True)


def upsample(x, scale: list):
    """Repeat each voxel `scale` = [T, H, W] times."""
    if list(scale) == ONCE:
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
    """Pools and convolves each level, concatenates them, low ones first, and convolves that."""

    def __init__(self, num_levels: int, in_channels: int, out_channels: int, scales: list):
        super().__init__()
        one = (1, 1, 1)
        self.scales = scales
        self.levels = nn.LayerList([ConvNorm(in_channels, in_channels, one, groups=GROUPS) for _ in range(num_levels)])
        self.fusion = ConvNorm(num_levels * in_channels, out_channels, one)

    def forward(self, levels: list):
        """Map levels (N, in_channels, T, H, W), of equal size after their pools, to (N, out_channels, T', H', W')."""
        parts = [self.levels[i](pool(x, self.scales[i])) for i, x in enumerate(levels)]
        return self.fusion(paddle.concat(parts, axis=1))


def make_spatial(channels: int, out_channels: int) -> nn.Sequential:
    """Make the spatial modulation of a level: each step halves H and W and doubles the channels."""
    steps = []
    while 2 * channels <= out_channels:
        steps.append(ConvNorm(channels, 2 * channels, (1, 3, 3), (1, 2, 2)))
        channels *= 2
    return nn.Sequential(*steps)


class AuxHead(nn.Layer):
    """Classifies the level below the top one as the backbone left it, in training only."""

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
        channels: of the levels, low ones first; the top level's are those of the output.

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
        self.spatial = nn.LayerList([make_spatial(one, top) for one in channels])
        self.temporal = nn.LayerList([ConvPool(top, top // 2, [one, 1, 1], GROUPS) for one in temporal_scales])
        self.top_down_fusion = LevelFusion(num_levels, top // 2, top, fusion_scales)
        self.bottom_up = nn.LayerList([ConvPool(top // 2, top // 2, downsample_scale) for _ in range(num_levels - 1)])
        self.bottom_up_fusion = LevelFusion(num_levels, top // 2, top, fusion_scales)
        self.pyramid_fusion = ConvNorm(2 * top, top, (1, 1, 1))

    def forward(self, levels: list):
        """Map the backbone's levels (N, C, T, H, W), low ones first, to (N, top C, T', H', W').

        A level may be one frame where its neighbour is several; it is added to each of them.
        """
        levels = [self.temporal[i](self.spatial[i](x)) for i, x in enumerate(levels)]
        down = list(levels)
        for i in range(len(down) - 1, 0, -1):
            down[i - 1] = down[i - 1] + upsample(down[i], self.upsample_scale)
        up = list(down if self.flow == "cascade" else levels)
        for i, shrink in enumerate(self.bottom_up):
            up[i + 1] = up[i + 1] + shrink(up[i])
        both = [self.top_down_fusion(down), self.bottom_up_fusion(up)]
        return self.pyramid_fusion(paddle.concat(both, axis=1))


# What became of the names of a neck. The two repositories number the level fusions crosswise: TPN's `level_fusion_op2`
# is for the top-down pass. Since their shapes are equal, crossed weights would load, and give wrong logits.
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

    In training it gives {"logits": (N, num_classes), "aux": (N, num_classes)}, and `loss_weights` says how much the
    loss of the latter counts.

    Args:
        num_classes: number of logits.
        backbone: "slowonly" or "tsm".
        depth: 50 or 101; 14 and 26 are small ones for trials.
        temporal_scales: a number for each level, low ones first: its frames are pooled by that. There are as many
            levels, from 2 to 4; the top one is the last stage.
        upsample_scale: [T, H, W], by which a level is repeated before it is added to the one below.
        downsample_scale: [T, H, W], by which a level is pooled before it is added to the one above.
        fusion_scales: [T, H, W] for each level, by which it is pooled before a fusion; None: not at all.
        flow: "cascade", in which the bottom-up pass goes on from the sums of the top-down one, or "parallel", in which
            it begins anew.
        aux_weight: of the auxiliary loss; 0 leaves its head out.
        shift: of a TSM backbone, see `TSM`.
        dropout_ratio: of the features, before each classifier.
        zero_init_residual: begin with the last batch norm of every block at 0, as MMAction2 does with SlowOnly.
        widen_factor: multiplies all widths; a multiple of 1/32.
        in_channels: channels of a frame; 3 for RGB, 2 for optical flow.

    Raises:
        ValueError: a value that is not one of the above.
    """

    TORCH_SOURCES = {
        "mmaction2": functools.partial(read_mmaction2, rules=NECK_MMACTION2_RULES + MMACTION2_RULES),
        "tpn": functools.partial(read_tpn, rules=NECK_TPN_RULES + TPN_RULES),
        "imagenet": read_imagenet,
    }

    def __init__(
        self,
        num_classes: int,
        backbone: str = "slowonly",
        depth: int = 50,
        temporal_scales: list[int] = EIGHT_FRAMES,
        upsample_scale: list[int] = ONCE,
        downsample_scale: list[int] = ONCE,
        fusion_scales: list[list] | None = None,
        flow: str = "cascade",
        aux_weight: float = 0.5,
        shift: str | None = "residual",
        dropout_ratio: float = 0.5,
        zero_init_residual: bool = True,
        widen_factor: float = 1.0,
        in_channels: int = 3,
    ):
        super().__init__()
        fusion_scales = fusion_scales or [ONCE] * len(temporal_scales)
        _check(backbone, temporal_scales, upsample_scale, downsample_scale, fusion_scales, flow, widen_factor)
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
        """Refuse weights that were trained with another shift; see `ShiftResNet`."""
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

    @property
    def has_auxiliary_output(self) -> bool:
        """Whether `forward` returns the auxiliary head's logits too: in training, if that head has a weight."""
        return self.training and bool(self.loss_weights)

    def name_outputs(self, outputs) -> dict:
        """Return {"logits": .., "aux": ..}, or without "aux" where `forward` returns logits alone."""
        return outputs if self.has_auxiliary_output else super().name_outputs(outputs)

    def compute_losses(self, outputs: dict, labels, criterion, is_mixed: bool = False) -> dict:
        """Return `loss_cls`, and `loss_aux`, weighted, where the auxiliary head has an output."""
        losses = super().compute_losses(outputs, labels, criterion, is_mixed)
        if "aux" in outputs:
            losses["loss_aux"] = self.loss_weights["aux"] * criterion(outputs["aux"], labels)
        return losses


def _check(backbone, temporal_scales, upsample_scale, downsample_scale, fusion_scales, flow, widen_factor) -> None:
    """Refuse arguments that make no network."""
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
