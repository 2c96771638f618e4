"""The skeleton reader on small files of known numbers: splits, views, samplings, randomness, damage, mapped files."""

import os
import pickle

import numpy as np
import pytest

from common import files
from layouts import get_layout
from reader import build_loader, skeleton_pkl, streams
from reader.skeletons import SAMPLINGS, Skeletons

NTU = get_layout("ntu25")
PLAIN = {"normalization": None, "clip_len": 8}


def draw(persons=1, frames=12, joints=25, coordinates=3, seed=0):
    """Draw key points (M, T, V, C) without a zero."""
    return 1 + np.random.default_rng(seed).random((persons, frames, joints, coordinates), np.float32)


def count_frames(persons=1, frames=12):
    """Key points whose every number is that of their frame, from 1."""
    return np.ones((persons, frames, 25, 3), np.float32) * np.arange(1, frames + 1, dtype=np.float32)[:, None, None]


def write(folder, keypoints, labels=None, splits=None, **more):
    """Write a skeleton pkl of samples s0, s1, ...; return its path."""
    annotations = [
        {"frame_dir": f"s{place}", "label": place if labels is None else labels[place], "keypoint": keypoint}
        for place, keypoint in enumerate(keypoints)
    ]
    for annotation in annotations:
        annotation["total_frames"] = annotation["keypoint"].shape[1]
        annotation.update({key: more[key] for key in ("keypoint_score", "img_shape") if key in more})
    names = [annotation["frame_dir"] for annotation in annotations]
    content = {"split": splits or {"train": names, "val": names[::-1]}, "annotations": annotations}
    content.update({key: more[key] for key in ("class_names", "layout") if key in more})
    path = folder / "set.pkl"
    path.write_bytes(pickle.dumps(content))
    return str(path)


def read_views(*arguments, **options):
    """Read the views (views, M, T, V, C) of the first sample of a reader."""
    return Skeletons(*arguments, **options)[0, 0]["inputs"]["skeleton"]


def read_view(*arguments, **options):
    """Read the first view of the first sample of a reader."""
    return read_views(*arguments, **options)[0]


def frames_of(clip):
    """The frame numbers of a clip (M, T, V, C) of `count_frames`, of its first person."""
    return clip[0, :, 0, 0].tolist()


# What leaves.


def test_samples_stand_in_the_order_of_the_split(tmp_path):
    path = write(tmp_path, [draw(seed=seed) for seed in range(3)], class_names=["A", "B", "C"])
    reader = Skeletons(path, "val", "test", **PLAIN)
    assert [reader[0, index]["name"] for index in range(len(reader))] == ["s2", "s1", "s0"]
    assert [reader[0, index]["label"] for index in range(3)] == [2, 1, 0]
    assert [reader.find_class(index) for index in range(3)] == [2, 1, 0]
    assert reader.class_names == ["A", "B", "C"] and reader.num_classes == 3


def test_a_view_and_the_model_s_input_are_the_key_points(tmp_path):
    keypoint = draw(2, 8)
    reader = Skeletons(write(tmp_path, [keypoint]), "train", "test", sampling="pad", **PLAIN)
    sample = reader[0, 0]
    assert sample["inputs"]["skeleton"].dtype == np.float32 and np.array_equal(
        sample["inputs"]["skeleton"], keypoint[None]
    )
    batch = reader.prepare(sample["inputs"])["skeleton"]
    assert list(batch.shape) == [1, 3, 8, 25, 2] == [1, *reader.input_shape["skeleton"]]
    assert np.array_equal(batch.numpy()[0, 1, 5, 7], keypoint[:, 5, 7, 1])
    assert reader.sample_bytes() == sample["inputs"]["skeleton"].nbytes
    assert reader.draw_noise(3, np.random.default_rng(0))["skeleton"].shape == (3, 2, 8, 25, 3)


@pytest.mark.parametrize("persons, kept", [(1, [0]), (2, [0, 1]), (3, [0, 1])])
def test_missing_persons_are_zeros_and_those_too_many_go(tmp_path, persons, kept):
    keypoint = draw(persons, 8)
    clip = read_view(write(tmp_path, [keypoint]), "train", "test", sampling="pad", **PLAIN)
    assert clip.shape[0] == 2 and np.array_equal(clip[: len(kept)], keypoint[kept]) and not clip[len(kept) :].any()


def test_float16_is_read_as_float32(tmp_path):
    keypoint = draw(1, 8).astype(np.float16)
    clip = read_views(write(tmp_path, [keypoint]), "train", "test", sampling="pad", num_persons=1, **PLAIN)
    assert clip.dtype == np.float32 and np.array_equal(clip[0], keypoint.astype(np.float32))


