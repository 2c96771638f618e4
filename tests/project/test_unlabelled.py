"""Samples without labels, as in the test sets of competitions: scored by every reader, and no accuracy is made up."""

import csv
import json
import pathlib

import numpy as np
import paddle
import pytest
import small_poses
import small_skeletons
from ramp_videos import ramp_frame, write_frames, write_ramps
from small_videos import make_frames, write_avi

import config as texts
import data_list_gener
import ensemble
import predict
import recipe
import skeleton2pkl
import test as scoring
import train
from common import files
from dataset.records import read_list, read_record, write_record
from engine import checkpoint
from models import build_model

CLASSES = ["Down", "Side", "Up", "Über kopf"]
SECTIONS = {  # by the reader: MODEL and READER of a tiny network
    "clips": (
        {"name": "resnet", "depth": 10, "widen_factor": 0.125, "conv1_t_size": 3},
        {"clip_len": 8, "short_size": 32, "crop_size": 24},
    ),
    "skeletons": ({"name": "stgcn", "base_channels": 4, "num_blocks": [1, 1]}, {"num_persons": 1, "clip_len": 8}),
    "heatmaps": (
        {"name": "posec3d", "base_channels": 4, "stage_blocks": [1, 1, 1]},
        {"clip_len": 4, "short_size": 18, "crop_size": 16, "split": "all"},
    ),
    "rgbpose": (
        {"name": "rgbposeconv3d", "rgb_base_channels": 8, "rgb_stage_blocks": [1] * 4, "pose_base_channels": 8,
         "pose_stage_blocks": [1] * 3, "speed_ratio": 2},
        {"clip_len": 4, "rgb_clip_len": 2, "short_size": 36, "crop_size": 32, "split": "all", "videos": "pictures"},
    ),
}  # fmt: skip


@pytest.fixture(autouse=True)
def _stand_elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def save_model(reader, filelist, **changes):
    """Write a checkpoint of a tiny network with random weights."""
    config = {section: {} for section in texts.SECTIONS}
    model, reading = SECTIONS[reader]
    config["MODEL"] = {**model, "num_classes": len(CLASSES)}
    config["READER"] = {"name": reader, "num_workers": 0, **reading, **changes}
    config["TEST"], config["RUN"] = {"filelist": filelist}, {"use_gpu": False}
    config = recipe.resolve(config, "a test")
    paddle.seed(3)
    weights = checkpoint.model_state(build_model(**config["MODEL"]))
    content = {"model": weights, "config": config, "class_names": CLASSES, "epoch": 1}
    checkpoint.save_checkpoint("run/network", content)


def strip(annotation):
    return {key: value for key, value in annotation.items() if key != "label"}


def write_skeletons(path, split="test", labelled=0):
    """Write a pkl of six recordings, all but the first `labelled` without a label."""
    made = [small_skeletons.draw_annotation(index % 3, index) for index in range(6)]
    annotations = [*made[:labelled], *map(strip, made[labelled:])]
    files.dump_pickle({"split": {split: [one["frame_dir"] for one in made]}, "annotations": annotations}, path)


def write_poses(count=3):
    annotations = [strip(small_poses.make_annotation(f"v{index}", num_frames=10)) for index in range(count)]
    small_poses.write_poses(pathlib.Path("poses.pkl"), annotations)
    for annotation in annotations:
        write_frames(pathlib.Path("pictures", annotation["frame_dir"]), [ramp_frame(t, 90, 160) for t in range(10)])


def write_videos():
    for index in range(3):
        write_avi(pathlib.Path(f"v{index}.avi"), make_frames(10))
    write_frames(pathlib.Path("folder 7"), [ramp_frame(t) for t in range(9)])
    pathlib.Path("a.list").write_text("v0.avi\nv1.avi\nv2.avi\nfolder 7/\n", encoding="utf-8")


def write_records():
    path = write_ramps(pathlib.Path(), num_videos=3, class_names=CLASSES)
    for entry in read_list(path)[0]:
        write_record({**read_record(entry.path), "label": None}, entry.path)
        assert "label" not in files.load_pickle(entry.path)


WAYS = {  # how the samples are written, the list, what the reader needs, and how many there are
    "videos": (write_videos, "clips", "a.list", {}, 4),
    "records": (write_records, "clips", "train.list", {}, 3),
    "skeletons": (lambda: write_skeletons("s.pkl"), "skeletons", "s.pkl", {"split": "test"}, 6),
    "heatmaps": (write_poses, "heatmaps", "poses.pkl", {}, 3),
    "rgbpose": (write_poses, "rgbpose", "poses.pkl", {}, 3),
}


