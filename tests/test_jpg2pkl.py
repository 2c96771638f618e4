"""Frame folders to records: who is in which class and on which side, and what a second run does."""

import csv
import errno
import os
import shutil
import signal
import subprocess
import sys
import time
import zlib

import cv2
import numpy as np
import pytest
from paths import ROOT

import jpg2pkl
from common import files
from dataset.records import read_record, resolve_path
from dataset.splits import SHIPPED_SPLITS, make_key, read_split, split_by_lists

JPEG = cv2.imencode(".jpg", np.zeros((8, 8, 3), np.uint8))[1].tobytes()
CLASSES = ("Zumba", "Archery", "Tai Chi")  # the order of classInd.txt: neither sorted nor that of the disk


def write_frames(root, folder, num_frames=3, pattern="{:05}.jpg"):
    """Frame n of a video is a JPEG that ends in the byte n, so that no two are equal."""
    path = root / "UCF-101_jpg" / folder
    path.mkdir(parents=True)
    for number in range(1, num_frames + 1):
        (path / pattern.format(number)).write_bytes(JPEG + bytes([number]))
    return path


def convert(root, *flags):
    return jpg2pkl.main(["--root", str(root), "--workers", "2", *map(str, flags)])


def read_records(folder):
    """Records by name, and nothing else may be in the folder."""
    others = {path.name for path in folder.rglob("*") if path.is_file()} - {"settings.json", "failed.csv"}
    assert all(name.endswith(".pkl") for name in others), others
    return {path.relative_to(folder).with_suffix("").as_posix(): read_record(path) for path in folder.rglob("*.pkl")}


def read_sides(root):
    """Label of each record, by side and name."""
    sides = {side: read_records(root / side) for side in ("train", "test")}
    return {side: {name: record["label"] for name, record in records.items()} for side, records in sides.items()}


def read_reasons(root):
    with open(root / "train" / "failed.csv", encoding="utf-8", newline="") as file:
        return {row["item"]: row["reason"] for row in csv.DictReader(file)}


def read_times(root):
    """When each record was last written; its own time is that of its newest frame, so the inode tells."""
    return {path: path.stat().st_ino for side in ("train", "test") for path in (root / side).rglob("*.pkl")}


def write_lists(root, train, test, split=1, classes=CLASSES):
    folder = root / "ucfTrainTestlist"
    folder.mkdir(exist_ok=True)
    if classes:
        lines = [f"{number} {name}\n" for number, name in enumerate(classes, 1)]
        (folder / "classInd.txt").write_text("".join(reversed(lines)), encoding="utf-8")
    (folder / f"trainlist{split:02}.txt").write_text("".join(f"{line}\n" for line in train), encoding="utf-8")
    (folder / f"testlist{split:02}.txt").write_text("".join(f"{line}\n" for line in test), encoding="utf-8")


@pytest.fixture
def tree(tmp_path):
    for class_name in CLASSES:
        for group in (1, 2, 3):
            write_frames(tmp_path, f"{class_name}/v_{class_name}_g{group:02}_c01")
    names = {group: [f"{name}/v_{name}_g{group:02}_c01.avi" for name in CLASSES] for group in (1, 2, 3)}
    ids = [f"{line} {CLASSES.index(line.split('/')[0]) + 1}" for line in names[2] + names[3]]
    write_lists(tmp_path, ids, names[1], split=1)
    write_lists(tmp_path, names[1] + names[3], names[2], split=2)
    return tmp_path


