"""train.py on a tiny data set: every flag, every file, kills and resumes, and the faults that stop a run."""

import errno
import json
import os
import re
import signal
import subprocess
import sys

import numpy as np
import pytest
import visualdl
from gpus import has_gpu
from paths import ROOT
from small_dataset import CONFIG, make_tree, write_config

import test
import train
from common import command_line, files
from engine import checkpoint, trainer


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
        train.main(["--config", str(tree / "c.txt"), "--root", str(tree / "data"), "--save_dir", save_dir, *words])
        return checkpoint.load_checkpoint(f"{save_dir}/resnet_model")

    return run


def same_weights(one, other):
    return all(np.array_equal(value, other["model"][name]) for name, value in one["model"].items())


def test_a_run_leaves_its_checkpoints_lines_and_curves(run, tmp_path, capsys):
    state = run("--epoch", "2")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "resnet_best.pdparams",
        "resnet_log.jsonl",
        "resnet_model.pdparams",
        "vdl",
    ]
    assert state["epoch"] == 2 and state["step"] == 6 and state["class_names"] == ["Down", "Left", "Right"]
    assert state["config"]["MODEL"]["num_classes"] == 3 and len(state["history"]) == 2
    out = capsys.readouterr().out
    assert re.search(r"^epoch 1, 3/3: loss [\d.]+, top1 [\d.]+%, lr [\d.]+, ", out, re.M)
    assert "Valid Arguments" not in out and "Namespace(" not in out and "  MODEL      resnet, depth 10" in out
    for told in ("samples to train on", "M parameters", "GMACs a clip of 3 x 8 x 32 x 32", "chance 33.33%", "Paddle "):
        assert told in out, told
    assert "top5" not in out  # of three classes
    logged = (tmp_path / "logger.log").read_text(encoding="utf-8")
    assert re.search(r"^\[INFO: trainer.py: +\d+\]: Loss at epoch 0 step 0: \[", logged, re.M)
    assert re.search(r"\]: Final loss: \[\d+\.\d+\]$", logged, re.M)
    assert "---------------- Valid Arguments ----------------\nMODEL:\n    name:resnet\n" in logged
    rows = [json.loads(line) for line in (tmp_path / "out/resnet_log.jsonl").read_text().splitlines()]
    assert len(rows) == 8 and rows[-1]["val/top1"] == state["history"][-1]["val/top1"]


def test_the_charts_have_groups_and_train_and_val_in_one(run):
    run("--epoch", "2", "-o", "RUN.histogram_interval=1")
    reader, train_reader = (
        visualdl.LogReader(file_path=f"out/vdl/{folder}vdlrecords.run.log") for folder in ("", "train/")
    )
    tags = reader.get_tags()
    assert set(train_reader.get_tags()["scalar"]) == {"accuracy/top1", "loss/loss"}
    assert {"accuracy/top1", "loss/loss", "accuracy/mean_class_accuracy", "update/loss"} <= set(tags["scalar"])
    assert {tag.split("/")[0] for tag in tags["scalar"]} == {"accuracy", "loss", "update", "system"}
    assert [tag for tag in tags["scalar"] if "lr" in tag or "learning_rate" in tag] == ["update/learning_rate"]
    for one in (reader, train_reader):  # one axis: epochs
        assert [point.id for point in one.get_data("scalar", "accuracy/top1")] == [0, 1]
    assert len(reader.get_data("scalar", "update/learning_rate")) == 6
    assert {"weights/fc.weight", "gradients/conv1.weight"} <= set(tags["histogram"])
    assert set(tags["image"]) <= {"start/clips", "end/wrong"} and "start/clips" in tags["image"]
    hparam = reader.get_data("hyper_parameters", "hparam")[0].hparam
    assert [metric.name for metric in hparam.metricInfos] == ["accuracy/top1", "loss/loss"]
    values = {info.name: getattr(info, info.WhichOneof("type")) for info in hparam.hparamInfos}
    wanted = {"run": "out", "MODEL/name": "resnet", "OPTIMIZER/name": "momentum", "TRAIN/batch_size": 4, "RUN/seed": 0}
    assert wanted.items() <= values.items() and values["READER/clip_len"] == 8 and values["RUN/epochs"] == 2


