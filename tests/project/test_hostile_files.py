"""Hostile files of every kind and reader: refused with their name; none crashes, hangs, fills memory, runs code."""

import json
import os
import subprocess
import sys

import pytest
from paths import ROOT

pytestmark = pytest.mark.long

HARMLESS = (  # may be read: text alone, such as names of a list without labels
    "words", "empty", "line", "quotes", "digits", "brackets", "call", "power", "field", "signs",
)  # fmt: skip


@pytest.fixture(scope="module")
def said(tmp_path_factory):
    """What each reader said of each case, within 1 GiB and 20 seconds; and the folder that they were in."""
    folder = tmp_path_factory.mktemp("hostile")
    command = [sys.executable, "-m", "tools.samples.hostile_files", folder]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, f"it ended at: {done.stderr[-500:]}"
    return json.loads(done.stdout.splitlines()[-1]), folder


def test_every_hostile_file_is_refused_with_its_name(said):
    said = said[0]
    faults = [f"{name}, {case}: {text}" for name in said for case, text in said[name].items() if "FAULT" in text[:5]]
    assert not faults, "\n".join(faults)
    read = [f"{name}, {case}" for name in said for case, text in said[name].items() if text == "read"]
    read = [each for each in read if not each.startswith("index")]  # which is made anew
    assert not [each for each in read if each.rpartition(", ")[2].split()[0] not in HARMLESS]
    assert sum(map(len, said.values())) > 500 and len(read) < 100


def test_none_ran_code(said):
    assert "hostile_code_ran" not in os.listdir(said[1])


@pytest.mark.parametrize(
    "name, case, message",
    [
        ("checkpoint", "code", "asks for 'posix.system', which plain data never needs: refused, nothing in it was run"),
        ("skeleton pkl", "shared 1", "shares its values again and again: refused before the memory is full"),
        ("score file", "memo", "memo index of 2147483647"),
        ("picture", "png 30000", "claims to be 30000 x 30000, too large for a frame"),
        ("picture", "jpeg 60000", "claims to be 60000 x 60000, too large for a frame"),
        ("array", "objects", "no whole npy file of numbers"),
        ("label array", "vector", "no whole npy file of numbers"),
        ("config yaml", "long", "expected at most 300000"),
        ("class names", "half", "half of a character"),
        ("list", "zeros", "train.list' line 2: a zero byte"),
    ],
)
def test_what_is_said(said, name, case, message):
    assert message in said[0][name][case]
