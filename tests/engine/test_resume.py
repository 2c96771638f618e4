"""What a run was trained on travels with it: going on, starting from weights and scoring compare it."""

import pathlib
import shutil
import subprocess

import numpy as np
import pytest
from small_skeletons import write_config, write_pkl

import test
import train
from common import files
from engine import checkpoint


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with `c.txt`, `tiny.pkl`, and a run of one epoch in `out`."""
    folder = tmp_path_factory.mktemp("trained")
    write_pkl(folder / "tiny.pkl")
    write_config(folder / "c.txt", "tiny.pkl")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        train.main(["c.txt", "--save_dir", "out", "--epoch", "1"])
    return folder


@pytest.fixture
def run(trained, tmp_path, monkeypatch, capsys):
    """Run train.py in a copy of that folder; give what it prints."""
    shutil.copytree(trained, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")

    def run(*words):
        train.main(["c.txt", "--epoch", "1", *words])
        return capsys.readouterr().out

    return run


def write_other(path, **changes):
    """Write `tiny.pkl` with other values in its first annotation."""
    content = files.load_pickle("tiny.pkl")
    content["annotations"][0].update(changes)
    files.dump_pickle(content, path)


def test_a_checkpoint_says_what_it_was_trained_on(run):
    data = checkpoint.load_checkpoint("out/stgcn_model")["data"]
    assert {section: (entry["samples"], entry["num_samples"]) for section, entry in data.items()} == {
        "TRAIN": ("tiny.pkl split train", 12),
        "VALID": ("tiny.pkl split test", 12),
    }
    assert data["TRAIN"]["digest"] != data["VALID"]["digest"]


@pytest.mark.parametrize(
    "changes", [{"label": 2}, {"keypoint": np.zeros((1, 12, 25, 3), np.float32)}, {"total_frames": 12}]
)
def test_auto_goes_on_with_the_same_samples_only(run, changes):
    write_other("other.pkl", **changes)
    words = ["--save_dir", "out", "--epoch", "2", "-o", "READER.filelist=other.pkl"]
    before = checkpoint.load_checkpoint("out/stgcn_model")
    if "total_frames" not in changes:
        message = r"'out/stgcn_model': it was trained on tiny.pkl split train .12 samples.*, TRAIN is other.pkl split "
        with pytest.raises(ValueError, match=message + r".*; choose another --save_dir, .*--resume out/stgcn_model$"):
            run(*words, "--resume", "auto")
        assert checkpoint.load_checkpoint("out/stgcn_model")["step"] == before["step"]
        out = run(*words, "--resume", "out/stgcn_model")  # who names it means it, and is told
        assert "--resume out/stgcn_model: it was trained on tiny.pkl split train (12 samples" in out
    else:  # a copy
        assert "it was trained on" not in run(*words, "--resume", "auto")
    after = checkpoint.load_checkpoint("out/stgcn_model")
    assert after["epoch"] == 2 and after["data"]["TRAIN"]["samples"] == "other.pkl split train"


def test_another_split_is_refused_of_a_checkpoint_that_does_not_say_its_samples(run):
    state = checkpoint.load_checkpoint("out/stgcn_model")
    del state["data"]
    checkpoint.save_checkpoint("out/stgcn_model", state)
    with pytest.raises(ValueError, match="it was trained on tiny.pkl split train, TRAIN is tiny.pkl split test .12 "):
        run("--save_dir", "out", "--resume", "auto", "-o", "TRAIN.split=test")
    assert "1 epochs are done" in run("--save_dir", "out", "--resume", "auto")


def test_what_judges_is_compared_by_its_samples_too(run):
    write_other("tiny.pkl")  # the file is replaced by the same samples
    assert "begin anew" not in run("--save_dir", "out", "--resume", "auto", "--epoch", "2")
    content = files.load_pickle("tiny.pkl")
    content["annotations"][-1]["label"] = 0
    files.dump_pickle(content, "tiny.pkl")
    out = run("--save_dir", "out", "--resume", "auto", "--epoch", "3")
    assert "VALID was tiny.pkl split test (12 samples" in out and "begin anew" in out


def test_a_start_from_weights_of_other_inputs_is_told(run):
    words = ["--save_dir", "new", "--pretrain", "out/stgcn_model"]
    out = run(*words)
    assert "trained on tiny.pkl split train (12 samples, digest " in out and "other inputs" not in out
    out = run(*words, "--overwrite", "-o", "READER.stream=bone", "-o", "TRAIN.normalization=none")
    assert "--pretrain: READER.stream was 'joint' and is 'bone' now; the weights were trained on other inputs" in out
    assert "--pretrain: READER.normalization was 'center' and is None now" in out
    state = checkpoint.load_checkpoint("out/stgcn_model")
    checkpoint.save_checkpoint("bare", {"model": state["model"]})
    assert "other inputs" not in run("--save_dir", "bare_start", "--pretrain", "bare")


def test_a_score_says_what_its_weights_were_trained_on(run, capsys):
    test.main(["out/stgcn_model"])
    assert "OPTIMISTIC: the weights" not in capsys.readouterr().out
    protocol = files.load_pickle("out/stgcn_model_test_scores.pkl")["protocol"]
    assert protocol["trained_on"] == checkpoint.load_checkpoint("out/stgcn_model")["data"]["TRAIN"]
    test.main(["out/stgcn_model", "-o", "TEST.split=train", "-o", "READER.stream=bone"])
    out = capsys.readouterr().out
    assert "OPTIMISTIC: the weights were trained on what is scored: tiny.pkl split train (12 samples" in out
    assert "READER.stream was 'joint' and is 'bone' now; the weights were trained on other inputs" in out


def test_a_finished_run_is_scored_on_the_split_of_today(run, monkeypatch):
    """The checkpoint has the config text of then."""
    commands, done = [], subprocess.CompletedProcess([], 0)
    monkeypatch.setattr(subprocess, "run", lambda command, **_: commands.append(command) or done)
    with open("c.txt", "a", encoding="utf-8") as file:
        file.write("\n[TEST]\nsplit = train\n")
    run("--save_dir", "out", "--resume", "auto", "--test_last")
    assert commands[0][-6:] == ["--weights", "out/stgcn_model", "--filelist", "tiny.pkl", "-o", "TEST.split='train'"]


@pytest.mark.parametrize(
    "words, message",
    [
        (["--test_last", "-o", "TEST.split=gone"], "tiny.pkl: there is no split 'gone'"),
        (["--test_last", "-o", "TEST.filelist=gone.pkl"], "gone.pkl"),
        (["--test_best", "--validate", "False"], "--test_best: no epoch is validated .RUN.validate is False."),
    ],
)
def test_what_cannot_be_tested_is_said_before_the_training(run, words, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        run("--save_dir", "new", *words)
    assert not checkpoint.checkpoint_exists("new/stgcn_model")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-o", "OPTIMIZER.name=adamw"], "state of OPTIMIZER.name=momentum, which adamw cannot use; set momentum, or"),
        (["-o", "OPTIMIZER.name=adam"], "--pretrain out/stgcn_model and another --save_dir"),
    ],
)
def test_a_run_does_not_go_on_with_the_state_of_another_optimizer(run, words, message):
    before = checkpoint.load_checkpoint("out/stgcn_model")["optimizer"].keys()
    with pytest.raises(ValueError, match=message):
        run("--save_dir", "out", "--resume", "auto", "--epoch", "2", *words)
    assert checkpoint.load_checkpoint("out/stgcn_model")["optimizer"].keys() == before
    run("--save_dir", "out", "--resume", "auto", *words)  # it is over: nothing is trained


def test_a_run_does_not_go_on_with_weights_that_were_frozen(run):
    run("--save_dir", "frozen", "-o", "RUN.freeze_until=blocks.0")
    go_on = ["--save_dir", "frozen", "--resume", "auto", "--epoch", "2"]
    with pytest.raises(ValueError, match=r"were frozen \(.*; set RUN.freeze_until=blocks.0 as before, or start"):
        run(*go_on)
    assert "resume from" in run(*go_on, "-o", "RUN.freeze_until=blocks.0")


def test_a_finished_run_of_another_folder_leaves_nothing_to_make_slim(run):
    run("--save_dir", "other", "--slim", "--resume", "out/stgcn_model")
    assert not list(pathlib.Path("other").glob("*.pdparams"))
