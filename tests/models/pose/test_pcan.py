"""PCAN against the authors' network (golden vectors), and its losses and prototypes against hand-made answers."""

import golden_networks
import numpy as np
import paddle
import paddle.nn.functional as F
import pytest
from golden_checks import assert_logits_match, assert_parameter_gradients_match, count_params, draw, l2_norm
from rgbpose_networks import SMALL, assert_features_match, draw_golden, draw_inputs

from engine import checkpoint
from engine.losses import CrossEntropy
from models.parts.gates import CrossModalGate
from models.parts.prototypes import (
    Prototypes,
    compute_contrastive_loss,
    compute_diversity,
    compute_tree_loss,
    score_tree_nodes,
)
from models.parts.weights import convert_torch_weights
from models.pose.pcan import GROUPINGS, PCAN, convert_pcan_weights, resolve_groups
from models.pose.rgbposeconv3d import RGBPoseConv3D
from tools.golden import vectors

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


def alone(values):
    """Sum over the processes of a run with one process."""
    return values


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
    reference = vectors.load(name)
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
    named = convert_heads(convert_pcan_weights(vectors.draw_weights(reference)), model)
    checkpoint.restore_model(model, {**weights, **named})
    drawn = vectors.draw_input(reference)
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
    """Reshape features (N, C, T, H, W) to the output of a backbone."""
    return {name: (x.transpose([0, 2, 1, 3, 4]).flatten(0, 1), x.shape[2]) for name, x in features.items()}


def measure_port_tree(fine, coarse, labels, _groups):
    """Measure the tree loss as the port does: with another grouping, and one node off, a coarse one for class 0.

    The probability of a coarse node is that of itself and of all below it.
    """
    nodes = np.zeros((68, 68), np.float32)  # state, node: 1 where the state is at the node or below it
    np.fill_diagonal(nodes, 1.0)
    nodes[8 + np.arange(60), PORT_TREE] = 1.0
    joint = score_tree_nodes(fine, coarse, paddle.to_tensor(PORT_TREE)).exp()
    marginal = (joint * paddle.to_tensor(nodes.T).index_select(labels + 7, axis=0)).sum(axis=1)
    return -(marginal / joint.sum(axis=1)).log().mean()


@pytest.mark.parametrize("name", ["pcan_head_ntu60_asis", "pcan_head_ntu60_fixed"])
def test_heads_losses_and_prototypes_are_those_of_the_authors_over_two_steps(name, monkeypatch):
    reference, model, steps = make_head(name)
    labels = paddle.to_tensor(reference["labels"])
    if name.endswith("asis"):
        monkeypatch.setattr("models.pose.pcan.compute_tree_loss", measure_port_tree)
    assert_answers_match(model, lambda: model.run_heads(as_maps(steps[0])), reference["logits"])
    for features, expected in zip(steps, (reference, reference["step2"]), strict=True):
        golden_networks.train_as_the_authors_did(model)
        losses = model.compute_losses(model.run_heads(as_maps(features)), labels, CrossEntropy())
        assert_losses_match(losses, expected["loss"])
        if expected is reference:
            sum(losses.values()).backward()
            assert_head_gradients_match(reference, model, features)
        model.end_update(alone)
        assert_prototypes_match(model, expected.get("prototypes") or expected["prototypes_after_step1"])
    for head in ("rgb", "pose"):
        diversity = compute_diversity(model.prototypes[head].vectors).item()
        assert diversity == pytest.approx(reference["step2"]["diversity"][PROTOTYPES[head]], rel=1e-5)
    assert_answers_match(model, lambda: model.run_heads(as_maps(steps[1])), reference["step2"]["logits"])


def assert_head_gradients_match(reference, model, features):
    """Compare the gradient norms of the heads and of their inputs."""
    norms = reference["grad_norms"]
    theirs = vectors.rename_norms(reference, norms["params"], model)
    state = dict(model.named_parameters())
    assert {key: l2_norm(state[key].grad) for key in theirs} == pytest.approx(theirs, rel=1e-3)
    for name, x in features.items():
        assert l2_norm(x.grad) == pytest.approx(norms["input"][f"{name}_feature"], rel=1e-3)


