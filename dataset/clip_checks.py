"""Records, frame folders and videos, checked one by one before a list names them."""

import os
import zlib
from collections.abc import Container, Iterable
from dataclasses import dataclass

from dataset import flow_files, packed_flow, pictures
from dataset.records import (
    ListEntry,
    describe_missing,
    is_record,
    list_frames,
    quote_path,
    read_record,
    relative_path,
    resolve_path,
)
from dataset.splits import find_contradicting_class
from dataset.video_file import VideoFile

LIST_FORMATS = {  # kinds of clips that a list of the format can name
    "records": ("record", "packed record"),
    "rawframes": ("record", "frame folder"),
    "videos": ("video", "frame folder"),
}


@dataclass
class Clip:
    """A checked record, frame folder or video file."""

    path: str
    video: str
    label: int | None
    num_frames: int
    folder: str | None  # of its frames; None where they are packed or in a video file
    has_packed_flow: bool = False

    @property
    def kind(self) -> str:
        """What it is, as `LIST_FORMATS` names it."""
        if is_record(self.path):
            return "record" if self.folder else "packed record"
        return "frame folder" if self.folder else "video"


def check_entry(
    entry: ListEntry,
    class_names: list[str] | None,
    line_format: str,
    unlabelled: Container[str] = (),
    needs_flow: bool = False,
) -> Clip:
    """Check one record, frame folder or video: what the readers refuse is refused here, by the same rules.

    Args:
        unlabelled: paths of entries that may have no label.
        needs_flow: check the optical flow too.

    Raises:
        FileNotFoundError, ValueError: what is wrong with it.
    """
    quote_path(entry.path)  # refuses what no list can hold
    if is_record(entry.path):
        clip = check_record(entry.path)
    elif os.path.isdir(entry.path):
        clip = check_frame_folder(entry)
    elif not os.path.exists(entry.path):
        raise FileNotFoundError(entry.problem or describe_missing(entry.path))
    else:
        clip = check_video(entry)
    if needs_flow:
        check_flow(clip)
    if clip.label is None and entry.path not in unlabelled:
        raise ValueError(f"a {clip.kind} without a label; name it in a list, with its label")
    if clip.label is not None:
        _check_class(clip, class_names or [])
    if entry.label is not None and entry.label != clip.label:
        raise ValueError(f"label {clip.label} in the record, but {entry.label} in the list; make both again")
    if clip.kind not in LIST_FORMATS[line_format]:
        fitting = next(name for name, kinds in LIST_FORMATS.items() if clip.kind in kinds)
        raise ValueError(f"a {clip.kind}, which --format {line_format} cannot list; use --format {fitting}")
    return clip


def _check_class(clip: Clip, class_names: list[str]) -> None:
    if class_names and clip.label >= len(class_names):
        raise ValueError(f"label {clip.label}, expected 0 to {len(class_names) - 1}; run jpg2pkl.py again")
    labels = {name.casefold(): label for label, name in enumerate(class_names)}
    path = clip.folder if is_record(clip.path) else clip.path
    name = find_contradicting_class(clip.video, path, clip.label, labels)
    if name is not None:
        raise ValueError(
            f"label {clip.label}, but its video is of class '{name}', which has label {labels[name.casefold()]}; "
            "correct the label, or run jpg2pkl.py again"
        )


def check_record(path: str) -> Clip:
    """Check a record and each of its frames."""
    record = read_record(path)
    frames, folder = record["frames"], None
    if isinstance(frames[0], str):
        paths = [resolve_path(frame, os.path.dirname(path)) for frame in frames]
        check_picture_files(paths)
        folder = os.path.dirname(paths[0])
        if len(list_frames(folder)) != len(frames):
            raise ValueError(
                f"{len(frames)} frames, but its folder holds {len(list_frames(folder))}; run jpg2pkl.py again"
            )
    for number, (frame, checksum) in enumerate(zip(frames, record.get("checksums", []), strict=False), 1):
        if zlib.crc32(frame) != checksum:
            raise ValueError(
                f"frame {number} of {len(frames)} is damaged (checksum); delete it and run jpg2pkl.py again"
            )
    packed_flow.check(record, check_pictures)
    if folder is None:
        check_pictures((f"frame {number} of {len(frames)}", frame) for number, frame in enumerate(frames, 1))
    return Clip(path, record["video"], record["label"], len(frames), folder, packed_flow.KEY in record)


