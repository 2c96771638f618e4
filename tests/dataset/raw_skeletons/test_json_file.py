"""Json files: every fault with its line, however the text is broken into lines."""

import json
import re

import pytest

from dataset.raw_skeletons.json_file import JsonFile

CONTENT = {"a": [1, {"b c": [[], {}, 'x,]}\\"'], "deep": [0.5, [2, 3]]}], "last": None}


def write(tmp_path, text):
    (tmp_path / "a.json").write_text(text, encoding="utf-8")
    return JsonFile(tmp_path / "a.json")


@pytest.mark.parametrize("indent", [None, 0, 2])
def test_lines_of_all_places(tmp_path, indent):
    file = write(tmp_path, "\n " + json.dumps(CONTENT, indent=indent) + "\n")
    lines = file.text.splitlines()
    for place, start in ((("a", 1, "deep", 1, 1), "3"), (("last",), "null"), (("a", 1, "b c", 2), '"x'), ((), "{")):
        line = lines[file.find_line(place) - 1].strip().removeprefix('"last": ')
        assert line.startswith(start) if indent is not None else file.find_line(place) == 2


def test_line_of_what_is_missing_is_that_of_what_should_hold_it(tmp_path):
    file = write(tmp_path, json.dumps(CONTENT, indent=1))
    lines = file.text.splitlines()
    assert lines[file.find_line(("a", 1, "none", 3)) - 1].strip() == "{"
    assert lines[file.find_line(("a", 7)) - 1].strip() == '"a": ['
    assert lines[file.find_line(("a", 0, "x")) - 1].strip() == "1,"
    with pytest.raises(ValueError, match=r"a\.json' line 4: a\[1\]\.none is missing; get the file again"):
        file.get(("a", 1, "none", 3), int)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "line 1: the file is empty"),
        ('{"a":\n [1,\n 2', r"line 3: no whole json \(Expecting ',' delimiter, column 3\)"),
        ("[1,\n]", "line [12]: no whole json"),
        ("[" * 100_000, "line 1: (brackets in brackets|no whole json)"),
    ],
)
def test_what_is_no_json(tmp_path, text, expected):
    with pytest.raises(ValueError, match=rf"a\.json' {expected}.*; get .* again"):
        write(tmp_path, text)


def test_bytes_that_are_no_text(tmp_path):
    (tmp_path / "a.json").write_bytes(b'[\n"\xff"]')
    with pytest.raises(ValueError, match="line 2: no UTF-8 text; get the file again"):
        JsonFile(tmp_path / "a.json")


def test_values_have_their_type_their_number_and_their_limits(tmp_path):
    file = write(
        tmp_path, '{"n": 3, "yes": true, "list": [1, 2.5, NaN],\n "far": [1, -9], "text": ["1"], "bool": [true]}'
    )
    assert file.get(("n",), int) == 3 and file.get_numbers(("far",), 2, 9) == [1, -9]
    for call, expected in (
        (lambda: file.get(("yes",), int), "line 1: yes is True, expected a int"),
        (lambda: file.get(("n",), list), "line 1: n is 3, expected a list"),
        (lambda: file.get_numbers(("list",), 4, 9), "line 1: list has 3 values, expected 4"),
        (lambda: file.get_numbers(("list",), 3, 9), "line 1: list[2] is nan, expected a number from -9 to 9"),
        (lambda: file.get_numbers(("far",), 2, 5), "line 2: far[1] is -9, expected a number from -5 to 5"),
        (lambda: file.get_numbers(("text",), 1, 5), "line 2: text[0] is '1', expected a number from -5 to 5"),
        (lambda: file.get_numbers(("bool",), 1, 5), "line 2: bool[0] is True, expected a number"),
        (lambda: file.get(("n", 0), int), "line 1: n[0] is missing"),
    ):
        with pytest.raises(ValueError, match=re.escape(expected)):
            call()
