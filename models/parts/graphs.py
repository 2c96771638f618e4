"""Graphs of joints as the matrices that networks multiply with, every published way; no Paddle.

`A[k, v, w]` weighs what joint `v` sends to joint `w` in the k-th subset: the authors' networks compute
`y[w] = sum over v of x[v] A[k, v, w]`. Columns that are normalised sum to 1, or to 0 where nothing arrives.

Sources: ST-GCN (Yan et al., AAAI 2018), 2s-AGCN (Shi et al., CVPR 2019), PB-GCN (Thakkar and Narayanan, BMVC 2018),
MS-G3D (Liu et al., CVPR 2020), InfoGCN (Chi et al., CVPR 2022), and their repositories.
"""

import inspect

import numpy as np

from common.suggestions import suggest
from layouts import Layout


def build_adjacency(layout: Layout, strategy: str, **options) -> np.ndarray:
    """Build the graph of a network.

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
        known = f"{suggest(strategy, STRATEGIES)} (known: {', '.join(STRATEGIES)})"
        raise ValueError(f"build_adjacency: unknown strategy '{strategy}'{known}")
    function = STRATEGIES[strategy]
    known = list(inspect.signature(function).parameters)[1:]
    for option in options:
        if option not in known:
            raise ValueError(
                f"build_adjacency: strategy '{strategy}' takes no {option} (it takes: {', '.join(known) or 'none'})"
            )
    return np.stack(function(layout, **options)).astype(np.float32)


def directed_adjacency(edges, num_joints: int) -> np.ndarray:
    """Make the binary (V, V) matrix in which the edge (joint, next) lets `next` send to `joint`."""
    matrix = np.zeros((num_joints, num_joints))
    for joint, inward in edges:
        matrix[inward, joint] = 1
    return matrix


def undirected_adjacency(edges, num_joints: int) -> np.ndarray:
    """Make the symmetric binary (V, V) matrix of the edges."""
    matrix = directed_adjacency(edges, num_joints)
    return np.maximum(matrix, matrix.T)


def count_hops(adjacency: np.ndarray) -> np.ndarray:
    """Count the edges on the shortest way between joints: (V, V), infinite where there is none."""
    reached = np.eye(len(adjacency), dtype=bool)
    hops = np.where(reached, 0.0, np.inf)
    for distance in range(1, len(adjacency)):
        reached = reached @ (adjacency > 0) | reached
        hops[reached & np.isinf(hops)] = distance
    return hops


def normalize_columns(matrix: np.ndarray) -> np.ndarray:
    """Divide each column by its sum, A D^-1; columns of zeros stay."""
    sums = matrix.sum(axis=0)
    return matrix / np.where(sums == 0, 1, sums)


def normalize_symmetric(matrix: np.ndarray) -> np.ndarray:
    """Divide by the roots of the sums of row and column, D^-1/2 A D^-1/2; rows of zeros stay."""
    sums = matrix.sum(axis=0)
    roots = np.sqrt(np.where(sums == 0, 1, sums))
    return matrix / roots[:, None] / roots


def _select_hops(layout, max_hop, dilation):
    """Give the hops (V, V), infinite beyond max_hop, those that count, and the normalised matrix of these."""
    hops = count_hops(undirected_adjacency(layout.edges, layout.num_joints))
    hops[hops > max_hop] = np.inf
    valid = range(0, max_hop + 1, dilation)
    return hops, valid, normalize_columns(np.isin(hops, valid).astype(float))


def uniform(layout: Layout, max_hop: int = 1, dilation: int = 1) -> list:
    """One subset: a joint and its neighbours up to `max_hop` edges away, each with the same weight."""
    return [_select_hops(layout, max_hop, dilation)[2]]


def distance(layout: Layout, max_hop: int = 1, dilation: int = 1) -> list:
    """ST-GCN's: the matrix of `uniform`, one subset per distance."""
    hops, valid, weights = _select_hops(layout, max_hop, dilation)
    return [np.where(hops == hop, weights, 0) for hop in valid]


def spatial(layout: Layout, max_hop: int = 1, dilation: int = 1) -> list:
    """ST-GCN's: as `distance`, split again by whether the sender is nearer to the centre than the receiver.

    As in its code, joints further than `max_hop` from the centre count as equally far.
    """
    hops, valid, weights = _select_hops(layout, max_hop, dilation)
    to_centre = hops[layout.centre]
    nearer = to_centre[:, None] < to_centre  # [sender, receiver]
    subsets = []
    for hop in valid:
        here = np.where(hops == hop, weights, 0)
        subsets += [here] if hop == 0 else [np.where(nearer, 0, here), np.where(nearer, here, 0)]
    return subsets


def inward_outward(layout: Layout) -> list:
    """The three subsets of 2s-AGCN, CTR-GCN and PYSKL's "spatial": a joint itself, along the edges, against them."""
    along = directed_adjacency(layout.edges, layout.num_joints)
    return [np.eye(layout.num_joints), normalize_columns(along), normalize_columns(along.T)]


def neighbours(layout: Layout) -> list:
    """PB-GCN's "distance": a joint itself, and its neighbours, each subset normalised by itself."""
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
    """One subset: 1 between neighbours, not normalised."""
    return [undirected_adjacency(layout.edges, layout.num_joints)]


def parts(layout: Layout, num_parts: int = 4) -> list:
    """PB-GCN's: a joint itself, then the edges of each body part, normalised symmetrically."""
    matrices = [undirected_adjacency(edges, layout.num_joints) for edges in layout.group_parts(num_parts)]
    return [np.eye(layout.num_joints), *map(normalize_symmetric, matrices)]


def directed_parts(layout: Layout, num_parts: int = 4) -> list:
    """PB-GCN's "parts+spatial": a joint itself, then for each body part along its edges and against them."""
    subsets = [np.eye(layout.num_joints)]
    for edges in layout.group_parts(num_parts):
        along = directed_adjacency(edges, layout.num_joints)
        subsets += [normalize_columns(along), normalize_columns(along.T)]
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
    """Build MS-G3D's graphs of joints exactly k edges apart, each with its diagonal.

    Args:
        layout: joints and edges.
        num_scales: scales k from 0 (the joint itself) upwards; beyond the graph's diameter only the diagonal remains.
        window: frames that see each other; a joint's neighbours in another frame are itself and its own neighbours.
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
    """Build InfoGCN's I - P^k, float32 (V, V): `x'[v] = sum over w of A[v, w] x[w]` is relative to the k-th elder.

    k = 1 is a bone, 2 is relative to the grandparent; joints with fewer elders keep their coordinates, and k = 0 gives
    zeros. P is binary with the layout's `vector_edges`.

    Raises:
        ValueError: a negative k.
    """
    if k < 0:
        raise ValueError(f"vector_adjacency: k must be 0 or more, got {k}")
    elders = np.zeros((layout.num_joints, layout.num_joints))
    for joint, elder in layout.vector_edges:
        elders[joint, elder] = 1
    return (np.eye(layout.num_joints) - np.linalg.matrix_power(elders, k)).astype(np.float32)
