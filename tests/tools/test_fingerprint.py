"""tools/fingerprint.py: what its hashes depend on, what it runs, and the lines that it writes."""

import hashlib
import re

import numpy as np
import pytest

from common import files
from tools import fingerprint


def make_state():
    """Make the parts of a checkpoint that are hashed."""
    return {
        "model": {"fc.weight": np.arange(6, dtype=np.float32).reshape(2, 3), "fc.bias": np.zeros(3, np.float32)},
        "optimizer": {"fc.weight": {"velocity": np.ones((2, 3), np.float32)}},
    }


def hash_state(state):
    return fingerprint.hash_arrays(fingerprint.list_arrays(state))


def test_hash_is_of_names_and_bytes_in_the_order_of_names():
    arrays = {"b": np.array([1.0], np.float32), "a": np.array([2], np.int64)}
    expected = hashlib.sha256(b"a" + arrays["a"].tobytes() + b"b" + arrays["b"].tobytes()).hexdigest()[:16]
    assert fingerprint.hash_arrays(arrays) == expected
    assert fingerprint.hash_arrays(dict(reversed(arrays.items()))) == expected


@pytest.mark.parametrize("place", [("model", "fc.bias"), ("optimizer", "fc.weight", "velocity")])
def test_one_bit_changes_the_hash(place):
    state = make_state()
    before = hash_state(state)
    assert before == hash_state(make_state()) and re.fullmatch("[0-9a-f]{16}", before)
    array = state
    for key in place:
        array = array[key]
    array.view(np.uint32).flat[-1] ^= 1  # the lowest bit of the last number
    assert hash_state(state) != before


def test_another_name_changes_the_hash():
    state = make_state()
    state["model"]["fc.offset"] = state["model"].pop("fc.bias")
    assert hash_state(state) != hash_state(make_state())


@pytest.fixture
def calls(tmp_path, monkeypatch):
    """Replace the scripts by a stand-in that writes a checkpoint and scores; return the list of the calls."""
    made = []

    def run_script(script, *argv, environment, cwd, log_file):
        assert environment == {"OMP_NUM_THREADS": "1"} and cwd == tmp_path
        made.append((script, *map(str, argv)))
        log_file.write_text("")
        if script == "train.py":
            folder = tmp_path / argv[argv.index("--save_dir") + 1]
            folder.mkdir()
            files.dump_pickle(make_state(), folder / "net_model.pdparams")
        elif script == "test.py":
            (tmp_path / argv[1]).with_name("net_model_test_scores.pkl").write_bytes(b"scores")

    monkeypatch.setattr(fingerprint, "ROOT", tmp_path)
    monkeypatch.setattr(fingerprint, "run_script", run_script)
    return made


def test_each_run_is_trained_and_scored_and_gives_two_lines(calls, tmp_path, capsys):
    out = tmp_path / "out.txt"
    fingerprint.main(["--out", str(out), "--only", "pcan", "rgbposeconv3d"])
    hashes = hash_state(make_state()), hashlib.sha256(b"scores").hexdigest()[:16]
    expected = "".join(f"{name} weights {hashes[0]}\n{name} scores {hashes[1]}\n" for name in ("rgbposeconv3d", "pcan"))
    assert capsys.readouterr().out == out.read_text(encoding="utf-8") == expected
    assert [call[0] for call in calls[:4]] == [
        "tools/make_samples.py", "avi2jpg.py", "jpg2pkl.py", "data_list_gener.py"
    ]  # fmt: skip
    folder = "output/fingerprint"
    train = ("train.py", "configs/pcan_samples.txt", "--root", "data/samples", "--save_dir", f"{folder}/pcan")
    assert calls[-2] == (*train, "--epoch", "2", "--pretrain", f"{folder}/rgbposeconv3d/rgbposeconv3d_model")
    assert calls[-1] == ("test.py", "--weights", f"{folder}/pcan/net_model.pdparams", "--use_gpu", "False")


def test_sample_data_and_earlier_runs(calls, tmp_path):
    (tmp_path / "data/samples").mkdir(parents=True)
    (tmp_path / "data/samples/train.list").write_text("")
    for _ in range(2):  # the second time the folders are there
        fingerprint.main(["--out", str(tmp_path / "out.txt"), "--only", "tsm"])
    assert [call[0] for call in calls] == ["train.py", "test.py"] * 2


def test_every_run_is_of_a_config_of_the_project():
    configs = {path.stem for path in (fingerprint.ROOT / "configs").glob("*_samples.txt")}
    assert {run.config for run in fingerprint.RUNS.values()} == {*configs, "quickstart"}


def test_a_run_whose_first_weights_are_not_trained_is_refused(capsys):
    with pytest.raises(SystemExit):
        fingerprint.parse_arguments(["--only", "pcan"])
    assert "starts from the weights of rgbposeconv3d; name that run too" in capsys.readouterr().err
