"""Clip records or videos to lists: `train.list` and `test.list`, and with --val_ratio a `val.list` of whole groups.

    python data_list_gener.py                            data/train, data/test -> data/train.list, data/test.list
    python data_list_gener.py --val_ratio 0.2            a fifth of the training groups goes to data/val.list instead
    python data_list_gener.py --format rawframes         `frame_folder num_frames label`, for PaddleVideo, MMAction2
    python data_list_gener.py --train my_train.txt --test my_test.txt --format rawframes      checks lists of that kind
    python data_list_gener.py --train train.csv --test validate.csv --videos k400      Kinetics, from its own csv files
    python data_list_gener.py --train train.json --test validation.json --videos 20bn-something-something-v2

Every record is opened: it must be whole, its label one of the classes, each of its frames there and not empty, as many
as the frame folder holds, each packed frame as its checksum says; every video is decoded once. What is bad is left out
of the list and named with the reason in failed.csv beside train.list; the others are listed. Exit status: 0 unless a
list would be empty.

With --videos the lists name videos or frame folders below that folder, in any form that `dataset/annotations.py`
knows, and --labels says which class has which number: a text of one name a line (splits/ has those of Kinetics-400 and
of Something-Something) or Something-Something V2's labels.json. Without it, class names are numbered as sorted.
"""

import functools
import glob
import itertools
import os
import zlib
from collections import Counter
from dataclasses import dataclass

from common.command_line import CommandLine, run_main
from common.files import read_json
from common.processes import run_jobs, write_failures
from dataset import annotations
from dataset.media import MediaIndex
from dataset.records import (
    ListEntry,
    list_frames,
    natural_order,
    read_list,
    read_record,
    relative_path,
    resolve_path,
    write_list,
)
from dataset.splits import (
    SHIPPED_SPLITS,
    SIDES,
    WAYS_ON,
    find_split_folder,
    hold_out_groups,
    read_class_index,
    shared_groups,
)
from dataset.video_file import VideoFile

MAX_CLASSES_SHOWN = 12  # more are shown as the smallest and the largest
FORMATS = {  # kinds of clips that a list of this format can hold
    "records": ("record", "packed record"),
    "rawframes": ("record", "frame folder"),
    "videos": ("video", "frame folder"),
}


@dataclass
class Clip:
    """A checked record, frame folder or video file."""

    path: str
    video: str
    label: int
    num_frames: int
    folder: str | None  # of its frames; None where they are packed or in a video file

    @property
    def kind(self) -> str:
        """What it is; a format lists some kinds."""
        if self.path.lower().endswith(".pkl"):
            return "record" if self.folder else "packed record"
        return "frame folder" if self.folder else "video"


def parse_flags(argv: list[str] | None):
    """Read the command line."""
    parser = CommandLine("Check clip records and list them.")
    parser.add_argument("--root", default="data", help="the tree that holds all default places")
    parser.add_argument("--train", help="folder of training records, or a list to check; default <root>/train")
    parser.add_argument("--test", help="folder of test records, or a list to check; default <root>/test")
    parser.add_argument("--train_list", help="the list to write; default <root>/train.list")
    parser.add_argument("--test_list", help="the list to write; default <root>/test.list")
    parser.add_argument("--val_list", help="the list to write; default <root>/val.list")
    parser.add_argument("--val_ratio", type=float, default=0, help="share of the training groups for the val list")
    parser.add_argument("--seed", type=int, default=0, help="which groups the val list gets")
    parser.add_argument("--videos", help="folder of the videos or frame folders that --train and --test name")
    parser.add_argument("--labels", help="class names, one a line, or Something-Something V2's labels.json")
    parser.add_argument(
        "--format", choices=list(FORMATS), help="what a line holds; default records, or with --videos videos"
    )
    parser.add_argument("--workers", type=int, default=0, help="processes, 0: one per core")
    args = parser.parse_args(argv)
    if not 0 <= args.val_ratio < 1 or args.workers < 0 or args.seed < 0:
        parser.error("--val_ratio takes a share from 0 to below 1, --workers and --seed take 0 or more")
    if args.labels and not args.videos:
        parser.error("--labels goes with --videos; records know their classes")
    args.format = args.format or ("videos" if args.videos else "records")
    for side in SIDES:
        setattr(args, side, getattr(args, side) or os.path.join(args.root, side))
    for side in (*SIDES, "val"):
        name = f"{side}_list"
        setattr(args, name, getattr(args, name) or os.path.join(args.root, f"{side}.list"))
    return args


