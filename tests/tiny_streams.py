"""A skeleton pkl of a few kilobytes and a config for it: one hand moves up, down or sideways."""

import numpy as np

from common import files
from layouts import get_layout

CLASSES = ["Down", "Side", "Up"]
STEPS = np.array([[0, -1, 0], [1, 0, 0], [0, 1, 0]], np.float32)
CONFIG = """# A network of a few thousand weights, for tests.
[MODEL]
name = stgcn
base_channels = 4
num_blocks = [1, 1]

[READER]
name = skeletons
filelist = {filelist}
num_persons = 1
clip_len = 8
num_workers = 0
batch_size = 6

[TRAIN]
split = train

[VALID]
split = test

[OPTIMIZER]
learning_rate = 0.05

[RUN]
epochs = 3
use_gpu = False
log_interval = 1
"""


def draw_annotation(label, seed, layout="ntu25", num_frames=12):
    """Return an annotation: a person who stands still but for the right hand."""
    rng = np.random.default_rng([label, seed])
    joints = get_layout(layout)
    still = rng.normal(0, 0.3, (joints.num_joints, 3)).astype(np.float32)
    keypoint = np.repeat(still[None, None], num_frames, axis=1)
    keypoint[0, :, joints.joints.index("right_hand")] += STEPS[label] * np.arange(num_frames)[:, None] / num_frames
    return {"frame_dir": f"v_{CLASSES[label]}_g{seed:02d}_c01", "label": label, "total_frames": num_frames,
            "keypoint": keypoint}  # fmt: skip


def write_pkl(path, per_class=4):
    """Write a pkl with the splits train and test."""
    made = {
        split: [draw_annotation(label, first + seed) for label in range(len(CLASSES)) for seed in range(per_class)]
        for split, first in (("train", 0), ("test", 50))
    }
    names = {split: [one["frame_dir"] for one in annotations] for split, annotations in made.items()}
    content = {"split": names, "annotations": [*made["train"], *made["test"]], "class_names": CLASSES}
    files.dump_pickle(content, path)


def write_config(path, filelist, text=CONFIG):
    """Write a config text for a pkl and return its path."""
    path.write_text(text.format(filelist=filelist), encoding="utf-8")
    return path
