"""SkateFormer's reader against its authors' data code, and its laws."""

import json
import pickle

import numpy as np
import pytest
from paths import GOLDEN_DATA

from layouts import get_layout
from reader import READERS, sampling
from reader.timed_skeletons import TimedSkeletons, augmentation, times

SAMPLING = json.loads((GOLDEN_DATA / "skateformer_sampling.json").read_text(encoding="utf-8"))
FEATURES = json.loads((GOLDEN_DATA / "skateformer_features.json").read_text(encoding="utf-8"))
NTU = get_layout("ntu25_skateformer")
PLAIN = {"normalization": None, "num_persons": 2}


def count_frames(num_frames, size=300):
    """Key points whose every number is that of their frame, from 1, and 0 after `num_frames`."""
    clock = np.where(np.arange(size) < num_frames, np.arange(1, size + 1), 0).astype(np.float32)
    return np.ones((1, size, 25, 3), np.float32) * clock[:, None, None]


def write(folder, keypoints, labels=None):
    """Write a skeleton pkl of samples s0, s1, ...; return its path."""
    annotations = [
        {"frame_dir": f"s{place}", "label": labels[place] if labels else 0, "keypoint": keypoint, "total_frames": 1}
        for place, keypoint in enumerate(keypoints)
    ]
    for annotation in annotations:
        annotation["total_frames"] = annotation["keypoint"].shape[1]
    path = folder / "set.pkl"
    names = [annotation["frame_dir"] for annotation in annotations]
    path.write_bytes(pickle.dumps({"split": {"all": names}, "annotations": annotations}))
    return str(path)


def read_order(array):
    """Bring the authors' (C, T, V, M) into ours, (M, T, V, C)."""
    return np.array(array, np.float32).transpose(3, 1, 2, 0)


def draw_body(seed=0, frames=70, persons=2):
    return 1 + np.random.default_rng(seed).random((persons, frames, 25, 3), np.float32)


# Against the authors.


@pytest.mark.parametrize("case", SAMPLING["test"], ids=lambda case: f"{case['valid']} frames")
def test_frames_and_times_of_evaluation_are_the_authors(case, tmp_path):
    for size in {300, case["valid"] + 1}:  # however many empty frames follow
        reader = TimedSkeletons(write(tmp_path, [count_frames(case["valid"], size)]), "all", "test", **PLAIN)
        inputs = reader[0, 0]["inputs"]
        np.testing.assert_allclose(inputs["skeleton"][0, 0, :, 0, 0], case["data"], rtol=1e-5, atol=1e-4)
        np.testing.assert_allclose(inputs["time_index"][0], case["index_t"], rtol=0, atol=1e-6)


@pytest.mark.parametrize("case", SAMPLING["train"], ids=lambda case: f"seed {case['numpy_legacy_seed']}")
def test_frames_and_times_of_training_are_the_authors(case):
    rng = sampling.LegacyGenerator(case["numpy_legacy_seed"])
    moments = times.draw_times(case["valid"], 64, [0.5, 1.0], rng)
    frames = times.interpolate(count_frames(case["valid"]), moments)[0, :, 0, 0]
    np.testing.assert_allclose(frames, case["data"], rtol=1e-5)
    np.testing.assert_allclose(2 * moments / case["valid"] - 1, case["index_t"], rtol=0, atol=1e-6)


@pytest.mark.parametrize("case", SAMPLING["ucla_test"], ids=lambda case: f"{case['frames']} frames")
def test_frames_and_times_of_nw_ucla_are_the_authors(case, tmp_path):
    keypoint = count_frames(case["frames"], case["frames"])[:, :, :20]
    options = {"normalization": None, "num_persons": 1, "layout": "ucla20", "sampling": "ordered"}
    inputs = TimedSkeletons(write(tmp_path, [keypoint]), "all", "test", **options)[0, 0]["inputs"]
    assert (inputs["skeleton"][0, 0, :, 0, 0] - 1).tolist() == case["index"]
    np.testing.assert_allclose(inputs["time_index"][0], case["index_t"], rtol=0, atol=1e-6)


@pytest.mark.parametrize("stream, key", [("bone", "bone"), ("joint_motion", "motion"), ("bone_motion", "bone_motion")])
def test_streams_are_the_authors_before_their_joints_are_put_in_order(stream, key, monkeypatch):
    reader = TimedSkeletons(None, mode="test", stream=stream, clip_len=3, normalization=None)
    np.testing.assert_allclose(reader._make_stream(read_order(FEATURES["input"])), read_order(FEATURES[key]), atol=1e-5)


