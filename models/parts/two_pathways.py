"""The backbone of RGBPoseConv3D and PCAN: an RGB and a pose pathway with lateral connections; see `RGBPoseConv3D`."""

import random

import paddle
import paddle.nn.functional as F
from paddle import nn

from models.parts.layers import conv2d
from models.parts.pathway import Pathway, convolve_in_time, count_subsampled_frames

MODALITIES = ("rgb", "pose")


class Lateral(nn.Layer):
    """A lateral connection: convolve features of the other pathway over time, to the frame rate of this one.

    Args:
        in_channels: of the other pathway's features.
        out_channels: of the output.
        kernel_size: in frames.
        speed_ratio: frames of the faster pathway for each frame of the slower one.
        is_inverse: multiply the frames, by a transposed convolution, batch norm and ReLU; else divide them, by a
            convolution.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, speed_ratio: int, is_inverse: bool):
        super().__init__()
        self.out_channels, self.speed_ratio, self.is_inverse = out_channels, speed_ratio, is_inverse
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

    def count_frames(self, num_frames: int) -> int:
        """Return the frames T' of the output of a clip of `num_frames`."""
        if self.is_inverse:
            return self.speed_ratio * num_frames
        return count_subsampled_frames(num_frames, self.speed_ratio)


class TwoPathways(nn.Layer):
    """Both pathways and the laterals between them, without global pool and classifiers.

    The last stages of both pathways run side by side.

    Args:
        configs: {"rgb": PathwayConfig, "pose": PathwayConfig}.
        speed_ratio: frames of heat maps for each frame of RGB.
        channel_ratio: see `PathwayConfig.get_lateral_channels`.
        detach: {"rgb": bool, "pose": bool}, whether laterals into that pathway stop the gradient.
        drop_path: {"rgb": rate, "pose": rate}, share of the training batches in which laterals into that pathway are
            replaced by zeros.
        zero_init_residual: initialise the scale of each block's last batch norm as 0.

    Attributes:
        gates: layers by the RGB stage before which they run, such as "layer3"; they map `features` of `exchange`.

    Raises:
        ValueError: fewer RGB stages than pose stages, or a lateral where the other pathway has no features yet.
    """

    def __init__(
        self, configs: dict, speed_ratio: int, channel_ratio: int, detach, drop_path, zero_init_residual: bool
    ):
        super().__init__()
        self.configs, self.speed_ratio, self.detach, self.drop_path = configs, speed_ratio, detach, drop_path
        self.num_stages = configs["rgb"].num_stages
        # The RGB stage beside which a pathway's first stage runs.
        self.first_stages = {"rgb": 0, "pose": self.num_stages - configs["pose"].num_stages}
        _check_arguments(configs, self.first_stages["pose"], speed_ratio, channel_ratio, drop_path)
        self.rgb_path, self.rgb_laterals = self._make_pathway("rgb", channel_ratio, zero_init_residual)
        self.pose_path, self.pose_laterals = self._make_pathway("pose", channel_ratio, zero_init_residual)
        self.gates = nn.LayerDict()

    def _make_pathway(self, name: str, channel_ratio: int, zero_init_residual: bool) -> tuple:
        """Make a pathway and the laterals into it, by its stage."""
        other = _get_other(name)
        config, laterals, extra_channels = self.configs[name], nn.LayerDict(), []
        for stage in range(config.num_stages):
            extra_channels.append(config.get_lateral_channels(stage, channel_ratio))
            if extra_channels[-1]:
                other_stage = stage + self.first_stages[name] - self.first_stages[other]
                laterals[f"layer{stage + 1}"] = Lateral(
                    in_channels=self.configs[other].get_in_channels(other_stage),
                    out_channels=extra_channels[-1],
                    kernel_size=config.fusion_kernel,
                    speed_ratio=self.speed_ratio,
                    is_inverse=config.lateral_inv,
                )
        return Pathway(config, extra_channels, zero_init_residual), laterals

    @property
    def pathways(self) -> dict:
        """The pathways by name."""
        return {"rgb": self.rgb_path, "pose": self.pose_path}

    @property
    def laterals(self) -> dict:
        """For each pathway, the laterals into it by its stage, such as "layer3"."""
        return {"rgb": self.rgb_laterals, "pose": self.pose_laterals}

    def forward(self, clips: dict) -> dict:
        """Map {"rgb": (N, 3, T, H, W), "pose": (N, V, T', H', W')} to {name: (frames (N*T, C, H, W), T)}."""
        dropped = [name for name, rate in self.drop_path.items() if self.training and rate and random.random() < rate]
        features = {name: pathway.run_stem(clips[name]) for name, pathway in self.pathways.items()}
        for stage in range(self.num_stages):
            if stage >= self.first_stages["pose"]:
                features = self.exchange(stage, features, dropped)
            for name, pathway in self.pathways.items():
                if stage >= self.first_stages[name]:
                    features[name] = pathway.run_stage(stage - self.first_stages[name], *features[name])
        return features

    def list_exchanges(self) -> list:
        """List (RGB stage, [RGB channels, pose channels] before it) for each stage with a lateral."""
        exchanges = []
        for stage in range(self.first_stages["pose"], self.num_stages):
            stages = {name: stage - self.first_stages[name] for name in MODALITIES}
            if any(f"layer{stages[name] + 1}" in laterals for name, laterals in self.laterals.items()):
                exchanges.append((stage, [self.configs[name].get_in_channels(stages[name]) for name in MODALITIES]))
        return exchanges

    def exchange(self, stage: int, features: dict, dropped: list) -> dict:
        """Concatenate each pathway's features with those of its lateral, if it has one before this stage.

        Args:
            stage: of the RGB pathway, from 0.
            features: {"rgb": (frames, T), "pose": (frames, T)}.
            dropped: pathways whose laterals are replaced by zeros.
        """
        lateral_features = {
            name: self.run_lateral(name, stage - self.first_stages[name], features, dropped) for name in MODALITIES
        }
        if f"layer{stage + 1}" in self.gates:  # laterals get features before the gate
            features = self.gates[f"layer{stage + 1}"](features)
        joined = {}
        for name, (x, num_frames) in features.items():
            if lateral_features[name] is not None:
                x = paddle.concat([x, lateral_features[name]], axis=1)
            joined[name] = x, num_frames
        return joined

    def run_lateral(self, name: str, stage: int, features: dict, dropped: list):
        """Return the output of the lateral into a pathway before one of its stages, or None if there is no lateral.

        Raises:
            ValueError: its frames or its size are not those of the pathway.
        """
        laterals, key = self.laterals[name], f"layer{stage + 1}"
        if key not in laterals:
            return None
        x, num_frames = features[name]
        if name in dropped:
            return paddle.zeros([x.shape[0], laterals[key].out_channels, *x.shape[2:]], dtype=x.dtype)
        other, num_other_frames = features[_get_other(name)]
        y = laterals[key](other.detach() if self.detach[name] else other, num_other_frames)
        num_lateral_frames = laterals[key].count_frames(num_other_frames)
        if num_frames != num_lateral_frames or x.shape[2:] != y.shape[2:]:
            raise ValueError(
                f"RGBPoseConv3D: before its {key} the {name} pathway has {num_frames} frames of "
                f"{x.shape[2]} x {x.shape[3]}, its lateral {num_lateral_frames} of {y.shape[2]} x {y.shape[3]}; "
                "heat maps must have speed_ratio times the frames of RGB and, with the published strides, a quarter of "
                "its height and width"
            )
        return y


