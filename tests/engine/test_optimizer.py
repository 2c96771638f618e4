"""Learning rates against the formulas, and that each OPTIMIZER key reaches the update."""

import math

import numpy as np
import paddle
import pytest

from engine import checkpoint, optimizer


def schedule(**arguments):
    return optimizer.Schedule(
        **{"learning_rate": 0.1, "batch_size": 8, "epochs": 20, "steps_per_epoch": 10, **arguments}
    )


def test_the_rate_scales_linearly_with_the_batch():
    big = schedule(learning_rate=0.01, batch_size=16 * 4, base_batch_size=4 * 2)
    assert big.value(0, 0) == pytest.approx(0.08)
    assert "0.08 (0.01 x 64 / 8 samples an update)" in big.explain()
    assert schedule(learning_rate=0.01).value(0, 0) == 0.01


def test_decay_without_boundaries_is_at_60_and_85_percent():
    rates = [schedule().value(epoch, 0) for epoch in range(20)]
    assert rates == pytest.approx([0.1] * 12 + [0.01] * 5 + [0.001] * 3)
    assert "x 0.1 at epochs 12, 17" in schedule().explain()


def test_multistep_by_step_changes_within_an_epoch():
    rates = schedule(milestones=[1.5], schedule_by="step")
    assert [rates.value(1, step) for step in (4, 5)] == pytest.approx([0.1, 0.01])
    assert schedule(milestones=[1.5]).value(1, 9) == 0.1  # by epoch it waits for the next one


def test_cosine_ends_at_its_floor_and_starts_after_the_warm_up():
    rates = schedule(schedule="cosine", schedule_by="step", warmup_epochs=5, min_learning_rate=0.01)
    assert rates.value(0, 0) == pytest.approx(0.01)
    assert rates.value(2, 5) == pytest.approx(0.1 * (0.1 + 0.9 * 0.5))
    assert rates.value(5, 0) == pytest.approx(0.1)
    expected = 0.01 + 0.09 * (1 + math.cos(math.pi * 14.9 / 15)) / 2
    assert rates.value(19, 9) == pytest.approx(expected)


def test_cosine_starts_again_after_longer_and_longer_cycles():
    rates = schedule(
        schedule="cosine_restarts", schedule_by="step", warmup_epochs=1, restart_epochs=2, restart_factor=3,
        min_learning_rate=0.01,
    )  # fmt: skip
    half = (0.1 + 0.01) / 2
    # One epoch of warm-up, then cycles of 2, 6 and 18 epochs, which begin at 1, 3 and 9.
    assert [rates.value(epoch, 0) for epoch in (1, 2, 3, 6, 9, 18)] == pytest.approx([0.1, half, 0.1, half, 0.1, half])
    assert rates.value(2, 9) == pytest.approx(0.01 + 0.09 * (1 + math.cos(math.pi * 1.9 / 2)) / 2)
    assert rates.value(0, 5) == pytest.approx(0.1 * (0.1 + 0.9 * 0.5))
    assert "cosine to 0.01 over 2 epochs, then again over 3 times as many by step" in rates.explain()


def test_plateau_lowers_after_its_patience():
    rates = schedule(schedule="plateau", plateau_patience=1, min_learning_rate=0.02)
    for value in (0.5, 0.4, 0.3):
        rates.observe(value, lambda new, old: new > old)
    assert rates.value(3, 0) == pytest.approx(0.02)  # 0.01 would be under the floor
    assert rates.plateau == {"best": 0.5, "bad_epochs": 0, "factor": 0.1}


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"schedule": "cosin"}, "OPTIMIZER.schedule: expected one of"),
        ({"schedule_by": "iter"}, "schedule_by"),
    ],
)
def test_bad_schedules_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        schedule(**arguments)


class Net(paddle.nn.Layer):
    """One weight with two axes, one with one."""

    def __init__(self):
        super().__init__()
        ones = paddle.nn.initializer.Constant(1.0)
        self.linear = paddle.nn.Linear(1, 1, weight_attr=ones, bias_attr=ones)

    def forward(self, x):
        return self.linear(x)


def update(steps=1, gradient=1.0, **arguments):
    """Return (weight, bias) after updates with a constant gradient and a learning rate of 0.1."""
    return follow([gradient] * steps, **arguments)


