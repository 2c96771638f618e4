"""The road of docs/figure_skating.md on a made-up set: from npy files to submission.csv, by streams and by folds."""

import csv
import json
import pathlib
import re
import shlex
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from paths import ROOT
from small_skating import NUM_CLASSES, write_fsd

import ensemble
import predict
import skeleton2pkl
import test as scoring
import train
import train_streams
from common import files

DOCS = [(ROOT / "docs" / name).read_text(encoding="utf-8") for name in ("figure_skating.md", "figure_skating.zh-CN.md")]
SMALL = {  # a network and clips of which an epoch takes a moment
    "MODEL.name": "stgcn", "MODEL.num_classes": NUM_CLASSES, "MODEL.base_channels": 8, "MODEL.num_blocks": "[1, 1]",
    "READER.clip_len": 32, "READER.num_workers": 0, "TRAIN.batch_size": 8, "OPTIMIZER.base_batch_size": 8,
    "OPTIMIZER.learning_rate": 0.1, "OPTIMIZER.warmup_epochs": 1, "RUN.epochs": 7, "RUN.eval_interval": 7,
    "RUN.seed": 1, "RUN.use_gpu": False,
}  # fmt: skip
OVERRIDES = [word for key, value in SMALL.items() for word in ("-o", f"{key}={value}")]
MAINS = {"train.py": train.main, "test.py": scoring.main}


def find_command(start):
    """Return the words of the documented command that begins so, with the project's configs and a small network."""
    lines = re.findall(r"^python (.+)$", DOCS[0], re.MULTILINE)
    (line,) = [line for line in lines if line.startswith(start)]
    words = [str(ROOT / word) if word.startswith("configs/") else word for word in shlex.split(line)[1:]]
    return words + (OVERRIDES if line.startswith(("train.py", "train_streams.py")) else [])


