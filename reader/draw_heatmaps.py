"""Heat maps of key points: a Gaussian at each joint or along each limb (PoseC3D, arXiv:2104.13586, section 3.2).

As MMAction2's GeneratePoseTarget draws them: a Gaussian ends at a window of three standard deviations, whose corners
are rounded toward zero, and several persons are the maximum. NumPy writes only the few pixels around each joint or
limb; `reader/device_heatmaps.py` makes the same maps on a GPU.

Points outside a map draw what of their window lies inside it; points that are no finite numbers, or `FARTHEST` away,
draw nothing, nor do limbs from or to them.
"""

import numpy as np

from layouts import Layout

LEAST_SCORE = 1e-4  # MMAction2; PYSKL takes 1e-3
LEAST_LENGTH = 1.0  # pixels: a shorter limb is drawn as a joint
WINDOW = 3  # standard deviations
BIN = 8  # pixels: boxes around limbs whose sides are equal in these units are drawn at once
FARTHEST = 1e5  # pixels
FAR = 100.0  # standard deviations and more: there a Gaussian is 0 in float32
# The limbs of PYSKL's and MMAction2's configs for COCO key points.
COCO_LIMBS = (
    (0, 5), (0, 6), (5, 7), (7, 9), (6, 8), (8, 10), (5, 11), (11, 13), (13, 15), (6, 12), (12, 14), (14, 16),
    (0, 1), (0, 2), (1, 3), (2, 4), (11, 12),
)  # fmt: skip


def make_heatmaps(
    keypoint: np.ndarray,
    score: np.ndarray | None,
    img_shape: tuple,
    sigma: float = 0.6,
    scaling: float = 1.0,
    limbs: list | None = None,
    mirror_order: list | None = None,
    least_score: float = LEAST_SCORE,
) -> np.ndarray:
    """Draw the heat maps of a clip.

    Args:
        keypoint: (M, T, V, 2), x and y in pixels of the picture.
        score: (M, T, V), the height of each Gaussian; a limb takes the lower one of its ends. None: 1 everywhere.
        img_shape: (height, width) of the picture.
        sigma: standard deviation in pixels of the map.
        scaling: size of the map as a share of the picture.
        limbs: (joint, joint) of each limb, to draw these; None: the joints.
        mirror_order: the channels of a mirrored body, to append the mirrored clip (`double` of the authors).
        least_score: what scores less is not there.

    Returns:
        float32 (T, K, H, W) for K joints or limbs, or (2 T, K, H, W).

    Raises:
        ValueError: arrays of shapes that do not go together, an empty map.
    """
    if keypoint.ndim != 4 or keypoint.shape[3] != 2:
        raise ValueError(f"heat maps: keypoint is of shape {keypoint.shape}, expected (persons, frames, joints, 2)")
    score = np.ones(keypoint.shape[:3], np.float32) if score is None else score
    if score.shape != keypoint.shape[:3]:
        raise ValueError(f"heat maps: score is of shape {score.shape}, expected {keypoint.shape[:3]}")
    size = scale_size(img_shape, scaling)
    points = keypoint.astype(np.float32, copy=False).swapaxes(1, 2) * np.float32(scaling)
    scores = score.astype(np.float32, copy=False).swapaxes(1, 2)
    maps = draw_maps(points, scores, size, sigma, limbs, least_score).swapaxes(0, 1)
    return maps if mirror_order is None else np.concatenate([maps, maps[:, mirror_order, :, ::-1]])


def scale_size(img_shape: tuple, scaling: float) -> tuple:
    """Return (height, width) of the map of a picture, rounded to the nearest pixel.

    Raises:
        ValueError: that is no pixel.
    """
    height, width = (int(side * scaling + 0.5) for side in img_shape)
    if min(height, width) < 1:
        raise ValueError(f"heat maps: scaling {scaling} makes a map of {height} x {width} pixels; raise it")
    return height, width


def choose_limbs(layout: Layout) -> list:
    """Return the limbs that are drawn of a layout: those of the authors for COCO key points, else its graph's edges."""
    return list(COCO_LIMBS if layout.name == "coco17" else layout.edges)