def main(argv: list[str] | None = None) -> int:
    """Check every record, write the lists, say what is in them."""
    args = parse_flags(argv)
    entries, class_names = find_annotated(args) if args.videos else find_entries(args)
    clips = check_entries(entries, class_names, args)
    if args.val_ratio:
        held_out = hold_out_groups({clip.video: clip.label for clip in clips["train"]}, args.val_ratio, args.seed)
        clips["val"] = [clip for clip in clips["train"] if clip.video in held_out]
        clips["train"] = [clip for clip in clips["train"] if clip.video not in held_out]
        if not clips["val"]:
            raise ValueError(f"the videos in '{args.train}' are of one group, so --val_ratio cannot hold out any")
    elif os.path.isfile(args.val_list):
        os.remove(args.val_list)
        print(f"data_list_gener: removed {args.val_list} of an earlier run, whose videos are in the training list now")
    for side, chosen in clips.items():
        is_whole = side == "test" or not args.val_ratio  # val.list is taken out of the training list
        size = len(read_settings(getattr(args, side)).get("videos", [])) if is_whole else None
        write_clips(chosen, getattr(args, f"{side}_list"), class_names, args.format, size)
    shared = shared_groups([clip.video for clip in clips["train"]], [clip.video for clip in clips["test"]])
    if shared:
        print(f"data_list_gener: WARNING: {len(shared)} groups stand in train AND test, such as {shared[0]}")
    return 0


def find_entries(args) -> tuple[dict[str, list[ListEntry]], list[str] | None]:
    """Find the records of both sides, and the class names, which a side may leave open but not contradict.

    Raises:
        FileNotFoundError: a side has none.
        ValueError: the sides number their classes differently.
    """
    entries, class_names = {}, {}
    for side, place in (("train", args.train), ("test", args.test)):
        if os.path.isfile(place):
            entries[side], class_names[side] = read_list(place, must_exist=False)
        else:
            entries[side], class_names[side] = list_records(place)
        class_names[side] = class_names[side] or read_own_classes(args.root)
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
    """Find the videos and frame folders below --videos that the annotations of both sides name, as `find_entries`."""
    samples = {side: annotations.read_samples(getattr(args, side)) for side in SIDES}
    named = {sample.label for side in SIDES for sample in samples[side] if isinstance(sample.label, str)}
    class_names = annotations.read_class_names(args.labels) if args.labels else sorted(named) or None
    media, entries = MediaIndex(args.videos), {}
    for side in SIDES:
        annotations.number_samples(samples[side], class_names, getattr(args, side))
        entries[side] = [
            ListEntry(media.find(sample.names), sample.label, sample.num_frames, sample.line)
            for sample in samples[side]
        ]
    return entries, class_names


def list_records(place: str) -> tuple[list[ListEntry], list[str] | None]:
    """List the records of a folder, and the class names that jpg2pkl.py left there."""
    paths = glob.glob(os.path.join(glob.escape(place), "**", "*.pkl"), recursive=True)
    if not paths:
        raise FileNotFoundError(
            f"no records (.pkl) in '{place}'; run avi2jpg.py, then jpg2pkl.py; without videos for them, {WAYS_ON}"
        )
    class_names = read_settings(place).get("class_names")
    return [ListEntry(path, None, None, 0) for path in sorted(paths, key=natural_order)], class_names


def read_settings(place: str) -> dict:
    """Return what jpg2pkl.py noted beside its records: class names, videos of the split; {} for other records."""
    settings = os.path.join(place, "settings.json")
    return read_json(settings) if os.path.isfile(settings) else {}


def read_own_classes(root: str) -> list[str] | None:
    """Read the classInd.txt of the tree, if it has one; UCF-101's would be wrong for records of unknown origin."""
    folder = find_split_folder(root)
    index = os.path.join(folder, "classInd.txt")
    return read_class_index(index) if folder != SHIPPED_SPLITS and os.path.isfile(index) else None


def check_entries(entries: dict[str, list[ListEntry]], class_names: list[str] | None, args) -> dict[str, list[Clip]]:
    """Check all records, write failed.csv and give what is good, by side.

    Raises:
        ValueError: nothing good is left on a side.
    """
    items = {f"{side}: {entry.path}": entry for side in SIDES for entry in entries[side]}
    num_repeated = sum(map(len, entries.values())) - len(items)
    if num_repeated:
        print(f"data_list_gener: WARNING: {num_repeated} lines repeat another line of their list, they are left out")
    check = functools.partial(check_entry, num_classes=len(class_names or []), line_format=args.format)
    outcomes = run_jobs(check, items, args.workers, "data_list_gener", unit="record")
    csv_path = os.path.join(os.path.dirname(args.train_list), "failed.csv")
    write_failures(outcomes.failed, csv_path)
    if outcomes.failed:
        print(f"data_list_gener: WARNING: {len(outcomes.failed)} bad records are left out, see {csv_path}")
    for item in list(outcomes.failed)[:3]:
        print(f"  {item}: {outcomes.failed[item]}")
    clips = {side: [] for side in SIDES}
    for item in items:
        if item in outcomes.done:
            clips[item.partition(":")[0]].append(outcomes.done[item])
    for side in SIDES:
        if not clips[side]:
            raise ValueError(f"no good record is left for the {side} list; '{csv_path}' says what is wrong with each")
    return clips