def test_histograms_are_written_where_they_are_asked_for(run):
    run("--epoch", "1")
    assert "histogram" not in visualdl.LogReader(file_path="out/vdl/vdlrecords.run.log").get_tags()


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(run):
    first = run("--epoch", "1")
    assert same_weights(first, run("--epoch", "1", save_dir="again"))
    assert not same_weights(first, run("--epoch", "1", "--seed", "1", save_dir="other"))
    assert same_weights(first, run("--epoch", "1", "-o", "READER.num_workers=2", save_dir="workers"))


@pytest.mark.parametrize(
    "word",
    [
        "OPTIMIZER.learning_rate=0.01",
        "OPTIMIZER.learning_rate_decay=0.5",
        "OPTIMIZER.momentum=0.5",
        "OPTIMIZER.weight_decay=0.1",
        "OPTIMIZER.grad_clip=0.01",
        "OPTIMIZER.warmup_epochs=1",
        "OPTIMIZER.schedule=cosine",
        "RUN.label_smoothing=0.2",
        "TRAIN.batch_size=6",
        "TRAIN.flip_ratio=0.0",
    ],
)
def test_the_keys_of_the_config_reach_the_weights(run, tree, word):
    """Cause 5 of the 2.3 %: a learning rate, decay, momentum and weight decay that nobody read."""
    if not hasattr(test_the_keys_of_the_config_reach_the_weights, "plain"):
        test_the_keys_of_the_config_reach_the_weights.plain = run("--validate", "False")
    changed = run("--validate", "False", "-o", word, save_dir="changed")
    assert not same_weights(test_the_keys_of_the_config_reach_the_weights.plain, changed)
    section, key = word.split("=")[0].split(".")
    assert str(changed["config"][section][key]) == word.split("=")[1]


def test_every_flag_of_2020_has_its_effect(run, tree, tmp_path):
    flags = ["--model_name", "resnet", "--batch_size", "6", "--learning_rate", "0.02", "--use_gpu", "False"]
    state = run(*flags, "--epoch", "1", save_dir="elsewhere")
    assert state["step"] == 2  # 12 samples by 6
    assert state["history"][0]["train/lr"] == 0.02
    assert state["config"]["RUN"]["use_gpu"] is False and state["config"]["MODEL"]["name"] == "resnet"
    rate = ["--learning_rate", "1e-60", "--epoch", "1", "-o", "OPTIMIZER.weight_decay=0.0"]
    started = run("--pretrain", "elsewhere/resnet_model", *rate, save_dir="from")
    for name, value in state["model"].items():
        if not name.endswith(("_mean", "_variance")):
            np.testing.assert_array_equal(value, started["model"][name], err_msg=name)


def test_validation_can_be_turned_off_and_spaced(run, tmp_path):
    state = run("--validate", "False", "--epoch", "1")
    assert "val/top1" not in state["history"][0] and state["best"] is None
    assert not (tmp_path / "out/resnet_best.pdparams").exists()
    state = run("--validate", "-o", "RUN.eval_interval=2", "-o", "RUN.val_begin=1", save_dir="spaced")
    assert ["val/top1" in row for row in state["history"]] == [False, True, True]


def test_the_best_epoch_is_kept_with_the_list_that_chose_it(run):
    state = run("-o", "RUN.metric=loss", "-o", "RUN.save_interval=1", "-o", "RUN.max_keep=2")
    losses = [row["val/loss"] for row in state["history"]]
    assert state["best"]["epoch"] == int(np.argmin(losses)) and state["best"]["filelist"].endswith("test.list")
    best = checkpoint.load_checkpoint("out/resnet_best")
    assert best["epoch"] - 1 == state["best"]["epoch"]
    kept = [name for name in os.listdir("out") if "_epoch_" in name]
    assert sorted(kept) == ["resnet_epoch_00002.pdparams", "resnet_epoch_00003.pdparams"]


