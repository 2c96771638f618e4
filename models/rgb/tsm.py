"""TSM: a 2-D residual network that shifts some channels to the next and to the previous frame.

Paper: "TSM: Temporal Shift Module for Efficient Video Understanding", J. Lin, C. Gan, S. Han, ICCV 2019,
arXiv:1811.08383. Repositories whose checkpoints fit: https://github.com/open-mmlab/mmaction2 (commit 4d6c934) and
https://github.com/decisionforce/TPN (commit 117a4d1).

They differ in the argument `shift`: with "residual" (MMAction2 and the paper) only the first convolution of a block
gets shifted channels, and from depth 101 on only every second block of a stage shifts; with "inplace" (TPN) all blocks
shift, and a convolution on the shortcut gets shifted channels too; with "paddlevideo"
(https://github.com/PaddlePaddle/PaddleVideo, commit ed245e9) all blocks shift as with "residual", but the channels of
the previous frame stand first, and of T frames 1/T of the channels shifts each way, not an eighth. Weights of one load
into the other, but the logits differ by a tenth, or by 3 %. MMAction2's published accuracies belong to the default.
"""

import re

import paddle
from paddle import nn

from common.ranges import Count, PartialShare, Positive
from models.parts.action_model import ActionModel, ExplainedLayer
from models.parts.inflate import convert_imagenet_weights
from models.parts.layers import make_classifier
from models.parts.resnet2d import PLANES, Bottleneck, FrameResNet, convert_mmaction2_weights, convert_tpn_weights
from models.parts.weights import rename_paddlevideo_weights

SHIFT_DIV = 8  # 1 / SHIFT_DIV of the channels is shifted backward in time, as many forward
SHIFT_SOURCES = {  # value of `shift` -> repository that uses it
    "residual": "mmaction2",
    "inplace": "tpn",
    "paddlevideo": "paddlevideo",
    None: None,
}


def shift_channels(x, num_frames: int):
    """Shift the first eighth of the channels to the previous frame and the second eighth to the next frame.

    Args:
        x: frames (N*T, C, H, W); clips are padded with zeros at both ends.
        num_frames: of a clip, T.
    """
    fold = x.shape[1] // SHIFT_DIV
    from_next, from_previous, unshifted = split_channels(x, num_frames, fold, fold)
    return paddle.concat([take_next(from_next), take_previous(from_previous), unshifted], axis=2).reshape(
        [-1, *x.shape[1:]]
    )


def shift_channels_by_length(x, num_frames: int):
    """Shift the first 1/T of the channels to the next frame and the second 1/T to the previous frame, as PaddleVideo.

    Args:
        x: frames (N*T, C, H, W); clips are padded with zeros at both ends.
        num_frames: of a clip, T; at least 2.

    Raises:
        ValueError: clips of one frame, whose channels would all be zeros.
    """
    if num_frames < 2:
        raise ValueError(f"TSM: shift 'paddlevideo' needs clips of 2 frames or more, got {num_frames}")
    first, both = x.shape[1] // num_frames, 2 * x.shape[1] // num_frames
    from_previous, from_next, unshifted = split_channels(x, num_frames, first, both - first)
    return paddle.concat([take_previous(from_previous), take_next(from_next), unshifted], axis=2).reshape(
        [-1, *x.shape[1:]]
    )


def split_channels(x, num_frames: int, first: int, second: int) -> list:
    """Split frames (N*T, C, H, W) into clips (N, T, first, H*W), (N, T, second, H*W) and one of the other channels.

    A split and a concatenation copy each value once, also backward; slices of the whole would do so three times.
    """
    num_channels = x.shape[1]
    x = x.reshape([-1, num_frames, num_channels, x.shape[2] * x.shape[3]])
    return x.split([first, second, num_channels - first - second], axis=2)


def take_next(x):
    """Replace each frame of (N, T, C, H*W) by the next one, the last one by zeros."""
    return paddle.concat([x, paddle.zeros_like(x[:, :1])], axis=1)[:, 1:]


def take_previous(x):
    """Replace each frame of (N, T, C, H*W) by the previous one, the first one by zeros."""
    return paddle.concat([paddle.zeros_like(x[:, :1]), x], axis=1)[:, :-1]


class ShiftBottleneck(Bottleneck):
    """A bottleneck whose first convolution gets shifted channels."""

    shift = staticmethod(shift_channels)

    def forward(self, x, num_frames: int):
        """Map (N*T, in_channels, H, W) to (N*T, 4 planes, H/stride, W/stride), sizes rounded up."""
        return self.run_after_conv1(self.conv1(self.shift(x, num_frames)), self.run_shortcut(x))


class LengthShiftBottleneck(ShiftBottleneck):
    """A bottleneck whose first convolution gets channels shifted as PaddleVideo does."""

    shift = staticmethod(shift_channels_by_length)


class InplaceShiftBottleneck(Bottleneck):
    """A bottleneck whose first convolution gets shifted channels, and the one on its shortcut, if any, too."""

    def forward(self, x, num_frames: int):
        """Map (N*T, in_channels, H, W) to (N*T, 4 planes, H/stride, W/stride), sizes rounded up."""
        shifted = shift_channels(x, num_frames)
        shortcut = x if self.downsample is None else self.downsample(shifted)
        return self.run_after_conv1(self.conv1(shifted), shortcut)