def check_entry(entry: ListEntry, num_classes: int, line_format: str) -> Clip:
    """Check one record or frame folder.

    Args:
        num_classes: 0 where it is not known.
    Raises:
        FileNotFoundError, ValueError: what is wrong with it.
    """
    if entry.path.lower().endswith(".pkl"):
        clip = check_record(entry.path)
    elif os.path.isdir(entry.path):
        clip = check_frame_folder(entry)
    elif not os.path.exists(entry.path):
        raise FileNotFoundError(f"'{entry.path}' does not exist; get it, or do without")
    else:
        clip = check_video(entry)
    if num_classes and clip.label >= num_classes:
        raise ValueError(f"label {clip.label}, expected 0 to {num_classes - 1}; run jpg2pkl.py again")
    if entry.label is not None and entry.label != clip.label:
        raise ValueError(f"label {clip.label} in the record, but {entry.label} in the list; make both again")
    if clip.kind not in FORMATS[line_format]:
        fitting = next(name for name, kinds in FORMATS.items() if clip.kind in kinds)
        raise ValueError(f"a {clip.kind}, which --format {line_format} cannot list; use --format {fitting}")
    return clip


def check_record(path: str) -> Clip:
    """Check a record and each of its frames."""
    record = read_record(path)
    frames, folder = record["frames"], None
    if isinstance(frames[0], str):
        paths = [resolve_path(frame, os.path.dirname(path)) for frame in frames]
        check_files(paths)
        folder = os.path.dirname(paths[0])
        if len(list_frames(folder)) != len(frames):
            raise ValueError(
                f"{len(frames)} frames, but its folder holds {len(list_frames(folder))}; run jpg2pkl.py again"
            )
    for number, (frame, checksum) in enumerate(zip(frames, record.get("checksums", []), strict=False), 1):
        if zlib.crc32(frame) != checksum:
            raise ValueError(
                f"frame {number} of {len(frames)} is damaged (checksum); delete it and run jpg2pkl.py again"
            )
    return Clip(path, record["video"], record["label"], len(frames), folder)


def check_frame_folder(entry: ListEntry) -> Clip:
    """Check a line `frame_folder num_frames label`; the folder may hold more pictures than that, such as flow."""
    names = list_frames(entry.path)
    num_frames = len(names) if entry.num_frames is None else entry.num_frames
    if not 0 < num_frames <= len(names):
        raise ValueError(f"line {entry.line} says {num_frames} frames, the folder holds {len(names)}; correct it")
    check_files([os.path.join(entry.path, name) for name in names])
    return Clip(entry.path, os.path.basename(entry.path), entry.label, num_frames, entry.path)


def check_video(entry: ListEntry) -> Clip:
    """Check a line `video label`: the video is decoded from its first frame to its last."""
    video = VideoFile(entry.path)
    video.check()
    name = os.path.splitext(os.path.basename(entry.path))[0]
    return Clip(entry.path, name, entry.label, len(video), None)


def check_files(paths: list[str]) -> None:
    """Check that each file exists and is not empty."""
    for path in paths:
        if not os.path.isfile(path):
            raise FileNotFoundError(f"frame '{path}' does not exist; run avi2jpg.py, then jpg2pkl.py again")
        if os.path.getsize(path) == 0:
            raise ValueError(
                f"frame '{path}' is empty (0 bytes); delete its folder, run avi2jpg.py and jpg2pkl.py again"
            )


def format_line(clip: Clip, place: str, line_format: str) -> str:
    """Return the line of a clip for a list in the folder `place`."""
    if line_format == "records":
        return relative_path(clip.path, place)
    if clip.folder:
        return f"{relative_path(clip.folder, place)} {clip.num_frames} {clip.label}"
    return f"{relative_path(clip.path, place)} {clip.label}"


def write_clips(
    clips: list[Clip], path: str, class_names: list[str] | None, line_format: str, official_size: int | None
) -> None:
    """Write a list and print how many clips each class has in it."""
    lines = [format_line(clip, os.path.dirname(path), line_format) for clip in clips]
    if line_format == "rawframes":  # PaddleVideo and MMAction2 would read the header as a clip
        write_list(lines, path)
    else:
        write_list(lines, path, class_names, official_size)
    count = Counter(clip.label for clip in clips)
    names = class_names or [f"class {label}" for label in range(max(count) + 1)]
    sizes = sorted((count[label], name) for label, name in enumerate(names))
    print(f"{path}: {len(clips)} videos, {len(count)} of {len(names)} classes; ", end="")
    if len(sizes) <= MAX_CLASSES_SHOWN:
        print(", ".join(f"{name} {count[label]}" for label, name in enumerate(names)))
    else:
        print(f"{sizes[0][0]} ({sizes[0][1]}) to {sizes[-1][0]} ({sizes[-1][1]}) per class")
    if len(count) == 1:
        print(f"data_list_gener: WARNING: {path} has one class only, '{sizes[-1][1]}'; there is nothing to tell apart")


if __name__ == "__main__":
    run_main(main)
