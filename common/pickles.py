"""Pickles of plain data, read without running code, following addresses, or taking more memory than the file explains.

A pickle may name any class or function of the machine that reads it, and NumPy's own types let their state be set to
anything, raw addresses included. Here containers, numbers, text and arrays of numbers or text are all there is: arrays
and their types are stand-ins while the pickle is read, which are given checked values only.
"""

import math
import mmap
import pickle
import pickletools
import re
from collections import OrderedDict
from typing import IO, Any

import numpy as np

from common.checksums import has_changed
from common.text_files import show_value

EXTENSIONS = {0x82, 0x83, 0x84}  # EXT1, EXT2, EXT4
LENGTHS = {  # bytes of the length in front of an argument
    pickletools.TAKEN_FROM_ARGUMENT1: 1,
    pickletools.TAKEN_FROM_ARGUMENT4: 4,
    pickletools.TAKEN_FROM_ARGUMENT4U: 4,
    pickletools.TAKEN_FROM_ARGUMENT8U: 8,
}
OPCODES = {ord(opcode.code): opcode for opcode in pickletools.opcodes}
FIXED_SIZES = [OPCODES[code].arg.n if code in OPCODES and OPCODES[code].arg else 0 for code in range(256)]
DTYPE_NAME = re.compile(r"[<>|=]?([biufc]\d{1,2}|[SU]\d{1,9}|\?)")
MAX_COPIES = 16  # how many times the file's size may be copied from one container into another
MAX_BITS = 4096  # of a whole number; Python refuses to print more than 4300 digits
MIN_VALUES = 100_000  # that containers may share in a small file


class RefusedPickleError(ValueError):
    """A pickle asked for something that data never needs."""


class ChangedFileError(ValueError):
    """A file is not what was written."""


def load_plain(file: IO[bytes], size: int, encoding: str) -> Any:
    """Read a pickle of plain data.

    Args:
        file: the open file, at its start.
        size: of the file in bytes, more than 0.
        encoding: of text that Python 2 pickled.

    Raises:
        RefusedPickleError: it asks for anything else.
        ChangedFileError: it has a checksum, which is not that of the file.
        Exception: a damaged pickle may raise any type, as its documentation says.
    """
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        if has_changed(data):
            raise ChangedFileError("has changed since it was written (its checksum says so); take another copy of it")
        find_pickle_end(data)
    value = _PlainUnpickler(file, size, encoding).load()
    return _Replacement(MIN_VALUES + MAX_COPIES * size).replace(value)[0]


def find_pickle_end(data: mmap.mmap | bytes, start: int = 0) -> int:
    """Return the position behind a pickle; read its opcodes without executing them.

    The unpickler takes memory for any string length and any memo index that a pickle states.

    Args:
        data: has the pickle, and maybe more behind it.
        start: where it begins.

    Raises:
        UnpicklingError: an unknown opcode, one of Python's registry of extensions, or a memo index above the number of
            values before it, of which each takes an opcode.
        EOFError: no end, or an argument that is longer than the rest of the file.
    """
    position, size, count = start, len(data), 0
    while position < size:
        code = data[position]
        argument = FIXED_SIZES[code]
        position += 1
        count += 1
        if argument > 0:
            if code == 0x72:  # LONG_BINPUT
                _check_memo_index(int.from_bytes(data[position : position + 4], "little"), count)
            elif code in EXTENSIONS:
                raise pickle.UnpicklingError(f"it has the opcode {OPCODES[code].name}, which data never needs")
            position += argument
        elif argument < 0:
            position = _skip_argument(data, position, OPCODES[code], count)
        elif code == 0x2E:  # STOP
            return position
        elif code not in OPCODES:
            raise pickle.UnpicklingError(f"byte {code} at {position - 1} is no opcode of a pickle")
    raise EOFError("it is cut off")


