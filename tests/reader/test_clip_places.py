"""Places of test clips as the code puts them that a figure was published with: tables by the authors' formulas.

MMAction2: `SampleFrames` of 1.2 and of 0.x. TSM: `_get_test_indices` of its `ops/dataset.py`. TPN: `_get_test_indices`
and the fully convolutional test of its `TSN2D`. 3D-ResNet: `TemporalEvenCrop`. PYSKL's clips and those of MMAction2's
key points are compared with golden vectors in `test_skeleton_transforms.py` and `test_pose_transforms.py`.
"""

import numpy as np
import pytest
from ramp_videos import frame_numbers, write_ramps
from small_poses import write_pose
from small_skeletons import write_pkl

from reader.clips import Clips
from reader.heatmaps import Heatmaps
from reader.sampling import TEST_CLIPS, place_clips, place_uniform_clips
from reader.skeletons import Skeletons

# From 0 to n - 57 in nine even steps, halves to even.
TEN_MMACTION2 = {
    1: [0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    16: [0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    57: [0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    63: [0, 1, 1, 2, 3, 3, 4, 5, 5, 6],
    64: [0, 1, 2, 2, 3, 4, 5, 5, 6, 7],
    65: [0, 1, 2, 3, 4, 4, 5, 6, 7, 8],
    91: [0, 4, 8, 11, 15, 19, 23, 26, 30, 34],
    100: [0, 5, 10, 14, 19, 24, 29, 33, 38, 43],
    150: [0, 10, 21, 31, 41, 52, 62, 72, 83, 93],
    300: [0, 27, 54, 81, 108, 135, 162, 189, 216, 243],
}  # fmt: skip
# Middles of the tenths of n - 63. Of 91 frames one is the whole number 21, which their floating point makes 20.
TEN_MMACTION2_0X = {
    1: [0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    16: [0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    57: [0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    63: [0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    64: [0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    65: [0, 0, 0, 0, 0, 1, 1, 1, 1, 1],
    91: [1, 4, 7, 9, 12, 15, 18, 20, 23, 26],
    100: [1, 5, 9, 12, 16, 20, 24, 27, 31, 35],
    150: [4, 13, 21, 30, 39, 47, 56, 65, 73, 82],
    300: [11, 35, 59, 82, 106, 130, 154, 177, 201, 225],
}  # fmt: skip
# floor(i n / 8 + n / 16), and floor(i n / 8).
TWO_OF_TSM = {
    1: [[0, 0, 0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0, 0, 0]],
    3: [[0, 0, 0, 1, 1, 2, 2, 2], [0, 0, 0, 1, 1, 1, 2, 2]],
    8: [[0, 1, 2, 3, 4, 5, 6, 7], [0, 1, 2, 3, 4, 5, 6, 7]],
    9: [[0, 1, 2, 3, 5, 6, 7, 8], [0, 1, 2, 3, 4, 5, 6, 7]],
    16: [[1, 3, 5, 7, 9, 11, 13, 15], [0, 2, 4, 6, 8, 10, 12, 14]],
    20: [[1, 3, 6, 8, 11, 13, 16, 18], [0, 2, 5, 7, 10, 12, 15, 17]],
    29: [[1, 5, 9, 12, 16, 19, 23, 27], [0, 3, 7, 10, 14, 18, 21, 25]],
    40: [[2, 7, 12, 17, 22, 27, 32, 37], [0, 5, 10, 15, 20, 25, 30, 35]],
    80: [[5, 15, 25, 35, 45, 55, 65, 75], [0, 10, 20, 30, 40, 50, 60, 70]],
    117: [[7, 21, 36, 51, 65, 80, 95, 109], [0, 14, 29, 43, 58, 73, 87, 102]],
}  # fmt: skip
# From 0 to n - 1 in fifteen even steps: the first half, and the second.
TWO_OF_MMACTION2 = {
    1: [[0, 0, 0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0, 0, 0]],
    3: [[0, 0, 0, 0, 1, 1, 1, 1], [1, 1, 1, 1, 2, 2, 2, 2]],
    8: [[0, 0, 1, 1, 2, 2, 3, 3], [4, 4, 5, 5, 6, 6, 7, 7]],
    9: [[0, 1, 1, 2, 2, 3, 3, 4], [4, 5, 5, 6, 6, 7, 7, 8]],
    16: [[0, 1, 2, 3, 4, 5, 6, 7], [8, 9, 10, 11, 12, 13, 14, 15]],
    20: [[0, 1, 3, 4, 5, 6, 8, 9], [10, 11, 13, 14, 15, 16, 18, 19]],
    29: [[0, 2, 4, 6, 7, 9, 11, 13], [15, 17, 19, 21, 22, 24, 26, 28]],
    40: [[0, 3, 5, 8, 10, 13, 16, 18], [21, 23, 26, 29, 31, 34, 36, 39]],
    80: [[0, 5, 11, 16, 21, 26, 32, 37], [42, 47, 53, 58, 63, 68, 74, 79]],
    117: [[0, 8, 15, 23, 31, 39, 46, 54], [62, 70, 77, 85, 93, 101, 108, 116]],
}  # fmt: skip
# From 0 to n - 1 in seven even steps.
ONE_OF_MMACTION2 = {
    1: [0, 0, 0, 0, 0, 0, 0, 0],
    3: [0, 0, 1, 1, 1, 1, 2, 2],
    8: [0, 1, 2, 3, 4, 5, 6, 7],
    9: [0, 1, 2, 3, 5, 6, 7, 8],
    16: [0, 2, 4, 6, 9, 11, 13, 15],
    20: [0, 3, 5, 8, 11, 14, 16, 19],
    29: [0, 4, 8, 12, 16, 20, 24, 28],
    40: [0, 6, 11, 17, 22, 28, 33, 39],
    80: [0, 11, 23, 34, 45, 56, 68, 79],
    117: [0, 17, 33, 50, 66, 83, 99, 116],
}  # fmt: skip
# Middles of sixteenths, the even ones and the odd ones.
TWO_OF_TPN = {
    1: [[0, 0, 0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0, 0, 0]],
    3: [[0, 0, 0, 1, 1, 1, 2, 2], [0, 0, 1, 1, 1, 2, 2, 2]],
    8: [[0, 1, 2, 3, 4, 5, 6, 7], [0, 1, 2, 3, 4, 5, 6, 7]],
    9: [[0, 1, 2, 3, 4, 5, 7, 8], [0, 1, 3, 4, 5, 6, 7, 8]],
    16: [[0, 2, 4, 6, 8, 10, 12, 14], [1, 3, 5, 7, 9, 11, 13, 15]],
    20: [[0, 3, 5, 8, 10, 13, 15, 18], [1, 4, 6, 9, 11, 14, 16, 19]],
    29: [[0, 4, 8, 11, 15, 19, 22, 26], [2, 6, 9, 13, 17, 20, 24, 28]],
    40: [[1, 6, 11, 16, 21, 26, 31, 36], [3, 8, 13, 18, 23, 28, 33, 38]],
    80: [[2, 12, 22, 32, 42, 52, 62, 72], [7, 17, 27, 37, 47, 57, 67, 77]],
    117: [[3, 18, 32, 47, 62, 76, 91, 106], [10, 25, 40, 54, 69, 84, 98, 113]],
}  # fmt: skip
# Every ceil((n - 17) / 2), at least 1, from 0; the first that has fewer than 16 frames is the last one.
THREE_OF_RESNET3D = {
    1: [0],
    10: [0],
    15: [0],
    16: [0, 1],
    17: [0, 1, 2],
    18: [0, 1, 2],
    50: [0, 17, 34],
    51: [0, 17, 34],
    100: [0, 42, 84],
    186: [0, 85, 170],
}  # fmt: skip

DENSE = {"clip_len": 8, "frame_interval": 8}
SEGMENTS = {"clip_len": 1, "num_segments": 8}
TABLES = [
    ("mmaction2", {**DENSE, "num_clips": 10}, TEN_MMACTION2),
    ("mmaction2_0x", {**DENSE, "num_clips": 10}, TEN_MMACTION2_0X),
    ("tpn", {**DENSE, "num_clips": 10}, TEN_MMACTION2_0X),
    ("mmaction2", {**SEGMENTS, "num_clips": 2}, TWO_OF_MMACTION2),
    ("mmaction2_0x", {**SEGMENTS, "num_clips": 2}, TWO_OF_TSM),
    ("tsm", {**SEGMENTS, "num_clips": 2}, TWO_OF_TSM),
    ("tpn", {**SEGMENTS, "num_clips": 2}, TWO_OF_TPN),
    ("mmaction2", SEGMENTS, ONE_OF_MMACTION2),
    ("mmaction2_0x", SEGMENTS, {n: clips[0] for n, clips in TWO_OF_TSM.items()}),
    ("tsm", SEGMENTS, {n: clips[0] for n, clips in TWO_OF_TSM.items()}),
    ("resnet3d", {"clip_len": 16, "num_clips": 3}, THREE_OF_RESNET3D),
]


@pytest.mark.parametrize("name, arguments, table", TABLES, ids=lambda value: value if isinstance(value, str) else "")
def test_clips_stand_where_the_code_of_the_name_puts_them(name, arguments, table):
    assert len(table) == 10
    for num_frames, expected in table.items():
        clips = place_clips(num_frames, **arguments, test_clips=name)
        starts = clips if arguments["clip_len"] == 1 else clips[:, 0]
        assert starts.reshape(np.shape(expected)).tolist() == expected, num_frames


def test_one_clip_of_mmaction2_is_the_middle_rounded_down():
    ones = {n: place_clips(n, **DENSE, test_clips="mmaction2")[0, 0] for n in TEN_MMACTION2}
    assert list(ones.values()) == [0, 0, 0, 3, 3, 4, 17, 21, 46, 121]
    ones = {n: place_clips(n, **DENSE, test_clips="mmaction2_0x")[0, 0] for n in TEN_MMACTION2}
    assert list(ones.values()) == [0, 0, 0, 0, 0, 1, 14, 18, 43, 118]


def test_short_videos_are_looped():
    assert place_clips(20, **DENSE, test_clips="mmaction2").tolist() == [[0, 8, 16, 4, 12, 0, 8, 16]]
    assert place_clips(3, 4, num_clips=2, test_clips="tsm").tolist() == [[0, 1, 2, 0], [0, 1, 2, 0]]


def test_a_clip_of_resnet3d_that_is_not_full_repeats_its_own_frames():
    clips = place_clips(16, 16, num_clips=3, test_clips="resnet3d")
    assert clips.tolist() == [list(range(16)), [*range(1, 16), 1]]
    assert place_clips(3, 4, num_clips=3, test_clips="resnet3d").tolist() == [[0, 1, 2, 0]]
    thinned = place_clips(100, 16, num_clips=3, frame_interval=2, test_clips="resnet3d")  # 50 frames are left
    assert thinned[:, 0].tolist() == [0, 34, 68] and thinned[0].tolist() == list(range(0, 32, 2))


@pytest.mark.parametrize("name", TEST_CLIPS)
@pytest.mark.parametrize("num_clips", [1, 2])
def test_every_name_stays_inside_every_video(name, num_clips):
    if num_clips > 1 and name in ("paddlevideo_tsm", "paddlevideo_pptsm"):
        pytest.skip("they have one clip")
    for num_frames in (1, 2, 7, 8, 9, 63, 64, 65, 300):
        for num_segments in (1,) if name == "resnet3d" else (1, 8):
            for clip_len, interval in ((1, 1), (8, 8), (16, 1)):
                clips = place_clips(num_frames, clip_len, num_clips, num_segments, interval, name)
                assert clips.dtype == np.int64 and clips.shape[1] == num_segments * clip_len
                assert clips.min() >= 0 and clips.max() < num_frames


@pytest.mark.parametrize(
    "name, numbers, message",
    [
        ("tsm", {"num_clips": 3}, "num_clips is 3, but test_clips tsm has one, or two"),
        ("mmaction2_0x", {"num_clips": 3, "num_segments": 8}, "num_clips is 3, but test_clips mmaction2_0x has one"),
        ("resnet3d", {"num_segments": 8}, "num_segments is 8, but test_clips resnet3d has consecutive clips only"),
        (
            "mmaction",
            {},
            "test_clips is 'mmaction', expected one of mmaction2, mmaction2_0x, tsm, tpn, paddlevideo_tsm,",
        ),
    ],
)
def test_what_the_code_of_a_name_does_not_have_is_refused(name, numbers, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        place_clips(80, 1, **numbers, test_clips=name)
    with pytest.raises(ValueError, match=message):
        Clips(None, "test", **numbers, test_clips=name)


# By the key of the readers.


def test_the_reader_of_clips_takes_the_name(tmp_path):
    write_ramps(tmp_path, num_videos=1, num_frames=16)
    filelist, size = str(tmp_path / "train.list"), {**SEGMENTS, "crop_size": 16}
    for name, table in (("tsm", TWO_OF_TSM), ("mmaction2", TWO_OF_MMACTION2), ("tpn", TWO_OF_TPN)):
        views = Clips(filelist, "test", num_clips=2, test_clips=name, **size)[0, 0]["inputs"]["rgb"]
        assert [frame_numbers(view).tolist() for view in views] == table[16]
    still = {
        Clips(filelist, augment=False, test_clips=name, **size)[0, 0]["inputs"]["rgb"].tobytes() for name in TEST_CLIPS
    }
    assert len(still) == 1  # training without augmentation takes the same clip whatever the test does


def test_resized_crops_have_the_area_and_the_aspect_of_the_keys():
    for keys, least, narrowest in (
        ({}, 0.25, 3 / 4),
        ({"crop_area": [0.08, 1.0], "crop_aspect": [0.5, 2.0]}, 0.08, 0.5),
    ):
        reader = Clips(None, crop="resized", **keys)
        boxes = [reader._draw_box(1000, 1000, np.random.default_rng(seed)) for seed in range(1000)]
        areas, aspects = [h * w / 1e6 for *_, h, w in boxes], [w / h for *_, h, w in boxes]
        assert least - 0.002 < min(areas) < least + 0.02 and max(areas) > 0.95
        assert narrowest - 0.01 < min(aspects) < narrowest + 0.05 and max(aspects) == pytest.approx(
            1 / narrowest, rel=0.05
        )


@pytest.mark.parametrize("key, value", [("crop_area", [0.5, 0.1]), ("crop_area", [0.1, 2]), ("crop_aspect", [0, 1])])
def test_areas_and_aspects_out_of_range_are_refused(key, value):
    with pytest.raises(ValueError, match=f"reader clips: {key} is .*, expected (.least, greatest|list.float above 0)"):
        Clips(None, crop="resized", **{key: value})


def test_heat_maps_are_those_of_pyskl_or_of_mmaction2(tmp_path):
    path = write_pose(tmp_path, num_frames=20)
    edges, seen = np.arange(7) * 20 // 6, {}
    for name in ("mmaction2", "pyskl"):
        rng = np.random.RandomState(255)
        if name == "pyskl":
            rng.random_sample(), rng.randint(1)
        frames = edges[:-1] + rng.randint(np.diff(edges))
        reader = Heatmaps(path, split="all", mode="test", clip_len=6, short_size=32, crop_size=28, test_clips=name)
        seen[name] = reader._choose_frames(20, 6, None)[0].tolist()
        assert seen[name] == frames.tolist()
    assert seen["pyskl"] != seen["mmaction2"]


def test_skeletons_are_those_of_pyskl_or_of_mmaction2(tmp_path):
    write_pkl(tmp_path / "small.pkl")
    arguments = {
        "filelist": str(tmp_path / "small.pkl"),
        "split": "test",
        "mode": "test",
        "clip_len": 4,
        "num_clips": 3,
    }
    for name, crop_ratio in (("pyskl", (1, 1)), ("mmaction2", None)):
        reader = Skeletons(**arguments, test_clips=name, normalization=None)
        frames = place_uniform_clips(12, 4, 3, crop_ratio)
        expected = reader.entries[0].keypoint[0].take(frames, axis=0)
        assert np.array_equal(reader[0, 0]["inputs"]["skeleton"][:, 0], expected)
    with pytest.raises(
        ValueError, match="test_clips is 'mmaction2', expected pyskl: mmaction2 has sampling uniform only"
    ):
        Skeletons(**arguments, test_clips="mmaction2", crop_ratio=0.9)
    with pytest.raises(ValueError, match="test_clips is 'tsm', expected one of pyskl, mmaction2"):
        Skeletons(**arguments, test_clips="tsm")
