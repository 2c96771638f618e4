"""Raw skeletons to the one skeleton pkl that the reader takes, with its splits and a report.

    python skeleton2pkl.py ntu nturgb+d_skeletons --out data/ntu.pkl             NTU RGB+D 60 or 120, as the names say
    python skeleton2pkl.py ntu60 nturgb+d_skeletons --bodies msg3d --out data/ntu60.pkl     persons chosen as in MS-G3D
    python skeleton2pkl.py ucla all_sqe --out data/ucla.pkl                      Northwestern-UCLA
    python skeleton2pkl.py kinetics kinetics-skeleton --out data/kinetics.pkl    the json files of ST-GCN
    python skeleton2pkl.py npy folder --layout openpose25 --out data/own.pkl     train_data.npy, train_label.pkl, ...
    python skeleton2pkl.py coco folder --image_size 1920x1080 --out data/own.pkl     MMPose, AlphaPose, PaddleDetection
    python skeleton2pkl.py coco folder --persons 4 --out data/own.pkl            more than two persons of each video
    python skeleton2pkl.py coco folder --out data/own.pkl                        what tools/find_poses.py wrote
    python skeleton2pkl.py openpose folder --out data/own.pkl                    <Class>/<video>/*_keypoints.json
    python skeleton2pkl.py mediapipe folder --out data/own.pkl                   <Class>/<video>.csv
    python skeleton2pkl.py pkl ntu60_hrnet.pkl --out data/checked.pkl            a pkl of PYSKL or MMAction2, checked
    python skeleton2pkl.py npy fsd --layout openpose25 --folds 5 --out data/fsd.pkl     fold1_train, fold1_val, ... too

Every file is checked: one that is cut off, has a row too many or too few, or a value that cannot be, is left out and
named with the reason in <out>_skipped.csv; <out>_report.txt has what the run prints. A run that was stopped goes on
where it was: what is read already is kept in <out>.parts/ until the pkl is whole. Exit status: 0 unless nothing is
left.
"""

import argparse
import functools
import hashlib
import os
import shutil
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from common.command_line import CommandLine, parse_size, run_main
from common.files import dump_pickle, load_pickle, make_folder, write_atomically
from common.output_lock import only_maker
from common.processes import run_jobs, write_failures
from dataset.folds import add_folds
from dataset.raw_skeletons import FORMATS
from dataset.raw_skeletons.bodies import BODIES
from dataset.raw_skeletons.frames import FOUND, find_videos, parse_first_frame
from dataset.raw_skeletons.persons import MAX_PERSONS, PERSONS
from dataset.raw_skeletons.samples import NOTES, EmptyBodiesError, RawSample, RawSet, check_labels, leave_others_out
from dataset.splits import describe_balance, describe_leaks
from layouts import get_layout

BATCH_BYTES = 8_000_000  # of raw files that one job reads
LENGTH_BORDERS = (1, 8, 16, 32, 64, 128, 256, 301)  # of the histogram; 300 is the longest that NTU papers feed
NOT_READING = ("out", "workers", "folds", "fold_split")  # flags that change nothing of what is read
NTU = ("ntu", "ntu60", "ntu120")
CUSTOM = ("coco", "openpose", "mediapipe")
FORMATS_OF = {  # flag -> the formats it is for
    "bodies": NTU,
    "train_subjects": NTU,
    "classes": (*NTU, *CUSTOM, "npy", "pkl"),
    "layout": (*CUSTOM, "npy", "pkl"),
    "persons": ("kinetics", "coco", "openpose"),
    "first_frame": CUSTOM,
    "videos": ("coco", "mediapipe"),
    "image_size": ("coco", "openpose"),
    "val_ratio": CUSTOM,
}


@dataclass
class Batch:
    """Samples that are read and stored together."""

    samples: list[RawSample]
    part: str  # the file that stores them


