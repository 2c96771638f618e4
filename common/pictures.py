"""Picture files."""

import os

import cv2
import numpy as np

from common.files import write_atomically


def write_png(picture: np.ndarray, path: str | os.PathLike) -> None:
    """Write a picture, RGB uint8 (H, W, 3), to a PNG file in one piece."""
    with write_atomically(path) as file:
        file.write(cv2.imencode(".png", picture[:, :, ::-1])[1].tobytes())
