"""Videos to frames: the right ones in the right order, whole or not at all, whatever the place, name or damage."""

import csv
import errno
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import zipfile

import cv2
import numpy as np
import pytest
from numbered_videos import HEIGHT, WIDTH, set_display_matrix, write_numbered_video
from paths import ROOT
from small_videos import make_frames, write_avi

import avi2jpg
from dataset.records import list_frames

STEP = 12  # frame n of a test video is grey of brightness n * STEP, so that order shows


def write_video(path, num_frames=8, size=(48, 32), fps=25, codec="MJPG"):
    path.parent.mkdir(parents=True, exist_ok=True)
    backend = cv2.CAP_OPENCV_MJPEG if codec == "MJPG" else cv2.CAP_FFMPEG  # FFmpeg's writer makes odd sizes even
    writer = cv2.VideoWriter(str(path), backend, cv2.VideoWriter_fourcc(*codec), fps, size)
    for number in range(num_frames):
        writer.write(np.full((size[1], size[0], 3), number * STEP % 256, np.uint8))
    writer.release()
    assert path.stat().st_size > 0
    return path


def read_numbers(folder):
    """Recover the numbers of the frames from their brightness."""
    return [round(read_picture(folder / name).mean() / STEP) for name in list_frames(folder)]


def read_picture(path):
    return cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_COLOR)


def read_reasons(path):
    with open(path, encoding="utf-8", newline="") as file:
        return {row["item"]: row["reason"] for row in csv.DictReader(file)}


def extract(root, *flags):
    return avi2jpg.main(["--root", str(root), "--workers", "2", *map(str, flags)])


def snapshot(folder):
    """Every file below a folder with its bytes, settings and csv included, hidden ones too."""
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture
def tree(tmp_path):
    for name, num_frames in (("Biking/v_Biking_g01_c01", 12), ("Biking/v_Biking_g02_c01", 8), ("Run/v_Run_g01_c01", 8)):
        write_video(tmp_path / "UCF-101" / f"{name}.avi", num_frames)
    return tmp_path


def test_every_frame_comes_out_in_order_under_a_zero_padded_name(tree, capsys):
    assert extract(tree) == 0
    folder = tree / "UCF-101_jpg" / "Biking" / "v_Biking_g01_c01"
    assert sorted(path.name for path in folder.iterdir()) == [f"{number:05}.jpg" for number in range(1, 13)]
    assert read_numbers(folder) == list(range(12))
    frames = tree / "UCF-101_jpg"
    assert sorted(os.listdir(frames)) == ["Biking", "Run", "settings.json"]
    assert "3 videos extracted (28 frames), 0 were there" in capsys.readouterr().out


def test_second_run_does_only_what_is_missing(tree, capsys):
    extract(tree)
    frames = tree / "UCF-101_jpg"
    whole = snapshot(frames)
    shutil.rmtree(frames / "Run" / "v_Run_g01_c01")
    kept = frames / "Biking" / "v_Biking_g01_c01" / "00001.jpg"
    before = kept.stat().st_mtime_ns
    capsys.readouterr()
    assert extract(tree) == 0
    assert "1 videos extracted (8 frames), 2 were there" in capsys.readouterr().out
    assert snapshot(frames) == whole and kept.stat().st_mtime_ns == before


@pytest.mark.parametrize("flags", [("--short_size", 16), ("--fps", 10), ("--quality", 50)])
def test_frames_of_other_settings_are_not_mixed(tree, flags):
    extract(tree)
    shutil.rmtree(tree / "UCF-101_jpg" / "Run" / "v_Run_g01_c01")
    with pytest.raises(ValueError, match="holds frames made with --short_size 0 --fps 0 --quality 90; use these flags"):
        extract(tree, *flags)
    assert not (tree / "UCF-101_jpg" / "Run" / "v_Run_g01_c01").exists()


def test_frames_of_unknown_origin_are_not_mixed(tree):
    (tree / "UCF-101_jpg" / "Biking_jpg" / "v_Biking_g01_c01").mkdir(parents=True)
    with pytest.raises(ValueError, match="UCF-101_jpg' holds frames that this script did not make; move them away or"):
        extract(tree)


