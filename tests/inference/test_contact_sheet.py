"""The contact sheet: which frames it shows, in which order, and what else is on it."""

import numpy as np
import pytest
from saved_models import MODALITIES, is_color, make_prediction

from inference import contact_sheet
from inference.drawing import Prediction
from inference.text_renderer import TextRenderer


@pytest.mark.parametrize("num_frames", [1, 2, 5, 6, 7, 100])
def test_thumbnails_are_spread_over_the_video(num_frames):
    chosen = contact_sheet.choose_thumbnails(num_frames)
    assert len(chosen) == min(6, num_frames)
    assert min(chosen) >= 0 and max(chosen) < num_frames
    if num_frames == 100:
        assert chosen == [8, 25, 41, 58, 75, 91]


def draw_sheet(prediction, size=(30, 40)):
    """Draw a sheet whose thumbnails are gray, the brighter the later."""
    chosen = contact_sheet.choose_thumbnails(prediction.num_frames)
    thumbnails = {index: contact_sheet.make_thumbnail(np.full((*size, 3), 60 + index, np.uint8)) for index in chosen}
    return contact_sheet.draw_sheet(prediction, thumbnails, TextRenderer(prediction.title + "Class Other"))


def test_the_sheet_shows_the_frames_in_order_and_the_time_line():
    sheet = draw_sheet(make_prediction(100))
    assert sheet.shape[1] == 960 and sheet.dtype == np.uint8
    assert is_color(sheet[-45], 0).any() and is_color(sheet[-45], 2).any()
    grays = [int(rows[0]) for rows in sheet[:, 20] if rows.min() == rows.max() and rows[0] in range(60, 160)]
    assert sorted(set(grays)) == [68, 118]  # frames 8 and 58 start the rows
    assert all((sheet == 60 + index).all(axis=-1).sum() > 300 * 200 for index in (8, 25, 41, 58, 75, 91))


def test_a_video_of_one_window_needs_no_time_line_and_no_axis():
    one, three = draw_sheet(make_prediction(100, (0,))), draw_sheet(make_prediction(100))
    assert three.shape[0] - one.shape[0] == 18 + 19 + 16


@pytest.mark.parametrize("size", [(30, 40), (40, 30), (1, 200), (200, 1)])
def test_one_frame_of_any_shape_makes_a_sheet(size):
    sheet = draw_sheet(make_prediction(1, (0,)), size)
    assert (sheet == 60).all(axis=-1).any() and sheet.shape[0] < 1000


def test_modalities_are_shown_on_the_sheet():
    alone = make_prediction(10, (0,))
    both = Prediction(alone.title, 10, 25.0, alone.ranking, alone.windows, MODALITIES)
    assert draw_sheet(both).shape[0] > draw_sheet(alone).shape[0] + 40
    assert is_color(draw_sheet(both), 2).any() and not is_color(draw_sheet(alone), 2).any()
