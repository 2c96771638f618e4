"""Losses of logits and labels, and the answer that a network gives for each sample."""

from collections.abc import Callable

import paddle
import paddle.nn.functional as F


class CrossEntropy:
    """Mean cross-entropy of logits (N, num_classes) and labels (N,), with optional label smoothing."""

    def __init__(self, label_smoothing: float = 0.0):
        self.label_smoothing = label_smoothing

    def __call__(self, logits: paddle.Tensor, labels: paddle.Tensor) -> paddle.Tensor:
        if not self.label_smoothing:
            return F.cross_entropy(logits, labels)
        targets = F.label_smooth(F.one_hot(labels, logits.shape[1]).astype(logits.dtype), epsilon=self.label_smoothing)
        return F.cross_entropy(logits, targets, soft_label=True)


def weighted_losses(model, criterion: Callable, outputs: dict, targets: list) -> dict:
    """Return name -> loss of a network's named outputs, summed over [(labels, weight)]."""
    is_mixed = len(targets) > 1
    by_target = [model.compute_losses(outputs, labels, criterion, is_mixed) for labels, _ in targets]
    weights = [weight for _, weight in targets]
    return {
        name: sum(losses[name] * weight for losses, weight in zip(by_target, weights, strict=True))
        for name in by_target[0]
    }


@paddle.no_grad()
def predict_classes(model, outputs: dict) -> paddle.Tensor:
    """Return the class (N,) that each sample is taken for."""
    return model.fuse({name: F.softmax(logits) for name, logits in outputs.items()}).argmax(axis=1)