def test_records_hold_label_and_frame_paths_relative_to_themselves(tree, capsys):
    assert convert(tree) == 0
    record = read_record(tree / "train" / "v_Tai Chi_g02_c01.pkl")
    folder = "../UCF-101_jpg/Tai Chi/v_Tai Chi_g02_c01"
    assert record == {
        "video": "v_Tai Chi_g02_c01",
        "label": 2,
        "frames": [f"{folder}/00001.jpg", f"{folder}/00002.jpg", f"{folder}/00003.jpg"],
    }
    assert os.path.samefile(
        resolve_path(record["frames"][0], tree / "train"), tree / "UCF-101_jpg" / folder[15:] / "00001.jpg"
    )
    sides = read_sides(tree)
    assert set(sides["train"]) == {f"v_{name}_g0{group}_c01" for name in CLASSES for group in (2, 3)}
    assert set(sides["test"]) == {f"v_{name}_g01_c01" for name in CLASSES}
    printed = capsys.readouterr().out
    assert "train: 6 records of 3 classes, 6 written now" in printed and "test: 3 records" in printed
    assert "WARNING" not in printed and not (tree / "train" / "failed.csv").exists()


def test_class_ids_come_from_class_index_not_from_directory_order(tree, monkeypatch):
    listdir = os.listdir
    monkeypatch.setattr(os, "listdir", lambda *words: sorted(listdir(*words), reverse=True))
    convert(tree)
    labels = {**read_sides(tree)["train"], **read_sides(tree)["test"]}
    assert {name.split("_")[1]: label for name, label in labels.items()} == {"Zumba": 0, "Archery": 1, "Tai Chi": 2}


def test_without_class_index_ids_follow_sorted_names(tree):
    (tree / "ucfTrainTestlist" / "classInd.txt").unlink()
    convert(tree)
    labels = read_sides(tree)["test"]
    assert {name.split("_")[1]: label for name, label in labels.items()} == {"Archery": 0, "Tai Chi": 1, "Zumba": 2}


@pytest.mark.parametrize("pattern", ["{}.jpg", "frame_{}.jpg", "v_A_g01_c01_{}.jpg", "{:05}.png"])
def test_frames_are_in_numeric_order_padded_or_not(tree, pattern):
    folder = tree / "UCF-101_jpg" / "Zumba" / "v_Zumba_g01_c01"
    shutil.rmtree(folder)
    write_frames(tree, "Zumba/v_Zumba_g01_c01", 120, pattern)
    convert(tree, "--pack")
    frames = read_record(tree / "test" / "v_Zumba_g01_c01.pkl")["frames"]
    assert [frame[-1] for frame in frames] == list(range(1, 121))


def test_pack_stores_the_bytes_and_their_checksums(tree):
    assert convert(tree, "--pack") == 0
    record = read_record(tree / "train" / "v_Zumba_g02_c01.pkl")
    assert record["frames"] == [JPEG + bytes([number]) for number in (1, 2, 3)]
    assert record["checksums"] == [zlib.crc32(frame) for frame in record["frames"]]


def test_second_run_writes_nothing(tree, capsys):
    for flags in ([], ["--pack"]):
        convert(tree, *flags)
        before = read_times(tree)
        capsys.readouterr()
        assert convert(tree, *flags) == 0
        assert read_times(tree) == before and len(before) == 9
        assert "train: 6 records of 3 classes, 0 written now" in capsys.readouterr().out


@pytest.mark.parametrize("flags", [[], ["--pack"]])
@pytest.mark.parametrize(
    "change", ["frame added", "frame removed", "frame changed", "record removed", "record cut off"]
)
def test_second_run_writes_what_is_missing_or_changed_and_only_that(tree, flags, change):
    convert(tree, *flags)
    before = read_times(tree)
    record = tree / "train" / "v_Zumba_g02_c01.pkl"
    folder = tree / "UCF-101_jpg" / "Zumba" / "v_Zumba_g02_c01"
    time.sleep(0.01)
    if change == "frame added":
        (folder / "00004.jpg").write_bytes(JPEG)
    elif change == "frame removed":
        (folder / "00003.jpg").unlink()
    elif change == "frame changed":
        (folder / "00002.jpg").write_bytes(JPEG + b"new")
    elif change == "record removed":
        record.unlink()
    else:
        record.write_bytes(record.read_bytes()[:40])
    (tree / "keep_inode").write_text("")  # takes the inode that a removed file has set free
    convert(tree, *flags)
    after = read_times(tree)
    assert {path for path in before if before[path] != after[path]} == {record}
    frames = read_record(record)["frames"]
    assert len(frames) == {"frame added": 4, "frame removed": 2}.get(change, 3)
    if flags and change == "frame changed":
        assert frames[1] == JPEG + b"new"


