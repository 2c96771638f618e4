"""Training and scoring on a CPU by oneDNN: the network as a static program, all else as on any device.

Paddle's dynamic graph computes convolutions on a CPU without oneDNN, a static program with it. `StaticStep` traces the
network into such a program, once for each shape of batch. The program reads the weights where the dynamic network has
them and gives back losses, gradients and batch statistics; so the optimizer, clipping, averages and checkpoints are
those of `TrainStep`, and a run may go on with either step. `StaticNetwork` scores in the same way.
"""

import contextlib
import copy
import functools
import warnings
from collections.abc import Callable, Iterator

import numpy as np
import paddle
import paddle.nn.functional as F

from common.command_line import hide_prints
from common.nested import change_each
from engine import distributed
from engine.train_step import TrainStep, add_up_losses, find_answer

# The networks whose losses, weights and scores tests/test_static_graph.py holds against those of the dynamic graph.
NETWORKS = (
    "resnet", "r2plus1d", "preresnet", "wideresnet", "resnext", "densenet", "slowonly", "tsm", "tpn", "posec3d",
    "rgbposeconv3d",
)  # fmt: skip
CONVOLUTIONS = (paddle.nn.Conv2D, paddle.nn.Conv3D)
BATCH_NORMS = (paddle.nn.BatchNorm1D, paddle.nn.BatchNorm2D, paddle.nn.BatchNorm3D)
MEAN, VARIANCE = 3, 4  # of the batch: which results of Paddle's batch-norm operator they are


def find_obstacle(name: str) -> str | None:
    """Return why a network, a key of `models.MODELS`, cannot be computed here by oneDNN, or None."""
    if paddle.device.get_device() != "cpu":
        return f"it is for CPUs, and this is {paddle.device.get_device()}"
    if distributed.num_ranks() > 1:
        return f"it takes one process, here are {distributed.num_ranks()}"
    if paddle.__version__.startswith("2."):
        return f"Paddle {paddle.__version__} computes these programs wrongly or not at all, Paddle 3 is needed"
    if name not in NETWORKS:
        return f"it does not know '{name}', only {', '.join(NETWORKS)}"
    return None


class StaticNetwork:
    """Scores by oneDNN what a dynamic network would, whose weights may change; `trainer.evaluate` takes either."""

    def __init__(self, model: paddle.nn.Layer):
        self.model, self.programs = model, Programs(model, self._trace)

    def __getattr__(self, name: str):
        return getattr(self.model, name)

    def __call__(self, inputs):
        found = self.programs.run(name_inputs(inputs))
        return found["output"] if "output" in found else found

    @staticmethod
    def _trace(network: paddle.nn.Layer, feed: dict) -> dict:
        outputs = network(restore_inputs(feed))
        return outputs if isinstance(outputs, dict) else {"output": outputs}


class StaticStep(TrainStep):
    """A `TrainStep` whose losses and gradients are computed by oneDNN."""

    def __init__(self, model: paddle.nn.Layer, *others, **options):
        super().__init__(model, *others, **options)
        self.programs = Programs(model, self._trace)

    def _differentiate(self, clips, targets: list, share: float) -> dict:
        feed = {**name_inputs(clips), "weights": np.asarray([[weight for _, weight in targets]])}
        feed.update({f"labels{index}": view(labels) for index, (labels, _) in enumerate(targets)})
        found = self.programs.run(feed)
        return {**found, "hits": found["hits"] * float(share > 0)}

    def _trace(self, network: paddle.nn.Layer, feed: dict) -> dict:
        """Build losses and hits, {name: 0-D value}; the first is what the gradients are of."""
        outputs = network(restore_inputs(feed))
        labels = [feed[name] for name in feed if name.startswith("labels")]
        weights = feed["weights"].reshape([len(labels)]).unbind()
        losses = add_up_losses(network, self._criticize, outputs, list(zip(labels, weights, strict=True)))
        losses = {name: one.astype("float32") for name, one in losses.items()}
        hits = (find_answer(network, outputs) == labels[0]).astype("float32").sum()
        return {"loss": sum(losses.values()), "hits": hits, **(losses if len(losses) > 1 else {})}

    def _criticize(self, logits: paddle.Tensor, labels: paddle.Tensor) -> paddle.Tensor:
        """Return the loss of a copy: Paddle's cross-entropy overwrites its input. oneDNN leaves float64 alone."""
        return self.criterion(logits.astype("float64"), labels)


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
                put(layer, name, value)
            for layer, name, tensor in buffers.values():
                put(layer, name, paddle.to_tensor(tensor.numpy()))
            work_around(network)
            normed = watch_batch_norms(network)
            given = {
                name: paddle.static.data(name, [None, *array.shape[1:]], array.dtype.name)
                for name, array in feed.items()
            }
            with change_operators(), hide_prints(descriptor=2):
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
        shared = {name: view(self.weights[key]) for key, name in self.names.items()}
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


