"""Atomic writes and restricted unpickling, against real faults: full disk, wrong places, cut-off, hostile pickles."""

import builtins
import errno
import os
import pickle
import signal
import subprocess
import sys
from collections import OrderedDict

import numpy as np
import pytest
from paths import ROOT

from common.files import (
    dump_pickle,
    load_pickle,
    make_folder,
    write_atomically,
)
from common.pickles import RefusedPickleError

PLAIN = {
    "text": "jeté 跳",
    "bytes": b"\xff\xd8\x00",
    "numbers": [1, 2**70, -1.5, 2j, True, None],
    "nested": {"a": ({1, 2}, frozenset([3]), bytearray(b"x"), slice(1, 2))},
    "ordered": OrderedDict([("b", 1), ("a", 2)]),
    "floats": np.arange(6, dtype=np.float32).reshape(2, 3),
    "fortran": np.asfortranarray(np.arange(6).reshape(2, 3)),
    "words": np.array(["a", "bc"]),
    "scalar": np.int64(7),
    "dtype": np.dtype("f4"),
}


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_plain_data_survives_every_protocol(tmp_path, protocol):
    (tmp_path / "plain.pkl").write_bytes(pickle.dumps(PLAIN, protocol=protocol))
    loaded = load_pickle(tmp_path / "plain.pkl")
    assert list(loaded) == list(PLAIN)
    for key, value in PLAIN.items():
        assert np.array_equal(loaded[key], value) and type(loaded[key]) is type(value), key


@pytest.mark.parametrize("core", ["numpy.core", "numpy._core"])
def test_arrays_of_numpy_1_and_2_are_read(tmp_path, core):
    text = pickle.dumps(np.arange(3), protocol=2)
    renamed = text.replace(b"numpy._core.", b"numpy.core.").replace(b"numpy.core.", core.encode() + b".")
    (tmp_path / "array.pkl").write_bytes(renamed)
    assert load_pickle(tmp_path / "array.pkl").tolist() == [0, 1, 2]


def test_python_2_pickle_is_read(tmp_path):
    # what Python 2 wrote for {'name': 'v_1', 'x': np.zeros(1, 'f4')}, text and array bytes as its str type
    text = (
        b"(dp0\nS'name'\np1\nS'v_1'\np2\nsS'x'\np3\ncnumpy.core.multiarray\n_reconstruct\np4\n(cnumpy\nndarray\np5\n"
        b"(I0\ntp6\nS'b'\np7\ntp8\nRp9\n(I1\n(I1\ntp10\ncnumpy\ndtype\np11\n(S'f4'\np12\nI0\nI1\ntp13\nRp14\n(I3\nS'<'\n"
        b"p15\nNNNI-1\nI-1\nI0\ntp16\nbI00\nS'\\x00\\x00\\x80\\xbf'\np17\ntp18\nbs."
    )
    (tmp_path / "two.pkl").write_bytes(text)
    loaded = load_pickle(tmp_path / "two.pkl")
    assert loaded["name"] == "v_1" and loaded["x"].tolist() == [-1.0]


class _Hostile:
    def __init__(self, function, *words):
        self.call = function, words

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize(
    ("function", "name"),
    [(os.system, "posix.system"), (builtins.eval, "eval"), (builtins.getattr, "getattr"), (subprocess.Popen, "Popen")],
)
def test_hostile_pickle_is_refused_and_not_run(tmp_path, function, name, protocol):
    mark = tmp_path / "it_ran"
    words = {"eval": f"open({str(mark)!r}, 'w')", "getattr": str, "Popen": ["touch", str(mark)]}
    hostile = {"video": "v", "frames": [_Hostile(function, words.get(name, f"touch {mark}"))]}
    if name == "getattr":
        hostile = _Hostile(builtins.getattr, str, "format")
    (tmp_path / "hostile.pkl").write_bytes(pickle.dumps(hostile, protocol=protocol))
    with pytest.raises(RefusedPickleError, match=rf"hostile.pkl' asks for '\S*{name}'.*refused, nothing in it was run"):
        load_pickle(tmp_path / "hostile.pkl")
    assert not mark.exists()


def test_dotted_names_do_not_climb_out_of_an_allowed_type(tmp_path):
    # protocol 4 resolves 'a.b' by attribute access unless each name is looked up whole
    text = b"\x80\x04\x8c\x08builtins\x8c\x0cstr.__base__\x93."
    (tmp_path / "dotted.pkl").write_bytes(text)
    with pytest.raises(RefusedPickleError, match="'builtins.str.__base__'"):
        load_pickle(tmp_path / "dotted.pkl")


def test_codecs_other_than_latin1_are_refused(tmp_path):
    (tmp_path / "codec.pkl").write_bytes(
        pickle.dumps(_Hostile(__import__("_codecs").encode, "abc", "rot13"), protocol=0)
    )
    with pytest.raises(ValueError, match="encoding 'rot13', expected latin1"):
        load_pickle(tmp_path / "codec.pkl")


