"""The joint layouts: each is one tree, its sides are mirror images, its edges the published ones; own layouts too."""

import dataclasses
import json
import re

import numpy as np
import pytest
from paths import GOLDEN_DATA

from layouts import FOLDER, LAYOUTS, NAMES, check_layout, get_layout

EVERY_LAYOUT = pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS.keys())
BODIES = [name for name in NAMES if name != "hand21"]  # those with sides and body parts
EVERY_BODY = pytest.mark.parametrize("layout", [LAYOUTS[name] for name in BODIES], ids=BODIES)
GRAPHS = json.loads((GOLDEN_DATA / "graphs.json").read_text(encoding="utf-8"))

# (layout, network in graphs.json, its list of (joint, inward neighbour)); some lists have no direction
PUBLISHED_EDGES = [
    ("ntu25", "msg3d_ntu", "edges (undirected)"),
    ("ntu25", "ctrgcn_ntu", "inward (child,parent)"),
    ("ntu25", "pbgcn_ntu_uniform", "inward"),
    ("ntu25_star", "pyskl_nturgb+d_spatial", "inward (child,parent)"),
    ("coco17", "pyskl_coco_spatial", "inward (child,parent)"),
    ("openpose18", "pyskl_openpose_spatial", "inward (child,parent)"),
    ("openpose18", "msg3d_kinetics", "edges (undirected)"),
    ("ucla20", "ctrgcn_ucla", "inward (child,parent)"),
    ("hdm05", "pbgcn_hdm05_uniform", "inward"),
]
NTU_BONES = (
    "0-1 1-20 2-20 3-2 4-20 5-4 6-5 7-6 8-20 9-8 10-9 11-10 12-0 13-12 14-13 15-14 16-0 17-16 18-17 19-18 "
    "21-22 22-7 23-24 24-11"
)
# What the authors subtract, (joint, parent): MS-G3D and PYSKL (NTU, OpenPose), PYSKL (COCO, hands), CTR-GCN (N-UCLA).
PUBLISHED_BONES = {
    "ntu25": NTU_BONES,
    "ntu25_star": NTU_BONES,
    "coco17": "1-0 2-0 3-1 4-2 5-0 6-0 7-5 8-6 9-7 10-8 11-0 12-0 13-11 14-12 15-13 16-14",
    "openpose18": "1-0 2-1 3-2 4-3 5-1 6-5 7-6 8-2 9-8 10-9 11-5 12-11 13-12 14-0 15-0 16-14 17-15",
    "hand21": "1-0 2-1 3-2 4-3 5-0 6-5 7-6 8-7 9-0 10-9 11-10 12-11 13-0 14-13 15-14 16-15 17-0 18-17 19-18 20-19",
    "ucla20": "0-1 1-2 3-2 4-2 5-4 6-5 7-6 8-2 9-8 10-9 11-10 12-0 13-12 14-13 15-14 16-0 17-16 18-17 19-18",
}
# The bones of those whose tree nobody has published for a network, as their makers draw the skeleton.
DRAWN_BONES = {
    "openpose25": "1-8 2-1 5-1 3-2 4-3 6-5 7-6 9-8 10-9 11-10 12-8 13-12 14-13 0-1 15-0 17-15 16-0 18-16 "
    "19-14 20-19 21-14 22-11 23-22 24-11",
    "hdm05": "1-0 2-1 3-2 4-3 5-4 6-0 7-6 8-7 9-8 10-9 11-0 12-11 13-12 14-13 15-14 16-15 17-13 18-17 19-18 20-19 "
    "21-20 22-21 23-20 24-13 25-24 26-25 27-26 28-27 29-28 30-27",
}
OUR_NAMES = {"left_arm": "lefthand", "right_arm": "righthand", "left_leg": "leftleg", "right_leg": "rightleg"}
LIMBS = ("left_arm", "right_arm", "left_leg", "right_leg")


def parse_pairs(text):
    return {tuple(map(int, pair.split("-"))) for pair in text.split()}


@EVERY_LAYOUT
def test_each_joint_has_a_name_of_its_own_and_a_way_to_the_one_root(layout):
    assert len(set(layout.joints)) == layout.num_joints == len(layout.parents)
    roots = [joint for joint, parent in enumerate(layout.parents) if joint == parent]
    assert len(roots) == 1 and len(layout.bones) == layout.num_joints - 1
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


