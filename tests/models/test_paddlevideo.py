"""Networks with PaddleVideo's weights against PaddleVideo itself (golden vectors): scores, losses, training."""

import re

import numpy as np
import paddle
import pytest
from golden_checks import assert_logits_match, l2_norm
from golden_networks import find_loss
from paddle import nn

import models
from engine.losses import CrossEntropy
from models.parts.weights import convert_torch_weights
from tools.golden import vectors

pytestmark = pytest.mark.filterwarnings("ignore:When training, we now always track")
FILES = vectors.list_names("paddlevideo/*")
UNUSED = r"backbone\.(data_bn|agcn\.0\.(conv|bn)_res)\."  # of AGCN
LONG = (
    "paddlevideo/pptsm_r50_k400_8seg",
    "paddlevideo/tsm_r50_k400_8seg",
    "paddlevideo/posec3d_ucf101",
    "paddlevideo/slowfast_r50_k400",
)


def mark_long(names, also=()):
    """Return parameters of a test; those of the larger networks are long."""
    return [pytest.param(name, marks=pytest.mark.long if name in (*LONG, *also) else ()) for name in names]


def build_trainable(reference, gain):
    """Build a network that trains by batch statistics, and drops nothing."""
    model = vectors.build(reference, gain)
    model.train()
    for layer in model.sublayers():
        if isinstance(layer, nn.Dropout):
            layer.eval()
    return model


def assert_gradients_match(reference, model, expected, tolerance):
    """Compare the gradient norm of each of their parameters that is used; a norm of 0 stands for rounding."""
    ours = vectors.collect_gradient_norms(reference, model)
    used = {name: norm for name, norm in expected.items() if norm is not None}
    assert set(ours) == set(used)
    noise = 1e-6 * max(used.values())
    assert ours == pytest.approx(used, rel=tolerance, abs=noise)


def test_all_networks_have_a_file():
    assert [name.partition("/")[2].partition("_")[0] for name in FILES] == [
        *["agcn2s"] * 2, *["agcn"] * 2, "ctrgcn", "posec3d", *["pptsm"] * 2, "slowfast", *["stgcn"] * 2, *["tsm"] * 2
    ]  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_names_and_sizes_are_those_of_their_network(name):
    reference = vectors.load(name)
    model_name, arguments = vectors.describe(reference)
    with paddle.LazyGuard():  # shapes without values
        model = models.build_model(model_name, **arguments)
    weights = {key: np.empty(shape, np.float32) for key, shape in reference["state"].items()}
    assert set(convert_torch_weights(model.WEIGHT_SOURCES["paddlevideo"](weights), model)) == set(model.state_dict())
    unused = [key for key, norm in reference["grad_norms"].items() if norm is None]
    num_values = sum(param.size for param in model.parameters() if not param.stop_gradient)
    assert num_values + sum(np.prod(reference["state"][key]) for key in unused) == reference["params"]
    assert unused == [key for key in reference["grad_norms"] if "AGCN " in reference["config"] and not is_used(key)]


def list_runs():
    """List (file, gain) as parameters; of the RGB and pose networks gain 2 is long."""
    runs = []
    for name in FILES:
        has_two = "alt_gain1" in vectors.load(name)
        runs += [pytest.param(name, 2.0, marks=pytest.mark.long if has_two else ())]
        runs += [pytest.param(name, 1.0, marks=pytest.mark.long if name in LONG else ())] if has_two else []
    return runs


@pytest.mark.parametrize("name, gain", list_runs())
def test_scores_and_gradients_are_theirs(name, gain):
    reference = vectors.load(name)
    expected = reference if gain == 2.0 else reference["alt_gain1"]
    model = vectors.build(reference, gain)
    x = paddle.to_tensor(vectors.draw_input(reference), stop_gradient=False)
    logits = model(x)
    assert_logits_match(logits.numpy(), expected["logits"])
    loss = find_loss(logits, reference["labels"])
    assert loss.item() == pytest.approx(expected["loss"], rel=1e-4)
    loss.backward()
    assert_gradients_match(reference, model, expected["grad_norms"], 1e-2)
    if "CTRGCN" not in reference["config"]:  # ties of its max pool
        assert l2_norm(x.grad) == pytest.approx(expected["input_grad_norm"], rel=1e-2)


@pytest.mark.parametrize("name", mark_long(FILES, also=["paddlevideo/tsm_r50_ucf101_4seg"]))
def test_training_is_theirs(name):
    """Batch statistics, the loss with label smoothing, its gradients, and the statistics after one pass."""
    reference = vectors.load(name)
    expected = reference["train"]
    model = build_trainable(reference, expected["gain"])
    if (
        reference["reference"]["entry"]["backbone"]["name"] == "ResNet3dSlowOnly"
    ):  # takes PyTorch's momentum for Paddle's
        for layer in model.sublayers():
            if isinstance(layer, nn.BatchNorm2D):
                layer._momentum = 0.1
    logits = model(paddle.to_tensor(vectors.draw_input(reference)))
    assert_logits_match(logits.numpy(), expected["logits"])
    loss = CrossEntropy(expected["label_smoothing"])(logits, paddle.to_tensor(reference["labels"]))
    assert loss.item() == pytest.approx(expected["loss"], rel=1e-4)
    loss.backward()
    assert_gradients_match(reference, model, expected["grad_norms"], 3e-2)

    assert collect_statistics(reference, model) == pytest.approx(
        {
            key: value["l2"]
            for key, value in expected["buffers_after"].items()
            if "AGCN " not in reference["config"] or is_used(key)
        },
        rel=1e-3,
    )


def collect_statistics(reference, model):
    """Return {their name of a batch norm's statistics: L2 norm}, though a tensor of ours may hold several of theirs."""
    numbered = {
        key: np.full(shape, number, np.float32) for number, (key, shape) in enumerate(reference["state"].items())
    }
    origins = convert_torch_weights(model.WEIGHT_SOURCES["paddlevideo"](numbered), model)
    keys, norms = list(reference["state"]), {}
    for name, tensor in model.state_dict().items():
        if name.endswith(("._mean", "._variance")):
            for number in np.unique(origins[name]).astype(int):
                norms[keys[number]] = float(np.linalg.norm(tensor.numpy()[origins[name] == number].astype(np.float64)))
    return norms


def is_used(name):
    """Return whether PaddleVideo's AGCN uses an entry of its files."""
    return not re.match(UNUSED, name)


@pytest.mark.parametrize("name", mark_long([name for name in FILES if "label_smoothing" in vectors.load(name)]))
def test_smoothed_and_mixed_losses_are_theirs(name):
    reference = vectors.load(name)
    smoothing, mixup = reference["label_smoothing"], reference["mixup"]
    with paddle.no_grad():
        logits = vectors.build(reference, smoothing["gain"])(paddle.to_tensor(vectors.draw_input(reference)))
        criterion = CrossEntropy(smoothing["eps"])
        loss, other = (
            criterion(logits, paddle.to_tensor(labels)) for labels in (reference["labels"], mixup["labels_b"])
        )
    assert loss.item() == pytest.approx(smoothing["loss"], rel=1e-4)
    mixed = mixup["lam"] * loss.item() + (1 - mixup["lam"]) * other.item()
    assert mixed == pytest.approx(mixup["loss"], rel=1e-4)
