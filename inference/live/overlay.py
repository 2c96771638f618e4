"""The answer over the picture of a stream: its bars, and below them time, latency and dropped frames."""

import cv2
import numpy as np
from PIL import Image, ImageDraw

from inference.drawing import SHADE, draw_bars, format_time
from inference.live.results import LiveAnswer
from inference.text_renderer import TextRenderer


class LiveOverlay:
    """Draws the answer that was known when a frame was shown.

    Args:
        height: of the pictures, see `drawing.choose_size`.
        width: likewise.
    """

    def __init__(self, height: int, width: int, renderer: TextRenderer):
        self.size, self.renderer = (width, height), renderer
        self.letter_size = max(8, min(height // 30, width // 22))
        self.bar_width = min(width - self.letter_size, max(width // 3, 15 * self.letter_size))
        self.answer, self.bars = None, None

    def draw(self, frame: np.ndarray, time_s: float, answer: LiveAnswer | None, num_dropped: int) -> np.ndarray:
        """Return the picture of a frame, which has the size of the overlay."""
        picture, margin = Image.fromarray(frame), self.letter_size // 2
        if answer is not None and answer.ranking:
            if answer is not self.answer:
                self.answer = answer
                self.bars = draw_bars(answer.ranking, self.bar_width, self.letter_size, self.renderer)
            picture.paste(self.bars, (margin, margin), self.bars)
        width, height = self.size
        strip = Image.new("RGBA", (width, 2 * self.letter_size), SHADE)
        words = [format_time(time_s)]
        if answer is not None:
            words.append(f"{answer.latency_s:.2f} s later" if answer.ranking else answer.name)
        if num_dropped:
            words.append(f"{num_dropped} dropped")
        position = (margin, self.letter_size)
        self.renderer.write(ImageDraw.Draw(strip), position, "   ".join(words), self.letter_size, width - 2 * margin)
        picture.paste(strip, (0, height - strip.height), strip)
        return np.asarray(picture)


def fit_picture(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return a picture at a size, (height, width): as it is, or scaled and with black borders."""
    height, width = picture.shape[:2]
    if (height, width) == size:
        return picture
    scale = min(size[0] / height, size[1] / width)
    inner = max(1, int(height * scale)), max(1, int(width * scale))
    canvas = np.zeros((*size, 3), np.uint8)
    top, left = (size[0] - inner[0]) // 2, (size[1] - inner[1]) // 2
    canvas[top : top + inner[0], left : left + inner[1]] = cv2.resize(picture, inner[::-1])
    return canvas
