"""The prediction script: scores as test.py's, windows, what is written, and inputs that cannot be read."""

import csv
import json
import os
import re

import cv2
import numpy as np
import pytest
from numbered_videos import write_numbered_video
from saved_models import CLASSES, PROTOCOLS, save_model
from small_videos import make_frames, read_back, write_avi, write_folder

import predict
import recipe
from dataset.records import write_list
from dataset.video_file import VideoFile
from engine import checkpoint, evaluator
from inference import drawing, sources, video_io
from inference.text_renderer import TextRenderer
from models import build_model
from tools import export


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """The checkpoint that most tests use."""
    return save_model(tmp_path_factory.mktemp("weights") / "resnet_model")


@pytest.fixture(autouse=True)
def _stand_elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # logger.log is written where one stands


def run(weights, *paths, flags=()):
    """Run the script in this process; return its exit status."""
    words = [weights, "--use_gpu", "False", "--save_dir", "out", *flags, "--input", *map(str, paths)]
    return predict.main([str(word) for word in words])


def read_json(name):
    """Read a result."""
    with open(f"out/{name}_predict.json", encoding="utf-8") as file:
        return json.load(file)


def score_as_test_does(weights, folder, tmp_path):
    """Score a frame folder by the loader and engine that test.py uses."""
    state = checkpoint.load_checkpoint(weights)
    write_list([f"{folder} {len(os.listdir(folder))} 0"], tmp_path / "test.list", CLASSES)
    state["config"]["TEST"]["filelist"] = str(tmp_path / "test.list")
    model = build_model(**state["config"]["MODEL"])
    checkpoint.restore_model(model, state["model"])
    loader = recipe.open_loader(state["config"], "TEST")
    return evaluator.evaluate(model, loader, state["config"]["RUN"]["average_clips"])["scores"][0]


@pytest.mark.parametrize("test, sections", PROTOCOLS)
def test_a_frame_folder_gets_the_scores_that_test_py_gives_it(tmp_path, test, sections):
    weights = save_model(tmp_path / "resnet_model", test, **sections)
    folder = write_folder(tmp_path / "frames", make_frames(37, 60, 80), "{}.jpg")
    assert run(weights, folder, flags=["--top_k", "99"]) == 0
    result, expected = read_json("frames"), score_as_test_does(weights, folder, tmp_path)
    if sections:  # logits
        expected = np.exp(expected) / np.exp(expected).sum()
    got = {one["label"]: one["probability"] for one in result["top_k"]}
    assert [got[label] for label in range(len(CLASSES))] == pytest.approx(expected, abs=2e-6)
    assert expected.max() > expected.min() + 0.05
    assert result["windows"] == [{"start_s": 0.0, "end_s": 1.48, "top_k": result["top_k"]}]


def test_a_video_gets_the_scores_of_its_decoded_frames(tmp_path, weights):
    video = write_avi(tmp_path / "a.avi", make_frames(30))
    folder = write_folder(tmp_path / "decoded", list(video_io.read_frames(str(video))))
    assert run(weights, video, folder, flags=["--top_k", "6"]) == 0
    expected = score_as_test_does(weights, folder, tmp_path)
    for name in ("a", "decoded"):
        got = {one["label"]: one["probability"] for one in read_json(name)["top_k"]}
        assert [got[label] for label in range(len(CLASSES))] == pytest.approx(expected, abs=2e-6)


@pytest.mark.parametrize("average_clips", ["prob", "score"])
def test_an_export_gives_the_scores_of_its_checkpoint_and_does_not_need_it(tmp_path, average_clips, capsys):
    weights = save_model(
        tmp_path / "resnet_model", {"num_clips": 3, "flip": True}, RUN={"average_clips": average_clips}
    )
    video = write_avi(tmp_path / "a.avi", make_frames(30))
    assert run(weights, video, flags=["--top_k", "6"]) == 0
    expected = read_json("a")
    export.main([weights, "--out", "exported"])
    os.remove(f"{weights}.pdparams")
    words = ["--exported", "exported", "--input", str(video), "--top_k", "6", "--save_dir", "out", "--use_gpu", "False"]
    assert predict.main(words) == 0
    result = read_json("a")
    assert (result["weights"], result["windows"][0]["end_s"]) == ("exported", 1.2)
    got, expected = ({one["class"]: one["probability"] for one in each["top_k"]} for each in (result, expected))
    assert got == pytest.approx(expected, abs=1e-5) and len(got) == 6
    assert max(got.values()) > min(got.values()) + 0.05
    assert "exported: resnet, 6 classes, on cpu" in capsys.readouterr().out


