"""One decoder: every way into the project reads the same frames of a video, bit for bit, as many as FFmpeg counts."""

import av
import cv2
import numpy as np
import pytest
from numbered_videos import HEIGHT, WIDTH, draw_frame, read_number
from video_kinds import FILMS, KINDS, NUM_FRAMES, X265, write_kind

import avi2jpg
from dataset.clip_checks import check_video
from dataset.records import ListEntry
from dataset.video_file import VideoFile
from inference.sources import VideoSource
from reader.frames import EncodedClip, open_video
from tools import find_poses, shrink_videos

# What `ffprobe -count_frames` says of the stream: FFmpeg 4.0.2 and 9.0.2 agree in each.
COUNTS = dict.fromkeys(KINDS, NUM_FRAMES) | {
    "edit_list.mp4": 8,
    "joined.ts": 24,
    "joined.mts": 24,
    "joined.vob": 24,
    "open_start.mkv": 6,
    "open_start.ts": 6,
    "open_start.mp4": 6,
    "open_start.mpg": 6,
    "closed_start.vob": 8,
    "one_frame.mp4": 1,
    "one_frame.avi": 1,
    "one_frame.webm": 1,
    "packed.avi": 10,
}
# The numbers on the frames, where they are not 0, 1, 2 ...
NUMBERS = {"edit_list.mp4": range(4, 12), "closed_start.vob": [None, None, *range(6, 12)]}  # two show what is gone
NUMBERS |= dict.fromkeys(("joined.ts", "joined.mts", "joined.vob"), [*range(12), *range(12)])
NUMBERS |= {name: range(6, 12) for name in COUNTS if name.startswith("open_start")}
NUMBERS |= {"packed.avi": [*range(9), 11]}
MAX_COLOR_ERROR = 7  # of 255, mean over a frame; a wrong range gives 9


def read_plainly(path, stream):
    """Decode a stream as a player does, as stored."""
    with av.open(str(path)) as container:
        container.streams.video[stream].thread_count = 1
        return [frame.to_ndarray(format="bgr24") for frame in container.decode(video=stream)]


def read_by_each(path, monkeypatch):
    """Read a video by each way in: {its name: BGR frames}."""
    found = {"avi2jpg": []}
    monkeypatch.setattr(avi2jpg, "write_jpeg", lambda frame, path, quality: found["avi2jpg"].append(frame))
    avi2jpg.write_frames(str(path), "", 0, 0, 90)
    found["predict"] = [frame[:, :, ::-1] for frame in VideoSource(str(path), None, 25, None).read_pictures()]
    entry = ListEntry(str(path), label=0, num_frames=None, line=1)
    frames = open_video(entry).frames
    clip = EncodedClip(frames, np.arange(len(frames)))
    found["training"] = list(clip.decode((0, 0, *clip.frame_size), clip.frame_size)[..., ::-1])
    found["find_poses"] = list(find_poses.read_frames(str(path)))
    size = 10**6, 10**6
    if not any(side % 2 for side in clip.frame_size):  # an odd one is scaled
        found["shrink_videos"] = list(shrink_videos.scale_frames(VideoFile(str(path)), *size))
    return found, check_video(entry).num_frames


def is_like(frame, number, film):
    """Whether a frame shows what was drawn for a number, upright and in its colours."""
    expected, scaled = draw_frame(number).astype(int), cv2.resize(frame, (WIDTH, HEIGHT))
    if film and film.pix_fmt == "gray":
        expected = cv2.cvtColor(draw_frame(number), cv2.COLOR_BGR2GRAY)[:, :, None].astype(int)
    max_error = MAX_COLOR_ERROR if film else 2 * MAX_COLOR_ERROR  # the copied files are encoded coarsely
    return read_number(scaled) == number and np.abs(scaled - expected).mean() < max_error


@pytest.mark.parametrize("name", KINDS)
def test_every_way_in_gives_the_frames_that_ffmpeg_gives(tmp_path, monkeypatch, name):
    path = tmp_path / name
    write_kind(name, path)
    film = FILMS.get(name)
    plain = read_plainly(path, 1 if film and film.cover else 0)
    plain = [np.rot90(frame, -film.quarters) if film else frame for frame in plain]
    found, num_checked = read_by_each(path, monkeypatch)
    assert len(plain) == num_checked == COUNTS[name]
    for frames in found.values():
        assert len(frames) == len(plain) and all(map(np.array_equal, frames, plain))
    frames, numbers = found["avi2jpg"], NUMBERS.get(name, range(len(plain)))
    assert {frame.shape for frame in frames} == {(*(film.size if film else (HEIGHT, WIDTH)), 3)}
    for frame, number in zip(frames, numbers, strict=True):
        assert number is None or is_like(frame, number, film)


def test_colours_of_a_high_dynamic_range_are_bt_2020s(tmp_path):
    """By ITU-R BT.2020, table 4: the luma of red, green and blue is 0.2627, 0.6780 and 0.0593."""
    colors = np.array([[40, 60, 200], [200, 60, 40], [60, 180, 60], [230, 230, 230]], float)  # BGR
    red, green, blue = colors[:, 2], colors[:, 1], colors[:, 0]
    luma = 0.2627 * red + 0.678 * green + 0.0593 * blue
    planes = 16 + luma * 219 / 255, 128 + (blue - luma) / 1.8814 * 224 / 255, 128 + (red - luma) / 1.4746 * 224 / 255
    path = tmp_path / "hdr.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx265", rate=25, options=X265)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p10le"
        context = stream.codec_context
        context.colorspace, context.color_primaries, context.color_trc, context.color_range = 9, 9, 16, 1
        for values in zip(*planes, strict=True):
            frame = av.VideoFrame(64, 64, "yuv420p10le")
            for plane, value in zip(frame.planes, values, strict=True):
                plane.update(np.full(plane.buffer_size // 2, round(4 * value), np.uint16).tobytes())
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    video = VideoFile(str(path))
    shown = np.array([frame.mean(axis=(0, 1)) for _, frame in video.decode(range(len(video)))])
    assert np.abs(shown - colors).max() < 5  # of BT.709 it would be 8
