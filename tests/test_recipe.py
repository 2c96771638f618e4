"""From a text and flags to what is built: precedence, defaults, class names, devices."""

import paddle
import pytest
import small_skeletons
from gpus import has_gpu
from paths import ROOT
from small_dataset import CONFIG, write_config

import config as texts
import recipe
from engine.amp import FullPrecision
from engine.losses import build_criterion
from engine.run_settings import RunSettings
from models import MODELS

INPUTS = {
    "clips": ["rgb"],
    "skeletons": ["skeleton"],
    "timed_skeletons": ["skeleton", "time_index"],
    "heatmaps": ["pose"],
    "rgbpose": ["rgb", "pose"],
}


class Batches:
    """What a training loader tells of itself."""

    def __init__(self, num_samples, num_batches, inputs=("rgb",)):
        self.num_samples, self.num_batches = num_samples, num_batches
        self.input_shape = {name: [3, 8, 32, 32] for name in inputs}

    def __len__(self):
        return self.num_batches


def read(tmp_path, settings=None, words=(), root=None, text=CONFIG):
    path = write_config(tmp_path / "c.txt", text)
    return recipe.read_recipe(str(path), settings or {}, list(words), root)[0]


def test_signature_then_text_then_flags_then_words(tmp_path):
    assert RunSettings().epochs == 65
    assert read(tmp_path)["RUN"]["epochs"] == 3
    assert read(tmp_path, {"RUN.epochs": 4})["RUN"]["epochs"] == 4
    assert read(tmp_path, {"RUN.epochs": 4}, ["RUN.epochs=5"])["RUN"]["epochs"] == 5
    assert read(tmp_path, {"RUN.epochs": None})["RUN"]["epochs"] == 3  # a flag that was not given


def test_resolving_is_complete_and_changes_nothing_twice(tmp_path):
    config = read(tmp_path)
    assert config["MODEL"]["shortcut"] == "B" and config["READER"]["flip_ratio"] == 0.5
    assert config["OPTIMIZER"]["momentum"] == 0.9 and "num_classes" not in config["MODEL"]
    assert recipe.resolve(config, "x") == config


@pytest.mark.parametrize(
    "word, message",
    [
        ("MODEL.name=resnt", "[MODEL]: unknown name 'resnt'; known: resnet"),
        ("MODEL.dept=18", "[MODEL] ResNet3D: unknown key 'dept'; did you mean 'depth'?"),
        ("READER.name=films", "[READER]: unknown name 'films'; known: clips"),
        ("READER.clip_length=8", "[READER]: unknown key 'clip_length'; did you mean 'clip_len'?"),
        ("TRAIN.batchsize=8", "[TRAIN]: unknown key 'batchsize'; did you mean 'batch_size'?"),
        ("TRAIN.seed=8", "[TRAIN]: unknown key 'seed'"),
        ("VALID.num_clips=many", "[VALID]: num_clips: expected int from 1 to 1000000, got 'many'"),
        ("OPTIMIZER.learning_rat=1", "[OPTIMIZER]: unknown key 'learning_rat'; did you mean 'learning_rate'?"),
        ("RUN.epoch=8", "[RUN]: unknown key 'epoch'; did you mean 'epochs'?"),
    ],
)
def test_every_section_refuses_misspellings(tmp_path, word, message):
    with pytest.raises(ValueError) as caught:
        read(tmp_path, words=[word])
    assert message in str(caught.value)


@pytest.mark.parametrize("path", sorted((ROOT / "configs").glob("*.*")), ids=lambda path: path.name)
def test_every_config_builds_its_model_and_optimizer(path):
    config, dropped = recipe.read_recipe(str(path), {}, [])
    model_class = MODELS[config["MODEL"]["name"]]
    if "widen_factor" in config["MODEL"]:
        config["MODEL"]["widen_factor"] = 0.125
    config["MODEL"].setdefault("num_classes", 4)
    reader = config["READER"]
    inputs = ["rgb"] if reader.get("rgb_only") else INPUTS[reader["name"]]
    model, optimizer, schedule, _ = recipe.build_training(config, Batches(100, 10, inputs))
    assert dropped == [] and schedule.value(0, 0) > 0 and optimizer.state_dict() is not None
    assert type(model) is model_class
    assert recipe.open_reader(config).mode == "test"  # what TEST takes from VALID must go together


def test_the_rate_follows_the_batch_that_is_really_there(tmp_path):
    config = read(tmp_path, words=["OPTIMIZER.base_batch_size=8", "TRAIN.batch_size=16", "MODEL.num_classes=3"])
    assert recipe.build_training(config, Batches(100, 7))[2].peak == pytest.approx(0.1)  # 0.05 x 16 / 8
    assert recipe.build_training(config, Batches(4, 1))[2].peak == pytest.approx(0.025)


