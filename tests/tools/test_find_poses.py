"""Videos to key points, with a stand-in for MediaPipe that sees where a frame is bright; the real one where it is."""

import csv
import json
import os
import subprocess
import sys
import types

import cv2
import numpy as np
import pytest
from paths import ROOT

import skeleton2pkl
from common.files import load_pickle
from layouts import LAYOUTS
from tools import find_poses

# The first letters of MediaPipe's list, as its documentation numbers the landmarks.
MEDIAPIPE = """nose left_eye_inner left_eye left_eye_outer right_eye_inner right_eye right_eye_outer left_ear right_ear
mouth_left mouth_right left_shoulder right_shoulder left_elbow right_elbow left_wrist right_wrist left_pinky right_pinky
left_index right_index left_thumb right_thumb left_hip right_hip left_knee right_knee left_ankle right_ankle left_heel
right_heel left_foot_index right_foot_index""".split()
WIDTH, HEIGHT = 48, 32
POSES_PYTHON = os.environ.get("POSES_PYTHON", "")
no_mediapipe = pytest.mark.skipif(
    not POSES_PYTHON, reason="no MediaPipe: set POSES_PYTHON to the Python of an environment that has it"
)


class Pose:
    """Landmark k is at (k / 100, brightness); nobody is in a dark frame, and a white one kills the process."""

    def __init__(self, model_complexity):
        assert model_complexity == 1, "no other network is in the wheel"

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass

    def process(self, picture):
        red, _, blue = picture.reshape(-1, 3).mean(axis=0)
        assert red >= blue, "not RGB"
        if blue > 220:
            os._exit(3)
        points = [types.SimpleNamespace(x=k / 100, y=blue / 255, visibility=1 / (k + 1)) for k in range(33)]
        return types.SimpleNamespace(pose_landmarks=types.SimpleNamespace(landmark=points) if blue > 30 else None)


@pytest.fixture
def mediapipe(monkeypatch):
    """The stand-in; workers, being forks, have it too."""
    module = types.SimpleNamespace(solutions=types.SimpleNamespace(pose=types.SimpleNamespace(Pose=Pose)))
    monkeypatch.setitem(sys.modules, "mediapipe", module)


def write_video(path, brightness):
    path.parent.mkdir(parents=True, exist_ok=True)
    fourcc = cv2.VideoWriter_fourcc(*"MJPG")
    writer = cv2.VideoWriter(str(path), cv2.CAP_OPENCV_MJPEG, fourcc, 25, (WIDTH, HEIGHT))
    for value in brightness:
        writer.write(np.full((HEIGHT, WIDTH, 3), (value, value, min(value + 20, 255)), np.uint8))
    writer.release()
    return path


def find(tmp_path, *flags):
    words = ["--videos", str(tmp_path / "videos"), "--out", str(tmp_path / "out"), "--workers", "2", *flags]
    return find_poses.main(words)


def read_reasons(tmp_path):
    with open(tmp_path / "out" / "failed.csv", encoding="utf-8", newline="") as file:
        return {row["item"]: row["reason"] for row in csv.DictReader(file)}


def test_a_video_becomes_what_skeleton2pkl_reads(tmp_path, mediapipe, capsys):
    seen = [0, 51, 102, 0, 153, 0]  # nobody at the start, in between and at the end
    for name in ("train/Wave/a", "train/Bow/b", "val/Wave/c"):
        write_video(tmp_path / "videos" / f"{name}.avi", seen)
    assert find(tmp_path) == 0
    said = "find_poses: 3 videos done with a body in 9 of 18 frames, 0 were there\n"
    assert capsys.readouterr().out.endswith(said)
    assert not (tmp_path / "out" / "failed.csv").exists()
    assert skeleton2pkl.main(["coco", str(tmp_path / "out"), "--out", str(tmp_path / "own.pkl")]) == 0
    content = load_pickle(tmp_path / "own.pkl")
    assert content["split"] == {"train": ["a", "b"], "val": ["c"]}
    order = [MEDIAPIPE.index(joint) for joint in LAYOUTS["coco17"].joints]
    for annotation in content["annotations"]:
        assert annotation["img_shape"] == annotation["original_shape"] == (HEIGHT, WIDTH)
        points, scores = annotation["keypoint"], annotation["keypoint_score"]
        assert points.shape == (1, 6, 17, 2)
        for frame, value in enumerate(seen):
            there = value > 0
            np.testing.assert_allclose(points[0, frame, :, 0], there * np.array(order) / 100 * WIDTH, atol=0.01)
            np.testing.assert_allclose(points[0, frame, :, 1], value / 255 * HEIGHT, atol=0.5)  # of a JPEG
            np.testing.assert_allclose(scores[0, frame], there / (np.array(order) + 1), atol=1e-4)


def test_a_second_run_does_what_is_missing(tmp_path, mediapipe, capsys):
    for name in ("a", "deep/er/b"):  # for predict.py no class is needed
        write_video(tmp_path / "videos" / f"{name}.avi", [99])
    assert find(tmp_path) == 0
    (tmp_path / "out" / "a.json").write_text("kept")
    (tmp_path / "out" / "deep" / "er" / "b.json").unlink()
    capsys.readouterr()
    assert find(tmp_path) == 0
    assert "2 videos in" in (said := capsys.readouterr().out) and "1 to do" in said
    assert "1 videos done with a body in 1 of 1 frames, 1 were there" in said
    assert (tmp_path / "out" / "a.json").read_text() == "kept"
    assert json.loads((tmp_path / "out" / "deep" / "er" / "b.json").read_text())["image_size"] == [WIDTH, HEIGHT]
    assert find(tmp_path) == 0
    assert "0 videos done, 2 were there\n" in capsys.readouterr().out
    write_video(tmp_path / "videos" / "a.avi", [99])  # another video of the same name
    os.utime(tmp_path / "out" / "a.json", (1, 1))
    assert find(tmp_path) == 0
    assert "1 videos done" in capsys.readouterr().out and (tmp_path / "out" / "a.json").read_text() != "kept"


