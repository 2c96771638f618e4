"""What every network offers to training, evaluation, prediction and conversion, with the plain case as default.

The plain case takes one tensor, returns logits (N, num_classes), and is trained by one loss. A network that has several
heads, losses of its own or weights that no gradient moves overrides what differs.
"""

from collections.abc import Callable

from paddle import nn

from models.parts.cost import Cost, measure_cost


class ActionModel(nn.Layer):
    """A network that recognizes actions.

    `forward` takes the tensors of a batch's `inputs`, in their order, and returns logits (N, num_classes) or a dict.

    Attributes:
        TORCH_SOURCES: name of a PyTorch repository -> function that turns its weights {name: array} into ours.
        input_names: the inputs of a network that takes several, in the order of `forward`; () for one of any name.
        modalities: heads whose answers are shown beside the fused one, such as `rgb` and `pose`; () for one head.
        groups: int64 (num_classes,), the coarse class of each class, or None.
        loss_weights: name of a head -> weight of its loss; {}: one loss.
        skips_layers: some weights get no gradient in some batches, which several processes must know of each other.
    """

    TORCH_SOURCES: dict = {}
    input_names: tuple = ()
    modalities: tuple = ()
    groups = None
    loss_weights: dict = {}
    skips_layers = False

    def check_inputs(self, names: list) -> None:
        """Refuse the inputs of a reader, by their names, that this network does not take.

        Raises:
            ValueError: which inputs it takes, and what to set.
        """
        if len(names) == 1 if not self.input_names else tuple(names) == self.input_names:
            return
        takes = " and ".join(self.input_names) or "one input"
        readers = "rgbpose" if self.input_names else "clips, skeletons or heatmaps"
        raise ValueError(
            f"{type(self).__name__} takes {takes}, the reader gives {' and '.join(names)}; set READER.name={readers}"
        )

    def name_outputs(self, outputs) -> dict:
        """Return what `forward` returned as {name: tensor}; the logits of the only head are called `logits`."""
        return {"logits": outputs}

    def fuse(self, scores: dict):
        """Return the scores (N, num_classes) that count, from the scores of each head by its name."""
        return scores["logits"]

    def compute_losses(self, outputs: dict, labels, criterion: Callable, is_mixed: bool = False) -> dict:
        """Return name -> loss, weighted, to be summed.

        Args:
            outputs: as `name_outputs` returns them.
            labels: (N,).
            criterion: (logits, labels) -> mean loss.
            is_mixed: samples are mixtures of two, and `labels` belong to one of them.
        """
        return {"loss_cls": criterion(outputs["logits"], labels)}

    def end_update(self, all_reduce_sum: Callable) -> None:
        """Learn what is learnt without gradients, after each update.

        Args:
            all_reduce_sum: sums a tensor over the processes that train together.
        """

    def measure_cost(self, input_shape: dict) -> Cost:
        """Return the multiply-adds and the memory of one input; see `models.parts.cost.measure_cost`."""
        return measure_cost(self, input_shape)

    def check_source(self, source: str) -> None:
        """Refuse weights of a repository, a key of `TORCH_SOURCES`, that would load and compute something else.

        Raises:
            ValueError: which argument of the network to change.
        """
