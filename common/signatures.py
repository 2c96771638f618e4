"""What a class or function can be given: its parameters and their types."""

import inspect
import typing
from collections.abc import Callable
from typing import Any


def find_parameters(builders: list) -> dict[str, inspect.Parameter]:
    """Return the parameters of classes or functions; of a class with `**others` its parent's as well."""
    parameters = {}
    for builder in _add_parents(builders):
        named = inspect.signature(builder).parameters
        parameters.update({name: found for name, found in named.items() if found.kind is not found.VAR_KEYWORD})
    return parameters


def find_hints(builders: list) -> dict[str, Any]:
    """Return the types of those parameters, ranges included."""
    hints = {}
    for builder in _add_parents(builders):
        target = builder.__init__ if inspect.isclass(builder) else builder
        hints.update(typing.get_type_hints(target, include_extras=True))
    return hints


def _add_parents(builders: list) -> list[Callable]:
    """Put before each class whose last parameter is `**others` the class that takes them, its parent."""
    found = []
    for builder in builders:
        kinds = {parameter.kind for parameter in inspect.signature(builder).parameters.values()}
        if inspect.isclass(builder) and inspect.Parameter.VAR_KEYWORD in kinds:
            found += _add_parents([builder.__base__])
        found.append(builder)
    return found
