"""The folder of a run: who may write there, what a new run finds, what is lost and what is not."""

import fcntl
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from paths import ROOT
from small_dataset import make_tree, write_config

import test
import train
from common import files
from common.file_lock import FileLock
from dataset import records
from engine import checkpoint, evaluator
from engine.run_folder import RunFolder


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    root = make_tree(tmp_path_factory.mktemp("tree") / "data", per_class=2).parent
    write_config(root / "c.txt")
    return root


@pytest.fixture
def run(tree, tmp_path, monkeypatch):
    """Train in this process, in an empty folder; return the last checkpoint."""
    monkeypatch.chdir(tmp_path)

    def run(*words, save_dir="out", root=tree / "data"):
        words = [*words, "--config", str(tree / "c.txt"), "--root", str(root), "--save_dir", save_dir]
        train.main([*words] if "--epoch" in words else [*words, "--epoch", "1"])
        return checkpoint.load_checkpoint(f"{save_dir}/resnet_model")

    return run


def read_all(folder):
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_a_run_that_is_there_is_not_destroyed(run, tmp_path):
    run()
    before = read_all(tmp_path / "out")
    three_ways = r"'out' holds a run of resnet already: .*--resume auto.*--save_dir.*--overwrite$"
    with pytest.raises(ValueError, match=three_ways):
        run()
    run("--epoch", "1", save_dir="other")
    with pytest.raises(ValueError, match="--resume other/resnet_model is of another run, and 'out' holds a run of"):
        run("--epoch", "2", "--resume", "other/resnet_model")
    assert read_all(tmp_path / "out") == before
    assert run("--epoch", "2", "--resume", "out/resnet_best")["epoch"] == 2  # a checkpoint of that run


def test_a_folder_without_a_run_is_not_refused(run, tmp_path):
    (tmp_path / "out" / "vdl").mkdir(parents=True)
    (tmp_path / "out" / "resnet_log.jsonl").write_text("")
    (tmp_path / "out" / "notes.txt").write_text("mine")
    assert run()["epoch"] == 1


def test_records_without_a_checkpoint_are_a_run(run, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "resnet_log.jsonl").write_text('{"step": 1, "epoch": 0, "train/step_loss": 1.0}\n')
    with pytest.raises(ValueError, match="holds a run of resnet already"):
        run()
    assert run("--resume", "auto")["step"] == 2
    steps = [json.loads(line)["step"] for line in (tmp_path / "out" / "resnet_log.jsonl").read_text().splitlines()]
    assert steps == [1, 2, 2]


def test_overwrite_removes_that_run_and_nothing_else(run, tmp_path):
    run("-o", "RUN.save_interval=1", "-o", "RUN.save_scores=True")
    test.main(["out/resnet_model"])
    out = tmp_path / "out"
    others = ["notes.txt", "resnet_mine.pdparams", "resnet18_model.pdparams", "tsm_log.jsonl", "fused_model_scores.pkl"]
    for name in others:
        (out / name).write_text("")
    (out / "ranks").mkdir()
    (out / "ranks" / "workerlog.2").write_text("")
    run("--overwrite", "--validate", "False", "--seed", "1")
    made = ["resnet_log.jsonl", "resnet_model.pdparams"]
    assert sorted(path.name for path in out.iterdir()) == sorted([*others, *made, "ranks", "vdl"])
    assert os.listdir(out / "ranks") == []


def test_overwrite_removes_nothing_before_the_new_run_can_begin(run, tree, tmp_path):
    run()
    before = read_all(tmp_path / "out")
    with pytest.raises(FileNotFoundError):
        run("--overwrite", "-o", "VALID.filelist=none.list")
    assert read_all(tmp_path / "out") == before


def test_another_model_in_the_same_folder_has_curves_of_its_own(run, tmp_path):
    run()
    curves = (tmp_path / "out/vdl/vdlrecords.run.log").read_bytes()
    words = ["--model_name", "preresnet", "-o", "MODEL.depth=18"]
    run(*words)
    assert (tmp_path / "out/vdl/vdlrecords.run.log").read_bytes() == curves
    assert (tmp_path / "out/vdl/preresnet/vdlrecords.run.log").exists()
    assert (
        RunFolder("out", "resnet").vdl_dir == "out/vdl" and RunFolder("out", "preresnet").vdl_dir == "out/vdl/preresnet"
    )


