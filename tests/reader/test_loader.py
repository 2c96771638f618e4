"""Batches: the same with any number of workers, in any epoch, and after damage; errors reach the caller in words."""

import gc
import logging
import os
import secrets
import shutil
import subprocess
import sys

import numpy as np
import paddle
import pytest
from forked_garbage import DiesElsewhere
from ramp_videos import frame_numbers, ramp_frame, write_ramps, write_video

from dataset.records import write_list
from reader import READERS, build_loader

SMALL = {"clip_len": 4, "crop_size": 16}


def to_arrays(loader):
    """Read the batches of a loader with plain numpy arrays in place of tensors."""
    return [{**batch, "inputs": {name: one.numpy() for name, one in batch["inputs"].items()}} for batch in loader]


def load(filelist, epoch=0, **arguments):
    """Read an epoch; return its batches with everything as plain numpy and lists."""
    loader = build_loader(filelist=filelist, **{"num_workers": 0, "batch_size": 4, **SMALL, **arguments})
    loader.set_epoch(epoch)
    return to_arrays(loader)


def names(batches):
    return [name for batch in batches for name in batch["names"]]


def assert_same(batches, others):
    assert len(batches) == len(others)
    for one, other in zip(batches, others, strict=True):
        assert one["names"] == other["names"] and one["faults"] == other["faults"]
        assert list(one["inputs"]) == list(other["inputs"]) == ["rgb"]
        assert np.array_equal(one["inputs"]["rgb"], other["inputs"]["rgb"])
        for key in ("labels", "views"):
            assert np.array_equal(one[key], other[key])


def damage_one(root):
    path = next((root / "jpg").rglob("v_B_g01_c01/00001.jpg"))
    path.write_bytes(b"")
    return path


def test_a_batch_is_what_the_contract_says(tmp_path):
    batches = load(write_ramps(tmp_path, num_videos=6), mode="valid", num_clips=3)
    assert [set(batch) for batch in batches] == [{"inputs", "labels", "names", "views", "faults", "total"}] * 2
    first, last = batches
    assert first["inputs"]["rgb"].shape == (12, 4, 16, 16, 3) and first["inputs"]["rgb"].dtype == np.uint8
    assert last["inputs"]["rgb"].shape == (6, 4, 16, 16, 3)
    assert first["labels"].dtype == np.int64 and first["labels"].tolist() == [0, 1, 0, 1]
    assert first["views"].dtype == np.int64 and first["views"].tolist() == [3, 3, 3, 3]
    assert last["names"] == ["v_A_g04_c01", "v_B_g05_c01"] and last["faults"] == []
    assert [frame_numbers(view)[0] for view in first["inputs"]["rgb"][:3]] == [2, 8, 14]


def test_loader_tells_its_size_and_prepares_on_the_device(tmp_path):
    loader = build_loader(filelist=write_ramps(tmp_path, num_videos=5), batch_size=2, num_workers=0, **SMALL)
    assert (len(loader), loader.num_samples, loader.class_names) == (3, 5, ["A", "B"])
    batch = next(iter(loader))
    assert list(batch["inputs"]) == ["rgb"] and isinstance(batch["inputs"]["rgb"], paddle.Tensor)
    assert loader.input_shape == {"rgb": [3, 4, 16, 16]}
    prepared = loader.prepare(batch["inputs"])["rgb"]
    assert prepared.dtype == paddle.float32 and list(prepared.shape) == [2, 3, 4, 16, 16]


@pytest.mark.parametrize("mode", ["train", "test"])
def test_same_batches_with_and_without_workers(tmp_path, mode):
    filelist = write_ramps(tmp_path, num_videos=7)
    if mode == "train":
        damage_one(tmp_path)
    for epoch in (0, 1):
        own = load(filelist, epoch, mode=mode, crop="resized", color_jitter=0.3, num_workers=0)
        assert_same(own, load(filelist, epoch, mode=mode, crop="resized", color_jitter=0.3, num_workers=2))


