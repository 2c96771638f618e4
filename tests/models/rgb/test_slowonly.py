"""SlowOnly against the authors' networks (golden vectors), and its parts against hand-made answers."""

import math

import golden_networks
import numpy as np
import paddle
import pytest
from golden_checks import draw
from paddle import nn

from models.rgb.slowonly import SlowOnly, TemporalBottleneck
from tools.golden import vectors

pytestmark = pytest.mark.filterwarnings("ignore:When training, we now always track")
SMALL = {"depth": 14, "widen_factor": 0.125}


@pytest.mark.parametrize("name", vectors.list_names("mm_slowonly_*"))
def test_names_shapes_and_size_are_those_of_the_authors_network(name):
    golden_networks.assert_names_and_sizes(name)


@pytest.mark.parametrize("name, gain", golden_networks.list_runs("mm_slowonly_*", quick=["mm_slowonly_r50_8x8"]))
def test_outputs_and_gradients_are_those_of_the_authors_network(name, gain):
    golden_networks.assert_outputs_match(name, gain)


def test_the_temporal_convolution_is_a_3x1x1_one():
    block = TemporalBottleneck(4, 6, 1, False)
    seen = []
    block.bn1.register_forward_pre_hook(lambda layer, inputs: seen.append(inputs[0].numpy()))
    clips = draw(2, 4, 5, 3, 3)
    block(clips.transpose([0, 2, 1, 3, 4]).reshape([10, 4, 3, 3]), 5)
    reference = nn.Conv3D(4, 6, (3, 1, 1), padding=(1, 0, 0), bias_attr=False)
    reference.weight.set_value(block.conv1.weight.unsqueeze(4))
    expected = reference(clips).transpose([0, 2, 1, 3, 4]).numpy()
    np.testing.assert_allclose(seen[0].reshape(expected.shape), expected, atol=1e-6)


def test_frames_meet_in_the_upper_two_stages_only():
    model = SlowOnly(4, **SMALL)
    model.eval()
    for layer in model.sublayers():
        if isinstance(layer, nn.BatchNorm2D):
            layer.weight.set_value(paddle.ones_like(layer.weight))  # blocks that add something
    clips = draw(2, 3, 9, 32, 32).numpy()
    other = clips.copy()
    other[1, :, 4] += 1
    changed = []
    for one, two in zip(*(model.backbone(paddle.to_tensor(x)) for x in (clips, other)), strict=True):
        differs = (one - two).abs().sum(axis=[1, 2, 3]).reshape([2, 9]).numpy() > 0
        assert not differs[0].any()  # the other clip of the batch
        changed.append(np.flatnonzero(differs[1]).tolist())
    assert changed == [[4], [4], [3, 4, 5], [2, 3, 4, 5, 6]]


def test_no_stage_strides_in_time_and_sizes_are_rounded_up():
    shapes = [list(x.shape) for x in SlowOnly(4, **SMALL).backbone(draw(2, 3, 5, 40, 33))]
    assert shapes == [[10, 32, 10, 9], [10, 64, 5, 5], [10, 128, 3, 3], [10, 256, 2, 2]]


def test_features_are_averaged_over_time_and_space():
    model = SlowOnly(4, **SMALL)
    model.eval()
    clips = draw(2, 3, 3, 32, 64)
    top = model.backbone(clips)[-1].numpy().reshape(2, 3, 256, 2)
    expected = top.mean(axis=(1, 3)) @ model.fc.weight.numpy() + model.fc.bias.numpy()
    np.testing.assert_allclose(model(clips).numpy(), expected, rtol=1e-4, atol=1e-6)


def test_half_of_the_features_are_dropped_in_training_only():
    model = SlowOnly(4, **SMALL)
    shares = []

    def keep(_layer, inputs, output):
        shares.append((output.numpy() != 0).sum() / (inputs[0].numpy() != 0).sum())

    model.dropout.register_forward_post_hook(keep)
    for mode in (model.train, model.eval):
        mode()
        model(draw(2, 3, 4, 32, 32))
    assert shares == [pytest.approx(0.5, abs=0.1), 1]


def test_initialisation_has_the_published_spread():
    paddle.seed(0)
    model = SlowOnly(400, depth=26, widen_factor=0.5)
    for name, layer in model.named_sublayers():
        if isinstance(layer, nn.Conv2D):
            weight = layer.weight.numpy()
            fan_out = weight.shape[0] * math.prod(weight.shape[2:])
            assert weight.std() == pytest.approx(math.sqrt(2 / fan_out), rel=5 / math.sqrt(2 * weight.size)), name
            assert layer.bias is None, name
        elif isinstance(layer, nn.BatchNorm2D):
            assert (layer.weight.numpy() == (0 if name.endswith("bn3") else 1)).all(), name
            assert not layer.bias.numpy().any(), name
    assert model.fc.weight.numpy().std() == pytest.approx(0.01, rel=0.02) and not model.fc.bias.numpy().any()
    plain = SlowOnly(4, **SMALL, zero_init_residual=False)
    assert (plain.backbone.layer4[0].bn3.weight.numpy() == 1).all()


def test_first_blocks_have_a_shortcut_of_their_own_and_stride_from_the_second_stage_on():
    stages = [getattr(SlowOnly(4, 26, widen_factor=0.125).backbone, f"layer{number}") for number in (1, 2, 3, 4)]
    assert [[block.downsample is not None for block in stage] for stage in stages] == 4 * [[True, False]]
    assert [[block.conv2._stride[0] for block in stage] for stage in stages] == [[1, 1], [2, 1], [2, 1], [2, 1]]


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"depth": 18}, "SlowOnlyResNet: depth must be one of 14, 26, 50, 101, got 18"),
        ({"widen_factor": 0.01}, "SlowOnlyResNet: widen_factor must be at least 1/64, got 0.01"),
    ],
)
def test_bad_argument_is_named(arguments, message):
    with pytest.raises(ValueError) as error:
        SlowOnly(4, **arguments)
    assert str(error.value) == message


def test_input_of_another_layout_is_refused():
    with pytest.raises(ValueError, match=r"SlowOnlyResNet: expected input \(N, 3, T, H, W\), got \(2, 8, 32, 32, 3\)"):
        SlowOnly(4, **SMALL)(paddle.zeros([2, 8, 32, 32, 3]))
