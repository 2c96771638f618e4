"""Reports of an evaluation: per-class table, wrong samples, confusion matrix as a picture, score and result files."""

import csv
import io
import json
import os
from collections.abc import Callable

import numpy as np
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties

from common import files
from common.fonts import Font
from engine import metrics


def write_per_class(path: str, confusion: np.ndarray, class_names: list) -> None:
    """Write a csv file with one row a class.

    Columns: label, name, number of samples, number of correct ones, accuracy, and the class that it is most often
    mistaken for.
    """
    rows = [["label", "class", "samples", "right", "accuracy", "most_often_taken_for"]]
    for label, (name, accuracy) in enumerate(zip(class_names, metrics.per_class_accuracy(confusion), strict=True)):
        mistakes = confusion[label].copy()
        mistakes[label] = 0
        mistaken_for = class_names[int(mistakes.argmax())] if mistakes.any() else ""
        accuracy = "" if np.isnan(accuracy) else f"{accuracy:.4f}"
        rows.append([label, name, int(confusion[label].sum()), int(confusion[label, label]), accuracy, mistaken_for])
    _write_csv(path, rows)


def format_per_class(confusion: np.ndarray, class_names: list) -> str:
    """Return a text with each class that has samples, such as `9 of 12 Wave`, the least accurate first."""
    accuracies = metrics.per_class_accuracy(confusion)
    order = [label for label in np.argsort(accuracies, kind="stable") if not np.isnan(accuracies[label])]
    return "; ".join(f"{confusion[label, label]} of {confusion[label].sum()} {class_names[label]}" for label in order)


def write_wrong_samples(path: str, result: dict, class_names: list, find_file: Callable[[int], str]) -> None:
    """Write a csv file with one row for each wrong sample, the highest score of a wrong class first.

    Args:
        path: file to write.
        result: {"names", "labels", "scores"} of the evaluated list.
        class_names: names by label.
        find_file: returns the path of a sample by its place in the list.
    """
    predictions = result["scores"].argmax(axis=1)
    rows = []
    for index in np.flatnonzero(predictions != result["labels"]):
        label, predicted, scores = result["labels"][index], predictions[index], result["scores"][index]
        figures = [f"{scores[predicted]:.4f}", f"{scores[label]:.4f}"]
        rows.append([result["names"][index], class_names[label], class_names[predicted], *figures, find_file(index)])
    rows.sort(key=lambda row: -float(row[3]))
    _write_csv(path, [["video", "class", "predicted", "score_of_predicted", "score_of_class", "path"], *rows])


def write_scores(path: str, result: dict, class_names: list, protocol: dict) -> None:
    """Write the score file: sample name -> scores (num_classes,), with labels, class names and protocol.

    `labels` is empty where `result` has None.
    """
    names, labels = result["names"], result["labels"]
    content = {
        "scores": dict(zip(names, result["scores"].astype(np.float32), strict=True)),
        "labels": {} if labels is None else dict(zip(names, map(int, labels), strict=True)),
        "class_names": class_names,
        "protocol": protocol,
    }
    files.dump_pickle(content, path)


def write_features(path: str, result: dict, class_names: list) -> None:
    """Write an npz file: `features` float32 (N, C), `names`, `class_names`, and `labels` where samples have them.

    Args:
        result: what `evaluator.evaluate` returned with features.
    """
    arrays = {"features": result["features"].astype(np.float32), "names": np.array(result["names"])}
    if result["labels"] is not None:
        arrays["labels"] = result["labels"]
    with files.write_atomically(path) as file:
        np.savez_compressed(file, **arrays, class_names=np.array(class_names))


def find_other_protocol(path: str, protocol: dict) -> str | None:
    """Return in which keys the protocol of an older score file differs, such as `filelist val.list`, or None."""
    if not os.path.exists(path):
        return None
    old = files.load_pickle(path).get("protocol", {})
    return ", ".join(f"{key} {old[key]}" for key in old if old[key] != protocol.get(key)) or None


def write_result(path: str, result: dict, class_names: list, summary: dict, top_k: int) -> None:
    """Write the summary and the `top_k` best classes of every sample.

    Args:
        path: file to write; its suffix chooses the format: `.json`, `.csv` (without the summary) or `.pkl` (with all
            scores).
        result: {"names", "labels", "scores"} of the evaluated list; without labels (None) no sample has a "class".
        class_names: names by label.
        summary: metrics and protocol.
        top_k: number of classes for each sample.

    Raises:
        ValueError: `path` has another suffix.
    """
    order = np.argsort(-result["scores"], axis=1, kind="stable")[:, :top_k]
    labels = result["labels"]
    known = [{}] * len(order) if labels is None else [{"class": class_names[label]} for label in labels]
    samples = [
        {
            "video": name,
            **known_class,
            "predictions": [[class_names[index], round(float(scores[index]), 6)] for index in best],
        }
        for name, known_class, scores, best in zip(result["names"], known, result["scores"], order, strict=True)
    ]
    if path.endswith(".json"):
        with files.write_atomically(path) as file:
            file.write(json.dumps({"summary": summary, "samples": samples}, ensure_ascii=False, indent=1).encode())
    elif path.endswith(".pkl"):
        files.dump_pickle({"summary": summary, "samples": samples, "scores": result["scores"]}, path)
    elif path.endswith(".csv"):
        titles = ["video"] if labels is None else ["video", "class"]
        rows = [[*(sample[title] for title in titles), *sum(sample["predictions"], [])] for sample in samples]
        titles += [f"{title}_{rank + 1}" for rank in range(order.shape[1]) for title in ("predicted", "score")]
        _write_csv(path, [titles, *rows])
    else:
        raise ValueError(f"--out {path}: expected a name that ends in .json, .pkl or .csv")


def draw_confusion(confusion: np.ndarray, class_names: list) -> np.ndarray:
    """Draw a confusion matrix; rows are labels, the color is the fraction of the row.

    Returns:
        uint8 RGB (H, W, 3).
    """
    size = len(class_names)
    inches = 3.5 + min(0.28 * size, 22)
    figure = Figure(figsize=(inches, inches), dpi=100, layout="constrained")
    axes = figure.add_subplot()
    fractions = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    axes.imshow(fractions, cmap="Blues", vmin=0, vmax=1)
    font = Font("".join(class_names))
    style = {"fontproperties": FontProperties(fname=font.path), "fontsize": 9 if size <= 30 else 5}
    names = [font.clean(name).replace("$", r"\$") for name in class_names]  # $ begins a formula
    axes.set_xticks(range(size), names, rotation=90, **style)
    axes.set_yticks(range(size), names, **style)
    axes.set_xlabel("predicted")
    axes.set_ylabel("class")
    if size <= 30:
        for row, column in np.argwhere(confusion):
            shade = "white" if fractions[row, column] > 0.5 else "black"
            axes.text(column, row, int(confusion[row, column]), ha="center", va="center", fontsize=8, color=shade)
    return render(figure)


def render(figure: Figure) -> np.ndarray:
    """Render a figure to a uint8 RGB picture (H, W, 3)."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="rgba")
    width, height = figure.canvas.get_width_height()
    pixels = np.frombuffer(buffer.getvalue(), np.uint8).reshape(height, width, 4)
    return np.ascontiguousarray(pixels[:, :, :3])


def _write_csv(path: str, rows: list) -> None:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    with files.write_atomically(path) as file:
        file.write(text.getvalue().encode("utf-8-sig"))  # the byte order mark tells spreadsheet programs the encoding
