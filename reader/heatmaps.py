"""Heat maps of key points: a Gaussian at each joint or along each limb (PoseC3D, arXiv:2104.13586, section 3.2).

As MMAction2's GeneratePoseTarget draws them: a Gaussian ends at a window of three standard deviations, whose corners
are rounded toward zero, and several persons are the maximum. NumPy writes only the few pixels around each joint or
limb; `reader/device_heatmaps.py` makes the same maps on a GPU.

Points outside a map draw what of their window lies inside it; points that are no finite numbers, or `FARTHEST` away,
draw nothing, nor do limbs from or to them.
"""

import numpy as np

from skeleton import Layout

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
    is_near = (np.abs(points[..., 0]) < FARTHEST) & (np.abs(points[..., 1]) < FARTHEST)
    scores = np.where(is_near, scores, np.float32(0))
    if limbs is None:
        maps = np.zeros((*points.shape[1:-1], *size), np.float32)
        scores = scores.reshape(-1)
        flat = maps.reshape(-1, *size)
        _draw_joints(flat, np.arange(len(scores)), points.reshape(-1, 2), scores, sigma, least_score)
        return maps
    one, other = np.array(limbs).T
    maps = np.zeros((*points.shape[1:-3], len(limbs), points.shape[-2], *size), np.float32)
    ends = points[..., one, :, :].reshape(-1, 2), points[..., other, :, :].reshape(-1, 2)
    end_scores = scores[..., one, :].reshape(-1), scores[..., other, :].reshape(-1)
    _draw_limbs(maps.reshape(-1, *size), *ends, *end_scores, sigma, least_score)
    return maps


def _draw_joints(maps, items, points, scores, sigma: float, least_score: float) -> None:
    """Draw points (n, 2) with scores (n,) into maps (K, H, W), see `_write` for `items`."""
    size = np.array(maps.shape[:0:-1])  # in the order of x and y
    first, stop = _find_windows(points, points, size, sigma)
    kept = np.flatnonzero((scores >= least_score) & _are_open(first, stop))
    lengths = np.minimum(int(2 * WINDOW * sigma) + 2, size)
    first, stop, points = first[kept], stop[kept], points[kept]
    start = np.minimum(first, size - lengths)  # so that whole patches lie inside the map
    cells = start[:, :, None] + np.arange(lengths.max())
    values = np.exp((cells - points[:, :, None]) ** 2 * np.float32(-0.5 / sigma**2))
    values *= (cells >= first[:, :, None]) & (cells < stop[:, :, None])
    across, down = values[:, 0, : lengths[0]], values[:, 1, : lengths[1]] * scores[kept, None]
    _write(maps, items[kept], start, down[:, :, None] * across[:, None, :])


def _draw_limbs(maps, ones, others, one_scores, other_scores, sigma: float, least_score: float) -> None:
    """Draw limbs from `ones` to `others` (M * K, 2) with scores (M * K,) into maps (K, H, W)."""
    size = np.array(maps.shape[:0:-1])
    scores, lengths = np.minimum(one_scores, other_scores), np.hypot(*(others - ones).T)
    first, stop = _find_windows(np.minimum(ones, others), np.maximum(ones, others), size, sigma)
    seen, is_long = (scores >= least_score) & _are_open(first, stop), lengths >= LEAST_LENGTH
    short, long = np.flatnonzero(seen & ~is_long), np.flatnonzero(seen & is_long)
    _draw_joints(maps, short, ones[short], one_scores[short], sigma, least_score)
    # Limbs whose boxes are of about one size stand together and are drawn at once.
    sizes = np.minimum(-(-(stop - first)[long] // BIN) * BIN, size).astype(np.int64)
    codes = sizes[:, 0] * (size[1] + 1) + sizes[:, 1]
    order = np.argsort(codes, kind="stable")
    items, sizes = long[order], sizes[order]
    start = np.minimum(first[items], size - sizes).astype(np.float32)
    forms = _describe_limbs(
        ones[items] - start, others[items] - start, scores[items], first[items] - start, stop[items] - start, sigma
    )
    bounds = np.flatnonzero(np.diff(codes[order], prepend=-1, append=-1))
    for begin, end in zip(bounds[:-1], bounds[1:], strict=True):
        patches = _draw_boxes(forms[:, begin:end], *sizes[begin])
        _write(maps, items[begin:end], start[begin:end], patches)


def _describe_limbs(ones, others, scores, first, stop, sigma: float) -> np.ndarray:
    """Return what `_draw_boxes` takes of limbs whose windows go from `first` up to `stop`, (8, n, 3).

    Six forms are below zero inside: beyond either end of the limb, beyond the window on four sides. Then the distance
    from the line, and the log of the score. Distances are in units of sigma * sqrt(2).
    """
    (x, y), vectors = ones.T, (others - ones).T
    lengths = np.hypot(*vectors)
    unit = np.float32(1 / (np.sqrt(2) * sigma))
    along_x, along_y = vectors * (unit / lengths)
    start, zero, one = along_x * x + along_y * y, np.zeros_like(x), np.full_like(x, FAR)
    forms = (
        (-along_x, -along_y, start),
        (along_x, along_y, -start - lengths * unit),
        (-one, zero, first[:, 0] * FAR),
        (one, zero, (1 - stop[:, 0]) * FAR),
        (zero, -one, first[:, 1] * FAR),
        (zero, one, (1 - stop[:, 1]) * FAR),
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
    """Return the first pixels (n, 2) of windows around points from `low` to `high`, and those after the last ones."""
    first = np.maximum(np.trunc(low - WINDOW * sigma), 0)
    return first, np.minimum(np.trunc(high + WINDOW * sigma) + 1, size)


def _are_open(first: np.ndarray, stop: np.ndarray) -> np.ndarray:
    """Return which windows hold a pixel, (n,)."""
    return (first[:, 0] < stop[:, 0]) & (first[:, 1] < stop[:, 1])


def _write(maps: np.ndarray, items: np.ndarray, start: np.ndarray, patches: np.ndarray) -> None:
    """Raise maps (K, H, W) to patches (n, h, w) that begin at x and y (n, 2); items % K are the maps.

    Items stand in order, so that those of one person, who has no map twice, stand together.
    """
    (num_maps, height, width), (_, rows, columns) = maps.shape, patches.shape
    step = maps.itemsize
    windows = np.ndarray((maps.size - columns + 1, columns), maps.dtype, maps, 0, (step, step))  # from each pixel on
    start = start.astype(np.int64)
    begin = (items % num_maps * height + start[:, 1]) * width + start[:, 0]
    places = begin[:, None] + np.arange(rows) * width
    bounds = np.searchsorted(items, num_maps * np.arange(items.max(initial=0) // num_maps + 2))
    for first, stop in zip(bounds[:-1], bounds[1:], strict=True):
        part = places[first:stop]
        windows[part] = np.maximum(patches[first:stop], windows[part])