def test_the_score_is_the_third_channel_of_two_coordinates(tmp_path):
    keypoint, score = draw(1, 8, 17, 2), draw(1, 8, 17, 1)[..., 0]
    keypoint[0, 3, 4] = 0
    arguments = {"layout": "coco17", "sampling": "pad", "num_persons": 1, **PLAIN}
    path = write(tmp_path, [keypoint], keypoint_score=score)
    whole = np.concatenate([keypoint, score[..., None]], axis=3)
    assert np.array_equal(read_view(path, "train", "test", **arguments), whole)
    bones = read_view(path, "train", "test", stream="bone", **arguments)
    assert np.array_equal(bones, streams.make_bones(whole, get_layout("coco17").parents, average_scores=True))
    other = read_view(path, "train", "test", stream="bone", scores="difference", **arguments)
    assert np.array_equal(other, streams.make_bones(whole, get_layout("coco17").parents))
    centred = read_view(path, "train", "test", **{**arguments, "normalization": "center"})
    assert np.array_equal(centred[..., 2], score) and not centred[0, 0, 0, :2].any()
    without = read_view(write(tmp_path, [keypoint]), "train", "test", **arguments)
    assert without[..., 2].sum() == 8 * 17 - 1 and not without[0, 3, 4].any()


@pytest.mark.parametrize("sampling", SAMPLINGS)
@pytest.mark.parametrize("mode", ["train", "test"])
def test_a_sample_of_nobody_is_a_clip_of_zeros(tmp_path, sampling, mode):
    path = write(tmp_path, [np.zeros((2, 5, 25, 3), np.float32)])
    for normalization in ("center", "box", "pyskl_3d", "msg3d", "infogcn"):
        reader = Skeletons(
            path, "train", mode, sampling=sampling, normalization=normalization, clip_len=8, rotation=0.3, noise=0.1,
            scale=0.2, flip_ratio=1.0, stream="bone_motion+displacement",
        )  # fmt: skip
        sample = reader[0, 0]
        views = sample["inputs"]["skeleton"]
        assert views.shape == (1, 2, 8, 25, 6) and not views.any() and sample["faults"] == []


# Sampling.


@pytest.mark.parametrize("sampling", ["uniform", "resize", "window"])
def test_several_views_are_in_time_order(tmp_path, sampling):
    path = write(tmp_path, [count_frames(1, 100)])
    reader = Skeletons(path, "train", "valid", sampling=sampling, num_clips=3, **PLAIN)
    views = reader[0, 0]["inputs"]["skeleton"]
    assert views.shape == (3, 2, 8, 25, 3) and reader.sample_bytes() == views.nbytes
    for view in views:
        assert (np.diff(frames_of(view)) > 0).all() and 1 <= min(frames_of(view)) <= max(frames_of(view)) <= 100
    if sampling == "window":
        assert [frames_of(view)[0] for view in views] == [16, 47, 77]


def test_padding_follows_the_recording(tmp_path):
    path = write(tmp_path, [count_frames(1, 5)])
    for sampling in ("pad", "window"):
        reader = Skeletons(path, "train", "test", sampling=sampling, **PLAIN)
        assert frames_of(reader[0, 0]["inputs"]["skeleton"][0]) == [1, 2, 3, 4, 5, 0, 0, 0]
        looped = Skeletons(path, "train", "test", sampling=sampling, padding="loop", **PLAIN)
        assert frames_of(looped[0, 0]["inputs"]["skeleton"][0]) == [1, 2, 3, 4, 5, 1, 2, 3]
    longer = Skeletons(write(tmp_path, [count_frames(1, 20)]), "train", "test", sampling="pad", **PLAIN)
    assert frames_of(longer[0, 0]["inputs"]["skeleton"][0]) == [1, 2, 3, 4, 5, 6, 7, 8]


def test_windows_of_training_reach_every_place(tmp_path):
    for frames, expected in ((12, {1, 2, 3, 4, 5}), (5, {0, 1})):
        reader = Skeletons(write(tmp_path, [count_frames(1, frames)]), "train", sampling="window", **PLAIN)
        clips = [frames_of(reader[epoch, 0]["inputs"]["skeleton"][0]) for epoch in range(60)]
        assert {clip[0] for clip in clips} == expected
        for clip in clips:
            present = [number for number in clip if number]
            assert present == list(range(int(present[0]), int(present[0]) + min(frames, 8)))


def test_resized_crops_of_training_differ_and_evaluation_takes_the_centre(tmp_path):
    path = write(tmp_path, [count_frames(1, 200)])
    train = Skeletons(path, "train", sampling="resize", **PLAIN)
    clips = [frames_of(train[epoch, 0]["inputs"]["skeleton"][0]) for epoch in range(50)]
    spans = [clip[-1] - clip[0] for clip in clips]
    assert 80 < min(spans) < 110 and 160 < max(spans) < 200
    clip = frames_of(read_view(path, "train", "test", sampling="resize", **PLAIN))
    np.testing.assert_allclose(clip, 6 - 0.5 + (np.arange(8) + 0.5) * 190 / 8 + 0, rtol=1e-5)


