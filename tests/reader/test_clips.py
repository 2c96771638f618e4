"""The clip reader on tiny videos of known colours: order, channels, views, labels, damage."""

import pickle

import cv2
import numpy as np
import pytest
from ramp_videos import frame_numbers, ramp_frame, write_frames, write_ramps, write_video

import reader.frames
from common.files import dump_pickle
from dataset.records import read_list, read_record, write_list, write_record
from reader.clips import KINETICS_MEAN, KINETICS_STD, Clips
from reader.frames import open_video

SMALL = {"clip_len": 4, "crop_size": 16}


def one_video(root, frames, packed=False, pattern="{:05d}.jpg", video="v_A_g01_c01"):
    """Write a list of one video; return its path."""
    write_list([write_video(root, video, 0, frames, packed, pattern)], root / "train.list", ["A", "B"])
    return str(root / "train.list")


def ramp(num_frames):
    return [ramp_frame(index) for index in range(num_frames)]


def damage(root, video, frame, change):
    """Rewrite a frame file of a video by a function of its bytes."""
    path = next((root / "jpg").rglob(f"{video}/{frame}"))
    path.write_bytes(change(path.read_bytes()))
    return path


# Order of frames and of axes.


@pytest.mark.parametrize("pattern", ["{:05d}.jpg", "{}.jpg", "v_A_g01_c01_{}.jpg", "{:05d}.png"])
def test_frames_stand_in_time_order(tmp_path, pattern):
    clips = Clips(one_video(tmp_path, ramp(20), pattern=pattern), "test", clip_len=20, crop_size=16)
    assert frame_numbers(clips[0, 0]["inputs"]["rgb"][0]).tolist() == list(range(20))


def test_records_of_2020_with_text_sorted_names_are_put_in_time_order(tmp_path):
    names = sorted(write_frames(tmp_path / "A_jpg" / "v_A_g01_c01", ramp(20), "v_A_g01_c01_{}.jpg"))
    assert names[1].endswith("_10.jpg")
    dump_pickle(("v_A_g01_c01", 0, [f"A_jpg/v_A_g01_c01/{name}" for name in names]), tmp_path / "old.pkl")
    write_list(["old.pkl"], tmp_path / "old.list", ["A", "B"])
    clips = Clips(str(tmp_path / "old.list"), "test", clip_len=20, crop_size=16)
    assert frame_numbers(clips[0, 0]["inputs"]["rgb"][0]).tolist() == list(range(20))


def test_one_red_frame_keeps_its_place_and_channel(tmp_path):
    frames = [np.zeros((24, 32, 3), np.uint8) for _ in range(8)]
    frames[5][:] = (255, 0, 0)
    clips = Clips(one_video(tmp_path, frames), "test", clip_len=8, crop_size=16, mean=[0, 0, 0], std=[1, 1, 1])
    batch = clips.prepare(clips[0, 0]["inputs"])["rgb"].numpy()
    assert batch.shape == (1, 3, 8, 16, 16) and batch.dtype == np.float32
    expected = np.zeros((1, 3, 8, 16, 16))
    expected[0, 0, 5] = 1
    assert np.abs(batch - expected).max() < 0.02


def test_prepare_normalizes_each_channel(tmp_path):
    clips = Clips(one_video(tmp_path, ramp(4)), "test", **SMALL)
    pixels = np.random.default_rng(0).integers(0, 256, (2, 4, 5, 6, 3)).astype(np.uint8)
    expected = (pixels / 255 - np.array(KINETICS_MEAN)) / np.array(KINETICS_STD)
    assert np.abs(clips.prepare({"rgb": pixels})["rgb"].numpy() - expected.transpose(0, 4, 1, 2, 3)).max() < 1e-5


# Which frames, which views.


