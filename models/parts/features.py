"""The features of a sample: what a network's last layers get."""

from collections.abc import Callable

import paddle

from models.parts.action_model import ActionModel

FEATURES = "features"  # name of the output


class FeatureNetwork(ActionModel):
    """A network that returns the features beside its logits, for evaluation.

    They are the output `FEATURES`, (N, C), or (N * k, C) where the network averages the logits of k parts of a sample,
    such as its frames; those of several layers stand side by side. See `ActionModel.list_classifiers`.

    Args:
        model: the network.
    """

    def __init__(self, model: ActionModel):
        super().__init__()
        self.model, self.modalities, self.fuse = model, model.modalities, model.fuse

    def forward(self, *inputs) -> dict:
        """Return {name: logits} of the network's heads, and the features."""
        classifiers = self.model.list_classifiers()
        found = [None] * len(classifiers)
        hooks = [layer.register_forward_pre_hook(_keep_input(found, index)) for index, layer in enumerate(classifiers)]
        try:
            outputs = self.model.name_outputs(self.model(*inputs))
        finally:
            for hook in hooks:
                hook.remove()
        return {**outputs, FEATURES: paddle.concat(found, axis=1)}

    def name_outputs(self, outputs: dict) -> dict:
        """Return the outputs, which have names."""
        return outputs


def _keep_input(found: list, index: int) -> Callable:
    """Return a hook that keeps a layer's input."""

    def keep(layer, inputs):
        found[index] = inputs[0]

    return keep
