"""Video files of which one frame alone must be what decoding in order gives: no index, no key frames, two sizes."""

import av
import cv2
import numpy as np
import pytest
from numbered_videos import HEIGHT, WIDTH, read_number, write_numbered_video
from video_kinds import QUICK, Film, drop_avi_index

from dataset.clip_checks import check_video
from dataset.records import ListEntry
from dataset.video_file import VideoFile
from reader.frames import EncodedClip, open_video

FILMS = {
    **{f"{codec}.avi": Film(codec, change=drop_avi_index) for codec in ("msmpeg4", "wmv2", "flv", "h263p")},
    "cinepak.avi": Film("cinepak", pix_fmt="rgb24", change=drop_avi_index),
    "refresh.mkv": Film(options={"x264-params": "intra-refresh=1:keyint=6", "bf": "0"}),
}


@pytest.mark.parametrize("name", FILMS)
def test_one_frame_alone_is_that_of_decoding_in_order(tmp_path, name):
    path = str(tmp_path / name)
    FILMS[name].write(tmp_path / name)
    with av.open(path) as film:
        frames = [frame.to_ndarray(format="bgr24") for frame in film.decode(video=0)]
    for number in (11, 7, 6, 5, 2, 0):
        [(found, frame)] = VideoFile(path).decode([number])  # a new decoder each time: an old one holds old pictures
        assert found == number and np.array_equal(frame, frames[number])
    for numbers in ([1, 7, 9], [7, 11]):  # an earlier one first, even if the later can be decoded without it
        assert [number for number, _ in VideoFile(path).decode(numbers)] == numbers


def write_two_sizes(path, codec, options):
    """Write a film whose second half is larger."""
    halves = [path.with_name(f"{number}{path.suffix}") for number in range(2)]
    for half, scale in zip(halves, (1, 2), strict=True):
        Film(codec, options, size=(scale * HEIGHT, scale * WIDTH)).write(half)
    with av.open(str(path), "w") as container:
        stream, end = None, 0
        for half in halves:
            with av.open(str(half)) as source:
                stream = stream or container.add_stream_from_template(source.streams.video[0])
                for packet in [packet for packet in source.demux(video=0) if packet.size]:
                    packet.stream, packet.pts, packet.dts = stream, packet.pts + end, packet.dts + end
                    container.mux(packet)
            end = packet.pts + packet.duration
    return path


@pytest.mark.parametrize("name, codec, options", [("a.webm", "libvpx", QUICK), ("a.ts", "libx264", {"bf": "2"})])
def test_frames_of_another_size_are_scaled_to_the_first(tmp_path, name, codec, options):
    path = str(write_two_sizes(tmp_path / name, codec, options))
    entry = ListEntry(path, label=0, num_frames=None, line=1)
    assert check_video(entry).num_frames == 24
    clip = EncodedClip(open_video(entry).frames, np.array([20, 23]))
    assert clip.frame_size == (HEIGHT, WIDTH)
    assert [read_number(frame) for frame in clip.decode((0, 0, HEIGHT, WIDTH), (HEIGHT, WIDTH))] == [8, 11]
    frames = dict(VideoFile(path).decode(range(24)))
    with av.open(path) as film:
        last = list(film.decode(video=0))[-1].to_ndarray(format="bgr24")
    assert np.abs(frames[23] - cv2.resize(last, (WIDTH, HEIGHT)).astype(int)).mean() < 5


def test_a_rate_that_the_time_stamps_contradict_is_not_believed(tmp_path):
    path = tmp_path / "a.dv"  # FFmpeg's average rate of DV tapes is 60000
    Film("dvvideo", size=(576, 720), muxer="dv").write(path)
    assert VideoFile(str(path)).fps == pytest.approx(25)
    times = write_numbered_video(tmp_path / "a.mkv", times_ms=[40 * number for number in range(48)])
    assert VideoFile(str(times)).fps == pytest.approx(25)
