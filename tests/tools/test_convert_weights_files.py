"""PyTorch files as trainers really save them: prefixes, wrappers, averages, graphs; and what is said about them."""

import fake_torch
import numpy as np
import paddle
import pytest

from engine import checkpoint
from models import build_model
from tools import convert_weights
from tools.golden import vectors

ARGUMENTS = {"depth": 10, "widen_factor": 0.125, "conv1_t_size": 3}
WORDS = ["--source", "3d-resnets-pytorch", "--model", "resnet", *(f"-oMODEL.{k}={v}" for k, v in ARGUMENTS.items())]


@pytest.fixture(autouse=True)
def _stand_elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def draw(seed=5):
    paddle.seed(seed)
    return checkpoint.model_state(build_model("resnet", num_classes=3, **ARGUMENTS))


WEIGHTS = draw()


def as_torch(weights, prefix=""):
    """Give the weights of a network of 3D-ResNets-PyTorch as tensors of a file."""
    names = {"_mean": "running_mean", "_variance": "running_var"}
    named = {}
    for name, value in weights.items():
        layer, _, entry = name.rpartition(".")
        named[f"{prefix}{layer}.{names.get(entry, entry)}"] = value.T if name == "fc.weight" else value
    return {name: fake_torch.tensor(value) for name, value in named.items()}


def convert(tmp_path, content, *words):
    fake_torch.write_zip(tmp_path / "a.pth", content)
    convert_weights.main(["a.pth", *WORDS, *words])
    return checkpoint.load_checkpoint("a")["model"]


def assert_same(found, expected=WEIGHTS):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)


@pytest.mark.parametrize("prefix", ["_orig_mod.", "module._orig_mod.", "_orig_mod.module.", "model.", "model.module."])
@pytest.mark.parametrize("wrap", [lambda state: {"net": state}, lambda state: {"model": {"state_dict": state}}])
def test_prefixes_and_wrappers(tmp_path, prefix, wrap, capsys):
    assert_same(convert(tmp_path, wrap(as_torch(WEIGHTS, prefix))))
    told = capsys.readouterr().out
    assert f"removed from names: {prefix}\n" in told and "skipped: nothing\n" in told
    assert f"a.pth: {len(WEIGHTS)} tensors under '{'net' if 'net' in wrap({}) else 'model.state_dict'}'\n" in told


@pytest.mark.parametrize("key", ["state_dict_ema", "model_ema", "ema"])
def test_the_flag_that_takes_the_average_is_named(tmp_path, key, capsys):
    averaged = draw(seed=6)
    content = {"state_dict": as_torch(WEIGHTS), key: as_torch(averaged, "module."), "epoch": 9}
    assert_same(convert(tmp_path, content))
    assert f"not taken: the averaged weights under '{key}'; they are taken with --ema\n" in capsys.readouterr().out
    assert_same(convert(tmp_path, content, "--ema"), averaged)
    told = capsys.readouterr().out
    assert f"tensors under '{key}'\n" in told
    assert "not taken: the other weights under 'state_dict'; they are taken without --ema\n" in told


def test_a_file_without_an_average(tmp_path):
    with pytest.raises(
        ValueError, match="'a.pth' holds no averaged weights, only those under 'model'; leave out --ema"
    ):
        convert(tmp_path, {"model": as_torch(WEIGHTS)}, "--ema")


def test_counters_of_every_kind_are_counted(tmp_path, capsys):
    counters = {"n_averaged": np.int64(3), "conv1.total_ops": np.zeros(1), "bn1.num_batches_tracked": np.int64(2)}
    tensors = {name: fake_torch.tensor(value) for name, value in counters.items()}
    assert_same(convert(tmp_path, {**as_torch(WEIGHTS, "module."), **tensors}))
    kinds = "n_averaged, total_ops, num_batches_tracked"
    assert f"skipped: 3 counters ({kinds}), which Paddle's batch norm does not have\n" in capsys.readouterr().out


