"""Make the sample data: videos of an animated figure, and skeletons of the same clips, offline and in seconds.

    python tools/make_samples.py --root data/samples

A drawn person performs actions that differ only in pose and motion; each group is another body. One animation gives all
formats of a clip: an .avi file with split files as in UCF-101, an NTU RGB+D .skeleton file, and the joints in skeleton
pkl files (`coco17.pkl` in pixels, `ntu25.pkl` in metres; frame_dir is the name of the video). The points are exact, but
for `--joint_noise`, so all scores are 1. The same flags give the same bytes, whatever the number of workers.
"""

import argparse
import os
import pathlib
import shlex
import struct
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

import cv2
import numpy as np

if not __package__:  # run as a script, from any folder: the project's modules are one folder up
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from common.command_line import CommandLine
from common.files import dump_pickle, make_folder, name_unfinished, write_atomically
from common.output_lock import only_writer
from common.processes import run_jobs
from layouts import LAYOUTS
from tools.samples.figure import ACTIONS, COCO_POINTS, animate, make_body, make_timing
from tools.samples.film import draw_frames, make_clothes, make_scene

NTU25 = LAYOUTS["ntu25"]
NUM_SPLITS = 3
LIMITS = {  # flag -> (minimum, maximum); names have two digits for the group and two for the clip
    "classes": (1, len(ACTIONS)),
    "groups": (2, 99),
    "clips": (1, 99),
    "frames": (8, 10000),
    "width": (32, 4096),
    "height": (32, 4096),
    "fps": (1, 240),
    "workers": (0, 1024),
    "joint_noise": (0, 1),
    "picture_noise": (0, 255),
}
DEPTH_FOCAL, DEPTH_CENTRE = 365.5, (256, 212)  # Kinect v2's depth camera, pixels
JOINT_FORMAT = "%.7f %.7f %.7f %.4f %.4f %.4f %.4f 1 0 0 0 2\n"  # last: orientation (none), tracking state (tracked)


@dataclass(frozen=True)
class Clip:
    """Properties of a clip, which all of its formats share."""

    action: str
    label: int
    group: int
    number: int
    seed: int
    num_frames: int
    width: int
    height: int
    fps: int
    joint_noise: float = 0.0
    picture_noise: float = 0.0

    @property
    def name(self) -> str:
        """Name of the video, as in UCF-101."""
        return f"v_{self.action}_g{self.group:02d}_c{self.number:02d}"

    @property
    def skeleton_name(self) -> str:
        """Name of the skeleton file, as in NTU RGB+D: the performer is the group, actions count from 1."""
        return f"S001C001P{self.group:03d}R{self.number:03d}A{self.label + 1:03d}"


def list_clips(num_classes: int, num_groups: int, num_clips: int, **properties) -> list[Clip]:
    """List the clips of the first `num_classes` actions; a label is an index into their sorted names."""
    return [
        Clip(action, label, group, number, **properties)
        for label, action in enumerate(sorted(list(ACTIONS)[:num_classes]))
        for group in range(1, num_groups + 1)
        for number in range(1, num_clips + 1)
    ]


def film_clip(clip: Clip, root: pathlib.Path) -> tuple[np.ndarray, np.ndarray]:
    """Animate a clip and write its video and its .skeleton file.

    Random numbers depend on the group and the number of the clip, not on the action, so that body, camera, room and
    timing contain no information about the class.

    Returns:
        COCO key points (T, 17, 2) in pixels of the video and NTU joints (T, 25, 3) in metres, both float32.
    """
    cv2.setNumThreads(1)  # clips are made in parallel
    group_rng = np.random.default_rng([clip.seed, clip.group])
    body, clothes = make_body(group_rng), make_clothes(group_rng)
    rng = np.random.default_rng([clip.seed, clip.group, clip.number])
    timing, is_left_handed = make_timing(clip.num_frames, body, rng), bool(rng.integers(2))
    scene = make_scene(clip.width, clip.height, body, rng)
    points = animate(clip.action, body, timing, is_left_handed)

    noise_rng = np.random.default_rng([clip.seed, clip.group, clip.number, 1])  # the other draws stay as they are
    frames = add_noise(draw_frames(points, body, clothes, scene, rng), clip.picture_noise, noise_rng)
    write_video(frames, root / "UCF-101" / clip.action / f"{clip.name}.avi", clip)
    seen = scene.camera.view(points)
    seen = seen + clip.joint_noise * noise_rng.standard_normal(seen.shape) if clip.joint_noise else seen
    pixels = scene.camera.project(seen)
    text = format_skeleton(clip.group, seen[:, : NTU25.num_joints], pixels[:, : NTU25.num_joints])
    with write_atomically(root / "nturgb+d_skeletons" / f"{clip.skeleton_name}.skeleton", "w") as file:
        file.write(text)
    return pixels[:, COCO_POINTS].astype(np.float32), seen[:, : NTU25.num_joints].astype(np.float32)


