"""Accuracy and F1 of scores, as fractions from 0 to 1; NumPy only."""

import numpy as np

FUSION_WEIGHTS = ((1, 1), (2, 1), (1, 2))  # of the RGB and the pose scores


def softmax(logits: np.ndarray) -> np.ndarray:
    """Turn logits (N, num_classes) into probabilities of the same type."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def top_k_correct(scores: np.ndarray, labels: np.ndarray, k: int) -> np.ndarray:
    """Return for each sample whether its label is among the `k` highest scores.

    Args:
        scores: (N, num_classes).
        labels: (N,) class ids.
        k: number of scores; all of them if it exceeds num_classes.

    Returns:
        bool (N,). Among equal scores the lower class id ranks higher.
    """
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return (order == np.asarray(labels)[:, None]).any(axis=1)


def top_k_accuracy(scores: np.ndarray, labels: np.ndarray, k: int) -> float:
    """Return the fraction of samples whose label is among the `k` highest scores."""
    return float(top_k_correct(scores, labels, k).mean())


def confusion_matrix(predictions: np.ndarray, labels: np.ndarray, num_classes: int) -> np.ndarray:
    """Count samples by label (row) and prediction (column): int64 (num_classes, num_classes)."""
    counts = np.bincount(np.asarray(labels) * num_classes + np.asarray(predictions), minlength=num_classes**2)
    return counts.reshape(num_classes, num_classes)


def per_class_accuracy(confusion: np.ndarray) -> np.ndarray:
    """Return the accuracy of each class (num_classes,); nan for a class without samples."""
    totals = confusion.sum(axis=1)
    return np.where(totals > 0, confusion.diagonal() / np.maximum(totals, 1), np.nan)


def mean_class_accuracy(confusion: np.ndarray) -> float:
    """Return the mean of `per_class_accuracy` over the classes that have samples."""
    return float(np.nanmean(per_class_accuracy(confusion)))


def majority_level(labels: np.ndarray) -> float:
    """Return the accuracy of a classifier that always predicts the most frequent class."""
    return float(np.bincount(labels).max() / len(labels))


def worst_pairs(confusion: np.ndarray, max_pairs: int = 5) -> list:
    """List the most frequent mistakes.

    Returns:
        Up to `max_pairs` tuples (label, prediction, count), most frequent first.
    """
    mistakes = confusion.copy()
    np.fill_diagonal(mistakes, 0)
    order = np.argsort(-mistakes, axis=None, kind="stable")[:max_pairs]
    pairs = zip(*np.unravel_index(order, mistakes.shape), strict=True)
    return [(int(row), int(column), int(mistakes[row, column])) for row, column in pairs if mistakes[row, column]]


def summarize(scores: np.ndarray, labels: np.ndarray) -> dict:
    """Return {"top1", "top5", "mean_class_accuracy"} of scores (N, num_classes)."""
    confusion = confusion_matrix(scores.argmax(axis=1), labels, scores.shape[1])
    return {
        "top1": top_k_accuracy(scores, labels, 1),
        "top5": top_k_accuracy(scores, labels, 5),
        "mean_class_accuracy": mean_class_accuracy(confusion),
    }


def summarize_heads(heads: dict, labels: np.ndarray, groups: np.ndarray | None = None) -> dict:
    """Return the metrics of a network for RGB and pose, under MMAction2's names.

    Args:
        heads: scores (N, num_classes) of `rgb` and `pose`; with `groups` also `rgb_coarse` and `pose_coarse`.
        labels: (N,) class ids.
        groups: (num_classes,) coarse class of each class; None if there are no coarse classes.

    Returns:
        `acc/<head>_top1`, `_top5` and `_mean1` (mean class accuracy) of each head and of RGBPose_1:1, RGBPose_2:1 and
        RGBPose_1:2, the weighted means of the RGB and the pose scores. With `groups` also the metrics of MA-52:
        `acc/action_f1_micro` and `acc/action_f1_macro` of RGBPose_1:1, `acc/body_f1_micro` and `acc/body_f1_macro` of
        the mean of the coarse heads, and `acc/f1_mean`, the mean of these four.
    """
    scores = dict(heads)
    for rgb, pose in FUSION_WEIGHTS:
        scores[f"RGBPose_{rgb}:{pose}"] = (rgb * heads["rgb"] + pose * heads["pose"]) / (rgb + pose)
    metrics = {}
    for name, head_scores in scores.items():
        summary = summarize(head_scores, groups[labels] if name.endswith("_coarse") else labels)
        for suffix, key in (("top1", "top1"), ("top5", "top5"), ("mean1", "mean_class_accuracy")):
            metrics[f"acc/{name}_{suffix}"] = summary[key]
    if groups is None:
        return metrics
    action = scores["RGBPose_1:1"].argmax(axis=1)
    body = (heads["rgb_coarse"] + heads["pose_coarse"]).argmax(axis=1)
    f1 = {}
    for name, predictions, targets in (("action", action, labels), ("body", body, groups[labels])):
        confusion = confusion_matrix(predictions, targets, int(max(predictions.max(), targets.max())) + 1)
        # With one prediction a sample, micro F1 is accuracy.
        f1[f"acc/{name}_f1_micro"] = float(confusion.trace() / confusion.sum())
        f1[f"acc/{name}_f1_macro"] = f1_macro(confusion)
    return {**metrics, **f1, "acc/f1_mean": float(np.mean(list(f1.values())))}


def f1_macro(confusion: np.ndarray) -> float:
    """Return the mean of 2 TP / (2 TP + FP + FN) over the classes that occur among labels or predictions."""
    totals = confusion.sum(axis=0) + confusion.sum(axis=1)
    return float((2 * confusion.diagonal()[totals > 0] / totals[totals > 0]).mean())
