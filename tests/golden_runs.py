"""The comparison of a skeleton network with its golden file, for the tests of every such network."""

import dataclasses
import math

import numpy as np
import paddle
import pytest

from models import build_model
from models.parts.weights import convert_torch_weights
from tools.golden import vectors


@dataclasses.dataclass
class Run:
    """What one forward and backward pass of a golden file's network gave."""

    reference: dict
    model: paddle.nn.Layer
    logits: np.ndarray
    loss: float
    input_gradient: np.ndarray
    layer_norms: dict  # layer name -> L2 norm of its last output, where that is one tensor


def run_golden(name: str) -> Run:
    """Build the network of `tests/golden/<name>.json` in evaluation mode, and run it forward and back."""
    reference = vectors.load(name)
    model = vectors.build(reference)
    layer_norms = {}

    def keep(layer_name):
        def hook(_layer, _inputs, output):
            if isinstance(output, paddle.Tensor):
                layer_norms[layer_name] = l2_norm(output.numpy())

        return hook

    for layer_name, layer in model.named_sublayers():
        layer.register_forward_post_hook(keep(layer_name))
    x = paddle.to_tensor(vectors.draw_input(reference), stop_gradient=False)
    logits = model(x)
    labels = paddle.to_tensor(reference["labels"])
    # By logsumexp: Paddle's CPU cross_entropy cuts log-probabilities at -64, which some files go beyond.
    chosen = paddle.take_along_axis(logits, labels.reshape([-1, 1]), 1)
    loss = (paddle.logsumexp(logits, axis=1, keepdim=True) - chosen).mean()
    loss.backward()
    return Run(reference, model, logits.numpy(), loss.item(), x.grad.numpy(), layer_norms)


def l2_norm(array: np.ndarray) -> float:
    """Give the L2 norm, summed in float64."""
    return np.linalg.norm(array.astype(np.float64).ravel())


def assert_size_is_the_authors(name: str) -> None:
    """Compare names, shapes and the number of trainable values with a golden file's."""
    reference = vectors.load(name)
    model_name, arguments = vectors.describe(reference)
    model = build_model(model_name, **arguments)
    trainable = [param for param in model.parameters() if not param.stop_gradient]
    assert sum(math.prod(param.shape) for param in trainable) == reference["params"]


def assert_outputs_match(run: Run) -> None:
    """Compare the logits with the reference's, to 1e-4 of the largest, and the loss."""
    expected = np.asarray(run.reference["logits"])
    np.testing.assert_allclose(run.logits, expected, rtol=0, atol=1e-4 * np.abs(expected).max())
    assert run.loss == pytest.approx(run.reference["loss"], rel=1e-4)


def assert_inner_outputs_match(run: Run, find_layer) -> None:
    """Compare inner outputs in the order of the forward pass: the first that fails is where the networks part.

    Args:
        run: of `run_golden`.
        find_layer: the authors' layer name -> ours, or None where no layer of ours has that output.
    """
    found = {name: find_layer(name) for name in run.reference["activations"]}
    for name, layer_name in found.items():
        if layer_name is not None:
            expected = run.reference["activations"][name]["l2"]
            assert run.layer_norms[layer_name] == pytest.approx(expected, rel=1e-4), name
    assert any(found.values())


def assert_gradients_match(run: Run, ties: bool = False) -> None:
    """Compare the gradient norm of each of the authors' parameters, and of the input, to 1e-2.

    Args:
        run: of `run_golden`.
        ties: the network has max pools, whose gradient at the missing person is one of many: it is not compared.
    """
    ours, expected = collect_gradient_norms(run), run.reference["grad_norms"]
    assert set(ours) == set(expected)
    assert {name: norm for name, norm in ours.items() if norm is not None} == pytest.approx(
        {name: norm for name, norm in expected.items() if norm is not None}, rel=1e-2
    )
    assert [name for name, norm in ours.items() if norm is None] == [
        name for name, norm in expected.items() if norm is None
    ]
    by_person = np.sqrt((run.input_gradient.astype(np.float64) ** 2).sum(axis=(1, 2, 3)))  # (N, C, T, V, M) -> (N, M)
    expected = np.array(run.reference["input_grad_norm_by_sample_person"])
    if ties:
        by_person[1, 1] = expected[1, 1]
    np.testing.assert_allclose(by_person, expected, rtol=1e-2)


def collect_gradient_norms(run: Run) -> dict:
    """Give the authors' name -> L2 norm of its gradient, None without one, though ours may hold several tensors in one.

    Each of the authors' tensors is filled with its own number and converted: what arrives where tells the origin.
    """
    shapes = run.reference["state"]
    numbered = {name: np.full(shape, number, np.float32) for number, (name, shape) in enumerate(shapes.items())}
    source = run.reference["reference"]["repository"].rpartition("/")[2].lower()
    origins = convert_torch_weights(run.model.TORCH_SOURCES[source](numbered), run.model)
    names, norms = list(shapes), {}
    for name, param in run.model.named_parameters():
        if param.stop_gradient:
            continue
        for number in np.unique(origins[name]).astype(int):
            part = None if param.grad is None else l2_norm(param.grad.numpy()[origins[name] == number])
            norms[names[number]] = part
    return norms