def test_files_of_a_video_with_an_odd_name(tmp_path, weights, capsys):
    frames = make_frames(12)
    video = write_avi(tmp_path / "my clips" / "Über kopf 打篮球.avi", frames, fps=12.5)
    assert run(weights, video, flags=["--top_k", "3"]) == 0
    base = "out/Über kopf 打篮球_predict"
    assert sorted(os.listdir("out")) == sorted(os.path.basename(base) + suffix for suffix in (".json", ".png", ".webm"))

    result = read_json("Über kopf 打篮球")
    assert (result["num_frames"], result["fps"], result["weights"]) == (12, 12.5, weights)
    assert result["input"] == str(video)
    best = result["top_k"]
    assert len(best) == 3 and [one["class"] for one in best] == [CLASSES[one["label"]] for one in best]
    assert [one["probability"] for one in best] == sorted((one["probability"] for one in best), reverse=True)
    printed = capsys.readouterr().out
    assert f"{video}: 1.0 s, 12 frames, scored whole" in printed
    assert f"{100 * best[0]['probability']:5.1f}%  {best[0]['class']}" in printed
    assert f"written: {base}.webm, .png, .json\n" in printed

    shown, fps, _ = read_back(f"{base}.webm")
    assert (len(shown), shown[0].shape, fps) == (12, (480, 640, 3), 12.5)
    bigger = cv2.resize(frames[6], (640, 480), interpolation=cv2.INTER_CUBIC)
    difference = np.abs(shown[6].astype(int) - bigger).mean(axis=2)
    assert np.median(difference[200:440]) < 12  # the frame itself
    assert difference[10:80, 10:240].mean() > 40  # the bars
    sheet = cv2.imdecode(np.fromfile(f"{base}.png", np.uint8), cv2.IMREAD_COLOR)
    assert sheet.shape[1] == 960 and sheet.std() > 30


def test_a_folder_of_videos_and_the_default_rate(tmp_path, weights):
    write_avi(tmp_path / "all" / "B" / "x.avi", make_frames(9))
    write_avi(tmp_path / "all" / "A" / "x.avi", make_frames(10))
    write_folder(tmp_path / "all" / "C", make_frames(11))
    assert run(weights, "all", flags=["--fps", "30"]) == 0
    inputs = {name: read_json(name) for name in ("x", "x_2", "C")}
    assert {name: one["input"] for name, one in inputs.items()} == {
        "x": "all/A/x.avi",
        "x_2": "all/B/x.avi",
        "C": "all/C",
    }
    assert [inputs[name]["fps"] for name in ("x", "x_2", "C")] == [25, 25, 30]


def test_one_frame_is_a_video(tmp_path, weights):
    assert (
        run(weights, write_folder(tmp_path / "one", make_frames(1)), write_avi(tmp_path / "a.avi", make_frames(1))) == 0
    )
    for name in ("one", "a"):
        assert read_json(name)["windows"][0]["end_s"] == 0.04
        assert len(read_back(f"out/{name}_predict.webm")[0]) == 1


# Long videos.


@pytest.mark.parametrize(
    "num_frames, max_whole, window, starts",
    [
        (1, 10, 4, [0]),
        (10, 10, 4, [0]),
        (11, 10, 4, [0, 2, 4, 6, 7]),
        (12, 10, 4, [0, 2, 4, 6, 8]),
        (4, 0, 4, [0]),
        (5, 0, 4, [0, 1]),
        (3, 0, 1, [0, 1, 2]),
        (20, 5, 7, [0, 3, 6, 9, 12, 13]),
    ],
)
def test_windows_overlap_by_half_and_reach_the_end(num_frames, max_whole, window, starts):
    spans = sources.plan_windows(range(num_frames + 1), max_whole, window, 1)
    found = list(sources.cut_windows(iter(range(num_frames)), spans))
    assert [start for start, _ in found] == starts
    for start, frames in found:
        length = num_frames if len(found) == 1 else window
        assert frames == list(range(start, start + length))
    assert found[-1][1][-1] == num_frames - 1


def test_windows_are_cut_while_frames_are_read():
    read = []

    def count():
        for index in range(1000):
            read.append(index)
            yield index

    windows = sources.cut_windows(count(), sources.plan_windows(range(1001), 10, 8, 1))
    next(windows)
    assert len(read) <= 11
    next(windows)
    assert len(read) <= 12


