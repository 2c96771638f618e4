"""Live pictures: their times, the buffer between two threads, growing files, and streams over the loopback address."""

import threading
import time

import numpy as np
import pytest
from live_streams import StreamServer, write_stream
from small_videos import make_frames

from inference import video_io
from inference.live import stream
from inference.live.stream import Clock, FrameBuffer, LiveFrame, LiveStream


def make_stream(address, timeout_s=1.0, window_s=2.0, scale=None):
    return LiveStream(str(address), timeout_s, 25, window_s, 8, scale)


def read_all(live):
    """Take every frame."""
    frames = []
    live.start()
    while not live.buffer.is_over:
        frame = live.buffer.take(0.1)
        frames += [] if frame is None else [frame]
    live.stop()
    return frames


@pytest.mark.parametrize(
    "text, expected",
    [("0", True), ("rtsp://a/b", True), ("HTTP://a", True), ("a.mp4", False), ("/a/0", False), ("file://a", False)],
)
def test_what_is_a_stream(text, expected):
    assert stream.is_address(text) == expected


def test_a_password_is_not_shown():
    assert stream.hide_password("rtsp://me:secret@10.0.0.1/a@b") == "rtsp://10.0.0.1/a@b"
    assert stream.hide_password("rtsp://10.0.0.1/a@b") == "rtsp://10.0.0.1/a@b"


# Times.


def test_times_are_those_that_the_stream_states():
    clock = Clock()
    assert [clock.find_time(100 + number / 25, 7 + number) for number in range(3)] == pytest.approx([0, 0.04, 0.08])


@pytest.mark.parametrize(
    "stated, arrivals, times",
    [
        ([None, None, None], [5, 5.1, 5.3], [0, 0.1, 0.3]),
        ([10, 10.04, 0, 0.04], [5, 5.04, 8, 8.1], [0, 0.04, 3, 3.04]),  # starts anew
        ([10, 10.04, 99, 99.04], [5, 5.04, 5.08, 5.1], [0, 0.04, 0.08, 0.12]),  # jumps
        ([10, 10, 10.04], [5, 5, 5], [0, 0.001, 0.041]),  # two frames of one time
    ],
)
def test_times_grow_where_those_of_the_stream_do_not(stated, arrivals, times):
    clock = Clock()
    found = [clock.find_time(one, arrival) for one, arrival in zip(stated, arrivals, strict=True)]
    assert found == pytest.approx(times)


def test_after_a_break_time_goes_on_by_the_clock():
    clock = Clock()
    clock.find_time(10, 5)
    clock.restart()
    assert clock.find_time(10.04, 8) == pytest.approx(3)
    assert clock.find_time(10.08, 8.9) == pytest.approx(3.04)


# The buffer.


def make_frame(number):
    return LiveFrame(number, number / 25, 0.0, np.zeros((2, 2, 3), np.uint8), None)


def test_a_full_buffer_drops_the_oldest_and_counts_them():
    buffer = FrameBuffer(drops_oldest=True)
    buffer.max_frames = 3
    for number in range(5):
        buffer.put(make_frame(number))
    buffer.close()
    assert [buffer.take(0).number for _ in range(3)] == [2, 3, 4]
    assert buffer.num_dropped == 2 and buffer.is_over and buffer.take(0) is None


def test_the_buffer_of_a_file_waits_and_drops_nothing():
    buffer, numbers = FrameBuffer(drops_oldest=False), []
    thread = threading.Thread(target=lambda: [buffer.put(make_frame(number)) for number in range(5)])
    thread.start()
    while len(numbers) < 5:
        numbers.append(buffer.take(1).number)
    thread.join()
    assert numbers == [0, 1, 2, 3, 4] and buffer.num_dropped == 0


# Files that grow.


@pytest.mark.parametrize("name, codec", [("a.ts", "mpeg2video"), ("a.mkv", "libx264")])
def test_a_growing_file_gives_every_frame_as_it_is_read_when_finished(tmp_path, name, codec):
    data = write_stream(tmp_path / name, make_frames(40, 96, 128), codec)
    expected = list(video_io.read_frames(str(tmp_path / name)))
    growing = tmp_path / f"growing{name[1:]}"
    growing.write_bytes(b"")

    def write():
        with open(growing, "ab", buffering=0) as file:
            for part in range(8):
                file.write(data[part * len(data) // 8 : (part + 1) * len(data) // 8])
                time.sleep(0.05)

    thread = threading.Thread(target=write)
    thread.start()
    live = make_stream(growing, timeout_s=0.5, scale=lambda picture: picture)
    frames = read_all(live)
    thread.join()
    assert live.failure is None and live.buffer.num_dropped == 0 and live.fps == 25
    assert [frame.number for frame in frames] == list(range(40))
    assert [frame.time_s for frame in frames] == pytest.approx([number / 25 for number in range(40)], abs=0.002)
    assert np.array_equal([frame.pixels for frame in frames], expected)
    assert frames[0].picture.shape == (480, 640, 3)


def test_what_cannot_be_read_is_told(tmp_path):
    (tmp_path / "noise.mp4").write_bytes(b"noise" * 99)
    for name, message in [("missing.ts", "No such file"), ("noise.mp4", "let it be written as .mkv or .ts")]:
        live = make_stream(tmp_path / name, timeout_s=0.2)
        assert read_all(live) == [] and message in live.failure


def test_a_missing_camera_is_told_at_once(monkeypatch):
    monkeypatch.setattr(stream.sys, "platform", "linux")
    with pytest.raises(FileNotFoundError, match="no camera 93: there is no /dev/video93; plug it in"):
        make_stream("93").start()


# Over the loopback address.


def test_nobody_listens(caplog):
    with StreamServer([]) as server:
        server.thread.join()
        start_s = time.monotonic()
        live = make_stream(f"tcp://me:secret@127.0.0.1:{server.port}", timeout_s=0.6)
        assert read_all(live) == [] and live.failure == "Connection refused"
        assert 0.5 < time.monotonic() - start_s < 3
    assert f"tcp://127.0.0.1:{server.port}: Connection refused; trying again for 0.6 s" in caplog.text


def test_a_stream_that_breaks_is_gone_on_with(tmp_path):
    first = write_stream(tmp_path / "a.ts", make_frames(25, 96, 128))
    second = write_stream(tmp_path / "b.ts", make_frames(25, 64, 48))
    with StreamServer([(first[: len(first) // 2], 0.3), (second, 0.5)]) as server:
        live = make_stream(f"tcp://127.0.0.1:{server.port}", timeout_s=1)
        frames = read_all(live)
    assert live.num_breaks == 1 and live.failure is None  # it ended, and did not come back a third time
    shapes = [frame.picture.shape[:2] for frame in frames]
    assert shapes[0] == (480, 640) and shapes[-1] == (640, 480)
    times = [frame.time_s for frame in frames]
    gap = shapes.index((640, 480))
    assert np.all(np.diff(times) > 0) and times[gap] - times[gap - 1] > 0.3
