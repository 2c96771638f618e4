"""Every command, option, default and number of two documents on skeletons; see `test_contract.py`.

The notes on PB-GCN's runner, which loads data, model and optimizer, trains and scores; the page of MS-G3D in PYSKL.
"""

import inspect
import json
import re
import types

import numpy as np
import pytest
from contract import find_differing, find_moved, look_up, parse, read, read_header, read_row, resolve
from paths import ROOT
from small_skeletons import write_pkl

import config as texts
import ensemble
import recipe
import test
import train
import train_streams
from common import files
from engine import flags, metrics, trainer
from engine.optimizer import Schedule
from models import MODELS
from models.skeleton.pbgcn import PBGCN

DIFFERENCES = {
    "STGCResidual": {  # an argument of the network of the runner, and what it is here
        "num_actors": "num_persons, the word of all networks",
        "graph": "layout: a name or a yaml file, which cannot run code",
        "graph_args": "labeling_mode and num_parts are arguments like all others",
        "dataset": "the layout says what it said",
    },
    "runner": {  # an argument of the runner that no key of a config is
        "dataset": "lists and layouts say what it said",
        "phase": "train.py trains and validates, test.py scores",
        "loader": "READER.name",
        "train_loader_args": "the sections READER and TRAIN",
        "device": "--use_gpu, --gpus",
        "model": "MODEL.name",
        "model_args": "the section MODEL",
        "show_topk": "top-1 and top-5 always stand in the figures; --infer_topk gives another one",
        "start_epoch": "--resume knows it",
    },
    "defaults": {
        "step": "60 % and 85 % of however many epochs; the configs have the authors' own steps",
    },
    "timer": {
        "dataloader": "data",
    },
    "places": {  # theirs: (ours, why)
        "tools/dist_train.sh": ("train.py", "--gpus 8 starts the processes"),
        "tools/dist_test.sh": ("test.py", "--gpus 8 starts the processes"),
        "configs/msg3d/msg3d_pyskl_ntu60_xsub_3dkp/j.py": (
            "configs/msg3d_pyskl_ntu60_xsub_3dkp.yaml",
            "one text for all streams, of which nothing is run; READER.stream names the stream",
        ),
        "checkpoints/SOME_CHECKPOINT.pth": ("tools/torch2paddle.py", "PyTorch's files are converted first"),
    },
}

# ---- The runner of PB-GCN: argument, section, a value, its place here (None: it has none, see DIFFERENCES). ----
RUNNER = {
    "dataset": ("MODEL", "NTU", None),
    "phase": ("RUN", "train", None),
    "loader": ("READER", "NTUDataloader", None),
    "train_loader_args": ("TRAIN", {"data_path": "a", "label_path": "b"}, None),
    "device": ("RUN", [0, 1], None),
    "model": ("MODEL", "STGCResidual", None),
    "model_args": ("MODEL", {"channel": 3}, None),
    "weights": ("RUN", "before", "RUN.pretrain"),
    "ignore_weights": ("RUN", ["fc.*"], "RUN.ignore_weights"),
    "optimizer": ("OPTIMIZER", "adam", "OPTIMIZER.name"),
    "base_lr": ("OPTIMIZER", 0.25, "OPTIMIZER.learning_rate"),
    "weight_decay": ("OPTIMIZER", 0.03, "OPTIMIZER.weight_decay"),
    "step": ("OPTIMIZER", [20, 40, 60], "OPTIMIZER.milestones"),
    "show_topk": ("RUN", [1, 5], None),
    "log_interval": ("RUN", 7, "RUN.log_interval"),
    "start_epoch": ("RUN", 3, None),
    "num_epoch": ("RUN", 77, "RUN.epochs"),
    "eval_interval": ("RUN", 4, "RUN.eval_interval"),
    "save_score": ("RUN", True, "RUN.save_scores"),
    "save_path": ("RUN", "scores", "RUN.save_dir"),
}


