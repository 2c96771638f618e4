"""train_streams.py: every stream is trained and scored in a folder of its own, then fused."""

import json

import numpy as np
import pytest
from report_pages import ReportPage
from small_skeletons import write_config, write_pkl

import ensemble
import train_streams
from common import files


@pytest.fixture(scope="module")
def run(tmp_path_factory, run_script):
    """Train two streams as a user does, then again; the folder and what was told each time."""
    folder = tmp_path_factory.mktemp("streams")
    write_pkl(folder / "tiny.pkl")
    config = write_config(folder / "c.txt", "tiny.pkl")
    words = [config, "--save-dir", "out", "--streams", "bone", "joint_motion", "--epoch", 2]
    words += ["-o", "RUN.save_scores=True"]
    told = []
    for more in (["--test_best"], []):
        ended = run_script("train_streams.py", *words, *more, cwd=folder)
        assert ended.returncode == 0, ended.stderr[-2000:]
        told.append(ended.stdout + ended.stderr)
    return folder / "out", told


def test_each_stream_is_a_run_of_its_own(run):
    folder, _ = run
    for stream in ("bone", "joint_motion"):
        rows = [json.loads(line) for line in (folder / stream / "stgcn_log.jsonl").read_text("utf-8").splitlines()]
        assert [row["epoch"] for row in rows if "train/loss" in row] == [0, 1]
    scores = [files.load_pickle(folder / stream / "stgcn_model_test_scores.pkl") for stream in ("bone", "joint_motion")]
    assert scores[0]["protocol"]["stream"] == "bone" and scores[1]["protocol"]["stream"] == "joint_motion"
    assert scores[0]["protocol"]["split"] == "test"


def test_the_scores_of_every_validation_are_kept(run):
    folder, _ = run
    kept = sorted(path.name for path in (folder / "bone").glob("*_val_*"))
    assert kept == ["stgcn_val_00001_scores.pkl", "stgcn_val_00002_scores.pkl"]
    last = ensemble.read_scores(str(folder / "bone" / kept[1]))
    tested = ensemble.read_scores(str(folder / "bone" / "stgcn_model_test_scores.pkl"))
    assert last.names == tested.names
    np.testing.assert_allclose(last.scores, tested.scores, atol=1e-6)


def test_the_fused_scores_are_the_weighted_mean(run):
    folder, _ = run
    for which in ("model", "best"):
        paths = [folder / stream / f"stgcn_{which}_test_scores.pkl" for stream in ("bone", "joint_motion")]
        parts = [ensemble.read_scores(str(path)) for path in paths]
        fused = ensemble.read_scores(str(folder / f"fused_{which}_scores.pkl"))
        assert fused.names == parts[0].names == parts[1].names
        np.testing.assert_allclose(fused.scores, (parts[0].scores + parts[1].scores) / 2, atol=1e-6)


def test_each_stream_and_their_fusion_have_a_report(run):
    folder, _ = run
    for which in ("model", "best"):
        page = ReportPage(folder / f"fused_{which}_report.html")
        names = [row[0].split(":")[0] for row in page.rows["streams"][1:]]
        assert names == ["bone", "joint_motion", "fused"]
        joint_motion = ReportPage(folder / "joint_motion" / f"stgcn_{which}_test_report.html")
        assert page.rows["streams"][2][2] == f"{100 * joint_motion.figures['top-1']:.2f}%"
        assert joint_motion.tags["img"] >= 12


def test_the_second_time_nothing_is_trained_again(run):
    _, (first, second) = run
    assert first.count("END epoch 1") == 2 and "END epoch" not in second
    assert second.count("2 epochs are done") == 2


def check(*words):
    """Check, as train_streams.py does before it trains, streams of `c.txt` whose runs are in `out`."""
    train_streams.check_streams(
        train_streams.parse_arguments(["c.txt", "--save-dir", "out", "--streams", "bone", "joint_motion", *words])
    )


def change_pkl(source, path, change):
    """Write a pkl whose annotations `change` has changed."""
    content = files.load_pickle(source)
    for annotation in content["annotations"]:
        change(annotation)
    files.dump_pickle(content, path)