def _skip_argument(data: mmap.mmap | bytes, position: int, opcode: pickletools.OpcodeInfo, count: int) -> int:
    """Return the position behind an argument of variable length; `count` is the number of opcodes up to it."""
    if opcode.arg.n == pickletools.UP_TO_NEWLINE:
        for _ in range(2 if opcode.name in ("GLOBAL", "INST") else 1):
            end = data.find(b"\n", position) + 1
            if end == 0:
                raise EOFError("it is cut off")
            if opcode.name == "PUT":
                _check_memo_index(int(data[position : min(end, position + 20)]), count)
            position = end
        return position
    num_bytes = LENGTHS[opcode.arg.n]
    length = int.from_bytes(data[position : position + num_bytes], "little")
    if position + num_bytes + length > len(data):
        raise EOFError(f"it is cut off: it states {length} bytes at {position} and ends before them")
    return position + num_bytes + length


def _check_memo_index(index: int, count: int) -> None:
    if index > count:
        raise pickle.UnpicklingError(f"it has a memo index of {index} after {count} opcodes")


class _PlainUnpickler(pickle.Unpickler):
    def __init__(self, file: IO[bytes], size: int, encoding: str):
        super().__init__(file, encoding=encoding)
        self.budget = MAX_COPIES * size

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in PLAIN_PARTS:
            return PLAIN_PARTS[module, name]
        kind = CONTAINERS.get(name) if module in ("builtins", "__builtin__") else None
        if kind is None:
            raise RefusedPickleError(
                f"asks for '{module}.{name}', which plain data never needs: refused, nothing in it was run; "
                "do not use the file, get it from its source again"
            )
        return lambda *arguments: self._build(kind, *arguments)

    def _build(self, kind: type, *arguments: Any) -> Any:
        """Build a container from another one, as protocols 0 to 3 store sets and byte arrays."""
        if kind is bytearray and len(arguments) == 2:
            arguments = (_encode_latin1(*arguments),)
        if len(arguments) > 1 or not all(isinstance(value, SIZED) for value in arguments):
            raise RefusedPickleError(f"builds a {kind.__name__} in a way that plain data never needs; do not use it")
        self.budget -= sum(map(len, arguments))
        if self.budget < 0:
            raise RefusedPickleError("copies its values again and again: refused before the memory is full")
        return kind(*arguments)


class _Dtype:
    """Stand-in for a NumPy type of numbers or text."""

    __slots__ = ("value",)

    def __init__(self, name: str | bytes, *_flags: Any):
        name = name.decode("latin1") if isinstance(name, bytes) else name
        if not isinstance(name, str) or not DTYPE_NAME.fullmatch(name):
            raise RefusedPickleError(
                f"holds an array of type {show_value(name)}; arrays of numbers or text are read, no objects or fields"
            )
        self.value = np.dtype(name)

    def __setstate__(self, state: tuple) -> None:
        """Take the byte order; refuse what changes the type."""
        _version, order, *details = state
        if any(detail is not None for detail in details[:3]):
            raise RefusedPickleError("holds an array with fields or subarrays; arrays of numbers or text are read")
        order = order.decode("latin1") if isinstance(order, bytes) else order
        if order not in ("<", ">", "=", "|"):
            raise RefusedPickleError(f"holds an array with the byte order {show_value(order)}")
        self.value = self.value if order == "|" else self.value.newbyteorder(order)


class _Array:
    """Stand-in for an array."""

    __slots__ = ("value",)

    def __init__(self, *_arguments: Any):
        self.value = np.zeros(0)

    def __setstate__(self, state: tuple) -> None:
        """Make the array of its shape, type, order and bytes."""
        shape, dtype, is_fortran, data = state[-4:]
        self.value = _make_array(data, dtype, shape, "F" if is_fortran else "C")


class _NoCall:
    """Stand-in for `numpy.ndarray`, which pickles hand to other functions and need not call."""

    __slots__ = ()


class _Default(dict):
    """Stand-in for a defaultdict, which is read as a dict."""

    def __init__(self, *_factory: Any):
        super().__init__()

    def __setstate__(self, _state: Any) -> None:
        """Ignore the state, which a defaultdict has none of."""


class _Ordered(OrderedDict):
    """Stand-in for an OrderedDict, whose attributes a pickle could set."""

    def __setstate__(self, _state: Any) -> None:
        """Ignore the state: an attribute could be named `items`."""


