"""A font that has the letters of a text, for whatever is drawn: matplotlib's own one, else one of this system."""

import logging
import os

import matplotlib
from matplotlib.ft2font import FT2Font

DIGITS = "0123456789.%:/?"  # that are drawn beside any text
CHINESE = range(0x2E80, 0xA000)  # and what else of Unicode stands there, such as Japanese
MAX_SHOWN = 5  # letters in a message


class Font:
    """The font that has most letters of an alphabet; what it lacks becomes `?`, of which one line is logged.

    Args:
        alphabet: text with every letter that will be drawn.

    Attributes:
        path: of the font file.
    """

    def __init__(self, alphabet: str):
        self.path = find_font(alphabet)
        self.letters = list_letters(self.path)
        missing = sorted(set("".join(alphabet.split())) - {chr(number) for number in self.letters})
        if missing:
            logging.getLogger().warning(_describe_missing(missing))

    def clean(self, text: str) -> str:
        """Return a text in one line, `?` in place of letters that the font lacks."""
        return "".join(letter if ord(letter) in self.letters else "?" for letter in " ".join(text.split()))


def find_font(alphabet: str) -> str:
    """Return the path of the font that has most letters of a text and of what is drawn beside it."""
    needed = {ord(letter) for letter in alphabet + DIGITS}
    shipped = os.path.join(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")
    if needed <= list_letters(shipped):
        return shipped
    from matplotlib import font_manager  # lists all fonts of the system, which takes seconds the first time

    # The last-resort font of macOS has every letter, each as a box.
    fonts = [path for path in sorted(font_manager.findSystemFonts()) if "LastResort" not in path]
    return max([shipped, *fonts], key=lambda path: (len(needed & list_letters(path)), "Regular" in path))


def list_letters(path: str) -> set:
    """Return the letters of a font file as numbers of Unicode; none where it cannot be used."""
    try:
        return set(FT2Font(path).get_charmap())
    except (RuntimeError, OSError):  # a bitmap font or a damaged file
        return set()


def _describe_missing(missing: list) -> str:
    shown = "".join(missing[:MAX_SHOWN]) + ("..." if len(missing) > MAX_SHOWN else "")
    advice = "put a font file that has them into ~/.fonts"
    if any(ord(letter) in CHINESE for letter in missing):
        advice = "`apt-get install fonts-wqy-microhei`, or a font file in ~/.fonts"
    return f"no font here has {shown} (drawn as ?): {advice}"
