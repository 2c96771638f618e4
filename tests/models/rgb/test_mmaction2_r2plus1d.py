"""R(2+1)D of MMAction2 against its network (a golden vector), and its parts against hand-made answers."""

import golden_networks
import pytest
from golden_checks import draw
from paddle import nn

from models.rgb.mmaction2_r2plus1d import MMAction2R2Plus1D, count_mid_channels
from tools.golden import vectors

pytestmark = pytest.mark.filterwarnings("ignore:When training, we now always track")
SMALL = {"depth": 10, "widen_factor": 0.125}


@pytest.mark.parametrize("name", vectors.list_names("mm_r2plus1d_*"))
def test_names_shapes_and_size_are_those_of_the_authors_network(name):
    golden_networks.assert_names_and_sizes(name)


@pytest.mark.parametrize("name, gain", golden_networks.list_runs("mm_r2plus1d_*", quick=["mm_r2plus1d_r34"]))
def test_outputs_and_gradients_are_those_of_the_authors_network(name, gain):
    golden_networks.assert_outputs_match(name, gain)


def test_channels_between_the_two_convolutions():
    assert count_mid_channels(3, 64, (3, 7, 7)) == 83
    assert count_mid_channels(64, 64, (3, 3, 3)) == 144
    assert count_mid_channels(64, 128, (1, 1, 1)) == 54


def test_epsilons_of_batch_norm():
    model = MMAction2R2Plus1D(4, **SMALL)
    norms = {name: layer for name, layer in model.named_sublayers() if isinstance(layer, nn.BatchNorm3D)}
    assert {name.endswith("bn_s") for name in norms} == {True, False}
    assert all(layer._epsilon == (1e-5 if name.endswith("bn_s") else 1e-3) for name, layer in norms.items())


def test_frames_are_kept_by_the_pool_and_halved_by_the_upper_three_stages():
    backbone = MMAction2R2Plus1D(4, **SMALL).backbone
    shapes = []
    for layer in (backbone.maxpool, backbone.layer1, backbone.layer2, backbone.layer3, backbone.layer4):
        layer.register_forward_post_hook(lambda _layer, _inputs, output: shapes.append(output.shape[2:]))
    backbone(draw(1, 3, 9, 40, 32))
    assert shapes == [[9, 10, 8], [9, 10, 8], [5, 5, 4], [3, 3, 2], [2, 2, 1]]


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"depth": 50}, "MMAction2R2Plus1D: depth must be one of 10, 18, 34, got 50"),
        ({"widen_factor": 0.01}, "MMAction2R2Plus1D: widen_factor must be at least 1/64, got 0.01"),
    ],
)
def test_bad_argument_is_named(arguments, message):
    with pytest.raises(ValueError) as error:
        MMAction2R2Plus1D(4, **arguments)
    assert str(error.value) == message
