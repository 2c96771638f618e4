"""What is predicted: videos for a network of clips, skeletons for one of key points, videos with key points for both.

Each kind of source has a `path`, which messages name, and an `origin`, which the json repeats. Its methods are called
in this order: `open()` raises what is wrong with it and sets `fps`, `num_frames` and, where the frame rate varies,
`times_s`, see `video_io.probe`; `read_windows()` returns what `evaluator.evaluate` reads like a loader;
`read_pictures()` yields the frames on which the prediction is drawn, RGB uint8, with `explanations` also where the
network looked. `locate_views(start, end)` says where the views of a window stand in it; see `inference/explain.py`.
"""

import argparse
import bisect
import collections
import itertools
import re
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from PIL import Image

from dataset.names import name_samples
from engine.run_settings import WHOLE_S, WINDOW_S
from inference import draw_heat, draw_skeletons, drawing, input_paths, pose_io, video_io
from reader.boxes import ViewPlace

READERS_OF = {  # flag -> the readers whose networks it is for
    "window_s": ("clips",),
    "split": ("skeletons", "timed_skeletons", "heatmaps", "rgbpose"),
    "image_size": ("skeletons", "timed_skeletons", "heatmaps", "rgbpose"),
    "poses": ("rgbpose",),
}


def find_sources(args: argparse.Namespace, reader_name: str, reader) -> dict:
    """Return {name of the output: source} of what `args.input` names.

    Args:
        args: of predict.py.
        reader_name: a key of `reader.READERS`.
        reader: that reader, built from the TEST section without a list; the sources share it.

    Raises:
        ValueError: a flag that is for other networks, or missing for this one; --poses that cannot be read.
    """
    for flag, readers in READERS_OF.items():
        if getattr(args, flag) is not None and reader_name not in readers:
            raise ValueError(f"--{flag} is for networks that read {', '.join(readers)}, this one reads {reader_name}")
    if reader_name == "rgbpose":
        return _find_videos_with_poses(args, reader)
    return _find_videos(args, reader) if reader_name == "clips" else _find_skeletons(args, reader)


class Windows:
    """A loader for `evaluator.evaluate` whose batches are the views of one window each, like those of a listed video.

    Args:
        windows: (first frame, frame after the last one, views) of each window.
        num_windows: how many these are.

    Attributes:
        spans: (first frame, frame after the last one) of the windows that have been read.
    """

    def __init__(self, windows: Iterable, num_windows: int = 1):
        self.windows, self.num_windows, self.spans = windows, num_windows, []

    def __len__(self) -> int:
        return self.num_windows

    def __iter__(self):
        for start, end, views in self.windows:
            self.spans.append((start, end))
            num_views = len(next(iter(views.values())))
            yield {"inputs": views, "labels": [], "names": [f"{start} to {end}"], "views": [num_views]}

    def prepare(self, inputs: dict) -> dict:
        """Return the views as they are; the network prepares them itself."""
        return inputs


# Videos alone.


def _find_videos(args: argparse.Namespace, reader) -> dict:
    named = input_paths.name_outputs(video_io.find_videos(args.input, args.save_dir))
    return {name: VideoSource(path, reader, args.fps, args.window_s) for name, path in named.items()}


class VideoSource:
    """A video or frame folder whose clips are read; a long one is scored by windows and never held in memory.

    Args:
        path: of it.
        reader: makes clips.
        fps: where the video states none.
        window_s: None: videos of up to `WHOLE_S` are scored whole, longer ones by windows of `WINDOW_S`.
    """

    def __init__(self, path: str, reader, fps: float, window_s: float | None):
        self.path, self.origin, self.reader = path, {"input": path}, reader
        self.fps, self.window_s, self.num_frames, self.times_s = fps, window_s, None, None
        self._scaled_size = None  # of its frames as the reader gets them

    def open(self) -> None:
        """Read the frame rate, the number of frames and when they are shown."""
        self.fps, self.num_frames, self.times_s = video_io.probe(self.path, self.fps)

    def read_windows(self) -> Windows:
        """Return its windows, cut to clips."""
        reader = self.reader
        min_window = reader.num_segments * ((reader.clip_len - 1) * reader.frame_interval + 1)
        places, places_a_second = range(self.num_frames + 1), self.fps
        if self.times_s is not None:
            places, places_a_second = [round(1000 * time_s) for time_s in self.times_s], 1000
        window = max(1, round((self.window_s or WINDOW_S) * places_a_second))
        if self.times_s is None:
            window = max(window, min_window)
        max_whole = round(WHOLE_S * places_a_second) if self.window_s is None else window
        spans = plan_windows(places, max_whole, window, min_window)
        windows = cut_windows(video_io.read_pictures(self.path, reader.modality, reader.short_size), spans)
        views = ((start, start + len(frames), reader.make_views(np.stack(frames))) for start, frames in windows)
        return Windows(views, len(spans))

    def locate_views(self, start: int, end: int) -> dict[str, list[ViewPlace]]:
        """Return where the views of a window stand in it."""
        if self._scaled_size is None:
            self._scaled_size = next(video_io.read_frames(self.path, self.reader.short_size)).shape[:2]
        return self.reader.locate_views(end - start, self._scaled_size)

    def read_pictures(self, explanations: Iterable | None = None) -> Iterator[np.ndarray]:
        """Read the frames a second time, so that none need stay in memory."""
        frames = video_io.read_frames(self.path)
        return frames if explanations is None else draw_heat.draw_over(frames, explanations)