class ShiftResNet(FrameResNet):
    """The stages of TSM.

    Args:
        shift: see `TSM`; the other arguments are those of `FrameResNet`.

    Raises:
        ValueError: an unknown shift, or a factor that leaves no channels to shift.
    """

    def __init__(self, shift: str | None, depth: int, widen_factor: float, in_channels: int, zero_init_residual: bool):
        if shift not in SHIFT_SOURCES:
            raise ValueError(f"ShiftResNet: shift must be residual, inplace, paddlevideo or None, got {shift!r}")
        if int(PLANES[0] * widen_factor) < SHIFT_DIV:
            raise ValueError(f"ShiftResNet: widen_factor must be at least 1/8, got {widen_factor!r}")
        shift_every = 2 if shift == "residual" and depth >= 101 else 1  # blocks
        shift_blocks = {
            "residual": ShiftBottleneck,
            "inplace": InplaceShiftBottleneck,
            "paddlevideo": LengthShiftBottleneck,
            None: Bottleneck,
        }

        def make_block(stage, index, *arguments):
            block = Bottleneck if index % shift_every else shift_blocks[shift]
            return block(*arguments)

        super().__init__(make_block, depth, widen_factor, in_channels, zero_init_residual)
        self.shift = shift

    def check_source(self, source: str) -> None:
        """Check that `source` shifts as this network does; other weights would load and give wrong logits.

        Raises:
            ValueError: it does not; the message has the value of MODEL.shift to set.
        """
        expected = next((shift for shift, repository in SHIFT_SOURCES.items() if repository == source), self.shift)
        if expected != self.shift:
            raise ValueError(
                f"weights of {source} were trained with shift {expected!r}, this network has {self.shift!r}; "
                f"set -o MODEL.shift={expected}"
            )


def rename_paddlevideo_block(match: re.Match) -> str:
    """Rename a block from PaddleVideo's `res4b3` (stage 3, block 3) or `res2b` (stage 1, block 1)."""
    stage, letter, number = match.groups()
    return f"backbone.layer{int(stage) - 1}.{number or ord(letter) - ord('a')}."


# PaddleVideo's names without prefix -> ours; see `weights.apply_rules`.
PADDLEVIDEO_BLOCK_RULES = [
    *((rf"\.conv{index}\._conv\.", f".conv{index + 1}.") for index in range(3)),
    *((rf"\.conv{index}\._batch_norm\.", f".bn{index + 1}.") for index in range(3)),
]
PADDLEVIDEO_RULES = [
    (r"^res(\d)([a-z])(\d*)\.", rename_paddlevideo_block),
    (r"^conv\._conv\.", "backbone.conv1."),
    (r"^conv\._batch_norm\.", "backbone.bn1."),
    (r"\.short\._conv\.", ".downsample.0."),
    (r"\.short\._batch_norm\.", ".downsample.1."),
    *PADDLEVIDEO_BLOCK_RULES,
]


def convert_paddlevideo_tsm_weights(weights: dict) -> dict:
    """Convert the weights of PaddleVideo's TSM."""
    return rename_paddlevideo_weights(weights, PADDLEVIDEO_RULES)


class FrameClassifier(ActionModel):
    """Each frame is classified, and the logits are averaged. A clip has one frame of each segment.

    Args:
        backbone: maps clips (N, in_channels, T, H, W) to the features of each stage, the last (N*T, C, H', W').
        num_classes: number of logits.
        dropout_ratio: of the features, before the classifier.
        std: of the classifier's weights at the start.
    """

    def __init__(self, backbone: FrameResNet, num_classes: int, dropout_ratio: float, std: float):
        super().__init__()
        self.backbone = backbone
        self.dropout = nn.Dropout(dropout_ratio)
        self.fc = make_classifier(backbone.out_channels[-1], num_classes, std=std)

    def forward(self, x):
        """Map clips (N, in_channels, T, H, W) to logits (N, num_classes)."""
        num_frames = x.shape[2]
        x = self.backbone(x)[-1].mean(axis=[2, 3])  # (N, C, T, H, W) -> (N*T, 2048)
        logits = self.fc(self.dropout(x))
        return logits.reshape([-1, num_frames, logits.shape[1]]).mean(axis=1)  # (N*T, num_classes) -> (N, num_classes)

    def list_explained_layers(self) -> list:
        """Return the last block of each stage, the last stage first."""
        return [ExplainedLayer(block, "NT C H W") for block in self.backbone.list_stage_ends()]


class TSM(FrameClassifier):
    """TSM: a frame classifier whose blocks shift channels.

    Args:
        num_classes: number of logits.
        depth: 50 or 101; also 14 and 26, small ones for trials.
        shift: "residual", "inplace", "paddlevideo", or None (TSN, for which the order of frames does not matter).
        dropout_ratio: of the features, before the classifier.
        zero_init_residual: initialise the scale of each block's last batch norm as 0.
        widen_factor: multiplies all widths, rounded down.
        in_channels: channels of a frame; 3 for RGB, 2 for optical flow.

    Raises:
        ValueError: an unknown depth or shift, or a factor that leaves no channels to shift.
    """

    WEIGHT_SOURCES = {
        "mmaction2": convert_mmaction2_weights,
        "tpn": convert_tpn_weights,
        "paddlevideo": convert_paddlevideo_tsm_weights,
        "imagenet": convert_imagenet_weights,
    }

    def __init__(
        self,
        num_classes: Count,
        depth: Count = 50,
        shift: str | None = "residual",
        dropout_ratio: PartialShare = 0.5,
        zero_init_residual: bool = False,
        widen_factor: Positive = 1.0,
        in_channels: Count = 3,
    ):
        backbone = ShiftResNet(shift, depth, widen_factor, in_channels, zero_init_residual)
        super().__init__(backbone, num_classes, dropout_ratio, std=0.001)

    @classmethod
    def list_source_arguments(cls, source: str) -> dict:
        """Return the shift of PaddleVideo, which its weights always need."""
        return {"shift": source} if source == "paddlevideo" else {}

    def check_source(self, source: str) -> None:
        """Check that the weights were trained with the same shift; see `ShiftResNet`."""
        self.backbone.check_source(source)
