"""A json file whose faults are told with the line they stand in."""

import json
import os

from common.files import decode_text, parse_json
from dataset.raw_skeletons.samples import read_bytes


class JsonFile:
    """The content of a json file, and the way back from a place in it to its line.

    Attributes:
        path: of the file.
        content: what the json says.
    """

    def __init__(self, path: str | os.PathLike):
        """Read a file.

        Raises:
            ValueError: it is empty, cut off or no json, with the line.
        """
        self.path = os.fspath(path)
        self.text = decode_text(read_bytes(path), path)
        self.content = parse_json(self.text, path)

    def fault(self, place: tuple, what: str) -> ValueError:
        """Make the error that names the line of a place, such as ("data", 3, "pose")."""
        address = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in place).lstrip(".")
        return ValueError(f"'{self.path}' line {self.find_line(place)}: {address} {what}".replace("  ", " "))

    def find_line(self, place: tuple) -> int:
        """Find the line, from 1, in which the value of a place starts, or the last one on the way there that exists."""
        decoder, at = json.JSONDecoder(), self._skip(0)
        for key in place:
            seeks_place, number = isinstance(key, int), 0
            if self.text[at] != ("[" if seeks_place else "{"):
                break
            start, at = at, self._skip(at + 1)
            while self.text[at] not in "]}":
                found = number
                if not seeks_place:
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

    def take(self, place: tuple, kind: type):
        """Return the value of a place, which must be there and of a type."""
        value = self.content
        for depth, key in enumerate(place):
            try:
                value = value[key]
            except (KeyError, IndexError, TypeError):
                raise self.fault(place[: depth + 1], "is missing; get the file again") from None
        if not isinstance(value, kind) or isinstance(value, bool) and kind is not bool:
            raise self.fault(place, f"is {repr(value)[:40]}, expected a {kind.__name__}; get the file again")
        return value

    def take_numbers(self, place: tuple, count: int, limit: float) -> list:
        """Return the value of a place, which must be a list of so many numbers from -limit to limit."""
        values = self.take(place, list)
        if len(values) != count:
            raise self.fault(place, f"has {len(values)} values, expected {count}; get the file again")
        for number, value in enumerate(values):
            if type(value) not in (int, float) or not abs(value) <= limit:  # nan compares false
                expected = f"a number from {-limit:g} to {limit:g}"
                raise self.fault((*place, number), f"is {repr(value)[:40]}, expected {expected}; get the file again")
        return values