def test_paths_and_packed_records_are_never_mixed(tree):
    convert(tree)
    convert(tree, "--pack")
    assert all("checksums" in record for side in ("train", "test") for record in read_records(tree / side).values())
    convert(tree)
    assert not any("checksums" in record for side in ("train", "test") for record in read_records(tree / side).values())


def test_another_split_leaves_no_record_of_the_first_behind(tree):
    convert(tree, "--split", 1)
    convert(tree, "--split", 2)
    sides = read_sides(tree)
    assert not set(sides["train"]) & set(sides["test"])
    assert set(sides["test"]) == {f"v_{name}_g02_c01" for name in CLASSES}
    assert set(sides["train"]) == {f"v_{name}_g0{group}_c01" for name in CLASSES for group in (1, 3)}


def test_another_class_list_rewrites_every_label(tree):
    convert(tree)
    lists = [f"{name}/v_{name}_g0{group}_c01" for group in (1, 2, 3) for name in CLASSES]
    write_lists(tree, lists[3:], lists[:3], classes=sorted(CLASSES))
    convert(tree)
    labels = {**read_sides(tree)["train"], **read_sides(tree)["test"]}
    assert {name.split("_")[1]: label for name, label in labels.items()} == {"Archery": 0, "Tai Chi": 1, "Zumba": 2}


def test_video_that_changes_its_class_gets_the_new_label(tree):
    convert(tree)
    shutil.move(tree / "UCF-101_jpg" / "Zumba" / "v_Zumba_g02_c01", tree / "UCF-101_jpg" / "Archery")
    path = tree / "ucfTrainTestlist" / "trainlist01.txt"
    path.write_text(path.read_text().replace("Zumba/v_Zumba_g02_c01.avi 1", "Archery/v_Zumba_g02_c01.avi 2"))
    convert(tree)
    record = read_record(tree / "train" / "v_Zumba_g02_c01.pkl")
    assert record["label"] == 1 and "/Archery/" in record["frames"][0]


def test_records_of_unknown_origin_are_not_mixed(tree):
    (tree / "train").mkdir()
    (tree / "train" / "v_Zumba_g02_c01.pkl").write_bytes(b"of 2020")
    with pytest.raises(
        ValueError, match="train' holds 1 records that this script did not make, whose class ids may be"
    ):
        convert(tree)
    assert (tree / "train" / "v_Zumba_g02_c01.pkl").read_bytes() == b"of 2020"


def test_packed_records_whose_frames_are_gone_are_kept_and_never_removed_unasked(tree, capsys):
    convert(tree, "--pack")
    shutil.rmtree(tree / "UCF-101_jpg" / "Zumba")
    capsys.readouterr()
    assert convert(tree, "--pack") == 0
    assert "WARNING" not in capsys.readouterr().out
    assert len(read_sides(tree)["train"]) == 6
    for flags in ([], ["--pack", "--split", 2]):
        with pytest.raises(
            ValueError, match=r"holds \d packed records, such as 'v_Zumba_g0\d_c01', .* frames are gone"
        ):
            convert(tree, *flags)
    assert len(read_sides(tree)["train"]) == 6


def test_letters_of_any_case_meet_as_in_ucf101(tmp_path):
    write_frames(tmp_path, "HandStandPushups/v_handstandpushups_g01_c01")
    write_frames(tmp_path, "Archery_jpg/v_Archery_g08_c01", pattern="v_Archery_g08_c01_{}.jpg")  # as in 2020
    assert convert(tmp_path) == 0  # by the shipped lists, which say HandstandPushups/v_HandStandPushups_g01_c01
    assert read_sides(tmp_path) == {"train": {"v_Archery_g08_c01": 2}, "test": {"v_handstandpushups_g01_c01": 36}}


