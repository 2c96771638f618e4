"""PCAN: RGBPoseConv3D with cross-attention between the pathways, and prototypes of fine and coarse classes.

Paper: "Prototypical Calibrating Ambiguous Samples for Micro-Action Recognition", K. Li, D. Guo, G. Chen, C. Fan, J. Xu,
Z. Wu, H. Fan, M. Wang, AAAI 2025, arXiv:2412.14719. Official repository: https://github.com/kunli-cs/PCAN
(commit 873788a); its port to NTU RGB+D 60, https://github.com/9527haoyunlai/PCANetwork (commit 77d3994), has the same
layers.

Where we differ: see `models/parts/prototypes.py`; gates take any number of frames, and their factors start at 1, so
that pathways that were trained apart start unchanged; all losses use one grouping of the classes, where the port has
two and shifts its labels by one in the tree loss; coarse labels are smoothed by the number of coarse classes. gamma,
`rectify_weights`, is that of the official code; the paper has 1 for RGB and 5 for pose.
"""

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import nn

from common.ranges import Count, NonNegative, PartialShare, Whole
from models.parts.gates import CrossModalGate
from models.parts.layers import make_classifier
from models.parts.pathway import average_frames
from models.parts.prototypes import (
    FALSE_NEGATIVE_SCALES,
    Prototypes,
    compute_contrastive_loss,
    compute_diversity,
    compute_tree_loss,
)
from models.parts.two_pathways import MODALITIES
from models.parts.weights import rename_weights
from models.pose.rgbposeconv3d import RGBPoseConv3D, convert_rgbposeconv3d_weights

FINE_CHANNELS, COARSE_CHANNELS = 256, 128  # of the prototypes
GROUPINGS = {  # name -> the coarse class of each fine one
    # Seven body parts: body, head, upper limb, lower limb, body-hand, head-hand, leg-hand.
    "ma52": [0] * 5 + [1] * 6 + [2] * 13 + [3] * 8 + [4] * 6 + [5] * 10 + [6] * 4,
    # Eight meanings: 0 eating and care of the body, 1 putting on and taking off clothes, 2 moving the whole body,
    # 3 handling things, 4 reading, writing and devices, 5 gestures, 6 medical conditions, 7 two persons.
    "ntu60": [
        0, 0, 0, 0, 3, 3, 3, 2, 2, 5, 4, 4, 3, 1, 1, 1, 1, 1, 1, 1,  # A1 to A20
        1, 5, 5, 2, 3, 2, 2, 4, 4, 4, 5, 4, 4, 5, 5, 5, 0, 5, 5, 5,  # A21 to A40
        6, 6, 6, 6, 6, 6, 6, 6, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,  # A41 to A60
    ],
}  # fmt: skip


# The authors' names -> ours, applied before the rules of the pathways; see `weights.apply_rules`.
PCAN_RULES = [
    *((rf"^backbone\.featuredifference{number}\.", f"backbone.gates.layer{number + 1}.") for number in (2, 3)),
    (r"(gates\.\w+)\.conv1\.", r"\1.rgb_tokens."),
    (r"(gates\.\w+)\.conv2\.", r"\1.pose_tokens."),
    (r"(gates\.\w+)\.conv4\.", r"\1.rgb_gate."),
    (r"(gates\.\w+)\.conv5\.", r"\1.pose_gate."),
    (r"\.rgb_cross_attn\.", ".rgb_attention."),
    (r"\.skt_cross_attn\.", ".pose_attention."),
    (r"\.q_proj\.", ".queries."),
    (r"\.k_proj\.", ".keys."),
    (r"\.v_proj\.", ".values."),
    (r"_attention\.fc\.", "_attention.out."),
    (r"^cls_head\.fr_coarse_(rgb|pose)\.", r"cls_head.prototypes.\1_coarse."),
    (r"^cls_head\.fr_(rgb|pose)\.", r"cls_head.prototypes.\1."),
    (r"\.spatio_cl_net\.cl_fc\.", ".embed."),
    (r"\.spatio_cl_net\.avg_f$", ".vectors"),
]


