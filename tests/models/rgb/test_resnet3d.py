"""The family of ResNet3D against the authors' networks (golden vectors), ResNet3D's parts against hand-made answers."""

import math

import numpy as np
import paddle
import pytest
from golden_checks import assert_logits_match, count_params, l2_norm, list_trainable
from paddle import nn

import models
from models.parts.weights import convert_torch_weights
from models.rgb.resnet3d import ResNet3D, ZeroPadShortcut, make_shortcut
from tools.golden import vectors

pytestmark = pytest.mark.filterwarnings("ignore:When training, we now always track")

# Run by default, at the gain that hides less; the others take minutes.
QUICK = [
    "r3d_resnet10_B_conv1t3_cls400",
    "r3d_resnet2p1d18_B",
    "r3d_preresnet50_B",
    "r3d_densenet121",
]
GOLDEN = vectors.list_names("r3d_*")
RUNS = [
    pytest.param(name, gain, marks=() if name in QUICK and gain == 1.0 else pytest.mark.long)
    for name in GOLDEN
    for gain in (1.0, 2.0)
]


def run_golden(model, reference):
    """Return logits, loss and input after the backward pass."""
    x = paddle.to_tensor(vectors.draw_input(reference), stop_gradient=False)
    logits = model(x)
    # logsumexp: Paddle's CPU log_softmax and cross_entropy cut log-probabilities at -64, which gain 2 goes beyond.
    labels = paddle.to_tensor(reference["labels"]).unsqueeze(1)
    loss = (paddle.logsumexp(logits, axis=1) - paddle.take_along_axis(logits, labels, 1).squeeze(1)).mean()
    loss.backward()
    return logits.numpy(), loss.item(), x


def assert_gradients_match(model, x, norms, input_norm):
    """Compare each trainable parameter's and the input's gradient norm with the reference's, to 1e-2."""
    ours = {name: l2_norm(param.grad) for name, param in list_trainable(model)}
    assert set(ours) == set(norms)
    assert ours == pytest.approx(norms, rel=1e-2)
    assert l2_norm(x.grad) == pytest.approx(input_norm, rel=1e-2)


def collect_norms(model):
    """Return a dict that the next forward pass fills: layer name -> (shape, L2 norm) of its output."""
    norms = {}

    def keep(name):
        return lambda _layer, _inputs, output: norms.update({name: (list(output.shape), l2_norm(output))})

    for name, layer in model.named_sublayers():
        layer.register_forward_post_hook(keep(name))
    return norms


def assert_inner_outputs_match(inner, features):
    """Compare inner outputs in the order of the forward pass: the first that fails is where the networks part."""
    for name, expected in features.items():
        if name != "avgpool":  # no layer of ours
            shape, norm = inner[name]
            assert shape == expected["shape"], name
            assert norm == pytest.approx(expected["l2"], rel=1e-4), name


def detach_shortcuts(model):
    """Stop the gradient at each type-A shortcut, as the official code does."""
    for layer in model.sublayers():
        if isinstance(layer, ZeroPadShortcut):
            layer.register_forward_post_hook(lambda _layer, _inputs, output: output.detach())


def test_quick_runs_are_of_files_that_exist():
    assert set(QUICK) <= set(GOLDEN)


@pytest.mark.parametrize("name", GOLDEN)
def test_names_shapes_and_size_are_those_of_the_authors_network(name):
    reference = vectors.load(name)
    model_name, arguments = vectors.describe(reference)
    with paddle.LazyGuard():  # shapes without values: the widest would otherwise take half a gigabyte
        model = models.build_model(model_name, **arguments)
    weights = {key: np.empty(shape, np.float32) for key, shape in reference["state"].items()}
    assert set(convert_torch_weights(weights, model)) == set(model.state_dict())
    assert count_params(model) == reference["params"]


@pytest.mark.parametrize("name, gain", RUNS)
def test_outputs_and_gradients_are_those_of_the_authors_network(name, gain):
    reference = vectors.load(name)
    expected = reference if gain == 2.0 else reference["alt_gain1"]
    model = vectors.build(reference, gain)
    detach_shortcuts(model)
    inner = collect_norms(model)
    logits, loss, x = run_golden(model, reference)
    if gain == 2.0:
        assert_inner_outputs_match(inner, reference["features"])
    assert_logits_match(logits, expected["logits"])
    assert loss == pytest.approx(expected["loss"], rel=1e-4)
    assert_gradients_match(model, x, expected["grad_norms"], expected["input_grad_norm"])