def test_seven_clips_are_seven_views_not_one_long_clip(tmp_path):
    clips = Clips(one_video(tmp_path, ramp(24)), "valid", num_clips=7, **SMALL)
    views = clips[0, 0]["inputs"]["rgb"]
    assert views.shape == (7, 4, 16, 16, 3)
    numbers = [frame_numbers(view).tolist() for view in views]
    assert numbers == [list(range(start, start + 4)) for start in (1, 4, 7, 10, 13, 16, 19)]


def test_views_of_clips_crops_and_flips_in_order(tmp_path):
    frames = [np.dstack([np.tile(np.arange(48, dtype=np.uint8) * 5, (24, 1))] * 3) for _ in range(8)]
    for index, frame in enumerate(frames):
        frame[:12] = 10 * index
    filelist = one_video(tmp_path, frames, pattern="{}.png")
    clips = Clips(filelist, "test", clip_len=2, crop_size=24, num_clips=2, crops="three", flip=True)
    views = clips[0, 0]["inputs"]["rgb"]
    assert views.shape == (12, 2, 24, 24, 3)
    assert (views[:, :, 0, 0, 0] // 10)[::6].tolist() == [[1, 2], [5, 6]]
    rows = views[:6, 0, 20, :, 0]
    assert [row[0] for row in rows[:3]] == [0, 60, 120]  # left, centre, right
    assert np.array_equal(rows[3:], rows[:3, ::-1])
    assert np.array_equal(views[6:, 0, 20, :, 0], rows)


def test_windows_score_the_whole_video(tmp_path):
    clips = Clips(one_video(tmp_path, ramp(10)), "test", protocol="windows", **SMALL)
    numbers = [frame_numbers(view).tolist() for view in clips[0, 0]["inputs"]["rgb"]]
    assert numbers == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 8, 9]]


def test_without_augmentation_a_training_clip_is_the_centre_view(tmp_path):
    filelist = one_video(tmp_path, ramp(20))
    drawn = {"crop": "resized", "flip_ratio": 1.0, "color_jitter": 0.5, "num_clips": 3, "flip": True}
    still = Clips(filelist, "train", augment=False, **drawn, **SMALL)
    centre = Clips(filelist, "test", **SMALL)[0, 0]
    for epoch in (0, 1):
        sample = still[epoch, 0]
        assert np.array_equal(sample["inputs"]["rgb"], centre["inputs"]["rgb"]) and sample["label"] == centre["label"]


def test_training_clip_with_segments_and_interval(tmp_path):
    clips = Clips(one_video(tmp_path, ramp(24)), num_segments=2, clip_len=3, frame_interval=2, crop_size=16)
    for epoch in range(10):
        sample = clips[epoch, 0]
        assert sample["inputs"]["rgb"].shape == (1, 6, 16, 16, 3)
        numbers = frame_numbers(sample["inputs"]["rgb"][0]).reshape(2, 3)
        assert np.all(np.diff(numbers) == 2)
        assert numbers[0, -1] < 12 <= numbers[1, 0]


@pytest.mark.parametrize("crop", ["random", "corner", "resized"])
def test_training_crops_have_the_asked_size(tmp_path, crop):
    clips = Clips(one_video(tmp_path, ramp(6)), crop=crop, short_size=20, **SMALL)
    for epoch in range(5):
        sample = clips[epoch, 0]["inputs"]["rgb"]
        assert sample.shape == (1, 4, 16, 16, 3) and sample.flags.c_contiguous
        assert np.all(np.diff(frame_numbers(sample[0])) == 1)


def test_short_size_sets_how_much_of_the_frame_a_random_crop_shows(tmp_path):
    columns = np.tile(np.arange(96, dtype=np.uint8) * 2, (48, 1))
    filelist = one_video(tmp_path, [np.dstack([columns] * 3)] * 2, pattern="{}.png")
    for short_size, seen in ((16, 48), (32, 24)):
        clip = Clips(filelist, clip_len=1, crop_size=16, short_size=short_size, flip_ratio=0)[0, 0]["inputs"]["rgb"]
        assert abs(np.ptp(clip.astype(int)) / 2 - seen * 15 / 16) <= 1


