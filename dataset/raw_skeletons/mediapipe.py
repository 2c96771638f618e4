"""MediaPipe Pose landmarks as csv: a file per video, x, y, z and perhaps visibility of 33 landmarks.

Cells are separated by commas, semicolons or tabs. Two forms are read. Wide: a row per frame, columns `x0 y0 z0 v0 x1
...` in any order (counted from 0 or 1, `_` or `visibility` allowed, other columns ignored), or no header and 99 or 132
numbers; frames are in order, or numbered by a column `frame`. Long: a row per landmark, in any order, columns `frame,
landmark, x, y, z` and perhaps `visibility`. Numbers of frames that are left out are frames without a body, see
`frames`; so are rows of empty cells, `nan` or `None`. Classes and splits come from the folders above, see
`class_folders`.
"""

import argparse
import csv
import io
import re

import numpy as np

from common.text_files import decode_text, refuses_damage
from dataset.raw_skeletons.class_folders import label_by_folder
from dataset.raw_skeletons.frames import arrange_frames
from dataset.raw_skeletons.samples import (
    MISSING_POINTS,
    NOTES,
    RawSample,
    RawSet,
    list_files,
    make_annotation,
    read_bytes,
)
from dataset.records import is_number

NUM_JOINTS = 33
MAX_VALUE = 20_000  # coordinates are fractions of the picture, metres or pixels
WIDE = re.compile(r"(x|y|z|v|vis|visibility)_?(\d{1,6})", re.IGNORECASE)
AXES = {"x": 0, "y": 1, "z": 2, "v": 3, "vis": 3, "visibility": 3}
DELIMITERS = ",;\t"  # of cells, the first line says which
MISSING = ("", "nan", "none", "null", "na", "n/a")  # cells of landmarks that were not found
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
    read = read_long if "x" in names else read_wide
    landmarks, num_incomplete = read(sample, rows[first:], names, first, args)
    more = {"keypoint_score": landmarks[None, ..., 3]} if landmarks.shape[-1] == 4 else {}
    annotation = make_annotation(sample, sample.label, landmarks[None, ..., :3], MAX_VALUE, **more)
    if num_incomplete:
        annotation[NOTES] = {MISSING_POINTS: num_incomplete}
    return annotation


@refuses_damage
def read_rows(path: str) -> list[list[str]]:
    """Read the cells of a csv file, without blank lines at its end."""
    text = decode_text(read_bytes(path), path)
    delimiter = max(DELIMITERS, key=text.partition("\n")[0].count)
    rows = [[cell.strip() for cell in row] for row in csv.reader(io.StringIO(text), delimiter=delimiter)]
    while rows and not any(rows[-1]) and len(rows[-1]) < 2:
        rows.pop()
    return rows


def read_wide(
    sample: RawSample, rows: list[list[str]], names: list[str], first: int, args: argparse.Namespace
) -> tuple[np.ndarray, int]:
    """Read a row per frame: (T, 33, 3 or 4), and how many landmarks lack a number.

    Args:
        names: of the columns.
        first: lines of header above the rows.
    """
    found = {column: WIDE.fullmatch(name) for column, name in enumerate(names) if WIDE.fullmatch(name)}
    lowest = min((int(match[2]) for match in found.values()), default=0)
    targets = {(int(match[2]) - lowest, AXES[match[1].lower()]): column for column, match in found.items()}
    num_axes = max((axis for _, axis in targets), default=0) + 1
    wanted = {(joint, axis) for joint in range(NUM_JOINTS) for axis in range(max(num_axes, 3))}
    if set(targets) != wanted or len(targets) != len(found):
        raise _make_error(sample, 1, f"got {len(found)} columns of landmarks, expected x, y, z (and v) of {NUM_JOINTS}")
    columns = [[targets[joint, axis] for axis in range(num_axes)] for joint in range(NUM_JOINTS)]
    numbering = [column for column, name in enumerate(names) if LONG.get(name) == 0]
    frames, num_incomplete = {}, 0
    for line, row in enumerate(rows, first + 1):
        landmarks = [[_read_number(sample, line, names[column], row[column]) for column in axes] for axes in columns]
        frame = _read_count(sample, line, row[numbering[0]]) if numbering else line
        if frame in frames:
            raise _make_error(sample, line, f"frame {frame} comes twice")
        frames[frame], num_missing = _fill(landmarks)
        num_incomplete += num_missing
    if numbering:
        frames = arrange_frames(sample.path, frames, args, sample.video)
    return _stack(list(frames.values()) if isinstance(frames, dict) else frames, num_axes), num_incomplete


