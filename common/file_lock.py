"""A lock that ends with the process that holds it, however that ends."""

import contextlib
import os
import platform
import socket

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None


class FileLock:
    """A lock on a file; the file names the process that holds it and is there only as long as it is held.

    Processes that are forked from the holder do not have it, so that it is free as soon as the holder has ended. In one
    process a file has one lock.

    Args:
        path: the file; its folder exists.
    """

    def __init__(self, path: str):
        self.path, self.file = path, None

    def acquire(self) -> str | None:
        """Take the lock.

        Returns:
            None, or why there can be no lock here: the system or the file system knows none.

        Raises:
            BlockingIOError: another process has it; the text names that process.
            OSError: the file cannot be written.
        """
        if fcntl is None:
            return f"{platform.system()} has no fcntl"
        while self.file is None:
            file = open(self.path, "a+", encoding="utf-8")  # noqa: SIM115  open as long as the lock is held
            try:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # not flock, which forked processes would share
            except (BlockingIOError, PermissionError):
                file.seek(0)
                holder = file.read().strip() or "another process"
                file.close()
                raise BlockingIOError(holder) from None
            except OSError as error:
                file.close()
                return error.strerror
            if self._is_in_place(file):
                self.file = file
            else:  # its holder removed it after it was opened here
                file.close()
        self.file.truncate(0)
        self.file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
        self.file.flush()
        return None

    def release(self) -> None:
        """Remove the file and give the lock back, if it is held."""
        if self.file is not None:
            with contextlib.suppress(OSError):
                os.remove(self.path)
            self.file.close()
            self.file = None

    def _is_in_place(self, file) -> bool:
        return os.path.exists(self.path) and os.path.samestat(os.fstat(file.fileno()), os.stat(self.path))
