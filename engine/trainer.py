"""The engine: one epoch of training, one evaluation. It knows no model and no data set."""

import contextlib
import dataclasses
import itertools
import logging
import sys
import time
from collections.abc import Callable, Iterator

import numpy as np
import paddle
import paddle.nn.functional as F
import tqdm

from common.nested import change_each, take_one
from engine import distributed, logger, metrics


@dataclasses.dataclass
class Progress:
    """How far a run is; a checkpoint carries it.

    Attributes:
        epoch: epochs done.
        step: updates done.
        history: one dict an epoch (`epoch`, `train/loss`, `val/top1`, ...).
        best: `metric`, `value`, `epoch` and `filelist` of the best validation, or None.
    """

    epoch: int = 0
    step: int = 0
    history: list = dataclasses.field(default_factory=list)
    best: dict | None = None


class Clock:
    """Seconds spent in each named part of a loop."""

    def __init__(self):
        self.spent_s = {"data": 0.0, "model": 0.0, "statistics": 0.0}
        self.last_s = time.perf_counter()

    def lap(self, part: str) -> None:
        """Add the time since the last lap to `part`."""
        now_s = time.perf_counter()
        self.spent_s[part] += now_s - self.last_s
        self.last_s = now_s

    def shares(self) -> dict:
        """Return each part's share of the whole, from 0 to 1."""
        whole_s = sum(self.spent_s.values()) or 1.0
        return {part: spent_s / whole_s for part, spent_s in self.spent_s.items()}


class EpochMeter:
    """Sums an epoch's losses and hits over all processes; they leave the device only when `read` is called."""

    def __init__(self):
        self.pending = []
        self.num_samples, self.sums = 0, {}
        self.last_loss, self.last_top1 = float("nan"), float("nan")

    def add(self, where: str, names: list, total: int, values: dict) -> None:
        """Keep an update's tensors.

        Args:
            where, names: told if the loss is not finite; `names` are this process's samples.
            total: samples of all processes.
            values: name -> 0-D tensor, this process's share: `hits`, and means over the batch, `loss` among them.
        """
        self.pending.append((where, names, total, values))

    def read(self) -> None:
        """Read the pending values (the one host sync of the loop).

        Raises:
            FloatingPointError: a loss is nan or infinite; names the first update and its samples.
        """
        rows = paddle.stack([paddle.stack(list(values.values())) for *_, values in self.pending])
        rows = distributed.add_up(rows).numpy().tolist()
        for (where, names, total, values), row in zip(self.pending, rows, strict=True):
            means = dict(zip(values, row, strict=True))
            loss, hits = means["loss"], means.pop("hits")
            if not np.isfinite(loss):
                raise FloatingPointError(
                    f"{where}: loss is {loss}; samples: {', '.join(names)}; lower OPTIMIZER.learning_rate, set "
                    "OPTIMIZER.grad_clip=40 or look at these samples, then go on with --resume auto"
                )
            self.num_samples += total
            for name, value in {**means, "top1": hits / total}.items():
                self.sums[name] = self.sums.get(name, 0.0) + value * total
            self.last_loss, self.last_top1 = loss, hits / total
        self.pending.clear()

    def means(self) -> dict:
        """Return the means of the epoch so far: `train/loss`, `train/top1`, and each of several losses by its name."""
        return {f"train/{name}": total / self.num_samples for name, total in self.sums.items()}


def train_one_epoch(step, loader, schedule, progress: Progress, run_log: logger.RunLog, settings) -> dict:
    """Train for one epoch.

    Args:
        step: makes one update of each batch; see `train_step.TrainStep`.
        loader: yields batches with `inputs`, `labels`, `names`, `faults` and `total`.
        schedule: gives the learning rate by (epoch, step in the epoch).
        progress: `step` is counted up; the caller counts `epoch`.
        settings: `log_interval`, `max_faults` and `epochs` are read.

    Returns:
        Means of the epoch, the learning rate, time shares, clips/s, memory.

    Raises:
        FloatingPointError: nan or infinite loss or weights.
        MemoryError: the device has too little memory for a batch; proposes one that fits.
        ValueError: more than `max_faults` damaged samples.
    """
    step.begin_epoch()
    epoch, num_steps = progress.epoch, len(loader)
    loader.set_epoch(epoch)
    meter, clock, faults = EpochMeter(), Clock(), []
    advice = advise_batch(step.batch_size, settings.accumulate)
    with _progress_bar(loader, f"epoch {epoch}") as batches, explain_out_of_memory(advice):
        for index, batch in enumerate(batches):
            clock.lap("data")
            learning_rate = schedule.value(epoch, index)
            names, total, labels = batch["names"], batch["total"], paddle.to_tensor(batch["labels"])
            values = step(batch["inputs"], labels, learning_rate, progress.step, len(names) / total)
            meter.add(f"epoch {epoch} step {index}, learning rate {learning_rate:g}", names, total, values)
            progress.step += 1
            faults.extend(batch["faults"])
            if len(faults) > settings.max_faults:
                raise ValueError(_tell_faults(faults, f"more than RUN.max_faults={settings.max_faults}"))
            pictures = take_one(batch["inputs"])
            if progress.step == 1 and pictures.dtype in (np.uint8, paddle.uint8):
                run_log.image(1, "train/clips", logger.clip_rows(np.asarray(pictures)))
            is_due = (index + 1) % settings.log_interval == 0 or index + 1 == num_steps
            if is_due:
                meter.read()
            clock.lap("model")
            if is_due:
                precision = step.precision.describe()
                _log_step(index, num_steps, meter, clock, learning_rate, progress, run_log, settings, precision)
            clock.lap("statistics")
    distributed.average_statistics(step.model)
    check_finite(step.model, epoch)
    if faults:
        logging.warning(_tell_faults(faults, "replaced by other samples"))
    shares = {f"time/{part}": share for part, share in clock.shares().items()}
    clips_per_s = meter.num_samples / sum(clock.spent_s.values())
    return {
        **meter.means(),
        "train/lr": learning_rate,
        **shares,
        "time/clips_per_s": clips_per_s,
        "time/epoch_s": sum(clock.spent_s.values()),
        "memory_gib": memory_gib(),
    }


