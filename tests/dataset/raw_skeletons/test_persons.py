"""Who is who in 2-D poses: ST-GCN's own result, and the rules by hand."""

import json

import numpy as np
from paths import GOLDEN_DATA

from dataset.raw_skeletons.persons import PERSONS, match_persons, match_persons_stgcn, sort_persons, stack_persons
from dataset.raw_skeletons.tracks import Person

GOLDEN = json.loads((GOLDEN_DATA / "openpose_match.json").read_text(encoding="utf-8"))


def test_stgcns_matching_is_st_gcns():
    poses, expected = (np.array(GOLDEN[key]).transpose(3, 1, 2, 0) for key in ("input", "output"))  # from (C, T, V, M)
    frames = [[Person(points) for points in poses[:, frame]] for frame in range(poses.shape[1])]
    np.testing.assert_allclose(match_persons_stgcn(frames, poses.shape[2], 5), expected, rtol=0, atol=1e-7)
    assert not np.allclose(poses, expected)


def person(x, score, num_joints=2, track=None):
    return Person(np.array([[x, x, score]] * num_joints), track)


def test_people_who_change_places_in_the_list_stay_themselves():
    frames = [[person(1, 0.5), person(9, 0.9)], [person(8.5, 0.4), person(1.5, 0.9)], [person(2, 0.3), person(8, 0.3)]]
    for match in (match_persons, match_persons_stgcn):
        assert match(frames, 2, 2)[:, :, 0, 0].tolist() == [[1, 1.5, 2], [9, 8.5, 8]]  # scores 1.7 and 1.6
    assert sort_persons(frames, 2, 2)[:, :, 0, 0].tolist() == [[9, 1.5, 2], [1, 8.5, 8]]


def test_gathering_keeps_five_and_leaves_zeros():
    poses = stack_persons([[person(place, 1) for place in range(7)], [], [person(3, 1)]], 2)
    assert poses.shape == (5, 3, 2, 3)
    assert poses[:, 0, 0, 0].tolist() == [0, 1, 2, 3, 4] and not poses[:, 1].any() and poses[1:, 2].any() == 0
    assert stack_persons([[], []], 4).shape == (1, 2, 4, 3)
    for order in PERSONS.values():
        assert order([[]], 4, 2).shape == (1, 1, 4, 3)
        assert order([], 4, 2).shape == (1, 0, 4, 3)
