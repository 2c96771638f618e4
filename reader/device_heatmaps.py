"""The heat maps of `reader/draw_heatmaps.py` from tensors: few large operators over whole maps, which suits a GPU.

On a CPU, where most of that work would be for nothing, NumPy draws the maps of a batch.
"""

import numpy as np
import paddle
import paddle.nn.functional as F

from reader import draw_heatmaps
from reader.draw_heatmaps import FARTHEST, LEAST_LENGTH, LEAST_SCORE, WINDOW


def draw_batch(
    keypoint: paddle.Tensor | np.ndarray,
    size: tuple,
    sigma: float,
    limbs: list | None = None,
    mirror_order: list | None = None,
) -> paddle.Tensor:
    """Make a network's input of a batch's key points, on the current device.

    Args:
        keypoint: float32 (B, M, T, V, 4): x and y in pixels of the map, score, and 1 in views that are mirrored.
        size: (H, W) of a map.
        limbs: (joint, joint) of each limb, to draw these; None: the joints.
        mirror_order: the channels of a mirrored body; None: no view is mirrored.

    Returns:
        float32 (B, K, T, H, W).
    """
    if paddle.device.get_device() == "cpu":
        keypoint = np.asarray(keypoint).transpose(1, 0, 3, 2, 4)  # (M, B, V, T, 4)
        maps = draw_heatmaps.draw_maps(keypoint[..., :2], keypoint[..., 2], size, sigma, limbs)
        if mirror_order is not None:
            mirrored = keypoint[0, :, 0, 0, 3] > 0
            maps[mirrored] = maps[mirrored][:, mirror_order, :, :, ::-1]
        return paddle.to_tensor(maps)
    keypoint = keypoint if isinstance(keypoint, paddle.Tensor) else paddle.to_tensor(keypoint)
    mirrored = keypoint[:, 0, 0, 0, 3] > 0
    keypoint = keypoint.transpose([1, 0, 3, 2, 4])
    maps = draw_maps(keypoint[..., :2], keypoint[..., 2], size, sigma, limbs)
    if mirror_order is None:
        return maps
    turned = maps.index_select(paddle.to_tensor(mirror_order), 1).flip(-1)
    return paddle.where(mirrored.reshape([-1, 1, 1, 1, 1]), turned, maps)


def draw_maps(
    points: paddle.Tensor,
    scores: paddle.Tensor,
    size: tuple,
    sigma: float,
    limbs: list | None = None,
    least_score: float = LEAST_SCORE,
) -> paddle.Tensor:
    """Draw as `draw_heatmaps.draw_maps` does, from tensors of the same shapes, on their device."""
    is_there = (scores >= least_score) & (points.abs() < FARTHEST).all(-1)
    scores = paddle.where(is_there, scores, paddle.zeros_like(scores))
    points = paddle.where(is_there.unsqueeze(-1), points, paddle.zeros_like(points))
    maps = None
    for where, score in zip(points, scores, strict=True):
        person = (
            _fill_joints(where, score, size, sigma) if limbs is None else _fill_limbs(where, score, size, sigma, limbs)
        )
        maps = person if maps is None else paddle.maximum(maps, person)
    return maps


def _fill_joints(points: paddle.Tensor, scores: paddle.Tensor, size: tuple, sigma: float) -> paddle.Tensor:
    """Return the maps (..., H, W) of points (..., 2) with scores (...)."""
    x, y = points.unbind(-1)
    across, down = _fill_axis(x, size[1], sigma), _fill_axis(y, size[0], sigma)
    return (down * scores.unsqueeze(-1)).unsqueeze(-1) * across.unsqueeze(-2)


def _fill_axis(centres: paddle.Tensor, length: int, sigma: float) -> paddle.Tensor:
    """Return the Gaussians (..., length) around centres (...), each within its window."""
    distances = paddle.arange(length, dtype="float32") - centres.unsqueeze(-1)
    inside = _find_inside(centres, centres, length, sigma)
    return paddle.where(inside, paddle.exp(distances * distances * (-0.5 / sigma**2)), paddle.zeros_like(distances))


def _find_inside(low: paddle.Tensor, high: paddle.Tensor, length: int, sigma: float) -> paddle.Tensor:
    """Return which pixels of an axis are in the windows around points from `low` to `high`, bool (..., length)."""
    cells = paddle.arange(length, dtype="float32")
    first, last = paddle.trunc(low - WINDOW * sigma), paddle.trunc(high + WINDOW * sigma)
    return (cells >= first.unsqueeze(-1)) & (cells <= last.unsqueeze(-1))


def _fill_limbs(points: paddle.Tensor, scores: paddle.Tensor, size: tuple, sigma: float, limbs: list) -> paddle.Tensor:
    """Return the maps (..., K, T, H, W) of limbs between points (..., V, T, 2)."""
    one, other = (paddle.to_tensor(ends) for ends in np.array(limbs).T)
    ends, next_ends = points.index_select(one, -3), points.index_select(other, -3)
    one_scores, other_scores = scores.index_select(one, -2), scores.index_select(other, -2)
    score = paddle.minimum(one_scores, other_scores)
    (x, y), (dx, dy) = ends.unbind(-1), (next_ends - ends).unbind(-1)
    length = paddle.sqrt(dx * dx + dy * dy)
    is_long = length >= LEAST_LENGTH
    dx, dy = dx / paddle.clip(length, LEAST_LENGTH), dy / paddle.clip(length, LEAST_LENGTH)
    columns = paddle.arange(size[1], dtype="float32") - x.unsqueeze(-1)  # (..., T, W)
    rows = paddle.arange(size[0], dtype="float32") - y.unsqueeze(-1)
    along = (columns * dx.unsqueeze(-1)).unsqueeze(-2) + (rows * dy.unsqueeze(-1)).unsqueeze(-1)
    across = (columns * dy.unsqueeze(-1)).unsqueeze(-2) - (rows * dx.unsqueeze(-1)).unsqueeze(-1)
    beyond = paddle.maximum(F.relu(-along), along - length.unsqueeze(-1).unsqueeze(-1))
    maps = paddle.exp((beyond * beyond + across * across) * (-0.5 / sigma**2)) * score.unsqueeze(-1).unsqueeze(-1)
    (x1, y1), (x2, y2) = paddle.minimum(ends, next_ends).unbind(-1), paddle.maximum(ends, next_ends).unbind(-1)
    inside = _find_inside(y1, y2, size[0], sigma).unsqueeze(-1) & _find_inside(x1, x2, size[1], sigma).unsqueeze(-2)
    maps = paddle.where(inside & is_long.unsqueeze(-1).unsqueeze(-1), maps, paddle.zeros_like(maps))
    short = paddle.where(is_long | (score == 0), paddle.zeros_like(score), one_scores)
    return paddle.maximum(maps, _fill_joints(ends, short, size, sigma))
