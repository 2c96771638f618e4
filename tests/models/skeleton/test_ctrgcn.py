"""CTR-GCN against the authors' network and PYSKL's (golden vectors), and its laws."""

import re

import golden_skeletons
import numpy as np
import paddle
import paddle.nn.functional as F
import pytest
from static_programs import assert_program_matches

from models.skeleton.ctrgcn import CTRGCN, TopologyConv, refine_topology

pytestmark = pytest.mark.filterwarnings("ignore:When training, we now always track")

GOLDEN = ["ctrgcn_ntu60_T32", "ctrgcn_ntu60_fixedA_T32", "pyskl_ctrgcn_ntu_T32"]
SMALL = {"base_channels": 8, "num_blocks": [1, 1]}


def find_layer(name):
    """Return the name of our layer with the output of an authors' layer."""
    name = re.sub(r"^backbone\.net\.", "blocks.", name)
    name = re.sub(r"^l(\d+)\b", lambda found: f"blocks.{int(found[1]) - 1}", name)
    for theirs, ours in (("gcn1", "graph"), ("tcn1", "temporal"), ("residual", "shortcut")):
        name = name.replace(theirs, ours)
    return name if re.fullmatch(r"blocks\.\d+(\.(graph|temporal|shortcut))?|fc", name) else None


def draw_skeletons(*shape, seed=0):
    return paddle.to_tensor(np.random.default_rng(seed).standard_normal(shape).astype(np.float32))


@pytest.mark.parametrize("name", GOLDEN)
def test_network_is_the_authors(name):
    golden_skeletons.assert_size_is_the_authors(name)
    run = golden_skeletons.run_golden(name)
    golden_skeletons.assert_inner_outputs_match(run, find_layer)
    golden_skeletons.assert_outputs_match(run)
    golden_skeletons.assert_gradients_match(run, ties=True)


@pytest.mark.parametrize("aggregation", ["rows", "columns"])
def test_a_joint_gathers_by_the_rows_or_columns_of_the_shared_topology(aggregation):
    adjacency = np.zeros((1, 3, 3), np.float32)
    adjacency[0, 0, 2] = 5
    layer = TopologyConv(2, 2, adjacency, True, aggregation)
    layer.transform.weight.set_value(np.eye(2, dtype=np.float32).reshape(2, 2, 1, 1))
    layer.norm.weight.set_value(np.ones(2, np.float32))
    layer.eval()
    x = np.zeros((1, 2, 1, 3), np.float32)
    x[0, :, 0] = [[1, 2, 3], [10, 20, 30]]
    gathered = [[15, 0, 0], [150, 0, 0]] if aggregation == "rows" else [[0, 0, 5], [0, 0, 50]]
    np.testing.assert_allclose(layer(paddle.to_tensor(x)).numpy()[0, :, 0], x[0, :, 0] + gathered, rtol=1e-4)


def test_a_new_graph_convolution_passes_its_input_and_does_not_refine_yet():
    model = CTRGCN(4, **SMALL, layout="ucla20", num_persons=1)
    graph = CTRGCN(4, base_channels=8, num_blocks=[2]).blocks[1].graph
    x = draw_skeletons(2, 8, 4, 25)
    np.testing.assert_allclose(graph(x).numpy(), F.relu(x).numpy(), atol=1e-4)
    first = model.blocks[0].graph
    relations = draw_skeletons(2, 3, 8, 20, 20)
    topology = refine_topology(relations, first.refine, first.alpha, first.adjacency, first.convolve).numpy()
    adjacency = first.adjacency.numpy()
    np.testing.assert_array_equal(topology.reshape(2, 3, 8, 20, 20), np.tile(adjacency[None, :, None], (2, 1, 8, 1, 1)))


def test_relations_are_an_eighth_of_a_wide_input_and_eight_at_least():
    wide = CTRGCN(4, base_channels=128, num_blocks=[1, 1])
    assert [block.graph.refine.weight.shape[1] for block in wide.blocks] == [8, 16]
    narrow = CTRGCN(4, base_channels=16, num_blocks=[1, 1], in_channels=15)
    assert [block.graph.refine.weight.shape[1] for block in narrow.blocks] == [8, 8]


def test_each_part_of_a_joined_convolution_has_the_authors_spread():
    paddle.seed(0)
    graph = CTRGCN(4, num_blocks=[2]).blocks[1].graph
    for layer, fan_out in ((graph.relate, 8), (graph.transform, 64), (graph.refine, 64)):
        assert layer.weight.numpy().std() == pytest.approx((2 / fan_out) ** 0.5, rel=0.05)
        assert not layer.bias.numpy().any()
    np.testing.assert_array_equal(graph.alpha.numpy(), 0)
    temporal = CTRGCN(4, num_blocks=[2]).blocks[1].temporal
    assert temporal.reduce.weight.numpy().std() == pytest.approx((2 / 16) ** 0.5, rel=0.05)
    assert temporal.convs[0].weight.numpy().std() == pytest.approx((2 / (16 * 5)) ** 0.5, rel=0.1)