def parse_flags(argv: list[str] | None):
    """Read the command line."""
    parser = CommandLine("Turn raw skeletons into one skeleton pkl.")
    parser.add_argument("format", choices=list(FORMATS), help="what the raw skeletons are")
    parser.add_argument("raw", help="their folder or file")
    parser.add_argument("--out", required=True, help="the pkl to write")
    parser.add_argument("--bodies", choices=list(BODIES), default="pyskl", help="how persons are chosen (NTU)")
    parser.add_argument("--train_subjects", type=parse_numbers, help="performers of xsub_train, such as 4,5,6 (NTU)")
    parser.add_argument(
        "--persons",
        type=parse_persons,
        default=(None, MAX_PERSONS),
        help=f"who is who in 2-D ({', '.join(PERSONS)}; default: matched, kinetics: sorted), or how many persons are "
        f"kept (default: {MAX_PERSONS}), or both, such as sorted,5",
    )
    parser.add_argument(
        "--first_frame",
        type=parse_first_frame,
        help=f"number of a video's first frame, or {FOUND}: the first with somebody; default: 0, or 1 where that is "
        "the least (coco, openpose, mediapipe)",
    )
    parser.add_argument(
        "--videos",
        help="folder of the videos, to count the frames after the last with somebody (COCO results, AlphaPose, "
        "PaddleDetection, MediaPipe)",
    )
    parser.add_argument("--layout", help="the joints, a name or yaml file, where the format does not say it")
    parser.add_argument("--image_size", type=parse_size, help="of the videos, such as 1920x1080, where no file says it")
    parser.add_argument("--classes", help="classInd.txt; default: the one of the tree, else the names of the folders")
    parser.add_argument(
        "--val_ratio", type=float, default=0.3, help="share of the groups for val, where no folder says"
    )
    parser.add_argument("--folds", type=int, help="divide the training split into so many folds, of whole groups")
    parser.add_argument("--fold_split", help="the split to divide; default: train, or the first one called so")
    parser.add_argument("--seed", type=int, default=0, help="which groups")
    parser.add_argument("--workers", type=int, default=0, help="processes, 0: one per core")
    args = parser.parse_args(argv)
    if not 0 < args.val_ratio < 1 or args.workers < 0 or args.seed < 0:
        parser.error("--val_ratio takes a share between 0 and 1, --workers and --seed take 0 or more")
    if args.folds is not None and args.folds < 2 or args.fold_split and not args.folds:
        parser.error("--folds takes 2 or more, --fold_split goes with --folds")
    if args.seed and not args.folds and args.format not in CUSTOM:
        parser.error(f"--seed is for {', '.join(CUSTOM)} and with --folds, not for {args.format}")
    for flag, formats in FORMATS_OF.items():
        if getattr(args, flag) != parser.get_default(flag) and args.format not in formats:
            parser.error(f"--{flag} is for {', '.join(formats)}, not for {args.format}")
    if os.path.realpath(args.out) == os.path.realpath(args.raw):
        parser.error(f"--out {args.out} is what is read, and what is left out of it would be lost; choose another name")
    args.persons, args.num_persons = args.persons
    return args


def parse_persons(text: str) -> tuple[str | None, int]:
    """Read who is who, a key of `PERSONS` or None, and how many persons are kept, from a command line."""
    words = [word.strip() for word in text.split(",")]
    methods = [word for word in words if word in PERSONS]
    numbers = [int(word) for word in words if word.isascii() and word.isdecimal() and int(word) > 0]
    if len(methods) > 1 or len(numbers) > 1 or len(methods) + len(numbers) != len(words):
        raise argparse.ArgumentTypeError(
            f"expected {' or '.join(PERSONS)}, a number from 1, or both, such as matched,3; got '{text}'"
        )
    return (methods or [None])[0], (numbers or [MAX_PERSONS])[0]


def parse_numbers(text: str) -> tuple[int, ...]:
    """Read numbers with commas between them from a command line."""
    if not all(word.strip().isdecimal() for word in text.split(",")):
        raise argparse.ArgumentTypeError(f"expected whole numbers with commas between them, got '{text}'")
    return tuple(int(word) for word in text.split(","))


def main(argv: list[str] | None = None) -> int:
    """Read all samples, write the pkl and a report."""
    args = parse_flags(argv)
    raw_set = FORMATS[args.format].find_samples(args)
    if args.videos:
        raw_set.samples = find_videos(raw_set.samples, args.videos)
    with only_maker(args.out, "--out"):
        return write_skeletons(raw_set, args)


