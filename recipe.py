"""A recipe: a config text and a command line, checked against what they build, and the builders themselves."""

import inspect
import logging
import os
import random

import numpy as np
import paddle

from common.signatures import find_parameters
from config import (
    MODES,
    SECTIONS,
    fill_section,
    load_config,
    parse_overrides,
    rename_keys,
    translate_2020,
)
from engine import distributed, memory, onednn, optimizer
from engine.amp import MixedPrecision, build_precision
from engine.losses import build_criterion
from engine.mixup import Mixup
from engine.optimizer import MovingAverage
from engine.run_settings import RunSettings
from engine.train_step import TrainStep
from models import MODELS, build_model
from models.parts.action_model import ActionModel
from reader import READERS, build_loader, modalities

# Parameters that the code passes, so that a text cannot set them.
READER_BY_CODE = ("mode", "seed", "overfit", "num_classes", "rank", "num_ranks")
SHARED_KEYS = ("layout", "num_persons")  # of READER, for the model too
OPTIMIZER_BY_CODE = ("model", "batch_size", "epochs", "steps_per_epoch")


def read_recipe(path: str, settings: dict, overrides: list, root: str | None = None) -> tuple:
    """Read a config text and lay the command line over it.

    Args:
        path: the config text.
        settings: {"SECTION.key": value} of flags; None values are flags that were not given.
        overrides: `SECTION.key=value` words of `-o`.
        root: folder whose `train.list`, `val.list` and `test.list` are used.

    Returns:
        The resolved config (see `resolve`), and the names of 2020 keys that have no meaning any more.
    """
    config = load_config(path)
    dropped = translate_2020(config)
    return resolve(override(config, settings, overrides, root), path), dropped


def override(config: dict, settings: dict, overrides: list, root: str | None = None) -> dict:
    """Lay flags, then the overrides of `-o`, over a config in place, and return it.

    What they set in READER holds for all modes but those for which they set the key too: a value that TRAIN, VALID or
    TEST has from the text, or from the resolved config of a checkpoint, gives way.
    """
    rename_keys(config)
    if root is not None:
        set_root(config, root)
    given = {section: {} for section in SECTIONS}
    for name, value in settings.items():
        if value is not None:
            section, key = name.split(".")
            given[section][key] = value
    for section, values in parse_overrides(overrides).items():
        given[section].update(values)
    for key in given["READER"]:
        for mode in MODES:
            config[mode].pop(key, None)
        if key in SHARED_KEYS and config["MODEL"].get(key) == config["READER"].get(key):
            config["MODEL"].pop(key, None)  # `resolve` copies it again
        if key in modalities.KEYS:
            config["MODEL"].pop("in_channels", None)  # likewise
    for section, values in given.items():
        config[section].update(values)
    return config


def set_root(config: dict, root: str) -> None:
    """Set the folder of the lists of a config, or of its READER.filelist and READER.videos, in place."""
    if not config["READER"].get("filelist"):
        for mode in MODES:
            config[mode]["filelist"] = default_list(mode, root)
        return
    for section in ("READER", *MODES):
        for key in ("filelist", "videos"):
            if config[section].get(key):
                config[section][key] = os.path.join(root, os.path.basename(config[section][key]))


def adopt_config(config: dict) -> None:
    """Prepare the resolved config of a checkpoint for another machine and for overrides, in place.

    The device is chosen anew; oneDNN scores where it can, unless RUN.cpu_backend is dynamic. What the section TEST has
    from VALID is removed, so that it follows an override there: `resolve` copies it again.
    """
    rename_keys(config)
    config["RUN"]["use_gpu"] = None
    if config["RUN"].get("cpu_backend") == "onednn":
        config["RUN"]["cpu_backend"] = "auto"
    valid = config["VALID"]
    config["TEST"] = {key: value for key, value in config["TEST"].items() if key not in valid or valid[key] != value}


def default_list(mode: str, root: str = "data") -> str:
    """Return the list a mode reads; validation takes `val.list` where there is one, else `test.list`."""
    names = {"TRAIN": "train.list", "VALID": "val.list", "TEST": "test.list"}
    path = os.path.join(root, names[mode])
    if mode == "VALID" and not os.path.exists(path):
        return os.path.join(root, names["TEST"])
    return path


