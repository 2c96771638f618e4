"""RUN.recompute changes no bit of gradients, of the draws of dropout and of batch-norm statistics."""

import sys

import numpy as np
import paddle
import pytest
import small_networks

from engine import memory
from engine.losses import CrossEntropy
from engine.optimizer import build_optimizer
from engine.train_step import TrainStep

LABELS = [0, 1, 2]


def train(name, recompute, dropout=0.3):
    """Return all weights, statistics and gradients after two updates, the second one of them in two parts."""
    model = small_networks.build(name)
    for layer in model.sublayers():
        if isinstance(layer, paddle.nn.Dropout):
            layer.p = dropout
    if recompute:
        memory.recompute_blocks(model.list_blocks())
    paddle.seed(1)
    step = TrainStep(model, CrossEntropy(0.1), build_optimizer(model), lambda inputs: inputs, batch_size=2)
    step.begin_epoch()
    for index, labels in enumerate((LABELS[:2], LABELS)):
        step(small_networks.draw_batch(name, len(labels), index), paddle.to_tensor(labels), 0.1, index)
    gradients = {f"{key}.grad": p.grad for key, p in model.named_parameters() if p.grad is not None}
    return {key: value.numpy() for key, value in {**model.state_dict(), **gradients}.items()}


@pytest.mark.parametrize("name", ["resnet", "densenet", "tsm", "tpn", "stgcn", "ctrgcn", "msg3d", "infogcn", "pcan"])
def test_every_bit_of_two_updates_stays(name):
    plain, recomputed = train(name, False), train(name, True)
    assert plain.keys() == recomputed.keys()
    for key, value in plain.items():
        np.testing.assert_array_equal(recomputed[key], value, err_msg=key)


class Block(paddle.nn.Layer):
    """A block with dropout, whose draws the backward pass must have again."""

    def __init__(self):
        super().__init__()
        self.linear, self.dropout = paddle.nn.Linear(64, 64), paddle.nn.Dropout(0.5)

    def forward(self, x):
        return paddle.tanh(paddle.nn.functional.relu(self.dropout(self.linear(x))))


def test_dropout_draws_the_same_again_and_what_follows_draws_the_next():
    found = []
    for recompute in (False, True):
        paddle.seed(2)
        blocks = [Block(), Block()]
        if recompute:
            memory.recompute_blocks(blocks)
        paddle.seed(3)
        blocks[1](blocks[0](paddle.ones([8, 64]))).sum().backward()
        gradients = [p.grad.numpy() for block in blocks for p in block.parameters()]
        found.append([*gradients, paddle.rand([4]).numpy()])
    for plain, recomputed in zip(*found, strict=True):
        np.testing.assert_array_equal(recomputed, plain)


def test_the_estimate_counts_what_is_kept_and_the_largest_block():
    """By hand: each block saves its input, for the product, and the outputs of ReLU and tanh, the next one's input."""
    model = small_networks.Chain(paddle.nn.Sequential(*(Block() for _ in range(4))))
    assert [type(block) for block in model.list_blocks()] == [Block] * 4
    cost = model.measure_cost({"x": [64]})
    assert cost.activation_bytes == (1 + 2 * 4) * 64 * 4
    assert cost.recomputed_bytes == (4 + 2) * 64 * 4  # the inputs; ReLU and tanh of the last block


@pytest.mark.parametrize("name", small_networks.CASES)
def test_every_network_has_blocks_none_within_another(name):
    blocks = small_networks.build(name).list_blocks()
    inner = {id(layer) for block in blocks for layer in block.sublayers()}
    assert len(blocks) > 1 and not any(id(block) in inner for block in blocks)


def resident_mib():
    """Return what this process holds in memory, in MiB."""
    with open("/proc/self/status", encoding="ascii") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmRSS:")) / 2**10


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the memory of a process is read as Linux writes it")
def test_the_forward_pass_keeps_the_inputs_of_blocks_alone_and_the_backward_pass_nothing():
    """By hand: 40 MiB a tensor; 6 blocks save 2 each, or their inputs, of which the first is there before; y stays."""
    grown = {}
    for recompute in (False, True):
        blocks = [Block() for _ in range(6)]
        if recompute:
            memory.recompute_blocks(blocks)
        x = paddle.ones([40 * 2**20 // (4 * 64), 64])
        before = resident_mib()
        y = paddle.nn.Sequential(*blocks)(x)
        after = resident_mib()
        y.sum().backward()
        grown[recompute] = (after - before, resident_mib() - before)
    assert grown[False][0] > 6 * 2 * 40 and grown[True][0] < 6 * 40 + 60
    assert grown[True][1] < 6 * 40 + 60
