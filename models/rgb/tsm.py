"""TSM: a 2-D residual network some of whose channels are shifted to the next or the previous frame.

Paper: "TSM: Temporal Shift Module for Efficient Video Understanding", J. Lin, C. Gan, S. Han, ICCV 2019,
arXiv:1811.08383. Repositories whose checkpoints fit: https://github.com/open-mmlab/mmaction2 (commit 4d6c934) and
https://github.com/decisionforce/TPN (commit 117a4d1).

Those two differ in one thing, the argument `shift`: with "residual" (MMAction2 and the paper) only the first
convolution of a block sees shifted channels, and from depth 101 on only every second block of a stage shifts; with
"inplace" (TPN) all blocks shift, and a convolution on the shortcut sees shifted channels too. The weights look the
same, the logits differ by a tenth. The default is what the published accuracies of MMAction2 were reached with.
"""

import paddle
from paddle import nn

from models.parts.action_model import ActionModel
from models.parts.inflate import read_imagenet
from models.parts.layers import make_classifier
from models.parts.resnet2d import PLANES, Bottleneck, FrameResNet, read_mmaction2, read_tpn

SHIFT_PARTS = 8  # one of so many parts of the channels is shifted backward, another one forward
SHIFTS = {"residual": "mmaction2", "inplace": "tpn", None: None}  # shift: the repository that shifts so


def shift_channels(x, num_frames: int):
    """Give an eighth of the channels the values of the next frame, the next eighth those of the previous one.

    Args:
        x: frames (N*T, C, H, W); beyond the first and the last frame of a clip there are zeros.
    """
    _, channels, height, width = x.shape
    part = channels // SHIFT_PARTS
    x = x.reshape([-1, num_frames, channels, height * width])  # (N*T, C, H, W) -> (N, T, C, H*W)
    # A split and a concatenation copy each number once, also backward; slices of the whole would do so three times.
    later, earlier, rest = x.split([part, part, channels - 2 * part], axis=2)
    nothing = paddle.zeros_like(later[:, :1])
    later = paddle.concat([later, nothing], axis=1)[:, 1:]
    earlier = paddle.concat([nothing, earlier], axis=1)[:, :-1]
    return paddle.concat([later, earlier, rest], axis=2).reshape([-1, channels, height, width])


class ShiftBottleneck(Bottleneck):
    """A bottleneck whose first convolution sees shifted channels."""

    def forward(self, x, num_frames: int):
        """Map (N*T, in_channels, H, W) to (N*T, 4 planes, H/stride, W/stride), sizes rounded up."""
        return self.join(self.conv1(shift_channels(x, num_frames)), self.shorten(x))


class InplaceShiftBottleneck(Bottleneck):
    """A bottleneck whose first convolution, and the one on its shortcut if there is one, see shifted channels."""

    def forward(self, x, num_frames: int):
        """Map (N*T, in_channels, H, W) to (N*T, 4 planes, H/stride, W/stride), sizes rounded up."""
        shifted = shift_channels(x, num_frames)
        return self.join(self.conv1(shifted), x if self.downsample is None else self.downsample(shifted))


class ShiftResNet(FrameResNet):
    """The stages of TSM.

    Args:
        shift: see `TSM`; the other arguments are those of `FrameResNet`.

    Raises:
        ValueError: an unknown shift, or a factor that leaves no channels to shift.
    """

    def __init__(self, shift: str | None, depth: int, widen_factor: float, in_channels: int, zero_init_residual: bool):
        if shift not in SHIFTS:
            raise ValueError(f"ShiftResNet: shift must be residual, inplace or None, got {shift!r}")
        if int(PLANES[0] * widen_factor) < SHIFT_PARTS:
            raise ValueError(f"ShiftResNet: widen_factor must be at least 1/8, got {widen_factor!r}")
        every = 2 if shift == "residual" and depth >= 101 else 1
        kinds = {"residual": ShiftBottleneck, "inplace": InplaceShiftBottleneck, None: Bottleneck}

        def make_block(stage, index, *arguments):
            return (Bottleneck if index % every else kinds[shift])(*arguments)

        super().__init__(make_block, depth, widen_factor, in_channels, zero_init_residual)
        self.shift = shift

    def check_source(self, source: str) -> None:
        """Refuse weights of a repository that shifts in another way; they would fit and give other numbers.

        Raises:
            ValueError: names the argument to change.
        """
        wanted = next((shift for shift, repository in SHIFTS.items() if repository == source), self.shift)
        if wanted != self.shift:
            raise ValueError(
                f"weights of {source} were trained with shift {wanted!r}, this network has {self.shift!r}; "
                f"set -o MODEL.shift={wanted}"
            )


class TSM(ActionModel):
    """TSM: every frame is classified by itself, and the logits are averaged. A clip is one frame of each segment.

    Args:
        num_classes: number of logits.
        depth: 50 or 101; 14 and 26 are small ones for trials.
        shift: "residual", "inplace" or None, a network that cannot tell the order of frames.
        dropout_ratio: of the features, before the classifier.
        zero_init_residual: begin with the last batch norm of every block at 0.
        widen_factor: multiplies all widths, rounded down.
        in_channels: channels of a frame; 3 for RGB, 2 for optical flow.

    Raises:
        ValueError: an unknown depth or shift, or a factor that leaves no channels to shift.
    """

    TORCH_SOURCES = {"mmaction2": read_mmaction2, "tpn": read_tpn, "imagenet": read_imagenet}

    def __init__(
        self,
        num_classes: int,
        depth: int = 50,
        shift: str | None = "residual",
        dropout_ratio: float = 0.5,
        zero_init_residual: bool = False,
        widen_factor: float = 1.0,
        in_channels: int = 3,
    ):
        super().__init__()
        self.backbone = ShiftResNet(shift, depth, widen_factor, in_channels, zero_init_residual)
        self.dropout = nn.Dropout(dropout_ratio)
        self.fc = make_classifier(self.backbone.out_channels[-1], num_classes, std=0.001)

    def check_source(self, source: str) -> None:
        """Refuse weights that were trained with another shift; see `ShiftResNet`."""
        self.backbone.check_source(source)

    def forward(self, x):
        """Map clips (N, in_channels, T, H, W) to logits (N, num_classes)."""
        num_frames = x.shape[2]
        x = self.backbone(x)[-1].mean(axis=[2, 3])  # (N, C, T, H, W) -> (N*T, 2048)
        logits = self.fc(self.dropout(x))
        return logits.reshape([-1, num_frames, logits.shape[1]]).mean(axis=1)  # (N*T, classes) -> (N, classes)
