"""Config texts: both dialects, the 2020 keys, overrides, and every misspelling refused with a hint."""

import pathlib
import re

import pytest
from paths import ROOT

import config as texts

VALUES = {
    "1e-4": 1e-4,
    "1:1": "1:1",
    "[0.485, 0.456]": [0.485, 0.456],
    "[a, b]": ["a", "b"],
    "50, 100": [50, 100],
    "True": True,
    "false": False,
    "none": None,
    "": None,
    '"resnet"': "resnet",
    '"a # b"': "a # b",
    "data/train.list  # where it stands": "data/train.list",
    "50%": "50%",
    "acc/RGBPose_1:1_top1": "acc/RGBPose_1:1_top1",
    "0.1": 0.1,
    "010": "010",
}


@pytest.mark.parametrize("text", VALUES)
def test_values_are_parsed_alike_in_both_dialects(text, tmp_path):
    ini, yaml = tmp_path / "a.txt", tmp_path / "a.yaml"
    ini.write_text(f"[MODEL]\nsomeKey = {text}\n", encoding="utf-8")
    yaml.write_text(f"MODEL:\n  someKey: {'[50, 100]' if text == '50, 100' else text}\n", encoding="utf-8")
    expected = {"someKey": VALUES[text]}
    assert texts.load_config(str(ini))["MODEL"] == expected
    assert texts.load_config(str(yaml))["MODEL"] == expected
    assert texts.parse_value(text) == VALUES[text]


def test_a_key_may_hold_a_colon_and_a_slash(tmp_path):
    (tmp_path / "a.txt").write_text("[RUN]\nacc/RGBPose_1:1_top1 = 2\n")
    (tmp_path / "a.yaml").write_text("RUN:\n  acc/RGBPose_1:1_top1: 2\n")
    for name in ("a.txt", "a.yaml"):
        assert texts.load_config(str(tmp_path / name))["RUN"] == {"acc/RGBPose_1:1_top1": 2}


@pytest.mark.parametrize(
    "name, text, message",
    [
        ("a.txt", "[MODLE]\nname = resnet\n", "unknown section [MODLE]; did you mean 'MODEL'?"),
        ("a.yaml", "MODLE:\n  name: resnet\n", "unknown section [MODLE]; did you mean 'MODEL'?"),
        ("a.txt", "[RUN]\nepochs = 1\nepochs = 2\n", "already exists"),
        ("a.yaml", "RUN:\n  epochs: 1\n  epochs: 2\n", "line 3: key 'epochs' is given twice"),
        ("a.txt", "epochs = 1\n", "no section headers"),
        ("a.yaml", "RUN: 5\n", "section RUN holds 5"),
        ("a.yaml", "- a\n", "expected sections at the top"),
        ("a.txt", "[RUN]\nmetric = [top1\n", "close the bracket"),
        ("a.json", "{}", "expected a name that ends in .txt or .yaml"),
    ],
)
def test_a_broken_text_is_named(name, text, message, tmp_path):
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError) as caught:
        texts.load_config(str(tmp_path / name))
    assert message in str(caught.value) and name in str(caught.value)


def test_a_missing_file_names_the_nearest(tmp_path):
    (tmp_path / "resnet.txt").write_text("[RUN]\n")
    with pytest.raises(FileNotFoundError, match="resnt.txt' does not exist; did you mean .*resnet.txt"):
        texts.load_config(str(tmp_path / "resnt.txt"))


def test_overrides_win_and_bad_ones_are_told():
    given = texts.parse_overrides(["RUN.epochs=6", "RUN.epochs=65", "OPTIMIZER.learning_rate=1e-4", "run.metric=a=b"])
    assert given == {"RUN": {"epochs": 65, "metric": "a=b"}, "OPTIMIZER": {"learning_rate": 1e-4}}
    with pytest.raises(ValueError, match="expected SECTION.key=value"):
        texts.parse_overrides(["epochs=65"])
    with pytest.raises(ValueError, match="unknown section; did you mean 'OPTIMIZER'"):
        texts.parse_overrides(["OPTIMISER.learning_rate=1"])