@pytest.mark.parametrize("num_frames, height, width", [(1, 24, 32), (3, 37, 53), (5, 9, 201), (2, 5, 4)])
@pytest.mark.parametrize("mode", ["train", "test"])
def test_short_videos_and_odd_sizes(tmp_path, num_frames, height, width, mode):
    frames = [ramp_frame(index, height, width) for index in range(num_frames)]
    clip = Clips(one_video(tmp_path, frames), mode, clip_len=6, crop_size=16)[0, 0]["inputs"]["rgb"][0]
    assert clip.shape == (6, 16, 16, 3)
    assert frame_numbers(clip).tolist() == [index % num_frames for index in range(6)]


# Augmentation.


def test_a_sample_depends_on_seed_epoch_and_index_alone(tmp_path):
    filelist = write_ramps(tmp_path)
    options = {"color_jitter": 0.4, "erasing_ratio": 0.5, "crop": "resized", **SMALL}
    clips, again, other = (Clips(filelist, seed=seed, **options) for seed in (3, 3, 4))
    first = clips[2, 1]["inputs"]["rgb"]
    assert np.array_equal(first, again[2, 1]["inputs"]["rgb"])
    assert np.array_equal(first, clips[2, 1]["inputs"]["rgb"])  # whatever was read before
    for different in (clips[3, 1], clips[2, 3], other[2, 1]):
        assert not np.array_equal(first, different["inputs"]["rgb"])


def test_mirrored_clips_get_the_mapped_label(tmp_path):
    ramp_right = np.dstack([np.tile(np.arange(32, dtype=np.uint8) * 8, (24, 1))] * 3)
    filelist = one_video(tmp_path, [ramp_right] * 4)
    clips = Clips(filelist, flip_label_map={0: 1, 1: 0}, **SMALL)
    labels = set()
    for epoch in range(12):
        sample = clips[epoch, 0]
        row = sample["inputs"]["rgb"][0, 0, 8, :, 0].astype(int)
        assert sample["label"] == int(row[0] > row[-1])
        labels.add(sample["label"])
    assert labels == {0, 1}
    assert Clips(filelist, flip_ratio=1.0, **SMALL)[0, 0]["label"] == 0


def test_classes_that_mirroring_swaps_are_found_by_their_names(tmp_path):
    record = write_video(tmp_path, "78687", 1, ramp(4))
    write_list([record], tmp_path / "a.list", ["Go left", "Go right", "Up"])
    filelist, mirrored = str(tmp_path / "a.list"), {"flip_ratio": 1.0, **SMALL}
    assert Clips(filelist, **mirrored)[0, 0]["label"] == 0
    assert Clips(filelist, flip_label_map={0: 1, 1: 0}, **mirrored)[0, 0]["label"] == 0
    assert Clips(filelist, flip_label_map={}, **mirrored)[0, 0]["label"] == 1
    assert Clips(filelist, "test", flip=True, **SMALL)[0, 0]["label"] == 1
    with pytest.raises(ValueError, match="'Go left' is mirrored 'Go right', so expected {0: 1, 1: 0}; leave it out"):
        Clips(filelist, flip_label_map={1: 2, 2: 1}, **mirrored)


def test_evaluation_is_never_augmented(tmp_path):
    filelist = one_video(tmp_path, ramp(6))
    wild = {"color_jitter": 1.0, "erasing_ratio": 1.0, "flip_ratio": 1.0, "crop": "resized"}
    plain = Clips(filelist, "valid", **SMALL)[0, 0]["inputs"]["rgb"]
    assert np.array_equal(Clips(filelist, "valid", seed=9, **wild, **SMALL)[5, 0]["inputs"]["rgb"], plain)