def test_resizing_leaves_the_empty_end_out(tmp_path):
    keypoint = np.concatenate([count_frames(1, 8), np.zeros((1, 4, 25, 3), np.float32)], axis=1)
    reader = Skeletons(write(tmp_path, [keypoint]), "train", "test", sampling="resize", crop_ratio=1.0, **PLAIN)
    assert frames_of(reader[0, 0]["inputs"]["skeleton"][0]) == [1, 2, 3, 4, 5, 6, 7, 8]


def test_ordered_frames_repeat_and_end_with_the_recording(tmp_path):
    path, even = write(tmp_path, [count_frames(1, 4)]), [1, 1, 1, 2, 2, 3, 3, 4]
    assert frames_of(read_view(path, "train", "test", sampling="ordered", **PLAIN)) == even
    reader = Skeletons(path, "train", sampling="ordered", **PLAIN)
    clips = [frames_of(reader[epoch, 0]["inputs"]["skeleton"][0]) for epoch in range(9)]
    assert all(clip == sorted(clip) and set(clip) <= set(even) for clip in clips) and len(set(map(tuple, clips))) > 4


def test_uniform_motion_is_of_the_recording_and_resized_motion_of_the_clip(tmp_path):
    path = write(tmp_path, [count_frames(1, 160)])
    arguments = {"stream": "joint_motion", **PLAIN}
    uniform = read_view(path, "train", "test", sampling="uniform", **arguments)
    assert frames_of(uniform)[:7] == [1] * 7
    resized = read_view(path, "train", "test", sampling="resize", crop_ratio=1.0, **arguments)
    assert frames_of(resized) == [20] * 7 + [0]


def test_total_frames_cuts_what_follows(tmp_path):
    keypoint = count_frames(1, 8)[:, :, :17, :2]
    path = write(tmp_path, [keypoint], keypoint_score=keypoint[..., 0])
    content = pickle.loads((tmp_path / "set.pkl").read_bytes())
    content["annotations"][0]["total_frames"] = 5
    (tmp_path / "set.pkl").write_bytes(pickle.dumps(content))
    clip = read_view(path, "train", "test", sampling="pad", layout="coco17", **PLAIN)
    assert frames_of(clip) == clip[0, :, 9, 2].tolist() == [1, 2, 3, 4, 5, 0, 0, 0]


def test_pre_normalisation_of_msg3d_repeats_a_padded_recording(tmp_path):
    keypoint = draw(1, 5)
    arguments = {"normalization": "msg3d", "clip_len": 12, "num_persons": 1}
    clip = read_view(write(tmp_path, [keypoint]), "train", "test", sampling="pad", **arguments)
    assert np.array_equal(clip[:, 5:10], clip[:, :5]) and np.array_equal(clip[:, 10:], clip[:, :2]) and clip.any()


# Randomness.

SHAKEN = {
    "rotation": 0.3, "scale": 0.1, "bone_scale": 0.2, "shear": 0.1, "noise": 0.01, "flip_ratio": 0.5,
    "joint_drop_ratio": 0.3,
}  # fmt: skip


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_a_training_sample_depends_on_seed_epoch_and_index_alone(tmp_path, sampling):
    path = write(tmp_path, [draw(frames=100)] * 2)
    placed = {"random_move": True, "random_shift": True} if sampling in ("window", "pad") else {}
    arguments = {"sampling": sampling, "clip_len": 16, **SHAKEN, **placed}
    reader = Skeletons(path, "train", seed=3, **arguments)
    first = reader[4, 1]["inputs"]["skeleton"]
    reader[0, 0]
    assert np.array_equal(reader[4, 1]["inputs"]["skeleton"], first)
    assert np.array_equal(Skeletons(path, "train", seed=3, **arguments)[4, 1]["inputs"]["skeleton"], first)
    for other in (reader[5, 1], reader[4, 0], Skeletons(path, "train", seed=2, **arguments)[4, 1]):
        assert not np.array_equal(other["inputs"]["skeleton"], first)


