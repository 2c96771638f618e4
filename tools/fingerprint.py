"""Print hashes of what training computes, to compare two commits on one machine bit by bit.

    python tools/fingerprint.py --out before.txt    # at one commit
    python tools/fingerprint.py --out after.txt     # at the other one
    diff before.txt after.txt

It makes the sample data, trains configs/quickstart.txt by both CPU backends and every sample config for two epochs, and
scores each network. A run gives two lines: a hash of the weights with the state of the optimizer, and one of the score
file. Logs and checkpoints are in output/fingerprint. Other machines and other versions of Paddle give other hashes.
"""

import argparse
import hashlib
import pathlib
import shutil
import sys
from typing import NamedTuple

if not __package__:  # run as a script, from any folder: the project's modules are one folder up
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from common import command_line, files
from common.checksums import CHECKSUM
from tools.measure.scripts import ROOT, run_script

SAMPLES = "data/samples"
FOLDER = "output/fingerprint"
SKELETON_NETWORKS = ("ctrgcn", "stgcn", "agcn", "msg3d", "infogcn")
NUM_DIGITS = 16  # of a SHA-256


class Run(NamedTuple):
    """A training.

    Attributes:
        config: name of a text in configs/.
        flags: further flags of train.py.
        pretrain: run that has trained the first weights.
    """

    config: str
    flags: tuple = ()
    pretrain: str = ""


TWO_EPOCHS = ("--epoch", "2")
RUNS = {  # RUN.step is the oldest name of the key that chooses the backend: all commits load it
    "quickstart_dynamic": Run("quickstart", ("-o", "RUN.step=dynamic")),
    "quickstart_onednn": Run("quickstart", ("-o", "RUN.step=static")),
    **{f"skeleton_{name}": Run("skeleton_samples", ("--model_name", name, *TWO_EPOCHS)) for name in SKELETON_NETWORKS},
    "pbgcn": Run("pbgcn_samples", TWO_EPOCHS),
    "posec3d": Run("posec3d_samples", TWO_EPOCHS),
    "tsm": Run("tsm_samples", TWO_EPOCHS),
    "tpn_slowonly": Run("tpn_samples", TWO_EPOCHS),
    "tpn_tsm": Run("tpn_samples", (*TWO_EPOCHS, "-o", "MODEL.backbone=tsm")),
    "rgbposeconv3d": Run("rgbposeconv3d_samples", TWO_EPOCHS),
    "pcan": Run("pcan_samples", TWO_EPOCHS, pretrain="rgbposeconv3d"),
}


def parse_arguments(argv: list | None = None) -> argparse.Namespace:
    """Parse the command line; see `python tools/fingerprint.py --help`."""
    parser = command_line.CommandLine("Print hashes of the weights and scores of short trainings.")
    parser.add_argument("--out", default="fingerprint.txt", help="text file to write, one line a hash")
    parser.add_argument("--only", nargs="+", choices=list(RUNS), default=list(RUNS), help="runs")
    args = parser.parse_args(argv)
    args.only = [name for name in RUNS if name in args.only]
    for name in args.only:
        if RUNS[name].pretrain not in ("", *args.only):
            parser.error(f"--only {name}: it starts from the weights of {RUNS[name].pretrain}; name that run too")
    return args


def main(argv: list | None = None) -> None:
    """Train and score the runs that the command line names; print and write their hashes."""
    args = parse_arguments(argv)
    (ROOT / FOLDER).mkdir(parents=True, exist_ok=True)
    make_samples()
    lines = []
    for name in args.only:
        for line in hash_run(name, RUNS[name]):
            print(line, flush=True)
            lines.append(line)
            with files.write_atomically(args.out, "w") as file:
                file.writelines(f"{line}\n" for line in lines)


def make_samples() -> None:
    """Make the sample data as quickstart.sh does, unless there is some."""
    if not (ROOT / SAMPLES / "train.list").exists():
        for script in ("tools/make_samples.py", "avi2jpg.py", "jpg2pkl.py", "data_list_gener.py"):
            run(script, "make_samples", "--root", SAMPLES)


def hash_run(name: str, settings: Run) -> list:
    """Train and score a network.

    Returns:
        `<name> weights <hash>`, of the last checkpoint, and `<name> scores <hash>`, of the score file.
    """
    folder = f"{FOLDER}/{name}"
    shutil.rmtree(ROOT / folder, ignore_errors=True)
    argv = [f"configs/{settings.config}.txt", "--root", SAMPLES, "--save_dir", folder, *settings.flags]
    if settings.pretrain:
        argv += ["--pretrain", f"{FOLDER}/{settings.pretrain}/{settings.pretrain}_model"]
    run("train.py", name, *argv)
    (weights,) = (ROOT / folder).glob("*_model.pdparams")
    run("test.py", name, "--weights", weights.relative_to(ROOT), "--use_gpu", "False")
    (scores,) = (ROOT / folder).glob("*_model_test_scores.pkl")
    arrays = list_arrays(files.load_pickle(weights))
    content = CHECKSUM.sub(b"", scores.read_bytes())
    return [f"{name} weights {hash_arrays(arrays)}", f"{name} scores {hash_bytes(content)}"]


def run(script: str, name: str, *argv) -> None:
    """Run a script at the root of the project, in one thread; what it prints goes to a file in output/fingerprint."""
    log_file = ROOT / FOLDER / f"{name}_{pathlib.Path(script).stem}.log"
    run_script(script, *argv, environment={"OMP_NUM_THREADS": "1"}, cwd=ROOT, log_file=log_file)


def list_arrays(state: dict) -> dict:
    """Return {name: array} of the weights and of the optimizer of a checkpoint."""
    slots = {f"{key}.{slot}": array for key, slots in state["optimizer"].items() for slot, array in slots.items()}
    return {**state["model"], **slots}


def hash_arrays(arrays: dict) -> str:
    """Hash the names and the bytes of arrays, in the order of the names."""
    return hash_bytes(b"".join(name.encode() + arrays[name].tobytes() for name in sorted(arrays)))


def hash_bytes(data: bytes) -> str:
    """Return the first 16 hexadecimal digits of the SHA-256."""
    return hashlib.sha256(data).hexdigest()[:NUM_DIGITS]


if __name__ == "__main__":
    command_line.run_main(main)
