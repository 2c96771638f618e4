"""SkateFormer against the authors' network (golden vectors), and its laws."""

import golden_skeletons
import numpy as np
import paddle
import paddle.nn.functional as F
import pytest

from models.skeleton.skateformer import SkateFormer, embed_time
from tools.golden import vectors

pytestmark = pytest.mark.filterwarnings("ignore:When training, we now always track")

SMALL = {"channels": [16], "num_blocks": [1], "num_heads": 8, "num_frames": 8}
GOLDEN = vectors.list_names("skateformer_*")
LONG = ["skateformer_ntu60_T64", "skateformer_ntu_learned_time_T64"]
every_file = pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.long if name in LONG else ()) for name in GOLDEN]
)
TOLERANCE = 1e-5  # of the largest logit: an approximate GELU moves them by 6e-5


def find_layer(name):
    """Return the name of our layer with the output of an authors' layer: theirs."""
    return name


def draw(*shape, seed=0):
    return paddle.to_tensor(np.random.default_rng(seed).standard_normal(shape).astype(np.float32))


def test_there_are_golden_files_of_two_body_layouts_and_of_both_embeddings():
    assert len(GOLDEN) == 3 and set(LONG) < set(GOLDEN)


@every_file
def test_network_is_the_authors(name):
    golden_skeletons.assert_size_is_the_authors(name)
    run = golden_skeletons.run_golden(name)
    golden_skeletons.assert_inner_outputs_match(run, find_layer)
    golden_skeletons.assert_outputs_match(run, TOLERANCE)
    golden_skeletons.assert_gradients_match(run)


@every_file
def test_a_pass_in_training_is_the_authors(name):
    """With all that is random off: the batch norms' statistics are those of the batch."""
    reference = vectors.load(name)
    expected, model = reference["training"]["batch_statistics"], vectors.build(reference)
    for layer in model.sublayers():
        layer.training = isinstance(layer, paddle.nn.BatchNorm2D)
    logits = model(*map(paddle.to_tensor, vectors.draw_inputs(reference)))
    largest = np.abs(expected["logits"]).max()
    np.testing.assert_allclose(logits.numpy(), expected["logits"], rtol=0, atol=TOLERANCE * largest)
    loss = F.cross_entropy(logits, paddle.to_tensor(expected["labels"]), label_smoothing=expected["label_smoothing"])
    assert loss.item() == pytest.approx(expected["losses"]["loss_cls"], rel=1e-5)


def test_time_is_embedded_by_sine_and_cosine_in_turn():
    found = embed_time(paddle.to_tensor([[0.0, 1.0]]), 4).numpy()
    np.testing.assert_allclose(found[0, 0], [0, 1, 0, 1], atol=1e-7)
    np.testing.assert_allclose(found[0, 1], [np.sin(1), np.cos(1), np.sin(0.01), np.cos(0.01)], rtol=1e-6)


def test_logits_depend_on_the_time_of_the_frames_only_if_it_is_taken():
    x, times = draw(2, 3, 8, 24, 2), paddle.linspace(-1, 1, 8).expand([2, 8])
    model = SkateFormer(4, **SMALL)
    model.eval()
    assert model.input_names == ("skeleton", "time_index")
    logits, others = model(x, times).numpy(), model(x, 0.5 * times).numpy()
    assert np.abs(logits - others).max() > 1e-5 * np.abs(logits).max()  # an embedding is added once, before all blocks
    learnt = SkateFormer(4, time_index=False, **SMALL)
    learnt.eval()
    assert learnt.input_names == () and list(learnt(x).shape) == [2, 4]


def test_attention_dropout_and_drop_path_are_random_in_training_alone():
    x, times = draw(2, 3, 8, 24, 2), draw(2, 8)
    for rates in ({"attention_dropout": 0.5, "drop_path": 0.0}, {"attention_dropout": 0.0, "drop_path": 0.5}):
        model = SkateFormer(4, **{**SMALL, "num_blocks": [3]}, **rates)
        answers = [model(x, times).numpy() for _ in range(4)]
        assert max(np.abs(answers[0] - other).max() for other in answers[1:]) > 1e-4
        model.eval()
        np.testing.assert_array_equal(model(x, times).numpy(), model(x, times).numpy())
    rates = [block.transformer.drop_path for block in model.stages[0]["blocks"]]
    assert rates == [0.0, 0.25, 0.5]


def test_partitions_follow_the_layout_and_the_persons():
    sizes = [attention.size for attention in SkateFormer(4, **SMALL).stages[0]["blocks"][0].transformer.attention]
    assert sizes == [(8, 8), (8, 12)] * 2
    one = SkateFormer(4, layout="ucla20", num_persons=1, **SMALL)
    assert [attention.size for attention in one.stages[0]["blocks"][0].transformer.attention] == [(8, 4), (8, 5)] * 2


def test_inputs_of_another_reader_are_refused():
    model = SkateFormer(4, **SMALL)
    message = (
        "takes skeleton and time_index, the reader gives skeleton; set READER.name=timed_skeletons and READER.time"
    )
    with pytest.raises(ValueError, match=message):
        model.check_inputs(["skeleton"])
    with pytest.raises(
        ValueError, match="takes skeleton, the reader gives skeleton and time_index; .*time_index=False"
    ):
        SkateFormer(4, time_index=False, **SMALL).check_inputs(["skeleton", "time_index"])
    model.check_inputs(["skeleton", "time_index"])
    with pytest.raises(ValueError, match=r"expected input \(N, 3, 8, 24, 2\), got \(2, 3, 8, 25, 2\); set READER.name"):
        model(paddle.zeros([2, 3, 8, 25, 2]), paddle.zeros([2, 8]))


@pytest.mark.parametrize(
    "arguments, message",
    [
        (
            {"layout": "coco17"},
            "layout 'coco17' has no partition of its joints; set READER.layout to ntu25_skateformer",
        ),
        ({"num_heads": 12}, "num_heads must be a multiple of 8 that divides the channels .*got 12"),
        ({"channels": [20]}, "num_heads must be a multiple of 8 that divides the channels .*got 8"),
        ({"channels": [16, 16]}, "must have one for each stage"),
        ({"kernel_size": 4}, "kernel_size must be odd, got 4"),
        ({"num_frames": 12}, "a partition of 8 frames and 8 joints does not divide the 12 frames"),
        ({"partition_sizes": [[8, 7]] * 4}, "a partition of 8 frames and 7 joints does not divide .* and 48 joints"),
        ({"partition_sizes": [[8, 8]] * 3}, r"partition_sizes must be 4 of \[frames, joints\]"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        SkateFormer(4, **{**SMALL, **arguments})
