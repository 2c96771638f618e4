"""Train a network.

python train.py                                    # configs/resnet.txt
python train.py --use_gpu True --epoch 65
python train.py configs/resnet18_ucf101_scratch.txt -o TRAIN.batch_size=64 --resume auto
"""

from common import command_line
from engine import flags

if __name__ == "__main__":
    command_line.start_paddle(flags.parse_train)

import argparse
import dataclasses
import functools
import logging
import os
import pathlib
import subprocess
import sys

import config as texts
import recipe
from engine import checkpoint, distributed, logger, report, run_card, trainer
from engine.run_settings import SHAPING, RunSettings


def main(words: list | None = None) -> int | None:
    """Run the training that the command line asks for."""
    args = flags.parse_train(words)
    if args.gpus > 1 and not distributed.is_launched():
        folder = args.save_dir or RunSettings.save_dir
        status = distributed.launch(__file__, sys.argv[1:] if words is None else words, args.gpus, f"{folder}/ranks")
        return status or test_weights(args, read_recipe(args)[0])
    config, dropped = read_recipe(args)
    settings = RunSettings(**config["RUN"])
    settings.check()
    logger.setup_logging(settings.log_file if distributed.rank() == 0 else None)
    logging.info(args)
    if dropped:
        logging.info(f"{args.config}: keys with no meaning any more were left out: {', '.join(dropped)}")
    recipe.choose_device(settings.use_gpu, settings.deterministic)
    distributed.connect()
    train(config, settings)
    return None if distributed.is_launched() else test_weights(args, config)


def read_recipe(args: argparse.Namespace) -> tuple:
    """Return the resolved config with the flags laid over it, and the keys of 2020 that were left out."""
    given = {
        **flags.shared_settings(args, "TRAIN"),
        "RUN.epochs": args.epoch,
        "OPTIMIZER.learning_rate": args.learning_rate,
        **{f"RUN.{key}": getattr(args, key) for key in ("pretrain", "resume", "validate", "seed", "deterministic")},
        "RUN.overfit": args.overfit,
    }
    return recipe.read_recipe(args.config, given, args.override, args.root)


def test_weights(args: argparse.Namespace, config: dict) -> int:
    """Run test.py on the weights that --test_last and --test_best ask for; return its exit status."""
    base = os.path.join(config["RUN"]["save_dir"], config["MODEL"]["name"])
    use_gpu = [] if args.use_gpu is None else ["--use_gpu", str(args.use_gpu)]
    for is_wanted, which in ((args.test_last, "model"), (args.test_best, "best")):
        if is_wanted:
            script = str(pathlib.Path(__file__).with_name("test.py"))
            words = ["--weights", f"{base}_{which}", "--gpus", str(args.gpus), *use_gpu]
            status = subprocess.run([sys.executable, script, *words], check=False).returncode
            if status:
                return status
    return 0


def train(config: dict, settings: RunSettings) -> None:
    """Train as a resolved config says."""
    recipe.seed_all(settings.seed, 0)
    train_loader = recipe.open_loader(config, "TRAIN")
    class_names = recipe.settle_classes(config, train_loader)
    valid_loader = recipe.open_loader(config, "VALID") if settings.validate else None
    if valid_loader is not None:
        recipe.compare_classes(class_names, valid_loader.class_names, config["VALID"]["filelist"])
    model, optimizer, schedule, frozen = recipe.build_training(config, train_loader)
    logging.info(texts.format_config(config))

    base = os.path.join(settings.save_dir, config["MODEL"]["name"])
    progress, state = start(config, settings, base, class_names, model, optimizer, schedule)
    logging.info(run_card.describe_run(config, model, train_loader, valid_loader, schedule, len(class_names)))
    if reason := find_end(progress, settings):
        logging.info(reason)
        return
    step = recipe.build_step(config, model, optimizer, train_loader, frozen)
    step.restore(state)
    scorer = recipe.quicken(model, config)
    is_main = distributed.rank() == 0
    jsonl_file = f"{base}_log.jsonl" if is_main else None
    run_log = logger.RunLog(jsonl_file, os.path.join(settings.save_dir, "vdl"), progress.step)
    if progress.step == 0:
        run_log.hyper_parameters({**config["MODEL"], **config["OPTIMIZER"]}, ["train/loss", "val/top1"])

    while not (reason := find_end(progress, settings)):
        epoch = progress.epoch
        recipe.seed_all(settings.seed, 1 + epoch)
        row = trainer.train_one_epoch(step, train_loader, schedule, progress, run_log, settings)
        if settings.histogram_interval and (epoch + 1) % settings.histogram_interval == 0:
            run_log.histograms(epoch, trainer.histogram_values(model))
        if valid_loader is not None and settings.is_validated(epoch):
            with step.scored():
                keep = functools.partial(write_scores, config, base, progress.epoch, class_names)
                row.update(trainer.validate(scorer, valid_loader, settings.average_clips, keep))
        is_best = note_epoch(row, progress, schedule, settings, texts.name_samples(config, "VALID"))
        run_log.scalars(epoch, row)
        run_log.record(progress.step, epoch, **row)
        if is_main:
            save(pack(step, progress, schedule, config, class_names), base, settings, is_best)

    run_log.close()
    logging.info(reason)
    logging.info(f"Final loss: [{row['train/loss']:.7g}]")
    logging.info(f"weights of the last epoch: {base}_model; score them: python test.py --weights {base}_model")


