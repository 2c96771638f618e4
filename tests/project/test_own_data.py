"""Own data with a 001.avi in each class folder goes the whole road: RGB, skeletons, both; training, test, predict.py.

The pictures of a class are as bright as its name says, and its joints lie where its name says, so that a sample of
another class would be seen.
"""

import json

import numpy as np
import pytest
from small_poses import CLIPS, PATHWAYS
from small_videos import write_avi

import avi2jpg
import data_list_gener
import jpg2pkl
import predict
import skeleton2pkl
import test as scoring
import train
from common.files import dump_pickle, load_pickle
from dataset.records import read_list
from reader.clips import Clips
from reader.rgbpose import RGBPose
from reader.skeletons import Skeletons

CLASSES = ["Kick", "Wave"]
NUMBERS = ["001", "002", "003", "004"]
BRIGHTNESS = {"Kick": 60, "Wave": 180}
LEFT = {"Kick": 5, "Wave": 25}  # of the body, in pixels
NUM_FRAMES, HEIGHT, WIDTH = 8, 48, 64
SMALL = {"short_size": 32, "crop_size": 28, "clip_len": 4}
CONFIG = f"""
[MODEL]
name = rgbposeconv3d
num_classes = 2
{PATHWAYS}
[READER]
name = rgbpose
filelist = own.pkl
videos = videos
{CLIPS}
[TRAIN]
split = train
batch_size = 4
[VALID]
split = val
[TEST]
split = val
[RUN]
use_gpu = False
epochs = 1
"""


def write_key_points(path, left):
    points = [[left + joint, 10 + joint] for joint in range(17)]
    person = {"keypoints": points, "keypoint_scores": [0.9] * 17}
    frames = [{"frame_id": number, "instances": [person]} for number in range(NUM_FRAMES)]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"image_size": [WIDTH, HEIGHT], "instance_info": frames}))


@pytest.fixture
def own(tmp_path, monkeypatch):
    for class_name in CLASSES:
        for number in NUMBERS:
            frames = [np.full((HEIGHT, WIDTH, 3), BRIGHTNESS[class_name], np.uint8)] * NUM_FRAMES
            write_avi(tmp_path / "videos" / class_name / f"{number}.avi", frames)
            write_key_points(tmp_path / "points" / class_name / f"{number}.json", LEFT[class_name])
    monkeypatch.chdir(tmp_path)
    return tmp_path


def find_class(pixels):
    """Tell a class by the brightness of its pictures."""
    return min(CLASSES, key=lambda name: abs(BRIGHTNESS[name] - pixels.mean()))


def read_samples(filelist):
    """Read the samples of a list; return their names, and check that each has its class's pictures."""
    reader = Clips(str(filelist), mode="test", **SMALL)
    samples = [reader[0, index] for index in range(len(reader))]
    for sample in samples:
        assert reader.class_names[sample["label"]] == find_class(sample["inputs"]["rgb"])
    assert {sample["label"] for sample in samples} == {0, 1}  # each class is in each list
    return [sample["name"] for sample in samples]


def test_rgb_by_records_and_by_lists_of_videos(own, capsys):
    assert avi2jpg.main(["--root", ".", "--videos", "videos", "--workers", "1"]) == 0
    assert jpg2pkl.main(["--root", ".", "--split_by_group", "--workers", "1"]) == 0
    lists = ["--val_ratio", "0.3", "--workers", "1"]
    assert data_list_gener.main(["--root", ".", *lists]) == 0
    names = [name for side in ("train", "val", "test") for name in read_samples(f"{side}.list")]
    assert sorted(names) == [f"{class_name}/{number}" for class_name in CLASSES for number in NUMBERS]

    train_lines = [f"{name}/{number}.avi {label}\n" for label, name in enumerate(CLASSES) for number in NUMBERS[:3]]
    (own / "train.txt").write_text("".join(train_lines))
    (own / "test.txt").write_text("Wave/001.avi 1\nKick/004 0\n")
    (own / "labels.txt").write_text("Kick\nWave\n")
    capsys.readouterr()
    sides = ["--train", "train.txt", "--test", "test.txt", "--videos", "videos", "--labels", "labels.txt"]
    assert data_list_gener.main(["--root", "lists", *sides, *lists]) == 0
    assert "WARNING: 1 groups stand in train AND test, such as 001" in capsys.readouterr().out  # it is one video
    for side in ("train", "val", "test"):
        read_samples(f"lists/{side}.list")
    (own / "train.txt").write_text("".join(line for line in train_lines if line != "Wave/001.avi 1\n"))
    assert data_list_gener.main(["--root", "lists", *sides, *lists]) == 0
    assert "AND test" not in capsys.readouterr().out  # Kick/001 and Wave/001 are two


