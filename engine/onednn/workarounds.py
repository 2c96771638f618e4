"""What Paddle's oneDNN operators (3.3) do slowly or wrongly, and what a network computes instead, each with its reason.

- Convolutions work in memory orders of their own, forward in another than backward. Where two orders meet, ReLU and
  batch norm fall back to reference code, several times as slow: every convolution takes and returns copies in plain
  order.
- A linear layer's bias gets gradient 0: that layer is one operator that oneDNN does not have.
- A transposed convolution has no gradient: it computes in float64, which oneDNN leaves alone.
- Padding writes beyond its memory: it is done in float64.
- Batch norm does not write its running statistics: what it returns of the batch is used instead.
- Cross-entropy overwrites its logits: it gets a float64 copy (`engine.onednn.step`).
- A 3-D convolution computes every frame of its kernel, those that meet nothing but padding included: they are left out.
  Of three only the middle one meets a clip of one frame, which is what 16 are in the last stage of a 3D-ResNet, where
  most of its weights are.
"""

import contextlib
import functools
from collections.abc import Callable, Iterator

import paddle
import paddle.nn.functional as F

CONVOLUTIONS = (paddle.nn.Conv2D, paddle.nn.Conv3D)
BATCH_NORMS = (paddle.nn.BatchNorm1D, paddle.nn.BatchNorm2D, paddle.nn.BatchNorm3D)


def apply_onednn_workarounds(network: paddle.nn.Layer) -> None:
    """Let the layers of a network compute with what works; the reasons are at the top of this file."""
    for layer in network.sublayers():
        if isinstance(layer, CONVOLUTIONS):
            layer.register_forward_pre_hook(lambda _, inputs: (paddle.assign(inputs[0]), *inputs[1:]))
            layer.register_forward_post_hook(lambda _, inputs, output: paddle.assign(output))
        if isinstance(layer, paddle.nn.Linear):
            layer.forward = functools.partial(apply_linear, layer)
        if isinstance(layer, paddle.nn.Conv2DTranspose):
            replace_tensor(layer, "weight", layer.weight.astype("float64"))
            layer.register_forward_pre_hook(lambda _, inputs: (inputs[0].astype("float64"), *inputs[1:]))
            layer.register_forward_post_hook(lambda _, inputs, output: output.astype("float32"))


@contextlib.contextmanager
def replaced_operators() -> Iterator[None]:
    """Let networks pad and convolve with what works, while a program is traced."""
    pad, conv3d = F.pad, F.conv3d
    F.pad = lambda x, *sizes, **options: pad(x.astype("float64"), *sizes, **options).astype("float32")
    F.conv3d = functools.partial(convolve_with_used_frames, conv3d)
    try:
        yield
    finally:
        F.pad, F.conv3d = pad, conv3d


def convolve_with_used_frames(conv3d: Callable, x, weight, *, stride: list, padding: list, **options):
    """Do for a layer without dilation what `conv3d` does, with less of the kernel if that will do."""
    used, around = find_used_frames(x.shape[2], weight.shape[2], stride[0], padding[0])
    sides = [*around, *(pad for pad in padding[1:] for _ in range(2))]
    if len(used) < weight.shape[2]:
        weight = weight[:, :, used.start : used.stop]
    return conv3d(x, weight, stride=stride, padding=sides, **options)


def find_used_frames(num_frames: int, size: int, stride: int, pad: int) -> tuple:
    """Find the frames of a kernel of `size` that meet any of a clip padded by `pad` frames at both ends.

    Returns:
        Their range, and the frames before and after the clip that a kernel of them alone is to be padded with.
    """
    last = (num_frames + 2 * pad - size) // stride * stride - pad  # where the kernel begins for the last output
    used = range(max(0, -last), min(size, num_frames + pad))
    before = pad - used.start
    return used, [before, max(0, last + pad + len(used) - before - num_frames)]


def apply_linear(layer: paddle.nn.Linear, x: paddle.Tensor) -> paddle.Tensor:
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


def replace_tensor(layer: paddle.nn.Layer, name: str, value) -> None:
    """Let a layer compute with a value of a program in place of its tensor; Paddle's own way refuses such values."""
    object.__setattr__(layer, name, value)
