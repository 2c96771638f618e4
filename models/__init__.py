"""The networks by the name that a config's MODEL.name takes."""

import difflib

from models.resnet3d import ResNet3D

MODELS = {"resnet": ResNet3D}


def build_model(name: str, **arguments):
    """Build the network called `name`; the other arguments are its class's own.

    Raises:
        ValueError: no network has that name.
    """
    if name not in MODELS:
        nearest = difflib.get_close_matches(str(name), MODELS, n=1, cutoff=0.4)
        hint = f"did you mean '{nearest[0]}'? " if nearest else ""
        raise ValueError(f"build_model: unknown model '{name}'; {hint}(known: {', '.join(MODELS)})")
    return MODELS[name](**arguments)
