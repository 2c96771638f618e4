"""Text and json files: encodings, line ends, and errors that name file and line."""

import pytest

from common.text_files import read_json, read_lines, read_settings, read_text


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"], ids=["plain", "byte order mark"])
@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"])
def test_text_of_any_system_is_read_alike(tmp_path, mark, line_end):
    (tmp_path / "x.txt").write_bytes(mark + line_end.join(["a 跳 ".encode(), b"", b"b"]) + line_end)
    assert read_text(tmp_path / "x.txt") == "a 跳 \n\nb\n"
    assert read_lines(tmp_path / "x.txt", "origin") == ["a 跳", "", "b"]
    (tmp_path / "x.json").write_bytes(mark + b"[1," + line_end + '"跳"]'.encode())
    assert read_json(tmp_path / "x.json") == [1, "跳"]


@pytest.mark.parametrize("read", [read_text, read_json])
def test_text_that_cannot_be_read_says_where(tmp_path, read):
    with pytest.raises(FileNotFoundError, match="none' does not exist or is no file; train.py makes it"):
        read(tmp_path / "none", "train.py makes it")
    (tmp_path / "x").write_bytes("[\n'跳'".encode("gbk"))
    with pytest.raises(ValueError, match="x' line 2: no UTF-8 text; it is GBK, .*: save it as UTF-8 .Notepad"):
        read(tmp_path / "x")


@pytest.mark.parametrize(
    "text, message",
    [
        ("[1,\n2", r"x.json' line 2: no whole json \(Expecting ',' delimiter, column 2\); get the file again"),
        ("", r"x.json' line 1: no whole json \(Expecting value, column 1\)"),
        ("[" * 100_000, r"x.json' line 1: (brackets in brackets without end|no whole json)"),
    ],
)
def test_json_that_is_not_whole_says_where(tmp_path, text, message):
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_json(tmp_path / "x.json")


@pytest.mark.parametrize(
    "text, key",
    [("[]", "pack"), ("null", "pack"), ('{"pack": 1}', "pack"), ('{"pack": true, "videos": {"a": "b"}}', "videos")],
)
def test_settings_of_another_form_are_refused(tmp_path, text, key):
    (tmp_path / "settings.json").write_text(text)
    kinds = {"pack": bool, "videos": {str: int}}
    with pytest.raises(ValueError, match=f"settings.json' key '{key}': .*; put the file back as it was"):
        read_settings(tmp_path / "settings.json", kinds)
    (tmp_path / "settings.json").write_text('{"pack": true, "videos": {"a": 1}, "more": 2}')
    assert read_settings(tmp_path / "settings.json", kinds) == {"pack": True, "videos": {"a": 1}, "more": 2}
    (tmp_path / "settings.json").write_text('{"pack": true}')
    assert read_settings(tmp_path / "settings.json", kinds, are_needed=False) == {"pack": True}
