"""Optical flow of two frames, and its picture: displacements of up to 20 pixels as whole numbers from 0 to 255.

The bound and the rounding are those of TSN's and MMAction2's files, so that flow made elsewhere is read alike: 127.5 is
no motion, 0 is 20 pixels or more to the left or up, 255 as far to the right or down.

DIS: "Fast Optical Flow using Dense Inverse Search", T. Kroeger, R. Timofte, D. Dai, L. Van Gool, ECCV 2016,
arXiv:1603.03590. TV-L1: "A Duality Based Approach for Realtime TV-L1 Optical Flow", C. Zach, T. Pock, H. Bischof,
DAGM 2007.
"""

from collections.abc import Callable, Iterable, Iterator

import cv2
import numpy as np

BOUND = 20  # pixels
MIN_SIDE = 12  # of frames, in pixels: OpenCV refuses smaller ones


def _make_dis() -> cv2.DenseOpticalFlow:
    return cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)


def _make_tvl1() -> cv2.DenseOpticalFlow:
    try:
        return cv2.optflow.DualTVL1OpticalFlow_create()
    except AttributeError as error:
        raise ValueError(
            f"flow by tvl1: OpenCV {cv2.__version__} here has no TV-L1; put opencv-contrib-python-headless in the "
            "place of the OpenCV that is installed, or take dis"
        ) from error


METHODS = {"dis": _make_dis, "tvl1": _make_tvl1}


def make_estimator(method: str) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """Return a function that computes flow; OpenCV then uses one thread, since with several the flow differs.

    Args:
        method: a key of `METHODS`.

    Returns:
        a function that maps two gray frames, uint8 (H, W), to what moved from the first to the second, as `encode`
        returns it.

    Raises:
        ValueError: an unknown method, or TV-L1 without opencv-contrib; of the function, frames that are too small.
    """
    if method not in METHODS:
        raise ValueError(f"optical flow: method '{method}' is unknown, expected one of {', '.join(METHODS)}")
    cv2.setNumThreads(1)
    make = METHODS[method]
    make()  # says what is missing

    def estimate(first: np.ndarray, second: np.ndarray) -> np.ndarray:
        height, width = first.shape
        if min(height, width) < MIN_SIDE:
            raise ValueError(f"optical flow: frames of {width} x {height} pixels, expected {MIN_SIDE} or more a side")
        return encode(make().calc(first, second, None))  # a used one of DIS gives other flow for small frames

    return estimate


def encode(flow: np.ndarray) -> np.ndarray:
    """Turn displacements, float32 (H, W, 2), x and y in pixels, to uint8 (H, W, 2)."""
    return np.clip(np.rint((flow + BOUND) * (255 / (2 * BOUND))), 0, 255).astype(np.uint8)


def compute_fields(frames: Iterable[np.ndarray], estimate: Callable) -> Iterator[np.ndarray]:
    """Yield the flow from each frame to the next, uint8 (H, W, 2); of a single frame that to itself.

    Args:
        frames: gray, uint8 (H, W), all of one size.
        estimate: see `make_estimator`.
    """
    frames = iter(frames)
    first = previous = next(frames)
    is_single = True
    for frame in frames:
        yield estimate(previous, frame)
        previous, is_single = frame, False
    if is_single:
        yield estimate(first, first)
