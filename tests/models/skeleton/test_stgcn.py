"""ST-GCN against the authors' networks and PYSKL's (golden vectors); its parts against hand-made answers."""

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
from paddle import nn

import models
from layouts import get_layout
from models.parts.graphs import build_adjacency
from models.parts.skeleton_layers import Aggregate, list_block_sizes
from models.parts.weights import apply_rules, convert_torch_weights
from models.skeleton.stgcn import (
    PYSKL_RULES,
    STGCN,
    STGCN_RULES,
    GraphConv,
    convert_pyskl_stgcn_weights,
    convert_stgcn_weights,
    subtract_neighbour_frames,
)
from tools.golden import vectors

pytestmark = pytest.mark.filterwarnings("ignore:When training, we now always track")

LONG = ["stgcn_ntu_distance_T30", "stgcn_twostream_ntu_T16"]
GOLDEN = [*vectors.list_names("stgcn_*"), *vectors.list_names("pyskl_stgcn_*")]
SMALL = {"base_channels": 4, "num_blocks": [1, 1]}


def build(seed=0, **arguments):
    """Build a small network for 3 classes, in evaluation mode, with weights large enough to matter."""
    model = STGCN(3, **{**SMALL, **arguments})
    rng = np.random.default_rng(seed)
    for layer in model.sublayers():
        if isinstance(layer, (nn.Conv2D, nn.Linear)):
            shape = layer.weight.shape
            spread = np.sqrt(2 / np.prod(shape[1:]))
            layer.weight.set_value((spread * rng.standard_normal(shape)).astype(np.float32))
    model.eval()
    return model


def draw(*shape, seed=0):
    """Draw normally distributed values, float32."""
    return paddle.to_tensor(np.random.default_rng(seed).standard_normal(shape).astype(np.float32))


def test_there_are_golden_files_of_both_repositories():
    assert len(GOLDEN) == 6
    assert set(LONG) <= set(GOLDEN)


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.long if n in LONG else ()) for n in GOLDEN])
def test_outputs_and_gradients_are_those_of_the_authors_network(name):
    run = run_golden(name)
    rules = PYSKL_RULES if name.startswith("pyskl") else STGCN_RULES

    def find_layer(layer):
        ours = apply_rules(layer, rules)
        return ours if ours in run.layer_norms else None

    assert [find_layer(f"{start}.9") for start in ("st_gcn_networks", "backbone.gcn")].count("blocks.9") == 1
    assert_inner_outputs_match(run, find_layer)
    assert_outputs_match(run)
    assert_gradients_match(run)


@pytest.mark.parametrize("name", GOLDEN)
def test_size_is_that_of_the_authors_network(name):
    assert_size_is_the_authors(name)


def test_each_stage_but_the_first_doubles_width_and_halves_time():
    widths = [(64, 64, 1)] * 3 + [(64, 128, 2)] + [(128, 128, 1)] * 2 + [(128, 256, 2)] + [(256, 256, 1)] * 2
    assert list_block_sizes(3, 64, None, "") == [(3, 64, 1), *widths]
    assert list_block_sizes(2, 5, [1, 2], "") == [(2, 5, 1), (5, 10, 2), (10, 10, 1)]
    model = build(num_blocks=[1, 1, 1])
    features = model.blocks(draw(2, 3, 13, 25))
    assert list(features.shape) == [2, 16, 4, 25]  # 13 frames, 7, 4


def test_a_joint_gets_what_its_neighbours_send_in_each_subset():
    graph = np.zeros((1, 2, 3, 3), np.float32)
    graph[0, 0, 0, 2] = 5.0  # joint 0 sends to joint 2
    graph[0, 1, 1, 2] = 7.0
    x = np.zeros((1, 2, 4, 3), np.float32)
    x[0, 0, 3] = [1, 10, 100]
    x[0, 1, 3] = [2, 20, 200]
    y = Aggregate()(paddle.to_tensor(x), paddle.to_tensor(graph)).numpy()
    expected = np.zeros((1, 4, 4, 3))
    expected[0, :, 3, 2] = [5, 10, 70, 140]  # subset by subset, all channels in each
    np.testing.assert_array_equal(y, expected)


