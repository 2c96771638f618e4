"""Weighted, smoothed and focal losses against NumPy."""

import numpy as np
import paddle
import pytest

from engine.losses import CrossEntropy, balance_classes

LABELS = np.array([2, 0, 1, 1, 2])
LOGITS = np.random.default_rng(3).normal(0, 2, (5, 3)).astype(np.float32)


def find_expected(logits, labels, smoothing=0.0, weights=None, gamma=0.0):
    """Compute the mean over samples, class by class, as the formulas of the papers have it."""
    logits = logits.astype(np.float64)
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    total = 0.0
    for row, label in zip(probabilities, labels, strict=True):
        for index, probability in enumerate(row):
            target = (1 - smoothing) * (index == label) + smoothing / len(row)
            factor = 1.0 if weights is None else weights[label]
            total -= factor * target * (1 - probability) ** gamma * np.log(probability)
    return total / len(labels)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"smoothing": 0.1},
        {"weights": [0.5, 2.0, 0.0]},
        {"gamma": 2.0},
        {"gamma": 0.5, "smoothing": 0.2},
        {"weights": [0.2, 1.0, 3.0], "gamma": 1.5, "smoothing": 0.1},
    ],
)
def test_losses_and_gradients_are_those_of_the_formulas(options):
    names = {"smoothing": "label_smoothing", "weights": "class_weights", "gamma": "focal_gamma"}
    criterion = CrossEntropy(**{names[key]: value for key, value in options.items()})
    logits = paddle.to_tensor(LOGITS, stop_gradient=False)
    loss = criterion(logits, paddle.to_tensor(LABELS))
    assert loss.item() == pytest.approx(find_expected(LOGITS, LABELS, **options), rel=1e-5)
    loss.backward()
    for place in ((0, 2), (2, 1), (4, 0)):
        moved = [LOGITS.astype(np.float64) for _ in range(2)]
        moved[0][place] += 1e-5
        moved[1][place] -= 1e-5
        slope = (find_expected(moved[0], LABELS, **options) - find_expected(moved[1], LABELS, **options)) / 2e-5
        assert logits.grad.numpy()[place] == pytest.approx(slope, rel=1e-3, abs=1e-6)


def test_a_batch_in_parts_has_the_loss_of_the_whole():
    criterion = CrossEntropy(class_weights=[0.2, 1.0, 3.0], focal_gamma=2.0)
    whole = criterion(paddle.to_tensor(LOGITS), paddle.to_tensor(LABELS)).item()
    parts = [
        criterion(paddle.to_tensor(LOGITS[part]), paddle.to_tensor(LABELS[part])).item() * len(LABELS[part]) / 5
        for part in (slice(0, 2), slice(2, 5))
    ]
    assert sum(parts) == pytest.approx(whole, rel=1e-5)


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0])
def test_what_is_certain_has_a_finite_gradient(gamma):
    logits = paddle.to_tensor([[200.0, -200.0], [200.0, -200.0]], stop_gradient=False)
    loss = CrossEntropy(focal_gamma=gamma)(logits, paddle.to_tensor([0, 1]))
    loss.backward()
    assert np.isfinite(loss.item()) and np.isfinite(logits.grad.numpy()).all()
    assert logits.grad.numpy()[1, 1] < -0.4  # what is wrong and certain still moves


def test_balanced_weights_give_classes_equal_shares():
    weights = balance_classes([90, 9, 0, 1])
    assert weights == pytest.approx([100 / 270, 100 / 27, 0.0, 100 / 3])
    assert np.multiply(weights, [90, 9, 0, 1]) == pytest.approx([100 / 3, 100 / 3, 0, 100 / 3])