@EVERY_BODY
def test_the_mirrored_body_has_the_same_bones_and_mirroring_twice_changes_nothing(layout):
    order = layout.mirror_indices()
    tie = frozenset if layout.name == "coco17_paddlevideo" else tuple  # its edge between the hips has no direction
    for pairs in (layout.bones, layout.edges, layout.vector_edges):
        assert {tie((order[joint], order[other])) for joint, other in pairs} == set(map(tie, pairs))
    for part, edges in layout.parts.items():
        mirrored = part.replace("left_", "new_").replace("right_", "left_").replace("new_", "right_")
        assert {tie((order[joint], order[other])) for joint, other in edges} == set(map(tie, layout.parts[mirrored]))
    keypoint = np.arange(layout.num_joints)
    assert not np.array_equal(keypoint[order], keypoint)
    assert np.array_equal(keypoint[order][order], keypoint)


@pytest.mark.parametrize("name, network, key", PUBLISHED_EDGES)
def test_edges_are_the_published_ones(name, network, key):
    assert LAYOUTS[name].num_joints == GRAPHS[network]["V"]
    assert set(LAYOUTS[name].edges) == set(map(tuple, GRAPHS[network][key]))


@pytest.mark.parametrize("name", {**PUBLISHED_BONES, **DRAWN_BONES})
def test_bones_are_the_published_ones(name):
    assert set(LAYOUTS[name].bones) == parse_pairs({**PUBLISHED_BONES, **DRAWN_BONES}[name])


def test_bones_of_mediapipe_tie_its_names_as_a_body_does():
    layout = LAYOUTS["mediapipe33"]
    parents = {layout.joints[joint]: layout.joints[parent] for joint, parent in layout.bones}
    assert parents["left_shoulder"] == "nose" and parents["left_hip"] == "left_shoulder"
    assert parents["left_index"] == parents["left_pinky"] == parents["left_thumb"] == "left_wrist"
    assert parents["left_foot_index"] == parents["left_heel"] == "left_ankle"
    assert parents["left_ear"] == "left_eye_outer" and parents["left_eye_inner"] == parents["left_mouth"] == "nose"


@pytest.mark.parametrize(
    "name, joints",
    [
        ("ntu25", {0: "spine_base", 3: "head", 7: "left_hand", 20: "spine_shoulder", 24: "right_thumb"}),
        ("coco17", {0: "nose", 5: "left_shoulder", 10: "right_wrist", 16: "right_ankle"}),
        ("openpose18", {0: "nose", 1: "neck", 2: "right_shoulder", 7: "left_wrist", 13: "left_ankle", 17: "left_ear"}),
        ("openpose25", {4: "right_wrist", 8: "mid_hip", 18: "left_ear", 19: "left_big_toe", 24: "right_heel"}),
        ("ucla20", {0: "hip_centre", 3: "head", 7: "left_hand", 11: "right_hand", 15: "left_foot", 19: "right_foot"}),
        ("hdm05", {0: "root", 5: "left_toes", 10: "right_toes", 16: "head", 23: "left_thumb", 30: "right_thumb"}),
        ("hand21", {0: "wrist", 4: "thumb_4", 5: "index_1", 12: "middle_4", 16: "ring_4", 20: "little_4"}),
        ("mediapipe33", {8: "right_ear", 11: "left_shoulder", 22: "right_thumb", 32: "right_foot_index"}),
    ],
)  # fmt: skip
def test_joint_order_is_the_published_one(name, joints):
    assert {joint: LAYOUTS[name].joints[joint] for joint in joints} == joints


@pytest.mark.parametrize(
    "name, network", [("ntu25", "stgcn_ntu-rgb+d_spatial"), ("openpose18", "stgcn_openpose_spatial"),
                      ("coco17", "pyskl_coco_spatial"), ("ntu25_star", "pyskl_nturgb+d_spatial")]
)  # fmt: skip
def test_centre_is_the_published_one(name, network):
    assert LAYOUTS[name].centre == GRAPHS[network]["center"]


