"""Classes and splits: class ids, official split files, groups.

Class ids come from a classInd.txt or from sorted names, never from the order of a directory. Videos are divided by the
official lists or by whole groups (`gNN` in a name: one person or place), so that training and test share none.
"""

import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from common.text_files import read_lines, refuses_damage
from dataset.media import strip_suffix
from dataset.records import is_number

SHIPPED_SPLITS = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "splits", "ucf101")
SUBSETS = ("train", "test")
MAX_CLASSES_SHOWN = 12
RECORD_SETTINGS = {"class_names": [str], "frames": str, "pack": bool, "videos": {str: int}}  # beside records
VIDEO_HINT = (  # for a user without videos; every data script prints it
    "download UCF-101 (https://www.crcv.ucf.edu/data/UCF101.php) and unpack it there, or put or mount UCF-101.zip "
    "there; or run 'python tools/make_samples.py --root data/samples' and this script with '--root data/samples'"
)


@dataclass
class SplitPlan:
    """The class and subset of each video; its name is `video`, or `Class/video` if two classes share one."""

    class_names: list[str]
    labels: dict[str, dict[str, int]]  # "train", "test" -> video -> label
    folders: dict[str, str]  # video -> its frame folder below --frames, for those that have frames
    unlisted: list[str]  # frame folders that neither list names


def find_split_folder(root: str | os.PathLike) -> str:
    """Find the split files: in `<root>/ucfTrainTestlist`, else in `<root>` (as in 2020), else those of UCF-101."""
    for folder in (os.path.join(root, "ucfTrainTestlist"), os.fspath(root)):
        if os.path.isfile(os.path.join(folder, "classInd.txt")) or os.path.isfile(
            os.path.join(folder, "trainlist01.txt")
        ):
            return folder
    return SHIPPED_SPLITS


def index_classes(class_names: list[str], where: str | os.PathLike = "the class names") -> dict[str, int]:
    """Give each class its label, its index in `class_names`; keys are case-folded (HandstandPushups, HandStandPushups).

    Raises:
        ValueError: two names that differ in case only, or not at all.
    """
    labels = {}
    for label, name in enumerate(class_names):
        if labels.setdefault(name.casefold(), label) != label:
            raise ValueError(
                f"{where}: '{class_names[labels[name.casefold()]]}' and '{name}' are one name but for upper and "
                "lower case; correct one of them"
            )
    return labels


@refuses_damage
def read_class_index(path: str | os.PathLike) -> list[str]:
    """Read class names from a classInd.txt, whose lines are `id name` with ids from 1 in any order.

    Returns:
        the names; the one with id n in the file has index n - 1, its label everywhere in the project.
    Raises:
        ValueError: a line of another form, an id or a name that comes twice, a gap in the ids.
    """
    names = {}
    for number, line in enumerate(read_lines(path, "it comes with the split files of UCF-101"), 1):
        words = line.split(maxsplit=1)
        if not words:
            continue
        if len(words) < 2 or not is_number(words[0]) or int(words[0]) in names:
            raise ValueError(f"{path} line {number}: got '{line}', expected 'id name', each id once; correct the line")
        names[int(words[0])] = words[1]
    if not names or sorted(names) != list(range(1, len(names) + 1)):
        raise ValueError(f"{path}: got {len(names)} class ids, expected 1, 2, 3 ... without a gap; correct the file")
    class_names = [names[number] for number in sorted(names)]
    index_classes(class_names, path)
    return class_names


def read_custom_classes(lists: str | os.PathLike) -> list[str] | None:
    """Read the classInd.txt of a folder of split files; None if it has none or is that of UCF-101."""
    index = os.path.join(lists, "classInd.txt")
    return read_class_index(index) if lists != SHIPPED_SPLITS and os.path.isfile(index) else None


def describe_balance(labels: Iterable[int], class_names: list[str]) -> str:
    """Say how many samples each class has, or the smallest and the largest class where there are many."""
    counts = Counter(labels)
    present = f"{len(counts)} of {len(class_names)} classes"
    if len(class_names) <= MAX_CLASSES_SHOWN:
        return f"{present}; " + ", ".join(f"{name} {counts[label]}" for label, name in enumerate(class_names))
    sizes = sorted((counts[label], name) for label, name in enumerate(class_names))
    return f"{present}; {sizes[0][0]} ({sizes[0][1]}) to {sizes[-1][0]} ({sizes[-1][1]}) per class"


