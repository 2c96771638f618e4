"""What a config changes of the defaults: what a person wants to see of its seventy keys."""

from collections.abc import Callable

from common.messages import wrap
from config import MODES, SECTIONS

UNBROKEN = "\0"  # instead of a blank at which no line is broken


def describe_changes(config: dict, resolve: Callable, source: str, sections: tuple = SECTIONS) -> str:
    """Return the keys of a config that differ from their defaults, a line for each section.

    Args:
        config: resolved config.
        resolve: see `list_changes`.
        source: where the config comes from, such as its path.
        sections: those that are shown.
    """
    changes, rows = list_changes(config, resolve, source), []
    for section in sections:
        changed = [str(value) if key == "name" else f"{key} {value}" for of, key, value, _ in changes if of == section]
        if changed:
            items = [item.replace(" ", UNBROKEN) for item in changed]
            rows.append(wrap(f"  {section:<9}  {', '.join(items)}", indent=13).replace(UNBROKEN, " "))
    title = wrap(f"{source}, where it differs from the defaults (the log file has every key):")
    return "\n".join([title, *rows])


def list_changes(config: dict, resolve: Callable, source: str) -> list:
    """Return (section, key, value, default) of each key that differs; of a mode of all its keys, and of each name.

    Args:
        config: resolved config.
        resolve: makes a resolved config of {SECTION: {key: value}} and of what errors name.
        source: where the config comes from, such as its path.

    Returns:
        Rows in the order of the config. The default of a mode's key is what READER has; "": there is none.
    """
    named = {section: {"name": config[section]["name"]} for section in ("MODEL", "READER", "OPTIMIZER")}
    defaults = resolve({section: named.get(section, {}) for section in SECTIONS}, source)
    rows = []
    for section in SECTIONS:
        known = config["READER"] if section in MODES else {**defaults[section], "name": ""}
        for key, value in config[section].items():
            if section in MODES or value != known.get(key):
                rows.append((section, key, value, known.get(key, "")))
    return rows
