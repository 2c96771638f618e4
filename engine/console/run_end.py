"""The end of a training on the screen: what came of it, where that is, and the commands that come next."""

import logging
import os
import shlex
import shutil
import sys

from common.messages import wrap
from config import name_samples
from engine import logger
from engine.console.text import format_figure

MAX_COMMAND = 94  # characters; the word before it takes six
MAX_PREDICTED = 100  # recordings of a split, each of which predict.py would draw


def log_end(reason: str, folder, progress, config: dict, loader, spent_s: float) -> None:
    """Log the end of a run.

    Args:
        reason: why it ended.
        folder: `engine.run_folder.RunFolder` of the run.
        progress: `engine.run_folder.Progress`, how far it is.
        config: resolved config.
        loader: of the samples that it validates on, or else trains on.
        spent_s: seconds of this process's part of the run.
    """
    logging.info(wrap(reason))
    if progress.history:
        logger.log_to_file(f"Final loss: [{progress.history[-1]['train/loss']:.7g}]")
    for line in (*_list_weights(folder, progress, config), f"time  {logger.format_duration(spent_s)}"):
        logging.info(line)
    if config["RUN"]["overfit"]:
        logging.info(wrap(describe_overfit(progress, loader.num_samples, config, folder.vdl_dir)))
        return
    for index, command in enumerate(list_commands(folder, progress, config, loader)):
        logging.info(f"{'' if index else 'next':<6}{_break_command(command)}")


def _break_command(command: str) -> str:
    """Break a long command before its last flag, so that it can be typed as it stands."""
    head, flag, tail = command.rpartition(" --")
    return f"{head} \\\n         {flag}{tail}" if len(command) > MAX_COMMAND else command


def _list_weights(folder, progress, config: dict) -> list:
    """Return the lines of the best and of the last epoch."""
    best, row, metric = progress.best, (progress.history or [{}])[-1], config["RUN"]["metric"]
    lines = []
    if best is not None:
        value = format_figure(best["metric"], best["value"])
        lines.append(f"best  epoch {best['epoch']}, {best['metric']} {value} on {best['filelist']}: {folder.best}")
    value = f", {metric} {format_figure(metric, row[f'val/{metric}'])}" if f"val/{metric}" in row else ""
    return [*lines, f"last  epoch {progress.epoch - 1}{value}: {folder.last}"]


def describe_overfit(progress, num_samples: int, config: dict, vdl_dir: str) -> str:
    """Return the verdict of a run of RUN.overfit: whether the network knows its few samples by heart."""
    epochs, top1 = f"after {progress.epoch} epoch{'s' * (progress.epoch > 1)}", None
    if progress.history:
        top1 = progress.history[-1].get("val/top1", progress.history[-1]["train/top1"])
    if top1 is None:
        return "overfit: no epoch was trained, so there is no verdict"
    count = f"{round(top1 * num_samples)} of {num_samples} {epochs}"
    if top1 == 1:
        return f"overfit: {count}: labels and reader fit together; now train without --overfit"
    return (
        f"overfit: {count}: not yet known by heart. Look at the clips and their classes ({quote_visualdl(vdl_dir)}, "
        f"Images), at the labels in {name_samples(config, 'TRAIN')}, then try a larger --epoch or another "
        "--learning_rate; if samples of one class look like those of another, the labels are wrong"
    )


def list_commands(folder, progress, config: dict, loader) -> list:
    """Return the commands that test and use the weights, and show the curves, as they are typed.

    The best epoch is proposed only where another list than that of the test has chosen it.
    """
    is_own_list = name_samples(config, "VALID") == name_samples(config, "TEST")
    weights = shlex.quote(folder.last if progress.best is None or is_own_list else folder.best)
    example = " ".join(map(shlex.quote, _find_example(config, loader)))
    return [
        f"python test.py --weights {weights}",
        f"python predict.py --weights {weights} {example}",
        quote_visualdl(folder.vdl_dir),
    ]


def quote_visualdl(vdl_dir: str) -> str:
    """Return the command that shows the curves in a folder."""
    beside = os.path.relpath(os.path.join(sys.prefix, "bin", "visualdl"))
    program = "visualdl" if shutil.which("visualdl") else beside
    return f"{shlex.quote(program)} --logdir {shlex.quote(vdl_dir)}"


def _find_example(config: dict, loader) -> list:
    """Return the words by which predict.py is given one of the samples, or what is to be filled in."""
    reader = {**config["READER"], **config["VALID"]}
    path = loader.find_file(0)
    if reader["name"] in ("clips", "rgbpose"):
        is_seen = not path.endswith(".pkl")  # a record that holds its frames is no input of predict.py
        poses = ["--poses", reader["filelist"]] if reader["name"] == "rgbpose" else []
        return ["--input", path if is_seen else "VIDEO", *poses]
    if loader.num_samples > MAX_PREDICTED:
        return ["--input", "SKELETONS"]
    return ["--input", path, *(["--split", reader["split"]] if reader.get("split") else [])]