def test_folders_that_differ_only_in_case_are_refused(tree):
    write_frames(tree, "zumba/v_Zumba_g01_c01")
    with pytest.raises(ValueError, match="'Zumba/v_Zumba_g01_c01' and 'zumba/v_Zumba_g01_c01' are one name but for"):
        convert(tree)


def test_videos_without_frames_and_frames_without_a_line_are_counted_and_named(tree, capsys, monkeypatch):
    shutil.rmtree(tree / "UCF-101_jpg" / "Zumba" / "v_Zumba_g01_c01")
    shutil.rmtree(tree / "UCF-101_jpg" / "Zumba" / "v_Zumba_g02_c01")
    for number in range(4):
        write_frames(tree, f"Archery/extra_{number}")
    (tree / "cwd").mkdir()
    monkeypatch.chdir(tree / "cwd")
    assert convert(tree) == 0
    printed = capsys.readouterr().out
    assert "1 videos of the train list have no frames (see failed.csv of avi2jpg.py): v_Zumba_g02_c01\n" in printed
    assert "1 videos of the test list have no frames" in printed
    assert "4 frame folders stand in neither list, they get no record: Archery/extra_0, Archery/extra_1," in printed
    reasons = read_reasons(tree)
    assert reasons["train/v_Zumba_g02_c01"] == "the list names it, but it has no frames"
    assert reasons["Archery/extra_3"] == "its frames stand in neither list" and len(reasons) == 6
    assert os.listdir(tree / "cwd") == []
    assert "extra_0" not in {**read_sides(tree)["train"], **read_sides(tree)["test"]}


def test_groups_in_train_and_test_are_warned_of(tree, capsys):
    names = [f"Zumba/v_Zumba_g0{group}_c01.avi" for group in (1, 2, 3)]
    write_lists(tree, names[:2], names[1:])
    convert(tree)
    assert "WARNING: 1 groups stand in train AND test: the test accuracy will be too good to be true: g02" in (
        capsys.readouterr().out
    )


def test_split_by_group_holds_out_whole_groups(tree, capsys):
    shutil.rmtree(tree / "ucfTrainTestlist")
    assert convert(tree, "--split_by_group") == 0
    sides = read_sides(tree)
    assert len(sides["train"]) == 6 and len(sides["test"]) == 3
    assert len({name.split("_")[2] for name in sides["test"]}) == 1
    assert {name.split("_")[1]: label for name, label in sides["test"].items()} == {
        "Archery": 0,
        "Tai Chi": 1,
        "Zumba": 2,
    }
    assert "WARNING" not in capsys.readouterr().out
    seeds = [
        (convert(tree, "--split_by_group", "--seed", seed), frozenset(read_sides(tree)["test"]))[1] for seed in range(6)
    ]
    assert len(set(seeds)) > 1
    convert(tree, "--split_by_group", "--test_ratio", 0.6)
    assert len(read_sides(tree)["test"]) == 6


def test_split_by_group_uses_the_class_index_of_the_tree(tree):
    convert(tree, "--split_by_group")
    labels = read_sides(tree)["test"]
    assert {name.split("_")[1]: label for name, label in labels.items()} == {"Zumba": 0, "Archery": 1, "Tai Chi": 2}
    write_frames(tree, "Unknown/v_Unknown_g01_c01")
    with pytest.raises(
        ValueError, match="classInd.txt in '.*' does not name the class 'Unknown', which has frames; add it"
    ):
        convert(tree, "--split_by_group")


def test_own_videos_of_one_name_in_two_classes_stay_apart(tmp_path, capsys):
    for class_name in ("wave 挥手", "clap"):
        for number in range(1, 11):
            write_frames(tmp_path, f"{class_name}/{number:03}", num_frames=number)
    assert convert(tmp_path, "--split_by_group", "--test_ratio", 0.2) == 0
    assert "20 videos have no group (gNN) in their names, each counts as one group" in capsys.readouterr().out
    sides = read_sides(tmp_path)
    assert len(sides["train"]) == 16 and sorted(sides["test"].values()) == [0, 0, 1, 1]
    for side in ("train", "test"):
        for name, record in read_records(tmp_path / side).items():
            class_name, number = name.split("/")
            assert record["video"] == name and record["label"] == ["clap", "wave 挥手"].index(class_name)
            assert len(record["frames"]) == int(number) and f"/{name}/" in record["frames"][0]
            assert os.path.isfile(resolve_path(record["frames"][-1], tmp_path / side / class_name))


