"""The reader of heat maps: MMAction2's pipeline step by step, views, randomness, stray key points."""

import numpy as np
import paddle
import pytest
from small_poses import make_annotation, write_pose, write_poses

from layouts import get_layout
from reader import READERS, boxes, build_loader, draw_heatmaps
from reader import pose_transforms as transforms
from reader.heatmaps import Heatmaps

LAYOUT = get_layout("coco17")
SMALL = {"split": "all", "clip_len": 6, "short_size": 32, "crop_size": 28}


def open_reader(path, mode="train", **arguments):
    return Heatmaps(path, mode=mode, **{**SMALL, **arguments})


def rebuild(path, frames, crop=None, is_mirrored=False):
    """Make a clip's maps (T, V, H, W) step by step: compact, resize the short side, crop, resize, flip, draw."""
    recording = open_reader(path, "test").entries[0]
    keypoint, score = recording.keypoint[:, frames], recording.score[:, frames]
    box = transforms.find_body_box(keypoint, recording.img_shape)
    keypoint = transforms.compact(keypoint, box)
    size = boxes.scaled_size(*box[2:], 32, boxes.round_half_up)
    keypoint = transforms.resize(keypoint, box[2:], size)
    crop = crop or boxes.centre_box(*size, 28, 28)
    keypoint = transforms.resize(transforms.crop(keypoint, crop), crop[2:], (28, 28))
    if is_mirrored:
        keypoint, score = transforms.mirror(keypoint, score, 28, LAYOUT)
    return draw_heatmaps.make_heatmaps(keypoint, score, (28, 28))


def draw(reader, key=(0, 0)):
    """Give a sample's maps as (views, T, V, H, W)."""
    return reader.prepare(reader[key]["inputs"])["pose"].numpy().swapaxes(1, 2)


def test_it_has_a_name():
    assert READERS["heatmaps"] is Heatmaps


# Evaluation.


def test_a_test_clip_is_mmaction2s_pipeline(tmp_path):
    path = write_pose(tmp_path, num_persons=2)
    reader = open_reader(path, "test")
    # 20 frames, six of them: seed 255, one of each sixth.
    frames = np.arange(7) * 20 // 6
    frames = frames[:-1] + np.random.RandomState(255).randint(np.diff(frames))
    views = draw(reader)
    assert views.shape == (1, 6, 17, 28, 28) and reader.input_shape == {"pose": [17, 6, 28, 28]}
    assert np.abs(views[0] - rebuild(path, frames)).max() < 1e-5
    assert views.max() > 0.5


def test_views_are_clips_each_followed_by_its_mirror(tmp_path):
    path = write_pose(tmp_path)
    plain = draw(open_reader(path, "test", num_clips=3))
    views = draw(open_reader(path, "test", num_clips=3, flip=True))
    assert len(plain) == 3 and len(views) == 6
    assert np.array_equal(views[::2], plain)
    assert np.array_equal(views[1::2], plain[:, :, LAYOUT.mirror_indices(), :, ::-1])
    assert not np.array_equal(plain[0], plain[1])


def test_limbs_are_drawn_and_mirrored(tmp_path):
    path = write_pose(tmp_path)
    reader = open_reader(path, "test", kind="limbs", flip=True)
    views = draw(reader)
    order = draw_heatmaps.mirror_limbs(list(draw_heatmaps.COCO_LIMBS), LAYOUT)
    assert views.shape == (2, 6, 17, 28, 28) and reader.input_shape["pose"][0] == 17
    assert np.array_equal(views[1], views[0][:, order, :, ::-1])
    few = open_reader(path, "test", kind="limbs", limbs=[[5, 7], [6, 8]])
    assert few.input_shape["pose"][0] == 2
    assert np.abs(draw(few)[0] - views[0][:, [2, 4]]).max() < 1e-6


def test_scaling_makes_maps_smaller(tmp_path):
    reader = open_reader(write_pose(tmp_path), "test", short_size=128, crop_size=112, scaling=0.25)
    assert reader.input_shape == {"pose": [17, 6, 28, 28]} and draw(reader).shape == (1, 6, 17, 28, 28)
    inputs = reader[0, 0]["inputs"]["pose"]
    same_place = open_reader(write_pose(tmp_path), "test", short_size=128, crop_size=112)[0, 0]["inputs"]["pose"]
    assert np.array_equal(inputs[..., :2], same_place[..., :2] / 4)


