"""HD-GCN against the authors' network (golden vectors), and its laws."""

import re

import golden_skeletons
import numpy as np
import paddle
import paddle.nn.functional as F
import pytest
from golden_checks import assert_logits_match
from static_programs import assert_program_matches

from models.skeleton.hdgcn import HDGCN, EdgeConv, convert_hdgcn_weights
from tools.golden import vectors

pytestmark = pytest.mark.filterwarnings("ignore:When training, we now always track")

SMALL = {"base_channels": 8, "num_blocks": [1, 1]}
GOLDEN = vectors.list_names("hdgcn_*")
LONG = ["hdgcn_ntu120_com2_T16", "hdgcn_ntu60_com1_T24", "hdgcn_ntu60_com21_T32"]
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
    """In float64: neighbours are chosen by distance, and processors round a near tie in float32 either way."""
    reference = vectors.load(name)
    expected, model = reference["training"]["batch_statistics"], vectors.build(reference).to(dtype="float64")
    model.train()
    logits = model(paddle.to_tensor(vectors.draw_input(reference).astype(np.float64)))
    assert_logits_match(logits.numpy(), expected["logits"])
    labels = paddle.to_tensor(expected["labels"])
    loss = model.compute_losses(model.name_outputs(logits), labels, F.cross_entropy)["loss_cls"]
    assert loss.item() == pytest.approx(expected["losses"]["loss_cls"], rel=1e-4)
    golden_skeletons.assert_running_statistics_match(model, expected["running_after"])


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


def test_the_last_layer_that_a_file_has_twice_is_read_once_and_counters_are_left_out():
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
    counters = {name.replace("running_mean", "num_batches_tracked"): np.asarray(9) for name in {**weights, **copies}}
    others = {name: value for name, value in {**copies, **counters}.items() if name not in weights}
    once, twice = convert_hdgcn_weights(weights), convert_hdgcn_weights({**weights, **others})
    assert once.keys() == twice.keys()
    for name, value in once.items():
        np.testing.assert_array_equal(twice[name], value, err_msg=name)


def test_an_edge_convolution_is_the_one_of_the_paper():
    """By hand: each node's features of its nearest nodes, itself among them, through the weights, and their largest."""
    rng = np.random.default_rng(0)
    layer = EdgeConv(2, num_neighbours=3, num_graphs=2)
    layer.eval()
    weight = rng.standard_normal(layer.weight.shape).astype(np.float32)
    layer.weight.set_value(weight)
    x = rng.standard_normal((2, 4, 6)).astype(np.float32)
    expected = np.zeros((2, 4, 6))
    for sample, graph, node in np.ndindex(2, 2, 6):
        nodes = x[sample, 2 * graph : 2 * graph + 2]
        nearest = np.argsort(((nodes - nodes[:, [node]]) ** 2).sum(axis=0))[:3]
        features = [np.concatenate([nodes[:, other] - nodes[:, node], nodes[:, node]]) for other in nearest]
        values = np.stack([weight[2 * graph : 2 * graph + 2, :, 0, 0] @ feature for feature in features])
        expected[sample, 2 * graph : 2 * graph + 2, node] = np.where(values > 0, values, 0.2 * values).max(axis=0)
    np.testing.assert_allclose(layer(paddle.to_tensor(x)).numpy(), expected, rtol=1e-4, atol=1e-5)


def test_few_nodes_have_as_many_neighbours():
    layer = EdgeConv(2, num_neighbours=5)
    assert list(layer(draw(1, 2, 3)).shape) == [1, 2, 3]


def test_a_joint_hears_of_another_only_where_their_groups_meet():
    """The subsets of one layer: those of a far group do not change, those of the next one do."""
    model = HDGCN(3, **SMALL, com=21)
    graph = model.blocks[0].graph
    graph.eval()
    outputs = []
    graph.transform_norm.register_forward_post_hook(lambda _layer, _inputs, output: outputs.append(output.numpy()))
    x = draw(1, 3, 1, 25).numpy()
    graph(paddle.to_tensor(x))
    x[..., 20] += 1  # between the shoulders, the centre
    graph(paddle.to_tensor(x))
    change = np.abs(outputs[1] - outputs[0]).reshape(6, 3, 2, 25).max(axis=2)  # (L, 3, channels, V)
    assert [list(np.flatnonzero(subset > 1e-6)) for subset in change[0]] == [[20], [1, 2, 4, 8], []]
    assert change[1:].max() < 1e-6


def test_first_weights_are_the_authors():
    paddle.seed(0)
    model = HDGCN(4, num_blocks=[2])
    graph = model.blocks[1].graph
    for layer, fan_out in (
        (graph.reduce, 16),
        (graph.transform, 16),
        (graph.edges, 16),
        (graph.attention.reduce[0], 16),
    ):
        assert layer.weight.numpy().std() == pytest.approx((2 / fan_out) ** 0.5, rel=0.05)
    assert not graph.bias.numpy().any() and not graph.reduce.bias.numpy().any()
    np.testing.assert_array_equal(graph.norm.weight.numpy(), np.float32(1e-6))
    limits = [np.abs(values.numpy()).max() for values in (graph.attention.expand.weight, graph.attention.expand.bias)]
    assert max(limits) <= 0.25 and min(limits) > 0.2  # uniform to 1 / sqrt(16)
    assert model.blocks[0].graph.attention is None


@pytest.mark.parametrize(
    "arguments, shape",
    [
        ({"com": 2}, (2, 3, 1, 25, 2)),
        ({"layout": "ucla20", "com": 3, "num_persons": 1}, (3, 3, 7, 20, 1)),
        ({"in_channels": 6, "num_persons": 3}, (1, 6, 5, 25, 3)),
    ],
)
def test_any_centre_channels_persons_and_frames_give_logits(arguments, shape):
    model = HDGCN(5, **{**SMALL, **arguments})
    for mode in (model.train, model.eval):
        mode()
        logits = model(draw(*shape))
        assert list(logits.shape) == [shape[0], 5] and np.isfinite(logits.numpy()).all()


def test_a_static_program_of_any_batch_and_length_gives_the_same_logits():
    batches = [draw(2, 3, 8, 25, 2), draw(3, 3, 13, 25, 2)]
    assert_program_matches(HDGCN(4, **SMALL), batches)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"base_channels": 6}, "HDGCN: base_channels must be a multiple of 4, got 6"),
        ({"num_blocks": [2, 0]}, "HDGCN: num_blocks must have at least 1 block in each stage, got [2, 0]"),
        (
            {"com": 3},
            "layout 'ntu25': no hierarchy around joint 3, counted from 1 (it has those around: 1 (spine_base), 2 "
            "(spine_mid), 21 (spine_shoulder)); choose one of them, or give its file `hierarchies`",
        ),
        (
            {"layout": "coco17"},
            "layout 'coco17': no hierarchy around joint 1, counted from 1 (it has those around: none); choose one of "
            "them, or give its file `hierarchies`",
        ),
    ],
)
def test_bad_argument_is_named(arguments, message):
    with pytest.raises(ValueError) as error:
        HDGCN(4, **arguments)
    assert str(error.value) == message


def test_input_of_another_layout_is_refused():
    with pytest.raises(ValueError, match=r"HDGCN: expected input \(N, 3, T, 25, 2\), got \(2, 3, 8, 17, 2\)"):
        HDGCN(4, **SMALL)(paddle.zeros([2, 3, 8, 17, 2]))
