"""PyTorch weights in: from a file of torch.save to logits, scores, predictions and a fine-tuned network."""

import hashlib
import json
import os
import re
import shlex
import subprocess
import sys

import fake_torch
import numpy as np
import paddle
import pytest
from paths import ROOT
from small_dataset import CLASSES, draw_frames, make_tree, write_config

import predict
import recipe
import test
import train
from dataset import splits
from engine import checkpoint, flags
from models import MODELS, build_model
from tools import convert_weights
from tools.golden import vectors

SOURCE = ["--source", "3d-resnets-pytorch"]
SMALL = ["--model", "resnet", "-o", "MODEL.depth=10", "-o", "MODEL.widen_factor=0.125", "-o", "MODEL.conv1_t_size=3"]
ARGUMENTS = {"depth": 10, "widen_factor": 0.125, "conv1_t_size": 3, "num_classes": len(CLASSES)}
WRITERS = {"zip": fake_torch.write_zip, "legacy": fake_torch.write_legacy}


@pytest.fixture(scope="module")
def weights():
    """Weights of a small network, as its own state dict has them."""
    paddle.seed(5)
    state = checkpoint.model_state(build_model("resnet", **ARGUMENTS))
    rng = np.random.default_rng(5)
    for name in state:
        if name.endswith("_mean"):
            state[name] = rng.normal(size=state[name].shape).astype(np.float32)
    state["fc.weight"] = 40 * state["fc.weight"]  # so that classes differ by more than a percent
    return state


def as_torch(weights, prefix="module."):
    """Give {name: array} as PyTorch would have saved it."""
    named = {}
    for name, value in weights.items():
        named[prefix + name.replace("_mean", "running_mean").replace("_variance", "running_var")] = value
        if name.endswith("_variance"):
            named[prefix + name.replace("_variance", "num_batches_tracked")] = np.int64(9)
    named[prefix + "fc.weight"] = weights["fc.weight"].T
    return named


def as_tensors(arrays):
    """Turn {name: array} into tensors that the writers take."""
    return {name: fake_torch.tensor(value) for name, value in arrays.items()}


@pytest.fixture
def write(tmp_path, weights):
    """Write a checkpoint as a trainer does, in any format; keywords replace its entries; return its path."""

    def write(format="zip", name="r3d10_200ep.pth", **changes):
        content = {"epoch": 200, "arch": "resnet-10", "state_dict": as_tensors(as_torch(weights)), "optimizer": {}}
        return str(WRITERS[format](tmp_path / name, content | changes))

    return write


@pytest.fixture(autouse=True)
def _stand_elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # logger.log is written where one stands


def assert_same_weights(path, weights):
    loaded = checkpoint.load_checkpoint(path)["model"]
    assert set(loaded) == set(weights)
    for name, value in weights.items():
        assert loaded[name].dtype == np.float32
        np.testing.assert_array_equal(loaded[name], value, err_msg=name)


@pytest.mark.parametrize("format, name", [("zip", "r3d_resnet10_B_conv1t3_cls400"), ("legacy", "r3d_densenet121")])
def test_the_authors_logits_come_out(tmp_path, format, name):
    reference = vectors.load(name)
    path = WRITERS[format](tmp_path / "a.pth", {"state_dict": as_tensors(vectors.draw_weights(reference, gain=2))})
    model_name, arguments = vectors.describe(reference)
    words = [f"-oMODEL.{key}={value}" for key, value in arguments.items() if key != "num_classes"]
    convert_weights.main([str(path), *SOURCE, "--model", model_name, *words])
    state = checkpoint.load_checkpoint("a.pdparams")
    model = build_model(**state["source"]["model"])
    checkpoint.restore_model(model, state["model"])
    model.eval()
    logits = model(paddle.to_tensor(vectors.draw_input(reference))).numpy()
    expected = np.array(reference["logits"])
    assert logits.shape == expected.shape
    np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-4 * np.abs(expected).max())


