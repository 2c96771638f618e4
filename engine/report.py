"""What a scored list is told by: a per-class table, the wrong samples, a confusion picture, and result files."""

import csv
import io
import json

import numpy as np
from matplotlib.figure import Figure

from common import files
from engine import metrics


def write_per_class(path: str, confusion: np.ndarray, class_names: list) -> None:
    """Write one csv row a class: label, name, samples, right, accuracy, the class it is most often taken for."""
    rows = [["label", "class", "samples", "right", "accuracy", "most_often_taken_for"]]
    for label, (name, accuracy) in enumerate(zip(class_names, metrics.per_class_accuracy(confusion), strict=True)):
        mistakes = confusion[label].copy()
        mistakes[label] = 0
        taken_for = class_names[int(mistakes.argmax())] if mistakes.any() else ""
        told = "" if np.isnan(accuracy) else f"{accuracy:.4f}"
        rows.append([label, name, int(confusion[label].sum()), int(confusion[label, label]), told, taken_for])
    _write_csv(path, rows)


def write_wrong_samples(path: str, result: dict, class_names: list) -> None:
    """Write one csv row a sample that was predicted wrong, the surest mistakes first.

    Args:
        result: `names`, `labels`, `scores` of `trainer.evaluate`.
    """
    predictions = result["scores"].argmax(axis=1)
    rows = [
        [name, class_names[label], class_names[guess], f"{scores[guess]:.4f}", f"{scores[label]:.4f}"]
        for name, label, guess, scores in zip(
            result["names"], result["labels"], predictions, result["scores"], strict=True
        )
        if label != guess
    ]
    rows.sort(key=lambda row: -float(row[3]))
    _write_csv(path, [["video", "class", "predicted", "score_of_predicted", "score_of_class"], *rows])


def write_scores(path: str, result: dict, class_names: list, protocol: dict) -> None:
    """Write the score file: sample name -> scores (num_classes,), with labels, class names and the protocol."""
    names = result["names"]
    content = {
        "scores": dict(zip(names, result["scores"].astype(np.float32), strict=True)),
        "labels": dict(zip(names, (int(label) for label in result["labels"]), strict=True)),
        "class_names": class_names,
        "protocol": protocol,
    }
    files.dump_pickle(content, path)


def write_result(path: str, result: dict, class_names: list, summary: dict, top_k: int) -> None:
    """Write the summary and every sample's best `top_k` classes; the suffix of `path` is the format.

    Args:
        path: ends in `.json`, `.csv` (samples only) or `.pkl` (with all scores).

    Raises:
        ValueError: another suffix.
    """
    order = np.argsort(-result["scores"], axis=1, kind="stable")[:, :top_k]
    samples = [
        {
            "video": name,
            "class": class_names[label],
            "predictions": [[class_names[one], round(float(scores[one]), 6)] for one in best],
        }
        for name, label, scores, best in zip(result["names"], result["labels"], result["scores"], order, strict=True)
    ]
    if path.endswith(".json"):
        with files.write_atomically(path) as file:
            file.write(json.dumps({"summary": summary, "samples": samples}, ensure_ascii=False, indent=1).encode())
    elif path.endswith(".pkl"):
        files.dump_pickle({"summary": summary, "samples": samples, "scores": result["scores"]}, path)
    elif path.endswith(".csv"):
        rows = [[one["video"], one["class"], *sum(one["predictions"], [])] for one in samples]
        titles = [f"{what}_{rank + 1}" for rank in range(order.shape[1]) for what in ("predicted", "score")]
        _write_csv(path, [["video", "class", *titles], *rows])
    else:
        raise ValueError(f"--out {path}: expected a name that ends in .json, .pkl or .csv")


def draw_confusion(confusion: np.ndarray, class_names: list) -> np.ndarray:
    """Draw a confusion matrix, rows are labels, each row as shares of its class.

    Returns:
        uint8 RGB (H, W, 3).
    """
    size = len(class_names)
    inches = 3.5 + min(0.28 * size, 22)
    figure = Figure(figsize=(inches, inches), dpi=100, layout="constrained")
    axes = figure.add_subplot()
    shares = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    font_size = 9 if size <= 30 else 5
    axes.set_xticks(range(size), class_names, rotation=90, fontsize=font_size)
    axes.set_yticks(range(size), class_names, fontsize=font_size)
    axes.set_xlabel("predicted")
    axes.set_ylabel("class")
    if size <= 30:
        for row, column in np.argwhere(confusion):
            shade = "white" if shares[row, column] > 0.5 else "black"
            axes.text(column, row, int(confusion[row, column]), ha="center", va="center", fontsize=8, color=shade)
    return render(figure)


def render(figure: Figure) -> np.ndarray:
    """Turn a figure into a uint8 RGB picture (H, W, 3)."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="rgba")
    width, height = figure.canvas.get_width_height()
    pixels = np.frombuffer(buffer.getvalue(), np.uint8).reshape(height, width, 4)  # row by row, as savefig wrote them
    return np.ascontiguousarray(pixels[:, :, :3])


def _write_csv(path: str, rows: list) -> None:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    with files.write_atomically(path) as file:
        file.write(text.getvalue().encode("utf-8-sig"))  # the mark lets spreadsheet programs read other alphabets