def test_windows_of_a_variable_rate_are_cut_by_time():
    places = [0, 100, 200, 300, 400, 500, 600, 700, 800, 900, 1900, 2900, 3900, 4000]  # ms: ten at once, then three
    assert sources.plan_windows(places, 0, 1000, 1) == [(0, 10), (5, 10), (9, 11), (10, 12), (11, 13)]
    assert sources.plan_windows(places, 0, 1000, 4) == [(0, 10), (5, 10), (9, 13)]  # as many as the network needs
    assert sources.plan_windows(places, 4000, 1000, 1) == [(0, 13)]
    assert sources.plan_windows([0, 900, 1400, 1900, 2000], 0, 1000, 1) == [
        (0, 2),
        (0, 3),
        (1, 4),
    ]  # one start, two ends


def test_times_are_those_of_the_frames_where_the_rate_varies(tmp_path, weights, capsys):
    times_ms = [40 * number for number in range(30)] + [1600 + 500 * number for number in range(10)]
    video = write_numbered_video(tmp_path / "slow.mkv", num_frames=40, times_ms=times_ms)
    assert run(weights, video, flags=["--window_s", "2"]) == 0
    result = read_json("slow")
    assert result["num_frames"] == 40 and "slow.mkv: 6.1 s, 40 frames, scored in" in capsys.readouterr().out
    for window in result["windows"]:
        assert {1000 * window["start_s"], 1000 * window["end_s"]} <= {*times_ms, 6140}
    spans = [(window["start_s"], window["end_s"]) for window in result["windows"]]
    assert spans[0] == (0, 2.1) and spans[-1][1] == 6.14
    shown = VideoFile("out/slow_predict.webm")
    assert np.abs(1000 * np.array(shown.times_s[:40]) - times_ms).max() <= 1


def test_each_window_is_scored_as_a_video_of_its_own(tmp_path, weights):
    scenes = [make_frames(25, seed=seed) for seed in (1, 2, 3)]
    frames = [frame for scene in scenes for frame in scene]
    folder = write_folder(tmp_path / "long", frames)
    assert run(weights, folder, flags=["--window_s", "1", "--top_k", "6"]) == 0
    result = read_json("long")
    starts = [0, 0.48, 0.96, 1.44, 1.92, 2]  # every 12 frames, and the last 25
    assert [(one["start_s"], one["end_s"]) for one in result["windows"]] == [(start, start + 1) for start in starts]
    for window in result["windows"]:
        start, end = round(25 * window["start_s"]), round(25 * window["end_s"])
        part = write_folder(tmp_path / f"part{start}", frames[start:end])
        expected = score_as_test_does(weights, part, tmp_path)
        got = {one["label"]: one["probability"] for one in window["top_k"]}
        assert [got[label] for label in range(len(CLASSES))] == pytest.approx(expected, abs=2e-6)
    overall = {one["label"]: one["probability"] for one in result["top_k"]}
    for label in range(len(CLASSES)):
        of_windows = [
            one["probability"] for window in result["windows"] for one in window["top_k"] if one["label"] == label
        ]
        assert overall[label] == pytest.approx(np.mean(of_windows), abs=2e-6)


