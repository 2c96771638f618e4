"""Clip records or videos to lists: `train.list` and `test.list`, and with --val_ratio a `val.list` of whole groups.

    python data_list_gener.py                            data/train, data/test -> data/train.list, data/test.list
    python data_list_gener.py --val_ratio 0.2            a fifth of the training groups goes to data/val.list instead
    python data_list_gener.py --format rawframes         `frame_folder num_frames label`, for PaddleVideo, MMAction2
    python data_list_gener.py --train my_train.txt --test my_test.txt --format rawframes      checks lists of that kind
    python data_list_gener.py --train train.csv --test validate.csv --videos k400      Kinetics, from its own csv files
    python data_list_gener.py --train train.json --test validation.json --videos 20bn-something-something-v2

Every record is opened: it must be whole, its label one of the classes and not against the class in its name or folder,
each of its frames a whole picture, all of one size and as many as the frame folder holds, each packed frame as its
checksum says; every picture and every video is decoded once. What is bad, by the rules by which training and test would
refuse it, is left out of the list and named with the reason in failed.csv beside train.list; the others are listed.
Exit status: 0 unless a list would be empty. Of the test set the classes need not be known, as in competitions.

With --videos the lists name videos or frame folders below that folder, in any form that `dataset/annotations.py`
knows, and --labels says which class has which number: a text of one name a line (splits/ has those of Kinetics-400 and
of Something-Something) or Something-Something V2's labels.json. Without it, class names are numbered as sorted.
"""

import contextlib
import functools
import glob
import itertools
import os
from collections import defaultdict

from common.command_line import CommandLine, run_main
from common.messages import wrap
from common.output_lock import only_writer
from common.processes import run_jobs, write_failures
from common.text_files import read_settings
from dataset import annotations
from dataset.clip_checks import LIST_FORMATS, Clip, check_entry, format_line
from dataset.folds import describe_scarce, make_folds
from dataset.names import MediaIndex, name_samples
from dataset.records import (
    ListEntry,
    check_labels,
    is_record,
    name_record,
    natural_order,
    read_list,
    show_path,
    write_list,
)
from dataset.splits import (
    RECORD_SETTINGS,
    SUBSETS,
    VIDEO_HINT,
    describe_balance,
    find_group_or_name,
    find_shared_groups,
    find_split_folder,
    hold_out_groups,
    read_custom_classes,
)


def parse_flags(argv: list[str] | None):
    """Read the command line."""
    parser = CommandLine("Check clip records and list them.")
    parser.add_argument("--root", default="data", help="the folder in which all default paths lie")
    parser.add_argument("--train", help="folder of training records, or a list to check; default <root>/train")
    parser.add_argument("--test", help="folder of test records, or a list to check; default <root>/test")
    parser.add_argument("--train_list", help="the list to write; default <root>/train.list")
    parser.add_argument("--test_list", help="the list to write; default <root>/test.list")
    parser.add_argument("--val_list", help="the list to write; default <root>/val.list")
    parser.add_argument("--val_ratio", type=float, default=0, help="share of the training groups for the val list")
    parser.add_argument("--folds", type=int, help="divide the training list into fold1_train.list, fold1_val.list, ...")
    parser.add_argument("--seed", type=int, default=0, help="which groups the val list, or each fold, gets")
    parser.add_argument("--videos", help="folder of the videos or frame folders that --train and --test name")
    parser.add_argument("--labels", help="class names, one a line, or Something-Something V2's labels.json")
    parser.add_argument(
        "--format", choices=list(LIST_FORMATS), help="what a line holds; default records, or with --videos videos"
    )
    parser.add_argument("--flow", action="store_true", help="check the optical flow too, and leave out what has none")
    parser.add_argument("--workers", type=int, default=0, help="processes, 0: one per core")
    args = parser.parse_args(argv)
    if not 0 <= args.val_ratio < 1 or args.workers < 0 or args.seed < 0:
        parser.error("--val_ratio takes a share from 0 to below 1, --workers and --seed take 0 or more")
    if args.folds is not None and (args.folds < 2 or args.val_ratio):
        parser.error("--folds takes 2 or more, and goes without --val_ratio: each fold has a val list of its own")
    if args.labels and not args.videos:
        parser.error("--labels goes with --videos; records know their classes")
    args.format = args.format or ("videos" if args.videos else "records")
    for subset in SUBSETS:
        setattr(args, subset, getattr(args, subset) or os.path.join(args.root, subset))
    for subset in (*SUBSETS, "val"):
        name = f"{subset}_list"
        setattr(args, name, getattr(args, name) or os.path.join(args.root, f"{subset}.list"))
    return args


