"""Ablation of the training plan for NTU RGB+D 60 on sample data: train and test each of its switches separately.

    python tools/make_samples.py --root data/samples
    python tools/ablation.py --save_dir output/ablation
    python tools/ablation.py --only flip label_smoothing --seeds 1 --epochs 4 --save_dir output/short

The base is `configs/pcan_samples.txt`. A switch of the training is trained with each seed; a switch of the test scores
the base again. Each run has a folder below `--save_dir`, with the output of its script in `said.txt`; the same command
continues an interrupted ablation and repeats no run. The change of a seed is against the base of the same seed, in
points of `acc/RGBPose_1:1_top1` after the last epoch.
"""

import argparse
import dataclasses
import json
import pathlib
import statistics
import sys
import time
from collections.abc import Callable

if not __package__:  # run as a script, from any folder: the project's modules are one folder up
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

import ensemble
from common import command_line, files
from config import load_config, parse_overrides
from tools.measure import tables
from tools.measure.scripts import ROOT, run_script

BASE = "configs/pcan_samples.txt"
EPOCHS = 12  # from scratch; the config has those of a fine-tuning
METRIC = "acc/RGBPose_1:1_top1"


@dataclasses.dataclass(frozen=True)
class Switch:
    """Difference from the base.

    Attributes:
        estimate: points that the plan expects on NTU RGB+D 60.
        train: overrides of the training.
        times_epochs: factor of the number of epochs.
        test: overrides of the test; the weights are those of the base.
        members: (switch, offset of the seed) of each network whose scores are fused.
    """

    estimate: str = ""
    train: tuple = ()
    times_epochs: int = 1
    test: tuple = ()
    members: tuple = ()


SWITCHES = {  # picture and batch sizes are scaled from the plan's as those of the base are
    "epochs": Switch("+2 to +3", times_epochs=2),
    "augmentation": Switch(
        "+1 to +2",
        train=(
            "TRAIN.crop_area=[0.4,1.0]",
            "TRAIN.color_jitter=[0.4,0.4,0.4,0.15]",
            "TRAIN.erasing_ratio=0.25",
            "TRAIN.erasing_area=[0.02,0.2]",
        ),
    ),
    "loss_weights": Switch("+0.5 to +1", train=("MODEL.loss_weights=[1.0,1.5,0.6,1.2]",)),
    "label_smoothing": Switch("+0.5 to +1", train=("RUN.label_smoothing=0.1",)),
    "batch": Switch("+0.3 to +0.5", train=("TRAIN.batch_size=10", "OPTIMIZER.base_batch_size=8")),
    "mixing": Switch("+1 to +2", train=("RUN.mixup_alpha=0.2", "RUN.cutmix_alpha=1.0", "RUN.mix_ratio=0.5")),
    "ten_clips": Switch("+1 to +1.5", test=("TEST.num_clips=10",)),
    "flip": Switch("+0.5 to +1", test=("TEST.flip=True",)),
    "scales": Switch("not given", test=("TEST.scales=[56,64,72]",)),
    "ensemble": Switch("+1 to +2", members=(("base", 0), ("base", 1), ("augmentation", 0))),
}
MEMBER_WEIGHTS = ("0.4", "0.3", "0.3")


def parse_arguments(argv: list | None = None) -> argparse.Namespace:
    """Parse the command line; see `python tools/ablation.py --help`."""
    parser = command_line.CommandLine("Measure each switch of the plan for NTU RGB+D 60 on sample data.")
    parser.add_argument("--save_dir", default="output/ablation", help="parent of the folders of the runs")
    parser.add_argument("--only", nargs="+", choices=list(SWITCHES), default=list(SWITCHES), help="switches")
    parser.add_argument("--seeds", type=int, default=3, help="number of seeds, from 0")
    parser.add_argument("--epochs", type=int, help=f"epochs of the base, from scratch; default: {EPOCHS}")
    parser.add_argument("-o", dest="overrides", action="append", default=[], help="SECTION.key=value for all runs")
    args = parser.parse_args(argv)
    if args.seeds < 1 or (args.epochs is not None and args.epochs < 1):
        parser.error("--seeds and --epochs take numbers from 1")
    return args


