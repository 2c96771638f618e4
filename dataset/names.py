"""What samples are called, and which video is whose.

A sample of a list is called as its file or frame folder, without the suffix. Where its list has several of that name,
each has as many of its folders before the name as tell it from the others (`s2/walk/01`); where no folder does, as for
`x.mp4` beside `x.ts`, it keeps its suffix. Nothing but the lines of that one list decides: score files of one list
join, whatever other lists there are. A record has the name that jpg2pkl.py wrote into it.

A name that another file gives, such as a line of an annotation file or the `frame_dir` of key points, is compared with
the paths of videos by as many folders as both sides have, without the suffix: `Kick/001` is `videos/Kick/001.mp4` and
also `001.mp4`, but never `Wave/001.mp4`. Folders may differ in upper and lower case, in blanks written as "_", and in
an ending "_jpg".
"""

import os
from collections import Counter
from collections.abc import Sequence
from typing import Any

from dataset.media import VIDEO_SUFFIXES, is_frame, is_video, strip_suffix, walk

POSE_SUFFIXES = (".json", ".csv", ".skeleton", ".npy", ".pkl")  # of files of key points


def name_samples(paths: Sequence[str], stems: Sequence[str]) -> list[str]:
    """Name the samples of a list; see the top of this file.

    Args:
        paths: of their files or frame folders; equal ones get equal names, with a folder.
        stems: the last part of each, without its suffix.
    """
    counts = Counter(stems)
    if len(counts) == len(stems):
        return list(stems)
    places = [os.path.abspath(path) for path in paths]
    names = {place: stem for place, stem in zip(places, stems, strict=True) if counts[stem] == 1}
    pending = {place: stem for place, stem in zip(places, stems, strict=True) if counts[stem] > 1}
    for depth in range(1, max(place.count(os.sep) for place in pending) + 1):
        pending = _name_single(pending, depth, names)
    pending = {place: os.path.basename(place) for place in pending}
    for depth in range(max((place.count(os.sep) for place in pending), default=0) + 1):
        pending = _name_single(pending, depth, names)
    return [names[place] for place in places]


def _name_single(pending: dict[str, str], depth: int, names: dict[str, str]) -> dict[str, str]:
    """Give those of {path: last part of its name} a name whom `depth` folders tell from all; return the others."""
    if not pending:
        return {}
    longer = {place: "/".join([*_get_folders(place, depth), last]) for place, last in pending.items()}
    counts = Counter(longer.values()) + Counter(names.values())
    names.update({place: name for place, name in longer.items() if counts[name] == 1})
    return {place: last for place, last in pending.items() if place not in names}


def _get_folders(place: str, depth: int) -> list[str]:
    return [part for part in os.path.dirname(place).split(os.sep) if part][-depth:] if depth else []


def split_name(name: str) -> tuple[str, ...]:
    """Return the folders of a name and its last part, without a suffix of videos or key points."""
    name = os.path.normpath(name) if ".." in name else name
    parts = [part for part in name.split(os.sep) if part not in ("", ".", "..")] or [""]
    return (*parts[:-1], strip_suffix(parts[-1], VIDEO_SUFFIXES + POSE_SUFFIXES))


