"""What an update launches, counted by hand for a network of one linear layer."""

import numpy as np
import paddle
import pytest
from small_networks import Chain

from engine.losses import CrossEntropy
from engine.optimizer import MovingAverage, build_optimizer
from engine.train_step import TrainStep
from tools.measure import launches


def make_update(num_layers, **options):
    """A function that makes one update of some linear layers, each of two weights."""
    model = Chain(*(paddle.nn.Linear(4, 4) for _ in range(num_layers)))
    average = MovingAverage(model, 0.9) if options.pop("average", False) else None
    solver = build_optimizer(model, **options)
    step = TrainStep(model, CrossEntropy(), solver, lambda inputs: inputs, average=average)
    step.begin_epoch()
    x, labels = np.ones([3, 4], np.float32), np.array([0, 1, 2])
    return lambda: step({"x": paddle.to_tensor(x)}, paddle.to_tensor(labels), 0.1, 0)


def count(num_layers, **options):
    update = make_update(num_layers, **options)
    update()
    return launches.count_launches(update)


def test_each_weight_more_costs_an_update_of_its_own_but_none_of_the_average():
    two, five = count(2, average=True), count(5, average=True)
    assert five["clipping and optimizer"] - two["clipping and optimizer"] == 6  # momentum, for each of 2 x 3 weights
    assert five["statistics and average"] == two["statistics and average"]
    assert two["statistics and average"] - count(2)["statistics and average"] in (2, 3)  # join, average, its factor


def test_clipping_costs_a_few_kernels_however_many_weights_there_are():
    phase = "clipping and optimizer"
    few, many = (count(num_layers, grad_clip=1.0)[phase] - count(num_layers)[phase] for num_layers in (1, 5))
    assert 4 <= few == many <= 12  # join, norm, factor, product


def test_a_linear_layer_is_two_kernels_there_and_two_back():
    two, five = count(2), count(5)
    forward, backward = (five[phase] - two[phase] for phase in ("forward and loss", "backward"))
    assert forward in (3, 6) and backward in (3, 6)  # Paddle may join the product and the bias


def test_bytes_sent_and_reads_of_the_host_are_counted_and_the_tools_are_left_as_they_were():
    to_tensor, numpy = paddle.to_tensor, paddle.Tensor.numpy
    counts = count(2)
    assert counts["bytes sent"] == 3 * 4 * 4 + 3 * 8
    update = make_update(2)

    def read_twice():
        values = update()
        return float(values["loss"]), values["num_correct"].numpy()

    assert launches.count_launches(read_twice)["host reads"] == counts["host reads"] + 2  # Paddle 2.6's loss reads one
    assert paddle.to_tensor is to_tensor and paddle.Tensor.numpy is numpy


@pytest.mark.parametrize(
    "name, expected",
    [
        ("reshape dygraph[2.2 us]", False),
        ("Global_ReshapeGradNode[1.0 us]", False),
        ("Global_GradNodeAccumulation[1.0 us]", False),
        ("GradNodeAccumulation[1.0 us]", False),
        ("Global_SplitWithNumGradNode[3 us]", True),  # it joins
        ("Conv2dGradNodeFinal[3 us]", True),
        ("momentum_ dygraph[0.3 us]", True),
    ],
)
def test_views_launch_nothing(name, expected):
    assert launches.computes(name) is expected


def test_the_line_adds_up():
    counts = {**dict.fromkeys(launches.PHASES, 2), "host reads": 1, "bytes sent": 1536}
    assert launches.describe_launches(counts) == (
        "an update launches at least 8 kernels on a GPU (forward and loss 2, backward 2, clipping and optimizer 2, "
        "statistics and average 2), reads 1 tensors on the host and sends 1.5 KiB to the device"
    )
