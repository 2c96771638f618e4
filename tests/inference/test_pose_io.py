"""Key points in: which files are found, what each form becomes, and which recording belongs to a video."""

import csv
import json

import numpy as np
import pytest
import raw_skeleton_files
import small_poses

from common import files
from inference import pose_io
from layouts import get_layout


def read(path, layout, split=None, size=None):
    """Read a file for a network of a layout."""
    return pose_io.read_annotations(str(path), split, get_layout(layout), size, 8.0)


def write_openpose(folder, num_joints, num_frames=3):
    """Write a folder of OpenPose with one person at 1, 2, 0.9."""
    folder.mkdir(parents=True)
    for number in range(num_frames):
        content = {"people": [{"pose_keypoints_2d": [1, 2, 0.9] * num_joints}]}
        (folder / f"x_{number:012d}_keypoints.json").write_text(json.dumps(content), encoding="utf-8")
    return folder


def write_mediapipe(path):
    """Write a csv of two frames."""
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([[0.25] * 99, [0.5] * 99])
    return path


def test_a_folder_gives_its_files_and_folders_of_openpose(tmp_path):
    write_openpose(tmp_path / "b" / "video 1", 25)
    for name in ("a.pkl", "b/c.JSON", "b/d.csv", "e.skeleton", "notes.txt", "out/a_predict.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    found = pose_io.find_files([str(tmp_path), "none.json"], str(tmp_path / "out"))
    names = ["a.pkl", "b/c.JSON", "b/d.csv", "b/video 1", "e.skeleton"]
    assert found == [*(str(tmp_path / name) for name in names), "none.json"]
    assert pose_io.find_files([str(tmp_path / "out")], str(tmp_path / "out")) != []  # named itself


@pytest.mark.parametrize("layout", ["openpose25", "openpose18"])
def test_a_folder_of_openpose(tmp_path, layout):
    folder = write_openpose(tmp_path / "video.1", get_layout(layout).num_joints)
    ((name, annotation),) = read(folder, layout, size=(90, 160))
    assert name == "video.1" and annotation["img_shape"] == (90, 160)
    recording = pose_io.make_recording("here", annotation, get_layout(layout))
    assert recording.keypoint.shape == (1, 3, get_layout(layout).num_joints, 2)
    assert recording.keypoint[0, 0, 0].tolist() == [1, 2] and recording.score[0, 2, 3] == np.float32(0.9)


def test_kinect_and_mediapipe(tmp_path):
    person = raw_skeleton_files.draw_person(3)
    raw_skeleton_files.write_ntu(tmp_path / "S1.skeleton", [[(7, frame)] for frame in person])
    ((name, annotation),) = read(tmp_path / "S1.skeleton", "ntu25")
    assert name == "S1" and np.allclose(annotation["keypoint"][0], person, atol=1e-6)
    ((name, annotation),) = read(write_mediapipe(tmp_path / "one.csv"), "mediapipe33")
    assert name == "one" and annotation["keypoint"][0, :, 5].tolist() == [[0.25] * 3, [0.5] * 3]


def test_other_json_files_are_known_by_what_they_hold(tmp_path):
    frames = raw_skeleton_files.draw_person(4, num_joints=20).tolist()
    (tmp_path / "a.json").write_text(json.dumps({"file_name": "a01_s01_e00_v01", "skeletons": frames, "label": 3}))
    ((name, annotation),) = read(tmp_path / "a.json", "ucla20")
    assert name == "a" and np.allclose(annotation["keypoint"], [frames])
    with pytest.raises(ValueError, match="its joints are those of layout ucla20, the network was trained on coco17"):
        read(tmp_path / "a.json", "coco17")
    people = [{"pose": [0.5] * 36, "score": [0.5] * 18}]
    data = [{"frame_index": 1, "skeleton": people}, {"frame_index": 2, "skeleton": people * 3}]
    (tmp_path / "b.json").write_text(json.dumps({"data": data, "label": "yoga", "label_index": 7}))
    ((_, annotation),) = read(tmp_path / "b.json", "openpose18")
    assert annotation["keypoint"].shape == (2, 3, 18, 2) and annotation["img_shape"] == (1, 1)


def test_persons_that_are_left_out_are_told(tmp_path, caplog):
    crowd = [{"image_id": 0, "keypoints": [x + 1.0, x + 2, 0.9] * 17} for x in (100, 200, 300)]
    (tmp_path / "a.json").write_text(json.dumps(crowd))
    ((_, annotation),) = read(tmp_path / "a.json", "coco17")
    assert len(annotation["keypoint"]) == 2 and "notes" not in annotation
    assert "a.json: persons beyond the first 2 left out (--persons keeps more): 1" in caplog.text


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"keypoint": 1 / 200}, "they are shares of the picture where pixels are expected; multiply x by the width"),
        ({"keypoint_score": 100.0}, "keypoint_score goes up to 9.*, expected 0 to 1; divide it"),
        ({"keypoint_score": 0.0}, "keypoint_score is 0 for every point"),
    ],
)
def test_units_are_checked_as_in_training(changes, message):
    annotation = small_poses.make_annotation("a")
    for key, factor in changes.items():
        annotation[key] = annotation[key] * np.float32(factor)
    with pytest.raises(ValueError, match=f"^here: .*{message}"):
        pose_io.make_recording("here", annotation, get_layout("coco17"))


