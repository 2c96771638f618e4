"""Score a trained network on a list.

python test.py --weights checkpoints_models/resnet_model --use_gpu True
python test.py checkpoints_models/resnet_best --num_clips 10 --crops three --out result.json
python test.py checkpoints_models/resnet_best --features features.npz
python test.py configs/resnet.txt checkpoints_models/resnet_model --eval top_k_accuracy --average-clips prob
"""

from common import command_line
from engine import flags

if __name__ == "__main__":
    command_line.start_paddle(flags.parse_test)

import argparse
import copy
import logging
import os
import sys

import numpy as np

import recipe
from common.messages import wrap
from common.output_lock import only_maker
from common.pictures import write_png
from config import format_config, name_samples
from dataset import records
from engine import agreement, checkpoint, distributed, evaluator, logger, metrics, onednn, report, resume
from engine.console import config_changes
from engine.console.text import format_percent
from engine.run_settings import RunSettings
from inference import labelled_clips, submission
from inference.report import evaluation
from models import build_model
from models.parts.features import FEATURES, FeatureNetwork
from reader import modalities

MIN_PREDICTED_BATCHES = 30  # of a list; fewer are scored sooner than Paddle Inference starts


def main(argv: list | None = None) -> int | None:
    """Score the list that the command line asks for."""
    args = flags.parse_test(argv)
    if distributed.join_processes(args.gpus):
        folder = args.save_dir or os.path.dirname(args.weights) or "."
        words = sys.argv[1:] if argv is None else argv
        return distributed.launch(__file__, words, args.gpus, f"{folder}/ranks", args.use_gpu)
    with agreement.meeting():
        state, config, settings = set_up(args)
    distributed.connect()

    with agreement.comparing_processes() as facts:
        facts.update(agreement.describe_config(config))
        loader = recipe.open_loader(config, "TEST")
        class_names = state.get("class_names") or loader.class_names or []
        recipe.compare_classes(class_names, loader.class_names, config["TEST"]["filelist"])
        if "num_classes" not in config["MODEL"]:  # a --config that leaves it to the list
            if not class_names and "config" not in state:
                named = f"'{args.weights}' nor {config['TEST']['filelist']}"
                raise ValueError(f"neither {named} names classes; set -o MODEL.num_classes=N")
            config["MODEL"]["num_classes"] = state.get("config", config)["MODEL"].get("num_classes", len(class_names))
        model = build_model(**config["MODEL"])
        model.check_inputs(list(loader.input_shape))
        checkpoint.restore_model(model, checkpoint.scoring_weights(state))
        facts.update(agreement.describe_start(model, class_names, {"TEST": loader}))
    scored = FeatureNetwork(model) if args.features else model
    scorer = onednn.OneDNNPredictor if len(loader) >= MIN_PREDICTED_BATCHES else onednn.OneDNNNetwork
    network = recipe.use_onednn_where_possible(scored, config, scorer)
    features = FEATURES if args.features else None
    intervals = settings.log_interval, evaluator.QUIET_S
    result = evaluator.evaluate(network, loader, settings.average_clips, *intervals, features)
    if distributed.rank():  # rank 0 has the scores of all processes, and reports them
        return
    report_result(args, config, state, loader, model, result, class_names)


