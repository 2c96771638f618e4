"""The text of an NTU RGB+D `.skeleton` file (Shahroudy et al., CVPR 2016): what Kinect v2 saw, frame by frame.

The number of frames; per frame the number of bodies; per body a line of 10 numbers (the id first), the number of
joints, and a line of 12 numbers for each: x, y, z (metres), depth and colour pixel, orientation, tracking state. Only
ids and x, y, z are used, but every row must be there: a file that is cut off, or has a row or number too many, is
refused, and so is a number with a digit more or less where all others have as many decimals.
"""

import os
import re
from dataclasses import dataclass

import numpy as np

from dataset.raw_skeletons.samples import read_bytes

MAX_DIGITS = 30  # of a whole number; a body's id has 17
NUM_JOINTS = 25
BODY_WORDS, JOINT_WORDS = 10, 12
USED_COLUMNS = (0, 1, 2, 11)  # of a joint's line: x, y, z, and the tracking state (0 not seen, 1 guessed, 2 seen)
MAX_ODD_RATIO = 0.01  # writers that drop zeros at the end have shorter numbers in a tenth of all
MAX_METRES = 20  # Kinect v2 sees eight metres far; more is damage
BLANKS = np.isin(np.arange(256), list(b" \t\n\r\v\f"))
POINT, SIGN, OTHER = 1 << 10, 1 << 15, 1 << 20  # a digit counts 1; summed over a word they count its parts
WEIGHTS = np.full(256, OTHER, np.int32)
WEIGHTS[BLANKS] = 0
WEIGHTS[list(b"0123456789")] = 1
WEIGHTS[list(b".+-")] = POINT, SIGN, SIGN
NUMBER = re.compile(rb"[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?", re.IGNORECASE)
NO_NUMBER = re.compile(rb"[-+]?(nan|inf(inity)?|1\.#\w+)", re.IGNORECASE)  # as programs print it, Microsoft's the last


@dataclass
class Recording:
    """The bodies of a file, in its order, B in all frames together.

    Attributes:
        num_frames: T, frames without bodies included.
        frames: (B,) the frame each is in, from 0.
        slots: (B,) its position among the bodies of its frame.
        ids: the B ids that the tracker gave.
        joints: (B, 25, 3) metres, camera axes, float64.
    """

    num_frames: int
    frames: np.ndarray
    slots: np.ndarray
    ids: list[int]
    joints: np.ndarray


def read_recording(path: str | os.PathLike) -> Recording:
    """Read a `.skeleton` file.

    Raises:
        ValueError: whatever is wrong with it, with its line.
    """
    path = os.fspath(path)
    text = _Text(read_bytes(path), path)
    num_frames, line = text.read_count(0, "the number of frames"), 1
    frames, slots, ids, first_lines = [], [], [], []
    for frame in range(num_frames):
        inside = f"frame {frame + 1} of {num_frames}"
        num_bodies, line = text.read_count(line, f"the number of bodies of {inside}"), line + 1
        seen = set()
        for slot in range(num_bodies):
            text.check_line(line, BODY_WORDS, f"a body of {inside}")
            ids.append(text.read_id(line))
            if ids[-1] in seen:
                raise text.make_error(line, f"body {ids[-1]} is in {inside} twice")
            seen.add(ids[-1])
            num_joints = text.read_count(line + 1, f"the number of joints of a body of {inside}")
            if num_joints != NUM_JOINTS:
                raise text.make_error(line + 1, f"got {num_joints} joints, expected {NUM_JOINTS}")
            text.check_joint_lines(line + 2, inside)
            frames.append(frame)
            slots.append(slot)
            first_lines.append(line + 2)
            line += 2 + NUM_JOINTS
    text.check_end(line, num_frames)
    joints = text.read_joints(np.array(first_lines, np.int64))
    return Recording(num_frames, np.array(frames, np.int64), np.array(slots, np.int64), ids, joints)