def test_lists_follow_the_root_and_validation_prefers_val_list(tmp_path):
    config = read(tmp_path)
    assert config["TRAIN"]["filelist"] == "data/train.list"
    root = str(tmp_path / "own")
    assert read(tmp_path, root=root)["VALID"]["filelist"] == f"{root}/test.list"
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "val.list").write_text("x")
    config = read(tmp_path, root=root)
    assert [config[mode]["filelist"] for mode in texts.MODES] == [f"{root}/{n}.list" for n in ("train", "val", "test")]


def test_the_2020_text_resolves_and_tests_as_it_validates():
    config, dropped = recipe.read_recipe(str(ROOT / "tests/data/resnet_2020.txt"), {}, [], "lyj")
    assert config["TEST"]["num_clips"] == 7 and config["TEST"]["filelist"] == "lyj/test.list"
    assert config["MODEL"]["depth"] == 50 and "TRAIN.buf_size" in dropped
    config["MODEL"].update(depth=10, widen_factor=0.1)
    schedule = recipe.build_training(config, Batches(128, 1))[2]
    assert schedule.milestones == [0.6, 0.85] and schedule.peak == 0.01  # of one epoch


@pytest.mark.skipif(has_gpu(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_one_sentence_with_the_flag():
    with pytest.raises(ValueError, match="Paddle .* (is a CPU build|sees no GPU); run with --use_gpu False"):
        recipe.choose_device(True)
    assert recipe.choose_device(None) == recipe.choose_device(False)


@pytest.mark.parametrize("deterministic, is_cuda_build", [(True, True), (False, True), (True, False)])
def test_deterministic_runs_ask_cudnn_for_reproducible_kernels(deterministic, is_cuda_build, monkeypatch):
    asked = {}
    monkeypatch.setattr(paddle, "is_compiled_with_cuda", lambda: is_cuda_build)
    monkeypatch.setattr(paddle.device.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(paddle, "set_flags", asked.update)
    recipe.choose_device(False, deterministic)
    assert asked == ({"FLAGS_cudnn_deterministic": True} if deterministic and is_cuda_build else {})


def test_mixed_up_class_names_are_refused_with_the_first_difference():
    recipe.compare_classes(["a", "b"], ["a", "b"], "x.list")
    with pytest.raises(ValueError, match="x.list: class 1 is 'c' there and 'b' in the weights"):
        recipe.compare_classes(["a", "b"], ["a", "c"], "x.list")
    with pytest.raises(ValueError, match="class 2 is 'c' there and None in the weights"):
        recipe.compare_classes(["a", "b"], ["a", "b", "c"], "x.list")


class Named:
    """A loader with class names."""

    def __init__(self, class_names):
        self.class_names = class_names


def test_the_list_decides_the_number_of_classes(tmp_path, caplog):
    config = read(tmp_path)
    assert recipe.resolve_class_names(config, Named(["a", "b"])) == ["a", "b"] and config["MODEL"]["num_classes"] == 2
    with pytest.raises(ValueError, match="names 3 classes, MODEL.num_classes is 2"):
        recipe.resolve_class_names(config, Named(["a", "b", "c"]))
    config["MODEL"]["num_classes"] = 4
    assert recipe.resolve_class_names(config, Named(["a", "b"])) == ["a", "b"]
    assert "names 2 classes, the model has 4 outputs" in caplog.text
    assert recipe.resolve_class_names(config, Named(None)) == ["0", "1", "2", "3"]
    with pytest.raises(ValueError, match="names no classes; run data_list_gener.py again"):
        recipe.resolve_class_names(read(tmp_path), Named(None))


@pytest.mark.parametrize("reader", ["skeletons", "heatmaps", "rgbpose"])
def test_a_skeleton_pkl_without_class_names_is_made_by_its_own_script(tmp_path, reader, caplog):
    config = read(tmp_path)
    config["READER"]["name"], config["TRAIN"]["filelist"] = reader, "ntu60.pkl"
    message = (
        "ntu60.pkl names no classes; add them by `python skeleton2pkl.py pkl FILE --classes .* --out NEW` or set -o"
    )
    with pytest.raises(ValueError, match=message):
        recipe.resolve_class_names(config, Named(None))
    config["MODEL"]["num_classes"] = 4
    recipe.resolve_class_names(config, Named(None))
    assert "they are called 0 to 3; add them by `python skeleton2pkl.py pkl FILE" in caplog.text


def test_seeds_differ_by_epoch_and_repeat():
    def draw(seed, epoch):
        recipe.seed_all(seed, epoch)
        return paddle.rand([3]).tolist()

    assert draw(0, 1) == draw(0, 1)
    assert len({tuple(draw(*pair)) for pair in ((0, 1), (0, 2), (1, 1), (1, 2))}) == 4


@pytest.fixture
def as_if_gpu(monkeypatch):
    """Paddle as it answers where there is a GPU; gives the calls of `paddle.amp.decorate`."""
    calls = []

    def decorate(model, optimizer, **arguments):
        calls.append(arguments)
        return model, optimizer

    monkeypatch.setattr(paddle.device, "get_device", lambda: "gpu:0")
    monkeypatch.setattr(paddle.amp, "decorate", decorate)
    return calls


class Prepared(Batches):
    """A loader for `build_step`."""

    def prepare(self, inputs):
        return inputs


def build_step(tmp_path, words):
    config = read(tmp_path, words=[*words, "MODEL.num_classes=3"])
    loader = Prepared(12, 3)
    model, optimizer, _, frozen = recipe.build_training(config, loader)
    return recipe.build_step(config, model, optimizer, loader, frozen)


def test_the_step_has_what_run_asks_for(tmp_path, as_if_gpu):
    plain = build_step(tmp_path, [])
    assert type(plain.precision) is FullPrecision and plain.mixup is plain.average is None
    assert plain.batch_size == 4 and plain.frozen_norms == [] and as_if_gpu == []
    words = [
        "RUN.amp_level=O1",
        "RUN.mixup_alpha=0.2",
        "RUN.cutmix_alpha=1.0",
        "RUN.mix_ratio=0.5",
        "RUN.ema_decay=0.9",
    ]
    full = build_step(tmp_path, [*words, "RUN.train_from=layer4", "RUN.freeze_statistics=True"])
    assert full.precision.level == "O1" and as_if_gpu == []
    assert len(full.mixup.alphas) == 2 and full.mixup.ratio == 0.5 and full.average.decay == 0.9
    assert full.model.bn1 in full.frozen_norms and full.model.fc not in full.frozen_norms
    assert build_step(tmp_path, ["RUN.amp_level=O2"]).precision.level == "O2"
    assert as_if_gpu == [{"level": "O2", "dtype": "float16", "master_weight": True, "save_dtype": "float32"}]


def test_synchronized_batch_norm_replaces_every_one_and_keeps_its_names(tmp_path, as_if_gpu):
    plain, synced = build_step(tmp_path, []).model, build_step(tmp_path, ["RUN.sync_bn=True"]).model
    kinds = [type(layer) for layer in synced.sublayers()]
    assert kinds.count(paddle.nn.SyncBatchNorm) == [type(layer) for layer in plain.sublayers()].count(
        paddle.nn.BatchNorm3D
    )
    assert paddle.nn.BatchNorm3D not in kinds and list(plain.state_dict()) == list(synced.state_dict())
    optimizer = build_step(tmp_path, ["RUN.sync_bn=True"])
    trained = {one.name for one in optimizer.optimizer._parameter_list}
    assert trained == {one.name for one in optimizer.model.parameters() if not one.stop_gradient}


def test_a_root_takes_the_place_of_the_folders_of_a_file_and_its_videos(tmp_path):
    text = "[READER]\nname = rgbpose\nfilelist = data/poses.pkl\nvideos = data/videos\n[MODEL]\nname = rgbposeconv3d\n"
    reader = read(tmp_path, root="mine", text=text)["READER"]
    assert (reader["filelist"], reader["videos"]) == ("mine/poses.pkl", "mine/videos")


SKELETONS = "[MODEL]\nname = ctrgcn\n[READER]\nname = skeletons\nfilelist = a/set.pkl\nnum_persons = 2\n"


@pytest.mark.parametrize("is_resolved", [False, True])
@pytest.mark.parametrize("text", [CONFIG, SKELETONS], ids=["clips", "skeletons"])
def test_what_the_user_says_of_the_reader_holds_for_every_key_in_every_mode(tmp_path, text, is_resolved):
    """A mode's value, of the text or a copy in a checkpoint, once hid it: the old list was scored."""
    keys = {"filelist", *read(tmp_path, text=text)["READER"]} - {"name"}
    assert {"batch_size", "num_clips", "num_workers"} <= keys
    for key in keys:
        config = texts.load_config(str(write_config(tmp_path / "c.txt", text)))
        for mode in texts.MODES:
            config[mode].update({key: "of the mode", "num_workers": 7})
        if is_resolved:
            resolved = read(tmp_path, text=text)
            config = {name: {**resolved[name], **values} for name, values in config.items()}
        config = recipe.override(config, {}, [f"READER.{key}=of the user"])
        assert [{**config["READER"], **config[mode]}[key] for mode in texts.MODES] == ["of the user"] * 3
        assert key == "num_workers" or config["TEST"]["num_workers"] == 7  # other keys stay


def test_a_key_of_a_mode_that_the_user_sets_stands_over_that_of_the_reader(tmp_path):
    words = ["TEST.filelist=t.list", "READER.filelist=all.list"]
    config = recipe.resolve(recipe.override(read(tmp_path), {"TRAIN.filelist": "flag.list"}, words), "x")
    assert [config[mode]["filelist"] for mode in texts.MODES] == ["flag.list", "all.list", "t.list"]


def test_copies_in_a_resolved_config_follow_what_they_are_of(tmp_path):
    stored = read(tmp_path, text=SKELETONS + "[VALID]\nnum_clips = 1\nsplit = val\n[TEST]\nnum_clips = 3\n")
    recipe.adopt_config(stored)
    words = ["READER.num_persons=1", "VALID.split=other", "VALID.num_clips=2"]
    config = recipe.resolve(recipe.override(stored, {}, words, "b"), "x")
    assert [config[mode]["filelist"] for mode in texts.MODES] == ["b/set.pkl"] * 3  # --root
    assert config["MODEL"]["num_persons"] == 1
    assert config["TEST"] == {**config["TEST"], "split": "other", "num_clips": 3}


def test_rgbpose_has_the_keys_of_heatmaps_with_its_own_defaults(tmp_path):
    texts_of = {name: f"[READER]\nname = {name}\nfilelist = poses.pkl\n" for name in ("heatmaps", "rgbpose")}
    ours, parents = (read(tmp_path, text=texts_of[name])["READER"] for name in ("rgbpose", "heatmaps"))
    added = {
        "videos": None, "rgb_clip_len": 8, "rgb_only": False, "color_jitter": None, "erasing_ratio": 0.0,
        "erasing_area": [0.02, 0.2], "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225],
    }  # fmt: skip
    changed = {"sigma": 0.7, "scaling": 0.25, "clip_len": 32, "short_size": 256, "crop_size": 224, "stretch": True}
    assert ours == {**parents, **added, **changed, "name": "rgbpose"}
    assert all(parents[key] != value for key, value in changed.items())
    with pytest.raises(ValueError, match="unknown key 'sigmo'; did you mean 'sigma'"):
        read(tmp_path, text=texts_of["rgbpose"] + "sigmo = 1\n")


def test_a_reader_without_a_list_has_the_keys_of_its_parent_too(tmp_path):
    text = "[READER]\nname = rgbpose\nfilelist = poses.pkl\nkind = limbs\nnum_persons = 3\nsigma = 0.5\n"
    reader = recipe.open_reader(read(tmp_path, text=text))
    assert (reader.kind, reader.num_persons, reader.sigma, reader.crop_size) == ("limbs", 3, 0.5, 224)


def test_old_names_of_keys_in_a_checkpoint_load(tmp_path, caplog):
    text = "[READER]\nname = skeletons\nsampling = window\nfilelist = set.pkl\n[TRAIN]\nrandom_move = True\n"
    config = read(tmp_path, text=text)
    stored = {section: dict(values) for section, values in config.items()}
    for section, key in (("TRAIN", "move"), ("READER", "move"), ("READER", "shift")):
        stored[section][key] = stored[section].pop(f"random_{key}")
    assert recipe.resolve(stored, "x") == config
    assert len(caplog.messages) == 3


def test_class_weights_are_counted_or_given_one_a_class(tmp_path):
    small_skeletons.write_pkl(tmp_path / "s.pkl")
    path = small_skeletons.write_config(tmp_path / "c.txt", tmp_path / "s.pkl")
    config = recipe.read_recipe(str(path), {}, [])[0]
    config["MODEL"]["num_classes"] = 3
    loader = recipe.open_loader(config, "TRAIN")
    for given, expected in ((None, None), ("auto", [1.0, 1.0, 1.0]), ([1, 0.5, 2], [1, 0.5, 2])):
        config["RUN"]["class_weights"] = given
        assert build_criterion(config["RUN"], 3, loader).class_weights == expected
    expected = "RUN.class_weights: expected 3 numbers, one for each class, got"
    for given, message in (([1, 2], expected), ([], expected), ([0, 0, 0.0], "train nothing")):
        config["RUN"]["class_weights"] = given
        with pytest.raises(ValueError, match=message):
            build_criterion(config["RUN"], 3, loader)