# The gates, and the whole network.


def test_gates_are_those_of_the_authors():
    reference = vectors.load("pcan_feature_interaction")
    entry = reference["reference"]["args"]
    gate = CrossModalGate(
        entry["rgb_channels"], entry["skt_channels"], 4, entry["num_heads"], 0.1, entry["hidden_channels"]
    )
    named = rename_gate(vectors.draw_weights(reference))
    gate.set_state_dict(convert_torch_weights(named, gate))
    gate.eval()
    drawn = vectors.draw_input(reference)
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
    theirs = {name: float(norm) for name, norm in theirs.items()}
    ours = {name: l2_norm(param.grad) for name, param in gate.named_parameters()}
    assert ours == pytest.approx(theirs, rel=1e-3, abs=1e-4)  # of the keys' biases the gradient is zero
    for name, x in inputs.items():
        assert l2_norm(x.grad) == pytest.approx(reference["grad_norms"]["input"][name], rel=1e-3)


def rename_gate(weights):
    """Rename the weights of a gate by itself."""
    named = convert_pcan_weights({f"backbone.featuredifference2.{name}": value for name, value in weights.items()})
    return {name.removeprefix("backbone.gates.layer3."): value for name, value in named.items()}


def test_names_shapes_and_size_are_those_of_the_authors_network():
    reference = vectors.load("pcan_ntu60_fixed")
    name, arguments = vectors.describe(reference)
    assert name == "pcan"
    with paddle.LazyGuard():
        model = PCAN(**arguments)
    shapes = {**reference["state"], **reference["extra_state"]}
    for state in (reference["state"], shapes):  # the official code does not save its coarse prototypes
        weights = {key: np.empty(shape, np.float32) for key, shape in state.items()}
        assert set(convert_torch_weights(convert_pcan_weights(weights), model)) == set(model.state_dict())
    num_vectors = sum(model.prototypes[head].vectors.size for head in ("rgb", "pose"))
    assert count_params(model) + num_vectors == reference["params"]  # there the fine prototypes are parameters


@pytest.mark.long
def test_outputs_losses_gradients_and_prototypes_are_those_of_the_authors_network():
    reference = vectors.load("pcan_ntu60_fixed")
    model = vectors.build(reference)
    inputs = draw_golden(reference)
    assert_answers_match(model, lambda: model(**inputs), reference["logits"])
    golden_networks.train_as_the_authors_did(model)
    maps = []
    model.backbone.register_forward_post_hook(lambda _layer, _inputs, output: maps.append(output))
    outputs, labels = model(**inputs), paddle.to_tensor(reference["labels"])
    assert_features_match(maps[0], reference["feature"])
    losses = model.compute_losses(outputs, labels, CrossEntropy())
    assert_losses_match(losses, reference["loss"])
    sum(losses.values()).backward()
    assert_parameter_gradients_match(reference, model, reference["grad_norms"]["params"])
    for ours, theirs in {"rgb": "imgs", "pose": "heatmap_imgs"}.items():
        assert l2_norm(inputs[ours].grad) == pytest.approx(reference["grad_norms"]["input"][theirs], rel=1e-2)
    model.end_update(alone)
    assert_prototypes_match(model, reference["prototypes_after_step1"])


def make_model(**changes):
    """Make a small network of six classes in three groups."""
    paddle.seed(0)
    sizes = {**SMALL, "pose_base_channels": 8, "zero_init_residual": False, "dropout_ratio": 0.0}
    return PCAN(6, **{"coarse_groups": [0, 0, 0, 1, 1, 2], **sizes, **changes})


