"""Adjacency matrices of skeletons, by every published strategy; no Paddle.

`A[k, v, w]` is the weight of the edge from joint `v` to joint `w` in the k-th subset: the authors' networks compute
`y[w] = sum over v of x[v] A[k, v, w]`. Normalised columns sum to 1, or to 0 for a joint without incoming edges.

Sources: ST-GCN (Yan et al., AAAI 2018), 2s-AGCN (Shi et al., CVPR 2019), PB-GCN (Thakkar and Narayanan, BMVC 2018),
MS-G3D (Liu et al., CVPR 2020), InfoGCN (Chi et al., CVPR 2022), HD-GCN (Lee et al., ICCV 2023), and their repositories.
"""

import inspect

import numpy as np

from common.suggestions import suggest
from layouts import Layout


def build_adjacency(layout: Layout, strategy: str, **options) -> np.ndarray:
    """Build the adjacency matrices of a network.

    Args:
        layout: joints and edges.
        strategy: a key of `STRATEGIES`.
        options: the other arguments of that function.

    Returns:
        float32 (K, V, V), K subsets of V joints.

    Raises:
        ValueError: an unknown strategy, or an option that it does not take.
    """
    if strategy not in STRATEGIES:
        raise ValueError(
            f"build_adjacency: unknown strategy '{strategy}'{suggest(strategy, STRATEGIES)} "
            f"(known: {', '.join(STRATEGIES)})"
        )
    function = STRATEGIES[strategy]
    parameters = list(inspect.signature(function).parameters)[1:]
    for option in options:
        if option not in parameters:
            raise ValueError(
                f"build_adjacency: strategy '{strategy}' takes no {option} "
                f"(it takes: {', '.join(parameters) or 'none'})"
            )
    return np.stack(function(layout, **options)).astype(np.float32)


def directed_adjacency(edges, num_joints: int) -> np.ndarray:
    """Return the binary (V, V) matrix of edges (joint, inward neighbour), from the neighbour to the joint."""
    matrix = np.zeros((num_joints, num_joints))
    for joint, inward in edges:
        matrix[inward, joint] = 1
    return matrix


def undirected_adjacency(edges, num_joints: int) -> np.ndarray:
    """Return the symmetric binary (V, V) matrix of edges."""
    matrix = directed_adjacency(edges, num_joints)
    return np.maximum(matrix, matrix.T)


def count_hops(adjacency: np.ndarray) -> np.ndarray:
    """Count the edges on the shortest path between joints: (V, V), infinite where there is none."""
    reached = np.eye(len(adjacency), dtype=bool)
    hops = np.where(reached, 0.0, np.inf)
    for distance in range(1, len(adjacency)):
        reached = reached @ (adjacency > 0) | reached
        hops[reached & np.isinf(hops)] = distance
    return hops


def normalize_columns(matrix: np.ndarray) -> np.ndarray:
    """Divide each column by its sum, A D^-1; columns of zeros are unchanged."""
    sums = matrix.sum(axis=0)
    return matrix / np.where(sums == 0, 1, sums)


def normalize_symmetric(matrix: np.ndarray) -> np.ndarray:
    """Divide by the square roots of the sums of row and column, D^-1/2 A D^-1/2; rows of zeros are unchanged."""
    sums = matrix.sum(axis=0)
    roots = np.sqrt(np.where(sums == 0, 1, sums))
    return matrix / roots[:, None] / roots


def _select_hops(layout, max_hop, dilation):
    """Return the hops (V, V), infinite beyond max_hop; the valid numbers of hops; the normalised matrix of these."""
    hops = count_hops(undirected_adjacency(layout.edges, layout.num_joints))
    hops[hops > max_hop] = np.inf
    valid = range(0, max_hop + 1, dilation)
    return hops, valid, normalize_columns(np.isin(hops, valid).astype(float))


def uniform(layout: Layout, max_hop: int = 1, dilation: int = 1) -> list:
    """One subset: a joint and its neighbours up to `max_hop` edges away, with equal weights."""
    return [_select_hops(layout, max_hop, dilation)[2]]


def distance(layout: Layout, max_hop: int = 1, dilation: int = 1) -> list:
    """ST-GCN: the matrix of `uniform`, one subset for each number of hops."""
    hops, valid, weights = _select_hops(layout, max_hop, dilation)
    return [np.where(hops == hop, weights, 0) for hop in valid]


def spatial(layout: Layout, max_hop: int = 1, dilation: int = 1) -> list:
    """ST-GCN: as `distance`, split again by whether the sender is nearer to the centre than the receiver.

    As in its code, joints more than `max_hop` from the centre count as equally far.
    """
    hops, valid, weights = _select_hops(layout, max_hop, dilation)
    to_centre = hops[layout.centre]
    nearer = to_centre[:, None] < to_centre  # [sender, receiver]
    subsets = []
    for hop in valid:
        subset = np.where(hops == hop, weights, 0)
        subsets += [subset] if hop == 0 else [np.where(nearer, 0, subset), np.where(nearer, subset, 0)]
    return subsets


def inward_outward(layout: Layout) -> list:
    """2s-AGCN, CTR-GCN and PYSKL's "spatial": a joint itself, along the edges, against them."""
    directed = directed_adjacency(layout.edges, layout.num_joints)
    return [np.eye(layout.num_joints), normalize_columns(directed), normalize_columns(directed.T)]


