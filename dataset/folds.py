"""Folds for cross-validation: stratified, of whole groups, the same ones for the same seed.

A group is what a person or a video ties together, as names say it: `gNN` of UCF-101, the performer of NTU RGB+D and
N-UCLA, clips cut from one video of Kinetics. A sample whose name says nothing is a group by itself.
"""

import re
from collections import Counter, defaultdict

import numpy as np

from dataset.splits import find_group_or_name

TIES = (
    r"S\d{3}C\d{3}(P\d{3})R\d{3}A\d{3}",  # NTU RGB+D: the performer
    r"a\d+_(s\d+)_e\d+_v\d+",  # N-UCLA: the performer
    r"(.+)_\d{6}_\d{6}",  # Kinetics: the video, of which the clip shows some seconds
)


def find_tie(name: str) -> str:
    """Return what a sample shares with others that must stay together: its group, person or video, or its name."""
    for pattern in TIES:
        if match := re.search(pattern, name.rpartition("/")[2]):
            return match[1]
    return find_group_or_name(name)


def make_folds(labels: dict[str, int], num_folds: int, seed: int) -> list[list[str]]:
    """Divide samples into folds of equal shares of each class, as far as whole groups allow it.

    Groups are dealt out from the largest to the smallest, those of one size in random order; each goes to the fold that
    has least of its classes.

    Args:
        labels: class of each sample, by name.
        num_folds: 2 or more.

    Returns:
        The names of each fold, in the order of `labels`; every sample is in one fold.

    Raises:
        ValueError: fewer groups than folds.
    """
    groups = defaultdict(list)
    ties = {name: find_tie(name) for name in labels}
    for name in sorted(labels):
        groups[ties[name]].append(name)
    if len(groups) < num_folds:
        raise ValueError(
            f"--folds {num_folds}: the {len(labels)} samples are of {len(groups)} groups (persons, videos), which are "
            "not divided; give fewer folds"
        )
    classes = sorted(set(labels.values()))
    columns = {label: index for index, label in enumerate(classes)}
    totals = Counter(columns[label] for label in labels.values())
    shares = 1 / np.array([totals[index] for index in range(len(classes))])
    counts, fold_of = np.zeros((num_folds, len(classes))), {}
    keys = sorted(groups)
    order = [keys[index] for index in np.random.default_rng(seed).permutation(len(keys))]
    for key in sorted(order, key=lambda key: -len(groups[key])):
        members = np.bincount([columns[labels[name]] for name in groups[key]], minlength=len(classes))
        fullness = counts @ (members * shares)
        fold = min(range(num_folds), key=lambda fold: (round(fullness[fold], 9), counts[fold].sum()))
        counts[fold] += members
        fold_of[key] = fold
    return [[name for name in labels if fold_of[ties[name]] == fold] for fold in range(num_folds)]


def describe_scarce(labels: dict[str, int], num_folds: int, class_names: list[str] | None) -> str | None:
    """Return a sentence on the classes that have fewer groups than there are folds, or None."""
    groups = defaultdict(set)
    for name, label in labels.items():
        groups[label].add(find_tie(name))
    scarce = [label for label in sorted(groups) if len(groups[label]) < num_folds]
    if not scarce:
        return None
    first = class_names[scarce[0]] if class_names else f"class {scarce[0]}"
    count = len(groups[scarce[0]])
    return f"{len(scarce)} classes have fewer groups than folds, so some folds lack them, first '{first}' of {count}"


def add_folds(content: dict, num_folds: int, split: str | None, seed: int) -> list[str]:
    """Add the splits fold1_train, fold1_val, fold2_train ... to the content of a skeleton pkl.

    Args:
        split: the one to divide; None: "train", or the first one whose name has this word.

    Returns:
        Lines for the report.

    Raises:
        ValueError: no such split, samples in it without a label, fewer groups than folds.
    """
    splits, known = content["split"], ", ".join(content["split"]) or "none"
    named = [split] if split else ["train", *(name for name in splits if "train" in name)]
    split = next((name for name in named if name in splits), None)
    if split is None:
        raise ValueError(f"--folds: no split '{named[0]}' to divide, there are {known}; name one by --fold_split")
    labels = {annotation["frame_dir"]: annotation.get("label") for annotation in content["annotations"]}
    labels = {name: labels[name] for name in splits[split]}
    unlabelled = [name for name, label in labels.items() if label is None]
    if unlabelled:
        raise ValueError(
            f"--folds: {len(unlabelled)} of {len(labels)} samples of split '{split}' have no label, first "
            f"'{unlabelled[0]}'; folds are for training, name another split by --fold_split"
        )
    for number, held_out in enumerate(make_folds(labels, num_folds, seed), 1):
        is_held_out = set(held_out)
        splits[f"fold{number}_train"] = [name for name in labels if name not in is_held_out]
        splits[f"fold{number}_val"] = held_out
    scarce = describe_scarce(labels, num_folds, content.get("class_names"))
    return [f"{num_folds} folds of split {split}, seed {seed}", *([f"WARNING: {scarce}"] if scarce else [])]
