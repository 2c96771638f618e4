"""PCAN against the authors' network (golden vectors), and its losses and prototypes against hand-made answers."""

import authors
import numpy as np
import paddle
import paddle.nn.functional as F
import pytest
from test_models_posec3d import assert_parameter_gradients_match
from test_models_resnet3d import assert_logits_match, count_params, l2_norm
from test_models_rgbposeconv3d import assert_features_match, draw_golden

import checkpoint
import step
from models.gates import CrossModalGate
from models.pcan import PCAN, read_pcan
from models.prototypes import measure_diversity, score_states
from models.weights import convert_torch_weights
from tools import golden

pytestmark = pytest.mark.filterwarnings("ignore:When training, we now always track")
HEADS = ["rgb", "pose", "rgb_coarse", "pose_coarse"]
LOSSES = {  # ours, and what the official code calls them
    **{f"{head}_loss_cls": f"{head}_loss_cls" for head in HEADS},
    **{"rgb_loss_tree": "hierarchy_rgb_loss", "pose_loss_tree": "hierarchy_loss_pose"},
    **{"rgb_loss_prototype": "rgb_fr_loss", "pose_loss_prototype": "pose_fr_loss"},
    **{f"{name}_coarse_loss_prototype": f"{name}_fr_coarse_loss" for name in ("rgb", "pose")},
}
PROTOTYPES = {"rgb": "fr_rgb", "pose": "fr_pose", "rgb_coarse": "fr_coarse_rgb", "pose_coarse": "fr_coarse_pose"}
# Eight groups by meaning in the port's tree loss; elsewhere it divides the label by 8.
PORT_TREE = [0] * 10 + [1] * 10 + [2] * 10 + [3] * 10 + [4] * 5 + [5] * 5 + [6] * 5 + [7] * 5


def assert_losses_match(losses, expected):
    """Compare each loss by its name, and the sum."""
    ours = {LOSSES[name]: loss.item() for name, loss in losses.items()}
    assert ours == pytest.approx({name: expected[name] for name in LOSSES.values()}, rel=1e-4)
    assert sum(ours.values()) == pytest.approx(expected["total"], rel=1e-5)


def assert_prototypes_match(model, expected):
    """Compare lengths and first numbers of all prototypes."""
    for head, theirs in PROTOTYPES.items():
        vectors = model.prototypes[head].vectors.numpy()
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), expected[theirs]["column_norms"], rtol=1e-5)
        np.testing.assert_allclose(vectors[:, 0], expected[theirs]["first_row"], rtol=1e-4, atol=1e-5)


def assert_answers_match(model, score, expected):
    """Compare the logits of an evaluation, with and without prototypes."""
    model.eval()
    with paddle.no_grad():
        rectified = score()
        weights, model.rectify_weights = model.rectify_weights, {"rgb": 0.0, "pose": 0.0}
        plain, model.rectify_weights = score(), weights
    assert list(rectified) == HEADS
    for head in HEADS:
        assert_logits_match(rectified[head].numpy()[: len(expected[head])], expected[head])
    for head in ("rgb", "pose"):
        assert_logits_match(plain[head].numpy()[: len(expected[head])], expected[f"{head}_without_prototypes"])
        assert np.abs(rectified[head].numpy() - plain[head].numpy()).max() > 1e-2


# The heads by themselves, over two steps.


def make_head(name):
    """Make a shallow network with the heads of a file, and what its two steps see."""
    reference = golden.load(name)
    head = reference["reference"]["head_args"]
    model = PCAN(
        head["num_classes"],
        coarse_groups=reference["constants"]["coarse_of_fine"],
        loss_weights=head["loss_weights"],
        head_in_channels=head["in_channels"],
        as_published=True,
        rgb_stage_blocks=[1, 1, 1, 1],
        pose_stage_blocks=[1, 1, 1],
    )
    weights = {key: value for key, value in checkpoint.model_state(model).items() if key.startswith("backbone.")}
    named = convert_heads(read_pcan(golden.draw_weights(reference)), model)
    checkpoint.restore_model(model, {**weights, **named})
    drawn = golden.draw_input(reference)
    steps = [
        {name: paddle.to_tensor(drawn[f"{prefix}{name}_feature"], stop_gradient=False) for name in ("rgb", "pose")}
        for prefix in ("", "step2_")
    ]
    return reference, model, steps


def convert_heads(weights, model):
    """Convert weights without those of a backbone."""
    heads = paddle.nn.Layer()
    for name, layer in model.named_children():
        if name != "backbone":
            heads.add_sublayer(name, layer)
    return convert_torch_weights(weights, heads)


def as_maps(features):
    """Turn features (N, C, T, H, W) into what a backbone gives."""
    return {name: (x.transpose([0, 2, 1, 3, 4]).flatten(0, 1), x.shape[2]) for name, x in features.items()}


def measure_port_tree(fine, coarse, labels, _groups):
    """Measure the tree loss as the port does: with another grouping, and one node off, a coarse one for class 0.

    The probability of a coarse node is that of itself and of all below it.
    """
    nodes = np.zeros((68, 68), np.float32)  # state, node: 1 where the state is at the node or below it
    np.fill_diagonal(nodes, 1.0)
    nodes[8 + np.arange(60), PORT_TREE] = 1.0
    joint = score_states(fine, coarse, paddle.to_tensor(PORT_TREE)).exp()
    marginal = (joint * paddle.to_tensor(nodes.T).index_select(labels + 7, axis=0)).sum(axis=1)
    return -(marginal / joint.sum(axis=1)).log().mean()


