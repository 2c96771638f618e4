"""The partitions of layouts, and the bones of SkateFormer's, against its authors' data code."""

import json

import pytest
from paths import GOLDEN_DATA

from layouts import LAYOUTS, get_layout

FEATURES = json.loads((GOLDEN_DATA / "skateformer_features.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name, key", [("ntu25_skateformer", "order_ntu"), ("ucla20", "order_ucla")])
def test_partitions_are_the_authors_order_of_joints_in_groups_of_four(name, key):
    assert list(sum(LAYOUTS[name].partition, ())) == FEATURES[key]
    assert {len(group) for group in LAYOUTS[name].partition} == {4}


def test_bones_are_the_authors():
    layout = LAYOUTS["ntu25_skateformer"]
    assert dict(enumerate(layout.parents)) == dict(map(tuple, FEATURES["bone_pairs"]))
    assert layout.joints == LAYOUTS["ntu25"].joints


JOINTS = "joints: [[a, a], [b, a], [c, a], [d, a]]\n"


def test_an_own_layout_names_joints_or_indices(tmp_path):
    path = tmp_path / "own.yaml"
    path.write_text(JOINTS + "partition: [[d, 0], [b, c]]")
    assert get_layout(str(path)).partition == ((3, 0), (1, 2))
    path.write_text(JOINTS)
    assert get_layout(str(path)).partition == ()


@pytest.mark.parametrize(
    "groups, message",
    [
        ("[[a, b], [c, b]]", "partition: joint 'b' stands there twice"),
        ("[[a, b], [c]]", "partition: all groups have as many joints, got some with 1 and 2"),
        ("[[a, b], [c, 9]]", "partition: there is no joint 9, they count from 0 to 3"),
        ("[a, b]", "partition: expected a list, got"),
    ],
)
def test_what_is_no_partition_is_refused(groups, message, tmp_path):
    path = tmp_path / "own.yaml"
    path.write_text(JOINTS + f"partition: {groups}")
    with pytest.raises(ValueError, match=message):
        get_layout(str(path))