@refuses_damage
def read_split(path: str | os.PathLike, class_names: list[str] | None = None) -> list[tuple[str, str]]:
    """Read a trainlist or testlist, whose lines are `Class/video.avi` and, in a trainlist, a class id from 1.

    Args:
        class_names: where given, each class must be one of them (any case) and each id must be its index plus 1.
    Returns:
        (class name, video name without suffix) of each line.
    Raises:
        ValueError: a line of another form, an unknown class, an id that is not the class's; with the line number.
    """
    labels = index_classes(class_names or [])
    entries = []
    for number, line in enumerate(read_lines(path, "give the folder of your split files with --lists"), 1):
        if not line:
            continue
        match = re.fullmatch(r"([^/]+)/(.+?)(?:\s+(\d{1,9}))?", line)
        if not match:
            raise ValueError(f"{path} line {number}: got '{line}', expected 'Class/video.avi' or 'Class/video.avi id'")
        class_name, video, class_id = match.groups()
        label = labels.get(class_name.casefold())
        if class_names and label is None:
            raise ValueError(f"{path} line {number}: class '{class_name}' is not in classInd.txt; correct one of them")
        if class_names and class_id and int(class_id) != label + 1:
            raise ValueError(
                f"{path} line {number}: class id {class_id} for '{class_name}', but classInd.txt says {label + 1}; "
                "correct one of them"
            )
        entries.append((class_name, strip_suffix(video)))
    return entries


def find_class_in_name(video_name: str) -> str | None:
    """Return "Biking" for v_Biking_g08_c01, None for names of another form."""
    match = re.match(r"v_(.+)_g\d+_c\d+", video_name.rpartition("/")[2])
    return match.group(1) if match else None


def find_contradicting_class(video_name: str, path: str | None, label: int, labels: dict[str, int]) -> str | None:
    """Return the class that a video's name or folder states, where it has another label; None where none does.

    Args:
        path: of its frame folder or file, in a folder such as Biking or Biking_jpg (2020); None for packed frames.
        labels: by case-folded class name.
    """
    folder = path and os.path.basename(os.path.dirname(path)).removesuffix("_jpg")
    stated = [name for name in (find_class_in_name(video_name), folder) if name]
    return next((name for name in stated if labels.get(name.casefold(), label) != label), None)


def find_group(video_name: str) -> str:
    """Find the group of a video: "g08" of v_Biking_g08_c01. Clips of one group show the same person or place."""
    match = re.search(r"(?:^|_)(g\d+)(?=_|$)", video_name.rpartition("/")[2], re.IGNORECASE)
    if not match:
        raise ValueError(f"video '{video_name}' has no group in its name, expected one like 'g08' in v_Biking_g08_c01")
    return match.group(1).lower()


def find_group_or_name(video_name: str) -> str:
    """Find the group of a video; one without a group in its name is a group by itself."""
    try:
        return find_group(video_name)
    except ValueError:
        return video_name


def find_shared_groups(train: Iterable[str], test: Iterable[str]) -> list[str]:
    """List the groups that have videos in both of two sets of names, which makes a score on the second too good."""
    return sorted({find_group_or_name(name) for name in train} & {find_group_or_name(name) for name in test})


def hold_out_groups(classes: dict[str, int | str], ratio: float, seed: int) -> set[str]:
    """Choose whole groups at random for a test or validation set, the same ones for the same seed.

    Args:
        classes: video name to class; names are of one video each. Videos without a group are chosen class by class, so
            that each class has some.
        ratio: share of the groups to hold out; at least one is, and at least one is left. A class of two groups or more
            stands on both sides, as far as groups that it shares with other classes allow it.
    Returns:
        the names of the videos held out.
    """
    pools = defaultdict(set)
    for name, class_name in sorted(classes.items()):
        group = find_group_or_name(name)
        pools[class_name if group == name else None].add(group)
    rng = np.random.default_rng(seed)
    held_out = set()
    for pool in pools.values():
        groups = sorted(pool)
        num_held_out = min(max(1, round(ratio * len(groups))), len(groups) - 1)
        held_out.update(groups[index] for index in rng.permutation(len(groups))[:num_held_out])
    _spread_over_classes(classes, held_out)
    return {name for name in classes if find_group_or_name(name) in held_out}


