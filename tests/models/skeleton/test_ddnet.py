"""DD-Net: distances and motions against NumPy, the paper's numbers of parameters, and its laws."""

import numpy as np
import paddle
import pytest

from models.skeleton.ddnet import DDNet, find_distances, find_motion, pair_joints

pytestmark = pytest.mark.filterwarnings("ignore:When training, we now always track")

SMALL = {"layout": "coco17", "num_persons": 1, "base_channels": 4, "dropout_ratio": 0.0, "channel_dropout_ratio": 0.0}


def draw(*shape):
    """Draw normally distributed numbers, float32."""
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def build(**arguments):
    """Build a small network for evaluation, always the same one."""
    paddle.seed(0)
    model = DDNet(3, **{**SMALL, **arguments})
    model.eval()
    return model


def score(model, keypoint):
    """Return the logits of skeletons (N, C, T, V, M)."""
    return model(paddle.to_tensor(keypoint)).numpy()


@pytest.mark.parametrize("base_channels, millions", [(64, 1.82), (32, 0.50), (16, 0.15)])
def test_size_is_the_papers(tmp_path, base_channels, millions):
    """Table 4 of the paper: SHREC'17, 22 joints of a hand, 14 gestures."""
    layout = tmp_path / "hand22.yaml"
    rows = "\n".join(f"  - [joint{joint}, joint{max(joint - 1, 0)}]" for joint in range(22))
    layout.write_text(f"joints:\n{rows}\n", encoding="utf-8")
    model = DDNet(14, layout=str(layout), num_persons=1, base_channels=base_channels)
    trained = [parameter for parameter in model.parameters() if not parameter.stop_gradient]
    assert round(sum(parameter.size for parameter in trained) / 1e6, 2) == millions


def test_distances_are_between_all_pairs_of_joints():
    keypoint = draw(2, 3, 4, 5)  # (B, C, T, V)
    found = find_distances(paddle.to_tensor(keypoint), paddle.to_tensor(pair_joints(5))).numpy()
    apart = np.linalg.norm(keypoint[..., :, None] - keypoint[..., None, :], axis=1)  # -> (B, T, V, V)
    first, second = np.triu_indices(5, 1)
    expected = apart[:, :, first, second]
    np.testing.assert_allclose(found, expected.transpose(0, 2, 1), rtol=1e-5)


def test_the_gradient_of_a_distance_of_nothing_is_finite():
    keypoint = paddle.zeros([1, 3, 2, 4])
    keypoint.stop_gradient = False
    find_distances(keypoint, paddle.to_tensor(pair_joints(4))).sum().backward()
    assert (keypoint.grad.numpy() == 0).all()


@pytest.mark.parametrize("num_frames", [1, 2, 5, 6])
def test_motions_are_those_of_one_and_of_two_frames(num_frames):
    keypoint = draw(2, 3, num_frames, 4)
    slow, fast = (find_motion(paddle.to_tensor(keypoint), speed).numpy() for speed in (1, 2))
    for found, speed in ((slow, 1), (fast, 2)):
        assert found.shape == (2, 3, -(-num_frames // speed), 4)
        for index, frame in enumerate(range(0, num_frames, speed)):
            later = frame + speed
            expected = keypoint[:, :, later] - keypoint[:, :, frame] if later < num_frames else 0 * keypoint[:, :, 0]
            np.testing.assert_array_equal(found[:, :, index], expected)


@pytest.mark.parametrize("num_frames", [1, 2, 3, 7, 33])
@pytest.mark.parametrize("use_coordinates", [False, True])
def test_a_clip_may_have_any_number_of_frames(num_frames, use_coordinates):
    logits = score(build(use_coordinates=use_coordinates), draw(2, 3, num_frames, 17, 1))
    assert logits.shape == (2, 3) and np.isfinite(logits).all()


@pytest.mark.parametrize("use_coordinates", [False, True])
def test_where_a_body_stands_is_seen_by_its_coordinates_alone(use_coordinates):
    model, keypoint = build(use_coordinates=use_coordinates), draw(2, 3, 8, 17, 1)
    differs = np.abs(score(model, keypoint + 2) - score(model, keypoint)).max() > 1e-3
    assert differs == use_coordinates


def test_motion_counts():
    """The mirrored image of a body has its distances, and other motions."""
    model, keypoint = build(), draw(2, 3, 8, 17, 1)
    assert np.abs(score(model, -keypoint) - score(model, keypoint)).max() > 1e-3


def test_the_order_of_persons_does_not_count_and_each_of_them_does():
    model, keypoint = build(num_persons=2), draw(2, 3, 8, 17, 2)
    np.testing.assert_allclose(score(model, keypoint[..., ::-1].copy()), score(model, keypoint), atol=1e-6)
    for person in (0, 1):
        changed = keypoint.copy()
        changed[..., person] *= 3
        assert np.abs(score(model, changed) - score(model, keypoint)).max() > 1e-3


def test_two_coordinates_leave_the_score_out():
    model, keypoint = build(num_coordinates=2), draw(2, 3, 8, 17, 1)
    changed = keypoint.copy()
    changed[:, 2] = 7
    np.testing.assert_array_equal(score(model, changed), score(model, keypoint))
    changed[:, 1] += draw(2, 8, 17, 1)
    assert np.abs(score(model, changed) - score(model, keypoint)).max() > 1e-3


def test_arguments_that_do_not_go_together_are_refused():
    with pytest.raises(ValueError, match="got 17 joints with 3 coordinates in 2 channels, expected .*; set MODEL"):
        build(in_channels=2)


def test_input_of_another_size_is_refused():
    with pytest.raises(ValueError, match=r"DDNet: expected input \(N, 3, T, 17, 1\), got \(2, 3, 8, 25, 1\)"):
        build()(paddle.zeros([2, 3, 8, 25, 1]))
