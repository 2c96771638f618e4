"""Result files and pictures."""

import csv

import numpy as np
import pytest

from engine import report

RESULT = {
    "names": ["a", "b", "c"],
    "labels": np.array([0, 1, 1]),
    "scores": np.array([[0.9, 0.1], [0.6, 0.4], [0.8, 0.2]]),
}


def test_per_class_rows_say_what_a_class_is_taken_for(tmp_path):
    path = str(tmp_path / "c.csv")
    report.write_per_class(path, np.array([[1, 0, 0], [2, 1, 0], [0, 0, 0]]), ["鼓掌", "wave, slowly", "none"])
    with open(path, encoding="utf-8-sig") as file:
        rows = list(csv.reader(file))[1:]
    assert rows[0] == ["0", "鼓掌", "1", "1", "1.0000", ""]
    assert rows[1] == ["1", "wave, slowly", "3", "1", "0.3333", "鼓掌"]
    assert rows[2] == ["2", "none", "0", "0", "", ""]


def test_the_surest_mistake_comes_first(tmp_path):
    path = str(tmp_path / "w.csv")
    report.write_wrong_samples(path, RESULT, ["x", "y"], lambda index: f"videos/{index}.avi")
    with open(path, encoding="utf-8-sig") as file:
        rows = list(csv.reader(file))
    assert rows[1:] == [
        ["c", "y", "x", "0.8000", "0.2000", "videos/2.avi"],
        ["b", "y", "x", "0.6000", "0.4000", "videos/1.avi"],
    ]


def test_the_classes_are_listed_from_the_worst():
    text = report.format_per_class(np.array([[2, 1, 0], [0, 4, 0], [0, 0, 0]]), ["Wave", "Kick", "none"])
    assert text == "2 of 3 Wave; 4 of 4 Kick"


@pytest.mark.parametrize("size", [10, 40])
def test_the_confusion_picture_shows_its_cells(size):
    confusion = np.eye(size, dtype=int) * 3
    picture = report.draw_confusion(confusion, [f"class {label}" for label in range(size)])
    assert picture.dtype == np.uint8 and picture.shape[2] == 3
    blue = (picture[:, :, 2].astype(int) - picture[:, :, 0]) > 60  # the diagonal is dark blue
    rows, columns = np.nonzero(blue)
    assert np.corrcoef(rows, columns)[0, 1] > 0.9


def test_another_suffix_is_refused(tmp_path):
    with pytest.raises(ValueError, match="expected a name that ends in .json, .pkl or .csv"):
        report.write_result(str(tmp_path / "r.yaml"), RESULT, ["x", "y"], {}, 1)
