"""A prediction over the frames of its video: bars and a time line.

Pictures are RGB uint8 (H, W, 3). A class has the same colour in its bar, on the time line and on the contact sheet.
"""

import bisect
import colorsys
import functools
import math
from dataclasses import dataclass, field

import numpy as np
from PIL import Image, ImageDraw

from inference.text_renderer import WHITE, TextRenderer

MIN_SHORT_SIDE, MAX_LONG_SIDE = 480, 1280  # pixels: names stay readable, VP8 encodes fast
NUM_MODALITY_BARS = 2  # of each modality over frames; the sheet shows them all
MIN_LETTERS = 22  # that a bar beside another one has room for
DARK = (20, 22, 26)
SHADE = (*DARK, 160)  # behind text on a frame
GRAY = (170, 175, 182)
STEPS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400)  # between two times of an axis


@dataclass
class Window:
    """A part of a video that was scored by itself.

    Attributes:
        start: first frame.
        end: frame after the last one.
        ranking: (label, class name, probability) of the best classes, the best first.
    """

    start: int
    end: int
    ranking: list


@dataclass
class Prediction:
    """What was predicted for a video: its best classes, and those of each of its windows in time order.

    `modalities` has the best classes of each modality by itself, {name: ranking}. `times_s`, where the frame rate
    varies, has the seconds at which each frame is shown and the last one ends. `note` stands on the contact sheet.
    """

    title: str
    num_frames: int
    fps: float
    ranking: list
    windows: list
    modalities: dict = field(default_factory=dict)
    times_s: list | None = None
    note: str = ""

    def find_place(self, index: int) -> float:
        """Return the time of a frame, or with `num_frames` that of the end, in frames of the average rate."""
        return index if self.times_s is None else self.times_s[index] * self.fps

    def find_time(self, index: int) -> float:
        """Return the time of a frame, or with `num_frames` that of the end, in seconds."""
        return index / self.fps if self.times_s is None else self.times_s[index]

    def find_window(self, place: float) -> Window:
        """Return the window whose middle is nearest to a place, see `find_place`."""
        return self.windows[bisect.bisect_right(self._changes, place)]

    @functools.cached_property
    def _changes(self) -> list:
        middles = [(self.find_place(window.start) + self.find_place(window.end)) / 2 for window in self.windows]
        return [(left + right) / 2 for left, right in zip(middles[:-1], middles[1:], strict=True)]


def choose_size(height: int, width: int) -> tuple[int, int]:
    """Return the (height, width) at which a frame is shown: large enough for text, even for the encoder."""
    short, long = min(height, width), max(height, width)
    scale = min(max(1, MIN_SHORT_SIDE / short), MAX_LONG_SIDE / long)
    return tuple(max(16, 2 * round(side * scale / 2)) for side in (height, width))


def choose_color(label: int) -> tuple:
    """Return the (red, green, blue) of a class; neighbouring labels are far apart on the colour circle."""
    hue = (0.58 + label * 0.618034) % 1  # the golden ratio spreads any number of them
    return tuple(round(255 * part) for part in colorsys.hsv_to_rgb(hue, 0.75, 0.80))


def format_time(seconds: float, has_tenths: bool = True) -> str:
    """Return 75.25 as 1:15.2, hours as 2:01:15.2, or without tenths as 1:15, rounded as all times that are printed."""
    tenths = round(10 * seconds) if has_tenths else 10 * round(seconds)
    minutes, rest = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    start = f"{hours}:{minutes:02d}" if hours else f"{minutes}"
    text = f"{start}:{rest // 10:02d}"
    return f"{text}.{rest % 10}" if has_tenths else text


