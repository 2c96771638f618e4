"""What is left of a stream: every window as json, its segments as csv, and a summary in words."""

import json
import logging
import statistics
from dataclasses import dataclass

from common import files
from inference import segments
from inference.drawing import format_time

NOBODY = "nobody is seen"


@dataclass
class LiveAnswer:
    """The answer for one window of a stream.

    Attributes:
        start_s, end_s: of the window, from the first frame of the stream.
        num_frames: in it.
        ranking: (label, class name, probability) of the best classes, the best first; empty where nobody is seen.
        latency_s: from the arrival of its last frame to the answer.
    """

    start_s: float
    end_s: float
    num_frames: int
    ranking: list
    latency_s: float

    @property
    def name(self) -> str:
        """The best class."""
        return self.ranking[0][1] if self.ranking else NOBODY

    def describe(self) -> str:
        """Return the best class and its probability."""
        return f"{self.name} {100 * self.ranking[0][2]:.0f}%" if self.ranking else NOBODY


def find_segments(answers: list[LiveAnswer]) -> list[segments.Segment]:
    """Return the segments of windows; none reaches over a time of which no window is known, or where nobody is."""
    runs, end_s = [], None
    for answer in answers:
        if answer.ranking:
            if end_s is None or answer.start_s > end_s:
                runs.append([])
            runs[-1].append((answer.start_s, answer.end_s, *answer.ranking[0][1:]))
        end_s = answer.end_s if answer.ranking else None
    return [segment for run in runs for segment in segments.join_windows(run)]


def write_results(base: str, live, flags: dict) -> None:
    """Write json and csv of a `LivePrediction`, and log a summary.

    Args:
        base: path without suffix.
        flags: of predict.py.
    """
    found = find_segments(live.answers)
    with files.write_atomically(f"{base}.json") as file:
        file.write(json.dumps(_describe(live, flags), ensure_ascii=False, indent=1).encode())
    segments.write_csv(f"{base}.csv", found)
    _log_totals(live)
    for line in segments.describe(found) if found else []:
        logging.info(f"  {line}")
    logging.info(f"written: {base}.webm, .json, .csv")


def _describe(live, flags: dict) -> dict:
    stream, window = live.stream, live.window
    return {
        "input": stream.name,
        "weights": flags["exported"] or flags["weights"],
        "num_frames": live.num_frames,
        "num_dropped": stream.buffer.num_dropped,
        "num_undrawn": live.num_undrawn,
        "num_damaged": stream.num_damaged,
        "num_breaks": stream.num_breaks,
        "fps": stream.fps,
        "window_s": window.window_s,
        "every_s": window.every_s,
        "windows": [
            {
                "start_s": round(answer.start_s, 3),
                "end_s": round(answer.end_s, 3),
                "num_frames": answer.num_frames,
                "latency_s": round(answer.latency_s, 3),
                "top_k": [
                    {"class": name, "label": label, "probability": round(probability, 6)}
                    for label, name, probability in answer.ranking
                ],
            }
            for answer in live.answers
        ],
    }


def _log_totals(live) -> None:
    stream = live.stream
    seen = f"{format_time(live.end_s)}, {live.num_frames} frames, {stream.buffer.num_dropped} dropped"
    for count, what in (
        (live.num_undrawn, "not drawn"),
        (stream.num_breaks, "breaks"),
        (stream.num_damaged, "damaged"),
    ):
        seen += f", {count} {what}" if count else ""
    logging.info(f"{stream.name}: {seen}, {len(live.answers)} windows")
    if live.answers:
        latencies_s = [answer.latency_s for answer in live.answers]
        median_s, max_s = statistics.median(latencies_s), max(latencies_s)
        logging.info(f"  from the last frame of a window to its answer: {median_s:.2f} s, at most {max_s:.2f} s")