def follow(gradients, **arguments):
    """Return (weight, bias), from 1, after an update with each gradient and a learning rate of 0.1."""
    net = Net()
    solver = optimizer.build_optimizer(net, **arguments)
    for gradient in gradients:
        solver.set_lr(0.1)
        solver.clear_grad()
        (gradient * net(paddle.ones([1, 1]))).sum().backward()
        solver.step()
    return net.linear.weight.item(), net.linear.bias.item()


def test_momentum_follows_its_formula():
    assert update(2, weight_decay=0.0, momentum=0.5) == pytest.approx((1 - 0.1 - 0.15, 1 - 0.1 - 0.15), rel=1e-5)
    assert update(2, weight_decay=0.0, momentum=0.0, name="sgd") == pytest.approx((0.8, 0.8), rel=1e-5)
    nesterov = update(1, weight_decay=0.0, momentum=0.5, nesterov=True)
    assert nesterov == pytest.approx((1 - 0.1 * 1.5, 1 - 0.1 * 1.5), rel=1e-5)


def test_weight_decay_can_spare_batch_norm_and_biases():
    assert update(momentum=0.0, weight_decay=0.5) == pytest.approx((0.85, 0.85), rel=1e-5)
    assert update(momentum=0.0, weight_decay=0.5, decay_bn_and_bias=False) == pytest.approx((0.85, 0.9), rel=1e-5)


def test_gradients_are_clipped_by_their_global_norm():
    weight, bias = update(gradient=100.0, momentum=0.0, weight_decay=0.0, grad_clip=1.0)
    assert np.hypot(1 - weight, 1 - bias) == pytest.approx(0.1, rel=1e-4)


def make_layers():
    """Return layers with weights, biases and batch norm, after a backward pass, and their gradients by name."""
    paddle.seed(0)
    layers = paddle.nn.Sequential(paddle.nn.Linear(3, 4), paddle.nn.BatchNorm1D(4), paddle.nn.Linear(4, 2))
    (layers(paddle.arange(15, dtype="float32").reshape([5, 3]) ** 2 % 7) ** 2).sum().backward()
    trained = [(name, parameter) for name, parameter in layers.named_parameters() if not parameter.stop_gradient]
    return layers, {name: parameter.grad.numpy() for name, parameter in trained}


def move(layers, gradients, **arguments):
    """Return by how much an update with a learning rate of 1 moves each parameter."""
    solver = optimizer.build_optimizer(layers, momentum=0.0, weight_decay=0.0, **arguments)
    before = {name: parameter.numpy().copy() for name, parameter in layers.named_parameters() if name in gradients}
    solver.set_lr(1.0)
    solver.step()
    return {name: before[name] - parameter.numpy() for name, parameter in layers.named_parameters() if name in before}


@pytest.mark.parametrize("decay_bn_and_bias", [True, False])
@pytest.mark.parametrize("share", [0.1, 0.9, 1.5])
def test_one_norm_clips_the_gradients_of_all_groups(decay_bn_and_bias, share):
    """Pascanu et al., ICML 2013, 1211.5063, algorithm 1: all are scaled by min(1, clip / norm)."""
    layers, gradients = make_layers()
    clip = share * float(np.sqrt(sum((gradient**2).sum() for gradient in gradients.values())))
    moved = move(layers, gradients, grad_clip=clip, decay_bn_and_bias=decay_bn_and_bias)
    for name, gradient in gradients.items():
        np.testing.assert_allclose(moved[name], min(1, share) * gradient, rtol=1e-4, atol=1e-5)


def test_clipping_one_group_is_paddles_but_for_the_rounding_of_the_norm():
    layers, gradients = make_layers()
    trained = [parameter for parameter in layers.parameters() if not parameter.stop_gradient]
    for clip, tolerance in ((0.5, 1e-6), (1e6, 0)):  # what is short enough stays as it is, bit for bit
        pairs = [(parameter, parameter.grad.clone()) for parameter in trained]  # Paddle scales them where they are
        clipped = optimizer.ClipByNormOfAll(clip, layers.parameters())([(parameter, None) for parameter in trained])
        for (_, first), (_, second) in zip(paddle.nn.ClipGradByGlobalNorm(clip)(pairs), clipped, strict=True):
            np.testing.assert_allclose(second.numpy(), first.numpy(), rtol=tolerance, atol=0)


