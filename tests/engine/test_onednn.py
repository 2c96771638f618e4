"""oneDNN's static programs against the dynamic graph: losses, gradients, statistics, weights, scores, refusals."""

import itertools
import logging
import re
import subprocess
import sys

import numpy as np
import paddle
import pytest
import small_networks
from paths import ROOT
from small_dataset import CONFIG, make_tree, write_config

import predict
import recipe
import test
import train
from engine import checkpoint, distributed
from engine.onednn import NETWORKS, OneDNNNetwork, OneDNNPredictor, OneDNNStep
from engine.onednn.predictor import Predictor
from engine.onednn.program import StaticProgram
from engine.onednn.step import name_arrays
from engine.onednn.workarounds import find_used_frames
from engine.run_settings import RunSettings
from models import build_model
from tools import gpu_check
from tools.measure.timing import build_step, draw_batch, to_tensors

pytestmark = pytest.mark.skipif(paddle.__version__.startswith("2."), reason="oneDNN's programs need Paddle 3")
RATE = 1e-4
NUM_UPDATES = 3


def make_config(name, **run):
    """The small network of `tools/gpu_check.py` and what RUN differs in."""
    config = gpu_check.make_config(name, "O0", gpu_check.parse_arguments(["--device", "cpu", "--batch_size", "9"]))
    config["RUN"].update(run)
    return config


def train_small(config, num_updates, noise=0.0, seed=0, read_after=None):
    """Give the losses, and the weights and their averages, of some updates by a batch of 9.

    Args:
        read_after: the weights are those after so many updates, not after all.
        noise: standard deviation of what is added to its clips, relative to each value; a factor for all of them
            would be lost in the first batch norm.
        seed: of the noise.
    """
    step, reader = build_step(config)
    assert isinstance(step, OneDNNStep) == (config["RUN"]["cpu_backend"] != "dynamic")
    inputs, labels = draw_batch({**config, "TRAIN": {**config["TRAIN"], "batch_size": 9}}, reader)
    prepare, losses = step.prepare, []
    rng = np.random.default_rng(seed)

    def add_noise(clips):
        return clips * paddle.to_tensor(1 + noise * rng.standard_normal(clips.shape), "float32")

    step.prepare = lambda batch: {name: add_noise(clips) for name, clips in prepare(batch).items()}
    step.begin_epoch()
    for index in range(num_updates):
        values = step(to_tensors(inputs), paddle.to_tensor(labels), RATE, index)
        losses.append(float(values["loss"]))
        if index + 1 == (read_after or num_updates):
            averages = {f"average of {name}": value for name, value in step.state().get("ema", {}).items()}
            weights = {name: np.array(value) for name, value in {**read_weights(step.model), **averages}.items()}
    return np.asarray(losses), weights


def read_weights(model):
    return {name: value.numpy() for name, value in model.state_dict().items()}


def measure_distance(ours, theirs):
    """Give the largest difference of losses and of weights, relative to the largest of each tensor."""
    assert ours[1].keys() == theirs[1].keys()
    losses = np.abs(ours[0] - theirs[0]).max() / theirs[0].max()
    sizes = {key: max(np.abs(one).max(), 1e-2) for key, one in theirs[1].items()}
    return losses, max(np.abs(ours[1][key] - one).max() / sizes[key] for key, one in theirs[1].items())


@pytest.mark.long
@pytest.mark.parametrize("name", NETWORKS)
def test_losses_and_weights_are_those_of_the_dynamic_step(name):
    """The measure is the most that noise of the size of rounding does to the dynamic step.

    Update by update it grows: where a ReLU is at zero, rounding decides whether its gradient passes.
    """
    config = make_config(name)
    dynamic = train_small(config, NUM_UPDATES)
    noisy = [train_small(config, NUM_UPDATES, noise=1e-6, seed=seed) for seed in range(3)]
    near = np.max([measure_distance(one, dynamic) for one in noisy], axis=0)
    config["RUN"]["cpu_backend"] = "onednn"
    learnt, weights = train_small(config, num_updates=20, read_after=NUM_UPDATES)
    losses, weights = measure_distance((learnt[:NUM_UPDATES], weights), dynamic)
    assert losses <= 1e-4 + 5 * near[0]
    assert weights <= 1e-3 + 5 * near[1]
    assert learnt[-1] < learnt[0]  # so something was learnt


