"""The engine with hand-made models and loaders: what is averaged, what is counted, what stops a run."""

import types

import numpy as np
import paddle
import pytest
from small_networks import Chain, as_tensors

from engine import distributed, evaluator, memory, trainer
from engine.losses import CrossEntropy
from engine.run_folder import Progress
from engine.train_step import TrainStep
from models.parts.action_model import ActionModel


class FakeLoader:
    """Batches given by hand; `prepare` hands the inputs on as they are."""

    class_names = ["a", "b"]
    advice = "run skeleton2pkl.py again"

    def __init__(self, batches):
        self.batches = batches
        self.num_samples = sum(len(batch["names"]) for batch in batches)
        self.epochs = []

    def __len__(self):
        return len(self.batches)

    def __iter__(self):
        return iter(self.batches)

    def set_epoch(self, epoch):
        self.epochs.append(epoch)

    def prepare(self, inputs):
        return as_tensors(inputs)


def batch(logits, labels, names, views, faults=()):
    return {
        "inputs": {"logits": np.asarray(logits, np.float32)},
        "labels": np.asarray(labels),
        "names": names,
        "views": np.asarray(views),
        "faults": list(faults),
        "total": len(names),
    }


class Identity(ActionModel):
    """Its input is its logits."""

    def forward(self, x):
        return x


VIEWS = [[0.0, 2.0], [4.0, 0.0], [0.0, 1.0], [0.0, 3.0], [0.0, 1.0]]


def test_views_are_scored_one_by_one_then_averaged():
    loader = FakeLoader([batch(VIEWS[:3], [0, 1], ["x", "y"], [2, 1]), batch(VIEWS[3:], [1], ["z"], [2])])
    result = evaluator.evaluate(Identity(), loader, "prob")
    soft = np.exp(VIEWS) / np.exp(VIEWS).sum(axis=1, keepdims=True)
    expected = [soft[:2].mean(axis=0), soft[2], soft[3:].mean(axis=0)]
    assert result["names"] == ["x", "y", "z"] and result["labels"].tolist() == [0, 1, 1]
    np.testing.assert_allclose(result["scores"], expected, rtol=1e-6)
    assert result["loss"] == pytest.approx(-np.log([expected[0][0], expected[1][1], expected[2][1]]).mean(), rel=1e-6)


def test_score_averages_logits():
    loader = FakeLoader([batch(VIEWS[:2], [0], ["x"], [2])])
    result = evaluator.evaluate(Identity(), loader, "score")
    np.testing.assert_allclose(result["scores"], [[2.0, 1.0]])
    assert result["loss"] == pytest.approx(np.log(1 + np.exp(-1)))
    with pytest.raises(ValueError, match="average_clips: expected 'prob' or 'score', got 'mean'"):
        evaluator.evaluate(Identity(), loader, "mean")


def test_a_name_that_stands_twice_is_refused():
    loader = FakeLoader([batch(VIEWS[:2], [0, 1], ["x", "x"], [1, 1])])
    with pytest.raises(ValueError, match="sample 'x' stands twice"):
        evaluator.evaluate(Identity(), loader)


@pytest.mark.parametrize("average_clips", ["prob", "score"])
@pytest.mark.parametrize("broken", [np.nan, np.inf, -np.inf])
def test_scores_that_are_not_finite_name_the_first_sample(average_clips, broken):
    """One view of sample y and one of z are broken; those of x are good."""
    logits = np.array(VIEWS)
    logits[[2, 4]] = broken
    loader = FakeLoader([batch(logits[:3], [0, 1], ["x", "y"], [2, 1]), batch(logits[3:], [1], ["z"], [2])])
    message = "2 of 3 samples have scores that are nan or infinite, the first is 'y'"
    with pytest.raises(FloatingPointError, match=message):
        evaluator.evaluate(Identity(), loader, average_clips)


def test_evaluation_leaves_batch_norm_alone_and_takes_no_gradient():
    model = Chain(paddle.nn.BatchNorm1D(2), paddle.nn.Linear(2, 2))
    model.train()
    before = model[0]._mean.numpy().copy()
    evaluator.evaluate(model, FakeLoader([batch(VIEWS, [0] * 5, list("abcde"), [1] * 5)]))
    assert (model[0]._mean.numpy() == before).all() and not model.training


SETTINGS = types.SimpleNamespace(log_interval=2, max_faults=2, epochs=1, accumulate=1, recompute=False)
CONSTANT = types.SimpleNamespace(value=lambda epoch, step: 0.1)


