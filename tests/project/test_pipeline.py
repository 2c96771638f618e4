"""The whole road by its commands, as a user types them: sample videos to a labelled prediction."""

import json
import shutil

import pytest
from paths import ROOT
from small_dataset import CONFIG, write_config

from dataset import records
from engine import checkpoint


def run_all(run_script, cwd, commands):
    """Run the commands one after the other in `cwd`; return what each printed."""
    printed = []
    for script, *words in commands:
        ended = run_script(script, *words, cwd=cwd)
        assert ended.returncode == 0, f"{script} {words}: {ended.stderr[-2000:]}"
        printed.append(ended.stdout)
    return printed


def test_the_scripts_run_without_arguments_on_the_default_places(run_script, samples, tmp_path):
    shutil.copytree(samples / "UCF-101", tmp_path / "data" / "UCF-101")
    shutil.copytree(samples / "ucfTrainTestlist", tmp_path / "data" / "ucfTrainTestlist")
    (tmp_path / "configs").mkdir()
    write_config(tmp_path / "configs" / "resnet.txt", CONFIG.replace("clip_len = 8", "clip_len = 4"))
    commands = [["avi2jpg.py"], ["jpg2pkl.py"], ["data_list_gener.py"], ["train.py", "--epoch", 1], ["test.py"]]
    printed = run_all(run_script, tmp_path, commands)
    entries, class_names = records.read_list(tmp_path / "data" / "test.list")
    assert len(class_names) >= 8 and len(entries) == len(class_names)
    assert records.read_official_size(tmp_path / "data" / "test.list") == len(entries)
    assert f"{len(entries)} videos scored (data/test.list)" in printed[-1] and "验证集准确率为:" in printed[-1]
    state = checkpoint.load_checkpoint(tmp_path / "checkpoints_models" / "resnet_model")
    assert state["class_names"] == class_names and state["epoch"] == 1
    assert (tmp_path / "logger.log").exists()
    video = sorted((tmp_path / "data" / "UCF-101").glob("*/*.avi"))[0]
    run_all(run_script, tmp_path, [["predict.py", "--input", video, "--save_dir", "predicted"]])
    result = json.loads(next((tmp_path / "predicted").glob("*.json")).read_text(encoding="utf-8"))
    assert any(name in json.dumps(result) for name in class_names)
    assert {path.suffix for path in (tmp_path / "predicted").iterdir()} == {".webm", ".png", ".json"}


@pytest.mark.long
def test_the_commands_of_2020_run_with_its_unmodified_text(run_script, tmp_path):
    """A ResNet-50 on 16 x 112 x 112 with the config text as people have it, in the places of 2020."""
    data = tmp_path / "data" / "data"
    flags = ["--classes", 3, "--groups", 3, "--clips", 1, "--frames", 20, "--width", 96, "--height", 72]
    run_all(run_script, tmp_path, [["tools/make_samples.py", "--root", data, *flags]])
    (tmp_path / "lyj").mkdir()
    for name in ("classInd.txt", "trainlist01.txt", "testlist01.txt"):
        shutil.copy(data / "ucfTrainTestlist" / name, tmp_path / "lyj" / name)
    (tmp_path / "configs").mkdir()
    shutil.copy(ROOT / "tests" / "data" / "resnet_2020.txt", tmp_path / "configs" / "resnet.txt")
    root = ["--root", "lyj"]
    commands = [
        ["avi2jpg.py", *root],
        ["jpg2pkl.py", *root],
        ["data_list_gener.py", *root],
        ["train.py", *root, "--use_gpu", "False", "--epoch", 1, "--batch_size", 3],
        ["test.py", *root, "--weights", "checkpoints_models/resnet_model", "--use_gpu", "False"],
        ["predict.py", "--input", next((data / "UCF-101").glob("*/*.avi")), "--use_gpu", "False"],
    ]
    printed = run_all(run_script, tmp_path, commands)
    logged = (tmp_path / "logger.log").read_text(encoding="utf-8")
    assert "Loss at epoch 0 step 1: [" in logged and "Final loss: [" in logged
    assert "    depth:50" in logged and "    num_clips:7" in logged
    assert "keys with no meaning any more were left out: MODEL.format, TRAIN.buf_size" in printed[3]
    assert "lyj/train.list names 3 classes, the model has 101 outputs; the rest stay unused" in printed[3]
    assert "x 0.1 at epochs 0.6, 0.85" in printed[3]  # learning_rate_decay without boundaries
    assert "3 videos scored (lyj/test.list)" in printed[4] and "验证集准确率为:" in printed[4]
