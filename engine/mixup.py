"""Samples of a batch mixed with each other, a guard against learning them by heart."""

import numpy as np
import paddle

from common.nested import change_each, take_one


class Mixing:
    """Mixup (Zhang et al., ICLR 2018, 1710.09412) and CutMix (Yun et al., ICCV 2019, 1905.04899) of a batch.

    The batch is mixed with itself in reverse order. A box of CutMix is the same in all frames of a clip.

    Args:
        mixup_alpha: the share of a sample comes from Beta(alpha, alpha); 0: no mixup.
        cutmix_alpha: the same for CutMix.
        ratio: share of the batches that are mixed.
        seed: of what is drawn, with `draw` of the call.
    """

    def __init__(self, mixup_alpha: float, cutmix_alpha: float, ratio: float = 1.0, seed: int = 0):
        self.alphas = [(mix, alpha) for mix, alpha in ((_mix_all, mixup_alpha), (_mix_box, cutmix_alpha)) if alpha]
        self.ratio, self.seed = ratio, seed

    def __call__(self, inputs: paddle.Tensor | dict, labels: paddle.Tensor, draw: list) -> tuple:
        """Mix a batch.

        Args:
            inputs: (N, C, T, H, W), or a dict of such that see the same place: they are mixed alike.
            labels: (N,).
            draw: integers that name this batch: the same ones draw the same mixture.

        Returns:
            The mixed inputs, and [(labels, share)], shares from large to small with sum 1.
        """
        rng = np.random.default_rng([self.seed, *draw])
        if len(labels) < 2 or rng.random() >= self.ratio:
            return inputs, [(labels, 1.0)]
        mix, alpha = self.alphas[rng.integers(len(self.alphas))]
        mixed, share = mix(inputs, float(rng.beta(alpha, alpha)), rng)
        targets = [(labels, share), (labels.flip(0), 1.0 - share)]
        return mixed, sorted(targets, key=lambda target: -target[1])


def _mix_all(inputs, share: float, rng) -> tuple:
    return change_each(lambda one: one * share + one.flip(0) * (1.0 - share), inputs), share


def _mix_box(inputs, share: float, rng) -> tuple:
    """Paste a box of the other samples; the share that is returned is what is left, after cutting the box to the frame.

    Boxes are centred anywhere, as in the paper. Of several inputs the first has the share.
    """
    sizes = take_one(inputs).shape[-2:]
    edges = []  # as shares of a side
    for size in sizes:
        half, centre = size * np.sqrt(1.0 - share) / 2, rng.integers(size)
        edges.append((max(0, round(centre - half)) / size, min(size, round(centre + half)) / size))

    def find_inside(sizes: list) -> np.ndarray:
        inside = np.zeros(sizes, bool)
        corners = np.round(np.multiply(edges, np.reshape(sizes, (2, 1)))).astype(int)
        inside[tuple(slice(*ends) for ends in corners)] = True
        return inside

    def paste(one: paddle.Tensor) -> paddle.Tensor:
        inside = find_inside(one.shape[-2:])
        mask = paddle.to_tensor(inside.reshape([1] * (len(one.shape) - 2) + list(inside.shape)))
        return paddle.where(mask, one.flip(0), one)

    return change_each(paste, inputs), 1.0 - float(find_inside(sizes).mean())
