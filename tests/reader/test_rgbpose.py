"""RGB and pose together: a dot is painted on one joint, and must stay under that joint's map whatever is drawn."""

import numpy as np
import paddle
import pytest
from numbered_videos import decode_in_order, write_numbered_video
from ramp_videos import write_frames
from small_poses import HEIGHT, WIDTH, make_annotation, write_poses

from common.files import dump_pickle, load_pickle
from reader import READERS, build_loader, sampling, transforms
from reader.rgbpose import RGBPose

SMALL = {"split": "all", "short_size": 72, "crop_size": 64, "clip_len": 8, "rgb_clip_len": 8}
DOT = 9  # the joint, left wrist; 10 is the right one
BLUE = [0, 0, 255]


def paint(keypoint, num_frames):
    """Make gray frames with a blue dot on the joint of the first person, key points in pixels of the frame."""
    frames = np.full((num_frames, HEIGHT, WIDTH, 3), 100, np.uint8)
    for frame, (x, y) in zip(frames, keypoint[0, :, DOT].round().astype(int), strict=False):
        frame[max(y - 2, 0) : max(y + 3, 0), max(x - 2, 0) : max(x + 3, 0)] = BLUE
    return frames


def write_sample(root, name="one", num_frames=8, scale=1, num_pictures=None, folder="pictures", **changes):
    """Write pictures of 90 x 160, and key points as if they had been found in `scale` times larger ones."""
    annotation = make_annotation(name, num_frames=num_frames, **changes)
    write_frames(root / folder / name, paint(annotation["keypoint"], num_pictures or num_frames), "{:05d}.png")
    annotation["keypoint"] = annotation["keypoint"] * np.float32(scale)
    annotation["img_shape"] = (HEIGHT * scale, WIDTH * scale)
    return annotation


def write_one(root, **arguments):
    """Write one sample; return the arguments of a reader of it."""
    path = write_poses(root / "poses.pkl", [write_sample(root, **arguments)])
    return {"filelist": path, "videos": str(root / "pictures"), **SMALL}


def find_dots(rgb):
    """Give the centre (x, y) of the dot in frames (T, H, W, 3)."""
    dots = []
    for frame in rgb.astype(int):
        weights = np.clip(frame[..., 2] - frame[..., 0] - 60, 0, None)
        y, x = np.indices(weights.shape)
        dots.append([(x * weights).sum() / weights.sum(), (y * weights).sum() / weights.sum()])
    return np.array(dots)


def find_peaks(maps):
    """Give the place (x, y) of the greatest value of maps (T, H, W)."""
    y, x = np.unravel_index(maps.reshape(len(maps), -1).argmax(axis=1), maps.shape[1:])
    return np.stack([x, y], axis=1)


def assert_dots_under_maps(reader, key, joint=None):
    """Check every frame of every view; maps are a quarter as large."""
    outputs = reader.prepare(reader[key]["inputs"])
    rgb, pose = reader[key]["inputs"]["rgb"], outputs["pose"].numpy()
    is_seen = []
    for view, maps in zip(rgb, pose, strict=True):
        joint_maps = maps[joint or DOT]
        dots, peaks = find_dots(view), find_peaks(joint_maps)
        inside = joint_maps.max(axis=(1, 2)) > 0.3
        is_seen.append(inside)
        assert np.abs(dots[inside] / 4 - peaks[inside]).max(initial=0) < 0.95
    return np.array(is_seen)


def test_it_has_a_name():
    assert READERS["rgbpose"] is RGBPose


# Both modalities together.


@pytest.mark.parametrize("scale", [1, 2])
def test_the_dot_stays_under_its_joint(tmp_path, scale):
    reader = RGBPose(**write_one(tmp_path, scale=scale), mode="test")
    assert assert_dots_under_maps(reader, (0, 0)).all()
    sample = reader[0, 0]["inputs"]
    assert sample["rgb"].shape == (1, 8, 64, 64, 3) and sample["rgb"].dtype == np.uint8
    assert sample["pose"].shape == (1, 2, 8, 17, 4) and sample["pose"].dtype == np.float32
    assert reader.input_shape == {"rgb": [3, 8, 64, 64], "pose": [17, 8, 16, 16]}
    assert reader.sample_bytes() == sum(array.nbytes for array in sample.values())


