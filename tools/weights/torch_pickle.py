"""Unpickle what PyTorch has pickled, without PyTorch and without running anything that the pickle names.

A pickle may name any class or function of the machine that reads it. Here it gets the few that tensors are made of; any
other becomes a `Placeholder`, which does nothing, whatever the pickle does to it.
"""

import io
import math
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np

STORAGES = {  # class name of a storage -> NumPy type; a bfloat16 is the upper half of a float32
    "DoubleStorage": "f8",
    "FloatStorage": "f4",
    "HalfStorage": "f2",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "i8",
    "IntStorage": "i4",
    "ShortStorage": "i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "b1",
}


class Placeholder:
    """Replacement for an object that is not built; it ignores all that a pickle can do to an object.

    Attributes:
        source: full name of the class or function that it replaces.
    """

    source = "?"

    def __new__(cls, *_arguments, **_keywords):
        """Ignore the arguments."""
        return object.__new__(cls)

    def __init__(self, *_arguments, **_keywords):
        """Ignore the arguments."""

    def __call__(self, *_arguments, **_keywords):
        """Return the object itself, where the pickle calls it like a function."""
        return self

    def ignore(self, *_arguments):
        """Ignore a state or items."""

    __setstate__ = __setitem__ = append = extend = add = update = ignore


class _PlainDict(dict):
    """Replacement for OrderedDict, without the attributes that PyTorch sets on a state dict."""

    __slots__ = ()

    def __setstate__(self, state):
        """Ignore the state: an attribute could be named `items`."""


# A pickle can call the objects that it gets for a name, but not change them: they have no attributes.
class _TensorMaker:
    __slots__ = ()

    def __call__(self, storage, offset, size, stride, *_requires_grad_and_hooks):
        return view_storage(storage, offset, size, stride)


class _ParameterMaker:
    __slots__ = ()

    def __call__(self, tensor, *_requires_grad_and_hooks):
        return tensor


PARTS = {
    ("collections", "OrderedDict"): _PlainDict,
    ("torch", "Size"): tuple,
    ("torch._utils", "_rebuild_tensor"): _TensorMaker(),
    ("torch._utils", "_rebuild_tensor_v2"): _TensorMaker(),
    ("torch._utils", "_rebuild_parameter"): _ParameterMaker(),
}


class TorchUnpickler(pickle.Unpickler):
    """Unpickler that builds only plain containers, arrays for tensors, and placeholders.

    Args:
        data: one whole pickle, checked by `find_pickle_end`.
        find_storage: (key, type of `STORAGES`, number of elements) -> 1-D array.
    """

    def __init__(self, data: bytes, find_storage: Callable[[str, str, int], np.ndarray]):
        super().__init__(io.BytesIO(data), encoding="latin1")  # PyTorch on Python 2 wrote strings as bytes
        self.find_storage = find_storage

    def find_class(self, module: str, name: str) -> Any:
        """Return what replaces a class or function that the pickle names."""
        if module in ("torch", "torch.cuda") and name in STORAGES:
            return STORAGES[name]
        if (module, name) in PARTS:
            return PARTS[module, name]
        return type("Placeholder", (Placeholder,), {"source": f"{module}.{name}"})

    def persistent_load(self, pid: Any) -> Any:
        """Return the 1-D array of the storage that the pickle refers to.

        Raises:
            ValueError: the reference is not such as PyTorch writes.
        """
        if isinstance(pid, tuple) and len(pid) == 4 and pid[0] == "module":
            return pid[1]  # a class with its source code, in old files
        if not (isinstance(pid, tuple) and len(pid) in (5, 6) and pid[0] == "storage"):
            raise ValueError(f"a reference to {_show(pid)} instead of a storage; it is damaged, download it again")
        _, kind, key, _location, count, *view = pid
        if not isinstance(key, str):
            raise ValueError(f"a storage called {_show(key)}, expected a text; it is damaged, download it again")
        if not isinstance(kind, str) or kind not in STORAGES.values():
            raise ValueError(f"a storage of type {_show(kind)}; known are {', '.join(STORAGES)}")
        storage = self.find_storage(key, kind, check_size(count))
        if not view or view[0] is None:
            return storage
        _key, offset, size = view[0]  # files of PyTorch before 0.4: a storage that is a slice of another
        return view_storage(storage, offset, (size,), (1,))


def _show(value: Any) -> str:
    """Describe a value in a message: not by its repr, which could fill the memory if a list contains itself."""
    if isinstance(value, (int, str)):
        return repr(value)
    is_class = isinstance(value, type) and issubclass(value, Placeholder)
    return value.source if is_class or isinstance(value, Placeholder) else type(value).__name__


def check_size(count: Any) -> int:
    """Return a size as it is.

    Raises:
        ValueError: it is not a whole number from 0.
    """
    if not isinstance(count, int) or count < 0:
        raise ValueError(f"a size of {_show(count)}, expected a whole number from 0; it is damaged, download it again")
    return count


def view_storage(storage: np.ndarray, offset: int, size: tuple, stride: tuple) -> np.ndarray:
    """Return the tensor of `size` and `stride` (elements) that starts at element `offset` of a storage, read-only.

    Raises:
        ValueError: the tensor has elements outside of the storage.
    """
    numbers = [check_size(number) for number in (offset, *size, *stride)]
    last = offset + sum((count - 1) * step for count, step in zip(size, stride, strict=True))
    if math.prod(size) == 0:
        return np.zeros(size, storage.dtype)
    if last >= storage.size or math.prod(size) > storage.size:
        raise ValueError(
            f"a tensor of size {tuple(size)}, stride {tuple(stride)} from element {numbers[0]} of a storage of "
            f"{storage.size}; it is damaged, or was expanded before it was saved: save .contiguous() tensors"
        )
    steps = [step * storage.itemsize for step in stride]
    return np.lib.stride_tricks.as_strided(storage[offset:], tuple(size), steps, writeable=False)


def make_array(data: bytes, kind: str, order: str = "<") -> np.ndarray:
    """Convert raw bytes to a 1-D array.

    Args:
        data: the bytes.
        kind: a value of `STORAGES`.
        order: byte order, NumPy's `<` or `>`.
    """
    if kind == "bfloat16":
        halves = np.frombuffer(data, order + "u2")
        return (halves.astype(np.uint32) << 16).view(np.float32)
    values = np.frombuffer(data, order + kind)
    return values.astype(values.dtype.newbyteorder("="), copy=False)


def size_of(kind: str) -> int:
    """Return the bytes of an element; `kind` is a value of `STORAGES`."""
    return 2 if kind == "bfloat16" else np.dtype(kind).itemsize
