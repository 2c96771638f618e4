"""The folder of a run: where its files stand, how far the run is, and how it goes on from there."""

import dataclasses
import logging
import os

from config import differences, name_samples, rename_keys
from engine import checkpoint, distributed, logger, report, run_card
from engine.run_settings import KEYS_THAT_SHAPE_WEIGHTS, RunSettings, resolve_rule


@dataclasses.dataclass
class Progress:
    """How far a run is; a checkpoint carries it.

    Attributes:
        epoch: epochs done.
        step: updates done.
        history: one dict an epoch (`epoch`, `train/loss`, `val/top1`, ...).
        best: `metric`, `value`, `epoch` and `filelist` of the best validation, or None.
        judged_from: first epoch that counts for `best`, `plateau` and the early stop; the validations before it were
            judged by another metric, rule or list.
    """

    epoch: int = 0
    step: int = 0
    history: list = dataclasses.field(default_factory=list)
    best: dict | None = None
    judged_from: int = 0


class RunFolder:
    """The files of a run: `<save_dir>/<model name>_model.pdparams`, `.._best`, `.._epoch_00010`, logs and scores.

    Attributes:
        last, best: paths of the two checkpoints, without their suffix.
        jsonl_file: every number of the run, one JSON object a line.
        vdl_dir: folder of VisualDL's curves.
        ranks_dir: folder of what each of several processes prints.
    """

    def __init__(self, save_dir: str, model_name: str):
        self.save_dir, self.model_name = save_dir, model_name
        self.base = os.path.join(save_dir, model_name)
        self.last, self.best = f"{self.base}_model", f"{self.base}_best"
        self.jsonl_file = f"{self.base}_log.jsonl"
        self.vdl_dir = os.path.join(save_dir, "vdl")
        self.ranks_dir = os.path.join(save_dir, "ranks")

    def epoch_checkpoint(self, epochs_done: int) -> str:
        """Return the path of the checkpoint that RUN.save_interval keeps after so many epochs."""
        return f"{self.base}_epoch_{epochs_done:05d}"

    def validation_scores(self, epochs_done: int) -> str:
        """Return the path of the score file that RUN.save_scores writes after so many epochs."""
        return f"{self.base}_val_{epochs_done:05d}_scores.pkl"

    def open_log(self, first_step: int) -> logger.RunLog:
        """Open the run's jsonl file and its curves; of several processes only rank 0 writes."""
        jsonl_file = self.jsonl_file if distributed.rank() == 0 else None
        return logger.RunLog(jsonl_file, self.vdl_dir, first_step)

    def save(self, state: dict, settings: RunSettings, is_best: bool) -> None:
        """Write the checkpoints that are due; the last one comes last, since a run is resumed from it."""
        if is_best:
            checkpoint.save_checkpoint(self.best, {**state, "role": "best"})
        if settings.save_interval and state["epoch"] % settings.save_interval == 0:
            checkpoint.save_checkpoint(self.epoch_checkpoint(state["epoch"]), {**state, "role": "kept"})
            checkpoint.prune_checkpoints(self.save_dir, f"{self.model_name}_epoch_*", settings.max_keep)
        checkpoint.save_checkpoint(self.last, {**state, "role": "last"})

    def save_scores(self, epochs_done: int, result: dict, class_names: list, protocol: dict) -> None:
        """Write the scores of a validation; of several processes only rank 0 writes."""
        if distributed.rank() == 0:
            report.write_scores(self.validation_scores(epochs_done), result, class_names, protocol)

    def find_resume_path(self, resume: str | None) -> str | None:
        """Return the checkpoint that a run goes on from, or None for a new run.

        Args:
            resume: RUN.resume: `auto`, a path, or None.
        """
        if resume == "auto":
            return self.last if checkpoint.checkpoint_exists(self.last) else None
        return resume


def load_resumed(path: str, config: dict, model, optimizer, schedule) -> tuple:
    """Load everything that a run goes on from.

    Returns:
        The progress, and the checkpoint.

    Raises:
        ValueError: the file holds weights only.
    """
    state = checkpoint.load_checkpoint(path)
    if "optimizer" not in state:
        raise ValueError(f"--resume {path}: it holds weights only; start from it with --pretrain {path}")
    checkpoint.restore_model(model, state["model"])
    checkpoint.restore_optimizer(model, optimizer, state["optimizer"])
    schedule.plateau.update(state["plateau"])
    rename_keys(state["config"])
    for key, old, new in differences(state["config"], config, KEYS_THAT_SHAPE_WEIGHTS):
        logging.warning(f"--resume: {key} was {old!r} and is {new!r} now")
    if change := describe_update_change(state, schedule.batch_size, schedule.steps_per_epoch):
        logging.warning(f"--resume: {change}")
    logging.info(f"resume from {path}: {state['epoch']} epochs, {state['step']} updates done")
    best, judged_from = state["best"], state.get("judged_from", 0)
    if config["RUN"]["validate"] and (changes := find_judge_changes(state, config)):
        logging.warning(f"--resume: {'; '.join(changes)}: best, plateau and early stop begin anew")
        best, judged_from = None, state["epoch"]
        schedule.plateau.update(best=None, bad_epochs=0)
    return Progress(state["epoch"], state["step"], state["history"], best, judged_from), state


