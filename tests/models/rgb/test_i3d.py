"""I3D against MMAction2's network (a golden vector), and its parts against hand-made answers."""

import golden_networks
import numpy as np
import paddle
import pytest
from golden_checks import draw
from paddle import nn

from models.parts.inflate import convert_imagenet_weights, inflate
from models.rgb.i3d import I3D
from tools.golden import vectors

pytestmark = pytest.mark.filterwarnings("ignore:When training, we now always track")
SMALL = {"depth": 26, "widen_factor": 0.125}


@pytest.mark.parametrize("name", vectors.list_names("mm_i3d_*"))
def test_names_shapes_and_size_are_those_of_the_authors_network(name):
    golden_networks.assert_names_and_sizes(name)


@pytest.mark.parametrize("name, gain", golden_networks.list_runs("mm_i3d_*", quick=["mm_i3d_r50"]))
def test_outputs_and_gradients_are_those_of_the_authors_network(name, gain):
    golden_networks.assert_outputs_match(name, gain)


def test_blocks_that_are_inflated():
    with paddle.LazyGuard():
        backbone = I3D(4, widen_factor=0.125).backbone
    stages = (backbone.layer1, backbone.layer2, backbone.layer3, backbone.layer4)
    flags = [[block.conv1.weight.shape[2] == 3 for block in stage] for stage in stages]
    assert flags == [[1, 1, 1], [1, 0, 1, 0], [1, 0, 1, 0, 1, 0], [0, 1, 0]]


@pytest.mark.parametrize("num_frames, num_left", [(5, 1), (8, 1), (9, 1), (13, 2), (32, 4)])
def test_frames_are_halved_three_times(num_frames, num_left):
    model = I3D(4, **SMALL)
    x, frames = model.backbone.run_stem(draw(1, 3, num_frames, 32, 32))
    assert model.backbone.run_stage(0, x, frames)[1] == num_left


def test_a_clip_that_is_too_short_is_refused():
    with pytest.raises(ValueError, match="I3D: clips must have 5 frames or more; set READER.clip_len"):
        I3D(4, **SMALL)(draw(1, 3, 4, 32, 32))


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"depth": 34}, "I3D: depth must be one of 14, 26, 50, 101, got 34"),
        ({"widen_factor": 0.01}, "I3D: widen_factor must be at least 1/64, got 0.01"),
    ],
)
def test_bad_argument_is_named(arguments, message):
    with pytest.raises(ValueError) as error:
        I3D(4, **arguments)
    assert str(error.value) == message


@pytest.mark.parametrize("mode", ["repeat", "centre"])
def test_the_kernels_of_an_image_network_are_inflated(mode):
    """A clip that shows one image for long enough has the image's stem response in its middle."""
    backbone = I3D(4, depth=14, widen_factor=0.125).backbone
    rng = np.random.default_rng(0)
    images = {}
    for name, value in backbone.state_dict().items():
        shape = list(value.shape)
        shape = [shape[0], 3, 7, 7] if name == "conv1.weight" else shape
        shape = [*shape[:2], 1, 1] if shape[2:] == [3, 1] else shape
        images[name.replace("_mean", "running_mean").replace("_variance", "running_var")] = rng.random(shape, "float32")
    weights = inflate(convert_imagenet_weights(images), backbone, mode)
    assert set(weights) == set(backbone.state_dict())
    backbone.set_state_dict(weights)
    image = draw(1, 3, 8, 8)
    expected = nn.functional.conv2d(image, paddle.to_tensor(images["conv1.weight"]), stride=2, padding=3)
    seen = []
    backbone.conv1.register_forward_post_hook(lambda _layer, _inputs, output: seen.append(output))
    backbone.run_stem(image.unsqueeze(2).tile([1, 1, 9, 1, 1]))
    np.testing.assert_allclose(seen[0][2].numpy(), expected[0].numpy(), rtol=1e-4, atol=1e-4)
