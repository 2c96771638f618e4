"""What of an input speaks for a class: Grad-CAM for pictures and heat maps, gradient times input for skeletons.

Grad-CAM: "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization", R. R. Selvaraju,
M. Cogswell, A. Das, R. Vedantam, D. Parikh, D. Batra, ICCV 2017, arXiv:1610.02391, section 3. The weight of a channel
is the mean, over all frames and places of a clip, of the gradient of the class's logit by that channel; a map is the
ReLU of the weighted sum of the channels. The layers are those that the network names
(`ActionModel.list_explained_layers`): the last one, or where frames are so small that its map has fewer rows or columns
than `MIN_MAP_SIZE`, the last one that has as many.

A graph network's last features are of no use for that: after its blocks each joint knows of all others. There the
gradient by each coordinate is multiplied by how far the joint is from its mean over the frames, so that a body that
holds still is what one compares with. (The coordinate itself would give most to the feet, which are farthest from the
origin.)
"""

import numpy as np
import paddle
import paddle.nn.functional as F

from models.parts.action_model import ActionModel

MIN_MAP_SIZE = 4  # rows and columns of a map: on one of 2 x 2 no place can be told


def compute_maps(model: ActionModel, inputs: dict, label: int) -> dict:
    """Compute the Grad-CAM maps of a class.

    Args:
        model: in evaluation mode. One of several modalities is asked for its fused logit.
        inputs: of N samples, by name, as the network takes them.
        label: the class.

    Returns:
        {name of the input: float32 array (N, T', H', W')}, 0 and more.

    Raises:
        ValueError: the network does not say which layers explain it.
    """
    layers, features = model.list_explained_layers(), {}
    hooks = [each.layer.register_forward_post_hook(_keep_output(features, index)) for index, each in enumerate(layers)]
    inputs = {name: _require_gradient(tensor) for name, tensor in inputs.items()}
    try:
        logit = _find_logit(model, inputs, label)
    finally:
        for hook in hooks:
            hook.remove()
    chosen = [
        _choose_layer([index for index, each in enumerate(layers) if each.input_index == position], features)
        for position in range(len(inputs))
    ]
    gradients = paddle.grad([logit], [features[index] for index in chosen], allow_unused=True)
    num_samples = len(next(iter(inputs.values())))
    return {
        name: _weigh(layers[index].axes, features[index], gradient, num_samples)
        for name, index, gradient in zip(inputs, chosen, gradients, strict=True)
    }


def _choose_layer(indices: list, features: dict) -> int:
    """Return the first layer whose map is not too coarse, or the one with the finest map."""
    if not indices:
        raise ValueError("the network does not say which layer explains one of its inputs: list_explained_layers")
    sizes = {index: min(features[index].shape[-2:]) for index in indices}
    return next((index for index in indices if sizes[index] >= MIN_MAP_SIZE), max(indices, key=sizes.get))


def _require_gradient(tensor: paddle.Tensor) -> paddle.Tensor:
    """Return a tensor that gradients lead to, so that they do where no weight is trained."""
    tensor = tensor.detach()
    tensor.stop_gradient = False
    return tensor


def _find_logit(model: ActionModel, inputs: dict, label: int) -> paddle.Tensor:
    """Return a class's logit, added over the samples."""
    return model.fuse(model.name_outputs(model(*inputs.values())))[:, label].sum()


def _keep_output(features: dict, index: int):
    """Return a hook that keeps a layer's output."""

    def keep(layer, arguments, output):
        features[index] = output

    return keep


def _weigh(axes: str, features: paddle.Tensor, gradient: paddle.Tensor | None, num_samples: int) -> np.ndarray:
    """Return the map (N, T', H', W') of a layer's features; 0 where they have no part in the answer."""
    features = _split_samples(features, axes, num_samples)
    if gradient is None:
        return paddle.zeros_like(features[:, 0]).numpy()
    gradient = _split_samples(gradient, axes, num_samples)
    weights = gradient.mean(axis=[2, 3, 4], keepdim=True)  # (N, C, T', H', W') -> (N, C, 1, 1, 1)
    return F.relu((weights * features).sum(axis=1)).astype("float32").numpy()


def _split_samples(tensor: paddle.Tensor, axes: str, num_samples: int) -> paddle.Tensor:
    """Return features with axes as in `ExplainedLayer` as (N, C, T', H', W')."""
    if axes == "N C T H W":
        return tensor
    frames = tensor.reshape([num_samples, -1, *tensor.shape[1:]])
    return frames.transpose([0, 2, 1, 3, 4])  # (N, T', C, H', W') -> (N, C, T', H', W')


def compute_joint_shares(model: ActionModel, inputs: dict, label: int) -> dict:
    """Compute how much each joint in each frame adds to a class's logit, against a body that holds still.

    Args:
        inputs: {name: skeletons (N, C, T, V, M)}; others may follow, which are held as they are.

    Returns:
        {name: float32 array (N, M, T, V)}; what speaks against the class is below 0.
    """
    name = next(iter(inputs))
    skeletons = _require_gradient(inputs[name])
    (gradient,) = paddle.grad([_find_logit(model, {**inputs, name: skeletons}, label)], [skeletons])
    is_there = (skeletons != 0).any(axis=1, keepdim=True).any(axis=3, keepdim=True).astype("float32")
    mean = (skeletons * is_there).sum(axis=2, keepdim=True) / is_there.sum(axis=2, keepdim=True).clip(min=1)
    shares = (gradient * (skeletons - mean) * is_there).sum(axis=1)  # (N, C, T, V, M) -> (N, T, V, M)
    return {name: shares.transpose([0, 3, 1, 2]).numpy()}