HOLDER = f"""
import os, sys, time
sys.path.insert(0, {str(ROOT)!r})
from common.file_lock import FileLock
lock = FileLock(sys.argv[1])
lock.acquire()
if os.fork() == 0:
    time.sleep(60)  # as a reader process that outlives its parent for a moment
print(os.getpid(), flush=True)
time.sleep(60)
"""


def test_a_run_that_is_being_written_is_locked_until_its_process_ends(run, tmp_path):
    (tmp_path / "out").mkdir()
    command = [sys.executable, "-c", HOLDER, tmp_path / "out" / ".lock"]
    holder = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    process_id = holder.stdout.readline().strip()
    with pytest.raises(ValueError, match=f"'out' is being written by process {process_id} on .*another --save_dir"):
        run("--overwrite")
    holder.kill()
    holder.wait()
    assert run()["epoch"] == 1 and not (tmp_path / "out" / ".lock").exists()
    os.killpg(holder.pid, signal.SIGKILL)


def test_a_file_system_without_locks_is_said_and_stops_nothing(run, monkeypatch, capsys):
    def refuse(*arguments):
        raise OSError(37, "No locks available")

    monkeypatch.setattr(fcntl, "lockf", refuse)
    run()
    assert capsys.readouterr().out.count("'out' cannot be locked (No locks available); start no second run") == 1


def test_the_lock_is_given_back_after_an_error(run, tmp_path):
    with pytest.raises(FloatingPointError):
        run("--learning_rate", "1e6", "--batch_size", "2")
    lock = FileLock(str(tmp_path / "out" / ".lock"))
    assert lock.acquire() is None
    lock.release()


def test_what_a_killed_process_was_writing_is_removed(run, tmp_path):
    (tmp_path / "out").mkdir()
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    for process_id in (ended.pid, os.getppid()):
        (tmp_path / "out" / f"{files.UNFINISHED}{process_id}-0a").write_text("half")
    run()
    assert [name for name in os.listdir("out") if name.startswith(".")] == [f"{files.UNFINISHED}{os.getppid()}-0a"]


