"""Networks of flow and of differences end to end: prediction as the test has it, starts from RGB, streams, fusion."""

import json
import logging

import cv2
import numpy as np
import paddle
import pytest
from saved_models import CLASSES, save_model
from small_dataset import write_config
from small_videos import make_frames, write_avi, write_folder

import predict
import recipe
import train_streams
from dataset import flow_files, records
from engine import checkpoint, evaluator, resume
from engine.run_settings import RunSettings
from models import build_model

STACKED = {"modality": "flow", "num_stacked": 3, "flow_short_size": 32}
WAYS = [
    ("video", {"modality": "flow"}),
    ("video", STACKED),
    ("folder", STACKED),
    ("video", {"modality": "rgb_diff", "num_stacked": 2}),
]


@pytest.fixture(autouse=True)
def _stand_elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # logger.log is written where one stands


def write_frames_with_flow(path):
    folder = write_folder(path, make_frames(20, 48, 64, seed=1), "{:05d}.png")
    names = records.list_frames(folder)
    flow_files.write_flow(str(folder), names, "dis", lambda data, to: cv2.imwrite(to, data))
    return folder


def score_as_test_does(weights, line, tmp_path):
    state = checkpoint.load_checkpoint(weights)
    records.write_list([line], tmp_path / "test.list", CLASSES)
    state["config"]["TEST"]["filelist"] = str(tmp_path / "test.list")
    model = build_model(**state["config"]["MODEL"])
    checkpoint.restore_model(model, state["model"])
    loader = recipe.open_loader(state["config"], "TEST")
    return evaluator.evaluate(model, loader, state["config"]["RUN"]["average_clips"])["scores"][0]


@pytest.mark.parametrize("kind, reader", WAYS)
def test_predict_gives_the_scores_of_the_test(kind, reader, tmp_path):
    weights = save_model(tmp_path / "resnet_model", {"num_clips": 2, "flip": True}, READER=reader)
    if kind == "folder":
        source = write_frames_with_flow(tmp_path / "clip")
        line = f"{source} 20 0"
    else:
        source = write_avi(tmp_path / "clip.avi", make_frames(20, 48, 64, seed=1))
        line = f"{source} 0"
    words = [weights, "--use_gpu", "False", "--save_dir", "out", "--top_k", "99", "--input", str(source)]
    assert predict.main(words) == 0
    expected = score_as_test_does(weights, line, tmp_path)
    with open("out/clip_predict.json", encoding="utf-8") as file:
        got = {one["label"]: one["probability"] for one in json.load(file)["top_k"]}
    assert [got[label] for label in range(len(CLASSES))] == pytest.approx(expected, abs=2e-6)
    assert expected.max() > expected.min() + 0.01


def test_the_config_of_a_modality_has_its_channels_and_an_override_takes_them_along():
    def resolve(reader, model=()):
        sections = {name: {} for name in ("MODEL", "READER", "TRAIN", "VALID", "TEST", "OPTIMIZER", "RUN")}
        return {**sections, "MODEL": {"num_classes": 3, **dict(model)}, "READER": dict(reader)}

    config = recipe.resolve(resolve({"modality": "flow", "num_stacked": 5}), "a test")
    assert config["MODEL"]["in_channels"] == 10
    config = recipe.resolve(recipe.override(config, {}, ["READER.modality=rgb", "READER.num_stacked=1"]), "a test")
    assert config["MODEL"]["in_channels"] == 3
    assert recipe.resolve(resolve({}, {"in_channels": 1}), "a test")["MODEL"]["in_channels"] == 1


