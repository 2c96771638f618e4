"""One update of a network: forward, loss, backward, update; and what it may do besides.

Accumulate the gradients of several batches, compute in float16, mix samples, keep a moving average of the weights: each
is an object of its own that `TrainStep` is given.
"""

import contextlib
from collections.abc import Callable, Iterator

import numpy as np
import paddle
import paddle.nn.functional as F

from common.nested import change_each
from engine import distributed
from engine.mixup import Mixing


class CrossEntropy:
    """Mean cross-entropy of logits (N, num_classes) and labels (N,), with optional label smoothing."""

    def __init__(self, label_smoothing: float = 0.0):
        self.label_smoothing = label_smoothing

    def __call__(self, logits: paddle.Tensor, labels: paddle.Tensor) -> paddle.Tensor:
        if not self.label_smoothing:
            return F.cross_entropy(logits, labels)
        targets = F.label_smooth(F.one_hot(labels, logits.shape[1]).astype(logits.dtype), epsilon=self.label_smoothing)
        return F.cross_entropy(logits, targets, soft_label=True)


class FullPrecision:
    """float32 all through."""

    def cast(self) -> contextlib.AbstractContextManager:
        """Return the context of the forward pass and the loss."""
        return contextlib.nullcontext()

    def backward(self, loss: paddle.Tensor) -> None:
        """Add the gradients of a loss."""
        loss.backward()

    def update(self, optimizer: paddle.optimizer.Optimizer) -> None:
        """Update the weights."""
        optimizer.step()

    def state(self) -> dict:
        """Return what a resumed run needs."""
        return {}

    def restore(self, state: dict) -> None:
        """Take what `state` returned."""

    def describe(self) -> str:
        """Return what the log line of an update tells of it."""
        return ""


class MixedPrecision(FullPrecision):
    """float16 where it is safe, with a loss scale that grows and shrinks by itself; a GPU only, Paddle's CPU has none.

    An update whose gradients overflow is left out and the scale halved.

    Args:
        level: `O1` or `O2` (see `paddle.amp.auto_cast`); for `O2` the model is decorated beforehand.
        first_scale: of the loss.
    """

    # Paddle 2.6 and 3.3 count conv3d neither among the safe nor among the unsafe operators of O1, so that a 3-D network
    # would stay float32.
    WHITE_LIST = ("conv3d",)

    def __init__(self, level: str, first_scale: float = 2.0**16):
        self.level = level
        self.scaler = paddle.amp.GradScaler(init_loss_scaling=first_scale)

    def cast(self) -> contextlib.AbstractContextManager:
        """Return the context of the forward pass and the loss."""
        return paddle.amp.auto_cast(custom_white_list=set(self.WHITE_LIST), level=self.level)

    def backward(self, loss: paddle.Tensor) -> None:
        """Add the gradients of a loss, scaled."""
        self.scaler.scale(loss).backward()

    def update(self, optimizer: paddle.optimizer.Optimizer) -> None:
        """Update the weights unless a gradient overflowed."""
        self.scaler.step(optimizer)
        self.scaler.update()

    def state(self) -> dict:
        """Return the loss scale and its counters."""
        return self.scaler.state_dict()

    def restore(self, state: dict) -> None:
        """Take what `state` returned."""
        if state:
            self.scaler.load_state_dict(state)

    def describe(self) -> str:
        """Return the loss scale for a log line.

        Raises:
            FloatingPointError: the scale has shrunk below 1: gradients overflow at any scale.
        """
        scale = self.scaler.state_dict().get("scale")
        if scale is None:
            return ""
        scale = float(np.asarray(scale).reshape(-1)[0])
        if scale < 1:
            raise FloatingPointError(
                f"RUN.amp_level={self.level}: the loss scale fell to {scale:g}, gradients overflow again and again; "
                "lower OPTIMIZER.learning_rate, set OPTIMIZER.grad_clip=40, or go on with -o RUN.amp_level=O0"
            )
        return f", loss scale {scale:g}"


