"""Videos and pictures on the disk: by which suffixes they are known, and where below a folder a video is."""

import os
from collections.abc import Iterator

VIDEO_SUFFIXES = tuple(
    ".avi .divx .mp4 .m4v .mov .mkv .webm .mpg .mpeg .vob .ts .mts .m2ts .wmv .asf .flv .3gp .ogv".split()
)
PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png")
PICTURE_SIGNATURES = (b"\xff\xd8", b"\x89PNG")  # the first bytes of JPEG and PNG files


def walk(folder: str) -> Iterator[tuple[str, list[str], list[str]]]:
    """Yield each folder below a folder, itself included, with the names of its folders and files, as `os.walk`.

    Hidden ones are left out. Links are followed; each folder comes once, also where links lead to it in several ways
    or in a ring.
    """
    seen = set()
    for parent, folders, names in os.walk(folder, followlinks=True):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        real = os.path.realpath(parent)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        yield parent, folders, sorted(name for name in names if not name.startswith("."))


def _identify(path: str) -> tuple[int, int]:
    """Return what a file has in common with all links to it."""
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
        self.folder, self.paths, self._files = folder, {}, {}
        for parent, folders, names in walk(folder):
            videos = [name for name in names if name.lower().endswith(VIDEO_SUFFIXES)]
            for name in videos:
                self._add(os.path.splitext(name)[0], os.path.join(parent, name))
            if not videos and parent != folder and any(name.lower().endswith(PICTURE_SUFFIXES) for name in names):
                self._add(os.path.basename(parent), parent)
                folders.clear()
        if not self.paths:
            raise FileNotFoundError(f"'{folder}' holds no videos and no frame folders; name the folder that does")

    def _add(self, name: str, path: str) -> None:
        """Add a video; two links to one file are one video."""
        paths = self.paths.setdefault(name, [])
        if paths:  # a tree may have a 001.avi in each of its thousands of folders
            files = self._files.setdefault(name, {_identify(paths[0])})
            if _identify(path) in files:
                return
            files.add(_identify(path))
        paths.append(path)

    def find(self, names: list[str]) -> str:
        """Return the path of a video by the names it may have; where there is none, the likeliest path.

        Raises:
            ValueError: two videos have the name.
        """
        for name in names:
            path = os.path.join(self.folder, name)
            if os.path.exists(path):
                return path
            paths = self.paths.get(name, []) or self.paths.get(os.path.splitext(os.path.basename(name))[0], [])
            if len(paths) > 1:
                raise ValueError(
                    f"'{paths[0]}' and '{paths[1]}' have the same name; take one of them out of the folder"
                )
            if paths:
                return paths[0]
        return os.path.join(self.folder, names[0])
