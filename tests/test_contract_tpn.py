"""Every command, option, number and row of TPN's page in MMAction2; see `test_contract.py`."""

import json
import re

import numpy as np
import pytest
from contract import find_differing, find_moved, look_up, parse, read, read_header, read_row, resolve
from paths import ROOT
from small_dataset import make_tree, write_config

import test
import train
from dataset import annotations
from engine import metrics
from engine.optimizer import Schedule

SCRATCH = "tpn_slowonly_r50_8x8x1_150e_kinetics_rgb"
IMAGENET = "tpn_imagenet_pretrained_slowonly_r50_8x8x1_150e_kinetics_rgb"
SOMETHING = "tpn_tsm_r50_1x1x8_150e_sthv1_rgb"

DIFFERENCES = {
    "places": {  # theirs: (ours, why)
        "tools/train.py": ("train.py", "what everybody runs stands at the top"),
        "tools/test.py": ("test.py", "what everybody runs stands at the top"),
        f"configs/recognition/tpn/{SCRATCH}.py": (
            f"configs/{SCRATCH}.yaml",
            "a config is a text of which nothing is run; there are few enough for one folder",
        ),
        "checkpoints/SOME_CHECKPOINT.pth": ("tools/torch2paddle.py", "PyTorch's files are converted first"),
    },
    "table": {
        "backbone": "what the levels come from is told, not only its ResNet",
        "ckpt": "nothing was trained: no file can be linked",
        "log": "as ckpt",
        "json": "as ckpt",
    },
}

# The columns of our table after the config, and the page's rows in them.
COLUMNS = (
    "resolution", "GPUs", "backbone", "pre-training", "ours", "MMAction2", "authors", "ours, video/s", "memory", "ckpt",
    "log", "json",
)  # fmt: skip
LINKS = {"ckpt": "ckpt", "log": "log", "json": "json"}
ROWS = {
    SCRATCH: {
        "resolution": "short side 320", "GPUs": "8x2", "backbone": "ResNet50", "pre-training": "none",
        "MMAction2": "73.58 / 91.35", "authors": "-", "memory": "6916", **LINKS,
    },
    IMAGENET: {
        "resolution": "short side 320", "GPUs": "8", "backbone": "ResNet50", "pre-training": "ImageNet",
        "MMAction2": "76.59 / 92.72", "authors": "75.49 / 92.05", "memory": "6916", **LINKS,
    },
    SOMETHING: {
        "resolution": "height 100", "GPUs": "8x6", "backbone": "ResNet50", "pre-training": "TSM",
        "MMAction2": "50.80 / 79.05", "memory": "8828", **LINKS,
    },
}  # fmt: skip


@pytest.mark.parametrize("name", ROWS)
def test_the_published_row_stands_in_the_readme(name):
    cells = dict(zip(COLUMNS, read_row(f"{name}.yaml"), strict=True))
    assert find_differing(ROWS[name], cells) == set(DIFFERENCES["table"])
    assert cells["backbone"] == ("TSM-50" if name == SOMETHING else "SlowOnly-50")
    assert {cells[link] for link in LINKS} == {"-"} and cells["ours"] == cells["ours, video/s"] == "not run"


@pytest.mark.parametrize("name", ROWS)
def test_the_published_row_stands_in_the_config(name):
    header, row = read_header(f"{name}.yaml"), ROWS[name]
    figures = [*row["MMAction2"].split(" / "), row["memory"]]
    figures += row["authors"].split(" / ") if row.get("authors", "-") != "-" else []
    figures.append({"8": "8 GPUs", "8x2": "16 GPUs", "8x6": "48 GPUs"}[row["GPUs"]])
    assert [one for one in figures if one not in header] == []
    assert "Temporal Pyramid Network for Action Recognition, CVPR 2020" in header
    assert all(author in header for author in ("Yang", "Xu", "Shi", "Dai", "Zhou"))


# What the names of the configs say.
NAMED = {
    SCRATCH: {
        "MODEL.name": "tpn", "MODEL.backbone": "slowonly", "MODEL.depth": 50, "TRAIN.clip_len": 8,
        "TRAIN.frame_interval": 8, "TRAIN.num_segments": 1, "RUN.epochs": 150, "RUN.pretrain": None,
    },
    IMAGENET: {
        "MODEL.name": "tpn", "MODEL.backbone": "slowonly", "MODEL.depth": 50, "TRAIN.clip_len": 8,
        "TRAIN.frame_interval": 8, "TRAIN.num_segments": 1, "RUN.epochs": 150,
        "RUN.pretrain": "weights/slowonly_r50_imagenet",
    },
    SOMETHING: {
        "MODEL.name": "tpn", "MODEL.backbone": "tsm", "MODEL.depth": 50, "TRAIN.clip_len": 1, "TRAIN.frame_interval": 1,
        "TRAIN.num_segments": 8, "RUN.epochs": 150,
        "RUN.pretrain": "work_dirs/tsm_r50_1x1x8_150e_sthv1_rgb/tsm_model",
    },
}  # fmt: skip


@pytest.mark.parametrize("name", NAMED)
def test_the_config_does_what_its_name_says(name):
    config = resolve(f"{name}.yaml")
    assert find_differing(NAMED[name], {place: look_up(config, place) for place in NAMED[name]}) == set()


@pytest.mark.parametrize("name", ROWS)
def test_the_learning_rate_is_for_eight_gpus_and_follows_the_clips(name):
    config = resolve(f"{name}.yaml")
    section = config["OPTIMIZER"]
    assert section["base_batch_size"] == 8 * look_up(config, "TRAIN.batch_size")
    rates = {key: section[key] for key in ("learning_rate", "base_batch_size", "schedule", "milestones")}
    peaks = [Schedule(clips, 150, 1, **rates).peak for clips in (section["base_batch_size"], 8)]
    assert peaks[0] == section["learning_rate"] == 8 * peaks[1]