def test_reference_joints_are_shoulders_and_hips_but_for_hdm05():
    assert LAYOUTS["ntu25"].reference_joints == (4, 8, 12, 16)
    assert LAYOUTS["hdm05"].reference_joints == (19, 26, 2, 7)
    for name in set(BODIES) - {"hdm05"}:
        found = [LAYOUTS[name].joints[joint] for joint in LAYOUTS[name].reference_joints]
        assert found == ["left_shoulder", "right_shoulder", "left_hip", "right_hip"]


@pytest.mark.parametrize("name, data_set", [("ntu25", "NTU"), ("hdm05", "HDM05")])
def test_parts_are_those_of_pbgcn(name, data_set):
    published = {part: list(map(tuple, edges)) for part, edges in GRAPHS["pb_parts"][data_set].items()}
    layout = LAYOUTS[name]
    for part, edges in layout.parts.items():
        assert list(edges) == published[OUR_NAMES.get(part, part)]
    four = [published[part] for part in ("head", "hands", "torso", "legs")]
    assert list(map(list, layout.group_parts(4))) == four
    two = [published["head"] + published["torso"], published["hands"] + published["legs"]]
    assert list(map(set, layout.group_parts(2))) == list(map(set, two))
    six = ("head", "lefthand", "righthand", "torso", "leftleg", "rightleg")
    assert list(map(list, layout.group_parts(6))) == [published[part] for part in six]


@EVERY_BODY
def test_parts_are_edges_that_together_make_the_graph(layout):
    edges = {frozenset(edge) for edge in LAYOUTS[layout.name.removesuffix("_star")].edges}
    for num_parts in (2, 4, 6):
        groups = layout.group_parts(num_parts)
        assert len(groups) == num_parts
        assert {frozenset(edge) for group in groups for edge in group} == edges
    for one in LIMBS:
        for other in set(LIMBS) - {one}:
            assert not set(layout.parts[one]) & set(layout.parts[other])


@EVERY_LAYOUT
def test_positions_show_a_body_from_the_front(layout):
    positions = np.array(layout.positions)
    assert positions.shape == (layout.num_joints, 2)
    assert positions.min() > 2 and positions.max() < 99
    assert len(set(layout.positions)) == layout.num_joints
    for left, right in layout.pairs:  # the body's left is the viewer's right
        assert positions[left, 0] > 50 and tuple(positions[right]) == (100 - positions[left, 0], positions[left, 1])


def test_a_layout_cannot_be_changed_by_accident():
    with pytest.raises(dataclasses.FrozenInstanceError, match="cannot assign to field 'pairs'"):
        LAYOUTS["ntu25"].pairs = ()


def test_star_is_ntu25_but_for_its_name_and_two_edges():
    chain, star = LAYOUTS["ntu25"], LAYOUTS["ntu25_star"]
    assert set(chain.edges) - set(star.edges) == {(21, 22), (23, 24)}
    assert dataclasses.replace(star, name="ntu25", edges=chain.edges) == chain


def test_layouts_are_the_files_of_the_folder_and_are_read_once():
    assert set(LAYOUTS) == set(NAMES) == {path.stem for path in FOLDER.glob("*.yaml")} and len(LAYOUTS) == len(NAMES)
    assert LAYOUTS["hdm05"] is get_layout("hdm05")
    assert all(layout.name == name for name, layout in LAYOUTS.items())
    with pytest.raises(KeyError, match="kinect"):
        LAYOUTS["kinect"]


def write_layout(folder, text):
    path = folder / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_an_own_layout_needs_joints_and_parents_only(tmp_path):
    layout = get_layout(write_layout(tmp_path, "joints: [[right_hand, belly], [belly, belly], [left_hand, belly]]"))
    assert layout.name == "mine" and layout.joints == ("right_hand", "belly", "left_hand")
    assert layout.parents == (1, 1, 1) and layout.pairs == ((2, 0),) and layout.centre == 1
    assert layout.bones == layout.edges == layout.vector_edges == ((0, 1), (2, 1))
    assert layout.parts == {} and layout.reference_joints == () and layout.positions == ()


