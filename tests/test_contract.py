"""Every command, option, default, number and file of the 3D-ResNet reproduction of 2020, as its page names them.

`test_contract_tpn.py`, `test_contract_skeletons.py` and `test_contract_ntu60.py` do the same for the other documents
that this project grew from. What is different on purpose stands in `DIFFERENCES`, and the tests ask for exactly that.
"""

import inspect
import os
import re
import zipfile

import cv2
import numpy as np
import pytest
from contract import find_differing, look_up, parse, read, resolve
from paths import ROOT
from small_dataset import CONFIG, write_config

import avi2jpg
import config as texts
import data_list_gener
import jpg2pkl
import recipe
import test
import train
from dataset import records
from engine.run_settings import RunSettings
from reader import build_loader

DIFFERENCES = {
    "configs/resnet.txt": {  # against the text of 2020, which loads as it is
        "MODEL.format": "a reader sees by itself what a list holds",
        "MODEL.num_classes": "the class names of the training list are counted",
        "MODEL.image_mean": "that of Kinetics, as the authors of 3D-ResNet have it",
        "MODEL.image_std": "that of Kinetics",
        "TRAIN.epoch": "65 by default, which the command of 2020 asks for",
        "TRAIN.short_size": "128 for crops of 112, as usual: more of the picture is seen",
        "TRAIN.num_reader_threads": "a process a core, at most eight",
        "TRAIN.buf_size": "the whole list is shuffled",
        "TRAIN.use_gpu": "a GPU where there is one, so that the commands run anywhere",
        "TRAIN.num_gpus": "--gpus",
        "TRAIN.filelist": "data/ is nobody's own folder; --root lyj has the list of 2020",
        "TRAIN.learning_rate": "the 0.1 of the paper, for training from scratch",
        "TRAIN.l2_weight_decay": "the 1e-3 of the paper",
        "TRAIN.total_videos": "the list is counted",
        "VALID.seg_num": "one clip while training; test.py scores ten",
        "VALID.short_size": "as in training",
        "VALID.num_reader_threads": "as in training",
        "VALID.buf_size": "nothing is shuffled",
        "VALID.batch_size": "faster; it cannot change a score",
        "VALID.filelist": "data/, as in training",
    },
    "test.py": {  # flags whose default is None now: the checkpoint brings its config
        "batch_size": "the config's; it cannot change a score",
        "config": "the one inside the checkpoint, so that none can be forgotten",
        "log_interval": "the config's: not a line for each video",
        "model_name": "the one inside the checkpoint",
        "save_dir": "the folder of the weights",
    },
    "data scripts": {
        "frames": "data/UCF-101_jpg; --root lyj has the folder of 2020",
        "lists": "as the frames",
    },
    "log": {
        "namespaces": "the flags are logged once",
        "block": "the block of arguments is one record, of the script that logs it",
        "updates": "the last batch of an epoch counts, though it is not full",
    },
}

# What the page's log prints of its config: name, value, the place here (None: a key without meaning now).
CONFIG_2020 = (
    ("MODEL.name", "resnet", "MODEL.name"),
    ("MODEL.format", "pkl", None),
    ("MODEL.num_classes", 101, "MODEL.num_classes"),
    ("MODEL.seg_num", 1, "READER.num_segments"),
    ("MODEL.seglen", 16, "READER.clip_len"),
    ("MODEL.image_mean", [0.485, 0.456, 0.406], "READER.mean"),
    ("MODEL.image_std", [0.229, 0.224, 0.225], "READER.std"),
    ("MODEL.num_layers", 50, "MODEL.depth"),
    ("TRAIN.epoch", 1, "RUN.epochs"),
    ("TRAIN.short_size", 240, "TRAIN.short_size"),
    ("TRAIN.target_size", 112, "TRAIN.crop_size"),
    ("TRAIN.num_reader_threads", 1, "TRAIN.num_workers"),
    ("TRAIN.buf_size", 1024, None),
    ("TRAIN.batch_size", 128, "TRAIN.batch_size"),
    ("TRAIN.use_gpu", True, "RUN.use_gpu"),
    ("TRAIN.num_gpus", 1, None),
    ("TRAIN.filelist", "./lyj/train.list", "TRAIN.filelist"),
    ("TRAIN.learning_rate", 0.01, "OPTIMIZER.learning_rate"),
    ("TRAIN.learning_rate_decay", 0.1, "OPTIMIZER.learning_rate_decay"),
    ("TRAIN.l2_weight_decay", 1e-4, "OPTIMIZER.weight_decay"),
    ("TRAIN.momentum", 0.9, "OPTIMIZER.momentum"),
    ("TRAIN.total_videos", 80, None),
    ("VALID.seg_num", 7, "VALID.num_clips"),
    ("VALID.short_size", 240, "VALID.short_size"),
    ("VALID.target_size", 112, "VALID.crop_size"),
    ("VALID.num_reader_threads", 1, "VALID.num_workers"),
    ("VALID.buf_size", 1024, None),
    ("VALID.batch_size", 1, "VALID.batch_size"),
    ("VALID.filelist", "./lyj/test.list", "VALID.filelist"),
)
WITHOUT_MEANING = {name for name, _, place in CONFIG_2020 if place is None}
THE_BLOCK = "---------------- Valid Arguments ----------------"
TRAINING_VIDEOS = 9537  # of split 1


