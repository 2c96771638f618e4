"""What a network takes: one tensor, or a dict of tensors where a sample has several, such as frames and heat maps."""

from collections.abc import Callable


def change_each(change: Callable, inputs):
    """Change one tensor, array or shape, or each of a dict of them."""
    return {name: change(one) for name, one in inputs.items()} if isinstance(inputs, dict) else change(inputs)


def take_one(inputs):
    """Return the tensor or shape itself, of a dict the first."""
    return next(iter(inputs.values())) if isinstance(inputs, dict) else inputs


def format_shape(shape: list | dict) -> str:
    """Write shapes as `3 x 16 x 112 x 112`, several as `rgb 3 x 8 x 224 x 224, pose 17 x 32 x 56 x 56`."""
    if isinstance(shape, dict):
        return ", ".join(f"{name} {format_shape(one)}" for name, one in shape.items())
    return " x ".join(str(size) for size in shape)