def test_another_number_of_classes_says_how_to_start_from_the_rest(tmp_path):
    with pytest.raises(ValueError) as caught:
        convert(tmp_path, as_torch(WEIGHTS), "-oMODEL.num_classes=7")
    assert "the number of classes differs (3, not 7): train.py starts from the rest" in str(caught.value)
    assert "--pretrain and -o 'RUN.ignore_weights=[fc.*]'" in str(caught.value)


def test_a_whole_object_inside_of_a_wrapper(tmp_path, monkeypatch):
    class Net:
        __module__, __qualname__ = "small_dataset", "Net"

    monkeypatch.setattr("small_dataset.Net", Net, raising=False)
    with pytest.raises(ValueError, match="'a.pth' holds a whole 'small_dataset.Net' object, which only its own code"):
        convert(tmp_path, {"model": Net(), "epoch": 3})


@pytest.mark.parametrize("name", ["pyskl_ctrgcn_ntu_T32", "pyskl_aagcn_ntu_T32"])
def test_a_file_of_pyskl_as_it_really_is_gives_the_authors_logits(tmp_path, name, capsys):
    reference = vectors.load(name)
    state = {
        "backbone.A": np.asarray(reference["constants"]["backbone.A"], np.float32),
        **vectors.draw_weights(reference),
    }
    norms = [key.removesuffix("running_mean") for key in state if key.endswith("running_mean")]
    state |= {f"{norm}num_batches_tracked": np.int64(7) for norm in norms}
    tensors = {key: fake_torch.tensor(value) for key, value in state.items()}
    fake_torch.write_zip(tmp_path / "j.pth", {"meta": {"epoch": 16}, "state_dict": tensors})
    model_name, arguments = vectors.describe(reference)
    words = [f"-oMODEL.{key}={value}" for key, value in arguments.items() if key != "num_classes"]
    convert_weights.main(["j.pth", "--source", "pyskl", "--model", model_name, *words])
    told = capsys.readouterr().out
    assert "checked: 1 graphs of the file, which are those of this network\n" in told
    assert f"skipped: {len(norms)} counters (num_batches_tracked), which" in told and ", backbone.A" not in told
    loaded = checkpoint.load_checkpoint("j")
    model = build_model(**loaded["source"]["model"])
    checkpoint.restore_model(model, loaded["model"])
    model.eval()
    logits, expected = model(paddle.to_tensor(vectors.draw_input(reference))).numpy(), np.array(reference["logits"])
    np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-4 * np.abs(expected).max())


def test_pyskls_gcn_adaptive_none_can_be_typed(tmp_path):
    reference = vectors.load("stgcn_ntu_spatial_hop2_noimp_T16")
    state = {"A": np.asarray(reference["constants"]["A"], np.float32), **vectors.draw_weights(reference)}
    fake_torch.write_zip(tmp_path / "s.pth", {key: fake_torch.tensor(value) for key, value in state.items()})
    words = ["s.pth", "--source", "st-gcn", "--model", "stgcn", "-oMODEL.max_hop=2"]
    convert_weights.main([*words, "-oMODEL.adaptive=none"])
    assert checkpoint.load_checkpoint("s")["source"]["model"]["adaptive"] is None
    with pytest.raises(ValueError, match="blocks.0.graph_conv.edges is missing"):
        convert_weights.main(words)


def test_a_graph_does_not_count_as_the_classifier(tmp_path):
    """The number of classes is that of the last matrix, and a graph of two axes may come last."""
    assert convert_weights.find_classes({"fc.weight": np.zeros((60, 4)), "A": np.zeros((25, 25))}) == 60
    reference = vectors.load("infogcn_ntu60_k1_T32")
    state = {**vectors.draw_weights(reference), "A_vector": np.asarray(reference["constants"]["A_vector"], np.float32)}
    fake_torch.write_zip(tmp_path / "i.pth", {key: fake_torch.tensor(value) for key, value in state.items()})
    convert_weights.main(["i.pth", "--source", "infogcn", "--model", "infogcn"])
    assert checkpoint.load_checkpoint("i")["source"]["model"]["num_classes"] == 60
    with pytest.raises(ValueError, match="embedding.vectors is another graph than the network's"):
        convert_weights.main(["i.pth", "--source", "infogcn", "--model", "infogcn", "-oMODEL.k=8"])
