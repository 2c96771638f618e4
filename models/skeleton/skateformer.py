"""SkateFormer: attention among near or distant joints in near or distant frames, beside convolutions.

Paper: "SkateFormer: Skeletal-Temporal Transformer for Human Action Recognition", J. Do, M. Kim, ECCV 2024,
arXiv:2403.09508. Official repository: https://github.com/KAIST-VICLab/SkateFormer (commit 1f1d9ff).

It takes the joints of the layout's partition alone, in its order, and the time of each frame, as the reader
`timed_skeletons` gives them. A token is a joint of a person in a frame, which has W = M * V of them, persons outer.

As in the official code, on which the released weights depend: the scale of the attention is that of the number of its
heads, not of their width; the position bias of near joints is not looked up by their frames (see
`models/parts/skate_block.py`); a missing person takes part in everything.

Where we differ: layouts, widths and sizes of partitions are arguments.
"""

import numpy as np
import paddle
from paddle import nn

from common.ranges import Count, PartialShare, Positive
from layouts import get_layout
from models.parts.action_model import ActionModel
from models.parts.skate_block import HEAD_SHARE, NUM_KINDS, SkateBlock, convolve_frames, make_conv, make_linear
from models.parts.weights import keep_names

STEM_CHANNELS = (6, 9)
MAX_WAVELENGTH = 10000.0  # of the embedding of time, in units of 2 pi


def embed_time(times, num_channels: int):
    """Map the times of frames (N, T) to (N, T, num_channels): sine and cosine of each wavelength in turn, float32."""
    rates = MAX_WAVELENGTH ** (-np.arange(0, num_channels, 2, dtype=np.float64) / num_channels)
    angles = times.astype("float32").unsqueeze(2) * paddle.to_tensor(rates.astype(np.float32))
    return paddle.stack([angles.sin(), angles.cos()], axis=3).flatten(2)


class Downsample(nn.Layer):
    """A strided convolution that halves the frames, and batch norm."""

    def __init__(self, num_in: int, num_out: int, kernel_size: int):
        super().__init__()
        self.reduction, self.bn = make_conv(num_in, num_out, kernel_size, stride=2), nn.BatchNorm2D(num_out)

    def forward(self, x):
        """Map (N, C, T, W) to (N, C', T/2, W)."""
        return self.bn(self.reduction(x))


class StageBlock(nn.Layer):
    """A block, after a `Downsample` or None; its authors call the block `transformer`."""

    def __init__(self, downsample: Downsample | None, transformer: SkateBlock):
        super().__init__()
        self.downsample, self.transformer = downsample, transformer

    def forward(self, x):
        """Map (N, T, W, C) to (N, T', W, C')."""
        return self.transformer(x if self.downsample is None else convolve_frames(self.downsample, x))


