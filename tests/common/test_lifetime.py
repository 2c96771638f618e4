"""Children end with their parent, however that ends."""

import ast
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest
from paths import ROOT

from common import lifetime

PARENT = """
import subprocess, sys, time
sys.path.insert(0, {root!r})
from common import lifetime
command = lifetime.tie([sys.executable, "-c", "import time; print('begun', flush=True); time.sleep(60)"])
child = subprocess.Popen(command, stdout=subprocess.PIPE)
child.stdout.readline()
print(child.pid, flush=True)
time.sleep(60)
"""
UNTIED = {"engine/distributed.py": 1, "tools/mutate.py": 1}  # calls: ranks, which end by themselves; git, in a moment


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_tied_child_ends_with_its_parent(number):
    command = [sys.executable, "-c", PARENT.format(root=str(ROOT))]
    parent = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    child = int(parent.stdout.readline())
    assert not lifetime.has_ended(child)
    os.kill(parent.pid, number)
    parent.communicate()
    end_s = time.monotonic() + 5
    while not lifetime.has_ended(child) and time.monotonic() < end_s:
        time.sleep(0.05)
    assert lifetime.has_ended(child)


def test_a_tied_command_is_the_command():
    code = "import os, sys; print(os.getpid(), sys.argv[1:], os.environ['WORD'], sys.stdin.read()); sys.exit(7)"
    command = lifetime.tie([sys.executable, "-c", code, "a b", "--c"])
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, "WORD": "w"}
    )
    assert process.communicate("in")[0] == f"{process.pid} ['a b', '--c'] w in\n" and process.returncode == 7


def test_a_child_whose_parent_has_ended_already_does_not_begin():
    command = [word if word != str(os.getpid()) else "1" for word in lifetime.tie(["echo", "begun"])]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert (
        ended.returncode == 1 and ended.stdout == "" and "the process that started this one has ended" in ended.stderr
    )


def test_every_child_that_the_project_starts_is_tied():
    """A call of `subprocess` without `lifetime.tie` must be in `UNTIED`."""
    found = {}
    for path in [*ROOT.glob("*.py"), *(path for room in ROOT.glob("*/") for path in room.rglob("*.py"))]:
        name = path.relative_to(ROOT).as_posix()
        if name.startswith(("tests/", ".")):
            continue
        text = pathlib.Path(path).read_text(encoding="utf-8")
        for function in [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef)]:
            lines = ast.get_source_segment(text, function)
            calls = lines.count("subprocess.run(") + lines.count("subprocess.Popen(")
            if calls and not isinstance(function.body[0], ast.FunctionDef) and "lifetime.tie(" not in lines:
                found[name] = found.get(name, 0) + calls
    assert found == UNTIED
