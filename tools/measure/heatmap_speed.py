"""Measure how fast heat maps are drawn, on this machine; `tools/benchmark.py heatmaps` calls it.

A sample is two bodies that sway, their key points as Heatmaps sends them. NumPy draws it on one core, and the
process's own time counts; the device, as in training, draws a whole batch, which on a CPU is NumPy again.
"""

import functools
import time
from collections.abc import Callable

import numpy as np
import paddle

from reader import device_heatmaps, draw_heatmaps
from reader.draw_heatmaps import COCO_LIMBS
from tools.measure.timing import describe_machine, format_spread, format_table, time_calls

REFERENCE_MS = {"joints, 48 x 64 x 64": 23.8, "limbs, 48 x 64 x 64": 115.5, "joints, 32 x 56 x 56": 15.8}
CASES = {  # title: limbs, frames, side of the maps, sigma
    "joints, 48 x 64 x 64": (None, 48, 64, 0.6),
    "limbs, 48 x 64 x 64": (COCO_LIMBS, 48, 64, 0.6),
    "joints, 32 x 56 x 56": (None, 32, 56, 0.7),
}


def draw_bodies(num_samples: int, num_frames: int, side: int) -> np.ndarray:
    """Draw key points of two COCO bodies, as high as the box around bodies leaves them: (B, 2, T, 17, 4)."""
    rng = np.random.default_rng(0)
    # x and y from the middle of a standing body in shares of its height: nose, eyes, ears, then left and right in turn.
    body = [(0, -0.45), (0.02, -0.47), (-0.02, -0.47), (0.04, -0.46), (-0.04, -0.46)]
    halves = [(0.1, -0.32), (0.14, -0.16), (0.15, -0.02), (0.07, 0.0), (0.07, 0.25), (0.07, 0.48)]
    body = np.array(body + [(sign * x, y) for x, y in halves for sign in (1, -1)])
    persons = np.array([[0.35, 0.5], [0.65, 0.5]])[:, None, None] * side
    steps = rng.normal(0, 0.01 * side, (num_samples, 2, num_frames, 17, 2)).cumsum(axis=2) / np.sqrt(num_frames)
    keypoint = np.ones((num_samples, 2, num_frames, 17, 4), np.float32)
    keypoint[..., :2] = persons + 0.8 * side * body + steps
    keypoint[..., 2] = rng.uniform(0.5, 1, keypoint.shape[:-1])
    keypoint[..., 3] = 0
    return keypoint


def time_process(call: Callable, num_calls: int, repeats: int) -> list:
    """Return ms of this process's own time a call, one figure a repeat, whatever else the machine does."""
    call()
    figures = []
    for _ in range(repeats):
        start_s = time.process_time()
        for _ in range(num_calls):
            call()
        figures.append(1000 * (time.process_time() - start_s) / num_calls)
    return figures


def measure(batch_size: int, num_calls: int, repeats: int) -> None:
    """Print ms a sample of each way to draw the maps."""
    device = paddle.device.get_device()
    rows = [["ms a sample", "authors' code, elsewhere", "NumPy", f"a batch of {batch_size} on {device}"]]
    for title, (limbs, num_frames, side, sigma) in CASES.items():
        keypoint = draw_bodies(batch_size, num_frames, side)
        one, batch = keypoint[0].swapaxes(1, 2), paddle.to_tensor(keypoint)
        draw = functools.partial(draw_heatmaps.draw_maps, one[..., :2], one[..., 2], (side, side), sigma, limbs)
        draw_batch = functools.partial(device_heatmaps.draw_batch, batch, (side, side), sigma, limbs)
        by_device = [1000 * seconds / batch_size for seconds in time_calls(draw_batch, num_calls, repeats)]
        spreads = [format_spread(ms, 2) for ms in (time_process(draw, num_calls, repeats), by_device)]
        rows.append([title, str(REFERENCE_MS[title]), *spreads])
    print(f"heat maps of two persons; median of {repeats} x {num_calls} calls (lowest to highest)")
    print(f"{describe_machine()}\n\n{format_table(rows)}\n")
    print("authors' code: MMAction2's GeneratePoseTarget on one core of an AMD EPYC")
