"""Train as a config text says, and add what the last epoch reaches on the VALID list to a file of trials.

    python tools/measure/try_recipe.py configs/small_skeletons.yaml --save_dir output/trials/a -o RUN.mixup_alpha=0.2

All flags but `--results` are those of train.py; only the last epoch is validated. The file has one JSON object a line,
also for a training that failed, with the text as it was then. A run whose folder is there already is not trained again.
"""

import argparse
import json
import pathlib
import shlex
import sys
import time

if not __package__:  # run as a script, from any folder: the project's modules are two folders up
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent.parent))

from common import command_line, files
from config import load_config
from tools.measure.scripts import parse_training, run_script

RESULTS = "docs/results/small_skeletons.jsonl"
NEVER = 10**6  # epochs; the last one is validated anyway


def parse_arguments(argv: list | None = None) -> argparse.Namespace:
    """Parse the command line; see `python tools/measure/try_recipe.py --help` and `parse_training`."""
    return parse_training("Train as a config text says, and write down what the last epoch reaches.", RESULTS, argv)[1]


def main(argv: list | None = None) -> int:
    """Train, and add the line."""
    args = parse_arguments(argv)
    folder = pathlib.Path(args.train.save_dir)
    if folder.exists():
        print(f"{folder} is there already: nothing to do")
        return 0
    files.make_folder(str(folder.parent))
    words = ["train.py", *args.rest]
    text = load_config(args.train.config_text)
    seed = text["RUN"].get("seed", 0) if args.train.seed is None else args.train.seed
    row = {"command": f"python {shlex.join(words)}", "seed": seed, "text": text}
    start_s = time.monotonic()
    try:
        run_script(*words, "-o", f"RUN.val_begin={NEVER}", log_file=f"{folder}.log")
        row.update(read_last_epoch(folder))
    except OSError as error:
        row["error"] = str(error)
    row["seconds"] = round(time.monotonic() - start_s)
    with open(args.results, "a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")
    print(row)
    return 1 if "error" in row else 0


def read_last_epoch(folder: pathlib.Path) -> dict:
    """Return the figures of the last epoch from the folder of a run."""
    with open(next(folder.glob("*_log.jsonl")), encoding="utf-8") as file:
        last = [row for row in map(json.loads, file) if "val/top1" in row][-1]
    names = {"epoch": "epoch", "top1": "val/top1", "loss": "val/loss", "train_top1": "train/top1"}
    return {name: round(last[key], 4) for name, key in names.items()}


if __name__ == "__main__":
    command_line.run_main(main)
