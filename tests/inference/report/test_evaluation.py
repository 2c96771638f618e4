"""The report that test.py writes: what it says of a run, and that it costs nobody the scores."""

import re
import shutil

import numpy as np
import pytest
from report_pages import ReportPage
from small_dataset import CLASSES, make_tree, write_config

import test
import train
from common import files
from engine import metrics

CHINESE = ["向下", "向左 <b>", "向右"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with `data/`, whose classes have Chinese names, and `out/resnet_model`, `out/resnet_best`."""
    root = tmp_path_factory.mktemp("trained")
    make_tree(root / "data")
    for path in (root / "data").glob("*.list"):
        text = path.read_text(encoding="utf-8")
        for name, chinese in zip(CLASSES, CHINESE, strict=True):
            text = text.replace(f'"{name}"', f'"{chinese}"')
        path.write_text(text, encoding="utf-8")
    write_config(root / "c.txt")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        train.main(["--config", "c.txt", "--root", "data", "--save_dir", "out", "--epoch", "2"])
    return root


@pytest.fixture
def score(trained, tmp_path, monkeypatch):
    """Run test.py on the last weights with results in `tmp_path`; return the report as read back."""
    monkeypatch.chdir(trained)

    def score(*words, weights="out/resnet_model"):
        test.main(["--weights", weights, "--save_dir", str(tmp_path), *words])
        return ReportPage(tmp_path / f"{weights.split('/')[-1]}_test_report.html")

    return score


def test_its_numbers_are_those_of_the_score_file(score, tmp_path):
    page, written = score(), files.load_pickle(tmp_path / "resnet_model_test_scores.pkl")
    scores, labels = np.stack(list(written["scores"].values())), np.array(list(written["labels"].values()))
    expected = metrics.summarize(scores, labels)
    assert page.figures["top-1"] == expected["top1"] and page.figures["top-5"] == expected["top5"]
    assert page.figures["mean class accuracy"] == expected["mean_class_accuracy"] and page.figures["samples"] == 12
    right = {row[1]: int(row[3]) for row in page.rows["classes"][1:]}
    is_right = scores.argmax(axis=1) == labels
    assert right == {name: int(is_right[labels == label].sum()) for label, name in enumerate(CHINESE)}
    assert len(page.cards["most_wrong"]) == (~is_right).sum() and len(page.cards["least_sure"]) == 12


def test_it_says_whose_figure_it_is(score):
    page = score(weights="out/resnet_best")
    assert re.search(r"epoch \d, best top1 [\d.]+ in epoch \d on data/test.list \(OPTIMISTIC: the list that", page.text)
    assert "trained on what is scored" not in page.text
    for protocol in ("filelist data/test.list", "num_clips 1", "average_clips prob"):
        assert protocol in " ".join(page.text.split())
    assert ["MODEL.depth", "10", "50"] in page.rows["settings"] and ["seed", "0"] in page.rows["making"]
    made = dict(page.rows["making"])
    assert made["command"].startswith("python ") and "Paddle" in made["versions"]
    assert [page.tags[tag] for tag in ("polyline", "svg")] == [4, 2]  # train and val, of loss and accuracy
    assert "From out/resnet_log.jsonl" in page.text
    assert page.tags["img"] == len(page.cards["most_wrong"]) + len(page.cards["least_sure"])


def test_what_was_trained_on_is_no_new_sample(score):
    assert "OPTIMISTIC: the weights were trained on what is scored" in score("--filelist", "data/train.list").text


def test_what_is_missing_is_a_sentence(score, trained, tmp_path, monkeypatch):
    shutil.copy(trained / "out" / "resnet_model.pdparams", tmp_path / "alone.pdparams")
    monkeypatch.setattr("inference.report.sample_pictures.open_video", lambda entry: open(tmp_path / "gone"))
    page = score(weights=str(tmp_path / "alone"))
    assert "resnet_log.jsonl is not there" in page.text and page.tags["polyline"] == 4
    assert page.tags["img"] == 0 and "no picture: [Errno 2]" in page.text


def test_a_report_that_cannot_be_written_costs_no_scores(score, tmp_path, capsys):
    (tmp_path / "resnet_model_test_report.html").mkdir()
    with pytest.raises(IsADirectoryError):  # of reading it back
        score("--out", str(tmp_path / "result.json"))
    out = capsys.readouterr().out
    assert "no report: " in out and "a folder stands where the file is needed" in out
    assert (tmp_path / "resnet_model_test_scores.pkl").is_file() and (tmp_path / "result.json").is_file()


def test_it_shows_where_the_network_looks(score):
    plain, explained = score(), score("--explain")
    assert "speaks for the predicted class" in explained.text and "speaks for the predicted class" not in plain.text
    pictures = [[link for link in page.links if link.startswith("data:image/webp")] for page in (plain, explained)]
    assert len(pictures[0]) == len(pictures[1]) > 12 and not set(pictures[0]) & set(pictures[1])
    assert explained.figures == plain.figures


def test_what_is_left_out_cannot_be_explained(score, capsys):
    with pytest.raises(SystemExit):
        score("--explain", "--report", "False")
    assert "--explain draws into the report, which --report False leaves out" in capsys.readouterr().err


def test_it_can_be_left_out(score, tmp_path):
    with pytest.raises(FileNotFoundError):
        score("--report", "False")
    assert (tmp_path / "resnet_model_test_scores.pkl").is_file()
