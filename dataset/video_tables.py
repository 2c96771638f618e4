"""The tables of an mp4 or mov file: where its samples lie, and whether that can be."""

import struct
from collections.abc import Iterator

import numpy as np

HEADER = struct.Struct(">I4s")  # of a box: its length and its kind
LONG_LENGTH = struct.Struct(">Q")
TO_VIDEO = [b"mdia", b"minf", b"stbl"]  # the boxes around the tables of a track


def find_wrong_table(data: bytes) -> int | None:
    """Find the tables of a video whose samples do not lie one behind the other in the file.

    Fragments have tables of their own, which are not read here.

    Args:
        data: the whole file, or its map.

    Returns:
        the place of the tables in bytes; None where all are right.
    """
    for movie in _find_boxes(data, [b"moov"], (0, len(data))):
        for track in _find_boxes(data, [b"trak"], movie):
            handlers = list(_find_boxes(data, [b"mdia", b"hdlr"], track))
            if all(data[start + 8 : start + 12] == b"vide" for start, _ in handlers):
                for tables in _find_boxes(data, TO_VIDEO, track):
                    if not _fit_together(data, tables):
                        return tables[0]
    return None


def _find_boxes(data: bytes, kinds: list[bytes], outer: tuple[int, int]) -> Iterator[tuple[int, int]]:
    """Yield where the content of each box begins and ends that is reached through boxes of these kinds."""
    position, end = outer
    while position + HEADER.size <= end:
        length, kind = HEADER.unpack_from(data, position)
        start = position + HEADER.size
        if length == 1 and start + LONG_LENGTH.size <= end:
            length, start = LONG_LENGTH.unpack_from(data, start)[0], start + LONG_LENGTH.size
        after = min(position + length, end) if length else end
        if after < start:
            return
        if kind == kinds[0]:
            if len(kinds) == 1:
                yield start, after
            else:
                yield from _find_boxes(data, kinds[1:], (start, after))
        position = after


def _read_table(data: bytes, tables: tuple[int, int], kind: bytes, dtype: str, skip: int) -> np.ndarray:
    """Read the entries of a table, which begin behind `skip` bytes and their number; none where it is missing."""
    for start, end in _find_boxes(data, [kind], tables):
        num_entries = int.from_bytes(data[start + skip : start + skip + 4], "big")
        num_stored = (end - start - skip - 4) // np.dtype(dtype).itemsize
        return np.frombuffer(data[start + skip + 4 : end], dtype, max(0, min(num_entries, num_stored)))
    return np.zeros(0, dtype)


def _fit_together(data: bytes, tables: tuple[int, int]) -> bool:
    """Whether the chunks of a track hold as many samples as it has, do not overlap and end in the file."""
    sizes = _read_table(data, tables, b"stsz", ">u4", 8).astype(np.int64)
    offsets = _read_table(data, tables, b"stco", ">u4", 4).astype(np.int64)
    if not len(offsets):
        offsets = _read_table(data, tables, b"co64", ">i8", 4).astype(np.int64)
    runs = _read_table(data, tables, b"stsc", ">u4, >u4, >u4", 4)  # first chunk, samples in each, description
    if not len(sizes) or not len(offsets) or not len(runs):
        return True  # fragments, or samples of one size
    lengths = np.diff(np.append(runs["f0"], len(offsets) + 1).astype(np.int64))
    if runs["f0"][0] != 1 or lengths.min() < 0 or runs["f1"].min() < 1:
        return False
    ends = np.cumsum(np.repeat(runs["f1"].astype(np.int64), lengths))
    if len(ends) != len(offsets) or ends[-1] != len(sizes):
        return False
    chunk_sizes = np.add.reduceat(sizes, np.append(0, ends[:-1]))
    order = np.argsort(offsets, kind="stable")
    limits = np.append(offsets[order][1:], len(data))
    return bool(np.all(offsets[order] + chunk_sizes[order] <= limits))
