"""How a run goes on from a checkpoint, or starts from weights: everything as it was, and a word on what is not.

What weights were trained on travels with them: a checkpoint has the samples (`describe_data`), and READER of its config
says what the numbers of an input mean (`INPUT_KEYS`).
"""

import dataclasses
import fnmatch
import itertools
import logging
import os
from collections.abc import Callable

from common import state_dicts
from config import differences, name_samples
from engine import agreement, checkpoint, distributed
from engine.optimizer import NUM_SLOTS
from engine.run_folder import Progress, find_stop_reason
from engine.run_settings import RunSettings, resolve_rule

# Keys of RUN that do not change what a run computes, and, last, those of which other lines are logged.
KEYS_WITHOUT_EFFECT = (
    "save_dir", "log_file", "log_interval", "histogram_interval", "save_interval", "max_keep", "slim", "save_scores",
    "resume", "pretrain", "ignore_weights", "allow_missing", "max_faults",
    "metric", "rule", "epochs",
)  # fmt: skip
SCHEDULE_KEYS = ("schedule", "schedule_by", "milestones", "restart_epochs", "restart_factor", "warmup_epochs")
# Keys of READER that say what the numbers of an input mean; with others, weights see what they were not trained on.
INPUT_KEYS = (
    "name", "layout", "stream", "score_channel", "scores", "normalization", "score_threshold", "sampling", "padding",
    "num_persons", "kind", "limbs", "sigma", "scaling", "stretch", "hw_ratio", "num_segments", "clip_len",
    "rgb_clip_len", "frame_interval", "short_size", "crop_size", "mean", "std",
    "modality", "num_stacked", "flow_method", "flow_short_size",
)  # fmt: skip
# Those of a pathway that was trained by itself before tools/merge_rgbpose.py put it into a network of two.
PATHWAY_KEYS = {"rgb": ("mean", "std"), "pose": ("layout", "kind", "limbs", "sigma")}
KEYS_OF_A_RESUMED_RUN = tuple(
    field.name for field in dataclasses.fields(RunSettings) if field.name not in KEYS_WITHOUT_EFFECT
)


def describe_data(config: dict, loaders: dict) -> dict:
    """Return what a run is trained and validated on: {section: `samples`, `num_samples` and `digest`}.

    The digest is of names and labels, whatever their order, and of the key points of some recordings. It is equal on
    every machine, wherever that has its files.

    Args:
        loaders: section -> loader, None where the section is not read.
    """
    data = {}
    for section, loader in loaders.items():
        if loader is not None:
            samples = sorted(set(map(repr, loader.describe_samples())))
            digest = agreement.hash_content([samples, loader.checksum()])
            data[section] = {
                "samples": name_samples(config, section), "num_samples": len(samples), "digest": digest,
            }  # fmt: skip
    return data


def format_data(data: dict) -> str:
    """Return the samples of a section as a text."""
    return f"{data['samples']} ({data['num_samples']} samples, digest {data['digest']})"


def find_other_data(state: dict, config: dict, data: dict) -> str | None:
    """Return in what the training samples of a checkpoint differ from those of today, or None.

    Args:
        state: checkpoint; an older one has no `data`, and only its split is compared.
        data: see `describe_data`.
    """
    old, new = state.get("data", {}).get("TRAIN"), data["TRAIN"]
    if old is not None:
        is_same, was = old["digest"] == new["digest"], format_data(old)
    else:
        splits = [{**each["READER"], **each["TRAIN"]}.get("split") for each in (state["config"], config)]
        is_same, was = splits[0] == splits[1], name_samples(state["config"], "TRAIN")
    return None if is_same else f"it was trained on {was}, TRAIN is {format_data(new)} now"


def find_other_inputs(trained: dict, config: dict, keys: tuple = INPUT_KEYS) -> list:
    """Return in what the inputs of a network differ from those that its weights were trained on, one sentence each.

    Args:
        trained: the config of the weights, with at least the sections READER and TRAIN.
        config: resolved config of today.
    """
    old, new = ({**each.get("READER", {}), **each.get("TRAIN", {})} for each in (trained, config))
    pairs = {key: (old[key], new[key]) for key in keys if key in old and key in new}
    return [f"READER.{key} was {was!r} and is {now!r} now" for key, (was, now) in pairs.items() if was != now]


