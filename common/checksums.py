"""A checksum behind a pickle: whoever reads the pickle stops before it, and `files.load_pickle` compares it."""

import mmap
import re
import zlib
from typing import IO

CHECKSUM = re.compile(rb"\ncrc32 .{8}\n", re.DOTALL)  # the digits too may be damaged
NUM_BYTES = 16


class ChecksumWriter:
    """A file to write to that computes the CRC-32 of what is written.

    Args:
        file: open for writing bytes, empty.
    """

    def __init__(self, file: IO[bytes]):
        self.file, self.value = file, 0

    def write(self, data: bytes | memoryview) -> int:
        """Write bytes."""
        self.value = zlib.crc32(data, self.value)
        return self.file.write(data)

    def write_checksum(self) -> None:
        """Write the checksum of all bytes before."""
        self.file.write(_format(self.value))


def has_changed(data: bytes | mmap.mmap) -> bool:
    """Whether the bytes of a file end in a checksum that is not theirs; older files have none."""
    stored = data[-NUM_BYTES:]
    if not CHECKSUM.fullmatch(stored):
        return False
    with memoryview(data) as view, view[:-NUM_BYTES] as content:
        return _format(zlib.crc32(content)) != stored


def _format(value: int) -> bytes:
    return b"\ncrc32 %08x\n" % value
