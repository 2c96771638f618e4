"""Two processes on one output, and what killed ones leave: one mechanism for every script that writes."""

import errno
import fcntl
import os
import subprocess
import sys

import pytest
from paths import ROOT

import avi2jpg
import data_list_gener
import jpg2pkl
import predict
import skeleton2pkl
import train_streams
from common import files
from common.file_lock import FileLock
from tools import export, find_poses, make_samples, shrink_videos

SAMPLES = ["--classes", "2", "--groups", "2", "--clips", "1", "--frames", "8", "--width", "48", "--height", "48"]


def run_make_samples(*words):
    sys.argv = ["make_samples.py", *words]
    return make_samples.main()


def run_export(folder):
    with export.write_folder(folder) as temporary:
        open(f"{temporary}/inference.yaml", "w").close()


# What each script is called with, in the folder of the sample data, and the folder or file that is its own.
SCRIPTS = {
    "make_samples.py": (lambda: run_make_samples("--root", ".", *SAMPLES), "."),
    "avi2jpg.py": (lambda: avi2jpg.main(["--root", ".", "--workers", "1"]), "./UCF-101_jpg"),
    "jpg2pkl.py": (lambda: jpg2pkl.main(["--root", ".", "--workers", "1"]), "./train"),
    "data_list_gener.py": (lambda: data_list_gener.main(["--root", ".", "--workers", "1"]), "."),
    "skeleton2pkl.py": (lambda: skeleton2pkl.main(["ntu", "nturgb+d_skeletons", "--out", "o/own.pkl"]), "o/own.pkl"),
    "shrink_videos.py": (lambda: shrink_videos.main(["UCF-101", "--out", "small", "--width", "32"]), "small"),
    "find_poses.py": (lambda: find_poses.main(["--videos", "UCF-101", "--out", "poses", "--workers", "1"]), "poses"),
    "train_streams.py": (
        lambda: train_streams.main([str(ROOT / "configs/ctrgcn_nw_ucla.yaml"), "--save_dir", "streams"]),
        "streams",
    ),
    "export.py": (lambda: run_export("exported"), "exported"),
}


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    """Sample data with its frames, records and lists."""
    root, argv = tmp_path_factory.mktemp("samples"), sys.argv
    run_make_samples("--root", str(root), *SAMPLES)
    sys.argv = argv
    for script in (avi2jpg, jpg2pkl, data_list_gener):
        script.main(["--root", str(root), "--workers", "1"])
    return root


@pytest.fixture
def in_samples(samples, monkeypatch):
    monkeypatch.chdir(samples)
    monkeypatch.setattr(sys, "argv", sys.argv)
    monkeypatch.setattr(find_poses, "load_estimator", lambda: None)
    monkeypatch.setattr(find_poses, "find_quietly", count_no_poses)
    monkeypatch.setattr(train_streams, "run", lambda *words: 0)
    monkeypatch.setattr(train_streams, "fuse", lambda *words: None)
    return samples


def count_no_poses(job):
    return 0, 1


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_second_process_is_refused_and_told_who_writes(in_samples, monkeypatch, script):
    def refuse(lock, wait):
        raise BlockingIOError("process 77 on elsewhere")

    call, output = SCRIPTS[script]
    before = sorted(in_samples.rglob("*"))
    monkeypatch.setattr(FileLock, "acquire", refuse)
    with pytest.raises(ValueError, match="is being written by process 77 on elsewhere; wait for it, or choose anoth"):
        call()
    new = {path.name for path in sorted(in_samples.rglob("*")) if path not in before}
    assert new <= {os.path.basename(os.path.dirname(output)), os.path.basename(output)}  # the empty folder alone


@pytest.mark.parametrize("script", SCRIPTS)
def test_the_next_start_leaves_nothing_unfinished_and_no_lock(in_samples, script):
    call, output = SCRIPTS[script]
    process = subprocess.Popen(["true"])
    process.wait()
    folder = os.path.dirname(output) if script in ("skeleton2pkl.py", "export.py") else output
    os.makedirs(folder or ".", exist_ok=True)
    left = [os.path.join(folder, f"{files.UNFINISHED}{process.pid}-{name}") for name in ("0a.pkl", "0b")]
    with open(left[0], "w") as file:
        file.write("half")
    os.mkdir(left[1])
    others = os.path.join(folder, f"{files.UNFINISHED}{os.getppid()}-0c")  # of a process that lives
    is_shared = script in ("make_samples.py", "data_list_gener.py", "skeleton2pkl.py", "train_streams.py", "export.py")
    if is_shared:
        open(others, "w").close()
    assert call() in (0, None)
    found = [os.path.join(folder, name) for name in os.listdir(folder or ".") if name.startswith(".")]
    assert [os.path.basename(path) for path in found] == [os.path.basename(others)] * is_shared
    if is_shared:
        os.remove(others)


