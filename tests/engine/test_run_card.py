"""The run card's counts against figures worked out by hand."""

import inspect
import types

import paddle
import pytest
from paths import ROOT

from config import load_config
from engine import checkpoint, memory, run_card, run_folder
from engine.optimizer import MovingAverage, build_optimizer
from engine.train_step import TrainStep
from models import build_model
from models.parts.action_model import ActionModel
from models.parts.cost import Cost
from reader import READERS


class Net(ActionModel):
    """A grouped convolution, batch norm and a linear layer."""

    def __init__(self):
        super().__init__()
        self.conv = paddle.nn.Conv3D(4, 8, 3, padding=1, stride=2, groups=2, bias_attr=False)
        self.bn = paddle.nn.BatchNorm3D(8)
        self.fc = paddle.nn.Linear(8, 5)

    def forward(self, x):
        return self.fc(self.bn(self.conv(x)).mean(axis=[2, 3, 4]))


def test_parameters_and_multiply_adds_are_counted():
    net = Net()
    net.train()
    assert run_card.count_parameters(net) == 8 * 2 * 27 + 8 + 8 + 8 * 5 + 5
    cost = net.measure_cost({"rgb": [4, 4, 8, 8]})
    assert cost.num_macs == 8 * 2 * 4 * 4 * 2 * 27 + 8 * 5
    # Saved are the inputs of the convolution, of batch norm with its statistics, and of the linear layer.
    assert cost.activation_bytes >= 4 * (4 * 4 * 8 * 8 + 8 * 2 * 4 * 4 + 8)
    assert cost.activation_bytes <= 4 * (4 * 4 * 8 * 8 + 2 * 8 * 2 * 4 * 4 + 10 * 8)
    assert net.training and (net.bn._mean.numpy() == 0).all()  # counting left no trace


def test_resnet18_has_the_published_size():
    model = build_model("resnet", num_classes=101, depth=18)
    assert run_card.count_parameters(model) == 33_255_717
    assert round(model.measure_cost({"rgb": [3, 16, 112, 112]}).num_macs / 1e9, 2) == 8.31


def test_run_card_names_the_memory_of_a_batch():
    run = {"accumulate": 4, "recompute": False}
    cost = Cost(activation_bytes=2**29)
    assert run_card.describe_memory(run, 3 * 2**30, cost, 32) == (
        "about 7.0 GiB in float32 for 8 samples at a time, 512 MiB each; a larger RUN.accumulate takes fewer at a time"
    )


@pytest.mark.parametrize(
    "recompute, device_gib, row",
    [
        (True, 24, "about 4.0 GiB in float32 for 8 samples at a time, 128 MiB each, 512 without RUN.recompute; a "),
        (False, 6, "512 MiB each; cpu has 6.0 GiB: with -o RUN.recompute=true it is about 4.0 GiB, or go on with "
         "-o TRAIN.batch_size=4 -o RUN.accumulate=8, which keeps 32 samples an update"),
        (True, 2, "512 without RUN.recompute; cpu has 2.0 GiB: go on with -o TRAIN.batch_size=4 -o RUN.accumulate=8"),
        (False, float("nan"), "512 MiB each; a larger RUN.accumulate takes fewer at a time"),
    ],
)  # fmt: skip
def test_run_card_proposes_what_takes_less_memory_where_the_device_is_small(monkeypatch, recompute, device_gib, row):
    monkeypatch.setattr(memory, "device_memory_gib", lambda: device_gib)
    run = {"accumulate": 4, "recompute": recompute}
    cost = Cost(activation_bytes=2**29, recomputed_bytes=2**27)
    assert row in run_card.describe_memory(run, 3 * 2**30, cost, 32)


def save_after_an_update(net, path, name, ema_decay):
    """Write the checkpoint of a run to `path`, as train.py does, after an update; return its size in bytes."""
    solver = build_optimizer(net, name)
    average = MovingAverage(net, ema_decay) if ema_decay else None
    step = TrainStep(net, paddle.nn.CrossEntropyLoss(), solver, lambda inputs: inputs, average=average)
    step.begin_epoch()
    step({"x": paddle.ones([2, 4, 2, 4, 4])}, paddle.to_tensor([0, 1]), 0.1, 0)
    plateau = types.SimpleNamespace(plateau={}, batch_size=2)
    checkpoint.save_checkpoint(path, run_folder.make_checkpoint(step, run_folder.Progress(), plateau, {}, [], {}))
    return path.stat().st_size


