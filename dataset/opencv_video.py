"""Videos by OpenCV, for what reads them from the first frame to the last; `video_file` finds single frames."""

import os

import cv2

MIN_DECODED_RATIO = 0.9  # of the announced frames; containers err by a few


def open_video(path: str) -> cv2.VideoCapture:
    """Open a video so that its frames come upright.

    Raises:
        ValueError: OpenCV cannot read it.
    """
    capture = cv2.VideoCapture(path if ":" not in path else f"file:{path}")  # what is before a colon is a protocol
    if not capture.isOpened():
        raise ValueError(f"OpenCV cannot open it ({os.path.getsize(path)} bytes): cut off, damaged, or no video")
    capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 1)  # OpenCV 4.11 would leave a phone's video lying
    return capture


def is_truncated(num_frames: int, announced: float) -> bool:
    """Whether a video of which `num_frames` could be decoded is cut off, where its header announced more."""
    return num_frames < min(MIN_DECODED_RATIO * announced, announced - 2)
