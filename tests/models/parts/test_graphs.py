"""Adjacency matrices: those of the authors' code (golden files), own layouts among them, and small ones by hand."""

import json

import numpy as np
import pytest
from paths import GOLDEN_DATA

from layouts import LAYOUTS, get_layout
from models.parts.graphs import (
    STRATEGIES,
    build_adjacency,
    count_hops,
    disentangled_adjacency,
    undirected_adjacency,
    vector_adjacency,
)
from tools.golden import vectors

GRAPHS = json.loads((GOLDEN_DATA / "graphs.json").read_text(encoding="utf-8"))
PBGCN = {  # its name of a labelling: ours, where they differ
    "distance": "neighbours",
    "spatial": "inward_outward",
}
PYSKL = {"spatial": "inward_outward", "stgcn_spatial": "spatial", "binary_adj": "binary"}
CASES = [  # entry of graphs.json, layout, strategy
    ("ctrgcn_ntu", "ntu25", "inward_outward"),
    ("ctrgcn_ucla", "ucla20", "inward_outward"),
    *((f"stgcn_ntu-rgb+d_{strategy}", "ntu25", strategy) for strategy in ("uniform", "distance", "spatial")),
    *((f"stgcn_openpose_{strategy}", "openpose18", strategy) for strategy in ("uniform", "distance", "spatial")),
    *(
        (f"pyskl_{data}_{mode}", layout, strategy)
        for data, layout in (("nturgb+d", "ntu25_star"), ("coco", "coco17"), ("openpose", "openpose18"))
        for mode, strategy in PYSKL.items()
    ),
    *(
        (f"pbgcn_{data}_{labelling}", layout, PBGCN.get(labelling, labelling))
        for data, layout in (("ntu", "ntu25"), ("hdm05", "hdm05"))
        for labelling in ("uniform", "distance*", "distance", "spatial", "DAD", "DLD", "parts", "parts+spatial")
    ),
]


def compare(ours, published):
    """The files have single matrices with or without an axis for the subsets."""
    published = np.array(published, np.float64)
    published = published[None] if published.ndim == 2 else published
    assert ours.dtype == np.float32 and ours.shape == published.shape
    np.testing.assert_allclose(ours, published, rtol=0, atol=1e-6)


def make_layout(folder, edges, **more):
    """A layout of one's own from the (joint, inward neighbour) pairs of a tree."""
    parents = {joint: joint for edge in edges for joint in edge} | dict(edges)
    rows = [[f"j{joint}", parents[joint]] for joint in range(len(parents))]
    path = folder / "mine.yaml"
    path.write_text(json.dumps({"joints": rows, **more}), encoding="utf-8")  # JSON is YAML
    return get_layout(str(path))


@pytest.mark.parametrize("network, layout, strategy", CASES)
def test_matrices_are_the_published_ones(network, layout, strategy):
    compare(build_adjacency(LAYOUTS[layout], strategy), GRAPHS[network]["A"] if "A" in GRAPHS[network] else
            GRAPHS[network]["A (I,in,out)"])  # fmt: skip


def test_all_published_matrices_are_tested():
    others = {"msg3d_ntu", "msg3d_kinetics", "infogcn_ntu", "infogcn_ucla", "stgcn_ntu-rgb+d_spatial_hop2"}
    others |= {name for name in GRAPHS if name.startswith(("pyskl_handmp", "stgcn_ntu_edge"))} | {"pb_parts", "note"}
    assert others | {network for network, _, _ in CASES} == set(GRAPHS)
    assert {strategy for _, _, strategy in CASES} == set(STRATEGIES)


def test_spatial_with_two_hops_is_the_published_one():
    adjacency = build_adjacency(LAYOUTS["ntu25"], "spatial", max_hop=2)
    compare(adjacency, GRAPHS["stgcn_ntu-rgb+d_spatial_hop2"]["A"])


