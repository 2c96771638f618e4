"""What a config changes of the defaults: what a person wants to see of its seventy keys."""

from collections.abc import Callable

from common.messages import wrap
from config import MODES, SECTIONS

UNBROKEN = "\0"  # instead of a blank at which no line is broken


def describe_changes(config: dict, resolve: Callable, source: str, sections: tuple = SECTIONS) -> str:
    """Return the keys of a config that differ from their defaults, a line for each section.

    Args:
        config: resolved config.
        resolve: makes a resolved config of {SECTION: {key: value}} and of what errors name.
        source: where the config comes from, such as its path.
        sections: those that are shown.
    """
    named = {section: {"name": config[section]["name"]} for section in ("MODEL", "READER", "OPTIMIZER")}
    defaults = resolve({section: named.get(section, {}) for section in SECTIONS}, source)
    rows = []
    for section in sections:
        changed = _list_changes(section, config[section], defaults[section])
        if changed:
            items = [item.replace(" ", UNBROKEN) for item in changed]
            rows.append(wrap(f"  {section:<9}  {', '.join(items)}", indent=13).replace(UNBROKEN, " "))
    title = wrap(f"{source}, where it differs from the defaults (the log file has every key):")
    return "\n".join([title, *rows])


def _list_changes(section: str, values: dict, defaults: dict) -> list:
    """Return `key value` of each key that differs; a name is always shown, and of a mode all that it has."""
    is_shown = {key: section in MODES or key == "name" or value != defaults.get(key) for key, value in values.items()}
    return [value if key == "name" else f"{key} {value}" for key, value in values.items() if is_shown[key]]
