"""SlowFast: a slow pathway of few frames and many channels beside a fast one of many frames and few channels.

Paper: "SlowFast Networks for Video Recognition", C. Feichtenhofer, H. Fan, J. Malik, K. He, ICCV 2019,
arXiv:1812.03982. Repositories whose checkpoints fit: https://github.com/open-mmlab/mmaction2 (commit 4d6c934) and
https://github.com/PaddlePaddle/PaddleVideo (commit ed245e9), which follows the official
https://github.com/facebookresearch/SlowFast.

They differ in the argument `variant`: with "mmaction2" the slow pathway gets every `speed_ratio`-th frame, as in the
paper, and laterals are plain convolutions; with "paddlevideo" it gets as many frames spread from the first to the last
one, and batch norm and ReLU follow each lateral. Where we differ: only in the implementation, see
`models/parts/pathway.py`.
"""

import re

import paddle
import paddle.nn.functional as F
from paddle import nn

from common.ranges import Count, PartialShare, Positive
from models.parts.action_model import ActionModel, ExplainedLayer
from models.parts.layers import check_clips, make_classifier
from models.parts.pathway import PATHWAY_RULES, Pathway, PathwayConfig, average_frames, convert_pathway_weights
from models.parts.resnet2d import NUM_BLOCKS, PLANES
from models.parts.two_pathways import Lateral
from models.parts.weights import rename_paddlevideo_weights

VARIANTS = ("mmaction2", "paddlevideo")
LATERAL_INFLATION = 2  # channels of a lateral's output for each of the fast pathway's