@pytest.fixture
def parts(tree):
    """The frames of two machines, a class each, and a folder with links to both classes."""
    for name in ("Biking", "Run"):
        (tree / f"part_{name}").mkdir()
        os.symlink(tree / "UCF-101" / name, tree / f"part_{name}" / name)
        flags = ["--videos", str(tree / f"part_{name}"), "--frames", str(tree / f"jpg_{name}"), "--workers", "1"]
        assert avi2jpg.main(flags) == 0
    (tree / "UCF-101_jpg").mkdir()
    for name in ("Biking", "Run"):
        os.symlink(tree / f"jpg_{name}" / name, tree / "UCF-101_jpg" / name)
    return tree


def test_frame_folders_of_several_machines_are_linked_together(parts, capsys):
    assert extract(parts) == 0 and extract(parts) == 0
    assert capsys.readouterr().out.count("0 videos extracted (0 frames), 3 were there") == 2
    assert not (parts / "UCF-101_jpg/settings.json").is_symlink()


def test_linked_frames_of_other_settings_are_not_mixed(parts):
    (parts / "jpg_Run/settings.json").write_text(json.dumps({"short_size": 16, "fps": 0, "quality": 90}))
    with pytest.raises(ValueError, match="jpg_Run' holds frames made with --short_size 16 --fps 0 --quality 90; use"):
        extract(parts)
    os.remove(parts / "jpg_Run/settings.json")
    with pytest.raises(ValueError, match="jpg_Run' holds frames that this script did not make"):
        extract(parts)


def test_copied_frames_need_the_settings_they_were_made_with(parts):
    shutil.copytree(parts / "jpg_Run/Run", parts / "copied/Run")
    with pytest.raises(ValueError, match="if it made them elsewhere, copy the settings.json of the folder where they"):
        extract(parts, "--frames", parts / "copied")
    shutil.copy(parts / "jpg_Run/settings.json", parts / "copied")
    assert extract(parts, "--frames", parts / "copied") == 0


def test_settings_of_a_run_that_made_no_frames_do_not_bind(tree):
    extract(tree)
    for name in ("Biking", "Run"):
        shutil.rmtree(tree / "UCF-101_jpg" / name)
    assert extract(tree, "--short_size", 16) == 0
    assert json.loads((tree / "UCF-101_jpg" / "settings.json").read_text())["short_size"] == 16


def pack(tree, prefix, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(prefix + "Biking/", "")
        for video in sorted((tree / "UCF-101").rglob("*.avi")):
            archive.write(video, prefix + video.relative_to(tree / "UCF-101").as_posix())
        archive.writestr(prefix + "readme.txt", "x")
        archive.writestr("__MACOSX/" + prefix + "Biking/._v_Biking_g01_c01.avi", "x")
    return path


@pytest.mark.parametrize("prefix", ["UCF-101/", "a/b c/", ""])
def test_zip_file_gives_the_same_frames(tree, prefix):
    extract(tree)
    (tree / "zipped").mkdir()
    pack(tree, prefix, tree / "any name.zip")
    assert extract(tree / "zipped", "--videos", tree / "any name.zip") == 0
    assert snapshot(tree / "zipped" / "UCF-101_jpg") == snapshot(tree / "UCF-101_jpg")


def test_zip_file_is_never_unpacked_whole(tree, monkeypatch):
    path = pack(tree, "UCF-101/", tree / "x.zip")
    monkeypatch.setattr(zipfile.ZipFile, "extractall", None)
    write_frames = avi2jpg.write_frames

    def watch(video, folder, *settings):
        assert os.listdir(folder) == ["video.avi"]
        return write_frames(video, folder, *settings)

    monkeypatch.setattr(avi2jpg, "write_frames", watch)
    assert avi2jpg.main(["--root", str(tree / "out"), "--videos", str(path), "--workers", "1"]) == 0
    assert not (tree / "out" / "UCF-101_jpg" / "failed.csv").exists()


def test_names_in_a_zip_file_cannot_lead_out_of_the_frames_folder(tmp_path):
    video = write_video(tmp_path / "v.avi").read_bytes()
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        for name in ("../../evil.avi", "A/../../evil.avi", "/abs/evil.avi", "Good/v.avi"):
            archive.writestr(name, video)
    assert extract(tmp_path / "deep" / "root", "--videos", tmp_path / "x.zip") == 0
    made = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("00001.jpg")}
    assert made == {f"deep/root/UCF-101_jpg/{name}/00001.jpg" for name in ("abs/evil", "Good/v")}


