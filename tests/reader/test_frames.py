"""Video files as samples of a list: the clips are those of the frames, and what is bad is named, not lost."""

import cv2
import numpy as np
import pytest
from numbered_videos import (
    HEIGHT,
    NUM_FRAMES,
    WIDTH,
    decode_in_order,
    read_number,
    set_display_matrix,
    write_numbered_video,
)
from ramp_videos import write_frames, write_video

from dataset.records import ListEntry, read_list
from reader.clips import Clips
from reader.fault_tolerant import DamagedSampleError
from reader.frames import EncodedClip, EncodedPicture, open_video

WHOLE = {"crop_size": HEIGHT, "short_size": HEIGHT}  # the films are as high as this: no pixel is resized


def write_list(root, *lines):
    (root / "a.list").write_text('# classes: ["A", "B"]\n' + "\n".join(lines) + "\n", encoding="utf-8")
    return str(root / "a.list")


def centre(frame):
    """The centre crop of a BGR frame, RGB."""
    left = (WIDTH - HEIGHT) // 2
    return frame[:, left : left + HEIGHT, ::-1]


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    """A film whose frames depend on others, before and behind them."""
    return write_numbered_video(tmp_path_factory.mktemp("film") / "v_A_g01_c01.mp4", options={"bf": "3"})


def test_views_of_a_video_are_cut_from_its_frames(film, tmp_path):
    clips = Clips(write_list(tmp_path, f"{film} 0"), "test", clip_len=4, frame_interval=3, num_clips=3, **WHOLE)
    sample, frames = clips[0, 0], decode_in_order(film)
    assert (sample["name"], sample["label"], sample["faults"]) == ("v_A_g01_c01", 0, [])
    starts = [6, 19, 32]  # the middles of three shares of 39 possible starts
    for view, start in zip(sample["inputs"]["rgb"], starts, strict=True):
        assert all(map(np.array_equal, view, [centre(frames[start + step]) for step in (0, 3, 6, 9)]))


def test_training_clips_of_a_video_are_those_of_its_pictures(film, tmp_path):
    frames = [frame[:, :, ::-1] for frame in decode_in_order(film)]
    write_frames(tmp_path / "v_A_g01_c01", frames, "{:05d}.png")  # which lose nothing
    video = Clips(write_list(tmp_path, f"{film} 0"), clip_len=6, num_segments=2, crop_size=32, crop="resized")
    pictures = Clips(
        write_list(tmp_path, f"v_A_g01_c01 {NUM_FRAMES} 0"), clip_len=6, num_segments=2, crop_size=32, crop="resized"
    )
    for epoch in range(6):
        one, other = video[epoch, 0], pictures[epoch, 0]
        assert np.array_equal(one["inputs"]["rgb"], other["inputs"]["rgb"]) and one["name"] == other["name"]


def test_a_video_shorter_than_the_clip_starts_again_from_its_first_frame(tmp_path):
    film = write_numbered_video(tmp_path / "short.webm", "libvpx", num_frames=5)
    frames = [centre(frame) for frame in decode_in_order(film)]
    for mode in ("train", "test"):
        clips = Clips(write_list(tmp_path, "short.webm 1"), mode, clip_len=12, augment=False, **WHOLE)
        view = clips[0, 0]["inputs"]["rgb"][0]
        assert all(map(np.array_equal, view, [frames[index % 5] for index in range(12)]))


def test_a_phone_video_is_upright_when_it_is_cut(tmp_path):
    film = set_display_matrix(write_numbered_video(tmp_path / "phone.mp4", num_frames=4), (0, 1, -1, 0))
    video = open_video(ListEntry(str(film), 0, None, 1))
    assert EncodedClip(video.frames, np.array([2])).frame_size == (WIDTH, HEIGHT)
    frames = decode_whole(video, [2])
    assert frames.shape == (1, WIDTH, HEIGHT, 3)
    assert np.array_equal(frames[0], np.rot90(decode_in_order(film)[2], -1)[:, :, ::-1])


def test_one_list_may_hold_records_folders_and_videos(film, tmp_path):
    frames = [frame[:, :, ::-1] for frame in decode_in_order(film)[:8]]
    write_frames(tmp_path / "B" / "folder", frames)
    record = write_video(tmp_path, "v_A_g02_c01", 0, frames)
    clips = Clips(write_list(tmp_path, record, "B/folder 8 1", f"{film} 0"), "test", clip_len=8, **WHOLE)
    assert [clips[0, index]["label"] for index in range(3)] == [0, 1, 0]
    assert [clips.find_class(index) for index in range(3)] == ["A", 1, 0]
    numbers = [[read_number(centre_of) for centre_of in full(clips, index)] for index in range(3)]
    assert numbers == [list(range(8)), list(range(8)), list(range(20, 28))]


