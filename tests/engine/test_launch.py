"""The processes that `--gpus N` starts: flags and environment agree, each end is told, none outlives its parent."""

import contextlib
import os
import signal
import subprocess
import sys
import time

import pytest
from paths import ROOT
from small_dataset import make_tree, write_config

import test
import train
from engine import distributed, flags, onednn

# A process that stands in for train.py: it does what its command line says, by its rank, and needs no Paddle.
PROCESS = f"""
import os, signal, sys, time
from unittest import mock
sys.path[:0] = [{str(ROOT)!r}]
sys.modules["paddle"] = mock.MagicMock()
from engine import distributed
assert not distributed.join_processes(2)
rank = int(os.environ["PADDLE_TRAINER_ID"])
print(f"rank {{rank}} of", os.environ["PADDLE_TRAINERS_NUM"], os.environ["PADDLE_TRAINER_ENDPOINTS"], "\\u5e8a")
if sys.argv[1] == "sleep":
    open(f"pid.{{rank}}", "w").write(str(os.getpid()))
    time.sleep(60)
if rank == 1:
    while "rank 0" not in open("ranks/workerlog.0").read():
        time.sleep(0.02)
    if sys.argv[1] == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    sys.exit(0 if sys.argv[1] == "fine" else "ValueError: no such list")
time.sleep(60 if sys.argv[1] != "fine" else 0)
"""
WAITING = f"""
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a test run in the background ignores it
from unittest import mock
sys.path[:0] = [{str(ROOT)!r}]
sys.modules["paddle"] = mock.MagicMock()
from engine import distributed
distributed.launch("process.py", ["sleep"], 2, "ranks", use_gpu=False)
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with the process and the log of a third rank of another run."""
    for name in [name for name in os.environ if name.startswith(("PADDLE_", "FLAGS_"))]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "process.py").write_text(PROCESS, encoding="utf-8")
    (tmp_path / "ranks").mkdir()
    for rank in (1, 2):
        (tmp_path / f"ranks/workerlog.{rank}").write_text("words of another run\n", encoding="utf-8")
    return tmp_path


def launch(word, num_processes=2):
    return distributed.launch("process.py", [word], num_processes, "ranks", use_gpu=False)


def test_processes_that_end_well_are_told_nothing_of(folder, capsys):
    assert launch("fine") == 0
    out, err = capsys.readouterr()
    assert out.startswith("rank 0 of 2 127.0.0.1:") and out.endswith("\u5e8a\n") and err == ""
    endpoints = out.split()[4].split(",")
    assert len(set(endpoints)) == 2
    kept, own = (folder / "ranks/workerlog.1").read_text(encoding="utf-8").splitlines()
    assert kept == "words of another run" and own.startswith("rank 1 of 2")


@pytest.mark.parametrize(
    ("word", "status", "end"),
    [
        ("fail", 1, "rank 1 ended with exit status 1, ranks/workerlog.1: ValueError: no such list"),
        (
            "kill",
            137,
            "rank 1 was killed by SIGKILL (out of memory? try a smaller batch_size, num_workers or --gpus), ",
        ),
    ],
)
def test_the_end_of_each_process_of_this_run_is_told(folder, capsys, word, status, end):
    assert launch(word) == status
    err = capsys.readouterr().err
    assert err.startswith(
        "one of the 2 processes failed, the others were stopped; their last words:\nrank 0 was stopped, "
    )
    assert f"\n{end}" in err and "ranks/workerlog.1: " in err and "ranks/workerlog.0: rank 0 of 2" in err
    assert "workerlog.2" not in err and "another run" not in err


def test_a_process_that_said_nothing_does_not_get_the_words_of_another_run(folder, capsys):
    (folder / "process.py").write_text("import os\nos.abort()\n", encoding="utf-8")
    assert launch("x") == 128 + signal.SIGABRT
    assert "rank 1 was killed by SIGABRT, ranks/workerlog.1: nothing" in capsys.readouterr().err


