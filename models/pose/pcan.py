"""PCAN: RGBPoseConv3D whose pathways attend to each other, with coarse and fine classes and prototypes of both.

Paper: "Prototypical Calibrating Ambiguous Samples for Micro-Action Recognition", K. Li, D. Guo, G. Chen, C. Fan, J. Xu,
Z. Wu, H. Fan, M. Wang, AAAI 2025, arXiv:2412.14719. Official repository: https://github.com/kunli-cs/PCAN
(commit 873788a); its port to NTU RGB+D 60, https://github.com/9527haoyunlai/PCANetwork (commit 77d3994), has the same
layers.

Where we differ: see `models/parts/prototypes.py`; gates take any number of frames and begin closed, at factors of 1, so
that two pathways that were trained apart begin as they are; one grouping of the classes serves all losses, where the
port has two and takes its labels one off in the tree loss; coarse labels are smoothed by the number of coarse classes.
gamma, `rectify_weights`, is that of the official code; the paper has 1 for RGB and 5 for pose.
"""

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import nn

from models.parts.gates import CrossModalGate
from models.parts.layers import make_classifier
from models.parts.pathway import average_frames
from models.parts.prototypes import MISSED, Prototypes, contrast, measure_diversity, measure_tree
from models.parts.two_pathways import MODALITIES
from models.parts.weights import rename
from models.pose.rgbposeconv3d import RGBPoseConv3D, read_two_pathways

