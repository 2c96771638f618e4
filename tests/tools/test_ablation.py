"""The plan's switches: what each run is asked for, the table's arithmetic, and that nothing is run twice."""

import json
import pathlib

import numpy as np
import pytest
from paths import ROOT
from ramp_videos import write_frames
from small_poses import HEIGHT, WIDTH, make_annotation

import ensemble
import recipe
import test
import train
from common import files, text_files
from engine import flags, report
from tools import ablation

NUM_SAMPLES = 10
RIGHT = {"base": [5, 6, 4], "augmentation": [7, 6, 8], "epochs": [6, 6, 7]}  # of the samples, by seed; else 5


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """Stand in for the scripts: {folder: (script, resolved config)} of what was run, in that order."""
    monkeypatch.chdir(tmp_path)
    made = {}

    def run_script(script, *words, log_file):
        folder, words = log_file.parent, list(words)
        key = folder.relative_to(log_file.parents[2]).as_posix()
        assert log_file.name == "said.txt" and key not in made
        num_right = RIGHT.get(folder.parent.name, [5, 5, 5])[int(folder.name[-1])]
        if script == "ensemble.py":
            made[key] = script, words
            ensemble.main(words)
        elif script == "train.py":
            config = train.read_recipe(flags.parse_train(words))[0]
            made[key] = script, config
            write_run(folder, config["RUN"]["epochs"], num_right)
        else:
            args = flags.parse_test(words)
            base = train.read_recipe(flags.parse_train([str(ROOT / ablation.BASE)]))[0]
            made[key] = script, {**test.read_config(args, {"config": base}), "weights": args.weights}
            (folder / "result.json").write_text(json.dumps({"summary": {"top1": num_right / NUM_SAMPLES}}))

    monkeypatch.setattr(ablation, "run_script", run_script)
    return made


