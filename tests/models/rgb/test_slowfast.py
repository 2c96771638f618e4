"""SlowFast against MMAction2's network (a golden vector; PaddleVideo's: test_paddlevideo.py), and parts by hand."""

import golden_networks
import numpy as np
import paddle
import pytest
from golden_checks import draw

from models.rgb.slowfast import NormalizedLateral, SlowFast, list_spread_frames
from tools.golden import vectors

pytestmark = pytest.mark.filterwarnings("ignore:When training, we now always track")
SMALL = {"depth": 14, "widen_factor": 0.125}


@pytest.mark.parametrize("name", vectors.list_names("mm_slowfast_*"))
def test_names_shapes_and_size_are_those_of_the_authors_network(name):
    golden_networks.assert_names_and_sizes(name)


@pytest.mark.parametrize("name, gain", golden_networks.list_runs("mm_slowfast_*", quick=["mm_slowfast_r50_4x16"]))
def test_outputs_and_gradients_are_those_of_the_authors_network(name, gain):
    golden_networks.assert_outputs_match(name, gain)


@pytest.mark.parametrize(
    "variant, speed_ratio, frames",
    [
        ("mmaction2", 8, [0, 8, 16, 24]),
        ("mmaction2", 4, [0, 4, 8, 12, 16, 20, 24, 28]),
        ("paddlevideo", 8, [0, 10, 20, 31]),
        ("paddlevideo", 4, [0, 4, 8, 13, 17, 22, 26, 31]),
        ("paddlevideo", 32, [0]),
    ],
)
def test_frames_of_the_slow_pathway(variant, speed_ratio, frames):
    backbone = SlowFast(4, variant=variant, speed_ratio=speed_ratio, **SMALL).backbone
    clips = paddle.arange(32, dtype="float32").reshape([1, 1, 32, 1, 1]).tile([2, 3, 1, 1, 1])
    chosen = backbone.choose_slow_frames(clips).numpy()
    assert chosen.shape == (2, 3, len(frames), 1, 1)
    assert (chosen == np.reshape(frames, (-1, 1, 1))).all()


def test_spread_frames_are_those_of_linspace():
    for num_frames, num_slow_frames in ((32, 4), (64, 8), (16, 2), (40, 5), (8, 1)):
        expected = np.linspace(0, num_frames - 1, num_slow_frames).astype(int).tolist()
        assert list_spread_frames(num_frames, num_slow_frames) == expected


def test_the_slow_pathway_sees_the_fast_one_and_not_the_other_way():
    model = SlowFast(4, zero_init_residual=False, **SMALL)
    model.eval()
    clips = draw(1, 3, 8, 32, 32)
    other = clips.numpy().copy()
    other[:, :, 5] += 1  # a frame of the fast pathway only
    (slow, _), (fast, _) = model.backbone(clips)
    (slow_2, _), (fast_2, _) = model.backbone(paddle.to_tensor(other))
    assert (slow - slow_2).abs().max() > 0 and (fast - fast_2).abs().max() > 0
    for lateral in model.backbone.laterals.values():
        lateral.conv.weight.set_value(paddle.zeros_like(lateral.conv.weight))
    slow = model.backbone(clips)[0][0]
    assert (model.backbone(paddle.to_tensor(other))[0][0] == slow).all()


@pytest.mark.parametrize("variant, widths", [("mmaction2", [32, 256]), ("paddlevideo", [256, 32])])
def test_features_are_concatenated_in_the_order_of_the_repository(variant, widths):
    model = SlowFast(4, variant=variant, **SMALL)
    model.eval()
    seen = []
    model.fc.register_forward_pre_hook(lambda _layer, inputs: seen.append(inputs[0]))
    clips = draw(2, 3, 8, 32, 32)
    model(clips)
    averages = {x.shape[1]: x.reshape([2, t, *x.shape[1:]]).mean(axis=[1, 3, 4]) for x, t in model.backbone(clips)}
    expected = np.concatenate([averages[width].numpy() for width in widths], axis=1)
    np.testing.assert_allclose(seen[0].numpy(), expected, rtol=1e-4, atol=1e-6)


def test_a_lateral_of_paddlevideo_has_batch_norm_and_relu():
    lateral = NormalizedLateral(2, 4, kernel_size=5, speed_ratio=4)
    lateral.bn.bias.set_value(paddle.full([4], -1e3))
    assert lateral(draw(16, 2, 3, 3), 8).shape == [4, 4, 3, 3]
    assert not lateral(draw(16, 2, 3, 3), 8).numpy().any()


def test_weights_of_the_other_repository_are_refused():
    assert SlowFast.list_source_arguments("paddlevideo") == {"variant": "paddlevideo"}
    model = SlowFast(4, **SMALL)
    assert model.check_source("mmaction2") is None
    with pytest.raises(ValueError) as error:
        model.check_source("paddlevideo")
    assert str(error.value) == (
        "weights of paddlevideo were trained with variant 'paddlevideo', this network has 'mmaction2'; "
        "set -o MODEL.variant=paddlevideo"
    )


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"depth": 34}, "SlowFast: depth must be one of 14, 26, 50, 101, got 34"),
        ({"variant": "x"}, "SlowFast: variant must be one of mmaction2, paddlevideo, got 'x'"),
        ({"fusion_kernel": 4}, "SlowFast: fusion_kernel must be odd, got 4"),
        (
            {"widen_factor": 0.1},
            "SlowFast: widen_factor must be at least 8/64, for one channel of the fast pathway, got 0.1",
        ),
    ],
)
def test_bad_argument_is_named(arguments, message):
    with pytest.raises(ValueError) as error:
        SlowFast(4, **arguments)
    assert str(error.value) == message


def test_a_clip_of_another_length_is_refused():
    with pytest.raises(ValueError) as error:
        SlowFast(4, **SMALL)(draw(1, 3, 12, 32, 32))
    assert str(error.value) == (
        "SlowFast: clips must have a multiple of speed_ratio 8 frames, got 12; set READER.clip_len or MODEL.speed_ratio"
    )
