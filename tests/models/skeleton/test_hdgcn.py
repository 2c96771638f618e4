"""HD-GCN against the authors' network (golden vectors), and its laws."""

import re

import golden_skeletons
import numpy as np
import paddle
import paddle.nn.functional as F
import pytest
from golden_checks import assert_logits_match

from models.skeleton.hdgcn import HDGCN, EdgeConv, convert_hdgcn_weights
from tools.golden import vectors

pytestmark = pytest.mark.filterwarnings("ignore:When training, we now always track")

SMALL = {"base_channels": 8, "num_blocks": [1, 1]}
GOLDEN = vectors.list_names("hdgcn_*")
LONG = ["hdgcn_ntu60_com1_T24", "hdgcn_ntu60_com21_T32"]
every_file = pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.long if name in LONG else ()) for name in GOLDEN]
)


def find_layer(name):
    """Return the name of our layer with the output of an authors' layer."""
    name = re.sub(r"^l(\d+)\b", lambda found: f"blocks.{int(found[1]) - 1}", name)
    name = name.replace("gcn1", "graph").replace("tcn1", "temporal").replace("aha.aggregate", "attention.expand")
    return name if re.fullmatch(r"blocks\.\d+(\.(graph|temporal|graph\.attention\.expand))?", name) else None


def draw(*shape, seed=0):
    return paddle.to_tensor(np.random.default_rng(seed).standard_normal(shape).astype(np.float32))


def test_there_are_golden_files_of_every_kind_of_hierarchy():
    assert len(GOLDEN) == 4 and set(LONG) < set(GOLDEN)


@every_file
def test_network_is_the_authors(name):
    golden_skeletons.assert_size_is_the_authors(name)
    run = golden_skeletons.run_golden(name)
    golden_skeletons.assert_inner_outputs_match(run, find_layer)
    golden_skeletons.assert_outputs_match(run)
    golden_skeletons.assert_gradients_match(run, ties="zeroed" in run.reference["input"])


@every_file
def test_training_sees_the_authors_statistics(name):
    reference = vectors.load(name)
    expected, model = reference["training"]["batch_statistics"], vectors.build(reference)
    model.train()
    logits = model(paddle.to_tensor(vectors.draw_input(reference)))
    assert_logits_match(logits.numpy(), expected["logits"])
    labels = paddle.to_tensor(expected["labels"])
    loss = model.compute_losses(model.name_outputs(logits), labels, F.cross_entropy)["loss_cls"]
    assert loss.item() == pytest.approx(expected["losses"]["loss_cls"], rel=1e-4)
    for ours, theirs in (("_mean", "running_mean"), ("_variance", "running_var")):
        print(name, ours, np.sqrt(sum((v.numpy().astype(np.float64)**2).sum() for k,v in model.state_dict().items() if k.endswith(ours))), expected["running_after"][theirs])


@pytest.mark.parametrize("name", GOLDEN)
def test_a_new_network_has_the_authors_graphs(name):
    reference = vectors.load(name)
    _, arguments = vectors.describe(reference)
    model = HDGCN(**{**arguments, **SMALL})
    entry = reference["initial_values"]["every gcn1.PA"]
    expected = np.zeros(entry["shape"])
    for *index, value in entry["nonzero_index_and_value"]:
        expected[tuple(index)] = value
    for block in model.blocks:
        np.testing.assert_allclose(block.graph.adjacency.numpy(), expected, atol=1e-7)
    members = model.blocks[1].graph.attention.members.numpy()
    joints = [sorted(layer) for layer in reference["constants"]["aha.layers"]]
    assert [list(np.flatnonzero(row)) for row in members] == joints
    np.testing.assert_allclose(members.max(axis=1), [1 / len(layer) for layer in joints], rtol=1e-6)


def test_the_last_layer_that_a_file_has_twice_is_read_once():
    reference = vectors.load("hdgcn_ucla_com2_T26")
    weights = vectors.draw_weights(reference)
    aliases = reference["state_alias"].items()
    copies = {
        name.replace(other, copy, 1): value
        for copy, other in aliases
        for name, value in weights.items()
        if name.startswith(other)
    }
    assert len(copies) == 10 * 3 * 6 + 10 * 5
    once, twice = convert_hdgcn_weights(weights), convert_hdgcn_weights({**weights, **copies})
    assert once.keys() == twice.keys()
    for name, value in once.items():
        np.testing.assert_array_equal(twice[name], value, err_msg=name)
