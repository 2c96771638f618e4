"""What a run shows on the screen: widths, figures, what comes next, and the verdict of --overfit."""

import re
import shlex
import types

import pytest
from paths import ROOT
from small_dataset import make_tree, write_config

import predict
import recipe
import test
import train
from common.messages import MAX_WIDTH, wrap
from dataset import records
from engine import checkpoint, evaluator, logger
from engine.charts.tags import find_chart
from engine.console import config_changes, first_updates, progress_lines, run_end
from engine.run_folder import Progress, is_known_by_heart
from tools import export

CONFIG = {
    "RUN": {"overfit": 8, "validate": True},
    "TRAIN": {"filelist": "data/train.list"},
    "READER": {"name": "clips"},
}


def test_long_lines_are_broken_at_blanks_and_long_words_stay_whole():
    text = wrap("a" * 60 + " " + "b" * 60 + "\nshort", indent=2)
    assert text == "a" * 60 + "\n  " + "b" * 60 + "\nshort"
    assert wrap("/path" * 30) == "/path" * 30


def test_each_number_has_its_chart():
    assert find_chart("train/loss") == ("train", "loss/loss") and find_chart("val/loss") == ("", "loss/loss")
    assert find_chart("train/rgb_loss_cls") == ("train", "loss/rgb_loss_cls")
    assert find_chart("val/acc/RGBPose_1:1_top1") == ("", "accuracy/RGBPose_1:1_top1")
    assert find_chart("train/step_lr") == ("", "update/learning_rate") and find_chart("train/lr") is None
    assert find_chart("time/data") == ("", "system/data_share") and find_chart("memory_gib") == (
        "",
        "system/memory_gib",
    )
    assert find_chart("test/top1") == ("", "test/top1")


def test_the_line_of_an_epoch_has_what_is_read_and_no_top5_of_five_classes():
    row = {"epoch": 3, "train/loss": 0.012345, "train/top1": 1.0, "train/lr": 1e-7}
    row.update({"val/loss": 1.23456, "val/top1": 0.25, "val/top5": 1.0, "val/acc/rgb_top1": 0.5, "val/acc/rgb_top5": 1})
    line = progress_lines.describe_epoch(row, 5, "0:00:07", "top1")
    assert line == (
        "END epoch 3: train loss 0.01235, top1 100.00%; val loss 1.235, top1 25.00%, rgb_top1 50.00%;\n"
        "    0:00:07; best top1 so far"
    )
    assert "top5 100.00%" in progress_lines.describe_epoch(row, 6, "0:00:07", None)


@pytest.mark.parametrize("name", ["rgbposeconv3d_r50_ntu60_xsub.yaml", "resnet.txt"])
def test_the_screen_has_the_keys_that_differ_and_no_others(name):
    path = str(ROOT / "configs" / name)
    text = config_changes.describe_changes(recipe.read_recipe(path, {}, [])[0], recipe.resolve, "c.yaml")
    lines = text.splitlines()
    assert max(map(len, lines)) <= MAX_WIDTH and "cpu_backend" not in text and "label_smoothing" not in text
    if name != "resnet.txt":
        assert lines[5:7] == [  # no line is broken between a key and its value
            "  TEST       filelist data/ntu60_hrnet.pkl, split xsub_val, crop_size 256, batch_size 4,",
            "             num_clips 10",
        ]
        assert lines[1] == "  MODEL      rgbposeconv3d, num_classes 60"


def test_small_rates_have_digits():
    assert "lr 1.71e-06, " in progress_lines.describe_update("epoch 0, 1/2", 2.46671, 0.5, 1.7109e-6, "3 clips/s")


@pytest.mark.parametrize(
    "reader_name, told",
    [("clips", "a smaller network such as configs/quickstart.txt"), ("heatmaps", "a GPU, a smaller --epoch")],
)
def test_a_long_run_on_a_cpu_says_what_would_take_less(caplog, reader_name, told):
    caplog.set_level("INFO")
    watch = first_updates.FirstUpdates(None, lambda batch: None, reader_name, epochs=101)
    progress = types.SimpleNamespace(step=2, epoch=0)
    for index in range(4):  # the first update takes 60 s, the others 2 s each
        watch(progress, {}, index, 20, 60 + 2 * index, is_due=index >= 2)
    assert len(caplog.records) == 1  # after the third, when 2017 are left
    text = " ".join(caplog.messages[0].split())
    assert text.startswith("the updates of this run take about 1:07:14 more; less: ") and told in text
    short = first_updates.FirstUpdates(None, None, "clips", 1)
    assert short.describe_duration(59.6) == "the updates of this run take about 0:01:00 more"


@pytest.mark.parametrize("row, is_known", [((1.0, 0.1), True), ((1.0, 1.5), False), ((0.9, 0.1), False)])
def test_a_lucky_guess_is_not_known_by_heart(row, is_known):
    assert is_known_by_heart({"val/top1": row[0], "val/loss": row[1]}) is is_known
    assert not is_known_by_heart({"train/top1": 1.0})


def test_the_verdict_on_few_samples():
    known = Progress(epoch=5, history=[{"train/top1": 0.5, "val/top1": 1.0}])
    verdict = run_end.describe_overfit(known, 8, CONFIG, "out/vdl")
    assert verdict == "overfit: 8 of 8 after 5 epochs: labels and reader fit together; now train without --overfit"
    unknown = Progress(epoch=1, history=[{"train/top1": 0.5, "val/top1": 0.625}])
    verdict = run_end.describe_overfit(unknown, 8, CONFIG, "out/vdl")
    assert verdict.startswith("overfit: 5 of 8 after 1 epoch: not yet known by heart. Look at the clips")
    assert "--logdir out/vdl" in verdict and "data/train.list" in verdict