def read_long(
    sample: RawSample, rows: list[list[str]], names: list[str], first: int, args: argparse.Namespace
) -> tuple[np.ndarray, int]:
    """Read a row per landmark: (T, 33, 3 or 4), and how many lack a number; frames left out have no body."""
    keys = {LONG[name]: column for column, name in enumerate(names) if name in LONG}
    axes = {AXES[name]: column for column, name in enumerate(names) if name in AXES}
    if set(keys) != {0, 1} or set(axes) not in ({0, 1, 2}, {0, 1, 2, 3}):
        raise _make_error(sample, 1, f"got the columns {', '.join(names)}, expected frame, landmark, x, y, z")
    frames, ends = {}, {}
    for line, row in enumerate(rows, first + 1):
        frame, joint = (_read_count(sample, line, row[keys[key]]) for key in (0, 1))
        known = frames.setdefault(frame, {})
        if joint >= NUM_JOINTS or joint in known:
            what = "comes twice" if joint in known else "does not exist, they are 0 to 32"
            raise _make_error(sample, line, f"landmark {joint} of frame {frame} {what}")
        known[joint] = [_read_number(sample, line, names[axes[axis]], row[axes[axis]]) for axis in sorted(axes)]
        ends[frame] = line
    for frame, line in ends.items():
        if len(frames[frame]) != NUM_JOINTS:
            count = len(frames[frame])
            raise _make_error(sample, line, f"frame {frame} ends with {count} landmarks, expected {NUM_JOINTS}")
    filled = {frame: _fill([known[joint] for joint in range(NUM_JOINTS)]) for frame, known in frames.items()}
    people = arrange_frames(
        sample.path, {frame: landmarks for frame, (landmarks, _) in filled.items()}, args, sample.video
    )
    return _stack(people, len(axes)), sum(num_missing for _, num_missing in filled.values())


def _fill(landmarks: list[list[float | None]]) -> tuple[list[list[float]], int]:
    """Return the landmarks of a frame, zero where one lacks a number, and how many do; a frame of none has none."""
    missing = [any(number is None for number in landmark) for landmark in landmarks]
    if all(missing):
        return [], 0
    zeros = [0.0] * len(landmarks[0])
    return [zeros if is_missing else row for row, is_missing in zip(landmarks, missing, strict=True)], sum(missing)


def _stack(frames: list[list], num_axes: int) -> np.ndarray:
    """Stack the landmarks of all frames, zero where there are none."""
    landmarks = np.zeros((len(frames), NUM_JOINTS, num_axes))
    for frame, rows in enumerate(frames):
        if rows:
            landmarks[frame] = rows
    return landmarks


def _read_count(sample: RawSample, line: int, cell: str) -> int:
    """Read the number of a frame or a landmark."""
    number = re.sub(r"\.0+$", "", cell)
    if not is_number(number) or int(number) > 10**6:
        raise _make_error(sample, line, f"got '{cell[:40]}' as the number of a frame or landmark, expected one from 0")
    return int(number)


def _name_columns(sample: RawSample, count: int) -> list[str]:
    """Name the columns of a file without a header."""
    letters = {3 * NUM_JOINTS: "xyz", 4 * NUM_JOINTS: "xyzv"}.get(count)
    if not letters:
        raise _make_error(sample, 1, f"got {count} numbers, expected {3 * NUM_JOINTS} or {4 * NUM_JOINTS}, or a header")
    return [f"{letter}{joint}" for joint in range(NUM_JOINTS) for letter in letters]


def _read_number(sample: RawSample, line: int, name: str, cell: str) -> float | None:
    if cell.lower() in MISSING:
        return None
    if not _is_number(cell) or not abs(float(cell)) <= MAX_VALUE:  # nan compares false
        raise _make_error(sample, line, f"{name} is '{cell[:40]}', expected a number from {-MAX_VALUE} to {MAX_VALUE}")
    return float(cell)


def _is_number(cell: str) -> bool:
    return re.fullmatch(r"[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?", cell, re.IGNORECASE) is not None


def _make_error(sample: RawSample, line: int, what: str) -> ValueError:
    return ValueError(f"'{sample.path}' line {line}: {what}; get the file again")
