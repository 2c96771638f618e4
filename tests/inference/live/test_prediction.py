"""Streams as predict.py predicts them: the windows, scores as those of files, what is written, and every end."""

import csv
import glob
import json
import os
import signal
import subprocess
import sys
import threading
import time
import types

import numpy as np
import pytest
from live_streams import StreamServer, write_stream
from paths import ROOT
from saved_models import CLASSES, save_model
from small_videos import make_frames, read_back

import predict
from inference import drawing, video_io
from inference.live import prediction
from inference.live.overlay import LiveOverlay, fit_picture
from inference.live.prediction import SlidingWindow
from inference.live.results import LiveAnswer, find_segments
from inference.live.stream import LiveFrame
from inference.segments import Segment
from inference.text_renderer import TextRenderer

SCENES = [frame for seed in (1, 2, 3) for frame in make_frames(25, 96, 128, seed=seed)]  # 3 s


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A tiny network."""
    return save_model(tmp_path_factory.mktemp("weights") / "resnet_model")


@pytest.fixture(autouse=True)
def _stand_elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # logger.log is written where one stands
    monkeypatch.setattr(drawing, "MIN_SHORT_SIDE", 96)  # smaller videos are written faster


def run(weights, *words):
    """Run the script in this process; return its exit status."""
    return predict.main([weights, "--use_gpu", "False", "--save_dir", "out", *map(str, words)])


def read_results(folder="out"):
    """Return the one json, the rows of its csv and the frames of its video."""
    (path,) = glob.glob(f"{folder}/*_predict.json")
    with open(path, encoding="utf-8") as file:
        result = json.load(file)
    with open(path.replace(".json", ".csv"), encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    return result, rows, read_back(path.replace(".json", ".webm"))[0]


# When a window is scored.


def slide(window, times_s, size=(4, 4)):
    """Add frames; return (first, last) number of each window that is due."""
    found = []
    for number, time_s in enumerate(times_s):
        shape = size[number] if isinstance(size, list) else size
        if window.add(LiveFrame(number, time_s, 0.0, np.zeros((*shape, 3)), None), 0.04):
            found.append((window.frames[0].number, window.frames[-1].number))
            window.mark_scored()
    return found


def test_windows_are_as_long_and_as_far_apart_as_asked():
    times_s = [number / 25 for number in range(101)]
    assert slide(SlidingWindow(2, 1, 1), times_s) == [(0, 49), (25, 74), (50, 99)]
    assert slide(SlidingWindow(0.4, 2, 1), times_s) == [(0, 9), (50, 59)]
    assert slide(SlidingWindow(0.4, 2, 20), times_s) == [(0, 19), (50, 69)]  # as many as the network needs


def test_what_is_late_is_scored_but_not_drawn():
    drawn = []
    stream = types.SimpleNamespace(fps=25, is_file=False, buffer=types.SimpleNamespace(fill_ratio=0.0, num_dropped=0))
    source = types.SimpleNamespace(observe=lambda frame: frame.picture, make_views=lambda frames: None)
    live = prediction.LivePrediction(stream, SlidingWindow(0.2, 0.2, 1), source, None, TextRenderer(""))
    live.size, live.overlay = (16, 16), LiveOverlay(16, 16, TextRenderer(""))
    live.append = lambda picture, time_s: drawn.append(round(25 * time_s))
    for number in range(20):
        stream.buffer.fill_ratio = 0.8 if 5 <= number < 15 else 0.0
        live.add(LiveFrame(number, number / 25, 0.0, np.zeros((16, 16, 3), np.uint8), None), None, "")
    assert drawn == [*range(5), *range(15, 20)] and (live.num_frames, live.num_undrawn) == (20, 10)
    # While it is late a window waits for the newest frame, but not for longer than a window.
    assert [round(25 * answer.end_s) for answer in live.answers] == [5, 16, 20]


def test_no_window_reaches_over_a_break_or_a_change_of_size():
    times_s = [number / 25 for number in range(50)]
    late = times_s[:30] + [time_s + 0.6 for time_s in times_s[30:]]
    assert slide(SlidingWindow(0.8, 0.4, 1), late) == [(0, 19), (10, 29), (30, 49)]
    assert slide(SlidingWindow(0.8, 0.4, 1), times_s, 30 * [(4, 4)] + 20 * [(4, 6)]) == [(0, 19), (10, 29), (30, 49)]
    dropped = [time_s for number, time_s in enumerate(times_s) if number % 3]
    assert slide(SlidingWindow(0.8, 9, 1), dropped) == [(0, 13)]  # every third is missing: still one movement


def test_segments_leave_out_breaks_and_times_when_nobody_is_there():
    spans = [(0, 2, "A"), (1, 3, "A"), (7, 9, "A"), (8, 10, None), (9, 11, "B")]
    answers = [LiveAnswer(*span[:2], 50, [(0, span[2], 0.5)] if span[2] else [], 0.1) for span in spans]
    expected = [Segment(0, 3, "A", 0.5), Segment(7, 9, "A", 0.5), Segment(9, 11, "B", 0.5)]
    assert find_segments(answers) == expected


def test_a_picture_of_another_size_is_fitted_in():
    fitted = fit_picture(np.full((20, 10, 3), 255, np.uint8), (40, 60))
    assert fitted.shape == (40, 60, 3)
    assert (fitted[:, 20:40] == 255).all() and not fitted[:, :20].any() and not fitted[:, 40:].any()


def test_names_of_what_is_written():
    for address, start in [
        ("0", "camera0_2"),
        ("rtsp://me:secret@10.0.0.7:554/a/b?c=1", "10.0.0.7_554_a_b_c_1_2"),
        ("http://h/x.m3u8", "h_x.m3u8_2"),
        ("my videos/über a.mkv", "über_a_2"),
    ]:
        assert prediction.name_output(address).startswith(start)


# A whole run.


def test_a_followed_file_gets_the_windows_and_scores_of_the_finished_one(tmp_path, weights, capsys):
    write_stream(tmp_path / "a.ts", SCENES)
    flags = ["--input", "a.ts", "--window_s", 0.96, "--top_k", len(CLASSES)]
    assert run(weights, *flags, "--follow", "--timeout_s", 0.2) == 0
    printed = capsys.readouterr().out
    result, rows, shown = read_results()
    (tmp_path / "of_file").mkdir()
    assert run(weights, *flags, "--save_dir", "of_file") == 0
    expected = json.loads((tmp_path / "of_file" / "a_predict.json").read_text(encoding="utf-8"))["windows"]
    assert len(expected) > 5 and len({one["top_k"][0]["class"] for one in expected}) > 1
    assert [one["top_k"] for one in result["windows"]] == [one["top_k"] for one in expected]
    for name in ("start_s", "end_s"):
        assert [one[name] for one in result["windows"]] == pytest.approx([one[name] for one in expected], abs=0.002)
    counts = [result[name] for name in ("num_frames", "num_dropped", "num_damaged", "num_breaks", "fps")]
    assert counts == [75, 0, 0, 0, 25] and len(shown) == 75 and shown[0].shape == (96, 128, 3)
    assert (rows[0]["start_s"], rows[-1]["end_s"]) == ("0.000", "3.000")
    best = result["windows"][0]["top_k"][0]
    assert f"0:01.0  {best['class']} {100 * best['probability']:.0f}% " in printed
    lines = [line for line in printed.splitlines() if line.endswith("s later")]
    changes = [one["top_k"][0]["class"] for one in expected]
    assert len(lines) == sum(left != right for left, right in zip([None, *changes], changes, strict=False))
    assert "a.ts: 0:03.0, 75 frames, 0 dropped" in printed and max(map(len, printed.splitlines()[1:])) <= 100


def test_a_window_is_scored_as_a_file_with_exactly_its_frames(tmp_path, weights):
    write_stream(tmp_path / "a.ts", SCENES)
    frames = list(video_io.read_frames("a.ts"))
    flags = ["--top_k", len(CLASSES), "--input"]
    words = ["a.ts", "--follow", "--timeout_s", 0.2, "--window_s", 0.8, "--every_s", 1]
    assert run(weights, *flags, *words) == 0
    windows = read_results()[0]["windows"]
    assert len(windows) == 4  # the last one ends with the stream
    for index, one in enumerate(windows):
        start, end = round(25 * one["start_s"]), round(25 * one["end_s"])
        assert (end - start, one["num_frames"]) == (20, 20)
        write_stream(tmp_path / f"part{index}.mkv", frames[start:end], "ffv1", pix_fmt="bgr0")  # not a bit is lost
    assert run(weights, *flags, *(f"part{index}.mkv" for index in range(4))) == 0
    for index, one in enumerate(windows):
        content = json.loads((tmp_path / "out" / f"part{index}_predict.json").read_text(encoding="utf-8"))
        assert content["top_k"] == one["top_k"]


def test_a_stream_shorter_than_a_window_is_scored_whole(tmp_path, weights):
    write_stream(tmp_path / "a.ts", SCENES[:12])
    assert run(weights, "--input", "a.ts", "--follow", "--timeout_s", 0.2) == 0
    assert [one["num_frames"] for one in read_results()[0]["windows"]] == [12]


def test_a_slow_network_drops_old_frames_and_stays_near(tmp_path, weights, monkeypatch, capsys):
    """Over the loopback address, 3 s at real speed; a window takes longer than the next one is away."""
    rank = predict.rank_source

    def rank_slowly(*args):
        time.sleep(0.7)
        return rank(*args)

    monkeypatch.setattr(predict, "rank_source", rank_slowly)
    data = write_stream(tmp_path / "a.ts", SCENES)
    greeting = b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n" % len(data)
    with StreamServer([(data, 3)], greeting) as server:
        words = ["--window_s", 0.4, "--every_s", 0.2, "--timeout_s", 1]
        status = run(weights, "--input", f"http://127.0.0.1:{server.port}/live.ts", *words)
    result = read_results()[0]
    assert result["num_dropped"] > 5 and result["num_frames"] + result["num_dropped"] == 75
    latencies_s = [one["latency_s"] for one in result["windows"]]
    assert len(latencies_s) >= 2 and min(latencies_s) >= 0.7 and max(latencies_s) < 6  # on a busy machine
    printed = capsys.readouterr().out
    assert f"{result['num_frames']} frames, {result['num_dropped']} dropped" in printed
    assert status == 0 and "live.ts: it has ended; trying again for 1 s" in printed


# Every end.


def test_a_stream_that_never_starts_ends_with_a_sentence(weights):
    with StreamServer([]) as server:
        server.thread.join()
        address = f"tcp://127.0.0.1:{server.port}"
        with pytest.raises(ValueError, match=f"^{address}: not one frame in 0.3 s: Connection refused"):
            run(weights, "--input", address, "--timeout_s", 0.3)
    assert not os.path.exists("out")


def test_what_was_seen_is_kept_where_a_window_cannot_be_scored(tmp_path, weights, monkeypatch):
    rank, calls = predict.rank_source, []

    def fail_later(*args):
        calls.append(args)
        if len(calls) == 2:
            raise FloatingPointError("scores that are nan")
        return rank(*args)

    monkeypatch.setattr(predict, "rank_source", fail_later)
    write_stream(tmp_path / "a.ts", SCENES)
    with pytest.raises(FloatingPointError, match="scores that are nan"):
        run(weights, "--input", "a.ts", "--follow", "--timeout_s", 0.2, "--window_s", 1)
    result, _, shown = read_results()
    assert len(result["windows"]) == 1 and len(shown) >= 25


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_stream_with_whole_files(tmp_path, weights, number):
    write_stream(tmp_path / "a.ts", SCENES)

    def interrupt():
        while not glob.glob("out/.unfinished*"):
            time.sleep(0.05)
        os.kill(os.getpid(), number)

    before = signal.getsignal(number)
    thread = threading.Thread(target=interrupt)
    thread.start()
    assert run(weights, "--input", "a.ts", "--follow", "--timeout_s", 60, "--window_s", 0.4) == 0
    thread.join()
    result, _, shown = read_results()
    assert len(shown) == result["num_frames"] > 0 and len(result["windows"]) > 0
    assert signal.getsignal(number) == before


@pytest.mark.parametrize(
    "words, message",
    [
        (["0", "1"], "--input 0 1: one stream at a time"),
        (["rtsp://a", "--poses", "a.pkl"], "--poses: of files only"),
        (["a.avi", "--every_s", "1"], "--every_s is for streams"),
    ],
)
def test_what_does_not_go_with_a_stream(weights, words, message):
    with pytest.raises(ValueError, match=message):
        run(weights, "--input", *words)


def test_a_network_of_rgb_and_pose_sees_no_stream():
    args = types.SimpleNamespace(input=["0"], follow=False, every_s=None, poses=None, split=None, image_size=None)
    with pytest.raises(ValueError, match="a stream is for networks that read clips, skeletons, .*heatmaps"):
        prediction.find_stream(args, "rgbpose")


@pytest.mark.long
def test_the_script_as_a_user_ends_it(tmp_path, weights):
    data = write_stream(tmp_path / "a.ts", 4 * SCENES)
    with StreamServer([(data, 12)]) as server:
        words = ["--input", f"tcp://127.0.0.1:{server.port}", "--use_gpu", "False", "--window_s", "1"]
        script = subprocess.Popen(
            [sys.executable, ROOT / "predict.py", weights, *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        lines = []
        for line in script.stdout:
            lines.append(line)
            if line.rstrip().endswith("s later") and script.poll() is None and len(lines) > 3:
                script.send_signal(signal.SIGINT)
                break
        rest, errors = script.communicate(timeout=60)
    assert (script.returncode, errors) == (0, "")
    assert "written: output/predict/127.0.0.1" in "".join([*lines, rest])  # a slow machine sees the end of the stream
    assert read_results("output/predict")[0]["num_breaks"] == 0
