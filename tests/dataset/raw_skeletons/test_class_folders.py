"""Sets of one's own: classes and splits from folders."""

import argparse

import pytest

from dataset.raw_skeletons.class_folders import label_by_folder


def plan(root, *paths, **flags):
    flags = {"raw": str(root), "classes": None, "val_ratio": 0.5, "seed": 0, **flags}
    return label_by_folder([str(root / path) for path in paths], argparse.Namespace(**flags), "coco17")


def test_groups_are_kept_together(tmp_path):
    names = [f"v_{action}_g{group:02}_c{clip:02}" for action in "AB" for group in (1, 2) for clip in (1, 2)]
    found = plan(tmp_path, *(f"{name.split('_')[1]}/{name}.json" for name in names))
    assert [sample.name for sample in found.samples] == names
    assert [sample.label for sample in found.samples] == [0] * 4 + [1] * 4 and found.class_names == ["A", "B"]
    groups = {split: {name.split("_")[2] for name in members} for split, members in found.splits.items()}
    assert groups["train"] | groups["val"] == {"g01", "g02"} and len(groups["train"]) == len(groups["val"]) == 1
    splits = [plan(tmp_path, *(f"{n.split('_')[1]}/{n}.json" for n in names), seed=seed).splits for seed in range(8)]
    assert {split["val"][0] for split in splits} == {names[0], names[2]}


def test_folders_of_splits(tmp_path):
    found = plan(tmp_path, "train/10/a.csv", "test/9/a.csv", "train/9/b.csv")
    assert found.class_names == ["9", "10"]
    assert found.splits == {"train": ["b", "train/10/a"], "test": ["test/9/a"]}
    assert {sample.name: sample.label for sample in found.samples} == {"b": 0, "train/10/a": 1, "test/9/a": 0}


@pytest.mark.parametrize(
    "names", [("train", "valid"), ("Training", "Testing"), ("train", "validation"), ("dev", "eval")]
)
def test_names_of_splits_that_people_use(tmp_path, names):
    found = plan(tmp_path, *(f"{name}/Wave/{name}_g01.csv" for name in names))
    assert found.splits == {name: [f"{name}_g01"] for name in names} and found.class_names == ["Wave"]


def test_other_folders_beside_a_split_are_refused(tmp_path):
    for other in ("home/Wave/c.csv", "Wave/c.csv"):
        with pytest.raises(ValueError, match=f"{other}' and 0 more do not lie in a split, as those in 'train' do; put"):
            plan(tmp_path, "train/Wave/a.csv", "val/Wave/b.csv", other)
    found = plan(tmp_path, *(f"home/Wave/a_g0{group}.csv" for group in (1, 2)))  # any folder above all classes is fine
    assert set(found.splits) == {"train", "val"}


def test_a_001_in_each_class_folder_and_subjects_above_the_classes(tmp_path):
    names = [f"s{subject}/{action}/01" for subject in (2, 3) for action in ("run", "walk")]
    found = plan(tmp_path, *(f"{name}.json" for name in names))
    assert [sample.name for sample in found.samples] == names
    labels = {sample.name: sample.label for sample in found.samples}
    assert all({labels[name] for name in found.splits[split]} == {0, 1} for split in ("train", "val"))


def test_folders_with_dots_keep_their_names(tmp_path):
    for name in ("Wave/v1.5", "Wave/v1.6", "Bow/v1.5"):
        (tmp_path / name).mkdir(parents=True)
    found = plan(tmp_path, "Wave/v1.5", "Wave/v1.6", "Bow/v1.5")
    assert [sample.name for sample in found.samples] == ["Bow/v1.5", "Wave/v1.5", "v1.6"]


def test_two_files_of_one_name_are_refused(tmp_path):
    with pytest.raises(ValueError, match="A/x.JSON' and '.*A/x.json' would both be called 'A/x'; rename or remove"):
        plan(tmp_path, "A/x.JSON", "A/x.json", "B/y.json")


def test_class_list(tmp_path):
    (tmp_path / "classes.txt").write_text("1 Wave\n2 Bow\n")
    found = plan(tmp_path, "train/bow/a.csv", "train/Wave/b.csv", classes=str(tmp_path / "classes.txt"))
    assert [sample.label for sample in found.samples] == [1, 0] and found.class_names == ["Wave", "Bow"]
    with pytest.raises(ValueError, match="Jump.c.csv' is of the class 'Jump', which the class list does not name; add"):
        plan(tmp_path, "train/Jump/c.csv", classes=str(tmp_path / "classes.txt"))


def test_what_cannot_be_arranged(tmp_path):
    with pytest.raises(ValueError, match="a.csv' lies in no class folder; put it at <Class>/a.csv"):
        plan(tmp_path, "a.csv", "B/b.csv")
    with pytest.raises(ValueError, match="the samples in '.*' are of one group; put them into folders train/ and val/"):
        plan(tmp_path, "A/a_g01.csv", "B/b_g01.csv")
