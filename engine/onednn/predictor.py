"""Networks for Paddle Inference: how they are saved and run; scores by it, for weights that no longer change.

It reorders the weights for oneDNN once, not at each call, and joins batch norms and ReLUs with the convolutions before
them. That takes longer at the start: it pays where a list is scored.
"""

import contextlib
import os
import tempfile

import numpy as np
import paddle
from paddle import inference, nn

from common.command_line import hide_prints
from engine.onednn.program import Programs
from engine.onednn.step import OneDNNNetwork
from engine.onednn.workarounds import replaced_operators


class OneDNNPredictor(OneDNNNetwork):
    """Scores what a dynamic network would with the weights that it has at the first call."""

    def __init__(self, model: nn.Layer):
        super().__init__(model)
        self.programs = Programs(model, Predictor)


class Predictor:
    """A network that Paddle Inference runs.

    Args:
        model: in evaluation mode.
        feed: name -> array; it takes arrays of these shapes, with any number of samples.
    """

    def __init__(self, model: nn.Layer, feed: dict):
        inputs = [(name, array.shape, array.dtype.name) for name, array in feed.items()]
        with tempfile.TemporaryDirectory() as folder, hide_prints(descriptor=1), hide_prints(descriptor=2):
            path = os.path.join(folder, "network")
            with replaced_operators():
                self.output_names = save_network(model, inputs, path)
            config = inference.Config(f"{path}.json", f"{path}.pdiparams")
            use_cpu(config, with_onednn=True)
            self.session = Session(config)

    def run(self, feed: dict) -> dict:
        """Return {name: tensor} of the outputs."""
        return dict(zip(self.output_names, self.session.run(feed), strict=True))


def save_network(network: nn.Layer, inputs: list, path: str) -> list:
    """Make a network static and write it and its weights, in the format of this Paddle; return its outputs' names.

    Args:
        inputs: (name, shape, type) of each; any number of samples is taken, whatever the first axis is.
        path: of the files, without their suffixes.
    """
    listed = ListedNetwork(network)
    listed.eval()
    specs = [paddle.static.InputSpec([None, *shape[1:]], dtype, name) for name, shape, dtype in inputs]
    static = paddle.jit.to_static(listed, input_spec=[specs], full_graph=True, backend=None)
    paddle.jit.save(static, path)
    return listed.output_names


class ListedNetwork(nn.Layer):
    """A network with a list in place of several inputs and of named outputs, whose names `output_names` has then."""

    def __init__(self, network: nn.Layer):
        super().__init__()
        self.network, self.output_names = network, []

    def forward(self, inputs: list) -> list:
        """Return each output."""
        outputs = self.network.name_outputs(self.network(*inputs))
        self.output_names = list(outputs)
        return list(outputs.values())


def use_cpu(config: inference.Config, with_onednn: bool) -> None:
    """Let Paddle Inference compute on the CPU, by as many threads as the process has."""
    config.disable_gpu()
    if paddle.__version__.startswith("2."):
        config.switch_ir_optim(False)  # Paddle 2.6 dies while it fuses some networks of skeletons
    if with_onednn:
        config.enable_mkldnn()
    else:
        config.disable_mkldnn()
    config.set_cpu_math_library_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1").split(",")[0]))


class Session:
    """Paddle Inference with one network.

    Raises:
        RuntimeError or ValueError: it cannot load the network.
    """

    def __init__(self, config: inference.Config):
        config.disable_glog_info()
        self.predictor, self.has_run = inference.create_predictor(config), False

    def run(self, feed: dict[str, np.ndarray]) -> list[paddle.Tensor]:
        """Return the outputs for the inputs by their names."""
        for name, array in feed.items():
            self.predictor.get_input_handle(name).copy_from_cpu(array)
        with contextlib.nullcontext() if self.has_run else hide_prints(descriptor=1):
            self.predictor.run()
        self.has_run = True
        handles = map(self.predictor.get_output_handle, self.predictor.get_output_names())
        return [paddle.to_tensor(handle.copy_to_cpu()) for handle in handles]
