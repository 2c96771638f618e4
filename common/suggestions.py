"""What a mistyped name was probably meant to be."""

import difflib
from collections.abc import Iterable


def suggest(name, known: Iterable[str]) -> str:
    """Return the end of an error message, `; did you mean 'resnet'?`, or an empty text if no known name is near.

    Args:
        name: what was given, of any type.
        known: the names that would be valid.
    """
    nearest = difflib.get_close_matches(str(name), list(known), n=1)
    return f"; did you mean '{nearest[0]}'?" if nearest else ""
