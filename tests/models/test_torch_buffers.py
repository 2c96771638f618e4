"""PyTorch files hold more than weights: fixed graphs, once or in each block, and counters of steps and operations.

The graphs are those of the authors' own code, which the golden files have as `constants`.
"""

import numpy as np
import paddle
import pytest

from models import build_model
from models.parts.weights import convert_torch_weights
from tools.golden import vectors

SKELETON_SOURCES = (
    "st-gcn",
    "ctr-gcn",
    "ms-g3d",
    "pyskl",
    "protogcn",
    "degcn_pytorch",
    "skateformer",
    "pb-gcn",
    "infogcn",
)


NAMES = [name for name in vectors.list_names() if vectors.find_source(vectors.load(name)) in SKELETON_SOURCES]
GRAPHS = [name for name in NAMES if vectors.load(name)["constants"]]

CLIP_NAMES = ["r3d_resnet18_B", "r3d_densenet121", "mm_tpn_tsm_r50_cls174", "pcan_ntu60_fixed"]


def draw_few(golden):
    """Give every weight a value of its own, without the time that drawing them takes."""
    return {name: np.full(shape, number, np.float32) for number, (name, shape) in enumerate(golden["state"].items(), 1)}


def list_graphs(golden):
    """Give the graphs under all their names."""
    constants = {name: np.asarray(value, np.float32) for name, value in golden["constants"].items()}
    aliases = golden.get("constants_alias", {})
    return {**constants, **{name: constants[other] for name, other in aliases.items()}}


def list_counters(golden):
    """Give what batch norm, averaged models and counters of operations add."""
    norms = [name.removesuffix("running_mean") for name in golden["state"] if name.endswith("running_mean")]
    layers = [name.removesuffix("weight") for name in golden["state"] if name.endswith("weight")]
    counters = {f"{norm}num_batches_tracked": np.asarray(9) for norm in norms}
    counters.update({f"{layer}total_ops": np.zeros(1) for layer in layers}, n_averaged=np.asarray(3))
    return counters


def convert(golden, weights, **changes):
    name, arguments = vectors.describe(golden)
    with paddle.LazyGuard():  # shapes are enough
        model = build_model(name, **{**arguments, **changes})
    return convert_torch_weights(model.WEIGHT_SOURCES[vectors.find_source(golden)](weights), model)


@pytest.mark.parametrize("name", NAMES)
def test_a_file_with_graphs_and_counters_gives_the_same_weights(name):
    golden = vectors.load(name)
    weights, others = draw_few(golden), {**list_graphs(golden), **list_counters(golden)}
    expected, found = convert(golden, weights), convert(golden, {**others, **weights, **others})
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        np.testing.assert_array_equal(found[key], value, err_msg=key)


@pytest.mark.parametrize("name", CLIP_NAMES)
def test_counters_of_networks_of_clips_are_left_out(name):
    golden = vectors.load(name)
    weights = {key: np.empty(shape, np.float32) for key, shape in golden["state"].items()}
    name, arguments = vectors.describe(golden)
    with paddle.LazyGuard():
        model = build_model(name, **arguments)
    convert_named = model.WEIGHT_SOURCES[vectors.find_source(golden)]
    assert convert_torch_weights(convert_named({**weights, **list_counters(golden)}), model).keys() == set(
        convert_torch_weights(convert_named(weights), model)
    )


@pytest.mark.parametrize("name", GRAPHS)
def test_a_graph_that_is_not_the_networks_is_refused_by_name(name):
    golden = vectors.load(name)
    graphs = list_graphs(golden)
    for key in {next(iter(graphs)), *list(graphs)[-1:]}:
        value = graphs[key]
        spoilt = value.copy()
        spoilt.flat[1] += 0.5
        with pytest.raises(ValueError, match="another graph than the network's, 1 of .* build it with.*layout"):
            convert(golden, {**draw_few(golden), key: spoilt})


def test_a_graph_of_the_same_joints_with_other_edges_is_refused():
    golden = vectors.load("pyskl_ctrgcn_ntu_T32")
    assert convert(golden, {**draw_few(golden), **list_graphs(golden)})
    with pytest.raises(ValueError, match="A is another graph than the network's, .* of 1875 entries differ"):
        convert(golden, {**draw_few(golden), **list_graphs(golden)}, layout="ntu25")


def test_a_graph_that_was_stored_in_half_precision_is_the_same():
    golden = vectors.load("stgcn_ntu_distance_T30")
    halves = {name: np.float16(value) for name, value in list_graphs(golden).items()}
    assert convert(golden, {**draw_few(golden), **halves})


