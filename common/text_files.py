"""Text, json and YAML: read in one place, with the encodings that people have and errors that name file and line."""

import codecs
import csv
import functools
import io
import json
import logging
import os
import re
import reprlib
import tokenize
from collections.abc import Callable
from typing import Any

import yaml

from common.messages import MAX_MESSAGE, cut_middle

# What Python raises where a value is not what its reader takes it for.
SURPRISES = (
    ArithmeticError, AttributeError, csv.Error, LookupError, RecursionError, SyntaxError, TypeError, ValueError,
    tokenize.TokenError, MemoryError,
)  # fmt: skip
SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")  # in json, half of a character beyond 16 bits
MAX_DIGITS = 4000  # of a number; Python refuses to read more than 4300
MAX_SHOWN = 60  # characters of a value in a message
MAX_SETTINGS = 300_000  # characters of a config text or a layout; PyYAML takes a minute for ten times as many
MAX_YAML_VALUES = 100_000  # of a text, those that aliases repeat included


def refuses_damage(read: Callable) -> Callable:
    """Let a function that reads the file of its first argument name it, whatever is wrong inside.

    An error without the file's name becomes one sentence with it; Python's own goes to the log, at level DEBUG.
    """

    @functools.wraps(read)
    def read_or_refuse(path: str | os.PathLike, *arguments, **keywords):
        try:
            return read(path, *arguments, **keywords)
        except SURPRISES as error:
            if isinstance(error, ValueError) and os.path.basename(os.fspath(path)) in str(error):
                if len(str(error)) > MAX_MESSAGE:
                    raise ValueError(cut_middle(str(error))) from None
                raise
            logging.getLogger().debug("traceback", exc_info=True)
            if isinstance(error, MemoryError):
                raise ValueError(f"'{os.fspath(path)}' takes more memory than a file of its kind should") from None
            raise ValueError(f"'{os.fspath(path)}' is damaged, or of another form than it should be") from error

    return read_or_refuse


def read_text(path: str | os.PathLike, origin: str = "check the path") -> str:
    """Read a text file: UTF-8, or UTF-16 if its byte order mark says so; every line ends with "\\n".

    Args:
        origin: where such a file comes from, for the message when it is missing.

    Raises:
        FileNotFoundError: no such file.
        ValueError: another encoding, with the line and what to do.
    """
    path = os.fspath(path)
    if not os.path.isfile(path):
        raise FileNotFoundError(f"'{path}' does not exist or is no file; {origin}")
    with open(path, "rb") as file:
        return decode_text(file.read(), path)


def decode_text(data: bytes, path: str | os.PathLike) -> str:
    """Decode the content of the file `path`; see `read_text`."""
    encoding = "utf-16" if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ValueError(f"'{os.fspath(path)}' line {line}: no UTF-8 text{_advise_encoding(data)}") from None
    if (position := text.find("\0")) >= 0:
        line = text.count("\n", 0, position) + 1
        raise ValueError(
            f"'{os.fspath(path)}' line {line}: a zero byte, no text; get the file again, or save it as UTF-8"
        )
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _advise_encoding(data: bytes) -> str:
    try:
        data.decode("gbk")
    except UnicodeDecodeError:
        return "; get the file again, or save it as UTF-8"
    return "; it is GBK, as a Chinese Windows writes it: save it as UTF-8 (Notepad: Save as, Encoding: UTF-8)"


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
        value = json.loads(text)
        if SURROGATE.search(text):
            json.dumps(value, ensure_ascii=False).encode()
        return value
    except UnicodeEncodeError:
        line = text.count("\n", 0, SURROGATE.search(text).start()) + 1
        fault = f"line {line}: half of a character (\\ud800 to \\udfff without the other half)"
    except json.JSONDecodeError as error:
        fault = f"line {error.lineno}: no whole json ({error.msg}, column {error.colno})"
    except RecursionError:
        fault = "line 1: brackets in brackets without end"
    except ValueError:  # of Python's limit on the digits of a number
        digits = re.search(rf"\d{{{MAX_DIGITS}}}", text)
        fault = f"line {text.count(chr(10), 0, digits.start() if digits else 0) + 1}: a number of thousands of digits"
    raise ValueError(f"'{os.fspath(path)}' {fault}; get the file again")


