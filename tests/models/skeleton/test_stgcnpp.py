"""ST-GCN++ against PYSKL's network (golden vectors), and its laws."""

import re

import golden_skeletons
import numpy as np
import paddle
import pytest

from layouts import get_layout
from models.parts.graphs import build_adjacency
from models.skeleton.stgcnpp import STGCNPP

pytestmark = pytest.mark.filterwarnings("ignore:When training, we now always track")

SMALL = {"base_channels": 8, "num_blocks": [1, 1]}


def find_layer(name):
    """Return the name of our layer with the output of an authors' layer."""
    name = re.sub(r"^backbone\.gcn\.(\d+)$", r"blocks.\1", name)
    return name if re.fullmatch(r"blocks\.\d+", name) else {"cls_head.fc_cls": "fc"}.get(name)


def test_network_is_the_authors():
    name = "pyskl_stgcnpp_ntu_T32"
    golden_skeletons.assert_size_is_the_authors(name)
    run = golden_skeletons.run_golden(name)
    golden_skeletons.assert_inner_outputs_match(run, find_layer)
    golden_skeletons.assert_outputs_match(run)
    golden_skeletons.assert_gradients_match(run, ties=True)


def test_a_new_network_has_the_graph_of_its_layout_in_each_block_and_learns_it():
    expected = build_adjacency(get_layout("hand21"), "inward_outward")
    model = STGCNPP(3, layout="hand21", num_persons=1, **SMALL)
    for block in model.blocks:
        np.testing.assert_array_equal(block.graph.graph_conv.edges.numpy()[0], expected)
        assert not block.graph.graph_conv.edges.stop_gradient
    assert list(model(paddle.zeros([2, 3, 9, 21, 1])).shape) == [2, 3]


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"base_channels": 5}, "STGCNPP: base_channels must be at least 6, one for each branch, got 5"),
        ({"num_blocks": [2, 0]}, "STGCNPP: num_blocks must have at least 1 block in each stage, got [2, 0]"),
    ],
)
def test_bad_argument_is_named(arguments, message):
    with pytest.raises(ValueError) as error:
        STGCNPP(4, **arguments)
    assert str(error.value) == message


def test_input_of_another_size_is_refused():
    with pytest.raises(ValueError, match=r"STGCNPP: expected input \(N, 3, T, 25, 2\), got \(2, 3, 8, 17, 2\)"):
        STGCNPP(3, **SMALL)(paddle.zeros([2, 3, 8, 17, 2]))
