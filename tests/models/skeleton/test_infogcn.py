"""InfoGCN against the authors' network and losses (golden vectors), its parts against hand-made answers."""

import inspect
import math
import re

import golden_skeletons
import numpy as np
import paddle
import paddle.nn.functional as F
import pytest
from static_programs import assert_program_matches

from engine import checkpoint
from engine.losses import CrossEntropy
from engine.train_step import TrainStep
from models.parts.weights import convert_torch_weights
from models.skeleton.infogcn import (
    AttentionConv,
    InfoGCN,
    JointEmbedding,
    add_noise,
    compute_bottleneck_losses,
    draw_prior,
)
from tools.golden import vectors

pytestmark = pytest.mark.filterwarnings("ignore:When training, we now always track")

GOLDEN = vectors.list_names("infogcn_*")
SMALL = {"base_channels": 8, "num_blocks": [1, 1]}


def find_layer(name):
    """Name our layer with the output of one of the authors'; None for a ReLU, which is no layer here."""
    found = re.fullmatch(r"l(\d+)(?:\.(\w+))?", name)
    if found:
        names = {None: "", "agcn": ".graph", "tcn": ".temporal", "residual": ".shortcut"}
        return None if found[2] == "relu" else f"blocks.{int(found[1]) - 1}{names[found[2]]}"
    layers = {"to_joint_embedding": "embedding.linear", "data_bn": "embedding.norm"}
    return layers.get(name, name) if name != "fc_logvar" else None  # which evaluation does not need


def smooth_cross_entropy(logits, labels):
    """Return the authors' criterion without clipping; Paddle's clips log-probabilities at -64."""
    log_scores = logits - paddle.logsumexp(logits, axis=1, keepdim=True)
    right = paddle.take_along_axis(log_scores, labels.reshape([-1, 1]), 1)
    return -(0.9 * right.mean() + 0.1 * log_scores.mean())


def draw_batch(num_samples, num_frames=8, seed=0):
    """Draw normally distributed skeletons."""
    shape = (num_samples, 3, num_frames, 25, 2)
    return paddle.to_tensor(np.random.default_rng(seed).standard_normal(shape).astype(np.float32))


@pytest.mark.parametrize("name", GOLDEN)
def test_outputs_and_gradients_are_those_of_the_authors_network(name):
    run = golden_skeletons.run_golden(name)
    golden_skeletons.assert_inner_outputs_match(run, find_layer)
    golden_skeletons.assert_outputs_match(run)
    golden_skeletons.assert_gradients_match(run, ties=True)


@pytest.mark.parametrize("name", GOLDEN)
def test_size_and_vectors_are_those_of_the_authors_network(name):
    golden_skeletons.assert_size_is_the_authors(name)
    reference = vectors.load(name)
    model = InfoGCN(**{**vectors.describe(reference)[1], **SMALL})
    np.testing.assert_array_equal(model.embedding.vectors.numpy(), reference["constants"]["A_vector"])


@pytest.mark.parametrize("name", GOLDEN)
def test_losses_are_those_of_the_authors(name):
    reference = vectors.load(name)
    expected = reference["infogcn_loss"]
    model = vectors.build(reference)
    # The file's prior is drawn like a weight, not orthogonal.
    model.z_prior.set_value(vectors.draw_weights({"state": {"z_prior": [60, 256]}})["z_prior"])
    x = paddle.to_tensor(vectors.draw_input(reference), stop_gradient=False)
    latent = model.fc_mu(model.encode(x))
    outputs = {"logits": model.decoder(latent), "latent": latent}
    losses = model.compute_losses(outputs, paddle.to_tensor(reference["labels"]), smooth_cross_entropy)
    np.testing.assert_allclose(latent.numpy(), expected["z"], rtol=0, atol=1e-4 * np.abs(expected["z"]).max())
    assert {loss_name: loss.item() for loss_name, loss in losses.items()} == pytest.approx(
        {
            "loss_cls": expected["label_smoothing_ce(0.1)"],
            "loss_mmd": 0.1 * expected["mmd_loss"],
            "loss_mean": 1e-4 * expected["l2_z_mean"],
        },
        rel=1e-4,
    )
    total = sum(losses.values())
    assert total.item() == pytest.approx(expected["total = lambda_2*mmd + lambda_1*l2_z_mean + ce"], rel=1e-4)
    total.backward()
    norms = vectors.collect_gradient_norms(reference, model)
    norms = {key: norm for key, norm in norms.items() if norm is not None}
    theirs = {key: norm for key, norm in expected["total_grad_norms"].items() if norm is not None}
    assert norms == pytest.approx(theirs, rel=1e-2)


