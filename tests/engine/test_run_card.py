"""The run card's counts against figures worked out by hand."""

import subprocess
import sys
from collections import Counter

import numpy as np
import paddle
import pytest
from paths import ROOT

from engine import run_card
from models import build_model


class Net(paddle.nn.Layer):
    """A grouped convolution, batch norm and a linear layer."""

    def __init__(self):
        super().__init__()
        self.conv = paddle.nn.Conv3D(4, 8, 3, padding=1, stride=2, groups=2, bias_attr=False)
        self.bn = paddle.nn.BatchNorm3D(8)
        self.fc = paddle.nn.Linear(8, 5)

    def forward(self, x):
        return self.fc(self.bn(self.conv(x)).mean(axis=[2, 3, 4]))


def test_parameters_and_multiply_adds_are_counted():
    net = Net()
    net.train()
    assert run_card.count_parameters(net) == 8 * 2 * 27 + 8 + 8 + 8 * 5 + 5
    cost = run_card.measure_forward(net, [4, 4, 8, 8])
    assert cost.num_macs == 8 * 2 * 4 * 4 * 2 * 27 + 8 * 5
    # Kept are the inputs of the convolution, of batch norm with its statistics, and of the linear layer.
    assert cost.kept_bytes >= 4 * (4 * 4 * 8 * 8 + 8 * 2 * 4 * 4 + 8)
    assert cost.kept_bytes <= 4 * (4 * 4 * 8 * 8 + 2 * 8 * 2 * 4 * 4 + 10 * 8)
    assert net.training and (net.bn._mean.numpy() == 0).all()  # counting left no trace


def test_resnet18_has_the_published_size():
    model = build_model("resnet", num_classes=101, depth=18)
    assert run_card.count_parameters(model) == 33_255_717
    assert round(run_card.measure_forward(model, [3, 16, 112, 112]).num_macs / 1e9, 2) == 8.31


@pytest.mark.parametrize("name", ["ctrgcn", "infogcn"])
def test_products_without_a_layer_are_counted_too(name):
    """Joints that hear of joints: each channel and frame takes a product with a topology of V x V for each subset."""
    with_layers_only = Counter()

    def count(layer, _, output):
        with_layers_only["macs"] += int(np.prod(output.shape)) * int(np.prod(layer.weight.shape[1:]))

    model = build_model(name, num_classes=5, layout="ntu25", num_persons=1, base_channels=16)
    for layer in model.sublayers():
        if isinstance(layer, (paddle.nn.Conv1D, paddle.nn.Conv2D)):
            layer.register_forward_post_hook(count)
    products = 25 * 25 * 8 * 16 * 3  # of the first block alone
    assert run_card.measure_forward(model, [3, 8, 25, 1]).num_macs >= with_layers_only["macs"] + products


def test_memory_is_told_before_it_is_needed():
    """What an update really takes, in a process of its own."""
    script = """
import paddle
from engine import run_card, trainer
from models import build_model
model = build_model("ctrgcn", num_classes=5, layout="ntu25", num_persons=1)
told = 8 * run_card.measure_forward(model, [3, 64, 25, 1]).kept_bytes / 2**30
peaks = []
for batch_size in (4, 12):
    model(paddle.randn([batch_size, 3, 64, 25, 1])).sum().backward()
    peaks.append(memory.peak_memory_gib())
print(told, peaks[1] - peaks[0])
"""
    told, taken = map(float, subprocess.check_output([sys.executable, "-c", script], cwd=ROOT).split()[-2:])
    assert 0.7 * taken < told < 1.1 * taken


def test_the_card_says_how_much_memory_a_batch_takes():
    run = {"accumulate": 4, "ema_decay": 0.0}
    cost = run_card.Cost(kept_bytes=2**29)
    assert run_card._describe_memory(run, 2**28, cost, 32).startswith(
        "about 7.0 GiB in float32 for 8 samples at a time"
    )


def test_versions_fix_the_environment():
    assert paddle.__version__ in run_card.describe_versions()