def test_joints_of_the_partition_leave_in_its_order(tmp_path):
    body = read_order(FEATURES["input"])
    reader = TimedSkeletons(write(tmp_path, [body]), "all", "test", clip_len=3, **PLAIN, crop_ratio=1.0)
    view = reader[0, 0]["inputs"]["skeleton"][0]
    np.testing.assert_array_equal(view, body[:, :, FEATURES["order_ntu"]])
    weighted = (view * np.arange(1, 25, dtype=np.float32)[:, None]).sum(axis=2).transpose(2, 1, 0)  # (C, T, M)
    np.testing.assert_allclose(weighted, FEATURES["joint_in_order_sum_check"], atol=1e-3)
    spread = reader.spread_joints(view[..., 0])
    np.testing.assert_array_equal(spread[..., FEATURES["order_ntu"]], view[..., 0])
    assert spread.shape == (2, 3, 25) and not spread[..., 20].any()


def test_lengths_of_bones_are_exchanged_as_by_the_authors():
    body, other = read_order(FEATURES["input"]), read_order(FEATURES["other"])
    changed = augmentation.exchange_bone_lengths(body, other, NTU)
    np.testing.assert_allclose(changed, read_order(FEATURES["bone_lengths_of_other"]), rtol=1e-4, atol=1e-5)


# Laws.


def test_inputs_have_the_shapes_that_are_said(tmp_path):
    assert READERS["timed_skeletons"] is TimedSkeletons
    reader = TimedSkeletons(write(tmp_path, [draw_body()]), "all", "test", **PLAIN)
    inputs = reader[0, 0]["inputs"]
    assert inputs["skeleton"].shape == (1, 2, 64, 24, 3) and inputs["time_index"].shape == (1, 64)
    assert {array.dtype.name for array in inputs.values()} == {"float32"}
    prepared = reader.prepare(inputs)
    assert {name: list(array.shape[1:]) for name, array in prepared.items()} == reader.input_shape
    noise = reader.draw_noise(3, np.random.default_rng(0))
    assert {name: array.shape[1:] for name, array in noise.items()} == {
        name: array.shape[1:] for name, array in inputs.items()
    }
    without = TimedSkeletons(write(tmp_path, [draw_body()]), "all", "test", time_index=False, **PLAIN)
    assert list(without[0, 0]["inputs"]) == list(without.input_shape) == list(without.prepare(inputs)) == ["skeleton"]


def test_views_are_located_where_their_frames_are(tmp_path):
    reader = TimedSkeletons(write(tmp_path, [count_frames(100, 100)]), "all", "test", **PLAIN)
    frames = reader.locate_views(0)["skeleton"][0].frames
    np.testing.assert_array_equal(frames, reader[0, 0]["inputs"]["skeleton"][0, 0, :, 0, 0] - 1)


def change(name, body=None, dropped=(5, 15), seed=0):
    body = draw_body(frames=64) if body is None else body
    return augmentation.AUGMENTATIONS[name](body, NTU, dropped, np.random.default_rng(seed))


def test_each_augmentation_does_what_it_says():
    body = draw_body(frames=64)
    np.testing.assert_array_equal(change("swap_persons"), body[::-1])
    swapped = change("swap_sides")
    np.testing.assert_array_equal(swapped[:, :, 4], body[:, :, 8])
    np.testing.assert_array_equal(swapped[:, :, 20], body[:, :, 20])
    np.testing.assert_allclose(np.linalg.norm(change("rotate"), axis=3), np.linalg.norm(body, axis=3), rtol=1e-5)
    assert sum(np.allclose(change("rotate")[..., axis], body[..., axis]) for axis in range(3)) == 1
    ratios = change("scale") / body
    np.testing.assert_allclose(ratios, ratios[:1, :1, :1] * np.ones_like(ratios), rtol=1e-5)
    assert 0.8 <= ratios.min() < ratios.max() <= 1.2
    flat = change("drop_axis")
    assert sorted((flat == 0).all(axis=(0, 1, 2))) == [False, False, True]
    unit = change("shear", np.eye(3, dtype=np.float32)[None, None])[0, 0]
    np.testing.assert_array_equal(np.diag(unit), 1)
    assert 0 < np.abs(unit - np.eye(3)).max() <= 0.5


