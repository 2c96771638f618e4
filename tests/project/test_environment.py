"""environment.sh: installs what is missing or of a version that the requirements exclude, and nothing else."""

import subprocess
import sys

import pytest
from paths import ROOT

# Stands in for Python: Paddle and OpenCV can be imported, pip writes down what it is asked for.
PYTHON = """#!/bin/sh
case "$*" in
    "-c import paddle" | "-c import cv2") exit 0 ;;
    "-m pip freeze"*) printf 'paddlepaddle==3.0.0\\nnumpy==1.20.0\\ntqdm==4.50.0\\n'; exit 0 ;;
    "-m pip install"*) echo "$*" >>pip.txt; cat "$7" >wanted.txt; cat "$9" >fixed.txt; exit 0 ;;
esac
exec {python} "$@"
"""
SOUND = {"tqdm": "4.60", "av": "12.0.0", "pillow": "9.1.post1", "setuptools": "81.9", "numpy": "1.20.0"}


@pytest.fixture
def install(tmp_path):
    """Call with the versions that are there; return what pip was to install, or None, and what was printed."""
    (tmp_path / "python").write_text(PYTHON.format(python=sys.executable), encoding="utf-8")
    (tmp_path / "python").chmod(0o755)

    def run(versions, requirements):
        for name, version in versions.items():
            folder = tmp_path / "packages" / f"{name}-{version}.dist-info"
            folder.mkdir(parents=True)
            (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        (tmp_path / "requirements.txt").write_text(requirements, encoding="utf-8")
        words = f"set -euo pipefail; source {ROOT}/environment.sh; PYTHON=$PWD/python; install_missing requirements.txt"
        environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(tmp_path / "packages")}
        ended = subprocess.run(["bash", "-c", words], cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert ended.returncode == 0, ended.stderr
        wanted = tmp_path / "wanted.txt"
        return wanted.read_text() if wanted.exists() else None, ended.stdout

    return run


REQUIREMENTS = """# A comment.
paddlepaddle<2  # never replaced
numpy>=1.23
opencv-python>=9
tqdm>=4.60
av>=12,<13  # video files
pillow>=9,!=9.2
setuptools<82
"""


def test_what_is_there_as_wanted_is_left_alone(install):
    assert install(SOUND, REQUIREMENTS) == (None, "")


@pytest.mark.parametrize(
    ("name", "version", "line"),
    [
        ("tqdm", "4.50.0", "tqdm>=4.60 (4.50.0)"),
        ("tqdm", "4.9", "tqdm>=4.60 (4.9)"),  # 9 is less than 60
        ("av", "13.0", "av>=12,<13 (13.0)"),
        ("pillow", "9.2.0", "pillow>=9,!=9.2 (9.2.0)"),
        ("setuptools", "82.0.1", "setuptools<82 (82.0.1)"),
    ],
)
def test_a_version_that_is_excluded_is_replaced(install, tmp_path, name, version, line):
    wanted, printed = install({**SOUND, name: version}, REQUIREMENTS)
    assert "tqdm>=4.60" in wanted and line in printed
    assert not any(package in wanted for package in ("paddle", "numpy", "opencv"))
    assert (tmp_path / "fixed.txt").read_text() == "paddlepaddle==3.0.0\nnumpy==1.20.0\n"


def test_a_package_that_is_missing_is_installed(install):
    wanted, printed = install(SOUND, REQUIREMENTS + "no-such-package>=1\n")
    assert "no-such-package>=1" in wanted and "no-such-package>=1 (not there)" in printed
