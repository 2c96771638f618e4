"""OpenPose folders: frames by number, layouts by the first person, damage by file and line."""

import argparse
import json

import numpy as np
import pytest
from raw_skeleton_files import draw_person

from dataset.raw_skeletons import openpose
from dataset.raw_skeletons.samples import MISSING_POINTS, RawSample


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


def read(sample, first_frame=None):
    options = {"persons": None, "num_persons": 2, "image_size": None, "first_frame": first_frame}
    return openpose.read_sample(sample, argparse.Namespace(**options))


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
    with pytest.raises(
        ValueError, match="a_g01': its first frame has the number 95, expected 0 or 1: the frames before"
    ):
        read(found.samples[0])
    with pytest.raises(ValueError, match="its first frame has the number 95, expected 94: the frames before it are"):
        read(found.samples[0], 94)
    annotation = read(found.samples[0], 95)
    assert (annotation["keypoint"] == read(found.samples[0], "found")["keypoint"]).all()
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
        (whole.replace("0.5]", "true]"), r"pose_keypoints_2d\[74\] is True, expected a number"),
    ):
        path.write_text(text)
        with pytest.raises(ValueError, match=f"a_g01_000000000001_keypoints.json' .*{expected}"):
            read(sample)
    path.unlink()
    with pytest.raises(ValueError, match="a_g01': frame 1 is missing, expected every frame; get it again"):
        read(sample)
    write(tmp_path, "Wave/a_g01", [[draw(1, 18)[0]]], first=1)
    with pytest.raises(ValueError, match=r"a_g01': persons have \[18, 25\] joints, expected one number"):
        read(sample)


def test_a_point_without_numbers_is_missing(tmp_path):
    folder, person = write(tmp_path, "Wave/a_g01", [[points] for points in draw(3)]), draw(3)[..., :2]
    path = folder / "a_g01_000000000001_keypoints.json"
    path.write_text(path.read_text().replace("0.5]", "null]"))
    annotation = read(RawSample("a_g01", str(folder)))
    person[1, 24] = 0
    np.testing.assert_allclose(annotation["keypoint"][0], person, rtol=1e-6)
    assert annotation["keypoint_score"][0, 1, 24] == 0 and annotation["notes"] == {MISSING_POINTS: 1}


def test_files_of_two_videos_in_one_folder_are_two_samples(tmp_path):
    for name, shift in (("a", 0), ("b", 500)):
        write(tmp_path, f"tmp/{name}_g0{1 + (name == 'b')}", [[points + [shift, 0, 0]] for points in draw(3)])
    for place in ("Wave", "Bow/morning", "train/Wave"):  # a class, a folder in one, and a class in a split
        root = tmp_path / f"of {place.replace('/', ' ')}"
        for path in (tmp_path / "tmp").rglob("*.json"):
            (root / place).mkdir(parents=True, exist_ok=True)
            (root / place / path.name).write_bytes(path.read_bytes())
        (root / place / "notes_keypoints.json").write_text("?")
        found = find(root)
        assert [sample.name for sample in found.samples] == ["a_g01", "b_g02"]
        assert found.class_names == [{"Bow/morning": "Bow"}.get(place, "Wave")]
        assert list(found.skipped) == [str(root / place / "notes_keypoints.json")]
        middles = [read(sample)["keypoint"][0, 0, :, 0].mean() for sample in found.samples]
        assert middles[1] - middles[0] == pytest.approx(500, rel=1e-5)
    with pytest.raises(ValueError, match="holds files of several videos or of none .'a_g01_' and 'b_g02_'.; give each"):
        read(RawSample("x", str(root / place), 0))


def test_a_broken_first_file_does_not_end_the_run(tmp_path):
    folder = write(tmp_path, "Wave/a_g01", [[points] for points in draw(2)])
    write(tmp_path, "Wave/b_g02", [[points] for points in draw(2)])
    (folder / "a_g01_000000000000_keypoints.json").write_text('{"people": [{"pose_')
    found = find(tmp_path)
    assert found.layout == "openpose25" and len(read(found.samples[1])["keypoint"]) == 1
    with pytest.raises(ValueError, match="a_g01_000000000000_keypoints.json' line 1: no whole json"):
        read(found.samples[0])


def test_names_without_a_number(tmp_path):
    (tmp_path / "Wave" / "a").mkdir(parents=True)
    (tmp_path / "Wave" / "a" / "x_keypoints.json").write_text('{"people": []}')
    with pytest.raises(ValueError, match="x_keypoints.json': its name has no number of a frame, .*; rename the files"):
        find(tmp_path)


def test_two_files_of_one_frame(tmp_path):
    folder = write(tmp_path, "Wave/a_g01", [[points] for points in draw(2)])
    (folder / "a_g01_1_keypoints.json").write_text('{"people": []}')
    write(tmp_path, "Wave/b_g02", [[points] for points in draw(2)])
    with pytest.raises(ValueError, match="a_g01_1_keypoints.json' is the second file of frame 1; take one out"):
        read(find(tmp_path).samples[0])


@pytest.mark.parametrize("ids, expected", [([-1, -1], [[1, 1], [500, 500]]), ([3, 8], [[1, 500], [500, 1]])])
def test_person_ids_say_who_is_who_unless_they_are_minus_one(tmp_path, ids, expected):
    for frame, places in enumerate([(1.0, 500.0), (500.0, 1.0)]):
        people = [
            {"person_id": [who], "pose_keypoints_2d": [place, place, score] * 25}
            for who, place, score in zip(ids, places, (0.9, 0.8), strict=True)
        ]
        path = tmp_path / f"a_{frame}_keypoints.json"
        path.write_text(json.dumps({"people": people}))
    annotation = read(RawSample("a", str(tmp_path), 0))
    assert annotation["keypoint"][:, :, 0, 0].tolist() == expected


def test_sets_without_anybody(tmp_path):
    write(tmp_path, "Wave/a_g01", [[], []])
    with pytest.raises(ValueError, match="a_g01_000000000000_keypoints.json' and 1 more files show no person"):
        find(tmp_path)
