"""The prediction script for skeletons, and for videos with key points: scores as test.py's, and what is told."""

import json
import os

import cv2
import numpy as np
import paddle
import pytest
import raw_skeleton_files
import small_poses
import small_skeletons
from small_videos import make_frames, read_back, write_avi, write_folder

import config as texts
import predict
import recipe
from common import files
from engine import checkpoint, evaluator
from inference import sources
from layouts import get_layout
from models import build_model
from models.parts.action_model import ActionModel
from tools import export

CLASSES = ["Down", "Side", "Up", "Über kopf"]
STGCN = {"name": "stgcn", "base_channels": 4, "num_blocks": [1, 1]}
POSEC3D = {"name": "posec3d", "base_channels": 4, "stage_blocks": [1, 1, 1]}
TWO_PATHWAYS = {"rgb_base_channels": 8, "rgb_stage_blocks": [1] * 4, "pose_base_channels": 8}
TWO_PATHWAYS |= {"name": "rgbposeconv3d", "pose_stage_blocks": [1] * 3, "speed_ratio": 2}
PCAN = {"name": "pcan", "coarse_groups": [0, 0, 1, 1], "num_heads": 2}  # instead of the network for both
# What a network reads, by the reader's name.
READERS = {
    "skeletons": {"num_persons": 1, "clip_len": 8},
    "heatmaps": {"clip_len": 4, "short_size": 18, "crop_size": 16},
    "rgbpose": {"clip_len": 4, "rgb_clip_len": 2, "short_size": 36, "crop_size": 32},
}
MODELS = {"skeletons": STGCN, "heatmaps": POSEC3D, "rgbpose": TWO_PATHWAYS}
# Which layers' weights are multiplied, and by what, so that classes differ by more than a percent.
GAINS = {"skeletons": ("", 30), "heatmaps": ("fc", 60), "rgbpose": ("fc", 60)}


@pytest.fixture(autouse=True)
def _stand_elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def save_model(reader_name, test=None, average_clips="prob", model=None, **reader):
    """Write a checkpoint of a tiny network with random weights; return its path."""
    config = {section: {} for section in texts.SECTIONS}
    config["MODEL"] = {**MODELS[reader_name], "num_classes": len(CLASSES), **(model or {})}
    config["READER"] = {"name": reader_name, "num_workers": 0, **READERS[reader_name], **reader}
    config["TEST"], config["RUN"] = test or {}, {"average_clips": average_clips}
    config = recipe.resolve(config, "a test")
    paddle.seed(3)
    weights = checkpoint.model_state(build_model(**config["MODEL"]))
    for name in weights:
        layers, gain = GAINS[reader_name]
        if name.startswith(layers) and name.endswith("weight") and weights[name].ndim > 1:
            weights[name] = gain * weights[name]
    checkpoint.save_checkpoint("network", {"model": weights, "config": config, "class_names": CLASSES, "epoch": 1})
    return "network"


def run(*words):
    """Run the script in this process; return its exit status."""
    return predict.main([str(word) for word in ["network", "--use_gpu", "False", "--save_dir", "out", *words]])


def read_json(name):
    """Read a result."""
    with open(f"out/{name}_predict.json", encoding="utf-8") as file:
        return json.load(file)


def list_probabilities(ranking):
    """Return the probabilities of a ranking that has all classes, by label."""
    found = {one["label"]: one["probability"] for one in ranking}
    assert [CLASSES[label] for label in found] == [one["class"] for one in ranking]
    return [found[label] for label in range(len(CLASSES))]


def score_as_test_does(filelist, split, **reader):
    """Score a split by the loader and engine that test.py uses."""
    state = checkpoint.load_checkpoint("network")
    state["config"]["TEST"].update({"filelist": filelist, "split": split, "batch_size": 2, **reader})
    model = build_model(**state["config"]["MODEL"])
    checkpoint.restore_model(model, state["model"])
    loader = recipe.open_loader(state["config"], "TEST")
    return evaluator.evaluate(model, loader, state["config"]["RUN"]["average_clips"])


def soften(scores, average_clips):
    """Turn logits to probabilities."""
    if average_clips == "prob":
        return scores
    return np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)


def write_films(root, *names, num_frames=20, **changes):
    """Write videos and a pkl of their key points; return its path."""
    for seed, name in enumerate(names):
        frames = make_frames(num_frames, small_poses.HEIGHT, small_poses.WIDTH, seed)
        write_avi(root / "films" / f"{name}.avi", frames)
    annotations = [small_poses.make_annotation(name, seed % 3) for seed, name in enumerate(names)]
    return small_poses.write_poses(root / "poses.pkl", [{**one, **changes} for one in annotations])