FINE_CHANNELS, COARSE_CHANNELS = 256, 128  # of the prototypes
GROUPINGS = {  # name: the coarse class of each fine one
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


# What became of the authors' names, before those of the pathways are renamed.
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


def read_pcan(weights: dict) -> dict:
    """Rename the weights of a PCAN recognizer.

    The official code does not save the coarse prototypes, which only its losses need; a file without them gets random
    ones, as a new network has. A fine classifier comes last, of which `tools/torch2paddle.py` counts the classes.
    """
    named = {name: _shape_gate(name, value) for name, value in rename(weights, PCAN_RULES).items()}
    for modality in MODALITIES:
        bias, vectors = (
            f"cls_head.{name}" for name in (f"fc_{modality}_coarse.bias", f"prototypes.{modality}_coarse.vectors")
        )
        if vectors not in named and np.ndim(named.get(bias)) == 1:
            drawn = np.random.default_rng(0).standard_normal((len(named[bias]), COARSE_CHANNELS))
            named[vectors] = drawn.astype(np.float32)
    named = read_two_pathways(named)
    fine = {name: value for name, value in named.items() if name.startswith("fc_pose.")}
    return {**{name: value for name, value in named.items() if name not in fine}, **fine}


def _shape_gate(name, value):
    """Give a tensor of a gate or of prototypes our axes; anything else, and a scalar, stays as it is."""
    if name.endswith(".vectors"):
        return value.T  # (C, K) -> (K, C)
    if value.ndim == 5 and name.endswith("_gate.weight"):
        return value.reshape([size for axis, size in enumerate(value.shape) if axis < 2 or size > 1])
    return value


class PCAN(RGBPoseConv3D):
    """PCAN: RGBPoseConv3D with gates before each exchange, coarse classifiers, and prototypes of all classes.

    It gives {"rgb": .., "pose": .., "rgb_coarse": .., "pose_coarse": ..}, logits; in training also what the losses
    compare with prototypes. In evaluation the cosines of fine prototypes are added to the fine logits.

    Call `end_update` after each update of the weights: prototypes move then.

    Args:
        num_classes: number of fine classes.
        coarse_groups: the coarse class of each fine one, from 0; or a name of `GROUPINGS`.
        num_coarse_classes: how many there are; None: as many as `coarse_groups` names.
        num_heads: of the attention of the gates.
        attention_dropout: of its weights.
        rectify_weights: what multiplies the cosines, of RGB and of pose.
        tree_weight: of the tree losses.
        prototype_weight: of the prototype losses.
        diversity_weight: in the fine prototype losses, of the term that drives prototypes apart.
        loss_components: modalities that are trained.
        loss_weights: of the classifiers' losses: of those modalities, then of their coarse classes; without the latter
            these have the same ones.
        as_published: give that term no gradient.
        pathways: all other arguments of `RGBPoseConv3D`.

    Raises:
        ValueError: arguments that do not fit each other, by name.
    """

    TORCH_SOURCES = {"pcan": read_pcan}

    def __init__(
        self,
        num_classes: int,
        coarse_groups: list[int] | str = "ntu60",
        num_coarse_classes: int | None = None,
        num_heads: int = 8,
        attention_dropout: float = 0.1,
        rectify_weights: list[float] | tuple = (5.0, 1.0),
        tree_weight: float = 1.0,
        prototype_weight: float = 0.2,
        diversity_weight: float = 1.0,
        loss_components: list[str] | tuple = MODALITIES,
        loss_weights: list[float] | tuple = (1.0, 1.0, 1.0, 1.0),
        as_published: bool = False,
        **pathways,
    ):
        if len(loss_weights) == len(loss_components):
            loss_weights = [*loss_weights, *loss_weights]
        super().__init__(num_classes, loss_components=loss_components, loss_weights=loss_weights, **pathways)
        groups = list_groups(coarse_groups, num_classes, num_coarse_classes)
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
        for modality, width in zip(MODALITIES, self.num_features, strict=True):
            setattr(self, f"fc_{modality}_coarse", make_classifier(width, num_coarse_classes, std=0.01))
            self.prototypes[modality] = Prototypes(width, FINE_CHANNELS, num_classes)
            self.prototypes[f"{modality}_coarse"] = Prototypes(width, COARSE_CHANNELS, num_coarse_classes)

    @property
    def groups(self):
        """The coarse class of each fine one, int64 (num_classes,)."""
        return self.class_groups

    def list_heads(self, modalities: list) -> list:
        """List the heads of some modalities, fine ones first."""
        return modalities + [f"{modality}_coarse" for modality in modalities]

    def score(self, maps: dict) -> dict:
        """Map the pathways' features {name: (frames (N*T, C, H, W), T)} to the outputs."""
        outputs, vectors = {}, {}
        for name, (x, num_frames) in maps.items():
            heads, features = self.list_heads([name]), average_frames(x, num_frames)
            outputs.update({head: self.classify(head, features) for head in heads})
            if self.training:
                means = x.reshape([-1, num_frames, *x.shape[1:]]).mean(axis=1)
                # Not amax: in Paddle 2.6 its gradient is garbage where a map is one pixel.
                peaks = F.adaptive_max_pool2d(means, 1).flatten(1)
                vectors.update({f"{head}_embedded": self.prototypes[head].embed(peaks) for head in heads})
            else:
                fine = self.prototypes[name]
                outputs[name] = outputs[name] + self.rectify_weights[name] * fine.compare(fine.embed(features))
        heads = {head: outputs[head] for head in self.list_heads(list(MODALITIES))}
        return {**heads, **vectors}

    def compute_losses(self, outputs: dict, labels, criterion, is_mixed: bool = False) -> dict:
        """Give the losses of all heads, of the trees and of the prototypes, which are weighted already.

        Args:
            outputs: of `forward`; those of an evaluation give the losses of the heads only.
            labels: (N,), fine classes.
            criterion: (logits, labels) -> mean loss, of the heads.
            is_mixed: samples are mixtures: losses of trees and prototypes are 0, and no prototype will move.
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
                losses.update(self.measure(name, outputs, labels, coarse_labels, is_mixed))
        return losses

    def measure(self, name: str, outputs: dict, labels, coarse_labels, is_mixed: bool) -> dict:
        """Give the tree loss and the prototype losses of a modality."""
        heads = self.list_heads([name])
        (fine, coarse), embedded = (
            [outputs[f"{head}{kind}"].astype("float32") for head in heads] for kind in ("", "_embedded")
        )
        names = [f"{name}_loss_tree", *(f"{head}_loss_prototype" for head in heads)]
        if is_mixed:  # zeros of which each weight gets a gradient, as processes that train together need
            return {one: 0.0 * sum(vectors.sum() for vectors in embedded) for one in names}
        guesses, coarse_guesses = fine.argmax(axis=1), coarse.argmax(axis=1)
        is_right, is_near = guesses == labels, coarse_guesses == coarse_labels
        missed = [is_near & ~is_right, is_right & ~is_near, ~(is_right | is_near)]
        tree = measure_tree(fine, coarse, labels, self.groups)
        loss, vectors = self.draw_near(heads[0], embedded[0], labels, fine, is_right & is_near, missed, MISSED)
        loss = loss + self.diversity_weight * measure_diversity(vectors.detach() if self.as_published else vectors)
        coarse_loss, _ = self.draw_near(heads[1], embedded[1], coarse_labels, coarse, is_near, [~is_near], (1.0,))
        weights = [self.tree_weight, self.prototype_weight, self.prototype_weight]
        return {
            one: weight * value for one, weight, value in zip(names, weights, (tree, loss, coarse_loss), strict=True)
        }

    def draw_near(self, head: str, embedded, labels, logits, is_sure, missed: list, scales: tuple) -> tuple:
        """Give the contrastive loss of a head, and its prototypes as the samples that are sure will have moved them."""
        own = F.one_hot(labels, logits.shape[1])
        vectors = self.prototypes[head].follow(embedded, own * is_sure.astype(own.dtype).unsqueeze(1))
        scores = (F.softmax(logits) * own).sum(axis=1)
        return contrast(embedded, labels, scores, logits.argmax(axis=1), vectors, missed, scales), vectors

    def end_update(self, all_reduce_sum) -> None:
        """Move the prototypes; see `Prototypes.end_update`."""
        for layer in self.prototypes.values():
            layer.end_update(all_reduce_sum)


def list_groups(groups: list | str, num_classes: int, num_coarse_classes: int | None) -> list:
    """Give the coarse class of each fine one.

    Raises:
        ValueError: an unknown name, another number of classes, or coarse classes that are not 0, 1, ...
    """
    if isinstance(groups, str) and groups not in GROUPINGS:
        raise ValueError(f"PCAN: coarse_groups must be a list or one of {', '.join(GROUPINGS)}, got {groups!r}")
    listed = GROUPINGS[groups] if isinstance(groups, str) else list(groups)
    if len(listed) != num_classes:
        raise ValueError(
            f"PCAN: coarse_groups must name the coarse class of each of {num_classes} classes, got {len(listed)}"
        )
    most = num_coarse_classes or max(listed) + 1
    if set(listed) != set(range(most)):
        raise ValueError(f"PCAN: coarse_groups must hold all of 0 to {most - 1} and nothing else, got {listed}")
    return listed
