"""Screens that lack characters, and terminals and pipes that are gone."""

import os
import pty
import subprocess
import sys

import pytest
from paths import ROOT

SCRIPT = """
import sys
sys.path.insert(0, sys.argv[1])
from common import command_line
from engine import logger
import logging
def main():
    logger.setup_logging("run.log")
    print("\u5e8a", flush=True)
    sys.stdin.readline()
    for index in range(3):
        logging.info(f"line {index} \u5e8a")
        print("progress", file=sys.stderr)
    open("end", "w").close()
command_line.run_main(main)
"""


def start(tmp_path, stdout, stderr, encoding="utf-8"):
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, ROOT],
        cwd=tmp_path, stdin=subprocess.PIPE, stdout=stdout, stderr=stderr,
        env={**os.environ, "PYTHONIOENCODING": encoding, "PYTHONUNBUFFERED": ""},
    )  # fmt: skip


@pytest.mark.parametrize("encoding, printed", [("ascii", b"\\u5e8a"), ("cp1252", b"\\u5e8a"), ("gbk", b"\xb4\xb2")])
def test_a_screen_that_is_not_utf_8_shows_what_it_can(tmp_path, encoding, printed):
    out, err = start(tmp_path, subprocess.PIPE, subprocess.PIPE, encoding).communicate(b"go\n", timeout=120)
    assert out.split()[:4] == [printed, b"line", b"0", printed] and err.split() == [b"progress"] * 3
    assert "line 2 \u5e8a" in (tmp_path / "run.log").read_text(encoding="utf-8")


@pytest.mark.parametrize("kind", ["pipe", "terminal"])
def test_a_screen_that_is_gone_ends_no_run_and_the_log_says_it_once(tmp_path, kind):
    reader, writer = os.pipe() if kind == "pipe" else pty.openpty()
    process = start(tmp_path, writer, writer)
    os.close(writer)
    assert "\u5e8a".encode() in os.read(reader, 100)
    os.close(reader)
    process.communicate(b"go\n", timeout=120)
    assert process.returncode == 0 and (tmp_path / "end").exists()
    log = (tmp_path / "run.log").read_text(encoding="utf-8")
    assert "line 2" in log and log.count("the screen or pipe cannot be written any more (") == 1