def draw_bars(ranking: list, width: int, size: int, renderer: TextRenderer) -> Image.Image:
    """Draw one bar a class, as long as its probability, with name and percent on it.

    Args:
        ranking: (label, class name, probability), see `Window`.
        width: of the picture, in pixels.
        size: height of the text, in pixels.

    Returns:
        RGBA picture with a half-transparent dark ground.
    """
    row, gap = round(1.5 * size), max(2, size // 6)
    picture = Image.new("RGBA", (width, len(ranking) * (row + gap) + gap), SHADE)
    draw = ImageDraw.Draw(picture)
    percent_width = renderer.measure("100.0%", size)
    for rank, (label, name, probability) in enumerate(ranking):
        top = gap + rank * (row + gap)
        length = round(probability * (width - 2 * gap))
        if length:
            draw.rectangle((gap, top, gap + length - 1, top + row - 1), fill=(*choose_color(label), 225))
        edge = {"stroke_width": max(1, size // 14), "stroke_fill": DARK}
        middle, name_width = top + row // 2, width - percent_width - 4 * size // 3
        renderer.write(draw, (size // 2, middle), name, size, name_width, **edge)
        percent = f"{100 * probability:.1f}%"
        renderer.write(draw, (width - size // 2, middle), percent, size, width, anchor="rm", **edge)
    return picture


def draw_modality_bars(modalities: dict, width: int, size: int, renderer: TextRenderer) -> Image.Image:
    """Draw the bars of each modality, named, side by side if there is room for names, else one below the other.

    Args:
        modalities: {name: ranking}, see `Prediction`.
        width, size: as in `draw_bars`.
    """
    gap = size // 2
    across = len(modalities) if width >= len(modalities) * MIN_LETTERS * size else 1
    part = (width - (across - 1) * gap) // across
    panels = [
        draw_bars(
            [(label, f"{name}: {class_name}", probability) for label, class_name, probability in ranking],
            part,
            size,
            renderer,
        )
        for name, ranking in modalities.items()
    ]
    height = max(panel.height for panel in panels) + gap
    picture = Image.new("RGBA", (width, -(-len(panels) // across) * height - gap), SHADE)
    for position, panel in enumerate(panels):
        picture.paste(panel, (position % across * (part + gap), position // across * height))
    return picture


def draw_time_line(prediction: Prediction, width: int, height: int) -> Image.Image:
    """Draw the length of a video as a line in the colours of the classes that were best at each time."""
    end = prediction.find_place(prediction.num_frames)
    labels = [prediction.find_window(x * end // width).ranking[0][0] for x in range(width)]
    row = np.array([choose_color(label) for label in labels], np.uint8)
    return Image.fromarray(np.repeat(row[None], height, axis=0))


def draw_axis(prediction: Prediction, width: int, size: int, renderer: TextRenderer) -> Image.Image:
    """Draw round times with marks, for below a time line of that width.

    Args:
        size: height of the text, in pixels.

    Returns:
        transparent RGBA picture, 1.5 times as high as the text.
    """
    picture = Image.new("RGBA", (width, 3 * size // 2), (0, 0, 0, 0))
    draw, end_s = ImageDraw.Draw(picture), prediction.find_time(prediction.num_frames)
    label_width = renderer.measure(format_time(end_s), size)
    for time_s in choose_times(end_s, max(1, width // (2 * label_width))):
        text, x = format_time(time_s, has_tenths=False), round(time_s / end_s * width)
        draw.rectangle((x, 0, x + 1, size // 3), fill=GRAY)
        left = x if time_s == 0 else x - renderer.measure(text, size) // 2
        if left + renderer.measure(text, size) <= width:
            renderer.write(draw, (left, size), text, size, width, fill=GRAY)
    return picture


def choose_times(duration_s: float, max_times: int) -> list[int]:
    """Return the round times of an axis in seconds, from 0 to before its end, at most so many."""
    step = next((step for step in STEPS_S if duration_s <= step * max_times), None)
    if step is None:
        step = STEPS_S[-1] * math.ceil(duration_s / (max_times * STEPS_S[-1]))
    return list(range(0, math.ceil(duration_s), step))


class Overlay:
    """Draws a prediction over the frames of its video: bars at the top, the time line with the position below.

    Args:
        height: of the pictures drawn, see `choose_size`.
        width: likewise.
    """

    def __init__(self, prediction: Prediction, height: int, width: int, renderer: TextRenderer):
        self.prediction, self.size, self.renderer = prediction, (width, height), renderer
        self.letter_size = max(8, min(height // 30, width // 22))
        self.bar_width = min(width - self.letter_size, max(width // 3, 15 * self.letter_size))
        self.bars, self.modality_bars = {}, None
        if prediction.modalities:
            best = {name: ranking[:NUM_MODALITY_BARS] for name, ranking in prediction.modalities.items()}
            size = max(8, 3 * self.letter_size // 4)
            self.modality_bars = draw_modality_bars(best, self.bar_width, size, renderer)
        clock_width = renderer.measure(self._describe_time(prediction.num_frames), self.letter_size)
        margin, axis_size = self.letter_size // 2, max(8, 3 * self.letter_size // 4)
        has_axis = len(prediction.windows) > 1
        self.strip_height = 2 * self.letter_size + (axis_size if has_axis else 0)
        self.line_box = (margin, 2 * self.letter_size // 3, width - clock_width - 3 * margin, 4 * self.letter_size // 3)
        left, top, right, bottom = self.line_box
        self.strip = Image.new("RGBA", (width, self.strip_height), SHADE)
        self.strip.paste(draw_time_line(prediction, max(1, right - left), bottom - top), (left, top))
        if has_axis:
            axis = draw_axis(prediction, max(1, right - left), axis_size, renderer)
            self.strip.alpha_composite(axis, (left, bottom))

    def draw(self, frame: np.ndarray, index: int) -> np.ndarray:
        """Return the picture of frame `index`."""
        picture = Image.fromarray(frame).resize(self.size, Image.BICUBIC)
        bars, margin = self._find_bars(index), self.letter_size // 2
        picture.paste(bars, (margin, margin), bars)
        if self.modality_bars:
            picture.paste(self.modality_bars, (margin, 2 * margin + bars.height), self.modality_bars)
        top = self.size[1] - self.strip_height
        picture.paste(self.strip, (0, top), self.strip)
        self._mark_time(ImageDraw.Draw(picture), top, index)
        return np.asarray(picture)

    def _find_bars(self, index: int) -> Image.Image:
        window = self.prediction.find_window(self.prediction.find_place(index))
        span = window.start, window.end
        if span not in self.bars:
            self.bars = {span: draw_bars(window.ranking, self.bar_width, self.letter_size, self.renderer)}
        return self.bars[span]

    def _mark_time(self, draw: ImageDraw.ImageDraw, top: int, index: int) -> None:
        left, line_top, right, line_bottom = self.line_box
        place, end = (self.prediction.find_place(number) for number in (index, self.prediction.num_frames))
        x = left + (right - left) * (place + 0.5) / end
        reach = self.letter_size // 4
        box = (x - 1.5, top + line_top - reach, x + 1.5, top + line_bottom + reach)
        draw.rectangle(box, fill=WHITE, outline=DARK)
        position = (self.size[0] - self.letter_size // 2, top + (line_top + line_bottom) // 2)
        self.renderer.write(draw, position, self._describe_time(index), self.letter_size, self.size[0], anchor="rm")

    def _describe_time(self, index: int) -> str:
        prediction = self.prediction
        times = (prediction.find_time(number) for number in (index, prediction.num_frames))
        return " / ".join(map(format_time, times))
