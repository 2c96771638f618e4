"""What a prediction looks like: bars and a time line over the frames of a video, and a contact sheet.

Pictures are RGB uint8 (H, W, 3). A class has the same colour in its bar, on the time line and on the sheet.
"""

import bisect
import colorsys
import functools
import os
from dataclasses import dataclass, field

import matplotlib
import numpy as np
from matplotlib.ft2font import FT2Font
from PIL import Image, ImageDraw, ImageFont

LEAST_SHORT_SIDE, MOST_LONG_SIDE = 480, 1280  # below, names cannot be read; above, VP8 takes long to encode
SHEET_WIDTH, SHEET_MARGIN, THUMBNAIL_WIDTH, NUM_THUMBNAILS = 960, 16, 300, 6  # in pixels; the last two by rows of 3
MODALITY_BARS = 2  # of each modality over frames; the sheet shows them all
LEAST_LETTERS = 22  # of a bar beside another one
DARK, WHITE, GRAY = (20, 22, 26), (255, 255, 255), (170, 175, 182)
SHADE = (*DARK, 160)  # behind text on a frame


@dataclass
class Window:
    """A stretch of a video that was scored by itself.

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

    `modalities` holds the best classes that each modality by itself would have answered, {name: ranking}.
    """

    title: str
    num_frames: int
    fps: float
    ranking: list
    windows: list
    modalities: dict = field(default_factory=dict)

    def find_window(self, index: int) -> Window:
        """Return the window whose middle is nearest to a frame."""
        return self.windows[bisect.bisect_right(self._changes, index)]

    @functools.cached_property
    def _changes(self) -> list:
        middles = [(one.start + one.end) / 2 for one in self.windows]
        return [(left + right) / 2 for left, right in zip(middles[:-1], middles[1:], strict=True)]


def choose_size(height: int, width: int) -> tuple[int, int]:
    """Return the (height, width) at which a frame is shown: enlarged until text can be read, even for the encoder."""
    short, long = min(height, width), max(height, width)
    scale = min(max(1, LEAST_SHORT_SIDE / short), MOST_LONG_SIDE / long)
    return tuple(max(16, 2 * round(side * scale / 2)) for side in (height, width))


def choose_color(label: int) -> tuple:
    """Return the (red, green, blue) of a class; neighbouring labels are far apart on the colour circle."""
    hue = (0.58 + label * 0.618034) % 1  # the golden ratio spreads any number of them
    return tuple(round(255 * part) for part in colorsys.hsv_to_rgb(hue, 0.75, 0.80))


def format_time(seconds: float) -> str:
    """Return 75.25 as 1:15.2, hours as 2:01:15.2."""
    tenths = int(10 * seconds)
    minutes, rest = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    start = f"{hours}:{minutes:02d}" if hours else f"{minutes}"
    return f"{start}:{rest // 10:02d}.{rest % 10}"


class Lettering:
    """Draws text of any alphabet that matplotlib's own font or a font of this system has; the rest becomes `?`.

    Args:
        alphabet: text with every letter that will be drawn; it decides the font.
    """

    def __init__(self, alphabet: str):
        self.path = _find_font(alphabet)
        self.letters = _list_letters(self.path)
        self.sizes = {}

    def clean(self, text: str) -> str:
        """Replace what the font lacks."""
        return "".join(letter if ord(letter) in self.letters else "?" for letter in " ".join(text.split()))

    def font(self, size: int) -> ImageFont.FreeTypeFont:
        """Return the font at a height in pixels."""
        if size not in self.sizes:
            self.sizes[size] = ImageFont.truetype(self.path, size)
        return self.sizes[size]

    def measure(self, text: str, size: int) -> int:
        """Return the width of a text in pixels."""
        return int(np.ceil(self.font(size).getlength(self.clean(text))))

    def write(self, draw: ImageDraw.ImageDraw, place: tuple, text: str, size: int, width: float, **options) -> None:
        """Write one line, shortened to `width` pixels; `place` is its left (or by `anchor` another) middle."""
        text = self.clean(text)
        if self.measure(text, size) > width:
            while text and self.measure(text + "…", size) > width:
                text = text[:-1]
            text = self.clean(text.rstrip() + "…")
        draw.text(place, text, font=self.font(size), **{"fill": WHITE, "anchor": "lm", **options})


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
    except (RuntimeError, OSError):  # a bitmap or damaged font of the system: it draws nothing for us
        return set()


