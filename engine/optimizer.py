"""Optimizers, learning rate schedules, freezing of layers, and the moving average of the weights.

A learning rate is a pure function of epoch and update.
"""

import contextlib
import math
from collections.abc import Iterable, Iterator
from typing import Annotated

import paddle

from common.ranges import Count, NonNegative, PartialShare, Positive, PositiveShare, Range, Share, Whole
from common.suggestions import suggest

OPTIMIZERS = {
    "momentum": paddle.optimizer.Momentum,
    "sgd": paddle.optimizer.Momentum,  # PyTorch's name; momentum = 0 is plain SGD
    "adam": paddle.optimizer.Adam,
    "adamw": paddle.optimizer.AdamW,
}
NUM_SLOTS = {"momentum": 1, "sgd": 1, "adam": 2, "adamw": 2}  # values a weight that an optimizer keeps: its moments
SCHEDULES = ("constant", "multistep", "cosine", "cosine_restarts", "plateau")


class Schedule:
    """Learning rate schedule with a linear warm-up.

    Args:
        batch_size: samples of an update, over all processes.
        epochs: length of the run.
        steps_per_epoch: updates of an epoch.
        learning_rate: peak rate, reached after the warm-up.
        base_batch_size: scale `learning_rate` by `batch_size / base_batch_size`; None does not scale it.
        schedule: one of `SCHEDULES`.
        schedule_by: `epoch` changes the rate once an epoch, `step` at every update.
        milestones: epochs at which `multistep` multiplies by `learning_rate_decay`; None: 60 % and 85 % of the epochs.
        learning_rate_decay: factor of `multistep` and `plateau`.
        min_learning_rate: last rate of `cosine` and of each cycle of `cosine_restarts`, lowest rate of `plateau`.
        restart_epochs: length of the first cycle of `cosine_restarts` (Loshchilov, Hutter, ICLR 2017, 1608.03983).
        restart_factor: length of a cycle in units of the one before.
        warmup_epochs: length of the warm-up; may be a fraction.
        warmup_ratio: first rate of the warm-up, as a fraction of the peak.
        plateau_patience: validations without an improvement of the metric before `plateau` lowers the rate.
        schedule_epochs: epochs that `multistep` without milestones and `cosine` are laid out for; None: all of a new
            run, those it was begun with of a resumed one.

    Raises:
        ValueError: unknown schedule, or cycles without length.
    """

    def __init__(
        self,
        batch_size: int,
        epochs: int,
        steps_per_epoch: int,
        learning_rate: Positive = 0.01,
        base_batch_size: Count | None = None,
        schedule: str = "multistep",
        schedule_by: str = "epoch",
        milestones: list[NonNegative] | None = None,
        learning_rate_decay: PositiveShare = 0.1,
        min_learning_rate: NonNegative = 0.0,
        restart_epochs: Positive = 10,
        restart_factor: Annotated[float, Range(1)] = 2,
        warmup_epochs: NonNegative = 0,
        warmup_ratio: Share = 0.1,
        plateau_patience: Whole = 10,
        schedule_epochs: Count | None = None,
    ):
        if schedule not in SCHEDULES:
            raise ValueError(f"OPTIMIZER.schedule: expected one of {SCHEDULES}, got '{schedule}'")
        if schedule_by not in ("epoch", "step"):
            raise ValueError(f"OPTIMIZER.schedule_by: expected 'epoch' or 'step', got '{schedule_by}'")
        self.scale = batch_size / base_batch_size if base_batch_size else 1.0
        self.peak = learning_rate * self.scale
        self.configured, self.batch_size, self.base_batch_size = learning_rate, batch_size, base_batch_size
        self.steps_per_epoch, self.given_milestones = max(1, steps_per_epoch), milestones
        self.set_length(schedule_epochs or epochs)
        self.schedule, self.schedule_by = schedule, schedule_by
        self.decay, self.floor = learning_rate_decay, min_learning_rate
        self.restart_epochs, self.restart_factor = restart_epochs, restart_factor
        self.warmup_epochs, self.warmup_ratio = warmup_epochs, warmup_ratio
        self.patience = plateau_patience
        self.plateau = {"best": None, "bad_epochs": 0, "factor": 1.0}

    def set_length(self, epochs: int) -> None:
        """Lay the schedule out for so many epochs; milestones that were given stay."""
        self.epochs = epochs
        self.milestones = [0.6 * epochs, 0.85 * epochs] if self.given_milestones is None else self.given_milestones

    def value(self, epoch: int, step: int) -> float:
        """Return the learning rate of update `step` of epoch `epoch`, both from 0."""
        progress = epoch + (step / self.steps_per_epoch if self.schedule_by == "step" else 0)
        if progress < self.warmup_epochs:
            done = progress / self.warmup_epochs
            return self.peak * (self.warmup_ratio + (1 - self.warmup_ratio) * done)
        if self.schedule == "multistep":
            return self.peak * self.decay ** sum(progress >= milestone for milestone in self.milestones)
        if self.schedule.startswith("cosine"):
            done, length = progress - self.warmup_epochs, max(self.epochs - self.warmup_epochs, 1e-9)
            if self.schedule == "cosine_restarts":
                length = self.restart_epochs
                while done >= length:
                    done, length = done - length, length * self.restart_factor
            return self.floor + (self.peak - self.floor) * (1 + math.cos(math.pi * min(done / length, 1.0))) / 2
        return max(self.peak * self.plateau["factor"], min(self.floor, self.peak))

    def observe(self, value: float, is_better) -> None:
        """Update the state of `plateau` with the monitored metric of an epoch.

        Args:
            value: the metric.
            is_better: (new value, old value) -> whether the new one is an improvement.
        """
        state = self.plateau
        if state["best"] is None or is_better(value, state["best"]):
            state.update(best=value, bad_epochs=0)
        else:
            state["bad_epochs"] += 1
        if state["bad_epochs"] > self.patience:
            state.update(factor=state["factor"] * self.decay, bad_epochs=0)

    def explain(self) -> str:
        """Describe the schedule in one line: peak rate, how it was computed, and how the rate changes."""
        origin = "as configured"
        if self.base_batch_size:
            origin = f"{self.configured:g} x {self.batch_size} / {self.base_batch_size} samples an update"
        course = {
            "constant": "constant",
            "multistep": f"x {self.decay:g} at epochs {', '.join(f'{epoch:g}' for epoch in self.milestones)}",
            "cosine": f"cosine to {self.floor:g} over {self.epochs} epochs",
            "cosine_restarts": f"cosine to {self.floor:g} over {self.restart_epochs:g} epochs, then again over "
            f"{self.restart_factor:g} times as many",
            "plateau": f"x {self.decay:g} after {self.patience} validations without a better value",
        }[self.schedule]
        warmup = f", warm-up {self.warmup_epochs:g} epochs" if self.warmup_epochs else ""
        return f"{self.peak:g} ({origin}), {course} by {self.schedule_by}{warmup}"