def main(argv: list[str] | None = None) -> int:
    """Check every record, write the lists, print what is in them."""
    args = parse_flags(argv)
    lists = [getattr(args, f"{subset}_list") for subset in (*SUBSETS, "val")]
    with contextlib.ExitStack() as stack:
        for path in {os.path.realpath(os.path.dirname(path)): path for path in lists}.values():
            stack.enter_context(only_writer(os.path.dirname(path) or ".", "folder of the lists"))
        return write_lists(args)


def write_lists(args) -> int:
    """Check every record and write the lists; return the exit status."""
    entries, class_names = find_annotated(args) if args.videos else find_entries(args)
    clips = check_entries(entries, class_names, args)
    if args.val_ratio:
        named = name_clips(clips["train"])
        held_out = hold_out_groups({name: clip.label for name, clip in named}, args.val_ratio, args.seed)
        clips["val"] = [clip for name, clip in named if name in held_out]
        clips["train"] = [clip for name, clip in named if name not in held_out]
        if not clips["val"]:
            raise ValueError(f"the videos in '{args.train}' are of one group, so --val_ratio cannot hold out any")
    elif os.path.isfile(args.val_list):
        set_aside(args.val_list, clips["train"])
    for subset, chosen in clips.items():
        is_whole = subset == "test" or not args.val_ratio  # val.list is taken out of the training list
        size = len(read_record_settings(getattr(args, subset)).get("videos", [])) if is_whole else None
        write_clips(chosen, getattr(args, f"{subset}_list"), class_names, args.format, size, subset != "train")
    if args.folds:
        write_folds(clips["train"], class_names, args)
    shared = find_shared_clips(clips["train"], clips["test"])
    if shared:
        print(f"data_list_gener: WARNING: {len(shared)} groups stand in train AND test, such as {shared[0]}")
    return 0


def write_folds(clips: list[Clip], class_names: list[str] | None, args) -> None:
    """Write fold1_train.list, fold1_val.list, fold2_train.list ... beside the training list."""
    folder, named = os.path.dirname(args.train_list), name_clips(clips)
    labels = {name: clip.label for name, clip in named}
    for number, held_out in enumerate(make_folds(labels, args.folds, args.seed), 1):
        is_held_out = set(held_out)
        chosen = {
            "train": [clip for name, clip in named if name not in is_held_out],
            "val": [clip for name, clip in named if name in is_held_out],
        }
        for subset, part in chosen.items():
            path = os.path.join(folder, f"fold{number}_{subset}.list")
            write_clips(part, path, class_names, args.format, None, subset == "val")
    if scarce := describe_scarce(labels, args.folds, class_names):
        print(f"data_list_gener: WARNING: {scarce}")


def name_clips(clips: list[Clip]) -> list[tuple[str, Clip]]:
    """Name each clip as its video, with its label where videos of other classes have that name too."""
    labels = defaultdict(set)
    for clip in clips:
        labels[clip.video].add(clip.label)
    return [(clip.video if len(labels[clip.video]) == 1 else f"{clip.label}/{clip.video}", clip) for clip in clips]


def find_shared_clips(train: list[Clip], test: list[Clip]) -> list[str]:
    """List the groups of both lists, and the videos of both that have no group.

    Two videos without a group are taken for one if their class, name and size are equal: each folder of a data set may
    have its own 001.avi.
    """
    ungrouped = [
        {
            (clip.label, clip.video, clip.num_frames, os.path.isfile(clip.path) and os.path.getsize(clip.path))
            for clip in clips
            if find_group_or_name(clip.video) == clip.video
        }
        for clips in (train, test)
    ]
    grouped = [
        [clip.video for clip in clips if find_group_or_name(clip.video) != clip.video] for clips in (train, test)
    ]
    return find_shared_groups(*grouped) + sorted(video for _, video, *_ in ungrouped[0] & ungrouped[1])