def load_pretrained(settings: RunSettings, model, config: dict, class_names: list = ()) -> None:
    """Load the weights of RUN.pretrain; log what was loaded, what was not, and on what else it was trained."""
    state = checkpoint.load_checkpoint(settings.pretrain)
    weights = checkpoint.scoring_weights(state)
    checkpoint.check_finite(settings.pretrain, weights)
    averaged = average_first_layers(weights, model, state, config)
    weights = {**weights, **averaged}
    ignore, allow_missing = settings.ignore_weights or [], settings.allow_missing or []
    initialized = checkpoint.restore_model(model, weights, ignore, allow_missing)
    names = model.state_dict()
    skipped = [name for name in weights if name not in names or name in initialized]
    logging.info(f"start from {settings.pretrain}: {len(names) - len(initialized)} tensors loaded")
    listed = (("left out of the file", skipped), ("left as initialised", initialized))
    for what, which in (*listed, ("averaged over the channels of the input", averaged)):
        if which:
            logging.info(f"  {what}: {', '.join(which)}")
    if "TRAIN" in state.get("data", {}):
        logging.info(f"  trained on {format_data(state['data']['TRAIN'])}")
    parts = state.get("parts", {})
    trained = [(part["config"], PATHWAY_KEYS[name]) for name, part in parts.items()]
    trained = trained or [(state.get("config", {}), INPUT_KEYS)]
    warn_of_other_classes(model, set(names) - set(initialized), list(state.get("class_names") or []), list(class_names))
    for change in [change for old, keys in trained for change in find_other_inputs(old, config, keys)]:
        logging.warning(f"--pretrain: {change}; the weights were trained on other inputs")


def warn_of_other_classes(model, loaded: set, trained: list, class_names: list) -> None:
    """Log that the last layer was trained on other classes, if it was loaded and both have names.

    Args:
        loaded: names of the tensors that were loaded.
        trained: class names of the weights.
    """
    layers = {id(layer): name for name, layer in model.named_sublayers()}
    patterns = [f"{layers[id(layer)]}.*" for layer in model.list_classifiers()]
    pairs = list(itertools.zip_longest(trained, class_names))
    if not (trained and class_names) or trained == class_names or not any(fnmatch.filter(loaded, p) for p in patterns):
        return
    label, (was, now) = next((label, pair) for label, pair in enumerate(pairs) if pair[0] != pair[1])
    logging.warning(
        f"--pretrain: class {label} was {was!r} and is {now!r} now, and the last layer was loaded; to begin with a new "
        f'one: -o "RUN.ignore_weights={patterns}"'
    )


def average_first_layers(weights: dict, model, state: dict, config: dict) -> dict:
    """Return first layers for flow or differences made of those for RGB, {} where the input is as it was.

    Args:
        state: checkpoint of the weights; without a config they are for RGB.
    """
    if config["READER"].get("modality", "rgb") == "rgb":
        return {}
    old, new = (each.get("MODEL", {}).get("in_channels", 3) for each in (state.get("config", {}), config))
    shapes = {name: value.shape for name, value in model.state_dict().items()}
    return state_dicts.average_channels(weights, shapes, old, new)


def load_resumed(path: str, config: dict, model, optimizer, schedule, resolve: Callable, data: dict) -> tuple:
    """Load everything that a run goes on from, and log what is not as it was.

    The schedule keeps its length, whatever RUN.epochs is now, unless OPTIMIZER.schedule_epochs is set; the length is
    put into `config`.

    Args:
        resolve: takes the config of a checkpoint and its path, and gives it with the keys of today; those that it
            lacks have their defaults.
        data: see `describe_data`.

    Returns:
        The progress, and the checkpoint.

    Raises:
        ValueError: the file holds weights only and the run is not over, or RUN.resume is `auto` and they were trained
            on other samples; see also `refuse_lost_state`.
    """
    state = checkpoint.load_checkpoint(path)
    is_slim = bool(state.get("slim"))
    if "history" not in state or ("optimizer" not in state and not is_slim):
        raise ValueError(f"--resume {path}: it holds weights only; start from it with --pretrain {path}")
    state["config"] = resolve(state["config"], path)
    refuse_other_data(path, state, config, data)
    checkpoint.restore_model(model, state["model"])
    if not is_slim:
        checkpoint.restore_optimizer(model, optimizer, state["optimizer"])
    schedule.plateau.update(state["plateau"])
    for key, old, new in differences(state["config"], config, KEYS_OF_A_RESUMED_RUN):
        logging.warning(f"--resume: {key} was {old!r} and is {new!r} now")
    if change := describe_update_change(state, schedule.batch_size, schedule.steps_per_epoch):
        logging.warning(f"--resume: {change}")
    logging.info(f"resume from {path}: {state['epoch']} epochs, {state['step']} updates done")
    keep_schedule_length(state, config, schedule)
    best, judged_from = state["best"], state.get("judged_from", 0)
    awaits_validation = state.get("role") == checkpoint.TRAINED
    if config["RUN"]["validate"] and (changes := find_judge_changes(state, config, data)):
        logging.warning(f"--resume: {'; '.join(changes)}: best, plateau and early stop begin anew")
        best, judged_from = None, state["epoch"] - awaits_validation
        schedule.plateau.update(best=None, bad_epochs=0)
    log_learning_rates(state, schedule)
    progress = Progress(state["epoch"], state["step"], state["history"], best, awaits_validation, judged_from)
    if find_stop_reason(progress, RunSettings(**config["RUN"])) is None:
        refuse_lost_state(path, state, config, model)
    return progress, state


