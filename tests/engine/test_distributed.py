"""Several processes, on this machine and as two machines: they train and score as one process does.

The processes are CPU ones that talk by gloo over the loopback device, started by Paddle's own launcher.
"""

import json
import re
import socket
import sys

import numpy as np
import pytest
from paths import ROOT
from small_dataset import CONFIG, make_tree, write_config
from training_processes import finish, launch, start

from common import files
from engine import checkpoint, distributed

# A program for every process: train.py or test.py with a network without batch norm, which depends on its batch mates;
# one after the other where several command lines are joined by "then".
PROGRAM = f"""
import os, signal, sys
sys.path[:0] = [{str(ROOT)!r}]
from common import command_line
command_line.start_paddle()
import paddle
import models, test, train
from engine import train_step
from models.parts.action_model import ActionModel

class Plain(ActionModel):
    def __init__(self, num_classes: int):
        super().__init__()
        self.conv = paddle.nn.Conv3D(3, 8, 3, stride=2)
        self.fc = paddle.nn.Linear(8, num_classes)

    def forward(self, x):
        return self.fc(paddle.tanh(self.conv(x)).mean(axis=[2, 3, 4]))

models.MODELS["plain"] = Plain
victim, at = os.environ.get("KILL_RANK"), int(os.environ.get("KILL_AT", 0))
if victim == os.environ.get("PADDLE_TRAINER_ID", "none"):
    calls, update = [], train_step.TrainStep.__call__
    def counting(*arguments):
        calls.append(1)
        if len(calls) == at:
            os.kill(os.getpid(), signal.SIGKILL)
        return update(*arguments)
    train_step.TrainStep.__call__ = counting

def run(words):
    later = words.index("then") if "then" in words else len(words)
    {{"train": train, "test": test}}[words[0]].main(words[1:later])
    if later < len(words):
        run(words[later + 1 :])

command_line.run_main(lambda: run(sys.argv[1:]))
"""
PLAIN = "[MODEL]\nname = plain\n" + CONFIG[CONFIG.index("[READER]") :]
# 9 samples by 4: the last update has one sample, so that one of two processes has none of its own.
WORDS = ["--overfit", "9", "--epoch", "3", "-o", "VALID.batch_size=2"]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with data, configs and the program; its `one` is what one process trained with 4 samples an update.

    That process scored it too, into `by_one`.
    """
    folder = tmp_path_factory.mktemp("parallel")
    make_tree(folder / "data")
    write_config(folder / "plain.txt", PLAIN)
    write_config(folder / "resnet.txt")
    (folder / "program.py").write_text(PROGRAM, encoding="utf-8")
    finish(start([sys.executable, "program.py", *train_words("one", 4), "then", *score_words("by_one")], folder))
    return folder


@pytest.fixture(scope="module")
def printed_by_two(place):
    """What two processes printed that trained `two`, then `parts`, then scored what one had trained into `by_two`."""
    parts = train_words("parts", 1, "-o", "RUN.accumulate=2")
    return finish(launch([*train_words("two", 2), "then", *parts, "then", *score_words("by_two")], place))


def train_words(save_dir, batch_size, *more):
    flags = ["--config", "plain.txt", "--root", "data", "--save_dir", save_dir, "--batch_size", str(batch_size)]
    return ["train", *flags, *WORDS, *more]


def score_words(save_dir):
    return ["test", "one/plain_model", "--root", "data", "--batch_size", "5", "--save_dir", save_dir]


def read_losses(folder, save_dir):
    """List what rank 0 logged: (step, loss, top1) of each update, and of each epoch its validation."""
    lines = [json.loads(line) for line in (folder / save_dir / "plain_log.jsonl").read_text().splitlines()]
    steps = [(one["step"], one["train/step_loss"], one["train/step_top1"]) for one in lines if "train/step_loss" in one]
    return steps, [(one["train/loss"], one["val/loss"], one["val/top1"]) for one in lines if "val/loss" in one]


def assert_same_run(folder, save_dir):
    """Compare a run with the one of one process: losses, accuracy, weights."""
    for own, others in zip(read_losses(folder, save_dir), read_losses(folder, "one"), strict=True):
        assert len(own) == len(others) and len(own) in (3, 9)
        np.testing.assert_allclose(own, others, rtol=2e-6)
    own, other = (checkpoint.load_checkpoint(folder / one / "plain_model") for one in (save_dir, "one"))
    for name, value in other["model"].items():
        np.testing.assert_allclose(own["model"][name], value, rtol=0, atol=1e-5 * np.abs(value).max(), err_msg=name)


def test_two_processes_train_as_one_with_the_same_samples_an_update(place, printed_by_two):
    assert "4 samples an update (2 processes)" in printed_by_two
    assert_same_run(place, "two")


def test_parts_and_processes_multiply(place, printed_by_two):
    assert "4 samples an update (2 processes, in 2 parts" in printed_by_two
    assert_same_run(place, "parts")


def launch_nodes(words_and_folders):
    """Start a launcher in each folder, as on two machines."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = ["--master", f"127.0.0.1:{port}", "--nnodes", 2, "--nproc_per_node", 1]
    nodes = enumerate(words_and_folders)
    return [launch(words, folder, *options, "--rank", node) for node, (words, folder) in nodes]


@pytest.mark.long
def test_two_machines_train_as_one(place):
    for node in launch_nodes([(train_words("nodes", 2), place)] * 2):
        finish(node)
    assert_same_run(place, "nodes")