def freeze(model: paddle.nn.Layer, freeze_until: str | None, train_from: str | None) -> list:
    """Freeze the first modules of a model, in the order of `named_sublayers`.

    Args:
        model: network; `stop_gradient` is set on the parameters that are frozen.
        freeze_until: name of the last frozen module, such as `layer3` or `layer4.0`.
        train_from: name of the first trained module; at most one of the two may be given.

    Returns:
        Layers whose parameters are all frozen.

    Raises:
        ValueError: there is no module of that name (the message has the nearest one), or all modules would be frozen.
    """
    border_module = train_from or freeze_until
    if border_module is None:
        return []
    key = "train_from" if train_from else "freeze_until"
    modules = [name for name, layer in model.named_sublayers() if list(layer.parameters())]
    if border_module not in modules:
        top = ", ".join(name for name in modules if "." not in name)
        nearest = suggest(border_module, modules)
        raise ValueError(f"RUN.{key}: no module '{border_module}'{nearest} (modules: {top})")
    names, parameters = zip(*model.named_parameters(), strict=True)
    inside = [index for index, name in enumerate(names) if name.startswith(border_module + ".")]
    num_frozen = inside[0] if train_from else inside[-1] + 1
    for parameter in parameters[:num_frozen]:
        parameter.stop_gradient = True
    if all(parameter.stop_gradient for parameter in parameters):
        raise ValueError(f"RUN.{key}: '{border_module}' leaves nothing to train; name an earlier module")
    frozen = {id(parameter) for parameter in parameters[:num_frozen]}
    layers = [layer for layer in model.sublayers() if list(layer.parameters())]
    return [layer for layer in layers if all(id(parameter) in frozen for parameter in layer.parameters())]


class ClipByNormOfAll(paddle.nn.ClipGradByGlobalNorm):
    """Scale gradients so that the norm of all of them together is at most `clip_norm`.

    Paddle's optimizers clip one group of parameters after the other, each by the norm of that group. Here all gradients
    are clipped as one tensor, which takes a GPU a few kernels, not two for each parameter.

    Args:
        clip_norm: largest norm.
        parameters: of all groups.
    """

    def __init__(self, clip_norm: float, parameters: list):
        super().__init__(clip_norm)
        self.parameters = [parameter for parameter in parameters if not parameter.stop_gradient]

    def __call__(self, params_grads: list) -> list:
        """Return the (parameter, gradient) pairs of a group, clipped."""
        gradients = {parameter.name: parameter.grad for parameter in self.parameters if parameter.grad is not None}
        [(_, flat)] = super().__call__([(self.parameters[0], _flatten(gradients.values()))])
        clipped = dict(zip(gradients, _split(flat, gradients.values()), strict=True))
        return [(parameter, clipped[parameter.name]) for parameter, _ in params_grads]


