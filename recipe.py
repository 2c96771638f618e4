"""A recipe: a config text and a command line, checked against what they build, and the builders themselves."""

import argparse
import dataclasses
import inspect
import logging
import os
import random

import numpy as np
import paddle

import command
import config as texts
import optimizer
from models import MODELS, build_model
from reader import READERS, build_loader

# Parameters that the code passes, so that a text cannot set them.
READER_BY_CODE = ("mode", "seed", "overfit", "num_classes")
OPTIMIZER_BY_CODE = ("model", "batch_size", "epochs", "steps_per_epoch")


@dataclasses.dataclass
class RunSettings:
    """The section RUN: what a run does besides building its model, readers and optimizer.

    Attributes:
        epochs: passes over the training list.
        use_gpu: True needs a GPU, False takes the CPU, None takes a GPU where there is one.
        save_dir: folder of checkpoints, jsonl and VisualDL logs.
        log_file: text log, appended to.
        log_interval: updates between two log lines.
        seed: of weights, sample order and augmentation.
        deterministic: ask cuDNN for reproducible kernels (slower); a CPU run always is reproducible.
        overfit: train and validate on so many training samples only; 0 takes all. The first thing to try on own data.
        label_smoothing: 0 to 1.
        validate: score the VALID list while training.
        eval_interval: epochs between two validations.
        val_begin: first epoch that is validated.
        metric: `top1`, `top5`, `mean_class_accuracy` or `loss`; the best epoch by it is kept.
        rule: `greater` or `less` is better; None: `less` for `loss`, else `greater`.
        average_clips: `prob` or `score`, how a sample's views are averaged.
        save_interval: keep every so-manieth epoch; 0 keeps only the last and the best.
        max_keep: at most so many of those are kept, the newest.
        resume: `auto` goes on from the last checkpoint in `save_dir` if there is one; or a checkpoint's path.
        pretrain: weights to start from.
        ignore_weights: name patterns (`fc.*`) of `pretrain` that are left out.
        histogram_interval: epochs between two weight and gradient histograms; 0 writes none.
        max_faults: damaged training samples an epoch may replace before the run stops.
    """

    epochs: int = 65
    use_gpu: bool | None = None
    save_dir: str = "checkpoints_models"
    log_file: str = "logger.log"
    log_interval: int = 10
    seed: int = 0
    deterministic: bool = False
    overfit: int = 0
    label_smoothing: float = 0.0
    validate: bool = True
    eval_interval: int = 1
    val_begin: int = 0
    metric: str = "top1"
    rule: str | None = None
    average_clips: str = "prob"
    save_interval: int = 0
    max_keep: int = 3
    resume: str | None = None
    pretrain: str | None = None
    ignore_weights: list | None = None
    histogram_interval: int = 5
    max_faults: int = 100

    def check(self) -> None:
        """Refuse values that no run can use; each with a sentence of its own."""
        metrics = ("top1", "top5", "mean_class_accuracy", "loss")
        if self.epochs < 1:
            raise ValueError(f"RUN.epochs (--epoch): expected at least 1, got {self.epochs}")
        if self.metric not in metrics:
            raise ValueError(f"RUN.metric: expected one of {', '.join(metrics)}, got '{self.metric}'")
        if self.rule not in (None, "greater", "less"):
            raise ValueError(f"RUN.rule: expected 'greater' or 'less', got '{self.rule}'")
        if min(self.eval_interval, self.log_interval, self.max_keep) < 1:
            raise ValueError("RUN: eval_interval, log_interval and max_keep must be at least 1")

    def is_validated(self, epoch: int) -> bool:
        """Whether an epoch is validated; the last one always is."""
        due = epoch >= self.val_begin and (epoch - self.val_begin) % self.eval_interval == 0
        return due or epoch + 1 == self.epochs

    def is_better(self, new: float, old: float) -> bool:
        """Whether a monitored value is better than another."""
        rule = self.rule or ("less" if self.metric == "loss" else "greater")
        return new > old if rule == "greater" else new < old


def read_recipe(path: str, settings: dict, words: list, root: str | None = None) -> tuple:
    """Read a config text and lay the command line over it.

    Args:
        path: the config text.
        settings: {"SECTION.key": value} of flags; None values are flags that were not given.
        words: `SECTION.key=value` words of `-o`.
        root: folder whose `train.list`, `val.list` and `test.list` are used.

    Returns:
        The resolved config (see `resolve`), and the names of 2020 keys that have no meaning any more.
    """
    config = texts.load_config(path)
    dropped = texts.translate_2020(config)
    return resolve(override(config, settings, words, root), path), dropped