def test_a_checkpoint_that_a_run_goes_on_from_is_not_written_over(write):
    path = write()
    checkpoint.save_checkpoint("run_model", {"model": {"fc.bias": np.zeros(2, np.float32)}, "optimizer": {}})
    with pytest.raises(ValueError, match="--out run_model is the checkpoint of a run, which goes on from it; choose"):
        convert_weights.main([path, *SOURCE, *SMALL, "--out", "run_model"])
    assert "optimizer" in checkpoint.load_checkpoint("run_model")


@pytest.mark.parametrize("format", WRITERS)
def test_what_is_written_and_told(write, weights, format, capsys):
    path = write(format)
    convert_weights.main([path, *SOURCE, *SMALL])
    out = path.removesuffix(".pth")
    assert_same_weights(out, weights)
    digest = hashlib.sha256(open(path, "rb").read()).hexdigest()
    source = {"file": "r3d10_200ep.pth", "sha256": digest, "repository": SOURCE[1], "arch": "resnet-10", "epoch": 200}
    state = checkpoint.load_checkpoint(out)
    defaults = {"shortcut": "B", "conv1_t_stride": 1, "no_max_pool": False, "in_channels": 3}
    assert state["source"] == {**source, "model": {"name": "resnet", **ARGUMENTS, **defaults}}
    assert set(state) == {"model", "class_names", "source"} and state["class_names"] == []
    told = capsys.readouterr().out
    # 62 of the small network: 12 convolutions, 12 batch norms of 4 arrays, 2 of the linear layer
    assert f"{path}: 74 tensors under 'state_dict'\narch: resnet-10\nepoch: 200\nsha256: {digest}\n" in told
    num_parameters = sum(value.size for name, value in weights.items() if "._" not in name)
    assert f"converted: 62 tensors into ResNet3D, {num_parameters:,} parameters\n" in told
    assert "skipped: 12 counters (num_batches_tracked), which Paddle's batch norm does not have\n" in told
    assert f"python train.py --pretrain {out} -o 'RUN.ignore_weights=[fc.*]'\n" in told
    assert f"written: {out}.pdparams\n" in told and f"python test.py --weights {out} --config FILE\n" in told
    assert "it names no classes: give them with --class_index" in told


def test_a_converted_file_is_scored_predicted_with_and_fine_tuned(write, tmp_path, weights):
    make_tree(tmp_path / "data")
    write_config(tmp_path / "c.txt")
    lines = [f"{label + 1} {name}\n" for label, name in enumerate(CLASSES)]
    (tmp_path / "classes.txt").write_text("".join(lines), encoding="utf-8")
    words = ["--config", "c.txt", "--class_index", "classes.txt", "--out", "weights/r3d10"]
    convert_weights.main([write(), *SOURCE, *words, "-o", "TEST.num_clips=2"])
    state = checkpoint.load_checkpoint("weights/r3d10")
    assert state["class_names"] == CLASSES and state["config"]["TEST"]["num_clips"] == 2

    def score(weights_path, *more):
        test.main(["--weights", weights_path, "--root", "data", "--out", f"{weights_path}.json", *more])
        with open(f"{weights_path}.json", encoding="utf-8") as file:
            return json.load(file)

    ours = {"model": weights, "config": state["config"], "class_names": CLASSES}
    checkpoint.save_checkpoint("ours", ours)  # the same weights, never turned over
    converted, direct = score("weights/r3d10"), score("ours")
    assert converted["samples"] == direct["samples"]
    assert converted["summary"]["protocol"]["num_clips"] == 2

    (tmp_path / "frames").mkdir()
    for index, picture in enumerate(draw_frames("Left", seed=1)):
        (tmp_path / "frames" / f"{index + 1:05d}.jpg").write_bytes(picture)
    assert predict.main(["weights/r3d10", "--use_gpu", "False", "--input", "frames"]) == 0
    with open("output/predict/frames_predict.json", encoding="utf-8") as file:
        assert {one["class"] for one in json.load(file)["top_k"]} == set(CLASSES)

    train.main(
        ["--config", "c.txt", "--root", "data", "--save_dir", "out", "--pretrain", "weights/r3d10", "--epoch", "1"]
        + ["-o", "RUN.ignore_weights=[fc.*]", "-o", "OPTIMIZER.learning_rate=1e-60", "-o", "RUN.validate=False"]
    )
    tuned = checkpoint.load_checkpoint("out/resnet_model")["model"]
    np.testing.assert_array_equal(tuned["layer3.0.conv1.weight"], weights["layer3.0.conv1.weight"])
    assert not np.array_equal(tuned["fc.weight"], weights["fc.weight"])


