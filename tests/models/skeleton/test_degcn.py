"""DeGCN as released against the authors' network (golden vectors), and its laws."""

import re

import golden_skeletons
import numpy as np
import paddle
import pytest
from golden_checks import assert_logits_match
from static_programs import assert_program_matches

from engine.losses import CrossEntropy
from models.skeleton.degcn import DeformableTemporalConv, DeGCN
from tools.golden import vectors

pytestmark = pytest.mark.filterwarnings("ignore:When training, we now always track")

SMALL = {"base_channels": 32, "num_blocks": [1, 1]}
GOLDEN = vectors.list_names("degcn_*")
LONG = ["degcn_ntu60_T64"]
every_file = pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.long if name in LONG else ()) for name in GOLDEN]
)


def find_layer(name):
    """Return the name of our layer with the output of an authors' layer."""
    name = re.sub(r"\.block-(\d)_tcngcn", r".\1", name)
    name = name.replace(".gcn", ".graph").replace(".tcn", ".temporal")
    return name if re.fullmatch(r"streams\.\d\.\d(\.(graph|temporal))?", name) else None


def draw(*shape, seed=0):
    return paddle.to_tensor(np.random.default_rng(seed).standard_normal(shape).astype(np.float32))


def test_there_are_golden_files_of_one_stream_and_of_two():
    assert len(GOLDEN) == 2 and set(LONG) < set(GOLDEN)


@every_file
def test_network_is_the_authors(name):
    golden_skeletons.assert_size_is_the_authors(name)
    run = golden_skeletons.run_golden(name)
    golden_skeletons.assert_inner_outputs_match(run, find_layer)
    golden_skeletons.assert_outputs_match(run)
    golden_skeletons.assert_gradients_match(run, ties="zeroed" in run.reference["input"])


@every_file
@pytest.mark.parametrize("kind", ["running_statistics", "batch_statistics"])
def test_losses_of_training_are_the_authors(name, kind):
    reference = vectors.load(name)
    expected, model = reference["training"][kind], vectors.build(reference)
    if kind == "batch_statistics":
        model.train()
    model.training = True  # in evaluation the network alone, not its layers
    outputs = model.name_outputs(model(paddle.to_tensor(vectors.draw_input(reference))))
    for number, logits in enumerate(expected["stream_logits"]):
        assert_logits_match(outputs[f"stream{number}"].numpy(), logits)
    labels = paddle.to_tensor(expected["labels"])
    losses = model.compute_losses(outputs, labels, CrossEntropy(expected["label_smoothing"]))
    losses = {name: loss.item() for name, loss in losses.items()}
    theirs = {name: loss for name, loss in expected["losses"].items() if name != "total"}
    assert losses == pytest.approx(theirs, rel=1e-4) and sum(losses.values()) == pytest.approx(
        expected["losses"]["total"], rel=1e-4
    )
    if kind == "batch_statistics":
        golden_skeletons.assert_running_statistics_match(model, expected["running_after"])


@pytest.mark.parametrize("name", GOLDEN)
def test_a_new_network_has_the_authors_graphs(name):
    _, arguments = vectors.describe(reference := vectors.load(name))
    model = DeGCN(**{**arguments, **SMALL})
    num_joints = model.input_size[1]
    expected = np.zeros((3, num_joints, num_joints))
    for *index, value in reference["initial_values"]["every gcn.A"][0]:
        expected[tuple(index)] = value
    for blocks in model.streams:
        for block in blocks:
            np.testing.assert_allclose(block.graph.adjacency.numpy(), expected, atol=1e-7)


def test_frames_between_two_are_their_mean_and_those_beyond_an_end_are_that_end():
    layer = DeformableTemporalConv(1, 3, reach=2, stride=2)
    np.testing.assert_array_equal(layer.offsets.numpy(), [-2, 0, 2])
    layer.offsets.set_value(np.float32([-1.75, 0, 0.25]))
    shares = layer.weigh_frames(4).numpy().reshape(2, 3, 4)
    np.testing.assert_array_equal(shares[0], [[1, 0, 0, 0], [1, 0, 0, 0], [0.75, 0.25, 0, 0]])
    np.testing.assert_array_equal(shares[1], [[0.75, 0.25, 0, 0], [0, 0, 1, 0], [0, 0, 0.75, 0.25]])
    layer.offsets.set_value(np.float32([-9, 0.5, 9]))
    shares = layer.weigh_frames(3).numpy().reshape(2, 3, 3)
    np.testing.assert_array_equal(shares, [[[1, 0, 0], [0.5, 0.5, 0], [0, 0, 1]], [[1, 0, 0], [0, 0, 1], [0, 0, 1]]])


def test_offsets_that_are_whole_frames_learn_too():
    """Those of a new network: the slope is that to the next frame."""
    layer = DeformableTemporalConv(1, 2, reach=1, stride=1)
    layer.conv.weight.set_value(np.float32([[[[1]]], [[[10]]]]))
    layer(paddle.to_tensor(np.float32([1, 2, 4, 8])).reshape([1, 1, 4, 1])).sum().backward()
    # offset -1: frames -1..2, steps 0 + 1 + 2 + 4; offset 1: frames 1..4, steps 2 + 4 + 0 + 0
    np.testing.assert_allclose(layer.offsets.grad.numpy(), [7, 60], rtol=1e-6)


def test_streams_are_added_and_each_has_its_loss():
    model = DeGCN(4, **SMALL, num_streams=3)
    x = draw(2, 3, 8, 25, 2)
    for layer in model.sublayers():
        layer.eval()
    outputs = model(x)
    assert set(outputs) == {"logits", "stream0", "stream1", "stream2"}
    model.eval()
    np.testing.assert_array_equal(model(x).numpy(), outputs["logits"].numpy())
    streams = [outputs[f"stream{number}"].numpy() for number in range(3)]
    np.testing.assert_allclose(sum(streams), outputs["logits"].numpy(), rtol=1e-5)


def test_a_static_program_of_any_batch_and_length_gives_the_same_logits():
    assert_program_matches(DeGCN(4, **SMALL), [draw(2, 3, 8, 25, 2), draw(3, 3, 13, 25, 2)])


def test_bad_arguments_and_inputs_are_refused():
    with pytest.raises(ValueError, match="DeGCN: base_channels must be a multiple of 32, got 48"):
        DeGCN(4, base_channels=48)
    with pytest.raises(ValueError, match="DeGCN: num_blocks must have at least 1 block in each stage"):
        DeGCN(4, num_blocks=[])
    with pytest.raises(ValueError, match=r"DeGCN: expected input \(N, 3, T, 25, 2\), got \(2, 3, 8, 17, 2\)"):
        DeGCN(4, **SMALL)(paddle.zeros([2, 3, 8, 17, 2]))
