"""Joints: the one home of joint names, bones, graph edges, left-right pairs and body parts.

A layout is a yaml file; those of `layouts/` are known by name (`LAYOUTS`), any other by its path.
"""

import functools
import pathlib
from collections.abc import Mapping
from dataclasses import dataclass, fields

import yaml

from common.files import read_text
from common.suggestions import suggest

FOLDER = pathlib.Path(__file__).resolve().parent
NAMES = ("ntu25", "ntu25_star", "coco17", "openpose18", "openpose25", "ucla20", "hdm05", "mediapipe33")
BODY_PARTS = {  # number of parts: what each of them is made of, as in PB-GCN
    2: (("head", "torso"), ("left_arm", "right_arm", "left_leg", "right_leg")),
    4: (("head",), ("left_arm", "right_arm"), ("torso",), ("left_leg", "right_leg")),
    6: (("head",), ("left_arm",), ("right_arm",), ("torso",), ("left_leg",), ("right_leg",)),
}


@dataclass(frozen=True)
class Layout:
    """A set of joints and what ties them together; indices are positions in `joints`, from 0.

    Attributes:
        name: name of its file.
        joints: names in the order of the data arrays.
        parents: the parent of each joint on the way to the root, from which its bone starts; the root is its own.
        pairs: (left, right) joints that change places when a body is mirrored.
        edges: the graph that networks see, as (joint, next joint inward); the bones unless the file says otherwise.
        centre: the joint from which ST-GCN's spatial strategy counts.
        parts: name of a body part -> its edges.
        reference_joints: the joints that PB-GCN takes coordinates relative to.
        vector_edges: (joint, joint that InfoGCN subtracts from it); the bones unless the file says otherwise.
        positions: (x, y) of each joint in a drawing from the front, in percent, y downwards; or empty.
    """

    name: str
    joints: tuple[str, ...]
    parents: tuple[int, ...]
    pairs: tuple[tuple[int, int], ...]
    edges: tuple[tuple[int, int], ...]
    centre: int
    parts: dict[str, tuple[tuple[int, int], ...]]
    reference_joints: tuple[int, ...]
    vector_edges: tuple[tuple[int, int], ...]
    positions: tuple[tuple[float, float], ...]

    @property
    def num_joints(self) -> int:
        """The number of joints, V."""
        return len(self.joints)

    @property
    def bones(self) -> tuple[tuple[int, int], ...]:
        """The bones as (joint, parent), in joint order; the root has none."""
        return tuple((joint, parent) for joint, parent in enumerate(self.parents) if joint != parent)

    def mirror_indices(self) -> list[int]:
        """The joint order of the mirrored body: `keypoint[..., mirror_indices, :]` swaps left and right."""
        order = list(range(self.num_joints))
        for left, right in self.pairs:
            order[left], order[right] = right, left
        return order

    def group_parts(self, num_parts: int) -> list[tuple[tuple[int, int], ...]]:
        """The edges of each of 2, 4 or 6 body parts, or of as many as the layout names.

        Two parts are the axis (head, torso) and the limbs, four are head, arms, torso, legs.

        Raises:
            ValueError: the layout has no such division.
        """
        if num_parts == len(self.parts):
            return list(self.parts.values())
        groups = BODY_PARTS.get(num_parts, ())
        if not groups or any(part not in self.parts for group in groups for part in group):
            raise ValueError(
                f"layout '{self.name}': no division into {num_parts} parts, it names "
                f"{', '.join(self.parts) or 'none'}; give its file the parts {', '.join(sum(BODY_PARTS[6], ()))}"
            )
        return [sum((self.parts[part] for part in group), ()) for group in groups]


def get_layout(name: str) -> Layout:
    """Return a layout by its name in `LAYOUTS`, or read and check one of the reader's own.

    Args:
        name: a key of `LAYOUTS`, or the path of a yaml file, which `layouts/` has examples of: `joints` is a list of
            [name, parent] or [name, parent, x, y]; all else may be left out.

    Raises:
        ValueError: an unknown name, or a file that does not describe a layout.
        FileNotFoundError: no such file.
    """
    if name in NAMES:
        return _read_shipped(name)
    path = pathlib.Path(name)
    if path.suffix not in (".yaml", ".yml"):
        raise ValueError(
            f"layout '{name}' is not known{suggest(name, NAMES)} (known: {', '.join(NAMES)}; or a .yaml file)"
        )
    if not path.is_file():
        raise FileNotFoundError(
            f"layout '{name}' does not exist; give the path of a yaml file or one of {', '.join(NAMES)}"
        )
    return _read(path)


class _Shipped(Mapping):
    def __getitem__(self, name):
        if name not in NAMES:
            raise KeyError(name)
        return _read_shipped(name)

    def __iter__(self):
        return iter(NAMES)

    def __len__(self):
        return len(NAMES)


LAYOUTS = _Shipped()  # name -> Layout; each is read when it is first asked for


@functools.cache
def _read_shipped(name):
    return _read(FOLDER / f"{name}.yaml")


def _read(path):
    try:
        text = yaml.safe_load(read_text(path))
    except yaml.YAMLError as error:
        raise ValueError(f"{path}: not a yaml text: {' '.join(str(error).split())}") from error
    try:
        layout = _build(path.stem, text)
        check_layout(layout)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    return layout


