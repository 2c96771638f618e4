"""Say what is done in videos: print it, draw it over their frames, and write a contact sheet and a json file of each.

python predict.py --weights checkpoints_models/resnet_model --input video.avi
python predict.py checkpoints_models/resnet_best --input "my videos" data/UCF-101_jpg/Biking/v_Biking_g01_c01 --top_k 3
python predict.py --exported output/exported --input video.avi

The views are those of the TEST section in the checkpoint's config, so a video that is scored whole gets the scores that
test.py gives it. The drawn video is WebM (VP8): browsers play it, and pip's OpenCV has no H.264 encoder.
"""

import command

if __name__ == "__main__":
    command.start_paddle()

import argparse
import collections
import itertools
import json
import logging
import os
import sys
from collections.abc import Callable, Iterable, Iterator

import cv2
import numpy as np
import paddle
import tqdm

import checkpoint
import drawing
import engine
import exported
import files
import footage
import log
import recipe
from models import build_model

WHOLE_S, WINDOW_S = 10, 2  # without --window_s: the longest video scored whole, and the windows of longer ones
TRUNCATED_RATIO = 0.9  # below this share of the announced frames a video counts as cut off; containers err by a few


def parse_arguments(words: list | None = None) -> argparse.Namespace:
    """Parse the command line; see `python predict.py --help`."""
    parser = command.CommandLine("Say what is done in videos.")
    network = parser.add_mutually_exclusive_group()
    network.add_argument("checkpoint", nargs="?", help="the same as --weights")
    network.add_argument("--weights", default="checkpoints_models/resnet_model", help="with or without .pdparams")
    network.add_argument("--exported", help="folder that tools/export.py wrote; it needs no checkpoint")
    parser.add_argument("--input", nargs="+", required=True, help="videos, frame folders, or folders of these")
    parser.add_argument("--use_gpu", nargs="?", const=True, type=command.parse_bool, help="None: where there is one")
    parser.add_argument("--top_k", type=int, default=5, help="classes to show")
    parser.add_argument("--save_dir", default="output/predict", help="folder of what is written")
    window_help = (
        "longer videos are scored in windows of so many seconds that overlap by half; "
        f"None: in windows of {WINDOW_S} if they are longer than {WHOLE_S}"
    )
    parser.add_argument("--window_s", type=float, help=window_help)
    parser.add_argument("--fps", type=float, default=25, help="of frame folders, and of videos that state none")
    args = parser.parse_args(words)
    args.weights = args.checkpoint or args.weights
    if args.top_k < 1 or args.fps <= 0 or (args.window_s is not None and args.window_s <= 0):
        parser.error("--top_k takes 1 or more; --window_s and --fps take more than 0")
    return args


def main(words: list | None = None) -> int:
    """Predict every input that the command line names; return 1 if one of them could not be."""
    args = parse_arguments(words)
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # what is wrong with a video is told in our words
    device = recipe.choose_device(args.use_gpu)
    network, state = open_export(args.exported, device) if args.exported else open_weights(args.weights)
    config, class_names = state["config"], state["class_names"]
    log.setup_logging(config["RUN"].get("log_file", "logger.log"))  # an export does not know of logs
    origin = args.exported or args.weights
    if config["READER"].get("name", "clips") != "clips":
        raise ValueError(f"{origin} reads {config['READER']['name']}, predict.py reads videos; score it with test.py")
    reader, average_clips = recipe.open_reader(config), config["RUN"]["average_clips"]
    logging.info(f"{origin}: {config['MODEL']['name']}, {len(class_names)} classes, on {device}")

    sources, failed = footage.name_sources(footage.find_sources(args.input, args.save_dir)), []
    lettering = drawing.Lettering("".join([*class_names, *sources]))
    for name, path in sources.items():
        base = os.path.join(args.save_dir, f"{name}_predict")
        try:
            fps, announced = footage.inspect(path, args.fps)
            spans, scores = score_source(path, fps, args.window_s, network, reader, average_clips)
            prediction = describe(name, fps, spans, scores, class_names, args.top_k)
            tell(path, prediction, announced)
            write_pictures(path, base, prediction, lettering)
            write_json(path, base, prediction, origin)
        except (ValueError, OSError) as error:
            failed.append(path)
            logging.error(f"{path}: FAILED: {error}")
    if failed and len(sources) > 1:
        logging.error(f"{len(failed)} of {len(sources)} inputs FAILED: {', '.join(failed)}")
    return 1 if failed else 0


