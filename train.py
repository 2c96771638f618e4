"""Train a network.

python train.py                                    # configs/resnet.txt
python train.py --use_gpu True --epoch 65
python train.py configs/resnet18_ucf101_scratch.txt -o TRAIN.batch_size=64 --resume auto
"""

from common import command_line, lifetime
from engine import flags

if __name__ == "__main__":
    command_line.start_paddle(flags.parse_train)

import argparse
import functools
import logging
import pathlib
import subprocess
import sys
import time

import recipe
from config import format_config, name_samples
from engine import agreement, distributed, evaluator, logger, onednn, resume, run_card, run_folder, trainer
from engine.charts.hyper_parameters import list_hyper_parameters, list_metrics
from engine.console import config_changes, run_end
from engine.console.first_updates import FirstUpdates
from engine.run_folder import Progress, RunFolder
from engine.run_settings import RunSettings
from inference import labelled_clips


def main(argv: list | None = None) -> int | None:
    """Run the training that the command line asks for."""
    args = flags.parse_train(argv)
    is_launcher = distributed.join_processes(args.gpus)
    with agreement.meeting():
        config, dropped = read_recipe(args)
        check_tests(args, config)
        settings = None if is_launcher else set_up(args, config, dropped)
    if is_launcher:
        ranks_dir = RunFolder(config["RUN"]["save_dir"], config["MODEL"]["name"]).ranks_dir
        words = sys.argv[1:] if argv is None else argv
        status = distributed.launch(__file__, words, args.gpus, ranks_dir, args.use_gpu)
        return status or test_weights(args, config)
    distributed.connect()
    folder = RunFolder(settings.save_dir, config["MODEL"]["name"])
    with folder.opened(settings.resume, args.overwrite):
        train(config, settings, folder, is_tested=args.test_last or args.test_best)
    # One process scores, the launcher waits for it; with --gpus the process that waits for this one does.
    return None if distributed.rank() or distributed.has_waiting_parent() else test_weights(args, config)


def set_up(args: argparse.Namespace, config: dict, dropped: list) -> RunSettings:
    """Check the settings of a run, begin its log, and choose the device; return the settings.

    Raises:
        ValueError: settings that no run can use.
    """
    settings = RunSettings(**config["RUN"])
    settings.check()
    if config["OPTIMIZER"]["schedule"] == "plateau" and not settings.validate:
        raise ValueError("OPTIMIZER.schedule=plateau follows validations; leave out --validate False, or set another")
    logger.setup_logging(settings.log_file if distributed.rank() == 0 else None)
    logger.log_to_file(args)
    logger.log_to_screen(config_changes.describe_changes(config, recipe.resolve, args.config))
    if dropped:
        logging.info(f"{args.config}: keys with no meaning any more were left out: {', '.join(dropped)}")
    recipe.choose_device(settings.use_gpu, settings.deterministic)
    return settings


def read_recipe(args: argparse.Namespace) -> tuple:
    """Return the resolved config with the flags laid over it, and the keys of 2020 that were left out."""
    given = {
        **flags.shared_settings(args, "TRAIN"),
        "RUN.epochs": args.epoch,
        "OPTIMIZER.learning_rate": args.learning_rate,
        "RUN.pretrain": args.pretrain,
        "RUN.resume": args.resume,
        "RUN.validate": args.validate,
        "RUN.seed": args.seed,
        "RUN.deterministic": args.deterministic,
        "RUN.overfit": args.overfit,
        "RUN.slim": args.slim,
    }
    return recipe.read_recipe(args.config, given, args.overrides, args.root)


def check_tests(args: argparse.Namespace, config: dict) -> None:
    """Refuse to test weights that the training will not write.

    Raises:
        ValueError: --test_best without validations.
    """
    if args.test_best and not config["RUN"]["validate"]:
        raise ValueError(
            "--test_best: no epoch is validated (RUN.validate is False), so none is the best; leave out one of the "
            "two, or score the last epoch by --test_last"
        )