def refuse_lost_state(path: str, state: dict, config: dict, model) -> None:
    """Refuse to train on without the state of the optimizer that the next update needs.

    Raises:
        ValueError: the file has none, that of another optimizer, or none of weights that were frozen.
    """
    advice = f"start a new run from these weights: --pretrain {path} and another --save_dir"
    if state.get("slim"):
        raise ValueError(
            f"--resume {path}: --slim has left the weights alone, without the state of the optimizer, so that run goes "
            f"no further; {advice}"
        )
    old, new = (each["OPTIMIZER"]["name"] for each in (state["config"], config))
    if NUM_SLOTS[old] != NUM_SLOTS[new]:
        raise ValueError(
            f"--resume {path}: it has the state of OPTIMIZER.name={old}, which {new} cannot use; set {old}, or {advice}"
        )
    frozen = [(key, was) for key, was, _ in differences(state["config"], config, ("freeze_until", "train_from"))]
    names = [name for name, weight in model.named_parameters() if not weight.stop_gradient]
    lost = [name for name in names if name not in state["optimizer"]]
    if lost and (keys := [f"{key}={was}" for key, was in frozen if key.startswith("RUN.")]):
        raise ValueError(
            f"--resume {path}: {len(lost)} weights that are to be trained now were frozen ({lost[0]}, ...), and it has "
            f"no state of the optimizer for them; set {' and '.join(keys)} as before, or {advice}"
        )


def refuse_other_data(path: str, state: dict, config: dict, data: dict) -> None:
    """Refuse to go on with other training samples, or say so where a checkpoint is named.

    Raises:
        ValueError: RUN.resume is `auto`; the figures would be of two data sets.
    """
    change = find_other_data(state, config, data)
    if change is None:
        return
    if config["RUN"]["resume"] != "auto":
        logging.warning(f"--resume {path}: {change}")
        return
    raise ValueError(
        f"'{path}': {change}; choose another --save_dir, remove that run by --overwrite, or, to go on with other data, "
        f"name it: --resume {path}"
    )


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


def find_judge_changes(state: dict, config: dict, data: dict) -> list:
    """Return what judges the validations of a resumed run in another way than those before it, one sentence each.

    Args:
        state: checkpoint, its keys as they are called now.
        config: resolved config of the run that goes on.
        data: see `describe_data`.
    """
    old, new = _describe_judge(state["config"]), _describe_judge(config)
    if state["best"] is not None:
        old.update({"RUN.metric": state["best"]["metric"], "VALID": os.path.abspath(state["best"]["filelist"])})
    changes = [f"{key} was {old[key]!r} and is {new[key]!r} now" for key in old if old[key] != new[key]]
    pair = [each.get("VALID") for each in (state.get("data", {}), data)]
    if not changes and all(pair) and pair[0]["digest"] != pair[1]["digest"]:
        changes.append(f"VALID was {format_data(pair[0])} and is {format_data(pair[1])} now")
    return changes


def _describe_judge(config: dict) -> dict:
    run = {**dataclasses.asdict(RunSettings()), **config["RUN"]}
    return {
        "RUN.metric": run["metric"],
        "RUN.rule": resolve_rule(run["metric"], run["rule"]),
        "RUN.overfit": run["overfit"],  # validates on training samples
        "VALID": os.path.abspath(name_samples(config, "VALID")),
    }
