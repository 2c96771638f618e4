"""MediaPipe Pose landmarks as csv: a file per video, x, y, z and perhaps visibility of 33 landmarks.

Two forms are read. Wide: a row per frame, columns `x0 y0 z0 v0 x1 ...` in any order (counted from 0 or 1, `_` or
`visibility` allowed, other columns ignored), or no header and 99 or 132 numbers; a row of empty cells is a frame
without a body. Long: a row per landmark, columns `frame, landmark, x, y, z` and perhaps `visibility`. Classes and
splits come from the folders above, see `class_folders`.
"""

import argparse
import csv
import io
import re

import numpy as np

from common.text_files import decode_text, refuses_damage
from dataset.raw_skeletons.class_folders import label_by_folder
from dataset.raw_skeletons.samples import RawSample, RawSet, list_files, make_annotation, read_bytes
from dataset.records import is_number

NUM_JOINTS = 33
MAX_VALUE = 20_000  # coordinates are fractions of the picture, metres or pixels
WIDE = re.compile(r"(x|y|z|v|vis|visibility)_?(\d{1,6})", re.IGNORECASE)
AXES = {"x": 0, "y": 1, "z": 2, "v": 3, "vis": 3, "visibility": 3}
LONG = {"frame": 0, "frame_id": 0, "frame_index": 0, "landmark": 1, "landmark_id": 1, "landmark_index": 1}


def find_samples(args: argparse.Namespace) -> RawSet:
    """List the csv files below `args.raw`."""
    origin = "write the landmarks of each video into a csv file"
    return label_by_folder(list_files(args.raw, ".csv", origin), args, args.layout or "mediapipe33")


def read_sample(sample: RawSample, args: argparse.Namespace) -> dict:
    """Read one video.

    Returns:
        annotation of one person, (1, T, 33, 3), with the visibility as score where the file has it.
    Raises:
        ValueError: a damaged file, with its line; no body in it.
    """
    rows = read_rows(sample.path)
    header, first = rows[0], 1
    if all(_is_number(cell) for cell in header):
        header, first = _name_columns(sample, len(header)), 0
    for line, row in enumerate(rows[first:], first + 1):
        if len(row) != len(header):
            raise _make_error(sample, line, f"got {len(row)} cells, expected {len(header)}")
    names = [name.lower() for name in header]
    landmarks = (
        read_long(sample, rows[first:], names) if "x" in names else read_wide(sample, rows[first:], names, first)
    )
    more = {"keypoint_score": landmarks[None, ..., 3]} if landmarks.shape[-1] == 4 else {}
    return make_annotation(sample, sample.label, landmarks[None, ..., :3], MAX_VALUE, **more)


@refuses_damage
def read_rows(path: str) -> list[list[str]]:
    """Read the cells of a csv file, without blank lines at its end."""
    text = decode_text(read_bytes(path), path)
    rows = [[cell.strip() for cell in row] for row in csv.reader(io.StringIO(text))]
    while rows and not any(rows[-1]) and len(rows[-1]) < 2:
        rows.pop()
    return rows


def read_wide(sample: RawSample, rows: list[list[str]], names: list[str], first: int) -> np.ndarray:
    """Read a row per frame: (T, 33, 3 or 4).

    Args:
        names: of the columns.
        first: lines of header above the rows.
    """
    found = {column: WIDE.fullmatch(name) for column, name in enumerate(names) if WIDE.fullmatch(name)}
    lowest = min((int(match[2]) for match in found.values()), default=0)
    targets = {column: (int(match[2]) - lowest, AXES[match[1].lower()]) for column, match in found.items()}
    num_axes = max((axis for _, axis in targets.values()), default=0) + 1
    wanted = {(joint, axis) for joint in range(NUM_JOINTS) for axis in range(max(num_axes, 3))}
    if set(targets.values()) != wanted or len(targets) != len(wanted):
        raise _make_error(
            sample, 1, f"got {len(targets)} columns of landmarks, expected x, y, z (and v) of {NUM_JOINTS}"
        )
    landmarks = np.zeros((len(rows), NUM_JOINTS, num_axes))
    for frame, row in enumerate(rows):
        if not any(row[column] for column in targets):
            continue
        for column, target in targets.items():
            landmarks[(frame, *target)] = _read_number(sample, frame + first + 1, names[column], row[column])
    return landmarks


def read_long(sample: RawSample, rows: list[list[str]], names: list[str]) -> np.ndarray:
    """Read a row per landmark: (T, 33, 3 or 4); frames that are left out have no body."""
    keys = {LONG[name]: column for column, name in enumerate(names) if name in LONG}
    axes = {AXES[name]: column for column, name in enumerate(names) if name in AXES}
    if set(keys) != {0, 1} or set(axes) not in ({0, 1, 2}, {0, 1, 2, 3}):
        raise _make_error(sample, 1, f"got the columns {', '.join(names)}, expected frame, landmark, x, y, z")
    frames = {}
    for line, row in enumerate(rows, 2):
        frame, joint = (row[keys[key]] for key in (0, 1))
        if not is_number(frame) or not is_number(joint) or int(joint) >= NUM_JOINTS or int(frame) > 10**6:
            raise _make_error(
                sample, line, f"got frame '{frame}' and landmark '{joint}', expected numbers from 0, 0 to 32"
            )
        known = frames.setdefault(int(frame), {})
        if int(joint) in known:
            raise _make_error(sample, line, f"landmark {joint} of frame {frame} comes twice")
        known[int(joint)] = [_read_number(sample, line, names[axes[axis]], row[axes[axis]]) for axis in sorted(axes)]
        if line - 1 == len(rows) or row[keys[0]] != rows[line - 1][keys[0]]:  # the frame's last row
            if len(known) != NUM_JOINTS:
                raise _make_error(
                    sample, line, f"frame {frame} ends with {len(known)} landmarks, expected {NUM_JOINTS}"
                )
    landmarks = np.zeros((max(frames, default=-1) - min(frames, default=0) + 1, NUM_JOINTS, len(axes)))
    for frame, known in frames.items():
        landmarks[frame - min(frames)] = [known[joint] for joint in range(NUM_JOINTS)]
    return landmarks


def _name_columns(sample: RawSample, count: int) -> list[str]:
    """Name the columns of a file without a header."""
    letters = {3 * NUM_JOINTS: "xyz", 4 * NUM_JOINTS: "xyzv"}.get(count)
    if not letters:
        raise _make_error(sample, 1, f"got {count} numbers, expected {3 * NUM_JOINTS} or {4 * NUM_JOINTS}, or a header")
    return [f"{letter}{joint}" for joint in range(NUM_JOINTS) for letter in letters]


def _read_number(sample: RawSample, line: int, name: str, cell: str) -> float:
    if not _is_number(cell) or not abs(float(cell)) <= MAX_VALUE:  # nan compares false
        raise _make_error(sample, line, f"{name} is '{cell[:40]}', expected a number from {-MAX_VALUE} to {MAX_VALUE}")
    return float(cell)


def _is_number(cell: str) -> bool:
    return re.fullmatch(r"[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?", cell, re.IGNORECASE) is not None


def _make_error(sample: RawSample, line: int, what: str) -> ValueError:
    return ValueError(f"'{sample.path}' line {line}: {what}; get the file again")