def build_optimizer(
    model: paddle.nn.Layer,
    name: str = "momentum",
    momentum: PartialShare = 0.9,
    nesterov: bool = False,
    weight_decay: NonNegative = 1e-4,
    decay_bn_and_bias: bool = True,
    grad_clip: Positive | None = None,
) -> paddle.optimizer.Optimizer:
    """Build the optimizer of the trainable parameters; the training step sets its learning rate at every update.

    Args:
        model: network, after `freeze`.
        name: a key of `OPTIMIZERS`.
        momentum: momentum of `momentum` and `sgd`; first beta of `adam` and `adamw`.
        nesterov: use Nesterov momentum (`momentum` and `sgd` only).
        weight_decay: L2 penalty; decoupled in `adamw`.
        decay_bn_and_bias: False applies no weight decay to parameters with one axis (batch norm, biases).
        grad_clip: largest norm of the gradients of all parameters together; None does not clip.

    Raises:
        ValueError: unknown optimizer; the message has the nearest name.
    """
    if name not in OPTIMIZERS:
        known = ", ".join(OPTIMIZERS)
        raise ValueError(f"OPTIMIZER.name: unknown optimizer '{name}'{suggest(name, OPTIMIZERS)} (known: {known})")
    extra = {"beta1": momentum} if name.startswith("adam") else {"momentum": momentum, "use_nesterov": nesterov}
    clip = None if grad_clip is None else ClipByNormOfAll(grad_clip, model.parameters())
    groups = _group_parameters(model, weight_decay, decay_bn_and_bias)
    return OPTIMIZERS[name](learning_rate=0.0, parameters=groups, weight_decay=weight_decay, grad_clip=clip, **extra)


def _group_parameters(model, weight_decay: float, decay_bn_and_bias: bool) -> list:
    trainable = [p for p in model.parameters() if not p.stop_gradient]
    if decay_bn_and_bias:
        return trainable
    decayed = [p for p in trainable if len(p.shape) > 1]
    undecayed = [p for p in trainable if len(p.shape) <= 1]
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": undecayed, "weight_decay": 0.0}]


class MovingAverage:
    """A moving average of the trained weights, in float32: a = d a + (1 - d) w after every update.

    d is `decay`, less in the first updates: at most (1 + n) / (10 + n) in update n, from 0. All averages are one
    tensor: a GPU computes an update in three kernels, not in two for each weight.
    """

    def __init__(self, model: paddle.nn.Layer, decay: float):
        self.decay = decay
        self.weights = {name: weight for name, weight in model.named_parameters() if not weight.stop_gradient}
        self.flat = _flatten(self.weights.values())

    def update(self, index: int) -> None:
        """Follow the weights after update `index`."""
        decay = min(self.decay, (1 + index) / (10 + index))
        with paddle.no_grad():
            self.flat = paddle.lerp(self.flat, _flatten(self.weights.values()), 1.0 - decay)

    @property
    def values(self) -> dict:
        """The average of each weight by the parameter's name."""
        return dict(zip(self.weights, _split(self.flat, self.weights.values()), strict=True))

    def state(self) -> dict:
        """Return {parameter name: array}."""
        return {name: value.numpy() for name, value in self.values.items()}

    def restore(self, state: dict) -> None:
        """Load what `state` returned."""
        self.flat = _flatten(paddle.to_tensor(state[name]) for name in self.weights)

    @contextlib.contextmanager
    def applied(self) -> Iterator[None]:
        """Let the model have the averages for a while, then its trained weights again, bit for bit."""
        trained = {name: weight.detach().clone() for name, weight in self.weights.items()}
        for name, value in self.values.items():
            self.weights[name].set_value(value.astype(self.weights[name].dtype))
        try:
            yield
        finally:
            for name, weight in self.weights.items():
                weight.set_value(trained[name])


def _flatten(tensors: Iterable) -> paddle.Tensor:
    """Return all values of some tensors in a new float32 tensor with one axis."""
    return paddle.concat([_cast(tensor.detach().reshape([-1]), paddle.float32) for tensor in tensors])


def _split(flat: paddle.Tensor, like: Iterable) -> list:
    """Return what `_flatten` joined, with the shapes and types of the tensors `like`; views where the type stays."""
    like = list(like)
    parts = flat.split([math.prod(tensor.shape) for tensor in like])
    return [_cast(part.reshape(tensor.shape), tensor.dtype) for part, tensor in zip(parts, like, strict=True)]


def _cast(tensor: paddle.Tensor, dtype) -> paddle.Tensor:
    """Cast to a type; Paddle 2.6 launches a kernel for a cast to the same one."""
    return tensor if tensor.dtype == dtype else tensor.astype(dtype)