def _spread_over_classes(classes: dict[str, int | str], held_out: set[str]) -> None:
    """Exchange groups, in place, until each class of two groups or more has some on both sides, where that is possible.

    Args:
        held_out: the groups that are held out so far.
    """
    groups = defaultdict(set)
    for name, class_name in classes.items():
        groups[class_name].add(find_group_or_name(name))
    for members in [groups[class_name] for class_name in sorted(groups)]:
        if _is_on_both_sides(members, held_out):
            continue
        counts = {
            group: sum(_is_on_both_sides(others, held_out ^ {group}) for others in groups.values())
            for group in sorted(members)
        }
        group = max(counts, key=counts.get)
        if counts[group] > sum(_is_on_both_sides(others, held_out) for others in groups.values()):
            held_out ^= {group}


def _is_on_both_sides(members: set[str], held_out: set[str]) -> bool:
    return len(members) < 2 or 0 < len(members & held_out) < len(members)


def make_key(class_name: str, video: str) -> tuple[str, str]:
    """Make names comparable: UCF-101 has HandstandPushups/v_HandStandPushups, the scripts of 2020 wrote Class_jpg."""
    return class_name.casefold().removesuffix("_jpg"), video.casefold()


def split_by_lists(folders: dict[tuple[str, str], str], lists: str, split: int) -> SplitPlan:
    """Split by trainlist and testlist."""
    index = os.path.join(lists, "classInd.txt")
    class_names = read_class_index(index) if os.path.isfile(index) else None
    entries = {
        subset: read_split(os.path.join(lists, f"{subset}list{split:02}.txt"), class_names) for subset in SUBSETS
    }
    class_names = class_names or sorted({class_name for subset in SUBSETS for class_name, _ in entries[subset]})
    labels = index_classes(class_names, lists)
    listed = {subset: {make_key(*entry): "/".join(entry) for entry in entries[subset]} for subset in SUBSETS}
    names = name_videos({**listed["train"], **listed["test"], **folders})
    plan = SplitPlan(class_names, {}, {}, [])
    for subset in SUBSETS:
        plan.labels[subset] = {names[make_key(*entry)]: labels[entry[0].casefold()] for entry in entries[subset]}
    for key, folder in folders.items():
        if key in listed["train"] or key in listed["test"]:
            plan.folders[names[key]] = folder
        else:
            plan.unlisted.append(folder)
    if not plan.folders:
        raise ValueError(
            f"none of the {len(folders)} frame folders, such as '{folder}', is in the lists of split {split} in "
            f"'{lists}'; give custom lists with --lists, or use --split_by_group"
        )
    return plan


def split_by_groups(folders: dict[tuple[str, str], str], lists: str, test_ratio: float, seed: int) -> SplitPlan:
    """Split by groups; class ids come from a classInd.txt beside the frames, else from the sorted names of folders."""
    names = name_videos(folders)
    classes = {names[key]: folder.split("/")[0] for key, folder in folders.items()}
    class_names = read_custom_classes(lists) or sorted(set(classes.values()))
    labels = index_classes(class_names, lists)
    unknown = sorted(name for name in set(classes.values()) if name.casefold() not in labels)
    if unknown:
        raise ValueError(
            f"classInd.txt in '{lists}' does not name the class '{unknown[0]}', which has frames; add it there"
        )
    held_out = hold_out_groups(classes, test_ratio, seed)
    if not held_out:
        raise ValueError(f"all {len(classes)} videos are of one group, so none can be held out; give custom lists")
    subsets = {"train": classes.keys() - held_out, "test": held_out}
    labels_by_subset = {
        subset: {name: labels[classes[name].casefold()] for name in subsets[subset]} for subset in SUBSETS
    }
    return SplitPlan(class_names, labels_by_subset, {names[key]: folder for key, folder in folders.items()}, [])


def name_videos(videos: dict[tuple[str, str], str]) -> dict[tuple[str, str], str]:
    """Name each video without its class, as in UCF-101, unless a video of another class has the same name."""
    count = Counter(video for _, video in videos)
    return {key: path.split("/", 1)[1] if count[key[1]] == 1 else path for key, path in videos.items()}


def describe_leaks(splits: dict[str, list[str]], split: str) -> list[str]:
    """Describe the samples of a split that are in another one of the same protocol too, such as train1 and test1."""

    def strip_role(name: str) -> str:
        return re.sub(r"train(ing)?|valid(ation)?|val|test(ing)?|eval|dev", "*", str(name).lower(), count=1)

    members, lines = set(splits[split]), []
    for other, names in splits.items():
        common = sorted(members.intersection(names)) if strip_role(other) == strip_role(split) else []
        if common and other != split:
            lines.append(
                f"{len(common)} samples of split '{split}' are in '{other}' too, first '{common[0]}', so that a score "
                "is too good; take them out of one"
            )
    return lines