class SilentLog:
    """Keeps what a run logs."""

    def __init__(self):
        self.rows = []

    def image(self, step, tag, image):
        self.rows.append((step, tag))

    def scalars(self, step, values):
        self.rows.append((step, values))

    def record(self, step, epoch, **values):
        self.rows.append((step, epoch, values))


def train(batches, logits_to_loss=None, progress=None):
    model = Chain(paddle.nn.Linear(2, 2))
    optimizer = paddle.optimizer.SGD(0.1, parameters=model.parameters())
    step = TrainStep(model, logits_to_loss or CrossEntropy(), optimizer, as_tensors)
    progress = progress or Progress()
    return trainer.train_one_epoch(step, FakeLoader(batches), CONSTANT, progress, SilentLog(), SETTINGS), progress


def test_the_last_short_batch_is_weighed_by_its_samples():
    losses = iter([1.0, 1.0, 4.0])
    batches = [batch(VIEWS[:2], [0, 1], ["a", "b"], [1, 1])] * 2 + [batch(VIEWS[:1], [0], ["c"], [1])]
    row, progress = train(batches, lambda logits, labels: logits.sum() * 0 + next(losses))
    assert row["train/loss"] == pytest.approx((2 + 2 + 4) / 5) and progress.step == 3
    assert row["time/data"] + row["time/model"] + row["time/statistics"] == pytest.approx(1)
    assert row["time/clips_per_s"] == pytest.approx(5 / row["time/epoch_s"])


def test_a_loss_that_is_not_finite_names_where_rate_and_samples():
    losses = iter([1.0, float("inf"), 1.0])
    batches = [batch(VIEWS[:2], [0, 1], [f"a{i}", f"b{i}"], [1, 1]) for i in range(3)]
    with pytest.raises(FloatingPointError) as caught:
        train(batches, lambda logits, labels: logits.sum() * 0 + next(losses), Progress(epoch=3))
    assert str(caught.value).startswith("epoch 3 step 1, learning rate 0.1: loss is inf; samples: a1, b1; lower")


def test_damaged_samples_are_counted_named_and_limited(caplog):
    damaged = batch(VIEWS[:2], [0, 1], ["a", "b"], [1, 1], ["x.pkl: truncated"])
    with caplog.at_level("INFO"):
        train([damaged, damaged])
    assert "2 damaged samples in this epoch, replaced by other samples: x.pkl: truncated" in caplog.text
    assert "truncated; x.pkl: truncated; run skeleton2pkl.py again\n" in caplog.text
    with pytest.raises(ValueError, match="3 damaged samples in this epoch, more than RUN.max_faults=2: x.pkl.*run sk"):
        train([damaged] * 3)


def test_damaged_samples_of_all_processes_count(caplog, monkeypatch):
    """Of two processes: each step of this one brings one, the other has two of its own."""
    damaged = batch(VIEWS[:2], [0, 1], ["a", "b"], [1, 1], ["x.pkl: truncated"])
    monkeypatch.setattr(distributed, "gather", lambda own: [own, ["y.pkl: empty"] * 2])
    with pytest.raises(ValueError, match="3 damaged samples in this epoch, more than RUN.max_faults=2: x.pkl.*; y.pkl"):
        train([damaged, batch(VIEWS[:2], [0, 1], ["c", "d"], [1, 1])])
    monkeypatch.setattr(SETTINGS, "max_faults", 3)
    with caplog.at_level("INFO"):
        train([damaged, batch(VIEWS[:2], [0, 1], ["c", "d"], [1, 1])])
    expected = (
        "3 damaged samples in this epoch, replaced by other samples: x.pkl: truncated; y.pkl: empty; y.pkl: empty"
    )
    assert expected in caplog.text


def test_a_broken_update_names_the_samples_of_all_processes(monkeypatch):
    monkeypatch.setattr(distributed, "gather", lambda own: [own, ["of rank 1"]])
    with pytest.raises(FloatingPointError, match="samples: a, b, of rank 1; lower"):
        train([batch(VIEWS[:2], [0, 1], ["a", "b"], [1, 1])], lambda logits, labels: logits.sum() * float("nan"))


def test_weights_that_are_not_finite_make_no_checkpoint():
    model = paddle.nn.Sequential(paddle.nn.Linear(2, 2), paddle.nn.BatchNorm1D(2))
    trainer.check_finite(model, 3)
    model[1]._variance.set_value(np.array([1.0, np.nan], np.float32))
    with pytest.raises(FloatingPointError, match=r"epoch 3: '1._variance' is not finite any more, no checkpoint"):
        trainer.check_finite(model, 3)