def test_erasing_uses_the_mean_colour(tmp_path):
    filelist = one_video(tmp_path, [np.zeros((24, 32, 3), np.uint8)] * 4)
    clip = Clips(filelist, erasing_ratio=1.0, mean=[1.0, 0.2, 0.4], **SMALL)[0, 0]["inputs"]["rgb"]
    assert {tuple(pixel) for pixel in clip.reshape(-1, 3).tolist()} == {(0, 0, 0), (255, 51, 102)}


# Decoding.


@pytest.fixture
def decoded(monkeypatch):
    """Flags of every call of cv2.imdecode in the reader."""
    flags = []
    decode = cv2.imdecode
    monkeypatch.setattr(reader.frames.cv2, "imdecode", lambda data, flag: flags.append(flag) or decode(data, flag))
    return flags


def test_only_needed_frames_are_decoded_each_once(tmp_path, decoded):
    filelist = one_video(tmp_path, ramp(24))
    assert Clips(filelist, **SMALL)[0, 0]["inputs"]["rgb"].shape[1] == 4
    assert len(decoded) == 4
    decoded.clear()
    Clips(filelist, "test", num_clips=7, crops="ten", **SMALL)[0, 0]
    assert len(decoded) == 22  # frames 1 to 22 of 24; the clips overlap
    decoded.clear()
    Clips(filelist, "test", clip_len=50, crop_size=16)[0, 0]
    assert len(decoded) == 24


@pytest.mark.parametrize("crop_size, reduction", [(12, 8), (13, 4), (24, 4), (25, 2), (48, 2), (49, 1), (200, 1)])
def test_frames_are_decoded_at_the_smallest_scale_that_serves(tmp_path, decoded, crop_size, reduction):
    filelist = one_video(tmp_path, [ramp_frame(7, 96, 128)] * 2)
    flags = {8: cv2.IMREAD_REDUCED_COLOR_8, 4: cv2.IMREAD_REDUCED_COLOR_4, 2: cv2.IMREAD_REDUCED_COLOR_2, 1: 1}
    for mode in ("train", "test"):
        sample = Clips(filelist, mode, clip_len=2, crop_size=crop_size)[0, 0]["inputs"]["rgb"]
        assert sample.shape == (1, 2, crop_size, crop_size, 3) and abs(sample.mean() - 80) < 1
    assert {flag & ~cv2.IMREAD_IGNORE_ORIENTATION for flag in decoded} == {flags[reduction]}


@pytest.mark.parametrize("box, reduction", [((64, 32, 32, 96), 2), ((0, 0, 96, 32), 2), ((0, 64, 64, 64), 4)])
def test_both_sides_of_a_crop_limit_the_reduction(tmp_path, decoded, box, reduction):
    video = open_video(read_list(one_video(tmp_path, [ramp_frame(3, 96, 128)]))[0][0])
    frames = reader.frames.EncodedClip(video.frames, np.array([0])).decode(box, (16, 16))
    assert frames.shape == (1, 16, 16, 3)
    assert decoded == [reader.frames.REDUCED[reduction] | cv2.IMREAD_IGNORE_ORIENTATION]