def test_a_zip_file_that_would_fill_the_disk_is_not_unpacked(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(write_video(tmp_path / "v.avi"), "Good/v.avi")
        archive.writestr("Bad/v.avi", b"\0" * (22 << 20))
    assert extract(tmp_path, "--videos", tmp_path / "x.zip") == 0
    reasons = read_reasons(tmp_path / "UCF-101_jpg" / "failed.csv")
    assert list(reasons) == ["Bad/v"] and "would unpack to 23068672, as no video does" in reasons["Bad/v"]


def test_damaged_zip_file(tree):
    path = pack(tree, "UCF-101/", tree / "x.zip")
    data = bytearray(path.read_bytes())
    (tree / "cut.zip").write_bytes(data[: len(data) // 2])
    with pytest.raises(ValueError, match="cut.zip' is no whole zip file .*download it again, or unpack it"):
        extract(tree / "out", "--videos", tree / "cut.zip")
    place = data.find(b"00dc") + 200  # a picture of the first video: the zip's own checksum finds the change
    data[place] ^= 255
    (tree / "bad.zip").write_bytes(data)
    assert extract(tree / "out", "--videos", tree / "bad.zip") == 0
    reasons = read_reasons(tree / "out" / "UCF-101_jpg" / "failed.csv")
    assert list(reasons) == ["Biking/v_Biking_g01_c01"] and "CRC" in reasons["Biking/v_Biking_g01_c01"]


@pytest.mark.parametrize(
    "place", ["data/UCF-101", "data/data/UCF-101", "data/UCF-101.zip", "data/data11460/UCF-101.zip"]
)
def test_default_places_without_any_argument(tree, run_script, place):
    work = tree / "work"
    (work / "data").mkdir(parents=True)
    if place.endswith(".zip"):
        pack(tree, "UCF-101/", work / place)
    else:
        shutil.copytree(tree / "UCF-101", work / place)
    done = run_script("avi2jpg.py", cwd=work)
    assert done.returncode == 0, done.stderr
    assert f"3 videos in {place}" in done.stdout
    assert read_numbers(work / "data/UCF-101_jpg/Biking/v_Biking_g01_c01") == list(range(12))


def test_another_root_finds_the_videos_where_2020_had_them(tree, run_script):
    shutil.move(tree / "UCF-101", tree / "data" / "data" / "UCF-101")
    done = run_script("avi2jpg.py", "--root", "lyj", cwd=tree)
    assert done.returncode == 0, done.stderr
    assert read_numbers(tree / "lyj/UCF-101_jpg/Biking/v_Biking_g01_c01") == list(range(12))


def test_empty_folder_does_not_hide_the_zip_file(tree):
    (tree / "root" / "UCF-101" / "Biking").mkdir(parents=True)
    pack(tree, "UCF-101/", tree / "root" / "UCF-101.zip")
    assert extract(tree / "root") == 0
    assert (tree / "root" / "UCF-101_jpg" / "Run" / "v_Run_g01_c01").is_dir()


def test_nothing_downloaded_says_what_is_missing_and_both_ways_on(tmp_path, run_script):
    done = run_script("avi2jpg.py", cwd=tmp_path)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    for text in (
        "'data/UCF-101' or 'data/UCF-101.zip'",
        "download UCF-101 (https",
        "tools/make_samples.py --root data/samples",
    ):
        assert text in done.stderr
    assert os.listdir(tmp_path) == []


def test_broken_videos_are_named_with_the_reason_and_stop_nothing(tree, capsys):
    videos = tree / "UCF-101" / "Run"
    whole = write_video(videos / "half.avi", 60).read_bytes()
    (videos / "half.avi").write_bytes(whole[: len(whole) // 2])
    (videos / "header.avi").write_bytes(whole[:100])
    (videos / "empty.avi").write_bytes(b"")
    (videos / "text.mp4").write_text("not found")
    (videos / "notes.txt").write_text("no video")
    assert extract(tree) == 0
    reasons = read_reasons(tree / "UCF-101_jpg" / "failed.csv")
    assert sorted(reasons) == ["Run/empty", "Run/half", "Run/header", "Run/text"]
    assert "the file is empty (0 bytes)" in reasons["Run/empty"]
    assert re.search(r"half.avi: cut off or damaged, \d+ frames can be found", reasons["Run/half"])
    assert "text.mp4: 9 bytes that FFmpeg cannot read" in reasons["Run/text"]
    assert sorted(os.listdir(tree / "UCF-101_jpg")) == ["Biking", "Run", "failed.csv", "settings.json"]
    assert os.listdir(tree / "UCF-101_jpg" / "Run") == ["v_Run_g01_c01"]
    assert "4 FAILED, see" in capsys.readouterr().out

    for name in ("header.avi", "empty.avi", "text.mp4"):
        (videos / name).unlink()
    write_video(videos / "half.avi", 60)
    assert extract(tree) == 0
    assert not (tree / "UCF-101_jpg" / "failed.csv").exists()
    assert len(list_frames(tree / "UCF-101_jpg" / "Run" / "half")) == 60


def test_no_whole_video_at_all_is_status_1(tmp_path):
    (tmp_path / "UCF-101" / "A").mkdir(parents=True)
    (tmp_path / "UCF-101" / "A" / "v.avi").write_bytes(b"")
    assert extract(tmp_path) == 1


def test_decoder_that_crashes_is_one_failed_video(tree, monkeypatch):
    write_frames = avi2jpg.write_frames

    def crash(path, *settings):
        if "v_Biking_g02_c01" in path:
            os.kill(os.getpid(), signal.SIGKILL)
        return write_frames(path, *settings)

    monkeypatch.setattr(avi2jpg, "write_frames", crash)
    assert extract(tree) == 0
    reasons = read_reasons(tree / "UCF-101_jpg" / "failed.csv")
    assert list(reasons) == ["Biking/v_Biking_g02_c01"] and "killed" in reasons["Biking/v_Biking_g02_c01"]
    assert sorted(os.listdir(tree / "UCF-101_jpg")) == ["Biking", "Run", "failed.csv", "settings.json"]


def test_what_a_killed_run_left_is_not_mixed_in(tree, monkeypatch):
    monkeypatch.setattr(os, "getpid", lambda: 7)  # process ids come again, in a container soon
    for name in (".unfinished-7", ".unfinished-8"):
        (tree / "UCF-101_jpg" / name).mkdir(parents=True)
        (tree / "UCF-101_jpg" / name / "00099.jpg").write_bytes(b"half")
    assert avi2jpg.main(["--root", str(tree), "--workers", "1"]) == 0
    assert not list((tree / "UCF-101_jpg").rglob("00099.jpg"))


def test_one_frame_and_odd_sizes(tmp_path):
    write_video(tmp_path / "UCF-101" / "A" / "one.avi", num_frames=1)
    write_video(tmp_path / "UCF-101" / "A" / "odd.avi", size=(97, 71))
    write_video(tmp_path / "UCF-101" / "A" / "tall.avi", size=(31, 90))
    assert extract(tmp_path) == 0
    folder = tmp_path / "UCF-101_jpg" / "A"
    assert os.listdir(folder / "one") == ["00001.jpg"]
    assert read_picture(folder / "odd" / "00008.jpg").shape == (71, 97, 3)
    assert read_picture(folder / "tall" / "00001.jpg").shape == (90, 31, 3)


def test_a_phone_video_is_upright(tmp_path):
    film = write_numbered_video(tmp_path / "UCF-101" / "A" / "phone.mp4", num_frames=2)
    set_display_matrix(film, (0, 1, -1, 0))
    assert extract(tmp_path) == 0
    picture = read_picture(tmp_path / "UCF-101_jpg" / "A" / "phone" / "00002.jpg")
    assert picture.shape == (WIDTH, HEIGHT, 3)


def test_short_size_scales_down_but_never_up(tmp_path):
    for name, size in (("wide", (97, 71)), ("tall", (32, 90)), ("small", (24, 18))):
        write_video(tmp_path / "UCF-101" / "A" / f"{name}.avi", size=size)
    assert extract(tmp_path, "--short_size", 20) == 0
    folder = tmp_path / "UCF-101_jpg" / "A"
    shapes = {name: read_picture(folder / name / "00001.jpg").shape[:2] for name in ("wide", "tall", "small")}
    assert shapes == {"wide": (20, 27), "tall": (56, 20), "small": (18, 24)}


@pytest.mark.parametrize(
    ("fps", "expected"),
    [
        (10, [0, 3, 6, 9, 12, 15]),
        (20, [0, 2, 3, 5, 6, 8, 9, 11, 12, 14, 15, 17]),
        (30, list(range(18))),
        (60, list(range(18))),
    ],
)
def test_fps_keeps_evenly_spaced_frames(tmp_path, fps, expected):
    write_video(tmp_path / "UCF-101" / "A" / "v.avi", num_frames=18, fps=30)
    assert extract(tmp_path, "--fps", fps) == 0
    assert read_numbers(tmp_path / "UCF-101_jpg" / "A" / "v") == expected


def test_fps_does_not_make_a_whole_video_look_cut_off(tmp_path):
    write_video(tmp_path / "UCF-101" / "A" / "v.avi", num_frames=18, fps=30)
    assert extract(tmp_path, "--fps", 1) == 0 and not (tmp_path / "UCF-101_jpg" / "failed.csv").exists()


def test_quality_changes_the_size(tmp_path):
    rng, path = np.random.default_rng(0), tmp_path / "UCF-101" / "A" / "v.avi"
    path.parent.mkdir(parents=True)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 25, (64, 64))
    writer.write(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8))
    writer.release()
    sizes = {}
    for quality in (30, 95):
        extract(tmp_path, "--quality", quality, "--frames", tmp_path / str(quality))
        sizes[quality] = (tmp_path / str(quality) / "A" / "v" / "00001.jpg").stat().st_size
    assert sizes[30] < sizes[95] / 2


@pytest.mark.parametrize("zipped", [False, True])
def test_names_with_blanks_and_other_letters(tmp_path, zipped):
    root = tmp_path / "Übung 数据 [1]"
    write_video(root / "UCF-101" / "Tai Chi 太极" / "clip 1.5 %d é.avi")
    if zipped:
        pack(root, "UCF-101/", root / "UCF-101.zip")
        shutil.rmtree(root / "UCF-101")
    assert extract(root) == 0
    assert read_numbers(root / "UCF-101_jpg" / "Tai Chi 太极" / "clip 1.5 %d é") == list(range(8))


def test_names_that_are_not_utf8_are_told(tree):
    folder = os.fsencode(tree / "UCF-101") + b"/" + "跳".encode("gbk")  # what unzip makes of a Chinese Windows zip
    os.mkdir(folder)
    shutil.copy(tree / "UCF-101" / "Run" / "v_Run_g01_c01.avi", os.fsdecode(folder + b"/v.avi"))
    assert extract(tree) == 0
    (item, reason), *others = read_reasons(tree / "UCF-101_jpg" / "failed.csv").items()
    assert item.endswith("\\udccc\\udcf8/v.avi") and reason.startswith("its path is not UTF-8") and not others


def test_other_video_types_and_upper_case_endings(tmp_path):
    write_video(tmp_path / "UCF-101" / "A" / "v.MP4", codec="mp4v")
    write_video(tmp_path / "UCF-101" / "A" / "w.mkv", codec="mp4v")
    assert extract(tmp_path) == 0
    assert [len(list_frames(tmp_path / "UCF-101_jpg" / "A" / name)) for name in "vw"] == [8, 8]


def test_two_videos_of_one_name_are_not_mixed(tmp_path):
    write_video(tmp_path / "UCF-101" / "A" / "v.avi", num_frames=3)
    write_video(tmp_path / "UCF-101" / "A" / "v.mkv", codec="mp4v")
    assert extract(tmp_path) == 0
    (path, reason), *others = read_reasons(tmp_path / "UCF-101_jpg" / "failed.csv").items()
    assert path.endswith("v.mkv") and "another video has the same class and name" in reason and not others
    assert len(list_frames(tmp_path / "UCF-101_jpg" / "A" / "v")) == 3


def test_full_disk_stops_with_a_sentence_and_leaves_nothing_half_made(tree, monkeypatch):
    def open_full(path, mode="r", *words, **options):
        file = open(path, mode, *words, **options)
        if str(path).endswith("00005.jpg"):
            file.close()
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return file

    monkeypatch.setattr(avi2jpg, "open", open_full, raising=False)
    with pytest.raises(
        OSError, match=r"stopped at Biking/\w+: '.*00005.jpg' could not be written .*free some disk space"
    ):
        extract(tree, "--workers", 1)
    assert os.listdir(tree / "UCF-101_jpg") == ["settings.json"]
    monkeypatch.undo()
    assert extract(tree) == 0


def test_file_where_the_output_folder_should_be(tree, run_script):
    (tree / "taken").write_text("")
    done = run_script("avi2jpg.py", "--root", tree, "--frames", tree / "taken")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "taken' could not be written" in done.stderr and "a file stands where a folder is needed" in done.stderr


@pytest.mark.parametrize(
    "flags", [("--quality", 0), ("--quality", 101), ("--short_size", -1), ("--fps", -1), ("--shortsize", 8)]
)
def test_flags_out_of_range(tmp_path, flags, capsys):
    with pytest.raises(SystemExit) as caught:
        extract(tmp_path, *flags)
    assert caught.value.code == 2
    message = capsys.readouterr().err
    assert "--quality takes 1 to 100" in message or "did you mean '--short_size'?" in message


def test_killed_run_leaves_nothing_half_made_and_the_next_run_completes_it(tmp_path):
    for number in range(12):
        write_video(tmp_path / "UCF-101" / "A" / f"v{number:02}.avi", num_frames=150, size=(320, 240))
    assert extract(tmp_path, "--frames", tmp_path / "reference") == 0
    reference = snapshot(tmp_path / "reference")
    frames = tmp_path / "frames"
    command = [sys.executable, str(ROOT / "avi2jpg.py"), "--root", tmp_path, "--frames", frames, "--workers", "2"]
    saw_unfinished = False
    for num_videos in (1, 4, 8):  # killed three times, each time a little further
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        wait_until(lambda least=num_videos: len(list(frames.glob("A/*"))) >= least, process)
        process.send_signal(signal.SIGKILL)
        process.wait()
        time.sleep(0.3)  # its workers end at once; were they to go on, the next lines would see it
        left = list(frames.glob(".unfinished-*"))
        saw_unfinished = saw_unfinished or bool(left)
        for folder in frames.glob("A/*"):
            assert len(list_frames(folder)) == 150, f"{folder.name} is half-made"
        time.sleep(0.3)
        assert snapshot_names(left) == snapshot_names(list(frames.glob(".unfinished-*")))
    assert saw_unfinished, "no kill met a video in the making, so this test tested nothing"
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0 and "were there" in done.stdout
    assert snapshot(frames) == reference


def snapshot_names(folders):
    return {folder: sorted(os.listdir(folder)) for folder in folders}


def wait_until(condition, process, timeout_s=60):
    end_s = time.monotonic() + timeout_s
    while not condition():
        assert process.poll() is None and time.monotonic() < end_s, "the run ended before it could be killed"
        time.sleep(0.001)


def test_what_is_passed_over_is_named(tmp_path, capsys):
    for name in ("walk/a.avi", "top.avi", "s2/walk/01.avi"):
        write_avi(tmp_path / "videos" / name, make_frames(3))
    for name in ("walk/b.bin", "walk/.c.avi", "walk/Thumbs.db", "walk/sub/notes.txt"):
        (tmp_path / "videos" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "videos" / name).write_bytes(b"x")
    frames = tmp_path / "frames"
    assert avi2jpg.main(["--videos", str(tmp_path / "videos"), "--frames", str(frames)]) == 0
    assert sorted(path.name for path in frames.glob("*/*")) == ["a"]
    assert "passed over 1 files, no videos by their names: walk/b.bin\n" in capsys.readouterr().out
    assert (frames / "failed.csv").read_text().count("lies in no folder of a class") == 2
    shutil.rmtree(tmp_path / "videos/walk")
    with pytest.raises(ValueError, match="'.*s2/walk/01.avi' lies in no folder of a class; --videos names"):
        avi2jpg.main(["--videos", str(tmp_path / "videos"), "--frames", str(frames)])


@pytest.mark.parametrize(
    "stored, name",
    [
        ("走路/视频.avi".encode("gbk"), "走路/视频"),  # a Chinese Windows
        ("走路/视频.avi".encode(), "走路/视频"),  # an older Mac
        ("V\\走路\\视频.avi".encode("gbk"), "走路/视频"),
        (b"V\\walk\\a.avi", "walk/a"),
        (b"caf\x82es/a.avi", "cafées/a"),  # DOS, as the format has it
    ],
)
def test_names_in_a_zip_file_are_read_in_the_encoding_that_they_have(tmp_path, stored, name):
    video = write_avi(tmp_path / "a.avi", make_frames(3)).read_bytes()
    placeholder = "/".join("x" * len(part) for part in stored.decode("latin1").split("/"))
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(placeholder, video)
    data = (tmp_path / "a.zip").read_bytes()
    (tmp_path / "a.zip").write_bytes(data.replace(placeholder.encode(), stored))
    assert avi2jpg.main(["--videos", str(tmp_path / "a.zip"), "--frames", str(tmp_path / "frames")]) == 0
    assert len(list((tmp_path / "frames" / name).iterdir())) == 3
