"""A small good file for each reader of files that people bring, and how it is read; for `tools/damage_files.py`."""

import argparse
import io
import json
import pathlib
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import config
import layouts
from common.text_files import read_settings
from dataset import annotations, records, splits
from dataset.raw_skeletons import arrays, coco, kinetics, mediapipe, ntu_file, openpose, pyskl, ucla
from dataset.raw_skeletons.samples import RawSample
from engine import checkpoint, logger
from inference import score_files
from reader import skeleton_pkl
from tools.weights import torch_files

RNG = np.random.default_rng(0)
NUM_FRAMES, NUM_JOINTS = 4, 17
POINTS = np.round(RNG.uniform(10, 90, (NUM_FRAMES, 25, 3)), 3)


@dataclass
class FileReader:
    """A reader of one file.

    Attributes:
        file_name: of the good file, relative to a folder.
        content: of the good file, as bytes or as values that `encode` writes.
        read: reads the file of a path, as far as the project does before it uses it.
        encode: turns `content` into bytes.
        is_text: its errors can name a line.
    """

    file_name: str
    content: Any
    read: Callable[[pathlib.Path], Any]
    encode: Callable[[Any], bytes] = bytes
    is_text: bool = True


def write_json(value: Any) -> bytes:
    """Encode as json with a line for each item."""
    return json.dumps(value, indent=0, ensure_ascii=False).encode()


def write_npy(array: np.ndarray) -> bytes:
    """Encode as an npy file."""
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=False)
    return stream.getvalue()


def of_raw(module, **flags) -> Callable[[pathlib.Path], Any]:
    """Return what reads one file by a module of `dataset/raw_skeletons`."""
    args = argparse.Namespace(persons=None, num_persons=2, first_frame=None, image_size=(480, 640), **flags)
    return lambda path: module.read_sample(RawSample("a_g01", str(path), 0), args)


def read_array(path: pathlib.Path) -> None:
    """Read all samples of an array and of its labels."""
    args = argparse.Namespace(raw=str(path.with_name("train_data.npy")), classes=None, layout="ntu25")
    for sample in arrays.find_samples(args).samples:
        arrays.read_sample(sample, args)


def read_array_labels(path: pathlib.Path) -> None:
    """Read labels beside a good array."""
    path.with_name("train_data.npy").write_bytes(write_npy(ARRAY))
    read_array(path)


def read_array_data(path: pathlib.Path) -> None:
    """Read an array beside good labels."""
    path.with_name("train_label.pkl").write_bytes(pickle.dumps(ARRAY_LABELS))
    read_array(path)


def read_openpose(path: pathlib.Path) -> None:
    """Read a folder of one file a frame."""
    args = argparse.Namespace(persons=None, num_persons=2, first_frame=None, image_size=(480, 640))
    openpose.read_sample(RawSample("a_g01", str(path.parent), 0), args)


def read_pyskl(path: pathlib.Path) -> None:
    """Read PYSKL's pickle; samples that are refused by name are not an error."""
    pyskl.find_samples(argparse.Namespace(raw=str(path), classes=None, layout=None))


def read_log(path: pathlib.Path) -> None:
    """Open a run's log to go on after its second step."""
    logger.RunLog(str(path), str(path.with_name("vdl")), 2).close()


def write_ntu_lines() -> bytes:
    """Write a `.skeleton` file of one person."""
    lines = [str(NUM_FRAMES)]
    for frame in POINTS / 100:
        lines += ["1", "72057594037931101 0 1 1 1 1 0 0.000000 -0.12 2", "25"]
        lines += [f"{x:.4f} {y:.4f} {z:.4f} 250.1 180.2 960.3 540.4 0.1 0.2 0.3 0.4 2" for x, y, z in frame]
    return "\n".join([*lines, ""]).encode()


def write_mediapipe() -> bytes:
    """Write a csv of one row a frame."""
    titles = ",".join(f"{axis}{joint}" for joint in range(33) for axis in "xyzv")
    rows = np.round(RNG.uniform(0.1, 0.9, (NUM_FRAMES, 132)), 4)
    return "\n".join([titles, *(",".join(map(str, row)) for row in rows), ""]).encode()


