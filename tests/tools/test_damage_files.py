"""Damaged files of every kind: read, or refused in words that help, within a memory and a time limit."""

import subprocess
import sys

import numpy as np
import pytest
from paths import ROOT

from tools import damage_files
from tools.samples.good_files import READERS


def run(*words):
    command = [sys.executable, ROOT / "tools/damage_files.py", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", READERS)
def test_the_good_file_is_read(tmp_path, name):
    path = tmp_path / READERS[name].file_name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(READERS[name].encode(READERS[name].content))
    READERS[name].read(path)


def test_damaged_files_are_read_or_refused_in_words_that_help():
    done = run("--count", "600", "--seed", "7")
    assert done.returncode == 0, done.stdout
    assert "| all | " in done.stdout


@pytest.mark.long
def test_ten_thousand_damaged_files():
    done = run("--count", "10000", "--seconds", "60", "--seed", "1")
    assert done.returncode == 0, done.stdout


def test_the_damage_follows_the_seed_and_changes_the_file():
    content, encode = READERS["COCO"].content, READERS["COCO"].encode
    made = [damage_files.damage(content, encode, np.random.default_rng([3, number])) for number in range(40)]
    again = [damage_files.damage(content, encode, np.random.default_rng([3, number])) for number in range(40)]
    assert made == again and len(set(made)) > 30 and sum(data == encode(content) for data in made) < 5


@pytest.mark.parametrize(
    "error, what",
    [
        ("ValueError: 'x/a.csv' line 3: got 'b'; correct it", None),
        ("ValueError: line 3: got 'b'", "no file name"),
        ("ValueError: 'x/a.csv': 'NoneType' object has no attribute 'get'", "Python's words"),
        ("ValueError: 'x/a.csv': something is wrong", "no line"),
    ],
)
def test_errors_are_judged(tmp_path, error, what):
    fault = damage_files.judge(error, tmp_path / "a.csv", is_text=True)
    assert (fault and fault.what) == what


def test_a_reader_that_takes_all_memory_is_a_fault(tmp_path):
    class Greedy:
        file_name, content, encode, is_text = "a.bin", b"x" * 100, bytes, False

        @staticmethod
        def read(path):
            raise MemoryError

    fault = damage_files.try_one(Greedy, tmp_path, np.random.default_rng(0))
    assert fault == damage_files.Fault("Python's own error", "MemoryError: ")