def write_skeletons(raw_set: RawSet, args) -> int:
    """Read all samples that `find_samples` found, write the pkl and a report; return the exit status."""
    num_joints = get_layout(raw_set.layout).num_joints if raw_set.layout else None
    annotations, failed, notes = raw_set.annotations, raw_set.failed, []
    if annotations is None:
        annotations, failed, notes = read_all(raw_set.samples, args)
    annotations, others = leave_others_out(annotations, raw_set, num_joints)
    failed = {**failed, **others}
    stem = os.path.splitext(args.out)[0]
    skipped = {**raw_set.skipped, **{name: reason for name, (_, reason) in failed.items()}}
    write_failures(skipped, f"{stem}_skipped.csv")
    if not annotations:
        reason = next(iter(skipped.values()), "it holds none")
        raise ValueError(
            f"no good sample in '{args.raw}'; '{stem}_skipped.csv' says what is wrong with each, the first: {reason}"
        )
    check_labels(annotations, raw_set)
    content = assemble(annotations, raw_set)
    notes_of_folds = add_folds(content, args.folds, args.fold_split, args.seed) if args.folds else []
    dump_pickle(content, args.out)
    shutil.rmtree(name_parts_folder(args.out), ignore_errors=True)
    lines = [*describe(content, raw_set, failed, args), *describe_notes(notes), *notes_of_folds]
    with write_atomically(f"{stem}_report.txt", "w") as file:
        file.writelines(line + "\n" for line in lines)
    print("\n".join(lines))
    return 0


def name_parts_folder(out: str) -> str:
    """Name the folder for what has been read until the pkl is written."""
    return f"{out}.parts"


def read_all(samples: list[RawSample], args) -> tuple[list[dict], dict[str, tuple[str, str]], list[dict]]:
    """Read all samples, several batches at a time, except those that an earlier run has read.

    Returns:
        the annotations in the order of `samples`, (kind, reason) of each sample that has none, by name, and the `NOTES`
        of those that have some.
    """
    folder = name_parts_folder(args.out)
    make_folder(folder)
    batches = {batch.part: batch for batch in make_batches(samples, folder, args, BATCH_BYTES)}
    read = functools.partial(read_batch, args=args)
    sizes = {part: len(batch.samples) for part, batch in batches.items()}
    outcomes = run_jobs(read, batches, args.workers, "skeleton2pkl", unit="sample", sizes=sizes)
    singles = {}  # of a batch that killed its process each sample by itself, so that only one is lost
    for part in outcomes.failed:
        for batch in make_batches(batches[part].samples, folder, args, 0):
            singles[batch.part] = batch
    batches = {part: batch for part, batch in batches.items() if part not in outcomes.failed}
    lost = run_jobs(read, singles, args.workers, "skeleton2pkl", unit="sample").failed if singles else {}
    annotations, notes, failed = (
        {},
        [],
        {singles[part].samples[0].name: ("damaged", reason) for part, reason in lost.items()},
    )
    for part in [*batches, *(part for part in singles if part not in lost)]:
        content = load_pickle(part)
        annotations.update((annotation["frame_dir"], annotation) for annotation in content["annotations"])
        failed.update(content["failed"])
        notes += content[NOTES]
    return [annotations[sample.name] for sample in samples if sample.name in annotations], failed, notes


def make_batches(samples: list[RawSample], folder: str, args, max_bytes: int) -> list[Batch]:
    """Divide samples into batches; a part's name changes with its files, their times and the options."""
    options = {key: value for key, value in vars(args).items() if key not in NOT_READING}
    batches, chosen, marks, size = [], [], [], 0
    for sample in samples:
        paths = (
            [sample.path, *(entry.path for entry in os.scandir(sample.path))] if os.path.isdir(sample.path) else None
        )
        states = [os.stat(path) for path in paths or [sample.path]]
        chosen.append(sample)
        marks.append((sample, sum(state.st_size for state in states), max(state.st_mtime_ns for state in states)))
        size += sample.num_bytes or sum(state.st_size for state in states)
        if size > max_bytes or sample is samples[-1]:
            key = hashlib.sha256(repr((options, marks)).encode()).hexdigest()[:32]
            batches.append(Batch(chosen, os.path.join(folder, f"{key}.pkl")))
            chosen, marks, size = [], [], 0
    return batches