def test_an_update_that_ruins_the_weights_ends_the_epoch():
    class Poisoned(CrossEntropy):
        """A finite loss whose gradient is not: the derivative of the root is infinite at 0."""

        def __call__(self, logits, labels):
            return super().__call__(logits, labels) + paddle.sqrt((logits - logits).sum())

    with pytest.raises(FloatingPointError, match="epoch 0: '0.weight' is not finite any more"):
        train([batch(VIEWS[:2], [0, 1], ["a", "b"], [1, 1])], Poisoned())


@pytest.mark.parametrize(
    "batch_size, accumulate, advice",
    [
        (32, 1, "-o TRAIN.batch_size=16 -o RUN.accumulate=2, which keeps 32 samples an update"),
        (8, 4, "-o TRAIN.batch_size=4 -o RUN.accumulate=8, which keeps 32 samples an update"),
        (9, 1, "-o TRAIN.batch_size=3 -o RUN.accumulate=3, which keeps 9 samples an update"),
        (7, 2, "-o TRAIN.batch_size=1 -o RUN.accumulate=14, which keeps 14 samples an update"),
        (1, 8, "lower READER.clip_len or READER.crop_size"),
    ],
)
def test_memory_that_runs_out_is_told_in_one_sentence(batch_size, accumulate, advice):
    with pytest.raises(MemoryError) as caught:
        with memory.explain_out_of_memory(memory.advise_batch(batch_size, accumulate)):
            paddle.zeros([2**50]).sum()  # four petabytes: Paddle's own error, whatever its type
    assert str(caught.value).startswith("cpu ran out of memory: ") and advice in str(caught.value)
    assert "\n" not in str(caught.value)


def test_other_errors_of_paddle_stay_what_they_are():
    with pytest.raises(RuntimeError, match="broken kernel"), memory.explain_out_of_memory("advice"):
        raise RuntimeError("broken kernel")


def test_several_losses_are_averaged_by_name():
    class TwoLosses(Chain):
        def compute_losses(self, outputs, labels, criterion, is_mixed=False):
            values = {"loss_cls": 1.0, "loss_side": float(len(labels))}
            return {name: outputs["logits"].sum() * 0 + value for name, value in values.items()}

    model = TwoLosses(paddle.nn.Linear(2, 2))
    optimizer = paddle.optimizer.SGD(0.1, parameters=model.parameters())
    batches = [batch(VIEWS[:2], [0, 1], ["a", "b"], [1, 1]), batch(VIEWS[:1], [0], ["c"], [1])]
    step = TrainStep(model, CrossEntropy(), optimizer, as_tensors)
    row = trainer.train_one_epoch(step, FakeLoader(batches), CONSTANT, Progress(), SilentLog(), SETTINGS)
    assert row["train/loss_cls"] == pytest.approx(1) and row["train/loss_side"] == pytest.approx((2 * 2 + 1) / 3)
    assert row["train/loss"] == pytest.approx(1 + 5 / 3)


@pytest.mark.parametrize("norm, shape", [(paddle.nn.BatchNorm1D, [3, 4]), (paddle.nn.BatchNorm3D, [3, 4, 2, 5, 5])])
def test_norm_statistics_are_those_of_all_samples(norm, shape):
    values = np.random.default_rng(0).normal(2, 3, [2, *shape]).astype(np.float32)
    frozen, trained = norm(shape[1]), norm(shape[1])
    network = Chain(frozen, trained, paddle.nn.Dropout(0.5))
    optimizer = paddle.optimizer.SGD(0.0, parameters=network.parameters())
    loader = FakeLoader([batch(part, [0] * 3, list("abc"), [1] * 3) for part in values])
    step = TrainStep(network, CrossEntropy(), optimizer, loader.prepare, frozen_norms=[frozen])
    trainer.compute_norm_statistics(step, loader)
    axes = (0, 1, *range(3, values.ndim))  # the frozen one passes on what it gets, but for its epsilon of 1e-5
    found = {name: value.numpy() for name, value in network.state_dict().items()}
    np.testing.assert_allclose(found["1._mean"], values.mean(axis=axes), rtol=1e-4)
    np.testing.assert_allclose(found["1._variance"], values.var(axis=axes), rtol=1e-4)
    assert found["0._mean"].tolist() == [0] * 4 and found["0._variance"].tolist() == [1] * 4
    network(paddle.to_tensor(values[0]))  # in evaluation, and nothing listens any more
    np.testing.assert_array_equal(network.state_dict()["1._mean"].numpy(), found["1._mean"])
