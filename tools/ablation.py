"""Measure the switches of the plan for NTU RGB+D 60 one by one, on sample data: what each changes, and what was hoped.

    python tools/make_samples.py --root data/samples
    python tools/ablation.py --save_dir output/ablation
    python tools/ablation.py --only flip label_smoothing --seeds 1 --epochs 4 --save_dir output/short

The base is `configs/pcan_samples.txt`. A switch of training is trained with each seed, one of the test scores the
base again. Each run is a folder below `--save_dir`, with all that its script said in `said.txt`; the same command goes
on where it was stopped and repeats nothing. A seed's change is against the base of the same seed, in points of
`acc/RGBPose_1:1_top1` after the last epoch.
"""

import argparse
import dataclasses
import json
import pathlib
import statistics
import subprocess
import sys
import time

if not __package__:  # run as a script, from any folder: the project's modules are one folder up
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

import config as texts
import ensemble
from common import command_line, files

ROOT = pathlib.Path(__file__).resolve().parent.parent
BASE = "configs/pcan_samples.txt"
EPOCHS = 12  # from scratch; those of the text are after a start
FIGURE = "acc/RGBPose_1:1_top1"


@dataclasses.dataclass(frozen=True)
class Switch:
    """What differs from the base.

    Attributes:
        estimate: points that the plan hopes for, on NTU RGB+D 60.
        train: overrides of the training.
        times_epochs: the training is so many times as long.
        test: overrides of the test of what the base trained.
        members: (switch, how many seeds later) of each network whose scores are fused.
    """

    estimate: str = ""
    train: tuple = ()
    times_epochs: int = 1
    test: tuple = ()
    members: tuple = ()