@pytest.mark.parametrize("way", WAYS)
def test_every_reader_scores_them_and_none_makes_an_accuracy_up(way, capsys):
    write, reader, filelist, changes, count = WAYS[way]
    write()
    save_model(reader, filelist, **changes)
    capsys.readouterr()
    scoring.main(["run/network", "--save_dir", "out", "--out", "out/r.json"])
    printed = capsys.readouterr().out
    what = "recordings" if way == "skeletons" else "videos"
    assert f"{count} {what} scored" in printed and "they have no labels: no accuracy" in " ".join(printed.split())
    for word in ("准确率", "top-1", "mean class accuracy", "OPTIMISTIC", "about chance"):
        assert word not in printed
    assert sorted(path.name for path in pathlib.Path("out").iterdir()) == [
        "network_test_report.html", "network_test_scores.pkl", "r.json", "submission.csv"
    ]  # fmt: skip
    content = files.load_pickle("out/network_test_scores.pkl")
    assert content["labels"] == {} and len(content["scores"]) == count
    result = json.loads(pathlib.Path("out/r.json").read_text(encoding="utf-8"))
    assert not {"top1", "top5", "mean_class_accuracy", "loss", "majority"} & result["summary"].keys()
    assert all("class" not in sample for sample in result["samples"])
    rows = list(csv.reader(pathlib.Path("out/submission.csv").open(encoding="utf-8", newline="")))
    assert rows[0] == ["name", "class", *CLASSES] and [row[0] for row in rows[1:]] == list(content["scores"])
    for name, answer, *scores in rows[1:]:
        assert np.allclose(np.array(scores, float), content["scores"][name], atol=1e-6)
        assert answer == CLASSES[content["scores"][name].argmax()]


def test_rows_of_an_array_are_answered_as_the_judge_of_fsd_reads_it(capsys, monkeypatch):
    monkeypatch.setattr(predict, "write_pictures", lambda *_: None)  # they take seconds
    data = np.zeros((12, 3, 9, 25, 1))
    data[:, :, :7] = np.random.default_rng(0).uniform(0.1, 0.9, (12, 3, 7, 25, 1))
    np.save("test_A_data.npy", data)
    skeleton2pkl.main(["npy", ".", "--layout", "openpose25", "--out", "fsd.pkl", "--workers", "1"])
    assert "split test_A: 12 samples; without labels" in capsys.readouterr().out
    save_model("skeletons", "fsd.pkl", split="test_A", layout="openpose25")
    scoring.main(["run/network"])
    content = files.load_pickle("run/network_test_scores.pkl")
    answers = [content["scores"][f"test_A_{index:06}"].argmax() for index in range(12)]
    expected = "".join(f"{index},{answer}\r\n" for index, answer in enumerate(answers))
    assert pathlib.Path("run/submission.csv").read_bytes().decode() == f"sample_index,predict_category\r\n{expected}"

    ensemble.main(["run/network_test_scores.pkl"] * 2 + ["--out", "fused/f.pkl"])  # and so are fused ones
    printed = capsys.readouterr().out
    assert "12 samples, which have no labels: no accuracy" in printed and "%" not in printed
    assert pathlib.Path("fused/submission.csv").read_bytes() == pathlib.Path("run/submission.csv").read_bytes()
    ensemble.main(["fused/f.pkl", "run/network_test_scores.pkl", "--out", "again/submission.csv"])
    assert pathlib.Path("again/submission.csv").read_bytes() == pathlib.Path("run/submission.csv").read_bytes()

    np.save("last_data.npy", data[10:])
    np.save("one.npy", data[5])
    flags = ["--input", "last_data.npy", "one.npy", "--use_gpu", "False", "--save_dir", "p"]
    assert predict.main(["run/network", *flags]) == 0
    for name, index in (("last_000001", 11), ("one", 5)):
        found = json.loads(pathlib.Path(f"p/{name}_predict.json").read_text(encoding="utf-8"))["top_k"]
        scores = content["scores"][f"test_A_{index:06}"]
        assert [each["probability"] for each in found] == pytest.approx(sorted(scores, reverse=True), abs=2e-6)