def values_here(config):
    """Return the values of a resolved config by their names of 2020, without those that have no meaning now."""
    return {name: look_up(config, place) for name, _, place in CONFIG_2020 if place is not None}


THEIRS = {name: value for name, value, _ in CONFIG_2020}


def test_the_text_of_2020_is_read_with_each_of_its_values():
    path = str(ROOT / "tests/data/resnet_2020.txt")
    held = {f"{name}.{key}": value for name, keys in texts.load_config(path).items() for key, value in keys.items()}
    assert held == THEIRS
    config, dropped = recipe.read_recipe(path, {}, [])
    assert find_differing(THEIRS, values_here(config)) == WITHOUT_MEANING == set(dropped)


def test_the_default_config_differs_from_that_text_as_listed():
    assert find_differing(THEIRS, values_here(resolve("resnet.txt"))) == set(DIFFERENCES["configs/resnet.txt"])


def test_the_data_scripts_are_typed_without_flags():
    frames, split, lists = parse("python avi2jpg.py"), parse("python jpg2pkl.py"), parse("python data_list_gener.py")
    assert split["split"] == 1 and not split["split_by_group"]  # trainlist01.txt, testlist01.txt
    assert split["frames"] == frames["frames"]
    assert (lists["train"], lists["test"]) == (split["train"], split["test"])
    theirs = {"frames": "lyj/UCF-101_jpg", "lists": ["./lyj/train.list", "./lyj/test.list"]}
    ours = {"frames": frames["frames"], "lists": [lists["train_list"], lists["test_list"]]}
    assert find_differing(theirs, ours) == set(DIFFERENCES["data scripts"])


def test_the_split_that_comes_along_is_the_one_of_2020():
    named = {name: read(f"splits/ucf101/{name}.txt").split("\n") for name in ("trainlist01", "testlist01", "classInd")}
    assert [len(list(filter(None, lines))) for lines in named.values()] == [TRAINING_VIDEOS, 3783, 101]


def test_train_is_typed_as_in_2020():
    args = parse("python train.py --use_gpu True --epoch 65")
    assert args["use_gpu"] is True and args["epoch"] == 65 and args["config"] == "configs/resnet.txt"
    assert RunSettings().save_dir == "checkpoints_models" and resolve("resnet.txt")["RUN"]["epochs"] == 65


def test_test_is_typed_as_in_2020_and_its_flags_are_there():
    theirs = {
        "batch_size": 1, "config": "configs/resnet.txt", "filelist": None, "infer_topk": 1, "log_interval": 1,
        "model_name": "resnet", "save_dir": "checkpoints_models", "use_gpu": True,
        "weights": "checkpoints_models/resnet_model",
    }  # fmt: skip
    ours = parse("python test.py --weights 'checkpoints_models/resnet_model' --use_gpu True")
    assert set(theirs) <= set(ours)
    assert find_differing(theirs, ours) == set(DIFFERENCES["test.py"])
    assert {ours[name] for name in DIFFERENCES["test.py"]} == {None}
    assert parse("python test.py")["weights"] == theirs["weights"]
    flags = " ".join(f"--{name} {value}" for name, value in theirs.items() if value is not None)
    assert find_differing(theirs, parse(f"python test.py {flags}")) == set()  # each can still be given


@pytest.mark.parametrize("name", ["docs/ucf101.md", "docs/ucf101.zh-CN.md"])
def test_what_the_reproduction_got_is_told(name):
    paragraph = next(one for one in read(name).split("\n\n") if "1.53 %" in one)
    # epochs and accuracy of both runs, of the longer one also right answers of all, and of its last training batches
    told = ("10", "1.53 %", "65", "2.33 %", "88", "3783", "50 ?%")
    paragraph = " ".join(paragraph.split())
    assert [one for one in told if not re.search(rf"(?<![\d.]){one}(?!\d)", paragraph)] == []


