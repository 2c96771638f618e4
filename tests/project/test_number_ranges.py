"""A law over all sections of a config: every number has a range, and what is outside of it is refused."""

import inspect
import math
import typing
from typing import Annotated

import pytest

import recipe
from common.ranges import fits
from common.signatures import find_hints, find_parameters
from config import SECTIONS
from engine import optimizer
from engine.run_settings import RunSettings
from models import MODELS
from reader import READERS, build_loader

BUILDERS = {
    **{("MODEL", name): [network] for name, network in MODELS.items()},
    **{("READER", name): [reader, build_loader] for name, reader in READERS.items()},
    ("OPTIMIZER", "momentum"): [optimizer.Schedule, optimizer.build_optimizer],
    ("RUN", None): [RunSettings],
}
BY_CODE = {"READER": (*recipe.READER_BY_CODE, "name"), "OPTIMIZER": (*recipe.OPTIMIZER_BY_CODE, "name")}
OUTSIDE = (-1, -0.5, 0, math.nan, math.inf, 1e30, 10**30, "many", [-1], [10**30], [math.nan])


def list_numbers():
    """Yield (section, name of what is built, key, type, default) of every number of every section."""
    for (section, name), builders in BUILDERS.items():
        hints = find_hints(builders)
        for key, parameter in find_parameters(builders).items():
            if key not in BY_CODE.get(section, ()) and find_numbers(hints[key]):
                yield section, name, key, hints[key], parameter.default


def find_numbers(hint):
    """List the number types inside a type, each with its range where it has one."""
    if hint in (int, float) or typing.get_origin(hint) is Annotated:
        return [hint]
    return [number for argument in typing.get_args(hint) for number in find_numbers(argument)]


NUMBERS = list(list_numbers())


def test_every_number_has_a_range_and_every_default_is_in_it():
    assert len(NUMBERS) > 200 and {section for section, *_ in NUMBERS} == {"MODEL", "READER", "OPTIMIZER", "RUN"}
    bare = [
        f"{section}.{key} of {name}"
        for section, name, key, hint, _ in NUMBERS
        if {int, float} & set(find_numbers(hint))
    ]
    assert bare == []
    wrong = [
        f"{section}.{key} of {name}: {default}"
        for section, name, key, hint, default in NUMBERS
        if default is not inspect.Parameter.empty and not fits(default, hint)
    ]
    assert wrong == []


@pytest.mark.parametrize("section, name", BUILDERS, ids=str)
def test_numbers_outside_are_refused_by_section_and_key(section, name):
    refused = 0
    for value in OUTSIDE:
        for key in [key for s, n, key, hint, _ in NUMBERS if (s, n) == (section, name) and not fits(value, hint)]:
            config = {each: {} for each in SECTIONS}
            config[section].update({key: value} if name is None else {"name": name, key: value})
            with pytest.raises(ValueError) as error:
                recipe.resolve(config, "x.txt")
            assert f"[{section}]" in str(error.value) and f"{key}: expected " in str(error.value)
            refused += 1
    assert refused >= 5


@pytest.mark.parametrize(
    "word, message",
    [
        ("OPTIMIZER.grad_clip=0", "[OPTIMIZER]: grad_clip: expected float above 0 and up to 1000000 | None, got 0"),
        ("OPTIMIZER.learning_rate=-1", "[OPTIMIZER]: learning_rate: expected float above 0"),
        ("OPTIMIZER.learning_rate=1e999", "learning_rate: expected float above 0 and up to 1000000, got inf"),
        ("OPTIMIZER.base_batch_size=-64", "base_batch_size: expected int from 1 to 1000000 | None, got -64"),
        ("OPTIMIZER.restart_epochs=0", "restart_epochs: expected float above 0"),
        ("OPTIMIZER.restart_factor=0.5", "restart_factor: expected float from 1 to 1000000, got 0.5"),
        ("OPTIMIZER.milestones=[-3]", "milestones: expected list[float from 0 to 1000000] | None, got [-3]"),
        ("RUN.epochs=0", "[RUN]: epochs: expected int from 1 to 1000000, got 0"),
        ("RUN.log_interval=0", "log_interval: expected int from 1"),
        ("RUN.accumulate=0", "accumulate: expected int from 1"),
        ("RUN.ema_decay=1.5", "ema_decay: expected float from 0 to below 1, got 1.5"),
        ("RUN.ema_decay=1.0", "ema_decay: expected float from 0 to below 1, got 1.0"),
        ("RUN.mix_ratio=-0.1", "mix_ratio: expected float from 0 to 1, got -0.1"),
        ("RUN.mixup_alpha=-1", "mixup_alpha: expected float from 0 to 1000000, got -1"),
        ("RUN.early_stop_patience=-1", "early_stop_patience: expected int from 0 to 1000000, got -1"),
        ("RUN.class_weights=[1, -1]", "class_weights: expected str | list[float from 0 to 1000000] | None, got [1,"),
        (
            "RUN.class_weights=[1e999, 1]",
            "class_weights: expected str | list[float from 0 to 1000000] | None, got [inf",
        ),
        ("RUN.ignore_weights=[1]", "ignore_weights: expected list[str] | None, got [1]"),
        ("TRAIN.batch_size=0", "[TRAIN]: batch_size: expected int from 1 to 1000000, got 0"),
        ("VALID.num_clips=-2", "[VALID]: num_clips: expected int from 1"),
        ("READER.mean=[123.675, 116.28, 103.53]", "mean: expected list[float from 0 to 1], got [123.675"),
    ],
)
def test_an_override_outside_is_refused(word, message):
    with pytest.raises(ValueError) as error:
        recipe.read_recipe("configs/resnet.txt", {}, [word])
    assert message in str(error.value)
