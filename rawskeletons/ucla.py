"""N-UCLA (Northwestern-UCLA Multiview Action 3D, Wang et al., CVPR 2014) as json files, as CTR-GCN and InfoGCN read it.

One file per sequence, `aAA_sSS_eEE_vVV.json` (action, subject, episode, view): `{"file_name", "skeletons": T x 20 x 3
metres of Kinect v1, "label": from 1}`. Views 1 and 2 train, view 3 tests.
"""

import argparse
import json
import os
import re

import numpy as np

from rawskeletons.samples import RawSample, RawSet, list_files, make_annotation, read_text

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
            skipped[path] = f"the sequence stands in '{samples[name].path}' too"
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
        ValueError: a damaged file, frames of another form, a label or name that is not the file name's.
    """
    data = read_text(sample.path)
    try:
        content = json.loads(data)
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"'{sample.path}': no whole json ({error}); get the file again") from None
    if not isinstance(content, dict) or not isinstance(content.get("skeletons"), list):
        raise ValueError(f"'{sample.path}' line 1: no list 'skeletons' in it; get the file again")
    for key, expected in (("file_name", sample.name), ("label", sample.label + 1)):
        if content.get(key) != expected:
            raise ValueError(f"'{sample.path}' line 1: {key} is {content.get(key)!r}, expected {expected!r}")
    frames = content["skeletons"]
    for number, frame in enumerate(frames):
        check_frame(frame, f"'{sample.path}' line 1, frame {number}")
    keypoint = np.array(frames, np.float64).reshape(1, -1, NUM_JOINTS, 3)
    return make_annotation(sample, sample.label, keypoint, MAX_METRES)


def check_frame(frame, where: str) -> None:
    """Refuse a frame that is not 20 joints of three numbers."""
    if not isinstance(frame, list) or len(frame) != NUM_JOINTS:
        got = len(frame) if isinstance(frame, list) else repr(frame)[:40]
        raise ValueError(f"{where}: got {got} joints, expected {NUM_JOINTS}; get the file again")
    for joint, point in enumerate(frame):
        if not isinstance(point, list) or len(point) != 3 or {type(value) for value in point} - {float, int}:
            raise ValueError(f"{where}, joint {joint}: got {repr(point)[:60]}, expected [x, y, z]; get the file again")
