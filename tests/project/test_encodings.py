"""Texts as Windows saves them: every reader of a text reads them, or says the one step that mends them."""

import numpy as np
import pytest

from tools.samples.good_files import READERS

TEXTS = [name for name, reader in READERS.items() if reader.is_text and name != "run log"]  # which train.py writes
CODECS = {
    "byte order mark": lambda text: text.encode("utf-8-sig"),
    "Windows' line ends": lambda text: text.replace("\n", "\r\n").encode(),
    "UTF-16": lambda text: text.encode("utf-16"),
    "UTF-16, high byte first": lambda text: ("\ufeff" + text).encode("utf-16-be"),
}


def write(tmp_path, reader, data):
    path = tmp_path / reader.file_name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("name", TEXTS)
def test_the_same_is_read(tmp_path, name, codec):
    reader = READERS[name]
    text = reader.encode(reader.content)
    plain = repr(reader.read(write(tmp_path, reader, text)))
    path = write(tmp_path, reader, CODECS[codec](text.decode()))
    if name == "NTU" and codec.startswith("UTF-16"):  # a machine wrote these numbers
        with pytest.raises(ValueError, match=f"{path.name}' line 1: got .*expected a number; the file is damaged"):
            reader.read(path)
    else:
        assert repr(reader.read(path)) == plain


@pytest.mark.parametrize("name", TEXTS)
def test_gbk_is_refused_with_the_step_that_mends_it(tmp_path, name):
    reader = READERS[name]
    lines = reader.encode(reader.content).decode().split("\n")
    lines[1] += "光盘"
    path = write(tmp_path, reader, "\n".join(lines).encode("gbk"))
    expected = "line 2: .*(it is GBK, as a Chinese Windows writes it: save it as UTF-8|expected a number|got '1)"
    with pytest.raises(ValueError, match=f"{path.name}'? {expected}"):
        reader.read(path)


def test_what_is_neither_and_what_has_zero_bytes_says_the_line(tmp_path):
    reader = READERS["classInd"]
    for data in (b"1 Bow\n2 \xff\xff\n", "1 Bow\n2 Wave\n".encode("utf-16-le")):
        path = write(tmp_path, reader, data)
        with pytest.raises(ValueError, match="classInd.txt' line [12]: .*get the file again, or save it as UTF-8"):
            reader.read(path)


def test_the_numbers_are_those_of_the_plain_file(tmp_path):
    reader = READERS["MediaPipe"]
    text = reader.encode(reader.content).decode()
    expected = reader.read(write(tmp_path, reader, text.encode()))["keypoint"]
    np.testing.assert_array_equal(reader.read(write(tmp_path, reader, text.encode("utf-16")))["keypoint"], expected)
