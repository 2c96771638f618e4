"""PaddleVideo's files through tools/convert_weights.py: from its own names in a .pdparams file to its scores."""

import numpy as np
import paddle
import pytest
from golden_checks import assert_logits_match

from engine import checkpoint
from models import build_model
from tools import convert_weights
from tools.golden import vectors

SOURCE = ["--source", "paddlevideo"]


@pytest.fixture(autouse=True)
def _stand_elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def write(golden, path="theirs.pdparams", prefixes=("backbone.", "head.")):
    """Write a file as Paddle writes a recognizer's state dict; "" for the prefixes of files without them."""
    weights = vectors.draw_weights(golden)
    if not prefixes:
        weights = {name.partition(".")[2]: value for name, value in weights.items()}
    paddle.save({name: paddle.to_tensor(value) for name, value in weights.items()}, path)
    return path


def convert(golden, path, *more):
    name, arguments = vectors.describe(golden)
    words = [f"-oMODEL.{key}={value}" for key, value in arguments.items() if key not in ("num_classes", "dropout")]
    convert_weights.main([path, *SOURCE, "--model", name, *words, "--out", "ours", *more])
    state = checkpoint.load_checkpoint("ours")
    model = build_model(**state["source"]["model"])
    checkpoint.restore_model(model, state["model"])
    model.eval()
    return model


@pytest.mark.parametrize(
    "name, prefixes",
    [
        ("stgcn_fsd_T32", ("backbone.", "head.")),
        ("agcn_fsd_T32", ("backbone.", "head.")),
        ("agcn2s_fsd_T30", ()),  # as its public files are
    ],
)
def test_their_scores_come_out(name, prefixes, capsys):
    golden = vectors.load(f"paddlevideo/{name}")
    model = convert(golden, write(golden, prefixes=prefixes))
    logits = model(paddle.to_tensor(vectors.draw_input(golden))).numpy()
    assert_logits_match(logits, golden["logits"])
    printed = capsys.readouterr().out
    if name == "agcn_fsd_T32":
        assert "skipped: backbone.data_bn.weight, backbone.data_bn.bias," in printed
    if name == "stgcn_fsd_T32":
        assert "checked: 1 graphs of the file, which are those of this network" in printed


def test_a_file_of_another_graph_is_refused():
    golden = vectors.load("paddlevideo/stgcn_ntucs_T30")
    with pytest.raises(ValueError, match="A is another graph than the network's, .* entries differ"):
        convert_weights.main(
            [write(golden), *SOURCE, "--model", "stgcn", "-o", "MODEL.layout=openpose25", "--out", "ours"]
        )


def read_section(model, *words):
    args = convert_weights.parse_arguments(["a.pdparams", *SOURCE, "--model", model, "--out", "b", *words])
    section = convert_weights.read_config(args)["MODEL"]
    convert_weights.set_source_arguments(section, args)
    return section


def test_tsm_gets_their_shift(capsys):
    assert read_section("tsm")["shift"] == "paddlevideo"
    assert capsys.readouterr().out == "MODEL.shift = paddlevideo, as paddlevideo has it\n"
    section = read_section(
        "tsm", "-o", "MODEL.shift=residual", "-o", "MODEL.depth=14", "-o", "MODEL.widen_factor=0.125"
    )
    with pytest.raises(ValueError, match="weights of paddlevideo were trained with shift 'paddlevideo'"):
        build_model(**section, num_classes=2).check_source("paddlevideo")


def test_with_the_papers_shift_the_same_weights_give_other_scores():
    """What a loader that takes the names alone would not notice: 2 to 3 % of the largest logit."""
    golden = vectors.load("paddlevideo/tsm_r50_ucf101_4seg")
    model, x = vectors.build(golden, gain=1.0), paddle.to_tensor(vectors.draw_input(golden))
    other = build_model("tsm", num_classes=101)
    other.set_state_dict(model.state_dict())
    other.eval()
    expected = np.asarray(golden["alt_gain1"]["logits"])
    with paddle.no_grad():
        error = np.abs(other(x).numpy() - expected).max() / np.abs(expected).max()
    assert error > 0.01


def test_their_file_is_not_written_over():
    with pytest.raises(SystemExit):
        convert_weights.parse_arguments(["a.pdparams", *SOURCE, "--model", "tsm"])