def test_a_hand_of_ones_own_has_the_published_matrices(tmp_path):
    edges = GRAPHS["pyskl_handmp_spatial"]["inward (child,parent)"]
    layout = make_layout(tmp_path, edges)
    for mode, strategy in PYSKL.items():
        compare(build_adjacency(layout, strategy), GRAPHS[f"pyskl_handmp_{mode}"]["A"])


def test_ntu_without_its_middle_joint_has_the_published_matrices(tmp_path):
    edges = [edge for edge in GRAPHS["stgcn_ntu_edge_uniform"]["edge"] if edge[0] != edge[1]]
    layout = make_layout(tmp_path, edges, centre=2)
    for strategy in ("uniform", "distance", "spatial"):
        compare(build_adjacency(layout, strategy), GRAPHS[f"stgcn_ntu_edge_{strategy}"]["A"])


def test_two_parts_are_the_published_ones():
    published = vectors.load("pbgcn_ntu_2part_T32")["constants"]["A"]
    compare(build_adjacency(LAYOUTS["ntu25"], "parts", num_parts=2), published)


@pytest.mark.parametrize("layout, network", [("ntu25", "msg3d_ntu"), ("openpose18", "msg3d_kinetics")])
def test_disentangled_scales_are_the_published_ones(layout, network):
    published = GRAPHS[network]
    layout = LAYOUTS[layout]
    compare(build_adjacency(layout, "binary"), published["A_binary"])
    scales = disentangled_adjacency(layout, len(published["nonzeros per scale"]))
    assert [int((scale > 0).sum()) for scale in scales] == published["nonzeros per scale"]
    compare((scales[:4] > 0).astype(np.float32), published["k_adjacency_with_self (k=0..3)"])
    compare(scales[1:2], published["normalised k=1"])
    compare(scales[5:6], published["normalised k=5"])


