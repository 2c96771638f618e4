"""Scores by Paddle Inference, for weights that no longer change.

It reorders the weights for oneDNN once, not at each call, and joins batch norms and ReLUs with the convolutions before
them. That takes longer at the start: it pays where a list is scored.
"""

import os
import tempfile

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
        listed = ListedNetwork(model)
        listed.eval()
        specs = [
            paddle.static.InputSpec([None, *array.shape[1:]], array.dtype.name, name) for name, array in feed.items()
        ]
        with tempfile.TemporaryDirectory() as folder, hide_prints(descriptor=1), hide_prints(descriptor=2):
            path = os.path.join(folder, "network")
            with replaced_operators():
                static = paddle.jit.to_static(listed, input_spec=[specs], full_graph=True, backend=None)
                paddle.jit.save(static, path)
            self.predictor = inference.create_predictor(configure(path))
        self.output_names = listed.output_names

    def run(self, feed: dict) -> dict:
        """Return {name: tensor} of the outputs."""
        for name, array in feed.items():
            self.predictor.get_input_handle(name).copy_from_cpu(array)
        with hide_prints(descriptor=1):
            self.predictor.run()
        handles = map(self.predictor.get_output_handle, self.predictor.get_output_names())
        values = (paddle.to_tensor(handle.copy_to_cpu()) for handle in handles)
        return dict(zip(self.output_names, values, strict=True))


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


def configure(path: str) -> inference.Config:
    """Return the settings of Paddle Inference for a network saved as `path`: oneDNN, the threads of the process."""
    config = inference.Config(f"{path}.json", f"{path}.pdiparams")
    config.disable_gpu()
    config.disable_glog_info()
    config.enable_mkldnn()
    config.set_cpu_math_library_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1").split(",")[0]))
    return config
