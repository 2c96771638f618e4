"""PyTorch weights: layouts are turned, names are checked, nothing is left out in silence."""

import numpy as np
import pytest
from paddle import nn

from models.parts.weights import convert_torch_weights, keep_names


class Net(nn.Layer):
    """A convolution, batch norm and a linear layer."""

    def __init__(self, num_blocks=1):
        super().__init__()
        self.conv = nn.Conv3D(3, 4, 1, bias_attr=False)
        self.blocks = nn.Sequential(*(nn.BatchNorm3D(4) for _ in range(num_blocks)))
        self.fc = nn.Linear(4, 2)


@pytest.fixture
def torch_weights():
    """What PyTorch's `state_dict` of the same network holds."""
    rng = np.random.default_rng(0)
    shapes = {"conv.weight": (4, 3, 1, 1, 1), "fc.weight": (2, 4), "fc.bias": (2,)}
    shapes |= {f"blocks.0.{name}": (4,) for name in ("weight", "bias", "running_mean", "running_var")}
    weights = {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
    return {**weights, "blocks.0.num_batches_tracked": np.asarray(5)}


def test_conversion_turns_linear_weights_over_and_drops_counters(torch_weights):
    model = Net()
    converted = convert_torch_weights(keep_names(torch_weights), model)
    assert set(converted) == set(model.state_dict())
    np.testing.assert_array_equal(converted["fc.weight"], torch_weights["fc.weight"].T)
    np.testing.assert_array_equal(converted["conv.weight"], torch_weights["conv.weight"])
    np.testing.assert_array_equal(converted["blocks.0._mean"], torch_weights["blocks.0.running_mean"])
    np.testing.assert_array_equal(converted["blocks.0._variance"], torch_weights["blocks.0.running_var"])
    assert model.set_state_dict(converted) == ([], [])


def test_a_square_linear_weight_is_turned_over_too():
    model = nn.Sequential(nn.Linear(2, 2))
    weights = {"0.weight": np.asarray([[1, 2], [3, 4]], np.float32), "0.bias": np.zeros(2, np.float32)}
    np.testing.assert_array_equal(convert_torch_weights(weights, model)["0.weight"], [[1, 3], [2, 4]])


def test_conversion_names_what_does_not_fit(torch_weights):
    del torch_weights["blocks.0.running_mean"]
    torch_weights["layer9.weight"] = np.zeros(3)
    torch_weights["fc.bias"] = np.zeros(400)
    with pytest.raises(ValueError) as error:
        convert_torch_weights(torch_weights, Net())
    assert "3 entries do not fit this Net: blocks.0._mean is missing; " in str(error.value)
    assert "fc.bias has shape [400], the model [2]; " in str(error.value)
    assert "layer9.weight is left over; build it with the arguments of the file" in str(error.value)


def test_only_the_first_ten_misfits_are_named(torch_weights):
    with pytest.raises(ValueError, match=r"12 entries do not fit") as error:
        convert_torch_weights(torch_weights, Net(num_blocks=4))
    assert str(error.value).count(" is missing") == 10
    assert "; ...; build it with" in str(error.value)
