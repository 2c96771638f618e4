"""N-UCLA: names, labels and damage."""

import argparse
import json
import pathlib

import numpy as np
import pytest
from paths import REAL_DATA
from raw_skeleton_files import draw_person

from dataset.raw_skeletons import ucla


def write(root, name, number, num_frames=4, changes=()):
    frames = draw_person(num_frames, num_joints=20).tolist()
    content = {"file_name": name, "skeletons": frames, "label": number} | dict(changes)
    (root / f"{name}.json").write_text(json.dumps(content))


def find(root):
    return ucla.find_samples(argparse.Namespace(raw=root))


def test_names_say_label_and_view(tmp_path):
    write(tmp_path, "a08_s01_e00_v01", 7)
    write(tmp_path, "a12_s10_e05_v03", 10)
    for name in ("a07_s01_e00_v01", "a08_s01_e00_v04", "notes"):
        (tmp_path / f"{name}.json").write_text("{}")
    found = find(tmp_path)
    assert [(sample.name, sample.label) for sample in found.samples] == [("a08_s01_e00_v01", 6), ("a12_s10_e05_v03", 9)]
    assert found.splits == {"xview_train": ["a08_s01_e00_v01"], "xview_val": ["a12_s10_e05_v03"]}
    assert found.class_names[6] == "donning" and found.class_names[9] == "carry" and found.layout == "ucla20"
    assert {pathlib.Path(path).stem for path in found.skipped} == {"a07_s01_e00_v01", "a08_s01_e00_v04", "notes"}


def test_a_sequence(tmp_path):
    write(tmp_path, "a01_s01_e00_v01", 1)
    annotation = ucla.read_sample(find(tmp_path).samples[0], None)
    assert annotation["keypoint"].shape == (1, 4, 20, 3) and annotation["keypoint"].dtype == np.float32
    np.testing.assert_allclose(annotation["keypoint"][0], draw_person(4, num_joints=20), atol=1e-7)


POINT = [0.1, 0.2, 3]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"label": 2}, "line 1: label is 2, expected 1; get the file again"),
        ({"file_name": "a01"}, "line 1: file_name is 'a01', expected 'a01_s01_e00_v01'; get the file again"),
        ({"skeletons": [[POINT] * 20, [POINT] * 19]}, "line 1: skeletons[1] has 19 joints, expected 20"),
        ({"skeletons": [[POINT] * 19 + [[1, 2]]]}, "line 1: skeletons[0][19] has 2 values, expected 3"),
        ({"skeletons": [[POINT] * 19 + [[1, 2, 33]]]}, "line 1: skeletons[0][19][2] is 33, expected a number from -20"),
        ({"skeletons": [[POINT] * 19 + [[1, None, 3]]]}, "line 1: skeletons[0][19][1] is None, expected a number"),
        ({"skeletons": [[POINT] * 19 + [[float("nan"), 2, 3]]]}, "line 1: skeletons[0][19][0] is nan, expected"),
        ({"skeletons": {}}, "line 1: skeletons is {}, expected a list"),
        ({"skeletons": []}, "a01_s01_e00_v01 has no body in any of its 0 frames"),
        ({"skeletons": [[[0, 0, 0]] * 20] * 2}, "a01_s01_e00_v01 has no body in any of its 2 frames"),
    ],
)
def test_damage_is_named(tmp_path, changes, expected):
    write(tmp_path, "a01_s01_e00_v01", 1, changes=changes)
    with pytest.raises(ValueError) as caught:
        ucla.read_sample(find(tmp_path).samples[0], None)
    assert f"a01_s01_e00_v01.json' {expected}" in str(caught.value).replace("json': ", "json' ")


def test_every_cut_is_named(tmp_path):
    write(tmp_path, "a01_s01_e00_v01", 1)
    sample = find(tmp_path).samples[0]
    data = (tmp_path / "a01_s01_e00_v01.json").read_bytes()
    for size in range(0, len(data), 37):
        (tmp_path / "a01_s01_e00_v01.json").write_bytes(data[:size])
        with pytest.raises(ValueError, match="a01_s01_e00_v01.json' line 1: .*; get .* again"):
            ucla.read_sample(sample, None)


@pytest.mark.real
def test_real_lists():
    folder = REAL_DATA / "nw_ucla"
    if not folder.is_dir():
        pytest.skip(f"no N-UCLA in {folder}; set REAL_DATA_DIR")
    found = find(folder / "all_sqe")
    labels = {sample.name: str(sample.label) for sample in found.samples}
    for split, name in (("xview_train", "train.txt"), ("xview_val", "val.txt")):
        lines = [line.split() for line in (folder / name).read_text().splitlines()]
        assert sorted(found.splits[split]) == sorted(name for name, _ in lines)
        assert len(lines) == ucla.OFFICIAL_SIZES[split]
        assert all(labels[name] == label for name, label in lines)
