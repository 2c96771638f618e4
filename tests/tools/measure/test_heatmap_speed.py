"""tools/benchmark.py heatmaps: its bodies, its clock, its table."""

import numpy as np
from printed_tables import read_spread, read_table

from reader import draw_heatmaps
from tools import benchmark
from tools.measure import heatmap_speed


def test_the_table_has_each_case(capsys):
    words = ["heatmaps", "--use_gpu", "False", "--batches", "1", "--repeats", "3", "--batch_size", "2"]
    benchmark.main(words)
    text = capsys.readouterr().out
    titles, *rows = read_table(text)
    assert titles[3] == "a batch of 2 on cpu" and [row[0] for row in rows] == list(heatmap_speed.CASES)
    assert [row[1] for row in rows] == ["23.8", "115.5", "15.8"]
    for row in rows:
        for cell in row[2:]:
            median, low, high = read_spread(cell)
            assert 0 < low <= median <= high
    assert "median of 3 x 1 calls" in text


def test_the_bodies_are_seen_whole():
    keypoint = heatmap_speed.draw_bodies(2, 48, 64)
    assert keypoint.shape == (2, 2, 48, 17, 4) and not keypoint[..., 3].any()
    assert keypoint[..., :2].min() > 0 and keypoint[..., :2].max() < 64
    height = np.ptp(keypoint[..., 1], axis=3)
    assert 40 < height.min() and height.max() < 64
    maps = draw_heatmaps.make_heatmaps(keypoint[0, ..., :2], keypoint[0, ..., 2], (64, 64))
    assert (maps.max(axis=(2, 3)) > 0.2).all()


def test_the_clock_counts_work_and_not_the_warm_up():
    calls = []
    figures = heatmap_speed.time_process(lambda: calls.append(sum(range(200000))), 3, 2)
    assert len(calls) == 7 and len(figures) == 2
    assert all(figure > 0.1 for figure in figures)