@pytest.mark.parametrize("ema_decay", [0.0, 0.9])
@pytest.mark.parametrize("name, num_moments", [("momentum", 1), ("sgd", 1), ("adam", 2), ("adamw", 2)])
def test_the_size_of_a_checkpoint_is_that_of_its_file(tmp_path, name, num_moments, ema_decay):
    """By hand: 4 bytes each for the weights, of which `fc` is frozen, the moments, and the average."""
    net = Net()
    net.wide = paddle.nn.Linear(5, 60_000)  # so that names and containers hardly count
    net.forward = lambda x: net.wide(net.fc(net.bn(net.conv(x)).mean(axis=[2, 3, 4])))
    for parameter in net.fc.parameters():
        parameter.stop_gradient = True
    trained, fixed = 6 * 60_000 + 8 * 2 * 27 + 8 + 8, 8 * 5 + 5 + 8 + 8
    expected = 4 * fixed + 4 * trained * (1 + num_moments + bool(ema_decay))
    assert run_card.count_trained_bytes(net) == 4 * trained
    assert run_card.count_checkpoint_bytes(net, name, ema_decay) == expected
    size = save_after_an_update(net, tmp_path / "net.pdparams", name, ema_decay)
    assert expected <= size <= 1.01 * expected


def test_the_disk_is_that_of_the_folder_of_the_run(tmp_path, monkeypatch):
    """A folder that is not there yet is made on the disk of the one above it."""
    measured = []

    def measure(path):
        measured.append(path)
        return types.SimpleNamespace(free=7 * 2**30)

    monkeypatch.setattr(run_card.shutil, "disk_usage", measure)
    run = {"save_dir": str(tmp_path / "not" / "yet"), "validate": True, "save_interval": 5, "max_keep": 3}
    row = run_card._describe_disk(run, 2**29)
    assert row == f"5 in {run['save_dir']}, about 2.50 GiB; 7 GiB are free there"
    (tmp_path / "not" / "yet").mkdir(parents=True)
    run_card._describe_disk(run, 2**29)
    assert measured == [tmp_path.resolve(), (tmp_path / "not" / "yet").resolve()]


def make_small_config(model, overfit=0, pretrain=None, **reader):
    """Return what of a resolved config the proposal looks at."""
    run = {"overfit": overfit, "pretrain": pretrain}
    return {"MODEL": model, "READER": reader, "TRAIN": {}, "RUN": run}


SKELETONS, VIDEOS = {"stream": "joint", "repeat": 5}, {"modality": "rgb"}
NETWORKS = {"stream": {"name": "ctrgcn"}, "modality": {"name": "resnet", "depth": 18}}


@pytest.mark.parametrize(("key", "reader", "repeat"), [("stream", SKELETONS, 5), ("modality", VIDEOS, 1)])
def test_a_small_set_is_proposed_its_text(key, reader, repeat):
    """999 samples, of skeletons each five times an epoch, are few; 1000 are not; a run from weights needs no text."""
    text, network = run_card.SMALL_TEXTS[key]
    config = make_small_config(NETWORKS[key], **reader)
    expected = f"999 samples are few for this network; try {text}, see docs/small_sets.md"
    assert run_card.propose_small_text(config, repeat * 999 + repeat - 1) == {"small set": expected}
    assert run_card.propose_small_text(config, repeat * 1000) == {}
    for other in (
        make_small_config({**network, "num_classes": 3}, **reader),
        make_small_config(NETWORKS[key], overfit=4, **reader),
        make_small_config(NETWORKS[key], pretrain="weights/r3d18.pdparams", **reader),
        make_small_config(NETWORKS[key]),  # heat maps
    ):
        assert run_card.propose_small_text(other, 10) == {}


@pytest.mark.parametrize(("key", "reader"), [("stream", "skeletons"), ("modality", "clips")])
def test_the_text_for_small_sets_trains_the_network_that_it_is_not_proposed_to(key, reader):
    text, network = run_card.SMALL_TEXTS[key]
    config = load_config(str(ROOT / text))
    assert network.items() <= config["MODEL"].items() and config["READER"].get("name", "clips") == reader
    assert (ROOT / "docs/small_sets.md").is_file()
    assert [name for name, reader in READERS.items() if key in inspect.signature(reader).parameters][0] == reader


def test_versions_fix_the_environment():
    assert paddle.__version__ in run_card.describe_versions()


def test_data_whose_figure_says_nothing_is_named(caplog):
    train = types.SimpleNamespace(describe_samples=lambda: [("a", 0), ("b", 1), ("c", 1)])
    valid = types.SimpleNamespace(describe_samples=lambda: [("a", 0), ("c", 1), ("c", 0), ("d", 1)], num_samples=4)
    run_card.warn_of_data(["Bow", "Wave"], train, valid)
    assert "2 of 4 samples to validate on stand in the training list too" in caplog.text
    assert "one class only" not in caplog.text
    caplog.clear()
    run_card.warn_of_data(["Bow", "Wave"], train, None)
    assert caplog.text == ""
    run_card.warn_of_data(["Bow"], train, None)
    assert "there is one class only, 'Bow': nothing to tell apart" in caplog.text