class SkateFormer(ActionModel):
    """SkateFormer: three convolutions of each joint, an embedding of joint, person and time, four stages, mean, linear.

    Args:
        num_classes: number of logits.
        layout: a name of `layouts.LAYOUTS` or a yaml file; its `partition` has the joints that are taken, in order.
        in_channels: values of a joint.
        num_persons: persons of a sample.
        num_frames: frames of a clip; each stage but the first halves them, and partitions must fit in.
        channels: width of each stage.
        num_blocks: blocks in each stage.
        num_heads: heads of all attentions together, a multiple of 8 that divides the widths.
        kernel_size: of the temporal convolutions, in frames, odd.
        partition_sizes: [frames, joints] of each attention: near joints in near frames, distant joints in near frames,
            and both in distant frames; None: 8 frames, of near joints as many as a group has for all persons, of
            distant ones one of each group of each person.
        mlp_ratio: width of the perceptrons; 4 in the official configs of NTU RGB+D, 1 in that of N-UCLA.
        time_index: take the time of each frame as second input; False: learn an embedding for each frame of a clip.
        relative_bias: add a learnt bias to the attention.
        attention_dropout: ratio.
        drop_path: of the last block; it rises from 0 in the first one.

    Raises:
        ValueError: a layout without partition, or sizes that do not fit together.
    """

    WEIGHT_SOURCES = {"skateformer": keep_names}

    def __init__(
        self,
        num_classes: Count,
        layout: str = "ntu25_skateformer",
        in_channels: Count = 3,
        num_persons: Count = 2,
        num_frames: Count = 64,
        channels: list[Count] | tuple = (96, 192, 192, 192),
        num_blocks: list[Count] | tuple = (2, 2, 2, 2),
        num_heads: Count = 32,
        kernel_size: Count = 7,
        partition_sizes: list[list[Count]] | None = None,
        mlp_ratio: Positive = 4.0,
        time_index: bool = True,
        relative_bias: bool = True,
        attention_dropout: PartialShare = 0.5,
        drop_path: PartialShare = 0.2,
    ):
        super().__init__()
        groups = get_layout(layout).partition
        if not groups:
            raise ValueError(
                f"SkateFormer: layout '{layout}' has no partition of its joints; set READER.layout to "
                "ntu25_skateformer, ucla20 or a yaml file with `partition:`"
            )
        num_joints = len(groups) * len(groups[0])
        self.input_size, num_tokens = [in_channels, num_frames, num_joints, num_persons], num_joints * num_persons
        if partition_sizes is None:
            partition_sizes = [[8, len(groups[0]) * num_persons], [8, len(groups) * num_persons]] * 2
        _check_sizes(num_frames, num_tokens, channels, num_blocks, num_heads, kernel_size, partition_sizes)
        self.time_index, self.input_names = time_index, ("skeleton", "time_index") if time_index else ()
        widths = [in_channels, *STEM_CHANNELS, channels[0]]
        convs = [make_conv(*pair) for pair in zip(widths, widths[1:], strict=False)]
        self.stem = nn.Sequential(convs[0], nn.GELU(), convs[1], nn.GELU(), convs[2])
        shape = [channels[0], num_tokens] if time_index else [1, channels[0], num_frames, num_tokens]
        embedding = self.create_parameter(shape, default_initializer=nn.initializer.Normal(0.0, 0.02))
        name = "joint_person_embedding" if time_index else "joint_person_temporal_embedding"
        self.add_parameter(name, embedding)
        options = [num_tokens, num_heads, kernel_size, partition_sizes, mlp_ratio, attention_dropout]
        drops = np.linspace(0, drop_path, sum(num_blocks)).tolist()
        self.stages = nn.LayerList()
        for stage, (width, count) in enumerate(zip(channels, num_blocks, strict=True)):
            blocks = nn.LayerList()
            for index in range(count):
                starts_stage = stage > 0 and index == 0
                downsample = Downsample(channels[stage - 1], width, kernel_size) if starts_stage else None
                blocks.append(StageBlock(downsample, SkateBlock(width, *options, drops.pop(0), relative_bias)))
            self.stages.append(nn.LayerDict({"blocks": blocks}))
        self.head = make_linear(channels[-1], num_classes)

    def check_inputs(self, names: list) -> None:
        """Check that the reader gives skeletons in the order of the partition, and their time if it is taken.

        Raises:
            ValueError: it does not; the message has what to set.
        """
        expected = self.input_names or ("skeleton",)
        if tuple(names) != expected:
            raise ValueError(
                f"SkateFormer takes {' and '.join(expected)}, the reader gives {' and '.join(names)}; set "
                f"READER.name=timed_skeletons and READER.time_index={self.time_index}"
            )

    def list_classifiers(self) -> list:
        """Return the linear layer of the classes."""
        return [self.head]

    def check_skeletons(self, x) -> None:
        """Check that `x` is a batch of skeletons (N, in_channels, num_frames, joints of the partition, num_persons).

        Raises:
            ValueError: it is not.
        """
        if list(x.shape[1:]) != self.input_size:
            raise ValueError(
                f"SkateFormer: expected input (N, {', '.join(map(str, self.input_size))}), got {tuple(x.shape)}; set "
                "READER.name=timed_skeletons, and READER.clip_len, layout and num_persons as in MODEL"
            )

    def embed(self, x, times):
        """Map skeletons (N, C, T, V, M) and, if taken, times (N, T) to tokens (N, T, W, C')."""
        x = self.stem(x.transpose([0, 1, 2, 4, 3]).flatten(3))  # (N, C, T, V, M) -> (N, C', T, M V)
        if not self.time_index:
            return (x + self.joint_person_temporal_embedding).transpose([0, 2, 3, 1])
        embedding = self.joint_person_embedding.transpose([1, 0])  # (C', W) -> (W, C')
        return x.transpose([0, 2, 3, 1]) + embed_time(times, embedding.shape[1]).unsqueeze(2) * embedding

    def forward(self, x, times=None):
        """Map skeletons (N, in_channels, T, V, M) and the times of their frames (N, T), -1 to 1, to logits.

        Raises:
            ValueError: the skeletons have another size.
        """
        self.check_skeletons(x)
        x = self.embed(x, times)
        for stage in self.stages:
            for block in stage["blocks"]:
                x = block(x)
        return self.head(x.flatten(1, 2).mean(axis=1))  # (N, T, W, C) -> (N, C) -> (N, num_classes)


def _check_sizes(num_frames, num_tokens, channels, num_blocks, num_heads, kernel_size, partition_sizes) -> None:
    """Refuse sizes that do not fit together."""
    if len(channels) != len(num_blocks) or not channels:
        raise ValueError(f"SkateFormer: channels {channels} and num_blocks {num_blocks} must have one for each stage")
    if num_heads % HEAD_SHARE or any(width % num_heads for width in channels):
        raise ValueError(
            f"SkateFormer: num_heads must be a multiple of {HEAD_SHARE} that divides the channels {channels}, got "
            f"{num_heads}"
        )
    if kernel_size % 2 == 0:
        raise ValueError(f"SkateFormer: kernel_size must be odd, got {kernel_size}")
    if len(partition_sizes) != NUM_KINDS or any(len(size) != 2 for size in partition_sizes):
        raise ValueError(f"SkateFormer: partition_sizes must be {NUM_KINDS} of [frames, joints], got {partition_sizes}")
    steps = 2 ** (len(channels) - 1)
    for frames, joints in partition_sizes:
        if num_frames % (steps * frames) or num_tokens % joints:
            raise ValueError(
                f"SkateFormer: a partition of {frames} frames and {joints} joints does not divide the {num_frames} "
                f"frames, halved in each of {len(channels) - 1} stages, and {num_tokens} joints; change num_frames or "
                "partition_sizes"
            )
