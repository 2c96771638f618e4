"""Which frames make a clip: indices only, no file is read here.

A clip holds `num_segments x clip_len` frames. A video is cut into `num_segments` equal parts and each part gives
`clip_len` frames that are `frame_interval` apart (TSN, arXiv:1608.00859, section 3.1). One segment is the consecutive
clip of 3D-ResNet; eight segments of one frame each are TSN's uniform spread over the whole video. A video that is too
short for its clip is looped.

Training draws the start of each segment. Evaluation places the clips as the code does that a figure was published
with (`TEST_CLIPS`).
"""

import math
from collections.abc import Callable

import numpy as np

DENSE_WINDOW = 64  # frames of a clip of PaddleVideo's dense PP-TSM
UNIFORM_SEED = 255  # of PYSKL's evaluation
# READER.test_clips of skeletons and heat maps: the crop that a clip of evaluation is drawn from; for MMAction2, which
# has no crops, nothing is drawn, so that the frames are others.
UNIFORM_CROPS: dict[str, tuple | None] = {"pyskl": (1, 1), "mmaction2": None}


class LegacyGenerator:
    """NumPy's old random generator, from which PYSKL and MMAction2 draw, with the method names of the new one."""

    def __init__(self, seed: int):
        generator = np.random.RandomState(seed)
        self.random, self.integers, self.choice = generator.random_sample, generator.randint, generator.choice


def sample_clip(
    num_frames: int, clip_len: int, rng: np.random.Generator, num_segments: int = 1, frame_interval: int = 1
) -> np.ndarray:
    """Draw the frames of one training clip; every possible start in a part is equally likely.

    Args:
        num_frames: frames in the video, at least 1.
        rng: draws one start per segment.

    Returns:
        (num_segments * clip_len,) int64 frame indices from 0 to num_frames - 1.

    Raises:
        ValueError: a number below 1.
    """
    first, last = _start_ranges(num_frames, clip_len, num_segments, frame_interval)
    return _expand_starts(rng.integers(first, last + 1), num_frames, clip_len, frame_interval)


def place_clips(
    num_frames: int,
    clip_len: int,
    num_clips: int = 1,
    num_segments: int = 1,
    frame_interval: int = 1,
    test_clips: str = "middle",
) -> np.ndarray:
    """Place the clips of evaluation as one of `TEST_CLIPS`; clips overlap where the video is too short for them.

    With several segments a clip holds `clip_len` frames of each, and two clips are `twice_sample` of MMAction2 and TSM.
    A clip that reaches beyond the video goes on from its start, but that of "resnet3d", which repeats its own frames.

    Args:
        test_clips: a key of `TEST_CLIPS`.

    Returns:
        (num_clips, num_segments * clip_len) int64 frame indices; "resnet3d" gives fewer clips of short videos.

    Raises:
        ValueError: a number below 1, an unknown name, or a number of clips or segments that the code does not have.
    """
    counts = {"num_clips": num_clips, "num_segments": num_segments, "frame_interval": frame_interval}
    _check_counts(num_frames=num_frames, clip_len=clip_len, **counts)
    check_test_clips(test_clips, num_clips, num_segments)
    if test_clips == "resnet3d":
        return _place_even_crops(num_frames, clip_len, num_clips, frame_interval)
    starts = TEST_CLIPS[test_clips](num_frames, clip_len, num_clips, num_segments, frame_interval)
    return np.stack([_expand_starts(row, num_frames, clip_len, frame_interval) for row in starts.astype(np.int64)])


