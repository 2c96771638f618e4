"""Predict a stream while it runs: a window slides over its frames, and each change of the answer is a line.

Written are a video of what was seen, with the answer that was known at each time, a json with every window and a csv of
segments. Ctrl-C ends a stream like its own end: with whole files.
"""

import argparse
import collections
import contextlib
import logging
import math
import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator

from engine.run_settings import WINDOW_S
from inference import video_io
from inference.drawing import format_time
from inference.live.inputs import INPUTS, WindowSource
from inference.live.overlay import LiveOverlay, fit_picture
from inference.live.results import LiveAnswer, write_results
from inference.live.stream import POLL_S, LiveFrame, LiveStream, is_address
from inference.text_renderer import TextRenderer

MAX_FILL_RATIO = 0.5  # of the buffer, beyond which frames are scored but not drawn
MAX_GAP_S = 0.5  # between two frames of one window: longer, and the movement in it would not be one
ROUNDING_S = 0.001  # of the times that streams state


def find_stream(args: argparse.Namespace, reader_name: str) -> str | None:
    """Return the stream that the command line of predict.py names, or None where it names files.

    Raises:
        ValueError: several inputs, a flag that does not go with a stream, or a network that cannot see one.
    """
    named = [path for path in args.input if args.follow or (is_address(path) and not os.path.exists(path))]
    if not named:
        if args.every_s is not None:
            raise ValueError("--every_s is for streams; windows of a file overlap by half")
        return None
    if len(args.input) > 1:
        raise ValueError(f"--input {' '.join(args.input)}: one stream at a time; start predict.py once for each")
    given = [f"--{flag}" for flag in ("poses", "split", "image_size") if vars(args)[flag] is not None]
    if given:
        raise ValueError(f"{', '.join(given)}: of files only; a stream's key points are found while it runs")
    if reader_name not in INPUTS:
        raise ValueError(f"a stream is for networks that read {', '.join(INPUTS)}, this one reads {reader_name}")
    return named[0]


def name_output(address: str) -> str:
    """Return the name of the files: that of the stream, and when it began, so that no recording replaces another."""
    name = f"camera{address}" if address.isdecimal() else re.sub(r"^.*://([^/@]*@)?", "", address)
    name = name if is_address(address) else os.path.splitext(os.path.basename(address))[0]
    return re.sub(r"[^\w.-]+", "_", name).strip("_") + time.strftime("_%Y-%m-%d_%H-%M-%S")


class SlidingWindow:
    """The last frames of a stream, and when they are to be scored.

    Args:
        window_s: their length.
        every_s: from one window to the next.
        min_frames: that a window has, however long it takes.
    """

    def __init__(self, window_s: float, every_s: float, min_frames: int):
        self.window_s, self.every_s, self.min_frames = window_s, every_s, min_frames
        self.frames, self.num_new, self.next_s = collections.deque(), 0, 0.0

    def add(self, frame: LiveFrame, interval_s: float) -> bool:
        """Add a frame that is shown for `interval_s`; return whether the window is to be scored.

        A window does not reach over a break, nor over a change of the picture's size.
        """
        if self.frames and not self._continues(frame, interval_s):
            self.frames.clear()
        self.frames.append(frame)
        self.num_new += 1
        end_s = frame.time_s + interval_s + ROUNDING_S
        while len(self.frames) > self.min_frames and end_s - self.frames[1].time_s >= self.window_s:
            self.frames.popleft()
        is_full = len(self.frames) >= self.min_frames and end_s - self.frames[0].time_s >= self.window_s
        return is_full and frame.time_s + ROUNDING_S >= self.next_s

    def _continues(self, frame: LiveFrame, interval_s: float) -> bool:
        last = self.frames[-1]
        return frame.picture.shape == last.picture.shape and frame.time_s - last.time_s <= MAX_GAP_S + interval_s

    def mark_scored(self) -> None:
        """Note that these frames were scored; further windows keep their distance from the first one."""
        last_s = self.frames[-1].time_s
        self.num_new, num_steps = 0, max(1, math.ceil((last_s + ROUNDING_S - self.next_s) / self.every_s))
        self.next_s = last_s + self.every_s if self.next_s == 0 else self.next_s + num_steps * self.every_s