def main(argv: list | None = None) -> int:
    """Make the missing runs, then print the table; return exit status 1 if a switch failed."""
    args = parse_arguments(argv)
    runs = Runs(args.save_dir, args.overrides, args.epochs, args.seeds)
    seeds = range(args.seeds)
    base = [runs.measure("base", seed) for seed in seeds]
    accuracies, has_failed = {}, False
    for name in args.only:
        try:
            accuracies[name] = [runs.measure(name, seed) for seed in seeds]
        except OSError as error:  # the others may succeed
            print(f"FAILED: {error}", flush=True)
            accuracies[name], has_failed = None, True
    text = format_table(base, accuracies) + "\n\n" + describe(runs, args.seeds)
    print(f"\n{text}")
    with files.write_atomically(runs.folder / "table.md", "w") as file:
        file.write(text + "\n")
    return 1 if has_failed else 0


class Runs:
    """Runs of an ablation, each made once, in `folder`/<switch>/seed<number>.

    Args:
        folder: parent of their folders.
        overrides: `SECTION.key=value` for all of them.
        epochs: epochs of the base; None: `EPOCHS`, unless overridden.
        num_seeds: number of seeds.
    """

    def __init__(self, folder: str, overrides: list, epochs: int | None, num_seeds: int):
        self.folder, self.overrides, self.num_seeds = pathlib.Path(folder), overrides, num_seeds
        self.base_text = (ROOT / BASE).read_text(encoding="utf-8")
        config, given = load_config(str(ROOT / BASE)), parse_overrides(overrides)
        self.model = {**config["MODEL"], **given.get("MODEL", {})}["name"]
        self.epochs = epochs or given.get("RUN", {}).get("epochs", EPOCHS)

    def measure(self, name: str, seed: int) -> float:
        """Return the accuracy of a switch or of "base" with a seed, from 0 to 1.

        Raises:
            OSError: a script failed.
            ValueError: the folder has a run of another command.
        """
        switch = SWITCHES.get(name, Switch())
        if switch.test:
            return self.test(name, seed, switch)
        return self.fuse(name, seed, switch) if switch.members else self.train(name, seed, switch)

    def train(self, name: str, seed: int, switch: Switch) -> float:
        """Train a network; return the accuracy after the last epoch."""
        folder, epochs = self.find_folder(name, seed), self.epochs * switch.times_epochs
        overrides = (f"RUN.epochs={epochs}", f"RUN.seed={seed}", "RUN.save_scores=True", *switch.train)
        argv = [ROOT / BASE, "--save_dir", folder, "--resume", "auto", *self.list_overrides(folder, overrides)]
        return self.run(name, seed, "train.py", argv, lambda: read_last(folder / f"{self.model}_log.jsonl", epochs))

    def test(self, name: str, seed: int, switch: Switch) -> float:
        """Score the network of the base by another protocol."""
        self.measure("base", seed)
        folder, weights = self.find_folder(name, seed), self.find_folder("base", seed) / f"{self.model}_model"
        argv = ["--weights", weights, "--save_dir", folder, "--out", folder / "result.json"]
        argv += self.list_overrides(folder, switch.test)
        return self.run(name, seed, "test.py", argv, lambda: read_result(folder / "result.json"))

    def fuse(self, name: str, seed: int, switch: Switch) -> float:
        """Fuse the scores of several networks; the seed after the last one is the first one, or a second one."""
        scores = []
        for member, offset in switch.members:
            member_seed = (seed + offset) % max(self.num_seeds, 2)
            self.measure(member, member_seed)
            scores.append(self.find_scores(member, member_seed))
        folder = self.find_folder(name, seed)
        argv = [*scores, "--weights", *MEMBER_WEIGHTS, "--out", folder / "result.json"]
        return self.run(name, seed, "ensemble.py", argv, lambda: read_result(folder / "result.json"))

    def run(self, name: str, seed: int, script: str, argv: list, read_accuracy: Callable) -> float:
        """Run a script, unless that was done before; return what `read_accuracy()` reads from its files."""
        folder, argv = self.find_folder(name, seed), list(map(str, argv))
        command, start_s = {"base": self.base_text, "script": script, "words": argv}, time.monotonic()
        accuracy = read_record(folder / "run.json", command)
        if accuracy is None:
            write_record(folder / "run.json", command, None)
            try:
                run_script(script, *argv, log_file=folder / "said.txt")
            except OSError as error:
                raise OSError(f"{name}, seed {seed}: {error}") from error
            accuracy = read_accuracy()
            write_record(folder / "run.json", command, accuracy)
            print(f"{name}, seed {seed}: {100 * accuracy:.2f} %, {time.monotonic() - start_s:.0f} s", flush=True)
        return accuracy

    def list_overrides(self, folder: pathlib.Path, overrides: tuple) -> list:
        """Return the `-o` flags of a run: those for all runs, then its own."""
        log_file = f"RUN.log_file={folder / 'logger.log'}"
        return [word for override in (*self.overrides, log_file, *overrides) for word in ("-o", override)]

    def find_folder(self, name: str, seed: int) -> pathlib.Path:
        """Return the folder of a run."""
        return self.folder / name / f"seed{seed}"

    def find_scores(self, name: str, seed: int) -> pathlib.Path:
        """Return the score file of the last epoch of a training that is as long as the base's."""
        return self.find_folder(name, seed) / f"{self.model}_val_{self.epochs:05d}_scores.pkl"