def put(layer: paddle.nn.Layer, name: str, value) -> None:
    """Let a layer compute with a value of a program in place of its tensor; Paddle's own way refuses such values."""
    object.__setattr__(layer, name, value)


def work_around(network: paddle.nn.Layer) -> None:
    """Keep a network clear of what Paddle's oneDNN operators do slowly or wrongly (3.3).

    Convolutions work in memory orders of their own, forward in another than backward. Where two orders meet, ReLU and
    batch norm fall back to reference code, several times as slow; so every convolution takes and gives copies in plain
    order. A linear layer's bias gets gradient 0; so that layer is one operator that oneDNN does not have. A transposed
    convolution has no gradient at all; so it computes in float64, which oneDNN leaves alone.
    """
    for layer in network.sublayers():
        if isinstance(layer, CONVOLUTIONS):
            layer.register_forward_pre_hook(lambda _, inputs: (paddle.assign(inputs[0]), *inputs[1:]))
            layer.register_forward_post_hook(lambda _, inputs, output: paddle.assign(output))
        if isinstance(layer, paddle.nn.Linear):
            layer.forward = functools.partial(map_linearly, layer)
        if isinstance(layer, paddle.nn.Conv2DTranspose):
            put(layer, "weight", layer.weight.astype("float64"))
            layer.register_forward_pre_hook(lambda _, inputs: (inputs[0].astype("float64"), *inputs[1:]))
            layer.register_forward_post_hook(lambda _, inputs, output: output.astype("float32"))


@contextlib.contextmanager
def change_operators() -> Iterator[None]:
    """Let networks pad in float64, which oneDNN leaves alone: its own padding writes beyond its memory.

    And let a 3-D convolution leave out the frames of its kernel that meet nothing but padding: of three only the middle
    one meets a clip of one frame, which is what 16 are in the last stage of a 3D-ResNet, with most of its weights.
    """
    pad, conv3d = F.pad, F.conv3d
    F.pad = lambda x, *sizes, **options: pad(x.astype("float64"), *sizes, **options).astype("float32")
    F.conv3d = functools.partial(convolve_used, conv3d)
    try:
        yield
    finally:
        F.pad, F.conv3d = pad, conv3d


def convolve_used(conv3d: Callable, x, weight, *, stride: list, padding: list, **options):
    """Do for a layer without dilation what `conv3d` does, with less of the kernel if that will do."""
    used, around = find_used(x.shape[2], weight.shape[2], stride[0], padding[0])
    sides = [*around, *(one for one in padding[1:] for _ in range(2))]
    if len(used) < weight.shape[2]:
        weight = weight[:, :, used.start : used.stop]
    return conv3d(x, weight, stride=stride, padding=sides, **options)


def find_used(num_frames: int, size: int, stride: int, pad: int) -> tuple:
    """Find the frames of a kernel of `size` that meet any of a clip padded by `pad` frames at both ends.

    Returns:
        Their range, and the frames before and after the clip that a kernel of them alone is to be padded with.
    """
    last = (num_frames + 2 * pad - size) // stride * stride - pad  # where the kernel begins for the last output
    used = range(max(0, -last), min(size, num_frames + pad))
    before = pad - used.start
    return used, [before, max(0, last + pad + len(used) - before - num_frames)]


def map_linearly(layer: paddle.nn.Linear, x: paddle.Tensor) -> paddle.Tensor:
    """Do what a linear layer does, (..., in) to (..., out)."""
    if layer.bias is None:
        return paddle.matmul(x, layer.weight)
    rows = paddle.addmm(layer.bias, x.reshape([-1, x.shape[-1]]), layer.weight)
    return rows.reshape([*x.shape[:-1], rows.shape[1]])


def watch_batch_norms(network: paddle.nn.Layer) -> dict:
    """Return a dict that will hold the output of each batch norm in training mode by the layer's name.

    By oneDNN a batch norm does not write its running statistics; what it returns of the batch is used instead.
    """
    outputs = {}
    for key, layer in network.named_sublayers():
        if isinstance(layer, BATCH_NORMS) and layer.training:
            layer.register_forward_post_hook(lambda _, inputs, output, key=key: outputs.update({key: output}))
    return outputs


def view(tensor: paddle.Tensor) -> np.ndarray:
    """Return the values of a CPU tensor where they are."""
    return np.from_dlpack(tensor.detach())


def name_inputs(inputs) -> dict:
    """Return {name: array} of a network's input or inputs."""
    arrays = change_each(view, inputs)
    return {f"input_{name}": one for name, one in arrays.items()} if isinstance(inputs, dict) else {"input": arrays}


def restore_inputs(feed: dict):
    """Undo `name_inputs`."""
    if "input" in feed:
        return feed["input"]
    return {name.removeprefix("input_"): one for name, one in feed.items() if name.startswith("input_")}
