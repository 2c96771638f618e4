"""Video files: any frame by its number, exact to the frame, and nothing decoded that the frames asked for do not need.

A file is read once, still encoded, by FFmpeg (PyAV). Its packets, one per frame, show what headers do not: how many
frames there are, in which order they are shown, and at which of them decoding can start. Frames are counted, not timed:
a variable frame rate changes nothing, and frame k is the k-th that is shown.

OpenCV seeks by time, which misses frames where their rate varies, knows their number from headers alone, and does not
always turn a phone's video upright; decord 0.6 confuses frames in .avi files with B-frames and in open groups of
pictures.
"""

import bisect
import os
import re
import struct
from collections.abc import Collection, Iterator, Sequence

import av
import numpy as np
from av.video.reformatter import VideoReformatter

# These may show frames in another order than they store them, and an .avi file does not say in which.
REORDERING = {"h264", "hevc", "mpeg1video", "mpeg2video", "mpeg4", "vc1", "wmv3"}
VOP_TYPE = re.compile(rb"\x00\x00\x01\xb6(.)", re.DOTALL)  # MPEG-4 part 2: a picture begins, its type in two bits
B_VOP = 2
MAX_PIXELS = 2**27  # of a frame: four times 8K
EMPTY_SIZE = 16  # bytes: a smaller MPEG-4 packet means that the encoder left a picture out
VP8_SHOWN = 0x10  # of the first byte: the frame is shown, not only referred to
EBML_START, SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"  # of Matroska and WebM


class UnreadableVideoError(ValueError):
    """A file without a video, or a damaged one."""


