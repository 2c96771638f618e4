"""Layouts of joints: names, bones, graph edges, left-right pairs and body parts, read from yaml files.

The files of `layouts/` are known by name (`LAYOUTS`), any other by its path.
"""

import functools
import pathlib
import re
from collections.abc import Mapping
from dataclasses import fields

from common.suggestions import suggest
from common.text_files import load_yaml, read_text, show_value
from layouts.checks import check_layout, check_sides
from layouts.layout import Layout

FOLDER = pathlib.Path(__file__).resolve().parent
RIGHT = {"left": "right", "Left": "Right", "LEFT": "RIGHT", "l": "r", "L": "R"}
LEFT = r"left|Left|LEFT|(?<![^\W_])[lL](?![^\W_])"  # a single letter is a word by itself
NAMES = (
    "ntu25",
    "ntu25_star",
    "ntu25_skateformer",
    "coco17",
    "coco17_paddlevideo",
    "openpose18",
    "openpose25",
    "ucla20",
    "hdm05",
    "mediapipe33",
    "hand21",
)


def get_layout(name: str) -> Layout:
    """Return a layout by its name in `LAYOUTS`, or read and check a custom one.

    Args:
        name: a key of `LAYOUTS`, or the path of a yaml file like those of `layouts/`: `joints` is a list of [name,
            parent] or [name, parent, x, y]; all other keys may be left out.

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


class _ShippedLayouts(Mapping):
    def __getitem__(self, name):
        if name not in NAMES:
            raise KeyError(name)
        return _read_shipped(name)

    def __iter__(self):
        return iter(NAMES)

    def __len__(self):
        return len(NAMES)


LAYOUTS = _ShippedLayouts()  # name -> Layout; each is read when it is first asked for


@functools.cache
def _read_shipped(name: str) -> Layout:
    return _read(FOLDER / f"{name}.yaml")


def _read(path: pathlib.Path) -> Layout:
    try:
        text = load_yaml(read_text(path))
        layout = _build(path.stem, text)
        check_layout(layout)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    return layout


def _build(name: str, text) -> Layout:
    """Build a layout from the content of a yaml file, in which joints are names or indices."""
    keys = ("like", *(field.name for field in fields(Layout) if field.name not in ("name", "parents", "positions")))
    for key in _expect(text, dict, "the file"):
        if key not in keys:
            raise ValueError(f"unknown key '{key}'{suggest(key, keys)} (known: {', '.join(keys)})")
    if ("like" in text) == ("joints" in text):
        raise ValueError(
            "list the joints as `joints:`, or name a layout to start from as `like: coco17`, one of the two"
        )
    found = _build_joints(text["joints"]) if "joints" in text else dict(vars(_find_like(text["like"])))
    if "joints" in text and "pairs" not in text:
        check_sides(found["joints"], found["pairs"])
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
    if "hierarchies" in text:
        hierarchies = _expect(text["hierarchies"], dict, "hierarchies")
        found["hierarchies"] = {
            str(joint): _build_groups(groups, f"hierarchies, {joint}", find) for joint, groups in hierarchies.items()
        }
    if "partition" in text:
        found["partition"] = _build_groups(text["partition"], "partition", find)
    return Layout(**{**found, "name": name})


def _expect(value, kind, what):
    if not isinstance(value, kind):
        raise ValueError(
            f"{what}: expected {'a list' if kind is list else '`key: value` lines'}, got {show_value(value)}"
        )
    return value


def _find_like(name):
    if name not in NAMES:
        raise ValueError(f"like: layout '{name}' is not known{suggest(name, NAMES)} (known: {', '.join(NAMES)})")
    return _read_shipped(name)


def _build_joints(rows):
    """Read the rows [name, parent, x, y], and derive all other fields, which the file may replace."""
    for row in _expect(rows, list, "joints"):
        is_row = isinstance(row, list) and len(row) in (2, 4) and len(row) == len(rows[0])
        if not is_row or not all(isinstance(coordinate, (int, float)) for coordinate in row[2:]):
            raise ValueError(
                f"joint {show_value(row)}: expected [name, parent] for each joint, or [name, parent, x, y] for each"
            )
    joints = tuple(str(row[0]) for row in rows)
    if len(set(joints)) < len(joints):
        raise ValueError(f"joint '{next(name for name in joints if joints.count(name) > 1)}' is listed twice")
    parents = tuple(_find_joint(row[1], joints) for row in rows)
    bones = tuple((joint, parent) for joint, parent in enumerate(parents) if joint != parent)
    pairs = find_pairs(joints)
    roots = [joint for joint, parent in enumerate(parents) if joint == parent]
    return {
        "joints": joints,
        "parents": parents,
        "pairs": pairs,
        "edges": bones,
        "centre": roots[0] if roots else 0,
        "parts": {},
        "reference_joints": (),
        "vector_edges": bones,
        "hierarchies": {},
        "partition": (),
        "positions": tuple(tuple(row[2:]) for row in rows if len(row) == 4),
    }


def find_pairs(joints: tuple[str, ...]) -> tuple[tuple[int, int], ...]:
    """Pair the joints whose names differ in left and right alone, in any case, or in the words l and r."""
    pairs = []
    for joint, name in enumerate(joints):
        other = re.sub(LEFT, lambda match: RIGHT[match[0]], name, count=1)
        if other != name and other in joints:
            pairs.append((joint, joints.index(other)))
    return tuple(pairs)


def _build_edges(edges, what, find):
    for edge in _expect(edges, list, what):
        if not isinstance(edge, list) or len(edge) != 2:
            raise ValueError(f"{what}: expected two joints, got {show_value(edge)}")
    return tuple((find(joint), find(other)) for joint, other in edges)


def _build_groups(groups, what, find):
    return tuple(tuple(map(find, _expect(group, list, what))) for group in _expect(groups, list, what))


def _find_joint(joint, joints):
    if isinstance(joint, int) and not isinstance(joint, bool):
        return joint  # `check_layout` refuses one that does not exist
    if joint not in joints:
        raise ValueError(f"joint '{joint}' is not listed{suggest(joint, joints)}")
    return joints.index(joint)
