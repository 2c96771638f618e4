"""The curves of a run and its settings."""

import io
import json

import numpy as np
import pytest
from PIL import Image

import recipe
from config import load_config
from engine.console import config_changes
from inference.report import charts, run_facts

HISTORY = [{"epoch": 0, "train/loss": 2.0, "train/top1": 0.25}, {"epoch": 1, "train/loss": 1.5, "val/loss": 1.75}]
STATE = {"history": HISTORY, "config": {"MODEL": {"name": "resnet"}}}
LATER = {"epoch": 2, "train/loss": 1.0, "val/loss": 1.25}


def write_log(folder, rows):
    lines = [{"step": 1, "epoch": 0, "train/step_loss": 3.0}, *rows]
    (folder / "resnet_log.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")


def test_the_log_has_the_epochs_after_the_weights(tmp_path):
    write_log(tmp_path, [*HISTORY, LATER])
    rows, source = run_facts.read_history(str(tmp_path / "resnet_best"), STATE)
    assert rows == [*HISTORY, LATER] and source == f"From {tmp_path / 'resnet_log.jsonl'}."


@pytest.mark.parametrize("rows, why", [([{**HISTORY[1], "train/loss": 9.0}], "of another run"), ([7], "damaged")])
def test_another_log_is_not_taken_for_that_of_the_run(tmp_path, rows, why):
    write_log(tmp_path, rows)
    found, source = run_facts.read_history(str(tmp_path / "resnet_model"), STATE)
    assert found == HISTORY and why in source


def test_without_a_log_the_checkpoint_has_its_epochs(tmp_path):
    assert run_facts.read_history(str(tmp_path / "resnet_model"), STATE)[0] == HISTORY
    rows, source = run_facts.read_history(str(tmp_path / "resnet_model"), {"model": {}})
    assert rows == [] and "no curves" in source


def test_train_and_val_are_in_one_chart():
    loss, accuracy = run_facts.draw_curves([*HISTORY, LATER], 1)
    assert loss["names"] == ["train", "val"] and accuracy["names"] == ["train"]
    assert [[point[2:] for point in line] for line in loss["lines"]] == [
        [(0, "2.0000"), (1, "1.5000"), (2, "1.0000")],
        [(1, "1.7500"), (2, "1.2500")],
    ]
    train, val = loss["lines"]
    # 2 is the top and 0 the bottom of 240 pixels but for margins of 10 and 30, so 1.5 a quarter down.
    assert [point[1] for point in train] == [10, 60, 110] and val[0][0] == train[1][0] == loss["mark"]
    assert run_facts.draw_curves([{"epoch": 0, "train/loss": float("nan"), "val/loss": "?"}], None) == []


def test_a_long_run_has_a_bounded_number_of_points_and_its_last_one():
    curve = [(epoch, 1.0) for epoch in range(1001)]
    (line,) = charts.place_curves("loss", {"train": curve}, None, False)["lines"]
    assert len(line) <= charts.MAX_POINTS and line[-1][2] == 1000 and line[0][2] < line[1][2]
    assert charts.place_curves("loss", {"val": [(3, 0.0)]}, 3, False)["mark"] == 46  # one epoch, at the left


def test_a_large_matrix_is_a_small_picture():
    fractions = np.zeros((2100, 2100))
    fractions[2099, 0] = 1
    shades = np.asarray(Image.open(io.BytesIO(charts.draw_matrix(fractions))).convert("RGB")).astype(int)
    assert shades.shape == (700, 700, 3) and shades[699, 0].tolist() == [8, 48, 107]
    assert (shades.sum(axis=2) < 700).sum() == 1


def test_settings_that_are_not_the_defaults():
    config = recipe.resolve(load_config("configs/quickstart.txt"), "quickstart.txt")
    changes = config_changes.list_changes(config, recipe.resolve, "quickstart.txt")
    rows = {key: (value, default) for key, value, default in run_facts.list_settings(changes)}
    assert rows["MODEL.depth"] == (10, 50) and rows["RUN.epochs"] == (16, 65) and rows["OPTIMIZER.name"][0] == "adamw"
    assert rows["TRAIN.batch_size"][0] == 16 and rows["VALID.batch_size"][0] == 32
    assert "RUN.log_interval" not in rows and "TRAIN.flip_ratio" not in rows and "READER.flip" not in rows
