"""What the page of app.py does with an upload: check it, have it predicted, and say what is wrong with it.

Nothing here needs Gradio. One `Answerer` answers one upload at a time.
"""

import csv
import datetime
import logging
import os
import pathlib
import queue
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field

from common import lifetime
from common.files import make_folder
from dataset.media import VIDEO_SUFFIXES, walk
from dataset.records import natural_order
from engine import flags
from inference import drawing, pose_io, segments, sources, video_io
from inference.page.texts import Refusal, translate

FIND_POSES = pathlib.Path(__file__).resolve().parents[2] / "tools" / "find_poses.py"
POSES_LAYOUT = "coco17"  # of the key points that it writes
POSES_TIMEOUT_S = 1800
MAX_EXAMPLES = 12


@dataclass
class PageNetwork:
    """A network that the page offers.

    Attributes:
        weights: checkpoint that it is of.
        model: maps what the reader returns to logits, see `predict.open_weights`.
        reader: of the TEST section, without a list.
        reader_name: a key of `reader.READERS`.
        average_clips: `prob` or `score`.
        poses_python: Python of an environment with MediaPipe, which finds the key points of a video; "": none.
    """

    weights: str
    model: Callable
    reader: object
    reader_name: str
    average_clips: str
    class_names: list
    poses_python: str = ""

    @property
    def finds_poses(self) -> bool:
        """Whether key points are found in videos for it."""
        return bool(self.poses_python) and self.reads_keypoints and self.reader.layout.name == POSES_LAYOUT

    @property
    def reads_keypoints(self) -> bool:
        """Whether it reads a file of key points."""
        return self.reader_name != "clips"

    @property
    def reads_videos(self) -> bool:
        """Whether it reads a video, or key points that are found in one."""
        return self.reader_name in ("clips", "rgbpose") or self.finds_poses


@dataclass
class Answer:
    """What the page shows for an upload; of one that was refused only the message.

    Attributes:
        message: a sentence, Markdown.
        scores: {class name: probability}, the best first.
        segments: (start, end, class name, percent) as text of each segment of a video that was scored by windows.
        video, sheet: paths of the drawn video and the contact sheet.
        files: to download.
    """

    message: str
    scores: dict = field(default_factory=dict)
    segments: list = field(default_factory=list)
    video: str | None = None
    sheet: str | None = None
    files: list = field(default_factory=list)