def test_dropped_joints_are_as_many_as_said_in_as_many_frames():
    counts = set()
    for seed in range(40):
        hidden = (change("drop_joints", dropped=[4, 6], seed=seed) == 0).all(axis=3)
        assert (hidden[0] == hidden[1]).all()
        frames, joints = np.flatnonzero(hidden[0].any(axis=1)), np.flatnonzero(hidden[0].any(axis=0))
        assert 16 <= len(frames) <= 32 and hidden[0][frames][:, joints].all()
        counts.add(len(joints))
    assert counts == {4, 5, 6}


def test_shares_of_augmented_samples_are_kept(tmp_path):
    bodies = [draw_body(seed) for seed in range(2)]
    path = write(tmp_path, [bodies[0], 2 * bodies[1]], labels=[0, 0])
    options = {**PLAIN, "sampling": "ordered", "augmentations": ["drop_axis", "drop_axis"]}

    def count(**ratios):
        reader = TimedSkeletons(path, "all", "train", **options, **ratios)
        views = [reader[epoch, 0]["inputs"]["skeleton"][0] for epoch in range(60)]
        flat = sum(bool((view == 0).all(axis=(0, 1, 2)).any()) for view in views)
        long = sum(bool(view.max() > 2.001 and view.all()) for view in views)
        return flat, long

    assert count() == (0, 0)
    flat, others = count(intra_ratio=1.0)
    assert 35 < flat < 55 and others == 0  # three of four: either of the two changes
    flat, others = count(inter_ratio=1.0)
    assert flat == 0 and 15 < others < 45  # the other one is one of two


def test_a_sample_is_augmented_by_one_of_its_class_alone(tmp_path):
    path = write(tmp_path, [draw_body(0), 5 * draw_body(1)], labels=[0, 1])
    reader = TimedSkeletons(path, "all", "train", inter_ratio=1.0, sampling="ordered", **PLAIN)
    assert max(reader[epoch, 0]["inputs"]["skeleton"].max() for epoch in range(20)) < 4


def test_the_same_seed_gives_the_same_sample_and_evaluation_draws_nothing(tmp_path):
    path = write(tmp_path, [draw_body(), draw_body(1)])
    options = {**PLAIN, "intra_ratio": 0.5, "inter_ratio": 0.5}
    first, again, other = (TimedSkeletons(path, "all", "train", seed=seed, **options) for seed in (1, 1, 2))
    arrays = [reader[3, 0]["inputs"]["skeleton"] for reader in (first, again, other)]
    np.testing.assert_array_equal(arrays[0], arrays[1])
    assert not np.array_equal(arrays[0], arrays[2])
    tests = [TimedSkeletons(path, "all", "test", seed=seed, **options)[0, 0]["inputs"] for seed in (1, 2)]
    np.testing.assert_array_equal(tests[0]["skeleton"], tests[1]["skeleton"])


@pytest.mark.parametrize(
    "options, message",
    [
        (
            {"layout": "coco17"},
            "layout 'coco17' has no partition of its joints; set READER.layout to",
        ),
        ({"sampling": "window"}, "reader timed_skeletons: sampling is 'window', expected one of crop_uniform, ordered"),
        ({"num_clips": 3}, "num_clips is 3, expected 1: a recording has one clip"),
        ({"augmentations": ["flip"]}, r"augmentations is \['flip'\], expected some of swap_persons, shear"),
        ({"dropped_joints": [5, 3]}, r"dropped_joints is \[5, 3\], expected \[least, greatest\]"),
        ({"intra_ratio": 0.5, "inter_ratio": 0.6}, "inter_ratio is 0.6, expected at most 0.5"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        TimedSkeletons(None, mode="test", **options)


def test_two_coordinates_are_read_but_not_augmented(tmp_path):
    path = write(tmp_path, [draw_body()[..., :2]])
    assert TimedSkeletons(path, "all", "test", **PLAIN)[0, 0]["inputs"]["skeleton"].shape == (1, 2, 64, 24, 3)
    with pytest.raises(ValueError, match="intra_ratio is 0.1, expected 0, .* three coordinates"):
        TimedSkeletons(path, "all", "train", intra_ratio=0.1, **PLAIN)
