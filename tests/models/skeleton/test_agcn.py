"""2s-AGCN and AAGCN against PYSKL's networks (golden vectors), and against formulas of the papers."""

import math

import numpy as np
import paddle
import paddle.nn.functional as F
import pytest
from golden_skeletons import (
    assert_gradients_match,
    assert_inner_outputs_match,
    assert_outputs_match,
    assert_size_is_the_authors,
    run_golden,
)

import models
from layouts import get_layout
from models.parts.graphs import build_adjacency
from models.parts.weights import apply_rules, convert_torch_weights
from models.skeleton.agcn import AGCN, NAME_RULES, AdaptiveGraphConv, Attention, convert_agcn_weights
from tools.golden import vectors

pytestmark = pytest.mark.filterwarnings("ignore:When training, we now always track")

GOLDEN = ["pyskl_aagcn_ntu_T32", "pyskl_agcn_noattention_ntu_T32"]
SMALL = {"base_channels": 8, "num_blocks": [1, 1]}


def draw(*shape, seed=0):
    """Draw normally distributed values, float32."""
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def randomize(layer, seed=0):
    """Draw all parameters anew, so that none is 0 or 1 as in a new layer."""
    rng = np.random.default_rng(seed)
    for param in layer.parameters():
        param.set_value(rng.standard_normal(param.shape).astype(np.float32))


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


@pytest.mark.parametrize("name", GOLDEN)
def test_outputs_and_gradients_are_those_of_the_authors_network(name):
    run = run_golden(name)

    def find_layer(layer):
        ours = apply_rules(layer, NAME_RULES)
        return ours if ours in run.layer_norms else None

    assert find_layer("backbone.gcn.9") == "blocks.9"
    assert_inner_outputs_match(run, find_layer)
    assert_outputs_match(run)
    assert_gradients_match(run)


@pytest.mark.parametrize("name", GOLDEN)
def test_size_is_that_of_the_authors_network(name):
    assert_size_is_the_authors(name)


