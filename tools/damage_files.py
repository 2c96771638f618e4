"""Damage small good files in thousands of ways, read each, and report errors that would not help their reader.

    python tools/damage_files.py
    python tools/damage_files.py --count 20000 --seed 1 --only "skeleton pkl" "score file"

A damaged file is either read, or refused with its name, for text with the line, and in no words of Python's own. What
breaks that rule is printed, each kind once, and the exit status is 1. The damage follows from --seed alone.
"""

import argparse
import collections
import copy
import pathlib
import pickle
import re
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

if not __package__:  # run as a script, from any folder: the project's modules are one folder up
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from common import command_line
from tools.measure.tables import format_table
from tools.samples.good_files import READERS

PYTHONS_WORDS = re.compile(
    r"has no attribute|unhashable|not subscriptable|out of range for|index out of range|'NoneType'|invalid literal"
    r"|could not convert|unsupported operand|codec can't|Exceeds the limit|recursion depth|not iterable|object of type"
    r"|must be (str|real|an integer|a string)|not supported between|takes \d+ positional|missing \d+ required"
    r"|too many values|not enough values|cannot reshape|setting an array|broadcast|Traceback|<class '"
)
# A line of a text, or the value that is wrong; or there is nothing to point at.
PLACE = re.compile(
    r"(line|item|joint|section|class id|key|value|from) -?['\[\d]"
    r"|the frame '|section \w|names no|has no body|is empty|labels|expected"
)
STRANGE_VALUES = (None, -1, 10**30, 1.5, float("nan"), float("inf"), True, "", "x", "\x00", "跳", [], {}, [[]], [None])
STRANGE_TEXTS = (
    b"",
    b"-1",
    b"1e999",
    b"nan",
    b"9" * 5000,
    b"\x00",
    "舞蹈".encode("gbk"),
    b"[" * 300,
    b'"',
    b",",
    b"\t",
    b"#",
)
MEMORY_LIMIT = 2**30  # bytes that a reader may take
TIME_LIMIT_S = 20


class Fault(NamedTuple):
    """An error that does not help.

    Attributes:
        what: the rule that it breaks.
        error: the error, its kind first.
    """

    what: str
    error: str


def parse_arguments(argv: list | None = None) -> argparse.Namespace:
    """Parse the command line; see `python tools/damage_files.py --help`."""
    parser = command_line.CommandLine("Damage small good files and read them.")
    parser.add_argument("--count", type=int, default=10000, help="files to damage, of all readers together")
    parser.add_argument("--seconds", type=float, help="stop after so long")
    parser.add_argument("--seed", type=int, default=0, help="of the damage")
    parser.add_argument("--only", nargs="+", choices=list(READERS), help="readers to try; default: all")
    return parser.parse_args(argv)


def main(argv: list | None = None) -> int:
    """Damage and read files, print a table and each kind of fault."""
    args = parse_arguments(argv)
    limit_memory()
    names = args.only or list(READERS)
    stop_s = time.monotonic() + (args.seconds or float("inf"))
    counts, faults = collections.defaultdict(collections.Counter), {}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(args.count):
            name = names[number % len(names)]
            rng = np.random.default_rng([args.seed, number])
            outcome = try_one(READERS[name], pathlib.Path(folder), rng)
            if isinstance(outcome, Fault):
                faults.setdefault((name, outcome.what, re.sub(r"[\d.]+", "0", outcome.error)[:80]), (number, outcome))
            counts[name][outcome.what if isinstance(outcome, Fault) else outcome] += 1
            if time.monotonic() > stop_s:
                break
    print_report(counts, faults)
    return 1 if faults else 0


def limit_memory() -> None:
    """Let this process grow by MEMORY_LIMIT at most; a reader that takes more gets a MemoryError."""
    with open("/proc/self/statm") as file:
        used = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY_LIMIT, resource.getrlimit(resource.RLIMIT_AS)[1]))


