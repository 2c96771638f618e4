"""Laws that hold for every network in MODELS; a new network adds one row to CASES."""

import dataclasses

import numpy as np
import paddle
import paddle.nn.functional as F
import pytest

import models
from common.nested import change_each


@dataclasses.dataclass
class Case:
    """A small network of its kind: what to build it with (beside 4 classes), what it takes, what it weighs."""

    arguments: dict
    input_shape: tuple | dict  # without the batch axis
    num_params: int
    num_updates: int = 30  # that learn four samples by heart


# Paddle's batch norm says this at every training step; it is no news here.
pytestmark = pytest.mark.filterwarnings("ignore:When training, we now always track")

NUM_CLASSES = 4
PATHWAYS = {
    "rgb_base_channels": 8, "rgb_stage_blocks": [1, 1, 1, 1], "pose_base_channels": 8, "pose_stage_blocks": [1, 1, 1],
    "dropout_ratio": 0.0,
}  # fmt: skip
POSE_AND_RGB = {"rgb": (3, 2, 32, 32), "pose": (17, 8, 8, 8)}
CASES = {
    "resnet": Case({"depth": 10, "widen_factor": 0.25}, (3, 8, 32, 32), num_params=913_908),
    "r2plus1d": Case({"depth": 10, "widen_factor": 0.25}, (3, 8, 32, 32), num_params=915_219),
    "preresnet": Case({"depth": 10, "widen_factor": 0.25}, (3, 8, 32, 32), num_params=913_684),
    "wideresnet": Case({"depth": 50, "widen_factor": 0.0625}, (3, 8, 32, 32), num_params=627_548),
    "resnext": Case({"depth": 50, "cardinality": 4, "widen_factor": 0.25}, (3, 8, 32, 32), num_params=399_000),
    "densenet": Case(
        {"growth_rate": 8, "num_init_features": 16, "no_max_pool": True}, (3, 8, 16, 16), num_params=734_468
    ),
    "slowonly": Case({"depth": 14, "widen_factor": 0.125, "dropout_ratio": 0.0}, (3, 8, 32, 32), num_params=149_900),
    "tsm": Case({"depth": 26, "widen_factor": 0.125, "dropout_ratio": 0.0}, (3, 8, 32, 32), num_params=223_340),
    "tpn": Case({"depth": 14, "widen_factor": 0.125, "dropout_ratio": 0.0}, (3, 8, 32, 32), num_params=1_063_824),
    "stgcn": Case({"base_channels": 32, "num_blocks": [2, 1]}, (3, 16, 25, 2), num_params=74_099),
    "agcn": Case({"base_channels": 32, "num_blocks": [2, 1], "attention": True}, (3, 16, 25, 2), num_params=92_319),
    "ctrgcn": Case({"base_channels": 16, "num_blocks": [1, 1, 1]}, (3, 12, 25, 2), num_params=33_716),
    "msg3d": Case(
        {"base_channels": 24, "num_blocks": 2, "num_gcn_scales": 4, "num_g3d_scales": 2},
        (3, 12, 25, 2),
        num_params=123_184,
    ),
    "pbgcn": Case(
        {
            "labeling_mode": "parts",
            "layers_config": [[16, 16, 1], [16, 32, 2]],
            "use_data_bn": True,
            "mask_learning": True,
            "dropout": 0.0,
        },
        (3, 8, 25, 1),
        num_params=28_777,
    ),
    "infogcn": Case(
        {"base_channels": 16, "num_blocks": [1, 1, 1]}, (3, 8, 25, 2), num_params=45_757, num_updates=150
    ),  # its noise makes it slower
    "posec3d": Case(
        {"base_channels": 8, "stage_blocks": [1, 1, 1], "dropout_ratio": 0.0},
        (17, 8, 16, 16),
        num_params=44_028,
        num_updates=60,
    ),
    "rgbposeconv3d": Case(PATHWAYS, POSE_AND_RGB, num_params=252_216),
    "pcan": Case({**PATHWAYS, "coarse_groups": [0, 0, 1, 1]}, POSE_AND_RGB, num_params=504_860),
}
every_model = pytest.mark.parametrize("name", list(models.MODELS))


def build(name, seed=0):
    """Build the small network of a row."""
    paddle.seed(seed)
    return models.build_model(name, num_classes=NUM_CLASSES, **CASES[name].arguments)


def draw_batch(name, num_samples, seed=0):
    """Draw normally distributed inputs, float32."""
    rng = np.random.default_rng(seed)

    def draw(shape):
        return paddle.to_tensor(rng.standard_normal((num_samples, *shape)).astype(np.float32))

    return change_each(draw, CASES[name].input_shape)


def score(model, inputs):
    """Give all logits of a network, (N, heads x classes)."""
    return paddle.concat(list_heads(model, model(inputs)), axis=1)


def move_statistics(model, name):
    """Run two training batches, so that batch-norm statistics are no longer the ones a new network has."""
    model.train()
    for seed in (10, 11):
        model(draw_batch(name, 3, seed))
    model.eval()


def list_heads(model, outputs):
    """List the logits of all heads, the main ones first; in training a network may give a dict of these and more."""
    if not isinstance(outputs, dict):
        return [outputs]
    main = [] if hasattr(model, "fuse") else ["logits"]
    return [outputs[head] for head in (*main, *getattr(model, "loss_weights", {}))]


def take(batch, part):
    """Give some samples of a batch."""
    return change_each(lambda one: one[part], batch)