def _get_other(name: str) -> str:
    """Return the name of the other pathway."""
    return {"rgb": "pose", "pose": "rgb"}[name]


def _check_arguments(
    configs: dict, first_pose_stage: int, speed_ratio: int, channel_ratio: int, drop_path: dict
) -> None:
    """Raise a ValueError for the first invalid argument."""
    if first_pose_stage < 0:
        numbers = [configs[name].num_stages for name in MODALITIES]
        raise ValueError(f"RGBPoseConv3D: rgb_num_stages must be at least pose_num_stages, got {numbers}")
    for name, value in (("speed_ratio", speed_ratio), ("channel_ratio", channel_ratio)):
        if value < 1:
            raise ValueError(f"RGBPoseConv3D: {name} must be at least 1, got {value}")
    for name, rate in drop_path.items():
        if not 0 <= rate <= 1:
            raise ValueError(f"RGBPoseConv3D: {name}_drop_path must be from 0 to 1, got {rate}")
    if configs["rgb"].lateral and any(configs["rgb"].lateral_activate[:first_pose_stage]):
        raise ValueError(
            f"RGBPoseConv3D: rgb_lateral_activate must begin with {first_pose_stage} zeros, as many as RGB has stages "
            f"before the first one of the pose pathway, got {configs['rgb'].lateral_activate}"
        )
