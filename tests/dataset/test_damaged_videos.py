"""Videos damaged in the middle: refused, or read with every frame in its place; the same by every script."""

import collections

import av
import numpy as np
import pytest
from damaged_videos import FILMS, damage, find_verdict, shrink, write_film
from numbered_videos import decode_in_order

import avi2jpg
from dataset.clip_checks import check_video
from dataset.records import ListEntry
from dataset.video_file import UnreadableVideoError, VideoFile
from inference import video_io
from reader import frames as reader_frames
from tools import find_poses, shrink_videos


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    """A function that gives the path of a film of `FILMS`, made when it is first asked for."""
    root = tmp_path_factory.mktemp("films")
    return lambda name: write_film(root, name)


def try_damage(path, folder, seeds):
    """Damage a film once for each seed; return how often it was refused and read, and what is wrong."""
    intact, data = shrink(decode_in_order(path)), path.read_bytes()
    verdicts, faults = collections.Counter(), []
    for seed in seeds:
        damaged = folder / path.name
        damaged.write_bytes(damage(data, np.random.default_rng(seed)))
        verdict = find_verdict(damaged, intact)
        verdicts[verdict] += 1
        if verdict not in ("read", "refused"):
            faults.append(f"seed {seed}: {verdict}")
    return verdicts, faults


@pytest.mark.parametrize("name", FILMS)
def test_no_frame_is_lost_or_moved_without_a_word(films, tmp_path, name):
    assert try_damage(films(name), tmp_path, range(5))[1] == []


@pytest.mark.long
@pytest.mark.parametrize("name", FILMS)
def test_no_frame_is_lost_or_moved_in_a_hundred_damaged_files(films, tmp_path, name):
    verdicts, faults = try_damage(films(name), tmp_path, range(1000, 1100))
    assert faults == [] and verdicts["refused"] >= 50  # cut and inserted bytes shift what follows


def read_by_every_script(path, folder):
    """Read a video as each script does; return {script: the reason why it refuses it, or empty}."""
    entry = ListEntry(str(path), label=0, num_frames=None, line=1)
    (folder / "jpg").mkdir(parents=True)

    def read_as_reader():
        frames = reader_frames.open_video(entry).frames
        list(frames.read(list(range(len(frames)))))

    reads = {
        "avi2jpg.py": lambda: avi2jpg.write_frames(str(path), str(folder / "jpg"), 0, 0, 90),
        "avi2jpg.py --fps": lambda: avi2jpg.write_frames(str(path), str(folder / "jpg"), 0, 2, 90),
        "data_list_gener.py": lambda: check_video(entry),
        "train.py": read_as_reader,
        "predict.py": lambda: list(video_io.read_frames(str(path))),
        "find_poses.py": lambda: list(find_poses.read_frames(str(path))),
        "shrink_videos.py": lambda: shrink_videos.shrink_video((str(path), str(folder / "small.mp4")), 48, 48),
    }
    reasons = dict.fromkeys(reads, "")
    for name, read in reads.items():
        try:
            read()
        except ValueError as error:
            reasons[name] = str(error).removeprefix(f"{path}: ")
    return reasons


@pytest.mark.parametrize("name", ["h264.mp4", "xvid_b.avi", "mjpeg.avi", "vp9.webm", "mpeg2.mpg"])
def test_every_script_gives_the_same_verdict(films, tmp_path, name):
    data = films(name).read_bytes()
    for seed in range(3):
        path = tmp_path / f"{seed}{films(name).suffix}"
        path.write_bytes(damage(data, np.random.default_rng([5, seed])) if seed else data)
        reasons = read_by_every_script(path, tmp_path / str(seed))
        assert len(set(reasons.values())) == 1, reasons
        assert seed or reasons["train.py"] == ""


def test_one_damaged_frame_that_no_other_needs_is_seen_by_every_script(films, tmp_path):
    data = bytearray(films("mpeg4_b.mp4").read_bytes())
    with av.open(str(films("mpeg4_b.mp4"))) as film:
        packets = [packet for packet in film.demux(video=0) if packet.size]
    packet = min(packets[20:40], key=lambda packet: packet.size)  # shown between others that do not refer to it
    data[packet.pos + 9 : packet.pos + packet.size] = b"\xaa" * (packet.size - 9)
    (tmp_path / "a.mp4").write_bytes(data)
    reasons = read_by_every_script(tmp_path / "a.mp4", tmp_path / "out")
    assert len(set(reasons.values())) == 1 and "is damaged" in reasons["train.py"], reasons


