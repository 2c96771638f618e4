"""Videos in and out: what a command line names, frames one by one, and a video file that a browser plays.

A video is a video file or a folder of numbered frames. A long one is never held in memory.
"""

import contextlib
import os
from collections.abc import Callable, Iterator
from fractions import Fraction

import av
import cv2
import numpy as np

from common import files
from dataset.media import PICTURE_SUFFIXES, VIDEO_SUFFIXES, is_video
from dataset.records import ListEntry, list_frames
from dataset.video_file import VideoFile
from inference.input_paths import find_inputs
from reader import boxes, frames, transforms
from reader.modalities import RGB

ENCODER = "libvpx"
# At -4 the encoder's speed does not follow the load of the machine, as it does from 0 on, at the cost of the pictures.
# Constant quality, up to a rate by the size: half a Mbit/s to one at 640 x 480, 39 to 42 dB (UCF-101).
ENCODING = {"deadline": "realtime", "cpu-used": "-4", "crf": "20", "qmax": "48"}
MAX_BITS = 1 / 8  # of a pixel
MILLISECOND = Fraction(1, 1000)  # in which WebM counts time


def find_videos(paths: list, save_dir: str) -> list:
    """Return the videos and frame folders that `paths` name; see `input_paths.find_inputs`."""
    return find_inputs(paths, save_dir, _is_frame_folder, lambda path: is_video(os.path.basename(path)))


def _is_frame_folder(folder: str) -> bool:
    """Whether a folder has frames and no videos: beside videos, pictures are no frames."""
    has_videos = any(map(is_video, os.listdir(folder)))
    return bool(list_frames(folder)) and not has_videos


def probe(path: str, fps: float) -> tuple[float, int, list | None]:
    """Find out when the frames of a video or frame folder are shown.

    Args:
        fps: the frame rate where the video states none.

    Returns:
        The frame rate, on average where it varies; the number of frames; and where it varies the seconds at which each
        frame is shown and the last one ends, else None.

    Raises:
        FileNotFoundError: no such file or folder.
        ValueError: not a video, or a folder without frames.
    """
    if not os.path.exists(path):
        raise FileNotFoundError("no such file or folder; check the path, and put quotes around one with blanks")
    if os.path.isdir(path):
        if not list_frames(path):
            raise ValueError(f"the folder holds neither videos ({', '.join(VIDEO_SUFFIXES)}) nor frames (.jpg, .png)")
        return fps, len(list_frames(path)), None
    if path.lower().endswith(PICTURE_SUFFIXES):
        raise ValueError("this is a picture; name the folder with all frames of the video")
    file = VideoFile(path)
    return file.fps if file.times_s or 1 <= file.fps <= 240 else fps, len(file), file.times_s


def read_frames(path: str, short_size: int | None = None) -> Iterator[np.ndarray]:
    """Yield the frames of a video or frame folder one by one, RGB uint8 (H, W, 3).

    Args:
        short_size: scale the short side to it, as the reader does; None: as they are.
    """
    return _read_folder(path, short_size) if os.path.isdir(path) else _read_video(path, short_size)


def read_pictures(path: str, modality: RGB, short_size: int) -> Iterator[np.ndarray]:
    """Yield what a network sees of a video or frame folder, such as its flow, one picture a frame; see `read_frames`.

    Args:
        modality: of the network's reader. The flow beside the frames of a folder is read, other flow is computed.
        short_size: of the pictures.
    """
    if not (os.path.isdir(path) and modality.has_files(path)):
        yield from modality.follow(read_frames(path, modality.limit_size(short_size)), short_size)
        return
    num_frames, picture = len(list_frames(path)), None
    pictures = _read_folder(path, short_size, modality.open)
    for _ in range(num_frames):
        picture = next(pictures, picture)  # no flow begins at the last frame
        yield picture


def _read_folder(path: str, short_size: int | None, choose: Callable | None = None) -> Iterator[np.ndarray]:
    """Yield the frames of a folder, or what `choose` makes of its `frames.Video`."""
    video = frames.open_video(ListEntry(path, label=None, num_frames=None, line=0))
    pictures, size = video.frames if choose is None else choose(video), None
    for index in range(len(pictures)):
        clip = frames.EncodedClip(pictures, np.array([index]))
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
    """Open a WebM file (VP8, which browsers play) that appears when it is complete.

    Args:
        fps: of the pictures, on average.
        height: of the pictures, even.
        width: likewise.

    Yields:
        a function that appends a picture, RGB, and the second at which it is shown.

    Raises:
        OSError: no such place, or a full disk.
        ValueError: a PyAV without that encoder.
    """
    with files.write_atomically(path) as file, av.open(file, "w", format="webm") as container:
        stream = _add_vp8(container, path, fps)
        stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
        stream.bit_rate = round(height * width * min(max(fps, 12), 60) * MAX_BITS)
        stream.codec_context.time_base = MILLISECOND

        def append(picture: np.ndarray, time_s: float) -> None:
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = round(time_s / MILLISECOND), MILLISECOND
            container.mux(stream.encode(frame))

        yield append
        container.mux(stream.encode())


def _add_vp8(container: av.container.OutputContainer, path: str, fps: float) -> av.video.stream.VideoStream:
    try:
        return container.add_stream(ENCODER, rate=Fraction(fps).limit_denominator(1001), options=ENCODING)
    except ValueError as error:
        raise ValueError(
            f"'{path}': PyAV {av.__version__} here was built without the VP8 encoder {ENCODER}; install the wheel of "
            "PyPI, which has it: pip install --force-reinstall --only-binary av av"
        ) from error