@pytest.mark.parametrize("has_locks", [True, False], ids=["locks", "no locks"])
def test_two_avi2jpg_at_once_call_nothing_good_failed(samples, tmp_path, has_locks):
    """Without locks, as on some network file systems, both go on: each video is extracted by one of them or both."""
    without = "import errno, fcntl\ndef refuse(*_):\n    raise OSError(errno.ENOLCK, 'No locks available')\n"
    prepare = f"{'' if has_locks else without + 'fcntl.lockf = refuse'}\nimport sys, avi2jpg\n"
    words = ["--root", str(samples), "--frames", str(tmp_path / "jpg"), "--workers", "2"]
    command = [sys.executable, "-c", f"{prepare}from common.command_line import run_main\nrun_main(avi2jpg.main)"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "cwd": ROOT}
    processes = [subprocess.Popen([*command, *words], **pipes) for _ in range(2)]
    printed = [" ".join(process.communicate()) for process in processes]
    assert "FAILED" not in "".join(printed) and not (tmp_path / "jpg/failed.csv").exists(), printed
    if has_locks:
        assert 0 in [process.returncode for process in processes]
        assert all("is being written by " in text or "4 videos in" in text for text in printed)
    else:
        assert [process.returncode for process in processes] == [0, 0], printed
        assert all("cannot be locked (No locks available); start no second run" in text for text in printed)
    assert len(list((tmp_path / "jpg").glob("*/v_*/00008.jpg"))) == 4
    assert not list((tmp_path / "jpg").glob(".*"))


def test_what_a_process_of_another_machine_is_writing_is_no_leftover(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "has_ended", lambda number: True)  # its number means nothing here
    script = "import sys; from common.files import write_atomically\n"
    script += "with write_atomically(sys.argv[1]) as file:\n    print(flush=True); sys.stdin.read()"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "cwd": ROOT}
    process = subprocess.Popen([sys.executable, "-c", script, tmp_path / "far.pkl"], **pipes)
    process.stdout.readline()
    files.dump_pickle(1, tmp_path / "near.pkl")
    process.communicate()
    assert process.returncode == 0 and sorted(os.listdir(tmp_path)) == ["far.pkl", "near.pkl"]


def test_a_write_clears_what_a_killed_process_left_in_its_folder(tmp_path):
    """Of scripts whose output is one file, or several in a folder that is not theirs, such as predict.py's."""
    process = subprocess.Popen(["true"])
    process.wait()
    for name in ("0a", "0b.webm"):
        (tmp_path / f"{files.UNFINISHED}{process.pid}-{name}").write_bytes(b"half")
    (tmp_path / ".unfinished-notes").write_text("of somebody else")
    source, prediction = type("Source", (), {"origin": {}}), predict.drawing.Prediction("a", 1, 1.0, [], [], {})
    predict.write_json(source, str(tmp_path / "a"), prediction, "w")
    assert sorted(os.listdir(tmp_path)) == [".unfinished-notes", "a.json"]


def test_a_lock_that_cannot_be_had_leaves_no_file(tmp_path, monkeypatch):
    def refuse(file, how):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "lockf", refuse)
    assert FileLock(str(tmp_path / ".lock")).acquire() == "No locks available" and os.listdir(tmp_path) == []


def test_another_process_without_a_lock_may_remove_its_file_first(tmp_path, monkeypatch):
    def refuse(*_):
        os.remove(tmp_path / ".lock")
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "lockf", refuse)
    assert FileLock(str(tmp_path / ".lock")).acquire() == "No locks available"


def test_who_waits_for_a_lock_gets_it_when_its_holder_ends(tmp_path):
    script = "import sys; from common.file_lock import FileLock\n"
    script += "lock = FileLock(sys.argv[1]); lock.acquire(); print(flush=True); sys.stdin.read()"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "cwd": ROOT}
    holder = subprocess.Popen([sys.executable, "-c", script, tmp_path / "lock"], **pipes)
    holder.stdout.readline()
    lock = FileLock(str(tmp_path / "lock"))
    with pytest.raises(BlockingIOError, match=f"process {holder.pid} on "):
        lock.acquire()
    waiting = f"import sys; from common.file_lock import FileLock\nFileLock({str(tmp_path / 'lock')!r}).acquire(True)"
    waiter = subprocess.Popen([sys.executable, "-c", waiting], cwd=ROOT)
    with pytest.raises(subprocess.TimeoutExpired):
        waiter.wait(0.3)
    holder.kill()
    holder.communicate()
    assert waiter.wait(10) == 0
