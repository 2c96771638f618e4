"""The interface of all networks for training, evaluation, prediction and conversion.

By default a network takes one tensor, returns logits (N, num_classes), and is trained with one loss. A network with
several inputs, heads or losses, or with state that is updated without gradients, overrides what differs.
"""

import dataclasses
from collections.abc import Callable

from paddle import nn

from models.parts.blocks import find_blocks
from models.parts.cost import Cost, measure_cost


@dataclasses.dataclass
class ExplainedLayer:
    """A layer whose output shows where in an input the network looks.

    Attributes:
        layer: called once in `forward`.
        axes: of its output: "N C T H W", or "NT C H W" where the frames of all samples are one axis.
        input_index: of the input of `forward` whose frames, rows and columns T, H and W are, if smaller.
    """

    layer: nn.Layer
    axes: str = "N C T H W"
    input_index: int = 0


class ActionModel(nn.Layer):
    """An action recognition network.

    `forward` takes the tensors of a batch's `inputs`, in their order, and returns logits (N, num_classes) or a dict.

    Attributes:
        WEIGHT_SOURCES: name of a repository -> function that converts its weights {name: array} to our names, in
            PyTorch's layout.
        input_names: inputs of a network with several, in the order of `forward`; (): one input of any name.
        modalities: heads that are also evaluated separately, such as `rgb` and `pose`; (): one head.
        groups: int64 (num_classes,), the coarse class of each class, or None.
        loss_weights: name of a head -> weight of its loss; {}: one loss.
        skips_layers: some weights get no gradient in some batches, which distributed training must allow for.
    """

    WEIGHT_SOURCES: dict = {}
    input_names: tuple = ()
    modalities: tuple = ()
    groups = None
    loss_weights: dict = {}
    skips_layers = False

    def check_inputs(self, names: list) -> None:
        """Check that the network takes the inputs of a reader.

        Args:
            names: of the inputs.

        Raises:
            ValueError: it does not; the message has its inputs and what to set.
        """
        if len(names) == 1 if not self.input_names else tuple(names) == self.input_names:
            return
        expected = " and ".join(self.input_names) or "one input"
        readers = "rgbpose" if self.input_names else "clips, skeletons or heatmaps"
        raise ValueError(
            f"{type(self).__name__} takes {expected}, the reader gives {' and '.join(names)}; set READER.name={readers}"
        )

    def name_outputs(self, outputs) -> dict:
        """Return the outputs of `forward` as {name: tensor}; the logits of a single head are named `logits`.

        What overrides this calls it as `ActionModel.name_outputs(self, outputs)`: exports trace it, and Paddle 2 cannot
        trace a `super()` without arguments.
        """
        return {"logits": outputs}

    def fuse(self, scores: dict):
        """Return the final scores (N, num_classes): of several modalities their mean.

        Args:
            scores: name of a head -> its scores (N, num_classes).
        """
        if not self.modalities:
            return scores["logits"]
        return sum(scores[name] for name in self.modalities) / len(self.modalities)

    def compute_losses(self, outputs: dict, labels, criterion: Callable, is_mixed: bool = False) -> dict:
        """Return name -> weighted loss; their sum is minimised.

        Args:
            outputs: as `name_outputs` returns them.
            labels: (N,).
            criterion: (logits, labels) -> mean loss.
            is_mixed: samples are mixtures of two, and `labels` are those of one of the two.
        """
        return {"loss_cls": criterion(outputs["logits"], labels)}

    def end_update(self, all_reduce_sum: Callable) -> None:
        """Update state that is not trained by gradients; called after each update of the weights.

        Args:
            all_reduce_sum: sums a tensor over the processes that train together.
        """

    def list_blocks(self) -> list:
        """Return the layers whose activations RUN.recompute computes again, none within another."""
        return find_blocks(self)

    def list_classifiers(self) -> list:
        """Return the last layers, whose inputs are the features of a sample; see `models.parts.features`.

        Each is called once in `forward`, with (N, C), or (N * k, C) of the k parts whose logits are averaged.
        """
        return [self.fc]

    def list_explained_layers(self) -> list:
        """Return an `ExplainedLayer` for each input with rows and columns: the last features before they are pooled.

        Earlier ones may follow, nearer and nearer to the input, for small frames of which the last map is too coarse.
        Networks of skeletons need none, see `inference/grad_cam.py`.

        Raises:
            ValueError: the network does not say which they are.
        """
        raise ValueError(
            f"{type(self).__name__} does not say which layer's output explains its answer; override "
            "ActionModel.list_explained_layers"
        )

    def measure_cost(self, input_shape: dict) -> Cost:
        """Return the multiply-adds and the memory of one input; see `models.parts.cost.measure_cost`."""
        return measure_cost(self, input_shape, self.list_blocks())

    def fixed_tensors(self) -> dict:
        """Return {name: array} of what is not trained and in no checkpoint of ours, such as graphs.

        Files of PyTorch may hold them. They must agree, and are left out.
        """
        saved = self.state_dict().keys()
        return {name: buffer.numpy() for name, buffer in self.named_buffers() if name not in saved}

    def place_weights(self, weights: dict) -> dict:
        """Rename and reshape weights where only this network's arguments say which of its own they are.

        Args:
            weights: as a function of `WEIGHT_SOURCES` returns them.
        """
        return weights

    @classmethod
    def list_source_arguments(cls, source: str) -> dict:
        """Return the arguments without which weights of a repository load, but compute something else.

        Args:
            source: the repository, a key of `WEIGHT_SOURCES`.
        """
        return {}

    def check_source(self, source: str) -> None:
        """Check that the network computes the same as that of a repository when it loads its weights.

        Args:
            source: the repository, a key of `WEIGHT_SOURCES`.

        Raises:
            ValueError: it does not; the message has the argument to change.
        """
