"""The font of what is drawn, for Pillow and for matplotlib."""

import os
import warnings

import matplotlib
import numpy as np
import pytest
from matplotlib import font_manager

from common.fonts import Font
from engine import report

FONTS = os.path.join(matplotlib.get_data_path(), "fonts", "ttf")
ARC = chr(0x2312)  # which DejaVu Sans lacks and DejaVu Sans Mono has


@pytest.mark.parametrize(
    "name, advice",
    [
        ("打篮球 throw", "no font here has 打球篮 (drawn as ?): `apt-get install fonts-wqy-microhei`, or"),
        (f"{ARC}", f"has {ARC} (drawn as ?): put a font file that has them into"),
        ("甲乙丙丁戊己", "no font here has 丁丙乙己戊... (drawn"),
    ],
)
def test_one_line_says_what_brings_the_missing_letters(monkeypatch, caplog, name, advice):
    monkeypatch.setattr(font_manager, "findSystemFonts", lambda: [])
    Font(name)
    assert len(caplog.messages) == 1 and advice in caplog.messages[0]


def test_letters_that_are_there_need_no_line(caplog):
    assert Font("Überkopf\nПривет").clean("Über\nПривет") == "Über Привет"
    assert not caplog.messages


def test_the_confusion_picture_finds_a_font_too(monkeypatch, caplog):
    monkeypatch.setattr(font_manager, "findSystemFonts", lambda: [os.path.join(FONTS, "DejaVuSansMono.ttf")])
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # matplotlib warns of each letter that it draws as a box
        picture = report.draw_confusion(np.eye(2, dtype=int), [f"arc {ARC}", r"$\nonsense$ 5 $"])
    assert picture.std() > 10 and not caplog.messages


def test_the_confusion_picture_has_no_boxes_and_no_warning_of_matplotlib_without_a_font(monkeypatch, caplog):
    monkeypatch.setattr(font_manager, "findSystemFonts", lambda: [])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        boxes, marks = (report.draw_confusion(np.eye(2, dtype=int), ["a", name]) for name in ("打球", "??"))
    assert np.array_equal(boxes, marks) and len(caplog.messages) == 1