class Answerer:
    """Answers uploads, one at a time; `clear` removes the files of the answers.

    Args:
        predict_source: (name, source, `PageNetwork`, path without suffix, whether it is explained) ->
            `drawing.Prediction`; it writes the video, the contact sheet, the json and, of several windows, the csv.
        folder: for the files of the answer, removed by whoever made it.
        max_mb: of an upload.
        max_seconds: of a video or recording.
        keep: folder that gets a copy of every upload and answer; None: nothing is kept.
    """

    def __init__(self, predict_source: Callable, folder: str, max_mb: float, max_seconds: float, keep: str | None):
        self.predict_source, self.folder = predict_source, folder
        self.max_mb, self.max_seconds, self.keep = max_mb, max_seconds, keep

    def answer(
        self, network: PageNetwork, video: str | None, keypoints: str | None, is_explained: bool, language: str
    ) -> Answer:
        """Answer a video, a file of key points, or both; what is wrong with them becomes the message.

        Args:
            video, keypoints: paths of the uploads, None: not given.
            is_explained: draw where the network looks.
            language: `en` or `zh`.
        """
        video, keypoints = (video if network.reads_videos else None), (keypoints if network.reads_keypoints else None)
        uploads = [path for path in (video, keypoints) if path]
        title = _name_upload(uploads)
        work = tempfile.mkdtemp(dir=self.folder)
        try:
            self._check_uploads(network, video, keypoints)
            answer = self._predict(network, video, keypoints, work, is_explained, language)
        except Refusal as error:
            logging.error(f"{title or 'nothing given'}: refused: {error}")
            return _refuse(translate(error.key, language, **error.values), title, language)
        except (ValueError, OSError, MemoryError, FloatingPointError, subprocess.TimeoutExpired) as error:
            reason = _hide_folders(str(error), [*uploads, os.path.join(work, "x")])
            logging.error(f"{title}: FAILED: {reason}")
            return _refuse(reason, title, language)
        if self.keep:
            self._keep([*uploads, answer.video, answer.sheet, *answer.files])
        return answer

    def clear(self) -> None:
        """Remove the files of the answers, once the page has its own copies."""
        for name in os.listdir(self.folder):
            shutil.rmtree(os.path.join(self.folder, name))

    def _check_uploads(self, network: PageNetwork, video: str | None, keypoints: str | None) -> None:
        if not video and not keypoints or network.reader_name == "rgbpose" and not video:
            raise Refusal("no_input" if network.reads_videos else "no_keypoints")
        if network.reader_name == "rgbpose" and not keypoints and not network.finds_poses:
            raise Refusal("no_keypoints")
        for path in filter(None, (video, keypoints)):
            mb = os.path.getsize(path) / 1e6
            if mb > self.max_mb:
                raise Refusal("too_large", mb=mb, max_mb=self.max_mb)

    def _check_length(self, seconds: float) -> None:
        if seconds > self.max_seconds:
            raise Refusal("too_long", seconds=seconds, max_seconds=self.max_seconds)

    def _predict(
        self,
        network: PageNetwork,
        video: str | None,
        keypoints: str | None,
        work: str,
        is_explained: bool,
        language: str,
    ) -> Answer:
        fps = None
        if network.reads_keypoints and not keypoints:
            fps, num_frames, _ = video_io.probe(video, flags.parse_predict(["--input", video]).fps)
            self._check_length(num_frames / fps)
            keypoints = find_poses(video, network.poses_python, work)
        found = open_sources(network, video, keypoints, work, fps)
        source = next(iter(found.values()))
        source.open()
        self._check_length(source.num_frames / source.fps)
        source.origin["input"] = _name_upload([video if network.reader_name in ("clips", "rgbpose") else keypoints])
        title = _name_upload([video or keypoints])
        base = os.path.join(work, f"{os.path.splitext(title)[0]}_predict")
        prediction = self.predict_source(title, source, network, base, is_explained)
        message = describe(title, prediction, language)
        if len(found) > 1:
            message += translate("first_of", language, count=len(found), name=source.origin["recording"])
        has_segments = len(prediction.windows) > 1
        return Answer(
            message,
            {name: probability for _, name, probability in prediction.ranking},
            [_format_segment(segment) for segment in segments.find_segments(prediction)] if has_segments else [],
            f"{base}.webm",
            f"{base}.png",
            [f"{base}.json", *([f"{base}.csv"] if has_segments else [])],
        )

    def _keep(self, paths: list) -> None:
        time = datetime.datetime.now().strftime("%Y%m%d_%H%M%S_%f")
        folder = os.path.join(self.keep, time)
        make_folder(folder)
        for path in paths:
            shutil.copyfile(path, os.path.join(folder, os.path.basename(path)))


class OneThread:
    """Runs what other threads ask for in the thread that calls `serve`.

    A server has a thread for each request, and Paddle a mode, of dynamic or static graphs, in each thread.
    """

    def __init__(self):
        self.calls = queue.Queue()

    def run(self, function: Callable, *arguments):
        """Return what the function returns in the other thread, or raise what it raises there."""
        future = Future()
        self.calls.put((future, function, arguments))
        return future.result()

    def serve(self) -> None:
        """Run what is asked for until this thread is interrupted; then cancel what is left."""
        future = Future()
        try:
            while True:
                future, function, arguments = self.calls.get()
                try:
                    future.set_result(function(*arguments))
                except Exception as error:  # of whatever kind: who asked for it gets it
                    future.set_exception(error)
        finally:
            future.cancel()
            while not self.calls.empty():
                self.calls.get()[0].cancel()


def _name_upload(paths: list) -> str:
    return os.path.basename(paths[0]) if paths else ""


def _refuse(reason: str, title: str, language: str) -> Answer:
    return Answer(translate("refused", language, name=title, reason=reason) if title else reason)


def _hide_folders(text: str, paths: list) -> str:
    """Leave out the temporary folders of files, which say nothing to who uploaded them."""
    for path in paths:
        text = text.replace(os.path.dirname(path) + os.sep, "")
    return text


