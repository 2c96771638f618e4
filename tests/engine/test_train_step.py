"""One update: what each switch does to gradients, weights and inputs, by hand-made answers."""

import numpy as np
import paddle
import pytest
from small_networks import Chain, as_tensors

from engine import trainer
from engine.amp import MixedPrecision
from engine.losses import CrossEntropy
from engine.mixup import Mixup
from engine.optimizer import MovingAverage
from engine.train_step import TrainStep
from models.parts.action_model import ActionModel

VIEWS = [[0.0, 2.0], [4.0, 0.0], [0.0, 1.0], [0.0, 3.0], [0.0, 1.0]]
LABELS = [0, 0, 1, 1, 1]


def make_model(seed=0):
    """A network without batch norm, so that parts of a batch add up to the whole."""
    paddle.seed(seed)
    return Chain(paddle.nn.Linear(2, 8), paddle.nn.Tanh(), paddle.nn.Linear(8, 2))


def make_step(model, criterion=None, **options):
    """A step with momentum, so that a wrong gradient stays visible in later updates."""
    optimizer = paddle.optimizer.Momentum(0.1, 0.9, parameters=model.parameters())
    return TrainStep(model, criterion or CrossEntropy(), optimizer, as_tensors, **options)


def values_of(model):
    return {name: value.numpy() for name, value in model.state_dict().items()}


def run(make, num_updates=3, **options):
    """Give the losses and the weights after some updates on one batch."""
    model = make()
    update = make_step(model, **options)
    losses = [update({"x": VIEWS}, paddle.to_tensor(LABELS), 0.1, index)["loss"].item() for index in range(num_updates)]
    return losses, values_of(model)


@pytest.mark.parametrize("batch_size", [1, 2, 3, 4])
def test_parts_of_a_batch_add_up_to_the_whole(batch_size):
    """Also where the parts differ in size: 5 samples by 2, 3 or 4."""
    seen = []

    class Watched(CrossEntropy):
        def __call__(self, logits, labels):
            seen.append(len(labels))
            return super().__call__(logits, labels)

    losses, weights = run(make_model)
    parts, same = run(make_model, batch_size=batch_size, criterion=Watched())
    assert parts == pytest.approx(losses, rel=1e-6)
    for name, value in weights.items():
        np.testing.assert_allclose(same[name], value, rtol=0, atol=1e-6, err_msg=name)
    assert max(seen) <= batch_size and sum(seen) == 3 * len(LABELS)


def test_batch_norm_sees_each_part_by_itself():
    def make():
        return Chain(paddle.nn.BatchNorm1D(2), make_model())

    model = make()
    make_step(model, batch_size=3)({"x": VIEWS}, paddle.to_tensor(LABELS), 0.1, 0)
    parts = [np.asarray(VIEWS[:2]), np.asarray(VIEWS[2:])]  # 5 samples in two equal parts, rounded
    mean = np.zeros(2)
    for part in parts:
        mean = 0.9 * mean + 0.1 * part.mean(axis=0)
    np.testing.assert_allclose(model[0]._mean.numpy(), mean, rtol=1e-5)


def test_a_share_scales_the_gradient_and_share_0_counts_for_nothing():
    whole, half, none = make_model(), make_model(), make_model()
    gradients = []
    for model, share in ((whole, 1.0), (half, 0.5), (none, 0.0)):
        values = make_step(model)({"x": VIEWS}, paddle.to_tensor(LABELS), 0.1, 0, share)
        gradients.append((model[0].weight.grad.numpy(), values["loss"].item(), values["num_correct"].item()))
    np.testing.assert_allclose(gradients[1][0], gradients[0][0] / 2, rtol=1e-6)
    assert gradients[1][1] == pytest.approx(gradients[0][1] / 2) and gradients[1][2] == gradients[0][2] > 0
    assert np.abs(gradients[2][0]).max() == 0 and gradients[2][1:] == (0, 0)


