"""The folder of a run: its files, its lock, and how far the run is."""

import contextlib
import dataclasses
import os
import pathlib
import re
from collections.abc import Iterator

from common import files, output_lock
from common.file_lock import FileLock
from engine import checkpoint, distributed, logger, report, run_card
from engine.charts.tags import RUN_DIR, TRAIN_DIR
from engine.console import progress_lines
from engine.run_settings import RunSettings

# Files of a run by what follows the name of the model; what test.py made of its checkpoints belongs to it.
CHECKPOINT_NAMES, RESULT_NAMES = r"_(model|best|epoch_\d+)", r"(\.pdparams|_test(\.jsonl|_\w+\.(csv|html|pkl|png)))"
MAX_LOSS_BY_HEART = 0.5  # the right class has a probability of exp(-0.5) = 61% in the mean
OWN_FILES = rf"({CHECKPOINT_NAMES}{RESULT_NAMES}|_log\.jsonl|_val_\d+_scores\.pkl)"


@dataclasses.dataclass
class Progress:
    """How far a run is; a checkpoint carries it.

    Attributes:
        epoch: epochs done.
        step: updates done.
        history: one dict an epoch (`epoch`, `train/loss`, `val/top1`, ...).
        best: `metric`, `value`, `epoch` and `filelist` of the best validation, or None.
        awaits_validation: the last epoch of `history` was trained and saved, and is yet to be validated.
        judged_from: first epoch that counts for `best`, `plateau` and the early stop; the validations before it were
            judged by another metric, rule or list.
    """

    epoch: int = 0
    step: int = 0
    history: list = dataclasses.field(default_factory=list)
    best: dict | None = None
    awaits_validation: bool = False
    judged_from: int = 0


