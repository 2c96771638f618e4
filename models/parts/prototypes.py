"""Prototypes: a vector for each class, a moving average of its samples' features, and the losses that use them.

Papers: "Learning Discriminative Representations for Skeleton Based Action Recognition", H. Zhou, Q. Liu, Y. Wang,
CVPR 2023, arXiv:2303.03729, the feature refinement head; "Prototypical Calibrating Ambiguous Samples for Micro-Action
Recognition", K. Li et al., AAAI 2025, arXiv:2412.14719, which has it for fine and coarse classes. Official repository:
https://github.com/kunli-cs/PCAN (commit 873788a).

Where we differ: prototypes are saved with the weights and are updated once an update of the weights, whatever its
number of accumulated parts and of processes; the diversity loss has a gradient, which it has not in the official code.
"""

from collections.abc import Callable

import paddle
import paddle.nn.functional as F
from paddle import nn

from models.parts.layers import uniform_by_fan_in
from models.parts.products import Product

TEMPERATURE = 0.125  # of cosines
AMBIGUITY_SHIFT = 0.125  # largest shift of a cosine for each unit of distance, at a score of 0
MOMENTUM = 0.9  # of the prototypes
# Factors of the logits of false negatives whose coarse class alone is right, whose fine class alone is, or neither.
FALSE_NEGATIVE_SCALES = (1.0, 0.1, 0.5)
EPSILON = 1e-24


def normalize(x):
    """Scale vectors to length 1; a zero vector stays zero and has a finite gradient."""
    return x / (x.square().sum(axis=-1, keepdim=True) + EPSILON).sqrt()


class Prototypes(nn.Layer):
    """A vector for each class, in the space to which a linear layer embeds features.

    Args:
        in_channels: of the features.
        num_channels: of the vectors.
        num_classes: number of vectors.
    """

    def __init__(self, in_channels: int, num_channels: int, num_classes: int):
        super().__init__()
        initializer = uniform_by_fan_in(in_channels)
        self.embed = nn.Linear(in_channels, num_channels, weight_attr=initializer, bias_attr=initializer)
        self.product = Product(paddle.matmul, transpose_y=True)
        self.register_buffer("vectors", paddle.randn([num_classes, num_channels]))
        # Since the last update, for each class: the sum of its members' vectors, and their number in the last column.
        self.register_buffer("sums", paddle.zeros([num_classes, num_channels + 1]), persistable=False)

    def compute_cosines(self, embedded):
        """Return the cosines (N, num_classes) of vectors (N, num_channels) and prototypes."""
        return self.product(normalize(embedded), normalize(self.vectors))

    def accumulate(self, embedded, members):
        """Add a batch to `sums`, and return the prototypes updated by that batch alone.

        Args:
            embedded: (N, num_channels).
            members: (N, num_classes), 1 where a sample counts for that class.

        Returns:
            (num_classes, num_channels); gradients flow into `embedded`, not into the prototypes.
        """
        ones = paddle.ones([embedded.shape[0], 1], dtype=embedded.dtype)
        sums = paddle.matmul(members, paddle.concat([embedded, ones], axis=1), transpose_x=True)
        with paddle.no_grad():
            paddle.assign(self.sums + sums, self.sums)
        return self.average(sums)

    def average(self, sums):
        """Return the moving average of the prototypes and the class means of `sums`; without members it stays."""
        totals, counts = sums[:, :-1], sums[:, -1:]
        rates = (1.0 - MOMENTUM) * (counts > 0).astype(totals.dtype)
        return self.vectors * (1.0 - rates) + totals / counts.clip(min=1.0) * rates

    @paddle.no_grad()
    def end_update(self, all_reduce_sum: Callable) -> None:
        """Update the prototypes by all batches since the last update.

        Args:
            all_reduce_sum: sums a tensor over the processes that train together, so that their prototypes stay equal.
        """
        paddle.assign(self.average(all_reduce_sum(self.sums.clone())), self.vectors)
        paddle.assign(paddle.zeros_like(self.sums), self.sums)


def compute_contrastive_loss(embedded, labels, scores, predictions, prototypes, false_negatives: list, scales: tuple):
    """Return the cross-entropy of the cosines of samples and prototypes, summed over sets of ambiguous samples, 0-D.

    The sets are those of `false_negatives` and, last, that of the false positives. In each, the cosine of a sample and
    its class's prototype is lowered, the more the lower its score: by the distance to the centre of the class's false
    negatives, or by the nearness to the centre of its false positives.

    Args:
        embedded: (N, C).
        labels: (N,).
        scores: (N,), the probability of the label by the classifier.
        predictions: (N,), the classes predicted by the classifier.
        prototypes: (K, C).
        false_negatives: for each set, which samples are in it, (N,) bool.
        scales: for each of those sets, the factor of the logits.
    """
    num_classes = prototypes.shape[0]
    one_hot = F.one_hot(labels, num_classes)
    false_positives = F.one_hot(predictions, num_classes) * (predictions != labels).astype(one_hot.dtype).unsqueeze(1)
    masks = [is_member.astype(one_hot.dtype).unsqueeze(1) for is_member in false_negatives]
    # False positives count negatively: their centre points away from them.
    members = paddle.stack([*(one_hot * mask for mask in masks), -false_positives])  # (S, N, K)
    centres = paddle.matmul(members, embedded, transpose_x=True)  # -> (S, K, C)
    directions = normalize(embedded)
    # The cosine of each sample and the centre of its class, if that class has members in the set.
    centre_cosines = (paddle.matmul(one_hot, normalize(centres)) * directions).sum(axis=2)  # -> (S, N)
    has_centre = paddle.matmul((members != 0).any(axis=1).astype(one_hot.dtype), one_hot, transpose_y=True)
    shift = AMBIGUITY_SHIFT * (1.0 - scores) * (centre_cosines - 1.0) * has_centre
    cosines = paddle.matmul(directions, normalize(prototypes), transpose_y=True)
    logits = (cosines + one_hot * shift.unsqueeze(2)) / TEMPERATURE  # (S, N, K)
    set_scales = (*scales, 1.0)
    return sum(
        F.cross_entropy(scale * set_logits, labels)
        for scale, set_logits in zip(set_scales, logits.unbind(), strict=True)
    )


def compute_diversity(prototypes):
    """Return the diversity loss of prototypes (K, C): the Frobenius norm of the matrix of their cosines, 0-D."""
    directions = normalize(prototypes)
    return paddle.matmul(directions, directions, transpose_y=True).square().sum().sqrt()


def score_tree_nodes(fine, coarse, groups):
    """Score the nodes of the tree of classes, coarse ones first.

    With u and v the sigmoids of the logits, a coarse class has the score v, a fine one u + v of its coarse class.

    Args:
        fine: logits (N, C).
        coarse: logits (N, K).
        groups: (C,), the coarse class of each fine one.

    Returns:
        (N, K + C); the soft-max of a row is the probability of each node.
    """
    coarse = F.sigmoid(coarse)
    return paddle.concat([coarse, F.sigmoid(fine) + coarse.index_select(groups, axis=1)], axis=1)


def compute_tree_loss(fine, coarse, labels, groups):
    """Return the mean negative log-probability of the fine classes in the tree, 0-D; see `score_tree_nodes`."""
    return F.cross_entropy(score_tree_nodes(fine, coarse, groups), labels + coarse.shape[1])
