"""Samples of a batch mixed with each other, a guard against learning them by heart."""

import numpy as np
import paddle


class Mixup:
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

    def __call__(self, inputs: dict, labels: paddle.Tensor, draw: list) -> tuple:
        """Mix a batch.

        Args:
            inputs: name -> (N, C, T, H, W); several see the same place and are mixed alike.
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


def _mix_all(inputs: dict, share: float, rng: np.random.Generator) -> tuple:
    mixed = {name: tensor * share + tensor.flip(0) * (1.0 - share) for name, tensor in inputs.items()}
    return mixed, share


def _mix_box(inputs: dict, share: float, rng: np.random.Generator) -> tuple:
    """Paste a box of the other samples; return the inputs and the share that is left when the box is cut to the frame.

    Boxes are centred anywhere, as in the paper. The share is that of the first input.
    """
    height, width = next(iter(inputs.values())).shape[-2:]
    edges = []  # as shares of a side
    for size in (height, width):
        half, centre = size * np.sqrt(1.0 - share) / 2, rng.integers(size)
        edges.append((max(0, round(centre - half)) / size, min(size, round(centre + half)) / size))
    mixed = {name: _paste_box(tensor, edges) for name, tensor in inputs.items()}
    return mixed, 1.0 - float(_draw_box((height, width), edges).mean())


def _draw_box(size: tuple, edges: list) -> np.ndarray:
    """Return bool (H, W): what is between two edges, shares of a side, of each axis."""
    inside = np.zeros(size, bool)
    corners = np.round(np.multiply(edges, np.reshape(size, (2, 1)))).astype(int)
    inside[tuple(slice(*ends) for ends in corners)] = True
    return inside


def _paste_box(tensor: paddle.Tensor, edges: list) -> paddle.Tensor:
    """Paste a box of the samples (N, ..., H, W) in reverse order."""
    inside = _draw_box(tensor.shape[-2:], edges)
    mask = paddle.to_tensor(inside.reshape([1] * (tensor.ndim - 2) + list(inside.shape)))
    return paddle.where(mask, tensor.flip(0), tensor)
