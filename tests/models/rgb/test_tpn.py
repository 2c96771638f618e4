"""TPN against the authors' networks (golden vectors), and the pyramid against hand-made answers."""

import math

import golden_networks
import numpy as np
import paddle
import pytest
from golden_checks import assert_logits_match, draw
from paddle import nn

from engine import checkpoint
from models.parts.resnet2d import split_frames
from models.rgb.slowonly import SlowOnly
from models.rgb.tpn import TPN, LevelFusion, Neck, make_spatial_modulation, pool, upsample
from models.rgb.tsm import TSM
from tools.golden import vectors

pytestmark = pytest.mark.filterwarnings("ignore:When training, we now always track")
SMALL = {"depth": 14, "widen_factor": 0.125}
TWO_TO_ONE = {"downsample_scale": [2, 1, 1], "fusion_scales": [[2, 1, 1], [1, 1, 1]]}  # the scales of ResNet-101
FILES = [*vectors.list_names("mm_tpn_*"), *vectors.list_names("orig_tpn_*")]
RUNS = [
    *golden_networks.list_runs("mm_tpn_*", quick=["mm_tpn_slowonly_r50"]),
    *golden_networks.list_runs("orig_tpn_*", quick=[]),
]


@pytest.mark.parametrize("name", FILES)
def test_names_shapes_and_size_are_those_of_the_authors_network(name):
    golden_networks.assert_names_and_sizes(name)


@pytest.mark.parametrize("name, gain", RUNS)
def test_outputs_losses_and_gradients_are_those_of_the_authors_network(name, gain):
    golden_networks.assert_outputs_match(name, gain)


@pytest.fixture(scope="module")
def official():
    """A golden file of the TPN repository, our network for it, and its input."""
    reference = vectors.load("orig_tpn_tsm_r50_sthv1")
    return reference, vectors.build(reference, 1.0), paddle.to_tensor(vectors.draw_input(reference))


@paddle.no_grad()
def test_two_fusions_under_each_others_names_would_load_and_be_wrong(official):
    reference, model, clips = official
    expected = reference["alt_gain1"]["logits"]
    assert_logits_match(model(clips).numpy(), expected)
    initial = checkpoint.model_state(model)
    other = {"top_down_fusion": "bottom_up_fusion", "bottom_up_fusion": "top_down_fusion"}
    crossed = {}
    for name, value in initial.items():
        parts = name.split(".")
        crossed[".".join(other.get(part, part) for part in parts)] = value
    try:
        assert checkpoint.restore_model(model, crossed) == []
        assert np.abs(model(clips).numpy() - expected).max() > 0.1 * np.abs(expected).max()
    finally:
        checkpoint.restore_model(model, initial)


@paddle.no_grad()
def test_with_the_other_shift_the_same_weights_give_other_logits(official):
    reference, model, clips = official
    _, arguments = vectors.describe(reference)
    other = TPN(**{**arguments, "shift": "residual"})
    checkpoint.restore_model(other, checkpoint.model_state(model))
    other.eval()
    expected = np.array(reference["alt_gain1"]["logits"])
    assert np.abs(other(clips).numpy() - expected).max() > 0.05 * np.abs(expected).max()


# The pyramid.


