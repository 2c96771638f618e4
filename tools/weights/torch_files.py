"""Read the files that PyTorch writes, without PyTorch and without running anything that stands in them.

Three formats: the zip archive that `torch.save` writes since PyTorch 1.6, the stream of pickles and raw bytes that it
wrote before, and .safetensors. A pickle may name any class or function of the machine that reads it. Here it gets the
few parts that tensors are made of; all else is a `Placeholder`, which does nothing, whatever the pickle does to it.
"""

import io
import json
import math
import os
import pickle
import pickletools
import struct
import zipfile
from collections.abc import Callable
from typing import IO, Any

import numpy as np

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
MOST_EXPANSION = 100  # times the size of an archive that its records may unpack to; torch.save does not compress

STORAGES = {  # name of the storage class -> NumPy's; a bfloat16 is the upper half of a float32
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
SAFETENSORS_TYPES = {
    **{"F64": "f8", "F32": "f4", "F16": "f2", "BF16": "bfloat16", "BOOL": "b1"},
    **{"I64": "i8", "I32": "i4", "I16": "i2", "I8": "i1", "U64": "u8", "U32": "u4", "U16": "u2", "U8": "u1"},
}


def read_torch_file(path: str | os.PathLike) -> Any:
    """Read a file of `torch.save` or a .safetensors file.

    Returns:
        What was saved: plain containers and values, a read-only NumPy array for each tensor (float32 for bfloat16), a
        `Placeholder` for each object of a class that is not Python's own.

    Raises:
        FileNotFoundError: no such file.
        ValueError: cut off, damaged, or none of these formats; says which, and what to do.
    """
    path = os.fspath(path)
    if not os.path.isfile(path):
        raise FileNotFoundError(f"'{path}' does not exist or is no file; check the path")
    size = os.path.getsize(path)
    where = f"'{path}' ({size} bytes)"
    with open(path, "rb") as file:
        try:
            read = _choose_reader(file.read(512), size)
            file.seek(0)
            return read(file)
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from error
        except Exception as error:  # a damaged pickle or archive may raise any type
            reason = f"{type(error).__name__}: {error}"
            raise ValueError(f"{where} is damaged or cut off ({reason}); download it again") from error


def _choose_reader(head: bytes, size: int) -> Callable[[IO], Any]:
    start = head.lstrip().lower()
    if head.startswith(b"version https://git-lfs"):
        raise ValueError("a Git LFS pointer, not the weights; run git lfs pull or download the file itself")
    if start.startswith((b"<!doctype", b"<html", b"<?xml")):
        raise ValueError(
            "a web page, not weights: the link shows a page first, as Google Drive does for large files; "
            "download it with a browser, or with gdown"
        )
    if head[257:262] == b"ustar":
        raise ValueError("a tar file, as PyTorch wrote before 0.2; load it with a PyTorch that can and save it again")
    if head.startswith(b"PK"):
        return _read_zip
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= size - 8:
        return _read_safetensors
    if head.startswith(b"\x80"):
        return _read_legacy
    raise ValueError("neither a file of torch.save nor .safetensors; it is cut off, or something else was downloaded")


class Placeholder:
    """Stands for an object that is not built; it swallows all that a pickle can do to an object.

    Attributes:
        source: full name of the class or function in whose place it stands.
    """

    source = "?"

    def __new__(cls, *_arguments, **_keywords):
        """Take any arguments and look at none."""
        return object.__new__(cls)

    def __init__(self, *_arguments, **_keywords):
        """Take any arguments and look at none."""

    def __call__(self, *_arguments, **_keywords):
        """Give itself, where the pickle takes it for a function."""
        return self

    def swallow(self, *_arguments):
        """Take a state or items and forget them."""

    __setstate__ = __setitem__ = append = extend = add = update = swallow


class _PlainDict(dict):
    """Stands for OrderedDict; the attributes that PyTorch hangs on a state dict are left out."""

    __slots__ = ()

    def __setstate__(self, state):
        """Forget `state`: an attribute could be called `items`."""


# What a pickle is handed for a name, it can call but not change: these objects have no attributes.
class _TensorMaker:
    __slots__ = ()

    def __call__(self, storage, offset, size, stride, *_requires_grad_and_hooks):
        return _view_storage(storage, offset, size, stride)


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


class _TorchUnpickler(pickle.Unpickler):
    """Builds what a pickle describes of plain containers, tensors and placeholders.

    Args:
        text: one whole pickle that `_find_pickle_end` has seen.
        find_storage: (key, type of `STORAGES`, number of elements) -> 1-D array.
    """

    def __init__(self, text: bytes, find_storage: Callable[[str, str, int], np.ndarray]):
        super().__init__(io.BytesIO(text), encoding="latin1")  # PyTorch of Python 2 wrote its text as bytes
        self.find_storage = find_storage

    def find_class(self, module: str, name: str) -> Any:
        if module in ("torch", "torch.cuda") and name in STORAGES:
            return STORAGES[name]
        if (module, name) in PARTS:
            return PARTS[module, name]
        return type("Placeholder", (Placeholder,), {"source": f"{module}.{name}"})

    def persistent_load(self, pid: Any) -> Any:
        if isinstance(pid, tuple) and len(pid) == 4 and pid[0] == "module":
            return pid[1]  # a class with its source code, in old files
        if not (isinstance(pid, tuple) and len(pid) in (5, 6) and pid[0] == "storage"):
            raise ValueError(f"a reference to {_show(pid)} instead of a storage; it is damaged, download it again")
        _, kind, key, _location, count, *view = pid
        if not isinstance(key, str):
            raise ValueError(f"a storage called {_show(key)}, expected a text; it is damaged, download it again")
        if not isinstance(kind, str) or kind not in STORAGES.values():
            raise ValueError(f"a storage of type {_show(kind)}; known are {', '.join(STORAGES)}")
        storage = self.find_storage(key, kind, _check_size(count))
        if not view or view[0] is None:
            return storage
        _key, offset, size = view[0]  # files of PyTorch before 0.4: a storage that is a part of another
        return _view_storage(storage, offset, (size,), (1,))


def _show(value: Any) -> str:
    """Describe a value of a file in a few words; a list that holds itself many times over would fill the memory."""
    return repr(value) if isinstance(value, (int, str)) else getattr(value, "source", type(value).__name__)


def _check_size(count: Any) -> int:
    if not isinstance(count, int) or count < 0:
        raise ValueError(f"a size of {_show(count)}, expected a whole number from 0; it is damaged, download it again")
    return count


def _view_storage(storage: np.ndarray, offset: int, size: tuple, stride: tuple) -> np.ndarray:
    """Give the tensor of `size` and `stride` (elements) that begins at element `offset` of a storage."""
    numbers = [_check_size(number) for number in (offset, *size, *stride)]
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


def _make_array(data: bytes, kind: str, order: str = "<") -> np.ndarray:
    """Turn raw bytes into a 1-D array; `order` is NumPy's sign of the byte order."""
    if kind == "bfloat16":
        halves = np.frombuffer(data, order + "u2")
        return (halves.astype(np.uint32) << 16).view(np.float32)
    values = np.frombuffer(data, order + kind)
    return values.astype(values.dtype.newbyteorder("="), copy=False)


def _size_of(kind: str) -> int:
    return 2 if kind == "bfloat16" else np.dtype(kind).itemsize


def _find_pickle_end(data: bytes, start: int) -> int:
    """Read the opcodes of a pickle, without doing what they say, and return the place behind it.

    What the C unpickler would trust is checked here: it makes room for any memo index, and for a text of any length.
    """
    stream, most = io.BytesIO(data), 1  # Python 2 counted the memo from 1
    stream.seek(start)
    for opcode, argument, _place in pickletools.genops(stream):
        if opcode.name in ("PUT", "BINPUT", "LONG_BINPUT"):
            if argument > most:
                raise ValueError(f"memo index {argument} where {most} is the next; it is damaged, download it again")
            most += 1
        elif opcode.name == "MEMOIZE":
            most += 1
        elif opcode.name.startswith("EXT"):
            raise ValueError(f"the pickle opcode {opcode.name}, which torch.save does not write; do not use the file")
    return stream.tell()


def _read_zip(file: IO) -> Any:
    with zipfile.ZipFile(file) as archive:
        records, size = {record.filename: record for record in archive.infolist()}, file.seek(0, os.SEEK_END)
        if sum(record.file_size for record in records.values()) > MOST_EXPANSION * size:
            raise ValueError(f"it would unpack to more than {MOST_EXPANSION} times its size; do not use the file")
        if any(record.compress_size > size for record in records.values()):  # zipfile would make room for it
            raise ValueError("a record that is larger than the file; it is damaged or cut off, download it again")
        roots = [name[: -len("data.pkl")] for name in records if name.split("/")[-1] == "data.pkl"]
        if len(roots) != 1:
            raise ValueError(f"a zip archive with {len(roots)} 'data.pkl', expected 1; unpack it, weights are inside")
        root = roots[0]
        is_big = f"{root}byteorder" in records and archive.read(f"{root}byteorder").strip() == b"big"
        storages = {}

        def find_storage(key, kind, count):
            if key not in storages:
                name = f"{root}data/{key}"
                if records[name].file_size != count * _size_of(kind):
                    raise ValueError(
                        f"record '{name}' has {records[name].file_size} bytes, its tensors need "
                        f"{count * _size_of(kind)}; it is damaged, download it again"
                    )
                storages[key] = kind, _make_array(archive.read(name), kind, ">" if is_big else "<")
            if storages[key][0] != kind:
                raise ValueError(f"storage '{key}' is of two types; it is damaged, download it again")
            return storages[key][1]

        text = archive.read(f"{root}data.pkl")
        return _TorchUnpickler(text[: _find_pickle_end(text, 0)], find_storage).load()


def _read_legacy(file: IO) -> Any:
    data, texts, place = file.read(), [], 0
    for _ in range(5):  # magic number, version, the machine, the object, the keys of its storages
        end = _find_pickle_end(data, place)
        texts.append(data[place:end])
        place = end
        if len(texts) == 1 and _TorchUnpickler(texts[0], _refuse_storage).load() != LEGACY_MAGIC:
            raise ValueError("a pickle, but not one of torch.save; Paddle's own .pdparams need no conversion")
    claims, storages = {}, {}

    def note_claim(key, kind, count):
        if claims.setdefault(key, (kind, count)) != (kind, count):
            raise ValueError(f"storage '{key}' is of two types or sizes; it is damaged, download it again")
        return np.broadcast_to(_make_array(bytes(_size_of(kind)), kind), count)  # of any size, without memory

    _TorchUnpickler(texts[3], note_claim).load()  # the sizes stand in the object, the storages themselves behind it
    for key in _TorchUnpickler(texts[4], _refuse_storage).load():
        kind, count = claims[key]
        (stored,) = struct.unpack_from("<q", data, place)
        start, place = place + 8, place + 8 + count * _size_of(kind)
        if stored != count or place > len(data):
            raise ValueError(
                f"storage '{key}' has {stored} elements, {count} were announced, and the file ends "
                f"{max(place - len(data), 0)} bytes before them; it is damaged or cut off, download it again"
            )
        storages[key] = _make_array(memoryview(data)[start:place], kind)
    if place != len(data):
        raise ValueError(f"{len(data) - place} bytes are left over; it is damaged, download it again")
    return _TorchUnpickler(texts[3], lambda key, _kind, _count: storages[key]).load()


def _refuse_storage(key, _kind, _count):
    raise ValueError(f"storage '{key}' where none belongs; it is damaged, download it again")


def _read_safetensors(file: IO) -> dict:
    data = file.read()
    begin = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:begin])
    header.pop("__metadata__", None)
    tensors, end = {}, 0
    for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        kind, shape = SAFETENSORS_TYPES.get(entry["dtype"]), [_check_size(size) for size in entry["shape"]]
        if kind is None:
            raise ValueError(f"'{name}' is of type {entry['dtype']!r}; known are {', '.join(SAFETENSORS_TYPES)}")
        start, stop = entry["data_offsets"]
        if start != end or stop - start != math.prod(shape) * _size_of(kind) or stop > len(data) - begin:
            raise ValueError(
                f"'{name}' of shape {shape} stands in bytes {start} to {stop} of {len(data) - begin}, behind byte "
                f"{end}; it is damaged or cut off, download it again"
            )
        tensors[name] = _make_array(memoryview(data)[begin + start : begin + stop], kind).reshape(shape)
        end = stop
    if end != len(data) - begin:
        raise ValueError(f"{len(data) - begin - end} bytes belong to no tensor; it is damaged, download it again")
    return {name: tensors[name] for name in header}
