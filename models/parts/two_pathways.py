"""The backbone of RGBPoseConv3D and PCAN: two pathways, side by side, and what they exchange; see `RGBPoseConv3D`."""

import random

import paddle
import paddle.nn.functional as F
from paddle import nn

from models.parts.layers import conv2d
from models.parts.pathway import Pathway, convolve_in_time

MODALITIES = ("rgb", "pose")


class Lateral(nn.Layer):
    """Brings features of the other pathway to the frames of this one, by a kernel in time.

    Args:
        in_channels: of the other pathway's features.
        out_channels: of what this pathway gets.
        kernel_size: in frames.
        speed_ratio: frames of the one pathway for each of the other.
        is_inverse: make more frames, by a transposed convolution, batch norm and ReLU; else fewer, by a convolution.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, speed_ratio: int, is_inverse: bool):
        super().__init__()
        self.out_channels, self.is_inverse = out_channels, is_inverse
        if not is_inverse:
            self.conv = conv2d(in_channels, out_channels, (kernel_size, 1), [speed_ratio, 1])
            return
        self.conv = nn.Conv2DTranspose(
            in_channels,
            out_channels,
            (kernel_size, 1),
            stride=[speed_ratio, 1],
            padding=[kernel_size // 2, 0],
            output_padding=[speed_ratio - 1, 0],  # so that T frames become exactly speed_ratio * T
            weight_attr=nn.initializer.Normal(0.0, (2.0 / (in_channels * kernel_size)) ** 0.5),
            bias_attr=False,
        )
        self.bn = nn.BatchNorm2D(out_channels)

    def forward(self, x, num_frames: int):
        """Map the other pathway's frames (N*T, in_channels, H, W) to (N*T', out_channels, H, W)."""
        x = convolve_in_time(self.conv, x, num_frames)
        return F.relu(self.bn(x)) if self.is_inverse else x


class TwoPathways(nn.Layer):
    """Both pathways and the laterals between them, without pool and classifiers.

    Args:
        plans: {"rgb": plan, "pose": plan}; the last stages of both run side by side.
        speed_ratio: frames of heat maps for each of RGB.
        channel_ratio: see `Plan.lateral_channels`.
        detach: {"rgb": flag, "pose": flag}, no gradient flows back through the laterals into that pathway.
        drop_path: {"rgb": rate, "pose": rate}, share of the batches in which that pathway gets zeros.
        zero_init_residual: begin with the last batch norm of every block at 0.

    Attributes:
        gates: layers by the RGB stage before which they stand, such as "layer3"; each maps what `exchange` is given.

    Raises:
        ValueError: fewer RGB stages than pose stages, or a lateral where the other pathway has no features yet.
    """

    def __init__(self, plans: dict, speed_ratio: int, channel_ratio: int, detach, drop_path, zero_init_residual: bool):
        super().__init__()
        self.plans, self.speed_ratio, self.detach, self.drop_path = plans, speed_ratio, detach, drop_path
        self.num_stages = plans["rgb"].num_stages
        self.delay = {"rgb": 0, "pose": self.num_stages - plans["pose"].num_stages}
        _check(plans, self.delay, speed_ratio, channel_ratio, drop_path)
        for name, other in zip(MODALITIES, reversed(MODALITIES), strict=True):
            plan, laterals, extra = plans[name], nn.LayerDict(), []
            for stage in range(plan.num_stages):
                extra.append(plan.lateral_channels(stage, channel_ratio))
                if extra[-1]:
                    before = plans[other].channels_before(stage + self.delay[name] - self.delay[other])
                    sizes = (before, extra[-1], plan.fusion_kernel, speed_ratio)
                    laterals[f"layer{stage + 1}"] = Lateral(*sizes, plan.lateral_inv)
            setattr(self, f"{name}_path", Pathway(plan, extra, zero_init_residual))
            setattr(self, f"{name}_laterals", laterals)
        self.gates = nn.LayerDict()

    def forward(self, clips: dict) -> dict:
        """Map {"rgb": (N, 3, T, H, W), "pose": (N, V, T', H', W')} to {name: (frames (N*T, C, H, W), T)}."""
        dropped = [name for name, rate in self.drop_path.items() if self.training and rate and random.random() < rate]
        maps = {name: getattr(self, f"{name}_path").begin(clips[name]) for name in MODALITIES}
        for stage in range(self.num_stages):
            if stage >= self.delay["pose"]:
                maps = self.exchange(stage, maps, dropped)
            for name in MODALITIES:
                if stage >= self.delay[name]:
                    maps[name] = getattr(self, f"{name}_path").run_stage(stage - self.delay[name], *maps[name])
        return maps

    def list_exchanges(self) -> list:
        """List (RGB stage, channels of both pathways before it) where features are exchanged."""
        found = []
        for stage in range(self.delay["pose"], self.num_stages):
            at = {name: stage - self.delay[name] for name in MODALITIES}
            if any(f"layer{at[name] + 1}" in getattr(self, f"{name}_laterals") for name in MODALITIES):
                found.append((stage, [self.plans[name].channels_before(at[name]) for name in MODALITIES]))
        return found

    def exchange(self, stage: int, maps: dict, dropped: list) -> dict:
        """Give each pathway what it sees before a stage: its own features, then those of the other one.

        Args:
            stage: of the RGB pathway, from 0.
            maps: {"rgb": (frames, T), "pose": (frames, T)}, the pathways' own.
            dropped: pathways that get zeros of the other one.
        """
        sides = {name: self.bring(name, stage - self.delay[name], maps, dropped) for name in MODALITIES}
        if f"layer{stage + 1}" in self.gates:  # laterals see features that are not gated
            maps = self.gates[f"layer{stage + 1}"](maps)
        joined = {}
        for name, (x, num_frames) in maps.items():
            joined[name] = x if sides[name] is None else paddle.concat([x, sides[name]], axis=1), num_frames
        return joined

    def bring(self, name: str, stage: int, maps: dict, dropped: list):
        """Give what a pathway gets from the other one before one of its stages, or None.

        Raises:
            ValueError: the other pathway's features have other frames, or another size.
        """
        laterals, key = getattr(self, f"{name}_laterals"), f"layer{stage + 1}"
        if key not in laterals:
            return None
        own, num_frames = maps[name]
        if name in dropped:
            return paddle.zeros([own.shape[0], laterals[key].out_channels, *own.shape[2:]], dtype=own.dtype)
        other, num_other = maps["pose" if name == "rgb" else "rgb"]
        side = laterals[key](other.detach() if self.detach[name] else other, num_other)
        if own.shape[0] != side.shape[0] or own.shape[2:] != side.shape[2:]:
            per_sample = own.shape[0] // num_frames
            raise ValueError(
                f"RGBPoseConv3D: before its {key} the {name} pathway has {num_frames} frames of "
                f"{own.shape[2]} x {own.shape[3]}, the lateral gives it {side.shape[0] // per_sample} of "
                f"{side.shape[2]} x {side.shape[3]}; heat maps take speed_ratio times the frames of RGB, and of its "
                "height and width a quarter where strides are as published"
            )
        return side


def _check(plans: dict, delay: dict, speed_ratio: int, channel_ratio: int, drop_path: dict) -> None:
    """Refuse what makes no network."""
    if delay["pose"] < 0:
        numbers = [plans[name].num_stages for name in MODALITIES]
        raise ValueError(f"RGBPoseConv3D: rgb_num_stages must be at least pose_num_stages, got {numbers}")
    for name, value in (("speed_ratio", speed_ratio), ("channel_ratio", channel_ratio)):
        if value < 1:
            raise ValueError(f"RGBPoseConv3D: {name} must be at least 1, got {value}")
    for name, rate in drop_path.items():
        if not 0 <= rate <= 1:
            raise ValueError(f"RGBPoseConv3D: {name}_drop_path must be from 0 to 1, got {rate}")
    first = delay["pose"]
    if plans["rgb"].lateral and any(plans["rgb"].lateral_activate[:first]):
        raise ValueError(
            f"RGBPoseConv3D: rgb_lateral_activate must begin with {first} zeros, as many as RGB has stages before the "
            f"first one of the pose pathway, got {plans['rgb'].lateral_activate}"
        )
