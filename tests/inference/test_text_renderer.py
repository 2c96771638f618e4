"""Text in pictures: fonts, missing letters, long names."""

import os

import matplotlib
import numpy as np
from matplotlib import font_manager
from PIL import Image, ImageDraw

from inference.text_renderer import TextRenderer

FONTS = os.path.join(matplotlib.get_data_path(), "fonts", "ttf")


def test_a_name_that_is_too_long_is_shortened_and_stays_in_its_width():
    renderer = TextRenderer("abc")
    picture = Image.new("RGB", (300, 40))
    renderer.write(ImageDraw.Draw(picture), (0, 20), "a very long name of a class " * 3, 16, 120)
    columns = np.asarray(picture).any(axis=(0, 2))
    assert columns[:110].any() and not columns[122:].any()


def test_latin_letters_need_no_system_font():
    assert TextRenderer("Überkopf façade žluťoučký Привет").path.endswith("DejaVuSans.ttf")


def test_a_font_of_the_system_is_taken_for_letters_that_the_own_one_lacks(tmp_path, monkeypatch):
    (tmp_path / "broken.ttf").write_bytes(b"not a font")
    fonts = [str(tmp_path / "broken.ttf"), os.path.join(FONTS, "DejaVuSansMono.ttf")]
    monkeypatch.setattr(font_manager, "findSystemFonts", lambda: fonts)
    arc = chr(0x2312)
    assert TextRenderer(f"arc {arc}").path == fonts[1]
    assert TextRenderer(f"arc {arc}").clean(f"arc {arc}") == f"arc {arc}"


def test_letters_of_no_font_become_question_marks(monkeypatch):
    monkeypatch.setattr(font_manager, "findSystemFonts", lambda: [])
    assert TextRenderer("打篮球 throw").clean("打篮球 throw") == "??? throw"


def test_line_breaks_in_a_name_become_blanks():
    assert TextRenderer("ab").clean("a\n b\t") == "a b"