def test_the_time_line_of_a_long_video_shows_its_windows(tmp_path, weights, capsys):
    frames = [frame for seed in (1, 2, 3, 4) for frame in make_frames(12, seed=seed)]
    assert run(weights, write_avi(tmp_path / "long.avi", frames, fps=4)) == 0  # 12 s: windows without being asked
    result, (shown, _, _) = read_json("long"), read_back("out/long_predict.webm")
    assert len(shown) == 48 and len(result["windows"]) == 11
    printed = capsys.readouterr().out
    assert "48 frames, scored in 11 windows" in printed and "long_predict.webm, .png, .json, .csv" in printed
    with open("out/long_predict.csv", encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert (rows[0]["start_s"], rows[-1]["end_s"]) == ("0.000", "12.000") and len(rows) > 1
    assert all(left["end_s"] == right["start_s"] for left, right in zip(rows, rows[1:], strict=False))
    assert rows[0]["class"] == result["windows"][0]["top_k"][0]["class"]
    assert f"  0:00-{drawing.format_time(float(rows[0]['end_s']), has_tenths=False)} {rows[0]['class']}, " in printed
    middles = [(one["start_s"] + one["end_s"]) / 2 for one in result["windows"]]
    windows = 2 * [drawing.Window(0, 48, [(0, "", 1)])]
    renderer = TextRenderer("".join([*CLASSES, "long"]))  # whose font decides how wide the line is
    overlay = drawing.Overlay(drawing.Prediction("", 48, 4, [], windows), 480, 640, renderer)
    left, top, right, bottom = overlay.line_box
    row = 480 - overlay.strip_height + (top + bottom) // 2
    for window, middle in zip(result["windows"], middles, strict=True):
        pixel = shown[0][row, left + round((right - left) * middle / 12)].astype(int)
        assert np.abs(pixel - drawing.choose_color(window["top_k"][0]["label"])).max() < 40
    assert len({one["top_k"][0]["label"] for one in result["windows"]}) > 1


# What cannot be done.


def test_a_broken_input_is_named_and_the_others_are_predicted(tmp_path, weights, capsys):
    good = write_avi(tmp_path / "good.avi", make_frames(12))
    (tmp_path / "broken.avi").write_bytes(b"RIFF" + b"\0" * 400)
    torn = write_folder(tmp_path / "torn", make_frames(5), "{}.jpg")
    (torn / "3.jpg").write_bytes((torn / "3.jpg").read_bytes()[:300])
    (tmp_path / "empty").mkdir()
    assert run(weights, "broken.avi", "torn", "empty", "missing.mp4", good) == 1
    printed = capsys.readouterr().out
    assert "broken.avi: FAILED: broken.avi: 404 bytes that FFmpeg cannot read" in printed
    assert "torn: FAILED: torn/3.jpg: 300 bytes, cut short or not a picture" in printed
    assert "empty: FAILED: the folder holds neither videos" in printed
    assert "missing.mp4: FAILED: no such file or folder" in printed
    assert "4 of 5 inputs FAILED: broken.avi, torn, empty, missing.mp4" in printed
    assert sorted(os.listdir("out")) == ["good_predict.json", "good_predict.png", "good_predict.webm"]


def test_a_cut_off_video_is_refused_as_by_every_script(tmp_path, weights, capsys):
    whole = write_avi(tmp_path / "whole.avi", make_frames(60))
    (tmp_path / "cut.avi").write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    assert run(weights, "cut.avi") == 1
    assert re.search(r"cut.avi: FAILED: cut.avi: cut off or damaged, \d+ frames can be found", capsys.readouterr().out)


def test_missing_weights_and_weights_without_a_config(tmp_path, weights):
    with pytest.raises(
        FileNotFoundError, match="no checkpoint 'checkpoints_models/resnet_model.pdparams'; run train.py"
    ):
        predict.main(["--input", "a.avi"])
    bare = {"model": checkpoint.load_checkpoint(weights)["model"]}
    checkpoint.save_checkpoint(str(tmp_path / "bare"), bare)
    with pytest.raises(ValueError, match="bare' holds weights only, not how to prepare frames; give a checkpoint"):
        run(str(tmp_path / "bare"), "a.avi")


@pytest.mark.parametrize(
    "words, message",
    [
        ([], "arguments are required: --input"),
        (["--input"], "expected at least one argument"),
        (["--input", "a", "--top_k", "0"], "--top_k takes 1 or more"),
        (["--input", "a", "--window_s", "0"], "--window_s: expected a number above 0, got '0'"),
        (["--input", "a", "--window_s", "nan"], "--window_s: expected a number above 0, got 'nan'"),
        (["--input", "a", "--fps", "inf"], "--fps: expected a number above 0, got 'inf'"),
        (["--input", "a", "--window_size", "2"], "did you mean '--window_s'?"),
        (["--input", "a", "--weights", "b", "--exported", "c"], "--exported: not allowed with argument --weights"),
    ],
)
def test_wrong_words_end_with_status_2(words, message, capsys):
    with pytest.raises(SystemExit) as ended:
        predict.main(words)
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


def test_the_script_as_a_user_runs_it(tmp_path, weights, run_script):
    write_avi(tmp_path / "a b.avi", make_frames(12))
    words = ["--weights", f"{weights}.pdparams", "--input", "a b.avi", "no.avi", "--top-k", 2, "--use-gpu", "False"]
    done = run_script("predict.py", *words, cwd=tmp_path)
    assert done.returncode == 1
    assert "no.avi: FAILED: no such file or folder" in done.stdout and "Traceback" not in done.stdout + done.stderr
    assert "OpenCV" not in done.stderr and "matroska" not in done.stderr
    assert len(json.loads((tmp_path / "output/predict/a b_predict.json").read_text(encoding="utf-8"))["top_k"]) == 2
