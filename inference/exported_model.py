"""Exported networks: the folder that tools/export.py writes, and Paddle Inference, which runs it without models/.

`inference.json` (Paddle 3) or `inference.pdmodel` (Paddle 2) holds the network, `inference.pdiparams` its weights, and
`inference.yaml` all else that is needed to use it right. The network takes frames as they are decoded, uint8 RGB
(N, T, H, W, 3), and gives logits: axis order, mean and standard deviation are part of the network. Heat maps, which are
not drawn by operators of Paddle on a CPU, are an input of it, and how they are drawn stands in the description.
"""

import os
import pathlib
import zlib

import numpy as np
import paddle
import yaml
from paddle import inference

from common.text_files import load_yaml, read_text
from engine.onednn.predictor import Session, use_cpu
from models.parts.action_model import ActionModel

STEM = "inference"  # every file of an export has this name before its suffix
MODEL_SUFFIXES = (".json", ".pdmodel")
DRAWN_INPUTS = ("pose",)  # their preparation is not part of the network
HEADER = """\
# Written by tools/export.py; predict.py --exported reads it. The network takes RGB frames, uint8 (N, T, H, W, 3), or
# skeletons, float32 (N, M, T, V, C), and gives logits (N, num_classes); mean and std are inside it. How a video becomes
# clips stands in READER, in the words of reader/clips.py or reader/skeletons.py. average_clips: of a video's clips,
# average the soft-max scores (prob) or the logits (score).
"""
HEADER_OF_DRAWING = """\
# Heat maps, float32 (N, K, T, H, W), are drawn outside of the network, as `drawing` says: a map of `size`, height and
# width, for each of `channels`, joints by their number, or limbs by those of their ends. A joint is a Gaussian,
# exp(-d^2 / (2 sigma^2)) at the distance d in pixels of the map, times the score of the key point, and 0 further than
# `window` times sigma to a side. A limb is the same with the distance from the line between its ends and the lower of
# their scores; one shorter than min_limb_length is drawn as its first joint. What has a score below min_score is left
# out, several persons are the maximum. reader/draw_heatmaps.py has the details. `outputs` names the logits of a network
# with several, whose scores are averaged over `modalities`.
"""


class ExportedModel(ActionModel):
    """A network that Paddle Inference runs; `evaluator.evaluate` takes it for a model.

    Args:
        folder: written by tools/export.py.
        device: `cpu`, or a GPU such as `gpu:0`.

    Attributes:
        description: the content of `inference.yaml`: `config` and `class_names` as in a checkpoint, `input` and more.
        inputs: "name", "dtype" and "shape" of each input, from `input` of the description.

    Raises:
        FileNotFoundError: no such folder, or a file of it is missing.
        ValueError: a damaged file, or a format that this Paddle cannot read.
    """

    def __init__(self, folder: str, device: str = "cpu"):
        super().__init__()
        self.description = read_description(folder)
        described = self.description["input"]
        self.inputs = described if isinstance(described, list) else [described]
        self.modalities = tuple(self.description.get("modalities", ()))
        self._session = _start_session(folder, self.description, device)

    def forward(self, *inputs: paddle.Tensor | np.ndarray) -> paddle.Tensor | dict:
        """Map inputs as they are described to logits (N, num_classes), or to {name: logits} of several heads.

        They are frames, uint8 (N, T, H, W, 3), skeletons, float32 (N, M, T, V, C), heat maps, float32 (N, K, T, H, W),
        or frames and heat maps.

        Raises:
            ValueError: inputs of another type or clip shape, which Paddle Inference would take for something else.
        """
        feed = {}
        for described, tensor in zip(self.inputs, inputs, strict=True):
            feed[described["name"]] = array = np.asarray(tensor)
            _check_input(array, **described)
        outputs = self._session.run(feed)
        return dict(zip(self.description["outputs"], outputs, strict=True)) if self.modalities else outputs[0]

    def name_outputs(self, outputs) -> dict:
        """Return the outputs by name."""
        return outputs if self.modalities else super().name_outputs(outputs)


def _check_input(array: np.ndarray, name: str, dtype: str, shape: list) -> None:
    """Raise ValueError for an array that is not as the description says."""
    if array.dtype != dtype or list(array.shape[1:]) != shape[1:]:
        raise ValueError(
            f"the exported network expects {name} {dtype} (N, {', '.join(map(str, shape[1:]))}), got "
            f"{array.dtype} {array.shape}; cut them as inference.yaml says"
        )


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
    header = HEADER + (HEADER_OF_DRAWING if "drawing" in description else "")
    return header + yaml.safe_dump(description, allow_unicode=True, sort_keys=False)


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


def _start_session(folder: str, description: dict, device: str) -> Session:
    model_file, params_file = find_files(folder)
    origin = f"'{folder}' was exported by Paddle {description['paddle']}, Paddle {paddle.__version__} here"
    if model_file.endswith(".json") and paddle.__version__.startswith("2."):  # it would crash the process
        raise ValueError(f"{origin} cannot read that format; export the checkpoint again with this one")
    for name, checksum in find_checksums(folder).items():  # Paddle may answer a damaged file by nan or by a crash
        if checksum != description["checksums"].get(name):
            raise ValueError(f"'{folder}/{name}' is damaged or of another export; copy the whole folder again")
    config = inference.Config(model_file, params_file)
    if device.startswith("gpu"):
        config.enable_use_gpu(256, int(device.partition(":")[2] or 0))  # MiB to begin with
    else:
        use_cpu(config, description["onednn"])
    try:
        return Session(config)
    except (RuntimeError, ValueError) as error:
        raise ValueError(f"{origin} cannot load it; export the checkpoint again with this one") from error
