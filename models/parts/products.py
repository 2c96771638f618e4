"""Products of two tensors as layers, so that forward hooks see them and `cost` counts their multiply-adds."""

import math
from collections.abc import Callable

import paddle
import paddle.nn.functional as F
from paddle import nn

# function -> number of products that are summed to one element of its output.
NUM_TERMS = {
    paddle.matmul: lambda x, y, transpose_x=False, **_: x.shape[-2 if transpose_x else -1],
    F.linear: lambda x, weight, *_: weight.shape[0],
    F.conv2d: lambda x, weight, **_: math.prod(weight.shape[1:]),  # (out, in / groups, height, width)
}


class Product(nn.Layer):
    """A matrix product or convolution of computed operands, without weights.

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
        """Return the number of products that are summed to one element of the output."""
        return NUM_TERMS[self.function](*operands, **self.options)
