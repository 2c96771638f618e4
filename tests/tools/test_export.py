"""The export tool: what Paddle Inference and ONNX Runtime compute is what the dynamic model computes, or nothing is."""

import os
import sys
import threading

import numpy as np
import paddle
import pytest
from exported_networks import assert_near, draw_inputs, run_dynamic, run_exported, save_case
from saved_models import PROTOCOLS, save_model
from small_networks import CASES, NUM_CLASSES, build, move_statistics

import recipe
from engine import checkpoint
from inference import exported_model
from models.parts.action_model import ActionModel
from tools import export
from tools.exports import onnx_network

pytestmark = pytest.mark.filterwarnings("ignore:When training, we now always track")

ODD_NAMES = ["No", "1e-4", "007", "1:30", "打篮球", "a # b", "null", "- x: {y}", " ", "two\nlines"]


every_network = pytest.mark.parametrize("name", list(CASES))


def list_leftovers(folder):
    """Name what a write that was broken off has left."""
    return [name for name in os.listdir(folder) if name.startswith(".unfinished")]


@every_network
def test_the_export_equals_the_dynamic_model(name, tmp_path, capsys):
    model = save_case(name, tmp_path / "weights")
    export.main([str(tmp_path / "weights"), "--out", str(tmp_path / "out")])
    network = exported_model.ExportedModel(str(tmp_path / "out"))
    inputs = draw_inputs(name, 3)
    expected = run_dynamic(model, inputs)
    first = {head: logits[:1] for head, logits in expected.items()}
    assert_near(run_exported(network, [array[:1] for array in inputs]), first)
    assert_near(run_exported(network, list(map(paddle.to_tensor, inputs))), expected)
    from_thread = []
    thread = threading.Thread(target=lambda: from_thread.append(run_exported(network, inputs)))
    thread.start()
    thread.join()
    assert_near(from_thread[0], expected)
    heads = list(expected.values())
    for one, other in zip(heads, [*heads[1:], heads[0][::-1]], strict=True):  # the comparisons can fail
        assert one.shape != other.shape or np.abs(one - other).max() > 1e-4 * np.abs(one).max()
    assert network.modalities == tuple(model.modalities)
    np.testing.assert_array_equal(network.fuse(expected), model.fuse(expected))
    printed = capsys.readouterr().out
    assert f"{name} of {tmp_path / 'weights'}" in printed and "of the largest logit" in printed
    assert "dynamic: 3 clips in " in printed
    assert "with oneDNN: 3 clips in " in printed or "with oneDNN: cannot run this network (" in printed


def test_the_folder_holds_three_files_that_a_person_can_tell(tmp_path):
    save_case("resnet", tmp_path / "weights")
    export.main(["--weights", str(tmp_path / "weights"), "--out", str(tmp_path / "new" / "out")])
    suffix = "pdmodel" if paddle.__version__.startswith("2.") else "json"
    names = set(os.listdir(tmp_path / "new" / "out")) - {"inference.pdiparams.info"}  # Paddle 2 writes it besides
    assert names == {f"inference.{suffix}", "inference.pdiparams", "inference.yaml"}
    text = (tmp_path / "new" / "out" / "inference.yaml").read_text(encoding="utf-8")
    assert text.startswith("# Written by tools/export.py") and "- B\n" in text and "    clip_len: 8\n" in text
    description = exported_model.read_description(str(tmp_path / "new" / "out"))
    assert description["paddle"] == paddle.__version__
    assert (description["checkpoint"], description["epoch"]) == (str(tmp_path / "weights"), 2)
    assert description["input"] == {"name": "frames", "dtype": "uint8", "shape": [-1, 8, 32, 32, 3]}
    assert description["config"]["MODEL"]["depth"] == 10
    assert list_leftovers(tmp_path / "new") == []