KEYPOINT = POINTS[None, :, :NUM_JOINTS, :2].astype(np.float32)
SCORE = np.full((1, NUM_FRAMES, NUM_JOINTS), 0.9, np.float32)
ANNOTATIONS = [
    {
        "frame_dir": f"v_{number}_g0{number}",
        "label": number % 2,
        "img_shape": (480, 640),
        "original_shape": (480, 640),
        "total_frames": NUM_FRAMES,
        "keypoint": KEYPOINT,
        "keypoint_score": SCORE,
    }
    for number in range(3)
]
SKELETONS = {
    "split": {"train": [each["frame_dir"] for each in ANNOTATIONS]},
    "annotations": ANNOTATIONS,
    "class_names": ["Bow", "Wave"],
}
RECORD = {"video": "v_Bow_g01_c01", "label": 0, "frames": [b"\xff\xd8\xff\xd9"] * 3, "checksums": [1, 2, 3]}
SCORES = {
    "scores": {f"v_{number}": np.full(3, 1 / 3) for number in range(4)},
    "labels": {f"v_{number}": number % 3 for number in range(4)},
    "class_names": ["a", "b", "c"],
    "protocol": {"average_clips": "prob", "samples": "test.list"},
}
CHECKPOINT = {
    "model": {"fc.weight": np.ones((4, 2), np.float32), "fc.bias": np.zeros(2, np.float32)},
    "config": {"MODEL": {"name": "resnet"}, "RUN": {}},
    "class_names": ["a", "b"],
    "epoch": 1,
    "step": 3,
}
LOG = [{"step": step, "epoch": 0, "train/step_loss": 1.5} for step in range(1, 4)]
ARRAY = RNG.uniform(0, 1, (2, 3, NUM_FRAMES, 25, 2)).astype(np.float32)
ARRAY_LABELS = (["a", "b"], [0, 1])
PERSON = {"pose": (POINTS[0, :18, :2] / 100).ravel().tolist(), "score": [0.5] * 18}
KINETICS = {
    "data": [{"frame_index": 1, "skeleton": [PERSON]}, {"frame_index": 2, "skeleton": [PERSON]}],
    "label": "abseiling",
    "label_index": 0,
}
UCLA = {"file_name": "a_g01", "skeletons": (POINTS[:, :20] / 100).tolist(), "label": 1}
TRIPLES = POINTS[:, :NUM_JOINTS].copy()
TRIPLES[..., 2] = 0.9
COCO = [{"image_id": frame, "category_id": 1, "keypoints": TRIPLES[frame].ravel().tolist()} for frame in range(4)]
MMPOSE = [
    {"frame_id": 1 + frame, "instances": [{"keypoints": each[:, :2].tolist(), "keypoint_scores": each[:, 2].tolist()}]}
    for frame, each in enumerate(TRIPLES)
]
OPENPOSE = {"version": 1.3, "people": [{"pose_keypoints_2d": np.tile([10.0, 20.0, 0.5], 25).tolist()}]}
SOMETHING = [{"id": "78687", "template": "Holding [something]"}, {"id": "42326", "template": "Moving [something] up"}]

