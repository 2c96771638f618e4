"""Fixtures that several test modules share: the sample tree and a way to run a script as a user does."""

import os
import subprocess
import sys

import pytest
from paths import ROOT


@pytest.fixture(scope="session")
def run_script():
    """A function that runs a project script with this Python, from the project's root unless `cwd` says otherwise."""

    def run(script, *words, cwd=ROOT, env=None, timeout_s=300):
        command = [sys.executable, str(ROOT / script), *map(str, words)]
        environment = {**os.environ, **(env or {})}
        return subprocess.run(
            command, cwd=cwd, env=environment, capture_output=True, text=True, encoding="utf-8", timeout=timeout_s
        )

    return run


@pytest.fixture(scope="session")
def samples(tmp_path_factory, run_script):
    """A tiny sample tree: every class, 3 groups of 1 clip, 20 frames of 96 x 72."""
    root = tmp_path_factory.mktemp("samples")
    flags = ["--groups", 3, "--clips", 1, "--frames", 20, "--width", 96, "--height", 72]
    made = run_script("tools/make_samples.py", "--root", root, *flags)
    assert made.returncode == 0, made.stderr
    return root
