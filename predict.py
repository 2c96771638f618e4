"""Predict what is done in videos or by skeletons: print it, draw it over frames, write a contact sheet and a json.

python predict.py --weights checkpoints_models/resnet_model --input video.avi
python predict.py checkpoints_models/resnet_best --input "my videos" data/UCF-101_jpg/Biking/v_Biking_g01_c01 --top_k 3
python predict.py --exported output/exported --input video.avi
python predict.py checkpoints_models/ctrgcn_best --input data/ntu25.pkl --split test1
python predict.py checkpoints_models/posec3d_best --input poses.json --image_size 1920x1080
python predict.py checkpoints_models/rgbposeconv3d_best --input video.avi --poses data/coco17.pkl
python predict.py checkpoints_models/resnet_best --input rtsp://192.168.1.7/stream

The network's reader decides which inputs are needed: videos, skeletons, or videos and their key points. The views are
those of the TEST section in the checkpoint's config, so what is scored whole gets the scores that test.py gives it. The
drawn video is WebM (VP8), which browsers play. Times are those at which the video shows its frames.
"""

from common import command_line
from engine import flags

if __name__ == "__main__":
    command_line.start_paddle(flags.parse_predict)

import functools
import itertools
import json
import logging
import os
from collections.abc import Callable, Iterable

import numpy as np

import recipe
from common import files
from common.pictures import write_png
from engine import checkpoint, evaluator, logger, metrics
from inference import contact_sheet, drawing, explain, exported_model, segments, sources, video_io
from inference.live import prediction as live
from inference.progress import log_progress, show_progress
from inference.text_renderer import TextRenderer
from models import build_model
from models.parts.action_model import ActionModel

MAX_NAMED = 10  # inputs that failed, at the end


def main(argv: list | None = None) -> int:
    """Predict every input that the command line names; return 1 if one of them could not be."""
    args = flags.parse_predict(argv)
    device = recipe.choose_device(args.use_gpu)
    network, state = open_export(args.exported, device) if args.exported else open_weights(args.weights)
    if not args.exported:
        checkpoint.check_finite(args.weights, checkpoint.scoring_weights(state))
    config, class_names = state["config"], state["class_names"]
    logger.setup_logging(config["RUN"].get("log_file", "logger.log"))  # an export has no log
    origin = args.exported or args.weights
    reader, average_clips = recipe.open_reader(config), config["RUN"]["average_clips"]
    logging.info(f"{origin}: {config['MODEL']['name']}, {len(class_names)} classes, on {device}")

    reader_name = config["READER"].get("name", "clips")
    label = explain.find_label(args.explain, class_names) if isinstance(args.explain, str) else None
    if address := live.find_stream(args, reader_name):
        if args.explain:
            raise ValueError("--explain is for files: a stream has no time for it; leave it out")
        rank = functools.partial(rank_source, network, average_clips, class_names, args.top_k)
        source = live.INPUTS[reader_name](reader)
        return live.predict_stream(args, address, source, rank, TextRenderer("".join(class_names)))
    found = sources.find_sources(args, reader_name, reader)
    renderer, failed = TextRenderer("".join([*class_names, *found, *network.modalities])), []
    for name, source in found.items():
        base = os.path.join(args.save_dir, f"{name}_predict")
        try:
            source.open()
            window_scores = score_source(source, network, average_clips)
            prediction = rank_classes(name, source, window_scores, class_names, args.top_k)
            log_summary(source, prediction)
            explained = explain.Explanations(source, network, prediction, class_names, label) if args.explain else None
            write_pictures(source, base, prediction, renderer, explained)
            write_json(source, base, prediction, origin, explained)
        except (ValueError, OSError) as error:
            failed.append(source.path)
            logging.error(f"{source.path}: FAILED: {error}")
    if failed and len(found) > 1:
        more = ", ..." if len(failed) > MAX_NAMED else ""
        logging.error(f"{len(failed)} of {len(found)} inputs FAILED: {', '.join(failed[:MAX_NAMED])}{more}")
    return 1 if failed else 0


def rank_source(network, average_clips: str, class_names: list, top_k: int, source) -> list:
    """Score a source and rank its classes."""
    scores = score_source(source, network, average_clips)
    return rank_classes(source.path, source, scores, class_names, top_k).ranking


class FrameNetwork(ActionModel):
    """A network whose input is what the reader returns, such as decoded frames: `prepare` of the reader comes first.

    Args:
        model: takes what `prepare` returns.
        reader: has `prepare`.
        prepared: names of the inputs that are prepared here; None: all.
    """

    def __init__(self, model: Callable, reader, prepared: Iterable | None = None):
        super().__init__()
        self.model, self.input_names = model, list(reader.input_shape)
        self.prepare = reader.prepare if prepared is None else reader.prepare.keep(prepared)
        self.modalities, self.name_outputs, self.fuse = model.modalities, model.name_outputs, model.fuse

    def forward(self, frames, *others):
        """Map what the reader returns, such as frames, uint8 (N, T, H, W, C), to what the network returns."""
        tensors = [frames, *others]
        inputs = {name: tensors[index] for index, name in enumerate(self.input_names)}
        return self.model(*self.prepare(inputs).values())


def open_weights(weights: str, change: Callable = recipe.use_onednn_where_possible) -> tuple:
    """Build the network of a checkpoint.

    Args:
        change: turns the network and its config into what is called.

    Returns:
        The `FrameNetwork`, for evaluation, and the checkpoint with its config resolved.

    Raises:
        ValueError: a file that holds weights only.
    """
    state = checkpoint.load_checkpoint(weights)
    if "config" not in state:
        raise ValueError(f"'{weights}' holds weights only, not how to prepare frames; give a checkpoint of train.py")
    recipe.adopt_config(state["config"])
    config = state["config"] = recipe.resolve(state["config"], weights)
    model = build_model(**config["MODEL"])
    checkpoint.restore_model(model, checkpoint.scoring_weights(state))
    model.eval()
    network = FrameNetwork(change(model, config), recipe.open_reader(config))
    network.eval()
    return network, state


