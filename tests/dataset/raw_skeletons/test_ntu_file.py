"""The `.skeleton` parser: exact numbers, and no damage that it does not name."""

import json
import re

import numpy as np
import pytest
from paths import GOLDEN_DATA
from raw_skeleton_files import draw_person, write_ntu

from dataset.raw_skeletons.ntu_file import read_recording

GOLDEN = GOLDEN_DATA / "ntu_skeleton_parse.json"
TEXT = json.loads(GOLDEN.read_text(encoding="utf-8"))["file_text"]
LINES = TEXT.splitlines(keepends=True)


def read(tmp_path, text):
    path = tmp_path / "S001C001P001R001A001.skeleton"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_recording(path)


def fault(tmp_path, text):
    with pytest.raises(ValueError) as caught:
        read(tmp_path, text)
    assert re.match(r"'.*S001C001P001R001A001\.skeleton' line \d+: .*; .*get it again$", str(caught.value)), (
        caught.value
    )
    return str(caught.value).partition("skeleton' ")[2].partition("; the file")[0]


def replace_line(number, text):
    return "".join([*LINES[: number - 1], text, *LINES[number:]])


def test_every_number_is_the_one_that_is_printed(tmp_path):
    recording = read(tmp_path, TEXT)
    rows = [line.split()[:3] for line in LINES if len(line.split()) == 12]
    assert np.array_equal(recording.joints.reshape(-1, 3), np.array(rows, float))
    assert recording.num_frames == 6
    assert recording.frames.tolist() == [0, 1, 1, 2, 2, 2, 4, 4, 4, 5, 5]
    assert recording.slots.tolist() == [0, 0, 1, 0, 1, 2, 0, 1, 2, 0, 1]
    first, second, third = 72057594037931101, 72057594037931368, 72057594037931691  # float64 cannot tell some apart
    assert recording.ids == [first, first, second, first, second, third, second, first, third, first, second]


NUMBERS = ["1", "-.5", "+2.", "1e-05", "-3.141592653589793", "0.30000000000000004", "00012.5000", "1.25E+1", "-0.0"]


@pytest.mark.parametrize("number", [*NUMBERS, "9.87654321012345", "0.000000000000001", "0.0000000000000000000000001"])
def test_numbers_of_any_form(tmp_path, number):
    text = re.sub(r"(\.\d*[1-9])0+(?= )", r"\1", TEXT)  # as a program does that drops zeros at the end
    words = LINES[4].split()
    words[1] = number
    joints = read(tmp_path, text.replace(LINES[4], " ".join(words) + "\n", 1)).joints
    assert joints[0, 0, 1] == float(number) and joints[0, 1, 0] == 0.64008


def test_a_digit_lost_or_gained_shows_where_all_numbers_have_as_many(tmp_path):
    for old, new, decimals in (("2.97739", "2.9739", 4), ("2.97739", "2.977319", 6), ("-0.43651", "-0.4", 1)):
        found = fault(tmp_path, TEXT.replace(old, new, 1))
        axis = "y" if decimals == 1 else "z"
        assert found == f"line 5: {axis} has {decimals} decimals, all other numbers have 5"
    zeros = TEXT.replace(LINES[4], "0 0 0 " + LINES[4].split(" ", 3)[3], 1)
    assert not read(tmp_path, zeros).joints[0, 0].any()
    found = fault(tmp_path, zeros.replace(LINES[5], LINES[5].replace("0.64008", "0.6408"), 1))
    assert found == "line 6: x has 4 decimals, all other numbers have 5"


@pytest.mark.parametrize("change", [str.strip, lambda text: text.replace("\n", "\r\n"), lambda text: text + "\n \n"])
def test_blanks_that_change_nothing(tmp_path, change):
    assert np.array_equal(read(tmp_path, change(TEXT)).joints, read(tmp_path, TEXT).joints)
    assert np.array_equal(read(tmp_path, change(TEXT).replace(" ", "  ")).joints, read(tmp_path, TEXT).joints)


def test_pixels_and_turns_may_be_no_numbers_but_places_may_not(tmp_path):
    joints = draw_person(2)
    path = tmp_path / "a.skeleton"
    for tail in ("-inf -1.#IND nan 1.#QNAN NaN 0 0 0 1", "1e9 1e9 -1e9 0 0 0 0 0 0"):
        assert np.array_equal(read_recording(write_ntu(path, [[(1, joints[0])]], tail)).joints[0], joints[0])
    for word in ("nan", "-1.#IND", "inf", "1e400"):
        words = LINES[4].split()
        words[2] = word
        found = fault(tmp_path, replace_line(5, " ".join(words) + "\n"))
        assert found == f"line 5: z is {'inf' if word == '1e400' else 'nan'}, expected metres from -20 to 20"


