"""OpenPose folders: frames by number, layouts by the first person, damage by file and line."""

import argparse
import json

import numpy as np
import pytest
from raw_skeleton_files import draw_person

from dataset.raw_skeletons import openpose


def write(root, name, frames, first=0):
    folder = root / name
    folder.mkdir(parents=True, exist_ok=True)
    for number, people in enumerate(frames, first):
        content = {"version": 1.3, "people": [{"pose_keypoints_2d": points.ravel().tolist()} for points in people]}
        path = folder / f"{folder.name}_{number:012}_keypoints.json"
        path.write_text(json.dumps(content))
    return folder


def find(root, **flags):
    flags = {"raw": str(root), "classes": None, "layout": None, "val_ratio": 0.5, "seed": 0, **flags}
    return openpose.find_samples(argparse.Namespace(**flags))


def read(sample):
    return openpose.read_sample(sample, argparse.Namespace(persons=None, num_persons=2, image_size=None))


def draw(num_frames, num_joints=25, seed=0):
    return np.concatenate(
        [draw_person(num_frames, seed, 2, num_joints) * 100, np.full((num_frames, num_joints, 1), 0.5)], 2
    )


def test_folders_become_samples(tmp_path):
    person = draw(12)
    write(tmp_path, "Wave/a_g01", [[], *([points] for points in person)], first=95)
    write(tmp_path, "Bow/b_g02", [[points] for points in person])
    found = find(tmp_path)
    assert [(sample.name, sample.label) for sample in found.samples] == [("a_g01", 1), ("b_g02", 0)]
    assert found.class_names == ["Bow", "Wave"] and found.layout == "openpose25"
    assert sorted(map(len, found.splits.values())) == [1, 1] and set(found.splits) == {"train", "val"}
    annotation = read(found.samples[0])
    assert annotation["keypoint"].shape == (1, 13, 25, 2) and not annotation["keypoint"][0, 0].any()
    np.testing.assert_allclose(annotation["keypoint"][0, 1:], person[..., :2], rtol=1e-6)
    assert (annotation["keypoint_score"][0, 1:] == 0.5).all() and "img_shape" not in annotation
    assert find(tmp_path, layout="coco17").layout == "coco17"


def test_eighteen_joints(tmp_path):
    for group in (1, 2):
        write(tmp_path, f"train/Wave/a_g0{group}", [[points] for points in draw(2, 18)])
    assert find(tmp_path).layout == "openpose18" and set(find(tmp_path).splits) == {"train"}


def test_damage_is_named(tmp_path):
    folder = write(tmp_path, "Wave/a_g01", [[points] for points in draw(3)])
    write(tmp_path, "Wave/b_g02", [[points] for points in draw(3)])
    sample = find(tmp_path).samples[0]
    path = folder / "a_g01_000000000001_keypoints.json"
    whole = path.read_text()
    for text, expected in (
        (whole[:80], "line 1: no whole json"),
        ("{}", "line 1: people is missing"),
        (whole.replace("0.5]", "0.5, 1]"), r"line 1: people\[0\].pose_keypoints_2d has 76 values, expected 75 or 54"),
        (whole.replace("0.5]", "50.5]"), "has a score of 50.5, expected 0 to 1"),
        (whole.replace("0.5]", "1e9]"), r"pose_keypoints_2d\[74\] is 1000000000.0, expected a number from -20000"),
        (whole.replace("0.5]", "null]"), r"pose_keypoints_2d\[74\] is None, expected a number"),
    ):
        path.write_text(text)
        with pytest.raises(ValueError, match=f"a_g01_000000000001_keypoints.json' .*{expected}"):
            read(sample)
    path.unlink()
    with pytest.raises(ValueError, match="a_g01': frame 1 is missing, expected one file per frame"):
        read(sample)
    write(tmp_path, "Wave/a_g01", [[draw(1, 18)[0]]], first=1)
    with pytest.raises(ValueError, match=r"a_g01': persons have \[18, 25\] joints, expected one number"):
        read(sample)


def test_sets_without_anybody(tmp_path):
    write(tmp_path, "Wave/a_g01", [[], []])
    with pytest.raises(ValueError, match="a_g01_000000000000_keypoints.json' and 1 more files show no person"):
        find(tmp_path)