class FrameNetwork(paddle.nn.Layer):
    """A network that takes frames as they are decoded: the reader's `prepare` is its first step."""

    def __init__(self, model: paddle.nn.Layer, prepare: Callable):
        super().__init__()
        self.model, self.prepare = model, prepare

    def forward(self, frames):
        """Map what the reader gives, such as frames, uint8 (N, T, H, W, C), to logits (N, num_classes)."""
        return self.model(self.prepare(frames))


def open_weights(weights: str) -> tuple:
    """Build the network of a checkpoint.

    Returns:
        The `FrameNetwork`, for evaluation, and the checkpoint with its config resolved.

    Raises:
        ValueError: a file that holds weights only.
    """
    state = checkpoint.load_checkpoint(weights)
    if "config" not in state:
        raise ValueError(f"'{weights}' holds weights only, not how to prepare frames; give a checkpoint of train.py")
    config = state["config"] = recipe.resolve(state["config"], weights)
    model = build_model(**config["MODEL"])
    checkpoint.restore_model(model, checkpoint.scoring_weights(state))
    network = FrameNetwork(model, recipe.open_reader(config).prepare)
    network.eval()
    return network, state


def open_export(folder: str, device: str) -> tuple:
    """Return the network of an export, and its description, which has `config` and `class_names` as a checkpoint."""
    network = exported.ExportedModel(folder, device)
    return network, network.description


class WindowBatches:
    """What `engine.evaluate` takes for a loader: each batch holds the views of one window, as of a video in a list.

    Args:
        windows: (first frame, scaled frames), see `cut_windows`.
        reader: of the TEST section.

    Attributes:
        spans: (first frame, frame after the last one) of the windows that have been read.
    """

    def __init__(self, windows: Iterable, reader):
        self.windows, self.reader, self.spans = windows, reader, []

    def __iter__(self):
        for start, frames in self.windows:
            self.spans.append((start, start + len(frames)))
            views = self.reader.make_views(np.stack(frames))
            yield {"inputs": views, "labels": [0], "names": [str(start)], "views": [len(views)]}

    def prepare(self, inputs: np.ndarray) -> np.ndarray:
        """Return the frames as they are; the network prepares them itself."""
        return inputs