def write_scores(config: dict, base: str, epoch: int, class_names: list, result: dict) -> None:
    """Write the scores of a validation where RUN.save_scores asks for them."""
    if config["RUN"]["save_scores"] and distributed.rank() == 0:
        protocol = {"samples": texts.name_samples(config, "VALID"), "average_clips": config["RUN"]["average_clips"]}
        report.write_scores(f"{base}_val_{epoch + 1:05d}_scores.pkl", result, class_names, protocol)


def find_end(progress: trainer.Progress, settings: RunSettings) -> str | None:
    """Return why a run that is so far trains no further, or None."""
    if progress.epoch >= settings.epochs:
        return f"{progress.epoch} epochs are done; a larger --epoch would go on"
    return settings.find_stop(progress.history)


def pack(step, progress: trainer.Progress, schedule, config: dict, class_names: list) -> dict:
    """Return everything that a run needs to go on as if nothing had happened."""
    return {
        "model": checkpoint.model_state(step.model),
        "optimizer": checkpoint.optimizer_state(step.model, step.optimizer),
        **step.state(),
        **dataclasses.asdict(progress),
        "plateau": dict(schedule.plateau),
        "config": config,
        "class_names": class_names,
        "versions": run_card.describe_versions(),
    }


def start(config, settings, base, class_names, model, optimizer, schedule) -> tuple:
    """Load what the run goes on from (`resume`) or starts from (`pretrain`).

    Returns:
        How far the run is, and the checkpoint it goes on from, {} for a new run.
    """
    path = f"{base}_model" if settings.resume == "auto" else settings.resume
    is_found = path is not None and (settings.resume != "auto" or checkpoint.checkpoint_exists(path))
    if len(set(distributed.gather(is_found))) > 1:
        raise ValueError(f"--resume {settings.resume}: some processes find '{path}' and some do not; share the folder")
    if not is_found:
        if settings.pretrain:
            begin(settings, model)
        return trainer.Progress(), {}
    state = checkpoint.load_checkpoint(path)
    if "optimizer" not in state:
        raise ValueError(f"--resume {path}: it holds weights only; start from it with --pretrain {path}")
    recipe.compare_classes(state["class_names"], class_names, config["TRAIN"]["filelist"])
    checkpoint.restore_model(model, state["model"])
    checkpoint.restore_optimizer(model, optimizer, state["optimizer"])
    schedule.plateau.update(state["plateau"])
    texts.rename_keys(state["config"])
    for place, old, new in texts.differences(state["config"], config, SHAPING):
        logging.warning(f"--resume: {place} was {old!r} and is {new!r} now")
    logging.info(f"resume from {path}: {state['epoch']} epochs, {state['step']} updates done")
    return trainer.Progress(state["epoch"], state["step"], state["history"], state["best"]), state


def begin(settings: RunSettings, model) -> None:
    """Load the weights of `pretrain` and report what was taken, what was not, and what the model keeps."""
    weights = checkpoint.scoring_weights(checkpoint.load_checkpoint(settings.pretrain))
    ignore, allow_missing = settings.ignore_weights or [], settings.allow_missing or []
    kept = checkpoint.restore_model(model, weights, ignore, allow_missing)
    names = model.state_dict()
    left_out = [name for name in weights if name not in names or name in kept]
    logging.info(f"start from {settings.pretrain}: {len(names) - len(kept)} tensors loaded")
    for what, which in (("left out of the file", left_out), ("left as initialised", kept)):
        if which:
            logging.info(f"  {what}: {', '.join(which)}")


def note_epoch(row: dict, progress: trainer.Progress, schedule, settings, filelist: str) -> bool:
    """Count the epoch, log its line, and tell whether it is the best validated one so far."""
    epoch, key = progress.epoch, f"val/{settings.metric}"
    found = [name.removeprefix("val/") for name in row if name.startswith("val/")]
    if found and settings.metric not in found:
        raise ValueError(f"RUN.metric: {settings.metric} is none of this network's figures: {', '.join(found)}")
    is_best = key in row and (progress.best is None or settings.is_better(row[key], progress.best["value"]))
    if is_best:
        progress.best = {"metric": settings.metric, "value": row[key], "epoch": epoch, "filelist": filelist}
    if key in row:
        schedule.observe(row[key], settings.is_better)
    progress.epoch += 1
    progress.history.append({"epoch": epoch, **row})
    shown = [name for name in row if name.startswith(("train/", "val/"))]
    shown = [
        name for name in shown if not name.startswith("val/acc/") or name.endswith("_top1")
    ]  # all are in the jsonl
    told = ", ".join(f"{name} {row[name]:.4f}" for name in shown)
    best = f"; best {settings.metric} so far" if is_best else ""
    logging.info(
        f"END epoch {epoch}: {told}, {row['time/clips_per_s']:.1f} clips/s, "
        f"{logger.format_duration(row['time/epoch_s'])}{best}"
    )
    return is_best


def save(state: dict, base: str, settings: RunSettings, is_best: bool) -> None:
    """Write the checkpoints that are due; the last one comes last, since a run is resumed from it."""
    if is_best:
        checkpoint.save_checkpoint(f"{base}_best", {**state, "role": "best"})
    if settings.save_interval and state["epoch"] % settings.save_interval == 0:
        checkpoint.save_checkpoint(f"{base}_epoch_{state['epoch']:05d}", {**state, "role": "kept"})
        checkpoint.prune_checkpoints(settings.save_dir, f"{pathlib.Path(base).name}_epoch_*", settings.max_keep)
    checkpoint.save_checkpoint(f"{base}_model", {**state, "role": "last"})


if __name__ == "__main__":
    command_line.run_main(main)
