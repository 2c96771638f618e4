"""DD-Net: convolutions over time of the distances between joints and of their motions at two speeds.

Paper: "Make Skeleton-based Action Recognition Model Smaller, Faster and Better", F. Yang, S. Sakti, Y. Wu, S. Nakamura,
ACM MM Asia 2019, arXiv:1907.09658. Official repository: https://github.com/fandulu/DD-Net (Keras).

Where we differ: everything is computed from the joints in the network, so that any clip of a skeleton reader goes in.
Motions past the last frame are zero, where the authors resize shorter motions to the clip; max pools see three frames
instead of two, so that a clip may have any number of frames; distances are not divided by their mean, as batch norm
follows. The persons of a sample share the weights, and the last max pool goes over them too. With `use_coordinates`
the coordinates themselves are a fourth input, which the paper leaves out.
"""

import itertools

import numpy as np
import paddle
from paddle import nn

from common.ranges import Count, PartialShare
from layouts import get_layout
from models.parts.action_model import ActionModel
from models.parts.layers import leaky_relu
from models.parts.operators import max_over_frames
from models.parts.skeleton_layers import check_skeletons, temporal_conv

NUM_FEATURES = 128  # of the two linear layers
SLOPE = 0.2  # of the leaky ReLUs
MIN_SQUARED = 1e-12  # added below the root of a distance, whose gradient at 0 is not finite


def pair_joints(num_joints: int) -> np.ndarray:
    """Return the joints of each pair once, int64 (2, V * (V - 1) / 2): 0 and 1, 0 and 2, ..., 1 and 2, ..."""
    return np.array(list(itertools.combinations(range(num_joints), 2)), np.int64).reshape(-1, 2).T


def find_distances(x: paddle.Tensor, pairs: paddle.Tensor) -> paddle.Tensor:
    """Return the distances between the joints of each pair (the paper's joint collection distances).

    Args:
        x: (B, C, T, V), all channels are coordinates.
        pairs: int64 (2, P).

    Returns:
        (B, P, T).
    """
    difference = x.index_select(pairs[0], axis=3) - x.index_select(pairs[1], axis=3)
    return ((difference * difference).sum(axis=1) + MIN_SQUARED).sqrt().transpose([0, 2, 1])


def find_motion(x: paddle.Tensor, speed: int) -> paddle.Tensor:
    """Return how far each joint moves in the next `speed` frames, from every `speed`-th frame on; at the end 0.

    Args:
        x: (B, C, T, V).
        speed: 1 for the paper's slow motion, 2 for its fast motion.

    Returns:
        (B, C, ceil(T / speed), V).
    """
    frames = x[:, :, ::speed]
    return paddle.concat([frames[:, :, 1:] - frames[:, :, :-1], paddle.zeros_like(frames[:, :, :1])], axis=2)