READERS = {
    "list": FileReader(
        "train.list",
        b'# classes: ["Bow", "Wave"]\nv_Bow_g01_c01.pkl\nv_Wave_g01_c01.pkl\nframes/v_Bow_g02 30 0\na b.avi 1\n',
        lambda path: records.read_list(path, must_exist=False),
    ),
    "annotations, Kinetics": FileReader(
        "train.csv",
        b"label,youtube_id,time_start,time_end,split\nabseiling,_4YTwq0-73Y,168,178,train\nyoga,--3ouPhoy2A,20,30,train\n",
        lambda path: annotations.read_samples(str(path)),
    ),
    "annotations, semicolons": FileReader(
        "v1.csv",
        b"100218;Something falling\n24413;Pushing something\n",
        lambda path: annotations.read_samples(str(path)),
    ),
    "annotations, json": FileReader("v2.json", SOMETHING, lambda path: annotations.read_samples(str(path)), write_json),
    "class names": FileReader(
        "labels.json",
        {"Holding something": "0", "Moving something up": "1"},
        lambda path: annotations.read_class_names(str(path)),
        write_json,
    ),
    "classInd": FileReader("classInd.txt", b"1 Bow\n2 Wave\n3 Sit down\n", splits.read_class_index),
    "settings of records": FileReader(
        "settings.json",
        {"class_names": ["Bow", "Wave"], "frames": "../jpg", "pack": False, "videos": {"v_Bow_g01_c01": 0}},
        lambda path: read_settings(path, splits.RECORD_SETTINGS),
        write_json,
    ),
    "trainlist": FileReader(
        "trainlist01.txt",
        b"Bow/v_Bow_g01_c01.avi 1\nWave/v_Wave_g01_c01.avi 2\n",
        lambda path: splits.read_split(path, ["Bow", "Wave"]),
    ),
    "record": FileReader("v_Bow_g01_c01.pkl", RECORD, records.read_record, pickle.dumps, is_text=False),
    "skeleton pkl": FileReader(
        "skeletons.pkl",
        SKELETONS,
        lambda path: skeleton_pkl.read_split(str(path), "train", layouts.get_layout("coco17"), 8.0),
        pickle.dumps,
        is_text=False,
    ),
    "PYSKL pkl": FileReader("pyskl.pkl", SKELETONS, read_pyskl, pickle.dumps, is_text=False),
    "score file": FileReader(
        "scores.pkl", SCORES, lambda path: score_files.read_scores(str(path)), pickle.dumps, is_text=False
    ),
    "checkpoint": FileReader(
        "a_model.pdparams",
        CHECKPOINT,
        lambda path: checkpoint.scoring_weights(checkpoint.load_checkpoint(str(path))),
        pickle.dumps,
        is_text=False,
    ),
    "config txt": FileReader(
        "own.txt",
        b"[MODEL]\nname = resnet\ndepth = 18\n\n[TRAIN]\nbatch_size = 8  # of a GPU\n\n[RUN]\nepochs = 3\n",
        lambda path: config.load_config(str(path)),
    ),
    "config yaml": FileReader(
        "own.yaml",
        b"MODEL:\n  name: resnet\n  depth: 18\nREADER:\n  mean: [0.5, 0.5, 0.5]\nRUN:\n  epochs: 3\n",
        lambda path: config.load_config(str(path)),
    ),
    "layout": FileReader(
        "mine.yaml",
        b"joints:\n- [neck, neck, 0, 0]\n- [left_hand, neck, 1, 0]\n- [right_hand, neck, -1, 0]\n"
        b"edges: [[0, 1], [0, 2]]\n",
        lambda path: layouts.get_layout(str(path)),
    ),
    "run log": FileReader("run.jsonl", b"".join(json.dumps(line).encode() + b"\n" for line in LOG), read_log),
    "NTU": FileReader("S001C001P001R001A001.skeleton", write_ntu_lines(), ntu_file.read_recording),
    "Kinetics-skeleton": FileReader("a_g01.json", KINETICS, of_raw(kinetics), write_json),
    "N-UCLA": FileReader("a_g01_ucla.json", UCLA, of_raw(ucla), write_json),
    "COCO": FileReader("Wave/a_g01.json", COCO, of_raw(coco), write_json),
    "MMPose": FileReader("Wave/b_g01.json", MMPOSE, of_raw(coco), write_json),
    "OpenPose": FileReader("a_g01/a_g01_000000000001_keypoints.json", OPENPOSE, read_openpose, write_json),
    "MediaPipe": FileReader("a_g01.csv", write_mediapipe(), of_raw(mediapipe)),
    "array": FileReader("train_data.npy", ARRAY, read_array_data, write_npy, is_text=False),
    "array labels": FileReader("train_label.pkl", ARRAY_LABELS, read_array_labels, pickle.dumps, is_text=False),
    **{
        f"PyTorch, {kind}": FileReader(
            name,
            (pathlib.Path(__file__).parents[2] / "tests/data" / name).read_bytes(),
            torch_files.read_torch_file,
            is_text=False,
        )
        for kind, name in (("zip", "torch_zip.pth"), ("2018", "torch_legacy.pth"), ("safetensors", "torch.safetensors"))
    },
}
