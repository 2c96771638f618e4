"""Small playing pictures of samples: a few frames of a video, its bodies on them, or bodies alone; animated WebP."""

import io

import numpy as np
from PIL import Image

from dataset.records import ListEntry
from inference import draw_skeletons
from reader.clips import Clips
from reader.frames import EncodedClip, Video, open_video
from reader.rgbpose import RGBPose
from reader.skeleton_pkl import Recording

LONG_SIDE = 176  # pixels
NUM_FRAMES, FRAME_MS = 12, 150
MAX_PICTURE_BYTES = 40_000
ATTEMPTS = ((60, 1), (30, 1), (15, 2), (5, 4), (1, NUM_FRAMES))  # quality, and every so-manieth frame
MARGIN = 20  # around bodies, in pixels of their canvas


def draw_sample(reader, index: int) -> tuple[str, bytes]:
    """Draw a sample of a list.

    Args:
        reader: that has read it, one of `reader.READERS`.
        index: of the sample in the list.

    Returns:
        Where it is on the disk, and the picture, an animated WebP.

    Raises:
        ValueError: what was read before cannot be read any more.
        OSError: likewise.
    """
    entry = reader.entries[index]
    if isinstance(reader, Clips):
        video = open_video(entry)
        return video.frames.path or video.source, encode_webp(_read_frames(video, choose_frames(len(video.frames))))
    if isinstance(reader, RGBPose):
        return reader.paths[entry.name], encode_webp(_draw_over_frames(reader, entry))
    return entry.where, encode_webp(_draw_bodies(reader, entry))


def draw_or_explain(reader, index: int) -> dict:
    """Return where a sample is and its picture, see `draw_sample`, or in place of both a sentence."""
    try:
        path, picture = draw_sample(reader, index)
    except (ValueError, OSError) as error:
        return {"path": None, "picture": None, "note": f"no picture: {error}"}
    return {"path": path, "picture": picture, "note": None}


def choose_frames(num_frames: int) -> np.ndarray:
    """Return at most `NUM_FRAMES` frames, evenly spread, each once."""
    return np.unique(np.linspace(0, num_frames - 1, NUM_FRAMES).round().astype(int))


def _read_frames(video: Video, indices: np.ndarray) -> np.ndarray:
    """Return frames of a video, small, RGB uint8 (N, H, W, 3)."""
    clip = EncodedClip(video.frames, indices)
    height, width = clip.frame_size
    scale = LONG_SIDE / max(height, width)
    return clip.decode((0, 0, height, width), (max(1, round(scale * height)), max(1, round(scale * width))))


def _draw_over_frames(reader: RGBPose, recording: Recording) -> list:
    video = open_video(ListEntry(reader.paths[recording.name], None, None, 0, recording.name))
    indices = choose_frames(min(len(video.frames), recording.keypoint.shape[1]))
    frames = _read_frames(video, indices)
    keypoint, score = _select_persons(reader, recording)
    points = draw_skeletons.scale_to_picture(keypoint, score, recording.img_shape, frames.shape[1:3])
    figures = draw_skeletons.StickFigures(points, reader.layout)
    return [figures.draw(frame, index) for frame, index in zip(frames, indices, strict=True)]


def _draw_bodies(reader, recording: Recording) -> list:
    points = draw_skeletons.fit_to_canvas(*_select_persons(reader, recording), reader.layout)
    top, left, height, width = draw_skeletons.BOX
    scale = LONG_SIDE / (max(height, width) + 2 * MARGIN)
    figures = draw_skeletons.StickFigures((points - [left - MARGIN, top - MARGIN]) * scale, reader.layout)
    size = [round(scale * (side + 2 * MARGIN)) for side in (height, width)]
    canvas = np.full((*size, 3), draw_skeletons.BACKGROUND, np.uint8)
    return [figures.draw(canvas, index) for index in choose_frames(recording.keypoint.shape[1])]


def _select_persons(reader, recording: Recording) -> tuple:
    """Return the key points and scores of the persons that the network sees."""
    persons = recording.choose_persons(reader.num_persons)
    return recording.keypoint[persons], None if recording.score is None else recording.score[persons]


def encode_webp(frames: list | np.ndarray) -> bytes:
    """Encode frames, RGB uint8 (H, W, 3), as an animated WebP of at most `MAX_PICTURE_BYTES`."""
    data = b""
    for quality, step in ATTEMPTS:
        pictures = [Image.fromarray(frame) for frame in frames[::step]]
        buffer = io.BytesIO()
        options = {"append_images": pictures[1:], "duration": FRAME_MS * step, "loop": 0, "quality": quality}
        pictures[0].save(buffer, "WEBP", save_all=True, method=2, **options)
        data = buffer.getvalue()
        if len(data) <= MAX_PICTURE_BYTES:
            break
    return data
