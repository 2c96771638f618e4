"""Files that are either whole or absent, and pickles that cannot run code.

Every file a later run relies on is written under a temporary name and renamed when complete: a killed run leaves the
old file or none. Pickles are read by an unpickler that knows containers, numbers, text and NumPy arrays and refuses the
rest.
"""

import contextlib
import errno
import functools
import glob
import os
import pickle
import re
import secrets
import shutil
from collections.abc import Iterator
from typing import IO, Any

from common.checksums import ChecksumWriter
from common.file_lock import is_in_place, lock_open_file
from common.lifetime import has_ended
from common.messages import explain_os_error
from common.pickles import ChangedFileError, RefusedPickleError, load_plain

UNFINISHED = ".unfinished-"  # before the number of the process that is writing a file or folder of this name


def is_up_to_date(made: str | os.PathLike, source: str | os.PathLike) -> bool:
    """Whether a file is there and no older than what it was made of; a source that was replaced is used again."""
    return os.path.exists(made) and os.stat(source).st_mtime_ns <= os.stat(made).st_mtime_ns


def make_folder(path: str | os.PathLike) -> None:
    """Make a folder and its parents.

    Raises:
        OSError: naming the folder and what to do.
    """
    try:
        os.makedirs(path, exist_ok=True)
    except OSError as error:
        raise explain_os_error(error, path) from error


@contextlib.contextmanager
def write_atomically(path: str | os.PathLike, mode: str = "wb") -> Iterator[IO]:
    """Open a file for writing that appears under its name only when it is complete and on the disk.

    Args:
        path: the file; missing parent folders are made.
        mode: "wb", or "w" for UTF-8 text with "\\n" line ends.
    Yields:
        the open temporary file, in the same folder.
    Raises:
        OSError: no space, no permission, no such place; the old file, if any, is untouched and the temporary one gone.
    """
    target = os.path.realpath(path)  # a link stays a link, the file behind it is replaced
    if os.path.exists(target) and not os.path.isfile(target):
        raise explain_os_error(OSError(errno.EISDIR, "it exists and is no regular file"), path)
    folder, temporary = os.path.dirname(target), None
    make_folder(folder)
    _remove_unfinished_once(folder, os.getpid())
    try:
        with _open_unfinished(folder, mode) as file:
            temporary = file.name
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except OSError as error:
        if error.filename is not None and UNFINISHED not in str(error.filename):  # of the caller's own work
            raise
        raise explain_os_error(error, path) from error
    finally:
        if temporary is not None and os.path.exists(temporary):
            os.remove(temporary)


def name_unfinished(folder: str | os.PathLike, suffix: str = "") -> str:
    """Return a new name for what this process writes to a folder, which says that it is unfinished, and whose it is."""
    return os.path.join(folder, f"{UNFINISHED}{os.getpid()}-{secrets.token_hex(8)}{suffix}")


def _open_unfinished(folder: str, mode: str) -> IO:
    """Open a file of a temporary name, locked while it is open: processes of other machines may look for leftovers."""
    text_options = {} if "b" in mode else {"encoding": "utf-8", "newline": "\n"}
    while True:
        file = open(name_unfinished(folder), mode, **text_options)  # noqa: SIM115  the caller closes it
        with contextlib.suppress(BlockingIOError):
            if lock_open_file(file) is not None or is_in_place(file, file.name):
                return file
        file.close()  # taken for a leftover before it was locked


def remove_unfinished(folder: str | os.PathLike, below: str = "", is_locked: bool = False) -> None:
    """Remove the files and folders that processes which have ended since were writing to a folder.

    Args:
        below: pattern of the subfolders to look in instead, such as `**` for all.
        is_locked: no other process writes there, so that nothing unfinished is of use, whatever its name.
    """
    pattern = os.path.join(glob.escape(os.fspath(folder)), below, UNFINISHED + "*")
    for path in glob.glob(pattern, recursive=True):
        process_id = re.match(r"(\d+)(-|$)", os.path.basename(path)[len(UNFINISHED) :])
        if is_locked or process_id and has_ended(int(process_id[1])):
            if os.path.isdir(path):
                shutil.rmtree(path, ignore_errors=True)
            else:
                _remove_unlocked(path)


def _remove_unlocked(path: str) -> None:
    """Remove a file, unless a process of another machine or container is writing it."""
    with contextlib.suppress(OSError), open(path, "rb+") as file:
        lock_open_file(file)
        os.remove(path)


@functools.lru_cache(maxsize=1024)
def _remove_unfinished_once(folder: str, _process_id: int) -> None:
    """Remove from a folder what was left there; a process, which its number tells from a forked one, looks once."""
    remove_unfinished(folder)


def dump_pickle(value: Any, path: str | os.PathLike, has_checksum: bool = True) -> None:
    """Pickle `value` to `path` in one piece (protocol 4, which every supported Python reads).

    Args:
        has_checksum: put the checksum behind it that `load_pickle` compares, and that other readers do not see.
    """
    with write_atomically(path) as file:
        writer = ChecksumWriter(file)
        pickle.dump(value, writer if has_checksum else file, protocol=4)
        if has_checksum:
            writer.write_checksum()


def load_pickle(path: str | os.PathLike, encoding: str = "latin1") -> Any:
    """Read a pickle of plain data (any protocol, Python 2 or 3) without ever running code from it.

    Args:
        encoding: for text pickled by Python 2; "latin1" suits NumPy arrays, "bytes" leaves such text as bytes.
    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is empty, cut off, changed since `dump_pickle` wrote it, no pickle, a Git LFS pointer, or
            asks for more than plain data.
    """
    path = os.fspath(path)
    if not os.path.isfile(path):
        raise FileNotFoundError(f"'{path}' does not exist or is no file; check the path")
    size = os.path.getsize(path)
    with open(path, "rb") as file:
        if file.read(23) == b"version https://git-lfs":
            raise ValueError(
                f"'{path}' is a Git LFS pointer of {size} bytes, not the data; run git lfs pull or download it"
            )
        file.seek(0)
        try:
            return load_plain(file, size, encoding)
        except (RefusedPickleError, ChangedFileError) as error:
            raise type(error)(f"'{path}' {error}") from None
        except Exception as error:  # a damaged pickle may raise any type, the pickle documentation says so
            reason = f"{type(error).__name__}: {error}"
            raise ValueError(
                f"'{path}' ({size} bytes) is no whole pickle file ({reason}); make it or download it again"
            ) from error
