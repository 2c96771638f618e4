"""NTU RGB+D 60 and 120 (Shahroudy et al., CVPR 2016; Liu et al., TPAMI 2019): which files there are, and their splits.

`SsssCcccPpppRrrrAaaa.skeleton`: setup, camera, performer, replication, action, from 1. Splits, each as `_train` and
`_val`: `xsub` by performer, `xview` by camera, `xset` by setup. A custom set in the same form, such as the sample data,
has its classInd.txt in the folder above, in `ucfTrainTestlist/`, or named with --classes; the
official names and lists of bad samples do not apply to it.
"""

import argparse
import os
import re

from common.text_files import read_lines
from dataset.raw_skeletons.bodies import BODIES
from dataset.raw_skeletons.class_folders import find_class_names
from dataset.raw_skeletons.ntu_file import MAX_METRES, read_recording
from dataset.raw_skeletons.samples import EmptyBodiesError, RawSample, RawSet, list_files, make_annotation
from dataset.splits import SHIPPED_SPLITS

NAME = re.compile(r"S(\d{3})C(\d{3})P(\d{3})R(\d{3})A(\d{3})")
LISTS = os.path.join(os.path.dirname(SHIPPED_SPLITS), "ntu")
NUM_SETUPS_60, NUM_ACTIONS_60 = 17, 60
NUM_ACTIONS = {"ntu60": 60, "ntu120": 120}
TRAIN_SUBJECTS = (  # of NTU RGB+D 120; those up to 40 are the ones of NTU RGB+D 60
    1, 2, 4, 5, 8, 9, 13, 14, 15, 16, 17, 18, 19, 25, 27, 28, 31, 34, 35, 38, 45, 46, 47, 49, 50, 52, 53, 54, 55, 56,
    57, 58, 59, 70, 74, 78, 80, 81, 82, 83, 84, 85, 86, 89, 91, 92, 93, 94, 95, 97, 98, 100, 103,
)  # fmt: skip
TRAIN_CAMERAS = (2, 3)
OFFICIAL_SIZES = {  # without the samples of the missing list
    "ntu60": {
        "xsub_train": 40091, "xsub_val": 16487, "xview_train": 37646, "xview_val": 18932,
        "xset_train": 26476, "xset_val": 30102,
    },
    "ntu120": {
        "xsub_train": 63026, "xsub_val": 50919, "xview_train": 75823, "xview_val": 38122,
        "xset_train": 54468, "xset_val": 59477,
    },
}  # fmt: skip


def find_samples(args: argparse.Namespace) -> RawSet:
    """List the files below `args.raw`: all of them, or with the format `ntu60` only those of that part.

    Files of other names, a second file of one name and those that are known to lack their skeletons are skipped.
    """
    numbers, paths, skipped = {}, {}, {}
    for path in list_files(args.raw, ".skeleton", "give the folder nturgb+d_skeletons, unpacked"):
        name = os.path.basename(path)[: -len(".skeleton")]
        match = NAME.fullmatch(name)
        if not match or match[5] == "000":
            skipped[path] = "its name is not that of a sample, such as S001C001P001R001A001.skeleton"
        elif name in paths:
            skipped[path] = f"the sample is in '{paths[name]}' too"
        else:
            numbers[name], paths[name] = tuple(int(number) for number in match.groups()), path
    version = choose_version(args.format, list(numbers.values()))
    class_names = find_class_names(args)
    is_official = class_names is None and args.train_subjects is None
    missing = set(read_missing(version)) if class_names is None else set()
    class_names = class_names or read_official_classes(version)
    samples = []
    for name, (setup, _, _, _, action) in numbers.items():
        if version == "ntu60" and args.format == "ntu60" and (setup > NUM_SETUPS_60 or action > NUM_ACTIONS_60):
            skipped[name] = "it is of NTU RGB+D 120, not of 60"
        elif action > len(class_names):
            skipped[name] = f"action {action}, expected one of the {len(class_names)} classes"
        elif name in missing:
            skipped[name] = "the data set's own list says that its skeletons are missing"
        else:
            samples.append(RawSample(name, paths[name], action - 1))
    splits = divide([sample.name for sample in samples], numbers, args.train_subjects or TRAIN_SUBJECTS)
    return RawSet(samples, splits, class_names, "ntu25", skipped, OFFICIAL_SIZES[version] if is_official else {})


def choose_version(format_name: str, numbers: list[tuple]) -> str:
    """Return which of NTU RGB+D 60 and 120 it is, by setups and actions unless the user has chosen."""
    if format_name != "ntu":
        return format_name
    is_60 = all(setup <= NUM_SETUPS_60 and action <= NUM_ACTIONS_60 for setup, _, _, _, action in numbers)
    return "ntu60" if is_60 else "ntu120"


def read_missing(version: str) -> list[str]:
    """Read the names of the samples whose skeletons are missing or wrong, by the data set's authors."""
    return [
        name for name in read_lines(os.path.join(LISTS, f"missing_{version}.txt"), "it comes with the project") if name
    ]


def read_official_classes(version: str) -> list[str]:
    """Read the names of the 60 or 120 actions."""
    return read_lines(os.path.join(LISTS, "class_names.txt"), "it comes with the project")[: NUM_ACTIONS[version]]


def divide(names: list[str], numbers: dict[str, tuple], train_subjects: tuple[int, ...]) -> dict[str, list[str]]:
    """Divide samples by performer, camera and setup; a protocol is left out if train or val would be empty."""
    trains = {
        "xsub": {name for name in names if numbers[name][2] in train_subjects},
        "xview": {name for name in names if numbers[name][1] in TRAIN_CAMERAS},
        "xset": {name for name in names if numbers[name][0] % 2 == 0},
    }
    splits = {}
    for protocol, train in trains.items():
        if 0 < len(train) < len(names):
            splits[f"{protocol}_train"] = [name for name in names if name in train]
            splits[f"{protocol}_val"] = [name for name in names if name not in train]
    return splits


def read_sample(sample: RawSample, args: argparse.Namespace) -> dict:
    """Read one file.

    Returns:
        annotation of one or two persons, (M, T, 25, 3) metres, chosen by the method `args.bodies`.
    Raises:
        ValueError: a damaged file, with its line; no body in it.
    """
    recording = read_recording(sample.path)
    if not recording.ids:  # two of the ways drop empty frames, so the number would be lost
        raise EmptyBodiesError(
            f"'{sample.path}': {sample.name} has no body in any of its {recording.num_frames} frames"
        )
    return make_annotation(sample, sample.label, BODIES[args.bodies](recording), MAX_METRES)
