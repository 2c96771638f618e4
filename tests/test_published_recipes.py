"""Configs against the values that their papers and official repositories state."""

import pytest
from contract import look_up, resolve
from paths import ROOT
from published_recipes import RECIPES, SOMETHING_MIRRORED

from dataset.annotations import pair_mirrored_classes, read_class_names


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


CLASS_FILES = {"sthv1": "something_v1.txt", "sthv2": "something_v2.txt"}


@pytest.mark.parametrize("path", sorted((ROOT / "configs").iterdir()), ids=lambda path: path.name)
def test_mirrored_clips_get_the_labels_of_their_own_data_set(path):
    given = _normalize(resolve(path.name)["TRAIN"].get("flip_label_map"))
    data = [data for data in CLASS_FILES if data in path.name]
    assert given == (SOMETHING_MIRRORED[data[0]] if data else None)
    if data:
        names = read_class_names(str(ROOT / "splits" / CLASS_FILES[data[0]]))
        assert given == pair_mirrored_classes(names)