def train(config: dict, settings: RunSettings, folder: RunFolder, is_tested: bool) -> None:
    """Train as a resolved config says, in a locked folder; with `is_tested`, test.py scores the TEST list then."""
    with agreement.comparing_processes() as facts:
        facts.update(agreement.describe_config(config))
        recipe.seed_all(settings.seed, 0)
        class_names, train_loader, valid_loader = open_samples(config, is_tested)
        model, optimizer, schedule, frozen = recipe.build_training(config, train_loader)
        logger.log_to_file(format_config(config))
        loaders = {"TRAIN": train_loader, "VALID": valid_loader}
        data = resume.describe_data(config, loaders)
        progress, state = start(config, settings, folder, class_names, data, model, optimizer, schedule)
        facts.update(agreement.describe_start(model, class_names, loaders, progress))

    size = (len(class_names), progress.epoch, progress.step)
    logging.info(run_card.describe_run(config, model, train_loader, valid_loader, schedule, *size))
    run_card.warn_of_data(class_names, train_loader, None if settings.overfit else valid_loader)
    end = functools.partial(end_run, time.monotonic(), folder, progress, settings, config, valid_loader or train_loader)
    if reason := run_folder.find_stop_reason(progress, settings):
        end(reason)
        return
    step = recipe.build_step(config, model, optimizer, train_loader, frozen)
    step.restore(state)
    network = onednn.OneDNNNetwork(model) if isinstance(step, onednn.OneDNNStep) else model
    if valid_loader is not None:
        with step.evaluating():
            evaluator.rehearse(model, valid_loader, settings.average_clips, settings.metric)
    if progress.step == 0:
        folder.remove_run()
    run_log = folder.open_log(progress)
    if progress.step == 0:
        run_log.hyper_parameters(list_hyper_parameters(config), list_metrics(config))
    draw = functools.partial(labelled_clips.draw_batch, class_names)
    watch, scored = FirstUpdates(run_log, draw, config["READER"]["name"], settings.epochs), {}

    while not (reason := run_folder.find_stop_reason(progress, settings)):
        if not progress.awaits_validation:
            recipe.seed_all(settings.seed, 1 + progress.epoch)
            row = trainer.train_one_epoch(step, train_loader, schedule, progress, run_log, settings, watch)
            is_validated = valid_loader is not None and settings.is_validated(progress.epoch)
            run_folder.record_training(row, progress, is_validated)
            if settings.histogram_interval and progress.epoch % settings.histogram_interval == 0:
                run_log.histograms(progress.epoch - 1, trainer.histogram_values(model))
            if progress.awaits_validation:  # which may fail, and must not cost the epoch
                if settings.overfit:
                    trainer.compute_norm_statistics(step, train_loader)
                folder.save(run_folder.make_checkpoint(step, progress, schedule, config, class_names, data))
        figures = {}
        if valid_loader is not None and progress.awaits_validation:
            with step.evaluating():
                keep = functools.partial(keep_scores, scored, config, folder, progress.epoch, class_names, data)
                figures = evaluator.validate(network, valid_loader, settings.average_clips, keep)
        names = (name_samples(config, "VALID"), len(class_names))
        is_best = run_folder.record_validation(figures, progress, schedule, settings, *names)
        run_log.means(progress.step, progress.history[-1])
        folder.save(run_folder.make_checkpoint(step, progress, schedule, config, class_names, data), settings, is_best)

    if scored and distributed.rank() == 0:
        run_log.image(progress.epoch - 1, "end/wrong", labelled_clips.draw_wrong(valid_loader, scored, class_names))
    run_log.close()
    end(reason)


def end_run(
    start_s: float, folder: RunFolder, progress: Progress, settings: RunSettings, config, loader, reason
) -> None:
    """Say how a run ended, and with RUN.slim leave weights alone of its last epoch."""
    if settings.slim:
        folder.make_last_slim()
    run_end.log_end(reason, folder, progress, config, loader, time.monotonic() - start_s)