def test_a_validation_that_fails_costs_no_epoch(run, monkeypatch, tmp_path):
    """The trained epoch is saved before; the resumed run validates it first and ends with the same bits."""
    words = ["--epoch", "2", "-o", "RUN.ema_decay=0.9", "-o", "OPTIMIZER.schedule=plateau"]
    whole = run(*words, save_dir="whole")

    def fail(*arguments):
        raise ValueError("a sample that cannot be read")

    with monkeypatch.context() as patch, pytest.raises(ValueError, match="cannot be read"):
        patch.setattr(evaluator, "validate", fail)
        patch.setattr(evaluator, "rehearse", lambda *_: None)
        run(*words)
    saved = checkpoint.load_checkpoint("out/resnet_model")
    assert saved["role"] == "trained" and saved["epoch"] == 1 and saved["step"] == 2 and saved["best"] is None
    test.main(["out/resnet_model"])
    resumed = run(*words, "--resume", "auto")
    for part in ("model", "ema"):
        for name, value in whole[part].items():
            np.testing.assert_array_equal(value, resumed[part][name], err_msg=name)
    assert whole["plateau"] == resumed["plateau"] and whole["best"] == resumed["best"]
    assert ["val/top1" in row for row in resumed["history"]] == [True, True] and resumed["role"] == "last"
    drawn = (tmp_path / "out/resnet_log.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in drawn] == [1, 2, 2, 3, 4, 4]


@pytest.mark.parametrize(
    "change, message",
    [
        ("twice", "val.list: sample 'test/v_Left_g02_c01' stands twice in the list; scores are kept by name"),
        ("metric", "RUN.metric: acc/rgb_top1 is none of this network's figures: loss, top1, top5"),
        ("damaged", "v_Down_g02_c01.pkl"),
    ],
)
def test_what_cannot_be_validated_ends_a_run_before_its_first_epoch(run, tree, tmp_path, capsys, change, message):
    root = make_tree(tmp_path / "data", per_class=2)
    lines = (root / "test.list").read_text().splitlines()
    (root / "val.list").write_text("\n".join([*lines, *(["test/v_Left_g02_c01.pkl"] if change == "twice" else [])]))
    if change == "damaged":
        (root / "test" / "v_Down_g02_c01.pkl").write_bytes(b"half")
    words = ["-o", "RUN.metric=acc/rgb_top1"] if change == "metric" else []
    with pytest.raises(ValueError, match=message):
        run(*words, root=root)
    assert "Loss at epoch 0" not in capsys.readouterr().out and not (tmp_path / "out/resnet_log.jsonl").exists()


def test_labels_outside_the_classes_end_a_run_before_its_first_epoch(run, tree, tmp_path):
    """A list of frame folders, which says its labels, without class names."""
    for mode in ("train", "val"):
        for label in range(2):
            folder = tmp_path / "frames" / f"{mode}{label}"
            folder.mkdir(parents=True)
            record = records.read_record(tree / "data" / "train" / "v_Down_g01_c01.pkl")
            for index, frame in enumerate(record["frames"]):
                (folder / f"{index:05}.jpg").write_bytes(frame)
        lines = [f"frames/{mode}{label} 12 {label + 5 * (mode == 'val') * label}" for label in range(2)]
        (tmp_path / f"{mode}.list").write_text("\n".join(lines))
    with pytest.raises(ValueError, match="val.list has label 6, expected 0 to 1"):
        run("-o", "MODEL.num_classes=2", root=tmp_path)


def test_a_resumed_run_keeps_its_schedule_and_says_the_rates_and_what_differs(run, tmp_path, capsys):
    words = ["-o", "OPTIMIZER.learning_rate_decay=0.1"]
    run("--epoch", "2", *words)  # milestones 1.2 and 1.7: none is reached
    capsys.readouterr()
    state = run("--epoch", "4", *words, "--resume", "auto", "-o", "RUN.eval_interval=2", "-o", "RUN.mixup_alpha=0.1")
    out = capsys.readouterr().out
    for key, old, new in (("eval_interval", 1, 2), ("mixup_alpha", 0.0, 0.1)):
        assert f"--resume: RUN.{key} was {old!r} and is {new!r} now" in out
    assert "RUN.resume" not in out.split("resume from")[0].split("-----\n")[-1]
    assert (
        "the run is to have 4 epochs, its schedule stays that of 2; -o OPTIMIZER.schedule_epochs=4 stretches it" in out
    )
    assert "learning rate: 0.05 in the last update, 0.0005 in the next one" in out
    assert [row["train/lr"] for row in state["history"]] == pytest.approx([0.05, 0.05, 0.0005, 0.0005])
    state = run("--epoch", "5", *words, "--resume", "auto")  # still that of two epochs
    assert state["history"][-1]["train/lr"] == pytest.approx(0.0005)
    state = run("--epoch", "10", *words, "--resume", "auto", "-o", "OPTIMIZER.schedule_epochs=10")
    assert [row["train/lr"] for row in state["history"][5:]] == pytest.approx([0.05, 0.005, 0.005, 0.005, 0.0005])


def test_a_cosine_that_has_come_to_its_end_is_said(run, capsys):
    run("-o", "OPTIMIZER.schedule=cosine")
    run("--epoch", "2", "--resume", "auto", "-o", "OPTIMIZER.schedule=cosine")
    assert "learning rate: 0 trains nothing; set OPTIMIZER.schedule_epochs or" in capsys.readouterr().out


def test_what_a_later_epoch_left_does_not_push_out_an_epoch_that_was_written_last(tmp_path):
    for number in (8, 9, 1):
        (tmp_path / f"a_epoch_{number:05d}.pdparams").write_text("")
        time.sleep(0.01)
    checkpoint.prune_checkpoints(str(tmp_path), "a_epoch_*", 2)
    assert sorted(os.listdir(tmp_path)) == ["a_epoch_00001.pdparams", "a_epoch_00009.pdparams"]


@pytest.mark.skipif(not os.path.exists("/sys/kernel"), reason="needs a folder in which nobody may write")
def test_a_working_folder_that_cannot_be_written_ends_neither_training_nor_test(
    run, tree, tmp_path, monkeypatch, capsys
):
    words = ["--config", "configs/quickstart.txt"]
    monkeypatch.chdir("/sys/kernel")  # read-only, also for root
    out = str(tmp_path / "out")
    train.main(["--config", str(tree / "c.txt"), "--root", str(tree / "data"), "--save_dir", out, "--epoch", "1"])
    test.main([f"{out}/resnet_model"])
    assert capsys.readouterr().out.count("RUN.log_file: 'logger.log' cannot be written (") == 2
    assert train.read_recipe(train.flags.parse_train(words))[0]["MODEL"]["depth"] == 10


def test_a_folder_without_a_checkpoint_has_nothing_to_make_slim(tmp_path):
    folder = RunFolder(str(tmp_path), "resnet")
    folder.make_last_slim()
    assert list(tmp_path.iterdir()) == []