class ConvUnit(nn.Layer):
    """A convolution over time without bias, batch norm, leaky ReLU."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int):
        super().__init__()
        self.conv = temporal_conv(in_channels, out_channels, kernel_size, bias=False)
        self.norm = nn.BatchNorm2D(out_channels)

    def forward(self, x):
        """Map (B, in_channels, T, 1) to (B, out_channels, T, 1)."""
        return leaky_relu(self.norm(self.conv(x)), SLOPE)


class LinearUnit(nn.Layer):
    """A linear layer without bias, batch norm, leaky ReLU."""

    def __init__(self, in_features: int, out_features: int):
        super().__init__()
        self.linear = nn.Linear(in_features, out_features, bias_attr=False)
        self.norm = nn.BatchNorm1D(out_features)

    def forward(self, x):
        """Map (B, in_features) to (B, out_features)."""
        return leaky_relu(self.norm(self.linear(x)), SLOPE)


class Embedding(nn.Sequential):
    """Three convolutions of an input of the network, and a max pool to half the frames where `halves` asks for it."""

    def __init__(self, in_channels: int, base_channels: int, halves: bool, dropout_ratio: float):
        sizes = [(in_channels, 2 * base_channels, 1), (2 * base_channels, base_channels, 3)]
        layers = []
        for size in [*sizes, (base_channels, base_channels, 1)]:
            layers += [ConvUnit(*size), nn.Dropout2D(dropout_ratio)]
        super().__init__(*layers[:-1], *([make_pool()] if halves else []), layers[-1])


def make_pool() -> nn.MaxPool2D:
    """Make a max pool over three frames that halves T of (B, C, T, 1), rounded up."""
    return nn.MaxPool2D((3, 1), stride=(2, 1), padding=(1, 0))


class DDNet(ActionModel):
    """DD-Net: embeddings of distances and motions, convolutions over time, max over time and persons, linear layers.

    Args:
        num_classes: number of logits.
        layout: joints, a name of `layouts.LAYOUTS` or a yaml file; bones are not used.
        in_channels: values of a joint, of which the first `num_coordinates` are used.
        num_persons: persons of a sample.
        num_coordinates: 3, or 2 to leave the score of key points in pictures out. 3 of them take it for a coordinate.
        base_channels: width of the embeddings; the last convolutions have eight times as many channels.
        use_coordinates: the coordinates of the joints are an input too.
        dropout_ratio: of the features of the linear layers.
        channel_dropout_ratio: share of the channels that are dropped after each convolution of an embedding and after
            each of the three blocks, in all frames.

    Raises:
        ValueError: an unknown layout, one of a single joint, or more coordinates than channels.
    """

    def __init__(
        self,
        num_classes: Count,
        layout: str = "ntu25",
        in_channels: Count = 3,
        num_persons: Count = 2,
        num_coordinates: Count = 3,
        base_channels: Count = 64,
        use_coordinates: bool = False,
        dropout_ratio: PartialShare = 0.5,
        channel_dropout_ratio: PartialShare = 0.1,
    ):
        super().__init__()
        num_joints = get_layout(layout).num_joints
        if num_joints < 2 or num_coordinates > in_channels:
            raise ValueError(
                f"DDNet: got {num_joints} joints with {num_coordinates} coordinates in {in_channels} channels, "
                "expected 2 joints or more, and no more coordinates than channels; set MODEL.num_coordinates"
            )
        self.input_size, self.num_coordinates = (in_channels, num_joints, num_persons), num_coordinates
        pairs = pair_joints(num_joints)
        self.register_buffer("pairs", paddle.to_tensor(pairs), persistable=False)
        num_values, options = num_joints * num_coordinates, (base_channels, True, channel_dropout_ratio)
        self.distances = Embedding(pairs.shape[1], *options)
        self.slow_motion = Embedding(num_values, *options)
        self.fast_motion = Embedding(num_values, base_channels, False, channel_dropout_ratio)
        self.coordinates = Embedding(num_values, *options) if use_coordinates else None
        widths, layers = [base_channels * times for times in (4 if use_coordinates else 3, 2, 4, 8)], []
        for index, (width, out_channels) in enumerate(itertools.pairwise(widths)):
            layers += [ConvUnit(width, out_channels, 3), ConvUnit(out_channels, out_channels, 3)]
            layers += [*([make_pool()] if index < 2 else []), nn.Dropout2D(channel_dropout_ratio)]
        self.blocks = nn.Sequential(*layers)
        self.linear = nn.Sequential(
            LinearUnit(widths[-1], NUM_FEATURES),
            nn.Dropout(dropout_ratio),
            LinearUnit(NUM_FEATURES, NUM_FEATURES),
            nn.Dropout(dropout_ratio),
        )
        self.fc = nn.Linear(NUM_FEATURES, num_classes)

    def forward(self, x):
        """Map skeletons (N, in_channels, T, V, M) to logits (N, num_classes).

        Raises:
            ValueError: the input has another number of axes, channels, joints or persons.
        """
        check_skeletons(x, *self.input_size, "DDNet")
        _, num_channels, num_frames, num_joints, num_persons = x.shape
        x = x.transpose([0, 4, 1, 2, 3]).reshape([-1, num_channels, num_frames, num_joints])  # -> (N*M, C, T, V)
        x = x[:, : self.num_coordinates]
        features = [
            self.distances(find_distances(x, self.pairs).unsqueeze(3)),
            self.slow_motion(_join_joints(find_motion(x, 1))),
            self.fast_motion(_join_joints(find_motion(x, 2))),
        ]
        if self.coordinates is not None:
            features.append(self.coordinates(_join_joints(x)))
        y = self.blocks(paddle.concat(features, axis=1))  # -> (N*M, C', T', 1)
        persons = max_over_frames(y).reshape([-1, num_persons, y.shape[1], 1]).transpose([0, 2, 1, 3])
        y = max_over_frames(persons).flatten(1)  # (N, C', M, 1): persons stand where frames do -> (N, C')
        return self.fc(self.linear(y))


def _join_joints(x: paddle.Tensor) -> paddle.Tensor:
    """Map (B, C, T, V) to (B, C*V, T, 1)."""
    return x.transpose([0, 1, 3, 2]).flatten(1, 2).unsqueeze(3)
