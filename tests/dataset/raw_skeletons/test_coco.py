"""COCO-17 json of MMPose and PaddleDetection: three forms of one recording give the same key points."""

import argparse
import json

import numpy as np
import pytest

from dataset.raw_skeletons import coco
from dataset.raw_skeletons.samples import MISSING_POINTS, NOTES, SHARES, RawSample

RNG = np.random.default_rng(0)
PEOPLE = np.round(np.concatenate([RNG.uniform(10, 600, (3, 2, 17, 2)), RNG.uniform(0.1, 1, (3, 2, 17, 1))], axis=3), 3)
PEOPLE[:, 1] = PEOPLE[0, 1]  # (frame, person, joint, x y score): the second one stands still, far off and less sure
PEOPLE[:, 1, :, :2] += 1000
PEOPLE[:, 1, :, 2] *= 0.1
SEEN = [PEOPLE[0], PEOPLE[1][:0], PEOPLE[2]]  # nobody in the second frame


def as_results(first=1):
    return [
        {"image_id": first + frame, "category_id": 1, "keypoints": person.ravel().tolist(), "score": 0.9}
        for frame, people in enumerate(SEEN)
        for person in people
    ]


def as_mmpose():
    return [
        {"frame_id": 1 + frame, "instances": [
            {"keypoints": person[:, :2].tolist(), "keypoint_scores": person[:, 2].tolist(), "bbox": [[0, 0, 1, 1]]}
            for person in people
        ]}
        for frame, people in enumerate(SEEN)
    ]  # fmt: skip


def as_paddle(flat=False):
    shape = (-1, 51) if flat else (-1, 17, 3)
    return [[frame, [[0, 0, 1, 1]], [people.reshape(shape).tolist(), [[0.5]]]] for frame, people in enumerate(SEEN)]


def read(tmp_path, content, persons=None):
    path = tmp_path / "Wave" / "a_g01.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return coco.read_sample(
        RawSample("a_g01", str(path), 0),
        argparse.Namespace(persons=persons, num_persons=2, image_size=(480, 640), first_frame=None),
    )


