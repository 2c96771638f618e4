"""C3D-light: a small plain network of 3x3x3 convolutions for heat maps of joints or limbs.

Papers: "Revisiting Skeleton-based Action Recognition", H. Duan, Y. Zhao, K. Chen, D. Lin, B. Dai, CVPR 2022,
arXiv:2104.13586, which makes it of the network of "Learning Spatiotemporal Features with 3D Convolutional Networks",
D. Tran, L. Bourdev, R. Fergus, L. Torresani, M. Paluri, ICCV 2015, arXiv:1412.0767. Repository whose checkpoints fit:
https://github.com/kennymckormick/pyskl (commit 3f6795f), with its light variant: half the width, four groups of
convolutions, average pools that keep all frames.
"""

import paddle.nn.functional as F
from paddle import nn

from common.ranges import Count, PartialShare
from models.parts.action_model import ActionModel, ExplainedLayer
from models.parts.layers import check_clips, conv3d, make_classifier
from models.parts.pathway import PATHWAY_RULES
from models.parts.weights import rename_weights

LAYERS = {"conv1a": 1, "conv2a": 2, "conv3a": 4, "conv3b": 4, "conv4a": 8, "conv4b": 8}  # name: width / base_channels
POOLED = ("conv2a", "conv3a", "conv4a")  # layers behind a pool

# PYSKL's names -> ours; see `weights.apply_rules`.
RULES = [*PATHWAY_RULES, (r"\.(conv\d[ab])\.conv\.", r".\1.0."), (r"\.(conv\d[ab])\.bn\.", r".\1.1.")]


def convert_c3d_weights(weights: dict) -> dict:
    """Convert the weights of a C3D recognizer of PYSKL."""
    return rename_weights(weights, RULES)


class C3DBackbone(nn.Layer):
    """Six 3x3x3 convolutions, each with batch norm and ReLU; the arguments are those of `C3D`."""

    def __init__(self, in_channels: int, base_channels: int):
        super().__init__()
        self.in_channels = in_channels
        for name, ratio in LAYERS.items():
            out_channels = base_channels * ratio
            conv = conv3d(in_channels, out_channels, (3, 3, 3))
            setattr(self, name, nn.Sequential(conv, nn.BatchNorm3D(out_channels)))
            in_channels = out_channels
        self.out_channels = in_channels

    def forward(self, x):
        """Map heat maps (N, in_channels, T, H, W) to (N, 8 base_channels, T, H/8, W/8), sizes rounded down."""
        check_clips(x, self.in_channels, "C3D")
        if min(x.shape[3:]) < 8:
            raise ValueError(f"C3D: heat maps must have 8 rows and columns or more, got {tuple(x.shape[3:])}")
        for name, layer in self.named_children():
            if name in POOLED:
                x = F.avg_pool3d(x, (1, 2, 2), stride=(1, 2, 2))
            x = F.relu(layer(x))
        return x


class C3D(ActionModel):
    """C3D-light: the convolutions, global average pool, dropout, linear.

    Args:
        num_classes: number of logits.
        in_channels: channels of a clip, 17 for the joints and for the limbs of COCO.
        base_channels: of the first convolution; the others have 2, 4, 4, 8 and 8 times as many.
        dropout_ratio: of the features, before the classifier.
    """

    WEIGHT_SOURCES = {"pyskl": convert_c3d_weights}

    def __init__(
        self,
        num_classes: Count,
        in_channels: Count = 17,
        base_channels: Count = 32,
        dropout_ratio: PartialShare = 0.5,
    ):
        super().__init__()
        self.backbone = C3DBackbone(in_channels, base_channels)
        self.dropout = nn.Dropout(dropout_ratio)
        self.fc = make_classifier(self.backbone.out_channels, num_classes, std=0.01)

    def forward(self, x):
        """Map heat maps (N, in_channels, T, H, W) to logits (N, num_classes)."""
        return self.fc(self.dropout(self.backbone(x).mean(axis=[2, 3, 4])))  # (N, 256, T, H/8, W/8) -> (N, classes)

    def list_explained_layers(self) -> list:
        """Return the convolutions with their batch norm, the last one first."""
        return [ExplainedLayer(layer) for layer in reversed(list(self.backbone.children()))]

    def list_blocks(self) -> list:
        """Return the convolutions with their batch norm."""
        return list(self.backbone.children())
