"""RGBPoseConv3D against the authors' network (golden vectors), and what its pathways exchange against 3-D operators."""

import inspect

import golden_networks
import numpy as np
import paddle
import paddle.nn.functional as F
import pytest
from golden_checks import assert_logits_match, assert_parameter_gradients_match, draw, l2_norm
from paddle import nn
from rgbpose_networks import NAMES, SMALL, assert_features_match, draw_golden, draw_inputs

from engine.losses import CrossEntropy
from models.parts.pathway import average_frames
from models.parts.two_pathways import Lateral
from models.pose.posec3d import PoseC3D
from models.pose.rgbposeconv3d import RGBPoseConv3D
from tools.golden import vectors

pytestmark = pytest.mark.filterwarnings("ignore:When training, we now always track")
FILES = vectors.list_names("rgbposeconv3d_*")


def find_smooth_loss(logits, labels, smoothing):
    """Return the cross-entropy with smoothed labels; Paddle's clips log-probabilities at -64."""
    log_scores = logits - paddle.logsumexp(logits, axis=1, keepdim=True)
    targets = F.one_hot(paddle.to_tensor(labels), logits.shape[1]) * (1 - smoothing) + smoothing / logits.shape[1]
    return -(targets * log_scores).sum(axis=1).mean()


def test_three_files_are_there():
    assert [name.split("_")[1] for name in FILES] == ["detach", "ntu60", "smooth"]


@pytest.mark.parametrize("name", FILES)
def test_names_shapes_and_size_are_those_of_the_authors_network(name):
    golden_networks.assert_names_and_sizes(name)


@pytest.mark.parametrize(
    "name", [FILES[0], pytest.param(FILES[1], marks=pytest.mark.long), pytest.param(FILES[2], marks=pytest.mark.long)]
)
def test_outputs_losses_and_gradients_are_those_of_the_authors_network(name):
    reference = vectors.load(name)
    model = vectors.build(reference)
    maps = []
    model.backbone.register_forward_post_hook(lambda _layer, _inputs, output: maps.append(output))
    inputs = draw_golden(reference)
    outputs = model(**inputs)
    if "feature" in reference:
        assert_features_match(maps[0], reference["feature"])
    for head, expected in reference["logits"].items():
        assert_logits_match(outputs[head].numpy(), expected)
    smoothing = reference["reference"]["head_args"].get("label_smooth_eps", 0.0)
    losses = model.compute_losses(outputs, reference["labels"], lambda *pair: find_smooth_loss(*pair, smoothing))
    assert {key: loss.item() for key, loss in losses.items()} == pytest.approx(
        {key: reference["loss"][key] for key in ("rgb_loss_cls", "pose_loss_cls")}, rel=1e-4
    )
    total = sum(losses.values())
    assert total.item() == pytest.approx(reference["loss"]["total"], rel=1e-4)
    total.backward()
    assert_parameter_gradients_match(reference, model, reference["grad_norms"]["params"])
    for ours, theirs in NAMES.items():
        assert l2_norm(inputs[ours].grad) == pytest.approx(reference["grad_norms"]["input"][theirs], rel=1e-2)


# What the pathways exchange.


def make_model(**changes):
    """Make a small network in which blocks add something, in evaluation mode."""
    paddle.seed(0)
    model = RGBPoseConv3D(4, **{**SMALL, "zero_init_residual": False, **changes})
    model.eval()
    return model


def record(model):
    """Return a dict that a forward pass fills: stage, such as "rgb layer3" -> input of its first block."""
    seen = {}
    for name in NAMES:
        path = model.backbone.pathways[name]
        for stage in range(path.config.num_stages):
            key = f"{name} layer{stage + 1}"
            getattr(path, f"layer{stage + 1}")[0].register_forward_pre_hook(
                lambda _layer, inputs, key=key: seen.update({key: inputs[0]})
            )
    return seen


def as_clips(x, num_samples=2):
    """Reshape frames (N*T, C, H, W) to clips (N, C, T, H, W)."""
    return x.reshape([num_samples, -1, *x.shape[1:]]).transpose([0, 2, 1, 3, 4])