def set_up(args: argparse.Namespace) -> tuple:
    """Read the checkpoint and its config, begin the log, and choose the device.

    Returns:
        The checkpoint, the resolved config, and its settings.

    Raises:
        ValueError: names of outputs that cannot be, or that would replace what is scored.
    """
    if args.out and not args.out.endswith((".json", ".pkl", ".csv")):
        raise ValueError(f"--out {args.out}: expected a name that ends in .json, .pkl or .csv")
    if args.features and not args.features.endswith(".npz"):
        raise ValueError(f"--features {args.features}: expected a name that ends in .npz")
    if args.infer_topk < 1:
        raise ValueError(f"--infer_topk {args.infer_topk}: expected 1 or more")
    state = checkpoint.load_checkpoint(args.weights)
    trained = copy.deepcopy(state.get("config", {}))
    config = read_config(args, state)
    settings = RunSettings(**config["RUN"])
    if args.out and os.path.realpath(args.out) == os.path.realpath(config["TEST"]["filelist"]):
        raise ValueError(f"--out {args.out} is what is scored, and would be lost; choose another name")
    if args.out and os.path.realpath(args.out) in map(os.path.realpath, list_own_files(args)):
        raise ValueError(f"--out {args.out} is the name of another file that is written; choose another name")
    logger.setup_logging(settings.log_file if distributed.rank() == 0 else None)
    logger.log_to_file(args)
    logger.log_to_file(format_config(config))
    shown = (args.config or args.weights, ("MODEL", "READER", "TEST"))
    logger.log_to_screen(config_changes.describe_changes(config, recipe.resolve, *shown))
    for change in resume.find_other_inputs(trained, config):
        logging.warning(f"{args.weights}: {change}; the weights were trained on other inputs")
    recipe.choose_device(settings.use_gpu, settings.deterministic)
    return state, config, settings


def report_result(args, config: dict, state: dict, loader, model, result: dict, class_names: list) -> None:
    """Print and write the figures of a scored list; of samples without labels their scores alone."""
    num_outputs = result["scores"].shape[1]
    class_names = [*class_names, *(str(label) for label in range(len(class_names), num_outputs))]

    if args.features:
        report.write_features(args.features, result, class_names)
        logging.info(f"written: {args.features}, {result['features'].shape[1]} features of each sample")
    summary = summarize(args, config, state, loader, result, evaluator.summarize(model, result))
    trained_on = summary["protocol"].get("trained_on", {})
    if trained_on.get("digest") == resume.describe_data(config, {"TEST": loader})["TEST"]["digest"]:
        logging.warning(f"OPTIMISTIC: the weights were trained on what is scored: {resume.format_data(trained_on)}")
    confusion = None
    if result["labels"] is None:
        what = name_samples_scored(summary)
        logging.info(f"{summary['num_samples']} {what} scored ({summary['samples']}); they have no labels: no accuracy")
        logging.info(f"weights: {summary['weights']}: {summary['chosen']}")
    else:
        confusion = metrics.confusion_matrix(result["scores"].argmax(axis=1), result["labels"], num_outputs)
        log_summary(args, summary, confusion, class_names)
    write_results(args, config, state, loader, model, summary, result, confusion, class_names)
    if confusion is None:
        return
    logging.info("the accuracy of that list once more, from 0 to 1, by the name that it has in older logs:")
    logging.info(f"验证集准确率为:{summary['top1']}")


def read_config(args: argparse.Namespace, state: dict) -> dict:
    """Return the resolved config: of `--config` if given, else of the checkpoint, with the flags laid over it."""
    given = {
        **flags.shared_settings(args, "TEST"),
        "TEST.filelist": args.filelist,
        "TEST.num_clips": args.num_clips,
        "TEST.crops": args.crops,
        "TEST.flip": args.flip,
        "RUN.average_clips": args.average_clips,
        "RUN.log_interval": args.log_interval,
        "RUN.overfit": 0,
    }
    if args.config:
        return recipe.read_recipe(args.config, given, args.overrides, args.root)[0]
    if "config" not in state:
        raise ValueError(f"'{args.weights}' holds weights only; name the config they were trained with: --config FILE")
    recipe.adopt_config(state["config"])
    return recipe.resolve(recipe.override(state["config"], given, args.overrides, args.root), args.weights)


