"""Videos in and out: what is found, named and read, and the WebM file that is written."""

import os
import resource

import numpy as np
import pytest
from numbered_videos import decode_in_order, set_display_matrix, write_numbered_video
from small_videos import make_frames, read_back, write_avi, write_folder

from dataset.names import MediaIndex
from inference import video_io
from reader.transforms import scale_short_side

# What the user's words name.


def test_a_folder_gives_its_videos_and_frame_folders_in_order(tmp_path):
    for name in ("v10.avi", "v9.AVI", "sub dir/ü.mp4", "sub dir/deep/x.webm", "notes.txt", ".hidden/y.avi"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    write_folder(tmp_path / "frames" / "one", make_frames(2))
    (tmp_path / "v9.png").write_bytes(b"")  # a picture beside videos is no frame
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "v9_predict.webm").write_bytes(b"")
    os.symlink(tmp_path, tmp_path / "loop")
    found = video_io.find_videos([str(tmp_path)], str(tmp_path / "out"))
    relative = [os.path.relpath(path, tmp_path) for path in found]
    assert relative == ["frames/one", "sub dir/deep/x.webm", "sub dir/ü.mp4", "v9.AVI", "v10.avi"]


def test_what_is_no_folder_of_videos_stands_for_itself(tmp_path):
    words = [str(tmp_path / "missing.avi"), str(tmp_path)]
    assert video_io.find_videos(words, "out") == words


# Reading.


def test_a_video_states_its_rate_and_a_folder_takes_the_given_one(tmp_path):
    video = write_avi(tmp_path / "a.avi", make_frames(7), fps=12.5)
    folder = write_folder(tmp_path / "a", make_frames(9))
    assert video_io.probe(str(video), 25) == (12.5, 7, None)
    assert video_io.probe(str(folder), 30) == (30, 9, None)


def test_frames_of_a_folder_are_rgb_and_in_the_order_of_their_numbers(tmp_path):
    frames = make_frames(12)
    folder = write_folder(tmp_path / "名 with blank", frames, "frame_{}.png")  # 1, 2 ... 10: not zero-padded
    read = list(video_io.read_frames(str(folder)))
    assert np.array_equal(read, frames)


def test_frames_of_a_video_are_rgb_and_scaled_as_the_reader_scales(tmp_path):
    frames = make_frames(5)
    video = write_avi(tmp_path / "ü b.avi", frames)
    read = list(video_io.read_frames(str(video)))
    assert len(read) == 5
    assert np.abs(np.array(read, int) - np.array(frames, int)).mean() < 10  # JPEG halves the colours' resolution
    assert np.array_equal(list(video_io.read_frames(str(video), 20)), scale_short_side(np.array(read), 20))


def test_a_phone_video_is_upright(tmp_path):
    film = set_display_matrix(write_numbered_video(tmp_path / "phone.mp4", num_frames=3), (0, 1, -1, 0))
    stored = [frame[:, :, ::-1] for frame in decode_in_order(film)]
    assert np.array_equal(list(video_io.read_frames(str(film))), [np.rot90(frame, -1) for frame in stored])


def test_frames_are_read_one_at_a_time(tmp_path):
    folder = write_folder(tmp_path / "a", make_frames(3))
    frames = video_io.read_frames(str(folder))
    next(frames)
    (folder / "00003.png").write_bytes(b"")
    next(frames)
    with pytest.raises(ValueError, match="00003.png: 0 bytes"):
        next(frames)


def test_frames_of_several_sizes_are_refused(tmp_path):
    folder = write_folder(tmp_path / "a", [*make_frames(2), *make_frames(1, height=40)])
    with pytest.raises(ValueError, match="its frames differ in size: 48 x 40 and others"):
        list(video_io.read_frames(str(folder)))


