"""Losses of logits and labels, and the answer that a network gives for each sample."""

from collections.abc import Callable

import paddle
import paddle.nn.functional as F

MIN_MISS = 1e-7  # of 1 - probability, whose powers below 1 have no gradient at 0


class CrossEntropy:
    """Mean cross-entropy of logits (N, num_classes) and labels (N,).

    Args:
        label_smoothing: share of a label that all classes have alike (Szegedy et al., CVPR 2016, 1512.00567).
        class_weights: factor of a sample's loss by its label; None: 1. The mean is over samples, not over weights, so
            that a batch in parts has the gradients of the whole.
        focal_gamma: multiply the term of each class by (1 - its probability) to this power, the focal loss (Lin et al.,
            ICCV 2017, 1708.02002); 0 does not.
    """

    def __init__(self, label_smoothing: float = 0.0, class_weights: list | None = None, focal_gamma: float = 0.0):
        self.label_smoothing, self.class_weights, self.focal_gamma = label_smoothing, class_weights, focal_gamma

    def __call__(self, logits: paddle.Tensor, labels: paddle.Tensor) -> paddle.Tensor:
        if not self.label_smoothing and self.class_weights is None and not self.focal_gamma:
            return F.cross_entropy(logits, labels)
        targets = F.one_hot(labels, logits.shape[1]).astype(logits.dtype)
        if self.label_smoothing:
            targets = F.label_smooth(targets, epsilon=self.label_smoothing)
        if self.class_weights is None and not self.focal_gamma:
            return F.cross_entropy(logits, targets, soft_label=True)
        terms = F.log_softmax(logits, axis=1)
        if self.focal_gamma:
            terms = terms * (1 - terms.exp()).clip(min=MIN_MISS) ** self.focal_gamma
        losses = -(targets * terms).sum(axis=1)
        if self.class_weights is not None:
            losses = losses * paddle.to_tensor(self.class_weights, dtype=logits.dtype).gather(labels)
        return losses.mean()


def balance_classes(counts: list) -> list:
    """Return weights of classes with which all have the same share of the loss, and whose mean over samples is 1.

    Args:
        counts: samples of each class; one without samples has the weight 0.
    """
    num_present = sum(count > 0 for count in counts)
    return [sum(counts) / (num_present * count) if count else 0.0 for count in counts]


def build_criterion(run: dict, num_classes: int, loader) -> CrossEntropy:
    """Build the loss that RUN asks for.

    Args:
        run: the section RUN.
        num_classes: of the network.
        loader: of the training samples, which are counted where the classes are to be balanced.

    Raises:
        ValueError: RUN.class_weights are not one number for each class, or all 0.
    """
    weights = run["class_weights"]
    if weights == "auto":
        weights = balance_classes(loader.count_classes(num_classes))
    elif weights is not None:
        if len(weights) != num_classes:
            raise ValueError(f"RUN.class_weights: expected {num_classes} numbers, one for each class, got {weights}")
        if not any(weights):
            raise ValueError(f"RUN.class_weights: {weights} train nothing; give one class at least more than 0")
    return CrossEntropy(run["label_smoothing"], weights, run["focal_gamma"])


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
