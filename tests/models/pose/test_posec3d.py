"""PoseC3D against the authors' networks (golden vectors), and its pathway against 3-D layers and hand-made answers."""

import math

import golden_networks
import numpy as np
import paddle
import paddle.nn.functional as F
import pytest
from golden_checks import assert_logits_match, assert_parameter_gradients_match, draw, l2_norm
from paddle import nn

from models.parts.pathway import (
    Pathway,
    PathwayBlock,
    PathwayConfig,
    convert_pathway_weights,
    flatten_kernel,
    stack_frames,
    subsample_frames,
)
from models.pose.posec3d import PoseC3D
from models.rgb.slowonly import SlowOnly
from tools.golden import vectors

pytestmark = pytest.mark.filterwarnings("ignore:When training, we now always track")
SMALL = {"base_channels": 4, "stage_blocks": [1, 1, 1]}
FILES = [name for name in vectors.list_names("posec3d_*") if "c3d_light" not in name and "x3d" not in name]


def test_both_repositories_have_a_file():
    assert FILES == [
        "posec3d_pose_only_pyskl",
        "posec3d_slowonly_r50_ntu60_kp_mmaction2",
        "posec3d_slowonly_r50_ntu60_kp_pyskl",
    ]


@pytest.mark.parametrize("name", FILES)
def test_names_shapes_and_size_are_those_of_the_authors_network(name):
    golden_networks.assert_names_and_sizes(name)


LONG = [pytest.param(FILES[1], marks=pytest.mark.long)]  # the numbers of FILES[2]


@pytest.mark.parametrize("name", [FILES[0], *LONG, FILES[2]])
def test_outputs_and_gradients_are_those_of_the_authors_network(name):
    reference = vectors.load(name)
    model = vectors.build(reference)
    features = []
    model.backbone.layer3[-1].register_forward_post_hook(lambda _layer, _inputs, output: features.append(output))
    x = paddle.to_tensor(vectors.draw_input(reference), stop_gradient=False)
    logits = model(x)
    num_samples, channels, num_frames, *size = reference["feature"]["shape"]
    assert list(features[0].shape) == [num_samples * num_frames, channels, *size]
    values = features[0].numpy().astype(np.float64)
    assert [values.mean(), values.std()] == pytest.approx([reference["feature"][key] for key in ("mean", "std")], 1e-4)
    assert_logits_match(logits.numpy(), reference["logits"]["cls"])
    loss = golden_networks.find_loss(logits, reference["labels"])
    assert loss.item() == pytest.approx(reference["loss"]["cls"], rel=1e-4)
    loss.backward()
    assert_parameter_gradients_match(reference, model, reference["grad_norms"]["params"])
    assert l2_norm(x.grad) == pytest.approx(reference["grad_norms"]["input"]["x"], rel=1e-2)


# The pathway, written once more with 3-D operators.