@pytest.mark.parametrize("name", GOLDEN)
def test_noise_is_added_as_the_authors_do(name):
    reference = vectors.load(name)
    expected = reference["train_sampling_fixed_eps"]
    model = vectors.build(reference)
    seed = int(re.search(r"PCG64\((\d+)\)", expected["eps"])[1])
    noise = np.random.Generator(np.random.PCG64(seed)).standard_normal((2, 256)).astype(np.float32)
    features = model.encode(paddle.to_tensor(vectors.draw_input(reference)))
    mean, log_variance = model.fc_mu(features), model.fc_logvar(features)
    latent = add_noise(mean, log_variance, paddle.to_tensor(noise), model.noise_ratio)
    # exp of half a log variance of 200 and more: what float32 leaves of the logits' last digits grows.
    for ours, key in ((mean, "mu"), (log_variance, "logvar"), (latent, "z"), (model.decoder(latent), "logits")):
        theirs = np.array(expected[key])
        np.testing.assert_allclose(ours.numpy(), theirs, rtol=0, atol=1e-4 * np.abs(theirs).max(), err_msg=key)


def test_defaults_are_those_of_the_authors_runner():
    defaults = {name: parameter.default for name, parameter in inspect.signature(InfoGCN).parameters.items()}
    entry, losses = (vectors.load("infogcn_ntu60_k1_T32")[key] for key in ("reference", "infogcn_loss"))
    entry = entry["entry"]
    assert defaults["num_persons"] == entry["num_person"]
    assert defaults["num_heads"] == entry["num_head"]
    assert defaults["noise_ratio"] == entry["noise_ratio"]
    assert defaults["prior_gain"] == entry["gain"]
    assert defaults["k"] == 1  # theirs is 0, which makes every input 0; their commands say 1
    assert defaults["mean_weight"] == losses["lambda_1 (l2_z_mean)"]
    assert defaults["mmd_weight"] == losses["lambda_2 (mmd)"]


def test_criterion_of_the_config_is_the_authors():
    logits = paddle.to_tensor(np.random.default_rng(0).standard_normal((5, 7)).astype(np.float32))
    labels = paddle.to_tensor([0, 6, 3, 3, 1])
    ours = CrossEntropy(label_smoothing=0.1)(logits, labels).item()
    assert ours == pytest.approx(smooth_cross_entropy(logits, labels).item(), rel=1e-5)


def test_bottleneck_compares_class_means_with_their_prior():
    latent = paddle.to_tensor([[1.0, 2.0], [3.0, 4.0], [10.0, 0.0]])
    prior = paddle.to_tensor([[0.0, 0.0], [9.0, 9.0], [9.0, 1.0]])  # nobody is of class 1
    distance, length = compute_bottleneck_losses(latent, paddle.to_tensor([0, 0, 2]), prior)
    assert distance.item() == pytest.approx(((4 + 9) / 2 + (1 + 1) / 2) / 2)
    assert length.item() == pytest.approx(math.hypot(14 / 3, 6 / 3))


def test_spread_of_the_noise_ends_at_a_hundred():
    mean, noise = paddle.to_tensor([[1.0, 1.0, 1.0]]), paddle.to_tensor([[1.0, 2.0, -1.0]])
    log_variance = paddle.to_tensor([[0.0, 2 * math.log(3), 1000.0]], stop_gradient=False)
    latent = add_noise(mean, log_variance, noise, 0.5)
    np.testing.assert_allclose(latent.numpy(), [[2.0, 7.0, -99.0]], rtol=1e-6)
    latent.sum().backward()
    np.testing.assert_allclose(log_variance.grad.numpy(), [[0.5, 3.0, 0.0]], rtol=1e-6)