class _Text:
    """The words of a text with the lines they stand in; lines count from 0 here, from 1 in messages."""

    def __init__(self, data: bytes, path: str):
        self.data, self.path = data, path
        self.raw = np.frombuffer(data, np.uint8)
        is_word = np.zeros(len(data) + 2, bool)
        is_word[1:-1] = ~BLANKS[self.raw]
        self.starts = np.flatnonzero(is_word[1:-1] & ~is_word[:-2])
        self.ends = np.flatnonzero(is_word[1:-1] & ~is_word[2:]) + 1
        line_starts = np.concatenate([[0], np.flatnonzero(self.raw == ord("\n")) + 1])
        self.first_words = np.searchsorted(self.starts, line_starts)  # of each line
        self.sizes = np.diff(self.first_words, append=len(self.starts)).tolist()
        while not self.sizes[-1]:  # blank lines at the end
            self.sizes.pop()
        self.missing = self.check_words()

    def check_words(self) -> list[int]:
        """Refuse words that are no numbers; return the indices of those that mean a missing number, such as nan."""
        counts = np.add.reduceat(WEIGHTS[self.raw], self.starts)
        signed = WEIGHTS[self.raw[self.starts]] == SIGN
        self.is_plain = (counts % POINT > 0) & (counts // POINT % 32 <= 1) & (counts // SIGN == signed)
        missing = []
        for word in np.flatnonzero(~self.is_plain).tolist():
            text = self.data[self.starts[word] : self.ends[word]]
            if NO_NUMBER.fullmatch(text):
                missing.append(word)
            elif not NUMBER.fullmatch(text):
                shown = repr(text[:40])[1:]
                raise self.make_error(self.data.count(b"\n", 0, self.starts[word]), f"got {shown}, expected a number")
        return missing

    def make_error(self, line: int, what: str) -> ValueError:
        """Make the error that names the line."""
        return ValueError(f"'{self.path}' line {line + 1}: {what}; the file is damaged, get it again")

    def check_line(self, line: int, num_words: int, what: str) -> None:
        """Refuse a line that is missing or has another number of words."""
        if line >= len(self.sizes):
            raise self.make_error(line, f"the file ends here, expected {what}")
        if self.sizes[line] != num_words:
            got = f"{self.sizes[line]} numbers" if self.sizes[line] != 1 else "1 number"
            raise self.make_error(line, f"got {got}, expected {num_words} ({what})")

    def read_count(self, line: int, what: str) -> int:
        """Read a line that holds one whole number from 0."""
        self.check_line(line, 1, what)
        word = self.read_word(line)
        if not word.isdigit() or len(word) > MAX_DIGITS:
            raise self.make_error(line, f"got '{word.decode()[:40]}', expected {what}, a whole number from 0")
        return int(word)

    def read_id(self, line: int) -> int:
        """Read a body's id, which has more digits than float64 holds."""
        word = self.read_word(line)
        if not word.isdigit() or len(word) > MAX_DIGITS:
            raise self.make_error(line, f"got '{word.decode()[:40]}', expected a body's id, a whole number")
        return int(word)

    def read_word(self, line: int) -> bytes:
        """Return the first word of a line."""
        word = self.first_words[line]
        return self.data[self.starts[word] : self.ends[word]]

    def check_joint_lines(self, line: int, inside: str) -> None:
        """Refuse anything but 25 lines of 12 words from `line` on."""
        if self.sizes[line : line + NUM_JOINTS] == [JOINT_WORDS] * NUM_JOINTS:
            return
        for joint in range(NUM_JOINTS):
            self.check_line(line + joint, JOINT_WORDS, f"joint {joint + 1} of {NUM_JOINTS} of a body of {inside}")

    def check_end(self, line: int, num_frames: int) -> None:
        """Refuse lines after the last frame."""
        if line < len(self.sizes):
            raise self.make_error(line, f"the file goes on, expected its end after the {num_frames} frames of line 1")

    def read_joints(self, first_lines: np.ndarray) -> np.ndarray:
        """Read x, y, z of all joints, (B, 25, 3), given the line of each body's first joint."""
        lines = first_lines[:, None] + np.arange(NUM_JOINTS)
        words = self.first_words[lines][..., None] + USED_COLUMNS
        is_number = ~np.isin(words, self.missing)
        values, decimals = np.full(words.shape, np.nan), np.zeros(words.shape, np.int64)
        values[is_number], decimals[is_number] = self.read_values(words[is_number])
        is_good = np.abs(values) <= (MAX_METRES, MAX_METRES, MAX_METRES, 2)  # nan compares false
        is_good[..., 3] &= np.isin(values[..., 3], (0, 1, 2))
        if not is_good.all():
            body, joint, column = np.argwhere(~is_good)[0]
            metres = f"metres from -{MAX_METRES} to {MAX_METRES}"
            name, expected = [("x", metres), ("y", metres), ("z", metres), ("the tracking state", "0, 1 or 2")][column]
            what = f"{name} is {values[body, joint, column]:g}, expected {expected}"
            raise self.make_error(int(lines[body, joint]), what)
        self.check_decimals(decimals[..., :3], lines)
        return values[..., :3]

    def check_decimals(self, decimals: np.ndarray, lines: np.ndarray) -> None:
        """Refuse a number that has lost or gained a digit, in a file that prints all others with as many decimals.

        Args:
            decimals: (B, 25, 3), 0 for numbers without a point or with an exponent.
            lines: (B, 25) of the joints.
        """
        counts = np.bincount(decimals.ravel(), minlength=2)[1:]
        usual = counts.argmax() + 1
        if 0 < counts.sum() - counts.max() <= MAX_ODD_RATIO * counts.sum():
            is_odd = (decimals != usual) & (decimals > 0)
            body, joint, axis = np.argwhere(is_odd)[0]
            what = f"{'xyz'[axis]} has {decimals[body, joint, axis]} decimals, all other numbers have {usual}"
            raise self.make_error(int(lines[body, joint]), what)

    def read_values(self, words: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Read some words as float64, and count their decimals where they have no exponent.

        What is read is exact: up to 15 digits and a power of ten up to 15 are both whole in float64.
        """
        starts, sizes = self.starts[words], self.ends[words] - self.starts[words]
        is_short = self.is_plain[words] & (sizes <= 15)
        digits, num_decimals = np.zeros(len(words), np.int64), np.zeros(len(words), np.int64)
        seen_point = np.zeros(len(words), bool)
        for position in range(min(15, sizes.max(initial=0))):
            letters = self.raw[np.where(position < sizes, starts + position, starts)]
            is_digit = (position < sizes) & (letters - np.uint8(ord("0")) < 10)  # what is below "0" wraps around
            digits = np.where(is_digit, digits * 10 + (letters - np.uint8(ord("0"))), digits)
            num_decimals += is_digit & seen_point
            seen_point |= letters == ord(".")
        values = digits / 10.0**num_decimals
        values = np.where(self.raw[starts] == ord("-"), -values, values)
        for row in np.flatnonzero(~is_short).tolist():
            values[row] = float(self.data[starts[row] : starts[row] + sizes[row]])
        return values, num_decimals * is_short
