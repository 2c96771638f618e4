"""DG-STGCN against PYSKL's network (golden vectors), and its laws."""

import re

import golden_skeletons
import numpy as np
import paddle
import pytest

from models.skeleton.dgstgcn import DGSTGCN, DynamicGraphConv

pytestmark = pytest.mark.filterwarnings("ignore:When training, we now always track")

SMALL = {"base_channels": 8, "num_blocks": [1, 1]}


def find_layer(name):
    """Return the name of our layer with the output of an authors' layer."""
    name = re.sub(r"^backbone\.gcn\.(\d+)$", r"blocks.\1", name)
    return name if re.fullmatch(r"blocks\.\d+", name) else {"cls_head.fc_cls": "fc"}.get(name)


def draw(*shape, seed=0):
    return paddle.to_tensor(np.random.default_rng(seed).standard_normal(shape).astype(np.float32))


def test_network_is_the_authors():
    name = "pyskl_dgstgcn_ntu_T32"
    golden_skeletons.assert_size_is_the_authors(name)
    run = golden_skeletons.run_golden(name)
    golden_skeletons.assert_inner_outputs_match(run, find_layer)
    golden_skeletons.assert_outputs_match(run)
    golden_skeletons.assert_gradients_match(run, ties=True)


def test_all_blocks_start_with_the_same_random_graphs_and_without_relations():
    paddle.seed(0)
    model = DGSTGCN(3, num_graphs=3, **SMALL)
    first, second = (block.graph for block in model.blocks)
    np.testing.assert_array_equal(first.graphs.numpy(), second.graphs.numpy())
    assert first.graphs.shape == [3, 25, 25]
    assert first.graphs.numpy().mean() == pytest.approx(0.04, abs=0.002)
    assert first.graphs.numpy().std() == pytest.approx(0.02, rel=0.05)
    assert not first.relate(draw(2, 3, 4, 25)).numpy().any()


def test_relations_are_differences_of_joints_and_shares_of_the_sending_joints():
    layer = DynamicGraphConv(2, 8, paddle.zeros([3, 4, 4]))
    x = draw(2, 2, 5, 4)
    layer.beta.set_value(np.float32([0.5, 9, 9]))  # all but the first are not used
    shares = layer.relate(x).numpy()
    np.testing.assert_allclose(shares.sum(axis=3), 0.5, rtol=1e-5)
    layer.beta.set_value(np.zeros(3, np.float32))
    layer.alpha.set_value(np.float32([2, 9, 9]))
    queries, keys = np.split(layer.relate_conv(x).numpy().mean(axis=2).reshape(2, 6, 1, 4), 2, axis=1)
    expected = 2 * np.tanh(queries[..., :, None] - keys[..., None, :])
    np.testing.assert_allclose(layer.relate(x).numpy(), expected, atol=1e-5)


def test_a_layout_of_more_than_25_joints_and_one_of_fewer():
    for layout, num_joints in (("hdm05", 31), ("hand21", 21)):
        model = DGSTGCN(3, layout=layout, num_persons=1, **SMALL)
        assert list(model(draw(2, 3, 7, num_joints, 1)).shape) == [2, 3]
        assert model.blocks[0].temporal.body_weights.shape == [max(num_joints, 25)]


def test_input_of_another_size_is_refused():
    with pytest.raises(ValueError, match=r"DGSTGCN: expected input \(N, 3, T, 25, 2\), got \(2, 3, 8, 17, 2\)"):
        DGSTGCN(3, **SMALL)(paddle.zeros([2, 3, 8, 17, 2]))
    with pytest.raises(ValueError, match="DGSTGCN: base_channels must be at least 6, one for each branch, got 5"):
        DGSTGCN(3, base_channels=5)
