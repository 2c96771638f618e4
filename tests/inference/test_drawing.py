"""What a prediction looks like: sizes, colours, text, bars, the time line and the contact sheet."""

import os

import matplotlib
import numpy as np
import pytest
from matplotlib import font_manager
from PIL import Image, ImageDraw

from inference import drawing
from inference.drawing import Lettering, Prediction, Window, choose_color

FONTS = os.path.join(matplotlib.get_data_path(), "fonts", "ttf")


def predict(num_frames=100, labels=(0, 1, 2), fps=25.0, title="clip"):
    """A video whose equal, touching windows each have a class of their own at 60 %."""
    edges = [num_frames * place // len(labels) for place in range(len(labels) + 1)]
    windows = [
        Window(start, end, [(label, f"Class{label}", 0.6), (9, "Other", 0.4)])
        for start, end, label in zip(edges[:-1], edges[1:], labels, strict=True)
    ]
    return Prediction(title, num_frames, fps, [(0, "Class0", 0.6), (9, "Other", 0.4)], windows)


def is_color(pixels, label):
    """Whether each pixel is a class's colour."""
    return (np.abs(np.asarray(pixels, int) - choose_color(label)).max(axis=-1) <= 2).astype(bool)


@pytest.mark.parametrize(
    "size, shown",
    [
        ((240, 320), (480, 640)),
        ((480, 853), (480, 852)),
        ((1080, 1920), (720, 1280)),
        ((1920, 1080), (1280, 720)),
        ((1, 1), (480, 480)),
        ((1, 3000), (16, 1280)),
    ],
)
def test_frames_are_shown_large_enough_to_read_and_even(size, shown):
    assert drawing.choose_size(*size) == shown


def test_neighbouring_labels_have_different_colors():
    colors = np.array([choose_color(label) for label in range(101)], int)
    assert len({tuple(color) for color in colors}) > 95
    assert np.abs(colors[1:] - colors[:-1]).max(axis=1).min() > 60


@pytest.mark.parametrize("seconds, text", [(0, "0:00.0"), (75.25, "1:15.2"), (7275.96, "2:01:15.9")])
def test_times(seconds, text):
    assert drawing.format_time(seconds) == text


# Windows over time.


def test_a_frame_belongs_to_the_window_whose_middle_is_nearest():
    windows = [Window(0, 50, []), Window(25, 75, []), Window(50, 100, [])]  # middles 25, 50, 75
    prediction = Prediction("clip", 100, 25, [], windows)
    starts = [prediction.find_window(index).start for index in range(100)]
    assert starts == [0] * 38 + [25] * 25 + [50] * 37


def test_the_time_line_covers_the_whole_video_in_order():
    line = np.asarray(drawing.draw_time_line(predict(99), 300, 8))
    assert line.shape == (8, 300, 3)
    for label, (start, end) in enumerate([(0, 100), (100, 200), (200, 300)]):
        assert is_color(line[:, start + 3 : end - 3], label).all()


# Text.


def test_a_name_that_is_too_long_is_shortened_and_stays_in_its_width():
    lettering = Lettering("abc")
    picture = Image.new("RGB", (300, 40))
    lettering.write(ImageDraw.Draw(picture), (0, 20), "a very long name of a class " * 3, 16, 120)
    columns = np.asarray(picture).any(axis=(0, 2))
    assert columns[:110].any() and not columns[122:].any()


def test_latin_letters_need_no_system_font():
    assert Lettering("Überkopf façade žluťoučký Привет").path.endswith("DejaVuSans.ttf")


def test_a_font_of_the_system_is_taken_for_letters_that_the_own_one_lacks(tmp_path, monkeypatch):
    (tmp_path / "broken.ttf").write_bytes(b"not a font")
    fonts = [str(tmp_path / "broken.ttf"), os.path.join(FONTS, "DejaVuSansMono.ttf")]
    monkeypatch.setattr(font_manager, "findSystemFonts", lambda: fonts)
    arc = chr(0x2312)
    assert Lettering(f"arc {arc}").path == fonts[1]
    assert Lettering(f"arc {arc}").clean(f"arc {arc}") == f"arc {arc}"


def test_letters_of_no_font_become_question_marks(monkeypatch):
    monkeypatch.setattr(font_manager, "findSystemFonts", lambda: [])
    assert Lettering("打篮球 throw").clean("打篮球 throw") == "??? throw"


def test_line_breaks_in_a_name_become_blanks():
    assert Lettering("ab").clean("a\n b\t") == "a b"


# Bars.


def test_bars_are_as_long_as_probabilities():
    ranking = [(3, "A", 0.75), (4, "B", 0.25), (5, "C", 0.0)]
    bars = np.asarray(drawing.draw_bars(ranking, 400, 20, Lettering("ABC")))
    assert bars.shape[1:] == (400, 4)
    for top, label, probability in ((6, 3, 0.75), (39, 4, 0.25), (72, 5, 0.0)):
        length = is_color(bars[top, :, :3], label).sum()  # above the letters
        assert length == round(probability * 394)


def test_bars_hold_name_and_percent():
    plain = np.asarray(drawing.draw_bars([(0, "", 0.5)], 400, 20, Lettering("")))
    named = np.asarray(drawing.draw_bars([(0, "Walk", 0.5)], 400, 20, Lettering("Walk")))
    changed = (plain != named).any(axis=(0, 2))
    assert changed[8:60].any() and not changed[200:].any()
    assert (plain[:, 300:, :3] == 255).all(axis=-1).any()  # white figures at the right end


# Over the frames.


def test_the_overlay_shows_the_bars_of_the_frames_window_and_leaves_the_middle_alone():
    prediction = predict(99)
    overlay = drawing.Overlay(prediction, 480, 640, Lettering("Class"))
    frame = np.full((48, 64, 3), 100, np.uint8)
    for index, label in ((0, 0), (50, 1), (98, 2)):
        picture = overlay.draw(frame, index)
        assert picture.shape == (480, 640, 3) and picture.dtype == np.uint8
        assert (picture[200:440] == 100).all()
        bar = picture[12, 60].astype(int)  # in the first bar, above the letters: the colour over gray
        expected = np.array(choose_color(label)) * 225 / 255 + 100 * 30 / 255
        assert np.abs(bar - expected).max() < 12


def test_the_position_moves_along_the_time_line():
    overlay = drawing.Overlay(predict(100, (0,)), 480, 640, Lettering("Class"))
    left, _, right, _ = overlay.line_box
    places = []
    for index in (0, 50, 99):
        row = overlay.draw(np.zeros((480, 640, 3), np.uint8), index)[464, : right + 4]
        places.append((np.flatnonzero((row == 255).all(axis=-1)).mean() - left) / (right - left))
    assert places == pytest.approx([0.005, 0.505, 0.995], abs=0.006)


def test_every_shape_of_frame_can_be_drawn_on():
    prediction = predict(3, (0,), title="x" * 500)
    lettering = Lettering("Class")
    for height, width in ((480, 640), (1280, 720), (16, 1280), (1280, 16)):
        picture = drawing.Overlay(prediction, height, width, lettering).draw(np.zeros((5, 7, 3), np.uint8), 1)
        assert picture.shape == (height, width, 3)


# The contact sheet.


@pytest.mark.parametrize("num_frames", [1, 2, 5, 6, 7, 100])
def test_thumbnails_are_spread_over_the_video(num_frames):
    chosen = drawing.choose_thumbnails(num_frames)
    assert len(chosen) == min(6, num_frames)
    assert min(chosen) >= 0 and max(chosen) < num_frames
    if num_frames == 100:
        assert chosen == [8, 25, 41, 58, 75, 91]


def draw_sheet(prediction, size=(30, 40)):
    """Draw a sheet whose thumbnails are gray, the brighter the later."""
    chosen = drawing.choose_thumbnails(prediction.num_frames)
    thumbnails = {index: drawing.make_thumbnail(np.full((*size, 3), 60 + index, np.uint8)) for index in chosen}
    return drawing.draw_sheet(prediction, thumbnails, Lettering(prediction.title + "Class Other"))


def test_the_sheet_shows_the_frames_in_order_and_the_time_line():
    sheet = draw_sheet(predict(100))
    assert sheet.shape[1] == 960 and sheet.dtype == np.uint8
    assert is_color(sheet[-25], 0).any() and is_color(sheet[-25], 2).any()
    grays = [int(rows[0]) for rows in sheet[:, 20] if rows.min() == rows.max() and rows[0] in range(60, 160)]
    assert sorted(set(grays)) == [68, 118]  # frames 8 and 58 start the rows
    assert all((sheet == 60 + index).all(axis=-1).sum() > 300 * 200 for index in (8, 25, 41, 58, 75, 91))


def test_a_video_of_one_window_needs_no_time_line():
    one, three = draw_sheet(predict(100, (0,))), draw_sheet(predict(100))
    assert three.shape[0] - one.shape[0] == 18 + 16


@pytest.mark.parametrize("size", [(30, 40), (40, 30), (1, 200), (200, 1)])
def test_one_frame_of_any_shape_makes_a_sheet(size):
    sheet = draw_sheet(predict(1, (0,)), size)
    assert (sheet == 60).all(axis=-1).any() and sheet.shape[0] < 1000


# What each modality by itself would have answered.

MODALITIES = {"rgb": [(1, "A", 0.9), (2, "B", 0.1)], "pose": [(2, "B", 0.6), (1, "A", 0.4)]}


@pytest.mark.parametrize("width, is_beside", [(928, True), (240, False)])
def test_bars_of_modalities_stand_side_by_side_where_there_is_room(width, is_beside):
    bars = np.asarray(drawing.draw_modality_bars(MODALITIES, width, 15, Lettering("rgb pose: AB")))
    one = drawing.draw_bars(MODALITIES["rgb"], width, 15, Lettering("AB"))
    assert bars.shape[1] == width and (bars.shape[0] == one.height) == is_beside
    rows, columns = np.nonzero(is_color(bars[..., :3], 2) & (bars[..., 3] == 225))
    assert (columns.max() > 0.7 * width) == is_beside and (rows.max() > one.height) != is_beside


def test_modalities_are_shown_over_frames_and_on_the_sheet():
    alone = predict(10, (0,))
    both = Prediction(alone.title, 10, 25.0, alone.ranking, alone.windows, MODALITIES)
    frame, lettering = np.full((48, 64, 3), 100, np.uint8), Lettering("Class")
    plain, drawn = (drawing.Overlay(one, 480, 640, lettering).draw(frame, 3) for one in (alone, both))
    changed = np.flatnonzero((plain != drawn).any(axis=(1, 2)))
    assert 60 < changed.min() and changed.max() < 200
    assert draw_sheet(both).shape[0] > draw_sheet(alone).shape[0] + 40
    assert is_color(draw_sheet(both), 2).any() and not is_color(draw_sheet(alone), 2).any()