def read_record(path: pathlib.Path, command: dict) -> float | None:
    """Return the accuracy in the record of a run, None if the run has not ended.

    Raises:
        ValueError: the record is of another command.
    """
    if not path.exists():
        return None
    record = json.loads(path.read_text(encoding="utf-8"))
    if record["asked"] != command:
        raise ValueError(
            f"'{path.parent}' has a run that was started with other flags or another {BASE}; choose another "
            "--save_dir, or delete that folder"
        )
    return record["accuracy"]


def write_record(path: pathlib.Path, command: dict, accuracy: float | None) -> None:
    """Write the record of a run, which `read_record` reads."""
    with files.write_atomically(path, "w") as file:
        json.dump({"asked": command, "accuracy": accuracy}, file, ensure_ascii=False, indent=1)


def read_last(path: pathlib.Path, epochs: int) -> float:
    """Read the accuracy after the last epoch from the log of a training.

    Raises:
        ValueError: the log does not have it.
    """
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    accuracies = [row[f"val/{METRIC}"] for row in rows if f"val/{METRIC}" in row and row["epoch"] == epochs - 1]
    if not accuracies:
        raise ValueError(f"'{path}' has no {METRIC} of epoch {epochs - 1}; leave RUN.validate as it is")
    return accuracies[-1]


def read_result(path: pathlib.Path) -> float:
    """Read the accuracy from a result file of test.py or ensemble.py; both fuse RGB and pose by 1:1."""
    return json.loads(path.read_text(encoding="utf-8"))["summary"]["top1"]


def format_table(base: list, accuracies: dict) -> str:
    """Format the Markdown table.

    Args:
        base: accuracy of each seed, from 0 to 1.
        accuracies: switch -> the same; None if it failed.
    """
    rows = [["switch", "the plan's estimate", "measured change", "accuracy, %"], ["base", "", "", format_percent(base)]]
    for name, values in accuracies.items():
        cells = ["failed", "failed"]
        if values is not None:
            changes = [value - other for value, other in zip(values, base, strict=True)]
            cells = [format_percent(changes, "+"), format_percent(values)]
        rows.append([name, SWITCHES[name].estimate, *cells])
    return tables.format_table(rows)


def format_percent(fractions: list, sign: str = "") -> str:
    """Format the mean of fractions in percent, with the lowest and the highest, such as `+0.34 (-1.01 to +1.01)`."""
    return tables.format_spread([100 * fraction for fraction in fractions], 2, sign, statistics.mean)


def describe(runs: Runs, num_seeds: int) -> str:
    """Describe how the figures of the table were measured, and their limits."""
    num_samples = len(ensemble.read_scores(str(runs.find_scores("base", 0))).names)
    return (
        f"{METRIC} after the last of {runs.epochs} epochs (`epochs`: twice as many), mean over "
        f"{num_seeds} seed{'s' * (num_seeds > 1)} (lowest to highest); "
        "changes in points against the base of the same seed.\n"
        f"This is sample data: {num_samples} clips of a drawn figure, of which one is {100 / num_samples:.2f} points. "
        "It shows the effect of a switch there, not on NTU RGB+D 60, for which the plan is."
    )


if __name__ == "__main__":
    command_line.run_main(main)
