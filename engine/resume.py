"""How a run goes on from a checkpoint: everything as it was, and a word on what is not."""

import dataclasses
import logging
import os
from collections.abc import Callable

from config import differences, name_samples
from engine import checkpoint, distributed
from engine.run_folder import Progress
from engine.run_settings import RunSettings, resolve_rule

# Keys of RUN that do not change what a run computes, and, last, those of which other lines are logged.
KEYS_WITHOUT_EFFECT = (
    "save_dir", "log_file", "log_interval", "histogram_interval", "save_interval", "max_keep", "save_scores", "resume",
    "pretrain", "ignore_weights", "allow_missing", "max_faults",
    "metric", "rule", "epochs",
)  # fmt: skip
SCHEDULE_KEYS = ("schedule", "schedule_by", "milestones", "restart_epochs", "restart_factor", "warmup_epochs")
KEYS_OF_A_RESUMED_RUN = tuple(
    field.name for field in dataclasses.fields(RunSettings) if field.name not in KEYS_WITHOUT_EFFECT
)


def load_resumed(path: str, config: dict, model, optimizer, schedule, resolve: Callable) -> tuple:
    """Load everything that a run goes on from, and log what is not as it was.

    The schedule keeps its length, whatever RUN.epochs is now, unless OPTIMIZER.schedule_epochs is set; the length is
    put into `config`.

    Args:
        resolve: takes the config of a checkpoint and its path, and gives it with the keys of today; those that it
            lacks have their defaults.

    Returns:
        The progress, and the checkpoint.

    Raises:
        ValueError: the file holds weights only.
    """
    state = checkpoint.load_checkpoint(path)
    if "optimizer" not in state or "history" not in state:
        raise ValueError(f"--resume {path}: it holds weights only; start from it with --pretrain {path}")
    checkpoint.restore_model(model, state["model"])
    checkpoint.restore_optimizer(model, optimizer, state["optimizer"])
    schedule.plateau.update(state["plateau"])
    state["config"] = resolve(state["config"], path)
    for key, old, new in differences(state["config"], config, KEYS_OF_A_RESUMED_RUN):
        logging.warning(f"--resume: {key} was {old!r} and is {new!r} now")
    if change := describe_update_change(state, schedule.batch_size, schedule.steps_per_epoch):
        logging.warning(f"--resume: {change}")
    logging.info(f"resume from {path}: {state['epoch']} epochs, {state['step']} updates done")
    keep_schedule_length(state, config, schedule)
    best, judged_from = state["best"], state.get("judged_from", 0)
    awaits_validation = state.get("role") == checkpoint.TRAINED
    if config["RUN"]["validate"] and (changes := find_judge_changes(state, config)):
        logging.warning(f"--resume: {'; '.join(changes)}: best, plateau and early stop begin anew")
        best, judged_from = None, state["epoch"] - awaits_validation
        schedule.plateau.update(best=None, bad_epochs=0)
    log_learning_rates(state, schedule)
    return Progress(state["epoch"], state["step"], state["history"], best, awaits_validation, judged_from), state


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


def keep_schedule_length(state: dict, config: dict, schedule) -> None:
    """Let the schedule be as long as it was and put that into `config`, unless the schedule is another one now."""
    before, now, epochs = state["config"]["OPTIMIZER"], config["OPTIMIZER"], config["RUN"]["epochs"]
    old = before.get("schedule_epochs") or state["config"]["RUN"]["epochs"]
    is_another = any(before.get(key, now[key]) != now[key] for key in SCHEDULE_KEYS)
    if now["schedule_epochs"] is None and epochs != old and not is_another:
        now["schedule_epochs"] = old
        schedule.set_length(old)
        logging.warning(
            f"--resume: the run is to have {epochs} epochs, its schedule stays that of {old}; "
            f"-o OPTIMIZER.schedule_epochs={epochs} stretches it"
        )
    elif epochs != state["config"]["RUN"]["epochs"]:
        logging.warning(f"--resume: the run is to have {epochs} epochs instead of {state['config']['RUN']['epochs']}")


def log_learning_rates(state: dict, schedule) -> None:
    """Log the rate of the last update and of the next one."""
    after = schedule.value(state["epoch"], 0)
    is_over = state["epoch"] >= schedule.epochs
    before = f"{state['history'][-1]['train/lr']:.6g} in the last update, " if state["history"] else ""
    logging.info(f"learning rate: {before}{after:.6g} in the next one")
    if after == 0 and is_over:
        logging.warning("learning rate: 0 trains nothing; set OPTIMIZER.schedule_epochs or OPTIMIZER.min_learning_rate")


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