def test_a_checkpoint_is_written_once_an_epoch(run, monkeypatch):
    """Cause 6 of the 2.3 %: one was written at every step."""
    written = []
    save = checkpoint.save_checkpoint
    monkeypatch.setattr(checkpoint, "save_checkpoint", lambda path, state: (written.append(path), save(path, state)))
    run("--validate", "False")
    assert written == ["out/resnet_model"] * 3


def test_overfitting_few_samples_succeeds(run, capsys):
    words = ["--overfit", "3", "--epoch", "50", "-o", "TRAIN.crop=resized", "-o", "RUN.eval_interval=50"]
    state = run(*words, "-o", "OPTIMIZER.learning_rate=0.02", "-o", "OPTIMIZER.schedule=constant")
    out = " ".join(capsys.readouterr().out.split())
    assert state["step"] == 50 and "3 samples to train on" in out
    assert "overfit: 3 of 3 after 50 epochs: labels and reader fit together" in out
    assert state["history"][-1]["train/top1"] == 1.0 and state["history"][-1]["val/top1"] == 1.0


def test_few_samples_are_judged_by_their_own_batch_norm_statistics(run, monkeypatch):
    """Those that follow the weights by a tenth an update are of earlier weights, and judge a sound network wrongly."""
    calls = []
    compute = trainer.compute_norm_statistics
    monkeypatch.setattr(trainer, "compute_norm_statistics", lambda *given: (calls.append(given), compute(*given)))
    run("--overfit", "3", "--epoch", "2")
    assert len(calls) == 2
    run("--epoch", "1", save_dir="usual")
    assert len(calls) == 2


def test_samples_in_both_lists_are_named(run, tree, capsys):
    run("--epoch", "1", "-o", f"VALID.filelist={tree}/data/train.list")
    assert "12 of 12 samples to validate on stand in the training list too" in capsys.readouterr().out


def test_a_loss_that_explodes_stops_with_where_and_whom(run):
    with pytest.raises(FloatingPointError) as caught:
        run("--learning_rate", "1e6", "--batch_size", "2")
    told = str(caught.value)
    assert re.match(r"epoch \d step \d, learning rate 1e\+06: loss is (nan|inf); samples: v_\w+_g01_c0\d, ", told)