def set_aside(val_list: str, trained: list[Clip]) -> None:
    """Rename a val list that shares clips with the training list, such as one of an earlier run with --val_ratio."""
    paths = {os.path.realpath(entry.path) for entry in read_list(val_list, must_exist=False)[0]}
    if paths.isdisjoint(os.path.realpath(clip.path) for clip in trained):
        return
    names = (f"{val_list}.old{number}" for number in itertools.count(1))
    backup = next(name for name in names if not os.path.exists(name))
    os.rename(val_list, backup)
    print(f"data_list_gener: {val_list} had clips that are in the training list now, it is called {backup} now")


def find_entries(args) -> tuple[dict[str, list[ListEntry]], list[str] | None]:
    """Find the records of both subsets, and the class names, which both must number alike if both state them.

    Raises:
        FileNotFoundError: a subset has none.
        ValueError: the subsets number their classes differently.
    """
    entries, class_names = {}, {}
    for subset, path in (("train", args.train), ("test", args.test)):
        if os.path.isfile(path):
            entries[subset], class_names[subset] = read_list(path, must_exist=False)
        else:
            entries[subset], class_names[subset] = list_records(path)
        class_names[subset] = class_names[subset] or read_custom_classes(find_split_folder(args.root))
    train, test = class_names["train"] or [], class_names["test"] or []
    if train and test and train != test:
        pairs = enumerate(itertools.zip_longest(train, test))
        label, (train_name, test_name) = next((label, pair) for label, pair in pairs if pair[0] != pair[1])
        raise ValueError(
            f"label {label} is '{train_name}' in '{args.train}' but '{test_name}' in '{args.test}'; run jpg2pkl.py "
            "for both with the same class list"
        )
    return entries, train or test or None


def find_annotated(args) -> tuple[dict[str, list[ListEntry]], list[str] | None]:
    """Find the videos and frame folders below --videos that the annotations of both subsets name, as `find_entries`."""
    media, entries = MediaIndex(args.videos), {}
    samples = {
        subset: annotations.read_samples(getattr(args, subset), media.holds, needs_labels=subset != "test")
        for subset in SUBSETS
    }
    named = {sample.label for subset in SUBSETS for sample in samples[subset] if isinstance(sample.label, str)}
    class_names = annotations.read_class_names(args.labels) if args.labels else sorted(named) or None
    for subset in SUBSETS:
        path = getattr(args, subset)
        annotations.number_samples(samples[subset], class_names, path)
        entries[subset] = [make_entry(sample, media, path) for sample in samples[subset]]
        check_labels(entries[subset], path)
    return entries, class_names


def make_entry(sample: annotations.Sample, media: MediaIndex, annotation_file: str) -> ListEntry:
    """Find the video of a line; one that is not there is named, with the reason, when the entry is checked.

    Raises:
        ValueError: two videos have its name.
    """
    where = f"{annotation_file} line {sample.line}"
    try:
        path = media.find(sample.names)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error
    problem = "" if path else f"{where}: {media.explain_missing(sample.names)}; get it or remove the line"
    path = path or os.path.join(media.folder, sample.names[0])
    return ListEntry(path, sample.label, sample.num_frames, sample.line, problem=problem)


def list_records(folder: str) -> tuple[list[ListEntry], list[str] | None]:
    """List the records of a folder, and the class names that jpg2pkl.py wrote there."""
    paths = glob.glob(os.path.join(glob.escape(folder), "**", "*.pkl"), recursive=True)
    if not paths:
        raise FileNotFoundError(
            f"no records (.pkl) in '{folder}'; run avi2jpg.py, then jpg2pkl.py; without videos for them, {VIDEO_HINT}"
        )
    class_names = read_record_settings(folder).get("class_names")
    return [ListEntry(path, None, None, 0) for path in sorted(paths, key=natural_order)], class_names