@pytest.mark.parametrize("test, sections", [*PROTOCOLS, ({}, {"READER": {"mean": [1e-5, 0.5, 1]}})])
def test_the_description_says_how_to_cut_views_as_the_checkpoint_does(test, sections, tmp_path):
    weights = save_model(tmp_path / "weights", test, **sections)
    state = {**checkpoint.load_checkpoint(weights), "class_names": ODD_NAMES}
    (tmp_path / "inference.json").write_bytes(b"network")
    (tmp_path / "inference.pdiparams").write_bytes(b"weights")
    text = exported_model.format_description(export.describe(weights, state, [{"name": "frames"}], str(tmp_path)))
    assert "- 打篮球\n" in text  # a person can read it
    (tmp_path / "inference.yaml").write_text(text, encoding="utf-8")
    found = exported_model.read_description(str(tmp_path))
    assert found["class_names"] == ODD_NAMES
    assert found["config"]["RUN"] == {"average_clips": state["config"]["RUN"]["average_clips"]}
    readers = [recipe.open_reader(one["config"]) for one in (state, found)]
    frames = np.random.default_rng(0).integers(0, 256, (50, readers[0].short_size, 40, 3), np.uint8)
    views, found_views = (reader.make_views(frames) for reader in readers)
    np.testing.assert_array_equal(views["rgb"], found_views["rgb"])
    assert (readers[0].short_size, readers[0].mean) == (readers[1].short_size, readers[1].mean)
    assert not {"filelist", "flip_ratio", "num_workers"} & set(found["config"]["READER"])


def test_the_moving_average_is_exported_where_there_is_one(tmp_path):
    model = build("resnet")
    average = {"fc.bias": np.array([5, 6, 7, 8], np.float32)}
    save_case("resnet", tmp_path / "weights", ema=average)
    export.main([str(tmp_path / "weights"), "--out", str(tmp_path / "out")])
    move_statistics(model, "resnet")
    checkpoint.restore_model(model, {**checkpoint.model_state(model), **average})
    expected = run_dynamic(model, draw_inputs("resnet", 2))
    assert_near(run_exported(exported_model.ExportedModel(str(tmp_path / "out")), draw_inputs("resnet", 2)), expected)


@pytest.mark.parametrize("error, onednn", [(1e-6, True), (8e-6, False)])
def test_onednn_is_off_where_it_comes_near_the_tolerance(error, onednn, tmp_path, monkeypatch):
    class Rounded(exported_model.ExportedModel):
        def __call__(self, frames):
            return super().__call__(frames) * (1 + error * self.description["onednn"])

    monkeypatch.setattr(exported_model, "ExportedModel", Rounded)
    save_case("resnet", tmp_path / "weights")
    export.main([str(tmp_path / "weights"), "--out", str(tmp_path / "out")])
    assert exported_model.read_description(str(tmp_path / "out"))["onednn"] is onednn


# What is refused.


