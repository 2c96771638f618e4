"""The features of every network: vectors from which its last layer computes its logits."""

import numpy as np
import paddle
import pytest
from small_networks import CASES, NUM_CLASSES, build, draw_batch, move_statistics

from engine import onednn
from models import build_model
from models.parts.features import FEATURES, FeatureNetwork

pytestmark = pytest.mark.filterwarnings("ignore:When training, we now always track")


def run(network, inputs):
    """Return what a network returns, as arrays."""
    with paddle.no_grad():
        return {name: tensor.numpy() for name, tensor in network(*inputs.values()).items()}


def apply_classifiers(model, features, num_samples):
    """Return the logits of each last layer, (N, num_classes), the mean over the parts of a sample."""
    layers, logits = model.list_classifiers(), []
    ends = np.cumsum([layer.weight.shape[0] for layer in layers])
    assert features.shape[1] == ends[-1]
    for layer, part in zip(layers, np.split(features, ends[:-1], axis=1), strict=True):
        logits.append(layer(paddle.to_tensor(part)).numpy().reshape(num_samples, -1, NUM_CLASSES).mean(axis=1))
    return logits


@pytest.mark.parametrize("name", list(CASES))
def test_the_last_layer_makes_the_logits_of_the_features(name):
    model = build(name)
    move_statistics(model, name)
    if name == "pcan":
        model.rectify_weights = {"rgb": 0.0, "pose": 0.0}  # what is added to the logits of the last layer
    inputs = draw_batch(name, 3)
    network = FeatureNetwork(model)
    network.eval()
    outputs = run(network, inputs)
    logits = apply_classifiers(model, outputs[FEATURES], 3)
    logits = logits if model.modalities else [sum(logits)]  # of streams that are added
    heads = [outputs[head] for head in model.modalities or ["logits"]]
    for got, expected in zip(logits, heads, strict=True):
        np.testing.assert_allclose(got, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
    plain = {key: tensor.numpy() for key, tensor in model.name_outputs(model(*inputs.values())).items()}
    assert {*outputs} == {*plain, FEATURES}
    for head, expected in plain.items():
        np.testing.assert_array_equal(outputs[head], expected)


def test_both_streams_of_st_gcn_have_features():
    model = build_model("stgcn", num_classes=NUM_CLASSES, two_stream=True, **CASES["stgcn"].arguments)
    model.eval()
    inputs, network = draw_batch("stgcn", 2), FeatureNetwork(model)
    network.eval()
    outputs = run(network, inputs)
    logits = apply_classifiers(model, outputs[FEATURES], 2)
    assert len(logits) == 2
    np.testing.assert_allclose(sum(logits), outputs["logits"], atol=1e-5 * np.abs(outputs["logits"]).max())


@pytest.mark.skipif(paddle.__version__.startswith("2."), reason="Paddle 2 does not compute these programs")
@pytest.mark.parametrize("name", ["resnet", "tsm", "rgbposeconv3d"])
def test_onednn_gives_the_same_features(name):
    model = build(name)
    move_statistics(model, name)
    network, inputs = FeatureNetwork(model), draw_batch(name, 2)
    network.eval()
    expected, got = run(network, inputs), run(onednn.OneDNNNetwork(network), inputs)
    for head in expected:
        np.testing.assert_allclose(got[head], expected[head], rtol=0, atol=1e-5 * np.abs(expected[head]).max())