OTHER_DATA = {
    "labels": lambda annotation: annotation.update(label=(annotation["label"] + 1) % 3),
    "key points": lambda annotation: annotation.update(keypoint=annotation["keypoint"] + 1),
}


@pytest.mark.parametrize("what", list(OTHER_DATA))
def test_a_run_of_other_data_is_not_gone_on_with(run, what, monkeypatch):
    """Neither the second stream's alone, nor, at the end, in place of today's figure."""
    folder, _ = run
    monkeypatch.chdir(folder.parent)
    change_pkl("tiny.pkl", "other.pkl", OTHER_DATA[what])
    message = r"'out/bone/stgcn_model': it was trained on tiny.pkl split train \(12 samples, digest \w+\), TRAIN is "
    message += r"other.pkl split train \(12 .*; choose another --save_dir"
    with pytest.raises(ValueError, match=message):
        check("-o", "READER.filelist=other.pkl")


def test_the_same_data_in_another_place_are_the_same(run, monkeypatch):
    monkeypatch.chdir(run[0].parent)
    change_pkl("tiny.pkl", "moved.pkl", lambda annotation: None)
    check("-o", "READER.filelist=moved.pkl")


@pytest.mark.parametrize(
    "words, message",
    [
        (["-o", "TRAIN.split=test"], "'out/bone/stgcn_model': it was trained on .* split train .* split test .* now"),
        (["--overfit", "3"], "'out/bone/stgcn_model': it was trained on .* .12 samples, .* .3 samples, "),
        (["--streams", "joint", "jont"], "stream is 'jont', expected some of joint, joint_motion, bone"),
        (["--streams", "joint", "joint+bone"], "--streams: one network cannot take inputs of several shapes .joint "),
        (["--test_best", "--validate", "False"], "--test_best: no epoch is validated .RUN.validate is False."),
        (["-o", "MODEL.name=agcn"], "'out/bone/stgcn_model.pdparams' is of another network than agcn; choose another "),
        (["--model_name", "agcn"], "'out/bone/stgcn_model.pdparams' is of another network than agcn"),
    ],
)
def test_what_cannot_work_is_said_before_the_first_epoch(run, words, message, monkeypatch):
    monkeypatch.chdir(run[0].parent)
    check()
    with pytest.raises(ValueError, match=message):
        check(*words)


def test_the_script_ends_by_what_its_check_says(run, run_script):
    folder, _ = run
    before = sorted(folder.rglob("*"))
    words = ["c.txt", "--save-dir", "out", "--streams", "joint", "bone", "-o", "TRAIN.split=test"]
    ended = run_script("train_streams.py", *words, cwd=folder.parent)
    assert ended.returncode == 1 and ended.stderr.startswith("ValueError: 'out/bone/stgcn_model': it was trained on")
    assert sorted(folder.rglob("*")) == before


def test_a_flag_that_no_script_knows_ends_before_any_training(run_script, tmp_path):
    write_pkl(tmp_path / "tiny.pkl")
    config = write_config(tmp_path / "c.txt", "tiny.pkl")
    ended = run_script("train_streams.py", config, "--streams", "joint", "--epochs", 1, cwd=tmp_path)
    assert ended.returncode == 2 and "unknown flag '--epochs'; did you mean '--epoch'?" in ended.stderr
    assert "goes on" not in ended.stdout + ended.stderr
    assert not (tmp_path / "output").exists()