# What the damage hides from FFmpeg, place by place.


def find_packet(path, number):
    """Return the place of the content of a packet in its file."""
    with av.open(str(path)) as film:
        content = bytes([packet for packet in film.demux(video=0) if packet.size][number])
    return path.read_bytes().index(content[:40])


def change(path, target, at, new, num_old=None):
    """Write a file with some bytes changed; `num_old` of them, as many as there are new ones if not given."""
    data = path.read_bytes()
    target.write_bytes(data[:at] + new + data[at + (len(new) if num_old is None else num_old) :])
    return str(target)


CHANGES = [
    ("mjpeg.avi", -8, b"0!dc", "damaged at byte [0-9]+ of [0-9]+, where frames may be lost"),
    ("mjpeg.avi", -4, b"\xff\xff\x00\x00", "damaged at byte"),  # the length of a chunk
    ("vp8.webm", -6, b"\xa2", "damaged at byte"),  # the kind of an element
    ("vp8.webm", -4, b"\x82", "damaged at byte|damaged, 4. frames can be found of 47"),  # the track of a block
    ("vp9.mkv", 100, b"\x00\x00", "damaged at byte"),  # the checksum of a cluster
    ("flv.flv", -9, b"\x00", "damaged at byte|damaged, 31 frames can be found"),  # the length of a tag
    ("vp8.ogv", 20, b"\x00\x00\x00", "damaged at byte [0-9]+ of"),  # a page whose content is not its checksum's
    ("mpeg2.ts", 1, b"\x00\x00\x00", "damaged, .* is missing|can be found|is damaged"),
]


@pytest.mark.parametrize("name, offset, new, message", CHANGES)
def test_a_damaged_header_is_found(films, tmp_path, name, offset, new, message):
    path = change(films(name), tmp_path / name, find_packet(films(name), 30) + offset, new)
    with pytest.raises(UnreadableVideoError, match=message):
        VideoFile(path)


@pytest.mark.parametrize("kind, skip, new", [(b"stsz", 92, b"\x00\x00\x20\x00"), (b"stco", 8, b"\x00\x7f\xff\xff")])
def test_a_wrong_table_of_samples_is_found(films, tmp_path, kind, skip, new):
    at = films("h264.mp4").read_bytes().index(kind) + 4 + skip
    with pytest.raises(UnreadableVideoError, match="damaged at byte [0-9]+ of|or damaged, 42 frames can be found"):
        VideoFile(change(films("h264.mp4"), tmp_path / "a.mp4", at, new))


def test_wrong_times_move_no_frame(films, tmp_path):
    data = films("h264.mp4").read_bytes()
    at = data.index(b"ctts") + 12 + 8 * 9 + 4  # of the tenth run of samples: how long behind its decoding one is shown
    path = change(films("h264.mp4"), tmp_path / "a.mp4", at, (3 << 9).to_bytes(4, "big"))
    assert find_verdict(path, shrink(decode_in_order(films("h264.mp4")))) in ("read", "refused")


@pytest.mark.parametrize("name", ["mpeg2.mpg", "mpeg2.ts"])
def test_a_lost_start_of_a_picture_is_found(films, tmp_path, name):
    data = films(name).read_bytes()
    at = [place for place in range(len(data)) if data.startswith(b"\x00\x00\x01\x00", place)][20]
    with pytest.raises(UnreadableVideoError, match=r"a frame behind packet \d+ of \d+ is missing|damaged"):
        VideoFile(change(films(name), tmp_path / name, at, b"\x00\x10\x10\x10")).check()


def test_a_frame_of_vp9_that_turns_into_a_repetition_is_found(films, tmp_path):
    at = find_packet(films("vp9.webm"), 30)
    first = films("vp9.webm").read_bytes()[at]
    with pytest.raises(UnreadableVideoError, match="damaged, packet 31 of 48 holds no frame; get it again"):
        VideoFile(change(films("vp9.webm"), tmp_path / "a.webm", at, bytes([first | 0x08])))


# What looks like damage and is none.