def open_export(folder: str, device: str) -> tuple:
    """Return the network of an export, and its description, which has `config` and `class_names` as a checkpoint.

    Heat maps, which an export does not draw, are drawn before it.
    """
    network = exported_model.ExportedModel(folder, device)
    reader = recipe.open_reader(network.description["config"])
    return FrameNetwork(network, reader, exported_model.DRAWN_INPUTS), network.description


def score_source(source, network, average_clips: str) -> tuple:
    """Score a source, whole or by windows.

    Args:
        network: maps what the reader returns to logits.
        average_clips: `prob` or `score`, see `evaluator.evaluate`.

    Returns:
        [(first frame, frame after the last one)] of the windows, their probabilities (num_windows, num_classes), and
        those of each modality by its name, where the network has several.

    Raises:
        ValueError: no frame or no person can be read.
    """
    windows = source.read_windows()
    windows.windows = log_progress(windows.windows, "score", len(windows), "window")
    result = evaluator.evaluate(network, windows, average_clips)
    scores = [result["scores"], *(result["heads"][name] for name in network.modalities)]
    if average_clips == "score":  # logits
        scores = [metrics.softmax(logits) for logits in scores]
    return windows.spans, scores[0], dict(zip(network.modalities, scores[1:], strict=True))


def rank_classes(title: str, source, window_scores: tuple, class_names: list, top_k: int) -> drawing.Prediction:
    """Rank the classes of each window, and of the whole source by the mean over its windows.

    Args:
        window_scores: what `score_source` returned.
    """

    def rank(probabilities):
        best = np.argsort(-probabilities, kind="stable")[:top_k]
        names = [class_names[label] if label < len(class_names) else str(label) for label in best]
        return [(int(label), name, float(probabilities[label])) for label, name in zip(best, names, strict=True)]

    spans, scores, modalities = window_scores
    windows = [drawing.Window(*span, rank(row)) for span, row in zip(spans, scores, strict=True)]
    by_modality = {name: rank(rows.mean(axis=0)) for name, rows in modalities.items()}
    ranking = rank(scores.mean(axis=0))
    return drawing.Prediction(title, spans[-1][1], source.fps, ranking, windows, by_modality, source.times_s)


def log_summary(source, prediction: drawing.Prediction) -> None:
    """Log the best classes."""
    num_frames, num_windows = prediction.num_frames, len(prediction.windows)
    mode = "scored whole" if num_windows == 1 else f"scored in {num_windows} windows"
    logging.info(f"{source.path}: {prediction.find_time(num_frames):.1f} s, {num_frames} frames, {mode}")
    for _, name, probability in prediction.ranking:
        logging.info(f"  {100 * probability:5.1f}%  {name}")
    for modality, ranking in prediction.modalities.items():
        logging.info(f"  {100 * ranking[0][2]:5.1f}%  {ranking[0][1]} (by {modality} alone)")
    if num_windows > 1:
        for line in segments.describe(segments.find_segments(prediction)):
            logging.info(f"  {line}")


def write_pictures(source, base: str, prediction: drawing.Prediction, renderer: TextRenderer, explained=None) -> None:
    """Write the drawn video and the contact sheet; `explained`, the source's `explain.Explanations`, shows in both."""
    chosen, thumbnails = contact_sheet.choose_thumbnails(prediction.num_frames), {}
    frames = source.read_pictures(explained)
    prediction.note = explained.note if explained else ""
    first = next(frames)
    size = drawing.choose_size(*first.shape[:2])
    overlay = drawing.Overlay(prediction, *size, renderer)
    shown = show_progress(itertools.chain([first], frames), "draw", prediction.num_frames, "frame")
    with video_io.write_webm(f"{base}.webm", prediction.fps, *size) as append:
        for index, frame in enumerate(shown):
            if index in chosen:
                thumbnails[index] = contact_sheet.make_thumbnail(frame)
            append(overlay.draw(frame, index), prediction.find_time(index))
    sheet = contact_sheet.draw_sheet(prediction, thumbnails, renderer)
    write_png(sheet, f"{base}.png")


def write_json(source, base: str, prediction: drawing.Prediction, origin: str, explained=None) -> None:
    """Write the best classes of the whole source, of each window and of each modality; times are in seconds."""

    def list_classes(ranking):
        return [
            {"class": name, "label": label, "probability": round(probability, 6)}
            for label, name, probability in ranking
        ]

    content = {
        **source.origin,
        "weights": origin,
        "num_frames": prediction.num_frames,
        "fps": prediction.fps,
        "top_k": list_classes(prediction.ranking),
        "windows": [
            {
                "start_s": round(prediction.find_time(window.start), 3),
                "end_s": round(prediction.find_time(window.end), 3),
                "top_k": list_classes(window.ranking),
            }
            for window in prediction.windows
        ],
    }
    if prediction.modalities:
        content["modalities"] = {name: list_classes(ranking) for name, ranking in prediction.modalities.items()}
    if explained:
        content["explain"] = explained.describe()
    with files.write_atomically(f"{base}.json") as file:
        file.write(json.dumps(content, ensure_ascii=False, indent=1).encode())
    segments.write_csv_of_windows(f"{base}.csv", prediction)
    logging.info(f"written: {base}.webm, .png, .json" + (", .csv" if len(prediction.windows) > 1 else ""))


if __name__ == "__main__":
    command_line.run_main(main)
