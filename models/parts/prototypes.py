"""Prototypes: a vector for each class that follows the features of right answers, and losses that draw features to it.

Papers: "Learning Discriminative Representations for Skeleton Based Action Recognition", H. Zhou, Q. Liu, Y. Wang,
CVPR 2023, arXiv:2303.03729, the feature refinement head; "Prototypical Calibrating Ambiguous Samples for Micro-Action
Recognition", K. Li et al., AAAI 2025, arXiv:2412.14719, which has it for fine and coarse classes. Official repository:
https://github.com/kunli-cs/PCAN (commit 873788a).

Where we differ: prototypes are saved with the weights, move once an update whatever its number of parts and processes,
and the term that drives them apart has a gradient; in the official code it has none.
"""

from collections.abc import Callable

import paddle
import paddle.nn.functional as F
from paddle import nn

from models.parts.layers import spread_by_inputs
from models.parts.products import Product

TEMPERATURE = 0.125  # of cosines
DOUBT = 0.125  # how far an ambiguous set moves the cosine of a sample that is told with no certainty
MOMENTUM = 0.9  # of the prototypes
MISSED = (1.0, 0.1, 0.5)  # what multiplies cosines of right coarse answers only, of right fine ones only, of neither
SMALL = 1e-24


def normalize(x):
    """Give vectors the length 1; a zero vector stays one, and has a gradient."""
    return x / (x.square().sum(axis=-1, keepdim=True) + SMALL).sqrt()


class Prototypes(nn.Layer):
    """A vector for each class, in a space that a linear layer maps features to.

    Args:
        in_channels: of the features.
        num_channels: of the vectors.
        num_classes: number of vectors.
    """

    def __init__(self, in_channels: int, num_channels: int, num_classes: int):
        super().__init__()
        spread = spread_by_inputs(in_channels)
        self.embed = nn.Linear(in_channels, num_channels, weight_attr=spread, bias_attr=spread)
        self.product = Product(paddle.matmul, transpose_y=True)
        self.register_buffer("vectors", paddle.randn([num_classes, num_channels]))
        # What this update has seen of each class: the sum of its right answers, and how many they are.
        self.register_buffer("seen", paddle.zeros([num_classes, num_channels + 1]), persistable=False)

    def compare(self, embedded):
        """Give the cosines (N, num_classes) of vectors (N, num_channels) and prototypes."""
        return self.product(normalize(embedded), normalize(self.vectors))

    def follow(self, embedded, members):
        """Give the prototypes as they will be after a batch, and keep what it adds to the update.

        Args:
            embedded: (N, num_channels).
            members: (N, num_classes), 1 where a sample is a right answer of that class.

        Returns:
            (num_classes, num_channels); gradients flow into `embedded`, not into the prototypes.
        """
        ones = paddle.ones([embedded.shape[0], 1], dtype=embedded.dtype)
        seen = paddle.matmul(members, paddle.concat([embedded, ones], axis=1), transpose_x=True)
        with paddle.no_grad():
            paddle.assign(self.seen + seen, self.seen)
        return self.move(seen)

    def move(self, seen):
        """Give the prototypes after right answers of `seen`; those of classes without any stay."""
        sums, counts = seen[:, :-1], seen[:, -1:]
        rates = (1.0 - MOMENTUM) * (counts > 0).astype(sums.dtype)
        return self.vectors * (1.0 - rates) + sums / counts.clip(min=1.0) * rates

    @paddle.no_grad()
    def end_update(self, all_reduce_sum: Callable) -> None:
        """Move the prototypes by what all batches of an update have shown.

        Args:
            all_reduce_sum: sums a tensor over the processes that train together; then their prototypes stay equal.
        """
        paddle.assign(self.move(all_reduce_sum(self.seen.clone())), self.vectors)
        paddle.assign(paddle.zeros_like(self.seen), self.seen)


def contrast(embedded, labels, scores, guesses, prototypes, missed: list, scales: tuple):
    """Measure how far samples are from their prototypes, by the cross-entropy of cosines.

    It is measured once for each set of ambiguous samples. In a set of `missed`, wrong answers, a sample that is not
    told with certainty has to be nearer to its class the farther it is from the centre of those that were missed; in
    that of the false ones, taken for its class, the nearer it is to their centre.

    Args:
        embedded: (N, C).
        labels: (N,).
        scores: (N,), the probability that the classifier gives the label.
        guesses: (N,), its answers.
        prototypes: (K, C).
        missed: for each set, which samples are in it, (N,) bool.
        scales: for each of those sets, what multiplies the cosines.

    Returns:
        The sum of the sets' losses, 0-D.
    """
    num_classes = prototypes.shape[0]
    own = F.one_hot(labels, num_classes)
    false = F.one_hot(guesses, num_classes) * (guesses != labels).astype(own.dtype).unsqueeze(1)
    # False ones count as opposites: of their centre turned round a sample has to be near.
    members = paddle.stack([*(own * one.astype(own.dtype).unsqueeze(1) for one in missed), -false])  # (S, N, K)
    centres = paddle.matmul(members, embedded, transpose_x=True)  # -> (S, K, C)
    # What each sample has to do with the centre of its own class, if that has one.
    direction = normalize(embedded)
    nearness = (paddle.matmul(own, normalize(centres)) * direction).sum(axis=2)  # -> (S, N)
    has_centre = paddle.matmul((members != 0).any(axis=1).astype(own.dtype), own, transpose_y=True)
    shift = DOUBT * (1.0 - scores) * (nearness - 1.0) * has_centre
    cosines = paddle.matmul(direction, normalize(prototypes), transpose_y=True)
    logits = (cosines + own * shift.unsqueeze(2)) / TEMPERATURE  # (S, N, K)
    factors = (*scales, 1.0)
    return sum(F.cross_entropy(factor * one, labels) for factor, one in zip(factors, logits.unbind(), strict=True))


def measure_diversity(prototypes):
    """Measure how alike prototypes (K, C) are: the Frobenius norm of their cosines, 0-D."""
    directions = normalize(prototypes)
    return paddle.matmul(directions, directions, transpose_y=True).square().sum().sqrt()


def score_states(fine, coarse, groups):
    """Score the nodes of the tree of classes, coarse ones first: v, then u + v of the parent.

    Args:
        fine: logits (N, C), u their sigmoids.
        coarse: logits (N, K), v their sigmoids.
        groups: (C,), each fine class's coarse one.

    Returns:
        (N, K + C); the soft-max of a row is the probability of each node.
    """
    coarse = F.sigmoid(coarse)
    return paddle.concat([coarse, F.sigmoid(fine) + coarse.index_select(groups, axis=1)], axis=1)


def measure_tree(fine, coarse, labels, groups):
    """Give the mean negative log probability of the samples' fine nodes in the tree, 0-D; see `score_states`."""
    return F.cross_entropy(score_states(fine, coarse, groups), labels + coarse.shape[1])