def test_stretch_makes_a_square_of_any_box(tmp_path):
    path = write_pose(tmp_path, num_frames=6)
    plain = open_reader(path, "test", hw_ratio=None, crop_size=32)[0, 0]["inputs"]["pose"]
    square = open_reader(path, "test", hw_ratio=None, crop_size=32, stretch=True)[0, 0]["inputs"]["pose"]
    assert plain[..., 1].max() > 32  # a high box, cut to its middle
    assert square[..., 1].max() < 32 and np.allclose(square[..., 0], plain[..., 0])


# Training.


@pytest.mark.parametrize("crop", ["resized", "multiscale"])
def test_training_crops_and_mirrors(tmp_path, crop):
    path = write_pose(tmp_path, num_frames=6)  # six of six frames: all of them
    box = transforms.find_body_box(open_reader(path).entries[0].keypoint, (90, 160))
    size = boxes.scaled_size(*box[2:], 32, boxes.round_half_up)
    choices = boxes.list_multi_scale_boxes(*size, 28)
    found, mirrored = set(), 0
    for epoch in range(12):
        reader = open_reader(path, crop=crop, crop_area=[0.5, 0.9])
        rng = np.random.default_rng([0, epoch, 0])
        rng.choice(7, 0, replace=False)
        if crop == "resized":
            drawn = boxes.draw_resized_box_mmaction2(*size, [0.5, 0.9], rng)
        else:
            drawn = choices[rng.integers(len(choices))]
        is_mirrored = rng.random() < 0.5
        found.add(drawn)
        mirrored += is_mirrored
        assert np.abs(draw(reader, (epoch, 0))[0] - rebuild(path, range(6), drawn, is_mirrored)).max() < 1e-5
    assert len(found) > 6 and 0 < mirrored < 12


def test_a_sample_depends_on_seed_epoch_and_index_alone(tmp_path):
    path = write_poses(tmp_path / "p.pkl", [make_annotation(f"n{i}", label=i) for i in range(4)])
    one, other = open_reader(path, seed=3), open_reader(path, seed=3)
    other[0, 1], other[1, 2]
    assert np.array_equal(one[2, 3]["inputs"]["pose"], other[2, 3]["inputs"]["pose"])
    assert not np.array_equal(one[2, 3]["inputs"]["pose"], one[3, 3]["inputs"]["pose"])
    assert not np.array_equal(one[2, 3]["inputs"]["pose"], open_reader(path, seed=4)[2, 3]["inputs"]["pose"])


def test_without_augmentation_training_takes_the_first_test_clip(tmp_path):
    path = write_pose(tmp_path)
    plain = open_reader(path, augment=False)[5, 0]["inputs"]["pose"]
    assert np.array_equal(plain, open_reader(path, "test")[0, 0]["inputs"]["pose"])


def test_repeat_subset_and_labels(tmp_path):
    path = write_poses(tmp_path / "p.pkl", [make_annotation(f"n{i}", label=i) for i in range(3)])
    reader = open_reader(path, repeat=2)
    assert len(reader) == 6 and reader.find_class(4) == 1 and reader[0, 5]["name"] == "n2"
    reader.subset([1, 5])
    assert [reader[0, i]["label"] for i in range(len(reader))] == [1, 2]
    assert len(open_reader(path, "valid", repeat=2)) == 3


@pytest.mark.parametrize("num_workers", [0, 2])
def test_the_loader_makes_batches_that_the_device_draws(tmp_path, num_workers):
    path = write_poses(tmp_path / "p.pkl", [make_annotation(f"n{i}", label=i, num_persons=1 + i % 2) for i in range(3)])
    loader = build_loader("heatmaps", "test", 2, num_workers, filelist=path, **SMALL, num_clips=2, flip=True)
    batches = list(loader)
    assert [batch["inputs"]["pose"].shape for batch in batches] == [[8, 2, 6, 17, 4], [4, 2, 6, 17, 4]]
    maps = loader.prepare(batches[1]["inputs"])["pose"]
    assert maps.shape == [4, 17, 6, 28, 28] and maps.dtype == paddle.float32
    assert np.array_equal(maps.numpy().swapaxes(1, 2), draw(loader.dataset, (0, 2)))


# Stray key points.


def change(place, value):
    """Give key points of one person with some of them set."""
    keypoint = make_annotation("one")["keypoint"]
    keypoint[place] = value
    return keypoint


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e7])
def test_values_that_are_no_numbers_are_damage(tmp_path, value):
    with pytest.raises(
        ValueError, match="poses.pkl: 'one' person 0, frame 0, joint 5: coordinates .*; correct the file"
    ):
        open_reader(write_pose(tmp_path, keypoint=change((0, slice(None), 5), value)), "test")
    score = make_annotation("one")["keypoint_score"]
    score[0, 2, 6] = value
    with pytest.raises(ValueError, match="poses.pkl: 'one' person 0, frame 2, joint 6: score .*; correct the file"):
        open_reader(write_pose(tmp_path, keypoint_score=score), "test")


