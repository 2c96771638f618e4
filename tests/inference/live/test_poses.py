"""Streams for networks of skeletons: tools/find_poses.py as a process, with a stand-in for MediaPipe."""

import io
import json
import sys

import numpy as np
import paddle
import pytest
from live_streams import write_stream

import config as texts
import predict
import recipe
from engine import checkpoint
from inference import drawing, video_io
from inference.live import poses
from models import build_model
from tools import find_poses

# Landmark k is at ((k + 1) / 40, brightness), or nobody is in a dark frame; a white one ends the process.
MEDIAPIPE = """
import sys, types
class Pose:
    def __init__(self, model_complexity): print("a note of MediaPipe")
    def __enter__(self): return self
    def __exit__(self, *error): pass
    def process(self, picture):
        y = picture.mean() / 255
        if y > 0.9: sys.exit("out of memory, say")
        landmark = [types.SimpleNamespace(x=(k + 1) / 40, y=y + (k % 5) / 20, visibility=0.9) for k in range(33)]
        return types.SimpleNamespace(pose_landmarks=types.SimpleNamespace(landmark=landmark) if y > 0.1 else None)
solutions = types.SimpleNamespace(pose=types.SimpleNamespace(Pose=Pose))
"""
CLASSES = ["Down", "Side", "Up"]


@pytest.fixture(autouse=True)
def _stand_elsewhere(tmp_path, monkeypatch):
    """Stand in a folder where POSES_PYTHON has the stand-in."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(drawing, "MIN_SHORT_SIDE", 96)  # smaller videos are written faster, and frames stay as they are
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "mediapipe.py").write_text(MEDIAPIPE)
    script = tmp_path / "poses_python"
    script.write_text(f'#!/bin/sh\nPYTHONPATH="{tmp_path / "site"}" exec "{sys.executable}" "$@"\n')
    script.chmod(0o755)
    monkeypatch.setenv("POSES_PYTHON", str(script))


def save_model(**reader):
    """Write a checkpoint of a tiny network with random weights."""
    config = {section: {} for section in texts.SECTIONS}
    config["MODEL"] = {"name": "stgcn", "base_channels": 4, "num_blocks": [1, 1], "num_classes": len(CLASSES)}
    config["READER"] = {"name": "skeletons", "num_workers": 0, "num_persons": 1, "clip_len": 8, "layout": "coco17"}
    config["READER"].update(reader)
    config = recipe.resolve(config, "a test")
    paddle.seed(3)
    weights = checkpoint.model_state(build_model(**config["MODEL"]))
    weights = {name: 9 * tensor if tensor.ndim > 1 else tensor for name, tensor in weights.items()}
    checkpoint.save_checkpoint("network", {"model": weights, "config": config, "class_names": CLASSES, "epoch": 1})


def run(*words):
    """Run the script in this process; return its exit status."""
    return predict.main([str(word) for word in ["network", "--use_gpu", "False", "--save_dir", "out", *words]])


def read_only_json(tmp_path):
    """Read the one result."""
    (path,) = (tmp_path / "out").glob("*.json")
    return json.loads(path.read_text(encoding="utf-8"))


def make_flat_frames(values):
    """Frames of one brightness each."""
    return [np.full((96, 128, 3), value, np.uint8) for value in values]


def test_a_window_gets_the_scores_of_a_json_with_the_same_key_points(tmp_path, capsys):
    save_model()
    write_stream(tmp_path / "a.ts", make_flat_frames([*range(40, 160, 6), *20 * [200], *25 * [0]]))
    assert run("--input", "a.ts", "--follow", "--timeout_s", 0.2, "--window_s", 0.8, "--every_s", 0.8) == 0
    windows = read_only_json(tmp_path)["windows"]
    names = {}
    exec(MEDIAPIPE, names)  # what the stand-in answers
    with names["Pose"](1) as estimator:
        found = [find_poses.find_instances(estimator, frame) for frame in video_io.read_frames("a.ts")]
    assert [one["num_frames"] for one in windows] == [20, 20, 20, 20]
    for index in (0, 1):
        frames = [{"frame_id": number, "instances": found[20 * index + number]} for number in range(20)]
        content = {"image_size": [128, 96], "instance_info": frames}
        (tmp_path / f"part{index}.json").write_text(json.dumps(content))
        assert run("--input", f"part{index}.json") == 0
        expected = json.loads((tmp_path / "out" / f"part{index}_predict.json").read_text())["top_k"]
        assert windows[index]["top_k"] == expected
    assert windows[0]["top_k"] != windows[1]["top_k"]
    assert windows[3]["top_k"] == [] and "nobody is seen" in capsys.readouterr().out


def test_a_process_that_ends_is_told_with_its_last_words(tmp_path):
    save_model()
    write_stream(tmp_path / "a.ts", make_flat_frames([*10 * [99], *10 * [255]]))
    with pytest.raises(ValueError, match="the process of key points has ended: out of memory, say; set POSES_PYTHON"):
        run("--input", "a.ts", "--follow", "--timeout_s", 0.2)
    assert 5 < read_only_json(tmp_path)["num_frames"] < 20


def test_an_environment_without_mediapipe_is_told(tmp_path):
    (tmp_path / "site" / "mediapipe.py").write_text("")
    process = poses.PoseProcess()
    with pytest.raises(ValueError, match="MediaPipe Pose cannot be imported here"):
        process.find(np.zeros((4, 4, 3), np.uint8))
    process.close()


def test_what_must_be_there(monkeypatch):
    save_model(layout="ntu25")
    with pytest.raises(ValueError, match="have layout coco17, the network was trained on ntu25; take one"):
        run("--input", "0")
    save_model()
    monkeypatch.delenv("POSES_PYTHON")
    with pytest.raises(ValueError, match="found by MediaPipe; set POSES_PYTHON to the Python of an environment"):
        run("--input", "0")


def test_frames_are_answered_one_by_one(monkeypatch):
    names = {}
    exec(MEDIAPIPE, names)
    monkeypatch.setattr(find_poses, "load_estimator", lambda: names["solutions"].pose)
    frames = [np.full((2, 4, 3), 51, np.uint8), np.zeros((3, 5, 3), np.uint8)]
    asked = b"".join(b"%d %d\n" % frame.shape[1::-1] + frame.tobytes() for frame in frames)
    answers = io.BytesIO()
    find_poses.answer_frames(io.BytesIO(asked), answers)
    first, second = (json.loads(line)["instances"] for line in answers.getvalue().splitlines())
    assert first[0]["keypoints"][0] == [0.1, 0.4] and len(first[0]["keypoints"]) == 17 and second == []


def test_without_a_stream_the_folders_are_required(capsys):
    with pytest.raises(SystemExit):
        find_poses.parse_arguments(["--videos", "a"])
    assert "the following arguments are required: --out" in capsys.readouterr().err
