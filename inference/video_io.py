"""Videos in and out: what a command line names, frames one by one, and a video file that a browser plays.

A video is a video file or a folder of numbered frames. A long one is never held in memory.
"""

import contextlib
import os
from collections.abc import Callable, Iterator

import cv2
import numpy as np

from common import files
from common.messages import explain_os_error
from dataset.media import PICTURE_SUFFIXES, VIDEO_SUFFIXES
from dataset.records import ListEntry, list_frames
from dataset.video_file import VideoFile
from inference.input_paths import find_inputs
from reader import boxes, frames, transforms


def find_videos(paths: list, save_dir: str) -> list:
    """Return the videos and frame folders that `paths` name; see `input_paths.find_inputs`."""
    return find_inputs(paths, save_dir, _is_frame_folder, lambda path: path.lower().endswith(VIDEO_SUFFIXES))


def _is_frame_folder(folder: str) -> bool:
    """Whether a folder has frames and no videos: beside videos, pictures are no frames."""
    has_videos = any(name.lower().endswith(VIDEO_SUFFIXES) for name in os.listdir(folder) if not name.startswith("."))
    return bool(list_frames(folder)) and not has_videos


def probe(path: str, fps: float) -> tuple[float, int]:
    """Return the frame rate (`fps` where none is stated) and the number of frames of a video or frame folder.

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
    if path.lower().endswith(PICTURE_SUFFIXES):
        raise ValueError("this is a picture; name the folder with all frames of the video")
    file = VideoFile(path)
    return file.fps if 1 <= file.fps <= 240 else fps, len(file)


def read_frames(path: str, short_size: int | None = None) -> Iterator[np.ndarray]:
    """Yield the frames of a video or frame folder one by one, RGB uint8 (H, W, 3).

    Args:
        short_size: scale the short side to it, as the reader does; None: as they are.
    """
    return _read_folder(path, short_size) if os.path.isdir(path) else _read_video(path, short_size)


def _read_folder(path: str, short_size: int | None) -> Iterator[np.ndarray]:
    video = frames.open_video(ListEntry(path, label=None, num_frames=None, line=0))
    size = None
    for index in range(len(video.frames)):
        clip = frames.EncodedClip(video.frames, np.array([index]))
        size = size or clip.frame_size
        if clip.frame_size != size:
            height, width = clip.frame_size
            raise ValueError(
                f"its frames differ in size: {width} x {height} and others; make them again with avi2jpg.py"
            )
        yield clip.decode((0, 0, *size), boxes.scaled_size(*size, short_size or min(size)))[0]


def _read_video(path: str, short_size: int | None) -> Iterator[np.ndarray]:
    file = VideoFile(path)
    for _, frame in file.decode(range(len(file))):
        frame = cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
        yield frame if short_size is None else transforms.scale_short_side(frame[None], short_size)[0]


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
    temporary = files.name_unfinished(os.path.dirname(path), ".webm")
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
        if _count_frames(temporary) != num_written:  # OpenCV does not report a full disk
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
    stderr = os.dup(2)
    try:
        with open(temporary, "wb"), open(os.devnull, "wb") as null:
            os.dup2(null.fileno(), 2)  # OpenCV warns there that WebM has no tag for VP8, which it does not need
            code = cv2.VideoWriter_fourcc(*"VP80")
            writer = cv2.VideoWriter(temporary, cv2.CAP_FFMPEG, code, fps, (width, height))
    except OSError as error:
        raise explain_os_error(error, path) from error
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
    if not writer.isOpened():
        raise OSError(
            f"'{path}': this OpenCV cannot write {width} x {height} WebM (VP8); install opencv-python from pip"
        )
    return writer
