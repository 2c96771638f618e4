"""Accuracy from scores: NumPy only, fractions from 0 to 1."""

import numpy as np

SHARES = ((1, 1), (2, 1), (1, 2))  # of RGB and pose, in a fused score


def softmax(logits: np.ndarray) -> np.ndarray:
    """Turn logits (N, num_classes) into probabilities of the same type."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


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


def summarize_heads(heads: dict, labels: np.ndarray, groups: np.ndarray | None = None) -> dict:
    """Return the figures of a network for RGB and pose, by MMAction2's names.

    Args:
        heads: `rgb` and `pose`, scores (N, num_classes); with `groups` also `rgb_coarse` and `pose_coarse`.
        labels: (N,) class ids.
        groups: (num_classes,) the coarse class of each class, if there are any.

    Returns:
        `acc/<head>_top1`, `_top5` and `_mean1` (mean class accuracy) of each head, and of RGBPose_1:1, RGBPose_2:1 and
        RGBPose_1:2, weighted means of the scores. With `groups` also those of MA-52, of the classes that 1:1 answers
        and of the coarse classes that the mean of the coarse heads answers: `acc/action_f1_micro`,
        `acc/action_f1_macro`, `acc/body_f1_micro`, `acc/body_f1_macro`, and `acc/f1_mean`, the mean of these four.
    """
    scores = dict(heads)
    for rgb, pose in SHARES:
        scores[f"RGBPose_{rgb}:{pose}"] = (rgb * heads["rgb"] + pose * heads["pose"]) / (rgb + pose)
    figures = {}
    for name, one in scores.items():
        found = summarize(one, groups[labels] if name.endswith("_coarse") else labels)
        for kind, key in (("top1", "top1"), ("top5", "top5"), ("mean1", "mean_class_accuracy")):
            figures[f"acc/{name}_{kind}"] = found[key]
    if groups is None:
        return figures
    action = scores["RGBPose_1:1"].argmax(axis=1)
    body = (heads["rgb_coarse"] + heads["pose_coarse"]).argmax(axis=1)
    f1 = {}
    for name, guess, label in (("action", action, labels), ("body", body, groups[labels])):
        confusion = confusion_matrix(guess, label, int(max(guess.max(), label.max())) + 1)
        f1[f"acc/{name}_f1_micro"] = float(confusion.trace() / confusion.sum())  # of one answer a sample: accuracy
        f1[f"acc/{name}_f1_macro"] = f1_macro(confusion)
    return {**figures, **f1, "acc/f1_mean": float(np.mean(list(f1.values())))}


def f1_macro(confusion: np.ndarray) -> float:
    """Mean over the classes that have samples or answers of 2 TP / (2 TP + FP + FN)."""
    totals = confusion.sum(axis=0) + confusion.sum(axis=1)
    return float((2 * confusion.diagonal()[totals > 0] / totals[totals > 0]).mean())