class RunFolder:
    """The files of a run: `<save_dir>/<model name>_model.pdparams`, `.._best`, `.._epoch_00010`, logs and scores.

    Attributes:
        last, best: paths of the two checkpoints, without their suffix.
        jsonl_file: every number of the run, one JSON object a line.
        ranks_dir: folder of what each of several processes prints.
    """

    def __init__(self, save_dir: str, model_name: str):
        self.save_dir, self.model_name = save_dir, model_name
        self.base = os.path.join(save_dir, model_name)
        self.last, self.best = f"{self.base}_model", f"{self.base}_best"
        self.jsonl_file = f"{self.base}_log.jsonl"
        self.ranks_dir = os.path.join(save_dir, "ranks")
        self.lock = FileLock(os.path.join(save_dir, output_lock.NAME))

    @property
    def vdl_dir(self) -> str:
        """Folder of VisualDL's curves: `vdl`, or one in there where another model's run has that."""
        vdl_dir = os.path.join(self.save_dir, "vdl")
        own = os.path.join(vdl_dir, self.model_name)
        others = [
            path for path in pathlib.Path(self.save_dir).glob("*_log.jsonl") if path != pathlib.Path(self.jsonl_file)
        ]
        is_taken = others and not os.path.exists(self.jsonl_file)
        return own if is_taken or os.path.isdir(own) else vdl_dir

    def holds_run(self) -> bool:
        """Whether a run of this model is there: its last checkpoint, or a record in its jsonl file."""
        has_records = os.path.isfile(self.jsonl_file) and os.path.getsize(self.jsonl_file) > 0
        return has_records or checkpoint.checkpoint_exists(self.last)

    @contextlib.contextmanager
    def opened(self, resume: str | None, overwrite: bool) -> Iterator[None]:
        """Hold the lock of the folder; of several processes rank 0 holds it for all.

        Args:
            resume: RUN.resume.
            overwrite: replace the run that is there; `remove_run` does it.

        Raises:
            ValueError: another process writes there, or a run is there and neither `resume` nor `overwrite` is said.
            OSError: the folder cannot be written.
        """
        refusal = None
        if distributed.rank() == 0:
            try:
                output_lock.acquire_lock(self.lock, self.save_dir, "--save_dir")
                files.remove_unfinished(self.save_dir)
                refusal = self._find_refusal(resume, overwrite)
            except (OSError, ValueError) as error:
                refusal = str(error)
        refusal = distributed.gather(refusal)[0]
        try:
            if refusal is not None:
                raise ValueError(refusal)
            yield
        finally:
            self.lock.release()

    def _find_refusal(self, resume: str | None, overwrite: bool) -> str | None:
        if overwrite or resume is not None or not self.holds_run():
            return None
        return (
            f"'{self.save_dir}' holds a run of {self.model_name} already: go on with it by --resume auto, choose "
            "another --save_dir, or remove that run by --overwrite"
        )

    def check_origin(self, path: str) -> None:
        """Refuse to go on here from a checkpoint of elsewhere where a run is, which would be lost.

        Raises:
            ValueError: names the three ways on.
        """
        if not self._is_own(path) and (refusal := self._find_refusal(None, overwrite=False)):
            raise ValueError(f"--resume {path} is of another run, and {refusal}")

    def _is_own(self, path: str) -> bool:
        """Whether a path names a checkpoint of the run that is there."""
        name = os.path.basename(path).removesuffix(checkpoint.SUFFIX)
        is_named_so = re.fullmatch(re.escape(self.model_name) + CHECKPOINT_NAMES, name)
        return bool(is_named_so) and os.path.realpath(os.path.dirname(path)) == os.path.realpath(self.save_dir)

    def remove_run(self) -> None:
        """Remove the files of the run that is there, and no other file; of several processes rank 0 does it."""
        if distributed.rank() > 0:
            return
        pattern = re.compile(re.escape(self.model_name) + OWN_FILES)
        own = [path for path in pathlib.Path(self.save_dir).iterdir() if pattern.fullmatch(path.name)]
        own += [pathlib.Path(self.vdl_dir, folder, logger.VDL_FILE) for folder in (RUN_DIR, TRAIN_DIR)]
        if not distributed.is_launched():  # else the launcher has made them anew
            own += pathlib.Path(self.ranks_dir).glob("workerlog.*")
        for path in own:
            path.unlink(missing_ok=True)

    def epoch_checkpoint(self, epochs_done: int) -> str:
        """Return the path of the checkpoint that RUN.save_interval keeps after so many epochs."""
        return f"{self.base}_epoch_{epochs_done:05d}"

    def validation_scores(self, epochs_done: int) -> str:
        """Return the path of the score file that RUN.save_scores writes after so many epochs."""
        return f"{self.base}_val_{epochs_done:05d}_scores.pkl"

    def open_log(self, progress: Progress) -> logger.RunLog:
        """Open the run's jsonl file and its curves; of several processes only rank 0 writes."""
        jsonl_file = self.jsonl_file if distributed.rank() == 0 else None
        num_recorded = progress.epoch - progress.awaits_validation
        return logger.RunLog(jsonl_file, self.vdl_dir, progress.step, num_recorded)

    def save(self, state: dict, settings: RunSettings | None = None, is_best: bool = False) -> None:
        """Write the checkpoints that are due; of several processes rank 0 does it.

        Args:
            settings: None writes the last one alone, of an epoch that awaits its validation.
        """
        if distributed.rank() > 0:
            return
        for_use = checkpoint.make_slim(state) if settings is not None and settings.slim else state
        if is_best:
            checkpoint.save_checkpoint(self.best, {**for_use, "role": "best"})
        if settings is not None and settings.save_interval and state["epoch"] % settings.save_interval == 0:
            checkpoint.save_checkpoint(self.epoch_checkpoint(state["epoch"]), {**for_use, "role": "kept"})
            checkpoint.prune_checkpoints(self.save_dir, f"{self.model_name}_epoch_*", settings.max_keep)
        # At the end, since a run is resumed from it.
        role = checkpoint.TRAINED if settings is None else "last"
        checkpoint.save_checkpoint(self.last, {**state, "role": role})

    def make_last_slim(self) -> None:
        """Leave of the last checkpoint what it is used with, when the run is over; of several processes rank 0 does."""
        if distributed.rank() == 0 and checkpoint.checkpoint_exists(self.last):  # not if another run's end was resumed
            checkpoint.save_checkpoint(self.last, checkpoint.make_slim(checkpoint.load_checkpoint(self.last)))

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