def plan_windows(places: Sequence[int], max_whole: int, window: int, min_frames: int) -> list[tuple]:
    """Return (first frame, frame after the last one) of windows that overlap by half; the last one ends with the video.

    Args:
        places: the time of each frame and of the video's end, whole numbers from 0: in frames, where the rate is
            constant, else in ms.
        max_whole: a video that is not longer than this, or than `window`, is one window.
        window: its length; like `max_whole` in the unit of `places`.
        min_frames: that a window has, where the video has as many; where the rate varies it may have to be longer.
    """
    num_frames, end = len(places) - 1, places[-1]
    if end <= max(max_whole, window):
        return [(0, num_frames)]
    spans = []
    for place in [*range(0, end - window + 1, max(1, window // 2)), end - window]:
        first = bisect.bisect_right(places, place) - 1  # the frame that is shown then
        last = min(num_frames, max(bisect.bisect_left(places, place + window), first + min_frames))
        span = max(0, min(first, last - min_frames)), last
        if span not in spans[-1:]:
            spans.append(span)
    return spans


def cut_windows(frames: Iterator, spans: list[tuple]) -> Iterator[tuple]:
    """Yield (first frame, frames) of each window; `spans` as `plan_windows` returns them. No more frames are held."""
    kept, first = collections.deque(), 0
    for start, end in spans:
        for _ in range(min(start - first, len(kept))):
            kept.popleft()
        first = start
        kept.extend(itertools.islice(frames, end - first - len(kept)))
        yield start, list(itertools.islice(kept, end - start))


# Skeletons alone.


def _find_skeletons(args: argparse.Namespace, reader) -> dict:
    found = []
    for path in pose_io.find_files(args.input, args.save_dir):
        try:
            annotations = _read_annotations(path, args, reader)
        except (ValueError, OSError) as error:
            found.append((path, UnreadableSource(path, error)))
            continue
        found += [(name, SkeletonSource(path, name, each, reader, args.fps)) for name, each in annotations]
    names = input_paths.number_names([re.sub(r"[/\\:]+", "_", name) for name, _ in found])
    return {name: source for name, (_, source) in zip(names, found, strict=True)}


def _read_annotations(path: str, args: argparse.Namespace, reader) -> list[tuple]:
    return pose_io.read_annotations(path, args.split, reader.layout, args.image_size, reader.memory_limit_gib)


class UnreadableSource:
    """A file that could not be read; `open` raises why, when its turn comes."""

    def __init__(self, path: str, error: Exception):
        self.path, self.error = path, error

    def open(self) -> None:
        """Raise what is wrong with the file."""
        raise self.error


class SkeletonSource:
    """A recording of key points; it is scored whole, and drawn on an empty canvas.

    Args:
        file: that holds it.
        name: of the recording.
        annotation: see `pose_io.read_annotations`.
        reader: makes views.
        fps: of the recording.
    """

    def __init__(self, file: str, name: str, annotation: dict, reader, fps: float):
        self.path, self.origin = f"{file} '{name}'", {"input": file, "recording": name}
        self.annotation, self.reader, self.fps = annotation, reader, fps
        self.num_frames, self.recording, self.times_s = None, None, None

    def open(self) -> None:
        """Check the key points."""
        self.recording = pose_io.make_recording(self.path, self.annotation, self.reader.layout)
        self.num_frames = self.recording.keypoint.shape[1]
        self.reader.set_samples(self.origin["input"], [self.recording])

    def read_windows(self) -> Windows:
        """Return its views, those that test.py would score."""
        return Windows([(0, self.num_frames, self.reader[0, 0]["inputs"])])

    def locate_views(self, start: int, end: int) -> dict[str, list[ViewPlace]]:
        """Return where the views stand in the recording, which is one window."""
        return self.reader.locate_views(0)

    def locate_joints(self) -> tuple:
        """Return y and x of the joints that the network sees, (M, T, V), as shares of the picture; nan: missing."""
        return draw_skeletons.locate_joints(self.recording, self.reader.num_persons)

    def read_pictures(self, explanations: Iterable | None = None) -> Iterator[np.ndarray]:
        """Draw the bodies alone."""
        layout, seen = self.reader.layout, draw_skeletons.select_persons(self.recording, self.reader.num_persons)
        figures = draw_skeletons.StickFigures(draw_skeletons.fit_to_canvas(*seen, layout), layout)
        canvas = draw_skeletons.make_canvas()
        explained = itertools.repeat(None) if explanations is None else explanations
        for index, each in zip(range(self.num_frames), explained, strict=False):
            ground = canvas
            for heat in each.heats.values() if each else ():
                box = draw_skeletons.fit_box_to_canvas(*seen, self.recording.img_shape, heat.box)
                ground = draw_heat.draw_heat(canvas, heat, index, box)
            yield figures.draw(ground, index, each and each.find_joints(index))


# Videos with key points.


def _find_videos_with_poses(args: argparse.Namespace, reader) -> dict:
    if not args.poses:
        raise ValueError("this network reads videos and their key points; name the file of these: --poses FILE.pkl")
    annotations, singles = [], {}
    for path in args.poses:
        try:
            found = _read_annotations(path, args, reader)
        except (ValueError, OSError) as error:
            raise ValueError(f"--poses {path}: {error}") from error
        if pose_io.is_pkl(path) or len(found) > 1:
            annotations += found
        else:
            singles[path] = found[0]
    names = name_samples(list(singles), [name for name, _ in singles.values()])  # several may be called 001.json
    annotations += [(name, annotation) for name, (_, annotation) in zip(names, singles.values(), strict=True)]
    index = pose_io.index_by_video(annotations)
    named = input_paths.name_outputs(video_io.find_videos(args.input, args.save_dir))
    return {name: VideoWithPosesSource(path, index, reader, args.fps) for name, path in named.items()}


class VideoWithPosesSource:
    """A video or frame folder with key points; it is scored whole, and its bodies are drawn over its frames.

    Args:
        path: of the video.
        index: of the key points, see `pose_io.index_by_video`; where they do not state a picture size, it is
            that of the video.
        reader: makes views.
        fps: where the video states none.
    """

    def __init__(self, path: str, index: dict, reader, fps: float):
        self.path, self.origin, self.index = path, {"input": path}, index
        self.reader, self.fps = reader, fps
        self.num_frames, self.recording, self.times_s = None, None, None

    def open(self) -> None:
        """Find and check the key points; the video itself is checked when it is read."""
        self.fps, num_frames, times_s = video_io.probe(self.path, self.fps)
        name, annotation = pose_io.find_for_video(self.index, self.path, self.reader.videos)
        self.origin["recording"] = name
        if annotation["img_shape"] is None:
            annotation = {**annotation, "img_shape": self._find_size()}
        self.recording = pose_io.make_recording(f"'{name}'", annotation, self.reader.layout)
        self.num_frames = self.recording.keypoint.shape[1]
        self.times_s = times_s if self.num_frames == num_frames else None
        self.reader.set_samples("--poses", [self.recording])
        self.reader.paths = {self.recording.name: self.path}

    def read_windows(self) -> Windows:
        """Return its views, those that test.py would score."""
        return Windows([(0, self.num_frames, self.reader[0, 0]["inputs"])])

    def locate_views(self, start: int, end: int) -> dict[str, list[ViewPlace]]:
        """Return where the views stand in the video, which is one window."""
        return self.reader.locate_views(0)

    def locate_joints(self) -> tuple:
        """Return y and x of the joints that the network sees, (M, T, V), as shares of the picture; nan: missing."""
        return draw_skeletons.locate_joints(self.recording, self.reader.num_persons)

    def read_pictures(self, explanations: Iterable | None = None) -> Iterator[np.ndarray]:
        """Draw the bodies over the frames, scaled to the size at which they are shown."""
        figures, frames = None, video_io.read_frames(self.path)
        explained = itertools.repeat(None) if explanations is None else explanations
        for index, frame, each in zip(range(self.num_frames), frames, explained, strict=False):
            height, width = drawing.choose_size(*frame.shape[:2])
            if figures is None:
                figures = self._make_figures((height, width))
            picture = np.asarray(Image.fromarray(frame).resize((width, height), Image.BICUBIC))
            if each:
                picture = draw_heat.draw_heat(picture, each.heats["rgb"], index)
            yield figures.draw(picture, index, each and each.find_joints(index))

    def _find_size(self) -> tuple:
        first = next(video_io.read_frames(self.path), None)
        if first is None:
            raise ValueError("not one frame can be decoded: cut off or damaged")
        return first.shape[:2]

    def _make_figures(self, size: tuple) -> draw_skeletons.StickFigures:
        seen = draw_skeletons.select_persons(self.recording, self.reader.num_persons)
        points = draw_skeletons.scale_to_picture(*seen, self.recording.img_shape, size)
        return draw_skeletons.StickFigures(points, self.reader.layout)
