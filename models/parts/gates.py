"""Gates of PCAN: two pathways weigh their features by what they say to each other.

Official repository: https://github.com/kunli-cs/PCAN (commit 873788a); the paper, arXiv:2412.14719, does not tell of
them. Where we differ: any number of frames is taken, and gates begin closed.
"""

import paddle
import paddle.nn.functional as F
from paddle import nn

from models.parts.pathway import convolve_in_time
from models.parts.products import Product


class CrossAttention(nn.Layer):
    """Multi-head attention of some tokens to others; no residual, no norm.

    Args:
        num_channels: of tokens, a multiple of the heads.
        num_heads: of the attention.
        dropout_ratio: of its weights.
    """

    def __init__(self, num_channels: int, num_heads: int, dropout_ratio: float):
        super().__init__()
        self.num_heads, self.scale = num_heads, (num_channels // num_heads) ** -0.5
        self.queries, self.keys, self.values, self.out = (nn.Linear(num_channels, num_channels) for _ in range(4))
        self.dropout = nn.Dropout(dropout_ratio)
        self.compare, self.gather = Product(paddle.matmul, transpose_y=True), Product(paddle.matmul)

    def split(self, x):
        """Map (N, T, C) to (N, heads, T, C/heads)."""
        return x.reshape([0, 0, self.num_heads, -1]).transpose([0, 2, 1, 3])

    def forward(self, tokens, others):
        """Map `tokens` (N, T, C), which ask, and `others` (N, T', C), which are asked, to (N, T, C)."""
        queries, keys = self.split(self.queries(tokens)), self.split(self.keys(others))
        weights = F.softmax(self.compare(queries, keys) * self.scale)
        found = self.gather(self.dropout(weights), self.split(self.values(others)))
        return self.out(found.transpose([0, 2, 1, 3]).flatten(2))


class CrossModalGate(nn.Layer):
    """Weighs the features of both pathways, by channel and frame, by what they say to each other.

    Args:
        rgb_channels: of the RGB pathway.
        pose_channels: of the pose pathway.
        speed_ratio: frames of heat maps for each of RGB.
        num_heads: of the attention.
        dropout_ratio: of its weights.
        num_channels: of the tokens; None: those of the pose pathway.

    Raises:
        ValueError: channels that the heads do not divide.
    """

    def __init__(
        self,
        rgb_channels: int,
        pose_channels: int,
        speed_ratio: int,
        num_heads: int,
        dropout_ratio: float,
        num_channels: int | None = None,
    ):
        super().__init__()
        num_channels = num_channels or pose_channels
        if num_channels % num_heads:
            raise ValueError(f"PCAN: num_heads must divide the {num_channels} channels of a gate, got {num_heads}")
        self.speed_ratio = speed_ratio
        self.rgb_tokens = nn.Conv2D(rgb_channels, num_channels, 1)
        self.pose_tokens = nn.Conv2D(pose_channels, num_channels, (speed_ratio, 1), stride=[speed_ratio, 1])
        self.rgb_attention = CrossAttention(num_channels, num_heads, dropout_ratio)
        self.pose_attention = CrossAttention(num_channels, num_heads, dropout_ratio)
        closed = nn.initializer.Constant(0.0)
        self.rgb_gate = nn.Linear(num_channels, rgb_channels, weight_attr=closed)
        self.pose_gate = nn.Conv1DTranspose(
            num_channels, pose_channels, speed_ratio, stride=speed_ratio, weight_attr=closed
        )

    def forward(self, maps: dict) -> dict:
        """Map {"rgb": (frames (N*T, C, H, W), T), "pose": (frames (N*T', C', H, W), T')} to the same, weighed.

        Raises:
            ValueError: T' is not speed_ratio * T.
        """
        (rgb, num_frames), (pose, num_maps) = maps["rgb"], maps["pose"]
        if num_maps != self.speed_ratio * num_frames:
            raise ValueError(
                f"PCAN: a gate takes {self.speed_ratio} frames of heat maps for each of RGB, got {num_maps} for "
                f"{num_frames}; set the clip lengths of the reader so"
            )
        rgb_tokens, pose_tokens = (
            F.adaptive_max_pool2d(tokens, 1).reshape([-1, num_frames, tokens.shape[1]])
            for tokens in (self.rgb_tokens(rgb), convolve_in_time(self.pose_tokens, pose, num_maps))
        )  # -> (N, T, channels)
        rgb_tokens = self.rgb_attention(rgb_tokens, pose_tokens)
        pose_tokens = self.pose_attention(pose_tokens, rgb_tokens)
        rgb_gate = self.rgb_gate(rgb_tokens)  # -> (N, T, C)
        pose_gate = self.pose_gate(pose_tokens.transpose([0, 2, 1])).transpose([0, 2, 1])  # -> (N, T', C')
        return {
            "rgb": (rgb * (1.0 + rgb_gate.reshape([-1, rgb.shape[1], 1, 1])), num_frames),
            "pose": (pose * (1.0 + pose_gate.reshape([-1, pose.shape[1], 1, 1])), num_maps),
        }