SWITCHES = {
    "nothing": {},
    "smoothing": {"RUN": {"label_smoothing": 0.1}},
    "mixup": {"RUN": {"mixup_alpha": 0.2}},
    "cutmix": {"RUN": {"cutmix_alpha": 1.0}},
    "parts": {"TRAIN": {"batch_size": 5}},  # of 9: parts of 4 and 5
    "average": {"RUN": {"ema_decay": 0.9}},
    "clipping, decay": {"OPTIMIZER": {"grad_clip": 0.1, "weight_decay": 0.1, "name": "adamw"}},
    "frozen": {"RUN": {"freeze_until": "layer2", "freeze_statistics": True}},
}


@pytest.fixture(scope="module")
def plain():
    """What a static step trains without any switch."""
    return train_small(make_config("resnet", cpu_backend="onednn"), num_updates=3)


@pytest.mark.parametrize("switch", list(SWITCHES))
def test_every_switch_does_to_a_static_step_what_it_does_to_a_dynamic_one(switch, plain):
    found = []
    for kind in ("dynamic", "onednn"):
        config = make_config("resnet", cpu_backend=kind)
        for section, values in SWITCHES[switch].items():
            config[section].update(values)
        found.append(train_small(config, num_updates=3))
    losses, weights = measure_distance(*reversed(found))
    assert losses < 1e-5 and weights < 1e-4
    is_plain = found[1][1].keys() == plain[1].keys() and max(measure_distance(found[1], plain)) < 1e-4
    assert is_plain == (switch == "nothing")


def test_a_run_goes_on_with_the_other_step():
    """Optimizer, weights and statistics belong to the dynamic network in both."""
    config = make_config("resnet")
    whole = train_small(config, num_updates=4)
    step, reader = build_step(config)
    inputs, labels = draw_batch(config, reader)
    inputs, labels = to_tensors(inputs), paddle.to_tensor(labels)
    static = OneDNNStep(step.model, step.criterion, step.optimizer, step.prepare)
    step.begin_epoch()
    losses = [float(one(inputs, labels, RATE, index)["loss"]) for index, one in enumerate([step, static] * 2)]
    losses, weights = measure_distance((np.asarray(losses), read_weights(step.model)), whole)
    assert losses < 1e-5 and weights < 1e-4


