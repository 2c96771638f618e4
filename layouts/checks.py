"""What every layout must fulfil."""

import re

from layouts.layout import Layout

SIDE = r"(?<![a-z])(left|right)(?![a-z])"  # as a word by itself, in any case


def check_layout(layout: Layout) -> None:
    """Refuse a layout that cannot be a body.

    Raises:
        ValueError: an index beyond the joints, bones that are no tree with one root, sides that are not each other's
            mirror image, an edge that is listed twice or connects a joint with itself, a joint without edges, or a
            hierarchy that does not start at its joint or has a joint not just once, or a partition whose groups share
            joints or differ in size.
    """
    _check_indices(layout)
    _check_tree(layout)
    _check_edges(layout)
    _check_pairs(layout)
    _check_hierarchies(layout)
    _check_partition(layout)


def check_sides(joints: tuple[str, ...], pairs: tuple[tuple[int, int], ...]) -> None:
    """Refuse joints of a side, by their names, that are in no pair: a mirrored body would keep them on their side.

    Raises:
        ValueError: naming the first one.
    """
    paired = {joint for pair in pairs for joint in pair}
    for joint, name in enumerate(joints):
        if joint not in paired and re.search(SIDE, name, re.IGNORECASE):
            raise ValueError(
                f"joint '{name}': no other joint has its name with the other side; name both alike, such as left_hand "
                "and right_hand, or list all pairs as `pairs: [[left, right]]`, an empty list for none"
            )


def _check_indices(layout: Layout) -> None:
    joints_by_key = {"parents": layout.parents, "centre": (layout.centre,), "reference_joints": layout.reference_joints}
    edges = {"pairs": layout.pairs, "edges": layout.edges, "vector_edges": layout.vector_edges}
    edges.update({f"parts, {name}": part for name, part in layout.parts.items()})
    edges.update({f"hierarchies, {name}": groups for name, groups in layout.hierarchies.items()})
    edges["partition"] = layout.partition
    joints_by_key.update({key: sum(pairs, ()) for key, pairs in edges.items()})
    for key, joints in joints_by_key.items():
        for joint in joints:
            if not 0 <= joint < layout.num_joints:
                raise ValueError(f"{key}: there is no joint {joint}, they count from 0 to {layout.num_joints - 1}")


def _check_tree(layout: Layout) -> None:
    names = layout.joints
    roots = [names[joint] for joint, parent in enumerate(layout.parents) if joint == parent]
    if len(roots) != 1:
        raise ValueError(f"one joint is its own parent, the root; got {', '.join(roots) or 'none'}")
    for start, joint in enumerate(layout.parents):
        for _ in layout.parents:
            joint = layout.parents[joint]
        if names[joint] != roots[0]:
            raise ValueError(f"joint '{names[start]}': its parents form a ring that never reaches '{roots[0]}'")


def _check_pairs(layout: Layout) -> None:
    names, order = layout.joints, layout.mirror_indices()
    for index, name in enumerate(names):
        if sum(pair.count(index) for pair in layout.pairs) > 1:
            raise ValueError(f"pairs: joint '{name}' stands there twice")
    bones = {frozenset(bone) for bone in layout.bones}
    for joint, parent in layout.bones:
        if {order[joint], order[parent]} not in bones:  # the bone between both sides is its own image, either way round
            raise ValueError(
                f"pairs: '{names[joint]}' hangs from '{names[parent]}', so '{names[order[joint]]}' must hang from "
                f"'{names[order[parent]]}', not from '{names[layout.parents[order[joint]]]}'"
            )
    edges = {frozenset(edge) for edge in layout.edges}
    for joint, other in layout.edges:
        if {order[joint], order[other]} not in edges:
            raise ValueError(
                f"edges: '{names[joint]}' is tied to '{names[other]}', but its mirror image "
                f"'{names[order[joint]]}' not to '{names[order[other]]}'"
            )


def _check_hierarchies(layout: Layout) -> None:
    for name, groups in layout.hierarchies.items():
        if len(groups) < 2 or [layout.joints[joint] for joint in groups[0]] != [name] or not all(groups):
            raise ValueError(
                f"hierarchies, {name}: expected groups of joints outward, the first one [{name}], got "
                f"{[[layout.joints[joint] for joint in group] for group in groups]}"
            )
        listed = sum(groups, ())
        for joint, joint_name in enumerate(layout.joints):
            if listed.count(joint) != 1:
                raise ValueError(
                    f"hierarchies, {name}: each joint stands in one group, '{joint_name}' in {listed.count(joint)}"
                )


def _check_partition(layout: Layout) -> None:
    joints = sum(layout.partition, ())
    for joint in joints:
        if joints.count(joint) > 1:
            raise ValueError(f"partition: joint '{layout.joints[joint]}' stands there twice")
    sizes = sorted({len(group) for group in layout.partition})
    if len(sizes) > 1:
        raise ValueError(f"partition: all groups have as many joints, got some with {' and '.join(map(str, sizes))}")


def _check_edges(layout: Layout) -> None:
    names, seen = layout.joints, set()
    for edge in layout.edges:
        if edge[0] == edge[1]:
            raise ValueError(f"edges: joint '{names[edge[0]]}' is tied to itself")
        if frozenset(edge) in seen:
            raise ValueError(f"edges: '{names[edge[0]]}' and '{names[edge[1]]}' are tied twice")
        seen.add(frozenset(edge))
    reached = {layout.centre}
    for _ in names:
        reached |= {joint for edge in seen if edge & reached for joint in edge}
    unreached = [name for joint, name in enumerate(names) if joint not in reached]
    if unreached:
        raise ValueError(f"edges: no way from '{names[layout.centre]}' to {', '.join(unreached)}")
