"""The joint layouts: each is one tree, and its left-right pairs agree with names and bones."""

import dataclasses

import numpy as np
import pytest

from skeleton import LAYOUTS

EVERY_LAYOUT = pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS.keys())

# The published bone lists, typed here a second time on purpose: (joint, parent), as MS-G3D and PYSKL print them.
PUBLISHED_EDGES = {
    "ntu25": "0-1 1-20 2-20 3-2 4-20 5-4 6-5 7-6 8-20 9-8 10-9 11-10 12-0 13-12 14-13 15-14 16-0 17-16 18-17 19-18 "
    "21-22 22-7 23-24 24-11",
    "coco17": "15-13 13-11 16-14 14-12 11-5 12-6 9-7 7-5 10-8 8-6 5-0 6-0 1-0 3-1 2-0 4-2",
}


@EVERY_LAYOUT
def test_each_joint_has_a_name_of_its_own_and_a_way_to_the_one_root(layout):
    assert len(set(layout.joints)) == layout.num_joints == len(layout.parents)
    roots = [joint for joint, parent in enumerate(layout.parents) if joint == parent]
    assert len(roots) == 1
    for joint in range(layout.num_joints):
        for _ in range(layout.num_joints):
            joint = layout.parents[joint]
        assert joint == roots[0]


@EVERY_LAYOUT
def test_pairs_are_exactly_the_names_with_left_and_right(layout):
    expected = {
        (index, layout.joints.index(name.replace("left_", "right_")))
        for index, name in enumerate(layout.joints)
        if name.startswith("left_")
    }
    assert set(layout.pairs) == expected
    assert len(layout.pairs) == sum(name.startswith("right_") for name in layout.joints)


@EVERY_LAYOUT
def test_the_mirrored_body_has_the_same_bones_and_mirroring_twice_changes_nothing(layout):
    order = layout.mirror_indices()
    assert {(order[joint], order[parent]) for joint, parent in layout.edges} == set(layout.edges)
    keypoint = np.arange(layout.num_joints)
    assert not np.array_equal(keypoint[order], keypoint)
    assert np.array_equal(keypoint[order][order], keypoint)


@pytest.mark.parametrize("name", PUBLISHED_EDGES)
def test_edges_are_the_published_ones(name):
    published = {tuple(map(int, edge.split("-"))) for edge in PUBLISHED_EDGES[name].split()}
    assert set(LAYOUTS[name].edges) == published


def test_joint_order_is_the_published_one():
    ntu, coco = LAYOUTS["ntu25"].joints, LAYOUTS["coco17"].joints
    assert (ntu[0], ntu[3], ntu[7], ntu[11], ntu[20], ntu[24]) == (
        "spine_base", "head", "left_hand", "right_hand", "spine_shoulder", "right_thumb",
    )  # fmt: skip
    assert (coco[0], coco[5], coco[10], coco[16]) == ("nose", "left_shoulder", "right_wrist", "right_ankle")


def test_a_layout_cannot_be_changed_by_accident():
    with pytest.raises(dataclasses.FrozenInstanceError, match="cannot assign to field 'pairs'"):
        LAYOUTS["ntu25"].pairs = ()