def test_without_a_config_one_has_to_be_named_later(write, tmp_path):
    convert_weights.main([write(), *SOURCE, *SMALL, "--out", "w"])
    with pytest.raises(ValueError, match="'w' holds weights only; name the config they were trained with: --config"):
        test.main(["--weights", "w"])
    with pytest.raises(ValueError, match="'w' holds weights only, not how to prepare frames"):
        predict.main(["w", "--input", "."])
    make_tree(tmp_path / "data")
    write_config(tmp_path / "c.txt")
    test.main(["--weights", "w", "--config", "c.txt", "--root", "data"])  # its class names come from the list


@pytest.mark.parametrize("place", ["state_dict", "model_state_dict", "model_state", "model", None])
def test_a_state_dict_is_found_where_trainers_put_it(tmp_path, weights, place):
    tensors = as_tensors(as_torch(weights, prefix=""))
    content = tensors if place is None else {"step": fake_torch.tensor(np.zeros(2)), "config": {}, place: tensors}
    fake_torch.write_zip(tmp_path / "a.pth", content)
    convert_weights.main(["a.pth", *SOURCE, *SMALL])
    assert_same_weights("a", weights)


def test_safetensors_and_other_precisions(tmp_path, weights):
    arrays = as_torch(weights, prefix="")
    halves = {name: np.float16(value) if value.dtype.kind == "f" else value for name, value in arrays.items()}
    fake_torch.write_safetensors(tmp_path / "a.safetensors", halves)
    doubles = {name: np.float64(value) if value.dtype.kind == "f" else value for name, value in arrays.items()}
    fake_torch.write_legacy(tmp_path / "b.pth", as_tensors(doubles))
    convert_weights.main(["a.safetensors", *SOURCE, *SMALL])
    convert_weights.main(["b.pth", *SOURCE, *SMALL])
    assert_same_weights("a", {name: np.float32(np.float16(value)) for name, value in weights.items()})
    assert_same_weights("b", weights)


def test_a_hostile_checkpoint_is_converted_and_runs_nothing(write, weights, tmp_path):
    class Hostile:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path / 'it_ran'}",)

    convert_weights.main([write(optimizer=Hostile(), arch=Hostile()), *SOURCE, *SMALL, "--out", "a"])
    assert_same_weights("a", weights)
    assert "arch" not in checkpoint.load_checkpoint("a")["source"]
    assert not (tmp_path / "it_ran").exists()


@pytest.mark.parametrize("text", ["Down\nLeft\nRight\n", "2 Left\n1 Down\n3 Right\n"])
def test_class_names_stand_one_a_line_or_by_number(tmp_path, text):
    (tmp_path / "names.txt").write_text(text, encoding="utf-8")
    assert convert_weights.read_names(str(tmp_path / "names.txt")) == CLASSES


