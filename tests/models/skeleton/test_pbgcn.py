"""PB-GCN against the authors' network (golden vectors), its options against their defaults and hand-made answers."""

import inspect

import golden_skeletons
import numpy as np
import paddle
import pytest
from static_programs import assert_program_matches

from models.parts.weights import convert_torch_weights
from models.skeleton.pbgcn import (
    LABELINGS,
    LAYERS,
    PBGCN,
    JointNorm,
    PartConv,
    PartUnit,
    ResidualPartUnit,
    convert_pbgcn_weights,
)
from tools.golden import vectors

pytestmark = pytest.mark.filterwarnings("ignore:When training, we now always track")

END_TO_END = "pbgcn_ntu_4part_e2e_T32"  # its input is made of raw joints
GOLDEN = [name for name in vectors.list_names("pbgcn_*") if name != END_TO_END]
CHAIN = [[4, 4, 1], [4, 6, 2]]
SMALL = {"layers_config": CHAIN, "labeling_mode": "parts", "mask_learning": True, "use_data_bn": True, "dropout": 0.0}

# The authors' `STGraphConvResnet`, its arguments with a default and that of their graph; the names that differ.
DEFAULTS = {
    "num_actors": 1,
    "use_data_bn": False,
    "layers_config": None,
    "labeling_mode": "uniform",
    "mask_learning": False,
    "use_local_bn": False,
    "multiscale": False,
    "temporal_kernel_size": 9,
    "dropout": 0.5,
}
OURS = {"num_actors": "num_persons"}


def drop_unused(reference):
    """Leave out the parameters that the authors' network has but never uses: ours does not train or have them."""
    unused = {name for name, norm in reference["grad_norms"].items() if norm is None}
    assert all("bn1." in name or "data_bn." in name for name in unused)
    size = sum(int(np.prod(reference["state"][name])) for name in unused)
    norms = {name: norm for name, norm in reference["grad_norms"].items() if name not in unused}
    return {**reference, "grad_norms": norms, "params": reference["params"] - size}


def find_layer(name):
    """Name our layer with the output of one of the authors'; None for a ReLU that they apply twice."""
    first, *rest = name.split(".")
    inner = {"bn1": "graph_norm", "local_bn": "graph_norm", "drop": "dropout", "temporal_conv": "temporal"}
    if first == "head":
        layer_names = {**inner, "bn2": "temporal_norm", "relu": None}
        return ".".join(["stem", *(layer_names[layer] for layer in rest)]) if rest != ["relu"] else None
    return {"data_bn": "data_norm", "fcn": "fc", "layers": ".".join(["units", *rest])}[first]


@pytest.mark.parametrize("name", [*GOLDEN, END_TO_END])
def test_outputs_and_gradients_are_those_of_the_authors_network(name):
    run = golden_skeletons.run_golden(name)
    golden_skeletons.assert_inner_outputs_match(run, find_layer)
    golden_skeletons.assert_outputs_match(run)
    run.reference = drop_unused(run.reference)
    golden_skeletons.assert_gradients_match(run)
    trainable = [param for param in run.model.parameters() if not param.stop_gradient]
    assert sum(param.size for param in trainable) == run.reference["params"]


@pytest.mark.parametrize("name", [*GOLDEN, END_TO_END])
def test_subsets_are_those_of_the_authors_graph(name):
    reference = vectors.load(name)
    expected = np.array(reference["constants"]["A"])
    expected = expected.reshape([-1, *expected.shape[-2:]])  # their graphs of one subset have no axis for it
    model = PBGCN(**{**vectors.describe(reference)[1], "layers_config": CHAIN})
    for layer in model.sublayers():
        if isinstance(layer, PartConv):
            np.testing.assert_allclose(layer.adjacency.numpy()[0], expected, atol=1e-6)


def test_defaults_are_those_of_the_original():
    parameters = inspect.signature(PBGCN).parameters
    assert {name: parameters[OURS.get(name, name)].default for name in DEFAULTS} == DEFAULTS
    assert parameters["num_classes"].default is inspect.Parameter.empty
    shipped = vectors.load("pbgcn_ntu_4part_T32")["reference"]["entry"]["layers_config"]
    assert [list(unit) for unit in LAYERS] == shipped
    assert parameters["num_parts"].default == 4  # what both shipped graphs have


