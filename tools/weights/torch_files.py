"""Read the files that PyTorch writes, without PyTorch and without running anything that they contain.

Three formats: the zip archive that `torch.save` writes since PyTorch 1.6, the stream of pickles and raw bytes that it
wrote before, and .safetensors. `torch_pickle.py` reads the pickles.
"""

import json
import math
import os
import pickle
import struct
import zipfile
from collections.abc import Callable
from typing import IO, Any

import numpy as np

from common.pickles import find_pickle_end
from tools.weights.torch_pickle import TorchUnpickler, check_size, make_array, size_of

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
MAX_EXPANSION = 100  # limit of the unpacked size, in units of the file's size; torch.save does not compress

SAFETENSORS_TYPES = {
    **{"F64": "f8", "F32": "f4", "F16": "f2", "BF16": "bfloat16", "BOOL": "b1"},
    **{"I64": "i8", "I32": "i4", "I16": "i2", "I8": "i1", "U64": "u8", "U32": "u4", "U16": "u2", "U8": "u1"},
}

PYTHONS_OWN = ("invalid literal", "could not convert", "Exceeds the limit")  # of a number in a damaged pickle


def read_torch_file(path: str | os.PathLike) -> Any:
    """Read a file of `torch.save` or a .safetensors file.

    Returns:
        The saved object: plain containers and values, a read-only NumPy array for each tensor (float32 for bfloat16), a
        `Placeholder` for each object of a class that is not built into Python.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is cut off, damaged, or of another format; the message says which, and what to do.
    """
    path = os.fspath(path)
    if not os.path.isfile(path):
        raise FileNotFoundError(f"'{path}' does not exist or is no file; check the path")
    size = os.path.getsize(path)
    where = f"'{path}' ({size} bytes)"
    with open(path, "rb") as file:
        try:
            read_content = _choose_reader(file.read(512), size)
            file.seek(0)
            return read_content(file)
        except Exception as error:  # a damaged pickle or archive may raise any type
            if type(error) is ValueError and not str(error).startswith(PYTHONS_OWN):
                raise ValueError(f"{where}: {error}") from error
            is_explained = isinstance(error, (pickle.UnpicklingError, EOFError)) and str(error)
            reason = str(error) if is_explained else type(error).__name__
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


def _read_zip(file: IO) -> Any:
    with zipfile.ZipFile(file) as archive:
        records, size = {record.filename: record for record in archive.infolist()}, file.seek(0, os.SEEK_END)
        if sum(record.file_size for record in records.values()) > MAX_EXPANSION * size:
            raise ValueError(f"it would unpack to more than {MAX_EXPANSION} times its size; do not use the file")
        if any(record.compress_size > size for record in records.values()):  # zipfile would allocate it
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
                if records[name].file_size != count * size_of(kind):
                    raise ValueError(
                        f"record '{name}' has {records[name].file_size} bytes, its tensors need "
                        f"{count * size_of(kind)}; it is damaged, download it again"
                    )
                storages[key] = kind, make_array(archive.read(name), kind, ">" if is_big else "<")
            if storages[key][0] != kind:
                raise ValueError(f"storage '{key}' is of two types; it is damaged, download it again")
            return storages[key][1]

        data = archive.read(f"{root}data.pkl")
        return TorchUnpickler(data[: find_pickle_end(data, 0)], find_storage).load()


def _read_legacy(file: IO) -> Any:
    data, pickles, position = file.read(), [], 0
    for _ in range(5):  # magic number, version, machine, saved object, keys of its storages
        end = find_pickle_end(data, position)
        pickles.append(data[position:end])
        position = end
        if len(pickles) == 1 and TorchUnpickler(pickles[0], _refuse_storage).load() != LEGACY_MAGIC:
            raise ValueError("a pickle, but not one of torch.save; Paddle's own .pdparams need no conversion")
    expected, storages = {}, {}  # key -> (type, number of elements), key -> array

    def expect_storage(key, kind, count):
        if expected.setdefault(key, (kind, count)) != (kind, count):
            raise ValueError(f"storage '{key}' is of two types or sizes; it is damaged, download it again")
        return np.broadcast_to(make_array(bytes(size_of(kind)), kind), count)  # takes no memory, whatever the size

    TorchUnpickler(pickles[3], expect_storage).load()  # the object has the sizes; the storages follow it
    for key in TorchUnpickler(pickles[4], _refuse_storage).load():
        kind, count = expected[key]
        (stored,) = struct.unpack_from("<q", data, position)
        start, position = position + 8, position + 8 + count * size_of(kind)
        if stored != count or position > len(data):
            raise ValueError(
                f"storage '{key}' has {stored} elements, {count} were announced, and the file ends "
                f"{max(position - len(data), 0)} bytes before them; it is damaged or cut off, download it again"
            )
        storages[key] = make_array(memoryview(data)[start:position], kind)
    if position != len(data):
        raise ValueError(f"{len(data) - position} bytes are left over; it is damaged, download it again")
    return TorchUnpickler(pickles[3], lambda key, _kind, _count: storages[key]).load()


def _refuse_storage(key, _kind, _count):
    raise ValueError(f"storage '{key}' where none belongs; it is damaged, download it again")


def _read_safetensors(file: IO) -> dict:
    data = file.read()
    begin = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:begin])
    header.pop("__metadata__", None)
    tensors, end = {}, 0
    for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        kind, shape = SAFETENSORS_TYPES.get(entry["dtype"]), [check_size(size) for size in entry["shape"]]
        if kind is None:
            raise ValueError(f"'{name}' is of type {entry['dtype']!r}; known are {', '.join(SAFETENSORS_TYPES)}")
        start, stop = entry["data_offsets"]
        if start != end or stop - start != math.prod(shape) * size_of(kind) or stop > len(data) - begin:
            raise ValueError(
                f"'{name}' of shape {shape} stands in bytes {start} to {stop} of {len(data) - begin}, behind byte "
                f"{end}; it is damaged or cut off, download it again"
            )
        tensors[name] = make_array(memoryview(data)[begin + start : begin + stop], kind).reshape(shape)
        end = stop
    if end != len(data) - begin:
        raise ValueError(f"{len(data) - begin - end} bytes belong to no tensor; it is damaged, download it again")
    return {name: tensors[name] for name in header}