@pytest.mark.long
def test_gradient_passes_our_type_a_shortcut_as_in_the_authors_network():
    reference = vectors.load("r3d_resnet18_A")
    model = vectors.build(reference, 2.0)
    logits, _, x = run_golden(model, reference)
    assert_logits_match(logits, reference["logits"])
    norms, input_norm = (reference[f"{key}_shortcut_not_detached"] for key in ("grad_norms", "input_grad_norm"))
    assert_gradients_match(model, x, norms, input_norm)


@pytest.mark.parametrize(
    "depth, shortcut, num_params",
    [
        (18, "B", 33_255_717),
        (34, "B", 63_565_349),
        (50, "B", 46_405_925),
        (101, "B", 85_452_069),
        (152, "B", 117_610_789),
        (200, "B", 126_810_405),
        (18, "A", 33_081_893),
        (50, "A", 43_629_349),
    ],
)
def test_parameter_counts_are_those_of_the_authors_network(depth, shortcut, num_params):
    with paddle.LazyGuard():  # shapes without values: a depth of 200 would otherwise take half a gigabyte
        model = ResNet3D(101, depth, shortcut)
    assert count_params(model) == num_params


def test_type_a_shortcut_keeps_every_second_voxel_and_adds_zero_channels():
    x = np.random.default_rng(0).standard_normal((2, 3, 4, 5, 6)).astype(np.float32)
    y = ZeroPadShortcut(3, 8, stride=2)(paddle.to_tensor(x)).numpy()
    assert y.shape == (2, 8, 2, 3, 3)
    np.testing.assert_array_equal(y[:, :3], x[:, :, [0, 2]][:, :, :, [0, 2, 4]][..., [0, 2, 4]])
    assert not y[:, 3:].any()


@pytest.mark.parametrize("kind", ["A", "B"])
def test_a_shortcut_is_made_where_the_size_changes(kind):
    assert make_shortcut(4, 4, 1, kind) is None
    x = paddle.ones([1, 4, 4, 5, 6])
    assert list(make_shortcut(4, 4, 2, kind)(x).shape) == [1, 4, 2, 3, 3]
    assert list(make_shortcut(4, 6, 1, kind)(x).shape) == [1, 6, 4, 5, 6]


def test_gradient_passes_the_type_a_shortcut_where_a_voxel_is_kept():
    x = paddle.zeros([1, 2, 3, 4, 3])
    x.stop_gradient = False
    ZeroPadShortcut(2, 4, stride=2)(x).sum().backward()
    expected = np.zeros((1, 2, 3, 4, 3))
    expected[:, :, ::2, ::2, ::2] = 1
    np.testing.assert_array_equal(x.grad.numpy(), expected)


def test_widen_factor_is_rounded_down():
    model = ResNet3D(4, depth=10, widen_factor=0.3)
    assert [model.conv1.weight.shape[0], model.fc.weight.shape[0]] == [19, 153]  # 64 x 0.3 = 19.2, 512 x 0.3 = 153.6


def test_stem_options_set_the_sizes():
    clip = paddle.zeros([1, 2, 16, 32, 32])
    plain = ResNet3D(4, depth=10, widen_factor=0.125, in_channels=2).forward_features(clip)
    assert [list(x.shape) for x in plain] == [[1, 8, 8, 8, 8], [1, 16, 4, 4, 4], [1, 32, 2, 2, 2], [1, 64, 1, 1, 1]]
    model = ResNet3D(4, depth=10, widen_factor=0.125, in_channels=2, conv1_t_size=5, conv1_t_stride=4, no_max_pool=True)
    assert list(model.conv1.weight.shape) == [8, 2, 5, 7, 7]
    assert list(model.forward_features(clip)[0].shape) == [1, 8, 4, 16, 16]


