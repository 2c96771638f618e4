"""Heat maps: those of MMAction2's own code, small ones by hand, and what stray points draw."""

import json

import numpy as np
import paddle
import pytest
from paths import GOLDEN_DATA

from layouts import get_layout
from reader import device_heatmaps, draw_heatmaps

CASES = {case["name"]: case for case in json.loads((GOLDEN_DATA / "heatmaps.json").read_text())["cases"]}
ARRAYS = np.load(GOLDEN_DATA / "heatmaps.npz")
LAYOUT = get_layout("coco17")
# What MMAction2 draws where a config names no limbs.
DEFAULT_LIMBS = [
    (0, 1), (0, 2), (1, 3), (2, 4), (0, 5), (5, 7), (7, 9), (0, 6), (6, 8), (8, 10), (5, 11), (11, 13), (13, 15),
    (6, 12), (12, 14), (14, 16), (11, 12),
]  # fmt: skip


def read_case(name):
    """Give a case's key points, scores, limbs and maps."""
    case, arguments = CASES[name], CASES[name]["args"]
    has_score = case["has_score"] and arguments.get("use_score", True)
    limbs = arguments.get("skeletons", DEFAULT_LIMBS) if arguments["with_limb"] else None
    score = ARRAYS[f"{name}__score"] if has_score else None
    return ARRAYS[f"{name}__keypoint"], score, limbs, ARRAYS[f"{name}__heatmap"]


@pytest.mark.parametrize("name", CASES)
def test_maps_are_those_of_mmaction2(name):
    keypoint, score, limbs, expected = read_case(name)
    arguments = CASES[name]["args"]
    order = None
    if arguments.get("double"):
        order = LAYOUT.mirror_indices() if limbs is None else draw_heatmaps.mirror_limbs(limbs, LAYOUT)
    size = {key: arguments[key] for key in ("sigma", "scaling") if key in arguments}
    maps = draw_heatmaps.make_heatmaps(
        keypoint, score, CASES[name]["img_shape"], limbs=limbs, mirror_order=order, **size
    )
    assert maps.shape == expected.shape and maps.dtype == np.float32
    assert np.abs(maps - expected).max() < 3e-6
    assert np.count_nonzero(maps) == CASES[name]["nonzero"]


@pytest.mark.parametrize("name", [name for name in CASES if not name.endswith("_double")])
def test_a_device_makes_the_same_maps(name):
    keypoint, score, limbs, expected = read_case(name)
    arguments = CASES[name]["args"]
    scaling = arguments.get("scaling", 1.0)
    score = np.ones(keypoint.shape[:3], np.float32) if score is None else score
    arrays = keypoint * np.float32(scaling), score
    points, scores = (paddle.to_tensor(array.swapaxes(1, 2)) for array in arrays)
    size = draw_heatmaps.scale_size(CASES[name]["img_shape"], scaling)
    maps = device_heatmaps.draw_maps(points, scores, size, arguments.get("sigma", 0.6), limbs)
    assert np.abs(maps.numpy().swapaxes(0, 1) - expected).max() < 3e-6


def test_mirrored_limbs_are_the_authors_lists():
    case = CASES["limb_double"]["args"]
    expected = list(range(17))
    for left, right in zip(case["left_limb"], case["right_limb"], strict=True):
        expected[left], expected[right] = right, left
    assert [tuple(limb) for limb in case["skeletons"]] == draw_heatmaps.choose_limbs(LAYOUT)
    assert draw_heatmaps.mirror_limbs(draw_heatmaps.choose_limbs(LAYOUT), LAYOUT) == expected


def test_a_limb_without_its_other_side_is_named():
    with pytest.raises(ValueError, match="limbs lack the one between right_elbow and right_shoulder"):
        draw_heatmaps.mirror_limbs([(5, 7)], LAYOUT)


def test_other_layouts_draw_the_edges_of_their_graph():
    layout = get_layout("ntu25")
    limbs = draw_heatmaps.choose_limbs(layout)
    assert limbs == list(layout.edges) and len(draw_heatmaps.mirror_limbs(limbs, layout)) == len(limbs)


# By hand.


def draw(points, scores, limbs=None, size=16):
    """Draw one frame of some persons in both ways, which must agree; give the NumPy maps (K, H, W)."""
    keypoint = np.array(points, np.float32)[:, None]
    score = np.array(scores, np.float32)[:, None]
    maps = draw_heatmaps.make_heatmaps(keypoint, score, (size, size), limbs=limbs)[0]
    points, scores = (paddle.to_tensor(array.swapaxes(1, 2)) for array in (keypoint, score))
    other = device_heatmaps.draw_maps(points, scores, (size, size), 0.6, limbs).numpy()[:, 0]
    assert np.isfinite(maps).all() and np.abs(maps - other).max() < 3e-6
    return maps


def test_a_joint_is_a_gaussian_of_its_score():
    joint = draw([[[8, 5]]], [[0.5]])[0]
    assert joint[5, 8] == 0.5
    assert joint[5, 9] == pytest.approx(0.5 * np.exp(-1 / 0.72)) == joint[6, 8]
    assert joint[4, 7] == pytest.approx(0.5 * np.exp(-2 / 0.72))
    assert joint[3, 8] == pytest.approx(0.5 * np.exp(-4 / 0.72)) and joint[7, 8] == 0  # the window is from 3 to 6


