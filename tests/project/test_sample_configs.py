"""The sample configs of TPN and TSM as they are: held-out people, and the order of frames."""

import pytest
from learning import PAIRS, learn, make_samples
from paths import ROOT

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def sample_data(run_script, tmp_path_factory):
    """The sample data as quickstart.sh makes them."""
    root = tmp_path_factory.mktemp("samples")
    make_samples(run_script, root)
    return root


@pytest.fixture(autouse=True)
def working_folder(tmp_path, monkeypatch):
    """A folder for what a run writes into the working folder."""
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("backbone", ["slowonly", "tsm"])
def test_tpn_learns_and_tells_order(sample_data, tmp_path, backbone):
    words = ["-o", f"MODEL.backbone={backbone}"]
    figures, right = learn(ROOT / "configs/tpn_samples.txt", sample_data, tmp_path / "run", *words)
    assert figures["test/top1"] >= 0.9
    for one, other in PAIRS:
        assert right[one] + right[other] >= 1.5


def test_tsm_tells_order_by_its_shift_alone(sample_data, tmp_path):
    config = ROOT / "configs/tsm_samples.txt"
    figures, right = learn(config, sample_data, tmp_path / "shift")
    still_figures, still_right = learn(config, sample_data, tmp_path / "still", "-o", "MODEL.shift=None")
    assert figures["test/top1"] > 0.85
    assert sum(right[name] for pair in PAIRS for name in pair) >= 2.8
    for one, other in PAIRS:  # it sees the same frames in both, so what it gains on one it loses on the other
        assert 0.7 <= still_right[one] + still_right[other] <= 1.3
    assert still_figures["test/top1"] < figures["test/top1"] - 0.1
