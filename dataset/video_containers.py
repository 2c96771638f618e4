"""The structure of a video container: whether its parts follow each other without a gap, from the first to the last.

Where bytes of a file were overwritten, cut out or inserted, FFmpeg looks for the next part that it knows and goes on
there; the frames between are lost without a word, and those behind them move up. So the headers of the parts are read
here too: each must stand where the one before it ends.
"""

import collections
import mmap
import re
import zlib
from collections.abc import Callable

import av
import numpy as np

from dataset.video_tables import find_wrong_table

AVI_CHUNK = re.compile(rb"\d\d[A-Za-z_]{2}|ix\d\d|JUNK|idx1|RIFF|LIST")  # what may stand among the frames
AVI_LISTS = {b"movi", b"rec "}  # lists that hold chunks of streams
# Elements of Matroska (RFC 9559).
SEGMENT, CLUSTER, GROUP, SIMPLE_BLOCK, BLOCK, VOID, CRC = 0x18538067, 0x1F43B675, 0xA0, 0xA3, 0xA1, 0xEC, 0xBF
# The EBML header; SeekHead, Info, Tracks, Cues, Tags, Chapters, Attachments
TOP_ELEMENTS = {0x1A45DFA3, SEGMENT, CLUSTER, VOID, CRC}
TOP_ELEMENTS |= {0x114D9B74, 0x1549A966, 0x1654AE6B, 0x1C53BB6B, 0x1254C367, 0x1043A770, 0x1941A469}
# Timestamp, SilentTracks, Position, PrevSize, EncryptedBlock
CLUSTER_ELEMENTS = {0xE7, 0x5854, 0xA7, 0xAB, 0xAF, SIMPLE_BLOCK, GROUP, VOID, CRC}
UNKNOWN = 1 << 62  # bytes: the length of an element whose writer did not know it
# MPEG-TS (ISO/IEC 13818-1): the first byte of a packet, its size; bits: a part begins, an adaptation field precedes it
TS_SYNC, TS_SIZES, TS_BEGINS, TS_ADAPTATION = 0x47, (188, 192, 204), 0x40, 0x20
PES_START, PES_TIMED = b"\x00\x00\x01", b"\x80"  # a part begins; it has a time stamp, as only a frame's start can
ONE_PACKET_EACH = {"h264", "hevc"}  # of other codecs FFmpeg may join two fields, with a time stamp each, to a frame
OGG_HEADER_SIZE = 27  # bytes of a page before the sizes of its parts, of which the last one says how many
MIRRORED_BYTES = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
FLV_TAG, FLV_HEADER_SIZE = 11, 9  # bytes before the content of a tag; before the first tag


def find_damage(path: str, container: av.container.InputContainer, stream: av.stream.Stream, num_packets: int) -> str:
    """Find the first place where the parts of a container do not follow each other, or what FFmpeg did not find.

    Args:
        path: of the file, which is not empty.
        container: the open file.
        stream: the video.
        num_packets: of the video, as FFmpeg finds them.

    Returns:
        what is wrong; empty where nothing is, or where the container is of a kind that is not known here.
    """
    walk = WALKS.get(container.format.name)
    if walk is None:
        return ""
    counts = collections.Counter()
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        place = walk(data, counts)
        if place is not None:
            return f"damaged at byte {place} of {len(data)}, where frames may be lost"
    if walk == _walk_matroska and num_packets not in counts.values():  # FFmpeg does not say which track is the stream
        return f"damaged, {num_packets} frames can be found of {max(counts.values(), default=0)}"
    if walk == _walk_ts and stream.codec_context.name in ONE_PACKET_EACH and num_packets < counts[stream.id]:
        return f"damaged, {num_packets} frames can be found of {counts[stream.id]}"
    return ""


def _walk_avi(data: mmap.mmap, counts: collections.Counter) -> int | None:
    """Walk the chunks of an AVI file.

    Writers leave a length at 0 or let it go beyond the file where they were stopped, and some leave out the byte that
    makes each length even: that is no damage.
    """
    is_closed = 0 < int.from_bytes(data[4:8], "little") <= len(data) - 8
    position, end = 12, 0  # `end` is that of the list that holds the frames
    while position + 8 <= len(data):
        kind, size = data[position : position + 4], int.from_bytes(data[position + 4 : position + 8], "little")
        if end and not AVI_CHUNK.fullmatch(kind):
            return None if position == end else position
        if kind == b"RIFF" or (kind == b"LIST" and data[position + 8 : position + 12] in AVI_LISTS):
            end = position + 8 + size if data[position + 8 : position + 12] == b"movi" else end
            position += 12
            continue
        after = position + 8 + size
        if after > len(data):
            return position if is_closed else None
        position = after if AVI_CHUNK.fullmatch(data[after : after + 4]) else after + size % 2
        end = position if kind == b"idx1" else end  # what follows the index is no part of the video
    return None


def _walk_matroska(data: mmap.mmap, counts: collections.Counter) -> int | None:
    """Walk the elements of a Matroska file: clusters in the segment, blocks in the clusters; count those of a track."""
    position, segment_end, previous = 0, UNKNOWN, None
    while position < len(data) and position != segment_end:
        kind, start, end = _read_element(data, position)
        if kind not in TOP_ELEMENTS or (kind != SEGMENT and len(data) < end < UNKNOWN):
            # A damaged index behind all clusters loses no frame.
            is_index = counts and (previous != CLUSTER or kind in TOP_ELEMENTS - {CLUSTER})
            return None if is_index and data.find(CLUSTER.to_bytes(4, "big"), position) < 0 else position
        previous = kind
        if kind == SEGMENT:
            segment_end, position = end, start
        elif kind == CLUSTER:
            is_whole, position = _walk_cluster(data, start, end, counts)
            if not is_whole:
                return position
        else:
            position = end
    return None


