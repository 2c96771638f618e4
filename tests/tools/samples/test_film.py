"""Filming the sample figure: the camera's geometry, and a drawing that covers its joints."""

import dataclasses

import numpy as np
import pytest

from tools.samples.figure import ACTIONS, COCO_POINTS, POINTS, Timing, animate, make_body, make_timing
from tools.samples.film import Camera, draw_frames, make_clothes, make_scene

FRONTAL = Camera(yaw=0, pitch=0, distance=3, target=(0, 1, 0), focal=100, centre=(79.5, 59.5))


def draw_clip(action, seed, width=160, height=120, num_frames=16):
    """Frames without noise, the empty room, and the COCO points in pixels."""
    rng = np.random.default_rng(seed)
    body, clothes = make_body(rng), make_clothes(rng)
    timing, scene = make_timing(num_frames, body, rng), make_scene(width, height, body, rng)
    scene.noise[:] = 0
    points = animate(action, body, timing)
    frames = np.stack(list(draw_frames(points, body, clothes, scene, rng)))
    return frames, scene.background, scene.camera.project(scene.camera.view(points))[:, COCO_POINTS]


def test_the_camera_sees_left_of_a_facing_person_at_the_right_and_up_at_the_top():
    points = np.array([(0, 1, 0), (0.3, 1, 0), (0, 1.3, 0), (0, 1, 1)], dtype=float)
    np.testing.assert_allclose(FRONTAL.view(points), [(0, 0, 3), (0.3, 0, 3), (0, 0.3, 3), (0, 0, 2)])
    pixels = FRONTAL.project(FRONTAL.view(points))
    np.testing.assert_allclose(pixels, [(79.5, 59.5), (89.5, 59.5), (79.5, 49.5), (79.5, 59.5)])


def test_a_camera_above_looks_down_and_a_camera_aside_looks_from_the_side():
    above = Camera(yaw=0, pitch=90, distance=3, target=(0, 1, 0), focal=100, centre=(0, 0))
    np.testing.assert_allclose(above.view(np.array([(0, 2.0, 0), (0, 1.0, 1)])), [(0, 0, 2), (0, -1, 3)], atol=1e-12)
    aside = Camera(yaw=90, pitch=0, distance=3, target=(0, 1, 0), focal=100, centre=(0, 0))
    np.testing.assert_allclose(aside.view(np.array([(0, 1.0, 1), (1, 1.0, 0)])), [(1, 0, 3), (0, 0, 4)], atol=1e-12)


def test_the_camera_keeps_distances():
    scene = make_scene(160, 120, make_body(np.random.default_rng(0)), np.random.default_rng(1))
    points = np.random.default_rng(2).normal(size=(8, 3))
    seen = scene.camera.view(points)
    np.testing.assert_allclose(
        np.linalg.norm(np.diff(seen, axis=0), axis=1), np.linalg.norm(np.diff(points, axis=0), axis=1)
    )


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("size", [(160, 120), (96, 72)])
def test_every_key_point_inside_the_picture_lies_on_the_drawn_body(action, size):
    frames, room, pixels = draw_clip(action, seed=5, width=size[0], height=size[1])
    drawn = np.abs(frames.astype(int) - room).sum(axis=-1) > 30
    # The floor's shadow is drawn too, but no larger than a body: points moved aside by a quarter picture must miss.
    assert hit_ratio(drawn, pixels) == 1.0
    assert hit_ratio(drawn, pixels + [size[0] / 4, 0]) < 0.3


def hit_ratio(drawn, pixels):
    height, width = drawn.shape[1:]
    x, y = np.moveaxis(np.round(pixels).astype(int), -1, 0)
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    frame = np.broadcast_to(np.arange(len(drawn))[:, None], x.shape)
    return drawn[frame[inside], y[inside], x[inside]].mean()


@pytest.mark.parametrize("action", ACTIONS)
def test_the_figure_is_large_and_stays_in_the_picture(action):
    for seed in range(4):
        _, _, pixels = draw_clip(action, seed)
        x, y = pixels[..., 0], pixels[..., 1]
        assert ((x > 0) & (x < 159) & (y > -12) & (y < 125)).all()
        assert np.ptp(y, axis=1).max() > 0.5 * 120


def test_what_stands_nearer_hides_what_is_behind_and_is_brighter():
    rng = np.random.default_rng(5)
    body, clothes = make_body(rng), make_clothes(rng)
    scene = dataclasses.replace(make_scene(160, 120, body, rng), camera=FRONTAL)
    points = animate("Clap", body, Timing(16, period=16, phase=0, start=0, end=1))[:1]  # palms together
    frame = next(draw_frames(points, body, clothes, scene, rng)).astype(float)
    x, y = np.round(FRONTAL.project(FRONTAL.view(points[0, POINTS.index("left_hand")]))).astype(int)
    skin, shirt = np.array(clothes["skin"]), np.array(clothes["shirt"])
    assert np.abs(frame[y + 12, x] - shirt).sum() < 60, "below the hands one sees the shirt"
    assert np.abs(frame[y, x] - skin).sum() < np.abs(frame[y, x] - shirt).sum(), "the hands are drawn over it"
    assert frame[y, x].mean() > skin.mean() + 5, "hands held out are nearer than the hips"


def test_frames_are_uint8_of_the_size_asked_for_and_noise_differs_from_frame_to_frame():
    rng = np.random.default_rng(0)
    body, clothes = make_body(rng), make_clothes(rng)
    timing, scene = make_timing(10, body, rng), make_scene(90, 64, body, rng)
    frames = list(draw_frames(animate("Bow", body, timing), body, clothes, scene, rng))
    assert len(frames) == 10 and {(frame.shape, str(frame.dtype)) for frame in frames} == {((64, 90, 3), "uint8")}
    corners = {frame[:6, :6].tobytes() for frame in frames}
    assert len(corners) > 5