def cut_windows(frames: Iterator, most_whole: int, window: int) -> Iterator[tuple]:
    """Yield (first frame, frames) of windows that overlap by half; the last one ends with the video.

    At most `most_whole` frames, or `window` if that is more, are one window.
    """
    head = list(itertools.islice(frames, max(most_whole, window) + 1))
    if not head:
        raise ValueError("not one frame can be decoded: cut off or damaged")
    if len(head) <= max(most_whole, window):
        yield 0, head
        return
    step, latest = max(1, window // 2), collections.deque(maxlen=window)
    for count, frame in enumerate(itertools.chain(head, frames), 1):
        latest.append(frame)
        if count >= window and (count - window) % step == 0:
            yield count - window, list(latest)
    if (count - window) % step:
        yield count - window, list(latest)


def score_source(path: str, fps: float, window_s: float | None, network, reader, average_clips: str) -> tuple:
    """Score a video or frame folder, whole or by windows.

    Args:
        window_s: None: videos of up to `WHOLE_S` are scored whole, longer ones by windows of `WINDOW_S`.
        network: maps frames to logits.
        reader: of the TEST section; it says how.
        average_clips: `prob` or `score`, see `engine.evaluate`.

    Returns:
        [(first frame, frame after the last one)] of the windows, and their probabilities (num_windows, num_classes).

    Raises:
        ValueError: no frame can be read.
    """
    one_clip = reader.num_segments * ((reader.clip_len - 1) * reader.frame_interval + 1)
    window = max(round((window_s or WINDOW_S) * fps), one_clip)
    most_whole = round(WHOLE_S * fps) if window_s is None else window
    batches = WindowBatches(cut_windows(footage.read_frames(path, reader.short_size), most_whole, window), reader)
    scores = engine.evaluate(network, batches, average_clips)["scores"]
    if average_clips == "score":  # these are logits
        scores = np.exp(scores - scores.max(axis=1, keepdims=True))
        scores /= scores.sum(axis=1, keepdims=True)
    return batches.spans, scores


def describe(
    title: str, fps: float, spans: list, scores: np.ndarray, class_names: list, top_k: int
) -> drawing.Prediction:
    """Rank the classes of each window, and of the whole video by the mean over its windows."""

    def rank(probabilities):
        best = np.argsort(-probabilities, kind="stable")[:top_k]
        names = [class_names[label] if label < len(class_names) else str(label) for label in best]
        return [(int(label), name, float(probabilities[label])) for label, name in zip(best, names, strict=True)]

    windows = [drawing.Window(*span, rank(one)) for span, one in zip(spans, scores, strict=True)]
    return drawing.Prediction(title, spans[-1][1], fps, rank(scores.mean(axis=0)), windows)


def tell(path: str, prediction: drawing.Prediction, announced: int) -> None:
    """Log the best classes, and whether the video ended before its announced number of frames."""
    num_frames, num_windows = prediction.num_frames, len(prediction.windows)
    if num_frames < min(TRUNCATED_RATIO * announced, announced - 2):
        logging.warning(
            f"{path}: only {num_frames} of {announced} announced frames can be decoded, it is cut off or damaged; "
            "what follows is of these frames"
        )
    how = "scored whole" if num_windows == 1 else f"scored in {num_windows} windows"
    logging.info(f"{path}: {num_frames / prediction.fps:.1f} s, {num_frames} frames, {how}")
    for _, name, probability in prediction.ranking:
        logging.info(f"  {100 * probability:5.1f}%  {name}")


def write_pictures(path: str, base: str, prediction: drawing.Prediction, lettering: drawing.Lettering) -> None:
    """Write the drawn video and the contact sheet; the frames are read a second time, so that none need be kept."""
    chosen, thumbnails = drawing.choose_thumbnails(prediction.num_frames), {}
    frames = footage.read_frames(path)
    first = next(frames)
    size = drawing.choose_size(*first.shape[:2])
    overlay = drawing.Overlay(prediction, *size, lettering)
    shown = tqdm.tqdm(
        itertools.chain([first], frames), "draw", prediction.num_frames, leave=False, disable=not sys.stdout.isatty()
    )
    with footage.write_webm(f"{base}.webm", prediction.fps, *size) as append:
        for index, frame in enumerate(shown):
            if index in chosen:
                thumbnails[index] = drawing.make_thumbnail(frame)
            append(overlay.draw(frame, index))
    sheet = drawing.draw_sheet(prediction, thumbnails, lettering)
    with files.write_atomically(f"{base}.png") as file:
        file.write(cv2.imencode(".png", sheet[:, :, ::-1])[1].tobytes())


def write_json(path: str, base: str, prediction: drawing.Prediction, origin: str) -> None:
    """Write what was predicted: the best classes of the whole video and of each window, times in seconds."""

    def list_classes(ranking):
        return [{"class": name, "label": label, "probability": round(one, 6)} for label, name, one in ranking]

    content = {
        "input": path,
        "weights": origin,
        "num_frames": prediction.num_frames,
        "fps": prediction.fps,
        "top_k": list_classes(prediction.ranking),
        "windows": [
            {
                "start_s": round(window.start / prediction.fps, 3),
                "end_s": round(window.end / prediction.fps, 3),
                "top_k": list_classes(window.ranking),
            }
            for window in prediction.windows
        ],
    }
    with files.write_atomically(f"{base}.json") as file:
        file.write(json.dumps(content, ensure_ascii=False, indent=1).encode())
    logging.info(f"written: {base}.webm, {base}.png, {base}.json")


if __name__ == "__main__":
    command.run_main(main)
