"""Videos and pictures on the disk: by which names they are known, and the folders in which to look for them."""

import os
from collections.abc import Iterator

VIDEO_SUFFIXES = tuple(
    ".avi .divx .mp4 .m4v .mov .mkv .webm .mpg .mpeg .vob .ts .mts .m2ts .wmv .asf .flv .3gp .ogv "
    ".f4v .3g2 .mpe .m2v .ogm .mxf .dv .rm .rmvb".split()
)
PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png")
PICTURE_SIGNATURES = (b"\xff\xd8", b"\x89PNG")  # the first bytes of JPEG and PNG files


def is_video(name: str) -> bool:
    """Whether a file of this name is a video."""
    return name.lower().endswith(VIDEO_SUFFIXES) and not name.startswith(".")


def is_frame(name: str) -> bool:
    """Whether a file of this name is a frame: a picture, but not optical flow (`flow_x_00001.jpg`) beside frames."""
    return name.lower().endswith(PICTURE_SUFFIXES) and not name.startswith((".", "flow_"))


def strip_suffix(name: str, suffixes: tuple[str, ...] = VIDEO_SUFFIXES) -> str:
    """Cut ".avi", ".mp4" ... off a video's name; other dots in it stay."""
    stem, suffix = os.path.splitext(name)
    return stem if suffix.lower() in suffixes else name


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