SWITCHES = {  # sizes of pictures and batches stand to those of the base as in the plan
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


def parse_arguments(words: list | None = None) -> argparse.Namespace:
    """Parse the command line; see `python tools/ablation.py --help`."""
    parser = command_line.CommandLine("Measure the switches of the plan for NTU RGB+D 60 one by one, on sample data.")
    parser.add_argument("--save_dir", default="output/ablation", help="folder of the runs' folders")
    parser.add_argument("--only", nargs="+", choices=list(SWITCHES), default=list(SWITCHES), help="switches")
    parser.add_argument("--seeds", type=int, default=3, help="how many, from 0")
    parser.add_argument("--epochs", type=int, help=f"of the base, from scratch; default: {EPOCHS}")
    parser.add_argument("-o", dest="override", action="append", default=[], help="SECTION.key=value of all runs")
    args = parser.parse_args(words)
    if args.seeds < 1 or (args.epochs is not None and args.epochs < 1):
        parser.error("--seeds and --epochs take numbers from 1")
    return args


def main(words: list | None = None) -> int:
    """Run what is missing, then tell what was measured; the exit status is 1 if a switch failed."""
    args = parse_arguments(words)
    runs = Runs(args.save_dir, args.override, args.epochs, args.seeds)
    seeds = range(args.seeds)
    base = [runs.measure("base", seed) for seed in seeds]
    found, has_failed = {}, False
    for name in args.only:
        try:
            found[name] = [runs.measure(name, seed) for seed in seeds]
        except OSError as error:  # the others may go well
            print(f"FAILED: {error}", flush=True)
            found[name], has_failed = None, True
    text = format_table(base, found) + "\n\n" + describe(runs, args.seeds)
    print(f"\n{text}")
    with files.write_atomically(runs.folder / "table.md", "w") as file:
        file.write(text + "\n")
    return 1 if has_failed else 0


class Runs:
    """The runs of an ablation, each made once, in `folder`/<switch>/seed<number>.

    Args:
        folder: of all of them.
        words: `SECTION.key=value` of all of them.
        epochs: of the base; None: `EPOCHS`, or what `words` say.
        num_seeds: how many there are.
    """

    def __init__(self, folder: str, words: list, epochs: int | None, num_seeds: int):
        self.folder, self.words, self.num_seeds = pathlib.Path(folder), words, num_seeds
        self.text = (ROOT / BASE).read_text(encoding="utf-8")
        config = texts.load_config(str(ROOT / BASE))
        config["RUN"]["epochs"] = EPOCHS
        texts.apply_overrides(config, words)
        self.model = config["MODEL"]["name"]
        self.epochs = epochs or config["RUN"]["epochs"]

    def measure(self, name: str, seed: int) -> float:
        """Return the accuracy of a switch, or of the base, with a seed, from 0 to 1.

        Raises:
            OSError: a script failed.
            ValueError: the folder holds a run that was made in another way.
        """
        switch = SWITCHES.get(name, Switch())
        if switch.test:
            return self.test(name, seed, switch)
        return self.fuse(name, seed, switch) if switch.members else self.train(name, seed, switch)

    def train(self, name: str, seed: int, switch: Switch) -> float:
        """Train, and take the accuracy from the log of the run."""
        folder, epochs = self.place(name, seed), self.epochs * switch.times_epochs
        own = (f"RUN.epochs={epochs}", f"RUN.seed={seed}", "RUN.save_scores=True", *switch.train)
        words = [ROOT / BASE, "--save_dir", folder, "--resume", "auto", *self.override(folder, own)]
        return self.run(name, seed, "train.py", words, lambda: read_last(folder / f"{self.model}_log.jsonl", epochs))

    def test(self, name: str, seed: int, switch: Switch) -> float:
        """Score what the base has trained in another way."""
        self.measure("base", seed)
        folder, weights = self.place(name, seed), self.place("base", seed) / f"{self.model}_model"
        words = ["--weights", weights, "--save_dir", folder, "--out", folder / "result.json"]
        words += self.override(folder, switch.test)
        return self.run(name, seed, "test.py", words, lambda: read_result(folder / "result.json"))

    def fuse(self, name: str, seed: int, switch: Switch) -> float:
        """Fuse the scores of several networks; after the last seed comes the first one, or a second one."""
        scores = []
        for member, later in switch.members:
            member_seed = (seed + later) % max(self.num_seeds, 2)
            self.measure(member, member_seed)
            scores.append(self.find_scores(member, member_seed))
        folder = self.place(name, seed)
        words = [*scores, "--weights", *MEMBER_WEIGHTS, "--out", folder / "result.json"]
        return self.run(name, seed, "ensemble.py", words, lambda: read_result(folder / "result.json"))

    def run(self, name: str, seed: int, script: str, words: list, read) -> float:
        """Run a script, unless it was run, and return what `read()` then finds."""
        folder, words = self.place(name, seed), list(map(str, words))
        asked, start_s = {"base": self.text, "script": script, "words": words}, time.monotonic()
        record = read_record(folder / "run.json", asked)
        if record is None:
            write_record(folder / "run.json", asked, None)
            run_script(f"{name}, seed {seed}", script, words, folder / "said.txt")
            record = read()
            write_record(folder / "run.json", asked, record)
            print(f"{name}, seed {seed}: {100 * record:.2f} %, {time.monotonic() - start_s:.0f} s", flush=True)
        return record

    def override(self, folder: pathlib.Path, own: tuple) -> list:
        """Return the `-o` words of a run: those of all runs, then its own."""
        every = (*self.words, f"RUN.log_file={folder / 'logger.log'}", *own)
        return [word for one in every for word in ("-o", one)]

    def place(self, name: str, seed: int) -> pathlib.Path:
        """Return the folder of a run."""
        return self.folder / name / f"seed{seed}"

    def find_scores(self, name: str, seed: int) -> pathlib.Path:
        """Return the scores of the last epoch of a training that is as long as the base's."""
        return self.place(name, seed) / f"{self.model}_val_{self.epochs:05d}_scores.pkl"


def read_record(path: pathlib.Path, asked: dict) -> float | None:
    """Return the accuracy that was kept of a run, None where it has not ended.

    Raises:
        ValueError: the run was asked for in another way.
    """
    if not path.exists():
        return None
    kept = json.loads(path.read_text(encoding="utf-8"))
    if kept["asked"] != asked:
        raise ValueError(
            f"'{path.parent}' holds a run that was started with other words or another {BASE}; choose another "
            "--save_dir, or delete that folder"
        )
    return kept["accuracy"]


def write_record(path: pathlib.Path, asked: dict, accuracy: float | None) -> None:
    """Write what `read_record` reads."""
    with files.write_atomically(path, "w") as file:
        json.dump({"asked": asked, "accuracy": accuracy}, file, ensure_ascii=False, indent=1)


def run_script(title: str, script: str, words: list, said: pathlib.Path) -> None:
    """Run a script of the project; what it says goes to the file `said`.

    Raises:
        OSError: it failed; ends with the last line of what it said.
    """
    with open(said, "w", encoding="utf-8") as file:
        command_line = [sys.executable, str(ROOT / script), *words]
        status = subprocess.run(command_line, stdout=file, stderr=subprocess.STDOUT, check=False).returncode
    if status:
        last = (said.read_text(encoding="utf-8", errors="replace").strip().splitlines() or ["nothing"])[-1]
        raise OSError(f"{title}: {script} ended with exit status {status}, all it said is in {said}; it ended: {last}")


def read_last(path: pathlib.Path, epochs: int) -> float:
    """Return the accuracy after the last epoch from the log of a training.

    Raises:
        ValueError: it has none.
    """
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    found = [row[f"val/{FIGURE}"] for row in rows if f"val/{FIGURE}" in row and row["epoch"] == epochs - 1]
    if not found:
        raise ValueError(f"'{path}' has no {FIGURE} of epoch {epochs - 1}; leave RUN.validate as it is")
    return found[-1]


def read_result(path: pathlib.Path) -> float:
    """Return the accuracy from a result file of test.py or ensemble.py; both fuse RGB and pose by 1:1."""
    return json.loads(path.read_text(encoding="utf-8"))["summary"]["top1"]


def format_table(base: list, found: dict) -> str:
    """Return the Markdown table.

    Args:
        base: accuracies of the seeds, from 0 to 1.
        found: those of each switch; None of one that failed.
    """
    rows = ["| switch | the plan's estimate | measured change | accuracy, % |", "|---|---|---|---|"]
    rows.append(f"| base | | | {format_spread(base, '.2f')} |")
    for name, accuracies in found.items():
        change = accuracy = "failed"
        if accuracies is not None:
            change = format_spread([one - other for one, other in zip(accuracies, base, strict=True)], "+.2f")
            accuracy = format_spread(accuracies, ".2f")
        rows.append(f"| {name} | {SWITCHES[name].estimate} | {change} | {accuracy} |")
    return "\n".join(rows)


def format_spread(shares: list, form: str) -> str:
    """Return the mean of shares in hundredths, with the lowest and the highest: `+0.34 (-1.01 to +1.01)`."""
    mean, low, high = (format(100 * value, form) for value in (statistics.mean(shares), min(shares), max(shares)))
    return f"{mean} ({low} to {high})"


def describe(runs: Runs, num_seeds: int) -> str:
    """Return what the figures of the table are, and what they are not."""
    num_samples = len(ensemble.read_scores(str(runs.find_scores("base", 0))).names)
    return (
        f"{FIGURE} after the last of {runs.epochs} epochs (`epochs`: twice as many), mean over "
        f"{num_seeds} seed{'s' * (num_seeds > 1)} (lowest to highest); "
        "changes in points against the base of the same seed.\n"
        f"This is sample data: {num_samples} clips of a drawn figure, of which one is {100 / num_samples:.2f} points. "
        "It tells what a switch does there, not what it gives on NTU RGB+D 60, of which the plan speaks."
    )


if __name__ == "__main__":
    command_line.run_main(main)
