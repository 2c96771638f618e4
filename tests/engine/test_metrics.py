"""Metrics against figures worked out by hand."""

import numpy as np
import pytest

from engine import metrics

SCORES = np.array([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6], [0.4, 0.35, 0.25], [0.2, 0.5, 0.3]])
LABELS = np.array([0, 1, 1, 2])


def test_top_k():
    assert metrics.top_k_accuracy(SCORES, LABELS, 1) == 0.25
    assert metrics.top_k_accuracy(SCORES, LABELS, 2) == 1.0


def test_top_5_of_two_classes_is_defined_and_ties_go_to_the_lower_id():
    scores = np.array([[0.5, 0.5], [0.5, 0.5]])
    assert metrics.top_k_accuracy(scores, np.array([0, 1]), 5) == 1.0
    assert metrics.top_k_correct(scores, np.array([0, 1]), 1).tolist() == [True, False]


@pytest.mark.parametrize("num_classes", [16, 60, 400])
def test_of_many_equal_scores_the_lowest_ids_come_first(num_classes):
    """NumPy's default sort keeps the order of a few equal numbers by chance, of many it does not."""
    labels = np.arange(num_classes)
    scores = np.full((num_classes, num_classes), 1 / num_classes)
    assert np.flatnonzero(metrics.top_k_correct(scores, labels, 5)).tolist() == [0, 1, 2, 3, 4]
    steps = np.tile(labels % 3 / num_classes, (num_classes, 1))  # 2, 5, 8, ... are best, then 1, 4, 7, ...
    assert np.flatnonzero(metrics.top_k_correct(steps, labels, 5)).tolist() == [2, 5, 8, 11, 14]


def test_confusion_rows_are_labels():
    confusion = metrics.confusion_matrix(SCORES.argmax(axis=1), LABELS, 3)
    assert confusion.tolist() == [[1, 0, 0], [1, 0, 1], [0, 1, 0]]
    assert metrics.worst_pairs(confusion, 2) == [(1, 0, 1), (1, 2, 1)]


def test_mean_class_accuracy_leaves_out_classes_without_samples():
    confusion = np.array([[3, 1, 0], [0, 0, 0], [0, 0, 2]])
    accuracy = metrics.per_class_accuracy(confusion)
    assert accuracy[0] == 0.75 and np.isnan(accuracy[1]) and accuracy[2] == 1.0
    assert metrics.mean_class_accuracy(confusion) == pytest.approx(0.875)


def test_levels_and_summary():
    assert metrics.majority_level(LABELS) == 0.5
    summary = metrics.summarize(SCORES, LABELS)
    assert summary == {"top1": 0.25, "top5": 1.0, "mean_class_accuracy": pytest.approx(1 / 3)}


def test_softmax_gives_probabilities_however_large_the_logits():
    logits = np.array([[0.0, np.log(3)], [1000.0, 1000.0], [-1000.0, 0.0]])
    assert metrics.softmax(logits) == pytest.approx(np.array([[0.25, 0.75], [0.5, 0.5], [0.0, 1.0]]))
    assert metrics.softmax(logits.astype(np.float32)).dtype == np.float32