# Scores.


@pytest.mark.parametrize(
    "test, average_clips, reader",
    [
        ({"num_clips": 3}, "prob", {}),
        ({"num_clips": 2}, "score", {"sampling": "resize", "stream": "bone", "normalization": "pyskl_3d"}),
    ],
)
def test_skeletons_get_the_scores_that_test_py_gives_them(tmp_path, test, average_clips, reader):
    save_model("skeletons", test, average_clips, **reader)
    small_skeletons.write_pkl(tmp_path / "all.pkl", per_class=1)
    assert run("--input", "all.pkl", "--split", "test") == 0
    result = score_as_test_does("all.pkl", "test")
    assert len(os.listdir("out")) == 3 * 3
    for name, scores in zip(result["names"], soften(result["scores"], average_clips), strict=True):
        found = read_json(name)
        assert list_probabilities(found["top_k"]) == pytest.approx(scores, abs=2e-6)
        assert scores.max() > scores.min() + 0.05
        assert (found["input"], found["recording"], found["num_frames"]) == ("all.pkl", name, 12)
        assert found["windows"] == [{"start_s": 0.0, "end_s": 0.48, "top_k": found["top_k"]}]
        assert "modalities" not in found


@pytest.mark.parametrize("test", [{"num_clips": 2, "flip": True}, {"kind": "limbs"}])
def test_heat_maps_get_the_scores_that_test_py_gives_them(tmp_path, test):
    save_model("heatmaps", test)
    path = small_poses.write_poses(
        tmp_path / "poses.pkl", [small_poses.make_annotation("a", 0), small_poses.make_annotation("b", 2, 2, 7)]
    )
    assert run("--input", path) == 0
    result = score_as_test_does(path, "all")
    for name, scores in zip(result["names"], result["scores"], strict=True):
        assert list_probabilities(read_json(name)["top_k"]) == pytest.approx(scores, abs=2e-6)
    assert np.abs(result["scores"][0] - result["scores"][1]).max() > 0.01


@pytest.mark.parametrize("average_clips, model", [("prob", PCAN), ("score", {})], ids=["pcan", "rgbposeconv3d"])
def test_videos_with_key_points_get_the_scores_that_test_py_gives_them(tmp_path, average_clips, model):
    save_model("rgbpose", {"num_clips": 2}, average_clips, model)
    path = write_films(tmp_path, "a", "b")
    assert run("--input", "films", "--poses", path) == 0
    result = score_as_test_does(path, "all", videos="films")
    modalities = {name: result["heads"][name] for name in ("rgb", "pose")}  # without PCAN's coarse classes
    for place, name in enumerate(result["names"]):
        found = read_json(name)
        assert set(found["modalities"]) == set(modalities)
        expected = {"top_k": result["scores"], **modalities}
        for what, scores in expected.items():
            ranking = found["top_k"] if what == "top_k" else found["modalities"][what]
            probabilities = soften(scores, average_clips)[place]
            assert list_probabilities(ranking) == pytest.approx(probabilities, abs=2e-6)
            assert probabilities.max() > probabilities.min() + 0.02
        assert (found["input"], found["recording"]) == (f"films/{name}.avi", name)
    assert np.abs(result["heads"]["rgb"] - result["heads"]["pose"]).max() > 0.01


class Answers(ActionModel):
    """A network that knows one class by RGB and another by pose, and coarse classes as well."""

    modalities = ("rgb", "pose")

    def forward(self, skeletons):
        """Return the logits of two views."""
        heads = {"rgb": [[2, 0, 0]] * 2, "pose": [[0, 1, 0], [0, 3, 0]], "rgb_coarse": [[1, 0]] * 2}
        return {name: paddle.to_tensor(logits, dtype="float32") for name, logits in heads.items()}

    def name_outputs(self, outputs):
        """Return them as they are."""
        return outputs

    def fuse(self, scores):
        """Return the mean."""
        return (scores["rgb"] + scores["pose"]) / 2


class OneWindow:
    """A source of two views."""

    def read_windows(self):
        """Give them."""
        return sources.Windows([(0, 5, {"skeleton": np.zeros((2, 1))})])