def test_a_list_never_gets_the_video_of_another_class(own):
    for number in NUMBERS:
        (own / "videos" / "Kick" / f"{number}.avi").unlink()
    (own / "a.txt").write_text("Kick/001.avi 0\nWave/001.avi 1\n")
    sides = ["--train", "a.txt", "--test", "a.txt", "--videos", "videos", "--workers", "1"]
    assert data_list_gener.main(["--root", ".", *sides]) == 0
    assert [entry.path for entry in read_list("train.list")[0]] == ["videos/Wave/001.avi"]
    reason = "a.txt line 1: 'videos/Kick/001.avi' does not exist ('videos/Wave/001.avi' lies in another folder); get it"
    assert reason in (own / "failed.csv").read_text()


def make_skeletons():
    assert skeleton2pkl.main(["coco", "points", "--out", "own.pkl", "--workers", "1"]) == 0


def test_skeletons_and_both_together_in_readers_of_training_and_test(own):
    make_skeletons()
    names = []
    for split in ("train", "val"):
        arguments = {"filelist": "own.pkl", "split": split, "mode": "test"}
        skeletons = Skeletons(**arguments, layout="coco17", clip_len=8, num_persons=1)
        both = RGBPose(**arguments, videos="videos", rgb_clip_len=2, num_persons=1, **SMALL)
        trained = RGBPose(**{**arguments, "mode": "train"}, videos="videos", rgb_clip_len=2, num_persons=1, **SMALL)
        assert {CLASSES[entry.label] for entry in both.entries} == set(CLASSES)
        for index, entry in enumerate(both.entries):
            class_name = entry.name.split("/")[0]
            names.append(entry.name)
            assert CLASSES[entry.label] == class_name == skeletons.entries[index].name.split("/")[0]
            assert entry.keypoint[0, 0, 0, 0] == LEFT[class_name]
            for reader in (both, trained):
                assert both.paths[entry.name] == f"videos/{entry.name}.avi"
                assert find_class(reader[0, index]["inputs"]["rgb"]) == CLASSES[reader[0, index]["label"]]
    assert sorted(names) == [f"{class_name}/{number}" for class_name in CLASSES for number in NUMBERS]


def test_recordings_whose_videos_lie_in_another_folder_are_named(own):
    make_skeletons()
    reading = {"filelist": "own.pkl", "split": "train", "videos": "videos", "rgb_clip_len": 2, **SMALL}
    (own / "videos" / "Kick").rename(own / "videos" / "Bow")
    with pytest.raises(ValueError, match="have no video, first 'Kick/00.' of own.pkl: .* lies in another folder"):
        RGBPose(**reading)
    for class_name in ("Bow", "Wave"):
        for path in (own / "videos" / class_name).glob("*.avi"):
            path.rename(own / "videos" / path.name)
    with pytest.raises(ValueError, match="'Kick/00.' and 'Wave/00.' would both be of the video 'videos/00..avi'"):
        RGBPose(**reading)


def test_rgb_and_pose_are_trained_tested_and_predicted(own):
    make_skeletons()
    (own / "own.txt").write_text(CONFIG)
    assert not train.main(["own.txt", "--save_dir", "run"])
    assert not scoring.main(["run/rgbposeconv3d_model", "--save_dir", "run"])
    scores = load_pickle(next((own / "run").glob("*_test_scores.pkl")))
    assert set(scores["labels"]) == set(load_pickle("own.pkl")["split"]["val"])

    flags = ["run/rgbposeconv3d_model", "--use_gpu", "False", "--save_dir", "out"]
    assert predict.main([*flags, "--input", "videos/Kick/001.avi", "--poses", "own.pkl"]) == 0
    assert json.loads((own / "out/001_predict.json").read_text())["recording"] == "Kick/001"
    files = ["--poses", "points/Wave/002.json", "points/Kick/002.json"]
    assert predict.main([*flags, "--input", "videos/Wave/002.avi", *files]) == 0
    assert json.loads((own / "out/002_predict.json").read_text())["recording"] == "Wave/002"

    content = load_pickle("own.pkl")
    content["annotations"] = [each for each in content["annotations"] if each["frame_dir"].startswith("Wave")]
    dump_pickle(content, "wave.pkl")
    assert predict.main([*flags, "--input", "videos/Kick", "--poses", "wave.pkl"]) == 1