def _log_step(index, num_steps, meter, clock, learning_rate, progress, run_log, settings, precision) -> None:
    spent_s = sum(clock.spent_s.values())
    left = num_steps * (settings.epochs - progress.epoch) - index - 1
    shares = " ".join(f"{part} {100 * share:.0f}%" for part, share in clock.shares().items())
    eta = logger.format_duration(left * spent_s / (index + 1))
    clips_per_s = meter.num_samples / spent_s
    logging.info(
        f"Loss at epoch {progress.epoch} step {index}: [{meter.last_loss:.7g}], acc: [{meter.last_top1:.7g}], "
        f"lr: {learning_rate:.6g}, {clips_per_s:.1f} clips/s, {shares}, eta {eta}, {memory_gib():.2f} GiB{precision}"
    )
    # Tags of their own: the epoch's means stand under train/loss, train/top1 and train/lr on an axis of epochs.
    values = {"train/step_loss": meter.last_loss, "train/step_top1": meter.last_top1, "train/step_lr": learning_rate}
    run_log.scalars(progress.step, values)
    run_log.record(progress.step, progress.epoch, **values)


def check_finite(model: paddle.nn.Layer, epoch: int) -> None:
    """Refuse weights that are nan or infinite, before a checkpoint is made of them.

    Raises:
        FloatingPointError: names the first such tensor.
    """
    values = model.state_dict()
    finite = paddle.stack([paddle.isfinite(value).all() for value in values.values()]).numpy()
    if not finite.all():
        name = list(values)[int(finite.argmin())]
        raise FloatingPointError(
            f"epoch {epoch}: '{name}' is not finite any more, no checkpoint is made of it; lower "
            "OPTIMIZER.learning_rate or set OPTIMIZER.grad_clip=40, then go on from the epoch before with --resume auto"
        )


@contextlib.contextmanager
def explain_out_of_memory(advice: str) -> Iterator[None]:
    """Turn Paddle's pages about memory that ran out into one sentence that ends with `advice`.

    Raises:
        MemoryError: in place of whatever Paddle raised.
    """
    try:
        yield
    except (MemoryError, RuntimeError, SystemError) as error:
        text = str(error).lower()
        if not isinstance(error, MemoryError) and "out of memory" not in text and "resourceexhausted" not in text:
            raise
        raise MemoryError(f"{paddle.device.get_device()} ran out of memory: {advice}") from error