def test_one_group_cannot_be_divided(tmp_path):
    for class_name in ("A", "B"):
        write_frames(tmp_path, f"{class_name}/v_{class_name}_g01_c01")
    with pytest.raises(ValueError, match="all 2 videos are of one group, so none can be held out"):
        convert(tmp_path, "--split_by_group")


def test_lists_of_other_data_say_what_to_do(tmp_path):
    write_frames(tmp_path, "wave/clip")
    with pytest.raises(
        ValueError, match="none of the 1 frame folders, such as 'wave/clip', is in the lists of split 1"
    ):
        convert(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"trainlist04.txt' does not exist .*give the folder .* with --lists"):
        convert(tmp_path, "--split", 4)


@pytest.mark.parametrize("split", [1, 2, 3])
def test_official_splits_cover_ucf101(split):
    listed = {side: read_split(f"{SHIPPED_SPLITS}/{side}list{split:02}.txt") for side in ("train", "test")}
    folders = {make_key(*entry): "/".join(entry) for entry in listed["train"] + listed["test"]}
    start_s = time.monotonic()
    plan = split_by_lists(folders, SHIPPED_SPLITS, split)
    assert time.monotonic() - start_s < 5  # 13,320 videos in a fraction of a second; comparing all pairs takes minutes
    sizes = {1: (9537, 3783), 2: (9586, 3734), 3: (9624, 3696)}
    assert (len(plan.labels["train"]), len(plan.labels["test"])) == sizes[split]
    assert plan.unlisted == [] and len(plan.folders) == 13320 and len(plan.class_names) == 101
    assert plan.labels["train"]["v_HandStandPushups_g25_c01"] == 36


def test_bad_frames_are_named_and_stop_nothing(tree):
    folders = {group: tree / "UCF-101_jpg" / "Zumba" / f"v_Zumba_g0{group}_c01" for group in (1, 2, 3)}
    (folders[1] / "00002.jpg").write_bytes(b"")
    (folders[2] / "00003.jpg").write_bytes(b"<html>")
    for path in folders[3].iterdir():
        path.unlink()
    assert convert(tree, "--pack") == 0
    reasons = read_reasons(tree)
    assert sorted(reasons) == ["test/v_Zumba_g01_c01", "train/v_Zumba_g02_c01", "train/v_Zumba_g03_c01"]
    assert reasons["test/v_Zumba_g01_c01"].startswith("frame 00002.jpg is empty (0 bytes); delete")
    assert "00003.jpg' is no JPEG or PNG picture" in reasons["train/v_Zumba_g02_c01"]
    assert "holds no frames; delete it and run avi2jpg.py again" in reasons["train/v_Zumba_g03_c01"]
    assert len(read_sides(tree)["train"]) == 4 and len(read_sides(tree)["test"]) == 2


def test_unfinished_frames_of_avi2jpg_are_not_taken(tree):
    write_frames(tree, ".unfinished-77/Zumba")
    (tree / "UCF-101_jpg" / "failed.csv").write_text("item,reason\n")
    convert(tree)
    assert len(read_sides(tree)["train"]) == 6 and not (tree / "train" / "failed.csv").exists()


def test_nothing_there_says_both_ways_on(tmp_path, run_script):
    done = run_script("jpg2pkl.py", cwd=tmp_path)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    for text in (
        "frame folders in 'data/UCF-101_jpg'; run avi2jpg.py first",
        "download UCF-101",
        "tools/make_samples.py",
    ):
        assert text in done.stderr
    assert os.listdir(tmp_path) == []