def write_run(folder, epochs, num_right):
    """Write what a training leaves: figures that rise to the last epoch's, and its scores."""
    rows = [{"epoch": epoch, "val/acc/RGBPose_1:1_top1": 0.01 * epoch} for epoch in range(epochs - 1)]
    rows += [{"epoch": epochs - 1, "train/step_loss": 1.0}]
    rows += [{"epoch": epochs - 1, "val/acc/RGBPose_1:1_top1": num_right / NUM_SAMPLES}]
    (folder / "pcan_log.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    is_right = np.arange(NUM_SAMPLES) < num_right
    scores = np.stack([is_right, ~is_right], axis=1).astype(np.float32)
    result = {"names": list("abcdefghij"), "labels": np.zeros(NUM_SAMPLES, int), "scores": scores}
    path = folder / f"pcan_val_{epochs:05d}_scores.pkl"
    report.write_scores(str(path), result, ["zero", "one"], {"average_clips": "prob"})


def measure(*words):
    return ablation.main(["--save_dir", "out", *map(str, words)])


def find_differences(config, base):
    """Return {SECTION.key: value} where a config differs, of RUN only what a switch may set."""
    own = ("epochs", "save_dir", "log_file", "resume", "save_scores")
    return {
        f"{section}.{key}": value
        for section, values in config.items()
        for key, value in values.items()
        if (section != "RUN" or key not in own) and base[section].get(key) != value
    }


def test_each_switch_is_the_plans(runs):
    assert measure("--seeds", 1) == 0
    plan = recipe.read_recipe(str(ROOT / "configs/pcan_ntu60_phase12.yaml"), {}, [])[0]
    base = runs["base/seed0"][1]
    trained = {name: find_differences(runs[f"{name}/seed0"][1], base) for name in list(ablation.SWITCHES)[:6]}
    augmentation = {f"TRAIN.{key}": plan["TRAIN"][key] for key in ("crop_area", "color_jitter", "erasing_ratio")}
    assert trained == {
        "epochs": {},
        "augmentation": {**augmentation, "TRAIN.erasing_area": [0.02, 0.2]},
        "loss_weights": {"MODEL.loss_weights": plan["MODEL"]["loss_weights"]},
        "label_smoothing": {"RUN.label_smoothing": 0.1},
        "batch": {"TRAIN.batch_size": 10, "OPTIMIZER.base_batch_size": base["TRAIN"]["batch_size"]},
        "mixing": {"RUN.mixup_alpha": 0.2, "RUN.cutmix_alpha": 1.0, "RUN.mix_ratio": 0.5},
    }
    assert runs["epochs/seed0"][1]["RUN"]["epochs"] == 2 * base["RUN"]["epochs"] == 24
    assert {name: runs[f"{name}/seed0"][1]["RUN"]["seed"] for name in trained} == dict.fromkeys(trained, 0)
    tested = {name: runs[f"{name}/seed0"] for name in ("ten_clips", "flip", "scales")}
    assert {script for script, _ in tested.values()} == {"test.py"}
    assert {config.pop("weights") for _, config in tested.values()} == {"out/base/seed0/pcan_model"}
    assert {name: find_differences(config, base) for name, (_, config) in tested.items()} == {
        "ten_clips": {"TEST.num_clips": plan["TEST"]["num_clips"]},
        "flip": {"TEST.flip": True},
        "scales": {"TEST.scales": [size * base["READER"]["short_size"] // 256 for size in (224, 256, 288)]},
    }
    assert base["READER"]["crop_size"] == 224 * base["READER"]["short_size"] // 256


def test_the_plans_estimates_are_those_of_its_config():
    header = (ROOT / "configs/pcan_ntu60_phase12.yaml").read_text(encoding="utf-8")
    gains = " ".join(header.split("Gains: ")[1].split(", all")[0].replace("#", "").split())
    told = dict(gain.rsplit(" ", 1) for gain in gains.split(", "))
    names = {"epochs": "100 epochs", "loss_weights": "loss weights", "label_smoothing": "label smoothing"}
    names["ten_clips"] = "ten clips"
    found = {names.get(name, name): switch.estimate.replace(" to +", "-") for name, switch in ablation.SWITCHES.items()}
    assert {name: found[name] for name in told} == told
    assert set(found) - set(told) == {"flip", "scales"}  # of which the list of gains says nothing


def test_the_table_is_of_means_over_seeds_each_against_its_own_base(runs, capsys):
    assert measure("--only", "augmentation", "epochs", "flip", "--epochs", 3) == 0
    told = capsys.readouterr().out
    table = [
        "| switch | the plan's estimate | measured change | accuracy, % |",
        "|---|---|---|---|",
        "| base | | | 50.00 (40.00 to 60.00) |",
        "| augmentation | +1 to +2 | +20.00 (+0.00 to +40.00) | 70.00 (60.00 to 80.00) |",
        "| epochs | +2 to +3 | +13.33 (+0.00 to +30.00) | 63.33 (60.00 to 70.00) |",
        "| flip | +0.5 to +1 | +0.00 (-10.00 to +10.00) | 50.00 (50.00 to 50.00) |",
    ]
    assert "\n".join(table) in told
    assert "after the last of 3 epochs (`epochs`: twice as many), mean over 3 seeds" in told
    assert "This is sample data: 10 clips of a drawn figure, of which one is 10.00 points" in told
    assert text_files.read_lines("out/table.md", "")[:6] == table
    assert runs["epochs/seed2"][1]["RUN"]["epochs"] == 6 and runs["epochs/seed2"][1]["RUN"]["seed"] == 2
    assert set(runs) == {
        f"{name}/seed{seed}" for name in ("base", "augmentation", "epochs", "flip") for seed in (0, 1, 2)
    }


def test_the_ensemble_is_of_the_base_another_seed_and_another_augmentation(runs):
    assert measure("--only", "ensemble", "--seeds", 2, "--epochs", 1) == 0
    assert set(runs) == {f"{name}/seed{seed}" for name in ("base", "augmentation", "ensemble") for seed in (0, 1)}
    script, words = runs["ensemble/seed1"]
    scores = [f"out/{one}/pcan_val_00001_scores.pkl" for one in ("base/seed1", "base/seed0", "augmentation/seed1")]
    assert script == "ensemble.py" and words[:3] == scores
    assert words[3:7] == ["--weights", "0.4", "0.3", "0.3"]
    # Of seed 1: 6 right by 0.4, 5 by 0.3 and 6 by 0.3: those that two of three have right.
    kept = json.loads(pathlib.Path("out/ensemble/seed1/run.json").read_text(encoding="utf-8"))
    assert kept["accuracy"] == 0.6


def test_one_seed_takes_a_second_one_for_the_ensemble(runs):
    assert measure("--only", "ensemble", "--seeds", 1) == 0
    assert list(runs) == ["base/seed0", "base/seed1", "augmentation/seed0", "ensemble/seed0"]


def test_the_second_time_only_what_is_missing_is_run(runs, capsys):
    words = ["--only", "flip", "mixing", "--seeds", 2]
    assert measure(*words) == 0
    first = capsys.readouterr().out
    assert "mixing, seed 1: 50.00 %, 0 s" in first
    for key in list(runs):
        del runs[key]
    pathlib.Path("out/mixing/seed1/run.json").unlink()
    assert measure(*words) == 0
    second = capsys.readouterr().out
    assert list(runs) == ["mixing/seed1"] and second.split("\n\n")[1] == first.split("\n\n")[1]


def test_runs_made_in_another_way_are_not_mixed_in(runs):
    assert measure("--only", "flip", "--seeds", 1, "--epochs", 2) == 0
    for words in (["--epochs", 3], ["--epochs", 2, "-o", "OPTIMIZER.learning_rate=1e-3"]):
        with pytest.raises(ValueError, match="seed0' has a run that was started with other flags or another configs"):
            measure("--only", "flip", "--seeds", 1, *words)
    assert len(runs) == 2


def test_overrides_of_all_runs_reach_them_and_switches_come_after(runs):
    words = ["-o", "RUN.use_gpu=False", "-o", "RUN.epochs=5", "-o", "RUN.label_smoothing=0.3", "-o", "TEST.num_clips=3"]
    assert measure("--only", "label_smoothing", "ten_clips", "flip", "--seeds", 1, *words) == 0
    configs = {key.split("/")[0]: config for key, (_, config) in runs.items()}
    assert all(config["RUN"]["use_gpu"] is False for config in configs.values())
    assert {configs[name]["RUN"]["epochs"] for name in ("base", "label_smoothing")} == {5}
    smoothing = [configs[name]["RUN"]["label_smoothing"] for name in ("base", "label_smoothing")]
    assert smoothing == [0.3, 0.1]
    assert [configs[name]["TEST"]["num_clips"] for name in ("base", "ten_clips", "flip")] == [3, 10, 3]
    assert all(config["RUN"]["log_file"] == f"out/{name}/seed0/logger.log" for name, config in configs.items())


def test_a_switch_that_fails_is_told_and_the_others_go_on(runs, monkeypatch, capsys):
    run_script = ablation.run_script

    def fail(script, *words, log_file):
        if log_file.parent.as_posix().endswith("mixing/seed1"):
            raise OSError("train.py ended with status 1")
        run_script(script, *words, log_file=log_file)

    monkeypatch.setattr(ablation, "run_script", fail)
    words = ["--only", "mixing", "flip", "--seeds", 2]
    assert measure(*words) == 1
    told = capsys.readouterr().out
    assert "FAILED: mixing, seed 1: train.py ended with status 1" in told
    assert "| mixing | +1 to +2 | failed | failed |" in told and "| flip | +0.5 to +1 | -5.00 (" in told
    monkeypatch.setattr(ablation, "run_script", run_script)
    assert measure(*words) == 0 and list(runs)[-1] == "mixing/seed1"


def test_a_log_without_the_figure_is_refused(runs, tmp_path):
    write_run(tmp_path, 2, 5)
    assert ablation.read_last(tmp_path / "pcan_log.jsonl", 2) == 0.5
    with pytest.raises(ValueError, match="has no acc/RGBPose_1:1_top1 of epoch 2; leave RUN.validate as it is"):
        ablation.read_last(tmp_path / "pcan_log.jsonl", 3)


@pytest.mark.parametrize("words", [["--seeds", "0"], ["--epochs", "0"], ["--only", "more"]])
def test_what_is_not_there_is_refused(words, capsys):
    with pytest.raises(SystemExit):
        ablation.parse_arguments(words)
    message = capsys.readouterr().err
    assert "take numbers from 1" in message or "invalid choice: 'more'" in message


# With the scripts themselves.


def write_samples(root):
    """Write two clips of each of three classes and a pkl whose splits are those of the sample data."""
    annotations = [make_annotation(f"{label}{split}", label, num_frames=8) for split in "ab" for label in range(3)]
    for number, annotation in enumerate(annotations):
        frames = np.full((8, HEIGHT, WIDTH, 3), 40 * number, np.uint8)
        write_frames(root / "pictures" / annotation["frame_dir"], frames)
    names = [annotation["frame_dir"] for annotation in annotations]
    split = {"train1": names[:3], "test1": names[3:]}
    files.dump_pickle({"split": split, "annotations": annotations, "class_names": list("abc")}, root / "poses.pkl")
    overrides = {
        "MODEL.num_classes": 3,
        "MODEL.coarse_groups": [0, 0, 1],
        "READER.filelist": root / "poses.pkl",
        "READER.videos": root / "pictures",
        "READER.num_workers": 0,
        "TRAIN.batch_size": 3,
        "RUN.use_gpu": False,
    }
    return [word for key, value in overrides.items() for word in ("-o", f"{key}={value}")]


def test_the_scripts_do_what_they_are_asked_for(tmp_path, run_script):
    words = ["--only", "flip", "--seeds", 1, "--epochs", 1, "--save-dir", "out", *write_samples(tmp_path)]
    told = []
    for _ in range(2):
        ended = run_script("tools/ablation.py", *words, cwd=tmp_path)
        assert ended.returncode == 0, ended.stdout + ended.stderr
        told.append(ended.stdout)
    assert [line.split(":")[0] for line in told[0].splitlines()[:2]] == ["base, seed 0", "flip, seed 0"]
    assert told[1].startswith("\n| switch |") and told[0].endswith(told[1])
    result = json.loads((tmp_path / "out/flip/seed0/result.json").read_text(encoding="utf-8"))
    assert result["summary"]["protocol"]["flip"] is True and result["summary"]["num_samples"] == 3
    assert result["summary"]["protocol"]["split"] == "test1"
    scores = ensemble.read_scores(str(tmp_path / "out/base/seed0/pcan_val_00001_scores.pkl"))
    kept = [json.loads((tmp_path / f"out/{name}/seed0/run.json").read_text())["accuracy"] for name in ("base", "flip")]
    assert kept[0] == (scores.scores.argmax(axis=1) == scores.labels).mean()
    assert kept[1] == result["summary"]["top1"]
    assert f"| base | | | {100 * kept[0]:.2f} (" in told[0]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "pictures", "poses.pkl"]