class NormalizedLateral(Lateral):
    """A lateral from the fast to the slow pathway with batch norm and ReLU; the arguments are those of `Lateral`."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, speed_ratio: int):
        super().__init__(in_channels, out_channels, kernel_size, speed_ratio, is_inverse=False)
        self.bn = nn.BatchNorm2D(out_channels)

    def forward(self, x, num_frames: int):
        """Map the fast frames (N*T, in_channels, H, W) to (N*T/speed_ratio, out_channels, H, W)."""
        return F.relu(self.bn(super().forward(x, num_frames)))


def list_spread_frames(num_frames: int, num_slow_frames: int) -> list:
    """List the frames of the slow pathway of PaddleVideo: from the first to the last one, rounded down."""
    gaps = max(num_slow_frames - 1, 1)
    return [index * (num_frames - 1) // gaps for index in range(num_slow_frames)]


class SlowFastResNet(nn.Layer):
    """Both pathways and the laterals before each stage, without global pool and classifier.

    Args:
        variant: see `SlowFast`, as all others.

    Raises:
        ValueError: an unknown variant or depth, an even `fusion_kernel`, or a factor that leaves no channels.
    """

    def __init__(
        self,
        variant: str,
        depth: int,
        speed_ratio: int,
        channel_ratio: int,
        fusion_kernel: int,
        zero_init_residual: bool,
        widen_factor: float,
        in_channels: int,
    ):
        super().__init__()
        if variant not in VARIANTS:
            raise ValueError(f"SlowFast: variant must be one of {', '.join(VARIANTS)}, got {variant!r}")
        if depth not in NUM_BLOCKS:
            raise ValueError(f"SlowFast: depth must be one of {', '.join(map(str, NUM_BLOCKS))}, got {depth!r}")
        width = int(PLANES[0] * widen_factor)
        if width < channel_ratio:
            raise ValueError(
                f"SlowFast: widen_factor must be at least {channel_ratio}/{PLANES[0]}, for one channel of the fast "
                f"pathway, got {widen_factor!r}"
            )
        self.variant, self.speed_ratio = variant, speed_ratio
        stages = {
            "in_channels": in_channels, "stage_blocks": NUM_BLOCKS[depth], "num_stages": 4,
            "spatial_strides": [1, 2, 2, 2], "temporal_strides": [1] * 4, "dilations": [1] * 4, "conv1_stride_s": 2,
            "pool1_stride_s": 2, "fusion_kernel": fusion_kernel,
        }  # fmt: skip
        slow = PathwayConfig("SlowFast: ", base_channels=width, inflate=[0, 0, 1, 1], **stages)
        fast = PathwayConfig(
            "SlowFast: ", base_channels=width // channel_ratio, inflate=[1] * 4, conv1_kernel=(5, 7, 7), **stages
        )
        make_lateral = NormalizedLateral if variant == "paddlevideo" else make_plain_lateral
        self.laterals, lateral_channels = nn.LayerDict(), []
        for stage in range(4):
            channels = fast.get_in_channels(stage)
            lateral_channels.append(LATERAL_INFLATION * channels)
            lateral = make_lateral(channels, lateral_channels[-1], fusion_kernel, speed_ratio)
            self.laterals[f"layer{stage + 1}"] = lateral
        self.slow_path = Pathway(slow, lateral_channels, zero_init_residual)
        self.fast_path = Pathway(fast, [0] * 4, zero_init_residual)
        self.out_channels = [config.get_in_channels(4) for config in (slow, fast)]

    def choose_slow_frames(self, clips):
        """Return the frames of the slow pathway of clips (N, C, T, H, W): (N, C, T/speed_ratio, H, W).

        Raises:
            ValueError: T is no multiple of `speed_ratio`.
        """
        num_frames = clips.shape[2]
        if num_frames % self.speed_ratio:
            raise ValueError(
                f"SlowFast: clips must have a multiple of speed_ratio {self.speed_ratio} frames, got {num_frames}; "
                "set READER.clip_len or MODEL.speed_ratio"
            )
        if self.variant == "mmaction2":
            return clips[:, :, :: self.speed_ratio]
        indices = list_spread_frames(num_frames, num_frames // self.speed_ratio)
        return paddle.stack([clips[:, :, index] for index in indices], axis=2)

    def forward(self, clips) -> list:
        """Map clips (N, in_channels, T, H, W) to [(slow frames (N*T/speed_ratio, C, H', W'), T/speed_ratio), fast]."""
        check_clips(clips, self.slow_path.config.in_channels, "SlowFast")
        slow, num_slow_frames = self.slow_path.run_stem(self.choose_slow_frames(clips))
        fast, num_fast_frames = self.fast_path.run_stem(clips)
        for stage in range(4):
            lateral = self.laterals[f"layer{stage + 1}"](fast, num_fast_frames)
            slow = paddle.concat([slow, lateral], axis=1)
            slow, _ = self.slow_path.run_stage(stage, slow, num_slow_frames)
            fast, _ = self.fast_path.run_stage(stage, fast, num_fast_frames)
        return [(slow, num_slow_frames), (fast, num_fast_frames)]


def make_plain_lateral(in_channels: int, out_channels: int, kernel_size: int, speed_ratio: int) -> Lateral:
    """Make a lateral from the fast to the slow pathway, a convolution only; the arguments are those of `Lateral`."""
    return Lateral(in_channels, out_channels, kernel_size, speed_ratio, is_inverse=False)


# MMAction2's names -> ours; its lateral after stage n is ours before stage n + 1.
MMACTION2_RULES = [
    (r"\.slow_path\.conv1_lateral\.", ".laterals.layer1."),
    (r"\.slow_path\.layer(\d)_lateral\.", lambda match: f".laterals.layer{int(match[1]) + 1}."),
    *PATHWAY_RULES,
]


def convert_mmaction2_slowfast_weights(weights: dict) -> dict:
    """Convert the weights of a SlowFast recognizer of MMAction2."""
    return convert_pathway_weights(weights, MMACTION2_RULES)


def rename_paddlevideo_stage(match: re.Match) -> str:
    """Rename a block from PaddleVideo's `s3.pathway1_res0` (stage 2 of the fast pathway, block 0)."""
    stage, pathway, block = match.groups()
    return f"backbone.{('slow', 'fast')[int(pathway)]}_path.layer{int(stage) - 1}.{block}."


