"""Videos in and out: what a user's words name, its frames one by one, and a video file that a browser plays.

A source is a video file or a folder of numbered frames. A long one is never held in memory.
"""

import contextlib
import os
import secrets
from collections.abc import Callable, Iterator

import cv2
import numpy as np

from common import files
from dataset.records import FRAME_SUFFIXES, ListEntry, list_frames, natural_order
from dataset.splits import VIDEO_SUFFIXES
from reader import transforms
from reader.boxes import scaled_size
from reader.frames import EncodedClip, open_video


def find_sources(paths: list, save_dir: str) -> list:
    """Return the videos and frame folders that `paths` name; what holds neither stands for itself, to be told of."""
    found = []
    for path in paths:
        found += (_search_folder(path, os.path.realpath(save_dir)) if os.path.isdir(path) else []) or [path]
    return found


def _search_folder(folder: str, save_dir: str) -> list:
    names = sorted((name for name in os.listdir(folder) if not name.startswith(".")), key=natural_order)
    is_video = {name: name.lower().endswith(VIDEO_SUFFIXES) for name in names}
    if list_frames(folder) and not any(is_video.values()):
        return [folder]
    found = []
    for name in names:
        path = os.path.join(folder, name)
        if os.path.isdir(path):
            is_own = os.path.realpath(path) == save_dir or os.path.islink(path)  # our output, or perhaps a loop
            found += [] if is_own else _search_folder(path, save_dir)
        elif is_video[name]:
            found.append(path)
    return found


def name_sources(paths: list) -> dict:
    """Return {name of the output: path}; of several inputs with one name, the later ones are numbered."""
    bases = [os.path.basename(os.path.abspath(path)) for path in paths]
    stems = [
        base if os.path.isdir(path) else os.path.splitext(base)[0] for base, path in zip(bases, paths, strict=True)
    ]
    return dict(zip(number_names(stems), paths, strict=True))


def number_names(stems: list) -> list:
    """Return a name for each stem, in which later ones of the same stem, in whatever case, have a number."""
    names, taken = [], set()
    for stem in stems:
        name, number = stem, 2
        while name.casefold() in taken:
            name, number = f"{stem}_{number}", number + 1
        taken.add(name.casefold())
        names.append(name)
    return names


def inspect(path: str, fps: float) -> tuple[float, int]:
    """Return the frame rate (`fps` where none is stated) and the announced number of frames of a video or frame folder.

    Raises:
        FileNotFoundError: no such file or folder.
        ValueError: not a video, or a folder without frames.
    """
    if not os.path.exists(path):
        raise FileNotFoundError("no such file or folder; check the path, and put quotes around one with blanks")
    if os.path.isdir(path):
        if not list_frames(path):
            raise ValueError(f"the folder holds neither videos ({', '.join(VIDEO_SUFFIXES)}) nor frames (.jpg, .png)")
        return fps, len(list_frames(path))
    if path.lower().endswith(FRAME_SUFFIXES):
        raise ValueError("this is a picture; name the folder with all frames of the video")
    capture = cv2.VideoCapture(path)
    if not capture.isOpened():
        raise ValueError(f"OpenCV cannot open it ({os.path.getsize(path)} bytes): cut off, damaged, or no video")
    stated_fps, announced = capture.get(cv2.CAP_PROP_FPS), capture.get(cv2.CAP_PROP_FRAME_COUNT)
    return stated_fps if 1 <= stated_fps <= 240 else fps, max(0, int(announced))


def read_frames(path: str, short_size: int | None = None) -> Iterator[np.ndarray]:
    """Yield the frames of a video or frame folder one by one, RGB uint8 (H, W, 3).

    Args:
        short_size: scale the short side to it, as the reader does; None: as they are.
    """
    return _read_folder(path, short_size) if os.path.isdir(path) else _read_video(path, short_size)


def _read_folder(path: str, short_size: int | None) -> Iterator[np.ndarray]:
    video = open_video(ListEntry(path, label=None, num_frames=None, line=0))
    size = None
    for index in range(len(video.frames)):
        clip = EncodedClip(video.frames, np.array([index]))
        size = size or clip.frame_size
        if clip.frame_size != size:
            height, width = clip.frame_size
            raise ValueError(
                f"its frames differ in size: {width} x {height} and others; make them again with avi2jpg.py"
            )
        yield clip.decode((0, 0, *size), scaled_size(*size, short_size or min(size)))[0]


def _read_video(path: str, short_size: int | None) -> Iterator[np.ndarray]:
    capture = cv2.VideoCapture(path)
    capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 1)  # a phone's video upright; OpenCV 4.11 would leave it lying
    is_read, frame = capture.read()
    while is_read:
        frame = cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
        yield frame if short_size is None else transforms.scale_short_side(frame[None], short_size)[0]
        is_read, frame = capture.read()


@contextlib.contextmanager
def write_webm(path: str, fps: float, height: int, width: int) -> Iterator[Callable]:
    """Open a WebM file (VP8: browsers play it, and pip's OpenCV can write it) that appears when it is complete.

    Args:
        height: of the pictures, even.
        width: likewise.

    Yields:
        a function that appends a picture.

    Raises:
        OSError: no such place, a full disk, or an OpenCV without that encoder.
    """
    files.make_folder(os.path.dirname(path) or ".")
    temporary = os.path.join(os.path.dirname(path), f"{files.UNFINISHED}{secrets.token_hex(8)}.webm")
    num_written = 0

    def append(picture: np.ndarray) -> None:
        nonlocal num_written
        writer.write(cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
        num_written += 1

    try:
        writer = _open_writer(temporary, path, fps, height, width)
        try:
            yield append
        finally:
            writer.release()
        if _count_frames(temporary) != num_written:  # OpenCV keeps a full disk to itself
            raise OSError(f"'{path}' could not be written whole; free some disk space and run again")
        os.replace(temporary, path)
    finally:
        if os.path.exists(temporary):
            os.remove(temporary)


def _count_frames(path: str) -> int:
    capture, num_frames = cv2.VideoCapture(path), 0
    while capture.grab():
        num_frames += 1
    return num_frames


def _open_writer(temporary: str, path: str, fps: float, height: int, width: int) -> cv2.VideoWriter:
    console = os.dup(2)
    try:
        with open(temporary, "wb"), open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)  # OpenCV complains there that WebM has no tag for VP8, which it does not need
            code = cv2.VideoWriter_fourcc(*"VP80")
            writer = cv2.VideoWriter(temporary, cv2.CAP_FFMPEG, code, fps, (width, height))
    except OSError as error:
        raise files.explain_os_error(error, path) from error
    finally:
        os.dup2(console, 2)
        os.close(console)
    if not writer.isOpened():
        raise OSError(
            f"'{path}': this OpenCV cannot write {width} x {height} WebM (VP8); install opencv-python from pip"
        )
    return writer
