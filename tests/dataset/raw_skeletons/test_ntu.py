"""NTU RGB+D by its file names: official splits, bad samples, classes."""

import argparse
import json
import pathlib

import pytest
from paths import GOLDEN_DATA
from raw_skeleton_files import draw_person, write_ntu

from dataset.raw_skeletons import ntu

FACTS = json.loads((GOLDEN_DATA / "ntu_facts.json").read_text(encoding="utf-8"))


def find(root, **flags):
    return ntu.find_samples(
        argparse.Namespace(**{"format": "ntu", "raw": root, "classes": None, "train_subjects": None, **flags})
    )


def touch(root, *names):
    for name in names:
        (root / "nturgb+d_skeletons" / f"{name}.skeleton").parent.mkdir(exist_ok=True)
        (root / "nturgb+d_skeletons" / f"{name}.skeleton").write_text("0\n")
    return root / "nturgb+d_skeletons"


def test_protocol_is_that_of_the_papers():
    sixty = [subject for subject in ntu.TRAIN_SUBJECTS if subject <= 40]
    assert list(ntu.TRAIN_SUBJECTS) == FACTS["xsub120_train_subjects"] and sixty == FACTS["xsub60_train_subjects"]
    assert list(ntu.TRAIN_CAMERAS) == FACTS["xview_train_cameras"]
    for version, counts in FACTS["counts [train,test]"].items():
        for key in ("xsub", "xview (train cameras 2,3)", "xset (train even setups)"):
            protocol = key.split()[0]
            sizes = ntu.OFFICIAL_SIZES[version]
            assert [sizes[f"{protocol}_train"], sizes[f"{protocol}_val"]] == counts[key]
        assert ntu.read_missing(version) == FACTS[f"missing_{version}"]
        assert len(set(ntu.read_official_classes(version))) == counts["classes"] == ntu.NUM_ACTIONS[version]


def test_splits_of_every_protocol(tmp_path):
    names = ["S001C001P001R001A001", "S002C002P003R001A060", "S017C003P040R002A007"]
    found = find(touch(tmp_path, *names))
    assert [(sample.name, sample.label) for sample in found.samples] == list(zip(names, (0, 59, 6), strict=True))
    assert found.splits == {
        "xsub_train": names[:1], "xsub_val": names[1:],
        "xview_train": names[1:], "xview_val": names[:1],
        "xset_train": names[1:2], "xset_val": [names[0], names[2]],
    }  # fmt: skip
    assert len(found.class_names) == 60 and found.class_names[6] == "throw" and found.layout == "ntu25"
    assert found.official_sizes["xsub_train"] == 40091


def test_version_comes_from_the_names_or_from_the_user(tmp_path):
    names = ["S001C001P001R001A001", "S018C001P008R001A061", "S001C002P005R002A008", "S019C002P010R001A105"]
    raw = touch(tmp_path, *names)
    found = find(raw)
    assert len(found.class_names) == 120 and found.class_names[60] == "put on headphone"
    assert {sample.name for sample in found.samples} == {names[0], names[1], names[3]}
    assert found.skipped == {names[2]: "the data set's own list says that its skeletons are missing"}
    found = find(raw, format="ntu60")
    assert [sample.name for sample in found.samples] == names[:1] and found.splits == {}
    assert found.skipped[names[1]] == "it is of NTU RGB+D 120, not of 60" and len(found.skipped) == 3


def test_missing_list_of_120_is_for_120(tmp_path):
    only_120 = sorted(set(FACTS["missing_ntu120"]) - set(FACTS["missing_ntu60"]))[0]
    raw = touch(tmp_path, only_120, "S001C001P001R001A001")
    assert only_120 in find(raw, format="ntu120").skipped
    assert len(FACTS["missing_ntu60"]) == 302 and len(FACTS["missing_ntu120"]) == 535


def test_foreign_names_and_second_files_are_named(tmp_path):
    raw = touch(tmp_path, "S001C001P001R001A001", "notes", "S001C001P001R001A000", "S001C001P002R001A121")
    (raw / "more").mkdir()
    (raw / "more" / "S001C001P001R001A001.skeleton").write_text("0\n")
    found = find(raw)
    reasons = {pathlib.Path(path).name: reason for path, reason in found.skipped.items()}
    assert reasons["notes.skeleton"].startswith("its name is not that of a sample")
    assert reasons["S001C001P001R001A000.skeleton"].startswith("its name is not that of a sample")
    assert reasons["S001C001P001R001A001.skeleton"].startswith("the sample is in '")
    assert reasons["S001C001P002R001A121"] == "action 121, expected one of the 120 classes"


def test_a_set_of_ones_own_has_its_own_classes_and_performers(tmp_path):
    names = ["S001C001P001R001A001", "S001C001P002R001A002", "S001C002P005R002A001"]
    raw = touch(tmp_path, *names, "S001C002P005R002A008")
    (tmp_path / "ucfTrainTestlist").mkdir()
    (tmp_path / "ucfTrainTestlist" / "classInd.txt").write_text("1 Bow\n2 Wave\n")
    found = find(raw, train_subjects=(2, 5))
    assert found.class_names == ["Bow", "Wave"] and found.official_sizes == {}
    assert found.splits["xsub_train"] == names[1:] and found.splits["xsub_val"] == names[:1]
    assert found.skipped == {"S001C002P005R002A008": "action 8, expected one of the 2 classes"}
    (tmp_path / "own.txt").write_text("".join(f"{number} class{number}\n" for number in range(1, 9)))
    assert find(raw, classes=str(tmp_path / "own.txt")).skipped == {}


def test_no_files(tmp_path):
    with pytest.raises(FileNotFoundError, match="no .skeleton files in '.*'; give the folder nturgb"):
        find(tmp_path)
    with pytest.raises(FileNotFoundError, match="folder '.*absent' does not exist; give the folder nturgb"):
        find(tmp_path / "absent")


def test_a_sample_becomes_an_annotation(tmp_path):
    person = draw_person(3)
    write_ntu(tmp_path / "S001C001P001R001A005.skeleton", [[(1, joints)] for joints in person])
    found = find(tmp_path)
    for way in ("pyskl", "ctrgcn", "msg3d", "first"):
        annotation = ntu.read_sample(found.samples[0], argparse.Namespace(bodies=way))
        assert annotation["keypoint"].shape == (1, 3, 25, 3) and annotation["keypoint"].dtype == "float32"
        assert annotation["keypoint"][0] == pytest.approx(person)
        assert (annotation["label"], annotation["total_frames"]) == (4, 3)
