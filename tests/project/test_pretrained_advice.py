"""Every config that starts from weights says what makes them when they are missing."""

import pytest
from paths import ROOT

import config as texts
from engine import checkpoint

CONFIGS = sorted([*ROOT.glob("configs/*.txt"), *ROOT.glob("configs/*.yaml")])


def find_pretrain(path):
    return texts.load_config(str(path)).get("RUN", {}).get("pretrain")


STARTED = [path for path in CONFIGS if find_pretrain(path)]


def test_some_configs_start_from_weights():
    assert len(STARTED) > 10


@pytest.mark.parametrize("path", STARTED, ids=lambda path: path.name)
def test_missing_weights_are_made_by_the_command_of_the_comment(path):
    start = find_pretrain(path).removesuffix(".pdparams")
    advice = checkpoint.advise_missing(start)
    if start.startswith("weights/"):
        comment = path.read_text(encoding="utf-8").replace("\\\n#", "")
        assert advice.startswith("make it (") and advice.endswith(f"--out {start}")
        tool = advice.split()[4]
        assert f"{tool} " in comment
    else:
        assert advice == "run train.py first" and start.endswith("_model")
