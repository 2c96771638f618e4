"""Exported networks: the folder that tools/export.py writes, and Paddle Inference, which runs it without models/.

`inference.json` (Paddle 3) or `inference.pdmodel` (Paddle 2) holds the network, `inference.pdiparams` its weights, and
`inference.yaml` all else that is needed to use it right. The network takes frames as they are decoded, uint8 RGB
(N, T, H, W, 3), and gives logits: axis order, mean and standard deviation are part of the network.
"""

import contextlib
import os
import pathlib
import zlib

import numpy as np
import paddle
import yaml
from paddle import inference

from common.command_line import hide_prints
from common.text_files import load_yaml, read_text
from models.parts.action_model import ActionModel

STEM = "inference"  # every file of an export has this name before its suffix
MODEL_SUFFIXES = (".json", ".pdmodel")
HEADER = """\
# Written by tools/export.py; predict.py --exported reads it. The network takes RGB frames, uint8 (N, T, H, W, 3), or
# skeletons, float32 (N, M, T, V, C), and gives logits (N, num_classes); mean and std are inside it. How a video becomes
# clips stands in READER, in the words of reader/clips.py or reader/skeletons.py. average_clips: of a video's clips,
# average the soft-max scores (prob) or the logits (score).
"""


class ExportedModel(ActionModel):
    """A network that Paddle Inference runs; `evaluator.evaluate` takes it for a model.

    Args:
        folder: written by tools/export.py.
        device: `cpu`, or a GPU such as `gpu:0`.

    Attributes:
        description: the content of `inference.yaml`: `config` and `class_names` as in a checkpoint, `input` and more.

    Raises:
        FileNotFoundError: no such folder, or a file of it is missing.
        ValueError: a damaged file, or a format that this Paddle cannot read.
    """

    def __init__(self, folder: str, device: str = "cpu"):
        super().__init__()
        self.description = read_description(folder)
        self._predictor, self._has_run = _start_predictor(folder, self.description, device), False

    def forward(self, frames: paddle.Tensor | np.ndarray) -> paddle.Tensor:
        """Map frames, uint8 (N, T, H, W, 3), or skeletons, float32 (N, M, T, V, C), to logits (N, num_classes).

        Raises:
            ValueError: frames of another type or clip shape, which Paddle Inference would take for something else.
        """
        frames = np.asarray(frames)
        clip_shape, dtype = self.description["input"]["shape"][1:], self.description["input"]["dtype"]
        if frames.dtype != dtype or list(frames.shape[1:]) != clip_shape:
            raise ValueError(
                f"the exported network expects frames {dtype} (N, {', '.join(map(str, clip_shape))}), got "
                f"{frames.dtype} {frames.shape}; cut them as inference.yaml says"
            )
        source = self._predictor.get_input_handle(self._predictor.get_input_names()[0])
        source.copy_from_cpu(frames)
        with contextlib.nullcontext() if self._has_run else hide_prints(descriptor=1):
            self._predictor.run()
        self._has_run = True
        return paddle.to_tensor(self._predictor.get_output_handle(self._predictor.get_output_names()[0]).copy_to_cpu())


def find_files(folder: str) -> tuple[str, str]:
    """Return the paths of the network, in the format of any Paddle, and of its weights.

    Raises:
        FileNotFoundError: one is missing.
    """
    paths = []
    for suffixes in (MODEL_SUFFIXES, (".pdiparams",)):
        names = [STEM + suffix for suffix in suffixes]
        found = [name for name in names if os.path.isfile(os.path.join(folder, name))]
        if not found:
            raise FileNotFoundError(
                f"'{folder}' has no {' or '.join(names)}; copy the whole folder, or export it again"
            )
        paths.append(os.path.join(folder, found[0]))
    return tuple(paths)


def find_checksums(folder: str) -> dict:
    """Return {file name: CRC-32} of the network and its weights."""
    return {os.path.basename(path): zlib.crc32(pathlib.Path(path).read_bytes()) for path in find_files(folder)}


def format_description(description: dict) -> str:
    """Write a description as YAML with a comment for its human reader."""
    return HEADER + yaml.safe_dump(description, allow_unicode=True, sort_keys=False)


def read_description(folder: str) -> dict:
    """Read `inference.yaml`.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is damaged, or not of tools/export.py.
    """
    path = os.path.join(folder, f"{STEM}.yaml")
    text = read_text(path, "name a folder that tools/export.py wrote")
    try:
        found = load_yaml(text)
    except ValueError as error:
        raise ValueError(f"'{path}' is damaged: {error}; export it again") from error
    known = {"paddle", "onednn", "checksums", "input", "config", "class_names"}
    if not isinstance(found, dict) or not known <= set(found):
        raise ValueError(f"'{path}' was not written by tools/export.py; name a folder that was")
    return found


def _start_predictor(folder: str, description: dict, device: str) -> inference.Predictor:
    model_file, params_file = find_files(folder)
    origin = f"'{folder}' was exported by Paddle {description['paddle']}, Paddle {paddle.__version__} here"
    if model_file.endswith(".json") and paddle.__version__.startswith("2."):  # it would crash the process
        raise ValueError(f"{origin} cannot read that format; export the checkpoint again with this one")
    for name, checksum in find_checksums(folder).items():  # Paddle may answer a damaged file by nan or by a crash
        if checksum != description["checksums"].get(name):
            raise ValueError(f"'{folder}/{name}' is damaged or of another export; copy the whole folder again")
    config = inference.Config(model_file, params_file)
    config.disable_glog_info()
    if device.startswith("gpu"):
        config.enable_use_gpu(256, int(device.partition(":")[2] or 0))  # MiB to begin with
    else:
        config.disable_gpu()
        if description["onednn"]:
            config.enable_mkldnn()
        else:
            config.disable_mkldnn()
        config.set_cpu_math_library_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1").split(",")[0]))
    try:
        return inference.create_predictor(config)
    except (RuntimeError, ValueError) as error:
        raise ValueError(f"{origin} cannot load it; export the checkpoint again with this one") from error