@pytest.fixture(scope="module")
def other_machine(place, tmp_path_factory):
    """A machine with lists of other samples, a config with another seed, and weights of its own."""
    folder = tmp_path_factory.mktemp("machine")
    make_tree(folder / "data", per_class=2)
    write_config(folder / "plain.txt", PLAIN + "seed = 5\n")
    (folder / "program.py").write_text(PROGRAM, encoding="utf-8")
    state = checkpoint.load_checkpoint(place / "one/plain_model")
    state["model"]["fc.bias"] = state["model"]["fc.bias"] + 1
    checkpoint.save_checkpoint(folder / "one/plain_model", state)
    return folder


@pytest.mark.long
def test_two_machines_that_differ_train_nothing(place, other_machine):
    """Lists of different length, too, end in a sentence on both."""
    own = train_words("apart", 2, "--learning_rate", "0.001")
    other = train_words("apart", 2, "--overfit", "0")
    nodes = launch_nodes([(own, place), (other, other_machine)])
    for node, folder in zip(nodes, (place, other_machine), strict=True):
        assert "gloo::" not in finish(node, status=1)
        log = (folder / "ranks_train/workerlog.0").read_text(encoding="utf-8")
        message = next(line for line in reversed(log.splitlines()) if "rank 1 has" in line)
        assert "rank 1 has OPTIMIZER.learning_rate 0.05, rank 0 0.001" in message
        assert "rank 1 has RUN.seed 5, rank 0 0" in message and "rank 1 has RUN.overfit 0, rank 0 9" in message
        assert "rank 1 has TRAIN list '6 samples, hash " in message and "start all processes with the same" in message
        assert "save_dir" not in message and not list((folder / "apart").glob("*"))


@pytest.mark.long
def test_two_machines_that_differ_score_nothing(place, other_machine):
    nodes = launch_nodes([(score_words("apart"), folder) for folder in (place, other_machine)])
    for node, folder in zip(nodes, (place, other_machine), strict=True):
        finish(node, status=1)
        log = (folder / "ranks_test/workerlog.0").read_text(encoding="utf-8")
        assert "rank 1 has start weights '" in log and "rank 1 has TEST list '6 samples, hash " in log
        assert not list(folder.glob("apart/*"))


def test_two_processes_write_the_scores_of_one(place, printed_by_two):
    """12 videos by 5: three batches, dealt out to two processes; none is counted twice."""
    assert printed_by_two.count("12 videos scored") == 1
    written = [place / folder / "plain_model_test_scores.pkl" for folder in ("by_one", "by_two")]
    assert written[0].read_bytes() == written[1].read_bytes()
    assert len(files.load_pickle(written[1])["scores"]) == 12


@pytest.mark.long
def test_a_process_that_dies_stops_the_others_and_the_run_goes_on(place):
    killed = launch(train_words("killed", 2, "--resume", "auto"), place, KILL_RANK="1", KILL_AT="5")
    out = finish(killed, status=1)
    assert "failed" in out.lower()
    state = checkpoint.load_checkpoint(place / "killed" / "plain_model")
    assert state["epoch"] == 1  # the fifth update is in the second epoch
    assert "resume from" in finish(launch(train_words("killed", 2, "--resume", "auto"), place))
    assert_same_run(place, "killed")


def test_the_short_form_starts_and_reports(place):
    """--gpus N of train.py and test.py; with batch norm, whose statistics become the same in every process."""
    flags = ["--config", "resnet.txt", "--root", "data", "--save_dir", "short", "--gpus", "2", "--epoch", "1"]
    out = finish(start([sys.executable, ROOT / "train.py", *flags], place))
    assert "8 samples an update (2 processes)" in out and out.count("END epoch 0") == 1
    assert (place / "short/ranks/workerlog.1").is_file()
    value = checkpoint.load_checkpoint(place / "short/resnet_model")["history"][0]["val/loss"]
    score = [sys.executable, ROOT / "test.py", "short/resnet_model", "--root", "data", "--gpus", "2"]
    finish(start(score, place))
    scored = json.loads((place / "short/resnet_model_test.jsonl").read_text().splitlines()[-1])
    assert scored["test/loss"] == pytest.approx(value, rel=1e-6)  # rank 0's weights are those both validated with


@pytest.mark.long
def test_a_process_that_fails_is_named_with_its_last_words(place):
    flags = ["--config", "resnet.txt", "--root", "data", "--save_dir", "short", "--gpus", "2", "--epoch", "1"]
    flags += ["--overwrite", "--learning_rate", "1e6", "-o", "OPTIMIZER.weight_decay=1e6"]
    out = finish(start([sys.executable, ROOT / "train.py", *flags], place), status=1)
    assert "one of the 2 processes failed, the others were stopped; their last words:" in out
    assert re.search(r"rank \d ended with exit status 1, short/ranks/workerlog.\d: FloatingPointError: epoch 0", out)


def test_one_process_needs_nobody(monkeypatch):
    assert distributed.rank() == 0 and distributed.num_ranks() == 1 and not distributed.is_launched()
    assert distributed.gather("x") == ["x"] and distributed.share_gradients("model") == "model"
    distributed.connect()
    monkeypatch.setattr(distributed.paddle, "is_compiled_with_cuda", lambda: True)
    monkeypatch.setattr(distributed.paddle.device.cuda, "device_count", lambda: 1)
    with pytest.raises(ValueError, match="--gpus 4: this machine has 1; give that number or fewer"):
        distributed.launch("train.py", [], 4, "ranks")
