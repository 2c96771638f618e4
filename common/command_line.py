"""The command line of every script: a hyphen equals an underscore, and an unknown flag gets the nearest name."""

import argparse
import contextlib
import ctypes
import importlib
import io
import itertools
import logging
import math
import os
import platform
import re
import signal
import sys
import warnings
from collections.abc import Callable, Iterator

from common.cores import count_cores
from common.messages import DISK_ERRORS, cut_middle, explain_os_error
from common.screen import protect_screen
from common.suggestions import suggest

OVERRIDE = re.compile(r"[A-Za-z]+\.\w+=")  # a word of -o
MALLOC_TRIM_THRESHOLD, MALLOC_MMAP_MAX = -1, -4  # names of glibc's malloc.h


class HelpFormatter(argparse.ArgumentDefaultsHelpFormatter):
    """Says a default that is one: None, False and an empty list only say that the flag was not given."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        is_said = action.default is not None and action.default is not False and action.default != []
        return super()._get_help_string(action) if is_said else action.help


class CommandLine(argparse.ArgumentParser):
    """An `ArgumentParser` that takes `--work-dir` for `--work_dir` and never guesses an abbreviated flag."""

    def __init__(self, description: str):
        super().__init__(
            description=description,
            allow_abbrev=False,
            formatter_class=HelpFormatter,
        )

    def parse_args(self, args=None, namespace=None):
        """Parse `args` (default: the process's own); an unknown flag ends with status 2 and the nearest name."""
        self._refuse_unknown_flags(sys.argv[1:] if args is None else args)
        values, unknown = self.parse_known_args(args, namespace)
        if unknown:
            self.error(self._describe_unknown(unknown[0]))
        return values

    def parse_known_args(self, args=None, namespace=None):
        """Parse what is known of `args` (default: the process's own); return it and the arguments that are left."""
        argv = [_replace_hyphens(argument) for argument in (sys.argv[1:] if args is None else args)]
        if "-o" in self._option_string_actions:
            self._check_overrides(argv)
        values, unknown = super().parse_known_args(argv, namespace)
        for name, value in vars(values).items():
            setattr(values, name, _expand_home(value))
        return values, unknown

    def _check_overrides(self, argv: list) -> None:
        """Refuse `-o A.x=1 B.y=2`, as other projects take it: without an -o of its own a word is a config's name."""
        for before, value, word in zip(argv, argv[1:], argv[2:], strict=False):
            if before == "-o" and OVERRIDE.match(word):
                self.error(f"{word}: each key needs an -o of its own: -o {value} -o {word}")

    def _refuse_unknown_flags(self, argv: list) -> None:
        """Refuse a flag before its value is taken for a positional argument, which would get the blame."""
        for argument in itertools.takewhile(lambda word: word != "--", argv):
            flag = _replace_hyphens(argument).partition("=")[0]
            if flag.startswith("--") and flag not in self._option_string_actions:
                self.error(self._describe_unknown(flag))

    def _describe_unknown(self, argument: str) -> str:
        if not argument.startswith("-"):
            return f"unexpected argument '{argument}'; quote names that contain blanks, --help lists the arguments"
        flags = [flag for flag in self._option_string_actions if flag.startswith("--")]
        return f"unknown flag '{argument}'{suggest(argument.split('=')[0], flags) or '; --help lists the flags'}"


def _replace_hyphens(argument: str) -> str:
    if not argument.startswith("--"):
        return argument
    flag, equals, value = argument.partition("=")
    return "--" + flag[2:].replace("-", "_") + equals + value


def _expand_home(value):
    """Fill in the home folder in paths such as ~/data; a shell leaves it out of --root=~/data."""
    if isinstance(value, list):
        return [_expand_home(item) for item in value]
    return os.path.expanduser(value) if isinstance(value, str) else value


def parse_bool(text: str) -> bool:
    """Read `True` or `False` (any case, also 1, 0, yes, no) from a command line."""
    values = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
    if text.lower() not in values:
        raise argparse.ArgumentTypeError(f"expected True or False, got '{text}'")
    return values[text.lower()]


def parse_positive(text: str) -> float:
    """Read a finite number above 0 from a command line."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"expected a number above 0, got '{text}'")
    return number


def parse_size(text: str) -> tuple[int, int]:
    """Read WIDTHxHEIGHT from a command line, as (height, width)."""
    sides = text.lower().split("x")
    if len(sides) != 2 or not all(side.isdecimal() and int(side) for side in sides):
        raise argparse.ArgumentTypeError(f"expected WIDTHxHEIGHT, such as 1920x1080, got '{text}'")
    return int(sides[1]), int(sides[0])


def run_main(main) -> None:
    """Run a script's `main()`; an error that the user can correct ends with its one sentence and status 1.

    The whole traceback is logged at level DEBUG, so that `logger.log` has it once logging is set up. SIGTERM, by which
    schedulers and containers stop a process, ends it as Ctrl-C does; a launcher of several processes handles it itself.
    """
    protect_screen()
    if "PADDLE_TRAINER_ID" not in os.environ:
        signal.signal(signal.SIGTERM, _interrupt)
    try:
        sys.exit(main())
    except (ValueError, FloatingPointError, MemoryError, OSError) as error:
        logging.getLogger().debug("traceback", exc_info=True)
        if isinstance(error, OSError) and error.errno in DISK_ERRORS and error.strerror:  # else it is explained
            error = explain_os_error(error, error.filename or "a file")
        sys.exit(cut_middle(f"{type(error).__name__}: {error}"))
    except KeyboardInterrupt as error:
        sys.exit(f"{str(error) or 'interrupted'}; run the same command again to go on, train.py with --resume auto")


def _interrupt(number: int, frame) -> None:
    raise KeyboardInterrupt(f"ended by {signal.Signals(number).name}")


def start_paddle(parse: Callable | None = None) -> None:
    """Import Paddle so that it uses every core of this process; call it before any other import of Paddle.

    Args:
        parse: parses the process's command line, so that `--help` and mistyped flags are answered before Paddle loads.

    Paddle reads the number of threads while it is imported; a number that the user has set is not changed. Its notes
    about that number, about ccache and about batch norm are of no use here and are left out.
    """
    protect_screen()
    if parse is not None:
        parse()
    keep_memory()
    os.environ.setdefault("OMP_NUM_THREADS", str(count_cores()))
    os.environ.setdefault("GLOG_minloglevel", "1")  # warnings, such as of another cuDNN, stay
    warnings.filterwarnings("ignore", message="No ccache found")
    warnings.filterwarnings("ignore", message="When training, we now always track global mean")
    importlib.import_module("zlib")  # Paddle 2.6 brings a copy that crashes Python's, unless that one is loaded first
    with contextlib.redirect_stderr(io.StringIO()):
        importlib.import_module("paddle")


def keep_memory() -> None:
    """Make glibc reuse freed memory in this process and those forked from it, instead of returning it to the system.

    glibc returns large arrays at once, so that every picture, batch and activation is placed in new pages, which the
    system clears: up to a fifth of a training step and half of the time of decoding.
    """
    if platform.libc_ver()[0] == "glibc":
        library = ctypes.CDLL(None)
        library.mallopt(MALLOC_TRIM_THRESHOLD, 2**31 - 1)
        library.mallopt(MALLOC_MMAP_MAX, 0)


@contextlib.contextmanager
def hide_prints(descriptor: int) -> Iterator[None]:
    """Discard what Paddle's C++ code (3.3) prints to file `descriptor` inside this context.

    To 1, names of operators when a program first runs by oneDNN; to 2, a warning when one is traced.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    saved = os.dup(descriptor)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), descriptor)
    try:
        yield
    finally:
        if os.name == "posix":
            ctypes.CDLL(None).fflush(None)
        os.dup2(saved, descriptor)
        os.close(saved)
