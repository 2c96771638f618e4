"""The one check of an annotation: what is taken as it is, what is taken after a change, and what is refused."""

import numpy as np
import pytest
import small_poses

from dataset.skeleton_checks import check_annotation, check_units, check_values


def make(**changes):
    return small_poses.make_annotation("a", **changes)


def test_what_is_right_stays_the_same_object():
    raw = make(num_frames=5, more=3)
    checked = check_annotation("here", raw)
    assert checked.keys() == raw.keys()
    assert all(checked[key] is raw[key] for key in ("keypoint", "keypoint_score", "img_shape", "frame_dir"))


@pytest.mark.parametrize(
    "change", [np.ndarray.tolist, lambda array: array.astype(np.int64), lambda array: tuple(array)]
)
def test_lists_and_whole_numbers_are_key_points(change):
    whole = np.round(make()["keypoint"])
    checked = check_annotation("here", make(keypoint=change(whole), keypoint_score=np.ones((1, 20, 17), int).tolist()))
    assert checked["keypoint"].dtype == checked["keypoint_score"].dtype == np.float32
    assert np.array_equal(checked["keypoint"], whole) and (checked["keypoint_score"] == 1).all()


@pytest.mark.parametrize("total_frames", [12, 12.0, np.int64(12), np.float32(12)])
def test_total_frames_cuts_padding(total_frames):
    checked = check_annotation("here", make(total_frames=total_frames))
    assert checked["keypoint"].shape[1] == checked["keypoint_score"].shape[1] == 12
    assert type(checked["total_frames"]) is int and checked["total_frames"] == 12
    assert check_annotation("here", make(total_frames=None))["total_frames"] == 20


@pytest.mark.parametrize("size", [np.array([90, 160]), [90, 160], (90.0, 160.0), (np.int32(90), np.int32(160))])
def test_a_size_may_be_any_two_whole_numbers(size):
    assert check_annotation("here", make(img_shape=size))["img_shape"] == (90, 160)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"keypoint": None}, "keypoint is a NoneType, expected numbers (M, T, V, C): persons, frames, joints"),
        ({"keypoint": None, "raw_file": "b.pkl"}, "the key points are in another file, 'b.pkl'; read each into"),
        ({"keypoint": [[1, 2], [1]]}, "keypoint is lists of different lengths, expected numbers (M, T, V, C)"),
        ({"keypoint": "x"}, "keypoint is a str, expected numbers"),
        ({"keypoint": np.ones((20, 17, 2))}, "keypoint is of the shape (20, 17, 2), float64, expected numbers (M, T"),
        (
            {"keypoint": np.ones((1, 20, 17, 2), bool)},
            "keypoint is of the shape (1, 20, 17, 2), bool, expected numbers",
        ),
        ({"keypoint_score": "x"}, "keypoint_score is a str, expected (1, 20, 17) numbers"),
        ({"label": 1.0}, "label is 1.0, expected a whole number from 0; correct it, or leave it out"),
        ({"label": True}, "label is True, expected a whole number from 0"),
        ({"total_frames": -1}, "total_frames is -1, keypoint has 20 frames; correct it or leave it out"),
        ({"total_frames": 0}, "total_frames is 0, keypoint has 20 frames"),
        ({"total_frames": 21}, "total_frames is 21, keypoint has 20 frames"),
        ({"total_frames": "20"}, "total_frames is '20', keypoint has 20 frames"),
        ({"img_shape": (0, 0)}, "img_shape is (0, 0), expected (height, width) of the picture in pixels; correct it"),
        ({"img_shape": 90}, "img_shape is 90, expected (height, width)"),
        ({"img_shape": "90x160"}, "img_shape is '90x160', expected (height, width)"),
        ({"img_shape": (90, 160, 3)}, "img_shape is (90, 160, 3), expected (height, width)"),
        ({"img_shape": (90, None)}, "img_shape is (90, None), expected (height, width)"),
    ],
)
def test_what_cannot_be_is_refused_in_words(changes, message):
    with pytest.raises(ValueError) as error:
        check_annotation("here", {**make(), **changes})
    assert str(error.value).startswith(f"here: {message}")


@pytest.mark.parametrize("value", [np.nan, -np.inf, 3e6])
def test_values_are_finite_and_no_larger_than_a_limit(value):
    keypoint = make()["keypoint"]
    keypoint[0, 3, 4, 1] = value
    with pytest.raises(
        ValueError, match="^here person 0, frame 3, joint 4: place .*, expected numbers from -1e.06 to 1e.06"
    ):
        check_values("here", keypoint, 1e6, "place")
    check_values("here", np.full((1, 1, 1, 2), 100, np.float16), 20_000, "place")


def test_units():
    keypoint, score = make()["keypoint"], make()["keypoint_score"]
    shares = keypoint / np.float32([160, 90])
    check_units("here", keypoint, score, (90, 160))
    check_units("here", keypoint * 1.8, score, (90, 160))  # half of it beyond the picture
    check_units("here", shares, score, (1, 1))  # Kinetics-skeleton
    check_units("here", shares, score, None)
    check_units("here", keypoint * 0, score * 0, (90, 160))  # nobody
    message = r"^here: key points have x up to 0.4\d* and y up to 0.6\d*, but img_shape is \(90, 160\): they are shares"
    with pytest.raises(ValueError, match=message):
        check_units("here", shares, score, (90, 160))
    with pytest.raises(ValueError, match=r"far beyond img_shape, \(1, 1\); give \(height, width\) of the picture"):
        check_units("here", keypoint, score, (1, 1))


def test_exchanged_sides_of_the_picture():
    """A person at the right of a wide picture lies beyond one that is as wide as that is high."""
    keypoint, score = make()["keypoint"] + np.float32([80, 0]), make()["keypoint_score"].copy()
    check_units("here", keypoint, score, (90, 160))
    message = (
        r"^here: .* beyond the img_shape \(160, 90\), height and width, but within \(90, 160\); write img_shape as"
    )
    for scores in (score, None):
        with pytest.raises(ValueError, match=message):
            check_units("here", keypoint, scores, (160, 90))
    check_units("here", make()["keypoint"], score, (160, 90))  # nobody can tell
    keypoint[0, 0, 0] = 80, 150  # beyond the exchanged one too
    check_units("here", keypoint, score, (160, 90))
    keypoint, score = make()["keypoint"], make()["keypoint_score"].copy()
    keypoint[:, :, 5:] += np.float32([0, 90])  # all but the head below the picture, where an estimator only guesses
    score[:, :, 5:] = 0.1
    check_units("here", keypoint, score, (90, 160))


def test_a_score_is_no_third_coordinate():
    keypoint, score = make()["keypoint"], make()["keypoint_score"]
    with pytest.raises(ValueError, match="the third coordinate is 0 to 1 as a score is; put x and y into keypoint and"):
        check_units("here", np.concatenate([keypoint, score[..., None]], axis=3), None, (90, 160))
    check_units("here", np.concatenate([keypoint, keypoint[..., :1]], axis=3), None, None)
    check_units("here", np.concatenate([keypoint / 90, score[..., None]], axis=3), None, None)  # metres