class MovingAverage:
    """A moving average of the trained weights, in float32: a = d a + (1 - d) w after every update.

    d is `decay`, less in the first updates: at most (1 + n) / (10 + n) in update n, from 0.

    Attributes:
        values: parameter name -> average.
    """

    def __init__(self, model: paddle.nn.Layer, decay: float):
        self.decay = decay
        self.weights = {name: one for name, one in model.named_parameters() if not one.stop_gradient}
        self.values = {name: one.detach().astype("float32").clone() for name, one in self.weights.items()}

    def update(self, index: int) -> None:
        """Follow the weights after update `index`."""
        decay = min(self.decay, (1 + index) / (10 + index))
        with paddle.no_grad():
            for name, weight in self.weights.items():
                self.values[name] = paddle.lerp(self.values[name], weight.astype("float32"), 1.0 - decay)

    def state(self) -> dict:
        """Return {parameter name: array}."""
        return {name: value.numpy() for name, value in self.values.items()}

    def restore(self, state: dict) -> None:
        """Take what `state` returned."""
        self.values = {name: paddle.to_tensor(state[name]) for name in self.values}

    @contextlib.contextmanager
    def applied(self) -> Iterator[None]:
        """Give the model the averages for a while, then its own weights back, bit for bit."""
        own = {name: weight.detach().clone() for name, weight in self.weights.items()}
        for name, weight in self.weights.items():
            weight.set_value(self.values[name].astype(weight.dtype))
        try:
            yield
        finally:
            for name, weight in self.weights.items():
                weight.set_value(own[name])