def test_default_places_and_the_2020_place_of_the_lists(tree, run_script):
    shutil.move(tree / "UCF-101_jpg", tree / "lyj" / "UCF-101_jpg")
    for path in (tree / "ucfTrainTestlist").iterdir():
        shutil.move(path, tree / "lyj")
    done = run_script("jpg2pkl.py", "--root", "lyj", cwd=tree)
    assert done.returncode == 0, done.stderr
    assert len(read_records(tree / "lyj" / "train")) == 6 and len(read_records(tree / "lyj" / "test")) == 3


def test_full_disk_stops_with_a_sentence_and_leaves_nothing_half_made(tree, monkeypatch):
    def fail(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    convert(tree)
    for path in (tree / "train").glob("*.pkl"):
        path.unlink()
    write_atomically = files.write_atomically

    def write_until_full(path, mode="wb"):
        if str(path).endswith("v_Zumba_g02_c01.pkl"):
            monkeypatch.setattr(os, "fsync", fail)
        return write_atomically(path, mode)

    monkeypatch.setattr(files, "write_atomically", write_until_full)
    with pytest.raises(OSError, match="stopped at train/v_.*pkl' could not be written .*No space left.*free some disk"):
        convert(tree, "--workers", 1)
    left = [name for name in os.listdir(tree / "train") if name.endswith(".pkl") or name.startswith(".")]
    assert 0 < len(left) < 6 and all(read_record(tree / "train" / name) for name in left)
    monkeypatch.undo()
    assert convert(tree) == 0 and len(read_records(tree / "train")) == 6


def test_file_where_the_output_folder_should_be(tree):
    (tree / "train").write_text("")
    with pytest.raises(OSError, match="train' could not be written .*a file stands where a folder is needed"):
        convert(tree)


@pytest.mark.parametrize("flags", [("--test_ratio", 0), ("--test_ratio", 1), ("--workers", -1), ("--splt", 2)])
def test_flags_out_of_range(tmp_path, flags, capsys):
    with pytest.raises(SystemExit) as caught:
        convert(tmp_path, *flags)
    assert caught.value.code == 2
    message = capsys.readouterr().err
    assert "--test_ratio takes a share between 0 and 1" in message or "did you mean '--split'?" in message


def test_killed_run_leaves_nothing_half_made_and_the_next_run_completes_it(tmp_path):
    for number in range(60):
        folder = write_frames(tmp_path, f"A/v_A_g{number:02}_c01", 40)
        for path in folder.iterdir():
            path.write_bytes(JPEG + bytes(20000))
    names = [f"A/v_A_g{number:02}_c01" for number in range(60)]
    write_lists(tmp_path, names[10:], names[:10], classes=("A",))
    command = [sys.executable, str(ROOT / "jpg2pkl.py"), "--root", tmp_path, "--pack", "--workers", "2"]
    for num_records in (1, 20):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        wait_until(lambda least=num_records: len(list(tmp_path.glob("t*/*.pkl"))) >= least, process)
        process.send_signal(signal.SIGKILL)
        process.wait()
        for path in tmp_path.glob("t*/*.pkl"):
            assert len(read_record(path)["frames"]) == 40, f"{path.name} is half-made"
    kept = {path: path.stat().st_ino for path in tmp_path.glob("t*/*.pkl")}
    assert len(kept) < 60, "the kill came too late, so this test tested nothing"
    assert subprocess.run(command, stdout=subprocess.DEVNULL).returncode == 0
    assert len(read_records(tmp_path / "train")) == 50 and len(read_records(tmp_path / "test")) == 10
    # the workers may have written one record each before its time was set; all others are kept as they were
    assert sum(path.stat().st_ino != inode for path, inode in kept.items()) <= 2


def wait_until(condition, process, timeout_s=60):
    end_s = time.monotonic() + timeout_s
    while not condition():
        assert process.poll() is None and time.monotonic() < end_s, "the run ended before it could be killed"
        time.sleep(0.001)
