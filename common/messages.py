"""What errors say: of failed writes what to do, of long ones the beginning and the end; how wide lines are."""

import errno
import os
import textwrap

MAX_WIDTH = 100  # characters of a line on the screen
MAX_MESSAGE = 1000  # characters of an error, which may quote a line of a file
DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)  # every other write would fail too
ADVICE = {
    errno.ENOSPC: "free some disk space and run again",
    errno.EDQUOT: "free some of your disk quota and run again",
    errno.EFBIG: "no file of this size is allowed there, raise the limit (ulimit -f) or choose another disk",
    errno.EROFS: "the disk is read-only, choose another folder",
    errno.EACCES: "you may not write there, choose another folder",
    errno.ENOTDIR: "a file stands where a folder is needed, choose another folder",
    errno.EEXIST: "a file stands where a folder is needed, choose another folder",
    errno.EISDIR: "a folder stands where the file is needed, choose another name",
}


def advise(error: OSError) -> str:
    """Return what to do about a failed write."""
    return ADVICE.get(error.errno, "choose another folder or look at the disk")


def explain_os_error(error: OSError, path: str | os.PathLike) -> OSError:
    """Turn a failed write into an error of the same kind whose text names `path` and what to do."""
    explained = type(error)(f"'{os.fspath(path)}' could not be written ({error.strerror}): {advise(error)}")
    explained.errno = error.errno  # set afterwards: given to the constructor it would stand before the sentence
    return explained


def cut_middle(text: str) -> str:
    """Return a message without its middle if it is long: where the error is stands first, what to do last."""
    return text if len(text) <= MAX_MESSAGE else f"{text[: MAX_MESSAGE // 2]} ... {text[-MAX_MESSAGE // 2 :]}"


def wrap(text: str, indent: int = 4) -> str:
    """Break lines of more than `MAX_WIDTH` characters at blanks; what follows is indented.

    A path or another word that is longer stays whole.
    """
    options = {"subsequent_indent": " " * indent, "break_long_words": False, "break_on_hyphens": False}
    lines = [textwrap.wrap(line, MAX_WIDTH, replace_whitespace=False, **options) or [""] for line in text.splitlines()]
    return "\n".join(part for parts in lines for part in parts)
