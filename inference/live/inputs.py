"""What a network sees of a stream: the views of a window of its last frames, as those of a file with these frames."""

import json
import os
import tempfile

import numpy as np

from inference import draw_skeletons, pose_io
from inference.live.poses import PoseProcess
from inference.live.stream import LiveFrame
from inference.sources import Windows
from reader import transforms


class ClipInput:
    """Makes the views of a window for a network of clips, as its reader makes those of a video."""

    def __init__(self, reader):
        self.reader = reader
        self.min_frames = reader.num_segments * ((reader.clip_len - 1) * reader.frame_interval + 1)

    def scale(self, picture: np.ndarray) -> np.ndarray:
        """Scale a picture as the reader does; flow is computed of pictures of another size, or of their own."""
        short_size = self.reader.modality.limit_size(self.reader.short_size)
        return picture if short_size is None else transforms.scale_short_side(picture[None], short_size)[0]

    def observe(self, frame: LiveFrame) -> np.ndarray:
        """Return the picture to draw on."""
        return frame.picture

    def make_views(self, frames: list[LiveFrame]) -> dict:
        """Return the `inputs` of a window."""
        pixels = (frame.pixels for frame in frames)
        return self.reader.make_views(np.stack(list(self.reader.modality.follow(pixels, self.reader.short_size))))

    def close(self) -> None:
        """Do nothing."""


class SkeletonInput:
    """Makes the views of a window for a network of skeletons: its key points are read as predict.py reads a json."""

    scale, min_frames = None, 1

    def __init__(self, reader):
        if reader.layout.name != "coco17":
            raise ValueError(
                f"key points of live pictures have layout coco17, the network was trained on {reader.layout.name}; "
                "take one that was trained on coco17"
            )
        self.reader, self.poses = reader, PoseProcess()

    def observe(self, frame: LiveFrame) -> np.ndarray:
        """Find the key points of a frame; return the picture with them."""
        frame.instances = self.poses.find(frame.picture)
        if not frame.instances:
            return frame.picture
        points = np.array([[person["keypoints"]] for person in frame.instances])
        scores = np.array([[person["keypoint_scores"]] for person in frame.instances])
        size = frame.picture.shape[:2]
        points = draw_skeletons.scale_to_picture(points, scores, size, size)
        return draw_skeletons.StickFigures(points, self.reader.layout).draw(frame.picture, 0)

    def make_views(self, frames: list[LiveFrame]) -> dict | None:
        """Return the `inputs` of a window; None: nobody is in it."""
        if not any(frame.instances for frame in frames):
            return None
        height, width = frames[0].picture.shape[:2]
        instances = [{"frame_id": index, "instances": frame.instances} for index, frame in enumerate(frames)]
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "window.json")
            with open(path, "w", encoding="utf-8") as file:
                json.dump({"image_size": [width, height], "instance_info": instances}, file)
            found = pose_io.read_annotations(path, None, self.reader.layout, None, self.reader.memory_limit_gib)
        recording = pose_io.make_recording("the stream", found[0][1], self.reader.layout)
        self.reader.set_samples("the stream", [recording])
        return self.reader[0, 0]["inputs"]

    def close(self) -> None:
        """End the process that finds key points."""
        self.poses.close()


class WindowSource:
    """One window, as predict.py takes a source; `views` as a reader makes them."""

    times_s = None

    def __init__(self, name: str, views: dict, num_frames: int, fps: float):
        self.path, self.views, self.num_frames, self.fps = name, views, num_frames, fps

    def read_windows(self) -> Windows:
        """Return it."""
        return Windows([(0, self.num_frames, self.views)])


INPUTS = {  # by the network's reader
    "clips": ClipInput,
    "skeletons": SkeletonInput,
    "timed_skeletons": SkeletonInput,
    "heatmaps": SkeletonInput,
}