def convert_pcan_weights(weights: dict) -> dict:
    """Convert the weights of a PCAN recognizer.

    The official code does not save the coarse prototypes, which only its losses need; without them they are drawn at
    random, as in a new network. A fine classifier comes last: `tools/convert_weights.py` counts its classes.
    """
    renamed = {name: _reshape(name, value) for name, value in rename_weights(weights, PCAN_RULES).items()}
    for modality in MODALITIES:
        bias, vectors = f"cls_head.fc_{modality}_coarse.bias", f"cls_head.prototypes.{modality}_coarse.vectors"
        if vectors not in renamed and np.ndim(renamed.get(bias)) == 1:
            drawn = np.random.default_rng(0).standard_normal((len(renamed[bias]), COARSE_CHANNELS))
            renamed[vectors] = drawn.astype(np.float32)
    converted = convert_rgbposeconv3d_weights(renamed)
    classifier = {name: value for name, value in converted.items() if name.startswith("fc_pose.")}
    return {**{name: value for name, value in converted.items() if name not in classifier}, **classifier}


def _reshape(name, value):
    """Change the axes of a tensor of a gate or of prototypes to ours; return anything else, and a scalar, unchanged."""
    if name.endswith(".vectors"):
        return value.T  # (C, K) -> (K, C)
    if value.ndim == 5 and name.endswith("_gate.weight"):
        return value.reshape([size for axis, size in enumerate(value.shape) if axis < 2 or size > 1])
    return value


