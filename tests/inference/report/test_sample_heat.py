"""Where a network looks in the samples of a report: at the one place that its answer depends on."""

import numpy as np
import pytest
import small_poses
import small_skeletons
from looking_networks import (
    HEIGHT,
    SPOT,
    WIDTH,
    JointNetwork,
    RedAndJointNetwork,
    RedNetwork,
    make_frames,
    make_poses,
)
from report_pages import play
from small_videos import write_folder

from common.files import dump_pickle
from inference.report import sample_heat, sample_pictures
from models.parts.action_model import ActionModel
from reader import READERS

SMALL_CROPS = {"clip_len": 8, "short_size": 24, "crop_size": 24, "crops": "three"}
MAPS = {"layout": "coco17", "clip_len": 8, "num_persons": 1}


def open_clips(tmp_path, **options):
    """Return a reader of a list of two videos, of which the second one shows the red spot."""
    frames = make_frames()
    gray = np.full_like(frames, 90)
    folders = [write_folder(tmp_path / name, each) for name, each in (("gray", gray), ("red", frames))]
    (tmp_path / "test.list").write_text("".join(f"{folder} 24 0\n" for folder in folders), encoding="utf-8")
    return READERS["clips"](str(tmp_path / "test.list"), "test", **{**SMALL_CROPS, **options})


def find_change(reader, model, index):
    """Return how much colours change each pixel of the first and last frame (2, H, W), and what is said of it."""
    plain, drawn = (sample_pictures.draw_card(reader, network, index, 1) for network in (None, model))
    assert plain["note"] is None and drawn["path"] == plain["path"]
    first, second = (play(card["picture"])[[0, -1]].astype(float) for card in (plain, drawn))
    change = np.abs(first - second).mean(axis=3)
    return np.where(change > 20, change, 0), drawn["note"]


def find_centre(change):
    """Return y and x of the mean place of a change (H, W), as shares of the picture."""
    y, x = np.mgrid[: change.shape[0], : change.shape[1]] + 0.5
    return (change * y).sum() / change.sum() / change.shape[0], (change * x).sum() / change.sum() / change.shape[1]


@pytest.mark.parametrize("options", [{}, {"flip": True, "num_clips": 2}])
def test_heat_lies_on_the_place_of_a_listed_video(tmp_path, options):
    reader = open_clips(tmp_path, **options)
    change, note = find_change(reader, RedNetwork(), 1)
    assert note is None
    for frame in change:
        expected = ((SPOT[0] + 4) / HEIGHT, (SPOT[1] + 4) / WIDTH)
        np.testing.assert_allclose(find_centre(frame), expected, atol=0.05)
    change, note = find_change(reader, RedNetwork(), 0)
    assert not change.any() and note == "no colours: nothing in it speaks for the class"


def open_rgb_and_pose(tmp_path):
    """Return a reader of a video with the red spot, where the wrists of its key points are, too."""
    write_folder(tmp_path / "videos" / "one", make_frames())
    path = small_poses.write_poses(tmp_path / "p.pkl", [make_poses()])
    sizes = {"rgb_clip_len": 4, "short_size": 48, "crop_size": 44, "scaling": 0.5}
    return READERS["rgbpose"](path, split="all", mode="test", videos=str(tmp_path / "videos"), **MAPS, **sizes)


def test_of_rgb_and_pose_heat_and_joints_are_drawn(tmp_path):
    reader = open_rgb_and_pose(tmp_path)
    found = sample_heat.explain_sample(reader, 0, RedAndJointNetwork(9), 1)
    assert (found.start, found.end) == (0, 24) and found.find_joints(23)[0].argmax() in (9, 10)
    change, _ = find_change(reader, RedAndJointNetwork(9), 0)
    y, x = np.mgrid[: change.shape[1], : change.shape[2]] + 0.5
    distance = np.hypot(y - 2.2 * 34, x - 2.2 * 12)  # the picture is 2.2 times as large
    is_ring = (distance > 9.5) & (distance < 12)  # around a joint of radius 10
    is_far = (y < 10) & (x > 80) & (x < 120)
    assert change[-1][is_ring].mean() > 20 and change[-1][is_far].mean() < 5


def test_heat_of_heat_maps_lies_on_the_joint_of_the_small_picture(tmp_path):
    path = small_poses.write_poses(tmp_path / "p.pkl", [make_poses()])
    sizes = {"short_size": 20, "crop_size": 20, "scaling": 1.0}
    reader = READERS["heatmaps"](path, split="all", mode="test", **MAPS, **sizes)
    change, _ = find_change(reader, JointNetwork(9, of_maps=True), 0)
    points = reader.entries[0].keypoint[0].astype(float)  # they fill 360 x 400 pixels; the picture is 40 % of 400 x 440
    low, high = points.min(axis=(0, 1)), points.max(axis=(0, 1))
    expected = (([12, 34] - (low + high) / 2) * min([360, 400] / (high - low)) + [200, 220]) * 0.4
    middle = np.where(change[0] > change[0].max() / 2, change[0], 0)
    np.testing.assert_allclose(np.multiply(find_centre(middle), middle.shape), expected[::-1], atol=10)


def test_the_joint_of_a_skeleton_that_counts_is_large(tmp_path):
    annotation = small_skeletons.draw_annotation(0, 0, num_frames=24)
    annotation["keypoint"] = np.repeat(annotation["keypoint"][:, :1], 24, axis=1)
    annotation["keypoint"][:, 16:, 11, 0] += 0.3
    name = annotation["frame_dir"]
    dump_pickle({"split": {"test": [name]}, "annotations": [annotation]}, tmp_path / "s.pkl")
    reader = READERS["skeletons"](str(tmp_path / "s.pkl"), "test", "test", clip_len=16, num_persons=1)
    found = sample_heat.explain_sample(reader, 0, JointNetwork(11), 1)
    assert found.joints[0, :, 11].sum() == pytest.approx(found.joints.sum())
    change, _ = find_change(reader, JointNetwork(11), 0)
    pixels = (change > 60).sum(axis=(1, 2))  # the bones turn pale, the hand is red once it has moved
    assert pixels[-1] > pixels[0] + 30


def test_a_network_that_does_not_say_which_layer_explains_it_leaves_a_sentence(tmp_path):
    class Silent(ActionModel):
        def forward(self, x):
            return x.mean(axis=[2, 3, 4])

    card = sample_pictures.draw_card(open_clips(tmp_path), Silent(), 1, 1)
    assert card["picture"] is None and "Silent does not say which layer" in card["note"]
