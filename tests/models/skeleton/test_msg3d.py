"""MS-G3D against the authors' network and PYSKL's (golden vectors), and its laws."""

import re

import golden_skeletons
import numpy as np
import paddle
import paddle.nn.functional as F
import pytest
from static_programs import assert_program_matches

from models.skeleton.msg3d import MSG3D, MultiScaleGraphConv, WindowedGraphConv, arrange_graph_weights
from tools.golden import vectors

pytestmark = pytest.mark.filterwarnings("ignore:When training, we now always track")

SMALL = {"base_channels": 6, "num_blocks": 2, "num_gcn_scales": 4, "num_g3d_scales": 2}


def find_layer(name):
    """Return the name of our layer with the output of an authors' layer, up to the order of joints and frames."""
    name = re.sub(r"^backbone\.", "", name)
    for pattern, ours in (
        (r"(?:sgcn)(\d)\.0", "graph"), (r"(?:sgcn)(\d)(?:\.2)?", "temporal"), (r"(?:tcn)(\d)", "last")
    ):  # fmt: skip
        found = re.fullmatch(pattern, name)
        if found:
            return f"blocks.{int(found[1]) - 1}.{ours}"
    return "fc" if name == "fc" else None


def draw(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("name", ["msg3d_ntu60_T32", "pyskl_msg3d_ntu_T32"])
def test_network_is_the_authors(name):
    golden_skeletons.assert_size_is_the_authors(name)
    run = golden_skeletons.run_golden(name)
    golden_skeletons.assert_inner_outputs_match(run, find_layer)
    golden_skeletons.assert_outputs_match(run)
    golden_skeletons.assert_gradients_match(run, ties=True)


@pytest.mark.long
@paddle.no_grad()
def test_logits_of_300_frames_are_the_authors():
    reference = vectors.load("msg3d_ntu60_T300_logits")
    logits = vectors.build(reference)(paddle.to_tensor(vectors.draw_input(reference))).numpy()
    expected = np.array(reference["logits"])
    np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("name", ["msg3d_ntu60_T32", "pyskl_msg3d_ntu_T32"])
def test_graphs_are_the_authors(name):
    reference = vectors.load(name)
    model = vectors.build(reference)
    prefix, matrix = ("backbone.", "A") if name.startswith("pyskl") else ("", "A_powers")
    for unit, layer in (("sgcn1.0", model.blocks[0].graph), ("sgcn2.0", model.blocks[1].graph)):
        key = f"{prefix}{unit}.{matrix}"
        scales = np.array(reference["constants"][reference["constants_alias"].get(key, key)]).reshape(13, 25, 25)
        if name.startswith("pyskl"):
            scales = scales.swapaxes(1, 2)
        ours, _ = arrange_graph_weights(scales, np.zeros((6, 13 * (3 if unit == "sgcn1.0" else 6), 1, 1)), window=1)
        np.testing.assert_allclose(layer.adjacency.numpy(), ours, atol=1e-6)


@pytest.mark.parametrize(
    "in_channels, out_channels, mix_shape", [(1, 2, [2, 2, 1, 1]), (2, 2, [4, 2, 1, 1])], ids=["joints first", "last"]
)
def test_a_window_gathers_from_its_own_frames_and_zeros_outside(in_channels, out_channels, mix_shape):
    num_scales, window, num_joints, num_frames, stride = 2, 3, 2, 5, 2
    layer = MultiScaleGraphConv(
        in_channels, out_channels, np.zeros((num_scales, 6, 6), np.float32), window=window, stride=stride
    )
    weights, mix = draw(num_scales, 6, 6), draw(out_channels, num_scales * in_channels, 1, 1, seed=1)
    residual, mix_weight = arrange_graph_weights(weights, mix, window)
    assert list(layer.mix.weight.shape) == mix_shape  # whichever order is less work
    layer.residual.set_value(residual)
    layer.mix.weight.set_value(mix_weight)
    layer.bias.set_value(np.array([0.5, -0.5], np.float32))
    layer.eval()
    x = draw(1, in_channels, num_joints, num_frames, seed=2)
    expected = np.zeros((out_channels, window * num_joints, 3))
    for step in range(3):
        frames = np.zeros((in_channels, window, num_joints))
        for position in range(window):
            frame = stride * step + position - 1
            if 0 <= frame < num_frames:
                frames[:, position] = x[0, :, :, frame]
        gathered = [weights[scale] @ frames[channel].ravel() for scale in range(2) for channel in range(in_channels)]
        expected[:, :, step] = mix[:, :, 0, 0] @ np.stack(gathered) + np.array([[0.5], [-0.5]])
    np.testing.assert_allclose(
        layer(paddle.to_tensor(x)).numpy()[0], np.maximum(expected, 0) / np.sqrt(1 + 1e-5), rtol=1e-4, atol=1e-5
    )


def test_a_window_becomes_a_frame_by_a_weight_for_each_position():
    layer = WindowedGraphConv(1, 1, 1, np.eye(6, dtype=np.float32)[None], window=3, stride=1)
    layer.graph.mix.weight.set_value(np.ones((1, 1, 1, 1), np.float32))
    for values in (layer.graph.residual, layer.graph.bias, layer.collapse.bias):
        values.set_value(np.zeros(values.shape, np.float32))
    layer.collapse.weight.set_value(np.array([1, 10, 100], np.float32).reshape(1, 3, 1, 1))
    layer.eval()
    x = np.array([[1, 2, 3, 4], [5, 6, 7, 8]], np.float32).reshape(1, 1, 2, 4)
    expected = [[210, 321, 432, 43], [650, 765, 876, 87]]
    np.testing.assert_allclose(layer(paddle.to_tensor(x)).numpy()[0, 0], expected, rtol=1e-4)


def test_the_draw_is_pytorchs_default():
    paddle.seed(0)
    model = MSG3D(4, base_channels=48, num_blocks=2, num_gcn_scales=13)
    window, graph = model.blocks[1].windows[1], model.blocks[1].graph
    for values, fan_in in (
        (graph.mix.weight, 13 * 48), (graph.bias, 13 * 48), (window.graph.mix.weight, 6 * 48),
        (window.collapse.weight, 5 * 48), (window.collapse.bias, 5 * 48), (model.fc.weight, 96),
        (model.blocks[0].last.reduce.weight, 48),
    ):  # fmt: skip
        assert np.abs(values.numpy()).max() <= fan_in**-0.5
        assert values.numpy().std() == pytest.approx(fan_in**-0.5 / 3**0.5, rel=0.2)
    assert 0.9e-6 < np.abs(graph.residual.numpy()).max() <= 1e-6


def test_blocks_halve_the_frames_and_double_the_width():
    model = MSG3D(4, **{**SMALL, "num_blocks": 3})
    shapes = []
    for block in model.blocks:
        block.register_forward_post_hook(lambda _layer, _inputs, output: shapes.append(list(output.shape)))
    model(paddle.to_tensor(draw(1, 3, 9, 25, 2)))
    assert shapes == [[2, 6, 25, 9], [2, 12, 25, 5], [2, 24, 25, 3]]


@pytest.mark.parametrize(
    "arguments, shape",
    [
        ({}, (2, 3, 1, 25, 2)),
        ({"layout": "coco17", "num_persons": 1}, (3, 3, 7, 17, 1)),
        ({"layout": "hdm05", "in_channels": 15, "num_persons": 3}, (1, 15, 4, 31, 3)),
        ({"base_channels": 8, "window_sizes": [7], "normalization": "column"}, (2, 3, 8, 25, 2)),
        ({"window_sizes": []}, (1, 3, 8, 25, 2)),
    ],
)
def test_any_layout_channels_persons_frames_and_windows_give_logits(arguments, shape):
    model = MSG3D(5, **{**SMALL, **arguments})
    for mode in (model.train, model.eval):
        mode()
        logits = model(paddle.to_tensor(draw(*shape)))
        assert list(logits.shape) == [shape[0], 5]
        assert np.isfinite(logits.numpy()).all()


def test_missing_persons_leave_logits_and_gradients_finite():
    model = MSG3D(4, **SMALL)
    x = draw(3, 3, 8, 25, 2)
    x[1, ..., 1] = 0  # one person
    x[2] = 0  # nobody
    loss = F.cross_entropy(model(paddle.to_tensor(x)), paddle.to_tensor([0, 1, 2]))
    loss.backward()
    assert np.isfinite(loss.item())
    assert all(np.isfinite(param.grad.numpy()).all() for param in model.parameters() if not param.stop_gradient)


def test_a_batch_and_its_reverse_in_time_are_told_apart():
    paddle.seed(0)
    model = MSG3D(4, **SMALL)
    once = paddle.to_tensor(draw(2, 3, 16, 25, 2))
    x, labels = paddle.concat([once, once.flip(2)]), paddle.arange(4)
    optimizer = paddle.optimizer.Momentum(0.05, 0.9, parameters=model.parameters(), use_nesterov=True)
    for _ in range(40):
        loss = F.cross_entropy(model(x), labels)
        loss.backward()
        optimizer.step()
        optimizer.clear_grad()
    assert loss.item() < 0.1


def test_a_static_program_of_any_batch_and_length_gives_the_same_logits():
    batches = [paddle.to_tensor(draw(2, 3, 8, 25, 2)), paddle.to_tensor(draw(3, 3, 13, 25, 2))]
    assert_program_matches(MSG3D(4, **SMALL), batches)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"normalization": "rows"}, "MSG3D: normalization must be 'symmetric' or 'column', got 'rows'"),
        ({"base_channels": 5}, "MSG3D: base_channels must be at least 6, one for each branch, got 5"),
        ({"window_sizes": [3, 4]}, "MSG3D: window_sizes must be odd numbers of frames, got [3, 4]"),
        ({"num_gcn_scales": 0}, "MSG3D: num_gcn_scales must be at least 1, got 0"),
        ({"num_blocks": 0}, "MSG3D: num_blocks must be at least 1, got 0"),
    ],
)
def test_bad_argument_is_named(arguments, message):
    with pytest.raises(ValueError) as error:
        MSG3D(4, **arguments)
    assert str(error.value) == message


def test_input_of_another_layout_is_refused():
    with pytest.raises(ValueError, match=r"MSG3D: expected input \(N, 3, T, 25, 2\), got \(2, 3, 8, 17, 2\)"):
        MSG3D(4, **SMALL)(paddle.zeros([2, 3, 8, 17, 2]))
