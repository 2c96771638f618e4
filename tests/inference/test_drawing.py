"""A prediction over the frames of its video: sizes, colours, bars and the time line."""

import numpy as np
import pytest
from saved_models import MODALITIES, is_color, make_prediction

from inference import drawing
from inference.drawing import Prediction, Window, choose_color
from inference.text_renderer import TextRenderer


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


@pytest.mark.parametrize("seconds, text", [(0, "0:00.0"), (75.25, "1:15.2"), (7275.96, "2:01:16.0")])
def test_times(seconds, text):
    assert drawing.format_time(seconds) == text
    assert drawing.format_time(seconds + 0.55, has_tenths=False) == text[:-3] + f"{int(text[-3]) + 1}"


# Windows over time.


def test_a_frame_belongs_to_the_window_whose_middle_is_nearest():
    windows = [Window(0, 50, []), Window(25, 75, []), Window(50, 100, [])]  # middles 25, 50, 75
    prediction = Prediction("clip", 100, 25, [], windows)
    starts = [prediction.find_window(index).start for index in range(100)]
    assert starts == [0] * 38 + [25] * 25 + [50] * 37


def test_the_time_line_covers_the_whole_video_in_order():
    line = np.asarray(drawing.draw_time_line(make_prediction(99), 300, 8))
    assert line.shape == (8, 300, 3)
    for label, (start, end) in enumerate([(0, 100), (100, 200), (200, 300)]):
        assert is_color(line[:, start + 3 : end - 3], label).all()


@pytest.mark.parametrize(
    "duration_s, max_times, times",
    [
        (0.5, 8, [0]),
        (3.2, 8, [0, 1, 2, 3]),
        (30, 8, [0, 5, 10, 15, 20, 25]),
        (7200, 4, [0, 1800, 3600, 5400]),
        (10 * 86400, 8, list(range(0, 10 * 86400, 115200))),
    ],
)
def test_an_axis_has_round_times(duration_s, max_times, times):
    assert drawing.choose_times(duration_s, max_times) == times


def test_the_axis_marks_stand_at_their_times():
    axis = np.asarray(drawing.draw_axis(make_prediction(750), 600, 12, TextRenderer("")))  # 30 s
    marks = np.flatnonzero(axis[0, :, 3])
    assert marks.tolist() == [x + step for x in range(0, 600, 100) for step in (0, 1)]  # every 5 s
    assert all(axis[6:, max(0, x - 20) : x + 20, 3].any() for x in range(0, 600, 100))


# Bars.


def test_bars_are_as_long_as_probabilities():
    ranking = [(3, "A", 0.75), (4, "B", 0.25), (5, "C", 0.0)]
    bars = np.asarray(drawing.draw_bars(ranking, 400, 20, TextRenderer("ABC")))
    assert bars.shape[1:] == (400, 4)
    for top, label, probability in ((6, 3, 0.75), (39, 4, 0.25), (72, 5, 0.0)):
        length = is_color(bars[top, :, :3], label).sum()  # above the letters
        assert length == round(probability * 394)


def test_bars_hold_name_and_percent():
    plain = np.asarray(drawing.draw_bars([(0, "", 0.5)], 400, 20, TextRenderer("")))
    named = np.asarray(drawing.draw_bars([(0, "Walk", 0.5)], 400, 20, TextRenderer("Walk")))
    changed = (plain != named).any(axis=(0, 2))
    assert changed[8:60].any() and not changed[200:].any()
    assert (plain[:, 300:, :3] == 255).all(axis=-1).any()  # white figures at the right end


# Over the frames.


def test_the_overlay_shows_the_bars_of_the_frames_window_and_leaves_the_middle_alone():
    prediction = make_prediction(99)
    overlay = drawing.Overlay(prediction, 480, 640, TextRenderer("Class"))
    frame = np.full((48, 64, 3), 100, np.uint8)
    for index, label in ((0, 0), (50, 1), (98, 2)):
        picture = overlay.draw(frame, index)
        assert picture.shape == (480, 640, 3) and picture.dtype == np.uint8
        assert (picture[200:430] == 100).all()
        bar = picture[12, 60].astype(int)  # in the first bar, above the letters: the colour over gray
        expected = np.array(choose_color(label)) * 225 / 255 + 100 * 30 / 255
        assert np.abs(bar - expected).max() < 12


def test_the_position_moves_along_the_time_line():
    overlay = drawing.Overlay(make_prediction(100, (0,)), 480, 640, TextRenderer("Class"))
    left, _, right, _ = overlay.line_box
    places = []
    for index in (0, 50, 99):
        row = overlay.draw(np.zeros((480, 640, 3), np.uint8), index)[464, : right + 4]
        places.append((np.flatnonzero((row == 255).all(axis=-1)).mean() - left) / (right - left))
    assert places == pytest.approx([0.005, 0.505, 0.995], abs=0.006)


def test_every_shape_of_frame_can_be_drawn_on():
    prediction = make_prediction(3, (0,), title="x" * 500)
    renderer = TextRenderer("Class")
    for height, width in ((480, 640), (1280, 720), (16, 1280), (1280, 16)):
        picture = drawing.Overlay(prediction, height, width, renderer).draw(np.zeros((5, 7, 3), np.uint8), 1)
        assert picture.shape == (height, width, 3)


# The modalities by themselves.


@pytest.mark.parametrize("width, is_beside", [(928, True), (240, False)])
def test_bars_of_modalities_stand_side_by_side_where_there_is_room(width, is_beside):
    bars = np.asarray(drawing.draw_modality_bars(MODALITIES, width, 15, TextRenderer("rgb pose: AB")))
    one = drawing.draw_bars(MODALITIES["rgb"], width, 15, TextRenderer("AB"))
    assert bars.shape[1] == width and (bars.shape[0] == one.height) == is_beside
    rows, columns = np.nonzero(is_color(bars[..., :3], 2) & (bars[..., 3] == 225))
    assert (columns.max() > 0.7 * width) == is_beside and (rows.max() > one.height) != is_beside


def test_modalities_are_shown_over_frames():
    alone = make_prediction(10, (0,))
    both = Prediction(alone.title, 10, 25.0, alone.ranking, alone.windows, MODALITIES)
    frame, renderer = np.full((48, 64, 3), 100, np.uint8), TextRenderer("Class")
    plain, drawn = (drawing.Overlay(one, 480, 640, renderer).draw(frame, 3) for one in (alone, both))
    changed = np.flatnonzero((plain != drawn).any(axis=(1, 2)))
    assert 60 < changed.min() and changed.max() < 200
