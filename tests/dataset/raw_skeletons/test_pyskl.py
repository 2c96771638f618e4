"""The skeleton pkl itself: whole samples pass through unchanged, others are named."""

import argparse
import pickle

import numpy as np
import pytest

from dataset.raw_skeletons import pyskl


def make(name, label=0, num_frames=5, **changes):
    rng = np.random.default_rng(len(name))
    return {
        "frame_dir": name, "label": label, "img_shape": (1080, 1920), "original_shape": (1080, 1920),
        "total_frames": num_frames, "keypoint": rng.uniform(1, 9, (2, num_frames, 17, 2)).astype(np.float16),
        "keypoint_score": rng.uniform(0, 1, (2, num_frames, 17)).astype(np.float16), **changes,
    }  # fmt: skip


def find(tmp_path, content, **flags):
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(content))
    flags = {"raw": str(tmp_path / "a.pkl"), "classes": None, "layout": None, **flags}
    return pyskl.find_samples(argparse.Namespace(**flags))


def test_whole_samples_pass_through(tmp_path):
    second = make("b", 1, img_shape=None)
    second["keypoint"][1] = 0
    content = {"split": {"train": ["a"], "val": ["b"]}, "annotations": [make("a", more=3), second]}
    found = find(tmp_path, content)
    for annotation, raw in zip(found.annotations, content["annotations"], strict=True):
        assert annotation.keys() == raw.keys() and annotation["keypoint"].dtype == np.float16
        for key, value in raw.items():
            assert np.array_equal(annotation[key], value) if isinstance(value, np.ndarray) else annotation[key] == value
    assert found.splits == content["split"] and found.layout == "coco17" and found.class_names is None
    assert not found.failed and not found.skipped
    assert find(tmp_path, {**content, "class_names": ["x", "y"], "layout": "own.yaml"}).class_names == ["x", "y"]
    assert find(tmp_path, {**content, "layout": "own.yaml"}).layout == "own.yaml"


@pytest.mark.parametrize(
    ("changes", "kind", "expected"),
    [
        ({"label": -1}, "damaged", "a.pkl' annotation 1 (b): label is -1, expected a whole number from 0"),
        ({"label": [1, 2]}, "damaged", "annotation 1 (b): label is [1, 2], expected a whole number"),
        ({"keypoint": None}, "damaged", "annotation 1 (b): keypoint is a NoneType, expected numbers (M, T, V, C)"),
        (
            {"keypoint": np.ones((5, 17, 2))},
            "damaged",
            "keypoint is of the shape (5, 17, 2), float64, expected numbers",
        ),
        ({"keypoint": np.ones((1, 5, 17, 4))}, "damaged", "keypoint has 4 coordinates, expected 2 or 3"),
        ({"total_frames": 6}, "damaged", "annotation 1 (b): total_frames is 6, keypoint has 5 frames"),
        (
            {"keypoint_score": np.ones((1, 5, 17))},
            "damaged",
            "keypoint_score is of the shape (1, 5, 17), float64, expect",
        ),
        (
            {"keypoint_score": np.full((2, 5, 17), np.nan)},
            "damaged",
            "b person 0, frame 0, joint 0: score nan, expected",
        ),
        (
            {"keypoint": np.full((2, 5, 17, 2), np.inf, np.float16)},
            "damaged",
            "b person 0, frame 0, joint 0: coordinates [inf, inf]",
        ),
        ({"keypoint": np.zeros((2, 5, 17, 2))}, "empty", "b has no body in any of its 5 frames"),
    ],
)
def test_bad_samples_are_named(tmp_path, changes, kind, expected):
    content = {"split": {"train": ["a", "b"]}, "annotations": [make("a"), make("b", **{"label": 1, **changes})]}
    found = find(tmp_path, content)
    assert [annotation["frame_dir"] for annotation in found.annotations] == ["a"]
    assert found.failed["b"][0] == kind and expected in found.failed["b"][1]


def test_names_that_do_not_fit(tmp_path):
    content = {"split": {"train": ["a", "z"]}, "annotations": [make("a"), make("a"), make(""), 7]}
    assert find(tmp_path, content).skipped == {
        "annotation 1": "the sample a comes twice",
        "annotation 2": "it has no frame_dir, its name",
        "annotation 3": "it has no frame_dir, its name",
        "train: z": "the split names it, but it has no annotation",
    }


@pytest.mark.parametrize("content", [[1], {"split": {}}, {"annotations": {}}])
def test_other_pickles(tmp_path, content):
    with pytest.raises(ValueError, match="a.pkl' is no dict of 'split' and 'annotations'; give a pkl of PYSKL"):
        find(tmp_path, content)
