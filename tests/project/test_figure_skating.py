"""The road of docs/figure_skating.md on a made-up set: from npy files to submission.csv, by streams and by folds."""

import csv
import json
import pathlib
import re
import shlex

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
    "READER.clip_len": 32, "READER.num_workers": 0, "TRAIN.batch_size": 12, "OPTIMIZER.base_batch_size": 12,
    "OPTIMIZER.learning_rate": 0.05, "OPTIMIZER.warmup_epochs": 1, "RUN.epochs": 2, "RUN.eval_interval": 2,
    "RUN.use_gpu": False,
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
    hidden = write_fsd(pathlib.Path("data/FSD"))
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
    folds = {f"fold{number}_{part}": size for number in range(1, 6) for part, size in (("train", 48), ("val", 12))}
    assert sizes == {"train": 60, "test_A": 18, "test_B": 4, **folds}
    assert [annotation["frame_dir"] for annotation in content["annotations"] if "label" not in annotation] == [
        *content["split"]["test_A"], *content["split"]["test_B"]
    ]  # fmt: skip
    assert max(annotation["total_frames"] for annotation in content["annotations"]) <= 70


@pytest.mark.long
def test_five_folds_are_killed_gone_on_with_and_fused(hidden, capsys, monkeypatch):
    words, calls = find_command("train_streams.py configs/stgcn_fsd.yaml --folds 5"), []

    def run_until_killed(script, *argv):
        calls.append(script)
        return -9 if len(calls) == 8 else run_here(script, *argv)

    monkeypatch.setattr(train_streams, "run", run_until_killed)
    assert train_streams.main(words) == -9
    assert "fold 3, stream joint was ended by SIGKILL; the same command goes on from there" in capsys.readouterr().out
    monkeypatch.setattr(train_streams, "run", run_here)
    assert not train_streams.main(words)
    printed = capsys.readouterr().out
    assert count_epochs("output/stgcn_folds") == [list(range(SMALL["RUN.epochs"]))] * 5  # none was trained twice

    known = files.load_pickle("data/fsd.pkl")
    labels = {annotation["frame_dir"]: annotation.get("label") for annotation in known["annotations"]}
    summary = json.loads(pathlib.Path("output/stgcn_folds/folds_model.json").read_text(encoding="utf-8"))
    right = []
    for number, fold in enumerate(summary["folds"], 1):
        scores = files.load_pickle(f"output/stgcn_folds/fold{number}/joint/held_out/stgcn_model_test_scores.pkl")[
            "scores"
        ]
        assert sorted(scores) == sorted(known["split"][f"fold{number}_val"])
        right.append([scores[name].argmax() == labels[name] for name in scores])
        assert fold["top1"] == pytest.approx(np.mean(right[-1]))
    assert summary["mean"]["top1"] == pytest.approx(np.mean([np.mean(each) for each in right]))
    assert summary["spread"]["top1"] == pytest.approx(np.std([np.mean(each) for each in right], ddof=1))
    assert summary["pooled"]["top1"] == pytest.approx(np.mean(np.concatenate(right)))
    assert f"mean                       {100 * summary['mean']['top1']:.2f}%" in printed

    parts = [ensemble.read_scores(f"output/stgcn_folds/fold{fold}/joint/test/stgcn_model_test_scores.pkl")
             for fold in range(1, 6)]  # fmt: skip
    mean = np.mean([part.scores for part in parts], axis=0)
    np.testing.assert_allclose(
        ensemble.read_scores("output/stgcn_folds/fused_model_scores.pkl").scores, mean, atol=1e-6
    )
    assert np.array_equal(read_answers("output/stgcn_folds"), mean.argmax(axis=1))


@pytest.mark.long
def test_four_streams_with_folds_and_without(hidden):
    """With two of the five folds: that there are five is seen above."""
    words = find_command("train_streams.py configs/ctrgcn_fsd.yaml --folds 5")
    words[words.index("--folds") + 1] = "2"
    assert not train_streams.main([*words, "--epoch", "1"])
    assert len(count_epochs("output/ctrgcn_fsd")) == 8
    tops = [read_answers(f"output/ctrgcn_fsd/fold{fold}/test") for fold in (1, 2)]
    assert len(tops) == 2 and len(read_answers("output/ctrgcn_fsd")) == 18
    words = find_command("train_streams.py configs/ctrgcn_fsd.yaml -o TRAIN.split=train")
    assert not train_streams.main([*words, "--epoch", "1"])
    streams = sorted(path.name for path in pathlib.Path("output/ctrgcn_whole").iterdir() if path.is_dir())
    assert streams == ["bone", "bone_motion", "joint", "joint_motion"]
    assert len(read_answers("output/ctrgcn_whole")) == 18


def test_one_network_answers_both_test_sets_and_other_arrays(hidden, monkeypatch):
    monkeypatch.setattr(predict, "write_pictures", lambda *_: None)  # they take seconds
    train.main([*find_command("train.py"), "--epoch", "2"])
    assert len(read_answers("output/stgcn_fsd")) == 18
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