def describe_update_change(state: dict, samples_per_update: int, steps_per_epoch: int) -> str | None:
    """Return what is new about the samples of an update in a run that goes on, or None.

    Args:
        state: checkpoint; older ones do not have `samples_per_update` and `num_ranks`, only how many updates were done.
    """
    if "num_ranks" in state:
        old, new = (state["samples_per_update"], state["num_ranks"]), (samples_per_update, distributed.num_ranks())
        shown = [f"{samples} samples in {ranks} process{'es' * (ranks > 1)}" for samples, ranks in (old, new)]
        return f"an update took {shown[0]} and takes {shown[1]} now" if old != new else None
    if state["step"] != state["epoch"] * steps_per_epoch:
        return f"{state['epoch']} epochs took {state['step']} updates, an epoch takes {steps_per_epoch} now"
    return None


def find_judge_changes(state: dict, config: dict) -> list:
    """Return what judges the validations of a resumed run in another way than those before it, one sentence each.

    Args:
        state: checkpoint, its keys as they are called now.
        config: resolved config of the run that goes on.
    """
    old, new = _describe_judge(state["config"]), _describe_judge(config)
    if state["best"] is not None:
        old.update({"RUN.metric": state["best"]["metric"], "VALID": os.path.abspath(state["best"]["filelist"])})
    return [f"{key} was {old[key]!r} and is {new[key]!r} now" for key in old if old[key] != new[key]]


def _describe_judge(config: dict) -> dict:
    run = {**dataclasses.asdict(RunSettings()), **config["RUN"]}
    return {
        "RUN.metric": run["metric"],
        "RUN.rule": resolve_rule(run["metric"], run["rule"]),
        "RUN.overfit": run["overfit"],  # validates on training samples
        "VALID": os.path.abspath(name_samples(config, "VALID")),
    }


def load_pretrained(settings: RunSettings, model) -> None:
    """Load the weights of RUN.pretrain; log what was loaded, what was not, and what the model keeps."""
    weights = checkpoint.scoring_weights(checkpoint.load_checkpoint(settings.pretrain))
    ignore, allow_missing = settings.ignore_weights or [], settings.allow_missing or []
    initialized = checkpoint.restore_model(model, weights, ignore, allow_missing)
    names = model.state_dict()
    skipped = [name for name in weights if name not in names or name in initialized]
    logging.info(f"start from {settings.pretrain}: {len(names) - len(initialized)} tensors loaded")
    for what, which in (("left out of the file", skipped), ("left as initialised", initialized)):
        if which:
            logging.info(f"  {what}: {', '.join(which)}")


def make_checkpoint(step, progress: Progress, schedule, config: dict, class_names: list) -> dict:
    """Return everything that a run needs to go on as if nothing had happened."""
    return {
        "model": checkpoint.model_state(step.model),
        "optimizer": checkpoint.optimizer_state(step.model, step.optimizer),
        **step.state(),
        **dataclasses.asdict(progress),
        "plateau": dict(schedule.plateau),
        "samples_per_update": schedule.batch_size,
        "num_ranks": distributed.num_ranks(),
        "config": config,
        "class_names": class_names,
        "versions": run_card.describe_versions(),
    }


def record_epoch(row: dict, progress: Progress, schedule, settings: RunSettings, filelist: str) -> bool:
    """Count an epoch, log its line, and return whether it is the best validated one so far.

    Args:
        row: `train/..`, `val/..` and `time/..` numbers of the epoch.
        filelist: what was validated on, see `config.name_samples`.

    Raises:
        ValueError: RUN.metric is none of the network's figures.
    """
    epoch, key = progress.epoch, f"val/{settings.metric}"
    validated = [name.removeprefix("val/") for name in row if name.startswith("val/")]
    if validated and settings.metric not in validated:
        raise ValueError(f"RUN.metric: {settings.metric} is none of this network's figures: {', '.join(validated)}")
    is_best = key in row and (progress.best is None or settings.is_better(row[key], progress.best["value"]))
    if is_best:
        progress.best = {"metric": settings.metric, "value": row[key], "epoch": epoch, "filelist": filelist}
    if key in row:
        schedule.observe(row[key], settings.is_better)
    progress.epoch += 1
    progress.history.append({"epoch": epoch, **row})
    shown = [name for name in row if name.startswith(("train/", "val/"))]
    # Of the heads only top1: all figures are in the jsonl file.
    shown = [name for name in shown if not name.startswith("val/acc/") or name.endswith("_top1")]
    figures = ", ".join(f"{name} {row[name]:.4f}" for name in shown)
    best = f"; best {settings.metric} so far" if is_best else ""
    duration = logger.format_duration(row["time/epoch_s"])
    logging.info(f"END epoch {epoch}: {figures}, {row['time/clips_per_s']:.1f} clips/s, {duration}{best}")
    return is_best


def find_stop_reason(progress: Progress, settings: RunSettings) -> str | None:
    """Return why a run that is so far trains no further, or None."""
    if progress.epoch >= settings.epochs:
        return f"{progress.epoch} epochs are done; a larger --epoch would go on"
    return settings.find_stop(progress.history[progress.judged_from :])