@pytest.mark.parametrize("name, value", [*SHAKEN.items(), ("random_move", True), ("random_shift", True)])
def test_each_augmentation_changes_training_alone(tmp_path, name, value):
    path = write(tmp_path, [np.pad(draw(frames=5), ((0, 0), (2, 5), (0, 0), (0, 0)))])
    value = 1.0 if name == "flip_ratio" else value
    arguments = {"sampling": "pad", "clip_len": 12, "normalization": None}
    plain, changed = (
        Skeletons(path, "train", **more, **arguments)[1, 0]["inputs"]["skeleton"] for more in ({}, {name: value})
    )
    assert plain.shape == changed.shape and not np.array_equal(plain, changed)
    for still in ({"mode": "test"}, {"augment": False}):
        assert np.array_equal(
            Skeletons(path, "train", **still, **{name: value}, **arguments)[1, 0]["inputs"]["skeleton"], plain
        )


@pytest.mark.parametrize("normalization", ["center", "box"])
def test_bones_are_lengthened_before_the_body_is_centred(tmp_path, normalization):
    """A body that drifts keeps its bones, also those at the centre of the first frame, which is the origin then."""
    path = write(tmp_path, [draw(frames=1) + np.arange(4, dtype=np.float32)[None, :, None, None]])
    arguments = {"sampling": "pad", "clip_len": 4, "num_persons": 1, "normalization": normalization}
    plain, changed = (
        streams.make_bones(Skeletons(path, "train", **more, **arguments)[0, 0]["inputs"]["skeleton"][0, 0], NTU.parents)
        for more in ({}, {"bone_scale": 0.3})
    )
    assert np.allclose(changed, changed[:1], atol=1e-5) and not np.allclose(changed, plain, atol=0.01)


@pytest.mark.parametrize("normalization", ["center", "box", "pyskl_2d"])
def test_where_a_joint_without_score_lies_is_not_looked_at(tmp_path, normalization):
    """Joint 5 has score 0: other tools leave its guess in the file, or (0, 0)."""
    keypoint, scores = 100 * draw(1, 6, 17, 2), np.ones((1, 6, 17), np.float32)
    scores[:, :, 5] = 0
    clips = []
    for place in (0, 900):
        keypoint[:, :, 5] = place
        path = write(tmp_path, [keypoint], keypoint_score=scores, img_shape=(480, 640))
        arguments = {"sampling": "pad", "clip_len": 6, "num_persons": 1, "layout": "coco17"}
        reader = Skeletons(path, "train", normalization=normalization, bone_scale=0.3, **arguments)
        clips.append(reader[0, 0]["inputs"]["skeleton"][0, 0])
    assert np.array_equal(clips[0], clips[1]) and not clips[0][:, 5].any()
    assert clips[0][:, 6].all()


@pytest.mark.parametrize("sampling", ["uniform", "resize", "ordered", "window"])
def test_frames_are_left_out_of_training_clips_alone(tmp_path, sampling):
    """A recording whose coordinates are the numbers of its frames, of which half are left out."""
    ramp = np.arange(1, 41, dtype=np.float32)[None, :, None, None] * np.ones((1, 1, 25, 3), np.float32)
    path = write(tmp_path, [ramp])
    arguments = {"sampling": sampling, "clip_len": 40, "num_persons": 1, "normalization": None, "crop_ratio": 1.0}
    trained = Skeletons(path, "train", frame_drop_ratio=0.5, **arguments)[0, 0]["inputs"]["skeleton"]
    if sampling == "window":  # the one that neither stretches nor repeats: half of the clip is empty
        assert 10 <= np.count_nonzero(trained.any(axis=(0, 1, 3, 4))) <= 30
    assert trained.shape == (1, 1, 40, 25, 3) and len(np.unique(np.diff(trained[0, 0, :, 0, 0]))) > 1
    scored, plain = (read_view(path, "train", "test", frame_drop_ratio=ratio, **arguments) for ratio in (0.5, 0.0))
    assert np.array_equal(scored, plain)


def test_a_short_recording_is_cropped_where_min_crop_len_allows_it(tmp_path):
    """Of 40 frames, 64 or more are all of them, and half or less are at most 20."""
    ramp = np.arange(1, 41, dtype=np.float32)[None, :, None, None] * np.ones((1, 1, 25, 3), np.float32)
    path = write(tmp_path, [ramp])
    arguments = {"sampling": "resize", "clip_len": 40, "normalization": None, "crop_ratio": [0.3, 0.5]}
    for more, low, high in (({}, 39, 39), ({"min_crop_len": 30}, 29, 29), ({"min_crop_len": 1}, 10, 20)):
        reader = Skeletons(path, "train", **arguments, **more)
        extents = [np.ptp(reader[epoch, 0]["inputs"]["skeleton"][0, 0]) for epoch in range(8)]
        assert low <= min(extents) <= max(extents) <= high, more


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_without_augmentation_training_takes_the_evaluation_view(tmp_path, sampling):
    path = write(tmp_path, [draw(frames=100)])
    arguments = {"sampling": sampling, "clip_len": 16, **SHAKEN}
    num_clips = 3 if sampling in ("uniform", "resize", "window") else 1
    still = Skeletons(path, "train", augment=False, num_clips=num_clips, **arguments)
    first = read_views(path, "train", "test", num_clips=num_clips, **arguments)[:1]
    assert still[0, 0]["inputs"]["skeleton"].shape == first.shape
    expected = read_views(path, "train", "test", **arguments)
    assert np.array_equal(still[0, 0]["inputs"]["skeleton"], expected) and np.array_equal(
        still[1, 0]["inputs"]["skeleton"], expected
    )


