"""Holds a network of ours against what the authors' own one computed (golden vectors), losses of training included."""

import numpy as np
import paddle
import pytest
from paddle import nn
from test_models_resnet3d import assert_logits_match, count_params, l2_norm, list_trainable

import models
from models.parts.weights import convert_torch_weights
from tools.golden import vectors

# The authors' modules whose outputs the files have and which are modules of ours; a stage's is that of its last block.
MODULES = {
    "backbone.maxpool": "backbone.maxpool",
    "neck.spatial_modulation.spatial_modulation.0.0": "neck.spatial.0.0",
    "neck.temporal_modulation_ops.0": "neck.temporal.0",
    "neck.temporal_modulation_ops.1": "neck.temporal.1",
    "neck.level_fusion_1": "neck.top_down_fusion",
    "neck.downsample_ops.0": "neck.bottom_up.0",
    "neck.level_fusion_2": "neck.bottom_up_fusion",
    "neck.pyramid_fusion": "neck.pyramid_fusion",
    "necks.spatial_modulation.spatial_modulation.0.0": "neck.spatial.0.0",
    "necks.temporal_modulation_ops.0": "neck.temporal.0",
    "necks.temporal_modulation_ops.1": "neck.temporal.1",
    "necks.level_fusion_op2": "neck.top_down_fusion",
    "necks.downsampling_ops.0": "neck.bottom_up.0",
    "necks.level_fusion_op": "neck.bottom_up_fusion",
    "necks.pyramid_fusion_op": "neck.pyramid_fusion",
}


def list_runs(pattern, quick):
    """List (file, gain) as parameters of a test; what is not in `quick` is long."""
    names = vectors.list_names(pattern)
    assert names and set(quick) <= set(names)
    return [
        pytest.param(name, gain, marks=() if name in quick and gain == 1.0 else pytest.mark.long)
        for name in names
        for gain in (1.0, 2.0)
    ]


def assert_names_and_sizes(name):
    """Check that a file's names become ours, all of them, with our shapes, and that the size is the file's."""
    reference = vectors.load(name)
    model_name, arguments = vectors.describe(reference)
    with paddle.LazyGuard():  # shapes without values: all of them would take gigabytes
        model = models.build_model(model_name, **arguments)
    source = reference["reference"]["repository"].rpartition("/")[2].lower()
    weights = {key: np.empty(shape, np.float32) for key, shape in reference["state"].items()}
    assert set(convert_torch_weights(model.TORCH_SOURCES[source](weights), model)) == set(model.state_dict())
    assert count_params(model) == reference["params"]


def train_as_the_authors_did(model):
    """Let a network give what it gives in training, but with the statistics and without the dropout of a test."""
    model.train()
    for layer in model.sublayers():
        if isinstance(layer, (nn.BatchNorm2D, nn.BatchNorm3D, nn.Dropout)):
            layer.eval()


def find_loss(logits, labels):
    """Give the mean cross-entropy; Paddle's own cuts log-probabilities at -64, beyond which gain 2 goes."""
    labels = paddle.to_tensor(labels).unsqueeze(1)
    return (paddle.logsumexp(logits, axis=1) - paddle.take_along_axis(logits, labels, 1).squeeze(1)).mean()


def assert_outputs_match(name, gain):
    """Compare logits, inner outputs, losses by name and the gradients of the main loss and of all losses."""
    reference = vectors.load(name)
    expected = reference if gain == 2.0 else reference["alt_gain1"]
    model = vectors.build(reference, gain)
    train_as_the_authors_did(model)
    inner = collect_norms(model)
    x = paddle.to_tensor(vectors.draw_input(reference), stop_gradient=False)
    training = model(x)
    logits = training["logits"] if isinstance(training, dict) else training
    if gain == 2.0:
        assert_inner_outputs_match(inner, reference["features"])
    assert_logits_match(logits.numpy(), expected["logits"])

    compute = getattr(model, "compute_losses", lambda one, labels, criterion: {"loss_cls": criterion(one, labels)})
    losses = compute(training, reference["labels"], find_loss)
    ours = {key: loss.item() for key, loss in losses.items()}
    assert ours == pytest.approx({k: v for k, v in expected["losses"].items() if k.startswith("loss")}, rel=1e-4)

    losses["loss_cls"].backward(retain_graph=True)
    assert_gradients_match(reference, model, expected["grad_norms"])
    assert l2_norm(x.grad) == pytest.approx(expected["input_grad_norm"], rel=1e-2)
    if "train_grad_norms" in expected:
        losses["loss_aux"].backward()  # adds to the gradients of the main loss
        assert_gradients_match(reference, model, expected["train_grad_norms"])
        assert l2_norm(x.grad) == pytest.approx(expected["train_input_grad_norm"], rel=1e-2)


def collect_norms(model):
    """Give a dict that the next forward pass fills: layer name -> L2 norm of its output, where that is one tensor."""
    norms = {}

    def keep(name):
        def hook(_layer, _inputs, output):
            if isinstance(output, paddle.Tensor):
                norms[name] = l2_norm(output)

        return hook

    for name, layer in model.named_sublayers():
        layer.register_forward_post_hook(keep(name))
    return norms


def assert_inner_outputs_match(inner, features):
    """Compare inner outputs in the order of the forward pass: the first that fails is where the networks part."""
    compared = 0
    for name, expected in features.items():
        blocks = [key for key in inner if key.rpartition(".")[0] == name and ".layer" in name]
        ours = blocks[-1] if blocks else MODULES.get(name)
        if ours:
            assert inner[ours] == pytest.approx(expected["l2"], rel=1e-4), name
            compared += 1
    assert compared >= 5


def assert_gradients_match(reference, model, norms):
    """Compare each parameter's gradient norm to 1e-2; a parameter without a gradient has none there either."""
    ours = {key: None if param.grad is None else l2_norm(param.grad) for key, param in list_trainable(model)}
    theirs = vectors.rename_norms(reference, norms, model)
    assert set(ours) == set(theirs)
    assert {key for key, norm in ours.items() if norm is None} == {key for key, norm in theirs.items() if norm is None}
    known = [key for key, norm in theirs.items() if norm is not None]
    assert {key: ours[key] for key in known} == pytest.approx({key: theirs[key] for key in known}, rel=1e-2)
