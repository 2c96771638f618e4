"""TSM: a 2-D residual network that shifts some channels to the next and to the previous frame.

Paper: "TSM: Temporal Shift Module for Efficient Video Understanding", J. Lin, C. Gan, S. Han, ICCV 2019,
arXiv:1811.08383. Repositories whose checkpoints fit: https://github.com/open-mmlab/mmaction2 (commit 4d6c934) and
https://github.com/decisionforce/TPN (commit 117a4d1).

The two differ in the argument `shift`: with "residual" (MMAction2 and the paper) only the first convolution of a block
gets shifted channels, and from depth 101 on only every second block of a stage shifts; with "inplace" (TPN) all blocks
shift, and a convolution on the shortcut gets shifted channels too. Weights of one load into the other, but the logits
differ by a tenth. The published accuracies of MMAction2 belong to the default.
"""

import paddle
from paddle import nn

from common.ranges import Count, PartialShare, Positive
from models.parts.action_model import ActionModel, ExplainedLayer
from models.parts.inflate import convert_imagenet_weights
from models.parts.layers import make_classifier
from models.parts.resnet2d import PLANES, Bottleneck, FrameResNet, convert_mmaction2_weights, convert_tpn_weights

SHIFT_DIV = 8  # 1 / SHIFT_DIV of the channels is shifted backward in time, as many forward
SHIFT_SOURCES = {"residual": "mmaction2", "inplace": "tpn", None: None}  # value of `shift` -> repository that uses it


def shift_channels(x, num_frames: int):
    """Shift the first eighth of the channels to the previous frame and the second eighth to the next frame.

    Args:
        x: frames (N*T, C, H, W); clips are padded with zeros at both ends.
        num_frames: of a clip, T.
    """
    _, channels, height, width = x.shape
    fold = channels // SHIFT_DIV
    x = x.reshape([-1, num_frames, channels, height * width])  # (N*T, C, H, W) -> (N, T, C, H*W)
    # A split and a concatenation copy each value once, also backward; slices of the whole would do so three times.
    from_next, from_previous, unshifted = x.split([fold, fold, channels - 2 * fold], axis=2)
    zeros = paddle.zeros_like(from_next[:, :1])
    from_next = paddle.concat([from_next, zeros], axis=1)[:, 1:]
    from_previous = paddle.concat([zeros, from_previous], axis=1)[:, :-1]
    return paddle.concat([from_next, from_previous, unshifted], axis=2).reshape([-1, channels, height, width])


class ShiftBottleneck(Bottleneck):
    """A bottleneck whose first convolution gets shifted channels."""

    def forward(self, x, num_frames: int):
        """Map (N*T, in_channels, H, W) to (N*T, 4 planes, H/stride, W/stride), sizes rounded up."""
        return self.run_after_conv1(self.conv1(shift_channels(x, num_frames)), self.run_shortcut(x))


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
            raise ValueError(f"ShiftResNet: shift must be residual, inplace or None, got {shift!r}")
        if int(PLANES[0] * widen_factor) < SHIFT_DIV:
            raise ValueError(f"ShiftResNet: widen_factor must be at least 1/8, got {widen_factor!r}")
        shift_every = 2 if shift == "residual" and depth >= 101 else 1  # blocks
        shift_blocks = {"residual": ShiftBottleneck, "inplace": InplaceShiftBottleneck, None: Bottleneck}

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


class TSM(ActionModel):
    """TSM: each frame is classified, and the logits are averaged. A clip has one frame of each segment.

    Args:
        num_classes: number of logits.
        depth: 50 or 101; also 14 and 26, small ones for trials.
        shift: "residual", "inplace" or None (TSN, for which the order of frames does not matter).
        dropout_ratio: of the features, before the classifier.
        zero_init_residual: initialise the scale of each block's last batch norm as 0.
        widen_factor: multiplies all widths, rounded down.
        in_channels: channels of a frame; 3 for RGB, 2 for optical flow.

    Raises:
        ValueError: an unknown depth or shift, or a factor that leaves no channels to shift.
    """

    TORCH_SOURCES = {
        "mmaction2": convert_mmaction2_weights,
        "tpn": convert_tpn_weights,
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
        super().__init__()
        self.backbone = ShiftResNet(shift, depth, widen_factor, in_channels, zero_init_residual)
        self.dropout = nn.Dropout(dropout_ratio)
        self.fc = make_classifier(self.backbone.out_channels[-1], num_classes, std=0.001)

    def check_source(self, source: str) -> None:
        """Check that the weights were trained with the same shift; see `ShiftResNet`."""
        self.backbone.check_source(source)

    def forward(self, x):
        """Map clips (N, in_channels, T, H, W) to logits (N, num_classes)."""
        num_frames = x.shape[2]
        x = self.backbone(x)[-1].mean(axis=[2, 3])  # (N, C, T, H, W) -> (N*T, 2048)
        logits = self.fc(self.dropout(x))
        return logits.reshape([-1, num_frames, logits.shape[1]]).mean(axis=1)  # (N*T, classes) -> (N, classes)

    def list_explained_layers(self) -> list:
        """Return the last block of each stage, the last stage first."""
        return [ExplainedLayer(block, "NT C H W") for block in self.backbone.list_stage_ends()]
