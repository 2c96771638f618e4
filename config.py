"""Config texts: `.txt` (INI) and `.yaml` load to the same {SECTION: {key: value}}; signatures are the schema.

A key is a parameter of what its section builds, so the signature of the class or function is the home of its default
and of its type. Precedence: signature < text < command line.
"""

import ast
import configparser
import inspect
import logging
import os
import pathlib

import yaml

from common import ranges
from common.signatures import find_hints, find_parameters
from common.suggestions import suggest
from common.text_files import compose_yaml, read_text, refuse_long, refuses_damage, show_value

SECTIONS = ("MODEL", "READER", "TRAIN", "VALID", "TEST", "OPTIMIZER", "RUN")
MODES = ("TRAIN", "VALID", "TEST")
YAML_MERGE = "tag:yaml.org,2002:merge"
INI_SUFFIXES, YAML_SUFFIXES = (".txt", ".ini", ".cfg"), (".yaml", ".yml")

# Keys of earlier versions of this project and what they are called now, and values that changed with them. Keys of
# READER may be in TRAIN, VALID and TEST too.
RENAMED_KEYS = {
    "READER.move": "READER.random_move",
    "READER.shift": "READER.random_shift",
    "RUN.step": "RUN.cpu_backend",
}
RENAMED_VALUES = {"RUN.step": {"static": "onednn"}}
# The keys of the 2020 reproductions and what they are called here; None: the key has no meaning any more.
KEYS_2020 = {
    "MODEL": {
        "format": None,
        "seg_num": "READER.num_segments",
        "seglen": "READER.clip_len",
        "image_mean": "READER.mean",
        "image_std": "READER.std",
        "num_layers": "MODEL.depth",
    },
    "TRAIN": {
        "epoch": "RUN.epochs",
        "use_gpu": "RUN.use_gpu",
        "num_gpus": None,
        "learning_rate": "OPTIMIZER.learning_rate",
        "learning_rate_decay": "OPTIMIZER.learning_rate_decay",
        "l2_weight_decay": "OPTIMIZER.weight_decay",
        "momentum": "OPTIMIZER.momentum",
        "total_videos": None,
        "seg_num": "TRAIN.num_segments",
    },
    "VALID": {"seg_num": "VALID.num_clips"},  # scored one by one and averaged, no longer joined in time
    "TEST": {"seg_num": "TEST.num_clips"},
}
# The keys of PB-GCN's runner, which have no sections there.
KEYS_PBGCN = {
    "MODEL": {
        "channel": "MODEL.in_channels",
        "num_class": "MODEL.num_classes",
        "window_size": "READER.clip_len",
        "num_joints": None,
        "dataset": None,
        "num_actors": "READER.num_persons",
    },
    "OPTIMIZER": {"optimizer": "OPTIMIZER.name", "base_lr": "OPTIMIZER.learning_rate", "step": "OPTIMIZER.milestones"},
    "RUN": {
        "num_epoch": "RUN.epochs",
        "weights": "RUN.pretrain",
        "save_path": "RUN.save_dir",
        "phase": None,  # train.py and test.py
        "start_epoch": None,  # --resume knows
        "show_topk": None,  # test.py --infer_topk
        "save_score": "RUN.save_scores",
    },
}
GRAPHS_PBGCN = {"NTUGraph": "ntu25", "HDM05Graph": "hdm05"}
KEYS_2020_ANY_MODE = {"target_size": "crop_size", "num_reader_threads": "num_workers", "buf_size": None}


def find_config(path: str) -> pathlib.Path:
    """Return the file of a config text, which may be missing; shipped texts are found from any folder."""
    places = (pathlib.Path(path), pathlib.Path(__file__).parent / path)
    return next((place for place in places if place.is_file()), places[0])


@refuses_damage
def load_config(path: str) -> dict:
    """Read a config text.

    Args:
        path: `.txt`, `.ini` or `.cfg` (INI), `.yaml` or `.yml`.

    Returns:
        {SECTION: {key: value}} with every section of `SECTIONS`, values by `parse_value`, keys as they are called now.

    Raises:
        FileNotFoundError: no such file; names the nearest one in its folder.
        ValueError: a text that is neither dialect, an unknown section, or a key given twice.
    """
    file = find_config(path)
    if not file.is_file():
        neighbours = [str(path) for path in sorted(file.parent.glob("*.*"))] if file.parent.is_dir() else []
        raise FileNotFoundError(f"config '{path}' does not exist{suggest(file, neighbours)}")
    text = read_text(file)
    if file.suffix in YAML_SUFFIXES:
        found = _read_yaml(text, path)
    elif file.suffix in INI_SUFFIXES:
        found = _read_ini(text, path)
    else:
        raise ValueError(f"config '{path}': expected a name that ends in .txt or .yaml")
    config = {section: {} for section in SECTIONS}
    for name, values in found.items():
        section = str(name).upper()
        if section not in config:
            known = f"{suggest(section, SECTIONS)} (known: {', '.join(SECTIONS)})"
            raise ValueError(f"{path}: unknown section [{name}]{known}")
        if not isinstance(values, dict):
            raise ValueError(f"{path}: section {name} holds {show_value(values)}, expected `key: value` lines")
        config[section].update(values)
    rename_keys(config)
    return config


