"""3D-DenseNet: hand-made answers; golden vectors of the family are in test_models_resnet3d.py."""

import numpy as np
import paddle
import pytest

from models.rgb.densenet3d import DenseLayer, DenseNet3D, Transition, make_block


def draw(shape):
    """Draw normally distributed numbers."""
    return paddle.to_tensor(np.random.default_rng(0).standard_normal(shape).astype(np.float32))


def build_small(**arguments):
    """Build the thinnest network, in evaluation mode."""
    model = DenseNet3D(4, growth_rate=2, num_init_features=4, **arguments)
    model.eval()
    return model


def test_a_layer_adds_channels_behind_its_input():
    layer = DenseLayer(6, growth_rate=3)
    assert layer.conv1.weight.shape == [12, 6, 1, 1, 1]
    x = draw([1, 6, 2, 3, 3])
    y = layer(x).numpy()
    assert y.shape == (1, 9, 2, 3, 3)
    np.testing.assert_array_equal(y[:, :6], x.numpy())
    assert np.abs(y[:, 6:]).max() > 0


def test_a_block_counts_its_layers_from_one():
    block = make_block(8, growth_rate=4, num_layers=3)
    assert [name for name, _ in block.named_children()] == ["denselayer1", "denselayer2", "denselayer3"]
    assert [layer.norm1.weight.shape for layer in block] == [[8], [12], [16]]


def test_a_transition_averages_two_voxels_a_side_and_drops_an_odd_one():
    transition = Transition(2)
    transition.eval()
    transition.conv.weight.set_value(paddle.to_tensor([1.0, 2.0]).reshape([1, 2, 1, 1, 1]))
    x = draw([1, 2, 5, 4, 3]).abs()
    mixed = (x.numpy()[:, 0] + 2 * x.numpy()[:, 1]) / np.sqrt(1 + 1e-5)
    expected = mixed[:, :4, :4, :2].reshape(1, 2, 2, 2, 2, 1, 2).mean(axis=(2, 4, 6))
    np.testing.assert_allclose(transition(x).numpy()[:, 0], expected, rtol=1e-5)


@pytest.mark.parametrize("depth, num_features", [(121, 1024), (169, 1664), (201, 1920), (264, 2688)])
def test_the_head_takes_the_published_number_of_features(depth, num_features):
    with paddle.LazyGuard():
        assert DenseNet3D(7, depth).classifier.weight.shape == [num_features, 7]


@pytest.mark.parametrize(
    "arguments, frames, side",
    [
        ({}, 15, 29),  # 15 -> pool 8 -> 4, 2, 1; 29 -> stem 15
        ({"conv1_t_stride": 2}, 29, 29),
        ({"no_max_pool": True}, 8, 15),  # 15 -> stem 8
        ({"conv1_t_size": 4}, 14, 29),  # an even kernel adds a frame
    ],
)
def test_the_least_clip_passes_and_a_smaller_one_is_refused(arguments, frames, side):
    model = build_small(**arguments)
    assert np.isfinite(model(draw([1, 3, frames, side, side])).numpy()).all()
    for smaller in ([frames - 1, side, side], [frames, side - 1, side], [frames, side, side - 1]):
        with pytest.raises(ValueError) as error:
            model(draw([1, 3, *smaller]))
        assert str(error.value) == (
            f"DenseNet3D: expected clips of at least {frames} frames of {side} x {side}, got {smaller[0]} frames of "
            f"{smaller[1]} x {smaller[2]}; set READER.clip_len and crop_size, or MODEL.no_max_pool = True"
        )


def test_stem_options_set_the_sizes():
    model = build_small(conv1_t_size=3, conv1_t_stride=2, in_channels=2, no_max_pool=True)
    assert model.features.conv1.weight.shape == [4, 2, 3, 7, 7]
    assert list(model.features(paddle.zeros([1, 2, 32, 32, 48])).shape[2:]) == [2, 2, 3]


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"depth": 50}, "DenseNet3D: depth must be one of 121, 169, 201, 264, got 50"),
        ({"growth_rate": 0}, "DenseNet3D: growth_rate and num_init_features must be 1 or more, got 0 and 64"),
    ],
)
def test_bad_argument_is_named(arguments, message):
    with pytest.raises(ValueError) as error:
        DenseNet3D(4, **arguments)
    assert str(error.value) == message