def test_an_evaluation_without_a_terminal_says_how_far_it_is(caplog, monkeypatch):
    caplog.set_level("INFO")
    times = iter(range(0, 1000, 3))
    monkeypatch.setattr(evaluator.time, "monotonic", lambda: next(times))
    monkeypatch.setattr(evaluator, "_score_views", lambda model, loader, inputs: {"": inputs})
    monkeypatch.setattr(evaluator, "_average_views", lambda logits, views, average, features: logits)

    class Batches(list):
        num_samples = 4

    scores = [[0.5, 0.5]]
    batches = Batches({"inputs": scores, "views": [1], "labels": [0], "names": [str(name)]} for name in range(4))
    monkeypatch.setattr(evaluator, "_join", lambda by_rank: ([], [], {}))
    monkeypatch.setattr(evaluator, "_check_finite", lambda names, heads: None)
    monkeypatch.setattr(evaluator, "_mean_loss", lambda *given: 0.0)
    model = types.SimpleNamespace(eval=lambda: None, fuse=lambda heads: None)
    evaluator.evaluate(model, batches, quiet_s=5)
    assert caplog.messages == ["scored 2 of 4 samples", "scored 4 of 4 samples"]


def unpack_records(root):
    """Put the frames of packed records into files, as jpg2pkl.py without --pack does."""
    for path in root.rglob("*.pkl"):
        record = records.read_record(path)
        frames = path.with_suffix("")
        frames.mkdir()
        for index, data in enumerate(record["frames"]):
            (frames / f"{index:05d}.jpg").write_bytes(data)
        names = [f"{frames.name}/{index:05d}.jpg" for index in range(len(record["frames"]))]
        records.write_record({"video": record["video"], "label": record["label"], "frames": names}, path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where a small network was trained by --slim and tested; `printed` has what stood on the screen."""
    root = tmp_path_factory.mktemp("screen")
    make_tree(root / "data")
    unpack_records(root / "data")
    write_config(root / "c.txt")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        lines = []
        patch.setattr(logger.tqdm.tqdm, "write", lambda text, file: lines.append(text))
        words = ["c.txt", "--root", "data", "--save_dir", "out", "--epoch", "2", "--slim", "-o", "RUN.ema_decay=0.5"]
        train.main(words)
        test.main(["out/resnet_model"])
    return types.SimpleNamespace(path=root, printed="\n".join(lines))


def test_no_line_is_wider_than_the_screen(folder):
    wide = [line for line in folder.printed.splitlines() if len(line) > MAX_WIDTH]
    assert wide == [] and "Namespace(" not in folder.printed and len(folder.printed.splitlines()) < 60


def test_the_commands_at_the_end_are_right_as_typed(folder, monkeypatch):
    monkeypatch.chdir(folder.path)
    text = folder.printed.replace("\\\n", "")
    commands = re.findall(r"^(?:next)? +(python .*|\S*visualdl .*)$", text, re.M)
    assert [command.split()[1] for command in commands] == ["test.py", "predict.py", "--logdir"]
    for command, script in zip(commands, (test, predict), strict=False):
        assert not script.main(shlex.split(command)[2:])
    assert (folder.path / "output/predict").is_dir() and (folder.path / shlex.split(commands[2])[2]).is_dir()


def test_a_slim_run_keeps_weights_alone_and_goes_no_further(folder, monkeypatch, caplog):
    monkeypatch.chdir(folder.path)
    last, best = (checkpoint.load_checkpoint(f"out/resnet_{name}") for name in ("model", "best"))
    for state in (last, best):
        assert state["slim"] and not {"optimizer", "ema"} & set(state) and state["class_names"] and state["config"]
    words = ["c.txt", "--root", "data", "--save_dir", "out", "--slim", "--resume", "auto", "-o", "RUN.ema_decay=0.5"]
    train.main([*words, "--epoch", "2"])  # the run is over: there is nothing that it would lack
    with pytest.raises(ValueError, match="--resume out/resnet_model: --slim has left the weights alone.*--pretrain"):
        train.main([*words, "--epoch", "3"])


def test_export_writes_a_slim_checkpoint_with_the_same_answers(folder, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(folder.path)
    train.main(["c.txt", "--root", "data", "--save_dir", str(tmp_path / "whole"), "--epoch", "1"])
    whole, out = str(tmp_path / "whole" / "resnet_model"), str(tmp_path / "slim")
    export.main([whole, "--slim", "--out", out])
    assert "no run can go on from it" in capsys.readouterr().out
    sizes = [path.stat().st_size for path in (tmp_path / "whole/resnet_model.pdparams", tmp_path / "slim.pdparams")]
    assert sizes[1] < 0.6 * sizes[0]  # of momentum half, of Adam a third
    results = []
    for weights in (whole, out):
        test.main([weights, "--save_dir", str(tmp_path), "--out", str(tmp_path / "result.csv")])
        results.append((tmp_path / "result.csv").read_bytes())
    assert results[0] == results[1]
    export.main([whole, "--slim", "--float16", "--out", str(tmp_path / "half")])
    assert (tmp_path / "half.pdparams").stat().st_size < 0.75 * sizes[1]
    with pytest.raises(ValueError, match="is the checkpoint itself"):
        export.main([whole, "--slim", "--out", f"{whole}.pdparams"])
    with pytest.raises(ValueError, match="resnet_best is the checkpoint of a run, which goes on from it; choose"):
        export.main([whole, "--slim", "--out", str(tmp_path / "whole" / "resnet_best")])
    export.main([whole, "--slim", "--out", out])  # no run goes on from that one
    with pytest.raises(SystemExit):
        export.main([whole, "--float16", "--out", out])
    assert "--float16 is for --slim" in capsys.readouterr().err
