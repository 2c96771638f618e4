"""The sample data: the same bytes for the same flags, and one clip alike in every form."""

import os
import pickle
import re
import signal
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest
from paths import ROOT

from layouts import LAYOUTS
from tools.make_samples import find_held_out_groups, list_clips, parse_arguments, split_clips, write_video
from tools.samples.figure import ACTIONS

SCRIPT = "tools/make_samples.py"
TINY = ["--groups", 2, "--clips", 1, "--frames", 16, "--width", 64, "--height", 48]


def read_tree(root):
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def read_frames(path):
    video, frames = cv2.VideoCapture(str(path)), []
    while (frame := video.read()[1]) is not None:
        frames.append(frame)
    return np.stack(frames)


def read_pickle(path):
    return pickle.loads(path.read_bytes())


def read_lines(samples, name):
    return (samples / "ucfTrainTestlist" / name).read_text(encoding="utf-8").splitlines()


def parse_skeleton(text):
    """An NTU text -> (T, 25, 12) numbers; counts are checked on the way."""
    words = text.split()
    num_frames, frames, at = int(words[0]), [], 1
    for _ in range(num_frames):
        assert words[at] == "1", "bodies in the frame"
        body = words[at + 1 : at + 11]
        assert int(body[0]) > 2**55 and body[-1] == "2"
        assert words[at + 11] == "25", "joints of the body"
        frames.append(np.array(words[at + 12 : at + 12 + 25 * 12], dtype=float).reshape(25, 12))
        at += 12 + 25 * 12
    assert at == len(words)
    return np.stack(frames)


@pytest.fixture(scope="module")
def clips(samples):
    """What the UCF-101 layout says of each video of the sample tree: name -> (class, label from 0, group)."""
    labels = {name: int(number) - 1 for number, name in (line.split() for line in read_lines(samples, "classInd.txt"))}
    clips = {}
    for path in sorted(samples.glob("UCF-101/*/*")):
        action, group, _ = re.fullmatch(r"v_([A-Za-z]+)_g(\d\d)_c(\d\d)\.avi", path.name).groups()
        assert action == path.parent.name
        clips[path.stem] = (action, labels[action], int(group))
    return clips


def test_same_flags_same_bytes_whatever_the_workers_and_over_an_older_tree(tmp_path, run_script):
    for name, words in {"a": ["--workers", 1], "b": ["--seed", 1]}.items():
        assert run_script(SCRIPT, "--root", tmp_path / name, *TINY, *words).returncode == 0
    other_seed = read_tree(tmp_path / "b")
    again = run_script(SCRIPT, "--root", tmp_path / "b", *TINY, "--workers", 2)
    first, second = read_tree(tmp_path / "a"), read_tree(tmp_path / "b")
    assert first == second and len(first) == 2 * 2 * len(ACTIONS) + 7 + 2
    assert "stay" not in again.stdout
    changed = {name for name in first if first[name] != other_seed[name]}
    assert changed == {name for name in first if "ucfTrainTestlist" not in name}


def test_the_tree_is_laid_out_as_ucf101(samples, clips):
    assert sorted(path.name for path in samples.iterdir()) == [
        "UCF-101", "coco17.pkl", "ntu25.pkl", "nturgb+d_skeletons", "ucfTrainTestlist",
    ]  # fmt: skip
    assert read_lines(samples, "classInd.txt") == [f"{n} {name}" for n, name in enumerate(sorted(ACTIONS), 1)]
    assert len(clips) == 3 * len(ACTIONS) and len(ACTIONS) >= 8
    for split in ("01", "02", "03"):
        train, test = (read_lines(samples, f"{part}list{split}.txt") for part in ("train", "test"))
        named = [line.rpartition(" ")[0] for line in train] + test
        assert sorted(named) == sorted(f"{action}/{name}.avi" for name, (action, _, _) in clips.items())
        for line in train:
            path, label = line.split()
            assert int(label) - 1 == clips[path.split("/")[1][:-4]][1]


def test_splits_hold_out_other_groups_each_time(samples, clips):
    held_out = []
    for split in ("01", "02", "03"):
        train = {clips[line.split()[0].split("/")[1][:-4]][2] for line in read_lines(samples, f"trainlist{split}.txt")}
        test = {clips[line.split("/")[1][:-4]][2] for line in read_lines(samples, f"testlist{split}.txt")}
        assert not train & test and train | test == {1, 2, 3}
        held_out.append(test)
    assert held_out == [{1}, {2}, {3}]


@pytest.mark.parametrize(("num_groups", "num_held_out"), [(2, 1), (4, 1), (12, 3), (25, 6)])
def test_a_quarter_of_the_groups_is_held_out(num_groups, num_held_out):
    splits = [find_held_out_groups(num_groups, split) for split in range(3)]
    assert all(len(groups) == num_held_out and groups <= set(range(1, num_groups + 1)) for groups in splits)
    assert splits[0] == set(range(1, num_held_out + 1))
    if num_groups >= 3 * num_held_out:
        assert len(set.union(*splits)) == 3 * num_held_out