def override(config: dict, settings: dict, words: list, root: str | None = None) -> dict:
    """Lay flags, then `-o` words, over a config in place, and return it."""
    if root is not None:
        for mode in texts.MODES:
            config[mode]["filelist"] = default_list(mode, root)
    for place, value in settings.items():
        if value is not None:
            section, key = place.split(".")
            config[section][key] = value
    texts.apply_overrides(config, words)
    return config


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
        config: {SECTION: {key: value}}; resolving a resolved config changes nothing.
        source: what errors name.

    Returns:
        A new config: MODEL, READER, OPTIMIZER and RUN complete, TRAIN, VALID and TEST with what differs by mode.
    """
    model_name = config["MODEL"].get("name", "resnet")
    reader_name = config["READER"].get("name", "clips")
    for name, known, section in ((model_name, MODELS, "MODEL"), (reader_name, READERS, "READER")):
        if name not in known:
            raise ValueError(f"{source} [{section}]: unknown name '{name}'; known: {', '.join(known)}")
    reading = [READERS[reader_name], build_loader]
    model_class = MODELS[model_name]
    resolved = {
        "MODEL": texts.fill_section(
            f"{source} [MODEL] {model_class.__name__}", {"name": model_name, **config["MODEL"]}, [model_class]
        ),
        "READER": texts.fill_section(
            f"{source} [READER]", {"name": reader_name, **config["READER"]}, reading, READER_BY_CODE
        ),
    }
    if "num_classes" not in config["MODEL"]:
        resolved["MODEL"].pop("num_classes", None)  # the training list's class names decide
    modes = {**config, "TEST": {**config["VALID"], **config["TEST"]}}  # a text without [TEST] tests as it validates
    for mode in texts.MODES:
        texts.fill_section(f"{source} [{mode}]", modes[mode], reading, READER_BY_CODE)
        resolved[mode] = {"filelist": default_list(mode), **modes[mode]}
    resolved["OPTIMIZER"] = texts.fill_section(
        f"{source} [OPTIMIZER]",
        {"name": "momentum", **config["OPTIMIZER"]},
        [optimizer.Schedule, optimizer.build_optimizer],
        OPTIMIZER_BY_CODE,
    )
    resolved["RUN"] = texts.fill_section(f"{source} [RUN]", config["RUN"], [RunSettings])
    return resolved


def add_shared_flags(parser: command.CommandLine) -> None:
    """Add the flags that `train.py` and `test.py` share."""
    parser.add_argument("--model_name", help="network, a key of models.MODELS")
    parser.add_argument("--use_gpu", type=command.parse_bool, help="True or False; default: a GPU where there is one")
    parser.add_argument("--batch_size", type=int, help="samples a step")
    parser.add_argument("--save_dir", help="folder of checkpoints and results")
    parser.add_argument("--root", help="folder that holds train.list, val.list, test.list")
    parser.add_argument("-o", dest="override", action="append", default=[], help="SECTION.key=value, repeatable")


def shared_settings(args: argparse.Namespace, mode: str) -> dict:
    """Return what those flags set, as {"SECTION.key": value or None}."""
    return {
        "MODEL.name": args.model_name,
        "RUN.use_gpu": args.use_gpu,
        f"{mode}.batch_size": args.batch_size,
        "RUN.save_dir": args.save_dir,
    }


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

    So a resumed run draws what an unbroken one does, and no random state needs saving.
    """
    state = int(np.random.SeedSequence([seed, draw]).generate_state(1)[0]) % 2**31
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
        section["filelist"] = config["TRAIN"]["filelist"]
    arguments = {"num_classes": config["MODEL"].get("num_classes"), "seed": config["RUN"]["seed"], "overfit": overfit}
    return build_loader(mode=mode.lower(), **arguments, **section)


def open_reader(config: dict):
    """Build the reader of the TEST section without a list, for frames that stand in none."""
    reader_class = READERS[config["READER"]["name"]]
    section = {**config["READER"], **config["TEST"], "filelist": None}
    keys = inspect.signature(reader_class).parameters
    return reader_class(mode="test", **{key: value for key, value in section.items() if key in keys})


def settle_classes(config: dict, loader) -> list:
    """Return the class names of the training list, and set MODEL.num_classes to their number where it is not set.

    Raises:
        ValueError: the list names no classes and MODEL.num_classes is not set, or names more than that.
    """
    names, outputs = loader.class_names, config["MODEL"].get("num_classes")
    filelist = config["TRAIN"]["filelist"]
    if names is None and outputs is None:
        raise ValueError(f"{filelist} names no classes; run data_list_gener.py again or set -o MODEL.num_classes=N")
    if names is None:
        logging.warning(
            f"{filelist} names no classes: they are called 0 to {outputs - 1}; run data_list_gener.py again"
        )
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
    label, (own, other) = next((label, pair) for label, pair in enumerate(padded) if pair[0] != pair[1])
    raise ValueError(
        f"{filelist}: class {label} is {other!r} there and {own!r} in the weights ({len(listed)} and {len(trained)} "
        "classes); a score over mixed-up classes means nothing: make the list again with the class file of training"
    )


def build_training(config: dict, loader) -> tuple:
    """Build (model, optimizer, schedule) of a resolved config for the training loader."""
    model = build_model(**config["MODEL"])
    section = dict(config["OPTIMIZER"])
    schedule_keys = inspect.signature(optimizer.Schedule).parameters
    schedule = optimizer.Schedule(
        batch_size=min({**config["READER"], **config["TRAIN"]}["batch_size"], loader.num_samples),
        epochs=config["RUN"]["epochs"],
        steps_per_epoch=len(loader),
        **{key: section.pop(key) for key in list(section) if key in schedule_keys},
    )
    return model, optimizer.build_optimizer(model, **section), schedule
