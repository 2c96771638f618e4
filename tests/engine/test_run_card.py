"""The run card's counts against figures worked out by hand."""

import paddle

from engine import run_card
from models import build_model
from models.parts.action_model import ActionModel
from models.parts.cost import Cost


class Net(ActionModel):
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
    cost = net.measure_cost({"rgb": [4, 4, 8, 8]})
    assert cost.num_macs == 8 * 2 * 4 * 4 * 2 * 27 + 8 * 5
    # Saved are the inputs of the convolution, of batch norm with its statistics, and of the linear layer.
    assert cost.activation_bytes >= 4 * (4 * 4 * 8 * 8 + 8 * 2 * 4 * 4 + 8)
    assert cost.activation_bytes <= 4 * (4 * 4 * 8 * 8 + 2 * 8 * 2 * 4 * 4 + 10 * 8)
    assert net.training and (net.bn._mean.numpy() == 0).all()  # counting left no trace


def test_resnet18_has_the_published_size():
    model = build_model("resnet", num_classes=101, depth=18)
    assert run_card.count_parameters(model) == 33_255_717
    assert round(model.measure_cost({"rgb": [3, 16, 112, 112]}).num_macs / 1e9, 2) == 8.31


def test_run_card_names_the_memory_of_a_batch():
    run = {"accumulate": 4, "ema_decay": 0.0}
    cost = Cost(activation_bytes=2**29)
    assert run_card._describe_memory(run, 2**28, cost, 32).startswith(
        "about 7.0 GiB in float32 for 8 samples at a time"
    )


def test_versions_fix_the_environment():
    assert paddle.__version__ in run_card.describe_versions()
