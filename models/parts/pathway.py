"""A pathway of PoseC3D and RGBPoseConv3D: a SlowOnly network whose stages, strides and kernels are free.

Paper: "Revisiting Skeleton-based Action Recognition", H. Duan, Y. Zhao, K. Chen, D. Lin, B. Dai, CVPR 2022,
arXiv:2104.13586. Repositories whose checkpoints fit: https://github.com/kennymckormick/pyskl (commit 3f6795f) and
https://github.com/open-mmlab/mmaction2 (commit 4d6c934).

The frames of all clips stand in the batch axis, (N*T, C, H, W), as in `models/parts/resnet2d.py`; names are those of
the backbone of `SlowOnly`. Where we differ: in nothing but how it is written.
"""

import dataclasses

import paddle
import paddle.nn.functional as F
from paddle import nn

from models.parts.layers import check_clips, conv2d
from models.parts.resnet2d import merge_frames
from models.parts.weights import rename

EXPANSION = 4  # output channels of a block for each of its planes


@dataclasses.dataclass
class Plan:
    """What a pathway is made of; the keys of a config, so that the checks stand in one place.

    Attributes:
        where: what errors begin with; the name of the key follows it.
        in_channels: channels of a frame.
        base_channels: of the stem; each stage has twice the width of the one before.
        stage_blocks: blocks in each stage; the first `num_stages` count.
        num_stages: how many there are.
        inflate: 1 for each stage whose blocks begin with a 3x1x1 convolution, 0 for a 1x1x1 one.
        spatial_strides: of each stage, by its first block.
        temporal_strides: of each stage, by its first block.
        dilations: of each stage's 1x3x3 convolutions, in rows and columns.
        conv1_kernel: [T, H, W] of the stem, odd.
        conv1_stride_s: of the stem, in rows and columns.
        conv1_stride_t: of the stem, in frames.
        pool1_stride_s: of the 1x3x3 max pool after it, in rows and columns.
        pool1_stride_t: of that pool, in frames.
        with_pool2: take the maximum of every two frames after the first stage.
        lateral: take features from the other pathway.
        lateral_inv: by a transposed convolution, which makes more frames, then batch norm and ReLU; else by a plain
            one, which makes fewer.
        lateral_infl: see `lateral_channels`.
        lateral_activate: 1 for each stage that takes them, 0 for others.
        fusion_kernel: frames of that convolution, odd.

    Raises:
        ValueError: a list that is too short, or a number that is too small or even.
    """

    where: str
    in_channels: int
    base_channels: int
    stage_blocks: list
    num_stages: int
    inflate: list
    spatial_strides: list
    temporal_strides: list
    dilations: list
    conv1_kernel: list = (1, 7, 7)
    conv1_stride_s: int = 1
    conv1_stride_t: int = 1
    pool1_stride_s: int = 1
    pool1_stride_t: int = 1
    with_pool2: bool = False
    lateral: bool = False
    lateral_inv: bool = False
    lateral_infl: int = 1
    lateral_activate: list | None = None
    fusion_kernel: int = 7

    def __post_init__(self):
        if not self.stage_blocks or min(self.stage_blocks) < 1:
            raise ValueError(
                f"{self.where}stage_blocks must hold a number from 1 for each stage, got {self.stage_blocks}"
            )
        if not 1 <= self.num_stages <= len(self.stage_blocks):
            raise ValueError(
                f"{self.where}num_stages must be from 1 to {len(self.stage_blocks)}, which stage_blocks has, "
                f"got {self.num_stages}"
            )
        self.stage_blocks = list(self.stage_blocks)[: self.num_stages]
        if self.lateral_activate is None:
            self.lateral_activate = [0] * self.num_stages
        least = {"inflate": 0, "spatial_strides": 1, "temporal_strides": 1, "dilations": 1, "lateral_activate": 0}
        for name, smallest in least.items():
            values = getattr(self, name)
            if len(values) != self.num_stages or min(values) < smallest:
                raise ValueError(
                    f"{self.where}{name} must hold a number from {smallest} for each of {self.num_stages} stages, "
                    f"got {values}"
                )
        names = ("in_channels", "base_channels", "conv1_stride_s", "conv1_stride_t", "pool1_stride_s", "pool1_stride_t")
        for name in (*names, "lateral_infl"):
            if getattr(self, name) < 1:
                raise ValueError(f"{self.where}{name} must be at least 1, got {getattr(self, name)}")
        if len(self.conv1_kernel) != 3 or any(size % 2 == 0 for size in self.conv1_kernel):
            raise ValueError(f"{self.where}conv1_kernel must be three odd numbers, got {self.conv1_kernel}")
        if self.fusion_kernel % 2 == 0:
            raise ValueError(f"{self.where}fusion_kernel must be odd, got {self.fusion_kernel}")

    def channels_before(self, stage: int) -> int:
        """Return the pathway's own channels that a stage sees, counted from 0; after the last one, the features'."""
        return self.base_channels if stage == 0 else self.base_channels * 2 ** (stage - 1) * EXPANSION

    def lateral_channels(self, stage: int, channel_ratio: int) -> int:
        """Return the channels that a stage takes from the other pathway.

        Their number goes by the pathway's own: `lateral_infl` / `channel_ratio` of them, or `channel_ratio` /
        `lateral_infl` if `lateral_inv`.
        """
        if not (self.lateral and self.lateral_activate[stage]):
            return 0
        ratio = (channel_ratio, self.lateral_infl) if self.lateral_inv else (self.lateral_infl, channel_ratio)
        return self.channels_before(stage) * ratio[0] // ratio[1]