def read_alone(section, key, value):
    """Resolve a config for PB-GCN with one key of the runner; None if the key is refused."""
    config = {name: {} for name in texts.SECTIONS}
    config["MODEL"]["name"], config["READER"] = "pbgcn", {"name": "skeletons", "filelist": "x.pkl"}
    config[section][key] = value
    texts.translate_2020(config)
    try:
        return recipe.resolve(config, "x")
    except ValueError as error:
        assert f"unknown key '{key}'" in str(error)
        return None


@pytest.mark.parametrize("key", [key for key, (_, _, place) in RUNNER.items() if place])
def test_an_argument_of_the_runner_reaches_its_place(key):
    section, value, place = RUNNER[key]
    assert look_up(read_alone(section, key, value), place) == value


def test_other_arguments_of_the_runner_do_nothing_as_listed():
    plain = read_alone("MODEL", "name", "pbgcn")
    without = {key for key, (section, value, _) in RUNNER.items() if read_alone(section, key, value) in (None, plain)}
    assert without == set(DIFFERENCES["runner"])


def test_the_defaults_of_the_runner_differ_as_listed():
    plain = read_alone("MODEL", "name", "pbgcn")
    theirs = {"weights": None, "step": [20, 40, 60]}
    assert find_differing(theirs, {key: look_up(plain, RUNNER[key][2]) for key in theirs}) == set(
        DIFFERENCES["defaults"]
    )
    assert Schedule(1, 100, 1).milestones == pytest.approx([60, 85])
    assert resolve("pbgcn_ntu60_xsub.yaml")["OPTIMIZER"]["milestones"] == [20, 50, 70]


def test_the_network_of_the_runner_has_its_arguments_and_defaults():
    theirs = {
        "num_actors": 1, "use_data_bn": False, "layers_config": None, "graph": None, "graph_args": {},
        "mask_learning": False, "use_local_bn": False, "multiscale": False, "temporal_kernel_size": 9, "dropout": 0.5,
        "dataset": "NTU",
    }  # fmt: skip
    ours = {name: parameter.default for name, parameter in inspect.signature(PBGCN).parameters.items()}
    assert find_differing(theirs, ours) == set(DIFFERENCES["STGCResidual"])
    assert ours["num_persons"] == 1 and ours["layout"] == "ntu25" and MODELS["pbgcn"] is PBGCN


@pytest.mark.parametrize(
    "key, value, place",
    [
        ("channel", 15, "MODEL.in_channels"),
        ("num_class", 60, "MODEL.num_classes"),
        ("window_size", 300, "READER.clip_len"),
        ("num_actors", 2, "MODEL.num_persons"),
        ("graph", "graph.NTUGraph", "MODEL.layout"),
        ("graph_args", {"labeling_mode": "parts"}, "MODEL.labeling_mode"),
    ],
)
def test_the_runners_names_of_those_arguments_load(key, value, place):
    found = look_up(read_alone("MODEL", key, value), place)
    assert found == {"graph": "ntu25", "graph_args": "parts"}.get(key, value)


def test_the_time_is_divided_as_there():
    theirs = {"dataloader": True, "model": True, "statistics": True}
    parts = trainer.Clock().shares()
    assert find_differing(theirs, dict.fromkeys(parts, True)) == set(DIFFERENCES["timer"])
    assert set(parts) == {"data", "model", "statistics"}


TEXT = """# The runner's names, but for its sections.
[MODEL]
name = pbgcn
channel = 3
num_class = 3
window_size = 8
num_joints = 25
num_actors = 1
dataset = NTU
graph = graph.NTUGraph
graph_args = {"labeling_mode": "parts"}
layers_config = [[4, 4, 1]]
[READER]
name = skeletons
filelist = tiny.pkl
num_workers = 0
batch_size = 6
[TRAIN]
split = train
[VALID]
split = test
[OPTIMIZER]
optimizer = sgd
base_lr = 0.05
weight_decay = 1e-4
step = [20, 40, 60]
[RUN]
phase = train
use_gpu = False
num_epoch = 2
start_epoch = 0
log_interval = 1
eval_interval = 1
show_topk = [1, 5]
save_score = True
save_path = scores
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where PB-GCN has been trained and scored by a text with the runner's names."""
    folder = tmp_path_factory.mktemp("runner")
    write_pkl(folder / "tiny.pkl")
    (folder / "c.txt").write_text(TEXT)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        train.main(["c.txt"])
        test.main(["scores/pbgcn_model", "--eval", "top_k_accuracy", "--out", "result.pkl"])
    return folder


