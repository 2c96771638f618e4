"""Neighbouring windows of one class as segments: edges, words and csv."""

import pytest
from saved_models import make_prediction

from inference import segments
from inference.drawing import Prediction, Window
from inference.segments import Segment


def test_windows_of_one_class_are_joined_where_the_time_line_changes():
    windows = [Window(0, 50, [(0, "Punch", 0.9)]), Window(25, 75, [(0, "Punch", 0.7)])]
    windows += [Window(50, 100, [(1, "Push ups", 0.6)]), Window(75, 125, [(0, "Punch", 0.5)])]
    prediction = Prediction("clip", 125, 25, [], windows)
    found = segments.find_segments(prediction)  # middles at 1, 2, 3 and 4 s
    assert [(one.start_s, one.end_s, one.name) for one in found] == [
        (0, 2.5, "Punch"),
        (2.5, 3.5, "Push ups"),
        (3.5, 5, "Punch"),
    ]
    assert [one.score for one in found] == pytest.approx([0.8, 0.6, 0.5])
    for index in range(125):
        name = prediction.find_window(index).ranking[0][1]
        assert name in [one.name for one in found if one.start_s <= index / 25 <= one.end_s]


def test_one_window_is_one_segment():
    assert segments.find_segments(make_prediction(100, (0,))) == [Segment(0, 4, "Class0", 0.6)]


def test_segments_in_words():
    said = segments.describe([Segment(0, 21.6, "Punch", 1), Segment(21.6, 3630.6, "Push ups", 1)])
    assert said == ["0:00-0:22 Punch, 0:22-1:00:31 Push ups"]
    assert segments.describe([Segment(0, 0.5, "A", 1), Segment(0.5, 2, "B", 1)]) == ["0:00.0-0:00.5 A, 0:00.5-0:02.0 B"]


def test_many_segments_are_lines_that_fit_a_screen_and_do_not_tear_a_name():
    long = [Segment(2 * index, 2 * index + 2, f"A long name {index}", 1) for index in range(20)]
    lines = segments.describe(long)
    assert len(lines) > 3 and max(map(len, lines)) <= 98
    assert all(line.removesuffix(",").split(", ")[-1].count(" ") == 4 for line in lines)
    assert " ".join(lines) == ", ".join(
        f"0:{one.start_s:02d}-{one.end_s // 60}:{one.end_s % 60:02d} {one.name}" for one in long
    )
    lines = segments.describe(30 * long)
    assert len(lines) == segments.MAX_LINES and lines[-1] == "and more, 600 in all; the csv has them"


def test_the_csv_has_a_row_each(tmp_path):
    segments.write_csv(tmp_path / "a.csv", [Segment(0, 2.5, "Punch, hard", 0.81234), Segment(2.5, 4, "打篮球", 1)])
    assert (tmp_path / "a.csv").read_text(encoding="utf-8") == (
        '\ufeffstart_s,end_s,class,score\n0.000,2.500,"Punch, hard",0.8123\n2.500,4.000,打篮球,1.0000\n'
    )
