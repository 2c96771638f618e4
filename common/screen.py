"""Screen, pipes and log file as outputs that may fail: no character, lost terminal or full disk ends a script."""

import io
import os
import sys

failures = []  # what cannot be written any more, and why, that has not been logged yet
_reported = set()  # names of what stands or stood there: output and errors mostly go to one screen


class Screen(io.RawIOBase):
    """An open file descriptor; once it cannot be written, what is printed is discarded.

    Args:
        descriptor: of the file.
        name: what it is, for the log.
    """

    def __init__(self, descriptor: int, name: str = "the screen or pipe"):
        self.descriptor, self.name = descriptor, name

    def writable(self) -> bool:
        """Return True."""
        return True

    def fileno(self) -> int:
        """Return the descriptor."""
        return self.descriptor

    def isatty(self) -> bool:
        """Return whether it is a terminal."""
        return os.isatty(self.descriptor)

    def write(self, data) -> int:
        """Write bytes and return how many were written."""
        try:
            return os.write(self.descriptor, data)
        except OSError as error:  # BrokenPipeError; EIO of a terminal that is gone; ENOSPC of a file
            if self.name not in _reported:
                failures.append(f"{self.name} cannot be written any more ({error})")
            _reported.add(self.name)
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.descriptor)  # for what C++ code and child processes print, too
            os.close(nowhere)
            return len(data)


def protect_screen() -> None:
    """Replace Python's standard output and standard error by such as never raise; a second call changes nothing.

    Characters that the encoding lacks are printed as `\\u5e8a`.
    """
    for name, original in (("stdout", sys.__stdout__), ("stderr", sys.__stderr__)):
        if original is None or vars(sys)[name] is not original:
            continue
        original.flush()
        stream = io.TextIOWrapper(
            io.BufferedWriter(Screen(original.fileno())),
            encoding=original.encoding,
            errors="backslashreplace",
            line_buffering=original.line_buffering,
            write_through=original.write_through,
        )
        setattr(sys, name, stream)