def test_the_average_follows_its_formula_and_leaves_the_weights_alone():
    plain_losses, plain = run(make_model, num_updates=12)
    model = make_model()
    average = MovingAverage(model, 0.3)
    update = make_step(model, average=average)
    expected = values_of(model)
    for index in range(12):
        update({"x": VIEWS}, paddle.to_tensor(LABELS), 0.1, index)
        decay = min(0.3, (1 + index) / (10 + index))  # the bound holds until update 2
        expected = {name: decay * expected[name] + (1 - decay) * one for name, one in values_of(model).items()}
        for name, value in average.state().items():
            np.testing.assert_allclose(value, expected[name], rtol=1e-5, atol=1e-7)
    for name, value in average.state().items():
        np.testing.assert_array_equal(values_of(model)[name], plain[name])
        assert np.abs(value - plain[name]).max() > 1e-4
    with pytest.raises(KeyError), update.evaluating():
        for name, value in values_of(model).items():
            np.testing.assert_array_equal(value, average.state()[name])
        raise KeyError("the weights come back after an error too")
    for name, value in values_of(model).items():
        np.testing.assert_array_equal(value, plain[name])


def test_the_average_holds_what_is_trained_only():
    model = Chain(paddle.nn.BatchNorm1D(2), make_model())
    model[1][0].weight.stop_gradient = True
    assert set(MovingAverage(model, 0.9).values) == {"0.weight", "0.bias", "1.0.bias", "1.2.weight", "1.2.bias"}


CLIPS = np.arange(4 * 3 * 2 * 6 * 8, dtype=np.float32).reshape(4, 3, 2, 6, 8)


def mix(mixing, draw=(0, 0, 0), clips=CLIPS):
    labels = paddle.arange(len(clips))
    mixed, targets = mixing({"rgb": paddle.to_tensor(clips)}, labels, list(draw))
    return mixed["rgb"].numpy(), [(labels.tolist(), share) for labels, share in targets]


def test_mixup_is_the_weighted_sum_of_a_batch_and_its_reverse():
    shares = []
    for index in range(40):
        mixed, targets = mix(Mixup(0.4, 0.0, seed=3), (index, 0, 0))
        (first, share), (second, rest) = targets
        assert share >= 0.5 and share + rest == pytest.approx(1) and first == second[::-1]
        expected = share * CLIPS[first] + rest * CLIPS[second]
        np.testing.assert_allclose(mixed, expected, rtol=1e-5)
        shares.append(share if first == [0, 1, 2, 3] else rest)
    assert min(shares) < 0.2 and max(shares) > 0.8 and len(set(shares)) == 40  # Beta(0.4, 0.4) is at home at the ends