def read_record_settings(folder: str) -> dict:
    """Return what jpg2pkl.py wrote beside its records: class names, videos of the split; {} for other records."""
    settings = os.path.join(folder, "settings.json")
    return read_settings(settings, RECORD_SETTINGS, are_needed=False) if os.path.isfile(settings) else {}


def check_entries(entries: dict[str, list[ListEntry]], class_names: list[str] | None, args) -> dict[str, list[Clip]]:
    """Check all records, write failed.csv and return the good ones, by subset.

    Raises:
        ValueError: a subset has no good record.
    """
    items = {f"{subset}: {show_path(entry.path)}": entry for subset in SUBSETS for entry in entries[subset]}
    num_repeated = sum(map(len, entries.values())) - len(items)
    if num_repeated:
        print(f"data_list_gener: WARNING: {num_repeated} lines repeat another line of their list, they are left out")
    tested = {entry.path for entry in entries["test"]}  # may have no labels, as those of competitions
    flags = {"line_format": args.format, "unlabelled": tested, "needs_flow": args.flow}
    check = functools.partial(check_entry, class_names=class_names, **flags)
    outcomes = run_jobs(check, items, args.workers, "data_list_gener", unit="record")
    csv_path = os.path.join(os.path.dirname(args.train_list), "failed.csv")
    write_failures(outcomes.failed, csv_path)
    if outcomes.failed:
        print(f"data_list_gener: WARNING: {len(outcomes.failed)} bad records are left out, see {csv_path}")
    for item in list(outcomes.failed)[:3]:
        print(f"  {item}: {outcomes.failed[item]}")
    clips = {subset: [] for subset in SUBSETS}
    for item in items:
        if item in outcomes.done:
            clips[item.partition(":")[0]].append(outcomes.done[item])
    for subset in SUBSETS:
        if not clips[subset]:
            raise ValueError(f"no good record is left for the {subset} list; '{csv_path}' says what is wrong with each")
    return clips


def write_clips(
    clips: list[Clip],
    path: str,
    class_names: list[str] | None,
    line_format: str,
    official_size: int | None,
    must_differ: bool,
) -> None:
    """Write a list and print how many clips each class has in it; only in training may two clips have one name.

    Raises:
        ValueError: two clips to be scored have one name.
    """
    lines = [format_line(clip, os.path.dirname(path), line_format) for clip in clips]
    if must_differ:
        refuse_equal_names(clips, path)
    if line_format == "rawframes":  # PaddleVideo and MMAction2 would read the header as a clip
        write_list(lines, path)
    else:
        write_list(lines, path, class_names, official_size)
    labels = [clip.label for clip in clips if clip.label is not None]
    if len(labels) < len(clips):
        print(f"{path}: {len(clips)} videos, {len(clips) - len(labels)} of them without a label")
        return
    class_names = class_names or [f"class {label}" for label in range(max(labels) + 1)]
    print(wrap(f"{path}: {len(clips)} videos, {describe_balance(labels, class_names)}"))
    if len(set(labels)) == 1:
        only = class_names[labels[0]]
        print(f"data_list_gener: WARNING: {path} has one class only, '{only}'; there is nothing to tell apart")


def refuse_equal_names(clips: list[Clip], path: str) -> None:
    """Refuse clips whose scores would be kept under one name.

    Raises:
        ValueError: naming both files.
    """
    stems = [os.path.splitext(os.path.basename(clip.path))[0] for clip in clips]
    places = [clip.path if is_record(clip.path) else clip.folder or clip.path for clip in clips]
    owners = {}
    for clip, name in zip(clips, name_samples(places, stems), strict=True):
        name = name_record(clip.path, clip.video, name) if is_record(clip.path) else name
        if owners.setdefault(name, clip.path) != clip.path:
            raise ValueError(
                f"{path}: '{owners[name]}' and '{clip.path}' would both be the sample '{name}', and scores are kept by "
                "name; remove one of them, or make it again under another name"
            )


if __name__ == "__main__":
    run_main(main)
