"""Classes and splits by the folders of a custom data set.

`<Class>/<sample>` is divided by groups (`gNN` in a name: one person or place) into `train` and `val`;
`train/<Class>/<sample>` beside `val/` or `test/`, or folders of other names that people give these (`SPLITS`), is
divided so.
"""

import argparse
import os
from collections import Counter

from dataset.raw_skeletons.samples import RawSample, RawSet
from dataset.records import natural_order
from dataset.splits import find_split_folder, hold_out_groups, index_classes, read_class_index, read_custom_classes

SPLITS = (
    "train", "training", "trainset", "val", "valid", "validate", "validation", "dev", "eval", "evaluation", "test",
    "testing", "testset", "valset",
)  # fmt: skip


def find_class_names(args: argparse.Namespace) -> list[str] | None:
    """Read --classes, else the classInd.txt beside the folder of raw skeletons; None where there is none."""
    if args.classes:
        return read_class_index(args.classes)
    return read_custom_classes(find_split_folder(os.path.dirname(os.path.abspath(args.raw))))


def label_by_folder(paths: list[str], args: argparse.Namespace, layout: str) -> RawSet:
    """Name, label and divide samples by where they lie below `args.raw`.

    Args:
        paths: one file or folder per sample.
    Raises:
        ValueError: a sample in no class folder or beside folders of splits, a class that --classes does not name, one
            group only.
    """
    parts_of = {path: _cut_suffix(path, os.path.relpath(path, args.raw)).split(os.sep) for path in paths}
    has_splits = has_split_folders(parts_of)
    for path, parts in parts_of.items():
        if len(parts) < 2:
            raise ValueError(f"'{path}' lies in no class folder; put it at <Class>/{os.path.basename(path)}")
    count = Counter(parts[-1] for parts in parts_of.values())
    names = {path: parts[-1] if count[parts[-1]] == 1 else "/".join(parts) for path, parts in parts_of.items()}
    _refuse_equal_names(names)
    class_names = find_class_names(args) or sorted({parts[-2] for parts in parts_of.values()}, key=natural_order)
    labels = index_classes(class_names)
    samples, splits = [], {}
    for path in sorted(paths, key=lambda path: natural_order(names[path])):
        class_name = parts_of[path][-2]
        if class_name.casefold() not in labels:
            raise ValueError(
                f"'{path}' is of the class '{class_name}', which the class list does not name; add it there"
            )
        samples.append(RawSample(names[path], path, labels[class_name.casefold()]))
        if has_splits:
            splits.setdefault(parts_of[path][0], []).append(names[path])
    if not has_splits:
        splits = divide_by_groups(samples, args)
    return RawSet(samples, splits, class_names, layout)


def _cut_suffix(path: str, name: str) -> str:
    """Cut off the suffix of a file; a folder, such as one of OpenPose, has none, whatever dots it has."""
    return name if os.path.isdir(path) else os.path.splitext(name)[0]


def _refuse_equal_names(names: dict[str, str]) -> None:
    owners = {}
    for path, name in names.items():
        if owners.setdefault(name, path) != path:
            raise ValueError(
                f"'{owners[name]}' and '{path}' would both be called '{name}'; rename or remove one of them"
            )


def has_split_folders(parts_of: dict[str, list[str]]) -> bool:
    """Return whether the uppermost folders are those of splits.

    Raises:
        ValueError: some are and others are not.
    """
    is_known = {path: len(parts) > 2 and parts[0].casefold() in SPLITS for path, parts in parts_of.items()}
    others = [path for path in parts_of if not is_known[path]]
    if others and len(others) < len(parts_of):
        split = next(parts[0] for path, parts in parts_of.items() if is_known[path])
        raise ValueError(
            f"'{others[0]}' and {len(others) - 1} more do not lie in a split, as those in '{split}' do; put them at "
            f"<split>/<Class>/<sample>, a split being called {', '.join(SPLITS)}, or take them out of the folder"
        )
    return not others


def divide_by_groups(samples: list[RawSample], args: argparse.Namespace) -> dict[str, list[str]]:
    """Hold out whole groups for `val`."""
    held_out = hold_out_groups({sample.name: sample.label for sample in samples}, args.val_ratio, args.seed)
    if not held_out:
        raise ValueError(f"the samples in '{args.raw}' are of one group; put them into folders train/ and val/")
    return {
        "train": [sample.name for sample in samples if sample.name not in held_out],
        "val": [sample.name for sample in samples if sample.name in held_out],
    }