def _make_array(data: Any, dtype: Any, shape: Any, order: str = "C") -> np.ndarray:
    if isinstance(data, str):  # Python 2's bytes
        data = data.encode("latin1")
    is_shape = isinstance(shape, tuple) and all(isinstance(side, int) and side >= 0 for side in shape)
    if not isinstance(dtype, _Dtype) or not isinstance(data, (bytes, bytearray)) or not is_shape:
        raise RefusedPickleError("holds an array that is not made of a shape, a type and bytes; it is damaged")
    if math.prod(shape) * dtype.value.itemsize != len(data):
        raise RefusedPickleError(f"holds an array of shape {shape} with {len(data)} bytes; it is damaged")
    return (
        np.frombuffer(data, dtype.value).reshape(shape, order=order).copy(order="K")
        if data
        else np.zeros(shape, dtype.value)
    )


def _make_scalar(dtype: Any, data: Any) -> Any:
    return _make_array(data, dtype, ())[()]


def _encode_latin1(text: str, encoding: str) -> bytes:
    """Stand in for `_codecs.encode`, by which protocols 0 to 2 store bytes."""
    if encoding not in ("latin1", "latin-1"):
        raise ValueError(f"bytes stored with the encoding {show_value(encoding)}, expected latin1")
    return text.encode("latin1")


class _Replacement:
    """Values without stand-ins, and their number: shared containers of containers are many values in a small file.

    Lists and dicts are changed in place.

    Attributes:
        done: {id of a container: what became of it, its number of values (0 while it is looked at), itself}.
        num_rings: how often a container was found inside of itself.
    """

    def __init__(self, max_values: int):
        self.done, self.num_rings, self.max_values = {}, 0, max_values

    def replace(self, value: Any) -> tuple[Any, int]:
        """Return a value without stand-ins, and the values in it, those that are shared as often as they are named.

        Raises:
            RefusedPickleError: more values than a file of this size holds, or a number without end.
        """
        if isinstance(value, (_Array, _Dtype)):
            return value.value, 1
        if not isinstance(value, (list, dict, tuple)):
            if isinstance(value, int) and value.bit_length() > MAX_BITS:
                raise RefusedPickleError("holds a number of thousands of digits, which data never needs")
            return value, 1
        if id(value) not in self.done:
            result = OrderedDict(value) if isinstance(value, _Ordered) else value
            result = dict(value) if isinstance(value, _Default) else result
            self.done[id(value)] = result, 0, value
            if isinstance(value, tuple):
                result, count = self._replace_parts(value)
            else:
                count = self._replace_items(result)
            self.done[id(value)] = result, count, value
        result, count, _ = self.done[id(value)]
        self.num_rings += count == 0
        if count > self.max_values or self.num_rings > 1:
            raise RefusedPickleError("shares its values again and again: refused before the memory is full")
        return result, count

    def _replace_items(self, container: list | dict) -> int:
        count = 1
        for key in range(len(container)) if isinstance(container, list) else list(container):
            container[key], number = self.replace(container[key])
            count += number
        return count

    def _replace_parts(self, value: tuple) -> tuple[tuple, int]:
        parts = [self.replace(part) for part in value]
        is_same = all(new is old for (new, _), old in zip(parts, value, strict=True))
        return value if is_same else tuple(new for new, _ in parts), 1 + sum(number for _, number in parts)


SIZED = (str, bytes, bytearray, list, tuple, dict, set, frozenset)
CONTAINERS = {kind.__name__: kind for kind in (bytearray, bytes, dict, frozenset, list, set, tuple)}
PLAIN_PARTS = {
    ("_codecs", "encode"): _encode_latin1,
    ("collections", "OrderedDict"): _Ordered,
    ("collections", "defaultdict"): _Default,
    ("numpy", "ndarray"): _NoCall(),
    ("numpy", "dtype"): _Dtype,
    **{
        (module, kind.__name__): kind
        for module in ("builtins", "__builtin__")
        for kind in (bool, complex, float, int, slice)
    },
    ("__builtin__", "long"): int,
}
for _core in ("numpy.core", "numpy._core"):  # the name before and since NumPy 2
    PLAIN_PARTS[_core + ".multiarray", "_reconstruct"] = _Array
    PLAIN_PARTS[_core + ".multiarray", "scalar"] = _make_scalar
    PLAIN_PARTS[_core + ".numeric", "_frombuffer"] = _make_array
