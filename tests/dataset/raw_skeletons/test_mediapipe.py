"""MediaPipe csv: wide and long files of one recording give the same landmarks."""

import argparse

import numpy as np
import pytest

from dataset.raw_skeletons import mediapipe
from dataset.raw_skeletons.samples import NOTES, RawSample

POINTS = np.round(np.random.default_rng(0).uniform(0.1, 0.9, (3, 33, 4)), 4)


def as_wide(first=0, pattern="{axis}{joint}", letters="xyzv", extra=True):
    columns = [pattern.format(axis=axis, joint=joint + first) for joint in range(33) for axis in letters]
    rows = [",".join(["class", *columns] if extra else columns)]
    for frame in POINTS[..., : len(letters)]:
        rows.append(",".join([*(["wave"] if extra else []), *map(str, frame.ravel())]))
    return "\n".join(rows) + "\n"


def as_long(letters="xyzv"):
    rows = ["frame,timestamp,landmark," + ",".join({"v": "visibility"}.get(letter, letter) for letter in letters)]
    for frame, points in enumerate(POINTS):
        rows += [
            f"{frame + 1},0.1,{joint}," + ",".join(map(str, point[: len(letters)]))
            for joint, point in enumerate(points)
        ]
    return "\r\n".join(rows) + "\r\n"


def read(tmp_path, text):
    path = tmp_path / "a.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return mediapipe.read_sample(RawSample("a", str(path), 0), argparse.Namespace(first_frame=None))


FORMS = {
    "wide": as_wide(),
    "wide from 1, names": as_wide(first=1, pattern="{axis}_{joint}").replace("v_", "visibility_"),
    "wide without class": as_wide(extra=False),
    "no header": as_wide(extra=False).partition("\n")[2],
    "long": as_long(),
}


@pytest.mark.parametrize("text", FORMS.values(), ids=FORMS)
def test_every_form(tmp_path, text):
    annotation = read(tmp_path, text)
    np.testing.assert_allclose(annotation["keypoint"][0], POINTS[..., :3], rtol=1e-6)
    np.testing.assert_allclose(annotation["keypoint_score"][0], POINTS[..., 3], rtol=1e-6)


@pytest.mark.parametrize("text", [as_wide(letters="xyz"), as_long("xyz"), as_wide(letters="xyz", extra=False)[:-1]])
def test_without_visibility(tmp_path, text):
    annotation = read(tmp_path, text)
    assert "keypoint_score" not in annotation and annotation["keypoint"].shape == (1, 3, 33, 3)


def test_frames_without_a_body(tmp_path):
    lines = as_wide().splitlines(keepends=True)
    lines[2] = "wave" + "," * 132 + "\n"
    keypoint = read(tmp_path, "".join(lines))["keypoint"]
    assert not keypoint[0, 1].any() and keypoint[0, [0, 2]].all()
    lines = as_long().splitlines(keepends=True)
    keypoint = read(tmp_path, "".join(lines[:34] + lines[67:]))["keypoint"]
    assert keypoint.shape[1] == 3 and not keypoint[0, 1].any()


@pytest.mark.parametrize("word", ["", "nan", "None", "NULL"])
def test_numbers_that_are_missing_cost_no_more_than_their_landmark(tmp_path, word):
    lines = as_wide().splitlines(keepends=True)
    lines[2] = "wave" + f",{word}" * 132 + "\n"
    lines[3] = lines[3].replace(str(POINTS[2, 5, 1]), word)
    annotation = read(tmp_path, "".join(lines))
    keypoint = annotation["keypoint"][0]
    assert keypoint[0].all() and not keypoint[1].any() and not keypoint[2, 5].any() and keypoint[2, [4, 6]].all()
    assert annotation[NOTES] == {"landmarks without numbers (nan, None, empty), which count as missing": 1}


@pytest.mark.parametrize("separator", [";", "\t"])
def test_cells_may_be_separated_otherwise(tmp_path, separator):
    for text in (as_wide(), as_long()):
        expected = read(tmp_path, text)["keypoint"]
        assert (read(tmp_path, text.replace(",", separator))["keypoint"] == expected).all()


