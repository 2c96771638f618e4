"""TSM against the authors' networks (golden vectors), and its shift against hand-made answers."""

import golden_networks
import numpy as np
import paddle
import pytest
from golden_checks import draw
from paddle import nn

from models.parts.resnet2d import Bottleneck
from models.rgb.tsm import TSM, InplaceShiftBottleneck, ShiftBottleneck, shift_channels, shift_channels_by_length
from tools.golden import vectors

pytestmark = pytest.mark.filterwarnings("ignore:When training, we now always track")
SMALL = {"depth": 14, "widen_factor": 0.125}
FILES = [*vectors.list_names("mm_tsm_*"), *vectors.list_names("orig_tsm_*")]
RUNS = [
    *golden_networks.list_runs("mm_tsm_*", quick=["mm_tsm_r50"]),
    *golden_networks.list_runs("orig_tsm_*", quick=["orig_tsm_r50_sthv1_baseline"]),
]


@pytest.mark.parametrize("name", FILES)
def test_names_shapes_and_size_are_those_of_the_authors_network(name):
    golden_networks.assert_names_and_sizes(name)


@pytest.mark.parametrize("name, gain", RUNS)
def test_outputs_and_gradients_are_those_of_the_authors_network(name, gain):
    golden_networks.assert_outputs_match(name, gain)


def test_an_eighth_comes_from_the_next_frame_and_an_eighth_from_the_previous_one():
    # Two clips of three frames; the value says clip, frame and channel; 17 channels, of which 2 and 2 are shifted.
    clip, frame, channel = np.meshgrid([0, 1], [1, 2, 3], range(17), indexing="ij")
    x = (100 * (1 + clip) + 1000 * frame + channel).astype(np.float32)
    y = shift_channels(paddle.to_tensor(np.tile(x.reshape(6, 17, 1, 1), (1, 1, 2, 3))), 3).numpy()
    assert y.shape == (6, 17, 2, 3)
    assert (y == y[:, :, :1, :1]).all()
    y = y[:, :, 0, 0].reshape(2, 3, 17)
    assert y[0, :, 0].tolist() == [2100, 3100, 0] and y[1, :, 1].tolist() == [2201, 3201, 0]
    assert y[0, :, 2].tolist() == [0, 1102, 2102] and y[1, :, 3].tolist() == [0, 1203, 2203]
    np.testing.assert_array_equal(y[:, :, 4:], x[:, :, 4:])


def test_paddlevideo_shifts_the_previous_frame_first_and_by_the_number_of_frames():
    """Three frames of 17 channels: int(17 / 3) = 5 from the previous frame, int(2 x 17 / 3) - 5 = 6 from the next."""
    frame, channel = np.meshgrid([1, 2, 3], range(17), indexing="ij")
    x = (1000 * frame + channel).astype(np.float32)
    y = shift_channels_by_length(paddle.to_tensor(np.tile(x.reshape(3, 17, 1, 1), (1, 1, 2, 3))), 3).numpy()
    assert y.shape == (3, 17, 2, 3) and (y == y[:, :, :1, :1]).all()
    y = y[:, :, 0, 0]
    assert y[:, 0].tolist() == [0, 1000, 2000] and y[:, 4].tolist() == [0, 1004, 2004]
    assert y[:, 5].tolist() == [2005, 3005, 0] and y[:, 10].tolist() == [2010, 3010, 0]
    np.testing.assert_array_equal(y[:, 11:], x[:, 11:])
    with pytest.raises(ValueError, match="shift 'paddlevideo' needs clips of 2 frames or more, got 1"):
        shift_channels_by_length(paddle.ones([2, 8, 1, 1]), 1)


def test_a_clip_of_one_frame_has_no_neighbours():
    y = shift_channels(paddle.ones([2, 8, 1, 1]), 1).numpy()
    assert y[:, :, 0, 0].tolist() == 2 * [[0, 0, 1, 1, 1, 1, 1, 1]]


def test_gradients_go_back_to_where_the_values_came_from():
    x = paddle.zeros([3, 8, 1, 1])
    x.stop_gradient = False
    weights = np.arange(24, dtype=np.float32).reshape(3, 8, 1, 1)
    (shift_channels(x, 3) * paddle.to_tensor(weights)).sum().backward()
    expected = weights.copy()
    expected[:, 0] = [[[0]], weights[0, 0], weights[1, 0]]
    expected[:, 1] = [weights[1, 1], weights[2, 1], [[0]]]
    np.testing.assert_array_equal(x.grad.numpy(), expected)


@pytest.mark.parametrize("stride, is_same", [(1, True), (2, False)])
def test_in_place_the_shortcut_sees_shifted_channels_where_it_has_a_convolution(stride, is_same):
    block, inplace = ShiftBottleneck(16, 4, stride, False), InplaceShiftBottleneck(16, 4, stride, False)
    inplace.set_state_dict(block.state_dict())
    block.eval(), inplace.eval()
    x = draw(6, 16, 4, 4)
    assert (np.abs(block(x, 3).numpy() - inplace(x, 3).numpy()).max() < 1e-6) == is_same
    if not is_same:
        inplace.downsample[0].register_forward_pre_hook(lambda layer, inputs: (x,))
        np.testing.assert_array_equal(inplace(x, 3).numpy(), block(x, 3).numpy())