def draw_video(path, value):
    """Write an avi of eight gray frames."""
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 25, (48, 32))
    for index in range(8):
        writer.write(np.full((32, 48, 3), value + index, np.uint8))
    writer.release()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where the six commands have run, in the places of 2020: videos in data/data/UCF-101, all else in lyj."""
    folder = tmp_path_factory.mktemp("contract")
    lists = {"trainlist01.txt": [], "testlist01.txt": []}
    for label, name in enumerate(("ApplyEyeMakeup", "YoYo"), 1):
        for group in range(1, 5):
            video = f"{name}/v_{name}_g{group:02d}_c01.avi"
            draw_video(folder / "data" / "data" / "UCF-101" / video, 50 * label)
            lists["testlist01.txt" if group > 3 else "trainlist01.txt"].append(video)
    (folder / "lyj").mkdir()
    for name, lines in {**lists, "classInd.txt": ["1 ApplyEyeMakeup", "2 YoYo"]}.items():
        (folder / "lyj" / name).write_text("\n".join(lines) + "\n")
    (folder / "configs").mkdir()
    write_config(folder / "configs" / "resnet.txt", CONFIG.replace("clip_len = 8", "clip_len = 4"))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for script in (avi2jpg, jpg2pkl, data_list_gener):
            assert script.main(["--root", "lyj"]) == 0
        train.main(["--use_gpu", "False", "--epoch", "2", "--root", "lyj"])
        test.main(["--weights", "checkpoints_models/resnet_model", "--use_gpu", "False", "--root", "lyj"])
    return folder


def test_frames_records_and_lists_are_where_they_were(folder):
    frames = folder / "lyj" / "UCF-101_jpg" / "YoYo" / "v_YoYo_g01_c01"
    assert len(list(frames.glob("*.jpg"))) == 8
    entries, class_names = records.read_list(folder / "lyj" / "train.list")
    assert len(entries) == 6 and class_names == ["ApplyEyeMakeup", "YoYo"]
    assert len(records.read_list(folder / "lyj" / "test.list")[0]) == 2
    path = next(entry.path for entry in entries if "YoYo" in entry.path)
    record = records.read_record(path)
    picture = record["frames"][0].split("/")[-3:]  # class, video, picture
    assert picture[0] == "YoYo" and picture[1] == record["video"].split("/")[-1] and picture[2] == "00001.jpg"
    assert os.path.getsize(path) < 4096  # names of pictures, not pictures


def test_videos_are_found_where_the_notebook_service_has_them(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    archive = tmp_path / "data" / "data11460" / "UCF-101.zip"
    archive.parent.mkdir(parents=True)
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("UCF-101/YoYo/v_YoYo_g01_c01.avi", b"x")
    place, videos, _ = avi2jpg.find_videos(None, "data")
    assert place == "data/data11460/UCF-101.zip" and list(videos) == ["YoYo/v_YoYo_g01_c01"]


def test_checkpoint_and_results_are_written(folder):
    written = {path.name for path in (folder / "checkpoints_models").iterdir()}
    assert {"resnet_model.pdparams", "resnet_best.pdparams", "resnet_log.jsonl", "vdl"} <= written
    assert {
        f"resnet_model_test_{name}" for name in ("classes.csv", "wrong.csv", "scores.pkl", "confusion.png")
    } <= written


def test_the_lines_of_the_log_have_the_form_of_2020(folder):
    log = (folder / "logger.log").read_text(encoding="utf-8")
    number = r"\d+(\.\d+)?(e-\d+)?"
    assert re.search(rf"Loss at epoch 1 step 1: \[{number}\], acc: \[{number}\]", log)
    assert re.search(rf"Final loss: \[{number}\]\n", log)
    assert re.search(rf"验证集准确率为:{number}\n", log)
    assert re.search(r"^\[INFO: test\.py: +\d+\]: Namespace\(.*infer_topk=1,", log, re.MULTILINE)
    block = log.split(THE_BLOCK)[1].split("\n" + "-" * 49)[0].split("\n")
    assert block[1:3] == ["MODEL:", "    name:resnet"] and block.index("TRAIN:") < block.index("VALID:")
    assert "    depth:10" in block and "    clip_len:4" in block  # of the config that is run


def test_the_log_differs_as_listed(folder):
    log = (folder / "logger.log").read_text(encoding="utf-8")
    drop_last = inspect.signature(build_loader).parameters["drop_last"].default
    ours = {
        "namespaces": len(re.findall(r"Namespace\(.*infer_topk", log)),
        "block": set(re.findall(rf"^\[INFO: ([\w.]+): +\d+\]: {THE_BLOCK}$", log, re.MULTILINE)),
        "updates": (TRAINING_VIDEOS if drop_last else TRAINING_VIDEOS + 127) // 128,
    }
    theirs = {"namespaces": 2, "block": {"config.py"}, "updates": 74}  # steps 0 to 73
    assert ours == {"namespaces": 1, "block": {"train.py", "test.py"}, "updates": 75}
    assert find_differing(theirs, ours) == set(DIFFERENCES["log"])
