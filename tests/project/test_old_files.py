"""Files that commit c6b641d wrote, before the rooms: checkpoints, score files, records, lists and configs still load.

They were made by its scripts from the tiny samples of its tests: three videos for training and three for testing, a
3D-ResNet of two channels with RUN.step = static and a moving average, an ST-GCN with READER.move and READER.shift.
"""

import re
import shutil

import numpy as np
import paddle
import pytest
from paths import TEST_DATA

import ensemble
import recipe
import test
import train
from common import files
from dataset import records
from engine import checkpoint
from reader import build_loader

OLD = TEST_DATA / "of_c6b641d"
CHECKPOINTS = {"rgb": "resnet", "skeleton": "stgcn"}
every_checkpoint = pytest.mark.parametrize("kind", list(CHECKPOINTS))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A copy of the files, which the scripts stand in."""
    shutil.copytree(OLD, tmp_path / "old")
    monkeypatch.chdir(tmp_path / "old")
    return tmp_path / "old"


@every_checkpoint
def test_a_checkpoint_gives_the_scores_that_it_gave_then(folder, kind):
    name = CHECKPOINTS[kind]
    expected = files.load_pickle(f"{kind}/{name}_model_test_scores.pkl")
    test.main(["--weights", f"{kind}/{name}_model", "--save_dir", "new"])
    found = files.load_pickle(f"new/{name}_model_test_scores.pkl")
    assert found.keys() == expected.keys() and found["labels"] == expected["labels"]
    assert found["class_names"] == expected["class_names"]
    assert found["protocol"].items() >= expected["protocol"].items()  # today's says more
    for sample, scores in expected["scores"].items():
        np.testing.assert_allclose(found["scores"][sample], scores, rtol=1e-4, atol=1e-6)


@every_checkpoint
def test_a_run_goes_on_from_a_checkpoint(folder, kind):
    """Keys that have other names now do not count as differences."""
    name = CHECKPOINTS[kind]
    backend = [] if paddle.__version__.startswith("3") else ["-o", "RUN.cpu_backend=dynamic"]
    root = ["--root", "data"] if kind == "rgb" else []
    before = checkpoint.load_checkpoint(f"{kind}/{name}_model")
    train.main(["--config", f"{name}.txt", *root, "--save_dir", kind, "--epoch", "2", "--resume", "auto", *backend])
    after = checkpoint.load_checkpoint(f"{kind}/{name}_model")
    assert (before["epoch"], after["epoch"]) == (1, 2) and after["history"][0] == before["history"][0]
    new_keys = {"data", "judged_from", "num_ranks", "samples_per_update"}
    assert after["step"] == 2 * before["step"] and after.keys() - before.keys() == new_keys
    assert after["model"].keys() == before["model"].keys() and after["optimizer"].keys() == before["optimizer"].keys()
    log = (folder / "old.log").read_text(encoding="utf-8")
    log = re.sub(r"RUN.cpu_backend was '\w+' and is '\w+' now", "", log)  # has another default now
    assert f"resume from {kind}/{name}_model: 1 epochs" in log and "and is" not in log


def test_old_keys_of_configs_and_checkpoints_have_their_new_names(folder):
    for config in (
        recipe.read_recipe("stgcn.txt", {}, [])[0],
        recipe.resolve(checkpoint.load_checkpoint("skeleton/stgcn_model")["config"], "a checkpoint"),
    ):
        assert config["TRAIN"]["random_move"] is config["TRAIN"]["random_shift"] is True
        assert not {"move", "shift"} & {*config["TRAIN"], *config["READER"]}
    for config in (
        recipe.read_recipe("resnet.txt", {}, [])[0],
        recipe.resolve(checkpoint.load_checkpoint("rgb/resnet_model")["config"], "a checkpoint"),
    ):
        assert config["RUN"]["cpu_backend"] == "onednn" and "step" not in config["RUN"]


def test_records_and_lists_are_read(folder):
    entries, class_names = records.read_list("data/train.list")
    assert class_names == ["Down", "Left", "Right"] and len(entries) == 3
    record = records.read_record(entries[1].path)
    assert (record["video"], record["label"], len(record["frames"])) == ("v_Left_g01_c01", 1, 12)
    loader = build_loader(filelist="data/train.list", mode="valid", clip_len=8, crop_size=32, num_workers=0)
    (batch,) = loader
    assert batch["labels"].tolist() == [0, 1, 2] and batch["inputs"]["rgb"].shape == [3, 8, 32, 32, 3]


def test_score_files_are_fused(folder, capsys):
    pair = ["rgb/resnet_model_test_scores.pkl", "rgb/resnet_val_00001_scores.pkl"]
    ensemble.main(pair)
    assert "3" in capsys.readouterr().out
    whole = files.load_pickle(pair[0])
    assert set(whole["scores"]) == {f"v_{name}_g02_c01" for name in ("Down", "Left", "Right")}