@pytest.mark.parametrize("name", ["momentum", "adamw"])
def test_clipping_leaves_the_state_of_the_optimizer_its_names(name):
    states = []
    for clip in (None, 0.5):
        layers, gradients = make_layers()
        solver = optimizer.build_optimizer(layers, name, decay_bn_and_bias=False, grad_clip=clip)
        solver.step()
        states.append(checkpoint.optimizer_state(layers, solver))
    first, second = ({key: sorted(slots) for key, slots in state.items()} for state in states)
    assert first == second and set(first) == set(gradients)
    checkpoint.restore_optimizer(layers, solver, states[0])
    restored = checkpoint.optimizer_state(layers, solver)
    for key, slots in states[0].items():
        assert all((restored[key][slot] == value).all() for slot, value in slots.items())


@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_adam_moves_by_the_rate(name):
    assert update(name=name, weight_decay=0.0) == pytest.approx((0.9, 0.9), rel=1e-4)


@pytest.mark.parametrize("name", ["adam", "adamw"])
@pytest.mark.parametrize("beta", [0.0, 0.5, 0.9])
def test_the_momentum_is_the_first_beta_of_adam(name, beta):
    """Adam, 1412.6980, algorithm 1: gradients of 1 and -1 make the corrected first moment (beta - 1) / (beta + 1)."""
    expected = 1 - 0.1 + 0.1 * (1 - beta) / (1 + beta)
    assert follow([1.0, -1.0], name=name, momentum=beta, weight_decay=0.0) == pytest.approx((expected,) * 2, rel=1e-4)


def test_an_unknown_optimizer_names_the_nearest():
    with pytest.raises(ValueError, match="unknown optimizer 'adm'; did you mean 'adam'"):
        optimizer.build_optimizer(Net(), name="adm")


class Deep(paddle.nn.Layer):
    """Modules in the order of their use; the second one has modules of its own."""

    def __init__(self):
        super().__init__()
        self.stem = paddle.nn.Linear(2, 2)
        self.bn = paddle.nn.BatchNorm1D(2)
        self.act = paddle.nn.ReLU()
        self.stage = paddle.nn.Sequential(paddle.nn.Linear(2, 2), paddle.nn.BatchNorm1D(2))
        self.stage2 = paddle.nn.Linear(2, 2)


@pytest.mark.parametrize(
    "until, begin, trained, num_frozen_layers",
    [
        (None, None, {"stem", "bn", "stage.0", "stage.1", "stage2"}, 0),
        ("bn", None, {"stage.0", "stage.1", "stage2"}, 2),
        (None, "stage", {"stage.0", "stage.1", "stage2"}, 2),
        ("stage.0", None, {"stage.1", "stage2"}, 3),
        ("stage", None, {"stage2"}, 5),  # not stage2, whose name begins alike; the Sequential itself is the fifth
        (None, "stem", {"stem", "bn", "stage.0", "stage.1", "stage2"}, 0),
    ],
)
def test_what_comes_before_a_module_is_frozen(until, begin, trained, num_frozen_layers):
    model = Deep()
    frozen = optimizer.freeze(model, until, begin)
    assert {name.rpartition(".")[0] for name, one in model.named_parameters() if not one.stop_gradient} == trained
    assert len(frozen) == num_frozen_layers
    assert model.stage2 not in frozen


@pytest.mark.parametrize(
    "until, begin, message",
    [
        (
            "stge",
            None,
            "RUN.freeze_until: no module 'stge'; did you mean 'stage'\\? \\(modules: stem, bn, stage, stage2",
        ),
        (None, "act", "RUN.train_from: no module 'act'"),  # it has no weights
        ("stage2", None, "RUN.freeze_until: 'stage2' leaves nothing to train; name an earlier module"),
    ],
)
def test_a_border_that_is_none_is_refused(until, begin, message):
    with pytest.raises(ValueError, match=message):
        optimizer.freeze(Deep(), until, begin)
