"""An exported network as ONNX, checked by running it with ONNX Runtime."""

import os

import numpy as np
import paddle

from common import files
from inference import exported_model
from models.parts.action_model import ActionModel

OPSET = 13


def import_onnx() -> tuple:
    """Import and return the modules paddle2onnx and onnxruntime.

    Raises:
        ValueError: one is missing or does not work with this Paddle; the message has the command to install it.
    """
    try:
        import onnxruntime
        import paddle2onnx
    except (ImportError, ValueError) as error:  # paddle2onnx 2 raises the latter where it finds Paddle 2
        pinned = "paddle2onnx==1.2.11" if paddle.__version__.startswith("2.") else "paddle2onnx"
        reason = str(error).splitlines()[0]
        raise ValueError(f"--onnx: {reason}; for this Paddle: pip install {pinned} onnxruntime") from error
    onnxruntime.set_default_logger_severity(3)  # its warnings concern paddle2onnx
    return paddle2onnx, onnxruntime


class OnnxNetwork(ActionModel):
    """A network that ONNX Runtime runs.

    Args:
        session: of ONNX Runtime.
    """

    def __init__(self, session):
        super().__init__()
        self.session = session

    def forward(self, *inputs: np.ndarray) -> list:
        """Return the logits of each head."""
        names = [described.name for described in self.session.get_inputs()]
        return self.session.run(None, dict(zip(names, inputs, strict=True)))

    def name_outputs(self, outputs: list) -> dict:
        """Return the logits by their number."""
        return dict(enumerate(outputs))


def write_onnx(paddle2onnx, onnxruntime, folder: str) -> OnnxNetwork:
    """Write `inference.onnx`; return the network that ONNX Runtime reads from it."""
    # If paddle2onnx 2 writes the file itself, it also optimises, for which it pip-installs packages.
    content = paddle2onnx.export(*exported_model.find_files(folder), opset_version=OPSET, verbose=False)
    path = os.path.join(folder, f"{exported_model.STEM}.onnx")
    with files.write_atomically(path) as file:
        file.write(content)
    return OnnxNetwork(onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]))