def test_an_adaptive_graph_is_not_taken_for_the_fixed_one_beside_it():
    """Of 2s-AGCN: the learnt `PA` is added to the fixed `A`, and both may stand in a file."""
    golden = vectors.load("pyskl_agcn_noattention_ntu_T32")
    weights = {name.replace("gcn.A", "gcn.PA"): value for name, value in draw_few(golden).items()}
    graph = list_graphs(golden)["backbone.A"]
    both = {**{f"backbone.gcn.{index}.gcn.A": graph for index in range(10)}, **weights}
    learnt = convert(golden, both)["blocks.0.graph_conv.edges"]
    np.testing.assert_array_equal(learnt[0], weights["backbone.gcn.0.gcn.PA"])
    both["backbone.gcn.3.gcn.A"] = graph + 0.1
    with pytest.raises(ValueError, match="blocks.3.graph_conv.adjacency is another graph than the network's"):
        convert(golden, both)


PYSKL = {"source": "pyskl", "golden": "pyskl_stgcn_ntu_T32"}
OFFICIAL = {"source": "st-gcn", "golden": "stgcn_ntu_distance_T30"}


def make_single(file, strategy, **arguments):
    """Make the state of an ST-GCN with one subset, and our network for it."""
    golden = vectors.load(file["golden"])
    state = {}
    for name, shape in golden["state"].items():
        num_subsets = {"st-gcn": 2, "pyskl": 3}[file["source"]]
        if ".gcn.conv." in name:
            shape = [shape[0] // num_subsets, *shape[1:]]
        elif name.endswith("PA") or "edge_importance" in name:
            shape = [1, *shape[1:]]
        state[name] = np.random.default_rng(len(state)).random(shape, np.float32)
    model = build_model(
        "stgcn", num_classes=60, layout={"st-gcn": "ntu25", "pyskl": "ntu25_star"}[file["source"]], strategy=strategy,
        **arguments,
    )  # fmt: skip
    return state, model


@pytest.mark.parametrize("conv_pos", ["pre", "post"])
@pytest.mark.parametrize(
    "strategy, options",
    [("uniform", {}), ("distance*", {}), ("DAD", {}), ("DLD", {}), ("binary", {}), ("spatial", {"max_hop": 0})],
)
@pytest.mark.parametrize("file", [PYSKL, OFFICIAL], ids=["pyskl", "st-gcn"])
def test_a_graph_convolution_of_one_subset_gets_its_bias_where_the_network_adds_it(file, strategy, options, conv_pos):
    """By hand, in NumPy: PYSKL's `pre` mixes channels with a bias and sums over neighbours, `post` the other way."""
    state, model = make_single(file, strategy, conv_pos=conv_pos, **options)
    model.set_state_dict(convert_torch_weights(model.WEIGHT_SOURCES[file["source"]](state), model))
    block = {"st-gcn": "st_gcn_networks.4.gcn.conv", "pyskl": "backbone.gcn.4.gcn.conv"}[file["source"]]
    edges = state.get("backbone.gcn.4.gcn.PA", state.get("edge_importance.4"))
    weight, bias = state[f"{block}.weight"][:, :, 0, 0], state[f"{block}.bias"]
    x = np.random.default_rng(0).standard_normal((1, weight.shape[1], 2, 25)).astype(np.float32)
    adjacency = (model.graph * edges)[0]
    mixed = np.einsum("oc,nctv->notv", weight, x)
    if conv_pos == "pre":
        expected = np.einsum("notv,vw->notw", mixed + bias[:, None, None], adjacency)
    else:
        expected = np.einsum("notv,vw->notw", mixed, adjacency) + bias[:, None, None]
    found = model.blocks[4].graph_conv(paddle.to_tensor(x)).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


def test_pyskls_fixed_graphs_stand_in_place_of_the_learnt_ones():
    """`gcn_adaptive=None`: each block has `A` alone, a buffer; with "init" the same name is a weight."""
    golden = vectors.load("pyskl_stgcn_ntu_T32")
    weights = {name: value for name, value in draw_few(golden).items() if not name.endswith(".PA")}
    file = {**weights, **list_graphs(golden)}
    assert "blocks.0.graph_conv.edges" not in convert(golden, file, adaptive="none")
    learnt = convert(golden, file, adaptive="init")["blocks.0.graph_conv.edges"]
    np.testing.assert_array_equal(learnt[0], list_graphs(golden)["backbone.gcn.0.gcn.A"])
    moved = {name: value + 0.1 if name.endswith(".A") else value for name, value in file.items()}
    with pytest.raises(ValueError, match="blocks.0.graph_conv.edges is another graph"):
        convert(golden, moved, adaptive="none")
