"""Records to lists: every record checked, bad ones left out with the reason, groups kept apart."""

import csv
import json
import os
import pickle
import re
import shutil
import zlib

import cv2
import numpy as np
import pytest
from numbered_videos import write_numbered_video
from ramp_videos import ramp_frame, write_frames

import data_list_gener
from dataset.records import read_list, read_record, write_record
from dataset.splits import SHIPPED_SPLITS, find_shared_groups

JPEG = cv2.imencode(".jpg", np.zeros((8, 8, 3), np.uint8))[1].tobytes()
KINETICS = os.path.join(os.path.dirname(SHIPPED_SPLITS), "kinetics400.txt")
CLASSES = ["Zumba", "Tai Chi 太极"]


def add_record(root, side, video, label, num_frames=3, pack=False):
    folder = root / "UCF-101_jpg" / CLASSES[label] / video
    folder.mkdir(parents=True)
    names = [f"{number:05}.jpg" for number in range(1, num_frames + 1)]
    for name in names:
        (folder / name).write_bytes(JPEG)
    record = {
        "video": video,
        "label": label,
        "frames": [f"../UCF-101_jpg/{CLASSES[label]}/{video}/{name}" for name in names],
    }
    if pack:
        record.update(frames=[JPEG] * num_frames, checksums=[zlib.crc32(JPEG)] * num_frames)
    write_record(record, root / side / f"{video}.pkl")
    return root / side / f"{video}.pkl"


def fill(root, pack=False):
    for label, name in enumerate(("Zumba", "TaiChi")):
        for group in range(1, 6):
            add_record(root, "train" if group > 1 else "test", f"v_{name}_g{group:02}_c01", label, pack=pack)
    for side in ("train", "test"):
        (root / side / "settings.json").write_text('{"class_names": ["Zumba", "Tai Chi 太极"]}', encoding="utf-8")
    return root


@pytest.fixture
def tree(tmp_path):
    return fill(tmp_path)


def check(root, *flags):
    return data_list_gener.main(["--root", str(root), "--workers", "2", *map(str, flags)])


def read_videos(path):
    entries, class_names = read_list(path)
    return [read_record(entry.path)["video"] for entry in entries], class_names


def read_reasons(root):
    with open(root / "failed.csv", encoding="utf-8", newline="") as file:
        return {re.search(r"v_[A-Z]\w+|[^/]*$", row["item"])[0]: row["reason"] for row in csv.DictReader(file)}


@pytest.mark.parametrize("pack", [False, True])
def test_lists_name_every_record_relative_to_themselves_and_carry_the_classes(tmp_path, pack, capsys):
    assert check(fill(tmp_path, pack)) == 0
    lines = (tmp_path / "train.list").read_text(encoding="utf-8").splitlines()
    assert lines[0] == '# classes: ["Zumba", "Tai Chi 太极"]'
    assert lines[1:] == [
        f"train/v_{name}_g{group:02}_c01.pkl" for name in ("TaiChi", "Zumba") for group in (2, 3, 4, 5)
    ]
    assert read_videos(tmp_path / "test.list") == (["v_TaiChi_g01_c01", "v_Zumba_g01_c01"], CLASSES)
    assert f"{tmp_path / 'train.list'}: 8 videos, 2 of 2 classes; Zumba 4, Tai Chi 太极 4" in " ".join(
        capsys.readouterr().out.split()
    )
    assert not (tmp_path / "failed.csv").exists() and not (tmp_path / "val.list").exists()


def test_val_list_has_whole_groups_of_the_training_folder(tree):
    assert check(tree, "--val_ratio", 0.25) == 0
    train, val = read_videos(tree / "train.list")[0], read_videos(tree / "val.list")[0]
    assert len(train) == 6 and len(val) == 2 and not set(train) & set(val)
    assert not find_shared_groups(train, val)
    assert len(read_videos(tree / "test.list")[0]) == 2
    chosen = set()
    for seed in range(6):
        check(tree, "--val_ratio", 0.25, "--seed", seed)
        chosen.add(tuple(read_videos(tree / "val.list")[0]))
    assert len(chosen) > 1
    check(tree, "--val_ratio", 0.25)
    assert read_videos(tree / "val.list")[0] == val