class VideoFile:
    """The encoded frames of a video file, in memory; `decode` makes pictures of some.

    Args:
        path: of the file.

    Attributes:
        fps: frames a second, on average where the rate varies; 0 where nothing says it.

    Raises:
        UnreadableVideoError: the file has no video, no frame, or is cut off.
        OSError: it cannot be opened at all.
    """

    def __init__(self, path: str):
        self.path = path
        if os.path.getsize(path) == 0:
            raise UnreadableVideoError(f"{path}: the file is empty (0 bytes); get it again or take it out of the list")
        try:
            with av.open(f"file:{path}") as container:  # else the part before a colon would be a protocol
                stream, self._format = self._find_stream(container), container.format.name
                packets = [packet for packet in container.demux(stream) if packet.size]
                num_stated, self.fps = stream.frames, find_rate(stream, packets)
        except av.error.FFmpegError as error:
            raise UnreadableVideoError(
                f"{path}: {os.path.getsize(path)} bytes that FFmpeg cannot read ({error.strerror}): cut off, damaged, "
                "or no video; get it again or take it out of the list"
            ) from error
        is_short = (num_stated == 0 or len(packets) < num_stated) and os.path.getsize(path) < _find_end(path)
        if is_short or any(packet.is_corrupt for packet in packets):
            raise UnreadableVideoError(f"{path}: cut off or damaged, {len(packets)} frames can be found; get it again")
        self._codec = stream.codec_context
        if self._codec.width * self._codec.height > MAX_PIXELS:
            size = f"{self._codec.width} x {self._codec.height}"
            raise UnreadableVideoError(f"{path}: claims to be {size}, too large for a frame; get it again")
        self._codec.thread_count = 1  # a reader process has one core; and `skip_frame` then holds for the next packet
        self._codec.open(strict=False)  # before `skip_frame` is set, which the AV1 decoder would keep for good
        self._converter = VideoReformatter()
        self._index_packets(packets)
        if not len(self):
            raise UnreadableVideoError(f"{path}: the video has no frames; take it out of the list")

    def __len__(self) -> int:
        return len(self._shown)

    def decode(self, numbers: Sequence[int]) -> Iterator[tuple[int, np.ndarray]]:
        """Decode frames.

        Args:
            numbers: of the frames, from 0, each once, in ascending order.

        Yields:
            the number and the picture, uint8 (H, W, 3) BGR, upright; in ascending order.

        Raises:
            UnreadableVideoError: a frame that cannot be decoded.
        """
        wanted = {self._shown[number]: number for number in numbers}
        for first, last in self._plan_runs(numbers):
            for index, frame in self._decode_run(first, last, wanted):
                if index in wanted:
                    yield wanted.pop(index), self._convert(frame)
                if not wanted:
                    return
        if wanted:
            raise UnreadableVideoError(
                f"{self.path}: frame {min(wanted.values())} of {len(self)} cannot be decoded: damaged; get it again"
            )

    def check(self) -> None:
        """Decode every frame, making no pictures.

        Raises:
            UnreadableVideoError: a frame that cannot be decoded.
        """
        every = set(self._shown)
        missing = every - {index for index, _ in self._decode_run(0, len(self._packets) - 1, every)}
        if missing:
            raise UnreadableVideoError(
                f"{self.path}: {len(missing)} of {len(self)} frames cannot be decoded: damaged; get it again"
            )

    def _find_stream(self, container: av.container.InputContainer) -> av.video.stream.VideoStream:
        for stream in container.streams.video:
            if stream.codec_context is not None:
                return stream
        kinds = ", ".join(sorted({stream.type for stream in container.streams})) or "nothing"
        raise UnreadableVideoError(f"{self.path}: holds {kinds}, expected a video; take it out of the list")

    def _index_packets(self, packets: list) -> None:
        """Find out which packet is which frame; packets are in the order of decoding.

        Sets `_packets`, each with its index as its time, which FFmpeg passes on to the frame; `_keys`, the indices
        where decoding can start; `_ranks`, the rank of each index in display order; `_shown`, the packet index of each
        frame number; and `_is_counted`: only decoding shows that order, so frames are numbered as the decoder returns
        them.
        """
        keys = [index for index, packet in enumerate(packets) if packet.is_keyframe] or [0]
        self._packets = packets = packets[keys[0] :]
        self._keys = [index - keys[0] for index in keys]
        times = [packet.pts for packet in packets]
        for index, packet in enumerate(packets):
            packet.pts = index
        is_timed = self._format != "avi" and None not in times and len(set(times)) == len(times)
        hidden = self._find_hidden()
        self._is_counted = self._can_reorder() and (not is_timed or (self._codec.name == "mpeg4" and bool(hidden)))
        if self._is_counted:
            every = range(len(packets))
            self._shown = range(sum(1 for _ in self._decode_run(0, len(packets) - 1, every))) if hidden else every
            return
        order = sorted(range(len(packets)), key=times.__getitem__) if is_timed else list(range(len(packets)))
        order = order[order.index(0) :] if order else []  # what is shown before the first key frame cannot be decoded
        self._ranks = {index: rank for rank, index in enumerate(order)}
        self._shown = [index for index in order if index not in hidden]

    def _find_hidden(self) -> set:
        """Return the indices of packets that show no frame."""
        tests = {
            "mpeg4": lambda packet: packet.size < EMPTY_SIZE,
            "vp8": lambda packet: not bytes(packet)[0] & VP8_SHOWN,
        }
        is_empty = tests.get(self._codec.name, lambda packet: False)
        return {index for index, packet in enumerate(self._packets) if packet.is_discard or is_empty(packet)}

    def _can_reorder(self) -> bool:
        """Whether frames may be shown in another order than they are decoded in."""
        if self._codec.name not in REORDERING or len(self._keys) == len(self._packets):
            return False
        if self._codec.name != "mpeg4":
            return True
        types = (ord(found) >> 6 for packet in self._packets for found in VOP_TYPE.findall(bytes(packet)))
        return B_VOP in types

    def _plan_runs(self, numbers: Sequence[int]) -> list:
        """Return the first and the last index of each run of packets that must be decoded for some frames."""
        if self._is_counted:
            return [(0, len(self._packets) - 1)]
        runs = []
        for number in numbers:
            last = self._shown[number]
            key = bisect.bisect(self._keys, last) - 1
            while self._ranks.get(self._keys[key], len(self._packets)) > self._ranks[last]:
                key -= 1  # stored behind a key frame that is shown later: an open group of pictures
            first = self._keys[key]
            if runs and first <= runs[-1][1] + 1:
                runs[-1] = (min(runs[-1][0], first), max(runs[-1][1], last))
            else:
                runs.append((first, last))
        return runs

    def _decode_run(self, first: int, last: int, wanted: Collection[int]) -> Iterator[tuple[int, av.VideoFrame]]:
        """Decode the packets from `first` to `last`; yield frames, among them all `wanted` ones, with their indices."""
        self._codec.flush_buffers()
        num_frames = 0
        try:
            for index in range(first, last + 2):
                packet = self._packets[index] if index <= last else None  # None flushes the decoder
                # Frames that no other one refers to are skipped.
                self._codec.skip_frame = "DEFAULT" if self._is_counted or index in wanted else "NONREF"
                for frame in self._codec.decode(packet):
                    if frame.is_corrupt and self._can_decode(frame.pts, first):
                        raise UnreadableVideoError(
                            f"{self.path}: packet {frame.pts + 1} of {len(self._packets)} is damaged; get it again"
                        )
                    yield (num_frames if self._is_counted else frame.pts), frame
                    num_frames += 1
        except av.error.FFmpegError as error:
            raise UnreadableVideoError(
                f"{self.path}: packet {index + 1} of {len(self._packets)} is damaged ({error.strerror}); get it again"
            ) from error

    def _can_decode(self, index: int, first: int) -> bool:
        """Whether a frame has what it refers to when decoding starts at `first`, a key frame."""
        return self._is_counted or self._ranks.get(index, -1) >= self._ranks[first]

    def _convert(self, frame: av.VideoFrame) -> np.ndarray:
        picture = self._converter.reformat(frame, format="bgr24", threads=1).to_ndarray()
        matrix = frame.side_data.get("DISPLAYMATRIX")
        return picture if matrix is None else _turn(picture, struct.unpack("=9i", bytes(matrix)))


