"""The merged network begins exactly as the two that it was made of."""

import pathlib

import numpy as np
import paddle
import pytest
from paddle import nn
from rgbpose_networks import SMALL, draw_inputs

from engine import checkpoint, resume
from engine.run_settings import RunSettings
from models import build_model
from tools import merge_rgbpose

pytestmark = pytest.mark.filterwarnings("ignore:When training, we now always track")
WORDS = [word for key, value in SMALL.items() for word in ("-o", f"MODEL.{key}={value}")]
RGB = {"name": "slowonly", "num_classes": 4, "depth": 14, "widen_factor": 0.125, "dropout_ratio": 0.0}
POSE = {
    **{"name": "posec3d", "num_classes": 4, "base_channels": 4, "stage_blocks": [1, 1, 1]},
    **{"temporal_strides": [1, 1, 1], "dropout_ratio": 0.0},
}


def make_checkpoint(path, section, **changes):
    """Write a checkpoint of a network whose blocks add something, and return the network in evaluation mode."""
    paddle.seed(len(section))
    model = build_model(**section)
    rng = np.random.default_rng(len(section))
    for name, value in model.state_dict().items():
        if len(value.shape) == 1:
            low = -0.5 if name.endswith(("bias", "_mean")) else 0.5
            value.set_value(rng.uniform(low, low + 1, value.shape).astype(np.float32))
    state = {"model": checkpoint.model_state(model), "class_names": list("abcd"), "config": {"MODEL": section}}
    checkpoint.save_checkpoint(str(path), {**state, **changes})
    model.eval()
    return model


@pytest.fixture
def parts(tmp_path, monkeypatch):
    """Both networks; their checkpoints are `rgb` and `pose` where one stands."""
    monkeypatch.chdir(tmp_path)
    return {"rgb": make_checkpoint("rgb", RGB), "pose": make_checkpoint("pose", POSE)}


def load_merged(**changes):
    """Build the network of the checkpoint `merged`, in evaluation mode."""
    state = checkpoint.load_checkpoint("merged")
    model = build_model(**{**state["source"]["model"], "dropout_ratio": 0.0, **changes})
    checkpoint.restore_model(model, state["model"])
    model.eval()
    return model


@pytest.mark.parametrize("network", ["rgbposeconv3d", "pcan"])
def test_the_merged_network_starts_exactly_as_the_two_apart(parts, network, monkeypatch, capsys):
    changes = {}
    words = [*WORDS, "--model", network]
    if network == "pcan":  # this is what `read_config` gives for its words
        changes = {"rectify_weights": [0.0, 0.0]}
        section = {"name": "pcan", **SMALL, "coarse_groups": [0, 0, 1, 1], "num_heads": 4}
        monkeypatch.setattr(merge_rgbpose, "read_config", lambda args: {"MODEL": section})
    merge_rgbpose.main(["rgb", "pose", *words, "--out", "merged"])
    model = load_merged(**changes)
    inputs = draw_inputs()
    for mode in ("eval", "train"):
        for one in (model, *parts.values()):
            getattr(one, mode)()
        outputs = model(**inputs)
        for name, part in parts.items():
            expected = part(inputs[name]).numpy()
            assert np.abs(expected[0] - expected[1]).max() > 1e-3
            np.testing.assert_allclose(outputs[name].numpy(), expected, rtol=0, atol=2e-6 * np.abs(expected).max())
    told = capsys.readouterr().out
    num_tensors = sum(len(part.state_dict()) for part in parts.values())
    assert f"{num_tensors} tensors of both, 8 with columns of zeros; " in told
    assert "to fine-tune it: python train.py --pretrain merged\n" in told
    assert checkpoint.load_checkpoint("merged")["class_names"] == list("abcd")


def test_the_zeros_are_for_the_other_pathway_and_laterals_are_not_zero(parts):
    merge_rgbpose.main(["rgb", "pose", *WORDS, "--model", "rgbposeconv3d", "--out", "merged"])
    state = checkpoint.load_checkpoint("merged")["model"]
    for name, stage, own, extra in (
        *(("rgb", 3, 64, 16), ("rgb", 4, 128, 32)),
        *(("pose", 2, 16, 4), ("pose", 3, 32, 8)),
    ):
        for layer in ("conv1", "downsample.0"):
            weight = state[f"backbone.{name}_path.layer{stage}.0.{layer}.weight"]
            theirs = parts[name].state_dict()[f"backbone.layer{stage}.0.{layer}.weight"].numpy()
            assert weight.shape[1] == own + extra
            np.testing.assert_array_equal(weight[:, :own], theirs)
            assert not weight[:, own:].any()
    laterals = [value for name, value in state.items() if "laterals" in name and name.endswith("conv.weight")]
    assert len(laterals) == 4 and all(value.std() > 0.01 for value in laterals)


