"""Video files: every frame is the one that decoding from the beginning gives, and what cannot be read says why."""

import struct

import av
import cv2
import numpy as np
import pytest
from numbered_videos import (
    ENCODINGS,
    HEIGHT,
    NUM_FRAMES,
    WIDTH,
    copy_packets,
    decode_in_order,
    draw_frame,
    read_number,
    set_display_matrix,
    write_numbered_video,
)

from dataset import clip_checks, pictures
from dataset.video_file import UnreadableVideoError, VideoFile
from reader.fault_tolerant import DamagedSampleError
from reader.frames import EncodedPicture


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    """A function that gives the path of a film of `ENCODINGS`, made when it is first asked for."""
    root = tmp_path_factory.mktemp("films")

    def find(name):
        codec, options, group = ENCODINGS[name]
        if codec not in av.codecs_available:
            pytest.skip(f"this PyAV has no encoder {codec}")
        path = root / name
        return path if path.exists() else write_numbered_video(path, codec, options, group)

    return find


def read(video, *numbers):
    """Decode frames; return their numbers as `decode` gives them and the pictures."""
    pairs = list(video.decode(sorted(numbers)))
    return [number for number, _ in pairs], [picture for _, picture in pairs]


def is_exact(video, sequence, seed=0):
    """Whether single frames and sets of frames, asked for in any order, are those of the sequence, bit for bit."""
    rng = np.random.default_rng(seed)
    chosen = [[int(number)] for number in rng.permutation(len(sequence))]
    chosen += [sorted(rng.choice(len(sequence), size, replace=False).tolist()) for size in (2, 3, 5, 8, 13)]
    chosen += [list(range(start, start + 8)) for start in (0, 9, len(sequence) - 8)] + [list(range(len(sequence)))]
    for numbers in chosen:
        got, pictures = read(video, *numbers)
        if got != numbers or not all(map(np.array_equal, pictures, (sequence[number] for number in numbers))):
            return False
    return len(video) == len(sequence)


# Which frames.


@pytest.mark.parametrize("name", ENCODINGS)
def test_every_frame_is_that_of_decoding_in_order(films, name):
    sequence = decode_in_order(films(name))
    assert [read_number(frame) for frame in sequence] == list(range(NUM_FRAMES))
    assert is_exact(VideoFile(str(films(name))), sequence)


@pytest.mark.parametrize("name", ["rate.mp4", "rate.mkv"])
def test_frames_of_a_variable_rate_are_counted_not_timed(tmp_path, name):
    times_ms = [40 * number + 3 * number**2 for number in range(NUM_FRAMES)]
    path = write_numbered_video(tmp_path / name, options={"bf": "3"}, times_ms=times_ms)
    video = VideoFile(str(path))
    assert is_exact(video, decode_in_order(path))
    assert [read_number(picture) for picture in read(video, 0, 20, 40, 47)[1]] == [0, 20, 40, 47]


def test_frames_that_an_edit_list_cuts_away_are_not_counted(films, tmp_path):
    with av.open(str(films("h264.mp4"))) as old, av.open(str(tmp_path / "cut.mp4"), "w") as new:
        stream = new.add_stream_from_template(old.streams.video[0])
        start = int(0.2 / old.streams.video[0].time_base)  # five frames, in the midst of a group
        for packet in old.demux(video=0):
            if packet.size:
                packet.pts, packet.dts, packet.stream = packet.pts - start, packet.dts - start, stream
                new.mux(packet)
    video = VideoFile(str(tmp_path / "cut.mp4"))
    assert len(video) == NUM_FRAMES - 5
    assert [read_number(picture) for picture in read(video, 0, 1, 30)[1]] == [5, 6, 35]
    assert is_exact(video, decode_in_order(tmp_path / "cut.mp4"))


@pytest.mark.parametrize("name", ["xvid.avi", "xvid_b.avi"])
def test_pictures_that_an_encoder_left_out_are_not_counted(films, tmp_path, name):
    # A picture of MPEG-4: start code, "predicted", a time, and the bit that says nothing follows.
    empty = bytes([0, 0, 1, 0xB6, 0b01010000, 0b01011111])
    places = {7, 20, 21}
    path = copy_packets(
        films(name), tmp_path / name, lambda number, packet: av.Packet(empty) if number in places else packet
    )
    sequence = decode_in_order(path)
    assert len(sequence) == NUM_FRAMES - 3
    assert is_exact(VideoFile(str(path)), sequence)