def check_test_clips(test_clips: str, num_clips: int, num_segments: int) -> None:
    """Refuse a number of clips or of segments that the code of a name does not have."""
    if test_clips not in TEST_CLIPS:
        raise ValueError(f"sampling: test_clips is {test_clips!r}, expected one of {', '.join(TEST_CLIPS)}")
    has_twice_sample = test_clips == "tsm" or (test_clips == "mmaction2_0x" and num_segments > 1)
    if has_twice_sample and num_clips > 2:
        raise ValueError(
            f"sampling: num_clips is {num_clips}, but test_clips {test_clips} has one, or two (twice_sample); set "
            "READER.test_clips to mmaction2, tpn or middle for more"
        )
    if test_clips in ("paddlevideo_tsm", "paddlevideo_pptsm") and num_clips > 1:
        raise ValueError(
            f"sampling: num_clips is {num_clips}, but test_clips {test_clips} has one; set READER.test_clips to "
            "paddlevideo_dense, mmaction2, tpn or middle for more"
        )
    if test_clips == "resnet3d" and num_segments > 1:
        raise ValueError(
            f"sampling: num_segments is {num_segments}, but test_clips resnet3d has consecutive clips only; set "
            "READER.test_clips to mmaction2, tsm, tpn or middle"
        )


def _place_mmaction2(num_frames: int, clip_len: int, num_clips: int, num_segments: int, frame_interval: int):
    """SampleFrames of MMAction2 1.0 to 1.2: even steps from the first to the last possible start, halves to even.

    Several segments: one row of num_clips * num_segments frames is cut into clips, so that the first of two clips shows
    the first half of the video.
    """
    last, count = max(num_frames - ((clip_len - 1) * frame_interval + 1), 0), num_clips * num_segments
    starts = np.round(np.arange(count) * (last / (count - 1))) if count > 1 else np.array([last // 2])
    return starts.reshape(num_clips, num_segments)


def _place_mmaction2_0x(num_frames: int, clip_len: int, num_clips: int, num_segments: int, frame_interval: int):
    """SampleFrames of MMAction2 0.x: the middles of equal shares of the starts; zeros where the video is too short."""
    spare = max(num_frames - clip_len * frame_interval + 1, 0)
    if num_segments == 1:
        return _place_middles(spare, num_clips)[:, None]
    return _place_middles_and_firsts(spare, num_segments, num_clips)


def _place_tsm(num_frames: int, clip_len: int, num_clips: int, num_segments: int, frame_interval: int):
    """The authors' TSM: the middle of each segment; the second clip (twice_sample) has their starts."""
    spare = max(num_frames - (clip_len - 1) * frame_interval, 0)
    return _place_middles_and_firsts(spare, num_segments, num_clips)


def _place_tpn(num_frames: int, clip_len: int, num_clips: int, num_segments: int, frame_interval: int):
    """The authors' TPN: middles as in MMAction2 0.x, dealt out to the clips in turn where there are segments."""
    spare = max(num_frames - clip_len * frame_interval + 1, 0)
    return _place_middles(spare, num_clips * num_segments).reshape(num_segments, num_clips).T


def _place_paddlevideo_tsm(num_frames: int, clip_len: int, num_clips: int, num_segments: int, frame_interval: int):
    """PaddleVideo's TSM: the middles of the segments; the first frame alone where a segment has one frame or none."""
    if num_frames <= num_segments:
        return np.zeros((1, num_segments), np.int64)
    return _place_middles(num_frames, num_segments)[None]


def _place_paddlevideo_pptsm(num_frames: int, clip_len: int, num_clips: int, num_segments: int, frame_interval: int):
    """PaddleVideo's PP-TSM: the middles of segments of whole frames, halves down; the rest of the video is not seen."""
    length = num_frames // num_segments
    return (np.arange(num_segments) * max(length, 1) + max(length - 1, 0) // 2)[None]


def _place_paddlevideo_dense(num_frames: int, clip_len: int, num_clips: int, num_segments: int, frame_interval: int):
    """PaddleVideo's dense PP-TSM and, of 10 clips, MMAction2's dense TSM (DenseSampleFrames).

    Even steps through DENSE_WINDOW frames, from starts spread over the video.

    Of video files PaddleVideo takes the frame after each of these, and fails where there is none.
    """
    starts = np.linspace(0, max(num_frames - DENSE_WINDOW, 0), num_clips).astype(np.int64)
    return starts[:, None] + np.arange(num_segments) * (DENSE_WINDOW // num_segments)


def _place_middle(num_frames: int, clip_len: int, num_clips: int, num_segments: int, frame_interval: int):
    """Put each clip in the middle of its share of the starts of each segment: nobody's figures but this project's."""
    first, last = _start_ranges(num_frames, clip_len, num_segments, frame_interval)
    num_starts = last - first + 1
    return np.stack([first + ((2 * clip + 1) * num_starts - 1) // (2 * num_clips) for clip in range(num_clips)])


def _place_even_crops(num_frames: int, clip_len: int, num_clips: int, frame_interval: int) -> np.ndarray:
    """TemporalEvenCrop of 3D-ResNets-PyTorch: from the first frame on; a clip that is not full is the last one."""
    frames = np.arange(0, num_frames, frame_interval, dtype=np.int64)
    stride = max(1, math.ceil((len(frames) - 1 - clip_len) / (num_clips - 1))) if num_clips > 1 else 1
    return _cut_windows(frames, clip_len, stride)[:num_clips]


def _place_middles(num_starts: int, count: int) -> np.ndarray:
    """Return the middles of `count` equal shares of the starts 0 to num_starts - 1, rounded down.

    Computed in floating point as the authors do: where a middle is a whole number, it may come out one lower.
    """
    share = num_starts / count
    return (np.arange(count) * share + share / 2).astype(np.int64)


def _place_middles_and_firsts(num_starts: int, num_segments: int, num_clips: int) -> np.ndarray:
    """Return one clip, the middles of the segments, or two, also their first frames (twice_sample)."""
    firsts = (np.arange(num_segments) * (num_starts / num_segments)).astype(np.int64)
    return np.stack([_place_middles(num_starts, num_segments), firsts][:num_clips])


# READER.test_clips: each takes (num_frames, clip_len, num_clips, num_segments, frame_interval) and gives starts
# (num_clips, num_segments); resnet3d, whose number of clips depends on the video, gives the frames themselves.
TEST_CLIPS: dict[str, Callable] = {
    "mmaction2": _place_mmaction2,
    "mmaction2_0x": _place_mmaction2_0x,
    "tsm": _place_tsm,
    "tpn": _place_tpn,
    "paddlevideo_tsm": _place_paddlevideo_tsm,
    "paddlevideo_pptsm": _place_paddlevideo_pptsm,
    "paddlevideo_dense": _place_paddlevideo_dense,
    "resnet3d": _place_even_crops,
    "middle": _place_middle,
}


def slide_windows(num_frames: int, clip_len: int, frame_interval: int = 1, stride: int | None = None) -> np.ndarray:
    """Cut a whole video into windows of `clip_len` frames: the inference protocol of the 3D-ResNet paper.

    As in the official code (3D-ResNets-PyTorch, TemporalSubsampling, SlidingWindow, LoopPadding): the video is first
    thinned to every `frame_interval`-th frame; a last window with too few frames repeats its own frames from its own
    start, (96, 97, 98, 99, 96, 97, ...) for 100 frames and windows of 16, and ends the video.

    Args:
        stride: distance of window starts, in thinned frames; None: `clip_len`, so that windows do not overlap.

    Returns:
        (num_windows, clip_len) int64 frame indices. Every thinned frame is in a window if stride <= clip_len.

    Raises:
        ValueError: a number below 1.
    """
    stride = clip_len if stride is None else stride
    _check_counts(num_frames=num_frames, clip_len=clip_len, frame_interval=frame_interval, stride=stride)
    return _cut_windows(np.arange(0, num_frames, frame_interval, dtype=np.int64), clip_len, stride)


def _cut_windows(frames: np.ndarray, clip_len: int, stride: int) -> np.ndarray:
    """Cut frames (n,) into windows (windows, clip_len); one that is not full repeats its frames and is the last."""
    windows = []
    for start in range(0, len(frames), stride):
        window = frames[start : start + clip_len]
        windows.append(np.resize(window, clip_len))  # np.resize repeats a short window from its start
        if len(window) < clip_len:
            break
    return np.stack(windows)


def _start_ranges(num_frames: int, clip_len: int, num_segments: int, frame_interval: int) -> tuple:
    """Return the first and the last possible start of each segment, two (num_segments,) int64 arrays."""
    _check_counts(num_frames=num_frames, clip_len=clip_len, frame_interval=frame_interval, num_segments=num_segments)
    span = (clip_len - 1) * frame_interval + 1
    edges = np.arange(num_segments + 1, dtype=np.int64) * num_frames // num_segments
    # A segment longer than its part starts with the part, but early enough to end with the video where it can.
    first = np.minimum(edges[:-1], max(0, num_frames - span))
    return first, np.maximum(first, edges[1:] - span)


def _expand_starts(starts: np.ndarray, num_frames: int, clip_len: int, frame_interval: int) -> np.ndarray:
    """Turn (num_segments,) starts into (num_segments * clip_len,) frame indices."""
    indices = starts[:, None] + np.arange(clip_len) * frame_interval
    return indices.reshape(-1) % num_frames


def _check_counts(**counts: int) -> None:
    for name, count in counts.items():
        if count < 1:
            raise ValueError(f"sampling: {name} is {count}, expected at least 1")


def draw_uniform_clip(
    num_frames: int,
    clip_len: int,
    rng: np.random.Generator | LegacyGenerator,
    crop_ratio: tuple | None = (1, 1),
) -> np.ndarray:
    """Draw one training clip that spreads over the whole recording: PYSKL's UniformSampleFrames.

    A recording of at least twice `clip_len` frames is cut into `clip_len` parts, each of which gives a frame; of a
    shorter one `num_frames - clip_len` frames are left out; one shorter than the clip is looped from a drawn frame.

    Args:
        crop_ratio: least and greatest share of the recording that the clip is drawn from (PYSKL's p_interval); a share
            shorter than the clip is continued by the frames after it.
            None: the whole recording, and nothing is drawn for it (MMAction2).

    Returns:
        (clip_len,) int64 frame indices.

    Raises:
        ValueError: a number below 1.
    """
    _check_counts(num_frames=num_frames, clip_len=clip_len)
    first, length = _draw_crop(num_frames, crop_ratio, rng)
    start = rng.integers(length) if length < clip_len else 0
    return (first + _spread_frames(length, clip_len, start, rng)) % num_frames


def place_uniform_clips(
    num_frames: int, clip_len: int, num_clips: int = 1, crop_ratio: tuple | None = (1, 1), draw_start: bool = False
) -> np.ndarray:
    """Return PYSKL's clips of evaluation: drawn as in training, but the same ones in every run (seed 255).

    Args:
        crop_ratio: see `draw_uniform_clip`.
        draw_start: draw where a clip of a short recording starts (UniformSampleDecode), rather than space the starts.

    Returns:
        (num_clips, clip_len) int64 frame indices.

    Raises:
        ValueError: a number below 1.
    """
    _check_counts(num_frames=num_frames, clip_len=clip_len, num_clips=num_clips)
    rng = LegacyGenerator(UNIFORM_SEED)
    clips = []
    for clip in range(num_clips):
        first, length = _draw_crop(num_frames, crop_ratio, rng)
        start = clip if length < num_clips else clip * length // num_clips
        if draw_start and length < clip_len:
            start = rng.integers(length)
        clips.append(first + _spread_frames(length, clip_len, start, rng))
    return np.stack(clips) % num_frames


def _draw_crop(num_frames: int, crop_ratio: tuple | None, rng) -> tuple[int, int]:
    """Return the first frame and the length of a random crop; draws twice even if only one crop is possible."""
    if crop_ratio is None:
        return 0, num_frames
    low, high = crop_ratio
    length = max(1, int((rng.random() * (high - low) + low) * num_frames))
    return int(rng.integers(num_frames - length + 1)), length


def _spread_frames(num_frames: int, clip_len: int, start: int, rng) -> np.ndarray:
    """Spread a clip over `num_frames` frames; if the clip is longer, it begins at `start` and goes beyond them."""
    if num_frames < clip_len:
        return start + np.arange(clip_len)
    if num_frames < 2 * clip_len:
        is_left_out = np.zeros(clip_len + 1, np.int64)
        is_left_out[rng.choice(clip_len + 1, num_frames - clip_len, replace=False)] = 1
        return np.arange(clip_len) + np.cumsum(is_left_out)[:-1]
    edges = np.arange(clip_len + 1) * num_frames // clip_len
    return edges[:-1] + rng.integers(np.diff(edges))
