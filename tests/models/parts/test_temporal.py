"""The multi-scale temporal unit: hand-made answers; golden vectors are in the tests of the networks."""

import numpy as np
import paddle
import pytest
from paddle import nn

from models.parts.skeleton_layers import SkeletonConv2D
from models.parts.temporal import MultiScaleTemporalConv, branch_conv, map_branch_name
from models.parts.weights import merge_weights


def draw(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def make_transparent(unit):
    """Set all convolutions of one channel to weight 1 at their first tap and bias 0; norms become the identity."""
    for layer in unit.sublayers():
        if isinstance(layer, nn.Conv2D):
            weight = np.zeros(layer.weight.shape, np.float32)
            weight[:, :, 0] = 1
            layer.weight.set_value(weight)
            layer.bias.set_value(np.zeros(layer.bias.shape, np.float32))
        elif isinstance(layer, nn.BatchNorm2D):
            layer.weight.set_value(np.full(layer.weight.shape, np.sqrt(1 + 1e-5), np.float32))
    unit.eval()


def test_branches_look_back_by_their_dilation_or_take_the_largest_or_all():
    unit = MultiScaleTemporalConv(1, 4, kernel_size=3, dilations=(1, 2))
    make_transparent(unit)
    x = np.array([1, -2, 3, 4, 5, 9, 7], np.float32).reshape(1, 1, 7, 1)
    expected = [[0, 1, 0, 3, 4, 5, 9], [0, 0, 1, 0, 3, 4, 5], [1, 3, 4, 5, 9, 9, 9], [1, -2, 3, 4, 5, 9, 7]]
    np.testing.assert_allclose(unit(paddle.to_tensor(x)).numpy()[0, :, :, 0], expected, rtol=1e-5)


@pytest.mark.parametrize("residual, expected", [(False, -5), (True, -10)])
@pytest.mark.parametrize("relu", [False, True])
def test_the_input_is_added_and_cut_at_zero_if_asked(residual, expected, relu):
    unit = MultiScaleTemporalConv(4, 4, 3, (1, 2), residual=residual, relu=relu)
    make_transparent(unit)
    unit.point.weight.set_value(np.array([0, 0, 0, 1], np.float32).reshape(1, 4, 1, 1))
    x = np.zeros((1, 4, 2, 1), np.float32)
    x[0, 3] = -5
    output = unit(paddle.to_tensor(x)).numpy()[0, 3, :, 0]
    np.testing.assert_allclose(output, [0 if relu else expected] * 2, rtol=1e-5)


def test_the_last_branch_has_the_remainder_and_all_stride():
    unit = MultiScaleTemporalConv(3, 11, 5, (1, 2), stride=2, residual=True)
    assert [list(conv.weight.shape) for conv in unit.convs] == [[2, 2, 5, 1]] * 2
    assert [list(layer.weight.shape) for layer in (unit.reduce, unit.point)] == [[6, 3, 1, 1], [5, 3, 1, 1]]
    assert list(unit(paddle.zeros([2, 3, 9, 7])).shape) == [2, 11, 5, 7]
    same_width = MultiScaleTemporalConv(11, 11, 5, (1, 2), stride=2, residual=True)
    assert list(same_width(paddle.zeros([2, 11, 9, 7])).shape) == [2, 11, 5, 7]


def test_the_axes_may_be_swapped():
    arguments = (6, 12, 3, (1, 2, 3, 4), 2)
    by_frames, by_joints = (MultiScaleTemporalConv(*arguments, residual=True, time_axis=axis) for axis in (2, 3))
    by_joints.set_state_dict(
        {name: value.transpose([0, 1, 3, 2]) if "convs" in name and value.ndim == 4 else value
         for name, value in by_frames.state_dict().items()}
    )  # fmt: skip
    x = paddle.to_tensor(draw(2, 6, 9, 5))
    expected = by_frames(x).numpy()
    np.testing.assert_allclose(by_joints(x.transpose([0, 1, 3, 2])).numpy(), expected.swapaxes(2, 3), rtol=0, atol=1e-5)


def test_the_draw_is_pytorchs_default_if_asked():
    paddle.seed(0)
    plain, uniform = (branch_conv(64, 32, 3, num_layers=2, uniform=is_uniform) for is_uniform in (False, True))
    assert plain.weight.numpy().std() == pytest.approx((2 / (16 * 3)) ** 0.5, rel=0.05)
    assert not plain.bias.numpy().any()
    bound = (64 * 3) ** -0.5
    for values in (uniform.weight.numpy(), uniform.bias.numpy()):
        assert np.abs(values).max() <= bound
        assert values.std() == pytest.approx(bound / 3**0.5, rel=0.2)
    scales = [
        MultiScaleTemporalConv(64, 64, 3, (1,), uniform=is_uniform).norm.weight.numpy() for is_uniform in (False, True)
    ]
    assert scales[0].std() == pytest.approx(0.02, rel=0.3)
    np.testing.assert_array_equal(scales[1], 1)


@pytest.mark.parametrize("options", [{}, {"stride": [2, 1], "padding": [4, 0], "dilation": [2, 1]}, {"groups": 2}])
def test_a_skeleton_convolution_computes_what_paddles_own_does(options):
    plain, ours = (kind(4, 6, [5 if "padding" in options else 1, 1], **options) for kind in (nn.Conv2D, SkeletonConv2D))
    ours.set_state_dict(plain.state_dict())
    ours.bias.set_value(draw(6))
    plain.bias.set_value(draw(6))
    results = []
    for layer in (plain, ours):
        x = paddle.to_tensor(draw(2, 4, 9, 5), stop_gradient=False)
        layer(x).square().sum().backward()
        results.append([layer(x).numpy(), x.grad.numpy(), layer.weight.grad.numpy(), layer.bias.grad.numpy()])
    for theirs, ours in zip(*results, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "name, expected",
    [
        ("0.0.weight", ("reduce.weight", 0)),
        ("2.1.running_mean", ("reduce_norm.running_mean", 2)),
        ("1.3.conv.bias", ("convs.1.bias", 1)),
        ("1.3.bn.weight", ("norm.weight", 1)),
        ("2.4.bias", ("norm.bias", 2)),
        ("3.0.weight", ("point.weight", 3)),
        ("3.1.weight", ("norm.weight", 3)),
    ],
)
def test_names_of_the_authors_branches_become_ours_in_a_unit_of_four(name, expected):
    assert map_branch_name(name, 4) == expected


def test_tensors_are_merged_by_their_sort_key_and_counters_left_out():
    parts = {f"branch{number}.bias": np.full(2, number) for number in (10, 2, 1)}
    merged = merge_weights({**parts, "bn.num_batches_tracked": np.array(7)}, lambda name: ("bias", int(name[6:-5])))
    assert merged.keys() == {"bias"}
    np.testing.assert_array_equal(merged["bias"], [1, 1, 2, 2, 10, 10])
