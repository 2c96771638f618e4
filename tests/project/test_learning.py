"""Every network learns the sample data: people it has not seen, and the order of the frames.

The data are six actions, two of their own and two pairs of which one is the other, played backward: who does not see
the order gets 4 of 6 right. A network is that of the sample config, else the small one of `tools/gpu_check.py`.
"""

import copy
import csv
import json

import pytest
import yaml
from paths import ROOT

import test
import train
from config import load_config
from models import MODELS
from tools.gpu_check import SMALL

pytestmark = [pytest.mark.long, pytest.mark.filterwarnings("ignore:When training, we now always track")]
MIN_TOP1 = 0.9
PAIRS = (("SitDown", "StandUp"), ("WalkForward", "WalkBackward"))  # one is the other, played backward
MAKE_SAMPLES = ["tools/make_samples.py", "--classes", 6, "--width", 64, "--height", 48]

CLIPS = {
    "READER.short_size": 48, "READER.crop_size": 40, "TRAIN.batch_size": 8, "OPTIMIZER.learning_rate": 2e-3,
    "RUN.epochs": 14,
}  # fmt: skip
SHIFTED = {**CLIPS, "OPTIMIZER.learning_rate": 1e-3, "RUN.epochs": 20}  # as many updates as the sample configs
SKELETONS = {"READER.clip_len": 16, "OPTIMIZER.learning_rate": 4e-3, "RUN.epochs": 5}
KEY_POINTS = {"READER.filelist": "coco17.pkl", "READER.layout": "coco17", "READER.normalization": "pyskl_2d"}
HEATMAPS = {
    "READER.clip_len": 8, "READER.short_size": 24, "READER.crop_size": 20, "READER.sigma": 1.0, "TRAIN.flip_ratio": 0.0,
    "OPTIMIZER.learning_rate": 3e-3, "RUN.epochs": 20,
}  # fmt: skip
RGB_AND_POSE = {"MODEL.num_classes": 6, "READER.short_size": 48, "READER.crop_size": 40, "RUN.epochs": 12}
NO_DROPOUT = {"MODEL.dropout_ratio": 0.0}
PCAN = {**RGB_AND_POSE, "MODEL.coarse_groups": [0, 1, 1, 2, 2, 0], "RUN.epochs": 3}  # Clap and Wave, and each pair

NETWORKS = {  # what begins with the name of the network: the sample config, and what differs from it
    "resnet": ["quickstart", CLIPS],
    "r2plus1d": ["quickstart", CLIPS],
    "preresnet": ["quickstart", CLIPS],
    "wideresnet": ["quickstart", CLIPS],
    "resnext": ["quickstart", CLIPS],
    "densenet": ["quickstart", {**CLIPS, "MODEL.no_max_pool": True}],
    "slowonly": ["quickstart", {**CLIPS, **NO_DROPOUT}],
    "slowfast": ["quickstart", {**CLIPS, **NO_DROPOUT}],
    "i3d": ["quickstart", {**CLIPS, **NO_DROPOUT}],
    "mmaction2_r2plus1d": ["quickstart", {**CLIPS, **NO_DROPOUT}],
    "tsm": ["tsm_samples", SHIFTED],
    "pptsm": ["tsm_samples", {**SHIFTED, **NO_DROPOUT}],
    "tpn": ["tpn_samples", SHIFTED],
    "tpn over tsm": ["tpn_samples", {**SHIFTED, "MODEL.backbone": "tsm"}],
    "pbgcn": ["pbgcn_samples", SKELETONS],
    "infogcn": ["skeleton_samples", {**SKELETONS, "RUN.epochs": 8}],  # its noise makes it slower
    "ctrgcn": ["skeleton_samples", SKELETONS],
    "ctrgcn of key points": ["skeleton_samples", {**SKELETONS, **KEY_POINTS}],
    "msg3d": ["skeleton_samples", SKELETONS],
    "stgcn": ["skeleton_samples", SKELETONS],
    "stgcnpp": ["skeleton_samples", SKELETONS],
    "dgstgcn": ["skeleton_samples", SKELETONS],
    "protogcn": ["skeleton_samples", SKELETONS],
    "hdgcn": ["skeleton_samples", SKELETONS],
    "skateformer": [
        "skeleton_samples",
        {
            **SKELETONS, "READER.name": "timed_skeletons", "READER.layout": "ntu25_skateformer",
            "READER.sampling": "crop_uniform", "MODEL.partition_sizes": None,
        },
    ],
    "ddnet": ["skeleton_samples", SKELETONS],
    "agcn": ["skeleton_samples", SKELETONS],
    "degcn": ["skeleton_samples", SKELETONS],
    "paddlevideo_agcn": ["skeleton_samples", SKELETONS],
    "posec3d": ["posec3d_samples", HEATMAPS],
    "c3d": ["posec3d_samples", {**HEATMAPS, **NO_DROPOUT}],
    "x3d": [
        "posec3d_samples",
        {
            **HEATMAPS, **NO_DROPOUT, "MODEL.base_channels": 16, "OPTIMIZER.learning_rate": 6e-3, "RUN.epochs": 32,
        },
    ],
}  # fmt: skip


