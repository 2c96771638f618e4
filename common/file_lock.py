"""A lock that ends with the process that holds it, however that ends."""

import contextlib
import os
import platform
import socket
from typing import IO

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None


def lock_open_file(file: IO, wait: bool = False) -> str | None:
    """Lock a file that is open for writing, until this process closes it or ends, however that ends.

    Args:
        wait: for the process that has the lock.

    Returns:
        None, or why there can be no lock here: the system or the file system knows none.

    Raises:
        BlockingIOError: another process has it.
    """
    if fcntl is None:
        return f"{platform.system()} has no fcntl"
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))  # not flock, which forked processes share
    except (BlockingIOError, PermissionError) as error:
        raise BlockingIOError(error.errno, "another process has it") from None
    except OSError as error:
        return error.strerror
    return None


def is_in_place(file: IO, path: str) -> bool:
    """Whether an open file is still the one of that path."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), os.stat(path))
    except FileNotFoundError:
        return False


class FileLock:
    """A lock on a file; the file names the process that holds it and is there only as long as it is held.

    Processes that are forked from the holder do not have it, so that it is free as soon as the holder has ended. In one
    process a file has one lock.

    Args:
        path: the file; its folder exists.
    """

    def __init__(self, path: str):
        self.path, self.file = path, None

    def acquire(self, wait: bool = False) -> str | None:
        """Take the lock.

        Args:
            wait: for the process that has it.

        Returns:
            None, or why there can be no lock here: the system or the file system knows none.

        Raises:
            BlockingIOError: another process has it; the text names that process.
            OSError: the file cannot be written.
        """
        while self.file is None:
            file = open(self.path, "a+", encoding="utf-8")  # noqa: SIM115  open as long as the lock is held
            try:
                obstacle = lock_open_file(file, wait)
            except BlockingIOError:
                file.seek(0)
                holder = file.read().strip() or "another process"
                file.close()
                raise BlockingIOError(holder) from None
            if obstacle is None and is_in_place(file, self.path):
                self.file = file
                break
            file.close()  # its holder removed it after it was opened here, or it is of no use
            if obstacle is not None:
                with contextlib.suppress(FileNotFoundError):  # another process without a lock has removed it
                    os.remove(self.path)
                return obstacle
        try:
            self.file.truncate(0)
            self.file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
            self.file.flush()
        except OSError:  # a full disk
            self.release()
            raise
        return None

    def release(self) -> None:
        """Remove the file and give the lock back, if it is held."""
        if self.file is not None:
            with contextlib.suppress(OSError):
                os.remove(self.path)
            with contextlib.suppress(OSError):  # what a full disk has not taken is written again
                self.file.close()
            self.file = None
