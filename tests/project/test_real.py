"""Real UCF-101 clips (three classes, H.264 in .avi), where they are at hand: the road from videos to a score."""

import shutil

import numpy as np
import pytest
from paths import REAL_DATA, ROOT
from small_dataset import CONFIG, write_config

from common import files
from dataset import records, splits

DATA = REAL_DATA / "ucf101_3cls"
pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(not DATA.is_dir(), reason=f"no real clips: '{DATA}' does not exist; REAL_DATA_DIR may name it"),
]


def test_the_lists_of_the_three_classes_are_those_of_the_official_split():
    names = ["BabyCrawling", "Punch", "PushUps"]
    for split, sizes in ((1, (290, 104)), (2, (283, 111)), (3, (282, 112))):
        groups = {}
        for side, size in zip(("train", "test"), sizes, strict=True):
            file = f"{side}list0{split}.txt"
            ours = [one for one in splits.read_split(ROOT / "splits" / "ucf101" / file) if one[0] in names]
            theirs = splits.read_split(DATA / "ucfTrainTestlist" / file)
            assert sorted(ours) == sorted(theirs) and len(ours) == size
            groups[side] = [video for _, video in ours]
            there = {path.stem for path in DATA.glob("videos/*/*.avi")}
            assert set(groups[side]) <= there
        assert splits.find_shared_groups(groups["train"], groups["test"]) == []


def test_the_road_from_real_videos_to_a_score(run_script, tmp_path):
    root = tmp_path / "data"
    videos = sorted(DATA.glob("videos/*/*_g01_c0[12].avi")) + sorted(DATA.glob("videos/*/*_g08_c0[12].avi"))
    for video in videos:
        (root / "UCF-101" / video.parent.name).mkdir(parents=True, exist_ok=True)
        shutil.copy(video, root / "UCF-101" / video.parent.name)
    shutil.copytree(DATA / "ucfTrainTestlist", root / "ucfTrainTestlist")
    config = write_config(tmp_path / "c.txt", CONFIG.replace("short_size = 32", "short_size = 40"))
    commands = [
        ["avi2jpg.py", "--short_size", 64],
        ["jpg2pkl.py", "--pack"],
        ["data_list_gener.py"],
        ["train.py", config, "--epoch", 1],
        ["test.py", "--num_clips", 3],
        ["predict.py", "--input", videos[0]],
    ]
    for script, *words in commands:
        ended = run_script(script, *words, cwd=tmp_path)
        assert ended.returncode == 0, f"{script}: {ended.stderr[-1000:]}"
    entries, class_names = records.read_list(root / "train.list")
    assert len(entries) == 6 and class_names == ["BabyCrawling", "Punch", "PushUps"]
    assert records.read_official_size(root / "test.list") == 104
    scores = files.load_pickle(tmp_path / "checkpoints_models" / "resnet_model_test_scores.pkl")
    assert sorted(scores["scores"]) == sorted(video.stem for video in videos if "_g01_" in video.stem)
    assert all(np.isclose(one.sum(), 1, atol=1e-5) for one in scores["scores"].values())