def test_a_single_small_frame_is_enough():
    model = ResNet3D(4, depth=10, widen_factor=0.125)
    model.eval()
    assert np.isfinite(model(paddle.ones([1, 3, 1, 1, 1])).numpy()).all()


FAMILY = {
    "resnet": {"depth": 18, "widen_factor": 0.5},
    "r2plus1d": {"depth": 18, "widen_factor": 0.5},
    "preresnet": {"depth": 18, "widen_factor": 0.5},
    "wideresnet": {"depth": 50, "widen_factor": 0.125},
    "resnext": {"depth": 50, "widen_factor": 0.25},
    "densenet": {"depth": 121, "growth_rate": 16},
}


@pytest.mark.parametrize("name", FAMILY)
def test_initialisation_has_the_published_spread(name):
    paddle.seed(0)
    model = models.build_model(name, num_classes=400, **FAMILY[name])
    for layer_name, layer in model.named_sublayers():
        if isinstance(layer, nn.Conv3D):
            weight = layer.weight.numpy()
            fan_out = weight.shape[0] * math.prod(weight.shape[2:])
            # Five standard errors: of a spread over n draws, sqrt(1 / 2n); of a mean, the spread by sqrt(n).
            assert weight.std() == pytest.approx(math.sqrt(2 / fan_out), rel=5 / math.sqrt(2 * weight.size)), layer_name
            assert abs(weight.mean()) < 5 * weight.std() / math.sqrt(weight.size), layer_name
            assert layer.bias is None, layer_name
        elif isinstance(layer, nn.BatchNorm3D):
            assert (layer.weight.numpy() == 1).all() and (layer.bias.numpy() == 0).all(), layer_name
        elif isinstance(layer, nn.Linear):
            bound = 1 / math.sqrt(layer.weight.shape[0])
            for values in (layer.weight.numpy(), layer.bias.numpy()):
                if name == "densenet" and values.ndim == 1:
                    assert not values.any()
                    continue
                assert np.abs(values).max() <= bound
                assert values.std() == pytest.approx(bound / math.sqrt(3), rel=0.15)


def test_running_statistics_follow_a_batch_by_a_tenth():
    model = ResNet3D(4, depth=50, widen_factor=0.125)
    inputs = {}

    def keep(name):
        return lambda _layer, arguments: inputs.update({name: arguments[0].numpy()})

    for name, layer in model.named_sublayers():
        if isinstance(layer, nn.BatchNorm3D):
            layer.register_forward_pre_hook(keep(name))
    model.train()
    model(paddle.to_tensor(np.random.default_rng(0).standard_normal((2, 3, 4, 16, 16)).astype(np.float32)))
    statistics = model.state_dict()
    assert len(inputs) == 53
    for name, x in inputs.items():
        mean, variance = x.mean(axis=(0, 2, 3, 4)), x.var(axis=(0, 2, 3, 4))
        atol = 1e-4 * np.abs(x).max()
        np.testing.assert_allclose(statistics[f"{name}._mean"].numpy(), 0.1 * mean, rtol=1e-3, atol=atol)
        np.testing.assert_allclose(statistics[f"{name}._variance"].numpy(), 0.9 + 0.1 * variance, rtol=1e-3, atol=atol)


@pytest.mark.parametrize("name", FAMILY)
def test_input_of_another_layout_is_refused(name):
    with paddle.LazyGuard():
        model = models.build_model(name, num_classes=4, **FAMILY[name])
    with pytest.raises(ValueError) as error:
        model(paddle.zeros([2, 8, 32, 32, 3]))
    message = f"{models.MODELS[name].__name__}: expected input (N, 3, T, H, W), got (2, 8, 32, 32, 3); check the reader"
    assert message in str(error.value)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"depth": 40}, "ResNet3D: depth must be one of 10, 18, 34, 50, 101, 152, 200, got 40"),
        ({"shortcut": "C"}, "ResNet3D: shortcut must be 'A' or 'B', got 'C'"),
        ({"widen_factor": 0.01}, "ResNet3D: widen_factor must be at least 1/64, got 0.01"),
    ],
)
def test_bad_argument_is_named(arguments, message):
    with pytest.raises(ValueError) as error:
        ResNet3D(4, **arguments)
    assert str(error.value) == message