def is_whole(path, source):
    """Whether a file has the frames of another one, bit for bit."""
    frames = [frame for _, frame in VideoFile(str(path)).decode(range(len(VideoFile(str(path)))))]
    expected = decode_in_order(source)
    return len(frames) == len(expected) and all(map(np.array_equal, frames, expected))


def test_oddities_of_avi_are_no_damage(films, tmp_path):
    source = films("xvid.avi")
    data = source.read_bytes()
    index = data.rindex(b"idx1")
    third = find_packet(source, 3) - 8
    junk = b"JUNK" + (6).to_bytes(4, "little") + b"abcdef"
    for number, content in enumerate(
        [
            data[:index],  # stopped before its index was written
            data[:4] + bytes(4) + data[8:],  # lengths were never filled in
            data[:third] + junk + data[third:index],
            data + bytes(1000),
            data + b"some notes",
            data.replace(b"00dc", b"00__"),  # as chunks of DV are called
        ]
    ):
        (tmp_path / f"{number}.avi").write_bytes(content)
        assert is_whole(tmp_path / f"{number}.avi", source), number


def test_oddities_of_matroska_are_no_damage(films, tmp_path):
    source = films("vp8.webm")
    data = source.read_bytes()
    segment = data.index(b"\x18\x53\x80\x67") + 4
    cluster = data.index(b"\x1f\x43\xb6\x75") + 4
    size = 9 - data[cluster].bit_length()
    unknown = (1 << 7 * size | (1 << 7 * size) - 1).to_bytes(size, "big")
    live = data[:segment] + b"\x01" + 7 * b"\xff" + data[segment + 8 : cluster] + unknown + data[cluster + size :]
    no_index = data.replace(b"\x1c\x53\xbb\x6b", b"\xec\x53\xbb\x6b")
    for name, content in {"live": live, "tail": data + bytes(500), "no_index": no_index}.items():
        (tmp_path / f"{name}.webm").write_bytes(content)
        assert is_whole(tmp_path / f"{name}.webm", source), name


def test_parts_of_a_packet_at_the_ends_of_a_transport_stream_are_no_damage(films, tmp_path):
    data = films("h264.ts").read_bytes()
    (tmp_path / "a.ts").write_bytes(data[60:188] + data + data[:100])
    assert is_whole(tmp_path / "a.ts", films("h264.ts"))
    blu_ray = b"".join(bytes(4) + data[start : start + 188] for start in range(0, len(data), 188))
    (tmp_path / "a.m2ts").write_bytes(blu_ray)
    assert is_whole(tmp_path / "a.m2ts", films("h264.ts"))


@pytest.mark.parametrize("flags", ["faststart", "frag_keyframe+empty_moov", "rtphint"])
def test_other_orders_of_an_mp4_file_are_no_damage(films, tmp_path, flags):
    source = films("h264.mp4")
    with av.open(str(source)) as old, av.open(str(tmp_path / "a.mp4"), "w", options={"movflags": flags}) as new:
        stream = new.add_stream_from_template(old.streams.video[0])
        for packet in old.demux(video=0):
            if packet.size:
                packet.stream = stream
                new.mux(packet)
    assert is_whole(tmp_path / "a.mp4", source)


@pytest.mark.parametrize("name", ["h264.mp4", "vp9.mkv"])
def test_a_title_that_is_not_utf_8_is_no_damage(films, tmp_path, name):
    data = films(name).read_bytes()
    at = data.rindex(b"Lavf")
    assert is_whole(change(films(name), tmp_path / name, at, "舞蹈".encode("gbk")), films(name))


def test_whole_films_are_read(films):
    for name in FILMS:
        VideoFile(str(films(name))).check()


def test_a_page_of_an_ogg_file_that_is_missing_is_found(films, tmp_path):
    data = films("vp8.ogv").read_bytes()
    pages = data.split(b"OggS")
    path = tmp_path / "a.ogv"
    path.write_bytes(data)
    assert len(pages) > 6 and len(VideoFile(str(path)))
    path.write_bytes(b"OggS".join(pages[: len(pages) // 2] + pages[len(pages) // 2 + 1 :]))
    with pytest.raises(UnreadableVideoError, match="damaged at byte [0-9]+ of"):
        VideoFile(str(path))
