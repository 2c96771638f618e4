"""Suggestions: the nearest known name ends the message, and a name near to none ends nothing."""

import pytest

from common.suggestions import suggest


@pytest.mark.parametrize(
    "name, known, expected",
    [
        ("resent", {"resnet": 1, "tsm": 2}, "; did you mean 'resnet'?"),
        ("--short_side", ["--root", "--short_size"], "; did you mean '--short_size'?"),
        (2.5, ("2.50", "x"), "; did you mean '2.50'?"),
        ("Uniform", ("uniform", "spatial"), "; did you mean 'uniform'?"),
        ("vgg", ("resnet", "tsm"), ""),
        ("", ("a",), ""),
        ("a", (), ""),
    ],
)
def test_the_nearest_name_is_suggested(name, known, expected):
    assert suggest(name, known) == expected