def draw_bars(ranking: list, width: int, size: int, lettering: Lettering) -> Image.Image:
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
    percent_width = lettering.measure("100.0%", size)
    for rank, (label, name, probability) in enumerate(ranking):
        top = gap + rank * (row + gap)
        length = round(probability * (width - 2 * gap))
        if length:
            draw.rectangle((gap, top, gap + length - 1, top + row - 1), fill=(*choose_color(label), 225))
        edge = {"stroke_width": max(1, size // 14), "stroke_fill": DARK}
        middle, name_width = top + row // 2, width - percent_width - 4 * size // 3
        lettering.write(draw, (size // 2, middle), name, size, name_width, **edge)
        percent = f"{100 * probability:.1f}%"
        lettering.write(draw, (width - size // 2, middle), percent, size, width, anchor="rm", **edge)
    return picture


def draw_modality_bars(modalities: dict, width: int, size: int, lettering: Lettering) -> Image.Image:
    """Draw the bars of each modality, named, side by side if there is room for names, else one below the other.

    Args:
        modalities: {name: ranking}, see `Prediction`.
        width, size: as in `draw_bars`.
    """
    gap = size // 2
    across = len(modalities) if width >= len(modalities) * LEAST_LETTERS * size else 1
    part = (width - (across - 1) * gap) // across
    panels = [
        draw_bars(
            [(label, f"{name}: {one}", probability) for label, one, probability in ranking], part, size, lettering
        )
        for name, ranking in modalities.items()
    ]
    height = max(panel.height for panel in panels) + gap
    picture = Image.new("RGBA", (width, -(-len(panels) // across) * height - gap), SHADE)
    for place, panel in enumerate(panels):
        picture.paste(panel, (place % across * (part + gap), place // across * height))
    return picture


def draw_time_line(prediction: Prediction, width: int, height: int) -> Image.Image:
    """Draw a video's length as a line in the colours of the classes that were best at each moment."""
    shown = [prediction.find_window(x * prediction.num_frames // width).ranking[0][0] for x in range(width)]
    row = np.array([choose_color(label) for label in shown], np.uint8)
    return Image.fromarray(np.repeat(row[None], height, axis=0))


class Overlay:
    """Draws a prediction over the frames of its video: bars at the top, the time line with the position below.

    Args:
        height: of the pictures drawn, see `choose_size`.
        width: likewise.
    """

    def __init__(self, prediction: Prediction, height: int, width: int, lettering: Lettering):
        self.prediction, self.size, self.lettering = prediction, (width, height), lettering
        self.letter_size = max(8, min(height // 30, width // 22))
        self.bar_width = min(width - self.letter_size, max(width // 3, 15 * self.letter_size))
        self.bars, self.modality_bars = {}, None
        if prediction.modalities:
            best = {name: ranking[:MODALITY_BARS] for name, ranking in prediction.modalities.items()}
            size = max(8, 3 * self.letter_size // 4)
            self.modality_bars = draw_modality_bars(best, self.bar_width, size, lettering)
        clock_width = lettering.measure(self._describe_time(prediction.num_frames), self.letter_size)
        margin, self.strip_height = self.letter_size // 2, 2 * self.letter_size
        self.line_box = (margin, 2 * self.letter_size // 3, width - clock_width - 3 * margin, 4 * self.letter_size // 3)
        left, top, right, bottom = self.line_box
        self.strip = Image.new("RGBA", (width, self.strip_height), SHADE)
        self.strip.paste(draw_time_line(prediction, max(1, right - left), bottom - top), (left, top))

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
        window = self.prediction.find_window(index)
        if window.start not in self.bars:
            self.bars = {window.start: draw_bars(window.ranking, self.bar_width, self.letter_size, self.lettering)}
        return self.bars[window.start]

    def _mark_time(self, draw: ImageDraw.ImageDraw, top: int, index: int) -> None:
        left, line_top, right, line_bottom = self.line_box
        here = left + (right - left) * (index + 0.5) / self.prediction.num_frames
        reach = self.letter_size // 4
        box = (here - 1.5, top + line_top - reach, here + 1.5, top + line_bottom + reach)
        draw.rectangle(box, fill=WHITE, outline=DARK)
        place = (self.size[0] - self.letter_size // 2, top + self.strip_height // 2)
        self.lettering.write(draw, place, self._describe_time(index), self.letter_size, self.size[0], anchor="rm")

    def _describe_time(self, index: int) -> str:
        prediction = self.prediction
        return f"{format_time(index / prediction.fps)} / {format_time(prediction.num_frames / prediction.fps)}"


def choose_thumbnails(num_frames: int) -> list[int]:
    """Return the frames of the contact sheet: the middles of equal parts of the video, each frame once."""
    return sorted({(2 * part + 1) * num_frames // (2 * NUM_THUMBNAILS) for part in range(NUM_THUMBNAILS)})


def make_thumbnail(frame: np.ndarray) -> Image.Image:
    """Scale a frame for the contact sheet, to `THUMBNAIL_WIDTH` and at most twice as high."""
    height, width = frame.shape[:2]
    scale = min(THUMBNAIL_WIDTH / width, 2 * THUMBNAIL_WIDTH / height)
    size = max(1, round(scale * width)), max(1, round(scale * height))
    return Image.fromarray(frame).resize(size, Image.BICUBIC)


def draw_sheet(prediction: Prediction, thumbnails: dict, lettering: Lettering) -> np.ndarray:
    """Draw the contact sheet: title, bars of the whole video, some frames, and with several windows the time line.

    Args:
        thumbnails: {frame index: `make_thumbnail` of it}, see `choose_thumbnails`.
    """
    width = SHEET_WIDTH - 2 * SHEET_MARGIN
    duration = format_time(prediction.num_frames / prediction.fps)
    parts = [
        _draw_line(prediction.title, width, 26, WHITE, lettering),
        _draw_line(f"{duration}, {prediction.num_frames} frames, {prediction.fps:g} fps", width, 15, GRAY, lettering),
        draw_bars(prediction.ranking, width, 18, lettering),
    ]
    if prediction.modalities:
        parts.append(draw_modality_bars(prediction.modalities, width, 15, lettering))
    parts.append(_draw_thumbnails(prediction, thumbnails, width, lettering))
    if len(prediction.windows) > 1:
        parts.append(draw_time_line(prediction, width, 18))
    height = SHEET_MARGIN + sum(part.height + SHEET_MARGIN for part in parts)
    sheet, top = Image.new("RGB", (SHEET_WIDTH, height), DARK), SHEET_MARGIN
    for part in parts:
        sheet.paste(part, (SHEET_MARGIN, top))
        top += part.height + SHEET_MARGIN
    return np.asarray(sheet)


def _draw_line(text: str, width: int, size: int, color: tuple, lettering: Lettering) -> Image.Image:
    picture = Image.new("RGB", (width, round(1.2 * size)), DARK)
    lettering.write(ImageDraw.Draw(picture), (0, picture.height // 2), text, size, width, fill=color)
    return picture


def _draw_thumbnails(prediction: Prediction, thumbnails: dict, width: int, lettering: Lettering) -> Image.Image:
    """Lay them out three a row, each with its time and what was best there."""
    size, gap = 15, (width - 3 * THUMBNAIL_WIDTH) // 2
    frame_height = max(thumbnail.height for thumbnail in thumbnails.values())
    row_height = frame_height + 2 * size
    picture = Image.new("RGB", (width, (len(thumbnails) + 2) // 3 * (row_height + gap) - gap), DARK)
    draw = ImageDraw.Draw(picture)
    for place, index in enumerate(sorted(thumbnails)):
        left, top = place % 3 * (THUMBNAIL_WIDTH + gap), place // 3 * (row_height + gap)
        picture.paste(thumbnails[index], (left, top))
        label, name, probability = prediction.find_window(index).ranking[0]
        middle = top + frame_height + size
        draw.rectangle((left, middle - 5, left + 10, middle + 5), fill=choose_color(label))
        text = f"{format_time(index / prediction.fps)}  {name} {100 * probability:.0f}%"
        lettering.write(draw, (left + 18, middle), text, size, THUMBNAIL_WIDTH - 18)
    return picture