def test_a_pkl_gives_all_or_a_split_in_its_order(tmp_path):
    annotations = [small_poses.make_annotation(name) for name in "abc"]
    files.dump_pickle({"annotations": annotations, "split": {"few": ["c", "a"], "odd": ["z"]}}, tmp_path / "p.pkl")
    assert [name for name, _ in read(tmp_path / "p.pkl", "coco17")] == ["a", "b", "c"]
    assert [name for name, _ in read(tmp_path / "p.pkl", "coco17", "few")] == ["c", "a"]
    for split, message in (("x", "there is no split 'x', the file has few, odd"), ("odd", "names 'z', which has no")):
        with pytest.raises(ValueError, match=message):
            read(tmp_path / "p.pkl", "coco17", split)


def test_the_size_of_pictures_that_a_file_states_goes_before_the_flag(tmp_path):
    stated, unstated = small_poses.make_annotation("a"), small_poses.make_annotation("b")
    del unstated["img_shape"]
    path = small_poses.write_poses(tmp_path / "p.pkl", [stated, unstated])
    assert [one["img_shape"] for _, one in read(path, "coco17", size=(1, 2))] == [(90, 160), (1, 2)]


def test_a_large_pkl_is_mapped_and_needs_no_labels(tmp_path):
    annotation = small_poses.make_annotation("a")
    expected = annotation["keypoint"].copy()
    del annotation["label"]
    path = small_poses.write_poses(tmp_path / "p.pkl", [annotation])
    ((_, found),) = pose_io.read_annotations(path, None, get_layout("coco17"), None, 1e-9)
    assert isinstance(found["keypoint"], np.memmap)
    recording = pose_io.make_recording("here", found, get_layout("coco17"))
    assert np.array_equal(recording.keypoint, expected) and recording.label is None


@pytest.mark.parametrize(
    "name, content, message",
    [
        ("a.json", b"[", "a.json"),
        ("a.json", b'[{"image_id": 0, "keypoints": [1, 2]}]', "line 1"),
        ("a.pkl", b"", "a.pkl"),
        ("a.mp4", b"x", "not known as a file of key points; give a skeleton pkl"),
        (".", None, "the folder holds no key points; give a skeleton pkl"),
    ],
)
def test_what_cannot_be_read_is_told(tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read(tmp_path / name, "coco17")


def test_a_video_finds_its_recording_by_name_and_folders(tmp_path):
    names = ["S001C001P001R001A001", "Bow/one.avi", "two.v1", "x_rgb", "a/three", "b/three", "four", "c/four"]
    index = pose_io.index_by_video([(name, number) for number, name in enumerate(names)])
    videos = {
        "S001C001P001R001A001_rgb.avi": 0, "in/Bow/one.mp4": 1, "two.v1.mp4": 2, "x_rgb.avi": 3, "b/three.avi": 5,
        "d/four.avi": 6, "c/four.avi": 7,
    }  # fmt: skip
    for video, number in videos.items():
        assert pose_io.find_for_video(index, str(tmp_path / video)) == (names[number], number)
    with pytest.raises(ValueError, match="no recording of --poses is called 'five'"):
        pose_io.find_for_video(index, "five.avi")
    for video in ("Kick/one.mp4", "three.avi"):
        with pytest.raises(ValueError, match="'(Bow/one.avi|a/three)' in --poses is the recording of a video in anoth"):
            pose_io.find_for_video(index, str(tmp_path / video))
    index = pose_io.index_by_video([("train/Bow/one", 0), ("val/Bow/one", 1)])
    with pytest.raises(ValueError, match="in --poses is the recording of a video in another folder"):
        pose_io.find_for_video(index, str(tmp_path / "Bow/one.avi"))
    found = pose_io.find_for_video(index, str(tmp_path / "videos/val/Bow/one.avi"), str(tmp_path / "videos"))
    assert found == ("val/Bow/one", 1)
    index = pose_io.index_by_video([("train/Bow/one", 0)])
    assert pose_io.find_for_video(index, str(tmp_path / "Bow/one.avi"), str(tmp_path)) == ("train/Bow/one", 0)
    index = pose_io.index_by_video([("one", 0), ("one.avi", 1)])
    with pytest.raises(ValueError, match="two recordings of --poses have its name, 'one' and 'one.avi'"):
        pose_io.find_for_video(index, str(tmp_path / "Bow/one.avi"))


def test_a_folder_of_files_is_all_of_them(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write_mediapipe(tmp_path / name / "v.csv")
    found = pose_io.read_annotations(str(tmp_path), None, get_layout("mediapipe33"), (90, 160), 8.0)
    assert [name for name, _ in found] == ["a/v", "b/v"]
