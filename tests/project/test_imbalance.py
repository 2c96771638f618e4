"""One sample of a class for twenty of another: what balancing does to the accuracy of the rare class."""

import numpy as np
import pytest
from small_skeletons import CLASSES, CONFIG, draw_annotation, write_config

import train
from common import files
from engine import checkpoint

COUNTS = {"train": (60, 60, 3), "test": (30, 30, 30)}  # samples of each class
NOISE = 0.06  # of each joint and frame, in units of the motion's length: enough that classes overlap
SEEDS = range(3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("imbalance")
    rng = np.random.default_rng(0)
    annotations, splits = [], {}
    for split, counts in COUNTS.items():
        first = 1000 * (split == "test")
        made = [draw_annotation(label, first + seed) for label, count in enumerate(counts) for seed in range(count)]
        for annotation in made:
            annotation["keypoint"] += NOISE * rng.standard_normal(annotation["keypoint"].shape).astype(np.float32)
        splits[split] = [annotation["frame_dir"] for annotation in made]
        annotations += made
    files.dump_pickle({"split": splits, "annotations": annotations, "class_names": CLASSES}, root / "unbalanced.pkl")
    write_config(root / "c.txt", root / "unbalanced.pkl", CONFIG)
    return root


def train_and_score(folder, monkeypatch, seed, *words):
    """Return the mean class accuracy of the last epoch."""
    monkeypatch.chdir(folder)
    given = [
        "--seed",
        str(seed),
        "--epoch",
        "15",
        "--save_dir",
        "run",
        "--overwrite",
        "-o",
        "TRAIN.batch_size=12",
        "-o",
        "READER.stream=joint_motion",
    ]
    train.main(["c.txt", *given, *words])
    return checkpoint.load_checkpoint("run/stgcn_model")["history"][-1]["val/mean_class_accuracy"]


@pytest.mark.long
def test_the_mean_accuracy_of_classes_rises_where_they_are_drawn_alike(folder, monkeypatch):
    plain = [train_and_score(folder, monkeypatch, seed) for seed in SEEDS]
    balanced = [train_and_score(folder, monkeypatch, seed, "-o", "TRAIN.balance=classes") for seed in SEEDS]
    assert np.mean(plain) < 0.75  # the rare class is not found
    assert np.mean(balanced) > np.mean(plain) + 0.15