def summarize(args: argparse.Namespace, config: dict, state: dict, loader, result: dict, figures: dict) -> dict:
    """Return every figure of the result, where its weights come from, and how it was scored."""
    section = {**config["READER"], **config["TEST"]}
    protocol = ("filelist", "split", "stream", "protocol", "num_clips", "crops", "flip", "scales", "num_segments")
    protocol += ("clip_len", "rgb_clip_len", "frame_interval", "test_clips")
    trained_on = {"trained_on": state["data"]["TRAIN"]} if "TRAIN" in state.get("data", {}) else {}
    majority = {}
    if result["labels"] is not None:
        top = metrics.top_k_accuracy(result["scores"], result["labels"], args.infer_topk)
        figures = {**figures, f"top{args.infer_topk}": top, "loss": result["loss"]}
        majority = {"majority": metrics.majority_level(result["labels"])}
    return {
        **figures,
        "num_samples": len(result["names"]),
        "official_size": records.read_official_size(section["filelist"]),
        "chance": 1 / len(loader.class_names or result["scores"][0]),
        **majority,
        "weights": args.weights,
        "chosen": describe_choice(args.weights, state, name_samples(config, "TEST")),
        "samples": name_samples(config, "TEST"),
        "protocol": {
            **{key: section[key] for key in protocol if key in section},
            **{key: section[key] for key in modalities.KEYS if section.get("modality", "rgb") != "rgb"},
            "average_clips": config["RUN"]["average_clips"],
            **trained_on,
        },
    }


def describe_choice(weights: str, state: dict, filelist: str) -> str:
    """Return which epoch the weights are of and which list chose it, with the best and the last epoch side by side."""
    if "history" not in state:
        return "weights without a history: which list chose them is not known"
    epoch, best, history, is_best = state["epoch"] - 1, state["best"], state["history"], state.get("role") == "best"
    if best is None:
        return f"epoch {epoch}, no list chose it"
    last_path = weights.removesuffix(checkpoint.SUFFIX).removesuffix("_best") + "_model"
    if is_best and checkpoint.checkpoint_exists(last_path):
        history = checkpoint.load_checkpoint(last_path)["history"]  # how the run went on after its best epoch
    value = history[-1].get(f"val/{best['metric']}")
    last = f"last epoch {history[-1]['epoch']}: {'not validated' if value is None else f'{value:.4f}'}"
    chosen = f"best {best['metric']} {best['value']:.4f} in epoch {best['epoch']} on {best['filelist']}"
    if os.path.abspath(best["filelist"]) == os.path.abspath(filelist):
        chosen += " (OPTIMISTIC: the list that is scored chose it)"
    return f"epoch {epoch}, {chosen}; {last}" if is_best else f"epoch {epoch}, no list chose it; {chosen}; {last}"


def log_summary(args: argparse.Namespace, summary: dict, confusion: np.ndarray, class_names: list) -> None:
    """Log the figures."""
    figures = []
    if "top_k_accuracy" in args.eval:
        ks = sorted({1, args.infer_topk, *([5] if len(class_names) > 5 else [])})
        figures += [f"top-{min(k, len(class_names))} {format_percent(summary[f'top{k}'])}" for k in ks]
    if "mean_class_accuracy" in args.eval:
        figures.append(f"mean class accuracy {format_percent(summary['mean_class_accuracy'])}")
    logging.info(", ".join(figures))
    answers = [f"{name} {format_percent(value)}" for name, value in summary.items() if name.startswith("acc/")]
    if answers:
        logging.info(wrap(", ".join(answers)))
    official = summary["official_size"]
    of = "" if official in (None, summary["num_samples"]) else f" of the {official} that the official list names"
    what = name_samples_scored(summary)
    logging.info(
        wrap(
            f"{summary['num_samples']} {what} scored{of} ({summary['samples']}); chance "
            f"{format_percent(summary['chance'])}, always the largest class {format_percent(summary['majority'])}"
        )
    )
    logging.info(wrap(f"weights: {summary['weights']}: {summary['chosen']}"))
    for label, guess, count in metrics.worst_pairs(confusion):
        logging.info(f"  {class_names[label]} taken for {class_names[guess]}: {count} of {confusion[label].sum()}")
    if summary["top1"] <= 1.5 * summary["chance"] and summary["num_samples"] > 30:
        logging.warning("this is about chance: were the samples and their labels made by one run of the data scripts?")


