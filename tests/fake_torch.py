"""Writes what `torch.save` writes, without PyTorch: its pickles name functions and classes that stand here instead."""

import io
import json
import pickle
import struct
import sys
import types
import zipfile
from collections import OrderedDict
from contextlib import contextmanager

import numpy as np

SAFETENSORS_NAMES = {
    "f8": "F64",
    "f4": "F32",
    "f2": "F16",
    "i8": "I64",
    "i4": "I32",
    "i1": "I8",
    "u1": "U8",
    "b1": "BOOL",
}
KINDS = {
    "f8": "DoubleStorage",
    "f4": "FloatStorage",
    "f2": "HalfStorage",
    "i8": "LongStorage",
    "i4": "IntStorage",
    "i2": "ShortStorage",
    "i1": "CharStorage",
    "u1": "ByteStorage",
    "b1": "BoolStorage",
}


def _rebuild_tensor(*arguments):
    """Its name is all that is needed: pickles name it, nobody calls it."""


def _rebuild_tensor_v2(*arguments):
    """Its name is all that is needed."""


def _rebuild_parameter(*arguments):
    """Its name is all that is needed."""


class Storage:
    """Numbers that tensors share.

    Args:
        values: 1-D array.
        kind: storage class; default: that of the array's type.
        place: where it lay when it was saved.
        part: (storage, offset) of which this one is a part, in files of PyTorch before 0.4.
    """

    def __init__(self, values, kind=None, place="cpu", part=None):
        self.values = np.asarray(values)
        self.kind = kind or KINDS[self.values.dtype.str[1:]]
        self.place, self.part = place, part
        self.key = str(id(self))


class Tensor:
    """A view of a storage; sizes and strides count elements.

    Args:
        rebuild: the function that its pickle names.
    """

    def __init__(self, storage, size, stride=None, offset=0, rebuild=_rebuild_tensor_v2):
        self.storage, self.size, self.offset, self.rebuild = storage, tuple(size), offset, rebuild
        steps = [int(np.prod(size[axis + 1 :])) for axis in range(len(size))]
        self.stride = tuple(stride or steps)

    def __reduce__(self):
        more = () if self.rebuild is _rebuild_tensor else (False, OrderedDict())
        return self.rebuild, (self.storage, self.offset, self.size, self.stride, *more)


class Parameter:
    """A tensor that is trained."""

    def __init__(self, tensor):
        self.tensor = tensor

    def __reduce__(self):
        return _rebuild_parameter, (self.tensor, True, OrderedDict())


def tensor(array, **options):
    """Turn an array into a contiguous tensor with a storage of its own."""
    array = np.asarray(array)
    return Tensor(Storage(array.ravel(), **options), array.shape)


@contextmanager
def torch_names():
    """Let pickle find the names of PyTorch that the classes above bear, while files are written."""
    torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")
    for name in [*KINDS.values(), "BFloat16Storage", "QInt8Storage"]:
        setattr(torch, name, type(name, (), {"__module__": "torch"}))
    for function in (_rebuild_tensor, _rebuild_tensor_v2, _rebuild_parameter):
        setattr(utils, function.__name__, function)
        function.__module__ = "torch._utils"
    sys.modules.update({"torch": torch, "torch._utils": utils})
    try:
        yield torch
    finally:
        del sys.modules["torch"], sys.modules["torch._utils"]


class _Pickler(pickle.Pickler):
    """Leaves the numbers of storages out and notes the storages."""

    def __init__(self, file, torch, is_legacy):
        super().__init__(file, protocol=2)
        self.torch, self.is_legacy, self.storages = torch, is_legacy, {}

    def persistent_id(self, value):
        if not isinstance(value, Storage):
            return None
        root, offset = value.part or (value, 0)
        self.storages[root.key] = root
        pid = ("storage", getattr(self.torch, root.kind), root.key, root.place, len(root.values))
        view = (value.key, offset, len(value.values)) if value.part else None
        return (*pid, view) if self.is_legacy else pid


def pickle_content(content, is_legacy):
    """Return the pickle of `content` and the storages {key: Storage} that it needs."""
    with torch_names() as torch:
        file = io.BytesIO()
        pickler = _Pickler(file, torch, is_legacy)
        pickler.dump(content)
    return file.getvalue(), pickler.storages


def write_zip(path, content, root="archive", order="<", compression=zipfile.ZIP_STORED):
    """Write the format of PyTorch 1.6 and later; `order` is NumPy's sign of the byte order."""
    text, storages = pickle_content(content, is_legacy=False)
    records = {"data.pkl": text, "byteorder": {"<": b"little", ">": b"big"}[order], "version": b"3\n"}
    for key, storage in storages.items():
        records[f"data/{key}"] = storage.values.astype(storage.values.dtype.newbyteorder(order)).tobytes()
    write_records(path, {f"{root}/{name}": data for name, data in records.items()}, compression)
    return path


def write_records(path, records, compression=zipfile.ZIP_STORED):
    """Write a zip archive of {name: bytes}."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in records.items():
            archive.writestr(name, data)
    return path


def write_legacy(path, content):
    """Write the format of PyTorch before 1.6."""
    text, storages = pickle_content(content, is_legacy=True)
    path.write_bytes(join_legacy(text, storages))
    return path


def join_legacy(text, storages):
    """Put the header, an object's pickle and its storages together."""
    system = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}
    header = [0x1950A86A20F9469CFC6C, 1001, system]
    parts = [pickle.dumps(value, protocol=2) for value in header] + [text, pickle.dumps([*storages], protocol=2)]
    for storage in storages.values():
        parts += [struct.pack("<q", len(storage.values)), storage.values.tobytes()]
    return b"".join(parts)


def write_safetensors(path, arrays, types=None, **changes):
    """Write arrays {name: array}; `types` renames the type of some, `changes` {name: entry} replaces header entries."""
    header, data = {"__metadata__": {"format": "pt"}}, b""
    for name, array in arrays.items():
        kind = (types or {}).get(name) or SAFETENSORS_NAMES[array.dtype.str[1:]]
        begin, data = len(data), data + array.tobytes()
        header[name] = {"dtype": kind, "shape": list(array.shape), "data_offsets": [begin, len(data)]}
    text = json.dumps({**header, **changes}).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path
