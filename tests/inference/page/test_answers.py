"""What the page does with an upload, without a page: sentences, limits, files, key points, examples."""

import csv
import json
import os
import sys
import threading
import types
from concurrent.futures import CancelledError

import pytest
from saved_models import make_prediction
from small_videos import make_frames, write_avi

from inference import segments
from inference.page import answers, gradio_page
from inference.page.answers import Answerer, OneThread, PageNetwork, find_examples, find_poses
from layouts import get_layout

CLIPS = types.SimpleNamespace(num_segments=1, clip_len=2, frame_interval=1, short_size=None)
COCO = types.SimpleNamespace(layout=get_layout("coco17"), memory_limit_gib=1, videos=None, num_persons=1)
NTU = types.SimpleNamespace(layout=get_layout("ntu25"), memory_limit_gib=1, num_persons=1)


def make_network(reader_name="clips", reader=CLIPS, poses_python=""):
    """A network that is never run."""
    return PageNetwork("a_model", None, reader, reader_name, "prob", ["A", "B"], poses_python)


class Predictor:
    """Stands in for the functions of predict.py: remembers what it was called with and writes empty files."""

    def __init__(self, labels=(0,)):
        self.labels, self.calls = labels, []

    def __call__(self, name, source, network, base, is_explained):
        """Write the files of an answer."""
        self.calls.append((name, source, network, base, is_explained))
        for suffix in (".webm", ".png", ".json"):
            with open(base + suffix, "w") as file:
                file.write(suffix)
        prediction = make_prediction(source.num_frames, self.labels, source.fps, name)
        segments.write_csv_of_windows(f"{base}.csv", prediction)
        return prediction


def make_answerer(tmp_path, labels=(0,), max_mb=1, max_seconds=9, keep=None):
    """An answerer with a stand-in for the networks."""
    (tmp_path / "answers").mkdir()
    return Answerer(Predictor(labels), str(tmp_path / "answers"), max_mb, max_seconds, keep)


def test_a_video_is_answered_and_nothing_is_kept(tmp_path):
    answerer, video = make_answerer(tmp_path), write_avi(tmp_path / "in" / "打球.avi", make_frames(12))
    answer = answerer.answer(make_network(), str(video), None, False, "en")
    assert answer.message == "**Class0** 60.0%  \n打球.avi: 0.5 s, 12 frames"
    assert answer.scores == {"Class0": 0.6, "Other": 0.4} and answer.segments == []
    assert [os.path.basename(path) for path in (answer.video, answer.sheet, *answer.files)] == [
        f"打球_predict.{suffix}" for suffix in ("webm", "png", "json")
    ]
    assert all(map(os.path.exists, [answer.video, answer.sheet, *answer.files]))
    assert answerer.predict_source.calls[0][1].origin == {"input": "打球.avi"}  # in the json, no temporary folder
    answerer.clear()
    assert os.listdir(tmp_path / "answers") == [] and video.exists()