@pytest.mark.parametrize(
    "file, layout, normalization",
    [("msg3d_ntu60_T32", "ntu25", "symmetric"), ("pyskl_msg3d_ntu_T32", "ntu25_star", "column")],
)
def test_windows_are_those_of_both_networks(file, layout, normalization):
    constants = {name: np.array(values) for name, values in vectors.load(file)["constants"].items()}
    windows = set()
    for name, published in constants.items():
        if name == "backbone.A":  # the graph before scales
            continue
        num_nodes = published.shape[-1]
        published = published.reshape(-1, num_nodes, num_nodes)  # the authors stack the scales
        ours = disentangled_adjacency(LAYOUTS[layout], len(published), num_nodes // 25, normalization)
        compare(ours, published)
        windows.add((num_nodes // 25, len(published)))
    assert windows == {(1, 13), (3, 6), (5, 6)}


@pytest.mark.parametrize("layout, network", [("ntu25", "infogcn_ntu"), ("ucla20", "infogcn_ucla")])
def test_vectors_are_the_published_ones(layout, network):
    assert list(GRAPHS[network]["A_vector"]) == ["0", "1", "2", "3", "8"]
    for k, published in GRAPHS[network]["A_vector"].items():
        compare(vector_adjacency(LAYOUTS[layout], int(k))[None], published)


def test_vectors_of_an_own_layout_are_its_bones(tmp_path):
    layout = make_layout(tmp_path, [[1, 0], [2, 1]])
    joints = np.array([10, 13, 17], np.float32)
    np.testing.assert_array_equal(vector_adjacency(layout, 1) @ joints, [10, 3, 4])
    np.testing.assert_array_equal(vector_adjacency(layout, 2) @ joints, [10, 13, 7])
    np.testing.assert_array_equal(vector_adjacency(layout, 3) @ joints, joints)
    np.testing.assert_array_equal(vector_adjacency(layout, 0) @ joints, [0, 0, 0])


def test_hops_of_a_chain_and_of_what_is_apart():
    hops = count_hops(undirected_adjacency([(0, 1), (2, 1), (2, 3)], 5))
    np.testing.assert_array_equal(hops[0], [0, 1, 2, 3, np.inf])
    np.testing.assert_array_equal(hops[4], [np.inf] * 4 + [0])
    np.testing.assert_array_equal(hops, hops.T)


def test_hops_between_frames_of_a_window_are_at_least_one(tmp_path):
    layout = make_layout(tmp_path, [[1, 0], [2, 1]])  # a chain of three joints
    scales = disentangled_adjacency(layout, 3, window=2) > 0
    assert scales.shape == (3, 6, 6)
    np.testing.assert_array_equal(scales[0], np.eye(6))
    np.testing.assert_array_equal(scales[1][0], [1, 1, 0, 1, 1, 0])  # joint 0: itself and 1, in both frames
    np.testing.assert_array_equal(scales[2][0], [1, 0, 1, 0, 0, 1])  # itself here, 2 in both frames


def test_beyond_the_diameter_only_the_joint_itself_remains(tmp_path):
    scales = disentangled_adjacency(make_layout(tmp_path, [[1, 0], [2, 1]]), 5)
    for scale in scales[3:]:
        np.testing.assert_array_equal(scale, np.eye(3))


def test_more_hops_and_dilation_choose_the_distances(tmp_path):
    layout = make_layout(tmp_path, [[1, 0], [2, 1], [3, 2]])
    near, far = build_adjacency(layout, "distance", max_hop=2, dilation=2)
    np.testing.assert_allclose(near, np.eye(4) / 2)  # each joint has itself and one other, two edges away
    np.testing.assert_allclose(far, [[0, 0, 0.5, 0], [0, 0, 0, 0.5], [0.5, 0, 0, 0], [0, 0.5, 0, 0]])
    whole = build_adjacency(layout, "uniform", max_hop=2, dilation=2)
    np.testing.assert_allclose(whole[0], near + far)


def test_joints_send_along_their_edges(tmp_path):
    layout = make_layout(tmp_path, [[1, 0], [2, 0]])
    _, inward, outward = build_adjacency(layout, "inward_outward")
    joints = np.array([5, 7, 9], np.float32)
    np.testing.assert_allclose(joints @ inward, [0, 5, 5])  # each joint gets what its inward neighbour sends
    np.testing.assert_allclose(joints @ outward, [8, 0, 0])


@pytest.mark.parametrize("num_parts", [2, 4, 6])
@pytest.mark.parametrize("layout", [each for each in LAYOUTS.values() if each.parts], ids=lambda layout: layout.name)
def test_parts_give_a_subset_each_for_every_layout(layout, num_parts):
    assert len(build_adjacency(layout, "parts", num_parts=num_parts)) == num_parts + 1
    adjacency = build_adjacency(layout, "parts+spatial", num_parts=num_parts)
    assert len(adjacency) == 2 * num_parts + 1 and np.isfinite(adjacency).all()
    for subset in adjacency:
        assert set(subset.sum(axis=0).round(6)) <= {0, 1}


@pytest.mark.parametrize(
    "strategy, options, message",
    [
        ("Uniform", {}, r"build_adjacency: unknown strategy 'Uniform'; did you mean 'uniform'\? \(known: uniform, "),
        ("DAD", {"max_hop": 2}, r"build_adjacency: strategy 'DAD' takes no max_hop \(it takes: none\)"),
        ("spatial", {"hops": 2}, r"strategy 'spatial' takes no hops \(it takes: max_hop, dilation\)"),
        ("parts", {"num_parts": 5}, "layout 'ntu25': no division into 5 parts, it names head, left_arm"),
    ],
)
def test_what_there_is_not_is_refused(strategy, options, message):
    with pytest.raises(ValueError, match=message):
        build_adjacency(LAYOUTS["ntu25"], strategy, **options)


def test_other_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match="normalization must be one of symmetric, column, got 'rows'"):
        disentangled_adjacency(LAYOUTS["ntu25"], 3, normalization="rows")
    with pytest.raises(ValueError, match="vector_adjacency: k must be 0 or more, got -1"):
        vector_adjacency(LAYOUTS["ntu25"], -1)
