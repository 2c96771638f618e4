"""Frames of key points: one recording, with a gap and empty ends, has its frames in the same places in every format."""

import argparse
import json

import numpy as np
import pytest

from dataset.raw_skeletons import coco, mediapipe, openpose
from dataset.raw_skeletons.frames import find_videos
from dataset.raw_skeletons.samples import RawSample

SEEN = (2, 3, 7, 11)  # of frames 0 to 12
ORDER = (11, 2, 7, 3)  # in which they are written, where a format numbers them
NUM_FRAMES = 13


def mark(frame):
    """A place that tells frames apart."""
    return [10.0 + frame, 20.0, 0.5]


def results(name):
    return [{"image_id": name(frame), "keypoints": mark(frame) * 17} for frame in ORDER]


def mmpose(first=0):
    frames = [*ORDER, *(frame for frame in range(NUM_FRAMES) if frame not in SEEN)]
    person = [{"keypoints": [mark(0)[:2]] * 17, "keypoint_scores": [0.5] * 17}]
    return [
        {"frame_id": frame + first, "instances": [{**person[0], "keypoints": [mark(frame)[:2]] * 17}] * (frame in SEEN)}
        for frame in frames
    ]


JSON = {
    "COCO results": (lambda: results(int), 12),
    "COCO results by text": (lambda: results(str), 12),
    "AlphaPose": (lambda: results("{}.jpg".format), 12),
    "AlphaPose, padded names": (lambda: results("a_g01_{:05}.png".format), 12),
    "MMPose 0": (lambda: [[{"keypoints": [mark(frame)] * 17}] * (frame in SEEN) for frame in range(NUM_FRAMES)], 13),
    "MMPose 1": (mmpose, 13),
    "MMPose 1 from 1": (lambda: {"instance_info": mmpose(1)}, 13),
    "PaddleDetection": (lambda: [[frame, [], [[[mark(frame)] * 17], [[0.5]]]] for frame in ORDER], 12),
    "PaddleDetection, empty frames": (
        lambda: [[frame, [], [[[mark(frame)] * 17] * (frame in SEEN), []]] for frame in range(NUM_FRAMES)], 13
    ),
}  # fmt: skip


def check(annotation, num_frames):
    x = annotation["keypoint"][0, :, 0, 0]
    expected = np.zeros(num_frames)
    expected[list(SEEN)] = [mark(frame)[0] for frame in SEEN]
    assert x.tolist() == expected.tolist() and annotation["total_frames"] == num_frames


def read_json(tmp_path, content, first_frame=None):
    (tmp_path / "a.json").write_text(json.dumps(content))
    args = argparse.Namespace(persons=None, num_persons=2, image_size=None, first_frame=first_frame)
    return coco.read_sample(RawSample("a", str(tmp_path / "a.json"), 0), args)


@pytest.mark.parametrize(("make", "num_frames"), JSON.values(), ids=JSON)
def test_json(tmp_path, make, num_frames):
    check(read_json(tmp_path, make()), num_frames)


@pytest.mark.parametrize("width", [1, 12])
def test_openpose(tmp_path, width):
    for frame in range(NUM_FRAMES):
        people = [{"person_id": [-1], "pose_keypoints_2d": mark(frame) * 25}] * (frame in SEEN)
        (tmp_path / f"a_{frame:0{width}}_keypoints.json").write_text(json.dumps({"people": people}))
    args = argparse.Namespace(persons=None, num_persons=2, image_size=None, first_frame=None)
    check(openpose.read_sample(RawSample("a", str(tmp_path), 0), args), NUM_FRAMES)


@pytest.mark.parametrize("form", ["long", "wide", "wide, numbered"])
def test_mediapipe(tmp_path, form):
    if form == "long":
        rows = [
            "frame,landmark,x,y,z",
            *(f"{frame},{joint},{mark(frame)[0]},20,1" for frame in ORDER for joint in range(33)),
        ]
    else:
        columns = ",".join(f"x{joint},y{joint},z{joint}" for joint in range(33))
        order = ORDER if form == "wide, numbered" else range(NUM_FRAMES)
        cells = {frame: f"{mark(frame)[0]},20,1," * 33 if frame in SEEN else "," * 99 for frame in order}
        rows = ["frame," + columns if form == "wide, numbered" else columns]
        rows += [(f"{frame}," if form == "wide, numbered" else "") + cells[frame][:-1] for frame in order]
    (tmp_path / "a.csv").write_text("\n".join(rows))
    sample = RawSample("a", str(tmp_path / "a.csv"), 0)
    check(mediapipe.read_sample(sample, argparse.Namespace(first_frame=None)), 13 if form == "wide" else 12)