def test_a_repeated_set_draws_each_sample_anew(tmp_path):
    path = write(tmp_path, [draw(frames=100, seed=seed) for seed in range(3)])
    reader = Skeletons(path, "train", repeat=4, clip_len=16)
    assert len(reader) == 12 and [reader[0, index]["label"] for index in range(12)] == [0, 1, 2] * 4
    assert not np.array_equal(reader[0, 1]["inputs"]["skeleton"], reader[0, 4]["inputs"]["skeleton"])
    assert len(Skeletons(path, "train", "valid", repeat=4)) == 3
    reader.subset([4, 2])
    assert len(reader) == 2 and [reader[0, index]["name"] for index in range(2)] == ["s1", "s2"]


def test_a_box_is_made_after_the_rotation(tmp_path):
    reader = Skeletons(write(tmp_path, [draw(frames=9)]), "train", normalization="box", sampling="pad", rotation=1.0,
                       clip_len=9, num_persons=1)  # fmt: skip
    for epoch in range(5):
        clip = reader[epoch, 0]["inputs"]["skeleton"]
        np.testing.assert_allclose(
            [clip.min(axis=(0, 1, 2, 3)), clip.max(axis=(0, 1, 2, 3))], [[-1] * 3, [1] * 3], atol=1e-5
        )


@pytest.mark.parametrize("num_workers", [0, 2])
def test_the_loader_joins_views(tmp_path, num_workers):
    path = write(tmp_path, [draw(frames=20, seed=seed) for seed in range(5)], class_names=list("ABCDE"))
    arguments = {"filelist": path, "batch_size": 2, "num_workers": num_workers, "clip_len": 16}
    loader = build_loader("skeletons", "test", split="val", num_clips=3, **arguments)
    batches = list(loader)
    assert [batch["names"] for batch in batches] == [["s4", "s3"], ["s2", "s1"], ["s0"]]
    shapes = [list(batch["inputs"]["skeleton"].shape) for batch in batches]
    assert shapes == [[6, 2, 16, 25, 3]] * 2 + [[3, 2, 16, 25, 3]]
    assert list(loader.prepare(batches[0]["inputs"])["skeleton"].shape) == [6, 3, 16, 25, 2]
    few = build_loader("skeletons", "train", split="train", overfit=2, repeat=3, augment=False, **arguments)
    assert few.num_samples == 2 and sorted(next(iter(few))["names"]) == ["s0", "s1"]


def test_batches_do_not_depend_on_the_number_of_workers(tmp_path):
    path = write(tmp_path, [draw(frames=100, seed=seed) for seed in range(6)])
    batches = []
    for num_workers in (0, 2):
        loader = build_loader(
            "skeletons", "train", filelist=path, split="train", batch_size=4, num_workers=num_workers, seed=1, **SHAKEN
        )
        loader.set_epoch(2)
        batches.append([batch["inputs"]["skeleton"].numpy() for batch in loader])
    for alone, shared in zip(*batches, strict=True):
        assert np.array_equal(alone, shared)


# Mapped files.


def is_mapped(array):
    while isinstance(array, np.ndarray) and not isinstance(array, np.memmap):
        array = array.base
    return isinstance(array, np.memmap)


def test_a_mapped_file_gives_the_same_samples(tmp_path):
    keypoints = [draw(1 + seed % 2, 5 + seed, 17, 2, seed).astype(np.float16) for seed in range(4)]
    path = write(tmp_path, keypoints, img_shape=(4, 6))
    arguments = {"layout": "coco17", "normalization": "pyskl_2d", "sampling": "pad", "clip_len": 8}
    plain = Skeletons(path, "val", "test", **arguments)
    mapped = Skeletons(path, "val", "test", memory_limit_gib=0, **arguments)
    assert sorted(os.listdir(tmp_path)) == ["set.pkl", "set.pkl.index", "set.pkl.npy"]
    assert is_mapped(mapped.entries[0].keypoint) and not is_mapped(plain.entries[0].keypoint)
    assert mapped.entries[0].keypoint.dtype == np.float16
    for index in range(4):
        ours, theirs = mapped[0, index], plain[0, index]
        assert np.array_equal(ours["inputs"]["skeleton"], theirs["inputs"]["skeleton"])
        assert ours["name"] == theirs["name"]