@pytest.mark.parametrize(
    "left, right",
    [("Left_hand", "Right_hand"), ("hand_left", "hand_right"), ("LeftHand", "RightHand"), ("HAND_L", "HAND_R"),
     ("l_hand", "r_hand"), ("left", "right")],
)  # fmt: skip
def test_sides_are_known_in_every_spelling(tmp_path, left, right):
    layout = get_layout(write_layout(tmp_path, f"joints: [[{right}, belly], [belly, belly], [{left}, belly]]"))
    assert layout.pairs == ((2, 0),)


def test_a_side_without_its_other_is_refused_unless_the_pairs_are_listed(tmp_path):
    joints = "joints: [[hand_left, belly], [belly, belly], [right_hand, belly]]"
    with pytest.raises(
        ValueError, match="joint 'hand_left': no other joint has its name with the other side; name both"
    ):
        get_layout(write_layout(tmp_path, joints))
    assert get_layout(write_layout(tmp_path, f"{joints}\npairs: [[hand_left, right_hand]]")).pairs == ((0, 2),)
    assert get_layout(write_layout(tmp_path, f"{joints}\npairs: []")).pairs == ()


def test_two_hands_whose_wrists_hang_together_are_mirror_images(tmp_path):
    rows = [f"[{side}_{n}, {side}_{n - 1}]" for side in ("left", "right") for n in range(1, 21)]
    text = f"joints: [[left_0, left_0], [right_0, left_0], {', '.join(rows)}]"
    layout = get_layout(write_layout(tmp_path, text))
    assert layout.num_joints == 42 and len(layout.pairs) == 21


def test_an_own_layout_may_say_everything_by_name_or_index(tmp_path):
    text = """
joints:
  - [hip, hip, 50, 60]
  - [l, hip, 70, 50.5]
  - [r, 0, 30, 50.5]
pairs: [[l, r]]
edges: [[hip, l], [2, hip]]
centre: r
parts: {all: [[1, 0]], rest: [[r, hip]], third: [[l, r]]}
reference_joints: [r, 1]
vector_edges: [[l, hip]]
"""
    layout = get_layout(write_layout(tmp_path, text))
    assert layout.pairs == ((1, 2),) and layout.edges == ((0, 1), (2, 0)) and layout.centre == 2
    assert layout.bones == ((1, 0), (2, 0)) and layout.vector_edges == ((1, 0),) and layout.reference_joints == (2, 1)
    assert layout.group_parts(3) == [((1, 0),), ((2, 0),), ((1, 2),)]
    assert layout.positions == ((50, 60), (70, 50.5), (30, 50.5))
    with pytest.raises(ValueError) as error:
        layout.group_parts(2)
    assert str(error.value) == (
        "layout 'mine': no division into 2 parts, it names all, rest, third; give its file the parts head, left_arm, "
        "right_arm, torso, left_leg, right_leg"
    )


def test_an_own_layout_may_start_from_a_shipped_one(tmp_path):
    layout = get_layout(write_layout(tmp_path, "like: coco17\ncentre: left_hip"))
    assert layout == dataclasses.replace(LAYOUTS["coco17"], name="mine", centre=11)