def test_cutmix_pastes_one_box_and_counts_its_area():
    areas = set()
    for index in range(40):
        mixed, targets = mix(Mixup(0.0, 1.0, seed=3), (index, 0, 0))
        shares = {tuple(labels): share for labels, share in targets}
        pasted = mixed != CLIPS  # (N, C, T, H, W): never equal where the reverse was pasted
        np.testing.assert_array_equal(mixed, np.where(pasted, CLIPS[::-1], CLIPS))
        box = pasted[0, 0, 0]
        assert (pasted == box).all()  # the same box in every sample, channel and frame
        rows, columns = np.flatnonzero(box.any(axis=1)), np.flatnonzero(box.any(axis=0))
        if len(rows):
            assert box[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all()
        assert shares[3, 2, 1, 0] == pytest.approx(box.mean())
        areas.add(box.mean())
    assert len(areas) > 10


def test_mixing_repeats_with_its_draw_and_keeps_to_its_ratio():
    both = Mixup(0.5, 1.0, ratio=0.5, seed=7)
    again = Mixup(0.5, 1.0, ratio=0.5, seed=7)
    kinds = []
    for index in range(200):
        mixed, targets = mix(both, (index, 1, 0))
        np.testing.assert_array_equal(mix(again, (index, 1, 0))[0], mixed)
        if len(targets) == 1:
            np.testing.assert_array_equal(mixed, CLIPS)
        kinds.append("none" if len(targets) == 1 else "cutmix" if np.isin(mixed, CLIPS).all() else "mixup")
    assert 0.4 < kinds.count("none") / 200 < 0.6
    assert kinds.count("cutmix") > 25 and kinds.count("mixup") > 25
    assert any(mix(both, (index, 0, 0))[1] != mix(both, (index, 1, 0))[1] for index in range(5))  # ranks differ
    assert len(mix(both, clips=CLIPS[:1])[1]) == 1  # one sample has no partner


def test_the_loss_of_a_mixed_batch_is_the_mixed_loss():
    class Halves:
        """A mixture whose answer is known: a quarter of the reverse."""

        def __call__(self, inputs, labels, draw):
            mixed = {name: tensor * 0.75 + tensor.flip(0) * 0.25 for name, tensor in inputs.items()}
            return mixed, [(labels, 0.75), (labels.flip(0), 0.25)]

    model = make_model()
    inputs = np.asarray(VIEWS, np.float32)
    logits = model(paddle.to_tensor(0.75 * inputs + 0.25 * inputs[::-1])).numpy().astype(np.float64)
    log_soft = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    rows = np.arange(5)
    expected = -(0.75 * log_soft[rows, LABELS] + 0.25 * log_soft[rows, LABELS[::-1]]).mean()
    right = (logits.argmax(axis=1) == np.asarray(LABELS)).sum()
    values = make_step(model, mixup=Halves())({"x": VIEWS}, paddle.to_tensor(LABELS), 0.1, 0)
    assert values["loss"].item() == pytest.approx(expected, rel=1e-5) and values["num_correct"].item() == right


def test_every_part_of_every_update_is_mixed_by_a_draw_of_its_own():
    draws = []

    def spy(inputs, labels, draw):
        draws.append(draw)
        return inputs, [(labels, 1.0)]

    update = make_step(make_model(), mixup=spy, batch_size=3)
    for index in (0, 7):
        update({"x": VIEWS}, paddle.to_tensor(LABELS), 0.1, index)
    assert draws == [[0, 0, 0], [0, 0, 1], [7, 0, 0], [7, 0, 1]]  # update, process, part


class TwoHeads(ActionModel):
    """A model with a loss of its own beside the cross-entropy of its logits."""

    def __init__(self):
        super().__init__()
        self.body, self.side = make_model(), paddle.nn.Linear(2, 2)

    def forward(self, x):
        return {"logits": self.body(x), "side": self.side(x)}

    def name_outputs(self, outputs):
        return outputs

    def compute_losses(self, outputs, labels, criterion, is_mixed=False):
        return {"loss_cls": criterion(outputs["logits"], labels), "loss_side": 0.5 * criterion(outputs["side"], labels)}


@pytest.mark.parametrize("batch_size", [None, 2])
def test_the_losses_of_a_model_are_summed_and_returned_by_name(batch_size):
    model = TwoHeads()
    inputs, labels = as_tensors({"x": VIEWS})["x"], paddle.to_tensor(LABELS)
    with paddle.no_grad():
        expected = {
            name: one.item() for name, one in model.compute_losses(model(inputs), labels, CrossEntropy()).items()
        }
        right = (model.body(inputs).argmax(axis=1) == labels).sum().item()
    values = make_step(model, batch_size=batch_size)({"x": VIEWS}, labels, 0.1, 0)
    assert {name: one.item() for name, one in values.items()} == pytest.approx(
        {**expected, "loss": sum(expected.values()), "num_correct": right}, rel=1e-5
    )
    assert np.abs(model.side.weight.grad.numpy()).max() > 0


def test_frozen_norms_keep_their_statistics():
    model = Chain(paddle.nn.BatchNorm1D(2), paddle.nn.BatchNorm1D(2), make_model())
    update = make_step(model, frozen_norms=[model[0]])
    update.begin_epoch()
    assert model.training and not model[0].training and model[1].training
    update({"x": VIEWS}, paddle.to_tensor(LABELS), 0.1, 0)
    assert model[0]._mean.abs().sum().item() == 0 and model[1]._mean.abs().sum().item() > 0


class Scaler:
    """Stands in for `paddle.amp.GradScaler`, which does nothing on a CPU: scales, skips overflows, halves."""

    def __init__(self, enable, init_loss_scaling):
        self.scale_value, self.overflow = init_loss_scaling, False

    def scale(self, loss):
        return loss * self.scale_value

    def step(self, optimizer):
        gradients = [one.grad for group in [optimizer._parameter_list] for one in group if one.grad is not None]
        self.overflow = not all(bool(paddle.isfinite(grad).all()) for grad in gradients)
        if not self.overflow:
            for gradient in gradients:
                gradient.set_value(gradient / self.scale_value)
            optimizer.step()

    def update(self):
        self.scale_value *= 0.5 if self.overflow else 1.0

    def state_dict(self):
        return {"scale": np.array([self.scale_value], np.float32)}

    def load_state_dict(self, state):
        self.scale_value = float(state["scale"][0])


@pytest.fixture
def amp(monkeypatch):
    """Paddle's mixed precision with a scaler that works here; gives the arguments of every `auto_cast`."""
    calls, cast = [], paddle.amp.auto_cast

    def watched(**arguments):
        calls.append(arguments)
        return cast(enable=False)

    monkeypatch.setattr(paddle.amp, "GradScaler", Scaler)
    monkeypatch.setattr(paddle.amp, "auto_cast", watched)
    return calls


def test_mixed_precision_casts_with_conv3d_and_scales_the_loss_not_the_update(amp):
    losses, weights = run(make_model)
    scaled, same = run(make_model, precision=MixedPrecision("O1"), batch_size=3)
    assert scaled == pytest.approx(losses, rel=1e-6)
    assert amp == [{"custom_white_list": {"conv3d"}, "level": "O1", "dtype": "float16"}] * 6
    for name, value in weights.items():
        np.testing.assert_allclose(same[name], value, rtol=0, atol=1e-6)


def test_an_overflow_skips_the_update_and_lowers_the_scale_until_it_is_an_error(amp):
    class Steep(CrossEntropy):
        def __call__(self, logits, labels):
            return super().__call__(logits, labels) + paddle.sqrt((logits - logits).sum())  # its gradient is infinite

    model = make_model()
    before = values_of(model)
    precision = MixedPrecision("O1", first_scale=4.0)
    update = make_step(model, Steep(), precision=precision)
    values = []
    with pytest.raises(FloatingPointError, match="RUN.amp_level=O1: the loss scale fell to 0.5, gradients overflow"):
        for index in range(9):
            update({"x": VIEWS}, paddle.to_tensor(LABELS), 0.1, index)
            values.append(precision.describe())
    assert values == [", loss scale 2", ", loss scale 1"]
    for name, value in values_of(model).items():
        np.testing.assert_array_equal(value, before[name])


def test_the_state_of_a_step_comes_back(amp):
    first = make_step(make_model(), precision=MixedPrecision("O1"), average=MovingAverage(make_model(1), 0.9))
    first.precision.scaler.scale_value = 8.0
    second = make_step(make_model(), precision=MixedPrecision("O1"), average=MovingAverage(make_model(2), 0.9))
    second.restore(first.state())
    assert second.precision.scaler.scale_value == 8.0
    for name, value in first.average.state().items():
        np.testing.assert_array_equal(second.average.state()[name], value)
    assert make_step(make_model()).state() == {"precision": {}}


def test_label_smoothing_follows_its_formula():
    logits = paddle.to_tensor([[2.0, 0.0, 0.0]])
    labels = paddle.to_tensor([0])
    log_soft = np.log(np.exp([2.0, 0, 0]) / np.exp([2.0, 0, 0]).sum())
    plain = CrossEntropy()(logits, labels).item()
    smooth = CrossEntropy(0.3)(logits, labels).item()
    assert plain == pytest.approx(-log_soft[0], rel=1e-5)
    assert smooth == pytest.approx(-(0.8 * log_soft[0] + 0.1 * log_soft[1] + 0.1 * log_soft[2]), rel=1e-5)


def test_gradients_stay_readable_after_an_update():
    model = Chain(paddle.nn.Linear(2, 2))
    optimizer = paddle.optimizer.SGD(0.0, parameters=model.parameters())
    update = TrainStep(model, CrossEntropy(), optimizer, as_tensors)
    values = update({"x": VIEWS}, paddle.to_tensor(LABELS), 0.1, 0)
    histograms = trainer.histogram_values(model)
    assert set(histograms) == {"weights/0.weight", "weights/0.bias", "gradients/0.weight", "gradients/0.bias"}
    assert (
        np.abs(histograms["gradients/0.weight"]).sum() > 0
        and 0 <= values["num_correct"].item() <= 5
        and values["loss"].item() > 0
    )
    assert set(values) == {"loss", "num_correct"}