def test_videos_hold_the_frames_they_should(samples, clips):
    for name, (action, _, _) in clips.items():
        assert read_frames(samples / "UCF-101" / action / f"{name}.avi").shape == (20, 72, 96, 3)


def test_pickles_have_the_layout_of_pyskl(samples, clips):
    for name, num_axes in (("coco17", 2), ("ntu25", 3)):
        layout = LAYOUTS[name]
        data = read_pickle(samples / f"{name}.pkl")
        assert set(data) == {"split", "annotations", "class_names", "layout"}
        assert data["layout"] == name and data["class_names"] == sorted(ACTIONS)
        assert [each["frame_dir"] for each in data["annotations"]] == sorted(clips)
        for each in data["annotations"]:
            assert each["total_frames"] == 20 and each["label"] == clips[each["frame_dir"]][1]
            assert each["keypoint"].shape == (1, 20, layout.num_joints, num_axes)
            assert each["keypoint"].dtype == np.float32 and np.isfinite(each["keypoint"]).all()
        for split in (1, 2, 3):
            for part in ("train", "test"):
                lines = read_lines(samples, f"{part}list{split:02d}.txt")
                assert data["split"][f"{part}{split}"] == [line.split()[0].split("/")[1][:-4] for line in lines]


def test_coco_points_come_with_scores_and_the_size_of_the_video(samples):
    for each in read_pickle(samples / "coco17.pkl")["annotations"]:
        assert each["img_shape"] == each["original_shape"] == (72, 96)
        assert each["keypoint_score"].shape == (1, 20, 17) and (each["keypoint_score"] == 1).all()


def test_ntu_texts_hold_the_same_joints_label_and_group(samples, clips):
    paths = {path.stem: path for path in (samples / "nturgb+d_skeletons").iterdir()}
    metres = {each["frame_dir"]: each for each in read_pickle(samples / "ntu25.pkl")["annotations"]}
    pixels = {each["frame_dir"]: each["keypoint"][0] for each in read_pickle(samples / "coco17.pkl")["annotations"]}
    ntu, coco = LAYOUTS["ntu25"].joints, LAYOUTS["coco17"].joints
    shared = [(ntu.index(name), coco.index(name)) for name in coco[5:]]
    for name, (_, label, group) in clips.items():
        numbers = parse_skeleton(paths.pop(f"S001C001P{group:03d}R001A{label + 1:03d}").read_text(encoding="utf-8"))
        np.testing.assert_allclose(numbers[..., :3], metres[name]["keypoint"][0], atol=1e-6)
        for ntu, coco in shared:
            np.testing.assert_allclose(numbers[:, ntu, 5:7], pixels[name][:, coco], atol=1e-3)
    assert not paths, "a skeleton file without a video"


def test_reversed_classes_are_the_other_one_backwards_in_the_data(samples):
    joints = {each["frame_dir"]: each["keypoint"] for each in read_pickle(samples / "ntu25.pkl")["annotations"]}
    for forward, backward in (("SitDown", "StandUp"), ("WalkForward", "WalkBackward")):
        for group in (1, 2, 3):
            played = joints[f"v_{forward}_g{group:02d}_c01"]
            np.testing.assert_array_equal(joints[f"v_{backward}_g{group:02d}_c01"], played[:, ::-1])
            frames = [
                read_frames(samples / f"UCF-101/{name}/v_{name}_g{group:02d}_c01.avi") for name in (forward, backward)
            ]
            reversed_difference = np.abs(frames[0].astype(int) - frames[1][::-1]).mean()
            difference = np.abs(frames[0].astype(int) - frames[1]).mean()
            assert reversed_difference < 2.5 and difference > 2 * reversed_difference


def test_the_room_tells_nothing_of_the_class(samples):
    for group in (1, 2, 3):
        rooms = [
            np.median(read_frames(path)[:, :20, :14].reshape(20, -1, 3), axis=(0, 1))
            for path in sorted(samples.glob(f"UCF-101/*/*_g{group:02d}_c01.avi"))
        ]
        assert len(rooms) == len(ACTIONS) and np.ptp(rooms, axis=0).max() <= 2


def test_labels_are_places_among_the_sorted_names_of_the_first_actions():
    sizes = {"seed": 0, "num_frames": 8, "width": 64, "height": 48, "fps": 25}
    clips = list_clips(4, 3, 2, **sizes)
    assert [(clip.label, clip.action) for clip in clips[::6]] == [
        (0, "Clap"),
        (1, "SitDown"),
        (2, "StandUp"),
        (3, "Wave"),
    ]
    assert clips[5].name == "v_Clap_g03_c02" and clips[5].skeleton_name == "S001C001P003R002A001"
    train, test = split_clips(clips, split=1)
    assert {clip.group for clip in test} == {2} and {clip.group for clip in train} == {1, 3}


