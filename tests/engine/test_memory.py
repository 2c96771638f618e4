"""A run takes no more memory, epoch after epoch, with either kind of step."""

import json

import paddle
import pytest
from small_dataset import make_tree, write_config

MOST_GROWTH = 1.02  # of the peak of a third of the epochs


@pytest.mark.long
@pytest.mark.parametrize("kind", ["dynamic", "onednn"])
def test_the_peak_of_thirty_epochs_is_that_of_ten(run_script, tmp_path, kind):
    if kind == "onednn" and paddle.__version__.startswith("2."):
        pytest.skip("oneDNN's programs need Paddle 3")
    make_tree(tmp_path / "data")
    write_config(tmp_path / "c.txt")
    words = ["--config", tmp_path / "c.txt", "--root", tmp_path / "data", "--save_dir", tmp_path, "--epoch", 30]
    ended = run_script("train.py", *words, "--use_gpu", "False", "-o", f"RUN.cpu_backend={kind}", cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    lines = (tmp_path / "resnet_log.jsonl").read_text(encoding="utf-8").splitlines()
    peaks = [row["memory_gib"] for row in map(json.loads, lines) if "memory_gib" in row]
    assert len(peaks) == 30 and 0.1 < peaks[9] < 4
    assert peaks[29] <= MOST_GROWTH * peaks[9]