def _turn(picture: np.ndarray, matrix: tuple) -> np.ndarray:
    """Turn a picture by the display matrix of its file: by quarters, mirrored or not.

    Args:
        picture: (H, W, 3).
        matrix: nine numbers; with x to the right and y down, x' = matrix[0] * x + matrix[3] * y, y' = matrix[1] * x +
            matrix[4] * y (ISO/IEC 14496-12, section 8.3.2).
    """
    x_sign, y_sign = matrix[0], matrix[4]
    if abs(matrix[0]) < abs(matrix[1]):
        picture, x_sign, y_sign = picture.swapaxes(0, 1), matrix[3], matrix[1]
    picture = picture[:, ::-1] if x_sign < 0 else picture
    return np.ascontiguousarray(picture[::-1] if y_sign < 0 else picture)


def find_rate(stream: av.video.stream.VideoStream, packets: list) -> float:
    """Return the frames a second that a stream states, or where its time stamps say another number, theirs."""
    stated = float(stream.average_rate or stream.guessed_rate or 0)
    times = sorted({packet.pts for packet in packets if packet.pts is not None})
    if len(times) < 2 or stream.time_base is None:
        return stated
    steps = np.diff(times)
    if stated and steps.max() < 1.5 * steps.min():  # nothing varies but by rounding
        return stated
    return float((len(times) - 1) / ((times[-1] - times[0]) * stream.time_base))


def _find_end(path: str) -> int:
    """Return the length of a file in bytes as its container states it; 0 where it does not."""
    with open(path, "rb") as file:
        head = file.read(4096)
    if head.startswith(b"RIFF"):
        return 8 + struct.unpack_from("<I", head, 4)[0]
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
