"""The engine: one training step, one epoch, one evaluation. It knows no model and no data set."""

import dataclasses
import logging
import sys
import time

import numpy as np
import paddle
import paddle.nn.functional as F
import tqdm

import log
import metrics


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


class CrossEntropy:
    """Mean cross-entropy of logits (N, num_classes) and labels (N,), with optional label smoothing."""

    def __init__(self, label_smoothing: float = 0.0):
        self.label_smoothing = label_smoothing

    def __call__(self, logits: paddle.Tensor, labels: paddle.Tensor) -> paddle.Tensor:
        if not self.label_smoothing:
            return F.cross_entropy(logits, labels)
        targets = F.label_smooth(F.one_hot(labels, logits.shape[1]), epsilon=self.label_smoothing)
        return F.cross_entropy(logits, targets, soft_label=True)


class TrainStep:
    """One update: forward, loss, backward, update. Gradients stay readable until the next update."""

    def __init__(self, model: paddle.nn.Layer, criterion, optimizer: paddle.optimizer.Optimizer):
        self.model, self.criterion, self.optimizer = model, criterion, optimizer

    def __call__(self, inputs: paddle.Tensor, labels: paddle.Tensor, learning_rate: float) -> tuple:
        """Update the model; return (loss, number of right answers), both 0-D and still on the device."""
        self.optimizer.set_lr(learning_rate)
        self.optimizer.clear_grad()
        logits = self.model(inputs)
        loss = self.criterion(logits, labels)
        loss.backward()
        self.optimizer.step()
        return loss.detach(), (logits.detach().argmax(axis=1) == labels).astype("float32").sum()


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
    """Sums an epoch's losses and hits; the values come from the device only when `read` is called."""

    def __init__(self):
        self.pending = []
        self.num_samples, self.loss_sum, self.hits = 0, 0.0, 0.0
        self.last_loss, self.last_top1 = float("nan"), float("nan")

    def add(self, where: str, names: list, loss: paddle.Tensor, hits: paddle.Tensor) -> None:
        """Keep an update's tensors; `where` and `names` are told if its loss is not finite."""
        self.pending.append((where, names, loss, hits))

    def read(self) -> None:
        """Read the pending values (the one host sync of the loop).

        Raises:
            FloatingPointError: a loss is nan or infinite; names the first update and its samples.
        """
        losses = paddle.stack([loss for _, _, loss, _ in self.pending]).numpy()
        hits = paddle.stack([hit for _, _, _, hit in self.pending]).numpy()
        for (where, names, _, _), loss, hit in zip(self.pending, losses, hits, strict=True):
            if not np.isfinite(loss):
                raise FloatingPointError(
                    f"{where}: loss is {loss}; samples: {', '.join(names)}; lower OPTIMIZER.learning_rate, set "
                    "OPTIMIZER.grad_clip=40 or look at these samples, then go on with --resume auto"
                )
            self.num_samples += len(names)
            self.loss_sum += float(loss) * len(names)
            self.hits += float(hit)
            self.last_loss, self.last_top1 = float(loss), float(hit) / len(names)
        self.pending.clear()

    def means(self) -> dict:
        """Return the epoch's mean loss and top1 so far."""
        return {"train/loss": self.loss_sum / self.num_samples, "train/top1": self.hits / self.num_samples}


def train_one_epoch(step, loader, schedule, progress: Progress, run_log: log.RunLog, settings) -> dict:
    """Train for one epoch.

    Args:
        step: called with (inputs, labels, learning rate) for each batch; see `TrainStep`.
        loader: yields batches with `inputs`, `labels`, `names` and `faults`; has `prepare`.
        schedule: gives the learning rate by (epoch, step in the epoch).
        progress: `step` is counted up; the caller counts `epoch`.
        settings: `log_interval`, `max_faults` and `epochs` are read.

    Returns:
        Means of the epoch, the learning rate, time shares, clips/s, memory.

    Raises:
        FloatingPointError: nan or infinite loss.
        ValueError: more than `max_faults` damaged samples.
    """
    step.model.train()
    epoch, num_steps = progress.epoch, len(loader)
    loader.set_epoch(epoch)
    meter, clock, faults = EpochMeter(), Clock(), []
    with _progress_bar(loader, f"epoch {epoch}") as batches:
        for index, batch in enumerate(batches):
            clock.lap("data")
            learning_rate = schedule.value(epoch, index)
            loss, hits = step(loader.prepare(batch["inputs"]), paddle.to_tensor(batch["labels"]), learning_rate)
            where = f"epoch {epoch} step {index}, learning rate {learning_rate:g}"
            meter.add(where, batch["names"], loss, hits)
            progress.step += 1
            faults.extend(batch["faults"])
            if len(faults) > settings.max_faults:
                raise ValueError(_tell_faults(faults, f"more than RUN.max_faults={settings.max_faults}"))
            if progress.step == 1:
                run_log.image(1, "train/clips", log.clip_rows(np.asarray(batch["inputs"])))
            is_due = (index + 1) % settings.log_interval == 0 or index + 1 == num_steps
            if is_due:
                meter.read()
            clock.lap("model")
            if is_due:
                _log_step(index, num_steps, meter, clock, learning_rate, progress, run_log, settings)
            clock.lap("statistics")
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


