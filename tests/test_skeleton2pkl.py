"""The whole way from raw skeletons to the pkl: content, report, what is left out, and runs that are stopped."""

import csv
import json
import os
import pathlib
import pickle

import numpy as np
import pytest
import small_poses
from raw_skeleton_files import draw_person, write_ntu

import skeleton2pkl
from common.files import dump_pickle, load_pickle
from dataset.raw_skeletons import ucla

NAMES = [f"S00{setup}C00{camera}P00{person}R001A00{action}" for setup, camera, person, action in
         [(1, 1, 1, 1), (1, 2, 2, 1), (2, 3, 3, 2), (2, 1, 4, 2), (1, 2, 6, 1)]]  # fmt: skip


@pytest.fixture
def ntu(tmp_path):
    """Five samples of 3, 4, 5 ... frames; the last one is by performer 6."""
    for number, name in enumerate(NAMES):
        person = draw_person(3 + number, seed=number)
        write_ntu(tmp_path / "raw" / f"{name}.skeleton", [[(1, joints)] for joints in person])
    return tmp_path


def run(root, *flags, format_name="ntu"):
    return skeleton2pkl.main(
        [format_name, str(root / "raw"), "--out", str(root / "x.pkl"), "--workers", "2", *map(str, flags)]
    )


def read_skipped(root):
    with open(root / "x_skipped.csv", encoding="utf-8", newline="") as file:
        return {row["item"]: row["reason"] for row in csv.DictReader(file)}


def test_pkl_holds_samples_splits_classes_and_layout(ntu, capsys):
    assert run(ntu) == 0
    content = load_pickle(ntu / "x.pkl")
    assert content.keys() == {"split", "annotations", "class_names", "layout"} and content["layout"] == "ntu25"
    assert [annotation["frame_dir"] for annotation in content["annotations"]] == sorted(NAMES)
    for annotation in content["annotations"]:
        number = NAMES.index(annotation["frame_dir"])
        assert annotation["label"] == int(annotation["frame_dir"][-3:]) - 1
        assert annotation["total_frames"] == 3 + number
        assert np.array_equal(annotation["keypoint"][0], draw_person(3 + number, seed=number).astype(np.float32))
    assert content["split"]["xsub_val"] == sorted(name for name in NAMES if name[9:12] in ("003", "006"))
    printed = capsys.readouterr().out
    assert printed.endswith((ntu / "x_report.txt").read_text(encoding="utf-8"))
    assert "x.pkl: 5 samples of 5; 0 damaged, 0 without any body, 0 not read" in printed
    assert "persons: 1 in 5" in printed and "frames: 3 to 7, mean 5.0; 1-7: 5" in printed
    assert "split xsub_train: 3 samples (40088 of the official 40091 are missing); 2 of 60 classes" in printed
    assert sorted(os.listdir(ntu)) == ["raw", "x.pkl", "x_report.txt"]


def test_what_is_bad_is_left_out_and_named(ntu, capsys):
    paths = [ntu / "raw" / f"{name}.skeleton" for name in NAMES]
    paths[0].write_bytes(paths[0].read_bytes()[:-30])
    write_ntu(paths[1], [[], []])
    (ntu / "raw" / "notes.skeleton").write_text("?")
    assert run(ntu) == 0
    content = load_pickle(ntu / "x.pkl")
    assert len(content["annotations"]) == 3 and NAMES[0] not in sum(content["split"].values(), [])
    skipped = read_skipped(ntu)
    assert skipped[NAMES[0]].endswith("line 85: got 5 numbers, expected 12 (joint 25 of 25 of a body of frame 3 of 3); "
                                      "the file is damaged, get it again")  # fmt: skip
    assert skipped[NAMES[1]].endswith("has no body in any of its 2 frames")
    assert len(skipped) == 3
    printed = capsys.readouterr().out
    assert "x.pkl: 3 samples of 5; 1 damaged, 1 without any body, 1 not read" in printed
    assert f"  damaged: '{paths[0]}' line 85: got 5" in printed and "all 3 are named in" in printed
    paths[0].write_text("1")
    for path in paths[2:]:
        path.write_text("")
    with pytest.raises(ValueError, match="no good sample in '.*raw'; '.*x_skipped.csv' says what is wrong with each"):
        run(ntu)