def test_landmarks_in_any_order(tmp_path):
    """As a table that was sorted by landmark, with frames as pandas writes them."""
    expected = read(tmp_path, as_long())["keypoint"]
    rows = sorted(LONG_LINES[1:], key=lambda line: int(line.split(",")[2]))
    rows = [f"{line.partition(',')[0]}.000,{line.partition(',')[2]}" for line in rows]
    assert (read(tmp_path, "".join([LONG_LINES[0], *rows]))["keypoint"] == expected).all()
    with pytest.raises(ValueError, match="line 99: frame 3 ends with 32 landmarks, expected 33"):
        read(tmp_path, "".join([LONG_LINES[0], *rows[:2], *rows[3:]]))


def test_a_column_of_frames_numbers_the_rows(tmp_path):
    lines = as_wide().replace("class", "frame").splitlines()
    rows = [line.replace("wave", number) for line, number in zip(lines[1:], ("5", "2", "0"), strict=True)]
    keypoint = read(tmp_path, "\n".join([lines[0], *rows]))["keypoint"][0]
    np.testing.assert_allclose(keypoint[[5, 2, 0]], POINTS[..., :3], rtol=1e-6)
    assert keypoint.shape[0] == 6 and not keypoint[[1, 3, 4]].any()


def change(text, line, old, new, count=1):
    lines = text.splitlines(keepends=True)
    lines[line - 1] = lines[line - 1].replace(old, new, count)
    return "".join(lines)


LONG_LINES = as_long().splitlines(keepends=True)
FAULTS = {
    "cell too few": (change(as_wide(), 3, ",", " "), "line 3: got 132 cells, expected 133"),
    "cut": (as_wide()[:-20], "line 4: got 13"),
    "word": (change(as_wide(), 3, str(POINTS[1, 0, 0]), "abc"), "line 3: x0 is 'abc', expected a number from -20000"),
    "far": (change(as_wide(), 4, str(POINTS[2, 0, 1]), "1e6"), "line 4: y0 is '1e6', expected a number"),
    "blank line": (as_wide().replace("\nwave", "\n\nwave", 2), "line 2: got 0 cells, expected 133"),
    "column": (as_wide().replace("x7,", "q7,"), "line 1: got 131 columns of landmarks, expected x, y, z (and v) of 33"),
    "columns": ("1,2,3\n", "line 1: got 3 numbers, expected 99 or 132, or a header"),
    "landmark missing": (
        "".join(LONG_LINES[:9] + LONG_LINES[10:]),
        "line 33: frame 1 ends with 32 landmarks, expected 33",
    ),
    "landmark twice": ("".join(LONG_LINES[:9] + LONG_LINES[8:]), "line 10: landmark 7 of frame 1 comes twice"),
    "long cut": ("".join(LONG_LINES[:-5]), "line 95: frame 3 ends with 28 landmarks, expected 33"),
    "landmark 33": (
        change(as_long(), 5, ",3,", ",33,"),
        "line 5: landmark 33 of frame 1 does not exist, they are 0 to",
    ),
    "long columns": (as_long().replace("landmark", "name", 1), "line 1: got the columns frame, timestamp, name, x"),
    "bytes": (as_wide().encode().replace(b"wave", b"\xff", 1), "line 2: no UTF-8 text"),
    "nothing": ("", "line 1: the file is empty"),
}


@pytest.mark.parametrize(("text", "expected"), FAULTS.values(), ids=FAULTS)
def test_damage_is_named_with_its_line(tmp_path, text, expected):
    with pytest.raises(ValueError) as caught:
        read(tmp_path, text)
    assert f"a.csv' {expected}" in str(caught.value) and "get it" in str(caught.value).replace("the file", "it")


def test_nobody(tmp_path):
    with pytest.raises(ValueError, match="a has no body in any of its 0 frames"):
        read(tmp_path, as_wide().partition("\n")[0])


def test_files_become_samples(tmp_path):
    for name in ("train/Wave/a", "train/Bow/b", "val/Wave/c"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / f"{name}.csv").write_text(as_wide())
    flags = {"raw": str(tmp_path), "classes": None, "layout": None, "val_ratio": 0.3, "seed": 0}
    found = mediapipe.find_samples(argparse.Namespace(**flags))
    assert found.splits == {"train": ["a", "b"], "val": ["c"]} and found.layout == "mediapipe33"
