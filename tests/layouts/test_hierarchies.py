"""The hierarchies of layouts, which HD-GCN's graphs are made of."""

import re

import pytest

from layouts import LAYOUTS, get_layout

# From the authors' graphs and their compiled files, joints counted from 1.
PUBLISHED = {
    ("ntu25", 1): "1 | 2 13 17 | 14 18 21 | 3 5 9 15 19 | 4 6 10 16 20 | 7 11 | 8 12 22 23 24 25",
    ("ntu25", 2): "2 | 1 21 | 13 17 3 5 9 | 14 18 4 6 10 | 15 19 7 11 | 16 20 8 12 | 22 23 24 25",
    ("ntu25", 21): "21 | 2 3 5 9 | 4 6 10 1 | 7 11 13 17 | 8 12 14 18 | 22 23 24 25 15 19 | 16 20",
    ("ucla20", 1): "1 | 2 13 17 | 3 14 18 | 4 5 9 15 19 | 6 10 16 20 | 7 11 | 8 12",
    ("ucla20", 2): "2 | 1 3 | 4 5 9 13 17 | 6 10 14 18 | 7 11 15 19 | 8 12 16 20",
    ("ucla20", 3): "3 | 2 4 5 9 | 1 6 10 | 7 11 13 17 | 8 12 14 18 | 15 19 | 16 20",
}
BODY = "joints: [[a, a], [b, a], [c, b]]\n"


def write_layout(folder, text):
    path = folder / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("name, number", PUBLISHED)
def test_hierarchies_are_the_published_ones(name, number):
    groups = LAYOUTS[name].find_hierarchy(number)
    listed = [set(map(int, group.split())) for group in PUBLISHED[name, number].split("|")]
    assert [{joint + 1 for joint in group} for group in groups] == listed


def test_no_other_hierarchies_are_shipped():
    shipped = {
        (name, layout.joints.index(joint) + 1) for name, layout in LAYOUTS.items() for joint in layout.hierarchies
    }
    assert shipped - {("ntu25_star", number) for number in (1, 2, 21)} == set(PUBLISHED)


@pytest.mark.parametrize("name", ["ntu25", "ucla20"])
def test_a_group_has_both_sides_of_the_body(name):
    layout = LAYOUTS[name]
    order = layout.mirror_indices()
    for groups in layout.hierarchies.values():
        assert all({order[joint] for joint in group} == set(group) for group in groups)


def test_an_own_layout_names_the_joints_of_a_group_or_counts_them(tmp_path):
    layout = get_layout(write_layout(tmp_path, BODY + "hierarchies: {b: [[b], [0, c]], a: [[0], [1], [2]]}"))
    assert layout.hierarchies == {"b": ((1,), (0, 2)), "a": ((0,), (1,), (2,))}
    assert layout.find_hierarchy(2) == ((1,), (0, 2)) and layout.find_hierarchy(1) == ((0,), (1,), (2,))
    assert get_layout(write_layout(tmp_path, BODY)).hierarchies == {}


@pytest.mark.parametrize(
    "text, message",
    [
        ("hierarchies: [[a]]", "hierarchies: expected `key: value` lines, got [['a']]"),
        ("hierarchies: {a: b}", "hierarchies, a: expected a list, got 'b'"),
        ("hierarchies: {a: [a, b]}", "hierarchies, a: expected a list, got 'a'"),
        ("hierarchies: {a: [[a], [d]]}", "joint 'd' is not listed"),
        ("hierarchies: {a: [[a], [b, 3]]}", "hierarchies, a: there is no joint 3, they count from 0 to 2"),
        (
            "hierarchies: {a: [[a]]}",
            "hierarchies, a: expected groups of joints outward, the first one [a], got [['a']]",
        ),
        ("hierarchies: {a: [[b], [a, c]]}", "the first one [a], got [['b'], ['a', 'c']]"),
        ("hierarchies: {a: [[a], [], [b, c]]}", "the first one [a], got [['a'], [], ['b', 'c']]"),
        ("hierarchies: {a: [[a], [b]]}", "hierarchies, a: each joint stands in one group, 'c' in 0"),
        ("hierarchies: {a: [[a], [b, c], [b]]}", "hierarchies, a: each joint stands in one group, 'b' in 2"),
    ],
)
def test_what_is_no_hierarchy_is_refused(text, message, tmp_path):
    path = write_layout(tmp_path, BODY + text)
    with pytest.raises(ValueError, match=f"^{re.escape(path)}: .*{re.escape(message)}"):
        get_layout(path)
