"""Pre-activation 3D-ResNet: hand-made answers; golden vectors of the family are in test_models_resnet3d.py."""

import numpy as np
import paddle
import pytest
from paddle import nn

from models.rgb.preresnet3d import PreBasicBlock, PreBottleneck, PreResNet3D


def draw(shape):
    """Draw normally distributed numbers."""
    return paddle.to_tensor(np.random.default_rng(0).standard_normal(shape).astype(np.float32))


def silence(layer):
    """Set the weights of a convolution to 0."""
    layer.weight.set_value(paddle.zeros_like(layer.weight))


@pytest.mark.parametrize("kind, last", [(PreBasicBlock, "conv2"), (PreBottleneck, "conv3")])
def test_without_its_last_convolution_a_block_hands_on_its_raw_input(kind, last):
    channels = kind(1, 4, 1, "B").out_channels
    block = kind(channels, 4, 1, "B")
    silence(getattr(block, last))
    x = draw([2, channels, 2, 3, 3])
    np.testing.assert_array_equal(block(x).numpy(), x.numpy())  # negative numbers too: nothing follows the sum


def test_the_shortcut_starts_from_the_raw_input_and_ends_in_batch_norm():
    block = PreBottleneck(4, 2, 2, "B")
    block.eval()
    silence(block.conv3)
    x = draw([1, 4, 3, 4, 4])
    convolution, norm = block.downsample
    assert isinstance(norm, nn.BatchNorm3D)
    weight = convolution.weight.numpy()[:, :, 0, 0, 0]
    expected = np.einsum("oc,ncthw->nothw", weight, x.numpy()[:, :, ::2, ::2, ::2]) / np.sqrt(1 + 1e-5)
    np.testing.assert_allclose(block(x).numpy(), expected, rtol=1e-4, atol=1e-5)


def test_batch_norm_and_relu_come_before_the_convolution():
    block = PreBasicBlock(3, 5, 1, "B")
    assert [block.bn1.weight.shape, block.bn2.weight.shape] == [[3], [5]]
    block.eval()
    block.bn1.bias.set_value(paddle.full([3], -100.0))  # drives all below zero, where the ReLU ends it
    silence(block.downsample[0])
    assert not block(draw([1, 3, 2, 3, 3])).numpy().any()


def test_the_features_are_not_rectified():
    model = PreResNet3D(4, depth=10, widen_factor=0.125)
    model.eval()
    assert model.forward_features(draw([1, 3, 8, 32, 32]))[-1].numpy().min() < 0


@pytest.mark.parametrize("depth, num_features", [(18, 512), (34, 512), (50, 2048)])
def test_the_head_takes_the_last_stage(depth, num_features):
    with paddle.LazyGuard():
        assert PreResNet3D(7, depth).fc.weight.shape == [num_features, 7]


def test_bad_argument_is_named():
    with pytest.raises(ValueError) as error:
        PreResNet3D(4, depth=20)
    assert str(error.value) == "PreResNet3D: depth must be one of 10, 18, 34, 50, 101, 152, 200, got 20"
