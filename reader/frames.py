"""From a list entry to decoded frames: only those of a clip, at the smallest sufficient scale, in one buffer.

A video's frames are picture files, pictures packed in its record, or those of a video file (`dataset/video_file.py`).
All three have a length, a `path` (a folder, a file, or None for packed pictures) and `read(indices)`, which yields for
each frame an object with its `size` (height, width), its `name` for messages, and `decode(reduction)`.
"""

import itertools
import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from common.pickles import RefusedPickleError
from dataset import packed_flow, pictures
from dataset.records import ListEntry, is_record, list_frames, name_record, read_record, resolve_path
from dataset.video_file import UnreadableVideoError, VideoFile
from reader.boxes import rescale_box
from reader.fault_tolerant import DamagedSampleError
from reader.transforms import resize_into

REDUCED = {8: cv2.IMREAD_REDUCED_COLOR_8, 4: cv2.IMREAD_REDUCED_COLOR_4, 2: cv2.IMREAD_REDUCED_COLOR_2}


class EncodedPicture:
    """A JPEG or PNG picture.

    Args:
        data: of the whole file.
        name: for messages.

    Raises:
        DamagedSampleError: no size in the header, or one that no frame has.
    """

    def __init__(self, data: bytes, name: str):
        self.data, self.name = data, name
        self.size = pictures.find_size(data)
        if self.size is None:
            raise DamagedSampleError(
                f"{name}: {len(data)} bytes, not a whole JPEG or PNG picture; run avi2jpg.py again"
            )
        try:
            pictures.check_claim(self.size, name)
        except ValueError as error:
            raise DamagedSampleError(str(error)) from error

    def decode(self, reduction: int) -> np.ndarray:
        """Decode to (H, W, 3) uint8 BGR, H and W divided by `reduction`.

        Raises:
            DamagedSampleError: the picture is cut short.
        """
        frame = pictures.decode(self.data, REDUCED.get(reduction, cv2.IMREAD_COLOR))
        if frame is None:
            raise DamagedSampleError(
                f"{self.name}: {len(self.data)} bytes, cut short or not a picture; run avi2jpg.py again"
            )
        return frame


class DecodedPicture:
    """A frame of a video file, (H, W, 3) uint8 BGR; it has its full size whatever the reduction."""

    def __init__(self, frame: np.ndarray, name: str):
        self.frame, self.name, self.size = frame, name, frame.shape[:2]

    def decode(self, reduction: int) -> np.ndarray:
        """Return the frame."""
        return self.frame


class PictureFiles:
    """Frames that are picture files.

    Args:
        paths: of the files, in time order.
        folder: what `paths` are relative to.
    """

    def __init__(self, paths: list[str], folder: str):
        self.paths, self.folder = paths, folder
        self.path = os.path.normpath(os.path.join(folder, os.path.dirname(paths[0])))

    def __len__(self) -> int:
        return len(self.paths)

    def load(self, index: int) -> EncodedPicture:
        """Read one file."""
        path = resolve_path(self.paths[index], self.folder)
        try:
            with open(path, "rb", buffering=0) as file:  # cv2.imread cannot open every name that Python can
                return EncodedPicture(file.read(), path)
        except OSError as error:
            raise DamagedSampleError(f"{path}: {error.strerror}; run avi2jpg.py again") from error

    def read(self, indices: list[int]) -> Iterator[EncodedPicture]:
        """Yield the frames with these indices."""
        return map(self.load, indices)


class PackedPictures:
    """Frames that are packed in a record.

    Args:
        pictures: whole JPEG or PNG files, in time order.
        checksums: CRC-32 of each; None: they are not checked.
        record_path: of the record, for messages.
        flow: of the frames, see `dataset/packed_flow.py`; {}: the record has none.
    """

    path = None

    def __init__(self, pictures: list[bytes], checksums: list[int] | None, record_path: str, flow: dict | None = None):
        self.pictures, self.checksums, self.record_path, self.flow = pictures, checksums, record_path, flow or {}

    def __len__(self) -> int:
        return len(self.pictures)

    def load(self, index: int) -> EncodedPicture:
        """Check one picture."""
        picture, name = self.pictures[index], f"{self.record_path} frame {index}"
        if self.checksums is not None and zlib.crc32(picture) != self.checksums[index]:
            raise DamagedSampleError(f"{name}: its checksum is wrong, the record is damaged; run jpg2pkl.py again")
        return EncodedPicture(picture, name)

    def read(self, indices: list[int]) -> Iterator[EncodedPicture]:
        """Yield the frames with these indices."""
        return map(self.load, indices)


class VideoFrames:
    """Frames of a video file."""

    def __init__(self, file: VideoFile):
        self.file, self.path = file, file.path

    def __len__(self) -> int:
        return len(self.file)

    def read(self, indices: list[int]) -> Iterator[DecodedPicture]:
        """Yield the frames with these indices, which ascend."""
        try:
            for index, frame in self.file.decode(indices):
                yield DecodedPicture(frame, f"{self.path} frame {index}")
        except UnreadableVideoError as error:
            raise DamagedSampleError(str(error)) from error


