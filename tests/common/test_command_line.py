"""The command line: hyphens, no abbreviations, the nearest flag, and errors in one sentence."""

import logging
import platform
import subprocess
import sys

import pytest
from paths import ROOT

from common import command_line


def make_parser():
    parser = command_line.CommandLine("A script.")
    parser.add_argument("--save_dir", default="x")
    parser.add_argument("--use_gpu", type=command_line.parse_bool)
    return parser


def test_a_hyphen_equals_an_underscore():
    assert make_parser().parse_args(["--save-dir", "a-b"]).save_dir == "a-b"
    assert make_parser().parse_args(["--save-dir=a-b"]).save_dir == "a-b"


def test_a_home_folder_is_filled_in(monkeypatch):
    monkeypatch.setenv("HOME", "/home/wang")
    assert make_parser().parse_args(["--save_dir=~/a-b"]).save_dir == "/home/wang/a-b"


def test_overrides_in_a_row_are_explained(capsys):
    parser = make_parser()
    parser.add_argument("config", nargs="?")
    parser.add_argument("-o", dest="overrides", action="append")
    assert parser.parse_args(["-o", "RUN.epochs=1", "a.txt"]).config == "a.txt"
    with pytest.raises(SystemExit):
        parser.parse_args(["-o", "RUN.epochs=1", "TRAIN.batch_size=2"])
    assert "needs an -o of its own: -o RUN.epochs=1 -o TRAIN.batch_size=2" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words, message",
    [
        (["--save_dri", "a"], "unknown flag '--save_dri'; did you mean '--save_dir'?"),
        (["--save", "a"], "unknown flag '--save'"),
        (["stray"], "unexpected argument 'stray'"),
        (["--use_gpu", "maybe"], "expected True or False, got 'maybe'"),
    ],
)
def test_unknown_words_are_refused_with_a_hint(words, message, capsys):
    with pytest.raises(SystemExit) as caught:
        make_parser().parse_args(words)
    assert caught.value.code == 2 and message in capsys.readouterr().err


def test_the_value_of_an_unknown_flag_does_not_get_the_blame(capsys):
    """It would be the positional argument, which excludes --weights."""
    parser = make_parser()
    group = parser.add_mutually_exclusive_group()
    group.add_argument("checkpoint", nargs="?")
    group.add_argument("--weights")
    with pytest.raises(SystemExit):
        parser.parse_args(["--weights", "a", "--out", "b"])
    assert "unknown flag '--out'" in capsys.readouterr().err
    assert parser.parse_args(["--", "--out"]).checkpoint == "--out"


@pytest.mark.parametrize("text, value", [("True", True), ("False", False), ("true", True), ("0", False)])
def test_booleans_are_read_as_in_2020(text, value):
    assert make_parser().parse_args(["--use_gpu", text]).use_gpu is value


def test_an_error_of_the_user_ends_in_one_sentence_and_its_traceback_is_logged(caplog):
    def main():
        raise FileNotFoundError("no list 'x'; run data_list_gener.py")

    with caplog.at_level(logging.DEBUG), pytest.raises(SystemExit) as caught:
        command_line.run_main(main)
    assert caught.value.code == "FileNotFoundError: no list 'x'; run data_list_gener.py"
    assert "Traceback" in caplog.text


def test_a_fault_of_ours_keeps_its_traceback():
    def main():
        raise KeyError("bug")

    with pytest.raises(KeyError):
        command_line.run_main(main)


def test_the_users_thread_number_stands(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    command_line.start_paddle()
    assert command_line.os.environ["OMP_NUM_THREADS"] == "7"
    monkeypatch.delenv("OMP_NUM_THREADS")
    command_line.start_paddle()
    assert int(command_line.os.environ["OMP_NUM_THREADS"]) >= 1


@pytest.mark.parametrize("script", ["train.py", "test.py", "predict.py"])
def test_help_and_mistyped_flags_are_answered_without_paddle(script):
    words = [sys.executable, "-X", "importtime", str(ROOT / script)]
    for flag, status in (("--help", 0), ("--no_such_flag", 2)):
        done = subprocess.run([*words, flag], capture_output=True, text=True)
        assert done.returncode == status and " paddle" not in done.stderr and " numpy" not in done.stderr
    assert "unknown flag '--no_such_flag'" in done.stderr


COUNT_FAULTS = """
import resource, sys
sys.path.insert(0, sys.argv[1])
from common import command_line
if sys.argv[2] == "kept":
    command_line.keep_memory()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    one, other = bytearray(10**7), bytearray(10**7)
    del one, other
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told to keep memory")
def test_freed_memory_is_kept():
    given_back, kept = (
        int(subprocess.run([sys.executable, "-c", COUNT_FAULTS, ROOT, word], capture_output=True, check=True).stdout)
        for word in ("given back", "kept")
    )
    # 20 MB are 4883 pages of 4 KiB: touched anew 20 times, or once.
    assert kept < 8000 and given_back > 3 * kept


def test_sigterm_ends_like_ctrl_c_with_one_sentence():
    program = (
        f"import sys, time; sys.path.insert(0, {str(ROOT)!r})\n"
        "from common import command_line\n"
        "def main():\n"
        "    print('begun', flush=True)\n"
        "    time.sleep(60)\n"
        "command_line.run_main(main)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "begun\n"
    process.terminate()
    told = process.communicate(timeout=60)[1]
    assert told == "ended by SIGTERM; run the same command again to go on, train.py with --resume auto\n"
    assert process.returncode == 1
