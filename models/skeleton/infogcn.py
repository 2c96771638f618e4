"""InfoGCN: graph convolutions with attention over the joints of each frame, and an information-bottleneck loss.

Paper: "InfoGCN: Representation Learning for Human Skeleton-Based Action Recognition", H.-g. Chi, M. H. Ha, S. Chi,
S. W. Lee, Q. Huang, K. Ramani, CVPR 2022. Official repository: https://github.com/stnoah1/infogcn (873feaa).

Where we differ: the convolutions of all heads are one layer, initialised like the official ones. The official default
of `k` is 0, which sets the input to zero; ours is 1, as in its commands. The prior is drawn from its own seed and saved
with the weights, where the official code does not save it; converted weights get the prior of the defaults.
"""

import math
import re

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import nn

from common.ranges import Count, NonNegative, PartialShare, Seed, Whole
from layouts import get_layout
from models.parts.action_model import ActionModel
from models.parts.graphs import vector_adjacency
from models.parts.layers import he_normal_by_fan_out, uniform_by_fan_in
from models.parts.products import Product
from models.parts.skeleton_layers import check_skeletons, pool_persons
from models.parts.temporal import MultiScaleBlock, map_branch_name, pointwise_norm
from models.parts.weights import apply_rules, merge_weights

RELATION_RATIO = 8  # channels of a block's input for one channel of a head's queries and keys
NUM_BRANCHES = 4  # of a temporal unit
MAX_NOISE_STD = 100.0  # standard deviation of the noise


class AttentionConv(nn.Layer):
    """The graph convolution, with a topology for each head and frame: attention between joints times a learnt matrix.

    Args:
        in_channels: of the input.
        out_channels: of the output.
        num_heads: of the attention; their outputs are summed.
        num_joints: of the input.
    """

    def __init__(self, in_channels: int, out_channels: int, num_heads: int, num_joints: int):
        super().__init__()
        self.num_heads, self.num_joints = num_heads, num_joints
        self.num_relations = in_channels // RELATION_RATIO
        self.compare, self.aggregate = Product(paddle.matmul, transpose_y=True), Product(paddle.matmul)
        self.mix = Product(F.linear)
        self.relate_norm = nn.LayerNorm(in_channels)
        self.relate = nn.Linear(
            in_channels,
            2 * num_heads * self.num_relations,
            weight_attr=nn.initializer.Normal(0.0, 1.0),
            bias_attr=uniform_by_fan_in(in_channels),
        )
        identity = np.stack([np.eye(num_joints, dtype=np.float32)] * num_heads)
        self.topology = self.create_parameter(identity.shape, default_initializer=nn.initializer.Assign(identity))
        self.weight = self.create_parameter(
            [num_heads * in_channels, out_channels],
            default_initializer=he_normal_by_fan_out(out_channels * num_heads * in_channels),
        )
        self.bias = self.create_parameter([num_heads, out_channels], is_bias=True)
        self.norm = nn.BatchNorm2D(out_channels, weight_attr=nn.initializer.Constant(1e-6))
        self.shortcut = None if in_channels == out_channels else pointwise_norm(in_channels, out_channels)

    def attend(self, x):
        """Map (B, T, V, C) to topologies, (B, T, V, V) for each head; joint v sums with the weights of row v.

        The heads are apart: their relations in one tensor would have to be copied into another order, which takes five
        times as long on a CPU as their products.
        """
        relations = self.relate(self.relate_norm(x))  # -> (B, T, V, 2 H R)
        relations = relations.reshape([0, 0, self.num_joints, 2 * self.num_heads, self.num_relations]).unbind(axis=3)
        topologies, scale = self.topology.unbind(axis=0), self.num_relations**-0.5
        queries, keys = relations[: self.num_heads], relations[self.num_heads :]
        return [
            F.softmax(self.compare(queries[head] * scale, keys[head])) * topologies[head]
            for head in range(self.num_heads)
        ]

    def forward(self, x):
        """Map (B, in_channels, T, V) to (B, out_channels, T, V)."""
        frames = x.transpose([0, 2, 3, 1])  # (B, C, T, V) -> (B, T, V, C)
        y = paddle.concat([self.aggregate(topology, frames) for topology in self.attend(frames)], axis=3)
        y = self.mix(y, self.weight)  # (B, T, V, H C) -> (B, T, V, out_channels)
        y = y.transpose([0, 3, 1, 2]) + self.bias.sum(axis=0).reshape([-1, 1, 1])  # -> (B, C, T, V)
        return F.relu(self.norm(y) + (x if self.shortcut is None else self.shortcut(x)))