def test_a_gate_begins_closed_so_that_the_network_is_two_pathways_with_laterals():
    model, arguments = make_model(rectify_weights=[0.0, 0.0]), {**SMALL, "pose_base_channels": 8}
    plain = RGBPoseConv3D(6, **arguments)
    unloaded = checkpoint.restore_model(
        plain, {key: value for key, value in checkpoint.model_state(model).items() if key in plain.state_dict()}
    )
    assert unloaded == []
    model.eval(), plain.eval()
    inputs = draw_inputs(2, 2)
    expected, ours = plain(**inputs), model(**inputs)
    for name in ("rgb", "pose"):
        np.testing.assert_allclose(ours[name].numpy(), expected[name].numpy(), rtol=1e-5, atol=1e-6)
    for gate in model.backbone.gates.values():
        gate.pose_gate.bias.set_value(gate.pose_gate.bias + 1.0)
    assert np.abs(model(**inputs)["pose"].numpy() - expected["pose"].numpy()).max() > 1e-4


def test_laterals_see_features_that_are_not_gated():
    model = make_model()
    model.eval()
    seen = []
    for lateral in (model.backbone.rgb_laterals["layer3"], model.backbone.pose_laterals["layer2"]):
        lateral.register_forward_pre_hook(lambda _layer, inputs: seen.append(inputs[0].numpy()))
    inputs = draw_inputs(1, 2)
    for _ in range(2):
        model(**inputs)
        gate = model.backbone.gates["layer3"]
        for bias in (gate.rgb_gate.bias, gate.pose_gate.bias):
            bias.set_value(bias + 1.0)
    for first, second in zip(seen[:2], seen[2:], strict=True):
        np.testing.assert_array_equal(first, second)


def test_gates_stand_at_each_exchange_whatever_the_widths():
    model = make_model(rgb_base_channels=80, pose_base_channels=48)
    gates = model.backbone.gates
    assert [(list(key.rgb_gate.weight.shape), list(key.pose_gate.weight.shape)) for key in gates.values()] == [
        ([192, 640], [192, 192, 4]),
        ([384, 1280], [384, 384, 4]),
    ]
    assert list(gates) == ["layer3", "layer4"]
    assert list(make_model(pose_lateral=False, rgb_lateral_activate=[0, 0, 0, 1]).backbone.gates) == ["layer4"]


def test_frames_that_do_not_fit_a_gate_are_refused():
    message = (
        "PCAN: a gate takes 4 frames of heat maps for each of RGB, got 8 for 3; set the clip lengths of the reader so"
    )
    gate = CrossModalGate(8, 8, 4, 2, 0.0)
    with pytest.raises(ValueError) as error:
        gate({"rgb": (draw(6, 8, 2, 2), 3), "pose": (draw(16, 8, 2, 2), 8)})
    assert str(error.value) == message


# Losses and prototypes.


def train_small(**changes):
    """Make a small network in training, with a batch of it."""
    model = make_model(attention_dropout=0.0, **changes)
    model.train()
    return model, draw_inputs(6, 1, 16), paddle.to_tensor([0, 1, 2, 3, 4, 5])


def test_every_loss_has_a_weight_and_every_weight_a_finite_gradient():
    model, inputs, labels = train_small(
        loss_weights=[1.0, 1.5, 0.6, 1.2], tree_weight=0.0, prototype_weight=0.0, diversity_weight=0.0
    )
    outputs = model(**inputs)
    criterion = CrossEntropy(0.1)  # smooths coarse labels by the number of coarse classes
    losses = model.compute_losses(outputs, labels, criterion)
    assert list(losses) == list(LOSSES)[:4] + [
        *("rgb_loss_tree", "rgb_loss_prototype", "rgb_coarse_loss_prototype"),
        *("pose_loss_tree", "pose_loss_prototype", "pose_coarse_loss_prototype"),
    ]
    coarse = paddle.to_tensor([0, 0, 0, 1, 1, 2])
    expected = {
        "rgb_loss_cls": criterion(outputs["rgb"], labels),
        "pose_loss_cls": 1.5 * criterion(outputs["pose"], labels),
        "rgb_coarse_loss_cls": 0.6 * criterion(outputs["rgb_coarse"], coarse),
        "pose_coarse_loss_cls": 1.2 * criterion(outputs["pose_coarse"], coarse),
    }
    ours = {name: loss.item() for name, loss in losses.items()}
    assert ours == pytest.approx(
        {**dict.fromkeys(losses, 0.0), **{name: loss.item() for name, loss in expected.items()}}
    )
    sum(losses.values()).backward()
    for name, param in model.named_parameters():
        if not param.stop_gradient:
            assert param.grad is not None and np.isfinite(param.grad.numpy()).all(), name


