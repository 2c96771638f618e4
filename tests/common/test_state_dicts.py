"""The weights of a file are found under any wrapper and prefix, and it is said which were taken."""

import itertools

import numpy as np
import pytest

from common.state_dicts import PREFIXES, WRAPPERS, find_weights

WEIGHTS = {"backbone.conv.weight": np.ones((2, 3)), "fc.bias": np.arange(2.0), "fc.num_batches_tracked": np.array(3)}
AVERAGED = {name: np.asarray(value + 0.5) for name, value in WEIGHTS.items()}


def add_prefix(weights, prefix):
    return {prefix + name: value for name, value in weights.items()}


def assert_same(found, weights=WEIGHTS):
    assert found.weights.keys() == weights.keys()
    for name, value in weights.items():
        np.testing.assert_array_equal(found.weights[name], value)


@pytest.mark.parametrize(
    "prefixes",
    [
        *itertools.chain.from_iterable(itertools.permutations(PREFIXES, count) for count in range(4)),
        ("module", "module"), ("model", "module", "model"), ("_orig_mod", "_orig_mod", "module", "model"), ("net",),
        ("module", "network"),
    ],
)  # fmt: skip
def test_prefixes_in_any_order_and_repeated(prefixes):
    content = {"state_dict": add_prefix(WEIGHTS, "".join(f"{prefix}." for prefix in prefixes))}
    assert_same(find_weights(content, "a"))


@pytest.mark.parametrize(
    "wrapped",
    ["_orig_mod.module.", "_fsdp_wrapped_module.", "_checkpoint_wrapped_module._fsdp_wrapped_module._orig_mod."],
)
def test_a_wrapped_part_of_a_network(wrapped):
    content = {f"backbone.{wrapped}conv.weight": WEIGHTS["backbone.conv.weight"]}
    assert list(find_weights(content, "a").weights) == ["backbone.conv.weight"]


@pytest.mark.parametrize("outer", [*WRAPPERS, ""])
@pytest.mark.parametrize("inner", [*WRAPPERS, ""])
def test_wrappers_alone_and_inside_of_each_other(outer, inner):
    content = {inner: WEIGHTS, "step": np.zeros(2)} if inner else WEIGHTS
    content = {outer: content, "epoch": 3, "optimizer": {"state": {0: {"exp_avg": np.ones(3)}}}} if outer else content
    found = find_weights(content, "a")
    assert_same(found)
    assert found.key == ".".join(filter(None, (outer, inner))) and not found.others


@pytest.mark.parametrize(
    "key",
    ["state_dict_ema", "model_ema", "ema", "ema_state_dict", "model_ema_state_dict", "swa_state_dict", "averaged"],
)
@pytest.mark.parametrize("nested", [False, True])
def test_averages_are_taken_only_where_they_are_asked_for(key, nested):
    content = {key: {"module": add_prefix(AVERAGED, "module.")} if nested else AVERAGED, "state_dict": WEIGHTS}
    name = f"{key}.module" if nested else key
    found = find_weights(content, "a")
    assert_same(found)
    assert (found.key, found.others) == ("state_dict", [name])
    found = find_weights(content, "a", averaged=True)
    assert_same(found, AVERAGED)
    assert (found.key, found.others) == (name, ["state_dict"])
    found = find_weights({key: AVERAGED}, "a")  # no others
    assert_same(found, AVERAGED)
    assert (found.key, found.others) == (key, [])


@pytest.mark.parametrize("prefix", ["ema_model.module.", "model_ema."])
def test_averages_beside_the_weights_in_one_state_dict(prefix):
    content = {"state_dict": {**add_prefix(WEIGHTS, "model."), **add_prefix(AVERAGED, prefix)}}
    found = find_weights(content, "a")
    assert_same(found)
    assert found.others == [f"state_dict.{prefix.partition('.')[0]}"]
    assert_same(find_weights(content, "a", averaged=True), AVERAGED)


def test_averages_with_a_counter_and_in_a_shadow():
    content = {"model_ema": {"n_averaged": np.array(3), **add_prefix(AVERAGED, "module.net.")}, "model": WEIGHTS}
    assert_same(find_weights(content, "a", averaged=True), {"n_averaged": np.array(3), **AVERAGED})
    content = {"model": WEIGHTS, "ema": {"decay": 0.999, "shadow": AVERAGED}}
    assert_same(find_weights(content, "a", averaged=True), AVERAGED)
    assert_same(find_weights(content, "a"))


def test_averages_of_parameters_take_the_statistics_of_the_others():
    """As MMCV's EMAHook names them, and as our own checkpoints have them."""
    weights = {"bn.weight": np.ones(2), "bn.running_mean": np.full(2, 3.0)}
    for content in (
        {**weights, "ema_bn_weight": np.zeros(2)},
        {"model": weights, "ema": {"bn.weight": np.zeros(2)}},
    ):
        assert_same(find_weights(content, "a"), weights)
        assert_same(find_weights(content, "a", averaged=True), {**weights, "bn.weight": np.zeros(2)})


def test_what_paddle_saves_inside_of_containers():
    content = {"model": {"fc.bias": ("linear_0.b_0", np.ones(2)), "StructuredToParameterName@@": {}, "note": "x"}}
    found = find_weights(content, "a")
    assert_same(found, {"fc.bias": np.ones(2)})
    assert found.skipped == ["note"]


def test_two_tensors_of_one_name():
    same = {"fc.bias": np.ones(2), "module.fc.bias": np.ones(2)}
    assert_same(find_weights(same, "a"), {"fc.bias": np.ones(2)})
    with pytest.raises(
        ValueError, match="'a': 'fc.bias' and 'module.fc.bias' are both 'fc.bias', with other values; s"
    ):
        find_weights({**same, "module.fc.bias": np.zeros(2)}, "a")


@pytest.mark.parametrize(
    "content, message",
    [
        ([1], "'a' holds no weights: it is a list; save the state dict of the model alone"),
        (None, "holds no weights: it is a NoneType"),
        ({}, "holds no weights: it is empty"),
        ({"epoch": 3, "state_dict": {}}, "holds no weights: it has epoch, state_dict;"),
        ({"student": WEIGHTS}, "holds no weights: it has some under 'student', but none under state_dict, "),
        ({"model": np.array("text")}, "holds no weights: it has model;"),
        ({0: {"exp_avg": np.ones(2)}}, "holds no weights: no entry has a name;"),
    ],
)
def test_what_holds_no_weights_is_described(content, message):
    with pytest.raises(ValueError, match=message):
        find_weights(content, "a")


def test_a_dict_that_contains_itself_ends():
    ring = {}
    ring.update({"model": ring, **{f"ema_{index}": ring for index in range(1000)}})
    with pytest.raises(ValueError, match="holds no weights"):
        find_weights(ring, "a")


def test_averages_that_are_not_there():
    with pytest.raises(ValueError, match="'a' holds no averaged weights, only those under 'model'; leave out --ema"):
        find_weights({"model": WEIGHTS}, "a", averaged=True)
