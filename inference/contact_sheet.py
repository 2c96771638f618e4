"""The contact sheet of a prediction: title, bars, some frames of the video."""

import numpy as np
from PIL import Image, ImageDraw

from inference.drawing import (
    DARK,
    GRAY,
    Prediction,
    choose_color,
    draw_axis,
    draw_bars,
    draw_modality_bars,
    draw_time_line,
    format_time,
)
from inference.text_renderer import WHITE, TextRenderer

SHEET_WIDTH, MARGIN = 960, 16  # pixels
NUM_THUMBNAILS, NUM_COLUMNS, THUMBNAIL_WIDTH = 6, 3, 300


def choose_thumbnails(num_frames: int) -> list[int]:
    """Return the frames of the contact sheet: the middles of equal parts of the video, each frame once."""
    return sorted({(2 * part + 1) * num_frames // (2 * NUM_THUMBNAILS) for part in range(NUM_THUMBNAILS)})


def make_thumbnail(frame: np.ndarray) -> Image.Image:
    """Scale a frame for the contact sheet, to `THUMBNAIL_WIDTH` and at most twice as high."""
    height, width = frame.shape[:2]
    scale = min(THUMBNAIL_WIDTH / width, 2 * THUMBNAIL_WIDTH / height)
    size = max(1, round(scale * width)), max(1, round(scale * height))
    return Image.fromarray(frame).resize(size, Image.BICUBIC)


def draw_sheet(prediction: Prediction, thumbnails: dict, renderer: TextRenderer) -> np.ndarray:
    """Draw the contact sheet: title, bars of the whole video, some frames, and with several windows the time line.

    Args:
        thumbnails: {frame index: `make_thumbnail` of it}, see `choose_thumbnails`.
    """
    width = SHEET_WIDTH - 2 * MARGIN
    duration = format_time(prediction.find_time(prediction.num_frames))
    facts = f"{duration}, {prediction.num_frames} frames, {prediction.fps:g} fps"
    if prediction.note:
        facts += f"; {prediction.note}"
    parts = [
        _draw_line(prediction.title, width, 26, WHITE, renderer),
        _draw_line(facts, width, 15, GRAY, renderer),
        draw_bars(prediction.ranking, width, 18, renderer),
    ]
    if prediction.modalities:
        parts.append(draw_modality_bars(prediction.modalities, width, 15, renderer))
    parts.append(_draw_thumbnails(prediction, thumbnails, width, renderer))
    if len(prediction.windows) > 1:
        parts.append(_draw_time_line_with_axis(prediction, width, renderer))
    height = MARGIN + sum(part.height + MARGIN for part in parts)
    sheet, top = Image.new("RGB", (SHEET_WIDTH, height), DARK), MARGIN
    for part in parts:
        sheet.paste(part, (MARGIN, top))
        top += part.height + MARGIN
    return np.asarray(sheet)


def _draw_time_line_with_axis(prediction: Prediction, width: int, renderer: TextRenderer) -> Image.Image:
    line, axis = draw_time_line(prediction, width, 18), draw_axis(prediction, width, 13, renderer)
    picture = Image.new("RGB", (width, line.height + axis.height), DARK)
    picture.paste(line, (0, 0))
    picture.paste(axis, (0, line.height), axis)
    return picture


def _draw_line(text: str, width: int, size: int, color: tuple, renderer: TextRenderer) -> Image.Image:
    picture = Image.new("RGB", (width, round(1.2 * size)), DARK)
    renderer.write(ImageDraw.Draw(picture), (0, picture.height // 2), text, size, width, fill=color)
    return picture


def _draw_thumbnails(prediction: Prediction, thumbnails: dict, width: int, renderer: TextRenderer) -> Image.Image:
    """Arrange thumbnails in rows, each with its time and the best class there."""
    size, gap = 15, (width - NUM_COLUMNS * THUMBNAIL_WIDTH) // (NUM_COLUMNS - 1)
    frame_height = max(thumbnail.height for thumbnail in thumbnails.values())
    row_height = frame_height + 2 * size
    picture = Image.new("RGB", (width, -(-len(thumbnails) // NUM_COLUMNS) * (row_height + gap) - gap), DARK)
    draw = ImageDraw.Draw(picture)
    for position, index in enumerate(sorted(thumbnails)):
        row, column = divmod(position, NUM_COLUMNS)
        left, top = column * (THUMBNAIL_WIDTH + gap), row * (row_height + gap)
        picture.paste(thumbnails[index], (left, top))
        label, name, probability = prediction.find_window(prediction.find_place(index)).ranking[0]
        middle = top + frame_height + size
        draw.rectangle((left, middle - 5, left + 10, middle + 5), fill=choose_color(label))
        text = f"{format_time(prediction.find_time(index))}  {name} {100 * probability:.0f}%"
        renderer.write(draw, (left + 18, middle), text, size, THUMBNAIL_WIDTH - 18)
    return picture
