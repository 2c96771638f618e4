"""Weights that `paddle.save` wrote load from any wrapper, prefix and precision, or one sentence says why not."""

import logging

import numpy as np
import paddle
import pytest
import small_networks

from common import files, state_dicts
from engine import checkpoint, resume
from models import build_model


class Net(paddle.nn.Layer):
    """A linear layer after batch norm."""

    def __init__(self, num_classes=3):
        super().__init__()
        self.bn = paddle.nn.BatchNorm1D(2)
        self.fc = paddle.nn.Linear(2, num_classes)


@pytest.fixture
def saved(tmp_path):
    """Save with Paddle, load with the project."""

    def save_and_load(content):
        paddle.save(content, str(tmp_path / "a.pdparams"))
        return checkpoint.load_checkpoint(str(tmp_path / "a"))

    return save_and_load


def rename(state, prefix):
    return {prefix + name: value for name, value in state.items()}


def assert_loads(state, weights):
    other = Net()
    checkpoint.restore_model(other, checkpoint.scoring_weights(state))
    for name, value in other.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), weights[name].numpy(), err_msg=name)


@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.module.", "model.model."])
@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: {"model": state, "epoch": 3},
        lambda state: {"state_dict": state, "epoch": "3", "config": {"lr": 0.1}},
        lambda state: {"net": state},
        lambda state: {"model_state_dict": state, "optimizer": {"LR_Scheduler": {"last_lr": 0.1}}},
        lambda state: {"model": {"state_dict": state}, "ema": 0.999, "history": {"loss": [1.0]}, "class_names": None},
    ],
)
def test_any_wrapper_and_prefix(saved, wrap, prefix):
    net = Net()
    net.bn._mean.set_value(np.array([2.0, 3.0], np.float32))
    state = saved(wrap(rename(net.state_dict(), prefix)))
    assert_loads(state, net.state_dict())
    assert "config" not in state and "history" not in state  # another trainer's, which ours would not understand


def test_it_is_said_which_weights_are_taken(saved, caplog):
    caplog.set_level(logging.INFO)
    net, averaged = Net(), Net()
    state = saved({"net": net.state_dict(), "model_ema": averaged.state_dict()})
    assert_loads(state, net.state_dict())
    (line,) = [record.message for record in caplog.records]
    assert line.endswith("a.pdparams: the weights under 'net' are taken, not those under 'model_ema': save these alone "
                         "to take them")  # fmt: skip


def test_a_wrapped_average_is_scored_as_our_own(saved):
    net, averaged = Net(), Net()
    state = saved({"model": rename(net.state_dict(), "module."), "ema": rename(averaged.state_dict(), "module.")})
    assert_loads(state, averaged.state_dict())


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("kind", ["float16", "bfloat16", "float64"])
def test_other_precisions_are_cast_and_that_is_said_once(saved, kind, wrapped, caplog):
    caplog.set_level(logging.INFO)
    net = Net()
    cast = {name: value.astype(kind) for name, value in net.state_dict().items()}
    state = saved({"model": cast} if wrapped else cast)
    assert_loads(state, {name: value.astype("float32") for name, value in cast.items()})
    lines = [record.message for record in caplog.records if "cast" in record.message]
    assert lines == ([] if kind == "bfloat16" else [f"weights of {kind} are cast to the types of the parameters"])


def test_a_value_that_float32_cannot_hold_is_refused():
    weights = {name: value.numpy().astype(np.float64) for name, value in Net().state_dict().items()}
    weights["fc.bias"][1] = 1e300
    with pytest.raises(ValueError, match="'fc.bias' has values that are too large for paddle.float32"):
        checkpoint.restore_model(Net(), weights)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_broken_weights_are_named(value):
    weights = {"fc.weight": np.ones(2, np.float32), "fc.bias": np.array([1, value], np.float32)}
    with pytest.raises(ValueError, match="'a': 'fc.bias' is nan or infinite; take the file of an earlier epoch"):
        checkpoint.check_finite("a", weights)
    checkpoint.check_finite("a", {"fc.weight": np.ones(2), "steps": np.ones(2, int)})


@pytest.mark.parametrize(
    "content, message",
    [
        (paddle.ones([2]), "holds a tuple, expected a checkpoint"),
        ([1, 2], "holds a list, expected a checkpoint"),
        ({"epoch": 3, "loss": 0.5}, "holds no weights: it has epoch, loss; save the state dict of the model alone"),
        ({"model": {"epoch": 3}}, "holds no weights: it has model;"),
        ({"student": {"w": paddle.ones([1])}}, "holds no weights: it has some under 'student', but none under state_d"),
    ],
)
def test_what_is_no_checkpoint_ends_in_one_sentence(saved, content, message):
    with pytest.raises(ValueError, match=message):
        saved(content)


