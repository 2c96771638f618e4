"""Text and json files: read in one place, with the encodings that people have and errors that name file and line."""

import io
import json
import os
from typing import Any


def read_text(path: str | os.PathLike, origin: str = "check the path") -> str:
    """Read a UTF-8 text file, with or without byte order mark; every line ends with "\\n".

    Args:
        origin: where such a file comes from, for the message when it is missing.

    Raises:
        FileNotFoundError: no such file.
        ValueError: another encoding, with the line.
    """
    path = os.fspath(path)
    if not os.path.isfile(path):
        raise FileNotFoundError(f"'{path}' does not exist or is no file; {origin}")
    with open(path, "rb") as file:
        return decode_text(file.read(), path)


def decode_text(data: bytes, path: str | os.PathLike) -> str:
    """Decode the content of the file `path`; see `read_text`."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ValueError(
            f"'{os.fspath(path)}' line {line}: no UTF-8 text; get the file again, or save it as UTF-8"
        ) from None
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read_json(path: str | os.PathLike, origin: str = "check the path") -> Any:
    """Read a json file.

    Args:
        origin: where such a file comes from, for the message when it is missing.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is cut off or no json, with the line.
    """
    return parse_json(read_text(path, origin), path)


def parse_json(text: str, path: str | os.PathLike) -> Any:
    """Parse the text of the file `path`; see `read_json`."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        fault = f"line {error.lineno}: no whole json ({error.msg}, column {error.colno})"
    except RecursionError:
        fault = "line 1: brackets in brackets without end"
    raise ValueError(f"'{os.fspath(path)}' {fault}; get the file again")


def read_lines(path: str | os.PathLike, origin: str) -> list[str]:
    """Read the lines of a UTF-8 text file, blanks stripped at both ends.

    Args:
        origin: where such a file comes from, for the message when it is missing.
    """
    return [line.strip() for line in io.StringIO(read_text(path, origin))]