def test_generators_own_data_comes_back(samples, tmp_path):
    flags = ["ntu", samples / "nturgb+d_skeletons", "--out", tmp_path / "x.pkl", "--train_subjects", "2,3"]
    assert skeleton2pkl.main(list(map(str, flags))) == 0
    ours, theirs = load_pickle(tmp_path / "x.pkl"), load_pickle(samples / "ntu25.pkl")
    lines = (samples / "ucfTrainTestlist" / "classInd.txt").read_text().splitlines()
    assert ours["class_names"] == [line.split()[1] for line in lines]
    expected = {annotation["frame_dir"]: annotation for annotation in theirs["annotations"]}
    names = {}
    for annotation in ours["annotations"]:
        name = annotation["frame_dir"]
        action = ours["class_names"][annotation["label"]]
        names[name] = f"v_{action}_g{name[10:12]}_c{name[14:16]}"
        other = expected.pop(names[name])
        assert (annotation["label"], annotation["total_frames"]) == (other["label"], other["total_frames"])
        np.testing.assert_allclose(annotation["keypoint"], other["keypoint"], rtol=0, atol=5.1e-7)  # float32 of %.7f
    assert not expected
    for side in ("train", "val"):
        split = theirs["split"][{"train": "train1", "val": "test1"}[side]]
        assert {names[name] for name in ours["split"][f"xsub_{side}"]} == set(split)


def test_a_stopped_run_goes_on_where_it_was(ntu, monkeypatch):
    monkeypatch.setattr(skeleton2pkl, "BATCH_BYTES", 20_000)

    def fail(*arguments):
        raise OSError(28, "no space left")

    monkeypatch.setattr(skeleton2pkl, "check_labels", fail)
    with pytest.raises(OSError, match="no space"):
        run(ntu)
    assert not (ntu / "x.pkl").exists() and len(os.listdir(ntu / "x.pkl.parts")) > 1
    monkeypatch.undo()
    monkeypatch.setattr(skeleton2pkl, "BATCH_BYTES", 20_000)
    monkeypatch.setattr(skeleton2pkl.FORMATS["ntu"], "read_sample", None)  # nothing may be read again ...
    assert run(ntu) == 0
    assert len(load_pickle(ntu / "x.pkl")["annotations"]) == 5 and not (ntu / "x.pkl.parts").exists()


@pytest.mark.parametrize("change", ["option", "file"])
def test_what_has_changed_is_read_again(tmp_path, change, monkeypatch):
    path = tmp_path / "raw" / f"{NAMES[0]}.skeleton"
    write_ntu(path, [[], *([(1, joints)] for joints in draw_person(3))])
    monkeypatch.setattr(skeleton2pkl, "assemble", None)
    with pytest.raises(TypeError):
        run(tmp_path)
    monkeypatch.undo()
    if change == "file":
        size = path.stat().st_size
        write_ntu(path, [[], *([(1, joints)] for joints in draw_person(3, seed=1))])
        assert path.stat().st_size == size
        os.utime(path, (1, 1))
    assert run(tmp_path, "--bodies", "first" if change == "option" else "pyskl") == 0
    keypoint = load_pickle(tmp_path / "x.pkl")["annotations"][0]["keypoint"]
    if change == "option":
        assert keypoint.shape[1] == 4  # with the empty frame, which "pyskl" drops
    else:
        np.testing.assert_allclose(keypoint[0], draw_person(3, seed=1), atol=1e-6)


def read_or_die(sample, args):
    if sample.name == NAMES[2]:
        os._exit(3)
    return ucla.make_annotation(sample, sample.label, np.ones((1, 2, 25, 3)), 9)


