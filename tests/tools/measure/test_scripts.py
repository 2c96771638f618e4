"""tools/measure/scripts.py: output, surroundings and errors of the scripts that tools run."""

import os

import pytest

from tools.measure.scripts import ROOT, run_script

LAST_LINE = "FileNotFoundError: 'no.pkl' does not exist or is no file; check the path"


@pytest.fixture
def script(tmp_path):
    """Write a script that prints its arguments, its folder and two variables, and a line to stderr."""
    path = tmp_path / "show.py"
    lines = ["import os, sys", "print(sys.argv[1:], os.getcwd(), os.environ['PATH'], os.environ.get('SHOWN'))"]
    path.write_text("\n".join([*lines, "print('a note', file=sys.stderr)"]), encoding="utf-8")
    return path


def test_output_is_returned(script, tmp_path):
    expected = f"['a', '1'] {os.getcwd()} {os.environ['PATH']} None\n"
    assert run_script(script, "a", 1) == expected
    (tmp_path / "other").mkdir()
    output = run_script(script, environment={"SHOWN": "yes"}, cwd=tmp_path / "other")
    assert output == f"[] {tmp_path / 'other'} {os.environ['PATH']} yes\n"


def test_output_goes_to_a_file(script, tmp_path):
    log_file = tmp_path / "log.txt"
    log_file.write_text("of an earlier run")
    assert run_script(script, "a", log_file=log_file) == ""
    assert sorted(log_file.read_text(encoding="utf-8").splitlines())[-1] == "a note"
    assert "['a'] " in log_file.read_text(encoding="utf-8") and "earlier" not in log_file.read_text(encoding="utf-8")


def test_a_script_that_fails_is_named_with_its_last_line(tmp_path):
    log_file = tmp_path / "said.txt"
    assert (ROOT / "ensemble.py").is_file()
    with pytest.raises(OSError) as error:
        run_script("ensemble.py", "no.pkl", log_file=log_file)
    assert str(error.value) == f"ensemble.py ended with status 1, its output is in {log_file}: {LAST_LINE}"
    assert "no.pkl" in log_file.read_text(encoding="utf-8")
    with pytest.raises(OSError) as error:
        run_script("ensemble.py", "no.pkl")
    assert str(error.value) == f"ensemble.py ended with status 1: {LAST_LINE}"


def test_a_script_that_fails_without_a_word(script):
    script.write_text("raise SystemExit(3)", encoding="utf-8")
    with pytest.raises(OSError, match="show.py ended with status 3: no output"):
        run_script(script)