def test_hidden_frames_of_vp8_are_not_counted(films, tmp_path):
    def hide(number, packet):
        data = bytearray(bytes(packet))
        data[0] &= ~0x10
        return av.Packet(bytes(data)) if number in (5, 30) else packet

    path = copy_packets(films("vp8.webm"), tmp_path / "hidden.webm", hide)
    sequence = decode_in_order(path)
    assert [read_number(frame) for frame in sequence] == [n for n in range(NUM_FRAMES) if n not in (5, 30)]
    assert is_exact(VideoFile(str(path)), sequence)


def test_frames_before_the_first_key_frame_are_not_counted(films, tmp_path):
    path = copy_packets(films("h264.ts"), tmp_path / "midst.ts", lambda number, packet: packet if number > 4 else None)
    video = VideoFile(str(path))
    assert [read_number(picture) for picture in read(video, 0, len(video) - 1)[1]] == [12, 47]
    assert len(video) == NUM_FRAMES - 12


@pytest.mark.parametrize("announced", [0, 5, 47, 49, 500])
def test_the_number_of_frames_in_a_header_counts_for_nothing(films, tmp_path, announced):
    data = bytearray(films("xvid.avi").read_bytes())
    for at in (data.index(b"avih") + 24, data.index(b"strh") + 40):  # dwTotalFrames, dwLength
        assert struct.unpack_from("<I", data, at)[0] == NUM_FRAMES
        struct.pack_into("<I", data, at, announced)
    (tmp_path / "wrong.avi").write_bytes(data)
    assert is_exact(VideoFile(str(tmp_path / "wrong.avi")), decode_in_order(films("xvid.avi")))


# What is decoded for it.


class Spy:
    """Stands before a decoder and notes what of each packet it was asked to decode."""

    def __init__(self, decoder):
        self.__dict__.update(decoder=decoder, fed=[])

    def __getattr__(self, name):
        return getattr(self.decoder, name)

    def __setattr__(self, name, value):
        setattr(self.decoder, name, value)

    def decode(self, packet):
        if packet is not None:
            self.fed.append((packet.pts, self.decoder.skip_frame))
        return self.decoder.decode(packet)


@pytest.mark.parametrize(
    "name, numbers, runs",
    [
        ("h264_no_b.mkv", [5], [range(0, 6)]),
        ("h264_no_b.mkv", [17], [range(12, 18)]),
        ("h264_no_b.mkv", [12], [range(12, 13)]),
        ("h264_no_b.mkv", [17, 20, 40], [range(12, 21), range(36, 41)]),
        ("h264_no_b.mkv", [23, 24], [range(12, 25)]),
        ("xvid.avi", [30, 31], [range(24, 32)]),
        ("mjpeg.avi", [3, 4, 9], [range(3, 5), range(9, 10)]),
        ("h264.avi", [4], None),
    ],
)
def test_decoding_starts_at_the_key_frame_before_and_stops_behind_the_last_frame(films, name, numbers, runs):
    video = VideoFile(str(films(name)))
    spy = video._codec = Spy(video._codec)
    assert [read_number(picture) for picture in read(video, *numbers)[1]] == numbers
    if runs is None:  # the order of showing is not known: from the first frame on, and not to the end
        assert [place for place, _ in spy.fed] == list(range(len(spy.fed))) and 5 <= len(spy.fed) < 15
        return
    assert spy.fed == [(place, "DEFAULT" if place in numbers else "NONREF") for places in runs for place in places]


def test_frames_that_no_other_needs_are_passed_over(films):
    video = VideoFile(str(films("h264.mp4")))
    video._codec.flush_buffers()
    last = len(video) - 1
    given = [frame.pts for _, frame in video._decode_run(0, last, [last])]
    assert last in given and len(given) < 0.8 * len(video)