def decode_whole(video, indices):
    """Decode frames of a video as they are."""
    clip = EncodedClip(video.frames, np.array(indices))
    return clip.decode((0, 0, *clip.frame_size), clip.frame_size)


def full(clips, index):
    """The eight centre frames of a sample, not cropped."""
    video = open_video(clips.entries[index])
    start = (len(video.frames) - 8) // 2
    return decode_whole(video, range(start, start + 8))


def test_the_folder_of_a_video_must_not_contradict_its_label(film, tmp_path):
    (tmp_path / "B").mkdir()
    for name in ("x.mp4", "y.mp4"):
        (tmp_path / "B" / name).write_bytes(film.read_bytes())
    clips = Clips(write_list(tmp_path, "B/x.mp4 1", "B/y.mp4 0"), "test", clip_len=4, **WHOLE)
    assert clips[0, 0]["label"] == 1
    with pytest.raises(
        ValueError, match="line 3: '.*y.mp4' has label 0, but its video is of class 'B', which has label 1"
    ):
        clips[0, 1]


def empty(path, film):
    path.write_bytes(b"")


def cut_short(path, film):
    data = film.read_bytes()
    path.write_bytes(data[: len(data) // 2])


def damage(path, film):
    data = bytearray(film.read_bytes())
    data[3000:-3000] = bytes(len(data) - 6000)
    path.write_bytes(data)


def vanish(path, film):
    path.unlink()


@pytest.mark.parametrize(
    "spoil, reason",
    [
        (empty, "bad.mp4: the file is empty"),
        (cut_short, "bad.mp4: .* cut off, damaged, or no video"),
        (damage, "bad.mp4: packet [0-9]+ of 48 is damaged"),
        (vanish, "bad.mp4: No such file or directory"),
    ],
)
def test_a_bad_video_is_replaced_in_training_and_an_error_in_evaluation(film, tmp_path, spoil, reason):
    (tmp_path / "bad.mp4").write_bytes(film.read_bytes())
    filelist = write_list(tmp_path, f"{film} 0", "bad.mp4 1", f"{film} 0")
    train, test = (Clips(filelist, mode, clip_len=16, **WHOLE) for mode in ("train", "test"))
    spoil(tmp_path / "bad.mp4", film)
    sample = train[0, 1]
    assert sample["label"] == 0 and sample["inputs"]["rgb"].shape[1] == 16
    assert sample["faults"] and all(str(tmp_path / "bad.mp4") in fault for fault in sample["faults"])
    with pytest.raises(ValueError, match=reason):
        test[0, 1]
    assert test[0, 0]["label"] == 0


def test_a_missing_video_is_named_with_its_line(film, tmp_path):
    with pytest.raises(FileNotFoundError, match="a.list line 3: 'gone.avi' does not exist; get the file"):
        Clips(write_list(tmp_path, f"{film} 0", "gone.avi 0"))


def test_a_video_that_changes_its_size(film, tmp_path):
    video = open_video(read_list(write_list(tmp_path, f"{film} 0"))[0][0])
    frames = dict(video.frames.file.decode([0, 5]))
    video.frames.file.decode = lambda numbers: iter([(0, frames[0]), (5, frames[5][:-2])])
    with pytest.raises(ValueError, match="frame 5: 96 x 62 pixels, expected 96 x 64"):
        decode_whole(video, [0, 5])


@pytest.mark.parametrize("trailer", [b"", bytes(5000), b"\xff\xda trailer of a phone " * 20])
def test_what_follows_the_end_of_a_jpeg_does_not_matter(trailer):
    picture = np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)
    thumbnail = cv2.imencode(".jpg", picture[:8, :8])[1].tobytes()
    jpeg = cv2.imencode(".jpg", picture)[1].tobytes()
    exif = b"\xff\xe1" + (len(thumbnail) + 2).to_bytes(2, "big") + thumbnail
    whole = jpeg[:2] + exif + jpeg[2:]
    assert EncodedPicture(whole + trailer, "a.jpg").decode(1).shape == (24, 32, 3)
    with pytest.raises(DamagedSampleError, match="a.jpg: .* cut short or not a picture"):
        EncodedPicture(whole[:-40], "a.jpg").decode(1)
