"""ProtoGCN against the authors' network and losses (golden vectors), and its laws."""

import re

import golden_skeletons
import numpy as np
import paddle
import paddle.nn.functional as F
import pytest
from golden_checks import assert_logits_match

from models.skeleton.protogcn import ProtoGCN, convert_protogcn_weights
from tools.golden import vectors

pytestmark = pytest.mark.filterwarnings("ignore:When training, we now always track")

SMALL = {"base_channels": 8, "num_blocks": [1, 1], "num_prototypes": 5}
GOLDEN = vectors.list_names("protogcn_*")
LONG = ["protogcn_coco20_b_T24", "protogcn_ntu120_k_T20"]
every_file = pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.long if name in LONG else ()) for name in GOLDEN]
)
# The weights that float32 has to 1e-2 with batch statistics, by the authors' names.
HEAD = r"backbone\.(prn|post|bn)\..*|cls_head\..*"


def find_layer(name):
    """Return the name of our layer with the output of an authors' layer."""
    name = re.sub(r"^backbone\.gcn\.(\d+)(\.gcn|\.tcn)?$", r"blocks.\1\2", name)
    name = name.replace(".gcn", ".graph").replace(".tcn", ".temporal")
    return name if re.fullmatch(r"blocks\.\d+(\.temporal)?", name) else {"cls_head.fc_cls": "fc"}.get(name)


def draw(*shape, seed=0):
    return paddle.to_tensor(np.random.default_rng(seed).standard_normal(shape).astype(np.float32))


def alone(values):
    """Sum over the processes of a run with one process."""
    return values


def test_there_are_golden_files_of_three_data_sets():
    assert len(GOLDEN) == 3 and set(LONG) < set(GOLDEN)


@every_file
def test_network_is_the_authors(name):
    golden_skeletons.assert_size_is_the_authors(name)
    run = golden_skeletons.run_golden(name)
    golden_skeletons.assert_inner_outputs_match(run, find_layer)
    golden_skeletons.assert_outputs_match(run)
    golden_skeletons.assert_gradients_match(run, ties=True)


def prepare(model, kind):
    """Put a network into the state in which the authors' losses were computed: everything random off."""
    if kind == "running_statistics":
        model.eval()
        model.training = True  # the network alone, not its layers
    else:
        model.train()
        model.reconstruction.dropout.p = 0.0


@every_file
@pytest.mark.parametrize("kind", ["running_statistics", "batch_statistics"])
def test_losses_gradients_and_class_vectors_are_the_authors(name, kind):
    reference = vectors.load(name)
    expected, model = reference["training"][kind], vectors.build(reference)
    prepare(model, kind)
    outputs = model.name_outputs(model(paddle.to_tensor(vectors.draw_input(reference))))
    assert_logits_match(outputs["logits"].numpy(), expected["logits"])
    losses = model.compute_losses(outputs, paddle.to_tensor(expected["labels"]), F.cross_entropy)
    weighted = expected["losses"]["loss_csc"] * expected["weight_csc"]
    ours = {key: loss.item() for key, loss in losses.items()}
    assert ours == pytest.approx({"loss_cls": expected["losses"]["loss_cls"], "loss_contrastive": weighted}, rel=1e-4)
    sum(losses.values()).backward()
    norms = vectors.collect_gradient_norms(reference, model)
    assert set(norms) == set(expected["grad_norms"]) and None not in norms.values()
    exact = {key for key in norms if kind == "running_statistics" or re.fullmatch(HEAD, key)}
    scale = 1e-6 * max(expected["grad_norms"].values())
    assert {key: norms[key] for key in exact} == pytest.approx(
        {key: expected["grad_norms"][key] for key in exact}, rel=1e-2, abs=scale
    )
    model.end_update(alone)
    lengths = np.linalg.norm(model.class_prototypes.vectors.numpy(), axis=1)
    np.testing.assert_allclose(lengths, expected["memory_after"]["column_norms"], rtol=1e-5)


def test_only_right_answers_move_the_vector_of_their_class():
    model = ProtoGCN(3, **SMALL)
    before = model.class_prototypes.vectors.numpy().copy()
    embedded, logits = draw(3, 256), paddle.to_tensor(np.float32([[9, 0, 0], [9, 0, 0], [0, 0, 9]]))
    model.contrast(embedded, paddle.to_tensor([0, 1, 2]), logits)
    np.testing.assert_array_equal(model.class_prototypes.vectors.numpy(), before)  # until the update ends
    model.end_update(alone)
    after = model.class_prototypes.vectors.numpy()
    np.testing.assert_array_equal(after[1], before[1])
    np.testing.assert_allclose(
        after[[0, 2]], 0.9 * before[[0, 2]] + 0.1 * embedded.numpy()[[0, 2]], rtol=1e-5, atol=1e-6
    )


def test_mixed_samples_have_no_contrastive_loss_and_move_nothing():
    model = ProtoGCN(3, **SMALL)
    outputs = model.name_outputs(model(draw(2, 3, 8, 25, 2)))
    before = model.class_prototypes.vectors.numpy().copy()
    losses = model.compute_losses(outputs, paddle.to_tensor([0, 1]), F.cross_entropy, is_mixed=True)
    model.end_update(alone)
    assert losses["loss_contrastive"].item() == 0 and losses["loss_cls"].item() > 0
    np.testing.assert_array_equal(model.class_prototypes.vectors.numpy(), before)


def test_a_file_without_class_vectors_gets_drawn_ones():
    weights = {"cls_head.fc_cls.bias": np.zeros(7, np.float32)}
    assert convert_protogcn_weights(weights)["class_prototypes.vectors"].shape == (7, 256)
    saved = np.arange(256 * 7, dtype=np.float32).reshape(256, 7)
    both = convert_protogcn_weights({**weights, "cls_head.csc_loss.avg_f": saved})
    np.testing.assert_array_equal(both["class_prototypes.vectors"], saved.T)


def test_input_of_another_size_is_refused():
    with pytest.raises(ValueError, match=r"ProtoGCN: expected input \(N, 3, T, 25, 2\), got \(2, 3, 8, 17, 2\)"):
        ProtoGCN(3, **SMALL)(paddle.zeros([2, 3, 8, 17, 2]))
    with pytest.raises(ValueError, match="ProtoGCN: base_channels must be at least 6, one for each branch, got 5"):
        ProtoGCN(3, base_channels=5)