def try_one(reader, folder: pathlib.Path, rng: np.random.Generator) -> str | Fault:
    """Damage a good file of a reader and read it.

    Returns:
        "read", "refused", or what is wrong with the error.
    """
    path = folder / reader.file_name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(damage(reader.content, reader.encode, rng))
    start_s = time.monotonic()
    try:
        reader.read(path)
        outcome = "read"
    except (ValueError, OSError) as error:
        outcome = judge(f"{type(error).__name__}: {error}", path, reader.is_text) or "refused"
    except Exception as error:  # whatever else a reader raises is a fault, and is reported as one
        outcome = Fault("Python's own error", f"{type(error).__name__}: {error}")
    if time.monotonic() - start_s > TIME_LIMIT_S:
        return Fault("slow", f"{time.monotonic() - start_s:.0f} s")
    return outcome


def judge(error: str, path: pathlib.Path, is_text: bool) -> Fault | None:
    """Return what is wrong with the text of an error, or None; the folder names a sample of several files."""
    if path.name not in error and str(path.parent) not in error:
        return Fault("no file name", error)
    if "no whole pickle" not in error and PYTHONS_WORDS.search(error):
        return Fault("Python's words", error)
    return Fault("no line", error) if is_text and not PLACE.search(error) else None


def damage(content, encode: Callable, rng: np.random.Generator) -> bytes:
    """Return a damaged file: its values changed before it is written, or its bytes afterwards."""
    if not isinstance(content, bytes) and rng.random() < 0.6:
        changed = copy.deepcopy(content)
        for _ in range(rng.integers(1, 3)):
            changed = change_value(changed, rng)
        try:
            return encode(changed)
        except (TypeError, ValueError, pickle.PicklingError):
            return encode(content)
    return change_bytes(encode(content), rng)


def change_value(value, rng: np.random.Generator):
    """Return a nested value in which one item is removed, doubled, renamed, or replaced by a strange one."""
    if isinstance(value, (dict, list)) and len(value) and rng.random() < 0.75:
        keys = list(value) if isinstance(value, dict) else list(range(len(value)))
        key = keys[rng.integers(len(keys))]
        action = rng.integers(6)
        if action == 0:
            del value[key]
        elif action == 1 and isinstance(value, list):
            value.append(value[key])
        elif action == 1:
            value[f"{key}_"] = value.pop(key)
        else:
            value[key] = change_value(value[key], rng)
        return value
    if isinstance(value, np.ndarray) and rng.random() < 0.7:
        return change_array(value, rng)
    return STRANGE_VALUES[rng.integers(len(STRANGE_VALUES))]


def change_array(array: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return an array of another shape, type or with strange numbers."""
    changes = (
        lambda: array[:0],
        lambda: array[..., 0],
        lambda: array[None],
        lambda: np.full_like(array, -1),
        lambda: array.astype(str),
        lambda: array.astype(np.complex64),
        lambda: np.full(array.shape, np.nan, np.float32),
        lambda: np.full(array.shape, 1e30, np.float64),
    )
    return changes[rng.integers(len(changes))]()


def change_bytes(data: bytes, rng: np.random.Generator) -> bytes:
    """Return bytes that are cut off, or of which some are changed, lost, doubled, or replaced by strange text."""
    start = int(rng.integers(len(data)))
    end = min(len(data), start + int(rng.integers(1, 40)))
    action = rng.integers(6)
    if action == 0:
        return data[:start]
    if action == 1:
        return data[:start] + bytes(rng.integers(0, 256, end - start, np.uint8)) + data[end:]
    if action == 2:
        return data[:start] + data[end:]
    if action == 3:
        return data[:end] + data[start:]
    strange = STRANGE_TEXTS[rng.integers(len(STRANGE_TEXTS))]
    numbers = list(re.finditer(rb"[\w.+-]+", data))
    if action == 4 and numbers:  # a word of the text becomes another one
        word = numbers[rng.integers(len(numbers))]
        return data[: word.start()] + strange + data[word.end() :]
    return data[:start] + strange + data[start:]


def print_report(counts: dict, faults: dict) -> None:
    """Print how the reads of each reader ended, and each kind of fault."""
    kinds = ["read", "refused", "no file name", "no line", "Python's words", "Python's own error", "slow"]
    rows = [[name, *(str(counts[name][kind]) for kind in kinds)] for name in counts]
    total = ["all", *(str(sum(counter[kind] for counter in counts.values())) for kind in kinds)]
    print(format_table([["reader", *kinds], *rows, total]))
    for (name, what, _), (number, fault) in faults.items():
        print(f"{name}, {what}, number {number}: {' '.join(fault.error.split())[:300]}")


if __name__ == "__main__":
    command_line.run_main(main)
