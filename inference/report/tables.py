"""Tables of a report: figures by class, confused pairs, and which samples are looked at."""

import numpy as np

from engine import metrics

MAX_CLASSES = 1000  # rows of the table of classes
MAX_SQUARE = 40  # classes whose confusion is a table; of more it is a picture
MAX_PAIRS = 200
MAX_SAMPLES = 20  # most wrong ones, and as many least sure ones


def list_figures(summary: dict) -> list:
    """Return (name, value) of the figures of a summary, those that are there: fractions as float, counts as int."""
    names = {
        "top1": "top-1",
        "top5": "top-5",
        "mean_class_accuracy": "mean class accuracy",
        "num_samples": "samples",
        "chance": "chance",
        "majority": "always the largest class",
    }
    figures = [(shown, summary[name]) for name, shown in names.items() if name in summary]
    return figures + [(name, value) for name, value in summary.items() if name.startswith("acc/")]


def describe_classes(confusion: np.ndarray, class_names: list) -> list:
    """Return a row a class that has samples or is predicted, the lowest accuracy first, at most `MAX_CLASSES`."""
    rows = []
    for label, accuracy in enumerate(metrics.per_class_accuracy(confusion)):
        mistakes = confusion[label].copy()
        mistakes[label] = 0
        taken_for = int(mistakes.argmax()) if mistakes.any() else None
        rows.append(
            {
                "label": label,
                "name": class_names[label],
                "samples": int(confusion[label].sum()),
                "right": int(confusion[label, label]),
                "predicted": int(confusion[:, label].sum()),
                "accuracy": None if np.isnan(accuracy) else float(accuracy),
                "taken_for": None if taken_for is None else class_names[taken_for],
                "times": 0 if taken_for is None else int(mistakes[taken_for]),
            }
        )
    rows = [row for row in rows if row["samples"] or row["predicted"]]
    return sorted(rows, key=lambda row: 2.0 if row["accuracy"] is None else row["accuracy"])[:MAX_CLASSES]


def describe_pairs(confusion: np.ndarray, class_names: list) -> list:
    """Return a row for each pair of classes that was confused, the most frequent first, at most `MAX_PAIRS`."""
    return [
        {
            "name": class_names[label],
            "predicted": class_names[predicted],
            "times": times,
            "samples": int(confusion[label].sum()),
        }
        for label, predicted, times in metrics.worst_pairs(confusion, MAX_PAIRS)
    ]


def to_probabilities(scores: np.ndarray, average_clips: str) -> np.ndarray:
    """Return scores (N, num_classes) as probabilities; `average_clips` says what they are."""
    return metrics.softmax(scores) if average_clips == "score" else scores


def find_most_wrong(probabilities: np.ndarray, labels: np.ndarray | None) -> list:
    """Return the indices of the wrong samples with the highest probability of a wrong class, that one first."""
    if labels is None:
        return []
    order = np.argsort(-probabilities.max(axis=1), kind="stable")
    is_wrong = probabilities.argmax(axis=1) != labels
    return order[is_wrong[order]][:MAX_SAMPLES].tolist()


def find_least_sure(probabilities: np.ndarray) -> list:
    """Return the indices of the samples whose best class has the lowest probability, that one first."""
    return np.argsort(probabilities.max(axis=1), kind="stable")[:MAX_SAMPLES].tolist()


def describe_sample(index: int, result: dict, probabilities: np.ndarray, class_names: list) -> dict:
    """Return the name of a sample, what it was taken for and what it is, with their probabilities."""
    row, labels = probabilities[index], result["labels"]
    predicted = int(row.argmax())
    label = None if labels is None else int(labels[index])
    return {
        "name": result["names"][index],
        "predicted": class_names[predicted],
        "score": float(row[predicted]),
        "class": None if label is None else class_names[label],
        "class_score": None if label is None else float(row[label]),
        "is_wrong": label not in (None, predicted),
    }
