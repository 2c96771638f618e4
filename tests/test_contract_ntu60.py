"""Every option, number and metric of the plan that brings RGB + pose on NTU RGB+D 60 to 95 %; see `test_contract.py`.

Phases 1 and 2 are the config; phase 3, which the plan leaves for later, is what is laid over it.
"""

import inspect
import re

import numpy as np
import pytest
from contract import find_differing, look_up, parse, read, read_header, resolve
from paths import ROOT

import config as texts
import ensemble
from engine import metrics
from engine.optimizer import Schedule
from engine.run_settings import RunSettings
from models import MODELS, build_model
from models.pose.rgbposeconv3d import RGBPoseConv3D
from reader import draw_heatmaps
from reader.pose_transforms import find_body_box

CONFIG = "pcan_ntu60_phase12.yaml"

DIFFERENCES = {
    "config": {  # a key of the plan that is no key here, or has another value
        "val_begin": "epochs are counted from 0: the plan's first one is 0",
        "persistent_workers": "workers are new in each epoch: Paddle's persistent ones never end",
    },
    "schedule": {
        "epochs 1 to 4": "the plan's warm-up has its last step in epoch 4, ours reaches the whole rate in epoch 5",
    },
    "inputs": {
        "imgs": "rgb",
        "heatmap_imgs": "pose",
    },
}

# The plan's keys, their values, their places here.
PLAN = (
    # 1. training from scratch
    ("max_epochs", 100, "RUN.epochs"),
    ("val_begin", 1, "RUN.val_begin"),
    ("val_interval", 1, "RUN.eval_interval"),
    ("optimizer", "sgd", "OPTIMIZER.name"),
    ("lr", 0.01, "OPTIMIZER.learning_rate"),
    ("lr is for a batch of", 20, "OPTIMIZER.base_batch_size"),
    ("momentum", 0.9, "OPTIMIZER.momentum"),
    ("nesterov", False, "OPTIMIZER.nesterov"),
    ("weight_decay", 3e-4, "OPTIMIZER.weight_decay"),
    ("clip_grad", 40, "OPTIMIZER.grad_clip"),
    ("warm-up", 5, "OPTIMIZER.warmup_epochs"),
    ("start_factor", 0.1, "OPTIMIZER.warmup_ratio"),
    ("by_epoch", "epoch", "OPTIMIZER.schedule_by"),
    ("CosineAnnealingLR", "cosine", "OPTIMIZER.schedule"),
    ("eta_min", 1e-6, "OPTIMIZER.min_learning_rate"),
    ("load_from", None, "RUN.pretrain"),
    ("resume", None, "RUN.resume"),
    # 2. augmentation
    ("clip_len RGB", 8, "TRAIN.rgb_clip_len"),
    ("clip_len Pose", 32, "TRAIN.clip_len"),
    ("hw_ratio", 1.0, "TRAIN.hw_ratio"),
    ("Resize", 256, "TRAIN.short_size"),
    ("keep_ratio=False", True, "TRAIN.stretch"),
    ("RandomResizedCrop", "resized", "TRAIN.crop"),
    ("area_range", [0.4, 1.0], "TRAIN.crop_area"),
    ("second Resize", 224, "TRAIN.crop_size"),
    ("flip_ratio", 0.5, "TRAIN.flip_ratio"),
    ("ColorJitter", [0.4, 0.4, 0.4, 0.15], "TRAIN.color_jitter"),
    ("RandomErasing", 0.25, "TRAIN.erasing_ratio"),
    ("erased area", [0.02, 0.2], "TRAIN.erasing_area"),
    ("sigma", 0.7, "TRAIN.sigma"),
    ("scaling", 0.25, "TRAIN.scaling"),
    ("with_kp, not with_limb", "joints", "TRAIN.kind"),
    # 3. losses
    ("num_classes", 60, "MODEL.num_classes"),
    ("num_coarse_classes", 8, "MODEL.num_coarse_classes"),
    ("in_channels", [2048, 512], "MODEL.head_in_channels"),
    ("loss_components", ["rgb", "pose"], "MODEL.loss_components"),
    ("loss_weights", [1.0, 1.5, 0.6, 1.2], "MODEL.loss_weights"),
    ("average_clips", "prob", "RUN.average_clips"),
    # 4. ten clips
    ("test num_clips", 10, "TEST.num_clips"),
    ("test clip_len RGB", 8, "TEST.rgb_clip_len"),
    ("test clip_len Pose", 32, "TEST.clip_len"),
    ("test hw_ratio", 1.0, "TEST.hw_ratio"),
    ("test Resize", 256, "TEST.short_size"),
    ("test keep_ratio=False", True, "TEST.stretch"),
    ("no crop after it", 256, "TEST.crop_size"),
    ("test sigma", 0.7, "TEST.sigma"),
    ("test scaling", 0.25, "TEST.scaling"),
    # 6. batch
    ("batch_size", 24, "TRAIN.batch_size"),
    ("num_workers", 16, "TRAIN.num_workers"),
    ("persistent_workers", True, "TRAIN.persistent_workers"),
    ("split", "xsub_train", "TRAIN.split"),
    # 7. which epochs are kept, when it ends
    ("checkpoint interval", 5, "RUN.save_interval"),
    ("save_best, monitor", "acc/RGBPose_1:1_top1", "RUN.metric"),
    ("rule", "greater", "RUN.rule"),
    ("max_keep_ckpts", 10, "RUN.max_keep"),
    ("patience", 20, "RUN.early_stop_patience"),
    ("min_delta", 3e-4, "RUN.early_stop_min_delta"),
)
# 5. the backbone, by the names of our arguments
BACKBONE = {
    "speed_ratio": 4, "channel_ratio": 4,
    "rgb_num_stages": 4, "rgb_lateral": True, "rgb_lateral_infl": 1, "rgb_lateral_activate": [0, 0, 1, 1],
    "rgb_fusion_kernel": 7, "rgb_base_channels": 64, "rgb_conv1_kernel": [1, 7, 7], "rgb_inflate": [0, 0, 1, 1],
    "rgb_with_pool2": False,
    "pose_num_stages": 3, "pose_stage_blocks": [4, 6, 3], "pose_lateral": True, "pose_lateral_inv": True,
    "pose_lateral_infl": 16, "pose_lateral_activate": [0, 1, 1], "pose_fusion_kernel": 7, "pose_in_channels": 17,
    "pose_base_channels": 32, "pose_out_indices": [2], "pose_conv1_kernel": [1, 7, 7], "pose_conv1_stride_s": 1,
    "pose_conv1_stride_t": 1, "pose_pool1_stride_s": 1, "pose_pool1_stride_t": 1, "pose_inflate": [0, 1, 1],
    "pose_spatial_strides": [2, 2, 2], "pose_temporal_strides": [1, 1, 1], "pose_dilations": [1, 1, 1],
    "pose_with_pool2": False,
}  # fmt: skip