class TrainStep:
    """One update of a network, by one process or by several at once.

    Gradients stay readable until the next update.

    Args:
        model: the network. If its training has more to it than one loss of one output, it has a method
            `compute_losses(outputs, labels, criterion, is_mixed)` that returns name -> loss, to be added up. If it
            learns something without gradients, a method `end_update(add_up)`; see `models/parts/prototypes.py`. If its
            outputs are several answers, a method `fuse` that makes one of {name: scores}.
        criterion: (logits, labels) -> mean loss.
        optimizer: of the model's parameters.
        prepare: turns a batch's uint8 inputs into what the model takes, on the device.
        batch_size: samples that the device holds at once; a larger batch is taken in equal parts whose gradients add up
            to that of the whole. None: any batch at once. Batch norm sees each part by itself.
        precision: `FullPrecision` or `MixedPrecision`.
        mixing: a `Mixing`, or None.
        average: a `MovingAverage`, or None.
        still: layers whose batch-norm statistics are kept.
    """

    def __init__(
        self,
        model: paddle.nn.Layer,
        criterion: Callable,
        optimizer: paddle.optimizer.Optimizer,
        prepare: Callable,
        batch_size: int | None = None,
        precision: FullPrecision | None = None,
        mixing: Mixing | None = None,
        average: MovingAverage | None = None,
        still: list = (),
    ):
        self.model, self.criterion, self.optimizer, self.prepare = model, criterion, optimizer, prepare
        self.batch_size, self.precision = batch_size, precision or FullPrecision()
        self.mixing, self.average, self.still = mixing, average, still
        self.network = distributed.share_gradients(model)

    def state(self) -> dict:
        """Return what a resumed run needs besides model and optimizer."""
        average = {} if self.average is None else {"ema": self.average.state()}
        return {"precision": self.precision.state(), **average}

    def restore(self, state: dict) -> None:
        """Take what `state` returned; an average that the run has only now starts at the weights as they are."""
        self.precision.restore(state.get("precision", {}))
        if self.average is not None and "ema" in state:
            self.average.restore(state["ema"])

    @contextlib.contextmanager
    def scored(self) -> Iterator[None]:
        """Give the model the weights that are scored, the averages if there are any, and its precision."""
        average = contextlib.nullcontext() if self.average is None else self.average.applied()
        with average, self.precision.cast():
            yield

    def begin_epoch(self) -> None:
        """Put the model in training mode, but for what stays as it is."""
        self.model.train()
        for layer in self.still:
            layer.eval()

    def __call__(self, inputs, labels: paddle.Tensor, learning_rate: float, index: int, share: float = 1.0) -> tuple:
        """Update the model.

        Args:
            inputs: a batch's `inputs`, this process's part of it.
            labels: (N,), at least one.
            index: updates done so far.
            share: this process's samples as a share of those of all processes; 0: these are none of its own.

        Returns:
            name -> 0-D tensor, still on the device: `loss` times `share`; `hits`, the number of right answers; where
            the model has several losses, each of them by its name, times `share`. Of a mixed sample the label with
            the larger share is the right answer.
        """
        self.optimizer.set_lr(learning_rate)
        self.optimizer.clear_grad(set_to_zero=False)
        num_parts = 1 if self.batch_size is None else -(-len(labels) // self.batch_size)
        bounds = np.linspace(0, len(labels), num_parts + 1).round().astype(int)
        parts = []
        for part, (start, stop) in enumerate(zip(bounds[:-1], bounds[1:], strict=True)):
            part_share = share * float(stop - start) / len(labels)
            with self._sharing(is_last=part + 1 == num_parts):
                draw = [index, distributed.rank(), part]
                part_inputs = change_each(lambda one, part=slice(start, stop): one[part], inputs)
                parts.append(self._add_gradients(part_inputs, labels[start:stop], part_share, draw))
        self.precision.update(self.optimizer)
        if hasattr(self.model, "end_update"):
            self.model.end_update(distributed.add_up)
        if self.average is not None:
            self.average.update(index)
        return {name: sum(part[name] for part in parts) for name in parts[0]}

    def _add_gradients(self, inputs, labels: paddle.Tensor, share: float, draw: list) -> dict:
        clips, targets = self.prepare(inputs), [(labels, 1.0)]
        if self.mixing is not None:
            clips, targets = self.mixing(clips, labels, draw)
        return self._differentiate(clips, [(one, weight * share) for one, weight in targets], share)

    def _differentiate(self, clips, targets: list, share: float) -> dict:
        """Add the gradients of the losses of prepared clips, weighted by [(labels, weight)]; return the values."""
        with self.precision.cast():
            outputs = self.network(clips)
            losses = add_up_losses(self.model, self.criterion, outputs, targets)
            loss = sum(losses.values())
        # Paddle averages gradients over the processes; the shares add up to 1 already.
        self.precision.backward(loss * distributed.num_ranks())
        right = (find_answer(self.model, outputs) == targets[0][0]).astype("float32").sum()
        named = {name: one.detach() for name, one in losses.items()} if len(losses) > 1 else {}
        return {"loss": loss.detach(), "hits": right * float(share > 0), **named}

    def _sharing(self, is_last: bool) -> contextlib.AbstractContextManager:
        """Send gradients to the other processes once an update, with the last part."""
        if self.network is self.model or is_last:
            return contextlib.nullcontext()
        return self.network.no_sync()


def add_up_losses(model: paddle.nn.Layer, criterion: Callable, outputs, targets: list) -> dict:
    """Return name -> loss of what a model gave, summed over [(labels, weight)]."""
    compute = getattr(model, "compute_losses", None)
    if compute is None:
        by_target = [{"loss_cls": criterion(outputs, labels)} for labels, _ in targets]
    else:
        by_target = [compute(outputs, labels, criterion, len(targets) > 1) for labels, _ in targets]
    weights = [weight for _, weight in targets]
    return {
        name: sum(one[name] * weight for one, weight in zip(by_target, weights, strict=True)) for name in by_target[0]
    }


@paddle.no_grad()
def find_answer(model: paddle.nn.Layer, outputs) -> paddle.Tensor:
    """Return the class (N,) that each sample is taken for."""
    if hasattr(model, "fuse"):
        scores = model.fuse({name: F.softmax(one) for name, one in outputs.items()})
    else:
        scores = outputs["logits"] if isinstance(outputs, dict) else outputs
    return scores.argmax(axis=1)