@pytest.mark.parametrize("name, kernel", [("resnet", "conv1.weight"), ("i3d", "backbone.conv1.weight")])
def test_a_start_from_rgb_averages_the_first_layer_over_the_channels(name, kernel, tmp_path, caplog):
    arguments = {"num_classes": 4, "depth": 10 if name == "resnet" else 50, "widen_factor": 0.125}
    arguments = {"name": name, **arguments}
    if name == "i3d":
        arguments = {"name": "i3d", "num_classes": 4, "widen_factor": 0.125}
    paddle.seed(1)
    rgb = build_model(**arguments)
    weights = checkpoint.model_state(rgb)
    checkpoint.save_checkpoint(str(tmp_path / "rgb"), {"model": weights})
    flow = build_model(**arguments, in_channels=10)
    caplog.set_level(logging.INFO)
    settings = RunSettings(pretrain=str(tmp_path / "rgb"))
    config = {"MODEL": {**arguments, "in_channels": 10}, "READER": {"modality": "flow"}, "TRAIN": {}}
    resume.load_pretrained(settings, flow, config)
    assert f"averaged over the channels of the input: {kernel}" in caplog.text
    size = (4, 16, 16) if name == "resnet" else (8, 32, 32)
    clip = np.random.default_rng(0).normal(size=(2, 1, *size)).astype(np.float32)
    rgb.eval(), flow.eval()
    # a gray clip: three equal channels weigh 3 times the mean, ten of three tenths as much
    expected = rgb(paddle.to_tensor(np.repeat(clip, 3, axis=1))).numpy()
    got = flow(paddle.to_tensor(np.repeat(0.3 * clip, 10, axis=1))).numpy()
    np.testing.assert_allclose(got, expected, rtol=1e-3, atol=1e-5)
    with pytest.raises(ValueError, match=f"1 of another shape .{kernel}"):
        resume.load_pretrained(settings, flow, {**config, "READER": {}})


def test_a_start_from_weights_of_other_classes_is_told(tmp_path, caplog):
    arguments = {"name": "resnet", "num_classes": 2, "depth": 10, "widen_factor": 0.125}
    model = build_model(**arguments)
    content = {"model": checkpoint.model_state(model), "class_names": ["Kick", "Wave"]}
    checkpoint.save_checkpoint(str(tmp_path / "w"), content)
    config = {"MODEL": arguments, "READER": {}, "TRAIN": {}}
    settings = RunSettings(pretrain=str(tmp_path / "w"))
    resume.load_pretrained(settings, model, config, ["Kick", "Wave"])
    assert "class" not in caplog.text
    resume.load_pretrained(settings, model, config, ["Kick", "Bow"])
    assert "--pretrain: class 1 was 'Wave' and is 'Bow' now, and the last layer was loaded; to begin" in caplog.text
    assert "-o \"RUN.ignore_weights=['fc.*']\"" in caplog.text
    caplog.clear()
    settings = RunSettings(pretrain=str(tmp_path / "w"), ignore_weights=["fc.*"])
    resume.load_pretrained(settings, model, config, ["Wave", "Kick"])
    assert "class" not in caplog.text


def test_the_streams_of_a_config_of_videos_are_its_modalities(tmp_path, capsys):
    config = str(write_config(tmp_path / "c.txt"))
    args = train_streams.parse_arguments([config])
    assert args.streams == ["rgb", "flow"] and train_streams.list_streams(args) == [None]  # of --folds
    assert "READER.modality=flow" in train_streams.make_argv(args, "flow")
    args = train_streams.parse_arguments([config, "--streams", "rgb", "rgb_diff", "--folds", "2"])
    assert train_streams.list_streams(args) == ["rgb", "rgb_diff"]
    with pytest.raises(SystemExit):
        train_streams.parse_arguments([config, "-o", "READER.modality=flow"])
    assert "-o READER.modality: the streams are those of --streams" in capsys.readouterr().err


def test_missing_flow_is_found_before_rgb_is_trained(tmp_path):
    config = write_config(tmp_path / "c.txt")
    folder = write_folder(tmp_path / "data" / "v", make_frames(12), "{:05d}.jpg")
    for mode in ("train", "test"):
        records.write_list([f"{folder} 12 0"], tmp_path / "data" / f"{mode}.list", ["A", "B"])
    args = train_streams.parse_arguments([str(config), "--root", str(tmp_path / "data")])
    with pytest.raises(ValueError, match="no optical flow .* run avi2jpg.py --flow"):
        train_streams.check_streams(args)
