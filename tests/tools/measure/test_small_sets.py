"""Small sets drawn out of a skeleton pkl, and key points as a camera sees them."""

from collections import Counter

import numpy as np
import pytest

from common.files import dump_pickle, load_pickle
from tools.measure import small_sets

LABELS = {f"s{index:02d}": index % 3 for index in range(30)} | {"rare": 3}


def test_each_class_has_its_turn_and_a_smaller_set_is_part_of_a_larger_one():
    drawn = {size: small_sets.draw_small_set(LABELS, size, 0) for size in (3, 8, 20, 31)}
    assert {size: len(set(names)) for size, names in drawn.items()} == {3: 3, 8: 8, 20: 20, 31: 31}
    assert set(drawn[3]) < set(drawn[8]) < set(drawn[20]) < set(drawn[31]) == set(LABELS)
    counts = Counter(LABELS[name] for name in drawn[20])
    assert counts[3] == 1 and max(counts.values()) == 7 and min(counts[label] for label in range(3)) == 6


def test_the_draw_is_that_of_the_seed_and_not_of_the_order():
    drawn = small_sets.draw_small_set(LABELS, 10, 0)
    assert small_sets.draw_small_set(dict(reversed(LABELS.items())), 10, 0) == drawn
    assert small_sets.draw_small_set(LABELS, 10, 1) != drawn


@pytest.mark.parametrize("size", [0, 32])
def test_more_than_there_are_cannot_be_drawn(size):
    with pytest.raises(ValueError, match=f"--sizes: cannot draw {size} of 31 samples; give 1 to 31"):
        small_sets.draw_small_set(LABELS, size, 0)


def test_a_camera_sees_points_in_its_axis_in_the_middle_and_halves_at_twice_the_depth():
    keypoint = np.array([[0, 0, 3], [1, 1, 2], [1, 1, 4], [0, 0, 0]], np.float32)[None, None]
    pixels = small_sets.project(keypoint)[0, 0]
    assert pixels.tolist() == [[320, 240], [582.5, -22.5], [451.25, 108.75], [0, 0]]  # y of a picture points down


def test_the_pkl_gets_a_split_for_each_size(tmp_path, capsys):
    names = [f"s{index}" for index in range(6)]
    annotations = [
        {"frame_dir": name, "label": index % 2, "total_frames": 4, "keypoint": np.ones((1, 4, 20, 3), np.float16)}
        for index, name in enumerate(names)
    ]
    dump_pickle({"split": {"train": names[:4], "val": names[4:]}, "annotations": annotations}, tmp_path / "all.pkl")
    words = [str(tmp_path / "all.pkl"), "--splits", "train", "--sizes", "2", "3", "--out", str(tmp_path / "few.pkl")]
    assert small_sets.main(words) == 0
    content = load_pickle(tmp_path / "few.pkl")
    assert {split: len(members) for split, members in content["split"].items()} == {
        "train": 4, "val": 2, "train_2": 2, "train_3": 3,
    }  # fmt: skip
    assert content["annotations"][0]["keypoint"].shape == (1, 4, 20, 3)
    assert "train_2 of 2" in capsys.readouterr().out
    assert small_sets.main([*words, "--seen_by_camera"]) == 0
    seen = load_pickle(tmp_path / "few.pkl")["annotations"][0]
    assert seen["keypoint"].shape == (1, 4, 20, 2) and seen["img_shape"] == (480, 640)
    words[2] = "test"
    with pytest.raises(ValueError, match="has no split 'test', it has train, val"):
        small_sets.main(words)