class Catch(nn.Layer):
    """Keeps what it is given, and gives the first of it."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def forward(self, levels):
        self.seen = [float(level.mean()) for level in levels]
        return levels[0]


@pytest.mark.parametrize("flow, ups", [("cascade", [111, 221, 321]), ("parallel", [1, 11, 111])])
def test_levels_are_summed_from_the_top_down_then_from_the_bottom_up(flow, ups):
    neck = Neck([64, 64, 64], [1, 1, 1], [1, 1, 1], [1, 1, 1], 3 * [[1, 1, 1]], flow)
    neck.temporal = nn.LayerList([nn.Identity() for _ in range(3)])
    neck.bottom_up = nn.LayerList([nn.Identity() for _ in range(2)])
    neck.top_down_fusion, neck.bottom_up_fusion = down, up = Catch(), Catch()
    neck([paddle.full([1, 64, 2, 2, 2], value) for value in (1.0, 10.0, 100.0)])
    assert (down.seen, up.seen) == ([111, 110, 100], ups)


def test_the_fusion_of_both_passes_takes_the_top_down_one_first():
    neck = Neck([64, 64], [1, 1], [1, 1, 1], [1, 1, 1], 2 * [[1, 1, 1]], "cascade")
    seen = []
    neck.pyramid_fusion.register_forward_pre_hook(lambda _layer, inputs: seen.append(inputs[0].numpy()))
    outputs = []
    for fusion in (neck.top_down_fusion, neck.bottom_up_fusion):
        fusion.register_forward_post_hook(lambda _layer, _inputs, output: outputs.append(output.numpy()))
    neck([draw(1, 64, 2, 2, 2), draw(1, 64, 2, 2, 2)])
    np.testing.assert_array_equal(seen[0], np.concatenate(outputs, axis=1))
    assert (seen[0][:, :64] != seen[0][:, 64:]).any()


def test_each_level_is_pooled_and_convolved_before_a_fusion():
    fusion = LevelFusion(2, 32, 64, [[2, 1, 1], [1, 1, 1]])
    fusion.eval()
    seen = []
    fusion.fusion.register_forward_pre_hook(lambda _layer, inputs: seen.append(inputs[0]))
    low, high = draw(1, 32, 3, 2, 2), draw(1, 32, 2, 2, 2)
    assert list(fusion([low, high]).shape) == [1, 64, 2, 2, 2]
    pooled = np.stack([low.numpy()[:, :, :2].max(axis=2), low.numpy()[:, :, 2]], axis=2)
    for part, level, conv in zip(
        seen[0].split(2, axis=1), (paddle.to_tensor(pooled), high), fusion.levels, strict=True
    ):
        np.testing.assert_allclose(part.numpy(), conv(level).numpy(), atol=1e-6)
        assert list(conv.conv.weight.shape) == [32, 1, 1, 1, 1]  # 32 groups


def test_a_pool_counts_the_window_that_juts_out_and_one_that_is_too_large():
    x = paddle.to_tensor(np.arange(5, dtype=np.float32).reshape(1, 1, 5, 1, 1))
    assert pool(x, [2, 1, 1]).numpy().ravel().tolist() == [1, 3, 4]
    assert pool(x, [8, 1, 1]).numpy().ravel().tolist() == [4]
    assert pool(-x, [4, 1, 1]).numpy().ravel().tolist() == [0, -4]
    assert pool(x, [1, 1, 1]) is x


def test_upsampling_repeats_voxels():
    x = draw(1, 2, 2, 3, 2)
    expected = x.numpy().repeat(2, axis=2).repeat(3, axis=4)
    np.testing.assert_array_equal(upsample(x, [2, 1, 3]).numpy(), expected)
    assert upsample(x, [1, 1, 1]) is x


@pytest.mark.parametrize("channels, widths", [(256, []), (128, [256]), (64, [128, 256])])
def test_spatial_modulation_halves_the_size_and_doubles_the_channels_until_they_are_those_of_the_top(channels, widths):
    steps = make_spatial_modulation(channels, 256)
    assert [step.conv.weight.shape[0] for step in steps] == widths
    size = math.ceil(9 / 2 ** len(widths))
    assert list(steps(draw(1, channels, 2, 9, 9)).shape) == [1, 256, 2, size, size]


def test_temporal_modulation_has_32_groups_no_batch_norm_and_a_pool_of_its_own():
    model = TPN(4, **SMALL, temporal_scales=[4, 8])
    for temporal in model.neck.temporal:
        assert list(temporal.conv.weight.shape) == [128, 256 // 32, 3, 1, 1]
        assert [name for name, _ in temporal.named_parameters()] == ["conv.weight"]
    levels = [draw(1, 256, 8, 2, 2), draw(1, 256, 8, 2, 2)]
    assert [layer(x).shape[2] for layer, x in zip(model.neck.temporal, levels, strict=True)] == [2, 1]


# Whole networks.


@pytest.mark.parametrize(
    "frames, arguments",
    [
        (8, {}),
        (16, {"temporal_scales": [16, 16]}),
        (32, {"temporal_scales": [32, 32]}),
        (8, {"temporal_scales": [4, 8], **TWO_TO_ONE}),
        (16, {"temporal_scales": [8, 16], **TWO_TO_ONE}),
        (32, {"temporal_scales": [16, 32], **TWO_TO_ONE}),
        (8, {"backbone": "tsm"}),
        (8, {"temporal_scales": [4, 8], "upsample_scale": [2, 1, 1], **TWO_TO_ONE}),
        (8, {"temporal_scales": [8, 8, 8], "flow": "parallel"}),
        (4, {"temporal_scales": [4, 4, 4, 4]}),
        (6, {"backbone": "tsm"}),  # fewer frames than the scale
        (16, {"backbone": "tsm"}),  # two frames are left
    ],
)
def test_every_configuration_trains(frames, arguments):
    model = TPN(4, depth=14, widen_factor=0.125, **arguments)
    outputs = model(draw(2, 3, frames, 32, 32))
    assert [list(logits.shape) for logits in outputs.values()] == [[2, 4], [2, 4]]
    sum(logits.sum() for logits in outputs.values()).backward()
    names = [
        name for name, parameter in model.named_parameters() if not parameter.stop_gradient and parameter.grad is None
    ]
    assert names == []


def test_the_auxiliary_head_sees_the_level_below_the_top_as_the_backbone_gave_it():
    model = TPN(4, **SMALL, temporal_scales=[8, 8, 8])
    seen, given = [], []
    model.neck.aux_head.register_forward_pre_hook(lambda _layer, inputs: seen.append(inputs[0].numpy()))
    model.backbone.register_forward_post_hook(lambda _layer, _inputs, output: given.append(output))
    outputs = model(draw(2, 3, 8, 32, 32))
    np.testing.assert_array_equal(seen[0], split_frames(given[0][2], 8).numpy())
    outputs["aux"].sum().backward()
    reached = {name.split(".")[1] for name, parameter in model.named_parameters() if parameter.grad is not None}
    assert reached == {"conv1", "bn1", "layer1", "layer2", "layer3", "aux_head"}


def test_in_evaluation_there_is_no_auxiliary_head():
    model = TPN(4, **SMALL)
    model.eval()
    model.neck.aux_head.register_forward_pre_hook(lambda _layer, _inputs: pytest.fail("it was asked"))
    assert list(model(draw(2, 3, 8, 32, 32)).shape) == [2, 4]
    assert model.loss_weights == {"aux": 0.5}


def test_without_a_weight_the_auxiliary_head_is_left_out():
    model = TPN(4, **SMALL, aux_weight=0.0)
    assert list(model(draw(2, 3, 8, 32, 32)).shape) == [2, 4] and model.training
    assert model.loss_weights == {}
    assert not [name for name in model.state_dict() if "aux" in name]


def test_another_size_of_input_is_averaged_too():
    model = TPN(4, **SMALL, backbone="tsm")
    model.eval()
    assert [list(model(draw(1, 3, 8, size, size)).shape) for size in (32, 64, 48)] == 3 * [[1, 4]]


def test_both_classifiers_have_dropout_in_training():
    model = TPN(4, **SMALL)
    shares = []

    def keep(_layer, inputs, output):
        shares.append((output.numpy() != 0).sum() / (inputs[0].numpy() != 0).sum())

    for layer in (model.dropout, model.neck.aux_head.dropout):
        layer.register_forward_post_hook(keep)
    model(draw(2, 3, 8, 32, 32))
    model.eval()
    model(draw(2, 3, 8, 32, 32))
    assert shares == [pytest.approx(0.5, abs=0.1), pytest.approx(0.5, abs=0.1), 1]


def test_initialisation_has_the_published_spread():
    paddle.seed(0)
    model = TPN(400, **SMALL)
    for name, layer in model.neck.named_sublayers():
        if isinstance(layer, nn.Conv3D):
            weight = layer.weight.numpy()
            num_taps = math.prod(weight.shape[2:])
            bound = math.sqrt(6 / ((weight.shape[0] + weight.shape[1]) * num_taps))  # one group's inputs, all outputs
            assert np.abs(weight).max() <= bound, name
            assert weight.std() == pytest.approx(bound / math.sqrt(3), rel=0.05), name
            assert layer.bias is None, name
        elif isinstance(layer, nn.BatchNorm3D):
            assert (layer.weight.numpy() == 1).all() and not layer.bias.numpy().any(), name
    for layer in (model.fc, model.neck.aux_head.fc):
        assert layer.weight.numpy().std() == pytest.approx(0.01, rel=0.05) and not layer.bias.numpy().any()
    assert not model.backbone.layer4[0].bn3.weight.numpy().any()
    plain = TPN(4, **SMALL, zero_init_residual=False)
    assert (plain.backbone.layer4[0].bn3.weight.numpy() == 1).all()


@pytest.mark.parametrize("start, backbone", [(SlowOnly, "slowonly"), (TSM, "tsm")])
def test_it_starts_from_weights_of_its_backbone_trained_without_a_neck(start, backbone):
    weights = checkpoint.model_state(start(4, **SMALL))
    model = TPN(4, **SMALL, backbone=backbone)
    initial = checkpoint.model_state(model)
    unloaded = checkpoint.restore_model(model, weights, allow_missing=["neck.*"])
    assert unloaded and all(name.startswith("neck.") for name in unloaded)
    for name, value in checkpoint.model_state(model).items():
        np.testing.assert_array_equal(value, initial[name] if name in unloaded else weights[name])


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"backbone": "i3d"}, "TPN: backbone must be one of slowonly, tsm, got 'i3d'"),
        ({"flow": "both"}, "TPN: flow must be one of cascade, parallel, got 'both'"),
        ({"temporal_scales": [8]}, "TPN: temporal_scales must have 2 to 4 levels, got [8]"),
        ({"temporal_scales": 5 * [8]}, "TPN: temporal_scales must have 2 to 4 levels, got [8, 8, 8, 8, 8]"),
        ({"temporal_scales": [8, 0]}, "TPN: temporal_scales must be 1 or more, got [8, 0]"),
        ({"fusion_scales": [[1, 1, 1]]}, "TPN: fusion_scales must have one of 2 levels each, got [[1, 1, 1]]"),
        ({"fusion_scales": [[2, 1], [1, 1, 1]]}, "TPN: fusion_scales[0] must be three numbers from 1, got [2, 1]"),
        ({"upsample_scale": [2]}, "TPN: upsample_scale must be three numbers from 1, got [2]"),
        ({"downsample_scale": [0, 1, 1]}, "TPN: downsample_scale must be three numbers from 1, got [0, 1, 1]"),
        ({"widen_factor": 0.3}, "TPN: widen_factor must be a multiple of 1/32, got 0.3"),
        (
            {"backbone": "tsm", "shift": "up"},
            "ShiftResNet: shift must be residual, inplace, paddlevideo or None, got 'up'",
        ),
    ],
)
def test_bad_argument_is_named(arguments, message):
    with pytest.raises(ValueError) as error:
        TPN(4, **{"depth": 14, **arguments})
    assert str(error.value) == message


def test_input_of_another_layout_is_refused():
    with pytest.raises(ValueError, match=r"SlowOnlyResNet: expected input \(N, 3, T, H, W\), got \(2, 8, 3, 32, 32\)"):
        TPN(4, **SMALL)(paddle.zeros([2, 8, 3, 32, 32]))
