"""Accuracy from scores: NumPy only, fractions from 0 to 1."""

import numpy as np


def top_k_hits(scores: np.ndarray, labels: np.ndarray, k: int) -> np.ndarray:
    """Tell for each sample whether its label is among the `k` highest scores.

    Args:
        scores: (N, num_classes).
        labels: (N,) class ids.
        k: at most num_classes is used, so that top-5 of two classes is defined.

    Returns:
        (N,) bool. Of equal scores the lower class id comes first.
    """
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return (order == np.asarray(labels)[:, None]).any(axis=1)


def top_k_accuracy(scores: np.ndarray, labels: np.ndarray, k: int) -> float:
    """Fraction of samples whose label is among the `k` highest scores."""
    return float(top_k_hits(scores, labels, k).mean())


def confusion_matrix(predictions: np.ndarray, labels: np.ndarray, num_classes: int) -> np.ndarray:
    """Count samples by (label, prediction): an int64 (num_classes, num_classes) array, rows are labels."""
    counts = np.bincount(np.asarray(labels) * num_classes + np.asarray(predictions), minlength=num_classes**2)
    return counts.reshape(num_classes, num_classes)


def per_class_accuracy(confusion: np.ndarray) -> np.ndarray:
    """Fraction of each class's samples that were predicted right: (num_classes,), nan for a class without samples."""
    totals = confusion.sum(axis=1)
    return np.where(totals > 0, confusion.diagonal() / np.maximum(totals, 1), np.nan)


def mean_class_accuracy(confusion: np.ndarray) -> float:
    """Mean over the classes that have samples of `per_class_accuracy`."""
    return float(np.nanmean(per_class_accuracy(confusion)))


def majority_level(labels: np.ndarray) -> float:
    """Accuracy of always answering the most frequent class."""
    return float(np.bincount(labels).max() / len(labels))


def worst_pairs(confusion: np.ndarray, most: int = 5) -> list:
    """List the most frequent mistakes.

    Returns:
        Up to `most` tuples (label, prediction, count), most frequent first.
    """
    mistakes = confusion.copy()
    np.fill_diagonal(mistakes, 0)
    order = np.argsort(-mistakes, axis=None, kind="stable")[:most]
    pairs = zip(*np.unravel_index(order, mistakes.shape), strict=True)
    return [(int(row), int(column), int(mistakes[row, column])) for row, column in pairs if mistakes[row, column]]


def summarize(scores: np.ndarray, labels: np.ndarray) -> dict:
    """Return top1, top5 (k at most the class count) and mean_class_accuracy of (N, num_classes) scores."""
    confusion = confusion_matrix(scores.argmax(axis=1), labels, scores.shape[1])
    return {
        "top1": top_k_accuracy(scores, labels, 1),
        "top5": top_k_accuracy(scores, labels, 5),
        "mean_class_accuracy": mean_class_accuracy(confusion),
    }