class JointEmbedding(nn.Layer):
    """Coordinates relative to an ancestor, a linear layer, a learnt vector added for each joint, batch norm.

    Args:
        vectors: (V, V), see `graphs.vector_adjacency`.
        in_channels: values of a joint.
        num_channels: of the embedding.
        num_persons: persons of a sample.
    """

    def __init__(self, vectors: np.ndarray, in_channels: int, num_channels: int, num_persons: int):
        super().__init__()
        num_joints = len(vectors)
        self.sizes = [num_persons, num_joints, num_channels]
        self.register_buffer("vectors", paddle.to_tensor(vectors), persistable=False)
        self.subtract = Product(paddle.matmul)
        initializer = uniform_by_fan_in(in_channels)
        self.linear = nn.Linear(in_channels, num_channels, weight_attr=initializer, bias_attr=initializer)
        self.place = self.create_parameter(
            [1, num_joints, num_channels], default_initializer=nn.initializer.Normal(0.0, 1.0)
        )
        self.norm = nn.BatchNorm1D(math.prod(self.sizes))

    def forward(self, x):
        """Map (N, in_channels, T, V, M) to (N M, num_channels, T, V)."""
        x = self.subtract(self.vectors, x.transpose([0, 2, 4, 3, 1]))  # -> (N, T, M, V, C)
        x = self.linear(x) + self.place
        rows = self.norm(x.reshape([-1, math.prod(self.sizes)]))  # (N T, M V C)
        x = rows.reshape([-1, x.shape[1], *self.sizes]).transpose([0, 2, 4, 1, 3])  # -> (N, M, C, T, V)
        return x.flatten(0, 1)


def draw_prior(num_classes: int, num_channels: int, gain: float = 3.0, seed: int = 0) -> np.ndarray:
    """Draw the prior means of the classes, from a random matrix with orthogonal rows or columns, the fewer ones.

    Returns:
        float32 (num_classes, num_channels); the orthogonal rows or columns have length `gain`.
    """
    drawn = np.random.default_rng(seed).standard_normal(sorted((num_classes, num_channels), reverse=True))
    orthogonal, triangular = np.linalg.qr(drawn)
    orthogonal *= np.sign(np.diag(triangular))  # makes every orthogonal matrix as likely as any other
    if num_classes < num_channels:
        orthogonal = orthogonal.T
    return (gain * orthogonal).astype(np.float32)


def add_noise(mean: paddle.Tensor, log_variance: paddle.Tensor, noise: paddle.Tensor, ratio: float) -> paddle.Tensor:
    """Draw from the latent distribution, given noise of variance 1; all (N, C).

    The logarithm of the standard deviation is clipped, not the standard deviation: if that overflows, its gradient is
    NaN.
    """
    return mean + noise * paddle.clip(ratio * log_variance, max=math.log(MAX_NOISE_STD)).exp()


def compute_bottleneck_losses(latent: paddle.Tensor, labels: paddle.Tensor, prior: paddle.Tensor) -> tuple:
    """Return the distance of latent vectors to their prior (section 3.2 of the paper, maximum mean discrepancy).

    Args:
        latent: (N, C).
        labels: (N,).
        prior: (num_classes, C), the mean of each class.

    Returns:
        The mean squared distance of the class means to the prior's, over the classes that occur, and the length of the
        mean of all samples; 0-D.
    """
    members = F.one_hot(labels, prior.shape[0]).astype(latent.dtype)  # (N, num_classes)
    counts = members.sum(axis=0).unsqueeze(1)
    means = paddle.matmul(members, latent, transpose_x=True) / counts.clip(min=1.0)
    occurs = (counts > 0).astype(latent.dtype)
    distances = ((means - prior) ** 2).mean(axis=1, keepdim=True)
    return (distances * occurs).sum() / occurs.sum(), paddle.linalg.norm(latent.mean(axis=0))