class PCAN(RGBPoseConv3D):
    """PCAN: RGBPoseConv3D with gates at each exchange, coarse classifiers, and prototypes of all classes.

    It returns logits {"rgb": .., "pose": .., "rgb_coarse": .., "pose_coarse": ..}; in training also the embedded
    features of each head, such as "rgb_embedded", for the losses. In evaluation the cosines of features and fine
    prototypes are added to the fine logits.

    Call `end_update` after each update of the weights; it updates the prototypes.

    Args:
        num_classes: number of fine classes.
        coarse_groups: the coarse class of each fine one, from 0; or a name of `GROUPINGS`.
        num_coarse_classes: number of coarse classes; None: that of `coarse_groups`.
        num_heads: of the attention of the gates.
        attention_dropout: dropout ratio of the attention weights.
        rectify_weights: factors of the cosines that are added to the fine logits, of RGB and of pose.
        tree_weight: of the tree losses.
        prototype_weight: of the prototype losses.
        diversity_weight: of the diversity loss of the prototypes, within the fine prototype losses.
        loss_components: modalities that are trained.
        loss_weights: of the classification losses: of those modalities, then of their coarse classes; the former alone
            are used for both.
        as_published: compute the diversity loss without a gradient.
        pathways: all other arguments of `RGBPoseConv3D`.

    Raises:
        ValueError: arguments do not fit each other; the message names them.
    """

    WEIGHT_SOURCES = {"pcan": convert_pcan_weights}

    def __init__(
        self,
        num_classes: Count,
        coarse_groups: list[Whole] | str = "ntu60",
        num_coarse_classes: Count | None = None,
        num_heads: Count = 8,
        attention_dropout: PartialShare = 0.1,
        rectify_weights: list[NonNegative] | tuple = (5.0, 1.0),
        tree_weight: NonNegative = 1.0,
        prototype_weight: NonNegative = 0.2,
        diversity_weight: NonNegative = 1.0,
        loss_components: list[str] | tuple = MODALITIES,
        loss_weights: list[NonNegative] | tuple = (1.0, 1.0, 1.0, 1.0),
        as_published: bool = False,
        **pathways,
    ):
        if len(loss_weights) == len(loss_components):
            loss_weights = [*loss_weights, *loss_weights]
        super().__init__(num_classes, loss_components=loss_components, loss_weights=loss_weights, **pathways)
        groups = resolve_groups(coarse_groups, num_classes, num_coarse_classes)
        num_coarse_classes = num_coarse_classes or max(groups) + 1
        self.register_buffer("class_groups", paddle.to_tensor(groups, dtype="int64"), persistable=False)
        self.rectify_weights = dict(zip(MODALITIES, rectify_weights, strict=True))
        self.as_published = as_published
        self.tree_weight, self.prototype_weight = tree_weight, prototype_weight
        self.diversity_weight = diversity_weight
        for stage, channels in self.backbone.list_exchanges():
            gate = CrossModalGate(*channels, self.backbone.speed_ratio, num_heads, attention_dropout)
            self.backbone.gates[f"layer{stage + 1}"] = gate
        self.prototypes = nn.LayerDict()
        coarse_classifiers = []
        for modality, width in zip(MODALITIES, self.num_features, strict=True):
            coarse_classifiers.append(make_classifier(width, num_coarse_classes, std=0.01))
            self.prototypes[modality] = Prototypes(width, FINE_CHANNELS, num_classes)
            self.prototypes[f"{modality}_coarse"] = Prototypes(width, COARSE_CHANNELS, num_coarse_classes)
        self.fc_rgb_coarse, self.fc_pose_coarse = coarse_classifiers

    @property
    def groups(self):
        """The coarse class of each fine one, int64 (num_classes,)."""
        return self.class_groups

    @property
    def classifiers(self) -> dict:
        """The classifiers by the name of their head."""
        return {**super().classifiers, "rgb_coarse": self.fc_rgb_coarse, "pose_coarse": self.fc_pose_coarse}

    def list_heads(self, modalities: list) -> list:
        """List the heads of some modalities, fine ones first."""
        return modalities + [f"{modality}_coarse" for modality in modalities]

    def run_heads(self, features: dict) -> dict:
        """Map the pathways' features {name: (frames (N*T, C, H, W), T)} to the outputs."""
        logits, embedded = {}, {}
        for name, (x, num_frames) in features.items():
            heads, pooled = self.list_heads([name]), average_frames(x, num_frames)
            logits.update({head: self.classify(head, pooled) for head in heads})
            if self.training:
                means = x.reshape([-1, num_frames, *x.shape[1:]]).mean(axis=1)
                # Not amax: in Paddle 2.6 its gradient is garbage where a map is one pixel.
                maxima = F.adaptive_max_pool2d(means, 1).flatten(1)
                embedded.update({f"{head}_embedded": self.prototypes[head].embed(maxima) for head in heads})
            else:
                fine = self.prototypes[name]
                cosines = fine.compute_cosines(fine.embed(pooled))
                logits[name] = logits[name] + self.rectify_weights[name] * cosines
        logits = {head: logits[head] for head in self.list_heads(list(MODALITIES))}
        return {**logits, **embedded}

    def compute_losses(self, outputs: dict, labels, criterion, is_mixed: bool = False) -> dict:
        """Return the classification losses of all heads, the tree losses and the prototype losses, weighted.

        Args:
            outputs: of `forward`; for those of an evaluation only the classification losses are returned.
            labels: (N,), fine classes.
            criterion: (logits, labels) -> mean classification loss.
            is_mixed: samples are mixtures: tree and prototype losses are 0, and prototypes do not change.
        """
        coarse_labels = paddle.gather(self.groups, labels)
        losses = {}
        for head, weight in self.loss_weights.items():
            targets = coarse_labels if head.endswith("_coarse") else labels
            losses[f"{head}_loss_cls"] = weight * criterion(outputs[head], targets)
        if "rgb_embedded" not in outputs:
            return losses
        with paddle.amp.auto_cast(enable=False):
            for name in self.modalities:
                losses.update(self.compute_modality_losses(name, outputs, labels, coarse_labels, is_mixed))
        return losses

    def compute_modality_losses(self, name: str, outputs: dict, labels, coarse_labels, is_mixed: bool) -> dict:
        """Return the tree loss and the prototype losses of a modality."""
        fine_head, coarse_head = heads = self.list_heads([name])
        fine, coarse = (outputs[head].astype("float32") for head in heads)
        fine_embedded, coarse_embedded = (outputs[f"{head}_embedded"].astype("float32") for head in heads)
        names = [f"{name}_loss_tree", *(f"{head}_loss_prototype" for head in heads)]
        if is_mixed:  # zeros that reach each weight: distributed training needs all gradients
            return {loss_name: 0.0 * (fine_embedded.sum() + coarse_embedded.sum()) for loss_name in names}
        is_right, is_coarse_right = fine.argmax(axis=1) == labels, coarse.argmax(axis=1) == coarse_labels
        false_negatives = [
            is_coarse_right & ~is_right,
            is_right & ~is_coarse_right,
            ~(is_right | is_coarse_right),
        ]  # as in `FALSE_NEGATIVE_SCALES`
        tree_loss = compute_tree_loss(fine, coarse, labels, self.groups)
        fine_loss, vectors = self.compute_prototype_loss(
            fine_head, fine_embedded, labels, fine, is_right & is_coarse_right, false_negatives, FALSE_NEGATIVE_SCALES
        )
        diversity = compute_diversity(vectors.detach() if self.as_published else vectors)
        fine_loss = fine_loss + self.diversity_weight * diversity
        coarse_loss, _ = self.compute_prototype_loss(
            coarse_head, coarse_embedded, coarse_labels, coarse, is_coarse_right, [~is_coarse_right], (1.0,)
        )
        weights = [self.tree_weight, self.prototype_weight, self.prototype_weight]
        losses = [tree_loss, fine_loss, coarse_loss]
        return {loss_name: weight * loss for loss_name, weight, loss in zip(names, weights, losses, strict=True)}

    def compute_prototype_loss(
        self, head: str, embedded, labels, logits, is_member, false_negatives: list, scales: tuple
    ) -> tuple:
        """Return the contrastive loss of a head, and its prototypes after an update by the samples of `is_member`."""
        one_hot = F.one_hot(labels, logits.shape[1])
        members = one_hot * is_member.astype(one_hot.dtype).unsqueeze(1)
        vectors = self.prototypes[head].accumulate(embedded, members)
        scores, predictions = (F.softmax(logits) * one_hot).sum(axis=1), logits.argmax(axis=1)
        loss = compute_contrastive_loss(embedded, labels, scores, predictions, vectors, false_negatives, scales)
        return loss, vectors

    def end_update(self, all_reduce_sum) -> None:
        """Update the prototypes; see `Prototypes.end_update`."""
        for prototypes in self.prototypes.values():
            prototypes.end_update(all_reduce_sum)


def resolve_groups(groups: list | str, num_classes: int, num_coarse_classes: int | None) -> list:
    """Return the coarse class of each fine one.

    Args:
        groups: the coarse classes, or a name of `GROUPINGS`.
        num_classes: number of fine classes.
        num_coarse_classes: number of coarse classes; None: the largest one + 1.

    Raises:
        ValueError: an unknown name, another number of classes, or coarse classes other than 0, 1, ...
    """
    if isinstance(groups, str) and groups not in GROUPINGS:
        raise ValueError(f"PCAN: coarse_groups must be a list or one of {', '.join(GROUPINGS)}, got {groups!r}")
    coarse_classes = GROUPINGS[groups] if isinstance(groups, str) else list(groups)
    if len(coarse_classes) != num_classes:
        raise ValueError(
            f"PCAN: coarse_groups must name the coarse class of each of {num_classes} classes, "
            f"got {len(coarse_classes)}"
        )
    last = (num_coarse_classes or max(coarse_classes) + 1) - 1
    if set(coarse_classes) != set(range(last + 1)):
        raise ValueError(f"PCAN: coarse_groups must have all of 0 to {last} and nothing else, got {coarse_classes}")
    return coarse_classes