def test_a_key_point_that_is_zero_is_missing(tmp_path):
    place = (0, slice(None), 5)
    views = draw(open_reader(write_pose(tmp_path, keypoint=change(place, 0.0)), "test"))
    assert np.isfinite(views).all() and not views[:, :, 5].any()
    others = [joint for joint in range(17) if joint != 5]
    assert views[:, :, others].max(axis=(0, 1, 3, 4)).min() > 0.1


def test_one_coordinate_of_zero_is_a_place(tmp_path):
    views = draw(open_reader(write_pose(tmp_path, keypoint=change((0, slice(None), 5), [0.0, 40.0])), "test"))
    assert views[:, :, 5].any()


def test_a_key_point_outside_the_picture_widens_the_box(tmp_path):
    path = write_pose(tmp_path, keypoint=change((0, slice(None), 5), [-100.0, 40.0]))
    inputs = open_reader(path, "test", num_clips=2, short_size=32, crop_size=32)[0, 0]["inputs"]["pose"]
    x = inputs[..., 0, :, :, 0]
    assert 0 < x[..., 5].min() < 5 and x[..., 0].min() > 16  # all in the crop, the body at its right
    assert draw(open_reader(path, "test", crop_size=32))[:, :, 5].any()


@pytest.mark.parametrize("num_persons", [1, 2])
def test_persons_of_zeros_give_empty_maps(tmp_path, num_persons):
    zeros = np.zeros((num_persons, 20, 17, 2), np.float32)
    scores = np.ones((num_persons, 20, 17), np.float32)
    path = write_pose(tmp_path, keypoint=zeros, keypoint_score=scores)
    for mode in ("train", "test"):
        assert not draw(open_reader(path, mode)).any()


def test_a_person_of_zeros_changes_nothing(tmp_path):
    alone = draw(open_reader(write_pose(tmp_path), "test"))
    keypoint = np.concatenate([make_annotation("one")["keypoint"], np.zeros((1, 20, 17, 2), np.float32)])
    score = np.concatenate([make_annotation("one")["keypoint_score"], np.ones((1, 20, 17), np.float32)])
    path = write_pose(tmp_path, keypoint=keypoint, keypoint_score=score)
    assert np.array_equal(draw(open_reader(path, "test")), alone)


def test_no_scores_are_ones_where_a_joint_is(tmp_path):
    path = write_pose(tmp_path, keypoint=change((0, slice(None), 5), 0), keypoint_score=None)
    score = open_reader(path, "test")[0, 0]["inputs"]["pose"][..., 2]
    assert np.array_equal(np.unique(score[0, 0, :, 5]), [0]) and (np.delete(score[0, 0], 5, axis=1) == 1).all()
    assert not score[0, 1].any()  # the person that the recording lacks


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"scores": 100}, "keypoint_score goes up to 100, expected 0 to 1; divide it, by 100 if it is per cent"),
        ({"scores": 0}, "keypoint_score is 0 for every point, so that none would count; leave it out or write"),
        ({"scores": -1}, "keypoint_score goes down to -1, expected 0 to 1; write 0 for a point not found"),
        ({"factor": 1 / 200}, "they are shares of the picture where pixels are expected; multiply x by the width and"),
        ({"factor": 100}, "far beyond img_shape, (90, 160); give (height, width) of the picture in which they were"),
    ],
)
def test_units_are_compared_with_the_picture_and_with_scores(tmp_path, changes, message):
    annotation = make_annotation("one")
    arrays = {"keypoint": annotation["keypoint"] * np.float32(changes.get("factor", 1))}
    if "scores" in changes:
        arrays["keypoint_score"] = np.full((1, 20, 17), changes["scores"], np.float32)
    for mode in ("train", "test"):
        with pytest.raises(ValueError) as error:
            open_reader(write_pose(tmp_path, **arrays), mode)
        assert "poses.pkl: 'one': " in str(error.value) and message in str(error.value)


def test_recordings_that_hold_nobody_are_named(tmp_path, caplog):
    one, two = make_annotation("one"), make_annotation("two")
    two["keypoint"] = np.zeros_like(two["keypoint"])
    one["keypoint"][:, [0, 5, -1]] = 0  # somebody who comes late, is hidden once and leaves early is there
    open_reader(write_poses(str(tmp_path / "poses.pkl"), [one, two]))
    assert "poses.pkl: 1 of 2 recordings hold nobody, all points are 0, first 'two'; leave" in caplog.text


