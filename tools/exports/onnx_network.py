"""An exported network as ONNX, checked by running it with ONNX Runtime."""

import os
import pathlib
import subprocess
import sys
import tempfile
from collections.abc import Callable

import numpy as np
import paddle

from common import files, lifetime
from inference import exported_model
from models.parts.action_model import ActionModel

OPSET = 13
FRAME_AXIS = 2  # of skeletons (N, M, T, V, C)


def import_onnx() -> tuple:
    """Return `convert`, where paddle2onnx can be imported, and the module onnxruntime.

    Raises:
        ValueError: one is missing or does not work with this Paddle; the message has the command to install it.
    """
    try:
        import onnxruntime
        import paddle2onnx  # noqa: F401
    except (ImportError, ValueError) as error:  # paddle2onnx 2 raises the latter where it finds Paddle 2
        pinned = "paddle2onnx==1.2.11" if paddle.__version__.startswith("2.") else "paddle2onnx"
        reason = str(error).splitlines()[0]
        raise ValueError(f"--onnx: {reason}; for this Paddle: pip install {pinned} onnxruntime") from error
    onnxruntime.set_default_logger_severity(3)  # its warnings concern paddle2onnx
    return convert, onnxruntime


def convert(model: str, parameters: str) -> bytes:
    """Return the ONNX model of an exported network; paddle2onnx runs in a process of its own.

    Raises:
        OSError: it failed; the message is what it said first.
    """
    with tempfile.TemporaryDirectory() as folder:
        out = os.path.join(folder, "network.onnx")
        script = str(pathlib.Path(__file__).with_name("convert_onnx.py"))
        command = lifetime.tie([sys.executable, script, model, parameters, OPSET, out])
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
        if done.returncode:
            lines = [line.strip() for line in done.stdout.splitlines() if line.strip()]
            said = [line for line in lines if line.startswith("[ERROR]")] or lines[-1:]
            raise OSError(said[0] if said else f"paddle2onnx ended with {done.returncode}")
        return pathlib.Path(out).read_bytes()


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


def free_frames(inputs: list) -> list:
    """Return the inputs of a network of skeletons, described for any number of frames."""
    return [
        {**described, "shape": [-1 if axis == FRAME_AXIS else size for axis, size in enumerate(described["shape"])]}
        for described in inputs
    ]


def lengthen(skeletons: np.ndarray) -> np.ndarray:
    """Return skeletons (N, M, T, V, C) of 2 T - 1 frames, those of a clip and most of them again."""
    return np.concatenate([skeletons, skeletons[:, :, 1:]], axis=FRAME_AXIS)


def write_onnx(convert: Callable, onnxruntime, traced: str, folder: str) -> OnnxNetwork:
    """Write `inference.onnx`; return the network that ONNX Runtime reads from it.

    Args:
        convert: as `import_onnx` returns it, like `onnxruntime`.
        traced: folder of the static network.
        folder: to write to.
    """
    content = convert(*exported_model.find_files(traced))
    path = os.path.join(folder, f"{exported_model.STEM}.onnx")
    with files.write_atomically(path) as file:
        file.write(content)
    return OnnxNetwork(onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]))