def advise_batch(batch_size: int | None, accumulate: int) -> str:
    """Return the overrides that halve what the device holds at once and keep the samples of an update."""
    if batch_size in (None, 1):
        return "lower READER.clip_len or READER.crop_size, or take a smaller network"
    smaller = max(size for size in range(1, batch_size) if batch_size % size == 0 and size <= batch_size // 2)
    return (
        f"go on with -o TRAIN.batch_size={smaller} -o RUN.accumulate={accumulate * batch_size // smaller}, "
        f"which keeps {batch_size * accumulate} samples an update"
    )


def _tell_faults(faults: list, what: str) -> str:
    shown = "; ".join(faults[:10]) + ("; ..." if len(faults) > 10 else "")
    return f"{len(faults)} damaged samples in this epoch, {what}: {shown}; run data_list_gener.py to list them all"


def _progress_bar(loader, title: str) -> tqdm.tqdm:
    """A bar on a terminal, above which log lines are written; plain iteration elsewhere."""
    return tqdm.tqdm(loader, title, leave=False, unit="batch", disable=not sys.stdout.isatty())


def evaluate(model: paddle.nn.Layer, loader, average_clips: str = "prob", log_interval: int = 0) -> dict:
    """Score every sample of a loader; each view is scored by itself, then a sample's views are averaged.

    Args:
        average_clips: `prob` averages soft-max scores, `score` averages logits.
        log_interval: batches between two log lines; 0 writes none.

    Returns:
        `names` (list), `labels` (N,), `scores` (N, num_classes), and `loss`, the mean negative log probability; of a
        model that gives several answers also `heads`, the scores of each by its name.

    Raises:
        ValueError: an unknown `average_clips`, or two samples of one name.
    """
    if average_clips not in ("prob", "score"):
        raise ValueError(f"average_clips: expected 'prob' or 'score', got '{average_clips}'")
    model.eval()
    scored, num_samples = [], 0
    advice = "lower VALID.batch_size while training, TEST.batch_size for test.py"
    with paddle.no_grad(), _progress_bar(loader, "evaluate") as batches, explain_out_of_memory(advice):
        for index, batch in enumerate(batches):
            logits = model(loader.prepare(batch["inputs"]))
            means = change_each(lambda one, batch=batch: _average_views(one, batch["views"], average_clips), logits)
            scored.append((batch["names"], [int(label) for label in batch["labels"]], means))
            num_samples += len(batch["labels"])
            if log_interval and (index + 1) % log_interval == 0:
                logging.info(f"scored {num_samples} of {loader.num_samples} samples")
    names, labels, scores = _join(distributed.gather(scored))
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"sample '{twice}' stands twice in the list; scores are kept by name, so rename or remove one")
    heads = {"heads": scores} if isinstance(scores, dict) else {}
    scores = model.fuse(scores) if heads else scores
    loss = _mean_loss(scores, labels, average_clips)
    return {"names": names, "labels": labels, "scores": scores, "loss": loss, **heads}


def _average_views(logits: paddle.Tensor, views: np.ndarray, average_clips: str) -> np.ndarray:
    """Return the mean scores of each sample, float64 (N, num_classes), from the logits of all its views."""
    scores = F.softmax(logits, axis=1) if average_clips == "prob" else logits
    starts = np.cumsum([0, *views[:-1]])
    return np.add.reduceat(scores.numpy().astype(np.float64), starts, axis=0) / np.asarray(views)[:, None]


def _join(by_rank: list) -> tuple:
    """Put the batches that were dealt out to the processes back in the order of the list."""
    rounds = itertools.zip_longest(*by_rank)
    batches = [batch for one_round in rounds for batch in one_round if batch is not None]
    names, labels, scores = zip(*batches, strict=True)
    if isinstance(scores[0], dict):
        scores = {name: np.concatenate([one[name] for one in scores]) for name in scores[0]}
    else:
        scores = np.concatenate(scores)
    return sum(names, []), np.asarray(sum(labels, [])), scores


def _mean_loss(scores: np.ndarray, labels: np.ndarray, average_clips: str) -> float:
    chosen = scores[np.arange(len(labels)), labels]
    if average_clips == "prob":
        return float(-np.log(np.maximum(chosen, 1e-30)).mean())
    top = scores.max(axis=1)
    return float((np.log(np.exp(scores - top[:, None]).sum(axis=1)) + top - chosen).mean())


def validate(model: paddle.nn.Layer, loader, average_clips: str, keep: Callable[[dict], None] | None = None) -> dict:
    """Evaluate and return `val/loss` and `val/<figure>`, those of `summarize`.

    Args:
        keep: called with what `evaluate` returns.
    """
    result = evaluate(model, loader, average_clips)
    if keep is not None:
        keep(result)
    values = {"loss": result["loss"], **summarize(model, result)}
    return {f"val/{name}": value for name, value in values.items()}


def summarize(model: paddle.nn.Layer, result: dict) -> dict:
    """Return the figures of what `evaluate` returned; see `metrics.summarize`, `metrics.summarize_heads`."""
    figures = metrics.summarize(result["scores"], result["labels"])
    if "heads" in result:
        groups = getattr(model, "groups", None)
        groups = None if groups is None else groups.numpy()
        figures.update(metrics.summarize_heads(result["heads"], result["labels"], groups))
    return figures


def histogram_values(model: paddle.nn.Layer) -> dict:
    """Return {`weights/<name>` and `gradients/<name>`: array} of the trainable parameters after an update."""
    values = {}
    for name, parameter in model.named_parameters():
        if not parameter.stop_gradient:
            values[f"weights/{name}"] = parameter.numpy()
            if parameter.grad is not None:
                values[f"gradients/{name}"] = parameter.grad.numpy()
    return values


def memory_gib() -> float:
    """Return the peak memory in GiB: of the GPU where one is used, else of this process."""
    if paddle.device.get_device().startswith("gpu"):
        return paddle.device.cuda.max_memory_allocated() / 2**30
    if sys.platform == "win32":
        return float("nan")
    import resource  # POSIX only

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