def test_a_long_video_has_its_segments_in_the_table_and_in_the_csv(tmp_path):
    answerer, video = make_answerer(tmp_path, (0, 0, 1, 1)), write_avi(tmp_path / "in" / "a.avi", make_frames(100))
    answer = answerer.answer(make_network(), str(video), None, True, "zh")
    assert answer.message == "**Class0** 60.0%  \na.avi：4.0 秒，100 帧，分 4 个时间窗识别"
    assert answer.segments == [["0:00.0", "0:02.0", "Class0", "60.0%"], ["0:02.0", "0:04.0", "Class1", "60.0%"]]
    with open(answer.files[1], encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [list(row.values()) for row in rows] == [
        ["0.000", "2.000", "Class0", "0.6000"],
        ["2.000", "4.000", "Class1", "0.6000"],
    ]
    assert answerer.predict_source.calls[0][-1] is True


def test_the_table_has_headers_in_the_language_of_the_page_and_is_seen_with_segments_only():
    gradio, row = types.SimpleNamespace(update=lambda **values: values), ["0:00.0", "0:02.0", "A", "60.0%"]
    table = gradio_page._show(gradio, answers.Answer("", segments=[row]), "zh")[4]
    assert table == {"value": {"headers": ["开始", "结束", "类别", "概率"], "data": [row]}, "visible": True}
    assert not gradio_page._show(gradio, answers.Answer(""), "en")[4]["visible"]


def test_uploads_and_answers_are_kept_where_that_is_asked_for(tmp_path):
    answerer, video = make_answerer(tmp_path, keep=str(tmp_path / "kept")), write_avi(tmp_path / "a.avi", make_frames())
    for _ in range(2):
        answerer.answer(make_network(), str(video), None, False, "en")
    answerer.answer(make_network(), str(tmp_path / "none.avi"), None, False, "en")
    folders = os.listdir(tmp_path / "kept")
    assert len(folders) == 2
    expected = ["a.avi", *(f"a_predict.{suffix}" for suffix in ("json", "png", "webm"))]
    assert [sorted(os.listdir(tmp_path / "kept" / folder)) for folder in folders] == [expected, expected]


@pytest.mark.parametrize(
    "max_mb, max_seconds, network, message",
    [
        (0.001, 9, make_network(), "**No answer for a.avi:** it has 0.0 MB, up to 0.001 MB are taken here"),
        (1, 0.4, make_network(), "**No answer for a.avi:** it is 0 s long, up to 0.4 s are taken here"),
        (1, 0.4, make_network("heatmaps", COCO, "python"), "**No answer for a.avi:** it is 0 s long"),
        (1, 9, make_network("rgbpose", COCO), "**No answer for a.avi:** This network reads skeletons"),
        (1, 9, make_network("skeletons", NTU), "This network reads skeletons; give a skeleton file first."),
        (1, 9, make_network("skeletons", NTU, "python"), "This network reads skeletons; give a skeleton file first."),
    ],
)
def test_what_is_not_taken_gets_a_sentence(tmp_path, max_mb, max_seconds, network, message):
    answerer, video = make_answerer(tmp_path, (0,), max_mb, max_seconds), write_avi(tmp_path / "a.avi", make_frames())
    answer = answerer.answer(network, str(video), None, False, "en")
    assert answer.message.startswith(message)
    assert (answer.video, answer.files, answer.scores, answerer.predict_source.calls) == (None, [], {}, [])
    assert answerer.answer(make_network(), None, None, False, "zh").message == "请先选择视频。"


def test_a_broken_upload_gets_a_sentence_without_temporary_folders_and_the_next_one_is_answered(tmp_path):
    answerer, good = make_answerer(tmp_path), write_avi(tmp_path / "in" / "a.avi", make_frames())
    broken = tmp_path / "in" / "b.avi"
    broken.write_bytes(good.read_bytes()[:700])
    message = answerer.answer(make_network(), str(broken), None, False, "zh").message
    assert message.startswith("**b.avi 无法识别：** b.avi: ") and "FFmpeg cannot read" in message
    assert str(tmp_path) not in message
    assert answerer.answer(make_network(), str(good), None, False, "zh").video


def write_poses(path, num_frames=3):
    """Write key points of one person as MMPose does."""
    person = {"keypoints": [[10 + k, 20 + k] for k in range(17)], "keypoint_scores": [1.0] * 17}
    frames = [{"frame_id": index, "instances": [person]} for index in range(num_frames)]
    path.write_text(json.dumps({"image_size": [48, 36], "instance_info": frames}))


def test_key_points_given_as_a_file_are_those_of_the_video_whatever_its_name(tmp_path):
    video = write_avi(tmp_path / "in" / "a.avi", make_frames(3))
    write_poses(tmp_path / "other.json")
    work = tmp_path / "work"
    work.mkdir()
    network = make_network("rgbpose", COCO)
    (source,) = answers.open_sources(network, str(video), str(tmp_path / "other.json"), str(work)).values()
    assert source.path == str(video) and source.index.find("a")[0][0] == "a"


TOOL = """
import json, os, sys
words = dict(zip(sys.argv[1::2], sys.argv[2::2]))
name = os.listdir(words["--videos"])[0]
os.makedirs(words["--out"])
if name == "nobody.avi":
    open(words["--out"] + "/failed.csv", "w").write("item,reason\\nnobody,no body in any of its 12 frames\\n")
    sys.exit(1)
if name == "crash.avi":
    sys.exit("line\\nModuleNotFoundError: No module named 'mediapipe'")
open(words["--out"] + "/" + name[:-4] + ".json", "w").write("{}")
"""


def test_key_points_are_found_by_the_tool_in_its_own_environment(tmp_path, monkeypatch):
    assert answers.FIND_POSES.is_file()
    (tmp_path / "tool.py").write_text(TOOL)
    monkeypatch.setattr(answers, "FIND_POSES", tmp_path / "tool.py")
    for name, message in (("a", None), ("nobody", "no body in any of its 12 frames"), ("crash", "No module named")):
        video, folder = write_avi(tmp_path / f"{name}.avi", make_frames()), tmp_path / f"work_{name}"
        if message is None:
            assert find_poses(str(video), sys.executable, str(folder)) == str(folder / "keypoints" / "a.json")
            assert os.listdir(folder) == ["keypoints"]  # no second copy of the video
            continue
        with pytest.raises(ValueError, match=f"find_poses: .*{message}"):
            find_poses(str(video), sys.executable, str(folder))


def test_examples_are_what_the_network_reads(tmp_path):
    for name in ("UCF/B/b2.avi", "UCF/B/b10.avi", "UCF/A/a.avi", "ntu/S001.skeleton", "coco17.pkl", "ntu25.pkl"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    root = str(tmp_path)
    videos = [f"{root}/UCF/A/a.avi", f"{root}/UCF/B/b2.avi"]
    assert find_examples(root, make_network()) == [(video, None) for video in videos]
    assert find_examples(root, make_network("skeletons", NTU)) == [(None, f"{root}/ntu/S001.skeleton")]
    assert find_examples(root, make_network("skeletons", NTU, "python")) == [(None, f"{root}/ntu/S001.skeleton")]
    with_pkl = [(video, f"{root}/coco17.pkl") for video in videos]
    assert find_examples(root, make_network("rgbpose", COCO)) == with_pkl
    assert find_examples(root, make_network("heatmaps", COCO, "python")) == [(video, None) for video in videos]
    assert find_examples(root, make_network("heatmaps", COCO)) == []
    assert find_examples(f"{root}/none", make_network()) == []


def test_what_threads_ask_for_runs_in_one_thread_until_that_is_interrupted():
    thread, seen = OneThread(), []

    def interrupt():
        raise KeyboardInterrupt

    def ask():
        seen.append(thread.run(threading.get_ident))
        with pytest.raises(ZeroDivisionError):
            thread.run(lambda: 1 / 0)
        with pytest.raises(CancelledError):
            thread.run(interrupt)
        seen.append("cancelled")

    asking = threading.Thread(target=ask)
    asking.start()
    with pytest.raises(KeyboardInterrupt):
        thread.serve()
    asking.join()
    assert seen == [threading.get_ident(), "cancelled"]
