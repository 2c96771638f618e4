"""Progress without a terminal: lines, the first one soon, and none where it is quick."""

import logging

import pytest

from inference import progress


@pytest.mark.parametrize("show", [progress.show_progress, progress.log_progress])
def test_lines_tell_how_far_it_is_where_it_takes_time(show, monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    now_s = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now_s[0])
    for number in show(range(40), "draw", 40, "frame"):
        assert number == round((now_s[0] - 100) / 0.5)
        now_s[0] += 0.5
    assert caplog.messages == ["draw: 4 of 40 frames", "draw: 24 of 40 frames"]  # after 2 s and 12 s


def test_what_is_quick_says_nothing(caplog):
    caplog.set_level(logging.INFO)
    assert list(progress.show_progress(range(40), "draw", 40, "frame")) == list(range(40))
    assert caplog.messages == []


def test_a_terminal_has_a_bar(monkeypatch, capsys):
    monkeypatch.setattr(progress.sys.stdout, "isatty", lambda: True, raising=False)
    assert list(progress.show_progress(range(40), "draw", 40, "frame")) == list(range(40))
    assert "draw:" in capsys.readouterr().err