def test_folds_are_stratified_lists_of_whole_groups(tree):
    for label, name in enumerate(("Zumba", "TaiChi")):
        for group in range(2, 6):
            add_record(tree, "train", f"v_{name}_g{group:02}_c02", label)
    assert check(tree, "--folds", 4) == 0
    every, class_names = read_videos(tree / "train.list")
    seen = []
    for fold in range(1, 5):
        train, val = (read_videos(tree / f"fold{fold}_{subset}.list") for subset in ("train", "val"))
        assert train[1] == val[1] == class_names
        assert sorted(train[0] + val[0]) == sorted(every) and not find_shared_groups(train[0], val[0])
        assert [sum(name in video for video in val[0]) for name in ("Zumba", "TaiChi")] == [2, 2]
        seen += val[0]
    assert len(every) == 16 and sorted(seen) == sorted(every)

    def read_folds():
        return [(tree / f"fold{fold}_val.list").read_bytes() for fold in range(1, 5)]

    first = read_folds()
    check(tree, "--folds", 4, "--seed", 1)
    assert read_folds() != first
    check(tree, "--folds", 4)
    assert read_folds() == first


def test_more_folds_than_groups_and_folds_with_a_val_ratio_are_refused(tree, capsys):
    with pytest.raises(ValueError, match="--folds 5: the 8 samples are of 4 groups"):
        check(tree, "--folds", 5)
    for flags in (("--folds", 1), ("--folds", 2, "--val_ratio", 0.25)):
        with pytest.raises(SystemExit):
            check(tree, *flags)
        assert "--folds takes 2 or more" in capsys.readouterr().err


def test_one_group_gives_no_val_list(tree):
    for group in (3, 4, 5):
        for name in ("Zumba", "TaiChi"):
            (tree / "train" / f"v_{name}_g{group:02}_c01.pkl").unlink()
    with pytest.raises(ValueError, match="train' are of one group, so --val_ratio cannot hold out any"):
        check(tree, "--val_ratio", 0.25)


def test_val_list_of_an_earlier_run_does_not_stay_beside_the_full_training_list(tree, capsys):
    for number in (1, 2):
        check(tree, "--val_ratio", 0.25)
        written = (tree / "val.list").read_bytes()
        check(tree)
        assert not (tree / "val.list").exists()
        assert (tree / f"val.list.old{number}").read_bytes() == written
        assert f"it is called {tree}/val.list.old{number} now" in capsys.readouterr().out
    assert len(read_videos(tree / "train.list")[0]) == 8


def test_a_val_list_of_other_clips_stays(tree, capsys):
    own = f"# classes: {json.dumps(CLASSES, ensure_ascii=False)}\nelsewhere/v_Zumba_g20_c01.pkl\n"
    (tree / "val.list").write_text(own, encoding="utf-8")
    check(tree)
    assert (tree / "val.list").read_text(encoding="utf-8") == own and "val.list" not in capsys.readouterr().out


def change(path, **fields):
    record = {**read_record(path), **fields}
    path.write_bytes(pickle.dumps(record))


