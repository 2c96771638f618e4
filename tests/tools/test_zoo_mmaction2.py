"""The rows of MODEL_ZOO.md that name MMAction2's files by their addresses alone: networks of the files' kind."""

import re
import shlex

import paddle
import pytest
from paths import ROOT

from models import build_model
from tools import convert_weights

ZOO = (ROOT / "MODEL_ZOO.md").read_text(encoding="utf-8")
LINES = [[cell.strip() for cell in line.strip("|").split("|")] for line in ZOO.splitlines() if line.startswith("| ")]
RGB_AND_POSE = [row for row in LINES if len(row) == 4 and row[0].endswith(".pth`")]
SKELETONS = [row for row in LINES if len(row) == 8 and re.match(r"[\w-]+, ntu\d+-xsub-keypoint-", row[0])]
KINDS = {"tsm": "tsm", "slowonly": "slowonly", "omnisource": "slowonly", "posec3d": "posec3d"}
NETWORKS = {"stgcn": "stgcn", "2s-agcn": "agcn", "stgcnpp": "stgcnpp"}


def read_config(file, words):
    """Read the config that the words of a row make."""
    args = convert_weights.parse_arguments([file, "--source", "mmaction2", *shlex.split(words.strip("`"))])
    return convert_weights.read_config(args)


def build(section):
    """Build the network of a section MODEL, shapes alone, and check that it computes as MMAction2's."""
    with paddle.LazyGuard():
        build_model(**{"num_classes": 2, **section}).check_source("mmaction2")


def test_there_is_a_row_for_each_file():
    assert len(RGB_AND_POSE) == len({row[0] for row in RGB_AND_POSE}) == 65
    assert all(row[2] and row[3] == "not run" for row in RGB_AND_POSE)
    hashes = [found for row in SKELETONS for found in re.findall(r"\(20221\d{3}-([0-9a-f]{8})\)", " ".join(row))]
    assert len(SKELETONS) == 8 and len(hashes) == len(set(hashes)) == 32


def test_words_of_rgb_and_heat_map_files_make_their_networks(monkeypatch):
    monkeypatch.chdir(ROOT)
    built = []
    for path, words, _, _ in RGB_AND_POSE:
        path = path.strip("`")
        kind, name = path.removeprefix("v1.0/").split("/")[1], path.rpartition("/")[2]
        config = read_config(name, words)
        section, reader = config["MODEL"], config["READER"]
        assert section["name"] == KINDS[kind]
        assert section.get("depth", 50) == (101 if "r101" in name else 50)
        is_dense = "-dense-" in name
        assert (reader["test_clips"] == "paddlevideo_dense") == is_dense
        assert (reader["test_clips"] == "mmaction2") == (
            not is_dense and (path.startswith("v1.0/") or kind == "posec3d")
        )
        if kind == "tsm":
            assert reader["num_segments"] == (16 if "1x1x16" in name else 8) and section["shift"] == "residual"
        elif kind != "posec3d":
            clip = re.search(r"(\d)x(\d+)x1", name)
            assert (reader["clip_len"], reader["frame_interval"]) == (int(clip[1]), int(clip[2]))
        else:
            assert reader["kind"] == ("limbs" if "limb" in name else "joints")
        if section not in built:
            built.append(section)
            build(section)


@pytest.mark.parametrize("row", SKELETONS, ids=lambda row: row[0])
def test_words_of_skeleton_files_make_their_networks(row, monkeypatch):
    monkeypatch.chdir(ROOT)
    network, number, points = re.fullmatch(r"([\w-]+), ntu(\d+)-xsub-keypoint-(\dd)", row[0]).groups()
    config = read_config("j.pth", row[1])
    section = config["MODEL"]
    assert (section["name"], section["num_classes"]) == (NETWORKS[network], int(number))
    assert config["READER"]["test_clips"] == "mmaction2" and row[1].endswith("`")
    assert section.get("layout", config["READER"]["layout"]) == {"2d": "coco17", "3d": "ntu25_star"}[points]
    build(section)
