"""Persons are followed over missed detections: made-up videos of people whose names are known, and cases by hand."""

import made_up_people
import numpy as np
import pytest
from made_up_people import count_exchanges

from dataset.raw_skeletons.persons import match_persons, match_persons_stgcn
from dataset.raw_skeletons.tracks import Person


def count_videos(make, indices, match=match_persons):
    """Count the videos in which two persons change places."""
    return sum(count_exchanges(match(make(index), 17, 2)) > 0 for index in indices)


@pytest.mark.parametrize("kind", ["standing", "leaving", "flickering"])
def test_who_stands_leaves_or_is_joined_by_a_third_keeps_the_row(kind):
    make = getattr(made_up_people, kind)
    assert count_videos(make, range(9)) == 0
    assert count_videos(make, range(9), match_persons_stgcn) > 0  # the videos are not too easy


@pytest.mark.long
def test_figures_of_many_made_up_videos():
    assert count_videos(made_up_people.standing, range(600)) == 0
    assert count_videos(made_up_people.standing, range(600), match_persons_stgcn) == 331
    crossing = [
        count_videos(made_up_people.crossing, range(60), match) for match in (match_persons, match_persons_stgcn)
    ]
    print("of 60 videos of two who cross, with an exchange: here {}, ST-GCN's matching {}".format(*crossing))
    assert crossing[0] <= 3 and crossing[1] >= 15


def body(x, y=400.0, score=0.9, track=None, size=100):
    points = made_up_people.BODY / 100 * size + [x, y]
    return Person(np.column_stack([points, np.full(17, score)]), track)


def find_middles(frames, num_persons=2):
    """Return where the nose of each person is, by rows; 0 where there is nobody."""
    return match_persons(frames, 17, num_persons)[..., 0, 0].tolist()


def test_the_smallest_case():
    frames = [[body(710), body(770, score=0.5)] for _ in range(8)]
    frames[3] = [body(770, score=0.5)]
    assert find_middles(frames) == [[710, 710, 710, 0, 710, 710, 710, 710], [770] * 8]
    frames[3], frames[4] = [body(770, score=0.5), body(1500, score=0.2)], [body(710)]  # a third, and both are missed
    assert find_middles(frames)[:2] == [[710, 710, 710, 0, 710, 710, 710, 710], [770, 770, 770, 770, 0, 770, 770, 770]]


def test_size_tells_two_apart_who_are_at_one_place():
    near, far = body(500, size=300), body(505, size=120, score=0.5)
    frames = [[near, far], [far, near], [far], [near], [far, near]]
    assert find_middles(frames) == [[500, 500, 0, 500, 500], [505, 505, 505, 0, 505]]


def test_track_ids_count_more_than_places():
    frames = [[body(100, track=7), body(200, track=3, score=0.5)], [body(100, track=3, score=0.5), body(200, track=7)]]
    assert find_middles(frames) == [[100, 200], [200, 100]]
    frames = [[body(100, track=1)], [body(100, track=2, score=0.5)]]  # two ids, never at once
    assert find_middles(frames) == [[100, 0], [0, 100]]
    frames = [[body(100, track=1), body(900, track=2)], [body(900, track=2)], [body(900, track=2), body(100, track=5)]]
    assert find_middles(frames) == [[900, 900, 900], [100, 0, 100]]  # found again under another id: more ids than rows


def test_ids_that_two_persons_share_are_no_ids():
    frames = [[body(100, track=0), body(300, track=0, score=0.5)] for _ in range(3)]
    assert find_middles(frames) == [[100] * 3, [300] * 3]


def test_people_beyond_the_first_stay_for_the_count():
    frames = [[body(100), body(400, score=0.8), body(700, score=0.2)] for _ in range(3)]
    assert len(find_middles(frames, 1)) == 3


@pytest.mark.parametrize("num_people", [1, 2])
def test_cuts_of_a_camera_lose_nobody(num_people):
    rng = np.random.default_rng(0)
    scenes = [rng.uniform(200, 1500, (num_people, 2)) for _ in range(8)]
    frames = [[body(*place) for place in scene + rng.normal(0, 3, scene.shape)] for scene in scenes for _ in range(12)]
    poses = match_persons(frames, 17, 2)
    assert poses[:num_people, :, 0, 0].all() and not poses[num_people:].any()