def convolve(x, conv, kernel, stride=(1, 1, 1), dilation=1):
    """Convolve clips by the weights of a 2-D layer, given the kernel that the layer stands for."""
    weight = conv.weight.reshape([conv.weight.shape[0], -1, *kernel])
    padding = [kernel[0] // 2, *(size // 2 * dilation for size in kernel[1:])]
    return F.conv3d(x, weight, stride=list(stride), padding=padding, dilation=[1, dilation, dilation])


def normalize(x, bn):
    """Apply a batch norm in evaluation."""
    shape = [1, -1, 1, 1, 1]
    state = {key: value.reshape(shape) for key, value in bn.state_dict().items()}
    return (x - state["_mean"]) / paddle.sqrt(state["_variance"] + 1e-5) * state["weight"] + state["bias"]


def run_block_in_3d(block, x, is_inflated, stride, dilation):
    """Run a bottleneck; `stride` is [T, H, W]."""
    y = F.relu(normalize(convolve(x, block.conv1, (3, 1, 1) if is_inflated else (1, 1, 1)), block.bn1))
    y = F.relu(normalize(convolve(y, block.conv2, (1, 3, 3), stride, dilation), block.bn2))
    y = normalize(convolve(y, block.conv3, (1, 1, 1)), block.bn3)
    if block.downsample is not None:
        x = normalize(convolve(x, block.downsample[0], (1, 1, 1), stride), block.downsample[1])
    return F.relu(y + x)


def run_in_3d(pathway, x):
    """Run a whole pathway."""
    config = pathway.config
    strides = [config.conv1_stride_t, config.conv1_stride_s, config.conv1_stride_s]
    x = F.relu(normalize(convolve(x, pathway.conv1, config.conv1_kernel, strides), pathway.bn1))
    x = F.max_pool3d(x, [1, 3, 3], [config.pool1_stride_t, config.pool1_stride_s, config.pool1_stride_s], [0, 1, 1])
    for stage in range(config.num_stages):
        for index, block in enumerate(getattr(pathway, f"layer{stage + 1}")):
            stride = [config.temporal_strides[stage]] + 2 * [config.spatial_strides[stage]]
            stride = [1, 1, 1] if index else stride
            x = run_block_in_3d(block, x, config.inflate[stage], stride, config.dilations[stage])
        if stage == 0 and config.with_pool2:
            x = F.max_pool3d(x, [2, 1, 1], [2, 1, 1])
    return x


def run(pathway, clips):
    """Run a pathway, and give its output as clips (N, C, T, H, W)."""
    x, num_frames = pathway.run_stem(clips)
    for stage in range(pathway.config.num_stages):
        x, num_frames = pathway.run_stage(stage, x, num_frames)
    return x.reshape([-1, num_frames, *x.shape[1:]]).transpose([0, 2, 1, 3, 4])


PLAIN = {"inflate": [0, 1], "spatial_strides": [1, 2], "temporal_strides": [1, 1], "dilations": [1, 1]}


def make_pathway(**changes):
    """Make a pathway of two stages with random statistics, in evaluation mode."""
    config = PathwayConfig(
        "a_", **{"in_channels": 3, "base_channels": 4, "stage_blocks": [2, 1], "num_stages": 2} | PLAIN | changes
    )
    pathway = Pathway(config, [0, 0], zero_init_residual=False)
    rng = np.random.default_rng(1)
    for name, value in pathway.state_dict().items():
        if len(value.shape) == 1:
            value.set_value(rng.uniform(0.5, 1.5, value.shape).astype(np.float32) - name.endswith(("bias", "_mean")))
    pathway.eval()
    return pathway


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"conv1_kernel": [5, 3, 7], "conv1_stride_s": 2, "conv1_stride_t": 3},
        {"pool1_stride_s": 2, "pool1_stride_t": 2},
        {"inflate": [1, 0], "spatial_strides": [2, 1], "temporal_strides": [2, 3], "dilations": [1, 1]},
        {"dilations": [3, 2], "with_pool2": True},
        {"stage_blocks": [1, 2, 9]},
    ],
)
@paddle.no_grad()
def test_a_pathway_is_a_3d_network_of_its_config(changes):
    pathway = make_pathway(**changes)
    clips = draw(2, 3, 11, 19, 20)
    expected, ours = run_in_3d(pathway, clips).numpy(), run(pathway, clips).numpy()
    assert ours.shape == expected.shape
    np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())


@paddle.no_grad()
def test_the_pathway_of_rgb_is_slowonly_and_takes_its_weights_by_name():
    model = SlowOnly(4, depth=26, widen_factor=0.125)
    model.eval()
    config = PathwayConfig(
        "", 3, 8, [2, 2, 2, 2], 4, [0, 0, 1, 1], [1, 2, 2, 2], [1] * 4, [1] * 4, (1, 7, 7), 2, 1, 2, 1
    )
    pathway = Pathway(config, [0] * 4, zero_init_residual=True)
    assert pathway.set_state_dict(model.backbone.state_dict()) == ([], [])
    pathway.eval()
    clips = draw(2, 3, 5, 40, 33)
    expected = model.backbone(clips)[-1].numpy()
    np.testing.assert_allclose(
        run(pathway, clips).transpose([0, 2, 1, 3, 4]).flatten(0, 1).numpy(), expected, atol=1e-5
    )


def test_a_stride_in_time_comes_after_the_first_batch_norm():
    block = PathwayBlock(
        4, 2, is_inflated=True, spatial_stride=1, temporal_stride=2, dilation=1, zero_init_residual=False
    )
    seen = {}
    for name in ("bn1", "bn2"):
        getattr(block, name).register_forward_pre_hook(
            lambda _layer, inputs, name=name: seen.update({name: inputs[0].shape[0]})
        )
    block(draw(10, 4, 3, 3), 5)
    assert seen == {"bn1": 10, "bn2": 6}


def test_frames_are_subsampled_from_the_first_one_of_each_clip():
    x = paddle.arange(10).reshape([10, 1, 1, 1])
    assert subsample_frames(x, 5, 2).flatten().tolist() == [0, 2, 4, 5, 7, 9]
    assert subsample_frames(x, 5, 1) is x


def test_neighbours_become_channels():
    x = paddle.to_tensor(np.arange(1.0, 7, dtype=np.float32).reshape(1, 2, 3, 1, 1))
    assert stack_frames(x, 3)[0, :, :, 0, 0].tolist() == [
        [0, 1, 2],
        [1, 2, 3],
        [2, 3, 0],
        [0, 4, 5],
        [4, 5, 6],
        [5, 6, 0],
    ]
    assert stack_frames(x, 1) is x


