"""The checksum behind our pickles: any changed bit is seen, others' readers see nothing of it, older files load."""

import pickle

import numpy as np
import paddle
import pytest

import ensemble
from common.checksums import NUM_BYTES
from common.files import dump_pickle, load_pickle
from dataset import records
from engine import checkpoint, report
from inference import score_files
from reader import skeleton_pkl

WEIGHTS = {"fc.weight": np.linspace(-1, 1, 600, dtype=np.float32).reshape(20, 30)}
STATE = {"model": WEIGHTS, "epoch": 3, "history": [], "class_names": ["a", "b"]}
CHANGED = "has changed since it was written"


def flip(path, position, bit):
    data = bytearray(path.read_bytes())
    data[position] ^= 1 << bit
    path.write_bytes(data)


def test_any_changed_bit_of_a_checkpoint_is_seen(tmp_path):
    path, rng = tmp_path / "a_model.pdparams", np.random.default_rng(0)
    checkpoint.save_checkpoint(str(path), STATE)
    data = path.read_bytes()
    for _ in range(200):
        flip(path, int(rng.integers(len(data) - NUM_BYTES)), int(rng.integers(8)))
        with pytest.raises(ValueError, match=f"a_model.pdparams' {CHANGED}.*take another copy of it"):
            checkpoint.load_checkpoint(str(path))
        path.write_bytes(data)
    flip(path, len(data) - 3, 0)  # of the checksum itself
    with pytest.raises(ValueError, match=CHANGED):
        checkpoint.load_checkpoint(str(path))


def test_paddle_and_pickle_read_the_file_as_if_there_were_no_checksum(tmp_path):
    checkpoint.save_checkpoint(str(tmp_path / "a"), STATE)
    loaded = paddle.load(str(tmp_path / "a.pdparams"))
    np.testing.assert_array_equal(loaded["model"]["fc.weight"].numpy(), WEIGHTS["fc.weight"])
    data = (tmp_path / "a.pdparams").read_bytes()
    assert pickle.loads(data)["epoch"] == 3 and data[:-NUM_BYTES] == pickle.dumps(STATE, 4)


def test_files_without_a_checksum_load_as_before(tmp_path):
    for name, tail in (("old", b""), ("padded", b"\0" * 40)):
        (tmp_path / f"{name}.pdparams").write_bytes(pickle.dumps(STATE, 4) + tail)
        assert checkpoint.load_checkpoint(str(tmp_path / name))["epoch"] == 3
    paddle.save({"fc.weight": paddle.ones([2, 3])}, str(tmp_path / "other.pdparams"))
    assert list(checkpoint.load_checkpoint(str(tmp_path / "other"))["model"]) == ["fc.weight"]


def test_scores_and_skeletons_are_checked_too(tmp_path):
    result = {"names": ["v_1"], "labels": np.zeros(1, int), "scores": np.array([[0.25, 0.75]])}
    report.write_scores(str(tmp_path / "scores.pkl"), result, ["a", "b"], {"average_clips": "prob"})
    assert score_files.read_scores(str(tmp_path / "scores.pkl")).scores.tolist() == [[0.25, 0.75]]
    points = np.full((1, 4, 17, 2), 5, np.float32)
    annotation = {"frame_dir": "v_1", "label": 0, "total_frames": 4, "keypoint": points}
    dump_pickle({"split": {}, "annotations": [annotation]}, tmp_path / "skeletons.pkl")
    for name, number in (("scores.pkl", 0.75), ("skeletons.pkl", 5)):
        flip(tmp_path / name, (tmp_path / name).read_bytes().index(np.float32(number).tobytes()), 3)
    with pytest.raises(ValueError, match=f"scores.pkl' {CHANGED}"):
        ensemble.main([str(tmp_path / "scores.pkl"), str(tmp_path / "scores.pkl")])
    with pytest.raises(ValueError, match=f"skeletons.pkl' {CHANGED}"):
        skeleton_pkl._load(str(tmp_path / "skeletons.pkl"))


def test_packed_records_have_a_checksum_for_each_frame_instead(tmp_path):
    record = {"video": "v", "label": 0, "frames": [b"\xff\xd8\xff\xd9"] * 3}
    records.write_record({**record, "checksums": [1, 2, 3]}, tmp_path / "packed.pkl")
    assert (tmp_path / "packed.pkl").read_bytes().endswith(b".")
    records.write_record({**record, "frames": ["1.jpg"]}, tmp_path / "paths.pkl")
    flip(tmp_path / "paths.pkl", (tmp_path / "paths.pkl").read_bytes().index(b"1.jpg"), 1)
    with pytest.raises(ValueError, match=f"paths.pkl' {CHANGED}"):
        records.read_record(tmp_path / "paths.pkl")
    assert load_pickle(tmp_path / "packed.pkl")["label"] == 0
