"""Exported networks: files that are missing, damaged or of another Paddle end in a sentence, not in nan or a crash."""

import os
import shutil
import zlib

import numpy as np
import paddle
import pytest
from saved_models import save_model

from inference import exported_model
from tools import export

SHAPE = (8, 24, 24, 3)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """An export."""
    folder = tmp_path_factory.mktemp("exported")
    export.main([save_model(folder / "weights"), "--out", str(folder / "out")])
    return folder / "out"


@pytest.fixture
def folder(whole, tmp_path):
    """A copy of the export that a test may damage."""
    return shutil.copytree(whole, tmp_path / "copy")


def change(path, old, new):
    """Change a text file."""
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def cut(path):
    """Leave the first half of a file; return the checksums of before and after."""
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    return str(zlib.crc32(content)), str(zlib.crc32(content[: len(content) // 2]))


def find_network(folder):
    """Return the path of the network itself."""
    return next(path for path in folder.iterdir() if path.suffix in (".json", ".pdmodel"))


def test_a_whole_folder_maps_frames_to_logits(whole):
    network = exported_model.ExportedModel(str(whole))
    assert list(network(np.zeros((2, *SHAPE), np.uint8)).shape) == [2, 6]
    backwards = np.random.default_rng(0).integers(0, 256, (1, *SHAPE), np.uint8)[:, ::-1]  # not in one piece in memory
    np.testing.assert_array_equal(network(backwards).numpy(), network(backwards.copy()).numpy())


@pytest.mark.parametrize("name", ["inference.yaml", "inference.pdiparams", "the network"])
def test_a_missing_file_is_named(folder, name):
    path = find_network(folder) if name == "the network" else folder / name
    path.unlink()
    named = {
        "inference.yaml": "yaml' does not exist",
        "the network": "copy' has no inference.json or inference.pdmodel",
    }
    with pytest.raises(FileNotFoundError, match=named.get(name, f"copy' has no {name}; copy the whole folder")):
        exported_model.ExportedModel(str(folder))


def test_a_damaged_file_is_named(folder, whole):
    for path in (folder / "inference.pdiparams", find_network(folder)):
        cut(path)
        with pytest.raises(ValueError, match=f"copy/{path.name}' is damaged or of another export"):
            exported_model.ExportedModel(str(folder))
        shutil.copy(whole / path.name, path)
    exported_model.ExportedModel(str(folder))


def test_a_folder_of_another_paddle_is_refused_before_paddle_crashes(folder, monkeypatch):
    if find_network(folder).suffix == ".pdmodel":
        os.rename(find_network(folder), folder / "inference.json")
    change(folder / "inference.yaml", f"paddle: {paddle.__version__}", "paddle: 3.3.1")
    monkeypatch.setattr(paddle, "__version__", "2.6.2")
    with pytest.raises(ValueError, match="by Paddle 3.3.1, Paddle 2.6.2 here cannot read that format; export the che"):
        exported_model.ExportedModel(str(folder))


def test_a_format_that_paddle_does_not_know_is_told(folder):
    before, after = cut(find_network(folder))  # whole by its checksum, so only Paddle can tell
    change(folder / "inference.yaml", before, after)
    with pytest.raises(ValueError, match=f"Paddle {paddle.__version__} here cannot load it; export the checkpoint"):
        exported_model.ExportedModel(str(folder))


@pytest.mark.parametrize(
    "text, message",
    [
        ("a: [1", "inference.yaml' is damaged: .*; export it again"),
        ("Global:\n  model_name: x\n", "was not written by tools/export.py"),
        ("just words", "was not written by tools/export.py"),
        ("", "was not written by tools/export.py"),
    ],
)
def test_another_description_is_refused(folder, text, message):
    (folder / "inference.yaml").write_text(text)
    with pytest.raises(ValueError, match=message):
        exported_model.ExportedModel(str(folder))


@pytest.mark.parametrize(
    "frames",
    [
        np.zeros((1, *SHAPE), np.float32),
        np.zeros((1, 16, 24, 24, 3), np.uint8),
        np.zeros((1, 3, 8, 24, 24), np.uint8),
        np.zeros(SHAPE, np.uint8),
    ],
    ids=["float", "longer", "channels first", "no batch"],
)
def test_frames_of_another_kind_are_refused(whole, frames):
    with pytest.raises(ValueError, match=r"expects frames uint8 \(N, 8, 24, 24, 3\), got (float32|uint8) \("):
        exported_model.ExportedModel(str(whole))(frames)


@pytest.mark.gpu
def test_a_gpu_computes_what_the_cpu_does(whole):
    frames = np.random.default_rng(0).integers(0, 256, (2, *SHAPE), np.uint8)
    on_cpu, on_gpu = (exported_model.ExportedModel(str(whole), device)(frames).numpy() for device in ("cpu", "gpu:0"))
    np.testing.assert_allclose(on_gpu, on_cpu, rtol=0, atol=1e-2 * np.abs(on_cpu).max())
