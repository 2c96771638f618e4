"""From a list entry to decoded frames: only the frames asked for, at the smallest scale that serves, in one buffer.

An entry is a record, a folder of pictures or a video file (`dataset/video_file.py`).
"""

import functools
import os
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from common.files import RefusedPickleError
from dataset.media import VIDEO_SUFFIXES
from dataset.records import ListEntry, list_frames, read_record, resolve_path
from dataset.video_file import UnreadableVideoError, VideoFile
from reader.transforms import move_box, resize_into

# OpenCV turns pictures by their EXIF orientation unless told not to; the size in the header is the size before that.
AS_STORED = cv2.IMREAD_IGNORE_ORIENTATION
REDUCED = {8: cv2.IMREAD_REDUCED_COLOR_8, 4: cv2.IMREAD_REDUCED_COLOR_4, 2: cv2.IMREAD_REDUCED_COLOR_2}
JPEG_START, JPEG_END, PNG_START = b"\xff\xd8", b"\xff\xd9", b"\x89PNG\r\n\x1a\n"
JPEG_SIZE_MARKERS = set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # the frame headers (SOF0 to SOF15)


class DamagedSampleError(ValueError):
    """A record, frame or video that cannot be read: training takes another sample, evaluation stops."""


@dataclass
class Video:
    """A video as the list gives it.

    Attributes:
        name: the sample's name.
        label: class id, or None where neither the list nor the record has one.
        frames: one path or one encoded picture (bytes) per frame, in time order; or a video file.
        source: path of the record, of the frame folder or of the video file, for messages.
        folder: what frame paths are relative to.
        checksums: CRC-32 of each packed frame, or None.
    """

    name: str
    label: int | None
    frames: list | VideoFile
    source: str
    folder: str
    checksums: list | None = None

    @property
    def place(self) -> str | None:
        """The frame folder or the video file; None where frames are packed."""
        if isinstance(self.frames, VideoFile):
            return self.source
        if isinstance(self.frames[0], bytes):
            return None
        return os.path.normpath(os.path.join(self.folder, os.path.dirname(self.frames[0])))


def open_video(entry: ListEntry) -> Video:
    """Read a record or the encoded frames of a video file, or list a frame folder; no frame is decoded.

    Raises:
        DamagedSampleError: the record or video cannot be read, or the folder holds fewer frames than its line says.
        ValueError: the record asks for code to be run, or its label is not the one of its line.
    """
    if os.path.isdir(entry.path):
        return _open_folder(entry)
    if entry.path.lower().endswith(VIDEO_SUFFIXES):
        return _open_file(entry)
    try:
        record = read_record(entry.path)
    except RefusedPickleError:
        raise
    except (OSError, ValueError) as error:
        raise DamagedSampleError(str(error)) from error
    if entry.label is not None and entry.label != record["label"]:
        raise ValueError(
            f"{entry.path}: label {record['label']} in the record, {entry.label} in line {entry.line} of the list; "
            "run jpg2pkl.py and data_list_gener.py again"
        )
    folder = os.path.dirname(entry.path)
    return Video(record["video"], record["label"], record["frames"], entry.path, folder, record.get("checksums"))


def _open_folder(entry: ListEntry) -> Video:
    names = list_frames(entry.path)
    if len(names) < (entry.num_frames or 1):
        raise DamagedSampleError(
            f"{entry.path}: {len(names)} frames, expected {entry.num_frames or 'some'}; run avi2jpg.py again"
        )
    return Video(entry.name, entry.label, names[: entry.num_frames], entry.path, entry.path)


def _open_file(entry: ListEntry) -> Video:
    try:
        frames = VideoFile(entry.path)
    except UnreadableVideoError as error:
        raise DamagedSampleError(str(error)) from error
    except OSError as error:
        raise DamagedSampleError(f"{entry.path}: {error.strerror}") from error
    return Video(entry.name, entry.label, frames, entry.path, os.path.dirname(entry.path))