@pytest.fixture(scope="module")
def config():
    return resolve(CONFIG)


def as_lists(values):
    """Turn the tuples among some values into lists, as a config has them."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


def test_the_config_has_the_numbers_of_the_plan(config):
    theirs = {name: value for name, value, _ in PLAN}
    ours = as_lists({name: look_up(config, place) for name, _, place in PLAN})
    assert find_differing(theirs, ours) == set(DIFFERENCES["config"])


def test_the_config_is_that_of_pcan_on_ntu60(config):
    assert config["MODEL"]["name"] == "pcan" and config["READER"]["name"] == "rgbpose"
    assert config["VALID"]["split"] == "xsub_val" and config["READER"]["layout"] == "coco17"  # 17 key points
    model = MODELS["pcan"](60, coarse_groups=config["MODEL"]["coarse_groups"], **narrow())
    assert set(model.groups.numpy().tolist()) == set(range(8)) and len(model.groups) == 60


def narrow(**others):
    """Return the arguments of a network of both pathways that is small, and quickly made."""
    sizes = {"rgb_base_channels": 8, "pose_base_channels": 4}
    return {"rgb_stage_blocks": [1, 1, 1, 1], "pose_stage_blocks": [1, 1, 1], **sizes, **others}


def test_the_backbone_of_the_plan_is_the_default_of_rgbposeconv3d():
    defaults = {name: one.default for name, one in inspect.signature(RGBPoseConv3D).parameters.items()}
    assert find_differing(BACKBONE, as_lists(defaults)) == set()


def test_the_config_builds_that_backbone(config):
    assert find_differing(BACKBONE, as_lists(config["MODEL"])) == set()  # every key can be set in a config


@pytest.mark.parametrize("name", ["rgbposeconv3d", "pcan"])
def test_wider_pathways_build(name):
    model = build_model(name, num_classes=60, **narrow(rgb_base_channels=80, pose_base_channels=48))
    assert model.num_features == [80 * 8 * 4, 48 * 4 * 4]


def test_the_weights_belong_to_the_heads_that_the_plan_says(config):
    model = MODELS["pcan"](60, loss_weights=config["MODEL"]["loss_weights"], **narrow())
    assert model.loss_weights == {"rgb": 1.0, "pose": 1.5, "rgb_coarse": 0.6, "pose_coarse": 1.2}


def rates(config, batch_size):
    """Return the learning rate of each of 100 epochs."""
    section = {
        key: value for key, value in config["OPTIMIZER"].items() if key in inspect.signature(Schedule).parameters
    }
    schedule = Schedule(batch_size, config["RUN"]["epochs"], 10, **section)
    assert schedule.value(50, 0) == schedule.value(50, 9)  # by epoch
    return np.array([schedule.value(epoch, 0) for epoch in range(100)])


def test_the_learning_rate_is_that_of_the_plan(config):
    assert rates(config, 20).max() == pytest.approx(0.01) and rates(config, 24).max() == pytest.approx(0.012)
    warm_up = 0.1 + 0.9 * np.arange(5) / 4  # LinearLR from epoch 0 to 5, as MMEngine counts its steps
    cosine = 1e-6 + (0.01 - 1e-6) * (1 + np.cos(np.pi * np.arange(95) / 95)) / 2  # T_max 95, from epoch 5
    theirs, ours = np.concatenate([0.01 * warm_up, cosine]), rates(config, 20)
    differing = np.flatnonzero(~np.isclose(theirs, ours, rtol=1e-6, atol=0))
    assert f"epochs {differing[0]} to {differing[-1]}" in DIFFERENCES["schedule"] and len(differing) == 4
    assert ours[4] == pytest.approx(0.01 * 0.82) and ours[5] == pytest.approx(0.01)


def test_every_epoch_is_validated_and_the_best_is_chosen_as_the_plan_says(config):
    settings = RunSettings(**config["RUN"])
    settings.check()
    assert all(settings.is_validated(epoch) for epoch in range(100))
    assert settings.is_better(0.9, 0.8) and not settings.is_better(0.8, 0.9)
    stuck = [{"epoch": epoch, f"val/{settings.metric}": 0.8 + 1e-5 * epoch} for epoch in range(21)]
    assert settings.find_stop(stuck[:20]) is None and "20 validations" in settings.find_stop(stuck)
    grows = [{"epoch": epoch, f"val/{settings.metric}": 0.5 + 4e-4 * epoch} for epoch in range(100)]
    assert settings.find_stop(grows) is None


def test_the_metrics_have_the_names_of_the_plan():
    rng = np.random.default_rng(0)
    heads = {"rgb": rng.random((6, 4)), "pose": rng.random((6, 4))}
    heads |= {"rgb_coarse": rng.random((6, 2)), "pose_coarse": rng.random((6, 2))}
    figures = metrics.summarize_heads(heads, np.array([0, 1, 2, 3, 0, 1]), np.array([0, 0, 1, 1]))
    names = {"rgb", "pose", "RGBPose_1:1", "RGBPose_2:1", "RGBPose_1:2", "rgb_coarse", "pose_coarse"}
    assert {f"acc/{name}_{kind}" for name in names for kind in ("top1", "top5", "mean1")} <= set(figures)


def test_heat_maps_use_scores_and_their_box_may_leave_the_picture():
    keypoint, score = np.full((1, 1, 1, 2), 8.0), np.ones((1, 1, 1))
    strong, weak = (draw_heatmaps.make_heatmaps(keypoint, factor * score, (16, 16), 0.7).max() for factor in (1.0, 0.5))
    assert weak == pytest.approx(0.5 * strong)
    standing = np.array([[20.0, 20.0], [40.0, 100.0]])  # at the left of the picture, made as wide as it is high
    top, left, height, width = find_body_box(standing, (120, 160), hw_ratio=(1.0, 1.0))
    assert left < 0 and height == width == 100


def test_the_names_of_the_inputs_differ_as_listed():
    names = set(build_model("rgbposeconv3d", num_classes=3, **narrow()).modalities)
    assert find_differing(dict.fromkeys(("imgs", "heatmap_imgs")), dict.fromkeys(names)) == set(DIFFERENCES["inputs"])
    assert names == set(DIFFERENCES["inputs"].values())


# ---- Phase 3, the fallback, and what the plan expects: beside the config. ----


@pytest.fixture(scope="module")
def told():
    """What the header of the config, the README and the pages of docs tell, in one line."""
    pages = [
        read_header(CONFIG),
        read("README.md"),
        *(path.read_text("utf-8") for path in (ROOT / "docs").glob("*.md")),
    ]
    return " ".join(" ".join(re.sub(r"^#", "", page, flags=re.MULTILINE).split()) for page in pages)


@pytest.mark.parametrize(
    "word, place, value",
    [
        ("RUN.label_smoothing=0.1", "RUN.label_smoothing", 0.1),
        ("RUN.mixup_alpha=0.2", "RUN.mixup_alpha", 0.2),
        ("RUN.cutmix_alpha=1.0", "RUN.cutmix_alpha", 1.0),
        ("RUN.mix_ratio=0.5", "RUN.mix_ratio", 0.5),
        ("TEST.flip=True", "TEST.flip", True),
        ("MODEL.rgb_base_channels=80", "MODEL.rgb_base_channels", 80),
        ("MODEL.pose_base_channels=48", "MODEL.pose_base_channels", 48),
    ],
)
def test_what_the_plan_leaves_for_later_is_laid_over_the_config(word, place, value, config):
    assert look_up(config, place) != value and look_up(resolve(CONFIG, word), place) == value


@pytest.mark.parametrize(
    "word", ["RUN.label_smoothing=0.1", "RUN.mixup_alpha=0.2", "RUN.mix_ratio=0.5", "TEST.flip=True"]
)
def test_the_overrides_of_phase_3_are_told(word, told):
    assert word in told


def test_the_scales_of_the_test_are_views(told):
    words = re.findall(r"-o '?(TEST\.\w+=\[224, ?256, ?288\])", told)
    assert words, "no override of the test's scales is told"
    place = words[0].split("=")[0]
    assert look_up(resolve(CONFIG, words[0]), place) == [224, 256, 288]


def test_three_models_are_fused_by_the_weights_of_the_plan(told):
    assert list(ensemble.read_weights(["three_stream"], 3)) == [0.4, 0.3, 0.3]
    args = parse("python ensemble.py a_scores.pkl b_scores.pkl c_scores.pkl --weights 0.4 0.3 0.3")
    assert list(ensemble.read_weights(args["weights"], 3)) == [0.4, 0.3, 0.3]
    assert re.search(r"0\.4\D{1,4}0\.3\D{1,4}0\.3", told)


def between(low, high, unit=""):
    """Return what finds a range, `94-95` or `94 to 95`, and a unit after it."""
    return rf"(?<![\d.]){re.escape(low)} ?(?:-|–|to) ?{re.escape(high)}(?!\.?\d){unit}"


@pytest.mark.parametrize(
    "what, pattern",
    [
        ("fused so far", r"89\.19"), ("RGB so far", r"89\.00?\b"), ("pose so far", r"82\.50?\b"),
        ("goals, fused, RGB, pose", r"95 / 95 / 90"), ("PCAN in theory", between("94", "95")),
        ("epochs 10 to 20", between("88", "90")), ("epochs 30 to 40", between("90", "92")),
        ("epochs 50 to 60", between("92", "93")), ("epochs 70 to 80", between("93", "94")),
        ("gain of 100 epochs from scratch", r"\+" + between("2", "3")),
        ("gain of augmentation, mixing, ensemble", r"\+" + between("1", "2")),
        ("gain of ten clips", r"\+" + between("1", "1.5")),
        ("gain of loss weights, label smoothing", r"\+" + between("0.5", "1")),
        ("gain of the batch", r"\+" + between("0.3", "0.5")), ("all gains", r"\+" + between("7", "13")),
        ("time of an epoch", r"\b12 min"), ("time of phases 1 and 2", r"\b20 hours"),
        ("time of phase 3", between("40", "60", " hours")),
        ("GPUs", r"2 x A100 40 GB"), ("disk", r"\b50 GB"),
    ],
    ids=lambda value: value if value[0].isalpha() else "",
)  # fmt: skip
def test_what_the_plan_expects_is_told(what, pattern, told):
    assert re.search(pattern, told), f"{what}: in no header, README or page of docs"


@pytest.mark.parametrize(
    "config, figure",
    [("infogcn_ntu60_xsub.yaml", "93.0"), ("ctrgcn_ntu60_xsub.yaml", "92.4"), ("posec3d_*ntu60*", "94.1")],
)
def test_the_figures_that_the_plan_compares_with_are_told(config, figure):
    headers = [read_header(path.name) for path in (ROOT / "configs").glob(config)]
    assert [header for header in headers if re.search(rf"(?<!\d){re.escape(figure)}(?!\d)", header)]


def test_the_fallback_is_told_with_the_overrides_that_do_it(told):
    assert re.search(r"epoch 50\D.{0,60}\b89\b", told)
    header = " ".join(read_header(CONFIG).split())
    words = re.findall(r"-o '?((?:TRAIN|MODEL|RUN)\.\w+=(?:\[[^\]]*\]|[^\s']+))", header)
    changed = {word.split("=")[0] for word in words}
    assert {"TRAIN.crop_area", "MODEL.loss_weights"} <= changed  # weaker augmentation, other weights
    assert "--pretrain" in header or "RUN.pretrain" in changed  # an earlier checkpoint
    before, after = resolve(CONFIG), resolve(CONFIG, *words)
    assert {place for place, _, _ in texts.differences(before, after)} >= {"TRAIN.crop_area", "MODEL.loss_weights"}