def mirror_limbs(limbs: list, layout: Layout) -> list:
    """Return the order of the limbs in a mirrored body: the place of each limb's other side.

    Raises:
        ValueError: a limb whose other side is not among them.
    """
    joints = layout.mirror_indices()
    places = {frozenset(limb): place for place, limb in enumerate(limbs)}
    try:
        return [places[frozenset(joints[joint] for joint in limb)] for limb in limbs]
    except KeyError as error:
        names = " and ".join(sorted(layout.joints[joint] for joint in error.args[0]))
        raise ValueError(f"heat maps: limbs lack the one between {names}, a mirror of another; add it") from error


def draw_maps(
    points: np.ndarray,
    scores: np.ndarray,
    size: tuple,
    sigma: float,
    limbs: list | None = None,
    least_score: float = LEAST_SCORE,
) -> np.ndarray:
    """Draw the maps of joints, or of limbs.

    Args:
        points: float32 (M, ..., V, T, 2), x and y in pixels of the map.
        scores: float32 (M, ..., V, T).
        size: (H, W) of a map.
        limbs: (joint, joint) of each limb; None: joints.

    Returns:
        float32 (..., K, T, H, W).
    """
    x, y = points[..., 0], points[..., 1]
    scores = np.where((np.abs(x) < FARTHEST) & (np.abs(y) < FARTHEST), scores, np.float32(0))
    if limbs is None:
        maps = np.zeros((*x.shape[1:], *size), np.float32)
        flat = maps.reshape(-1, *size)
        _draw_joints(flat, np.arange(x.size), np.stack([x, y]).reshape(2, -1), scores.reshape(-1), sigma, least_score)
        return maps
    one, other = np.array(limbs).T
    maps = np.zeros((*x.shape[1:-2], len(limbs), x.shape[-1], *size), np.float32)
    ends = [np.stack([x[..., end, :], y[..., end, :]]).reshape(2, -1) for end in (one, other)]
    end_scores = [scores[..., end, :].reshape(-1) for end in (one, other)]
    _draw_limbs(maps.reshape(-1, *size), *ends, *end_scores, sigma, least_score)
    return maps


# Below, coordinates are (2, n), x and y, and `items` name what is drawn: a joint or limb of a person in a frame. Maps
# are (K, H, W), that of an item is item % K; items stand in order, so that those of one person stand together.


def _draw_joints(maps, items, points, scores, sigma: float, least_score: float) -> None:
    """Draw points (2, n) with scores (n,)."""
    size = np.array(maps.shape[:0:-1])[:, None]
    first, stop = _find_windows(points, points, size, sigma)
    kept = np.flatnonzero((scores >= least_score) & (first < stop).all(axis=0))
    lengths = np.minimum(int(2 * WINDOW * sigma) + 2, size)
    first, stop, points = first[:, None, kept], stop[:, None, kept], points[:, None, kept]
    start = np.minimum(first, size[:, None] - lengths[:, None])  # so that whole patches lie inside the map
    cells = start + np.arange(lengths.max())[:, None]  # (2, P, n)
    values = np.exp((cells - points) ** 2 * np.float32(-0.5 / sigma**2))
    values *= (cells >= first) & (cells < stop)
    across, down = values[0, : lengths[0, 0]], values[1, : lengths[1, 0]] * scores[kept]
    patches = np.ascontiguousarray((down[:, None] * across).transpose(2, 0, 1))
    _write(maps, items[kept], start[:, 0], patches)