def rename_keys(config: dict) -> None:
    """Rename the keys of `RENAMED_KEYS` in a config in place, and log one line for each.

    Args:
        config: {SECTION: {key: value}} of a text or a checkpoint; sections may be missing. Where it has both names of
            a key, the new one is used.
    """
    for old_name, current_name in RENAMED_KEYS.items():
        (section, key), (new_section, new_key) = old_name.split("."), current_name.split(".")
        for name in (section, *MODES) if section == "READER" else (section,):
            if key in config.get(name, {}):
                value = config[name].pop(key)
                for old_value, new_value in RENAMED_VALUES.get(old_name, {}).items():
                    value = new_value if value == old_value else value
                new_name = name if new_section == section else new_section
                config.setdefault(new_name, {}).setdefault(new_key, value)
                logging.warning(f"the key {name}.{key} is called {new_name}.{new_key} now")


def _read_ini(text: str, path: str) -> dict:
    # `=` alone separates, so that keys may hold `:`; no interpolation, so that values may hold `%`.
    parser = configparser.ConfigParser(delimiters=("=",), interpolation=None)
    parser.optionxform = str
    try:
        refuse_long(text)
        parser.read_string(text, source=path)
        return {name: {key: parse_value(value) for key, value in parser[name].items()} for name in parser.sections()}
    except (configparser.Error, ValueError) as error:
        raise ValueError(f"{path}: not a config text: {' '.join(str(error).split())}") from error


def _read_yaml(text: str, path: str) -> dict:
    try:
        node = compose_yaml(text)
        found = {} if node is None else _yaml_value(node)
    except ValueError as error:
        raise ValueError(f"{path}: not a config text: {error}") from error
    if not isinstance(found, dict):
        raise ValueError(f"{path}: expected sections at the top, got {show_value(found)}")
    return found


def _yaml_value(node: yaml.Node):
    """Turn a YAML node into a value; plain scalars go through `parse_value`, since YAML 1.1 reads 1e-4 as text."""
    if isinstance(node, yaml.SequenceNode):
        return [_yaml_value(child) for child in node.value]
    if isinstance(node, yaml.ScalarNode):
        return parse_value(node.value) if node.style is None else node.value
    values, merged = {}, {}
    for key, child in node.value:
        if key.tag == YAML_MERGE:
            merged.update(_merge(child))
        elif key.value in values:
            raise ValueError(f"line {key.start_mark.line + 1}: key '{key.value}' is given twice")
        else:
            values[key.value] = _yaml_value(child)
    return {**merged, **values}


def _merge(node: yaml.Node) -> dict:
    """Return the keys that `<<: *base` or `<<: [*first, *second]` adds; of several the first one holds."""
    nodes = node.value if isinstance(node, yaml.SequenceNode) else [node]
    if not all(isinstance(each, yaml.MappingNode) for each in nodes):
        raise ValueError(f"line {node.start_mark.line + 1}: << takes keys with values, such as *base of `&base`")
    merged = {}
    for each in reversed(nodes):
        merged.update(_yaml_value(each))
    return merged


def parse_value(text: str, has_comments: bool = True):
    """Read one value the same way in every dialect and on the command line.

    Python literals (`1e-4`, `[1, 2]`, `"a # b"`), `true`, `false`, `none`, `null` in any case, flow lists of bare
    words (`[a, b]`), else the text itself; of a path `~/data` the home folder is filled in. An empty text is None.

    Args:
        has_comments: leave out a trailing ` # comment`; a command line has none.
    """
    try:
        value = ast.literal_eval(text.strip())
    except (ValueError, SyntaxError):
        return _parse_bare((text.split(" #")[0] if has_comments else text).strip())
    return list(value) if isinstance(value, tuple) else value


def _parse_bare(text: str):
    constants = {"true": True, "false": False, "none": None, "null": None, "~": None, "": None}
    if text.lower() in constants:
        return constants[text.lower()]
    if text[0] not in "[{":
        return os.path.expanduser(text)
    try:
        return _yaml_value(compose_yaml(text))
    except ValueError as error:
        raise ValueError(
            f"cannot read the value {show_value(text)}; put text in quotes or close the bracket"
        ) from error


