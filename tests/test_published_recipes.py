"""Configs against the values that their papers and official repositories state."""

import inspect

import pytest
from contract import look_up, resolve
from paths import ROOT
from published_recipes import RECIPES, SOMETHING_MIRRORED

from dataset.annotations import pair_mirrored_classes, read_class_names
from engine.optimizer import Schedule


@pytest.mark.parametrize("name", RECIPES)
def test_the_config_has_the_published_values(name):
    published, source = RECIPES[name]
    config = resolve(name)
    ours = {place: look_up(config, place) for place in published}
    differing = {place: (ours[place], value) for place, value in published.items() if _normalize(ours[place]) != value}
    assert differing == {}, f"(ours, published) by {source}"


def _normalize(value):
    """Turn a default, which signatures write as a tuple, into a list as texts have it, and labels into numbers."""
    if isinstance(value, dict):
        return {int(label): other for label, other in value.items()}
    return list(value) if isinstance(value, tuple) else value


WARMED_UP = ("ctrgcn_ntu60_xsub", "ctrgcn_nw_ucla", "infogcn_ntu60_xsub", "infogcn_nw_ucla")


@pytest.mark.parametrize("name", WARMED_UP)
def test_the_warm_up_has_the_rates_of_the_authors(name):
    """Chen et al., main.py: base_lr * (epoch + 1) / warm_up_epoch, of which there are five."""
    section = resolve(f"{name}.yaml")["OPTIMIZER"]
    keys = inspect.signature(Schedule).parameters
    given = {key: value for key, value in section.items() if key in keys}
    schedule = Schedule(batch_size=section["base_batch_size"], epochs=65, steps_per_epoch=7, **given)
    rates = [schedule.value(epoch, step) for epoch in range(6) for step in (0, 6)]
    expected = [0.02, 0.02, 0.04, 0.04, 0.06, 0.06, 0.08, 0.08, 0.1, 0.1, 0.1, 0.1]
    assert rates == pytest.approx(expected, rel=1e-12)


CLASS_FILES = {"sthv1": "something_v1.txt", "sthv2": "something_v2.txt"}


@pytest.mark.parametrize("path", sorted((ROOT / "configs").iterdir()), ids=lambda path: path.name)
def test_mirrored_clips_get_the_labels_of_their_own_data_set(path):
    given = _normalize(resolve(path.name)["TRAIN"].get("flip_label_map"))
    data = [data for data in CLASS_FILES if data in path.name]
    assert given == (SOMETHING_MIRRORED[data[0]] if data else None)
    if data:
        names = read_class_names(str(ROOT / "splits" / CLASS_FILES[data[0]]))
        assert given == pair_mirrored_classes(names)
