"""How far a prediction is: a bar on a terminal, elsewhere lines now and then."""

import logging
import sys
import time
from collections.abc import Iterable, Iterator

import tqdm

FIRST_S, NEXT_S = 2, 10  # until the first line, and from one to the next


def show_progress(items: Iterable, title: str, total: int, unit: str) -> Iterator:
    """Yield items, under a bar on a terminal, else as `log_progress` does."""
    if sys.stdout.isatty():
        return iter(tqdm.tqdm(items, title, total, leave=False, unit=unit))
    return log_progress(items, title, total, unit)


def log_progress(items: Iterable, title: str, total: int, unit: str) -> Iterator:
    """Yield items; log how many of `total` were yielded where it takes time, unless a terminal shows a bar."""
    due_s = time.monotonic() + FIRST_S
    for number, item in enumerate(items):
        if time.monotonic() >= due_s and not sys.stdout.isatty():
            logging.info(f"{title}: {number} of {total} {unit}s")
            due_s = time.monotonic() + NEXT_S
        yield item
