"""3D-ResNeXt: grouped 3x3x3 convolutions in the bottlenecks.

Paper: "Aggregated Residual Transformations for Deep Neural Networks", S. Xie, R. Girshick, P. Dollár, Z. Tu, K. He,
CVPR 2017, arXiv:1611.05431; in 3-D by Hara et al. (see `ResNet3D`). Official repository:
https://github.com/kenshohara/3D-ResNets-PyTorch (May 2020).

Where we differ: the official network cannot be constructed (an argument of its blocks has two names, and the number of
classes is passed as the factor of the widths); ours is what its code intends. The official type-A shortcut passes no
gradient; ours does.
"""

import functools

from common.ranges import Count, Positive
from models.rgb.resnet3d import Bottleneck, VideoResNet

PLANES = (128, 256, 512, 1024)


def make_bottleneck(in_channels: int, planes: int, stride: int, shortcut: str, cardinality: int) -> Bottleneck:
    """Make a bottleneck of `cardinality` groups, 1/32 of `planes` wide each.

    Raises:
        ValueError: the channels cannot be split into equal groups.
    """
    mid_channels = cardinality * planes // 32
    if mid_channels == 0 or mid_channels % cardinality:
        raise ValueError(
            f"ResNeXt3D: the {mid_channels} channels of a {planes} wide stage do not make {cardinality} equal groups; "
            "choose MODEL.widen_factor so that all widths are multiples of 32, such as 0.25 or 0.5"
        )
    return Bottleneck(in_channels, mid_channels, stride, shortcut, out_channels=2 * planes, groups=cardinality)


class ResNeXt3D(VideoResNet):
    """3D-ResNeXt.

    Args:
        num_classes: number of logits.
        depth: 50, 101, 152 or 200.
        cardinality: groups of each 3x3x3 convolution.
        shortcut: "B" (1x1x1 convolution and BN) or "A" (subsampling and zero channels).
        conv1_t_size: temporal size of the stem's kernel, in frames.
        conv1_t_stride: temporal stride of the stem.
        no_max_pool: leave out the stem's max pool, which halves T, H and W.
        widen_factor: multiplies all widths, rounded down.
        in_channels: channels of a frame; 3 for RGB, 2 for optical flow.

    Raises:
        ValueError: an unknown depth or shortcut, or a factor that leaves no channels or unequal groups.
    """

    def __init__(
        self,
        num_classes: Count,
        depth: Count = 50,
        cardinality: Count = 32,
        shortcut: str = "B",
        conv1_t_size: Count = 7,
        conv1_t_stride: Count = 1,
        no_max_pool: bool = False,
        widen_factor: Positive = 1.0,
        in_channels: Count = 3,
    ):
        if cardinality < 1:
            raise ValueError(f"ResNeXt3D: cardinality must be 1 or more, got {cardinality!r}")
        blocks = dict.fromkeys((50, 101, 152, 200), functools.partial(make_bottleneck, cardinality=cardinality))
        stem = (conv1_t_size, conv1_t_stride, no_max_pool)
        super().__init__(blocks, PLANES, num_classes, depth, shortcut, *stem, widen_factor, in_channels)