def test_stages_halve_the_frames_and_double_the_width():
    model = CTRGCN(4, base_channels=8, num_blocks=[2, 1, 1])
    shapes = []
    for block in model.blocks:
        block.register_forward_post_hook(lambda _layer, _inputs, output: shapes.append(list(output.shape)))
    model(draw_skeletons(1, 3, 9, 25, 2))
    assert shapes == [[2, 8, 9, 25], [2, 8, 9, 25], [2, 16, 5, 25], [2, 32, 3, 25]]


@pytest.mark.parametrize(
    "arguments, shape",
    [
        ({}, (2, 3, 1, 25, 2)),
        ({"layout": "coco17", "num_persons": 1}, (3, 3, 7, 17, 1)),
        ({"layout": "hdm05", "in_channels": 15, "num_persons": 3}, (1, 15, 4, 31, 3)),
        ({"base_channels": 10, "dropout": 0.5, "learn_adjacency": False}, (2, 3, 8, 25, 2)),
    ],
)
def test_any_layout_channels_persons_frames_and_width_give_logits(arguments, shape):
    model = CTRGCN(5, **{**SMALL, **arguments})
    for mode in (model.train, model.eval):
        mode()
        logits = model(draw_skeletons(*shape))
        assert list(logits.shape) == [shape[0], 5]
        assert np.isfinite(logits.numpy()).all()


def test_a_topology_that_is_not_learnt_is_no_parameter_and_not_saved():
    learnt, fixed = (CTRGCN(4, **SMALL, learn_adjacency=learn) for learn in (True, False))
    names = [f"blocks.{number}.graph.adjacency" for number in range(2)]
    assert set(learnt.state_dict()) - set(fixed.state_dict()) == set(names)
    np.testing.assert_array_equal(fixed.blocks[0].graph.adjacency.numpy(), learnt.blocks[0].graph.adjacency.numpy())


def test_missing_persons_leave_logits_and_gradients_finite():
    model = CTRGCN(4, **SMALL)
    x = draw_skeletons(3, 3, 8, 25, 2).numpy()
    x[1, ..., 1] = 0  # one person
    x[2] = 0  # nobody
    loss = F.cross_entropy(model(paddle.to_tensor(x)), paddle.to_tensor([0, 1, 2]))
    loss.backward()
    assert np.isfinite(loss.item())
    assert all(np.isfinite(param.grad.numpy()).all() for param in model.parameters() if not param.stop_gradient)


def test_a_batch_and_its_reverse_in_time_are_told_apart():
    paddle.seed(0)
    model = CTRGCN(4, **SMALL)
    once = draw_skeletons(2, 3, 16, 25, 2)
    x, labels = paddle.concat([once, once.flip(2)]), paddle.arange(4)
    optimizer = paddle.optimizer.Momentum(0.1, 0.9, parameters=model.parameters(), use_nesterov=True)
    for _ in range(60):
        loss = F.cross_entropy(model(x), labels)
        loss.backward()
        optimizer.step()
        optimizer.clear_grad()
    assert loss.item() < 0.1


def test_a_static_program_of_any_batch_and_length_gives_the_same_logits():
    batches = [draw_skeletons(2, 3, 8, 25, 2), draw_skeletons(3, 3, 13, 25, 2)]
    assert_program_matches(CTRGCN(4, **SMALL), batches)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"aggregation": "row"}, "CTRGCN: aggregation must be 'rows' or 'columns', got 'row'"),
        ({"base_channels": 3}, "CTRGCN: base_channels must be at least 4, one for each branch, got 3"),
        ({"num_blocks": []}, "CTRGCN: num_blocks must have a positive number for each stage, got []"),
        ({"num_blocks": [2, 0]}, "CTRGCN: num_blocks must have a positive number for each stage, got [2, 0]"),
    ],
)
def test_bad_argument_is_named(arguments, message):
    with pytest.raises(ValueError) as error:
        CTRGCN(4, **arguments)
    assert str(error.value) == message


def test_input_of_another_layout_is_refused():
    with pytest.raises(ValueError, match=r"CTRGCN: expected input \(N, 3, T, 25, 2\), got \(2, 3, 8, 17, 2\)"):
        CTRGCN(4, **SMALL)(paddle.zeros([2, 3, 8, 17, 2]))
