"""The fast forms of operators against Paddle's own, with their gradients; and in a static program of any batch."""

import numpy as np
import paddle
import paddle.nn.functional as F
import pytest

from models.parts import operators
from models.parts.skeleton_layers import Aggregate, SkeletonConv2D

rng = np.random.default_rng(0)
X = rng.standard_normal((3, 4, 6, 5)).astype(np.float32)  # (B, C, T, V)
FORMS = {
    "frames": (operators.average_over_frames, lambda x: x.mean(axis=2, keepdim=True), [X]),
    "places": (operators.average_over_places, lambda x: x.mean(axis=[2, 3]), [X]),
    "maxima": (operators.max_over_frames, lambda x: F.adaptive_max_pool2d(x, [1, 5]), [X.round()]),  # some are equal
    "subsets": (operators.sum_over_subsets, lambda x: x.sum(axis=1), [X[:, :, None].repeat(2, axis=2)]),
    "joints": (operators.add_to_frames, lambda x, one: x + one.reshape([1, 4, 1, 5]), [X, X[0, :, 0]]),
    "shared graph": (
        Aggregate(),
        lambda x, graph: paddle.einsum("bctv,kvw->bkctw", x, graph).flatten(1, 2),
        [X, rng.standard_normal((2, 5, 5)).astype(np.float32)],
    ),
    "a graph each": (
        Aggregate(),
        lambda x, graph: paddle.einsum("bctv,bkvw->bkctw", x, graph).flatten(1, 2),
        [X, rng.standard_normal((3, 2, 5, 5)).astype(np.float32)],
    ),
}


def differentiate(function, arrays, weights):
    """Give the output and the gradients of its sum with some weights."""
    inputs = [paddle.to_tensor(array, stop_gradient=False) for array in arrays]
    output = function(*inputs)
    (output * paddle.to_tensor(weights)).sum().backward()
    return [output.numpy(), *(one.grad.numpy() for one in inputs)]


@pytest.mark.parametrize("form", FORMS)
def test_a_fast_form_gives_what_the_plain_one_gives(form):
    fast, plain, arrays = FORMS[form]
    shape = plain(*map(paddle.to_tensor, arrays)).shape
    weights = rng.standard_normal(shape).astype(np.float32)
    for found, expected in zip(
        differentiate(fast, arrays, weights), differentiate(plain, arrays, weights), strict=True
    ):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("out_channels", [4, 8, 12])
@pytest.mark.parametrize("size", [{"kernel_size": 1}, {"kernel_size": 1, "stride": [2, 1]}, {"kernel_size": [3, 1]}])
def test_a_skeleton_convolution_adds_its_bias_as_paddle_does(out_channels, size):
    """Also where the bias is the weight of one more channel, which a layer that doubles its channels has."""
    plain, fast = paddle.nn.Conv2D(4, out_channels, **size), SkeletonConv2D(4, out_channels, **size)
    plain.bias.set_value(rng.standard_normal(out_channels).astype(np.float32))
    fast.set_state_dict(plain.state_dict())
    assert fast.joins_bias == (out_channels >= 8 and size["kernel_size"] == 1)
    weights = rng.standard_normal(plain(paddle.to_tensor(X)).shape).astype(np.float32)
    for found, expected in zip(differentiate(fast, [X], weights), differentiate(plain, [X], weights), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    for key, one in plain.named_parameters():
        np.testing.assert_allclose(dict(fast.named_parameters())[key].grad.numpy(), one.grad.numpy(), atol=1e-4)
