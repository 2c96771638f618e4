"""What a report says of the run: its curves, and the settings that are not the defaults."""

import json
import math
import os

from common.text_files import read_text
from config import MODES
from engine.run_folder import RunFolder
from inference.report import charts

CURVES = {"loss": False, "top1": True}  # figure -> whether it is a fraction of 1
TITLES = {"loss": "loss", "top1": "top-1"}


def read_history(weights: str, state: dict) -> tuple[list, str]:
    """Return the epochs of the run that weights are of, and where they stand.

    The log beside the weights has those after the epoch of the weights too; it is used if it is of the same run.

    Args:
        weights: path of the checkpoint.
        state: its content.

    Returns:
        A row an epoch, as `engine.run_folder.Progress` has them, [] where there are none; and a sentence.
    """
    history = state.get("history") or []
    if not history:
        return [], "The weights have no history of their training, so there are no curves."
    log = RunFolder(os.path.dirname(weights) or ".", state["config"]["MODEL"]["name"]).jsonl_file
    inside = f"From the checkpoint, which has the epochs up to its own; {log}"
    try:
        rows = [json.loads(line) for line in read_text(log).splitlines()]
        epochs = {row["epoch"]: row for row in rows if "train/loss" in row}
    except FileNotFoundError:
        return history, f"{inside} is not there."
    except (OSError, ValueError, TypeError, KeyError):
        return history, f"{inside} is damaged."
    last = history[-1]
    if epochs.get(last["epoch"], {}).get("train/loss") != last["train/loss"]:
        return history, f"{inside} is of another run."
    return [epochs[epoch] for epoch in sorted(epochs)], f"From {log}."


def draw_curves(history: list, chosen: int | None) -> list:
    """Return a chart for loss and one for accuracy, of training and validation, see `charts.place_curves`."""
    drawn = []
    for figure, is_share in CURVES.items():
        curves = {
            name: [
                (row["epoch"], row[f"{name}/{figure}"]) for row in history if _is_number(row.get(f"{name}/{figure}"))
            ]
            for name in ("train", "val")
        }
        curves = {name: points for name, points in curves.items() if points}
        if curves:
            drawn.append(charts.place_curves(TITLES[figure], curves, chosen, is_share))
    return drawn


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def list_settings(changes: list) -> list:
    """Return (SECTION.key, value, default) of the keys that differ, of `config_changes.list_changes`."""
    return [
        (f"{section}.{key}", value, default)
        for section, key, value, default in changes
        if section not in MODES or value != default
    ]