@pytest.mark.parametrize("num_classes, num_channels", [(4, 16), (16, 4), (5, 5)])
def test_prior_is_orthogonal_and_the_seeds_own(num_classes, num_channels):
    prior = draw_prior(num_classes, num_channels, gain=3.0, seed=1).astype(np.float64)
    products = prior @ prior.T if num_classes <= num_channels else prior.T @ prior
    np.testing.assert_allclose(products, 9 * np.eye(len(products)), atol=1e-5)
    np.testing.assert_array_equal(draw_prior(num_classes, num_channels, seed=1), prior.astype(np.float32))
    assert np.abs(draw_prior(num_classes, num_channels, seed=2) - prior).max() > 0.1


def test_prior_is_saved_and_loaded_and_not_trained(tmp_path):
    model, other = (InfoGCN(4, prior_seed=seed, **SMALL) for seed in (1, 2))
    prior = model.z_prior.numpy()
    assert np.abs(prior - other.z_prior.numpy()).max() > 0.1
    assert "z_prior" in model.state_dict()
    assert "z_prior" not in dict(model.named_parameters())
    path = str(tmp_path / "infogcn_model")
    checkpoint.save_checkpoint(path, {"model": checkpoint.model_state(model)})
    checkpoint.restore_model(other, checkpoint.scoring_weights(checkpoint.load_checkpoint(path)))
    np.testing.assert_array_equal(other.z_prior.numpy(), prior)


def test_training_adds_noise_and_evaluation_none():
    paddle.seed(0)
    model = InfoGCN(4, **SMALL)
    x = draw_batch(3)
    model(x)  # statistics that are not those of a new network
    for layer in model.sublayers():
        layer.eval()  # all but the network itself: only the noise differs
    first, second = model(x), model(x)
    assert list(first) == ["logits", "latent"]
    assert first["latent"].shape == [3, 16]
    assert np.abs(first["latent"].numpy() - second["latent"].numpy()).max() > 1e-2
    np.testing.assert_allclose(first["logits"].numpy(), model.decoder(first["latent"]).numpy(), atol=1e-6)
    model.eval()
    logits = model(x)
    np.testing.assert_array_equal(model(x).numpy(), logits.numpy())
    np.testing.assert_allclose(logits.numpy(), model.decoder(model.fc_mu(model.encode(x))).numpy(), atol=1e-6)
    assert list(model.compute_losses({"logits": logits}, paddle.to_tensor([0, 1, 2]), F.cross_entropy)) == ["loss_cls"]


def test_attention_weighs_joints_frame_by_frame():
    conv = AttentionConv(8, 8, num_heads=2, num_joints=3)
    rng = np.random.default_rng(0)
    for param in conv.parameters():
        if not param.stop_gradient:
            param.set_value(rng.standard_normal(param.shape).astype(np.float32))
    conv.eval()
    x = rng.standard_normal((2, 8, 4, 3)).astype(np.float32)
    names = ("relate_norm.weight", "relate_norm.bias", "relate.weight", "relate.bias", "topology", "weight", "bias")
    state = {name: conv.state_dict()[name].numpy().astype(np.float64) for name in names}
    expected = np.zeros((2, 8, 4, 3))
    for sample, frame in np.ndindex(2, 4):
        joints = x[sample, :, frame].T.astype(np.float64)  # (V, C)
        spread = joints - joints.mean(axis=1, keepdims=True)
        normed = spread / np.sqrt((spread**2).mean(axis=1, keepdims=True) + 1e-5)
        related = (normed * state["relate_norm.weight"] + state["relate_norm.bias"]) @ state["relate.weight"]
        related += state["relate.bias"]  # one relation a head: two queries, two keys
        for head in range(2):
            weights = np.exp(np.outer(related[:, head], related[:, 2 + head]))
            topology = weights / weights.sum(axis=1, keepdims=True) * state["topology"][head]
            mixed = topology @ joints @ state["weight"][8 * head : 8 * head + 8] + state["bias"][head]
            expected[sample, :, frame] += mixed.T
    inner = conv.norm(paddle.to_tensor(expected.astype(np.float32)))
    np.testing.assert_allclose(conv(paddle.to_tensor(x)).numpy(), F.relu(inner + x).numpy(), atol=1e-4)


