"""X3D-shallow against PYSKL's network (a golden vector), and what it refuses."""

import golden_networks
import pytest
from golden_checks import draw

from models.pose.x3d import X3D

NAME = "posec3d_x3d_shallow_ntu60_kp_pyskl"


def test_names_shapes_and_size_are_those_of_the_authors_network():
    golden_networks.assert_names_and_sizes(NAME)


def test_outputs_and_gradients_are_those_of_the_authors_network():
    golden_networks.assert_features_and_gradients_match(NAME)


def test_inputs_that_do_not_fit_are_refused():
    model = X3D(4, base_channels=4, stage_blocks=[1], spatial_strides=[2])
    with pytest.raises(ValueError, match=r"X3D: expected input \(N, 17, T, H, W\), got \(2, 6, 17, 16, 16\)"):
        model(draw(2, 6, 17, 16, 16))
    with pytest.raises(ValueError, match=r"stage_blocks and spatial_strides .* each stage, got \[1, 1\] and \[2\]"):
        X3D(4, stage_blocks=[1, 1], spatial_strides=[2])