def test_labels_of_some_samples_only_are_refused():
    write_skeletons("s.pkl", labelled=2)
    save_model("skeletons", "s.pkl", split="test")
    with pytest.raises(ValueError, match="s.pkl: 4 of 6 samples have no label, first 'v_Up_g02_c01'; an accuracy of"):
        scoring.main(["run/network"])
    write_ramps(pathlib.Path(), num_videos=3, class_names=CLASSES)
    entry = read_list("train.list")[0][1]
    write_record({**read_record(entry.path), "label": None}, entry.path)  # the list does not say it
    save_model("clips", "train.list")
    with pytest.raises(ValueError, match="1 of 3 samples have no label; an accuracy of the others alone would mean"):
        scoring.main(["run/network"])


@pytest.mark.parametrize("label", [-1, "Up", 1.0])
def test_no_number_stands_for_a_missing_label(label):
    write_skeletons("s.pkl")
    content = files.load_pickle("s.pkl")
    content["annotations"][3]["label"] = label
    files.dump_pickle(content, "s.pkl")
    save_model("skeletons", "s.pkl", split="test")
    with pytest.raises(ValueError, match="expected a whole number from 0; correct it, or leave it out if it is not"):
        scoring.main(["run/network"])


def test_a_network_is_neither_trained_nor_validated_on_them(tmp_path):
    small_skeletons.write_pkl(tmp_path / "s.pkl", per_class=2)
    small_skeletons.write_config(tmp_path / "c.txt", "s.pkl")
    content = files.load_pickle("s.pkl")
    content["split"]["hidden"] = ["h"]
    content["annotations"].append({**strip(content["annotations"][0]), "frame_dir": "h"})
    files.dump_pickle(content, "s.pkl")
    for mode, message in (("TRAIN", "a network cannot be trained on them"), ("VALID", "a validation has no accuracy")):
        with pytest.raises(ValueError, match=f"s.pkl: 1 of 1 samples have no label, first 'h'; {message}"):
            train.main(["c.txt", "--save_dir", "out", "-o", f"{mode}.split=hidden"])
    assert not list(tmp_path.glob("out/*.pdparams"))


@pytest.mark.parametrize(("mode", "message"), [("train", "a network cannot be trained"), ("valid", "a validation has")])
def test_records_say_it_when_they_are_opened(mode, message):
    write_records()
    with pytest.raises(ValueError, match=f"train.list line 2: 'train/v_Down_g00_c01.pkl' has no label; {message}"):
        recipe.READERS["clips"]("train.list", mode)[0, 0]


def test_figures_of_an_earlier_labelled_test_do_not_stay_beside_the_scores():
    write_skeletons("s.pkl", labelled=6)
    save_model("skeletons", "s.pkl", split="test")
    scoring.main(["run/network"])
    assert pathlib.Path("run/network_test_classes.csv").exists()
    write_skeletons("s.pkl")
    scoring.main(["run/network"])
    assert not list(pathlib.Path("run").glob("*_test_[cw]*"))
    visual = [path.stat().st_size for path in pathlib.Path("run/vdl").rglob("*") if path.is_file()]
    scoring.main(["run/network"])
    assert visual == [path.stat().st_size for path in pathlib.Path("run/vdl").rglob("*") if path.is_file()]


def test_files_without_labels_are_neither_searched_nor_mixed_with_others():
    write_skeletons("s.pkl")
    save_model("skeletons", "s.pkl", split="test")
    scoring.main(["run/network"])
    write_skeletons("s.pkl", labelled=6)
    scoring.main(["run/network", "--save_dir", "known"])
    paths = ["run/network_test_scores.pkl", "known/network_test_scores.pkl"]
    with pytest.raises(ValueError, match="only one of them has labels; score both with the same list or split"):
        ensemble.main(paths)
    with pytest.raises(ValueError, match="--search: the samples have no labels"):
        ensemble.main([paths[0]] * 2 + ["--search"])


def test_lists_of_a_test_set_without_labels_are_made(capsys):
    write_videos()
    pathlib.Path("train.txt").write_text("v0 0\nv1 1\n", encoding="utf-8")
    pathlib.Path("test.txt").write_text("v2\n", encoding="utf-8")
    flags = ["--root", ".", "--videos", ".", "--workers", "1"]
    assert data_list_gener.main([*flags, "--train", "train.txt", "--test", "test.txt"]) == 0
    assert "test.list: 1 videos, 1 of them without a label" in capsys.readouterr().out
    assert pathlib.Path("test.list").read_text(encoding="utf-8").splitlines()[-1] == "v2.avi"
    with pytest.raises(ValueError, match="test.txt line 1: got 'v2', expected 'video label'"):
        data_list_gener.main([*flags, "--train", "test.txt", "--test", "train.txt"])
