"""train.py with the switches of RUN: each changes what it should, shows in the run card, and survives a resume."""

import json
import os
import pathlib

import numpy as np
import paddle
import pytest
from small_dataset import make_tree, write_config

import test
import train
from engine import checkpoint, train_step

QUIET = ["--validate", "False"]
STILL = ["OPTIMIZER.learning_rate=1e-60", "OPTIMIZER.weight_decay=0.0"]  # training that moves no weight: 0 in float32


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    root = make_tree(tmp_path_factory.mktemp("tree") / "data").parent
    write_config(root / "c.txt")
    return root


@pytest.fixture
def run(tree, tmp_path, monkeypatch):
    """Train in this process, in an empty folder; return the last checkpoint."""
    monkeypatch.chdir(tmp_path)

    def run(*words, save_dir="out"):
        words = [word for one in words for word in (("-o", one) if "." in one and "=" in one else (one,))]
        train.main(["--config", str(tree / "c.txt"), "--root", str(tree / "data"), "--save_dir", save_dir, *words])
        return checkpoint.load_checkpoint(f"{save_dir}/resnet_model")

    return run


def find_moved(one, other):
    """Name the tensors that two checkpoints differ in."""
    return {name for name, value in one["model"].items() if not np.array_equal(value, other["model"][name])}


SWITCHES = {
    "accumulate": (
        ["RUN.accumulate=2", "TRAIN.batch_size=3"],
        "6 samples an update (in 2 parts, batch norm over each of them), 2 updates an epoch",
    ),
    "mixup": (["RUN.mixup_alpha=0.4"], "mixing  mixup alpha 0.4, 100% of the batches"),
    "cutmix": (["RUN.cutmix_alpha=1.0", "RUN.mix_ratio=0.7"], "mixing  cutmix alpha 1, 70% of the batches"),
    "both": (["RUN.mixup_alpha=0.2", "RUN.cutmix_alpha=1.0"], "mixing  mixup alpha 0.2 or cutmix alpha 1, 100%"),
    "train_from": (["RUN.train_from=layer4"], "frozen  before layer4; 0.17 M parameters are trained"),
    "frozen statistics": (
        ["RUN.freeze_until=layer3", "RUN.freeze_statistics=True"],
        "frozen  until layer3; 0.17 M parameters are trained; the frozen part's batch-norm statistics are kept",
    ),
    "restarts": (
        ["OPTIMIZER.schedule=cosine_restarts", "OPTIMIZER.restart_epochs=1", "OPTIMIZER.schedule_by=step"],
        "cosine to 0 over 1 epochs, then again over 2 times as many",
    ),
    "clipping": (["OPTIMIZER.grad_clip=0.01"], "checkpoints"),
}


@pytest.mark.parametrize("name", SWITCHES)
def test_a_switch_reaches_the_weights_shows_and_survives_a_resume(run, name, capsys):
    """A resumed run ends with the bits of an unbroken one; the plain run ends elsewhere."""
    words, row = SWITCHES[name]
    words = ["OPTIMIZER.schedule=constant", *words]  # multistep's own milestones move with --epoch
    whole = run(*QUIET, "--epoch", "3", *words)
    assert " ".join(row.split()) in " ".join(capsys.readouterr().out.split())
    assert find_moved(whole, run(*QUIET, "--epoch", "3", words[0], save_dir="plain"))
    run(*QUIET, "--epoch", "1", *words, save_dir="parts")
    resumed = run(*QUIET, "--epoch", "3", *words, "--resume", save_dir="parts")
    assert find_moved(whole, resumed) == set()
    for parameter, slots in whole["optimizer"].items():
        for slot, value in slots.items():
            np.testing.assert_array_equal(value, resumed["optimizer"][parameter][slot])


def test_the_average_is_what_is_validated_kept_scored_and_resumed(run, tree, capsys):
    words = ["RUN.ema_decay=0.5", "OPTIMIZER.schedule=constant"]
    whole = run("--epoch", "3", *words)
    assert "average  of the weights, decay 0.5; it is what is scored" in capsys.readouterr().out
    plain = run("--epoch", "3", words[1], save_dir="plain")
    assert find_moved(whole, plain) == set()  # the average leaves the run itself alone
    moved = {name for name, value in whole["ema"].items() if not np.array_equal(value, whole["model"][name])}
    assert moved == {name for name in whole["model"] if not name.endswith(("_mean", "_variance"))}
    assert whole["history"][-1]["val/loss"] != plain["history"][-1]["val/loss"]
    test.main(["out/resnet_model", "--use_gpu", "False"])
    told = json.loads(pathlib.Path("out/resnet_model_test.jsonl").read_text().splitlines()[-1])
    assert told["test/loss"] == whole["history"][-1]["val/loss"]  # the same weights, list and protocol
    run("--epoch", "1", *words, save_dir="parts")
    resumed = run("--epoch", "3", *words, "--resume", save_dir="parts")
    for name, value in whole["ema"].items():
        np.testing.assert_array_equal(value, resumed["ema"][name])
    started = run(*QUIET, "--epoch", "1", *STILL, "--pretrain", "out/resnet_model", save_dir="from")
    np.testing.assert_array_equal(started["model"]["fc.weight"], whole["ema"]["fc.weight"])