def open_samples(config: dict, is_tested: bool) -> tuple:
    """Return the class names, and the loaders of TRAIN and VALID, of which the latter is None if RUN.validate is False.

    Args:
        is_tested: open the TEST list too, whose mistakes would otherwise be found after the training.
    """
    train_loader = recipe.open_loader(config, "TRAIN")
    class_names = recipe.resolve_class_names(config, train_loader)
    valid_loader = recipe.open_loader(config, "VALID") if config["RUN"]["validate"] else None
    if valid_loader is not None:
        recipe.compare_classes(class_names, valid_loader.class_names, config["VALID"]["filelist"])
    if is_tested:
        names = recipe.open_loader({**config, "RUN": {**config["RUN"], "overfit": 0}}, "TEST").class_names
        recipe.compare_classes(class_names, names, config["TEST"]["filelist"])
    return class_names, train_loader, valid_loader


def start(config, settings, folder, class_names, data, model, optimizer, schedule) -> tuple:
    """Load what the run goes on from (RUN.resume) or starts from (RUN.pretrain).

    Args:
        data: what it is trained on, see `resume.describe_data`.

    Returns:
        How far the run is, and the checkpoint it goes on from, {} for a new run.
    """
    path = folder.find_resume_path(settings.resume)
    if path is not None:
        progress, state = resume.load_resumed(path, config, model, optimizer, schedule, recipe.resolve, data)
        folder.check_origin(path)
        recipe.compare_classes(state["class_names"], class_names, config["TRAIN"]["filelist"])
        return progress, state
    if settings.pretrain:
        resume.load_pretrained(settings, model, config, class_names)
    return Progress(), {}


def keep_scores(
    scored: dict, config: dict, folder: RunFolder, epochs_done: int, class_names: list, data: dict, result: dict
) -> None:
    """Keep the scores of the last validation in `scored`; write them where RUN.save_scores asks for them."""
    scored.update(result)
    if config["RUN"]["save_scores"]:
        protocol = {"samples": name_samples(config, "VALID"), "average_clips": config["RUN"]["average_clips"]}
        folder.save_scores(epochs_done, result, class_names, {**protocol, "trained_on": data["TRAIN"]})


def test_weights(args: argparse.Namespace, config: dict) -> int:
    """Run test.py on the weights that --test_last and --test_best ask for; return its exit status.

    A finished run trains no further, and its checkpoints have the config of then: the list and the split of today are
    passed on, and what --root and -o say of the samples.
    """
    folder = RunFolder(config["RUN"]["save_dir"], config["MODEL"]["name"])
    split = {**config["READER"], **config["TEST"]}.get("split")
    samples = ["--filelist", config["TEST"]["filelist"], *(["-o", f"TEST.split={split!r}"] if split else [])]
    use_gpu = [] if args.use_gpu is None else ["--use_gpu", str(args.use_gpu)]
    root = [] if args.root is None else ["--root", args.root]
    sections = ("READER", "VALID", "TEST")
    given = [word for word in args.overrides if word.strip().split(".")[0].upper() in sections]
    overrides = [argument for word in given for argument in ("-o", word)]
    for is_wanted, weights in ((args.test_last, folder.last), (args.test_best, folder.best)):
        if is_wanted:
            script = str(pathlib.Path(__file__).with_name("test.py"))
            gpus = [] if args.gpus is None or distributed.is_launched() else ["--gpus", str(args.gpus)]
            argv = ["--weights", weights, *gpus, *use_gpu, *samples, *root, *overrides]
            command = lifetime.tie([sys.executable, script, *argv])
            status = subprocess.run(command, env=distributed.alone(), check=False).returncode
            if status:
                return status
    return 0


if __name__ == "__main__":
    command_line.run_main(main)