def test_a_person_in_the_second_row_comes_first(tmp_path, caplog):
    one = make_annotation("one")
    rows = [np.zeros_like(one["keypoint"]), one["keypoint"], one["keypoint"] + 9]
    scores = [np.ones_like(one["keypoint_score"]), one["keypoint_score"], one["keypoint_score"]]
    path = write_pose(tmp_path, keypoint=np.concatenate(rows), keypoint_score=np.concatenate(scores))
    with caplog.at_level("INFO"):
        shifted = open_reader(path, "test", num_persons=1)[0, 0]["inputs"]["pose"]
    assert "poses.pkl: 1 persons of 1 recordings are left out, as READER.num_persons is 1" in caplog.text
    alone = open_reader(write_pose(tmp_path), "test", num_persons=1)[0, 0]["inputs"]["pose"]
    assert np.array_equal(shifted, alone) and alone[..., 2].any()


def test_persons_beyond_num_persons_are_left_out(tmp_path):
    path = write_pose(tmp_path, num_persons=3)
    assert open_reader(path, "test")[0, 0]["inputs"]["pose"].shape[1] == 2
    assert open_reader(path, "test", num_persons=4)[0, 0]["inputs"]["pose"].shape[1] == 4


def test_half_precision_key_points(tmp_path):
    annotation = make_annotation("one")
    path = write_pose(tmp_path, keypoint=annotation["keypoint"].astype(np.float16))
    assert open_reader(path, "test")[0, 0]["inputs"]["pose"].dtype == np.float32


@pytest.mark.parametrize("shape, message", [((0, 20, 17), "0 persons in 20 frames"), ((1, 0, 17), "1 persons in 0")])
def test_no_persons_or_frames_are_damage(tmp_path, shape, message):
    empty = make_annotation("e", keypoint=np.zeros((*shape, 2), np.float32), keypoint_score=None)
    path = write_poses(tmp_path / "p.pkl", [empty, make_annotation("good")])
    with pytest.raises(ValueError, match=f"'e' has {message}.*, expected some"):
        open_reader(path, "test")[0, 0]
    drawn = [open_reader(path)[epoch, 0] for epoch in range(3)]
    assert {sample["name"] for sample in drawn} == {"good"} and message in drawn[0]["faults"][0]
    with pytest.raises(ValueError, match="10 samples in a row are damaged, the last one:.*'e' has"):
        open_reader(write_poses(tmp_path / "q.pkl", [empty]))[0, 0]


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"keypoint_score": np.ones((1, 20))}, "keypoint_score is of the shape (1, 20), float64, expected (1, 20, 17)"),
        (
            {"keypoint_score": np.ones((2, 20, 17))},
            "keypoint_score is of the shape (2, 20, 17), float64, expected (1, 20, 17)",
        ),
        (
            {"keypoint": np.ones((1, 20, 25, 2)), "keypoint_score": None},
            "25 joints, layout coco17 has 17; set READER.layout=ntu25",
        ),
        ({"keypoint": np.ones((1, 20, 17, 3))}, "3 coordinates, heat maps need 2"),
        ({"img_shape": None}, "'one' has no img_shape"),
        ({"label": 7}, "'one' has label 7, expected 0 to 3"),
    ],
)
def test_bad_annotations_are_named(tmp_path, changes, message):
    with pytest.raises(ValueError) as error:
        open_reader(write_pose(tmp_path, **changes), num_classes=4)
    assert message in str(error.value)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"kind": "both"}, "kind is 'both', expected one of joints, limbs"),
        ({"crop": "center"}, "crop is 'center', expected one of resized, multiscale"),
        ({"mode": "fit"}, "mode is 'fit', expected one of train, valid, test"),
        ({"clip_len": 0}, "clip_len is 0, expected int from 1 to 1000000"),
        ({"repeat": 0}, "repeat is 0, expected int from 1 to 1000000"),
        ({"sigma": 0}, "sigma is 0, expected float above 0 and up to 1000000"),
        ({"hw_ratio": 0}, "hw_ratio is 0, expected float above 0 and up to 1000000 | None"),
        ({"flip_ratio": 2}, "flip_ratio is 2, expected float from 0 to 1"),
        ({"crop_area": [0.5]}, "crop_area is [0.5], expected [least, greatest] share"),
        ({"crop_size": 33}, "crop_size is 33, expected at most short_size, 32, and scales"),
        ({"kind": "limbs", "limbs": [[0, 17]]}, "limbs has (0, 17), expected pairs of joints from 0 to 16"),
        ({"scaling": 0.01}, "scaling 0.01 makes a map of 0 x 0 pixels"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError) as error:
        open_reader(None, **arguments)
    assert message in str(error.value)
