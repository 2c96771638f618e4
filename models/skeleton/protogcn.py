"""ProtoGCN: DG-STGCN whose relations of joints are composed of prototypes in training, and contrasted by class.

Paper: "Revealing Key Details to See Differences: A Novel Prototypical Perspective for Skeleton-based Action
Recognition", H. Liu et al., CVPR 2025, arXiv:2411.18941. Official repository: https://github.com/firework8/ProtoGCN
(commit ddf7f27).

Where we differ: see `models/skeleton/dgstgcn.py` and `models/parts/prototypes.py`; the vectors of the classes are saved
with the weights; any layout is taken; the reconstruction, which only the loss needs, is left out in evaluation.
"""

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import nn

from common.ranges import Count, NonNegative
from layouts import get_layout
from models.parts.action_model import ActionModel
from models.parts.layers import make_classifier, uniform_by_fan_in
from models.parts.mixed_temporal import check_width
from models.parts.prototypes import TEMPERATURE, Prototypes, normalize
from models.parts.skeleton_layers import DataNorm, check_skeletons, list_block_sizes, pool_persons
from models.parts.temporal import branch_conv
from models.parts.weights import apply_rules, merge_weights
from models.skeleton.dgstgcn import build_dynamic_blocks, map_dynamic_name

CLASS_CHANNELS = 256  # of the vectors of the classes
DROPOUT = 0.1  # of the reconstructed relations
NAME_RULES = [  # the authors' names beside those of DG-STGCN -> ours
    (r"^backbone\.prn\.", "reconstruction."),
    (r"^backbone\.post\.", "reconstruction.post."),
    (r"^backbone\.bn\.", "reconstruction.norm."),
    (r"^cls_head\.csc_loss\.cl_fc\.", "class_prototypes.embed."),
    (r"^cls_head\.csc_loss\.avg_f$", "class_prototypes.vectors"),
]


def convert_protogcn_weights(weights: dict) -> dict:
    """Convert the weights of the official repository.

    Its checkpoints do not hold the vectors of the classes, which only the loss needs; without them they are drawn at
    random, as in a new network.
    """

    def map_name(name):
        mapped, branch = map_dynamic_name(name)
        return apply_rules(mapped, NAME_RULES), branch

    converted = merge_weights(weights, map_name)
    name = "class_prototypes.vectors"
    if name in converted:
        return {**converted, name: converted[name].T}  # (C, K) -> (K, C)
    if "fc.bias" in converted:
        shape = (len(converted["fc.bias"]), CLASS_CHANNELS)
        converted[name] = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    return converted


class Reconstruction(nn.Layer):
    """The relations of joints as mixtures of prototypes.

    Args:
        num_channels: of the relations.
        num_prototypes: number of prototypes.
    """

    def __init__(self, num_channels: int, num_prototypes: int):
        super().__init__()
        self.query_matrix, self.memory_matrix = (
            nn.Linear(width, out, weight_attr=uniform_by_fan_in(width), bias_attr=False)
            for width, out in ((num_channels, num_prototypes), (num_prototypes, num_channels))
        )
        self.dropout = nn.Dropout(DROPOUT)
        self.post = branch_conv(num_channels, num_channels, uniform=True)
        self.norm = nn.BatchNorm2D(num_channels)

    def forward(self, relations):
        """Map relations (N, num_channels, V, V) to a graph for each sample, (N, V * V)."""
        num_joints = relations.shape[3]
        shares = F.softmax(self.query_matrix(relations.flatten(2).transpose([0, 2, 1])), axis=2)  # (N, V * V, P)
        mixed = self.dropout(self.memory_matrix(shares)).transpose([0, 2, 1])
        mixed = mixed.reshape([0, 0, num_joints, num_joints])
        return F.relu(self.norm(self.post(mixed))).mean(axis=1).flatten(1)


