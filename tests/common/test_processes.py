"""Jobs over real processes, with failures, crashes and kills."""

import csv
import errno
import faulthandler
import functools
import gc
import os
import signal
import subprocess
import sys
import time

import pytest
from forked_garbage import DiesElsewhere
from paths import ROOT

from common import processes
from common.processes import count_cores, run_jobs, write_failures


def double(number):
    return 2 * number


def misbehave(kind):
    """Fail in the way that `kind` names; anything else is returned."""
    if kind == "value":
        raise ValueError("a sentence")
    if kind == "other":
        raise KeyError("x")
    if kind == "crash":
        faulthandler.disable()  # pytest's, which would print a traceback
        os.kill(os.getpid(), signal.SIGSEGV)
    if kind == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if kind == "exit":
        os._exit(7)
    if kind == "full":
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    return kind


def ignores_interrupts(_):
    return signal.getsignal(signal.SIGINT) == signal.SIG_IGN


def tell_process(_):
    time.sleep(0.05)
    return os.getpid()


def collect_garbage(value):
    gc.collect()
    return value


def test_workers_do_not_free_what_their_parent_has_left():
    """Paddle's interpreters abort in a process that does not have their threads."""
    DiesElsewhere()
    assert run_jobs(collect_garbage, {"a": 1, "b": 2}, 2, "collecting").done == {"a": 1, "b": 2}
    assert gc.get_freeze_count() == 0


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_every_item_is_done_once(workers):
    outcomes = run_jobs(double, {str(number): number for number in range(40)}, workers, "doubling")
    assert outcomes.done == {str(number): 2 * number for number in range(40)} and outcomes.failed == {}


def test_no_items():
    assert run_jobs(double, {}, 2, "nothing").done == {}


def test_workers_are_other_processes_and_as_many_as_asked():
    outcomes = run_jobs(tell_process, {str(number): number for number in range(12)}, 3, "asking")
    assert len(set(outcomes.done.values())) == 3 and os.getpid() not in outcomes.done.values()


@pytest.mark.parametrize("workers", [1, 2])
def test_failures_and_crashes_stop_nothing_and_keep_their_reason(workers):
    kinds = ["a", "value", "crash", "b", "other", "exit", "killed", "crash ", "c"]
    outcomes = run_jobs(misbehave, {kind: kind for kind in kinds}, workers, "failing")
    assert sorted(outcomes.done) == ["a", "b", "c", "crash "]
    assert outcomes.failed == {
        "value": "a sentence",
        "other": "KeyError: 'x'",
        "crash": "the process crashed on it (exit code -11)",
        "exit": "the process crashed on it (exit code 7)",
        "killed": "the process was killed while working on it (out of memory? try fewer --workers)",
    }


def test_ctrl_c_is_left_to_the_parent():
    assert run_jobs(ignores_interrupts, {"a": 1}, 1, "asking").done == {"a": True}


def test_full_disk_stops_at_once():
    items = {"full": "full", **{str(number): number for number in range(1000)}}
    with pytest.raises(OSError, match="stopped at full: .*No space left on device"):
        run_jobs(misbehave, items, 1, "filling")


def test_failures_csv_is_written_and_a_stale_one_removed(tmp_path):
    path = tmp_path / "failed.csv"
    write_failures({"b, x": 'reason "one"', "a 跳": "two"}, path)
    with open(path, encoding="utf-8", newline="") as file:
        assert list(csv.reader(file)) == [["item", "reason"], ["a 跳", "two"], ["b, x", 'reason "one"']]
    write_failures({}, path)
    write_failures({}, path)
    assert not path.exists()


def test_plain_progress_has_rate_and_time_left(capsys, monkeypatch):
    monkeypatch.setattr(processes, "PLAIN_INTERVAL_S", -1)
    run_jobs(double, {str(number): number for number in range(4)}, 1, "doubling", unit="record")
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4
    assert lines[0].startswith("doubling: 1/4, ") and lines[0].endswith(" s left") and " records/s, " in lines[0]
    assert lines[3].endswith(", 0 s left")


def test_progress_counts_what_the_items_hold(capsys, monkeypatch):
    monkeypatch.setattr(processes, "PLAIN_INTERVAL_S", -1)
    run_jobs(double, {"a": 1, "b": 2}, 1, "reading", unit="sample", sizes={"a": 30, "b": 12})
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("reading: 30/42, ") and " samples/s, " in lines[0]
    assert lines[1].startswith("reading: 42/42, ") and lines[1].endswith(", 0 s left")


def test_terminal_gets_a_bar(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    run_jobs(double, {"a": 1, "b": 2}, 1, "doubling")
    printed = capsys.readouterr()
    assert "doubling: 100%" in printed.err and "video/s" in printed.err and printed.out == ""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_workers_end_with_their_parent(tmp_path, number):
    script = tmp_path / "parent.py"
    script.write_text(
        "import os, sys, time\n"
        "from common.processes import run_jobs\n"
        "def sleep(name):\n"
        "    open(os.path.join(sys.argv[1], name + '.' + str(os.getpid())), 'w').close()\n"
        "    time.sleep(60)\n"
        "if __name__ == '__main__':\n"
        "    run_jobs(sleep, {'a': 'a', 'b': 'b'}, 2, 'sleeping')\n"
    )
    marks = tmp_path / "marks"
    marks.mkdir()
    environment = {**os.environ, "PYTHONPATH": ROOT}
    command = [sys.executable, script, marks]
    process = subprocess.Popen(
        command,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(
            signal.SIGINT, signal.default_int_handler
        ),  # a job in the background ignores it
    )
    wait_until(lambda: len(os.listdir(marks)) == 2)
    if number == signal.SIGINT:
        os.killpg(process.pid, number)  # as a terminal does: the workers get it too, and must keep silent
    else:
        process.send_signal(number)
    told = process.communicate(timeout=10)[1]
    assert told.count("KeyboardInterrupt") == (number == signal.SIGINT)
    for name in os.listdir(marks):
        process_id = int(name.partition(".")[2])
        wait_until(functools.partial(has_ended, process_id))


def wait_until(condition, timeout_s=20):
    end_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end_s, "waited in vain"
        time.sleep(0.02)


def has_ended(process_id):
    try:
        with open(f"/proc/{process_id}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def test_cores_are_those_this_process_may_use():
    assert 1 <= count_cores() <= os.cpu_count()
