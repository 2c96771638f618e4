"""What the packets of a video stream say about themselves, by codec, without being decoded."""

import re
from collections.abc import Iterator

import av

from dataset.video_times import number_parts

# These may show frames in another order than they store them, and an .avi file does not say in which.
REORDERING = {"h264", "hevc", "mpeg1video", "mpeg2video", "mpeg4", "vc1", "wmv3"}
PARSED = {"h264", "hevc", "mpeg1video", "mpeg2video", "mpeg4", "png", "vp8", "vp9"}
ORDERED = {"av1", "mjpeg", "vp8", "vp9"}  # these show frames in the order in which they store them
VOP_TYPE = re.compile(rb"\x00\x00\x01\xb6(.)", re.DOTALL)  # MPEG-4 part 2: a picture begins, its type in two bits
B_VOP = 2
EMPTY_SIZE = 16  # bytes: a smaller MPEG-4 packet means that the encoder left a picture out
VP8_SHOWN = 0x10  # of the first byte: the frame is shown, not only referred to
# VP9: bit 3 of a frame's first byte, the bytes that such a frame has at most, the three bits that mark an index
VP9_REPEATS, VP9_REPEAT_SIZE, VP9_INDEX = 0x08, 8, 0b110
# MPEG-1 and MPEG-2: a group of pictures or a picture begins; the picture's number in its group, in ten bits
MPEG_START = re.compile(rb"\x00\x00\x01(?:(\xb8)|\x00(..))", re.DOTALL)


def is_parsed(codec: av.codec.Codec) -> bool:
    """Whether FFmpeg finds the key frames of a codec by itself, or each of its pictures is one."""
    return codec.intra_only or codec.name in PARSED


def find_hidden(codec_name: str, packets: list) -> set[int]:
    """Return the indices of packets that show no frame."""
    tests = {
        "mpeg4": lambda packet: packet.size < EMPTY_SIZE,
        "vp8": lambda packet: not bytes(packet)[0] & VP8_SHOWN,
    }
    is_empty = tests.get(codec_name, lambda packet: False)
    return {index for index, packet in enumerate(packets) if packet.is_discard or is_empty(packet)}


def find_fault(codec_name: str, packets: list) -> str:
    """Return what is wrong with packets that a decoder would accept; empty where nothing is."""
    if codec_name in ("mpeg1video", "mpeg2video"):
        index = _find_lost_picture(packets)
        return "" if index is None else f"a frame behind packet {index + 1} of {len(packets)} is missing"
    if codec_name == "vp9":
        wrong = (index for index, packet in enumerate(packets) if _repeats_by_mistake(bytes(packet)))
        return next((f"packet {index + 1} of {len(packets)} holds no frame" for index in wrong), "")
    return ""


def _repeats_by_mistake(data: bytes) -> bool:
    """Whether a frame in a packet of VP9 says that it repeats an old one, and is longer than that takes."""
    start = 0
    for size in _read_superframe(data):
        header = data[start] << 1 if data[start] >> 4 & 3 == 3 else data[start]  # profile 3 has a bit more
        if header & VP9_REPEATS and size > VP9_REPEAT_SIZE:
            return True
        start += size
    return False


def _read_superframe(data: bytes) -> list[int]:
    """Return the sizes of the frames in a packet of VP9, from the index behind them (VP9 specification, Annex B)."""
    num_frames, num_bytes = (data[-1] & 7) + 1, (data[-1] >> 3 & 3) + 1
    index = data[-2 - num_frames * num_bytes :]
    if data[-1] >> 5 != VP9_INDEX or index[0] != data[-1]:
        return [len(data)]
    starts = range(1, 1 + num_frames * num_bytes, num_bytes)
    sizes = [int.from_bytes(index[start : start + num_bytes], "little") for start in starts]
    return sizes if sum(sizes) + len(index) == len(data) else [len(data)]


def can_reorder(codec_name: str, packets: list) -> bool:
    """Whether frames may be shown in another order than they are decoded in."""
    if codec_name != "mpeg4":
        return codec_name in REORDERING
    return B_VOP in (ord(found) >> 6 for packet in packets for found in VOP_TYPE.findall(bytes(packet)))


def _find_lost_picture(packets: list) -> int | None:
    """Find a group of pictures of MPEG-1 or MPEG-2, which are numbered in each group, that lacks a number.

    A stream may begin behind the first pictures of a group and end before the last ones, also where files were joined,
    and not every encoder numbers them.

    Returns:
        the index of the group's first packet; None where no group lacks one.
    """
    parts = number_parts(packets)
    groups = list(_number_pictures(packets))
    edges = [None, *(parts[index] for index, _ in groups), None]
    for (index, numbers), before, after in zip(groups, edges, edges[2:], strict=False):
        shown = sorted(numbers)[: -1 if after != parts[index] else None]
        first = shown[0] if before != parts[index] and shown else 0
        if len(set(shown)) == len(shown) and shown != list(range(first, first + len(shown))):
            return index
    return None


def _number_pictures(packets: list) -> Iterator[tuple[int, list[int]]]:
    """Yield of each group of pictures the index of its first packet and the numbers of its pictures."""
    start, numbers = 0, []
    for index, packet in enumerate(packets):
        for found in MPEG_START.finditer(memoryview(packet)):
            if found[1] and numbers:
                yield start, numbers
                start, numbers = index, []
            if found[2]:
                numbers.append(int.from_bytes(found[2], "big") >> 6)
                break  # the second one is the other field of an interlaced picture
    yield start, numbers