def test_frozen_parts_do_not_move_nor_their_statistics_when_asked(run):
    words = [*QUIET, "--epoch", "1"]
    first = run(*words, *STILL, save_dir="start")
    start = ["--pretrain", "start/resnet_model"]

    def is_before(name):
        return not name.startswith(("layer4", "fc"))

    moved = find_moved(first, run(*words, *start, "RUN.train_from=layer4"))
    weights = {name for name in moved if not name.endswith(("_mean", "_variance"))}
    assert weights and not any(map(is_before, weights)) and any(map(is_before, moved - weights))
    kept = run(*words, *start, "RUN.train_from=layer4", "RUN.freeze_statistics=True", save_dir="kept")
    moved = find_moved(first, kept)
    assert {name for name in moved if name.endswith("_mean")} and not any(map(is_before, moved))
    until = ["RUN.freeze_until=layer3", "RUN.freeze_statistics=True"]
    assert moved == find_moved(first, run(*words, *start, *until, save_dir="until"))
    assert set(kept["optimizer"]) == weights
    with pytest.raises(
        ValueError, match=r"RUN.train_from: no module 'layre4'; did you mean 'layer4'\? \(modules: conv1, "
    ):
        run(*words, "RUN.train_from=layre4", save_dir="none")
    with pytest.raises(ValueError, match="RUN.freeze_until: 'fc' leaves nothing to train"):
        run(*words, "RUN.freeze_until=fc", save_dir="none")


def test_a_run_that_gets_no_better_stops_and_says_why(run, capsys):
    words = ["RUN.early_stop_patience=2", "RUN.early_stop_min_delta=0.9", *STILL]  # nothing can be better by 0.9
    state = run("--epoch", "9", *words)
    out = capsys.readouterr().out
    assert "early stop  after 2 validations without a top1 better by more than 0.9" in out
    assert state["epoch"] == 3 and "early stop after epoch 2: 2 validations without a top1 better than the 0." in out
    run("--epoch", "9", *words, "--resume")
    out = capsys.readouterr().out
    assert "early stop after epoch 2" in out and "END epoch" not in out
    assert run("--epoch", "9", *words, "RUN.early_stop_patience=4", "--resume")["epoch"] == 5


def test_pretraining_reports_what_it_took_and_fails_on_the_rest(run, capsys):
    words = [*QUIET, "--epoch", "1", *STILL]
    first = run(*words)
    other = ["MODEL.num_classes=7", "--seed", "5"]
    start = ["--pretrain", "out/resnet_model"]
    with pytest.raises(ValueError, match=r"2 of another shape \(fc.weight \[64, 3\] for \[64, 7\], fc.bias"):
        run(*words, *other, *start, save_dir="refused")
    capsys.readouterr()
    taken = run(*words, *other, *start, "RUN.ignore_weights=[fc.*]", save_dir="taken")
    out = capsys.readouterr().out
    count = len(first["model"]) - 2
    assert f"start from out/resnet_model: {count} tensors loaded\n" in out
    assert "  left out of the file: fc.weight, fc.bias\n  left as initialised: fc.weight, fc.bias\n" in out
    assert {name for name in find_moved(first, taken) if not name.endswith(("_mean", "_variance"))} == {
        "fc.weight",
        "fc.bias",
    }
    os.rename("out/resnet_model.pdparams", "moved.pdparams")  # a run that goes on does not ask for what it started from
    assert (
        run(*words, *other, *start, "RUN.ignore_weights=[fc.*]", "--epoch", "2", "--resume", save_dir="taken")["epoch"]
        == 2
    )
    backbone = {name: value for name, value in first["model"].items() if not name.startswith("fc")}
    checkpoint.save_checkpoint("backbone", {"model": backbone})
    with pytest.raises(ValueError, match=r"2 missing \(fc.weight, fc.bias\)"):
        run(*words, "--pretrain", "backbone", save_dir="refused")
    run(*words, "--pretrain", "backbone", "RUN.allow_missing=[fc.*]", save_dir="headless")
    out = capsys.readouterr().out
    assert "left as initialised: fc.weight, fc.bias" in out and "left out of the file" not in out
    checkpoint.save_checkpoint("more", {"model": {**first["model"], "neck.weight": np.zeros(1, np.float32)}})
    with pytest.raises(ValueError, match=r"1 left over \(neck.weight\)"):
        run(*words, "--pretrain", "more", 'RUN.allow_missing=["*"]', save_dir="refused")


def test_mixed_precision_and_synchronized_batch_norm_say_what_a_cpu_cannot_do(run, capsys):
    plain = run(*QUIET, "--epoch", "1")
    half = run(*QUIET, "--epoch", "1", "RUN.amp_level=O1", save_dir="half")
    out = capsys.readouterr().out
    assert "RUN.amp_level=O1: Paddle computes in float16 on GPUs only; this is float32" in out
    assert "precision  O1, float32 on a CPU" in out and find_moved(plain, half) == set()
    with pytest.raises(ValueError, match="RUN.sync_bn: Paddle synchronizes batch norm on GPUs only"):
        run("RUN.sync_bn=True", save_dir="none")


def test_memory_that_runs_out_proposes_the_batch_that_fits(run, monkeypatch):
    monkeypatch.setattr(train_step.TrainStep, "__call__", lambda *arguments: paddle.zeros([2**50]))
    with pytest.raises(MemoryError, match=r"-o TRAIN.batch_size=2 -o RUN.accumulate=2, which keeps 4 samples an upd"):
        run(*QUIET)


def test_a_resumed_run_tells_which_switches_are_not_as_they_were(run, capsys):
    run(*QUIET, "--epoch", "1", "RUN.ema_decay=0.5")
    run(*QUIET, "--epoch", "2", "RUN.ema_decay=0.9", "RUN.log_interval=2", "--resume")
    out = capsys.readouterr().out
    assert "--resume: RUN.ema_decay was 0.5 and is 0.9 now" in out and "RUN.log_interval was" not in out
    run(*QUIET, "--epoch", "3", "--resume")  # and back to none: the average is dropped
    assert "ema" not in checkpoint.load_checkpoint("out/resnet_model")