def test_bad_records_are_left_out_and_named_with_the_reason(tree, capsys):
    frames = tree / "UCF-101_jpg" / "Zumba"
    zumba = [tree / "train" / f"v_Zumba_g{group:02}_c01.pkl" for group in (2, 3, 4, 5)]
    taichi = [tree / "train" / f"v_TaiChi_g{group:02}_c01.pkl" for group in (2, 3, 4)]
    (frames / "v_Zumba_g02_c01" / "00002.jpg").write_bytes(b"")
    (frames / "v_Zumba_g03_c01" / "00003.jpg").unlink()
    (frames / "v_Zumba_g04_c01" / "00004.jpg").write_bytes(JPEG)
    change(zumba[3], label=2)
    taichi[0].write_bytes(taichi[0].read_bytes()[:50])
    taichi[1].write_bytes(b"cposix\nsystem\n(S'touch " + bytes(tree / "ran") + b"'\ntR.")
    change(taichi[2], frames=[JPEG, JPEG + b"x"], checksums=[zlib.crc32(JPEG)] * 2)
    assert check(tree) == 0
    reasons = read_reasons(tree)
    expected = {
        "v_Zumba_g02_c01": "00002.jpg' is empty (0 bytes); delete its folder, run avi2jpg.py and jpg2pkl.py again",
        "v_Zumba_g03_c01": "00003.jpg' does not exist; run avi2jpg.py, then jpg2pkl.py again",
        "v_Zumba_g04_c01": "3 frames, but its folder holds 4; run jpg2pkl.py again",
        "v_Zumba_g05_c01": "label 2, expected 0 to 1; run jpg2pkl.py again",
        "v_TaiChi_g02_c01": "v_TaiChi_g02_c01.pkl' (50 bytes) is no whole pickle file",
        "v_TaiChi_g03_c01": "asks for 'posix.system', which plain data never needs: refused, nothing in it was run",
        "v_TaiChi_g04_c01": "frame 2 of 2 is damaged (checksum); delete it and run jpg2pkl.py again",
    }
    assert set(reasons) == set(expected)
    assert not [(name, reasons[name]) for name in expected if expected[name] not in reasons[name]]
    assert not (tree / "ran").exists()
    assert read_videos(tree / "train.list")[0] == ["v_TaiChi_g05_c01"]
    printed = capsys.readouterr().out
    assert "WARNING: 7 bad records are left out, see" in printed
    assert "train.list has one class only, 'Tai Chi 太极'; there is nothing to tell apart" in printed


def test_cured_records_come_back_and_the_csv_goes(tree):
    path = tree / "train" / "v_Zumba_g02_c01.pkl"
    whole = path.read_bytes()
    path.write_bytes(b"")
    check(tree)
    assert list(read_reasons(tree)) == ["v_Zumba_g02_c01"] and len(read_videos(tree / "train.list")[0]) == 7
    path.write_bytes(whole)
    check(tree)
    assert not (tree / "failed.csv").exists() and len(read_videos(tree / "train.list")[0]) == 8


def test_nothing_good_left_is_an_error_and_the_old_list_stays(tree, run_script):
    check(tree)
    old = (tree / "test.list").read_text()
    for path in (tree / "test").glob("*.pkl"):
        path.write_bytes(b"")
    done = run_script("data_list_gener.py", "--root", tree)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert f"no good record is left for the test list; '{tree / 'failed.csv'}' says what is wrong" in done.stderr
    assert (tree / "test.list").read_text() == old


def test_tuples_of_2020_are_checked_and_listed(tmp_path, monkeypatch):
    (tmp_path / "classInd.txt").write_text("2 B\n1 A\n")
    for side in ("train", "test"):
        (tmp_path / side).mkdir()
        for label, name in enumerate("AB"):
            folder = tmp_path / "UCF-101_jpg" / f"{name}_jpg" / f"v_{side}_{name}"
            folder.mkdir(parents=True)
            names = sorted(f"v_{side}_{name}_{number}.jpg" for number in range(1, 12))
            for frame in names:
                (folder / frame).write_bytes(JPEG)
            frames = [f"{folder.relative_to(tmp_path.parent)}/{frame}" for frame in names]  # relative to the old cwd
            (tmp_path / side / f"v_{side}_{name}.pkl").write_bytes(pickle.dumps((f"v_{side}_{name}", label, frames)))
    monkeypatch.chdir(tmp_path.parent)
    assert check(tmp_path) == 0
    assert read_videos(tmp_path / "train.list") == (["v_train_A", "v_train_B"], ["A", "B"])


def test_records_of_unknown_classes_are_listed_without_a_header(tree, capsys):
    for side in ("train", "test"):
        (tree / side / "settings.json").unlink()
    assert check(tree) == 0
    assert read_videos(tree / "train.list")[1] is None
    assert "8 videos, 2 of 2 classes; class 0 4, class 1 4" in " ".join(capsys.readouterr().out.split())


