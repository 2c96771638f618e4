"""The streams of ProtoGCN: what the authors' code makes of joints (golden data)."""

import json

import numpy as np
import pytest
from paths import GOLDEN_DATA

from layouts import get_layout
from reader import streams
from reader.timed_skeletons.augmentation import swap_sides

FILE = json.loads((GOLDEN_DATA / "protogcn_features.json").read_text(encoding="utf-8"))
LAYOUTS = {"nturgb+d": "ntu25", "coco": "coco17"}  # our openpose18 has another root
STREAMS = {
    "b": "bone", "k": "k_bone", "jm": "joint_motion", "bm": "bone_motion", "km": "k_bone_motion",
}  # fmt: skip


def read(values):
    """Turn nested lists into float32 (M, T, V, C)."""
    return np.array(values, np.float32)


def agree(ours, theirs):
    assert ours.shape == theirs.shape and ours.dtype == np.float32
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=2e-6)


def test_there_is_a_case_for_each_layout():
    assert [case["dataset"] for case in FILE["cases"]] == list(FILE["pairs_0based (joint, subtracted)"])
    assert set(LAYOUTS) < {case["dataset"] for case in FILE["cases"]}


@pytest.mark.parametrize("case", FILE["cases"], ids=lambda case: case["dataset"])
def test_bones_k_bones_and_motions_are_the_authors(case):
    dataset, joints = case["dataset"], read(case["input"])
    pairs = FILE["pairs_0based (joint, subtracted)"][dataset]["bone"]
    parents = tuple(parent for _, parent in sorted(pairs))
    average = dataset in ("coco", "openpose")  # those of 20 joints have it for bones alone
    bones = streams.make_bones(joints, parents, average or dataset != "nturgb+d")
    k_bones = streams.make_k_bones(joints, parents, average)
    agree(bones, read(case["b"]))
    agree(k_bones, read(case["k"]))
    for values, name in ((joints, "jm"), (bones, "bm"), (k_bones, "km")):
        agree(streams.make_motion(values, average), read(case[name]))


@pytest.mark.parametrize("case", [case for case in FILE["cases"] if case["dataset"] in LAYOUTS], ids=list(LAYOUTS))
def test_the_streams_of_our_layouts_are_the_authors(case):
    layout = get_layout(LAYOUTS[case["dataset"]])
    for key, stream in STREAMS.items():
        ours = streams.make_stream(read(case["input"]), stream, layout, case["dataset"] != "nturgb+d")
        agree(ours, read(case[key]))


def test_sides_are_swapped_and_not_mirrored():
    agree(swap_sides(read(FILE["flip_ntu"]["input"]), get_layout("ntu25")), read(FILE["flip_ntu"]["output"]))
