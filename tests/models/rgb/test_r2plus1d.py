"""R(2+1)D: hand-made answers; golden vectors of the whole family are in test_models_resnet3d.py."""

import paddle
import pytest

from models.rgb.r2plus1d import BasicBlock2Plus1D, Bottleneck2Plus1D, R2Plus1D, count_mid_channels
from models.rgb.resnet3d import ResNet3D


@pytest.mark.parametrize(
    "in_channels, out_channels, num_mid_channels",
    [
        (64, 64, 144),
        (64, 128, 230),  # 230.4
        (128, 128, 288),
        (128, 256, 460),  # 460.8
        (256, 256, 576),
        (256, 512, 921),  # 921.6
        (512, 512, 1152),
    ],
)
def test_a_pair_has_the_weights_of_one_convolution(in_channels, out_channels, num_mid_channels):
    assert count_mid_channels(in_channels, out_channels) == num_mid_channels
    num_weights = num_mid_channels * (9 * in_channels + 3 * out_channels)
    assert num_weights == pytest.approx(27 * in_channels * out_channels, rel=5e-3)


@pytest.mark.parametrize("in_channels", [3, 2])
def test_the_stem_counts_three_channels_for_flow_too(in_channels):
    with paddle.LazyGuard():
        model = R2Plus1D(4, depth=18, in_channels=in_channels)
    assert model.conv1_s.weight.shape == [110, in_channels, 1, 7, 7]  # 65 856 / 595 = 110.7
    assert model.conv1_t.weight.shape == [64, 110, 7, 1, 1]


def test_stem_options_set_the_sizes():
    model = R2Plus1D(4, depth=10, widen_factor=0.125, conv1_t_size=3, conv1_t_stride=2, no_max_pool=True)
    assert model.conv1_s.weight.shape == [20, 3, 1, 7, 7]  # 3 528 / 171 = 20.6
    assert model.conv1_t.weight.shape == [8, 20, 3, 1, 1]
    stages = model.forward_features(paddle.zeros([1, 3, 16, 32, 32]))
    assert [list(x.shape) for x in stages] == [[1, 8, 8, 16, 16], [1, 16, 4, 8, 8], [1, 32, 2, 4, 4], [1, 64, 1, 2, 2]]


def test_the_second_pair_of_a_basic_block_counts_from_its_own_width():
    block = BasicBlock2Plus1D(64, 128, 2, "B")
    assert [block.conv1_s.weight.shape[0], block.conv2_s.weight.shape[0]] == [230, 288]
    assert list(block(paddle.zeros([1, 64, 4, 6, 6])).shape) == [1, 128, 2, 3, 3]


def test_a_bottleneck_strides_in_its_middle_pair():
    block = Bottleneck2Plus1D(16, 8, 2, "A")
    assert list(block.conv1(paddle.zeros([1, 16, 4, 6, 6])).shape) == [1, 8, 4, 6, 6]
    assert list(block.conv2_s(paddle.zeros([1, 8, 4, 6, 6])).shape) == [1, 18, 4, 3, 3]  # space first
    assert list(block.conv2_t(paddle.zeros([1, 18, 4, 3, 3])).shape) == [1, 8, 2, 3, 3]  # then time
    assert list(block(paddle.zeros([1, 16, 4, 6, 6])).shape) == [1, 32, 2, 3, 3]


@pytest.mark.parametrize("depth", [18, 34])
def test_the_network_is_as_large_as_the_plain_one(depth):
    with paddle.LazyGuard():
        sizes = [
            sum(param.size for param in model.parameters() if not param.stop_gradient)
            for model in (R2Plus1D(101, depth), ResNet3D(101, depth))
        ]
    assert sizes[0] == pytest.approx(sizes[1], rel=2e-3)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"depth": 121}, "R2Plus1D: depth must be one of 10, 18, 34, 50, 101, 152, 200, got 121"),
        ({"shortcut": "b"}, "R2Plus1D: shortcut must be 'A' or 'B', got 'b'"),
    ],
)
def test_bad_argument_is_named(arguments, message):
    with pytest.raises(ValueError) as error:
        R2Plus1D(4, **arguments)
    assert str(error.value) == message
