"""The file of measured recipes: what may be measured, and a line for each pair of commands."""

import json

import pytest

from tools import measure_recipe

WORDS = ["configs/quickstart.txt", "--save_dir", "output/a"]


def test_a_line_of_the_same_commands_is_replaced_where_it_stands(tmp_path):
    path = tmp_path / "measured.jsonl"
    for commands, top1 in ((["a", "b"], 0.1), (["c", "d"], 0.2), (["a", "b"], 0.3)):
        measure_recipe.write_row(str(path), {"commands": commands, "top1": top1})
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert rows == [{"commands": ["a", "b"], "top1": 0.3}, {"commands": ["c", "d"], "top1": 0.2}]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (WORDS[:1], "name a config text and --save_dir"),
        ([*WORDS, "--resume", "auto"], "leave out --resume"),
        ([*WORDS, "--overfit", "8"], "and --overfit"),
    ],
)
def test_what_is_not_measured_is_refused(words, message, capsys):
    with pytest.raises(SystemExit):
        measure_recipe.parse_arguments(words)
    assert message in capsys.readouterr().err


def test_train_py_gets_what_is_not_for_the_tool():
    args = measure_recipe.parse_arguments([*WORDS, "--results", "r.jsonl", "--seed", "3"])
    assert args.results == "r.jsonl" and args.rest == [*WORDS, "--seed", "3"] and args.train.seed == 3