# PaddleVideo's names without prefix -> ours; see `weights.apply_rules`.
PADDLEVIDEO_RULES = [
    (r"^s1\.pathway0_stem\.", "backbone.slow_path."),
    (r"^s1\.pathway1_stem\.", "backbone.fast_path."),
    (r"_path\._conv\.", "_path.conv1."),
    (r"_path\._bn\.", "_path.bn1."),
    (r"^s(\d)_fuse\._(conv|bn)(_f2s)?\.", r"backbone.laterals.layer\1.\2."),
    (r"^s(\d)\.pathway(\d)_res(\d+)\.", rename_paddlevideo_stage),
    (r"\.branch1\.", ".downsample.0."),
    (r"\.branch1_bn\.", ".downsample.1."),
    *((rf"\.branch2\.{letter}\.", f".conv{index}.") for index, letter in enumerate("abc", 1)),
    *((rf"\.branch2\.{letter}_bn\.", f".bn{index}.") for index, letter in enumerate("abc", 1)),
    (r"^projection\.", "fc."),
]


def convert_paddlevideo_slowfast_weights(weights: dict) -> dict:
    """Convert the weights of PaddleVideo's SlowFast."""
    return convert_pathway_weights(rename_paddlevideo_weights(weights, PADDLEVIDEO_RULES), [])


class SlowFast(ActionModel):
    """SlowFast: the pathways' features, averaged over time and space, concatenated; dropout, linear.

    Args:
        num_classes: number of logits.
        depth: 50 or 101; also 14 and 26, small ones for trials.
        variant: "mmaction2" or "paddlevideo", see above.
        speed_ratio: frames of the fast pathway, which gets the whole clip, for each one of the slow pathway: 8 in
            SlowFast 4x16 of 32 frames, 4 in 8x8.
        channel_ratio: channels of the slow pathway for each one of the fast pathway.
        fusion_kernel: frames of the kernels of laterals, odd; 5 in SlowFast 4x16, 7 in 8x8.
        dropout_ratio: of the features, before the classifier.
        zero_init_residual: initialise the scale of each block's last batch norm as 0.
        widen_factor: multiplies all widths, rounded down.
        in_channels: channels of a frame; 3 for RGB, 2 for optical flow.

    Raises:
        ValueError: an unknown variant or depth, an even `fusion_kernel`, or a factor that leaves no channels.
    """

    WEIGHT_SOURCES = {
        "mmaction2": convert_mmaction2_slowfast_weights,
        "paddlevideo": convert_paddlevideo_slowfast_weights,
    }

    def __init__(
        self,
        num_classes: Count,
        depth: Count = 50,
        variant: str = "mmaction2",
        speed_ratio: Count = 8,
        channel_ratio: Count = 8,
        fusion_kernel: Count = 5,
        dropout_ratio: PartialShare = 0.5,
        zero_init_residual: bool = True,
        widen_factor: Positive = 1.0,
        in_channels: Count = 3,
    ):
        super().__init__()
        self.backbone = SlowFastResNet(
            variant, depth, speed_ratio, channel_ratio, fusion_kernel, zero_init_residual, widen_factor, in_channels
        )
        self.dropout = nn.Dropout(dropout_ratio)
        self.fc = make_classifier(sum(self.backbone.out_channels), num_classes, std=0.01)

    @classmethod
    def list_source_arguments(cls, source: str) -> dict:
        """Return the variant of a repository, which its weights always need."""
        return {"variant": source}

    def check_source(self, source: str) -> None:
        """Check that the weights were trained with the same variant.

        Raises:
            ValueError: they were not; the message has the value of MODEL.variant to set.
        """
        if source != self.backbone.variant:
            raise ValueError(
                f"weights of {source} were trained with variant {source!r}, this network has "
                f"{self.backbone.variant!r}; set -o MODEL.variant={source}"
            )

    def forward(self, x):
        """Map clips (N, in_channels, T, H, W), T a multiple of `speed_ratio`, to logits (N, num_classes)."""
        slow, fast = (average_frames(*features) for features in self.backbone(x))  # -> (N, 2048), (N, 256)
        order = [fast, slow] if self.backbone.variant == "mmaction2" else [slow, fast]
        return self.fc(self.dropout(paddle.concat(order, axis=1)))

    def list_explained_layers(self) -> list:
        """Return the last block of each stage of the slow pathway, which has most features, the last stage first."""
        return [ExplainedLayer(block, "NT C H W") for block in self.backbone.slow_path.list_stage_ends()]
