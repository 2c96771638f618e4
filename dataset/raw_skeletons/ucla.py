"""N-UCLA (Northwestern-UCLA Multiview Action 3D, Wang et al., CVPR 2014) as json files, as CTR-GCN and InfoGCN read it.

One file per sequence, `aAA_sSS_eEE_vVV.json` (action, subject, episode, view): `{"file_name", "skeletons": T x 20 x 3
metres of Kinect v1, "label": from 1}`. Views 1 and 2 train, view 3 tests.
"""

import argparse
import os
import re

import numpy as np

from common.text_files import show_value
from dataset.raw_skeletons.json_file import JsonFile
from dataset.raw_skeletons.samples import RawSample, RawSet, list_files, make_annotation

ACTIONS = {  # number in the file names -> class; the recordings have no actions 7 and 10
    1: "pick up with one hand",
    2: "pick up with two hands",
    3: "drop trash",
    4: "walk around",
    5: "sit down",
    6: "stand up",
    8: "donning",
    9: "doffing",
    11: "throw",
    12: "carry",
}
LABELS = {number: label for label, number in enumerate(ACTIONS)}
NAME = re.compile(r"a(\d\d)_s(\d\d)_e(\d\d)_v(\d\d)")
TRAINING_VIEWS = (1, 2)
OFFICIAL_SIZES = {"xview_train": 1020, "xview_val": 464}
NUM_JOINTS = 20
MAX_METRES = 20  # a Kinect sees no further than eight


def find_samples(args: argparse.Namespace) -> RawSet:
    """List the sequences below the folder `args.raw`; files of other names are skipped and named."""
    samples, splits, skipped = {}, {"xview_train": [], "xview_val": []}, {}
    for path in list_files(args.raw, ".json", "give the folder all_sqe of N-UCLA, which CTR-GCN's README links to"):
        name = os.path.basename(path)[: -len(".json")]
        match = NAME.fullmatch(name)
        if not match or int(match[1]) not in LABELS or not 1 <= int(match[4]) <= 3:
            skipped[path] = "its name is not that of a sequence, such as a01_s01_e00_v01.json"
        elif name in samples:
            skipped[path] = f"the sequence is in '{samples[name].path}' too"
        else:
            samples[name] = RawSample(name, path, LABELS[int(match[1])])
            splits["xview_train" if int(match[4]) in TRAINING_VIEWS else "xview_val"].append(name)
    names = list(ACTIONS.values())
    return RawSet(list(samples.values()), splits, names, "ucla20", skipped, OFFICIAL_SIZES)


def read_sample(sample: RawSample, args: argparse.Namespace) -> dict:
    """Read one sequence.

    Returns:
        annotation with one person, (1, T, 20, 3) metres.
    Raises:
        ValueError: a damaged file, with its line; a label or name that is not the file name's; no body in it.
    """
    file = JsonFile(sample.path)
    stated = () if sample.label is None else (("file_name", sample.name), ("label", sample.label + 1))
    for key, expected in stated:
        if file.get((key,), type(expected)) != expected:
            raise file.make_error(
                (key,), f"is {show_value(file.content[key])}, expected {expected!r}; get the file again"
            )
    frames = [read_frame(file, ("skeletons", number)) for number in range(len(file.get(("skeletons",), list)))]
    keypoint = np.array(frames, np.float64).reshape(1, -1, NUM_JOINTS, 3)
    return make_annotation(sample, sample.label, keypoint, MAX_METRES)


def read_frame(file: JsonFile, keys: tuple) -> list:
    """Read the 20 joints of a frame, each of three numbers."""
    num_joints = len(file.get(keys, list))
    if num_joints != NUM_JOINTS:
        raise file.make_error(keys, f"has {num_joints} joints, expected {NUM_JOINTS}; get the file again")
    return [file.get_numbers((*keys, joint), 3, MAX_METRES) for joint in range(NUM_JOINTS)]