def test_sides_that_number_classes_differently_are_refused(tree):
    (tree / "test" / "settings.json").write_text('{"class_names": ["Zumba", "Yoga"]}')
    with pytest.raises(
        ValueError, match="label 1 is 'Tai Chi 太极' in '.*train' but 'Yoga' in '.*test'; run jpg2pkl.py"
    ):
        check(tree)
    assert not (tree / "train.list").exists()


def test_rawframes_lists_are_written_and_read(tree):
    assert check(tree, "--format", "rawframes") == 0
    lines = (tree / "train.list").read_text(encoding="utf-8").splitlines()
    assert lines[0] == "UCF-101_jpg/Tai Chi 太极/v_TaiChi_g02_c01 3 1" and len(lines) == 8
    entries, class_names = read_list(tree / "train.list")
    assert [(entry.label, entry.num_frames) for entry in entries] == [(1, 3)] * 4 + [(0, 3)] * 4 and class_names is None

    lists = ["--train", tree / "train.list", "--test", tree / "test.list"]
    (tree / "UCF-101_jpg" / "Zumba" / "v_Zumba_g02_c01" / "00002.jpg").unlink()
    (tree / "UCF-101_jpg" / "Zumba" / "v_Zumba_g03_c01" / "00002.jpg").write_bytes(b"")
    shutil.rmtree(tree / "UCF-101_jpg" / "Zumba" / "v_Zumba_g04_c01")
    outputs = ["--train_list", tree / "out" / "a.txt", "--test_list", tree / "out" / "b.txt"]
    assert check(tree, "--format", "rawframes", *lists, *outputs) == 0
    reasons = read_reasons(tree / "out")
    assert reasons["v_Zumba_g02_c01"] == "line 5 says 3 frames, the folder holds 2; correct it"
    assert "00002.jpg' is empty" in reasons["v_Zumba_g03_c01"] and "does not exist" in reasons["v_Zumba_g04_c01"]
    written = (tree / "out" / "a.txt").read_text(encoding="utf-8").splitlines()
    assert written == [f"../{line}" for line in lines[:4] + lines[7:]]


def test_formats_that_do_not_fit_say_which_one_does(tmp_path):
    fill(tmp_path, pack=True)
    with pytest.raises(ValueError, match="no good record is left"):
        check(tmp_path, "--format", "rawframes")
    reason = "a packed record, which --format rawframes cannot list; use --format records"
    assert read_reasons(tmp_path)["v_Zumba_g02_c01"] == reason
    (tmp_path / "x.txt").write_text("UCF-101_jpg/Zumba/v_Zumba_g02_c01 3 0\n")
    with pytest.raises(ValueError, match="no good record is left"):
        check(tmp_path, "--train", tmp_path / "x.txt", "--test", tmp_path / "x.txt")
    reason = "a frame folder, which --format records cannot list; use --format rawframes"
    assert read_reasons(tmp_path)["v_Zumba_g02_c01"] == reason


def test_list_whose_labels_are_not_those_of_its_records(tree, capsys):
    (tree / "x.txt").write_text(
        "train/v_Zumba_g02_c01.pkl 1\ntrain/v_Zumba_g03_c01.pkl 0\nnone.pkl\nx.avi 1\nx.avi 1\n"
    )
    (tree / "x.avi").write_text("")
    check(tree, "--train", tree / "x.txt")
    reasons = read_reasons(tree)
    assert reasons["v_Zumba_g02_c01"] == "label 0 in the record, but 1 in the list; make both again"
    assert "'none.pkl' does not exist" in reasons["train: none.pkl"]
    assert "x.avi: the file is empty (0 bytes)" in reasons["x.avi"]
    assert "WARNING: 1 lines repeat another line of their list" in capsys.readouterr().out
    assert read_videos(tree / "train.list") == (["v_Zumba_g03_c01"], CLASSES)


def test_empty_list_and_missing_records(tree, tmp_path, run_script):
    (tree / "empty.txt").write_text("\n")
    with pytest.raises(ValueError, match="empty.txt: the list is empty"):
        check(tree, "--train", tree / "empty.txt")
    (tmp_path / "none").mkdir()
    done = run_script("data_list_gener.py", cwd=tmp_path / "none")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    for text in (
        "no records (.pkl) in 'data/train'; run avi2jpg.py, then jpg2pkl.py",
        "download UCF-101",
        "make_samples.py",
    ):
        assert text in done.stderr


