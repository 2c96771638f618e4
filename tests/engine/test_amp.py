"""RUN.amp_dtype: bfloat16 has no loss scale, and is refused where the GPU is too old for it."""

import paddle
import pytest

from engine import amp


@pytest.fixture
def gpu(monkeypatch):
    """Paddle as it answers on a GPU of some compute capability."""

    def be(capability):
        monkeypatch.setattr(paddle.device, "get_device", lambda: "gpu:0")
        monkeypatch.setattr(paddle.device.cuda, "get_device_capability", lambda: capability)
        monkeypatch.setattr(paddle.device.cuda, "get_device_name", lambda: "Tesla V100")

    return be


def test_an_older_gpu_refuses_bfloat16_in_a_sentence(gpu):
    gpu((7, 5))
    with pytest.raises(ValueError) as caught:
        amp.build_precision("O1", "bfloat16")
    assert str(caught.value) == (
        "RUN.amp_dtype=bfloat16: Tesla V100 has compute capability 7.5, bfloat16 needs 8.0; "
        "set -o RUN.amp_dtype=float16"
    )
    assert amp.build_precision("O1", "float16").dtype == "float16"
    assert type(amp.build_precision("O0", "bfloat16")) is amp.FullPrecision  # nothing is computed in it


def test_bfloat16_has_no_loss_scale_and_moves_the_weights_as_float32_does(gpu, monkeypatch):
    gpu((8, 0))
    precision, casts = amp.build_precision("O2", "bfloat16"), []
    monkeypatch.setattr(paddle.amp, "auto_cast", lambda **arguments: casts.append(arguments))
    precision.cast()
    assert casts == [{"custom_white_list": {"conv3d"}, "level": "O2", "dtype": "bfloat16"}]
    weight = paddle.create_parameter([2], "float32")
    before = weight.numpy().copy()
    solver = paddle.optimizer.Momentum(0.5, parameters=[weight])
    precision.backward((weight * 3).sum())
    assert weight.grad.tolist() == [3.0, 3.0]
    precision.update(solver)
    assert weight.numpy().tolist() == (before - 1.5).tolist()
    assert precision.describe() == "" and precision.state() == {}


def test_a_run_goes_on_in_the_other_type():
    float16, bfloat16 = amp.MixedPrecision("O1"), amp.MixedPrecision("O1", dtype="bfloat16")
    bfloat16.restore(float16.state())
    float16.restore(bfloat16.state())
    assert bfloat16.describe() == ""


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_a_cpu_computes_in_float32_and_says_so(caplog, dtype):
    assert type(amp.build_precision("O1", dtype)) is amp.FullPrecision
    assert f"Paddle computes in {dtype} on GPUs only; this is float32" in caplog.text
