"""Train and test as a config text says, and add the result, with the commands that made it, to a file of results.

    python tools/measure_recipe.py configs/quickstart.txt --root data/samples --save_dir output/measured/quickstart

All flags but `--results` are those of train.py. A run that was stopped continues with the same command, and a finished
one is tested again. The file has one JSON object a line; a line with the same commands is replaced. README.md and
MODEL_ZOO.md take the figures measured here from the files in docs/results/.
"""

import argparse
import json
import os
import pathlib
import platform
import shlex
import sys

if not __package__:  # run as a script, from any folder: the project's modules are one folder up
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from common import command_line, files
from tools.measure.scripts import parse_training, run_script

RESULTS = "docs/results/measured.jsonl"


def parse_arguments(argv: list | None = None) -> argparse.Namespace:
    """Parse the command line; see `python tools/measure_recipe.py --help` and `parse_training`."""
    words = "Train and test as a config text says, and write down what came out."
    parser, args = parse_training(words, RESULTS, argv)
    if args.train.resume or args.train.overfit:
        parser.error("leave out --resume, a stopped run continues anyway, and --overfit, whose figure says nothing")
    return args


def main(argv: list | None = None) -> int:
    """Train, test, and write the line."""
    args = parse_arguments(argv)
    save_dir = args.train.save_dir
    train = ["train.py", *args.rest]
    run_script(*train, "--resume", "auto", log_file=_make_log(save_dir, "train"))
    weights, log = _find_run(save_dir)
    test = ["test.py", "--weights", weights, "--out", f"{save_dir}/result.json"]
    run_script(*test, log_file=_make_log(save_dir, "test"))
    row = describe(save_dir, log, weights, [f"python {shlex.join(words)}" for words in (train, test)])
    write_row(args.results, row)
    print(
        f"{args.train.config_text}: top-1 {100 * row['top1']:.1f}% of {row['num_samples']}, written to {args.results}"
    )
    return 0


def _make_log(save_dir: str, name: str) -> str:
    """Return the file for what a script prints, beside the folder of its run, which has to be empty at first."""
    files.make_folder(os.path.dirname(save_dir) or ".")
    return f"{save_dir.rstrip('/')}_{name}.log"


def _find_run(save_dir: str) -> tuple[str, str]:
    """Return the last epoch's weights in the folder of a run, without suffix, and the run's log."""
    weights = next(pathlib.Path(save_dir).glob("*_model.pdparams"))
    return str(weights.with_suffix("")), str(weights).replace("_model.pdparams", "_log.jsonl")


def describe(save_dir: str, log: str, weights: str, commands: list[str]) -> dict:
    """Return the line of a run that was trained and tested.

    Args:
        save_dir: the folder of the run, with the result.json of test.py.
        log: the run's log, one JSON object a line.
        weights: path of the weights that were tested.
        commands: what was typed.
    """
    import paddle  # takes seconds, which --help need not

    from engine import checkpoint

    with open(f"{save_dir}/result.json", encoding="utf-8") as file:
        summary = json.load(file)["summary"]
    with open(log, encoding="utf-8") as file:
        epochs = {row["epoch"]: row["time/epoch_s"] for row in map(json.loads, file) if "time/epoch_s" in row}
    figures = ("top1", "top5", "mean_class_accuracy", "num_samples", "chance", "majority", "samples", "chosen")
    return {
        "commands": commands,
        "seed": checkpoint.load_checkpoint(weights)["config"]["RUN"]["seed"],
        "epochs": len(epochs),
        "train_s": round(sum(epochs.values())),
        **{name: summary[name] for name in figures},
        **{name: value for name, value in summary.items() if name.startswith("acc/") and name.endswith("_top1")},
        "protocol": summary["protocol"],
        "paddle": paddle.__version__,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, "
        f"{'GPU' if paddle.device.get_device().startswith('gpu') else 'CPU'}",
    }


def write_row(path: str, row: dict) -> None:
    """Add a row to a file of results; a row with the same commands is replaced where it stands."""
    rows = []
    if os.path.exists(path):
        with open(path, encoding="utf-8") as file:
            rows = [json.loads(line) for line in file if line.strip()]
    commands = [other["commands"] for other in rows]
    if row["commands"] in commands:
        rows[commands.index(row["commands"])] = row
    else:
        rows.append(row)
    with files.write_atomically(path, "w") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


if __name__ == "__main__":
    command_line.run_main(main)
