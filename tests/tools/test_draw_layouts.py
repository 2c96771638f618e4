"""Drawings of layouts: discs and lines stand where the layout says, in the color of their side; the files are small."""

import cv2
import numpy as np
import pytest
from paths import ROOT

from layouts import LAYOUTS, get_layout
from tools import draw_layouts
from tools.draw_layouts import HEIGHT, LEFT, MIDDLE, RADIUS, RIGHT, WIDTH, choose_colors, draw_layout

PICTURES = ROOT / "docs" / "layouts"
WHITE = [255, 255, 255]


def look(picture, layout, joint, dx, dy=0):
    x, y = layout.positions[joint]
    return picture[round(y * HEIGHT / 100) + dy, round(x * WIDTH / 100) + dx].tolist()


def look_between(picture, layout, joint, other, share):
    (x, y), (u, v) = layout.positions[joint], layout.positions[other]
    x, y = x + share * (u - x), y + share * (v - y)
    return picture[round(y * HEIGHT / 100), round(x * WIDTH / 100)].tolist()


@pytest.mark.parametrize("name", LAYOUTS)
def test_the_documents_have_a_small_picture_of_each_layout(name):
    path = PICTURES / f"{name}.png"
    assert path.stat().st_size < 20_000
    kept = cv2.imread(str(path))[..., ::-1].astype(int)
    drawn = draw_layout(LAYOUTS[name])
    assert kept.shape == drawn.shape == (HEIGHT, 660, 3)
    differs = np.abs(kept - drawn).max(axis=2) > 40  # letters are not the same in all versions of OpenCV
    assert differs[:, :WIDTH].mean() < 0.01


@pytest.mark.parametrize("name", LAYOUTS)
def test_discs_have_the_color_of_their_side(name):
    layout = LAYOUTS[name]
    picture = draw_layout(layout)
    for joint, color in enumerate(choose_colors(layout)):
        assert color == {"left_": LEFT, "right": RIGHT}.get(layout.joints[joint][:5], MIDDLE)
        assert look(picture, layout, joint, dx=RADIUS - 1) == look(picture, layout, joint, dx=1 - RADIUS) == list(color)
        inside = [look(picture, layout, joint, dx, dy) for dx in range(-6, 7) for dy in range(-5, 6)]
        assert max(map(min, inside)) > 200, "no number"


def test_bones_are_lines_and_what_is_one_kind_only_is_thin_or_dashed():
    layout = LAYOUTS["ntu25_star"]
    picture = draw_layout(layout)
    shares = np.linspace(0.2, 0.8, 30)
    knee = [look_between(picture, layout, 13, 12, share) for share in shares]  # bone and edge
    assert all(color == list(LEFT) for color in knee)
    tip = [look_between(picture, layout, 21, 7, share) for share in np.linspace(0.2, 0.8, 60)]  # edge only
    assert 0.2 < np.mean([color[0] > 128 for color in tip]) < 0.7  # the left has no red
    joined = [look_between(picture, layout, 21, 22, share) for share in shares]  # bone only
    assert WHITE not in joined
    x, y = (
        round(value) for value in np.mean([layout.positions[21], layout.positions[22]], axis=0) * [WIDTH, HEIGHT] / 100
    )
    assert (picture[y - 8 : y + 9, x, 0] < 128).sum() <= 2  # a thin line, nearly level
    assert look_between(picture, layout, 8, 20, 0.5) == list(RIGHT), "a line to the middle has its side's color"
    assert look_between(picture, layout, 5, 9, 0.4) == WHITE


def test_layouts_are_drawn_by_name_or_file(tmp_path, capsys):
    path = tmp_path / "stick.yaml"
    path.write_text("joints: [[top, top, 50, 10], [foot, top, 60, 90]]", encoding="utf-8")
    draw_layouts.main([str(path), "ucla20", "--out", str(tmp_path / "out")])
    files = [str(tmp_path / "out" / name) for name in ("stick.png", "ucla20.png")]
    assert capsys.readouterr().out.split() == files
    assert cv2.imread(files[0]).shape == (HEIGHT, 660, 3)


def test_all_are_drawn_unless_told(tmp_path):
    draw_layouts.main(["--out", str(tmp_path)])
    assert {path.stem for path in tmp_path.iterdir()} == set(LAYOUTS)


def test_a_layout_without_positions_is_refused(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("joints: [[a, a], [b, a]]", encoding="utf-8")
    with pytest.raises(ValueError) as error:
        draw_layout(get_layout(str(path)))
    assert str(error.value) == "layout 'mine': no positions to draw; list its joints as [name, parent, x, y]"
