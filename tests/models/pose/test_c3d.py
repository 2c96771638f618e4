"""C3D-light against PYSKL's network (a golden vector), and what it refuses."""

import golden_networks
import numpy as np
import paddle
import pytest
from golden_checks import assert_logits_match, assert_parameter_gradients_match, draw, l2_norm

from models.pose.c3d import C3D
from tools.golden import vectors

NAME = "posec3d_c3d_light_ntu60_kp_pyskl"


def test_names_shapes_and_size_are_those_of_the_authors_network():
    golden_networks.assert_names_and_sizes(NAME)


def test_outputs_and_gradients_are_those_of_the_authors_network():
    reference = vectors.load(NAME)
    model = vectors.build(reference)
    features = []
    model.backbone.register_forward_post_hook(lambda _layer, _inputs, output: features.append(output))
    x = paddle.to_tensor(vectors.draw_input(reference), stop_gradient=False)
    logits = model(x)
    assert list(features[0].shape) == reference["feature"]["shape"]
    values = features[0].numpy().astype(np.float64)
    assert [values.mean(), values.std()] == pytest.approx([reference["feature"][key] for key in ("mean", "std")], 1e-4)
    assert_logits_match(logits.numpy(), reference["logits"]["cls"])
    loss = golden_networks.find_loss(logits, reference["labels"])
    assert loss.item() == pytest.approx(reference["loss"]["cls"], rel=1e-4)
    loss.backward()
    assert_parameter_gradients_match(reference, model, reference["grad_norms"]["params"])
    assert l2_norm(x.grad) == pytest.approx(reference["grad_norms"]["input"]["x"], rel=1e-2)


def test_inputs_that_do_not_fit_are_refused():
    model = C3D(4, base_channels=4)
    with pytest.raises(ValueError, match=r"C3D: expected input \(N, 17, T, H, W\), got \(2, 6, 17, 16, 16\)"):
        model(draw(2, 6, 17, 16, 16))
    with pytest.raises(ValueError, match=r"C3D: heat maps must have 8 rows and columns or more, got \(7, 16\)"):
        model(draw(2, 17, 4, 7, 16))
