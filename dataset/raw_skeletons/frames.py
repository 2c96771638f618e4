"""Where in a video the frames of a file of key points belong: one rule for every format.

A frame's place is its number, an id or the last number in the name of its picture, whatever the order in the file.
Numbers that a file leaves out are frames without anybody, where the tool writes down only people; where it writes every
frame, one that is missing is damage. The first frame is number 0, or 1 where that is the least number of the file.
"""

import argparse
import dataclasses
import os
import re
from collections.abc import Hashable

from dataset.names import MediaIndex
from dataset.raw_skeletons.samples import RawSample
from dataset.records import list_frames
from dataset.video_file import VideoFile

MAX_EMPTY_RATIO, MAX_EMPTY = 100, 1000  # frames without anybody: so many for each other one, and so many more
FOUND = "found"  # of --first_frame: the first one that shows somebody
NAME = re.compile(r"(.*?)(\d+)(\D*)")


def parse_first_frame(text: str) -> int | str:
    """Read --first_frame from a command line."""
    if text != FOUND and not (text.isascii() and text.isdecimal()):
        raise argparse.ArgumentTypeError(f"expected a number from 0, or {FOUND}, got '{text}'")
    return text if text == FOUND else int(text)


def arrange_frames(
    path: str, found: dict[Hashable, list], args: argparse.Namespace, video: str | None = None
) -> list[list]:
    """Put the people of each frame at its place, and nobody into the others.

    Args:
        path: of the file, for messages.
        found: people by a frame's number or name, of a tool that may leave out frames without anybody.
        args: `first_frame`: the number of the first frame of a video, `FOUND`, or None.
        video: the video or folder of frames, whose number of frames is that of the result; None: the last frame is the
            last with somebody.
    Raises:
        ValueError: names without numbers or of two videos, one number for two, numbers that are no frames.
    """
    people = number_frames(path, found)
    if not people:
        return []
    least, last = min(people), max(people)
    num_frames = None if video is None else count_frames(video)
    first = args.first_frame
    if first is None:
        first = 1 if least == 1 or least > 1 and last == num_frames else 0
    first = least if first == FOUND else first
    if least < first:
        raise ValueError(f"'{path}': a frame has the number {least}, the first one is {first}; give --first_frame")
    if last - first > MAX_EMPTY_RATIO * len(people) + MAX_EMPTY:
        raise ValueError(
            f"'{path}': the numbers of its {len(people)} frames go from {least} to {last}; number the frames of a video"
            f" from 0 or 1, or give --first_frame {FOUND}, which takes the least one as the first"
        )
    if num_frames is not None and last - first >= num_frames:
        raise ValueError(
            f"'{path}': its frames go from {first} to {last}, but '{video}' has {num_frames}: they are not of one "
            "video, or --first_frame is another"
        )
    return [people.get(number, []) for number in range(first, first + (num_frames or last - first + 1))]


def count_frames(video: str) -> int:
    """Count the frames of a video or of a folder of frames."""
    return len(list_frames(video)) if os.path.isdir(video) else len(VideoFile(video))


def find_videos(samples: list[RawSample], folder: str) -> list[RawSample]:
    """Return the samples with their videos, which have the same names.

    Raises:
        FileNotFoundError: a sample without a video, or no videos at all.
    """
    media = MediaIndex(folder)
    found = [dataclasses.replace(sample, video=media.find([sample.name])) for sample in samples]
    missing = [sample.name for sample in found if sample.video is None]
    if missing:
        raise FileNotFoundError(
            f"'{folder}' has no video for {len(missing)} of {len(found)} samples, first '{missing[0]}': "
            f"{media.explain_missing([missing[0]])}; get them, or leave --videos out"
        )
    return found


def arrange_all_frames(path: str, found: dict[Hashable, list], first_frame: int | str | None = None) -> list[list]:
    """Order the frames of a tool that writes all of them.

    Args:
        first_frame: the number of the first frame of a video, `FOUND`, or None: 0 or 1.

    Raises:
        ValueError: as `arrange_frames`; a frame that is missing.
    """
    people = number_frames(path, found)
    least, known = min(people, default=0), (0, 1) if first_frame is None else (first_frame, FOUND)
    if people and first_frame != FOUND and least not in known:
        raise ValueError(
            f"'{path}': its first frame has the number {least}, expected {known[0]}{' or 1' * (first_frame is None)}: "
            f"the frames before it are missing; get them again, or give skeleton2pkl.py --first_frame {FOUND} if the "
            "video begins there"
        )
    for number in range(min(people, default=0), max(people, default=-1) + 1):
        if number not in people:
            raise ValueError(f"'{path}': frame {number} is missing, expected every frame; get it again")
    return [people[number] for number in sorted(people)]


def number_frames(path: str, found: dict[Hashable, list]) -> dict[int, list]:
    """Return the people by the number of the frame.

    Raises:
        ValueError: a name without a number, names of two videos, or one number for two frames.
    """
    numbers, places, known = {}, {}, {}
    for frame, people in found.items():
        number, around = (frame, "") if isinstance(frame, int) else split_name(path, frame)
        if places and around not in places:
            other = next(iter(places.values()))
            raise ValueError(f"'{path}': '{other}' and '{frame}' are frames of two videos; write one file for each")
        if number < 0 or number in known:
            fault = "is no number of a frame" if number < 0 else f"and '{known[number]}' are the same frame"
            raise ValueError(f"'{path}': '{frame}' {fault}; number the frames from 0 or 1, each once")
        numbers[number], places[around], known[number] = people, frame, frame
    return numbers


def split_name(path: str, name: str) -> tuple[int, str]:
    """Split the name of a picture into its last number and what stands around it."""
    stem = os.path.splitext(name)[0] if not name.isdecimal() else name
    match = NAME.fullmatch(stem)
    if not match or len(match[2]) > 12:
        raise ValueError(f"'{path}': the frame '{name}' has no number in its name; name the pictures by their numbers")
    return int(match[2]), f"{match[1]}*{match[3]}"
