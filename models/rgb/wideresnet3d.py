"""3-D wide residual networks: k times the width, and an expansion of 2 instead of 4 in the bottlenecks.

Paper: "Wide Residual Networks", S. Zagoruyko, N. Komodakis, BMVC 2016, arXiv:1605.07146; in 3-D by Hara et al. (see
`ResNet3D`). Official repository: https://github.com/kenshohara/3D-ResNets-PyTorch (May 2020).

Where we differ: the official type-A shortcut passes no gradient; ours does.
"""

from common.ranges import Count, Positive, Whole
from models.rgb.resnet3d import PLANES, Bottleneck, VideoResNet


def make_bottleneck(in_channels: int, planes: int, stride: int, shortcut: str) -> Bottleneck:
    """Make a bottleneck with an expansion of 2."""
    return Bottleneck(in_channels, planes, stride, shortcut, out_channels=2 * planes)


BLOCKS = dict.fromkeys((50, 101, 152, 200), make_bottleneck)


class WideResNet3D(VideoResNet):
    """Wide 3D-ResNet.

    Args:
        num_classes: number of logits.
        depth: 50, 101, 152 or 200.
        k: factor of the width of a 3D-ResNet, also in the stem.
        shortcut: "B" (1x1x1 convolution and BN) or "A" (subsampling and zero channels).
        conv1_t_size: temporal size of the stem's kernel, in frames.
        conv1_t_stride: temporal stride of the stem.
        no_max_pool: leave out the stem's max pool, which halves T, H and W.
        widen_factor: multiplies all widths again, rounded down.
        in_channels: channels of a frame; 3 for RGB, 2 for optical flow.

    Raises:
        ValueError: an unknown depth or shortcut, or factors that leave no channels.
    """

    def __init__(
        self,
        num_classes: Count,
        depth: Count = 50,
        k: Whole = 2,
        shortcut: str = "B",
        conv1_t_size: Count = 7,
        conv1_t_stride: Count = 1,
        no_max_pool: bool = False,
        widen_factor: Positive = 1.0,
        in_channels: Count = 3,
    ):
        if k < 1:
            raise ValueError(f"WideResNet3D: k must be 1 or more, got {k!r}; MODEL.widen_factor narrows")
        planes = tuple(k * width for width in PLANES)
        stem = (conv1_t_size, conv1_t_stride, no_max_pool)
        super().__init__(BLOCKS, planes, num_classes, depth, shortcut, *stem, widen_factor, in_channels)
