"""One process at a time writes an output, and finds nothing that a killed one has left unfinished."""

import contextlib
import logging
import os
from collections.abc import Iterator

from common import files
from common.file_lock import FileLock
from common.messages import explain_os_error

NAME = ".lock"  # of the lock of a folder, in it


def acquire_lock(lock: FileLock, output: str, flag: str, wait: bool = False) -> bool:
    """Take the lock of an output; the folder of the lock is made.

    Args:
        output: what the lock is of, a file or a folder.
        flag: names another one.
        wait: for the process that has the lock.

    Returns:
        Whether there is a lock: some network file systems know none, which is logged.

    Raises:
        ValueError: another process has the lock.
        OSError: the folder cannot be written.
    """
    files.make_folder(os.path.dirname(lock.path) or ".")
    try:
        obstacle = lock.acquire(wait)
    except BlockingIOError as error:
        raise ValueError(f"'{output}' is being written by {error}; wait for it, or choose another {flag}") from None
    except OSError as error:
        raise explain_os_error(error, output) from error
    if obstacle:
        logging.warning(f"'{output}' cannot be locked ({obstacle}); start no second run on it meanwhile")
    return obstacle is None


@contextlib.contextmanager
def only_writer(folder: str, flag: str, own: tuple[str, ...] = ()) -> Iterator[None]:
    """Be the only process that writes to a folder; before and after, remove what is unfinished in it.

    Args:
        folder: made if it is missing.
        flag: of the command line, names another folder.
        own: patterns of the subfolders to which nothing but this script writes: "" is the folder, "**" also all below.

    Raises:
        ValueError: another process writes there.
        OSError: the folder cannot be written.
    """
    lock = FileLock(os.path.join(folder, NAME))
    is_locked = acquire_lock(lock, folder, flag)
    try:
        _clear(folder, own, is_locked)
        yield
    finally:
        _clear(folder, own, is_locked)
        lock.release()


def _clear(folder: str, own: tuple[str, ...], is_locked: bool) -> None:
    files.remove_unfinished(folder)
    for below in own:
        files.remove_unfinished(folder, below, is_locked)


@contextlib.contextmanager
def only_maker(path: str, flag: str, wait: bool = False) -> Iterator[None]:
    """Be the only process that makes what begins with a path, by a lock beside it; see `acquire_lock`."""
    lock = FileLock(f"{path}{NAME}")
    acquire_lock(lock, path, flag, wait)
    try:
        yield
    finally:
        lock.release()