def test_it_stays_there_in_training_crops_and_mirrors(tmp_path):
    reader = RGBPose(**write_one(tmp_path), crop_area=[0.6, 1.0])
    seen = {False: 0, True: 0}  # frames with the dot in clips as they are, and in mirrored ones
    for epoch in range(20):
        rng = np.random.default_rng([0, epoch, 0])
        for _ in range(2):
            sampling.draw_uniform_clip(8, 8, rng, None)
        is_mirrored = reader._draw_framing(reader.entries[0].keypoint, (HEIGHT, WIDTH), 64, rng).is_mirrored
        seen[is_mirrored] += assert_dots_under_maps(reader, (epoch, 0), DOT + 1 if is_mirrored else DOT).sum()
    assert min(seen.values()) > 20


def test_mirrored_views_show_both_mirrored(tmp_path):
    arguments = write_one(tmp_path, num_frames=20)
    plain = RGBPose(**arguments, mode="test", num_clips=2)
    reader = RGBPose(**arguments, mode="test", num_clips=2, flip=True)
    one, both = (reader.prepare(reader[0, 0]["inputs"]) for reader in (plain, reader))
    order = reader.layout.mirror_indices()
    for name, mirrored in (("rgb", one["rgb"].numpy()), ("pose", one["pose"].numpy()[:, order])):
        views = both[name].numpy()
        assert np.array_equal(views[::2], one[name].numpy()) and np.array_equal(views[1::2], mirrored[..., ::-1])


def test_each_modality_takes_its_own_frames(tmp_path):
    arguments = {**write_one(tmp_path, num_frames=40), "clip_len": 32, "rgb_clip_len": 4}
    inputs = RGBPose(**arguments, mode="test", num_clips=3)[0, 0]["inputs"]
    assert inputs["rgb"].shape[:2] == (3, 4) and inputs["pose"].shape[:3] == (3, 2, 32)
    x = inputs["pose"][:, 0, :, DOT, 0] * 4
    for clip, frames in enumerate(sampling.place_uniform_clips(40, 4, 3, None)):
        pose_frames = sampling.place_uniform_clips(40, 32, 3, None)[clip]
        fit = np.polyfit(pose_frames, x[clip], 1)  # the body goes evenly to the right
        assert np.abs(find_dots(inputs["rgb"][clip])[:, 0] - np.polyval(fit, frames)).max() < 1


def test_a_crop_beyond_the_picture_is_black_there(tmp_path):
    annotation = make_annotation("one", num_frames=8)
    keypoint = annotation["keypoint"] + np.float32([-30, 0])  # the box reaches over the left edge
    reader = RGBPose(**write_one(tmp_path, keypoint=keypoint), mode="test")
    rgb = reader[0, 0]["inputs"]["rgb"][0]
    black = (rgb == 0).all(axis=(0, 1, 3))
    num_black = int(black.sum())
    assert 5 < num_black < 40 and black[:num_black].all() and (rgb[:, :, num_black + 1 :].max(axis=(1, 3)) > 50).all()
    assert_dots_under_maps(reader, (0, 0))


def test_key_points_wholly_beyond_the_picture_are_read(tmp_path):
    keypoint = make_annotation("one", num_frames=8)["keypoint"] + np.float32([500, 0])
    sample = RGBPose(**write_one(tmp_path, keypoint=keypoint), mode="test")[0, 0]
    assert sample["inputs"]["rgb"].shape == (1, 8, 64, 64, 3)
    assert (sample["inputs"]["rgb"][0, :, :, 1:] == 0).all()


def test_no_key_points_show_the_whole_picture(tmp_path):
    arguments = write_one(tmp_path, keypoint=np.zeros((1, 8, 17, 2), np.float32))
    reader = RGBPose(**{**arguments, "crop_size": 72}, mode="test")
    outputs = reader.prepare(reader[0, 0]["inputs"])
    assert not outputs["pose"].numpy().any() and (reader[0, 0]["inputs"]["rgb"][:, :, 9:, 9:] == 100).all()


# What changes RGB only.


def test_color_and_erasing_change_rgb_only(tmp_path):
    arguments = write_one(tmp_path)
    plain = RGBPose(**arguments)[3, 0]["inputs"]
    colored = RGBPose(**arguments, color_jitter=[0.4, 0.4, 0.4, 0.15])[3, 0]["inputs"]
    erased = RGBPose(**arguments, erasing_ratio=1.0, erasing_area=[0.1, 0.2])[3, 0]["inputs"]
    for other in (colored, erased):
        assert np.array_equal(other["pose"], plain["pose"]) and not np.array_equal(other["rgb"], plain["rgb"])
    changed = (erased["rgb"] != plain["rgb"]).any(axis=-1)[0]
    assert (changed == changed[:1]).all()  # the same box in all frames
    assert (erased["rgb"][0][changed] == 128).all() and 0.05 < changed.mean() < 0.25
    rows, columns = np.flatnonzero(changed[0].any(axis=1)), np.flatnonzero(changed[0].any(axis=0))
    assert changed[0].sum() == (np.ptp(rows) + 1) * (np.ptp(columns) + 1)