class NameIndex:
    """Things by their names, to be found by another name of theirs; see the top of this file."""

    def __init__(self):
        self._by_last, self._tables = {}, {}

    def __bool__(self) -> bool:
        return bool(self._by_last)

    def add(self, name: str, thing: Any) -> None:
        """Add a thing, before any is looked for; several may have one name."""
        parts = split_name(name)
        self._by_last.setdefault(parts[-1], []).append((parts, thing))

    def find(self, name: str) -> list:
        """Return what may be meant by a name: one thing, none, or several among which its folders do not decide."""
        parts = split_name(name)
        wholes, ends = self._tabulate(parts[-1])
        key = _simplify(parts)
        shorter = (wholes.get(key[start:]) for start in range(1, len(key)))
        found = wholes.get(key) or ends.get(key) or next(filter(None, shorter), [])
        exact = [thing for other, thing in found if all(map(str.__eq__, reversed(parts), reversed(other)))]
        return exact or [thing for _, thing in found]

    def find_contradicted(self, name: str) -> list:
        """Return what has the last part of a name, whatever its folders are."""
        return [thing for _, thing in self._by_last.get(split_name(name)[-1], [])]

    def _tabulate(self, last: str) -> tuple[dict, dict]:
        """Return what has this last part, by its whole name and by each end of its name."""
        if last in self._tables:
            return self._tables[last]
        wholes, ends = {}, {}
        for parts, thing in self._by_last.get(last, []):
            key = _simplify(parts)
            wholes.setdefault(key, []).append((parts, thing))
            for start in range(1, len(key)):
                ends.setdefault(key[start:], []).append((parts, thing))
        if len(wholes) > 1:  # made anew for each of a thousand folders with a 001.avi, it would take minutes
            self._tables[last] = wholes, ends
        return wholes, ends


def _simplify(parts: tuple[str, ...]) -> tuple[str, ...]:
    """Make folders comparable: upper and lower case, blanks, and the "_jpg" of the scripts of 2020."""
    folders = (part.casefold().removesuffix("_jpg").replace("_", " ") for part in parts[:-1])
    return (*folders, parts[-1])


def _identify(path: str) -> tuple:
    """Return what a file has in common with all links to it."""
    if not os.path.exists(path):  # a link that leads nowhere
        return (path,)
    status = os.stat(path)
    return status.st_dev, status.st_ino


class MediaIndex:
    """The videos and frame folders below a folder, however deep, by name.

    A folder of frames is one below `folder` that has pictures and no videos; pictures beside videos are no frames.

    Args:
        folder: to search; links are followed.

    Raises:
        FileNotFoundError: there are none.
    """

    def __init__(self, folder: str):
        self.folder, self._index = folder, NameIndex()
        for parent, folders, names in walk(folder):
            videos = [name for name in names if is_video(name)]
            for name in videos:
                self._add(os.path.join(parent, name))
            if not videos and parent != folder and any(map(is_frame, names)):
                self._add(parent)
                folders.clear()
        if not self._index:
            raise FileNotFoundError(f"'{folder}' holds no videos and no frame folders; name the folder that does")

    def _add(self, path: str) -> None:
        self._index.add(os.path.relpath(path, self.folder), path)

    def find(self, names: list[str]) -> str | None:
        """Return the path of a video by the names that it may have, the likeliest first; None where there is none.

        Raises:
            ValueError: two videos have the name.
        """
        for name in names:
            path = os.path.join(self.folder, name)
            if os.path.exists(path):
                return path
            found = self._index.find(name)
            if len(found) > 1:  # two links to one file are one video
                found = list({_identify(path): path for path in reversed(found)}.values())[::-1]
            if len(found) > 1:
                raise ValueError(
                    f"'{found[0]}' and '{found[1]}' both have the name '{name}'; name its folder too, as in "
                    f"'{os.path.relpath(found[0], self.folder)}', or take one of them out of the folder"
                )
            if found:
                return found[0]
        return self._find_link(names)

    def holds(self, name: str) -> bool:
        """Whether a video has this name."""
        return self.find([name]) is not None

    def _find_link(self, names: list[str]) -> str | None:
        """Find a video behind a link, whose own folder was searched under its other name."""
        paths = (os.path.join(self.folder, name + suffix) for name in names for suffix in VIDEO_SUFFIXES)
        return next((path for path in paths if os.path.exists(path)), None)

    def explain_missing(self, names: list[str]) -> str:
        """Say that no video has one of the names, and why as far as that can be seen."""
        missing = f"'{os.path.join(self.folder, names[0])}' does not exist"
        if "\\" in names[0]:
            return f"{missing} (write the path with / instead of \\)"
        others = next((found for found in map(self._index.find_contradicted, names) if found), None)
        return f"{missing} ('{others[0]}' lies in another folder)" if others else missing
