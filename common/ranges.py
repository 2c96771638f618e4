"""Ranges of the numbers in a signature, and whether a value fits a signature's type.

`clip_len: Count = 16` says in one place what a parameter is, what it may be, and its default. A section of a config is
checked against it before anything is built.
"""

import math
import types
import typing
from dataclasses import dataclass
from typing import Annotated, Any

LARGEST = 10**6  # of numbers without a limit of their own: what is beyond is a slip of the keyboard


@dataclass(frozen=True)
class Range:
    """The numbers from `minimum` to `maximum`; nan and infinity are in none.

    Attributes:
        minimum, maximum: ends of the range.
        above: leave out `minimum`.
        below: leave out `maximum`.
    """

    minimum: float
    maximum: float = LARGEST
    above: bool = False
    below: bool = False

    def __contains__(self, number: float) -> bool:
        if not math.isfinite(number):
            return False
        is_above = number > self.minimum if self.above else number >= self.minimum
        return is_above and (number < self.maximum if self.below else number <= self.maximum)

    def __str__(self) -> str:
        start = f"above {self.minimum:g} and up" if self.above else f"from {self.minimum:g}"
        return f"{start} {'to below' if self.below else 'to'} {self.maximum:.10g}"


Count = Annotated[int, Range(1)]
Whole = Annotated[int, Range(0)]
Seed = Annotated[int, Range(0, 2**32 - 1)]
Switch = Annotated[int, Range(0, 1)]  # one number a stage, 1 for yes
Positive = Annotated[float, Range(0, above=True)]
NonNegative = Annotated[float, Range(0)]
Share = Annotated[float, Range(0, 1)]
PartialShare = Annotated[float, Range(0, 1, below=True)]  # the whole would leave nothing
PositiveShare = Annotated[float, Range(0, 1, above=True)]
Aspect = Annotated[float, Range(0, 100, above=True)]  # width over height
Angle = Annotated[float, Range(0, 2 * math.pi)]  # radians


def fits(value: Any, hint: Any) -> bool:
    """Whether a parsed value is of an annotated type and in its range; an int is a float, a bool is neither."""
    options = _options(hint)
    if options:
        return any(fits(value, option) for option in options)
    if typing.get_origin(hint) is Annotated:
        kind, numbers = typing.get_args(hint)
        return fits(value, kind) and value in numbers
    kind = typing.get_origin(hint) or hint
    if kind is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if not isinstance(value, kind):
        return False
    arguments = typing.get_args(hint)
    return not arguments or kind is not list or all(fits(item, arguments[0]) for item in value)


def has_range(hint: Any) -> bool:
    """Whether a type has a `Range` anywhere inside."""
    return typing.get_origin(hint) is Annotated or any(map(has_range, typing.get_args(hint)))


def describe(hint: Any) -> str:
    """Write a type and its range in words; Python 3.10 spells some types `typing.Optional[...]`."""
    options = _options(hint)
    if options:
        return " | ".join(describe(option) for option in options)
    if typing.get_origin(hint) is Annotated:
        kind, numbers = typing.get_args(hint)
        return f"{describe(kind)} {numbers}"
    if hint is types.NoneType:
        return "None"
    arguments = typing.get_args(hint)
    return f"{typing.get_origin(hint).__name__}[{', '.join(map(describe, arguments))}]" if arguments else hint.__name__


def _options(hint: Any) -> tuple:
    is_union = isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union
    return typing.get_args(hint) if is_union else ()
