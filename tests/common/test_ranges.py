"""Ranges: which numbers are in one, which values fit a type, and how both are described."""

import math

import pytest

from common.ranges import Angle, Count, NonNegative, PartialShare, Positive, PositiveShare, Share, describe, fits

NOT_FINITE = [math.nan, math.inf, -math.inf]


@pytest.mark.parametrize(
    "hint, good, bad",
    [
        (Count, [1, 10**6], [0, -1, 10**6 + 1, 1.0, True, "1", None]),
        (NonNegative, [0, 0.0, 10**6], [-1e-9, 1e7, *NOT_FINITE, False]),
        (Positive, [1e-9, 3], [0, -1, *NOT_FINITE]),
        (Share, [0, 0.5, 1], [-0.1, 1.1, *NOT_FINITE]),
        (PartialShare, [0, 0.999], [1, -0.1]),
        (PositiveShare, [1, 0.1], [0, 1.1]),
        (Angle, [0, 6.28], [-0.1, 7]),
        (Count | None, [None, 2], [0, "2"]),
        (list[Share], [[], [0, 1.0]], [[2], 0.5, [None]]),
        (PositiveShare | list[PositiveShare], [0.5, [0.5]], [0, [0.5, 0]]),
        (list[Count] | tuple, [[1], (0,)], [[0], 1]),
        (list, [[1, "a"]], [(1,)]),
        (bool, [True], [1]),
    ],
)
def test_values_fit_the_type_and_its_range(hint, good, bad):
    assert [value for value in good if not fits(value, hint)] == []
    assert [value for value in bad if fits(value, hint)] == []


@pytest.mark.parametrize(
    "hint, text",
    [
        (Count, "int from 1 to 1000000"),
        (Positive | None, "float above 0 and up to 1000000 | None"),
        (PartialShare, "float from 0 to below 1"),
        (list[Share] | tuple, "list[float from 0 to 1] | tuple"),
        (dict | None, "dict | None"),
    ],
)
def test_types_are_described_with_their_range(hint, text):
    assert describe(hint) == text
