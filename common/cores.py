"""How many cores there are to use; without NumPy, so that `--help` is answered at once."""

import os
import sys


def count_cores() -> int:
    """Count the cores this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