def test_a_sample_that_kills_its_process_is_the_only_one_lost(ntu, monkeypatch):
    monkeypatch.setattr(skeleton2pkl.FORMATS["ntu"], "read_sample", read_or_die)
    assert run(ntu) == 0
    assert len(load_pickle(ntu / "x.pkl")["annotations"]) == 4
    assert read_skipped(ntu) == {NAMES[2]: "the process crashed on it (exit code 3)"}


def test_a_good_run_removes_the_complaints_of_an_earlier_one(ntu):
    path = ntu / "raw" / f"{NAMES[0]}.skeleton"
    whole = path.read_bytes()
    path.write_bytes(whole[:100])
    assert run(ntu) == 0 and (ntu / "x_skipped.csv").exists()
    path.write_bytes(whole)
    assert run(ntu) == 0 and not (ntu / "x_skipped.csv").exists()
    assert len(load_pickle(ntu / "x.pkl")["annotations"]) == 5


def test_passing_a_pkl_through_changes_nothing(ntu):
    assert run(ntu) == 0
    (ntu / "x.pkl").rename(ntu / "raw.pkl")
    assert skeleton2pkl.main(["pkl", str(ntu / "raw.pkl"), "--out", str(ntu / "y.pkl")]) == 0
    assert (ntu / "y.pkl").read_bytes() == (ntu / "raw.pkl").read_bytes()


def test_joints_and_labels_must_fit_the_set(ntu):
    assert run(ntu) == 0
    flags = ["pkl", str(ntu / "x.pkl"), "--out", str(ntu / "y.pkl")]
    with pytest.raises(ValueError, match="A001 has 25 joints, but the layout coco17 has 17; give the right --layout"):
        skeleton2pkl.main([*flags, "--layout", "coco17"])
    with pytest.raises(ValueError, match="layout 'coco18' is not known"):
        skeleton2pkl.main([*flags, "--layout", "coco18"])
    (ntu / "classes.txt").write_text("1 only\n")
    with pytest.raises(ValueError, match="A002 has the label 1, but there are names for 1 classes; give the right"):
        skeleton2pkl.main([*flags, "--classes", str(ntu / "classes.txt")])


def test_a_sample_of_other_joints_or_coordinates_is_left_out_and_named(tmp_path, capsys):
    make = small_poses.make_annotation
    samples = [make(name, label) for label, name in enumerate("abc")]
    samples.append(make("joints", keypoint=np.ones((1, 5, 18, 2), np.float32) * 9, keypoint_score=None, total_frames=5))
    samples.append(make("depth", keypoint=np.ones((1, 5, 17, 3), np.float32) * 9, keypoint_score=None, total_frames=5))
    names = [sample["frame_dir"] for sample in samples]
    content = {"split": {"train": names}, "annotations": samples, "class_names": ["A", "B", "C"]}
    dump_pickle(content, str(tmp_path / "raw.pkl"))
    flags = ["pkl", str(tmp_path / "raw.pkl"), "--out"]
    assert skeleton2pkl.main([*flags, str(tmp_path / "x.pkl")]) == 0
    assert load_pickle(str(tmp_path / "x.pkl"))["split"] == {"train": ["a", "b", "c"]}
    printed = capsys.readouterr().out
    assert "3 samples of 5; 2 damaged" in printed
    assert "joints has 18 joints, but the layout coco17 has 17; give the right --layout" in printed
    assert "depth has 3 coordinates, but 4 of the samples have 2; make a pkl of each" in printed
    with pytest.raises(SystemExit):
        skeleton2pkl.main([*flags, str(tmp_path / "raw.pkl")])
    assert "is what is read, and what is left out of it would be lost" in capsys.readouterr().err
    for wrong, message in (({0: "A"}, "class_names is {0: 'A'}, expected a list"), (["A", "A"], "has 'A' 2 times")):
        dump_pickle({**content, "class_names": wrong}, str(tmp_path / "raw.pkl"))
        with pytest.raises(ValueError, match=message):
            skeleton2pkl.main([*flags, str(tmp_path / "x.pkl")])


