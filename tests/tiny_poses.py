"""A tiny skeleton pkl of COCO bodies that walk through pictures of a known size."""

import numpy as np

from common.files import dump_pickle

HEIGHT, WIDTH = 90, 160


def make_annotation(name, label=0, num_persons=1, num_frames=20, **changes):
    """Make an annotation; a body is 20 x 40 pixels and goes one pixel to the right in each frame."""
    rng = np.random.default_rng(label)
    body = rng.uniform(0, 1, (num_persons, 1, 17, 2)) * [20, 40] + [30, 20]
    body[:, :, 0], body[:, :, 16] = [30, 20], [50, 60]
    steps = np.stack([np.arange(num_frames), np.zeros(num_frames)], axis=1)[None, :, None]
    annotation = {
        "frame_dir": name,
        "label": label,
        "total_frames": num_frames,
        "img_shape": (HEIGHT, WIDTH),
        "keypoint": (body + steps).astype(np.float32),
        "keypoint_score": rng.uniform(0.5, 1, (num_persons, num_frames, 17)).astype(np.float32),
    }
    return {**annotation, **changes}


def write_poses(path, annotations):
    """Write annotations as the one split "all"; return the path."""
    names = [annotation["frame_dir"] for annotation in annotations]
    dump_pickle({"split": {"all": names}, "annotations": annotations}, path)
    return str(path)


def write_pose(root, **changes):
    """Write one annotation; return the path."""
    return write_poses(root / "poses.pkl", [make_annotation("one", **changes)])