def test_entries_without_a_place_are_named(write, weights, capsys, monkeypatch):
    state = as_tensors(as_torch(weights)) | {"module.aux.weight": fake_torch.tensor(np.ones(2)), "extra_state": "text"}

    def drop_aux(named):
        return {name: value for name, value in named.items() if not name.startswith("aux")}

    monkeypatch.setattr(MODELS["resnet"], "WEIGHT_SOURCES", {SOURCE[1]: drop_aux})
    convert_weights.main([write(state_dict=state), *SOURCE, *SMALL])
    assert ", which Paddle's batch norm does not have, module.aux.weight, extra_state\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    "words, message",
    [
        (["-o", "MODEL.depth=18"], "entries do not fit this ResNet3D: layer1.1.conv1.weight is missing"),
        (["-o", "MODEL.num_classes=4"], "fc.weight has shape [64, 3], the model [64, 4]"),
        (["-o", "MODEL.dept=18"], "--model resnet -o MODEL: unknown key 'dept'; did you mean 'depth'?"),
        (["-o", "MODEL.depth=ten"], "--model resnet -o MODEL: depth: expected int from 1 to 1000000, got 'ten'"),
        (["-o", "TEST.num_clips=2"], "-o TEST: only MODEL keys go without --config"),
        (["--class_index", "classes.txt"], "classes.txt names 2 classes, a.pth has 3; give the names it was trained"),
    ],
)
def test_what_does_not_fit_is_told_and_nothing_is_written(write, tmp_path, monkeypatch, words, message):
    (tmp_path / "classes.txt").write_text("1 Down\n2 Left\n", encoding="utf-8")
    write(name="a.pth")
    with pytest.raises(ValueError) as caught:
        convert_weights.main(["a.pth", *SOURCE, *SMALL, *words])
    assert message in str(caught.value)
    assert not list(tmp_path.glob("*.pdparams"))


def test_files_without_usable_weights(write, tmp_path, weights, monkeypatch):
    def refusal(path):
        with pytest.raises(ValueError) as caught:
            convert_weights.main([str(path), *SOURCE, *SMALL])
        return str(caught.value)

    class Net:
        __module__, __qualname__ = "small_dataset", "Net"

    monkeypatch.setattr("small_dataset.Net", Net, raising=False)
    assert "holds a whole 'small_dataset.Net' object, which only its own code" in refusal(
        fake_torch.write_zip(tmp_path / "a.pth", Net())
    )
    assert "holds no weights: it has epoch, arch, state_dict, optimizer; save" in refusal(write(state_dict={}))
    assert "it is a list" in refusal(fake_torch.write_zip(tmp_path / "b.pth", [1]))
    assert "the file has no linear layer: it holds a part" in refusal(
        write(state_dict=as_tensors({"conv1.weight": weights["conv1.weight"]}))
    )
    for value in (np.nan, 1e300):
        spoilt = as_torch(weights) | {"module.fc.bias": np.array([1.0, value, 0.0])}
        assert "module.fc.bias has infinite or undefined values" in refusal(write(state_dict=as_tensors(spoilt)))
    monkeypatch.setattr(MODELS["resnet"], "WEIGHT_SOURCES", {})
    assert "--source 3d-resnets-pytorch: ResNet3D takes no weights of that repository; known: none" in refusal(write())


@pytest.mark.parametrize(
    "words, message",
    [
        ([], "the following arguments are required: file, --source"),
        (["a.pth", "--model", "resnet"], "the following arguments are required: --source"),
        (["a.pth", *SOURCE], "one of the arguments --config --model is required"),
        (["a.pth", *SOURCE, "--model", "resnet50"], "argument --model: invalid choice: 'resnet50'"),
        (["a.pth", "--source", "torchvision", "--model", "resnet"], "argument --source: invalid choice: 'torchvision'"),
        (
            ["a.pth", *SOURCE, "--model", "resnet", "--classes", "x"],
            "unknown flag '--classes'; did you mean '--class_in",
        ),
    ],
)
def test_flags_that_are_refused(words, message, capsys):
    with pytest.raises(SystemExit):
        convert_weights.parse_arguments(words)
    assert message in capsys.readouterr().err