def test_another_number_of_classes_says_how_to_start_from_the_rest():
    with pytest.raises(ValueError) as caught:
        checkpoint.restore_model(Net(4), checkpoint.model_state(Net(3)))
    assert str(caught.value).endswith(
        "2 of another shape (fc.weight [2, 3] for [2, 4], fc.bias [3] for [4]); the number of classes differs (3, not "
        "4): train.py starts from the rest of the weights with --pretrain and -o 'RUN.ignore_weights=[fc.*]'"
    )
    weights = checkpoint.model_state(Net(3))
    for changes in ({"fc.weight": np.zeros((5, 4))}, {"bn.weight": np.zeros(7)}, {"more": np.zeros(1)}):
        with pytest.raises(ValueError) as caught:
            checkpoint.restore_model(Net(4), {**weights, **changes})
        assert "classes" not in str(caught.value)


@pytest.mark.parametrize(
    "path, advice",
    [
        (
            "weights/slowonly_r101_imagenet",
            "make it (MODEL_ZOO.md): python tools/convert_weights.py resnet101.pth --source imagenet --model slowonly "
            "-o MODEL.depth=101 --out weights/slowonly_r101_imagenet",
        ),
        (
            "/far/weights/r3d50_K_200ep.pdparams",
            "make it (MODEL_ZOO.md): python tools/convert_weights.py r3d50_K_200ep.pth --source 3d-resnets-pytorch "
            "--model resnet -o MODEL.depth=50 --out weights/r3d50_K_200ep",
        ),
        ("checkpoints_models/resnet_model", "run train.py first"),
        ("out/tsm_best.pdparams", "run train.py first"),
        ("out/tsm_epoch_00010", "run train.py first"),
        (
            "mine.pdparams",
            "run train.py first, or convert published weights with tools/convert_weights.py (MODEL_ZOO.md)",
        ),
    ],
)
def test_a_missing_file_says_what_makes_it(path, advice):
    with pytest.raises(FileNotFoundError) as caught:
        checkpoint.load_checkpoint(path)
    assert str(caught.value) == f"no checkpoint '{path.removesuffix('.pdparams')}.pdparams'; {advice}"


@pytest.mark.parametrize(
    "name, message",
    [
        ("a.pdiparams", "'a.pdiparams' is no checkpoint but part of an exported network; predict.py --exported takes"),
        ("a.pdopt", "'a.pdopt' is no checkpoint but the state of an optimizer; give the weights, which are named .pdp"),
        ("a.safetensors", "'a.safetensors' is no checkpoint but a file of PyTorch; make a checkpoint of it with tools"),
    ],
)
def test_files_of_other_kinds_are_known_by_their_suffix(tmp_path, monkeypatch, name, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(ValueError, match=message):
        checkpoint.load_checkpoint(name)


def test_a_folder_says_what_it_holds(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    checkpoint.save_checkpoint("out/resnet_model", {"model": {"a": np.zeros(1)}})
    with pytest.raises(FileNotFoundError, match="no checkpoint 'out.pdparams'; that folder has out/resnet_model.pdpar"):
        checkpoint.load_checkpoint("out")


@pytest.mark.parametrize("name", small_networks.CASES)
def test_no_layer_of_ours_has_a_name_that_is_taken_for_a_prefix_or_an_average(name):
    model = small_networks.build(name)
    found = state_dicts.find_weights(checkpoint.model_state(model), "a")
    assert found.weights.keys() == model.state_dict().keys() and not found.others


@pytest.mark.parametrize("name", small_networks.CASES)
def test_the_patterns_for_another_number_of_classes_start_every_network(name):
    arguments = {**small_networks.CASES[name].arguments}
    if name == "pcan":
        arguments["coarse_groups"] = [0, 0, 1, 1, 0, 1]
    weights, other = checkpoint.model_state(small_networks.build(name)), build_model(name, num_classes=6, **arguments)
    with pytest.raises(ValueError, match=r"the number of classes differs \(4, not 6\)") as caught:
        checkpoint.restore_model(other, weights)
    patterns = str(caught.value).rpartition("RUN.ignore_weights=[")[2].removesuffix("]'").split(", ")
    kept = checkpoint.restore_model(other, weights, patterns)
    assert 0 < len(kept) <= 6


def test_the_merged_weights_are_made_by_the_other_tool():
    assert "make it (rgbpose.md): python tools/merge_rgbpose.py " in checkpoint.advise_missing("weights/rgbpose_merged")


def test_files_of_other_trainers_do_not_pass_for_runs(tmp_path):
    files.dump_pickle(
        {"model": {"a": np.zeros(1)}, "optimizer": {"a": np.zeros(1)}, "epoch": 3}, tmp_path / "a.pdparams"
    )
    with pytest.raises(ValueError, match="holds weights only; start from it with --pretrain"):
        resume.load_resumed(str(tmp_path / "a"), {}, None, None, None, None, {})