def find_loss(model, outputs, labels):
    """Add all losses of a network."""
    if hasattr(model, "compute_losses"):
        return sum(model.compute_losses(outputs, labels, F.cross_entropy).values())
    return F.cross_entropy(outputs, labels)


def test_every_model_has_a_row():
    assert set(CASES) == set(models.MODELS)


@every_model
def test_logits_have_a_row_per_sample_and_a_column_per_class(name):
    model = build(name)
    for mode in (model.train, model.eval):
        mode()
        outputs = model(draw_batch(name, 3))
        for logits in list_heads(model, outputs):
            assert list(logits.shape) == [3, NUM_CLASSES] or name == "pcan" and list(logits.shape) == [3, 2]
            assert logits.dtype == paddle.float32
    # In evaluation there is one answer, or one by each of several heads, which `fuse` makes one of.
    assert isinstance(outputs, dict) == hasattr(model, "fuse")


@every_model
def test_every_head_but_the_main_one_has_a_weight_in_the_loss(name):
    model = build(name)
    model.train()
    outputs = model(draw_batch(name, 3))
    outputs = outputs if isinstance(outputs, dict) else {"logits": outputs}
    heads = {head for head, one in outputs.items() if one.shape[1] in (NUM_CLASSES, 2)}
    assert heads == {*([] if hasattr(model, "fuse") else ["logits"]), *getattr(model, "loss_weights", {})}


@every_model
def test_parameter_count_is_the_recorded_one(name):
    params = [param for param in build(name).parameters() if not param.stop_gradient]
    assert sum(int(np.prod(param.shape)) for param in params) == CASES[name].num_params


@every_model
def test_every_parameter_gets_a_finite_gradient(name):
    model = build(name)
    model.train()
    find_loss(model, model(draw_batch(name, 3)), paddle.to_tensor([0, 1, 2])).backward()
    for param_name, param in model.named_parameters():
        if not param.stop_gradient:
            assert param.grad is not None, f"{param_name} has no gradient"
            assert np.isfinite(param.grad.numpy()).all(), f"{param_name} has a gradient that is not finite"


@every_model
def test_in_evaluation_logits_do_not_depend_on_batch_mates(name):
    model = build(name)
    move_statistics(model, name)
    batch = draw_batch(name, 3)
    together = score(model, batch).numpy()
    alone = np.concatenate([score(model, take(batch, slice(i, i + 1))).numpy() for i in range(3)])
    np.testing.assert_allclose(alone, together, rtol=0, atol=1e-5 * np.abs(together).max())
    model.train()
    # The counter-check: training logits do depend on them, so the comparison above can fail.
    two, three = (score(model, inputs).numpy() for inputs in (take(batch, slice(2)), batch))
    assert np.abs(two - three[:2]).max() > 1e-3 * np.abs(together).max()


@every_model
def test_same_seed_gives_same_weights_and_another_seed_others(name):
    batch = draw_batch(name, 2)
    first, again, other = (build(name, seed) for seed in (3, 3, 4))
    for model in (first, again, other):
        model.eval()
    logits = score(first, batch).numpy()
    np.testing.assert_array_equal(logits, score(again, batch).numpy())
    assert np.abs(logits - score(other, batch).numpy()).max() > 1e-3 * np.abs(logits).max()


@every_model
def test_weights_survive_a_round_trip_through_numpy(name):
    model, other = build(name, 0), build(name, 1)
    move_statistics(model, name)
    arrays = {key: value.numpy() for key, value in model.state_dict().items()}
    missing, unexpected = other.set_state_dict(arrays)
    assert not missing and not unexpected
    other.eval()
    batch = draw_batch(name, 2)
    np.testing.assert_array_equal(score(other, batch).numpy(), score(model, batch).numpy())


@every_model
def test_one_batch_can_be_learnt_by_heart(name):
    model = build(name)
    batch, labels = draw_batch(name, 4), paddle.arange(NUM_CLASSES)
    optimizer = paddle.optimizer.Momentum(0.01, 0.9, parameters=model.parameters())
    model.train()
    for _ in range(CASES[name].num_updates):
        outputs = model(batch)
        find_loss(model, outputs, labels).backward()
        optimizer.step()
        optimizer.clear_grad()
    assert F.cross_entropy(list_heads(model, outputs)[0], labels).item() < 0.1
    assert guess_once_settled(model, batch, labels) == labels.tolist()


@paddle.no_grad()
def guess_once_settled(model, batch, labels):
    """Guess in evaluation mode, once the running statistics have followed: in a deep network that takes a while."""
    for _ in range(10):
        model.eval()
        outputs = model(batch)
        guesses = (model.fuse(outputs) if hasattr(model, "fuse") else outputs).argmax(axis=1).tolist()
        if guesses == labels.tolist():
            break
        model.train()
        for _ in range(10):
            model(batch)
    return guesses


def test_unknown_name_gets_the_nearest_one():
    with pytest.raises(ValueError, match=r"unknown model 'resent'; did you mean 'resnet'\? \(known: resnet"):
        models.build_model("resent", num_classes=4)
    with pytest.raises(ValueError, match=r"unknown model 'zzz'; \(known: resnet"):
        models.build_model("zzz", num_classes=4)


def test_arguments_reach_the_network():
    model = models.build_model("resnet", num_classes=7, depth=10, widen_factor=0.125, in_channels=2)
    assert list(model(paddle.zeros([1, 2, 4, 16, 16])).shape) == [1, 7]