def read_settings(path: str | os.PathLike, kinds: dict[str, Any], are_needed: bool = True) -> dict[str, Any]:
    """Read the settings that a script has written beside what it made.

    Args:
        kinds: of values by key: a type, `[type]` for a list, `{str: type}` for a dict.
        are_needed: refuse a file that lacks one of these keys.

    Raises:
        ValueError: no whole json, a key that is missing, or a value of another kind.
    """
    settings = read_json(path)
    values = settings if isinstance(settings, dict) else {}
    for key, kind in kinds.items():
        may_lack = not are_needed and isinstance(settings, dict) and key not in settings
        if not may_lack and not _is_of_kind(values.get(key), kind):
            raise ValueError(
                f"'{os.fspath(path)}' key '{key}': {show_value(values.get(key))}, which the script did not write; put "
                "the file back as it was, or delete it with what lies beside it and make that again"
            )
    return values


def _is_of_kind(value: Any, kind: Any) -> bool:
    if isinstance(kind, list):
        return isinstance(value, list) and all(isinstance(item, kind[0]) for item in value)
    if isinstance(kind, dict):
        return isinstance(value, dict) and all(isinstance(item, kind[str]) for item in value.values())
    return isinstance(value, kind)


def read_lines(path: str | os.PathLike, origin: str) -> list[str]:
    """Read the lines of a UTF-8 text file, blanks stripped at both ends.

    Args:
        origin: where such a file comes from, for the message when it is missing.
    """
    return [line.strip() for line in io.StringIO(read_text(path, origin))]


def refuse_long(text: str) -> None:
    """Refuse settings that nobody writes.

    Raises:
        ValueError: with the line where they go on.
    """
    if len(text) > MAX_SETTINGS:
        line = text.count("\n", 0, MAX_SETTINGS) + 1
        raise ValueError(f"line {line}: {len(text)} characters, expected at most {MAX_SETTINGS}; is it another file?")


def compose_yaml(text: str) -> yaml.Node | None:
    """Parse YAML to its nodes, for a caller that makes the values; None where there is nothing.

    Raises:
        ValueError: no YAML, too long for settings, values in values without end, or aliases that make many values of
            few; with the line.
    """
    refuse_long(text)
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        if node is not None:
            _count_values(node, {})
        return node
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise ValueError(f"line {line}: the character {error.character:#x}, which YAML does not allow") from error
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from error
    except RecursionError:
        raise ValueError("line 1: brackets in brackets without end") from None


def load_yaml(text: str) -> Any:
    """Parse YAML to plain values; see `compose_yaml`."""
    try:
        compose_yaml(text)
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError) as error:
        raise ValueError(f"not a yaml text: {' '.join(str(error).split())}") from error


def _count_values(node: yaml.Node, counts: dict) -> int:
    """Return the values in a node, those behind aliases as often as they are named.

    Args:
        counts: {id of a node: its number}; 0 for those that this one is inside of.
    """
    line = f"line {node.start_mark.line + 1}"
    if isinstance(node, yaml.ScalarNode) and len(node.value) > MAX_DIGITS and node.value.strip("+-").isdigit():
        raise ValueError(f"{line}: a number of {len(node.value)} digits")
    if id(node) not in counts:
        counts[id(node)] = 0
        children = node.value if isinstance(node, (yaml.SequenceNode, yaml.MappingNode)) else []
        if isinstance(node, yaml.MappingNode):
            if wrong := [key for key, _ in children if not isinstance(key, yaml.ScalarNode)]:
                raise ValueError(f"line {wrong[0].start_mark.line + 1}: a key is a word, not a list or more keys")
            children = [child for _, child in children]
        counts[id(node)] = 1 + sum(_count_values(child, counts) for child in children)
    if counts[id(node)] == 0:
        raise ValueError(f"{line}: an anchor (&) whose value refers to itself (*)")
    if counts[id(node)] > MAX_YAML_VALUES:
        raise ValueError(f"{line}: aliases (*) that make more than {MAX_YAML_VALUES} values")
    return counts[id(node)]


def show_value(value: Any) -> str:
    """Describe a value that a file holds, in a part of a line, whatever it is."""
    short = reprlib.Repr()
    short.maxlevel = 3
    try:
        text = short.repr(value)
    except ValueError:  # a number of thousands of digits
        text = type(value).__name__
    return text if len(text) <= MAX_SHOWN else text[: MAX_SHOWN - 3] + "..."