def parse_overrides(overrides: list) -> dict:
    """Return {SECTION: {key: value}} of the `SECTION.key=value` words of `-o`, keys as they are called now."""
    parsed = {}
    for override in overrides:
        name, equals, value = override.partition("=")
        section, dot, key = name.strip().partition(".")
        if not (equals and dot and key):
            raise ValueError(f"-o {override}: expected SECTION.key=value, such as RUN.epochs=65")
        if section.upper() not in SECTIONS:
            known = f"{suggest(section.upper(), SECTIONS)} (known: {', '.join(SECTIONS)})"
            raise ValueError(f"-o {override}: unknown section{known}")
        given = {section.upper(): {key: parse_value(value, has_comments=False)}}
        rename_keys(given)
        for name, values in given.items():
            parsed.setdefault(name, {}).update(values)
    return parsed


def translate_2020(config: dict) -> list:
    """Rename the keys of 2020 texts and of PB-GCN's runner in place.

    Returns:
        Names (`SECTION.key`) of the keys that have no meaning any more and were left out.
    """
    dropped = []
    config["MODEL"].update(config["MODEL"].pop("graph_args", None) or {})
    graph = str(config["MODEL"].pop("graph", "")).rpartition(".")[2]
    if graph:
        config["READER"].setdefault("layout", GRAPHS_PBGCN.get(graph, graph))
    for section in SECTIONS:
        table = {**KEYS_2020.get(section, {}), **KEYS_PBGCN.get(section, {})}
        if section in MODES:
            table.update({key: new and f"{section}.{new}" for key, new in KEYS_2020_ANY_MODE.items()})
        for old in [key for key in config[section] if key in table]:
            value = config[section].pop(old)
            if table[old] is None:
                dropped.append(f"{section}.{old}")
            else:
                new_section, new_key = table[old].split(".")
                config[new_section].setdefault(new_key, value)
    return dropped


def fill_section(where: str, values: dict, builders: list, given: tuple = ()) -> dict:
    """Check `values` against the signatures of what the section builds, and add the defaults.

    Args:
        where: what errors name, such as `configs/resnet.txt [MODEL]`.
        values: the keys of the section; `name` picks the builder and is not checked here.
        builders: classes or functions whose parameters are the keys; of a class with `**others` its parent's as well.
        given: parameters that the code passes and a text therefore cannot set.

    Returns:
        A new dict: every parameter, with the value of the text or of the signature.

    Raises:
        ValueError: an unknown key (with the nearest known one), or a value of the wrong type or out of its range.
    """
    parameters = {n: p for n, p in find_parameters(builders).items() if n not in given and n != "name"}
    hints = find_hints(builders)
    filled = {"name": values["name"]} if "name" in values else {}
    filled.update({n: p.default for n, p in parameters.items() if p.default is not inspect.Parameter.empty})
    for key, value in values.items():
        if key == "name":
            continue
        if key not in parameters:
            raise ValueError(f"{where}: unknown key '{key}'{suggest(key, parameters)} (known: {', '.join(parameters)})")
        if not ranges.fits(value, hints[key]):
            raise ValueError(f"{where}: {key}: expected {ranges.describe(hints[key])}, got {show_value(value)}")
        filled[key] = value
    return filled


def name_samples(config: dict, mode: str) -> str:
    """Return the name of the samples of a mode: its list, or its file of skeletons and the split."""
    section = {**config["READER"], **config[mode]}
    return f"{section['filelist']} split {section['split']}" if "split" in section else section["filelist"]


def format_config(config: dict) -> str:
    """Return the block that every run prints first: a header, `SECTION:` rows, `    key:value` rows, a rule."""
    rows = ["---------------- Valid Arguments ----------------"]
    for section in SECTIONS:
        if config.get(section):
            rows.append(f"{section}:")
            rows.extend(f"    {key}:{value}" for key, value in config[section].items())
    return "\n".join([*rows, "-------------------------------------------------"])


def differences(old: dict, new: dict, run_keys: tuple = ()) -> list:
    """Return (SECTION.key, old value, new value) where two configs differ, of RUN only `run_keys`."""
    found = []
    for section in SECTIONS:
        was, is_now = old.get(section, {}), new.get(section, {})
        keys = run_keys if section == "RUN" else {**was, **is_now}
        found += [
            (f"{section}.{key}", was.get(key), is_now.get(key)) for key in keys if was.get(key) != is_now.get(key)
        ]
    return found
