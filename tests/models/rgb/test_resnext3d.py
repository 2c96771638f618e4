"""3D-ResNeXt: hand-made answers; golden vectors of the family are in test_models_resnet3d.py."""

import numpy as np
import paddle
import pytest

from models.rgb.resnext3d import ResNeXt3D, make_bottleneck


@pytest.mark.parametrize(
    "cardinality, widths, group_widths",
    [(32, [128, 256, 512, 1024], [4, 8, 16, 32]), (8, [32, 64, 128, 256], [4, 8, 16, 32])],
)
def test_a_group_is_a_32nd_of_the_planes_wide(cardinality, widths, group_widths):
    with paddle.LazyGuard():
        model = ResNeXt3D(101, cardinality=cardinality)
    stages = [model.layer1, model.layer2, model.layer3, model.layer4]
    shapes = [[width, group, 3, 3, 3] for width, group in zip(widths, group_widths, strict=True)]
    assert [stage[1].conv2.weight.shape for stage in stages] == shapes
    assert [stage[-1].conv3.weight.shape[0] for stage in stages] == [256, 512, 1024, 2048]
    assert model.conv1.weight.shape[0] == 128


def test_a_group_sees_its_own_channels_alone():
    block = make_bottleneck(8, 32, 1, "B", cardinality=4)  # 4 channels in 4 groups
    x = np.zeros((1, 4, 3, 3, 3), np.float32)
    x[:, 2] = 1
    answered = np.abs(block.conv2(paddle.to_tensor(x)).numpy()).sum(axis=(0, 2, 3, 4)) > 0
    assert answered.tolist() == [False, False, True, False]


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"depth": 34}, "ResNeXt3D: depth must be one of 50, 101, 152, 200, got 34"),
        ({"cardinality": 0}, "ResNeXt3D: cardinality must be 1 or more, got 0"),
        ({"widen_factor": 0.3}, "ResNeXt3D: the 38 channels of a 38 wide stage do not make 32 equal groups; choose"),
        ({"widen_factor": 0.01}, "ResNeXt3D: the 1 channels of a 1 wide stage do not make 32 equal groups; choose"),
        ({"widen_factor": 0.125, "cardinality": 1}, "ResNeXt3D: the 0 channels of a 16 wide stage do not make 1 equal"),
    ],
)
def test_bad_argument_is_named(arguments, message):
    with pytest.raises(ValueError) as error:
        ResNeXt3D(4, **arguments)
    assert message in str(error.value)
