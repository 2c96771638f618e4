"""The scores of cross-validation: what each held-out fold and all together say, and the mean of the folds' scores."""

import json
import statistics

import numpy as np

from common import files
from engine import metrics
from inference.score_files import ScoreFile, order_like, read_scores, unify_score_type

FIGURES = ("top1", "top5", "mean_class_accuracy")


def read_folds(paths: list[str]) -> list[ScoreFile]:
    """Read what each fold's network scored of one list; all have the samples in one order and one type of scores."""
    scored = [read_scores(path) for path in paths]
    return unify_score_type([order_like(scored[0], each) for each in scored], softmax=False)


def summarize_held_out(paths: list[str]) -> dict:
    """Return the figures of the held-out folds, each scored by the network that was not trained on it.

    Returns:
        `folds`, those of each one with its `file` and `num_samples`; their `mean` and `spread`, the standard deviation
        of a sample; `pooled`, those of the samples of all folds together.
    """
    scored = [read_scores(path) for path in paths]
    folds = [
        {"file": each.path, "num_samples": len(each.names), **metrics.summarize(each.scores, each.labels)}
        for each in scored
    ]
    values = {name: [fold[name] for fold in folds] for name in FIGURES}
    scores, labels = (np.concatenate([vars(each)[name] for each in scored]) for name in ("scores", "labels"))
    return {
        "folds": folds,
        "mean": {name: statistics.mean(values[name]) for name in FIGURES},
        "spread": {name: statistics.stdev(values[name]) for name in FIGURES},
        "pooled": {"num_samples": len(labels), **metrics.summarize(scores, labels)},
    }


def print_held_out(summary: dict) -> None:
    """Print the figures of the held-out folds as a table."""
    titles = "samples    top-1    top-5  mean class accuracy"
    print(f"{'held-out fold':16} {titles}")
    rows = [(f"fold {number}", fold) for number, fold in enumerate(summary["folds"], 1)]
    for name, row in [*rows, ("mean", summary["mean"]), ("spread", summary["spread"]), ("all", summary["pooled"])]:
        cells = [f"{100 * row[figure]:.2f}%" for figure in FIGURES]
        print(f"{name:16} {row.get('num_samples', ''):>7}  {cells[0]:>7}  {cells[1]:>7}  {cells[2]:>19}")
    print("spread: standard deviation between folds; all: every sample once, by the network that has not seen it")


def write_held_out(path: str, summary: dict) -> None:
    """Write the figures of the held-out folds as json."""
    with files.write_atomically(path) as file:
        file.write(json.dumps(summary, ensure_ascii=False, indent=1).encode())
    print(f"written: {path}")