def convolve_in_time(conv: nn.Layer, x, num_frames: int):
    """Map frames (N*T, C, H, W) to (N*T', C', H, W) by a convolution whose kernel is (frames, 1).

    Rows and columns are one axis for it, so that it is a 2-D one.
    """
    _, channels, height, width = x.shape
    clips = x.reshape([-1, num_frames, channels, height * width])
    clips = conv(clips.transpose([0, 2, 1, 3]))  # (N, C, T, H*W) -> (N, C', T', H*W)
    clips = clips.transpose([0, 2, 1, 3])
    return clips.reshape([-1, clips.shape[2], height, width])


def thin_frames(x, num_frames: int, stride: int):
    """Keep every `stride`-th frame of (N*T, C, H, W), the first one of each clip included."""
    if stride == 1:
        return x
    clips = x.reshape([-1, num_frames, *x.shape[1:]])
    return clips[:, ::stride].reshape([-1, *x.shape[1:]])


def count_thinned(num_frames: int, stride: int) -> int:
    """Return how many frames of a clip `thin_frames` keeps."""
    return -(-num_frames // stride)


class PathwayBlock(nn.Layer):
    """A bottleneck whose first convolution may be 3x1x1 and whose second one has the strides.

    Args:
        in_channels: of the input.
        planes: width of the first two convolutions.
        is_inflated: begin with a 3x1x1 convolution.
        spatial_stride: in rows and columns.
        temporal_stride: in frames.
        dilation: of the 1x3x3 convolution.
        zero_init_residual: begin with the last batch norm at 0, so that the block adds nothing.
    """

    def __init__(
        self,
        in_channels: int,
        planes: int,
        is_inflated: bool,
        spatial_stride: int,
        temporal_stride: int,
        dilation: int,
        zero_init_residual: bool,
    ):
        super().__init__()
        out_channels = EXPANSION * planes
        self.is_inflated, self.temporal_stride = is_inflated, temporal_stride
        self.conv1 = conv2d(in_channels, planes, (3, 1) if is_inflated else (1, 1))
        self.bn1 = nn.BatchNorm2D(planes)
        self.conv2 = conv2d(planes, planes, (3, 3), spatial_stride, dilation)
        self.bn2 = nn.BatchNorm2D(planes)
        self.conv3 = conv2d(planes, out_channels, (1, 1))
        scale = nn.initializer.Constant(0.0 if zero_init_residual else 1.0)
        self.bn3 = nn.BatchNorm2D(out_channels, weight_attr=scale)
        self.downsample = None
        if spatial_stride != 1 or in_channels != out_channels:
            shortcut = conv2d(in_channels, out_channels, (1, 1), spatial_stride)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm2D(out_channels))

    def forward(self, x, num_frames: int):
        """Map (N*T, in_channels, H, W) to (N*T', 4 planes, H', W'), sizes divided by the strides, rounded up."""
        y = convolve_in_time(self.conv1, x, num_frames) if self.is_inflated else self.conv1(x)
        y = F.relu(self.bn1(y))
        x, y = (thin_frames(one, num_frames, self.temporal_stride) for one in (x, y))
        y = F.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


