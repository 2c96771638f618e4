"""RUN: what is refused, when a run validates, which value is better, when it ends early."""

import dataclasses

import pytest

from engine.resume import KEYS_OF_A_RESUMED_RUN, KEYS_WITHOUT_EFFECT
from engine.run_settings import RunSettings


def test_when_an_epoch_is_validated_and_which_value_is_better():
    settings = RunSettings(epochs=10, eval_interval=3, val_begin=2)
    assert [epoch for epoch in range(10) if settings.is_validated(epoch)] == [2, 5, 8, 9]
    assert RunSettings().is_better(0.6, 0.5) and not RunSettings(rule="less").is_better(0.6, 0.5)
    assert RunSettings(metric="loss").is_better(0.5, 0.6)


@pytest.mark.parametrize("rule, sign", [("greater", 1), ("less", -1)])
def test_better_by_a_delta_is_better_by_more_than_that_either_way(rule, sign):
    settings = RunSettings(rule=rule)
    assert settings.is_better(sign * 0.75, sign * 0.5, 0.125)
    assert not settings.is_better(sign * 0.625, sign * 0.5, 0.125)  # by just as much
    assert not settings.is_better(sign * 0.5625, sign * 0.5, 0.125)


@pytest.mark.parametrize(
    "keys, message",
    [
        ({"metric": "top3"}, "RUN.metric: expected one of top1, top5"),
        ({"rule": "more"}, "RUN.rule: expected one of None, greater, less, got 'more'"),
        ({"amp_level": "O3"}, "RUN.amp_level: expected one of O0, O1, O2, got 'O3'"),
        ({"amp_dtype": "float8"}, "RUN.amp_dtype: expected one of float16, bfloat16, got 'float8'"),
        ({"recompute": True, "cpu_backend": "onednn"}, "RUN.recompute works in the dynamic graph only; set RUN.cpu_b"),
        ({"freeze_until": "layer1", "train_from": "layer2"}, "set one of them"),
    ],
)
def test_settings_no_run_can_use_are_refused(keys, message):
    with pytest.raises(ValueError, match=message):
        RunSettings(**keys).check()


def rows(*values):
    """Make a history; None is an epoch that was not validated."""
    return [{"epoch": epoch} | ({} if one is None else {"val/top1": one}) for epoch, one in enumerate(values)]


def test_early_stop_waits_for_so_many_validations_without_a_better_one():
    settings = RunSettings(early_stop_patience=2)
    assert settings.find_stop([]) is None and settings.find_stop(rows(0.5, 0.6, 0.6)) is None
    assert settings.find_stop(rows(0.5, 0.6, 0.6, 0.55)) == (
        "early stop after epoch 3: 2 validations without a top1 better than the 0.6000 of epoch 1 by more than 0"
    )
    assert settings.find_stop(rows(0.5, 0.6, 0.6, 0.61)) is None  # in time
    assert settings.find_stop(rows(0.6, None, 0.6, None)) is None  # epochs without validation do not count
    assert "after epoch 3" in settings.find_stop(rows(0.6, None, 0.6, 0.6))
    assert RunSettings().find_stop(rows(*[0.6] * 99)) is None


def test_early_stop_asks_for_min_delta_and_follows_the_rule():
    gains = rows(0.5, 0.509, 0.518, 0.527)  # each better than the one before, by less than 0.01
    assert RunSettings(early_stop_patience=2).find_stop(gains) is None
    # 0.518 is more than 0.01 above the 0.5 that counts, 0.509 is not: one in two is too little for patience 1 only.
    assert RunSettings(early_stop_patience=2, early_stop_min_delta=0.01).find_stop(gains) is None
    assert RunSettings(early_stop_patience=1, early_stop_min_delta=0.01).find_stop(gains[:2]) is not None
    assert RunSettings(early_stop_patience=3, early_stop_min_delta=0.1).find_stop(gains) is not None
    falling = rows(0.5, 0.4, 0.3)
    assert RunSettings(early_stop_patience=2).find_stop(falling) is not None
    assert RunSettings(early_stop_patience=2, rule="less").find_stop(falling) is None
    assert RunSettings(early_stop_patience=2, rule="less", early_stop_min_delta=0.5).find_stop(falling) is not None


def test_every_key_of_run_is_compared_when_a_run_goes_on_or_is_named_as_one_that_cannot_matter():
    fields = {field.name for field in dataclasses.fields(RunSettings)}
    assert set(KEYS_OF_A_RESUMED_RUN) | set(KEYS_WITHOUT_EFFECT) == fields
    assert {"cpu_backend", "eval_interval", "early_stop_patience", "mixup_alpha"} <= set(KEYS_OF_A_RESUMED_RUN)
