"""Encoded pictures, JPEG and PNG: the one rule of what can be read, for the readers and the checks alike."""

import struct

import cv2
import numpy as np

# OpenCV rotates pictures by their EXIF orientation by default; the header has the size before that.
AS_STORED = cv2.IMREAD_IGNORE_ORIENTATION
SMALLEST = cv2.IMREAD_REDUCED_GRAYSCALE_8 | AS_STORED  # reads every byte, makes as few pixels as it can
MAX_PIXELS = 2**27  # of a frame: four times 8K
JPEG_SCAN = 0xDA
JPEG_START, JPEG_END, PNG_START, PNG_END = b"\xff\xd8", b"\xff\xd9", b"\x89PNG\r\n\x1a\n", b"IEND"
JPEG_SIZE_MARKERS = set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # the frame headers (SOF0 to SOF15)


def find_size(data: bytes) -> tuple[int, int] | None:
    """Return (height, width) from the header of a JPEG or PNG picture; None where there is no such header."""
    if data.startswith(PNG_START) and len(data) >= 24:
        width, height = struct.unpack_from(">II", data, 16)
        return height, width
    position = 2 if data.startswith(JPEG_START) else len(data)
    while position + 9 <= len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        if marker in JPEG_SIZE_MARKERS:
            return struct.unpack_from(">HH", data, position + 5)
        # 0xFF may be repeated as padding
        position += 1 if marker == 0xFF else 2 + int.from_bytes(data[position + 2 : position + 4], "big")
    return None


def check_claim(size: tuple, name: str) -> None:
    """Check that a (height, width) that a header claims is one that frames have.

    Raises:
        ValueError: it would take all memory.
    """
    if size[0] * size[1] > MAX_PIXELS:
        raise ValueError(f"{name}: claims to be {size[1]} x {size[0]}, too large for a frame; get it again")


def decode(data: bytes, flags: int) -> np.ndarray | None:
    """Decode a picture that has a size; None where it is cut short or damaged.

    Args:
        flags: of cv2.imdecode.
    """
    # Older OpenCV versions fill the missing part of a cut-off file with gray and print a line on the console only.
    if data.startswith(PNG_START):
        is_whole = PNG_END in data
    else:
        is_whole = data.find(JPEG_END, _find_scan(data)) >= 0
    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), flags | AS_STORED) if is_whole else None
    except cv2.error:
        return None


def _find_scan(data: bytes) -> int:
    """Return where the compressed part of a JPEG picture begins, behind headers that may hold a whole small picture."""
    position = 2
    while position + 4 <= len(data) and data[position] == 0xFF and data[position + 1] != JPEG_SCAN:
        length = int.from_bytes(data[position + 2 : position + 4], "big")
        position += 1 if data[position + 1] == 0xFF else 2 + length
    return position