def _draw_limbs(maps, ones, others, one_scores, other_scores, sigma: float, least_score: float) -> None:
    """Draw limbs from `ones` to `others` (2, n) with scores (n,)."""
    size = np.array(maps.shape[:0:-1])[:, None]
    scores, lengths = np.minimum(one_scores, other_scores), np.hypot(*(others - ones))
    first, stop = _find_windows(np.minimum(ones, others), np.maximum(ones, others), size, sigma)
    seen, is_long = (scores >= least_score) & (first < stop).all(axis=0), lengths >= LEAST_LENGTH
    short, long = np.flatnonzero(seen & ~is_long), np.flatnonzero(seen & is_long)
    _draw_joints(maps, short, ones[:, short], one_scores[short], sigma, least_score)
    # Limbs whose boxes are of about one size are drawn at once.
    sizes = np.minimum(-(-(stop - first)[:, long] // BIN) * BIN, size).astype(np.int64)
    codes = sizes[0] * (size[1] + 1) + sizes[1]
    order = np.argsort(codes, kind="stable")
    items, sizes = long[order], sizes[:, order]
    start = np.minimum(first[:, items], size - sizes).astype(np.float32)
    windows = first[:, items] - start, stop[:, items] - start
    forms = _describe_limbs(ones[:, items] - start, others[:, items] - start, scores[items], *windows, sigma)
    bounds = np.flatnonzero(np.diff(codes[order], prepend=-1, append=-1))
    for begin, end in zip(bounds[:-1], bounds[1:], strict=True):
        patches = _draw_boxes(forms[:, begin:end], *sizes[:, begin])
        _write(maps, items[begin:end], start[:, begin:end], patches)


def _describe_limbs(ones, others, scores, first, stop, sigma: float) -> np.ndarray:
    """Return what `_draw_boxes` takes of limbs whose windows go from `first` up to `stop` (2, n): (8, n, 3).

    Six forms are below zero inside: beyond either end of the limb, beyond the window on four sides. Then the distance
    from the line, and the log of the score. Distances are in units of sigma * sqrt(2).
    """
    (x, y), vectors = ones, others - ones
    lengths = np.hypot(*vectors)
    unit = np.float32(1 / (np.sqrt(2) * sigma))
    along_x, along_y = vectors * (unit / lengths)
    start, zero, far = along_x * x + along_y * y, np.zeros_like(x), np.full_like(x, FAR)
    forms = (
        (-along_x, -along_y, start),
        (along_x, along_y, -start - lengths * unit),
        (-far, zero, first[0] * FAR),
        (far, zero, (1 - stop[0]) * FAR),
        (zero, -far, first[1] * FAR),
        (zero, far, (1 - stop[1]) * FAR),
        (along_y, -along_x, along_x * y - along_y * x),
        (zero, zero, np.log(scores)),
    )
    return np.array(forms, np.float32).swapaxes(1, 2)


def _draw_boxes(forms: np.ndarray, width: int, height: int) -> np.ndarray:
    """Draw limbs into boxes of one size: (n, height, width). `forms` are (8, n, 3): a, b, c of a x + b y + c."""
    y, x = np.indices((height, width), np.float32).reshape(2, -1)
    values = forms.reshape(-1, 3) @ np.stack([x, y, np.ones_like(x)])
    values = values.reshape(8, -1, height, width)
    beyond = np.maximum(values[:6].max(axis=0), 0)
    across, exponent = values[6:]
    exponent -= beyond * beyond
    exponent -= across * across
    return np.exp(exponent, out=exponent)


def _find_windows(low: np.ndarray, high: np.ndarray, size: np.ndarray, sigma: float) -> tuple:
    """Return the first pixels of windows around points from `low` to `high` (2, n), and those after the last ones."""
    first = np.maximum(np.trunc(low - WINDOW * sigma), 0)
    return first, np.minimum(np.trunc(high + WINDOW * sigma) + 1, size)


def _write(maps: np.ndarray, items: np.ndarray, start: np.ndarray, patches: np.ndarray) -> None:
    """Raise maps to patches (n, h, w) that begin at `start`."""
    (num_maps, height, width), (_, rows, columns) = maps.shape, patches.shape
    x, y = start.astype(np.int64)
    pixels = (np.arange(rows)[:, None] * width + np.arange(columns)).reshape(-1)
    places = ((items % num_maps * height + y) * width + x)[:, None] + pixels
    flat, patches = maps.reshape(-1), patches.reshape(len(items), rows * columns)
    # A person has no map twice.
    bounds = np.searchsorted(items, num_maps * np.arange(items.max(initial=0) // num_maps + 2))
    for first, stop in zip(bounds[:-1], bounds[1:], strict=True):
        part = places[first:stop]
        flat[part] = np.maximum(patches[first:stop], flat.take(part))