def test_groups_in_train_and_test_are_warned_of(tree, capsys):
    add_record(tree, "test", "v_Zumba_g02_c09", 0)
    check(tree)
    assert "WARNING: 1 groups stand in train AND test, such as g02" in capsys.readouterr().out


def test_many_classes_are_shown_by_the_smallest_and_the_largest(tree, capsys):
    names = ", ".join(f'"class {number}"' for number in range(20))
    for side in ("train", "test"):
        (tree / side / "settings.json").write_text(f'{{"class_names": [{names}]}}')
    add_record(tree, "train", "v_Zumba_g06_c01", 0)
    check(tree)
    assert "9 videos, 2 of 20 classes; 0 (class 10) to 5 (class 0) per class" in " ".join(
        capsys.readouterr().out.split()
    )


def test_all_outputs_can_be_moved_and_names_may_hold_blanks(tree):
    place = tree / "my lists 表"
    flags = [f"--{side}-list={place / side}.txt" for side in ("train", "test", "val")]
    assert check(tree, "--val-ratio", 0.25, *flags) == 0
    assert sorted(os.listdir(place)) == ["test.txt", "train.txt", "val.txt"]
    assert len(read_videos(place / "train.txt")[0]) == 6 and not (tree / "train.list").exists()


def test_file_where_the_output_folder_should_be(tree):
    (tree / "taken").write_text("")
    with pytest.raises(OSError, match="could not be written .*a file stands where a folder is needed"):
        check(tree, "--train_list", tree / "taken" / "train.list")


@pytest.mark.parametrize("flags", [("--val_ratio", 1), ("--val_ratio", -0.1), ("--format", "video"), ("--rot", "x")])
def test_flags_out_of_range(tree, flags, capsys):
    with pytest.raises(SystemExit) as caught:
        check(tree, *flags)
    assert caught.value.code == 2
    message = capsys.readouterr().err
    assert re.search("takes a share from 0 to below 1|invalid choice: 'video'|did you mean '--root'", message)


# Videos and annotation files.


def films(root, *names, codec="mpeg4", num_frames=4):
    """Write tiny films below a folder; return it."""
    for name in names:
        write_numbered_video(root / name, codec, num_frames=num_frames)
    return root


def read_lines(path):
    return path.read_text(encoding="utf-8").splitlines()


def test_lists_of_videos_are_decoded_and_written(tmp_path):
    videos = films(tmp_path / "my videos", "A/one.avi", "A/two.mp4", "B/three.avi")
    (videos / "B" / "cut.avi").write_bytes((videos / "B" / "three.avi").read_bytes()[:-1000])
    (tmp_path / "train.txt").write_text("A/one.avi 0\nA/two.mp4 0\nB/three.avi 1\nB/cut.avi 1\nB/none.avi 1\n")
    (tmp_path / "test.txt").write_text("A/one.avi 0\n")
    sides = ["--train", tmp_path / "train.txt", "--test", tmp_path / "test.txt"]
    assert check(tmp_path, *sides, "--videos", videos) == 0
    assert read_lines(tmp_path / "train.list") == [
        "my videos/A/one.avi 0",
        "my videos/A/two.mp4 0",
        "my videos/B/three.avi 1",
    ]
    reasons = read_reasons(tmp_path)
    assert "cut.avi: cut off or damaged" in reasons["cut.avi"]
    assert reasons["none.avi"].endswith("B/none.avi' does not exist; get it or remove the line")


