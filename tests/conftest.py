"""What holds for all tests, which may run side by side, and the fixtures that several test modules share."""

import os
import subprocess
import sys

import pytest
from paths import ROOT

from common.cores import count_cores

MAX_WORKERS = 8  # of pytest-xdist; each may take 2 GB
os.environ.setdefault("OMP_NUM_THREADS", "1")  # before Paddle is imported, here and in the scripts that tests start


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers():
    """Return how many processes `-n auto` stands for: one per core that this one may use."""
    return min(count_cores(), MAX_WORKERS)


def pytest_runtest_setup(item):
    """Skip tests that need what this machine lacks."""
    from gpus import skip_without_gpu  # not at the top: it imports Paddle, which reads OMP_NUM_THREADS

    skip_without_gpu(item)


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
