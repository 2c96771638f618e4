"""Index maths: hand-made answers and laws, no files."""

import numpy as np
import pytest

from reader.sampling import place_clips, sample_clip, slide_windows


def rng(seed=0):
    return np.random.default_rng(seed)


def test_training_clip_is_consecutive_and_inside():
    for seed in range(200):
        indices = sample_clip(40, 16, rng(seed))
        assert indices.dtype == np.int64
        assert np.all(np.diff(indices) == 1)
        assert indices[0] >= 0 and indices[-1] <= 39


def test_every_start_of_a_training_clip_is_equally_likely():
    starts = np.bincount([sample_clip(20, 16, rng(seed))[0] for seed in range(2000)])
    assert len(starts) == 5  # 0 to 4, the last one included
    assert starts.min() > 330 and starts.max() < 470  # 400 each expected, standard deviation 18


def test_short_video_loops_from_its_first_frame():
    assert sample_clip(5, 12, rng()).tolist() == [0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 0, 1]
    assert place_clips(5, 12).tolist() == [[0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 0, 1]]
    assert sample_clip(1, 4, rng(), num_segments=3, frame_interval=2).tolist() == [0] * 12


def test_frame_interval_stands_between_frames():
    assert place_clips(32, 4, frame_interval=8).tolist() == [[3, 11, 19, 27]]
    assert np.all(np.diff(sample_clip(100, 8, rng(3), frame_interval=8)) == 8)


def test_interval_too_wide_for_the_video_loops():
    assert place_clips(6, 4, frame_interval=4).tolist() == [[0, 4, 2, 0]]


@pytest.mark.parametrize("seed", range(20))
def test_segments_stay_in_their_parts(seed):
    clip = sample_clip(80, 4, rng(seed), num_segments=5).reshape(5, 4)
    for part, frames in enumerate(clip):
        assert np.all(np.diff(frames) == 1)
        assert 16 * part <= frames[0] and frames[-1] < 16 * (part + 1)


def test_segments_are_drawn_independently():
    clips = np.stack([sample_clip(800, 1, rng(seed), num_segments=8) for seed in range(50)])
    offsets = clips - 100 * np.arange(8)
    assert all(len(set(row)) > 1 for row in offsets.tolist())


def test_uniform_spread_over_the_whole_video():
    assert place_clips(80, 1, num_segments=8).tolist() == [[4, 14, 24, 34, 44, 54, 64, 74]]
    assert place_clips(4, 1, num_segments=8).tolist() == [[0, 0, 1, 1, 2, 2, 3, 3]]


def test_one_frame_of_each_segment_is_drawn_from_the_whole_of_it():
    """TSN's and TSM's training: eight parts of ten frames, of which any frame may come."""
    clips = np.stack([sample_clip(80, 1, rng(seed), num_segments=8) for seed in range(400)])
    assert clips.shape == (400, 8)
    assert np.all(clips // 10 == np.arange(8))
    assert all(len(set(column)) == 10 for column in clips.T.tolist())


def test_parts_of_unequal_length_leave_no_frame_out():
    seen = {frame for seed in range(300) for frame in sample_clip(29, 1, rng(seed), num_segments=8).tolist()}
    assert seen == set(range(29))
    assert place_clips(29, 1, num_segments=8).tolist() == [[1, 4, 8, 11, 15, 19, 22, 26]]


def test_two_clips_of_segments_take_other_frames_of_the_same_parts():
    """Something-Something is tested with two clips, each spread over the whole video."""
    assert place_clips(80, 1, num_clips=2, num_segments=8).tolist() == [
        [2, 12, 22, 32, 42, 52, 62, 72],
        [7, 17, 27, 37, 47, 57, 67, 77],
    ]


def test_dense_clip_starts_anywhere_that_leaves_room_for_it():
    """Eight frames, every eighth: 57 from the first to the last, so 44 starts in 100 frames and 244 in 300."""
    clips = np.stack([sample_clip(100, 8, rng(seed), frame_interval=8) for seed in range(1500)])
    assert np.all(np.diff(clips) == 8)
    assert sorted(set(clips[:, 0].tolist())) == list(range(44))
    assert place_clips(300, 8, num_clips=10, frame_interval=8)[:, 0].tolist() == [
        12, 36, 60, 85, 109, 134, 158, 182, 207, 231,
    ]  # fmt: skip


def test_segments_longer_than_their_part_do_not_run_over_the_end():
    clip = sample_clip(20, 16, rng(), num_segments=2).reshape(2, 16)
    assert clip[0].tolist() == list(range(0, 16))
    assert clip[1].tolist() == list(range(4, 20))


def test_one_clip_is_the_centre():
    assert place_clips(100, 16).tolist() == [list(range(42, 58))]
    assert place_clips(16, 16).tolist() == [list(range(16))]
    assert place_clips(17, 16)[0, 0] == 0


def test_clips_are_even_and_cover_the_video():
    starts = place_clips(115, 16, num_clips=10)[:, 0]  # 100 possible starts
    assert starts.tolist() == [4, 14, 24, 34, 44, 54, 64, 74, 84, 94]
    assert place_clips(186, 16, num_clips=7).shape == (7, 16)


def test_more_clips_than_starts_overlap():
    assert place_clips(17, 16, num_clips=4)[:, 0].tolist() == [0, 0, 1, 1]
    assert place_clips(3, 4, num_clips=2).tolist() == [[0, 1, 2, 0], [0, 1, 2, 0]]


@pytest.mark.parametrize("num_frames", [1, 7, 15, 16, 17, 32, 100, 186])
@pytest.mark.parametrize("clip_len", [1, 16])
def test_windows_cover_every_frame(num_frames, clip_len):
    windows = slide_windows(num_frames, clip_len)
    assert windows.shape == (-(-num_frames // clip_len), clip_len)
    assert sorted(set(windows.reshape(-1).tolist())) == list(range(num_frames))


def test_last_window_loops_over_its_own_frames():
    windows = slide_windows(100, 16)
    assert windows[5].tolist() == list(range(80, 96))
    assert windows[6].tolist() == [96, 97, 98, 99] * 4
    assert slide_windows(19, 16)[1].tolist() == [16, 17, 18] * 5 + [16]


def test_windows_of_a_thinned_video_and_with_overlap():
    assert slide_windows(10, 2, frame_interval=3).tolist() == [[0, 3], [6, 9]]
    assert slide_windows(9, 4, stride=2).tolist() == [[0, 1, 2, 3], [2, 3, 4, 5], [4, 5, 6, 7], [6, 7, 8, 6]]


@pytest.mark.parametrize(
    "call, word",
    [
        (lambda: sample_clip(0, 16, rng()), "num_frames is 0"),
        (lambda: sample_clip(8, 16, rng(), num_segments=0), "num_segments is 0"),
        (lambda: place_clips(8, 16, num_clips=0), "num_clips is 0"),
        (lambda: place_clips(8, 16, frame_interval=0), "frame_interval is 0"),
        (lambda: slide_windows(8, 16, stride=0), "stride is 0"),
    ],
)
def test_counts_below_one_are_named(call, word):
    with pytest.raises(ValueError, match=f"sampling: {word}, expected at least 1"):
        call()
