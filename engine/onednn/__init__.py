"""Training and scoring on a CPU by oneDNN: the network as a static program, all else as on any device.

Paddle's dynamic graph computes convolutions on a CPU without oneDNN, a static program with it. `OneDNNStep` traces the
network into such a program, once for each shape of batch. The program reads the weights where the dynamic network has
them and returns losses, gradients and batch statistics; so the optimizer, clipping, averages and checkpoints are those
of `TrainStep`, and a run may go on with either step. `OneDNNNetwork` scores in the same way; `OneDNNPredictor`
leaves it to Paddle Inference, which is faster for weights that no longer change.
"""

from engine.onednn.predictor import OneDNNPredictor
from engine.onednn.step import NETWORKS, OneDNNNetwork, OneDNNStep, find_obstacle, is_chosen

__all__ = ["NETWORKS", "OneDNNNetwork", "OneDNNPredictor", "OneDNNStep", "find_obstacle", "is_chosen"]