FAULTS = {
    "empty": ("", "line 1: the file is empty; get it again"),
    "blank": (" \n\n", "line 1: the file is empty; get it again"),
    "frames": (replace_line(1, "6.5\n"), "line 1: got '6.5', expected the number of frames, a whole number from 0"),
    "one frame more": (replace_line(1, "7\n"), "line 305: the file ends here, expected the number of bodies of"),
    "one frame less": (replace_line(1, "5\n"), "line 250: the file goes on, expected its end after the 5 frames"),
    "bodies": (replace_line(2, "-1\n"), "line 2: got '-1', expected the number of bodies of frame 1 of 6, a whole"),
    "body": (replace_line(3, "72 0 1\n"), "line 3: got 3 numbers, expected 10 (a body of frame 1 of 6)"),
    "id": (replace_line(3, "7.5" + " 1" * 9 + "\n"), "line 3: got '7.5', expected a body's id, a whole number"),
    "twice": (replace_line(58, LINES[30]), "line 58: body 72057594037931101 is in frame 2 of 6 twice"),
    "joints": (replace_line(4, "24\n"), "line 4: got 24 joints, expected 25"),
    "missing row": (replace_line(10, ""), "line 29: got 1 number, expected 12 (joint 25 of 25 of a body of frame 1"),
    "extra row": (replace_line(10, LINES[9] * 2), "line 30: got 12 numbers, expected 1 (the number of bodies"),
    "missing number": (replace_line(10, LINES[9][2:].partition(" ")[2]), "line 10: got 11 numbers, expected 12"),
    "extra number": (replace_line(10, "1 " + LINES[9]), "line 10: got 13 numbers, expected 12 (joint 6 of 25"),
    "blank line": (replace_line(10, "\n" + LINES[9]), "line 10: got 0 numbers, expected 12"),
    "word": (replace_line(10, LINES[9].replace("250.1", "abc")), "line 10: got 'abc', expected a number"),
    "two points": (replace_line(10, LINES[9].replace("250.1", "2.0.1")), "line 10: got '2.0.1', expected a number"),
    "sign": (replace_line(10, LINES[9].replace("250.1", "25-1")), "line 10: got '25-1', expected a number"),
    "no digit": (replace_line(10, LINES[9].replace("250.1", "-.")), "line 10: got '-.', expected a number"),
    "bytes": (TEXT.encode().replace(b"250.1", b"\xff\0.1", 1), r"line 5: got '\xff\x00.1', expected a number"),
    "far": (replace_line(10, "20.5" + LINES[9][LINES[9].index(" ") :]), "line 10: x is 20.5, expected metres from -20"),
    "state": (replace_line(10, LINES[9][:-2] + "3\n"), "line 10: the tracking state is 3, expected 0, 1 or 2"),
    "half state": (replace_line(10, LINES[9][:-2] + "0.5\n"), "line 10: the tracking state is 0.5, expected 0, 1 or 2"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), FAULTS.values(), ids=FAULTS)
def test_damage_is_named_with_its_line(tmp_path, text, expected):
    assert fault(tmp_path, text).startswith(expected.removesuffix("; get it again"))


def mutate(rng):
    """Cut off, take out or put in something at random, so that what is left cannot be another whole recording.

    A sign or a leading digit more or less makes another number, and no reader can see that. So what is taken out holds
    a blank or a line's end, and what is put in is no digit, sign or exponent.
    """
    kind, data = rng.integers(6), TEXT.encode()
    at, line = int(rng.integers(len(data))), int(rng.integers(len(LINES)))
    num_lines = int(rng.choice([1, 1, 2, 26, 27, 28, 29]))
    if kind == 0:
        return data[:at]
    if kind == 1:
        return "".join(LINES[:line] + LINES[line + num_lines :]).encode()
    if kind == 2:
        return "".join(LINES[: line + num_lines] + LINES[line : line + num_lines] + LINES[line + num_lines :]).encode()
    if kind == 3:
        end = data.find(b" " if rng.integers(2) else b"\n", at) + 1
        return data[:at] + data[max(end, at) + int(rng.integers(3)) :]
    if kind == 4:
        return "".join([*LINES[:line], LINES[int(rng.integers(len(LINES)))], *LINES[line:]]).encode()
    noise = bytes(rng.choice(list(b" \n\t\r.,xN#\0\xff/"), rng.integers(1, 4)).tolist())
    return data[:at] + noise + data[at:]


def test_500_mutations_are_named_or_change_nothing(tmp_path):
    whole, rng, num_named = read(tmp_path, TEXT), np.random.default_rng(0), 0
    for number in range(500):
        data = mutate(rng)
        try:
            found = read(tmp_path, data)
        except ValueError as error:
            line = int(re.match(r"'.*A001\.skeleton' line (\d+): ", str(error))[1])
            assert 1 <= line <= data.count(b"\n") + 2, f"mutation {number}: {error}"
            num_named += 1
            continue
        assert found.num_frames == whole.num_frames and found.ids == whole.ids, f"mutation {number}"
        for name in ("frames", "slots", "joints"):
            assert np.array_equal(getattr(found, name), getattr(whole, name)), f"mutation {number}: {name}"
    assert num_named > 400