def resolve(config: dict, source: str) -> dict:
    """Check every section against what it builds and add the defaults.

    Args:
        config: {SECTION: {key: value}}; resolving a resolved config changes nothing. What skeletons look like stands in
            READER alone: a model that takes `layout` or `num_persons` gets them from there.
        source: what errors name.

    Returns:
        A new config: MODEL, READER, OPTIMIZER and RUN complete, TRAIN, VALID and TEST with what differs by mode.
    """
    rename_keys(config)  # of a checkpoint
    model_name = config["MODEL"].get("name", "resnet")
    reader_name = config["READER"].get("name", "clips")
    for name, known, section in ((model_name, MODELS, "MODEL"), (reader_name, READERS, "READER")):
        if name not in known:
            raise ValueError(f"{source} [{section}]: unknown name '{name}'; known: {', '.join(known)}")
    reading = [READERS[reader_name], build_loader]
    model_class = MODELS[model_name]
    shared = {key: config["READER"][key] for key in SHARED_KEYS if key in config["READER"]}
    taken = {key: value for key, value in shared.items() if key in inspect.signature(model_class).parameters}
    taken |= modalities.list_network_arguments(config["READER"])
    resolved = {
        "MODEL": fill_section(
            f"{source} [MODEL] {model_class.__name__}", {"name": model_name, **taken, **config["MODEL"]}, [model_class]
        ),
        "READER": fill_section(
            f"{source} [READER]", {"name": reader_name, **config["READER"]}, reading, READER_BY_CODE
        ),
    }
    if "num_classes" not in config["MODEL"]:
        resolved["MODEL"].pop("num_classes", None)  # the training list's class names decide
    modes = {**config, "TEST": {**config["VALID"], **config["TEST"]}}  # a text without [TEST] tests as it validates
    for mode in MODES:
        fill_section(f"{source} [{mode}]", modes[mode], reading, READER_BY_CODE)
        filelist = resolved["READER"].get("filelist") or default_list(mode)
        resolved[mode] = {"filelist": filelist, **modes[mode]}
    resolved["OPTIMIZER"] = fill_section(
        f"{source} [OPTIMIZER]",
        {"name": "momentum", **config["OPTIMIZER"]},
        [optimizer.Schedule, optimizer.build_optimizer],
        OPTIMIZER_BY_CODE,
    )
    resolved["RUN"] = fill_section(f"{source} [RUN]", config["RUN"], [RunSettings])
    return resolved


def choose_device(use_gpu: bool | None, deterministic: bool = False) -> str:
    """Set and return Paddle's device; `deterministic` asks cuDNN for reproducible kernels.

    Raises:
        ValueError: `use_gpu` is True and there is no GPU, or Paddle has no CUDA.
    """
    is_cuda_build = paddle.is_compiled_with_cuda()
    has_gpu = is_cuda_build and paddle.device.cuda.device_count() > 0
    if use_gpu and not has_gpu:
        why = "sees no GPU" if is_cuda_build else "is a CPU build"
        raise ValueError(f"--use_gpu True: Paddle {paddle.__version__} here {why}; run with --use_gpu False")
    if use_gpu is None:
        use_gpu = has_gpu
    if deterministic and is_cuda_build:  # a CPU build refuses the flag's very name
        paddle.set_flags({"FLAGS_cudnn_deterministic": True})
    paddle.set_device("gpu" if use_gpu else "cpu")
    return paddle.device.get_device()


def seed_all(seed: int, draw: int) -> None:
    """Seed Python, NumPy and Paddle from (seed, draw): draw 0 makes the weights, draw 1 + e is epoch e.

    So a resumed run draws what an unbroken one does, and no random state needs saving. Several processes make the same
    weights and draw different dropout.
    """
    rank = [distributed.rank()] if draw and distributed.rank() else []
    state = int(np.random.SeedSequence([seed, draw, *rank]).generate_state(1)[0]) % 2**31
    random.seed(state)
    np.random.seed(state)
    paddle.seed(state)


def open_loader(config: dict, mode: str):
    """Build the loader of a mode (`TRAIN`, `VALID`, `TEST`).

    With RUN.overfit, training draws nothing, so that a sound network learns the samples by heart, and VALID reads the
    training samples.
    """
    overfit = config["RUN"]["overfit"]
    section = {**config["READER"], **config[mode]}
    if overfit and mode == "TRAIN":
        section["augment"] = False
    if overfit and mode == "VALID":
        section.update({key: value for key, value in config["TRAIN"].items() if key in ("filelist", "split")})
    if mode == "TRAIN":
        section["batch_size"] = samples_per_update(config)
    by_code = {
        "num_classes": config["MODEL"].get("num_classes"),
        "seed": config["RUN"]["seed"],
        "overfit": overfit,
        "rank": distributed.rank(),
        "num_ranks": distributed.num_ranks(),
    }
    return build_loader(mode=mode.lower(), **by_code, **section)


def device_batch_size(config: dict) -> int:
    """Return the samples that the device holds at once in training."""
    default = inspect.signature(build_loader).parameters["batch_size"].default
    return {"batch_size": default, **config["READER"], **config["TRAIN"]}["batch_size"]


def samples_per_update(config: dict) -> int:
    """Return the samples of one update: of all batches that are accumulated, in all processes."""
    return device_batch_size(config) * config["RUN"]["accumulate"] * distributed.num_ranks()


def open_reader(config: dict):
    """Build the reader of the TEST section without a list, for frames that stand in none."""
    reader_class = READERS[config["READER"]["name"]]
    section = {**config["READER"], **config["TEST"], "filelist": None}
    keys = find_parameters([reader_class])
    return reader_class(mode="test", **{key: value for key, value in section.items() if key in keys})