NAME_RULES = (  # the authors' names -> ours; see `weights.apply_rules`
    (r"^l(\d+)\.", lambda match: f"blocks.{int(match[1]) - 1}."),
    (r"^pos_embedding", "embedding.place"),
    (r"^to_joint_embedding", "embedding.linear"),
    (r"^data_bn", "embedding.norm"),
    (r"^A_vector$", "embedding.vectors"),
    (r"\.agcn\.shared_topology", ".graph.topology"),
    (r"\.agcn\.attn\.to_qk", ".graph.relate"),
    (r"\.agcn\.attn\.ln", ".graph.relate_norm"),
    (r"\.agcn\.conv_d\.\d+", ".graph"),
    (r"\.agcn\.down", ".graph.shortcut"),
    (r"\.agcn\.bn", ".graph.norm"),
    (r"\.residual\.conv", ".shortcut.0"),
    (r"\.residual\.bn", ".shortcut.1"),
    (r"\.tcn\.", ".temporal."),
)


def map_infogcn_name(name: str) -> tuple:
    """Map the name of a tensor of the official network to (ours, sort key); see `merge_weights`."""
    head = re.search(r"\.conv_d\.(\d+)\.", name)
    name = apply_rules(name, NAME_RULES)
    unit, _, rest = name.partition(".branches.")
    if rest:
        layer, branch = map_branch_name(rest, NUM_BRANCHES)
        return f"{unit}.{layer}", branch
    return name, int(head[1]) if head else 0


def convert_infogcn_weights(weights: dict) -> dict:
    """Convert the weights of the official network, and add a prior, which they do not have."""
    reshaped = dict(weights)
    for name, value in weights.items():
        if ".conv_d." in name:
            reshaped[name] = value[:, :, 0, 0].T if name.endswith("weight") else value[None]
    converted = merge_weights(reshaped, map_infogcn_name)
    if "decoder.weight" in weights:
        converted["z_prior"] = draw_prior(*weights["decoder.weight"].shape)
    return converted