def test_on_a_command_line_nothing_is_a_comment():
    given = texts.parse_overrides(["TRAIN.filelist=data/my set #1/train.list", "RUN.log_file= # 1 "])
    assert given == {"TRAIN": {"filelist": "data/my set #1/train.list"}, "RUN": {"log_file": "# 1"}}


def test_a_home_folder_is_filled_in(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", "/home/wang")
    (tmp_path / "a.yaml").write_text("RUN:\n  save_dir: ~/runs  # his\n  log_file: ~\n  pretrain: a~b\n")
    run = {"save_dir": "/home/wang/runs", "log_file": None, "pretrain": "a~b"}
    assert texts.load_config(str(tmp_path / "a.yaml"))["RUN"] == run
    assert texts.parse_overrides(["RUN.save_dir=~/my runs"]) == {"RUN": {"save_dir": "/home/wang/my runs"}}


MERGED = """
TRAIN: &train
  batch_size: 8
  num_workers: 2
VALID: &valid
  <<: *train
  batch_size: 4
TEST:
  num_clips: 3
  <<: [*valid, *train]
"""


def test_yaml_merges_keys_and_the_own_and_the_first_win(tmp_path):
    (tmp_path / "a.yaml").write_text(MERGED)
    config = texts.load_config(str(tmp_path / "a.yaml"))
    assert config["TRAIN"] == {"batch_size": 8, "num_workers": 2}
    assert config["VALID"] == {"batch_size": 4, "num_workers": 2}
    assert config["TEST"] == {"batch_size": 4, "num_workers": 2, "num_clips": 3}
    (tmp_path / "b.yaml").write_text("TRAIN:\n  <<: 5\n")
    with pytest.raises(ValueError, match="b.yaml: not a config text: line 2: << takes keys with values"):
        texts.load_config(str(tmp_path / "b.yaml"))


class Toy:
    """A thing with typed parameters."""

    def __init__(self, num_classes: int, width: float = 1.0, mean: list[float] | None = None, is_wide: bool = False):
        self.arguments = (num_classes, width, mean, is_wide)


def test_a_section_is_filled_from_the_signature():
    filled = texts.fill_section("x [MODEL]", {"name": "toy", "num_classes": 3, "width": 2}, [Toy])
    assert filled == {"name": "toy", "num_classes": 3, "width": 2, "mean": None, "is_wide": False}
    assert texts.fill_section("x", filled, [Toy]) == filled  # resolving twice changes nothing


@pytest.mark.parametrize(
    "values, message",
    [
        ({"widht": 2.0}, "x [MODEL]: unknown key 'widht'; did you mean 'width'? (known: num_classes, width"),
        ({"width": "wide"}, "x [MODEL]: width: expected float, got 'wide'"),
        ({"width": True}, "x [MODEL]: width: expected float, got True"),
        ({"num_classes": 2.5}, "x [MODEL]: num_classes: expected int, got 2.5"),
        ({"num_classes": False}, "x [MODEL]: num_classes: expected int, got False"),
        ({"is_wide": "Fasle"}, "x [MODEL]: is_wide: expected bool, got 'Fasle'"),
        ({"mean": ["a"]}, "x [MODEL]: mean: expected list[float] | None, got ['a']"),
    ],
)
def test_wrong_keys_and_types_are_refused(values, message):
    with pytest.raises(ValueError) as caught:
        texts.fill_section("x [MODEL]", values, [Toy])
    assert str(caught.value).startswith(message)


def test_the_2020_text_keeps_its_meaning():
    config = texts.load_config(str(ROOT / "tests" / "data" / "resnet_2020.txt"))
    dropped = texts.translate_2020(config)
    assert dropped == ["MODEL.format", "TRAIN.buf_size", "TRAIN.num_gpus", "TRAIN.total_videos", "VALID.buf_size"]
    assert config["MODEL"] == {"name": "resnet", "num_classes": 101, "depth": 50}
    assert config["READER"]["clip_len"] == 16 and config["READER"]["mean"] == [0.485, 0.456, 0.406]
    assert config["TRAIN"]["batch_size"] == 128 and config["TRAIN"]["crop_size"] == 112
    assert config["VALID"]["num_clips"] == 7  # seven clips scored one by one, not one clip seven times as long
    expected = {"learning_rate": 0.01, "learning_rate_decay": 0.1, "weight_decay": 1e-4, "momentum": 0.9}
    assert config["OPTIMIZER"] == expected
    assert config["RUN"] == {"epochs": 1, "use_gpu": True}


def test_a_key_of_today_wins_over_its_name_of_2020():
    """Whoever adds a key to a text of 2020 means what she adds."""
    config = {section: {} for section in texts.SECTIONS}
    config["TRAIN"] = {"epoch": 65, "learning_rate": 0.01, "target_size": 112, "crop_size": 224}
    config["RUN"] = {"epochs": 3}
    texts.translate_2020(config)
    assert config["RUN"] == {"epochs": 3} and config["OPTIMIZER"] == {"learning_rate": 0.01}
    assert config["TRAIN"] == {"crop_size": 224}


def test_the_names_of_pbgcns_runner_load():
    config = {section: {} for section in texts.SECTIONS}
    config["MODEL"] = {"channel": 15, "num_class": 60, "window_size": 300, "num_joints": 25, "num_actors": 2}
    config["MODEL"].update({"graph": "graph.NTUGraph", "graph_args": {"labeling_mode": "parts"}})
    config["OPTIMIZER"] = {"optimizer": "sgd", "base_lr": 0.1, "step": [20, 50, 70], "weight_decay": 5e-4}
    config["RUN"] = {"num_epoch": 80, "eval_interval": 5, "show_topk": [1, 5], "weights": "w", "save_path": "out"}
    config["RUN"]["save_score"] = True
    dropped = texts.translate_2020(config)
    assert config["MODEL"] == {"in_channels": 15, "num_classes": 60, "labeling_mode": "parts"}
    assert config["READER"] == {"layout": "ntu25", "clip_len": 300, "num_persons": 2}
    assert config["OPTIMIZER"] == {
        "weight_decay": 5e-4, "name": "sgd", "learning_rate": 0.1, "milestones": [20, 50, 70]
    }  # fmt: skip
    assert config["RUN"] == {"eval_interval": 5, "epochs": 80, "pretrain": "w", "save_dir": "out", "save_scores": True}
    assert dropped == ["MODEL.num_joints", "RUN.show_topk"]


def test_renamed_keys_load_from_texts_and_overrides(tmp_path, caplog):
    text = "[MODEL]\nshift = inplace\n[READER]\nshift = True\n[TRAIN]\nmove = True\n"
    text += "[VALID]\nrandom_move = False\nmove = True\n"
    (tmp_path / "a.txt").write_text(text)
    config = texts.load_config(str(tmp_path / "a.txt"))
    assert config["MODEL"] == {"shift": "inplace"}  # a key of another section
    assert config["READER"] == {"random_shift": True} and config["TRAIN"] == {"random_move": True}
    assert config["VALID"] == {"random_move": False}  # the new name wins
    assert "the key TRAIN.move is called TRAIN.random_move now" in caplog.messages
    given = texts.parse_overrides(["READER.shift=False", "train.move=False"])
    assert given == {"READER": {"random_shift": False}, "TRAIN": {"random_move": False}}
    assert caplog.messages.count("the key READER.shift is called READER.random_shift now") == 2
    assert len(caplog.messages) == 5
    for old, new in (("static", "onednn"), ("dynamic", "dynamic"), ("auto", "auto")):
        assert texts.parse_overrides([f"RUN.step={old}"]) == {"RUN": {"cpu_backend": new}}
    assert caplog.messages[-1] == "the key RUN.step is called RUN.cpu_backend now"


def test_the_printed_block_has_the_2020_form():
    config = {"MODEL": {"name": "resnet", "depth": 50}, "RUN": {}}
    rows = texts.format_config(config).split("\n")
    assert rows[0] == "---------------- Valid Arguments ----------------"
    assert rows[1:4] == ["MODEL:", "    name:resnet", "    depth:50"]
    assert set(rows[4]) == {"-"} and len(rows) == 5


def test_differences_between_configs_are_listed():
    old = {"MODEL": {"depth": 18}, "RUN": {"epochs": 1}}
    new = {"MODEL": {"depth": 34}, "RUN": {"epochs": 2}}
    assert texts.differences(old, new) == [("MODEL.depth", 18, 34)]


@pytest.mark.parametrize("path", sorted(pathlib.Path(ROOT / "configs").glob("*.*")), ids=lambda path: path.name)
def test_every_config_opens_with_its_paper_command_and_figure(path):
    comment = [line for line in path.read_text(encoding="utf-8").split("\n") if line.startswith("#")]
    head = "\n".join(comment)
    is_told = re.search(r"python train(_streams)?\.py", head) and "expected:" in head.lower()
    assert is_told, f"{path.name}: say the command and `expected:`"


class Parent:
    """Takes two keys."""

    def __init__(self, width: int, depth: int = 18):
        pass


class Child(Parent):
    """Has another default for one of them, one of its own, and hands on the others."""

    def __init__(self, width: int = 7, groups: list | None = None, **others):
        pass


def test_keys_that_a_class_hands_to_its_parent_are_keys_too():
    filled = texts.fill_section("a.txt [MODEL]", {"depth": 50}, [Child])
    assert filled == {"width": 7, "depth": 50, "groups": None}
    with pytest.raises(ValueError, match="unknown key 'others' \\(known: width, depth, groups"):
        texts.fill_section("a.txt [MODEL]", {"others": 1}, [Child])


def test_a_shipped_text_is_found_from_any_folder_and_one_that_stands_there_comes_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert texts.load_config("configs/quickstart.txt")["MODEL"]["name"] == "resnet"
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "quickstart.txt").write_text("[MODEL]\nname = tsm\n")
    assert texts.load_config("configs/quickstart.txt")["MODEL"] == {"name": "tsm"}
    with pytest.raises(
        FileNotFoundError, match="config 'configs/quickstrt.txt' does not exist; did you mean 'configs/qu"
    ):
        texts.load_config("configs/quickstrt.txt")


BOMB = "MODEL:\n  a0: &a0 [1]\n" + "".join(f"  a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 40))


@pytest.mark.parametrize(
    "text, message",
    [
        (BOMB, "make more than 100000 values"),
        ("MODEL:\n  x: &x [*x]\n", "line 2: an anchor (&) whose value refers to itself (*)"),
        ("MODEL: " + "[" * 5000, "line 1: brackets in brackets without end"),
        ("MODEL:\n  ? [a, b]\n  : 1\n", "line 2: a key is a word"),
    ],
    ids=["bomb", "ring", "deep", "key"],
)
def test_yaml_that_never_ends_is_refused(text, message, tmp_path):
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(ValueError, match="a.yaml: not a config text") as caught:
        texts.load_config(str(tmp_path / "a.yaml"))
    assert message in str(caught.value)


def test_a_value_that_python_cannot_take_apart_is_refused_with_the_name_of_the_text(tmp_path):
    path = tmp_path / "minus.txt"
    path.write_text(f"[MODEL]\nname = {'-' * 20_000}1\n", encoding="utf-8")
    with pytest.raises(ValueError, match="minus.txt"):
        texts.load_config(str(path))
