"""The training loop: one epoch. It knows no network and no data set."""

import logging
import time
from collections.abc import Callable

import numpy as np
import paddle

from engine import distributed, logger
from engine.console import progress_lines
from engine.logger import progress_bar
from engine.memory import advise_batch, explain_out_of_memory, peak_memory_gib
from engine.run_folder import Progress
from engine.train_step import TrainStep

NORMS = (paddle.nn.BatchNorm1D, paddle.nn.BatchNorm2D, paddle.nn.BatchNorm3D, paddle.nn.SyncBatchNorm)


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
    """Sums of an epoch's losses and right answers over all processes; they leave the device when `read` is called."""

    def __init__(self):
        self.pending = []
        self.num_samples, self.sums = 0, {}
        self.last_loss, self.last_top1 = float("nan"), float("nan")

    def add(self, where: str, names: list, total: int, values: dict) -> None:
        """Keep an update's tensors.

        Args:
            where, names: for the message if the loss is not finite; `names` are this process's samples.
            total: samples of all processes.
            values: as `TrainStep` returns them.
        """
        self.pending.append((where, names, total, values))

    def read(self) -> None:
        """Read the pending values (the one host sync of the loop).

        Raises:
            FloatingPointError: a loss is nan or infinite; names the first update and its samples in all processes.
        """
        rows = paddle.stack([paddle.stack(list(values.values())) for *_, values in self.pending])
        rows = distributed.all_reduce_sum(rows).numpy().tolist()
        for (where, names, total, values), row in zip(self.pending, rows, strict=True):
            means = dict(zip(values, row, strict=True))
            loss, num_correct = means["loss"], means.pop("num_correct")
            if not np.isfinite(loss):
                names = sum(distributed.gather(names), [])
                raise FloatingPointError(
                    f"{where}: loss is {loss}; samples: {', '.join(names)}; lower OPTIMIZER.learning_rate, set "
                    "OPTIMIZER.grad_clip=40 or look at these samples, then go on with --resume auto"
                )
            self.num_samples += total
            for name, value in {**means, "top1": num_correct / total}.items():
                self.sums[name] = self.sums.get(name, 0.0) + value * total
            self.last_loss, self.last_top1 = loss, num_correct / total
        self.pending.clear()

    def means(self) -> dict:
        """Return the means of the epoch so far: `train/loss`, `train/top1`, and each of several losses by its name."""
        return {f"train/{name}": total / self.num_samples for name, total in self.sums.items()}


def train_one_epoch(
    step, loader, schedule, progress: Progress, run_log: logger.RunLog, settings, handle_update: Callable | None = None
) -> dict:
    """Train for one epoch.

    Args:
        step: see `engine.train_step.TrainStep`.
        loader: yields batches with `inputs`, `labels`, `names`, `faults` and `total`.
        schedule: gives the learning rate by (epoch, step in the epoch).
        progress: `step` is counted up; the caller counts `epoch`.
        settings: `log_interval`, `max_faults` and `epochs` are read.
        handle_update: called after each update, see `engine.console.first_updates`.

    Returns:
        Means of the epoch, the learning rate, time shares, clips/s, memory.

    Raises:
        FloatingPointError: nan or infinite loss or weights.
        MemoryError: the device has too little memory for a batch; proposes one that fits.
        ValueError: more than `max_faults` damaged samples in all processes.
    """
    step.begin_epoch()
    epoch, num_steps = progress.epoch, len(loader)
    loader.set_epoch(epoch)
    meter, clock, own_faults, faults = EpochMeter(), Clock(), [], []
    advice = advise_batch(step.batch_size, settings.accumulate, settings.recompute)
    with progress_bar(loader, f"epoch {epoch}") as batches, explain_out_of_memory(advice):
        for index, batch in enumerate(batches):
            clock.lap("data")
            learning_rate = schedule.value(epoch, index)
            names, total, labels = batch["names"], batch["total"], paddle.to_tensor(batch["labels"])
            values = step(batch["inputs"], labels, learning_rate, progress.step, len(names) / total)
            meter.add(f"epoch {epoch} step {index}, learning rate {learning_rate:g}", names, total, values)
            progress.step += 1
            own_faults.extend(batch["faults"])
            is_due = (index + 1) % settings.log_interval == 0 or index + 1 == num_steps
            if is_due or distributed.num_ranks() == 1:  # to hear of the faults of others is to wait for them
                faults = _gather_faults(own_faults, settings.max_faults, loader.advice)
            if is_due:
                meter.read()
            clock.lap("model")
            if is_due:
                precision = step.precision.describe()
                _log_step(index, num_steps, meter, clock, learning_rate, progress, run_log, settings, precision)
            if handle_update is not None:
                handle_update(progress, batch, index, num_steps, sum(clock.spent_s.values()), is_due)
            clock.lap("statistics")
    distributed.average_norm_statistics(step.model)
    check_finite(step.model, epoch)
    if faults:
        logging.warning(_describe_faults(faults, "replaced by other samples", loader.advice))
    spent_s = sum(clock.spent_s.values())
    return {
        **meter.means(),
        "train/lr": learning_rate,
        **{f"time/{part}": share for part, share in clock.shares().items()},
        "time/clips_per_s": meter.num_samples / spent_s,
        "time/epoch_s": spent_s,
        "memory_gib": peak_memory_gib(),
    }