def read_batch(batch: Batch, args) -> None:
    """Read the samples of a batch and store the results, unless an earlier run has done so."""
    if os.path.isfile(batch.part):
        return
    annotations, failed = [], {}
    for sample in batch.samples:
        try:
            annotations.append(FORMATS[args.format].read_sample(sample, args))
        except EmptyBodiesError as error:
            failed[sample.name] = ("empty", str(error))
        except ValueError as error:
            failed[sample.name] = ("damaged", str(error))
    notes = [annotation.pop(NOTES) for annotation in annotations if NOTES in annotation]
    dump_pickle({"annotations": annotations, "failed": failed, NOTES: notes}, batch.part)


def assemble(annotations: list[dict], raw_set: RawSet) -> dict:
    """Make the content of the pkl; splits name only samples that could be read."""
    names = {annotation["frame_dir"] for annotation in annotations}
    splits = {split: [name for name in members if name in names] for split, members in raw_set.splits.items()}
    content = {"split": splits, "annotations": annotations}
    if raw_set.class_names:
        content["class_names"] = raw_set.class_names
    if raw_set.layout:
        content["layout"] = raw_set.layout
    return content


def describe(content: dict, raw_set: RawSet, failed: dict[str, tuple[str, str]], args) -> list[str]:
    """Return the lines of the report: what was skipped and why, bodies, lengths, classes of each split."""
    annotations, stem = content["annotations"], os.path.splitext(args.out)[0]
    kinds = Counter(kind for kind, _ in failed.values())
    persons = Counter(len(annotation["keypoint"]) for annotation in annotations)
    lines = [
        f"{args.out}: {len(annotations)} samples of {len(raw_set.samples)}; {kinds['damaged']} damaged, "
        f"{kinds['empty']} without any body, {len(raw_set.skipped)} not read",
        "persons: " + ", ".join(f"{number} in {count}" for number, count in sorted(persons.items())),
        f"frames without any body: {sum(count_empty_frames(annotation) for annotation in annotations)}",
        describe_lengths([annotation["total_frames"] for annotation in annotations]),
    ]
    labels = {annotation["frame_dir"]: annotation.get("label") for annotation in annotations}
    for split, names in content["split"].items():
        official = raw_set.official_sizes.get(split, len(names))
        shortfall = (
            f" ({official - len(names)} of the official {official} are missing)" if official > len(names) else ""
        )
        balance = describe_labels([labels[name] for name in names], content.get("class_names"), labels.values())
        lines.append(f"split {split}: {len(names)} samples{shortfall}; {balance}")
        lines += [f"  {line}" for line in describe_leaks(content["split"], split)]
    for kind in ("damaged", "empty"):
        reasons = [reason for found, reason in failed.values() if found == kind]
        lines += [f"  {kind}: {reason}" for reason in reasons[:3]]
    if failed or raw_set.skipped:
        lines.append(f"all {len(failed) + len(raw_set.skipped)} are named in {stem}_skipped.csv")
    return lines


def describe_labels(labels: list[int | None], class_names: list[str] | None, all_labels: Iterable) -> str:
    """Return how many samples of a split each class has, and how many have no label."""
    known = [label for label in labels if label is not None]
    if not known:
        return "without labels"
    num_classes = max(label for label in all_labels if label is not None) + 1
    balance = describe_balance(known, class_names or [f"class {label}" for label in range(num_classes)])
    return balance if len(known) == len(labels) else f"{balance}; {len(labels) - len(known)} without a label"


def describe_notes(notes: list[dict]) -> list[str]:
    """Return a line for each thing that readers note: how often, and in how many samples."""
    counts, num_samples = Counter(), Counter(what for note in notes for what in note)
    for note in notes:
        counts.update(note)
    return [f"{what}: {count} in {num_samples[what]} samples" for what, count in counts.items()]


def count_empty_frames(annotation: dict) -> int:
    """Count the frames without any body."""
    return int((~annotation["keypoint"].any(axis=(0, 2, 3))).sum())


def describe_lengths(lengths: list[int]) -> str:
    """Return a histogram of the numbers of frames in one line."""
    counts, _ = np.histogram(lengths, [*LENGTH_BORDERS, np.inf])
    ends = [f"-{border - 1}" for border in LENGTH_BORDERS[1:]] + [" and more"]
    rows = [f"{start}{end}: {count}" for start, end, count in zip(LENGTH_BORDERS, ends, counts, strict=True) if count]
    return f"frames: {min(lengths)} to {max(lengths)}, mean {np.mean(lengths):.1f}; " + ", ".join(rows)


if __name__ == "__main__":
    run_main(main)
