"""The blocks of a network: the layers whose activations RUN.recompute computes again on the way back."""

from paddle import nn

CONTAINERS = (nn.Sequential, nn.LayerList, nn.LayerDict)


def find_blocks(model: nn.Layer) -> list:
    """Return the outermost layers in lists, such as `nn.Sequential`, that consist of layers themselves.

    Args:
        model: a network; a list within a list is searched, a block within a block is not.
    """
    blocks = []
    for layer in model.children():
        is_block = isinstance(model, CONTAINERS) and not isinstance(layer, CONTAINERS) and list(layer.children())
        blocks += [layer] if is_block else find_blocks(layer)
    return blocks
