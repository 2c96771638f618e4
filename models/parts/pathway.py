"""A pathway of PoseC3D and RGBPoseConv3D: a SlowOnly network with configurable stages, strides and kernels.

Paper: "Revisiting Skeleton-based Action Recognition", H. Duan, Y. Zhao, K. Chen, D. Lin, B. Dai, CVPR 2022,
arXiv:2104.13586. Repositories whose checkpoints fit: https://github.com/kennymckormick/pyskl (commit 3f6795f) and
https://github.com/open-mmlab/mmaction2 (commit 4d6c934).

The frames of all clips are in the batch axis, (N*T, C, H, W), as in `models/parts/resnet2d.py`; parameter names are
those of the backbone of `SlowOnly`. Where we differ: only in the implementation.
"""

import dataclasses

import paddle
import paddle.nn.functional as F
from paddle import nn

from models.parts.layers import check_clips, conv2d
from models.parts.resnet2d import merge_frames
from models.parts.weights import rename_weights

EXPANSION = 4  # output channels of a block for each of its planes


@dataclasses.dataclass
class PathwayConfig:
    """The architecture of a pathway; its fields, checked here, are keys of the section MODEL.

    Attributes:
        error_prefix: start of the messages of errors; the name of the key follows, such as "RGBPoseConv3D: rgb_".
        in_channels: channels of a frame.
        base_channels: of the stem; each stage has twice the width of the one before.
        stage_blocks: blocks in each stage; entries after the first `num_stages` are ignored.
        num_stages: number of stages.
        inflate: for each stage 1 if its blocks begin with a 3x1x1 convolution, 0 if with a 1x1x1 one.
        spatial_strides: of each stage, by its first block.
        temporal_strides: of each stage, by its first block.
        dilations: of each stage's 1x3x3 convolutions, in rows and columns.
        conv1_kernel: [T, H, W] of the stem, odd.
        conv1_stride_s: of the stem, in rows and columns.
        conv1_stride_t: of the stem, in frames.
        pool1_stride_s: of the 1x3x3 max pool after the stem, in rows and columns.
        pool1_stride_t: of that pool, in frames.
        with_pool2: max-pool every two frames after the first stage.
        lateral: concatenate features of the other pathway (lateral connections).
        lateral_inv: the laterals are transposed convolutions, which make more frames, with batch norm and ReLU; else
            plain convolutions, which make fewer.
        lateral_infl: see `get_lateral_channels`.
        lateral_activate: for each stage 1 if it has a lateral, else 0.
        fusion_kernel: frames of the kernel of a lateral, odd.

    Raises:
        ValueError: a list is too short, or a number is too small or even.
    """

    error_prefix: str
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
                f"{self.error_prefix}stage_blocks must have a number from 1 for each stage, got {self.stage_blocks}"
            )
        if not 1 <= self.num_stages <= len(self.stage_blocks):
            raise ValueError(
                f"{self.error_prefix}num_stages must be from 1 to {len(self.stage_blocks)}, the length of "
                f"stage_blocks, got {self.num_stages}"
            )
        self.stage_blocks = list(self.stage_blocks)[: self.num_stages]
        if self.lateral_activate is None:
            self.lateral_activate = [0] * self.num_stages
        self._check_lists()
        self._check_numbers()

    def _check_lists(self) -> None:
        minimums = {
            "inflate": (self.inflate, 0),
            "spatial_strides": (self.spatial_strides, 1),
            "temporal_strides": (self.temporal_strides, 1),
            "dilations": (self.dilations, 1),
            "lateral_activate": (self.lateral_activate, 0),
        }
        for name, (values, minimum) in minimums.items():
            if len(values) != self.num_stages or min(values) < minimum:
                raise ValueError(
                    f"{self.error_prefix}{name} must have a number from {minimum} for each of {self.num_stages} "
                    f"stages, got {values}"
                )

    def _check_numbers(self) -> None:
        numbers = {
            "in_channels": self.in_channels,
            "base_channels": self.base_channels,
            "conv1_stride_s": self.conv1_stride_s,
            "conv1_stride_t": self.conv1_stride_t,
            "pool1_stride_s": self.pool1_stride_s,
            "pool1_stride_t": self.pool1_stride_t,
            "lateral_infl": self.lateral_infl,
        }
        for name, number in numbers.items():
            if number < 1:
                raise ValueError(f"{self.error_prefix}{name} must be at least 1, got {number}")
        if len(self.conv1_kernel) != 3 or any(size % 2 == 0 for size in self.conv1_kernel):
            raise ValueError(f"{self.error_prefix}conv1_kernel must be three odd numbers, got {self.conv1_kernel}")
        if self.fusion_kernel % 2 == 0:
            raise ValueError(f"{self.error_prefix}fusion_kernel must be odd, got {self.fusion_kernel}")

    def get_in_channels(self, stage: int) -> int:
        """Return the input channels of a stage without those of laterals; stage `num_stages` means the output's.

        Args:
            stage: from 0.
        """
        return self.base_channels if stage == 0 else self.base_channels * 2 ** (stage - 1) * EXPANSION

    def get_lateral_channels(self, stage: int, channel_ratio: int) -> int:
        """Return the channels that a stage gets from the other pathway; 0 without a lateral.

        They are `get_in_channels` times `lateral_infl` / `channel_ratio`, or times `channel_ratio` / `lateral_infl` if
        `lateral_inv`.
        """
        if not (self.lateral and self.lateral_activate[stage]):
            return 0
        in_channels = self.get_in_channels(stage)
        if self.lateral_inv:
            return in_channels * channel_ratio // self.lateral_infl
        return in_channels * self.lateral_infl // channel_ratio


