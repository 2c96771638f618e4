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


class Programs:
    """A network's programs, one for each shape of what it is fed; any number of samples is one shape."""

    def __init__(self, model: paddle.nn.Layer, trace: Callable):
        self.model, self.trace, self.programs = model, trace, {}

    def run(self, feed: dict) -> dict:
        """Return what `StaticProgram.run` does; see there."""
        key = tuple((name, array.shape[1:]) for name, array in feed.items())
        if key not in self.programs:
            self.programs[key] = StaticProgram(self.model, feed, self.trace)
        return self.programs[key].run(feed)


class StaticProgram:
    """A network as a static program that works on the weights of a dynamic one.

    Args:
        model: has the weights, and says what is trained and which layers are in training mode.
        feed: name -> array; the program is for arrays of these shapes, with any number of samples.
        trace: builds {name: value} to be returned, from the network and {name: value} of what is fed. In training mode
            the gradients are those of the first.
    """

    def __init__(self, model: paddle.nn.Layer, feed: dict, trace: Callable):
        self.weights = dict(model.named_parameters())
        self.program, self.scope = paddle.static.Program(), paddle.static.global_scope()
        self.executor, self.has_run = paddle.static.Executor(paddle.CPUPlace()), False
        network = copy.deepcopy(model)
        parameters, buffers = list_tensors(network, "named_parameters"), list_tensors(network, "named_buffers")
        with static_graph(), paddle.static.program_guard(self.program, paddle.static.Program()):
            warnings.filterwarnings("ignore", message="Tensor do not have 'place'")
            self.names = {key: f"{key}_{id(self)}" for key in parameters}
            for key, (layer, name, tensor) in parameters.items():
                value = paddle.static.create_parameter(tensor.shape, "float32", self.names[key])
                value.stop_gradient = tensor.stop_gradient
                replace_tensor(layer, name, value)
            for layer, name, tensor in buffers.values():
                replace_tensor(layer, name, paddle.to_tensor(tensor.numpy()))
            apply_onednn_workarounds(network)
            normed = watch_batch_norms(network)
            given = {
                name: paddle.static.data(name, [None, *array.shape[1:]], array.dtype.name)
                for name, array in feed.items()
            }
            with replaced_operators(), hide_prints(descriptor=2):
                found = trace(network, given)
            self.keys, fetched = list(found), list(found.values())
            trained = {self.names[key]: key for key, (_, _, tensor) in parameters.items() if not tensor.stop_gradient}
            pairs = paddle.static.append_backward(fetched[0]) if trained and network.training else []
            pairs = [(trained[one.name], gradient) for one, gradient in pairs if gradient is not None]
            self.trained = [key for key, _ in pairs]
            self.moments = [(key, one.get_defining_op()) for key, one in normed.items()]
            statistics = [one.results()[index] for _, one in self.moments for index in (MEAN, VARIANCE)]
            self.fetched = [*fetched, *(gradient for _, gradient in pairs), *statistics]

    def run(self, feed: dict) -> dict:
        """Return {name: tensor} of what `trace` built; add the gradients and follow the statistics of batch norm."""
        shared = {name: as_numpy_view(self.weights[key]) for key, name in self.names.items()}
        quiet = contextlib.nullcontext() if self.has_run else hide_prints(descriptor=1)
        with static_graph(), quiet:
            for name, array in shared.items():
                self.scope.var(name).get_tensor().set(array, paddle.CPUPlace(), True)  # True: no copy
            found = self.executor.run(
                self.program, feed=feed, fetch_list=self.fetched, scope=self.scope, return_numpy=False
            )
        self.has_run = True
        found = [paddle.to_tensor(one) for one in found]  # no copies: the next run writes to the same memory
        num_keys, num_trained = len(self.keys), len(self.trained)
        for key, gradient in zip(self.trained, found[num_keys : num_keys + num_trained], strict=True):
            weight = self.weights[key]
            weight.grad = gradient if weight.grad is None else weight.grad + gradient
        moments = iter(found[num_keys + num_trained :])
        for key, one in self.moments:
            for name in ("_mean", "_variance"):
                running, momentum = self.weights[f"{key}.{name}"], one.attrs()["momentum"]
                running.set_value(momentum * running + (1 - momentum) * next(moments))
        return {key: one.clone() for key, one in zip(self.keys, found, strict=False)}


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
    """Return {whole name: (layer, its own name, tensor)} of a network's `named_parameters` or `named_buffers`."""
    found = {}
    for prefix, layer in network.named_sublayers(include_self=True):
        for name, tensor in getattr(layer, kind)(include_sublayers=False):
            found[f"{prefix}.{name}".lstrip(".")] = layer, name, tensor
    return found


def as_numpy_view(tensor: paddle.Tensor) -> np.ndarray:
    """Return the values of a CPU tensor where they are."""
    return np.from_dlpack(tensor.detach())