def test_workers_without_shared_memory(tmp_path):
    filelist = write_ramps(tmp_path, num_videos=5)
    assert_same(load(filelist), load(filelist, num_workers=2, use_shared_memory=False))


def test_training_shuffles_by_seed_and_epoch(tmp_path):
    filelist = write_ramps(tmp_path, num_videos=20, num_frames=4)
    orders = [names(load(filelist, epoch, seed=seed)) for epoch in (0, 1) for seed in (0, 1)]
    assert all(sorted(order) == sorted(orders[0]) for order in orders)
    assert len({tuple(order) for order in orders}) == 4
    assert names(load(filelist, 1, seed=1)) == orders[3]
    in_list_order = [f"v_{'AB'[n % 2]}_g{n:02d}_c01" for n in range(20)]
    assert orders[0] != in_list_order
    assert names(load(filelist, 3, mode="test")) == in_list_order


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_resumed_run_sees_the_same_batches(tmp_path, num_workers):
    filelist = write_ramps(tmp_path, num_videos=5)
    loader = build_loader(filelist=filelist, batch_size=4, num_workers=num_workers, **SMALL)
    for epoch in range(3):
        loader.set_epoch(epoch)
        last = to_arrays(loader)
    assert_same(last, load(filelist, epoch=2, num_workers=num_workers))


def test_workers_do_not_free_what_their_parent_has_left(tmp_path, monkeypatch):
    """Paddle's interpreters abort in a process that does not have their threads."""
    monkeypatch.setattr("reader.loader.end_with_parent", gc.collect)  # in each worker, first of all
    filelist = write_ramps(tmp_path, num_videos=3)
    here = load(filelist, num_workers=0)
    gc.disable()
    try:
        DiesElsewhere()
        assert_same(load(filelist, num_workers=2), here)
    finally:
        gc.enable()
    assert gc.get_freeze_count() == 0


@pytest.mark.parametrize("num_workers", [0, 2])
def test_an_iteration_broken_off_leaves_nothing_behind(tmp_path, num_workers):
    filelist = write_ramps(tmp_path, num_videos=12, num_frames=4)
    loader = build_loader(filelist=filelist, batch_size=1, num_workers=num_workers, **SMALL)
    for _ in loader:
        break
    loader.set_epoch(1)
    again = to_arrays(loader)
    assert_same(again, load(filelist, epoch=1, batch_size=1))


def test_last_batch_is_kept_unless_training_drops_it(tmp_path):
    filelist = write_ramps(tmp_path, num_videos=5, num_frames=4)
    assert [len(batch["names"]) for batch in load(filelist)] == [4, 1]
    assert [len(batch["names"]) for batch in load(filelist, drop_last=True)] == [4]
    assert [len(batch["names"]) for batch in load(filelist, mode="valid", drop_last=True)] == [4, 1]
    with pytest.raises(ValueError, match="drop_last leaves no batch of 5 samples by 8; lower batch_size"):
        load(filelist, batch_size=8, drop_last=True)


def test_windows_of_videos_of_different_length_share_a_batch(tmp_path):
    lengths = (4, 9, 17)
    lines = [
        write_video(tmp_path, f"v_A_g0{n}_c01", 0, [ramp_frame(t) for t in range(length)])
        for n, length in enumerate(lengths)
    ]
    write_list(lines, tmp_path / "a.list", ["A"])
    (batch,) = load(str(tmp_path / "a.list"), mode="test", protocol="windows")
    assert batch["views"].tolist() == [1, 3, 5] and len(batch["inputs"]["rgb"]) == 9
    starts = [frame_numbers(view)[0] for view in batch["inputs"]["rgb"]]
    assert starts == [0, 0, 4, 8, 0, 4, 8, 12, 16]


