"""Networks for RGB and pose in the training loop: several inputs, several answers, and prototypes that move by rule."""

import json

import numpy as np
import paddle
import pytest
from paths import ROOT
from ramp_videos import write_frames
from small_poses import CLIPS, PATHWAYS, make_annotation, write_poses
from training_processes import finish, launch

import test as scoring
import train
from engine import checkpoint, mixup, train_step
from engine.losses import CrossEntropy
from models import build_model

CONFIG = f"""
[MODEL]
name = pcan
num_classes = 4
{PATHWAYS}
coarse_groups = 0, 0, 1, 1

[READER]
name = rgbpose
filelist = poses.pkl
videos = pictures
split = all
{CLIPS}

[TRAIN]
batch_size = 4

[OPTIMIZER]
learning_rate = 0.01

[RUN]
use_gpu = False
epochs = 2
metric = acc/RGBPose_1:1_top1
mixup_alpha = 0.2
cutmix_alpha = 1.0
mix_ratio = 0.5
label_smoothing = 0.1
"""
LOSSES = {f"{name}_loss_cls" for name in ("rgb", "pose", "rgb_coarse", "pose_coarse")}
LOSSES |= {"rgb_loss_tree", "pose_loss_tree"}
LOSSES |= {f"{name}_loss_prototype" for name in ("rgb", "pose", "rgb_coarse", "pose_coarse")}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Work in a folder with two recordings of each of four classes, their pictures, and a config."""
    annotations = [make_annotation(f"v{index}", label=index % 4, num_frames=10) for index in range(8)]
    for index, annotation in enumerate(annotations):
        pictures = np.random.default_rng(index).integers(0, 256, (10, 90, 160, 3), np.uint8)
        write_frames(tmp_path / "pictures" / annotation["frame_dir"], pictures, "{:05d}.png")
    write_poses(tmp_path / "poses.pkl", annotations)
    (tmp_path / "pcan.txt").write_text(CONFIG, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def read_rows(save_dir):
    """Give the lines of epochs in a run's log."""
    lines = (save_dir / "pcan_log.jsonl").read_text(encoding="utf-8").splitlines()
    return [row for row in map(json.loads, lines) if "train/loss" in row]


def test_every_loss_and_figure_is_logged_and_the_best_epoch_is_chosen_by_one(folder, capsys):
    train.main(["pcan.txt", "--save_dir", "run"])
    rows = read_rows(folder / "run")
    assert LOSSES <= {name.removeprefix("train/") for name in rows[0]}
    assert rows[0]["train/loss"] == pytest.approx(sum(rows[0][f"train/{name}"] for name in LOSSES), rel=1e-4)
    kinds = [f"{name}_{kind}" for name in ("rgb", "pose_coarse", "RGBPose_2:1") for kind in ("top1", "top5", "mean1")]
    assert {f"val/acc/{kind}" for kind in [*kinds, "f1_mean", "body_f1_macro", "action_f1_micro"]} <= set(rows[0])
    best = checkpoint.load_checkpoint("run/pcan_best")["best"]
    assert best["metric"] == "acc/RGBPose_1:1_top1"
    assert best["value"] == max(row["val/acc/RGBPose_1:1_top1"] for row in rows) == max(row["val/top1"] for row in rows)
    out = " ".join(capsys.readouterr().out.split())
    assert "rgb 3 x 2 x 28 x 28, pose 17 x 8 x 14 x 14" in out and "mixup alpha 0.2 or cutmix alpha 1" in out
    assert "label smoothing 0.1, weights rgb 1, pose 1, rgb_coarse 1, pose_coarse 1" in out


# The plan's switches, and what the run card says of each.
SWITCHES = {
    "TRAIN.crop_area=0.4,1.0": "crop resized, area 0.4 to 1,",
    "TRAIN.color_jitter=0.4,0.4,0.4,0.15": "colour jitter 0.4, 0.4, 0.4, 0.15",
    "TRAIN.erasing_ratio=0.25": "a box of area 0.02 to 0.2 erased in 25%",
    "MODEL.loss_weights=1.0,1.5,0.6,1.2": "weights rgb 1, pose 1.5, rgb_coarse 0.6, pose_coarse 1.2",
    "RUN.label_smoothing=0.2": "label smoothing 0.2",
    "RUN.mixup_alpha=0.0": "mixing cutmix alpha 1, 50% of the batches",
    "RUN.early_stop_patience=20": "after 20 validations without a acc/RGBPose_1:1_top1 better",
    "TRAIN.batch_size=3": "3 samples an update",
    "TEST.num_clips=10": "test views 10 clips",
    "TEST.flip=True": "1 clips, mirrored too",
    "TEST.scales=28,32": "at scales 28, 32",
    "MODEL.rgb_base_channels=16": "PCAN, ",
}


@pytest.mark.parametrize("switch", SWITCHES)
def test_every_switch_of_the_plan_trains_and_shows_in_the_run_card(folder, switch, capsys):
    train.main(["pcan.txt", "--save_dir", "run", "--epoch", "1", "--overfit", "4", "-o", switch])
    assert SWITCHES[switch] in " ".join(capsys.readouterr().out.split())
    config = checkpoint.load_checkpoint("run/pcan_model")["config"]
    section, key = switch.partition("=")[0].split(".")
    written = str(config[section][key]).strip("[]").replace(" ", "")
    assert written == switch.partition("=")[2]