def test_a_reading_that_was_broken_off_leaves_nothing_behind(films):
    for name in ("h264.mp4", "h264.avi", "av1.mp4"):
        video = VideoFile(str(films(name)))
        for number in (40, 3):
            assert next(video.decode([number, number + 5]))[0] == number
        assert [read_number(picture) for picture in read(video, 2, 30)[1]] == [2, 30]


# Upright.

# By matrix (a, b, c, d): x' = a * x + c * y and y' = b * x + d * y; what a player then shows, from the frame as stored.
TURNS = {
    (1, 0, 0, 1): lambda frame: frame,
    (0, 1, -1, 0): lambda frame: np.rot90(frame, -1),  # a phone held upright: a quarter clockwise
    (-1, 0, 0, -1): lambda frame: np.rot90(frame, 2),
    (0, -1, 1, 0): lambda frame: np.rot90(frame, 1),
    (-1, 0, 0, 1): lambda frame: frame[:, ::-1],
    (1, 0, 0, -1): lambda frame: frame[::-1],
    (0, 1, 1, 0): lambda frame: frame.swapaxes(0, 1),
    (0, -1, -1, 0): lambda frame: frame.swapaxes(0, 1)[::-1, ::-1],
}


@pytest.mark.parametrize("matrix", TURNS)
def test_the_display_matrix_is_honoured(tmp_path, matrix):
    path = write_numbered_video(tmp_path / "phone.mp4", num_frames=4)
    stored = decode_in_order(path)
    video = VideoFile(str(set_display_matrix(path, matrix)))
    for picture, frame in zip(read(video, 0, 3)[1], (stored[0], stored[3]), strict=True):
        assert picture.flags.c_contiguous and np.array_equal(picture, TURNS[matrix](frame))


def test_colours_are_blue_green_red(tmp_path):
    path = write_numbered_video(tmp_path / "a.mp4", num_frames=2)
    picture = read(VideoFile(str(path)), 1)[1][0]
    assert picture.shape == (HEIGHT, WIDTH, 3) and picture.dtype == np.uint8
    assert np.abs(picture.astype(int) - draw_frame(1)).mean(axis=(0, 1)).max() < 12


# Bad files.


def make_silent_film(path):
    """Write a file that holds sound alone."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 4000), np.float32), format="fltp", layout="mono")
        sound.sample_rate = 16000
        container.mux(stream.encode(sound))
        container.mux(stream.encode())
    return path


def make_film_without_frames(path):
    """Write a file that announces pictures and holds none."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        container.start_encoding()
    return path


def write_text(path):
    path.write_text("a page that says: not found")
    return path


def write_nothing(path):
    path.write_bytes(b"")
    return path


@pytest.mark.parametrize(
    "make, name, message",
    [
        (write_nothing, "x.mp4", "x.mp4: the file is empty \\(0 bytes\\); get it again"),
        (
            write_text,
            "x.mp4",
            "x.mp4: 27 bytes that FFmpeg cannot read \\(.*\\): cut off, damaged, or no video; get it again",
        ),
        (make_silent_film, "x.mp4", "x.mp4: holds audio, expected a video; take it out of the list"),
        (make_film_without_frames, "x.avi", "x.avi: the video has no frames; take it out of the list"),
        (make_film_without_frames, "x.mp4", "x.mp4: holds nothing, expected a video"),
        (make_film_without_frames, "x.mkv", "x.mkv: .* bytes that FFmpeg cannot read"),
    ],
)
def test_what_is_no_video_says_so(tmp_path, make, name, message):
    with pytest.raises(UnreadableVideoError, match=message):
        VideoFile(str(make(tmp_path / name)))


def test_a_size_that_no_frame_has_is_refused_by_the_reader_and_the_check(films, tmp_path, monkeypatch):
    monkeypatch.setattr(pictures, "MAX_PIXELS", 1000)
    with pytest.raises(UnreadableVideoError, match=r"\.mp4: claims to be \d+ x \d+, too large for a frame"):
        VideoFile(str(films("h264.mp4")))
    data = cv2.imencode(".png", np.zeros((30, 40, 3), np.uint8))[1].tobytes()
    with pytest.raises(DamagedSampleError, match="^a: claims to be 40 x 30, too large for a frame; get it again"):
        EncodedPicture(data, "a")
    with pytest.raises(ValueError, match="^a: claims to be 40 x 30, too large for a frame; get it again"):
        clip_checks.check_pictures([("a", data)])