@pytest.fixture
def hidden(tmp_path, monkeypatch):
    """Stand in a folder with the arrays and their pkl; return the labels of test_A."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(train_streams, "run_check", lambda args: train_streams.check_streams(args) or 0)
    monkeypatch.setattr(train_streams, "run", run_here)
    monkeypatch.setattr(train, "test_weights", test_weights_here)
    hidden = write_fsd(pathlib.Path("data/FSD"), seed=SMALL["RUN.seed"])
    assert skeleton2pkl.main([*find_command("skeleton2pkl.py"), "--workers", "1"]) == 0
    return hidden


def run_here(script, *words):
    """Run a script in this process: a new one would import Paddle again."""
    return MAINS[script]([str(word) for word in words]) or 0


def test_weights_here(args, config):
    if args.test_last:
        split = config["TEST"]["split"]
        scoring.main([f"{config['RUN']['save_dir']}/{config['MODEL']['name']}_model", "-o", f"TEST.split={split}"])
    return 0


test_weights_here.__test__ = False


def run_and_kill(script, *words):
    """Run a script in a process of its own, and kill it when it has trained two epochs; return its exit status."""
    command = [sys.executable, str(ROOT / script), *map(str, words)]
    log = pathlib.Path(words[words.index("--save_dir") + 1], "stgcn_log.jsonl")
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        while process.poll() is None and not (
            log.is_file() and log.read_text(encoding="utf-8").count("train/loss") > 1
        ):
            time.sleep(0.01)
        process.kill()
    return process.returncode


def read_answers(folder):
    """Return the answers of a submission.csv in the order of the rows."""
    rows = list(csv.reader(pathlib.Path(folder, "submission.csv").open(encoding="utf-8", newline="")))
    assert rows[0] == ["sample_index", "predict_category"]
    assert [int(row[0]) for row in rows[1:]] == list(range(len(rows) - 1))
    return np.array([int(row[1]) for row in rows[1:]])


def count_epochs(folder):
    """Return the epochs of each run below a folder, in the order in which its log has them."""
    logs = sorted(pathlib.Path(folder).rglob("stgcn_log.jsonl"))
    rows = [map(json.loads, log.read_text(encoding="utf-8").splitlines()) for log in logs]
    return [[row["epoch"] for row in each if "train/loss" in row] for each in rows]


def test_the_splits_of_the_file(hidden):
    content = files.load_pickle("data/fsd.pkl")
    sizes = {split: len(names) for split, names in content["split"].items()}
    folds = {f"fold{number}_{part}": size for number in range(1, 6) for part, size in (("train", 72), ("val", 18))}
    assert sizes == {"train": 90, "test_A": 60, "test_B": 4, **folds}
    assert [annotation["frame_dir"] for annotation in content["annotations"] if "label" not in annotation] == [
        *content["split"]["test_A"], *content["split"]["test_B"]
    ]  # fmt: skip
    assert max(annotation["total_frames"] for annotation in content["annotations"]) <= 70


def measure_share(path, hidden):
    """Return the share of test_A that a score file has right."""
    content = ensemble.read_scores(str(path))
    assert content.names == sorted(content.names)  # the order of the rows, as the labels have it
    return np.mean(content.scores.argmax(axis=1) == hidden)


@pytest.mark.long
def test_the_fused_folds_are_right_at_least_as_often_as_each_fold(hidden, capsys):
    assert not train_streams.main(find_command("train_streams.py configs/stgcn_fsd.yaml --folds 5"))
    printed, folder = capsys.readouterr().out, pathlib.Path("output/stgcn_folds")
    known = files.load_pickle("data/fsd.pkl")
    labels = {annotation["frame_dir"]: annotation.get("label") for annotation in known["annotations"]}
    summary = json.loads((folder / "folds_model.json").read_text(encoding="utf-8"))
    right = []
    for number, fold in enumerate(summary["folds"], 1):
        path = folder / f"fold{number}/joint/held_out/stgcn_model_test_scores.pkl"
        scores = files.load_pickle(path)["scores"]
        assert sorted(scores) == sorted(known["split"][f"fold{number}_val"])
        right.append([scores[name].argmax() == labels[name] for name in scores])
        assert fold["top1"] == pytest.approx(np.mean(right[-1]))
    assert summary["mean"]["top1"] == pytest.approx(np.mean([np.mean(each) for each in right]))
    assert summary["spread"]["top1"] == pytest.approx(np.std([np.mean(each) for each in right], ddof=1))
    assert summary["pooled"]["top1"] == pytest.approx(np.mean(np.concatenate(right)))
    assert f"mean                       {100 * summary['mean']['top1']:.2f}%" in printed

    paths = [folder / f"fold{fold}/joint/test/stgcn_model_test_scores.pkl" for fold in range(1, 6)]
    mean = np.mean([ensemble.read_scores(str(path)).scores for path in paths], axis=0)
    fused = ensemble.read_scores(str(folder / "fused_model_scores.pkl")).scores
    np.testing.assert_allclose(fused, mean, atol=1e-6)
    answers = read_answers(folder)
    assert np.array_equal(answers, mean.argmax(axis=1))
    shares = [measure_share(path, hidden) for path in paths]
    assert np.mean(answers == hidden) >= np.mean(shares) - 1e-9  # of every seed that was tried
    assert np.mean(answers == hidden) >= max(shares) > min(shares) > 0.5, shares  # of this seed, not of each


@pytest.mark.long
def test_four_streams_killed_and_gone_on_with_end_as_if_they_were_not(hidden, capsys, monkeypatch):
    words, calls = find_command("train_streams.py configs/ctrgcn_fsd.yaml -o TRAIN.split=train"), []
    assert not train_streams.main(words)
    whole = pathlib.Path("output/ctrgcn_whole")
    shares = [measure_share(whole / stream / "stgcn_model_test_scores.pkl", hidden) for stream in train_streams.STREAMS]
    answers = read_answers(whole)
    assert np.mean(answers == hidden) >= np.mean(shares) - 1e-9  # of every seed that was tried
    assert np.mean(answers == hidden) >= max(shares) > min(shares) > 0.5, shares  # of this seed, not of each

    def run_until_killed(script, *argv):
        calls.append(script)
        return run_and_kill(script, *argv) if len(calls) == 2 else run_here(script, *argv)

    words[words.index("--save_dir") + 1] = "output/killed"
    monkeypatch.setattr(train_streams, "run", run_until_killed)
    assert train_streams.main(words) == -signal.SIGKILL
    assert "stream bone was ended by SIGKILL; the same command goes on from there" in capsys.readouterr().out
    assert 0 < len(count_epochs("output/killed/bone")[0]) < SMALL["RUN.epochs"]
    assert not pathlib.Path("output/killed/submission.csv").exists()
    monkeypatch.setattr(train_streams, "run", run_here)
    assert not train_streams.main(words)
    assert count_epochs("output/killed") == [list(range(SMALL["RUN.epochs"]))] * 4  # none was trained twice
    for name in ("submission.csv", "bone/submission.csv"):
        assert pathlib.Path("output/killed", name).read_bytes() == (whole / name).read_bytes()
    folders = (whole, pathlib.Path("output/killed"))
    scores = [files.load_pickle(folder / "fused_model_scores.pkl")["scores"] for folder in folders]
    assert all(np.array_equal(scores[0][name], scores[1][name]) for name in scores[0])


@pytest.mark.long
def test_four_streams_with_folds(hidden):
    """Two of the five folds, one epoch: that there are five, and what fusing them gives, is seen above."""
    words = find_command("train_streams.py configs/ctrgcn_fsd.yaml --folds 5")
    words[words.index("--folds") + 1] = "2"
    assert not train_streams.main(
        [*words, "-o", "RUN.epochs=1", "-o", "RUN.eval_interval=1", "-o", "OPTIMIZER.warmup_epochs=0"]
    )
    assert count_epochs("output/ctrgcn_fsd") == [[0]] * 8
    tops = [ensemble.read_scores(f"output/ctrgcn_fsd/fold{fold}/test/fused_model_scores.pkl").scores for fold in (1, 2)]
    assert np.array_equal(read_answers("output/ctrgcn_fsd"), np.mean(tops, axis=0).argmax(axis=1))


def test_one_network_answers_both_test_sets_and_other_arrays(hidden, monkeypatch):
    monkeypatch.setattr(predict, "write_pictures", lambda *_: None)  # they take seconds
    train.main([*find_command("train.py"), "--epoch", "2"])
    assert len(read_answers("output/stgcn_fsd")) == 60
    scoring.main(find_command("test.py"))
    answers = read_answers("output/stgcn_fsd_B")
    assert predict.main([*find_command("predict.py"), "--use_gpu", "False"]) == 0
    for row, answer in enumerate(answers):
        path = pathlib.Path(f"output/predict/test_B_{row:06}_predict.json")
        assert json.loads(path.read_text(encoding="utf-8"))["top_k"][0]["label"] == answer
    for folder in ("ctrgcn_fsd", "stgcn_folds"):
        pathlib.Path("output", folder).mkdir()
        content = files.load_pickle("output/stgcn_fsd/stgcn_model_test_scores.pkl")
        files.dump_pickle(content, f"output/{folder}/fused_model_scores.pkl")
    ensemble.main(find_command("ensemble.py"))
    assert np.array_equal(read_answers("output/fsd"), read_answers("output/stgcn_fsd"))


def test_both_languages_say_the_same():
    fenced = re.compile(r"^```\n(.*?)^```$", re.MULTILINE | re.DOTALL)
    english, chinese = (fenced.findall(text) for text in DOCS)
    assert english == chinese and len(english) == 7
    spans = [{" ".join(span.split()) for span in re.findall(r"`([^`]+)`", fenced.sub("", text))} for text in DOCS]
    assert spans[0] == spans[1]