def name_samples_scored(summary: dict) -> str:
    """Return what the samples are: recordings of skeletons, or videos."""
    return "recordings" if "stream" in summary["protocol"] else "videos"


def write_results(
    args: argparse.Namespace,
    config: dict,
    state: dict,
    loader,
    model,
    summary: dict,
    result: dict,
    confusion: np.ndarray | None,
    class_names: list,
) -> None:
    """Write scores and what is made of them, `--out`, and the report; of samples without labels no `confusion`."""
    save_dir, base = name_outputs(args)
    with only_maker(base, "--save_dir", wait=True):  # the files beside each other are of one run
        if confusion is None:
            submission.remove_figures(base)
            report.write_scores(f"{base}_scores.pkl", result, class_names, summary["protocol"])
            logging.info(f"written: {base}_scores.pkl")
            path = os.path.join(save_dir, submission.NAME)
            submission.write_submission(path, result, class_names, summary["protocol"])
        else:
            write_files(base, state, loader, summary, result, confusion, class_names)
        if args.out:
            report.write_result(args.out, result, class_names, summary, args.infer_topk)
            logging.info(f"written: {args.out}")
        if args.report:
            changes = config_changes.list_changes(config, recipe.resolve, args.weights)
            explained = model if args.explain else None
            described = (config, changes, state, loader, summary, result, class_names, explained)
            evaluation.write_report(base, evaluation.describe_test(*described))


def name_outputs(args: argparse.Namespace) -> tuple[str, str]:
    """Return the folder of what is written, and the path of each file up to where their names differ."""
    save_dir = args.save_dir or os.path.dirname(args.weights) or "."
    return save_dir, os.path.join(save_dir, os.path.basename(args.weights).removesuffix(checkpoint.SUFFIX) + "_test")


def list_own_files(args: argparse.Namespace) -> list[str]:
    """Return the files that are written without `--out` and could be meant by it."""
    save_dir, base = name_outputs(args)
    ends = ("_scores.pkl", "_classes.csv", "_wrong.csv")
    return [*(base + end for end in ends), os.path.join(save_dir, submission.NAME)]


def write_files(
    base: str, state: dict, loader, summary: dict, result: dict, confusion: np.ndarray, class_names: list
) -> None:
    """Write the per-class csv, the wrong samples, confusion picture, score file and VisualDL of samples with labels.

    `base` is the path of each up to where their names differ.
    """
    if other := report.find_other_protocol(f"{base}_scores.pkl", summary["protocol"]):
        logging.warning(f"{base}_scores.pkl, of {other}, and the files beside it are replaced; --save_dir keeps both")
    report.write_per_class(f"{base}_classes.csv", confusion, class_names)
    report.write_wrong_samples(f"{base}_wrong.csv", result, class_names, loader.find_file)
    report.write_scores(f"{base}_scores.pkl", result, class_names, summary["protocol"])
    picture = report.draw_confusion(confusion, class_names)
    write_png(picture, f"{base}_confusion.png")
    logging.info(f"written: {base}_classes.csv, _wrong.csv, _scores.pkl, _confusion.png")
    run_log = logger.RunLog(f"{base}.jsonl", os.path.join(os.path.dirname(base), "vdl"), None)
    epoch = state.get("epoch", 1) - 1
    names = ["top1", "top5", "mean_class_accuracy", "loss", *(name for name in summary if name.startswith("acc/"))]
    figures = {f"test/{name}": summary[name] for name in names}
    run_log.record(state.get("step", 0), epoch, **figures)
    run_log.scalars(epoch, figures)
    run_log.image(epoch, "test/confusion", picture)
    run_log.image(epoch, "test/wrong", labelled_clips.draw_wrong(loader, result, class_names))
    if "features" in result:
        columns = {"class": [class_names[label] for label in result["labels"]], "name": result["names"]}
        run_log.embeddings("test/features", result["features"], columns)
    run_log.text(epoch, "test/classes", report.format_per_class(confusion, class_names))
    run_log.close()


if __name__ == "__main__":
    command_line.run_main(main)