def test_onednn_is_what_a_run_and_its_tests_take_by_default(tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    make_tree(tmp_path / "data")
    write_config(tmp_path / "c.txt", CONFIG.replace("cpu_backend = dynamic", "").replace("epochs = 3", "epochs = 1"))
    scored = []
    call = OneDNNNetwork.__call__
    monkeypatch.setattr(OneDNNNetwork, "__call__", lambda network, *inputs: scored.append(1) or call(network, *inputs))
    train.main(["--config", "c.txt", "--root", "data", "--save_dir", "run", "--validate", "False"])
    assert "RUN.cpu_backend=auto: updates are computed by oneDNN" in caplog.text and scored == []
    predicted = []
    run = Predictor.run
    monkeypatch.setattr(Predictor, "run", lambda predictor, feed: predicted.append(1) or run(predictor, feed))
    test.main(["--weights", "run/resnet_model"])
    assert len(scored) == 3 and predicted == []  # 12 videos by 4
    monkeypatch.setattr(test, "MIN_PREDICTED_BATCHES", 3)
    test.main(["--weights", "run/resnet_model"])
    assert len(scored) == 6 and len(predicted) == 3
    network, _ = predict.open_weights("run/resnet_model")
    assert isinstance(network.model, OneDNNNetwork)
    test.main(["--weights", "run/resnet_model", "-o", "RUN.cpu_backend=dynamic"])
    assert len(scored) == 6


def build(config):
    return build_model(**config["MODEL"])


def test_dropout_is_drawn_from_the_seed_and_a_new_program_draws_nothing():
    config = make_config("tsm", cpu_backend="onednn")
    config["MODEL"].update(dropout_ratio=0.5, widen_factor=0.125)
    (first, _), (again, _) = train_small(config, 2), train_small(config, 2)
    config["RUN"].update(cpu_backend="auto", seed=1)
    assert first.tolist() == again.tolist() != train_small(config, 2)[0].tolist()
    model, clips = build(config), paddle.zeros([1, 3, 16, 32, 32])
    model.eval()
    paddle.seed(5)
    expected = paddle.rand([3]).tolist()
    paddle.seed(5)
    OneDNNNetwork(model)(clips)
    assert paddle.rand([3]).tolist() == expected


def test_a_run_that_was_broken_off_goes_on_to_the_same_bits_or_with_the_other_step(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_tree(tmp_path / "data")
    write_config(tmp_path / "c.txt")

    def run(save_dir, epochs, kind, *words):
        optimizer = ["-o", "OPTIMIZER.learning_rate=0.001", "-o", "OPTIMIZER.schedule_epochs=2"]
        words = ["--epoch", str(epochs), "-o", f"RUN.cpu_backend={kind}", *optimizer, *words]
        train.main(["--config", "c.txt", "--root", "data", "--save_dir", save_dir, "--use_gpu", "False", *words])
        weights = checkpoint.load_checkpoint(f"{save_dir}/resnet_model")["model"]
        return {name: np.asarray(value) for name, value in weights.items()}

    whole = {kind: run(kind, 2, kind) for kind in ("dynamic", "onednn")}
    for first, second in (("onednn", "onednn"), ("dynamic", "onednn"), ("onednn", "dynamic")):
        run(f"{first}_{second}", 1, first)
        resumed = run(f"{first}_{second}", 2, second, "--resume", "auto")
        for name, value in whole["onednn"].items():
            if first == second:
                np.testing.assert_array_equal(resumed[name], value, err_msg=name)
            else:
                np.testing.assert_allclose(resumed[name], whole["dynamic"][name], rtol=1e-2, atol=1e-2, err_msg=name)


VARIANTS = [
    *((name, {}) for name in NETWORKS),
    ("resnet", {"shortcut": "A", "widen_factor": 0.125}),
    ("resnet", {"no_max_pool": True, "conv1_t_size": 3}),
    ("tpn", {"flow": "parallel", "backbone": "tsm"}),
]


@pytest.mark.parametrize(("name", "model"), VARIANTS)
def test_scores_are_those_of_the_dynamic_network_for_any_number_of_clips(name, model):
    config = make_config(name)
    config["MODEL"].update(model)
    step, reader = build_step(config)
    clips = step.prepare(draw_batch(config, reader)[0])
    step.model.eval()
    assert recipe.use_onednn_where_possible(step.model, config) is step.model  # RUN.cpu_backend is dynamic
    config["RUN"]["cpu_backend"] = "auto"
    network = recipe.use_onednn_where_possible(step.model, config)
    predictor = recipe.use_onednn_where_possible(step.model, config, OneDNNPredictor)
    assert isinstance(network, OneDNNNetwork) and isinstance(predictor, OneDNNPredictor)
    for num_clips, scorer in itertools.product((9, 3), (network, predictor)):
        some = [tensor[:num_clips] for tensor in clips.values()]
        expected, found = step.model.name_outputs(step.model(*some)), scorer.name_outputs(scorer(*some))
        assert found.keys() == expected.keys()
        for key, one in expected.items():
            assert float((found[key] - one).abs().max()) <= 1e-5 * float(one.abs().max())
    for weight in step.model.parameters():  # the network reads the weights as they are
        weight.set_value(weight * 0)
    assert not any(logits.numpy().any() for logits in network(*clips.values()).values())


@pytest.mark.long
def test_default_scores_are_those_of_the_dynamic_graph_for_every_network_in_any_order():
    """As the programs of one process would disturb each other through names that they share."""
    rng, networks = np.random.default_rng(0), {}
    for index, name in enumerate(rng.permutation(list(small_networks.CASES) * 3)):
        if name not in networks or rng.random() < 0.05:  # also programs where others have been and are gone
            model = small_networks.build(name, seed=index)
            small_networks.move_statistics(model, name)
            config = {"RUN": {"cpu_backend": RunSettings().cpu_backend}, "MODEL": {"name": name}}
            scorer = (OneDNNNetwork, OneDNNPredictor)[int(rng.integers(2))]
            networks[name] = model, recipe.use_onednn_where_possible(model, config, scorer)
            assert isinstance(networks[name][1], OneDNNNetwork) == (name in NETWORKS)
        model, network = networks[name]
        inputs = small_networks.draw_batch(name, int(rng.integers(1, 4)), seed=index).values()
        expected = model.name_outputs(model(*inputs))  # as training computes them
        with paddle.no_grad():
            found = network.name_outputs(network(*inputs))
        for key, one in expected.items():
            assert found[key].shape == one.shape
            assert float((found[key] - one).abs().max()) <= 1e-4 * float(one.abs().max()), (name, index, key)
            scores = [paddle.nn.functional.softmax(logits) for logits in (found[key], one)]
            assert float((scores[0] - scores[1]).abs().max()) <= 1e-5, (name, index, key)


def test_no_network_has_channels_last_which_would_turn_the_shapes_of_other_networks():
    """Paddle keeps that memory order for all that runs later, be it of a program or of an exported network."""
    for name in set(small_networks.CASES) - {"pcan"}:  # PCAN's shapes are not those of a program
        model = small_networks.build(name, seed=0)
        model.eval()
        StaticProgram(model, name_arrays(small_networks.draw_batch(name, 2, seed=0).values()), OneDNNNetwork._trace)
    norm = paddle.nn.BatchNorm1D(8, data_format="NLC")
    with pytest.raises(ValueError, match="batch_norm_.* has its channels last"):
        StaticProgram(norm, {"x": np.zeros((2, 5, 8), np.float32)}, lambda layer, feed: {"y": layer(feed["x"])})


@pytest.mark.parametrize("num_frames", range(1, 9))
def test_frames_of_a_kernel_that_meet_a_clip(num_frames):
    for size, stride in itertools.product((1, 3, 5, 7), (1, 2, 3, 4)):
        pad = size // 2
        begins = range(-pad, num_frames + pad - size + 1, stride)
        met = [one for one in range(size) if any(0 <= begin + one < num_frames for begin in begins)]
        used, (before, after) = find_used_frames(num_frames, size, stride, pad)
        assert list(used) == met
        assert before == pad - met[0]  # so the first output begins where it did
        assert (num_frames + before + after - len(met)) // stride + 1 == len(begins)


@pytest.mark.parametrize(
    ("name", "change", "expected"),
    [
        ("pcan", (), "it has no program for 'pcan', only for "),
        ("resnet", (paddle.device, "get_device", lambda: "gpu:0"), "it is for CPUs, and this is gpu:0"),
        ("resnet", (distributed, "num_ranks", lambda: 2), "it takes one process, here are 2"),
        ("resnet", (paddle, "__version__", "2.6.2"), "Paddle 2.6.2 computes these programs wrongly"),
    ],
)
def test_what_a_static_step_cannot_do_is_refused_and_scored_dynamically(name, change, expected, monkeypatch, caplog):
    caplog.set_level(logging.DEBUG)
    config = make_config(name)
    if change:
        monkeypatch.setattr(*change)
    model = build(config)
    config["RUN"]["cpu_backend"] = "auto"
    assert recipe.use_onednn_where_possible(model, config) is model
    loader = type("Loader", (), {"prepare": None})
    assert not isinstance(recipe.build_step(config, model, None, loader, []), OneDNNStep)
    config["RUN"]["cpu_backend"] = "onednn"
    with pytest.raises(
        ValueError, match=f"RUN.cpu_backend=onednn: {re.escape(expected)}.*; set -o RUN.cpu_backend=dynamic"
    ):
        recipe.build_step(config, model, None, loader, [])
    with pytest.raises(ValueError, match=f"RUN.cpu_backend=onednn: {re.escape(expected)}"):
        recipe.use_onednn_where_possible(model, config)
    recipe.adopt_config(config)  # as test.py and predict.py do with what was trained elsewhere
    assert config["RUN"]["cpu_backend"] == "auto" and config["RUN"]["use_gpu"] is None
    assert recipe.use_onednn_where_possible(model, config) is model
    assert f"computed by the dynamic graph, not by oneDNN: {expected}" in caplog.text


def test_nothing_of_paddle_is_printed():
    words = "from common import command_line; command_line.start_paddle()\n"
    words += "import sys; sys.path[:0] = ['tests/fixtures', 'tests/engine']\n"
    words += "import test_onednn as tests\ntests.train_small(tests.make_config('resnet', cpu_backend='onednn'), 1)"
    ended = subprocess.run([sys.executable, "-c", words], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
