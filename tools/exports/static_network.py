"""A network as a static one for Paddle Inference, and what its description says of inputs and outputs."""

import os

import predict
from engine.onednn.predictor import save_network
from inference import exported_model
from models.parts.action_model import ActionModel


def save_static(network: predict.FrameNetwork, reader, inputs: list, folder: str) -> list:
    """Write the network and its weights in the format of this Paddle; return the names of its outputs.

    Args:
        network: itself made static.
        inputs: see `describe_inputs`.
    """
    inside = [name for name in reader.input_shape if name not in exported_model.DRAWN_INPUTS]
    framed = predict.FrameNetwork(network.model, reader, inside)
    described = [(each["name"], each["shape"], each["dtype"]) for each in inputs]
    return save_network(framed, described, os.path.join(folder, exported_model.STEM))


def describe_inputs(reader, batch: list) -> list:
    """Return name, dtype and shape of each input; one that is not drawn is called `frames` where it is alone."""
    names = list(reader.input_shape)
    if len(names) == 1 and names[0] not in exported_model.DRAWN_INPUTS:
        names = ["frames"]
    return [
        {"name": name, "dtype": str(array.dtype), "shape": [-1, *array.shape[1:]]}
        for name, array in zip(names, batch, strict=True)
    ]


def describe_heads(network: ActionModel, outputs: list, reader) -> dict:
    """Return what the description has more for a network of several heads, and for one of heat maps."""
    heads = {"outputs": outputs, "modalities": list(network.modalities)} if network.modalities else {}
    is_drawn = any(name in exported_model.DRAWN_INPUTS for name in reader.input_shape)
    return {**heads, "drawing": reader.describe_drawing()} if is_drawn else heads