def convolve_in_time(conv: nn.Layer, x, num_frames: int):
    """Map frames (N*T, C, H, W) to (N*T', C', H, W) by a convolution over time.

    Args:
        conv: a 2-D convolution with kernel (frames, 1); it gets rows and columns as one axis.
        x: frames.
        num_frames: of a clip, T.
    """
    _, channels, height, width = x.shape
    clips = x.reshape([-1, num_frames, channels, height * width])
    clips = conv(clips.transpose([0, 2, 1, 3]))  # (N, C, T, H*W) -> (N, C', T', H*W)
    clips = clips.transpose([0, 2, 1, 3])
    return clips.reshape([-1, clips.shape[2], height, width])


def subsample_frames(x, num_frames: int, stride: int):
    """Return every `stride`-th frame of each clip, from its first one, of frames (N*T, C, H, W)."""
    if stride == 1:
        return x
    clips = x.reshape([-1, num_frames, *x.shape[1:]])
    return clips[:, ::stride].reshape([-1, *x.shape[1:]])


def count_subsampled_frames(num_frames: int, stride: int) -> int:
    """Return the number of frames of a clip after `subsample_frames`."""
    return -(-num_frames // stride)


class PathwayBlock(nn.Layer):
    """A bottleneck whose first convolution is 3x1x1 or 1x1x1.

    The spatial stride is in the second convolution; frames are subsampled before it.

    Args:
        in_channels: of the input.
        planes: width of the first two convolutions.
        is_inflated: begin with a 3x1x1 convolution.
        spatial_stride: in rows and columns.
        temporal_stride: in frames.
        dilation: of the 1x3x3 convolution.
        zero_init_residual: initialise the scale of the last batch norm as 0, so that the block starts as identity.
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
        x = subsample_frames(x, num_frames, self.temporal_stride)
        y = subsample_frames(y, num_frames, self.temporal_stride)
        y = F.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


def stack_frames(clips, length: int):
    """Stack `length` neighbouring frames of clips (N, C, T, H, W) as channels, (N, C*length, T, H, W), zero-padded."""
    if length == 1:
        return clips
    num_samples, channels, num_frames, height, width = clips.shape
    zeros = [paddle.zeros_like(clips[:, :, :1])] * (length // 2)
    padded = paddle.concat([*zeros, clips, *zeros], axis=2)  # Paddle2ONNX 2.1 leaves the value of a pad to chance
    shifted = [padded[:, :, start : start + num_frames] for start in range(length)]
    return paddle.stack(shifted, axis=2).reshape([-1, channels * length, num_frames, height, width])


class Pathway(nn.Layer):
    """Stem, max pool and stages of blocks, without pool and classifier.

    Args:
        config: the architecture.
        extra_channels: for each stage, the channels that a lateral adds to its input.
        zero_init_residual: initialise the scale of each block's last batch norm as 0.
    """

    def __init__(self, config: PathwayConfig, extra_channels: list, zero_init_residual: bool):
        super().__init__()
        self.config = config
        length, height, width = config.conv1_kernel
        # The frames of its kernel become channels, see `stack_frames`, so that this convolution is 2-D too.
        self.conv1 = conv2d(config.in_channels * length, config.base_channels, (height, width), config.conv1_stride_s)
        self.bn1 = nn.BatchNorm2D(config.base_channels)
        self.maxpool = nn.MaxPool2D(3, stride=config.pool1_stride_s, padding=1)
        for stage, num_blocks in enumerate(config.stage_blocks):
            channels, planes = config.get_in_channels(stage) + extra_channels[stage], config.base_channels * 2**stage
            strides = [config.spatial_strides[stage], config.temporal_strides[stage]]
            blocks = nn.LayerList()
            for index in range(num_blocks):
                options = (config.dilations[stage], zero_init_residual)
                blocks.append(PathwayBlock(channels, planes, self.is_inflated(stage, index), *strides, *options))
                channels, strides = EXPANSION * planes, [1, 1]
            setattr(self, f"layer{stage + 1}", blocks)

    def is_inflated(self, stage: int, index: int) -> bool:
        """Return whether a block begins with a 3x1x1 convolution; I3D overrides this."""
        return bool(self.config.inflate[stage])

    def run_stem(self, clips) -> tuple:
        """Map clips (N, in_channels, T, H, W) to the input of the first stage: frames (N*T', C, H', W'), and T'.

        Raises:
            ValueError: the input has another number of axes or channels.
        """
        config = self.config
        check_clips(clips, config.in_channels, config.error_prefix.rstrip(": _"))
        clips = stack_frames(clips, config.conv1_kernel[0])
        if config.conv1_stride_t > 1:
            clips = clips[:, :, :: config.conv1_stride_t]
        num_frames = clips.shape[2]
        x = F.relu(self.bn1(self.conv1(merge_frames(clips))))
        x = subsample_frames(x, num_frames, config.pool1_stride_t)
        return self.maxpool(x), count_subsampled_frames(num_frames, config.pool1_stride_t)

    def run_stage(self, stage: int, x, num_frames: int) -> tuple:
        """Map the input (N*T, C, H, W) of a stage, counted from 0, to its output (N*T', C', H', W'), and T'."""
        for block in getattr(self, f"layer{stage + 1}"):
            x = block(x, num_frames)
            num_frames = count_subsampled_frames(num_frames, block.temporal_stride)
        if stage == 0 and self.config.with_pool2:
            pairs = x.reshape([-1, num_frames, *x.shape[1:]])[:, : num_frames // 2 * 2]
            x = pairs.reshape([-1, 2, *x.shape[1:]]).max(axis=1)
            num_frames //= 2
        return x, num_frames

    def list_stage_ends(self) -> list:
        """Return the last block of each stage, the last stage first; their outputs are frames (N*T', C', H', W')."""
        return [getattr(self, f"layer{stage}")[-1] for stage in range(self.config.num_stages, 0, -1)]


def average_frames(x, num_frames: int):
    """Average frames (N*T, C, H, W) over time and space, to (N, C)."""
    x = x.mean(axis=[2, 3])
    return x.reshape([-1, num_frames, x.shape[1]]).mean(axis=1)


# The authors' names of a pathway -> ours; see `weights.apply_rules`.
PATHWAY_RULES = [
    (r"^cls_head\.fc_cls\.", "fc."),
    (r"^cls_head\.", ""),
    (r"\.conv(\d)\.conv\.weight$", r".conv\1.weight"),
    (r"\.conv(\d)\.bn\.", r".bn\1."),
    (r"\.downsample\.conv\.", ".downsample.0."),
    (r"\.downsample\.bn\.", ".downsample.1."),
]


def convert_pathway_weights(weights: dict, rules: list = PATHWAY_RULES) -> dict:
    """Convert the weights of a recognizer of PYSKL or MMAction2.

    The file of a recognizer that was tested fully convolutionally has a copy of its classifier, `cls_head.new_cls`; it
    is dropped.
    """
    weights = {name: value for name, value in weights.items() if not name.startswith("cls_head.new_cls.")}
    return rename_weights({name: flatten_kernel(value) for name, value in weights.items()}, rules)


def flatten_kernel(value):
    """Remove an axis of a 3-D kernel (O, I, T, H, W); return any other array unchanged.

    1 x k x k becomes k x k, and t x 1 x 1 becomes t x 1; the frames of t x k x k become channels.
    """
    if value.ndim != 5:
        return value
    num_outputs, _, length, height, width = value.shape
    if length > 1 and height == width == 1:
        return value[..., 0]
    return value.reshape(num_outputs, -1, height, width)
