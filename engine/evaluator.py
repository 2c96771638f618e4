"""Score a list: each view by itself, then the views of a sample averaged. It knows no network and no data set."""

import itertools
import logging
import math
import sys
import time
from collections.abc import Callable

import numpy as np
import paddle
import paddle.nn.functional as F

from engine import distributed, metrics
from engine.logger import progress_bar
from engine.memory import explain_out_of_memory

QUIET_S = 5  # without a line of progress
MAX_VIEWS = 64  # that the network scores at once: a long video has hundreds of windows


def evaluate(
    model,
    loader,
    average_clips: str = "prob",
    log_interval: int = 0,
    quiet_s: float = math.inf,
    features: str | None = None,
) -> dict:
    """Score every sample of a loader.

    Args:
        model: a `models.parts.action_model.ActionModel`, or what computes the outputs of one in another way.
        loader: yields batches as `reader.loader.Loader` does.
        average_clips: `prob` averages soft-max scores, `score` averages logits.
        log_interval: batches between two log lines; 0 writes none.
        quiet_s: seconds after which a line is written where the screen shows no progress bar.
        features: name of the output that is not logits but features, see `models.parts.features`.

    Returns:
        `names` (list), `labels` (N,), `scores` (N, num_classes), `heads`, the scores of each head by its name, and
        `loss`, the mean negative log probability; `labels` and `loss` are None where no sample has a label. With
        `features` also these, (N, C), the mean over the views of a sample.

    Raises:
        ValueError: an unknown `average_clips`, two samples of one name, or labels of some samples only.
        FloatingPointError: scores that are nan or infinite; names the first such sample.
    """
    if average_clips not in ("prob", "score"):
        raise ValueError(f"average_clips: expected 'prob' or 'score', got '{average_clips}'")
    model.eval()
    scored, num_samples, written_s = [], 0, time.monotonic()
    quiet_s = math.inf if sys.stdout.isatty() else quiet_s
    advice = "lower VALID.batch_size while training, TEST.batch_size for test.py"
    with paddle.no_grad(), progress_bar(loader, "evaluate") as batches, explain_out_of_memory(advice):
        for index, batch in enumerate(batches):
            heads = _score_views(model, loader, batch["inputs"])
            means = _average_views(heads, batch["views"], average_clips, features)
            scored.append((batch["names"], [int(label) for label in batch["labels"]], means))
            num_samples += len(batch["names"])
            is_due = log_interval and (index + 1) % log_interval == 0
            if is_due or time.monotonic() - written_s > quiet_s:
                written_s = time.monotonic()
                logging.info(f"scored {num_samples} of {loader.num_samples} samples")
    names, labels, heads = _join(distributed.gather(scored))
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"sample '{twice}' stands twice in the list; scores are kept by name, so rename or remove one")
    _check_finite(names, heads)
    found = {"features": heads.pop(features)} if features else {}
    scores = model.fuse(heads)
    if len(labels) not in (0, len(names)):
        raise ValueError(
            f"{len(names) - len(labels)} of {len(names)} samples have no label; an accuracy of the others alone would "
            "mean little: label them, or test the two kinds apart"
        )
    labels = labels if len(labels) else None
    loss = None if labels is None else _mean_loss(scores, labels, average_clips)
    return {"names": names, "labels": labels, "scores": scores, "heads": heads, "loss": loss, **found}


def _score_views(model, loader, inputs: dict) -> dict:
    """Return the logits of each head, (sum of views, num_classes), of a batch's inputs, in parts of MAX_VIEWS."""
    num_views = len(next(iter(inputs.values())))
    parts = []
    for start in range(0, num_views, MAX_VIEWS):
        views = {name: values[start : start + MAX_VIEWS] for name, values in inputs.items()}
        parts.append(model.name_outputs(model(*loader.prepare(views).values())))
    return {name: paddle.concat([part[name] for part in parts]) for name in parts[0]}


def _average_views(heads: dict, views: np.ndarray, average_clips: str, features: str | None) -> dict:
    """Return the means of each sample, {name: float64 (N, C)}, of scores and features, from the logits of all views."""
    starts, means = np.cumsum([0, *views[:-1]]), {}
    for name, values in heads.items():
        if name == features:  # of each view the mean over its parts
            values = values.reshape([int(np.sum(views)), -1, values.shape[1]]).mean(axis=1)
        elif average_clips == "prob":
            values = F.softmax(values, axis=1)
        sums = np.add.reduceat(values.numpy().astype(np.float64), starts, axis=0)
        means[name] = sums / np.asarray(views)[:, None]
    return means


def _join(by_rank: list) -> tuple:
    """Put the batches that were dealt out to the processes back in the order of the list."""
    rounds = itertools.zip_longest(*by_rank)
    batches = [batch for one_round in rounds for batch in one_round if batch is not None]
    names, labels, means = zip(*batches, strict=True)
    heads = {name: np.concatenate([mean[name] for mean in means]) for name in means[0]}
    return sum(names, []), np.asarray(sum(labels, []), np.int64), heads


def _check_finite(names: list, heads: dict) -> None:
    is_finite = np.all([np.isfinite(scores).all(axis=1) for scores in heads.values()], axis=0)
    if not is_finite.all():
        raise FloatingPointError(
            f"{(~is_finite).sum()} of {len(names)} samples have scores that are nan or infinite, the first is "
            f"'{names[is_finite.argmin()]}'; the network's weights or this sample are broken, so take the "
            "checkpoint of an earlier epoch or look at the sample"
        )


def _mean_loss(scores: np.ndarray, labels: np.ndarray, average_clips: str) -> float:
    chosen = scores[np.arange(len(labels)), labels]
    if average_clips == "prob":
        return float(-np.log(np.maximum(chosen, 1e-30)).mean())
    top = scores.max(axis=1)
    return float((np.log(np.exp(scores - top[:, None]).sum(axis=1)) + top - chosen).mean())


def validate(model, loader, average_clips: str, handle_result: Callable[[dict], None] | None = None) -> dict:
    """Evaluate and return `val/loss` and `val/<figure>`, those of `summarize`.

    Args:
        handle_result: called with what `evaluate` returns.
    """
    result = evaluate(model, loader, average_clips, quiet_s=QUIET_S)
    if handle_result is not None:
        handle_result(result)
    values = {"loss": result["loss"], **summarize(model, result)}
    return {f"val/{name}": value for name, value in values.items()}


def rehearse(model, loader, average_clips: str, metric: str) -> None:
    """Score one sample, so that what cannot be scored ends a run before its first epoch.

    Args:
        metric: RUN.metric.

    Raises:
        ValueError: the metric is none of the network's figures.
    """
    figures = [name.removeprefix("val/") for name in validate(model, loader.first_sample(), average_clips)]
    if metric not in figures:
        raise ValueError(f"RUN.metric: {metric} is none of this network's figures: {', '.join(figures)}")


def summarize(model, result: dict) -> dict:
    """Return the figures of what `evaluate` returned; see `metrics.summarize`, `metrics.summarize_heads`.

    Without labels there are none: {}.
    """
    if result["labels"] is None:
        return {}
    figures = metrics.summarize(result["scores"], result["labels"])
    if model.modalities:
        groups = None if model.groups is None else model.groups.numpy()
        figures.update(metrics.summarize_heads(result["heads"], result["labels"], groups))
    return figures
