"""Choice of persons: the authors' own results, and the rules by hand."""

import json

import numpy as np
import pytest
from paths import GOLDEN_DATA
from raw_skeleton_files import draw_person, write_ntu

from dataset.raw_skeletons.bodies import BODIES, follow_ids, measure_motion, select_ctrgcn, select_pyskl
from dataset.raw_skeletons.ntu_file import Recording, read_recording

PARSED = json.loads((GOLDEN_DATA / "ntu_skeleton_parse.json").read_text(encoding="utf-8"))
DENOISED = json.loads((GOLDEN_DATA / "ctrgcn_ntu_denoise.json").read_text(encoding="utf-8"))["cases"]


@pytest.mark.parametrize(("way", "key"), [("msg3d", "msg3d_output"), ("first", "pbgcn_output")])
def test_slots_match_the_authors(tmp_path, way, key):
    (tmp_path / "a.skeleton").write_text(PARSED["file_text"])
    expected = np.array(next(value for name, value in PARSED.items() if name.startswith(key)))  # (C, T, V, M)
    keypoint = BODIES[way](read_recording(tmp_path / "a.skeleton"))
    assert keypoint.dtype == np.float32
    np.testing.assert_allclose(keypoint.transpose(3, 1, 2, 0), expected, rtol=0, atol=5e-7)


@pytest.mark.parametrize("case", DENOISED, ids=lambda case: case["comment"])
def test_denoising_matches_ctrgcn(tmp_path, case):
    tracks = np.array(case["tracks (body,T,25,3)"])
    frames = [
        [(1000 + body, tracks[body, frame]) for body in present]
        for frame, present in enumerate(case["present_bodies_per_frame"])
    ]
    recording = read_recording(write_ntu(tmp_path / "a.skeleton", frames))
    for track, raw in zip(follow_ids(recording)[0], case["raw_bodies"].values(), strict=True):
        assert (len(track.joints), track.start) == (raw["frames"], raw["first"])
        assert raw["motion"] is None or measure_motion(track.joints) == pytest.approx(raw["motion"], rel=1e-6)

    keypoint = select_ctrgcn(recording)
    rows = keypoint.transpose(1, 0, 2, 3).reshape(len(keypoint[0]), -1)  # (T, 150)
    num_columns = case["denoised_joints_shape"][1]
    assert len(rows) == case["num_frames"] and rows[:, num_columns:].any() == 0
    columns = [column for column in (0, 1, 2, 60, 61, 62, 75, 76, 77) if column < num_columns]
    expected = case["denoised_joints_cols_0,1,2,60,61,62,75,76,77"]
    np.testing.assert_allclose(rows[:, columns], expected, rtol=0, atol=2e-7)
    moved = (keypoint - keypoint[0, 0, 1]) * keypoint.any(axis=(2, 3), keepdims=True)  # what the reader then does
    norms = np.linalg.norm(moved.transpose(1, 0, 2, 3).reshape(len(rows), -1), axis=1)
    np.testing.assert_allclose(norms, case["final (T,150) l2 per frame"], rtol=1e-6)


def record(num_frames, *tracks):
    """Make a recording of tracks (id, first frame, (L, 25, 3))."""
    rows = [(start + place, body, joints) for body, start, track in tracks for place, joints in enumerate(track)]
    rows.sort(key=lambda row: row[0])
    frames = np.array([row[0] for row in rows], np.int64)
    slots = np.array([np.sum(frames[:place] == frame) for place, frame in enumerate(frames)], np.int64)
    return Recording(num_frames, frames, slots, [row[1] for row in rows], np.array([row[2] for row in rows]))


def stand(num_frames, seed, motion=1.0):
    """A narrow person, whose motion grows with `motion`."""
    person = draw_person(num_frames, seed) * (0.3, 2, 1)
    return (person - person.mean(axis=(0, 1))) * motion + (0, 0, 3)


