"""Text of any alphabet in pictures, by a font that has its letters."""

import numpy as np
from PIL import ImageDraw, ImageFont

from common.fonts import Font

WHITE = (255, 255, 255)


class TextRenderer(Font):
    """Draws text, see `Font` for its arguments."""

    def __init__(self, alphabet: str):
        super().__init__(alphabet)
        self.sizes = {}

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