def test_empty_frames_persons_and_lengths_are_counted(tmp_path, capsys):
    person = draw_person(40)
    frames = [[(1, joints), (2, joints + 1)] if frame % 2 else [] for frame, joints in enumerate(person)]
    for name in NAMES[:2]:
        write_ntu(tmp_path / "raw" / f"{name}.skeleton", frames)
    write_ntu(tmp_path / "raw" / f"{NAMES[2]}.skeleton", [[(1, joints)] for joints in person[:9]])
    assert run(tmp_path, "--bodies", "first") == 0
    printed = capsys.readouterr().out
    assert "persons: 1 in 1, 2 in 2" in printed and "frames without any body: 40" in printed
    assert "frames: 9 to 40, mean 29.7; 8-15: 1, 32-63: 2" in printed


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["ucla", "x", "--out", "y", "--bodies", "msg3d"], "--bodies is for ntu, ntu60, ntu120, not for ucla"),
        (["openpose", "x", "--out", "y", "--image_size", "9"], "expected WIDTHxHEIGHT, such as 1920x1080, got '9'"),
        (
            ["coco", "x", "--out", "y", "--persons", "best"],
            "expected sorted or matched or stgcn, a number from 1, or both",
        ),
        (["coco", "x", "--out", "y", "--first_frame", "x"], "expected a number from 0, or found, got 'x'"),
        (["ntu", "x", "--out", "y", "--persons", "3"], "--persons is for kinetics, coco, openpose, not for ntu"),
        (["ntu", "x", "--out", "y", "--train_subjects", "1,a"], "expected whole numbers with commas between them"),
        (["coco", "x", "--out", "y", "--val-ratio", "1"], "--val_ratio takes a share between 0 and 1"),
        (["ntu", "x", "--out", "y", "--body", "first"], "unknown flag '--body'; did you mean '--bodies'?"),
    ],
)
def test_flags_that_make_no_sense(flags, message, capsys):
    with pytest.raises(SystemExit):
        skeleton2pkl.main(flags)
    assert message in capsys.readouterr().err


def write_own_set(root, format_name):
    """Four samples of 17, 25 or 33 joints, of two classes and two groups."""
    for class_name in ("Bow", "Wave"):
        for group in (1, 2):
            stem = root / "raw" / class_name / f"v_{class_name}_g0{group}"
            stem.parent.mkdir(parents=True, exist_ok=True)
            if format_name == "coco":
                content = [{"image_id": frame, "keypoints": [1 + frame, 2, 0.5] * 17} for frame in range(4)]
                stem.with_suffix(".json").write_text(json.dumps(content))
            elif format_name == "openpose":
                stem.mkdir()
                for frame in range(4):
                    people = [{"pose_keypoints_2d": [1 + frame, 2, 0.5] * 25}]
                    (stem / f"a_{frame:012}_keypoints.json").write_text(json.dumps({"people": people}))
            else:
                stem.with_suffix(".csv").write_text("\n".join([",".join(["0.5"] * 99)] * 4))


@pytest.mark.parametrize(("format_name", "num_joints"), [("coco", 17), ("openpose", 25), ("mediapipe", 33)])
def test_own_sets(tmp_path, format_name, num_joints):
    write_own_set(tmp_path, format_name)
    assert run(tmp_path, "--val_ratio", 0.5, format_name=format_name) == 0
    content = load_pickle(tmp_path / "x.pkl")
    assert content["class_names"] == ["Bow", "Wave"] and len(content["annotations"]) == 4
    assert {annotation["keypoint"].shape[:3] for annotation in content["annotations"]} == {(1, 4, num_joints)}
    groups = {split: {name[-3:] for name in names} for split, names in content["split"].items()}
    assert groups["train"] ^ groups["val"] == {"g01", "g02"}


def write_crowd(root):
    """Two samples; in one of them there are four persons."""
    for group, places in ((1, (100, 300, 500, 700)), (2, (100,))):
        path = root / "raw" / "Wave" / f"v_g0{group}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        results = [{"image_id": frame, "keypoints": [x, x, 1 - x / 1000] * 17} for frame in range(3) for x in places]
        path.write_text(json.dumps(results))