def stack_frames(clips, length: int):
    """Give each frame of clips (N, C, T, H, W) its neighbours as channels, (N, C length, T, H, W), zeros beyond."""
    if length == 1:
        return clips
    num_samples, channels, num_frames, height, width = clips.shape
    padded = F.pad(clips, [0, 0, 0, 0, length // 2, length // 2], data_format="NCDHW")
    shifted = [padded[:, :, start : start + num_frames] for start in range(length)]
    return paddle.stack(shifted, axis=2).reshape([-1, channels * length, num_frames, height, width])


class Pathway(nn.Layer):
    """Stem, max pool and stages of blocks, without pool and classifier.

    Args:
        plan: what it is made of.
        extra_channels: of each stage, those that it sees beside the pathway's own.
        zero_init_residual: begin with the last batch norm of every block at 0.
    """

    def __init__(self, plan: Plan, extra_channels: list, zero_init_residual: bool):
        super().__init__()
        self.plan = plan
        length, height, width = plan.conv1_kernel
        # Of a kernel with several frames those are channels, so that this convolution is a 2-D one too.
        self.conv1 = conv2d(plan.in_channels * length, plan.base_channels, (height, width), plan.conv1_stride_s)
        self.bn1 = nn.BatchNorm2D(plan.base_channels)
        self.maxpool = nn.MaxPool2D(3, stride=plan.pool1_stride_s, padding=1)
        for stage, num_blocks in enumerate(plan.stage_blocks):
            channels, planes = plan.channels_before(stage) + extra_channels[stage], plan.base_channels * 2**stage
            strides = [plan.spatial_strides[stage], plan.temporal_strides[stage]]
            blocks = nn.LayerList()
            for _ in range(num_blocks):
                options = (plan.dilations[stage], zero_init_residual)
                blocks.append(PathwayBlock(channels, planes, bool(plan.inflate[stage]), *strides, *options))
                channels, strides = EXPANSION * planes, [1, 1]
            setattr(self, f"layer{stage + 1}", blocks)

    def begin(self, clips) -> tuple:
        """Map clips (N, in_channels, T, H, W) to what the first stage sees: frames (N*T', C, H', W'), and T'.

        Raises:
            ValueError: the input has another number of axes or channels.
        """
        plan = self.plan
        check_clips(clips, plan.in_channels, plan.where.rstrip(": _"))
        clips = stack_frames(clips, plan.conv1_kernel[0])
        if plan.conv1_stride_t > 1:
            clips = clips[:, :, :: plan.conv1_stride_t]
        num_frames = clips.shape[2]
        x = F.relu(self.bn1(self.conv1(merge_frames(clips))))
        x = thin_frames(x, num_frames, plan.pool1_stride_t)
        return self.maxpool(x), count_thinned(num_frames, plan.pool1_stride_t)

    def run_stage(self, stage: int, x, num_frames: int) -> tuple:
        """Map frames (N*T, C, H, W) before a stage, counted from 0, to those after it, and T after it."""
        for block in getattr(self, f"layer{stage + 1}"):
            x = block(x, num_frames)
            num_frames = count_thinned(num_frames, block.temporal_stride)
        if stage == 0 and self.plan.with_pool2:
            pairs = x.reshape([-1, num_frames, *x.shape[1:]])[:, : num_frames // 2 * 2]
            x = pairs.reshape([-1, 2, *x.shape[1:]]).max(axis=1)
            num_frames //= 2
        return x, num_frames


def average_frames(x, num_frames: int):
    """Average frames (N*T, C, H, W) over time and space, to (N, C)."""
    x = x.mean(axis=[2, 3])
    return x.reshape([-1, num_frames, x.shape[1]]).mean(axis=1)


# What became of the authors' names of a pathway: the rules of `models.weights.rename`.
RULES = [
    (r"^cls_head\.fc_cls\.", "fc."),
    (r"^cls_head\.", ""),
    (r"\.conv(\d)\.conv\.weight$", r".conv\1.weight"),
    (r"\.conv(\d)\.bn\.", r".bn\1."),
    (r"\.downsample\.conv\.", ".downsample.0."),
    (r"\.downsample\.bn\.", ".downsample.1."),
]


def read_pathways(weights: dict, rules: list = RULES) -> dict:
    """Rename the weights of a PYSKL or MMAction2 recognizer, and take an axis out of its 3-D kernels.

    1 x k x k become k x k, t x 1 x 1 become t x 1; of t x k x k the frames become channels. The copy of the classifier
    in files that were tested fully convolutionally, `cls_head.new_cls`, is left out.
    """
    kept = {name: value for name, value in weights.items() if not name.startswith("cls_head.new_cls.")}
    return rename({name: flatten_kernel(value) for name, value in kept.items()}, rules)


def flatten_kernel(value):
    """Take an axis out of a 3-D kernel (O, I, T, H, W); anything else stays as it is."""
    if value.ndim != 5:
        return value
    num_outputs, _, length, height, width = value.shape
    if length > 1 and height == width == 1:
        return value[..., 0]
    return value.reshape(num_outputs, -1, height, width)
