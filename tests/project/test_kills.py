"""Training runs that are killed at random moments, again and again, and go on to the same bits.

    KILLS=200 python -m pytest tests/project/test_kills.py -m long

kills 200 runs; a failure names the seed of its moments, which KILLS_SEED repeats.
"""

import collections
import contextlib
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from paths import ROOT
from small_dataset import make_tree, write_config

from common import curves
from common.lifetime import has_ended
from engine import checkpoint, logger
from engine.charts import tags

SEED = int(os.environ.get("KILLS_SEED", 0))
CASES = {
    "dynamic": [],
    "onednn": ["RUN.cpu_backend=onednn"],
    "average": ["RUN.ema_decay=0.9", "RUN.save_interval=1", "RUN.max_keep=2"],
    "mixup": ["RUN.mixup_alpha=0.4", "RUN.cutmix_alpha=1.0"],
    "accumulate": ["RUN.accumulate=2", "TRAIN.batch_size=2", "OPTIMIZER.name=adamw", "OPTIMIZER.learning_rate=0.01"],
    "plateau": ["OPTIMIZER.schedule=plateau", "OPTIMIZER.plateau_patience=0", "RUN.save_scores=True"],
}
# Forks a process for each line of its input, in which it trains; prints its number, then its status.
STARTER = f"""
import json, os, signal, sys
sys.path[:0] = [{str(ROOT)!r}]
from common import command_line
command_line.start_paddle()
import train
for line in sys.stdin:
    child = os.fork()
    if child == 0:
        os.setsid()
        nowhere = os.open(os.devnull, os.O_RDWR)
        os.dup2(nowhere, 0)
        os.dup2(nowhere, 1)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        command_line.run_main(lambda: train.main(json.loads(line)))
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class Runs:
    """Runs of train.py in processes that are forked from one, so that Paddle is imported once."""

    def __init__(self, folder):
        make_tree(folder / "data")
        write_config(folder / "c.txt")
        command = [sys.executable, "-c", STARTER]
        self.folder, self.errors = folder, open(folder / "errors", "wb")
        self.starter = subprocess.Popen(
            command, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, text=True
        )

    def start(self, save_dir, *words):
        """Start a run and return its process's number."""
        words = ["c.txt", "--root", "data", "--save_dir", save_dir, "--resume", "auto", *words]
        words += ["-o", "READER.num_workers=2", "-o", "RUN.log_file=/dev/null"]
        self.starter.stdin.write(json.dumps(words) + "\n")
        self.starter.stdin.flush()
        return int(self.starter.stdout.readline())

    def wait(self):
        """Wait for the end of the run and return its status."""
        return int(self.starter.stdout.readline())

    def close(self):
        self.starter.stdin.close()
        self.starter.wait()
        self.errors.close()


@pytest.fixture
def runs(tmp_path):
    runs = Runs(tmp_path)
    yield runs
    runs.close()


def list_session(leader):
    """Return the processes of a session: a run and its reader processes."""
    found = []
    for name in filter(str.isdecimal, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/stat") as file:
                if int(file.read().rpartition(")")[2].split()[3]) == leader:
                    found.append(int(name))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def kill(runs, words, rng, longest_s):
    """Start a run and kill it at a random moment, alone or with its reader processes.

    Returns:
        The signal (None: the run came to its end before), and the processes of the run.
    """
    leader = runs.start("killed", *words)
    time.sleep(rng.uniform(0, longest_s))
    members = list_session(leader)
    number = rng.choice([signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
    for process_id in members if rng.random() < 0.3 else [leader]:
        with contextlib.suppress(ProcessLookupError):  # a reader process that has ended since
            os.kill(process_id, number)
    status = runs.wait()
    assert status in (0, 1, -number), status  # as itself a signal ends what has not come to handle it yet
    end_s = time.monotonic() + 10
    while not all(map(has_ended, members)):
        assert time.monotonic() < end_s, "reader processes are left"
        time.sleep(0.01)
    return (None if status == 0 else number), members


def check_the_same(folder, members):
    """Hold the run that was killed against the one that was not, and look for what may be left."""
    whole, killed = (checkpoint.load_checkpoint(folder / name / "resnet_model") for name in ("whole", "killed"))
    for part in ("model", "ema"):
        for name, value in whole.get(part, {}).items():
            np.testing.assert_array_equal(value, killed[part][name], err_msg=name)
    for name, slots in whole["optimizer"].items():
        for slot, value in slots.items():
            np.testing.assert_array_equal(value, killed["optimizer"][name][slot], err_msg=f"{name} {slot}")
    rows = [drop_times(row) for row in whole["history"]]
    assert rows == [drop_times(row) for row in killed["history"]]
    assert whole["plateau"] == killed["plateau"] and whole["best"] == killed["best"]
    records = {name: read_records(folder / name) for name in ("whole", "killed")}
    assert [drop_times(row) for row in records["whole"]] == [drop_times(row) for row in records["killed"]]
    check_curves(folder / "killed", records["killed"])
    left = sorted(path.name for path in (folder / "killed").iterdir())
    assert left == sorted(path.name for path in (folder / "whole").iterdir())  # no lock, nothing unfinished
    shared = [name for name in os.listdir("/dev/shm") if name.startswith("paddle_")]
    assert not [name for name in shared if int(name.split("_")[1]) in members]


def drop_times(row):
    return {tag: value for tag, value in row.items() if not tag.startswith(("time/", "memory"))}


def read_records(folder):
    return [json.loads(line) for line in (folder / "resnet_log.jsonl").read_text().splitlines()]


def check_curves(folder, rows):
    """Each number of the records stands once in the curves, and nothing else."""
    drawn, expected = collections.Counter(), collections.Counter()
    for place in (tags.RUN_DIR, tags.TRAIN_DIR):
        points = curves._read_records(folder / "vdl" / place / logger.VDL_FILE)
        drawn.update((place, *point[2:]) for point in points if point[1] == "value")
    for row in rows:
        for tag in row.keys() - {"step", "epoch"}:
            if chart := tags.find_chart(tag):
                expected[(*chart, row["step" if tag.startswith(tags.STEP_TAGS) else "epoch"])] += 1
    assert drawn == expected


def kill_again_and_again(runs, case, num_kills):
    """Kill runs of a case; each that comes to its end is checked, and another one begins."""
    words = [word for override in CASES[case] for word in ("-o", override)]
    runs.start("whole", *words)
    start_s = time.monotonic()
    assert runs.wait() == 0
    longest_s, rng = 0.8 * (time.monotonic() - start_s), np.random.default_rng(SEED)
    killed, members = collections.Counter(), set()
    while killed.total() < num_kills:
        number, more = kill(runs, words, rng, longest_s)
        members.update(more)
        if number is None:
            check_the_same(runs.folder, members)
            for path in (runs.folder / "killed").rglob("*.*"):
                path.unlink()
        else:
            killed[number] += 1
    runs.start("killed", *words)
    assert runs.wait() == 0, (runs.folder / "errors").read_text()[-500:]
    check_the_same(runs.folder, members)
    print(f"{case}: killed by {dict(killed)}")


def test_a_run_killed_at_random_moments_ends_with_the_same_bits(runs):
    kill_again_and_again(runs, "average", 2)


@pytest.mark.long
@pytest.mark.parametrize("case", CASES)
def test_every_kind_of_run_killed_at_random_moments_ends_with_the_same_bits(runs, case):
    kill_again_and_again(runs, case, -(-int(os.environ.get("KILLS", 12)) // len(CASES)))