def decode_frames(video: Video, indices: np.ndarray, plan: Callable) -> np.ndarray:
    """Decode frames of a video, cut them and resize them; each distinct frame is read and decoded once.

    Args:
        indices: (n,) frame indices in any order, repeats allowed.
        plan: called once with (height, width) of the stored frames; returns what to cut, (top, left, height, width) in
            stored pixels, and the (height, width) to resize it to.

    Returns:
        (n, height, width, 3) uint8 RGB, C-contiguous.

    Raises:
        DamagedSampleError: a frame that cannot be read or has another size; names it.
    """
    needed, places = np.unique(indices, return_inverse=True)
    read = _read_file if isinstance(video.frames, VideoFile) else _read_pictures
    frames = None
    for position, (size, name, decode) in enumerate(read(video, needed.tolist())):
        if frames is None:
            first_size = size
            box, out_size = plan(*size)
            reduction = _choose_reduction(box, out_size)
            frames = np.empty((len(needed), *out_size, 3), np.uint8)
        if size != first_size:
            raise DamagedSampleError(f"{name}: {_describe(size)} pixels, expected {_describe(first_size)}")
        frame = decode(reduction)
        if position == 0:
            top, left, height, width = move_box(box, size, frame.shape[:2])
        part, place = frame[top : top + height, left : left + width], frames[position]
        if part.shape != place.shape:
            resize_into(part, place)
            part = place
        cv2.cvtColor(part, cv2.COLOR_BGR2RGB, dst=place)
    return frames if np.array_equal(needed, indices) else frames[places.reshape(-1)]


def _read_pictures(video: Video, indices: list) -> Iterator[tuple]:
    """Yield (height, width), a name for messages, and a function of the reduction that decodes, for each frame."""
    for index in indices:
        picture, name = _read_picture(video, index)
        yield _read_size(picture, name), name, functools.partial(_decode, picture, name)


def _read_file(video: Video, indices: list) -> Iterator[tuple]:
    """Do as `_read_pictures` does; frames of a video file come at full size whatever the reduction."""
    try:
        for index, frame in video.frames.decode(indices):
            yield frame.shape[:2], f"{video.source} frame {index}", lambda reduction, frame=frame: frame
    except UnreadableVideoError as error:
        raise DamagedSampleError(str(error)) from error


def _read_picture(video: Video, index: int) -> tuple[bytes, str]:
    """Return the encoded bytes of a frame, checked against its checksum, and its name for messages."""
    frame = video.frames[index]
    if isinstance(frame, bytes):
        name = f"{video.source} frame {index}"
        if video.checksums is not None and zlib.crc32(frame) != video.checksums[index]:
            raise DamagedSampleError(f"{name}: its checksum is wrong, the record is damaged; run jpg2pkl.py again")
        return frame, name
    path = resolve_path(frame, video.folder)
    try:
        with open(path, "rb", buffering=0) as file:  # cv2.imread cannot open every name that Python can
            return file.read(), path
    except OSError as error:
        raise DamagedSampleError(f"{path}: {error.strerror}; run avi2jpg.py again") from error


def _read_size(picture: bytes, name: str) -> tuple[int, int]:
    """Return (height, width) from the header of a JPEG or PNG picture."""
    if picture.startswith(PNG_START) and len(picture) >= 24:
        width, height = struct.unpack_from(">II", picture, 16)
        return height, width
    place = 2 if picture.startswith(JPEG_START) else len(picture)
    while place + 9 <= len(picture) and picture[place] == 0xFF:
        marker = picture[place + 1]
        if marker in JPEG_SIZE_MARKERS:
            return struct.unpack_from(">HH", picture, place + 5)
        # 0xFF may be repeated as padding
        place += 1 if marker == 0xFF else 2 + int.from_bytes(picture[place + 2 : place + 4], "big")
    raise DamagedSampleError(f"{name}: {len(picture)} bytes, not a whole JPEG or PNG picture; run avi2jpg.py again")


def _choose_reduction(box: tuple, out_size: tuple) -> int:
    """Return 8, 4, 2 or 1: the greatest reduction at which the box still has the pixels that are asked for."""
    fits = (by for by in REDUCED if box[2] >= by * out_size[0] and box[3] >= by * out_size[1])
    return next(fits, 1)


def _decode(picture: bytes, name: str, reduction: int) -> np.ndarray:
    """Decode to (H, W, 3) uint8 BGR, H and W divided by `reduction`."""
    # Older OpenCV versions fill the missing part of a cut-off file with gray and only their console output would tell.
    is_whole = picture[0] != 0xFF or JPEG_END in picture[-64:]
    try:
        flags = REDUCED.get(reduction, cv2.IMREAD_COLOR) | AS_STORED
        frame = cv2.imdecode(np.frombuffer(picture, np.uint8), flags) if is_whole else None
    except cv2.error:
        frame = None
    if frame is None:
        raise DamagedSampleError(f"{name}: {len(picture)} bytes, cut short or not a picture; run avi2jpg.py again")
    return frame


def _describe(size: tuple) -> str:
    return f"{size[1]} x {size[0]}"
