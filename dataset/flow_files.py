"""Optical flow beside the frames of a folder: `flow_x_00001.jpg` and `flow_y_00001.jpg` from frame 1 to frame 2, ...

A folder of n frames has n - 1 fields, one of a single frame has one, of no motion. The names and the values are those
of TSN and MMAction2; see `dataset/optical_flow.py`.
"""

import json
import os
import shutil
from collections.abc import Callable, Iterator

import cv2
import numpy as np

from common.files import make_folder, name_unfinished, write_atomically
from common.text_files import read_settings
from dataset import pictures
from dataset.optical_flow import BOUND, compute_fields, make_estimator

AXES = ("x", "y")
SETTINGS = "flow_settings.json"  # in the folder of all frame folders
ADVICE = "run avi2jpg.py --flow"


def count_fields(num_frames: int) -> int:
    """Return how many fields a number of frames has."""
    return max(1, num_frames - 1)


def list_names(num_frames: int, axis: str) -> list[str]:
    """List the names of the flow files of one axis, "x" or "y"."""
    return [f"flow_{axis}_{number:05}.jpg" for number in range(1, count_fields(num_frames) + 1)]


def has_flow(folder: str) -> bool:
    """Whether a folder has any flow files, whole or not."""
    return any(os.path.isfile(os.path.join(folder, f"flow_{axis}_00001.jpg")) for axis in AXES)


def is_complete(folder: str, num_frames: int) -> bool:
    """Whether a folder has all its flow files."""
    present = set(os.listdir(folder))
    return all(present.issuperset(list_names(num_frames, axis)) for axis in AXES)


def list_paths(folder: str, num_frames: int) -> list[str]:
    """List the paths of all flow files in the order x 1, y 1, x 2, y 2, ...

    Raises:
        ValueError: one is missing.
    """
    names = zip(*(list_names(num_frames, axis) for axis in AXES), strict=True)
    paths = [os.path.join(folder, name) for pair in names for name in pair]
    if not is_complete(folder, num_frames):
        missing = next(path for path in paths if not os.path.isfile(path))
        raise ValueError(f"flow '{missing}' of {num_frames} frames does not exist; {ADVICE}")
    return paths


def prepare_settings(frames: str, method: str, quality: int) -> None:
    """Note how the flow of a folder of frame folders is made, and refuse one that was made in another way.

    Raises:
        ValueError: naming both.
    """
    path, settings = os.path.join(frames, SETTINGS), {"method": method, "bound": BOUND, "quality": quality}
    kinds = {key: type(value) for key, value in settings.items()}
    if os.path.isfile(path) and (made_with := read_settings(path, kinds)) != settings:
        raise ValueError(
            f"'{frames}' holds flow made with {json.dumps(made_with)}, not with {json.dumps(settings)}; use the same "
            f"flags, choose another --frames, or delete its flow_x_*, flow_y_* and {SETTINGS}"
        )
    with write_atomically(path, "w") as file:
        json.dump(settings, file)


def write_flow(folder: str, names: list[str], method: str, write: Callable) -> int:
    """Compute the flow of a frame folder and write it there; each file appears whole.

    Args:
        names: of the frames, in time order.
        method: a key of `optical_flow.METHODS`.
        write: writes a gray picture to a path.

    Returns:
        the number of fields.

    Raises:
        ValueError: a frame that cannot be read, or of another size than the first.
    """
    temporary = name_unfinished(os.path.dirname(os.path.dirname(folder)))
    make_folder(temporary)
    try:
        fields = compute_fields(_read_gray(folder, names), make_estimator(method))
        for number, field in enumerate(fields, 1):
            for axis, values in zip(AXES, cv2.split(field), strict=True):
                write(values, os.path.join(temporary, f"flow_{axis}_{number:05}.jpg"))
        for name in sorted(os.listdir(temporary)):
            os.replace(os.path.join(temporary, name), os.path.join(folder, name))
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return number


def _read_gray(folder: str, names: list[str]) -> Iterator[np.ndarray]:
    size = None
    for name in names:
        with open(os.path.join(folder, name), "rb") as file:
            data = file.read()
        claimed = pictures.find_size(data)
        if claimed is not None:
            pictures.check_claim(claimed, f"frame '{name}'")
        frame = None if claimed is None else pictures.decode(data, cv2.IMREAD_COLOR)
        if frame is None:
            raise ValueError(f"frame '{name}' is cut short or no picture; delete its folder and run avi2jpg.py again")
        size = size or frame.shape
        if frame.shape != size:
            raise ValueError(f"frame '{name}' has another size than the first; delete its folder, run avi2jpg.py again")
        yield cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY)
