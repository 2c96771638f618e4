"""Normalisations, streams, samplings and augmentations: what the authors' code gives, and answers by hand."""

import json
import math

import numpy as np
import pytest
from paths import GOLDEN_DATA

from layouts import LAYOUTS, get_layout
from reader import sampling, streams
from reader import skeleton_clips as clips
from reader import skeleton_transforms as transforms

NTU, KINETICS, HDM05 = get_layout("ntu25"), get_layout("openpose18"), get_layout("hdm05")
CLOSE = {"rtol": 1e-5, "atol": 2e-6}


def load(name):
    """Read a file of golden data."""
    path = GOLDEN_DATA / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8"))


def read(values, axes=None):
    """Turn nested lists into float32, axes such as "CTVM" into (M, T, V, C)."""
    array = np.array(values, np.float32)
    return array if axes is None else array.transpose([axes.index(axis) for axis in "MTVC"])


def draw(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def agree(ours, theirs, **tolerance):
    assert ours.shape == theirs.shape and ours.dtype == np.float32
    np.testing.assert_allclose(ours, theirs, **(tolerance or CLOSE))


# Normalisations.


@pytest.mark.parametrize("case", load("pyskl_prenormalize3d")["cases"], ids=lambda case: case["name"])
def test_pyskl_3d(case):
    ours = transforms.normalize_pyskl_3d(read(case["input"]), NTU, case["args"].get("align_spine", True))
    agree(ours, read(case["output"]))


@pytest.mark.parametrize("sample", range(4))
def test_msg3d(sample):
    file = load("msg3d_pre_normalization")
    ours = transforms.normalize_msg3d(read(file["input"][sample], "CTVM"), NTU)
    agree(ours, read(file["output"][sample], "CTVM"), rtol=1e-5, atol=1e-5)


def test_infogcn_puts_each_person_in_its_own_axes():
    keypoint = draw(2, 4, 25, 3)
    aligned = transforms.normalize_infogcn(keypoint, NTU)
    centred = keypoint - keypoint[0, 0, 1]
    for person, source in zip(aligned, centred, strict=True):
        spine, hips = person[0, 1] - person[0, 0], person[0, 12] - person[0, 16]
        np.testing.assert_allclose(spine[:2], 0, atol=1e-5)
        np.testing.assert_allclose(hips[1], 0, atol=1e-5)
        assert spine[2] > 0 and hips[0] > 0
        np.testing.assert_allclose(np.linalg.norm(person, axis=-1), np.linalg.norm(source, axis=-1), rtol=1e-5)
        np.testing.assert_allclose(*(np.sign(np.linalg.det(one[1, 5:8])) for one in (person, -source)))


def test_infogcn_zeroes_a_person_without_a_spine():
    keypoint = draw(3, 4, 25, 3)
    keypoint[1, 0] = 0
    keypoint[2, 0, 12] = keypoint[2, 0, 16]
    aligned = transforms.normalize_infogcn(keypoint, NTU)
    assert aligned[0].any() and not aligned[1:].any()


def test_center_takes_the_first_frame_that_is_not_empty():
    keypoint = draw(2, 4, 25, 3)
    keypoint[0, 0], keypoint[1, 2], keypoint[0, 3, 7] = 0, 0, 0
    centred = transforms.center(keypoint, NTU)
    agree(centred[0, 1], keypoint[0, 1] - keypoint[0, 1, 1])
    agree(centred[1, 3], keypoint[1, 3] - keypoint[0, 1, 1])
    assert not centred[0, 0].any() and not centred[1, 2].any() and not centred[0, 3, 7].any()


def test_the_centre_of_the_first_frame_is_scaled_to_the_box_too():
    """As CTR-GCN does it: subtract the centre joint of the first frame, then scale all joints of all frames."""
    ucla = get_layout("ucla20")
    keypoint = 5 + draw(1, 4, 20, 3)
    centred = keypoint - keypoint[0, 0, ucla.joints.index("spine")]
    low, high = centred.min(axis=(0, 1, 2)), centred.max(axis=(0, 1, 2))
    agree(transforms.normalize_box(transforms.center_for_box(keypoint, ucla)), (centred - low) / (high - low) * 2 - 1)
    keypoint[0, 2, 3] = 0
    assert not transforms.center_for_box(keypoint, ucla)[0, 2, 3].any()


def test_box_spans_minus_one_to_one_without_the_missing():
    keypoint = 5 + draw(1, 4, 20, 3)
    keypoint[0, 2, 3] = 0
    box = transforms.normalize_box(keypoint)
    np.testing.assert_allclose(box.min(axis=(0, 1, 2)), -1, atol=1e-6)
    np.testing.assert_allclose(box.max(axis=(0, 1, 2)), 1, atol=1e-6)
    assert not box[0, 2, 3].any() and (box != 0).sum() == 4 * 20 * 3 - 3
    flat = transforms.normalize_box(np.ones((1, 2, 3, 3), np.float32))
    assert np.array_equal(flat, np.full((1, 2, 3, 3), -1))


def test_pyskl_2d_by_hand():
    keypoint = np.array([[[[320, 120, 0.9], [0, 0, 0.5], [640, 240, 0.01]]]], np.float32)
    expected = [[0, 0, 0.9], [-1, -1, 0.5], [0, 0, 0.01]]
    agree(transforms.normalize_pyskl_2d(keypoint, (240, 640))[0, 0], read(expected))
    expected[1] = [0, 0, 0.5]
    agree(transforms.NORMALIZATIONS["pyskl_2d"](keypoint, None, (240, 640), 0.5)[0, 0], read(expected))


def test_pyskl_2d_auto_by_hand():
    keypoint = np.array([[[[20, 100, 0.9], [60, 300, 0.5], [50, 100, 0.2], [500, 9, 0.0]]]], np.float32)
    expected = [[-1, -1, 0.9], [1, 1, 0.5], [0.5, -1, 0.2], [0, 0, 0]]
    agree(transforms.normalize_pyskl_2d_auto(keypoint)[0, 0], read(expected))
    small = keypoint * [0.1, 0.1, 1]  # its x has a range of 4
    agree(transforms.normalize_pyskl_2d_auto(small.astype(np.float32))[0, 0, :3], small[0, 0, :3].astype(np.float32))


def test_pyskl_2d_auto_leaves_out_what_is_not_above_the_threshold():
    keypoint = np.array([[[[20, 100, 0.9], [60, 300, 0.5], [50, 100, 0.2], [500, 9, 0.0]]]], np.float32)
    found = transforms.NORMALIZATIONS["pyskl_2d_auto"](keypoint, None, None, 0.2)[0, 0]
    agree(found, read([[-1, -1, 0.9], [1, 1, 0.5], [0, 0, 0.2], [0, 0, 0]]))


def test_kinetics_by_hand():
    keypoint = np.array([[[[160, 60, 0.9], [0, 0, 0.0]]]], np.float32)
    agree(transforms.normalize_kinetics(keypoint, (240, 640))[0, 0], read([[-0.25, -0.25, 0.9], [0, 0, 0]]))
    agree(transforms.normalize_kinetics(keypoint, (240, 640), True)[0, 0], read([[-0.25, 0.25, 0.9], [0, 0, 0]]))


@pytest.mark.parametrize("name", transforms.NORMALIZATIONS)
@pytest.mark.parametrize("persons", [1, 2])
def test_a_recording_without_a_joint_stays_zero(name, persons):
    empty = np.zeros((persons, 5, 25, 3), np.float32)
    normal = transforms.NORMALIZATIONS[name](empty, NTU, (240, 320))
    assert normal.shape == empty.shape and not normal.any()
    assert not transforms.normalize_box(empty).any()


def test_only_layouts_with_a_spine_are_turned_upright():
    assert [transforms.find_centre(get_layout(name)) for name in ("ntu25", "ucla20", "openpose18", "coco17")] == [
        1,
        1,
        1,
        0,
    ]
    for name in ("ntu25", "ucla20"):
        assert transforms.find_pair(transforms.SPINES, get_layout(name)) == (0, 1)
        assert transforms.find_pair(transforms.SHOULDERS, get_layout(name)) == (8, 4)
    with pytest.raises(
        ValueError, match="layout 'coco17' has none of the joint pairs spine_base - spine_mid, hip_centre"
    ):
        transforms.normalize_pyskl_3d(draw(1, 3, 17, 3), LAYOUTS["coco17"])


def test_vectors_along_the_target_are_not_turned():
    for vector in ([0, 0, 2.0], [0, 0, -2.0], [0, 0, 0]):
        assert np.array_equal(transforms.rotate_onto(np.array(vector), transforms.Z_AXIS), np.eye(3))


# Streams.


@pytest.mark.parametrize("place", range(6))
def test_pyskl_streams(place):
    file = load("pyskl_gen_ske_feat")
    case = file["cases"][place]
    joints, pairs = read(case["input"]), file["pairs_0based (joint,parent)"][case["dataset"]]
    if "keypoint_score" in case:
        joints = np.concatenate([joints, read(case["keypoint_score"])[..., None]], axis=3)
    average = joints.shape[3] == 3 and case["dataset"] != "nturgb+d"
    in_motion = average and case["dataset"] != "handmp"  # of hands PYSKL's motions have a difference of scores
    bones = streams.make_bones(joints, tuple(parent for _, parent in sorted(pairs)), average)
    every = {
        "j": joints,
        "b": bones,
        "jm": streams.make_motion(joints, in_motion),
        "bm": streams.make_motion(bones, in_motion),
    }
    ours = np.concatenate([every[name] for name in case["feats"]], axis=-1)
    agree(ours, read(case["output (concatenated on the last axis)"]))
    layouts = {"nturgb+d": "ntu25", "coco": "coco17", "openpose": "openpose18"}
    if case["dataset"] in layouts and joints.shape[3] == 3:
        names = {"j": "joint", "b": "bone", "jm": "joint_motion", "bm": "bone_motion"}
        stream = "+".join(names[name] for name in case["feats"])
        layout = get_layout(layouts[case["dataset"]])
        assert np.array_equal(streams.make_stream(joints, stream, layout, average), ours)
        assert streams.count_channels(stream, layout) == ours.shape[-1]


@pytest.mark.parametrize("kind, layout", [("ntu", NTU), ("kinetics", KINETICS)], ids=["ntu", "kinetics"])
def test_msg3d_bones(kind, layout):
    file = load("msg3d_bone")
    for joints, bones in zip(file[f"{kind}_input"], file[f"{kind}_bone"], strict=True):
        agree(streams.make_stream(read(joints, "CTVM"), "bone", layout), read(bones, "CTVM"))


@pytest.mark.parametrize("kind, layout", [("ntu", NTU), ("hdm05", HDM05)], ids=["ntu", "hdm05"])
def test_pbgcn_signals(kind, layout):
    file = load("pbgcn_signals")
    joints = read(file[f"{kind}_input"], "CTVM")
    relative = next(file[key] for key in file if key.startswith(f"{kind}_relative_coords"))
    theirs = np.concatenate([read(file[f"{kind}_displacement"], "CTVM"), read(relative, "CTVM")], axis=-1)
    agree(streams.make_stream(joints, "displacement+relative", layout), theirs)
    assert streams.count_channels("displacement+relative", layout) == 15


def test_pbgcn_angles():
    file = load("pbgcn_signals_angles")
    joints = read(file["input"], "CTVM")
    # The file was computed in float64; a displacement of a tenth of a millimetre turns by 0.01 degrees in float32.
    oriented = streams.make_stream(joints, "oriented_displacement", NTU)
    agree(oriented, read(file["oriented_displacements_deg"], "CTVM"), rtol=0, atol=0.02)
    relative = streams.make_stream(joints, "relative_angles", NTU)
    agree(relative[..., :6], read(file["relative_angles_deg (first 6 of 12 channels)"], "CTVM"), rtol=0, atol=1e-3)
    assert relative.shape[-1] == streams.count_channels("relative_angles", NTU) == 12


def test_vectors_reach_k_joints_inward():
    joints = draw(1, 2, 25, 3)
    first, second, eighth = (streams.make_stream(joints, f"vector{steps}", NTU) for steps in (1, 2, 8))
    agree(first[:, :, 3], joints[:, :, 3] - joints[:, :, 2])
    agree(second[:, :, 3], joints[:, :, 3] - joints[:, :, 20])
    agree(second[:, :, 0], joints[:, :, 0])  # one step from spine_mid, InfoGCN's root
    agree(eighth, joints)
    agree(streams.make_stream(joints, "vector1_motion", NTU), streams.make_motion(first))


@pytest.mark.parametrize("name", streams.STREAMS)
def test_streams_of_nobody_and_of_one_frame(name):
    for num_frames in (1, 3):
        nobody = streams.make_stream(np.zeros((2, num_frames, 25, 3), np.float32), name, NTU)
        assert nobody.shape == (2, num_frames, 25, streams.count_channels(name, NTU)) and not nobody.any()
    once = streams.make_stream(draw(2, 1, 25, 3), name, NTU)
    assert np.isfinite(once).all() and once.any() == ("motion" not in name and "displacement" not in name)


def test_unknown_streams_are_refused():
    with pytest.raises(ValueError, match="stream is 'joints', expected some of joint, joint_motion, bone, "):
        streams.count_channels("joints", NTU)
    bare = get_layout("ntu25").__class__(**{**vars(NTU), "reference_joints": ()})
    with pytest.raises(ValueError, match="stream relative needs reference_joints, layout 'ntu25' has none"):
        streams.count_channels("relative", bare)


# Sampling.


@pytest.mark.parametrize(
    "case", load("pyskl_uniform_sample")["cases"], ids=lambda c: f"{c['clip_len']}-{c['num_clips']}"
)
def test_pyskl_uniform_clips(case):
    crop_ratio = case.get("p_interval", (1, 1))
    ours = sampling.place_uniform_clips(case["total_frames"], case["clip_len"], case["num_clips"], crop_ratio)
    assert ours.shape == (case["num_clips"], case["clip_len"]) and ours.reshape(-1).tolist() == case["frame_inds"]


def test_pyskl_uniform_clips_with_a_drawn_start():
    for case in load("pyskl_uniform_sample")["UniformSampleDecode_test"]:
        arguments = (case["total_frames"], case["clip_len"], case["num_clips"])
        ours = sampling.place_uniform_clips(*arguments, draw_start=True)
        assert ours.reshape(-1).tolist() == case["frame_inds"]


def test_pyskl_uniform_clips_of_training():
    for case in load("pyskl_uniform_sample")["train_mode"]:
        rng = sampling.LegacyGenerator(case["numpy_legacy_seed"])
        ours = sampling.draw_uniform_clip(case["total_frames"], case["clip_len"], rng)
        assert ours.tolist() == case["frame_inds"]


@pytest.mark.parametrize("num_frames", [1, 7, 16, 20, 40, 300])
def test_uniform_clips_run_forward_within_their_crop(num_frames):
    rng, seen, starts = np.random.default_rng(0), set(), set()
    for _ in range(1000):
        clip = sampling.draw_uniform_clip(num_frames, 16, rng, (0.5, 0.8))
        assert clip.min() >= 0 and clip.max() < num_frames
        assert num_frames < 40 or (0 < np.diff(clip)).all() and clip.max() - clip.min() < int(0.8 * num_frames)
        seen.update(clip.tolist())
        starts.add(int(clip[0]))
    assert len(seen) > 0.98 * num_frames and len(starts) >= min(num_frames, 7)


@pytest.mark.parametrize("place", range(4))
def test_ctrgcn_resizes_the_centre(place):
    case = load("ctrgcn_valid_crop_resize")["cases"][place]
    keypoint, window = read(case["input"], "CTVM"), case["window"]
    (start,), length = clips.place_crops(case["valid_frame_num"], case["p_interval"][0])
    agree(clips.crop_and_resize(keypoint, start, length, window), read(case["output"], "CTVM"))


def test_ctrgcn_draws_a_crop():
    for case in load("ctrgcn_valid_crop_resize")["train_crop"]["cases"]:
        ramp = np.arange(case["valid"], dtype=np.float32).reshape(1, -1, 1, 1)
        crop = clips.draw_crop(case["valid"], [0.5, 1.0], sampling.LegacyGenerator(case["numpy_legacy_seed"]))
        assert crop == (case["bias"], case["cropped_length"])
        np.testing.assert_allclose(clips.crop_and_resize(ramp, *crop, 64).reshape(-1), case["output"], rtol=1e-6)


def test_several_crops_spread_over_what_one_leaves():
    assert clips.place_crops(100, 0.75) == ([12], 76)
    assert clips.place_crops(100, 0.75, 2) == ([6, 18], 76)
    assert clips.place_crops(100, 1.0, 3) == ([0, 0, 0], 100)


def test_feeder_tools():
    file = load("feeder_tools")
    keypoint = read(file["input"], "CTVM")
    assert np.array_equal(clips.cut_window(keypoint, 0, 16)[0, :, 0, 0], read(file["auto_pading size 16"]))
    shifted = file["random_shift"]
    agree(clips.shift(keypoint, shifted["bias (python random.randint(0,T-size))"]), read(shifted["output"], "CTVM"))
    cut, padded = file["random_choose size 5"], file["random_choose size 20 (pad)"]
    assert np.array_equal(clips.cut_window(keypoint, cut["begin"], 5)[:, :, 0, 0].T, read(cut["output_ch0_j0"]))
    assert np.array_equal(clips.cut_window(keypoint, -padded["begin"], 20)[:, :, 0, 0].T, read(padded["output_ch0_j0"]))
    moved = file["random_move"]
    ours = clips.move(keypoint, moved["angle_deg"], moved["scale"], moved["tx"], moved["ty"])
    agree(ours, read(moved["output"], "CTVM"))


def test_pbgcn_transforms():
    keypoint, file = read(load("pbgcn_signals")["ntu_input"], "CTVM"), load("pbgcn_transforms")
    shifted = file["RandomTemporalShift"]
    ours = clips.shift(keypoint, shifted["start (np.random.randint(0,T-size))"])
    assert np.array_equal(ours[:, :, 0, 0].T, read(shifted["output_x_joint0"]))
    padded = clips.cut_window(keypoint, 0, 12)
    assert np.array_equal(padded[:, :, 0, 0].T, read(file["PadSequence 12 -> x joint0"]))


def test_a_random_shift_starts_wherever_the_frames_fit():
    keypoint, rng = np.zeros((1, 10, 25, 3), np.float32), np.random.default_rng(0)
    keypoint[:, 2:5] = draw(1, 3, 25, 3)
    shifted = [clips.draw_shift(keypoint, rng) for _ in range(200)]
    starts = [clips.find_used_range(clip)[0] for clip in shifted]
    assert set(starts) == set(range(8))
    assert all(np.array_equal(clip[:, s : s + 3], keypoint[:, 2:5]) for clip, s in zip(shifted, starts, strict=True))


def test_loops_repeat_the_recording():
    keypoint = np.arange(3, dtype=np.float32).reshape(1, 3, 1, 1)
    assert clips.cut_window(keypoint, 0, 8, "loop").reshape(-1).tolist() == [0, 1, 2, 0, 1, 2, 0, 1]
    assert clips.cut_window(keypoint, -1, 3, "loop").reshape(-1).tolist() == [2, 0, 1]


# Augmentation.


def test_rotation_order_is_x_then_y_then_z():
    quarter = np.pi / 2
    np.testing.assert_allclose(clips.make_rotation(quarter, 0, 0) @ [0, 1, 0], [0, 0, 1], atol=1e-12)
    np.testing.assert_allclose(clips.make_rotation(0, quarter, 0) @ [0, 0, 1], [1, 0, 0], atol=1e-12)
    np.testing.assert_allclose(clips.make_rotation(0, 0, quarter) @ [1, 0, 0], [0, 1, 0], atol=1e-12)
    np.testing.assert_allclose(clips.make_rotation(quarter, quarter, 0) @ [0, 1, 0], [1, 0, 0], atol=1e-12)


def test_drawn_matrices_keep_their_bounds():
    rng = np.random.default_rng(0)
    angles, scales, shears, flat = [], [], [], []
    for _ in range(500):
        turned = clips.draw_matrix([0, 0, 0.3], 0, 0, 3, rng)
        angles.append(np.arctan2(turned[1, 0], turned[0, 0]))
        assert np.allclose(turned @ turned.T, np.eye(3))
        scales.append(np.diag(clips.draw_matrix([0, 0, 0], 0.2, 0, 3, rng)))
        sheared = clips.draw_matrix([0, 0, 0], 0, 0.5, 3, rng)
        shears.append(sheared[np.triu_indices(3, 1)])
        assert np.array_equal(np.diag(sheared), [1, 1, 1])
        flat.append(clips.draw_matrix([9, 9, 0.3], 0.2, 0.5, 2, rng))
    for values, bound, middle in ((angles, 0.3, 0), (scales, 0.2, 1), (shears, 0.5, 0)):
        apart = np.abs(np.array(values) - middle).max(axis=0)
        assert (apart <= bound).all() and (apart > 0.95 * bound).all()
    assert all(np.array_equal(one[2], [0, 0, 1]) and not one[:2, 2].any() for one in flat)


def test_each_coordinate_has_its_own_scale():
    """RandomScale with a tuple: 1 + uniform(-1, 1) * scale, one for each coordinate."""
    drawn = [np.diag(clips.draw_matrix([0, 0, 0], [0.5, 0.0, 0.1], 0, 3, np.random.default_rng(s))) for s in range(500)]
    apart = np.abs(np.array(drawn) - 1).max(axis=0)
    assert (apart <= [0.5, 0, 0.1]).all() and (apart >= [0.47, 0, 0.094]).all()
    same = [clips.draw_matrix([0, 0, 0], scale, 0, 3, np.random.default_rng(0)) for scale in (0.2, [0.2, 0.2, 0.2])]
    assert np.array_equal(*same)
    flat = clips.draw_matrix([0, 0, 0], [0.5, 0.1], 0, 2, np.random.default_rng(1))
    assert np.array_equal(flat[2], [0, 0, 1]) and (np.abs(np.diag(flat)[:2] - 1) <= [0.5, 0.1]).all()


def test_each_joint_is_missing_in_its_share_of_the_clips_in_all_frames():
    rng, keypoint = np.random.default_rng(0), np.ones((2, 3, 5, 3), np.float32)
    dropped = np.stack([clips.drop_joints(keypoint, 0.3, rng) for _ in range(1000)])
    assert dropped.dtype == np.float32 and ((dropped == 0) | (dropped == 1)).all()
    assert (dropped == dropped[:, :1, :1, :, :1]).all()  # alike in persons, frames and channels
    # One joint of five is drawn and stays; each other one is missing three times of ten.
    assert np.allclose(1 - dropped[:, 0, 0, :, 0].mean(axis=0), 0.3 * 4 / 5, atol=0.05)
    assert clips.drop_joints(keypoint, 0.999, rng).any() and keypoint.all()


def test_frames_are_left_out_in_their_share_and_keep_their_order():
    rng, keypoint = np.random.default_rng(0), np.arange(1000.0)[None, :, None, None]
    kept = clips.drop_frames(keypoint, 0.3, rng)
    assert 650 <= kept.shape[1] <= 750 and (np.diff(kept[0, :, 0, 0]) > 0).all()
    assert clips.drop_frames(keypoint[:, :3], 0.999, rng).shape[1] == 1


def test_mirrored_bodies_swap_left_and_right():
    keypoint = draw(1, 2, 25, 3)
    mirrored = clips.mirror(keypoint, NTU)
    left, right = NTU.joints.index("left_knee"), NTU.joints.index("right_knee")
    agree(mirrored[:, :, left], keypoint[:, :, right] * np.float32([-1, 1, 1]))
    assert np.array_equal(clips.mirror(mirrored, NTU), keypoint)


def find_lengths(keypoint, num_coordinates=3):
    """The lengths of NTU's bones, (M, T, V)."""
    return np.linalg.norm(streams.make_bones(keypoint[..., :num_coordinates], NTU.parents), axis=3)


def test_bones_are_joined_again():
    joints = draw(2, 3, 25, 3)
    bones = streams.make_bones(joints, NTU.parents)
    (root,) = (joint for joint, parent in enumerate(NTU.parents) if joint == parent)
    bones[:, :, root] = joints[:, :, root]
    agree(streams.join_bones(bones, NTU), joints)


@pytest.mark.parametrize("num_coordinates", [2, 3])
def test_bones_get_other_lengths_and_keep_their_directions(num_coordinates):
    keypoint = draw(2, 4, 25, 3)
    if num_coordinates == 2:
        keypoint[..., 2] = np.abs(keypoint[..., 2])  # a score
    changed = clips.draw_bones(keypoint, 0.3, num_coordinates, NTU, np.random.default_rng(0))
    assert changed.dtype == np.float32 and np.array_equal(
        changed[..., num_coordinates:], keypoint[..., num_coordinates:]
    )
    before, after = find_lengths(keypoint, num_coordinates), find_lengths(changed, num_coordinates)
    bones = [joint for joint, _ in NTU.bones]
    factors = after[..., bones] / before[..., bones]  # (M, T, bones)
    assert np.allclose(factors, factors[:, :1], rtol=1e-4)  # the same in all frames
    assert not np.allclose(factors[0], factors[1], atol=0.01)  # persons differ
    lengthened = streams.make_bones(keypoint, NTU.parents)[:, :, bones, :num_coordinates] * factors[..., None]
    np.testing.assert_allclose(
        streams.make_bones(changed, NTU.parents)[:, :, bones, :num_coordinates], lengthened, atol=1e-5
    )
    left, right = NTU.joints.index("left_knee"), NTU.joints.index("right_knee")
    assert np.allclose(after[..., left] / before[..., left], after[..., right] / before[..., right], rtol=1e-4)
    (root,) = (joint for joint, parent in enumerate(NTU.parents) if joint == parent)
    assert np.array_equal(changed[:, :, root], keypoint[:, :, root])


def test_factors_of_bones_keep_their_bounds():
    keypoint, rng = draw(1, 1, 25, 3), np.random.default_rng(0)
    bones, before = [joint for joint, _ in NTU.bones], find_lengths(keypoint)
    drawn = np.stack([find_lengths(clips.draw_bones(keypoint, 0.2, 3, NTU, rng)) for _ in range(300)])
    apart = np.abs(drawn[..., bones] / before[..., bones] - 1).max(axis=0)
    assert (apart < 0.2 + 1e-4).all() and (apart > 0.19).all()


def test_bones_with_a_missing_end_keep_their_lengths():
    keypoint = draw(1, 3, 25, 3)
    elbow, wrist, hand = (NTU.joints.index(f"left_{name}") for name in ("elbow", "wrist", "hand"))
    keypoint[0, 1, wrist] = 0
    changed = clips.draw_bones(keypoint, 0.3, 3, NTU, np.random.default_rng(0))
    assert not changed[0, 1, wrist].any() and np.isfinite(changed).all()
    shifts = changed - keypoint
    agree(shifts[0, 1, hand], shifts[0, 1, elbow])  # the forearm's length is not known, the hand goes with the elbow
    assert not np.allclose(shifts[0, 0, hand], shifts[0, 0, elbow], atol=1e-3)


def test_noise_leaves_missing_joints_and_scores():
    keypoint = draw(1, 50, 25, 3)
    keypoint[0, :, 4] = 0
    noisy = clips.add_noise(keypoint, 0.1, 2, np.random.default_rng(0))
    added = noisy - keypoint
    assert not added[0, :, 4].any() and not added[..., 2].any() and noisy.dtype == np.float32
    assert abs(np.delete(added, 4, axis=2)[..., :2].std() - 0.1) < 0.005


def draw_bodies():
    """Two persons in 200 frames of 25 joints; the box around a body is 3 x 4 x 12, so its diagonal is 13."""
    body = np.random.default_rng(0).uniform(0.1, 0.9, (25, 3)) * [3, 4, 12]
    body[0], body[1] = 0, [3, 4, 12]
    bodies = np.tile(body + 1, (2, 200, 1, 1)).astype(np.float32)
    bodies[0, 100:] += 13  # with which the box of the whole recording is 16 x 17 x 25
    bodies[1, 150:] = 0
    return bodies


@pytest.mark.parametrize("base, extent", [("frame", 13.0), ("video", math.sqrt(16**2 + 17**2 + 25**2))])
def test_noise_is_a_share_of_the_extent(base, extent):
    """RandomGaussianNoise: the length of a joint's noise is |normal| * sigma * the diagonal of the box."""
    bodies = draw_bodies()
    noise = clips.add_relative_noise(bodies, 0.01, base, False, 3, np.random.default_rng(0)) - bodies
    assert not noise[1, 150:].any()  # nobody is there
    lengths = np.linalg.norm(noise[0], axis=-1)
    assert lengths.std() ** 2 + lengths.mean() ** 2 == pytest.approx((0.01 * extent) ** 2, rel=0.05)
    assert np.abs(noise[0].mean(axis=(0, 1))).max() < 0.005 * extent  # no direction is preferred


def test_shared_noise_is_the_same_in_all_frames_and_persons():
    bodies = draw_bodies()
    noise = clips.add_relative_noise(bodies, 0.01, "video", True, 3, np.random.default_rng(0)) - bodies
    np.testing.assert_allclose(noise[0], np.broadcast_to(noise[0, :1], noise[0].shape), atol=1e-5)
    np.testing.assert_allclose(noise[1, :150], noise[0, :150], atol=1e-5)
    assert len(np.unique(np.round(noise[0, 0], 4), axis=0)) == 25


def test_relative_noise_leaves_missing_joints_and_scores():
    keypoint = draw(2, 4, 17, 3) + 3
    keypoint[0, :, 4, :2] = 0
    noise = clips.add_relative_noise(keypoint, 0.1, "frame", False, 2, np.random.default_rng(0)) - keypoint
    assert not noise[..., 2].any() and not noise[0, :, 4].any() and noise.dtype == np.float32
    assert not clips.add_relative_noise(np.zeros_like(keypoint), 0.1, "video", False, 2, np.random.default_rng(0)).any()


def test_a_drawn_move_ends_among_the_candidates():
    line = np.zeros((1, 10, 2, 3), np.float32)
    line[..., 1, 0] = 1
    ends = set()
    for seed in range(300):
        moved = clips.draw_move(line, np.random.default_rng(seed))
        for frame in (0, -1):
            origin, tip = moved[0, frame]
            angle, scale = np.degrees(np.arctan2(*(tip - origin)[1::-1])), np.linalg.norm(tip - origin)
            ends.add((round(float(angle)), round(float(scale), 1), *origin[:2].astype(float).round(1).tolist()))
    for place, candidates in enumerate([clips.MOVE_ANGLES_DEG, clips.MOVE_SCALES, *[clips.MOVE_SHIFTS] * 2]):
        assert {end[place] for end in ends} == set(candidates)