def test_a_kernel_of_several_frames_is_taken_from_3d_weights():
    weight = np.random.default_rng(0).standard_normal((4, 2, 3, 5, 5)).astype(np.float32)
    conv = nn.Conv2D(6, 4, 5, bias_attr=False)
    conv.weight.set_value(flatten_kernel(weight))
    x = draw(1, 2, 4, 6, 6)
    expected = F.conv3d(x, paddle.to_tensor(weight), padding=[1, 0, 0]).numpy()
    stacked = stack_frames(x, 3)[0].transpose([1, 0, 2, 3])
    np.testing.assert_allclose(conv(stacked).transpose([1, 0, 2, 3])[None].numpy(), expected, atol=1e-4)


# The model.


def test_the_second_classifier_of_a_file_that_was_tested_is_left_out():
    weights = {"cls_head.fc_cls.bias": np.zeros(4), "cls_head.new_cls.weight": np.zeros([4, 8, 1, 1, 1])}
    assert list(convert_pathway_weights(weights)) == ["fc.bias"]


def test_features_are_averaged_over_time_and_space_and_half_dropped_in_training():
    model = PoseC3D(4, **SMALL)
    seen = []
    model.fc.register_forward_pre_hook(lambda _layer, inputs: seen.append(inputs[0].numpy()))
    maps = draw(2, 17, 6, 16, 24)
    model.eval()
    logits = model(maps).numpy()
    np.testing.assert_allclose(seen[0], run(model.backbone, maps).mean(axis=[2, 3, 4]).numpy(), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(logits, seen[0] @ model.fc.weight.numpy() + model.fc.bias.numpy(), atol=1e-6)
    model.train()
    model(maps)
    assert (seen[1] == 0).mean() == pytest.approx(0.5, abs=0.2)


def test_the_published_network_halves_frames_in_its_last_stage_only():
    backbone = PoseC3D(4, **SMALL).backbone
    x, num_frames = backbone.run_stem(draw(1, 17, 6, 16, 16))
    sizes = [(num_frames, x.shape[2])]
    for stage in range(3):
        x, num_frames = backbone.run_stage(stage, x, num_frames)
        sizes.append((num_frames, x.shape[2]))
    assert sizes == [(6, 16), (6, 8), (6, 4), (3, 2)]


def test_initialisation_has_the_published_spread():
    paddle.seed(0)
    model = PoseC3D(400, stage_blocks=[2, 1, 1])
    for name, layer in model.named_sublayers():
        if isinstance(layer, nn.Conv2D):
            weight = layer.weight.numpy()
            spread = math.sqrt(2 / (weight.shape[0] * math.prod(weight.shape[2:])))
            assert weight.std() == pytest.approx(spread, rel=5 / math.sqrt(2 * weight.size)), name
        elif isinstance(layer, nn.BatchNorm2D):
            assert (layer.weight.numpy() == (0 if name.endswith("bn3") else 1)).all(), name
    assert model.fc.weight.numpy().std() == pytest.approx(0.01, rel=0.02) and not model.fc.bias.numpy().any()


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"inflate": [0, 1]}, "PoseC3D: inflate must have a number from 0 for each of 3 stages, got [0, 1]"),
        ({"temporal_strides": []}, "PoseC3D: temporal_strides must have a number from 1 for each of 3 stages, got []"),
        ({"stage_blocks": [1, 0, 1]}, "PoseC3D: stage_blocks must have a number from 1 for each stage, got [1, 0, 1]"),
        ({"stage_blocks": []}, "PoseC3D: stage_blocks must have a number from 1 for each stage, got []"),
        ({"base_channels": 0}, "PoseC3D: base_channels must be at least 1, got 0"),
    ],
)  # fmt: skip
def test_bad_argument_is_named(arguments, message):
    with pytest.raises(ValueError) as error:
        PoseC3D(4, **arguments)
    assert str(error.value) == message


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"num_stages": 3}, "a_num_stages must be from 1 to 2, the length of stage_blocks, got 3"),
        ({"conv1_kernel": [1, 2, 7]}, "a_conv1_kernel must be three odd numbers, got [1, 2, 7]"),
        ({"conv1_kernel": [1, 7]}, "a_conv1_kernel must be three odd numbers, got [1, 7]"),
        ({"fusion_kernel": 4}, "a_fusion_kernel must be odd, got 4"),
        ({"pool1_stride_t": 0}, "a_pool1_stride_t must be at least 1, got 0"),
        ({"dilations": [0, 1]}, "a_dilations must have a number from 1 for each of 2 stages, got [0, 1]"),
    ],
)
def test_bad_plan_is_named(changes, message):
    with pytest.raises(ValueError) as error:
        make_pathway(**changes)
    assert str(error.value) == message


def test_input_of_another_layout_is_refused():
    with pytest.raises(ValueError, match=r"PoseC3D: expected input \(N, 17, T, H, W\), got \(2, 6, 17, 16, 16\)"):
        PoseC3D(4, **SMALL)(paddle.zeros([2, 6, 17, 16, 16]))
