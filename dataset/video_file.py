"""Video files: any frame by its number, exact to the frame, and nothing decoded that the frames asked for do not need.

A file is read once, still encoded, by FFmpeg (PyAV). Its packets, one per frame, show what headers do not: how many
frames there are, in which order they are shown, and at which of them decoding can start. Frames are counted, not timed:
a variable frame rate changes nothing, and frame k is the k-th that is shown.

OpenCV seeks by time, which misses frames where their rate varies, knows their number from headers alone, and does not
always turn a phone's video upright; decord 0.6 confuses frames in .avi files with B-frames and in open groups of
pictures.
"""

import bisect
import collections
import os
import struct
from collections.abc import Collection, Iterator, Sequence

import av
import numpy as np
from av.stream import Disposition
from av.video.reformatter import VideoReformatter

from dataset.pictures import check_claim
from dataset.video_bitstreams import ORDERED, can_reorder, find_fault, find_hidden, is_parsed
from dataset.video_containers import find_damage
from dataset.video_ends import find_end
from dataset.video_times import are_even, find_times, has_corrupt_packet, number_parts


class UnreadableVideoError(ValueError):
    """A file without a video, or a damaged one."""


class VideoFile:
    """The encoded frames of a video file, in memory; `decode` makes pictures of some.

    Args:
        path: of the file.

    Attributes:
        fps: frames a second, on average where the rate varies; 0 where nothing says it.
        times_s: when each frame is shown, in seconds from the first one, and when the last one ends; None where the
            rate is constant.

    Raises:
        UnreadableVideoError: the file has no video, no frame, or is cut off.
        OSError: it cannot be opened at all.
    """

    def __init__(self, path: str):
        self.path = path
        if os.path.getsize(path) == 0:
            raise UnreadableVideoError(f"{path}: the file is empty (0 bytes); get it again or take it out of the list")
        try:
            # Without "file:" the part before a colon would be a protocol; titles may be GBK.
            with av.open(f"file:{path}", metadata_errors="replace") as container:
                (stream, packets), self._format = self._read_packets(container), container.format.name
                rate = float(stream.average_rate or stream.guessed_rate or 0)
                num_stated, time_base = stream.frames, stream.time_base  # the stream ends with its container
                damage = find_damage(path, container, stream, len(packets))
                self._codec = stream.codec_context
                self._check_size()
                self._open_decoder()
        except av.error.FFmpegError as error:
            raise UnreadableVideoError(
                f"{path}: {os.path.getsize(path)} bytes that FFmpeg cannot read ({error.strerror}): cut off, damaged, "
                "or no video; get it again or take it out of the list"
            ) from error
        is_short = (num_stated == 0 or len(packets) < num_stated) and os.path.getsize(path) < find_end(path)
        if is_short or has_corrupt_packet(packets):
            raise UnreadableVideoError(f"{path}: cut off or damaged, {len(packets)} frames can be found; get it again")
        if damage:
            raise UnreadableVideoError(f"{path}: {damage}; get it again or take it out of the list")
        self._converter, self._matrix, self._first_size = VideoReformatter(), None, None
        stamps = self._index_packets(packets)
        self.fps, self.times_s = find_times(stamps, time_base, rate)
        if not len(self):
            raise UnreadableVideoError(f"{path}: the video has no frames; take it out of the list")

    def _check_size(self) -> None:
        self._stated_size = self._codec.width, self._codec.height
        try:
            check_claim(self._stated_size[::-1], self.path)
        except ValueError as error:
            raise UnreadableVideoError(str(error)) from error

    def __len__(self) -> int:
        return len(self._shown)

    def decode(self, numbers: Sequence[int], check_others: bool = False) -> Iterator[tuple[int, np.ndarray]]:
        """Decode frames.

        Args:
            numbers: of the frames, from 0, each once, in ascending order.
            check_others: decode the other frames too, only to refuse the file if one of them is damaged.

        Yields:
            the number and the picture, uint8 (H, W, 3) BGR, upright; in ascending order.

        Raises:
            UnreadableVideoError: a frame that cannot be decoded.
        """
        chosen = set(numbers)
        for number, frame in self._decode_frames(range(len(self)) if check_others else numbers):
            if number in chosen:
                yield number, self._convert(frame)

    def check(self) -> None:
        """Decode every frame, making no pictures.

        Raises:
            UnreadableVideoError: a frame that cannot be decoded.
        """
        for _ in self._decode_frames(range(len(self))):
            pass

    def _open_decoder(self) -> None:
        self._codec.thread_count = 1  # a reader process has one core; and `skip_frame` then holds for the next packet
        if self._codec.name == "mjpeg":  # else it returns an old picture, or none of this file, for a damaged one
            self._codec.options = {"err_detect": "explode"}
        self._codec.open(strict=False)  # before `skip_frame` is set, which the AV1 decoder would keep for good

    def _read_packets(self, container: av.container.InputContainer) -> tuple[av.video.stream.VideoStream, list]:
        """Return the first video stream of several pictures, and its packets; cover pictures are passed over."""
        streams = [stream for stream in container.streams.video if stream.codec_context is not None]
        streams = [stream for stream in streams if not stream.disposition & Disposition.attached_pic]
        if not streams:
            kinds = ", ".join(sorted({stream.type for stream in container.streams})) or "nothing"
            raise UnreadableVideoError(f"{self.path}: holds {kinds}, expected a video; take it out of the list")
        packets = {stream.index: [] for stream in streams}
        for packet in container.demux(streams):
            if packet.size:
                packets[packet.stream_index].append(packet)
        stream = next((stream for stream in streams if len(packets[stream.index]) > 1), streams[0])
        return stream, packets[stream.index]

    def _index_packets(self, packets: list) -> list | None:
        """Find out which packet is which frame; packets are in the order of decoding.

        Sets `_packets`, each with its index as its time, which FFmpeg passes on to the frame; `_keys`, the indices
        where decoding can start; `_ranks`, the rank of each index in display order; `_shown`, the packet index of each
        frame number; and `_is_counted`: only decoding shows that order, so frames are numbered as the decoder returns
        them.

        Returns:
            (part, time stamp) of each frame, see `number_parts`; None where they are not known.
        """
        keys = [index for index, packet in enumerate(packets) if packet.is_keyframe] or [0]
        if self._format == "avi" and len(keys) == len(packets) and not is_parsed(self._codec.codec):
            keys = keys[:1]  # without an index FFmpeg calls every packet a key frame
        is_even = are_even(packets)
        fault = find_fault(self._codec.name, packets[keys[0] :])
        if self._format == "avi" and keys[0]:  # elsewhere a file may begin in the midst of a stream
            fault = f"its first {keys[0]} frames cannot be decoded"
        if not is_even and any(packet.is_discard for packet in packets):
            fault = "its list of cuts leaves out frames by times that are wrong"
        if fault:
            raise UnreadableVideoError(f"{self.path}: damaged, {fault}; get it again")
        self._packets = packets = packets[keys[0] :]
        self._keys = [index - keys[0] for index in keys]
        stamps = [(part, packet.pts) for part, packet in zip(number_parts(packets), packets, strict=True)]
        has_stamps = all(packet.pts is not None for packet in packets)
        is_timed = self._format != "avi" and has_stamps and len(set(stamps)) == len(stamps) and is_even
        for index, packet in enumerate(packets):
            packet.pts = index
        hidden = find_hidden(self._codec.name, packets)
        can_be_reordered = can_reorder(self._codec.name, packets) and len(self._keys) < len(packets)
        self._is_counted = can_be_reordered and (not is_timed or (self._codec.name == "mpeg4" and bool(hidden)))
        if self._is_counted:
            self._shown = range(self._count_frames(hidden) if hidden else len(packets))
            return None
        is_sorted = is_timed and self._codec.name not in ORDERED  # there a time that goes back is none to go by
        order = sorted(range(len(packets)), key=stamps.__getitem__) if is_sorted else list(range(len(packets)))
        self._ranks = {index: rank for rank, index in enumerate(order)}
        hidden |= self._find_undecodable(order[: order.index(0)] if order else [])
        self._shown = [index for index in order if index not in hidden]
        return [stamps[index] for index in self._shown] if has_stamps else None

    def _count_frames(self, hidden: set[int]) -> int:
        """Decode all packets to count the frames, which may be more than the packets that are not `hidden`."""
        num_frames = sum(1 for _ in self._decode_run(0, len(self._packets) - 1, range(len(self._packets))))
        if num_frames < len(self._packets) - len(hidden):
            raise UnreadableVideoError(
                f"{self.path}: damaged, {num_frames} of {len(self._packets) - len(hidden)} frames can be decoded; "
                "get it again"
            )
        return num_frames

    def _find_undecodable(self, early: list) -> set:
        """Return those of the indices shown before the first key frame that need frames from before it."""
        if not early:
            return set()
        frames = self._decode_run(0, max(early), early)
        return set(early) - {index for index, frame in frames if not frame.is_corrupt}

    def _decode_frames(self, numbers: Sequence[int]) -> Iterator[tuple[int, av.VideoFrame]]:
        """Decode frames as `decode` does, but yield no pictures."""
        wanted = {self._shown[number]: number for number in numbers}
        order = collections.deque(wanted)
        for first, last in self._plan_runs(numbers):
            # A key frame may only say where pictures become whole again, a few frames later; those are missing then.
            previous = self._keys[max(0, bisect.bisect_left(self._keys, first) - 1)]
            for start in dict.fromkeys((first, previous, 0)):
                if (yield from self._decode_wanted(start, last, wanted, order)):
                    break
        if wanted:
            raise UnreadableVideoError(
                f"{self.path}: frame {min(wanted.values())} of {len(self)} cannot be decoded: damaged; get it again"
            )

    def _decode_wanted(self, first: int, last: int, wanted: dict, order: collections.deque) -> Iterator[tuple]:
        """Decode a run, yield (number, frame) of the wanted ones and take these out of `wanted` and `order`.

        Returns:
            whether none of the run is left; a later frame is not yielded before an earlier one, but from the start on.

        Raises:
            UnreadableVideoError: there is damage, and decoding began at the start.
        """
        try:
            for index, frame in self._decode_run(first, last, wanted):
                if index in wanted:
                    if index != order[0] and first:
                        return False
                    order.remove(index)
                    yield wanted.pop(index), frame
                if not wanted:
                    return True
        except UnreadableVideoError:
            if not first:
                raise
        return not order or order[0] > last

    def _plan_runs(self, numbers: Sequence[int]) -> list:
        """Return the first and the last index of each run of packets that must be decoded for some frames."""
        if self._is_counted:
            return [(0, len(self._packets) - 1)]
        runs = []
        for number in numbers:
            last = self._shown[number]
            key = bisect.bisect(self._keys, last) - 1
            while key and self._ranks[self._keys[key]] > self._ranks[last]:
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
        num_frames, skipped = 0, None
        try:
            for index in range(first, last + 2):
                packet = self._packets[index] if index <= last else None  # None flushes the decoder
                skip = "DEFAULT" if self._is_counted or index in wanted else "NONREF"  # those that no other refers to
                if skip != skipped:
                    self._codec.skip_frame = skipped = skip
                for frame in self._codec.decode(packet):
                    if frame.is_corrupt and self._can_decode(frame.pts, first):
                        raise UnreadableVideoError(
                            f"{self.path}: packet {frame.pts + 1} of {len(self._packets)} is damaged; get it again"
                        )
                    if frame.key_frame or num_frames == 0:  # to look at every frame takes a tenth of decoding it
                        self._matrix = read_matrix(frame)
                    yield (num_frames if self._is_counted else frame.pts), frame
                    num_frames += 1
        except av.error.FFmpegError as error:
            raise UnreadableVideoError(
                f"{self.path}: packet {index + 1} of {len(self._packets)} is damaged ({error.strerror}); get it again"
            ) from error

    def _can_decode(self, index: int, first: int) -> bool:
        """Whether a frame has what it refers to when decoding starts at `first`, a key frame."""
        return self._is_counted or self._ranks[index] >= self._ranks[first]

    def _convert(self, frame: av.VideoFrame) -> np.ndarray:
        size = frame.width, frame.height
        width, height = size if size == self._stated_size else self._find_first_size()
        picture = self._converter.reformat(frame, width, height, "bgr24", threads=1).to_ndarray()
        return picture if self._matrix is None else turn(picture, self._matrix)

    def _find_first_size(self) -> tuple[int, int]:
        """Return (width, height) of the first frame, to which FFmpeg scales those that have another size."""
        if self._first_size is None:
            _, frame = next(VideoFile(self.path)._decode_frames([0]))  # this decoder is in the midst of a run
            self._first_size = frame.width, frame.height
        return self._first_size


def read_matrix(frame: av.VideoFrame) -> tuple | None:
    """Return the display matrix of a frame, see `turn`; None where it has none."""
    matrix = frame.side_data.get("DISPLAYMATRIX")
    return None if matrix is None else struct.unpack("=9i", bytes(matrix))


def turn(picture: np.ndarray, matrix: tuple) -> np.ndarray:
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
