"""A network as a static program of Paddle that works on the weights of the dynamic network."""

import contextlib
import copy
import warnings
from collections.abc import Callable, Iterator

import numpy as np
import paddle

from common.command_line import hide_prints
from engine.onednn.workarounds import apply_onednn_workarounds, replace_tensor, replaced_operators, watch_batch_norms

MEAN, VARIANCE = 3, 4  # of the batch: which results of Paddle's batch-norm operator they are
CHANNELS_LAST = ("NHWC", "NDHWC", "NLC")


class Programs:
    """The programs of a network, one for each shape of its inputs; the number of samples does not matter."""

    def __init__(self, model: paddle.nn.Layer, build: Callable):
        self.model, self.build, self.programs = model, build, {}

    def run(self, feed: dict) -> dict:
        """Return what `run` of the program does that `build` makes of the network and {name: array}."""
        key = tuple((name, array.shape[1:]) for name, array in feed.items())
        if key not in self.programs:
            self.programs[key] = self.build(self.model, feed)
        return self.programs[key].run(feed)


class StaticProgram:
    """A network as a static program that works on the weights of a dynamic one.

    Args:
        model: has the weights, and says what is trained and which layers are in training mode.
        feed: name -> array; the program is for arrays of these shapes, with any number of samples.
        trace: builds {name: value} to be returned, from the network and {name: value} of what is fed. In training mode
            the gradients are those of the first.

    Raises:
        ValueError: an operator has its channels last.
    """

    def __init__(self, model: paddle.nn.Layer, feed: dict, trace: Callable):
        self.weights = dict(model.named_parameters())
        self.program, self.scope = paddle.static.Program(), paddle.static.Scope()  # programs share no variable
        self.executor, self.has_run = paddle.static.Executor(paddle.CPUPlace()), False
        network = copy.deepcopy(model)
        parameters = list_tensors(network, "named_parameters")
        with static_graph(), paddle.static.program_guard(self.program, paddle.static.Program()):
            warnings.filterwarnings("ignore", message="Tensor do not have 'place'")
            self.variables = {name: f"{name}_{id(self)}" for name in parameters}
            self._replace_tensors(network, parameters)
            apply_onednn_workarounds(network)
            norm_outputs = watch_batch_norms(network)
            inputs = {
                name: paddle.static.data(name, [None, *array.shape[1:]], array.dtype.name)
                for name, array in feed.items()
            }
            with replaced_operators(), hide_prints(descriptor=2):
                results = trace(network, inputs)
            self.result_names = list(results)
            trained = {self.variables[key]: key for key, (*_, tensor) in parameters.items() if not tensor.stop_gradient}
            loss = next(iter(results.values()))
            pairs = paddle.static.append_backward(loss) if trained and network.training else []
            gradients = {trained[weight.name]: gradient for weight, gradient in pairs if gradient is not None}
            self.trained = list(gradients)
            self.norms = [(name, output.get_defining_op()) for name, output in norm_outputs.items()]
            statistics = [operator.results()[index] for _, operator in self.norms for index in (MEAN, VARIANCE)]
            self.fetched = [*results.values(), *gradients.values(), *statistics]
        refuse_channels_last(self.program)

    def _replace_tensors(self, network: paddle.nn.Layer, parameters: dict) -> None:
        """Let a copy of the network compute with variables of the program, and with constants for its buffers."""
        for key, (layer, name, tensor) in parameters.items():
            variable = paddle.static.create_parameter(tensor.shape, "float32", self.variables[key])
            variable.stop_gradient = tensor.stop_gradient
            replace_tensor(layer, name, variable)
        for layer, name, tensor in list_tensors(network, "named_buffers").values():
            replace_tensor(layer, name, paddle.to_tensor(tensor.numpy()))

    def run(self, feed: dict) -> dict:
        """Return {name: tensor} of what `trace` built; add the gradients and update the statistics of batch norm."""
        quiet = contextlib.nullcontext() if self.has_run else hide_prints(descriptor=1)
        arrays = {variable: as_numpy_view(self.weights[name]) for name, variable in self.variables.items()}
        with static_graph(), quiet:
            for variable, array in arrays.items():
                self.scope.var(variable).get_tensor().set(array, paddle.CPUPlace(), True)  # True: no copy
            values = self.executor.run(
                self.program, feed=feed, fetch_list=self.fetched, scope=self.scope, return_numpy=False
            )
        self.has_run = True
        tensors = [paddle.to_tensor(value) for value in values]  # no copies: the next run writes to the same memory
        num_results, num_trained = len(self.result_names), len(self.trained)
        self._add_gradients(tensors[num_results : num_results + num_trained])
        self._update_statistics(tensors[num_results + num_trained :])
        return {name: tensor.clone() for name, tensor in zip(self.result_names, tensors, strict=False)}

    def _add_gradients(self, gradients: list) -> None:
        for name, gradient in zip(self.trained, gradients, strict=True):
            weight = self.weights[name]
            weight.grad = gradient if weight.grad is None else weight.grad + gradient

    def _update_statistics(self, statistics: list) -> None:
        """Update the running statistics by those of the batch: mean and variance of one norm after the other."""
        batch = iter(statistics)
        for norm, operator in self.norms:
            momentum = operator.attrs()["momentum"]
            for name in ("_mean", "_variance"):
                running = self.weights[f"{norm}.{name}"]
                running.set_value(momentum * running + (1 - momentum) * next(batch))


def refuse_channels_last(program: paddle.static.Program) -> None:
    """Raise ValueError if an operator has its channels last.

    Paddle keeps this memory order for the thread: each oneDNN program that runs later turns the shapes of its tensors
    round, whatever its own operators say.
    """
    for operator in program.global_block().ops:
        if operator.attrs().get("data_format") in CHANNELS_LAST:
            raise ValueError(f"{operator.name()} has its channels last; give the layer (rows, channels) or (N, C, ...)")


@contextlib.contextmanager
def static_graph() -> Iterator[None]:
    """Build or run static programs by oneDNN for a while."""
    paddle.enable_static()
    paddle.set_flags({"FLAGS_use_mkldnn": True})
    try:
        yield
    finally:
        paddle.set_flags({"FLAGS_use_mkldnn": False})
        paddle.disable_static()


def list_tensors(network: paddle.nn.Layer, kind: str) -> dict:
    """Return {full name: (layer, name in the layer, tensor)} of a network's `named_parameters` or `named_buffers`."""
    found = {}
    for prefix, layer in network.named_sublayers(include_self=True):
        for name, tensor in getattr(layer, kind)(include_sublayers=False):
            found[f"{prefix}.{name}".lstrip(".")] = layer, name, tensor
    return found


def as_numpy_view(tensor: paddle.Tensor) -> np.ndarray:
    """Return the values of a CPU tensor where they are."""
    return np.from_dlpack(tensor.detach())