def test_two_weights_are_those_of_coarse_classes_too_and_one_modality_may_be_trained():
    assert make_model(loss_weights=[1.0, 2.0]).loss_weights == dict(zip(HEADS, [1.0, 2.0, 1.0, 2.0], strict=True))
    model, inputs, labels = train_small(loss_components=["pose"], loss_weights=[1.0])
    losses = model.compute_losses(model(**inputs), labels, CrossEntropy())
    assert set(losses) == {name for name in LOSSES if name.startswith("pose")}


def test_outputs_of_an_evaluation_have_losses_of_classes_only():
    model, inputs, labels = train_small()
    model.eval()
    outputs = model(**inputs)
    assert list(outputs) == HEADS
    assert list(model.compute_losses(outputs, labels, CrossEntropy())) == [f"{head}_loss_cls" for head in HEADS]


def test_mixed_samples_have_losses_of_classes_only_and_move_no_prototype():
    model, inputs, labels = train_small()
    before = checkpoint.model_state(model)
    losses = model.compute_losses(model(**inputs), labels, CrossEntropy(), is_mixed=True)
    assert {name for name, loss in losses.items() if loss.item() == 0} == set(list(LOSSES)[4:])
    sum(losses.values()).backward()
    assert all(layer.embed.weight.grad is not None for layer in model.prototypes.values())
    model.end_update(alone)
    for name, value in checkpoint.model_state(model).items():
        if name.startswith("prototypes."):
            np.testing.assert_array_equal(value, before[name])


def test_diversity_has_a_gradient_but_for_the_published_variant():
    gradients = {}
    for as_published, weight in ((False, 1.0), (True, 1.0), (False, 0.0)):
        model, inputs, labels = train_small(as_published=as_published, diversity_weight=weight)
        outputs = answer_right(model, model(**inputs), labels)
        losses = model.compute_losses(outputs, labels, CrossEntropy())
        losses["rgb_loss_prototype"].backward()
        gradients[as_published, weight] = model.prototypes["rgb"].embed.weight.grad.numpy()
    without = gradients[False, 0.0]
    np.testing.assert_allclose(gradients[True, 1.0], without, atol=1e-6)
    assert np.abs(gradients[False, 1.0] - without).max() > 1e-3 * np.abs(without).max()


def answer_right(model, outputs, labels):
    """Replace logits by those of right answers."""
    right = {"": labels, "_coarse": paddle.gather(model.groups, labels)}
    for name in ("rgb", "pose"):
        for suffix, predictions in right.items():
            outputs[name + suffix] = 9.0 * F.one_hot(predictions, outputs[name + suffix].shape[1])
    return outputs


def test_prototypes_are_saved_and_not_trained():
    model = make_model()
    names = [name for name in model.state_dict() if name.startswith("prototypes.") and name.endswith("vectors")]
    assert sorted(names) == sorted(f"prototypes.{head}.vectors" for head in HEADS)
    assert not set(names) & {name for name, _ in model.named_parameters()}
    assert not [name for name in model.state_dict() if name.endswith("sums") or name == "groups"]
    other = make_model()
    other.prototypes["rgb"].vectors.set_value(paddle.zeros([6, 256]))
    checkpoint.restore_model(other, checkpoint.model_state(model))
    np.testing.assert_array_equal(other.prototypes["rgb"].vectors.numpy(), model.prototypes["rgb"].vectors.numpy())


def make_prototypes():
    """Make four prototypes, always the same ones."""
    paddle.seed(3)
    return Prototypes(5, 8, 4)


MEMBERS = np.array([[1, 0, 0, 0], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1]], np.float32)