def test_a_limb_is_as_high_as_its_lower_end_all_along():
    limb = draw([[[4, 8], [10, 8]]], [[0.9, 0.4]], [(0, 1)])[0]
    assert limb[8, 4:11] == pytest.approx([0.4] * 7)
    assert limb[9, 7] == pytest.approx(0.4 * np.exp(-1 / 0.72))
    assert limb[8, 11] == pytest.approx(0.4 * np.exp(-1 / 0.72), rel=1e-5)
    assert limb[8, 12] == 0 and limb[10, 7] == 0


def test_persons_are_the_maximum():
    one, other = [[8, 8], [3, 3]], [[9, 8], [12, 3]]
    both = draw([one, other], [[0.5, 0.6], [0.9, 0.8]])
    apart = np.maximum(draw([one], [[0.5, 0.6]]), draw([other], [[0.9, 0.8]]))
    assert np.abs(both - apart).max() < 1e-6
    both = draw([one, other], [[0.5, 0.6], [0.9, 0.8]], [(0, 1)])
    apart = np.maximum(draw([one], [[0.5, 0.6]], [(0, 1)]), draw([other], [[0.9, 0.8]], [(0, 1)]))
    assert np.abs(both - apart).max() < 1e-6


# Stray points.


@pytest.mark.parametrize("limbs", [None, [(0, 1)]])
@pytest.mark.parametrize("x", [np.nan, np.inf, -np.inf, 1e30, -1e9])
def test_points_that_are_no_place_draw_nothing(limbs, x):
    maps = draw([[[x, 8], [8, 8]]], [[1, 1]], limbs)
    assert not maps[0].any()
    assert limbs or maps[1].max() == 1


def test_points_outside_draw_what_reaches_inside():
    maps = draw([[[-1, 8], [17, 8], [-30, 8], [8, 400]]], [[1, 1, 1, 1]])
    assert maps[0][8, 0] == pytest.approx(np.exp(-1 / 0.72)) and maps[0][:, 1:].max() < 0.01
    assert maps[1][8, 15] == pytest.approx(np.exp(-4 / 0.72), rel=1e-5)
    assert not maps[2:].any()
    crossing = draw([[[-30, 8], [40, 8]]], [[1, 1]], [(0, 1)])[0]
    assert crossing[8] == pytest.approx(np.ones(16))


def test_scores_of_nothing_draw_nothing():
    assert not draw([[[8, 8], [4, 4]]], [[0, 5e-5]]).any()
    assert not draw([[[8, 8], [4, 4]]], [[0, 1]], [(0, 1)]).any()
    assert not draw([[[8, 8]]], [[np.nan]]).any()


def test_no_persons_are_empty_maps():
    assert not draw_heatmaps.make_heatmaps(np.zeros((0, 3, 17, 2)), None, (8, 8)).any()


def test_maps_smaller_than_a_patch():
    assert draw([[[1, 1]]], [[1]], size=2)[0, 1, 1] == 1
    assert draw([[[0, 0], [1, 1]]], [[1, 1]], [(0, 1)], size=2)[0, 1, 1] == pytest.approx(1)


@pytest.mark.parametrize(
    "keypoint, score, scaling, message",
    [
        ((2, 3, 17, 3), None, 1.0, "keypoint is of shape (2, 3, 17, 3), expected (persons, frames, joints, 2)"),
        ((2, 3, 17, 2), (3, 2, 17), 1.0, "score is of shape (3, 2, 17), expected (2, 3, 17)"),
        ((2, 3, 17, 2), None, 0.01, "scaling 0.01 makes a map of 0 x 0 pixels"),
    ],
)
def test_bad_arguments_are_named(keypoint, score, scaling, message):
    with pytest.raises(ValueError) as error:
        score = None if score is None else np.ones(score)
        draw_heatmaps.make_heatmaps(np.zeros(keypoint, np.float32), score, (24, 24), scaling=scaling)
    assert message in str(error.value)


# Batches.


@pytest.mark.parametrize("limbs", [None, draw_heatmaps.choose_limbs(LAYOUT)])
def test_a_batch_is_the_same_by_numpy_and_on_a_device(limbs, monkeypatch):
    rng = np.random.default_rng(0)
    keypoint = rng.uniform(0, 20, (3, 2, 4, 17, 4)).astype(np.float32)
    keypoint[..., 2:] = rng.uniform(0.1, 1, (3, 2, 4, 17, 2))
    keypoint[..., 3] = np.array([0, 1, 0])[:, None, None, None]
    order = LAYOUT.mirror_indices() if limbs is None else draw_heatmaps.mirror_limbs(limbs, LAYOUT)
    maps = device_heatmaps.draw_batch(keypoint, (20, 20), 0.7, limbs, order)
    assert maps.shape == [3, 17, 4, 20, 20]
    for sample, expected in zip(keypoint, maps.numpy(), strict=True):
        parts = draw_heatmaps.make_heatmaps(sample[..., :2], sample[..., 2], (20, 20), 0.7, 1.0, limbs, order)
        chosen = parts[4:] if sample[0, 0, 0, 3] else parts[:4]
        assert np.array_equal(expected.swapaxes(0, 1), chosen)
    monkeypatch.setattr(paddle.device, "get_device", lambda: "gpu:0")
    other = device_heatmaps.draw_batch(paddle.to_tensor(keypoint), (20, 20), 0.7, limbs, order)
    assert np.abs(other.numpy() - maps.numpy()).max() < 3e-6
