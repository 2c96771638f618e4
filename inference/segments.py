"""What was done when: neighbouring windows of one class as segments, in words and as csv."""

import csv
import itertools
import os
import textwrap
from dataclasses import dataclass

from common import files
from inference.drawing import Prediction, format_time

MAX_COLUMNS, MAX_LINES = 100, 12  # of segments on the screen; the csv has them all


@dataclass
class Segment:
    """A part of a video in which one class is the best.

    Attributes:
        start_s, end_s: in seconds from the first frame.
        name: of the class.
        score: its probability, the mean over the windows of the segment.
    """

    start_s: float
    end_s: float
    name: str
    score: float


def join_windows(windows: list[tuple]) -> list[Segment]:
    """Join neighbouring windows of one class; where two overlap, the segment changes in the middle between both.

    Args:
        windows: (start in s, end in s, class name, probability), in the order of time.
    """
    runs = []
    for window in windows:
        if not runs or runs[-1][-1][2] != window[2]:
            runs.append([])
        runs[-1].append(window)
    changes = [(_find_middle(left[-1]) + _find_middle(right[0])) / 2 for left, right in itertools.pairwise(runs)]
    edges = [windows[0][0], *changes, windows[-1][1]]
    return [
        Segment(start_s, end_s, run[0][2], sum(window[3] for window in run) / len(run))
        for start_s, end_s, run in zip(edges[:-1], edges[1:], runs, strict=True)
    ]


def _find_middle(window: tuple) -> float:
    return (window[0] + window[1]) / 2


def find_segments(prediction: Prediction) -> list[Segment]:
    """Return the segments of a prediction, whose edges are those of its time line."""
    find_time = prediction.find_time
    return join_windows(
        [(find_time(each.start), find_time(each.end), *each.ranking[0][1:]) for each in prediction.windows]
    )


def describe(segments: list[Segment]) -> list[str]:
    """Write segments in words, such as `0:00-0:22 Punch, 0:22-0:30 PushUps`; with tenths where one is short.

    Returns:
        Lines of at most `MAX_COLUMNS`, and `MAX_LINES` of them.
    """
    is_short = any(each.end_s - each.start_s < 1 for each in segments)
    words = [
        f"{format_time(each.start_s, is_short)}-{format_time(each.end_s, is_short)} {each.name}" for each in segments
    ]
    # A name's own blanks keep it on one line with its times.
    text = ", ".join(word.replace(" ", "\xa0") for word in words)
    lines = [line.replace("\xa0", " ") for line in textwrap.wrap(text, MAX_COLUMNS - 2, break_on_hyphens=False)]
    if len(lines) > MAX_LINES:
        lines[MAX_LINES - 1 :] = [f"and more, {len(segments)} in all; the csv has them"]
    return lines


def write_csv(path: str, segments: list[Segment]) -> None:
    """Write the rows start_s, end_s, class, score."""
    with files.write_atomically(path, "w") as file:
        file.write("\ufeff")  # the byte order mark tells spreadsheet programs the encoding
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["start_s", "end_s", "class", "score"])
        writer.writerows([f"{one.start_s:.3f}", f"{one.end_s:.3f}", one.name, f"{one.score:.4f}"] for one in segments)


def write_csv_of_windows(path: str, prediction: Prediction) -> None:
    """Write the segments of a video that was scored by windows; remove those of an earlier run if it was not."""
    if len(prediction.windows) > 1:
        write_csv(path, find_segments(prediction))
    elif os.path.exists(path):
        os.remove(path)
