"""The run card's counts against figures worked out by hand."""

import paddle

import card
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
    assert card.count_parameters(net) == 8 * 2 * 27 + 8 + 8 + 8 * 5 + 5
    assert card.count_macs(net, [4, 4, 8, 8]) == 8 * 2 * 4 * 4 * 2 * 27 + 8 * 5
    assert net.training and (net.bn._mean.numpy() == 0).all()  # counting left no trace


def test_resnet18_has_the_published_size():
    model = build_model("resnet", num_classes=101, depth=18)
    assert card.count_parameters(model) == 33_255_717
    assert round(card.count_macs(model, [3, 16, 112, 112]) / 1e9, 2) == 8.31


def test_versions_fix_the_environment():
    assert paddle.__version__ in card.describe_versions()