class ProtoGCN(ActionModel):
    """ProtoGCN: batch norm of the input, ten blocks, mean over frames, joints and persons, linear.

    In training it returns {"logits": .., "embedded": ..}, the latter of the reconstructed relations of the last block.
    Call `end_update` after each update of the weights; it updates the vectors of the classes.

    Args:
        num_classes: number of logits.
        layout: joints, a name of `layouts.LAYOUTS` or a yaml file; their edges are not used.
        in_channels: values of a joint.
        num_persons: persons of a sample.
        base_channels: width of the first stage, at least 6; each other stage doubles it and halves the frames.
        num_blocks: blocks in each stage; None: [4, 3, 3].
        num_graphs: graphs of each convolution.
        num_prototypes: number of prototypes of relations; 400 or 100 in the official configs.
        contrastive_weight: of the contrastive loss; the authors have 0.2 for joints, 0.3 for bones, 0.1 for k-bones.

    Raises:
        ValueError: an unknown layout, a width below 6, or a stage without blocks.
    """

    WEIGHT_SOURCES = {"protogcn": convert_protogcn_weights}

    def __init__(
        self,
        num_classes: Count,
        layout: str = "ntu25",
        in_channels: Count = 3,
        num_persons: Count = 2,
        base_channels: Count = 96,
        num_blocks: list[Count] | None = None,
        num_graphs: Count = 8,
        num_prototypes: Count = 400,
        contrastive_weight: NonNegative = 0.2,
    ):
        super().__init__()
        sizes = list_block_sizes(in_channels, base_channels, num_blocks, "ProtoGCN")
        check_width(base_channels, "ProtoGCN")
        num_joints = get_layout(layout).num_joints
        self.input_size = (in_channels, num_joints, num_persons)
        self.contrastive_weight = contrastive_weight
        self.data_norm = DataNorm(num_persons, num_joints, in_channels, per_person=False)
        self.blocks = build_dynamic_blocks(sizes, num_joints, num_graphs)
        self.num_relations = self.blocks[-1].graph.post.weight.shape[1]
        self.reconstruction = Reconstruction(self.num_relations, num_prototypes)
        self.class_prototypes = Prototypes(num_joints**2, CLASS_CHANNELS, num_classes)
        self.fc = make_classifier(sizes[-1][1], num_classes, std=0.01)

    def forward(self, x):
        """Map skeletons (N, in_channels, T, V, M) to logits (N, num_classes); in training to a dict.

        Raises:
            ValueError: the input has another number of axes, channels, joints or persons.
        """
        check_skeletons(x, *self.input_size, "ProtoGCN")
        *earlier, last = self.blocks
        x = self.data_norm(x)  # (N, C, T, V, M) -> (N*M, C, T, V)
        for block in earlier:
            x = block(x)
        num_persons = self.input_size[2]
        relations = last.graph.relate(x)  # -> (N*M, K, C'', V, V)
        logits = self.fc(pool_persons(last(x, relations), num_persons))
        if not self.training:
            return logits
        num_joints = relations.shape[4]
        relations = relations.reshape([-1, num_persons, self.num_relations, num_joints, num_joints]).mean(axis=1)
        return {"logits": logits, "embedded": self.class_prototypes.embed(self.reconstruction(relations))}

    def name_outputs(self, outputs) -> dict:
        """Return {"logits": ..}, in training {"logits": .., "embedded": ..}."""
        return outputs if self.training else ActionModel.name_outputs(self, outputs)

    def compute_losses(self, outputs: dict, labels, criterion, is_mixed: bool = False) -> dict:
        """Return `loss_cls`, and for outputs of training `loss_contrastive`, weighted.

        Args:
            outputs: of `name_outputs`.
            labels: (N,).
            criterion: (logits, labels) -> mean classification loss.
            is_mixed: samples are mixtures: the contrastive loss is 0, and the vectors of the classes do not change.
        """
        losses = super().compute_losses(outputs, labels, criterion, is_mixed)
        if "embedded" in outputs:
            with paddle.amp.auto_cast(enable=False):
                embedded, logits = (outputs[name].astype("float32") for name in ("embedded", "logits"))
                # A zero that reaches each weight: distributed training needs all gradients.
                loss = 0.0 * embedded.sum() if is_mixed else self.contrast(embedded, labels, logits)
                losses["loss_contrastive"] = self.contrastive_weight * loss
        return losses

    def contrast(self, embedded, labels, logits):
        """Return the cross-entropy of the cosines of samples and classes; right answers update their class before."""
        one_hot = F.one_hot(labels, logits.shape[1])
        is_right = (logits.argmax(axis=1) == labels).astype(one_hot.dtype)
        vectors = self.class_prototypes.accumulate(embedded, one_hot * is_right.unsqueeze(1))
        cosines = self.class_prototypes.product(normalize(embedded), normalize(vectors))
        return F.cross_entropy(cosines / TEMPERATURE, labels)

    def end_update(self, all_reduce_sum) -> None:
        """Update the vectors of the classes; see `Prototypes.end_update`."""
        self.class_prototypes.end_update(all_reduce_sum)
