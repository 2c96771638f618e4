"""Weights that are not of train.py, through the scripts: any wrapper, prefix and precision, or one sentence."""

import logging

import numpy as np
import paddle
import pytest
from saved_models import save_model
from small_dataset import draw_frames, make_tree, write_config

import predict
import test
import train
from common import files
from engine import checkpoint
from models import build_model
from tools import export, merge_rgbpose

ARGUMENTS = {"depth": 10, "widen_factor": 0.125, "conv1_t_size": 3}


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with a tiny data set, its config, and `w.pdparams`, as a trainer in Paddle may have saved it."""
    monkeypatch.chdir(tmp_path)
    make_tree(tmp_path / "data", per_class=1)
    write_config(tmp_path / "c.txt")
    paddle.seed(7)
    model = build_model("resnet", num_classes=3, **ARGUMENTS)
    state = {f"module.{name}": value.astype("float16") for name, value in model.state_dict().items()}
    paddle.save({"net": state, "epoch": 3, "config": {"lr": 0.1}}, "w.pdparams")
    return {name.removeprefix("module."): value.astype("float32").numpy() for name, value in state.items()}


def run_train(*words):
    train.main(
        ["c.txt", "--root", "data", "--save_dir", "out", "--epoch", "1", "--validate", "False"]
        + ["-o", "OPTIMIZER.learning_rate=1e-60", "-o", "OPTIMIZER.weight_decay=0.0", "--pretrain", "w", *words]
    )


def test_training_starts_from_them(place, capsys):
    run_train()
    trained = checkpoint.load_checkpoint("out/resnet_model")["model"]
    for name, value in trained.items():
        assert value.dtype == np.float32
        if not name.endswith(("_mean", "_variance")):
            np.testing.assert_array_equal(value, place[name])
    out = capsys.readouterr().out
    assert "w.pdparams: the weights under 'net' are taken" in out
    assert out.count("weights of float16 are cast to the types of the parameters") == 1
    assert f"start from w: {len(place)} tensors loaded" in out


def test_another_number_of_classes(place):
    """The message has the line that goes on."""
    with pytest.raises(ValueError, match="classes differs") as caught:
        run_train("-o", "MODEL.num_classes=5")
    assert "-o 'RUN.ignore_weights=[fc.*]'" in str(caught.value)
    run_train("-o", "MODEL.num_classes=5", "-o", "RUN.ignore_weights=[fc.*]")
    assert checkpoint.load_checkpoint("out/resnet_model")["model"]["fc.bias"].shape == (5,)


def test_scoring_takes_them_and_prediction_asks_for_a_checkpoint(place):
    test.main(["c.txt", "w", "--root", "data", "--save_dir", "scored"])
    scores = files.load_pickle("scored/w_test_scores.pkl")
    assert len(scores["scores"]) == 3
    for run in (lambda: predict.main(["w", "--input", "."]), lambda: export.main(["w"])):
        with pytest.raises(ValueError, match="'w' holds weights only, not how to prepare frames; give a checkpoint"):
            run()


@pytest.mark.parametrize("script", ["train", "test", "predict", "export", "merge"])
@pytest.mark.parametrize(
    "content, message",
    [
        ([1, 2], "'b.pdparams' holds a list, expected a checkpoint"),
        ({"epoch": 1, "config": {}}, "'b.pdparams' holds no weights: it has epoch, config; save the state dict"),
        ({"student": {"a": np.zeros(2)}}, "'b.pdparams' holds no weights: it has some under 'student', but none under"),
    ],
)
def test_what_holds_no_weights(place, script, content, message):
    files.dump_pickle(content, "b.pdparams")
    run = {
        "train": lambda: run_train("--pretrain", "b"),
        "test": lambda: test.main(["c.txt", "b", "--root", "data"]),
        "predict": lambda: predict.main(["b", "--input", "."]),
        "export": lambda: export.main(["b"]),
        "merge": lambda: merge_rgbpose.main(["b", "b", "--model", "rgbposeconv3d", "--out", "m"]),
    }[script]
    with pytest.raises(ValueError) as caught:
        run()
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_a_checkpoint_in_half_precision_predicts_and_a_broken_one_is_refused(tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    caplog.set_level(logging.INFO)
    state = checkpoint.load_checkpoint(save_model(tmp_path / "m"))
    halves = {f"_orig_mod.{name}": value.astype(np.float16) for name, value in state["model"].items()}
    checkpoint.save_checkpoint("half", {**state, "model": halves})
    (tmp_path / "frames").mkdir()
    for index, picture in enumerate(draw_frames("Left", seed=1)):
        (tmp_path / "frames" / f"{index + 1:05d}.jpg").write_bytes(picture)
    assert predict.main(["half", "--use_gpu", "False", "--input", "frames"]) == 0
    assert "weights of float16 are cast" in caplog.text
    state["model"]["fc.bias"][0] = np.nan
    checkpoint.save_checkpoint("broken", state)
    with pytest.raises(ValueError, match="'broken': 'fc.bias' is nan or infinite; take the file of an earlier epoch"):
        predict.main(["broken", "--input", "frames"])


def test_weights_that_no_text_gives_a_number_of_classes(place, tmp_path):
    lines = (tmp_path / "data/test.list").read_text(encoding="utf-8").splitlines()
    (tmp_path / "data/test.list").write_text("\n".join(lines[1:]), encoding="utf-8")
    with pytest.raises(ValueError, match="neither 'w' nor .*test.list names classes; set -o MODEL.num_classes=N"):
        test.main(["c.txt", "w", "--root", "data"])
    test.main(["c.txt", "w", "--root", "data", "-o", "MODEL.num_classes=3"])
