"""Kinetics-skeleton (Yan et al., AAAI 2018), the json files of ST-GCN and MS-G3D: OpenPose's 18 joints.

`kinetics_train/`, `kinetics_val/`: a file per video, `{"data": [{"frame_index", "skeleton": [{"pose": [x, y, ...],
"score": [...]}]}], "label", "label_index"}`. `kinetics_train_label.json`, `kinetics_val_label.json`: `{video:
{"has_skeleton", "label", "label_index"}}`. x and y are 0 to 1 in the picture; frames are ordered by frame_index, as
in both repositories.
"""

import argparse
import os

import numpy as np

from dataset.raw_skeletons.json_file import JsonFile
from dataset.raw_skeletons.samples import RawSample, RawSet, list_files, make_pose_annotation
from dataset.raw_skeletons.tracks import Person
from dataset.skeleton_checks import MAX_SCORE

NUM_JOINTS = 18
MAX_FRAMES = 100_000
MAX_CLASSES = 100_000
MAX_VALUE = 5  # picture widths; points may be outside the picture
OFFICIAL_SIZES = {"train": 240436, "val": 19796}


def find_samples(args: argparse.Namespace) -> RawSet:
    """List the videos of both folders below `args.raw` that the label files name, with their labels."""
    samples, splits, skipped, names = [], {}, {}, {}
    for split in ("train", "val"):
        folder = os.path.join(args.raw, f"kinetics_{split}")
        if not os.path.isdir(folder):
            continue
        if not os.path.isfile(folder + "_label.json"):
            raise FileNotFoundError(
                f"'{folder}_label.json' does not exist; it says what the videos of the folder show: unpack it from "
                "kinetics-skeleton.tar.gz too"
            )
        labels = JsonFile(folder + "_label.json")
        labels.get((), dict)
        splits[split] = []
        for path in list_files(folder, ".json", "unpack kinetics-skeleton.tar.gz of ST-GCN"):
            name = os.path.basename(path)[: -len(".json")]
            if name not in labels.content:
                skipped[path] = f"'{labels.path}' does not name it"
                continue
            label, class_name = labels.get((name, "label_index"), int), labels.get((name, "label"), str)
            if not 0 <= label < MAX_CLASSES:
                raise labels.make_error((name, "label_index"), f"is {label}, expected one from 0; correct it")
            samples.append(RawSample(name, path, label))
            splits[split].append(name)
            if names.setdefault(label, class_name) != class_name:
                raise labels.make_error(
                    (name, "label"), f"is not '{names[label]}', as others of label {label}; correct it"
                )
    if not samples:
        raise FileNotFoundError(
            f"no videos in '{args.raw}', in kinetics_train or kinetics_val; unpack kinetics-skeleton.tar.gz of ST-GCN"
        )
    class_names = [names.get(label, f"class {label}") for label in range(max(names) + 1)]
    return RawSet(samples, splits, class_names, "openpose18", skipped, OFFICIAL_SIZES)


def read_sample(sample: RawSample, args: argparse.Namespace) -> dict:
    """Read one video.

    Returns:
        annotation of the first persons, (M, T, 18, 2) from 0 to 1, with scores; points of score 0 are zero.
    Raises:
        ValueError: a damaged file, with its line; a label that is not that of the label file; no body in it.
    """
    file = JsonFile(sample.path)
    frames = {}
    for number in range(len(file.get(("data",), list))):
        index = file.get(("data", number, "frame_index"), int)
        if not 0 <= index < MAX_FRAMES or index in frames:
            raise file.make_error(("data", number, "frame_index"), f"is {index}, expected numbers from 0, each once")
        frames[index] = [
            read_person(file, ("data", number, "skeleton", person))
            for person in range(len(file.get(("data", number, "skeleton"), list)))
        ]
    if sample.label is not None and file.get(("label_index",), int) != sample.label:
        raise file.make_error(("label_index",), f"is not {sample.label}, as the label file says; correct one of them")
    people = [frames.get(index, []) for index in range(max(frames, default=-1) + 1)]
    options = argparse.Namespace(persons=args.persons or "sorted", num_persons=args.num_persons)
    return make_pose_annotation(sample, people, MAX_VALUE, (1, 1), NUM_JOINTS, options)


def read_person(file: JsonFile, keys: tuple) -> Person:
    """Read x, y and score of a person's joints."""
    pose = np.array(file.get_numbers((*keys, "pose"), 2 * NUM_JOINTS, MAX_VALUE), np.float64).reshape(NUM_JOINTS, 2)
    score = np.array(file.get_numbers((*keys, "score"), NUM_JOINTS, MAX_SCORE), np.float64)
    return Person(np.column_stack([pose * (score[:, None] != 0), score]))