def _log_step(index, num_steps, meter, clock, learning_rate, progress, run_log, settings) -> None:
    spent_s = sum(clock.spent_s.values())
    left = num_steps * (settings.epochs - progress.epoch) - index - 1
    shares = " ".join(f"{part} {100 * share:.0f}%" for part, share in clock.shares().items())
    eta = log.format_duration(left * spent_s / (index + 1))
    clips_per_s = meter.num_samples / spent_s
    logging.info(
        f"Loss at epoch {progress.epoch} step {index}: [{meter.last_loss:.7g}], acc: [{meter.last_top1:.7g}], "
        f"lr: {learning_rate:.6g}, {clips_per_s:.1f} clips/s, {shares}, eta {eta}, {memory_gib():.2f} GiB"
    )
    # Tags of their own: the epoch's means stand under train/loss, train/top1 and train/lr on an axis of epochs.
    values = {"train/step_loss": meter.last_loss, "train/step_top1": meter.last_top1, "train/step_lr": learning_rate}
    run_log.scalars(progress.step, values)
    run_log.record(progress.step, progress.epoch, **values)


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
        `names` (list), `labels` (N,), `scores` (N, num_classes), and `loss`, the mean negative log probability.

    Raises:
        ValueError: an unknown `average_clips`, or two samples of one name.
    """
    if average_clips not in ("prob", "score"):
        raise ValueError(f"average_clips: expected 'prob' or 'score', got '{average_clips}'")
    model.eval()
    names, labels, scores = [], [], []
    with paddle.no_grad(), _progress_bar(loader, "evaluate") as batches:
        for index, batch in enumerate(batches):
            logits = model(loader.prepare(batch["inputs"]))
            views = F.softmax(logits, axis=1) if average_clips == "prob" else logits
            starts = np.cumsum([0, *batch["views"][:-1]])
            counts = np.asarray(batch["views"])[:, None]
            scores.append(np.add.reduceat(views.numpy().astype(np.float64), starts, axis=0) / counts)
            labels.extend(int(label) for label in batch["labels"])
            names.extend(batch["names"])
            if log_interval and (index + 1) % log_interval == 0:
                logging.info(f"scored {len(names)} of {loader.num_samples} samples")
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"sample '{twice}' stands twice in the list; scores are kept by name, so rename or remove one")
    scores, labels = np.concatenate(scores), np.asarray(labels)
    return {"names": names, "labels": labels, "scores": scores, "loss": _mean_loss(scores, labels, average_clips)}


def _mean_loss(scores: np.ndarray, labels: np.ndarray, average_clips: str) -> float:
    chosen = scores[np.arange(len(labels)), labels]
    if average_clips == "prob":
        return float(-np.log(np.maximum(chosen, 1e-30)).mean())
    top = scores.max(axis=1)
    return float((np.log(np.exp(scores - top[:, None]).sum(axis=1)) + top - chosen).mean())


def validate(model: paddle.nn.Layer, loader, average_clips: str) -> dict:
    """Evaluate and return `val/loss`, `val/top1`, `val/top5`, `val/mean_class_accuracy`."""
    result = evaluate(model, loader, average_clips)
    values = {"loss": result["loss"], **metrics.summarize(result["scores"], result["labels"])}
    return {f"val/{name}": value for name, value in values.items()}


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