ARM = "joints: [[a, a], [b, a], [left_c, a], [right_c, a]]\n"


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "the file: expected `key: value` lines, got None"),
        ("joints: [", "not a yaml text: .*line 1"),
        ("centre: a", "list the joints as `joints:`, or name a layout to start from as `like: coco17`, one of the two"),
        (ARM + "like: coco17", "one of the two"),
        ("like: coco", "like: layout 'coco' is not known; did you mean 'coco17'? (known: ntu25,"),
        (ARM + "center: a", "unknown key 'center'; did you mean 'centre'? (known: like, joints, pairs,"),
        (ARM + "parents: [0]", "unknown key 'parents'"),
        ("joints: a", "joints: expected a list, got 'a'"),
        ("joints: [a, b]", "joint 'a': expected [name, parent] for each joint, or [name, parent, x, y] for each"),
        ("joints: [[a, a], [b, a, 1]]", "joint ['b', 'a', 1]: expected"),
        ("joints: [[a, a], [b, a, 1, 2]]", "joint ['b', 'a', 1, 2]: expected"),
        ("joints: [[a, a, 1, x]]", "joint ['a', 'a', 1, 'x']: expected"),
        ("joints: [[a, a], [b, a], [a, b]]", "joint 'a' is listed twice"),
        ("joints: [[neck, neck], [head, nek]]", "joint 'nek' is not listed; did you mean 'neck'?"),
        ("joints: [[a, a], [b, b]]", "one joint is its own parent, the root; got a, b"),
        ("joints: [[a, b], [b, a]]", "one joint is its own parent, the root; got none"),
        ("joints: [[a, a], [b, c], [c, b]]", "joint 'b': its parents form a ring that never reaches 'a'"),
        ("joints: [[a, a], [b, 2]]", "parents: there is no joint 2, they count from 0 to 1"),
        (ARM + "centre: -1", "centre: there is no joint -1, they count from 0 to 3"),
        (ARM + "reference_joints: [4]", "reference_joints: there is no joint 4"),
        (ARM + "reference_joints: a", "reference_joints: expected a list, got 'a'"),
        (ARM + "pairs: [[0, 9]]", "pairs: there is no joint 9"),
        (ARM + "vector_edges: [[0, 9]]", "vector_edges: there is no joint 9"),
        (ARM + "parts: {leg: [[9, 0]]}", "parts, leg: there is no joint 9"),
        (ARM + "parts: [[0, 1]]", "parts: expected `key: value` lines, got [[0, 1]]"),
        (ARM + "parts: {leg: [0, 1]}", "parts, leg: expected two joints, got 0"),
        (ARM + "edges: 3", "edges: expected a list, got 3"),
        (ARM + "edges: [[0, 1, 2]]", "edges: expected two joints, got [0, 1, 2]"),
        (ARM + "edges: [[0, 1], [0, 4]]", "edges: there is no joint 4"),
        (ARM + "edges: [[0, 0]]", "edges: joint 'a' is tied to itself"),
        (ARM + "edges: [[0, 1], [1, 0]]", "edges: 'b' and 'a' are tied twice"),
        (ARM + "edges: [[2, 3], [1, 0]]", "edges: no way from 'a' to left_c, right_c"),
        (ARM + "centre: left_c\nedges: [[2, 3], [1, 0]]", "edges: no way from 'left_c' to a, b"),
        (
            ARM + "edges: [[1, 0], [2, 1], [3, 0]]",
            "edges: 'left_c' is tied to 'b', but its mirror image 'right_c' not to 'b'",
        ),
        (ARM + "pairs: [[2, 3], [3, 1]]", "pairs: joint 'right_c' stands there twice"),
        (ARM + "pairs: [[1, 1]]", "pairs: joint 'b' stands there twice"),
        (
            "joints: [[a, a], [left_b, a], [right_b, left_b]]",
            "pairs: 'left_b' hangs from 'a', so 'right_b' must hang from 'a', not from 'left_b'",
        ),
    ],
)  # fmt: skip
def test_what_is_no_layout_is_refused_with_file_and_place(text, message, tmp_path):
    path = write_layout(tmp_path, text)
    pattern = message if ".*" in message else re.escape(message)
    with pytest.raises(ValueError, match=f"^{re.escape(path)}: .*{pattern}"):
        get_layout(path)


def test_an_unknown_name_and_a_missing_file_are_refused(tmp_path):
    known = ", ".join(NAMES)
    with pytest.raises(ValueError) as error:
        get_layout("ntu")
    assert str(error.value) == f"layout 'ntu' is not known; did you mean 'ntu25'? (known: {known}; or a .yaml file)"
    path = str(tmp_path / "absent.yaml")
    with pytest.raises(FileNotFoundError) as error:
        get_layout(path)
    assert str(error.value) == f"layout '{path}' does not exist; give the path of a yaml file or one of {known}"


def test_a_layout_made_by_hand_is_checked_too():
    layout = LAYOUTS["ucla20"]
    assert check_layout(layout) is None
    with pytest.raises(ValueError, match="^parents: there is no joint 20, they count from 0 to 19"):
        check_layout(dataclasses.replace(layout, parents=(20, *layout.parents[1:])))
    with pytest.raises(ValueError, match="^edges: no way from 'shoulder_centre' to right_foot"):
        check_layout(dataclasses.replace(layout, edges=layout.edges[:-1]))
