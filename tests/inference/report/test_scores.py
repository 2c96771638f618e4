"""The part of a report that is of scores: numbers by hand, bounds, hostile names, and a table that is sorted."""

import json
import shutil
import subprocess

import numpy as np
import pytest
from report_pages import ReportPage

from inference.report import page, sample_pictures, scores, tables

RESULT = {
    "names": ["a", "b", "c", "d"],
    "labels": np.array([0, 1, 1, 2]),
    "scores": np.array([[0.9, 0.05, 0.05], [0.5, 0.4, 0.1], [0.8, 0.2, 0.0], [0.3, 0.3, 0.4]]),
}
SUMMARY = {"top1": 0.5, "num_samples": 4, "acc/rgb_top1": 0.25}
HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>{{ 7 * 7 }}"
REST = {
    "title": "t", "warning": None, "chosen": "c", "loss": 0.25, "protocol": {}, "streams": [], "curves": [],
    "curves_note": "", "colors_note": "",
    "settings": [], "seed": 1, "making": {"command": "", "folder": "", "versions": "", "date": ""},
}  # fmt: skip


def write(path, result=RESULT, class_names=("x", "y", "z"), summary=SUMMARY, average_clips="prob", draw=None, **rest):
    """Write a page of scores; return it as read back."""
    content = scores.describe_result(summary, result, list(class_names), average_clips, draw)
    page.write_page(path, {**REST, **content, **rest})
    return ReportPage(path)


def test_the_figures_classes_and_pairs_are_those_of_the_scores(tmp_path):
    read = write(tmp_path / "r.html")
    assert read.figures == {"top-1": 0.5, "samples": 4, "acc/rgb_top1": 0.25, "loss": 0.25}
    assert read.rows["classes"][1:] == [
        ["1", "y", "2", "0", "0", "0.00%", "x (2)"],
        ["0", "x", "1", "1", "3", "100.00%", ""],
        ["2", "z", "1", "1", "1", "100.00%", ""],
    ]
    square, pairs = read.rows["confusion"][:4], read.rows["confusion"][4:]
    assert square == [["", "x", "y", "z"], ["x", "1", "", ""], ["y", "2", "", ""], ["z", "", "", "1"]]
    assert pairs[1:] == [["y", "x", "2", "2"]]


def test_the_surest_mistake_and_the_least_sure_sample_come_first(tmp_path):
    read = write(tmp_path / "r.html")
    assert [card.split() for card in read.cards["most_wrong"]] == [
        ["x", "80.00%", "is", "y", "20.00%", "c"],
        ["x", "50.00%", "is", "y", "40.00%", "b"],
    ]
    assert [card.split()[-1] for card in read.cards["least_sure"]] == ["d", "b", "c", "a"]
    assert "2 of 2 wrong samples" in read.text


def test_logits_are_shown_as_probabilities(tmp_path):
    logits = {**RESULT, "scores": np.log(RESULT["scores"] + 1e-12) + 5}
    assert write(tmp_path / "r.html", logits, average_clips="score").cards == write(tmp_path / "p.html").cards


def test_without_labels_there_is_no_accuracy_and_the_least_sure_samples_stand_alone(tmp_path):
    read = write(
        tmp_path / "r.html", {**RESULT, "labels": None}, summary={"num_samples": 4, "chance": 1 / 3}, loss=None
    )
    assert read.figures == {"samples": 4, "chance": 1 / 3}
    assert "no labels, so there is no accuracy" in read.text
    assert list(read.cards) == ["least_sure"] and "right" not in read.text and "classes" not in read.rows


def test_nothing_wrong_is_said(tmp_path):
    right = {**RESULT, "labels": RESULT["scores"].argmax(axis=1)}
    text = write(tmp_path / "r.html", right).text
    assert "No sample is wrong." in text and "No sample was taken for another class." in text


def test_names_are_text_whatever_they_hold(tmp_path):
    result = {**RESULT, "names": [f"{HOSTILE}{letter}" for letter in "abcd"]}

    def draw(index, label):
        return {"path": HOSTILE, "picture": None, "note": HOSTILE}

    hostile = {"title": HOSTILE, "chosen": HOSTILE, "protocol": {HOSTILE: HOSTILE}, "warning": HOSTILE}
    hostile |= {
        "settings": [(HOSTILE, HOSTILE, HOSTILE)],
        "curves_note": HOSTILE,
        "colors_note": HOSTILE,
        "making": dict.fromkeys(REST["making"], HOSTILE),
    }
    read = write(tmp_path / "r.html", result, [HOSTILE, "打篮球", "\udcff"], draw=draw, **hostile)
    assert read.tags["script"] == 1 and read.tags["img"] == 0 and "onerror" not in read.attributes
    assert HOSTILE[:59] in read.rows["classes"][2][1] and "打篮球" in read.text and "49" not in read.text


def test_nothing_is_loaded(tmp_path):
    read = write(tmp_path / "r.html", draw=lambda index, label: {"path": "p", "picture": b"\x89PNG", "note": None})
    assert len(read.links) > 6 and all(link.startswith(("#", "data:image/")) for link in read.links)
    text = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "default-src 'none'" in text and "http:" not in text and "https:" not in text and "url(" not in text


def test_hundreds_of_classes_and_many_samples_stay_below_five_megabytes(tmp_path):
    rng, num_classes, num_samples = np.random.default_rng(0), 400, 20_000
    result = {
        "names": [f"{'&' * 300}{index}" for index in range(num_samples)],
        "labels": rng.integers(0, num_classes, num_samples),
        "scores": rng.random((num_samples, num_classes), np.float32),
    }
    noise = bytes(rng.integers(0, 256, sample_pictures.MAX_PICTURE_BYTES, np.uint8))
    names = [f"{'&' * 3000}{label}" for label in range(num_classes)]
    read = write(
        tmp_path / "r.html",
        result,
        names,
        draw=lambda index, label: {"path": "&" * 300, "picture": noise, "note": None},
    )
    assert (tmp_path / "r.html").stat().st_size < 5_000_000
    assert len(read.rows["classes"]) == 401 and len(read.rows["confusion"]) == 1 + tables.MAX_PAIRS
    assert len(read.cards["most_wrong"]) == len(read.cards["least_sure"]) == 20 and read.tags["img"] == 41


@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs the browser chromium")
def test_a_click_on_a_head_sorts(tmp_path):
    write(tmp_path / "r.html", class_names=["x", "Y", "z"])
    clicks = """<script>
const table = document.querySelector("#classes ~ .scroll table"), seen = {};
for (const [name, column] of [["samples", 2], ["class", 1], ["accuracy", 5]])
  for (const turn of [1, 2]) {
    table.tHead.rows[0].cells[column].click();
    seen[name + turn] = [...table.tBodies[0].rows].map(row => row.cells[1].textContent).join("");
  }
document.title = JSON.stringify(seen);
</script>"""
    (tmp_path / "clicked.html").write_text((tmp_path / "r.html").read_text(encoding="utf-8") + clicks, encoding="utf-8")
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'chrome'}"]
    command += ["--dump-dom", f"file://{tmp_path / 'clicked.html'}"]
    dumped = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", timeout=300, check=True).stdout
    seen = json.loads(dumped[dumped.index("<title>") + 7 : dumped.index("</title>")])
    assert seen["samples1"][0] == "Y" and seen["samples2"][-1] == "Y"
    assert seen["class1"] == "xYz" and seen["class2"] == "zYx"
    assert seen["accuracy1"][-1] == "Y" and seen["accuracy2"][0] == "Y"
