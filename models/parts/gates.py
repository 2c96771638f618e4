"""Gates of PCAN: cross-attention between two pathways that scales the features of both.

Official repository: https://github.com/kunli-cs/PCAN (commit 873788a); the paper, arXiv:2412.14719, does not describe
them. Where we differ: clips of any number of frames are taken, and gates start at 0, so that features pass unchanged.
"""

import paddle
import paddle.nn.functional as F
from paddle import nn

from models.parts.pathway import convolve_in_time
from models.parts.products import Product


class CrossAttention(nn.Layer):
    """Multi-head cross-attention without residual connection and norm.

    Args:
        num_channels: of the tokens, a multiple of `num_heads`.
        num_heads: of the attention.
        dropout_ratio: of its weights.
    """

    def __init__(self, num_channels: int, num_heads: int, dropout_ratio: float):
        super().__init__()
        self.num_channels, self.num_heads, self.scale = num_channels, num_heads, (num_channels // num_heads) ** -0.5
        self.queries, self.keys, self.values, self.out = (nn.Linear(num_channels, num_channels) for _ in range(4))
        self.dropout = nn.Dropout(dropout_ratio)
        self.compare, self.aggregate = Product(paddle.matmul, transpose_y=True), Product(paddle.matmul)

    def split_heads(self, x):
        """Map (N, T, C) to (N, num_heads, T, C/num_heads)."""
        # Sizes in full: of a -1, or of `flatten`, a static program would not know the size.
        return x.reshape([0, 0, self.num_heads, self.num_channels // self.num_heads]).transpose([0, 2, 1, 3])

    def forward(self, tokens, context):
        """Map queries of `tokens` (N, T, C), with keys and values of `context` (N, T', C), to (N, T, C)."""
        queries, keys = self.split_heads(self.queries(tokens)), self.split_heads(self.keys(context))
        attention = self.dropout(F.softmax(self.compare(queries, keys) * self.scale))
        attended = self.aggregate(attention, self.split_heads(self.values(context)))
        return self.out(attended.transpose([0, 2, 1, 3]).reshape([0, 0, self.num_channels]))


class CrossModalGate(nn.Layer):
    """Scale the features of both pathways, by channel and frame, with factors from the attention to the other one.

    Args:
        rgb_channels: of the RGB pathway.
        pose_channels: of the pose pathway.
        speed_ratio: frames of heat maps for each frame of RGB.
        num_heads: of the attention.
        dropout_ratio: of the attention weights.
        num_channels: of the tokens; None: `pose_channels`.

    Raises:
        ValueError: num_heads does not divide the channels of the tokens.
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
        zeros = nn.initializer.Constant(0.0)  # all factors start at 1
        self.rgb_gate = nn.Linear(num_channels, rgb_channels, weight_attr=zeros)
        self.pose_gate = nn.Conv1DTranspose(
            num_channels, pose_channels, speed_ratio, stride=speed_ratio, weight_attr=zeros
        )

    def forward(self, features: dict) -> dict:
        """Map {"rgb": (frames (N*T, C, H, W), T), "pose": (frames (N*T', C', H, W), T')} to the same shapes.

        Raises:
            ValueError: T' is not speed_ratio * T.
        """
        (rgb, num_frames), (pose, num_pose_frames) = features["rgb"], features["pose"]
        if num_pose_frames != self.speed_ratio * num_frames:
            raise ValueError(
                f"PCAN: a gate takes {self.speed_ratio} frames of heat maps for each of RGB, got {num_pose_frames} for "
                f"{num_frames}; set the clip lengths of the reader so"
            )
        rgb_tokens, pose_tokens = (
            F.adaptive_max_pool2d(tokens, 1).reshape([-1, num_frames, tokens.shape[1]])
            for tokens in (self.rgb_tokens(rgb), convolve_in_time(self.pose_tokens, pose, num_pose_frames))
        )  # -> (N, T, channels)
        rgb_tokens = self.rgb_attention(rgb_tokens, pose_tokens)
        pose_tokens = self.pose_attention(pose_tokens, rgb_tokens)
        rgb_gate = self.rgb_gate(rgb_tokens)  # -> (N, T, C)
        pose_gate = self.pose_gate(pose_tokens.transpose([0, 2, 1])).transpose([0, 2, 1])  # -> (N, T', C')
        return {
            "rgb": (rgb * (1.0 + rgb_gate.reshape([-1, rgb.shape[1], 1, 1])), num_frames),
            "pose": (pose * (1.0 + pose_gate.reshape([-1, pose.shape[1], 1, 1])), num_pose_frames),
        }
