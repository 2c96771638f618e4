"""Arrays (N, C, T, V, M) with labels."""

import argparse
import pickle

import numpy as np
import pytest
from raw_skeleton_files import draw_person

from dataset.raw_skeletons import arrays


def write(root, split="train", num_joints=18, labels=((("a.json", "b.json"), (3, 0)))):
    data = np.zeros((2, 3, 10, num_joints, 2), np.float32)
    data[0, :, :4, :, 0] = draw_person(4, 1, 3, num_joints).transpose(2, 0, 1)
    data[1, :, :, :, 0] = draw_person(10, 2, 3, num_joints).transpose(2, 0, 1)
    data[1, :, 2:5, :, 1] = draw_person(3, 3, 3, num_joints).transpose(2, 0, 1)
    np.save(root / f"{split}_data_joint.npy", data)
    (root / f"{split}_label.pkl").write_bytes(pickle.dumps(tuple(map(list, labels)), 2))
    return data


def flags(root, **more):
    return argparse.Namespace(**{"raw": str(root), "classes": None, "layout": None, **more})


def read_all(root, **more):
    found = arrays.find_samples(flags(root, **more))
    return found, [arrays.read_sample(sample, flags(root, **more)) for sample in found.samples]


def test_rows_become_samples(tmp_path):
    data = write(tmp_path)
    write(tmp_path, "val", labels=(("c", "d"), (1, 1)))
    found, annotations = read_all(tmp_path)
    assert found.splits == {"train": ["a", "b"], "val": ["c", "d"]} and found.layout == "openpose18"
    assert [annotation["label"] for annotation in annotations] == [3, 0, 1, 1]
    assert [annotation["keypoint"].shape for annotation in annotations[:2]] == [(1, 4, 18, 2), (2, 10, 18, 2)]
    assert np.array_equal(annotations[1]["keypoint"], data[1, :2].transpose(3, 1, 2, 0))
    assert np.array_equal(annotations[1]["keypoint_score"], data[1, 2].transpose(2, 0, 1))
    assert sum(sample.num_bytes for sample in found.samples) == pytest.approx(2 * data.nbytes, rel=0.05)


def test_layout_must_be_said_where_it_is_not_clear(tmp_path):
    write(tmp_path, num_joints=25)
    with pytest.raises(ValueError, match="train_data_joint.npy' has 25 joints; say which with --layout, such as ntu25"):
        read_all(tmp_path)
    assert read_all(tmp_path, layout="ntu25")[1][0]["keypoint"].shape == (1, 4, 25, 3)
    assert read_all(tmp_path, layout="openpose25")[1][0]["keypoint_score"].shape == (1, 4, 25)


def test_paddlevideo_keeps_labels_as_npy(tmp_path):
    write(tmp_path)
    (tmp_path / "train_label.pkl").unlink()
    np.save(tmp_path / "train_label.npy", np.array([[5], [6]]))
    found = arrays.find_samples(flags(tmp_path / "train_data_joint.npy"))
    assert [(sample.name, sample.label) for sample in found.samples] == [("train_000000", 5), ("train_000001", 6)]


def test_two_samples_may_have_labels_alone(tmp_path):
    write(tmp_path)
    for labels in ([0, 1], (0, 1), np.array([0, 1])):
        (tmp_path / "train_label.pkl").write_bytes(pickle.dumps(labels))
        found = arrays.find_samples(flags(tmp_path))
        assert [(sample.name, sample.label) for sample in found.samples] == [("train_000000", 0), ("train_000001", 1)]


@pytest.mark.parametrize("data", [b"", b"\x93NUMPY\x01\x00v\x00{'descr'", b"no array"])
def test_damaged_labels_are_named(tmp_path, data):
    write(tmp_path)
    (tmp_path / "train_label.pkl").unlink()
    (tmp_path / "train_label.npy").write_bytes(data)
    with pytest.raises(ValueError, match="train_label.npy' is no whole npy file of numbers .*; get it again"):
        arrays.find_samples(flags(tmp_path))


def test_damage_is_named(tmp_path):
    data = write(tmp_path)
    data[1, 1, 7, 3, 0] = np.nan
    np.save(tmp_path / "train_data_joint.npy", data)
    with pytest.raises(ValueError, match=r"b person 0, frame 7, joint 3: coordinates \[0.\d+, nan\], expected numbers"):
        read_all(tmp_path)
    np.save(tmp_path / "train_data_joint.npy", data[0])
    with pytest.raises(
        ValueError,
        match=r"joint.npy' has the shape \(3, 10, 18, 2\) of float32, expected floating point numbers \(N, C, T, V, M",
    ):
        read_all(tmp_path)
    path = tmp_path / "train_data_joint.npy"
    write(tmp_path)
    for size in (0, 5, 60, 100, path.stat().st_size - 1):
        write(tmp_path)
        path.write_bytes(path.read_bytes()[:size])
        with pytest.raises(ValueError, match="train_data_joint.npy' is no whole npy file of numbers"):
            read_all(tmp_path)
    np.save(path, np.array([{}]))
    with pytest.raises(ValueError, match="train_data_joint.npy' is no whole npy file of numbers"):
        read_all(tmp_path)


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ((("a",), (1,)), "has 2 samples, but its labels are 1; get both again"),
        ((("a", "b"), (1,)), "train_label.pkl' has 2 names but 1 labels"),
        ((("a", "b"), (1, -1)), "train_label.pkl' holds int64 labels, expected whole numbers from 0"),
        ((("a", "b"), (1, 0.5)), "train_label.pkl' holds float64 labels, expected whole numbers from 0"),
        ((("a", "a"), (1, 0)), "1 sample names in '.*' come twice"),
    ],
)
def test_labels_must_fit(tmp_path, labels, expected):
    write(tmp_path, labels=labels)
    with pytest.raises(ValueError, match=expected):
        read_all(tmp_path)


def test_an_array_without_labels_becomes_a_split_without_labels(tmp_path):
    write(tmp_path)
    (tmp_path / "train_label.pkl").unlink()
    raw_set, annotations = read_all(tmp_path)
    assert raw_set.splits == {"train": ["train_000000", "train_000001"]}
    assert [annotation["frame_dir"] for annotation in annotations] == raw_set.splits["train"]
    assert not any("label" in annotation for annotation in annotations)  # None or -1 would mislead other tools


def test_missing_files(tmp_path):
    write(tmp_path)
    (tmp_path / "train_data_joint.npy").rename(tmp_path / "x.npy")
    with pytest.raises(FileNotFoundError, match="no file in '.*' is named like train_data.npy"):
        read_all(tmp_path)
