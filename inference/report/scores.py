"""What a report says of scores: figures, classes, confusion, and the samples to look at; no Paddle is needed."""

from collections.abc import Callable

import numpy as np

from engine import metrics
from inference.progress import show_progress
from inference.report import charts, tables


def describe_result(
    summary: dict, result: dict, class_names: list, average_clips: str, draw: Callable[[int, int], dict] | None = None
) -> dict:
    """Return the variables of the template that are of scores: figures, classes, confusion, and samples to look at.

    Args:
        average_clips: `prob` or `score`, what the scores are.
        draw: returns the path, the picture and a note of a sample of `result`, given its index and the predicted class;
            None: there are no pictures.
    """
    labels, probabilities = result["labels"], tables.to_probabilities(result["scores"], average_clips)
    confusion = None
    if labels is not None:
        confusion = metrics.confusion_matrix(probabilities.argmax(axis=1), labels, len(class_names))
    chosen = {
        "most_wrong": tables.find_most_wrong(probabilities, labels),
        "least_sure": tables.find_least_sure(probabilities),
    }
    draw = draw or (lambda index, label: {"path": None, "picture": None, "note": None})
    shown = sorted(set(sum(chosen.values(), [])))
    predicted = probabilities.argmax(axis=1).tolist()
    pictures = {index: draw(index, predicted[index]) for index in show_progress(shown, "report", len(shown), "picture")}
    samples = {
        name: [
            {**tables.describe_sample(index, result, probabilities, class_names), **pictures[index]} for index in each
        ]
        for name, each in chosen.items()
    }
    return {
        "has_labels": labels is not None,
        "figures": tables.list_figures(summary),
        "num_wrong": None if labels is None else int((probabilities.argmax(axis=1) != labels).sum()),
        **describe_confusion(confusion, class_names),
        **samples,
    }


def describe_confusion(confusion: np.ndarray | None, class_names: list) -> dict:
    """Return the classes, the confused pairs, and the confusion as a table of counts or, of many classes, a picture."""
    if confusion is None:
        return {"classes": [], "num_classes": 0, "pairs": [], "class_names": [], "square": None, "matrix": None}
    is_small = len(class_names) <= tables.MAX_SQUARE
    fractions = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    rows = zip(class_names, confusion.tolist(), fractions.tolist(), strict=True)
    square = [(name, list(zip(counts, shares, strict=True))) for name, counts, shares in rows] if is_small else None
    return {
        "classes": tables.describe_classes(confusion, class_names),
        "num_classes": len(class_names),
        "pairs": tables.describe_pairs(confusion, class_names),
        "class_names": class_names[: tables.MAX_CLASSES],
        "square": square,
        "matrix": None if is_small else charts.draw_matrix(fractions),
    }