def _build(name, text):
    """Make a layout of what a yaml file holds; the joints in it are names or indices."""
    keys = ("like", *(field.name for field in fields(Layout) if field.name not in ("name", "parents", "positions")))
    for key in _expect(text, dict, "the file"):
        if key not in keys:
            raise ValueError(f"unknown key '{key}'{suggest(key, keys)} (known: {', '.join(keys)})")
    if ("like" in text) == ("joints" in text):
        raise ValueError(
            "list the joints as `joints:`, or name a layout to start from as `like: coco17`, one of the two"
        )
    found = _build_joints(text["joints"]) if "joints" in text else dict(vars(_find_like(text["like"])))
    find = functools.partial(_find_joint, joints=found["joints"])
    for key in ("pairs", "edges", "vector_edges"):
        if key in text:
            found[key] = _build_edges(text[key], key, find)
    if "centre" in text:
        found["centre"] = find(text["centre"])
    if "parts" in text:
        parts = _expect(text["parts"], dict, "parts")
        found["parts"] = {str(part): _build_edges(edges, f"parts, {part}", find) for part, edges in parts.items()}
    if "reference_joints" in text:
        found["reference_joints"] = tuple(map(find, _expect(text["reference_joints"], list, "reference_joints")))
    return Layout(**{**found, "name": name})


def _expect(value, kind, what):
    if not isinstance(value, kind):
        raise ValueError(f"{what}: expected {'a list' if kind is list else '`key: value` lines'}, got {value!r}")
    return value


def _find_like(name):
    if name not in NAMES:
        raise ValueError(f"like: layout '{name}' is not known{suggest(name, NAMES)} (known: {', '.join(NAMES)})")
    return _read_shipped(name)


def _build_joints(rows):
    """Read the rows [name, parent, x, y], and give all else what it is unless the file says otherwise."""
    for row in _expect(rows, list, "joints"):
        is_row = isinstance(row, list) and len(row) in (2, 4) and len(row) == len(rows[0])
        if not is_row or not all(isinstance(place, (int, float)) for place in row[2:]):
            raise ValueError(f"joint {row!r}: expected [name, parent] for each joint, or [name, parent, x, y] for each")
    joints = tuple(str(row[0]) for row in rows)
    if len(set(joints)) < len(joints):
        raise ValueError(f"joint '{next(name for name in joints if joints.count(name) > 1)}' is listed twice")
    parents = tuple(_find_joint(row[1], joints) for row in rows)
    bones = tuple((joint, parent) for joint, parent in enumerate(parents) if joint != parent)
    mirrored = [name.replace("left_", "right_", 1) for name in joints]
    pairs = (
        (joint, joints.index(name)) for joint, name in enumerate(mirrored) if name != joints[joint] and name in joints
    )
    roots = [joint for joint, parent in enumerate(parents) if joint == parent]
    return {
        "joints": joints,
        "parents": parents,
        "pairs": tuple(pairs),
        "edges": bones,
        "centre": roots[0] if roots else 0,
        "parts": {},
        "reference_joints": (),
        "vector_edges": bones,
        "positions": tuple(tuple(row[2:]) for row in rows if len(row) == 4),
    }


def _build_edges(edges, what, find):
    for edge in _expect(edges, list, what):
        if not isinstance(edge, list) or len(edge) != 2:
            raise ValueError(f"{what}: expected two joints, got {edge!r}")
    return tuple((find(one), find(other)) for one, other in edges)


def _find_joint(joint, joints):
    if isinstance(joint, int) and not isinstance(joint, bool):
        return joint  # `check_layout` tells whether there is one
    if joint not in joints:
        raise ValueError(f"joint '{joint}' is not listed{suggest(joint, joints)}")
    return joints.index(joint)


def check_layout(layout: Layout) -> None:
    """Refuse a layout that is no body.

    Raises:
        ValueError: an index beyond the joints, bones that are no tree with one root, sides that are not each other's
            mirror image, an edge that stands there twice or ties a joint to itself, or a joint without edges.
    """
    _check_indices(layout)
    _check_tree(layout)
    _check_edges(layout)
    _check_pairs(layout)


def _check_indices(layout):
    used = {"parents": layout.parents, "centre": (layout.centre,), "reference_joints": layout.reference_joints}
    edges = {"pairs": layout.pairs, "edges": layout.edges, "vector_edges": layout.vector_edges}
    edges.update({f"parts, {name}": part for name, part in layout.parts.items()})
    used.update({what: sum(pairs, ()) for what, pairs in edges.items()})
    for what, joints in used.items():
        for joint in joints:
            if not 0 <= joint < layout.num_joints:
                raise ValueError(f"{what}: there is no joint {joint}, they count from 0 to {layout.num_joints - 1}")


def _check_tree(layout):
    names = layout.joints
    roots = [names[joint] for joint, parent in enumerate(layout.parents) if joint == parent]
    if len(roots) != 1:
        raise ValueError(f"one joint is its own parent, the root; got {', '.join(roots) or 'none'}")
    for start, joint in enumerate(layout.parents):
        for _ in layout.parents:
            joint = layout.parents[joint]
        if names[joint] != roots[0]:
            raise ValueError(f"joint '{names[start]}': its parents form a ring that never reaches '{roots[0]}'")


def _check_pairs(layout):
    names, order = layout.joints, layout.mirror_indices()
    for index, name in enumerate(names):
        if sum(pair.count(index) for pair in layout.pairs) > 1:
            raise ValueError(f"pairs: joint '{name}' stands there twice")
    for joint, parent in layout.bones:
        if layout.parents[order[joint]] != order[parent]:
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


def _check_edges(layout):
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
    alone = [name for joint, name in enumerate(names) if joint not in reached]
    if alone:
        raise ValueError(f"edges: no way from '{names[layout.centre]}' to {', '.join(alone)}")