def test_bad_videos_are_named_and_do_not_stop_the_rest(tmp_path, mediapipe, capsys):
    videos = tmp_path / "videos"
    whole = write_video(videos / "good.avi", [99] * 40).read_bytes()
    (videos / "cut.avi").write_bytes(whole[: len(whole) // 2])
    (videos / "empty.MP4").write_bytes(b"")
    (videos / "text.mov").write_text("no video")
    write_video(videos / "short.avi", [99] * 8).rename(videos / "good.mkv")
    (videos / "frames.avi").mkdir()
    (videos / "notes.txt").write_text("no video, and none is meant")
    write_video(videos / "dark.avi", [0] * 4)
    write_video(videos / "crash.avi", [99, 255])
    assert find(tmp_path) == 0
    reasons = read_reasons(tmp_path)
    assert "cut off or damaged" in reasons.pop("cut")
    assert "text.mov: 8 bytes that FFmpeg cannot read" in reasons.pop("text")
    assert "empty.MP4: the file is empty (0 bytes)" in reasons.pop("empty")
    assert reasons == {
        str(videos / "good.mkv"): f"another video has the same name, '{videos / 'good.avi'}'; rename one of them",
        "dark": "no body in any of its 4 frames; show one person whole, or leave the video out",
        "crash": "the process crashed on it (exit code 3)",
    }
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["failed.csv", "good.json"]
    out = capsys.readouterr().out
    assert "1 videos done with a body in 40 of 40 frames, 0 were there, 6 FAILED, see" in out
    assert "  dark: no body in any of its 4 frames" in out
    (videos / "good.avi").unlink()
    (videos / "good.mkv").unlink()
    (tmp_path / "out" / "good.json").unlink()
    assert find(tmp_path) == 1


def test_videos_with_a_body_now_and_then_are_named(tmp_path, mediapipe, capsys):
    for number in range(1, 11):
        write_video(tmp_path / "videos" / f"v{number}.avi", [99] * number + [0] * (16 - number))
    assert find(tmp_path) == 0
    out = capsys.readouterr().out
    assert [line for line in out.splitlines() if line.startswith("  v")] == [
        f"  v{number}: a body in only {number} of 16 frames" for number in range(1, 6)
    ]
    assert out.endswith("  and 2 more with a body in fewer than half of the frames\n")


def test_a_folder_without_videos_is_refused(tmp_path, mediapipe):
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / ".hidden.avi").write_bytes(b"")
    with pytest.raises(FileNotFoundError) as error:
        find(tmp_path)
    assert str(error.value).startswith("no videos (.avi, .divx, .mp4, ")
    assert str(error.value).endswith(f"in '{tmp_path / 'videos'}'; put them at <Class>/<video>")


@pytest.mark.parametrize("module", [None, types.SimpleNamespace()], ids=["absent", "a later one without Pose"])
def test_without_mediapipe_a_sentence_says_how_to_get_it(tmp_path, monkeypatch, module):
    monkeypatch.setitem(sys.modules, "mediapipe", module)
    with pytest.raises(ValueError) as error:
        find(tmp_path)
    assert str(error.value).startswith("MediaPipe Pose cannot be imported here (")
    install = "python -m venv poses && poses/bin/pip install mediapipe==0.10.21 av tqdm PyYAML"
    assert f"'{install}', then run this script with poses/bin/python" in str(error.value)
    assert install in find_poses.__doc__


def test_workers_are_counted_from_zero(capsys):
    with pytest.raises(SystemExit):
        find_poses.parse_arguments(["--videos", "a", "--out", "b", "--workers", "-1"])
    assert "--workers takes 0 or more" in capsys.readouterr().err


@no_mediapipe
def test_the_real_one_finds_the_drawn_figure(tmp_path, run_script):
    flags = ["--root", tmp_path, "--groups", 2, "--clips", 1, "--frames", 16]
    made = run_script("tools/make_samples.py", *flags)
    assert made.returncode == 0, made.stderr
    (tmp_path / "chosen").mkdir()
    exact = {one["frame_dir"]: one for one in load_pickle(tmp_path / "coco17.pkl")["annotations"]}
    for path in (tmp_path / "UCF-101").glob("*/*_g01_c01.avi"):
        if path.parent.name in ("Wave", "Kick"):
            path.rename(tmp_path / "chosen" / path.name)
    script = [str(ROOT / "tools" / "find_poses.py"), "--videos", str(tmp_path / "chosen"), "--out", str(tmp_path / "k")]
    ran = subprocess.run([POSES_PYTHON, *script], cwd=tmp_path, capture_output=True, text=True, timeout=200)
    assert ran.returncode == 0, ran.stderr
    assert len(found := list((tmp_path / "k").glob("*.json"))) == 2
    for path in found:
        content, one = json.loads(path.read_text()), exact[path.stem]
        assert tuple(content["image_size"]) == one["img_shape"][::-1]
        assert len(content["instance_info"]) == 16
        bodies = np.array([frame["instances"][0]["keypoints"] for frame in content["instance_info"]])
        away = np.linalg.norm(bodies - one["keypoint"][0], axis=2) / np.ptp(one["keypoint"][0, ..., 1])
        assert np.median(away, axis=0).max() < 0.08  # of the body's height, the worst joint; shoulders are 0.2 apart
