"""What networks for skeletons share: hand-made answers."""

import numpy as np
import paddle
import pytest

from models.parts.skeleton_layers import DataNorm, check_skeletons, pool_persons, temporal_conv


def draw_skeletons(*shape):
    values = np.random.default_rng(0).standard_normal(shape) + 10 * np.random.default_rng(1).standard_normal(shape[3:])
    return values.astype(np.float32)


@pytest.mark.parametrize("per_person, axes", [(True, (0, 2)), (False, (0, 2, 4))], ids=["per person", "shared"])
def test_each_coordinate_of_each_joint_is_normalised_by_itself(per_person, axes):
    values = draw_skeletons(4, 3, 8, 5, 2)  # (N, C, T, V, M)
    norm = DataNorm(num_persons=2, num_joints=5, in_channels=3, per_person=per_person)
    output = norm(paddle.to_tensor(values)).numpy()
    mean, variance = values.mean(axis=axes, keepdims=True), values.var(axis=axes, keepdims=True)
    expected = (values - mean) / np.sqrt(variance + 1e-5)
    assert output.shape == (8, 3, 8, 5)
    for sample in range(4):
        for person in range(2):
            np.testing.assert_allclose(output[2 * sample + person], expected[sample, ..., person], atol=1e-4)


@pytest.mark.parametrize("per_person, num_features", [(True, 30), (False, 15)], ids=["per person", "shared"])
def test_features_are_counted_by_person_then_joint_then_channel(per_person, num_features):
    norm = DataNorm(num_persons=2, num_joints=5, in_channels=3, per_person=per_person)
    norm.eval()
    assert [name for name in norm.state_dict()] == ["norm.weight", "norm.bias", "norm._mean", "norm._variance"]
    norm.norm.bias.set_value(np.arange(num_features, dtype=np.float32))
    output = norm(paddle.zeros([1, 3, 4, 5, 2])).numpy()
    for person in range(2):
        for joint in range(5):
            for channel in range(3):
                feature = (15 * person if per_person else 0) + 3 * joint + channel
                np.testing.assert_array_equal(output[person, channel, :, joint], feature)


def test_persons_stand_in_the_batch_sample_by_sample():
    norm = DataNorm(num_persons=2, num_joints=3, in_channels=2, per_person=True)
    norm.eval()
    values = draw_skeletons(2, 2, 4, 3, 2)
    output = norm(paddle.to_tensor(values)).numpy() * np.sqrt(1 + 1e-5)
    np.testing.assert_allclose(output, values.transpose(0, 4, 1, 2, 3).reshape(4, 2, 4, 3), rtol=1e-5)


@pytest.mark.parametrize("kernel_size, stride, dilation, num_frames", [(9, 1, 1, 10), (9, 2, 1, 5), (5, 2, 2, 5),
                                                                       (3, 1, 4, 10), (1, 2, 1, 5)])  # fmt: skip
def test_a_temporal_convolution_keeps_the_frames_but_for_its_stride(kernel_size, stride, dilation, num_frames):
    layer = temporal_conv(2, 3, kernel_size, stride, dilation)
    assert list(layer.weight.shape) == [3, 2, kernel_size, 1]
    assert list(layer(paddle.zeros([4, 2, 10, 6])).shape) == [4, 3, num_frames, 6]


def test_a_temporal_convolution_sees_frames_a_dilation_apart_of_the_same_joint():
    layer = temporal_conv(1, 1, 3, dilation=2, bias=False)
    layer.weight.set_value(np.array([1, 10, 100], np.float32).reshape(1, 1, 3, 1))
    assert layer.bias is None
    frames = np.zeros((1, 1, 7, 2), np.float32)
    frames[0, 0, 3, 1] = 1
    np.testing.assert_array_equal(layer(paddle.to_tensor(frames)).numpy()[0, 0], [[0, 0], [0, 100], [0, 0], [0, 10],
                                                                                [0, 0], [0, 1], [0, 0]])  # fmt: skip


def test_a_temporal_convolution_is_he_normal_with_a_bias_of_zero_by_default():
    paddle.seed(0)
    layer = temporal_conv(32, 64, 9)
    assert layer.weight.numpy().std() == pytest.approx((2 / (64 * 9)) ** 0.5, rel=0.02)
    np.testing.assert_array_equal(layer.bias.numpy(), 0)
    layer = temporal_conv(32, 64, 9, initializer=paddle.nn.initializer.Constant(0.5))
    np.testing.assert_array_equal(layer.weight.numpy(), 0.5)


def test_the_pool_averages_frames_joints_and_the_persons_of_a_sample():
    values = np.zeros((4, 2, 3, 5), np.float32)  # two samples of two persons
    values[0, 0], values[1, 0], values[2, 1] = 2, 4, 7
    values[3, 1, 0, 0] = 15
    np.testing.assert_allclose(pool_persons(paddle.to_tensor(values), 2).numpy(), [[3, 0], [0, 4]], rtol=1e-6)


@pytest.mark.parametrize(
    "shape",
    [(2, 8, 25, 3, 2), (2, 2, 8, 25, 2), (2, 3, 8, 17, 2), (2, 3, 8, 25, 1), (2, 3, 8, 25), (3, 8, 25, 2, 2, 1)],
    ids=str,
)
def test_what_is_no_batch_of_skeletons_is_refused(shape):
    with pytest.raises(ValueError) as error:
        check_skeletons(paddle.zeros(shape), 3, 25, 2, "Net")
    assert str(error.value) == (
        f"Net: expected input (N, 3, T, 25, 2), got {shape}; check the reader's stream, or MODEL.in_channels, "
        "MODEL.layout and MODEL.num_persons"
    )


def test_a_batch_of_skeletons_passes():
    assert check_skeletons(paddle.zeros([2, 3, 8, 25, 2]), 3, 25, 2, "Net") is None