@pytest.fixture(scope="module")
def sample_data(run_script, tmp_path_factory):
    """Make the sample data, with frames, records and lists."""
    root = tmp_path_factory.mktemp("samples")
    for script, *flags in (MAKE_SAMPLES, ["avi2jpg.py"], ["jpg2pkl.py"], ["data_list_gener.py"]):
        assert run_script(script, *flags, "--root", root).returncode == 0
    return root


def write_config(path, name, sample_config, changes):
    """Write the sample config for a network; one that it does not name is a small one of its kind."""
    config = load_config(ROOT / "configs" / f"{sample_config}.txt")
    if config["MODEL"].get("name") != name:
        config["MODEL"] = {"name": name, **copy.deepcopy(SMALL[name])}
        config["MODEL"].pop("num_persons", None)  # READER has it
    for key, value in changes.items():
        section, key = key.split(".")
        config[section][key] = value
    config["READER"]["num_workers"] = 0
    path.write_text(yaml.safe_dump(config), encoding="utf-8")


def learn(folder, root, name, sample_config, changes, *words):
    """Train and score in `folder`; return the last epoch's figures on held-out people, and the share right by class."""
    folder.mkdir()
    write_config(folder / "config.yaml", name, sample_config, changes)
    words = ["--root", str(root), "--save_dir", str(folder), "--validate", "False", *words]
    train.main([str(folder / "config.yaml"), *words])
    test.main(["--weights", str(next(folder.glob("*_model.pdparams"))), "--report", "False"])
    with open(next(folder.glob("*_classes.csv")), encoding="utf-8-sig", newline="") as file:
        right = {row["class"]: float(row["accuracy"]) for row in csv.DictReader(file)}
    lines = next(folder.glob("*_test.jsonl")).read_text(encoding="utf-8").splitlines()
    (figures,) = (json.loads(line) for line in lines if "test/top1" in line)
    return figures, right


@pytest.mark.parametrize("name", list(NETWORKS))
def test_a_network_learns_and_tells_order(sample_data, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    figures, right = learn(tmp_path / "run", sample_data, name.split()[0], *NETWORKS[name])
    assert figures["test/top1"] >= MIN_TOP1
    for one, other in PAIRS:
        assert right[one] + right[other] >= 1.5


def test_tsm_tells_order_by_its_shift_alone(sample_data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sample_config, changes = NETWORKS["tsm"]
    still = {**changes, "MODEL.shift": None}
    figures, right = learn(tmp_path / "still", sample_data, "tsm", sample_config, still)
    for one, other in PAIRS:  # it sees the same frames in both, so what it gains on one it loses on the other
        assert 0.7 <= right[one] + right[other] <= 1.3
    assert figures["test/top1"] < MIN_TOP1 - 0.1


def test_rgb_and_pose_are_learnt_together_and_pcan_goes_on_from_there(sample_data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    start = ["--pretrain", str(tmp_path / "rgbposeconv3d" / "rgbposeconv3d_model")]
    for name, changes, words in (("rgbposeconv3d", RGB_AND_POSE, []), ("pcan", PCAN, start)):
        figures, right = learn(tmp_path / name, sample_data, name, f"{name}_samples", changes, *words)
        alone = [figures[f"test/acc/{one}_top1"] for one in ("rgb", "pose")]
        assert figures["test/top1"] == figures["test/acc/RGBPose_1:1_top1"] >= max(MIN_TOP1, *alone)
        for one, other in PAIRS:
            assert right[one] + right[other] >= 1.5


def test_every_network_is_learnt():
    assert {*(name.split()[0] for name in NETWORKS), "rgbposeconv3d", "pcan"} == set(MODELS)