@dataclass
class Video:
    """A video as the list gives it.

    Attributes:
        name: the sample's name.
        label: class id, or None where neither the list nor the record has one.
        frames: its frames, see the top of this file.
        source: path of the record, of the frame folder or of the video file, for messages.
    """

    name: str
    label: int | None
    frames: PictureFiles | PackedPictures | VideoFrames
    source: str


def open_video(entry: ListEntry) -> Video:
    """Read a record or the encoded frames of a video file, or list a frame folder; no frame is decoded.

    Raises:
        DamagedSampleError: the record or video cannot be read, or the folder holds fewer frames than its line says.
        ValueError: the record asks for code to be run, or its label is not the one of its line.
    """
    if os.path.isdir(entry.path):
        return _open_folder(entry)
    return _open_record(entry) if is_record(entry.path) else _open_file(entry)


def _open_folder(entry: ListEntry) -> Video:
    names = list_frames(entry.path)
    if len(names) < (entry.num_frames or 1):
        raise DamagedSampleError(
            f"{entry.path}: {len(names)} frames, expected {entry.num_frames or 'some'}; run avi2jpg.py again"
        )
    return Video(entry.name, entry.label, PictureFiles(names[: entry.num_frames], entry.path), entry.path)


def _open_file(entry: ListEntry) -> Video:
    try:
        file = VideoFile(entry.path)
    except UnreadableVideoError as error:
        raise DamagedSampleError(str(error)) from error
    except OSError as error:
        raise DamagedSampleError(f"{entry.path}: {error.strerror}") from error
    if entry.num_frames not in (None, len(file)):
        raise DamagedSampleError(
            f"{entry.path}: {len(file)} frames, line {entry.line} of the list says {entry.num_frames}; correct it"
        )
    return Video(entry.name, entry.label, VideoFrames(file), entry.path)


def _open_record(entry: ListEntry) -> Video:
    try:
        record = read_record(entry.path)
    except RefusedPickleError:
        raise
    except (OSError, ValueError) as error:
        raise DamagedSampleError(str(error)) from error
    label = record["label"] if entry.label is None else entry.label
    if record["label"] not in (None, label):
        raise ValueError(
            f"{entry.path}: label {record['label']} in the record, {entry.label} in line {entry.line} of the list; "
            "run jpg2pkl.py and data_list_gener.py again"
        )
    if isinstance(record["frames"][0], bytes):  # a record holds pictures or their paths
        flow = {key: record[key] for key in (packed_flow.KEY, packed_flow.CHECKSUMS) if key in record}
        frames = PackedPictures(record["frames"], record.get("checksums"), entry.path, flow)
    else:
        frames = PictureFiles(record["frames"], os.path.dirname(entry.path))
    name = name_record(entry.path, record["video"], entry.name)
    return Video(name, label, frames, entry.path)


class EncodedClip:
    """Some frames of a video, each distinct one read and decoded once; the first is read at once, for its size.

    Args:
        frames: of the video.
        indices: (n,) frame indices in any order, repeats allowed.

    Attributes:
        frame_size: (height, width) of the stored frames.

    Raises:
        DamagedSampleError: the first frame cannot be read.
    """

    def __init__(self, frames: PictureFiles | PackedPictures | VideoFrames, indices: np.ndarray):
        self._indices = indices
        self._distinct, self._positions = np.unique(indices, return_inverse=True)
        pictures = frames.read(self._distinct.tolist())
        first = next(pictures)
        self.frame_size = first.size
        self._pictures = itertools.chain([first], pictures)

    def decode(self, box: tuple, size: tuple) -> np.ndarray:
        """Decode the frames, cut a box out of them and resize it; to be called once.

        Args:
            box: (top, left, height, width) in stored pixels.
            size: (height, width) of the output.

        Returns:
            (n, height, width, 3) uint8 RGB, C-contiguous.

        Raises:
            DamagedSampleError: a frame that cannot be read or has another size; names it.
        """
        reduction = _choose_reduction(box, size)
        frames = np.empty((len(self._distinct), *size, 3), np.uint8)
        for output, picture in zip(frames, self._pictures, strict=True):
            if picture.size != self.frame_size:
                raise DamagedSampleError(
                    f"{picture.name}: {_format_size(picture.size)} pixels, expected {_format_size(self.frame_size)}"
                )
            _crop_into(picture.decode(reduction), box, self.frame_size, output)
        return frames if np.array_equal(self._distinct, self._indices) else frames[self._positions.reshape(-1)]


def _crop_into(frame: np.ndarray, box: tuple, frame_size: tuple, output: np.ndarray) -> None:
    """Cut the box of a frame, BGR, decoded from `frame_size` pixels, and write it resized and as RGB."""
    top, left, height, width = rescale_box(box, frame_size, frame.shape[:2])
    part = frame[top : top + height, left : left + width]
    if part.shape != output.shape:
        resize_into(part, output)
        part = output
    cv2.cvtColor(part, cv2.COLOR_BGR2RGB, dst=output)


def _choose_reduction(box: tuple, size: tuple) -> int:
    """Return 8, 4, 2 or 1: the greatest reduction at which the box still has the pixels of the output."""
    fits = (factor for factor in REDUCED if box[2] >= factor * size[0] and box[3] >= factor * size[1])
    return next(fits, 1)


def _format_size(size: tuple) -> str:
    return f"{size[1]} x {size[0]}"
