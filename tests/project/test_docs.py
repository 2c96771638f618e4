"""The texts beside the code: translations say the same, each command can be typed, each file that is named is there."""

import contextlib
import functools
import io
import json
import pathlib
import re
import shlex
import statistics

import pytest
from paths import ROOT

import avi2jpg
import data_list_gener
import ensemble
import jpg2pkl
import recipe
import skeleton2pkl
import train_streams
from engine import flags
from tools import (
    ablation,
    benchmark,
    convert_weights,
    draw_layouts,
    export,
    gpu_check,
    make_samples,
    measure_recipe,
    merge_rgbpose,
    shrink_videos,
    torch2paddle,
)
from tools.measure import scale, small_sets, try_recipe


def parse_streams(words):
    """Parse the command line of train_streams.py, and the rest of it as train.py does."""
    args = train_streams.parse_arguments(words)
    return flags.parse_train([args.config, *args.rest])


def parse_measured(words):
    """Parse the command line of tools/measure_recipe.py, whose rest is train.py's."""
    return measure_recipe.parse_arguments(words).train


def parse_trial(words):
    """Parse the command line of tools/measure/try_recipe.py, whose rest is train.py's."""
    return try_recipe.parse_arguments(words).train


PARSERS = {
    "avi2jpg.py": avi2jpg.parse_flags,
    "jpg2pkl.py": jpg2pkl.parse_flags,
    "data_list_gener.py": data_list_gener.parse_flags,
    "train.py": flags.parse_train,
    "test.py": flags.parse_test,
    "predict.py": flags.parse_predict,
    "app.py": flags.parse_app,
    "ensemble.py": ensemble.parse_arguments,
    "train_streams.py": parse_streams,
    "skeleton2pkl.py": skeleton2pkl.parse_flags,
    "tools/draw_layouts.py": draw_layouts.parse_arguments,
    "tools/make_samples.py": make_samples.parse_arguments,
    "tools/convert_weights.py": convert_weights.parse_arguments,
    "tools/torch2paddle.py": torch2paddle.parse_arguments,
    "tools/merge_rgbpose.py": merge_rgbpose.parse_arguments,
    "tools/shrink_videos.py": shrink_videos.parse_arguments,
    "tools/ablation.py": ablation.parse_arguments,
    "tools/export.py": export.parse_arguments,
    "tools/benchmark.py": benchmark.parse_arguments,
    "tools/gpu_check.py": gpu_check.parse_arguments,
    "tools/measure_recipe.py": parse_measured,
    "tools/measure/scale.py": scale.parse_arguments,
    "tools/measure/small_sets.py": small_sets.parse_arguments,
    "tools/measure/try_recipe.py": parse_trial,
}
OTHER_COMMANDS = {"git", "mkdir", "for", "grep", "done", "visualdl", "poses/bin/python"}
OTHER_FLAGS = {"--write_json", "--logdir"}  # of OpenPose, of VisualDL
MAX_README_LINES = 200
FOLDERS = (
    "common/", "configs/", "dataset/", "docs/", "engine/", "inference/", "layouts/", "models/", "notebooks/", "reader/",
    "splits/", "tests/", "tools/",
)  # fmt: skip
FENCED = re.compile(r"^```[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NUMBER = re.compile(r"\d+(?:\.\d+)*(?:e-\d+)?")


def read(name):
    """Return a text of the project by its path from the root."""
    return (ROOT / name).read_text(encoding="utf-8")


ENGLISH, CHINESE = read("README.md"), read("README.zh-CN.md")
both_readmes = pytest.mark.parametrize("text", [ENGLISH, CHINESE], ids=["english", "chinese"])
TRANSLATED = ["README.zh-CN.md", *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.zh-CN.md"))]
PAGES = ["README.md", "MODEL_ZOO.md", *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))]
PAGES = [name for name in PAGES if name not in TRANSLATED]  # in English