def test_embedding_keeps_persons_frames_and_joints_apart():
    vectors = np.array([[1, 0], [-1, 1]], np.float32)  # joint 1 relative to joint 0
    embedding = JointEmbedding(vectors, in_channels=3, num_channels=4, num_persons=2)
    embedding.eval()
    x = np.random.default_rng(0).standard_normal((2, 3, 5, 2, 2)).astype(np.float32)
    y = embedding(paddle.to_tensor(x)).numpy()
    assert y.shape == (4, 4, 5, 2)
    joint = paddle.to_tensor(x[1, :, 3, 1, 1] - x[1, :, 3, 0, 1])
    expected = embedding.linear(joint).numpy() + embedding.place.numpy()[0, 1]
    np.testing.assert_allclose(y[3, :, 3, 1], expected / np.sqrt(1 + 1e-5), rtol=1e-4, atol=1e-5)


def test_stages_double_the_width_and_halve_the_frames():
    model = InfoGCN(
        5, layout="coco17", in_channels=2, num_persons=1, num_heads=2, base_channels=8, num_blocks=(2, 1, 1)
    )
    widths = [block.graph.weight.shape for block in model.blocks]
    assert widths == [[16, 8], [16, 8], [16, 16], [32, 32]]
    x = model.blocks(model.embedding(paddle.ones([2, 2, 9, 17, 1])))
    assert list(x.shape) == [2, 32, 3, 17]
    model.eval()
    assert list(model(paddle.ones([2, 2, 9, 17, 1])).shape) == [2, 5]


def test_a_static_program_of_any_batch_and_length_gives_the_same_logits():
    batches = [draw_batch(2), draw_batch(3, num_frames=13)]
    assert_program_matches(InfoGCN(4, **SMALL), batches)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"k": -1}, "InfoGCN: k must be at least 0, got -1"),
        ({"base_channels": 7}, "InfoGCN: base_channels must be at least 8, got 7"),
        ({"num_heads": 0}, "InfoGCN: num_heads must be at least 1, got 0"),
        ({"num_blocks": [1, 0]}, "InfoGCN: num_blocks must have a positive number for each stage, got [1, 0]"),
    ],
)
def test_bad_argument_is_named(arguments, message):
    with pytest.raises(ValueError) as error:
        InfoGCN(4, **arguments)
    assert str(error.value) == message


def test_wrong_input_and_leftover_weights_are_refused():
    model = InfoGCN(4, **SMALL)
    with pytest.raises(ValueError, match=r"InfoGCN: expected input \(N, 3, T, 25, 2\), got \(1, 3, 4, 20, 2\)"):
        model(paddle.ones([1, 3, 4, 20, 2]))
    reference = vectors.load(GOLDEN[0])
    weights = vectors.draw_weights(reference)
    weights |= {"l10.agcn.bn.weight": np.zeros(256), "l1.agcn.bn.num_batches_tracked": np.asarray(5)}
    with pytest.raises(ValueError, match=r"1 entries do not fit this InfoGCN: blocks\.9\.graph\.norm\.weight is left"):
        convert_torch_weights(InfoGCN.WEIGHT_SOURCES["infogcn"](weights), InfoGCN(60))


def test_a_batch_is_learnt_by_heart_with_all_three_losses():
    paddle.seed(0)
    model = InfoGCN(4, **SMALL)
    optimizer = paddle.optimizer.Momentum(0.0, 0.9, parameters=model.parameters())
    step = TrainStep(model, CrossEntropy(0.1), optimizer, prepare=lambda inputs: inputs)
    x, labels, prior = draw_batch(4), paddle.arange(4), model.z_prior.numpy()
    step.begin_epoch()
    rows = []
    for index in range(60):
        values = {name: value.item() for name, value in step({"skeleton": x}, labels, 0.05, index).items()}
        assert values["loss"] == pytest.approx(
            sum(values[name] for name in ("loss_cls", "loss_mmd", "loss_mean")), rel=1e-5
        )
        rows.append(values)
    assert rows[-1]["num_correct"] == 4
    assert rows[-1]["loss_cls"] < 0.6 < rows[0]["loss_cls"]  # at least 0.35: labels are smoothed
    np.testing.assert_array_equal(model.z_prior.numpy(), prior)