class LivePrediction:
    """Scores and draws the frames of a stream.

    Args:
        stream: that they come from.
        window: of its last frames.
        source: makes the views of a window, one of `INPUTS`.
        rank: ranks the classes of a `WindowSource`.
        renderer: has the letters of the class names.

    Attributes:
        answers: one for each window.
        num_frames: that it was given.
        num_undrawn: of these, which there was no time to draw.
        end_s: when the last of them ends.
    """

    def __init__(self, stream: LiveStream, window: SlidingWindow, source, rank: Callable, renderer: TextRenderer):
        self.stream, self.window, self.source, self.rank = stream, window, source, rank
        self.renderer, self.overlay, self.append, self.size = renderer, None, None, None
        self.answers, self.num_frames, self.num_undrawn, self.end_s = [], 0, 0, 0.0

    def add(self, frame: LiveFrame, video: contextlib.ExitStack, base: str) -> None:
        """Draw a frame, and score the window where it is time for it."""
        if self.append is None:
            self._open_video(frame, video, base)
        elif self.window.frames and frame.picture.shape != self.window.frames[-1].picture.shape:
            height, width = frame.picture.shape[:2]
            logging.warning(f"{format_time(frame.time_s)}  the picture has another size now, {width} x {height}")
        interval_s = 1 / self.stream.fps
        picture = fit_picture(self.source.observe(frame), self.size)
        is_due = self.window.add(frame, interval_s)
        self.num_frames, self.end_s = self.num_frames + 1, frame.time_s + interval_s
        if is_due and (self.stream.is_file or self._is_newest(frame)):
            self.score()
        if self._is_late():
            self.num_undrawn += 1
            return
        answer = self.answers[-1] if self.answers else None
        self.append(self.overlay.draw(picture, frame.time_s, answer, self.stream.buffer.num_dropped), frame.time_s)

    def _is_late(self) -> bool:
        """Whether drawing would cost frames that the next windows are made of."""
        return not self.stream.is_file and self.stream.buffer.fill_ratio > MAX_FILL_RATIO

    def _is_newest(self, frame: LiveFrame) -> bool:
        """Whether no newer frame waits, or the answer has become so late that it cannot wait for the newest one."""
        return self.stream.buffer.fill_ratio == 0 or frame.time_s > self.window.next_s + self.window.window_s

    def _open_video(self, frame: LiveFrame, video: contextlib.ExitStack, base: str) -> None:
        self.size = height, width = frame.picture.shape[:2]
        self.overlay = LiveOverlay(height, width, self.renderer)
        self.append = video.enter_context(video_io.write_webm(f"{base}.webm", self.stream.fps, height, width))
        window = self.window
        logging.info(
            f"{self.stream.name}: {width} x {height} at {self.stream.fps:g} frames a second; a window of "
            f"{window.window_s:g} s every {window.every_s:g} s"
        )

    def score(self) -> None:
        """Score the window; log a changed answer."""
        frames = list(self.window.frames)
        views = self.source.make_views(frames)
        source = views and WindowSource(self.stream.name, views, len(frames), self.stream.fps)
        ranking = self.rank(source) if source else []
        latency_s = time.monotonic() - frames[-1].arrival_s
        end_s = frames[-1].time_s + 1 / self.stream.fps
        answer = LiveAnswer(frames[0].time_s, end_s, len(frames), ranking, latency_s)
        if not self.answers or answer.name != self.answers[-1].name:
            dropped = self.stream.buffer.num_dropped
            told = f", {dropped} frames dropped" if dropped else ""
            logging.info(f"{format_time(end_s)}  {answer.describe():<30} {latency_s:.2f} s later{told}")
        self.answers.append(answer)
        self.window.mark_scored()

    def has_paused(self) -> bool:
        """Whether no frame has come for so long that the next one will be of another window; a file may be slow."""
        if self.stream.is_file or not self.answers:
            return False
        return time.monotonic() - self.window.frames[-1].arrival_s > self.window.every_s + MAX_GAP_S

    def score_rest(self) -> None:
        """Score the frames since the last window, too: one that is not full, if it is the only one."""
        if self.window.num_new and (not self.answers or len(self.window.frames) >= self.window.min_frames):
            self.score()


@contextlib.contextmanager
def stop_by_signal() -> Iterator[threading.Event]:
    """Yield an event that Ctrl-C or SIGTERM sets; a second one ends the process as it would without this."""
    stopped = threading.Event()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def stop(number: int, frame) -> None:
        signal.signal(number, before[number])
        stopped.set()

    try:
        for number in before:
            signal.signal(number, stop)
        yield stopped
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def predict_stream(args: argparse.Namespace, address: str, source, rank: Callable, renderer: TextRenderer) -> int:
    """Predict a stream until it ends or is stopped; return the exit status, 1 if it broke for good.

    Args:
        args: of predict.py.
        source: one of `INPUTS`; it is closed.
        rank: ranks the classes of a `WindowSource`.

    Raises:
        ValueError, OSError: the stream never started, or a frame could not be scored; what was seen is written.
    """
    window_s = args.window_s or WINDOW_S
    window = SlidingWindow(window_s, args.every_s or window_s / 2, source.min_frames)
    stream = LiveStream(address, args.timeout_s, args.fps, window_s, source.min_frames, source.scale)
    live = LivePrediction(stream, window, source, rank, renderer)
    base = os.path.join(args.save_dir, f"{name_output(address)}_predict")
    with contextlib.ExitStack() as opened:
        opened.callback(source.close)
        opened.callback(stream.stop)
        stopped = opened.enter_context(stop_by_signal())
        stream.start()
        logging.info(f"{stream.name}: waiting for frames, {args.timeout_s:g} s at most; Ctrl-C ends it")
        failure = _follow(live, stopped, base)
        if live.num_frames:
            write_results(base, live, vars(args))
    if failure:
        raise failure
    if not live.num_frames and not stopped.is_set():
        raise ValueError(f"{stream.name}: not one frame in {args.timeout_s:g} s: {stream.failure or 'it is empty'}")
    return 1 if stream.failure else 0


def _follow(live: LivePrediction, stopped: threading.Event, base: str) -> Exception | None:
    """Predict frames until there are no more; return what kept a frame from being scored or drawn."""
    stream, failure = live.stream, None
    with contextlib.ExitStack() as video:
        try:
            while not (stopped.is_set() or stream.buffer.is_over):
                frame = stream.buffer.take(POLL_S)
                if frame is not None:
                    live.add(frame, video, base)
                elif live.has_paused():
                    live.score_rest()
            stream.stop()
            live.score_rest()
        except (ValueError, FloatingPointError, OSError) as error:
            failure = error  # not through the stack: the video is to be whole
    if stream.failure:
        logging.error(f"{stream.name}: over, {stream.failure}; what was seen until then is kept")
    return failure
