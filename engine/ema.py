"""An exponential moving average of the weights."""

import contextlib
from collections.abc import Iterator

import paddle


class MovingAverage:
    """A moving average of the trained weights, in float32: a = d a + (1 - d) w after every update.

    d is `decay`, less in the first updates: at most (1 + n) / (10 + n) in update n, from 0.

    Attributes:
        values: parameter name -> average.
    """

    def __init__(self, model: paddle.nn.Layer, decay: float):
        self.decay = decay
        self.weights = {name: weight for name, weight in model.named_parameters() if not weight.stop_gradient}
        self.values = {name: weight.detach().astype("float32").clone() for name, weight in self.weights.items()}

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
        """Load what `state` returned."""
        self.values = {name: paddle.to_tensor(state[name]) for name in self.values}

    @contextlib.contextmanager
    def applied(self) -> Iterator[None]:
        """Let the model have the averages for a while, then its trained weights again, bit for bit."""
        trained = {name: weight.detach().clone() for name, weight in self.weights.items()}
        for name, weight in self.weights.items():
            weight.set_value(self.values[name].astype(weight.dtype))
        try:
            yield
        finally:
            for name, weight in self.weights.items():
                weight.set_value(trained[name])
