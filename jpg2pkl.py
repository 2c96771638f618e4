"""Frame folders to clip records: one pkl per video in the training and the test folder.

    python jpg2pkl.py                                data/UCF-101_jpg -> data/train, data/test by official split 1
    python jpg2pkl.py --pack                         records that hold the JPEG bytes, each with a checksum
    python jpg2pkl.py --pack --flow                  also the optical flow that avi2jpg.py --flow has written
    python jpg2pkl.py --split_by_group               no lists: whole groups (gNN in the names) are held out for testing

Split files: `<root>/ucfTrainTestlist`, else `<root>` itself, else those of UCF-101. Labels come from classInd.txt or
from sorted class names. A list's `Class/video.avi` matches the folder `Class/video` in any case of letters. A
second run writes what is missing or changed, and removes records that another split, class list or --pack put there.
What failed, what the lists name but has no frames, and what no list names are in failed.csv in the training folder.
Exit status: 0 if there are records to go on with.
"""

import glob
import json
import os
import zlib
from dataclasses import dataclass

from common.command_line import CommandLine, run_main
from common.files import write_atomically
from common.output_lock import only_writer
from common.processes import Outcomes, run_jobs, write_failures
from common.text_files import read_settings
from dataset import flow_files, packed_flow, pictures
from dataset.records import list_frames, natural_order, relative_path, write_record
from dataset.splits import (
    RECORD_SETTINGS,
    VIDEO_HINT,
    SplitPlan,
    find_group_or_name,
    find_shared_groups,
    find_split_folder,
    make_key,
    split_by_groups,
    split_by_lists,
)


@dataclass
class Job:
    """One record to write."""

    frames: str
    record: str
    video: str
    label: int
    pack: bool
    has_flow: bool = False


def parse_flags(argv: list[str] | None):
    """Read the command line."""
    parser = CommandLine("Turn frame folders into clip records, divided into training and test.")
    parser.add_argument("--root", default="data", help="the folder in which all default paths lie")
    parser.add_argument("--frames", help="folder of <Class>/<video>/ frame folders; default <root>/UCF-101_jpg")
    parser.add_argument("--lists", help="folder of classInd.txt, trainlist01.txt, testlist01.txt")
    parser.add_argument("--split", type=int, default=1, help="number of the split files, 1 to 3 for UCF-101")
    parser.add_argument("--split_by_group", action="store_true", help="use no lists, hold out whole groups for testing")
    parser.add_argument(
        "--test_ratio", type=float, default=0.3, help="with --split_by_group: share of groups to test on"
    )
    parser.add_argument("--seed", type=int, default=0, help="with --split_by_group: which groups")
    parser.add_argument("--train", help="folder of the training records; default <root>/train")
    parser.add_argument("--test", help="folder of the test records; default <root>/test")
    parser.add_argument("--pack", action="store_true", help="store the JPEG bytes instead of their paths")
    parser.add_argument("--flow", action="store_true", help="with --pack: store the optical flow too")
    parser.add_argument("--workers", type=int, default=0, help="processes, 0: one per core")
    args = parser.parse_args(argv)
    if not 0 < args.test_ratio < 1 or args.workers < 0 or args.seed < 0:
        parser.error("--test_ratio takes a share between 0 and 1, --workers and --seed take 0 or more")
    if args.flow and not args.pack:
        parser.error("--flow goes with --pack; records of paths find the flow beside the frames")
    args.frames = args.frames or os.path.join(args.root, "UCF-101_jpg")
    args.train = args.train or os.path.join(args.root, "train")
    args.test = args.test or os.path.join(args.root, "test")
    return args


def main(argv: list[str] | None = None) -> int:
    """Write what is missing or changed, then print what was done."""
    args = parse_flags(argv)
    folders = list_frame_folders(args.frames)
    lists = args.lists or find_split_folder(args.root)
    if args.split_by_group:
        plan = split_by_groups(folders, lists, args.test_ratio, args.seed)
        alone = sorted(name for name in plan.folders if find_group_or_name(name) == name)
        warn_of(alone, "videos have no group (gNN) in their names, each counts as one group")
    else:
        plan = split_by_lists(folders, lists, args.split)
    record_folders = {"train": args.train, "test": args.test}
    with only_writer(args.train, "--train", own=("**",)), only_writer(args.test, "--test", own=("**",)):
        return write_records(args, plan, record_folders)


def write_records(args, plan: SplitPlan, record_folders: dict[str, str]) -> int:
    """Write the records of a plan that are missing or changed; return the exit status."""
    jobs = {}
    for subset, folder in record_folders.items():
        prepare_records_folder(folder, args, plan, subset)
        for name in sorted(plan.labels[subset].keys() & plan.folders.keys(), key=natural_order):
            frames, record = os.path.join(args.frames, plan.folders[name]), os.path.join(folder, name + ".pkl")
            jobs[f"{subset}/{name}"] = Job(frames, record, name, plan.labels[subset][name], args.pack, args.flow)
    outcomes = run_jobs(make_record, jobs, args.workers, "jpg2pkl", unit="record")
    report(plan, record_folders, outcomes)
    return 0 if outcomes.done else 1


def list_frame_folders(frames: str) -> dict[tuple[str, str], str]:
    """List the frame folders of a `<Class>/<video>/` tree.

    Returns:
        `Class/video` by case-folded class and video.
    Raises:
        FileNotFoundError: there are none.
        ValueError: two of them differ only in upper and lower case.
    """
    folders = {}
    for path in sorted(glob.glob(os.path.join(glob.escape(frames), "*", "*", "")), key=natural_order):
        folder = relative_path(path, frames)
        other = folders.setdefault(make_key(*folder.split("/")), folder)
        if other != folder:
            raise ValueError(
                f"'{frames}': '{other}' and '{folder}' are one name but for their case; remove one of them"
            )
    if not folders:
        raise FileNotFoundError(
            f"no <Class>/<video>/ frame folders in '{frames}'; run avi2jpg.py first; "
            f"without videos for it, {VIDEO_HINT}"
        )
    return folders


