"""Text of any alphabet in pictures, by a font that has its letters."""

import os

import matplotlib
import numpy as np
from matplotlib.ft2font import FT2Font
from PIL import ImageDraw, ImageFont

WHITE = (255, 255, 255)


class TextRenderer:
    """Draws text by matplotlib's font or, if that lacks letters, by a font of this system; what is missing becomes `?`.

    Args:
        alphabet: text with every letter that will be drawn, by which the font is chosen.
    """

    def __init__(self, alphabet: str):
        self.path = _find_font(alphabet)
        self.letters = _list_letters(self.path)
        self.sizes = {}

    def clean(self, text: str) -> str:
        """Replace letters that the font lacks."""
        return "".join(letter if ord(letter) in self.letters else "?" for letter in " ".join(text.split()))

    def font(self, size: int) -> ImageFont.FreeTypeFont:
        """Return the font at a height in pixels."""
        if size not in self.sizes:
            self.sizes[size] = ImageFont.truetype(self.path, size)
        return self.sizes[size]

    def measure(self, text: str, size: int) -> int:
        """Return the width of a text in pixels."""
        return int(np.ceil(self.font(size).getlength(self.clean(text))))

    def write(self, draw: ImageDraw.ImageDraw, position: tuple, text: str, size: int, width: float, **options) -> None:
        """Write one line, shortened to `width` pixels; `position` is its left middle, or by `anchor` another point."""
        text = self.clean(text)
        if self.measure(text, size) > width:
            while text and self.measure(text + "…", size) > width:
                text = text[:-1]
            text = self.clean(text.rstrip() + "…")
        draw.text(position, text, font=self.font(size), **{"fill": WHITE, "anchor": "lm", **options})


def _find_font(alphabet: str) -> str:
    needed = {ord(letter) for letter in alphabet + "0123456789.%:/?"}
    shipped = os.path.join(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")
    if needed <= _list_letters(shipped):
        return shipped
    from matplotlib import font_manager  # lists all fonts of the system, which takes seconds the first time

    # The last-resort font of macOS has every letter, each as a box.
    fonts = [path for path in sorted(font_manager.findSystemFonts()) if "LastResort" not in path]
    return max([shipped, *fonts], key=lambda path: (len(needed & _list_letters(path)), "Regular" in path))


def _list_letters(path: str) -> set:
    try:
        return set(FT2Font(path).get_charmap())
    except (RuntimeError, OSError):  # a bitmap font or a damaged file: no letter is usable
        return set()
