"""Checkpoints: what goes in comes out, strangers are refused, nothing in a file runs."""

import os
import pickle

import numpy as np
import paddle
import pytest

from engine import checkpoint


class Net(paddle.nn.Layer):
    """A linear layer after batch norm."""

    def __init__(self, width=3):
        super().__init__()
        self.bn = paddle.nn.BatchNorm1D(2)
        self.fc = paddle.nn.Linear(2, width)

    def forward(self, x):
        return self.fc(self.bn(x))


def updated(net, optimizer, steps):
    for step in range(steps):
        optimizer.clear_grad()
        net(
            paddle.to_tensor(np.random.default_rng(step).normal(size=(4, 2)).astype("float32"))
        ).square().mean().backward()
        optimizer.step()


@pytest.mark.parametrize("kind", [paddle.optimizer.Momentum, paddle.optimizer.AdamW])
def test_going_on_from_a_file_equals_going_on_in_memory(tmp_path, kind):
    net = Net()
    optimizer = kind(0.1, parameters=net.parameters())
    updated(net, optimizer, 3)
    state = {"model": checkpoint.model_state(net), "optimizer": checkpoint.optimizer_state(net, optimizer)}
    checkpoint.save_checkpoint(str(tmp_path / "a"), state)
    updated(net, optimizer, 2)

    paddle.nn.Linear(5, 5)  # a layer built in between shifts the numbers in Paddle's own parameter names
    other = Net()
    other_optimizer = kind(0.1, parameters=other.parameters())
    loaded = checkpoint.load_checkpoint(str(tmp_path / "a"))
    checkpoint.restore_model(other, loaded["model"])
    checkpoint.restore_optimizer(other, other_optimizer, loaded["optimizer"])
    updated(other, other_optimizer, 2)
    for name, value in checkpoint.model_state(net).items():
        np.testing.assert_array_equal(value, checkpoint.model_state(other)[name], err_msg=name)


def test_paddle_itself_reads_our_files_and_we_read_its(tmp_path):
    net = Net()
    checkpoint.save_checkpoint(str(tmp_path / "ours"), {"model": checkpoint.model_state(net)})
    theirs = paddle.load(str(tmp_path / "ours.pdparams"))
    np.testing.assert_array_equal(np.asarray(theirs["model"]["fc.weight"]), net.fc.weight.numpy())
    paddle.save(net.state_dict(), str(tmp_path / "plain.pdparams"))
    loaded = checkpoint.load_checkpoint(str(tmp_path / "plain"))
    assert set(loaded["model"]) == set(net.state_dict())


def test_a_missing_file_lists_what_is_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="no checkpoint .*none.pdparams'; run train.py first"):
        checkpoint.load_checkpoint(str(tmp_path / "none"))
    checkpoint.save_checkpoint(str(tmp_path / "resnet_model"), {"model": {"a": np.zeros(1)}})
    with pytest.raises(FileNotFoundError, match="that folder has .*resnet_model.pdparams"):
        checkpoint.load_checkpoint(str(tmp_path / "none"))


def test_weights_of_another_model_are_told():
    weights = checkpoint.model_state(Net(width=4))
    weights["extra"] = np.zeros(2, np.float32)
    del weights["bn.weight"]
    with pytest.raises(ValueError) as caught:
        checkpoint.restore_model(Net(), weights)
    told = str(caught.value)
    assert "1 missing (bn.weight)" in told and "1 left over (extra)" in told
    assert "2 of another shape (fc.weight [2, 4] for [2, 3]" in told


def test_ignored_names_keep_their_values():
    net, weights = Net(), checkpoint.model_state(Net(width=4))
    before = net.fc.weight.numpy()
    assert checkpoint.restore_model(net, weights, ["fc.*"]) == ["fc.weight", "fc.bias"]
    np.testing.assert_array_equal(net.fc.weight.numpy(), before)


