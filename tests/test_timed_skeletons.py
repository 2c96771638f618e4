"""SkateFormer from the commands: its two inputs in a training, a test, a prediction, its explanation, and an export."""

import json
import pickle

import numpy as np
import pytest
import small_skeletons

import predict
import test
import train
from tools import export

pytestmark = pytest.mark.filterwarnings("ignore:When training, we now always track")

CONFIG = """# A network of a few thousand weights.
MODEL:
  name: skateformer
  channels: [8]
  num_blocks: [1]
  num_heads: 8
  num_frames: 8
READER:
  name: timed_skeletons
  filelist: all.pkl
  clip_len: 8
  layout: ntu25_skateformer
  num_persons: 1
  num_workers: 0
  batch_size: 3
TRAIN:
  split: train
  intra_ratio: 0.5
  inter_ratio: 0.5
VALID:
  split: test
OPTIMIZER:
  learning_rate: 0.01
RUN:
  epochs: 1
  use_gpu: false
"""


def test_a_network_of_two_inputs_is_trained_tested_explained_and_exported(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    small_skeletons.write_pkl(tmp_path / "all.pkl", per_class=1)
    (tmp_path / "config.yaml").write_text(CONFIG)
    train.main(["config.yaml", "--save_dir", "run"])
    weights = "run/skateformer_model"
    test.main([weights, "--save_dir", "run"])
    with open("run/skateformer_model_test_scores.pkl", "rb") as file:
        scores = pickle.load(file)["scores"]
    assert len(scores) == 3
    export.main([weights, "--out", "exported"])
    words = ["--input", "all.pkl", "--split", "test", "--save_dir", "out"]
    for network in ([weights, "--explain"], ["--exported", "exported"]):
        assert predict.main([*network, *words]) == 0
        for name, expected in scores.items():
            with open(f"out/{name}_predict.json", encoding="utf-8") as file:
                found = json.load(file)
            ranked = {one["label"]: one["probability"] for one in found["top_k"]}
            np.testing.assert_allclose([ranked[label] for label in range(3)], expected, atol=1e-5)