@pytest.mark.parametrize("num_workers", [0, 2])
def test_damage_is_reported_in_training_and_stops_evaluation(tmp_path, num_workers):
    filelist = write_ramps(tmp_path, num_videos=6, num_frames=4)
    path = damage_one(tmp_path)
    batches = load(filelist, num_workers=num_workers)
    faults = [fault for batch in batches for fault in batch["faults"]]
    assert faults and all(fault.startswith(f"{path}: 0 bytes") for fault in faults)
    assert len(names(batches)) == 6 and "v_B_g01_c01" not in names(batches)
    with pytest.raises(ValueError, match=f"^{path}: 0 bytes"):
        load(filelist, mode="test", num_workers=num_workers)


def test_an_error_in_a_worker_arrives_word_for_word(tmp_path):
    filelist = write_ramps(tmp_path, num_videos=6, num_frames=4)
    with pytest.raises(ValueError) as own:
        load(filelist, mode="test", num_classes=1, num_workers=0)
    with pytest.raises(ValueError) as from_worker:
        load(filelist, mode="test", num_classes=1, num_workers=2)
    assert str(from_worker.value) == str(own.value)
    assert "v_B_g01_c01.pkl' has label 1, expected 0 to 0 (1 classes)" in str(own.value)


def test_a_fault_of_the_program_in_a_worker_shows_its_traceback(tmp_path):
    loader = build_loader(filelist=write_ramps(tmp_path, num_frames=4), num_workers=2, **SMALL)
    loader.dataset.crop_size = "wide"
    with pytest.raises(RuntimeError, match="(?s)a reader process failed:.*Traceback.*_draw_box.*TypeError"):
        list(loader)


def test_names_of_any_script_survive_workers(tmp_path):
    video = "v_骑 Ж_g01_c01"
    write_list([write_video(tmp_path, video, 0, [ramp_frame(0)])], tmp_path / "a.list", ["骑 Ж"])
    for num_workers in (0, 2):
        assert names(load(str(tmp_path / "a.list"), num_workers=num_workers)) == [video]


def test_overfit_takes_the_first_samples_spread_over_the_classes(tmp_path):
    lines = []
    for label, count in enumerate((4, 2, 1)):
        for number in range(count):
            lines.append(write_video(tmp_path, f"v_{'ABC'[label]}_g0{number}_c01", label, [ramp_frame(0)]))
    write_list(lines, tmp_path / "a.list", ["A", "B", "C"])

    def chosen(count):
        return [name[2:7] for name in names(load(str(tmp_path / "a.list"), mode="valid", overfit=count))]

    assert chosen(2) == ["A_g00", "B_g00"]
    assert chosen(5) == ["A_g00", "A_g01", "B_g00", "B_g01", "C_g00"]
    assert len(chosen(0)) == len(chosen(99)) == 7