def _format_segment(segment: segments.Segment) -> list:
    times = [drawing.format_time(time_s) for time_s in (segment.start_s, segment.end_s)]
    return [*times, segment.name, f"{100 * segment.score:.1f}%"]


def describe(title: str, prediction: drawing.Prediction, language: str) -> str:
    """Return the best class of a prediction and what was scored, as Markdown."""
    _, best, probability = prediction.ranking[0]
    seconds, frames = prediction.find_time(prediction.num_frames), prediction.num_frames
    values = {"name": title, "best": best, "percent": 100 * probability, "seconds": seconds, "frames": frames}
    text, count = translate("answered", language, **values), len(prediction.windows)
    return text + (translate("by_windows", language, count=count) if count > 1 else "")


def open_sources(
    network: PageNetwork, video: str | None, keypoints: str | None, folder: str, fps: float | None = None
) -> dict:
    """Return {name: source}, see `sources.find_sources`, of uploads.

    Args:
        folder: gets a copy of key points of one recording under the video's name, by which they are found.
        fps: of key points that were found in a video; None: not known.
    """
    given = [video if network.reader_name in ("clips", "rgbpose") else keypoints]
    poses = []
    if network.reader_name == "rgbpose":
        if not pose_io.is_pkl(keypoints):
            stem, suffix = os.path.splitext(os.path.basename(video))[0], os.path.splitext(keypoints)[1]
            named = os.path.join(folder, stem + suffix)
            keypoints = keypoints if os.path.exists(named) else shutil.copyfile(keypoints, named)
        poses = ["--poses", keypoints]
    rate = ["--fps", str(fps)] if fps else []
    args = flags.parse_predict(["--weights", network.weights, "--input", *given, *poses, *rate])
    return sources.find_sources(args, network.reader_name, network.reader)


def find_poses(video: str, python: str, folder: str) -> str:
    """Find the key points in a video by tools/find_poses.py, which needs an environment of its own.

    Args:
        python: of that environment.
        folder: for the json.

    Returns:
        The path of the json.

    Raises:
        ValueError: no body is seen, or the tool failed.
    """
    videos, out = (os.path.join(folder, name) for name in ("videos", "keypoints"))
    make_folder(videos)
    shutil.copyfile(video, os.path.join(videos, os.path.basename(video)))
    words = lifetime.tie([python, str(FIND_POSES), "--videos", videos, "--out", out, "--workers", "1"])
    try:
        ran = subprocess.run(words, capture_output=True, text=True, errors="replace", timeout=POSES_TIMEOUT_S)
    finally:
        shutil.rmtree(videos)
    if ran.returncode:
        failed = os.path.join(out, "failed.csv")
        if os.path.exists(failed):
            with open(failed, encoding="utf-8", newline="") as file:
                raise ValueError(f"find_poses: {list(csv.DictReader(file))[0]['reason']}")
        lines = (ran.stderr or ran.stdout).strip().splitlines() or [f"exit status {ran.returncode}"]
        raise ValueError(f"find_poses: {lines[-1]}")
    return os.path.join(out, os.path.splitext(os.path.basename(video))[0] + ".json")


def find_examples(folder: str, network: PageNetwork) -> list[tuple]:
    """Return (video or None, key points or None) of some files below a folder that a network can answer.

    Of videos, the first of each folder, which is a class; beside them a pkl of key points of the network's layout.
    """
    videos, keypoints, pkls = [], [], []
    for parent, folders, names in walk(folder):
        folders.sort(key=natural_order)
        paths = [os.path.join(parent, name) for name in sorted(names, key=natural_order)]
        videos += [path for path in paths if path.lower().endswith(VIDEO_SUFFIXES)][:1]
        keypoints += [path for path in paths if path.endswith(".skeleton")]
        pkls += [path for path in paths if os.path.basename(path) == f"{POSES_LAYOUT}.pkl"]
    if network.reader_name == "clips":
        return [(path, None) for path in videos[:MAX_EXAMPLES]]
    if network.reader.layout.name == POSES_LAYOUT:
        if network.finds_poses:
            return [(path, None) for path in videos[:MAX_EXAMPLES]]
        return [(path, pkls[0]) for path in videos[:MAX_EXAMPLES]] if pkls and network.reads_videos else []
    return [(None, path) for path in keypoints[:MAX_EXAMPLES]]