def test_the_example_of_the_scaling_rule_comes_out():
    assert Schedule(4 * 2, 1, 1, 0.01, base_batch_size=8).peak == pytest.approx(0.01)
    assert Schedule(16 * 4, 1, 1, 0.01, base_batch_size=8).peak == pytest.approx(0.08)


def test_training_is_typed_as_there():
    config = f"configs/{SCRATCH}.yaml"
    args = parse(f"python train.py {config}")
    assert args["config"] == config and args["validate"] is args["seed"] is args["deterministic"] is None
    args = parse(f"python train.py {config} --work-dir work_dirs/{SCRATCH} --validate --seed 0 --deterministic")
    assert args["save_dir"] == f"work_dirs/{SCRATCH}"
    assert args["validate"] is True and args["seed"] == 0 and args["deterministic"] is True


def test_scoring_is_typed_as_there():
    words = "--eval top_k_accuracy mean_class_accuracy --out result.json --average-clips prob"
    args = parse(f"python test.py configs/{SCRATCH}.yaml checkpoints/SOME_CHECKPOINT {words}")
    assert args["config"] == f"configs/{SCRATCH}.yaml" and args["weights"] == "checkpoints/SOME_CHECKPOINT"
    assert args["eval"] == ["top_k_accuracy", "mean_class_accuracy"]
    assert args["out"] == "result.json" and args["average_clips"] == "prob"


def test_the_places_differ_as_listed():
    assert find_moved(DIFFERENCES["places"]) == set(DIFFERENCES["places"])


def test_pytorch_files_are_converted_with_the_config():
    words = f"x.pth --source mmaction2 --config configs/{SCRATCH}.yaml --out weights/x"
    assert parse(f"python tools/torch2paddle.py {words}")["source"] == "mmaction2"
    assert all(f"{name}.yaml --out" in read("MODEL_ZOO.md") for name in ROWS)


@pytest.mark.parametrize("name", ["torch_zip.pth", "torch_legacy.pth"])
def test_a_pytorch_file_given_to_test_py_is_answered_with_the_converter(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"file of PyTorch; make a checkpoint of it with tools/convert_weights\.py"):
        test.main([str(ROOT / f"configs/{SCRATCH}.yaml"), str(ROOT / "tests/data" / name)])


def test_the_time_of_a_video_is_measured_alone_and_one_at_a_time():
    args = parse(f"python tools/benchmark.py model --config configs/{SCRATCH}.yaml --batch_size 1")
    assert args["what"] == "model" and args["batch_size"] == 1
    section = resolve(f"{SCRATCH}.yaml")["TEST"]
    assert (section["num_clips"], section["crops"], section["batch_size"]) == (10, "three", 1)


def test_the_lists_and_the_label_map_are_read(tmp_path):
    (tmp_path / "kinetics_val.txt").write_text("someone_000001_000011 300 399\n")
    sample = annotations.read_samples(str(tmp_path / "kinetics_val.txt"))[0]
    assert (sample.names[0], sample.num_frames, sample.label) == ("someone_000001_000011", 300, 399)
    names = annotations.read_class_names(str(ROOT / "splits/kinetics400.txt"))
    assert (len(names), names[0], names[399]) == (400, "abseiling", "zumba")


def test_the_size_of_the_validation_set_is_told():
    assert re.search(r"19[ ,]?796", read("README.md") + read("MODEL_ZOO.md") + read_header(f"{SCRATCH}.yaml"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where both commands have run on a few videos."""
    folder = tmp_path_factory.mktemp("tpn")
    make_tree(folder / "data")
    config = str(write_config(folder / "c.txt"))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        words = ["--work-dir", "work_dirs/x", "--validate", "--seed", "0", "--deterministic", "--epoch", "2"]
        train.main([config, *words])
        words = ["--eval", "top_k_accuracy", "mean_class_accuracy", "--out", "result.json", "--average-clips", "prob"]
        test.main([config, "work_dirs/x/resnet_model", *words])
    return folder


def test_checkpoint_log_and_json_are_written(folder):
    written = {path.name for path in (folder / "work_dirs/x").iterdir()}
    assert {"resnet_model.pdparams", "resnet_best.pdparams", "resnet_log.jsonl"} <= written
    assert (folder / "logger.log").is_file()
    rows = [json.loads(line) for line in (folder / "work_dirs/x/resnet_log.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in rows if "val/top1" in row] == [0, 1]  # validated as it goes


def test_the_figures_that_were_asked_for_are_given(folder):
    summary = json.loads((folder / "result.json").read_text(encoding="utf-8"))["summary"]
    assert {"top1", "top5", "mean_class_accuracy"} <= set(summary)
    assert summary["protocol"]["average_clips"] == "prob"
    logged = (folder / "logger.log").read_text(encoding="utf-8")
    assert re.search(r"top-1 [\d.]+%, mean class accuracy [\d.]+%", logged)  # of three classes: no top-5


def test_the_figures_are_what_their_names_say():
    scores = np.array([[0.9, 0.1, 0.0], [0.8, 0.2, 0.0], [0.7, 0.3, 0.0], [0.6, 0.4, 0.0]])
    labels = np.array([0, 0, 0, 1])
    assert [metrics.top_k_accuracy(scores, labels, k) for k in (1, 2)] == [0.75, 1.0]
    confusion = metrics.confusion_matrix(scores.argmax(axis=1), labels, 3)
    assert metrics.mean_class_accuracy(confusion) == 0.5  # all of class 0, none of class 1, there is no class 2