def check_frame_folder(entry: ListEntry) -> Clip:
    """Check a line `frame_folder num_frames label`; the folder may hold more pictures than that, such as flow."""
    names = list_frames(entry.path)
    if not names:
        raise ValueError("the folder holds no frames (.jpg, .png); run avi2jpg.py, or remove the line")
    num_frames = len(names) if entry.num_frames is None else entry.num_frames
    if not 0 < num_frames <= len(names):
        raise ValueError(f"line {entry.line} says {num_frames} frames, the folder holds {len(names)}; correct it")
    check_picture_files([os.path.join(entry.path, name) for name in names[:num_frames]])
    return Clip(entry.path, os.path.basename(entry.path), entry.label, num_frames, entry.path)


def check_video(entry: ListEntry) -> Clip:
    """Check a line `video label`: the video is decoded from its first frame to its last."""
    video = VideoFile(entry.path)
    if entry.num_frames not in (None, len(video)):
        raise ValueError(f"line {entry.line} says {entry.num_frames} frames, the video has {len(video)}; correct it")
    video.check()
    name = os.path.splitext(os.path.basename(entry.path))[0]
    return Clip(entry.path, name, entry.label, len(video), None)


def check_flow(clip: Clip) -> None:
    """Check that a clip has whole optical flow for all of its frames; of a video it is computed when it is read.

    Raises:
        ValueError: it has not.
    """
    if clip.folder:
        check_picture_files(flow_files.list_paths(clip.folder, clip.num_frames))
    elif is_record(clip.path) and not clip.has_packed_flow:
        raise ValueError(f"the record holds no optical flow; {packed_flow.ADVICE}")


def check_picture_files(paths: list[str]) -> None:
    """Check that each file is a whole picture, all of one size."""
    for path in paths:
        if not os.path.isfile(path):
            advice = "write the path with / instead of \\" if "\\" in path else "run avi2jpg.py, then jpg2pkl.py again"
            raise FileNotFoundError(f"frame '{path}' does not exist; {advice}")
        if os.path.getsize(path) == 0:
            raise ValueError(
                f"frame '{path}' is empty (0 bytes); delete its folder, run avi2jpg.py and jpg2pkl.py again"
            )
    check_pictures((f"frame '{path}'", _read_bytes(path)) for path in paths)


def check_pictures(named: Iterable[tuple[str, bytes]]) -> None:
    """Check that each of (name, data of a JPEG or PNG file) is whole, and that all are of one size."""
    expected = None
    for name, data in named:
        size = pictures.find_size(data)
        if size is not None:
            pictures.check_claim(size, name)
        if size is None or pictures.decode(data, pictures.SMALLEST) is None:
            raise ValueError(
                f"{name} is cut short or no JPEG or PNG picture ({len(data)} bytes); delete its folder, run "
                "avi2jpg.py and jpg2pkl.py again"
            )
        expected = expected or size
        if size != expected:
            raise ValueError(
                f"{name} is of {size[1]} x {size[0]} pixels, the first one of {expected[1]} x {expected[0]}; delete "
                "its folder, run avi2jpg.py and jpg2pkl.py again"
            )


def _read_bytes(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def format_line(clip: Clip, folder: str, line_format: str) -> str:
    """Return the line of a clip for a list in the folder `folder`; of one without a label, its path alone."""
    if line_format == "records":
        return quote_path(relative_path(clip.path, folder))
    if clip.folder:
        path = relative_path(clip.folder, folder)
        return quote_path(path) if clip.label is None else f"{quote_path(path, True)} {clip.num_frames} {clip.label}"
    path = quote_path(relative_path(clip.path, folder))
    return path if clip.label is None else f"{path} {clip.label}"