def test_scores_and_time_shares_are_written(folder):
    written = {path.name for path in (folder / "scores").iterdir()}
    assert {"pbgcn_val_00001_scores.pkl", "pbgcn_val_00002_scores.pkl", "pbgcn_model.pdparams"} <= written
    rows = [json.loads(line) for line in (folder / "scores/pbgcn_log.jsonl").read_text().splitlines()]
    shares = [row[f"time/{part}"] for row in rows if "val/top1" in row for part in ("data", "model", "statistics")]
    assert len(shares) == 6 and sum(shares) == pytest.approx(2)
    assert {"val/top1", "val/top5"} <= set(rows[-1])  # show_topk
    log = (folder / "logger.log").read_text(encoding="utf-8")
    assert re.search(r"data \d+% model \d+% statistics \d+%", log)
    assert "keys with no meaning any more were left out: MODEL.num_joints, MODEL.dataset, RUN.phase" in log


# ---- MS-G3D's page in PYSKL. ----
CONFIG = "configs/msg3d_pyskl_ntu60_xsub_3dkp.yaml"
STREAMS = ("joint", "bone", "joint_motion", "bone_motion")
PUBLISHED = {  # by stream, then two and four streams fused
    "ntu60_xsub_3dkp": (89.6, 89.3, 87.7, 86.7, 91.0, 91.7),
    "ntu60_xsub_hrnet": (92.7, 92.8, 89.8, 90.2, 93.8, 94.1),
    "ntu60_xview_3dkp": (95.9, 95.0, 94.0, 92.4, 96.4, 96.9),
    "ntu60_xview_hrnet": (97.1, 97.1, 95.9, 95.1, 97.9, 98.3),
    "ntu120_xsub_3dkp": (84.0, 85.3, 82.2, 81.5, 86.9, 87.8),
    "ntu120_xsub_hrnet": (85.5, 85.0, 82.6, 82.9, 86.7, 87.4),
    "ntu120_xset_3dkp": (86.0, 87.3, 82.9, 83.2, 88.9, 89.6),
    "ntu120_xset_hrnet": (88.2, 88.9, 86.6, 86.5, 90.0, 90.9),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_each_set_of_key_points_has_its_config_and_its_published_row(name):
    config = f"msg3d_pyskl_{name}.yaml"
    assert read_row(config) == ["not run", *(f"{figure:.1f}" for figure in PUBLISHED[name])]
    figures = re.findall(r"\b\d\d\.\d\b", read_header(config))
    assert figures == [f"{figure:.1f}" for figure in PUBLISHED[name]]
    resolved = resolve(config)
    data, split, points = name.split("_")
    assert resolved["MODEL"]["name"] == "msg3d" and resolved["MODEL"]["num_classes"] == int(data.removeprefix("ntu"))
    assert resolved["TRAIN"]["split"] == f"{split}_train" and resolved["VALID"]["split"] == f"{split}_val"
    assert resolved["READER"]["layout"] == {"3dkp": "ntu25", "hrnet": "coco17"}[points]


@pytest.mark.parametrize("data", ["ntu60", "ntu120", "kinetics"])
def test_the_three_data_sets_have_configs(data):
    named = [path.name for path in (ROOT / "configs").glob(f"msg3d*{data}*")]
    assert named and "Disentangling and Unifying Graph Convolutions" in read_header(named[0])
    assert "CVPR 2020" in read_header(named[0])


def test_one_text_serves_all_streams():
    assert train_streams.STREAMS == STREAMS
    assert resolve("msg3d_pyskl_ntu60_xsub_3dkp.yaml")["READER"]["stream"] == "joint"  # j.py
    for stream in STREAMS:
        config = resolve("msg3d_pyskl_ntu60_xsub_3dkp.yaml", f"READER.stream={stream}")
        assert recipe.open_reader(config).stream == stream
    assert re.search(r"`b`, `jm`, `bm`", read("MODEL_ZOO.md")) and "/j.pth" in read("MODEL_ZOO.md")


@pytest.mark.parametrize("num_streams, weights", [(2, [1, 1]), (4, [2, 2, 1, 1])])
def test_streams_are_fused_by_the_weights_of_the_page(num_streams, weights):
    args = train_streams.parse_arguments([CONFIG, "--streams", *STREAMS[:num_streams]])
    assert list(ensemble.read_weights(args.fuse, num_streams)) == weights
    assert train_streams.parse_arguments([CONFIG]).streams == list(STREAMS)


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_learning_rate_follows_the_batch(name):
    section = resolve(f"msg3d_pyskl_{name}.yaml")["OPTIMIZER"]
    rate = {key: section[key] for key in ("learning_rate", "base_batch_size")}
    peaks = [Schedule(batch_size, 1, 1, **rate).peak for batch_size in (16, 128, 256)]
    assert peaks == pytest.approx([0.1 / 8, 0.1, 0.2])


def test_training_is_typed_as_there():
    for script in ("train.py", "train_streams.py"):
        args = parse(f"python {script} {CONFIG} --gpus 8 --validate --test-last --test-best")
        rest = vars(flags.parse_train([CONFIG, *args["rest"]])) if "rest" in args else args
        assert args["config"] == CONFIG and args["test_last"] and args["test_best"]
        assert rest["gpus"] == 8 and rest["validate"] is True


def test_scoring_is_typed_as_there():
    args = parse(f"python test.py {CONFIG} checkpoints/SOME_CHECKPOINT --gpus 8 --eval top_k_accuracy --out result.pkl")
    assert (args["config"], args["weights"]) == (CONFIG, "checkpoints/SOME_CHECKPOINT")
    assert (args["gpus"], args["eval"], args["out"]) == (8, ["top_k_accuracy"], "result.pkl")


def test_the_last_and_the_best_checkpoint_are_scored(monkeypatch):
    called = []
    monkeypatch.setattr(
        train.subprocess, "run", lambda words, **_: called.append(words) or types.SimpleNamespace(returncode=0)
    )
    args = flags.parse_train([CONFIG, "--test-last", "--test-best", "--gpus", "8"])
    config = {"RUN": {"save_dir": "out"}, "MODEL": {"name": "msg3d"}, "READER": {}, "TEST": {"filelist": "a.pkl"}}
    assert train.test_weights(args, config) == 0
    called = [one[one.index("--weights") :] for one in called]
    words = [dict(zip(one[::2], one[1::2], strict=True)) for one in called]
    assert [one["--weights"] for one in words] == ["out/msg3d_model", "out/msg3d_best"]
    assert [one["--gpus"] for one in words] == ["8", "8"]


def test_the_result_file_holds_scores_and_the_figure(folder):
    result = files.load_pickle(folder / "result.pkl")
    assert result["scores"].shape == (12, 3) and len(result["samples"]) == 12
    labels = np.array([["Down", "Side", "Up"].index(one["class"]) for one in result["samples"]])
    assert result["summary"]["top1"] == metrics.top_k_accuracy(result["scores"], labels, 1)
    log = (folder / "logger.log").read_text(encoding="utf-8")
    assert re.search(r"top-1 [\d.]+%$", log, re.MULTILINE)  # of three classes; nothing that was not asked for


def test_the_places_differ_as_listed():
    assert find_moved(DIFFERENCES["places"]) == set(DIFFERENCES["places"])