def add_noise(frames: Iterable[np.ndarray], levels: float, rng: np.random.Generator) -> Iterable[np.ndarray]:
    """Add noise to frames, uint8, of a standard deviation of so many of the 255 levels; 0 changes and draws nothing."""
    for frame in frames:
        noise = levels * rng.standard_normal(frame.shape, np.float32) if levels else 0
        yield np.clip(frame + noise, 0, 255).astype(np.uint8)


def write_video(frames: Iterable[np.ndarray], path: pathlib.Path, clip: Clip) -> None:
    """Write frames as Motion JPEG, which compresses each frame by itself and so has no trace of the direction of time.

    Raises:
        OSError: the video could not be written completely.
    """
    unfinished = pathlib.Path(name_unfinished(path.parent, path.suffix))
    codec = cv2.VideoWriter_fourcc(*"MJPG")
    writer = cv2.VideoWriter(str(unfinished), cv2.CAP_OPENCV_MJPEG, codec, clip.fps, (clip.width, clip.height))
    for frame in frames:
        writer.write(frame)
    writer.release()
    if not _is_whole_avi(unfinished):  # OpenCV does not report a failed write
        unfinished.unlink(missing_ok=True)
        raise OSError(f"'{path}' could not be written whole; see whether its disk is full or the folder read-only")
    os.replace(unfinished, path)


def _is_whole_avi(path: pathlib.Path) -> bool:
    """Return whether the length in the header, which is written last, is that of the file."""
    if not path.is_file() or path.stat().st_size < 8:
        return False
    with open(path, "rb") as file:
        return struct.unpack("<4xI", file.read(8))[0] + 8 == path.stat().st_size


def format_skeleton(group: int, seen: np.ndarray, pixels: np.ndarray) -> str:
    """Format joints as the text of an NTU RGB+D .skeleton file with one body.

    Args:
        group: determines the id of the body.
        seen: (T, 25, 3) metres in camera axes.
        pixels: (T, 25, 2) in the video, written as those of the color camera.
    """
    depth_x = DEPTH_CENTRE[0] + DEPTH_FOCAL * seen[..., 0] / seen[..., 2]
    depth_y = DEPTH_CENTRE[1] - DEPTH_FOCAL * seen[..., 1] / seen[..., 2]
    numbers = np.concatenate([seen, depth_x[..., None], depth_y[..., None], pixels], axis=-1)
    # Body line: id, clipped edges, left hand (confidence, state), right hand (same), restricted, lean x, y, tracked.
    head = f"1\n{72057594037930000 + group} 0 1 1 1 1 0 0.0 0.0 2\n{NTU25.num_joints}\n"
    joints_format = JOINT_FORMAT * NTU25.num_joints
    return f"{len(seen)}\n" + "".join(head + joints_format % tuple(frame.ravel()) for frame in numbers)


def find_held_out_groups(num_groups: int, split: int) -> set[int]:
    """Return the test groups of split 0, 1 or 2: a quarter of all, at least one, disjoint if possible."""
    num_held_out = max(1, round(num_groups / 4))
    return {(split * num_held_out + index) % num_groups + 1 for index in range(num_held_out)}


def write_split_files(clips: list[Clip], folder: pathlib.Path) -> None:
    """Write classInd.txt, trainlist0N.txt (labels from 1) and testlist0N.txt in the format of UCF-101."""
    classes = sorted({(clip.label, clip.action) for clip in clips})
    texts = {"classInd.txt": "".join(f"{label + 1} {action}\n" for label, action in classes)}
    for split in range(NUM_SPLITS):
        train, test = split_clips(clips, split)
        texts[f"trainlist{split + 1:02d}.txt"] = "".join(
            f"{clip.action}/{clip.name}.avi {clip.label + 1}\n" for clip in train
        )
        texts[f"testlist{split + 1:02d}.txt"] = "".join(f"{clip.action}/{clip.name}.avi\n" for clip in test)
    for name, text in texts.items():
        with write_atomically(folder / name, "w") as file:
            file.write(text)


def split_clips(clips: list[Clip], split: int) -> tuple[list[Clip], list[Clip]]:
    """Split clips into training and test by group."""
    held_out = find_held_out_groups(max(clip.group for clip in clips), split)
    train = [clip for clip in clips if clip.group not in held_out]
    return train, [clip for clip in clips if clip.group in held_out]


def write_skeleton_pickles(clips: list[Clip], joints: list, root: pathlib.Path) -> None:
    """Write coco17.pkl and ntu25.pkl: splits train1, test1, ... and an annotation of one person for each clip.

    Args:
        joints: what `film_clip` returned for each clip.
    """
    names = {}
    for split in range(NUM_SPLITS):
        train, test = split_clips(clips, split)
        names[f"train{split + 1}"] = [clip.name for clip in train]
        names[f"test{split + 1}"] = [clip.name for clip in test]
    coco, ntu = [], []
    for clip, (pixels, metres) in zip(clips, joints, strict=True):
        annotation = {"frame_dir": clip.name, "label": clip.label, "total_frames": clip.num_frames}
        size, scores = (clip.height, clip.width), np.ones((1, *pixels.shape[:2]), np.float32)
        points = {"keypoint": pixels[None], "keypoint_score": scores}
        coco.append({**annotation, "img_shape": size, "original_shape": size, **points})
        ntu.append({**annotation, "keypoint": metres[None]})
    classes = {clip.label: clip.action for clip in clips}
    class_names = [classes[label] for label in sorted(classes)]
    for layout, annotations in (("coco17", coco), ("ntu25", ntu)):
        content = {"split": names, "annotations": annotations, "class_names": class_names, "layout": layout}
        dump_pickle(content, root / f"{layout}.pkl")


