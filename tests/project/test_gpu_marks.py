"""A test marked `gpu` runs where there is a card, and is skipped with a reason where only the build is for one."""

import types

import gpus
import paddle
import pytest


def marked(*names):
    return types.SimpleNamespace(get_closest_marker=lambda name: name in names)


@pytest.mark.parametrize("is_cuda_build, num_cards", [(False, 0), (True, 0)])
def test_without_a_card_it_is_skipped_with_the_reason(monkeypatch, is_cuda_build, num_cards):
    monkeypatch.setattr(paddle, "is_compiled_with_cuda", lambda: is_cuda_build)
    monkeypatch.setattr(paddle.device.cuda, "device_count", lambda: num_cards)
    with pytest.raises(pytest.skip.Exception, match="needs an NVIDIA GPU"):
        gpus.skip_without_gpu(marked("gpu"))
    gpus.skip_without_gpu(marked("long"))


def test_with_a_card_it_runs(monkeypatch):
    monkeypatch.setattr(paddle, "is_compiled_with_cuda", lambda: True)
    monkeypatch.setattr(paddle.device.cuda, "device_count", lambda: 1)
    gpus.skip_without_gpu(marked("gpu"))


@pytest.mark.gpu
def test_a_test_that_is_marked_finds_a_card():
    assert paddle.device.cuda.device_count() > 0