@pytest.mark.parametrize(
    "name, content, message",
    [
        ("missing.avi", None, "no such file or folder; check the path"),
        ("empty.avi", b"", r"empty.avi: the file is empty \(0 bytes\)"),
        ("noise.mp4", b"noise" * 99, r"495 bytes that FFmpeg cannot read"),
        ("00001.jpg", b"x", "this is a picture; name the folder"),
        (".", None, r"holds neither videos \(.avi, .divx, .mp4, .*\) nor frames"),
    ],
)
def test_what_cannot_be_read_is_told(tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises((ValueError, OSError), match=message):
        video_io.probe(str(tmp_path / name), 25)


# Writing.


def test_a_webm_file_holds_what_was_written(tmp_path, capfd):
    frames = make_frames(20, 120, 160)
    path = tmp_path / "new" / "ü b.webm"
    with video_io.write_webm(str(path), 29.97, 120, 160) as append:
        for number, frame in enumerate(frames):
            append(frame, number / 29.97)
        assert not path.exists()
    read, fps, code = read_back(path)
    assert len(read) == 20 and fps == pytest.approx(29.97) and code == b"VP80"
    assert np.abs(np.array(read, int) - np.array(frames, int)).mean() < 6
    assert path.read_bytes().startswith(b"\x1a\x45\xdf\xa3") and b"webm" in path.read_bytes()[:64]
    assert os.listdir(path.parent) == ["ü b.webm"]
    assert capfd.readouterr().err == ""


def test_the_rate_of_a_webm_file_is_limited_by_its_size(tmp_path):
    rng = np.random.default_rng(0)
    with video_io.write_webm(str(tmp_path / "a.webm"), 25, 240, 320) as append:
        for number, frame in enumerate(make_frames(25, 240, 320)):  # the noise of a camera is hard to encode
            append(np.clip(frame + rng.normal(0, 12, frame.shape), 0, 255).astype(np.uint8), number / 25)
    assert os.path.getsize(tmp_path / "a.webm") * 8 < 0.27 * 25 * 240 * 320


def test_a_broken_off_file_does_not_appear(tmp_path):
    with (
        pytest.raises(ValueError, match="frame 3"),
        video_io.write_webm(str(tmp_path / "a.webm"), 25, 36, 48) as append,
    ):
        append(make_frames(1)[0], 0)
        raise ValueError("frame 3")
    assert os.listdir(tmp_path) == []


def test_a_full_disk_is_told(tmp_path):
    rng = np.random.default_rng(0)
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        with (
            pytest.raises(OSError, match="a.webm' could not be written .File too large.: "),
            video_io.write_webm(str(tmp_path / "a.webm"), 25, 120, 160) as append,
        ):
            resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limit[1]))
            for number in range(20):
                append(rng.integers(0, 256, (120, 160, 3)).astype(np.uint8), number / 25)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert os.listdir(tmp_path) == []


def test_a_file_where_the_folder_should_be_is_told(tmp_path):
    (tmp_path / "out").write_bytes(b"")
    with (
        pytest.raises(OSError, match="out' could not be written .*choose another folder"),
        video_io.write_webm(str(tmp_path / "out" / "a.webm"), 25, 36, 48),
    ):
        pass


def test_a_pyav_without_the_encoder_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(video_io, "ENCODER", "no_such_encoder")
    with (
        pytest.raises(ValueError, match=r"built without the VP8 encoder no_such_encoder; install the wheel of PyPI"),
        video_io.write_webm(str(tmp_path / "a.webm"), 25, 36, 48),
    ):
        pass
    assert os.listdir(tmp_path) == []


def test_what_is_a_video_in_a_tree_is_one_rule_for_lists_and_for_prediction(tmp_path):
    videos = ["A/v1.avi", "A/v2.MTS", "B/frames", "B/v.avi", "C/x.pkl"]
    others = ["A/cover.jpg", "A/._v1.avi", "A/notes.txt", "B/flow/flow_x_1.jpg", "B/.thumbs/1.jpg", "D/list.pkl"]
    for name in [*videos[:2], *(f"{folder}/img_{number}.png" for folder in videos[2:] for number in (1, 2)), *others]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    found = video_io.find_videos([str(tmp_path)], str(tmp_path / "out"))
    assert [os.path.relpath(path, tmp_path) for path in found] == videos
    media = MediaIndex(str(tmp_path))
    assert [media.find([os.path.splitext(name)[0]]) for name in videos] == found
    assert not any(media.find([os.path.basename(os.path.splitext(name)[0])]) for name in others[:2] + others[4:])
