"""What the contract tests share: commands as they are typed, configs as they resolve, and where two sides differ."""

import shlex

from conftest import ROOT

import avi2jpg
import data_list_gener
import ensemble
import jpg2pkl
import recipe
import train_streams
from engine import flags
from tools import benchmark, torch2paddle

PARSERS = {
    "avi2jpg.py": avi2jpg.parse_flags,
    "jpg2pkl.py": jpg2pkl.parse_flags,
    "data_list_gener.py": data_list_gener.parse_flags,
    "train.py": flags.parse_train,
    "test.py": flags.parse_test,
    "train_streams.py": train_streams.parse_arguments,
    "ensemble.py": ensemble.parse_arguments,
    "tools/benchmark.py": benchmark.parse_arguments,
    "tools/torch2paddle.py": torch2paddle.parse_arguments,
}


def parse(line):
    """Parse a command line that begins with `python <script>`, as its script does; return {name: value}."""
    python, script, *words = shlex.split(line)
    assert python == "python"
    return vars(PARSERS[script](words))


def read(name):
    """Return a text of the project's root."""
    return (ROOT / name).read_text(encoding="utf-8")


def read_header(name):
    """Return the comment that a config begins with."""
    return "\n".join(line for line in read(f"configs/{name}").splitlines() if line.startswith("#"))


def read_row(name):
    """Return the cells, after the first, of the README's row of a config."""
    rows = [line for line in read("README.md").splitlines() if line.startswith(f"| `configs/{name}` ")]
    assert len(rows) == 1, f"{len(rows)} rows of {name}"
    return [cell.strip() for cell in rows[0].strip("|").split("|")][1:]


def resolve(name, *words):
    """Resolve a config of the project with `-o` words over it."""
    return recipe.read_recipe(str(ROOT / "configs" / name), {}, list(words))[0]


def look_up(config, place):
    """Return the value of `SECTION.key` in a resolved config; TRAIN, VALID and TEST fall back on READER."""
    section, key = place.split(".")
    fallback = config["READER"] if section in ("TRAIN", "VALID", "TEST") else {}
    return {**fallback, **config[section]}.get(key, "not set")


def find_differing(theirs, ours):
    """Return the names of `theirs` that `ours` does not have, or has with another value."""
    return {name for name, value in theirs.items() if name not in ours or ours[name] != value}


def find_moved(places):
    """Return the places of {theirs: (ours, why)} that are ours now and no longer theirs."""
    return {theirs for theirs, (ours, _) in places.items() if (ROOT / ours).is_file() and not (ROOT / theirs).exists()}