def test_scores_of_each_answer_are_told_and_written(folder, capsys):
    train.main(["pcan.txt", "--save_dir", "run", "--epoch", "1"])
    capsys.readouterr()
    scoring.main(["--weights", "run/pcan_model", "--out", "result.json", "--num_clips", "2", "--flip", "True"])
    figures = json.loads((folder / "result.json").read_text(encoding="utf-8"))["summary"]
    told = capsys.readouterr().out
    for name in ("rgb", "pose", "RGBPose_1:1", "RGBPose_2:1", "rgb_coarse"):
        assert 0 <= figures[f"acc/{name}_top1"] <= 1 and f"acc/{name}_top1" in told
    assert figures["acc/RGBPose_1:1_top1"] == figures["top1"]


def test_a_resumed_run_has_the_same_bits_with_prototypes_and_mixing(folder):
    words = ["pcan.txt", "-o", "RUN.metric=top1", "--save_dir"]
    train.main([*words, "whole", "--epoch", "3"])
    train.main([*words, "parts", "--epoch", "1", "-o", "OPTIMIZER.milestones=1,2"])
    train.main([*words, "parts", "--epoch", "3", "--resume", "auto"])
    whole, parts = (checkpoint.load_checkpoint(f"{name}/pcan_model")["model"] for name in ("whole", "parts"))
    assert set(whole) == set(parts) and any("prototypes.rgb_coarse.vectors" in name for name in whole)
    for name, values in whole.items():
        np.testing.assert_array_equal(values, parts[name], err_msg=name)


def test_prototypes_move_once_an_update_and_not_by_mixtures(folder):
    paddle.seed(0)
    arguments = {
        "rgb_base_channels": 8,
        "rgb_stage_blocks": [1] * 4,
        "pose_base_channels": 8,
        "pose_stage_blocks": [1] * 3,
    }
    model = build_model("pcan", num_classes=2, coarse_groups=[0, 1], **arguments)
    rng = np.random.default_rng(0)
    shapes = {"rgb": (4, 3, 2, 32, 32), "pose": (4, 17, 8, 8, 8)}
    inputs = {name: paddle.to_tensor(rng.random(shape, np.float32)) for name, shape in shapes.items()}
    labels = paddle.to_tensor([0, 1, 0, 1])
    vectors = {name: layer.vectors.clone() for name, layer in model.prototypes.items()}

    def update(**more):
        optimizer = paddle.optimizer.Momentum(0.0, parameters=model.parameters())
        one = train_step.TrainStep(model, CrossEntropy(), optimizer, lambda inputs: inputs, **more)
        one.begin_epoch()
        values = one(inputs, labels, 0.0, 0)
        return {
            name: float(np.abs((layer.vectors - vectors[name]).numpy()).max())
            for name, layer in model.prototypes.items()
        }, values

    moved, values = update(mixup=mixup.Mixup(0.2, 0.0))
    assert set(moved.values()) == {0.0} and float(values["rgb_loss_tree"]) == 0 and float(values["rgb_loss_cls"]) > 0
    moved, values = update(batch_size=2)
    assert max(moved.values()) > 0 and float(values["rgb_loss_tree"]) > 0
    assert all((layer.sums.numpy() == 0).all() for layer in model.prototypes.values())


PROGRAM = f"""
import sys
sys.path[:0] = [{str(ROOT)!r}]
from common import command_line
command_line.start_paddle()
import numpy as np
import paddle
from engine import distributed, train_step
from engine.losses import CrossEntropy
from models import build_model
distributed.connect()
paddle.seed(0)
sizes = {{"rgb_base_channels": 8, "rgb_stage_blocks": [1] * 4, "pose_base_channels": 8, "pose_stage_blocks": [1] * 3}}
model = build_model("pcan", num_classes=2, coarse_groups=[0, 1], rgb_drop_path=0.5, **sizes)
optimizer = paddle.optimizer.Momentum(0.01, parameters=model.parameters())
one = train_step.TrainStep(model, CrossEntropy(), optimizer, lambda inputs: inputs)
rng = np.random.default_rng(distributed.rank())
before = model.prototypes["rgb"].vectors.numpy()
one.begin_epoch()
for index in range(3):
    shapes = {{"rgb": (4, 3, 2, 32, 32), "pose": (4, 17, 8, 8, 8)}}
    inputs = {{name: paddle.to_tensor(rng.random(shape, np.float32)) for name, shape in shapes.items()}}
    one(inputs, paddle.to_tensor([0, 1, 0, 1]), 0.01, index, 0.5)
found = [layer.vectors.numpy() for layer in model.prototypes.values()]
everywhere = distributed.gather(found)
same = all((a == b).all() for others in everywhere for a, b in zip(found, others))
moved = (found[0] != before).any()
print("processes", len(everywhere), "same", bool(same), "moved", bool(moved), flush=True)
"""


@pytest.mark.long
def test_prototypes_are_equal_in_two_processes(folder):
    (folder / "program.py").write_text(PROGRAM, encoding="utf-8")
    assert "processes 2 same True moved True" in finish(launch(["two"], folder))
