"""test.py on a tiny data set: its figures, files and flags, and what it refuses."""

import csv
import json
import pathlib
import re
import shutil

import cv2
import numpy as np
import pytest
import visualdl
from paths import ROOT
from small_dataset import CLASSES, make_tree, write_config

import test
import train
from common import command_line, files
from engine import checkpoint, evaluator


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with `data/`, `c.txt` and `out/resnet_model`, `out/resnet_best` of two epochs."""
    root = tmp_path_factory.mktemp("trained")
    make_tree(root / "data")
    write_config(root / "c.txt")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        train.main(["--config", "c.txt", "--root", "data", "--save_dir", "out", "--epoch", "2"])
    return root


@pytest.fixture
def score(trained, tmp_path, monkeypatch):
    """Run test.py in the folder of the trained network, with results in a new one; return what --out holds."""
    monkeypatch.chdir(trained)

    def score(*words, weights="out/resnet_model"):
        out = tmp_path / "result.json"
        test.main(["--weights", weights, "--save_dir", str(tmp_path), "--out", str(out), *words])
        return json.loads(out.read_text(encoding="utf-8"))

    return score


def test_the_figures_and_where_they_come_from(score, capsys):
    result = score()
    out, summary = capsys.readouterr().out, result["summary"]
    assert re.search(rf"^验证集准确率为:{summary['top1']}$", out, re.M)
    assert "12 videos scored (data/test.list); chance 33.33%, always the largest class 33.33%" in out
    assert re.search(r"^top-1 [\d.]+%, mean class accuracy [\d.]+%$", out, re.M)  # no top-5 of three classes
    assert "  MODEL      resnet, depth 10" in out and "Valid Arguments" not in out and "Namespace(" not in out
    flat = " ".join(out.split())
    assert "epoch 1, no list chose it" in flat and "(OPTIMISTIC: the list that is scored chose it)" in flat
    right = sum(one["class"] == one["predictions"][0][0] for one in result["samples"])
    assert summary["top1"] == right / 12 and len(result["samples"]) == 12


def test_fewer_clips_than_the_official_list_names_are_told(score, trained, capsys):
    text = (trained / "data" / "test.list").read_text(encoding="utf-8")
    (trained / "data" / "part.list").write_text("# official_size: 3783\n" + text, encoding="utf-8")
    assert score("--filelist", "data/part.list")["summary"]["official_size"] == 3783
    flat = " ".join(capsys.readouterr().out.split())
    assert "12 videos scored of the 3783 that the official list names (data/part.list)" in flat


def test_the_result_files_agree_with_each_other(score, tmp_path):
    result = score("--infer_topk", "2")
    scores = files.load_pickle(tmp_path / "resnet_model_test_scores.pkl")
    assert scores["class_names"] == CLASSES and scores["protocol"]["num_clips"] == 1
    for sample in result["samples"]:
        order = np.argsort(-scores["scores"][sample["video"]])
        assert [name for name, _ in sample["predictions"]] == [CLASSES[label] for label in order[:2]]
        assert CLASSES[scores["labels"][sample["video"]]] == sample["class"]
    with open(tmp_path / "resnet_model_test_classes.csv", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    assert [row["class"] for row in rows] == CLASSES and [row["samples"] for row in rows] == ["4"] * 3
    assert sum(int(row["right"]) for row in rows) == round(result["summary"]["top1"] * 12)
    with open(tmp_path / "resnet_model_test_wrong.csv", encoding="utf-8-sig") as file:
        wrong = list(csv.DictReader(file))
    assert len(wrong) == 12 - sum(int(row["right"]) for row in rows)
    picture = cv2.imread(str(tmp_path / "resnet_model_test_confusion.png"))
    assert picture.shape[0] > 200 and picture.std() > 10


@pytest.mark.parametrize("suffix", [".pkl", ".csv"])
def test_other_result_formats(trained, tmp_path, monkeypatch, suffix):
    monkeypatch.chdir(trained)
    out = tmp_path / f"r{suffix}"
    test.main(["--weights", "out/resnet_model", "--save_dir", str(tmp_path), "--out", str(out)])
    if suffix == ".pkl":
        assert files.load_pickle(out)["scores"].shape == (12, 3)
    else:
        lines = out.read_text(encoding="utf-8-sig").splitlines()
        assert lines[0] == "video,class,predicted_1,score_1" and len(lines) == 13
    with pytest.raises(ValueError, match="--out r.txt: expected a name that ends in .json, .pkl or .csv"):
        test.main(["--weights", "out/resnet_model", "--out", "r.txt"])


def test_the_best_weights_are_marked_where_the_scored_list_chose_them(score, capsys):
    score(weights="out/resnet_best")
    assert re.search(
        r"epoch \d, best top1 [\d.]+ in epoch \d on data/test.list \(OPTIMISTIC.*; last epoch 1: [\d.]+",
        " ".join(capsys.readouterr().out.split()),
    )


def test_a_renamed_best_file_is_still_known_for_what_it_is(score, trained, capsys):
    shutil.copy(trained / "out" / "resnet_best.pdparams", trained / "out" / "mine.pdparams")
    score(weights="out/mine")
    assert "OPTIMISTIC" in capsys.readouterr().out


def test_another_list_is_not_marked(score, trained, capsys):
    (trained / "data" / "other.list").write_text((trained / "data" / "test.list").read_text())
    score("--filelist", "data/other.list", weights="out/resnet_best")
    out = capsys.readouterr().out
    assert "OPTIMISTIC" not in out and "(data/other.list)" in out


def test_a_list_that_the_user_sets_for_all_modes_is_the_one_that_is_scored(score, trained):
    lines = (trained / "data" / "test.list").read_text().splitlines(keepends=True)
    (trained / "data" / "two.list").write_text("".join(lines[:3]))
    result = score("-o", "READER.filelist=data/two.list")
    assert len(result["samples"]) == 2 and result["summary"]["samples"] == "data/two.list"
    with pytest.raises(FileNotFoundError, match="/nonexistent.list"):
        score("-o", "READER.filelist=/nonexistent.list")


def test_the_validation_figure_of_training_is_found_again(score):
    last = checkpoint.load_checkpoint("out/resnet_model")["history"][-1]
    summary = score()["summary"]
    assert summary["top1"] == last["val/top1"] and summary["loss"] == pytest.approx(last["val/loss"], rel=1e-5)


def test_no_sample_is_dropped_whatever_the_batch(score):
    """Cause 6 of the 2.3 %: the last partial batch was left out."""
    one, five = score("--batch_size", "1"), score("--batch_size", "5")
    assert len(five["samples"]) == 12
    assert five["summary"]["loss"] == pytest.approx(one["summary"]["loss"], rel=1e-5)


def count_views(monkeypatch):
    shapes = []
    original = evaluator.evaluate

    def spy(model, loader, *arguments):
        shapes.extend(tuple(batch["inputs"]["rgb"].shape[:2]) for batch in loader)
        return original(model, loader, *arguments)

    monkeypatch.setattr(evaluator, "evaluate", spy)
    return shapes


@pytest.mark.parametrize(
    "flags, views",
    [
        ([], 1),
        (["--num_clips", "7"], 7),
        (["--crops", "three", "-o", "TEST.crop_size=24"], 3),
        (["--crops", "ten", "-o", "TEST.crop_size=24"], 10),
        (["--flip"], 2),
        (["--num_clips", "2", "--flip", "True"], 4),
        (["-o", "TEST.protocol=windows"], 2),
    ],
)
def test_views_are_samples_of_their_own(score, monkeypatch, flags, views):
    """Cause 3 of the 2.3 %: seven clips were joined to one clip of 112 frames."""
    shapes = count_views(monkeypatch)
    score("--batch_size", "4", *flags)
    assert shapes == [(4 * views, 8)] * 3  # each of 8 frames, as in training


def test_the_remaining_flags_of_2020(score, tmp_path, trained, capsys):
    result = score("--log_interval", "1", "--model_name", "resnet", "--use_gpu", "False", "--config", "c.txt",
                   "--infer_topk", "3", "--average_clips", "score", "--eval", "mean_class_accuracy")  # fmt: skip
    out = capsys.readouterr().out
    assert "scored 8 of 12 samples" in out and "top-1 " not in out
    assert result["summary"]["top3"] == 1.0 and result["summary"]["protocol"]["average_clips"] == "score"
    assert len(result["samples"][0]["predictions"]) == 3
    test.main(["--save_dir", "out"])  # without --weights: what train.py left in --save_dir
    assert (trained / "out" / "resnet_model_test_scores.pkl").exists()


def test_the_run_in_visualdl_gets_the_confusion_and_the_classes(trained, monkeypatch):
    monkeypatch.chdir(trained)
    test.main(["out/resnet_model"])
    reader = visualdl.LogReader(file_path="out/vdl/vdlrecords.run.log")
    tags = reader.get_tags()
    assert {"start/clips", "test/confusion"} <= set(tags["image"]) and "update/loss" in tags["scalar"]
    assert "test/class_accuracy" not in tags["scalar"]  # a curve over class numbers says nothing
    text = reader.get_data("text", "test/classes")[-1].text.encoded_text_string
    assert sorted(re.findall(r"\d of 4 (\w+)", text)) == ["Down", "Left", "Right"]


def test_features_are_written_and_shown_with_their_classes(trained, tmp_path, monkeypatch):
    monkeypatch.chdir(trained)
    words = ["--weights", "out/resnet_model", "--save_dir", str(tmp_path), "--num_clips", "2", "--report", "False"]
    test.main([*words, "--average_clips", "score", "--features", str(tmp_path / "features.npz")])
    found = np.load(tmp_path / "features.npz")
    assert set(found) == {"features", "names", "labels", "class_names"} and list(found["class_names"]) == CLASSES
    scored = files.load_pickle(tmp_path / "resnet_model_test_scores.pkl")
    assert list(found["names"]) == list(scored["scores"])
    assert dict(zip(found["names"], found["labels"], strict=True)) == scored["labels"]
    weights = checkpoint.load_checkpoint("out/resnet_model")["model"]
    logits = found["features"] @ weights["fc.weight"] + weights["fc.bias"]  # of the mean over the views
    np.testing.assert_allclose(logits, list(scored["scores"].values()), atol=1e-4)
    (log,) = (tmp_path / "vdl").rglob("vdlrecords*")
    (record,) = visualdl.LogReader(file_path=str(log)).get_data("embeddings", "test/features")
    shown = record.embeddings.embeddings
    classes = [CLASSES[label] for label in found["labels"]]
    assert [tuple(each.label) for each in shown] == list(zip(classes, found["names"], strict=True))
    np.testing.assert_allclose([each.vectors for each in shown], found["features"], rtol=1e-6)


def test_weights_that_are_not_finite_have_no_accuracy(score, trained, tmp_path):
    state = checkpoint.load_checkpoint("out/resnet_model")
    state["model"]["fc.weight"][:] = np.nan
    checkpoint.save_checkpoint("out/broken", state)
    message = "12 of 12 samples have scores that are nan or infinite, the first is 'v_"
    with pytest.raises(FloatingPointError, match=message):
        score(weights="out/broken")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("k", ["0", "-1"])
def test_a_top_k_of_no_class_is_refused(score, k):
    with pytest.raises(ValueError, match=f"--infer_topk {k}: expected 1 or more"):
        score("--infer_topk", k)


def test_mixed_up_classes_are_refused(score, trained):
    """Cause 1 of the 2.3 %: the checkpoint kept old class ids."""
    text = (trained / "data" / "test.list").read_text(encoding="utf-8")
    (trained / "data" / "mixed.list").write_text(text.replace('["Down", "Left"', '["Left", "Down"'), encoding="utf-8")
    with pytest.raises(ValueError, match="mixed.list: class 0 is 'Left' there and 'Down' in the weights"):
        score("--filelist", "data/mixed.list")


def test_weights_without_a_config_ask_for_one(score, trained):
    state = checkpoint.load_checkpoint("out/resnet_model")
    checkpoint.save_checkpoint("out/plain", {"model": state["model"]})
    with pytest.raises(ValueError, match="holds weights only; name the config they were trained with"):
        score(weights="out/plain")
    result = score("--config", "c.txt", "--root", "data", "-o", "MODEL.num_classes=3", weights="out/plain")
    assert "which list chose them is not known" in result["summary"]["chosen"]


def test_config_and_checkpoint_may_stand_without_flags(trained, tmp_path, monkeypatch):
    monkeypatch.chdir(trained)
    out = str(tmp_path / "result.json")
    command = ["c.txt", "out/resnet_best", "--root", "data", "--work-dir", str(tmp_path), "-o", "MODEL.num_classes=3"]
    test.main([*command, "--eval", "top_k_accuracy", "mean_class_accuracy", "--average-clips", "score", "--out", out])
    summary = json.loads(pathlib.Path(out).read_text(encoding="utf-8"))["summary"]
    assert summary["weights"] == "out/resnet_best" and summary["protocol"]["average_clips"] == "score"
    assert (tmp_path / "resnet_best_test_scores.pkl").exists()


@pytest.mark.parametrize(
    "words, message",
    [
        (["--weights", "out/none"], "no checkpoint 'out/none.pdparams'; that folder has out/"),
        (["out/resnet_model", "--filelist", "none.list"], "none.list"),
        (["c.txt", "out/resnet_model", "out/resnet_best"], "expected CHECKPOINT or CONFIG CHECKPOINT, got c.txt out/"),
        (["out/resnet_model", "--weights", "b"], "out/resnet_model and --weights b name the same file in two ways"),
        (["c.txt", "out/resnet_model", "--weights", "b"], "out/resnet_model and --weights b name the same file"),
        (["c.txt", "out/resnet_model", "--config", "d.yaml"], "c.txt and --config d.yaml name the same file"),
        (["c.txt", "--config", "d.yaml"], "c.txt and --config d.yaml name the same file in two ways; leave out one"),
        (["out/resnet_model", "--features", "a.csv"], "--features a.csv: expected a name that ends in .npz"),
        (["out/resnet_model", "--num_clip", "3"], "unknown flag '--num_clip'; did you mean '--num_clips'?"),
        (["out/resnet_model", "-o", "TEST.num_clip=3"], "unknown key 'num_clip'; did you mean 'num_clips'?"),
    ],
)
def test_mistakes_end_in_one_sentence(trained, monkeypatch, capsys, words, message):
    monkeypatch.chdir(trained)
    with pytest.raises(SystemExit) as ended:
        command_line.run_main(lambda: test.main(words))
    told = capsys.readouterr().err if ended.value.code == 2 else ended.value.code  # 2: argparse has printed it
    assert message in told.strip().split("\n")[-1]


def test_a_mistake_as_a_user_sees_it(trained, run_script):
    ended = run_script("test.py", "--weights", "out/none", cwd=trained)
    assert ended.returncode == 1
    assert "no checkpoint 'out/none.pdparams'" in ended.stderr.strip().split("\n")[-1]


def test_the_project_is_meant_not_the_standard_library():
    assert test.__file__ == str(ROOT / "test.py")


def test_scores_of_another_list_are_not_replaced_without_a_word(score, trained, capsys):
    score()
    score()  # the same again
    assert "are replaced" not in capsys.readouterr().out
    score("--filelist", "data/train.list")
    assert "resnet_model_test_scores.pkl, of filelist data/test.list, and the files" in capsys.readouterr().out


def test_what_is_scored_is_not_written_over(score, trained):
    with pytest.raises(ValueError, match="--out data/test.pkl is what is scored, and would be lost"):
        score("--filelist", "data/test.pkl", "--out", "data/test.pkl")


@pytest.mark.parametrize("name", ["resnet_model_test_scores.pkl", "resnet_model_test_classes.csv", "submission.csv"])
def test_one_result_is_not_written_over_another(score, trained, name):
    with pytest.raises(ValueError, match="is the name of another file that is written; choose another name"):
        score("--save_dir", "elsewhere", "--out", f"elsewhere/../elsewhere/{name}")