# A program that trains in a child for each (folder, kill), one after the other; a kill names the function at whose n-th
# call the child kills itself with SIGKILL. Children are forked, so that Paddle is imported once.
KILLER = f"""
import json, os, pkgutil, signal, sys
sys.path[:0] = [{str(ROOT)!r}]
from common import command_line
command_line.start_paddle()
import train

def kill_at(owner, function, at, before):
    owner = pkgutil.resolve_name(owner)
    calls, original = 0, getattr(owner, function)
    def counting(*arguments, **keywords):
        nonlocal calls
        calls += 1
        if calls == at and before:
            os.kill(os.getpid(), signal.SIGKILL)
        result = original(*arguments, **keywords)
        if calls == at:
            os.kill(os.getpid(), signal.SIGKILL)
        return result
    setattr(owner, function, counting)

for save_dir, kill in json.loads(sys.argv[1]):
    child = os.fork()
    if child == 0:
        if kill:
            kill_at(**kill)
        command_line.run_main(lambda: train.main([*sys.argv[2:], "--save_dir", save_dir]))
    print("status", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
KILLS = [  # each goes on from what the one before left
    {"owner": "engine.train_step.TrainStep", "function": "__call__", "at": 2, "before": True},  # in the first epoch
    # the last checkpoint written, not renamed
    {"owner": "common.files.os", "function": "replace", "at": 2, "before": True},
    {"owner": "common.files.os", "function": "fsync", "at": 1, "before": True},  # best checkpoint half-way
    {"owner": "engine.train_step.TrainStep", "function": "__call__", "at": 5, "before": False},  # within an epoch
    {"owner": "engine.evaluator", "function": "validate", "at": 1, "before": False},  # between training and writing
]


def test_a_run_killed_again_and_again_ends_with_the_same_bits(tree, tmp_path):
    """All in processes of their own: other tests of this one may have changed how many threads its products take."""
    words = ["--config", tree / "c.txt", "--root", tree / "data", "--epoch", "4", "--resume", "auto"]
    runs = [("out", None), *(("killed", kill) for kill in KILLS), ("killed", None)]
    command = [sys.executable, "-c", KILLER, json.dumps(runs), *map(str, words)]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    statuses = [int(line.split()[1]) for line in ended.stdout.splitlines() if line.startswith("status ")]
    assert statuses == [0, *(-signal.SIGKILL for _ in KILLS), 0], ended.stderr[-500:]
    whole, resumed = (checkpoint.load_checkpoint(tmp_path / name / "resnet_model") for name in ("out", "killed"))
    assert same_weights(whole, resumed) and whole["step"] == resumed["step"]
    for name, slots in whole["optimizer"].items():
        for slot, value in slots.items():
            np.testing.assert_array_equal(value, resumed["optimizer"][name][slot], err_msg=f"{name} {slot}")
    drop = ("time/", "memory")
    for mine, theirs in zip(whole["history"], resumed["history"], strict=True):
        assert {k: v for k, v in mine.items() if not k.startswith(drop)} == {
            k: v for k, v in theirs.items() if not k.startswith(drop)
        }
    steps = [json.loads(line)["step"] for line in (tmp_path / "killed/resnet_log.jsonl").read_text().splitlines()]
    assert steps == [json.loads(line)["step"] for line in (tmp_path / "out/resnet_log.jsonl").read_text().splitlines()]


def test_plateau_state_survives_a_resume(run):
    words = ["-o", "OPTIMIZER.schedule=plateau", "-o", "OPTIMIZER.plateau_patience=0"]
    whole = run("--epoch", "4", *words)
    run("--epoch", "2", *words, save_dir="parts")
    assert same_weights(whole, run("--epoch", "4", *words, "--resume", save_dir="parts"))


def test_a_finished_run_is_scored_on_the_list_that_the_user_sets_now(run, tree, monkeypatch):
    """Its checkpoint has the config of then."""
    run("--epoch", "1")
    commands, done = [], subprocess.CompletedProcess([], 0)
    monkeypatch.setattr(subprocess, "run", lambda command, **_: commands.append(command) or done)
    run("--epoch", "1", "--resume", "auto", "--test_last", "-o", "TEST.num_clips=2", "-o", "RUN.max_keep=2")
    (command,) = commands
    assert command[command.index("--root") :] == ["--root", str(tree / "data"), "-o", "TEST.num_clips=2"]


@pytest.mark.parametrize(
    "words, metric",
    [
        (["RUN.metric=loss"], "loss"),  # a top1 of 0.3 was once compared with every loss, and stayed the best for good
        (["RUN.rule=less"], "top1"),
        (["VALID.filelist=@/train.list"], "top1"),
    ],
)
def test_what_is_judged_in_another_way_after_a_resume_begins_anew(run, tree, capsys, words, metric):
    plateau = ["-o", "OPTIMIZER.schedule=plateau", "-o", "RUN.early_stop_patience=1"]
    first = run("--epoch", "1", *plateau)
    first["best"]["value"] = first["plateau"]["best"] = 0.0 if "RUN.rule=less" in words or metric == "loss" else 1.0
    first["history"][0][f"val/{metric}"] = first["best"]["value"]
    checkpoint.save_checkpoint("out/resnet_model", first)
    given = [argument for word in words for argument in ("-o", word.replace("@", str(tree / "data")))]
    state = run("--epoch", "2", "--resume", "auto", *plateau, *given)
    value = state["history"][1][f"val/{metric}"]
    assert (state["best"]["metric"], state["best"]["epoch"], state["best"]["value"]) == (metric, 1, value)
    assert state["plateau"]["best"] == value and state["plateau"]["bad_epochs"] == 0 and state["judged_from"] == 1
    assert checkpoint.load_checkpoint("out/resnet_best")["epoch"] == 2
    out = capsys.readouterr().out
    assert out.count("best, plateau and early stop begin anew") == 1 and "early stop after" not in out
    state = run("--epoch", "3", "--resume", "auto", *plateau, *given)  # as before: goes on
    assert state["judged_from"] == 1 and "begin anew" not in capsys.readouterr().out


def test_resume_tells_what_is_not_as_it_was(run, tree, capsys):
    run("--epoch", "1")
    run("--epoch", "2", "--resume", "out/resnet_model", "--learning_rate", "0.01")
    out = capsys.readouterr().out
    assert "--resume: OPTIMIZER.learning_rate was 0.05 and is 0.01 now" in out
    run("--epoch", "2", "--resume", "auto")
    assert "2 epochs are done; a larger --epoch would go on" in capsys.readouterr().out
    checkpoint.save_checkpoint("weights", {"model": checkpoint.load_checkpoint("out/resnet_model")["model"]})
    with pytest.raises(ValueError, match="it holds weights only; start from it with --pretrain weights"):
        run("--resume", "weights")


def test_a_broken_visualdl_costs_no_training(run, monkeypatch, capsys):
    def broken(*arguments, **keywords):
        raise OSError("disk of curves is full")

    monkeypatch.setattr(visualdl, "LogWriter", broken)
    assert run("--epoch", "1")["epoch"] == 1
    assert "disk of curves is full; training goes on" in capsys.readouterr().out


@pytest.mark.parametrize(
    "words, message",
    [
        (["--use_gpu", "True"], "--use_gpu True: Paddle"),
        (["--epoch", "0"], "epochs: expected int from 1 to 1000000, got 0"),
        (["--validate", "False", "-o", "OPTIMIZER.schedule=plateau"], "OPTIMIZER.schedule=plateau follows validations"),
        (["--validate", "False", "-o", "RUN.early_stop_patience=2"], "RUN.early_stop_patience counts validations; lea"),
        (["--model_name", "resnt"], "unknown name 'resnt'; known: resnet"),
        (["--config", "none.txt"], "config 'none.txt' does not exist"),
        (["--root", "nowhere"], "nowhere/train.list"),
        (["--pretrain", "nothing"], "no checkpoint 'nothing.pdparams'"),
        (["-o", "RUN.epochs"], "expected SECTION.key=value"),
    ],
)
def test_a_mistake_on_the_command_line_ends_in_one_sentence(tree, tmp_path, monkeypatch, words, message):
    if words[0] == "--use_gpu" and has_gpu():
        pytest.skip("there is a GPU")
    monkeypatch.chdir(tmp_path)
    base = ["--config", str(tree / "c.txt"), "--root", str(tree / "data")]
    with pytest.raises(SystemExit) as ended:
        command_line.run_main(lambda: train.main([*base, *words]))
    assert message in ended.value.code and "\n" not in ended.value.code  # Python prints a text and gives the status 1


def test_a_mistake_as_a_user_sees_it(tree, tmp_path, run_script):
    ended = run_script("train.py", "--config", tree / "c.txt", "--root", "nowhere", cwd=tmp_path)
    assert ended.returncode == 1
    assert "nowhere/train.list" in ended.stderr.strip().split("\n")[-1]
    assert "Traceback" not in ended.stderr


@pytest.mark.gpu
def test_a_gpu_learns_as_the_cpu_does(run):
    words = ["--epoch", "1", "-o", "RUN.log_interval=3"]
    on_gpu = run(*words, "--use_gpu", "True", "--deterministic", save_dir="gpu")["history"][0]
    on_cpu = run(*words, "--use_gpu", "False", save_dir="cpu")["history"][0]
    assert on_gpu["train/loss"] == pytest.approx(on_cpu["train/loss"], rel=1e-2)


def test_all_cores_are_used_unless_the_user_says_otherwise(tmp_path):
    program = (
        f"import runpy, sys; sys.path.insert(0, {str(ROOT)!r}); sys.argv = ['train.py', 'no_such_config.txt']\n"
        "try: runpy.run_path(sys.path[0] + '/train.py', run_name='__main__')\n"
        "except SystemExit: pass\n"
        "import os; print('threads', os.environ['OMP_NUM_THREADS'], len(os.sched_getaffinity(0)))"
    )
    environment = {key: value for key, value in os.environ.items() if key != "OMP_NUM_THREADS"}

    def threads(**more):
        ran = subprocess.run(
            [sys.executable, "-c", program], env={**environment, **more}, cwd=tmp_path, capture_output=True, text=True
        )
        return ran.stdout.strip().split("\n")[-1].split()[1:]

    used, cores = threads()
    assert used == cores
    assert threads(OMP_NUM_THREADS="1")[0] == "1"


def test_a_folder_that_cannot_be_written_is_told(tree, tmp_path, run_script):
    (tmp_path / "out").write_text("a file stands here")
    words = ["--config", tree / "c.txt", "--root", tree / "data", "--save_dir", "out"]
    ended = run_script("train.py", *words, cwd=tmp_path)
    assert ended.returncode == 1 and "out" in ended.stderr.strip().split("\n")[-1]


@pytest.mark.parametrize("classes", [["Down"], ["Left", "Right"]], ids=["one class", "two classes"])
def test_few_classes_train_and_score(tree, tmp_path, monkeypatch, capsys, classes):
    monkeypatch.chdir(tmp_path)
    make_tree(tmp_path / "data", classes=classes)
    train.main(["--config", str(tree / "c.txt"), "--epoch", "1", "--save_dir", "out"])
    test.main(["out/resnet_model"])
    out = capsys.readouterr().out
    assert f"chance {100 / len(classes):.2f}%" in out
    assert "top-1 " in out and "top-2" not in out and "top-5" not in out


def test_a_full_disk_is_told_and_leaves_the_last_checkpoint_whole(run, monkeypatch):
    before = run("--epoch", "1")

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="out/resnet_.*No space left on device"):
        patch.setattr(files.os, "fsync", full)
        run("--epoch", "2", "--resume", "auto")
    assert same_weights(before, checkpoint.load_checkpoint("out/resnet_model"))
    assert not [name for name in os.listdir("out") if "unfinished" in name or "tmp" in name]
    assert run("--epoch", "2", "--resume", "auto")["epoch"] == 2


def test_a_record_that_would_run_code_stops_the_run(tree, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_tree(tmp_path / "data", per_class=2)
    bad = tmp_path / "data" / "train" / "v_Left_g01_c01.pkl"
    bad.write_bytes(b"cos\nsystem\n(S'touch ran'\ntR.")
    with pytest.raises(ValueError, match="v_Left_g01_c01.pkl.*system.*refused"):
        train.main(["--config", str(tree / "c.txt"), "--epoch", "1", "--save_dir", "out"])
    assert not (tmp_path / "ran").exists()


def test_damaged_records_are_replaced_counted_and_named(tree, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    make_tree(tmp_path / "data", per_class=2)
    bad = tmp_path / "data" / "train" / "v_Left_g01_c01.pkl"
    bad.write_bytes(bad.read_bytes()[:100])
    words = ["--config", str(tree / "c.txt"), "--epoch", "1", "--save_dir", "out"]
    train.main(words)
    assert re.search(
        r"1 damaged samples in this epoch, replaced by other samples: .*v_Left_g01_c01.pkl", capsys.readouterr().out
    )
    with pytest.raises(ValueError, match="more than RUN.max_faults=0: .*v_Left_g01_c01.pkl"):
        train.main([*words[:-1], "other", "-o", "RUN.max_faults=0"])
    test_bad = tmp_path / "data" / "test" / "v_Left_g02_c01.pkl"
    test_bad.write_bytes(test_bad.read_bytes()[:100])
    with pytest.raises(ValueError, match="v_Left_g02_c01.pkl"):  # in evaluation no sample is replaced
        test.main(["out/resnet_model"])


def test_the_config_in_yaml_trains_the_same_network(run, tree, tmp_path):
    rows = []
    for line in CONFIG.split("\n"):
        rows.append(
            f"{line[1:-1]}:" if line.startswith("[") else "  " + line.replace(" = ", ": ") if "=" in line else ""
        )
    write_config(tmp_path / "c.yaml", "\n".join(rows))
    text = run("--epoch", "1")
    assert same_weights(text, run("--epoch", "1", "--config", str(tmp_path / "c.yaml"), save_dir="yaml"))
