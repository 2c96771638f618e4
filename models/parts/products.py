"""Products of two tensors as layers: forward hooks see them, so that the multiply-adds of a network can be counted."""

import math
from collections.abc import Callable

import paddle
import paddle.nn.functional as F
from paddle import nn

# What of two operands is summed to one number of the result.
NUM_TERMS = {
    paddle.matmul: lambda x, y, transpose_x=False, **_: x.shape[-2 if transpose_x else -1],
    F.linear: lambda x, weight, *_: weight.shape[0],
    F.conv2d: lambda x, weight, **_: math.prod(weight.shape[1:]),  # (out, in / groups, height, width)
}


class Product(nn.Layer):
    """A matrix product or a convolution whose operands are both computed; it has no weights of its own.

    Args:
        function: a key of `NUM_TERMS`.
        **options: keyword arguments of `function`, such as `transpose_y=True`.
    """

    def __init__(self, function: Callable, **options):
        super().__init__()
        self.function, self.options = function, options

    def forward(self, *operands):
        """Return `function(*operands, **options)`."""
        return self.function(*operands, **self.options)

    def count_terms(self, *operands) -> int:
        """Return how many products are summed to one number of the result."""
        return NUM_TERMS[self.function](*operands, **self.options)