def test_logits_become_probabilities_after_they_are_fused_and_coarse_classes_are_left_out():
    spans, scores, modalities = predict.score_source(OneWindow(), Answers(), "score")
    assert spans == [(0, 5)] and list(modalities) == ["rgb", "pose"]
    e = np.e
    assert scores == pytest.approx(np.array([[e, e, 1]]) / (2 * e + 1))
    assert modalities["rgb"] == pytest.approx(np.array([[e**2, 1, 1]]) / (e**2 + 2))
    assert modalities["pose"] == pytest.approx(np.array([[1, e**2, 1]]) / (e**2 + 2))


def test_an_export_gives_the_scores_of_its_checkpoint(tmp_path):
    save_model("skeletons", {"num_clips": 3})
    small_skeletons.write_pkl(tmp_path / "all.pkl", per_class=1)
    assert_same_by_export("v_Up_g50_c01", ["--input", "all.pkl", "--split", "test"], ["--input", "all.pkl"])
    assert len(os.listdir("out")) == 6 * 3  # without --split those of training too


@pytest.mark.parametrize("model", [POSEC3D, {"name": "c3d", "base_channels": 4}], ids=["posec3d", "c3d"])
@pytest.mark.parametrize("test", [{"num_clips": 2, "flip": True}, {"kind": "limbs", "num_persons": 1}])
def test_an_export_of_heat_maps_gives_the_scores_of_its_checkpoint(tmp_path, model, test, monkeypatch):
    monkeypatch.setitem(MODELS, "heatmaps", model)
    save_model("heatmaps", test)
    path = small_poses.write_poses(tmp_path / "poses.pkl", [small_poses.make_annotation("a", 0, num_persons=2)])
    assert_same_by_export("a", ["--input", path])


@pytest.mark.parametrize("average_clips, model", [("prob", PCAN), ("score", {})], ids=["pcan", "rgbposeconv3d"])
def test_an_export_of_rgb_and_pose_gives_the_scores_of_its_checkpoint(tmp_path, average_clips, model):
    save_model("rgbpose", {"num_clips": 2, "flip": True}, average_clips, model)
    path = write_films(tmp_path, "a")
    found = assert_same_by_export("a", ["--input", "films", "--poses", path])
    rgb, pose = (list_probabilities(found["modalities"][name]) for name in ("rgb", "pose"))
    assert np.abs(np.subtract(rgb, pose)).max() > 0.01


def assert_same_by_export(name, words, exported_words=None):
    """Predict with the checkpoint, then without it with its export; return what the json has then."""
    assert run(*words) == 0
    expected = read_json(name)
    export.main(["network", "--out", "exported"])
    os.remove("network.pdparams")
    words = ["--exported", "exported", *(exported_words or words), "--use_gpu", "False", "--save_dir", "out"]
    assert predict.main([str(word) for word in words]) == 0
    found = read_json(name)
    assert (found["weights"], expected["weights"]) == ("exported", "network")
    rankings = [{"fused": each["top_k"], **each.get("modalities", {})} for each in (found, expected)]
    assert list(rankings[0]) == list(rankings[1])
    for head, ranking in rankings[0].items():
        probabilities = list_probabilities(ranking)
        assert probabilities == pytest.approx(list_probabilities(rankings[1][head]), abs=1e-5)
        assert max(probabilities) > min(probabilities) + 0.01
    return found


def test_labels_need_not_be_known(tmp_path):
    save_model("heatmaps")
    known = small_poses.make_annotation("known", 2)
    others = {"minus": -1, "large": 99, "text": "Bow", "none": None}
    annotations = [known, *({**known, "frame_dir": name, "label": label} for name, label in others.items())]
    del annotations[-1]["label"]
    files.dump_pickle({"annotations": annotations}, "poses.pkl")
    assert run("--input", "poses.pkl") == 0
    for name in others:
        assert read_json(name)["top_k"] == read_json("known")["top_k"]


def write_coco(path, annotation):
    """Write the one person of an annotation as COCO results."""
    points = np.concatenate([annotation["keypoint"][0], annotation["keypoint_score"][0][..., None]], axis=2)
    rows = [
        {"image_id": number, "keypoints": frame.ravel().tolist(), "score": 1} for number, frame in enumerate(points)
    ]
    path.write_text(json.dumps(rows), encoding="utf-8")


