"""A data set of a few kilobytes: packed records of a square that moves one way or another, for tests of the scripts."""

import json
import zlib

import cv2
import numpy as np

from dataset import records

CLASSES = ["Down", "Left", "Right"]
STEPS = {"Down": (1, 0), "Left": (0, -1), "Right": (0, 1)}


def draw_frames(name, seed, num_frames=12, size=32):
    """Return JPEG bytes of a square that starts anywhere and moves as its class says."""
    rng = np.random.default_rng(seed)
    row, column = rng.integers(0, size, 2)
    frames = []
    for index in range(num_frames):
        frame = np.full((size, size, 3), 40, np.uint8)
        down, right = STEPS[name]
        at = np.array([row + 2 * index * down, column + 2 * index * right])
        for y in range(8):
            for x in range(8):
                frame[(at[0] + y) % size, (at[1] + x) % size] = 220
        frames.append(cv2.imencode(".jpg", frame)[1].tobytes())
    return frames


def make_tree(root, per_class=4, classes=CLASSES, modes=("train", "test")):
    """Write `<root>/{train,test}/*.pkl` and the lists; return the root."""
    for mode_index, mode in enumerate(modes):
        paths = []
        for label, name in enumerate(classes):
            for clip in range(per_class):
                video = f"v_{name}_g{mode_index + 1:02d}_c{clip + 1:02d}"
                frames = draw_frames(name, [mode_index, label, clip])
                record = {"video": video, "label": label, "frames": frames}
                record["checksums"] = [zlib.crc32(frame) for frame in frames]
                records.write_record(record, root / mode / f"{video}.pkl")
                paths.append(f"{mode}/{video}.pkl")
        text = "# classes: " + json.dumps(classes) + "\n" + "\n".join(paths) + "\n"
        (root / f"{mode}.list").write_text(text, encoding="utf-8")
    return root


CONFIG = """# A network of a few thousand weights, for tests.
[MODEL]
name = resnet
depth = 10
widen_factor = 0.125
conv1_t_size = 3

[READER]
num_segments = 1
clip_len = 8
short_size = 32
crop_size = 32
num_workers = 0
batch_size = 4

[OPTIMIZER]
learning_rate = 0.05
weight_decay = 1e-4

[RUN]
epochs = 3
use_gpu = False
log_interval = 1
"""


def write_config(path, text=CONFIG):
    """Write a config text and return its path."""
    path.write_text(text, encoding="utf-8")
    return path
