"""A json file whose error messages name the line of what is wrong."""

import json
import os

import numpy as np

from common.text_files import decode_text, parse_json
from dataset.raw_skeletons.samples import read_bytes


class JsonFile:
    """The content of a json file, and the line of every value in it.

    A value is addressed by its keys, such as ("data", 3, "pose").

    Attributes:
        path: of the file.
        content: what the json says.
        num_missing: points that `get_points` has read and that lack a number.
    """

    def __init__(self, path: str | os.PathLike):
        """Read a file.

        Raises:
            ValueError: it is empty, cut off or no json, with the line.
        """
        self.path = os.fspath(path)
        self.text = decode_text(read_bytes(path), path)
        self.content = parse_json(self.text, path)
        self.num_missing = 0

    def make_error(self, keys: tuple, what: str) -> ValueError:
        """Return an error that names the line of a value."""
        address = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in keys).lstrip(".")
        return ValueError(f"'{self.path}' line {self.find_line(keys)}: {address} {what}".replace("  ", " "))

    def find_line(self, keys: tuple) -> int:
        """Find the line, from 1, in which a value starts, or the innermost one around it that exists."""
        decoder, at = json.JSONDecoder(), self._skip(0)
        for key in keys:
            is_index, number = isinstance(key, int), 0
            if self.text[at] != ("[" if is_index else "{"):
                break
            start, at = at, self._skip(at + 1)
            while self.text[at] not in "]}":
                found = number
                if not is_index:
                    found, at = decoder.raw_decode(self.text, at)
                    at = self._skip(self._skip(at) + 1)  # behind the colon
                if found == key:
                    break
                at = self._skip(decoder.raw_decode(self.text, at)[1])
                at = self._skip(at + 1) if self.text[at] == "," else at
                number += 1
            else:
                at = start
                break
        return self.text.count("\n", 0, at) + 1

    def _skip(self, at: int) -> int:
        while at < len(self.text) and self.text[at] in " \t\r\n":
            at += 1
        return at

    def get(self, keys: tuple, kind: type):
        """Return a value, which must exist and be of type `kind`."""
        value = self.content
        for depth, key in enumerate(keys):
            try:
                value = value[key]
            except (KeyError, IndexError, TypeError):
                raise self.make_error(keys[: depth + 1], "is missing; get the file again") from None
        if not isinstance(value, kind) or isinstance(value, bool) and kind is not bool:
            raise self.make_error(keys, f"is {repr(value)[:40]}, expected a {kind.__name__}; get the file again")
        return value

    def get_points(self, keys: tuple, count: int, width: int, limit: float) -> np.ndarray:
        """Return `count` points (count, width), which stand one after the other in one list.

        A point with null or NaN, as several programs write one that was not found, is zero.
        """
        points = np.array(self.get_numbers(keys, count * width, limit, has_gaps=True), np.float64).reshape(-1, width)
        missing = np.isnan(points).any(axis=1)
        points[missing] = 0
        self.num_missing += int(missing.sum())
        return points

    def get_numbers(self, keys: tuple, count: int, limit: float, has_gaps: bool = False) -> list:
        """Return a list, which must have `count` numbers from -limit to limit; with `has_gaps` also null and NaN."""
        values = self.get(keys, list)
        if len(values) != count:
            raise self.make_error(keys, f"has {len(values)} values, expected {count}; get the file again")
        for number, value in enumerate(values):
            if has_gaps and (value is None or value != value):
                continue
            if type(value) not in (int, float) or not abs(value) <= limit:  # nan compares false
                expected = f"a number from {-limit:g} to {limit:g}"
                raise self.make_error(
                    (*keys, number), f"is {repr(value)[:40]}, expected {expected}; get the file again"
                )
        return values