def test_tracks_of_one_person_become_one_actor():
    early, late, other = stand(15, 1, 3.0), stand(15, 2, 2.0), stand(30, 3, 1.0)
    recording = record(30, (7, 0, early), (8, 15, late), (9, 0, other))
    for take in (select_ctrgcn, select_pyskl):
        keypoint = take(recording)
        np.testing.assert_allclose(keypoint[0], np.concatenate([early, late]), atol=1e-6)
        np.testing.assert_allclose(keypoint[1], other, atol=1e-6)


def test_one_shared_frame_parts_the_two_ways():
    first, second = stand(16, 1, 3.0), stand(15, 2, 2.0)
    recording = record(30, (7, 0, first), (8, 15, second))
    ctrgcn, pyskl = select_ctrgcn(recording), select_pyskl(recording)
    np.testing.assert_allclose(ctrgcn[0], np.concatenate([first[:15], second]), atol=1e-6)
    assert not ctrgcn[1].any()
    np.testing.assert_allclose(pyskl[0, :16], first, atol=1e-6)
    np.testing.assert_allclose(pyskl[1, 15:], second, atol=1e-6)


def test_pyskl_puts_the_person_that_is_there_first_and_cuts_the_ends():
    late, early, short = stand(13, 1, 3.0), stand(14, 2, 1.0), stand(2, 4, 9.0)
    recording = record(20, (5, 0, short), (7, 6, late), (8, 2, early))
    keypoint = select_pyskl(recording)
    assert keypoint.shape == (2, 17, 25, 3)  # frames 2 to 18
    np.testing.assert_allclose(keypoint[0, :14], early, atol=1e-6)
    np.testing.assert_allclose(keypoint[1, 4:], late, atol=1e-6)
    assert select_ctrgcn(recording)[0, 4:, 0].any() and select_ctrgcn(recording).shape[1] == 17


def test_wide_bodies_go_but_not_the_last_one():
    wide, narrow = stand(20, 1)[..., [1, 0, 2]], stand(20, 2)
    assert np.array_equal(select_pyskl(record(20, (1, 0, wide), (2, 0, narrow)))[0], narrow.astype(np.float32))
    for take in (select_ctrgcn, select_pyskl):
        assert take(record(20, (1, 0, wide), (2, 0, wide + 0.1)))[0].any()


def test_frames_in_which_a_body_is_too_wide_do_not_count_as_motion():
    steady, jumpy = stand(20, 1, 1.0), stand(20, 2, 0.5)
    jumpy[:5] = jumpy[:5, :, [1, 0, 2]] + (4, 0, 0)
    for take in (select_ctrgcn, select_pyskl):
        keypoint = take(record(20, (1, 0, jumpy), (2, 0, steady)))
        np.testing.assert_allclose(keypoint, [steady, jumpy], atol=1e-6)


def test_an_actor_is_there_from_its_first_track_to_its_last():
    tracks = [
        (7, 0, stand(15, 1, 3.0)),
        (8, 15, stand(15, 2, 2.0)),
        (9, 0, stand(15, 3, 1.0)),
        (5, 0, stand(15, 4, 0.5)),
    ]
    for take in (select_ctrgcn, select_pyskl):
        keypoint = take(record(30, *tracks))
        np.testing.assert_allclose(keypoint[0], np.concatenate([tracks[0][2], tracks[1][2]]), atol=1e-6)
        np.testing.assert_allclose(keypoint[1, :15], tracks[2][2], atol=1e-6)
        assert not keypoint[1, 15:].any()


def test_two_short_tracks_stay_where_the_references_stop():
    keypoint = select_pyskl(record(8, (1, 0, stand(8, 1, 2.0)), (2, 0, stand(8, 2))))
    assert keypoint.shape == (2, 8, 25, 3) and keypoint.any(axis=(1, 2, 3)).all()


@pytest.mark.parametrize("way", BODIES)
def test_a_file_without_bodies_has_no_points(way, tmp_path):
    assert not BODIES[way](read_recording(write_ntu(tmp_path / "a.skeleton", [[], []]))).any()