def test_a_missing_file_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="none.mp4"):
        VideoFile(str(tmp_path / "none.mp4"))


@pytest.fixture(scope="module")
def faststart(films, tmp_path_factory):
    """An mp4 file with its header first, as the web has them."""
    path = tmp_path_factory.mktemp("faststart") / "h264.mp4"
    with av.open(str(films("h264.mp4"))) as old, av.open(str(path), "w", options={"movflags": "faststart"}) as new:
        stream = new.add_stream_from_template(old.streams.video[0])
        for packet in old.demux(video=0):
            if packet.size:
                packet.stream = stream
                new.mux(packet)
    assert path.read_bytes().index(b"moov") < 100
    return path


@pytest.mark.parametrize("left", [0.15, 0.5, 0.97])
@pytest.mark.parametrize(
    "name", ["faststart", "h264.mp4", "h264.avi", "xvid.avi", "mjpeg.avi", "h264_no_b.mkv", "vp9.webm"]
)
def test_a_file_that_is_cut_off_is_refused(films, faststart, tmp_path, name, left):
    data = (faststart if name == "faststart" else films(name)).read_bytes()
    path = tmp_path / f"cut{(faststart if name == 'faststart' else films(name)).suffix}"
    path.write_bytes(data[: int(left * len(data))])
    with pytest.raises(UnreadableVideoError, match="cut.*: (cut off or damaged, [0-9]+ frames can be|.* cut off, dam)"):
        VideoFile(str(path))


@pytest.mark.parametrize("name", ["faststart", "xvid.avi"])
def test_a_file_cut_between_two_frames_is_refused(films, faststart, tmp_path, name):
    source = faststart if name == "faststart" else films(name)
    with av.open(str(source)) as container:
        packet = [packet for packet in container.demux(video=0) if packet.size][30]
        end = packet.pos + packet.size + (8 + packet.size % 2 if name == "xvid.avi" else 0)
    (tmp_path / source.name).write_bytes(source.read_bytes()[:end])
    with pytest.raises(UnreadableVideoError, match="cut off or damaged, 31 frames can be found; get it again"):
        VideoFile(str(tmp_path / source.name))


def test_a_stream_without_a_stated_length_is_not_cut_off(films, tmp_path):
    data = bytearray(films("vp9.webm").read_bytes())
    at = data.index(b"\x18\x53\x80\x67") + 4
    data[at : at + 8] = b"\x01" + 7 * b"\xff"  # as a live recording has it
    (tmp_path / "live.webm").write_bytes(data)
    assert is_exact(VideoFile(str(tmp_path / "live.webm")), decode_in_order(films("vp9.webm")))


@pytest.mark.parametrize("name", ["h264.mp4", "xvid.avi", "xvid_b.avi", "mjpeg.avi", "av1.mp4"])
def test_damaged_frames_are_refused_and_those_before_are_not(films, tmp_path, name):
    data = bytearray(films(name).read_bytes())
    with av.open(str(films(name))) as film:
        packets = [packet for packet in film.demux(video=0) if packet.size > 300]
    half = next(packet.pos for packet in packets if packet.pos > len(data) // 2) + 60  # in the midst of a frame
    data[half : half + 200] = bytes(200)
    (tmp_path / name).write_bytes(data)
    video = VideoFile(str(tmp_path / name))
    assert [read_number(picture) for picture in read(video, 1, 8)[1]] == [1, 8]
    message = f"{name}: (packet [123][0-9] of 4[0-9] is damaged|frame 4[0-9] of 48 cannot be decoded)"
    with pytest.raises(UnreadableVideoError, match=message):
        list(video.decode(range(len(video))))
    with pytest.raises(UnreadableVideoError, match=message):
        video.check()
    assert [read_number(picture) for picture in read(video, 2)[1]] == [2]


def test_whole_films_pass_the_check(films):
    for name in ENCODINGS:
        VideoFile(str(films(name))).check()
