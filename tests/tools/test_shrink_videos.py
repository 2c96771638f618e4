"""Smaller videos: the same frames in the same order, whole or not at all, and key points that still lie on them."""

import csv
import io
import os
import signal
import subprocess
import sys
import time

import av
import cv2
import numpy as np
import pytest
from numbered_videos import (
    ENCODINGS,
    NUM_FRAMES,
    copy_packets,
    decode_in_order,
    draw_frame,
    read_number,
    write_numbered_video,
)
from paths import ROOT
from small_poses import make_annotation, write_poses

from dataset.video_file import VideoFile
from reader.rgbpose import RGBPose
from tools import shrink_videos

NTU_NAME = "S001C001P001R001A001_rgb"


def shrink(root, *words, size=(48, 32)):
    """Shrink `root`/big to `root`/small; return the exit status."""
    words = ["--out", root / "small", "--width", size[0], "--height", size[1], "--workers", 2, *words]
    return shrink_videos.main([str(root / "big"), *map(str, words)])


def list_files(folder):
    """List the files below a folder, hidden ones too."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def read_frames(path):
    """Read the frames as the readers do."""
    video = VideoFile(str(path))
    return [frame for _, frame in video.decode(range(len(video)))]


def read_reasons(root):
    with open(root / "small" / "failed.csv", encoding="utf-8", newline="") as file:
        return {row["item"]: row["reason"] for row in csv.DictReader(file)}


@pytest.mark.parametrize("name", ["xvid.avi", "xvid_b.avi", "h264_open_groups.mp4", "mjpeg.avi"])
def test_every_frame_is_kept_in_its_place(tmp_path, name):
    codec, options, group = ENCODINGS[name]
    old = write_numbered_video(tmp_path / "big" / "s01" / f"{NTU_NAME}{name[-4:]}", codec, options, group)
    assert shrink(tmp_path) == 0
    new = tmp_path / "small" / "s01" / f"{NTU_NAME}.mp4"
    assert list_files(tmp_path / "small") == [f"s01/{NTU_NAME}.mp4", "settings.json"]
    frames = decode_in_order(new)  # by another way than the tool's own
    large = [cv2.resize(frame, (96, 64)) for frame in frames]
    assert [read_number(frame) for frame in large] == list(range(NUM_FRAMES))
    for small, big in zip(frames, decode_in_order(old), strict=True):
        expected = cv2.resize(big, (48, 32), interpolation=cv2.INTER_AREA)
        gray, expected = (cv2.cvtColor(one, cv2.COLOR_BGR2GRAY).astype(int) for one in (small, expected))
        assert gray.shape == (32, 48) and np.abs(gray - expected).mean() < 7
    with av.open(str(new)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.average_rate) == ("h264", 25)


def test_ntus_size_becomes_a_quarter_and_colours_stay(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    colours = [(40, 60, 200), (200, 60, 40), (60, 180, 60)]
    path = tmp_path / "big" / f"{NTU_NAME}.avi"
    path.parent.mkdir()
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter_fourcc(*"XVID"), 30, (1920, 1080))
    for colour in colours:
        writer.write(np.full((1080, 1920, 3), colour, np.uint8))
    writer.release()
    assert shrink_videos.main(["big", "--out", "small", "--workers", "1"]) == 0
    frames = read_frames(tmp_path / "small" / f"{NTU_NAME}.mp4")
    assert [frame.shape for frame in frames] == [(540, 960, 3)] * 3
    before = [frame.mean(axis=(0, 1)) for frame in read_frames(path)]
    assert np.abs(np.subtract([frame.mean(axis=(0, 1)) for frame in frames], before)).max() < 4


@pytest.mark.parametrize("size, expected", [((96, 40), (40, 60)), ((51, 64), (34, 52)), ((960, 540), (64, 96))])
def test_the_aspect_stays_and_nothing_grows(tmp_path, size, expected):
    write_numbered_video(tmp_path / "big" / "a.mp4", num_frames=4)
    assert shrink(tmp_path, size=size) == 0
    assert read_frames(tmp_path / "small" / "a.mp4")[0].shape[:2] == expected


def test_key_points_hold_for_the_small_video(tmp_path):
    """The reader gives the same pose, and nearly the same picture, from either."""
    film = write_numbered_video(tmp_path / "big" / "one_rgb.avi", "mpeg4", {"qmin": "1", "qmax": "2"})
    steps = np.array([0.5, 0.25], np.float32) * np.arange(NUM_FRAMES, dtype=np.float32)[:, None, None]
    body = np.random.default_rng(0).uniform([20, 10], [60, 50], (17, 2)).astype(np.float32)
    annotation = make_annotation("one", num_frames=NUM_FRAMES, keypoint=(body + steps)[None], img_shape=(64, 96))
    path = write_poses(tmp_path / "poses.pkl", [annotation])
    assert shrink(tmp_path) == 0
    arguments = {"split": "all", "short_size": 32, "crop_size": 32, "clip_len": 8, "rgb_clip_len": 8, "num_clips": 2}
    readers = [RGBPose(path, str(tmp_path / name), mode="test", **arguments) for name in ("big", "small")]
    big, small = (reader[0, 0]["inputs"] for reader in readers)
    assert VideoFile(str(film)) and big["pose"].shape == small["pose"].shape
    np.testing.assert_array_equal(small["pose"][..., 2:], big["pose"][..., 2:])
    assert np.abs(small["pose"][..., :2] - big["pose"][..., :2]).max() < 0.3  # of 8 pixels: boxes are of whole ones
    away = np.abs(small["rgb"].astype(int) - big["rgb"])
    other = np.abs(small["rgb"].astype(int) - big["rgb"][:, ::-1])
    assert away.mean() < 10 < 20 < other.mean()


def test_a_second_run_makes_only_what_is_missing(tmp_path, capsys):
    for name in ("a", "b"):
        write_numbered_video(tmp_path / "big" / f"{name}.avi", "mpeg4", num_frames=6)
    assert shrink(tmp_path) == 0
    assert "2 videos made (12 frames, " in capsys.readouterr().out
    kept, gone = (tmp_path / "small" / f"{name}.mp4" for name in "ab")
    before = kept.stat().st_mtime_ns
    gone.unlink()
    (tmp_path / "small" / ".unfinished-0123abcd").write_bytes(b"half")
    assert shrink(tmp_path) == 0
    assert "1 videos made (6 frames, " in capsys.readouterr().out
    assert kept.stat().st_mtime_ns == before
    assert list_files(tmp_path / "small") == ["a.mp4", "b.mp4", "settings.json"]
    write_numbered_video(tmp_path / "big" / "a.avi", "mpeg4", num_frames=4)  # another video of the same name
    os.utime(kept, (1, 1))
    assert shrink(tmp_path) == 0
    assert "1 videos made (4 frames, " in capsys.readouterr().out
    with pytest.raises(ValueError, match="holds videos made with --width 48 --height 32; use these flags"):
        shrink(tmp_path, size=(24, 16))


def test_damaged_videos_are_named_and_stop_nothing(tmp_path, capsys):
    good = write_numbered_video(tmp_path / "big" / "good.avi", "mpeg4")
    (tmp_path / "big" / "cut.avi").write_bytes(good.read_bytes()[: good.stat().st_size // 2])
    (tmp_path / "big" / "empty.avi").write_bytes(b"")
    (tmp_path / "big" / "text.mp4").write_bytes(b"no video")
    write_numbered_video(tmp_path / "big" / "good.mov", "mpeg4", num_frames=2)

    def spoil(number, packet):
        return av.Packet(b"\0" * packet.size) if number == 20 else packet

    copy_packets(write_numbered_video(tmp_path / "whole.mp4"), tmp_path / "big" / "hole.mp4", spoil)
    assert shrink(tmp_path) == 1
    told = capsys.readouterr().out
    assert "1 videos made" in told and "5 FAILED, see " in told and "  empty.avi: the file is empty (0 bytes)" in told
    reasons = read_reasons(tmp_path)
    assert list(reasons) == ["cut.avi", "empty.avi", "good.mov", "hole.mp4", "text.mp4"]
    assert reasons["cut.avi"].startswith("cut off or damaged, ") and "damaged" in reasons["hole.mp4"]
    assert reasons["good.mov"] == "another video has the same name, 'good.avi'; rename one of them"
    assert list_files(tmp_path / "small") == ["failed.csv", "good.mp4", "settings.json"]
    for name in ("cut.avi", "empty.avi", "text.mp4", "good.mov", "hole.mp4"):
        (tmp_path / "big" / name).unlink()
    assert shrink(tmp_path) == 0 and list_files(tmp_path / "small") == ["good.mp4", "settings.json"]


FAULTS = {
    "one too few": (lambda frames: frames[:-1], "47 frames were written of 48; nothing is kept"),
    "two exchanged": (lambda frames: [*frames[:9], frames[10], frames[9], *frames[11:]], "frame 9 of 48 is another"),
    "one twice": (lambda frames: [frames[0], *frames[:-1]], "frame 1 of 48 is another one in what was written"),
    "all black": (lambda frames: [0 * frame for frame in frames], "frame 0 of 48 is another one"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_was_written_is_compared_with_the_video(tmp_path, monkeypatch, fault):
    spoil, reason = FAULTS[fault]
    write_numbered_video(tmp_path / "big" / "a.avi", "mpeg4")
    write_frames = shrink_videos.write_frames

    def write_badly(file, frames, *others):
        frames = list(frames)
        write_frames(file, iter(spoil(frames)), *others)
        return np.stack([shrink_videos.make_thumbnail(frame) for frame in frames])

    monkeypatch.setattr(shrink_videos, "write_frames", write_badly)
    assert shrink(tmp_path) == 1
    assert read_reasons(tmp_path)["a.avi"].startswith(reason)
    assert list_files(tmp_path / "small") == ["failed.csv", "settings.json"]


def test_a_small_faint_movement_tells_the_order(tmp_path):
    frames = [np.full((64, 96, 3), 100, np.uint8) for _ in range(8)]
    for number, frame in enumerate(frames):
        frame[20:28, 10 * number : 10 * number + 8] += 20
    thumbnails = np.stack([shrink_videos.make_thumbnail(frame) for frame in frames])
    for order in ([0, 1, 2, 3, 4, 5, 6, 7], [0, 1, 3, 2, 4, 5, 6, 7]):
        with open(tmp_path / "faint.mp4", "wb") as file:
            shrink_videos.write_frames(file, iter([frames[place] for place in order]), 25, None, 25)
        if order[2] == 2:
            shrink_videos.check_frames(str(tmp_path / "faint.mp4"), thumbnails)
    with pytest.raises(ValueError, match="frame 2 of 8 is another one in what was written; nothing is kept"):
        shrink_videos.check_frames(str(tmp_path / "faint.mp4"), thumbnails)


def test_the_same_frames_give_the_same_bytes_whatever_the_memory_held_before():
    frames = [cv2.resize(draw_frame(number), (160, 120)) for number in range(24)]
    rng, found = np.random.default_rng(0), set()
    for _ in range(4):
        used = [bytes([rng.integers(256)]) * int(size) for size in rng.integers(500, 60_000, 300)]
        del used  # what is written next lies there
        file = io.BytesIO()
        shrink_videos.write_frames(file, iter(frames), 25, None, 25)
        found.add(file.getvalue())
    assert len(found) == 1


def test_frames_that_tiny_pictures_do_not_tell_apart_are_encoded_better(tmp_path):
    write_numbered_video(tmp_path / "big" / "a.avi", "mpeg4")
    assert shrink(tmp_path, size=(16, 16)) == 0
    video = VideoFile(str(tmp_path / "small" / "a.mp4"))
    assert len(video) == NUM_FRAMES
    with pytest.raises(shrink_videos.OtherFrameError, match="is another one in what was written; nothing is kept"):
        shrink_videos.write_checked(VideoFile(str(tmp_path / "big" / "a.avi")), tmp_path / "b.mp4", (16, 16), 40)
    assert not (tmp_path / "b.mp4").exists()


def test_times_stay_where_the_rate_varies(tmp_path):
    times_ms = [40 * number + 3 * number**2 for number in range(12)]
    write_numbered_video(tmp_path / "big" / "a.mkv", times_ms=times_ms, num_frames=12)
    assert shrink(tmp_path) == 0
    times_s = VideoFile(str(tmp_path / "small" / "a.mp4")).times_s
    assert np.abs(1000 * np.array(times_s[:12]) - times_ms).max() < 1


def test_a_killed_run_leaves_no_half_file(tmp_path):
    for number in range(4):
        write_numbered_video(tmp_path / "big" / f"v{number}.avi", "mjpeg", group=1)
    words = [sys.executable, ROOT / "tools" / "shrink_videos.py", tmp_path / "big", "--out", tmp_path / "small"]
    slow = "import runpy, sys, time\nfrom dataset import video_file as v\nold = v.VideoFile._convert\n"
    slow += "v.VideoFile._convert = lambda *one: (time.sleep(0.01), old(*one))[1]\n"
    slow += "sys.argv = sys.argv[1:]\nrunpy.run_path(sys.argv[0], run_name='__main__')"
    command = [words[0], "-c", slow, *words[1:], "--workers", "1"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
    end_s = time.monotonic() + 60
    while not (list(tmp_path.glob("small/*.mp4")) and list(tmp_path.glob("small/.unfinished-*"))):
        assert process.poll() is None and time.monotonic() < end_s, "the run ended before it could be killed"
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.wait()
    time.sleep(0.3)  # its worker ends at once; were it to go on, the next lines would see it
    done = list(tmp_path.glob("small/*.mp4"))
    assert 1 <= len(done) < 4 and all(len(decode_in_order(path)) == NUM_FRAMES for path in done)
    ended = subprocess.run(words, capture_output=True, text=True)
    assert ended.returncode == 0 and f"{len(done)} were there" in ended.stdout
    assert list_files(tmp_path / "small") == ["settings.json", *(f"v{number}.mp4" for number in range(4))]


def test_what_cannot_be_done_is_refused_at_once(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match="no videos .*name the folder that has them"):
        shrink(tmp_path)
    write_numbered_video(tmp_path / "big" / "a.mp4", num_frames=2)
    for out in ("big", "big/small", "."):
        with pytest.raises(ValueError, match="one lies in the other; choose an --out beside the folder"):
            shrink(tmp_path, "--out", tmp_path / out)
    write_numbered_video(tmp_path / "small" / "b.mp4", num_frames=2)
    with pytest.raises(ValueError, match="holds videos that this script did not make; choose another --out"):
        shrink(tmp_path)
    monkeypatch.setattr(shrink_videos, "ENCODER", "no_such_encoder")
    with pytest.raises(ValueError, match="built without the H.264 encoder no_such_encoder; install the wheel of PyPI"):
        shrink(tmp_path, "--out", tmp_path / "other")
    assert not os.path.exists(tmp_path / "other")


@pytest.mark.parametrize("words", [["--width", "8"], ["--height", "0"], ["--workers", "-1"]])
def test_numbers_out_of_range_are_refused(words, capsys):
    with pytest.raises(SystemExit):
        shrink_videos.parse_arguments(["big", "--out", "small", *words])
    assert "--width and --height take 16 or more, --workers takes 0 or more" in capsys.readouterr().err
