"""The length of a video file as its container states it: a shorter file is cut off."""

import struct

EBML_START, SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"  # of Matroska and WebM


def find_end(path: str) -> int:
    """Return the length of a file in bytes as its container states it; 0 where it does not."""
    with open(path, "rb") as file:
        head = file.read(4096)
    if head.startswith(b"RIFF"):
        length = struct.unpack_from("<I", head, 4)[0]
        return 8 + length if length < 0xFFFFFFFF else 0  # all ones: the writer could not go back to fill it in
    if head.startswith(EBML_START):
        return _find_segment_end(head)
    return _find_media_end(path) if head[4:8] == b"ftyp" else 0


def _find_media_end(path: str) -> int:
    """Return where the box that holds the pictures of an mp4 or mov file ends."""
    end, kind = 0, b""
    with open(path, "rb") as file:
        while kind != b"mdat":
            file.seek(end)
            box = file.read(16)
            if len(box) < 16:
                return 0
            length, kind, long_length = struct.unpack(">I4sQ", box)
            if length == 0:  # up to the end of the file, wherever that is
                return 0
            end += long_length if length == 1 else length
    return end


def _find_segment_end(head: bytes) -> int:
    """Return where the one segment of a Matroska file ends, from its first bytes."""
    start = head.find(SEGMENT) + len(SEGMENT)
    if start < len(SEGMENT) or start >= len(head):
        return 0
    num_bytes = 9 - head[start].bit_length()  # of the length: one more than there are zero bits before its first one
    bits = 7 * num_bytes
    length = int.from_bytes(head[start : start + num_bytes], "big") & ((1 << bits) - 1)
    return start + num_bytes + length if length < (1 << bits) - 1 else 0  # all ones: the writer did not know it
