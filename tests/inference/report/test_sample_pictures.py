"""Small playing pictures of the samples of each reader."""

import os
import shutil

import numpy as np
import pytest
import small_dataset
import small_poses
import small_skeletons
from ramp_videos import write_frames
from report_pages import play

from inference.report import sample_pictures
from reader import READERS


def test_a_video_plays_and_its_folder_is_named(tmp_path):
    small_dataset.make_tree(tmp_path, per_class=1, modes=("test",))
    reader = READERS["clips"](str(tmp_path / "test.list"), mode="test", clip_len=4, crop_size=32)
    path, data = sample_pictures.draw_sample(reader, 2)
    frames = play(data).astype(int)
    assert path.endswith(os.path.join("test", "v_Right_g01_c01.pkl"))  # whose frames are packed in it
    assert frames.shape == (12, 176, 176, 3)
    places = (frames[..., 0] > 130).nonzero()  # the square goes to the right, by 2 of 32 pixels a frame
    columns = [np.unique(places[2][places[0] == number]) for number in (0, 1)]
    assert abs((columns[1][0] - columns[0][0]) - 11) <= 2


def test_skeletons_play_alone(tmp_path):
    small_skeletons.write_pkl(tmp_path / "s.pkl", per_class=1)
    reader = READERS["skeletons"](str(tmp_path / "s.pkl"), "test", "test", clip_len=8, num_persons=1)
    path, data = sample_pictures.draw_sample(reader, 1)
    frames = play(data).astype(int)
    assert path == f"{tmp_path / 's.pkl'}: 'v_Side_g50_c01'" and frames.shape == (12, 176, 160, 3)
    assert np.abs(frames[0] - frames[-1]).max() > 60  # a hand has moved
    assert frames.std() > 5 and (frames[:, 0, 0].max(axis=0) < 80).all()


@pytest.fixture
def posed(tmp_path):
    """A recording of key points, 20 frames of pictures of 90 x 160 with them, and the arguments of a reader of both."""
    annotation = small_poses.make_annotation("one")
    write_frames(tmp_path / "pictures" / "one", np.full((20, 90, 160, 3), 90, np.uint8), "{:05d}.png")
    return {"filelist": small_poses.write_poses(tmp_path / "p.pkl", [annotation]), "split": "all", "mode": "test"}


def test_bodies_are_drawn_over_the_frames_of_rgb_and_pose(posed, tmp_path):
    options = {"layout": "coco17", "clip_len": 8, "short_size": 72, "crop_size": 64}
    reader = READERS["rgbpose"](**posed, videos=str(tmp_path / "pictures"), **options)
    path, data = sample_pictures.draw_sample(reader, 0)
    frames = play(data).astype(int)
    assert path == str(tmp_path / "pictures" / "one") and frames.shape == (12, 99, 176, 3)
    drawn = np.abs(frames - 90).max(axis=3) > 40
    first, last = (drawn[number].nonzero()[1].mean() for number in (0, -1))
    assert drawn.any() and last - first == pytest.approx(19 * 1.1, abs=4)  # a pixel a frame, of 160 drawn as 176
    heatmaps = READERS["heatmaps"](**posed, **options)
    assert len(play(sample_pictures.draw_sample(heatmaps, 0)[1])) > 1


def test_a_video_that_is_gone_leaves_a_sentence(tmp_path):
    small_dataset.make_tree(tmp_path, per_class=1, modes=("test",))
    reader = READERS["clips"](str(tmp_path / "test.list"), mode="test", clip_len=4, crop_size=32)
    shutil.rmtree(tmp_path / "test")
    drawn = sample_pictures.draw_card(reader, None, 0, 0)
    assert drawn["picture"] is None and "no picture: " in drawn["note"] and "does not exist" in drawn["note"]


@pytest.mark.parametrize("size", [(176, 176), (1, 176)])
def test_noise_stays_below_the_bound(size):
    noise = np.random.default_rng(0).integers(0, 256, (12, *size, 3), np.uint8)
    data = sample_pictures.encode_webp(noise)
    assert len(data) <= sample_pictures.MAX_PICTURE_BYTES and play(data).shape[1:] == (*size, 3)