@pytest.mark.parametrize("kernel_size, ratio", [(7, 4), (5, 2), (3, 1)])
@paddle.no_grad()
def test_laterals_are_3d_convolutions_of_several_frames(kernel_size, ratio):
    x = draw(2, 6, 8, 3, 5)
    frames = x.transpose([0, 2, 1, 3, 4]).flatten(0, 1)
    fewer = Lateral(6, 4, kernel_size, ratio, is_inverse=False)
    weight = fewer.conv.weight.unsqueeze(4)
    expected = F.conv3d(x, weight, stride=[ratio, 1, 1], padding=[kernel_size // 2, 0, 0])
    np.testing.assert_allclose(as_clips(fewer(frames, 8)).numpy(), expected.numpy(), atol=1e-5)
    assert fewer(frames, 8).shape[0] == 16 // ratio
    more = Lateral(6, 4, kernel_size, ratio, is_inverse=True)
    more.eval()
    expected = F.conv3d_transpose(
        x,
        more.conv.weight.unsqueeze(4),
        stride=[ratio, 1, 1],
        padding=[kernel_size // 2, 0, 0],
        output_padding=[ratio - 1, 0, 0],
    )
    expected = F.relu(expected / np.sqrt(1 + 1e-5))  # of a batch norm that has seen nothing
    np.testing.assert_allclose(as_clips(more(frames, 8)).numpy(), expected.numpy(), atol=1e-5)
    assert more(frames, 8).shape[0] == 16 * ratio


@paddle.no_grad()
def test_a_pathway_sees_its_own_features_first_then_those_of_the_other_one():
    model = make_model()
    seen = record(model)
    inputs = draw_inputs()
    model(**inputs)
    channels = {key: x.shape[1] for key, x in seen.items()}
    assert channels == {
        **{"rgb layer1": 8, "rgb layer2": 32, "rgb layer3": 64 + 16, "rgb layer4": 128 + 32},
        **{"pose layer1": 4, "pose layer2": 16 + 4, "pose layer3": 32 + 8},
    }
    x, num_frames = model.backbone.rgb_path.run_stem(inputs["rgb"])
    for stage in (0, 1):
        x, num_frames = model.backbone.rgb_path.run_stage(stage, x, num_frames)
    y, num_maps = model.backbone.pose_path.run_stage(0, *model.backbone.pose_path.run_stem(inputs["pose"]))
    from_pose, from_rgb = (
        model.backbone.rgb_laterals["layer3"](y, num_maps),
        model.backbone.pose_laterals["layer2"](x, 3),
    )
    for key, parts in {"rgb layer3": (x, from_pose), "pose layer2": (y, from_rgb)}.items():
        np.testing.assert_array_equal(seen[key].numpy(), np.concatenate([part.numpy() for part in parts], axis=1))


@pytest.mark.parametrize("name", list(NAMES))
def test_a_detached_pathway_sends_no_gradient_to_the_other_one(name):
    other = {"rgb": "pose", "pose": "rgb"}[name]
    for is_detached in (False, True):
        model = make_model(**{f"{name}_detach": is_detached})
        inputs = draw_inputs()
        inputs[other].stop_gradient = False
        model(**inputs)[name].sum().backward()
        assert (inputs[other].grad is None) is is_detached
        laterals = model.backbone.laterals[name]
        assert all(l2_norm(lateral.conv.weight.grad) > 0 for lateral in laterals.values())


@pytest.mark.parametrize("name", list(NAMES))
def test_a_dropped_path_brings_zeros_in_training_only(name):
    model = make_model(**{f"{name}_drop_path": 1.0})
    seen = record(model)
    inputs = draw_inputs()
    widths = {"rgb": {"rgb layer3": 64, "rgb layer4": 128}, "pose": {"pose layer2": 16, "pose layer3": 32}}
    changed = widths.pop(name)
    for mode, is_dropped in ((model.train, True), (model.eval, False)):
        mode()
        outputs = model(**inputs)
        for key, num_own in changed.items():
            assert bool((seen[key][:, num_own:] == 0).all()) is is_dropped
        assert all(
            seen[key][:, num_own:].abs().max() > 0 for others in widths.values() for key, num_own in others.items()
        )
        assert model.skips_layers and not make_model().skips_layers
        if is_dropped:
            sum(outputs.values()).sum().backward()
            gradients = [lateral.conv.weight.grad for lateral in model.backbone.laterals[name].values()]
            assert gradients == [None, None]


def test_paths_are_dropped_as_often_as_told_and_each_by_itself():
    model = make_model(rgb_drop_path=0.25, pose_drop_path=0.5)
    model.train()
    drawn = []
    model.backbone.exchange = lambda _stage, features, dropped: drawn.append(dropped) or features
    model.backbone.rgb_path.run_stage = model.backbone.pose_path.run_stage = lambda _stage, *pair: pair
    inputs = draw_inputs(1, 1, 16)
    for _ in range(400):
        model.backbone(inputs)
    drawn = drawn[::3]  # a forward pass asks for three exchanges, of which the first has no laterals
    shares = [
        np.mean([set(names) <= set(dropped) for dropped in drawn]) for names in (["rgb"], ["pose"], ["rgb", "pose"])
    ]
    assert shares == pytest.approx([0.25, 0.5, 0.125], abs=0.08)


@paddle.no_grad()
def test_laterals_can_be_left_out_or_put_before_each_stage_of_both():
    model = make_model(rgb_lateral=False, pose_lateral_activate=[1, 0, 1])
    seen = record(model)
    model(**draw_inputs())
    assert [seen[f"pose layer{number}"].shape[1] for number in (1, 2, 3)] == [4 + 1, 16, 32 + 8]
    assert [seen[f"rgb layer{number}"].shape[1] for number in (1, 2, 3, 4)] == [8, 32, 64, 128]
    assert [len(model.backbone.rgb_laterals), len(model.backbone.pose_laterals)] == [0, 2]


def test_wide_pathways_are_built_and_train():
    model = RGBPoseConv3D(
        4, rgb_base_channels=80, pose_base_channels=48, rgb_stage_blocks=[1] * 4, pose_stage_blocks=[1] * 3,
        head_in_channels=[2560, 768], dropout_ratio=0.0,
    )  # fmt: skip
    inputs, labels = draw_inputs(2, 1, 16), paddle.to_tensor([0, 3])
    optimizer = paddle.optimizer.Momentum(0.01, parameters=model.parameters())
    losses = []
    for _ in range(2):
        loss = sum(model.compute_losses(model(**inputs), labels, CrossEntropy()).values())
        loss.backward()
        optimizer.step()
        optimizer.clear_grad()
        losses.append(loss.item())
    assert losses[-1] < 0.9 * losses[0]
    assert [list(lateral.conv.weight.shape[:2]) for lateral in model.backbone.rgb_laterals.values()] == [
        [160, 192],
        [320, 384],
    ]
    assert [list(lateral.conv.weight.shape[:2]) for lateral in model.backbone.pose_laterals.values()] == [
        [640, 48],
        [1280, 96],
    ]


def test_each_modality_has_logits_and_a_weighted_loss():
    model = make_model(loss_weights=[1.0, 1.5])
    inputs, labels = draw_inputs(), paddle.to_tensor([1, 2])
    outputs = model(**inputs)
    assert {name: list(logits.shape) for name, logits in outputs.items()} == {"rgb": [2, 4], "pose": [2, 4]}
    for name, pair in model.backbone(inputs).items():
        expected = model.classifiers[name](average_frames(*pair)).numpy()
        np.testing.assert_allclose(outputs[name].numpy(), expected, atol=1e-6)
        np.testing.assert_allclose(
            average_frames(*pair).numpy(), as_clips(pair[0]).mean(axis=[2, 3, 4]).numpy(), rtol=1e-4, atol=1e-6
        )
    criterion = CrossEntropy()
    losses = model.compute_losses(outputs, labels, criterion)
    rgb, pose = (criterion(outputs[name], labels).item() for name in ("rgb", "pose"))
    ours = {name: loss.item() for name, loss in losses.items()}
    assert ours == pytest.approx({"rgb_loss_cls": rgb, "pose_loss_cls": 1.5 * pose})
    only = make_model(loss_components=["pose"], loss_weights=[2.0])
    assert list(only.compute_losses(only(**inputs), labels, criterion)) == ["pose_loss_cls"]


@pytest.mark.parametrize(
    "components, expected", [(["rgb", "pose"], [0.5, 0.5]), (["rgb"], [0.75, 0.25]), (["pose"], [0.25, 0.75])]
)
def test_scores_are_fused_by_the_mean_of_the_trained_modalities(components, expected):
    model = make_model(loss_components=components, loss_weights=[1.0] * len(components))
    fused = model.fuse({"rgb": np.array([[0.75, 0.25]]), "pose": np.array([[0.25, 0.75]])})
    assert fused.tolist() == [expected]  # of a mean of probabilities: they sum to 1


def test_initialisation_has_the_published_spread():
    paddle.seed(0)
    model = RGBPoseConv3D(400, rgb_stage_blocks=[1] * 4, pose_stage_blocks=[1] * 3)
    for name, layer in model.named_sublayers():
        if isinstance(layer, nn.BatchNorm2D):
            assert (layer.weight.numpy() == (0 if name.endswith("bn3") else 1)).all(), name
    for head in (model.fc_rgb, model.fc_pose):
        assert head.weight.numpy().std() == pytest.approx(0.01, rel=0.02) and not head.bias.numpy().any()
    lateral = model.backbone.rgb_laterals["layer3"].conv.weight.numpy()
    assert lateral.std() == pytest.approx(np.sqrt(2 / (128 * 7)), rel=0.02)


def test_every_key_of_the_recipe_is_a_parameter():
    known = inspect.signature(RGBPoseConv3D).parameters
    recipe = vectors.load("rgbposeconv3d_ntu60_mmaction2")["reference"]
    for modality in NAMES:
        for key, value in recipe["backbone_args"][f"{modality}_pathway"].items():
            default = known[f"{modality}_{key}"].default
            assert (list(default) if isinstance(default, tuple) else default) == value, key
    for key in ("speed_ratio", "channel_ratio"):
        assert known[key].default == recipe["backbone_args"][key]
    for key in ("spatial_strides", "temporal_strides", "dilations", "stage_blocks", "lateral_inv"):
        assert {f"rgb_{key}", f"pose_{key}"} <= set(known)


def test_each_key_reaches_its_pathway():
    lists = ("stage_blocks", "inflate", "spatial_strides", "temporal_strides", "dilations", "lateral_activate")
    numbers = ("in_channels", "base_channels", "conv1_stride_s", "conv1_stride_t", "pool1_stride_s", "pool1_stride_t")
    keys = {}
    for start, (name, num_stages) in enumerate({"rgb": 3, "pose": 2}.items()):
        keys[name] = {
            key: [0, *range(start + 1, num_stages + start)] for key in lists
        }  # 0: no lateral before RGB's first
        for shift, key in enumerate(("stage_blocks", "spatial_strides", "temporal_strides", "dilations")):
            keys[name][key] = [start + shift + 1] * num_stages
        keys[name].update({key: start + 4 * index + 3 for index, key in enumerate((*numbers, "lateral_infl"))})
        keys[name].update(num_stages=num_stages, conv1_kernel=[1, 3 + 2 * start, 9], fusion_kernel=3 + 2 * start)
        keys[name].update(with_pool2=name == "rgb", lateral=name == "rgb", lateral_inv=name == "pose")
    arguments = {f"{name}_{key}": value for name, values in keys.items() for key, value in values.items()}
    with paddle.LazyGuard():
        model = RGBPoseConv3D(4, **arguments, pose_out_indices=[1], rgb_drop_path=0.25, pose_detach=True)
    configs = model.backbone.configs
    assert {name: {key: getattr(configs[name], key) for key in values} for name, values in keys.items()} == keys
    assert model.backbone.drop_path == {"rgb": 0.25, "pose": 0.0}
    assert model.backbone.detach == {"rgb": False, "pose": True}


def test_features_of_both_are_dropped_in_training_only():
    model = make_model(dropout_ratio=0.5)
    inputs = draw_inputs()
    features = model.backbone(inputs)
    assert all(
        (first == second).all()
        for first, second in zip(*(model.run_heads(features).values() for _ in range(2)), strict=True)
    )
    model.train()
    assert all(
        (first != second).any()
        for first, second in zip(*(model.run_heads(features).values() for _ in range(2)), strict=True)
    )


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"rgb_inflate": [1]}, "RGBPoseConv3D: rgb_inflate must have a number from 0 for each of 4 stages, got [1]"),
        ({"pose_fusion_kernel": 4}, "RGBPoseConv3D: pose_fusion_kernel must be odd, got 4"),
        ({"speed_ratio": 0}, "RGBPoseConv3D: speed_ratio must be at least 1, got 0"),
        ({"pose_drop_path": 1.5}, "RGBPoseConv3D: pose_drop_path must be from 0 to 1, got 1.5"),
        ({"head_in_channels": [2048, 512]}, "RGBPoseConv3D: head_in_channels must be [256, 64], got [2048, 512]"),
        ({"pose_out_indices": [1]}, "RGBPoseConv3D: pose_out_indices must be [2], the last stage, got [1]"),
        ({"loss_weights": [1.0]}, "RGBPoseConv3D: loss_weights must be those of rgb, pose, got [1.0]"),
        ({"loss_components": ["flow"]}, "RGBPoseConv3D: loss_components must be of ('rgb', 'pose'), got ['flow']"),
        (
            {"rgb_lateral_activate": [1, 0, 1, 1]},
            "RGBPoseConv3D: rgb_lateral_activate must begin with 1 zeros, as many as RGB has stages before the first "
            "one of the pose pathway, got [1, 0, 1, 1]",
        ),
        (
            {"rgb_num_stages": 2, **{f"rgb_{key}": [1, 1] for key in ("inflate", "spatial_strides", "dilations")},
             "rgb_temporal_strides": [1, 1], "rgb_lateral_activate": [0, 0]},
            "RGBPoseConv3D: rgb_num_stages must be at least pose_num_stages, got [2, 3]",
        ),
    ],
)  # fmt: skip
def test_bad_argument_is_named(arguments, message):
    with pytest.raises(ValueError) as error:
        make_model(**arguments)
    assert str(error.value) == message