def test_scores_are_mapped_too_and_a_changed_file_is_unpacked_again(tmp_path):
    arguments = {"layout": "coco17", "sampling": "pad", "memory_limit_gib": 0, "num_persons": 1, **PLAIN}
    for seed in (0, 1):
        keypoint, score = draw(1, 8, 17, 2, seed), draw(1, 8, 17, 1, seed + 5)[..., 0]
        path = write(tmp_path, [keypoint], keypoint_score=score)
        os.utime(path, ns=(seed, seed))  # a file written within the tick of a clock is told from its size alone
        clip = read_view(path, "train", "test", **arguments)
        assert np.array_equal(clip, np.concatenate([keypoint, score[..., None]], axis=3))


def test_a_mapped_file_is_unpacked_once(tmp_path, monkeypatch):
    path = write(tmp_path, [draw()])
    Skeletons(path, "train", memory_limit_gib=0)
    monkeypatch.setattr(skeleton_pkl, "_unpack", None)
    assert len(Skeletons(path, "train", memory_limit_gib=0)) == 1


@pytest.mark.parametrize("name, places", [("set.pkl.index", (0, 40, -9)), ("set.pkl.npy", (1, 20, 60))])
def test_damaged_unpacked_files_are_written_again(tmp_path, name, places):
    path = write(tmp_path, [draw(), draw(seed=1)])
    good = Skeletons(path, "train", "test", memory_limit_gib=0)[0, 0]["inputs"]["skeleton"]
    whole = (tmp_path / name).read_bytes()
    for damage in (*(whole[:place] + b"?" + whole[place:][1:] for place in places), whole[: len(whole) // 2], b""):
        (tmp_path / name).write_bytes(damage)
        mapped = Skeletons(path, "train", "test", memory_limit_gib=0)
        assert np.array_equal(mapped[0, 0]["inputs"]["skeleton"], good) and (tmp_path / name).read_bytes() == whole


# Damage and refusals.


def test_damaged_samples_are_replaced_in_training_and_refused_in_evaluation(tmp_path):
    broken = draw()
    broken[0, 3, 4, 1] = np.nan
    splits = {"train": ["s0", "s1", "s2"], "0": ["s1", "s0"], "2": ["s1", "s2"]}
    path = write(tmp_path, [broken, draw(frames=20), np.zeros((1, 0, 25, 3), np.float32)], splits=splits)
    reader = Skeletons(path, "train", clip_len=8)
    for index, words in ((0, "person 0, frame 3, joint 4: coordinates"), (2, "has 1 persons in 0 frames")):
        sample = reader[0, index]
        assert sample["name"] == "s1" and f"set.pkl: 's{index}' {words}" in sample["faults"][0]
        with pytest.raises(ValueError, match=f"set.pkl: 's{index}' {words}"):
            Skeletons(path, str(index), "valid", clip_len=8)
    assert reader[0, 1]["faults"] == []
    with pytest.raises(ValueError, match="set.pkl: 's0' person 0, frame 3, joint 4: coordinates .*nan.*; correct"):
        Skeletons(write(tmp_path, [broken]), "train", clip_len=8)


def test_files_of_another_form_are_refused(tmp_path):
    path = write(tmp_path, [draw()])
    with pytest.raises(FileNotFoundError, match="'nowhere.pkl' does not exist"):
        Skeletons("nowhere.pkl", "train")
    for split, what in ((None, "split is not set"), ("xsub_val", "there is no split 'xsub_val'")):
        with pytest.raises(ValueError, match=f"set.pkl: {what}, the file has train, val; set READER.split"):
            Skeletons(path, split)
    write(tmp_path, [draw()], splits={"train": ["s0", "s7", "s8"], "none": []})
    with pytest.raises(ValueError, match="split 'train' names 2 samples that have no annotation, first 's7'"):
        Skeletons(path, "train")
    with pytest.raises(ValueError, match="split 'none' is empty"):
        Skeletons(path, "none")
    (tmp_path / "set.pkl").write_bytes(pickle.dumps([1, 2]))
    with pytest.raises(
        ValueError, match="expected a dict of 'split' and 'annotations'; run skeleton2pkl.py to make one"
    ):
        Skeletons(path, "train")
    (tmp_path / "set.pkl").write_bytes(pickle.dumps({"split": {}, "annotations": [{"frame_dir": "s0", "label": 1}]}))
    with pytest.raises(ValueError, match="annotation 0 lacks keypoint; correct the file; `python skeleton2pkl.py pkl"):
        Skeletons(path, "train")


def test_names_that_stand_twice_are_refused_or_told(tmp_path, caplog):
    with pytest.raises(ValueError, match="set.pkl: split 'train' names 's0' 2 times; name each sample once"):
        Skeletons(write(tmp_path, [draw()], splits={"train": ["s0", "s0"]}), "train")
    path = write(tmp_path, [draw(), draw()], splits={"train1": ["s0", "s1"], "test1": ["s1"], "test2": ["s0"]})
    Skeletons(path, "train1")
    assert "1 samples of split 'train1' are in 'test1' too, first 's1', so that a score is too good" in caplog.text
    assert "test2" not in caplog.text
    content = files.load_pickle(path)
    content["annotations"][1]["frame_dir"] = "s0"
    files.dump_pickle(content, path)
    with pytest.raises(
        ValueError, match="'s0' has two annotations, of label 0 and 1; give each sample a name of its own"
    ):
        Skeletons(path, "test2")


def test_the_body_is_the_first_person_in_whichever_row(tmp_path):
    body, empty = draw(), np.zeros_like(draw())
    alone = read_view(write(tmp_path, [body]), "train", "test", sampling="pad", num_persons=1, **PLAIN)
    path = write(tmp_path, [np.concatenate([empty, body])])
    assert np.array_equal(alone, read_view(path, "train", "test", sampling="pad", num_persons=1, **PLAIN))
    assert alone.any()


def test_arrays_of_another_shape_are_refused(tmp_path):
    coco = write(tmp_path, [draw(joints=17)])
    with pytest.raises(ValueError, match="'s0': 17 joints, layout ntu25 has 25; set READER.layout=coco17"):
        Skeletons(coco, "train")
    with pytest.raises(ValueError, match="'s0': 7 joints, layout ntu25 has 25; give READER.layout a yaml file"):
        Skeletons(write(tmp_path, [draw(joints=7)]), "train")
    with pytest.raises(
        ValueError, match="the joints are those of layout openpose25, not ntu25; set READER.layout=open"
    ):
        Skeletons(write(tmp_path, [draw()], layout="openpose25"), "train")
    with pytest.raises(ValueError, match="keypoint has 4 coordinates, expected 2 or 3"):
        Skeletons(write(tmp_path, [draw(coordinates=4)]), "train")
    with pytest.raises(
        ValueError, match=r"keypoint_score is of the shape \(1, 12, 24\), float64, expected \(1, 12, 25\)"
    ):
        Skeletons(write(tmp_path, [draw()], keypoint_score=np.ones((1, 12, 24))), "train")
    with pytest.raises(
        ValueError, match="'s1' has 2 coordinates, the first sample 3; run skeleton2pkl.py on each kind"
    ):
        Skeletons(write(tmp_path, [draw(), draw(coordinates=2)]), "train")


def test_labels_out_of_range_are_refused(tmp_path):
    path = write(tmp_path, [draw(), draw()])
    with pytest.raises(ValueError, match="set.pkl: 's1' has label 1, expected 0 to 0; correct MODEL.num_classes"):
        Skeletons(path, "train", num_classes=1)
    with pytest.raises(ValueError, match="'s0': label is -1, expected a whole number from 0"):
        Skeletons(write(tmp_path, [draw()], labels=[-1]), "train")
    with pytest.raises(ValueError, match=r"'s0': label is \[1, 2\], expected a whole number"):
        Skeletons(write(tmp_path, [draw()], labels=[[1, 2]]), "train")
    with pytest.raises(ValueError, match="'s0' has label 2, expected 0 to 1"):
        Skeletons(write(tmp_path, [draw()], labels=[2], class_names=["A", "B"]), "train")


def test_class_names_are_a_list(tmp_path):
    with pytest.raises(ValueError, match="class_names is {0: 'A', 1: 'B'}, expected a list of names in the order of"):
        Skeletons(write(tmp_path, [draw(joints=17)], class_names={0: "A", 1: "B"}), "train", layout="coco17")


def test_a_damaged_sample_is_named_before_an_evaluation_begins(tmp_path):
    """A training may replace it; a validation would end the run after its first epoch."""
    samples = [draw(seed=seed) for seed in range(30)]
    samples[17][0, 2, 3] = np.nan  # the readers look at 16 of all, evenly spread
    path = write(tmp_path, samples)
    Skeletons(path, "train", mode="train")
    for mode in ("valid", "test"):
        with pytest.raises(ValueError, match=r"'s17' person 0, frame 2, joint 3: coordinates \[nan, nan, nan\]"):
            Skeletons(path, "train", mode=mode)


def test_shares_of_the_picture_are_no_pixels(tmp_path):
    """PYSKL's scaling leaves what spans less than ten pixels as it is."""
    path = write(tmp_path, [np.random.default_rng(0).random((1, 9, 17, 2), np.float32)])
    options = {"layout": "coco17", "clip_len": 4, "augment": False}
    Skeletons(path, "train", normalization="center", **options)[0, 0]
    with pytest.raises(ValueError, match="'s0': x and y lie within -1.5 and 1.5 and are no pixels, which pyskl_2d_aut"):
        Skeletons(path, "train", normalization="pyskl_2d_auto", **options)._read_sample(0, None)


def test_normalisations_are_of_two_or_three_coordinates(tmp_path):
    path = write(tmp_path, [draw()])
    with pytest.raises(
        ValueError, match="normalization is 'pyskl_2d', expected for 3 coordinates one of None, center, box, p"
    ):
        Skeletons(path, "train", normalization="pyskl_2d", clip_len=8)
    path = write(tmp_path, [draw(joints=17, coordinates=2)])
    with pytest.raises(
        ValueError, match="normalization is 'msg3d', expected for 2 coordinates one of None, center, box, p"
    ):
        Skeletons(path, "train", normalization="msg3d", layout="coco17")
    with pytest.raises(ValueError, match="'s0' has no img_shape; set READER.normalization=pyskl_2d_auto"):
        Skeletons(path, "train", normalization="pyskl_2d", layout="coco17")


@pytest.mark.parametrize(
    "argument, value, words",
    [
        ("mode", "eval", "mode is 'eval', expected one of train, valid, test"),
        ("sampling", "random", "sampling is 'random', expected one of uniform, resize, ordered, window, pad"),
        ("normalization", "pyskl", "normalization is 'pyskl', expected one of None, center"),
        ("padding", "repeat", "padding is 'repeat', expected one of zero, loop"),
        ("scores", "sum", "scores is 'sum', expected one of mean, difference"),
        ("stream", "joint+bones", r"stream is 'joint\+bones', expected some of joint, joint_motion, bone, bone_motion"),
        ("layout", "ntu", "layout 'ntu' is not known"),
        ("clip_len", 0, "clip_len is 0, expected int from 1 to 1000000"),
        ("num_clips", 0, "num_clips is 0, expected int from 1 to 1000000"),
        ("num_persons", 0, "num_persons is 0, expected int from 1 to 1000000"),
        ("seed", -1, "seed is -1, expected int from 0 to 4294967295"),
        ("repeat", 0, "repeat is 0, expected int from 1 to 1000000"),
        ("noise", -1.0, "noise is -1.0, expected float from 0 to 1000000"),
        ("noise_base", "joint", "noise_base is 'joint', expected one of None, frame, video"),
        ("noise_shared", True, "noise_shared is True, expected False: it goes with noise_base video"),
        ("scale", [0.1], r"scale is \[0.1\], expected a number, or a list of them with one for each coordinate"),
        ("scale", -0.1, "scale is -0.1, expected float from 0 to below 1"),
        ("score_threshold", 2.0, "score_threshold is 2.0, expected float from 0 to 1"),
        ("flip_ratio", 1.5, "flip_ratio is 1.5, expected float from 0 to 1"),
        ("rotation", [0.3, 0.3], r"rotation is \[0.3, 0.3\], expected an angle in radians, or three"),
        ("crop_ratio", [1.0, 0.5], r"crop_ratio is \[1.0, 0.5\], expected a share above 0 and up to 1"),
        ("crop_ratio", 0.0, "expected list.float above 0 and up to 1"),
        ("min_crop_len", 0, "min_crop_len is 0, expected int from 1 to 1000000"),
        ("bone_scale", 1.0, "bone_scale is 1.0, expected float from 0 to below 1"),
        ("joint_drop_ratio", 1.0, "joint_drop_ratio is 1.0, expected float from 0 to below 1"),
        ("frame_drop_ratio", -0.1, "frame_drop_ratio is -0.1, expected float from 0 to below 1"),
        (
            "random_move",
            True,
            "sampling is 'uniform', expected window or pad, to which random_move and random_shift belong",
        ),
    ],
)
def test_arguments_out_of_range_are_refused(argument, value, words):
    with pytest.raises(ValueError, match=words):
        Skeletons(None, **{argument: value})


def test_frames_are_not_left_out_of_a_clip_that_has_them_already():
    with pytest.raises(ValueError, match="frame_drop_ratio is 0.1, expected 0: sampling pad fixes the frames before"):
        Skeletons(None, sampling="pad", frame_drop_ratio=0.1)


def test_one_clip_holds_what_ordered_and_pad_take(tmp_path):
    for sampling in ("ordered", "pad"):
        with pytest.raises(
            ValueError, match=f"num_clips is 2, expected 1: sampling {sampling} takes the whole recording"
        ):
            Skeletons(None, sampling=sampling, num_clips=2)