def _log_step(index, num_steps, meter, clock, learning_rate, progress, run_log, settings, precision) -> None:
    spent_s = sum(clock.spent_s.values())
    left = num_steps * (settings.epochs - progress.epoch) - index - 1
    shares = " ".join(f"{part} {100 * share:.0f}%" for part, share in clock.shares().items())
    eta = logger.format_duration(left * spent_s / (index + 1))
    clips_per_s, memory = meter.num_samples / spent_s, f"{peak_memory_gib():.2f} GiB{precision}"
    logger.log_to_file(
        f"Loss at epoch {progress.epoch} step {index}: [{meter.last_loss:.7g}], acc: [{meter.last_top1:.7g}], "
        f"lr: {learning_rate:.6g}, {clips_per_s:.1f} clips/s, {shares}, eta {eta}, {memory}"
    )
    where = f"epoch {progress.epoch}, {index + 1}/{num_steps}"
    speed = f"{clips_per_s:.1f} clips/s, {eta} left, {memory}"
    line = progress_lines.describe_update(where, meter.last_loss, meter.last_top1, learning_rate, speed)
    logger.log_to_screen(line)
    # Tags of their own: the epoch's means stand under train/loss, train/top1 and train/lr on an axis of epochs.
    values = {"train/step_loss": meter.last_loss, "train/step_top1": meter.last_top1, "train/step_lr": learning_rate}
    run_log.scalars(progress.step, values)
    run_log.record(progress.step, progress.epoch, **values)


def compute_norm_statistics(step: TrainStep, loader) -> None:
    """Set the running mean and variance of each batch norm to those of all samples of a loader.

    The running ones follow by a tenth an update: after a few dozen updates, such as of RUN.overfit, they are those
    of earlier weights, and the network scores the very samples that it knows by heart worse than it learnt them.
    """
    step.model.eval()
    norms = {
        name: NormInputs(layer)
        for name, layer in step.model.named_sublayers()
        if isinstance(layer, NORMS) and all(layer is not frozen for frozen in step.frozen_norms)
    }
    with paddle.no_grad(), step.evaluating():
        for batch in loader:
            step.model(*step.prepare(batch["inputs"]).values())
    values = step.model.state_dict()
    for name, inputs in norms.items():
        inputs.hook.remove()
        for kind, statistic in zip(("_mean", "_variance"), inputs.moments(), strict=True):
            values[f"{name}.{kind}"].set_value(statistic.astype(values[f"{name}.{kind}"].dtype))
    step.model.eval()
    distributed.average_norm_statistics(step.model)


class NormInputs:
    """Mean and variance of what a batch norm, set to training mode, is given."""

    def __init__(self, layer: paddle.nn.Layer):
        layer.train()
        self.count, self.sums = 0, []
        self.hook = layer.register_forward_pre_hook(self._add)

    def _add(self, layer: paddle.nn.Layer, inputs: tuple) -> None:
        values = inputs[0].astype("float32")
        axes = [0, *range(2, values.ndim)]
        count = values.size // values.shape[1]
        self.sums.append((count * values.mean(axis=axes), count * values.square().mean(axis=axes)))
        self.count += count

    def moments(self) -> tuple[paddle.Tensor, paddle.Tensor]:
        """Return the mean and the variance, (C,) each, of all inputs so far."""
        mean, square = (sum(parts) / self.count for parts in zip(*self.sums, strict=True))
        return mean, square - mean**2


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


def _gather_faults(own_faults: list, max_faults: int, advice: str) -> list:
    """Return what was wrong with samples of all processes."""
    faults = sum(distributed.gather(own_faults), [])
    if len(faults) > max_faults:
        raise ValueError(_describe_faults(faults, f"more than RUN.max_faults={max_faults}", advice))
    return faults


def _describe_faults(faults: list, what: str, advice: str) -> str:
    shown = "; ".join(faults[:10]) + ("; ..." if len(faults) > 10 else "")
    return f"{len(faults)} damaged samples in this epoch, {what}: {shown}; {advice}"


def histogram_values(model: paddle.nn.Layer) -> dict:
    """Return {`weights/<name>` and `gradients/<name>`: array} of the trainable parameters after an update."""
    values = {}
    for name, parameter in model.named_parameters():
        if not parameter.stop_gradient:
            values[f"weights/{name}"] = parameter.numpy()
            if parameter.grad is not None:
                values[f"gradients/{name}"] = parameter.grad.numpy()
    return values
