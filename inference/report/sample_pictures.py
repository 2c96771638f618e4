"""Small playing pictures of samples: a few frames of a video, its bodies on them, or bodies alone; animated WebP.

On them, where it is asked for, what speaks for a class, see `inference/explain.py`.
"""

import io

import numpy as np
from PIL import Image

from dataset.records import ListEntry
from inference import draw_heat, draw_skeletons
from inference.explain import Explanation
from inference.report import sample_heat
from models.parts.action_model import ActionModel
from reader.clips import Clips
from reader.frames import EncodedClip, Video, open_video
from reader.rgbpose import RGBPose
from reader.skeleton_pkl import Recording

LONG_SIDE = 176  # pixels
NUM_FRAMES, FRAME_MS = 12, 150
MAX_PICTURE_BYTES = 40_000
ATTEMPTS = ((60, 1), (30, 1), (15, 2), (5, 4), (1, NUM_FRAMES))  # quality, and every so-manieth frame
MARGIN = 20  # around bodies, in pixels of their canvas


def draw_card(reader, model: ActionModel | None, index: int, label: int) -> dict:
    """Return where a sample is, its picture, and a sentence in place of what could not be drawn.

    Args:
        reader: that has read the list, one of `reader.READERS`.
        model: of the dynamic graph, to draw what speaks for the class; None: that is not drawn.
        index: of the sample in the list.
        label: the class.
    """
    try:
        explanation = None if model is None else sample_heat.explain_sample(reader, index, model, label)
        path, picture = draw_sample(reader, index, explanation)
    except (ValueError, OSError) as error:
        return {"path": None, "picture": None, "note": f"no picture: {error}"}
    is_empty = explanation is not None and explanation.is_empty
    return {
        "path": path,
        "picture": picture,
        "note": "no colours: nothing in it speaks for the class" if is_empty else None,
    }


def draw_sample(reader, index: int, explanation: Explanation | None = None) -> tuple[str, bytes]:
    """Draw a sample of a list.

    Args:
        reader: that has read it, one of `reader.READERS`.
        index: of the sample in the list.
        explanation: of all its frames, to be drawn.

    Returns:
        Where it is on the disk, and the picture, an animated WebP.

    Raises:
        ValueError: what was read before cannot be read any more.
        OSError: likewise.
    """
    entry = reader.entries[index]
    if isinstance(reader, Clips):
        video = open_video(entry)
        return video.frames.path or video.source, encode_webp(_draw_frames(video, explanation))
    if isinstance(reader, RGBPose):
        return reader.paths[entry.name], encode_webp(_draw_over_frames(reader, entry, explanation))
    return entry.where, encode_webp(_draw_bodies(reader, entry, explanation))


def choose_frames(num_frames: int) -> np.ndarray:
    """Return at most `NUM_FRAMES` frames, evenly spread, each once."""
    return np.unique(np.linspace(0, num_frames - 1, NUM_FRAMES).round().astype(int))


def _read_frames(video: Video, indices: np.ndarray) -> np.ndarray:
    """Return frames of a video, small, RGB uint8 (N, H, W, 3)."""
    clip = EncodedClip(video.frames, indices)
    height, width = clip.frame_size
    scale = LONG_SIDE / max(height, width)
    return clip.decode((0, 0, height, width), (max(1, round(scale * height)), max(1, round(scale * width))))


def _draw_frames(video: Video, explanation: Explanation | None) -> list:
    indices = choose_frames(len(video.frames))
    return _lay_heat_over(_read_frames(video, indices), indices, explanation)


def _lay_heat_over(frames: np.ndarray, indices: np.ndarray, explanation: Explanation | None) -> list:
    """Lay the heat of a video over some of its frames (N, H, W, 3)."""
    if explanation is None:
        return list(frames)
    heat = explanation.heats["rgb"]
    return [draw_heat.draw_heat(frame, heat, index) for frame, index in zip(frames, indices, strict=True)]


def _draw_over_frames(reader: RGBPose, recording: Recording, explanation: Explanation | None) -> list:
    video = open_video(ListEntry(reader.paths[recording.name], None, None, 0, recording.name))
    indices = choose_frames(min(len(video.frames), recording.keypoint.shape[1]))
    frames = _read_frames(video, indices)
    keypoint, score = draw_skeletons.select_persons(recording, reader.num_persons)
    points = draw_skeletons.scale_to_picture(keypoint, score, recording.img_shape, frames.shape[1:3])
    figures = draw_skeletons.StickFigures(points, reader.layout)
    grounds = _lay_heat_over(frames, indices, explanation)
    return [
        figures.draw(ground, index, explanation and explanation.find_joints(index))
        for ground, index in zip(grounds, indices, strict=True)
    ]


def _draw_bodies(reader, recording: Recording, explanation: Explanation | None) -> list:
    seen = draw_skeletons.select_persons(recording, reader.num_persons)
    points = draw_skeletons.fit_to_canvas(*seen, reader.layout)
    top, left, height, width = draw_skeletons.BOX
    shown = top - MARGIN, left - MARGIN, height + 2 * MARGIN, width + 2 * MARGIN
    scale = LONG_SIDE / max(shown[2:])
    figures = draw_skeletons.StickFigures((points - [shown[1], shown[0]]) * scale, reader.layout)
    canvas = np.full([*(round(scale * side) for side in shown[2:]), 3], draw_skeletons.BACKGROUND, np.uint8)
    frames = []
    for index in choose_frames(recording.keypoint.shape[1]):
        ground = canvas
        for heat in explanation.heats.values() if explanation else ():
            box = draw_skeletons.fit_box_to_canvas(*seen, recording.img_shape, heat.box, shown)
            ground = draw_heat.draw_heat(canvas, heat, index, box)
        frames.append(figures.draw(ground, index, explanation and explanation.find_joints(index)))
    return frames


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