class Harmful:
    """Runs a command when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


def test_a_file_that_would_run_code_is_refused_and_runs_nothing(tmp_path):
    path, trace = tmp_path / "bad.pdparams", tmp_path / "ran"
    path.write_bytes(pickle.dumps({"model": Harmful(trace)}))
    with pytest.raises(ValueError, match="system.*refused"):
        checkpoint.load_checkpoint(str(path))
    assert not trace.exists()


@pytest.mark.parametrize(
    "content, message",
    [(pickle.dumps([1, 2]), "holds a list, expected a checkpoint"), (pickle.dumps({"a": 1}), "holds no weights")],
)
def test_other_pickles_are_told_apart(tmp_path, content, message):
    (tmp_path / "a.pdparams").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        checkpoint.load_checkpoint(str(tmp_path / "a"))


def test_a_truncated_file_says_so(tmp_path):
    checkpoint.save_checkpoint(str(tmp_path / "a"), {"model": {"w": np.zeros(1000)}})
    whole = (tmp_path / "a.pdparams").read_bytes()
    (tmp_path / "a.pdparams").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="a.pdparams.*truncated|a.pdparams.*cut"):
        checkpoint.load_checkpoint(str(tmp_path / "a"))


def test_only_the_newest_are_kept(tmp_path):
    for epoch in (5, 10, 15):
        checkpoint.save_checkpoint(str(tmp_path / f"resnet_epoch_{epoch:05d}"), {"model": {"w": np.zeros(1)}})
    checkpoint.save_checkpoint(str(tmp_path / "resnet_model"), {"model": {"w": np.zeros(1)}})
    checkpoint.prune_checkpoints(str(tmp_path), "resnet_epoch_*", 2)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["resnet_epoch_00010.pdparams", "resnet_epoch_00015.pdparams", "resnet_model.pdparams"]


def test_weights_that_may_be_missing_keep_their_values():
    net = Net()
    weights = {name: value + 1 for name, value in checkpoint.model_state(net).items()}
    before = checkpoint.model_state(net)
    part = {name: value for name, value in weights.items() if not name.startswith("fc")}
    assert checkpoint.restore_model(net, part, allow_missing=["fc.*"]) == ["fc.weight", "fc.bias"]
    after = checkpoint.model_state(net)
    for name, value in after.items():
        np.testing.assert_array_equal(value, before[name] if name.startswith("fc") else weights[name])
    assert checkpoint.restore_model(net, weights, allow_missing=["fc.*"]) == []  # there after all: loaded
    np.testing.assert_array_equal(net.fc.bias.numpy(), weights["fc.bias"])


def test_the_average_is_scored_where_there_is_one():
    state = {"model": {"a": 1, "a._mean": 2}}
    assert checkpoint.scoring_weights(state) == {"a": 1, "a._mean": 2}
    assert checkpoint.scoring_weights({**state, "ema": {"a": 3}}) == {"a": 3, "a._mean": 2}


def test_the_float32_weights_behind_float16_ones_are_kept():
    """Of amp_level O2, which a CPU cannot run: an optimizer that answers as Paddle's then does."""
    net = Net()
    names = {name: one.name for name, one in net.named_parameters()}

    class Answers:
        def state_dict(self):
            key = names["fc.weight"]
            return {f"{key}_velocity_0": paddle.ones([2]), "master_weights": {key: paddle.full([3], 7.0)}}

        def set_state_dict(self, values):
            self.values = values

    state = checkpoint.optimizer_state(net, Answers())
    assert set(state) == {"fc.weight"} and set(state["fc.weight"]) == {"velocity_0", "master_weights"}
    taken = Answers()
    checkpoint.restore_optimizer(net, taken, state)
    assert set(taken.values) == {f"{names['fc.weight']}_velocity_0", "master_weights"}
    assert taken.values["master_weights"][names["fc.weight"]].tolist() == [7.0] * 3


def test_float16_halves_what_is_large_and_is_loaded_as_float32(tmp_path):
    kernel = np.random.default_rng(0).normal(size=(64, 64, 3)).astype(np.float32)
    weights = {"conv.weight": kernel, "bn._variance": np.full(4, 1e-7, np.float32), "steps": np.zeros((1, 1), int)}
    for is_float16 in (False, True):
        slim = checkpoint.make_slim({"model": weights, "optimizer": {}, "epoch": 1}, is_float16)
        checkpoint.save_checkpoint(str(tmp_path / str(is_float16)), slim)
    sizes = [os.path.getsize(tmp_path / f"{is_float16}.pdparams") for is_float16 in (False, True)]
    assert sizes[1] < 0.6 * sizes[0]
    loaded = checkpoint.load_checkpoint(str(tmp_path / "True"))["model"]
    assert {name: value.dtype for name, value in loaded.items()} == {name: one.dtype for name, one in weights.items()}
    np.testing.assert_array_equal(loaded["bn._variance"], weights["bn._variance"])  # 0 in float16
    assert 0 < np.abs(loaded["conv.weight"] - kernel).max() < 2e-3
    with pytest.raises(ValueError, match="'conv.weight' has values beyond 65504; leave out --float16"):
        checkpoint.make_slim({"model": {"conv.weight": 1e5 * kernel}}, True)