FORMS = {
    "results": as_results,
    "mmpose": as_mmpose,
    "mmpose demo": lambda: {"meta_info": {}, "instance_info": as_mmpose()},
    "paddle": as_paddle,
    "paddle flat": lambda: as_paddle(flat=True),
    "AlphaPose": lambda: [
        {**result, "image_id": f"{result['image_id'] - 1}.jpg", "idx": 0.0} for result in as_results()
    ],
    "mmpose 0": lambda: [
        [
            {"keypoints": person.tolist(), "bbox": [0, 0, 1, 1], "track_id": number}
            for number, person in enumerate(people)
        ]
        for people in SEEN
    ],
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("persons", [None, "sorted", "matched"])
def test_every_form(tmp_path, form, persons):
    annotation = read(tmp_path, FORMS[form](), persons)
    expected = np.zeros((2, 3, 17, 3))
    expected[:, [0, 2]] = PEOPLE[[0, 2]].transpose(1, 0, 2, 3)
    np.testing.assert_allclose(annotation["keypoint"], expected[..., :2], rtol=1e-6)
    np.testing.assert_allclose(annotation["keypoint_score"], expected[..., 2], rtol=1e-6)
    assert annotation["img_shape"] == annotation["original_shape"] == (480, 640)


def test_a_file_may_say_the_size_of_its_pictures(tmp_path):
    annotation = read(tmp_path, {"image_size": [1920, 1080], "instance_info": as_mmpose()})
    assert annotation["img_shape"] == annotation["original_shape"] == (1080, 1920)


@pytest.mark.parametrize(
    "size, fault",
    [
        ([0, 9], "is [0, 9], expected width and height in pixels"),
        ([9.5, 9], "is [9.5, 9], expected width and height in pixels"),
        ([9], "has 1 values, expected 2; get the file again"),
        ("9x9", "is '9x9', expected a list; get the file again"),
    ],
)
def test_a_size_that_cannot_be(tmp_path, size, fault):
    with pytest.raises(ValueError) as error:
        read(tmp_path, {"image_size": size, "instance_info": as_mmpose()})
    assert str(error.value) == f"'{tmp_path / 'Wave' / 'a_g01.json'}' line 1: image_size {fault}"


def test_names_of_frames_are_ordered_by_their_numbers(tmp_path):
    results = [{"image_id": f"f_{n}.jpg", "keypoints": [float(n + 1), 1, 1] * 17} for n in (10, 2, 1)]
    assert read(tmp_path, results)["keypoint"][0, :, 0, 0].tolist() == [2, 3, *[0] * 7, 11]


def test_the_best_of_a_crowd_are_looked_at(tmp_path):
    scores = (0.1, 0.2, 0.3, 0.4, 0.5, 0.9, 0.8)
    crowd = [{"image_id": 1, "keypoints": [100 * score, 1, score] * 17} for score in scores]
    for persons in ("sorted", "matched"):
        assert read(tmp_path, crowd, persons)["keypoint"][:, 0, 0, 0].tolist() == pytest.approx([90, 80])


@pytest.mark.parametrize("form", ["idx", "track_id", "mmpose 1", "mmpose 0"])
def test_track_ids_of_a_file_say_who_is_who(tmp_path, form):
    """Two change places between two frames, which nobody could tell but for the ids."""
    places = [[(100.0, 4), (300.0, 9)], [(100.0, 9), (300.0, 4)]]
    points = {x: [[x + joint, 50.0 + joint] for joint in range(17)] for x in (100.0, 300.0)}
    scores = {4: [0.9] * 17, 9: [0.5] * 17}
    if form in ("idx", "track_id"):
        flat = {(x, who): np.column_stack([points[x], scores[who]]).ravel().tolist() for x in points for who in scores}
        ids = {4: 4.0, 9: [9]}  # as AlphaPose writes them
        content = [
            {"image_id": f"{frame}.jpg", "keypoints": flat[place], form: ids[place[1]]}
            for frame, people in enumerate(places)
            for place in people
        ]
    elif form == "mmpose 1":
        content = [
            {"frame_id": frame, "instances": [
                {"keypoints": points[x], "keypoint_scores": scores[who], "track_id": who} for x, who in people
            ]}
            for frame, people in enumerate(places)
        ]  # fmt: skip
    else:
        content = [
            [{"keypoints": np.column_stack([points[x], scores[who]]).tolist(), "track_id": who} for x, who in people]
            for people in places
        ]
    assert read(tmp_path, content)["keypoint"][:, :, 0, 0].tolist() == [[100, 300], [300, 100]]
    assert read(tmp_path, content, "stgcn")["keypoint"][:, :, 0, 0].tolist() == [[100, 100], [300, 300]]


@pytest.mark.parametrize("form", ["results", "mmpose", "paddle", "mmpose 0"])
@pytest.mark.parametrize("nothing", [None, float("nan")])
def test_a_point_without_numbers_is_missing(tmp_path, form, nothing):
    """It costs neither the video nor the other joints, and the report counts it."""
    content = json.loads(json.dumps(FORMS[form]()))
    if form == "results":
        content[0]["keypoints"][3:6] = [nothing, nothing, 0.9]
    elif form == "paddle":
        content[0][2][0][0][1][1] = nothing
    elif form == "mmpose 0":
        content[0][0]["keypoints"][1][0] = nothing
    else:
        content[0]["instances"][0]["keypoints"][1] = [nothing, nothing]
    annotation = read(tmp_path, content)
    expected = np.zeros((2, 3, 17, 3))
    expected[:, [0, 2]] = PEOPLE[[0, 2]].transpose(1, 0, 2, 3)
    expected[0, 0, 1] = 0
    np.testing.assert_allclose(annotation["keypoint"], expected[..., :2], rtol=1e-6)
    np.testing.assert_allclose(annotation["keypoint_score"], expected[..., 2], rtol=1e-6)
    assert annotation[NOTES] == {MISSING_POINTS: 1}


def test_shares_of_the_picture_are_told_where_its_size_is_not_known(tmp_path):
    content = as_results()
    for result in content:
        result["keypoints"] = (np.reshape(result["keypoints"], (17, 3)) / [1920, 1080, 1]).ravel().tolist()
    (tmp_path / "a.json").write_text(json.dumps(content))
    options = {"persons": None, "num_persons": 2, "first_frame": None}
    sample = RawSample("a", str(tmp_path / "a.json"))
    annotation = coco.read_sample(sample, argparse.Namespace(**options, image_size=None))
    assert annotation[NOTES] == {SHARES: 1}
    with pytest.raises(ValueError, match="they are shares of the picture where pixels are expected"):
        coco.read_sample(sample, argparse.Namespace(**options, image_size=(1080, 1920)))
    assert NOTES not in read(tmp_path, as_results())


def edit(content, change):
    content = json.loads(json.dumps(content))
    change(content)
    return json.dumps(content, indent=1)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            edit(as_results(), lambda c: c[1]["keypoints"].pop()),
            "line 63: [1].keypoints has 50 values, expected 17 points of",
        ),
        (
            edit(as_results(), lambda c: c[0].update(image_id=1.5)),
            "line 3: [0].image_id is 1.5, expected a number or a",
        ),
        (edit(as_results(), lambda c: c[0]["keypoints"].__setitem__(1, 3e4)), "[0].keypoints[1] is 30000.0, expected"),
        (
            edit(as_results(), lambda c: c[0]["keypoints"].__setitem__(2, 30)),
            "[0].keypoints has a score of 30, expected 0",
        ),
        (
            edit(as_results(), lambda c: c[3].update(image_id=9**9)),
            "the numbers of its 3 frames go from 1 to 387420489; number the",
        ),
        (edit(as_mmpose(), lambda c: c.pop(1)), "a_g01.json': frame 2 is missing, expected every frame; get it again"),
        (
            edit(as_mmpose(), lambda c: c[0]["instances"][1]["keypoints"].pop()),
            "[0].instances[1].keypoints has 16 points",
        ),
        (
            edit(as_mmpose(), lambda c: c[0]["instances"][1]["keypoints"][3].pop()),
            "keypoints[3] has 1 values, expected 2",
        ),
        (edit(as_mmpose(), lambda c: c[0]["instances"][0].pop("keypoint_scores")), "keypoint_scores is missing"),
        (edit(as_paddle(), lambda c: c[0][2][0][1].pop()), "[0][2][0][1] has 16 values, expected 17 points of x, y"),
        (edit(as_paddle(), lambda c: c[2].pop()), "[2][2] is missing"),
        (
            '[{"x": 1}]',
            "line 1: [0] is {'x': 1}, expected COCO results, AlphaPose's or PaddleDetection's results, or MMPose's",
        ),
        ('{"images": []}', "line 1: is an object of 'images', expected COCO results, AlphaPose's or PaddleDetection's"),
        ("{}", "line 1: is an object of nothing, expected COCO results"),
        (edit(as_mmpose(), lambda c: c[0].update(frame_id=1.5)), "[0].frame_id is 1.5, expected a number or a name"),
        ("[]", "a_g01 has no body in any of its 0 frames"),
    ],
)
def test_damage_is_named(tmp_path, text, expected):
    with pytest.raises(ValueError) as caught:
        read(tmp_path, text)
    assert expected in str(caught.value) and "a_g01.json'" in str(caught.value)