def test_a_share_of_the_clips_is_erased(tmp_path):
    reader = RGBPose(**write_one(tmp_path), erasing_ratio=0.5)
    erased = sum((reader[epoch, 0]["inputs"]["rgb"] == 128).all(axis=-1).any() for epoch in range(30))
    assert 5 < erased < 25


def test_hue_turns_colors_and_leaves_gray():
    frames = np.array([[[[200, 0, 0], [90, 90, 90], [0, 200, 0]]]], np.uint8)
    turns = [transforms.jitter_hue(frames, 0.5, np.random.default_rng(seed)) for seed in range(8)]
    assert all((turned[0, 0, 1] == 90).all() for turned in turns)
    assert len({tuple(turned[0, 0, 0]) for turned in turns}) > 4
    assert all(turned[0, 0, 0].max() in range(198, 202) for turned in turns)
    assert np.abs(transforms.jitter_hue(frames, 0.0, np.random.default_rng(0)).astype(int) - frames).max() <= 1


@pytest.mark.parametrize("side, red, green, blue", [(1, 60, 200, 0), (-1, 60, 0, 200)])
def test_hue_counts_as_mmaction2_does(side, red, green, blue):
    # int(0.2 * 255) = 51 steps of two degrees: red comes to 102, yellowish green, or to 258, violet.
    rng = type("Rng", (), {"uniform": lambda self, low, high: high * side})()
    turned = transforms.jitter_hue(np.array([[[[200, 0, 0]]]], np.uint8), 0.2, rng)[0, 0, 0]
    assert turned.tolist() == pytest.approx([red, green, blue], abs=2)


@pytest.mark.parametrize("kind", range(4))
def test_each_change_of_color_has_its_strength(tmp_path, kind):
    arguments = write_one(tmp_path)
    strengths = (np.eye(4)[kind] * 0.4).tolist()
    readers = RGBPose(**arguments), RGBPose(**arguments, color_jitter=strengths)
    plain, rgb = (np.stack([one[epoch, 0]["inputs"]["rgb"][0].astype(int) for epoch in range(8)]) for one in readers)
    is_gray = np.ptp(plain, axis=-1) == 0
    assert np.abs(rgb - plain).max() > 5 and np.ptp(rgb[is_gray], axis=-1).max() <= 1  # gray stays gray
    if kind != 1:  # contrast turns about the mean
        assert (np.abs(rgb - plain)[is_gray].max() > 5) == (kind == 0)


def test_prepare_normalizes_rgb(tmp_path):
    reader = RGBPose(**write_one(tmp_path), mode="test")
    inputs = reader[0, 0]["inputs"]
    outputs = reader.prepare({name: paddle.to_tensor(array) for name, array in inputs.items()})
    expected = (inputs["rgb"] - [123.675, 116.28, 103.53]) / [58.395, 57.12, 57.375]
    assert np.abs(outputs["rgb"].numpy() - expected.transpose(0, 4, 1, 2, 3)).max() < 1e-4
    assert outputs["pose"].shape == [1, 17, 8, 16, 16]


# Videos and batches.


def test_video_files_by_name_and_ntus_ending(tmp_path):
    film = write_numbered_video(tmp_path / "videos" / "deep" / "one_rgb.mp4")
    zeros = np.zeros((1, 48, 17, 2), np.float32)  # the whole picture, of which the centre is cut
    annotation = make_annotation("one", num_frames=48, keypoint=zeros, img_shape=(64, 96))
    path = write_poses(tmp_path / "poses.pkl", [annotation])
    arguments = {**SMALL, "short_size": 64, "stretch": False, "clip_len": 4, "rgb_clip_len": 4}
    rgb = RGBPose(path, str(tmp_path / "videos"), mode="test", **arguments)[0, 0]["inputs"]["rgb"][0]
    every = decode_in_order(film)
    chosen = [every[frame][:, 16:80, ::-1] for frame in sampling.place_uniform_clips(48, 4, 1, None)[0]]
    assert np.array_equal(rgb, chosen)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_the_loader_joins_dicts(tmp_path, num_workers):
    annotations = [write_sample(tmp_path, f"n{i}", label=i) for i in range(3)]
    path = write_poses(tmp_path / "p.pkl", annotations)
    arguments = {"filelist": path, "videos": str(tmp_path / "pictures"), **SMALL, "num_clips": 3}
    loader = build_loader("rgbpose", "test", 2, num_workers, **arguments)
    batches = list(loader)
    assert [batch["views"].tolist() for batch in batches] == [[3, 3], [3]]
    assert {name: array.shape for name, array in batches[0]["inputs"].items()} == {
        "rgb": [6, 8, 64, 64, 3],
        "pose": [6, 2, 8, 17, 4],
    }
    assert batches[0]["inputs"]["rgb"].dtype == paddle.uint8
    last = loader.dataset[0, 2]["inputs"]
    assert all(np.array_equal(batches[1]["inputs"][name].numpy(), last[name]) for name in last)
    assert loader.prepare(batches[1]["inputs"])["pose"].shape == [3, 17, 8, 16, 16]