@pytest.mark.parametrize("adaptive", ["importance", "offset", "init", "none"])
@pytest.mark.parametrize("conv_pos", ["pre", "post"])
def test_a_graph_convolution_is_the_sum_of_the_papers(adaptive, conv_pos):
    rng = np.random.default_rng(1)
    adjacency = rng.random((3, 5, 5), np.float32)
    layer = GraphConv(2, 4, adjacency, adaptive, conv_pos)
    for param in layer.parameters():
        param.set_value(rng.standard_normal(param.shape).astype(np.float32))
    edges = None if adaptive == "none" else layer.edges.numpy()[0]
    graph = {
        "importance": lambda: adjacency * edges,
        "offset": lambda: adjacency + edges,
        "init": lambda: edges,
        "none": lambda: adjacency,
    }[adaptive]()
    x = rng.standard_normal((2, 2, 6, 5)).astype(np.float32)
    weight = layer.conv.weight.numpy().reshape(4, 3, 2)  # (outputs, subsets, inputs)
    if conv_pos == "pre":
        bias = layer.bias.numpy()[0, :, 0].T  # (subsets, outputs)
        mixed = np.einsum("oki,bitv->bkotv", weight, x) + bias[None, :, :, None, None]
        expected = np.einsum("bkotv,kvw->botw", mixed, graph)
    else:
        summed = np.einsum("bitv,kvw->bkitw", x, graph)
        expected = np.einsum("oki,bkitw->botw", weight, summed) + layer.conv.bias.numpy()[None, :, None, None]
    np.testing.assert_allclose(layer(paddle.to_tensor(x)).numpy(), expected, rtol=0, atol=1e-4)


def test_a_new_network_has_the_graph_of_its_layout_and_the_published_spread():
    adjacency = build_adjacency(get_layout("ucla20"), "spatial")
    for adaptive in ("importance", "offset", "init", "none"):
        block = STGCN(3, layout="ucla20", adaptive=adaptive, num_persons=1, num_blocks=[2]).blocks[1]
        graph = block.graph_conv.compute_adjacency().numpy()
        np.testing.assert_allclose(graph, adjacency[None], rtol=0, atol=1.1e-6)
        assert (graph == adjacency).all() == (adaptive != "offset")
        for layer in (block.conv, block.graph_conv.conv):
            assert layer.weight.numpy().std() == pytest.approx(0.02, rel=0.03)
        assert not block.graph_conv.bias.numpy().any() and not block.conv.bias.numpy().any()


def test_the_graph_is_no_weight_unless_it_is_learnt():
    assert "blocks.0.graph_conv.edges" in build(adaptive="init").state_dict()
    assert not [name for name in build(adaptive="none").state_dict() if "graph_conv.edges" in name]
    assert not [name for name in build().state_dict() if "adjacency" in name]


def test_dropout_spares_the_first_block():
    model = STGCN(3, dropout=0.5, **SMALL)
    assert [block.dropout.p for block in model.blocks] == [0.0, 0.5]
    assert [block.shortcut is None for block in model.blocks] == [True, False]


def test_persons_may_change_places_unless_each_has_a_norm_of_his_own():
    x = draw(2, 3, 8, 25, 2)
    swapped = x.flip(axis=4)
    model = build()
    np.testing.assert_allclose(model(swapped).numpy(), model(x).numpy(), rtol=0, atol=1e-5)
    model = build(per_person_norm=True)
    model.data_norm.norm.weight.set_value(draw(150))
    assert np.abs(model(swapped).numpy() - model(x).numpy()).max() > 1e-2


@pytest.mark.parametrize("name", ["stgcn", "agcn"])
def test_an_exported_network_takes_any_number_of_samples(name, tmp_path):
    model = models.build_model(name, num_classes=3, **SMALL)
    model.eval()
    x = draw(3, 3, 8, 25, 2)
    logits = model(x).numpy()
    spec = paddle.static.InputSpec([None, 3, 8, 25, 2], "float32", "skeletons")
    static = paddle.jit.to_static(model, input_spec=[spec], full_graph=True)
    paddle.jit.save(static, str(tmp_path / "net"))
    loaded = paddle.jit.load(str(tmp_path / "net"))
    np.testing.assert_allclose(loaded(x).numpy(), logits, rtol=0, atol=1e-5 * np.abs(logits).max())


def test_a_missing_person_counts_as_one_at_zero():
    x, nobody = draw(1, 3, 8, 25, 1), paddle.zeros([1, 3, 8, 25, 1])
    model = build()
    alone, both, none = (model(paddle.concat(pair, axis=4)).numpy() for pair in ((x, nobody), (x, x), (nobody, nobody)))
    np.testing.assert_allclose(alone, (both + none) / 2, rtol=0, atol=1e-5)
    assert np.isfinite(alone).all()


def test_the_second_stream_sees_how_far_a_joint_leaves_the_way_between_its_neighbours():
    track = np.array([0, 1, 2, 5, 3], np.float32)  # straight on for two steps, then there and back
    x = paddle.to_tensor(np.broadcast_to(track[:, None, None], (1, 2, 5, 3, 2)).copy())
    motion = subtract_neighbour_frames(x).numpy()
    expected = np.broadcast_to(np.array([0, 0, -1, 2.5, 0])[:, None, None], motion.shape)
    np.testing.assert_array_equal(motion, expected)