def test_the_seed_decides_what_is_drawn(parts):
    drawn = []
    for seed in (0, 0, 1):
        words = [*WORDS, "--model", "rgbposeconv3d", "--seed", str(seed), "--out", "merged"]
        merge_rgbpose.main(["rgb", "pose", *words])
        drawn.append(checkpoint.load_checkpoint("merged")["model"]["backbone.rgb_laterals.layer3.conv.weight"])
    np.testing.assert_array_equal(drawn[0], drawn[1])
    assert np.abs(drawn[0] - drawn[2]).max() > 0.01


def test_averaged_weights_are_merged_where_there_are_some(parts):
    average = {"fc.bias": np.arange(4, dtype=np.float32)}
    make_checkpoint("pose", POSE, ema=average)
    merge_rgbpose.main(["rgb", "pose", *WORDS, "--model", "rgbposeconv3d", "--out", "merged"])
    np.testing.assert_array_equal(checkpoint.load_checkpoint("merged")["model"]["fc_pose.bias"], average["fc.bias"])


def test_a_config_goes_into_the_checkpoint(parts, tmp_path):
    text = ["MODEL:", "  name: rgbposeconv3d", *(f"  {key}: {value}" for key, value in SMALL.items())]
    tmp_path.joinpath("both.yaml").write_text("\n".join(text) + "\n", encoding="utf-8")
    merge_rgbpose.main(["rgb", "pose", "--config", "both.yaml", "--out", "merged"])
    section = checkpoint.load_checkpoint("merged")["config"]["MODEL"]
    assert section["num_classes"] == 4 and section["rgb_base_channels"] == 8
    tmp_path.joinpath("other.yaml").write_text("MODEL:\n  name: slowonly\n", encoding="utf-8")
    with pytest.raises(ValueError, match="other.yaml: MODEL.name is 'slowonly', expected one of rgbposeconv3d, pcan"):
        merge_rgbpose.main(["rgb", "pose", "--config", "other.yaml", "--out", "merged"])


@pytest.mark.parametrize(
    "changes, message",
    [
        (
            {"temporal_strides": [1, 1, 2]},
            r"'pose' was trained with temporal_strides \[1, 1, 2\], the pose pathway has ",
        ),
        (
            {"base_channels": 8},
            r"weights do not fit this RGBPoseConv3D: .* of another shape \(backbone.pose_path.conv1",
        ),
        (
            {"stage_blocks": [1, 2, 1]},
            r"trained with stage_blocks \[1, 2, 1\], the pose pathway has \[1, 1, 1\]; set -o",
        ),
        ({"num_classes": 5}, "do not fit this RGBPoseConv3D: 2 of another shape"),
    ],
)
def test_a_pose_network_that_does_not_fit_is_refused(parts, changes, message):
    make_checkpoint("pose", {**POSE, **changes})
    with pytest.raises(ValueError, match=message):
        merge_rgbpose.main(["rgb", "pose", *WORDS, "--model", "rgbposeconv3d", "--out", "merged"])


READER = {"name": "rgbpose", "layout": "coco17", "kind": "joints", "limbs": None, "sigma": 0.7, "mean": [0.5, 0.5, 0.5]}


def make_trained(path, section, samples="x", **reader):
    """Write a checkpoint that says what it was trained on."""
    data = {"TRAIN": {"samples": samples, "num_samples": 2, "digest": samples}}
    make_checkpoint(path, section, config={"MODEL": section, "READER": {**READER, **reader}, "TRAIN": {}}, data=data)


@pytest.fixture
def merge(parts, monkeypatch, capsys):
    """Merge both networks for a config whose READER is `READER`; give what is printed."""
    config = {"MODEL": {"name": "rgbposeconv3d", **SMALL}, "READER": READER, "TRAIN": {}}
    monkeypatch.setattr(merge_rgbpose, "read_config", lambda args: {**config, "MODEL": dict(config["MODEL"])})

    def merge():
        merge_rgbpose.main(["rgb", "pose", "--config", "both.yaml", "--out", "merged"])
        return capsys.readouterr().out

    return merge