def test_a_damaged_video_is_left_out(tmp_path):
    films(tmp_path, "good.avi", "bad.avi", num_frames=48)
    data = bytearray((tmp_path / "bad.avi").read_bytes())
    data[len(data) // 2 : len(data) // 2 + 200] = bytes(200)
    (tmp_path / "bad.avi").write_bytes(data)
    (tmp_path / "x.txt").write_text("good.avi 0\nbad.avi 0\n")
    check(tmp_path, "--train", tmp_path / "x.txt", "--test", tmp_path / "x.txt", "--format", "videos")
    assert read_lines(tmp_path / "train.list") == ["good.avi 0"]
    assert "bad.avi: packet 22 of 48 is damaged" in read_reasons(tmp_path)["bad.avi"]


def test_kinetics_csv(tmp_path, capsys):
    films(tmp_path / "k400" / "train" / "air drumming", "a-b_C_000010_000020.mp4")
    films(tmp_path / "k400" / "val", "zz_000000_000010.mkv", "only_id.mp4")
    (tmp_path / "train.csv").write_text(
        'label,youtube_id,time_start,time_end,split\n"air drumming",a-b_C,10,20,train\nzumba,gone,1,11,train\n'
    )
    (tmp_path / "val.csv").write_text(
        "label,youtube_id,time_start,time_end,split\nzumba,zz,0,10,val\nair drumming,only_id,3,13,val\n"
    )
    sides = ["--train", tmp_path / "train.csv", "--test", tmp_path / "val.csv", "--videos", tmp_path / "k400"]
    assert check(tmp_path, *sides) == 0
    assert read_list(tmp_path / "train.list")[1] == ["air drumming", "zumba"]
    assert read_lines(tmp_path / "train.list")[1:] == ["k400/train/air drumming/a-b_C_000010_000020.mp4 0"]
    assert read_lines(tmp_path / "test.list")[1:] == ["k400/val/zz_000000_000010.mkv 1", "k400/val/only_id.mp4 0"]
    assert read_reasons(tmp_path)["gone_000001_000011"].endswith("does not exist; get it or remove the line")

    check(tmp_path, *sides, "--labels", KINETICS)
    names = read_list(tmp_path / "test.list")[1]
    assert len(names) == 400 and names[399] == "zumba"
    assert [entry.label for entry in read_list(tmp_path / "test.list")[0]] == [399, 1]


def test_kinetics_csv_of_other_copies(tmp_path):
    films(tmp_path / "k" / "zumba", "a_0_10.mp4", "b_000003_000013.mp4")
    (tmp_path / "a.csv").write_text("label,youtube_id,time_start,time_end\nzumba,a,0.0,10.0\nzumba,b,3.0,13\n")
    check(tmp_path, "--train", tmp_path / "a.csv", "--test", tmp_path / "a.csv", "--videos", tmp_path / "k")
    assert read_lines(tmp_path / "test.list")[1:] == ["k/zumba/a_0_10.mp4 0", "k/zumba/b_000003_000013.mp4 0"]


def test_a_name_that_two_videos_have_is_refused_with_its_line(tmp_path):
    films(tmp_path / "v", "A/001.avi", "B/001.avi")
    (tmp_path / "a.txt").write_text("A/001 0\n001 1\n")
    with pytest.raises(
        ValueError, match="a.txt line 2: '.*A/001.avi' and '.*B/001.avi' both have the name '001'; name"
    ):
        check(tmp_path, "--train", tmp_path / "a.txt", "--test", tmp_path / "a.txt", "--videos", tmp_path / "v")


def test_what_is_written_is_read_whatever_the_names(tmp_path):
    names = ["#1/#a.avi", " b.avi", "-c 100%.avi", "d, 'e'.avi", "f\tg.avi", "太.avi"]
    films(tmp_path / "v", *names)
    write_frames(tmp_path / "v" / "#2" / "h ", [ramp_frame(0)])
    (tmp_path / "v" / "i\nj.avi").write_bytes((tmp_path / "v" / "太.avi").read_bytes())
    lines = ["#1/#a.avi 0", "./ b.avi 0", *(f"{name} 0" for name in names[2:]), "#2/h / 1 0", "# no.avi 0"]
    (tmp_path / "a.txt").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    sides = ["--train", tmp_path / "a.txt", "--test", tmp_path / "a.txt", "--videos", tmp_path / "v"]
    check(tmp_path, *sides, "--train_list", tmp_path / "v" / "train.list")
    assert read_lines(tmp_path / "v" / "train.list")[0] == "./#1/#a.avi 0"
    for path in (tmp_path / "v" / "train.list", tmp_path / "test.list"):
        found = [os.path.relpath(entry.path, tmp_path / "v") for entry in read_list(path)[0]]
        assert found == [*names, "#2/h "] and not (tmp_path / "failed.csv").exists()


@pytest.mark.parametrize("name", ["a\nb", "a\rb", "a\udcffb"])
def test_names_that_no_list_can_hold_are_named(tree, name):
    shutil.copy(tree / "train" / "v_Zumba_g02_c01.pkl", tree / "train" / f"{name}.pkl")
    check(tree)
    with open(tree / "failed.csv", encoding="utf-8", newline="") as file:
        ((item, reason),) = [(row["item"], row["reason"]) for row in csv.DictReader(file)]
    assert "a" in item and re.search("cannot hold a name with a line break|is not UTF-8", reason)
    assert len(read_videos(tree / "train.list")[0]) == 8


def test_kinetics_lists_of_frame_folders(tmp_path):
    for name, num_frames in (("abseiling/x_000001_000011", 5), ("zumba/y_000001_000011", 4)):
        write_frames(tmp_path / "frames" / name, [ramp_frame(index) for index in range(num_frames)], "img_{:05d}.jpg")
    (tmp_path / "train.txt").write_text("x_000001_000011 5 0\nzumba/y_000001_000011 3 399\n")
    sides = ["--train", tmp_path / "train.txt", "--test", tmp_path / "train.txt", "--videos", tmp_path / "frames"]
    check(tmp_path, *sides, "--labels", KINETICS)
    lines = ["frames/abseiling/x_000001_000011 5 0", "frames/zumba/y_000001_000011 3 399"]
    assert read_lines(tmp_path / "train.list")[1:] == lines
    assert read_list(tmp_path / "train.list")[1][0] == "abseiling"
    check(tmp_path, *sides, "--format", "rawframes")
    assert read_lines(tmp_path / "train.list") == lines


def test_something_something_v1(tmp_path):
    for name in ("100218", "24413"):
        write_frames(tmp_path / "v1" / name, [ramp_frame(index) for index in range(3)])
    (tmp_path / "labels.csv").write_text("Holding something\nPlugging something into something\n")
    (tmp_path / "train.csv").write_text("100218;Plugging something into something\n24413;Holding something\n")
    sides = ["--train", tmp_path / "train.csv", "--test", tmp_path / "train.csv", "--videos", tmp_path / "v1"]
    check(tmp_path, *sides, "--labels", tmp_path / "labels.csv")
    assert read_lines(tmp_path / "train.list")[1:] == ["v1/100218 3 1", "v1/24413 3 0"]


def test_something_something_v2(tmp_path):
    films(tmp_path / "v2", "78687.webm", "42326.webm", codec="libvpx-vp9")
    (tmp_path / "labels.json").write_text('{"Holding something next to something": "1", "Closing something": "0"}')
    (tmp_path / "train.json").write_text(
        '[{"id": "78687", "label": "holding a potato", "template": "Holding [something] next to [something]", '
        '"placeholders": ["a potato", "vicks"]}, {"id": "42326", "template": "Closing [something]"}]'
    )
    sides = ["--train", tmp_path / "train.json", "--test", tmp_path / "train.json", "--videos", tmp_path / "v2"]
    check(tmp_path, *sides, "--labels", tmp_path / "labels.json")
    assert read_list(tmp_path / "test.list")[1] == ["Closing something", "Holding something next to something"]
    assert read_lines(tmp_path / "test.list")[1:] == ["v2/78687.webm 1", "v2/42326.webm 0"]


def test_labels_without_videos_are_refused(tree, capsys):
    with pytest.raises(SystemExit):
        check(tree, "--labels", KINETICS)
    assert "--labels goes with --videos; records know their classes" in capsys.readouterr().err
    with pytest.raises(
        FileNotFoundError, match="train' does not exist or is no file; name an annotation file or a list"
    ):
        check(tree, "--videos", tree)
