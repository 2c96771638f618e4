"""Live pictures: a camera, a network stream or a file that is still written, decoded in a thread of its own.

The thread goes on while the network computes. What it decodes waits in a buffer; where that is full, the oldest frame
is dropped and counted, so that an answer is never about frames that are long gone. A file loses no frame: its reader
waits.
"""

import collections
import logging
import os
import re
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import av
import cv2
import numpy as np
from av.stream import Disposition
from av.video.reformatter import VideoReformatter

from dataset.pictures import check_claim
from dataset.video_file import read_matrix, turn
from inference.drawing import choose_size

MAX_BUFFER_BYTES = 2**29
MAX_JUMP_S = 10  # of a stream's own clock, beyond which it was set anew
RETRY_S, POLL_S = 0.5, 0.1
SCHEMES = ("rtsp", "rtsps", "rtmp", "rtmps", "http", "https", "tcp", "udp", "rtp", "srt")
NETWORK_OPTIONS = {"rtsp_transport": "tcp", "analyzeduration": "1000000"}  # UDP loses packets; 1 s of looking


@dataclass
class LiveFrame:
    """A frame of a stream.

    Attributes:
        number: from 0, those that were dropped counted.
        time_s: when it is shown, in seconds from the first frame.
        arrival_s: when it was decoded, by `time.monotonic`.
        picture: uint8 RGB, of the size at which it is drawn.
        pixels: what the network's windows are made of: uint8 RGB, scaled as its reader scales; None: not needed.
        instances: the persons in `picture`, as tools/find_poses.py writes them.
    """

    number: int
    time_s: float
    arrival_s: float
    picture: np.ndarray
    pixels: np.ndarray | None
    instances: list | None = None


def is_address(text: str) -> bool:
    """Whether a text is a camera's number or the address of a stream, not a path."""
    return text.isdecimal() or text.partition("://")[0].lower() in SCHEMES


def hide_password(address: str) -> str:
    """Return an address without user and password, for the screen, the log and the json."""
    return re.sub(r"(?<=://)[^/@]*@", "", address)


class Clock:
    """Turns the times that a stream states into seconds from its first frame, which only grow.

    Where it states none, starts anew or jumps, the time of arrival takes over.
    """

    def __init__(self):
        self.start_s, self.last_s, self.offset_s = None, None, 0.0

    def find_time(self, stated_s: float | None, arrival_s: float) -> float:
        """Return the time of the next frame."""
        if self.start_s is None:
            self.start_s = arrival_s
        since_start_s = arrival_s - self.start_s
        stated_s = since_start_s if stated_s is None else stated_s
        time_s = stated_s + self.offset_s
        if self.last_s is None or not 0 < time_s - self.last_s <= MAX_JUMP_S:
            time_s = 0.0 if self.last_s is None else max(since_start_s, self.last_s + 0.001)
            self.offset_s = time_s - stated_s
        self.last_s = time_s
        return time_s

    def restart(self) -> None:
        """Place the next frame by its time of arrival: the stream was interrupted."""
        self.offset_s = float("nan")


class FrameBuffer:
    """Frames between the thread that decodes them and the one that scores them.

    Args:
        drops_oldest: where it is full; else `put` waits.

    Attributes:
        max_frames: that it holds.
        num_dropped: frames that nobody took.
        is_closed: no frame comes any more.
    """

    def __init__(self, drops_oldest: bool):
        self.drops_oldest, self.max_frames, self.num_dropped, self.is_closed = drops_oldest, 1, 0, False
        self._frames, self._changed = collections.deque(), threading.Condition()

    def put(self, frame: LiveFrame) -> None:
        """Add a frame."""
        with self._changed:
            while len(self._frames) >= self.max_frames and not self.is_closed:
                if self.drops_oldest:
                    self._frames.popleft()
                    self.num_dropped += 1
                else:
                    self._changed.wait()
            self._frames.append(frame)
            self._changed.notify_all()

    def take(self, timeout_s: float) -> LiveFrame | None:
        """Return the oldest frame; None if none comes in time."""
        with self._changed:
            self._changed.wait_for(lambda: self._frames or self.is_closed, timeout_s)
            frame = self._frames.popleft() if self._frames else None
            self._changed.notify_all()
            return frame

    def close(self) -> None:
        """Let nobody wait any more; what is there can still be taken."""
        with self._changed:
            self.is_closed = True
            self._changed.notify_all()

    @property
    def fill_ratio(self) -> float:
        """How full it is: 0 where no frame waits, 1 where the next one drops another."""
        with self._changed:
            return len(self._frames) / self.max_frames

    @property
    def is_over(self) -> bool:
        """Whether no frame is there, and none comes."""
        with self._changed:
            return self.is_closed and not self._frames