@pytest.mark.parametrize("mode, num_subsets", list(zip(LABELINGS, [1, 2, 1, 3, 1, 1, 5, 9], strict=True)))
def test_every_labeling_mode_has_weights_for_each_subset(mode, num_subsets):
    model = PBGCN(4, in_channels=2, labeling_mode=mode, mask_learning=True, layers_config=CHAIN)
    assert model.stem.graph.mask.shape == [1, num_subsets, 25, 25]
    assert model.stem.graph.weight.shape == [4, 2 * num_subsets, 1, 1]
    assert list(model(paddle.ones([2, 2, 5, 25, 1])).shape) == [2, 4]


@pytest.mark.parametrize("num_parts, num_subsets", [(2, 3), (4, 5), (6, 7)])
def test_parts_can_be_two_four_or_six(num_parts, num_subsets):
    for layout, num_joints in (("ntu25", 25), ("hdm05", 31)):
        model = PBGCN(4, layout=layout, labeling_mode="parts", num_parts=num_parts, layers_config=CHAIN)
        assert model.stem.graph.adjacency.shape == [1, num_subsets, num_joints, num_joints]


def test_a_part_convolution_adds_up_the_subsets():
    adjacency = np.zeros((2, 3, 3), np.float32)
    adjacency[0] = np.eye(3)
    adjacency[1, 2, 0] = 0.5  # joint 2 sends half of what it has to joint 0
    conv = PartConv(1, 1, adjacency, mask_learning=True)
    conv.weight.set_value(np.array([[[[10.0]], [[100.0]]]], np.float32))
    conv.bias.set_value(np.array([1.0, 2.0], np.float32).reshape([2, 1, 1, 1]))
    conv.mask.set_value(np.full((1, 2, 3, 3), 2.0, np.float32))
    x = paddle.to_tensor([[[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]]])
    np.testing.assert_allclose(conv(x).numpy()[0, 0], [[323, 43, 63], [683, 103, 123]])