def test_coco_results_are_scored_as_the_same_points_of_a_pkl(tmp_path, capsys):
    save_model("heatmaps")
    annotation = small_poses.make_annotation("one")
    (tmp_path / "found").mkdir()
    write_coco(tmp_path / "found" / "my video.json", annotation)
    path = small_poses.write_poses(tmp_path / "poses.pkl", [annotation])
    size = f"{small_poses.WIDTH}x{small_poses.HEIGHT}"
    assert run("--input", "found", path, "--image-size", size) == 0
    assert read_json("my video")["top_k"] == read_json("one")["top_k"]
    assert read_json("my video")["input"] == "found/my video.json"
    assert run("--input", "found") == 1
    assert "'my video' has no img_shape, (height, width) of its picture; add it to the file, or give" in (
        capsys.readouterr().out
    )


# Videos and their key points.


def test_ntu_videos_frame_folders_and_key_points_of_other_sizes(tmp_path):
    save_model("rgbpose")
    annotation = small_poses.make_annotation("S001C001P001R001A002")
    frames = make_frames(20, small_poses.HEIGHT, small_poses.WIDTH)
    write_folder(tmp_path / "films" / "S001C001P001R001A002_rgb", frames)
    write_folder(tmp_path / "films" / "Class" / "large", [cv2.resize(frame, None, fx=2, fy=2) for frame in frames])
    unsized = {**annotation, "frame_dir": "Class/large.mp4", "keypoint": 2 * annotation["keypoint"], "img_shape": None}
    path = small_poses.write_poses(tmp_path / "poses.pkl", [annotation, unsized])
    assert run("--input", "films", "--poses", path) == 0
    small, large = read_json("S001C001P001R001A002_rgb"), read_json("large")
    assert (small["recording"], large["recording"]) == ("S001C001P001R001A002", "Class/large.mp4")
    assert list_probabilities(small["modalities"]["pose"]) == pytest.approx(
        list_probabilities(large["modalities"]["pose"]), abs=0.03
    )


def test_the_skeleton_stands_on_the_body_in_the_video(tmp_path):
    save_model("rgbpose")
    path = write_films(tmp_path, "a")
    gray = [np.full((small_poses.HEIGHT, small_poses.WIDTH, 3), 100, np.uint8)] * 20
    write_avi(tmp_path / "films" / "a.avi", gray)
    assert run("--input", "films/a.avi", "--poses", path) == 0
    shown, _, _ = read_back("out/a_predict.webm")
    assert len(shown) == 20
    layout, keypoint = get_layout("coco17"), small_poses.make_annotation("a")["keypoint"][0]
    scale = shown[0].shape[0] / small_poses.HEIGHT
    is_drawn = np.abs(shown[19].astype(int) - 100).max(axis=2) > 40
    for joint in map(layout.joints.index, ("right_ankle", "left_ankle", "right_knee")):
        x, y = np.round(keypoint[19, joint] * scale).astype(int)
        if y > 260 and y < 440:  # below the bars, above the time line
            assert is_drawn[y - 2 : y + 3, x - 2 : x + 3].any(), layout.joints[joint]
    assert not is_drawn[260:440, : round(40 * scale)].any()
    assert is_drawn[260:440].any()


# What cannot be done.


