"""The cost of a network for one input: multiply-adds of the forward pass, and memory for the backward pass."""

import dataclasses
import math

import paddle
from paddle import nn

from models.parts.products import Product

CONVOLUTIONS = (nn.Conv1D, nn.Conv2D, nn.Conv3D)


@dataclasses.dataclass
class Cost:
    """Cost of one input.

    Attributes:
        num_macs: multiply-adds of the forward pass.
        activation_bytes: memory of the activations that the backward pass needs.
        recomputed_bytes: the most that it needs at once where RUN.recompute computes those of blocks again.
    """

    num_macs: int = 0
    activation_bytes: int = 0
    recomputed_bytes: int = 0


def measure_cost(model: nn.Layer, input_shape: dict, blocks: list = ()) -> Cost:
    """Measure the cost of one input by a forward pass of zeros in evaluation mode.

    Multiply-adds are those of convolutions, linear layers and `Product`, counted by forward hooks. Memory is that of
    all tensors that autograd saves, in float32, without the parameters. The mode of the network is restored.

    Args:
        input_shape: name of an input -> its shape without the batch axis, such as {"rgb": [3, 16, 112, 112]}.
        blocks: layers, none within another, of which RUN.recompute keeps the inputs and the activations of one at once.
    """
    cost, kept_bytes, bytes_of_blocks = Cost(), {}, []
    saved_bytes = kept_bytes  # of the layer that computes, by address: a tensor may be saved more than once
    parameters = {parameter.data_ptr() for parameter in model.parameters()}

    def add_macs(layer, inputs, output):
        num_terms = _count_terms(layer, inputs)
        if num_terms:  # other layers may return lists
            cost.num_macs += num_terms * math.prod(output.shape)

    def add_saved(tensor):
        if tensor.data_ptr() not in parameters:
            saved_bytes[tensor.data_ptr()] = math.prod(tensor.shape) * tensor.element_size()
        return tensor

    def enter_block(layer, inputs):
        nonlocal saved_bytes
        for tensor in filter(paddle.is_tensor, inputs):
            add_saved(tensor)
        saved_bytes = {}
        bytes_of_blocks.append(saved_bytes)

    def leave_block(layer, inputs, output):
        nonlocal saved_bytes
        saved_bytes = kept_bytes

    was_training = model.training
    model.eval()
    hooks = [layer.register_forward_post_hook(add_macs) for layer in model.sublayers(include_self=True)]
    hooks += [block.register_forward_pre_hook(enter_block) for block in blocks]
    hooks += [block.register_forward_post_hook(leave_block) for block in blocks]
    with paddle.autograd.saved_tensors_hooks(add_saved, lambda tensor: tensor):
        output = model(*(paddle.zeros([1, *shape]) for shape in input_shape.values()))
    del output  # not earlier: a freed address may be reused by another saved tensor
    for hook in hooks:
        hook.remove()
    if was_training:
        model.train()
    all_bytes = {address: size for saved in (*bytes_of_blocks, kept_bytes) for address, size in saved.items()}
    cost.activation_bytes = sum(all_bytes.values())
    inner_bytes = (sum(saved[address] for address in saved.keys() - kept_bytes) for saved in bytes_of_blocks)
    cost.recomputed_bytes = sum(kept_bytes.values()) + max(inner_bytes, default=0)
    return cost


def _count_terms(layer: nn.Layer, inputs: tuple) -> int:
    """Return the number of products that are summed to one element of a layer's output; 0 for all other layers."""
    if isinstance(layer, CONVOLUTIONS):
        return math.prod(layer.weight.shape[1:])  # (out, in / groups, *kernel)
    if isinstance(layer, nn.Linear):
        return layer.weight.shape[0]  # (in, out)
    if isinstance(layer, Product):
        return layer.count_terms(*inputs)
    return 0