def make_samples(clips: list[Clip], root: pathlib.Path, workers: int) -> None:
    """Make all formats of the clips; split files and pickles are written last, so a folder that has them is complete.

    Raises:
        ValueError: the folder has videos of other classes, which this tool has not made.
        OSError: a file could not be written.
    """
    others = sorted({path.parent.name for path in root.glob("UCF-101/*/*.avi")} - set(ACTIONS))
    if others:
        raise ValueError(f"'{root}' holds videos of '{others[0]}', not made by this tool; choose another --root")
    splits = root / "ucfTrainTestlist"
    for path in [*splits.glob("*.txt"), root / "coco17.pkl", root / "ntu25.pkl"]:
        path.unlink(missing_ok=True)
    for action in {clip.action for clip in clips}:
        make_folder(root / "UCF-101" / action)
    cv2.setNumThreads(1)  # a worker forked from a process with threads of OpenCV would wait for them forever
    outcomes = run_jobs(partial(film_clip, root=root), {clip.name: clip for clip in clips}, workers, "samples")
    if outcomes.failed:
        name, reason = next(iter(outcomes.failed.items()))
        raise OSError(f"{name} and {len(outcomes.failed) - 1} more were not made: {reason}")
    write_skeleton_pickles(clips, [outcomes.done[clip.name] for clip in clips], root)
    write_split_files(clips, splits)


def parse_arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line; see `python tools/make_samples.py --help`."""
    parser = CommandLine("Make sample videos and skeletons of an animated figure.")
    parser.add_argument("--root", type=pathlib.Path, default=pathlib.Path("data/samples"), help="folder to fill")
    parser.add_argument("--seed", type=int, default=0, help="seed of bodies, cameras and timing, from 0")
    parser.add_argument("--classes", type=int, default=len(ACTIONS), help="number of actions")
    parser.add_argument("--groups", type=int, default=12, help="number of people; a quarter is held out for testing")
    parser.add_argument("--clips", type=int, default=3, help="clips of each action by each person")
    parser.add_argument("--frames", type=int, default=32, help="frames in a clip")
    parser.add_argument("--width", type=int, default=160, help="pixels")
    parser.add_argument("--height", type=int, default=120, help="pixels")
    parser.add_argument("--fps", type=int, default=25, help="frame rate in the header of the videos")
    parser.add_argument("--joint_noise", type=float, default=0.0, help="of the joints written, metres; harder data")
    parser.add_argument("--picture_noise", type=float, default=0.0, help="of the pictures, in 255 levels; harder data")
    parser.add_argument("--workers", type=int, default=0, help="processes; 0: one for each core")
    args = parser.parse_args(argv)
    for name, (minimum, maximum) in LIMITS.items():
        value = getattr(args, name)
        if not minimum <= value <= maximum:
            parser.error(f"--{name} is {value}, expected a number from {minimum} to {maximum}")
    if args.seed < 0:
        parser.error(f"--seed is {args.seed}, expected 0 or more")
    return args


def main() -> None:
    """Make the sample data; print a summary and the next command."""
    args = parse_arguments()
    start_s = time.monotonic()
    properties = {"seed": args.seed, "num_frames": args.frames, "fps": args.fps}
    properties.update(joint_noise=args.joint_noise, picture_noise=args.picture_noise)
    clips = list_clips(args.classes, args.groups, args.clips, width=args.width, height=args.height, **properties)
    with only_writer(str(args.root), "--root", own=("UCF-101/*", "nturgb+d_skeletons")):
        make_samples(clips, args.root, args.workers)
    held_out = " ".join(f"g{group:02d}" for group in sorted(find_held_out_groups(args.groups, split=0)))
    print(f"{args.root}: {len(clips)} videos with their skeletons made in {time.monotonic() - start_s:.1f} s")
    print(f"classes: {args.classes}; groups: {args.groups}, held out in split 1: {held_out}")
    files = [*args.root.glob("UCF-101/*/v_*.avi"), *args.root.glob("nturgb+d_skeletons/S*.skeleton")]
    if len(files) > 2 * len(clips):
        print(
            f"{len(files) - 2 * len(clips)} files of a run with other flags stay; to be rid of them delete the folder"
        )
    print(f"next: python avi2jpg.py --root {shlex.quote(str(args.root))}")


if __name__ == "__main__":
    main()