def make_checkpoint(step, progress: Progress, schedule, config: dict, class_names: list, data: dict) -> dict:
    """Return everything that a run needs to go on as if nothing had happened.

    Args:
        data: what it is trained and validated on, see `resume.describe_data`.
    """
    return {
        "model": checkpoint.model_state(step.model),
        "optimizer": checkpoint.optimizer_state(step.model, step.optimizer),
        **step.state(),
        **{key: value for key, value in vars(progress).items() if key != "awaits_validation"},  # `role` says it
        "plateau": dict(schedule.plateau),
        "samples_per_update": schedule.batch_size,
        "num_ranks": distributed.num_ranks(),
        "config": config,
        "class_names": class_names,
        "data": data,
        "versions": run_card.describe_versions(),
    }


def record_training(row: dict, progress: Progress, awaits_validation: bool) -> None:
    """Count a trained epoch.

    Args:
        row: `train/..` and `time/..` numbers of the epoch.
        awaits_validation: its validation follows.
    """
    progress.history.append({"epoch": progress.epoch, **row})
    progress.epoch += 1
    progress.awaits_validation = awaits_validation


def record_validation(
    figures: dict, progress: Progress, schedule, settings: RunSettings, filelist: str, num_classes: int
) -> bool:
    """Add the validation of the last epoch, log the epoch's line, and return whether it is the best one so far.

    Args:
        figures: `val/..` numbers; {} for an epoch that is not validated.
        filelist: what was validated on, see `config.name_samples`.
        num_classes: of the network.
    """
    progress.awaits_validation = False
    row, key = progress.history[-1], f"val/{settings.metric}"
    row.update(figures)
    is_best = key in row and (progress.best is None or settings.is_better(row[key], progress.best["value"]))
    if is_best:
        progress.best = {"metric": settings.metric, "value": row[key], "epoch": row["epoch"], "filelist": filelist}
    if key in row:
        schedule.observe(row[key], settings.is_better)
    listed = ", ".join(f"{name} {row[name]:.4g}" for name in row if name.startswith(("train/", "val/")))
    best = settings.metric if is_best else None
    duration, clips_per_s = logger.format_duration(row["time/epoch_s"]), f"{row['time/clips_per_s']:.1f} clips/s"
    note = f"; best {best} so far" if best else ""
    logger.log_to_file(f"END epoch {row['epoch']}: {listed}, {clips_per_s}, {duration}{note}")
    logger.log_to_screen(progress_lines.describe_epoch(row, num_classes, f"{clips_per_s}, {duration}", best))
    return is_best


def is_known_by_heart(row: dict) -> bool:
    """Return whether all samples of a validation are right, and not by a lucky guess: their loss is small, too."""
    return row.get("val/top1") == 1 and row["val/loss"] < MAX_LOSS_BY_HEART


def find_stop_reason(progress: Progress, settings: RunSettings) -> str | None:
    """Return why a run that is so far trains no further, or None."""
    if progress.awaits_validation:
        return None
    if settings.overfit and progress.history and is_known_by_heart(progress.history[-1]):
        return f"{progress.epoch} epochs are done: the samples of --overfit are known by heart"
    if progress.epoch >= settings.epochs:
        return f"{progress.epoch} epochs are done; a larger --epoch would go on"
    return settings.find_stop(progress.history[progress.judged_from :])