def resolve_class_names(config: dict, loader) -> list:
    """Return the class names of the training list, and set MODEL.num_classes to their number where it is not set.

    Raises:
        ValueError: the list names no classes and MODEL.num_classes is not set, or names more than that.
    """
    names, outputs = loader.class_names, config["MODEL"].get("num_classes")
    filelist, advice = config["TRAIN"]["filelist"], READERS[config["READER"]["name"]].CLASSES_ADVICE
    if names is None and outputs is None:
        raise ValueError(f"{filelist} names no classes; {advice} or set -o MODEL.num_classes=N")
    if names is None:
        logging.warning(f"{filelist} names no classes: they are called 0 to {outputs - 1}; {advice}")
        names = [str(label) for label in range(outputs)]
    if outputs is None:
        outputs = config["MODEL"]["num_classes"] = len(names)
    if len(names) > outputs:
        raise ValueError(f"{filelist} names {len(names)} classes, MODEL.num_classes is {outputs}; leave that key out")
    if len(names) < outputs:
        logging.warning(f"{filelist} names {len(names)} classes, the model has {outputs} outputs; the rest stay unused")
    return list(names)


def compare_classes(trained: list, listed: list | None, filelist: str) -> None:
    """Refuse a list whose class names are not those the weights were trained on.

    Raises:
        ValueError: shows the first class that differs.
    """
    if listed is None or listed == trained:
        return
    size = max(len(trained), len(listed))
    padded = zip([*trained, *[None] * size], [*listed, *[None] * size], strict=False)
    label, (expected, found) = next((label, pair) for label, pair in enumerate(padded) if pair[0] != pair[1])
    raise ValueError(
        f"{filelist}: class {label} is {found!r} there and {expected!r} in the weights ({len(listed)} and "
        f"{len(trained)} classes); a score over mixed-up classes means nothing: make the list again with the class "
        "file of training"
    )


def build_training(config: dict, loader) -> tuple:
    """Build what a resolved config trains.

    Returns:
        The model, its optimizer, the schedule, and the layers that RUN.freeze_until or RUN.train_from freezes.
    """
    run, section = config["RUN"], dict(config["OPTIMIZER"])
    model = build_model(**config["MODEL"])
    model.check_inputs(list(loader.input_shape))
    if run["sync_bn"]:
        model = synchronize_batch_norm(model)
    frozen = optimizer.freeze(model, run["freeze_until"], run["train_from"])
    schedule_keys = inspect.signature(optimizer.Schedule).parameters
    schedule = optimizer.Schedule(
        batch_size=min(samples_per_update(config), loader.num_samples),
        epochs=run["epochs"],
        steps_per_epoch=len(loader),
        **{key: section.pop(key) for key in list(section) if key in schedule_keys},
    )
    return model, optimizer.build_optimizer(model, **section), schedule, frozen


def synchronize_batch_norm(model: paddle.nn.Layer) -> paddle.nn.Layer:
    """Let every batch norm see the batch of all GPUs.

    Raises:
        ValueError: on a CPU, where Paddle cannot.
    """
    if not paddle.device.get_device().startswith("gpu"):
        raise ValueError("RUN.sync_bn: Paddle synchronizes batch norm on GPUs only; leave it out with --use_gpu False")
    return paddle.nn.SyncBatchNorm.convert_sync_batchnorm(model)


def build_step(config: dict, model: ActionModel, optimizer, loader, frozen: list) -> TrainStep:
    """Build the step that RUN asks for; the model and the optimizer have their weights and state already."""
    run = config["RUN"]
    mixup = average = None
    precision = build_precision(run["amp_level"], run["amp_dtype"])
    if isinstance(precision, MixedPrecision) and precision.level == "O2":
        model, optimizer = paddle.amp.decorate(
            model, optimizer, level="O2", dtype=precision.dtype, master_weight=True, save_dtype="float32"
        )
    if run["recompute"]:
        memory.recompute_blocks(model.list_blocks(), precision.cast)
    if run["mixup_alpha"] or run["cutmix_alpha"]:
        mixup = Mixup(run["mixup_alpha"], run["cutmix_alpha"], run["mix_ratio"], run["seed"])
    if run["ema_decay"]:
        average = MovingAverage(model, run["ema_decay"])
    parts = {
        "model": model,
        "criterion": build_criterion(run, config["MODEL"]["num_classes"], loader),
        "optimizer": optimizer,
        "prepare": loader.prepare,
        "batch_size": device_batch_size(config),
        "precision": precision,
        "mixup": mixup,
        "average": average,
        "frozen_norms": frozen if run["freeze_statistics"] else [],
    }
    if run["recompute"] or not onednn.is_chosen(run["cpu_backend"], config["MODEL"]["name"]):
        return TrainStep(**parts)
    logging.info(f"RUN.cpu_backend={run['cpu_backend']}: updates are computed by oneDNN")
    return onednn.OneDNNStep(**parts)


def use_onednn_where_possible(model: ActionModel, config: dict, network: type = onednn.OneDNNNetwork):
    """Return what scores like a model, a `network` where RUN.cpu_backend asks for oneDNN and it can; else the model."""
    is_chosen = onednn.is_chosen(config["RUN"]["cpu_backend"], config["MODEL"]["name"])
    return network(model) if is_chosen else model
