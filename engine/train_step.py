"""One update of a network: forward, loss, backward, update; and what it may do besides.

Accumulate the gradients of several batches, compute in float16, mix samples, keep a moving average of the weights: each
is an object of its own that `TrainStep` is given.
"""

import contextlib
from collections.abc import Callable, Iterator

import numpy as np
import paddle

from engine import distributed
from engine.amp import FullPrecision
from engine.losses import predict_classes, weighted_losses
from engine.mixup import Mixup
from engine.optimizer import MovingAverage


class TrainStep:
    """One update of a network, by one process or by several at once.

    Gradients stay readable until the next update.

    Args:
        model: the network, a `models.parts.action_model.ActionModel`.
        criterion: (logits, labels) -> mean loss.
        optimizer: of the model's parameters.
        prepare: turns a batch's `inputs` into what the model takes, on the device.
        batch_size: samples that the device holds at once; a larger batch is taken in equal parts whose gradients add up
            to that of the whole. None: any batch at once. Batch norm sees each part by itself.
        precision: `FullPrecision` or `MixedPrecision`.
        mixup: a `Mixup`, or None.
        average: a `MovingAverage`, or None.
        frozen_norms: layers whose batch-norm statistics are kept.
    """

    def __init__(
        self,
        model: paddle.nn.Layer,
        criterion: Callable,
        optimizer: paddle.optimizer.Optimizer,
        prepare: Callable,
        batch_size: int | None = None,
        precision: FullPrecision | None = None,
        mixup: Mixup | None = None,
        average: MovingAverage | None = None,
        frozen_norms: list = (),
    ):
        self.model, self.criterion, self.optimizer, self.prepare = model, criterion, optimizer, prepare
        self.batch_size, self.precision = batch_size, precision or FullPrecision()
        self.mixup, self.average, self.frozen_norms = mixup, average, frozen_norms
        self.network = distributed.share_gradients(model)

    def state(self) -> dict:
        """Return what a resumed run needs besides model and optimizer."""
        average = {} if self.average is None else {"ema": self.average.state()}
        return {"precision": self.precision.state(), **average}

    def restore(self, state: dict) -> None:
        """Load what `state` returned; an average that the run did not have before starts at the weights as they are."""
        self.precision.restore(state.get("precision", {}))
        if self.average is not None and "ema" in state:
            self.average.restore(state["ema"])

    @contextlib.contextmanager
    def evaluating(self) -> Iterator[None]:
        """Let the model have the weights that are scored, the averages if there are any, and its precision."""
        average = contextlib.nullcontext() if self.average is None else self.average.applied()
        with average, self.precision.cast():
            yield

    def begin_epoch(self) -> None:
        """Put the model in training mode, except for the frozen norms."""
        self.model.train()
        for layer in self.frozen_norms:
            layer.eval()

    def __call__(
        self, inputs: dict, labels: paddle.Tensor, learning_rate: float, index: int, sample_share: float = 1.0
    ) -> dict:
        """Update the model.

        Args:
            inputs: a batch's `inputs`, this process's part of it.
            labels: (N,), at least one.
            index: updates done so far.
            sample_share: this process's samples as a share of those of all processes; 0: its samples do not count.

        Returns:
            name -> 0-D tensor, still on the device: `loss` times `sample_share`; `num_correct`, the number of right
            answers; where the model has several losses, each of them by its name, times `sample_share`. Of a mixed
            sample the label with the larger share is the right answer.
        """
        self.optimizer.set_lr(learning_rate)
        self.optimizer.clear_grad(set_to_zero=False)
        num_parts = 1 if self.batch_size is None else -(-len(labels) // self.batch_size)
        bounds = np.linspace(0, len(labels), num_parts + 1).round().astype(int)
        parts = []
        for part, (start, stop) in enumerate(zip(bounds[:-1], bounds[1:], strict=True)):
            part_share = sample_share * float(stop - start) / len(labels)
            with self._gradient_exchange(is_last=part + 1 == num_parts):
                draw = [index, distributed.rank(), part]
                part_inputs = {name: tensor[start:stop] for name, tensor in inputs.items()}
                parts.append(self._add_gradients(part_inputs, labels[start:stop], part_share, draw))
        self.precision.update(self.optimizer)
        self.model.end_update(distributed.all_reduce_sum)
        if self.average is not None:
            self.average.update(index)
        return {name: sum(part[name] for part in parts) for name in parts[0]}

    def _add_gradients(self, inputs: dict, labels: paddle.Tensor, sample_share: float, draw: list) -> dict:
        inputs, targets = self.prepare(inputs), [(labels, 1.0)]
        if self.mixup is not None:
            inputs, targets = self.mixup(inputs, labels, draw)
        targets = [(target, weight * sample_share) for target, weight in targets]
        values = self._differentiate(inputs, targets)
        return {**values, "num_correct": values["num_correct"] * float(sample_share > 0)}

    def _differentiate(self, inputs: dict, targets: list) -> dict:
        """Add the gradients of the losses of prepared inputs, weighted by [(labels, weight)]; return the values."""
        with self.precision.cast():
            outputs = self.model.name_outputs(self.network(*inputs.values()))
            losses = weighted_losses(self.model, self.criterion, outputs, targets)
            loss = sum(losses.values())
        # Paddle averages gradients over the processes; the shares add up to 1 already.
        self.precision.backward(loss * distributed.num_ranks())
        num_correct = (predict_classes(self.model, outputs) == targets[0][0]).astype("float32").sum()
        by_name = {name: value.detach() for name, value in losses.items()} if len(losses) > 1 else {}
        return {"loss": loss.detach(), "num_correct": num_correct, **by_name}

    def _gradient_exchange(self, is_last: bool) -> contextlib.AbstractContextManager:
        """Send gradients to the other processes once an update, with the last part."""
        if self.network is self.model or is_last:
            return contextlib.nullcontext()
        return self.network.no_sync()