def test_overfit_without_class_in_the_name_reads_the_records(tmp_path):
    lines = [write_video(tmp_path, f"clip{n}", n // 3, [ramp_frame(0)]) for n in range(6)]
    write_list(lines, tmp_path / "a.list")
    assert names(load(str(tmp_path / "a.list"), mode="valid", overfit=2)) == ["clip0", "clip3"]


def test_too_little_shared_memory_is_said_and_done_without(tmp_path, monkeypatch, caplog):
    filelist = write_ramps(tmp_path, num_frames=4)
    needed = 2 * 2 * 4 * 16 * 16 * 3 * 8  # two batches of eight clips for each of two workers
    for free, enough in ((needed, True), (needed - 1, False)):
        caplog.clear()
        usage = shutil._ntuple_diskusage(2 * needed, needed, free)
        monkeypatch.setattr("reader.loader.shutil.disk_usage", lambda path, usage=usage: usage)
        with caplog.at_level(logging.WARNING):
            loader = build_loader(filelist=filelist, num_workers=2, batch_size=8, **SMALL)
        assert loader.use_shared_memory is enough
        assert ("/dev/shm has 0 MiB free" in caplog.text) is not enough


def test_default_number_of_workers_follows_the_cores(tmp_path, monkeypatch):
    filelist = write_ramps(tmp_path, num_frames=4)
    for cores, expected in ((1, 1), (4, 4), (64, 8)):
        monkeypatch.setattr("reader.loader.os.sched_getaffinity", lambda pid, cores=cores: set(range(cores)))
        assert build_loader(filelist=filelist, **SMALL).num_workers == expected


def test_global_random_state_does_not_matter(tmp_path):
    filelist = write_ramps(tmp_path, num_videos=5)
    np.random.seed(1)
    first = load(filelist, num_workers=2)
    np.random.seed(2)
    assert_same(first, load(filelist, num_workers=2))


def test_wrong_arguments_are_named(tmp_path):
    filelist = write_ramps(tmp_path, num_frames=4)
    with pytest.raises(ValueError, match=f"unknown reader 'clip', expected one of {', '.join(READERS)}"):
        build_loader(name="clip", filelist=filelist)
    with pytest.raises(ValueError, match="overfit is -1"):
        build_loader(filelist=filelist, overfit=-1)
    with pytest.raises(ValueError, match="batch_size is 0, expected at least 1"):
        build_loader(filelist=filelist, batch_size=0)
    with pytest.raises(ValueError, match="num_workers is -2, expected at least 0"):
        build_loader(filelist=filelist, num_workers=-2)
    with pytest.raises(FileNotFoundError, match="none.list' does not exist"):
        build_loader(filelist=str(tmp_path / "none.list"))


@pytest.mark.parametrize("num_workers", [0, 2])
def test_processes_split_the_batches_of_one(tmp_path, num_workers):
    """7 videos by 3: the last batch has one, so the second process gets a sample that counts for nothing."""
    filelist = write_ramps(tmp_path, num_videos=7)
    arguments = {"batch_size": 3, "epoch": 2, "num_workers": num_workers, "num_ranks": 2}
    whole = load(filelist, batch_size=3, epoch=2)
    first, second = (load(filelist, rank=rank, **arguments) for rank in (0, 1))
    assert [batch["total"] for batch in first] == [batch["total"] for batch in second] == [3, 3, 1]
    for one, own, other in zip(whole, first, second, strict=True):
        assert own["names"] == one["names"][::2] and other["names"] == one["names"][1::2]
        np.testing.assert_array_equal(own["inputs"]["rgb"], one["inputs"]["rgb"][::2])
    assert second[2]["names"] == [] and len(second[2]["labels"]) == len(second[2]["inputs"]["rgb"]) == 1
    np.testing.assert_array_equal(second[1]["inputs"]["rgb"], whole[1]["inputs"]["rgb"][1::2])


@pytest.mark.parametrize("num_workers", [0, 2])
def test_in_evaluation_batches_are_dealt_out_whole(tmp_path, num_workers):
    filelist = write_ramps(tmp_path, num_videos=7)
    whole = load(filelist, mode="test", batch_size=3)
    arguments = {"mode": "test", "batch_size": 3, "num_workers": num_workers, "num_ranks": 2}
    assert_same(load(filelist, rank=0, **arguments), whole[::2])
    assert_same(load(filelist, rank=1, **arguments), whole[1::2])
    loader = build_loader(filelist=filelist, mode="test", batch_size=7, rank=1, num_ranks=2, num_workers=0, **SMALL)
    assert len(loader) == 0 and list(loader) == [] and loader.num_samples == 7  # one batch for two processes


@pytest.mark.skipif(not os.path.isdir("/dev/shm"), reason="no shared memory here")
def test_shared_memory_of_processes_that_have_ended_is_removed(tmp_path):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    names = [f"/dev/shm/paddle_{process_id}_0_{secrets.token_hex(4)}" for process_id in (ended.pid, os.getppid())]
    for name in names:
        open(name, "w").close()
    build_loader(filelist=write_ramps(tmp_path), num_workers=0, **SMALL)
    left = [name for name in names if os.path.exists(name)]
    for name in left:
        os.remove(name)
    assert left == names[1:]