@pytest.fixture
def earlier(tmp_path):
    """A folder that holds what could be an earlier export."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "inference.yaml").write_text("earlier")
    return tmp_path / "out"


def test_a_new_export_takes_the_place_of_an_earlier_one(tmp_path, earlier):
    (earlier / "inference.onnx").write_bytes(b"of other weights")
    os.symlink(earlier, tmp_path / "link")
    save_case("resnet", tmp_path / "weights")
    export.main([str(tmp_path / "weights"), "--out", str(tmp_path / "link")])
    assert exported_model.read_description(str(earlier))["epoch"] == 2
    assert not (earlier / "inference.onnx").exists() and (tmp_path / "link").is_symlink()
    assert list_leftovers(tmp_path) == []


def test_an_export_that_computes_something_else_is_not_kept(tmp_path, earlier, monkeypatch):
    class Wrong(exported_model.ExportedModel):
        def __call__(self, frames):
            return super().__call__(frames) * 1.0001

    monkeypatch.setattr(exported_model, "ExportedModel", Wrong)
    save_case("resnet", tmp_path / "weights")
    message = r"the exported network differs from the dynamic one by 1.0e-04 of the largest logit, at most 1e-05"
    with pytest.raises(ValueError, match=message):
        export.main([str(tmp_path / "weights"), "--out", str(earlier)])
    assert os.listdir(earlier) == ["inference.yaml"] and list_leftovers(tmp_path) == []


class Answers(ActionModel):
    """Gives the first array for one clip, the second one for several."""

    def __init__(self, arrays):
        super().__init__()
        self.arrays = arrays

    def forward(self, inputs):
        """Return it."""
        return self.arrays[len(inputs) > 1]


@pytest.mark.parametrize("batch", [0, 1])
def test_the_largest_difference_in_any_batch_counts(batch, capsys):
    batches = [[np.zeros((size, 1), np.float32)] for size in export.BATCHES]
    expected = [np.array([[-100.0, 1]]), np.array([[0, 10.0], [1, 2], [3, 4]])]
    for error in (9e-6, 1.1e-5, np.nan):
        got = [logits.copy() for logits in expected]
        got[batch][-1, 1] += error * np.abs(expected[batch]).max()
        difference = export.compare("X", Answers(got), batches, expected)
        assert difference == pytest.approx(error, nan_ok=True)
        assert f"differs by {error:.1e} of the largest logit" in capsys.readouterr().out


def test_what_is_not_near_enough_is_refused():
    export.check_difference(9e-6, 1e-5)
    for difference in (1.1e-5, np.nan, np.inf):
        with pytest.raises(
            ValueError, match=f"differs from the dynamic one by {difference:.1e} of .* at most 1e-05 is"
        ):
            export.check_difference(difference, 1e-5)


def test_weights_that_give_nan_are_not_exported(tmp_path):
    save_case("resnet", tmp_path / "weights", ema={"fc.bias": np.full(4, np.nan, np.float32)})
    with pytest.raises(ValueError, match="differs from the dynamic one by nan"):
        export.main([str(tmp_path / "weights"), "--out", str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()


def test_a_broken_off_export_leaves_the_earlier_one(tmp_path, earlier, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(export, "write_description", stop)
    save_case("resnet", tmp_path / "weights")
    with pytest.raises(KeyboardInterrupt):
        export.main([str(tmp_path / "weights"), "--out", str(earlier)])
    assert (earlier / "inference.yaml").read_text() == "earlier" and list_leftovers(tmp_path) == []


def test_other_things_are_not_overwritten(tmp_path, earlier):
    save_case("resnet", tmp_path / "weights")
    (earlier / "notes.txt").write_text("mine")
    for out, message in ((earlier, "holds what is of no export, such as 'notes.txt'"), ("weights.pdparams", "a file")):
        with pytest.raises(ValueError, match=message):
            export.main([str(tmp_path / "weights"), "--out", str(tmp_path / out)])
    assert sorted(os.listdir(earlier)) == ["inference.yaml", "notes.txt"]


def test_weights_without_a_config_and_two_names_of_weights_are_refused(tmp_path, capsys):
    checkpoint.save_checkpoint(str(tmp_path / "bare"), {"model": {"a": np.zeros(1)}})
    with pytest.raises(ValueError, match="bare' holds weights only, not how to prepare frames"):
        export.main([str(tmp_path / "bare"), "--out", str(tmp_path / "out")])
    with pytest.raises(SystemExit):
        export.main(["a", "--weights", "b"])
    assert "not allowed with argument" in capsys.readouterr().err


@pytest.mark.parametrize("missing", ["paddle2onnx", "onnxruntime"])
def test_onnx_says_what_to_install_before_anything_is_done(missing, monkeypatch):
    for name in ("paddle2onnx", "onnxruntime"):
        monkeypatch.setitem(sys.modules, name, sys)
    monkeypatch.setitem(sys.modules, missing, None)
    for version, advice in (("2.6.2", "paddle2onnx==1.2.11 onnxruntime"), ("3.3.1", "paddle2onnx onnxruntime")):
        monkeypatch.setattr(paddle, "__version__", version)
        with pytest.raises(ValueError, match=f"--onnx: .*{missing}.*for this Paddle: pip install {advice}"):
            export.main(["no such weights", "--onnx"])


@every_network
def test_onnx_equals_the_dynamic_model(name, tmp_path):
    reason = "paddle2onnx and onnxruntime are not installed; they are needed for --onnx only"
    pytest.importorskip("paddle2onnx", reason=reason)
    onnxruntime = pytest.importorskip("onnxruntime", reason=reason)
    model = save_case(name, tmp_path / "weights")
    export.main([str(tmp_path / "weights"), "--out", str(tmp_path / "out"), "--onnx"])
    session = onnxruntime.InferenceSession(str(tmp_path / "out" / "inference.onnx"), providers=["CPUExecutionProvider"])
    for num_clips in (1, 2, 5):
        inputs = draw_inputs(name, num_clips)
        if list(CASES[name].input_shape) == ["skeleton"]:  # any number of frames
            inputs = [np.concatenate([inputs[0]] * num_clips, axis=2)[:, :, num_clips - 1 :]]
        names = [each.name for each in session.get_inputs()]
        expected = run_dynamic(model, inputs)
        logits = session.run(None, dict(zip(names, inputs, strict=True)))
        assert_near(dict(zip(expected, logits, strict=True)), expected, 1e-4)


class Converter:
    """A paddle2onnx and an ONNX Runtime that convert nothing, or something else."""

    def __init__(self, error=None, factor=1.0):
        self.error, self.factor = error, factor

    def __call__(self, model, parameters):
        if self.error:
            raise self.error
        return b"onnx"

    def InferenceSession(self, path, providers):
        return self

    def get_inputs(self):
        return [self]

    name = "frames"

    def run(self, _, inputs):
        return [np.zeros((len(inputs["frames"]), NUM_CLASSES), np.float32) * self.factor]


def test_a_converter_runs_in_a_process_of_its_own(tmp_path, monkeypatch):
    source = "def export(*paths, **options):\n    return repr((paths, options)).encode()\n"
    (tmp_path / "paddle2onnx.py").write_text(source, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    options = {"opset_version": onnx_network.OPSET, "verbose": False}
    assert onnx_network.convert("model", "parameters") == repr((("model", "parameters"), options)).encode()
    assert "paddle2onnx" not in sys.modules


def test_a_converter_that_aborts_its_process_is_told_by_its_first_error(tmp_path, monkeypatch):
    said = "Start\\n[ERROR] no such operator\\n[ERROR] unsupported features\\nAborted"
    source = f"import os\ndef export(*_, **__):\n    print('{said}', flush=True)\n    os.abort()\n"
    (tmp_path / "paddle2onnx.py").write_text(source, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(OSError, match=r"^\[ERROR\] no such operator$"):
        onnx_network.convert("model", "parameters")


@pytest.mark.parametrize(
    "converter, fault",
    [
        (Converter(RuntimeError("[ERROR]\n  Reshape: several -1\n")), "Reshape: several -1"),
        (Converter(Exception()), "Exception"),
        (Converter(), "it differs by 1.0e.00 of the largest logit"),
        (Converter(factor=np.nan), "it differs by nan of the largest logit"),
    ],
)
def test_what_cannot_be_converted_keeps_the_paddle_export(converter, fault, tmp_path, monkeypatch, earlier):
    (earlier / "inference.onnx").write_bytes(b"of other weights")
    model = save_case("stgcn", tmp_path / "weights")
    monkeypatch.setattr(export, "import_onnx", lambda: (converter, converter))
    with pytest.raises(ValueError, match=f"--onnx: stgcn was not converted: {fault}; the Paddle export in .* is whole"):
        export.main([str(tmp_path / "weights"), "--out", str(earlier), "--onnx"])
    inputs = draw_inputs("stgcn", 2)
    assert_near(run_exported(exported_model.ExportedModel(str(earlier)), inputs), run_dynamic(model, inputs))
    assert not (earlier / "inference.onnx").exists() and list_leftovers(tmp_path) == []


def test_the_script_as_a_user_runs_it(tmp_path, run_script):
    save_case("resnet", tmp_path / "checkpoints_models" / "resnet_model")
    done = run_script("tools/export.py", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "next: python predict.py --exported output/exported --input video.avi" in done.stdout
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["dynamic:", "Paddle", "output/exported:", "next:"]
    assert (tmp_path / "output" / "exported" / "inference.yaml").is_file()
    done = run_script("tools/export.py", "nowhere", cwd=tmp_path)
    assert done.returncode == 1 and done.stderr.startswith("FileNotFoundError: no checkpoint 'nowhere.pdparams'")
