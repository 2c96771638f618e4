"""The training step and the network of evaluation whose outputs a oneDNN program computes."""

import functools
import logging
from collections.abc import Iterable

import numpy as np
import paddle

from engine import distributed
from engine.losses import predict_classes, weighted_losses
from engine.onednn.program import Programs, StaticProgram, as_numpy_view
from engine.train_step import TrainStep

# The networks whose losses, weights and scores tests/engine/test_onednn.py holds against those of the dynamic graph.
NETWORKS = (
    "resnet", "r2plus1d", "preresnet", "wideresnet", "resnext", "densenet", "slowonly", "slowfast", "tsm", "pptsm",
    "i3d", "mmaction2_r2plus1d", "tpn", "posec3d", "rgbposeconv3d",
)  # fmt: skip


def find_obstacle(name: str) -> str | None:
    """Return why a network, a key of `models.MODELS`, cannot be computed here by oneDNN, or None."""
    if paddle.device.get_device() != "cpu":
        return f"it is for CPUs, and this is {paddle.device.get_device()}"
    if distributed.num_ranks() > 1:
        return f"it takes one process, here are {distributed.num_ranks()}"
    if paddle.__version__.startswith("2."):
        return f"Paddle {paddle.__version__} computes these programs wrongly or not at all, Paddle 3 is needed"
    if name not in NETWORKS:
        return f"it has no program for '{name}', only for convolutional networks (docs/cpu.md)"
    return None


def is_chosen(cpu_backend: str, name: str) -> bool:
    """Whether a network is computed by oneDNN, as RUN.cpu_backend asks for it.

    Where `auto`, the default, does not take it, a log line says why; on a GPU, and of networks that never are, it
    stands in the log file alone.

    Args:
        name: key of `models.MODELS`.

    Raises:
        ValueError: `onednn` where that is not possible.
    """
    if cpu_backend == "dynamic":
        return False
    obstacle = find_obstacle(name)
    if obstacle and cpu_backend == "onednn":
        raise ValueError(f"RUN.cpu_backend=onednn: {obstacle}; set -o RUN.cpu_backend=dynamic")
    if obstacle:
        is_usual = name not in NETWORKS or paddle.device.get_device() != "cpu"
        level = logging.DEBUG if is_usual else logging.WARNING
        logging.log(level, f"RUN.cpu_backend=auto: computed by the dynamic graph, not by oneDNN: {obstacle}")
    return not obstacle


class OneDNNNetwork:
    """Scores by oneDNN what a dynamic network would, whose weights may change; `evaluator.evaluate` takes either.

    Attributes:
        model: that network.
    """

    def __init__(self, model: paddle.nn.Layer):
        self.model, self.programs = model, Programs(model, functools.partial(StaticProgram, trace=self._trace))
        self.modalities, self.groups, self.fuse, self.eval = model.modalities, model.groups, model.fuse, model.eval

    def __call__(self, *inputs: paddle.Tensor) -> dict:
        """Return the outputs of the dynamic network by name."""
        return self.programs.run(name_arrays(inputs))

    def name_outputs(self, outputs: dict) -> dict:
        """Return the outputs, which have names already."""
        return outputs

    @staticmethod
    def _trace(network: paddle.nn.Layer, feed: dict) -> dict:
        return network.name_outputs(network(*feed.values()))


class OneDNNStep(TrainStep):
    """A `TrainStep` whose losses and gradients are computed by oneDNN."""

    def __init__(self, model: paddle.nn.Layer, *others, **options):
        super().__init__(model, *others, **options)
        self.programs = Programs(model, functools.partial(StaticProgram, trace=self._trace))

    def _differentiate(self, inputs: dict, targets: list) -> dict:
        feed = {**name_arrays(inputs.values()), "weights": np.asarray([[weight for _, weight in targets]])}
        feed.update({f"labels{index}": as_numpy_view(labels) for index, (labels, _) in enumerate(targets)})
        return self.programs.run(feed)

    def _trace(self, network: paddle.nn.Layer, feed: dict) -> dict:
        """Build {name: 0-D value}: the sum of the losses, of which the gradients are, the right answers, the losses."""
        labels = [tensor for name, tensor in feed.items() if name.startswith("labels")]
        weights = feed["weights"].reshape([len(labels)]).unbind()
        inputs = [tensor for name, tensor in feed.items() if name.startswith("input")]
        outputs = network.name_outputs(network(*inputs))
        losses = weighted_losses(network, self._criterion_of_copy, outputs, list(zip(labels, weights, strict=True)))
        losses = {name: loss.astype("float32") for name, loss in losses.items()}
        num_correct = (predict_classes(network, outputs) == labels[0]).astype("float32").sum()
        return {"loss": sum(losses.values()), "num_correct": num_correct, **(losses if len(losses) > 1 else {})}

    def _criterion_of_copy(self, logits: paddle.Tensor, labels: paddle.Tensor) -> paddle.Tensor:
        """Return the loss of a float64 copy of the logits; see `engine.onednn.workarounds`."""
        return self.criterion(logits.astype("float64"), labels)


def name_arrays(tensors: Iterable) -> dict:
    """Return the values of input tensors, without copies, as {`input0`: array, ...}."""
    return {f"input{index}": as_numpy_view(tensor) for index, tensor in enumerate(tensors)}
