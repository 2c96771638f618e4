"""What networks for clips share: hand-made answers."""

import numpy as np
import paddle
import pytest

from models.parts.layers import check_clips, conv3d, uniform_by_fan_in


def test_convolution_keeps_the_size_and_adds_no_bias():
    layer = conv3d(3, 4, (3, 5, 1))
    assert layer.bias is None
    assert list(layer(paddle.zeros([1, 3, 2, 7, 6])).shape) == [1, 4, 2, 7, 6]
    assert list(conv3d(3, 4, (3, 3, 3), (1, 2, 3))(paddle.zeros([1, 3, 4, 5, 7])).shape) == [1, 4, 4, 3, 3]


def test_groups_do_not_narrow_the_spread_of_a_convolution():
    paddle.seed(0)
    weight = conv3d(64, 64, (3, 3, 3), groups=4).weight.numpy()
    assert weight.shape == (64, 16, 3, 3, 3)
    assert weight.std() == pytest.approx((2 / (64 * 27)) ** 0.5, rel=0.02)


def test_uniform_by_fan_in_is_within_its_bounds():
    paddle.seed(0)
    values = paddle.nn.Linear(25, 400, weight_attr=uniform_by_fan_in(25)).weight.numpy()
    assert 0.199 < np.abs(values).max() <= 0.2
    assert np.quantile(values, [0.25, 0.5, 0.75]) == pytest.approx([-0.1, 0, 0.1], abs=0.01)


@pytest.mark.parametrize("shape", [(2, 1, 8, 32, 32), (2, 8, 32, 32, 3), (3, 8, 32, 32), (2, 4, 3, 8, 32, 32)], ids=str)
def test_what_is_no_batch_of_clips_is_refused(shape):
    with pytest.raises(ValueError) as error:
        check_clips(paddle.zeros(shape), 3, "Net")
    assert str(error.value) == (
        f"Net: expected input (N, 3, T, H, W), got {shape}; check the reader's axis order, or MODEL.in_channels"
    )


def test_a_batch_of_clips_passes():
    assert check_clips(paddle.zeros([2, 5, 8, 4, 4]), 5, "Net") is None
