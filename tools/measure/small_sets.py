"""Small sets out of a large skeleton pkl, for experiments with recipes for small sets.

    python tools/measure/small_sets.py data/nw_ucla.pkl --splits fold1_train xview_train --sizes 100 200 400 \\
        --out data/small_nw_ucla.pkl
    python tools/measure/small_sets.py data/nw_ucla.pkl --splits fold1_train --sizes 200 --seen_by_camera \\
        --out data/small_nw_ucla_2d.pkl

The pkl gets a split for each size, such as `fold1_train_200`: the samples of each class in random order, one of each
class by turns, until there are so many. A smaller set is part of a larger one.
"""

import argparse
import pathlib
import sys

import numpy as np

if not __package__:  # run as a script, from any folder: the project's modules are two folders up
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent.parent))

from common import command_line
from common.files import dump_pickle, load_pickle

FOCAL_LENGTH, IMAGE_SIZE = 525.0, (640, 480)  # of a Kinect v1, in pixels
MIN_DEPTH = 0.1  # metres


def parse_arguments(argv: list | None = None) -> argparse.Namespace:
    """Parse the command line; see `python tools/measure/small_sets.py --help`."""
    parser = command_line.CommandLine("Draw small sets out of a skeleton pkl.")
    parser.add_argument("pkl", help="the skeleton pkl")
    parser.add_argument("--splits", nargs="+", required=True, help="splits to draw from")
    parser.add_argument("--sizes", nargs="+", type=int, required=True, help="samples of each small set")
    parser.add_argument("--seed", type=int, default=0, help="of the draw")
    parser.add_argument(
        "--seen_by_camera", action="store_true", help="key points in pixels, as a Kinect sees those in metres"
    )
    parser.add_argument("--out", required=True, help="the pkl to write")
    return parser.parse_args(argv)


def draw_small_set(labels: dict[str, int], size: int, seed: int) -> list[str]:
    """Draw samples, one of each class by turns, and each class in random order.

    Args:
        labels: class of each sample, by name.

    Raises:
        ValueError: there are fewer samples.
    """
    if not 0 < size <= len(labels):
        raise ValueError(f"--sizes: cannot draw {size} of {len(labels)} samples; give 1 to {len(labels)}")
    names = np.array(sorted(labels))
    shuffled = names[np.random.default_rng(seed).permutation(len(names))]
    turns, count = {}, {}
    for name in shuffled:
        turns[name] = count[labels[name]] = count.get(labels[name], -1) + 1
    return sorted(shuffled, key=lambda name: (turns[name], labels[name]))[:size]


def project(keypoint: np.ndarray) -> np.ndarray:
    """Return the pixels (M, T, V, 2) where a Kinect sees points in metres (M, T, V, 3); missing joints stay zero."""
    depth = keypoint[..., 2:]
    pixels = keypoint[..., :2] * [FOCAL_LENGTH, -FOCAL_LENGTH] / np.maximum(depth, MIN_DEPTH) + np.divide(IMAGE_SIZE, 2)
    return np.where(keypoint.any(axis=-1, keepdims=True), pixels, 0).astype(np.float32)


def main(argv: list | None = None) -> int:
    """Write the pkl with the small splits."""
    args = parse_arguments(argv)
    content = load_pickle(args.pkl)
    labels = {sample["frame_dir"]: sample["label"] for sample in content["annotations"]}
    for split in args.splits:
        if split not in content["split"]:
            raise ValueError(f"--splits: {args.pkl} has no split '{split}', it has {', '.join(content['split'])}")
        for size in args.sizes:
            members = {name: labels[name] for name in content["split"][split]}
            content["split"][f"{split}_{size}"] = draw_small_set(members, size, args.seed)
    if args.seen_by_camera:
        for sample in content["annotations"]:
            sample.update(keypoint=project(np.asarray(sample["keypoint"], np.float32)), img_shape=IMAGE_SIZE[::-1])
    dump_pickle(content, args.out)
    print(f"{args.out}: {', '.join(f'{split} of {len(names)}' for split, names in content['split'].items())}")
    return 0


if __name__ == "__main__":
    command_line.run_main(main)
