"""A file of trials: a line for each training, for one that failed too."""

import json

import pytest

from tools.measure import try_recipe


def read(path):
    """Return the lines of a file of trials."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def make_train(folder, rows):
    """Return a stand-in for `run_script` that writes the log of a run."""

    def run_script(script, *words, log_file):
        assert script == "train.py" and f"RUN.val_begin={try_recipe.NEVER}" in words
        folder.mkdir()
        (folder / "ddnet_log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")

    return run_script


def test_the_last_epoch_is_written_down_once(tmp_path, monkeypatch, capsys):
    rows = [
        {"epoch": 0, "train/top1": 0.1, "val/top1": 0.9, "val/loss": 0.1},
        {"epoch": 7, "train/top1": 0.75, "val/top1": 0.51236, "val/loss": 1.5},
        {"epoch": 7, "train/step_loss": 1.0},
    ]
    monkeypatch.setattr(try_recipe, "run_script", make_train(tmp_path / "a", rows))
    words = ["configs/small_skeletons.yaml", "--save_dir", str(tmp_path / "a"), "--seed", "3"]
    results = tmp_path / "trials.jsonl"
    for _ in range(2):  # the second time there is nothing to do
        assert try_recipe.main([*words, "--results", str(results)]) == 0
    (row,) = read(results)
    assert row["command"] == f"python train.py {' '.join(words)}"
    assert row.pop("seconds") >= 0 and row.pop("command") and row.pop("text")["MODEL"]["name"] == "ddnet"
    assert row == {"seed": 3, "epoch": 7, "top1": 0.5124, "loss": 1.5, "train_top1": 0.75}
    assert "nothing to do" in capsys.readouterr().out


def test_a_training_that_failed_has_its_line(tmp_path, monkeypatch):
    def fail(*words, **options):
        raise OSError("train.py ended with status 1: loss is nan")

    monkeypatch.setattr(try_recipe, "run_script", fail)
    words = ["configs/small_skeletons.yaml", "--save_dir", str(tmp_path / "a"), "--results", str(tmp_path / "t")]
    assert try_recipe.main(words) == 1
    (row,) = read(tmp_path / "t")
    assert row["error"] == "train.py ended with status 1: loss is nan" and "top1" not in row


def test_a_trial_needs_a_folder(capsys):
    with pytest.raises(SystemExit):
        try_recipe.parse_arguments(["configs/small_skeletons.yaml"])
    assert "name a config text and --save_dir" in capsys.readouterr().err