@pytest.mark.parametrize(
    "shape, message",
    [
        ((2, 17, 8, 8, 8), "before its layer3 the rgb pathway has 3 frames of 4 x 4, its lateral 2 of 4 x 4"),
        ((2, 17, 12, 16, 16), "pathway has 3 frames of 4 x 4, its lateral 3 of 8 x 8; heat maps must have speed"),
        ((2, 3, 12, 8, 8), r"RGBPoseConv3D: pose: expected input \(N, 17, T, H, W\), got \(2, 3, 12, 8, 8\)"),
    ],
)
def test_heat_maps_that_do_not_fit_are_refused(shape, message):
    with pytest.raises(ValueError, match=message):
        make_model()(**{**draw_inputs(), "pose": draw(*shape)})


@pytest.mark.parametrize("names", [["rgb"], ["pose"], ["pose", "rgb"]])
def test_other_inputs_are_refused(names):
    given = " and ".join(names)
    message = f"RGBPoseConv3D takes rgb and pose, the reader gives {given}; set READER.name=rgbpose"
    with pytest.raises(ValueError, match=message):
        make_model().check_inputs(names)
    assert make_model().check_inputs(["rgb", "pose"]) is None


def test_a_network_of_one_input_refuses_two():
    model = PoseC3D(4, base_channels=8, stage_blocks=[1, 1, 1])
    assert model.check_inputs(["pose"]) is None and model.check_inputs(["rgb"]) is None
    message = "PoseC3D takes one input, the reader gives rgb and pose; set READER.name=clips, skeletons or heatmaps"
    with pytest.raises(ValueError, match=message):
        model.check_inputs(["rgb", "pose"])
