"""Tables of measurements, in Markdown."""

import statistics
from collections.abc import Callable


def format_table(rows: list) -> str:
    """Format rows of texts, the first one the titles, as a Markdown table."""
    lines = ["|" + "".join(f" {cell} |" if cell else " |" for cell in row) for row in rows]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]])


def format_spread(values: list, digits: int, sign: str = "", center: Callable = statistics.median) -> str:
    """Format the center of some values with the lowest and the highest one, such as `8.1 (7.9 to 8.2)`.

    Args:
        values: numbers.
        digits: decimal places.
        sign: "+" shows the sign of positive numbers too.
        center: `statistics.median` or `statistics.mean`.
    """
    middle, low, high = (f"{value:{sign}.{digits}f}" for value in (center(values), min(values), max(values)))
    return f"{middle} ({low} to {high})"