class InfoGCN(ActionModel):
    """InfoGCN: an embedding of the joints, attention blocks in three stages, a latent vector, linear.

    In training it returns {"logits": (N, num_classes), "latent": (N, C)}, of a latent vector with noise; in evaluation
    the logits of its mean.

    Args:
        num_classes: number of logits.
        layout: joints and bones, a name of `layouts.LAYOUTS` or a yaml file.
        in_channels: values of a joint.
        num_persons: persons of a sample.
        k: coordinates are relative to the k-th ancestor of a joint; 1 for bones, the number of joints or more for the
            joints themselves, 0 for zeros.
        base_channels: width of the first stage; each other stage doubles it and halves the frames.
        num_blocks: of each stage.
        num_heads: of the attention.
        dropout: dropout ratio before the latent vector.
        noise_ratio: the noise has the standard deviation exp(noise_ratio * log variance), at most 100.
        prior_gain: length of the prior mean of each class.
        prior_seed: of the prior.
        mmd_weight: of `loss_mmd`, the distance of the classes' means to their prior; the authors' lambda 2.
        mean_weight: of `loss_mean`, the length of the batch's mean; the authors' lambda 1.

    Raises:
        ValueError: an unknown layout, or a number that is too small.
    """

    WEIGHT_SOURCES = {"infogcn": convert_infogcn_weights}

    def __init__(
        self,
        num_classes: Count,
        layout: str = "ntu25",
        in_channels: Count = 3,
        num_persons: Count = 2,
        k: Whole = 1,
        base_channels: Count = 64,
        num_blocks: list[Count] | tuple = (3, 3, 3),
        num_heads: Count = 3,
        dropout: PartialShare = 0.0,
        noise_ratio: NonNegative = 0.5,
        prior_gain: NonNegative = 3.0,
        prior_seed: Seed = 0,
        mmd_weight: NonNegative = 0.1,
        mean_weight: NonNegative = 1e-4,
    ):
        super().__init__()
        minimums = {"k": (k, 0), "base_channels": (base_channels, RELATION_RATIO), "num_heads": (num_heads, 1)}
        for name, (value, minimum) in minimums.items():
            if value < minimum:
                raise ValueError(f"InfoGCN: {name} must be at least {minimum}, got {value!r}")
        if not num_blocks or min(num_blocks) < 1:
            raise ValueError(f"InfoGCN: num_blocks must have a positive number for each stage, got {num_blocks!r}")
        skeleton = get_layout(layout)
        self.in_channels, self.num_joints, self.num_persons = in_channels, skeleton.num_joints, num_persons
        self.noise_ratio, self.mmd_weight, self.mean_weight = noise_ratio, mmd_weight, mean_weight
        self.embedding = JointEmbedding(vector_adjacency(skeleton, k), in_channels, base_channels, num_persons)
        blocks, width = [], base_channels
        for stage, num_stage_blocks in enumerate(num_blocks):
            for index in range(num_stage_blocks):
                out_channels, stride = base_channels * 2**stage, 2 if stage and not index else 1
                attention = AttentionConv(width, out_channels, num_heads, self.num_joints)
                blocks.append(MultiScaleBlock(attention, width, out_channels, stride, residual=True, relu=True))
                width = out_channels
        self.blocks = nn.Sequential(*blocks)
        self.fc, self.fc_mu, self.fc_logvar = (_make_linear(width) for _ in range(3))
        self.dropout = nn.Dropout(dropout)
        self.decoder = nn.Linear(
            width, num_classes, weight_attr=he_normal_by_fan_out(num_classes), bias_attr=uniform_by_fan_in(width)
        )
        self.register_buffer("z_prior", paddle.to_tensor(draw_prior(num_classes, width, prior_gain, prior_seed)))

    def encode(self, x):
        """Map skeletons (N, in_channels, T, V, M) to the features (N, C) of the latent distribution.

        Raises:
            ValueError: the input has another number of axes, channels, joints or persons.
        """
        check_skeletons(x, self.in_channels, self.num_joints, self.num_persons, "InfoGCN")
        x = self.blocks(self.embedding(x))  # (N, C, T, V, M) -> (N M, C, T, V)
        return self.dropout(F.relu(self.fc(pool_persons(x, self.num_persons))))

    def forward(self, x):
        """Map skeletons (N, in_channels, T, V, M) to logits (N, num_classes), or to a dict in training."""
        features = self.encode(x)
        latent = self.fc_mu(features)
        if not self.training:
            return self.decoder(latent)
        noise = paddle.randn(latent.shape, dtype=latent.dtype)
        latent = add_noise(latent, self.fc_logvar(features), noise, self.noise_ratio)
        return {"logits": self.decoder(latent), "latent": latent}

    def list_classifiers(self) -> list:
        """Return the linear layer behind the latent vector."""
        return [self.decoder]

    def name_outputs(self, outputs) -> dict:
        """Return {"logits": ..}, in training {"logits": .., "latent": ..}."""
        return outputs if self.training else ActionModel.name_outputs(self, outputs)

    def compute_losses(self, outputs: dict, labels, criterion, is_mixed: bool = False) -> dict:
        """Return `loss_cls`, and for outputs of training `loss_mmd` and `loss_mean`, weighted.

        The authors' criterion smooths labels by 0.1 (`RUN.label_smoothing`).
        """
        losses = super().compute_losses(outputs, labels, criterion, is_mixed)
        if "latent" in outputs:
            distance, length = compute_bottleneck_losses(outputs["latent"], labels, self.z_prior)
            losses.update(loss_mmd=self.mmd_weight * distance, loss_mean=self.mean_weight * length)
        return losses


def _make_linear(width: int) -> nn.Linear:
    """Make a square linear layer with the authors' initializer, Xavier-uniform with the gain of a ReLU."""
    bound = math.sqrt(2.0) * math.sqrt(6.0 / (2 * width))
    return nn.Linear(
        width, width, weight_attr=nn.initializer.Uniform(-bound, bound), bias_attr=uniform_by_fan_in(width)
    )