class GrowingFile:
    """A file that another program writes, for FFmpeg to read: its end waits until it has not grown for `timeout_s`."""

    def __init__(self, path: str, timeout_s: float, stopped: threading.Event):
        self.file, self.timeout_s, self.stopped = open(path, "rb"), timeout_s, stopped  # noqa: SIM115

    def read(self, num_bytes: int) -> bytes:
        """Return up to so many bytes; none at the end."""
        deadline_s = time.monotonic() + self.timeout_s
        while not (data := self.file.read(num_bytes)) and time.monotonic() < deadline_s:
            if self.stopped.wait(POLL_S):
                break
        return data

    def close(self) -> None:
        """Close the file."""
        self.file.close()


class LiveStream:
    """Decodes a stream in a thread, and connects again where it breaks.

    Args:
        address: a camera's number, an address with a scheme of `SCHEMES`, or the path of a growing file.
        timeout_s: without a frame for so long, the stream is over.
        fps: where the stream states none.
        window_s: the buffer holds frames of so many seconds, and
        min_frames: at least so many.
        scale: makes `LiveFrame.pixels` of a picture, uint8 RGB.

    Attributes:
        buffer: of frames.
        fps: frames a second, once the first has come.
        num_breaks: times that it came back after a break.
        num_damaged: packets that could not be decoded.
        failure: why it is over, if it did not just end.
    """

    def __init__(
        self, address: str, timeout_s: float, fps: float, window_s: float, min_frames: int, scale: Callable | None
    ):
        self.address, self.timeout_s, self.fps, self.scale = address, timeout_s, fps, scale
        self.window_s, self.min_frames, self.name = window_s, min_frames, hide_password(address)
        self.is_file = not is_address(address)
        self.is_paced = address.lower().startswith("http")  # a recording or its parts come faster than they are shown
        self.buffer, self.failure = FrameBuffer(drops_oldest=not self.is_file), None
        self.num_frames, self.num_breaks, self.num_damaged = 0, 0, 0
        self._stopped, self._clock, self._converter = threading.Event(), Clock(), VideoReformatter()
        self._last_s, self._matrix, self._is_recording = None, None, False
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Begin to decode.

        Raises:
            FileNotFoundError: no such camera.
        """
        if self.address.isdecimal() and sys.platform.startswith("linux"):
            device = f"/dev/video{self.address}"
            if not os.path.exists(device):
                raise FileNotFoundError(f"no camera {self.address}: there is no {device}; plug it in, or give another")
        self._last_s = time.monotonic()
        self._thread.start()

    def stop(self) -> None:
        """End decoding; a thread that waits for a silent network ends by itself, at its time-out."""
        self._stopped.set()
        self.buffer.close()
        self._thread.join(RETRY_S)

    def _run(self) -> None:
        """Read until the stream is over."""
        told = None
        try:
            while not self._stopped.is_set():
                num_before, why = self.num_frames, None
                try:
                    self._read()
                except (OSError, av.error.FFmpegError) as error:
                    why = _explain(error, self)
                if self.num_frames > num_before or num_before == 0:
                    self.failure = why  # what broke it, not what keeps it from coming back
                if self._is_over(why):
                    break
                if self.num_frames > num_before or why != told:
                    logging.warning(f"{self.name}: {why or 'it has ended'}; trying again for {self.timeout_s:g} s")
                told = why
                self._clock.restart()
                self._stopped.wait(RETRY_S)
        except Exception as error:  # noqa: BLE001  a thread must not end without a word
            self.failure = f"{type(error).__name__}: {error}"
        self.buffer.close()

    def _is_over(self, why: str | None) -> bool:
        has_ended = why is None and self.num_frames > 0 and (self.is_file or self._is_recording)
        return has_ended or time.monotonic() - self._last_s >= self.timeout_s

    def _read(self) -> None:
        """Connect, and decode until the stream ends.

        Raises:
            OSError: it breaks.
        """
        with self._open() as container:
            stream = self._choose_stream(container)
            self._is_recording = bool(container.duration) and not self.is_file
            self.fps = float(stream.average_rate or stream.guessed_rate or 0) or self.fps
            first_s, num_before = None, self.num_frames
            for packet in container.demux(stream):
                for frame in self._decode(packet):
                    if self.num_frames == num_before:
                        first_s = time.monotonic() - (frame.time or 0)
                        self.num_breaks += num_before > 0
                    if self.is_paced and frame.time is not None:
                        self._stopped.wait(max(0, first_s + frame.time - time.monotonic()))
                    self._add(frame)
                if self._stopped.is_set():
                    return

    def _open(self) -> av.container.InputContainer:
        if self.is_file:
            return av.open(GrowingFile(self.address, self.timeout_s, self._stopped), metadata_errors="replace")
        if self.address.isdecimal():
            systems = {"linux": ("v4l2", "/dev/video"), "darwin": ("avfoundation", ""), "win32": ("dshow", "video=")}
            kind, prefix = systems.get(sys.platform, systems["linux"])
            return av.open(prefix + self.address, format=kind, timeout=self.timeout_s)
        options = dict(NETWORK_OPTIONS) if self.address.lower().startswith("rtsp") else {}
        return av.open(self.address, options=options, timeout=self.timeout_s, metadata_errors="replace")

    def _choose_stream(self, container: av.container.InputContainer) -> av.video.stream.VideoStream:
        streams = [stream for stream in container.streams.video if stream.codec_context is not None]
        streams = [stream for stream in streams if not stream.disposition & Disposition.attached_pic]
        if not streams:
            raise OSError("there is no video in it")
        streams[0].thread_type = "SLICE"  # threads of frames would hold them back
        return streams[0]

    def _decode(self, packet: av.Packet) -> list:
        try:
            return packet.decode()
        except av.error.InvalidDataError:
            self.num_damaged += 1
            return []

    def _add(self, frame: av.VideoFrame) -> None:
        arrival_s = self._last_s = time.monotonic()
        check_claim((frame.height, frame.width), self.name)
        if frame.key_frame:
            self._matrix = read_matrix(frame)
        picture = self._converter.reformat(frame, format="bgr24", threads=1).to_ndarray()
        picture = cv2.cvtColor(picture if self._matrix is None else turn(picture, self._matrix), cv2.COLOR_BGR2RGB)
        pixels = None if self.scale is None else self.scale(picture)
        height, width = choose_size(*picture.shape[:2])
        if (height, width) != picture.shape[:2]:
            picture = cv2.resize(picture, (width, height), interpolation=cv2.INTER_LINEAR)
        num_bytes = picture.nbytes + (0 if pixels is None else pixels.nbytes)
        max_frames = max(self.min_frames, round(self.window_s * self.fps))
        self.buffer.max_frames = max(1, min(max_frames, MAX_BUFFER_BYTES // num_bytes))
        time_s = self._clock.find_time(frame.time, arrival_s)
        self.buffer.put(LiveFrame(self.num_frames, time_s, arrival_s, picture, pixels))
        self.num_frames += 1


def _explain(error: Exception, stream: LiveStream) -> str:
    if isinstance(error, av.error.ExitError):  # of PyAV's own time-out
        return f"no answer for {stream.timeout_s:g} s"
    if isinstance(error, av.error.InvalidDataError) and stream.is_file and stream.num_frames == 0:
        return "no video that can be read before it is finished, as an .mp4 cannot; let it be written as .mkv or .ts"
    return error.strerror or str(error)