def is_running(pid):
    try:
        return "Z" not in open(f"/proc/{pid}/stat").read().split(")")[1].split()[0]
    except OSError:
        return False


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_processes_end_with_their_parent(folder, how):
    parent = subprocess.Popen([sys.executable, "-c", WAITING], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    files = [folder / f"pid.{rank}" for rank in (0, 1)]
    deadline_s = time.monotonic() + 60
    while not all(path.is_file() and path.read_text() for path in files) and time.monotonic() < deadline_s:
        time.sleep(0.05)
    pids = [int(path.read_text()) for path in files]
    assert all(map(is_running, pids))
    parent.send_signal(how)
    parent.wait(60)
    deadline_s = time.monotonic() + 10
    while any(map(is_running, pids)) and time.monotonic() < deadline_s:
        time.sleep(0.05)
    assert not any(map(is_running, pids))


def test_a_process_whose_parent_has_ended_before_it_looks_ends(monkeypatch):
    words = PROCESS.partition("rank =")[0]
    environment = {**os.environ, "PADDLE_TRAINER_ID": "0", distributed.PARENT_VARIABLE: "1"}
    environment.update(PADDLE_TRAINERS_NUM="2", PADDLE_CURRENT_ENDPOINT="a:1", PADDLE_TRAINER_ENDPOINTS="a:1,a:2")
    ended = subprocess.run([sys.executable, "-c", words], env=environment, capture_output=True, text=True)
    assert ended.returncode == 1 and "the process that started this one has ended" in ended.stderr


WORLD = {"PADDLE_TRAINERS_NUM": "2", "PADDLE_CURRENT_ENDPOINT": "a:1", "PADDLE_TRAINER_ENDPOINTS": "a:1,a:2"}


@pytest.mark.parametrize(
    ("gpus", "environment", "message"),
    [
        (
            2,
            {"PADDLE_TRAINER_ID": "0"},
            r"--gpus 2: the environment \(PADDLE_TRAINER_ID=0\) says .* one of 1 processes",
        ),
        (1, {"PADDLE_TRAINER_ID": "0", **WORLD}, "--gpus 1: .*one of 2 processes; under .*launch leave --gpus out"),
        (3, {"PADDLE_TRAINER_ID": "0", **WORLD}, "--gpus 3: .*one of 2 processes"),
        (None, {"PADDLE_TRAINERS_NUM": "2"}, "lacks PADDLE_TRAINER_ID, PADDLE_CURRENT_ENDPOINT, PADDLE_TRAINER_END"),
        (2, {"PADDLE_TRAINERS_NUM": "2"}, "lacks PADDLE_TRAINER_ID"),
        (None, {"PADDLE_TRAINER_ID": "2", **WORLD}, "has no such process; unset these variables"),
        (None, {"PADDLE_TRAINER_ID": "x"}, "the environment has PADDLE_TRAINER_ID=x, expected whole numbers"),
        (2, {"PADDLE_NNODES": "2"}, "--gpus 2 starts the processes of this machine, .*PADDLE_NNODES=2; unset it"),
        (2, {"PADDLE_NPROC_PER_NODE": "4"}, "PADDLE_NPROC_PER_NODE=4; unset it"),
    ],
)
@pytest.mark.parametrize("script", [train, test])
def test_what_flag_and_environment_contradict_is_refused(folder, monkeypatch, script, gpus, environment, message):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=message):
        script.main([] if gpus is None else ["--gpus", str(gpus)])


@pytest.mark.parametrize(
    ("gpus", "environment", "has_to_launch"),
    [
        (None, {}, False),
        (1, {}, False),
        (2, {}, True),
        (2, {"PADDLE_NNODES": "1", "PADDLE_NPROC_PER_NODE": "2"}, True),
        (None, {"PADDLE_TRAINER_ID": "0"}, False),  # a machine that always sets it
        (1, {"PADDLE_TRAINER_ID": "0", "PADDLE_TRAINERS_NUM": "1"}, False),
        (None, {"PADDLE_TRAINER_ID": "1", **WORLD}, False),
        (2, {"PADDLE_TRAINER_ID": "1", **WORLD}, False),
    ],
)
def test_what_agrees_is_taken(folder, monkeypatch, gpus, environment, has_to_launch):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert distributed.join_processes(gpus) is has_to_launch


@pytest.mark.parametrize("parse", [flags.parse_train, flags.parse_test])
@pytest.mark.parametrize("number", ["0", "-3", "x", "1.5"])
def test_a_number_of_processes_below_one_is_refused(parse, number, capsys):
    with pytest.raises(SystemExit):
        parse([f"--gpus={number}"])
    assert f"argument --gpus: expected 1 or more processes, got {number}" in capsys.readouterr().err


@pytest.fixture
def launched(folder, monkeypatch):
    """Run train.py for an epoch as Paddle's launcher would start rank 0, and return the test commands it ran."""
    make_tree(folder / "data")
    write_config(folder / "c.txt")
    commands = []

    def note(command, env, check):
        commands.append((command, env))
        return subprocess.CompletedProcess(command, 0)

    def run(*words, **environment):
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(train.subprocess, "run", note)
        monkeypatch.setattr(train, "train", lambda config, settings, folder, is_tested: None)
        monkeypatch.setattr(train.RunFolder, "opened", lambda *arguments: contextlib.nullcontext())
        monkeypatch.setattr(distributed, "connect", lambda: None)
        monkeypatch.setattr(distributed, "end_with_starter", lambda process_id: None)
        monkeypatch.setattr(distributed, "rank", lambda: int(environment["PADDLE_TRAINER_ID"]))
        assert not train.main(["c.txt", "--root", "data", "--save_dir", "run", *words])
        return commands

    return run


def test_a_launched_run_is_scored_by_one_process(launched):
    commands = launched("--test_last", "--test_best", PADDLE_TRAINER_ID="0", **WORLD)
    assert [command[command.index("--weights") + 1] for command, _ in commands] == [
        "run/resnet_model",
        "run/resnet_best",
    ]
    for command, environment in commands:
        assert "--gpus" not in command and not [name for name in environment if name.startswith("PADDLE_")]


def test_the_other_processes_leave_scoring_to_the_first(launched):
    assert launched("--test_last", PADDLE_TRAINER_ID="1", **WORLD) == []


def test_with_gpus_the_parent_scores(launched):
    assert (
        launched("--test_last", PADDLE_TRAINER_ID="0", **WORLD, **{distributed.PARENT_VARIABLE: str(os.getppid())})
        == []
    )


def test_onednn_says_where_it_does_not_compute(monkeypatch, caplog):
    monkeypatch.setattr(distributed, "num_ranks", lambda: 2)
    with caplog.at_level("INFO"):
        assert not onednn.is_chosen("dynamic", "resnet") and caplog.messages == []
        assert not onednn.is_chosen("auto", "resnet")
    assert caplog.messages == [
        "RUN.cpu_backend=auto: computed by the dynamic graph, not by oneDNN: it takes one process, here are 2"
    ]
    with pytest.raises(
        ValueError, match="RUN.cpu_backend=onednn: it takes one process, here are 2; set -o RUN.cpu_back"
    ):
        onednn.is_chosen("onednn", "resnet")
