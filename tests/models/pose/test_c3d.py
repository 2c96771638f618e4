"""C3D-light against PYSKL's network (a golden vector), and what it refuses."""

import golden_networks
import pytest
from golden_checks import draw

from models.pose.c3d import C3D

NAME = "posec3d_c3d_light_ntu60_kp_pyskl"


def test_names_shapes_and_size_are_those_of_the_authors_network():
    golden_networks.assert_names_and_sizes(NAME)


def test_outputs_and_gradients_are_those_of_the_authors_network():
    golden_networks.assert_features_and_gradients_match(NAME)


def test_inputs_that_do_not_fit_are_refused():
    model = C3D(4, base_channels=4)
    with pytest.raises(ValueError, match=r"C3D: expected input \(N, 17, T, H, W\), got \(2, 6, 17, 16, 16\)"):
        model(draw(2, 6, 17, 16, 16))
    with pytest.raises(ValueError, match=r"C3D: heat maps must have 8 rows and columns or more, got \(7, 16\)"):
        model(draw(2, 17, 4, 7, 16))