def test_a_sample_depends_on_seed_epoch_and_index_alone(tmp_path):
    arguments = write_one(tmp_path, num_frames=20)
    drawn = {"color_jitter": [0.4, 0.4, 0.4, 0.15], "erasing_ratio": 0.5}
    one, other = RGBPose(**arguments, **drawn), RGBPose(**arguments, **drawn)
    other[1, 0]
    for name in ("rgb", "pose"):
        assert np.array_equal(one[2, 0]["inputs"][name], other[2, 0]["inputs"][name])
        assert not np.array_equal(one[2, 0]["inputs"][name], one[3, 0]["inputs"][name])


# Bad input.


@pytest.mark.parametrize("num_pictures", [18, 20, 22])
def test_videos_may_be_two_frames_longer_or_shorter(tmp_path, num_pictures):
    reader = RGBPose(**write_one(tmp_path, num_frames=20, num_pictures=num_pictures), mode="test", num_clips=5)
    expected = RGBPose(**write_one(tmp_path / "b", num_frames=min(20, num_pictures)), mode="test", num_clips=5)
    for name in ("rgb", "pose"):
        assert reader[0, 0]["inputs"][name].shape == expected[0, 0]["inputs"][name].shape
    assert assert_dots_under_maps(RGBPose(**{**write_one(tmp_path / "c", num_pictures=9)}, mode="test"), (0, 0)).all()


@pytest.mark.parametrize("num_pictures", [17, 23])
def test_other_numbers_of_frames_are_damage(tmp_path, num_pictures):
    annotations = [
        write_sample(tmp_path, "bad", num_frames=20, num_pictures=num_pictures),
        write_sample(tmp_path, "good", num_frames=20),
    ]
    arguments = {
        "filelist": write_poses(tmp_path / "p.pkl", annotations),
        "videos": str(tmp_path / "pictures"),
        **SMALL,
    }
    message = f"bad: {num_pictures} frames, .*p.pkl has key points of 20: they are not of one video"
    with pytest.raises(ValueError, match=message):
        RGBPose(**arguments, mode="test")[0, 0]
    sample = RGBPose(**arguments)[0, 0]
    assert sample["name"] == "good" and "17 frames" in sample["faults"][0] or "23 frames" in sample["faults"][0]


def test_recordings_without_a_video_are_named(tmp_path):
    path = write_poses(tmp_path / "p.pkl", [write_sample(tmp_path, "here"), make_annotation("gone")])
    with pytest.raises(ValueError, match="1 of 2 recordings of split 'all' have no video, first 'gone'"):
        RGBPose(path, str(tmp_path / "pictures"), **SMALL)
    with pytest.raises(ValueError, match="videos is not set"):
        RGBPose(path, **SMALL)
    with pytest.raises(FileNotFoundError, match="holds no videos"):
        RGBPose(path, str(tmp_path / "nowhere"), **SMALL)


def test_a_broken_picture_is_damage(tmp_path):
    arguments = write_one(tmp_path)
    (tmp_path / "pictures" / "one" / "00003.png").write_bytes(b"no picture")
    with pytest.raises(ValueError, match="00003.png.*not a whole JPEG or PNG picture"):
        RGBPose(**arguments, mode="test")[0, 0]


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"rgb_clip_len": 0}, "reader rgbpose: rgb_clip_len is 0, expected int from 1 to 1000000"),
        (
            {"color_jitter": [0.4, 0.4, 0.4]},
            "color_jitter is [0.4, 0.4, 0.4], expected brightness, contrast, saturation",
        ),
        ({"erasing_ratio": 1.5}, "erasing_ratio is 1.5, expected float from 0 to 1"),
        ({"erasing_area": [0.2, 0.1]}, "erasing_area is [0.2, 0.1], expected [least, greatest]"),
        ({"kind": "both"}, "kind is 'both', expected one of joints, limbs"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError) as error:
        RGBPose(None, **{**SMALL, **arguments})
    assert message in str(error.value)