def test_persons_that_are_left_out_are_told_and_kept_on_demand(tmp_path, capsys):
    write_crowd(tmp_path)
    flags = ("--val_ratio", 0.5)
    assert run(tmp_path, *flags, format_name="coco") == 0
    assert "persons beyond the first 2 left out (--persons keeps more): 2 in 1 samples" in capsys.readouterr().out
    for words, expected in (("3", 3), ("sorted,4", 4), ("matched,9", 4), ("stgcn", 2)):
        assert run(tmp_path, *flags, "--persons", words, format_name="coco") == 0
        annotation = load_pickle(tmp_path / "x.pkl")["annotations"][0]
        assert annotation["keypoint"][:, 0, 0, 0].tolist() == [100, 300, 500, 700][:expected]
        assert annotation.keys() == {"frame_dir", "label", "total_frames", "keypoint", "keypoint_score"}
    assert "left out" not in capsys.readouterr().out.partition("x.pkl: 2 samples of 2")[0]


def test_shares_of_the_picture_are_refused_with_what_to_do(tmp_path):
    write_crowd(tmp_path)
    for path in (tmp_path / "raw").rglob("*.json"):
        results = json.loads(path.read_text())
        path.write_text(json.dumps([{**each, "keypoints": [0.2, 0.3, 0.9] * 17} for each in results]))
    message = (
        "no good sample .*, the first: .*v_g01.json': v_g01: key points have x up to 0.2 and .*: they are shares of"
    )
    with pytest.raises(ValueError, match=message):
        run(tmp_path, "--val_ratio", 0.5, "--image_size", "640x480", format_name="coco")


def test_samples_of_two_splits_and_names_that_stand_twice_are_told(ntu, capsys):
    assert run(ntu) == 0
    content = load_pickle(ntu / "x.pkl")
    content["split"] = {"train": [NAMES[0], NAMES[1], NAMES[0]], "val": [NAMES[1]]}
    (ntu / "y.pkl").write_bytes(pickle.dumps(content))
    assert skeleton2pkl.main(["pkl", str(ntu / "y.pkl"), "--out", str(ntu / "x.pkl")]) == 0
    printed = capsys.readouterr().out
    assert f"1 samples of split 'train' are in 'val' too, first '{NAMES[1]}', so that a score is too good" in printed
    assert read_skipped(ntu)[f"train: {NAMES[0]}"] == "the split names it again"
    assert load_pickle(ntu / "x.pkl")["split"]["train"] == [NAMES[0], NAMES[1]]


def test_arrays(tmp_path):
    (tmp_path / "raw").mkdir()
    np.save(tmp_path / "raw" / "train_data.npy", np.ones((3, 3, 8, 25, 2), np.float32))
    (tmp_path / "raw" / "train_label.pkl").write_bytes(pickle.dumps((["a", "b", "c"], [0, 1, 1])))
    assert run(tmp_path, "--layout", "openpose25", format_name="npy") == 0
    content = load_pickle(tmp_path / "x.pkl")
    assert content["split"] == {"train": ["a", "b", "c"]} and content["layout"] == "openpose25"
    assert content["annotations"][2]["keypoint"].shape == (2, 8, 25, 2) and "class_names" not in content


def test_script_runs_as_users_run_it(ntu, run_script):
    done = run_script("skeleton2pkl.py", "ntu60", ntu / "raw", "--out", ntu / "out" / "x.pkl", "--bodies", "ctrgcn")
    assert done.returncode == 0, done.stderr
    assert "5 samples of 5" in done.stdout and (ntu / "out" / "x.pkl").is_file()
    failed = run_script("skeleton2pkl.py", "ucla", pathlib.Path("absent"), "--out", ntu / "y.pkl")
    assert failed.returncode == 1 and "folder 'absent' does not exist; give the folder all_sqe" in failed.stderr
