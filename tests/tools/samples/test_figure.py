"""The sample figure: rigid limbs, feet on the floor, actions that are what their names say, and exact reversals."""

import numpy as np
import pytest

from layouts import LAYOUTS
from tools.samples.figure import (
    ACTIONS,
    COCO_POINTS,
    POINTS,
    REVERSED,
    SOLE,
    Body,
    Timing,
    animate,
    make_body,
    make_timing,
)

NTU25, COCO17 = LAYOUTS["ntu25"], LAYOUTS["coco17"]
EVERY_ACTION = pytest.mark.parametrize("action", ACTIONS)
AVERAGE = Body(dict.fromkeys(("trunk", "shoulders", "arms", "hips", "legs"), 1.0), girth=1, pace=1, vigour=1)
TIMING = Timing(num_frames=32, period=16, phase=0, start=0.1, end=0.9)


def track(points, name, axis):
    """The path of one point along x (left), y (up) or z (forward), metres."""
    return points[:, POINTS.index(name), "xyz".index(axis)]


def draw_body_and_timing(seed):
    rng = np.random.default_rng(seed)
    body = make_body(rng)
    return body, make_timing(24, body, rng)


@EVERY_ACTION
@pytest.mark.parametrize("seed", [0, 1])
def test_bones_keep_their_lengths(action, seed):
    points = animate(action, *draw_body_and_timing(seed), is_left_handed=bool(seed))
    for joint, parent in NTU25.bones:
        lengths = np.linalg.norm(points[:, joint] - points[:, parent], axis=1)
        assert 0.01 < lengths[0] < 0.6
        np.testing.assert_allclose(lengths, lengths[0], rtol=1e-9)


@EVERY_ACTION
def test_left_and_right_limbs_are_alike(action):
    points = animate(action, *draw_body_and_timing(2))
    lengths = np.linalg.norm(points[0, list(range(25))] - points[0, list(NTU25.parents)], axis=1)
    np.testing.assert_allclose(lengths, lengths[NTU25.mirror_indices()])


def test_reversed_actions_are_another_action_played_backwards():
    partners = {name: [other for other in ACTIONS if ACTIONS[other] is ACTIONS[name]] for name in REVERSED}
    assert partners == {"StandUp": ["SitDown", "StandUp"], "WalkBackward": ["WalkForward", "WalkBackward"]}
    for backward, (forward, _) in partners.items():
        for seed in range(3):
            body, timing = draw_body_and_timing(seed)
            played = animate(forward, body, timing)
            np.testing.assert_array_equal(animate(backward, body, timing), played[::-1])
            assert np.abs(played - played[::-1]).max() > 0.3, "the order of frames must matter"


def test_a_left_handed_performer_is_the_mirror_image():
    body, timing = draw_body_and_timing(3)
    right, left = animate("Wave", body, timing), animate("Wave", body, timing, is_left_handed=True)
    np.testing.assert_allclose(left[:, :25], right[:, NTU25.mirror_indices()] * [-1, 1, 1])
    coco = COCO17.mirror_indices()
    np.testing.assert_allclose(left[:, COCO_POINTS], right[:, COCO_POINTS][:, coco] * [-1, 1, 1])
    assert (track(right, "right_hand", "y") > track(right, "right_shoulder", "y")).all()
    assert (track(left, "left_hand", "y") > track(left, "left_shoulder", "y")).all()


@EVERY_ACTION
def test_the_feet_stand_on_the_floor_and_only_a_jump_leaves_it(action):
    points = animate(action, AVERAGE, TIMING)
    lowest = np.minimum(track(points, "left_foot", "y"), track(points, "right_foot", "y"))
    assert lowest.min() >= SOLE - 1e-9
    flight = lowest.max() - SOLE
    assert flight > 0.15 if action == "Jump" else flight < 1e-9


@EVERY_ACTION
def test_the_body_is_a_person(action):
    points = animate(action, AVERAGE, TIMING)
    assert np.abs(points[..., 0]).max() < 1.0
    assert -0.8 < points[..., 2].min() and points[..., 2].max() < 1.4
    assert (track(points, "left_shoulder", "x") > track(points, "right_shoulder", "x")).all()
    assert (track(points, "left_ear", "x") > track(points, "right_ear", "x")).all()


def test_height_is_that_of_the_standing_figure():
    standing = animate("SitDown", AVERAGE, TIMING)[0]
    assert AVERAGE.height == pytest.approx(1.78)
    assert standing[POINTS.index("head"), 1] + 0.12 == pytest.approx(AVERAGE.height)


def test_actions_are_what_their_names_say():
    play = {action: animate(action, AVERAGE, TIMING) for action in ACTIONS}
    hips = {action: track(points, "spine_base", "y") for action, points in play.items()}
    assert hips["SitDown"][0] - hips["SitDown"][-1] > 0.3
    assert (np.diff(hips["SitDown"]) < 1e-9).all(), "sitting down only ever lowers the hips"
    assert hips["SitDown"][-1] - 0.09 == pytest.approx(AVERAGE.seat_height, abs=0.04)
    assert np.ptp(hips["Squat"]) > 0.4
    assert np.ptp(hips["Bow"]) < 0.05 and np.ptp(track(play["Bow"], "head", "y")) > 0.4
    assert np.ptp(track(play["Kick"], "right_foot", "y")) > 0.6 and np.ptp(track(play["Kick"], "left_foot", "y")) < 0.01
    assert (
        np.ptp(track(play["Punch"], "left_hand", "z")) > 0.3 and np.ptp(track(play["Punch"], "right_hand", "z")) > 0.3
    )
    gap = np.linalg.norm(play["Clap"][:, NTU25.joints.index("left_hand")] - play["Clap"][:, 11], axis=1)
    assert gap.min() < 0.15 and gap.max() > 0.8
    assert (
        np.ptp(track(play["Wave"], "right_hand", "x")) > 0.25 and np.ptp(track(play["Wave"], "left_hand", "x")) < 0.15
    )
    walked = np.diff(track(play["WalkForward"], "spine_base", "z"))
    assert (walked > 0).all() and walked.sum() == pytest.approx(0.8)


@pytest.mark.parametrize("seed", range(5))
def test_a_window_of_16_frames_shows_a_whole_cycle_and_the_clip_shows_the_whole_of_a_single_movement(seed):
    _, timing = draw_body_and_timing(seed)
    assert timing.period <= 16
    assert timing.cycle()[16] - timing.cycle()[0] >= 2 * np.pi - 1e-9
    progress = timing.progress()
    assert (progress[0], progress[-1]) == (0, 1) and (np.diff(progress) >= 0).all()


def test_the_same_seed_gives_the_same_person_and_another_seed_another():
    assert draw_body_and_timing(7) == draw_body_and_timing(7)
    assert draw_body_and_timing(7) != draw_body_and_timing(8)


def test_points_begin_with_the_ntu_joints_and_hold_the_coco_ones():
    assert POINTS[:25] == NTU25.joints
    assert tuple(POINTS[index] for index in COCO_POINTS) == COCO17.joints