@pytest.mark.parametrize("size", [0, 1, 20, -1])
def test_cut_off_pickle_names_file_and_size(tmp_path, size):
    whole = pickle.dumps(PLAIN, protocol=4)
    (tmp_path / "cut.pkl").write_bytes(whole[:size])
    num_bytes = len(whole[:size])
    with pytest.raises(
        ValueError, match=rf"cut.pkl' \({num_bytes} bytes\) is no whole pickle .*make it or download it"
    ):
        load_pickle(tmp_path / "cut.pkl")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # a damaged dtype name may be an old alias
def test_random_bytes_never_raise_anything_but_value_error(tmp_path):
    rng, whole = np.random.default_rng(0), pickle.dumps(PLAIN, protocol=4)
    for _ in range(300):
        damaged = bytearray(whole)
        for place in rng.integers(len(whole), size=3):
            damaged[place] = rng.integers(256)
        (tmp_path / "damaged.pkl").write_bytes(damaged)
        try:
            load_pickle(tmp_path / "damaged.pkl")
        except ValueError as error:
            assert "damaged.pkl" in str(error)


def test_lfs_pointer_is_named(tmp_path):
    (tmp_path / "w.pkl").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    with pytest.raises(ValueError, match="Git LFS pointer of .* bytes, not the data; run git lfs pull"):
        load_pickle(tmp_path / "w.pkl")


def test_missing_pickle_and_folder(tmp_path):
    for path in (tmp_path / "none.pkl", tmp_path):
        with pytest.raises(FileNotFoundError, match="does not exist or is no file"):
            load_pickle(path)


def test_write_makes_folders_and_replaces_whole(tmp_path):
    path = tmp_path / "a b" / "é" / "x.pkl"
    dump_pickle([1], path)
    dump_pickle([2], path)
    assert load_pickle(path) == [2] and os.listdir(path.parent) == ["x.pkl"]


def test_who_has_the_old_file_open_goes_on_reading_it_whole(tmp_path):
    dump_pickle(["old"] * 100, tmp_path / "x.pkl")
    with open(tmp_path / "x.pkl", "rb") as old:
        dump_pickle("new", tmp_path / "x.pkl")
        assert pickle.load(old) == ["old"] * 100


def test_text_is_utf8_with_unix_line_ends(tmp_path):
    with write_atomically(tmp_path / "x.txt", "w") as file:
        file.write("é\n")
    assert (tmp_path / "x.txt").read_bytes() == "é\n".encode()


def test_link_stays_a_link(tmp_path):
    (tmp_path / "real.pkl").write_bytes(b"")
    (tmp_path / "link.pkl").symlink_to(tmp_path / "real.pkl")
    dump_pickle(1, tmp_path / "link.pkl")
    assert (tmp_path / "link.pkl").is_symlink() and load_pickle(tmp_path / "real.pkl") == 1


@pytest.mark.parametrize(
    "fault", [OSError(errno.ENOSPC, "No space left on device"), RuntimeError("any"), KeyboardInterrupt()]
)
def test_failed_write_leaves_the_old_file_and_no_other(tmp_path, fault):
    dump_pickle("old", tmp_path / "x.pkl")
    with pytest.raises(type(fault)), write_atomically(tmp_path / "x.pkl") as file:
        file.write(b"half")
        raise fault
    assert os.listdir(tmp_path) == ["x.pkl"] and load_pickle(tmp_path / "x.pkl") == "old"


def test_full_disk_says_what_to_do(tmp_path, monkeypatch):
    def fail(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match=r"x.pkl' could not be written \(No space left.*free some disk space") as caught:
        dump_pickle(1, tmp_path / "x.pkl")
    assert caught.value.errno == errno.ENOSPC and os.listdir(tmp_path) == []


def test_read_only_folder_says_what_to_do(tmp_path, monkeypatch):
    def refuse(path, *words, **options):  # chmod does not stop ROOT, so the system call itself is replaced
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)

    monkeypatch.setattr("common.files.open", refuse, raising=False)
    with pytest.raises(PermissionError, match="x.pkl' could not be written .*you may not write there, choose another"):
        dump_pickle(1, tmp_path / "x.pkl")


def test_file_in_place_of_the_folder_and_folder_in_place_of_the_file(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="a file stands where a folder is needed"):
        dump_pickle(1, tmp_path / "file" / "x.pkl")
    with pytest.raises(OSError, match="a file stands where a folder is needed"):
        make_folder(tmp_path / "file")
    with pytest.raises(OSError, match="a folder stands where the file is needed"):
        dump_pickle(1, tmp_path)


def test_devices_are_never_replaced():
    with pytest.raises(OSError, match="'/dev/full' could not be written .*no regular file"):
        dump_pickle(1, "/dev/full")
    assert not os.path.isfile("/dev/full")


def test_an_error_of_the_callers_own_keeps_its_text(tmp_path):
    with pytest.raises(FileNotFoundError, match="no_such_source"), write_atomically(tmp_path / "x"):
        open(tmp_path / "no_such_source")


def test_killed_while_writing_leaves_the_old_file(tmp_path):
    dump_pickle("old", tmp_path / "x.pkl")
    script = (
        "import sys, time; from common.files import write_atomically\n"
        "with write_atomically(sys.argv[1]) as file:\n"
        "    file.write(b'half'); file.flush(); print('writing', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", script, tmp_path / "x.pkl"], cwd=ROOT, stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"writing\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert load_pickle(tmp_path / "x.pkl") == "old"
