"""Pictures of clips with their classes."""

import types

import numpy as np

from inference import labelled_clips
from inference.labelled_clips import MAX_CLIPS, MIN_SIDE, TITLE_HEIGHT


def test_a_batch_is_drawn_with_the_first_view_of_each_sample_under_its_class(monkeypatch):
    shown = []
    monkeypatch.setattr(labelled_clips, "draw_clips", lambda clips, titles: shown.append((clips, titles)))
    clips = np.arange(5, dtype=np.uint8).reshape(5, 1, 1, 1, 1) * np.ones((1, 2, 4, 4, 3), np.uint8)
    batch = {"inputs": {"rgb": clips}, "labels": np.array([1, 2]), "names": ["a", "b"], "views": np.array([3, 2])}
    labelled_clips.draw_batch(["Wave", "挥手"], batch)
    assert shown[0][1] == ["挥手 (a)", "2 (b)"] and [clip[0, 0, 0, 0] for clip in shown[0][0]] == [0, 3]
    assert labelled_clips.draw_batch([], {"inputs": {"pose": clips}}) is None


def test_the_picture_has_a_title_and_a_row_of_frames_for_each_clip():
    dark, light = np.zeros((3, 56, 56, 3), np.uint8), np.full((3, 56, 56, 3), 255, np.uint8)
    picture = labelled_clips.draw_clips([dark, light], ["Wave", "Punch" * 100])
    row = TITLE_HEIGHT + MIN_SIDE
    assert picture.shape == (2 * row, 3 * MIN_SIDE, 3)
    assert not picture[TITLE_HEIGHT:row].any() and (picture[row + TITLE_HEIGHT :] == 255).all()
    assert (picture[:TITLE_HEIGHT].max(axis=2) > 200).any()  # letters


def test_the_surest_mistakes_are_read_again_and_drawn(monkeypatch):
    read = []

    def read_samples(indices):
        read.extend(indices)
        return [{"inputs": {"rgb": np.zeros((2, 1, 4, 4, 3))}, "names": [f"v{index}"]} for index in indices]

    titles = []
    monkeypatch.setattr(labelled_clips, "draw_clips", lambda clips, given: titles.extend(given))
    loader = types.SimpleNamespace(input_shape={"rgb": [3]}, read_samples=read_samples)
    scores = np.array([[0.9, 0.1], [0.6, 0.4], [0.8, 0.2], [0.3, 0.7]])
    result = {"scores": scores, "labels": np.array([0, 1, 1, 1])}
    labelled_clips.draw_wrong(loader, result, ["Wave", "Kick"])
    assert read == [2, 1] and titles == ["Kick, taken for Wave (v2)", "Kick, taken for Wave (v1)"]
    many = {"scores": np.tile(scores[:1], (20, 1)), "labels": np.ones(20, int)}
    labelled_clips.draw_wrong(loader, many, ["Wave", "Kick"])
    assert len(read) == 2 + MAX_CLIPS
    assert labelled_clips.draw_wrong(loader, {"scores": scores[:1], "labels": np.array([0])}, []) is None
    loader.input_shape = {"pose": [3]}
    assert labelled_clips.draw_wrong(loader, result, []) is None