def test_it_runs_without_arguments_from_any_folder_and_names_the_next_command(tmp_path, run_script):
    made = run_script(SCRIPT, "--classes", 2, *TINY, cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    assert (tmp_path / "data" / "samples" / "UCF-101" / "Wave" / "v_Wave_g01_c01.avi").is_file()
    assert re.search(
        r"4 videos with their skeletons made in \d+\.\d s\nclasses: 2; groups: 2, held out .*: g01", made.stdout
    )
    assert made.stdout.endswith("next: python avi2jpg.py --root data/samples\n")


def test_files_of_a_run_with_other_flags_are_counted(tmp_path, run_script):
    root = tmp_path / "some röot"
    for num_classes in (3, 2):
        made = run_script(SCRIPT, "--root", root, *TINY, "--classes", num_classes)
    assert "4 files of a run with other flags stay" in made.stdout
    assert f"--root '{root}'" in made.stdout


def test_a_folder_with_videos_of_other_classes_is_left_alone(tmp_path, run_script):
    real = tmp_path / "UCF-101" / "ApplyEyeMakeup" / "v_ApplyEyeMakeup_g01_c01.avi"
    lists = tmp_path / "ucfTrainTestlist" / "classInd.txt"
    for path in (real, lists):
        path.parent.mkdir(parents=True)
        path.write_text("real")
    made = run_script(SCRIPT, "--root", tmp_path, *TINY)
    expected = (
        f"ValueError: '{tmp_path}' holds videos of 'ApplyEyeMakeup', not made by this tool; choose another --root"
    )
    assert made.returncode == 1 and expected in made.stderr
    assert set(read_tree(tmp_path).values()) == {b"real"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--groups", "1"], "--groups is 1, expected a number from 2 to 99"),
        (["--classes", "0"], f"--classes is 0, expected a number from 1 to {len(ACTIONS)}"),
        (["--frames", "7"], "--frames is 7, expected a number from 8 to 10000"),
        (["--seed", "-1"], "--seed is -1, expected 0 or more"),
        (["--group", "3"], "unknown flag '--group'; did you mean '--groups'?"),
    ],
)
def test_flags_out_of_their_limits_are_refused(words, message, capsys):
    with pytest.raises(SystemExit) as stop:
        parse_arguments(words)
    assert stop.value.code == 2 and message in capsys.readouterr().err


def test_a_root_that_cannot_be_made_is_named(tmp_path, run_script):
    (tmp_path / "file").write_text("")
    made = run_script(SCRIPT, "--root", tmp_path / "file", *TINY)
    assert made.returncode == 1 and f"'{tmp_path / 'file'}' could not be written" in made.stderr


def test_a_video_that_cannot_be_written_is_an_error(tmp_path):
    clip = list_clips(1, 2, 1, seed=0, num_frames=8, width=64, height=48, fps=25)[0]
    frames = [np.zeros((48, 64, 3), np.uint8)] * 8
    write_video(frames, tmp_path / "good.avi", clip)
    assert len(read_frames(tmp_path / "good.avi")) == 8
    with pytest.raises(OSError, match=r"missing/bad\.avi' could not be written whole; see whether its disk is full"):
        write_video(frames, tmp_path / "missing" / "bad.avi", clip)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit on the size of a file")
def test_a_disk_that_fills_up_is_an_error_and_leaves_nothing(tmp_path, run_script):
    program = (
        "import pathlib, resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000));"
        "from tools.make_samples import film_clip, list_clips;"
        "clip = list_clips(1, 2, 1, seed=0, num_frames=32, width=160, height=120, fps=25)[0];"
        "film_clip(clip, pathlib.Path(sys.argv[1]))"
    )
    folder = tmp_path / "UCF-101" / "Wave"
    folder.mkdir(parents=True)
    command = [sys.executable, "-c", program, str(tmp_path)]
    made = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert made.returncode == 1 and "v_Wave_g01_c01.avi' could not be written whole" in made.stderr
    assert not list(folder.iterdir())


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_a_killed_run_leaves_whole_videos_and_no_lists(tmp_path):
    script = os.path.join(ROOT, SCRIPT)
    command = [sys.executable, script, "--root", str(tmp_path), "--width", "320", "--height", "240"]
    run = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    while len(list(tmp_path.glob("UCF-101/*/v_*.avi"))) < 4 and run.poll() is None:
        time.sleep(0.01)
    run.send_signal(signal.SIGKILL)
    run.wait()
    time.sleep(0.5)  # its workers end by themselves
    videos = list(tmp_path.glob("UCF-101/*/v_*.avi"))
    assert 4 <= len(videos) < 396
    assert {len(read_frames(path)) for path in videos} == {32}
    assert not list(tmp_path.glob("*.pkl")) and not list(tmp_path.glob("ucfTrainTestlist/*"))
