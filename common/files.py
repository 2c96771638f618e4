"""Files that are either whole or absent, and pickles that cannot run code.

Every file a later run relies on is written under a temporary name and renamed when complete: a killed run leaves the
old file or none. Pickles are read by an unpickler that knows containers, numbers, text and NumPy arrays and refuses the
rest.
"""

import contextlib
import errno
import glob
import os
import pickle
import secrets
from collections.abc import Iterator
from typing import IO, Any

from common.lifetime import has_ended
from common.pickles import RefusedPickleError, load_plain

UNFINISHED = ".unfinished-"  # a file or folder of this prefix was being written when its process ended

ADVICE = {
    errno.ENOSPC: "free some disk space and run again",
    errno.EDQUOT: "free some of your disk quota and run again",
    errno.EROFS: "the disk is read-only, choose another folder",
    errno.EACCES: "you may not write there, choose another folder",
    errno.ENOTDIR: "a file stands where a folder is needed, choose another folder",
    errno.EEXIST: "a file stands where a folder is needed, choose another folder",
    errno.EISDIR: "a folder stands where the file is needed, choose another name",
}


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


def explain_os_error(error: OSError, path: str | os.PathLike) -> OSError:
    """Turn a failed write into an error of the same kind whose text names `path` and what to do."""
    advice = ADVICE.get(error.errno, "choose another folder or look at the disk")
    explained = type(error)(f"'{os.fspath(path)}' could not be written ({error.strerror}): {advice}")
    explained.errno = error.errno  # set afterwards: given to the constructor it would stand before the sentence
    return explained


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
    make_folder(os.path.dirname(target))
    temporary = os.path.join(os.path.dirname(target), f"{UNFINISHED}{os.getpid()}-{secrets.token_hex(8)}")
    text_options = {} if "b" in mode else {"encoding": "utf-8", "newline": "\n"}
    try:
        with open(temporary, mode, **text_options) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except OSError as error:
        if error.filename not in (None, temporary):  # raised by the caller's own work, not by this write
            raise
        raise explain_os_error(error, path) from error
    finally:
        if os.path.exists(temporary):
            os.remove(temporary)


def remove_unfinished(folder: str | os.PathLike) -> None:
    """Remove from a folder what `write_atomically` was writing there in processes that have ended since."""
    for path in glob.glob(os.path.join(glob.escape(os.fspath(folder)), UNFINISHED + "*-*")):
        process_id = os.path.basename(path)[len(UNFINISHED) :].partition("-")[0]
        if process_id.isdecimal() and has_ended(int(process_id)):
            with contextlib.suppress(OSError):
                os.remove(path)


def dump_pickle(value: Any, path: str | os.PathLike) -> None:
    """Pickle `value` to `path` in one piece (protocol 4, which every supported Python reads)."""
    with write_atomically(path) as file:
        pickle.dump(value, file, protocol=4)


def load_pickle(path: str | os.PathLike, encoding: str = "latin1") -> Any:
    """Read a pickle of plain data (any protocol, Python 2 or 3) without ever running code from it.

    Args:
        encoding: for text pickled by Python 2; "latin1" suits NumPy arrays, "bytes" leaves such text as bytes.
    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is empty, cut off, no pickle, a Git LFS pointer, or asks for more than plain data.
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
        except RefusedPickleError as error:
            raise RefusedPickleError(f"'{path}' {error}") from None
        except Exception as error:  # a damaged pickle may raise any type, the pickle documentation says so
            reason = f"{type(error).__name__}: {error}"
            raise ValueError(
                f"'{path}' ({size} bytes) is no whole pickle file ({reason}); make it or download it again"
            ) from error
