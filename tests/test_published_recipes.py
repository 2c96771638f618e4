"""Configs against the values that their papers and official repositories state."""

import pytest
from contract import look_up, resolve
from published_recipes import RECIPES


@pytest.mark.parametrize("name", RECIPES)
def test_the_config_has_the_published_values(name):
    published, source = RECIPES[name]
    config = resolve(name)
    ours = {place: look_up(config, place) for place in published}
    differing = {place: (ours[place], value) for place, value in published.items() if _as_list(ours[place]) != value}
    assert differing == {}, f"(ours, published) by {source}"


def _as_list(value):
    """Turn a default, which signatures write as a tuple, into a list as texts have it."""
    return list(value) if isinstance(value, tuple) else value