def test_two_streams_add_their_logits():
    model = build(two_stream=True)
    x = draw(2, 3, 8, 25, 2)
    second = model.motion(subtract_neighbour_frames(x)).numpy()
    assert np.abs(second).max() > 1e-2
    total = model(x).numpy()
    model.motion = None
    np.testing.assert_allclose(total - second, model(x).numpy(), rtol=0, atol=1e-5)


@pytest.mark.parametrize("two_stream", [False, True])
def test_a_small_network_learns_three_samples_by_heart(two_stream):
    paddle.seed(0)
    model = STGCN(3, two_stream=two_stream, gcn_residual=True, adaptive="init", strategy="inward_outward", **SMALL)
    x, labels = draw(3, 3, 8, 25, 2), paddle.to_tensor([0, 1, 2])
    x[2, :, :, :, 1] = 0.0
    optimizer = paddle.optimizer.Momentum(0.1, 0.9, parameters=model.parameters())
    for _ in range(25):
        loss = F.cross_entropy(model(x), labels)
        loss.backward()
        optimizer.step()
        optimizer.clear_grad()
    assert loss.item() < 0.1


@pytest.mark.parametrize("arguments", [{}, {"strategy": "uniform"}, {"max_hop": 2}])
def test_graph_options_reach_every_block(arguments):
    expected = build_adjacency(get_layout("coco17"), **{"strategy": "spatial", **arguments})
    model = build(layout="coco17", in_channels=2, num_persons=1, **arguments)
    for block in model.blocks:
        np.testing.assert_array_equal(block.graph_conv.adjacency.numpy()[0], expected)
    assert list(model(draw(4, 2, 6, 17, 1)).shape) == [4, 3]


def test_files_name_what_does_not_fit():
    reference = vectors.load("stgcn_ntu_spatial_T32")
    weights = vectors.draw_weights(reference)
    del weights["st_gcn_networks.3.tcn.3.weight"], weights["edge_importance.9"]
    with paddle.LazyGuard():
        model = models.build_model("stgcn", **vectors.describe(reference)[1])
    counter = {"st_gcn_networks.0.tcn.0.num_batches_tracked": np.array(9)}
    with pytest.raises(ValueError) as error:
        convert_torch_weights(convert_stgcn_weights({**weights, **counter, "extra": np.zeros(1)}), model)
    assert "3 entries do not fit" in str(error.value)
    for said in ("blocks.3.norm2.weight is missing", "blocks.9.graph_conv.edges is missing", "extra is left over"):
        assert said in str(error.value)


def test_fixed_graphs_in_files_are_told_from_learnt_ones():
    graph = np.ones((3, 25, 25), np.float32)
    assert list(convert_stgcn_weights({"A": graph, "motion_stream.A": graph})) == ["A", "motion.A"]
    both = convert_pyskl_stgcn_weights({"backbone.gcn.0.gcn.A": graph, "backbone.gcn.0.gcn.PA": 2 * graph})
    assert list(both) == ["blocks.0.graph_conv.adjacency", "blocks.0.graph_conv.edges"]
    np.testing.assert_array_equal(both["blocks.0.graph_conv.edges"], 2 * graph[None])
    learnt = convert_pyskl_stgcn_weights({"backbone.gcn.0.gcn.A": graph})
    assert list(learnt) == ["blocks.0.graph_conv.edges"]


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"adaptive": "both"}, "STGCN: adaptive must be one of importance, offset, init, none, got 'both'"),
        ({"conv_pos": "mid"}, "STGCN: conv_pos must be 'pre' or 'post', got 'mid'"),
        ({"base_channels": 0}, "STGCN: base_channels must be at least 1, got 0"),
        ({"num_blocks": [2, 0]}, "STGCN: num_blocks must have at least 1 block in each stage, got [2, 0]"),
        ({"num_blocks": []}, "STGCN: num_blocks must have at least 1 block in each stage, got []"),
        (
            {"strategy": "inward_outward", "max_hop": 2},
            "STGCN: strategy 'inward_outward' has no max_hop and no dilation, got 2 and 1; "
            "leave them at 1, or use one of uniform, distance, spatial",
        ),
    ],
)
def test_bad_argument_is_named(arguments, message):
    with pytest.raises(ValueError) as error:
        STGCN(4, **arguments)
    assert str(error.value) == message


def test_input_of_another_size_is_refused():
    with pytest.raises(ValueError, match=r"STGCN: expected input \(N, 3, T, 25, 2\), got \(2, 3, 8, 17, 2\)"):
        build()(paddle.zeros([2, 3, 8, 17, 2]))


def test_layers_that_are_compared_exist():
    names = dict(build().named_sublayers())
    assert isinstance(names["data_norm.norm"], nn.BatchNorm1D)
    assert "blocks.0" in names and "fc" in names
