"""Laws that hold for every network in MODELS; a new network adds one row to CASES."""

import numpy as np
import paddle
import paddle.nn.functional as F
import pytest
from small_networks import CASES, NUM_CLASSES, build, draw_batch, list_heads, move_statistics, score

import models

# Paddle's batch norm says this at every training step; it is no news here.
pytestmark = pytest.mark.filterwarnings("ignore:When training, we now always track")

every_model = pytest.mark.parametrize("name", list(models.MODELS))


def take(batch, part):
    """Return some samples of a batch."""
    return {name: tensor[part] for name, tensor in batch.items()}


def find_loss(model, outputs, labels):
    """Add all losses of a network."""
    return sum(model.compute_losses(model.name_outputs(outputs), labels, F.cross_entropy).values())


def test_every_model_has_a_row():
    assert set(CASES) == set(models.MODELS)


@every_model
def test_logits_have_a_row_per_sample_and_a_column_per_class(name):
    model = build(name)
    for mode in (model.train, model.eval):
        mode()
        outputs = model(*draw_batch(name, 3).values())
        for logits in list_heads(model, outputs):
            assert list(logits.shape) == [3, NUM_CLASSES] or name == "pcan" and list(logits.shape) == [3, 2]
            assert logits.dtype == paddle.float32
    # In evaluation there is one answer, or one by each of several heads, which `fuse` makes one of.
    assert isinstance(outputs, dict) == bool(model.modalities)
    assert list(model.fuse(model.name_outputs(outputs)).shape) == [3, NUM_CLASSES]


@every_model
def test_every_head_but_the_main_one_has_a_weight_in_the_loss(name):
    model = build(name)
    model.train()
    outputs = model(*draw_batch(name, 3).values())
    outputs = model.name_outputs(outputs)
    heads = {head for head, logits in outputs.items() if logits.shape[1] in (NUM_CLASSES, 2)}
    assert heads == {*([] if model.modalities else ["logits"]), *model.loss_weights}


@every_model
def test_parameter_count_is_the_recorded_one(name):
    params = [param for param in build(name).parameters() if not param.stop_gradient]
    assert sum(int(np.prod(param.shape)) for param in params) == CASES[name].num_params


@every_model
def test_every_parameter_gets_a_finite_gradient(name):
    model = build(name)
    model.train()
    find_loss(model, model(*draw_batch(name, 3).values()), paddle.to_tensor([0, 1, 2])).backward()
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
        outputs = model(*batch.values())
        find_loss(model, outputs, labels).backward()
        optimizer.step()
        optimizer.clear_grad()
        loss = F.cross_entropy(list_heads(model, outputs)[0], labels).item()
        if loss < 0.05:  # well below what is asked for
            break
    assert loss < 0.1
    assert guess_once_settled(model, batch, labels) == labels.tolist()


@paddle.no_grad()
def guess_once_settled(model, batch, labels):
    """Guess in evaluation mode, once the running statistics have followed: in a deep network that takes a while."""
    for _ in range(10):
        model.eval()
        outputs = model.name_outputs(model(*batch.values()))
        guesses = model.fuse(outputs).argmax(axis=1).tolist()
        if guesses == labels.tolist():
            break
        model.train()
        for _ in range(10):
            model(*batch.values())
    return guesses


def test_unknown_name_gets_the_nearest_one():
    with pytest.raises(ValueError, match=r"unknown model 'resent'; did you mean 'resnet'\? \(known: resnet"):
        models.build_model("resent", num_classes=4)
    with pytest.raises(ValueError, match=r"unknown model 'zzz' \(known: resnet"):
        models.build_model("zzz", num_classes=4)


def test_arguments_reach_the_network():
    model = models.build_model("resnet", num_classes=7, depth=10, widen_factor=0.125, in_channels=2)
    assert list(model(paddle.zeros([1, 2, 4, 16, 16])).shape) == [1, 7]
