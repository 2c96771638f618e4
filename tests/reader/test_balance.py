"""TRAIN.balance: how often classes are drawn, and that a sample drawn twice is not the same clip twice."""

import collections

import numpy as np
import pytest
from small_skeletons import CLASSES, draw_annotation

from common import files
from reader import build_loader

COUNTS = (40, 8, 2)  # samples of each class


@pytest.fixture
def path(tmp_path):
    annotations = [draw_annotation(label, seed) for label, count in enumerate(COUNTS) for seed in range(count)]
    content = {"split": {"train": [each["frame_dir"] for each in annotations]}, "annotations": annotations}
    files.dump_pickle({**content, "class_names": CLASSES}, tmp_path / "unbalanced.pkl")
    return str(tmp_path / "unbalanced.pkl")


def load(path, **options):
    fixed = {"num_persons": 1, "clip_len": 8, "num_workers": 0, "batch_size": 10, "split": "train"}
    return build_loader("skeletons", "train", filelist=path, **{**fixed, **options})


def draw(loader, num_epochs):
    """Return the labels of several epochs."""
    labels = []
    for epoch in range(num_epochs):
        loader.set_epoch(epoch)
        labels += [label for batch in loader for label in batch["labels"].tolist()]
    return np.array(labels)


@pytest.mark.parametrize("balance, power", [("classes", 1.0), ("sqrt", 0.5)])
def test_classes_are_drawn_as_often_as_they_should_be(path, balance, power):
    num_epochs = 40
    drawn = draw(load(path, balance=balance), num_epochs)
    assert len(drawn) == num_epochs * sum(COUNTS)  # an epoch is as long as without
    shares = np.array(COUNTS) ** (1 - power) / sum(count ** (1 - power) for count in COUNTS)
    expected, spread = shares * len(drawn), np.sqrt(shares * (1 - shares) * len(drawn))
    assert np.all(np.abs(np.bincount(drawn, minlength=3) - expected) < 4 * spread)


def test_without_it_each_sample_is_read_once(path):
    assert np.bincount(draw(load(path), 2)).tolist() == [2 * count for count in COUNTS]
    assert np.array_equal(draw(load(path), 2), draw(load(path, balance="none"), 2))


def test_a_sample_that_is_drawn_again_is_another_clip(path):
    loader = load(path, balance="classes", noise=0.1)
    clips = collections.defaultdict(set)
    for batch in loader:
        for name, clip in zip(batch["names"], batch["inputs"]["skeleton"].numpy(), strict=True):
            clips[name].add(clip.tobytes())
    names = [name for batch in load(path, balance="classes", noise=0.1) for name in batch["names"]]
    assert max(collections.Counter(names).values()) > 3
    assert {name: len(found) for name, found in clips.items()} == collections.Counter(names)


def test_the_same_seed_draws_the_same_and_processes_share_it(path):
    def read(**options):
        return [batch["names"] for batch in load(path, balance="sqrt", **options)]

    whole = read(seed=3)
    assert whole == read(seed=3) != read(seed=4)
    parts = [read(seed=3, rank=rank, num_ranks=2) for rank in range(2)]
    assert [sorted(one + other) for one, other in zip(*parts, strict=True)] == [sorted(names) for names in whole]


def test_an_evaluation_reads_each_sample_once(path):
    labels = [
        label
        for batch in build_loader(
            "skeletons", "valid", filelist=path, split="train", num_persons=1, clip_len=8, num_workers=0,
            balance="classes",
        )
        for label in batch["labels"].tolist()
    ]  # fmt: skip
    assert np.bincount(labels).tolist() == list(COUNTS)


def test_another_word_is_refused(path):
    with pytest.raises(ValueError, match="balance is 'even', expected one of none, sqrt, classes"):
        load(path, balance="even")