def test_bad_recordings_are_named_and_the_others_are_predicted(tmp_path, capsys):
    save_model("heatmaps")
    good = small_poses.make_annotation("good")
    nobody = {**good, "frame_dir": "nobody", "keypoint": np.zeros((0, 20, 17, 2)), "keypoint_score": None}
    zeros = {**good, "frame_dir": "zeros", "keypoint": np.zeros((1, 20, 17, 2))}
    nans = {**good, "frame_dir": "nans", "keypoint": np.full((1, 20, 17, 2), np.nan)}
    scores = {**good, "frame_dir": "scores", "keypoint_score": np.ones((1, 20, 16))}
    deep = {**good, "frame_dir": "deep", "keypoint": np.ones((1, 20, 17, 3))}
    other = {**good, "frame_dir": "other", "keypoint": np.ones((1, 20, 25, 2))}
    small_poses.write_poses(tmp_path / "poses.pkl", [nobody, zeros, nans, scores, deep, other, good])
    small_skeletons.write_pkl(tmp_path / "ntu.pkl", per_class=1)
    content = files.load_pickle("ntu.pkl")
    files.dump_pickle({**content, "layout": "ntu25"}, "stated.pkl")
    raw_skeleton_files.write_ntu(tmp_path / "kinect.skeleton", [[(1, raw_skeleton_files.draw_person(1)[0])]] * 3)
    (tmp_path / "broken.pkl").write_bytes(b"\x80\x04broken")
    (tmp_path / "notes.txt").write_text("x", encoding="utf-8")
    names = ("poses.pkl", "ntu.pkl", "stated.pkl", "kinect.skeleton", "broken.pkl", "notes.txt", "none.json")
    assert run("--input", *names) == 1
    printed = capsys.readouterr().out
    for message in (
        "poses.pkl 'nobody': FAILED: no persons: not one key point in its 20 frames",
        "poses.pkl 'zeros': FAILED: no persons: not one key point in its 20 frames",
        "poses.pkl 'nans': FAILED: no persons",
        "poses.pkl 'scores': FAILED: poses.pkl 'scores': keypoint_score is of the shape (1, 20, 16), float64, expected",
        "poses.pkl 'deep': FAILED: poses.pkl: 'deep' has 3 coordinates, heat maps need 2",
        "poses.pkl 'other': FAILED: 25 joints, the network was trained on layout coco17, which has 17; give",
        "ntu.pkl: FAILED: 25 joints, the network was trained on layout coco17, which has 17; give",
        "stated.pkl: FAILED: its joints are those of layout ntu25, the network was trained on coco17; give key points",
        "kinect.skeleton: FAILED: its joints are those of layout ntu25, the network was trained on coco17",
        "broken.pkl: FAILED: ",
        "notes.txt: FAILED: not known as a file of key points; give a skeleton pkl, an .npy",
        "none.json: FAILED: no such file or folder",
    ):
        assert message in printed
    assert sorted(os.listdir("out")) == ["good_predict.json", "good_predict.png", "good_predict.webm"]


def test_videos_without_their_key_points_are_named(tmp_path, capsys):
    save_model("rgbpose")
    path = write_films(tmp_path, "good", "short", "twice")
    write_avi(tmp_path / "films" / "short.avi", make_frames(9, small_poses.HEIGHT, small_poses.WIDTH))
    write_avi(tmp_path / "films" / "other.avi", make_frames(9))
    (tmp_path / "films" / "broken.avi").write_bytes(b"RIFF" + b"\0" * 400)
    content = files.load_pickle(path)
    content["annotations"].append({**content["annotations"][2], "frame_dir": "films/twice"})
    content["annotations"].append({**content["annotations"][2], "frame_dir": "films/twice.avi"})
    content["annotations"].append({**content["annotations"][2], "frame_dir": "Bow/other"})
    files.dump_pickle(content, path)
    assert run("--input", "films", "--poses", path) == 1
    printed = capsys.readouterr().out
    assert (
        "films/other.avi: FAILED: no key points for it: 'Bow/other' in --poses is the recording of a video in"
        in printed
    )
    assert "films/short.avi: FAILED: films/short.avi: 9 frames, --poses has key points of 20: they are not" in printed
    assert (
        "films/twice.avi: FAILED: two recordings of --poses have its name, 'films/twice' and 'films/twice.avi'"
        in printed
    )
    assert "films/broken.avi: FAILED: films/broken.avi: 404 bytes that FFmpeg cannot read" in printed
    assert "4 of 5 inputs FAILED" in printed
    assert sorted(os.listdir("out")) == ["good_predict.json", "good_predict.png", "good_predict.webm"]


@pytest.mark.parametrize(
    "reader_name, words, message",
    [
        ("rgbpose", [], "this network reads videos and their key points; name the file of these: --poses"),
        ("rgbpose", ["--poses", "none.pkl"], "--poses none.pkl: no such file or folder"),
        ("heatmaps", ["--poses", "a.pkl"], "--poses is for networks that read rgbpose, this one reads heatmaps"),
        ("skeletons", ["--window_s", "2"], "--window_s is for networks that read clips, this one reads skeletons"),
    ],
)
def test_flags_of_other_networks_are_refused(reader_name, words, message):
    save_model(reader_name)
    with pytest.raises(ValueError, match=message):
        run("--input", "a.avi", *words)


def test_a_split_that_is_not_there_is_told(tmp_path, capsys):
    save_model("heatmaps")
    path = small_poses.write_pose(tmp_path)
    write_coco(tmp_path / "a.json", small_poses.make_annotation("one"))
    assert run("--input", path, "a.json", "--split", "xsub") == 1
    printed = capsys.readouterr().out
    assert "there is no split 'xsub', the file has all" in printed
    assert "a.json: FAILED: --split xsub: only a skeleton pkl has splits; leave it out" in printed