def test_scales_are_views(tmp_path):
    arguments = {**write_one(tmp_path), "mode": "test", "crop_size": 48, "flip": True}
    several = RGBPose(**arguments, scales=[48, 64], num_clips=2)[0, 0]["inputs"]
    assert several["rgb"].shape[:1] == several["pose"].shape[:1] == (8,)  # 2 scales x 2 clips x 2 sides
    for place, size in ((slice(0, 4), 48), (slice(4, 8), 64)):
        alone = RGBPose(**{**arguments, "short_size": size}, num_clips=2)[0, 0]["inputs"]
        assert all((several[name][place] == alone[name]).all() for name in alone)
    assert (several["rgb"][:4] != several["rgb"][4:]).any() and (several["pose"][:4] != several["pose"][4:]).any()


def test_rgb_alone_is_what_it_is_beside_poses(tmp_path):
    arguments = write_one(tmp_path)
    both, alone = RGBPose(**arguments), RGBPose(**arguments, rgb_only=True)
    assert (both[2, 0]["inputs"]["rgb"] == alone[2, 0]["inputs"]["rgb"]).all()
    assert list(alone[2, 0]["inputs"]) == ["rgb"] and alone.input_shape == {"rgb": both.input_shape["rgb"]}
    inputs = both[0, 0]["inputs"]
    prepared = alone.prepare({"rgb": inputs["rgb"]})
    assert list(prepared) == ["rgb"] and (prepared["rgb"].numpy() == both.prepare(inputs)["rgb"].numpy()).all()


def test_noise_has_the_form_of_samples(tmp_path):
    arguments = write_one(tmp_path)
    for changes in ({}, {"rgb_only": True}):
        reader = RGBPose(**arguments, **changes)
        sample, noise = reader[0, 0]["inputs"], reader.draw_noise(3, np.random.default_rng(0))
        assert list(noise) == list(sample) == (["rgb"] if changes else ["rgb", "pose"])
        for name, array in sample.items():
            assert noise[name].shape == (3, *array.shape[1:]) and noise[name].dtype == array.dtype


# The picture of the key points against the decoded one.


def write_sized(root, img_shape, num=2):
    """Write samples of one size and state another one; return the arguments of a reader of them."""
    samples = [write_sample(root, name=f"v{index}") for index in range(num)]
    for sample in samples:
        sample["img_shape"] = img_shape
    return {"filelist": write_poses(root / "poses.pkl", samples), "videos": str(root / "pictures"), **SMALL}


@pytest.mark.parametrize("mode", ["train", "valid", "test"])
@pytest.mark.parametrize("rgb_only", [False, True])
def test_a_picture_size_that_is_turned_is_refused_at_the_first_sample(tmp_path, mode, rgb_only):
    message = r"'v0' and .*v0: the key points are of pictures of 160 x 90 and the frames have 90 x 160 .height x wid.*"
    with pytest.raises(ValueError, match=message + r"img_shape is .width, height. there, or the video is rotated; "):
        RGBPose(**write_sized(tmp_path, (WIDTH, HEIGHT)), mode=mode, rgb_only=rgb_only)


def test_a_single_video_that_is_turned_is_a_damaged_sample(tmp_path):
    arguments = write_sized(tmp_path, (HEIGHT, WIDTH))
    content = load_pickle(arguments["filelist"])
    content["annotations"][1]["img_shape"] = (1920, 1080)
    dump_pickle(content, arguments["filelist"])
    reader = RGBPose(**arguments, mode="test")
    assert reader[0, 0]["name"] == "v0"
    with pytest.raises(ValueError, match="v1: the key points are of pictures of 1920 x 1080 and the frames "):
        reader[0, 1]
    faults = [reader[epoch, 1]["faults"] for reader in [RGBPose(**arguments)] for epoch in range(3)]
    assert all("of 1920 x 1080 and the frames" in fault for each in faults for fault in each) and all(faults)


@pytest.mark.parametrize("img_shape, is_told", [((180, 320), False), ((92, 160), False), ((120, 160), True)])
def test_a_stretched_video_is_told_and_read(tmp_path, caplog, img_shape, is_told):
    reader = RGBPose(**write_sized(tmp_path, img_shape), mode="test")
    told = [record.message for record in caplog.records]
    assert len(told) == is_told
    if is_told:
        assert "'v0' has key points of 120 x 160, " in told[0] and "v0 is 90 x 160 (height x width)" in told[0]
        assert "stretched by 1.33, or its key points were found in another video or picture size" in told[0]
    assert reader[0, 0]["inputs"]["rgb"].shape == (1, 8, 64, 64, 3)