def test_the_number_of_the_first_frame(tmp_path):
    from_one = [{"image_id": frame, "keypoints": mark(frame) * 17} for frame in (1, 3)]
    for content, first_frame, expected in (
        (from_one, None, [11, 0, 13]),  # the least number is 1, so that frames count from 1
        (from_one, 0, [0, 11, 0, 13]),
        (results(int), 1, [0, 12, 13, 0, 0, 0, 17, 0, 0, 0, 21]),
        (results(int), "found", [12, 13, 0, 0, 0, 17, 0, 0, 0, 21]),
    ):
        assert read_json(tmp_path, content, first_frame)["keypoint"][0, :, 0, 0].tolist() == expected
    with pytest.raises(ValueError, match="a.json': a frame has the number 2, the first one is 3; give --first_frame"):
        read_json(tmp_path, results(int), 3)


def test_the_video_says_how_many_frames_there_are(tmp_path):
    (tmp_path / "videos" / "a").mkdir(parents=True)
    for frame in range(13):
        (tmp_path / "videos" / "a" / f"{frame + 1}.jpg").write_bytes(b"")
    (sample,) = find_videos([RawSample("a", str(tmp_path / "a.json"), 0)], str(tmp_path / "videos"))
    args = argparse.Namespace(persons=None, num_persons=2, image_size=None, first_frame=None)
    last = {"image_id": 13, "keypoints": mark(12) * 17}
    for content, expected in (
        (results(int), [0, 0, 12, 13, 0, 0, 0, 17, 0, 0, 0, 21, 0]),
        ([last, {"image_id": 3, "keypoints": mark(2) * 17}], [0, 0, 12, *[0] * 9, 22]),  # from 1: there is a frame 13
    ):
        (tmp_path / "a.json").write_text(json.dumps(content))
        assert coco.read_sample(sample, args)["keypoint"][0, :, 0, 0].tolist() == expected
    (tmp_path / "a.json").write_text(json.dumps([{**last, "image_id": 14}]))
    with pytest.raises(
        ValueError, match="a.json': its frames go from 0 to 14, but '.*a' has 13: they are not of one video"
    ):
        coco.read_sample(sample, args)
    with pytest.raises(
        FileNotFoundError, match="videos' has no video for 1 of 1 samples, first 'b': .*; get them, or leave"
    ):
        find_videos([RawSample("b", "b.json", 0)], str(tmp_path / "videos"))


@pytest.mark.parametrize(
    ("names", "fault"),
    [
        (["a.jpg", "b.jpg"], "the frame 'a.jpg' has no number in its name; name the pictures by their numbers"),
        (["a_1.jpg", "b_2.jpg"], "'a_1.jpg' and 'b_2.jpg' are frames of two videos; write one file for each"),
        (["1.jpg", "01.jpg"], "'01.jpg' and '1.jpg' are the same frame; number the frames from 0 or 1, each once"),
        ([-1, 2], "'-1' is no number of a frame; number the frames from 0 or 1, each once"),
        (
            [5, 10**9],
            "the numbers of its 2 frames go from 5 to 1000000000; number the frames of a video from 0 or 1, or",
        ),
    ],
)
def test_frames_that_have_no_place(tmp_path, names, fault):
    with pytest.raises(ValueError) as caught:
        read_json(tmp_path, [{"image_id": name, "keypoints": mark(0) * 17} for name in names])
    assert f"a.json': {fault}" in str(caught.value)


def test_a_frame_that_comes_twice(tmp_path):
    with pytest.raises(ValueError, match=r"\[1\].frame_id is 11 again, expected each frame once"):
        read_json(tmp_path, [mmpose()[0]] * 2)
    with pytest.raises(ValueError, match=r"\[1\]\[0\] is 3 again, expected each frame once"):
        read_json(tmp_path, [[3, [], [[[mark(1)] * 17], []]]] * 2)