@pytest.mark.parametrize("topology", ["added", "gated"])
def test_a_graph_follows_from_the_skeleton_as_in_the_paper(topology):
    adjacency = np.random.default_rng(1).random((3, 5, 5), np.float32)
    layer = AdaptiveGraphConv(2, 8, adjacency, topology)
    randomize(layer)
    x = draw(2, 2, 6, 5, seed=3)
    related = np.einsum("oi,bitv->botv", layer.relate.weight.numpy()[..., 0, 0], x)
    related = (related + layer.relate.bias.numpy()[None, :, None, None]).reshape(2, 2, 3, 2, 6, 5)
    alike = np.einsum("bkctv,bkctw->bkvw", related[:, 0], related[:, 1]) / (2 * 6)  # 2 channels, 6 frames
    edges = layer.edges.numpy()
    if topology == "added":
        powers = np.exp(alike)
        graph = adjacency + edges + powers / powers.sum(axis=2, keepdims=True)  # a receiver's shares sum to 1
    else:
        graph = edges + layer.alpha.item() * np.tanh(alike)
    np.testing.assert_allclose(layer.compute_adjacency(paddle.to_tensor(x)).numpy(), graph, rtol=0, atol=1e-5)
    weight = layer.conv.weight.numpy().reshape(8, 3, 2)
    expected = np.einsum("oki,bitv,bkvw->botw", weight, x, graph)
    expected += layer.bias.numpy().sum(axis=0)
    np.testing.assert_allclose(layer(paddle.to_tensor(x)).numpy(), expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("num_joints", [5, 6])
def test_attention_gates_joints_then_frames_then_channels(num_joints):
    layer = Attention(4, num_joints)
    randomize(layer)
    x = y = np.abs(draw(2, 4, 12, num_joints, seed=3))
    kernel = layer.joints.weight.numpy()[0, :, 0]
    assert kernel.shape == (4, 5)  # odd: a joint in the middle
    padded = np.pad(x.mean(axis=2), ((0, 0), (0, 0), (2, 2)))
    logits = [np.einsum("bcv,cv->b", padded[:, :, j : j + 5], kernel) for j in range(num_joints)]
    y = y + y * sigmoid(np.stack(logits, axis=-1) + layer.joints.bias.item())[:, None, None, :]
    padded = np.pad(y.mean(axis=3), ((0, 0), (0, 0), (4, 4)))
    kernel = layer.frames.weight.numpy()[0, :, :, 0]
    logits = [np.einsum("bct,ct->b", padded[:, :, t : t + 9], kernel) for t in range(12)]
    y = y + y * sigmoid(np.stack(logits, axis=-1) + layer.frames.bias.item())[:, None, :, None]
    squeeze, excite = (conv.weight.numpy()[..., 0, 0].T for conv in (layer.squeeze, layer.excite))
    hidden = y.mean(axis=(2, 3)) @ squeeze + layer.squeeze.bias.numpy()
    gates = np.maximum(hidden, 0) @ excite + layer.excite.bias.numpy()
    y = y + y * sigmoid(gates)[:, :, None, None]
    np.testing.assert_allclose(layer(paddle.to_tensor(x)).numpy(), y, rtol=1e-4)


@pytest.mark.parametrize("topology", ["added", "gated"])
def test_a_new_network_starts_as_published(topology):
    paddle.seed(0)
    block = AGCN(60, topology=topology, attention=True, num_blocks=[1, 1]).blocks[1]
    adjacency = build_adjacency(get_layout("ntu25"), "inward_outward")
    edges = block.graph_conv.edges.numpy()[0]
    if topology == "added":
        np.testing.assert_array_equal(edges, np.float32(1e-6))
        np.testing.assert_array_equal(block.graph_conv.adjacency.numpy()[0], adjacency)
    else:
        np.testing.assert_array_equal(edges, adjacency)
        assert block.graph_conv.alpha.item() == 0.0
    assert (block.norm1.weight.numpy() == np.float32(1e-6)).all() and (block.norm2.weight.numpy() == 1).all()
    spreads = {
        block.graph_conv.relate: 2 / 32,  # He by fan-out, for each subset
        block.graph_conv.conv: 2 / (128 * 64 * 3),
        block.conv: 2 / (128 * 9),
        block.shortcut[0]: 2 / 128,
        block.gcn_shortcut[0]: 2 / 128,
        block.attention.joints: 2 / (25 * 129),
        block.attention.squeeze: 2 / 128,
    }
    for layer, variance in spreads.items():
        assert layer.weight.numpy().std() == pytest.approx(math.sqrt(variance), rel=0.05)
    for layer in (block.attention.frames, block.attention.excite):
        assert not layer.weight.numpy().any()


def test_gates_of_a_new_network_without_joints_favour_nobody():
    layer = Attention(4, 5)
    layer.joints.weight.set_value(np.zeros([1, 4, 1, 5], np.float32))
    x = draw(2, 4, 6, 5)
    np.testing.assert_allclose(layer(paddle.to_tensor(x)).numpy(), 1.5**3 * x, rtol=1e-5)


def rename_as_official(weights):
    """Rename PYSKL's weights to the names of the official `model/aagcn.py`."""
    renamed = {}
    for name, value in weights.items():
        parts = name.split(".")
        if name.startswith("backbone.gcn."):
            layer = {"gcn": "gcn1", "tcn": "tcn1", "residual": "residual"}[parts[3]]
            rest = ["PA"] if parts[4:] == ["A"] else parts[4:]
            renamed[".".join([f"l{int(parts[2]) + 1}", layer, *rest])] = value
        else:
            renamed[{"data_bn": "data_bn", "fc_cls": "fc"}[parts[1]] + f".{parts[2]}"] = value
    return renamed


def test_official_files_become_the_same_network_as_pyskl_ones():
    reference = vectors.load("pyskl_aagcn_ntu_T32")
    weights = vectors.draw_weights(reference)
    official = rename_as_official(weights)
    assert {"l10.gcn1.conv_ta.weight", "l5.residual.conv.weight", "l1.gcn1.PA", "fc.bias"} <= set(official)
    ours, theirs = convert_agcn_weights(weights), convert_agcn_weights(official)
    assert list(ours) == list(theirs)
    for name, value in ours.items():
        np.testing.assert_array_equal(theirs[name], value)


def test_the_classifier_is_the_only_linear_layer():  # convert_weights.py tells by that what fine-tuning leaves out
    layers = AGCN(3, attention=True, **SMALL).named_sublayers()
    assert [name for name, layer in layers if isinstance(layer, paddle.nn.Linear)] == ["fc"]


def test_files_of_the_first_paper_fit_too():
    reference = vectors.load("pyskl_agcn_noattention_ntu_T32")
    official = rename_as_official(vectors.draw_weights(reference))
    first = {name: value for name, value in official.items() if not name.endswith("alpha")}  # it has no gates
    model = AGCN(60)
    converted = convert_torch_weights(convert_agcn_weights(first), model)
    assert set(converted) == set(model.state_dict())


def test_a_file_without_a_subset_is_refused():
    weights = vectors.draw_weights(vectors.load("pyskl_agcn_noattention_ntu_T32"))
    del weights["backbone.gcn.2.gcn.conv_b.1.weight"]
    with pytest.raises(
        ValueError, match=r"blocks\.2\.graph_conv\.relate\.weight has shape \[80, 64, 1, 1\], the model"
    ):
        convert_torch_weights(convert_agcn_weights(weights), AGCN(60, topology="gated"))


@pytest.mark.parametrize("arguments", [{}, {"topology": "gated", "attention": True}])
def test_a_small_network_learns_three_samples_by_heart(arguments):
    paddle.seed(0)
    model = AGCN(3, **SMALL, **arguments)
    x, labels = draw(3, 3, 8, 25, 2), paddle.to_tensor([0, 1, 2])
    x[2, ..., 1] = 0.0
    x = paddle.to_tensor(x)
    optimizer = paddle.optimizer.Momentum(0.05, 0.9, parameters=model.parameters())
    for _ in range(25):
        loss = F.cross_entropy(model(x), labels)
        loss.backward()
        optimizer.step()
        optimizer.clear_grad()
    assert loss.item() < 0.1


@pytest.mark.parametrize("topology", ["added", "gated"])
def test_each_body_has_a_graph_of_its_own(topology):
    paddle.seed(0)
    model = AGCN(3, topology=topology, **SMALL)
    model.eval()
    for block in model.blocks:
        block.norm1.weight.set_value(np.ones(block.norm1.weight.shape, np.float32))
    if topology == "gated":
        for block in model.blocks:
            block.graph_conv.alpha.set_value(np.ones([1], np.float32))
    x = draw(3, 3, 8, 25, 2)
    together = model(paddle.to_tensor(x)).numpy()
    alone = np.concatenate([model(paddle.to_tensor(x[i : i + 1])).numpy() for i in range(3)])
    np.testing.assert_allclose(alone, together, rtol=0, atol=1e-5 * np.abs(together).max())
    # Both persons have the statistics of a new norm: here they may change places, and a graph must follow its body.
    swapped = model(paddle.to_tensor(x[..., ::-1].copy())).numpy()
    np.testing.assert_allclose(swapped, together, rtol=0, atol=1e-5 * np.abs(together).max())


def test_each_person_has_a_norm_of_his_own():
    model = AGCN(3, **SMALL)
    assert model.data_norm.norm.weight.shape == [150]
    model.eval()
    model.data_norm.norm.weight.set_value(draw(150))
    x = draw(1, 3, 8, 25, 2)
    swapped = model(paddle.to_tensor(x[..., ::-1].copy())).numpy()
    assert np.abs(swapped - model(paddle.to_tensor(x)).numpy()).max() > 1e-4


def test_dropout_is_of_the_features():
    model = AGCN(3, dropout=1.0, **SMALL)
    logits = model(paddle.to_tensor(draw(2, 3, 8, 25, 2))).numpy()
    np.testing.assert_allclose(logits, np.tile(model.fc.bias.numpy(), (2, 1)), rtol=1e-6)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"topology": "fixed"}, "AGCN: topology must be 'added' or 'gated', got 'fixed'"),
        ({"base_channels": 3}, "AGCN: base_channels must be at least 4, got 3"),
        ({"num_blocks": [0]}, "AGCN: num_blocks must have at least 1 block in each stage, got [0]"),
    ],
)
def test_bad_argument_is_named(arguments, message):
    with pytest.raises(ValueError) as error:
        AGCN(4, **arguments)
    assert str(error.value) == message


def test_other_layouts_and_channels_fit():
    model = models.build_model("agcn", num_classes=7, layout="coco17", in_channels=2, num_persons=1, attention=True)
    assert list(model(paddle.zeros([2, 2, 5, 17, 1])).shape) == [2, 7]
    with pytest.raises(ValueError, match=r"AGCN: expected input \(N, 2, T, 17, 1\), got \(2, 3, 8, 17, 1\)"):
        model(paddle.zeros([2, 3, 8, 17, 1]))