def prepare_records_folder(folder: str, args, plan: SplitPlan, subset: str) -> None:
    """Remove records that this run would not write as they are, then note in settings.json what it will write.

    Raises:
        ValueError: the folder holds records of unknown origin, or packed ones whose frames are gone.
    """
    settings = {"class_names": plan.class_names, "frames": relative_path(args.frames, folder), "pack": args.pack}
    settings |= {"flow": True} if args.flow else {}
    path = os.path.join(folder, "settings.json")
    records = glob.glob(os.path.join(glob.escape(folder), "**", "*.pkl"), recursive=True)
    if os.path.isfile(path):
        made_with = read_settings(path, RECORD_SETTINGS)
        videos = made_with.pop("videos")
        names = {relative_path(record, folder).removesuffix(".pkl"): record for record in records}
        ours = names.keys() & videos.keys()
        stale = [name for name in ours if made_with != settings or plan.labels[subset].get(name) != videos[name]]
        lost = [name for name in stale if name not in plan.folders]
        if made_with["pack"] and lost:
            raise ValueError(
                f"'{folder}' holds {len(lost)} packed records, such as '{min(lost)}', that do not belong to this run "
                "and whose frames are gone; delete them yourself or choose another folder"
            )
        for name in stale:
            os.remove(names[name])
    elif records:
        raise ValueError(
            f"'{folder}' holds {len(records)} records that this script did not make, whose class ids may be others; "
            "move them away or choose another folder"
        )
    with write_atomically(path, "w") as file:
        json.dump({**settings, "videos": plan.labels[subset]}, file, ensure_ascii=False, indent=0)


def make_record(job: Job) -> bool:
    """Write a record unless it is there and its frames have not changed since.

    The file gets the time of its newest frame, so that a later run need not open it to see whether it is current.

    Returns:
        whether it was written.
    Raises:
        ValueError: no frames, or one that is empty or no picture.
    """
    names = list_frames(job.frames)
    if not names:
        raise ValueError(f"'{job.frames}' holds no frames; delete it and run avi2jpg.py again")
    changed_ns = os.stat(job.frames).st_mtime_ns
    for name in names:
        status = os.stat(os.path.join(job.frames, name))
        changed_ns = max(changed_ns, status.st_mtime_ns)
        if status.st_size == 0:
            raise ValueError(f"frame {name} is empty (0 bytes); delete '{job.frames}' and run avi2jpg.py again")
    if os.path.isfile(job.record) and os.stat(job.record).st_mtime_ns == changed_ns:
        return False
    record = {"video": job.video, "label": job.label}
    if job.pack:
        record["frames"] = [read_picture(os.path.join(job.frames, name)) for name in names]
        record["checksums"] = [zlib.crc32(frame) for frame in record["frames"]]
        if job.has_flow:
            record |= packed_flow.pack([read_picture(path) for path in flow_files.list_paths(job.frames, len(names))])
    else:
        folder = relative_path(job.frames, os.path.dirname(job.record))
        record["frames"] = [f"{folder}/{name}" for name in names]
    write_record(record, job.record)
    os.utime(job.record, ns=(changed_ns, changed_ns))
    return True


def read_picture(path: str) -> bytes:
    """Read a JPEG or PNG file as it is."""
    with open(path, "rb") as file:
        data = file.read()
    if pictures.find_size(data) is None:
        raise ValueError(f"'{path}' is no JPEG or PNG picture; delete its folder and run avi2jpg.py again")
    return data


def report(plan: SplitPlan, record_folders: dict[str, str], outcomes: Outcomes) -> None:
    """Print a summary and write failed.csv, which names all that has no record and why."""
    failed = dict(outcomes.failed)
    for subset, folder in record_folders.items():
        done = [was_written for item, was_written in outcomes.done.items() if item.startswith(subset + "/")]
        print(f"jpg2pkl: {folder}: {len(done)} records of {len(plan.class_names)} classes, {sum(done)} written now")
        missing = [name for name in plan.labels[subset] if name not in plan.folders]
        missing = [name for name in missing if not os.path.isfile(os.path.join(folder, name + ".pkl"))]
        failed.update({f"{subset}/{name}": "the list names it, but it has no frames" for name in missing})
        warn_of(missing, f"videos of the {subset} list have no frames (see failed.csv of avi2jpg.py)")
    failed.update({folder: "its frames stand in neither list" for folder in plan.unlisted})
    warn_of(plan.unlisted, "frame folders stand in neither list, they get no record")
    warn_of(
        find_shared_groups(plan.labels["train"], plan.labels["test"]),
        "groups stand in train AND test: the test accuracy will be too good to be true",
    )
    warn_of([f"{item} ({reason})" for item, reason in outcomes.failed.items()], "videos FAILED")
    csv_path = os.path.join(record_folders["train"], "failed.csv")
    write_failures(failed, csv_path)
    if failed:
        print(f"jpg2pkl: all {len(failed)} are named in {csv_path}")


def warn_of(names: list[str], what: str) -> None:
    """Print a warning with the number of names and the first few; none without names."""
    if names:
        print(f"jpg2pkl: WARNING: {len(names)} {what}: {', '.join(names[:3])}{' ...' if len(names) > 3 else ''}")


if __name__ == "__main__":
    run_main(main)