@pytest.mark.parametrize("name", ["pcan_head_ntu60_asis", "pcan_head_ntu60_fixed"])
def test_heads_losses_and_prototypes_are_those_of_the_authors_over_two_steps(name, monkeypatch):
    reference, model, steps = make_head(name)
    labels = paddle.to_tensor(reference["labels"])
    if name.endswith("asis"):
        monkeypatch.setattr("models.pcan.measure_tree", measure_port_tree)
    assert_answers_match(model, lambda: model.score(as_maps(steps[0])), reference["logits"])
    for features, expected in zip(steps, (reference, reference["step2"]), strict=True):
        authors.train_as_the_authors_did(model)
        losses = model.compute_losses(model.score(as_maps(features)), labels, step.CrossEntropy())
        assert_losses_match(losses, expected["loss"])
        if expected is reference:
            sum(losses.values()).backward()
            assert_head_gradients_match(reference, model, features)
        model.end_update()
        assert_prototypes_match(model, expected.get("prototypes") or expected["prototypes_after_step1"])
    for head in ("rgb", "pose"):
        diversity = measure_diversity(model.prototypes[head].vectors).item()
        assert diversity == pytest.approx(reference["step2"]["diversity"][PROTOTYPES[head]], rel=1e-5)
    assert_answers_match(model, lambda: model.score(as_maps(steps[1])), reference["step2"]["logits"])


def assert_head_gradients_match(reference, model, features):
    """Compare the gradient norms of the heads and of their inputs."""
    norms = reference["grad_norms"]
    theirs = golden.rename_norms(reference, norms["params"], model)
    state = dict(model.named_parameters())
    assert {key: l2_norm(state[key].grad) for key in theirs} == pytest.approx(theirs, rel=1e-3)
    for name, x in features.items():
        assert l2_norm(x.grad) == pytest.approx(norms["input"][f"{name}_feature"], rel=1e-3)


# The gates, and the whole network.


def test_gates_are_those_of_the_authors():
    reference = golden.load("pcan_feature_interaction")
    entry = reference["reference"]["args"]
    gate = CrossModalGate(
        entry["rgb_channels"], entry["skt_channels"], 4, entry["num_heads"], 0.1, entry["hidden_channels"]
    )
    named = rename_gate(golden.draw_weights(reference))
    gate.set_state_dict(convert_torch_weights(named, gate))
    gate.eval()
    drawn = golden.draw_input(reference)
    inputs = {name: paddle.to_tensor(x, stop_gradient=False) for name, x in drawn.items()}
    outputs = {
        name: x.reshape([2, num_frames, *x.shape[1:]]).transpose([0, 2, 1, 3, 4])
        for name, (x, num_frames) in gate(as_maps(inputs)).items()
    }
    for name, x in outputs.items():
        expected = reference["logits"][f"{name}_out"]
        assert list(x.shape) == expected["shape"]
        assert_logits_match(x.numpy()[0, :4, :, 0, 0], expected["slice_0_0to3_all_0_0"])
        assert x.numpy().std(ddof=1) == pytest.approx(expected["std"], rel=1e-5)
    loss = sum(x.square().mean() for x in outputs.values())
    assert loss.item() == pytest.approx(reference["loss"]["total"], rel=1e-5)
    loss.backward()
    theirs = rename_gate({name: np.asarray(norm) for name, norm in reference["grad_norms"]["params"].items()})
    ours = {name: l2_norm(param.grad) for name, param in gate.named_parameters()}
    assert ours == pytest.approx(theirs, rel=1e-3, abs=1e-4)  # of the keys' biases the gradient is zero
    for name, x in inputs.items():
        assert l2_norm(x.grad) == pytest.approx(reference["grad_norms"]["input"][name], rel=1e-3)


def rename_gate(weights):
    """Rename the weights of a gate by itself."""
    named = read_pcan({f"backbone.featuredifference2.{name}": value for name, value in weights.items()})
    return {name.removeprefix("backbone.gates.layer3."): value for name, value in named.items()}


def test_names_shapes_and_size_are_those_of_the_authors_network():
    reference = golden.load("pcan_ntu60_fixed")
    name, arguments = golden.describe(reference)
    assert name == "pcan"
    with paddle.LazyGuard():
        model = PCAN(**arguments)
    shapes = {**reference["state"], **reference["extra_state"]}
    for state in (reference["state"], shapes):  # the official code does not save its coarse prototypes
        weights = {key: np.empty(shape, np.float32) for key, shape in state.items()}
        assert set(convert_torch_weights(read_pcan(weights), model)) == set(model.state_dict())
    num_vectors = sum(model.prototypes[head].vectors.size for head in ("rgb", "pose"))
    assert count_params(model) + num_vectors == reference["params"]  # there the fine prototypes are parameters


@pytest.mark.long
def test_outputs_losses_gradients_and_prototypes_are_those_of_the_authors_network():
    reference = golden.load("pcan_ntu60_fixed")
    model = golden.build(reference)
    inputs = draw_golden(reference)
    assert_answers_match(model, lambda: model(inputs), reference["logits"])
    authors.train_as_the_authors_did(model)
    maps = []
    model.backbone.register_forward_post_hook(lambda _layer, _inputs, output: maps.append(output))
    outputs, labels = model(inputs), paddle.to_tensor(reference["labels"])
    assert_features_match(maps[0], reference["feature"])
    losses = model.compute_losses(outputs, labels, step.CrossEntropy())
    assert_losses_match(losses, reference["loss"])
    sum(losses.values()).backward()
    assert_parameter_gradients_match(reference, model, reference["grad_norms"]["params"])
    for ours, theirs in {"rgb": "imgs", "pose": "heatmap_imgs"}.items():
        assert l2_norm(inputs[ours].grad) == pytest.approx(reference["grad_norms"]["input"][theirs], rel=1e-2)
    model.end_update()
    assert_prototypes_match(model, reference["prototypes_after_step1"])