@pytest.mark.parametrize(
    "words, message",
    [
        (["--streams", "joint", "joint"], "--streams: a stream is given twice: joint joint"),
        (["--streams", "joint", "bone", "--fuse", "2:2:1:1"], "4 weights"),
        (["--overwrite"], "--overwrite: each stream goes on where it was stopped"),
        (["-o", "READER.stream=bone"], "-o READER.stream: the streams are those of --streams; leave one of"),
        (["-o", "train.stream=bone"], "-o READER.stream: the streams are those of --streams; leave one of"),
        (["-o", "TEST.stream = bone"], "-o READER.stream: the streams are those of --streams; leave one of"),
        (["-o", "run.save_dir=x"], "-o RUN.save_dir: each stream has a folder of its own in --save_dir"),
        (["--resume", "old_model"], "--resume old_model: each stream goes on from its own checkpoint; leave it out"),
        (["--gpus", "0"], "expected 1 or more processes, got 0"),
        (["d.txt"], "unexpected argument 'd.txt'"),
    ],
)
def test_what_cannot_be_fused_is_refused_at_once(words, message, capsys):
    with pytest.raises((SystemExit, ValueError)) as error:
        train_streams.parse_arguments(["c.txt", *words])
    assert message in str(error.value) + capsys.readouterr().err


def test_the_usual_weights_follow_the_number_of_streams():
    parsed = [train_streams.parse_arguments(["c.txt", "--streams", *names]).fuse for names in ("ab", "abcd", "abc")]
    assert parsed == [["two_stream"], ["four_stream"], ["equal"]]


@pytest.mark.parametrize("streams", [[], ["rgb", "flow"], ["flow", "rgb_diff", "rgb"]])
def test_flow_counts_half_as_much_again_as_frames(streams):
    asked = ["--streams", *streams] if streams else []
    weights = train_streams.parse_arguments(["configs/quickstart.txt", *asked]).fuse
    assert weights == ["1.5" if stream == "flow" else "1" for stream in streams or ["rgb", "flow"]]


@pytest.mark.parametrize(
    "words, config, rest",
    [
        ("--epoch 1 configs/x.txt", "configs/x.txt", "--epoch 1"),
        ("--epoch 1 --config configs/x.txt", "configs/x.txt", "--epoch 1"),
        ("--streams joint bone x.yaml --gpus 2", "x.yaml", "--gpus 2"),
        ("--fuse equal x.yml --test-best", "x.yml", ""),
        ("--test_best x.yml --seed 3", "x.yml", "--seed 3"),
        ("--validate x.txt --work-dir out", "x.txt", "--validate"),
        ("-o TRAIN.filelist=a.txt x.txt --resume", "x.txt", "-o TRAIN.filelist=a.txt --resume"),
        ("x.txt --seed -3", "x.txt", "--seed -3"),
    ],
)
def test_the_config_may_stand_anywhere(words, config, rest):
    args = train_streams.parse_arguments(words.split())
    assert (args.config, args.rest) == (config, rest.split())


@pytest.mark.parametrize("words", ["--epoch 1", "--streams joint bone", "--streams x.txt", "x.txt --config y.txt"])
def test_a_command_line_without_one_config_is_refused(words, capsys):
    with pytest.raises(SystemExit):
        train_streams.parse_arguments(words.split())
    assert "name one config text, such as configs/ctrgcn_nw_ucla.yaml" in capsys.readouterr().err


@pytest.mark.parametrize(
    "status, expected",
    [
        (-9, "stream joint was ended by SIGKILL; the same command goes on from there"),
        (137, "stream joint was ended by SIGKILL; the same command goes on from there"),
        (1, "stream joint ended with exit status 1; correct what its last message says: the epochs that are done are"),
        (2, "stream joint ended with exit status 2; correct what its last message says"),
    ],
)
def test_only_a_run_that_was_ended_goes_on_by_the_same_command(status, expected, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(train_streams, "run", lambda *words: status)
    monkeypatch.setattr(train_streams, "run_check", lambda args: 0)
    assert train_streams.main(["c.txt"]) == status
    assert capsys.readouterr().out.startswith(expected)


def test_several_processes_of_a_launcher_are_refused(monkeypatch):
    monkeypatch.setenv("PADDLE_TRAINERS_NUM", "2")
    with pytest.raises(
        ValueError, match="starts the processes of each stream itself: leave the launcher, give --gpus N"
    ):
        train_streams.main(["c.txt"])


def test_the_streams_of_a_shipped_config_are_found_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert train_streams.find_stream_key("configs/quickstart.txt") == "modality"
    assert train_streams.find_stream_key("configs/ctrgcn_nw_ucla.yaml") == "stream"
