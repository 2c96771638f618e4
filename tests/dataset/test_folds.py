"""Folds by their laws: every sample in one fold, classes in equal shares, groups whole, the same for the same seed."""

from collections import Counter

import numpy as np
import pytest

from dataset.folds import describe_scarce, find_tie, make_folds


def draw_ungrouped(rng):
    num_classes = int(rng.integers(2, 9))
    return {f"train_{index:06}": int(rng.integers(num_classes) ** 2 // num_classes) for index in range(200)}


def draw_ntu(rng):
    people, labels = int(rng.integers(10, 41)), {}
    for _ in range(400):
        setup, camera, again, action = (int(rng.integers(1, 4)) for _ in range(4))
        person = int(rng.integers(1, people))
        labels[f"S{setup:03}C{camera:03}P{person:03}R{again:03}A{action:03}"] = action - 1
    return labels


def draw_ucf(rng):
    return {f"v_{name}_g{group:02}_c{clip:02}": label for label, name in enumerate(["A", "B", "C"])
            for group in range(1, int(rng.integers(8, 26))) for clip in range(1, int(rng.integers(2, 8)))}  # fmt: skip


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("draw", [draw_ungrouped, draw_ntu, draw_ucf])
def test_every_sample_is_in_one_fold_and_every_group_too(draw, seed):
    rng = np.random.default_rng(seed)
    labels, num_folds = draw(rng), int(rng.integers(2, 8))
    folds = make_folds(labels, num_folds, seed)
    assert len(folds) == num_folds and all(folds)
    assert sorted(sum(folds, [])) == sorted(labels)
    ties = [{find_tie(name) for name in fold} for fold in folds]
    assert sum(map(len, ties)) == len(set.union(*ties))
    # the same ones for the same seed, whatever the order of the samples; others for another seed
    again = make_folds(dict(reversed(labels.items())), num_folds, seed)
    assert [sorted(fold) for fold in again] == [sorted(fold) for fold in folds]
    assert make_folds(labels, num_folds, seed + 1) != folds


@pytest.mark.parametrize("seed", range(6))
def test_without_groups_each_class_differs_by_one_at_most(seed):
    labels = draw_ungrouped(np.random.default_rng(seed))
    folds = make_folds(labels, 5, seed)
    for label in set(labels.values()):
        counts = [sum(labels[name] == label for name in fold) for fold in folds]
        assert max(counts) - min(counts) <= 1
    assert max(map(len, folds)) - min(map(len, folds)) <= len(set(labels.values()))


@pytest.mark.parametrize("seed", range(6))
def test_with_groups_each_class_has_about_its_share(seed):
    labels = draw_ntu(np.random.default_rng(seed))
    by_size = Counter(map(find_tie, labels))
    for fold in make_folds(labels, 4, seed):
        for label, total in Counter(labels.values()).items():
            count = sum(labels[name] == label for name in fold)
            assert abs(count - total / 4) <= max(by_size.values())


def test_ties():
    assert find_tie("S001C002P017R001A030") == find_tie("ntu/S009C001P017R002A001") == "P017"
    assert find_tie("Biking/v_Biking_g08_c01") == find_tie("v_Walk_g08_c05") == "g08"
    assert find_tie("a01_s03_e00_v01") == find_tie("a11_s03_e04_v03") == "s03"
    assert find_tie("-3B32lodo2M_000059_000069") == find_tie("-3B32lodo2M_000159_000169") == "-3B32lodo2M"
    assert find_tie("train_000012") == "train_000012"


def test_too_few_groups_are_refused_and_scarce_classes_named():
    labels = {f"v_A_g{group:02}_c{clip:02}": 0 for group in (1, 2) for clip in range(9)}
    with pytest.raises(ValueError, match="--folds 3: the 18 samples are of 2 groups .*; give fewer folds"):
        make_folds(labels, 3, 0)
    assert describe_scarce(labels, 2, None) is None
    assert describe_scarce(labels, 3, ["Clap"]).endswith("some folds lack them, first 'Clap' of 2")
