"""Lists, skeletons and records that grow: what is written has the size that is named, and its figures are of that."""

import time

import numpy as np
import pytest

from common.files import load_pickle
from dataset.records import read_list, read_record
from reader import build_loader
from tools.measure import scale


def test_a_list_has_as_many_names_as_it_should(tmp_path, monkeypatch):
    """Five records in folders of two; every second one is a file of its own."""
    monkeypatch.setattr(scale, "NAMES_PER_FOLDER", 2)
    monkeypatch.setattr(scale, "NAMES_PER_FILE", 2)
    entries, classes = read_list(scale.write_videos(tmp_path, 5))
    assert [entry.name for entry in entries] == ["0", "1", "2", "3", "4"] and classes == ["noise"]
    assert len({(tmp_path / f"{index // 2}/{index}.pkl").stat().st_ino for index in range(5)}) == 3


def test_skeletons_differ_and_can_be_read(tmp_path):
    path = scale.write_skeletons(tmp_path, 3)
    first, second, _ = (sample["keypoint"] for sample in load_pickle(path)["annotations"])
    assert first.shape == scale.BODY_SHAPE and first.dtype == np.float32 and not np.array_equal(first, second)
    loader = build_loader(filelist=path, num_workers=0, **scale.READERS["skeletons"])
    assert len(loader.dataset) == 3


def test_records_have_the_size_that_is_named(tmp_path, monkeypatch):
    """Of a GiB of 64 records of 256 frames each 2**16 bytes; here it is 2 records of 3 frames."""
    assert scale.RECORDS_PER_GIB * scale.FRAMES_PER_RECORD * scale.FRAME_BYTES == 2**30
    monkeypatch.setattr(scale, "RECORDS_PER_GIB", 2)
    monkeypatch.setattr(scale, "FRAMES_PER_RECORD", 3)
    folder = scale.write_records(tmp_path, 2)
    assert len(list(tmp_path.iterdir())) == 4 and len(read_record(tmp_path / "3.pkl")["frames"]) == 3
    clock = iter((10.0, 12.0))
    monkeypatch.setattr(time, "perf_counter", lambda: next(clock))
    figures = scale.measure_all(folder)
    assert figures["seconds"] == 2 and figures["speeds"] == [4 * 3 * 2**16 / 2**20 / 2]


def test_the_rate_is_of_the_samples_after_the_warm_up(monkeypatch):
    """Of 12 batches 8 are warm-up and 3 are timed, in two seconds."""
    batches = [{"labels": np.zeros(scale.BATCH_SIZE)} for _ in range(12)]
    monkeypatch.setattr(scale, "Loader", lambda *_, **__: batches)
    clock = iter((10.0, 12.0))
    assert scale.time_reading(None, 1, 3, lambda: next(clock)) == 3 * scale.BATCH_SIZE / 2


def test_the_table_has_a_row_for_each_size(tmp_path, monkeypatch):
    asked = []

    def run_script(script, *words):
        asked.append((script, *words))
        return 'a note\n{"seconds": 0.126, "memory_gib": 0.5, "speeds": [1234.4, 2000]}\n'

    monkeypatch.setattr(scale, "run_script", run_script)
    table = scale.measure_sizes("skeletons", [1, 2], 7, str(tmp_path)).splitlines()
    assert table[0] == "| samples in a pkl | seconds to open | peak memory, GiB | samples/s of a core | " + (
        "samples/s, 2 processes |"
    )
    assert table[2:] == ["| 1 | 0.13 | 0.50 | 1,234 | 2,000 |", "| 2 | 0.13 | 0.50 | 1,234 | 2,000 |"]
    assert asked[0][:3] == ("tools/measure/scale.py", "skeletons", "--measured") and asked[0][4:] == ("--batches", 7)
    assert list(tmp_path.iterdir()) == []  # nothing stays


def test_sizes_start_at_one(capsys):
    with pytest.raises(SystemExit):
        scale.parse_arguments(["videos", "--sizes", "0"])
    assert "--sizes and --batches take numbers from 1" in capsys.readouterr().err
    assert scale.parse_arguments(["records"]).sizes == scale.SIZES["records"]
