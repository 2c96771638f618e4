"""Wide 3D-ResNet: hand-made answers; golden vectors of the family are in test_models_resnet3d.py."""

import paddle
import pytest

from models.rgb.wideresnet3d import WideResNet3D


@pytest.mark.parametrize(
    "arguments, stem, widths, outputs",
    [
        ({}, 128, [128, 256, 512, 1024], [256, 512, 1024, 2048]),
        ({"k": 1}, 64, [64, 128, 256, 512], [128, 256, 512, 1024]),
        ({"k": 3, "widen_factor": 0.25}, 48, [48, 96, 192, 384], [96, 192, 384, 768]),
    ],
)
def test_k_widens_all_and_a_bottleneck_widens_twofold(arguments, stem, widths, outputs):
    with paddle.LazyGuard():
        model = WideResNet3D(101, **arguments)
    stages = [model.layer1, model.layer2, model.layer3, model.layer4]
    assert model.conv1.weight.shape[0] == stem
    assert [stage[0].conv2.weight.shape[:2] for stage in stages] == [[width, width] for width in widths]
    assert [stage[-1].conv3.weight.shape[0] for stage in stages] == outputs
    assert model.fc.weight.shape == [outputs[-1], 101]


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"depth": 18}, "WideResNet3D: depth must be one of 50, 101, 152, 200, got 18"),
        ({"k": 0}, "WideResNet3D: k must be 1 or more, got 0; MODEL.widen_factor narrows"),
        ({"widen_factor": 0.001}, "WideResNet3D: widen_factor must be at least 1/128, got 0.001"),
    ],
)
def test_bad_argument_is_named(arguments, message):
    with pytest.raises(ValueError) as error:
        WideResNet3D(4, **arguments)
    assert str(error.value) == message