@pytest.mark.parametrize(
    "depth, shift, kinds",
    [
        (50, "residual", [ShiftBottleneck]),
        (101, "residual", [ShiftBottleneck, Bottleneck]),
        (101, "inplace", [InplaceShiftBottleneck]),
        (101, None, [Bottleneck]),
    ],
)
def test_blocks_that_shift(depth, shift, kinds):
    with paddle.LazyGuard():
        backbone = TSM(4, depth, shift, widen_factor=0.125).backbone
    for stage in (backbone.layer1, backbone.layer2, backbone.layer3, backbone.layer4):
        assert [type(block) for block in stage] == [kinds[index % len(kinds)] for index in range(len(stage))]


def test_without_the_shift_the_order_of_frames_goes_unseen():
    clips = draw(2, 3, 4, 32, 32)
    backward = clips.flip(2)
    for shift, sees_order in ((None, False), ("residual", True), ("inplace", True)):
        model = TSM(4, shift=shift, **SMALL)
        model.eval()
        difference = np.abs(model(clips).numpy() - model(backward).numpy()).max()
        assert (difference > 1e-3 * np.abs(model(clips).numpy()).max()) == sees_order


def test_logits_are_the_mean_of_those_of_the_frames():
    model = TSM(4, shift=None, **SMALL)
    model.eval()
    clips = draw(2, 3, 4, 32, 32)
    single = np.stack([model(clips[:, :, i : i + 1]).numpy() for i in range(4)])
    np.testing.assert_allclose(model(clips).numpy(), single.mean(axis=0), rtol=0, atol=1e-5 * np.abs(single).max())


def test_each_frame_has_dropout_of_its_own():
    model = TSM(4, shift=None, **SMALL)
    masks = []
    model.dropout.register_forward_post_hook(lambda _layer, _inputs, output: masks.append(output.numpy() != 0))
    model(draw(1, 3, 1, 32, 32).tile([1, 1, 3, 1, 1]))
    assert masks[0].shape == (3, 256) and (masks[0][0] != masks[0][1]).any()


def test_initialisation_has_the_published_spread():
    paddle.seed(0)
    model = TSM(400, **SMALL)
    assert model.fc.weight.numpy().std() == pytest.approx(0.001, rel=0.02) and not model.fc.bias.numpy().any()
    assert (model.backbone.layer4[0].bn3.weight.numpy() == 1).all()
    assert not TSM(4, **SMALL, zero_init_residual=True).backbone.layer4[0].bn3.weight.numpy().any()
    assert all(layer.bias is None for layer in model.sublayers() if isinstance(layer, nn.Conv2D))


def test_names_of_a_layer_that_was_wrapped_and_of_a_classifier_that_was_copied():
    value = np.zeros((1, 1, 1, 1))
    names = ["backbone.layer1.0.conv1.conv.net.weight", "backbone.layer1.1.conv1.conv.weight", "cls_head.fc_cls.bias"]
    weights = dict.fromkeys([*names, "cls_head.new_cls.weight", "cls_head.new_cls.bias"], value)
    assert list(TSM.WEIGHT_SOURCES["mmaction2"](weights)) == [
        "backbone.layer1.0.conv1.weight",
        "backbone.layer1.1.conv1.weight",
        "fc.bias",
    ]


@pytest.mark.parametrize("shift, source, wanted", [("residual", "tpn", "inplace"), (None, "mmaction2", "residual")])
def test_weights_of_a_network_that_shifts_otherwise_are_refused(shift, source, wanted):
    backbone = TSM(4, shift=shift, **SMALL).backbone
    with pytest.raises(ValueError) as error:
        backbone.check_source(source)
    assert str(error.value) == (
        f"weights of {source} were trained with shift {wanted!r}, this network has {shift!r}; "
        f"set -o MODEL.shift={wanted}"
    )
    assert backbone.check_source("imagenet") is None
    assert TSM(4, shift=wanted, **SMALL).backbone.check_source(source) is None


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"depth": 34}, "ShiftResNet: depth must be one of 14, 26, 50, 101, got 34"),
        ({"shift": "both"}, "ShiftResNet: shift must be residual, inplace, paddlevideo or None, got 'both'"),
        ({"widen_factor": 0.1}, "ShiftResNet: widen_factor must be at least 1/8, got 0.1"),
    ],
)
def test_bad_argument_is_named(arguments, message):
    with pytest.raises(ValueError) as error:
        TSM(4, **arguments)
    assert str(error.value) == message


def test_input_of_another_layout_is_refused():
    with pytest.raises(ValueError, match=r"ShiftResNet: expected input \(N, 3, T, H, W\), got \(16, 3, 32, 32\)"):
        TSM(4, **SMALL)(paddle.zeros([16, 3, 32, 32]))