def find_spans(text):
    """List the inline code spans, those that are broken across lines too."""
    return [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", FENCED.sub("", text))]


def find_numbers(text):
    """List the numbers outside of code and links."""
    return NUMBER.findall(re.sub(r"`[^`]+`|\]\([^)]*\)", "", FENCED.sub("", text)))


def find_links(text):
    """List the local files that links and pictures point at."""
    return [link for link in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", FENCED.sub("", text)) if "://" not in link]


def find_tables(text):
    """List the tables; a table is a list of rows, a row a list of cells."""
    found = re.findall(r"(?:^\|.*\|$\n?)+", FENCED.sub("", text), re.MULTILINE)
    return [[row.strip("|").split("|") for row in table.strip().split("\n")] for table in found]


def split_sections(text):
    """List (level, text) of the sections, the headings included."""
    parts = re.split(r"^(#+) ", FENCED.sub("", text), flags=re.MULTILINE)
    return list(zip(map(len, parts[1::2]), parts[2::2], strict=True))


def compare(one, other):
    """Yield where two translations of a text differ in what needs no translation."""
    if FENCED.findall(one) != FENCED.findall(other):
        yield "code blocks"
    sections = split_sections(one), split_sections(other)
    if [level for level, _ in sections[0]] != [level for level, _ in sections[1]]:
        yield "headings"
        return
    for (_, left), (_, right) in zip(*sections, strict=True):
        title = left.split("\n")[0]
        for what, find in (("code spans", find_spans), ("numbers", find_numbers)):
            if set(find(left)) != set(find(right)):
                yield f"'{title}': {what} {sorted(set(find(left)) ^ set(find(right)))}"
        links = [[link.replace(".zh-CN.md", ".md") for link in find_links(part)] for part in (left, right)]
        if links[0] != links[1]:
            yield f"'{title}': links and pictures"
    yield from compare_tables(find_tables(one), find_tables(other))


def compare_tables(one, other):
    """Yield the tables and rows that differ in shape, numbers or code."""
    if [[len(row) for row in table] for table in one] != [[len(row) for row in table] for table in other]:
        yield "table shapes"
        return
    for left, right in zip(sum(one, []), sum(other, []), strict=True):
        for find in (find_numbers, find_spans):
            if [sorted(find(cell)) for cell in left] != [sorted(find(cell)) for cell in right]:
                yield f"table row '{left[0].strip()}': {sorted(find('|'.join(left)))}, {sorted(find('|'.join(right)))}"


@pytest.mark.parametrize("name", TRANSLATED)
def test_a_translation_says_the_same(name):
    assert list(compare(read(name.replace(".zh-CN", "")), read(name))) == []
    assert f"]({name.replace('.zh-CN', '').split('/')[-1]})" in read(name)  # each leads to the other
    assert f"]({name.split('/')[-1]})" in read(name.replace(".zh-CN", ""))


@both_readmes
def test_a_readme_is_short(text):
    assert len(text.splitlines()) <= MAX_README_LINES


def test_chinese_pages_call_a_thing_by_one_name():
    text = "".join(map(read, TRANSLATED))
    assert "样例数据" in text and "示例数据" not in text
    assert not re.search(r"\d to \d", FENCED.sub("", text))


@pytest.mark.parametrize(
    "old, new, difference",
    [
        ("--epoch 65\n", "--epoch 64\n", "code blocks"),
        ("## AI Studio\n", "", "headings"),
        ("## AI Studio\n", "### AI Studio\n", "headings"),
        ("`notebooks/skeleton.ipynb`", "`notebooks/skeletons.ipynb`", "'AI Studio': code spans ['notebooks/skeleton"),
        ("2.33 %", "2.34 %", "numbers ['2.33', '2.34']"),
        ("(docs/prediction.png)", "(docs/other.png)", "links and pictures"),
        ("| 0 | 100.0 |", "| 0 | 99.0 |", "table row '`configs/quickstart.txt` (3D-ResNet-10)'"),
        ("| 0 | 100.0 |", "| 100.0 | 0 |", "table row '`configs/quickstart.txt` (3D-ResNet-10)'"),
        ("| 0 | 100.0 |", "| 0 |", "table shapes"),
        ("| `models/` |", "| `model/` |", "table row '`model/`'"),
    ],
)
def test_a_difference_is_seen(old, new, difference):
    assert old in ENGLISH
    assert difference in "; ".join(compare(ENGLISH.replace(old, new), CHINESE))


def list_commands(text):
    """List what can be typed: lines of the code blocks without a language, and spans that call a script here."""
    blocks = [block for language, block in re.findall(r"^```(\w*)\n(.*?)^```$", text, re.M | re.S) if not language]
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    return [line for line in lines if line] + [span for span in find_spans(text) if calls_a_script(span)]


def calls_a_script(span):
    """Whether a span is a whole command of a script here; `...` stands for what is left out."""
    return span.startswith(tuple(f"python {script} " for script in PARSERS)) and "..." not in span


def find_command_fault(line):
    """Return what keeps a line of a code block from being typed as it is, or None."""
    first, *words = [word for word in shlex.split(line, comments=True) if not re.match(r"[A-Z_]+=", word)]
    if first == "-o" or words[:1] == ["-c"] or words[:2] == ["-m", "venv"]:  # part of a command, or no script of ours
        return None
    if first == "bash":
        return None if (ROOT / words[0]).is_file() else f"no {words[0]}"
    if first == "pip":
        return None if (ROOT / words[words.index("-r") + 1]).is_file() else f"no {words[-1]}"
    if first != "python":
        return None if first in OTHER_COMMANDS else f"unknown command {first}"
    if words[:2] == ["-m", "paddle.distributed.launch"]:  # its own options end where a script is named
        words = words[next((index for index, word in enumerate(words) if word.endswith(".py")), 0) :]
    if words[0] not in PARSERS:
        return f"no script {words[0]}"
    heard = io.StringIO()
    try:
        with contextlib.redirect_stderr(heard):
            args = PARSERS[words[0]](words[1:])
        if hasattr(args, "overrides"):
            if words[0] == "tools/convert_weights.py" and args.model:
                convert_weights.read_config(args)
            else:
                resolve(args.overrides, find_config(args))
    except (SystemExit, ValueError, OSError) as error:
        return heard.getvalue() or str(error)
    return None


def find_config(args):
    """Return the config of a command, or of the run whose weights it names by a folder of the config's name."""
    named = f"configs/{pathlib.Path(getattr(args, 'weights', None) or '.').parent.name}.yaml"
    config = args.config if hasattr(args, "config") else ablation.BASE
    return named if config is None and (ROOT / named).is_file() else config


def resolve(words, config=None):
    """Lay `-o` words over a config; raises what a user would be told."""
    return recipe.read_recipe(str(ROOT / (config or "configs/resnet.txt")), {}, words)


@pytest.mark.parametrize("name", PAGES)
def test_every_command_can_be_typed(name):
    faults = {line: find_command_fault(line) for line in list_commands(read(name))}
    assert {line: fault for line, fault in faults.items() if fault} == {}


def test_commands_are_found_wherever_they_stand():
    text = (
        "`python test.py --eval` and `python tools/train.py a` and `python train.py ...`\n```\npython a \\\n  b\n```\n"
    )
    assert list_commands(text + "```yaml\na: 1\n```\n") == ["python a    b", "python test.py --eval"]
    assert len(list_commands(ENGLISH)) > 20


@pytest.mark.parametrize(
    "line, fault",
    [
        ("bash start.sh", "no start.sh"),
        ("pip install -r requirements-gpu.txt", "no requirements-gpu.txt"),
        ("pyhton train.py", "unknown command pyhton"),
        ("python trian.py", "no script trian.py"),
        ("python -m paddle.distributed.launch --nnodes 2 train.py --gpu 4", "unknown flag '--gpu'; did you mean"),
        ("python avi2jpg.py --short_side 128", "unknown flag '--short_side'; did you mean '--short_size'?"),
        ("python jpg2pkl.py --split one", "invalid int value: 'one'"),
        ("python predict.py --weights a", "the following arguments are required: --input"),
        ("python test.py --crops five", "invalid choice: 'five'"),
        ("python train.py configs/resnet18.txt", "configs/resnet18.txt' does not exist"),
        ("python train.py -o TRAIN.batchsize=64", "unknown key 'batchsize'; did you mean 'batch_size'?"),
        ("python test.py -o TEST.num_clips=many", "num_clips: expected int from 1 to 1000000, got 'many'"),
    ],
)
def test_a_command_that_cannot_be_typed_is_seen(line, fault):
    assert fault in find_command_fault(line)


@functools.cache
def list_flags():
    """Return every flag that some script knows, from the scripts' own `--help`."""
    helps = io.StringIO()
    for parse in PARSERS.values():
        with contextlib.redirect_stdout(helps), contextlib.suppress(SystemExit):
            parse(["--help"])
    return set(re.findall(r"(?<![\w-])--\w+", helps.getvalue() + read("runtests.sh")))


def test_every_flag_and_key_in_the_prose_exists():
    assert {"--overfit", "--val_ratio", "--help"} <= list_flags() and "--short_side" not in list_flags()
    flags, overrides = set(), []
    ours = [name for name in PAGES if "/from_" not in name]  # those name the flags of other projects
    for span in find_spans("".join(map(read, [*ours, "CONTRIBUTING.md", "CHANGELOG.md"]))):
        flags |= set(re.findall(r"(?<![\w-])--\w+", span))
        overrides += re.findall(r"-o (\S+=\S+)", span)
    assert flags - list_flags() - OTHER_FLAGS == set() and len(flags) > 5
    assert len(overrides) > 1
    assert [word for word in overrides if not fits_a_config(word)] == []


def fits_a_config(word):
    """Tell whether `-o word` goes with one of the configs."""
    for path in sorted((ROOT / "configs").iterdir()):
        with contextlib.suppress(ValueError):
            return bool(recipe.read_recipe(str(path), {}, [word]))
    return False


@pytest.mark.parametrize("name", [*PAGES, *TRANSLATED, "CONTRIBUTING.md", "CHANGELOG.md"])
def test_every_file_that_is_named_exists(name):
    text = read(name)
    in_folders = [span for span in find_spans(text) if span.startswith(FOLDERS) and not re.search(r"[*<\s]", span)]
    if "/from_" in name:  # they name the files of other projects
        in_folders = []
    links = [(ROOT / name).parent / link for link in find_links(text)]
    assert [str(path) for path in [*links, *map(ROOT.joinpath, in_folders)] if not path.exists()] == []


def test_every_page_is_reached_from_the_readme():
    linked = {(ROOT / link).resolve() for link in find_links(ENGLISH)}
    assert [name for name in PAGES if name != "README.md" and (ROOT / name).resolve() not in linked] == []


@both_readmes
def test_the_map_is_whole(text):
    named = [span for row in find_tables(text)[-1][2:] for span in find_spans(row[0])]
    assert [path for path in named if not (ROOT / path).exists()] == []
    rooms = {f"{path.parent.name}/" for path in ROOT.glob("*/__init__.py")}
    assert {*rooms, "tests/", *(path.name for path in ROOT.glob("*.py"))} - set(named) == set()
    assert len(named) == len(set(named))


# By the width of a table: our cell, and the published ones.
RESULT_COLUMNS = {6: (4, (5,)), 8: (1, (2, 3, 4, 5, 6, 7)), 13: (5, (6, 7))}


def read_results(text):
    """Return {config path: (our cell, the published ones)} of the tables whose rows begin with a config."""
    found = {}
    for table in find_tables(text):
        for row in table[2:]:
            if "configs/" in row[0] and len(row) in RESULT_COLUMNS:
                ours, published = RESULT_COLUMNS[len(row)]
                found[find_spans(row[0])[0]] = row[ours].strip(), [row[column].strip() for column in published]
    return found


def read_expected(config):
    """Return the comment line of a config that says what to expect of it."""
    return next(line for line in read(config).splitlines() if line.startswith("# expected: "))


def find_result_faults(config, ours, published, expected):
    """Yield where a row's figures, ours and the published ones, contradict the config's own comment."""
    if NUMBER.search(ours) and "not run" in expected:
        yield f"{config}: {ours} here, but its comment says: {expected}"
    if ours == "not run" and "not run" not in expected:
        yield f"{config}: not run here, but its comment says: {expected}"
    for figure in NUMBER.findall(" ".join(published)):
        if figure not in NUMBER.findall(expected):
            yield f"{config}: {figure} was published, but its comment says: {expected}"


def test_every_config_has_a_row_of_results_that_its_comment_agrees_with():
    rows = read_results(read("MODEL_ZOO.md"))
    assert set(rows) == {f"configs/{path.name}" for path in (ROOT / "configs").iterdir()}
    faults = [list(find_result_faults(config, *row, read_expected(config))) for config, row in rows.items()]
    assert sum(faults, []) == []


def read_measured():
    """Return {the train command's words after the script: the row} of docs/results/measured.jsonl."""
    rows = [json.loads(line) for line in read("docs/results/measured.jsonl").splitlines()]
    return {tuple(shlex.split(row["commands"][0])[2:]): row for row in rows}


def find_measured_faults(row, measured):
    """Yield where a row of the README's measured figures is not what the file of results has for its config.

    A row of several seeds, "0, 1, 2", shows the mean and the standard deviation, "50.0 ± 1.2".
    """
    config, *flags = find_spans(row[0])
    words = [word for flag in flags for word in shlex.split(flag)]
    found = [result for command, result in measured.items() if command[0] == config and set(words) <= set(command)]
    if not found:
        yield f"{config}: no line in docs/results/measured.jsonl"
        return
    seeds = ", ".join(str(result["seed"]) for result in found)
    if seeds != row[3].strip():
        yield f"{config}: the seed was {seeds}"
    figures = [100 * result["top1"] for result in found]
    measured = f"{statistics.mean(figures):.1f}" + (f" ± {statistics.stdev(figures):.1f}" if len(found) > 1 else "")
    if measured != row[-1].strip():
        yield f"{config}: {row[-1].strip()} here, {measured} measured"
    if {str(result["num_samples"]) for result in found} - set(find_numbers(row[1])):
        yield f"{config}: {found[0]['num_samples']} samples were scored"


@both_readmes
def test_the_figures_of_the_readme_are_those_that_were_written_down(text):
    (table,) = [table for table in find_tables(text) if "configs/" in table[2][0]]
    assert [fault for row in table[2:] for fault in find_measured_faults(row, read_measured())] == []
    for command, row in read_measured().items():
        assert row["chosen"].startswith(f"epoch {row['epochs'] - 1}, no list chose it"), command


@pytest.mark.parametrize(
    "row, fault",
    [
        ("| `configs/a.txt` | data, 9 videos | 1 clip | 0 | 50.0 |", ""),
        ("| `configs/b.txt` | data, 9 videos | 1 clip | 0 | 50.0 |", "no line"),
        ("| `configs/a.txt` with `-o A.b=1` | data, 9 videos | 1 clip | 0 | 50.0 |", "no line"),
        ("| `configs/a.txt` | data, 8 videos | 1 clip | 0 | 50.0 |", "9 samples were scored"),
        ("| `configs/a.txt` | data, 9 videos | 1 clip | 1 | 50.0 |", "the seed was 0"),
        ("| `configs/a.txt` | data, 9 videos | 1 clip | 0 | 50.1 |", "50.1 here, 50.0 measured"),
        ("| `configs/c.txt` | data, 9 videos | 1 clip | 0, 1, 2 | 50.0 ± 2.0 |", ""),
        ("| `configs/c.txt` | data, 9 videos | 1 clip | 0, 1 | 50.0 ± 2.0 |", "the seed was 0, 1, 2"),
        ("| `configs/c.txt` | data, 9 videos | 1 clip | 0, 1, 2 | 52.0 |", "52.0 here, 50.0 ± 2.0 measured"),
    ],
)
def test_a_figure_that_was_not_measured_is_seen(row, fault):
    """c.txt was trained with three seeds."""
    measured = {("configs/a.txt", "--root", "data"): {"top1": 0.5, "num_samples": 9, "seed": 0}}
    for seed, top1 in enumerate((0.48, 0.5, 0.52)):
        measured["configs/c.txt", "--seed", str(seed)] = {"top1": top1, "num_samples": 9, "seed": seed}
    faults = list(find_measured_faults(row.strip("|").split("|"), measured))
    assert len(faults) == bool(fault) and fault in "".join(faults)


@pytest.mark.parametrize(
    "ours, paper, expected, num_faults",
    [
        ("81.7", "42.4", "42.4 (paper), ours 81.7", 0),
        ("not run", "42.4", "42.4 (paper); ours: not run", 0),
        ("81.7", "-", "not run", 1),
        ("not run", "-", "at least 90", 1),
        ("not run", "42.4", "44.2 (paper); ours: not run", 1),
        ("not run", "42.4 / 70.1", "42.4 top-1, 71.0 top-5 (paper); ours: not run", 1),
    ],
)
def test_a_figure_against_its_config_is_seen(ours, paper, expected, num_faults):
    assert len(list(find_result_faults("configs/a.txt", ours, [paper], expected))) == num_faults


def test_the_licence_is_whole():
    text = read("LICENSE")
    assert "Apache License" in text and "Version 2.0, January 2004" in text and len(text.split()) == 1581