def test_reduced_decoding_shows_the_same_picture(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    frame = cv2.GaussianBlur(rng.integers(0, 256, (95, 131, 3)).astype(np.uint8), (0, 0), 6)
    filelist = one_video(tmp_path, [frame])
    options = {"clip_len": 1, "crop_size": 20, "flip_ratio": 0}
    reduced = [Clips(filelist, mode, **options)[0, 0]["inputs"]["rgb"].astype(int) for mode in ("train", "test")]
    monkeypatch.setattr(reader.frames, "REDUCED", {})
    full = [Clips(filelist, mode, **options)[0, 0]["inputs"]["rgb"].astype(int) for mode in ("train", "test")]
    for one, other in zip(reduced, full, strict=True):
        assert np.abs(one - other).mean() < 2


def test_packed_records_give_the_same_clips_as_paths(tmp_path):
    paths, packed = (write_ramps(tmp_path / kind, packed=kind == "packed") for kind in ("paths", "packed"))
    for mode in ("train", "test"):
        one, other = Clips(paths, mode, **SMALL), Clips(packed, mode, **SMALL)
        for index in range(len(one)):
            left, right = one[1, index], other[1, index]
            assert np.array_equal(left.pop("inputs")["rgb"], right.pop("inputs")["rgb"])
            assert left == right


@pytest.mark.parametrize("folder", ["with blank", "юникод-视频"])
def test_blanks_and_other_scripts_in_paths(tmp_path, folder):
    filelist = one_video(tmp_path / folder, ramp(6), video="v_Ä B_g01_c01")
    sample = Clips(filelist, "test", **SMALL)[0, 0]
    assert sample["name"] == "v_Ä B_g01_c01"
    assert frame_numbers(sample["inputs"]["rgb"][0]).tolist() == [1, 2, 3, 4]


# Lists and labels.


def test_frame_folders_of_a_list_with_labels(tmp_path):
    for name, num_frames in (("one clip", 12), ("two", 8)):
        write_frames(tmp_path / "frames" / name, ramp(num_frames), "img_{}.jpg")
    (tmp_path / "folders.list").write_text("frames/one clip 12 1\nframes/two 6 0\n")
    clips = Clips(str(tmp_path / "folders.list"), "test", clip_len=8, crop_size=16, num_classes=2)
    assert [(clips[0, i]["name"], clips[0, i]["label"]) for i in range(2)] == [("one clip", 1), ("two", 0)]
    assert frame_numbers(clips[0, 0]["inputs"]["rgb"][0]).tolist() == list(range(2, 10))
    assert frame_numbers(clips[0, 1]["inputs"]["rgb"][0]).tolist() == [
        0,
        1,
        2,
        3,
        4,
        5,
        0,
        1,
    ]  # six frames, as the line says


def test_label_outside_the_classes(tmp_path):
    filelist = write_ramps(tmp_path, class_names=("A", "B", "C"))
    clips = Clips(filelist, num_classes=2, **SMALL)
    with pytest.raises(ValueError, match=r"line 4: '.*v_C_g02_c01.pkl' has label 2, expected 0 to 1 \(2 classes\)"):
        clips[0, 2]


@pytest.mark.parametrize("kind", ["tuple", "dict", "packed", "2020 folders"])
def test_label_of_another_class_numbering_is_refused(tmp_path, kind):
    filelist = write_ramps(tmp_path, packed=kind == "packed")
    path = tmp_path / "train" / "v_B_g01_c01.pkl"
    record = {**read_record(path), "label": 0}
    if kind == "2020 folders":
        (tmp_path / "jpg" / "B").rename(tmp_path / "jpg" / "B_jpg")
        frames = [frame.replace("/B/", "/B_jpg/") for frame in record["frames"]]
        dump_pickle(("some name", 0, frames), path)
    elif kind == "tuple":
        dump_pickle((record["video"], 0, record["frames"]), path)
    else:
        write_record(record, path)
    with pytest.raises(ValueError, match=r"label 0, but its video is of class 'B', which has label 1 .*run jpg2pkl.py"):
        Clips(filelist, **SMALL)[0, 1]
    assert Clips(filelist, **SMALL)[0, 0]["label"] == 0


def test_class_names_differ_in_case_only(tmp_path):
    lines = [write_video(tmp_path, "v_HandStandPushups_g01_c01", 1, ramp(4))]
    write_list(lines, tmp_path / "a.list", ["Archery", "HandstandPushups"])
    assert Clips(str(tmp_path / "a.list"), **SMALL)[0, 0]["label"] == 1


def test_label_of_line_and_record_must_agree(tmp_path):
    line = write_video(tmp_path, "v_A_g01_c01", 0, ramp(4))
    (tmp_path / "a.list").write_text(f"{line} 1\n")
    with pytest.raises(
        ValueError, match=r"v_A_g01_c01.pkl: label 0 in the record, 1 in line 1 of the list; run jpg2pkl"
    ):
        Clips(str(tmp_path / "a.list"), **SMALL)[0, 0]


def test_empty_list(tmp_path):
    (tmp_path / "empty.list").write_text('# classes: ["A"]\n')
    with pytest.raises(ValueError, match="empty.list: the list is empty"):
        Clips(str(tmp_path / "empty.list"))


# Damage.


def empty(data):
    return b""


def cut_short(data):
    return data[:-100]


def scramble(data):
    return b"\x00" * len(data)


@pytest.mark.parametrize(
    "change, reason",
    [(empty, "0 bytes, not a whole JPEG"), (cut_short, "cut short"), (scramble, "not a whole JPEG or PNG picture")],
)
def test_damaged_frame_is_replaced_in_training_and_an_error_in_evaluation(tmp_path, change, reason):
    noise = np.random.default_rng(7).integers(0, 256, (60, 80, 3)).astype(np.uint8)
    frames = [cv2.GaussianBlur(noise, (0, 0), 1)] * 4
    lines = [write_video(tmp_path, f"v_A_g0{number}_c01", 0, frames) for number in (1, 2, 3)]
    write_list(lines, tmp_path / "train.list", ["A"])
    path = damage(tmp_path, "v_A_g02_c01", "00003.jpg", change)
    filelist = str(tmp_path / "train.list")
    sample = Clips(filelist, **SMALL)[0, 1]
    assert sample["name"] in ("v_A_g01_c01", "v_A_g03_c01")
    assert sample["faults"] and all(str(path) in fault and reason in fault for fault in sample["faults"])
    with pytest.raises(ValueError, match=f"v_A_g02_c01/00003.jpg: .*{reason}"):
        Clips(filelist, "valid", **SMALL)[0, 1]


def test_cut_short_frame_is_seen_where_opencv_says_nothing(tmp_path, monkeypatch):
    filelist = one_video(tmp_path, ramp(4))
    damage(tmp_path, "v_A_g01_c01", "00003.jpg", cut_short)
    monkeypatch.setattr(reader.frames.cv2, "imdecode", lambda data, flag: np.full((24, 32, 3), 128, np.uint8))
    with pytest.raises(ValueError, match="00003.jpg: .*cut short"):
        Clips(filelist, "test", **SMALL)[0, 0]


def test_missing_frame(tmp_path):
    filelist = write_ramps(tmp_path, num_frames=4)
    path = next((tmp_path / "jpg").rglob("v_B_g01_c01/00002.jpg"))
    path.unlink()
    with pytest.raises(ValueError, match="00002.jpg: No such file or directory; run avi2jpg.py again"):
        Clips(filelist, "test", **SMALL)[0, 1]
    assert "00002.jpg" in Clips(filelist, **SMALL)[0, 1]["faults"][0]


def test_wrong_checksum_is_named(tmp_path):
    filelist = write_ramps(tmp_path, num_frames=4, packed=True)
    path = tmp_path / "train" / "v_B_g01_c01.pkl"
    record = read_record(path)
    record["frames"][2] = record["frames"][2][:-20] + b"\x00" + record["frames"][2][-19:]
    write_record(record, path)
    message = f"{path} frame 2: its checksum is wrong"
    with pytest.raises(ValueError, match=message):
        Clips(filelist, "test", **SMALL)[0, 1]
    assert message in Clips(filelist, **SMALL)[0, 1]["faults"][0]


def test_truncated_record(tmp_path):
    filelist = write_ramps(tmp_path)
    path = tmp_path / "train" / "v_B_g01_c01.pkl"
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(ValueError, match=r"v_B_g01_c01.pkl' \(\d+ bytes\) is no whole pickle file"):
        Clips(filelist, "test", **SMALL)[0, 1]
    sample = Clips(filelist, **SMALL)[0, 1]
    assert sample["name"] != "v_B_g01_c01" and "v_B_g01_c01.pkl" in sample["faults"][0]


class Exploit:
    def __reduce__(self):
        return print, ("run",)


@pytest.mark.parametrize("mode", ["train", "test"])
def test_record_that_would_run_code_stops_training_too(tmp_path, mode, capsys):
    filelist = write_ramps(tmp_path)
    (tmp_path / "train" / "v_B_g01_c01.pkl").write_bytes(pickle.dumps({"video": Exploit()}))
    with pytest.raises(ValueError, match="v_B_g01_c01.pkl' asks for 'builtins.print'.*refused, nothing in it was run"):
        Clips(filelist, mode, **SMALL)[0, 1]
    assert capsys.readouterr().out == ""


def test_replacement_is_the_same_again_and_gives_up_in_the_end(tmp_path):
    filelist = write_ramps(tmp_path, num_frames=4)
    for number in range(5):
        damage(tmp_path, f"v_{'AB'[number % 2]}_g0{number}_c01", "00001.jpg", empty)
    clips = Clips(filelist, **SMALL)
    one, other = clips[4, 1], clips[4, 1]
    assert one["name"] == other["name"] == "v_B_g05_c01" and one["faults"] == other["faults"]
    damage(tmp_path, "v_B_g05_c01", "00001.jpg", empty)
    with pytest.raises(
        ValueError, match=r"train.list: 10 samples in a row are damaged, the last one: .*/00001.jpg: 0 by"
    ):
        clips[0, 0]


def test_frames_of_different_sizes(tmp_path):
    filelist = one_video(tmp_path, [ramp_frame(0), ramp_frame(1), ramp_frame(2, 30, 32), ramp_frame(3)])
    with pytest.raises(ValueError, match="00003.jpg: 32 x 30 pixels, expected 32 x 24"):
        Clips(filelist, "test", **SMALL)[0, 0]


def test_folder_with_fewer_frames_than_its_line_says(tmp_path):
    write_frames(tmp_path / "short", ramp(3))
    (tmp_path / "a.list").write_text("short 5 0\n")
    with pytest.raises(ValueError, match="short: 3 frames, expected 5; run avi2jpg.py again"):
        Clips(str(tmp_path / "a.list"), "test", **SMALL)[0, 0]


# Arguments.


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"mode": "eval"}, "mode is 'eval', expected one of train, valid, test"),
        ({"crop": "center"}, "crop is 'center', expected one of random, corner, resized"),
        ({"crops": "five"}, "crops is 'five', expected one of center, three, ten"),
        ({"protocol": "dense"}, "protocol is 'dense', expected one of clips, windows"),
        ({"clip_len": 0}, "clip_len is 0, expected int from 1 to 1000000"),
        ({"short_size": 0}, "short_size is 0, expected int from 1 to 1000000"),
        ({"flip_ratio": 1.5}, "flip_ratio is 1.5, expected float from 0 to 1"),
        ({"seed": -1}, "seed is -1, expected int from 0 to 4294967295"),
        ({"short_size": 100}, "crop_size 112 is larger than short_size 100"),
        ({"mean": [123.7, 116.3, 103.5]}, "mean is .*, expected list.float from 0 to 1"),
        ({"mean": [0.5]}, "mean is .*, expected three numbers"),
        ({"std": [0, 1, 1]}, "std is .*, expected list.float above 0 and up to 1"),
        ({"mode": "test", "protocol": "windows", "num_clips": 3}, "protocol windows scores the whole video"),
        ({"mode": "test", "flip": True, "crops": "ten"}, "crops ten holds the mirrored views already"),
        ({"mode": "test", "flip": True, "flip_label_map": {0: 1}}, "evaluate without flip"),
        ({"flip_label_map": {0: 7}}, "flip_label_map is {0: 7}, expected labels 0 to 1"),
    ],
)
def test_arguments_that_cannot_be_are_named(tmp_path, arguments, message):
    filelist = one_video(tmp_path, ramp(2))
    with pytest.raises(ValueError, match=f"reader clips: .*{message}"):
        Clips(filelist, **arguments)