def neighbours(layout: Layout) -> list:
    """PB-GCN's "distance", two subsets, each normalised: a joint itself, and its neighbours."""
    return [np.eye(layout.num_joints), normalize_columns(undirected_adjacency(layout.edges, layout.num_joints))]


def difference(layout: Layout) -> list:
    """PB-GCN's "distance*": a joint minus the mean of its neighbours."""
    return [np.eye(layout.num_joints) - normalize_columns(undirected_adjacency(layout.edges, layout.num_joints))]


def symmetric(layout: Layout) -> list:
    """PB-GCN's "DAD": a joint and its neighbours, normalised symmetrically."""
    return [normalize_symmetric(undirected_adjacency(layout.edges, layout.num_joints) + np.eye(layout.num_joints))]


def laplacian(layout: Layout) -> list:
    """PB-GCN's "DLD": the symmetric graph Laplacian."""
    return [np.eye(layout.num_joints) - normalize_symmetric(undirected_adjacency(layout.edges, layout.num_joints))]


def binary(layout: Layout) -> list:
    """PYSKL's "binary_adj": 1 between neighbours, not normalised."""
    return [undirected_adjacency(layout.edges, layout.num_joints)]


def parts(layout: Layout, num_parts: int = 4) -> list:
    """PB-GCN's "parts": a joint itself, then the edges of each body part, normalised symmetrically."""
    matrices = [undirected_adjacency(edges, layout.num_joints) for edges in layout.group_parts(num_parts)]
    return [np.eye(layout.num_joints), *map(normalize_symmetric, matrices)]


def directed_parts(layout: Layout, num_parts: int = 4) -> list:
    """PB-GCN's "parts+spatial": a joint itself, then the edges of each body part in one direction and in the other."""
    subsets = [np.eye(layout.num_joints)]
    for edges in layout.group_parts(num_parts):
        directed = directed_adjacency(edges, layout.num_joints)
        subsets += [normalize_columns(directed), normalize_columns(directed.T)]
    return subsets


STRATEGIES = {
    "uniform": uniform,
    "distance": distance,
    "distance*": difference,
    "neighbours": neighbours,
    "spatial": spatial,
    "inward_outward": inward_outward,
    "DAD": symmetric,
    "DLD": laplacian,
    "parts": parts,
    "parts+spatial": directed_parts,
    "binary": binary,
}


def disentangled_adjacency(
    layout: Layout, num_scales: int, window: int = 1, normalization: str = "symmetric"
) -> np.ndarray:
    """Build MS-G3D's adjacency matrices of joints exactly k edges apart, each with the diagonal.

    Args:
        layout: joints and edges.
        num_scales: number of scales k = 0, 1, ...; beyond the graph's diameter only the diagonal remains.
        window: frames of the graph; a joint is connected to itself and its neighbours in all of them.
        normalization: "symmetric" (the authors') or "column" (PYSKL's).

    Returns:
        float32 (num_scales, window * V, window * V), joints frame by frame.

    Raises:
        ValueError: an unknown normalization.
    """
    if normalization not in NORMALIZATIONS:
        raise ValueError(
            f"disentangled_adjacency: normalization must be one of {', '.join(NORMALIZATIONS)}, got {normalization!r}"
        )
    graph = undirected_adjacency(layout.edges, layout.num_joints) + np.eye(layout.num_joints)
    hops = count_hops(np.tile(graph, (window, window)))
    diagonal = np.eye(len(hops), dtype=bool)
    scales = [NORMALIZATIONS[normalization]((diagonal | (hops == k)).astype(float)) for k in range(num_scales)]
    return np.stack(scales).astype(np.float32)


NORMALIZATIONS = {"symmetric": normalize_symmetric, "column": normalize_columns}


def vector_adjacency(layout: Layout, k: int) -> np.ndarray:
    """Build InfoGCN's A = I - P^k, float32 (V, V): `A x` has the coordinates of joints relative to their k-th ancestor.

    k = 1 is a bone, k = 2 is relative to the grandparent; joints with fewer ancestors keep their coordinates, and k = 0
    results in zeros. P is the binary matrix of the layout's `vector_edges`.

    Raises:
        ValueError: a negative k.
    """
    if k < 0:
        raise ValueError(f"vector_adjacency: k must be 0 or more, got {k}")
    parents = np.zeros((layout.num_joints, layout.num_joints))
    for joint, parent in layout.vector_edges:
        parents[joint, parent] = 1
    return (np.eye(layout.num_joints) - np.linalg.matrix_power(parents, k)).astype(np.float32)


def hierarchical_adjacency(groups: tuple, num_joints: int) -> np.ndarray:
    """Build HD-GCN's adjacency matrices of each two groups of joints that follow each other, row by row.

    `A[l, k, v, u]` is the weight from joint u to joint v, the other way round than in the other graphs of this module:
    the authors' network sums over columns. Subset 0 is a joint itself, 1 from each joint of group l to all of group
    l + 1, bones or not, 2 the way back; the weights from a joint sum to 1.

    Args:
        groups: joints outward from a centre, of `Layout.hierarchies`.
        num_joints: number of joints, V.

    Returns:
        float32 (groups - 1, 3, V, V).
    """
    graphs = np.zeros((len(groups) - 1, 3, num_joints, num_joints), np.float32)
    for graph, inner, outer in zip(graphs, groups, groups[1:], strict=False):
        both = [*inner, *outer]
        graph[0, both, both] = 1
        graph[1][np.ix_(outer, inner)] = 1 / len(outer)
        graph[2][np.ix_(inner, outer)] = 1 / len(inner)
    return graphs