@pytest.mark.parametrize("changes", [{"kind": "limbs"}, {"layout": "openpose18"}, {"limbs": [[0, 1]]}])
def test_maps_of_other_joints_or_limbs_are_refused(merge, changes):
    make_trained("pose", POSE, **changes)
    with pytest.raises(ValueError, match=f"'pose': READER.{next(iter(changes))} was .*: the channels of its maps are"):
        merge()


def test_other_inputs_and_other_samples_of_a_pathway_are_told(merge):
    make_trained("rgb", RGB, kind="limbs", sigma=0.1)  # of the other pathway's keys only
    make_trained("pose", POSE, mean=[0.0, 0.0, 0.0])
    assert "WARNING" not in merge()
    make_trained("rgb", RGB, mean=[0.1, 0.5, 0.5])
    make_trained("pose", POSE, samples="y", sigma=0.6)
    out = merge()
    assert "WARNING: 'rgb': READER.mean was [0.1, 0.5, 0.5] and is [0.5, 0.5, 0.5] now; the rgb pathway was" in out
    assert "WARNING: 'pose': READER.sigma was 0.6 and is 0.7 now; the pose pathway was trained on other inputs" in out
    assert "WARNING: trained on other samples: 'rgb' on x (2 samples, digest x), 'pose' on y (2 samples, dige" in out


def test_a_start_from_merged_weights_compares_what_each_pathway_saw(parts, caplog):
    make_trained("rgb", RGB, mean=[0.1, 0.5, 0.5], sigma=0.3)
    make_trained("pose", POSE, kind="limbs")
    merge_rgbpose.main(["rgb", "pose", *WORDS, "--model", "rgbposeconv3d", "--out", "merged"])
    settings = RunSettings(pretrain="merged")
    resume.load_pretrained(settings, load_merged(), {"READER": READER, "TRAIN": {"sigma": 0.5}})
    told = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert [message.partition("; ")[0] for message in told] == [
        "--pretrain: READER.mean was [0.1, 0.5, 0.5] and is [0.5, 0.5, 0.5] now",
        "--pretrain: READER.kind was 'limbs' and is 'joints' now",
        "--pretrain: READER.sigma was 0.7 and is 0.5 now",
    ]


def test_an_input_is_not_written_over(parts):
    make_trained("rgb", RGB)
    make_trained("pose", POSE)
    before = pathlib.Path("pose.pdparams").read_bytes()
    pathlib.Path("link.pdparams").symlink_to("pose.pdparams")
    for out in ("pose", "./pose.pdparams", "link"):
        with pytest.raises(ValueError, match="is one of the networks that are merged; choose another name"):
            merge_rgbpose.main(["rgb", "pose", *WORDS, "--model", "rgbposeconv3d", "--out", out])
    assert pathlib.Path("pose.pdparams").read_bytes() == before
    checkpoint.save_checkpoint("run_model", {"model": {}, "optimizer": {}})
    with pytest.raises(ValueError, match="--out run_model is the checkpoint of a run, which goes on from it; choose"):
        merge_rgbpose.main(["rgb", "pose", *WORDS, "--model", "rgbposeconv3d", "--out", "run_model"])


def test_networks_of_another_kind_or_with_other_classes_are_refused(parts):
    words = [*WORDS, "--model", "rgbposeconv3d", "--out", "merged"]
    with pytest.raises(ValueError, match="'pose' is a posec3d, expected a slowonly for the rgb pathway"):
        merge_rgbpose.main(["pose", "rgb", *words])
    layer = nn.Linear(2, 2)
    checkpoint.save_checkpoint("other", {"model": checkpoint.model_state(layer)})
    with pytest.raises(ValueError, match="'other' has 'weight', expected the weights of a posec3d; train one"):
        merge_rgbpose.main(["rgb", "other", *words])
    make_checkpoint("pose", POSE, class_names=list("abdc"))
    with pytest.raises(ValueError, match="pose: class 2 is 'd' there and 'c' in the weights"):
        merge_rgbpose.main(["rgb", "pose", *words])