def test_prototypes_go_a_tenth_of_the_way_to_the_mean_of_right_answers():
    layer = make_prototypes()
    before, embedded = layer.vectors.numpy(), draw(6, 8)
    after = layer.accumulate(embedded, paddle.to_tensor(MEMBERS)).numpy()
    np.testing.assert_array_equal(layer.vectors.numpy(), before)  # they move at the end of the update
    layer.end_update(alone)
    x = embedded.numpy()
    expected = before.copy()
    for label, mean in {0: x[[0, 1, 4]].mean(axis=0), 1: x[2], 3: x[5]}.items():
        expected[label] = 0.9 * before[label] + 0.1 * mean
    np.testing.assert_allclose(layer.vectors.numpy(), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(after, expected, rtol=1e-5, atol=1e-6)
    layer.end_update(alone)  # an update that saw nothing
    np.testing.assert_allclose(layer.vectors.numpy(), expected, rtol=1e-5, atol=1e-6)


def test_parts_of_a_batch_and_other_processes_move_prototypes_as_the_whole_batch_does():
    embedded, members = draw(6, 8), paddle.to_tensor(MEMBERS)
    whole, parts, first, second = (make_prototypes() for _ in range(4))
    whole.accumulate(embedded, members)
    whole.end_update(alone)
    for rows in (slice(0, 2), slice(2, 6)):
        parts.accumulate(embedded[rows], members[rows])
    parts.end_update(alone)
    first.accumulate(embedded[:4], members[:4])
    second.accumulate(embedded[4:], members[4:])
    sums = [first.sums.clone(), second.sums.clone()]
    for process in (first, second):
        process.end_update(lambda values: sums[0] + sums[1])
    for layer in (parts, first, second):
        np.testing.assert_allclose(layer.vectors.numpy(), whole.vectors.numpy(), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(first.vectors.numpy(), second.vectors.numpy())
    assert np.abs(whole.vectors.numpy() - make_prototypes().vectors.numpy()).max() > 0.01


def test_all_prototypes_of_a_network_move_at_the_end_of_an_update():
    model, inputs, labels = train_small()
    before = {head: layer.vectors.numpy() for head, layer in model.prototypes.items()}
    model.compute_losses(answer_right(model, model(**inputs), labels), labels, CrossEntropy())
    asked = []
    model.end_update(lambda values: asked.append(values.shape) or values)
    assert [list(shape) for shape in asked] == [[6, 257], [3, 129], [6, 257], [3, 129]]
    for head, layer in model.prototypes.items():
        assert (np.abs(layer.vectors.numpy() - before[head]).max(axis=1) > 1e-3).all(), head


def cosine(a, b):
    return a @ b / np.linalg.norm(a) / np.linalg.norm(b)


def test_contrast_by_hand():
    rng = np.random.default_rng(5)
    x, prototypes = rng.standard_normal((4, 8)), rng.standard_normal((3, 8))
    labels, predictions, scores = [0, 0, 1, 2], [1, 0, 1, 0], [0.2, 0.7, 0.6, 0.1]
    false_negatives = [[True, False, False, False], [False, False, False, True]]
    centres = [{0: x[0]}, {2: x[3]}, {1: -x[0], 0: -x[3]}]  # the last ones: false ones, turned round
    expected = 0.0
    for factor, centre in zip([1.0, 0.5, 1.0], centres, strict=True):
        for row, label in enumerate(labels):
            logits = np.array([cosine(x[row], prototype) for prototype in prototypes]) / 0.125
            if label in centre:
                logits[label] += (1 - scores[row]) * (cosine(x[row], centre[label]) - 1)
            expected += (np.log(np.exp(factor * logits).sum()) - factor * logits[label]) / 4
    tensors = [paddle.to_tensor(np.asarray(value, np.float32)) for value in (x, prototypes, scores)]
    embedded, vectors, sure = tensors
    answers = [paddle.to_tensor(value) for value in (labels, predictions)]
    sets = [paddle.to_tensor(members) for members in false_negatives]
    ours = compute_contrastive_loss(embedded, answers[0], sure, answers[1], vectors, sets, (1.0, 0.5))
    assert ours.item() == pytest.approx(expected, rel=1e-5)


def test_tree_loss_by_hand():
    fine, coarse, groups = draw(2, 3), draw(2, 2) * 2, [0, 1, 1]
    u, v = (1 / (1 + np.exp(-x.numpy().astype(np.float64))) for x in (fine, coarse))
    expected = 0.0
    for row, label in enumerate([2, 0]):
        states = [v[row, 0], v[row, 1], *(u[row, c] + v[row, groups[c]] for c in range(3))]
        expected += (np.log(np.exp(states).sum()) - states[2 + label]) / 2
    ours = compute_tree_loss(fine, coarse, paddle.to_tensor([2, 0]), paddle.to_tensor(groups))
    assert ours.item() == pytest.approx(expected, rel=1e-5)


def test_diversity_is_the_norm_of_all_cosines():
    vectors = paddle.to_tensor([[2.0, 0.0], [0.0, 3.0], [1.0, 1.0]])
    assert compute_diversity(vectors).item() == pytest.approx(np.sqrt(3 + 4 * 0.5))


def test_a_batch_is_learnt_by_heart():
    model, inputs, labels = train_small(zero_init_residual=True)
    optimizer = paddle.optimizer.Momentum(0.01, 0.9, parameters=model.parameters())
    for _ in range(30):
        losses = model.compute_losses(model(**inputs), labels, CrossEntropy())
        sum(losses.values()).backward()
        optimizer.step()
        optimizer.clear_grad()
        model.end_update(alone)
    for head in ("rgb_loss_cls", "pose_loss_cls"):
        assert losses[head].item() < 0.5
    outputs = model(**inputs)
    assert outputs["rgb"].argmax(axis=1).tolist() == labels.tolist()


# Groups.


def test_published_groupings():
    assert [GROUPINGS["ma52"].count(group) for group in range(7)] == [5, 6, 13, 8, 6, 10, 4]
    groups = GROUPINGS["ntu60"]
    assert len(groups) == 60 and set(groups) == set(range(8))
    assert groups[40:49] == [6] * 9 and groups[49:] == [7] * 11 and groups[13:21] == [1] * 8
    assert not {6, 7} & set(groups[:40])


@pytest.mark.parametrize(
    "groups, arguments, message",
    [
        ("ntu120", (60, None), "PCAN: coarse_groups must be a list or one of ma52, ntu60, got 'ntu120'"),
        ("ntu60", (52, None), "PCAN: coarse_groups must name the coarse class of each of 52 classes, got 60"),
        ([0, 2], (2, None), "PCAN: coarse_groups must have all of 0 to 2 and nothing else, got [0, 2]"),
        ([0, 1, 2], (3, 2), "PCAN: coarse_groups must have all of 0 to 1 and nothing else, got [0, 1, 2]"),
    ],
)
def test_bad_groups_are_named(groups, arguments, message):
    with pytest.raises(ValueError) as error:
        resolve_groups(groups, *arguments)
    assert str(error.value) == message


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"num_heads": 7}, "PCAN: num_heads must divide the 32 channels of a gate, got 7"),
        (
            {"loss_weights": [1.0, 1.0, 1.0]},
            "PCAN: loss_weights must be those of rgb, pose, rgb_coarse, pose_coarse, got [1.0, 1.0, 1.0]",
        ),
    ],
)
def test_bad_argument_is_named(arguments, message):
    with pytest.raises(ValueError) as error:
        make_model(**arguments)
    assert str(error.value) == message


def test_coarse_prototypes_that_the_official_code_did_not_save_are_drawn():
    weights = {"cls_head.fc_rgb_coarse.bias": np.zeros(7, np.float32)}
    drawn = convert_pcan_weights(weights)["prototypes.rgb_coarse.vectors"]
    assert drawn.shape == (7, 128) and drawn.std() == pytest.approx(1, abs=0.1)
    saved = np.ones([128, 7], np.float32)
    both = convert_pcan_weights({**weights, "cls_head.fr_coarse_rgb.spatio_cl_net.avg_f": saved})
    np.testing.assert_array_equal(both["prototypes.rgb_coarse.vectors"], saved.T)