def test_as_a_user_runs_it(write, weights, tmp_path, run_script):
    run = run_script("tools/convert_weights.py", write(), *SOURCE, *SMALL, "--out", "made/w.pdparams", cwd=tmp_path)
    assert run.returncode == 0 and "written: made/w.pdparams" in run.stdout, run.stderr
    assert_same_weights("made/w", weights)
    run = run_script("tools/convert_weights.py", "none.pth", *SOURCE, *SMALL, cwd=tmp_path)
    assert run.returncode == 1
    assert run.stderr == "FileNotFoundError: 'none.pth' does not exist or is no file; check the path\n"


ZOO = (ROOT / "MODEL_ZOO.md").read_text(encoding="utf-8")
LINES = [line for line in ZOO.splitlines() if line.startswith("| `")]
ROWS = [[cell.strip(" `") for cell in line.strip("|").split("|")] for line in LINES]
BLOCKS = re.findall(r"^```\n(.*?)^```$", ZOO, re.MULTILINE | re.DOTALL)
PARSERS = {
    "tools/convert_weights.py": convert_weights.parse_arguments,
    "train.py": flags.parse_train,
    "predict.py": flags.parse_predict,
}
KINDS = {"r3d": "resnet", "r2p1d": "r2plus1d", "resnet-": "resnet", "preresnet-": "preresnet"}  # as files are called
WORDS = {  # in the name of a config -> its network, the first that is found
    **{word: word for word in ("tpn", "tsm", "posec3d", "rgbposeconv3d", "slowfast", "i3d")},
    "r2plus1d": "mmaction2_r2plus1d",
    "c3d_light": "c3d",
    "x3d_shallow": "x3d",
}
NUM_CLASSES = {"K": 700, "KM": 1039, "KMS": 1139, "KS": 800, "M": 339, "MS": 439, "S": 100}  # the authors' README


FILES = [row for row in ROWS if row[0].endswith((".pth", ".pdparams"))]
HARA_ROWS, TPN_ROWS = ([row for row in FILES if row[0].endswith(".pth") and len(row) == size] for size in (6, 5))
PADDLEVIDEO_ROWS = [row for row in FILES if row[0].endswith(".pdparams")]


@pytest.mark.parametrize("row", TPN_ROWS, ids=lambda row: row[0])
def test_a_row_of_tpn_names_a_config_whose_network_is_the_files(row, monkeypatch):
    monkeypatch.chdir(ROOT)
    name, address, line, expected, ours = row
    args = convert_weights.parse_arguments(shlex.split(line)[2:])
    config = convert_weights.read_config(args)
    section = config["MODEL"]
    assert args.file == name and args.out == f"weights/{name.removesuffix('.pth')}"
    assert section["name"] == next((kind for word, kind in WORDS.items() if word in args.config), "slowonly")
    assert section.get("depth", 50) == int((re.findall(r"r(34|50|101)", name) or [50])[0])
    is_new = config["READER"].get("test_clips") == "mmaction2"  # clips of MMAction2 1.x
    assert args.source != "mmaction2" or is_new == ("/v1.0/" in address)
    assert "tsm" not in name or section["shift"] == {"tpn": "inplace", "mmaction2": "residual"}[args.source]
    frames = re.search(r"f(\d+)s\d+", name)
    assert not frames or f"{frames[1]}x" in args.config
    assert address.startswith("[file](https://") and expected and ours == "not run"
    with paddle.LazyGuard():
        build_model(**{**section, "num_classes": 2}).check_source(args.source)