def _walk_cluster(data: mmap.mmap, start: int, end: int, counts: collections.Counter) -> tuple[bool, int]:
    """Return whether a cluster is whole, and where it ends or is damaged; count its blocks."""
    position = start
    while position < min(end, len(data)):
        kind, inner, after = _read_element(data, position)
        if end == UNKNOWN and kind in TOP_ELEMENTS - CLUSTER_ELEMENTS:
            break
        if kind not in CLUSTER_ELEMENTS or after > min(end, len(data)):
            return False, position
        if (
            kind == CRC
            and end != UNKNOWN
            and zlib.crc32(data[after:end]) != int.from_bytes(data[inner:after], "little")
        ):
            return False, position
        if kind == GROUP:
            inner = _find_block(data, inner, after)
        if kind in (SIMPLE_BLOCK, GROUP):
            counts[_read_number(data, inner)[0]] += 1  # a block begins with the number of its track
        position = after
    return True, position


def _find_block(data: mmap.mmap, position: int, end: int) -> int:
    """Return where the content of the block of a group begins; `end`, that of the group, where it has none."""
    while position < end:
        kind, start, position = _read_element(data, position)
        if kind == BLOCK:
            return start
    return end


def _read_element(data: mmap.mmap, position: int) -> tuple[int, int, int]:
    """Return the kind of an element, where its content begins and where it ends, UNKNOWN where it does not say so."""
    start = position + 9 - data[position].bit_length()
    kind = int.from_bytes(data[position:start], "big")
    length, start = _read_number(data, start)
    return kind, start, start + length if length < UNKNOWN else UNKNOWN


def _read_number(data: mmap.mmap, position: int) -> tuple[int, int]:
    """Return a number of variable length and where it ends; UNKNOWN where all its bits are set."""
    if position >= len(data):
        return 0, position
    size = 9 - data[position].bit_length()  # one more than there are zero bits before the first one
    bits = 7 * size
    number = int.from_bytes(data[position : position + size], "big") & ((1 << bits) - 1)
    return UNKNOWN if number == (1 << bits) - 1 else number, position + size


def _walk_flv(data: mmap.mmap, counts: collections.Counter) -> int | None:
    """Walk the tags of a Flash video; behind each one its length stands again."""
    position = FLV_HEADER_SIZE + 4
    while position + FLV_TAG <= len(data):
        after = position + FLV_TAG + int.from_bytes(data[position + 1 : position + 4], "big")
        if int.from_bytes(data[after : after + 4], "big") != after - position:
            return position
        position = after + 4
    return None


def _walk_ts(data: mmap.mmap, counts: collections.Counter) -> int | None:
    """Look for the first byte of each packet of an MPEG transport stream; count the time stamps of each stream.

    A part of a packet at either end of the file is no damage.
    """
    head = np.frombuffer(data[: 5 * TS_SIZES[-1]], np.uint8)
    starts = ((size, start) for size in TS_SIZES for start in range(size) if np.all(head[start::size] == TS_SYNC))
    size, start = next(starts, (0, 0))
    if not size:
        return 0
    num_packets = (len(data) - start) // size
    packets = np.frombuffer(data[start : start + num_packets * size], np.uint8).reshape(num_packets, size)
    is_packet = packets[:, 0] == TS_SYNC
    if not is_packet.all():
        return start + size * int(is_packet.argmin())
    for packet in map(bytes, packets[packets[:, 1] & TS_BEGINS > 0]):
        content = 5 + packet[4] if packet[3] & TS_ADAPTATION else 4
        if packet[content : content + 3] != PES_START or packet[content + 7 : content + 8] >= PES_TIMED:
            counts[(packet[1] & 0x1F) << 8 | packet[2]] += 1  # also where damage hides whether it has one
    return None


def _walk_ogg(data: mmap.mmap, counts: collections.Counter) -> int | None:
    """Walk the pages of an Ogg file (RFC 3533); each has a checksum and a number in its stream."""
    position, numbers = 0, {}
    while position < len(data):
        sizes = position + OGG_HEADER_SIZE  # one byte each, as many as the byte before them says
        content = sizes + data[min(sizes, len(data)) - 1]
        end = content + sum(data[sizes:content])
        page, number = data[position:end], int.from_bytes(data[position + 18 : position + 22], "little")
        stream = page[14:18]
        if not page.startswith(b"OggS") or end > len(data) or number not in (0, numbers.get(stream, number)):
            return position
        # The polynomial is zlib's, from the other end of each byte, and the checksum itself counts as 0.
        bits = (page[:22] + bytes(4) + page[26:]).translate(MIRRORED_BYTES)
        checksum = (zlib.crc32(bits, 0xFFFFFFFF) ^ 0xFFFFFFFF).to_bytes(4, "big").translate(MIRRORED_BYTES)
        if checksum != page[22:26]:
            return position
        numbers[stream], position = number + 1, end
    return None


def _walk_media(data: mmap.mmap, counts: collections.Counter) -> int | None:
    """Compare the tables of an mp4 or mov file with each other."""
    return find_wrong_table(data)


WALKS: dict[str, Callable] = {
    "avi": _walk_avi,
    "flv": _walk_flv,
    "matroska,webm": _walk_matroska,
    "mov,mp4,m4a,3gp,3g2,mj2": _walk_media,
    "mpegts": _walk_ts,
    "ogg": _walk_ogg,
}