def test_local_batch_norm_makes_each_joint_alike():
    norm = JointNorm(2, 3)
    scale = np.array([[1, 10, 100], [7, 2, 5]], np.float32).reshape([1, 2, 1, 3])
    x = np.random.default_rng(0).standard_normal((4, 2, 8, 3)).astype(np.float32) * scale + scale
    y = norm(paddle.to_tensor(x)).numpy()
    np.testing.assert_allclose(y.mean(axis=(0, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(y.std(axis=(0, 2)), 1, atol=1e-3)
    expected = (x - x.mean(axis=(0, 2), keepdims=True)) / x.std(axis=(0, 2), keepdims=True)
    np.testing.assert_allclose(y, expected, atol=1e-3)


def test_options_reach_every_unit():
    options = {"use_local_bn": True, "temporal_kernel_size": 5, "dropout": 0.25}
    model = PBGCN(4, layers_config=CHAIN, **options)
    units = [layer for layer in model.sublayers() if isinstance(layer, PartUnit)]
    assert len(units) == 3
    for unit in units:
        assert isinstance(unit.graph_norm, JointNorm)
        assert unit.temporal.weight.shape[2:] == [5, 1]
        assert unit.dropout.p == 0.25
        assert unit.graph.mask is None


def test_multiscale_units_stand_side_by_side():
    adjacency = np.eye(5, dtype=np.float32)[None]
    parts = {"adjacency": adjacency, "mask_learning": False, "use_local_bn": False, "dropout": 0.0}
    unit = ResidualPartUnit(6, 7, 9, stride=2, multiscale=True, **parts)
    assert [branch.temporal.weight.shape for branch in unit.branches] == [[3, 3, 9, 1], [4, 4, 17, 1]]
    unit.eval()
    x = paddle.to_tensor(np.random.default_rng(0).standard_normal((2, 6, 9, 5)).astype(np.float32))
    y = paddle.concat([branch(x) for branch in unit.branches], axis=1) + unit.shortcut(x)
    np.testing.assert_array_equal(unit(x).numpy(), paddle.nn.functional.relu(y).numpy())
    assert list(y.shape) == [2, 7, 5, 5]
    model = PBGCN(4, layers_config=[[4, 5, 2]], multiscale=True)
    assert list(model(paddle.ones([2, 3, 8, 25, 1])).shape) == [2, 4]


def test_without_data_batch_norm_its_weights_are_kept_and_left_alone():
    model = PBGCN(4, layers_config=CHAIN)
    assert {"data_norm.norm.weight", "data_norm.norm._mean"} <= set(model.state_dict())
    assert all(param.stop_gradient for param in model.data_norm.parameters())
    x = paddle.to_tensor(np.random.default_rng(0).standard_normal((2, 3, 6, 25, 1)).astype(np.float32))
    model(x)
    assert not model.data_norm.norm._mean.numpy().any()  # no batch came by
    model.eval()
    before = model(x).numpy()
    model.data_norm.norm.weight.set_value(paddle.full([75], 5.0))
    np.testing.assert_array_equal(model(x).numpy(), before)


def test_persons_go_into_the_batch_and_out_again():
    model = PBGCN(4, num_persons=2, layers_config=CHAIN)
    model.eval()
    person = np.random.default_rng(0).standard_normal((3, 3, 6, 25, 1)).astype(np.float32)
    other = np.random.default_rng(1).standard_normal((3, 3, 6, 25, 1)).astype(np.float32)
    both, twice, again = (
        model(paddle.to_tensor(np.concatenate(pair, axis=4))).numpy()
        for pair in ((person, other), (person, person), (other, other))
    )
    np.testing.assert_allclose(both, (twice + again) / 2, atol=1e-5)


@pytest.mark.parametrize("use_local_bn", [False, True])
def test_a_static_program_of_any_batch_and_length_gives_the_same_logits(use_local_bn):
    rng = np.random.default_rng(0)
    batches = [paddle.to_tensor(rng.standard_normal((n, 3, t, 25, 1)).astype(np.float32)) for n, t in ((2, 8), (3, 13))]
    assert_program_matches(PBGCN(4, **SMALL, use_local_bn=use_local_bn), batches)


def test_leftover_weights_are_refused_but_step_counters():
    reference = vectors.load("pbgcn_ntu_DAD_nomask_T16")
    model = PBGCN(**vectors.describe(reference)[1])
    weights = vectors.draw_weights(reference)
    weights |= {"layers.9.stUnit.0.mask": np.zeros((1, 25, 25)), "head.bn1.num_batches_tracked": np.asarray(5)}
    with pytest.raises(
        ValueError, match=r"1 entries do not fit this PBGCN: units\.9\.branches\.0\.graph\.mask is left"
    ):
        convert_torch_weights(convert_pbgcn_weights(weights), model)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"labeling_mode": "part"}, f"labeling_mode must be one of {', '.join(LABELINGS)}, got 'part'"),
        ({"temporal_kernel_size": 8}, "temporal_kernel_size must be odd, got 8"),
        ({"layers_config": []}, "layers_config is empty; set [input channels, output channels, stride] of each unit"),
        (
            {"layers_config": [[4, 8]]},
            "layers_config, unit 0: expected [input channels, output channels, stride], got [4, 8]",
        ),
        (
            {"layers_config": [[4, 8.0, 1]]},
            "layers_config, unit 0: expected [input channels, output channels, stride], got [4, 8.0, 1]",
        ),
        ({"layers_config": [[4, 8, 1], [4, 8, 1]]}, "layers_config, unit 1 takes 4 channels, the one before returns 8"),
        (
            {"layers_config": [[4, 1, 1]], "multiscale": True},
            "layers_config, unit 0: multiscale halves 1 channels; set 2 or more",
        ),
    ],
)
def test_bad_argument_is_named(arguments, message):
    with pytest.raises(ValueError) as error:
        PBGCN(4, **arguments)
    assert str(error.value) == f"PBGCN: {message}"


def test_a_layout_without_parts_and_a_wrong_input_are_refused():
    with pytest.raises(ValueError, match=r"no division into 3 parts"):
        PBGCN(4, labeling_mode="parts", num_parts=3)
    with pytest.raises(ValueError, match=r"PBGCN: expected input \(N, 15, T, 25, 1\), got \(1, 3, 4, 25, 1\)"):
        PBGCN(4, in_channels=15, layers_config=CHAIN)(paddle.ones([1, 3, 4, 25, 1]))


def test_a_batch_is_learnt_by_heart_and_survives_a_round_trip():
    paddle.seed(0)
    model = PBGCN(4, num_persons=2, **SMALL)
    x = paddle.to_tensor(np.random.default_rng(0).standard_normal((4, 3, 8, 25, 2)).astype(np.float32))
    labels = paddle.arange(4)
    optimizer = paddle.optimizer.Momentum(0.05, 0.9, parameters=model.parameters())
    for _ in range(60):
        loss = paddle.nn.functional.cross_entropy(model(x), labels)
        loss.backward()
        optimizer.step()
        optimizer.clear_grad()
    assert loss.item() < 0.1
    assert np.abs(model.stem.graph.mask.numpy() - 1).max() > 1e-3  # the mask has learnt too
    other = PBGCN(4, num_persons=2, **SMALL)
    missing, unexpected = other.set_state_dict({name: value.numpy() for name, value in model.state_dict().items()})
    assert not missing and not unexpected
    model.eval()
    other.eval()
    np.testing.assert_array_equal(other(x).numpy(), model(x).numpy())
