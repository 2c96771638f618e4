"""Kinetics-skeleton: label files, frames and damage."""

import argparse
import json

import numpy as np
import pytest
from raw_skeleton_files import draw_person

from dataset.raw_skeletons import kinetics

LABELS = {"a": ("yoga", 1), "b": ("abseiling", 0), "c": ("yoga", 1)}


def write_set(root, data):
    for split, names in (("train", "ab"), ("val", "c")):
        (root / f"kinetics_{split}").mkdir(parents=True)
        table = {}
        for name in names:
            label, index = LABELS[name]
            table[name] = {"has_skeleton": True, "label": label, "label_index": index}
            content = {"data": data, "label": label, "label_index": index}
            (root / f"kinetics_{split}" / f"{name}.json").write_text(json.dumps(content))
        (root / f"kinetics_{split}_label.json").write_text(json.dumps(table))
    return root


def find(root):
    return kinetics.find_samples(argparse.Namespace(raw=str(root)))


def read(sample, persons=None):
    return kinetics.read_sample(sample, argparse.Namespace(persons=persons, num_persons=2))


def person(points, score):
    return {"pose": points.ravel().tolist(), "score": [score] * 18}


def test_frames_persons_and_points_of_score_zero(tmp_path):
    points = draw_person(2, num_axes=2, num_joints=18)
    weak, strong = person(points[0], 0.25), person(points[1], 0.5)
    strong["score"][3] = 0.0
    data = [{"frame_index": 1, "skeleton": [weak, strong]}, {"frame_index": 3, "skeleton": [weak]}]
    found = find(write_set(tmp_path, data))
    assert found.splits == {"train": ["a", "b"], "val": ["c"]} and found.class_names == ["abseiling", "yoga"]
    assert [sample.label for sample in found.samples] == [1, 0, 1] and found.layout == "openpose18"
    annotation = read(found.samples[0])
    keypoint, score = annotation["keypoint"], annotation["keypoint_score"]
    assert keypoint.shape == (2, 4, 18, 2) and annotation["total_frames"] == 4 and annotation["img_shape"] == (1, 1)
    seen = points[1] * (np.arange(18) != 3)[:, None]
    np.testing.assert_allclose(keypoint[0, 1], seen, atol=1e-7)  # the better score comes first
    np.testing.assert_allclose(keypoint[1, 1], points[0], atol=1e-7)
    np.testing.assert_allclose(keypoint[0, 3], points[0], atol=1e-7)
    assert not keypoint[:, [0, 2]].any() and score[0, 1].tolist() == [0.5] * 3 + [0] + [0.5] * 14
    assert read(found.samples[0], "matched")["keypoint"].shape == (2, 4, 18, 2)


GOOD = {"pose": [0.5] * 36, "score": [0.5] * 18}


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ([{"frame_index": 1, "skeleton": [{**GOOD, "pose": [0.5] * 35}]}], "data[0].skeleton[0].pose has 35 values"),
        ([{"frame_index": 1, "skeleton": [{**GOOD, "score": [1] * 19}]}], "data[0].skeleton[0].score has 19 values"),
        ([{"frame_index": 1, "skeleton": [{**GOOD, "pose": [0.5] * 35 + [6]}]}], "pose[35] is 6, expected a number"),
        ([{"frame_index": 1, "skeleton": [{**GOOD, "score": [11] * 18}]}], "score[0] is 11, expected a number from"),
        ([{"frame_index": 1, "skeleton": [{"pose": [0.5] * 36}]}], "data[0].skeleton[0].score is missing"),
        (
            [{"frame_index": 1, "skeleton": []}, {"frame_index": 1, "skeleton": []}],
            "data[1].frame_index is 1, expected",
        ),
        ([{"frame_index": -1, "skeleton": []}], "data[0].frame_index is -1, expected numbers from 0, each once"),
        ([{"skeleton": []}], "data[0].frame_index is missing"),
        ([], "a has no body in any of its 0 frames"),
        ([{"frame_index": 7, "skeleton": []}], "a has no body in any of its 8 frames"),
    ],
)
def test_damage_is_named(tmp_path, data, expected):
    with pytest.raises(ValueError) as caught:
        read(find(write_set(tmp_path, data)).samples[0])
    assert expected in str(caught.value) and "a.json'" in str(caught.value)


def test_labels_must_agree(tmp_path):
    root = write_set(tmp_path, [{"frame_index": 1, "skeleton": [GOOD]}])
    path = root / "kinetics_train" / "a.json"
    path.write_text(path.read_text().replace('"label_index": 1', '"label_index": 2'))
    with pytest.raises(ValueError, match="a.json' line 1: label_index is not 1, as the label file says; correct one"):
        read(find(root).samples[0])
    (root / "kinetics_train" / "more.json").write_text("{}")
    assert "_label.json' does not name it" in find(root).skipped[str(root / "kinetics_train" / "more.json")]
    labels = root / "kinetics_val_label.json"
    labels.write_text(labels.read_text().replace("yoga", "zumba"))
    with pytest.raises(ValueError, match="c.label is not 'yoga', as others of label 1; correct it"):
        find(root)
    with pytest.raises(FileNotFoundError, match="no videos in '.*', in kinetics_train or kinetics_val"):
        find(tmp_path / "absent")


def test_label_files_that_are_missing_or_cannot_be(tmp_path):
    root = write_set(tmp_path, [{"frame_index": 1, "skeleton": [GOOD]}])
    labels = root / "kinetics_val_label.json"
    whole = labels.read_text()
    for text, message in (
        (
            whole.replace('"label_index": 1', '"label_index": 1000000000000'),
            "label_index is 1000000000000, expected one",
        ),
        ("[1]", r"kinetics_val_label.json' line 1: is \[1\], expected a dict"),
    ):
        labels.write_text(text)
        with pytest.raises(ValueError, match=message):
            find(root)
    labels.unlink()
    with pytest.raises(FileNotFoundError, match="kinetics_val_label.json' does not exist; it says what the videos of"):
        find(root)