@pytest.mark.parametrize("row", HARA_ROWS, ids=lambda row: row[0])
def test_a_row_of_the_zoo_says_what_its_file_is_called(row):
    name, data, address, line, expected, ours = row
    kind, depth, letters = re.match(r"(r3d|r2p1d|\D+)(\d+)_?([KMS]*)", name).groups()
    args = convert_weights.parse_arguments(shlex.split(line)[2:])
    section = convert_weights.read_config(args)["MODEL"]
    assert (args.file, section["name"], section["depth"]) == (name, KINDS[kind], int(depth))
    assert args.out == f"weights/{name.removesuffix('.pth')}"
    assert data == (f"{letters}, {NUM_CLASSES[letters]}" if letters else "400")
    assert re.search(rf"^{re.escape(address.removeprefix('[folder]'))}: https://", ZOO, re.MULTILINE)
    assert expected and ours == "not run"
    with paddle.LazyGuard():
        build_model(num_classes=2, **section)


@pytest.mark.parametrize("row", PADDLEVIDEO_ROWS, ids=lambda row: row[0])
def test_a_row_of_paddlevideo_builds_a_network_of_its_classes(row):
    name, data, address, line, expected, ours = row
    args = convert_weights.parse_arguments(shlex.split(line)[2:])
    section = convert_weights.read_config(args)["MODEL"]
    assert (args.file, args.out, args.source) == (name, f"weights/{name.removesuffix('.pdparams')}", "paddlevideo")
    assert (
        address.strip("<>").endswith(f"/{name}")
        and float(expected.split(",")[0].split(";")[0]) > 50
        and ours == "not run"
    )
    kinds = {"TSM": "tsm", "ppTSM": "pptsm", "ntu": "agcn", "AGCN": "paddlevideo_agcn"}
    assert section["name"] == kinds.get(name.partition("_")[0], re.split("[._]", name)[0].lower())
    if "fsd" in name:
        assert {**{"in_channels": 2, "num_persons": 1}, **section}["in_channels"] == 2 and data == "FSD, 30"
    convert_weights.set_source_arguments(section, args)
    with paddle.LazyGuard():
        build_model(**section, num_classes=2).check_source("paddlevideo")


def test_the_zoo_has_a_row_or_a_reason_for_every_file():
    names = [row[0] for row in FILES if len(row) > 4]  # those with four columns: test_zoo_mmaction2.py
    assert len(names) == len(set(names)) == 29 + 68 + 22
    assert [len(rows) for rows in (HARA_ROWS, TPN_ROWS, PADDLEVIDEO_ROWS)] == [29, 68, 22]
    without = set(re.findall(r"`([\w-]+\.pth)`", ZOO)) - set(names)
    assert len(without) == 9 and all(ZOO.index("## Not yet") < ZOO.index(f"`{name}`") for name in without)


def test_every_command_of_the_zoo_can_be_typed():
    lines = [shlex.split(line) for block in BLOCKS for line in block.splitlines()]
    scripts = [words for words in lines if words[0] == "python" and words[1] != "-c"]
    assert len(scripts) == 25
    for words in scripts:
        args = PARSERS[words[1]](words[2:])
        if getattr(args, "config", None):
            recipe.read_recipe(str(ROOT / args.config), {}, args.overrides)
    (keys,) = [words for words in lines if words[0] == "-o"]
    assert recipe.read_recipe(str(ROOT / "configs/resnet.txt"), {}, keys[1::2])[0]["READER"]["std"] == 3 * [0.0039216]


def test_the_class_list_is_made_in_the_order_of_the_csv(tmp_path):
    (line,) = [line for block in BLOCKS for line in block.splitlines() if line.startswith("python -c")]
    rows = ["label,youtube_id", "testifying,a", '"eating, fast",b', "testifying,c", "abseiling,d"]
    (tmp_path / "kinetics_train.csv").write_text("\n".join(rows), encoding="utf-8")
    words, out = shlex.split(line)[:3], shlex.split(line)[-1]
    made = subprocess.run([sys.executable, *words[1:]], cwd=tmp_path, capture_output=True, text=True, check=True)
    (tmp_path / out).write_text(made.stdout, encoding="utf-8")
    assert splits.read_class_index(tmp_path / out) == ["testifying", "eating, fast", "abseiling"]
